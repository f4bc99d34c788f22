/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_election.c -- stories of elections: campaigns over fail-overs, and what
 * those see who observe them.
 */
#include "tests/unit/test_client_support.h"

/* ----------------------------------------------------------------- campaigns */

static struct lockd_lock *campaign(struct world *w, struct lockd_session *s, int timeout_ms,
                                   struct outcome *o)
{
    struct lockd_lock *lock = NULL;
    assert_int_equal(
        engine_campaign(s, w->now_ms, "/ls/local/e", "me", 2, NULL, timeout_ms, done, o, &lock),
        LOCKD_OK);
    flush(w);
    return lock;
}

static void test_campaign(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, 2000, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_true(r.create);
    assert_int_equal(r.mode, WIRE_EXCLUSIVE);
    reply_ok(w, &r);
    assert_int_equal(o.times, 0);
    assert_false(engine_lock_held(lock)); /* Nobody knows yet. */
    r = expect(w, WIRE_NODE_PUT);
    assert_int_equal(r.name.size, 11);
    assert_memory_equal(r.content.data, "me", 2);
    assert_int_equal(r.request, 2);
    assert_int_equal(r.ack_floor, 1);
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_ptr_equal(o.lock, lock);
    assert_true(engine_lock_held(lock));
    assert_int_equal(engine_lock_token(lock), 110);

    assert_int_equal(engine_proclaim(lock, w->now_ms, "still", 5, 1000, done, &o), LOCKD_OK);
    r = expect(w, WIRE_NODE_PUT);
    assert_memory_equal(r.content.data, "still", 5);
    reply_ok(w, &r);
    assert_int_equal(engine_release(lock, w->now_ms, 1000, done, &o), LOCKD_OK);
    assert_int_equal(engine_proclaim(lock, w->now_ms, "late", 4, 1000, done, &o),
                     LOCKD_E_NOT_HELD);
    r = expect(w, WIRE_LOCK_RELEASE);
    reply_ok(w, &r);
    world_free(w);
}

/* A proclaim and the release behind it leave on one connection, which breaks.  The cell
 * may have refused the one for a while and executed the other: said again, it would be
 * said for the next leader.  The release says that it is given up. */
static void test_proclaim_behind_release(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome campaigned = {.times = 0}, proclaimed = {.times = 0},
                   released = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, 2000, &campaigned);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    assert_int_equal(engine_proclaim(lock, w->now_ms, "still", 5, 9000, done, &proclaimed),
                     LOCKD_OK);
    r = expect(w, WIRE_NODE_PUT);
    const uint64_t request = r.request;
    assert_int_equal(engine_release(lock, w->now_ms, 9000, done, &released), LOCKD_OK);
    expect(w, WIRE_LOCK_RELEASE);
    lose_link(w);
    become_ready_again(w);
    assert_int_equal(proclaimed.times, 1);
    assert_int_equal(proclaimed.rc, LOCKD_E_UNKNOWN);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(r.ack_floor, request);
    reply_ok(w, &r);
    assert_int_equal(released.rc, LOCKD_OK);
    world_free(w);
}

/* A fail-over between grant and write, and the write's answer lost. */
static void test_campaign_over_fail_overs(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(r.request, 1);
    reply_ok(w, &r);
    for (int i = 0; i < 2; i++) {
        r = expect(w, WIRE_NODE_PUT);
        assert_int_equal(r.request, 2);
        lose_link(w);
        become_ready_again(w);
    }
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(engine_lock_held(lock));
    world_free(w);
}

