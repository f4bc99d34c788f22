/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/script.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/net.h"
#include "tests/sim/points.h"
#include "tests/sim/run.h"
#include "tests/sim/workload.h"

enum {
    LOOK_EVERY_US = 1000,
    AMPLE_MS = 25000, /* Longer than it takes to lose a master twice. */
    GRACE_MS = 20000,
    PENDING_MAX = 8,
    ENDED_WITHIN_S = 60,
    SERVED_WITHIN_S = 10,
    DONE_AT_LEAST = 5,
    DONE_WITHIN_S = 30,
};

struct pending {
    uint32_t call;
    enum lockd_rc expect;
};

struct lane {
    uint32_t next;    /* Step; SCRIPT_STEPS_MAX: it has ended. */
    uint64_t free_us; /* Since when it has nothing to wait for. */
    uint32_t met;     /* The meeting at which it has arrived last. */
    bool waits;       /* For the calls that it has begun. */
    struct pending pending[PENDING_MAX];
    uint32_t pending_count;
};

/* One world at a time is played. */
struct performance {
    const struct scene *scene;
    struct lane lanes[SCRIPT_LANES];
};

static struct performance performance;

/* -------------------------------------------------------------------- agents */

static int patience(const struct script_step *s)
{
    return s->ms == 0 ? AMPLE_MS : (int)s->ms;
}

static void open_session(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *seat = &a->seats[0];
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = s->ms, .grace_ms = GRACE_MS};
    if (a->engine == NULL) {
        agent_start(w, agent);
    }
    *seat = (struct seat){.opening = true};
    void *context = agent_call_begin(w, agent, 0, 0, CALL_OPEN);
    agent_call_begun(w, engine_session_open(a->engine, agent_now_ms(w, a), &options, AMPLE_MS,
                                            agent_call_done, context, &seat->session));
}

static void close_session(struct world *w, uint32_t agent, const struct script_step *s)
{
    (void)s;
    struct agent *a = &w->agents->all[agent];
    a->seats[0].closing = true;
    void *context = agent_call_begin(w, agent, 0, 0, CALL_CLOSE);
    agent_call_begun(w, engine_session_close(a->seats[0].session, agent_now_ms(w, a), AMPLE_MS,
                                             agent_call_done, context));
}

static void acquire(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[0].grips[s->number];
    const bool leads = s->verb == SCRIPT_CAMPAIGN;
    const struct lockd_lock_options options = {.size = sizeof options,
                                               .mode = LOCKD_EXCLUSIVE,
                                               .create = true,
                                               .delay_ms = s->delay_ms};
    char name[AGENT_NAME_MAX], value[16];
    agent_name(agent_names[s->name], name);
    *grip = (struct grip){.name = s->name, .asking = true, .leads = leads};
    void *context =
        agent_call_begin(w, agent, 0, s->number, leads ? CALL_CAMPAIGN : CALL_ACQUIRE);
    agent_call_newest(w)->mode = WIRE_EXCLUSIVE;
    const int size = snprintf(value, sizeof value, "s%u", w->agents->calls_count);
    agent_call_begun(w, leads ? engine_campaign(a->seats[0].session, agent_now_ms(w, a), name,
                                                value, (size_t)size, &options, patience(s),
                                                agent_call_done, context, &grip->lock)
                              : engine_acquire(a->seats[0].session, agent_now_ms(w, a), name,
                                               &options, patience(s), agent_call_done, context,
                                               &grip->lock));
}

static void release(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[0].grips[s->number];
    grip->releasing = true;
    void *context = agent_call_begin(w, agent, 0, s->number, CALL_RELEASE);
    agent_call_begun(
        w, engine_release(grip->lock, agent_now_ms(w, a), AMPLE_MS, agent_call_done, context));
}

static void call_file(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    const bool puts = s->verb == SCRIPT_PUT;
    const bool makes = s->verb == SCRIPT_MAKE;
    char name[AGENT_NAME_MAX], content[16];
    agent_name(agent_names[s->name], name);
    void *context = agent_call_begin(w, agent, 0, 0,
                                     puts    ? CALL_PUT
                                     : makes ? CALL_FILE
                                             : CALL_GET);
    const int size = snprintf(content, sizeof content, "s%u", w->agents->calls_count);
    const struct wire_request request = {
        .method = puts    ? WIRE_NODE_PUT
                  : makes ? WIRE_NODE_CREATE
                          : WIRE_NODE_GET,
        .name = {.data = name, .size = strlen(name)},
        .kind = makes ? WIRE_DIRECTORY : WIRE_FILE,
        .has_content = puts,
        .content = {.data = content, .size = puts ? (size_t)size : 0},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a),
                                    puts || makes ? a->seats[0].session : NULL, &request,
                                    AMPLE_MS, agent_call_done, context));
}

