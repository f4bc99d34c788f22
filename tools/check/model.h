/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h -- what a cell's files, sessions and locks should do, written as simply as possible.
 *
 * A sorted array of paths and no cleverness: it shares no code with lease/, so
 * that a mistake has to be made twice to go unseen.  Only the vocabulary
 * (results, kinds, stat, commands, events) is common.  Sessions, claims and
 * openers are arrays too, and what happened is one that only grows:
 *
 *     model.c          the namespace
 *     model_lock.c     locks, lock-delays, openers, and what they keep alive
 *     model_session.c  sessions, what they remember, and who is asked what
 *     model_acl.c      who may do what
 */
#ifndef TOOLS_CHECK_MODEL_H
#define TOOLS_CHECK_MODEL_H

#include "lease/lease.h"
#include "tools/check/history.h"

struct model_node {
    struct bytes path; /* Borrowed from the requests, as is the content. */
    struct bytes content;
    enum lease_kind kind;
    uint64_t instance;
    uint64_t content_generation;
    uint64_t revision;
    uint64_t modified_wall_ms;
    uint64_t children;
    uint64_t lock_generation;
    uint64_t token; /* Of the newest holding. */
    bool ephemeral;
    struct bytes acl[LEASE_RIGHTS];
    uint64_t acl_generation;
};

/* Who holds or awaits a node, or held it and failed. */
struct model_claim {
    uint64_t instance;
    uint64_t session, handle, request;
    uint64_t number; /* Of all claims, which one. */
    enum lease_mode mode;
    uint32_t delay_ms;
    bool held;
    bool delayed; /* Not held any more: its lock-delay runs. */
};

/* Who has an ephemeral node open. */
struct model_open {
    uint64_t instance, session, handle;
};

/* Something that happened, and the session that wrote it; 0: none did. */
struct model_event {
    struct lease_event event; /* Without its label. */
    uint64_t by;
};

/* What became of (session, request), for ever: acknowledged or not. */
struct model_outcome {
    uint64_t request;
    enum lease_rc rc;
    uint64_t token;
    struct history_index index;
};

struct model_session {
    uint64_t id;
    struct bytes principal;
    bool over;
    uint64_t ack_floor;
    struct lease_range *acks; /* Above the floor, as they came. */
    uint32_t acks_count, acks_capacity;
    struct model_outcome *outcomes; /* As they came. */
    uint32_t outcomes_count, outcomes_capacity;
};

/* Zero-initialise, then model_start(). */
struct model {
    struct model_node *nodes; /* By path; the first is the root, "". */
    uint32_t count, capacity;
    uint64_t revision;
    uint64_t instances;
    struct lease_limits limits;
    struct model_claim *claims; /* In the order in which they were asked for. */
    uint32_t claims_count, claims_capacity;
    uint64_t claims_made;
    uint32_t denied_waiting; /* Whose turn came when they had no right to it any more. */
    struct model_open *opens; /* As they came. */
    uint32_t opens_count, opens_capacity;
    uint32_t stretch_ms;
    struct model_event *events; /* All that ever happened, in the order of cause. */
    uint32_t events_count, events_capacity;
    struct model_session *sessions; /* As they were opened; also those that are over. */
    uint32_t sessions_count, sessions_capacity;
    uint8_t *scratch; /* What the last list, or names of ACLs, returned. */
    size_t scratch_size;
};

void model_start(struct model *m, const struct lease_limits *limits);
void model_free(struct model *m);

/* Executes a command or a read.  `ret_result` gets all but epoch and index; it
 * borrows from the model until the next call. */
void model_execute(struct model *m, const struct history_request *request, uint64_t wall_ms,
                   struct history_result *ret_result);

/* Executes a command of a session or of the keeper.  Says what it was answered;
 * an acquire that waits is answered LEASE_WAITING. */
void model_command(struct model *m, const struct history_entry *entry,
                   struct model_outcome *ret_outcome);

/* NULL: there never was one; and whether it lives. */
const struct model_session *model_session(const struct model *m, uint64_t id);
bool model_session_lives(const struct model *m, uint64_t id);

/* What (session, request) came to; NULL: nothing yet. */
const struct model_outcome *model_outcome(const struct model *m, uint64_t session,
                                          uint64_t request);

/* May the principal do so?  Does an ACL, as it is now, list it? */
bool model_may(const struct model *m, struct bytes path, struct bytes principal,
               enum lease_right right);
bool model_lists(const struct model *m, struct bytes acl, struct bytes principal);

/* Is that what it was behind this revision, and has been ever since? */
bool model_lists_since(const struct model *m, struct bytes acl, uint64_t revision);

/* --------------------------------------------- between the parts of the model */

/* A command in the making: all that it changes bears one revision. */
struct model_step {
    struct model *m;
    const struct lease_command *command; /* NULL: of no session and no keeper. */
    struct history_index index;
    uint64_t epoch;
    uint64_t wall_ms;
    uint64_t revision; /* Of what it changes. */
    uint64_t session;  /* Whose command it is; 0: nobody's. */
};

/* A command that is about what is there may be refused before anything is looked at. */
bool model_may_command(const struct model *m, const struct lease_command *c);
enum lease_rc model_set_acl(struct model_step *step);

struct model_node *model_find(const struct model *m, struct bytes path);
struct model_node *model_of(const struct model *m, uint64_t instance);
enum lease_rc model_check_way(const struct model *m, struct bytes path);
struct lease_stat model_stat(const struct model *m, const struct model_node *node);
void model_happened(struct model_step *step, const struct model_node *node,
                    const struct lease_event *event);
struct model_node *model_make(struct model_step *step, struct bytes path, enum lease_kind kind,
                              struct bytes content, bool ephemeral);
void model_remove(struct model_step *step, const struct model_node *node);
void model_execute_step(struct model_step *step, const struct history_request *request,
                        struct history_result *ret_result);

/* Of locks: whether any is claimed by others than `session`, or closed; how it goes
 * with its node; what a session's end and the commands do. */
bool model_claimed_by_others(const struct model *m, uint64_t instance, uint64_t session);
bool model_held(const struct model *m, uint64_t instance);
void model_drop_node(struct model_step *step, uint64_t instance);
void model_look_at(struct model_step *step, uint64_t instance);
void model_end_claims(struct model_step *step, uint64_t session, bool failed);
struct model_claim *model_waiting(const struct model *m, uint64_t session, uint64_t request);
void model_stop_waiting(struct model_step *step, const struct model_claim *claim,
                        enum lease_rc rc);
enum lease_rc model_acquire(struct model_step *step, struct model_outcome *outcome);
enum lease_rc model_release(struct model_step *step);
enum lease_rc model_time_out(struct model_step *step);
enum lease_rc model_delay_over(struct model_step *step);
enum lease_rc model_open(struct model_step *step);
enum lease_rc model_close(struct model_step *step);

/* A waiting request has come to this. */
void model_settled(struct model_step *step, uint64_t session,
                   const struct model_outcome *outcome);
void model_free_sessions(struct model *m);
void *model_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

#endif
