/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper: each rule once, and then all of them against a naive model.
 */
#include "tests/unit/test_lease_support.h"

#include "lease/keeper.h"
#include "paxos/base/rng.h"

static struct keeper *fixture(struct heap *heap)
{
    *heap = heap_new();
    const struct lease_allocator allocator = heap_allocator(heap);
    return keeper_new(&allocator, /* drift_ppm= */ 10000);
}

static struct lease_command due[KEEPER_BATCH];

static void assert_expires(struct keeper *k, uint64_t now_ms, uint64_t session)
{
    assert_int_equal(keeper_due(k, now_ms, 5, due), 1);
    assert_int_equal(due[0].type, LEASE_CMD_SESSION_EXPIRE);
    assert_int_equal(due[0].subject, session);
    assert_int_equal(due[0].epoch, 5);
}

static void test_session(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    keeper_session_opened(k, 1, 1000, 50);
    assert_int_equal(keeper_next_ms(k), 1050);
    assert_int_equal(keeper_left_ms(k, 1, 60), 990);
    assert_int_equal(keeper_left_ms(k, 2, 60), 0);
    assert_int_equal(keeper_due(k, 1049, 5, due), 0);

    /* A KeepAlive that has been read holds the judgement back. */
    assert_true(keeper_reading(k, 1));
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    assert_int_equal(keeper_due(k, 5000, 5, due), 0);
    keeper_answered(k, 1, 1000, 5000);
    assert_int_equal(keeper_next_ms(k), 6000);

    /* Two of them, one dropped: what was granted stands, and nothing more. */
    assert_true(keeper_reading(k, 1));
    assert_true(keeper_reading(k, 1));
    keeper_answered(k, 1, 1000, 5500);
    assert_int_equal(keeper_due(k, 9000, 5, due), 0);
    keeper_answered(k, 1, 0, 9000);
    assert_int_equal(keeper_next_ms(k), 6500);
    assert_expires(k, 6500, 1);

    /* From now on the outcome decides. */
    assert_true(keeper_expiring(k, 1));
    assert_false(keeper_reading(k, 1));
    assert_int_equal(keeper_left_ms(k, 1, 100), 0);
    assert_int_equal(keeper_due(k, 9999, 5, due), 0);
    keeper_session_closed(k, 1);
    assert_false(keeper_expiring(k, 1));
    assert_true(keeper_reading(k, 1)); /* There is none; who answers will say so. */
    keeper_answered(k, 1, 1000, 1);
    keeper_session_closed(k, 1);
    keeper_free(k);
    keeper_free(NULL);
    assert_int_equal(heap.used, 0);
}

static void test_shorter_answer(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    keeper_session_opened(k, 1, 9000, 0);
    keeper_answered(k, 1, 1000, 10); /* Takes nothing back. */
    assert_int_equal(keeper_next_ms(k), 9000);
    keeper_free(k);
    assert_int_equal(heap.used, 0);
}

static void test_waits(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    keeper_session_opened(k, 1, 5000, 0);
    keeper_wait_begun(k, 1, 7, 100, 0);
    keeper_wait_begun(k, 1, 8, 0, 0); /* For ever. */
    keeper_wait_begun(k, 1, 9, 200, 0);
    keeper_wait_begun(k, 1, 7, 100, 50); /* A retry adds nothing. */
    assert_int_equal(keeper_next_ms(k), 100);
    assert_int_equal(keeper_due(k, 150, 6, due), 1);
    assert_int_equal(due[0].type, LEASE_CMD_TIMEOUT);
    assert_int_equal(due[0].subject, 1);
    assert_int_equal(due[0].subject_request, 7);
    assert_int_equal(due[0].epoch, 6);
    assert_int_equal(keeper_due(k, 150, 6, due), 0);
    keeper_wait_ended(k, 1, 7);
    keeper_wait_ended(k, 1, 8);
    assert_int_equal(keeper_next_ms(k), 200);
    keeper_session_closed(k, 1); /* With its waits. */
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    keeper_free(k);
    assert_int_equal(heap.used, 0);
}

