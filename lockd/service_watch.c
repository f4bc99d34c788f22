/* SPDX-License-Identifier: Apache-2.0
 *
 * service_watch.c -- watches: set, given up and lost.
 *
 * Watches are volatile: they belong to a connection to the master.  Setting them
 * is answered like a read, after a confirmation round, and they stand from the
 * very state that answers; so no change falls between that answer and the first
 * event.  A page waits in octets of its own, because it may be large.
 *
 * A client is told what is new as it happens, unless it is *behind*: it asked for
 * what was before, or reads too slowly.  Then it is told from the history, up to
 * where it has caught up with all others (service_tell.c):
 *
 *                     slow, out of credit, set from an older revision
 *       current   ------------------------------------------------->   behind
 *     told up to  <-------------------------------------------------  told up to
 *        `live`              the history was told to its end           `cursor`
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* One watch of a page; its path stands behind all of them. */
struct page_watch {
    uint64_t watch;
    uint64_t from;
    uint64_t if_instance;
    uint16_t path_size;
    uint8_t scope;
    uint8_t watched; /* 0: it was given up before it was set. */
    bool content;
    bool old;
};

struct watch_page {
    struct watch_page *next;
    uint64_t client;
    uint64_t tag;
    uint64_t round;
    uint64_t epoch;
    size_t octets; /* Of all of this. */
    uint32_t principal;
    uint32_t count;
    bool forgotten;
    struct page_watch watches[];
};

/* ------------------------------------------------------------------ requests */

/* Do all of them have names?  Adds up how long they are. */
static bool page_paths(const struct service *s, const struct service_request *request,
                       size_t *ret_octets)
{
    size_t octets = 0;
    for (uint32_t i = 0; i < request->watches_count; i++) {
        struct bytes path;
        if (!name_path(s, request->watches[i].name, &path)) {
            return false;
        }
        octets += path.size;
    }
    *ret_octets = octets;
    return true;
}

static void page_fill(const struct service *s, struct watch_page *page,
                      const struct service_request *request)
{
    uint8_t *paths = (uint8_t *)&page->watches[page->count];
    for (uint32_t i = 0; i < page->count; i++) {
        const struct service_watch *from = &request->watches[i];
        struct bytes path = bytes_of(NULL, 0);
        const bool named = name_path(s, from->name, &path);
        assert(named);
        (void)named;
        page->watches[i] = (struct page_watch){
            .watch = from->watch,
            .from = from->from,
            .if_instance = from->if_instance,
            .path_size = (uint16_t)path.size,
            .scope = (uint8_t)from->scope,
            .watched = (uint8_t)(from->watched & SERVICE_WATCH_ALL),
            .content = from->content,
            .old = from->old,
        };
        if (path.size > 0) {
            memcpy(paths, path.data, path.size);
        }
        paths += path.size;
    }
}

static void page_push(struct service *s, struct watch_page *page)
{
    page->next = NULL;
    *s->watches.pages_end = page;
    s->watches.pages_end = &page->next;
    s->watches.pages_octets += page->octets;
}

static void page_drop(struct service *s)
{
    struct watch_page *page = s->watches.pages;
    s->watches.pages = page->next;
    if (page->next == NULL) {
        s->watches.pages_end = &s->watches.pages;
    }
    s->watches.pages_octets -= page->octets;
    table_free(s, page, page->octets, 1);
}

void watch_request(struct service *s, uint64_t now_ms, const struct service_request *request)
{
    size_t octets = 0;
    if (!page_paths(s, request, &octets)) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_BAD_NAME);
        return;
    }
    if (request->watches_count > SERVICE_WATCHES_PAGE) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_TOO_LARGE);
        return;
    }
    uint64_t round = 0;
    if (s->epoch == 0 || s->closing ||
        paxos_confirm(s->paxos, now_ms, /* urgent= */ true, &round) != PAXOS_OK) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    octets += sizeof(struct watch_page) + request->watches_count * sizeof(struct page_watch);
    if (PAGES_OCTETS_MAX - s->watches.pages_octets < octets) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return;
    }
    struct watch_page *page = table_new(s, octets, 1);
    *page = (struct watch_page){
        .client = request->client,
        .tag = request->tag,
        .round = round,
        .epoch = s->epoch,
        .octets = octets,
        .principal = access_principal(s, request->principal),
        .count = request->watches_count,
    };
    page_fill(s, page, request);
    page_push(s, page);
}

