/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_cache.c -- stories of what a session keeps: how it comes, how it goes,
 * and when it may not be believed.
 */
#include "tests/unit/test_client_caching.h"

#define F "/ls/local/f"
#define G "/ls/local/g"

static void test_hit(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    assert_false(has(w, s, F));
    fill(w, s, F, "one", 11, 0);

    struct lockd_answer *a = cached(w, s, WIRE_NODE_GET, F);
    assert_non_null(a);
    assert_string_equal(a->content, "one");
    assert_int_equal(a->content_size, 3);
    assert_true(a->cached && a->has_stat);
    assert_int_equal(a->rc, LOCKD_OK);
    assert_int_equal(a->level, LOCKD_LINEARIZABLE);
    assert_int_equal(a->stat.generation, 11);
    assert_int_equal(a->stat.lock_token, 0);
    assert_int_equal(a->stat.lock_generation, 0);
    lockd_answer_free(a);

    /* What is known of the content says all about the rest. */
    a = cached(w, s, WIRE_NODE_STAT, F);
    assert_non_null(a);
    assert_null(a->content);
    assert_int_equal(a->stat.generation, 11);
    lockd_answer_free(a);

    /* Without a message, and told as any other. */
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, F, &o);
    assert_int_equal(o.times, 1);
    assert_string_equal(o.content, "one");
    expect_nothing(w);
    world_free(w);
}

static void test_absence(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_STAT, F, &o);
    const struct wire_request r = expect(w, WIRE_NODE_STAT);
    reply(w, &r, absent(12, 0));
    assert_int_equal(o.rc, LOCKD_E_NO_NODE);
    for (int get = 0; get < 2; get++) {
        struct lockd_answer *a = cached(w, s, get == 1 ? WIRE_NODE_GET : WIRE_NODE_STAT, F);
        assert_non_null(a);
        assert_int_equal(a->rc, LOCKD_E_NO_NODE);
        assert_int_equal(a->revision, 12);
        lockd_answer_free(a);
    }
    invalidate_name(w, SESSION_ID, 1, "/ls/test/f");
    assert_false(has(w, s, F));
    world_free(w);
}

static void test_not_granted(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, F, &o);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    struct wire_reply plain = granted(&r, "one", 11, 0);
    plain.cached = false;
    reply(w, &r, plain);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_false(has(w, s, F));

    /* What a stat brought does not answer a get. */
    begin_read(w, s, WIRE_NODE_STAT, F, &o);
    r = expect(w, WIRE_NODE_STAT);
    reply(w, &r, granted(&r, "", 11, 0));
    assert_false(has(w, s, F));
    struct lockd_answer *a = cached(w, s, WIRE_NODE_STAT, F);
    assert_non_null(a);
    lockd_answer_free(a);
    fill(w, s, F, "one", 11, 0);
    assert_true(has(w, s, F));

    /* Nor does a refusal that the state may take back. */
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    r = expect(w, WIRE_NODE_GET);
    struct wire_reply denied = absent(12, 0);
    denied.error = WIRE_DENIED;
    reply(w, &r, denied);
    assert_int_equal(o.rc, LOCKD_E_DENIED);
    assert_false(has(w, s, G));
    world_free(w);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *plain = open_session(w);
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct wire_request r = read_request(WIRE_NODE_GET, F);
    assert_int_equal(engine_call(w->engine, w->now_ms, plain, &r, 5000, NULL, NULL),
                     LOCKD_E_INVALID);
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &r, 5000, NULL, NULL),
                     LOCKD_E_INVALID);
    r.level = WIRE_LEASE;
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, NULL, NULL),
                     LOCKD_E_INVALID);
    r = read_request(WIRE_NODE_LIST, F);
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, NULL, NULL),
                     LOCKD_E_INVALID);
    r.cache = false;
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, NULL, NULL),
                     LOCKD_E_INVALID);
    world_free(w);
}

static void test_invalidated(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    fill(w, s, F, "one", 11, 0);
    fill(w, s, "/ls/test/f", "one", 11, 0);
    fill(w, s, G, "two", 11, 0);
    fill(w, s, "/ls/local", "root", 11, 0);
    invalidate_name(w, SESSION_ID, 1, "/ls/test/f");
    assert_false(has(w, s, F));
    assert_false(has(w, s, "/ls/test/f"));
    assert_true(has(w, s, G));
    struct asked first;
    expect_asked(w, WIRE_CACHE_ACK, &first);
    assert_true(first.r.has_session && first.r.session == SESSION_ID);
    assert_int_equal(first.r.cache_number, 1);

    /* One at a time: the next says all that came meanwhile. */
    const struct wire_text names[] = {text("/ls/test"), text("/ls/test/none")};
    invalidate(w, SESSION_ID, 2, names, 2);
    assert_false(has(w, s, "/ls/local"));
    invalidate(w, SESSION_ID, 3, NULL, 0);
    assert_false(has(w, s, G));
    invalidate(w, SESSION_ID + 1, 4, NULL, 0); /* Not ours. */
    expect_nothing(w);
    reply_ok(w, &first.r);
    struct asked second;
    expect_asked(w, WIRE_CACHE_ACK, &second);
    assert_int_equal(second.r.cache_number, 3);
    reply_ok(w, &second.r);
    expect_nothing(w);
    world_free(w);
}

