/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_handle.c -- stories of handles: opening what is there and what is made,
 * the pinned instance, closing, and letting go in any state.
 */
#include "tests/unit/test_client_support.h"

static struct lockd_handle *open_handle(struct world *w, struct lockd_session *s,
                                        const struct lockd_open_options *options,
                                        struct outcome *o)
{
    struct lockd_handle *h = NULL;
    assert_int_equal(engine_open(s, w->now_ms, "/ls/local/f", options, 5000, done, o, &h),
                     LOCKD_OK);
    flush(w);
    return h;
}

static const struct lockd_open_options ephemeral = {
    .size = sizeof ephemeral, .create = LOCKD_FILE, .ephemeral = true};

/* An ephemeral file, open. */
static struct lockd_handle *open_ephemeral(struct world *w, struct lockd_session *s)
{
    struct outcome o = {.times = 0};
    struct lockd_handle *h = open_handle(w, s, &ephemeral, &o);
    const struct wire_request r = expect(w, WIRE_NODE_OPEN);
    assert_true(r.ephemeral);
    assert_int_equal(r.kind, WIRE_FILE);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_handle_instance(h), 7);
    return h;
}

/* A permanent node is read, and its end is nobody's business. */
static void test_permanent(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_handle *h = open_handle(w, s, NULL, &o);
    assert_int_equal(engine_handle_instance(h), 0);
    assert_null(engine_handle_next(s, NULL));
    struct wire_request r = expect(w, WIRE_NODE_STAT);
    assert_false(r.has_session);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_handle_instance(h), 7);
    assert_ptr_equal(engine_handle_next(s, NULL), h);
    assert_int_equal(engine_close_handle(h, w->now_ms, 1000, done, &o), LOCKD_OK);
    flush(w);
    assert_int_equal(o.times, 2);
    assert_int_equal(engine_handle_instance(h), 0);
    assert_int_equal(engine_close_handle(h, w->now_ms, 1000, done, &o), LOCKD_E_INVALID);
    engine_handle_free(h, w->now_ms);
    expect_nothing(w);
    world_free(w);
}

/* What is ephemeral is opened by a command, also if the name alone did not say so. */
static void test_found_ephemeral(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_handle *h = open_handle(w, s, NULL, &o);
    struct wire_request r = expect(w, WIRE_NODE_STAT);
    const struct wire_stat stat = {.kind = WIRE_FILE, .instance = 8, .ephemeral = true};
    const struct wire_reply found = {
        .has_position = true, .revision = 10, .slot = 10, .has_stat = true, .stat = stat};
    reply(w, &r, found);
    assert_int_equal(o.times, 0);
    r = expect(w, WIRE_NODE_OPEN);
    assert_true(r.has_session);
    assert_int_equal(r.kind, WIRE_KIND_NONE);
    assert_int_equal(r.if_instance, WIRE_ANY);
    const uint64_t number = r.handle;
    assert_int_not_equal(number, 0);
    reply(w, &r, found);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_handle_instance(h), 8);
    engine_handle_free(h, w->now_ms);
    r = expect(w, WIRE_NODE_CLOSE);
    assert_int_equal(r.handle, number);
    assert_int_equal(r.if_instance, 8);
    reply_error(w, &r, WIRE_OVERLOADED); /* It must be done all the same. */
    pass(w, 50);
    r = expect(w, WIRE_NODE_CLOSE);
    reply_ok(w, &r);
    world_free(w);
}

static void test_close(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_handle *h = open_ephemeral(w, s);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_close_handle(h, w->now_ms, 1000, done, &o), LOCKD_OK);
    assert_int_equal(engine_handle_instance(h), 0);
    struct wire_request r = expect(w, WIRE_NODE_CLOSE);
    reply_error(w, &r, WIRE_OVERLOADED); /* Definite: it is still open. */
    assert_int_equal(o.rc, LOCKD_E_OVERLOADED);
    assert_int_equal(engine_handle_instance(h), 7);
    assert_ptr_equal(engine_handle_next(s, NULL), h);
    assert_int_equal(engine_close_handle(h, w->now_ms, 1000, done, &o), LOCKD_OK);
    r = expect(w, WIRE_NODE_CLOSE);
    lose_link(w);
    nobody_there(w, w->now_ms + 1000);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    assert_int_equal(engine_handle_instance(h), 0);
    become_ready_again(w); /* And it goes on. */
    const struct wire_request again = expect(w, WIRE_NODE_CLOSE);
    assert_int_equal(again.request, r.request);
    reply_ok(w, &again);
    assert_int_equal(o.times, 2);
    world_free(w);
}

static void test_stale(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_handle *h = open_ephemeral(w, s);
    struct outcome o = {.times = 0};
    struct wire_request arguments = {
        .method = WIRE_NODE_GET, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    assert_int_equal(engine_handle_call(h, w->now_ms, &arguments, 1000, done, &o), LOCKD_OK);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.if_instance, 7);
    assert_false(r.has_session);
    reply_error(w, &r, WIRE_STALE_HANDLE);
    assert_int_equal(o.rc, LOCKD_E_STALE);
    arguments.method = WIRE_NODE_DELETE;
    assert_int_equal(engine_handle_call(h, w->now_ms, &arguments, 1000, done, &o), LOCKD_OK);
    r = expect(w, WIRE_NODE_DELETE);
    assert_int_equal(r.if_instance, 7);
    assert_true(r.has_session);
    reply_ok(w, &r);
    assert_int_equal(engine_handle_acquire(h, w->now_ms, NULL, 0, done, &o, NULL), LOCKD_OK);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.if_instance, 7);
    assert_false(r.create);
    reply_error(w, &r, WIRE_STALE_HANDLE);
    assert_int_equal(o.rc, LOCKD_E_STALE);
    world_free(w);
}

