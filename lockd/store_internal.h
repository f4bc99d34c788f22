/* SPDX-License-Identifier: Apache-2.0
 *
 * store_internal.h -- what the sources of the SQLite store share.
 *
 *     store_common.c   the form of the store: schema, statements, sums, errors
 *     store_init.c     making a new one
 *     store_wal.c      what SQLite's own recovery would take for a torn tail
 *     store_sqlite.c   open, checkpoint, close
 *     store_rows.c     read and write
 *     store_copy.c     the readable copy for sqlite3(1)
 */
#ifndef LOCKD_STORE_INTERNAL_H
#define LOCKD_STORE_INTERNAL_H

#include <sqlite3.h>

#include "lockd/store.h"

#define STORE_FILE "store.db"
#define STORE_WAL STORE_FILE "-wal"

enum {
    STORE_APPLICATION_ID = 0x6c6f636b, /* "lock" */
    STORE_PAGE = 4096,
    STORE_TABLES = 3,
    STORE_IDENTITY_MAX = 10 + STORE_CELL_MAX, /* Bytes of META_IDENTITY. */
    STORE_ERROR_MAX = 512,
};

/* Rows of the table `meta`.  The numbers are part of the format. */
enum store_meta {
    META_IDENTITY = 1,    /* u16 replica, u64 identity, the cell's name */
    META_INCARNATION = 2, /* u64 */
    META_HARD = 3,        /* paxos_hard_encode() */
    META_CHOSEN = 4,      /* u64 */
    META_APPLIED = 5,     /* u64 slot, u32 position, u64 digest of the state */
};

#define STORE_STMT_MAP(X)                                                                      \
    X(STMT_BEGIN, "BEGIN IMMEDIATE")                                                           \
    X(STMT_COMMIT, "COMMIT")                                                                   \
    X(STMT_META_GET, "SELECT value, sum FROM meta WHERE id = ?1")                              \
    X(STMT_META_PUT, "INSERT OR REPLACE INTO meta (id, value, sum) VALUES (?1, ?2, ?3)")       \
    X(STMT_LOG_PUT, "INSERT OR REPLACE INTO log (slot, ballot, value, sum)"                    \
                    " VALUES (?1, ?2, ?3, ?4)")                                                \
    X(STMT_LOG_GET, "SELECT slot, ballot, value, sum FROM log"                                 \
                    " WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT ?3")                    \
    X(STMT_LOG_ENDS, "SELECT (SELECT min(slot) FROM log), (SELECT max(slot) FROM log)")        \
    X(STMT_LOG_COUNT, "SELECT count(*) FROM log WHERE slot BETWEEN ?1 AND ?2")                 \
    X(STMT_LOG_TRIM, "DELETE FROM log WHERE slot <= ?1")                                       \
    X(STMT_ROW_PUT, "INSERT OR REPLACE INTO state (key, value, sum) VALUES (?1, ?2, ?3)")      \
    X(STMT_ROW_DELETE, "DELETE FROM state WHERE key = ?1")                                     \
    X(STMT_ROW_ALL, "SELECT key, value, sum FROM state ORDER BY key")                          \
    X(STMT_FREELIST, "PRAGMA freelist_count")

enum store_stmt {
#define STORE_STMT_ENUM(name, sql) name,
    STORE_STMT_MAP(STORE_STMT_ENUM)
#undef STORE_STMT_ENUM
        STORE_STMTS
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmt[STORE_STMTS];
    int dir; /* Its flock(2) is what makes the store ours. */
    enum store_mode mode;
    bool failed;          /* A write or a sync failed: nothing is written any more. */
    uint32_t wal_frames;  /* Frames in the WAL that no checkpoint has copied yet. */
    uint64_t chosen_mark; /* As stored ... */
    uint64_t applied_slot;
    uint64_t trim_from; /* ... and no log row is below this; 0: the log is empty. */
    uint8_t *scratch;   /* Where a log value is encoded. */
    size_t scratch_size;
    char *path; /* Of the SQLite file. */
    char error[STORE_ERROR_MAX];
};

/* ------------------------------------------------------------------ errors */

/* Writes the sentence that store_error() gives, and returns `rc`. */
enum store_rc store_fail(struct store *store, enum store_rc rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from what SQLite says about its last call: `doing` is the start of
 * the sentence ("reading the log"). */
enum store_rc store_fail_sqlite(struct store *store, const char *doing);

/* -------------------------------------------------------------------- form */

/* The statements that make the tables, in order. */
extern const char *const store_schema[STORE_TABLES];

/* `dir`/store.db with `suffix` appended; the caller frees it. NULL: no memory. */
char *store_path(const char *dir, const char *suffix);

/* Opens `dir` and takes its lock: STORE_BUSY while another has it. */
enum store_rc store_lock(struct store *store, const char *dir);

/* Is this our file, in our format?  Looks with read(2) alone, because SQLite
 * may write to whatever it opens. */
enum store_rc store_check_header(struct store *store);

/* Does the WAL hold a transaction that was acknowledged, and that recovery
 * would drop?  STORE_DAMAGED then.  In store_wal.c. */
enum store_rc store_check_wal(struct store *store);

/* Puts a copy that is on disk in the place of the WAL.  After a sync that failed the
 * page cache shows frames that the disk lacks, and no later sync writes them; a
 * checkpoint that copied them into the file and lost the power halfway would leave
 * pages that nothing can mend.  In store_wal.c. */
enum store_rc store_renew_wal(struct store *store);

/* Is the schema, to the letter, what store_init() made? */
enum store_rc store_check_schema(struct store *store);

enum store_rc store_prepare(struct store *store);
void store_finalize(struct store *store);

/* -------------------------------------------------------------- statements */

/* Runs a statement that returns no rows, and resets it. */
bool store_run(struct store *store, enum store_stmt which);

/* Binds; never NULL, which is another value than "nothing". */
void store_bind_u64(struct store *store, enum store_stmt which, int index, uint64_t value);
void store_bind_bytes(struct store *store, enum store_stmt which, int index,
                      struct bytes value);

/* Column `index` of the row a statement stands on; bytes are borrowed until the
 * next step, and are never NULL. */
uint64_t store_column_u64(sqlite3_stmt *stmt, int index);
struct bytes store_column_bytes(sqlite3_stmt *stmt, int index);

/* -------------------------------------------------------------------- rows */

/* What a row's `sum` must be: of its table, its key and its value, so that a
 * row that landed in another's place is found out as well. */
uint64_t store_sum_meta(enum store_meta id, struct bytes value);
uint64_t store_sum_log(uint64_t slot, uint64_t ballot, struct bytes value);
uint64_t store_sum_state(struct bytes key, struct bytes value);

bool store_meta_put(struct store *store, enum store_meta id, struct bytes value);

bool store_hard_put(struct store *store, const struct paxos_hard *hard);

/* Copies the row into `buffer`; STORE_DAMAGED when it is missing, does not fit
 * or does not match its sum. */
enum store_rc store_meta_get(struct store *store, enum store_meta id, void *buffer, size_t size,
                             struct bytes *ret_value);

#endif
