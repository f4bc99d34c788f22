/* SPDX-License-Identifier: Apache-2.0
 *
 * wgl_places.c -- see wgl_places.h.
 */
#include "tools/check/wgl_places.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/hash.h"

enum { CAPACITY_FIRST = 1024 };

/* What may be remembered, in octets. */
#define SIZE_MAX_ALL (UINT64_C(1) << 29)

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory for a history\n", stderr);
        abort();
    }
    return memory;
}

void *wgl_take(size_t count, size_t size)
{
    return checked(calloc(count == 0 ? 1 : count, size));
}

void places_open(struct places *p, uint32_t words, uint32_t words_exact)
{
    assert(words_exact > 0 && words_exact <= words);
    const uint64_t size = words * sizeof *p->rows + sizeof *p->next + sizeof *p->buckets;
    *p = (struct places){.words = words,
                         .words_exact = words_exact,
                         .count_max = (uint32_t)(SIZE_MAX_ALL / size)};
}

bool places_full(const struct places *p)
{
    return p->count >= p->count_max && p->spare == 0;
}

static uint64_t *row_of(const struct places *p, uint32_t place)
{
    return &p->rows[(size_t)(place - 1) * p->words];
}

static uint32_t *bucket_of(const struct places *p, const uint64_t *row)
{
    const uint64_t hash = hash64(row, p->words_exact * sizeof *row);
    return &p->buckets[hash & (p->capacity - 1)];
}

static void add_to_bucket(struct places *p, uint32_t place)
{
    uint32_t *bucket = bucket_of(p, row_of(p, place));
    p->next[place - 1] = *bucket;
    *bucket = place;
}

static void grow(struct places *p)
{
    p->capacity = p->capacity == 0 ? CAPACITY_FIRST : 2 * p->capacity;
    p->rows = checked(reallocarray(p->rows, p->capacity, p->words * sizeof *p->rows));
    p->next = checked(reallocarray(p->next, p->capacity, sizeof *p->next));
    free(p->buckets);
    p->buckets = wgl_take(p->capacity, sizeof *p->buckets);
    for (uint32_t place = 1; place <= p->count; place++) {
        add_to_bucket(p, place);
    }
}

/* Has `less` no bit that `more` lacks? */
static bool covers(const struct places *p, const uint64_t *less, const uint64_t *more)
{
    for (uint32_t i = p->words_exact; i < p->words; i++) {
        if ((less[i] & ~more[i]) != 0) {
            return false;
        }
    }
    return true;
}

static uint32_t new_place(struct places *p)
{
    const uint32_t place = p->spare;
    if (place == 0) {
        return ++p->count;
    }
    p->spare = p->next[place - 1];
    return place;
}

bool places_add(struct places *p, const uint64_t *row, uint64_t *steps)
{
    if (p->count == p->capacity && p->spare == 0) {
        grow(p);
    }
    for (uint32_t *link = bucket_of(p, row); *link != 0;) {
        const uint32_t place = *link;
        const uint64_t *noted = row_of(p, place);
        ++*steps;
        if (memcmp(noted, row, p->words_exact * sizeof *row) != 0) {
            link = &p->next[place - 1];
        } else if (covers(p, noted, row)) {
            return false;
        } else if (covers(p, row, noted)) {
            *link = p->next[place - 1]; /* Not needed besides this one. */
            p->next[place - 1] = p->spare;
            p->spare = place;
        } else {
            link = &p->next[place - 1];
        }
    }
    const uint32_t place = new_place(p);
    memcpy(row_of(p, place), row, p->words * sizeof *row);
    add_to_bucket(p, place);
    return true;
}

void places_close(struct places *p)
{
    free(p->rows);
    free(p->next);
    free(p->buckets);
    *p = (struct places){0};
}
