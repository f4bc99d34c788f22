/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_store.h -- the disk of a replica as the daemon has it: SQLite, over a
 * drive that fails when told.
 *
 * What the platter in memory has is what the replica was told to be durable; the
 * store must have the same.  A process that starts reads it back: all that it was
 * told is there, nothing else is, and of the one transaction that was under way
 * all or nothing.
 */
#ifndef TESTS_SIM_DISK_STORE_H
#define TESTS_SIM_DISK_STORE_H

#include "tests/sim/disk.h"
#include "tests/store/drive.h"

struct disk_store {
    char folder[64];
    struct drive *drive;
    struct store *store; /* NULL: no process has it open. */
    struct rng rng;
    struct disk_job *doubtful; /* Was being written when the process died. */
    long calls;                /* That the last transaction took. */
    bool failed;               /* The process must end of it. */
    bool struck;               /* Something was done to what is at rest on it. */
    bool low;                  /* The replica was told that space is low. */
    uint64_t idle_since_us;
};

/* The store of a founder, as `lockd init` makes it. */
struct disk_store *disk_store_new(struct world *w, const struct disk *d,
                                  const struct paxos_hard *hard);

/* ------------------------------------------------------------ disk_damage.c */

/* A bit flips on it; a page stands in another's place.  False: there is nothing
 * that this could be done to. */
bool disk_damage_flip(struct world *w, struct disk *d);
bool disk_damage_misplace(struct world *w, struct disk *d);

#endif
