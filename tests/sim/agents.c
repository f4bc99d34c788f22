/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/agents_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/audit.h"
#include "tests/sim/starve.h"
#include "tests/sim/workload.h"

enum {
    SETTLE_MAX = 100000,     /* Rounds of wishes and events without time passing. */
    LINGER_US_MAX = 3000000, /* How long a dead process stays away. */
    STARVED_AT_MAX = 5,      /* Which of the allocations of a call fails. */
};

static void on_tick(struct world *w, const struct event *event);

uint64_t agent_stopped_until_us(const struct world *w, uint32_t agent)
{
    const struct agent *a = &w->agents->all[agent];
    return a->stopped_until_us > w->now_us ? a->stopped_until_us : 0;
}

void agents_starve(struct world *w)
{
    struct agents *all = w->agents;
    if (!w->healed && chance_percent(&all->rng, all->starve_percent)) {
        starve_begin((uint32_t)rng_between(&all->rng, 1, STARVED_AT_MAX));
    }
}

/* ------------------------------------------------------------- life and death */

void agent_start(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    char endpoints[PLAN_REPLICAS_MAX * 8] = "";
    for (uint32_t i = 0, at = 0; i < w->plan.replicas; i++) {
        at += (uint32_t)snprintf(endpoints + at, sizeof endpoints - at, "%sr%u:1",
                                 i == 0 ? "" : ",", i + 1);
    }
    const struct engine_config config = {.endpoints = endpoints,
                                         .label = "sim",
                                         .drift_ppm = PLAN_DRIFT_PPM,
                                         .connect_ms = 1000,
                                         .seed = rng_next(rng)};
    const enum lockd_rc rc = engine_new(&config, &a->engine);
    assert(rc == LOCKD_OK);
    (void)rc;
    a->timer_us = WORLD_NEVER;
    a->looks_on = agent > 0 && chance_percent(rng, 20);
}

static void hang_up(struct world *w, struct agent *a)
{
    if (a->link != 0) {
        link_close(w, a->link);
    }
    a->link = 0;
    a->number = 0;
    a->connected = false;
}

void agent_kill(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    if (w->tracing) {
        world_trace(w, WORLD_AGENT + agent, "down", "killed");
    }
    calls_killed(w, agent);
    memset(a->seats, 0, sizeof a->seats);
    memset(a->views, 0, sizeof a->views);
    memset(a->sights, 0, sizeof a->sights);
    hang_up(w, a);
    engine_free(a->engine);
    a->engine = NULL;
    a->life++;
    a->told = 0;
    a->seen_revision = 0;
}

/* What one of its threads is about. */
static void think(struct world *w, uint32_t agent)
{
    struct agents *all = w->agents;
    const uint64_t what = rng_below(&all->rng, 100);
    if (what < 10) {
        view_use(w, agent, (uint32_t)rng_below(&all->rng, AGENT_VIEWS));
    } else if (what < 13) {
        sight_use(w, agent, (uint32_t)rng_below(&all->rng, AGENT_SIGHTS));
    } else if (!all->all[agent].looks_on) {
        seat_use(w, agent, (uint32_t)rng_below(&all->rng, all->seats));
    }
}

static void on_thaw(struct world *w, const struct event *event)
{
    clock_freeze(&w->agents->all[event->a].clock, w->now_us, /* frozen= */ false);
}

static void on_think(struct world *w, const struct event *event)
{
    struct agents *all = w->agents;
    const uint32_t agent = (uint32_t)event->a;
    struct agent *a = &all->all[agent];
    uint64_t wait_us = rng_between(&all->rng, all->think_us_max / 10, all->think_us_max);
    if (all->quiet) {
        return;
    }
    if (agent_stopped_until_us(w, agent) != 0) {
        world_at(w, a->stopped_until_us, *event);
        return;
    }
    if (a->engine == NULL) {
        agent_start(w, agent);
    }
    think(w, agent);
    agent_settle(w, agent);
    if (!w->healed && chance_percent(&all->rng, all->stop_percent)) {
        a->stopped_until_us = w->now_us + rng_below(&all->rng, all->stop_us_max);
        if (w->plan.wild && chance_percent(&all->rng, 50)) {
            clock_freeze(&a->clock, w->now_us, /* frozen= */ true);
            world_at(w, a->stopped_until_us, (struct event){.run = on_thaw, .a = agent});
        }
    } else if (!w->healed && chance_percent(&all->rng, all->kill_percent)) {
        agent_kill(w, agent);
        wait_us = rng_below(&all->rng, LINGER_US_MAX);
    }
    world_at(w, w->now_us + wait_us, *event);
}

/* --------------------------------------------------------------------- driving */

/* "rN:1" */
static uint32_t replica_of(const char *address)
{
    return (uint32_t)(address[1] - '1');
}

