/* SPDX-License-Identifier: Apache-2.0
 *
 * test_store.c -- the store as its header promises it, without faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/store/scene.h"

static char dir[SCENE_PATH];
static char detail[512];

static int make_scene(void **state)
{
    (void)state;
    scene_make_dir(dir);
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_OK);
    return 0;
}

static int remove_scene(void **state)
{
    (void)state;
    scene_remove_dir(dir);
    return 0;
}

static enum store_rc open_rc(enum store_mode mode)
{
    struct store *store = NULL;
    const enum store_rc rc = store_open(dir, mode, &store, detail, sizeof(detail));
    if (rc == STORE_OK) {
        store_close(store);
    }
    return rc;
}

/* Names, sizes, times of all files, and the contents of the store. */
static void listing(char *text, size_t size)
{
    char command[2 * SCENE_PATH];
    snprintf(command, sizeof(command),
             "cd %s && stat -c '%%n %%s %%y' * && cat store.db* | cksum", dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t count = fread(text, 1, size - 1, pipe);
    text[count] = '\0';
    assert_int_equal(pclose(pipe), 0);
    assert_true(count > 0);
}

/* ---------------------------------------------------------------- init, open */

static void a_new_store_holds_what_init_was_given(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_string_equal(boot.identity.cell, "test");
    assert_int_equal(boot.identity.replica, 1);
    assert_int_equal(boot.identity.identity, 0x1000);
    assert_int_equal(boot.incarnation, 1);
    assert_int_equal(boot.hard.promised.round, 0);
    assert_int_equal(boot.hard.members.count, 3);
    assert_string_equal(boot.hard.members.member[2].address, "127.0.0.1:7502");
    assert_int_equal(boot.chosen_mark, 0);
    assert_int_equal(boot.applied_slot, 0);
    assert_int_equal(boot.log_first, 0);
    assert_int_equal(boot.log_last, 0);
    assert_true(store_free_bytes(store) > 0);
    store_close(store);
    assert_true(scene_size(dir, "ballast") >= 16 * 1024 * 1024);
}

static void init_refuses_what_is_there(void **state)
{
    (void)state;
    scene_live(dir, 6);
    char before[4096], after[4096];
    listing(before, sizeof(before));
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_EXISTS);
    listing(after, sizeof(after));
    assert_string_equal(before, after);

    /* A WAL alone would be replayed over the new store. */
    unlink(scene_path(dir, "store.db"));
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_EXISTS);
    assert_non_null(strstr(detail, "store.db-wal"));
    unlink(scene_path(dir, "store.db-wal"));
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_OK);
}

static void no_store_is_missing_not_new(void **state)
{
    (void)state;
    unlink(scene_path(dir, "store.db"));
    assert_int_equal(open_rc(STORE_SERVE), STORE_MISSING);
    assert_int_equal(open_rc(STORE_INSPECT), STORE_MISSING);
    assert_int_equal(access(scene_path(dir, "store.db"), F_OK), -1);

    struct store *store = NULL;
    assert_int_equal(
        store_open("/nonexistent/lockd", STORE_SERVE, &store, detail, sizeof(detail)),
        STORE_MISSING);
}

static void each_start_raises_the_incarnation(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++) {
        struct store_boot boot;
        struct store *store = scene_open(dir);
        assert_int_equal(store_boot(store, &boot), STORE_OK);
        assert_int_equal(boot.incarnation, i);
        store_close(store);
        assert_int_equal(open_rc(STORE_INSPECT), STORE_OK);
    }
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    assert_int_equal(open_rc(STORE_SERVE), STORE_BUSY);
    assert_int_equal(open_rc(STORE_INSPECT), STORE_BUSY);
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_BUSY);
    /* Those attempts have not taken the lock of the first away. */
    assert_int_equal(open_rc(STORE_SERVE), STORE_BUSY);
    assert_int_equal(scene_step(store, 0), STORE_OK);
    store_close(store);
    assert_int_equal(open_rc(STORE_SERVE), STORE_OK);
}

