/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/stream.h"

#include <inttypes.h>
#include <string.h>

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

/* Who lost the right to read a node is not told of it, and who got it is, as it stands
 * when it is told.  If the list has been the same ever since, there is no question. */
enum telling { NEVER, PERHAPS, SURELY };

static enum telling telling_of(const struct world *w, const struct stream *s, uint32_t i)
{
    const struct model *m = audit_model(w);
    const struct lease_event *event = event_at(w, i);
    if (!is_for(w, s, i)) {
        return NEVER;
    }
    if (event->acl_read.size == 0 ||
        bytes_equal(s->principal, bytes_of(LEASE_ROOT, strlen(LEASE_ROOT)))) {
        return SURELY;
    }
    if (!model_lists_since(m, event->acl_read, event->revision)) {
        return PERHAPS;
    }
    const bool listed = model_lists(m, event->acl_read, s->principal);
    sometimes_if(!listed, right_hides_event);
    return listed ? SURELY : NEVER;
}

/* Passes over what is not to be told, whoever may read what. */
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
        if ((path == NULL || bytes_equal(event->path, *path)) &&
            telling_of(w, s, i) == SURELY) {
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

/* Is it the first, or the last, of the changes that were told as one? */
static bool is_end(const struct lease_event *event, const struct told *t, uint64_t revision,
                   bool newest)
{
    return event->revision == revision && bytes_equal(event->path, t->event.path) &&
           (!newest || event->change == t->event.change);
}

/* Goes to the first, past what may not have been told; NULL: it can't be told now. */
static const struct lease_event *find_first(struct world *w, struct stream *s,
                                            const struct told *t)
{
    for (; s->next < events_count(w); s->next++) {
        const enum telling telling = telling_of(w, s, s->next);
        const struct lease_event *event = event_at(w, s->next);
        if (telling != NEVER && is_end(event, t, t->first_revision, t->count == 1)) {
            return event;
        }
        if (telling == SURELY) {
            return NULL;
        }
    }
    return NULL;
}

/* Goes from there past the last; counts what must be among them, and what may be. */
static const struct lease_event *find_last(struct world *w, struct stream *s,
                                           const struct told *t, uint32_t *ret_least,
                                           uint32_t *ret_most)
{
    for (; s->next < events_count(w); s->next++) {
        const enum telling telling = telling_of(w, s, s->next);
        const struct lease_event *event = event_at(w, s->next);
        const bool same = bytes_equal(event->path, t->event.path);
        if (telling == SURELY && !same) {
            return NULL;
        }
        *ret_least += telling == SURELY;
        *ret_most += telling != NEVER && same;
        if (telling != NEVER && is_end(event, t, t->event.revision, /* newest= */ true)) {
            s->next++;
            return event;
        }
    }
    return NULL;
}

void stream_take(struct world *w, struct stream *s, const struct told *t, const char *who)
{
    if (!s->begun) {
        stream_begin(w, s, t->first_revision - 1);
    }
    move_on(w, s);
    const struct lease_event *due = s->next < events_count(w) ? event_at(w, s->next) : NULL;
    const struct lease_event *first = find_first(w, s, t);
    uint32_t least = 0, most = 0;
    const struct lease_event *last = first == NULL ? NULL : find_last(w, s, t, &least, &most);
    const char *what = first == NULL                         ? "node or first revision"
                       : last == NULL                        ? "revision"
                       : t->count < least || t->count > most ? "count"
                                                             : difference(last, first, t);
    if (what != NULL) {
        fail_told(w, s, t, due, what, who);
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
