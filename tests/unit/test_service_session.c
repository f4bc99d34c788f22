/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions through a whole cell: who is alive, and whose time is over.
 */
#include "tests/unit/test_service_requests.h"

/* ----------------------------------------------------------------- sessions */

static void a_life(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    assert_int_equal(reply_to(cell, 1)->lease_ms, LEASE);

    uint64_t tag = 100;
    live(cell, m, &tag, 11, 5 * LEASE);
    assert_int_equal(reply_to(cell, tag)->lease_ms, LEASE);

    const struct service_request close = request_of(SERVICE_SESSION_CLOSE, 2, 11);
    submit(cell, m, &close);
    keepalive(cell, m, 3, 11);
    pass(cell, 100);
    assert_int_equal(outcome_of(cell, 2), SERVICE_DONE);
    assert_refused(cell, 3, LEASE_NO_SESSION);
    keepalive(cell, m, 4, 11);
    pass(cell, 100);
    assert_refused(cell, 4, LEASE_NO_SESSION);
    cell_free(cell);
}

/* The secret is checked with everything that a session asks, and nothing of what
 * is denied is executed. */
static void secrets(void **state)
{
    (void)state;
    static const enum service_op ops[] = {
        SERVICE_SESSION_KEEPALIVE,
        SERVICE_SESSION_CLOSE,
        SERVICE_LOCK_ACQUIRE,
        SERVICE_LOCK_RELEASE,
        SERVICE_LOCK_CANCEL,
        SERVICE_PUT,
        SERVICE_CREATE,
        SERVICE_DELETE,
    };
    enum { OPS = sizeof ops / sizeof *ops };
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    const uint64_t slot = status_of(cell, m).position.slot;
    for (uint32_t i = 0; i < OPS; i++) {
        struct service_request request = request_of(ops[i], 10 + i, 11);
        request.name = bytes_of("/ls/test/f", 10);
        request.secret = bytes_of("secreT", 6);
        submit(cell, m, &request);
        request.tag = 30 + i; /* Of a session that isn't there. */
        request.session = 12;
        submit(cell, m, &request);
        request.tag = 50 + i;
        request.session = 11;
        request.secret = bytes_of(NULL, 0);
        submit(cell, m, &request);
    }
    pass(cell, 200);
    for (uint32_t i = 0; i < OPS; i++) {
        assert_refused(cell, 10 + i, LEASE_DENIED);
        assert_refused(cell, 30 + i, LEASE_NO_SESSION);
        assert_refused(cell, 50 + i, LEASE_DENIED);
    }
    assert_true(lives(cell, m, 11));
    assert_int_equal(status_of(cell, m).counts.nodes, 1);
    assert_int_equal(status_of(cell, m).position.slot, slot + 1); /* Of the unknown one. */
    cell_free(cell);
}

/* Requests that no state could make sense of are refused at once. */
static void malformed(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    struct service_request request = acquire_of(2, 0, "/ls/test/f");
    submit(cell, m, &request);
    request = acquire_of(3, 11, "/ls/test/f");
    request.request = 0;
    submit(cell, m, &request);
    keepalive(cell, m, 4, 0);
    request = acquire_of(5, 11, "/ls/other/f");
    submit(cell, m, &request);
    static char large[LEASE_LABEL_MAX + 1];
    request = request_of(SERVICE_SESSION_OPEN, 6, 12);
    request.label = bytes_of(large, sizeof large);
    submit(cell, m, &request);
    request = request_of(SERVICE_SESSION_KEEPALIVE, 7, 11);
    request.secret = bytes_of(large, sizeof large);
    submit(cell, m, &request);
    request = acquire_of(8, 11, "/ls/test/f");
    request.acks_count = LEASE_ACK_RANGES_MAX + 1;
    submit(cell, m, &request);
    turn(cell, m);
    assert_refused(cell, 2, LEASE_NO_SESSION);
    assert_refused(cell, 3, LEASE_ACKNOWLEDGED);
    assert_refused(cell, 4, LEASE_NO_SESSION);
    assert_int_equal(outcome_of(cell, 5), SERVICE_BAD_NAME);
    assert_int_equal(outcome_of(cell, 6), SERVICE_TOO_LARGE);
    assert_int_equal(outcome_of(cell, 7), SERVICE_TOO_LARGE);
    assert_int_equal(outcome_of(cell, 8), SERVICE_TOO_LARGE);
    cell_free(cell);
}

/* ---------------------------------------------------------------- KeepAlives */

