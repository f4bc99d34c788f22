/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_watch.c -- stories of watches: set in pages, told once and in order over
 * connections and masters, held up and resumed, freed in any state.
 */
#include "tests/unit/test_client_support.h"

enum { TOLD_MAX = 4096 };

/* What a watch has told. */
struct tale {
    uint64_t revisions[TOLD_MAX];
    enum lockd_change changes[TOLD_MAX];
    size_t count;
    char content[16];
    bool free_next; /* Free the watch within the callback. */
    struct world *world;
};

static void told(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    struct tale *t = context;
    assert_true(t->count < TOLD_MAX);
    t->revisions[t->count] = event->revision;
    t->changes[t->count++] = event->change;
    if (event->content != NULL) {
        snprintf(t->content, sizeof t->content, "%s", (const char *)event->content);
    }
    if (t->free_next) {
        engine_watch_free(watch, t->world->now_ms);
    }
}

static struct lockd_watch *watch(struct world *w, struct tale *t, struct outcome *o)
{
    const struct lockd_watch_options options = {
        .size = sizeof options, .content = true, .told = told, .context = t};
    struct lockd_watch *watch = NULL;
    assert_int_equal(
        engine_watch(w->engine, w->now_ms, "/ls/local/f", &options, 5000, done, o, &watch),
        LOCKD_OK);
    flush(w);
    return watch;
}

/* The one watch that the next request sets. */
static struct wire_watch expect_add(struct world *w, struct wire_request *ret_request)
{
    *ret_request = expect(w, WIRE_WATCH_ADD);
    assert_int_equal(ret_request->watches_count, 1);
    return ret_request->watches[0];
}

/* Set at revision 10. */
static struct lockd_watch *watch_set(struct world *w, struct tale *t, uint64_t *ret_id)
{
    struct outcome o = {.times = 0};
    struct wire_request r;
    struct lockd_watch *set = watch(w, t, &o);
    if (w->link == 0) {
        become_ready(w);
    }
    *ret_id = expect_add(w, &r).watch;
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    return set;
}

static void written(struct world *w, uint64_t id, uint64_t revision)
{
    notify_event(w, id,
                 (struct wire_event){.change = WIRE_WRITTEN,
                                     .revision = revision,
                                     .count = 1,
                                     .first_revision = revision,
                                     .instance = 7,
                                     .generation = 2,
                                     .size = 1,
                                     .wants_content = true,
                                     .has_content = true,
                                     .content = {.data = "x", .size = 1}});
}

static void gap(struct world *w, uint64_t id, uint64_t revision)
{
    notify_event(
        w, id,
        (struct wire_event){
            .change = WIRE_GAP, .revision = revision, .first_revision = revision, .count = 1});
}

static void test_told(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct outcome o = {.times = 0};
    struct wire_request r;
    struct lockd_watch *set = watch(w, &t, &o);
    become_ready(w);
    const struct wire_watch entry = expect_add(w, &r);
    assert_int_equal(entry.scope, WIRE_SCOPE_NODE);
    assert_int_equal(entry.watched, WIRE_WATCHED_ALL);
    assert_int_equal(entry.from, WIRE_ANY);
    assert_int_equal(entry.if_instance, WIRE_ANY);
    assert_true(entry.content && !entry.old);
    assert_false(engine_watch_current(set));
    const uint64_t id = entry.watch;
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.revision, 10);
    assert_true(engine_watch_current(set));
    assert_int_equal(engine_watch_revision(set), 10);
    written(w, id, 11);
    written(w, id + 1, 12); /* Somebody else's. */
    written(w, id, 13);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.revisions[1], 13);
    assert_string_equal(t.content, "x");
    notify_progress(w, 20);
    assert_int_equal(engine_watch_revision(set), 20);
    assert_ptr_equal(engine_watch_after(w->engine, NULL), set);
    assert_null(engine_watch_after(w->engine, set));
    engine_watch_free(set, w->now_ms);
    r = expect(w, WIRE_WATCH_REMOVE);
    assert_int_equal(r.unwatch_count, 1);
    assert_int_equal(r.unwatch[0], id);
    written(w, id, 21); /* It was on its way. */
    reply_ok(w, &r);
    assert_int_equal(t.count, 2);
    world_free(w);
}

