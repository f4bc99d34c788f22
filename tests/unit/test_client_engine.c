/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_engine.c -- stories of calls: what becomes of them when things go wrong.
 */
#include "tests/unit/test_client_support.h"

static void test_one_shot(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome a = {.times = 0};
    struct outcome b = {.times = 0};
    put(w, NULL, &a);
    become_ready(w);
    struct wire_request r = expect(w, WIRE_NODE_PUT);
    assert_false(r.has_session);
    lose_link(w);
    assert_int_equal(a.times, 1);
    assert_int_equal(a.rc, LOCKD_E_UNKNOWN);

    /* Refused for certain: it may be sent again. */
    put(w, NULL, &b);
    become_ready_again(w);
    r = expect(w, WIRE_NODE_PUT);
    reply_error(w, &r, WIRE_UNAVAILABLE);
    pass(w, 50);
    r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, true, NULL, 65537);
    r = expect(w, WIRE_NODE_PUT);
    reply_error(w, &r, WIRE_UNKNOWN_OUTCOME);
    assert_int_equal(b.times, 1);
    assert_int_equal(b.rc, LOCKD_E_UNKNOWN);
    world_free(w);
}

/* What never left this process was certainly not executed. */
static void test_half_sent(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    put(w, NULL, &o);
    become_ready(w);
    lose_link(w); /* become_ready() has flushed it: unknown. */
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);

    o.times = 0;
    put(w, NULL, &o);
    while (engine_wish(w->engine)->link == 0) {
        pass(w, 10);
    }
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    const struct wire_text zero = {.data = "0000000000000000", .size = 16};
    const struct wire_status status = {.serving = true, .cell_id = zero, .digest = zero};
    struct wire_buffer b = {.data = NULL};
    wire_print_reply(&b,
                     &(struct wire_reply){.id = r.id, .method = r.method, .status = &status});
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    const size_t size = engine_wish(w->engine)->output.size;
    assert_true(size > 1);
    engine_sent(w->engine, w->now_ms, w->link, size - 1);
    engine_lost(w->engine, w->now_ms, w->link, "gone");
    w->link = 0;
    flush(w);
    assert_int_equal(o.times, 0);
    become_ready_again(w);
    const struct wire_request again = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &again);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

static void test_deadline(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome never = {.times = 0};
    put(w, NULL, &never);
    refuse_link(w);
    nobody_there(w, w->now_ms + 5000);
    assert_int_equal(never.times, 1);
    assert_int_equal(never.rc, LOCKD_E_UNAVAILABLE);
    assert_string_equal(never.detail, "10.0.0.1:7400: Connection refused");
    assert_int_equal(engine_wish(w->engine)->link, 0); /* Nothing to do any more. */

    struct lockd_session *s = open_session(w);
    struct outcome lost = {.times = 0};
    put(w, s, &lost);
    struct wire_request r = expect(w, WIRE_NODE_PUT);
    const uint64_t given_up = r.request;
    const uint64_t until_ms = w->now_ms + 5000;
    for (int i = 0; i < 4 * 4; i++) {
        pass(w, 250);
        while (next_request(w, &r)) {
            if (r.method == WIRE_CELL_STATUS) {
                reply_status(w, &r, true, NULL, 65537);
            } else {
                reply_ok(w, &r);
            }
        }
    }
    assert_int_equal(lost.times, 0);
    while (w->now_ms < until_ms) {
        pass(w, 250);
        while (next_request(w, &r)) {
            reply_status(w, &r, true, NULL, 65537);
        }
    }
    assert_int_equal(lost.rc, LOCKD_E_UNKNOWN);
    /* Given up, so it must never be executed: the next request says so. */
    while (next_request(w, &r)) {
        assert_int_not_equal(r.method, WIRE_NODE_PUT);
    }
    put(w, s, &lost);
    r = expect(w, WIRE_NODE_PUT);
    assert_int_equal(r.ack_floor, given_up);
    world_free(w);
}

/* A refusal that speaks only of its attempt is an outcome only if that attempt was
 * the only one that may have been executed. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        enum wire_error error;
        bool lost_before;
        int times; /* 0: tried again. */
        enum lockd_rc rc;
    } cases[] = {
        {WIRE_OVERLOADED, false, 1, LOCKD_E_OVERLOADED},
        {WIRE_OVERLOADED, true, 0, LOCKD_OK},
        {WIRE_SESSION_EXPIRED, false, 1, LOCKD_E_EXPIRED},
        {WIRE_SESSION_EXPIRED, true, 1, LOCKD_E_UNKNOWN},
        {WIRE_NO_NODE, false, 1, LOCKD_E_NO_NODE},
        {WIRE_NO_NODE, true, 1, LOCKD_E_NO_NODE}, /* Remembered. */
        {WIRE_CONFLICT, true, 1, LOCKD_E_CONFLICT},
        {WIRE_NOT_MASTER, false, 0, LOCKD_OK},
        {WIRE_NOT_MASTER, true, 0, LOCKD_OK},
        {WIRE_UNAVAILABLE, true, 0, LOCKD_OK},
        {WIRE_UNKNOWN_OUTCOME, false, 0, LOCKD_OK},
        {WIRE_DENIED, false, 1, LOCKD_E_DENIED},
        {WIRE_BAD_NAME, false, 1, LOCKD_E_BAD_NAME},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *w = world_new("10.0.0.1");
        struct lockd_session *s = open_session(w);
        struct outcome o = {.times = 0};
        put(w, s, &o);
        struct wire_request r = expect(w, WIRE_NODE_PUT);
        if (cases[i].lost_before) {
            lose_link(w);
            become_ready_again(w);
            r = expect(w, WIRE_NODE_PUT);
        }
        reply_error(w, &r, cases[i].error);
        assert_int_equal(o.times, cases[i].times);
        if (cases[i].times > 0) {
            assert_int_equal(o.rc, cases[i].rc);
        }
        world_free(w);
    }
}

