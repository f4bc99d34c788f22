/* SPDX-License-Identifier: Apache-2.0
 *
 * service_watch_index.c -- the watches of a name, of a client, and of a change.
 *
 * A watch stands in three indexes: under its name, so that a change finds those
 * who want to hear of it; under its client and number, so that it can be given
 * up; and with the others of its client, which leave together:
 *
 *     by_id (client, number) ----.
 *                                v
 *     watchers (client) -----> watch ---> next of the client
 *                                ^
 *     names (path) --> scope ----'
 *
 * A change of /a/b/c looks up /a/b/c, then /a/b, and only if subtrees are watched
 * at all /a and the root.  Watches of one name share its octets.
 */
#include "lockd/service_internal.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

enum { BUCKETS_FIRST = 64 };

static_assert(sizeof(struct watch) <= 104, "a million of them take 100 MB, besides names");

/* ------------------------------------------------------------------ buckets */

/* Names and numbers are the client's choice; the seed keeps him from choosing a
 * bucket with them. */
static uint64_t path_hash(const struct service *s, struct bytes path)
{
    return path.size == 0 ? 0 : hash64_seeded(path.data, path.size, s->config.paxos.seed);
}

static uint64_t id_hash(const struct service *s, uint64_t client, uint64_t id)
{
    const uint64_t key[2] = {client, id};
    return hash64_seeded(key, sizeof key, s->config.paxos.seed);
}

static struct watched_name **name_link(const struct service *s, uint64_t hash,
                                       struct bytes path)
{
    struct watched_name **link = &s->watches.names[hash & (s->watches.names_buckets - 1)];
    while (*link != NULL && !((*link)->hash == hash &&
                              bytes_equal(path, bytes_of((*link)->path, (*link)->path_size)))) {
        link = &(*link)->next;
    }
    return link;
}

static struct watch **id_link(const struct service *s, uint64_t client, uint64_t id)
{
    struct watch **link =
        &s->watches.by_id[id_hash(s, client, id) & (s->watches.by_id_buckets - 1)];
    while (*link != NULL && ((*link)->id != id || (*link)->watcher->client != client)) {
        link = &(*link)->next;
    }
    return link;
}