/* From where it was: behind what is complete, and, where only a part of one
 * command's events has been heard, from before that, passing over the part. */
static void test_resume(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct wire_request r;
    uint64_t id;
    struct lockd_watch *set = watch_set(w, &t, &id);
    lose_link(w);
    assert_false(engine_watch_current(set));
    become_ready_again(w);
    struct wire_watch entry = expect_add(w, &r);
    assert_int_equal(entry.from, 10);
    assert_int_not_equal(entry.watch, id);
    id = entry.watch;
    written(w, id, 12); /* Before the answer, too. */
    reply_ok_at(w, &r, 30);
    written(w, id, 14);
    written(w, id, 14);
    lose_link(w);
    become_ready_again(w);
    entry = expect_add(w, &r);
    assert_int_equal(entry.from, 13);
    reply_ok_at(w, &r, 30);
    for (int i = 0; i < 3; i++) {
        written(w, entry.watch, 14);
    }
    written(w, entry.watch, 15);
    assert_int_equal(t.count, 5);
    assert_int_equal(t.revisions[3], 14);
    assert_int_equal(t.revisions[4], 15);
    notify_progress(w, 40);
    lose_link(w);
    become_ready_again(w);
    entry = expect_add(w, &r);
    assert_int_equal(entry.from, 40);
    world_free(w);
}

static void test_gap(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct wire_request r;
    uint64_t id;
    watch_set(w, &t, &id);
    lose_link(w);
    become_ready_again(w);
    id = expect_add(w, &r).watch;
    gap(w, id, 50);
    reply_ok_at(w, &r, 60);
    written(w, id, 55);
    gap(w, id, 5); /* The cell was restored from an older state. */
    assert_int_equal(t.count, 3);
    assert_int_equal(t.changes[0], LOCKD_GAP);
    assert_int_equal(t.revisions[0], 50);
    assert_int_equal(t.changes[2], LOCKD_GAP);
    lose_link(w);
    become_ready_again(w);
    assert_int_equal(expect_add(w, &r).from, 5);
    world_free(w);
}

/* The old master says that it is none any more, and names the new one. */
static void test_end(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct tale t = {.count = 0};
    struct wire_request r;
    uint64_t id;
    struct lockd_watch *set = watch_set(w, &t, &id);
    const char *master = strcmp(engine_wish(w->engine)->address, "10.0.0.1:7400") == 0
                             ? "10.0.0.2:7400"
                             : "10.0.0.1:7400";
    const struct wire_notification end = {.notice = WIRE_WATCH_END,
                                          .master = {.data = master, .size = strlen(master)},
                                          .master_id = 2};
    notify(w, &end);
    assert_false(engine_watch_current(set));
    assert_string_equal(engine_wish(w->engine)->address, master);
    become_ready(w);
    id = expect_add(w, &r).watch;
    reply_ok(w, &r);
    assert_true(engine_watch_current(set));

    /* Nobody is known: the same connection is asked, and used again. */
    const struct wire_notification lost = {.notice = WIRE_WATCH_END};
    notify(w, &lost);
    written(w, id, 12);
    assert_int_equal(t.count, 0);
    while (!next_request(w, &r)) {
        pass(w, 10);
    }
    assert_int_equal(r.method, WIRE_CELL_STATUS);
    reply_status(w, &r, /* serving= */ true, NULL, 131073);
    assert_int_not_equal(expect_add(w, &r).watch, id);
    world_free(w);
}

/* Many are set in pages, a few of them under way, each watch once. */
static void test_pages(void **state)
{
    (void)state;
    enum { COUNT = 5500 };
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct outcome o = {.times = 0};
    struct wire_request r;
    for (int i = 0; i < COUNT; i++) {
        watch(w, &t, &o);
    }
    become_ready(w);
    for (int round = 0; round < 2; round++) {
        uint32_t set = 0;
        int pages = 0;
        while (next_request(w, &r)) {
            assert_int_equal(r.method, WIRE_WATCH_ADD);
            assert_int_equal(r.watches_count, set < 5000 ? 1000 : 500);
            set += r.watches_count;
            pages++;
            reply_ok(w, &r);
        }
        assert_int_equal(pages, 6);
        assert_int_equal(set, COUNT);
        lose_link(w);
        become_ready_again(w);
    }
    assert_int_equal(o.times, COUNT);
    /* Not all at once. */
    int under_way = 0;
    while (next_request(w, &r)) {
        under_way++;
    }
    assert_int_equal(under_way, 4);
    world_free(w);
}

