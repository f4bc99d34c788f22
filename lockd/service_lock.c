/* SPDX-License-Identifier: Apache-2.0
 *
 * service_lock.c -- locks: outcomes that come later, who holds, and what is closed.
 *
 * The queue of a lock is replicated; here is only what a master adds to it: it
 * knows over which connection each of those who wait can be told.  Any command
 * may settle waits -- a release, an expiry, a deletion -- so each is followed by
 * a look at what it settled.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

/* ------------------------------------------------------------------ acquires */

void lock_waits(struct service *s, const struct pending *asker, const struct lease_at *at,
                const struct lease_command *command)
{
    if (at->epoch == s->epoch) {
        waiting_add(s, asker, command->session, command->request, command->mode, command->path);
        return;
    }
    /* Proposed under a mastership that is over: it waits, and another master
     * will tell how that ends. */
    reply_add(s, asker->client, asker->tag, (enum service_op)asker->op, SERVICE_UNKNOWN)
        ->master = s->master;
}

void locks_settled(struct service *s, const struct lease_at *at)
{
    assert(s->epoch != 0);
    uint32_t count = 0;
    const struct lease_settled *settled = lease_settled(s->lease, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct lease_settled *one = &settled[i];
        keeper_wait_ended(s->keeper, one->session, one->request);
        const struct waiter *w = waiting_take(s, one->session, one->request);
        if (w == NULL) {
            continue; /* Who asked is gone, or has not come to this master yet. */
        }
        const struct pending asker = {.client = w->client, .tag = w->tag, .op = w->op};
        struct service_reply *reply = queue_answer(s, &asker, at, &one->result);
        reply->path = waiter_path(w);
        reply->mode = w->mode;
        reply->session = one->session;
    }
    const struct lease_delay *begun = lease_delays_begun(s->lease, &count);
    for (uint32_t i = 0; i < count; i++) {
        keeper_delay_begun(s->keeper, &begun[i], s->now_ms);
    }
}

/* ---------------------------------------------------------------- lock-delays */

static uint64_t left_ms(const struct service *s, uint64_t instance,
                        const struct lease_claim *claim)
{
    return claim->delayed && s->epoch != 0
               ? keeper_delay_left_ms(s->keeper, instance, claim->number, s->now_ms)
               : 0;
}

/* Who may take the lock may not be one who may see who had it. */
static bool may_see_holder(const struct service *s, const struct service_reply *reply)
{
    struct lease_session session;
    return lease_session_get(s->lease, reply->session, &session) &&
           lease_may(s->lease, reply->path, session.principal, LEASE_READ) == LEASE_OK;
}

/* Several who shared the lock may have failed: it opens when the last delay is
 * over, and that one's holder is named.  Nobody holds it, so they come first. */
static void answer_delay(struct service *s, struct service_reply *reply)
{
    enum { LOOKED_AT = 16 };
    struct lease_stat stat;
    struct bytes content;
    struct lease_claim claims[LOOKED_AT];
    uint32_t count = 0;
    bool more = false;
    if (lease_get(s->lease, reply->path, &stat, &content) != LEASE_OK ||
        lease_claims(s->lease, reply->path, /* skip= */ 0, LOOKED_AT, claims, &count, &more) !=
            LEASE_OK) {
        return;
    }
    struct lease_claim *failed = &s->lists.failed[s->failed_count];
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t left = left_ms(s, stat.instance, &claims[i]);
        if (claims[i].delayed && (reply->holder == NULL || left > reply->left_ms)) {
            *failed = claims[i];
            reply->holder = failed;
            reply->left_ms = left;
        }
    }
    if (reply->holder != NULL && !may_see_holder(s, reply)) {
        reply->holder = NULL;
    }
    s->failed_count += reply->holder != NULL;
}

/* Not when the refusal is decided: what it borrows must stand until the turn is
 * over.  If the delay is over by then nothing is left of it. */
