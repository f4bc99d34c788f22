/* SPDX-License-Identifier: Apache-2.0
 *
 * What agents watch, and whom they see lead.  A view compares what its watch tells,
 * over all connections and masters, with what happened.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/starve.h"

/* --------------------------------------------------------------------- watches */

static struct view *view_of(struct world *w, uintptr_t context)
{
    return &w->agents->all[context / AGENT_VIEWS].views[context % AGENT_VIEWS];
}

static struct bytes path_of(const char *name)
{
    const char *slash = strchr(name + 4, '/');
    return slash == NULL ? bytes_of("", 0) : bytes_of(slash + 1, strlen(slash + 1));
}

/* The library's event in the words of the model: both follow the protocol. */
static struct told told_of(const struct lockd_event *e, const struct view *v)
{
    const bool of_lock = e->change == LOCKD_GRANTED || e->change == LOCKD_RELEASED ||
                         e->change == LOCKD_CONTENDED;
    return (struct told){
        .event = {.revision = e->revision,
                  .change = (enum lease_change)e->change,
                  .kind = (enum lease_kind)e->kind,
                  .instance = e->instance,
                  .path = path_of(e->name),
                  .generation = e->generation,
                  .session = strtoull(e->session, NULL, 16),
                  .mode = of_lock ? (enum lease_mode)e->mode : 0,
                  .token = e->token,
                  .delay_ms = (uint32_t)e->delay_ms,
                  .ephemeral = e->ephemeral,
                  .failed = e->failed,
                  .content_size = (uint32_t)e->size,
                  .has_content = e->content != NULL,
                  .content = bytes_of(e->content, e->content_size),
                  .has_old = e->old_content != NULL,
                  .old = bytes_of(e->old_content, e->old_size)},
        .first_revision = e->first_revision,
        .count = (uint32_t)e->count,
        .content = v->content,
        .old = v->old,
    };
}

static void on_gap(struct world *w, uint32_t agent, struct view *v, uint64_t revision)
{
    const bool ahead = v->from != LEASE_ANY && v->from > revision;
    if (!links_told_gap(w, agent)) { /* Where it was allowed was judged there. */
        world_fail(w, "gap", "agent %u is told a gap up to %" PRIu64 " that no cell told",
                   agent, revision);
    }
    v->stream.begun = v->stream.begun && !ahead;
    stream_gap(w, &v->stream, revision, "an agent");
    v->from = LEASE_ANY;
}

static void take(struct world *w, uint32_t agent, struct view *v, const struct lockd_event *e)
{
    struct agent *a = &w->agents->all[agent];
    if (e->change == LOCKD_GAP) {
        on_gap(w, agent, v, e->revision);
        return;
    }
    const struct told told = told_of(e, v);
    stream_take(w, &v->stream, &told, "an agent");
    sometimes_if(v->masters != 0 && audit_masters(w) > v->masters, watch_over_failover);
    v->masters = audit_masters(w);
    a->told = e->revision > a->told ? e->revision : a->told;
    if (e->content != NULL) {
        agent_call_told(w, bytes_of(e->content, e->content_size));
    }
}

static void told(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    struct world *w = world_current;
    struct view *v = view_of(w, (uintptr_t)context);
    if (v->watch == watch) {
        take(w, (uint32_t)((uintptr_t)context / AGENT_VIEWS), v, event);
    }
}

static void drop_view(struct world *w, uint32_t agent, struct view *v)
{
    if (v->watch != NULL) {
        engine_watch_free(v->watch, agent_now_ms(w, &w->agents->all[agent]));
    }
    *v = (struct view){.watch = NULL};
}

void view_set(struct world *w, uint32_t agent, uint32_t index,
              const struct lockd_answer *answer)
{
    struct view *v = &w->agents->all[agent].views[index];
    v->asking = false;
    if (answer->rc != LOCKD_OK) {
        drop_view(w, agent, v);
    } else if (!v->stream.begun) {
        stream_begin(w, &v->stream, answer->revision);
    }
}

