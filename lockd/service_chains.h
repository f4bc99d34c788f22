/* SPDX-License-Identifier: Apache-2.0
 *
 * service_chains.h -- the hash table of the service: chains of links that lie in what is
 * found by them, one pointer each.
 *
 * It grows to as many buckets as there are links, and gives none back before it is freed.
 * Keys are often the clients' choice: whoever makes a hash of one takes the replica's seed
 * into it, so that nobody chooses a bucket with them.
 */
#ifndef LOCKD_SERVICE_CHAINS_H
#define LOCKD_SERVICE_CHAINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;

struct chain_link {
    struct chain_link *next;
};

/* Zero-initialise. */
struct chains {
    struct chain_link **first; /* Of each bucket. */
    size_t buckets;            /* A power of two; 0: there was never a link. */
    size_t count;
};

/* The thing of `type` in which `link`, not NULL, is `member`. */
#define CHAINED(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* The same hash as that by which it is looked for. */
typedef uint64_t chain_hash(const struct service *s, const struct chain_link *link);

/* Is it what is looked for? */
typedef bool chain_is(const struct chain_link *link, const void *key);

/* NULL: there is none. */
static inline struct chain_link *chains_find(const struct chains *t, uint64_t hash,
                                             chain_is *is, const void *key)
{
    struct chain_link *link = t->count == 0 ? NULL : t->first[hash & (t->buckets - 1)];
    while (link != NULL && !is(link, key)) {
        link = link->next;
    }
    return link;
}

void chains_add(struct service *s, struct chains *t, struct chain_link *link, chain_hash *hash);
void chains_remove(const struct service *s, struct chains *t, struct chain_link *link,
                   chain_hash *hash);
void chains_free(struct service *s, struct chains *t); /* It is empty. */

/* Walks through all; the one at hand may be removed, others may not.  Begin with
 * the chains and nothing else. */
struct chain_walk {
    const struct chains *chains;
    size_t bucket;
    struct chain_link *next;
};

static inline struct chain_link *chains_next(struct chain_walk *walk)
{
    while (walk->next == NULL && walk->bucket < walk->chains->buckets) {
        walk->next = walk->chains->first[walk->bucket++];
    }
    struct chain_link *link = walk->next;
    walk->next = link == NULL ? NULL : link->next;
    return link;
}

#endif
