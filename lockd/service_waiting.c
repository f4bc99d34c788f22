/* SPDX-License-Identifier: Apache-2.0
 *
 * service_waiting.c -- who is told later than the entry of his command.
 *
 * An acquire that must wait is in the log, and one day so is what ends the wait;
 * in between its asker stands here, under (session, request).  A KeepAlive of a
 * session whose expiry is proposed stands here too, under request 0, which no
 * acquire has.  What is here is nothing but an address for an answer: the wait
 * itself is replicated, outlives this replica's mastership, and is joined by the
 * retry that the library sends to the next master.
 *
 * There are two indexes, as there are two ways to leave: an outcome names the
 * session and the request; a connection that is lost takes all of its own along.
 *
 * A waiter never moves, because a reply borrows his path until the turn is over.
 * He is one of a slab, and used again; only a path of unusual length needs
 * memory of its own.
 */
#include "lockd/service_internal.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

enum { WAITERS_SLAB = 64 };

struct waiter_slab {
    struct waiter_slab *next;
    struct waiter waiter[WAITERS_SLAB];
};

/* ------------------------------------------------------------------ buckets */

static struct waiter **key_bucket(const struct service *s, uint64_t session, uint64_t request)
{
    /* Request ids are the client's choice; the seed keeps him from choosing a
     * bucket with them. */
    const uint64_t key[2] = {session, request};
    const uint64_t hash = hash64_seeded(key, sizeof key, s->config.paxos.seed);
    return &s->waiting.by_key[hash & (s->waiting.buckets - 1)];
}

static struct waiter **client_bucket(const struct service *s, uint64_t client)
{
    const uint64_t hash = hash64(&client, sizeof client);
    return &s->waiting.by_client[hash & (s->waiting.buckets - 1)];
}

/* What points to the waiter of this key, or ends the bucket where he would be. */
static struct waiter **find_link(const struct service *s, uint64_t session, uint64_t request)
{
    struct waiter **link = key_bucket(s, session, request);
    while (*link != NULL && ((*link)->session != session || (*link)->request != request)) {
        link = &(*link)->next;
    }
    return link;
}

static void join_client(struct service *s, struct waiter *w)
{
    struct waiter **first = client_bucket(s, w->client);
    w->client_next = *first;
    w->client_link = first;
    if (*first != NULL) {
        (*first)->client_link = &w->client_next;
    }
    *first = w;
}

static void leave_client(struct waiter *w)
{
    assert(*w->client_link == w);
    *w->client_link = w->client_next;
    if (w->client_next != NULL) {
        w->client_next->client_link = w->client_link;
    }
}

static void join(struct service *s, struct waiter *w)
{
    struct waiter **end = find_link(s, w->session, w->request);
    assert(*end == NULL);
    w->next = NULL;
    *end = w;
    join_client(s, w);
}

static struct waiter **buckets_new(struct service *s, uint32_t buckets)
{
    struct waiter **table = table_new(s, buckets, sizeof(struct waiter *));
    memset(table, 0, buckets * sizeof(struct waiter *));
    return table;
}

/* Before the first one, and whenever there are more waiters than buckets. */
static void make_buckets(struct service *s)
{
    struct waiting *all = &s->waiting;
    struct waiter **old = all->by_key;
    struct waiter **old_clients = all->by_client;
    const uint32_t old_buckets = all->buckets;

    all->buckets = old_buckets == 0 ? WAITING_FIRST : 2 * old_buckets;
    all->by_key = buckets_new(s, all->buckets);
    all->by_client = buckets_new(s, all->buckets);
    for (uint32_t i = 0; i < old_buckets; i++) {
        for (struct waiter *w = old[i], *next; w != NULL; w = next) {
            next = w->next;
            join(s, w);
        }
    }
    table_free(s, old, old_buckets, sizeof(struct waiter *));
    table_free(s, old_clients, old_buckets, sizeof(struct waiter *));
}

/* ------------------------------------------------------------------ waiters */

static struct waiter *waiter_new(struct service *s)
{
    struct waiting *all = &s->waiting;
    if (all->unused == NULL) {
        struct waiter_slab *slab = table_new(s, 1, sizeof *slab);
        slab->next = all->slabs;
        all->slabs = slab;
        for (uint32_t i = 0; i < WAITERS_SLAB; i++) {
            slab->waiter[i].next = all->unused;
            all->unused = &slab->waiter[i];
        }
    }
    struct waiter *w = all->unused;
    all->unused = w->next;
    return w;
}

static void keep_path(struct service *s, struct waiter *w, struct bytes path)
{
    assert(path.size <= LEASE_PATH_MAX);
    w->path_size = (uint16_t)path.size;
    w->long_path = path.size > WAITER_PATH ? table_new(s, path.size, 1) : NULL;
    if (path.size > 0) {
        memcpy(w->long_path != NULL ? w->long_path : w->path, path.data, path.size);
    }
}

struct bytes waiter_path(const struct waiter *waiter)
{
    return bytes_of(waiter->long_path != NULL ? waiter->long_path : waiter->path,
                    waiter->path_size);
}

