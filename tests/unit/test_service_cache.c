/* SPDX-License-Identifier: Apache-2.0
 *
 * Caches of clients: what a session may keep, and who waits until it has forgotten.
 */
#include "tests/unit/test_service_caching.h"

enum { R1 = 71, R2 = 72, W1 = 81 }; /* Who reads and keeps, who writes. */

static struct told_all told;

static struct cell *start(uint32_t count, uint32_t *ret_master)
{
    struct cell *cell = listen_to(&told, cell_start(count));
    *ret_master = await_master(cell);
    return cell;
}

/* A cell with /ls/test/x, which R1 may keep. */
static struct cell *start_kept(uint32_t *ret_master)
{
    struct cell *cell = start(1, ret_master);
    put(cell, *ret_master, 1, "/ls/test/x", "one");
    assert_int_equal(open_cache(cell, *ret_master, 2, R1), CACHE_LEASE);
    assert_true(keeps(cell, *ret_master, 3, R1, "/ls/test/x"));
    assert_int_equal(status_of(cell, *ret_master).cached, 1);
    return cell;
}

/* ------------------------------------------------------------------- writes */

static void test_a_write_waits_for_all_who_keep(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    open_cache(cell, m, 10, R2);
    assert_true(keeps(cell, m, 11, R2, "/ls/test/x"));

    put(cell, m, 12, "/ls/test/x", "two");
    assert_told(&told, R1, 0, "/x");
    assert_told(&told, R2, 0, "/x");
    assert_true(is_open(cell, 12));
    assert_int_equal(held_at(cell, m), 1);

    acknowledge_all(cell, m, 13, R1);
    assert_true(is_open(cell, 12));
    assert_false(keeps(cell, m, 14, R1, "/ls/test/x")); /* A write to it is under way. */
    acknowledge_all(cell, m, 15, R2);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_int_equal(held_at(cell, m), 0);
    assert_true(keeps(cell, m, 16, R1, "/ls/test/x"));
    assert_int_equal(reply_to(cell, 16)->stat.content_generation, 2);
    assert_int_equal(reply_to(cell, 16)->cache_number, told_to(&told, R1, 0)->number);
    cell_free(cell);
}

static void test_a_write_waits_for_the_lease_of_the_silent(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    const uint64_t answered_ms = answer_to(cell, 2)->at_ms;
    pass(cell, 500);
    put(cell, m, 12, "/ls/test/x", "two");
    pass(cell, answered_ms + CACHE_LEASE - 1 - cell->now_ms);
    assert_true(is_open(cell, 12));
    pass(cell, 1);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    cell_free(cell);
}

static void test_a_second_write_waits_for_the_same_word(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    put(cell, m, 12, "/ls/test/x", "two");
    ask(cell, m, SERVICE_PUT, 2, 13, "/ls/test/x", "three");
    settle(cell);
    assert_int_equal(told.count, 1); /* It is told once. */
    assert_true(is_open(cell, 12) && is_open(cell, 13));
    acknowledge(cell, m, 14, R1, told.forgets[0].number - 1); /* Of an earlier one: none. */
    assert_true(is_open(cell, 12) && is_open(cell, 13));
    acknowledge(cell, m, 15, R1, told.forgets[0].number);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 13), SERVICE_DONE);
    cell_free(cell);
}

static void test_what_nobody_keeps_is_written_at_once(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    put(cell, m, 12, "/ls/test/y", "made"); /* Nobody keeps the root, either. */
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_int_equal(told.count, 0);
    cell_free(cell);
}

static void test_later_commands_of_a_session_stay_behind(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    open_session(cell, m, 10, W1);
    struct service_request first = request_of(SERVICE_PUT, 20, W1);
    first.name = bytes_of("/ls/test/x", 10);
    first.content = bytes_of("two", 3);
    struct service_request second = request_of(SERVICE_PUT, 21, W1);
    second.name = bytes_of("/ls/test/y", 10);
    submit(cell, m, &first);
    submit(cell, m, &second);
    put(cell, m, 22, "/ls/test/z", "of nobody's session");
    ask(cell, m, SERVICE_GET, 1, 23, "/ls/test/x", "");
    settle(cell);
    assert_true(is_open(cell, 20) && is_open(cell, 21));
    assert_int_equal(outcome_of(cell, 22), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 23), SERVICE_DONE); /* Reads don't wait. */
    assert_string_equal(answer_to(cell, 23)->content, "one");
    keepalive(cell, m, 24, W1);
    pass(cell, 150);
    assert_int_equal(outcome_of(cell, 24), SERVICE_DONE);

    acknowledge_all(cell, m, 25, R1);
    assert_int_equal(outcome_of(cell, 20), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 21), SERVICE_DONE);
    assert_true(reply_to(cell, 20)->revision < reply_to(cell, 21)->revision);
    cell_free(cell);
}

