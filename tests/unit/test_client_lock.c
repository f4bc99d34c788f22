/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_lock.c -- stories of locks: waiting, cancelling, letting go, and
 * the reply to each call lost in turn.
 */
#include "tests/unit/test_client_support.h"

static void test_acquire_and_release(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, 2500, &o);
    assert_false(engine_lock_held(lock));
    assert_string_equal(engine_lock_sequencer(lock), "");
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.wait_ms, 2500);
    assert_int_equal(r.request, 1);
    assert_int_equal(r.mode, WIRE_EXCLUSIVE);
    reply_ok_at(w, &r, 33);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(o.slot, 33);
    assert_ptr_equal(o.lock, lock);
    assert_int_equal(engine_lock_token(lock), 133);
    assert_string_equal(engine_lock_sequencer(lock), "/ls/local/l:exclusive:133");
    assert_int_equal(engine_lock_valid_until_ms(lock), engine_session_valid_until_ms(s));

    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    assert_false(engine_lock_held(lock));
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_E_NOT_HELD);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(r.token, 133);
    assert_int_equal(r.handle, 1);
    assert_int_equal(r.request, 2);
    assert_int_equal(r.ack_floor, 1);
    reply_ok(w, &r);
    assert_int_equal(o.times, 2);
    engine_lock_free(lock, w->now_ms);
    expect_nothing(w);
    world_free(w);
}

static void test_a_try(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_acquire(s, w->now_ms, "/ls/local/l", NULL, 0, done, &o, NULL),
                     LOCKD_OK);
    const struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.wait_ms, 0);
    reply_error(w, &r, WIRE_LOCKED);
    assert_int_equal(o.rc, LOCKD_E_LOCKED);
    assert_null(o.lock);
    world_free(w);
}

/* What was said of a lock that is closed. */
struct closed {
    int times;
    enum lockd_rc rc;
    uint64_t left_ms, delay_ms, token;
    char label[16], session[20];
    bool delayed;
};

static void told_closed(void *context, const struct lockd_answer *answer)
{
    struct closed *c = context;
    c->times++;
    c->rc = answer->rc;
    c->left_ms = answer->left_ms;
    assert_non_null(answer->holder);
    c->delay_ms = answer->holder->delay_ms;
    c->token = answer->holder->token;
    c->delayed = answer->holder->delayed;
    snprintf(c->label, sizeof c->label, "%s", answer->holder->label);
    snprintf(c->session, sizeof c->session, "%s", answer->holder->session);
}

static void test_lock_delay(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock_options options = {.size = sizeof options, .delay_ms = 60001};
    struct closed c = {.times = 0};
    assert_int_equal(
        engine_acquire(s, w->now_ms, "/ls/local/l", &options, 0, told_closed, &c, NULL),
        LOCKD_E_INVALID);
    options.delay_ms = 60000;
    assert_int_equal(
        engine_acquire(s, w->now_ms, "/ls/local/l", &options, 0, told_closed, &c, NULL),
        LOCKD_OK);
    const struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.delay_ms, 60000);
    const struct wire_claim failed = {.delayed = true,
                                      .delay_ms = 5000,
                                      .left_ms = 700,
                                      .mode = WIRE_EXCLUSIVE,
                                      .session = 0x5e,
                                      .label = {.data = "paused", .size = 6},
                                      .token = 9};
    reply(w, &r,
          (struct wire_reply){.error = WIRE_LOCK_DELAY, .left_ms = 700, .holder = &failed});
    assert_int_equal(c.times, 1);
    assert_int_equal(c.rc, LOCKD_E_LOCK_DELAY);
    assert_int_equal(c.left_ms, 700);
    assert_true(c.delayed);
    assert_int_equal(c.delay_ms, 5000);
    assert_int_equal(c.token, 9);
    assert_string_equal(c.label, "paused");
    assert_string_equal(c.session, "000000000000005e");
    world_free(w);
}

/* At the deadline the wait is cancelled; that the cell says so is what makes it
 * "not acquired". */
