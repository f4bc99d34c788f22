/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_engine.c -- stories of the client engine: finding the master,
 * leases, and what becomes of calls when things go wrong.
 */
#include "tests/unit/test_client_support.h"

/* ------------------------------------------------------------------ sessions */

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
    pass(w, 300);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_string_equal(engine_session_id(s), "5f00000000000001");
    /* (1 - drift) of the lease, from when it was sent. */
    assert_int_equal(engine_session_valid_until_ms(s), sent_ms + 11880);

    pass(w, 4000 - 300 - 1);
    expect_nothing(w);
    pass(w, 1);
    r = expect(w, WIRE_SESSION_KEEPALIVE);
    assert_int_equal(r.session, SESSION_ID);
    assert_memory_equal(r.secret.data, CREDENTIAL_SECRET, WIRE_SECRET);
    pass(w, 500);
    reply_ok(w, &r);
    assert_int_equal(engine_session_valid_until_ms(s), sent_ms + 4000 + 11880);
    assert_int_equal(w->states_count, 1);
    assert_int_equal(w->states[0], LOCKD_SAFE);
    world_free(w);
}

/* Connection attempts end in nothing until `until_ms`. */
static void nobody_there(struct world *w, uint64_t until_ms)
{
    while (w->now_ms < until_ms) {
        if (engine_wish(w->engine)->link != 0) {
            refuse_link(w);
        }
        const uint64_t wake_ms = engine_wish(w->engine)->wake_at_ms;
        pass(w, (wake_ms < until_ms ? wake_ms : until_ms) - w->now_ms);
    }
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
    pass(w, 990);
    reply_ok(w, &r);
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

/* -------------------------------------------------------------------- search */

static void test_follows_the_master(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1:7401");
    struct outcome o = {.times = 0};
    begin_session(w, &o);
    connect_link(w);
    struct wire_request r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, false, "[fe80::1]:7402", 65537);
    assert_string_equal(engine_wish(w->engine)->address, "[fe80::1]:7402");
    become_ready(w);
    r = expect(w, WIRE_SESSION_OPEN);
    /* Deposed between the two. */
    const char *back = "10.0.0.1:7401";
    reply(w, &r,
          (struct wire_reply){.error = WIRE_NOT_MASTER,
                              .master = {.data = back, .size = strlen(back)},
                              .master_id = 1});
    assert_string_equal(engine_wish(w->engine)->address, back);
    become_ready(w);
    r = expect(w, WIRE_SESSION_OPEN);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

/* While an election is under way a follower is asked again, on one connection, and
 * its old master is not followed a second time. */
static void test_waits_for_an_election(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    char dead[64];
    snprintf(dead, sizeof dead, "%s", engine_wish(w->engine)->address);
    pass(w, 2000);
    lose_link(w);
    assert_string_equal(engine_wish(w->engine)->address, dead); /* It lasted: once more. */
    refuse_link(w);
    const uint64_t killed_ms = w->now_ms;
    connect_link(w);
    const uint64_t link = w->link;
    for (int i = 0; i < 5; i++) {
        const struct wire_request r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, false, dead, 65537);
        assert_int_equal(engine_wish(w->engine)->link, link);
        pass(w, 50);
    }
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, true, NULL, 131073);
    assert_true(w->now_ms - killed_ms <= 250);
    struct outcome o = {.times = 0};
    put(w, s, &o);
    expect(w, WIRE_NODE_PUT);
    world_free(w);
}