/* A reply and an invalidation that cross: the number tells which is the newer. */
static void test_overtaken(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome a = {.times = 0};
    struct outcome b = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, F, &a);
    begin_read(w, s, WIRE_NODE_GET, G, &b);
    struct asked f;
    expect_asked(w, WIRE_NODE_GET, &f);
    struct asked g;
    expect_asked(w, WIRE_NODE_GET, &g);
    invalidate_name(w, SESSION_ID, 5, "/ls/test/f");
    reply(w, &f.r, granted(&f.r, "old", 11, 4));
    assert_string_equal(a.content, "old"); /* It was true after the call had begun. */
    assert_false(has(w, s, F));
    reply(w, &g.r, granted(&g.r, "new", 12, 5));
    assert_true(has(w, s, G));
    invalidate_name(w, SESSION_ID, 6, "/ls/test/g");
    assert_false(has(w, s, G));
    world_free(w);
}

static void test_reconnect(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome o = {.times = 0};
    fill(w, s, F, "one", 11, 0);
    invalidate_name(w, SESSION_ID, 7, "/ls/test/g"); /* Its acknowledgement is lost. */
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    lose_link(w);
    assert_false(has(w, s, F));
    assert_int_equal(engine_cache_until_ms(s), 0);

    become_ready_again(w);
    struct asked begin;
    expect_asked(w, WIRE_CACHE_BEGIN, &begin);
    assert_int_equal(begin.r.session, SESSION_ID);
    assert_true(begin.r.has_session);
    const uint64_t sent_ms = w->now_ms;
    struct asked g;
    expect_asked(w, WIRE_NODE_GET, &g);
    expect_nothing(w);
    /* What is answered before the master has bound us is not registered for sure. */
    reply(w, &g.r, granted(&g.r, "two", 12, 0));
    assert_int_equal(o.rc, LOCKD_OK);
    pass(w, 200);
    reply_begun(w, &begin.r, CACHE_MS, 2);
    assert_int_equal(engine_cache_until_ms(s), sent_ms + CACHE_HERE_MS);
    assert_false(has(w, s, G));
    assert_false(has(w, s, F));
    fill(w, s, F, "three", 13, 2);
    assert_true(has(w, s, F));
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    const struct wire_request late = expect(w, WIRE_NODE_GET);
    reply(w, &late, granted(&late, "two", 13, 1)); /* Numbers are this master's from now on. */
    assert_false(has(w, s, G));
    world_free(w);
}

/* A KeepAlive that waited for the connection goes behind cache.begin. */
static void test_first_word(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    (void)open_caching(w, CACHE_MS);
    pass(w, 1000);
    (void)expect(w, WIRE_SESSION_KEEPALIVE);
    lose_link(w);
    become_ready_again(w);
    struct asked begin;
    expect_asked(w, WIRE_CACHE_BEGIN, &begin);
    struct asked k;
    expect_asked(w, WIRE_SESSION_KEEPALIVE, &k);
    reply_keepalive(w, &k.r, LEASE_MS, 0); /* Before the cache is bound: says nothing of it. */
    expect_nothing(w);
    reply_begun(w, &begin.r, CACHE_MS, 0);
    /* The next KeepAlive is due for the cache's sake. */
    pass(w, 1000);
    (void)expect(w, WIRE_SESSION_KEEPALIVE);
    world_free(w);
}

/* The same connection, and another mastership. */
static void test_deposed(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome o = {.times = 0};
    fill(w, s, F, "one", 11, 0);
    invalidate_name(w, SESSION_ID, 9, "/ls/test/none");
    struct asked ack;
    expect_asked(w, WIRE_CACHE_ACK, &ack);
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    struct asked g;
    expect_asked(w, WIRE_NODE_GET, &g);
    reply_error(w, &ack.r, WIRE_NOT_MASTER);
    assert_false(has(w, s, F));
    reply_error(w, &g.r, WIRE_NOT_MASTER);
    pass(w, 50);
    const struct wire_request probe = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &probe, /* serving= */ true, NULL, 131073);
    struct asked begin;
    expect_asked(w, WIRE_CACHE_BEGIN, &begin); /* And no old number. */
    struct asked again;
    expect_asked(w, WIRE_NODE_GET, &again);
    reply_begun(w, &begin.r, CACHE_MS, 0);
    reply(w, &again.r, granted(&again.r, "two", 12, 0));
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(has(w, s, G));
    expect_nothing(w);
    world_free(w);
}

