/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches: who is told what, in which order, how often, and what is said when
 * something is not told.
 */
#include "tests/unit/test_service_watching.h"

/* -------------------------------------------------------------------- scopes */

/* d and d/f stand.  Then, revision by revision: d/f is written, held, awaited,
 * handed over, released; d/g is made, and d/g/h; d/f is deleted. */
static const struct {
    const char *name;
    enum service_scope scope;
    uint32_t watched;
    const char *told; /* The revisions. */
} scope_cases[] = {
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL, "1234458"},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_CONTENT, "1"},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_LOCK, "2445"},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_CONFLICT, "3"},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_DELETE, "8"},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_CHILD, ""},
    {W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ACL, ""},
    {W("d/f"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL, "1234458"},
    {W("d/f"), SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_ALL, ""},
    {W("d"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL, "68"},
    {W("d"), SERVICE_SCOPE_NODE, SERVICE_WATCH_CONTENT, ""},
    {W("d"), SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_ALL, "12344568"},
    {W("d"), SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_CHILD, "68"},
    {W("d"), SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_DELETE, "8"},
    {W("d"), SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_CONTENT, "1"},
    {W("d"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL, "123445678"},
    {W("d"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_CHILD, "678"},
    {W("d"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_CONTENT, "17"},
    {W("d/g"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL, "7"},
    {W("d/g/h"), SERVICE_SCOPE_NODE, SERVICE_WATCH_CONTENT, "7"},
    {"/ls/local", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL, "123445678"},
    {"/ls/local", SERVICE_SCOPE_CHILDREN, SERVICE_WATCH_ALL, ""},
    {"/ls/local", SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL, ""},
    {W("dd"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL, ""},
    {W("none/at/all"), SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL, ""},
};

enum { SCOPE_CASES = sizeof scope_cases / sizeof *scope_cases };

static void change_all(struct watching *w, uint32_t m)
{
    put(w, m, 20, W("d/f"), "2");
    acquire(w->cell, m, 21, 11, W("d/f"));
    settle(w->cell);
    acquire(w->cell, m, 22, 12, W("d/f"));
    settle(w->cell);
    release(w->cell, m, 23, 11, W("d/f"), reply_to(w->cell, 21)->token);
    settle(w->cell);
    release(w->cell, m, 24, 12, W("d/f"), reply_to(w->cell, 22)->token);
    settle(w->cell);
    ask(w->cell, m, SERVICE_CREATE, 9, 25, W("d/g"), NULL);
    settle(w->cell);
    put(w, m, 26, W("d/g/h"), "1");
    ask(w->cell, m, SERVICE_DELETE, 9, 27, W("d/f"), NULL);
    settle(w->cell);
    assert_int_equal(outcome_of(w->cell, 27), SERVICE_DONE);
}

static void told_to(const struct watching *w, uint64_t watch, char ret_told[32])
{
    size_t used = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct service_event *e = &w->told[i].event;
        if (e->kind == SERVICE_EVENT_CHANGE && e->watch == watch) {
            assert_int_equal(e->client, 1 + watch % 3);
            assert_true(used < 31 && e->revision - w->base < 10);
            ret_told[used++] = (char)('0' + (e->revision - w->base));
        }
    }
    ret_told[used] = '\0';
}

static void scopes(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    open_session(w->cell, m, 1, 11);
    open_session(w->cell, m, 2, 12);
    ask(w->cell, m, SERVICE_CREATE, 9, 3, W("d"), NULL);
    put(w, m, 4, W("d/f"), "1");
    w->base = revision_of(w, m);
    for (uint32_t i = 0; i < SCOPE_CASES; i++) {
        const struct service_watch watch =
            watch_of(i, scope_cases[i].name, scope_cases[i].scope, scope_cases[i].watched);
        set_one(w, m, 1 + i % 3, 100 + i, &watch);
    }
    change_all(w, m);
    for (uint32_t i = 0; i < SCOPE_CASES; i++) {
        char told[32];
        told_to(w, i, told);
        if (strcmp(told, scope_cases[i].told) != 0) {
            fail_msg("%s, scope %d, kinds %u: %s instead of %s", scope_cases[i].name,
                     (int)scope_cases[i].scope, scope_cases[i].watched, told,
                     scope_cases[i].told);
        }
    }
    watching_free(w);
}

/* ------------------------------------------------------------------- stories */

/* A change is one and the same for all who are told it, is told each watch once,
 * and comes in the same output as the reply to whoever made it. */
static void told_once_and_shared(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    w->base = revision_of(w, m);
    struct service_watch watch = watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    watch.content = true;
    watch.old = true;
    set_one(w, m, 1, 1, &watch);
    set_one(w, m, 2, 2, &watch);
    assert_int_equal(reply_to(w->cell, 1)->revision, w->base);
    put(w, m, 3, W("f"), "a");
    expect(w, "1+1 created f =a <, 1+1 created f =a <");
    put(w, m, 4, W("f"), "b");
    expect(w, "1+2 written f =b <a, 1+2 written f =b <a");
    for (uint32_t i = 0; i < w->count; i += 2) {
        assert_ptr_equal(w->told[i].event.change, w->told[i + 1].event.change);
        assert_int_not_equal(w->told[i].event.client, w->told[i + 1].event.client);
    }

    watch.watch = 2; /* Another, and the same again with another scope. */
    watch.content = false;
    watch.old = false;
    set_one(w, m, 1, 5, &watch);
    watch.watch = 1;
    watch.scope = SERVICE_SCOPE_CHILDREN;
    set_one(w, m, 2, 6, &watch);
    put(w, m, 7, W("f"), "c");
    expect(w, "2+3 written f, 1+3 written f =c <b");
    assert_int_equal(status_of(w->cell, m).watches, 3);
    watching_free(w);
}

static void given_up(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    w->base = revision_of(w, m);
    const struct service_watch watches[] = {
        watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
        watch_of(2, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
    };
    submit_watches(w, m, 1, 1, watches, 2);
    give_up_one(w, m, 1, 2, 2); /* Before it is set. */
    give_up_one(w, m, 2, 3, 1); /* Somebody else's. */
    turn(w->cell, m);
    assert_int_equal(outcome_of(w->cell, 2), SERVICE_DONE);
    settle(w->cell);
    put(w, m, 4, W("f"), "a");
    expect(w, "1+1 created f");
    give_up_one(w, m, 1, 5, 1);
    put(w, m, 6, W("f"), "b");
    expect(w, "");
    assert_int_equal(status_of(w->cell, m).watches, 0);
    watching_free(w);
}

/* From a revision on: what came after it, once, and then what is new. */
static void resumed(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    w->base = revision_of(w, m);
    struct service_watch watch = watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    set_one(w, m, 1, 1, &watch);
    put(w, m, 2, W("f"), "a");
    put(w, m, 3, W("g"), "a");
    put(w, m, 4, W("f"), "b");
    ask(w->cell, m, SERVICE_DELETE, 9, 5, W("g"), NULL);
    settle(w->cell);
    expect(w, "1+1 created f, 1+3 written f");

    watch = watch_of(2, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL);
    watch.from = w->base + 1;
    watch.content = true;
    set_one(w, m, 1, 6, &watch);
    assert_int_equal(reply_to(w->cell, 6)->revision, w->base + 1);
    expect(w, "2+2 created g =a, 2+3 written f =b, 2+4 deleted g =");
    put(w, m, 7, W("f"), "c");
    expect(w, "1+5 written f, 2+5 written f =c");
    watching_free(w);
}

/* Of one instance only, until that is gone. */
static void pinned(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    ask(w->cell, m, SERVICE_CREATE, 9, 1, W("d"), NULL);
    settle(w->cell);
    w->base = revision_of(w, m);
    struct service_watch watch = watch_of(1, W("d"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    watch.if_instance = reply_to(w->cell, 1)->stat.instance;
    set_one(w, m, 1, 2, &watch);
    put(w, m, 3, W("d/f"), "a");
    ask(w->cell, m, SERVICE_DELETE, 9, 4, W("d/f"), NULL);
    settle(w->cell);
    ask(w->cell, m, SERVICE_DELETE, 9, 5, W("d"), NULL);
    settle(w->cell);
    ask(w->cell, m, SERVICE_CREATE, 9, 6, W("d"), NULL);
    put(w, m, 7, W("d/f"), "a");
    expect(w, "1+1 created d/f, 1+2 deleted d/f, 1+3 deleted d");

    watch.watch = 2; /* The old one: gone before it is watched. */
    set_one(w, m, 1, 8, &watch);
    watch.watch = 3; /* The new one, from the time of the old. */
    watch.if_instance = reply_to(w->cell, 6)->stat.instance;
    watch.from = w->base;
    set_one(w, m, 1, 9, &watch);
    expect(w, "3+5 created d/f");
    ask(w->cell, m, SERVICE_DELETE, 9, 10, W("d/f"), NULL);
    settle(w->cell);
    expect(w, "3+6 deleted d/f");
    watching_free(w);
}

/* What history has forgotten, and what it can't know, is a gap. */
static void gaps(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->history_bytes = 4096;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    const uint64_t from = revision_of(w, m);
    for (uint32_t i = 0; i < 400; i++) {
        put(w, m, 1000 + i, W("f"), "a");
    }
    const uint64_t floor = lease_history_floor(service_lease(cell->replica[m].s));
    assert_true(floor > from);
    w->base = floor;
    struct service_watch watch = watch_of(1, W("none"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    watch.from = from;
    set_one(w, m, 1, 1, &watch);
    expect(w, "1+0 gap");
    assert_int_equal(reply_to(cell, 1)->revision, floor);
    w->base = revision_of(w, m);
    watch.watch = 2;
    watch.from = w->base + 100;
    set_one(w, m, 1, 2, &watch);
    expect(w, "2+0 gap");
    put(w, m, 3, W("none"), "a");
    expect(w, "2+1 created none, 1+1 created none");

    /* Slow until history has passed by. */
    service_slow(cell->replica[m].s, 1, true);
    for (uint32_t i = 0; i < 400; i++) {
        put(w, m, 2000 + i, W("none"), "a");
    }
    expect(w, "");
    w->base = lease_history_floor(service_lease(cell->replica[m].s));
    service_slow(cell->replica[m].s, 1, false);
    turn(cell, m);
    uint32_t gap_count = 0, told = 0;
    for (; w->read < w->count; w->read++) {
        const struct service_event *e = &w->told[w->read].event;
        gap_count += e->kind == SERVICE_EVENT_GAP;
        told += e->kind == SERVICE_EVENT_CHANGE ? e->count : 0;
        assert_true(e->kind == SERVICE_EVENT_CHANGE ? e->first_revision > w->base
                                                    : e->revision == w->base);
    }
    assert_int_equal(gap_count, 2);
    assert_int_equal(told, 2 * (revision_of(w, m) - w->base)); /* All of the rest, to both. */
    watching_free(w);
}

/* Who reads slowly is told later, and less: what follows each other of one node
 * is one. */
static void slow_and_coalesced(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    struct service *s = w->cell->replica[m].s;
    open_session(w->cell, m, 1, 11);
    put(w, m, 2, W("f"), "0");
    w->base = revision_of(w, m);
    struct service_watch watch =
        watch_of(1, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL);
    watch.content = true;
    watch.old = true;
    set_one(w, m, 3, 3, &watch);
    set_one(w, m, 4, 4, &watch);
    service_slow(s, 3, true);
    service_slow(s, 4, true);
    put(w, m, 5, W("f"), "1");
    put(w, m, 6, W("f"), "2");
    put(w, m, 7, W("f"), "3");
    put(w, m, 8, W("g"), "x");
    put(w, m, 9, W("f"), "4");
    acquire(w->cell, m, 10, 11, W("f"));
    settle(w->cell);
    release(w->cell, m, 11, 11, W("f"), reply_to(w->cell, 10)->token);
    settle(w->cell);
    expect(w, "");
    service_slow(s, 3, false);
    service_slow(s, 4, false);
    w->cell->replica[m].more = true;
    settle(w->cell);
    assert_ptr_equal(w->told[0].event.change, w->told[1].event.change);
    /* What comes first after the watch was set stands alone. */
    expect(w, "1+1 written f =1 <0, 1+1 written f =1 <0, "
              "1+3 written f x2 from +2 =3 <1, 1+3 written f x2 from +2 =3 <1, "
              "1+4 created g =x <, 1+4 created g =x <, "
              "1+5 written f =4 <3, 1+5 written f =4 <3, "
              "1+7 released f x2 from +6 = <, 1+7 released f x2 from +6 = <");
    put(w, m, 12, W("f"), "5");
    expect(w, "1+8 written f =5 <4, 1+8 written f =5 <4");
    watching_free(w);
}

/* A client that is behind hears no reply that shows a later state before its
 * events: it is brought up, or told of the gap. */
static void brought_up_before_a_reply(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    struct service *s = w->cell->replica[m].s;
    w->base = revision_of(w, m);
    const struct service_watch watch =
        watch_of(1, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL);
    set_one(w, m, 1, 1, &watch);
    service_slow(s, 1, true);
    put(w, m, 2, W("f"), "1");
    open_session(w->cell, m, 3, 11); /* Shows nothing of a node. */
    keepalive(w->cell, m, 4, 11);
    settle(w->cell);
    expect(w, "");
    ask(w->cell, m, SERVICE_GET, 1, 5, W("f"), NULL);
    settle(w->cell);
    expect(w, "1+1 created f");
    put(w, m, 6, W("f"), "2");
    expect(w, "");

    put_many(w, m, 1100, 1100); /* More than a turn's credit. */
    ask(w->cell, m, SERVICE_PUT, 1, 9, W("f"), "2b");
    settle(w->cell);
    assert_int_equal(w->count - w->read, 1 + 1100 + 1);
    assert_int_equal(w->told[w->count - 1].event.kind, SERVICE_EVENT_CHANGE);
    w->read = w->count;

    put_many(w, m, 20500, 1100); /* More than a turn looks at. */
    ask(w->cell, m, SERVICE_PUT, 1, 7, W("f"), "3");
    settle(w->cell);
    assert_in_range(w->count - w->read, 20000, 20500);
    assert_int_equal(w->told[w->count - 1].event.kind, SERVICE_EVENT_GAP);
    assert_int_equal(w->told[w->count - 1].event.revision, reply_to(w->cell, 7)->revision);
    service_slow(s, 1, false);
    w->read = w->count;
    put(w, m, 8, W("f"), "4");
    w->base = revision_of(w, m);
    expect(w, "1+0 written f");
    watching_free(w);
}

static void progress(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    put(w, m, 9, W("g"), "");
    w->base = revision_of(w, m);
    const struct service_watch watch =
        watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    set_one(w, m, 1, 1, &watch);
    set_one(w, m, 2, 2, &watch);
    pass(w->cell, 100);
    put(w, m, 3, W("g"), "");
    pass(w->cell, SERVICE_PROGRESS_MS - 101);
    expect(w, "");
    pass(w->cell, 1);
    expect(w, "+1 progress, +1 progress");
    put(w, m, 4, W("f"), ""); /* Who heard of that knows how far it is. */
    service_slow(w->cell->replica[m].s, 2, true);
    expect(w, "1+2 created f, 1+2 created f");
    put(w, m, 5, W("f"), "");
    expect(w, "1+3 written f"); /* The other one is behind: no word of progress. */
    pass(w->cell, 2 * SERVICE_PROGRESS_MS);
    expect(w, "");
    service_slow(w->cell->replica[m].s, 2, false);
    w->cell->replica[m].more = true;
    settle(w->cell);
    expect(w, "1+3 written f");
    pass(w->cell, 3 * SERVICE_PROGRESS_MS);
    expect(w, "");
    watching_free(w);
}

/* -------------------------------------------------------------------- ends */

static void mastership_lost(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    pass(cell, 300);
    w->base = revision_of(w, m);
    const struct service_watch watches[] = {
        watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
        watch_of(2, W("g"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
    };
    submit_watches(w, m, 1, 1, watches, 2);
    submit_watches(w, m, 2, 2, watches, 1);
    submit_watches(w, (m + 1) % 3, 3, 3, watches, 1);
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    service_slow(cell->replica[m].s, 3, true); /* Without a watch: told nothing. */
    service_hand_over(cell->replica[m].s, cell->now_ms);
    submit_watches(w, m, 1, 4, watches, 1);
    pass(cell, 400);
    assert_int_equal(outcome_of(cell, 4), SERVICE_NOT_MASTER);
    assert_int_equal(w->count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(w->told[i].event.kind, SERVICE_EVENT_END);
        assert_int_not_equal(w->told[i].event.master, m + 1);
    }
    assert_int_equal(w->told[0].event.client + w->told[1].event.client, 3);
    w->read = 2;

    /* Set again at the next one, from what was seen last. */
    const uint32_t n = await_master(cell);
    assert_int_not_equal(n, m);
    put(w, n, 5, W("f"), "");
    struct service_watch again = watches[0];
    again.from = w->base;
    set_one(w, n, 1, 6, &again);
    expect(w, "1+1 created f");
    watching_free(w);
}

static void forgotten(void **state)
{
    (void)state;
    uint32_t m;
    struct watching *w = start(&m);
    w->base = revision_of(w, m);
    const struct service_watch watch =
        watch_of(1, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    set_one(w, m, 1, 1, &watch);
    set_one(w, m, 2, 2, &watch);
    submit_watches(w, m, 3, 3, &watch, 1);
    service_forget(w->cell->replica[m].s, 1);
    service_forget(w->cell->replica[m].s, 3);
    put(w, m, 4, W("f"), "");
    assert_null(answer_to(w->cell, 3));
    expect(w, "1+1 created f");
    assert_int_equal(w->told[0].event.client, 2);
    watching_free(w);
}

static void refused(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->watches_max = 3;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    struct watching *w = watching_new(cell);
    struct service_watch watches[SERVICE_WATCHES_PAGE + 1];
    for (uint32_t i = 0; i <= SERVICE_WATCHES_PAGE; i++) {
        watches[i] = watch_of(i, W("f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL);
    }
    submit_watches(w, m, 1, 1, watches, SERVICE_WATCHES_PAGE + 1);
    submit_watches(w, m, 1, 2, watches, 2);
    submit_watches(w, m, 1, 3, watches + 2, 2);
    watches[5].name = bytes_of("/ls/other/f", 11);
    submit_watches(w, m, 1, 4, watches + 5, 1);
    submit_watches(w, m, 1, 5, watches, 0);
    settle(cell);
    assert_int_equal(outcome_of(cell, 1), SERVICE_TOO_LARGE);
    assert_int_equal(outcome_of(cell, 2), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 3), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 4), SERVICE_BAD_NAME);
    assert_int_equal(outcome_of(cell, 5), SERVICE_DONE);
    assert_int_equal(status_of(cell, m).watches, 2);
    watching_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes),
        cmocka_unit_test(told_once_and_shared),
        cmocka_unit_test(given_up),
        cmocka_unit_test(resumed),
        cmocka_unit_test(pinned),
        cmocka_unit_test(gaps),
        cmocka_unit_test(slow_and_coalesced),
        cmocka_unit_test(brought_up_before_a_reply),
        cmocka_unit_test(progress),
        cmocka_unit_test(mastership_lost),
        cmocka_unit_test(forgotten),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
