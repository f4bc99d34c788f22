/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_model.c -- the client's small parts against models, and the whole
 * engine against a cell that misbehaves at random: whatever happens, every call
 * ends exactly once, an outcome that was told is the one that was remembered, and
 * nothing is executed twice.
 */
#include "tests/unit/test_client_support.h"

#include "libclient/acks.h"
#include "libclient/heap.h"
#include "libclient/locate.h"

static uint64_t chance_state;

static uint64_t chance(uint64_t bound)
{
    chance_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = chance_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % bound;
}

/* --------------------------------------------------------------------- parts */

static void test_acks(void **state)
{
    (void)state;
    enum { IDS = 200 };
    for (uint64_t seed = 1; seed < 50; seed++) {
        bool model[IDS + 2] = {false};
        struct acks a = {.floor = 0};
        chance_state = seed;
        for (int left = IDS; left > 0; left--) {
            uint64_t id;
            do {
                id = 1 + chance(IDS);
            } while (model[id]);
            model[id] = true;
            assert_true(acks_reserve(&a, IDS));
            acks_add(&a, id);
            uint64_t at = 1;
            while (model[at]) {
                at++;
            }
            assert_int_equal(a.floor, at - 1);
            for (size_t i = 0; i < a.count; i++) {
                assert_true(!model[a.ranges[i].first - 1] && !model[a.ranges[i].last + 1]);
                for (; at < a.ranges[i].first; at++) {
                    assert_false(model[at]);
                }
                for (; at <= a.ranges[i].last; at++) {
                    assert_true(model[at]);
                }
            }
            for (; at <= IDS; at++) {
                assert_false(model[at]);
            }
        }
        assert_int_equal(a.floor, IDS);
        assert_int_equal(a.count, 0);
        acks_free(&a);
    }
}

/* More ranges than a request carries: all of them get their turn. */
static void test_acks_in_turn(void **state)
{
    (void)state;
    struct acks a = {.floor = 0};
    struct wire_request r;
    assert_true(acks_reserve(&a, 100));
    for (uint64_t id = 2; id <= 80; id += 2) {
        acks_add(&a, id);
    }
    uint64_t last = 0;
    for (int i = 0; i < 3; i++) {
        acks_fill(&a, &r);
        assert_int_equal(r.ack_floor, 0);
        for (uint32_t j = 0; j < r.acks_count; j++) {
            assert_int_equal(r.acks[j].first, last + 2);
            last = r.acks[j].last;
        }
    }
    assert_int_equal(last, 80);
    acks_fill(&a, &r);
    assert_int_equal(r.acks[0].first, 2);
    acks_free(&a);
}

static void test_heap(void **state)
{
    (void)state;
    enum { TIMERS = 100 };
    struct timer timers[TIMERS] = {{.at_ms = 0}};
    struct heap h = {.count = 0};
    chance_state = 3;
    for (int i = 0; i < TIMERS; i++) {
        assert_true(heap_reserve(&h));
    }
    for (int i = 0; i < 20000; i++) {
        struct timer *t = &timers[chance(TIMERS)];
        heap_set(&h, t, chance(4) == 0 ? TIMER_NEVER : chance(50));
        const struct timer *first = NULL;
        for (int j = 0; j < TIMERS; j++) {
            t = &timers[j];
            if (timer_set(t) && (first == NULL || t->at_ms < first->at_ms ||
                                 (t->at_ms == first->at_ms && t->order < first->order))) {
                first = t;
            }
        }
        assert_ptr_equal(heap_first(&h), first);
    }
    for (int i = 0; i < TIMERS; i++) {
        heap_forget(&h, &timers[i]);
    }
    assert_null(heap_first(&h));
    heap_free(&h);
}

/* To another endpoint than "d". */
static void go_on(struct locate *l, uint64_t now_ms)
{
    do {
        (void)locate_next(l, now_ms, true);
    } while (locate_address(l)[0] == 'd');
}

