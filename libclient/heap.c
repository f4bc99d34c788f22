/* SPDX-License-Identifier: Apache-2.0
 *
 * heap.c -- see heap.h.
 */
#include "libclient/heap.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_MIN = 16 };

bool heap_reserve(struct heap *h)
{
    if (h->reserved == h->capacity) {
        const size_t capacity = h->capacity == 0 ? CAPACITY_MIN : h->capacity * 2;
        struct timer **timers = realloc(h->timers, capacity * sizeof *timers);
        if (timers == NULL) {
            return false;
        }
        h->timers = timers;
        h->capacity = capacity;
    }
    h->reserved++;
    return true;
}

void heap_forget(struct heap *h, struct timer *t)
{
    assert(h->reserved > 0);
    heap_set(h, t, TIMER_NEVER);
    h->reserved--;
}

void heap_free(struct heap *h)
{
    free(h->timers);
    *h = (struct heap){.count = 0};
}

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void put(struct heap *h, size_t place, struct timer *t)
{
    h->timers[place - 1] = t;
    t->place = place;
}

static void rise(struct heap *h, struct timer *t)
{
    size_t place = t->place;
    while (place > 1 && earlier(t, h->timers[place / 2 - 1])) {
        put(h, place, h->timers[place / 2 - 1]);
        place /= 2;
    }
    put(h, place, t);
}

static void sink(struct heap *h, struct timer *t)
{
    size_t place = t->place;
    while (place * 2 <= h->count) {
        size_t child = place * 2;
        if (child < h->count && earlier(h->timers[child], h->timers[child - 1])) {
            child++;
        }
        if (!earlier(h->timers[child - 1], t)) {
            break;
        }
        put(h, place, h->timers[child - 1]);
        place = child;
    }
    put(h, place, t);
}

static void take_out(struct heap *h, struct timer *t)
{
    struct timer *last = h->timers[--h->count];
    if (last != t) {
        put(h, t->place, last);
        rise(h, last);
        sink(h, last);
    }
    t->place = 0;
}

void heap_set(struct heap *h, struct timer *t, uint64_t at_ms)
{
    if (t->place != 0 && t->at_ms == at_ms) {
        return;
    }
    if (t->place != 0) {
        take_out(h, t);
    }
    if (at_ms == TIMER_NEVER) {
        return;
    }
    assert(h->count < h->reserved);
    t->at_ms = at_ms;
    t->order = ++h->order;
    t->place = ++h->count;
    rise(h, t);
}

struct timer *heap_first(const struct heap *h)
{
    return h->count == 0 ? NULL : h->timers[0];
}
