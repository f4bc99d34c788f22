/* SPDX-License-Identifier: Apache-2.0
 *
 * store_rows.c -- what goes into the tables, and what comes out of them.
 *
 * Whatever is read is checked before anybody sees it: its sum, its form, and at
 * the start whether the marks and the log fit together.  Whatever is written
 * goes in one transaction; the first step of it that fails is the last thing
 * this store does.
 */
#include "lockd/store_internal.h"

#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"
#include "paxos/codec.h"

enum {
    TRIM_SLOTS_MAX = 4096, /* Log rows that one set may delete. */
};

/* --------------------------------------------------------------------- read */

static enum store_rc malformed(struct store *store, const char *what)
{
    return store_fail(store, STORE_DAMAGED, "%s: %s is malformed", store->path, what);
}

static enum store_rc boot_identity(struct store *store, struct store_boot *boot)
{
    uint8_t buffer[STORE_IDENTITY_MAX];
    struct bytes value;
    enum store_rc rc = store_meta_get(store, META_IDENTITY, buffer, sizeof(buffer), &value);
    if (rc != STORE_OK) {
        return rc;
    }
    struct reader r = reader_over(value);
    boot->identity.replica = read_u16(&r);
    boot->identity.identity = read_u64(&r);
    const size_t length = read_left(&r);
    const uint8_t *cell = read_raw(&r, length);
    if (!read_done(&r) || length >= STORE_CELL_MAX) {
        return malformed(store, "the identity");
    }
    memcpy(boot->identity.cell, cell, length);

    rc = store_meta_get(store, META_INCARNATION, buffer, sizeof(buffer), &value);
    if (rc != STORE_OK) {
        return rc;
    }
    r = reader_over(value);
    boot->incarnation = read_u64(&r);
    return read_done(&r) ? STORE_OK : malformed(store, "the incarnation");
}

static enum store_rc boot_marks(struct store *store, struct store_boot *boot)
{
    uint8_t buffer[32];
    struct bytes value;
    enum store_rc rc = store_meta_get(store, META_CHOSEN, buffer, sizeof(buffer), &value);
    if (rc != STORE_OK) {
        return rc;
    }
    struct reader r = reader_over(value);
    boot->chosen_mark = read_u64(&r);
    if (!read_done(&r)) {
        return malformed(store, "the chosen mark");
    }
    rc = store_meta_get(store, META_APPLIED, buffer, sizeof(buffer), &value);
    if (rc != STORE_OK) {
        return rc;
    }
    r = reader_over(value);
    boot->applied_slot = read_u64(&r);
    boot->applied_position = read_u32(&r);
    boot->digest = read_u64(&r);
    if (!read_done(&r) || boot->applied_slot > boot->chosen_mark ||
        boot->chosen_mark > INT64_MAX) {
        return malformed(store, "the applied position");
    }
    return STORE_OK;
}

/* The ends of the log, and whether all is there that must be replayed. */
static enum store_rc boot_log(struct store *store, struct store_boot *boot)
{
    sqlite3_stmt *ends = store->stmt[STMT_LOG_ENDS];
    if (sqlite3_step(ends) != SQLITE_ROW) {
        return store_fail_sqlite(store, "reading the log");
    }
    boot->log_first = store_column_u64(ends, 0); /* NULL reads as 0. */
    boot->log_last = store_column_u64(ends, 1);
    sqlite3_reset(ends);

    store_bind_u64(store, STMT_LOG_COUNT, 1, boot->applied_slot + 1);
    store_bind_u64(store, STMT_LOG_COUNT, 2, boot->chosen_mark);
    sqlite3_stmt *count = store->stmt[STMT_LOG_COUNT];
    if (sqlite3_step(count) != SQLITE_ROW) {
        return store_fail_sqlite(store, "reading the log");
    }
    const uint64_t there = store_column_u64(count, 0);
    sqlite3_reset(count);
    if (there != boot->chosen_mark - boot->applied_slot) {
        return store_fail(store, STORE_DAMAGED,
                          "%s: the log lacks chosen slots between %llu and %llu", store->path,
                          (unsigned long long)boot->applied_slot + 1,
                          (unsigned long long)boot->chosen_mark);
    }
    return STORE_OK;
}

enum store_rc store_boot(struct store *store, struct store_boot *ret_boot)
{
    struct store_boot boot = {0};
    enum store_rc rc = boot_identity(store, &boot);
    if (rc == STORE_OK) {
        uint8_t buffer[PAXOS_HARD_MAX];
        struct bytes value;
        rc = store_meta_get(store, META_HARD, buffer, sizeof(buffer), &value);
        if (rc == STORE_OK && !paxos_hard_decode(value, &boot.hard)) {
            rc = malformed(store, "the hard state");
        }
    }
    if (rc == STORE_OK) {
        rc = boot_marks(store, &boot);
    }
    if (rc == STORE_OK) {
        rc = boot_log(store, &boot);
    }
    if (rc == STORE_OK) {
        store->chosen_mark = boot.chosen_mark;
        store->applied_slot = boot.applied_slot;
        store->trim_from = boot.log_first;
        *ret_boot = boot;
    }
    return rc;
}