static void test_timeout(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, 500, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    struct wire_request waiting = r;
    char id[32];
    memcpy(id, r.id.data, r.id.size);
    waiting.id.data = id;
    pass(w, 500);
    r = expect(w, WIRE_LOCK_CANCEL);
    assert_int_equal(r.cancel, waiting.request);
    assert_int_not_equal(r.request, waiting.request);
    reply_ok(w, &r);
    assert_int_equal(o.times, 0);
    reply_error(w, &waiting, WIRE_CANCELLED);
    assert_int_equal(o.rc, LOCKD_E_TIMEOUT);
    engine_lock_free(lock, w->now_ms);
    flush(w);
    expect_nothing(w);
    world_free(w);
}

/* The cell's own clock may end a wait first, or a cancellation may overtake the acquire
 * on its way; it says "locked" then, as of a try that failed. */
static void test_wait_ended_by_the_cell(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, 2500, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_error(w, &r, WIRE_LOCKED);
    assert_int_equal(o.rc, LOCKD_E_TIMEOUT);
    engine_lock_free(lock, w->now_ms);

    lock = acquire(w, s, 2500, &o);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    reply_error(w, &r, WIRE_LOCKED);
    assert_int_equal(o.rc, LOCKD_E_CANCELLED);
    engine_lock_free(lock, w->now_ms);
    world_free(w);
}

static void test_cancel(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.wait_ms, WIRE_FOR_EVER);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    lose_link(w);
    become_ready_again(w);
    /* The cancellation first, then the acquire, to hear what became of it. */
    r = expect(w, WIRE_LOCK_CANCEL);
    reply_ok(w, &r);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.request, 1);
    reply_error(w, &r, WIRE_CANCELLED);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_CANCELLED);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_E_NOT_HELD);
    world_free(w);
}

static void test_cancel_comes_too_late(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(engine_lock_held(lock));
    r = expect(w, WIRE_LOCK_CANCEL);
    reply_ok(w, &r);
    assert_true(engine_lock_held(lock));
    assert_int_equal(o.times, 1);
    world_free(w);
}

static void test_cancel_before_it_was_sent(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    lose_link(w);
    struct lockd_lock *lock = acquire(w, s, LOCKD_FOR_EVER, &o);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    flush(w);
    assert_int_equal(o.rc, LOCKD_E_CANCELLED);
    become_ready_again(w);
    expect_nothing(w);
    world_free(w);
}

/* The confirmation does not come: unknown, and what was granted is given back. */
static void test_timeout_unconfirmed(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, s, 500, &o);
    expect(w, WIRE_LOCK_ACQUIRE);
    lose_link(w);
    const uint64_t until_ms = w->now_ms + 500 + ENGINE_CONFIRM_MS;
    while (w->now_ms < until_ms) {
        assert_int_equal(o.times, 0);
        if (engine_wish(w->engine)->link != 0) {
            refuse_link(w);
        }
        pass(w, 1);
    }
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    engine_lock_free(lock, w->now_ms);
    become_ready_again(w);
    struct wire_request r = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_ok(w, &r);
    r = expect(w, WIRE_LOCK_CANCEL);
    expect_nothing(w); /* First it must not be queued again. */
    reply_ok(w, &r);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok_at(w, &r, 5);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(r.token, 105);
    assert_int_equal(r.request, 3);
    assert_int_equal(r.ack_floor, 2);
    reply_ok(w, &r);
    expect_nothing(w);
    assert_int_equal(o.times, 1);
    world_free(w);
}

static void test_free_in_each_state(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};

    struct lockd_lock *lock = hold(w, s);
    engine_lock_free(lock, w->now_ms);
    struct wire_request r = expect(w, WIRE_LOCK_RELEASE);
    reply_ok(w, &r);

    lock = acquire(w, s, LOCKD_FOR_EVER, &o);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    engine_lock_free(lock, w->now_ms);
    reply_ok_at(w, &r, 7); /* Granted all the same. */
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    r = expect(w, WIRE_LOCK_CANCEL);
    reply_ok(w, &r);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(r.token, 107);
    reply_ok(w, &r);

    lock = hold(w, s);
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    engine_lock_free(lock, w->now_ms);
    r = expect(w, WIRE_LOCK_RELEASE);
    reply_ok(w, &r);
    assert_int_equal(o.times, 2);
    assert_int_equal(o.rc, LOCKD_OK);
    expect_nothing(w);

    /* Granted, and freed before anybody heard of it. */
    acquire(w, s, 1000, &o);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    struct wire_buffer b = {.data = NULL};
    const char *sequencer = "/ls/local/l:exclusive:9";
    wire_print_reply(
        &b, &(struct wire_reply){.id = r.id,
                                 .method = r.method,
                                 .has_position = true,
                                 .token = 9,
                                 .sequencer = {.data = sequencer, .size = strlen(sequencer)}});
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    engine_lock_free(engine_lock_next(s, NULL), w->now_ms);
    flush(w);
    assert_int_equal(o.times, 3);
    assert_int_equal(o.rc, LOCKD_E_CLOSED);
    assert_null(o.lock);
    world_free(w);
}

