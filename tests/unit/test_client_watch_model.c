/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_watch_model.c -- a watch at random: a history of commands that make
 * several events each, connections cut anywhere, a program that takes slowly, a
 * history that is trimmed; and each event is told once and in order, or a gap says
 * which were not.
 */
#include "tests/unit/test_client_support.h"

enum { EVENTS_MAX = 64 * 1024, STEPS = 3000 };

struct cell {
    struct world *w;
    struct lockd_watch *watch;
    uint64_t revisions[EVENTS_MAX]; /* Of each event; its number is told as generation. */
    uint32_t count;
    uint32_t floor; /* Events before this one are forgotten. */
    uint64_t id;    /* Of the watch as it is set; 0: not set. */
    uint32_t sent;  /* Events up to here, ... */
    bool gap_owed;  /* ... and first this. */
    uint64_t gap;
    uint32_t taken; /* The number of the event that comes next. */
    uint32_t gaps, cuts, removals;
    uint64_t chance;
};

static uint32_t below(struct cell *c, uint32_t limit)
{
    c->chance = c->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(c->chance >> 33) % limit;
}

static uint64_t revision_of(const struct cell *c)
{
    return c->count == 0 ? 1 : c->revisions[c->count - 1];
}

/* A command: up to three events of one revision. */
static void execute(struct cell *c)
{
    const uint64_t revision = revision_of(c) + 1 + below(c, 3);
    for (uint32_t n = 1 + below(c, 3); n > 0 && c->count < EVENTS_MAX; n--) {
        c->revisions[c->count++] = revision;
    }
}

static uint32_t first_above(const struct cell *c, uint64_t revision)
{
    uint32_t i = c->count;
    while (i > 0 && c->revisions[i - 1] > revision) {
        i--;
    }
    return i;
}

static void print_event(const struct cell *c, struct wire_buffer *b, uint32_t number)
{
    const uint64_t revision = c->revisions[number];
    const struct wire_event event = {.change = WIRE_WRITTEN,
                                     .revision = revision,
                                     .first_revision = revision,
                                     .count = 1,
                                     .name = {.data = "/ls/local/f", .size = 11},
                                     .kind = WIRE_FILE,
                                     .instance = 7,
                                     .generation = number + 1,
                                     .size = 1};
    wire_print_event_head(b, c->id);
    wire_print_event_tail(b, &event);
}

static void print_gap(struct cell *c, struct wire_buffer *b)
{
    const struct wire_event event = {.change = WIRE_GAP, .revision = c->gap};
    wire_print_event_head(b, c->id);
    wire_print_event_tail(b, &event);
    c->gap_owed = false;
}

/* Sends some events, and perhaps breaks the connection within them. */
static void send_events(struct cell *c, uint32_t limit, bool cut)
{
    struct wire_buffer b = {.data = NULL};
    if (c->id != 0 && c->gap_owed) {
        print_gap(c, &b);
    }
    for (uint32_t n = below(c, limit + 1); c->id != 0 && n > 0 && c->sent < c->count; n--) {
        print_event(c, &b, c->sent++);
    }
    const size_t size = cut && b.size > 0 ? below(c, (uint32_t)b.size) : b.size;
    if (size > 0) {
        engine_received(c->w->engine, c->w->now_ms, c->w->link, b.data, size);
    }
    wire_buffer_free(&b);
    flush(c->w);
}

static void set_watch(struct cell *c, const struct wire_watch *entry)
{
    c->id = entry->watch;
    c->gap_owed = false;
    c->sent = entry->from == WIRE_ANY ? c->count : first_above(c, entry->from);
    if (c->sent < c->floor) {
        c->sent = c->floor;
        while (c->sent < c->count && c->revisions[c->sent] == c->revisions[c->floor - 1]) {
            c->sent++; /* A command is forgotten whole. */
        }
        c->gap_owed = true;
        c->gap = c->revisions[c->sent - 1];
        c->gaps++;
    }
}

static void serve(struct cell *c)
{
    struct wire_request r;
    while (next_request(c->w, &r)) {
        if (r.method == WIRE_CELL_STATUS) {
            reply_status(c->w, &r, /* serving= */ true, NULL, 65537);
            continue;
        }
        if (r.method == WIRE_WATCH_ADD) {
            assert_int_equal(r.watches_count, 1);
            set_watch(c, &r.watches[0]);
        } else {
            assert_int_equal(r.method, WIRE_WATCH_REMOVE);
            c->id = r.unwatch[0] == c->id ? 0 : c->id;
            c->removals++;
        }
        reply_ok_at(c->w, &r, revision_of(c));
    }
}

static void connect_again(struct cell *c)
{
    c->id = 0;
    while (c->w->link == 0) {
        if (engine_wish(c->w->engine)->link != 0) {
            connect_link(c->w);
        } else {
            pass(c->w, 10);
        }
    }
    serve(c);
}

/* Takes some, and checks that they are the next ones. */
static void take(struct cell *c, uint32_t limit)
{
    struct lockd_event *event;
    while (limit-- > 0 && (event = engine_watch_next(c->watch, c->w->now_ms)) != NULL) {
        if (event->change == LOCKD_GAP) {
            const uint32_t behind = first_above(c, event->revision);
            c->taken = behind > c->taken ? behind : c->taken;
        } else {
            assert_int_equal(event->generation, c->taken + 1);
            assert_int_equal(event->revision, c->revisions[c->taken]);
            c->taken++;
        }
        lockd_event_free(event);
    }
}

static void step(struct cell *c)
{
    switch (below(c, 16)) {
    case 0:
        send_events(c, 40, /* cut= */ true);
        lose_link(c->w);
        c->cuts++;
        connect_again(c);
        break;
    case 1:
        if (c->id != 0 && c->sent == c->count && !c->gap_owed) {
            notify_progress(c->w, revision_of(c));
        }
        break;
    case 2:
        if (below(c, 50) == 0) {
            c->floor = c->count;
        }
        break;
    case 3:
        take(c, below(c, 2) == 0 ? 4000 : 30);
        break;
    case 4:
        if (below(c, 20) == 0) { /* More than a watch keeps. */
            for (int i = 0; i < 800; i++) {
                execute(c);
            }
            send_events(c, 4000, /* cut= */ false);
        }
        break;
    case 5:
    case 6:
    case 7:
        execute(c);
        break;
    default:
        send_events(c, 8, /* cut= */ false);
        break;
    }
    serve(c);
}

static void run(uint64_t seed)
{
    struct cell *c = calloc(1, sizeof *c);
    struct outcome o = {.times = 0};
    c->w = world_new("10.0.0.1");
    c->chance = seed;
    for (int i = 0; i < 20; i++) {
        execute(c);
    }
    c->taken = c->count;
    assert_int_equal(engine_watch(c->w->engine, c->w->now_ms, "/ls/local/f", NULL, 5000, done,
                                  &o, &c->watch),
                     LOCKD_OK);
    connect_again(c);
    assert_int_equal(o.rc, LOCKD_OK);
    for (int i = 0; i < STEPS; i++) {
        step(c);
    }
    for (int i = 0; i < 10000 && c->taken < c->count; i++) {
        take(c, 4000);
        serve(c);
        send_events(c, 4000, /* cut= */ false);
        serve(c);
    }
    assert_int_equal(c->taken, c->count);
    assert_true(c->cuts > 10 && c->removals > 0 && c->gaps > 0);
    world_free(c->w);
    free(c);
}

static void test_each_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