/* One of a page is refused: then each speaks for itself. */
static void test_refused(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct outcome outcomes[3] = {{.times = 0}};
    struct lockd_watch *watches[3];
    struct wire_request r;
    for (int i = 0; i < 3; i++) {
        watches[i] = watch(w, &t, &outcomes[i]);
    }
    become_ready(w);
    r = expect(w, WIRE_WATCH_ADD);
    assert_int_equal(r.watches_count, 3);
    reply_error(w, &r, WIRE_BAD_NAME);
    for (int i = 0; i < 3; i++) {
        expect_add(w, &r);
        if (i == 1) {
            reply_error(w, &r, WIRE_BAD_NAME);
        } else {
            reply_ok(w, &r);
        }
    }
    assert_int_equal(outcomes[0].rc, LOCKD_OK);
    assert_int_equal(outcomes[1].times, 1);
    assert_int_equal(outcomes[1].rc, LOCKD_E_BAD_NAME);
    assert_true(engine_watch_current(watches[2]));
    engine_watch_free(watches[1], w->now_ms);
    expect_nothing(w);

    /* Once set, a refusal is waited out. */
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_WATCH_ADD);
    assert_int_equal(r.watches_count, 2); /* Which has been well, is together again. */
    reply_error(w, &r, WIRE_OVERLOADED);
    expect_nothing(w);
    pass(w, 1000);
    r = expect(w, WIRE_WATCH_ADD);
    assert_int_equal(r.watches_count, 2);
    reply_ok(w, &r);
    assert_true(engine_watch_current(watches[0]) && engine_watch_current(watches[2]));
    world_free(w);
}

/* Who takes slowly is not told more than fits; the rest comes from the cell's
 * history. */
static void test_held_up(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o = {.times = 0};
    struct wire_request r;
    struct lockd_watch *set = NULL;
    assert_int_equal(
        engine_watch(w->engine, w->now_ms, "/ls/local/f", NULL, 5000, done, &o, &set),
        LOCKD_OK);
    become_ready(w);
    uint64_t id = expect_add(w, &r).watch;
    reply_ok(w, &r);
    for (uint64_t i = 0; i < ENGINE_WATCH_EVENTS; i++) {
        written(w, id, 11 + i);
    }
    expect_nothing(w);
    const uint64_t last = 10 + ENGINE_WATCH_EVENTS;
    written(w, id, last + 1);
    r = expect(w, WIRE_WATCH_REMOVE);
    assert_int_equal(r.unwatch[0], id);
    written(w, id, last + 2);
    notify_progress(w, last + 9);
    reply_ok(w, &r);
    assert_false(engine_watch_current(set));
    for (uint64_t i = 0; i < ENGINE_WATCH_EVENTS; i++) {
        expect_nothing(w);
        struct lockd_event *event = engine_watch_next(set, w->now_ms);
        assert_non_null(event);
        assert_int_equal(event->revision, 11 + i);
        assert_int_equal(engine_watch_revision(set), 11 + i);
        lockd_event_free(event);
    }
    const struct wire_watch entry = expect_add(w, &r);
    assert_int_equal(entry.from, last - 1); /* With one of `last` to be passed over. */
    assert_null(engine_watch_next(set, w->now_ms));
    written(w, entry.watch, last);
    written(w, entry.watch, last + 1);
    reply_ok_at(w, &r, last + 9);
    struct lockd_event *event = engine_watch_next(set, w->now_ms);
    assert_int_equal(event->revision, last + 1);
    lockd_event_free(event);
    assert_null(engine_watch_next(set, w->now_ms));
    assert_true(engine_watch_current(set));
    world_free(w);
}

