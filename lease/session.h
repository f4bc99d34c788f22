/* SPDX-License-Identifier: Apache-2.0
 *
 * session.h -- who may hold locks, and what became of what they asked.
 *
 * A session is a record, and so is each outcome that it has not acknowledged.
 * Both are found by their keys; what a session claims, by the two trees in it.
 *
 *     floor    ranges                 unknown yet
 *     |------|  |----|   |-|  ........................>  request ids
 *              ^       ^     what is neither acknowledged nor unknown waits for
 *              |       |     a lock, or has a remembered outcome
 */
#ifndef LEASE_SESSION_H
#define LEASE_SESSION_H

#include "lease/internal.h"

enum {
    /* Ranges of acknowledged ids that a session keeps above its floor.  Who
     * leaves a gap for each outcome and each acquire that waits needs no more. */
    SESSION_RANGES_MAX = LEASE_RESULTS_MAX + LEASE_WAITING_MAX,

    /* The outcomes of granted waiters come on top of the limit, and a cancel
     * leaves two. */
    SESSION_OUTCOMES_MAX = LEASE_RESULTS_MAX + LEASE_WAITING_MAX + 1,
};

struct session {
    struct record record;        /* `key.id` is its id. */
    struct tree claims;          /* Holds or awaits, by node and handle. */
    struct tree waiting;         /* Awaits, by request. */
    struct tree opens;           /* Ephemeral nodes that it has open, by node and handle. */
    struct tree_link by_caching; /* In lease.caching, if `cache`. */
    uint64_t secret_hash[2];
    uint64_t opened_wall_ms;
    uint64_t ack_floor;
    struct lease_range *ranges; /* Acknowledged above the floor: ascending, with gaps. */
    uint32_t ranges_count;
    uint32_t ranges_room;
    uint32_t held_count;
    uint32_t waiting_count;
    uint32_t results_count;
    uint32_t opens_count;
    uint32_t lease_ms;
    bool cache;
    uint8_t label_size;
    uint8_t principal_size;
    uint8_t text[]; /* Label, then principal. */
};

/* One that is filled by the caller, and then added. */
struct session *session_new(struct lease *l, struct bytes label, struct bytes principal);
void session_add(struct lease *l, struct session *session, uint64_t id);

/* What it claims must be gone. */
void session_remove(struct lease *l, struct session *session);
void session_release(struct lease *l, struct session *session);
size_t session_size(const struct session *session);
void session_encode(const struct session *session, struct writer *w);

/* NULL: it has ended, or never was. */
struct session *session_find(const struct lease *l, uint64_t id);

static inline struct session *session_of(struct record *record)
{
    assert(record->key.kind == RECORD_SESSION);
    return tree_entry(record, struct session, record);
}

static inline struct session *session_caching(struct tree_link *link)
{
    return tree_entry(link, struct session, by_caching);
}

static inline struct bytes session_label(const struct session *session)
{
    return bytes_of(session->text, session->label_size);
}

static inline struct bytes session_principal(const struct session *session)
{
    return bytes_of(session->text + session->label_size, session->principal_size);
}

/* Takes what the command acknowledges, and forgets those outcomes.  False when
 * there is no room for a range: the command must then be refused, as an id that
 * was acknowledged could be executed again. */
__attribute__((warn_unused_result)) bool
session_acknowledge(struct lease *l, struct session *session, const struct lease_command *c);
bool session_acknowledged(const struct session *session, uint64_t request);

/* ----------------------------------------------------------------- results */

/* A remembered outcome: `key.id` is the session, `key.sub` the request. */
struct result {
    struct record record;
    uint64_t revision;
    uint64_t token;
    uint64_t slot;
    uint32_t position;
    uint8_t rc;
    bool created;
    bool has_stat;
    struct lease_stat stat[]; /* One or none. */
};

struct result *result_find(const struct lease *l, uint64_t session, uint64_t request);
struct result *result_new(struct lease *l, bool has_stat);
void result_add(struct lease *l, struct session *session, struct result *result,
                uint64_t request);
void result_release(struct lease *l, struct result *result);
size_t result_size(const struct result *result);
void result_encode(const struct result *result, struct writer *w);

/* Is it the outcome of a request?  LEASE_WAITING, for one, is none yet. */
bool result_is_outcome(uint8_t rc);

/* Remembers it, unless the request is acknowledged already. */
void result_remember(struct lease *l, struct session *session, uint64_t request,
                     const struct lease_result *outcome);
void result_recall(const struct result *result, struct lease_result *ret_outcome);

/* Forgets the outcomes of requests first ... last. */
void result_forget(struct lease *l, struct session *session, uint64_t first, uint64_t last);

/* An acquire that waited has come to its end.  What has been settled is
 * remembered when the command is done, as of the revision then. */
struct claim;
void result_settle(struct lease *l, const struct lease_at *at, const struct claim *claim,
                   enum lease_rc rc);
void result_remember_settled(struct lease *l);

static inline struct result *result_of(struct record *record)
{
    assert(record->key.kind == RECORD_RESULT);
    return tree_entry(record, struct result, record);
}

#endif
