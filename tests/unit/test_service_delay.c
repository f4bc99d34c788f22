/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock-delays and stretched leases: what the master counts, through a whole cell.
 */
#include "tests/unit/test_service_requests.h"

enum { DELAY = 2000, DELAY_DRIFT = DELAY + DELAY / 100 };

static void acquire_delayed(struct cell *cell, uint32_t m, uint64_t tag, uint64_t session)
{
    struct service_request request = acquire_of(tag, session, "/ls/test/lock");
    request.delay_ms = DELAY;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
}

static void try_lock(struct cell *cell, uint32_t m, uint64_t tag, uint64_t session)
{
    struct service_request request = acquire_of(tag, session, "/ls/test/lock");
    request.wait = false;
    request.handle = tag;
    submit(cell, m, &request);
    settle(cell);
}

/* Who the last refusal in lock-delay named, looked at while it may be. */
struct seen {
    uint64_t left_ms;
    uint64_t holder;
    char label[16];
    uint64_t listed_ms;
};

static void see(void *context, uint32_t index, const struct service_output *output)
{
    struct seen *seen = context;
    (void)index;
    for (uint32_t i = 0; i < output->replies_count; i++) {
        const struct service_reply *reply = &output->replies[i];
        if (reply->rc == LEASE_LOCK_DELAY && reply->holder != NULL) {
            seen->left_ms = reply->left_ms;
            seen->holder = reply->holder->session;
            snprintf(seen->label, sizeof seen->label, "%.*s", (int)reply->holder->label.size,
                     (const char *)reply->holder->label.data);
        }
        for (uint32_t j = 0; j < reply->locks_count; j++) {
            for (uint32_t k = 0; k < reply->locks[j].claims_count; k++) {
                assert_true(reply->locks[j].claims[k].delayed ||
                            reply->locks[j].left_ms[k] == 0);
                seen->listed_ms += reply->locks[j].left_ms[k];
            }
        }
    }
}

/* Closed for the whole of it after the holder failed; then who waits is served. */
static void closed_and_opened(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    struct seen seen = {0};
    cell->look = see;
    cell->look_context = &seen;
    const uint32_t m = await_master(cell);
    uint64_t tag = 100;
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    acquire_delayed(cell, m, 3, 11);
    struct service_request request = acquire_of(4, 12, "/ls/test/lock");
    request.delay_ms = LEASE_DELAY_MS_MAX + 1;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, 4), SERVICE_TOO_LARGE);
    while (lives(cell, m, 11)) {
        live(cell, m, &tag, 12, 1);
    }
    const uint64_t at_ms = cell->now_ms; /* Or up to a third of a lease before. */
    try_lock(cell, m, 5, 12);
    assert_refused(cell, 5, LEASE_LOCK_DELAY);
    assert_int_equal(seen.holder, 11);
    assert_string_equal(seen.label, "a test");
    assert_in_range(seen.left_ms, DELAY_DRIFT - LEASE / 3, DELAY_DRIFT);
    request = request_of(SERVICE_LOCK_LIST, 6, 0);
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(seen.listed_ms, seen.left_ms);

    ask(cell, m, SERVICE_DELETE, 1, 9, "/ls/test/lock", NULL);
    settle(cell);
    assert_refused(cell, 9, LEASE_LOCKED);

    acquire(cell, m, 7, 12, "/ls/test/lock");
    struct service_request limited = acquire_of(8, 12, "/ls/test/lock");
    limited.handle = 8;
    limited.wait_ms = 500;
    submit(cell, m, &limited);
    settle(cell);
    live(cell, m, &tag, 12, 600);
    assert_refused(cell, 8, LEASE_LOCK_DELAY);
    while (answer_to(cell, 7) == NULL) {
        live(cell, m, &tag, 12, 1);
    }
    assert_in_range(answer_to(cell, 7)->at_ms, at_ms + seen.left_ms - 600, at_ms + DELAY_DRIFT);
    assert_true(reply_to(cell, 7)->token > reply_to(cell, 3)->token);
    cell_free(cell);
}

/* Each new master counts it anew, in full. */
static void over_two_masters(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    acquire_delayed(cell, m, 2, 11);
    pass(cell, LEASE + 100);
    assert_false(lives(cell, m, 11));
    uint64_t begun_ms = 0;
    for (uint32_t i = 0; i < 2; i++) {
        pass(cell, DELAY / 2);
        cell->replica[m].cut = true;
        const uint32_t n = await_master(cell);
        begun_ms = cell->now_ms;
        pass(cell, 600);
        cell->replica[m].cut = false;
        m = n;
        open_session(cell, m, 10 + i, 20 + i);
        try_lock(cell, m, 20 + i, 20 + i);
        assert_refused(cell, 20 + i, LEASE_LOCK_DELAY);
    }
    uint64_t tag = 100;
    acquire(cell, m, 30, 21, "/ls/test/lock");
    while (answer_to(cell, 30) == NULL) {
        live(cell, m, &tag, 21, 1);
    }
    assert_int_equal(outcome_of(cell, 30), SERVICE_DONE);
    assert_true(answer_to(cell, 30)->at_ms >= begun_ms + DELAY_DRIFT);
    cell_free(cell);
}

