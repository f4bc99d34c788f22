/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened: the history that replicas keep, lock-delays in true time, and the
 * situations that only the log shows.
 */
#include <inttypes.h>

#include "tests/sim/agents.h"
#include "tests/sim/audit_internal.h"
#include "tests/sim/sometimes.h"

const struct model *audit_model(const struct world *w)
{
    return &w->audit->model;
}

struct bytes audit_keep(struct world *w, struct bytes bytes)
{
    const struct bytes kept = history_copy(&w->audit->memory, bytes);
    return kept.data == NULL ? bytes_of("", 0) : kept;
}

/* --------------------------------------------------------------------- history */

static bool same_octets(bool has, struct bytes a, bool other_has, struct bytes b)
{
    return has == other_has && (!has || bytes_equal(a, b));
}

static bool same_event(const struct lease_event *a, const struct lease_event *b)
{
    return a->revision == b->revision && a->change == b->change && a->kind == b->kind &&
           a->instance == b->instance && a->parent == b->parent &&
           bytes_equal(a->path, b->path) && bytes_equal(a->acl_read, b->acl_read) &&
           a->generation == b->generation && a->session == b->session && a->mode == b->mode &&
           a->token == b->token && a->delay_ms == b->delay_ms && a->ephemeral == b->ephemeral &&
           a->failed == b->failed && a->content_size == b->content_size &&
           same_octets(a->has_content, a->content, b->has_content, b->content) &&
           same_octets(a->has_old, a->old, b->has_old, b->old);
}

_Noreturn static void fail_history(struct world *w, const struct lease_event *expected,
                                   const struct lease_event *event)
{
    world_fail(w, "history",
               "slot %" PRIu64 ": change %d of %.*s at revision %" PRIu64
               " is kept, where change %d of %.*s at %" PRIu64 " happened",
               w->audit->last, event == NULL ? 0 : (int)event->change,
               event == NULL ? 0 : (int)event->path.size,
               event == NULL ? "" : (const char *)event->path.data,
               event == NULL ? 0 : event->revision,
               expected == NULL ? 0 : (int)expected->change,
               expected == NULL ? 0 : (int)expected->path.size,
               expected == NULL ? "" : (const char *)expected->path.data,
               expected == NULL ? 0 : expected->revision);
}

/* What has been added since the last time; history may be shorter than that. */
void audit_history(struct world *w, const struct lease *l)
{
    struct audit *a = w->audit;
    const struct model *m = &a->model;
    const uint64_t floor = lease_history_floor(l);
    const uint64_t from = floor > a->revision_compared ? floor : a->revision_compared;
    uint32_t i = m->events_count;
    while (i > 0 && m->events[i - 1].event.revision > from) {
        i--;
    }
    struct lease_place place = lease_history_seek(l, from);
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        if (i == m->events_count || !same_event(&m->events[i].event, &event)) {
            fail_history(w, i == m->events_count ? NULL : &m->events[i].event, &event);
        }
        i++;
    }
    if (i < m->events_count) {
        fail_history(w, &m->events[i].event, NULL);
    }
    a->revision_compared = m->revision;
}

/* ------------------------------------------------------------------ lock-delay */

/* Counted from the first who applied the end of the session: nobody's keeper began
 * sooner. */
static void begin_delay(struct world *w, const struct lease_event *event, uint64_t number)
{
    struct audit *a = w->audit;
    a->delays = model_grow(a->delays, a->delays_count, &a->delays_capacity, sizeof *a->delays);
    a->delays[a->delays_count++] =
        (struct audit_delay){.path = event->path,
                             .instance = event->instance,
                             .number = number,
                             .until_us = w->now_us + event->delay_ms * WORLD_MS,
                             .masters = a->masters};
}

