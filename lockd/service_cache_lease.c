/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache_lease.c -- cache leases: who has one, who owes what, who is waited for.
 *
 *                       cache.begin, session opened
 *     (no connection) --------------------------------> bound, over
 *         |    ^                                          |    ^
 *         |    |                              renewed ... |    | ... out of time: still told,
 *         |    | connection gone                          v    |     and waited for no more
 *         |    '---------------------------------- bound, lease runs
 *         |
 *         '--> out of time: nothing can come of what it has
 *
 * It is waited for while its lease runs and it owes something, or can't be told.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- owing */

static void heard(struct service *s, struct cached_name *name)
{
    assert(name->awaited > 0);
    if (--name->awaited == 0) {
        cached_name_heard(s, name);
    }
}

/* Nobody waits any more for one who had the name. */
static void heard_of(struct service *s, const struct kept *k)
{
    struct cached_name *directory = k->name->directory;
    heard(s, k->name);
    heard(s, s->caches.everything);
    if (directory != NULL) {
        assert(directory->awaited_below > 0);
        if (--directory->awaited_below == 0 && directory->below > 0) {
            cached_name_heard(s, directory);
        }
    }
}

static void forget_oldest(struct service *s, struct cacher *c)
{
    assert(c->owed != NULL);
    if (!c->over) {
        heard_of(s, c->owed);
    }
    kept_free(s, c->owed);
}

/* Whatever it had is not there any more. */
void cacher_forget_all(struct service *s, struct cacher *c)
{
    while (c->owed != NULL) {
        forget_oldest(s, c);
    }
    while (c->kept != NULL) {
        kept_free(s, c->kept);
    }
}

void cacher_forget_told(struct service *s, struct cacher *c)
{
    while (c->owed != NULL && c->owed->number != 0) {
        forget_oldest(s, c);
    }
}

void cacher_forget_acknowledged(struct service *s, struct cacher *c)
{
    while (c->owed != NULL && c->owed->number != 0 && c->owed->number <= c->acknowledged) {
        if (!caches_have_time(s)) {
            s->caches.acknowledging = true;
            return;
        }
        forget_oldest(s, c);
    }
}

/* Its lease is over.  If the connection stands it may be renewed, so it keeps what it has,
 * and is still told; else nothing can come of it. */
static void end_lease(struct service *s, struct cacher *c)
{
    for (const struct kept *k = c->owed; k != NULL && !c->over; k = k->cacher_next) {
        heard_of(s, k);
    }
    c->over = true;
    if (c->bound) {
        cacher_forget_told(s, c);
        return;
    }
    cacher_forget_all(s, c);
    if (!c->current) {
        cacher_free(s, c);
    }
}

/* Had it nothing but its lease, which is over?  Then it is gone. */
bool cacher_gone(struct service *s, struct cacher *c)
{
    const bool bound = c->bound;
    if (!c->over && s->now_ms >= c->until_ms) {
        end_lease(s, c);
        return !bound;
    }
    return false;
}

/* Is somebody waited for until its lease is over, or is it left behind only because there
 * was no time to dismiss it? */
bool cacher_awaited(const struct cacher *c)
{
    return c->over ? !c->bound && c->count > 0 : c->owed != NULL || !c->bound;
}

void cacher_wait_for(struct service *s, const struct cacher *c)
{
    if (cacher_awaited(c) && c->until_ms < s->caches.over_ms) {
        s->caches.over_ms = c->until_ms;
    }
}

void cacher_dismiss(struct service *s, struct cacher *c)
{
    if (c->count == 0 || caches_have_time(s)) {
        cacher_forget_all(s, c);
        cacher_free(s, c);
        return;
    }
    if (c->current) {
        cacher_leave_behind(s, c);
    }
    c->until_ms = c->until_ms < s->now_ms ? c->until_ms : s->now_ms;
    cacher_wait_for(s, c);
}

static void nobody_missing(struct service *s)
{
    s->caches.missing = 0;
    intents_consider_all(s);
}

/* Of many caches one is over each millisecond, and to find it, all are looked at: so the
 * more there are, the later. */
enum { CACHERS_LOOK_A_MS = 4096 };