/* It rides on the next heartbeat, and begins a round of its own only when its
 * session is running out of time. */
static void keepalives_share_rounds(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    open_session(cell, m, 1, 11);
    uint64_t waited = 0;
    for (uint32_t i = 0; i < 10; i++) {
        const uint64_t asked_ms = cell->now_ms;
        keepalive(cell, m, 10 + i, 11);
        pass(cell, 113);
        waited += answer_to(cell, 10 + i)->at_ms - asked_ms;
        assert_true(answer_to(cell, 10 + i)->at_ms - asked_ms <= 100);
    }
    assert_true(waited > 200);

    pass(cell, 2 * LEASE / 3);
    for (uint32_t i = 0; i < 3; i++) {
        keepalive(cell, m, 30 + i, 11);
        settle(cell);
        assert_non_null(answer_to(cell, 30)); /* At once ... */
        if (i > 0) {
            assert_null(answer_to(cell, 30 + i)); /* ... and then no more. */
        }
    }
    cell_free(cell);
}

/* A master that nobody follows any more prolongs nothing. */
static void a_keepalive_waits_for_its_round(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    cell->replica[m].cut = true;
    keepalive(cell, m, 2, 11);
    pass(cell, 300);
    assert_null(answer_to(cell, 2));
    const uint32_t n = await_master(cell);
    assert_int_not_equal(n, m);
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);
    cell_free(cell);
}

/* Read in time, it keeps its session alive until it can be answered. */
static void what_was_read_is_not_late(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    pass(cell, LEASE - 100);
    cell->replica[m].cut = true;
    pass(cell, 50);
    keepalive(cell, m, 3, 11);
    pass(cell, 200);
    assert_true(lives(cell, m, 11)); /* Its lease is over by now. */
    assert_null(answer_to(cell, 3));
    cell->replica[m].cut = false;
    pass(cell, 150);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_true(lives(cell, m, 11));
    assert_false(lives(cell, m, 12));
    pass(cell, LEASE - 160);
    assert_true(lives(cell, m, 11));
    pass(cell, 200);
    assert_false(lives(cell, m, 11));
    cell_free(cell);
}

/* The asker is gone: his KeepAlive grants nothing, and spares nobody for ever. */
static void a_forgotten_keepalive(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 310);
    open_session(cell, m, 1, 11);
    pass(cell, LEASE / 2);
    keepalive(cell, m, 2, 11);
    service_forget(cell->replica[m].s, 1);
    pass(cell, LEASE / 2 - 10);
    assert_null(answer_to(cell, 2));
    assert_true(lives(cell, m, 11));
    pass(cell, 200);
    assert_false(lives(cell, m, 11));
    cell_free(cell);
}

/* ------------------------------------------------------------------- expiry */

static void expiry(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire(cell, m, 3, 11, "/ls/test/a");
    acquire(cell, m, 4, 11, "/ls/test/b");
    acquire(cell, m, 5, 12, "/ls/test/a");
    acquire(cell, m, 6, 12, "/ls/test/b");
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_null(answer_to(cell, 5));

    pass(cell, LEASE / 2);
    keepalive(cell, m, 7, 12);
    pass(cell, LEASE / 2 - 1);
    assert_true(lives(cell, m, 11));
    assert_null(answer_to(cell, 5));
    pass(cell, 1);
    assert_false(lives(cell, m, 11)); /* All that it held, at one place of the log. */
    const struct service_reply *a = reply_to(cell, 5);
    const struct service_reply *b = reply_to(cell, 6);
    assert_int_equal(a->outcome, SERVICE_DONE);
    assert_int_equal(b->outcome, SERVICE_DONE);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->position, b->position);
    assert_true(a->token > reply_to(cell, 3)->token);
    assert_string_equal(answer_to(cell, 5)->content, "a:exclusive");

    acquire(cell, m, 8, 11, "/ls/test/c");
    release(cell, m, 9, 11, "/ls/test/a", reply_to(cell, 3)->token);
    settle(cell);
    assert_refused(cell, 8, LEASE_NO_SESSION);
    assert_refused(cell, 9, LEASE_NO_SESSION);
    cell_free(cell);
}

