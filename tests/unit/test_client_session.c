/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_session.c -- stories of sessions: leases, KeepAlives, jeopardy, the end.
 */
#include "tests/unit/test_client_support.h"

static void test_open_and_keepalive(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    struct lockd_session *s = begin_session(w, &o);
    assert_string_equal(engine_wish(w->engine)->address, "10.0.0.1:7400");
    become_ready(w);
    struct wire_request r = expect(w, WIRE_SESSION_OPEN);
    assert_int_equal(r.lease_ms, LEASE_MS);
    const uint64_t sent_ms = w->now_ms;
    pass(w, 290);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_string_equal(engine_session_id(s), "5f00000000000001");
    /* (1 - drift) of the lease, from when it was sent. */
    assert_int_equal(engine_session_valid_until_ms(s), sent_ms + 11880);

    pass(w, 4000 - 290 - 1);
    expect_nothing(w);
    pass(w, 1);
    r = expect(w, WIRE_SESSION_KEEPALIVE);
    assert_int_equal(r.session, SESSION_ID);
    assert_memory_equal(r.secret.data, CREDENTIAL_SECRET, WIRE_SECRET);
    pass(w, 290);
    reply_ok(w, &r);
    assert_int_equal(engine_session_valid_until_ms(s), sent_ms + 4000 + 11880);
    assert_int_equal(w->states_count, 1);
    assert_int_equal(w->states[0], LOCKD_SAFE);
    world_free(w);
}

static void test_jeopardy_and_back(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    const uint64_t from_ms = w->now_ms;
    lose_link(w);
    nobody_there(w, from_ms + 5940 - 1);
    assert_int_equal(engine_session_state(s), LOCKD_SAFE);
    nobody_there(w, from_ms + 5940);
    assert_int_equal(engine_session_state(s), LOCKD_LEASE_LOW);
    nobody_there(w, from_ms + 11880);
    assert_int_equal(engine_session_state(s), LOCKD_JEOPARDY);
    assert_true(engine_lock_valid_until_ms(lock) <= w->now_ms);

    /* A call waits for the session, a KeepAlive does not. */
    struct outcome o = {.times = 0};
    put(w, s, &o);
    become_ready_again(w);
    struct wire_request r = expect(w, WIRE_SESSION_KEEPALIVE);
    expect_nothing(w);
    reply_ok(w, &r);
    assert_int_equal(engine_session_state(s), LOCKD_SAFE);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(engine_lock_held(lock));
    assert_int_equal(w->states_count, 4);
    world_free(w);
}

static void test_grace_ends(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    struct outcome waiting = {.times = 0};
    struct outcome never_sent = {.times = 0};
    const uint64_t from_ms = w->now_ms;
    acquire(w, s, LOCKD_FOR_EVER, &waiting);
    expect(w, WIRE_LOCK_ACQUIRE);
    lose_link(w);
    acquire(w, s, LOCKD_FOR_EVER, &never_sent);
    nobody_there(w, from_ms + 11880 + 45000 - 1);
    assert_int_equal(engine_session_state(s), LOCKD_JEOPARDY);
    nobody_there(w, from_ms + 11880 + 45000);
    assert_int_equal(engine_session_state(s), LOCKD_EXPIRED);
    assert_int_equal(waiting.times, 1);
    assert_int_equal(waiting.rc, LOCKD_E_UNKNOWN);
    assert_int_equal(never_sent.rc, LOCKD_E_EXPIRED);
    assert_false(engine_lock_held(lock));
    assert_int_equal(engine_lock_token(lock), 0);
    assert_ptr_equal(engine_lock_next(s, NULL), lock);
    assert_null(engine_lock_next(s, lock));
    assert_int_equal(engine_wish(w->engine)->link, 0);
    world_free(w);
}

