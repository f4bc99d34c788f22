/* SPDX-License-Identifier: Apache-2.0
 *
 * test_writer.c -- the writer thread over a real store.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lockd/writer.h"
#include "tests/store/drive.h"
#include "tests/store/scene.h"

enum { WAIT_S = 20 };

static char dir[SCENE_PATH];
static struct drive *drive; /* The same. */
static struct store *store;
static struct store_writer *writer;
static struct writer_report report;

/* What ev_async_send() is in the daemon. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static unsigned wakes;

static void wake(void *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    wakes++;
    pthread_cond_signal(&woken);
    pthread_mutex_unlock(&lock);
}

/* Polls at every wake until `done`; a wake that never comes fails the test. */
static void poll_until(bool (*done)(void))
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    struct writer_read *reads = NULL;
    int rc = 0;
    for (;;) {
        pthread_mutex_lock(&lock);
        wakes = 0;
        pthread_mutex_unlock(&lock);
        writer_poll(writer, &report);
        struct writer_read **last = &reads;
        while (*last != NULL) {
            last = &(*last)->next;
        }
        *last = report.reads;
        report.reads = reads;
        if (done()) {
            return;
        }
        assert_int_equal(rc, 0);
        pthread_mutex_lock(&lock);
        while (wakes == 0 && rc == 0) {
            rc = pthread_cond_timedwait(&woken, &lock, &until);
        }
        pthread_mutex_unlock(&lock);
    }
}

static int start(void **state)
{
    (void)state;
    char detail[512] = "";
    scene_make_dir(dir);
    if (scene_init(dir, detail, sizeof(detail)) != STORE_OK) {
        return -1;
    }
    drive = drive_new(dir);
    store = scene_open(dir);
    writer = writer_new(store, wake, NULL);
    return writer == NULL ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    writer_stop(writer);
    writer = NULL;
    store_close(store);
    drive_free(drive);
    scene_remove_dir(dir);
    return 0;
}

static void put_entries(uint64_t ticket, uint64_t first, uint32_t count, size_t size)
{
    uint8_t *data = malloc(count * size + 1);
    struct paxos_entry entries[64];
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = scene_entry(first + i, 1, data + i * size, size);
    }
    const struct store_batch batch = {
        .ticket = ticket, .entries = entries, .entries_count = count, .chosen_mark = first - 1};
    writer_put(writer, &batch);
    memset(data, 0xee, count * size); /* It was copied. */
    free(data);
}

static void put_set(uint64_t applied_slot)
{
    char key[] = "key", value[] = "value", gone[] = "gone";
    const struct lease_row rows[] = {
        {.key = bytes_of(key, 3), .value = bytes_of(value, 5)},
        {.key = bytes_of(gone, 4), .value = bytes_of(NULL, 0)},
        {.key = bytes_of(gone, 1), .value = bytes_of("", 0)},
    };
    const struct store_set set = {.rows = rows,
                                  .rows_count = 3,
                                  .applied_slot = applied_slot,
                                  .applied_position = 1,
                                  .digest = 77};
    const struct store_batch batch = {.chosen_mark = applied_slot, .set = &set};
    writer_put(writer, &batch);
    memset(key, 'x', sizeof(key));
    memset(value, 'x', sizeof(value));
}

static bool ticket_100(void)
{
    return report.ticket == 100;
}

static bool set_100(void)
{
    return report.applied_slot == 100;
}

static bool one_read(void)
{
    return report.reads != NULL;
}

static bool has_failed(void)
{
    return report.failed;
}

static bool count_entry(void *context, const struct paxos_entry *entry)
{
    uint64_t *next = context;
    uint8_t data[300];
    const struct paxos_entry expected = scene_entry(*next, 1, data, 300);
    assert_int_equal(entry->slot, expected.slot);
    assert_true(bytes_equal(entry->value.data, expected.value.data));
    (*next)++;
    return true;
}

static void what_is_put_becomes_durable_in_groups(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 100; i++) {
        put_entries(i, i, 1, 300);
    }
    poll_until(ticket_100);
    assert_int_equal(report.batches, 100);
    assert_true(report.commits < 100); /* What queued during a sync shares the next. */
    assert_true(report.commit_us_last > 0 && report.commit_us_max >= report.commit_us_last);
    assert_int_equal(report.queued_bytes, 0);
    assert_false(writer_full(writer));
    assert_false(report.failed);
    assert_true(writer_stop(writer));
    writer = NULL;

    uint64_t next = 1;
    assert_int_equal(store_log(store, 1, UINT64_MAX, 200, count_entry, &next), STORE_OK);
    assert_int_equal(next, 101);
}

static bool see_row(void *context, const struct lease_row *row)
{
    unsigned *seen = context;
    *seen += row->key.size == 3 ? 1 : row->key.size == 1 && row->value.size == 0 ? 10 : 100;
    return true;
}