/* From the moment an expiry is proposed, KeepAlives wait for what comes of it. */
static void a_keepalive_while_expiring(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    open_session(cell, m, 1, 11);
    pass(cell, LEASE - 30);
    for (uint32_t i = 0; i < 3; i++) {
        cell->replica[i].stalled = true; /* Rounds need no disk. */
    }
    pass(cell, 60);
    keepalive(cell, m, 2, 11);
    keepalive(cell, m, 3, 11);
    pass(cell, 300);
    assert_true(lives(cell, m, 11));
    assert_int_equal(outcome_of(cell, 2), SERVICE_UNKNOWN); /* The later took its place. */
    assert_null(answer_to(cell, 3));
    for (uint32_t i = 0; i < 3; i++) {
        cell->replica[i].stalled = false;
    }
    pass(cell, 5);
    assert_refused(cell, 3, LEASE_NO_SESSION);
    cell_free(cell);
}

/* Masters come and go until it is replica `index`'s turn; each keeps the session
 * alive meanwhile. */
static void await_mastership_of(struct cell *cell, uint32_t index, uint64_t *tag,
                                uint64_t session)
{
    for (uint32_t tries = 0; tries < 50; tries++) {
        const uint32_t m = await_master(cell);
        if (m == index) {
            return;
        }
        live(cell, m, tag, session, LEASE);
        cell->replica[m].cut = true;
        pass(cell, 600);
        await_master(cell);
        cell->replica[m].cut = false;
    }
    fail_msg("it is never its turn");
}

/* A lost mastership takes its judgements along: the next one begins every lease
 * anew, also when it is of the same replica. */
static void an_expiry_is_lost_with_its_master(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    open_session(cell, m, 1, 11);
    pass(cell, LEASE - 30);
    cell->replica[m].cut = true;
    pass(cell, 60); /* Proposed, and heard by nobody. */
    keepalive(cell, m, 2, 11);
    pass(cell, 600);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);

    const uint32_t n = await_master(cell);
    assert_true(lives(cell, n, 11));
    cell->replica[m].cut = false;
    uint64_t tag = 10;
    await_mastership_of(cell, m, &tag, 11);
    live(cell, m, &tag, 11, 2 * LEASE);
    pass(cell, LEASE + 10);
    assert_false(lives(cell, m, 11));
    cell_free(cell);
}

/* The old master may have promised all of it an instant ago. */
static void a_new_master_gives_the_whole_lease(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    uint32_t m = await_master(cell);
    pass(cell, 300);
    struct service_request request = request_of(SERVICE_SESSION_OPEN, 1, 11);
    request.lease_ms = 3 * LEASE;
    submit(cell, m, &request);
    pass(cell, 2 * LEASE);
    replica_stop(&cell->replica[m]);
    m = await_master(cell);
    pass(cell, 3 * LEASE - 10);
    assert_true(lives(cell, m, 11));
    pass(cell, 20);
    assert_false(lives(cell, m, 11));
    cell_free(cell);
}

/* More of them than one entry holds. */
static void many_expire(void **state)
{
    (void)state;
    enum { SESSIONS = 700 };
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    for (uint64_t i = 1; i <= SESSIONS; i++) {
        struct service_request request = request_of(SERVICE_SESSION_OPEN, i, 1000 + i);
        request.lease_ms = LEASE;
        submit(cell, m, &request);
        if (i % 100 == 0) {
            settle(cell);
        }
    }
    settle(cell);
    assert_int_equal(status_of(cell, m).counts.sessions, SESSIONS);
    pass(cell, LEASE - 1);
    assert_int_equal(status_of(cell, m).counts.sessions, SESSIONS);
    pass(cell, 2);
    assert_int_equal(status_of(cell, m).counts.sessions, 0);
    cell_free(cell);
}

/* A loop that was away takes nobody's time, and judges only after it has read. */
static void away(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    pass(cell, LEASE - 200);
    cell->now_ms += 400;
    keepalive(cell, m, 3, 11); /* It had been readable all the time. */
    settle(cell);
    assert_true(lives(cell, m, 11));
    assert_true(lives(cell, m, 12));
    pass(cell, 400);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_true(lives(cell, m, 11));
    assert_false(lives(cell, m, 12)); /* It had only been given the time back. */
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life),
        cmocka_unit_test(secrets),
        cmocka_unit_test(malformed),
        cmocka_unit_test(keepalives_share_rounds),
        cmocka_unit_test(a_keepalive_waits_for_its_round),
        cmocka_unit_test(what_was_read_is_not_late),
        cmocka_unit_test(a_forgotten_keepalive),
        cmocka_unit_test(expiry),
        cmocka_unit_test(a_keepalive_while_expiring),
        cmocka_unit_test(an_expiry_is_lost_with_its_master),
        cmocka_unit_test(a_new_master_gives_the_whole_lease),
        cmocka_unit_test(many_expire),
        cmocka_unit_test(away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
