/* SPDX-License-Identifier: Apache-2.0
 *
 * Cache leases: connections that come and go, masters that follow one another, and what
 * the keeper may end meanwhile.
 */
#include "tests/unit/test_service_caching.h"

enum { R1 = 71, R2 = 72, W1 = 81, OTHER = 555 };

static struct told_all told;

static struct cell *start(uint32_t count, uint32_t *ret_master)
{
    struct cell *cell = listen_to(&told, cell_start(count));
    *ret_master = await_master(cell);
    return cell;
}

static struct cell *start_kept(uint32_t count, uint32_t *ret_master)
{
    struct cell *cell = start(count, ret_master);
    put(cell, *ret_master, 1, "/ls/test/x", "one");
    assert_int_equal(open_cache(cell, *ret_master, 2, R1), CACHE_LEASE);
    assert_true(keeps(cell, *ret_master, 3, R1, "/ls/test/x"));
    return cell;
}

/* ------------------------------------------------------------------ connections */

static void test_a_lease_is_renewed_over_its_connection_only(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    assert_int_equal(renew_cache(cell, m, 10, R1, OTHER), 0);
    assert_int_equal(renew_cache(cell, m, 11, R1, client_of(R1)), CACHE_LEASE);
    const uint64_t renewed_ms = answer_to(cell, 11)->at_ms;
    put(cell, m, 12, "/ls/test/x", "two");
    pass(cell, renewed_ms + CACHE_LEASE - 1 - cell->now_ms);
    assert_true(is_open(cell, 12));
    pass(cell, 1);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    cell_free(cell);
}

static void test_a_short_session_has_a_short_cache_lease(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start(1, &m);
    struct service_request request = cache_request_of(SERVICE_SESSION_OPEN, 1, R1);
    request.lease_ms = 2000;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(reply_to(cell, 1)->cache_ms, 2000);
    /* A cache lease doesn't outlast that of its session. */
    pass(cell, 500);
    assert_int_equal(begin_cache(cell, m, 2, R1, client_of(R1))->cache_ms, 1500);
    cell_free(cell);
}

static void test_to_begin_anew_is_to_acknowledge(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    put(cell, m, 10, "/ls/test/x", "two");
    const struct service_reply *begun = begin_cache(cell, m, 11, R1, client_of(R1));
    assert_int_equal(begun->cache_ms, CACHE_LEASE);
    assert_int_equal(begun->cache_number, told.forgets[0].number);
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).cached, 0);
    cell_free(cell);
}

/* It may be a word from a connection given up long ago, that comes late. */
static void test_what_another_connection_was_granted_stays(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    const uint64_t answered_ms = answer_to(cell, 2)->at_ms;
    pass(cell, 100);
    assert_int_equal(begin_cache(cell, m, 10, R1, OTHER)->cache_ms, CACHE_LEASE);
    assert_false(keeps(cell, m, 11, R1, "/ls/test/y")); /* Not over that one any more. */
    assert_true(ask_cached(cell, m, SERVICE_GET, 12, R1, OTHER, "/ls/test/y")->cached);
    put(cell, m, 13, "/ls/test/x", "two");
    assert_int_equal(told.count, 0); /* Nobody listens there. */
    pass(cell, answered_ms + CACHE_LEASE - 1 - cell->now_ms);
    assert_true(is_open(cell, 13));
    pass(cell, 1);
    assert_int_equal(outcome_of(cell, 13), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).cached, 1);
    cell_free(cell);
}

static void test_a_lost_connection_is_waited_for(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    put(cell, m, 10, "/ls/test/x", "two");
    service_forget(cell->replica[m].s, client_of(R1));
    cell->replica[m].more = true;
    ask(cell, m, SERVICE_PUT, 2, 11, "/ls/test/x", "three");
    settle(cell);
    assert_true(is_open(cell, 10) && is_open(cell, 11));
    assert_int_equal(renew_cache(cell, m, 12, R1, client_of(R1)), 0);
    pass(cell, CACHE_LEASE);
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 11), SERVICE_DONE);
    assert_int_equal(begin_cache(cell, m, 13, R1, client_of(R1))->cache_ms, CACHE_LEASE);
    assert_true(keeps(cell, m, 14, R1, "/ls/test/x"));
    cell_free(cell);
}

static void test_a_session_that_ends_keeps_nothing(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    put(cell, m, 10, "/ls/test/x", "two");
    assert_true(is_open(cell, 10));
    const struct service_request close = cache_request_of(SERVICE_SESSION_CLOSE, 11, R1);
    submit(cell, m, &close);
    settle(cell);
    assert_int_equal(outcome_of(cell, 11), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).cached, 0);
    cell_free(cell);
}

/* The client goes on to use what it keeps when its lease is renewed late; so it hears of
 * what was changed meanwhile, and before that. */
