/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks through a whole cell: who holds, who waits, and who is told of it, over
 * lost masters and lost replies.
 */
#include "tests/unit/test_service_requests.h"

/* -------------------------------------------------------------------- locks */

static void locks(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/lock");
    acquire(cell, m, 4, 12, "/ls/local/lock");
    struct service_request request = acquire_of(5, 12, "/ls/test/lock");
    request.wait = false;
    request.handle = 2;
    submit(cell, m, &request);
    settle(cell);
    const struct service_reply *first = reply_to(cell, 3);
    assert_int_equal(first->outcome, SERVICE_DONE);
    assert_string_equal(answer_to(cell, 3)->content, "lock:exclusive");
    assert_true(first->token > 0 && first->created);
    assert_null(answer_to(cell, 4));
    assert_refused(cell, 5, LEASE_LOCKED);

    release(cell, m, 6, 12, "/ls/test/lock", first->token);
    release(cell, m, 7, 11, "/ls/test/lock", first->token);
    settle(cell);
    assert_refused(cell, 6, LEASE_NOT_HELD);
    assert_int_equal(outcome_of(cell, 7), SERVICE_DONE);
    const struct service_reply *second = reply_to(cell, 4);
    assert_int_equal(second->outcome, SERVICE_DONE); /* Handed over in the same apply. */
    assert_int_equal(second->slot, reply_to(cell, 7)->slot);
    assert_int_equal(second->position, reply_to(cell, 7)->position);
    assert_true(second->token > first->token);
    assert_string_equal(answer_to(cell, 4)->content, "lock:exclusive");
    cell_free(cell);
}

static void cancels_and_limits(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/lock");
    acquire(cell, m, 4, 12, "/ls/test/lock");
    struct service_request request = acquire_of(5, 12, "/ls/test/lock");
    request.handle = 2;
    request.wait_ms = 300;
    submit(cell, m, &request);
    settle(cell);
    request = request_of(SERVICE_LOCK_CANCEL, 6, 12);
    request.cancel = 4;
    submit(cell, m, &request);
    settle(cell);
    assert_refused(cell, 4, LEASE_CANCELLED);
    assert_non_null(answer_to(cell, 6));

    pass(cell, 200); /* A retry joins, and begins no time of its own. */
    request = acquire_of(7, 12, "/ls/test/lock");
    request.handle = 2;
    request.request = 5;
    request.client = 2;
    request.wait_ms = 300;
    submit(cell, m, &request);
    pass(cell, 99);
    assert_int_equal(outcome_of(cell, 5), SERVICE_UNKNOWN); /* Another took its place. */
    assert_null(answer_to(cell, 7));
    pass(cell, 1);
    assert_refused(cell, 7, LEASE_LOCKED);
    assert_int_equal(status_of(cell, m).counts.waiting, 0);

    /* The same id with another command is answered all the same. */
    acquire(cell, m, 8, 12, "/ls/test/lock");
    settle(cell);
    request = request_of(SERVICE_PUT, 9, 12);
    request.name = bytes_of("/ls/test/f", 10);
    request.request = 8;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, 8), SERVICE_UNKNOWN);
    release(cell, m, 10, 11, "/ls/test/lock", reply_to(cell, 3)->token);
    settle(cell);
    assert_int_equal(outcome_of(cell, 9), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).counts.nodes, 2);
    cell_free(cell);
}

/* Clients that are gone are told nothing; their waits go on, and can be joined. */
static void forgotten_waiters(void **state)
{
    (void)state;
    enum { WAITERS = 400 };
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    static char name[300] = "/ls/test/";
    memset(name + 9, 'n', 200); /* Longer than what a waiter has room for. */
    acquire(cell, m, 3, 11, name);
    for (uint32_t i = 0; i < WAITERS; i++) {
        struct service_request request = acquire_of(100 + i, 12, name);
        request.handle = i;
        request.mode = LEASE_SHARED;
        request.client = 10 + i % 7;
        submit(cell, m, &request);
        if (i % 20 == 19) {
            settle(cell);
        }
    }
    for (uint32_t client = 10; client < 14; client++) {
        service_forget(cell->replica[m].s, client);
    }
    struct service_request retry = acquire_of(900, 12, name);
    retry.request = 100;
    retry.handle = 0;
    submit(cell, m, &retry);
    settle(cell);
    release(cell, m, 4, 11, name, reply_to(cell, 3)->token);
    settle(cell);
    for (uint32_t i = 0; i < WAITERS; i++) {
        const struct answer *answer = answer_to(cell, 100 + i);
        assert_int_equal(answer == NULL, i % 7 < 4);
        if (answer != NULL) {
            assert_int_equal(answer->reply.outcome, SERVICE_DONE);
            assert_int_equal(strlen(answer->content), 200 + strlen(":shared"));
        }
    }
    assert_int_equal(outcome_of(cell, 900), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).counts.held, WAITERS);
    cell_free(cell);
}

