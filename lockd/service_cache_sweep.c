/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache_sweep.c -- who has to forget something, and is told so.
 *
 *     kept --- a command marks the name ---> owed, not told --- end of turn ---> owed, told
 *
 * A name may be kept by all sessions, a directory be asked by all for what is missing in it,
 * and a new list of principals concerns everything: a million at once would hang everybody
 * for half a second.  So a turn takes from them what it has time for, and the next one goes
 * on.  Whoever waits for a mark waits for those who were not told yet, too; and meanwhile
 * nobody else is granted the name, because it is marked.  If the marks go, so does the
 * reason to tell more of them.
 *
 * The same time is spent on those who say that they have forgotten, or are gone; what a turn
 * has no time for still counts as owed in the next.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- owing */

static void tell_later(struct service *s, struct cacher *c)
{
    struct caches *all = &s->caches;
    all->untold++;
    if (!c->telling) {
        c->telling = true;
        c->tell_next = NULL;
        *all->tell_end = c;
        all->tell_end = &c->tell_next;
    }
}

static void owe(struct service *s, struct kept *k)
{
    struct cacher *c = k->cacher;
    kept_invalidate(s, k);
    if (!c->over) {
        k->name->awaited++;
        if (k->name->directory != NULL) {
            k->name->directory->awaited_below++;
        }
        s->caches.everything->awaited++;
        cacher_wait_for(s, c);
    }
    if (c->bound) {
        tell_later(s, c);
    }
}

/* ----------------------------------------------------------------- sweeping */

bool caches_have_time(const struct service *s)
{
    return s->caches.swept < CACHE_SWEEP_MAX;
}

static void sweep_name(struct service *s, struct cached_name *name)
{
    while (name->kept != NULL && caches_have_time(s)) {
        if (!cacher_gone(s, name->kept->cacher)) {
            owe(s, name->kept);
        }
    }
}

/* A name that nobody keeps is none of these any more. */
static void sweep_absent(struct service *s, struct cached_name *directory)
{
    while (directory->absent != NULL && caches_have_time(s)) {
        sweep_name(s, directory->absent);
    }
}

/* A session is told to forget everything once, so it is taken from it at once. */
static void sweep_cachers(struct service *s)
{
    struct cacher *next;
    for (struct cacher *c = s->caches.all; c != NULL && caches_have_time(s); c = next) {
        next = c->all_next;
        if (c->kept == NULL || cacher_gone(s, c)) {
            continue;
        }
        c->everything = true;
        while (c->kept != NULL) {
            owe(s, c->kept);
        }
    }
}

static bool is_left(const struct service *s, const struct cached_name *name)
{
    if (name == s->caches.everything) {
        return name->marks != NULL && s->caches.kept.count > 0;
    }
    return (name->marks != NULL && name->kept != NULL) ||
           (name->below > 0 && name->absent != NULL);
}

static void sweep(struct service *s, struct cached_name *name)
{
    if (!is_left(s, name)) {
        return;
    }
    if (name == s->caches.everything) {
        sweep_cachers(s);
        return;
    }
    sweep_name(s, name);
    if (name->below > 0) {
        sweep_absent(s, name);
    }
}

void cache_invalidate(struct service *s, struct cached_name *name)
{
    assert(name->marks != NULL);
    sweep(s, name);
    if (is_left(s, name) && !name->sweeping) {
        name->sweeping = true;
        name->uses++;
        name->sweep_next = NULL;
        *s->caches.sweeps_end = name;
        s->caches.sweeps_end = &name->sweep_next;
    }
}

static void sweep_acknowledged(struct service *s)
{
    s->caches.acknowledging = false;
    for (struct cacher *c = s->caches.all; c != NULL; c = c->all_next) {
        cacher_forget_acknowledged(s, c);
    }
}

static void end_sweep(struct service *s)
{
    struct caches *all = &s->caches;
    struct cached_name *name = all->sweeps;
    all->sweeps = name->sweep_next;
    all->sweeps_end = all->sweeps == NULL ? &all->sweeps : all->sweeps_end;
    name->sweeping = false;
    cached_name_heard(s, name);
    cached_name_leave(s, name);
}

void caches_sweep(struct service *s)
{
    if (s->caches.acknowledging) {
        sweep_acknowledged(s);
    }
    while (s->caches.sweeps != NULL) {
        sweep(s, s->caches.sweeps);
        if (is_left(s, s->caches.sweeps)) {
            return;
        }
        end_sweep(s);
    }
}

void caches_sweep_nothing(struct service *s)
{
    while (s->caches.sweeps != NULL) {
        end_sweep(s);
    }
}

/* ------------------------------------------------------------------- telling */

/* As many invalidations as its names take; one, if it is to forget all. */
static uint32_t tell_cacher(struct service *s, struct cacher *c, struct bytes *names)
{
    uint32_t count = 0;
    while (c->untold != NULL) {
        const struct bytes *first = names + count;
        const uint64_t number = ++s->caches.number;
        uint32_t named = 0;
        while (c->untold != NULL && (c->everything || named < SERVICE_INVALIDATE_MAX)) {
            const struct cached_name *name = c->untold->name;
            names[count++] = bytes_of(name->path, name->path_size);
            c->untold->number = number;
            c->untold = c->untold->cacher_next;
            named++;
        }
        c->number = number;
        event_add(s, &(struct service_event){
                         .client = c->client,
                         .kind = SERVICE_EVENT_INVALIDATE,
                         .session = c->session,
                         .number = number,
                         .names = c->everything ? NULL : first,
                         .names_count = c->everything ? 0 : named,
                     });
    }
    return count;
}

void caches_tell(struct service *s)
{
    struct caches *all = &s->caches;
    if (all->tell == NULL) {
        return;
    }
    all->told =
        table_grow(s, all->told, 0, &all->told_capacity, all->untold, sizeof *all->told);
    uint32_t count = 0;
    for (struct cacher *c = all->tell; c != NULL; c = c->tell_next) {
        count += tell_cacher(s, c, all->told + count);
        c->telling = false;
        c->everything = false;
        if (c->over) {
            cacher_forget_told(s, c);
        }
    }
    assert(count <= all->untold);
    all->tell = NULL;
    all->tell_end = &all->tell;
    all->untold = 0;
}
