/* SPDX-License-Identifier: Apache-2.0
 *
 * kept.c -- see kept.h.
 *
 * A table of chains, by a hash of what stands behind the cell's name, so that all
 * spellings of a node are in one chain.
 */
#include "libclient/kept.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_FIRST = 64 };

struct kept_name {
    struct kept_name *next; /* In its chain. */
    struct kept_name *older, *newer;
    uint64_t hash;
    struct answer *get;  /* NULL: not kept. */
    struct answer *stat; /* The same. */
    size_t octets;
    size_t size;
    size_t below; /* Where in `name` the part behind the cell begins. */
    char name[];
};

/* ---------------------------------------------------------------------- names */

/* Behind "/ls/<cell>". */
static size_t below_cell(struct wire_text name)
{
    static const char prefix[] = "/ls/";
    const size_t prefix_size = sizeof prefix - 1;
    if (name.size < prefix_size || memcmp(name.data, prefix, prefix_size) != 0) {
        return name.size;
    }
    const char *slash = memchr(name.data + prefix_size, '/', name.size - prefix_size);
    return slash == NULL ? name.size : (size_t)(slash - name.data);
}

/* Eight octets at a time, multiplied and folded: names are a program's own, so who
 * makes them collide slows down nobody else. */
static uint64_t hash_of(const char *data, size_t size)
{
    const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = size * factor;
    for (; size > 0;) {
        uint64_t word = 0;
        const size_t taken = size < sizeof word ? size : sizeof word;
        memcpy(&word, data, taken);
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
        data += taken;
        size -= taken;
    }
    return hash;
}

static uint64_t hash_below(struct wire_text name, size_t below)
{
    return hash_of(name.data + below, name.size - below);
}

static struct kept_name **bucket_of(const struct kept *k, uint64_t hash)
{
    return &k->buckets[hash & (k->buckets_count - 1)];
}

static bool same_name(const struct kept_name *n, uint64_t hash, struct wire_text name)
{
    return n->hash == hash && n->size == name.size &&
           memcmp(n->name, name.data, name.size) == 0;
}

static bool same_node(const struct kept_name *n, uint64_t hash, struct wire_text name,
                      size_t below)
{
    const size_t size = name.size - below;
    return n->hash == hash && n->size - n->below == size &&
           memcmp(n->name + n->below, name.data + below, size) == 0;
}

static struct kept_name *find_name(const struct kept *k, struct wire_text name)
{
    if (k->count == 0) {
        return NULL;
    }
    const uint64_t hash = hash_below(name, below_cell(name));
    struct kept_name *n = *bucket_of(k, hash);
    while (n != NULL && !same_name(n, hash, name)) {
        n = n->next;
    }
    return n;
}

/* ----------------------------------------------------------------------- table */

/* False: out of memory, and the table is as it was. */
static bool reserve(struct kept *k)
{
    if (k->count < k->buckets_count) {
        return true;
    }
    const size_t count = k->buckets_count == 0 ? (size_t)BUCKETS_FIRST : 2 * k->buckets_count;
    struct kept_name **buckets = calloc(count, sizeof(struct kept_name *));
    if (buckets == NULL) {
        return k->buckets_count > 0; /* Longer chains, then. */
    }
    free(k->buckets);
    k->buckets = buckets;
    k->buckets_count = count;
    for (struct kept_name *n = k->oldest; n != NULL; n = n->newer) {
        struct kept_name **bucket = bucket_of(k, n->hash);
        n->next = *bucket;
        *bucket = n;
    }
    return true;
}

/* NULL: out of memory. */
static struct kept_name *add_name(struct kept *k, struct wire_text name)
{
    struct kept_name *n = reserve(k) ? calloc(1, sizeof *n + name.size) : NULL;
    if (n == NULL) {
        return NULL;
    }
    memcpy(n->name, name.data, name.size);
    n->size = name.size;
    n->below = below_cell(name);
    n->hash = hash_below(name, n->below);
    n->older = k->newest;
    *(k->newest != NULL ? &k->newest->newer : &k->oldest) = n;
    k->newest = n;
    struct kept_name **bucket = bucket_of(k, n->hash);
    n->next = *bucket;
    *bucket = n;
    k->count++;
    return n;
}

static void remove_name(struct kept *k, struct kept_name *n)
{
    struct kept_name **at = bucket_of(k, n->hash);
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    *(n->older != NULL ? &n->older->newer : &k->oldest) = n->newer;
    *(n->newer != NULL ? &n->newer->older : &k->newest) = n->older;
    k->count--;
    k->octets -= n->octets;
    answer_free(n->get);
    answer_free(n->stat);
    free(n);
}

void kept_clear(struct kept *k)
{
    while (k->oldest != NULL) {
        remove_name(k, k->oldest);
    }
    assert(k->count == 0 && k->octets == 0);
}

void kept_end(struct kept *k)
{
    kept_clear(k);
    free(k->buckets);
    *k = (struct kept){.buckets = NULL};
}

void kept_drop(struct kept *k, struct wire_text name)
{
    if (k->count == 0) {
        return;
    }
    const size_t below = below_cell(name);
    const uint64_t hash = hash_below(name, below);
    for (struct kept_name *n = *bucket_of(k, hash), *next; n != NULL; n = next) {
        next = n->next;
        if (same_node(n, hash, name, below)) {
            remove_name(k, n);
        }
    }
}

/* -------------------------------------------------------------------- answers */

static void set_octets(struct kept *k, struct kept_name *n)
{
    const size_t octets = sizeof *n + n->size + answer_octets(n->get) + answer_octets(n->stat);
    k->octets += octets - n->octets;
    n->octets = octets;
}

void kept_put(struct kept *k, struct wire_text name, bool is_get, struct answer *answer)
{
    struct kept_name *n = answer == NULL ? NULL : find_name(k, name);
    if (n == NULL && answer != NULL) {
        n = add_name(k, name);
    }
    if (n == NULL) {
        answer_free(answer);
        return;
    }
    /* The newer says all: what the other has of it may be older. */
    answer_free(n->get);
    answer_free(n->stat);
    n->get = is_get ? answer : NULL;
    n->stat = is_get ? NULL : answer;
    set_octets(k, n);
    while (k->count > KEPT_NAMES_MAX || k->octets > KEPT_OCTETS_MAX) {
        remove_name(k, k->oldest);
    }
}

struct answer **kept_lookup(struct kept *k, struct wire_text name, bool is_get,
                            uint64_t if_instance)
{
    struct kept_name *n = find_name(k, name);
    if (n == NULL) {
        return NULL;
    }
    const struct answer *any = n->get != NULL ? n->get : n->stat;
    const bool is_absent = any->public.rc == LOCKD_E_NO_NODE;
    if (if_instance != WIRE_ANY && (is_absent || any->public.stat.instance != if_instance)) {
        return NULL; /* The cell says what that means. */
    }
    if (is_absent) {
        return n->get != NULL ? &n->get : &n->stat;
    }
    if (!is_get && n->stat == NULL) {
        n->stat = answer_copy(n->get, /* content= */ false);
        set_octets(k, n);
    }
    struct answer **found = is_get ? &n->get : &n->stat;
    return *found != NULL ? found : NULL;
}

void kept_check(const struct kept *k)
{
    size_t count = 0;
    size_t octets = 0;
    for (const struct kept_name *n = k->oldest; n != NULL; n = n->newer) {
        assert(n->get != NULL || n->stat != NULL);
        assert(n->newer != NULL ? n->newer->older == n : k->newest == n);
        octets += n->octets;
        count++;
    }
    assert(count == k->count && octets == k->octets);
}
