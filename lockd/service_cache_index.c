/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache_index.c -- the tables of the caches: names, who keeps them, lanes.
 *
 * What a session keeps stands in three indexes: with the others of the same name, so that
 * a command finds all who keep it; with the others of the same session, which leave
 * together; and under both, so that nothing is kept twice.  All who keep a name share
 * its octets.
 *
 * A name whose last use ends leaves the table at once, but its octets stay until the turn
 * is over, because what the turn tells borrows them.
 */
#include "lockd/service_internal.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

enum { BUCKETS_FIRST = 64 };

struct bytes directory_of(struct bytes path)
{
    size_t size = path.size;
    while (size > 0 && path.data[size - 1] != '/') {
        size--;
    }
    return bytes_of(path.data, size == 0 ? 0 : size - 1);
}

/* ------------------------------------------------------------------ buckets */

/* Names and sessions are the clients' choice; the seed keeps them from choosing a bucket
 * with them. */
static uint64_t path_hash(const struct service *s, struct bytes path)
{
    return path.size == 0 ? 0 : hash64_seeded(path.data, path.size, s->config.paxos.seed);
}

static uint64_t pair_hash(const struct service *s, uint64_t a, uint64_t b)
{
    const uint64_t key[2] = {a, b};
    return hash64_seeded(key, sizeof key, s->config.paxos.seed);
}

static struct cached_name **name_link(const struct service *s, uint64_t hash, struct bytes path)
{
    struct cached_name **link = &s->caches.names[hash & (s->caches.names_buckets - 1)];
    while (*link != NULL && !((*link)->hash == hash &&
                              bytes_equal(path, bytes_of((*link)->path, (*link)->path_size)))) {
        link = &(*link)->next;
    }
    return link;
}

static struct kept **kept_link(const struct service *s, const struct cacher *c,
                               const struct cached_name *name)
{
    const uint64_t hash = pair_hash(s, c->session, name->hash);
    struct kept **link = &s->caches.kept[hash & (s->caches.kept_buckets - 1)];
    while (*link != NULL && ((*link)->cacher != c || (*link)->name != name)) {
        link = &(*link)->next;
    }
    return link;
}

static struct cacher **cacher_link(const struct service *s, uint64_t session)
{
    const uint64_t hash = pair_hash(s, session, 0);
    struct cacher **link = &s->caches.cachers[hash & (s->caches.cachers_buckets - 1)];
    while (*link != NULL && (*link)->session != session) {
        link = &(*link)->next;
    }
    return link;
}

static struct lane **lane_link(const struct service *s, uint64_t key, bool one_shot)
{
    const uint64_t hash = pair_hash(s, key, one_shot);
    struct lane **link = &s->caches.lanes[hash & (s->caches.lanes_buckets - 1)];
    while (*link != NULL && ((*link)->key != key || (*link)->one_shot != one_shot)) {
        link = &(*link)->next;
    }
    return link;
}

/* Twice as many buckets, all empty. */
static void *more_buckets(struct service *s, size_t *buckets)
{
    *buckets = *buckets == 0 ? BUCKETS_FIRST : 2 * *buckets;
    void *table = table_new(s, *buckets, sizeof(void *));
    memset(table, 0, *buckets * sizeof(void *));
    return table;
}