static void check_granted(struct world *w, const struct lease_event *event)
{
    const struct audit *a = w->audit;
    for (uint32_t i = 0; i < a->delays_count; i++) {
        const struct audit_delay *delay = &a->delays[i];
        if (bytes_equal(delay->path, event->path) && w->now_us < delay->until_us &&
            audit_timely(w)) {
            world_fail(w, "lock-delay",
                       "%.*s is granted to session %016" PRIx64 " %" PRIu64
                       " us before its lock-delay is over",
                       (int)event->path.size, (const char *)event->path.data, event->session,
                       delay->until_us - w->now_us);
        }
    }
}

static void end_delay(struct world *w, const struct lease_command *c, bool served)
{
    struct audit *a = w->audit;
    for (uint32_t i = 0; i < a->delays_count; i++) {
        const struct audit_delay *delay = &a->delays[i];
        if (delay->instance == c->subject && delay->number == c->subject_request) {
            sometimes_if(a->masters > delay->masters, delay_over_failover);
            sometimes_if(a->masters > delay->masters + 1, delay_over_two_failovers);
            sometimes_if(served, delay_hands_over);
            a->delays[i] = a->delays[--a->delays_count];
            return;
        }
    }
}

/* ------------------------------------------------------------------ situations */

static const struct model_claim *delayed_claim(const struct model *m,
                                               const struct lease_event *e)
{
    for (uint32_t i = m->claims_count; i > 0; i--) {
        const struct model_claim *claim = &m->claims[i - 1];
        if (claim->delayed && claim->instance == e->instance && claim->session == e->session) {
            return claim;
        }
    }
    return NULL;
}

/* Every delay that a session's end began; one of a handle each. */
static void begin_delays(struct world *w, const struct lease_event *event)
{
    const struct model *m = &w->audit->model;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        bool known = !claim->delayed || claim->instance != event->instance ||
                     claim->session != event->session;
        for (uint32_t j = 0; j < w->audit->delays_count && !known; j++) {
            known = w->audit->delays[j].instance == claim->instance &&
                    w->audit->delays[j].number == claim->number;
        }
        if (!known) {
            struct lease_event of_claim = *event;
            of_claim.delay_ms = claim->delay_ms;
            begin_delay(w, &of_claim, claim->number);
        }
    }
    sometimes_if(delayed_claim(m, event) != NULL && model_held(m, event->instance),
                 delay_beside_holder);
}

static void note_leader(struct world *w, const struct lease_event *released)
{
    const struct model *m = &w->audit->model;
    if (!agents_elects(released->path) || !released->failed) {
        return;
    }
    for (uint32_t i = m->events_count; i > 0; i--) {
        const struct lease_event *e = &m->events[i - 1].event;
        if (e->revision < released->token || e->change == LEASE_WRITTEN) {
            sometimes_if(e->change != LEASE_WRITTEN, leader_without_value);
            return;
        }
    }
}

static void note_deleted(struct world *w, const struct history_entry *entry,
                         const struct lease_event *e, uint32_t deleted)
{
    const bool expires =
        entry->command != NULL && entry->command->type == LEASE_CMD_SESSION_EXPIRE;
    sometimes_if(e->ephemeral && expires, ephemeral_expires);
    sometimes_if(e->ephemeral && expires && agents_opening(w, e->path), ephemeral_reopened);
    sometimes_if(e->ephemeral && deleted > 1, ephemeral_cascade);
}

static void note_opens(const struct model *m, const struct lease_command *c)
{
    for (uint32_t i = 0; i < m->opens_count && c->type == LEASE_CMD_OPEN; i++) {
        for (uint32_t j = 0; j < i; j++) {
            sometimes_if(m->opens[i].instance == m->opens[j].instance &&
                             m->opens[i].session != m->opens[j].session,
                         ephemeral_shared);
        }
    }
    for (uint32_t i = 0; i < m->claims_count && c->type == LEASE_CMD_CLOSE; i++) {
        const struct model_node *node = model_of(m, m->claims[i].instance);
        bool open = false;
        for (uint32_t j = 0; j < m->opens_count; j++) {
            open |= m->opens[j].instance == node->instance;
        }
        sometimes_if(node->ephemeral && node->children == 0 && !open, ephemeral_claimed);
    }
}

