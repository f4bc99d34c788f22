/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the data of entries lies.  Blocks are put one behind the other, each with
 * a head that says whose it is.  Between two batches nothing but the log points
 * at them: then, if enough of them died, the living ones are moved together.
 *
 * So nothing can hold dead room back, whatever lives for how long, and in ordinary
 * use all lies within the first megabytes, although there is room for the worst
 * case, a window of the largest values: the rest is never touched.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

enum { DEAD_TOLERATED = 2 * 1024 * 1024 };

struct block {
    uint32_t size; /* With this head; a multiple of ARENA_ALIGN. */
    uint32_t live;
    paxos_slot owner; /* Its vote or carry points here. */
};

static_assert(sizeof(struct block) == ARENA_ALIGN, "heads keep the alignment");

static struct block *block_at(struct paxos *p, size_t at)
{
    return (struct block *)(void *)(p->bytes + at);
}

uint8_t *arena_allocate(struct paxos *p, paxos_slot owner, size_t size)
{
    assert(size <= PAXOS_VALUE_MAX);
    struct arena *a = &p->arena;
    const size_t whole =
        sizeof(struct block) + (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (a->capacity - a->head < whole) {
        return NULL;
    }
    struct block *block = block_at(p, a->head);
    *block = (struct block){.size = (uint32_t)whole, .live = 1, .owner = owner};
    a->head += whole;
    a->live += whole;
    return (uint8_t *)(block + 1);
}

void arena_free(struct paxos *p, const uint8_t *data)
{
    if (data == NULL) {
        return;
    }
    const size_t offset = (size_t)(data - p->bytes);
    assert(offset >= sizeof(struct block) && offset <= p->arena.head);
    struct block *block = block_at(p, offset - sizeof(struct block));
    assert(block->live == 1);
    block->live = 0;
    p->arena.live -= block->size;
}

static void point_at(struct paxos *p, paxos_slot owner, const uint8_t *from, const uint8_t *to)
{
    struct log_slot *at = log_peek(p, owner);
    assert(at != NULL);
    if (at->vote.value.data.data == from) {
        at->vote.value.data.data = to;
    } else {
        assert(at->carry.value.data.data == from);
        at->carry.value.data.data = to;
    }
}

static void move_together(struct paxos *p)
{
    struct arena *a = &p->arena;
    size_t to = 0;
    for (size_t from = 0; from < a->head;) {
        const struct block block = *block_at(p, from);
        if (block.live != 0) {
            if (to != from) {
                memmove(p->bytes + to, p->bytes + from, block.size);
                point_at(p, block.owner, p->bytes + from + sizeof block,
                         p->bytes + to + sizeof block);
            }
            to += block.size;
        }
        from += block.size;
    }
    assert(to == a->live);
    a->head = to;
}

/* Worth its copying when as much is gained, or when a batch might want more than
 * is left: a new master puts a window of votes beside what it carries forward. */
void arena_reclaim(struct paxos *p)
{
    const struct arena *a = &p->arena;
    const size_t dead = a->head - a->live;
    const bool short_of_room = a->capacity - a->head < a->capacity / 3;
    if (a->live == 0 || (dead > DEAD_TOLERATED && dead > a->live) ||
        (dead > 0 && short_of_room)) {
        move_together(p);
    }
}