static void test_away(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    keeper_session_opened(k, 1, 1000, 0);
    keeper_add_away(k, 400);
    assert_int_equal(keeper_next_ms(k), 1400);
    keeper_session_opened(k, 2, 1000, 450); /* Was not there to suffer. */
    assert_int_equal(keeper_due(k, 1399, 1, due), 0);
    assert_expires(k, 1400, 1);
    assert_expires(k, 1450, 2);
    keeper_free(k);
}

static void test_batches(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    const uint64_t sessions = 2 * KEEPER_BATCH + 10;
    for (uint64_t i = 1; i <= sessions; i++) {
        keeper_session_opened(k, i, (uint32_t)(10000 - i), 0);
    }
    uint64_t expected = sessions; /* The longest overdue first. */
    static const uint32_t sizes[] = {KEEPER_BATCH, KEEPER_BATCH, 10, 0};
    for (size_t i = 0; i < 4; i++) {
        const uint32_t count = keeper_due(k, 20000, 1, due);
        assert_int_equal(count, sizes[i]);
        for (uint32_t j = 0; j < count; j++) {
            assert_int_equal(due[j].subject, expected--);
        }
    }
    keeper_free(k);
    assert_int_equal(heap.used, 0);
}

/* What can't be proposed yet is due again at once, and judged anew. */
static void test_postponed(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    keeper_session_opened(k, 1, 1000, 0);
    keeper_session_opened(k, 2, 1000, 0);
    keeper_wait_begun(k, 2, 7, 1000, 0);
    keeper_delay_begun(k, &(struct lease_delay){.instance = 3, .number = 4, .delay_ms = 900},
                       0);
    assert_int_equal(keeper_due(k, 1000, 5, due), 4);
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    struct lease_command brought[4];
    memcpy(brought, due, sizeof brought);
    for (uint32_t i = 0; i < 4; i++) {
        keeper_postpone(k, &brought[i]);
    }
    assert_true(keeper_next_ms(k) < 1000);
    assert_false(keeper_expiring(k, 1));

    /* A session that is heard of lives; the rest is brought as it was. */
    assert_true(keeper_reading(k, 1));
    keeper_answered(k, 1, 1000, 1100);
    assert_int_equal(keeper_left_ms(k, 1, 1100), 1000);
    assert_int_equal(keeper_due(k, 1100, 5, due), 3);
    uint32_t same = 0;
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < 4; j++) {
            same += due[i].type == brought[j].type && due[i].subject == brought[j].subject &&
                    due[i].subject_request == brought[j].subject_request;
        }
    }
    assert_int_equal(same, 3);
    assert_expires(k, 2100, 1);
    keeper_free(k);
    assert_int_equal(heap.used, 0);
}