static void note_refusal(struct world *w, const struct history_entry *entry, enum lease_rc rc)
{
    const struct model *m = &w->audit->model;
    const enum lease_command_type type =
        entry->command != NULL ? entry->command->type : LEASE_CMD_PUT;
    sometimes_if(type == LEASE_CMD_ACQUIRE && rc == LEASE_LOCK_DELAY, delay_refuses);
    sometimes_if((type == LEASE_CMD_ACQUIRE || type == LEASE_CMD_OPEN) && rc == LEASE_LIMIT,
                 limit_met);
    if (entry->command == NULL && entry->request.type == HISTORY_DELETE && rc == LEASE_LOCKED) {
        const struct model_node *node = model_find(m, entry->request.path);
        for (uint32_t i = 0; node != NULL && i < m->claims_count; i++) {
            sometimes_if(m->claims[i].delayed && m->claims[i].instance == node->instance,
                         delete_in_delay);
        }
    }
    if (type == LEASE_CMD_TIMEOUT && rc == LEASE_OK) {
        const struct model_outcome *outcome =
            model_outcome(m, entry->command->subject, entry->command->subject_request);
        sometimes_if(outcome != NULL && outcome->rc == LEASE_LOCK_DELAY, delay_times_out);
    }
}

void audit_events_applied(struct world *w, const struct history_entry *entry, uint32_t first,
                          enum lease_rc rc)
{
    const struct model *m = &w->audit->model;
    uint32_t deleted = 0;
    bool granted = false;
    note_refusal(w, entry, rc);
    if (entry->command != NULL) {
        note_opens(m, entry->command);
    }
    for (uint32_t i = first; i < m->events_count; i++) {
        const struct lease_event *e = &m->events[i].event;
        deleted += e->change == LEASE_DELETED;
        if (e->change == LEASE_RELEASED) {
            sometimes_if(e->failed, expired_holding);
            note_leader(w, e);
            if (e->delay_ms > 0) {
                begin_delays(w, e);
            }
        } else if (e->change == LEASE_GRANTED) {
            granted = true;
            check_granted(w, e);
        } else if (e->change == LEASE_DELETED) {
            note_deleted(w, entry, e, deleted);
        }
    }
    if (entry->command != NULL && entry->command->type == LEASE_CMD_DELAY_OVER &&
        rc == LEASE_OK) {
        end_delay(w, entry->command, granted);
    }
}

/* ------------------------------------------------------------------ KeepAlives */

static struct audit_brink *brink_of(struct world *w, uint64_t session)
{
    struct audit *a = w->audit;
    for (uint32_t i = a->brinks_count; i > 0; i--) {
        if (a->brinks[i - 1].session == session) {
            return &a->brinks[i - 1];
        }
    }
    a->brinks = model_grow(a->brinks, a->brinks_count, &a->brinks_capacity, sizeof *a->brinks);
    a->brinks[a->brinks_count] =
        (struct audit_brink){.session = session, .kept_us = 0, .judged_us = 0};
    return &a->brinks[a->brinks_count++];
}

static void note_brink(const struct audit_brink *b)
{
    const uint64_t apart_us =
        b->kept_us > b->judged_us ? b->kept_us - b->judged_us : b->judged_us - b->kept_us;
    sometimes_if(b->kept_us != 0 && b->judged_us != 0 && apart_us <= WORLD_MS,
                 expiry_near_keepalive);
}

void audit_kept_alive(struct world *w, uint64_t session)
{
    struct audit_brink *brink = brink_of(w, session);
    brink->kept_us = w->now_us;
    note_brink(brink);
}

void audit_judged(struct world *w, uint64_t session)
{
    struct audit_brink *brink = brink_of(w, session);
    brink->judged_us = w->now_us;
    note_brink(brink);
}
