/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/agents_internal.h"

const char *const seat_names[SEAT_NAMES] = {"l1", "l2", "a"};

/* --------------------------------------------------------------------- calls */

/* The number of the call, as the context of its callback. */
static void *begin_call(struct world *w, uint32_t agent, uint32_t seat, uint32_t grip,
                        enum call_kind kind)
{
    struct agents *all = w->agents;
    if (all->calls_count + 1 >= all->calls_capacity) {
        all->calls_capacity = all->calls_capacity == 0 ? 256 : all->calls_capacity * 2;
        all->calls = sim_resize(all->calls, all->calls_capacity * sizeof *all->calls);
    }
    const uint32_t number = ++all->calls_count;
    all->calls[number] = (struct call){.agent = agent,
                                       .seat = seat,
                                       .grip = grip,
                                       .kind = kind,
                                       .life = all->all[agent].life,
                                       .seen = all->all[agent].seats[seat].seen};
    all->open++;
    return (void *)(uintptr_t)number;
}

/* The library refused the call at once: it was never begun. */
static void call_refused(struct world *w, enum lockd_rc rc)
{
    struct agents *all = w->agents;
    if (rc != LOCKD_OK) {
        struct call *c = &all->calls[all->calls_count];
        c->ended = true;
        c->rc = rc;
        all->open--;
    }
}

static bool definite_failure(enum lockd_rc rc)
{
    return rc != LOCKD_OK && rc != LOCKD_E_UNKNOWN;
}

static void check_put(struct world *w, uint32_t number)
{
    const struct call *c = &w->agents->calls[number];
    if (c->ended && definite_failure(c->rc) && c->effect.slot != 0) {
        world_fail(w, "failed-in-log",
                   "call %u was told `%s'; it took effect at [%" PRIu64 ",%u]", number,
                   lockd_strerror(c->rc), c->effect.slot, c->effect.position);
    }
}

static void check_written(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    if (answer->rc == LOCKD_OK &&
        (c->effect.slot != answer->slot || c->effect.position != answer->position)) {
        world_fail(w, "durable",
                   "call %u was acknowledged at [%" PRIu64 ",%" PRIu64
                   "]; it took effect at [%" PRIu64 ",%u]",
                   number, answer->slot, answer->position, c->effect.slot, c->effect.position);
    }
    check_put(w, number);
}

void agents_written(struct world *w, struct bytes content, struct history_index index)
{
    struct agents *all = w->agents;
    uint32_t number = 0;
    for (size_t i = 1; i < content.size; i++) {
        number = number * 10 + (uint32_t)(content.data[i] - '0');
    }
    if (number == 0 || number > all->calls_count || all->calls[number].kind != CALL_PUT) {
        world_fail(w, "foreign", "[%" PRIu64 ",%u] holds a put that nobody began", index.slot,
                   index.position);
    }
    struct call *c = &all->calls[number];
    if (c->effect.slot != 0) {
        world_fail(w, "at-most-once",
                   "call %u took effect at [%" PRIu64 ",%u] and at [%" PRIu64 ",%u]", number,
                   c->effect.slot, c->effect.position, index.slot, index.position);
    }
    c->effect = index;
    check_put(w, number);
}

/* A read sees at least what its session had seen when it began. */
static void see(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    struct seat *seat = &w->agents->all[c->agent].seats[c->seat];
    const struct history_index index = {.slot = answer->slot,
                                        .position = (uint32_t)answer->position};
    if (index.slot == 0) {
        return;
    }
    if (c->kind == CALL_GET && history_index_compare(index, c->seen) < 0) {
        world_fail(w, "session-order",
                   "call %u reads at [%" PRIu64 ",%u], behind [%" PRIu64 ",%u]", number,
                   index.slot, index.position, c->seen.slot, c->seen.position);
    }
    if (history_index_compare(index, seat->seen) > 0) {
        seat->seen = index;
    }
}

