/* SPDX-License-Identifier: Apache-2.0
 *
 * service_tell.c -- events: which watch is told what, and when.
 *
 * Whatever is told is read from the replicated history; nothing is kept for
 * anybody who is slow.  Three walks through it, each turn, after all applies and
 * before what the turn replies is handed out:
 *
 *     live    from where the last turn ended: those who are current.  Who is slow,
 *             or has had enough in this turn, falls behind.
 *     urgent  those who are behind and are replied to in this turn: no reply may
 *             show them a later state of a node than its events have.
 *     sweep   all others who are behind, in one walk for all; bounded, so that it
 *             may take turns.
 *
 * Who is behind because he reads too slowly is told less: changes of one node that
 * follow each other are made one.  And if that is not enough, or history does not
 * reach back, there is a gap, which says so.
 *
 * The events of one revision are told to a client together, so a revision says
 * how far it is.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- output */

uint32_t event_add(struct service *s, const struct service_event *event)
{
    struct watches *all = &s->watches;
    const size_t wanted = (size_t)all->events_count + 1;
    all->events = table_grow(s, all->events, all->events_count, &all->events_capacity, wanted,
                             sizeof *all->events);
    all->told = table_grow(s, all->told, all->events_count, &all->told_capacity, wanted,
                           sizeof *all->told);
    all->events[all->events_count] = *event;
    all->told[all->events_count] = (struct told){0};
    return all->events_count++;
}

/* Keeps a change for those who are told of it; from 1 on. */
static uint32_t change_add(struct service *s, const struct lease_event *event)
{
    struct watches *all = &s->watches;
    all->changes = table_grow(s, all->changes, all->changes_count, &all->changes_capacity,
                              (size_t)all->changes_count + 1, sizeof *all->changes);
    all->changes[all->changes_count++] = (struct told_change){.event = *event};
    return all->changes_count;
}

void tell_gap(struct service *s, struct watch *w, uint64_t revision)
{
    w->start = revision;
    if (mutant(gap_not_reported)) {
        return;
    }
    w->last = event_add(s, &(struct service_event){
                               .client = w->watcher->client,
                               .kind = SERVICE_EVENT_GAP,
                               .watch = w->id,
                               .revision = revision,
                           });
}

void tell_end(struct service *s, const struct watcher *c)
{
    event_add(s, &(struct service_event){
                     .client = c->client, .kind = SERVICE_EVENT_END, .master = s->master});
}

void events_forget(struct service *s,
                   bool (*forgotten)(const struct service *s, uint64_t client))
{
    struct watches *all = &s->watches;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all->events_count; i++) {
        assert(all->events[i].kind == SERVICE_EVENT_END); /* All that comes between turns. */
        if (!forgotten(s, all->events[i].client)) {
            all->events[kept++] = all->events[i];
        }
    }
    all->events_count = kept;
}

/* The newest change with the old content of the oldest: one copy for all who are
 * told the same. */
static uint32_t joint_change(struct service *s, const struct told *told)
{
    struct told_change *newest = &s->watches.changes[told->newest - 1];
    if (newest->joint != 0 && newest->joint_oldest == told->oldest) {
        return newest->joint;
    }
    const struct lease_event *oldest = &s->watches.changes[told->oldest - 1].event;
    struct lease_event event = newest->event;
    event.has_old = oldest->has_old;
    event.old = oldest->old;
    const uint32_t joint = change_add(s, &event); /* This may move the others. */
    newest = &s->watches.changes[told->newest - 1];
    newest->joint = joint;
    newest->joint_oldest = told->oldest;
    return joint;
}

/* The changes have found their place; the events shall point there. */
static void point_events(struct service *s)
{
    struct watches *all = &s->watches;
    for (uint32_t i = 0; i < all->events_count; i++) {
        struct told *told = &all->told[i];
        if (all->events[i].old && told->oldest != told->newest) {
            told->newest = joint_change(s, told);
        }
    }
    for (uint32_t i = 0; i < all->events_count; i++) {
        if (all->events[i].kind == SERVICE_EVENT_CHANGE) {
            all->events[i].change = &all->changes[all->told[i].newest - 1].event;
        }
    }
}