static void test_begin(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    must(l, open_session(1));
    must(l, open_session(2));
    must(l, put("f", ""));
    must(l, acquire(1, 1, "f", LEASE_EXCLUSIVE));
    struct lease_command wait = acquire(2, 1, "f", LEASE_EXCLUSIVE);
    wait.wait_ms = 300;
    assert_int_equal(apply(l, wait).rc, LEASE_WAITING);

    keeper_session_opened(k, 9, 10, 0); /* Of an earlier mastership. */
    keeper_add_away(k, 77);
    keeper_begin(k, l, 1000);
    keeper_check(k, l);
    assert_int_equal(keeper_next_ms(k), 1300); /* In full. */
    assert_int_equal(keeper_left_ms(k, 1, 1000), 5000);
    assert_int_equal(keeper_left_ms(k, 2, 1000), 5000);
    assert_int_equal(keeper_due(k, 1300, 3, due), 1);
    must(l, time_out(2, 1, 0));
    keeper_wait_ended(k, 2, 1);
    keeper_check(k, l);
    keeper_end(k);
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    keeper_free(k);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* Longer than was asked by what clocks may differ, rounded up. */
static void test_delays(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    const struct lease_delay delay = {.instance = 4, .number = 1, .delay_ms = 1001};
    keeper_delay_begun(k, &delay, 50);
    keeper_session_opened(k, 4, 9000, 50); /* Another thing of the same number. */
    keeper_wait_begun(k, 4, 1, 8000, 50);
    assert_int_equal(keeper_next_ms(k), 50 + 1001 + 11);
    assert_int_equal(keeper_delay_left_ms(k, 4, 1, 60), 1002);
    assert_int_equal(keeper_delay_left_ms(k, 4, 2, 60), 0);
    keeper_session_closed(k, 4);
    assert_int_equal(keeper_delay_left_ms(k, 4, 1, 60), 1002);

    keeper_add_away(k, 100);
    assert_int_equal(keeper_due(k, 1161, 5, due), 0);
    assert_int_equal(keeper_due(k, 1162, 5, due), 1);
    assert_int_equal(due[0].type, LEASE_CMD_DELAY_OVER);
    assert_int_equal(due[0].subject, 4);
    assert_int_equal(due[0].subject_request, 1);
    assert_int_equal(due[0].epoch, 5);
    assert_int_equal(keeper_delay_left_ms(k, 4, 1, 60), 0);
    assert_int_equal(keeper_due(k, 9999, 5, due), 0); /* Once. */
    keeper_delay_ended(k, 4, 1);
    keeper_delay_ended(k, 4, 1);
    assert_true(keeper_next_ms(k) == UINT64_MAX);
    keeper_free(k);
    assert_int_equal(heap.used, 0);
}

/* The next master counts lock-delays in full, and the longest lease that a session
 * may have been promised. */
static void test_begin_anew(void **state)
{
    (void)state;
    struct heap heap;
    struct keeper *k = fixture(&heap);
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    for (uint64_t id = 1; id <= 3; id++) {
        struct lease_command open = open_session(id);
        open.lease_ms = id == 1 ? 11999 : 12000;
        must(l, open);
    }
    must(l, put("f", ""));
    struct lease_command command = acquire(3, 1, "f", LEASE_EXCLUSIVE);
    command.delay_ms = 20000;
    must(l, command);
    must(l, expire_session(3, 0));
    must(l, (struct lease_command){.type = LEASE_CMD_STRETCH, .lease_ms = 30000});

    keeper_begin(k, l, 1000);
    keeper_check(k, l);
    assert_int_equal(keeper_left_ms(k, 1, 1000), 11999); /* Too short to be stretched. */
    assert_int_equal(keeper_left_ms(k, 2, 1000), 30000);
    assert_int_equal(keeper_delay_left_ms(k, 2, 1, 1000), 20200);
    keeper_begin(k, l, 9000);
    assert_int_equal(keeper_delay_left_ms(k, 2, 1, 9000), 20200);

    must(l, (struct lease_command){.type = LEASE_CMD_STRETCH});
    must(l, delay_over(2, 1, 0));
    keeper_begin(k, l, 1000);
    keeper_check(k, l);
    assert_int_equal(keeper_left_ms(k, 2, 1000), 12000);
    keeper_free(k);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* ------------------------------------------------------------------- model */

enum { SESSIONS = 40, REQUESTS = 3 }; /* Request 0: the session itself. */

struct model_entry {
    bool there, proposed;
    uint64_t deadline_ms;
    uint32_t reading;
};

struct model {
    struct model_entry entry[SESSIONS][REQUESTS];
};

static uint64_t model_next(const struct model *m, unsigned *ret_session, unsigned *ret_request)
{
    uint64_t next = UINT64_MAX;
    for (unsigned s = 1; s < SESSIONS; s++) {
        for (unsigned r = 0; r < REQUESTS; r++) {
            const struct model_entry *e = &m->entry[s][r];
            if (e->there && !e->proposed && e->reading == 0 && e->deadline_ms < next) {
                next = e->deadline_ms;
                *ret_session = s;
                *ret_request = r;
            }
        }
    }
    return next;
}

static void model_due(struct model *m, struct keeper *k, uint64_t now_ms)
{
    const uint32_t count = keeper_due(k, now_ms, 1, due);
    for (uint32_t i = 0; i < count; i++) {
        unsigned s = 0, r = 0;
        assert_true(model_next(m, &s, &r) <= now_ms);
        assert_int_equal(due[i].subject, s);
        assert_int_equal(due[i].subject_request, r);
        m->entry[s][r].proposed = true;
    }
}

static void random_event(struct model *m, struct keeper *k, struct rng *rng, uint64_t now_ms)
{
    const unsigned s = (unsigned)rng_between(rng, 1, SESSIONS - 1);
    const unsigned r = (unsigned)rng_between(rng, 1, REQUESTS - 1);
    const uint32_t span_ms = (uint32_t)rng_between(rng, 1, 1000);
    struct model_entry *session = &m->entry[s][0], *wait = &m->entry[s][r];
    switch (rng_below(rng, 8)) {
    case 0:
        if (!session->there) {
            keeper_session_opened(k, s, span_ms, now_ms);
            *session = (struct model_entry){.there = true, .deadline_ms = now_ms + span_ms};
        }
        break;
    case 1:
        if (rng_below(rng, 4) == 0) {
            keeper_session_closed(k, s);
            memset(m->entry[s], 0, sizeof m->entry[s]);
        }
        break;
    case 2:
        if (session->there) {
            keeper_wait_begun(k, s, r, span_ms, now_ms);
            if (!wait->there) {
                *wait = (struct model_entry){.there = true, .deadline_ms = now_ms + span_ms};
            }
        }
        break;
    case 3:
        keeper_wait_ended(k, s, r);
        *wait = (struct model_entry){0};
        break;
    case 4:
    case 5: {
        const bool reads = keeper_reading(k, s);
        assert_int_equal(reads, !(session->there && session->proposed));
        session->reading += session->there && reads;
        break;
    }
    case 6:
        if (session->reading > 0) {
            const bool dropped = rng_below(rng, 4) == 0;
            keeper_answered(k, s, dropped ? 0 : span_ms, now_ms);
            session->reading--;
            if (!dropped && now_ms + span_ms > session->deadline_ms) {
                session->deadline_ms = now_ms + span_ms;
            }
        }
        break;
    default:
        if (rng_below(rng, 10) == 0) {
            keeper_add_away(k, span_ms);
            for (unsigned i = 0; i < SESSIONS * REQUESTS; i++) {
                m->entry[i / REQUESTS][i % REQUESTS].deadline_ms += span_ms;
            }
        }
        break;
    }
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct rng rng = {.state = seed};
        struct heap heap;
        struct keeper *k = fixture(&heap);
        static struct model m;
        m = (struct model){0};
        uint64_t now_ms = 1;
        for (int i = 0; i < 6000; i++) {
            now_ms += rng_below(&rng, 12);
            random_event(&m, k, &rng, now_ms);
            unsigned s = 0, r = 0;
            assert_true(keeper_next_ms(k) == model_next(&m, &s, &r));
            if (rng_below(&rng, 3) == 0) {
                model_due(&m, k, now_ms);
                assert_true(model_next(&m, &s, &r) > now_ms);
            }
        }
        keeper_free(k);
        assert_int_equal(heap.used, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session),    cmocka_unit_test(test_shorter_answer),
        cmocka_unit_test(test_waits),      cmocka_unit_test(test_away),
        cmocka_unit_test(test_batches),    cmocka_unit_test(test_postponed),
        cmocka_unit_test(test_begin),      cmocka_unit_test(test_delays),
        cmocka_unit_test(test_begin_anew), cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
