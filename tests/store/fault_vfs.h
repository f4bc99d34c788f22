/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_vfs.h -- a disk for SQLite that fails when told, and forgets what was
 * not synced.
 *
 * It stands in front of the real file system as SQLite's default VFS and counts
 * the calls that change something (open, write, truncate, sync, delete).  Of
 * every file it keeps what a power cut would leave.  It offers no shared memory
 * and no memory mapping, so what runs over it uses neither.
 */
#ifndef TESTS_STORE_FAULT_VFS_H
#define TESTS_STORE_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

#include "paxos/base/rng.h"

enum fault_mode {
    FAULT_NONE,
    FAULT_ONCE, /* Call `at` fails; a sync that fails loses its data from the cache's list of
                 * what is still to be written, as kernels do. */
    FAULT_DEAD, /* Call `at` and all behind it fail: the power is gone. */
};

enum fault_keep {
    FAULT_KEEP_NONE, /* Of what was not synced, nothing is on disk ... */
    FAULT_KEEP_ALL,
    FAULT_KEEP_SOME, /* ... or any sectors of it, in no order. */
};

/* Makes it the default VFS; once a program. */
void fault_vfs_register(void);

/* Forgets all files, counts from 0, and fails as told. */
void fault_begin(enum fault_mode mode, long at);

/* Stops failing; counts and files stay. */
void fault_stop(void);

long fault_calls(void);

/* Was call `at` a write, since the last fault_begin()?  The others, syncs above
 * all, are few. */
bool fault_was_write(long at);

/* Did call `at` come? */
bool fault_hit(void);

/* Cuts the power: the files become what a disk would hold.  All of them must be
 * closed.  Begins anew without faults. */
void fault_crash(struct rng *rng, enum fault_keep keep);

#endif
