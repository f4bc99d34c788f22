/* SPDX-License-Identifier: Apache-2.0
 *
 * test_faults.c -- the store on a disk that fails at every single call.
 *
 * A scripted life runs once without faults, and leaves a fingerprint of the
 * store behind each step.  Then it runs again for every call to the disk that it
 * makes, and that call fails.  Whatever the store has acknowledged must be there
 * when it is opened again; of the step in flight, all or nothing.
 *
 * The first hundred calls fail each, and behind them all that are not writes.  Of
 * the writes there, which repeat for page after page, every 19th does, or as
 * LOCKD_STORE_STRIDE says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/store/drive.h"
#include "tests/store/scene.h"

enum { CALLS_MAX = 8192 };

static struct drive *drive;
static char dir[SCENE_PATH];   /* Of the drive. */
static char fresh[SCENE_PATH]; /* A store that was only initialised. */
static char detail[512];
static uint64_t fingerprints[SCENE_STEPS + 1]; /* Before the first step; behind each. */
static long calls_in_all;
static bool writes[CALLS_MAX]; /* Which of them write. */

static long next_call(long at)
{
    const char *text = getenv("LOCKD_STORE_STRIDE");
    const long stride = text == NULL ? 19 : strtol(text, NULL, 10);
    do {
        at++;
    } while (at > 100 && at < CALLS_MAX && writes[at] && at % stride != 0);
    return at;
}

/* A store that was only initialised, on a drive that fails as told. */
static void start_fresh(enum drive_mode mode, long at)
{
    scene_copy_dir(fresh, dir);
    drive_forget(drive);
    drive_begin(drive, mode, at);
}

/* Opens and lives until something fails; returns the steps acknowledged, -1 if
 * not even the opening was. */
static int live(uint64_t *fingerprints_out)
{
    struct store *store = NULL;
    if (store_open(dir, STORE_SERVE, &store, detail, sizeof(detail)) != STORE_OK) {
        assert_true(strlen(detail) > 0);
        return -1;
    }
    unsigned step = 0;
    for (; step < SCENE_STEPS; step++) {
        if (fingerprints_out != NULL) {
            assert_int_equal(scene_fingerprint(store, &fingerprints_out[step]), STORE_OK);
        }
        if (scene_step(store, step) != STORE_OK) {
            /* Final: no later write is even tried. */
            const long calls = drive_calls(drive);
            assert_int_equal(scene_step(store, 0), STORE_IO);
            assert_int_equal(scene_step(store, 8), STORE_IO);
            assert_int_equal(drive_calls(drive), calls);
            break;
        }
    }
    if (fingerprints_out != NULL && step == SCENE_STEPS) {
        assert_int_equal(scene_fingerprint(store, &fingerprints_out[step]), STORE_OK);
    }
    store_close(store);
    return (int)step;
}

/* The store holds what `steps` steps left, or with the one in flight whole. */
static void check(int steps, const char *when, long at)
{
    uint64_t fingerprint = 0;
    struct store *store = NULL;
    enum store_rc rc = store_open(dir, STORE_SERVE, &store, detail, sizeof(detail));
    if (rc == STORE_OK) {
        rc = scene_fingerprint(store, &fingerprint);
    }
    store_close(store);
    const int done = steps < 0 ? 0 : steps;
    const bool good =
        rc == STORE_OK && (fingerprint == fingerprints[done] ||
                           (done < SCENE_STEPS && fingerprint == fingerprints[done + 1]));
    if (!good) {
        print_message("# call %ld, %s, after %d steps: %s %s\n", at, when, steps,
                      store_rc_text(rc), rc == STORE_OK ? "" : detail);
    }
    assert_true(good);
}

static int make_fresh(void **state)
{
    (void)state;
    drive_register();
    scene_make_dir(dir);
    drive = drive_new(dir);
    scene_make_dir(fresh);
    if (scene_init(fresh, detail, sizeof(detail)) != STORE_OK) {
        return -1;
    }
    start_fresh(DRIVE_GOOD, 0);
    const int steps = live(fingerprints);
    calls_in_all = drive_calls(drive);
    for (long at = 1; at < CALLS_MAX; at++) {
        writes[at] = at <= calls_in_all && drive_was_write(drive, at);
    }
    print_message("# %ld calls change something\n", calls_in_all);
    return steps == SCENE_STEPS ? 0 : -1;
}

static int remove_fresh(void **state)
{
    (void)state;
    drive_free(drive);
    scene_remove_dir(dir);
    scene_remove_dir(fresh);
    return 0;
}

static void the_script_can_fail_the_test(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SCENE_STEPS; i++) {
        const bool maintains = i == 8 || i == 12;
        assert_int_equal(fingerprints[i] == fingerprints[i + 1], maintains);
    }
    assert_true(calls_in_all > 500);
}

/* The process dies of a failed call and starts again; the machine stays up. */
static void a_failed_call_is_final_and_loses_nothing(void **state)
{
    (void)state;
    long tried = 0;
    for (long at = 1; at <= calls_in_all; at = next_call(at), tried++) {
        start_fresh(DRIVE_FAILS, at);
        const int steps = live(NULL);
        assert_true(drive_hit(drive));
        assert_true(steps < SCENE_STEPS);
        drive_begin(drive, DRIVE_GOOD, 0);
        check(steps, "restart", at);
    }
    print_message("# %ld calls tried\n", tried);
}

