/* SPDX-License-Identifier: Apache-2.0
 *
 * Caches of many names and sessions: what one client can make a master do and remember.
 */
#include "tests/unit/test_service_caching.h"

enum {
    R1 = 101, /* The first of those who keep much. */
    W1 = 81,
    SESSIONS = 6,
    ABSENCES = 8 * 1024,              /* Kept by each; for those of two a turn has time. */
    TURN_MAX = 16 * 1024 + 10 * 1000, /* Names taken in a turn: what it has time for, and
                                       * what one session keeps. */
};

/* What was told, by turns, and how much of it at most in one. */
struct crowd {
    struct cell *cell;
    uint32_t m;
    uint64_t tag;
    uint32_t sessions;
    uint32_t told;     /* Sessions or names. */
    uint32_t told_max; /* In a turn. */
    uint32_t turns;    /* In which something was told. */
    uint32_t overloaded;
};

static void count_told(void *context, uint32_t index, const struct service_output *output)
{
    struct crowd *crowd = context;
    (void)index;
    uint32_t told = 0;
    for (uint32_t i = 0; i < output->events_count; i++) {
        const struct service_event *event = &output->events[i];
        told += event->names_count == 0 ? 1 : event->names_count;
    }
    for (uint32_t i = 0; i < output->replies_count; i++) {
        crowd->overloaded += output->replies[i].outcome == SERVICE_OVERLOADED;
    }
    crowd->told += told;
    crowd->told_max = told > crowd->told_max ? told : crowd->told_max;
    crowd->turns += told > 0;
}

static struct crowd gather(uint32_t cached_max)
{
    struct crowd crowd = {.cell = cell_new(1), .tag = 10000};
    crowd.cell->cached_max = cached_max;
    crowd.cell->reads_max = 2000;
    crowd.cell->commands_max = 65536;
    crowd.cell->bytes_max = 64 * 1024 * 1024;
    crowd.cell->unchecked = true;
    replica_start(crowd.cell, 0);
    crowd.m = await_master(crowd.cell);
    ask(crowd.cell, crowd.m, SERVICE_CREATE, 1, 1, "/ls/test/d", NULL);
    ask(crowd.cell, crowd.m, SERVICE_CREATE, 1, 2, "/ls/test/acl", NULL);
    settle(crowd.cell);
    return crowd;
}

static void watch_crowd(struct crowd *crowd)
{
    crowd->told = crowd->told_max = crowd->turns = 0;
    crowd->cell->look = count_told;
    crowd->cell->look_context = crowd;
}

static void check(struct crowd *crowd)
{
    service_check(crowd->cell->replica[crowd->m].s);
}

static uint64_t cached(const struct crowd *crowd)
{
    return status_of(crowd->cell, crowd->m).cached;
}

/* One more session keeps so many absences in d, each of a name of its own. */
static void keep_absences(struct crowd *crowd, uint32_t count)
{
    const uint64_t session = R1 + crowd->sessions++;
    open_cache(crowd->cell, crowd->m, ++crowd->tag, session);
    for (uint32_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "/ls/test/d/%u.%u", (unsigned)session, i);
        struct service_request request = cache_request_of(SERVICE_STAT, ++crowd->tag, session);
        request.name = bytes_of(name, strlen(name));
        submit(crowd->cell, crowd->m, &request);
        if (i % 1000 == 999 || i + 1 == count) {
            settle(crowd->cell);
            crowd->cell->answers_count = 0;
        }
    }
}

static struct crowd gather_many(void)
{
    struct crowd crowd = gather(100000);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        keep_absences(&crowd, ABSENCES);
    }
    assert_int_equal(cached(&crowd), SESSIONS * ABSENCES);
    return crowd;
}

/* All who were told say that they have forgotten; no turn. */
static void acknowledge_told(struct crowd *crowd)
{
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct service_request request =
            cache_request_of(SERVICE_CACHE_ACK, ++crowd->tag, R1 + i);
        request.cache_number = UINT64_MAX;
        submit(crowd->cell, crowd->m, &request);
    }
}

