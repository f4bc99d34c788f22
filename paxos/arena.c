/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the data of entries lies.  Blocks stand one behind the other, each
 * with a head; the oldest are reclaimed first.  A block that died early waits
 * for those before it, which is cheap because slots are chosen in order.
 *
 * The ring is sized for the worst case, a window of the largest values; in
 * ordinary use it turns within its first megabytes, because it goes back to
 * the start as soon as there is room there, and the rest is never touched.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

enum { EARLY_WRAP = 2 * 1024 * 1024 };

struct block {
    uint32_t size; /* With this head; a multiple of ARENA_ALIGN. */
    uint32_t live;
    uint64_t padding;
};

static_assert(sizeof(struct block) == ARENA_ALIGN, "heads keep the alignment");

static struct block *block_at(struct paxos *p, size_t at)
{
    return (struct block *)(void *)(p->bytes + at);
}

/* Closes the ring's end with a dead block and goes on at its start. */
static void wrap(struct paxos *p)
{
    struct arena *a = &p->arena;
    if (a->head < a->capacity) {
        *block_at(p, a->head) = (struct block){.size = (uint32_t)(a->capacity - a->head)};
        a->blocks++;
    }
    a->head = 0;
}

static bool find_room(struct paxos *p, size_t size)
{
    struct arena *a = &p->arena;
    if (a->blocks == 0) {
        a->head = a->tail = 0;
        return size <= a->capacity;
    }
    if (a->head <= a->tail) { /* The live part goes over the end. */
        return a->tail - a->head >= size;
    }
    const bool at_end = a->capacity - a->head >= size;
    const bool at_start = a->tail >= size;
    if (at_start && (!at_end || a->head >= EARLY_WRAP)) {
        wrap(p);
        return true;
    }
    return at_end;
}

uint8_t *arena_allocate(struct paxos *p, size_t size)
{
    assert(size <= PAXOS_VALUE_MAX);
    struct arena *a = &p->arena;
    const size_t whole = sizeof(struct block) + (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (!find_room(p, whole)) {
        return NULL;
    }
    struct block *block = block_at(p, a->head);
    *block = (struct block){.size = (uint32_t)whole, .live = 1};
    a->head += whole;
    a->blocks++;
    a->live += whole;
    assert(a->head <= a->capacity);
    return (uint8_t *)(block + 1);
}

void arena_free(struct paxos *p, const uint8_t *data)
{
    if (data == NULL) {
        return;
    }
    const size_t offset = (size_t)(data - p->bytes);
    assert(offset >= sizeof(struct block) && offset <= p->arena.capacity);
    struct block *block = block_at(p, offset - sizeof(struct block));
    assert(block->live == 1);
    block->live = 0;
    p->arena.live -= block->size;
}

void arena_reclaim(struct paxos *p)
{
    struct arena *a = &p->arena;
    while (a->blocks > 0) {
        if (a->tail == a->capacity) {
            a->tail = 0;
        }
        const struct block *block = block_at(p, a->tail);
        if (block->live != 0) {
            return;
        }
        a->tail += block->size;
        a->blocks--;
    }
    assert(a->live == 0);
}