static void drop_path(struct service *s, struct waiter *w)
{
    table_free(s, w->long_path, w->path_size, 1);
    w->long_path = NULL;
}

/* A retry over another connection: the earlier one will not be told, and nothing
 * is said of what becomes of the request. */
static void take_place(struct service *s, struct waiter *w, const struct pending *asker)
{
    reply_add(s, w->client, w->tag, (enum service_op)w->op, SERVICE_UNKNOWN);
    leave_client(w);
    w->client = asker->client;
    w->tag = asker->tag;
    w->op = asker->op;
    join_client(s, w);
}

void waiting_add(struct service *s, const struct pending *asker, uint64_t session,
                 uint64_t request, enum lease_mode mode, struct bytes path)
{
    assert(s->epoch != 0 && session != 0 && asker->op != 0);
    if (s->waiting.count == s->waiting.buckets) {
        make_buckets(s);
    }
    struct waiter *w = *find_link(s, session, request);
    if (w != NULL) {
        take_place(s, w, asker);
        return;
    }
    w = waiter_new(s);
    *w = (struct waiter){
        .session = session,
        .request = request,
        .client = asker->client,
        .tag = asker->tag,
        .mode = mode,
        .op = asker->op,
    };
    keep_path(s, w, path);
    join(s, w);
    s->waiting.count++;
}

/* ------------------------------------------------------------------ leaving */

static void leave(struct service *s, struct waiter **link)
{
    struct waiter *w = *link;
    *link = w->next;
    leave_client(w);
    s->waiting.count--;
}

const struct waiter *waiting_take(struct service *s, uint64_t session, uint64_t request)
{
    if (s->waiting.count == 0) {
        return NULL;
    }
    struct waiter **link = find_link(s, session, request);
    struct waiter *w = *link;
    if (w == NULL) {
        return NULL;
    }
    leave(s, link);
    w->next = s->waiting.answered;
    s->waiting.answered = w;
    return w;
}

void waiting_recycle(struct service *s)
{
    while (s->waiting.answered != NULL) {
        struct waiter *w = s->waiting.answered;
        s->waiting.answered = w->next;
        drop_path(s, w);
        w->next = s->waiting.unused;
        s->waiting.unused = w;
    }
}

void waiting_forget(struct service *s, uint64_t client)
{
    if (s->waiting.count == 0) {
        return;
    }
    for (struct waiter *w = *client_bucket(s, client), *next; w != NULL; w = next) {
        next = w->client_next;
        if (w->client == client) {
            waiting_take(s, w->session, w->request);
        }
    }
}

/* A KeepAlive was certainly not answered; of an acquire that is in the log only
 * the next master can say what becomes of it. */
static void reply_lost(struct service *s, const struct waiter *w)
{
    if (w->request == 0) {
        reply_not_master(s, w->client, w->tag, (enum service_op)w->op);
    } else {
        reply_add(s, w->client, w->tag, (enum service_op)w->op, SERVICE_UNKNOWN)->master =
            s->master;
    }
}

void waiting_lost(struct service *s)
{
    for (uint32_t i = 0; i < s->waiting.buckets && s->waiting.count > 0; i++) {
        while (s->waiting.by_key[i] != NULL) {
            const struct waiter *w = s->waiting.by_key[i];
            reply_lost(s, w);
            waiting_take(s, w->session, w->request);
        }
    }
    assert(s->waiting.count == 0);
}

void waiting_free(struct service *s)
{
    for (uint32_t i = 0; i < s->waiting.buckets; i++) {
        for (struct waiter *w = s->waiting.by_key[i]; w != NULL; w = w->next) {
            drop_path(s, w);
        }
    }
    waiting_recycle(s);
    while (s->waiting.slabs != NULL) {
        struct waiter_slab *slab = s->waiting.slabs;
        s->waiting.slabs = slab->next;
        table_free(s, slab, 1, sizeof *slab);
    }
    table_free(s, s->waiting.by_key, s->waiting.buckets, sizeof(struct waiter *));
    table_free(s, s->waiting.by_client, s->waiting.buckets, sizeof(struct waiter *));
}

/* Each of those who wait is found by either index, and his wait is replicated. */
void waiting_check(const struct service *s)
{
    assert(s->waiting.answered == NULL);
    assert(s->waiting.count == 0 || s->epoch != 0);
    uint32_t found = 0;
    uint32_t of_clients = 0;
    for (uint32_t i = 0; i < s->waiting.buckets; i++) {
        for (const struct waiter *w = s->waiting.by_key[i]; w != NULL; w = w->next) {
            uint32_t wait_ms;
            assert(key_bucket(s, w->session, w->request) == &s->waiting.by_key[i]);
            if (w->request == 0) {
                assert(keeper_expiring(s->keeper, w->session));
            } else {
                assert(lease_waiting(s->lease, w->session, w->request, &wait_ms));
            }
            found++;
        }
        for (const struct waiter *w = s->waiting.by_client[i]; w != NULL; w = w->client_next) {
            assert(*w->client_link == w);
            assert(client_bucket(s, w->client) == &s->waiting.by_client[i]);
            of_clients++;
        }
    }
    assert(found == s->waiting.count && of_clients == found);
}
