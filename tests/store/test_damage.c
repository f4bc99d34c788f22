/* SPDX-License-Identifier: Apache-2.0
 *
 * test_damage.c -- a store that somebody else has written to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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

static bool skip_entry(void *context, const struct paxos_entry *entry)
{
    (void)context;
    (void)entry;
    return true;
}

static bool skip_row(void *context, const struct lease_row *row)
{
    (void)context;
    (void)row;
    return true;
}

static enum store_rc read_all(void)
{
    struct store *store = NULL;
    enum store_rc rc = store_open(dir, STORE_SERVE, &store, detail, sizeof(detail));
    struct store_boot boot;
    if (rc == STORE_OK) {
        rc = store_boot(store, &boot);
    }
    if (rc == STORE_OK) {
        rc = store_log(store, 1, UINT64_MAX, UINT32_MAX, skip_entry, NULL);
    }
    if (rc == STORE_OK) {
        rc = store_rows(store, skip_row, NULL);
    }
    store_close(store);
    return rc;
}

static const struct {
    const char *name;
    const char *sql;
} damages[] = {
    {"identity", "UPDATE meta SET value = x'0001' || substr(value, 3, 7) || x'01' ||"
                 " substr(value, 11) WHERE id = 1"},
    {"incarnation", "UPDATE meta SET value = x'0000000000000000' WHERE id = 2"},
    {"hard state", "UPDATE meta SET value = substr(value, 1, 9) || x'07' || substr(value, 11)"
                   " WHERE id = 3"},
    {"chosen mark", "UPDATE meta SET value = x'0000000000000009' WHERE id = 4"},
    {"applied", "UPDATE meta SET value = substr(value, 1, 19) || x'55' WHERE id = 5"},
    {"meta sum", "UPDATE meta SET sum = sum + 1 WHERE id = 3"},
    {"meta row lost", "DELETE FROM meta WHERE id = 3"},
    {"meta rows swapped", "UPDATE meta SET value = (SELECT value FROM meta WHERE id = 2),"
                          " sum = (SELECT sum FROM meta WHERE id = 2) WHERE id = 4"},
    {"log value", "UPDATE log SET value = substr(value, 1, 99) || x'00' || substr(value, 101)"
                  " WHERE slot = 3"},
    {"log ballot", "UPDATE log SET ballot = ballot + 65536 WHERE slot = 3"},
    {"log row in another slot", "UPDATE log SET slot = 7 WHERE slot = 5"},
    {"log value cut", "UPDATE log SET value = substr(value, 1, 10) WHERE slot = 3"},
    {"chosen slot lost", "DELETE FROM log WHERE slot = 4"},
    {"state value", "UPDATE state SET value = x'ff' || substr(value, 2) WHERE key = x'62'"},
    {"state key", "UPDATE state SET key = x'65' WHERE key = x'62'"},
    {"state sum", "UPDATE state SET sum = 0 WHERE key = x'62'"},
    {"schema", "CREATE TABLE other (a)"},
};

static void damaged_rows_are_reported(void **state)
{
    (void)state;
    scene_live(dir, 6); /* Slots 1 ... 5, chosen up to 3, then 4; a, b, c. */
    struct store *store = scene_open(dir);
    const struct store_batch batch = {.chosen_mark = 5};
    assert_int_equal(store_write(store, &batch, 1), STORE_OK);
    store_close(store);
    assert_int_equal(read_all(), STORE_OK);

    char kept[SCENE_PATH];
    scene_make_dir(kept);
    scene_copy_dir(dir, kept);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        scene_copy_dir(kept, dir);
        scene_sql(dir, "store.db", damages[i].sql);
        const enum store_rc rc = read_all();
        if (rc != STORE_DAMAGED) {
            print_message("# %s: %s\n", damages[i].name, store_rc_text(rc));
        }
        assert_int_equal(rc, STORE_DAMAGED);
    }
    scene_remove_dir(kept);
}

/* Every octet of the file: whatever is flipped, what is read was written. */
static void a_flipped_octet_is_never_returned(void **state)
{
    (void)state;
    scene_live(dir, 6);
    struct store *store = scene_open(dir);
    uint64_t expected = 0;
    assert_int_equal(scene_fingerprint(store, &expected), STORE_OK);
    store_close(store);
    /* A plain close by SQLite brings everything into the one file. */
    scene_sql(dir, "store.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    unlink(scene_path(dir, "store.db-wal"));

    unsigned caught = 0;
    const off_t size = scene_size(dir, "store.db");
    for (off_t at = 100; at < size; at += 7) {
        scene_flip(dir, "store.db", at);
        store = NULL;
        if (store_open(dir, STORE_INSPECT, &store, detail, sizeof(detail)) != STORE_OK) {
            caught++;
        } else {
            uint64_t fingerprint = 0;
            const bool read = scene_fingerprint(store, &fingerprint) == STORE_OK;
            caught += !read;
            /* A vote may be lost with its page's list of rows; not changed. */
            assert_true(!read || fingerprint == expected);
        }
        store_close(store);
        scene_flip(dir, "store.db", at);
    }
    assert_true(caught > 20);
}

enum { FRAME = 4096 + 24 };

/* Offset of the last frame that holds anything of the newest WAL. */
static unsigned frames_in_wal(void)
{
    unsigned count = 0;
    const off_t size = scene_size(dir, "store.db-wal");
    for (off_t at = 32; at + FRAME <= size && scene_peek(dir, "store.db-wal", at + 3) != 0;
         at += FRAME) {
        count++;
    }
    return count;
}

static void damage_in_the_wal_is_no_torn_tail(void **state)
{
    (void)state;
    scene_live(dir, 6);
    char kept[SCENE_PATH];
    scene_make_dir(kept);
    scene_copy_dir(dir, kept);
    const unsigned frames = frames_in_wal();
    assert_true(frames > 8);

    /* Anywhere but in the last transaction (at least a frame and its padding). */
    for (unsigned i = 0; i + 6 < frames; i++) {
        scene_copy_dir(kept, dir);
        scene_flip(dir, "store.db-wal", 32 + (off_t)i * FRAME + 24 + 50);
        assert_int_equal(open_rc(STORE_SERVE), STORE_DAMAGED);
        assert_non_null(strstr(detail, "acknowledged"));
        assert_int_equal(open_rc(STORE_INSPECT), STORE_DAMAGED);
    }
    for (off_t at = 0; at < 32; at += 4) {
        scene_copy_dir(kept, dir);
        scene_flip(dir, "store.db-wal", at);
        assert_int_equal(open_rc(STORE_SERVE), STORE_DAMAGED);
    }
    /* A crash while the last transaction was written looks like this. */
    scene_copy_dir(kept, dir);
    scene_flip(dir, "store.db-wal", 32 + (off_t)(frames - 2) * FRAME + 24 + 50);
    assert_int_equal(open_rc(STORE_SERVE), STORE_OK);
    scene_remove_dir(kept);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scene, remove_scene)
    const struct CMUnitTest tests[] = {
        TEST(damaged_rows_are_reported),
        TEST(a_flipped_octet_is_never_returned),
        TEST(damage_in_the_wal_is_no_torn_tail),
    };
#undef TEST
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