void caches_pass_time(struct service *s)
{
    struct caches *all = &s->caches;
    if (all->missing > 0 && s->now_ms >= all->missing_ms) {
        nobody_missing(s);
    }
    if (s->now_ms < all->over_ms || s->now_ms < all->look_ms) {
        return;
    }
    all->over_ms = UINT64_MAX;
    for (struct cacher *c = all->all, *next; c != NULL; c = next) {
        next = c->all_next;
        if (cacher_awaited(c) && s->now_ms >= c->until_ms && caches_have_time(s)) {
            end_lease(s, c);
        } else {
            cacher_wait_for(s, c);
        }
    }
    all->look_ms =
        all->over_ms <= s->now_ms ? s->now_ms : s->now_ms + all->all_count / CACHERS_LOOK_A_MS;
}

/* --------------------------------------------------------------------- leases */

static uint32_t lease_of(const struct service *s, uint32_t lease_ms)
{
    return lease_ms < s->config.cache_lease_ms ? lease_ms : s->config.cache_lease_ms;
}

/* Does it owe an acknowledgement that a client in good health would have sent? */
static bool is_overdue(const struct cacher *c)
{
    return c->owed != NULL && c->owed->number != 0 && c->owed->number <= c->due;
}

static uint32_t renew(struct service *s, struct cacher *c, uint64_t left_ms)
{
    if (is_overdue(c) || left_ms == 0) {
        return 0;
    }
    assert(c->untold == NULL && (!c->over || c->owed == NULL));
    const uint32_t cache_ms = c->cache_ms < left_ms ? c->cache_ms : (uint32_t)left_ms;
    if (s->now_ms + cache_ms > c->until_ms) {
        c->until_ms = s->now_ms + cache_ms; /* An answer never takes back what one gave. */
    }
    c->over = false;
    c->due = c->number;
    return cache_ms;
}

uint32_t cache_lease(struct service *s, uint64_t client, uint64_t session)
{
    struct cacher *c = cacher_find(s, session);
    return c != NULL && c->bound && c->client == client
               ? renew(s, c, keeper_left_ms(s->keeper, session, s->now_ms))
               : 0;
}

/* From now on the session hears of invalidations over this connection, and has nothing of
 * what was granted over it before. */
static struct cacher *bind(struct service *s, uint64_t client, uint64_t session,
                           uint32_t lease_ms)
{
    struct cacher *c = cacher_find(s, session);
    const bool same = c != NULL && c->bound && c->client == client;
    if (same && caches_have_time(s)) {
        cacher_forget_all(s, c);
        return c;
    }
    const uint64_t number = same ? c->number : 0;
    if (c != NULL && (same || c->over || c->count == 0)) {
        cacher_dismiss(s, c);
    } else if (c != NULL) {
        cacher_leave_behind(s, c);
        cacher_wait_for(s, c);
    }
    c = cacher_make(s, session);
    cacher_bind(s, c, client);
    c->number = number;
    c->cache_ms = lease_of(s, lease_ms);
    return c;
}

uint32_t cache_opened(struct service *s, uint64_t client, uint64_t session, uint32_t lease_ms)
{
    if (s->epoch == 0 || s->config.cache_lease_ms == 0) {
        return 0;
    }
    return renew(s, bind(s, client, session, lease_ms), lease_ms);
}

void cache_begun(struct service *s, const struct lease_session *session,
                 struct service_reply *reply)
{
    if (!session->cache || s->config.cache_lease_ms == 0) {
        return;
    }
    const bool missing = s->caches.missing > 0 && cacher_find(s, session->id) == NULL;
    reply->cache_number = bind(s, reply->client, session->id, session->lease_ms)->number;
    reply->cache_ms = cache_lease(s, reply->client, session->id);
    if (missing && --s->caches.missing == 0) {
        nobody_missing(s);
    }
}

void cache_acknowledged(struct service *s, const struct service_request *request)
{
    if (s->epoch == 0) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    struct cacher *c = cacher_find(s, request->session);
    if (c != NULL && c->bound && c->client == request->client) {
        if (request->cache_number > c->acknowledged) {
            c->acknowledged =
                request->cache_number < c->number ? request->cache_number : c->number;
        }
        cacher_forget_acknowledged(s, c);
    }
    reply_add(s, request->client, request->tag, request->op, SERVICE_DONE);
}
