/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches in great numbers, and changes in great numbers: nothing is missing, and
 * no turn does too much.
 */
#include "tests/unit/test_service_watching.h"

/* More than a client's credit of one turn: the rest follows, and nothing is
 * missing. */
static void beyond_credit(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    w->base = revision_of(w, m);
    put_many(w, m, 3000, 1500);
    struct service_watch watch =
        watch_of(1, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL);
    watch.from = w->base;
    for (uint32_t client = 1; client <= 3; client++) {
        set_one(w, m, client, client, &watch);
    }
    uint64_t told[4] = {0};
    for (uint32_t i = 0; i < w->count; i++) {
        const struct service_event *e = &w->told[i].event;
        assert_int_equal(e->kind, SERVICE_EVENT_CHANGE);
        assert_int_equal(e->revision, w->base + ++told[e->client]);
    }
    for (uint32_t client = 1; client <= 3; client++) {
        assert_int_equal(told[client], 3000);
    }
    watching_free(w);
}

/* Further back than one turn looks: a rare change is found, and who is current
 * does not wait for it. */
static void from_long_ago(void **state)
{
    (void)state;
    enum { LONG = 25000 };
    struct cell *cell = cell_new(1);
    cell->history_bytes = 16 * 1024 * 1024;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    w->base = revision_of(w, m);
    put(w, m, 1, W("first"), "");
    put_many(w, m, LONG, 10);
    put(w, m, 2, W("last"), "");
    struct service_watch watch = watch_of(1, W("last"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    set_one(w, m, 1, 3, &watch);
    struct service_watch watches[] = {
        watch_of(1, W("first"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL), watch};
    watches[0].from = w->base;
    watches[1].watch = 2;
    watches[1].from = w->base;
    submit_watches(w, m, 2, 4, watches, 2);
    ask(cell, m, SERVICE_PUT, 9, 5, W("last"), "");
    settle(cell);
    expect(w, "1+1 created first, 1+25003 written last, 2+25002 created last, "
              "2+25003 written last");
    assert_int_equal(w->told[2].output, w->told[0].output + 1);

    /* If a reply can't wait so long, there is a gap. */
    submit_watches(w, m, 3, 6, watches, 2);
    ask(cell, m, SERVICE_GET, 3, 7, W("last"), NULL);
    settle(cell);
    expect(w, "1+1 created first, 2+25003 gap, 1+25003 gap");
    watching_free(w);
}

/* The events of one revision are told together, however many they are: as they
 * happen, and where a turn has looked at enough of the past. */
static void one_revision(void **state)
{
    (void)state;
    enum { LOCKS = 1500, BEFORE = 19000 };
    struct cell *cell = cell_new(1);
    cell->history_bytes = 16 * 1024 * 1024;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    open_session(cell, m, 1, 11);
    for (uint32_t i = 0; i < LOCKS; i++) {
        char name[32];
        snprintf(name, sizeof name, "/ls/test/lock%u", i);
        struct service_request request = acquire_of(2 + i, 11, name);
        request.ack_floor = i + 1;
        request.client = 9;
        submit(cell, m, &request);
        if (i % 100 == 99) {
            settle(cell);
        }
    }
    w->base = revision_of(w, m);
    put_many(w, m, BEFORE, 10);
    const struct service_watch live =
        watch_of(1, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_LOCK);
    set_one(w, m, 1, 5000, &live);
    struct service_request request = request_of(SERVICE_SESSION_CLOSE, 5001, 11);
    request.client = 9;
    submit(cell, m, &request);
    settle(cell);
    assert_int_equal(w->count, LOCKS);
    assert_int_equal(w->told[LOCKS - 1].output, w->told[0].output);

    struct service_watch late = live;
    late.from = w->base;
    set_one(w, m, 2, 5002, &late);
    assert_int_equal(w->count, 2 * LOCKS);
    for (uint32_t i = 0; i < LOCKS; i++) {
        assert_int_equal(w->told[LOCKS + i].change, LEASE_RELEASED);
        assert_string_equal(w->told[LOCKS + i].path, w->told[i].path);
        assert_int_equal(w->told[LOCKS + i].output, w->told[LOCKS].output);
    }
    watching_free(w);
}

/* More watches than a turn's credit have missed something. */
static void many_gaps(void **state)
{
    (void)state;
    enum { MANY = 2500 };
    struct cell *cell = cell_new(1);
    cell->history_bytes = 8192;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    struct service_watch watches[500];
    for (uint32_t i = 0; i < MANY; i++) {
        watches[i % 500] = watch_of(i, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
        if (i % 500 == 499) {
            submit_watches(w, m, 1, 1 + i, watches, 500);
        }
    }
    settle(cell);
    service_slow(cell->replica[m].s, 1, true);
    put(w, m, 5000, W("f"), "");
    put_many(w, m, 2000, 10);
    assert_int_equal(w->count, 0);
    service_slow(cell->replica[m].s, 1, false);
    cell->replica[m].more = true;
    settle(cell);
    assert_int_equal(w->count, MANY);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(w->told[i].event.kind, SERVICE_EVENT_GAP);
        sum += w->told[i].event.watch;
    }
    assert_int_equal(sum, (uint64_t)MANY * (MANY - 1) / 2);
    assert_int_equal(w->told[MANY - 1].output, w->told[0].output + 2);
    watching_free(w);
}

/* A hundred thousand, in pages, as after a fail-over; of one client, who then
 * leaves. */
static void many(void **state)
{
    (void)state;
    enum { MANY = 100000, PAGE = SERVICE_WATCHES_PAGE };
    uint32_t m;
    struct watching *w = start(&m);
    w->cell->unchecked = true;
    w->base = revision_of(w, m);
    put(w, m, 1, W("77"), "");
    static struct service_watch watches[PAGE];
    static char names[PAGE][24];
    const size_t before = w->cell->allocated;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(names[i % PAGE], sizeof names[0], "/ls/test/%u", i % 50000);
        watches[i % PAGE] = watch_of(i, names[i % PAGE], SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
        watches[i % PAGE].from = w->base;
        if (i % PAGE == PAGE - 1) {
            submit_watches(w, m, 1, 10 + i / PAGE, watches, PAGE);
        }
    }
    settle(w->cell);
    assert_int_equal(status_of(w->cell, m).watches, MANY);
    assert_true(w->cell->allocated - before < (size_t)MANY * 160);
    print_message("# %zu octets a watch\n", (w->cell->allocated - before) / MANY);
    put(w, m, 5, W("49999"), "");
    expect(w,
           "77+1 created 77, 50077+1 created 77, 99999+2 created 49999, 49999+2 created 49999");
    service_forget(w->cell->replica[m].s, 1);
    w->cell->unchecked = false;
    put(w, m, 6, W("49999"), "");
    expect(w, "");
    assert_int_equal(status_of(w->cell, m).watches, 0);
    watching_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beyond_credit), cmocka_unit_test(from_long_ago),
        cmocka_unit_test(one_revision),  cmocka_unit_test(many_gaps),
        cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