static uint64_t acknowledge_crowd(struct crowd *crowd, uint32_t sessions)
{
    for (uint32_t i = 0; i < sessions; i++) {
        acknowledge_all(crowd->cell, crowd->m, ++crowd->tag, R1 + i);
    }
    return crowd->tag;
}

/* Each over a connection of its own: nothing but the names orders them. */
static void command_many(struct crowd *crowd, enum service_op op, const char *name,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct service_request request = request_of(op, ++crowd->tag, 0);
        request.client = 100000 + i;
        request.name = bytes_of(name, strlen(name));
        request.acl[LEASE_READ] = bytes_of("", 0);
        submit(crowd->cell, crowd->m, &request);
    }
    settle(crowd->cell);
}

/* ------------------------------------------------------------------- absences */

static void test_commands_share_what_is_missing_in_a_directory(void **state)
{
    (void)state;
    enum { COMMANDS = 500 };
    struct crowd crowd = gather(100000);
    keep_absences(&crowd, ABSENCES);
    watch_crowd(&crowd);
    command_many(&crowd, SERVICE_SET_ACL, "/ls/test/d", 1);
    assert_int_equal(crowd.told, ABSENCES);
    const size_t before = crowd.cell->allocated;
    command_many(&crowd, SERVICE_SET_ACL, "/ls/test/d", COMMANDS / 2);
    command_many(&crowd, SERVICE_DELETE, "/ls/test/d", COMMANDS / 2);
    assert_int_equal(crowd.told, ABSENCES); /* Each was told once. */
    assert_int_equal(held_at(crowd.cell, crowd.m), COMMANDS + 1);
    assert_true(crowd.cell->allocated - before < COMMANDS * 1024);
    check(&crowd);

    /* All wait for all of them. */
    acknowledge(crowd.cell, crowd.m, ++crowd.tag, R1, 1);
    assert_int_equal(cached(&crowd), ABSENCES - SERVICE_INVALIDATE_MAX);
    assert_int_equal(held_at(crowd.cell, crowd.m), COMMANDS + 1);
    acknowledge_crowd(&crowd, 1);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    assert_int_equal(cached(&crowd), 0);
    check(&crowd);
    cell_free(crowd.cell);
}

/* What is kept anew is one of those there again. */
static void test_an_absence_kept_again(void **state)
{
    (void)state;
    struct crowd crowd = gather(1000);
    keep_absences(&crowd, 10);
    for (uint32_t round = 0; round < 3; round++) {
        watch_crowd(&crowd);
        command_many(&crowd, SERVICE_SET_ACL, "/ls/test/d", 1);
        assert_int_equal(crowd.told, 10);
        assert_int_equal(held_at(crowd.cell, crowd.m), 1);
        assert_false(
            keeps(crowd.cell, crowd.m, ++crowd.tag, R1, "/ls/test/d/other")); /* Nor others. */
        acknowledge_crowd(&crowd, 1);
        assert_int_equal(held_at(crowd.cell, crowd.m), 0);
        for (uint32_t i = 0; i < 10; i++) {
            char name[64];
            snprintf(name, sizeof name, "/ls/test/d/%u.%u", R1, i);
            assert_true(keeps(crowd.cell, crowd.m, ++crowd.tag, R1, name));
        }
        check(&crowd);
    }
    cell_free(crowd.cell);
}

/* ----------------------------------------------------------------- many at once */