static struct service_reply *reply_watched(struct service *s, uint64_t client, uint64_t tag,
                                           enum service_op op, enum lease_rc rc)
{
    const struct lease_position position = lease_position(s->lease);
    struct service_reply *reply =
        reply_add(s, client, tag, op, rc == LEASE_OK ? SERVICE_DONE : SERVICE_REFUSED);
    reply->rc = rc;
    reply->epoch = position.epoch;
    reply->revision = position.revision;
    reply->slot = position.slot;
    reply->position = position.position;
    return reply;
}

static void watcher_left(struct service *s, struct watcher *c)
{
    if (c->count == 0) {
        watcher_current(c);
        if (!c->slow) {
            watcher_free(s, c);
        }
    }
}

static void give_up(struct service *s, struct watch *w)
{
    struct watcher *c = w->watcher;
    watch_free(s, w);
    watcher_left(s, c);
}

/* Of this client's pages that are still to be set. */
static void give_up_page(struct watch_page *page, const struct service_request *request)
{
    for (uint32_t i = 0; i < page->count; i++) {
        for (uint32_t j = 0; j < request->unwatch_count; j++) {
            if (page->watches[i].watch == request->unwatch[j]) {
                page->watches[i].watched = 0;
            }
        }
    }
}

/* Answered at once: it takes nothing but what is the client's own. */
void unwatch_request(struct service *s, const struct service_request *request)
{
    if (s->epoch == 0) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    for (uint32_t i = 0; i < request->unwatch_count; i++) {
        struct watch *w = watch_find(s, request->client, request->unwatch[i]);
        if (w != NULL) {
            give_up(s, w);
        }
    }
    for (struct watch_page *page = s->watches.pages; page != NULL; page = page->next) {
        if (page->client == request->client) {
            give_up_page(page, request);
        }
    }
    reply_watched(s, request->client, request->tag, request->op, LEASE_OK);
}

/* --------------------------------------------------------- current and behind */

void watcher_current(struct watcher *c)
{
    if (c->behind_link != NULL) {
        *c->behind_link = c->behind_next;
        if (c->behind_next != NULL) {
            c->behind_next->behind_link = c->behind_link;
        }
        c->behind_link = NULL;
    }
    c->joined = false;
    c->pressed = false;
}

void watcher_behind(struct service *s, struct watcher *c, uint64_t cursor)
{
    struct watches *all = &s->watches;
    if (c->behind_link == NULL) {
        c->behind_next = all->behind;
        c->behind_link = &all->behind;
        if (c->behind_next != NULL) {
            c->behind_next->behind_link = &c->behind_next;
        }
        all->behind = c;
    }
    c->cursor = cursor;
    c->pressed = c->pressed || c->slow;
    c->joined = all->sweep.running && !c->slow && cursor >= all->sweep.at;
}

uint64_t watcher_cursor(const struct service *s, const struct watcher *c)
{
    assert(c->behind_link != NULL);
    return c->joined && s->watches.sweep.at > c->cursor ? s->watches.sweep.at : c->cursor;
}

void service_slow(struct service *s, uint64_t client, bool slow)
{
    struct watcher *c = slow ? watcher_make(s, client) : watcher_find(s, client);
    if (c == NULL) {
        return;
    }
    c->slow = slow;
    c->pressed = c->pressed || (slow && c->behind_link != NULL);
    if (slow && c->joined) {
        c->cursor = watcher_cursor(s, c);
        c->joined = false;
    }
    watcher_left(s, c);
}

