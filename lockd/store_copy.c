/* SPDX-License-Identifier: Apache-2.0
 *
 * store_copy.c -- the store as a plain SQLite file that a person can query.
 *
 *     store     name and value of what there is one of
 *     members   who the members are
 *     log       a row a slot, with the fields of its value
 *     commands  a row a command of the log, as text
 *     nodes     a row a record of the state, as stored and as text
 *
 * Our own tables hold encodings, which sqlite3(1) can't read.  This copy is for
 * reading: nothing opens it as a store again.
 */
#include "lockd/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "paxos/describe.h"

enum { TEXT_MAX = 4096 };

#define COPY_STMT_MAP(X)                                                                       \
    X(COPY_STORE, "INSERT INTO store VALUES (?1, ?2)")                                         \
    X(COPY_MEMBER, "INSERT INTO members VALUES (?1, ?2, ?3)")                                  \
    X(COPY_LOG, "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                     \
    X(COPY_COMMAND, "INSERT INTO commands VALUES (?1, ?2, ?3)")                                \
    X(COPY_NODE, "INSERT INTO nodes VALUES (?1, ?2, ?3)")

enum copy_stmt {
#define COPY_STMT_ENUM(name, sql) name,
    COPY_STMT_MAP(COPY_STMT_ENUM)
#undef COPY_STMT_ENUM
        COPY_STMTS
};

static const char *const copy_sql[] = {
#define COPY_STMT_SQL(name, sql) [name] = sql,
    COPY_STMT_MAP(COPY_STMT_SQL)
#undef COPY_STMT_SQL
};

static const char copy_schema[] =
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; BEGIN;"
    "CREATE TABLE store (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE members (replica INTEGER PRIMARY KEY, identity TEXT, address TEXT);"
    "CREATE TABLE log (slot INTEGER PRIMARY KEY, round INTEGER, replica INTEGER, kind TEXT,"
    " epoch INTEGER, wall_ms INTEGER, size INTEGER, data BLOB);"
    "CREATE TABLE commands (slot INTEGER, position INTEGER, command TEXT,"
    " PRIMARY KEY (slot, position)) WITHOUT ROWID;"
    "CREATE TABLE nodes (key BLOB PRIMARY KEY, value BLOB, node TEXT) WITHOUT ROWID";

struct copy {
    sqlite3 *db;
    sqlite3_stmt *stmt[COPY_STMTS];
    bool failed; /* The first failure ends the copy; its reason is the database's. */
};

/* ------------------------------------------------------------------ columns */

static void put_u64(struct copy *copy, enum copy_stmt which, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(copy->stmt[which], index, (sqlite3_int64)value);
}

static void put_text(struct copy *copy, enum copy_stmt which, int index, const char *text)
{
    (void)sqlite3_bind_text(copy->stmt[which], index, text, -1, SQLITE_TRANSIENT);
}

static void put_blob(struct copy *copy, enum copy_stmt which, int index, struct bytes bytes)
{
    const void *data = bytes.size == 0 ? (const void *)"" : bytes.data;
    (void)sqlite3_bind_blob64(copy->stmt[which], index, data, bytes.size, SQLITE_TRANSIENT);
}

static void put_row(struct copy *copy, enum copy_stmt which)
{
    sqlite3_stmt *stmt = copy->stmt[which];
    copy->failed =
        copy->failed || sqlite3_step(stmt) != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK;
}

/* --------------------------------------------------------------------- rows */

static void copy_number(struct copy *copy, const char *name, uint64_t value)
{
    put_text(copy, COPY_STORE, 1, name);
    put_u64(copy, COPY_STORE, 2, value);
    put_row(copy, COPY_STORE);
}

/* Ids and digests use all 64 bits, which SQLite would print with a sign. */
static void copy_id(struct copy *copy, const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%016" PRIx64, value);
    put_text(copy, COPY_STORE, 1, name);
    put_text(copy, COPY_STORE, 2, text);
    put_row(copy, COPY_STORE);
}

static void copy_boot(struct copy *copy, const struct store_boot *boot)
{
    const struct paxos_hard *hard = &boot->hard;
    put_text(copy, COPY_STORE, 1, "cell");
    put_text(copy, COPY_STORE, 2, boot->identity.cell);
    put_row(copy, COPY_STORE);
    copy_id(copy, "cell_id", hard->cell);
    copy_number(copy, "replica", boot->identity.replica);
    copy_id(copy, "identity", boot->identity.identity);
    copy_number(copy, "incarnation", boot->incarnation);
    copy_number(copy, "promised_round", hard->promised.round);
    copy_number(copy, "promised_replica", hard->promised.id);
    copy_number(copy, "round_max", hard->round_max);
    copy_number(copy, "firm_ms_max", hard->firm_ms_max);
    copy_number(copy, "members_number", hard->members.number);
    copy_number(copy, "firm", hard->members.settings.firm);
    copy_number(copy, "drift_ppm", hard->members.settings.drift_ppm);
    copy_number(copy, "chosen_mark", boot->chosen_mark);
    copy_number(copy, "applied_slot", boot->applied_slot);
    copy_number(copy, "applied_position", boot->applied_position);
    copy_id(copy, "digest", boot->digest);
    for (uint32_t i = 0; i < hard->members.count; i++) {
        const struct paxos_member *member = &hard->members.member[i];
        char identity[32];
        snprintf(identity, sizeof(identity), "%016" PRIx64, member->identity);
        put_u64(copy, COPY_MEMBER, 1, member->id);
        put_text(copy, COPY_MEMBER, 2, identity);
        put_text(copy, COPY_MEMBER, 3, member->address);
        put_row(copy, COPY_MEMBER);
    }
}

static void copy_commands(struct copy *copy, const struct paxos_entry *entry)
{
    char text[TEXT_MAX];
    struct reader r = reader_over(entry->value.data);
    for (uint64_t position = 1; read_left(&r) > 0 && !copy->failed; position++) {
        struct lease_command command;
        const bool good = lease_command_decode(&r, &command);
        put_u64(copy, COPY_COMMAND, 1, entry->slot);
        put_u64(copy, COPY_COMMAND, 2, position);
        put_text(copy, COPY_COMMAND, 3,
                 good ? lease_command_describe(&command, text, sizeof(text))
                      : "can't be decoded");
        put_row(copy, COPY_COMMAND);
        if (!good) {
            return;
        }
    }
}

static bool copy_entry(void *context, const struct paxos_entry *entry)
{
    struct copy *copy = context;
    const struct paxos_value *value = &entry->value;
    put_u64(copy, COPY_LOG, 1, entry->slot);
    put_u64(copy, COPY_LOG, 2, entry->ballot.round);
    put_u64(copy, COPY_LOG, 3, entry->ballot.id);
    put_text(copy, COPY_LOG, 4, paxos_describe_kind(value->kind));
    put_u64(copy, COPY_LOG, 5, value->epoch);
    put_u64(copy, COPY_LOG, 6, value->wall_ms);
    put_u64(copy, COPY_LOG, 7, value->data.size);
    put_blob(copy, COPY_LOG, 8, value->data);
    put_row(copy, COPY_LOG);
    if (value->kind == PAXOS_COMMANDS) {
        copy_commands(copy, entry);
    }
    return !copy->failed;
}

static bool copy_node(void *context, const struct lease_row *row)
{
    struct copy *copy = context;
    char text[TEXT_MAX];
    put_blob(copy, COPY_NODE, 1, row->key);
    put_blob(copy, COPY_NODE, 2, row->value);
    put_text(copy, COPY_NODE, 3, lease_row_describe(row, text, sizeof(text)));
    put_row(copy, COPY_NODE);
    return !copy->failed;
}

/* --------------------------------------------------------------------- life */

static bool copy_open(struct copy *copy, const char *out)
{
    if (sqlite3_open_v2(out, &copy->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(copy->db, copy_schema, NULL, NULL, NULL) != SQLITE_OK) {
        return false;
    }
    for (int i = 0; i < COPY_STMTS; i++) {
        if (sqlite3_prepare_v2(copy->db, copy_sql[i], -1, &copy->stmt[i], NULL) != SQLITE_OK) {
            return false;
        }
    }
    return true;
}

/* What the store says goes before what the copy says: the copy fails when a
 * visitor of its own gave up. */
static enum store_rc copy_all(struct store *store, struct copy *copy)
{
    struct store_boot boot;
    enum store_rc rc = store_boot(store, &boot);
    if (rc == STORE_OK) {
        copy_boot(copy, &boot);
        rc = store_log(store, 1, INT64_MAX, UINT32_MAX, copy_entry, copy);
    }
    if (rc == STORE_OK && !copy->failed) {
        rc = store_rows(store, copy_node, copy);
    }
    return rc;
}

static void copy_close(struct copy *copy)
{
    for (int i = 0; i < COPY_STMTS; i++) {
        sqlite3_finalize(copy->stmt[i]);
    }
    (void)sqlite3_close(copy->db);
}

enum store_rc store_copy(struct store *store, const char *out, char *ret_detail,
                         size_t detail_size)
{
    /* SQLite would add to a file that is there. */
    const int fd = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(ret_detail, detail_size, "%s: %s", out, strerror(errno));
        return STORE_IO;
    }
    close(fd);
    struct copy copy = {.db = NULL};
    enum store_rc rc = STORE_OK;
    copy.failed = !copy_open(&copy, out);
    if (!copy.failed) {
        rc = copy_all(store, &copy);
    }
    copy.failed = copy.failed || sqlite3_exec(copy.db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK;
    if (copy.failed) {
        snprintf(ret_detail, detail_size, "%s: %s", out, sqlite3_errmsg(copy.db));
        rc = STORE_IO;
    } else if (rc != STORE_OK) {
        snprintf(ret_detail, detail_size, "%s", store->error);
    }
    copy_close(&copy);
    if (rc != STORE_OK) {
        (void)unlink(out);
    }
    return rc;
}
