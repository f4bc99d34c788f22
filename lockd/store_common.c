/* SPDX-License-Identifier: Apache-2.0
 *
 * store_common.c -- the form of the store, and the steps that its parts share.
 *
 * Three tables.  `log` is the Paxos log, `state` the records of the replicated
 * state, `meta` the few values of which there is one.  Everything that means
 * something is encoded by the codecs of paxos/ and lease/; SQLite sees keys,
 * blobs and sums.  docs/storage.md argues all this at length.
 */
#include "lockd/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "paxos/base/hash.h"
#include "paxos/codec.h"

enum {
    /* SQLite's file format, section 1.3: offsets in the header. */
    HEADER_BYTES = 100,
    HEADER_USER_VERSION = 60,
    HEADER_APPLICATION_ID = 68,
};

/* In the order of sqlite_schema, which is that of creation. */
const char *const store_schema[STORE_TABLES] = {
    "CREATE TABLE meta (id INTEGER PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL)",
    "CREATE TABLE log (slot INTEGER PRIMARY KEY, ballot INTEGER NOT NULL, value BLOB NOT NULL,"
    " sum INTEGER NOT NULL)",
    "CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL)"
    " WITHOUT ROWID",
};

static const char *const stmt_sql[] = {
#define STORE_STMT_SQL(name, sql) [name] = sql,
    STORE_STMT_MAP(STORE_STMT_SQL)
#undef STORE_STMT_SQL
};

/* ------------------------------------------------------------------ errors */

const char *store_rc_text(enum store_rc rc)
{
    switch (rc) {
#define STORE_RC_TEXT(name, value, text)                                                       \
    case name:                                                                                 \
        return text;
        STORE_RC_MAP(STORE_RC_TEXT)
#undef STORE_RC_TEXT
    }
    return "unknown";
}

const char *store_error(const struct store *store)
{
    return store->error;
}

enum store_rc store_fail(struct store *store, enum store_rc rc, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(store->error, sizeof(store->error), format, arguments);
    va_end(arguments);
    return rc;
}

static enum store_rc rc_of_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STORE_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return STORE_DAMAGED;
    default:
        return STORE_IO;
    }
}

enum store_rc store_fail_sqlite(struct store *store, const char *doing)
{
    const int code = sqlite3_extended_errcode(store->db);
    const int number = sqlite3_system_errno(store->db);
    if (number != 0 && rc_of_sqlite(code) == STORE_IO) {
        return store_fail(store, STORE_IO, "%s: %s failed: %s (%s; SQLite code %d)",
                          store->path, doing, sqlite3_errmsg(store->db), strerror(number),
                          code);
    }
    return store_fail(store, rc_of_sqlite(code), "%s: %s failed: %s (SQLite code %d)",
                      store->path, doing, sqlite3_errmsg(store->db), code);
}

/* -------------------------------------------------------------------- form */

char *store_path(const char *dir, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/" STORE_FILE "%s", dir, suffix) < 0 ? NULL : path;
}

enum store_rc store_lock(struct store *store, const char *dir)
{
    store->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->dir < 0) {
        const enum store_rc rc = errno == ENOENT ? STORE_MISSING : STORE_IO;
        return store_fail(store, rc, "%s: %s", dir, strerror(errno));
    }
    /* SQLite's own lock is a POSIX record lock, which any close(2) of the file
     * in this process would drop; this one lasts as long as its descriptor. */
    if (flock(store->dir, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return store_fail(store, STORE_BUSY, "%s: another process uses the store", dir);
        }
        return store_fail(store, STORE_IO, "%s: locking failed: %s", dir, strerror(errno));
    }
    return STORE_OK;
}

static enum store_rc check_header_bytes(struct store *store, const uint8_t *header)
{
    if (memcmp(header, "SQLite format 3", sizeof("SQLite format 3")) != 0) {
        return store_fail(store, STORE_DAMAGED, "%s: not a SQLite file", store->path);
    }
    struct reader id = reader_over(bytes_of(header + HEADER_APPLICATION_ID, 4));
    if (read_u32(&id) != STORE_APPLICATION_ID) {
        return store_fail(store, STORE_FORMAT_UNKNOWN, "%s: a SQLite file, but not a store",
                          store->path);
    }
    struct reader version = reader_over(bytes_of(header + HEADER_USER_VERSION, 4));
    const uint32_t format = read_u32(&version);
    if (format != STORE_FORMAT) {
        return store_fail(store, STORE_FORMAT_UNKNOWN,
                          "%s: format %u; this build knows format %d alone", store->path,
                          format, STORE_FORMAT);
    }
    return STORE_OK;
}

enum store_rc store_check_header(struct store *store)
{
    const int fd = openat(store->dir, STORE_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const enum store_rc rc = errno == ENOENT ? STORE_MISSING : STORE_IO;
        return store_fail(store, rc, "%s: %s", store->path, strerror(errno));
    }
    uint8_t header[HEADER_BYTES];
    const ssize_t count = pread(fd, header, sizeof(header), 0);
    const int number = errno;
    close(fd);
    if (count < 0) {
        return store_fail(store, STORE_IO, "%s: %s", store->path, strerror(number));
    }
    if (count < HEADER_BYTES) {
        return store_fail(store, STORE_DAMAGED, "%s: shorter than its header", store->path);
    }
    return check_header_bytes(store, header);
}

