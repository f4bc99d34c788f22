/* SPDX-License-Identifier: Apache-2.0
 *
 * service_chains.c -- see service_chains.h.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

enum { BUCKETS_FIRST = 64 };

static struct chain_link **bucket_of(const struct chains *t, uint64_t hash)
{
    return &t->first[hash & (t->buckets - 1)];
}

static void put(struct chains *t, struct chain_link *link, uint64_t hash)
{
    struct chain_link **first = bucket_of(t, hash);
    link->next = *first;
    *first = link;
}

static void grow(struct service *s, struct chains *t, chain_hash *hash)
{
    const struct chains old = *t;
    t->buckets = old.buckets == 0 ? BUCKETS_FIRST : 2 * old.buckets;
    t->first = table_new(s, t->buckets, sizeof *t->first);
    memset(t->first, 0, t->buckets * sizeof *t->first);
    struct chain_walk walk = {.chains = &old};
    for (struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        put(t, link, hash(s, link));
    }
    table_free(s, old.first, old.buckets, sizeof *old.first);
}

void chains_add(struct service *s, struct chains *t, struct chain_link *link, chain_hash *hash)
{
    if (t->count == t->buckets) {
        grow(s, t, hash);
    }
    put(t, link, hash(s, link));
    t->count++;
}

void chains_remove(const struct service *s, struct chains *t, struct chain_link *link,
                   chain_hash *hash)
{
    assert(t->count > 0);
    struct chain_link **at = bucket_of(t, hash(s, link));
    while (*at != link) {
        at = &(*at)->next;
    }
    *at = link->next;
    t->count--;
}

void chains_free(struct service *s, struct chains *t)
{
    assert(t->count == 0);
    table_free(s, t->first, t->buckets, sizeof *t->first);
    *t = (struct chains){0};
}
