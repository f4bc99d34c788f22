/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache.c -- who keeps what, and who has yet to forget it (Chubby, 2.7).
 *
 * A session that has declared a cache may answer reads from memory.  The claim is: no
 * linearizable read, answered from memory or by a master, is older than a write that was
 * acknowledged before it began.  Suppose that a client keeps what a write W has changed,
 * answers a read with it, and W was acknowledged before that read began.
 *
 *  1. It was kept because of a fill: an answer of a master, after a round, given over the
 *     connection to which the cache is bound.  The very step that read the state
 *     registered the session (cache_grant()).  Let M be the master that proposed W.
 *
 *  2. The fill came from M, in the same mastership.  Then either
 *     a. it was registered before W was looked at for the last time.  W names, among what
 *        it may change, the node of the fill, there or not (service_cache_look.c); so the
 *        session was told, and W was held until it had said that it had forgotten, or
 *        had ended, or its cache lease was over.  Or
 *     b. it was registered after that, and before W was applied: but then the name was
 *        marked, and nothing is registered under a mark.  Or
 *     c. it was registered after W was applied: then it shows W.
 *     That W is looked at in the state in which it takes effect, as far as that matters,
 *     is argued where it is done.  What was proposed before anybody looked, because no
 *     session had declared a cache, is applied before the first name is kept.
 *
 *  3. The client that was told has forgotten.  An invalidation goes over the connection
 *     over which its fill went, and behind it: a turn looks at commands and tells of
 *     invalidations first, answers reads after that, and looks at no command then.
 *     Should the client deal with them out of order, the fill bears the number of the
 *     last invalidation before it, and is dropped by whoever has heard of a later one.
 *     What comes over any other connection the client does not take for a fill.
 *
 *  4. The lease.  The client counts (1 - drift) x lease from when it sent what was
 *     answered; we count the whole lease from when we answer, which is later.  The clocks
 *     differ in rate by the drift at most.  So what is over here is over there.  When it
 *     is renewed later, the client goes on to use what it keeps: hence what was
 *     invalidated while the lease was over is told all the same, and by the order of 3.
 *     before the renewal.  A cache lease never outlasts that of its session.
 *
 *  5. The fill came from another mastership, so from an earlier one, L: had M's successor
 *     given it, it would show W.  L's last answer that brought a cache lease rests on a
 *     round, or an entry, of before M served.  M proposes nothing until each session that
 *     declared a cache has said cache.begin to M, hence keeps nothing of L's, or a whole
 *     cache lease has passed since M began to serve.  Who declared one is replicated, so
 *     M knows it.  (All replicas must have the same cache_lease_ms, or a longer one before
 *     a longer one is granted.)
 *
 *  6. The connection.  cache.begin says that what was granted before it is forgotten, on
 *     whatever connection.  But one may arrive late, from a connection that the client
 *     has long given up, after the client has begun anew on another and been granted
 *     more.  So only what was granted over the same connection is forgotten with it; the
 *     rest is left behind, and waited for until its lease is over.
 *
 * A turn has time to take so much from those who keep it, and no more (service_cache_sweep.c).
 * That changes nothing of the above: whoever still keeps a marked name, or is missing
 * something in a directory of which that is forgotten, counts as one who has not
 * acknowledged yet (mark_awaited()).
 *
 * A node's content, metadata and absence are kept so; its lock is not, nor are lists.
 * Absence is only kept of what could be made: in a directory that is there, whose ACLs
 * then say who may know of it.
 *
 * A client that renews its lease and never acknowledges would stop all writers.  Its
 * lease is not renewed while it owes an acknowledgement of what it was told before the
 * last renewal; so it delays a write by two leases at most.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* --------------------------------------------------------------------- grants */

/* What is missing is kept only where it could be made, and nobody changes who may know. */
static bool may_be_kept_absent(const struct service *s, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    const struct bytes directory = directory_of(path);
    const struct cached_name *name = cached_name_find(s, directory);
    return lease_get(s->lease, directory, &stat, &content) == LEASE_OK &&
           stat.kind == LEASE_DIRECTORY && (name == NULL || name->below == 0);
}

static bool is_absent(const struct service *s, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    return lease_get(s->lease, path, &stat, &content) != LEASE_OK;
}

/* May a command on its way change it? */
static bool is_marked(const struct service *s, const struct cached_name *name)
{
    return (name != NULL && name->marks != NULL) || s->caches.everything->marks != NULL ||
           caches_unseeing(s);
}

static void join_directory(struct service *s, struct cached_name *name)
{
    assert(name->kept != NULL);
    if (name->absent_link != NULL) {
        return;
    }
    struct cached_name *directory = name->directory;
    if (directory == NULL) {
        directory = cached_name_make(s, directory_of(bytes_of(name->path, name->path_size)));
        directory->uses++;
        directory->awaited_below += name->awaited;
        name->directory = directory;
    }
    name->absent_next = directory->absent;
    name->absent_link = &directory->absent;
    if (name->absent_next != NULL) {
        name->absent_next->absent_link = &name->absent_next;
    }
    directory->absent = name;
}

static bool has_room(const struct service *s, const struct cacher *c, struct bytes path)
{
    const struct caches *all = &s->caches;
    return all->count < s->config.cached_max && c->count < CACHED_SESSION_MAX &&
           all->names_octets + path.size <= (uint64_t)s->config.cached_max * CACHED_NAME_OCTETS;
}