static void test_a_cancel_overtakes_what_is_held(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    open_session(cell, m, 10, W1);
    assert_false(
        ask_cached(cell, m, SERVICE_STAT, 11, R1, client_of(R1), "/ls/test/lock")->rc ==
        LEASE_OK);
    acquire(cell, m, 20, W1, "/ls/test/lock"); /* Makes what R1 knows to be absent. */
    settle(cell);
    assert_true(is_open(cell, 20));
    struct service_request cancel = request_of(SERVICE_LOCK_CANCEL, 21, W1);
    cancel.cancel = 20;
    submit(cell, m, &cancel);
    settle(cell);
    assert_refused(cell, 21, LEASE_CANCELLED);
    assert_true(is_open(cell, 20));
    acknowledge_all(cell, m, 22, R1);
    assert_refused(cell, 20, LEASE_CANCELLED); /* It has taken no effect. */
    cell_free(cell);
}

/* Two leave the cell at once; each has to see what the session has by then. */
static void test_a_close_waits_for_what_its_session_has_proposed(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    open_session(cell, m, 10, W1);
    cell->replica[m].stalled = true;
    struct service_request make = request_of(SERVICE_NODE_OPEN, 20, W1);
    make.name = bytes_of("/ls/test/e", 10);
    make.ephemeral = true;
    submit(cell, m, &make);
    const struct service_request close = request_of(SERVICE_SESSION_CLOSE, 21, W1);
    submit(cell, m, &close);
    settle(cell);
    assert_int_equal(held_at(cell, m), 1);
    cell->replica[m].stalled = false;
    settle(cell);
    assert_int_equal(outcome_of(cell, 20), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 21), SERVICE_DONE);
    assert_int_equal(held_at(cell, m), 0);
    ask(cell, m, SERVICE_GET, 1, 22, "/ls/test/e", "");
    settle(cell);
    assert_refused(cell, 22, LEASE_NO_NODE);
    cell_free(cell);
}

/* -------------------------------------------------------------------- fills */

static void test_absence_is_kept_where_it_could_end(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    assert_true(keeps(cell, m, 10, R1, "/ls/test/none"));
    assert_refused(cell, 10, LEASE_NO_NODE);
    assert_false(keeps(cell, m, 11, R1, "/ls/test/none/below"));
    assert_false(keeps(cell, m, 12, R1, "/ls/test/x/below")); /* x is a file. */
    put(cell, m, 13, "/ls/test/none", "now");
    assert_told(&told, R1, 0, "/none");
    acknowledge_all(cell, m, 14, R1);
    assert_int_equal(outcome_of(cell, 13), SERVICE_DONE);
    cell_free(cell);
}

static void test_who_may_not_keep(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    const char *x = "/ls/test/x";
    /* Over another connection, with another's secret, without a cache, a list. */
    assert_false(ask_cached(cell, m, SERVICE_GET, 10, R1, 555, x)->cached);
    struct service_request request = cache_request_of(SERVICE_GET, 11, R1);
    request.name = bytes_of(x, strlen(x));
    request.secret = bytes_of("wrong", 5);
    submit(cell, m, &request);
    settle(cell);
    assert_refused(cell, 11, LEASE_DENIED);
    request = cache_request_of(SERVICE_GET, 12, R1);
    request.name = bytes_of(x, strlen(x));
    request.principal = bytes_of("q", 1);
    submit(cell, m, &request);
    settle(cell);
    assert_refused(cell, 12, LEASE_DENIED);
    open_session(cell, m, 13, W1);
    assert_false(keeps(cell, m, 14, W1, x));
    assert_false(ask_cached(cell, m, SERVICE_LIST, 15, R1, client_of(R1), "/ls/test")->cached);
    request = cache_request_of(SERVICE_GET, 16, R1);
    request.name = bytes_of(x, strlen(x));
    request.cache = false;
    submit(cell, m, &request);
    settle(cell);
    assert_false(reply_to(cell, 16)->cached);

    /* Who does so twice is registered once. */
    assert_true(keeps(cell, m, 17, R1, x));
    assert_int_equal(status_of(cell, m).cached, 1);
    cell_free(cell);
}