static void an_unknown_format_stays_untouched(void **state)
{
    (void)state;
    scene_live(dir, 6);
    for (uint8_t format = STORE_FORMAT - 1; format <= STORE_FORMAT + 1; format += 2) {
        const uint8_t other[] = {0, 0, 0, format};
        scene_poke(dir, "store.db", 60, other, sizeof(other));
        char before[4096], after[4096];
        listing(before, sizeof(before));
        assert_int_equal(open_rc(STORE_SERVE), STORE_FORMAT_UNKNOWN);
        assert_non_null(strstr(detail, format < STORE_FORMAT ? "format 2" : "format 4"));
        assert_int_equal(open_rc(STORE_INSPECT), STORE_FORMAT_UNKNOWN);
        listing(after, sizeof(after));
        assert_string_equal(before, after);
    }

    const uint8_t known[] = {0, 0, 0, STORE_FORMAT};
    scene_poke(dir, "store.db", 60, known, sizeof(known));
    scene_flip(dir, "store.db", 68); /* application_id */
    assert_int_equal(open_rc(STORE_SERVE), STORE_FORMAT_UNKNOWN);
    scene_flip(dir, "store.db", 68);
    scene_flip(dir, "store.db", 0);
    assert_int_equal(open_rc(STORE_SERVE), STORE_DAMAGED);
    scene_flip(dir, "store.db", 0);
    assert_int_equal(open_rc(STORE_SERVE), STORE_OK);
    assert_int_equal(truncate(scene_path(dir, "store.db"), 50), 0);
    assert_int_equal(open_rc(STORE_SERVE), STORE_DAMAGED);
}

static void nothing_is_mapped_or_left_behind(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    assert_int_equal(scene_step(store, 0), STORE_OK);
    assert_int_equal(access(scene_path(dir, "store.db-shm"), F_OK), -1);
    assert_int_equal(access(scene_path(dir, "store.db.new"), F_OK), -1);
    struct stat stat_buffer;
    assert_int_equal(stat(scene_path(dir, "store.db"), &stat_buffer), 0);
    assert_int_equal(stat_buffer.st_mode & 0777, 0600);
    assert_int_equal(stat(scene_path(dir, "store.db-wal"), &stat_buffer), 0);
    assert_int_equal(stat_buffer.st_mode & 0777, 0600);
    store_close(store);
}

static void odd_folder_names_are_names(void **state)
{
    (void)state;
    char odd[2 * SCENE_PATH];
    snprintf(odd, sizeof(odd), "%s/a b?mode=memory#%%41&", dir);
    assert_int_equal(scene_init(odd, detail, sizeof(detail)), STORE_OK);
    store_close(scene_open(odd));
    scene_remove_dir(odd);
}

/* ------------------------------------------------------------- write and read */

struct seen {
    uint64_t slots[64];
    uint32_t count, stop_at;
};

static bool see_entry(void *context, const struct paxos_entry *entry)
{
    struct seen *seen = context;
    seen->slots[seen->count++] = entry->slot;
    return seen->count != seen->stop_at;
}

static void the_log_is_read_in_order_and_in_part(void **state)
{
    (void)state;
    scene_live(dir, 9); /* Slots 1 ... 21. */
    struct store *store = scene_open(dir);
    struct seen seen = {.count = 0};
    assert_int_equal(store_log(store, 1, INT64_MAX, UINT32_MAX, see_entry, &seen), STORE_OK);
    assert_int_equal(seen.count, 21);
    for (uint32_t i = 0; i < seen.count; i++) {
        assert_int_equal(seen.slots[i], i + 1);
    }
    seen = (struct seen){.count = 0};
    assert_int_equal(store_log(store, 5, 9, 3, see_entry, &seen), STORE_OK);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.slots[2], 7);
    seen = (struct seen){.stop_at = 2};
    assert_int_equal(store_log(store, 5, UINT64_MAX, 9, see_entry, &seen), STORE_OK);
    assert_int_equal(seen.count, 2);
    seen = (struct seen){.count = 0};
    assert_int_equal(store_log(store, 22, UINT64_MAX, 9, see_entry, &seen), STORE_OK);
    assert_int_equal(seen.count, 0);
    store_close(store);
}

static bool check_entry(void *context, const struct paxos_entry *entry)
{
    const struct paxos_entry *expected = context;
    assert_int_equal(entry->slot, expected->slot);
    assert_int_equal(paxos_ballot_compare(entry->ballot, expected->ballot), 0);
    assert_int_equal(entry->value.kind, expected->value.kind);
    assert_int_equal(entry->value.epoch, expected->value.epoch);
    assert_int_equal(entry->value.wall_ms, expected->value.wall_ms);
    assert_int_equal(entry->value.checksum, expected->value.checksum);
    assert_true(bytes_equal(entry->value.data, expected->value.data));
    return true;
}