enum store_rc store_check_schema(struct store *store)
{
    sqlite3_stmt *stmt = NULL;
    const char *sql = "SELECT sql FROM sqlite_schema ORDER BY rowid";
    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return store_fail_sqlite(store, "reading the schema");
    }
    int count = 0;
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (count >= STORE_TABLES || text == NULL || strcmp(text, store_schema[count]) != 0) {
            count = STORE_TABLES + 1;
            break;
        }
        count++;
    }
    enum store_rc rc = STORE_OK;
    if (step != SQLITE_DONE && step != SQLITE_ROW) {
        rc = store_fail_sqlite(store, "reading the schema");
    } else if (count != STORE_TABLES) {
        rc = store_fail(store, STORE_DAMAGED, "%s: the schema is not that of format %d",
                        store->path, STORE_FORMAT);
    }
    sqlite3_finalize(stmt);
    return rc;
}

enum store_rc store_prepare(struct store *store)
{
    for (int i = 0; i < STORE_STMTS; i++) {
        if (sqlite3_prepare_v3(store->db, stmt_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->stmt[i], NULL) != SQLITE_OK) {
            return store_fail_sqlite(store, "preparing a statement");
        }
    }
    return STORE_OK;
}

void store_finalize(struct store *store)
{
    for (int i = 0; i < STORE_STMTS; i++) {
        sqlite3_finalize(store->stmt[i]);
        store->stmt[i] = NULL;
    }
}

/* -------------------------------------------------------------- statements */

bool store_run(struct store *store, enum store_stmt which)
{
    const int step = sqlite3_step(store->stmt[which]);
    return step == SQLITE_DONE && sqlite3_reset(store->stmt[which]) == SQLITE_OK;
}

/* A failed binding leaves the parameter NULL, which every column of ours
 * refuses: so the step that follows fails, and the result needs no test. */
void store_bind_u64(struct store *store, enum store_stmt which, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(store->stmt[which], index, (sqlite3_int64)value);
}

void store_bind_bytes(struct store *store, enum store_stmt which, int index, struct bytes value)
{
    const void *data = value.size == 0 ? (const void *)"" : value.data;
    (void)sqlite3_bind_blob64(store->stmt[which], index, data, value.size, SQLITE_STATIC);
}

uint64_t store_column_u64(sqlite3_stmt *stmt, int index)
{
    return (uint64_t)sqlite3_column_int64(stmt, index);
}

struct bytes store_column_bytes(sqlite3_stmt *stmt, int index)
{
    const void *data = sqlite3_column_blob(stmt, index);
    const int size = sqlite3_column_bytes(stmt, index);
    return data == NULL ? bytes_of("", 0) : bytes_of(data, (size_t)size);
}

/* -------------------------------------------------------------------- rows */

static uint64_t sum(uint64_t table, struct bytes key, struct bytes value)
{
    return hash64_seeded(value.data, value.size, hash64_seeded(key.data, key.size, table));
}

uint64_t store_sum_meta(enum store_meta id, struct bytes value)
{
    uint8_t key[8];
    struct writer w = writer_over(key, sizeof(key));
    write_u64(&w, (uint64_t)id);
    return sum('m', bytes_of(key, w.size), value);
}

uint64_t store_sum_log(uint64_t slot, uint64_t ballot, struct bytes value)
{
    uint8_t key[16];
    struct writer w = writer_over(key, sizeof(key));
    write_u64(&w, slot);
    write_u64(&w, ballot);
    return sum('l', bytes_of(key, w.size), value);
}

uint64_t store_sum_state(struct bytes key, struct bytes value)
{
    return sum('s', key, value);
}

bool store_meta_put(struct store *store, enum store_meta id, struct bytes value)
{
    store_bind_u64(store, STMT_META_PUT, 1, (uint64_t)id);
    store_bind_bytes(store, STMT_META_PUT, 2, value);
    store_bind_u64(store, STMT_META_PUT, 3, store_sum_meta(id, value));
    return store_run(store, STMT_META_PUT);
}

enum store_rc store_meta_get(struct store *store, enum store_meta id, void *buffer, size_t size,
                             struct bytes *ret_value)
{
    sqlite3_stmt *stmt = store->stmt[STMT_META_GET];
    store_bind_u64(store, STMT_META_GET, 1, (uint64_t)id);
    const int step = sqlite3_step(stmt);
    enum store_rc rc = STORE_OK;
    if (step == SQLITE_ROW) {
        const struct bytes value = store_column_bytes(stmt, 0);
        if (value.size > size || store_column_u64(stmt, 1) != store_sum_meta(id, value)) {
            rc = store_fail(store, STORE_DAMAGED, "%s: row %d of meta does not match its sum",
                            store->path, (int)id);
        } else {
            memcpy(buffer, value.data, value.size);
            *ret_value = bytes_of(buffer, value.size);
        }
    } else if (step == SQLITE_DONE) {
        rc = store_fail(store, STORE_DAMAGED, "%s: row %d of meta is missing", store->path,
                        (int)id);
    } else {
        rc = store_fail_sqlite(store, "reading meta");
    }
    sqlite3_reset(stmt);
    return rc;
}

bool store_hard_put(struct store *store, const struct paxos_hard *hard)
{
    uint8_t buffer[PAXOS_HARD_MAX];
    struct writer w = writer_over(buffer, sizeof(buffer));
    paxos_hard_encode(hard, &w);
    assert(!w.failed);
    /* A promise that the next start could not read would be the end of this
     * replica; better to stop before it is the only one. */
    struct paxos_hard again;
    const bool readable = paxos_hard_decode(bytes_of(buffer, w.size), &again);
    assert(readable);
    return readable && store_meta_put(store, META_HARD, bytes_of(buffer, w.size));
}