static void test_cell_says_expired(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    pass(w, 4000);
    const struct wire_request r = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_error(w, &r, WIRE_SESSION_EXPIRED);
    assert_int_equal(engine_session_state(s), LOCKD_EXPIRED);
    assert_int_equal(engine_session_valid_until_ms(s), 0);
    assert_false(engine_lock_held(lock));
    struct outcome o = {.times = 0};
    assert_int_equal(engine_acquire(s, w->now_ms, "/ls/local/l", NULL, 0, done, &o, NULL),
                     LOCKD_E_EXPIRED);
    world_free(w);
}

/* A late answer must not bring back what was over: the lease counts from when the
 * KeepAlive was sent. */
static void test_late_answer(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = 1000, .changed = changed, .context = w};
    struct lockd_session *s = NULL;
    struct outcome o = {.times = 0};
    assert_int_equal(engine_session_open(w->engine, w->now_ms, &options, 5000, done, &o, &s),
                     LOCKD_OK);
    become_ready(w);
    struct wire_request r = expect(w, WIRE_SESSION_OPEN);
    const uint64_t sent_ms = w->now_ms;
    char id[64];
    memcpy(id, r.id.data, r.id.size);
    struct wire_request opening = r;
    opening.id.data = id;
    for (int i = 0; i < 3; i++) { /* It lives, and is slow. */
        pass(w, 300);
        r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    pass(w, 90);
    reply_ok(w, &opening);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_session_valid_until_ms(s), sent_ms + 990);
    assert_int_equal(engine_session_state(s), LOCKD_JEOPARDY);
    pass(w, 0);
    r = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_ok(w, &r);
    assert_int_equal(engine_session_state(s), LOCKD_SAFE);
    world_free(w);
}

static void test_close(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_lock *lock = hold(w, s);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_session_close(s, w->now_ms, 1000, done, &o), LOCKD_OK);
    assert_false(engine_lock_held(lock));
    assert_int_equal(engine_session_valid_until_ms(s), 0);
    assert_int_equal(engine_session_close(s, w->now_ms, 1000, done, &o), LOCKD_E_CLOSED);
    struct wire_request r = expect(w, WIRE_SESSION_CLOSE);
    assert_int_equal(r.ack_floor, 1); /* The acquire's outcome is known. */
    assert_int_equal(r.request, 2);
    lose_link(w);
    become_ready_again(w);
    /* It is not known any more: our lost request did that. */
    r = expect(w, WIRE_SESSION_CLOSE);
    assert_int_equal(r.request, 2);
    reply_error(w, &r, WIRE_SESSION_EXPIRED);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_session_state(s), LOCKD_CLOSED);
    engine_session_free(s, w->now_ms);
    flush(w);
    world_free(w);
}

/* Many sessions share a connection and a heap. */
static void test_many_sessions(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *sessions[COUNT];
    struct outcome outcomes[COUNT] = {{.times = 0}};
    struct wire_request r;
    for (int i = 0; i < COUNT; i++) {
        const struct lockd_session_options options = {.size = sizeof options};
        assert_int_equal(engine_session_open(w->engine, w->now_ms, &options, 5000, done,
                                             &outcomes[i], &sessions[i]),
                         LOCKD_OK);
    }
    become_ready(w);
    for (int i = 0; i < COUNT; i++) {
        r = expect(w, WIRE_SESSION_OPEN);
        reply_ok(w, &r);
    }
    int keepalives = 0;
    for (int i = 0; i < 59; i++) {
        pass(w, 200);
        while (next_request(w, &r)) {
            assert_int_equal(r.method, WIRE_SESSION_KEEPALIVE);
            reply_ok(w, &r);
            keepalives++;
        }
    }
    assert_int_equal(keepalives, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(engine_session_state(sessions[i]), LOCKD_SAFE);
        engine_session_free(sessions[i], w->now_ms);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_and_keepalive), cmocka_unit_test(test_jeopardy_and_back),
        cmocka_unit_test(test_grace_ends),         cmocka_unit_test(test_cell_says_expired),
        cmocka_unit_test(test_late_answer),        cmocka_unit_test(test_close),
        cmocka_unit_test(test_many_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