/* A failed sync leaves pages in the cache that the disk does not have, and that
 * no later sync will write.  The next start sees them and may build on them: so
 * it must bring them to the disk itself, before the power goes. */
static void what_a_failed_sync_left_in_the_cache_is_rewritten(void **state)
{
    (void)state;
    struct rng rng = {.state = 2};
    for (long at = 1; at <= calls_in_all; at = next_call(at)) {
        start_fresh(DRIVE_FAILS, at);
        const int steps = live(NULL);
        drive_begin(drive, DRIVE_GOOD, 0);

        struct store *store = NULL;
        uint64_t seen = 0;
        assert_int_equal(store_open(dir, STORE_SERVE, &store, detail, sizeof(detail)),
                         STORE_OK);
        assert_int_equal(scene_fingerprint(store, &seen), STORE_OK);
        store_close(store);
        drive_cut(drive, &rng, DRIVE_KEEP_NONE);

        uint64_t fingerprint = 0;
        store = scene_open(dir);
        assert_int_equal(scene_fingerprint(store, &fingerprint), STORE_OK);
        store_close(store);
        if (fingerprint != seen) {
            print_message("# call %ld: what was seen after %d steps is gone\n", at, steps);
        }
        assert_true(fingerprint == seen);
    }
}

static void cut_power_everywhere(enum drive_keep keep, const char *when, uint64_t seed)
{
    struct rng rng = {.state = seed};
    for (long at = 1; at <= calls_in_all; at = next_call(at)) {
        start_fresh(DRIVE_DIES, at);
        const int steps = live(NULL);
        assert_true(drive_hit(drive));
        drive_cut(drive, &rng, keep);
        check(steps, when, at);
    }
}

static void a_power_cut_loses_only_what_was_not_synced(void **state)
{
    (void)state;
    cut_power_everywhere(DRIVE_KEEP_NONE, "power cut, nothing kept", 3);
}

static void a_power_cut_may_keep_what_was_not_synced(void **state)
{
    (void)state;
    cut_power_everywhere(DRIVE_KEEP_ALL, "power cut, all kept", 4);
}

static void a_power_cut_may_keep_any_sectors(void **state)
{
    (void)state;
    cut_power_everywhere(DRIVE_KEEP_SOME, "power cut, some sectors kept", 5);
}

static void a_power_cut_may_garble_what_was_being_written(void **state)
{
    (void)state;
    cut_power_everywhere(DRIVE_KEEP_TORN, "power cut, a sector torn", 7);
}

/* A second cut while the first one is being recovered from. */
static void a_power_cut_during_recovery_loses_nothing(void **state)
{
    (void)state;
    struct rng rng = {.state = 6};
    for (long at = 1; at <= calls_in_all; at += calls_in_all / 12 + 1) {
        for (long again = 1; again < 400; again += 1 + again / 8) {
            start_fresh(DRIVE_DIES, at);
            const int steps = live(NULL);
            drive_cut(drive, &rng, DRIVE_KEEP_SOME);
            drive_begin(drive, DRIVE_DIES, again);
            struct store *store = NULL;
            if (store_open(dir, STORE_SERVE, &store, detail, sizeof(detail)) == STORE_OK) {
                store_close(store);
                again = 400; /* Recovery is over before that call. */
            }
            drive_cut(drive, &rng, DRIVE_KEEP_SOME);
            check(steps, "power cut during recovery", at);
        }
    }
}

static void init_is_whole_or_nothing(void **state)
{
    (void)state;
    struct store *store = NULL;
    bool whole = false;
    for (long at = 1; !whole; at++) {
        char path[2 * SCENE_PATH];
        snprintf(path, sizeof(path), "%s/new", dir);
        drive_forget(drive);
        drive_begin(drive, DRIVE_DIES, at);
        whole = scene_init(path, detail, sizeof(detail)) == STORE_OK;
        drive_forget(drive);
        drive_begin(drive, DRIVE_GOOD, 0);
        if (!whole) {
            assert_int_equal(store_open(path, STORE_SERVE, &store, detail, sizeof(detail)),
                             STORE_MISSING);
            assert_int_equal(scene_init(path, detail, sizeof(detail)), STORE_OK);
        }
        store_close(scene_open(path));
        scene_remove_dir(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_can_fail_the_test),
        cmocka_unit_test(a_failed_call_is_final_and_loses_nothing),
        cmocka_unit_test(what_a_failed_sync_left_in_the_cache_is_rewritten),
        cmocka_unit_test(a_power_cut_loses_only_what_was_not_synced),
        cmocka_unit_test(a_power_cut_may_keep_what_was_not_synced),
        cmocka_unit_test(a_power_cut_may_keep_any_sectors),
        cmocka_unit_test(a_power_cut_may_garble_what_was_being_written),
        cmocka_unit_test(a_power_cut_during_recovery_loses_nothing),
        cmocka_unit_test(init_is_whole_or_nothing),
    };
    return cmocka_run_group_tests_name("faults", tests, make_fresh, remove_fresh);
}
