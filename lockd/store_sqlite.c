/* SPDX-License-Identifier: Apache-2.0
 *
 * store_sqlite.c -- the store over SQLite: open, checkpoint, close.
 *
 *     store.db       three tables; pages reach it by checkpoints alone
 *     store.db-wal   what was committed since; one sync a transaction
 *
 * One connection, which owns the file from the first look to the last: its lock
 * is exclusive, so the index of the WAL lives in our heap and no shared memory
 * is mapped.  Nobody else can checkpoint, and nothing here happens unasked.
 *
 * After a write or a sync has failed nobody knows what the disk holds.  Then
 * this store writes nothing more, not even when it is closed; the next start
 * reads what is there, and rewrites it before it relies on it.
 */
#include "lockd/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "paxos/base/mutant.h"

enum {
    FRAME_BYTES = STORE_PAGE + 24, /* A page in the WAL, with its header. */
    WAL_BUSY_BYTES = 4 * 1024 * 1024,
    WAL_IDLE_BYTES = 1024 * 1024,
    WAL_RESERVE_BYTES = 16 * 1024 * 1024,
};

/* -------------------------------------------------------------- the settings */

struct setting {
    const char *name;
    const char *value;
    const char *answer; /* What SQLite must say when asked afterwards. */
};

/* locking_mode stands first: it must be set before the WAL is first touched. */
static const struct setting common_settings[] = {
    {"locking_mode", "EXCLUSIVE", "exclusive"},
    {"mmap_size", "0", "0"},
    {"cell_size_check", "ON", "1"},
    {"trusted_schema", "OFF", "0"},
    {"temp_store", "MEMORY", "2"},
    {"cache_size", "-8192", "-8192"},
};

static const struct setting serve_settings[] = {
    {"journal_mode", "WAL", "wal"},   {"synchronous", "FULL", "2"},
    {"wal_autocheckpoint", "0", "0"}, {"secure_delete", "OFF", "0"},
    {"auto_vacuum", "NONE", "0"},     {"journal_size_limit", "-1", "-1"},
};

/* Runs a pragma.  If there is an `answer`, the last thing it says must be that;
 * `otherwise` is the result when it is not. */
static enum store_rc pragma(struct store *store, const char *text, const char *answer,
                            enum store_rc otherwise)
{
    char sql[80];
    snprintf(sql, sizeof(sql), "PRAGMA %s", text);
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return store_fail_sqlite(store, sql);
    }
    char said[80] = "";
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(stmt, 0);
        snprintf(said, sizeof(said), "%s", column == NULL ? "" : column);
    }
    const enum store_rc rc = step == SQLITE_DONE ? STORE_OK : store_fail_sqlite(store, sql);
    sqlite3_finalize(stmt);
    if (rc == STORE_OK && answer != NULL && strcmp(said, answer) != 0) {
        return store_fail(store, otherwise, "%s: %s says \"%s\" instead of \"%s\"", store->path,
                          sql, said, answer);
    }
    return rc;
}

/* A pragma that SQLite can't honour is ignored without a word; so each is read
 * back. */
static enum store_rc apply_settings(struct store *store, const struct setting *settings,
                                    size_t count)
{
    enum store_rc rc = STORE_OK;
    for (size_t i = 0; i < count && rc == STORE_OK; i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s=%s", settings[i].name, settings[i].value);
        rc = pragma(store, text, /* answer= */ NULL, STORE_IO);
        if (rc == STORE_OK) {
            rc = pragma(store, settings[i].name, settings[i].answer, STORE_IO);
        }
    }
    return rc;
}

/* --------------------------------------------------------------------- open */

