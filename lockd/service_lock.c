/* SPDX-License-Identifier: Apache-2.0
 *
 * service_lock.c -- locks: outcomes that come later, and lists of who holds.
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
    }
}

/* --------------------------------------------------------------------- lists */

/* Holders and waiters of the node at `path`, which must outlive the turn. */
static enum lease_rc list_lock(struct service *s, struct bytes path, uint64_t instance,
                               uint32_t skip, uint32_t limit, struct answer_room *room)
{
    struct service_lock *lock = &s->lists.locks[room->locks_used];
    struct lease_claim *claims = &s->lists.claims[room->claims_used];
    *lock = (struct service_lock){.path = path, .instance = instance, .claims = claims};
    const enum lease_rc rc =
        lease_claims(s->lease, path, skip, limit, claims, &lock->claims_count, &lock->more);
    if (rc == LEASE_OK) {
        room->claims_used += lock->claims_count;
        room->locks_used++;
    }
    return rc;
}

static enum lease_rc list_one(struct service *s, const struct pending_read *read,
                              struct bytes path, struct answer_room *room)
{
    struct lease_stat stat;
    struct bytes content;
    const enum lease_rc rc = lease_get(s->lease, path, &stat, &content);
    if (rc != LEASE_OK) {
        return rc;
    }
    uint8_t *kept = s->lists.paths[room->locks_used];
    if (path.size > 0) {
        memcpy(kept, path.data, path.size);
    }
    return list_lock(s, bytes_of(kept, path.size), stat.instance, (uint32_t)read->behind,
                     read->limit, room);
}

/* A page over all locks: `limit` counts claims, so that a page is of one size
 * however they are spread.  Only the last lock of a page can be cut. */
static void list_all(struct service *s, const struct pending_read *read,
                     struct service_reply *reply, struct answer_room *room)
{
    uint64_t behind = read->behind;
    uint32_t left = read->limit;
    for (;;) {
        uint8_t *path = s->lists.paths[room->locks_used];
        size_t path_size;
        const uint64_t instance = lease_locked_next(s->lease, behind, path, &path_size);
        if (instance == 0) {
            return;
        }
        if (left == 0) {
            reply->more = true;
            reply->next_instance = behind;
            return;
        }
        const uint32_t used = room->claims_used;
        const enum lease_rc rc =
            list_lock(s, bytes_of(path, path_size), instance, /* skip= */ 0, left, room);
        assert(rc == LEASE_OK && room->claims_used > used);
        (void)rc;
        left -= room->claims_used - used;
        behind = instance;
    }
}

enum lease_rc answer_locks(struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply,
                           struct answer_room *room)
{
    const uint32_t first = room->locks_used;
    enum lease_rc rc = LEASE_OK;
    if (read->named) {
        rc = list_one(s, read, path, room);
        reply->more = rc == LEASE_OK && s->lists.locks[first].more;
    } else {
        list_all(s, read, reply, room);
    }
    reply->locks = &s->lists.locks[first];
    reply->locks_count = room->locks_used - first;
    return rc;
}