static void test_leaves_the_silent(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct outcome o = {.times = 0};
    struct lockd_session *s = begin_session(w, &o);
    char first[64];
    snprintf(first, sizeof first, "%s", engine_wish(w->engine)->address);
    connect_link(w);
    expect(w, WIRE_CELL_STATUS);
    pass(w, 999);
    assert_string_equal(engine_wish(w->engine)->address, first);
    pass(w, 1);
    assert_string_not_equal(engine_wish(w->engine)->address, first);
    become_ready(w);
    struct wire_request r = expect(w, WIRE_SESSION_OPEN);
    reply_ok(w, &r);
    assert_int_equal(engine_session_state(s), LOCKD_SAFE);

    /* Silent in the middle of a conversation: a probe, then the next. */
    struct outcome written = {.times = 0};
    put(w, s, &written);
    expect(w, WIRE_NODE_PUT);
    const uint64_t link = w->link;
    pass(w, 999);
    expect_nothing(w);
    pass(w, 1);
    expect(w, WIRE_CELL_STATUS);
    pass(w, 999);
    assert_int_equal(engine_wish(w->engine)->link, link);
    pass(w, 1);
    assert_int_not_equal(engine_wish(w->engine)->link, link);
    assert_int_equal(written.times, 0);
    become_ready(w);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    assert_int_equal(written.rc, LOCKD_OK);
    world_free(w);
}

/* The probe is answered: the replica is slow, not gone. */
static void test_stays_with_the_slow(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    const uint64_t link = w->link;
    put(w, s, &o);
    const struct wire_request slow = expect(w, WIRE_NODE_PUT);
    char id[64];
    memcpy(id, slow.id.data, slow.id.size);
    struct wire_request held = slow;
    held.id.data = id;
    for (int i = 0; i < 2; i++) {
        pass(w, 1000);
        const struct wire_request r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    reply_ok(w, &held);
    assert_int_equal(w->link, link);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

static void test_keepalive_not_answered(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    open_session(w);
    const uint64_t link = w->link;
    pass(w, 4000);
    expect(w, WIRE_SESSION_KEEPALIVE);
    for (int i = 0; i < 2; i++) { /* It talks, but not of that. */
        pass(w, 1000);
        const struct wire_request r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    pass(w, 999);
    assert_int_equal(engine_wish(w->engine)->link, link);
    pass(w, 1);
    assert_int_not_equal(engine_wish(w->engine)->link, link);
    become_ready(w);
    expect(w, WIRE_SESSION_KEEPALIVE);
    world_free(w);
}

static void test_learns_endpoints(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    begin_session(w, &o);
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    const struct wire_text zero = {.data = "0000000000000000", .size = 16};
    const struct wire_member member = {.id = 2,
                                       .peer = {.data = "10.0.0.2:7500", .size = 13},
                                       .client = {.data = "10.0.0.2:7400", .size = 13}};
    const struct wire_status status = {.role = {.data = "follower", .size = 8},
                                       .cell_id = zero,
                                       .digest = zero,
                                       .members = &member,
                                       .members_count = 1};
    reply(w, &r, (struct wire_reply){.status = &status});
    lose_link(w);
    assert_string_equal(engine_wish(w->engine)->address, "10.0.0.2:7400");
    world_free(w);
}

/* --------------------------------------------------------------------- calls */

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
    for (int i = 0; i < 4; i++) {
        pass(w, 1000);
        while (next_request(w, &r)) {
            if (r.method == WIRE_CELL_STATUS) {
                reply_status(w, &r, true, NULL, 65537);
            } else {
                reply_ok(w, &r);
            }
        }
    }
    assert_int_equal(lost.times, 0);
    pass(w, 1000);
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
        cmocka_unit_test(test_open_and_keepalive),
        cmocka_unit_test(test_jeopardy_and_back),
        cmocka_unit_test(test_grace_ends),
        cmocka_unit_test(test_cell_says_expired),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_many_sessions),
        cmocka_unit_test(test_follows_the_master),
        cmocka_unit_test(test_waits_for_an_election),
        cmocka_unit_test(test_leaves_the_silent),
        cmocka_unit_test(test_stays_with_the_slow),
        cmocka_unit_test(test_keepalive_not_answered),
        cmocka_unit_test(test_learns_endpoints),
        cmocka_unit_test(test_one_shot),
        cmocka_unit_test(test_half_sent),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_any_order_of_members),
        cmocka_unit_test(test_garbled),
        cmocka_unit_test(test_close_engine),
        cmocka_unit_test(test_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