/* Rounds go over all; pauses are short at first, never long. */
static void test_locate(void **state)
{
    (void)state;
    struct locate l;
    bool seen[3] = {false};
    assert_true(locate_init(&l, "a,b,c", 5));
    uint64_t now_ms = 1000;
    for (int i = 0; i < 30; i++) {
        seen[locate_address(&l)[0] - 'a'] = true;
        const uint64_t pause_ms = locate_next(&l, now_ms, true);
        assert_int_equal(pause_ms == 0, i % 3 != 2);
        assert_true(pause_ms <= (now_ms < 2500 ? 50 : 1000));
        now_ms += pause_ms + 100;
    }
    assert_true(seen[0] && seen[1] && seen[2]);

    /* A hint is followed unless it has just failed; a newer epoch clears that. */
    const struct wire_text d = {.data = "d:7400", .size = 6};
    assert_true(locate_hint(&l, now_ms, d));
    assert_string_equal(locate_address(&l), "d:7400");
    go_on(&l, now_ms);
    assert_false(locate_hint(&l, now_ms + 999, d));
    locate_heard(&l, 65537);
    assert_true(locate_hint(&l, now_ms + 999, d));
    go_on(&l, now_ms);
    assert_true(locate_hint(&l, now_ms + 1000, d));
    assert_false(locate_hint(&l, now_ms + 5000, d)); /* We are there. */
}

/* ------------------------------------------------------------------ the model */

enum { CALLS_MAX = 400, REQUESTS_MAX = 1000, HELD_MAX = 64 };

/* A request that the cell has read and not yet answered. */
struct held {
    char id[WIRE_ID_MAX];
    struct wire_request request;
};

struct cell {
    struct world *w;
    struct lockd_session *session;
    enum wire_method remembered[REQUESTS_MAX]; /* By request id. */
    uint64_t slots[REQUESTS_MAX];
    uint64_t cancelled[REQUESTS_MAX];
    uint64_t slot;
    struct held held[HELD_MAX];
    size_t held_count;
    struct outcome outcomes[CALLS_MAX];
    struct lockd_lock *locks[CALLS_MAX];
    size_t calls;
};

static void answer(struct cell *c, const struct wire_request *r)
{
    const uint64_t id = r->request;
    if (r->method == WIRE_CELL_STATUS) {
        reply_status(c->w, r, chance(10) != 0, NULL, 65537);
    } else if (chance(20) == 0) {
        static const enum wire_error refusals[] = {WIRE_NOT_MASTER, WIRE_UNAVAILABLE,
                                                   WIRE_OVERLOADED};
        reply_error(c->w, r, refusals[chance(3)]);
    } else if (id == 0) {
        reply_ok_at(c->w, r, ++c->slot);
    } else {
        assert_true(id < REQUESTS_MAX);
        assert_true(id > r->ack_floor);
        if (c->remembered[id] == 0) {
            c->remembered[id] = r->method;
            c->slots[id] = ++c->slot;
        }
        assert_int_equal(c->remembered[id], r->method);
        if (r->method == WIRE_LOCK_CANCEL && c->remembered[r->cancel] == 0) {
            c->remembered[r->cancel] = WIRE_LOCK_ACQUIRE;
            c->slots[r->cancel] = c->slot;
            c->cancelled[r->cancel] = 1;
        }
        if (c->cancelled[id] != 0) {
            reply_error(c->w, r, WIRE_CANCELLED);
        } else {
            reply_ok_at(c->w, r, c->slots[id]);
        }
    }
}

/* Reads all; answers some, in any order, and keeps the others. */
static void serve(struct cell *c)
{
    struct wire_request r;
    while (c->held_count < HELD_MAX && next_request(c->w, &r)) {
        struct held *h = &c->held[c->held_count++];
        h->request = r;
        memcpy(h->id, r.id.data, r.id.size);
        h->request.id.data = h->id;
    }
    const uint64_t link = c->w->link;
    while (c->held_count > 0 && chance(4) != 0 && c->w->link == link) {
        const size_t i = chance(c->held_count);
        struct held h = c->held[i];
        c->held[i] = c->held[--c->held_count];
        c->held[i].request.id.data = c->held[i].id;
        h.request.id.data = h.id;
        /* Names and secrets stood in the line that is gone. */
        h.request.name = (struct wire_text){.data = "/ls/local/l", .size = 11};
        answer(c, &h.request);
    }
}

