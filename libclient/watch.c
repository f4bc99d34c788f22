/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c -- watches: set, told, held up, set again.
 *
 *            page printed            answered
 *     UNSET --------------> SETTING ----------> SET
 *      ^  ^                  |   |               |  no room for an event, or
 *      |  +-- link lost -----+---|---------------+  nobody wants it any more
 *      |                         | refused       v
 *      |  read empty, retry      v            REMOVING
 *      +----------------------- OUT <------------+ printed
 *
 * A watch lives at the master that it was set at and nowhere else, so it is set
 * anew over each connection, from where it was: pages of many in one request, and
 * each time under an id of its own, so that nothing said of an earlier time is
 * taken for this one.
 *
 * Where it was is a revision and a count.  Events come in the order of revisions,
 * and one command makes several of the same, which a broken connection can cut
 * apart.  So the last revision of which events were heard counts as begun: the
 * watch is set from the one before, and as many events of it as were heard are
 * passed over.  When the cell says how far the watch has come, it is complete.
 *
 * The program may take events as slowly as it likes.  If a watch has too many not
 * taken, it is removed at the cell, whose history keeps the rest, and set again
 * from there when all have been taken.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOT_BITS = 20,
    QUEUE_OCTETS = 1024 * 1024, /* Of events of one watch not taken. */
};

static_assert(ENGINE_WATCHES_MAX == 1 << SLOT_BITS, "a slot is the lower bits of an id");

void watches_init(struct watches *all)
{
    list_init(&all->all);
    list_init(&all->unset);
    list_init(&all->set);
    list_init(&all->removing);
}

/* -------------------------------------------------------------------- slots */

/* As many slots as watches. */
static bool slot_take(struct watches *all, struct lockd_watch *w)
{
    if (all->free_count == 0) {
        const uint32_t capacity = all->capacity == 0 ? 16 : all->capacity * 2;
        if (capacity > ENGINE_WATCHES_MAX) {
            return false;
        }
        struct lockd_watch **slots =
            realloc(all->slots, capacity * sizeof(struct lockd_watch *));
        if (slots == NULL) {
            return false;
        }
        all->slots = slots;
        uint32_t *unused = realloc(all->free, capacity * sizeof *unused);
        if (unused == NULL) {
            return false;
        }
        all->free = unused;
        for (uint32_t i = capacity; i > all->capacity; i--) {
            all->free[all->free_count++] = i - 1;
            all->slots[i - 1] = NULL;
        }
        all->capacity = capacity;
    }
    w->slot = all->free[--all->free_count];
    all->slots[w->slot] = w;
    return true;
}

static struct lockd_watch *watch_of_id(const struct watches *all, uint64_t id)
{
    const uint64_t slot = id & (ENGINE_WATCHES_MAX - 1);
    struct lockd_watch *w = slot < all->capacity ? all->slots[slot] : NULL;
    return w != NULL && w->id == id ? w : NULL;
}

void watch_new_id(struct lockd_watch *w)
{
    struct watches *all = &w->engine->watches;
    all->ids = (all->ids + 1) & ((UINT64_C(1) << (53 - SLOT_BITS)) - 1);
    w->id = all->ids << SLOT_BITS | w->slot;
}

/* ------------------------------------------------------------------- states */

static void destroy(struct lockd_watch *w)
{
    struct watches *all = &w->engine->watches;
    assert(!w->wanted && w->answer == NULL && list_empty(&w->queue));
    all->slots[w->slot] = NULL;
    all->free[all->free_count++] = w->slot;
    heap_forget(&w->engine->heap, &w->timer);
    list_remove(&w->at);
    free(w->marks);
    free(w);
}

void watch_set_timer(struct lockd_watch *w)
{
    const uint64_t deadline_ms = w->answer != NULL ? w->deadline_ms : TIMER_NEVER;
    const uint64_t retry_ms = w->state == WATCH_OUT ? w->retry_ms : TIMER_NEVER;
    heap_set(&w->engine->heap, &w->timer, retry_ms < deadline_ms ? retry_ms : deadline_ms);
}

void watch_enter(struct lockd_watch *w, enum watch_state state)
{
    struct watches *all = &w->engine->watches;
    list_remove(&w->at);
    w->state = state;
    if (state == WATCH_UNSET) {
        list_push_back(&all->unset, &w->at);
    } else if (state == WATCH_SET) {
        list_push_back(&all->set, &w->at);
    } else if (state == WATCH_REMOVING) {
        list_push_back(&all->removing, &w->at);
    }
    w->retry_ms = TIMER_NEVER;
    watch_set_timer(w);
}