/* A turn tells as many as it has time for; who wasn't told yet is waited for, too. */
static void test_a_directory_that_is_swept_in_turns(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    assert_true(keeps(crowd.cell, crowd.m, ++crowd.tag, R1, "/ls/test/x"));
    watch_crowd(&crowd);
    struct service_request request = request_of(SERVICE_SET_ACL, ++crowd.tag, 0);
    request.name = bytes_of("/ls/test/d", 10);
    request.acl[LEASE_READ] = bytes_of("", 0);
    submit(crowd.cell, crowd.m, &request);
    ask(crowd.cell, crowd.m, SERVICE_PUT, 2, ++crowd.tag, "/ls/test/x", "");
    assert_int_equal(held_at(crowd.cell, crowd.m), 2);
    turn(crowd.cell, crowd.m);
    check(&crowd); /* Half way. */
    assert_true(crowd.told > 0 && crowd.told <= TURN_MAX);
    acknowledge_told(&crowd);
    assert_int_equal(held_at(crowd.cell, crowd.m), 2);
    settle(crowd.cell);
    assert_int_equal(crowd.told, SESSIONS * ABSENCES + 1);
    assert_true(crowd.turns > 2 && crowd.told_max <= TURN_MAX);
    assert_int_equal(held_at(crowd.cell, crowd.m), 2);
    acknowledge_crowd(&crowd, SESSIONS);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    check(&crowd);
    cell_free(crowd.cell);
}

static void test_everything_is_swept_in_turns(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    watch_crowd(&crowd);
    struct service_request request = request_of(SERVICE_PUT, ++crowd.tag, 0);
    request.name = bytes_of("/ls/test/acl/p", 14);
    submit(crowd.cell, crowd.m, &request);
    turn(crowd.cell, crowd.m);
    check(&crowd); /* Half way. */
    assert_true(crowd.told > 0 && crowd.told < SESSIONS);
    const uint64_t before = cached(&crowd);
    acknowledge_told(&crowd);
    assert_true(cached(&crowd) < before);
    assert_int_equal(held_at(crowd.cell, crowd.m), 1); /* For those who were not told yet. */
    command_many(&crowd, SERVICE_PUT, "/ls/test/acl/p", 2);
    assert_int_equal(crowd.told, SESSIONS); /* To forget all, once. */
    assert_true(crowd.turns > 2 && crowd.told_max <= 2);
    assert_int_equal(held_at(crowd.cell, crowd.m), 3);
    check(&crowd);
    for (uint32_t i = 1; i < SESSIONS; i++) { /* The first was told last. */
        acknowledge_all(crowd.cell, crowd.m, ++crowd.tag, R1 + i);
    }
    assert_int_equal(held_at(crowd.cell, crowd.m), 3);
    acknowledge_crowd(&crowd, SESSIONS);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    check(&crowd);
    cell_free(crowd.cell);
}

/* Whoever is cut off half way isn't swept any more, nor is anything waited for. */
static void test_a_master_that_is_lost_half_way(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    struct service_request request = request_of(SERVICE_PUT, ++crowd.tag, 0);
    request.name = bytes_of("/ls/test/acl/p", 14);
    submit(crowd.cell, crowd.m, &request);
    turn(crowd.cell, crowd.m);
    assert_int_equal(held_at(crowd.cell, crowd.m), 1);
    cell_free(crowd.cell); /* Everything is given back. */
}

/* ---------------------------------------------------------------- gone at once */

/* What is kept and owed goes in turns; no turn lets go of more than it has time for. */
static void assert_goes_in_turns(struct crowd *crowd)
{
    uint64_t before = cached(crowd);
    assert_true(before > 0);
    crowd->cell->replica[crowd->m].more = true;
    for (uint32_t turns = 0; before > 0; turns++) {
        assert_true(turns < 100);
        sync_disk(crowd->cell, crowd->m);
        turn(crowd->cell, crowd->m);
        assert_true(before - cached(crowd) <= TURN_MAX);
        before = cached(crowd);
        check(crowd);
    }
    settle(crowd->cell);
}

