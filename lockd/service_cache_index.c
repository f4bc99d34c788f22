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

static uint64_t hash_of_name(const struct service *s, const struct chain_link *link)
{
    (void)s;
    return CHAINED(link, const struct cached_name, by_path)->hash;
}

static bool is_name(const struct chain_link *link, const void *key)
{
    const struct cached_name *name = CHAINED(link, const struct cached_name, by_path);
    return bytes_equal(*(const struct bytes *)key, bytes_of(name->path, name->path_size));
}

static uint64_t kept_hash(const struct service *s, const struct cacher *c,
                          const struct cached_name *name)
{
    return pair_hash(s, c->session, name->hash);
}

static uint64_t hash_of_kept(const struct service *s, const struct chain_link *link)
{
    const struct kept *k = CHAINED(link, const struct kept, by_both);
    return kept_hash(s, k->cacher, k->name);
}

static bool is_kept(const struct chain_link *link, const void *key)
{
    const struct kept *k = CHAINED(link, const struct kept, by_both);
    const struct kept *wanted = key;
    return k->cacher == wanted->cacher && k->name == wanted->name;
}

static uint64_t hash_of_cacher(const struct service *s, const struct chain_link *link)
{
    return pair_hash(s, CHAINED(link, const struct cacher, by_session)->session, 0);
}

static bool is_cacher(const struct chain_link *link, const void *key)
{
    return CHAINED(link, const struct cacher, by_session)->session == *(const uint64_t *)key;
}

static uint64_t hash_of_lane(const struct service *s, const struct chain_link *link)
{
    const struct lane *lane = CHAINED(link, const struct lane, by_key);
    return pair_hash(s, lane->key, lane->one_shot);
}

static bool is_lane(const struct chain_link *link, const void *key)
{
    const struct lane *lane = CHAINED(link, const struct lane, by_key);
    const struct lane *wanted = key;
    return lane->key == wanted->key && lane->one_shot == wanted->one_shot;
}

static struct cacher **client_first(const struct service *s, uint64_t client)
{
    const uint64_t hash = hash64(&client, sizeof client);
    return &s->caches.by_client[hash & (s->caches.clients_buckets - 1)];
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

/* As many buckets as the cachers have, whose links are not of this kind: of one client there
 * may be many, and each can leave. */
static void follow_cachers(struct service *s)
{
    struct caches *all = &s->caches;
    if (all->clients_buckets == all->cachers.buckets) {
        return;
    }
    table_free(s, all->by_client, all->clients_buckets, sizeof(void *));
    all->clients_buckets = all->cachers.buckets;
    all->by_client = table_new(s, all->clients_buckets, sizeof(void *));
    memset(all->by_client, 0, all->clients_buckets * sizeof(void *));
    for (struct cacher *c = all->all; c != NULL; c = c->all_next) {
        if (c->bound) {
            join_client(s, c);
        }
    }
}

/* -------------------------------------------------------------------- names */

struct cached_name *cached_name_find(const struct service *s, struct bytes path)
{
    if (s->caches.names.count == 0) {
        return NULL;
    }
    struct chain_link *link = chains_find(&s->caches.names, path_hash(s, path), is_name, &path);
    return link == NULL ? NULL : CHAINED(link, struct cached_name, by_path);
}

struct cached_name *cached_name_make(struct service *s, struct bytes path)
{
    assert(path.size <= LEASE_PATH_MAX);
    struct cached_name *name = cached_name_find(s, path);
    if (name == NULL) {
        name = table_new(s, 1, sizeof *name + path.size);
        *name =
            (struct cached_name){.hash = path_hash(s, path), .path_size = (uint16_t)path.size};
        if (path.size > 0) {
            memcpy(name->path, path.data, path.size);
        }
        chains_add(s, &s->caches.names, &name->by_path, hash_of_name);
        s->caches.names_octets += path.size;
    }
    return name;
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
        chains_remove(s, &s->caches.names, &name->by_path, hash_of_name);
        s->caches.names_octets -= name->path_size;
        name->by_path.next = s->caches.unused;
        s->caches.unused = &name->by_path;
        name = directory;
    }
}

void caches_recycle(struct service *s)
{
    while (s->caches.unused != NULL) {
        struct cached_name *name = CHAINED(s->caches.unused, struct cached_name, by_path);
        s->caches.unused = name->by_path.next;
        table_free(s, name, 1, sizeof *name + name->path_size);
    }
    s->caches.noted_count = 0;
    s->caches.swept = 0;
}

/* ------------------------------------------------------------------ cachers */