enum store_rc store_rows(struct store *store,
                         bool (*visit)(void *context, const struct lease_row *row),
                         void *context)
{
    sqlite3_stmt *stmt = store->stmt[STMT_ROW_ALL];
    enum store_rc rc = STORE_OK;
    int step = SQLITE_DONE;
    while (rc == STORE_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct lease_row row = {.key = store_column_bytes(stmt, 0),
                                      .value = store_column_bytes(stmt, 1)};
        if (store_column_u64(stmt, 2) != store_sum_state(row.key, row.value) &&
            !mutant(row_sum_ignored)) {
            rc = store_fail(store, STORE_DAMAGED, "%s: a row of state does not match its sum",
                            store->path);
        } else if (!visit(context, &row)) {
            rc = malformed(store, "a row of state");
        }
    }
    if (rc == STORE_OK && step != SQLITE_DONE) {
        rc = store_fail_sqlite(store, "reading the state");
    }
    sqlite3_reset(stmt);
    return rc;
}

/* The row that the statement stands on, if it is what it was when written. */
static bool log_row_decode(sqlite3_stmt *stmt, struct paxos_entry *ret_entry)
{
    const uint64_t slot = store_column_u64(stmt, 0);
    const uint64_t ballot = store_column_u64(stmt, 1);
    const struct bytes value = store_column_bytes(stmt, 2);
    if (store_column_u64(stmt, 3) != store_sum_log(slot, ballot, value) &&
        !mutant(row_sum_ignored)) {
        return false;
    }
    struct paxos_entry entry = {.slot = slot,
                                .ballot = {.round = ballot >> 16, .id = (paxos_id)ballot}};
    struct reader r = reader_over(value);
    if (!paxos_value_decode(&r, &entry.value) || !read_done(&r)) {
        return false;
    }
    *ret_entry = entry;
    return true;
}

enum store_rc store_log(struct store *store, uint64_t first, uint64_t last, uint32_t limit,
                        bool (*visit)(void *context, const struct paxos_entry *entry),
                        void *context)
{
    sqlite3_stmt *stmt = store->stmt[STMT_LOG_GET];
    store_bind_u64(store, STMT_LOG_GET, 1, first < INT64_MAX ? first : INT64_MAX);
    store_bind_u64(store, STMT_LOG_GET, 2, last < INT64_MAX ? last : INT64_MAX);
    store_bind_u64(store, STMT_LOG_GET, 3, limit);
    enum store_rc rc = STORE_OK;
    int step = SQLITE_DONE;
    while (rc == STORE_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct paxos_entry entry;
        if (!log_row_decode(stmt, &entry)) {
            rc = store_fail(store, STORE_DAMAGED,
                            "%s: slot %lld of the log does not match its"
                            " sum",
                            store->path, (long long)sqlite3_column_int64(stmt, 0));
        } else if (!visit(context, &entry)) {
            step = SQLITE_DONE;
            break;
        }
    }
    if (rc == STORE_OK && step != SQLITE_DONE) {
        rc = store_fail_sqlite(store, "reading the log");
    }
    sqlite3_reset(stmt);
    return rc;
}

/* -------------------------------------------------------------------- write */

/* At least `size` bytes, kept from call to call. */
static uint8_t *scratch(struct store *store, size_t size)
{
    if (store->scratch_size < size) {
        uint8_t *grown = realloc(store->scratch, size);
        if (grown == NULL) {
            return NULL;
        }
        store->scratch = grown;
        store->scratch_size = size;
    }
    return store->scratch;
}

static bool put_entry(struct store *store, const struct paxos_entry *entry)
{
    assert(entry->slot >= 1 && entry->slot <= INT64_MAX);
    assert(entry->ballot.round < UINT64_C(1) << 48);
    assert(entry->value.checksum == paxos_value_checksum(&entry->value));
    const size_t size = paxos_value_size(&entry->value);
    uint8_t *buffer = scratch(store, size);
    if (buffer == NULL) {
        return false;
    }
    struct writer w = writer_over(buffer, size);
    paxos_value_encode(&entry->value, &w);
    assert(!w.failed && w.size == size);

    const struct bytes value = bytes_of(buffer, size);
    const uint64_t ballot = paxos_epoch(entry->ballot);
    store_bind_u64(store, STMT_LOG_PUT, 1, entry->slot);
    store_bind_u64(store, STMT_LOG_PUT, 2, ballot);
    store_bind_bytes(store, STMT_LOG_PUT, 3, value);
    store_bind_u64(store, STMT_LOG_PUT, 4, store_sum_log(entry->slot, ballot, value));
    if (store->trim_from == 0 || entry->slot < store->trim_from) {
        store->trim_from = entry->slot;
    }
    return store_run(store, STMT_LOG_PUT);
}