static void test_acknowledged_at_once(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    watch_crowd(&crowd);
    command_many(&crowd, SERVICE_SET_ACL, "/ls/test/d", 1);
    acknowledge_told(&crowd);
    assert_true(SESSIONS * ABSENCES - cached(&crowd) <= TURN_MAX);
    assert_int_equal(held_at(crowd.cell, crowd.m), 1);
    /* A lease is renewed by whoever has acknowledged. */
    struct service_request request =
        cache_request_of(SERVICE_SESSION_KEEPALIVE, ++crowd.tag, R1 + SESSIONS - 1);
    submit(crowd.cell, crowd.m, &request);
    assert_goes_in_turns(&crowd);
    pass(crowd.cell, 150);
    assert_int_equal(reply_to(crowd.cell, crowd.tag)->cache_ms, CACHE_LEASE);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    cell_free(crowd.cell);
}

static void test_leases_over_at_once(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    for (uint32_t i = 0; i < SESSIONS; i++) {
        service_forget(crowd.cell->replica[crowd.m].s, client_of(R1 + i));
    }
    crowd.cell->replica[crowd.m].more = true;
    settle(crowd.cell);
    command_many(&crowd, SERVICE_SET_ACL, "/ls/test/d", 1);
    pass(crowd.cell, CACHE_LEASE - 1);
    assert_int_equal(cached(&crowd), SESSIONS * ABSENCES);
    assert_int_equal(held_at(crowd.cell, crowd.m), 1);
    crowd.cell->now_ms++;
    assert_goes_in_turns(&crowd);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    cell_free(crowd.cell);
}

static void test_caches_begun_anew_at_once(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    for (uint32_t i = 0; i < SESSIONS; i++) { /* Each has been told something. */
        assert_true(keeps(crowd.cell, crowd.m, ++crowd.tag, R1 + i, "/ls/test"));
    }
    command_many(&crowd, SERVICE_PUT, "/ls/test/x", 1);
    acknowledge_crowd(&crowd, SESSIONS);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        const struct service_request request =
            cache_request_of(SERVICE_CACHE_BEGIN, ++crowd.tag, R1 + i);
        submit(crowd.cell, crowd.m, &request);
    }
    assert_goes_in_turns(&crowd);
    assert_int_equal(reply_to(crowd.cell, crowd.tag)->cache_ms, CACHE_LEASE);
    assert_true(reply_to(crowd.cell, crowd.tag)->cache_number > 0);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        assert_true(keeps(crowd.cell, crowd.m, ++crowd.tag, R1 + i, "/ls/test/d/new"));
    }
    check(&crowd);
    cell_free(crowd.cell);
}

static void test_sessions_ended_at_once(void **state)
{
    (void)state;
    struct crowd crowd = gather_many();
    for (uint32_t i = 0; i < SESSIONS; i++) {
        const struct service_request request =
            request_of(SERVICE_SESSION_CLOSE, ++crowd.tag, R1 + i);
        submit(crowd.cell, crowd.m, &request);
    }
    assert_goes_in_turns(&crowd);
    assert_false(lives(crowd.cell, crowd.m, R1));
    cell_free(crowd.cell);
}

/* ------------------------------------------------------------------------ marks */

/* All that a session has is marked once, however often it is closed. */
static void test_many_ends_of_one_session(void **state)
{
    (void)state;
    enum { FILES = 300, CLOSES = 300 };
    struct crowd crowd = gather(1000);
    open_session(crowd.cell, crowd.m, 10, W1);
    for (uint32_t i = 0; i < FILES; i++) {
        char name[64];
        snprintf(name, sizeof name, "/ls/test/d/e%u", i);
        struct service_request open = request_of(SERVICE_NODE_OPEN, ++crowd.tag, W1);
        open.name = bytes_of(name, strlen(name));
        open.ephemeral = true;
        submit(crowd.cell, crowd.m, &open);
    }
    settle(crowd.cell);
    open_cache(crowd.cell, crowd.m, 11, R1);
    assert_true(keeps(crowd.cell, crowd.m, 12, R1, "/ls/test/d/e7"));
    const size_t before = crowd.cell->allocated;
    uint64_t first = crowd.tag + 1;
    for (uint32_t i = 0; i < CLOSES; i++) {
        const struct service_request close = request_of(SERVICE_SESSION_CLOSE, ++crowd.tag, W1);
        submit(crowd.cell, crowd.m, &close);
    }
    settle(crowd.cell);
    assert_int_equal(held_at(crowd.cell, crowd.m), CLOSES);
    assert_true(crowd.cell->allocated - before < FILES * 512 + CLOSES * 512);
    check(&crowd);
    acknowledge_all(crowd.cell, crowd.m, 13, R1);
    assert_int_equal(held_at(crowd.cell, crowd.m), 0);
    assert_int_equal(outcome_of(crowd.cell, first), SERVICE_DONE);
    check(&crowd);
    cell_free(crowd.cell);
}

