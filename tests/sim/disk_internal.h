/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of the disk share.
 *
 *     disk.c           the writer's queue: what is one transaction, and when
 *     disk_platter.c   rows in memory, which the audits look at
 *     disk_store.c     the same rows in a real store, in full mode
 *     disk_damage.c    what becomes of a store at rest
 */
#ifndef TESTS_SIM_DISK_INTERNAL_H
#define TESTS_SIM_DISK_INTERNAL_H

#include "tests/sim/disk.h"

enum job_kind {
    JOB_LOG,  /* Hard state, log rows, chosen mark. */
    JOB_SET,  /* Rows of the tables, and how far they reach. */
    JOB_READ, /* Of the log, for a peer. */
};

/* One allocation; what the batch points at follows behind it. */
struct disk_job {
    struct disk_job *next;
    enum job_kind kind;
    struct store_batch batch;
    struct store_set set;
    struct paxos_hard hard;
    struct paxos_wanted wanted;
};

/* What is committed before the audits have seen it. */
void platter_put_entry(struct disk *d, const struct paxos_entry *entry);
void platter_put_row(struct disk *d, const struct lease_row *row);
void platter_trim(struct disk *d, uint64_t up_to);
void platter_free(struct disk *d);

/* The first so many jobs reach the platter. */
void disk_commit(struct world *w, struct disk *d, const struct disk_job *jobs, uint32_t count);
void disk_free_jobs(struct disk_job *jobs);

/* ------------------------------------------------------------ disk_store.c */

/* What is being written goes into the store, as one transaction; false: it
 * failed, and the process must end. */
bool disk_store_write(struct world *w, struct disk *d);

/* What the writer does behind a commit: reads of the log, and checkpoints. */
bool disk_store_rest(struct world *w, struct disk *d, const struct disk_job *jobs);

/* The process is gone, in the midst of what is being written. */
void disk_store_crash(struct world *w, struct disk *d);

/* A process starts: false: not now, or never again. */
bool disk_store_boot(struct world *w, struct disk *d);

void disk_store_free(struct disk_store *store); /* Takes NULL. */

#endif