struct cacher *cacher_find(const struct service *s, uint64_t session)
{
    if (s->caches.cachers.count == 0) {
        return NULL;
    }
    struct chain_link *link =
        chains_find(&s->caches.cachers, pair_hash(s, session, 0), is_cacher, &session);
    return link == NULL ? NULL : CHAINED(link, struct cacher, by_session);
}

struct cacher *cacher_make(struct service *s, uint64_t session)
{
    struct caches *all = &s->caches;
    assert(cacher_find(s, session) == NULL);
    struct cacher *c = table_new(s, 1, sizeof *c);
    *c = (struct cacher){.session = session, .current = true, .over = true};
    c->owed_end = &c->owed;
    chains_add(s, &all->cachers, &c->by_session, hash_of_cacher);
    follow_cachers(s);

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
    struct cacher *c = s->caches.clients_buckets == 0 ? NULL : *client_first(s, client);
    while (c != NULL && c->client != client) {
        c = c->client_next;
    }
    return c;
}

void cacher_leave_behind(struct service *s, struct cacher *c)
{
    assert(c->current);
    cacher_unbind(c);
    chains_remove(s, &s->caches.cachers, &c->by_session, hash_of_cacher);
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
    if (s->caches.kept.count == 0) {
        return NULL;
    }
    const struct kept key = {.cacher = (struct cacher *)c, .name = (struct cached_name *)name};
    struct chain_link *link =
        chains_find(&s->caches.kept, kept_hash(s, c, name), is_kept, &key);
    return link == NULL ? NULL : CHAINED(link, struct kept, by_both);
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
    assert(kept_find(s, c, name) == NULL);
    struct kept *k = table_new(s, 1, sizeof *k);
    *k = (struct kept){.cacher = c, .name = name};
    chains_add(s, &all->kept, &k->by_both, hash_of_kept);
    join_name(k);
    join_cacher(k);
    name->uses++;
    c->count++;
    all->count++;
}

/* Out of all indexes. */
static void take_out(struct service *s, struct kept *k)
{
    chains_remove(s, &s->caches.kept, &k->by_both, hash_of_kept);
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
    if (s->caches.lanes.count == 0) {
        return NULL;
    }
    const struct lane wanted = {.key = key, .one_shot = one_shot};
    struct chain_link *link =
        chains_find(&s->caches.lanes, pair_hash(s, key, one_shot), is_lane, &wanted);
    return link == NULL ? NULL : CHAINED(link, struct lane, by_key);
}

struct lane *lane_make(struct service *s, uint64_t key, bool one_shot)
{
    struct lane *lane = lane_find(s, key, one_shot);
    if (lane == NULL) {
        lane = table_new(s, 1, sizeof *lane);
        *lane = (struct lane){.key = key, .one_shot = one_shot};
        lane->held_end = &lane->held;
        chains_add(s, &s->caches.lanes, &lane->by_key, hash_of_lane);
    }
    return lane;
}

void lane_leave(struct service *s, struct lane *lane)
{
    if (lane->held == NULL && lane->flying == 0) {
        chains_remove(s, &s->caches.lanes, &lane->by_key, hash_of_lane);
        table_free(s, lane, 1, sizeof *lane);
    }
}

void lanes_each(struct service *s,
                void (*visit)(struct service *s, struct lane *lane, void *context),
                void *context)
{
    struct chain_walk walk = {.chains = &s->caches.lanes};
    for (struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        visit(s, CHAINED(link, struct lane, by_key), context);
    }
}

/* --------------------------------------------------------------------- life */

void cache_index_free(struct service *s)
{
    struct caches *all = &s->caches;
    assert(all->all == NULL);
    caches_recycle(s);
    chains_free(s, &all->names);
    chains_free(s, &all->kept);
    chains_free(s, &all->cachers);
    chains_free(s, &all->lanes);
    table_free(s, all->by_client, all->clients_buckets, sizeof(void *));
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
    struct chain_walk walk = {.chains = &s->caches.names};
    for (const struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        const struct cached_name *n = CHAINED(link, const struct cached_name, by_path);
        check_name(s, n);
        names++;
        awaited_below += n->awaited_below;
        awaited_absent += n->directory == NULL ? 0 : n->awaited;
    }
    assert(names == s->caches.names.count && awaited_below == awaited_absent);
    uint32_t count = 0;
    for (const struct cacher *c = s->caches.all; c != NULL; c = c->all_next) {
        assert(*c->all_link == c);
        assert(c->current == (cacher_find(s, c->session) == c));
        assert(!c->bound || (c->current && *c->client_link == c));
        count += check_cacher(c);
    }
    assert(count == s->caches.count && s->caches.kept.count <= count);
}