/* Who lets go of a lock that is being released has it no more, refused or not. */
static void test_release_deserted(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    struct wire_request r = expect(w, WIRE_LOCK_RELEASE);
    engine_lock_free(lock, w->now_ms);
    reply_error(w, &r, WIRE_OVERLOADED);
    assert_int_equal(o.times, 0);
    pass(w, 50);
    r = expect(w, WIRE_LOCK_RELEASE);
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

static void test_release_that_fails(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    struct wire_request r = expect(w, WIRE_LOCK_RELEASE);
    reply_error(w, &r, WIRE_OVERLOADED);
    assert_int_equal(o.rc, LOCKD_E_OVERLOADED);
    assert_true(engine_lock_held(lock)); /* Not executed: it is ours. */

    assert_int_equal(engine_release(lock, w->now_ms, 100, done, &o), LOCKD_OK);
    r = expect(w, WIRE_LOCK_RELEASE);
    const uint64_t request = r.request;
    pass(w, 100);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    assert_false(engine_lock_held(lock));
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_LOCK_RELEASE); /* In the background. */
    assert_int_equal(r.request, request);
    reply_error(w, &r, WIRE_NOT_HELD);
    expect_nothing(w);
    assert_int_equal(o.times, 2);

    lock = hold(w, s);
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    r = expect(w, WIRE_LOCK_RELEASE);
    reply_error(w, &r, WIRE_NOT_HELD);
    assert_int_equal(o.rc, LOCKD_E_NOT_HELD);
    assert_false(engine_lock_held(lock));
    world_free(w);
}

/* A waiting acquire holds the floor back; what ended above it stands in ranges. */
static void test_acknowledgements(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome waiting = {.times = 0};
    struct outcome o = {.times = 0};
    struct wire_request r;
    put(w, s, &o);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    acquire(w, s, LOCKD_FOR_EVER, &waiting);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.request, 2);
    assert_int_equal(r.ack_floor, 1);
    assert_int_equal(r.acks_count, 0);
    for (uint64_t i = 3; i < 6; i++) {
        put(w, s, &o);
        r = expect(w, WIRE_NODE_PUT);
        assert_int_equal(r.request, i);
        assert_int_equal(r.ack_floor, 1);
        assert_int_equal(r.acks_count, i == 3 ? 0 : 1);
        if (i > 3) {
            assert_int_equal(r.acks[0].first, 3);
            assert_int_equal(r.acks[0].last, i - 1);
        }
        reply_ok(w, &r);
    }
    world_free(w);
}