/* ------------------------------------------------------------------- credit */

static size_t octets_of(const struct watch *w, const struct lease_event *event)
{
    return event->path.size + (w->content ? event->content.size : 0) +
           (w->old ? event->old.size : 0);
}

static void renew_credit(const struct service *s, struct watcher *c)
{
    if (c->turn != s->watches.turn) {
        c->turn = s->watches.turn;
        c->credit = TELL_CREDIT;
        c->credit_octets = TELL_CREDIT_OCTETS;
    }
}

static void use_credit(struct service *s, struct watcher *c, size_t octets)
{
    s->watches.events_octets += octets;
    c->credit -= c->credit > 0;
    c->credit_octets -= octets < c->credit_octets ? (uint32_t)octets : c->credit_octets;
}

static bool has_credit(const struct service *s, struct watcher *c)
{
    renew_credit(s, c);
    return c->credit > 0 && c->credit_octets > 0;
}

/* -------------------------------------------------------------------- telling */

enum walk_kind { WALK_LIVE, WALK_URGENT, WALK_SWEEP };

struct walk {
    struct service *s;
    enum walk_kind kind;
    const struct lease_event *event;
    uint32_t change; /* 0: nobody has been told of it yet. */
};

/* Is this walk to tell the watch of the event? */
static bool is_for(const struct walk *walk, const struct watch *w)
{
    const struct watcher *c = w->watcher;
    const uint64_t revision = walk->event->revision;
    if (w->ended || c->gone || revision <= w->start) {
        return false;
    }
    switch (walk->kind) {
    case WALK_LIVE:
        return c->behind_link == NULL;
    case WALK_URGENT:
        return c->urgent && revision > c->cursor;
    case WALK_SWEEP:
        return c->joined && revision > c->cursor;
    }
    return false;
}

/* A watch may be of one instance of its node only. */
static bool is_of_another(const struct watch *w, const struct lease_event *event, bool is_child)
{
    return w->if_instance != LEASE_ANY &&
           (is_child ? event->parent : event->instance) != w->if_instance;
}

static bool ends_watch(const struct watch *w, const struct lease_event *event, bool is_child)
{
    return w->if_instance != LEASE_ANY && !is_child &&
           (event->instance > w->if_instance ||
            (event->instance == w->if_instance && event->change == LEASE_DELETED));
}

static bool is_lock_change(enum lease_change change)
{
    return change == LEASE_GRANTED || change == LEASE_RELEASED || change == LEASE_CONTENDED;
}

/* Do they follow each other for the watch, and say the same of one node? */
static bool can_join(const struct lease_event *older, const struct lease_event *newer)
{
    return older->instance == newer->instance &&
           ((older->change == LEASE_WRITTEN && newer->change == LEASE_WRITTEN) ||
            (is_lock_change(older->change) && is_lock_change(newer->change)));
}

/* The newest event of the watch in this turn; NULL: there is none. */
static struct service_event *last_event(const struct service *s, const struct watch *w)
{
    if (w->last >= s->watches.events_count) {
        return NULL;
    }
    struct service_event *last = &s->watches.events[w->last];
    const bool own = last->client == w->watcher->client && last->watch == w->id;
    return own && last->kind == SERVICE_EVENT_CHANGE ? last : NULL;
}

/* The event that this one may join; NULL: none.  A client whose connection broke
 * counts what it has heard of the newest revision, and asks again from the one
 * before.  So what it counts must stand alone: nothing joins the first revision of
 * a watch, nor what is of its own revision. */
static struct service_event *partner(const struct walk *walk, const struct watch *w)
{
    const struct watches *all = &walk->s->watches;
    const bool less = walk->kind != WALK_LIVE && w->watcher->pressed;
    struct service_event *last = less ? last_event(walk->s, w) : NULL;
    const bool fits = last != NULL && last->first_revision > w->start + 1 &&
                      last->revision < walk->event->revision &&
                      can_join(&all->changes[all->told[w->last].newest - 1].event, walk->event);
    return fits ? last : NULL;
}