/* What is not led is given back. */
static void test_campaign_that_fails(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, 2000, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_PUT);
    reply_error(w, &r, WIRE_DENIED);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_DENIED);
    assert_null(o.lock);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(r.token, 110);
    assert_int_equal(r.ack_floor, 2);
    reply_ok(w, &r);
    assert_false(engine_lock_held(lock));

    /* Too late, and cancelled, while the value is on its way. */
    for (int i = 0; i < 2; i++) {
        lock = campaign(w, s, 500, &o);
        r = expect(w, WIRE_LOCK_ACQUIRE);
        reply_ok(w, &r);
        r = expect(w, WIRE_NODE_PUT);
        const uint64_t put = r.request;
        if (i == 0) {
            assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
        }
        for (int j = 0; j < 12; j++) {
            pass(w, 250);
            while (next_request(w, &r) && r.method == WIRE_CELL_STATUS) {
                reply_status(w, &r, true, NULL, 65537);
            }
            if (r.method == WIRE_LOCK_RELEASE) {
                break;
            }
        }
        assert_int_equal(r.method, WIRE_LOCK_RELEASE);
        assert_int_equal(o.times, 2 + i);
        assert_int_equal(o.rc, i == 0 ? LOCKD_E_CANCELLED : LOCKD_E_UNKNOWN);
        assert_int_equal(r.ack_floor, put); /* It will never be executed behind this. */
        reply_ok(w, &r);
    }
    world_free(w);
}

/* Granted while it was being cancelled. */
static void test_campaign_cancelled(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, 2000, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    assert_int_equal(engine_acquire_cancel(lock, w->now_ms), LOCKD_OK);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_E_CANCELLED);
    r = expect(w, WIRE_LOCK_CANCEL);
    reply_ok(w, &r);
    r = expect(w, WIRE_LOCK_RELEASE);
    reply_ok(w, &r);

    /* Freed while the value is on its way. */
    lock = campaign(w, s, 2000, &o);
    r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    expect(w, WIRE_NODE_PUT);
    engine_lock_free(lock, w->now_ms);
    r = expect(w, WIRE_LOCK_RELEASE);
    assert_int_equal(o.times, 2);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    reply_ok(w, &r);
    expect_nothing(w);
    world_free(w);
}

/* A candidate whose session has ended never leads. */
static void test_campaign_without_session(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_PUT);
    reply_error(w, &r, WIRE_SESSION_EXPIRED);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_EXPIRED);
    assert_false(engine_lock_held(lock));
    world_free(w);
}

/* In jeopardy the value waits for the session. */
static void test_campaign_in_jeopardy(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = campaign(w, s, LOCKD_FOR_EVER, &o);
    struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    expect(w, WIRE_NODE_PUT);
    lose_link(w);
    nobody_there(w, w->now_ms + 12000);
    assert_int_equal(engine_session_state(s), LOCKD_JEOPARDY);
    assert_int_equal(o.times, 0);
    become_ready_again(w);
    r = expect(w, WIRE_SESSION_KEEPALIVE);
    expect_nothing(w);
    reply_ok(w, &r);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(engine_lock_held(lock));
    world_free(w);
}

/* ----------------------------------------------------------------- observers */

/* Who was said to lead, one line each: "token=value". */
struct saga {
    char text[512];
    bool free_next;
    struct world *world;
};

static void observed(void *context, struct lockd_observer *observer,
                     const struct lockd_leader *leader)
{
    struct saga *saga = context;
    const size_t size = strlen(saga->text);
    snprintf(saga->text + size, sizeof saga->text - size, "%llu=%.*s;",
             (unsigned long long)leader->token, (int)leader->size, (const char *)leader->value);
    if (saga->free_next) {
        engine_observer_free(observer, saga->world->now_ms);
    }
}

static struct lockd_observer *observe(struct world *w, struct saga *saga)
{
    struct lockd_observer *o = NULL;
    assert_int_equal(engine_observe(w->engine, w->now_ms, "/ls/local/e", observed, saga, &o),
                     LOCKD_OK);
    flush(w);
    return o;
}

/* The file as it is at `revision`. */
static void reply_file(struct world *w, const struct wire_request *r, uint64_t revision,
                       uint64_t token, uint64_t written, const char *content)
{
    reply(w, r,
          (struct wire_reply){.has_position = true,
                              .revision = revision,
                              .has_stat = true,
                              .stat = {.kind = WIRE_FILE,
                                       .instance = 7,
                                       .lock_token = token,
                                       .revision = written,
                                       .size = strlen(content)},
                              .has_content = true,
                              .content = {.data = content, .size = strlen(content)}});
}

