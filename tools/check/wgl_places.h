/* SPDX-License-Identifier: Apache-2.0
 *
 * wgl_places.h -- where a search for an order has been.
 *
 * A place is a row of words: some that must be the same, then sets of bits.  One that
 * has been noted covers each place with the same words and the same or more bits.
 */
#ifndef TOOLS_CHECK_WGL_PLACES_H
#define TOOLS_CHECK_WGL_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct places {
    uint32_t words, words_exact; /* Of each place; of those, the ones that must be the same. */
    uint32_t count, capacity;
    uint32_t count_max;
    uint32_t spare;    /* One of those that were given up; 0: none. */
    uint64_t *rows;    /* By number, from 1. */
    uint32_t *next;    /* Of the same bucket; 0: none. */
    uint32_t *buckets; /* As many as the capacity, a power of two. */
};

void places_open(struct places *p, uint32_t words, uint32_t words_exact);

/* It remembers as much as it may. */
bool places_full(const struct places *p);

/* False: a place that covers this one has been noted.  Otherwise this one is, now.
 * `steps` is moved on by each that was compared. */
bool places_add(struct places *p, const uint64_t *row, uint64_t *steps);

void places_close(struct places *p);

/* Zeroed memory; running out of it ends the process. */
void *wgl_take(size_t count, size_t size);

#endif