/* The answer to each is lost once: the same request again. */
static void test_lost_answers(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    const struct lockd_open_options exclusive = {
        .size = sizeof exclusive, .create = LOCKD_DIRECTORY, .exclusive = true};
    struct lockd_handle *h = open_handle(w, s, &exclusive, &o);
    struct wire_request r = expect(w, WIRE_NODE_OPEN);
    assert_int_equal(r.if_instance, 0);
    assert_int_equal(r.kind, WIRE_DIRECTORY);
    const uint64_t request = r.request;
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_NODE_OPEN);
    assert_int_equal(r.request, request);
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(engine_handle_instance(h), 7);
    world_free(w);
}

static void test_free_in_each_state(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct wire_request r;
    /* The read on its way. */
    struct lockd_handle *h = open_handle(w, s, NULL, &o);
    r = expect(w, WIRE_NODE_STAT);
    engine_handle_free(h, w->now_ms);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_E_CLOSED);
    /* The command on its way: what it opens is closed. */
    h = open_handle(w, s, &ephemeral, &o);
    r = expect(w, WIRE_NODE_OPEN);
    engine_handle_free(h, w->now_ms);
    flush(w);
    assert_int_equal(o.times, 2);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_CLOSE);
    assert_int_equal(r.if_instance, 7);
    reply_ok(w, &r);
    /* Closing. */
    h = open_ephemeral(w, s);
    assert_int_equal(engine_close_handle(h, w->now_ms, 1000, done, &o), LOCKD_OK);
    r = expect(w, WIRE_NODE_CLOSE);
    engine_handle_free(h, w->now_ms);
    reply_ok(w, &r);
    assert_int_equal(o.times, 3);
    assert_int_equal(o.rc, LOCKD_OK);
    /* Not sent. */
    lose_link(w);
    h = open_handle(w, s, &ephemeral, &o);
    engine_handle_free(h, w->now_ms);
    flush(w);
    assert_int_equal(o.rc, LOCKD_E_CLOSED);
    become_ready_again(w);
    expect_nothing(w);
    world_free(w);
}

static void test_deadline(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_handle *h = open_handle(w, s, &ephemeral, &o);
    expect(w, WIRE_NODE_OPEN);
    lose_link(w);
    nobody_there(w, w->now_ms + 5000);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    become_ready_again(w);
    struct wire_request r;
    while (next_request(w, &r) && r.method == WIRE_SESSION_KEEPALIVE) {
        reply_ok(w, &r);
    }
    assert_int_equal(r.method, WIRE_NODE_OPEN); /* To hear what became of it, ... */
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_CLOSE); /* ... and undo it. */
    reply_ok(w, &r);
    assert_int_equal(engine_handle_instance(h), 0);
    world_free(w);
}

static void test_ends_with_its_session(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_handle *open = open_ephemeral(w, s);
    struct outcome reading = {.times = 0};
    struct outcome opening = {.times = 0};
    open_handle(w, s, NULL, &reading);
    open_handle(w, s, &ephemeral, &opening);
    expect(w, WIRE_NODE_STAT);
    struct wire_request r = expect(w, WIRE_NODE_OPEN);
    reply_error(w, &r, WIRE_SESSION_EXPIRED);
    assert_int_equal(opening.rc, LOCKD_E_EXPIRED);
    assert_int_equal(reading.times, 1);
    assert_int_equal(reading.rc, LOCKD_E_EXPIRED);
    assert_int_equal(engine_handle_instance(open), 0);
    assert_ptr_equal(engine_handle_next(s, NULL), open);
    struct outcome o = {.times = 0};
    assert_int_equal(engine_close_handle(open, w->now_ms, 1000, done, &o), LOCKD_E_EXPIRED);
    engine_handle_free(open, w->now_ms);
    engine_session_free(s, w->now_ms);
    world_free(w);
}

static void test_nonsense(void **state)
{
    (void)state;
    static const struct lockd_open_options bad[] = {
        {.size = sizeof bad[0], .ephemeral = true},
        {.size = sizeof bad[0], .exclusive = true},
        {.size = sizeof bad[0], .create = LOCKD_DIRECTORY, .content = "x", .content_size = 1},
        {.size = sizeof bad[0], .create = LOCKD_FILE, .content_size = 1},
    };
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct lockd_handle *h = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(
            engine_open(s, w->now_ms, "/ls/local/f", &bad[i], 1000, done, NULL, &h),
            LOCKD_E_INVALID);
    }
    assert_int_equal(engine_open(s, w->now_ms, "\xff", NULL, 1000, done, NULL, &h),
                     LOCKD_E_BAD_NAME);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permanent),    cmocka_unit_test(test_found_ephemeral),
        cmocka_unit_test(test_close),        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_lost_answers), cmocka_unit_test(test_free_in_each_state),
        cmocka_unit_test(test_deadline),     cmocka_unit_test(test_ends_with_its_session),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