static void event_of(struct world *w, uint64_t id, enum wire_change change, uint64_t revision,
                     uint64_t token, const char *content)
{
    const size_t size = content == NULL ? 0 : strlen(content);
    notify_event(w, id,
                 (struct wire_event){.change = change,
                                     .revision = revision,
                                     .first_revision = revision,
                                     .count = 1,
                                     .instance = 7,
                                     .generation = 2,
                                     .size = change == WIRE_WRITTEN ? size + 1 : 0,
                                     .session = 1,
                                     .mode = WIRE_EXCLUSIVE,
                                     .token = token,
                                     .wants_content = true,
                                     .has_content = content != NULL,
                                     .content = {.data = content, .size = size}});
}

/* Nobody leads at revision 10. */
static uint64_t observe_nobody(struct world *w, struct saga *saga)
{
    struct wire_request r;
    observe(w, saga);
    become_ready(w);
    r = expect(w, WIRE_NODE_GET);
    reply(w, &r,
          (struct wire_reply){.error = WIRE_NO_NODE, .has_position = true, .revision = 10});
    assert_string_equal(saga->text, "0=;");
    r = expect(w, WIRE_WATCH_ADD);
    assert_int_equal(r.watches[0].from, 10);
    const uint64_t id = r.watches[0].watch;
    reply_ok(w, &r);
    saga->text[0] = 0;
    return id;
}

static void test_observe(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct saga saga = {.text = ""};
    const uint64_t id = observe_nobody(w, &saga);
    event_of(w, id, WIRE_CREATED, 11, 0, "");
    event_of(w, id, WIRE_GRANTED, 11, 11, NULL);
    assert_string_equal(saga.text, "");
    event_of(w, id, WIRE_WRITTEN, 12, 0, "a");
    event_of(w, id, WIRE_WRITTEN, 13, 0, "a2");
    event_of(w, id, WIRE_RELEASED, 14, 11, NULL);
    event_of(w, id, WIRE_WRITTEN, 15, 0, "not by a leader");
    event_of(w, id, WIRE_GRANTED, 16, 16, NULL);
    event_of(w, id, WIRE_WRITTEN, 17, 0, "b");
    /* Handed over: never b under c's token. */
    event_of(w, id, WIRE_RELEASED, 18, 16, NULL);
    event_of(w, id, WIRE_GRANTED, 18, 18, NULL);
    event_of(w, id, WIRE_WRITTEN, 19, 0, "c");
    event_of(w, id, WIRE_DELETED, 20, 0, NULL);
    assert_string_equal(saga.text, "11=a;11=a2;0=;16=b;0=;18=c;0=;");
    world_free(w);
}

/* A read may show a holder who has not written yet. */
static void test_observe_between(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct saga saga = {.text = ""};
    struct wire_request r;
    observe(w, &saga);
    become_ready(w);
    r = expect(w, WIRE_NODE_GET);
    reply_file(w, &r, 30, 25, 20, "old");
    assert_string_equal(saga.text, "0=;");
    r = expect(w, WIRE_WATCH_ADD);
    const uint64_t id = r.watches[0].watch;
    event_of(w, id, WIRE_WRITTEN, 20, 0, "old"); /* It is in the read. */
    reply_ok(w, &r);
    event_of(w, id, WIRE_WRITTEN, 31, 0, "new");
    assert_string_equal(saga.text, "0=;25=new;");
    world_free(w);
}

/* Content that does not travel, a gap, changes made one: read again, and again if
 * that was too early. */
static void test_observe_reads_again(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct saga saga = {.text = ""};
    struct wire_request r;
    const uint64_t id = observe_nobody(w, &saga);
    event_of(w, id, WIRE_GRANTED, 11, 11, NULL);
    event_of(w, id, WIRE_WRITTEN, 12, 0, NULL);
    r = expect(w, WIRE_NODE_GET);
    event_of(w, id, WIRE_WRITTEN, 13, 0, "small");
    reply_file(w, &r, 12, 11, 12, "large");
    assert_string_equal(saga.text, "");
    pass(w, 50);
    r = expect(w, WIRE_NODE_GET);
    reply_file(w, &r, 13, 11, 13, "small");
    assert_string_equal(saga.text, "11=small;");

    notify_event(w, id,
                 (struct wire_event){
                     .change = WIRE_GAP, .revision = 40, .first_revision = 40, .count = 1});
    r = expect(w, WIRE_NODE_GET);
    reply_file(w, &r, 41, 11, 13, "small"); /* The same leader. */
    event_of(w, id, WIRE_WRITTEN, 41, 0, "old news");
    notify_event(w, id,
                 (struct wire_event){.change = WIRE_RELEASED,
                                     .revision = 45,
                                     .instance = 7,
                                     .first_revision = 42,
                                     .count = 3,
                                     .session = 1,
                                     .mode = WIRE_EXCLUSIVE,
                                     .token = 43});
    r = expect(w, WIRE_NODE_GET);
    reply_file(w, &r, 45, 0, 44, "gone");
    assert_string_equal(saga.text, "11=small;0=;");
    world_free(w);
}