static uint64_t any_from(struct rng *rng, const struct model *m)
{
    const uint64_t kind = rng_below(rng, 100);
    return kind < 65   ? LEASE_ANY
           : kind < 95 ? rng_below(rng, m->revision + 1)
                       : m->revision + rng_between(rng, 1, 20);
}

/* The instance that bears the name just now; 0: any. */
static uint64_t any_instance(struct rng *rng, const struct model *m, struct bytes path)
{
    const struct model_node *node = model_find(m, path);
    return node != NULL && chance_percent(rng, 20) ? node->instance : 0;
}

/* As the options have it; `from` as in a view. */
static void start_view(struct world *w, uint32_t agent, uint32_t index, const char *path,
                       struct lockd_watch_options options, uint64_t from, int timeout_ms)
{
    struct agent *a = &w->agents->all[agent];
    struct view *v = &a->views[index];
    *v = (struct view){
        .stream.scope = {.path = bytes_of(path, strlen(path)),
                         .of = (enum scope_of)options.scope,
                         .watched = options.watched,
                         .if_instance = options.instance == 0 ? LEASE_ANY : options.instance},
        .stream.principal =
            bytes_of(agent_principal(w, agent), strlen(agent_principal(w, agent))),
        .from = from,
        .asking = true,
        .polled = options.told == NULL,
        .content = options.content,
        .old = options.old_content,
    };
    options.size = sizeof options;
    options.context = (void *)(uintptr_t)(agent * AGENT_VIEWS + index);
    options.from_given = from != LEASE_ANY;
    options.from = options.from_given ? from : 0;
    if (options.from_given) {
        stream_begin(w, &v->stream, from);
    }
    char name[AGENT_NAME_MAX];
    void *context = agent_call_begin(w, agent, 0, index, CALL_WATCH);
    const enum lockd_rc rc =
        engine_watch(a->engine, agent_now_ms(w, a), agent_name(path, name), &options,
                     timeout_ms, agent_call_done, context, &v->watch);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        *v = (struct view){.watch = NULL};
    }
}

static void set_view(struct world *w, uint32_t agent, uint32_t index)
{
    static const char *const paths[] = {"",     "",  "a",   "b", "d",  "l1",  "t",
                                        "boss", "p", "t/e", "e", "s0", "a//b"};
    struct rng *rng = &w->agents->rng;
    const char *path = paths[rng_below(rng, sizeof paths / sizeof *paths)];
    struct lockd_watch_options options = {
        .scope = (enum lockd_scope)rng_between(rng, 1, 3),
        .watched = chance_percent(rng, 60) ? LOCKD_WATCH_ALL
                                           : (unsigned)rng_between(rng, 1, LOCKD_WATCH_ALL),
        .content = chance_percent(rng, 50),
        .old_content = chance_percent(rng, 30),
    };
    if (options.scope == LOCKD_SCOPE_NODE) {
        options.instance = any_instance(rng, audit_model(w), bytes_of(path, strlen(path)));
    }
    const uint64_t from = any_from(rng, audit_model(w));
    options.told = chance_percent(rng, 20) ? NULL : told;
    start_view(w, agent, index, path, options, from, (int)rng_between(rng, 1000, 8000));
}

void view_watch(struct world *w, uint32_t agent, uint32_t index)
{
    const struct lockd_watch_options options = {.scope = LOCKD_SCOPE_SUBTREE,
                                                .watched = LOCKD_WATCH_ALL,
                                                .content = true,
                                                .told = told};
    start_view(w, agent, index, "", options, LEASE_ANY, 25000);
}

static void poll_view(struct world *w, uint32_t agent, struct view *v)
{
    struct lockd_event *event;
    while (v->polled && v->watch != NULL &&
           (event = engine_watch_next(v->watch, agent_now_ms(w, &w->agents->all[agent]))) !=
               NULL) {
        take(w, agent, v, event);
        lockd_event_free(event);
    }
}

void view_use(struct world *w, uint32_t agent, uint32_t index)
{
    struct view *v = &w->agents->all[agent].views[index];
    if (v->watch == NULL) {
        set_view(w, agent, index);
    } else if (v->asking) {
        if (agents_are_fickle(w)) {
            drop_view(w, agent, v);
        }
    } else {
        poll_view(w, agent, v);
        if (chance_percent(&w->agents->rng, 2)) {
            drop_view(w, agent, v);
        }
    }
}

