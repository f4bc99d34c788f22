/* SPDX-License-Identifier: Apache-2.0
 *
 * store_init.c -- how a new store comes to be: not at all, or whole.
 *
 * A replica without a store has lost it, except once: so there is one function
 * that makes one, an operator calls it, and it never touches what is there.
 */
#include "lockd/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BALLAST_BYTES = 16 * 1024 * 1024,
};

static enum store_rc run_sql(struct store *store, const char *sql)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return store_fail_sqlite(store, "making the store");
    }
    return STORE_OK;
}

static bool put_first_rows(struct store *store, const struct store_identity *identity,
                           const struct paxos_hard *hard)
{
    uint8_t buffer[STORE_IDENTITY_MAX];
    struct writer who = writer_over(buffer, sizeof(buffer));
    write_u16(&who, identity->replica);
    write_u64(&who, identity->identity);
    write_raw(&who, identity->cell, strlen(identity->cell));
    assert(!who.failed);
    if (!store_meta_put(store, META_IDENTITY, bytes_of(buffer, who.size)) ||
        !store_hard_put(store, hard)) {
        return false;
    }
    /* No incarnation yet, nothing chosen, nothing applied. */
    memset(buffer, 0, sizeof(buffer));
    return store_meta_put(store, META_INCARNATION, bytes_of(buffer, 8)) &&
           store_meta_put(store, META_CHOSEN, bytes_of(buffer, 8)) &&
           store_meta_put(store, META_APPLIED, bytes_of(buffer, 20));
}

/* Fills the file at store->path.  It becomes a WAL file with its last step, so
 * that all of it stands in the one file that will be renamed. */
static enum store_rc fill_file(struct store *store, const struct store_identity *identity,
                               const struct paxos_hard *hard)
{
    char head[256];
    snprintf(head, sizeof(head),
             "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=%d; PRAGMA synchronous=FULL;"
             "BEGIN; PRAGMA application_id=%d; PRAGMA user_version=%d",
             STORE_PAGE, STORE_APPLICATION_ID, STORE_FORMAT);
    enum store_rc rc = run_sql(store, head);
    for (int i = 0; i < STORE_TABLES && rc == STORE_OK; i++) {
        rc = run_sql(store, store_schema[i]);
    }
    if (rc == STORE_OK) {
        rc = store_prepare(store);
    }
    if (rc == STORE_OK && !put_first_rows(store, identity, hard)) {
        rc = store_fail_sqlite(store, "making the store");
    }
    store_finalize(store);
    return rc == STORE_OK ? run_sql(store, "COMMIT; PRAGMA journal_mode=WAL") : rc;
}

static enum store_rc write_file(struct store *store, const struct store_identity *identity,
                                const struct paxos_hard *hard)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK) {
        const enum store_rc rc = store->db == NULL
                                     ? store_fail(store, STORE_IO, "out of memory")
                                     : store_fail_sqlite(store, "making the store");
        (void)sqlite3_close(store->db);
        return rc;
    }
    const enum store_rc rc = fill_file(store, identity, hard);
    if (sqlite3_close(store->db) != SQLITE_OK && rc == STORE_OK) {
        return store_fail(store, STORE_IO, "%s: closing failed", store->path);
    }
    return rc;
}

/* Space that an operator can give back by hand when the disk is full. */
static enum store_rc make_ballast(struct store *store)
{
    const int fd = openat(store->dir, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return store_fail(store, STORE_IO, "%s: no ballast file: %s", store->path,
                          strerror(errno));
    }
    const int number = posix_fallocate(fd, 0, BALLAST_BYTES);
    close(fd);
    return number == 0 ? STORE_OK
                       : store_fail(store, STORE_IO, "%s: no room for the ballast file: %s",
                                    store->path, strerror(number));
}

static bool exists(const struct store *store, const char *name)
{
    return faccessat(store->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A WAL without its store counts as a store: SQLite would replay it over
 * whatever file comes to stand beside it. */
static enum store_rc check_absent(struct store *store, const char *dir)
{
    static const char *const names[] = {STORE_FILE, STORE_WAL, STORE_FILE "-journal"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (exists(store, names[i])) {
            return store_fail(store, STORE_EXISTS, "%s: there is a store already (%s)", dir,
                              names[i]);
        }
    }
    return STORE_OK;
}

/* Makes the store under another name and gives it its own when it is whole and
 * on disk: a crash leaves no store or a whole one. */
static enum store_rc make_file(struct store *store, const struct store_identity *identity,
                               const struct paxos_hard *hard)
{
    static const char *const left_over[] = {STORE_FILE ".new", STORE_FILE ".new-journal",
                                            STORE_FILE ".new-wal"};
    for (size_t i = 0; i < sizeof(left_over) / sizeof(left_over[0]); i++) {
        (void)unlinkat(store->dir, left_over[i], 0);
    }
    const int fd =
        openat(store->dir, STORE_FILE ".new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return store_fail(store, STORE_IO, "%s: %s", store->path, strerror(errno));
    }
    enum store_rc rc = write_file(store, identity, hard);
    if (rc == STORE_OK && (fsync(fd) != 0 || renameat(store->dir, STORE_FILE ".new", store->dir,
                                                      STORE_FILE) != 0)) {
        rc = store_fail(store, STORE_IO, "%s: %s", store->path, strerror(errno));
    }
    if (rc == STORE_OK && fsync(store->dir) != 0) {
        rc = store_fail(store, STORE_IO, "%s: %s", store->path, strerror(errno));
        (void)unlinkat(store->dir, STORE_FILE, 0); /* What failed was not made. */
    }
    close(fd);
    return rc;
}

/* The directory, and the entry that leads to it. */
static enum store_rc make_dir(struct store *store, const char *dir)
{
    const bool made = mkdir(dir, 0700) == 0;
    if (!made && errno != EEXIST) {
        return store_fail(store, STORE_IO, "%s: %s", dir, strerror(errno));
    }
    const enum store_rc rc = store_lock(store, dir);
    if (rc != STORE_OK || !made) {
        return rc;
    }
    const int parent = openat(store->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = parent >= 0 && fsync(parent) == 0;
    const int number = errno;
    if (parent >= 0) {
        close(parent);
    }
    return synced ? STORE_OK : store_fail(store, STORE_IO, "%s/..: %s", dir, strerror(number));
}

enum store_rc store_init(const char *dir, const struct store_identity *identity,
                         const struct paxos_hard *hard, char *ret_detail, size_t detail_size)
{
    assert(memchr(identity->cell, '\0', sizeof(identity->cell)) != NULL);
    assert(identity->replica != 0);
    assert(identity->identity != 0);

    struct store store = {.dir = -1, .path = store_path(dir, ".new")};
    enum store_rc rc = store.path == NULL ? store_fail(&store, STORE_IO, "out of memory")
                                          : make_dir(&store, dir);
    if (rc == STORE_OK) {
        rc = check_absent(&store, dir);
    }
    if (rc == STORE_OK) {
        rc = make_ballast(&store);
    }
    if (rc == STORE_OK) {
        rc = make_file(&store, identity, hard);
    }
    if (rc != STORE_OK && detail_size > 0) {
        snprintf(ret_detail, detail_size, "%s", store.error);
    }
    if (store.dir >= 0) {
        close(store.dir);
    }
    free(store.path);
    return rc;
}
