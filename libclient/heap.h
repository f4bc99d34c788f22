/* SPDX-License-Identifier: Apache-2.0
 *
 * heap.h -- deadlines in a binary heap: O(log n) a change, O(1) for the first.
 *
 * Timers are part of the structs that they wake.  Room for one is reserved when
 * its struct is made, so setting it can't fail later.  Timers due at the same
 * time come in the order in which they were set.
 */
#ifndef LIBCLIENT_HEAP_H
#define LIBCLIENT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_NEVER UINT64_MAX

struct timer {
    uint64_t at_ms;
    uint64_t order;
    size_t place; /* In the heap, from 1; 0: not set. */
    int kind;     /* What struct it is part of: the owner's business. */
};

struct heap {
    struct timer **timers;
    size_t count;
    size_t reserved; /* Timers that may be set. */
    size_t capacity;
    uint64_t order;
};

/* False: out of memory. */
bool heap_reserve(struct heap *h);
/* Unsets the timer and gives up its room. */
void heap_forget(struct heap *h, struct timer *t);
void heap_free(struct heap *h);

/* Sets or moves a timer; TIMER_NEVER unsets it. */
void heap_set(struct heap *h, struct timer *t, uint64_t at_ms);
struct timer *heap_first(const struct heap *h); /* NULL: none. */

static inline bool timer_set(const struct timer *t)
{
    return t->place != 0;
}

#endif