static bool join_last(const struct walk *walk, const struct watch *w)
{
    struct watches *all = &walk->s->watches;
    struct service_event *last = partner(walk, w);
    if (last == NULL) {
        return false;
    }
    last->revision = walk->event->revision;
    last->count++;
    all->told[w->last].newest = walk->change;
    return true;
}

static void tell(struct walk *walk, struct watch *w)
{
    struct service *s = walk->s;
    struct watcher *c = w->watcher;
    if (walk->change == 0) {
        walk->change = change_add(s, walk->event);
    }
    c->told = walk->event->revision;
    if (join_last(walk, w)) {
        return;
    }
    use_credit(s, c, octets_of(w, walk->event));
    w->last = event_add(s, &(struct service_event){
                               .client = c->client,
                               .kind = SERVICE_EVENT_CHANGE,
                               .watch = w->id,
                               .revision = walk->event->revision,
                               .first_revision = walk->event->revision,
                               .count = 1,
                               .content = w->content,
                               .old = w->old,
                           });
    s->watches.told[w->last] = (struct told){.newest = walk->change, .oldest = walk->change};
}

/* May the client be told of this now?  What it was told in part it is told whole. */
static bool may_tell(const struct walk *walk, const struct watch *w)
{
    struct watcher *c = w->watcher;
    const struct service *s = walk->s;
    if (partner(walk, w) != NULL) {
        return true; /* It costs nothing. */
    }
    const bool room =
        s->watches.events_count < TELL_MAX && s->watches.events_octets < TELL_MAX_OCTETS;
    if (walk->kind == WALK_URGENT) {
        return room; /* Better much at once than a gap. */
    }
    return c->told == walk->event->revision || (!c->slow && room && has_credit(s, c));
}

/* In a hurry what can't be told is a gap; else it is told later. */
static void put_off(struct walk *walk, struct watch *w)
{
    struct service *s = walk->s;
    if (walk->kind == WALK_URGENT) {
        tell_gap(s, w, s->watches.live);
        return;
    }
    watcher_behind(s, w->watcher, walk->event->revision - 1);
    if (walk->kind == WALK_SWEEP) {
        w->watcher->joined = false; /* For the next one. */
    }
}

static void meet(void *context, struct watch *w, uint32_t kinds, bool is_child)
{
    struct walk *walk = context;
    walk->s->watches.meetings++;
    if (!is_for(walk, w)) {
        return;
    }
    if ((kinds & w->watched) != 0 && !is_of_another(w, walk->event, is_child) &&
        access_event(walk->s, w->principal, walk->event)) {
        if (!may_tell(walk, w)) {
            put_off(walk, w);
            return;
        }
        tell(walk, w);
    }
    w->ended = ends_watch(w, walk->event, is_child);
}

/* Tells the events behind `after`, of `limit` events or a few more, so that the
 * last revision is whole; fewer when many watches look at the same.  Returns up to
 * which revision it came. */
static uint64_t walk_from(struct service *s, enum walk_kind kind, uint64_t after,
                          uint64_t limit)
{
    struct lease_place place = lease_history_seek(s->lease, after);
    uint64_t revision = after;
    struct lease_event event;
    s->watches.meetings = 0;
    for (uint64_t seen = 0; lease_history_next(s->lease, &place, &event); seen++) {
        assert(event.revision >= revision);
        if ((seen >= limit || s->watches.meetings >= TELL_MEETINGS) &&
            event.revision != revision) {
            return revision;
        }
        revision = event.revision;
        struct walk walk = {.s = s, .kind = kind, .event = &event};
        watch_match(s, &event, meet, &walk);
    }
    return lease_position(s->lease).revision;
}

/* --------------------------------------------------------------------- live */

static void lag(struct service *s, struct watcher *c)
{
    if (c->count > 0 && !c->gone && c->behind_link == NULL) {
        watcher_behind(s, c, s->watches.live);
    }
}

/* More was applied since than history keeps, or than a turn can tell: then even those
 * who were current are behind. */