/* Over a fail-over it goes on where it was; free in each state. */
static void test_observe_over_fail_over(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct saga saga = {.text = "", .world = w};
    struct wire_request r;
    uint64_t id = observe_nobody(w, &saga);
    event_of(w, id, WIRE_GRANTED, 11, 11, NULL);
    event_of(w, id, WIRE_WRITTEN, 12, 0, "a");
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_WATCH_ADD);
    id = r.watches[0].watch;
    assert_int_equal(r.watches[0].from, 11);
    event_of(w, id, WIRE_WRITTEN, 12, 0, "a");
    event_of(w, id, WIRE_RELEASED, 13, 11, NULL);
    reply_ok(w, &r);
    saga.free_next = true;
    event_of(w, id, WIRE_GRANTED, 14, 14, NULL);
    event_of(w, id, WIRE_WRITTEN, 15, 0, "b");
    assert_string_equal(saga.text, "11=a;0=;14=b;");
    r = expect(w, WIRE_WATCH_REMOVE);
    engine_observer_free(observe(w, &saga), w->now_ms); /* While it reads. */
    world_free(w);
}

/* A name that no cell takes: told once, and it is over. */
static void test_observe_refused(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_observer *o = NULL;
    assert_int_equal(engine_observe(w->engine, w->now_ms, "/ls/other/e", NULL, NULL, &o),
                     LOCKD_OK);
    become_ready(w);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_error(w, &r, WIRE_OVERLOADED); /* For now. */
    pass(w, 50);
    r = expect(w, WIRE_NODE_GET);
    reply_error(w, &r, WIRE_BAD_NAME);
    struct lockd_leader *leader = engine_observer_next(o, w->now_ms);
    assert_non_null(leader);
    assert_int_equal(leader->rc, LOCKD_E_BAD_NAME);
    lockd_leader_free(leader);
    pass(w, 5000);
    assert_null(engine_observer_next(o, w->now_ms));
    engine_observer_free(o, w->now_ms);
    world_free(w);
}

/* Taken by asking: the newest only. */
static void test_observe_by_asking(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct lockd_observer *o = NULL;
    assert_int_equal(engine_observe(w->engine, w->now_ms, "/ls/local/e", NULL, NULL, &o),
                     LOCKD_OK);
    become_ready(w);
    assert_null(engine_observer_next(o, w->now_ms));
    struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_file(w, &r, 30, 25, 28, "a");
    r = expect(w, WIRE_WATCH_ADD);
    reply_ok(w, &r);
    event_of(w, r.watches[0].watch, WIRE_WRITTEN, 31, 0, "b");
    struct lockd_leader *leader = engine_observer_next(o, w->now_ms);
    assert_non_null(leader);
    assert_int_equal(leader->token, 25);
    assert_int_equal(leader->revision, 31);
    assert_string_equal(leader->value, "b");
    lockd_leader_free(leader);
    assert_null(engine_observer_next(o, w->now_ms));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_campaign),
        cmocka_unit_test(test_proclaim_behind_release),
        cmocka_unit_test(test_campaign_over_fail_overs),
        cmocka_unit_test(test_campaign_that_fails),
        cmocka_unit_test(test_campaign_cancelled),
        cmocka_unit_test(test_campaign_without_session),
        cmocka_unit_test(test_campaign_in_jeopardy),
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_observe_between),
        cmocka_unit_test(test_observe_reads_again),
        cmocka_unit_test(test_observe_over_fail_over),
        cmocka_unit_test(test_observe_refused),
        cmocka_unit_test(test_observe_by_asking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
