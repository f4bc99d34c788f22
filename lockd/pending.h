/* SPDX-License-Identifier: Apache-2.0
 *
 * pending.h -- who awaits which command, and the commands on their way to a slot.
 *
 * A command comes in at the back and waits for a slot together with those that
 * came before it; a batch of them is cut off at the front and proposed; it then
 * waits for what its slot brings:
 *
 *              taken in order                          pushed
 *        <---- [ proposed: slots s, s+1, ... ][ queued ] <----
 *
 * One queue serves both, because everything here is in the order of arrival: the
 * log fills its slots in order and applies them in order.  So nothing is ever
 * searched for, and nothing is allocated after the start.
 *
 * Only what queues has octets here: once proposed, a command is the log's.
 */
#ifndef LOCKD_PENDING_H
#define LOCKD_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "paxos/base/bytes.h"

/* ------------------------------------------------------------- byte ring */

/* Octets in the order of arrival, each piece in one stretch.  Empties back to
 * its beginning, so in ordinary use only the first pages are ever touched. */
struct byte_ring {
    uint8_t *data;
    size_t capacity;
    size_t first; /* Of the oldest piece. */
    size_t end;   /* Behind the newest. */
    size_t wrap;  /* While `wrapped`: behind the last piece before the end of `data`. */
    size_t used;  /* By pieces; the gap at a wrap is not counted. */
    bool wrapped; /* The newest piece lies before the oldest. */
};

/* Space for one piece, or NULL when there is none in one stretch. */
uint8_t *byte_ring_push(struct byte_ring *ring, size_t size);

/* The oldest pieces, `size` octets of them in one stretch, are done with. */
void byte_ring_drop(struct byte_ring *ring, size_t size);

/* --------------------------------------------------------------- the queue */

struct intent;

/* A command that somebody awaits.  What its owner means by `client`, `tag`, `intent`
 * and `op` is not looked at, except that op 0 is nobody's: the command runs on, and
 * its outcome is told to no one. */
struct pending {
    uint64_t client;
    uint64_t tag;
    struct intent *intent; /* NULL: none. */
    uint32_t size; /* Of its octets. */
    uint8_t op;
};

/* Commands that share a slot. */
struct pending_slot {
    uint64_t slot;
    uint64_t epoch; /* Of the mastership in which they were proposed. */
    uint32_t count;
    size_t size;
};

enum { PENDING_SLOTS_MAX = 256 }; /* Slots proposed and not yet applied. */

struct pending_queue {
    struct pending *commands; /* Ring of `capacity`. */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    uint32_t queued; /* The newest of them: not yet proposed. */

    struct byte_ring octets;
    size_t next;       /* Where in `octets` the oldest queued command begins. */
    size_t octets_max; /* Of those queued. */

    struct pending_slot slots[PENDING_SLOTS_MAX]; /* Ring. */
    uint32_t slots_first;
    uint32_t slots_count;
};

/* Octets of memory that a ring needs, so that `octets_max` in pieces of at most
 * `piece_max` always fit, wherever it wraps. */
static inline size_t pending_ring_size(size_t octets_max, size_t piece_max)
{
    return octets_max + piece_max;
}

/* Takes a command of command->size octets, and returns where to write them.
 * NULL: too much is waiting. */
uint8_t *pending_push(struct pending_queue *q, const struct pending *command);

/* The octets of the next batch to propose: at most `count_max` commands and
 * `size_max` octets, in order.  False when nothing is queued, or too many slots
 * are open.  A single command may not be larger than `size_max`. */
bool pending_next_batch(const struct pending_queue *q, uint32_t count_max, size_t size_max,
                        struct bytes *ret_octets, uint32_t *ret_count);

/* The next `count` commands, of `size` octets, were proposed in `slot`. */
void pending_proposed(struct pending_queue *q, uint64_t slot, uint64_t epoch, uint32_t count,
                      size_t size);

/* The oldest slot proposed and not yet decided for; NULL: none. */
const struct pending_slot *pending_oldest(const struct pending_queue *q);

/* Takes the next command of the oldest slot; with its last one the slot is gone. */
struct pending pending_take(struct pending_queue *q);

/* The commands not yet proposed, from 0 to q->queued - 1, and the end of all of
 * them: they will never be. */
const struct pending *pending_queued(const struct pending_queue *q, uint32_t index);
void pending_drop_queued(struct pending_queue *q);

/* Calls `change` for every command awaited. */
void pending_each(struct pending_queue *q,
                  void (*change)(void *context, struct pending *command), void *context);

/* Queues again what was proposed.  That is the bug of mutant
 * retry_in_second_slot, which alone keeps the octets so long; a slot that was
 * lost to us may still be chosen with what we proposed in it. */
void pending_rewind(struct pending_queue *q);

/* Asserts that the parts agree. */

void pending_check(const struct pending_queue *q);

#endif
