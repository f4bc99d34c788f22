/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/links_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sometimes.h"

static struct link_watch *find(const struct link_watches *l, uint64_t watch)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->all[i].watch == watch) {
            return &l->all[i];
        }
    }
    return NULL;
}

void link_watch_asked(struct world *w, struct link_watches *l, const struct wire_watch *watch,
                      struct bytes path, const char *principal)
{
    link_watch_removed(l, watch->watch);
    if (l->count == l->capacity) {
        l->capacity = l->capacity == 0 ? 8 : l->capacity * 2;
        l->all = sim_resize(l->all, l->capacity * sizeof *l->all);
    }
    struct link_watch *new = &l->all[l->count++];
    *new = (struct link_watch){.watch = watch->watch,
                               .stream.scope = {.path = path,
                                                .of = (enum scope_of)watch->scope,
                                                .watched = watch->watched,
                                                .if_instance = watch->if_instance},
                               .stream.principal = bytes_of(principal, strlen(principal)),
                               .content = watch->content,
                               .old = watch->old,
                               .from = watch->from};
    if (watch->from != WIRE_ANY) {
        stream_begin(w, &new->stream, watch->from);
    }
}

void link_watch_answered(struct world *w, struct link_watches *l, uint64_t watch, bool done,
                         uint64_t revision)
{
    struct link_watch *k = find(l, watch);
    if (k == NULL) {
        return;
    }
    if (!done) {
        link_watch_removed(l, watch);
        return;
    }
    k->answered = true;
    if (!k->stream.begun) {
        stream_begin(w, &k->stream, revision);
    }
}

void link_watch_removed(struct link_watches *l, uint64_t watch)
{
    struct link_watch *k = find(l, watch);
    if (k != NULL) {
        *k = l->all[--l->count];
    }
}

void link_watches_owe_nothing(struct world *w, struct link_watches *l, uint64_t revision,
                              const struct bytes *path, const char *what)
{
    for (uint32_t i = 0; i < l->count; i++) {
        struct link_watch *k = &l->all[i];
        const struct lease_event *event =
            k->answered ? stream_owes(w, &k->stream, revision, path) : NULL;
        if (event != NULL) {
            world_fail(w, "event-order",
                       "%s at revision %" PRIu64 " comes before watch %" PRIu64
                       " is told change %d of %.*s at revision %" PRIu64,
                       what, revision, k->watch, (int)event->change, (int)event->path.size,
                       (const char *)event->path.data, event->revision);
        }
    }
}

/* Who is behind what history has kept gets a gap, and so may the other watches of
 * the connection in that turn. */
static void on_gap(struct world *w, const struct replica *r, struct link_watches *l,
                   struct link_watch *k, uint64_t revision, struct link_state state)
{
    const struct lease *lease = service_lease(r->service);
    const bool trimmed = lease_history_floor(lease) > k->stream.revision;
    const bool ahead = k->from != LEASE_ANY && k->from > revision;
    const bool first = !k->answered;
    l->trimmed_us = trimmed ? w->now_us : l->trimmed_us;
    if (l->trimmed_us != w->now_us && !ahead && !state.was_slow) {
        world_fail(w, "gap",
                   "watch %" PRIu64 " is told a gap up to %" PRIu64 " behind %" PRIu64
                   ", and history goes back to %" PRIu64,
                   k->watch, revision, k->stream.revision, lease_history_floor(lease));
    }
    sometimes_if(trimmed && first, watch_after_trim);
    sometimes_if(ahead, watch_ahead);
    sometimes_if(!first && state.was_slow, event_gap_slow);
    k->stream.begun = false; /* It may go back: `from` was never reached. */
    stream_gap(w, &k->stream, revision, "a connection");
}

static void on_change(struct world *w, struct link_watch *k, const struct service_event *event)
{
    const bool together =
        k->stream.begun && k->stream.revision == event->revision && event->count == 1;
    struct told told = {.event = *event->change,
                        .first_revision = event->first_revision,
                        .count = event->count,
                        .content = event->content,
                        .old = event->old};
    if (event->content != k->content || event->old != k->old) {
        world_fail(w, "event", "watch %" PRIu64 " is told other content than it asked for",
                   k->watch);
    }
    told.event.has_content &= event->content;
    told.event.has_old &= event->old;
    stream_take(w, &k->stream, &told, "a connection");
    sometimes_if(event->count > 1, event_coalesced);
    sometimes_if(together, events_together);
}

void link_watches_event(struct world *w, const struct replica *r, struct link_watches *l,
                        const struct service_event *event, struct link_state state)
{
    struct link_watch *k = find(l, event->watch);
    switch (event->kind) {
    case SERVICE_EVENT_PROGRESS:
        link_watches_owe_nothing(w, l, event->revision, NULL, "progress");
        return;
    case SERVICE_EVENT_END:
        sometimes(watch_ended);
        l->count = 0;
        return;
    case SERVICE_EVENT_CHANGE:
    case SERVICE_EVENT_GAP:
    case SERVICE_EVENT_INVALIDATE:
        break;
    }
    if (k == NULL) {
        if (!state.removing) {
            world_fail(w, "event", "watch %" PRIu64 " is told something, and is not set",
                       event->watch);
        }
    } else if (event->kind == SERVICE_EVENT_GAP) {
        on_gap(w, r, l, k, event->revision, state);
    } else {
        on_change(w, k, event);
    }
}

void link_watches_end(struct link_watches *l)
{
    free(l->all);
    *l = (struct link_watches){.all = NULL};
}