/* ----------------------------------------------------------------- setting */

static bool has_event_in(const struct service *s, uint64_t after, uint64_t up_to)
{
    if (after >= up_to) {
        return false;
    }
    struct lease_place place = lease_history_seek(s->lease, after);
    struct lease_event event;
    return lease_history_next(s->lease, &place, &event) && event.revision <= up_to;
}

/* The client is to be told what came after `from`, its other watches only what
 * comes after that of which they were told. */
static void go_back(struct service *s, struct watcher *c, uint64_t from)
{
    const bool behind = c->behind_link != NULL;
    const uint64_t told = behind ? watcher_cursor(s, c) : s->watches.live;
    if (!has_event_in(s, from, told)) {
        return;
    }
    for (struct watch *w = c->watches; w != NULL; w = w->client_next) {
        w->start = w->start < told ? told : w->start;
    }
    watcher_behind(s, c, from);
}

/* Is the instance that it is pinned to gone, and was already when it is to begin
 * with what comes from now on? */
static bool is_gone(const struct service *s, const struct page_watch *from, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    return from->if_instance != LEASE_ANY && from->from == LEASE_ANY &&
           (lease_get(s->lease, path, &stat, &content) != LEASE_OK ||
            stat.instance != from->if_instance);
}

/* Returns the revision from which on it is told. */
static uint64_t set_start(struct service *s, struct watch *w, uint64_t from)
{
    const uint64_t revision = lease_position(s->lease).revision;
    const uint64_t floor = lease_history_floor(s->lease);
    uint64_t start = from == LEASE_ANY ? revision : from;
    const uint64_t wanted = start;
    if (start > revision) {
        start = revision; /* Of another past than ours. */
    } else if (start < floor) {
        start = floor;
    }
    if (start < s->watches.live) {
        go_back(s, w->watcher, start);
    }
    w->start = start;
    if (start != wanted) {
        tell_gap(s, w, start);
    }
    return start;
}

static uint64_t set_watch(struct service *s, const struct watch_page *page,
                          const struct page_watch *from, struct bytes path)
{
    struct watch *w = watch_find(s, page->client, from->watch);
    if (w != NULL) {
        give_up(s, w);
    }
    w = watch_make(s, watcher_make(s, page->client), from->watch,
                   (enum service_scope)from->scope, path);
    w->principal = page->principal;
    w->if_instance = from->if_instance;
    w->watched = from->watched;
    w->content = from->content;
    w->old = from->old;
    w->last = UINT32_MAX;
    w->ended = is_gone(s, from, path);
    return set_start(s, w, from->from);
}

/* May all of this be watched? */
static bool page_allowed(const struct service *s, const struct watch_page *page)
{
    const uint8_t *paths = (const uint8_t *)&page->watches[page->count];
    for (uint32_t i = 0; i < page->count; i++) {
        const struct page_watch *from = &page->watches[i];
        if (from->watched != 0 &&
            access_read(s, page->principal, bytes_of(paths, from->path_size)) != LEASE_OK) {
            return false;
        }
        paths += from->path_size;
    }
    return true;
}

/* The reply says where telling begins: of the watches that are told from now on, for
 * the others know; or, if there are none, of the earliest. */