static void a_set_is_told_when_it_is_written(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 100; i++) {
        put_entries(i, i, 1, 300);
    }
    put_set(100);
    poll_until(set_100);
    assert_int_equal(report.ticket, 100); /* Never before the log rows below it. */
    assert_true(writer_stop(writer));
    writer = NULL;
    unsigned seen = 0;
    assert_int_equal(store_rows(store, see_row, &seen), STORE_OK);
    assert_int_equal(seen, 11);
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_int_equal(boot.applied_slot, 100);
    assert_int_equal(boot.digest, 77);
}

static void stopping_writes_what_is_queued(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 100; i++) {
        put_entries(i, i, 1, 300);
        put_set(i);
    }
    assert_true(writer_stop(writer));
    writer = NULL;
    struct store_boot boot;
    assert_int_equal(store_boot(store, &boot), STORE_OK);
    assert_int_equal(boot.log_last, 100);
    assert_int_equal(boot.applied_slot, 100);
}

static void check_read(struct writer_read *read, uint64_t slot, uint32_t count, size_t size)
{
    assert_int_equal(read->answer.slot, slot);
    assert_int_equal(read->answer.entries_count, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *data = malloc(size);
        const struct paxos_entry expected = scene_entry(slot + i, 1, data, size);
        assert_int_equal(read->answer.entries[i].slot, slot + i);
        assert_true(bytes_equal(read->answer.entries[i].value.data, expected.value.data));
        free(data);
    }
    writer_read_done(read);
}

static void read_one(paxos_id peer, uint64_t slot, uint64_t last, uint32_t count, size_t size)
{
    const struct paxos_wanted wanted = {.peer = peer, .slot = slot, .last = last};
    writer_read_log(writer, &wanted);
    poll_until(one_read);
    assert_int_equal(report.reads->answer.peer, peer);
    assert_null(report.reads->next);
    check_read(report.reads, slot, count, size);
}

static void reads_see_what_was_put_before_them(void **state)
{
    (void)state;
    put_entries(1, 1, 40, 300);
    put_entries(2, 41, 40, 300);
    put_entries(3, 90, 11, 300); /* A hole before it. */
    read_one(2, 1, 500, PAXOS_MESSAGE_ENTRIES, 300);
    read_one(3, 60, 500, 21, 300);
    read_one(3, 60, 62, 3, 300);
    read_one(2, 85, 95, 0, 300);
    read_one(2, 101, 110, 0, 300);
}

/* PAXOS_MESSAGE_BYTES beyond the first entry, however large that is. */
static void reads_are_bounded_in_bytes(void **state)
{
    (void)state;
    for (uint64_t slot = 1; slot <= 6; slot++) {
        put_entries(slot, slot, 1, 400000);
    }
    read_one(2, 1, 100, 3, 400000);
    read_one(2, 6, 100, 1, 400000);
}

static void a_full_queue_says_so(void **state)
{
    (void)state;
    bool full = false;
    uint64_t slot = 0;
    while (!full && slot < 200) {
        slot++;
        put_entries(slot == 1 ? 1 : 0, slot, 1, 900000);
        full = writer_full(writer);
    }
    /* A fast disk may keep up; then there was nothing to say. */
    put_entries(100, slot + 1, 1, 300);
    poll_until(ticket_100);
    assert_false(writer_full(writer));
}

static void free_space_is_reported(void **state)
{
    (void)state;
    put_entries(100, 1, 1, 300);
    poll_until(ticket_100);
    assert_true(report.free_bytes != UINT64_MAX);
    assert_true(report.free_bytes > 0);
}

static void a_failure_is_final(void **state)
{
    (void)state;
    put_entries(100, 1, 1, 300);
    poll_until(ticket_100);
    assert_true(writer_stop(writer));
    drive_begin(drive, DRIVE_DIES, 20);
    writer = writer_new(store, wake, NULL);
    for (uint64_t i = 2; i <= 200; i++) {
        put_entries(100 + i, i, 1, 300);
        put_set(i);
    }
    poll_until(has_failed);
    assert_true(strstr(report.failure, "writing failed") != NULL);
    const uint64_t ticket = report.ticket;
    assert_true(ticket < 300);
    put_entries(500, 300, 1, 300);
    put_set(300);
    writer_read_log(writer, &(struct paxos_wanted){.peer = 2, .slot = 1, .last = 2});
    poll_until(has_failed);
    assert_int_equal(report.ticket, ticket);
    assert_false(writer_stop(writer));
    writer = NULL;
}

static int register_vfs(void **state)
{
    (void)state;
    drive_register();
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_becomes_durable_in_groups),
        TEST(a_set_is_told_when_it_is_written),
        TEST(stopping_writes_what_is_queued),
        TEST(reads_see_what_was_put_before_them),
        TEST(reads_are_bounded_in_bytes),
        TEST(a_full_queue_says_so),
        TEST(free_space_is_reported),
        TEST(a_failure_is_final),
    };
#undef TEST
    return cmocka_run_group_tests_name("writer", tests, register_vfs, NULL);
}