static void test_reads(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    const struct wire_request get = {.method = WIRE_NODE_GET,
                                     .name = {.data = "/ls/local/f", .size = 11},
                                     .if_generation = WIRE_ANY,
                                     .if_instance = WIRE_ANY};
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &get, 5000, done, &o), LOCKD_OK);
    become_ready(w);
    for (int i = 0; i < 3; i++) {
        expect(w, WIRE_NODE_GET);
        lose_link(w);
        become_ready_again(w);
    }
    const struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_string_equal(o.content, "hello");
    world_free(w);
}

/* The id is found wherever it stands, and nothing else is taken for it. */
static void test_any_order_of_members(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    put(w, s, &o);
    const struct wire_request r = expect(w, WIRE_NODE_PUT);
    char line[512];
    const int size = snprintf(
        line, sizeof line,
        "{\"jsonrpc\":\"2.0\",\"method\":\"id\",\"params\":{\"id\":%.*s}}\n"
        "\n{\"error\":{\"code\":-32000,\"message\":\"\\\"id\\\":7,\",\"data\":{\"id\":3,"
        "\"code\":\"no_node\"}}, \"jsonrpc\":\"2.0\", \"id\" : %.*s}\n",
        (int)r.id.size, r.id.data, (int)r.id.size, r.id.data);
    for (int i = 0; i < size; i++) { /* Octet by octet. */
        engine_received(w->engine, w->now_ms, w->link, line + i, 1);
    }
    flush(w);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_NO_NODE);
    world_free(w);
}

static void test_garbled(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    put(w, s, &o);
    const struct wire_request r = expect(w, WIRE_NODE_PUT);
    char line[128];
    const int size =
        snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{}}\n",
                 (int)r.id.size, r.id.data);
    engine_received(w->engine, w->now_ms, w->link, line, (size_t)size);
    pass(w, 100);
    expect(w, WIRE_NODE_PUT); /* It may have been executed: only its outcome counts. */
    const uint64_t link = w->link;
    const char *deaf = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700}}\n";
    engine_received(w->engine, w->now_ms, w->link, deaf, strlen(deaf));
    flush(w);
    assert_int_not_equal(engine_wish(w->engine)->link, link);
    world_free(w);
}

/* Cut short by what is no digit, an id would be nobody's, and its call wait for ever. */
static void test_garbled_id(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    put(w, s, &o);
    expect(w, WIRE_NODE_PUT);
    const uint64_t link = w->link;
    const char *garbled = "{\"jsonrpc\":\"2.0\",\"id\":1\x01,\"result\":{}}\n";
    engine_received(w->engine, w->now_ms, w->link, garbled, strlen(garbled));
    flush(w);
    assert_int_not_equal(engine_wish(w->engine)->link, link);
    world_free(w);
}

static void test_close_engine(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome sent = {.times = 0};
    struct outcome unsent = {.times = 0};
    put(w, s, &sent);
    lose_link(w);
    put(w, NULL, &unsent);
    engine_close(w->engine, w->now_ms);
    flush(w);
    assert_int_equal(sent.times, 1);
    assert_int_equal(sent.rc, LOCKD_E_UNKNOWN);
    assert_int_equal(unsent.rc, LOCKD_E_CLOSED);
    assert_int_equal(engine_session_state(s), LOCKD_CLOSED);
    assert_int_equal(engine_wish(w->engine)->link, 0);
    assert_int_equal(engine_wish(w->engine)->wake_at_ms, ENGINE_NEVER);
    world_free(w);
}

static void test_refuses_nonsense(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     ",",   "a:0", "a:65536", "a:x",   "[::1",
                                      "[]:1", "a b", "a,",  "::1",     "a:1:2", "[::1]7400"};
    struct engine *e = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct engine_config config = {.endpoints = bad[i], .connect_ms = 1};
        if (engine_new(&config, &e) != LOCKD_E_INVALID) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
    struct world *w = world_new("a,b:1,[::1],[::1]:2");
    struct lockd_session *s = open_session(w);
    const struct lockd_session_options options = {.size = sizeof options, .lease_ms = 999};
    assert_int_equal(engine_session_open(w->engine, w->now_ms, &options, 0, NULL, NULL, &s),
                     LOCKD_E_INVALID);
    assert_int_equal(engine_acquire(s, w->now_ms, "/ls/\xff", NULL, 0, done, NULL, NULL),
                     LOCKD_E_BAD_NAME);
    assert_int_equal(engine_acquire(s, w->now_ms, "/ls/a", NULL, 0, NULL, NULL, NULL),
                     LOCKD_E_INVALID);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shot),     cmocka_unit_test(test_half_sent),
        cmocka_unit_test(test_deadline),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_reads),        cmocka_unit_test(test_any_order_of_members),
        cmocka_unit_test(test_garbled),      cmocka_unit_test(test_garbled_id),
        cmocka_unit_test(test_close_engine), cmocka_unit_test(test_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
