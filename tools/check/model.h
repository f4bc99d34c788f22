/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h -- what a cell's files, sessions and locks should do, written as simply as possible.
 *
 * A sorted array of paths and no cleverness: it shares no code with lease/, so
 * that a mistake has to be made twice to go unseen.  Only the vocabulary
 * (results, kinds, stat, commands) is common.  Sessions and locks are arrays too:
 * model_session.c.
 */
#ifndef TOOLS_CHECK_MODEL_H
#define TOOLS_CHECK_MODEL_H

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
};

/* Who holds or awaits a node. */
struct model_claim {
    uint64_t instance;
    uint64_t session, handle, request;
    enum lease_mode mode;
    bool held;
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
    struct model_claim *claims; /* In the order in which they were asked for. */
    uint32_t claims_count, claims_capacity;
    struct model_session *sessions; /* As they were opened; also those that are over. */
    uint32_t sessions_count, sessions_capacity;
    uint8_t *scratch; /* What the last list returned. */
    size_t scratch_size;
};

void model_start(struct model *m);
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

/* ------------------------------------------- between the two halves of the model */

struct model_node *model_find(const struct model *m, struct bytes path);
enum lease_rc model_check_way(const struct model *m, struct bytes path);
bool model_claimed(const struct model *m, uint64_t instance);
void model_free_sessions(struct model *m);
void *model_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

#endif
