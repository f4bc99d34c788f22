/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_link.c -- stories of the one connection: finding the master, staying with
 * the slow, leaving the silent.
 */
#include "tests/unit/test_client_support.h"

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

static void answer_all(struct world *w)
{
    struct wire_request r;
    while (next_request(w, &r)) {
        reply_ok(w, &r);
    }
}

/* A connection that breaks is made again, to the same master, though it was young:
 * the shortest lease would not survive a round among followers.  One that breaks again
 * and again is made ever later. */
static void test_tries_the_master_again(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2,10.0.0.3");
    open_session(w);
    char master[64];
    snprintf(master, sizeof master, "%s", engine_wish(w->engine)->address);
    for (uint32_t broken = 0; broken < 8; broken++) {
        const uint64_t longest_ms = UINT64_C(50) << (broken < 5 ? broken : 5);
        lose_link(w);
        const uint64_t lost_ms = w->now_ms;
        assert_int_equal(engine_wish(w->engine)->link, 0);
        become_ready_again(w);
        assert_string_equal(engine_wish(w->engine)->address, master);
        assert_true(w->now_ms - lost_ms <= longest_ms + 10);
        assert_true(w->now_ms - lost_ms >= longest_ms * 2 / 5);
        answer_all(w);
    }
    for (uint32_t i = 0; i < 10; i++) { /* It lasts. */
        pass(w, 100);
        answer_all(w);
    }
    lose_link(w);
    assert_int_not_equal(engine_wish(w->engine)->link, 0);
    assert_string_equal(engine_wish(w->engine)->address, master);
    become_ready(w);
    lose_link(w);
    const uint64_t lost_ms = w->now_ms;
    become_ready_again(w);
    assert_true(w->now_ms - lost_ms <= 60);
    /* Nobody is there: now the others are asked. */
    lose_link(w);
    while (engine_wish(w->engine)->link == 0) {
        pass(w, 10);
    }
    refuse_link(w);
    assert_string_not_equal(engine_wish(w->engine)->address, master);
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
    pass(w, 299);
    expect_nothing(w);
    pass(w, 1);
    expect(w, WIRE_CELL_STATUS);
    pass(w, 299);
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
        pass(w, 300);
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
    for (int i = 0; i < 9; i++) { /* It talks, but not of that. */
        pass(w, 300);
        const struct wire_request r = expect(w, WIRE_CELL_STATUS);
        reply_status(w, &r, true, NULL, 65537);
    }
    pass(w, 299);
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

struct silence {
    uint64_t epoch, quiet_ms;
};

/* Masters that fall silent one after the other, and how long they may. */
static void fall_silent(const struct silence *cases, size_t count)
{
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct lockd_session *s = open_session(w);
    struct outcome o = {.times = 0};
    put(w, s, &o);
    for (size_t i = 0; i < count; i++) {
        struct wire_request r;
        if (i > 0) {
            connect_link(w);
            r = expect(w, WIRE_CELL_STATUS);
            reply_status(w, &r, /* serving= */ true, NULL, cases[i].epoch);
        }
        expect(w, WIRE_NODE_PUT);
        const uint64_t link = w->link;
        pass(w, cases[i].quiet_ms - 1);
        expect_nothing(w);
        pass(w, 1);
        expect(w, WIRE_CELL_STATUS);
        pass(w, cases[i].quiet_ms - 1);
        assert_int_equal(engine_wish(w->engine)->link, link);
        pass(w, 1);
        assert_int_not_equal(engine_wish(w->engine)->link, link);
        while (engine_wish(w->engine)->link == 0) {
            pass(w, 1);
        }
    }
    world_free(w);
}

/* The same master again: it was slow, and gets more time.  Another one is new. */
static void test_silence_of_the_slow(void **state)
{
    (void)state;
    static const struct silence same[] = {{65537, 300}, {65537, 600}, {65537, 1000}};
    static const struct silence others[] = {
        {65537, 300}, {65537, 600}, {131073, 300}, {131073, 600}};
    fall_silent(same, 3);
    fall_silent(others, 4);
}

/* What can't be repeated is worth more patience. */
static void test_silence_and_one_shots(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    put(w, NULL, &o);
    become_ready(w);
    expect(w, WIRE_NODE_PUT);
    pass(w, 999);
    expect_nothing(w);
    pass(w, 1);
    expect(w, WIRE_CELL_STATUS);
    pass(w, 999);
    assert_int_equal(o.times, 0);
    pass(w, 1);
    assert_int_equal(o.rc, LOCKD_E_UNKNOWN);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_the_master),
        cmocka_unit_test(test_waits_for_an_election),
        cmocka_unit_test(test_tries_the_master_again),
        cmocka_unit_test(test_leaves_the_silent),
        cmocka_unit_test(test_stays_with_the_slow),
        cmocka_unit_test(test_keepalive_not_answered),
        cmocka_unit_test(test_learns_endpoints),
        cmocka_unit_test(test_silence_of_the_slow),
        cmocka_unit_test(test_silence_and_one_shots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