/* In a chain of ephemeral directories each may end with the last. */
static void test_marks_have_a_limit(void **state)
{
    (void)state;
    enum { DELETES = 17000, MARKS_MAX = 1000 * 1000 };
    struct crowd crowd = gather(1000);
    open_session(crowd.cell, crowd.m, 10, W1);
    char name[8 + 2 * LEASE_DEPTH_MAX + 1] = "/ls/test";
    for (size_t at = strlen(name); at + 1 < sizeof name; at += 2) {
        memcpy(name + at, "/a", 3);
        struct service_request open = request_of(SERVICE_NODE_OPEN, ++crowd.tag, W1);
        open.name = bytes_of(name, strlen(name));
        open.ephemeral = true;
        open.kind = LEASE_DIRECTORY;
        submit(crowd.cell, crowd.m, &open);
    }
    settle(crowd.cell);
    assert_int_equal(outcome_of(crowd.cell, crowd.tag), SERVICE_DONE);
    open_cache(crowd.cell, crowd.m, 11, R1);
    assert_true(keeps(crowd.cell, crowd.m, 12, R1, "/ls/test/a"));
    watch_crowd(&crowd);
    const size_t before = crowd.cell->allocated;
    command_many(&crowd, SERVICE_DELETE, name, DELETES);
    assert_in_range(held_at(crowd.cell, crowd.m), MARKS_MAX / (LEASE_DEPTH_MAX + 1),
                    MARKS_MAX / (LEASE_DEPTH_MAX + 1) + 1);
    assert_int_equal(crowd.overloaded, DELETES - held_at(crowd.cell, crowd.m));
    assert_true(crowd.cell->allocated - before < 100 * 1024 * 1024);
    cell_free(crowd.cell);
}

/* A million short names may be kept, but not a million long ones. */
static void test_names_have_a_limit(void **state)
{
    (void)state;
    enum { NAMES = 200, LONG = 240 };
    struct crowd crowd = gather(NAMES);
    open_cache(crowd.cell, crowd.m, 10, R1);
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[LONG + 1];
        memset(name, 'x', LONG);
        memcpy(name, "/ls/test/", 9);
        snprintf(name + LONG - 4, 5, "%04u", i);
        ask_cached(crowd.cell, crowd.m, SERVICE_STAT, ++crowd.tag, R1, client_of(R1), name);
    }
    assert_in_range(cached(&crowd), NAMES / 3, NAMES * 2 / 3);
    check(&crowd);
    acknowledge_crowd(&crowd, 1);
    cell_free(crowd.cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_share_what_is_missing_in_a_directory),
        cmocka_unit_test(test_an_absence_kept_again),
        cmocka_unit_test(test_a_directory_that_is_swept_in_turns),
        cmocka_unit_test(test_everything_is_swept_in_turns),
        cmocka_unit_test(test_a_master_that_is_lost_half_way),
        cmocka_unit_test(test_acknowledged_at_once),
        cmocka_unit_test(test_leases_over_at_once),
        cmocka_unit_test(test_caches_begun_anew_at_once),
        cmocka_unit_test(test_sessions_ended_at_once),
        cmocka_unit_test(test_many_ends_of_one_session),
        cmocka_unit_test(test_marks_have_a_limit),
        cmocka_unit_test(test_names_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