static void test_nothing_is_kept_while_a_write_is_under_way(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start(3, &m);
    put(cell, m, 1, "/ls/test/x", "one");
    open_cache(cell, m, 2, R1);
    for (uint32_t i = 0; i < 3; i++) {
        cell->replica[i].stalled = i != m;
    }
    put(cell, m, 3, "/ls/test/x", "two"); /* Proposed; no majority has it. */
    assert_true(is_open(cell, 3));
    assert_false(keeps(cell, m, 4, R1, "/ls/test/x"));
    assert_int_equal(reply_to(cell, 4)->stat.content_generation, 1);
    assert_true(keeps(cell, m, 5, R1, "/ls/test/y"));
    for (uint32_t i = 0; i < 3; i++) {
        cell->replica[i].stalled = false;
    }
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_int_equal(told.count, 0);
    assert_true(keeps(cell, m, 6, R1, "/ls/test/x"));
    cell_free(cell);
}

/* The oldest write of a disk that is slow. */
static void sync_first(struct cell *cell, uint32_t index)
{
    struct replica *r = &cell->replica[index];
    assert_true(r->writes_count > 0);
    struct write first = r->writes[0];
    memmove(r->writes, r->writes + 1, --r->writes_count * sizeof *r->writes);
    write_apply(&r->disk, &first);
    service_durable(r->s, cell->now_ms, first.ticket);
    write_free(&first);
    r->more = true;
    settle(cell);
}

/* Nobody looked at what was proposed before the first cache was declared. */
static void test_nothing_is_kept_before_older_writes_are_applied(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start(1, &m);
    put(cell, m, 1, "/ls/test/x", "one");
    cell->replica[m].stalled = true;
    struct service_request request = cache_request_of(SERVICE_SESSION_OPEN, 2, R1);
    request.lease_ms = LONG_LEASE;
    submit(cell, m, &request);
    settle(cell);
    put(cell, m, 3, "/ls/test/x", "two"); /* In the next slot. */
    sync_first(cell, m);
    assert_int_equal(outcome_of(cell, 2), SERVICE_DONE);
    assert_true(is_open(cell, 3));
    assert_false(keeps(cell, m, 4, R1, "/ls/test/x"));
    assert_false(keeps(cell, m, 5, R1, "/ls/test/y"));
    sync_first(cell, m);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_true(keeps(cell, m, 6, R1, "/ls/test/x"));
    assert_int_equal(reply_to(cell, 6)->stat.content_generation, 2);
    cell_free(cell);
}

/* In the state that is applied y is there; when the write takes effect it is not. */
static void test_a_write_makes_what_an_earlier_command_ends(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    put(cell, m, 10, "/ls/test/y", "one");
    cell->replica[m].stalled = true;
    ask(cell, m, SERVICE_DELETE, 1, 11, "/ls/test/y", "");
    settle(cell);
    put(cell, m, 12, "/ls/test/y", "two");
    sync_first(cell, m);
    assert_int_equal(outcome_of(cell, 11), SERVICE_DONE);
    assert_true(is_open(cell, 12));
    assert_false(keeps(cell, m, 13, R1, "/ls/test")); /* It is to have one child more. */
    sync_first(cell, m);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_true(keeps(cell, m, 14, R1, "/ls/test"));
    cell_free(cell);
}

