/* SPDX-License-Identifier: Apache-2.0
 *
 * test_drive.c -- does the disk that fails do what it says?
 *
 * A plain SQLite file with a rollback journal stands in for a store: what it
 * says is one number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/store/drive.h"
#include "tests/store/scene.h"

static char dir[SCENE_PATH];
static struct drive *drive;
static struct rng rng = {.state = 1};

/* It locks nobody out, so nobody else may have it open. */
static sqlite3 *open_file(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(scene_path(dir, "a.db"), &db), SQLITE_OK);
    return db;
}

static int put(sqlite3 *db, int number)
{
    char sql[80];
    snprintf(sql, sizeof(sql), "UPDATE t SET n = %d", number);
    return sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff;
}

/* The number, or -1: it can't be read. */
static int get(void)
{
    sqlite3 *db = open_file();
    sqlite3_stmt *stmt = NULL;
    int number = -1;
    if (sqlite3_prepare_v2(db, "SELECT n FROM t", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        number = sqlite3_column_int(stmt, 0);
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return number;
}

static int start(void **state)
{
    (void)state;
    scene_make_dir(dir);
    drive = drive_new(dir);
    sqlite3 *db = open_file();
    assert_int_equal(
        sqlite3_exec(db, "CREATE TABLE t (n); INSERT INTO t VALUES (1)", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    drive_free(drive);
    scene_remove_dir(dir);
    return 0;
}

static int register_vfs(void **state)
{
    (void)state;
    drive_register();
    return 0;
}

static void set_synchronous(sqlite3 *db, const char *value)
{
    char sql[80];
    snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s; PRAGMA journal_mode = OFF", value);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void a_cut_keeps_what_was_synced(void **state)
{
    (void)state;
    sqlite3 *db = open_file();
    set_synchronous(db, "FULL");
    assert_int_equal(put(db, 2), SQLITE_OK);
    set_synchronous(db, "OFF");
    assert_int_equal(put(db, 3), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(get(), 3); /* The page cache has it. */
    drive_cut(drive, &rng, DRIVE_KEEP_NONE);
    assert_int_equal(get(), 2);
}

static void a_cut_may_keep_all(void **state)
{
    (void)state;
    sqlite3 *db = open_file();
    set_synchronous(db, "OFF");
    assert_int_equal(put(db, 3), SQLITE_OK);
    sqlite3_close(db);
    drive_cut(drive, &rng, DRIVE_KEEP_ALL);
    assert_int_equal(get(), 3);
}

static void what_a_failed_sync_was_to_write_is_never_written(void **state)
{
    (void)state;
    sqlite3 *db = open_file();
    set_synchronous(db, "FULL");
    drive_begin(drive, DRIVE_CANT_SYNC, 1);
    assert_int_equal(put(db, 2), SQLITE_IOERR);
    assert_true(drive_hit(drive));
    sqlite3_close(db);
    drive_begin(drive, DRIVE_GOOD, 0);
    assert_int_equal(get(), 2);
    drive_cut(drive, &rng, DRIVE_KEEP_ALL);
    assert_int_equal(get(), 1);
}

static void a_call_fails_once_or_all_do_from_then_on(void **state)
{
    (void)state;
    sqlite3 *db = open_file();
    drive_begin(drive, DRIVE_FAILS, 2);
    assert_int_not_equal(put(db, 2), SQLITE_OK);
    assert_true(drive_hit(drive));
    assert_int_equal(put(db, 3), SQLITE_OK);
    drive_begin(drive, DRIVE_DIES, 2);
    assert_int_not_equal(put(db, 4), SQLITE_OK);
    assert_int_not_equal(put(db, 5), SQLITE_OK);
    sqlite3_close(db);
    drive_cut(drive, &rng, DRIVE_KEEP_SOME);
    assert_int_equal(get(), 3);
}

static void a_read_fails(void **state)
{
    (void)state;
    drive_begin(drive, DRIVE_CANT_READ, 2); /* The first is of its opening. */
    assert_int_equal(get(), -1);
    assert_true(drive_hit(drive));
    drive_begin(drive, DRIVE_GOOD, 0);
    assert_int_equal(get(), 1);
}

static void a_full_drive_refuses_growth_alone(void **state)
{
    (void)state;
    sqlite3 *db = open_file();
    set_synchronous(db, "FULL");
    drive_limit(drive, drive_used(drive) + 100);
    assert_int_equal(drive_room(drive), 100);
    assert_int_equal(put(db, 2), SQLITE_OK);
    assert_false(drive_hit(drive));
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE u (n)", NULL, NULL, NULL), SQLITE_FULL);
    assert_true(drive_hit(drive));
    sqlite3_close(db);
}

static void damage_is_on_the_disk_and_in_the_cache(void **state)
{
    (void)state;
    size_t size = 0;
    const uint8_t *data = drive_look(drive, "a.db", &size);
    assert_non_null(data);
    assert_true(size > 4096 && drive_look(drive, "b.db", &size) == NULL);
    const uint8_t zero = 0;
    drive_damage(drive, "a.db", 0, &zero, 1); /* "SQLite format 3" no more. */
    assert_int_equal(scene_peek(dir, "a.db", 0), 0);
    assert_int_equal(get(), -1);
    drive_cut(drive, &rng, DRIVE_KEEP_NONE);
    assert_int_equal(get(), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_cut_keeps_what_was_synced),
        TEST(a_cut_may_keep_all),
        TEST(what_a_failed_sync_was_to_write_is_never_written),
        TEST(a_call_fails_once_or_all_do_from_then_on),
        TEST(a_read_fails),
        TEST(a_full_drive_refuses_growth_alone),
        TEST(damage_is_on_the_disk_and_in_the_cache),
    };
#undef TEST
    return cmocka_run_group_tests_name("drive", tests, register_vfs, NULL);
}
