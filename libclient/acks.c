/* SPDX-License-Identifier: Apache-2.0
 *
 * acks.c -- see acks.h.
 */
#include "libclient/acks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool acks_reserve(struct acks *a, size_t outstanding)
{
    if (outstanding + 1 <= a->capacity) {
        return true;
    }
    const size_t capacity = (outstanding + 1) * 2;
    struct wire_range *ranges = realloc(a->ranges, capacity * sizeof *ranges);
    if (ranges == NULL) {
        return false;
    }
    a->ranges = ranges;
    a->capacity = capacity;
    return true;
}

void acks_free(struct acks *a)
{
    free(a->ranges);
    *a = (struct acks){.floor = 0};
}

static void drop(struct acks *a, size_t index)
{
    memmove(&a->ranges[index], &a->ranges[index + 1],
            (a->count - index - 1) * sizeof *a->ranges);
    a->count--;
}

/* The first range that ends at `id - 1` or later. */
static size_t place_of(const struct acks *a, uint64_t id)
{
    size_t low = 0;
    size_t high = a->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (a->ranges[middle].last + 1 < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void acks_add(struct acks *a, uint64_t id)
{
    assert(id > a->floor);
    const size_t i = place_of(a, id);
    if (i < a->count && a->ranges[i].last + 1 == id) {
        a->ranges[i].last = id;
        if (i + 1 < a->count && a->ranges[i + 1].first == id + 1) {
            a->ranges[i].last = a->ranges[i + 1].last;
            drop(a, i + 1);
        }
    } else if (i < a->count && a->ranges[i].first == id + 1) {
        a->ranges[i].first = id;
    } else {
        assert(i == a->count || a->ranges[i].first > id + 1);
        assert(a->count < a->capacity);
        memmove(&a->ranges[i + 1], &a->ranges[i], (a->count - i) * sizeof *a->ranges);
        a->ranges[i] = (struct wire_range){.first = id, .last = id};
        a->count++;
    }
    if (a->ranges[0].first == a->floor + 1) {
        a->floor = a->ranges[0].last;
        drop(a, 0);
    }
}

void acks_fill(struct acks *a, struct wire_request *request)
{
    if (a->next >= a->count) {
        a->next = 0;
    }
    request->ack_floor = a->floor;
    request->acks_count = 0;
    while (a->next < a->count && request->acks_count < WIRE_ACK_RANGES_MAX) {
        request->acks[request->acks_count++] = a->ranges[a->next++];
    }
}