bool cache_grant(struct service *s, uint64_t client, uint64_t session, struct bytes path,
                 uint64_t *ret_number)
{
    struct caches *all = &s->caches;
    struct cacher *c = all->active ? cacher_find(s, session) : NULL;
    if (c == NULL || !c->bound || c->client != client || c->over || s->now_ms >= c->until_ms) {
        return false;
    }
    struct cached_name *name = cached_name_find(s, path);
    if (is_marked(s, name) && !mutant(fill_after_invalidate)) {
        return false;
    }
    const bool absent = is_absent(s, path);
    if (absent && !may_be_kept_absent(s, path)) {
        return false;
    }
    if (name == NULL || kept_find(s, c, name) == NULL) {
        if (!has_room(s, c, path)) {
            return false;
        }
        name = cached_name_make(s, path);
        kept_make(s, c, name);
    }
    if (absent) {
        join_directory(s, name);
    }
    *ret_number = c->number;
    return true;
}

/* ----------------------------------------------------------------------- life */

/* From here on commands are looked at; those that are on their way already were not. */
static void activate(struct service *s)
{
    struct caches *all = &s->caches;
    if (all->everything == NULL) {
        all->everything = table_new(s, 1, sizeof *all->everything);
        *all->everything = (struct cached_name){.uses = 1};
    }
    all->active = true;
    all->unseen = s->queue.count;
    all->unseen_slot = s->judged.slot;
    sessions_admit(s);
}

static bool is_declared(const struct service *s)
{
    return s->config.cache_lease_ms > 0 && lease_counts(s->lease).caching > 0;
}

void caches_begin(struct service *s)
{
    if (!is_declared(s)) {
        return;
    }
    activate(s);
    if (!mutant(caches_not_awaited)) {
        s->caches.missing = lease_counts(s->lease).caching;
        s->caches.missing_ms = s->now_ms + s->config.cache_lease_ms;
    }
}

static void drop_cachers(struct service *s)
{
    struct caches *all = &s->caches;
    all->tell = NULL;
    all->tell_end = &all->tell;
    all->untold = 0;
    all->over_ms = UINT64_MAX;
    all->look_ms = 0;
    for (struct cacher *c = all->all, *next; c != NULL; c = next) {
        next = c->all_next;
        c->telling = false;
        cacher_dismiss(s, c);
    }
    caches_sweep_nothing(s);
}

void caches_lost(struct service *s)
{
    drop_cachers(s);
    intents_lost(s);
    s->caches.active = false;
    s->caches.missing = 0;
    s->caches.unseen = 0;
    s->caches.unseen_slot = 0;
}

void caches_applied(struct service *s, uint64_t slot)
{
    struct caches *all = &s->caches;
    intents_applied(s, slot);
    if (all->unseen_slot != 0 && slot >= all->unseen_slot) {
        all->unseen_slot = 0;
        intents_consider_all(s);
    }
    const bool declared = is_declared(s);
    if (declared && !all->active) {
        activate(s);
    } else if (!declared && all->active && all->held == 0 && all->wanted == NULL) {
        drop_cachers(s);
        all->active = false;
        all->missing = 0; /* They have ended. */
    }
}

void cache_session_over(struct service *s, uint64_t session)
{
    struct cacher *c = cacher_find(s, session);
    if (c != NULL) {
        cacher_dismiss(s, c);
    }
}

void caches_forget(struct service *s, uint64_t client)
{
    struct cacher *c = cacher_of_client(s, client);
    for (; c != NULL; c = cacher_of_client(s, client)) {
        cacher_unbind(c);
        if (c->over && caches_have_time(s)) {
            cacher_forget_all(s, c);
        }
        cacher_wait_for(s, c);
    }
}

uint64_t caches_wake_ms(const struct service *s)
{
    const struct caches *all = &s->caches;
    const uint64_t at_ms = all->over_ms < all->look_ms ? all->look_ms : all->over_ms;
    return all->missing > 0 && all->missing_ms < at_ms ? all->missing_ms : at_ms;
}

bool caches_ready(const struct service *s)
{
    return s->caches.ready != NULL || s->caches.sweeps != NULL || s->caches.acknowledging;
}

void caches_init(struct service *s)
{
    struct caches *all = &s->caches;
    all->over_ms = UINT64_MAX;
    all->tell_end = &all->tell;
    all->sweeps_end = &all->sweeps;
    all->ready_end = &all->ready;
    all->flying_end = &all->flying;
}

static void free_pending(void *context, struct pending *pending)
{
    cache_settled(context, pending->intent);
}

void caches_free(struct service *s)
{
    caches_lost(s);
    s->caches.swept = 0;
    while (s->caches.all != NULL) {
        cacher_dismiss(s, s->caches.all);
        s->caches.swept = 0;
    }
    pending_each(&s->queue, free_pending, s);
    cache_index_free(s);
}

/* What a cacher counts of itself. */
static uint32_t check_owed(const struct service *s, const struct cacher *c)
{
    uint32_t awaited = 0;
    for (const struct kept *k = c->owed; k != NULL; k = k->cacher_next) {
        assert(c->over || k->name->awaited > 0);
        awaited += !c->over;
    }
    assert(!cacher_awaited(c) || s->caches.over_ms <= c->until_ms);
    assert(c->telling || c->untold == NULL);
    return awaited;
}

void caches_check(const struct service *s)
{
    const struct caches *all = &s->caches;
    cache_index_check(s);
    intents_check(s);
    uint32_t awaited = 0;
    for (const struct cacher *c = all->all; c != NULL; c = c->all_next) {
        awaited += check_owed(s, c);
    }
    assert(awaited == (all->everything == NULL ? 0 : all->everything->awaited));
    assert(s->epoch != 0 || (all->held == 0 && !all->active));
    assert(all->count <= s->config.cached_max || all->count == 0);
    assert(s->queue.count + all->held <= s->queue.capacity);
}