/* Only a wait is under way: signs of life are asked for less and less often. */
static void test_calm_wait(void **state)
{
    (void)state;
    static const uint64_t quiet_ms[] = {1000, 2000, 1000, 2000};
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    acquire(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    for (int i = 0; i < 2; i++) {
        pass(w, quiet_ms[i] - 1);
        expect_nothing(w);
        pass(w, 1);
        r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    pass(w, 1000); /* Of the four that it would wait; a KeepAlive begins anew. */
    r = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_ok(w, &r);
    for (int i = 2; i < 4; i++) {
        pass(w, quiet_ms[i] - 1);
        expect_nothing(w);
        pass(w, 1);
        r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    world_free(w);
}

/* No more than the cell remembers is outstanding; acquires that wait don't count,
 * and neither the session's KeepAlive nor a cancellation waits behind the others. */
static void test_window(void **state)
{
    (void)state;
    enum { COUNT = ENGINE_SESSION_WINDOW + 20 };
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome waiting = {.times = 0};
    struct outcome outcomes[COUNT] = {{.times = 0}};
    struct wire_request r;
    struct lockd_lock *lock = acquire(w, s, LOCKD_FOR_EVER, &waiting);
    expect(w, WIRE_LOCK_ACQUIRE);
    for (int i = 0; i < COUNT; i++) {
        put(w, s, &outcomes[i]);
    }
    for (int i = 0; i < ENGINE_SESSION_WINDOW; i++) {
        r = expect(w, WIRE_NODE_PUT);
    }
    expect_nothing(w);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    expect(w, WIRE_LOCK_CANCEL);
    expect_nothing(w);
    reply_ok(w, &(struct wire_request){.id = r.id, .method = WIRE_NODE_PUT});
    expect_nothing(w); /* The cancellation took that place. */
    world_free(w);
}

/* ------------------------------------------------- the reply to each call lost */

/* A cell that executes each request at most once and remembers the outcome. */
struct memory {
    uint64_t slots[64];
    enum wire_method methods[64];
    uint64_t slot;
    int executed;
};

static void serve(struct world *w, struct memory *m, const struct wire_request *r)
{
    if (r->method == WIRE_CELL_STATUS) {
        reply_status(w, r, true, NULL, 65537);
        return;
    }
    if (r->request == 0) {
        reply_ok_at(w, r, ++m->slot);
        return;
    }
    assert_true(r->request < 64 && r->request > r->ack_floor);
    if (m->slots[r->request] == 0) {
        m->slots[r->request] = ++m->slot;
        m->methods[r->request] = r->method;
        m->executed++;
    }
    assert_int_equal(m->methods[r->request], r->method);
    reply_ok_at(w, r, m->slots[r->request]);
}

/* Executes, and the connection breaks before the reply. */
static void serve_and_break(struct world *w, struct memory *m, const struct wire_request *r)
{
    if (r->request != 0 && m->slots[r->request] == 0) {
        m->slots[r->request] = ++m->slot;
        m->methods[r->request] = r->method;
        m->executed++;
    }
    lose_link(w);
    become_ready_again(w);
}

/* The n-th request of a life loses its reply. */
static void serve_all(struct world *w, struct memory *m, int *lose)
{
    struct wire_request r;
    while (next_request(w, &r)) {
        if (r.method != WIRE_CELL_STATUS && (*lose)-- == 0) {
            serve_and_break(w, m, &r);
        } else {
            serve(w, m, &r);
        }
    }
}

/* Open, write, lock, write, unlock, close. */
static int live(int lose)
{
    struct world *w = world_new("10.0.0.1");
    struct memory m = {.slot = 0};
    struct outcome outcomes[6] = {{.times = 0}};
    struct lockd_session *s = begin_session(w, &outcomes[0]);
    struct lockd_lock *lock = NULL;
    become_ready(w);
    for (int step = 0; step < 6; step++) {
        if (step == 1 || step == 3) {
            put(w, s, &outcomes[step]);
        } else if (step == 2) {
            lock = acquire(w, s, 5000, &outcomes[step]);
        } else if (step == 4) {
            engine_release(lock, w->now_ms, 5000, done, &outcomes[step]);
        } else if (step == 5) {
            engine_session_close(s, w->now_ms, 5000, done, &outcomes[step]);
        }
        serve_all(w, &m, &lose);
        assert_int_equal(outcomes[step].times, 1);
        assert_int_equal(outcomes[step].rc, LOCKD_OK);
        if (step == 2) {
            assert_int_equal(engine_lock_token(lock), 100 + outcomes[step].slot);
        }
    }
    assert_int_equal(m.executed, 5); /* Each once, whatever was lost. */
    assert_int_equal(engine_session_state(s), LOCKD_CLOSED);
    world_free(w);
    return lose;
}

static void test_each_reply_lost(void **state)
{
    (void)state;
    for (int lose = 0; lose < 6; lose++) {
        assert_true(live(lose) < 0); /* It was lost. */
    }
    assert_true(live(100) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acquire_and_release),
        cmocka_unit_test(test_a_try),
        cmocka_unit_test(test_lock_delay),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_wait_ended_by_the_cell),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_comes_too_late),
        cmocka_unit_test(test_cancel_before_it_was_sent),
        cmocka_unit_test(test_timeout_unconfirmed),
        cmocka_unit_test(test_free_in_each_state),
        cmocka_unit_test(test_release_that_fails),
        cmocka_unit_test(test_release_deserted),
        cmocka_unit_test(test_acknowledgements),
        cmocka_unit_test(test_calm_wait),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_each_reply_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
