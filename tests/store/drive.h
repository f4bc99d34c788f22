/* SPDX-License-Identifier: Apache-2.0
 *
 * drive.h -- disks for SQLite that fail when told, and forget what was not
 * synced.
 *
 * A drive is a folder.  What SQLite keeps below it lives in memory, twice: as
 * the page cache shows it, and as a power cut would leave it.  A file is written
 * out when it is closed, so that whoever reads it by other means finds what the
 * page cache has.  Files that no drive has go to the real file system.
 *
 * There is no shared memory and no memory mapping, so what runs over a drive
 * uses neither.
 */
#ifndef TESTS_STORE_DRIVE_H
#define TESTS_STORE_DRIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "paxos/base/rng.h"

enum drive_mode {
    DRIVE_GOOD,
    DRIVE_FAILS,        /* Call `at` fails; a sync that fails takes what it was to write off the
                         * list of what is still to be written, as kernels do. */
    DRIVE_DIES,         /* Call `at` and all behind it fail: the power is gone. */
    DRIVE_CANT_SYNC,    /* So does sync `at`; ... */
    DRIVE_CANT_READ,    /* ... or read `at`: those alone are counted then. */
};

enum drive_keep {
    DRIVE_KEEP_NONE, /* Of what was not synced, nothing is on disk ... */
    DRIVE_KEEP_ALL,
    DRIVE_KEEP_SOME, /* ... or any sectors of it, in no order; ... */
    DRIVE_KEEP_TORN, /* ... and one sector that was being written is neither old nor new,
                      * though never the first of a file. */
};

struct drive;

/* Makes drives the default VFS; once a program. */
void drive_register(void);

/* `folder` and all below it; it need not exist yet. */
struct drive *drive_new(const char *folder);

/* Its files must be closed.  Takes NULL. */
void drive_free(struct drive *drive);

/* Forgets all files: they are what the file system has.  They must be closed. */
void drive_forget(struct drive *drive);

/* Counts from 0, and fails as told.  Counted are the calls that change something
 * (open, write, truncate, sync, delete). */
void drive_begin(struct drive *drive, enum drive_mode mode, long at);

long drive_calls(const struct drive *drive);

/* Was call `at` a write, since the last drive_begin()?  The others, syncs above
 * all, are few. */
bool drive_was_write(const struct drive *drive, long at);

/* Did call `at` come, or was the drive full? */
bool drive_hit(const struct drive *drive);

/* Files can't grow beyond so many octets, all together; UINT64_MAX: they can. */
void drive_limit(struct drive *drive, uint64_t octets);
uint64_t drive_used(const struct drive *drive);
uint64_t drive_room(const struct drive *drive); /* What is left of the limit. */

/* Cuts the power: the files become what a disk would hold.  All of them must be
 * closed.  Then all is good again. */
void drive_cut(struct drive *drive, struct rng *rng, enum drive_keep keep);

/* What the disk holds of a file below the folder, to look at; NULL: none. */
const uint8_t *drive_look(const struct drive *drive, const char *name, size_t *ret_size);

/* Overwrites it on the disk, and in the page cache too. */
void drive_damage(struct drive *drive, const char *name, size_t at, const void *data,
                  size_t size);

#endif