static void begin_something(struct cell *c)
{
    struct world *w = c->w;
    if (c->calls == CALLS_MAX) {
        return;
    }
    struct outcome *o = &c->outcomes[c->calls];
    struct lockd_lock *lock = c->calls == 0 ? NULL : c->locks[chance(c->calls)];
    enum lockd_rc rc = LOCKD_OK;
    switch (chance(6)) {
    case 0:
    case 1:
        put(w, c->session, o);
        break;
    case 2:
        rc = engine_acquire(c->session, w->now_ms, "/ls/local/l", NULL, (int)chance(3) * 300,
                            done, o, &c->locks[c->calls]);
        break;
    case 3:
        rc = lock == NULL ? LOCKD_E_INVALID : engine_release(lock, w->now_ms, 1000, done, o);
        break;
    case 4:
        if (lock != NULL) {
            (void)engine_acquire_cancel(lock, w->now_ms);
        }
        return;
    default:
        for (size_t i = 0; i < c->calls; i++) {
            if (lock != NULL && c->locks[i] == lock && chance(4) == 0) {
                c->locks[i] = NULL;
                engine_lock_free(lock, w->now_ms);
            }
        }
        return;
    }
    c->calls += rc == LOCKD_OK ? 1 : 0;
}

static void disturb(struct cell *c)
{
    struct world *w = c->w;
    flush(w);
    const uint64_t wanted = engine_wish(w->engine)->link;
    if (wanted != w->link) {
        c->held_count = 0;
        if (wanted != 0 && chance(4) == 0) {
            refuse_link(w);
        } else if (wanted != 0) {
            connect_link(w);
        }
    } else if (w->link != 0 && chance(30) == 0) {
        c->held_count = 0;
        lose_link(w);
    }
}

static void check_ends(const struct cell *c)
{
    for (size_t i = 0; i < c->calls; i++) {
        assert_in_range(c->outcomes[i].times, 0, 1);
        if (c->outcomes[i].times == 1 && c->outcomes[i].rc == LOCKD_OK) {
            assert_true(c->outcomes[i].slot > 0);
        }
    }
}

static void run_model(uint64_t seed)
{
    struct cell *c = calloc(1, sizeof *c);
    assert_non_null(c);
    chance_state = seed;
    c->w = world_new("10.0.0.1,10.0.0.2");
    c->session = open_session(c->w);
    c->w->states_count = 0;
    for (int step = 0; step < 600; step++) {
        begin_something(c);
        disturb(c);
        serve(c);
        pass(c->w, chance(60));
        c->w->states_count = 0;
        check_ends(c);
    }
    if (chance(2) == 0) { /* Either all is let run out, or cut off. */
        for (int step = 0; step < 2000; step++) {
            disturb(c);
            serve(c);
            pass(c->w, 20);
            c->w->states_count = 0;
        }
    }
    engine_close(c->w->engine, c->w->now_ms);
    flush(c->w);
    for (size_t i = 0; i < c->calls; i++) {
        assert_int_equal(c->outcomes[i].times, 1);
    }
    world_free(c->w);
    free(c);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run_model(seed);
    }
}

/* Same seed, same inputs: same octets. */
static void test_deterministic(void **state)
{
    (void)state;
    uint64_t sums[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new("10.0.0.1,10.0.0.2,10.0.0.3");
        open_session(w);
        lose_link(w);
        for (int step = 0; step < 200; step++) {
            if (engine_wish(w->engine)->link != w->link) {
                refuse_link(w);
            }
            sums[i] = sums[i] * 31 + engine_wish(w->engine)->wake_at_ms;
            pass(w, 13);
        }
        world_free(w);
    }
    assert_int_equal(sums[0], sums[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acks),  cmocka_unit_test(test_acks_in_turn),
        cmocka_unit_test(test_heap),  cmocka_unit_test(test_locate),
        cmocka_unit_test(test_model), cmocka_unit_test(test_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