static struct watcher **watcher_link(const struct service *s, uint64_t client)
{
    const uint64_t hash = hash64(&client, sizeof client);
    struct watcher **link = &s->watches.watchers[hash & (s->watches.watchers_buckets - 1)];
    while (*link != NULL && (*link)->client != client) {
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
    struct watches *all = &s->watches;
    struct watched_name **old = all->names;
    const size_t old_buckets = all->names_buckets;
    all->names = more_buckets(s, &all->names_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct watched_name *name = old[i], *next; name != NULL; name = next) {
            next = name->next;
            struct watched_name **first = &all->names[name->hash & (all->names_buckets - 1)];
            name->next = *first;
            *first = name;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

static void grow_by_id(struct service *s)
{
    struct watches *all = &s->watches;
    struct watch **old = all->by_id;
    const size_t old_buckets = all->by_id_buckets;
    all->by_id = more_buckets(s, &all->by_id_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct watch *w = old[i], *next; w != NULL; w = next) {
            next = w->next;
            const uint64_t hash = id_hash(s, w->watcher->client, w->id);
            struct watch **first = &all->by_id[hash & (all->by_id_buckets - 1)];
            w->next = *first;
            *first = w;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

static void grow_watchers(struct service *s)
{
    struct watches *all = &s->watches;
    struct watcher **old = all->watchers;
    const size_t old_buckets = all->watchers_buckets;
    all->watchers = more_buckets(s, &all->watchers_buckets);
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct watcher *c = old[i], *next; c != NULL; c = next) {
            next = c->next;
            struct watcher **end = watcher_link(s, c->client);
            c->next = NULL;
            *end = c;
        }
    }
    table_free(s, old, old_buckets, sizeof(void *));
}

/* ----------------------------------------------------------------- watchers */

struct watcher *watcher_find(const struct service *s, uint64_t client)
{
    return s->watches.watchers_count == 0 ? NULL : *watcher_link(s, client);
}

struct watcher *watcher_make(struct service *s, uint64_t client)
{
    if (s->watches.watchers_count == s->watches.watchers_buckets) {
        grow_watchers(s);
    }
    struct watcher **link = watcher_link(s, client);
    if (*link == NULL) {
        *link = table_new(s, 1, sizeof **link);
        **link = (struct watcher){.client = client};
        s->watches.watchers_count++;
    }
    return *link;
}

void watcher_free(struct service *s, struct watcher *c)
{
    assert(c->count == 0 && c->behind_link == NULL);
    *watcher_link(s, c->client) = c->next;
    s->watches.watchers_count--;
    table_free(s, c, 1, sizeof *c);
}

void watchers_each(struct service *s, void (*visit)(struct service *s, struct watcher *c))
{
    for (size_t i = 0; i < s->watches.watchers_buckets; i++) {
        for (struct watcher *c = s->watches.watchers[i], *next; c != NULL; c = next) {
            next = c->next;
            visit(s, c);
        }
    }
}

/* ------------------------------------------------------------------ watches */

static struct watch **scope_first(struct watched_name *name, uint8_t scope)
{
    assert(scope >= SERVICE_SCOPE_NODE && scope <= SERVICE_SCOPE_SUBTREE);
    return &name->watches[scope - SERVICE_SCOPE_NODE];
}

static struct watched_name *name_make(struct service *s, struct bytes path)
{
    assert(path.size <= LEASE_PATH_MAX);
    if (s->watches.names_count == s->watches.names_buckets) {
        grow_names(s);
    }
    const uint64_t hash = path_hash(s, path);
    struct watched_name **link = name_link(s, hash, path);
    if (*link == NULL) {
        struct watched_name *name = table_new(s, 1, sizeof *name + path.size);
        *name = (struct watched_name){.hash = hash, .path_size = (uint16_t)path.size};
        if (path.size > 0) {
            memcpy(name->path, path.data, path.size);
        }
        *link = name;
        s->watches.names_count++;
    }
    return *link;
}

static void name_leave(struct service *s, struct watched_name *name)
{
    if (--name->count > 0) {
        return;
    }
    *name_link(s, name->hash, bytes_of(name->path, name->path_size)) = name->next;
    s->watches.names_count--;
    table_free(s, name, 1, sizeof *name + name->path_size);
}

struct watch *watch_find(const struct service *s, uint64_t client, uint64_t id)
{
    return s->watches.count == 0 ? NULL : *id_link(s, client, id);
}

static void join_name(struct watch *w)
{
    struct watch **first = scope_first(w->name, w->scope);
    w->name_next = *first;
    w->name_link = first;
    if (*first != NULL) {
        (*first)->name_link = &w->name_next;
    }
    *first = w;
    w->name->count++;
}

static void join_watcher(struct watch *w)
{
    struct watch **first = &w->watcher->watches;
    w->client_next = *first;
    w->client_link = first;
    if (*first != NULL) {
        (*first)->client_link = &w->client_next;
    }
    *first = w;
    w->watcher->count++;
}

struct watch *watch_make(struct service *s, struct watcher *c, uint64_t id,
                         enum service_scope scope, struct bytes path)
{
    struct watches *all = &s->watches;
    if (all->count == all->by_id_buckets) {
        grow_by_id(s);
    }
    struct watch **end = id_link(s, c->client, id);
    assert(*end == NULL);
    struct watch *w = table_new(s, 1, sizeof *w);
    *w = (struct watch){
        .watcher = c, .name = name_make(s, path), .id = id, .scope = (uint8_t)scope};
    *end = w;
    join_name(w);
    join_watcher(w);
    all->count++;
    all->subtrees += scope == SERVICE_SCOPE_SUBTREE;
    return w;
}

void watch_free(struct service *s, struct watch *w)
{
    struct watches *all = &s->watches;
    *id_link(s, w->watcher->client, w->id) = w->next;
    *w->name_link = w->name_next;
    if (w->name_next != NULL) {
        w->name_next->name_link = w->name_link;
    }
    *w->client_link = w->client_next;
    if (w->client_next != NULL) {
        w->client_next->client_link = w->client_link;
    }
    w->watcher->count--;
    all->count--;
    all->subtrees -= w->scope == SERVICE_SCOPE_SUBTREE;
    name_leave(s, w->name);
    table_free(s, w, 1, sizeof *w);
}

/* ------------------------------------------------------------------- changes */

/* What a change of a node is to those who watch the node. */
static uint32_t kinds_of_node(const struct lease_event *event)
{
    switch (event->change) {
    case LEASE_CREATED:
        return event->kind == LEASE_FILE ? SERVICE_WATCH_CONTENT : 0;
    case LEASE_WRITTEN:
        return SERVICE_WATCH_CONTENT;
    case LEASE_DELETED:
        return SERVICE_WATCH_DELETE;
    case LEASE_ACL_CHANGED:
        return SERVICE_WATCH_ACL;
    case LEASE_GRANTED:
    case LEASE_RELEASED:
        return SERVICE_WATCH_LOCK;
    case LEASE_CONTENDED:
        return SERVICE_WATCH_CONFLICT;
    }
    return 0;
}

/* And to those who watch its directory. */
static uint32_t kinds_of_child(const struct lease_event *event)
{
    return event->change == LEASE_CREATED || event->change == LEASE_DELETED
               ? SERVICE_WATCH_CHILD
               : 0;
}

static struct bytes parent_of(struct bytes path)
{
    size_t size = path.size;
    while (size > 0 && path.data[size - 1] != '/') {
        size--;
    }
    return bytes_of(path.data, size == 0 ? 0 : size - 1);
}

struct matching {
    void (*visit)(void *context, struct watch *w, uint32_t kinds, bool is_child);
    void *context;
};

static void visit_scope(const struct matching *m, struct watched_name *name, uint8_t scope,
                        uint32_t kinds, bool is_child)
{
    for (struct watch *w = *scope_first(name, scope), *next; w != NULL; w = next) {
        next = w->name_next;
        m->visit(m->context, w, kinds, is_child);
    }
}

static struct watched_name *find_name(const struct service *s, struct bytes path)
{
    return *name_link(s, path_hash(s, path), path);
}

/* Those who watch the directories above: in their scope are the node, if that is
 * not theirs alone, and the directory that it is in. */
static void match_above(const struct service *s, const struct matching *m, struct bytes path,
                        uint32_t own, uint32_t child)
{
    bool is_parent = true;
    while (path.size > 0 && (is_parent || s->watches.subtrees > 0)) {
        path = parent_of(path);
        struct watched_name *name = find_name(s, path);
        if (name != NULL && is_parent) {
            visit_scope(m, name, SERVICE_SCOPE_NODE, child, /* is_child= */ true);
            visit_scope(m, name, SERVICE_SCOPE_CHILDREN, own | child, /* is_child= */ true);
        }
        if (name != NULL) {
            visit_scope(m, name, SERVICE_SCOPE_SUBTREE, own | child, /* is_child= */ true);
        }
        is_parent = false;
    }
}

void watch_match(const struct service *s, const struct lease_event *event,
                 void (*visit)(void *context, struct watch *w, uint32_t kinds, bool is_child),
                 void *context)
{
    if (s->watches.count == 0) {
        return;
    }
    const struct matching m = {.visit = visit, .context = context};
    const uint32_t own = kinds_of_node(event);
    struct watched_name *name = find_name(s, event->path);
    if (name != NULL) {
        visit_scope(&m, name, SERVICE_SCOPE_NODE, own, /* is_child= */ false);
        visit_scope(&m, name, SERVICE_SCOPE_SUBTREE, own, /* is_child= */ false);
    }
    match_above(s, &m, event->path, own, kinds_of_child(event));
}

/* --------------------------------------------------------------------- life */

void index_free(struct service *s)
{
    struct watches *all = &s->watches;
    assert(all->count == 0 && all->names_count == 0 && all->watchers_count == 0);
    table_free(s, all->names, all->names_buckets, sizeof(void *));
    table_free(s, all->by_id, all->by_id_buckets, sizeof(void *));
    table_free(s, all->watchers, all->watchers_buckets, sizeof(void *));
}

/* The watches of a client, each of which is found by its number and its name. */
static uint32_t check_watches(const struct service *s, const struct watcher *c)
{
    uint32_t count = 0;
    for (const struct watch *w = c->watches; w != NULL; w = w->client_next) {
        assert(w->watcher == c && *w->client_link == w && *w->name_link == w);
        assert(watch_find(s, c->client, w->id) == w);
        assert(find_name(s, bytes_of(w->name->path, w->name->path_size)) == w->name);
        count++;
    }
    assert(count == c->count);
    return count;
}

void index_check(const struct service *s)
{
    const struct watches *all = &s->watches;
    uint32_t watches = 0;
    uint32_t watchers = 0;
    for (size_t i = 0; i < all->watchers_buckets; i++) {
        for (const struct watcher *c = all->watchers[i]; c != NULL; c = c->next) {
            assert(c->count > 0 || (c->slow && c->behind_link == NULL));
            assert(!c->joined || (c->behind_link != NULL && all->sweep.running && !c->slow));
            assert(!c->urgent);
            watches += check_watches(s, c);
            watchers++;
        }
    }
    assert(watches == all->count && watchers == all->watchers_count);
    assert(watches == 0 || s->epoch != 0);
    assert(watches == 0 || all->live <= lease_position(s->lease).revision);
}