/* The same, of a command that is held when the other one overtakes it. */
static void test_what_is_held_is_looked_at_again(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    put(cell, m, 10, "/ls/test/y", "one");
    open_session(cell, m, 11, W1);
    struct service_request write = request_of(SERVICE_PUT, 20, W1);
    write.name = bytes_of("/ls/test/x", 10);
    submit(cell, m, &write);
    write.tag = write.request = 21;
    write.name = bytes_of("/ls/test/y", 10);
    submit(cell, m, &write);
    ask(cell, m, SERVICE_DELETE, 2, 22, "/ls/test/y", "");
    settle(cell);
    assert_true(is_open(cell, 20) && is_open(cell, 21));
    assert_int_equal(outcome_of(cell, 22), SERVICE_DONE);
    assert_true(keeps(cell, m, 23, R1, "/ls/test"));

    acknowledge(cell, m, 24, R1, told.forgets[0].number); /* Of x. */
    assert_int_equal(outcome_of(cell, 20), SERVICE_DONE);
    assert_told(&told, R1, 1, "/");
    assert_true(is_open(cell, 21));
    acknowledge_all(cell, m, 25, R1);
    assert_int_equal(outcome_of(cell, 21), SERVICE_DONE);
    assert_true(reply_to(cell, 21)->created);
    cell_free(cell);
}

static void test_limits_end_in_not_cached(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->cached_max = 2;
    replica_start(cell, 0);
    listen_to(&told, cell);
    const uint32_t m = await_master(cell);
    open_cache(cell, m, 1, R1);
    assert_true(keeps(cell, m, 2, R1, "/ls/test/a"));
    assert_true(keeps(cell, m, 3, R1, "/ls/test/b"));
    assert_false(keeps(cell, m, 4, R1, "/ls/test/c"));
    assert_true(keeps(cell, m, 5, R1, "/ls/test/a")); /* It does already. */
    put(cell, m, 6, "/ls/test/a", "");
    acknowledge_all(cell, m, 7, R1);
    assert_true(keeps(cell, m, 8, R1, "/ls/test/c"));
    cell_free(cell);
}

static void test_a_cell_may_have_no_cache_lease(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->cache_lease_ms = 0;
    replica_start(cell, 0);
    listen_to(&told, cell);
    const uint32_t m = await_master(cell);
    assert_int_equal(open_cache(cell, m, 1, R1), 0);
    assert_int_equal(begin_cache(cell, m, 2, R1, client_of(R1))->cache_ms, 0);
    assert_false(keeps(cell, m, 3, R1, "/ls/test/x"));
    put(cell, m, 4, "/ls/test/x", "");
    assert_int_equal(outcome_of(cell, 4), SERVICE_DONE);
    cell_free(cell);
}

/* ------------------------------------------------------------ more than a line */

static void test_many_names_take_several_invalidations(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start(1, &m);
    cell->unchecked = true;
    open_session(cell, m, 1, W1);
    open_cache(cell, m, 2, R1);
    uint64_t tag = 10;
    enum { MANY = SERVICE_INVALIDATE_MAX + 1 };
    for (int i = 0; i < MANY; i++) { /* Ephemeral nodes that go with their session. */
        char name[64];
        snprintf(name, sizeof name, "/ls/test/e%04d", i);
        struct service_request make = request_of(SERVICE_NODE_OPEN, ++tag, W1);
        make.name = bytes_of(name, strlen(name));
        make.ephemeral = true;
        make.ack_floor = tag - 1;
        submit(cell, m, &make);
        if (i % 200 == 199) {
            settle(cell);
        }
    }
    settle(cell);
    for (int i = 0; i < MANY; i++) {
        char name[64];
        snprintf(name, sizeof name, "/ls/test/e%04d", i);
        assert_true(keeps(cell, m, ++tag, R1, name));
    }
    cell->unchecked = false;
    const struct service_request close = request_of(SERVICE_SESSION_CLOSE, 9, W1);
    struct service_request last = close;
    last.request = tag + 1;
    submit(cell, m, &last);
    settle(cell);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.forgets[1].number, told.forgets[0].number + 1);
    acknowledge(cell, m, tag + 2, R1, told.forgets[0].number);
    assert_true(is_open(cell, 9));
    acknowledge(cell, m, tag + 3, R1, told.forgets[1].number);
    assert_int_equal(outcome_of(cell, 9), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).cached, 0);
    cell_free(cell);
}