static void test_who_comes_back_late_is_told_first(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    assert_true(keeps(cell, m, 4, R1, "/ls/test/y"));
    pass(cell, CACHE_LEASE);
    assert_false(keeps(cell, m, 5, R1, "/ls/test/z"));
    put(cell, m, 10, "/ls/test/x", "two");
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE); /* Nobody is waited for. */
    assert_told(&told, R1, 0, "/x");
    assert_int_equal(renew_cache(cell, m, 11, R1, client_of(R1)), CACHE_LEASE);
    put(cell, m, 12, "/ls/test/y", "one");
    assert_told(&told, R1, 1, "/y"); /* It still has that. */
    assert_true(is_open(cell, 12));
    acknowledge_all(cell, m, 13, R1);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    cell_free(cell);
}

/* Or a client that renews its lease and never acknowledges would stop all writers. */
static void test_who_never_acknowledges_loses_the_lease(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    put(cell, m, 10, "/ls/test/x", "two");
    const uint64_t asked_ms = cell->now_ms;
    uint64_t tag = 20;
    while (is_open(cell, 10)) {
        renew_cache(cell, m, ++tag, R1, client_of(R1));
        pass(cell, CACHE_LEASE / 3);
        assert_true(cell->now_ms < asked_ms + 2 * CACHE_LEASE);
    }
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    cell_free(cell);
}

/* ---------------------------------------------------------------------- masters */

/* Another master, after the one that there is is cut off. */
static uint32_t depose(struct cell *cell, uint32_t master)
{
    cell->replica[master].cut = true;
    return await_master(cell);
}

static void test_a_new_master_waits_for_all_who_may_keep(void **state)
{
    (void)state;
    uint32_t old;
    struct cell *cell = start_kept(3, &old);
    open_cache(cell, old, 5, R2);
    const uint32_t m = depose(cell, old);
    const uint64_t serves_ms = cell->now_ms;
    put(cell, m, 10, "/ls/test/other", "");
    ask(cell, m, SERVICE_GET, 1, 11, "/ls/test/x", "");
    settle(cell);
    assert_true(is_open(cell, 10));
    assert_int_equal(outcome_of(cell, 11), SERVICE_DONE); /* Reads go on. */
    assert_int_equal(begin_cache(cell, m, 12, R1, client_of(R1))->cache_ms, CACHE_LEASE);
    assert_true(keeps(cell, m, 13, R1, "/ls/test/x"));
    begin_cache(cell, m, 14, R1, client_of(R1)); /* It counts once. */
    assert_true(is_open(cell, 10));
    begin_cache(cell, m, 15, R2, client_of(R2));
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    assert_true(cell->now_ms < serves_ms + 1000);
    cell_free(cell);
}

static void test_a_new_master_waits_one_lease_at_most(void **state)
{
    (void)state;
    uint32_t old;
    struct cell *cell = start_kept(3, &old);
    const uint32_t m = depose(cell, old);
    const uint64_t serves_ms = cell->now_ms;
    put(cell, m, 10, "/ls/test/x", "two");
    pass(cell, CACHE_LEASE - 2);
    assert_true(is_open(cell, 10));
    pass(cell, 3);
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    assert_true(cell->now_ms <= serves_ms + CACHE_LEASE + 2);
    cell_free(cell);
}

static void test_without_caches_a_new_master_does_not_wait(void **state)
{
    (void)state;
    uint32_t old;
    struct cell *cell = start_kept(3, &old);
    const struct service_request close = cache_request_of(SERVICE_SESSION_CLOSE, 5, R1);
    submit(cell, old, &close);
    settle(cell);
    pass(cell, 500); /* The others hear of it. */
    open_session(cell, old, 6, W1);
    const uint32_t m = depose(cell, old);
    put(cell, m, 10, "/ls/test/x", "two");
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    cell_free(cell);
}

static void test_what_is_held_ends_with_the_mastership(void **state)
{
    (void)state;
    uint32_t old;
    struct cell *cell = start_kept(3, &old);
    put(cell, old, 10, "/ls/test/x", "two");
    assert_true(is_open(cell, 10));
    const uint32_t m = depose(cell, old);
    pass(cell, 100);
    assert_int_equal(outcome_of(cell, 10), SERVICE_NOT_MASTER);
    assert_int_equal(held_at(cell, old), 0);
    assert_int_equal(status_of(cell, old).cached, 0);
    pass(cell, CACHE_LEASE);
    ask(cell, m, SERVICE_GET, 1, 11, "/ls/test/x", "");
    settle(cell);
    assert_string_equal(answer_to(cell, 11)->content, "one"); /* It was never proposed. */
    cell_free(cell);
}

static void test_a_clean_shutdown_waits_for_what_is_held(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    put(cell, m, 10, "/ls/test/x", "two");
    service_hand_over(cell->replica[m].s, cell->now_ms);
    cell->replica[m].more = true;
    settle(cell);
    assert_true(is_open(cell, 10));
    acknowledge_all(cell, m, 11, R1);
    assert_int_equal(outcome_of(cell, 10), SERVICE_DONE);
    pass(cell, 1000);
    assert_true(service_idle(cell->replica[m].s));
    cell_free(cell);
}

