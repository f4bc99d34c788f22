/* SPDX-License-Identifier: Apache-2.0
 *
 * watch_pages.c -- watches set and removed at the cell, many in one request.
 *
 * After a fail-over all are set again at once.  So a page carries up to a thousand,
 * a few pages are under way at a time, and the calls of others go in between.  A
 * page that is refused says nothing of each of its watches: then every one goes
 * alone.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"

enum {
    PAGES_MAX = 4,            /* Under way: the cell's other clients want their turn. */
    PAGE_OCTETS = 512 * 1024, /* At most, in its longest form. */
    ENTRY_OCTETS = 256,       /* Of a watch in it, besides the name. */
    RETRY_MS = 1000,          /* After a refusal of a watch that had been set before. */
};

static_assert((int)PAGE_OCTETS < (int)WIRE_LINE_MAX, "a page is one line");

/* ------------------------------------------------------------------ outcomes */

/* The first answer is awaited: a failure ends it.  Later ones are waited out. */
static void refused(struct lockd_watch *w, enum lockd_rc rc, uint64_t retry_ms)
{
    const bool is_final = rc != LOCKD_E_UNAVAILABLE && rc != LOCKD_E_UNKNOWN;
    w->id = 0;
    watch_enter(w, WATCH_OUT);
    if (w->answer != NULL && is_final) {
        watch_tell(w, rc, w->heard);
        watch_unwant(w);
    } else if (!w->wanted) {
        watch_left_cell(w);
    } else {
        w->retry_ms = retry_ms;
        watch_set_timer(w);
    }
}

static void is_set(struct lockd_watch *w, uint64_t revision)
{
    if (!w->dated || (w->was_set && mutant(event_dropped_at_reconnect))) {
        w->dated = true;
        w->heard = w->heard > revision ? w->heard : revision;
    }
    if (!w->was_set && list_empty(&w->queue)) {
        w->taken = w->heard;
    }
    w->was_set = true;
    w->alone = false;
    watch_tell(w, LOCKD_OK, w->heard);
    watch_enter(w, w->wanted && !w->missed ? WATCH_SET : WATCH_REMOVING);
}

static void page_end(struct call *c)
{
    if (c->request.method == WIRE_WATCH_ADD) {
        c->engine->watches.pages--;
    }
    call_free(c);
}

void watches_page_lost(struct call *c)
{
    while (!list_empty(&c->watches)) {
        watch_left_cell(LIST_OF(c->watches.next, struct lockd_watch, at));
    }
    page_end(c);
}

void watches_page_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct engine *e = c->engine;
    const enum lockd_rc rc = verdict_rc(reply->error);
    const uint64_t retry_ms = now_ms + locate_chance(&e->locate, RETRY_MS / 2, RETRY_MS);
    /* Does it speak of all of them?  Else which of them it was, each will tell. */
    const bool is_one = c->watches.next == c->watches.prev;
    const bool is_of_all = is_one || rc == LOCKD_E_OVERLOADED || rc == LOCKD_E_UNAVAILABLE ||
                           rc == LOCKD_E_UNKNOWN;
    if (reply->error == WIRE_NOT_MASTER || reply->error == WIRE_UNAVAILABLE) {
        watches_page_lost(c);
        link_refused(e, now_ms, reply->master);
        return;
    }
    while (!list_empty(&c->watches)) {
        struct lockd_watch *w = LIST_OF(c->watches.next, struct lockd_watch, at);
        if (reply->error == WIRE_OK) {
            is_set(w, reply->revision);
        } else if (is_of_all) {
            refused(w, rc, retry_ms);
        } else {
            w->alone = true;
            watch_left_cell(w);
        }
    }
    page_end(c);
}

/* --------------------------------------------------------------------- print */

static size_t octets_of(const struct lockd_watch *w)
{
    return ENTRY_OCTETS + 2 * strlen(w->name);
}

/* The bug: one mark for all watches, though each may have missed what others heard. */
static void resume_from_newest(struct lockd_watch *w)
{
    const struct list *all = &w->engine->watches.all;
    for (struct list *at = all->next; at != all && w->was_set; at = at->next) {
        const struct lockd_watch *other = LIST_OF(at, struct lockd_watch, all);
        if (other->was_set && other->heard > w->heard) {
            w->heard = other->heard;
        }
    }
}

