/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/stream.h"

#include <inttypes.h>

#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"

static const struct lease_event *event_at(const struct world *w, uint32_t i)
{
    return &audit_model(w)->events[i].event;
}

static uint32_t events_count(const struct world *w)
{
    return audit_model(w)->events_count;
}

static bool is_for(const struct world *w, const struct stream *s, uint32_t i)
{
    return event_at(w, i)->revision > s->start && scope_tells(&s->scope, event_at(w, i));
}

/* Passes over what is not to be told. */
static void move_on(const struct world *w, struct stream *s)
{
    while (s->next < events_count(w) && !is_for(w, s, s->next)) {
        s->next++;
    }
}

/* The first event above a revision: events are in its order. */
static uint32_t first_above(const struct world *w, uint64_t revision)
{
    uint32_t low = 0, high = events_count(w);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (event_at(w, middle)->revision <= revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void stream_begin(struct world *w, struct stream *s, uint64_t revision)
{
    s->begun = true;
    s->start = revision;
    s->revision = revision;
    s->next = first_above(w, revision);
}

const struct lease_event *stream_owes(struct world *w, struct stream *s, uint64_t revision,
                                      const struct bytes *path)
{
    if (!s->begun) {
        return NULL;
    }
    move_on(w, s);
    for (uint32_t i = s->next; i < events_count(w); i++) {
        const struct lease_event *event = event_at(w, i);
        if (event->revision > revision) {
            break;
        }
        if ((path == NULL || bytes_equal(event->path, *path)) && is_for(w, s, i)) {
            return event;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ comparison */

/* `kept` says whether the cell keeps the octets; they must come when asked for. */
static bool octets_differ(bool asked, bool kept, struct bytes expected, bool has,
                          struct bytes octets)
{
    return asked ? has != kept || (kept && !bytes_equal(expected, octets)) : has;
}

static const char *difference(const struct lease_event *expected, const struct lease_event *old,
                              const struct told *t)
{
    const struct lease_event *e = &t->event;
    return e->revision != expected->revision           ? "revision"
           : e->change != expected->change             ? "kind"
           : e->kind != expected->kind                 ? "kind of node"
           : e->instance != expected->instance         ? "instance"
           : e->ephemeral != expected->ephemeral       ? "`ephemeral`"
           : e->generation != expected->generation     ? "generation"
           : e->session != expected->session           ? "session"
           : e->mode != expected->mode                 ? "mode"
           : e->token != expected->token               ? "token"
           : e->failed != expected->failed             ? "`failed`"
           : e->delay_ms != expected->delay_ms         ? "lock-delay"
           : e->content_size != expected->content_size ? "size"
           : octets_differ(t->content, expected->has_content, expected->content, e->has_content,
                           e->content)
               ? "content"
           : octets_differ(t->old, old->has_old, old->old, e->has_old, e->old) ? "old content"
                                                                               : NULL;
}

static bool was_told(const struct world *w, const struct stream *s, const struct told *t)
{
    for (uint32_t i = 0; i < s->next; i++) {
        const struct lease_event *event = event_at(w, i);
        if (event->revision == t->event.revision && event->change == t->event.change &&
            bytes_equal(event->path, t->event.path)) {
            return true;
        }
    }
    return false;
}

_Noreturn static void fail_told(struct world *w, const struct stream *s, const struct told *t,
                                const struct lease_event *expected, const char *what,
                                const char *who)
{
    world_fail(w, "event",
               "%s is told change %d of %.*s at revision %" PRIu64 " (from %" PRIu64
               ", %u of them)%s; its %s differs: change %d of %.*s at revision %" PRIu64
               " had to come",
               who, (int)t->event.change, (int)t->event.path.size,
               (const char *)t->event.path.data, t->event.revision, t->first_revision, t->count,
               was_told(w, s, t) ? ", a second time" : "", what,
               expected == NULL ? 0 : (int)expected->change,
               expected == NULL ? 0 : (int)expected->path.size,
               expected == NULL ? "" : (const char *)expected->path.data,
               expected == NULL ? 0 : expected->revision);
}

void stream_take(struct world *w, struct stream *s, const struct told *t, const char *who)
{
    if (!s->begun) {
        stream_begin(w, s, t->first_revision - 1);
    }
    const struct lease_event *first = NULL;
    const struct lease_event *last = NULL;
    for (uint32_t count = 0; count < t->count; count++) {
        move_on(w, s);
        last = s->next < events_count(w) ? event_at(w, s->next) : NULL;
        if (last == NULL || !bytes_equal(last->path, t->event.path)) {
            fail_told(w, s, t, last, "node", who);
        }
        first = first == NULL ? last : first;
        s->next++;
    }
    const char *what = t->count == 0                          ? "count"
                       : first->revision != t->first_revision ? "first revision"
                                                              : difference(last, first, t);
    if (what != NULL) {
        fail_told(w, s, t, last, what, who);
    }
    s->revision = last->revision;
}

void stream_gap(struct world *w, struct stream *s, uint64_t revision, const char *who)
{
    if (s->begun && revision < s->revision) {
        world_fail(w, "event", "%s is told a gap up to %" PRIu64 " behind revision %" PRIu64,
                   who, revision, s->revision);
    }
    stream_begin(w, s, revision);
}