/* No watch says that it is further than what it has told; of the newest revision,
 * more may be on its way. */
void views_check(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    for (uint32_t i = 0; i < AGENT_VIEWS; i++) {
        struct view *v = &a->views[i];
        if (v->watch == NULL || v->asking || v->polled) {
            continue;
        }
        const uint64_t revision = engine_watch_revision(v->watch);
        const struct lease_event *owed =
            revision == 0 ? NULL : stream_owes(w, &v->stream, revision - 1, NULL);
        if (owed != NULL) {
            world_fail(w, "event-order",
                       "agent %u is at revision %" PRIu64 ", and was not told change %d of "
                       "%.*s at %" PRIu64,
                       agent, revision, (int)owed->change, (int)owed->path.size,
                       (const char *)owed->path.data, owed->revision);
        }
    }
}

/* ------------------------------------------------------------------- observers */

/* Who holds the election's lock, and what it has written since: from the events. */
struct reign {
    uint64_t token, session;
    uint32_t holders;
    struct bytes value;
    bool spoken; /* The value was written under this token, by its holder. */
    enum lease_mode mode;
};

static void follow(struct reign *r, const struct model_event *happened)
{
    const struct lease_event *e = &happened->event;
    if (e->change == LEASE_GRANTED) {
        if (r->holders++ == 0) {
            *r = (struct reign){
                .token = e->token, .session = e->session, .holders = 1, .mode = e->mode};
        }
    } else if (e->change == LEASE_RELEASED) {
        r->holders--;
    } else if (e->change == LEASE_WRITTEN && r->holders > 0) {
        r->spoken = happened->by == r->session;
        r->value = e->content;
    }
}

static struct reign reign_at(const struct world *w, struct bytes path, uint64_t revision)
{
    const struct model *m = audit_model(w);
    struct reign reign = {.token = 0};
    for (uint32_t i = 0; i < m->events_count && m->events[i].event.revision <= revision; i++) {
        if (bytes_equal(m->events[i].event.path, path)) {
            follow(&reign, &m->events[i]);
        }
    }
    return reign;
}

bool sequencer_valid(const struct world *w, const struct call *call, uint64_t revision)
{
    const struct reign reign = reign_at(w, agent_path(call->name), revision);
    const bool shared = reign.mode == LEASE_SHARED;
    return reign.holders > 0 && reign.token == call->token &&
           shared == (call->mode == WIRE_SHARED);
}

static void drop_sight(struct world *w, uint32_t agent, struct sight *s)
{
    engine_observer_free(s->observer, agent_now_ms(w, &w->agents->all[agent]));
    *s = (struct sight){.observer = NULL};
}

static void see(struct world *w, uint32_t agent, struct sight *s,
                const struct lockd_leader *leader)
{
    if (leader->rc != LOCKD_OK) { /* The last that it says. */
        drop_sight(w, agent, s);
        return;
    }
    const struct bytes value = bytes_of(leader->value, leader->size);
    const struct reign reign = reign_at(w, agent_path(s->name), leader->revision);
    const bool leads = reign.holders > 0 && reign.spoken && reign.mode == LEASE_EXCLUSIVE;
    if (leader->revision < s->revision) {
        world_fail(w, "leader", "an observer of %s goes back from revision %" PRIu64,
                   agent_names[s->name], s->revision);
    }
    if (leader->token != (leads ? reign.token : 0) ||
        (leads && !bytes_equal(value, reign.value))) {
        world_fail(w, "leader",
                   "an observer of %s sees %.*s lead with token %" PRIu64
                   " at revision %" PRIu64 ", where %.*s leads with %" PRIu64,
                   agent_names[s->name], (int)leader->size, (const char *)leader->value,
                   leader->token, leader->revision, leads ? (int)reign.value.size : 0,
                   (const char *)reign.value.data, leads ? reign.token : 0);
    }
    sometimes_if(s->token != 0 && leader->token > s->token, leader_changes);
    sometimes_if(s->token != 0 && leader->token == 0, leader_none);
    s->revision = leader->revision;
    s->token = leader->token;
    s->value = audit_keep(w, value);
}