/* A master that was elected anew, and nobody noticed: its KeepAlives bring nothing. */
static void test_elected_anew(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    fill(w, s, F, "one", 11, 0);
    pass(w, 1000);
    const struct wire_request k = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &k, LEASE_MS, 0);
    assert_false(has(w, s, F));
    const struct wire_request begin = expect(w, WIRE_CACHE_BEGIN);
    reply_begun(w, &begin, CACHE_MS, 0);
    fill(w, s, F, "two", 12, 0);
    assert_true(has(w, s, F));

    /* Who can't be begun with is asked again with the next KeepAlive. */
    pass(w, 1000);
    const struct wire_request next = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &next, LEASE_MS, 0);
    const struct wire_request refused = expect(w, WIRE_CACHE_BEGIN);
    reply_error(w, &refused, WIRE_OVERLOADED);
    expect_nothing(w);
    pass(w, LEASE_MS / 3);
    const struct wire_request third = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &third, LEASE_MS, 0);
    (void)expect(w, WIRE_CACHE_BEGIN);
    assert_false(has(w, s, F));
    world_free(w);
}

/* It counts from when the request was sent, less the drift. */
static void test_lease(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    const uint64_t opened_ms = w->now_ms;
    assert_int_equal(engine_cache_until_ms(s), opened_ms + CACHE_HERE_MS);
    fill(w, s, F, "one", 11, 0);
    pass(w, 1000);
    const struct wire_request k = expect(w, WIRE_SESSION_KEEPALIVE);
    const uint64_t sent_ms = w->now_ms;
    pass(w, 250);
    reply_keepalive(w, &k, LEASE_MS, CACHE_MS);
    assert_int_equal(engine_cache_until_ms(s), sent_ms + CACHE_HERE_MS);
    /* The next is not answered in time; what is kept is not believed, and not lost. */
    w->now_ms = sent_ms + CACHE_HERE_MS - 1;
    assert_true(has(w, s, F));
    w->now_ms++;
    assert_false(has(w, s, F));
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, F, &o);
    assert_int_equal(o.times, 0);
    (void)expect(w, WIRE_NODE_GET);
    engine_tick(w->engine, w->now_ms);
    const struct wire_request late = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &late, LEASE_MS, CACHE_MS);
    assert_true(has(w, s, F));
    world_free(w);
}

/* Never longer than the session may be believed in. */
static void test_session_over(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    fill(w, s, F, "one", 11, 0);
    pass(w, 1000);
    struct wire_request k = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &k, LEASE_MS, 4 * LEASE_MS);
    const uint64_t valid_ms = engine_session_valid_until_ms(s);
    assert_int_equal(engine_cache_until_ms(s), valid_ms);
    w->now_ms = valid_ms;
    assert_false(has(w, s, F));
    engine_tick(w->engine, w->now_ms);
    assert_int_equal(engine_session_state(s), LOCKD_JEOPARDY);

    /* Reads of a session in jeopardy wait as its other calls do. */
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    k = expect(w, WIRE_SESSION_KEEPALIVE);
    expect_nothing(w);
    reply_error(w, &k, WIRE_SESSION_EXPIRED);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_EXPIRED);
    assert_int_equal(engine_session_state(s), LOCKD_EXPIRED);
    assert_null(cached(w, s, WIRE_NODE_GET, F));
    assert_int_equal(engine_cache_until_ms(s), 0);
    const struct wire_request r = read_request(WIRE_NODE_GET, F);
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, NULL, NULL),
                     LOCKD_E_EXPIRED);
    invalidate_name(w, SESSION_ID, 1, "/ls/test/f"); /* Nobody's any more. */
    world_free(w);
}

static void test_closing(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct outcome o = {.times = 0};
    fill(w, s, F, "one", 11, 0);
    assert_int_equal(engine_session_close(s, w->now_ms, 5000, done, &o), LOCKD_OK);
    assert_int_equal(engine_cache_until_ms(s), 0);
    assert_false(has(w, s, F));
    const struct wire_request r = expect(w, WIRE_SESSION_CLOSE);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

static void test_cell_without(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, 0);
    assert_int_equal(engine_cache_until_ms(s), 0);
    fill(w, s, F, "one", 11, 0); /* Whoever answers so: there is no lease to believe it. */
    assert_false(has(w, s, F));
    pass(w, LEASE_MS / 3 - 1);
    expect_nothing(w);
    pass(w, 1);
    struct wire_request k = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &k, LEASE_MS, 0);
    /* Perhaps it was the master of then that didn't know us: it is asked, once. */
    struct wire_request begin = expect(w, WIRE_CACHE_BEGIN);
    reply_begun(w, &begin, 0, 0);
    pass(w, LEASE_MS / 3);
    k = expect(w, WIRE_SESSION_KEEPALIVE);
    reply_keepalive(w, &k, LEASE_MS, 0);
    expect_nothing(w);
    world_free(w);
}