/* Makes the wish true; false: it was. */
static bool obey_wish(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    const struct engine_wish *wish = engine_wish(a->engine);
    if (wish->link != a->number) {
        hang_up(w, a);
        a->number = wish->link;
        if (wish->link != 0) {
            a->link = link_dial(w, agent, wish->link, replica_of(wish->address));
        }
        return true;
    }
    if (a->connected && wish->output.size > 0) {
        const size_t size = link_room(w, a->link, wish->output.size);
        link_send(w, a->link, wish->output.data, size);
        engine_sent(a->engine, agent_now_ms(w, a), a->number, size);
        return true;
    }
    return false;
}

static bool take_event(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    struct engine_event event;
    if (!engine_event(a->engine, &event)) {
        return false;
    }
    if (event.done != NULL) {
        event.done(event.context, event.answer);
    } else if (event.changed != NULL) {
        event.changed(event.context, event.session, event.state);
    } else if (event.told != NULL) {
        event.told(event.context, event.watch, event.happened);
    } else if (event.observed != NULL) {
        event.observed(event.context, event.observer, event.leader);
    }
    lockd_answer_free(event.answer);
    lockd_event_free(event.happened);
    lockd_leader_free(event.leader);
    return true;
}

void agent_settle(struct world *w, uint32_t agent)
{
    struct agent *a = &w->agents->all[agent];
    for (uint32_t i = 0; obey_wish(w, agent) || take_event(w, agent); i++) {
        if (i == SETTLE_MAX) {
            world_fail(w, "bounded", "agent %u always has more to do", agent);
        }
    }
    engine_check(a->engine);
    views_check(w, agent);
    const uint64_t wake_at_ms = engine_wish(a->engine)->wake_at_ms;
    if (wake_at_ms != ENGINE_NEVER) {
        const uint64_t at_us = clock_when_us(&a->clock, w->now_us, wake_at_ms);
        if (at_us < a->timer_us) {
            a->timer_us = at_us;
            world_at(w, at_us, (struct event){.run = on_tick, .a = agent, .b = a->life});
        }
    }
}

static void on_tick(struct world *w, const struct event *event)
{
    const uint32_t agent = (uint32_t)event->a;
    struct agent *a = &w->agents->all[agent];
    if (a->engine == NULL || event->b != a->life || a->timer_us > w->now_us) {
        return;
    }
    if (agent_stopped_until_us(w, agent) != 0) {
        a->timer_us = a->stopped_until_us;
        world_at(w, a->stopped_until_us, *event);
        return;
    }
    a->timer_us = WORLD_NEVER;
    engine_tick(a->engine, agent_now_ms(w, a));
    agent_settle(w, agent);
    calls_check_late(w, agent);
}

void agent_connected(struct world *w, uint32_t agent, uint64_t number)
{
    struct agent *a = &w->agents->all[agent];
    assert(a->number == number);
    a->connected = true;
    engine_connected(a->engine, agent_now_ms(w, a), number);
    agent_settle(w, agent);
}

void agent_lost(struct world *w, uint32_t agent, uint64_t number, const char *why)
{
    struct agent *a = &w->agents->all[agent];
    assert(a->number == number);
    hang_up(w, a);
    a->number = number; /* Until the engine wishes for another. */
    engine_lost(a->engine, agent_now_ms(w, a), number, why);
    agent_settle(w, agent);
}

void agent_received(struct world *w, uint32_t agent, uint64_t number, const void *data,
                    size_t size)
{
    struct agent *a = &w->agents->all[agent];
    assert(a->number == number);
    agents_starve(w);
    engine_received(a->engine, agent_now_ms(w, a), number, data, size);
    (void)starve_end();
    agent_settle(w, agent);
}

/* --------------------------------------------------------------------- beliefs */

static void check_grip(struct world *w, const struct agent *a, uint64_t session,
                       const struct grip *grip)
{
    if (grip->lock != NULL && engine_lock_valid_until_ms(grip->lock) > agent_now_ms(w, a)) {
        audit_believes_held(w, session, agent_path(grip->name), engine_lock_token(grip->lock));
    }
}

static void check_seat(struct world *w, const struct agent *a, const struct seat *s)
{
    /* Who closes its session believes in nothing of it any more. */
    if (s->session == NULL || s->closing ||
        engine_session_valid_until_ms(s->session) <= agent_now_ms(w, a)) {
        return;
    }
    const uint64_t session = strtoull(engine_session_id(s->session), NULL, 16);
    audit_believes(w, session);
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        check_grip(w, a, session, &s->grips[i]);
    }
}

void agents_check_beliefs(struct world *w)
{
    const struct agents *all = w->agents;
    for (uint32_t i = 0; all->timely && i < all->count; i++) {
        for (uint32_t j = 0; all->all[i].engine != NULL && j < all->seats; j++) {
            check_seat(w, &all->all[i], &all->all[i].seats[j]);
        }
    }
}

/* ------------------------------------------------------------------------ life */