static void grasp(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    struct grasp *grasp = &a->seats[0].grasps[s->number];
    const struct lockd_open_options options = {
        .size = sizeof options,
        .create = s->name == NAME_DIRECTORY ? LOCKD_DIRECTORY : LOCKD_FILE,
        .ephemeral = true};
    char name[AGENT_NAME_MAX];
    *grasp = (struct grasp){.name = s->name, .opening = true};
    void *context = agent_call_begin(w, agent, 0, s->number, CALL_GRASP);
    agent_call_newest(w)->name = s->name;
    agent_call_begun(w, engine_open(a->seats[0].session, agent_now_ms(w, a),
                                    agent_name(agent_names[s->name], name), &options, AMPLE_MS,
                                    agent_call_done, context, &grasp->handle));
}

static void let_go(struct world *w, uint32_t agent, const struct script_step *s)
{
    struct agent *a = &w->agents->all[agent];
    struct grasp *grasp = &a->seats[0].grasps[s->number];
    grasp->closing = true;
    void *context = agent_call_begin(w, agent, 0, s->number, CALL_LET_GO);
    agent_call_begun(w, engine_close_handle(grasp->handle, agent_now_ms(w, a), AMPLE_MS,
                                            agent_call_done, context));
}

static void watch(struct world *w, uint32_t agent, const struct script_step *s)
{
    view_watch(w, agent, s->number);
}

/* What steps of agents begin. */
static void (*const calls[SCRIPT_VERBS])(struct world *w, uint32_t agent,
                                         const struct script_step *s) = {
    [SCRIPT_OPEN] = open_session, [SCRIPT_CLOSE] = close_session, [SCRIPT_ACQUIRE] = acquire,
    [SCRIPT_CAMPAIGN] = acquire,  [SCRIPT_RELEASE] = release,     [SCRIPT_PUT] = call_file,
    [SCRIPT_GET] = call_file,     [SCRIPT_MAKE] = call_file,      [SCRIPT_GRASP] = grasp,
    [SCRIPT_LET_GO] = let_go,     [SCRIPT_WATCH] = watch,
};

static void act(struct world *w, struct lane *lane, const struct script_step *s)
{
    const struct agent *a = &w->agents->all[s->lane];
    if (s->verb == SCRIPT_KILL) {
        agent_kill(w, s->lane);
        return;
    }
    if (s->verb == SCRIPT_DROP) {
        if (a->link != 0) {
            link_break(w, a->link);
        }
        return;
    }
    assert(calls[s->verb] != NULL && lane->pending_count < PENDING_MAX);
    calls[s->verb](w, s->lane, s);
    lane->pending[lane->pending_count++] =
        (struct pending){.call = w->agents->calls_count, .expect = s->expect};
    agent_settle(w, s->lane);
}

/* ------------------------------------------------------------------ director */

static void on_heard(struct world *w, const struct event *event)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        w->net->links[event->a][i].cut = false;
    }
}

static void deafen(struct world *w, const struct replica *master, uint32_t for_ms)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        w->net->links[master->index][i].cut = i != master->index;
    }
    world_at(w, w->now_us + for_ms * WORLD_MS,
             (struct event){.run = on_heard, .a = master->index});
}

static void kill_for(struct world *w, struct replica *r, uint32_t ms)
{
    if (replica_is_up(r)) {
        replica_crash(w, r, /* dark= */ false);
        replica_boot_later(w, r, ms * WORLD_MS);
    }
}

static void kill_all_for(struct world *w, uint32_t ms)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        kill_for(w, w->replicas[i], ms + i);
    }
}

/* False: there is nobody to strike yet. */
static bool direct(struct world *w, const struct script_step *s)
{
    struct replica *master = replica_master(w);
    if (s->verb == SCRIPT_COUNT) {
        w->points->counting = true;
    } else if (master == NULL) {
        return false;
    } else if (s->verb == SCRIPT_BURST) {
        workload_burst(w, master->index);
    } else if (s->verb == SCRIPT_KILL_MASTER) {
        kill_for(w, master, s->ms);
    } else if (s->verb == SCRIPT_KILL_FOLLOWER) {
        kill_for(w, w->replicas[(master->index + 1) % w->plan.replicas], s->ms);
    } else if (s->verb == SCRIPT_KILL_ALL) {
        kill_all_for(w, s->ms);
    } else if (s->verb == SCRIPT_LEAVE) {
        replica_leave(w, master, s->ms * WORLD_MS);
    } else if (s->verb == SCRIPT_STOP) {
        replica_pause(w, master, s->ms * WORLD_MS);
    } else if (s->verb == SCRIPT_DEAFEN) {
        deafen(w, master, s->ms);
    } else {
        assert(s->verb == SCRIPT_SERVED);
    }
    return true;
}

/* --------------------------------------------------------------------- lanes */