void answer_delays(struct service *s)
{
    s->failed_count = 0;
    for (uint32_t i = 0; i < s->replies_count && s->failed_count < HOLDERS_TURN; i++) {
        struct service_reply *reply = &s->replies[i];
        if (reply->op == SERVICE_LOCK_ACQUIRE && reply->outcome == SERVICE_REFUSED &&
            reply->rc == LEASE_LOCK_DELAY) {
            answer_delay(s, reply);
        }
    }
}

/* --------------------------------------------------------------------- lists */

/* Holders and waiters of the node at `path`, which must outlive the turn. */
static enum lease_rc list_lock(struct service *s, struct bytes path, uint64_t instance,
                               uint32_t skip, uint32_t limit)
{
    struct answer_room *room = &s->room;
    struct service_lock *lock = &s->lists.locks[room->locks_used];
    struct lease_claim *claims = &s->lists.claims[room->claims_used];
    uint64_t *left = &s->lists.left_ms[room->claims_used];
    *lock = (struct service_lock){
        .path = path, .instance = instance, .claims = claims, .left_ms = left};
    const enum lease_rc rc =
        lease_claims(s->lease, path, skip, limit, claims, &lock->claims_count, &lock->more);
    if (rc == LEASE_OK) {
        for (uint32_t i = 0; i < lock->claims_count; i++) {
            left[i] = left_ms(s, instance, &claims[i]);
        }
        room->claims_used += lock->claims_count;
        room->locks_used++;
    }
    return rc;
}

static enum lease_rc list_one(struct service *s, const struct pending_read *read,
                              struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    const enum lease_rc rc = lease_get(s->lease, path, &stat, &content);
    if (rc != LEASE_OK) {
        return rc;
    }
    uint8_t *kept = s->lists.paths[s->room.locks_used];
    if (path.size > 0) {
        memcpy(kept, path.data, path.size);
    }
    return list_lock(s, bytes_of(kept, path.size), stat.instance, (uint32_t)read->behind,
                     read->limit);
}

/* A page over all locks that the principal may see: `limit` counts claims, so that a page
 * is of one size however they are spread.  Only the last lock of a page can be cut.  A page
 * may be short, or empty, when there are too many others between. */
static void list_all(struct service *s, const struct pending_read *read,
                     struct service_reply *reply)
{
    struct answer_room *room = &s->room;
    uint64_t behind = read->behind;
    uint32_t left = read->limit;
    for (;;) {
        uint8_t *path = s->lists.paths[room->locks_used];
        size_t path_size;
        const uint64_t instance = lease_locked_next(s->lease, behind, path, &path_size);
        if (instance == 0) {
            return;
        }
        if (left == 0 || room->locks_passed == LOCKS_PASSED) {
            reply->more = true;
            reply->next_instance = behind;
            return;
        }
        behind = instance;
        if (!access_lock(s, read->principal, bytes_of(path, path_size))) {
            room->locks_passed++;
            continue;
        }
        const uint32_t used = room->claims_used;
        const enum lease_rc rc =
            list_lock(s, bytes_of(path, path_size), instance, /* skip= */ 0, left);
        assert(rc == LEASE_OK && room->claims_used > used);
        (void)rc;
        left -= room->claims_used - used;
    }
}

enum lease_rc answer_locks(struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply)
{
    const uint32_t first = s->room.locks_used;
    enum lease_rc rc = LEASE_OK;
    if (read->named) {
        rc = list_one(s, read, path);
        reply->more = rc == LEASE_OK && s->lists.locks[first].more;
    } else {
        list_all(s, read, reply);
    }
    reply->locks = &s->lists.locks[first];
    reply->locks_count = s->room.locks_used - first;
    return rc;
}

/* CheckSequencer (Chubby, 2.4).  That a lock is not held so, or gone with its node,
 * is an answer; what can't be asked of the name is a refusal. */
enum lease_rc answer_check(const struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply)
{
    const enum lease_rc rc =
        lease_sequencer(s->lease, path, (enum lease_mode)read->mode, read->token);
    reply->valid = rc == LEASE_OK;
    return rc == LEASE_NOT_HELD || rc == LEASE_NO_NODE ? LEASE_OK : rc;
}