static void observed(void *context, struct lockd_observer *observer,
                     const struct lockd_leader *leader)
{
    struct world *w = world_current;
    const uint32_t agent = (uint32_t)((uintptr_t)context / AGENT_SIGHTS);
    struct sight *s = &w->agents->all[agent].sights[(uintptr_t)context % AGENT_SIGHTS];
    if (s->observer == observer) {
        see(w, agent, s, leader);
    }
}

static void poll_sight(struct world *w, uint32_t agent, struct sight *s)
{
    const uint64_t now_ms = agent_now_ms(w, &w->agents->all[agent]);
    struct lockd_leader *leader;
    while (s->polled && s->observer != NULL &&
           (leader = engine_observer_next(s->observer, now_ms)) != NULL) {
        see(w, agent, s, leader);
        lockd_leader_free(leader);
    }
}

void sight_use(struct world *w, uint32_t agent, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct sight *s = &a->sights[index];
    if (s->observer != NULL) {
        poll_sight(w, agent, s);
        if (s->observer != NULL && chance_percent(&w->agents->rng, 2)) {
            drop_sight(w, agent, s);
        }
        return;
    }
    char name[AGENT_NAME_MAX];
    *s = (struct sight){.name = NAME_ELECTIONS + index,
                        .polled = chance_percent(&w->agents->rng, 20)};
    agents_starve(w);
    const enum lockd_rc rc =
        engine_observe(a->engine, agent_now_ms(w, a), agent_name(agent_names[s->name], name),
                       s->polled ? NULL : observed,
                       (void *)(uintptr_t)(agent * AGENT_SIGHTS + index), &s->observer);
    if (rc != LOCKD_OK && !(starve_end() && rc == LOCKD_E_NO_MEMORY)) {
        world_fail(w, "calls", "an observer can't be made: %s", lockd_strerror(rc));
    }
    (void)starve_end();
}

/* ------------------------------------------------------------------------- end */

static bool sight_told(struct world *w, uint32_t agent, struct sight *s)
{
    poll_sight(w, agent, s);
    const struct reign reign = reign_at(w, agent_path(s->name), UINT64_MAX);
    const bool leads = reign.holders > 0 && reign.spoken && reign.mode == LEASE_EXCLUSIVE;
    const bool good = s->observer == NULL || (s->token == (leads ? reign.token : 0) &&
                                              (!leads || bytes_equal(s->value, reign.value)));
    if (!good && w->tracing) {
        world_trace(w, WORLD_AGENT + agent, "sees",
                    "token %" PRIu64 " lead %s, which is %" PRIu64, s->token,
                    agent_names[s->name], leads ? reign.token : 0);
    }
    return good;
}

static bool view_told(struct world *w, uint32_t agent, struct view *v)
{
    if (v->watch == NULL) {
        return true;
    }
    poll_view(w, agent, v);
    const bool may =
        model_may(audit_model(w), v->stream.scope.path, v->stream.principal, LEASE_READ);
    const bool current = !may || (!v->asking && engine_watch_current(v->watch));
    const struct lease_event *owed =
        may ? stream_owes(w, &v->stream, UINT64_MAX, NULL) : NULL; /* It may not be set anew. */
    if ((!current || owed != NULL) && w->tracing) {
        world_trace(w, WORLD_AGENT + agent, "owed",
                    "watches %.*s%s, and is owed revision %" PRIu64,
                    (int)v->stream.scope.path.size, (const char *)v->stream.scope.path.data,
                    current ? "" : ", but not just now", owed == NULL ? 0 : owed->revision);
    }
    return current && owed == NULL;
}

bool views_told(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    bool all = true;
    for (uint32_t i = 0; i < AGENT_VIEWS; i++) {
        all = view_told(w, agent, &a->views[i]) && all;
    }
    for (uint32_t i = 0; i < AGENT_SIGHTS; i++) {
        all = sight_told(w, agent, &a->sights[i]) && all;
    }
    return all;
}