static bool put_row(struct store *store, const struct lease_row *row)
{
    if (row->value.data == NULL) {
        store_bind_bytes(store, STMT_ROW_DELETE, 1, row->key);
        return store_run(store, STMT_ROW_DELETE);
    }
    store_bind_bytes(store, STMT_ROW_PUT, 1, row->key);
    store_bind_bytes(store, STMT_ROW_PUT, 2, row->value);
    store_bind_u64(store, STMT_ROW_PUT, 3, store_sum_state(row->key, row->value));
    return store_run(store, STMT_ROW_PUT);
}

/* Deletes a bounded number of slots, so that a log that grew for a week does not
 * go in one transaction; later sets delete the rest. */
static bool trim_log(struct store *store, uint64_t trim, uint64_t applied_slot)
{
    uint64_t last = trim < applied_slot ? trim : applied_slot;
    if (store->trim_from == 0 || last < store->trim_from) {
        return true;
    }
    if (last - store->trim_from >= TRIM_SLOTS_MAX) {
        last = store->trim_from + TRIM_SLOTS_MAX - 1;
    }
    store_bind_u64(store, STMT_LOG_TRIM, 1, last);
    store->trim_from = last + 1;
    return store_run(store, STMT_LOG_TRIM);
}

static bool put_set(struct store *store, const struct store_set *set)
{
    assert(set->applied_slot >= store->applied_slot);
    for (uint32_t i = 0; i < set->rows_count; i++) {
        if (!put_row(store, &set->rows[i])) {
            return false;
        }
    }
    if (mutant(applied_slot_apart) &&
        !(store_run(store, STMT_COMMIT) && store_run(store, STMT_BEGIN))) {
        return false;
    }
    uint8_t buffer[20];
    struct writer w = writer_over(buffer, sizeof(buffer));
    write_u64(&w, set->applied_slot);
    write_u32(&w, set->applied_position);
    write_u64(&w, set->digest);
    assert(!w.failed);
    store->applied_slot = set->applied_slot;
    return store_meta_put(store, META_APPLIED, bytes_of(buffer, w.size)) &&
           trim_log(store, set->trim, set->applied_slot);
}

static bool put_chosen_mark(struct store *store, uint64_t mark)
{
    if (mark <= store->chosen_mark) {
        return true;
    }
    assert(mark <= INT64_MAX);
    uint8_t buffer[8];
    struct writer w = writer_over(buffer, sizeof(buffer));
    write_u64(&w, mark);
    store->chosen_mark = mark;
    return store_meta_put(store, META_CHOSEN, bytes_of(buffer, w.size));
}

/* The bug of mark_before_value. */
static bool mark_early(struct store *store, const struct store_batch *batches, uint32_t count)
{
    uint64_t mark = store->chosen_mark;
    for (uint32_t i = 0; i < count; i++) {
        mark = batches[i].chosen_mark > mark ? batches[i].chosen_mark : mark;
    }
    return put_chosen_mark(store, mark) && store_run(store, STMT_COMMIT) &&
           store_run(store, STMT_BEGIN);
}

/* All batches; of what is overwritten by a later one only the last. */
static bool put_batches(struct store *store, const struct store_batch *batches, uint32_t count)
{
    const struct paxos_hard *hard = NULL;
    uint64_t mark = 0;
    if (mutant(mark_before_value) && !mark_early(store, batches, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct store_batch *batch = &batches[i];
        for (uint32_t j = 0; j < batch->entries_count; j++) {
            if (!put_entry(store, &batch->entries[j])) {
                return false;
            }
        }
        if (batch->set != NULL && !put_set(store, batch->set)) {
            return false;
        }
        hard = batch->hard != NULL ? batch->hard : hard;
        mark = batch->chosen_mark > mark ? batch->chosen_mark : mark;
    }
    /* What was applied was chosen. */
    mark = mark > store->applied_slot ? mark : store->applied_slot;
    return (hard == NULL || store_hard_put(store, hard)) && put_chosen_mark(store, mark);
}

enum store_rc store_write(struct store *store, const struct store_batch *batches,
                          uint32_t count)
{
    assert(store->mode == STORE_SERVE);
    if (store->failed) {
        return mutant(failed_write_told) ? STORE_OK : STORE_IO;
    }
    if (store_run(store, STMT_BEGIN) && put_batches(store, batches, count) &&
        store_run(store, STMT_COMMIT)) {
        return STORE_OK;
    }
    store->failed = true;
    (void)store_fail_sqlite(store, "writing");
    return mutant(failed_write_told) ? STORE_OK : STORE_IO;
}