/* The cell knows nothing of it, or won't soon. */
void watch_left_cell(struct lockd_watch *w)
{
    const bool held_up = w->missed && !list_empty(&w->queue);
    w->id = 0;
    if (w->freed) {
        destroy(w);
    } else {
        watch_enter(w, w->wanted && !held_up ? WATCH_UNSET : WATCH_OUT);
    }
}

/* Nobody wants it any more. */
void watch_unwant(struct lockd_watch *w)
{
    if (w->wanted) {
        w->wanted = false;
        w->engine->watches.wanted--;
    }
    if (w->state == WATCH_SET) {
        watch_enter(w, WATCH_REMOVING);
    } else if (w->state == WATCH_OUT || w->state == WATCH_UNSET) {
        watch_left_cell(w);
    } /* Else when its page is answered, or it has been removed. */
}

void watch_tell(struct lockd_watch *w, enum lockd_rc rc, uint64_t revision)
{
    struct answer *answer = w->answer;
    w->answer = NULL;
    watch_set_timer(w);
    if (answer != NULL) {
        answer->public.revision = revision;
        answer_tell(w->engine, answer, rc);
    }
}

/* ---------------------------------------------------------------- open, free */

struct lockd_watch *watch_new(struct engine *e, const char *name,
                              const struct lockd_watch_options *options)
{
    const size_t size = strlen(name) + 1;
    struct lockd_watch *w = calloc(1, sizeof *w + size);
    if (w == NULL || !heap_reserve(&e->heap)) {
        free(w);
        return NULL;
    }
    list_init(&w->all);
    list_init(&w->at);
    list_init(&w->queue);
    list_init(&w->event.at);
    memcpy(w->name, name, size);
    w->engine = e;
    w->timer.kind = TIMER_WATCH;
    w->event.kind = EVENT_WATCH;
    w->state = WATCH_OUT;
    w->retry_ms = TIMER_NEVER;
    w->dated = options->from_given;
    w->heard = w->taken = options->from;
    w->scope = options->scope != 0 ? options->scope : LOCKD_SCOPE_NODE;
    w->watched = options->watched != 0 ? options->watched : (uint32_t)LOCKD_WATCH_ALL;
    w->instance = options->instance;
    w->content = options->content;
    w->old = options->old_content;
    w->told = options->told;
    w->context = options->context;
    if (!slot_take(&e->watches, w)) {
        heap_forget(&e->heap, &w->timer);
        free(w);
        return NULL;
    }
    return w;
}

void watch_begin(struct lockd_watch *w)
{
    w->wanted = true;
    w->engine->watches.wanted++;
    watch_enter(w, WATCH_UNSET);
}

static enum lockd_rc check_watch(const struct engine *e, const char *name,
                                 const struct lockd_watch_options *o)
{
    if (name == NULL || o->watched > LOCKD_WATCH_ALL || o->scope > LOCKD_SCOPE_SUBTREE ||
        (o->from_given && o->from > WIRE_NUMBER_MAX) ||
        (o->instance != 0 && o->scope > LOCKD_SCOPE_NODE)) {
        return LOCKD_E_INVALID;
    }
    if (e->closed) {
        return LOCKD_E_CLOSED;
    }
    return e->watches.wanted < ENGINE_WATCHES_MAX ? check_name(name) : LOCKD_E_OVERLOADED;
}

