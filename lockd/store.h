/* SPDX-License-Identifier: Apache-2.0
 *
 * store.h -- what a replica keeps on disk, and the unit in which it is written.
 *
 * The log is the truth; the tables are its materialisation: they always hold
 * exactly the effects of slots 1 ... applied_slot.  A store_batch is written in
 * one transaction or not at all.  Who writes it is nobody's business here: the
 * daemon's writer thread gives it to SQLite, the simulator to a disk that loses
 * what was not synced.
 *
 * One connection, one thread at a time.  Any failure of a write or a sync is
 * final: the replica stops, and no call here tries again (VERIFICATION: after a
 * failed fsync nobody knows what the disk holds).
 */
#ifndef LOCKD_STORE_H
#define LOCKD_STORE_H

#include "lease/lease.h"
#include "paxos/paxos.h"

enum { STORE_FORMAT = 3, STORE_CELL_MAX = 64 };

/* Rows changed since the last set, and how far they bring the tables. */
struct store_set {
    const struct lease_row *rows;
    uint32_t rows_count;
    uint64_t applied_slot;
    uint32_t applied_position;
    uint64_t digest;     /* Of the state at applied_slot. */
    uint64_t trim;       /* Log rows up to min(trim, applied_slot) may go; 0: none. */
};

struct store_batch {
    uint64_t ticket;                   /* 0: nobody waits for this batch. */
    const struct paxos_hard *hard;     /* NULL: unchanged. */
    const struct paxos_entry *entries; /* Log rows to put, replacing what is there. */
    uint32_t entries_count;
    uint64_t chosen_mark;              /* Never falls; 0: leave it. */
    const struct store_set *set;       /* NULL: none. */
};

/* ------------------------------------------------------- the SQLite store */

struct store;

#define STORE_RC_MAP(X)                                                                          \
    X(STORE_OK, 0, "ok")                                                                         \
    X(STORE_MISSING, 1, "there is no store; `lockd init --config FILE` makes one")               \
    X(STORE_EXISTS, 2, "there is a store already")                                               \
    X(STORE_BUSY, 3, "another process uses the store")                                           \
    X(STORE_FORMAT_UNKNOWN, 4, "the store has a format that this build does not know")           \
    X(STORE_DAMAGED, 5, "the store is damaged")                                                  \
    X(STORE_IO, 6, "reading or writing failed")                                                  \
    X(STORE_MISMATCH, 7, "the store belongs to another cell or replica")

enum store_rc {
#define STORE_RC_ENUM(name, value, text) name = (value),
    STORE_RC_MAP(STORE_RC_ENUM)
#undef STORE_RC_ENUM
};

const char *store_rc_text(enum store_rc rc);

/* Who a store belongs to; fixed by store_init(). */
struct store_identity {
    char cell[STORE_CELL_MAX]; /* The cell's name, NUL-terminated. */
    paxos_id replica;
    uint64_t identity;
};

/* Makes `dir` (0700, its parents must exist) and in it the store of a new
 * replica, synced with its directory: identity, and `hard` with the founding
 * members.  STORE_EXISTS leaves what is there untouched. */
enum store_rc store_init(const char *dir, const struct store_identity *identity,
                         const struct paxos_hard *hard, char *ret_detail, size_t detail_size);

enum store_mode {
    STORE_SERVE,   /* Raises and syncs the incarnation; rewrites what a failed sync may have left
                    * only in the page cache, by a TRUNCATE checkpoint. */
    STORE_INSPECT, /* Changes nothing: for lockdump. */
};

/* Opens the store of `dir`.  `ret_detail` gets one sentence on failure. */
enum store_rc store_open(const char *dir, enum store_mode mode, struct store **ret_store,
                         char *ret_detail, size_t detail_size);
void store_close(struct store *store); /* Takes NULL. */

/* What is read at the start. */
struct store_boot {
    struct store_identity identity;
    uint64_t incarnation; /* Already raised under STORE_SERVE. */
    struct paxos_hard hard;
    uint64_t chosen_mark;
    uint64_t applied_slot;
    uint32_t applied_position;
    uint64_t digest;
    uint64_t log_first; /* Lowest slot in the log; 0: the log is empty. */
    uint64_t log_last;
};

enum store_rc store_boot(struct store *store, struct store_boot *ret_boot);

/* Visits all rows of the state, in order of the keys.  The visitor returns
 * false to stop, which makes the call return STORE_DAMAGED. */
enum store_rc store_rows(struct store *store,
                         bool (*visit)(void *context, const struct lease_row *row),
                         void *context);

/* Visits log rows first ... last that exist, ascending, checksums verified; at
 * most `limit` of them.  Stops early without failure when the visitor returns
 * false. */
enum store_rc store_log(struct store *store, uint64_t first, uint64_t last, uint32_t limit,
                        bool (*visit)(void *context, const struct paxos_entry *entry),
                        void *context);

/* Writes `count` batches, in order, as one transaction, synced on return.
 * Any failure is final; the store must be closed. */
enum store_rc store_write(struct store *store, const struct store_batch *batches, uint32_t count);

/* Between commits: checkpoints when the WAL has passed 4 MiB, or, when `idle`,
 * 1 MiB.  Incremental; may be called at any time. */
enum store_rc store_maintain(struct store *store, bool idle);

/* Bytes that may still be written: free in the file system, and free inside the
 * store's file, where trimmed log rows leave room that the file system never
 * sees again.  0 when it can't be told. */
uint64_t store_free_bytes(struct store *store);

/* Writes a plain SQLite file with everything in readable columns, for sqlite3. */
enum store_rc store_copy(struct store *store, const char *out, char *ret_detail,
                         size_t detail_size);

/* Sentence about the last failure, static until the next call. */
const char *store_error(const struct store *store);

#endif