static void grow_names(struct service *s)
{
    struct caches *all = &s->caches;
    struct cached_name **old = all->names;
    const size_t old_buckets = all->names_buckets;
    all->names = more_buckets(s, &all->names_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct cached_name *name = old[i], *next; name != NULL; name = next) {
            next = name->next;
            struct cached_name **first = &all->names[name->hash & (all->names_buckets - 1)];
            name->next = *first;
            *first = name;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

static void grow_kept(struct service *s)
{
    struct caches *all = &s->caches;
    struct kept **old = all->kept;
    const size_t old_buckets = all->kept_buckets;
    all->kept = more_buckets(s, &all->kept_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct kept *k = old[i], *next; k != NULL; k = next) {
            next = k->next;
            const uint64_t hash = pair_hash(s, k->cacher->session, k->name->hash);
            struct kept **first = &all->kept[hash & (all->kept_buckets - 1)];
            k->next = *first;
            *first = k;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

static struct cacher **client_first(const struct service *s, uint64_t client)
{
    const uint64_t hash = hash64(&client, sizeof client);
    return &s->caches.by_client[hash & (s->caches.cachers_buckets - 1)];
}

static void join_client(const struct service *s, struct cacher *c)
{
    struct cacher **first = client_first(s, c->client);
    c->client_next = *first;
    c->client_link = first;
    if (*first != NULL) {
        (*first)->client_link = &c->client_next;
    }
    *first = c;
}

static void grow_cachers(struct service *s)
{
    struct caches *all = &s->caches;
    struct cacher **old = all->cachers;
    const size_t old_buckets = all->cachers_buckets;
    size_t buckets = old_buckets;
    table_free(s, all->by_client, old_buckets, sizeof(void *));
    all->by_client = more_buckets(s, &buckets);
    all->cachers = more_buckets(s, &all->cachers_buckets);
    for (struct cacher *c = all->all; c != NULL; c = c->all_next) {
        if (c->bound) {
            join_client(s, c);
        }
    }
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct cacher *c = old[i], *next; c != NULL; c = next) {
            next = c->next;
            struct cacher **end = cacher_link(s, c->session);
            c->next = NULL;
            *end = c;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

static void grow_lanes(struct service *s)
{
    struct caches *all = &s->caches;
    struct lane **old = all->lanes;
    const size_t old_buckets = all->lanes_buckets;
    all->lanes = more_buckets(s, &all->lanes_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct lane *lane = old[i], *next; lane != NULL; lane = next) {
            next = lane->next;
            struct lane **end = lane_link(s, lane->key, lane->one_shot);
            lane->next = NULL;
            *end = lane;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

/* -------------------------------------------------------------------- names */

struct cached_name *cached_name_find(const struct service *s, struct bytes path)
{
    return s->caches.names_count == 0 ? NULL : *name_link(s, path_hash(s, path), path);
}

struct cached_name *cached_name_make(struct service *s, struct bytes path)
{
    assert(path.size <= LEASE_PATH_MAX);
    if (s->caches.names_count == s->caches.names_buckets) {
        grow_names(s);
    }
    const uint64_t hash = path_hash(s, path);
    struct cached_name **link = name_link(s, hash, path);
    if (*link == NULL) {
        struct cached_name *name = table_new(s, 1, sizeof *name + path.size);
        *name = (struct cached_name){.hash = hash, .path_size = (uint16_t)path.size};
        if (path.size > 0) {
            memcpy(name->path, path.data, path.size);
        }
        *link = name;
        s->caches.names_count++;
        s->caches.names_octets += path.size;
    }
    return *link;
}

/* Nobody keeps its absence any more. */
static void leave_absent(struct cached_name *name)
{
    *name->absent_link = name->absent_next;
    if (name->absent_next != NULL) {
        name->absent_next->absent_link = name->absent_link;
    }
    name->absent_link = NULL;
}

void cached_name_leave(struct service *s, struct cached_name *name)
{
    while (name != NULL) {
        assert(name->uses > 0);
        if (--name->uses > 0) {
            return;
        }
        assert(name->kept == NULL && name->marks == NULL && name->awaited == 0);
        assert(name->absent_link == NULL && name->awaited_below == 0);
        struct cached_name *directory = name->directory;
        name->directory = NULL;
        *name_link(s, name->hash, bytes_of(name->path, name->path_size)) = name->next;
        s->caches.names_count--;
        s->caches.names_octets -= name->path_size;
        name->next = s->caches.unused;
        s->caches.unused = name;
        name = directory;
    }
}

void caches_recycle(struct service *s)
{
    while (s->caches.unused != NULL) {
        struct cached_name *name = s->caches.unused;
        s->caches.unused = name->next;
        table_free(s, name, 1, sizeof *name + name->path_size);
    }
    s->caches.noted_count = 0;
    s->caches.swept = 0;
}

/* ------------------------------------------------------------------ cachers */

struct cacher *cacher_find(const struct service *s, uint64_t session)
{
    return s->caches.cachers_count == 0 ? NULL : *cacher_link(s, session);
}

struct cacher *cacher_make(struct service *s, uint64_t session)
{
    struct caches *all = &s->caches;
    if (all->cachers_count == all->cachers_buckets) {
        grow_cachers(s);
    }
    struct cacher **link = cacher_link(s, session);
    assert(*link == NULL);
    struct cacher *c = table_new(s, 1, sizeof *c);
    *c = (struct cacher){.session = session, .current = true, .over = true};
    c->owed_end = &c->owed;
    *link = c;
    all->cachers_count++;

    c->all_next = all->all;
    c->all_link = &all->all;
    if (all->all != NULL) {
        all->all->all_link = &c->all_next;
    }
    all->all = c;
    all->all_count++;
    return c;
}

void cacher_bind(struct service *s, struct cacher *c, uint64_t client)
{
    assert(!c->bound);
    c->client = client;
    c->bound = true;
    join_client(s, c);
}

void cacher_unbind(struct cacher *c)
{
    if (!c->bound) {
        return;
    }
    *c->client_link = c->client_next;
    if (c->client_next != NULL) {
        c->client_next->client_link = c->client_link;
    }
    c->bound = false;
    c->untold = NULL; /* Nothing can be told any more. */
}

struct cacher *cacher_of_client(const struct service *s, uint64_t client)
{
    struct cacher *c = s->caches.cachers_count == 0 ? NULL : *client_first(s, client);
    while (c != NULL && c->client != client) {
        c = c->client_next;
    }
    return c;
}

void cacher_leave_behind(struct service *s, struct cacher *c)
{
    assert(c->current);
    cacher_unbind(c);
    *cacher_link(s, c->session) = c->next;
    s->caches.cachers_count--;
    c->next = NULL;
    c->current = false;
}

void cacher_free(struct service *s, struct cacher *c)
{
    assert(c->kept == NULL && c->owed == NULL && c->count == 0 && !c->telling);
    if (c->current) {
        cacher_leave_behind(s, c);
    }
    *c->all_link = c->all_next;
    if (c->all_next != NULL) {
        c->all_next->all_link = c->all_link;
    }
    s->caches.all_count--;
    table_free(s, c, 1, sizeof *c);
}

/* --------------------------------------------------------------------- kept */

struct kept *kept_find(const struct service *s, const struct cacher *c,
                       const struct cached_name *name)
{
    return s->caches.kept_count == 0 ? NULL : *kept_link(s, c, name);
}

static void join_name(struct kept *k)
{
    k->name_next = k->name->kept;
    k->name_link = &k->name->kept;
    if (k->name_next != NULL) {
        k->name_next->name_link = &k->name_next;
    }
    k->name->kept = k;
}

static void join_cacher(struct kept *k)
{
    k->cacher_next = k->cacher->kept;
    k->cacher_link = &k->cacher->kept;
    if (k->cacher_next != NULL) {
        k->cacher_next->cacher_link = &k->cacher_next;
    }
    k->cacher->kept = k;
}

void kept_make(struct service *s, struct cacher *c, struct cached_name *name)
{
    struct caches *all = &s->caches;
    if (all->kept_count == all->kept_buckets) {
        grow_kept(s);
    }
    struct kept **link = kept_link(s, c, name);
    assert(*link == NULL);
    struct kept *k = table_new(s, 1, sizeof *k);
    *k = (struct kept){.cacher = c, .name = name};
    *link = k;
    join_name(k);
    join_cacher(k);
    name->uses++;
    c->count++;
    all->kept_count++;
    all->count++;
}

/* Out of all indexes. */
static void take_out(struct service *s, struct kept *k)
{
    *kept_link(s, k->cacher, k->name) = k->next;
    s->caches.kept_count--;
    *k->name_link = k->name_next;
    if (k->name_next != NULL) {
        k->name_next->name_link = k->name_link;
    }
    *k->cacher_link = k->cacher_next;
    if (k->cacher_next != NULL) {
        k->cacher_next->cacher_link = k->cacher_link;
    }
    k->name_link = NULL;
    if (k->name->kept == NULL && k->name->absent_link != NULL) {
        leave_absent(k->name);
    }
}

void kept_invalidate(struct service *s, struct kept *k)
{
    struct cacher *c = k->cacher;
    s->caches.swept++;
    take_out(s, k);
    k->cacher_next = NULL;
    *c->owed_end = k;
    c->owed_end = &k->cacher_next;
    if (c->untold == NULL && c->bound) {
        c->untold = k;
    }
}

void kept_free(struct service *s, struct kept *k)
{
    struct cacher *c = k->cacher;
    s->caches.swept++;
    if (k->name_link != NULL) {
        take_out(s, k);
    } else {
        assert(c->owed == k);
        c->owed = k->cacher_next;
        c->owed_end = c->owed == NULL ? &c->owed : c->owed_end;
        c->untold = c->untold == k ? k->cacher_next : c->untold;
    }
    c->count--;
    s->caches.count--;
    cached_name_leave(s, k->name);
    table_free(s, k, 1, sizeof *k);
}

/* -------------------------------------------------------------------- lanes */

struct lane *lane_find(const struct service *s, uint64_t key, bool one_shot)
{
    return s->caches.lanes_count == 0 ? NULL : *lane_link(s, key, one_shot);
}

struct lane *lane_make(struct service *s, uint64_t key, bool one_shot)
{
    if (s->caches.lanes_count == s->caches.lanes_buckets) {
        grow_lanes(s);
    }
    struct lane **link = lane_link(s, key, one_shot);
    if (*link == NULL) {
        struct lane *lane = table_new(s, 1, sizeof *lane);
        *lane = (struct lane){.key = key, .one_shot = one_shot};
        lane->held_end = &lane->held;
        *link = lane;
        s->caches.lanes_count++;
    }
    return *link;
}

void lane_leave(struct service *s, struct lane *lane)
{
    if (lane->held == NULL && lane->flying == 0) {
        *lane_link(s, lane->key, lane->one_shot) = lane->next;
        s->caches.lanes_count--;
        table_free(s, lane, 1, sizeof *lane);
    }
}

void lanes_each(struct service *s,
                void (*visit)(struct service *s, struct lane *lane, void *context),
                void *context)
{
    for (size_t i = 0; i < s->caches.lanes_buckets; i++) {
        for (struct lane *lane = s->caches.lanes[i], *next; lane != NULL; lane = next) {
            next = lane->next;
            visit(s, lane, context);
        }
    }
}

/* --------------------------------------------------------------------- life */

void cache_index_free(struct service *s)
{
    struct caches *all = &s->caches;
    assert(all->names_count == 0 && all->kept_count == 0 && all->cachers_count == 0 &&
           all->lanes_count == 0 && all->all == NULL);
    caches_recycle(s);
    table_free(s, all->names, all->names_buckets, sizeof(void *));
    table_free(s, all->kept, all->kept_buckets, sizeof(void *));
    table_free(s, all->cachers, all->cachers_buckets, sizeof(void *));
    table_free(s, all->by_client, all->cachers_buckets, sizeof(void *));
    table_free(s, all->lanes, all->lanes_buckets, sizeof(void *));
    table_free(s, all->everything, 1, sizeof *all->everything);
    table_free(s, all->told, all->told_capacity, sizeof *all->told);
    table_free(s, all->noted, all->noted_capacity, sizeof *all->noted);
}

/* What a name counts of itself. */
static void check_name(const struct service *s, const struct cached_name *name)
{
    uint32_t kept = 0;
    uint32_t marks = 0;
    uint32_t moves = 0;
    uint32_t below = 0;
    uint32_t absent = 0;
    for (const struct kept *k = name->kept; k != NULL; k = k->name_next) {
        assert(*k->name_link == k && kept_find(s, k->cacher, name) == k);
        kept++;
    }
    for (const struct mark *m = name->marks; m != NULL; m = m->name_next) {
        assert(m->name == name && *m->name_link == m);
        marks++;
        moves += m->moves;
        below += m->below;
    }
    for (const struct cached_name *n = name->absent; n != NULL; n = n->absent_next) {
        assert(n->directory == name && *n->absent_link == n && n->kept != NULL);
        absent++;
    }
    assert(moves == name->moves && below == name->below);
    assert(kept + marks + absent + name->awaited <= name->uses && name->uses > 0);
}

static uint32_t check_cacher(const struct cacher *c)
{
    uint32_t count = 0;
    for (const struct kept *k = c->kept; k != NULL; k = k->cacher_next) {
        assert(k->cacher == c && *k->cacher_link == k && k->number == 0);
        count++;
    }
    bool told = true;
    uint64_t number = 0;
    for (const struct kept *k = c->owed; k != NULL; k = k->cacher_next) {
        assert(k->cacher == c && k->name_link == NULL);
        told = told && k != c->untold;
        if (c->bound) {
            assert(told == (k->number != 0) && (!told || k->number >= number));
        }
        number = k->number;
        count++;
    }
    assert(count == c->count && *c->owed_end == NULL);
    return count;
}

void cache_index_check(const struct service *s)
{
    uint32_t names = 0;
    uint64_t awaited_below = 0; /* And what it should be. */
    uint64_t awaited_absent = 0;
    for (size_t i = 0; i < s->caches.names_buckets; i++) {
        for (const struct cached_name *n = s->caches.names[i]; n != NULL; n = n->next) {
            check_name(s, n);
            names++;
            awaited_below += n->awaited_below;
            awaited_absent += n->directory == NULL ? 0 : n->awaited;
        }
    }
    assert(names == s->caches.names_count && awaited_below == awaited_absent);
    uint32_t count = 0;
    for (const struct cacher *c = s->caches.all; c != NULL; c = c->all_next) {
        assert(*c->all_link == c);
        assert(c->current == (cacher_find(s, c->session) == c));
        assert(!c->bound || (c->current && *c->client_link == c));
        count += check_cacher(c);
    }
    assert(count == s->caches.count && s->caches.kept_count <= count);
}