enum lockd_rc engine_watch(struct engine *e, uint64_t now_ms, const char *name,
                           const struct lockd_watch_options *options, int timeout_ms,
                           lockd_done *done, void *context, struct lockd_watch **ret_watch)
{
    const struct lockd_watch_options none = {.size = sizeof none};
    const struct lockd_watch_options *o = options == NULL ? &none : options;
    const enum lockd_rc rc = ret_watch == NULL ? LOCKD_E_INVALID : check_watch(e, name, o);
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct answer *answer = answer_new(done, context);
    struct lockd_watch *w = answer == NULL ? NULL : watch_new(e, name, o);
    if (w == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    w->answer = answer;
    w->deadline_ms = deadline_after(now_ms, timeout_ms);
    list_push_back(&e->watches.all, &w->all);
    watch_begin(w);
    *ret_watch = w;
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

static void clear_queue(struct lockd_watch *w)
{
    while (!list_empty(&w->queue)) {
        struct happening *h = LIST_OF(w->queue.next, struct happening, at);
        list_remove(&h->at);
        lockd_event_free(&h->public);
    }
    w->queued = 0;
    w->queued_octets = 0;
}

void watch_give_up(struct lockd_watch *w)
{
    watch_tell(w, LOCKD_E_CLOSED, w->heard);
    clear_queue(w);
    list_remove(&w->event.at);
    list_remove(&w->all);
    w->freed = true;
    watch_unwant(w);
}

void engine_watch_free(struct lockd_watch *watch, uint64_t now_ms)
{
    if (watch != NULL) {
        struct engine *e = watch->engine;
        watch_give_up(watch);
        engine_settle(e, now_ms);
    }
}

void watches_close(struct engine *e)
{
    for (struct list *at = e->watches.all.next; at != &e->watches.all; at = at->next) {
        struct lockd_watch *w = LIST_OF(at, struct lockd_watch, all);
        watch_tell(w, LOCKD_E_CLOSED, w->heard);
        watch_unwant(w);
    }
}

void watches_free(struct engine *e)
{
    struct watches *all = &e->watches;
    while (!list_empty(&all->all)) {
        watch_give_up(LIST_OF(all->all.next, struct lockd_watch, all));
    }
    assert(all->wanted == 0 && all->free_count == all->capacity);
    free(all->slots);
    free(all->free);
}

/* ------------------------------------------------------------------- events */

/* False: there is no room for it. */
static bool enqueue(struct lockd_watch *w, const struct wire_event *event)
{
    const bool full = w->queued >= ENGINE_WATCH_EVENTS || w->queued_octets >= QUEUE_OCTETS;
    struct happening *h = full ? NULL : happening_new(event);
    if (h == NULL) {
        return false;
    }
    list_push_back(&w->queue, &h->at);
    w->queued++;
    w->queued_octets += h->octets;
    if (w->told != NULL) {
        event_push(w->engine, &w->event);
    }
    return true;
}

/* What tells the events of one revision apart. */
static uint64_t mark_of(const struct wire_event *event)
{
    const uint64_t parts[] = {event->change, event->instance, event->session, event->token};
    uint64_t mark = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        mark = (mark ^ parts[i]) * UINT64_C(0x9e3779b97f4a7c15);
        mark ^= mark >> 32;
    }
    for (size_t i = 0; i < event->name.size; i++) {
        mark = (mark ^ (unsigned char)event->name.data[i]) * UINT64_C(0x9e3779b97f4a7c15);
        mark ^= mark >> 32;
    }
    return mark;
}

/* Was it heard before the watch was set again?  Then that is used up. */
static bool comes_again(struct lockd_watch *w, const struct wire_event *event)
{
    if (w->skip == 0 || event->change == WIRE_GAP || event->revision != w->heard) {
        return false;
    }
    const uint64_t mark = mark_of(event);
    for (uint32_t i = 0; i < w->skip; i++) {
        if (w->marks[i] == mark) {
            w->marks[i] = w->marks[--w->skip];
            w->marks[w->skip] = mark;
            return true;
        }
    }
    return false;
}

/* Room for one more mark; false: out of memory. */
static bool reserve_mark(struct lockd_watch *w)
{
    if (w->partial < w->marks_capacity) {
        return true;
    }
    const uint32_t capacity = w->marks_capacity == 0 ? 4 : 2 * w->marks_capacity;
    uint64_t *marks = realloc(w->marks, capacity * sizeof *marks);
    if (marks == NULL) {
        return false;
    }
    w->marks = marks;
    w->marks_capacity = capacity;
    return true;
}

static void heard(struct lockd_watch *w, const struct wire_event *event)
{
    w->dated = true;
    if (event->change == WIRE_GAP) {
        w->heard = event->revision; /* Also where that leads back. */
        w->partial = w->skip = 0;
    } else if (event->revision > w->heard) {
        w->heard = event->revision;
        w->partial = 1;
        w->skip = 0;
        w->marks[0] = mark_of(event);
    } else if (event->revision == w->heard) {
        w->marks[w->partial++] = mark_of(event);
    }
}

static void on_event(struct engine *e, uint64_t now_ms, const struct wire_notification *n)
{
    struct lockd_watch *w = watch_of_id(&e->watches, n->watch);
    const struct wire_event *event = &n->event;
    if (w == NULL || !w->wanted || w->missed) {
        return; /* Nobody's, or told again later. */
    }
    if (comes_again(w, event)) {
        return;
    }
    const bool has_room = reserve_mark(w);
    if (has_room && w->observer != NULL) {
        heard(w, event);
        engine_saw_revision(e, event->revision);
        observer_event(w->observer, now_ms, event);
    } else if (has_room && enqueue(w, event)) {
        heard(w, event);
        engine_saw_revision(e, event->revision);
    } else {
        w->missed = true;
        if (w->state == WATCH_SET) {
            watch_enter(w, WATCH_REMOVING);
        }
    }
}

static void on_progress(struct engine *e, uint64_t revision)
{
    for (struct list *at = e->watches.set.next; at != &e->watches.set; at = at->next) {
        struct lockd_watch *w = LIST_OF(at, struct lockd_watch, at);
        if (revision >= w->heard) {
            w->heard = revision;
            w->partial = w->skip = 0;
        }
    }
}

void watches_notified(struct engine *e, uint64_t now_ms, const struct wire_notification *n)
{
    switch (n->notice) {
    case WIRE_WATCH_EVENT:
        on_event(e, now_ms, n);
        break;
    case WIRE_WATCH_PROGRESS:
        on_progress(e, n->revision);
        break;
    case WIRE_WATCH_END:
        link_refused(e, now_ms, n->master);
        break;
    case WIRE_CACHE_INVALIDATE: /* No watch's. */
    case WIRE_NO_NOTICE:
        break;
    }
}

struct happening *watch_take(struct lockd_watch *w)
{
    assert(!list_empty(&w->queue));
    struct happening *h = LIST_OF(w->queue.next, struct happening, at);
    list_remove(&h->at);
    w->queued--;
    w->queued_octets -= h->octets;
    w->taken = h->public.revision;
    if (list_empty(&w->queue) && w->missed && w->state == WATCH_OUT) {
        w->retry_ms = 0; /* With the next tick, which is wished for at once. */
        watch_set_timer(w);
    }
    return h;
}

struct lockd_event *engine_watch_next(struct lockd_watch *watch, uint64_t now_ms)
{
    if (watch->told != NULL || list_empty(&watch->queue)) {
        return NULL;
    }
    struct happening *h = watch_take(watch);
    if (watch->retry_ms == 0) {
        watch_tick(watch, now_ms);
    }
    engine_settle(watch->engine, now_ms);
    return &h->public;
}

void watch_tick(struct lockd_watch *w, uint64_t now_ms)
{
    if (w->answer != NULL && w->deadline_ms <= now_ms) {
        watch_tell(w, LOCKD_E_UNAVAILABLE, w->heard);
        watch_unwant(w);
    } else if (w->wanted) {
        watch_enter(w, WATCH_UNSET);
    } else {
        watch_enter(w, WATCH_OUT);
    }
}

/* ---------------------------------------------------------------- accessors */

struct engine *engine_of_watch(const struct lockd_watch *watch)
{
    return watch->engine;
}

const char *engine_watch_name(const struct lockd_watch *watch)
{
    return watch->name;
}

uint64_t engine_watch_revision(const struct lockd_watch *watch)
{
    return list_empty(&watch->queue) ? watch->heard : watch->taken;
}

bool engine_watch_current(const struct lockd_watch *watch)
{
    return watch->state == WATCH_SET;
}

struct lockd_watch *engine_watch_after(const struct engine *e, const struct lockd_watch *watch)
{
    const struct list *next = watch == NULL ? e->watches.all.next : watch->all.next;
    return next == &e->watches.all ? NULL : LIST_OF(next, struct lockd_watch, all);
}

void watches_check(const struct engine *e)
{
    const struct watches *all = &e->watches;
    size_t wanted = 0;
    for (uint32_t i = 0; i < all->capacity; i++) {
        const struct lockd_watch *w = all->slots[i];
        if (w == NULL) {
            continue;
        }
        wanted += w->wanted ? 1 : 0;
        assert(list_linked(&w->at) == (w->state != WATCH_OUT));
        assert((w->id != 0) == (w->state != WATCH_OUT && w->state != WATCH_UNSET));
        if (w->state == WATCH_OUT && w->wanted) {
            /* Something will bring it back: the program, or time. */
            assert((w->missed && !list_empty(&w->queue)) || timer_set(&w->timer));
        }
        if (!link_connected(&e->link)) {
            assert(w->state == WATCH_OUT || w->state == WATCH_UNSET);
        }
    }
    assert(wanted == all->wanted);
}