/* `file:` and the path with all but the plainest characters escaped. */
static char *uri_of(const char *path, const char *parameters)
{
    const size_t size = 5 + 3 * strlen(path) + strlen(parameters) + 1;
    char *uri = malloc(size);
    if (uri == NULL) {
        return NULL;
    }
    size_t at = (size_t)snprintf(uri, size, "file:");
    for (const char *c = path; *c != '\0'; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                           (*c >= '0' && *c <= '9') || strchr("/._-", *c) != NULL;
        at += (size_t)snprintf(uri + at, size - at, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    snprintf(uri + at, size - at, "%s", parameters);
    return uri;
}

/* How to serve.  psow=0: don't trust the drive to leave the old half of a sector
 * alone when the power goes while it writes the new half; commits then begin in
 * a sector of their own. */
static const char *serve_parameters(void)
{
    return mutant(sector_trusted) ? "?mode=rw&psow=1" : "?mode=rw&psow=0";
}

/* How to look without touching.  SQLite can't lock a file that it opened for
 * reading, so locking is left to ours; with an exclusive lock (which nobody
 * takes) it builds the index of the WAL in its heap; and it is kept from making
 * a WAL where there is none. */
static const char *inspect_parameters(const struct store *store)
{
    const bool wal = faccessat(store->dir, STORE_WAL, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    return wal ? "?mode=ro&vfs=unix-none" : "?mode=ro&immutable=1";
}

static int count_frames(void *context, sqlite3 *db, const char *name, int frames)
{
    (void)db;
    (void)name;
    struct store *store = context;
    store->wal_frames = (uint32_t)frames;
    return SQLITE_OK;
}

static enum store_rc connect_file(struct store *store)
{
    const bool serve = store->mode == STORE_SERVE;
    char *uri = uri_of(store->path, serve ? serve_parameters() : inspect_parameters(store));
    if (uri == NULL) {
        return store_fail(store, STORE_IO, "out of memory");
    }
    const int flags = (serve ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_URI |
                      SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    const int code = sqlite3_open_v2(uri, &store->db, flags, NULL);
    free(uri);
    if (code != SQLITE_OK) {
        return store->db == NULL ? store_fail(store, STORE_IO, "out of memory")
                                 : store_fail_sqlite(store, "opening");
    }
    /* Closing must never write: not after a failure, and not while looking. */
    int on = 0;
    if (sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, &on) != SQLITE_OK ||
        on != 1) {
        return store_fail(store, STORE_IO, "%s: SQLite can't be kept from writing at its close",
                          store->path);
    }
    return STORE_OK;
}

static enum store_rc configure(struct store *store)
{
    enum store_rc rc = apply_settings(store, common_settings,
                                      sizeof(common_settings) / sizeof(common_settings[0]));
    if (rc == STORE_OK && store->mode == STORE_SERVE) {
        rc = apply_settings(store, serve_settings,
                            sizeof(serve_settings) / sizeof(serve_settings[0]));
        sqlite3_wal_hook(store->db, count_frames, store);
        if (rc == STORE_OK && mutant(commit_not_synced)) {
            rc = pragma(store, "synchronous=NORMAL", /* answer= */ NULL, STORE_IO);
        }
    }
    if (rc == STORE_OK) {
        rc = store_check_schema(store);
    }
    return rc;
}

/* Copies the whole WAL into the file and syncs it.  With `truncate` the WAL is
 * then cut to nothing. */
static enum store_rc checkpoint(struct store *store, bool truncate)
{
    int frames = 0;
    int copied = 0;
    const int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    if (sqlite3_wal_checkpoint_v2(store->db, "main", mode, &frames, &copied) != SQLITE_OK) {
        return store_fail_sqlite(store, "the checkpoint");
    }
    if (frames != copied) { /* Only another connection's reader could keep one back. */
        return store_fail(store, STORE_IO, "%s: the checkpoint copied %d of %d frames",
                          store->path, copied, frames);
    }
    store->wal_frames = 0;
    return STORE_OK;
}

static enum store_rc raise_incarnation(struct store *store)
{
    uint8_t buffer[8];
    struct bytes value;
    const enum store_rc rc =
        store_meta_get(store, META_INCARNATION, buffer, sizeof(buffer), &value);
    if (rc != STORE_OK) {
        return rc;
    }
    struct reader r = reader_over(value);
    const uint64_t incarnation = read_u64(&r);
    struct writer w = writer_over(buffer, sizeof(buffer));
    write_u64(&w, mutant(incarnation_kept) && incarnation > 0 ? incarnation : incarnation + 1);
    if (!read_done(&r) || incarnation == UINT64_MAX) {
        return store_fail(store, STORE_DAMAGED, "%s: the incarnation is malformed",
                          store->path);
    }
    if (!store_run(store, STMT_BEGIN) ||
        !store_meta_put(store, META_INCARNATION, bytes_of(buffer, w.size)) ||
        !store_run(store, STMT_COMMIT)) {
        return store_fail_sqlite(store, "raising the incarnation");
    }
    return STORE_OK;
}

/* What an earlier life left in the WAL may be in the page cache alone, because
 * a sync of it failed: a checkpoint copies it, rewritten and synced.  Only what
 * is read after that may be relied on. */
static enum store_rc begin_serving(struct store *store)
{
    enum store_rc rc = pragma(store, "quick_check(1)", "ok", STORE_DAMAGED);
    if (rc == STORE_OK && !mutant(cache_trusted)) {
        rc = checkpoint(store, /* truncate= */ true);
    }
    if (rc == STORE_OK) {
        struct store_boot boot;
        rc = store_boot(store, &boot);
    }
    if (rc == STORE_OK) {
        rc = raise_incarnation(store);
    }
    return rc;
}

static enum store_rc open_steps(struct store *store, const char *dir)
{
    enum store_rc rc = store_lock(store, dir);
    if (rc == STORE_OK) {
        rc = store_check_header(store);
    }
    if (rc == STORE_OK) {
        rc = store_check_wal(store);
    }
    if (rc == STORE_OK && store->mode == STORE_SERVE && !mutant(cache_trusted)) {
        rc = store_renew_wal(store);
    }
    if (rc == STORE_OK) {
        rc = connect_file(store);
    }
    if (rc == STORE_OK) {
        rc = configure(store);
    }
    if (rc == STORE_OK) {
        rc = store_prepare(store);
    }
    if (rc == STORE_OK && store->mode == STORE_SERVE) {
        rc = begin_serving(store);
    }
    return rc;
}

enum store_rc store_open(const char *dir, enum store_mode mode, struct store **ret_store,
                         char *ret_detail, size_t detail_size)
{
    struct store *store = calloc(1, sizeof(*store));
    char *path = store_path(dir, "");
    if (store == NULL || path == NULL) {
        snprintf(ret_detail, detail_size, "out of memory");
        free(path);
        free(store);
        return STORE_IO;
    }
    *store = (struct store){.dir = -1, .mode = mode, .path = path};
    const enum store_rc rc = open_steps(store, dir);
    if (rc != STORE_OK) {
        snprintf(ret_detail, detail_size, "%s", store->error);
        store_close(store);
        return rc;
    }
    *ret_store = store;
    return STORE_OK;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    store_finalize(store);
    (void)sqlite3_close(store->db); /* Writes nothing, so it can't lose anything. */
    if (store->dir >= 0) {
        close(store->dir);
    }
    free(store->scratch);
    free(store->path);
    free(store);
}

/* ----------------------------------------------------------------- maintain */

enum store_rc store_maintain(struct store *store, bool idle)
{
    assert(store->mode == STORE_SERVE);
    if (store->failed) {
        return STORE_IO;
    }
    const uint64_t bytes = (uint64_t)store->wal_frames * FRAME_BYTES;
    if (bytes <= (idle ? WAL_IDLE_BYTES : WAL_BUSY_BYTES)) {
        return STORE_OK;
    }
    const enum store_rc rc = checkpoint(store, /* truncate= */ false);
    store->failed = rc != STORE_OK;
    return rc == STORE_OK ? STORE_OK : STORE_IO;
}

uint64_t store_free_bytes(struct store *store)
{
    struct statvfs fs;
    if (fstatvfs(store->dir, &fs) != 0) {
        return 0;
    }
    const uint64_t disk = (uint64_t)fs.f_bavail * fs.f_frsize;
    sqlite3_stmt *stmt = store->stmt[STMT_FREELIST];
    uint64_t pages = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        pages = store_column_u64(stmt, 0);
    }
    sqlite3_reset(stmt);
    /* Free pages of the file are of use only while the WAL can still grow. */
    return disk < WAL_RESERVE_BYTES ? disk : disk + pages * STORE_PAGE;
}