/* The same with a callback: it is set again by itself. */
static void test_held_up_by_callbacks(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct wire_request r;
    uint64_t id;
    watch_set(w, &t, &id);
    struct wire_buffer b = {.data = NULL};
    const struct wire_event event = {.change = WIRE_DELETED,
                                     .count = 1,
                                     .instance = 7,
                                     .kind = WIRE_FILE,
                                     .name = {.data = "/ls/local/f", .size = 11}};
    for (uint64_t i = 0; i < 2 * ENGINE_WATCH_EVENTS; i++) {
        struct wire_event next = event;
        next.revision = next.first_revision = 11 + i;
        wire_print_event_head(&b, id);
        wire_print_event_tail(&b, &next);
    }
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    flush(w);
    assert_int_equal(t.count, ENGINE_WATCH_EVENTS);
    pass(w, 0);
    expect(w, WIRE_WATCH_REMOVE);
    assert_int_equal(expect_add(w, &r).from, 9 + ENGINE_WATCH_EVENTS);
    world_free(w);
}

static void test_free_in_each_state(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0, .world = w};
    struct outcome o = {.times = 0};
    struct wire_request r;
    uint64_t id;
    /* Not sent yet. */
    engine_watch_free(watch(w, &t, &o), w->now_ms);
    flush(w);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_CLOSED);
    assert_int_equal(engine_wish(w->engine)->link, 0);
    /* On its way. */
    struct lockd_watch *set = watch(w, &t, &o);
    become_ready(w);
    id = expect_add(w, &r).watch;
    engine_watch_free(set, w->now_ms);
    written(w, id, 11);
    expect_nothing(w);
    reply_ok(w, &r);
    r = expect(w, WIRE_WATCH_REMOVE);
    assert_int_equal(r.unwatch[0], id);
    assert_int_equal(o.times, 2);
    /* With events not taken, and within its callback. */
    set = watch_set(w, &t, &id);
    t.free_next = true;
    struct wire_buffer b = {.data = NULL};
    const struct wire_event event = {.change = WIRE_DELETED,
                                     .revision = 12,
                                     .count = 1,
                                     .first_revision = 12,
                                     .instance = 7,
                                     .kind = WIRE_FILE,
                                     .name = {.data = "/ls/local/f", .size = 11}};
    for (int i = 0; i < 2; i++) {
        wire_print_event_head(&b, id);
        wire_print_event_tail(&b, &event);
    }
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    flush(w);
    assert_int_equal(t.count, 1);
    r = expect(w, WIRE_WATCH_REMOVE);
    assert_int_equal(r.unwatch[0], id);
    /* Set, and the connection goes before the removal. */
    t.free_next = false;
    set = watch_set(w, &t, &id);
    lose_link(w);
    engine_watch_free(set, w->now_ms);
    flush(w);
    assert_int_equal(engine_wish(w->engine)->link, 0);
    world_free(w);
}

static void test_deadline(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct tale t = {.count = 0};
    struct outcome o = {.times = 0};
    struct lockd_watch *set = watch(w, &t, &o);
    nobody_there(w, w->now_ms + 5000);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_UNAVAILABLE);
    assert_int_equal(engine_wish(w->engine)->link, 0);
    assert_false(engine_watch_current(set));
    assert_ptr_equal(engine_watch_after(w->engine, NULL), set);
    engine_close(w->engine, w->now_ms);
    world_free(w);
}

/* While only watches are there, a master that says nothing is asked, and left. */
static void test_silent_master(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct tale t = {.count = 0};
    struct wire_request r;
    uint64_t id;
    watch_set(w, &t, &id);
    for (int i = 0; i < 20; i++) { /* Progress is a sign of life. */
        pass(w, 5000);
        notify_progress(w, 10);
        expect_nothing(w);
    }
    const uint64_t link = w->link;
    pass(w, 6000 - 1);
    expect_nothing(w);
    pass(w, 1);
    r = expect(w, WIRE_CELL_STATUS);
    pass(w, 299);
    assert_int_equal(engine_wish(w->engine)->link, link);
    pass(w, 1);
    become_ready_again(w);
    expect_add(w, &r);
    world_free(w);
}

/* Events may be garbled like anything else. */
static void test_garbled(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct tale t = {.count = 0};
    uint64_t id;
    watch_set(w, &t, &id);
    const uint64_t link = w->link;
    const char *line = "{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\",\"params\":7}\n";
    engine_received(w->engine, w->now_ms, w->link, line, strlen(line));
    flush(w);
    assert_int_not_equal(engine_wish(w->engine)->link, link);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_held_up_by_callbacks),
        cmocka_unit_test(test_free_in_each_state),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_silent_master),
        cmocka_unit_test(test_garbled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