static void drop_grip(struct world *w, struct agent *a, struct grip *grip)
{
    if (grip->lock != NULL) {
        engine_lock_free(grip->lock, agent_now_ms(w, a));
    }
    *grip = (struct grip){.lock = NULL};
}

static void on_acquired(struct world *w, struct agent *a, struct grip *grip, enum lockd_rc rc)
{
    grip->asking = false;
    if (rc == LOCKD_OK) {
        w->agents->granted_since_heal += w->healed;
    } else {
        drop_grip(w, a, grip);
    }
}

static void on_done(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    struct agents *all = w->agents;
    struct call *c = &all->calls[number];
    if (c->ended) {
        world_fail(w, "calls", "call %u ends a second time, with `%s'", number,
                   lockd_strerror(answer->rc));
    }
    c->ended = true;
    c->rc = answer->rc;
    all->open--;
    struct agent *a = &all->all[c->agent];
    struct seat *seat = &a->seats[c->seat];
    struct grip *grip = &seat->grips[c->grip];
    if (w->tracing) {
        world_trace(w, 0, "agent", "%u, seat %u: call %u (kind %d) ends: %s %s", c->agent,
                    c->seat, number, (int)c->kind, lockd_strerror(answer->rc), answer->detail);
    }
    see(w, number, answer);
    switch (c->kind) {
    case CALL_OPEN:
        seat->opening = false;
        break;
    case CALL_CLOSE:
        break;
    case CALL_ACQUIRE:
        on_acquired(w, a, grip, answer->rc);
        break;
    case CALL_RELEASE:
        grip->releasing = false;
        if (!definite_failure(answer->rc) || answer->rc == LOCKD_E_NOT_HELD) {
            drop_grip(w, a, grip);
        }
        break;
    case CALL_PUT:
        check_written(w, number, answer);
        break;
    case CALL_GET:
        break;
    }
}

/* -------------------------------------------------------------------- thinking */

static void done(void *context, const struct lockd_answer *answer)
{
    on_done(world_current, (uint32_t)(uintptr_t)context, answer);
}

static void open_session(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    struct rng *rng = &w->agents->rng;
    const struct lockd_session_options options = {
        .size = sizeof options,
        .lease_ms = chance_percent(rng, 40) ? 1000 : (uint32_t)rng_between(rng, 1000, 5000),
        .grace_ms = (uint32_t)rng_between(rng, 1000, 20000),
    };
    *s = (struct seat){.opening = true};
    void *context = begin_call(w, agent, seat, 0, CALL_OPEN);
    call_refused(w, engine_session_open(a->engine, agent_now_ms(w, a), &options, 5000, done,
                                        context, &s->session));
}

static void free_session(struct world *w, struct agent *a, struct seat *s)
{
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        drop_grip(w, a, &s->grips[i]);
    }
    engine_session_free(s->session, agent_now_ms(w, a));
    *s = (struct seat){.session = NULL};
}

static int any_timeout(struct rng *rng)
{
    const uint64_t kind = rng_below(rng, 10);
    return kind < 3 ? 0 : kind < 8 ? (int)rng_between(rng, 50, 4000) : LOCKD_FOR_EVER;
}

static void acquire(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    struct grip *grip = &s->grips[index];
    struct rng *rng = &w->agents->rng;
    const struct lockd_lock_options options = {
        .size = sizeof options,
        .mode = chance_percent(rng, 30) ? LOCKD_SHARED : LOCKD_EXCLUSIVE,
        .create = chance_percent(rng, 95),
    };
    grip->name = (uint32_t)rng_below(rng, SEAT_NAMES);
    grip->asking = true;
    char name[32];
    snprintf(name, sizeof name, "/ls/local/%s", seat_names[grip->name]);
    const int timeout_ms = any_timeout(rng);
    void *context = begin_call(w, agent, seat, index, CALL_ACQUIRE);
    const enum lockd_rc rc = engine_acquire(s->session, agent_now_ms(w, a), name, &options,
                                            timeout_ms, done, context, &grip->lock);
    call_refused(w, rc);
    if (rc != LOCKD_OK) {
        *grip = (struct grip){.lock = NULL};
    }
}