static void a_later_vote_replaces_an_earlier_one(void **state)
{
    (void)state;
    scene_live(dir, 5);
    struct store *store = scene_open(dir);
    uint8_t data[300];
    struct paxos_entry expected = scene_entry(3, 1, data, 300);
    assert_int_equal(store_log(store, 3, 3, 1, check_entry, &expected), STORE_OK);
    expected = scene_entry(4, 2, data, 200);
    assert_int_equal(store_log(store, 4, 4, 1, check_entry, &expected), STORE_OK);
    expected = scene_entry(1, 1, data, 0);
    assert_int_equal(store_log(store, 1, 1, 1, check_entry, &expected), STORE_OK);
    store_close(store);
}

static void marks_move_with_the_rows(void **state)
{
    (void)state;
    scene_live(dir, SCENE_STEPS);
    struct store *store = scene_open(dir);
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_int_equal(boot.hard.promised.round, 2);
    assert_int_equal(boot.hard.cell, 0xfedcba9876543210);
    assert_int_equal(boot.chosen_mark, 29);
    assert_int_equal(boot.applied_slot, 29);
    assert_int_equal(boot.applied_position, 1);
    assert_int_equal(boot.log_first, 30);
    assert_int_equal(boot.log_last, 31);
    store_close(store);
}

static void the_chosen_mark_never_falls(void **state)
{
    (void)state;
    scene_live(dir, 11);
    struct store *store = scene_open(dir);
    const struct store_batch batch = {.chosen_mark = 7};
    assert_int_equal(store_write(store, &batch, 1), STORE_OK);
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_int_equal(boot.applied_slot, 20);
    assert_int_equal(boot.chosen_mark, 21);
    store_close(store);
}

static bool see_key(void *context, const struct lease_row *row)
{
    char *keys = context;
    assert_non_null(row->value.data);
    const size_t length = strlen(keys);
    snprintf(keys + length, 32 - length, "%c%zu ", row->key.data[0], row->value.size);
    return true;
}

static bool refuse_row(void *context, const struct lease_row *row)
{
    (void)context;
    (void)row;
    return false;
}

static void rows_come_in_order_and_empty_is_not_deleted(void **state)
{
    (void)state;
    scene_live(dir, SCENE_STEPS);
    struct store *store = scene_open(dir);
    char keys[32] = "";
    assert_int_equal(store_rows(store, see_key, keys), STORE_OK);
    assert_string_equal(keys, "a0 b5000 c100 ");
    assert_int_equal(store_rows(store, refuse_row, NULL), STORE_DAMAGED);
    store_close(store);
}

static void one_transaction_takes_many_batches(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    uint8_t data[2][100];
    const struct paxos_entry first = scene_entry(1, 1, data[0], 100);
    const struct paxos_entry second = scene_entry(1, 2, data[1], 100);
    const struct paxos_hard hard[] = {{.promised = {1, 1}}, {.promised = {2, 1}}};
    const struct store_batch batches[] = {
        {.hard = &hard[0], .entries = &first, .entries_count = 1, .chosen_mark = 1},
        {.hard = &hard[1], .entries = &second, .entries_count = 1},
    };
    assert_int_equal(store_write(store, batches, 2), STORE_OK);
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_int_equal(boot.hard.promised.round, 2);
    assert_int_equal(boot.chosen_mark, 1);
    assert_int_equal(store_log(store, 1, 1, 1, check_entry, (void *)&second), STORE_OK);
    store_close(store);
}

static void a_long_log_is_trimmed_in_pieces(void **state)
{
    (void)state;
    enum { SLOTS = 10000 };
    struct store *store = scene_open(dir);
    struct paxos_entry *entries = calloc(SLOTS, sizeof(*entries));
    uint8_t none[1];
    for (uint32_t i = 0; i < SLOTS; i++) {
        entries[i] = scene_entry(i + 1, 1, none, 0);
    }
    const struct store_batch batch = {
        .entries = entries, .entries_count = SLOTS, .chosen_mark = SLOTS};
    assert_int_equal(store_write(store, &batch, 1), STORE_OK);
    free(entries);

    const struct store_set set = {.applied_slot = 9000, .trim = SLOTS};
    const struct store_batch trim = {.set = &set};
    const uint64_t firsts[] = {4097, 8193, 9001, 9001};
    for (size_t i = 0; i < 4; i++) {
        struct store_boot boot;
        assert_int_equal(store_write(store, &trim, 1), STORE_OK);
        assert_int_equal(store_boot(store, &boot), STORE_OK);
        assert_int_equal(boot.log_first, firsts[i]);
    }
    store_close(store);
}