static void test_held_commands_take_half_of_the_queue(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->commands_max = 6;
    replica_start(cell, 0);
    listen_to(&told, cell);
    const uint32_t m = await_master(cell);
    open_cache(cell, m, 1, R1);
    assert_true(keeps(cell, m, 2, R1, "/ls/test/x"));
    for (uint64_t tag = 10; tag < 13; tag++) {
        put(cell, m, tag, "/ls/test/x", "");
    }
    put(cell, m, 13, "/ls/test/x", "");
    assert_int_equal(outcome_of(cell, 13), SERVICE_OVERLOADED);
    assert_int_equal(held_at(cell, m), 3);
    ask(cell, m, SERVICE_PUT, 2, 16, "/ls/test/y", ""); /* Nobody is waited for. */
    settle(cell);
    assert_int_equal(outcome_of(cell, 16), SERVICE_DONE);
    acknowledge_all(cell, m, 14, R1);
    for (uint64_t tag = 10; tag < 13; tag++) {
        assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    }
    put(cell, m, 15, "/ls/test/y", "");
    assert_int_equal(outcome_of(cell, 15), SERVICE_DONE);
    cell_free(cell);
}

/* ------------------------------------------------------------------- rights */

static void test_a_list_that_changes_drops_everything(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    ask(cell, m, SERVICE_CREATE, 1, 10, "/ls/test/acl", NULL);
    settle(cell);
    assert_true(keeps(cell, m, 11, R1, "/ls/test/none"));
    put(cell, m, 12, "/ls/test/acl/people", "p");
    assert_told(&told, R1, 0, "*");
    assert_true(is_open(cell, 12));
    assert_false(keeps(cell, m, 13, R1, "/ls/test/other")); /* Nothing at all. */
    acknowledge_all(cell, m, 14, R1);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).cached, 0);
    assert_true(keeps(cell, m, 15, R1, "/ls/test/other"));
    cell_free(cell);
}

static void test_names_that_change_drop_the_absence_below(void **state)
{
    (void)state;
    uint32_t m;
    struct cell *cell = start_kept(&m);
    ask(cell, m, SERVICE_CREATE, 1, 10, "/ls/test/d", NULL);
    settle(cell);
    assert_true(keeps(cell, m, 11, R1, "/ls/test/d/none"));
    struct service_request request = request_of(SERVICE_SET_ACL, 12, 0);
    request.request = 0;
    request.name = bytes_of("/ls/test/d", 10);
    request.acl[LEASE_READ] = bytes_of("", 0);
    request.acl[LEASE_CHANGE] = bytes_of("", 0);
    submit(cell, m, &request);
    settle(cell);
    assert_told(&told, R1, 0, "/d/none");
    assert_false(keeps(cell, m, 13, R1, "/ls/test/d/other"));
    acknowledge_all(cell, m, 14, R1);
    assert_int_equal(outcome_of(cell, 12), SERVICE_DONE);
    assert_true(keeps(cell, m, 15, R1, "/ls/test/d/none"));
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_write_waits_for_all_who_keep),
        cmocka_unit_test(test_a_write_waits_for_the_lease_of_the_silent),
        cmocka_unit_test(test_a_second_write_waits_for_the_same_word),
        cmocka_unit_test(test_what_nobody_keeps_is_written_at_once),
        cmocka_unit_test(test_later_commands_of_a_session_stay_behind),
        cmocka_unit_test(test_a_cancel_overtakes_what_is_held),
        cmocka_unit_test(test_a_close_waits_for_what_its_session_has_proposed),
        cmocka_unit_test(test_absence_is_kept_where_it_could_end),
        cmocka_unit_test(test_who_may_not_keep),
        cmocka_unit_test(test_nothing_is_kept_while_a_write_is_under_way),
        cmocka_unit_test(test_nothing_is_kept_before_older_writes_are_applied),
        cmocka_unit_test(test_a_write_makes_what_an_earlier_command_ends),
        cmocka_unit_test(test_what_is_held_is_looked_at_again),
        cmocka_unit_test(test_limits_end_in_not_cached),
        cmocka_unit_test(test_a_cell_may_have_no_cache_lease),
        cmocka_unit_test(test_many_names_take_several_invalidations),
        cmocka_unit_test(test_held_commands_take_half_of_the_queue),
        cmocka_unit_test(test_a_list_that_changes_drops_everything),
        cmocka_unit_test(test_names_that_change_drop_the_absence_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
