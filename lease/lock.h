/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.h -- who holds a node, who waits for it, and who failed holding it.
 *
 * A *claim* is a holder or a waiter; it is a record, and its number comes from
 * one counter of the cell.  The claims of a node stand in one list, in order of
 * their numbers.  As nobody overtakes, those that hold, or have failed and keep
 * the lock closed, are its front:
 *
 *     node --> lock --> claim 3 --> claim 7 --> claim 8 --> claim 9
 *                       shared      shared      exclusive   shared
 *                       delayed     held        waits       waits
 *                                               ^ first_waiting
 *
 * The *holding* lasts from the first grant to the last release.  Its token is
 * the revision at which it began, and is that of all its holders.  Whoever's
 * session expires in it leaves a *delayed* claim of the same holding, if it asked
 * for a lock-delay; until the last of them is over nobody is newly granted it.
 */
#ifndef LEASE_LOCK_H
#define LEASE_LOCK_H

#include "lease/internal.h"
#include "lease/session.h"

enum claim_state {
    CLAIM_WAITS = 0,
    CLAIM_HELD = 1,
    CLAIM_DELAYED = 2, /* Its session is over, its lock-delay not. */
};

struct claim {
    struct record record;        /* `key.id` is the node's instance, `key.sub` its number. */
    struct tree_link by_owner;   /* In its session's claims, unless it is delayed. */
    struct tree_link by_request; /* In its session's waiting, until it is held. */
    struct node *node;
    struct claim *prev, *next; /* Of the lock. */
    uint64_t session;          /* An id: whether it lives is asked when it matters. */
    uint64_t handle;
    uint64_t request;
    uint64_t since_wall_ms;
    uint8_t *label; /* Of a session that is over. */
    uint32_t wait_ms;
    uint32_t delay_ms;
    uint8_t label_size;
    uint8_t mode;
    uint8_t state; /* enum claim_state. */
};

/* Of a node that has claims, and only while it has. */
struct lock {
    struct claim *first, *last;
    struct claim *first_waiting;
    uint64_t token; /* Of the holding, or of the one before it. */
    uint32_t held_count;
    uint32_t delayed_count;
    uint32_t waiting_count;
};

/* Of the holding; 0: nobody holds it.  `lock` may be NULL. */
static inline uint64_t lock_token(const struct lock *lock)
{
    return lock == NULL || lock->held_count == 0 ? 0 : lock->token;
}

/* Why somebody who comes now, or has waited too long, does not get it. */
static inline enum lease_rc lock_refusal(const struct lock *lock)
{
    return lock->held_count == 0 && lock->delayed_count > 0 ? LEASE_LOCK_DELAY : LEASE_LOCKED;
}

/* Would a claim that comes now be held at once?  Writers are not starved: nobody
 * passes one who waits. */
bool lock_admits(const struct lock *lock, enum lease_mode mode);

/* Can it be held beside those who hold it now?  Not while a lock-delay runs. */
bool lock_compatible(const struct lock *lock, enum lease_mode mode);

/* Adds the claim that `c` asks for, held or at the end of the queue. */
struct claim *lock_claim(struct lease *l, const struct lease_at *at, struct node *node,
                         struct session *session, const struct lease_command *c, bool held);

/* Takes a claim out of its lock and its session, which is NULL if it is delayed.
 * Who comes next is served by lock_serve(): from the head of the queue, as far as
 * it is compatible.  Who has lost the right to hold it is sent away instead. */
void lock_drop(struct lease *l, const struct lease_at *at, struct session *session,
               struct claim *claim);

/* The session of the holder has expired: the same, or its lock-delay begins. */
void lock_fail(struct lease *l, const struct lease_at *at, struct session *session,
               struct claim *claim);
void lock_serve(struct lease *l, const struct lease_at *at, struct node *node);

/* By owner and by request; NULL: none. */
struct claim *claim_find(const struct session *session, uint64_t instance, uint64_t handle);
struct claim *claim_waiting(const struct session *session, uint64_t request);
struct claim *claim_first(const struct session *session);

/* That of the node, made when there is none. */
struct lock *lock_of(struct lease *l, struct node *node);

/* What is said of a claim whose lock-delay runs. */
struct lease_delay lock_delay(const struct claim *claim);

/* Puts a claim that is filled, but for its links, in its places.  False when the
 * session has one of this owner, or waits under this request already.  One that is
 * delayed has no session. */
struct claim *claim_new(struct lease *l);
void claim_set_label(struct lease *l, struct claim *claim, struct bytes label);
__attribute__((warn_unused_result)) bool claim_link(struct lease *l, struct session *session,
                                                    struct claim *claim);
void claim_unlink_session(struct session *session, struct claim *claim);
void claim_release(struct lease *l, struct claim *claim);
void claim_encode(const struct claim *claim, struct writer *w);

static inline struct bytes claim_label(const struct claim *claim)
{
    return bytes_of(claim->label, claim->label_size);
}

static inline struct claim *claim_owned(struct tree_link *by_owner)
{
    return tree_entry(by_owner, struct claim, by_owner);
}

static inline struct claim *claim_of(struct record *record)
{
    assert(record->key.kind == RECORD_CLAIM);
    return tree_entry(record, struct claim, record);
}

#endif