/* A handle is of one instance; what is kept under its name may be another's. */
static void test_pinned(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct lockd_answer *answer = NULL;
    struct outcome o = {.times = 0};
    fill(w, s, F, "one", 11, 0);
    struct wire_request r = read_request(WIRE_NODE_GET, F);
    r.if_instance = 7;
    assert_true(engine_cached(s, &r, &answer));
    lockd_answer_free(answer);
    r.if_instance = 6;
    assert_false(engine_cached(s, &r, &answer));
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, done, &o), LOCKD_OK);
    const struct wire_request asked = expect(w, WIRE_NODE_GET);
    assert_int_equal(asked.if_instance, 6);
    reply_error(w, &asked, WIRE_STALE_HANDLE);
    assert_int_equal(o.rc, LOCKD_E_STALE);
    assert_true(has(w, s, F));

    /* Nor does absence tell what the cell would say of a handle. */
    begin_read(w, s, WIRE_NODE_GET, G, &o);
    const struct wire_request g = expect(w, WIRE_NODE_GET);
    reply(w, &g, absent(12, 0));
    r = read_request(WIRE_NODE_STAT, G);
    assert_true(engine_cached(s, &r, &answer));
    lockd_answer_free(answer);
    r.if_instance = 7;
    assert_false(engine_cached(s, &r, &answer));
    world_free(w);
}

static void test_handle(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    struct lockd_handle *h = NULL;
    struct outcome o = {.times = 0};
    assert_int_equal(engine_open(s, w->now_ms, F, NULL, 5000, done, &o, &h), LOCKD_OK);
    const struct wire_request opening = expect(w, WIRE_NODE_STAT);
    assert_false(opening.cache);
    reply_ok(w, &opening);
    assert_int_equal(o.rc, LOCKD_OK);
    const struct wire_request r = read_request(WIRE_NODE_GET, "");
    assert_int_equal(engine_handle_call(h, w->now_ms, &r, 5000, done, &o), LOCKD_OK);
    const struct wire_request asked = expect(w, WIRE_NODE_GET);
    assert_int_equal(asked.if_instance, 7);
    assert_true(asked.cache && asked.has_session);
    reply(w, &asked, granted(&asked, "one", 11, 0));
    assert_int_equal(engine_handle_call(h, w->now_ms, &r, 5000, done, &o), LOCKD_OK);
    flush(w);
    assert_int_equal(o.times, 3);
    expect_nothing(w);
    world_free(w);
}

/* What was lent stays as it was, and stays for as long as its owner wants. */
static void test_lent(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_caching(w, CACHE_MS);
    fill(w, s, F, "one", 11, 0);
    struct lockd_answer *a = cached(w, s, WIRE_NODE_GET, F);
    struct lockd_answer *b = cached(w, s, WIRE_NODE_GET, F);
    assert_ptr_equal(a, b); /* Nothing is copied, ... */
    assert_int_equal(a->revision, 11);
    fill(w, s, G, "two", 15, 0);
    struct lockd_answer *c = cached(w, s, WIRE_NODE_GET, F);
    assert_int_equal(c->revision, 15);
    assert_int_equal(c->slot, 15);
    assert_int_equal(a->revision, 11); /* ... unless it would change. */
    assert_string_equal(c->content, "one");
    lockd_answer_free(b);
    lockd_answer_free(c);
    fill(w, s, "/ls/local/h", "three", 16, 0);
    struct lockd_answer *d = cached(w, s, WIRE_NODE_GET, F);
    assert_ptr_equal(c, d); /* Nobody else has it: it is dated anew where it stands. */
    assert_int_equal(d->revision, 16);
    invalidate(w, SESSION_ID, 1, NULL, 0);
    assert_string_equal(d->content, "one");
    engine_session_free(s, w->now_ms);
    world_free(w);
    assert_string_equal(a->content, "one");
    assert_int_equal(a->revision, 11);
    lockd_answer_free(a);
    lockd_answer_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hit),         cmocka_unit_test(test_absence),
        cmocka_unit_test(test_not_granted), cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_invalidated), cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_reconnect),   cmocka_unit_test(test_first_word),
        cmocka_unit_test(test_deposed),     cmocka_unit_test(test_elected_anew),
        cmocka_unit_test(test_lease),       cmocka_unit_test(test_session_over),
        cmocka_unit_test(test_closing),     cmocka_unit_test(test_cell_without),
        cmocka_unit_test(test_pinned),      cmocka_unit_test(test_handle),
        cmocka_unit_test(test_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
