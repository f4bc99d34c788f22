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

static uint64_t hash_of_name(const struct service *s, const struct chain_link *link)
{
    (void)s;
    return CHAINED(link, const struct watched_name, by_path)->hash;
}

static bool is_name(const struct chain_link *link, const void *key)
{
    const struct watched_name *name = CHAINED(link, const struct watched_name, by_path);
    return bytes_equal(*(const struct bytes *)key, bytes_of(name->path, name->path_size));
}

static struct watched_name *find_name(const struct service *s, struct bytes path)
{
    struct chain_link *link =
        chains_find(&s->watches.names, path_hash(s, path), is_name, &path);
    return link == NULL ? NULL : CHAINED(link, struct watched_name, by_path);
}

static uint64_t hash_of_watch(const struct service *s, const struct chain_link *link)
{
    const struct watch *w = CHAINED(link, const struct watch, by_id);
    return id_hash(s, w->watcher->client, w->id);
}

static bool is_watch(const struct chain_link *link, const void *key)
{
    const struct watch *w = CHAINED(link, const struct watch, by_id);
    const uint64_t *wanted = key;
    return w->watcher->client == wanted[0] && w->id == wanted[1];
}

static uint64_t client_hash(uint64_t client)
{
    return hash64(&client, sizeof client);
}

static uint64_t hash_of_watcher(const struct service *s, const struct chain_link *link)
{
    (void)s;
    return client_hash(CHAINED(link, const struct watcher, by_client)->client);
}

static bool is_watcher(const struct chain_link *link, const void *key)
{
    return CHAINED(link, const struct watcher, by_client)->client == *(const uint64_t *)key;
}

/* ----------------------------------------------------------------- watchers */

struct watcher *watcher_find(const struct service *s, uint64_t client)
{
    struct chain_link *link =
        chains_find(&s->watches.watchers, client_hash(client), is_watcher, &client);
    return link == NULL ? NULL : CHAINED(link, struct watcher, by_client);
}

struct watcher *watcher_make(struct service *s, uint64_t client)
{
    struct watcher *c = watcher_find(s, client);
    if (c == NULL) {
        c = table_new(s, 1, sizeof *c);
        *c = (struct watcher){.client = client};
        chains_add(s, &s->watches.watchers, &c->by_client, hash_of_watcher);
    }
    return c;
}

void watcher_free(struct service *s, struct watcher *c)
{
    assert(c->count == 0 && c->behind_link == NULL);
    chains_remove(s, &s->watches.watchers, &c->by_client, hash_of_watcher);
    table_free(s, c, 1, sizeof *c);
}

void watchers_each(struct service *s, void (*visit)(struct service *s, struct watcher *c))
{
    struct chain_walk walk = {.chains = &s->watches.watchers};
    for (struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        visit(s, CHAINED(link, struct watcher, by_client));
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
    struct watched_name *name = find_name(s, path);
    if (name == NULL) {
        name = table_new(s, 1, sizeof *name + path.size);
        *name =
            (struct watched_name){.hash = path_hash(s, path), .path_size = (uint16_t)path.size};
        if (path.size > 0) {
            memcpy(name->path, path.data, path.size);
        }
        chains_add(s, &s->watches.names, &name->by_path, hash_of_name);
    }
    return name;
}

static void name_leave(struct service *s, struct watched_name *name)
{
    if (--name->count > 0) {
        return;
    }
    chains_remove(s, &s->watches.names, &name->by_path, hash_of_name);
    table_free(s, name, 1, sizeof *name + name->path_size);
}

struct watch *watch_find(const struct service *s, uint64_t client, uint64_t id)
{
    const uint64_t key[2] = {client, id};
    struct chain_link *link =
        chains_find(&s->watches.by_id, id_hash(s, client, id), is_watch, key);
    return link == NULL ? NULL : CHAINED(link, struct watch, by_id);
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
    assert(watch_find(s, c->client, id) == NULL);
    struct watch *w = table_new(s, 1, sizeof *w);
    *w = (struct watch){
        .watcher = c, .name = name_make(s, path), .id = id, .scope = (uint8_t)scope};
    chains_add(s, &all->by_id, &w->by_id, hash_of_watch);
    join_name(w);
    join_watcher(w);
    all->subtrees += scope == SERVICE_SCOPE_SUBTREE;
    return w;
}

void watch_free(struct service *s, struct watch *w)
{
    struct watches *all = &s->watches;
    chains_remove(s, &all->by_id, &w->by_id, hash_of_watch);
    *w->name_link = w->name_next;
    if (w->name_next != NULL) {
        w->name_next->name_link = w->name_link;
    }
    *w->client_link = w->client_next;
    if (w->client_next != NULL) {
        w->client_next->client_link = w->client_link;
    }
    w->watcher->count--;
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

/* Those who watch the directories above: in their scope are the node, if that is
 * not theirs alone, and the directory that it is in. */
static void match_above(const struct service *s, const struct matching *m, struct bytes path,
                        uint32_t own, uint32_t child)
{
    bool is_parent = true;
    while (path.size > 0 && (is_parent || s->watches.subtrees > 0)) {
        path = directory_of(path);
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
    if (s->watches.by_id.count == 0) {
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
    chains_free(s, &all->names);
    chains_free(s, &all->by_id);
    chains_free(s, &all->watchers);
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
    struct chain_walk walk = {.chains = &all->watchers};
    for (const struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        const struct watcher *c = CHAINED(link, const struct watcher, by_client);
        assert(c->count > 0 || (c->slow && c->behind_link == NULL));
        assert(!c->joined || (c->behind_link != NULL && all->sweep.running && !c->slow));
        assert(!c->urgent);
        watches += check_watches(s, c);
        watchers++;
    }
    assert(watches == all->by_id.count && watchers == all->watchers.count);
    assert(watches == 0 || s->epoch != 0);
    assert(watches == 0 || all->live <= lease_position(s->lease).revision);
}