static void tell_live(struct service *s)
{
    const uint64_t revision = lease_position(s->lease).revision;
    if (s->watches.live == revision) {
        return;
    }
    if (s->watches.live < lease_history_floor(s->lease)) {
        watchers_each(s, lag);
    } else {
        s->watches.live = walk_from(s, WALK_LIVE, s->watches.live, /* limit= */ UINT64_MAX);
        if (s->watches.live < revision) {
            watchers_each(s, lag);
        }
    }
    s->watches.live = revision;
}

/* ------------------------------------------------------------------- urgent */

/* Does the reply show the state of nodes? */
static bool shows_state(const struct service_reply *reply)
{
    if (reply->outcome != SERVICE_DONE && reply->outcome != SERVICE_REFUSED) {
        return false;
    }
    switch (reply->op) {
    case SERVICE_STATUS:
    case SERVICE_SESSION_OPEN:
    case SERVICE_SESSION_KEEPALIVE:
    case SERVICE_WATCH_ADD:
    case SERVICE_WATCH_REMOVE:
    case SERVICE_CACHE_BEGIN:
    case SERVICE_CACHE_ACK:
        return false;
    case SERVICE_GET:
    case SERVICE_STAT:
    case SERVICE_LIST:
    case SERVICE_PUT:
    case SERVICE_CREATE:
    case SERVICE_DELETE:
    case SERVICE_SESSION_CLOSE:
    case SERVICE_LOCK_ACQUIRE:
    case SERVICE_LOCK_RELEASE:
    case SERVICE_LOCK_CANCEL:
    case SERVICE_LOCK_LIST:
    case SERVICE_LOCK_CHECK:
    case SERVICE_NODE_OPEN:
    case SERVICE_NODE_CLOSE:
    case SERVICE_GET_ACL:
    case SERVICE_SET_ACL:
        break;
    }
    return true;
}

/* What the client was not told up to now it will not be. */
static void skip_rest(struct service *s, struct watcher *c)
{
    for (struct watch *w = c->watches; w != NULL; w = w->client_next) {
        if (!w->ended && w->start < s->watches.live) {
            tell_gap(s, w, s->watches.live);
        }
    }
}

/* All who are behind and replied to, unless history does not reach back to them.
 * Returns where the last of them is. */
static uint64_t find_urgent(struct service *s)
{
    const uint64_t floor = lease_history_floor(s->lease);
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < s->replies_count; i++) {
        struct watcher *c =
            shows_state(&s->replies[i]) ? watcher_find(s, s->replies[i].client) : NULL;
        if (c == NULL || c->behind_link == NULL || c->urgent) {
            continue;
        }
        c->cursor = watcher_cursor(s, c);
        c->joined = false;
        if (c->cursor < floor) {
            skip_rest(s, c);
            watcher_current(c);
            continue;
        }
        c->urgent = true;
        first = c->cursor < first ? c->cursor : first;
    }
    return first;
}

/* Brings up all of them, as far as `reached`; the rest is a gap. */
static void end_urgent(struct service *s, uint64_t reached)
{
    for (struct watcher *c = s->watches.behind, *next; c != NULL; c = next) {
        next = c->behind_next;
        if (!c->urgent) {
            continue;
        }
        if (reached < s->watches.live) {
            skip_rest(s, c);
        }
        c->urgent = false;
        watcher_current(c);
    }
}

static void tell_urgent(struct service *s)
{
    if (s->watches.behind == NULL) {
        return;
    }
    const uint64_t first = find_urgent(s);
    if (first != UINT64_MAX) {
        end_urgent(s, walk_from(s, WALK_URGENT, first, TELL_SCAN));
    }
}

/* -------------------------------------------------------------------- sweep */

/* Says of each watch what history has forgotten of its time.  False: this takes
 * more than the client's credit, so there is more to say. */
