/* SPDX-License-Identifier: Apache-2.0
 *
 * pending.c -- one queue from the arrival of a command to its outcome.
 */
#include "lockd/pending.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------- byte ring */

uint8_t *byte_ring_push(struct byte_ring *ring, size_t size)
{
    assert(ring->used > 0 || (ring->first == 0 && ring->end == 0 && !ring->wrapped));
    const size_t limit = ring->wrapped ? ring->first : ring->capacity;
    if (limit - ring->end < size) {
        if (ring->wrapped || ring->first < size) {
            return NULL;
        }
        ring->wrap = ring->end;
        ring->wrapped = true;
        ring->end = 0;
    }
    uint8_t *at = ring->data + ring->end;
    ring->end += size;
    ring->used += size;
    return at;
}

void byte_ring_drop(struct byte_ring *ring, size_t size)
{
    assert(size <= ring->used);
    assert(!ring->wrapped || ring->first + size <= ring->wrap);
    ring->first += size;
    ring->used -= size;
    if (ring->used == 0) {
        ring->first = 0;
        ring->end = 0;
        ring->wrapped = false;
    } else if (ring->wrapped && ring->first == ring->wrap) {
        ring->first = 0;
        ring->wrapped = false;
    }
}

/* --------------------------------------------------------------- the queue */

static struct pending *command_at(const struct pending_queue *q, uint32_t index)
{
    assert(index < q->count);
    const uint32_t left = q->capacity - q->first; /* Before the ring begins anew. */
    return &q->commands[index < left ? q->first + index : index - left];
}

static struct pending_slot *slot_at(struct pending_queue *q, uint32_t index)
{
    assert(index <= q->slots_count && index < PENDING_SLOTS_MAX);
    return &q->slots[(q->slots_first + index) % PENDING_SLOTS_MAX];
}

/* `next` may not stay before the gap that a wrap leaves. */
static void skip_gap(struct pending_queue *q)
{
    if (q->octets.wrapped && q->next == q->octets.wrap) {
        q->next = 0;
    }
}

static void drop_octets(struct pending_queue *q, size_t size)
{
    byte_ring_drop(&q->octets, size);
    if (q->octets.used == 0) {
        q->next = 0;
    }
}

uint8_t *pending_push(struct pending_queue *q, const struct pending *command)
{
    assert(command->size > 0);
    if (q->count == q->capacity || q->octets_max - q->octets.used < command->size) {
        return NULL;
    }
    uint8_t *at = byte_ring_push(&q->octets, command->size);
    if (at == NULL) {
        return NULL;
    }
    skip_gap(q);
    q->count++;
    q->queued++;
    *command_at(q, q->count - 1) = *command;
    return at;
}

bool pending_next_batch(const struct pending_queue *q, uint32_t count_max, size_t size_max,
                        struct bytes *ret_octets, uint32_t *ret_count)
{
    if (q->queued == 0 || q->slots_count == PENDING_SLOTS_MAX) {
        return false;
    }
    const size_t stop = q->octets.wrapped ? q->octets.wrap : q->octets.capacity;
    size_t size = 0;
    uint32_t count = 0;
    while (count < q->queued && count < count_max && q->next + size != stop) {
        const struct pending *command = command_at(q, q->count - q->queued + count);
        if (size_max - size < command->size) {
            break;
        }
        size += command->size;
        count++;
    }
    assert(count > 0);
    *ret_octets = bytes_of(q->octets.data + q->next, size);
    *ret_count = count;
    return true;
}

void pending_proposed(struct pending_queue *q, uint64_t slot, uint64_t epoch, uint32_t count,
                      size_t size)
{
    assert(count > 0 && count <= q->queued);
    assert(q->slots_count < PENDING_SLOTS_MAX);
    *slot_at(q, q->slots_count) = (struct pending_slot){
        .slot = slot,
        .epoch = epoch,
        .count = count,
        .size = size,
    };
    q->slots_count++;
    q->queued -= count;
    q->next += size;
    skip_gap(q);
    if (!mutant(retry_in_second_slot)) {
        drop_octets(q, size);
    }
}

const struct pending_slot *pending_oldest(const struct pending_queue *q)
{
    return q->slots_count == 0 ? NULL : &q->slots[q->slots_first];
}

struct pending pending_take(struct pending_queue *q)
{
    assert(q->slots_count > 0 && q->count > q->queued);
    struct pending_slot *slot = &q->slots[q->slots_first];
    const struct pending command = *command_at(q, 0);
    q->first = q->first + 1 == q->capacity ? 0 : q->first + 1;
    q->count--;
    slot->count--;
    if (slot->count == 0) {
        if (mutant(retry_in_second_slot)) {
            drop_octets(q, slot->size);
        }
        q->slots_first = (q->slots_first + 1) % PENDING_SLOTS_MAX;
        q->slots_count--;
    }
    return command;
}

const struct pending *pending_queued(const struct pending_queue *q, uint32_t index)
{
    assert(index < q->queued);
    return command_at(q, q->count - q->queued + index);
}

void pending_drop_queued(struct pending_queue *q)
{
    q->count -= q->queued;
    q->queued = 0;
    q->next = 0;
    q->octets.first = 0;
    q->octets.end = 0;
    q->octets.used = 0;
    q->octets.wrapped = false;
}

void pending_each(struct pending_queue *q,
                  void (*change)(void *context, struct pending *command), void *context)
{
    for (uint32_t i = 0; i < q->count; i++) {
        change(context, command_at(q, i));
    }
}

void pending_rewind(struct pending_queue *q)
{
    assert(mutant(retry_in_second_slot));
    q->queued = q->count;
    q->next = q->octets.first;
    q->slots_count = 0;
}

void pending_check(const struct pending_queue *q)
{
    assert(q->count <= q->capacity && q->queued <= q->count);
    assert(q->slots_count <= PENDING_SLOTS_MAX);
    uint64_t proposed = 0;
    for (uint32_t i = 0; i < q->slots_count; i++) {
        const struct pending_slot *slot = &q->slots[(q->slots_first + i) % PENDING_SLOTS_MAX];
        assert(slot->count > 0);
        proposed += slot->count;
    }
    assert(proposed + q->queued == q->count);

    uint64_t octets = 0;
    for (uint32_t i = 0; i < q->queued; i++) {
        octets += pending_queued(q, i)->size;
    }
    assert(octets <= q->octets.used && q->octets.used <= q->octets_max);
    if (!mutant(retry_in_second_slot)) {
        assert(octets == q->octets.used);
    }
}