void agents_start(struct world *w)
{
    struct agents *all = sim_allocate(sizeof *all);
    *all = (struct agents){
        .rng = {.state = w->seed * UINT64_C(0x9e3779b97f4a7c15) ^ 0x6167656e7473},
        .timely = audit_timely(w)};
    w->agents = all;
    const bool calm = w->plan.faults == 0;
    all->count = (uint32_t)rng_between(&all->rng, 1, AGENTS_MAX);
    all->seats = (uint32_t)rng_between(&all->rng, 1, SEATS_MAX);
    all->stop_percent =
        calm || chance_percent(&all->rng, 40) ? 0 : (uint32_t)rng_below(&all->rng, 6);
    all->kill_percent =
        calm || chance_percent(&all->rng, 60) ? 0 : (uint32_t)rng_below(&all->rng, 4);
    all->stop_us_max = (w->plan.keepalives_busy > 0 ? 25 : 8) * (uint32_t)WORLD_SECOND;
    all->think_us_max = (uint32_t)rng_between(&all->rng, 50000, 500000);
    all->fickle_percent =
        chance_percent(&all->rng, 50) ? 0 : (uint32_t)rng_below(&all->rng, 20);
    all->starve_percent =
        calm || chance_percent(&all->rng, 75) ? 0 : (uint32_t)rng_between(&all->rng, 1, 10);
    all->caching_percent =
        chance_percent(&all->rng, 30) ? 0 : (uint32_t)rng_between(&all->rng, 20, 100);
    all->root =
        chance_percent(&all->rng, 60) ? 0 : (uint32_t)rng_between(&all->rng, 1, all->count);
    const uint32_t most = w->plan.wild ? 500000 : PLAN_DRIFT_PPM / 2;
    if (w->plan.actors > 0) {
        all->count = w->plan.actors;
        all->seats = 1;
        all->fickle_percent = all->starve_percent = all->caching_percent = 0;
    }
    for (uint32_t i = 0; i < all->count; i++) {
        all->all[i].clock = (struct clock){
            .base_us = rng_below(&all->rng, UINT64_C(1) << 40),
            .rate_ppm = (int32_t)rng_below(&all->rng, 2 * most + 1) - (int32_t)most};
        if (w->plan.actors == 0) {
            world_at(w, rng_below(&all->rng, WORLD_SECOND),
                     (struct event){.run = on_think, .a = i});
        }
    }
    resource_start(w);
}

void agents_stop_all(struct world *w, uint64_t until_us)
{
    for (uint32_t i = 0; i < w->agents->count; i++) {
        struct agent *a = &w->agents->all[i];
        /* Who stands still for longer has put off what it is to do until then. */
        a->stopped_until_us = until_us > a->stopped_until_us ? until_us : a->stopped_until_us;
    }
}

void agents_heal(struct world *w)
{
    for (uint32_t i = 0; w->plan.wild && i < w->agents->count; i++) {
        struct agent *a = &w->agents->all[i];
        clock_freeze(&a->clock, w->now_us, /* frozen= */ false);
        a->clock.rate_ppm = 0;
        a->timer_us = w->now_us; /* It was set by the old rate. */
        world_at(w, w->now_us, (struct event){.run = on_tick, .a = i, .b = a->life});
    }
}

/* What a session was promised by a wild clock may be less than it believes. */
void agents_mark_kept(struct world *w)
{
    for (uint32_t i = 0; !w->plan.wild && i < w->agents->count; i++) {
        struct agent *a = &w->agents->all[i];
        for (uint32_t j = 0; a->stopped_until_us <= w->now_us && j < w->agents->seats; j++) {
            struct seat *s = &a->seats[j];
            s->kept = s->session != NULL &&
                      engine_session_valid_until_ms(s->session) > agent_now_ms(w, a);
        }
    }
}

void agents_calm(struct world *w)
{
    w->agents->quiet = true;
}

bool agents_told(struct world *w)
{
    bool all = true;
    for (uint32_t i = 0; i < w->agents->count; i++) {
        all = all && (w->agents->all[i].engine == NULL || views_told(w, i));
    }
    return all;
}

void agents_quiesce(struct world *w)
{
    struct agents *all = w->agents;
    all->quiet = true;
    for (uint32_t i = 0; i < all->count; i++) {
        struct agent *a = &all->all[i];
        a->stopped_until_us = 0;
        if (a->engine != NULL) {
            engine_close(a->engine, agent_now_ms(w, a));
            misuse_closed(w, a);
            agent_settle(w, i);
        }
    }
}

bool agents_ended(const struct world *w)
{
    return w->agents->open == 0;
}

uint32_t agents_granted_since_heal(const struct world *w)
{
    return w->agents->granted_since_heal;
}

void agents_stop(struct world *w)
{
    struct agents *all = w->agents;
    for (uint32_t i = 0; i < all->count; i++) {
        engine_free(all->all[i].engine);
    }
    resource_stop(w);
    free(all->calls);
    free(all->reads);
    free(all->acknowledged);
    free(all);
    w->agents = NULL;
}