/* Looks after the calls of the lane; true: all have ended, as they should. */
static bool all_ended(struct world *w, struct lane *lane)
{
    while (lane->pending_count > 0) {
        const struct pending *p = &lane->pending[lane->pending_count - 1];
        const struct call *c = &w->agents->calls[p->call];
        if (!c->ended) {
            return false;
        }
        if (c->rc != p->expect) {
            world_fail(w, "script", "call %u (kind %d) came to `%s', not to `%s'", p->call,
                       (int)c->kind, lockd_strerror(c->rc), lockd_strerror(p->expect));
        }
        lane->pending_count--;
        lane->free_us = w->now_us;
    }
    return true;
}

/* The lane's step from `from` on. */
static uint32_t step_from(const struct scene *scene, uint32_t lane, uint32_t from)
{
    for (; from < SCRIPT_STEPS_MAX && scene->steps[from].verb != SCRIPT_END; from++) {
        if (scene->steps[from].lane == lane) {
            return from;
        }
    }
    return SCRIPT_STEPS_MAX;
}

/* Has every lane that is to come to this meeting come? */
static bool all_met(uint32_t number)
{
    const struct performance *p = &performance;
    for (uint32_t i = 0; i < SCRIPT_STEPS_MAX && p->scene->steps[i].verb != SCRIPT_END; i++) {
        const struct script_step *s = &p->scene->steps[i];
        if (s->verb == SCRIPT_MEET && s->number == number && p->lanes[s->lane].met < number) {
            return false;
        }
    }
    return true;
}

/* True: the step is behind the lane. */
static bool take_step(struct world *w, struct lane *lane, const struct script_step *s)
{
    if (s->verb == SCRIPT_MEET) {
        lane->met = s->number > lane->met ? s->number : lane->met;
        return all_met(s->number);
    }
    if (s->lane == SCRIPT_DIRECTOR) {
        return direct(w, s);
    }
    act(w, lane, s);
    return true;
}

/* True: it has come further. */
static bool go_on(struct world *w, uint32_t number)
{
    struct lane *lane = &performance.lanes[number];
    if (!all_ended(w, lane) && lane->waits) {
        return false;
    }
    if (lane->next == SCRIPT_STEPS_MAX) {
        return false;
    }
    const struct script_step *s = &performance.scene->steps[lane->next];
    if (w->now_us < lane->free_us + s->wait_ms * WORLD_MS || !take_step(w, lane, s)) {
        return false;
    }
    lane->free_us = w->now_us;
    lane->waits = !s->go_on;
    lane->next = step_from(performance.scene, number, lane->next + 1);
    return true;
}

static bool has_ended(struct world *w)
{
    bool all = true;
    for (uint32_t i = 0; i < SCRIPT_LANES; i++) {
        struct lane *lane = &performance.lanes[i];
        all = all && lane->next == SCRIPT_STEPS_MAX && all_ended(w, lane);
    }
    return all;
}

static void on_look(struct world *w, const struct event *event)
{
    for (uint32_t i = 0; i < SCRIPT_LANES; i++) {
        while (go_on(w, i)) {
        }
    }
    if (!has_ended(w)) {
        world_at(w, w->now_us + LOOK_EVERY_US, *event);
    }
}

/* ------------------------------------------------------------------- the whole */

void script_plan(struct plan *plan, const struct scene *scene)
{
    *plan = (struct plan){
        .replicas = 3,
        .firm = true,
        .clients = scene->clients,
        .delay_us_min = 100,
        .delay_us_max = 2000,
        .sync_us_min = 100,
        .sync_us_max = scene->sync_us_max > 0 ? scene->sync_us_max : 1000,
        .start_us = {0, 3 * WORLD_MS, 7 * WORLD_MS + scene->late_ms * WORLD_MS},
        .clock_base_ms = {90000, 1, UINT64_C(1) << 32},
        .rate_ppm = {PLAN_DRIFT_PPM / 2, 0, -PLAN_DRIFT_PPM / 2},
        .think_us_max = 100 * WORLD_MS,
        .pipeline_max = scene->pipeline_max > 0 ? scene->pipeline_max : 1,
        .timeout_us = 2 * WORLD_SECOND,
        .keepalives_busy = scene->keepalives_busy,
        .actors = SCRIPT_DIRECTOR,
    };
}

static bool master_serves(struct world *w)
{
    return replica_master(w) != NULL;
}

static bool enough_done(struct world *w)
{
    return workload_done_since_heal(w) >= DONE_AT_LEAST;
}

void script_play(struct world *w, const struct scene *scene)
{
    performance = (struct performance){.scene = scene};
    for (uint32_t i = 0; i < SCRIPT_LANES; i++) {
        performance.lanes[i].next = step_from(scene, i, 0);
    }
    on_look(w, &(struct event){.run = on_look});
    run_until(w, has_ended, ENDED_WITHIN_S, "the script has not ended");
    w->points->counting = false;
    nemesis_end(w);
    run_until(w, master_serves, SERVED_WITHIN_S, "no master serves");
    run_until(w, enough_done, DONE_WITHIN_S, "clients get nothing done");
    run_conclude(w);
}
