/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that watch a cell in memory, and what they were told.
 */
#ifndef TESTS_UNIT_TEST_SERVICE_WATCHING_H
#define TESTS_UNIT_TEST_SERVICE_WATCHING_H

#include "tests/unit/test_service_requests.h"

#define W(NAME) "/ls/test/" NAME

enum { TOLD_MAX = 1 << 17 };

/* An event as it was handed out, and how many outputs there had been. */
struct told_event {
    struct service_event event;
    enum lease_change change;
    uint64_t instance;
    uint32_t output;
    char path[48];
    char content[16];
    char old[16];
};

struct watching {
    struct cell *cell;
    struct told_event *told;
    uint32_t count;
    uint32_t read; /* Of them, by expect(). */
    uint32_t outputs;
    uint64_t base; /* Revisions are printed from here on. */
};

static void print_bytes(char *to, size_t size, bool there, struct bytes from)
{
    snprintf(to, size, "%.*s", there ? (int)from.size : 0, (const char *)from.data);
}

static inline void look_at_events(void *context, uint32_t index,
                                  const struct service_output *output)
{
    struct watching *w = context;
    (void)index;
    w->outputs++;
    for (uint32_t i = 0; i < output->events_count; i++) {
        assert_true(w->count < TOLD_MAX);
        struct told_event *told = &w->told[w->count++];
        *told = (struct told_event){.event = output->events[i], .output = w->outputs};
        const struct lease_event *change = output->events[i].change;
        assert_int_equal(change != NULL, output->events[i].kind == SERVICE_EVENT_CHANGE);
        if (change != NULL) {
            assert_int_equal(change->revision, told->event.revision);
            told->change = change->change;
            told->instance = change->instance;
            print_bytes(told->path, sizeof told->path, true, change->path);
            print_bytes(told->content, sizeof told->content,
                        told->event.content && change->has_content, change->content);
            print_bytes(told->old, sizeof told->old, told->event.old && change->has_old,
                        change->old);
        }
    }
}

static inline struct watching *watching_new(struct cell *cell)
{
    struct watching *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->cell = cell;
    w->told = calloc(TOLD_MAX, sizeof *w->told);
    assert_non_null(w->told);
    cell->look = look_at_events;
    cell->look_context = w;
    return w;
}

static inline void watching_free(struct watching *w)
{
    cell_free(w->cell);
    free(w->told);
    free(w);
}

static inline uint64_t revision_of(const struct watching *w, uint32_t index)
{
    return status_of(w->cell, index).position.revision;
}

static inline const char *change_text(enum lease_change change)
{
    static const char *const texts[] = {"",    "created", "written",  "deleted",
                                        "acl", "granted", "released", "contended"};
    return texts[change];
}

/* "watch+revision change path", with " x" and for how many it stands, "=" and the
 * content, "<" and the old one. */
static inline size_t print_told(const struct watching *w, const struct told_event *told,
                                char *text, size_t size)
{
    const struct service_event *e = &told->event;
    const int watch = (int)e->watch;
    const int revision = (int)(e->revision - w->base);
    switch (e->kind) {
    case SERVICE_EVENT_GAP:
        return (size_t)snprintf(text, size, "%d+%d gap", watch, revision);
    case SERVICE_EVENT_PROGRESS:
        return (size_t)snprintf(text, size, "+%d progress", revision);
    case SERVICE_EVENT_END:
        return (size_t)snprintf(text, size, "end %d", (int)e->master);
    case SERVICE_EVENT_INVALIDATE:
        return (size_t)snprintf(text, size, "invalidate %d", (int)e->number);
    case SERVICE_EVENT_CHANGE:
        break;
    }
    int used = snprintf(text, size, "%d+%d %s %s", watch, revision, change_text(told->change),
                        told->path);
    if (e->count > 1) {
        used += snprintf(text + used, size - (size_t)used, " x%d from +%d", (int)e->count,
                         (int)(e->first_revision - w->base));
    }
    if (e->content) {
        used += snprintf(text + used, size - (size_t)used, " =%s", told->content);
    }
    if (e->old) {
        used += snprintf(text + used, size - (size_t)used, " <%s", told->old);
    }
    return (size_t)used;
}

/* All that was told since the last time, joined by ", ". */
static inline void expect(struct watching *w, const char *expected)
{
    char text[4096] = "";
    size_t used = 0;
    for (; w->read < w->count; w->read++) {
        assert_true(used + 200 < sizeof text);
        used += (size_t)snprintf(text + used, sizeof text - used, used == 0 ? "" : ", ");
        used += print_told(w, &w->told[w->read], text + used, sizeof text - used);
    }
    assert_string_equal(text, expected);
}

static inline struct service_watch watch_of(uint64_t watch, const char *name,
                                            enum service_scope scope, uint32_t watched)
{
    return (struct service_watch){
        .watch = watch,
        .name = bytes_of(name, strlen(name)),
        .scope = scope,
        .watched = watched,
        .from = LEASE_ANY,
        .if_instance = LEASE_ANY,
    };
}

static inline void submit_watches(struct watching *w, uint32_t index, uint64_t client,
                                  uint64_t tag, const struct service_watch *watches,
                                  uint32_t count)
{
    struct service_request request = request_of(SERVICE_WATCH_ADD, tag, 0);
    request.client = client;
    request.watches = watches;
    request.watches_count = count;
    submit(w->cell, index, &request);
}

static inline void set_one(struct watching *w, uint32_t index, uint64_t client, uint64_t tag,
                           const struct service_watch *watch)
{
    submit_watches(w, index, client, tag, watch, 1);
    settle(w->cell);
    assert_int_equal(outcome_of(w->cell, tag), SERVICE_DONE);
}

static inline void give_up_one(struct watching *w, uint32_t index, uint64_t client,
                               uint64_t tag, uint64_t watch)
{
    struct service_request request = request_of(SERVICE_WATCH_REMOVE, tag, 0);
    request.client = client;
    request.unwatch = &watch;
    request.unwatch_count = 1;
    submit(w->cell, index, &request);
}

/* By client 9, who watches nothing unless a test says so. */
static inline void put(struct watching *w, uint32_t index, uint64_t tag, const char *name,
                       const char *content)
{
    ask(w->cell, index, SERVICE_PUT, 9, tag, name, content);
    settle(w->cell);
    assert_int_equal(outcome_of(w->cell, tag), SERVICE_DONE);
}

/* Revisions in plenty, of so many files, few slots for all. */
static inline void put_many(struct watching *w, uint32_t index, uint32_t puts, uint32_t files)
{
    for (uint32_t i = 0; i < puts; i++) {
        char name[32];
        snprintf(name, sizeof name, "/ls/test/%u", i % files);
        ask(w->cell, index, SERVICE_PUT, 9, 1000000 + i, name, "");
        if (i % 500 == 499 || i + 1 == puts) {
            settle(w->cell);
            w->cell->answers_count = 0;
        }
    }
}

static inline struct watching *start(uint32_t *ret_index)
{
    struct cell *cell = cell_start(1);
    *ret_index = await_master(cell);
    return watching_new(cell);
}

#endif
