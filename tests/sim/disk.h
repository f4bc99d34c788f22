/* SPDX-License-Identifier: Apache-2.0
 *
 * disk.h -- what a replica keeps, in memory, with the one property that counts:
 * a crash loses all that was not synced.
 *
 * The writer works as the daemon's does.  All log batches that have queued are
 * one transaction (group commit); a set of rows is a transaction of its own,
 * written when no log batch waits; reads of the log see what was queued before
 * them.  A transaction that is under way when the crash comes is there
 * afterwards, or it is not.
 *
 * In full mode all this is what the replica was told to be durable, and a real
 * store behind it must have the same: see disk_store.h.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "lockd/store.h"
#include "tests/sim/world.h"

/* A row of the state's tables. */
struct disk_row {
    struct bytes key, value; /* One allocation, at key.data. */
};

/* A row of the log. */
struct disk_slot {
    bool present;
    struct paxos_entry entry; /* Its data is owned. */
};

struct disk_job;
struct disk_store;

/* What a crash leaves of the batches under way. */
enum disk_fate { DISK_CHANCE, DISK_THERE, DISK_HALF, DISK_GONE };

struct disk {
    uint32_t index; /* Of the replica. */

    /* What is durable. */
    uint64_t identity;
    uint64_t incarnation;
    struct paxos_hard hard;
    paxos_slot chosen_mark;
    uint64_t applied_slot;
    uint32_t applied_position;
    uint64_t digest;
    paxos_slot log_base; /* log[0] is this slot. */
    struct disk_slot *log;
    uint32_t log_count, log_capacity;
    struct disk_row *rows; /* By key. */
    uint32_t rows_count, rows_capacity;

    /* What is under way. */
    struct disk_job *queue_first, *queue_last;
    struct disk_job *writing; /* One transaction, in order; NULL: idle. */
    uint64_t operation;       /* Number of the one under way. */
    uint64_t stalled_until_us;
    enum disk_fate fate;
    struct rng rng;

    struct disk_store *store; /* In full mode; NULL: the memory above is all there is. */
};

void disk_start(struct world *w, struct disk *d, uint32_t index);
void disk_stop(struct disk *d);
void disk_abandon(struct disk *d); /* Removes what is not memory. */

/* Makes the store of a new replica, as `lockd init` does. */
void disk_format(struct world *w, struct disk *d, uint64_t identity,
                 const struct paxos_hard *hard);

/* A process starts, and raises the incarnation.  False: it can't; then it starts
 * again later by itself, or, on a damaged store, never. */
bool disk_boot(struct world *w, struct disk *d);

/* Copies the batch and queues it. */
void disk_write(struct world *w, struct disk *d, const struct store_batch *batch);

/* Queues a read of the log; replica_log_was_read() gets the answer. */
void disk_read_log(struct world *w, struct disk *d, const struct paxos_wanted *wanted);

/* Batches that are being written: one transaction. */
uint32_t disk_under_way(const struct disk *d);

/* The process is gone. */
void disk_crash(struct world *w, struct disk *d);

/* Nothing that begins before `until_us` ends before it. */
void disk_stall(struct disk *d, uint64_t until_us);

/* The durable row of a slot, or NULL. */
const struct paxos_entry *disk_log_at(const struct disk *d, paxos_slot slot);
paxos_slot disk_log_last(const struct disk *d);

#endif
