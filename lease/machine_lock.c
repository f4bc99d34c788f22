/* SPDX-License-Identifier: Apache-2.0
 *
 * machine_lock.c -- the commands that change locks and their queues.
 *
 * A grant, a release, whatever frees a lock, and a claim that begins to wait raise
 * the revision; one that ceases to wait does not.  Who comes next is served in the
 * same command: no round trip, and no herd.
 */
#include "lease/lock.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* Is there room for one more claim, of all locks together? */
static bool claims_left(const struct lease *l)
{
    return l->counts.held + l->counts.delayed + l->counts.waiting < l->limits.claims;
}

/* May the session queue here? */
static bool queue_left(const struct lease *l, const struct node *node,
                       const struct session *session)
{
    return claims_left(l) && node->lock->waiting_count < l->limits.waiters &&
           session->waiting_count < LEASE_WAITING_MAX;
}

static enum lease_rc acquire_new(struct lease *l, const struct lease_at *at,
                                 const struct lease_command *c, const struct node_place *place,
                                 struct session *session, struct lease_result *ret_result)
{
    if (!c->create) {
        return LEASE_NO_NODE;
    }
    if (node_may_make(l, 0) != LEASE_OK || !claims_left(l)) {
        return LEASE_LIMIT;
    }
    struct node *node =
        node_make(l, at, place, LEASE_FILE, /* ephemeral= */ false, bytes_of(NULL, 0));
    lock_claim(l, at, node, session, c, /* held= */ true);
    ret_result->created = true;
    ret_result->token = node->lock->token;
    return LEASE_OK;
}

enum lease_rc machine_acquire(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct session *session,
                              struct lease_result *ret_result)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc == LEASE_BAD_PATH) {
        return rc;
    }
    if (machine_stale(c, rc == LEASE_OK ? place.node : NULL)) {
        return LEASE_STALE_INSTANCE;
    }
    if (rc != LEASE_OK) {
        return rc == LEASE_NO_PARENT && !c->create ? LEASE_NO_NODE : rc;
    }
    struct node *node = place.node;
    if (node == NULL) {
        return acquire_new(l, at, c, &place, session, ret_result);
    }
    if (claim_find(session, node->record.key.id, c->handle) != NULL) {
        return LEASE_OWNED;
    }
    if (lock_admits(node->lock, c->mode)) {
        if (!claims_left(l)) {
            return LEASE_LIMIT;
        }
        lock_claim(l, at, node, session, c, /* held= */ true);
        ret_result->token = node->lock->token;
        return LEASE_OK;
    }
    if (!c->wait) {
        return lock_refusal(node->lock);
    }
    if (!queue_left(l, node, session)) {
        return LEASE_LIMIT;
    }
    lock_claim(l, at, node, session, c, /* held= */ false);
    return LEASE_WAITING;
}

enum lease_rc machine_release(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct session *session)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc == LEASE_BAD_PATH) {
        return rc;
    }
    if (rc != LEASE_OK || place.node == NULL || place.node->lock == NULL) {
        return LEASE_NOT_HELD; /* A lock goes with its node. */
    }
    struct node *node = place.node;
    struct claim *claim = claim_find(session, node->record.key.id, c->handle);
    if (mutant(release_of_later_holder) && node->lock->first->state == CLAIM_HELD) {
        claim = node->lock->first;
        session = session_find(l, claim->session);
    } else if (claim == NULL || claim->state != CLAIM_HELD || node->lock->token != c->token) {
        return LEASE_NOT_HELD;
    }
    lock_drop(l, at, session, claim);
    lock_serve(l, at, node);
    machine_left(l, at, node);
    return LEASE_OK;
}

/* Ends an acquire that waits. */
static void stop_waiting(struct lease *l, const struct lease_at *at, struct session *session,
                         struct claim *claim, enum lease_rc rc)
{
    struct node *node = claim->node;
    assert(claim->state == CLAIM_WAITS);
    result_settle(l, at, claim, rc);
    if (mutant(waiter_left_after_cancel) && rc == LEASE_CANCELLED) {
        return;
    }
    lock_drop(l, at, session, claim);
    lock_serve(l, at, node);    /* It may have been what the others waited behind. */
    assert(node->lock != NULL); /* It waited for somebody. */
}

/* Nobody has seen the request, and from now on nobody will execute it. */
static void forbid(struct lease *l, const struct lease_at *at, struct session *session,
                   uint64_t request)
{
    const struct lease_result outcome = {
        .rc = LEASE_CANCELLED,
        .revision = l->counters.revision,
        .slot = at->slot,
        .position = at->position,
    };
    result_remember(l, session, request, &outcome);
}

enum lease_rc machine_cancel(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct session *session,
                             struct lease_result *ret_result)
{
    const uint64_t request = c->subject_request;
    struct claim *claim = claim_waiting(session, request);
    if (claim != NULL) {
        stop_waiting(l, at, session, claim, LEASE_CANCELLED);
        return LEASE_CANCELLED;
    }
    const struct result *known = result_find(l, c->session, request);
    if (known != NULL) {
        /* Too late: says what became of it, at the place of this command. */
        result_recall(known, ret_result);
        ret_result->slot = at->slot;
        ret_result->position = at->position;
        return ret_result->rc;
    }
    if (session_acknowledged(session, request)) {
        return LEASE_ACKNOWLEDGED;
    }
    /* Else it is remembered as its own outcome. */
    if (request != c->request && !mutant(cancel_not_remembered)) {
        forbid(l, at, session, request);
    }
    return LEASE_CANCELLED;
}

enum lease_rc machine_timeout(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c)
{
    if (c->epoch != at->epoch) {
        return LEASE_OLD_EPOCH;
    }
    struct session *session = session_find(l, c->subject);
    if (session == NULL) {
        return LEASE_NO_SESSION;
    }
    struct claim *claim = claim_waiting(session, c->subject_request);
    if (claim != NULL) {
        stop_waiting(l, at, session, claim, lock_refusal(claim->node->lock));
    }
    return LEASE_OK; /* It doesn't wait, which is all that was wanted. */
}

enum lease_rc machine_delay_over(struct lease *l, const struct lease_at *at,
                                 const struct lease_command *c)
{
    /* The next master has begun to count anew. */
    if (c->epoch != at->epoch) {
        return LEASE_OLD_EPOCH;
    }
    struct record *record =
        record_find(l, (struct record_key){RECORD_CLAIM, c->subject, c->subject_request});
    if (record != NULL && claim_of(record)->state == CLAIM_DELAYED) {
        struct claim *claim = claim_of(record);
        struct node *node = claim->node;
        lock_drop(l, at, /* session= */ NULL, claim);
        lock_serve(l, at, node);
        machine_left(l, at, node);
    }
    return LEASE_OK; /* None runs. */
}