static void set_page(struct service *s, const struct watch_page *page)
{
    if (s->config.watches_max - s->watches.by_id.count < page->count) {
        reply_add(s, page->client, page->tag, SERVICE_WATCH_ADD, SERVICE_OVERLOADED);
        return;
    }
    if (!page_allowed(s, page)) {
        reply_watched(s, page->client, page->tag, SERVICE_WATCH_ADD, LEASE_DENIED);
        return;
    }
    const uint64_t revision = lease_position(s->lease).revision;
    uint64_t begins = revision;
    bool from_now = false;
    const uint8_t *paths = (const uint8_t *)&page->watches[page->count];
    for (uint32_t i = 0; i < page->count; i++) {
        const struct page_watch *from = &page->watches[i];
        if (from->watched != 0) {
            const uint64_t start = set_watch(s, page, from, bytes_of(paths, from->path_size));
            begins = start < begins ? start : begins;
            from_now |= from->from == LEASE_ANY;
        }
        paths += from->path_size;
    }
    s->watches.progress_revision = 0; /* They are to hear how far they are. */
    reply_watched(s, page->client, page->tag, SERVICE_WATCH_ADD, LEASE_OK)->revision =
        from_now ? revision : begins;
}

uint64_t watches_answer(struct service *s, uint64_t confirmed)
{
    if (s->watches.by_id.count == 0) {
        s->watches.live = lease_position(s->lease).revision;
    }
    for (uint32_t set = 0; s->watches.pages != NULL; set++) {
        const struct watch_page *page = s->watches.pages;
        assert(page->epoch == s->epoch);
        if (page->round > confirmed) {
            return confirmed;
        }
        if (set == PAGES_TURN) {
            return page->round - 1;
        }
        if (!page->forgotten) {
            set_page(s, page);
        }
        page_drop(s);
    }
    return confirmed;
}

/* --------------------------------------------------------------------- life */

static void drop_watches(struct service *s, struct watcher *c)
{
    while (c->watches != NULL) {
        watch_free(s, c->watches);
    }
    watcher_left(s, c);
}

void watchers_free_gone(struct service *s)
{
    uint32_t left = FORGET_TURN;
    while (s->watches.gone != NULL && left > 0) {
        struct watcher *c = s->watches.gone;
        for (; c->watches != NULL && left > 0; left--) {
            watch_free(s, c->watches);
        }
        if (c->watches == NULL) {
            s->watches.gone = c->behind_next;
            watcher_free(s, c);
        }
    }
}

/* A million watches take longer to free than a turn may last. */
void watches_forget(struct service *s, uint64_t client)
{
    for (struct watch_page *page = s->watches.pages; page != NULL; page = page->next) {
        page->forgotten = page->forgotten || page->client == client;
    }
    struct watcher *c = watcher_find(s, client);
    if (c != NULL) {
        watcher_current(c);
        c->gone = true;
        c->behind_next = s->watches.gone;
        s->watches.gone = c;
    }
}

void watches_begin(struct service *s)
{
    s->watches.live = lease_position(s->lease).revision;
}

static void lose_watcher(struct service *s, struct watcher *c)
{
    if (c->gone) {
        return;
    }
    if (c->count > 0 && !mutant(ended_watch_kept_silent)) {
        tell_end(s, c);
    }
    drop_watches(s, c);
}

void watchers_lost(struct service *s)
{
    while (s->watches.pages != NULL) {
        const struct watch_page *page = s->watches.pages;
        if (!page->forgotten) {
            reply_not_master(s, page->client, page->tag, SERVICE_WATCH_ADD);
        }
        page_drop(s);
    }
    watchers_each(s, lose_watcher);
    s->watches.sweep.running = false;
    s->watches.progress_ms = 0;
    s->watches.progress_revision = 0;
}

static void free_watcher(struct service *s, struct watcher *c)
{
    c->slow = false;
    drop_watches(s, c);
}

void watchers_free(struct service *s)
{
    while (s->watches.pages != NULL) {
        page_drop(s);
    }
    while (s->watches.gone != NULL) {
        watchers_free_gone(s);
    }
    watchers_each(s, free_watcher);
    index_free(s);
    table_free(s, s->watches.events, s->watches.events_capacity, sizeof *s->watches.events);
    table_free(s, s->watches.told, s->watches.told_capacity, sizeof *s->watches.told);
    table_free(s, s->watches.changes, s->watches.changes_capacity, sizeof *s->watches.changes);
}