static void lists(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    static const char *const names[] = {"/ls/test/a", "/ls/test/b", "/ls/test/c"};
    for (uint32_t i = 0; i < 3; i++) {
        acquire(cell, m, 10 + 2 * i, 11, names[i]);
        acquire(cell, m, 11 + 2 * i, 12, names[i]);
    }
    ask(cell, m, SERVICE_PUT, 1, 3, "/ls/test/free", "x");
    settle(cell);

    struct service_request list = request_of(SERVICE_LOCK_LIST, 20, 0);
    submit(cell, m, &list);
    list.tag = 21;
    list.limit = 3;
    submit(cell, m, &list);
    list.tag = 22;
    list.limit = 1;
    list.skip = 1;
    list.name = bytes_of("/ls/test/b", 10);
    submit(cell, m, &list);
    list.tag = 23;
    list.skip = 0;
    submit(cell, m, &list);
    list.tag = 24;
    list.name = bytes_of("/ls/test/free", 13);
    submit(cell, m, &list);
    list.tag = 25;
    list.name = bytes_of("/ls/test/none", 13);
    submit(cell, m, &list);
    settle(cell);
    assert_string_equal(answer_to(cell, 20)->content, "a=1+1 b=1+1 c=1+1");
    assert_false(reply_to(cell, 20)->more);
    assert_string_equal(answer_to(cell, 21)->content, "a=1+1 b=1+0...");
    assert_true(reply_to(cell, 21)->more);
    assert_string_equal(answer_to(cell, 22)->content, "b=0+1");
    assert_false(reply_to(cell, 22)->more);
    assert_string_equal(answer_to(cell, 23)->content, "b=1+0...");
    assert_true(reply_to(cell, 23)->more);
    assert_string_equal(answer_to(cell, 24)->content, "free=0+0");
    assert_refused(cell, 25, LEASE_NO_NODE);

    list = request_of(SERVICE_LOCK_LIST, 26, 0);
    list.after_instance = reply_to(cell, 21)->next_instance;
    submit(cell, m, &list);
    settle(cell);
    assert_string_equal(answer_to(cell, 26)->content, "c=1+1");

    /* More of them than one turn answers. */
    cell->reads_max = 64;
    list.after_instance = 0;
    for (uint32_t i = 0; i < 60; i++) {
        list.tag = 100 + i;
        submit(cell, m, &list);
    }
    settle(cell);
    for (uint32_t i = 0; i < 60; i++) {
        assert_int_equal(reply_to(cell, 100 + i)->locks_count, 3);
    }
    cell_free(cell);
}

static void low_space(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    acquire(cell, m, 2, 11, "/ls/test/a");
    settle(cell);
    service_low_space(cell->replica[m].s, true);
    struct service_request request = request_of(SERVICE_SESSION_OPEN, 3, 12);
    submit(cell, m, &request);
    acquire(cell, m, 4, 11, "/ls/test/new");
    request = acquire_of(5, 11, "/ls/test/a");
    request.create = false;
    request.handle = 1;
    submit(cell, m, &request);
    keepalive(cell, m, 6, 11);
    request = request_of(SERVICE_LOCK_CANCEL, 7, 11);
    request.cancel = 5;
    submit(cell, m, &request);
    release(cell, m, 8, 11, "/ls/test/a", reply_to(cell, 2)->token);
    request = request_of(SERVICE_SESSION_CLOSE, 9, 11);
    pass(cell, 100);
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 4), SERVICE_OVERLOADED);
    assert_refused(cell, 5, LEASE_CANCELLED);
    assert_int_equal(outcome_of(cell, 6), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 8), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 9), SERVICE_DONE);
    cell_free(cell);
}

/* ---------------------------------------------------------------- fail-over */

/* The lock survives the master; a retry hears what the lost reply had said; who
 * waited goes on waiting, and is served by the next one. */
static void over_a_lost_master(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/lock");
    settle(cell);
    acquire(cell, m, 4, 12, "/ls/test/lock");
    settle(cell);
    const struct service_reply first = *reply_to(cell, 3);
    cell->replica[m].cut = true;
    const uint32_t n = await_master(cell);
    pass(cell, 600);
    assert_int_equal(outcome_of(cell, 4), SERVICE_UNKNOWN); /* It may yet be granted. */

    struct service_request request = acquire_of(13, 11, "/ls/test/lock");
    request.request = 3;
    submit(cell, n, &request);
    request = acquire_of(14, 12, "/ls/test/lock");
    request.request = 4;
    submit(cell, n, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, 13), SERVICE_DONE);
    assert_int_equal(reply_to(cell, 13)->token, first.token);
    assert_int_equal(reply_to(cell, 13)->slot, first.slot);
    assert_int_equal(reply_to(cell, 13)->position, first.position);
    assert_string_equal(answer_to(cell, 13)->content, "lock:exclusive");
    assert_null(answer_to(cell, 14));

    release(cell, n, 5, 11, "/ls/test/lock", first.token);
    settle(cell);
    assert_int_equal(outcome_of(cell, 5), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 14), SERVICE_DONE);
    assert_true(reply_to(cell, 14)->token > first.token);
    cell_free(cell);
}

/* Proposed here, chosen under another master: it waits, but not with us. */
static void a_carried_acquire(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/lock");
    pass(cell, 150);
    acquire(cell, m, 4, 12, "/ls/test/lock");
    turn(cell, m);
    while (cell->mail_count > 0) {
        deliver(cell);
    }
    cell->replica[m].cut = true;
    settle(cell);
    await_master(cell);
    cell->replica[m].cut = false;
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 4), SERVICE_UNKNOWN);
    assert_int_equal(status_of(cell, m).counts.waiting, 1);
    cell_free(cell);
}

static void hand_over_with_waiters(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/lock");
    acquire(cell, m, 4, 12, "/ls/test/lock");
    keepalive(cell, m, 5, 11);
    service_hand_over(cell->replica[m].s, cell->now_ms);
    keepalive(cell, m, 6, 11);
    pass(cell, 400);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 4), SERVICE_UNKNOWN);
    assert_int_equal(outcome_of(cell, 5), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 6), SERVICE_NOT_MASTER);
    assert_true(service_idle(cell->replica[m].s));
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks),
        cmocka_unit_test(cancels_and_limits),
        cmocka_unit_test(forgotten_waiters),
        cmocka_unit_test(lists),
        cmocka_unit_test(low_space),
        cmocka_unit_test(over_a_lost_master),
        cmocka_unit_test(a_carried_acquire),
        cmocka_unit_test(hand_over_with_waiters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