static void checkpoints_keep_the_wal_small(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    uint8_t *data = malloc(300000);
    for (uint64_t slot = 1; slot <= 60; slot++) {
        const struct paxos_entry entry = scene_entry(slot, 1, data, 300000);
        const struct store_batch batch = {.entries = &entry, .entries_count = 1};
        assert_int_equal(store_write(store, &batch, 1), STORE_OK);
        assert_int_equal(store_maintain(store, /* idle= */ false), STORE_OK);
    }
    free(data);
    assert_true(scene_size(dir, "store.db-wal") <= 5 * 1024 * 1024);
    assert_true(scene_size(dir, "store.db") > 12 * 1024 * 1024);
    store_close(store);
    scene_live(dir, 0);
}

/* ------------------------------------------------------------------- inspect */

static void inspection_changes_nothing(void **state)
{
    (void)state;
    for (unsigned with_wal = 0; with_wal < 2; with_wal++) {
        uint64_t expected = 0;
        if (with_wal != 0) {
            struct store *store = scene_open(dir);
            for (unsigned i = 0; i < 6; i++) {
                assert_int_equal(scene_step(store, i), STORE_OK);
            }
            assert_int_equal(scene_fingerprint(store, &expected), STORE_OK);
            store_close(store);
        }
        char before[4096], after[4096];
        listing(before, sizeof(before));
        struct store *store = NULL;
        assert_int_equal(store_open(dir, STORE_INSPECT, &store, detail, sizeof(detail)),
                         STORE_OK);
        uint64_t fingerprint = 0;
        assert_int_equal(scene_fingerprint(store, &fingerprint), STORE_OK);
        assert_true(with_wal == 0 || fingerprint == expected);
        store_close(store);
        listing(after, sizeof(after));
        assert_string_equal(before, after);
    }
}

static void the_copy_can_be_queried(void **state)
{
    (void)state;
    scene_live(dir, SCENE_STEPS - 1);
    struct store *store = NULL;
    assert_int_equal(store_open(dir, STORE_INSPECT, &store, detail, sizeof(detail)), STORE_OK);
    char out[2 * SCENE_PATH];
    snprintf(out, sizeof(out), "%s/copy.db", dir);
    assert_int_equal(store_copy(store, out, detail, sizeof(detail)), STORE_OK);
    assert_int_equal(store_copy(store, out, detail, sizeof(detail)), STORE_IO);
    assert_non_null(strstr(detail, "exists"));
    store_close(store);
    scene_sql(dir, "copy.db",
              "CREATE TABLE t (good INTEGER CHECK (good));"
              "INSERT INTO t SELECT count(*) = 18 AND min(slot) = 13 FROM log;"
              "INSERT INTO t SELECT count(*) = 3 FROM members;"
              "INSERT INTO t SELECT count(*) = 3 FROM nodes;"
              "INSERT INTO t SELECT value = 22 FROM store WHERE name = 'chosen_mark';"
              "INSERT INTO t SELECT value = 'test' FROM store WHERE name = 'cell'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scene, remove_scene)
    const struct CMUnitTest tests[] = {
        TEST(a_new_store_holds_what_init_was_given),
        TEST(init_refuses_what_is_there),
        TEST(no_store_is_missing_not_new),
        TEST(each_start_raises_the_incarnation),
        TEST(one_process_at_a_time),
        TEST(an_unknown_format_stays_untouched),
        TEST(nothing_is_mapped_or_left_behind),
        TEST(odd_folder_names_are_names),
        TEST(the_log_is_read_in_order_and_in_part),
        TEST(a_later_vote_replaces_an_earlier_one),
        TEST(marks_move_with_the_rows),
        TEST(the_chosen_mark_never_falls),
        TEST(rows_come_in_order_and_empty_is_not_deleted),
        TEST(one_transaction_takes_many_batches),
        TEST(a_long_log_is_trimmed_in_pieces),
        TEST(checkpoints_keep_the_wal_small),
        TEST(inspection_changes_nothing),
        TEST(the_copy_can_be_queried),
    };
#undef TEST
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