/* ----------------------------------------------------------------------- keeper */

static void open_ephemeral(struct cell *cell, uint32_t m, uint64_t tag, const char *name)
{
    struct service_request make = request_of(SERVICE_NODE_OPEN, tag, W1);
    make.name = bytes_of(name, strlen(name));
    make.ephemeral = true;
    submit(cell, m, &make);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
}

static void test_an_expiry_waits_for_who_keeps_what_goes(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    open_session(cell, m, 5, W1);
    open_ephemeral(cell, m, 6, "/ls/test/e");
    assert_true(keeps(cell, m, 7, R1, "/ls/test/e"));
    assert_true(keeps(cell, m, 8, R1, "/ls/test"));
    pass(cell, LEASE);
    assert_told(&told, R1, 0, "/ /e");
    assert_true(lives(cell, m, W1));
    pass(cell, 200);
    assert_true(lives(cell, m, W1));
    assert_int_equal(told.count, 1);
    acknowledge_all(cell, m, 9, R1);
    pass(cell, 1);
    assert_false(lives(cell, m, W1));
    assert_true(keeps(cell, m, 10, R1, "/ls/test/e"));
    assert_refused(cell, 10, LEASE_NO_NODE);
    cell_free(cell);
}

static void test_who_is_heard_of_meanwhile_lives(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    open_session(cell, m, 5, W1);
    open_ephemeral(cell, m, 6, "/ls/test/e");
    assert_true(keeps(cell, m, 7, R1, "/ls/test/e"));
    pass(cell, LEASE + 100);
    assert_told(&told, R1, 0, "/e");
    assert_false(keeps(cell, m, 8, R1, "/ls/test/e"));
    keepalive(cell, m, 9, W1);
    pass(cell, 150);
    assert_int_equal(outcome_of(cell, 9), SERVICE_DONE);
    acknowledge_all(cell, m, 10, R1);
    pass(cell, 300);
    assert_true(lives(cell, m, W1));
    assert_true(keeps(cell, m, 11, R1, "/ls/test/e")); /* Nobody is about to end it. */
    assert_int_equal(reply_to(cell, 11)->rc, LEASE_OK);
    cell_free(cell);
}

static void test_nothing_is_kept_while_an_expiry_is_on_its_way(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    open_session(cell, m, 5, W1);
    open_ephemeral(cell, m, 6, "/ls/test/e");
    pass(cell, LEASE - 5);
    cell->replica[m].stalled = true;
    assert_true(keeps(cell, m, 7, R1, "/ls/test/other"));
    pass(cell, 50);
    assert_true(lives(cell, m, W1));
    assert_false(keeps(cell, m, 8, R1, "/ls/test/e"));
    assert_false(keeps(cell, m, 9, R1, "/ls/test"));
    cell->replica[m].stalled = false;
    pass(cell, 5);
    assert_false(lives(cell, m, W1));
    assert_true(keeps(cell, m, 10, R1, "/ls/test/e"));
    assert_refused(cell, 10, LEASE_NO_NODE);
    cell_free(cell);
}

static void test_an_expiry_waits_one_lease_at_most(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(1, &m);
    const uint64_t answered_ms = answer_to(cell, 2)->at_ms;
    open_session(cell, m, 5, W1);
    open_ephemeral(cell, m, 6, "/ls/test/e");
    assert_true(keeps(cell, m, 7, R1, "/ls/test/e"));
    pass(cell, answered_ms + CACHE_LEASE - 1 - cell->now_ms);
    assert_true(lives(cell, m, W1));
    pass(cell, 50);
    assert_false(lives(cell, m, W1));
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_renewed_over_its_connection_only),
        cmocka_unit_test(test_a_short_session_has_a_short_cache_lease),
        cmocka_unit_test(test_to_begin_anew_is_to_acknowledge),
        cmocka_unit_test(test_what_another_connection_was_granted_stays),
        cmocka_unit_test(test_a_lost_connection_is_waited_for),
        cmocka_unit_test(test_a_session_that_ends_keeps_nothing),
        cmocka_unit_test(test_who_comes_back_late_is_told_first),
        cmocka_unit_test(test_who_never_acknowledges_loses_the_lease),
        cmocka_unit_test(test_a_new_master_waits_for_all_who_may_keep),
        cmocka_unit_test(test_a_new_master_waits_one_lease_at_most),
        cmocka_unit_test(test_without_caches_a_new_master_does_not_wait),
        cmocka_unit_test(test_what_is_held_ends_with_the_mastership),
        cmocka_unit_test(test_a_clean_shutdown_waits_for_what_is_held),
        cmocka_unit_test(test_an_expiry_waits_for_who_keeps_what_goes),
        cmocka_unit_test(test_who_is_heard_of_meanwhile_lives),
        cmocka_unit_test(test_nothing_is_kept_while_an_expiry_is_on_its_way),
        cmocka_unit_test(test_an_expiry_waits_one_lease_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