static bool tell_forgotten(struct service *s, struct watcher *c, uint64_t floor)
{
    for (struct watch *w = c->watches; w != NULL; w = w->client_next) {
        if (w->ended || w->start >= floor) {
            continue;
        }
        if (!has_credit(s, c)) {
            return false;
        }
        use_credit(s, c, /* octets= */ 0);
        tell_gap(s, w, floor);
    }
    c->cursor = floor;
    return true;
}

/* Takes along all who can be told; it begins where the last of them is. */
static void sweep_begin(struct service *s)
{
    struct sweep *sweep = &s->watches.sweep;
    const uint64_t floor = lease_history_floor(s->lease);
    sweep->at = UINT64_MAX;
    for (struct watcher *c = s->watches.behind; c != NULL; c = c->behind_next) {
        if (c->slow || (c->cursor < floor && !tell_forgotten(s, c, floor))) {
            continue;
        }
        c->joined = true;
        sweep->at = c->cursor < sweep->at ? c->cursor : sweep->at;
    }
    sweep->running = sweep->at != UINT64_MAX;
}

/* Those who were brought up are current; the others wait for another sweep. */
static void sweep_end(struct service *s, bool done)
{
    s->watches.sweep.running = false;
    for (struct watcher *c = s->watches.behind, *next; c != NULL; c = next) {
        next = c->behind_next;
        if (!c->joined) {
            continue;
        }
        if (done) {
            watcher_current(c);
        } else {
            c->cursor = watcher_cursor(s, c);
            c->joined = false;
        }
    }
}

static void tell_sweep(struct service *s)
{
    struct sweep *sweep = &s->watches.sweep;
    if (sweep->running && sweep->at < lease_history_floor(s->lease)) {
        sweep_end(s, /* done= */ false);
    }
    if (!sweep->running && s->watches.behind != NULL) {
        sweep_begin(s);
    }
    if (sweep->running) {
        sweep->at = walk_from(s, WALK_SWEEP, sweep->at, TELL_SCAN);
        if (sweep->at == s->watches.live) {
            sweep_end(s, /* done= */ true);
        }
    }
}

bool events_left(const struct service *s)
{
    if (s->watches.gone != NULL) {
        return true;
    }
    for (const struct watcher *c = s->watches.behind; c != NULL; c = c->behind_next) {
        if (!c->slow) {
            return true;
        }
    }
    return mutant(reply_before_event) && s->watches.by_id.count > 0 &&
           s->watches.live < lease_position(s->lease).revision;
}

/* ----------------------------------------------------------------- progress */

/* A client that hears nothing for long would have to be told all of it again
 * over its next connection. */
static void tell_progress(struct service *s, struct watcher *c)
{
    if (c->count == 0 || c->gone || c->told == s->watches.live) {
        return;
    }
    if ((c->behind_link != NULL || c->slow) && !mutant(progress_overtakes_events)) {
        s->watches.progress_revision = 0; /* Another time. */
        return;
    }
    c->told = s->watches.live;
    event_add(s, &(struct service_event){.client = c->client,
                                         .kind = SERVICE_EVENT_PROGRESS,
                                         .revision = s->watches.live});
}

static void tell_all_progress(struct service *s)
{
    struct watches *all = &s->watches;
    if (all->progress_ms != 0 && s->now_ms >= all->progress_ms) {
        all->progress_ms = 0;
        all->progress_revision = all->live;
        watchers_each(s, tell_progress);
    }
    if (all->progress_ms == 0 && all->progress_revision != all->live) {
        all->progress_ms = s->now_ms + SERVICE_PROGRESS_MS;
    }
}

uint64_t events_wake_ms(const struct service *s)
{
    return s->watches.progress_ms == 0 ? UINT64_MAX : s->watches.progress_ms;
}

/* --------------------------------------------------------------------- turn */

void events_tell(struct service *s)
{
    struct watches *all = &s->watches;
    watchers_free_gone(s);
    if (all->by_id.count == 0) {
        all->live = lease_position(s->lease).revision;
        all->sweep.running = false;
        all->progress_ms = 0;
        return;
    }
    all->turn++;
    tell_live(s);
    tell_urgent(s);
    tell_sweep(s);
    tell_all_progress(s);
    point_events(s);
}