static void release(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[seat].grips[index];
    grip->releasing = true;
    void *context = begin_call(w, agent, seat, index, CALL_RELEASE);
    const enum lockd_rc rc =
        engine_release(grip->lock, agent_now_ms(w, a),
                       (int)rng_between(&w->agents->rng, 500, 8000), done, context);
    call_refused(w, rc);
    if (rc != LOCKD_OK) {
        drop_grip(w, a, grip);
    }
}

static void use_file(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    const bool writes = chance_percent(rng, 60);
    void *context = begin_call(w, agent, seat, 0, writes ? CALL_PUT : CALL_GET);
    char content[16];
    char name[32];
    const int size = snprintf(content, sizeof content, "s%u", w->agents->calls_count);
    const int name_size =
        snprintf(name, sizeof name, "/ls/sim/s%u", (unsigned)rng_below(rng, 3));
    const struct wire_request request = {
        .method = writes ? WIRE_NODE_PUT : WIRE_NODE_GET,
        .name = {.data = name, .size = (size_t)name_size},
        .has_content = writes,
        .content = {.data = content, .size = (size_t)size},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    call_refused(w, engine_call(a->engine, agent_now_ms(w, a),
                                writes ? a->seats[seat].session : NULL, &request,
                                (int)rng_between(rng, 200, 8000), done, context));
}

/* The resource behind the lock takes no token below the highest it has seen; who
 * asks just when the lock is believed in is never refused. */
static void use_lock(struct world *w, const struct agent *a, const struct grip *grip)
{
    if (!w->agents->timely || engine_lock_valid_until_ms(grip->lock) <= agent_now_ms(w, a)) {
        return;
    }
    uint64_t *highest = &w->agents->highest_token[grip->name];
    const uint64_t token = engine_lock_token(grip->lock);
    if (token < *highest) {
        world_fail(w, "fence", "%s is used with token %" PRIu64 " behind token %" PRIu64,
                   seat_names[grip->name], token, *highest);
    }
    *highest = token;
}

static void use_grip(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[seat].grips[index];
    struct rng *rng = &w->agents->rng;
    if (grip->lock == NULL) {
        acquire(w, agent, seat, index);
    } else if (grip->asking) {
        if (chance_percent(rng, 15)) {
            engine_acquire_cancel(grip->lock, agent_now_ms(w, a));
        }
    } else if (!grip->releasing) {
        use_lock(w, a, grip);
        if (chance_percent(rng, 40)) {
            release(w, agent, seat, index);
        } else if (chance_percent(rng, 5)) {
            drop_grip(w, a, grip); /* Freed while held: released in the background. */
        }
    }
}

void seat_use(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    struct rng *rng = &w->agents->rng;
    if (s->session == NULL) {
        open_session(w, agent, seat);
        return;
    }
    const enum lockd_state state = engine_session_state(s->session);
    if (state == LOCKD_EXPIRED || state == LOCKD_CLOSED) {
        free_session(w, a, s);
    } else if (s->opening || s->closing) {
        return;
    } else if (chance_percent(rng, 2)) {
        s->closing = true;
        void *context = begin_call(w, agent, seat, 0, CALL_CLOSE);
        call_refused(w,
                     engine_session_close(s->session, agent_now_ms(w, a), 4000, done, context));
    } else if (chance_percent(rng, 30)) {
        use_file(w, agent, seat);
    } else {
        use_grip(w, agent, seat, (uint32_t)rng_below(rng, SEAT_LOCKS));
    }
}

void seats_killed(struct world *w, uint32_t agent)
{
    struct agents *all = w->agents;
    for (uint32_t i = 1; i <= all->calls_count; i++) {
        struct call *c = &all->calls[i];
        if (c->agent == agent && !c->ended) {
            c->ended = true;
            c->rc = LOCKD_E_UNKNOWN;
            all->open--;
        }
    }
    memset(all->all[agent].seats, 0, sizeof all->all[agent].seats);
}