/* Where it goes on: see watch.c. */
static struct wire_watch entry_of(struct lockd_watch *w)
{
    const bool from_now = !w->dated || (w->was_set && mutant(event_dropped_at_reconnect));
    const bool again = w->partial > 0 || (w->was_set && mutant(event_repeated));
    w->skip = mutant(event_repeated) ? 0 : w->partial;
    if (mutant(resumed_from_newest)) {
        resume_from_newest(w);
    }
    return (struct wire_watch){
        .watch = w->id,
        .name = {.data = w->name, .size = strlen(w->name)},
        .scope = (enum wire_scope)w->scope,
        .watched = w->watched,
        .from = from_now ? WIRE_ANY : w->heard - (again && w->heard > 0 ? 1 : 0),
        .if_instance = w->instance != 0 ? w->instance : WIRE_ANY,
        .content = w->content,
        .old = w->old,
    };
}

static_assert((int)LOCKD_SCOPE_NODE == (int)WIRE_SCOPE_NODE &&
                  (int)LOCKD_SCOPE_CHILDREN == (int)WIRE_SCOPE_CHILDREN &&
                  (int)LOCKD_SCOPE_SUBTREE == (int)WIRE_SCOPE_SUBTREE &&
                  (int)LOCKD_WATCH_ALL == (int)WIRE_WATCHED_ALL,
              "scopes and kinds have the numbers of the wire");

/* Moves what one request can carry into its list. */
static uint32_t fill_page(struct watches *all, struct call *c, struct wire_watch *entries)
{
    size_t octets = 0;
    uint32_t count = 0;
    while (count < WIRE_WATCHES_MAX && !list_empty(&all->unset)) {
        struct lockd_watch *w = LIST_OF(all->unset.next, struct lockd_watch, at);
        octets += octets_of(w);
        if (count > 0 && (octets > PAGE_OCTETS || w->alone)) {
            break;
        }
        watch_enter(w, WATCH_SETTING);
        list_push_back(&c->watches, &w->at);
        watch_new_id(w);
        w->missed = false;
        entries[count++] = entry_of(w);
        if (w->alone) {
            break;
        }
    }
    return count;
}

/* False: out of memory. */
static bool print_page(struct engine *e, uint64_t now_ms)
{
    const struct wire_request request = {
        .method = WIRE_WATCH_ADD, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    struct wire_watch *entries = malloc(WIRE_WATCHES_MAX * sizeof *entries);
    struct call *c = entries == NULL ? NULL : call_new(e, NULL, &request, NULL);
    if (c != NULL) {
        c->request.watches_count = fill_page(&e->watches, c, entries);
        c->request.watches = entries;
        call_print(c, now_ms);
        c->request.watches = NULL;
        e->watches.pages++;
    }
    free(entries);
    return c != NULL;
}

static bool print_removals(struct engine *e, uint64_t now_ms)
{
    struct watches *all = &e->watches;
    uint64_t ids[WIRE_WATCHES_MAX];
    const struct wire_request request = {
        .method = WIRE_WATCH_REMOVE, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    struct call *c = call_new(e, NULL, &request, NULL);
    if (c == NULL) {
        return false;
    }
    uint32_t count = 0;
    while (count < WIRE_WATCHES_MAX && !list_empty(&all->removing)) {
        struct lockd_watch *w = LIST_OF(all->removing.next, struct lockd_watch, at);
        ids[count++] = w->id;
        watch_left_cell(w); /* What the cell still says of this id is nobody's. */
    }
    c->request.unwatch = ids;
    c->request.unwatch_count = count;
    call_print(c, now_ms);
    c->request.unwatch = NULL;
    return true;
}

void watches_pump(struct engine *e, uint64_t now_ms)
{
    struct watches *all = &e->watches;
    while (!list_empty(&all->removing) && print_removals(e, now_ms)) {
    }
    while (!list_empty(&all->unset) && all->pages < PAGES_MAX &&
           link_unsent(&e->link) < ENGINE_OUTPUT_HIGH && print_page(e, now_ms)) {
    }
}

void watches_lost(struct engine *e)
{
    struct list *const all[] = {&e->watches.set, &e->watches.removing};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        while (!list_empty(all[i])) {
            watch_left_cell(LIST_OF(all[i]->next, struct lockd_watch, at));
        }
    }
}