/* ------------------------------------------------------------------- stretch */

static uint32_t lease_after(struct cell *cell, uint32_t m, uint64_t *tag, uint64_t session)
{
    keepalive(cell, m, ++*tag, session);
    settle(cell);
    pass(cell, 110); /* With the next heartbeat at the latest. */
    const uint32_t lease_ms = reply_to(cell, *tag)->lease_ms;
    cell->answers_count = 0;
    return lease_ms;
}

/* A second in which so many KeepAlives are answered. */
static void second_of(struct cell *cell, uint32_t m, uint64_t *tag, uint32_t keepalives)
{
    for (uint32_t i = 0; i < keepalives; i++) {
        keepalive(cell, m, ++*tag, 100);
        *tag = *tag > 3000 ? 1000 : *tag;
    }
    pass(cell, 1000);
    cell->answers_count = 0;
}

static void open_long(struct cell *cell, uint32_t m, uint64_t session, uint32_t lease_ms)
{
    struct service_request request = request_of(SERVICE_SESSION_OPEN, session, session);
    request.lease_ms = lease_ms;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, session), SERVICE_DONE);
}

static void stretched(void **state)
{
    (void)state;
    struct cell *cell = cell_new(3);
    cell->keepalives_busy = 100;
    for (uint32_t i = 0; i < 3; i++) {
        replica_start(cell, i);
    }
    uint32_t m = await_master(cell);
    uint64_t tag = 1000;
    open_long(cell, m, 100, 12000);
    open_long(cell, m, 101, 30000);
    open_long(cell, m, 102, 11000);
    second_of(cell, m, &tag, 20);
    assert_int_equal(lease_after(cell, m, &tag, 100), 12000);
    assert_int_equal(status_of(cell, m).stretch_ms, 0);

    second_of(cell, m, &tag, 150);
    second_of(cell, m, &tag, 20);
    assert_int_equal(status_of(cell, m).stretch_ms, 24000);
    assert_int_equal(lease_after(cell, m, &tag, 100), 24000);
    assert_int_equal(lease_after(cell, m, &tag, 101), 30000);
    assert_int_equal(lease_after(cell, m, &tag, 102), 11000);

    cell->replica[m].cut = true; /* The next master goes by the ceiling that it finds. */
    const uint32_t n = await_master(cell);
    const uint64_t begun_ms = cell->now_ms;
    pass(cell, 600);
    assert_int_equal(status_of(cell, n).stretch_ms, 24000);
    keepalive(cell, n, ++tag, 101);
    pass(cell, 12000);
    assert_false(lives(cell, n, 102));
    assert_true(lives(cell, n, 100)); /* It may have been granted the longer one. */
    assert_int_equal(lease_after(cell, n, &tag, 100), 24000);

    /* Quiet for a whole lease: no more of it, and lower once all have run out. */
    while (cell->now_ms < begun_ms + 26000) {
        pass(cell, 500);
    }
    const uint64_t granted_ms = cell->now_ms;
    assert_int_equal(lease_after(cell, n, &tag, 100), 12000);
    assert_int_equal(status_of(cell, n).stretch_ms, 24000);
    assert_true(granted_ms < begun_ms + 12600 + 24000);
    while (status_of(cell, n).stretch_ms != 0) {
        pass(cell, 100);
        assert_true(cell->now_ms < begun_ms + 60000);
        if ((cell->now_ms - granted_ms) % 4000 < 100) {
            lease_after(cell, n, &tag, 100);
        }
    }
    assert_true(cell->now_ms >= begun_ms + 12600 + 24000);
    assert_true(lives(cell, n, 100));
    cell_free(cell);
}

/* Turns that come late show load, too; up to the most there may be. */
static void late_turns(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->keepalives_busy = 1000000;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    uint64_t tag = 1000;
    open_long(cell, m, 100, 12000);
    uint32_t stretch_ms = 0;
    for (uint32_t i = 0; i < 200; i++) {
        keepalive(cell, m, ++tag, 100);
        settle(cell);
        cell->now_ms = cell->replica[m].wake_at_ms + 150;
        settle(cell);
        assert_true(status_of(cell, m).stretch_ms >= stretch_ms);
        stretch_ms = status_of(cell, m).stretch_ms;
    }
    assert_int_equal(stretch_ms, LEASE_SESSION_MS_MAX);
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_and_opened),
        cmocka_unit_test(over_two_masters),
        cmocka_unit_test(stretched),
        cmocka_unit_test(late_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
