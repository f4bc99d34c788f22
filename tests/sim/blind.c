/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/blind.h"

#include <assert.h>
#include <stdlib.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/workload.h"
#include "tools/check/wgl.h"

struct check_blind_counts blind_counts;

enum { STEPS_MAX = 1000 * 1000 };

/* The calls of agents that concern one name. */
struct calls {
    const struct call *all;
    const uint32_t *numbers; /* By beginning, as they are numbered. */
    uint32_t count;
};

typedef bool calls_step(const void *context, uint32_t place, const struct wgl_state *state,
                        struct wgl_state *ret_state);

static const struct call *call_at(const void *context, uint32_t place)
{
    const struct calls *calls = context;
    return &calls->all[calls->numbers[place]];
}

/* --------------------------------------------------------------- files of seats */

/* The state is the call whose content is there; 0: there is no file. */
static bool step_file(const void *context, uint32_t place, const struct wgl_state *state,
                      struct wgl_state *ret_state)
{
    const struct calls *calls = context;
    const struct call *c = call_at(context, place);
    *ret_state = *state;
    if (c->kind == CALL_GET) {
        return state->a == c->content;
    }
    ret_state->a = calls->numbers[place];
    return true;
}

/* A read tells what is there, or that nothing is; a put did or may have done. */
static bool is_of_file(const struct call *c, uint32_t file)
{
    if (c->file != file) {
        return false;
    }
    return c->kind == CALL_PUT ? !c->ended || c->rc == LOCKD_OK || c->rc == LOCKD_E_UNKNOWN
                               : c->ended && (c->rc == LOCKD_OK || c->rc == LOCKD_E_NO_NODE);
}

/* ------------------------------------------------------------------------ locks */

enum { HELD_BY_NOBODY, HELD_ALONE, HELD_SHARED };

static uint64_t held_as(const struct call *c)
{
    return c->mode == WIRE_SHARED ? HELD_SHARED : HELD_ALONE;
}

/* A holding that nobody heard of: its token is between those that were. */
static bool grant(const struct call *c, const struct wgl_state *state,
                  struct wgl_state *ret_state)
{
    const bool joins =
        c->token == state->a && held_as(c) == HELD_SHARED && state->b == HELD_SHARED;
    *ret_state = (struct wgl_state){.a = c->token, .b = held_as(c)};
    return joins || c->token > state->a;
}

/* The state is the newest token that anybody was granted, and how the lock is held
 * with it, as far as is known: holders also end unheard.  One of those who share it
 * releases it, and it may still be shared. */
static bool step_lock(const void *context, uint32_t place, const struct wgl_state *state,
                      struct wgl_state *ret_state)
{
    const struct call *c = call_at(context, place);
    const bool newest = c->token == state->a;
    const bool held = newest && state->b == held_as(c);
    *ret_state = *state;
    switch (c->kind) {
    case CALL_ACQUIRE:
    case CALL_CAMPAIGN:
        return grant(c, state, ret_state);
    case CALL_RELEASE:
        ret_state->b = state->b == HELD_SHARED ? HELD_SHARED : HELD_BY_NOBODY;
        return newest && state->b != HELD_BY_NOBODY;
    case CALL_PROCLAIM:
        return held;
    case CALL_CHECK:
        ret_state->b = held && !c->valid ? HELD_BY_NOBODY : state->b;
        return c->valid ? held : c->token <= state->a;
    case CALL_OPEN:
    case CALL_CLOSE:
    case CALL_PUT:
    case CALL_GET:
    case CALL_FILE:
    case CALL_GRASP:
    case CALL_LET_GO:
    case CALL_GRASP_READ:
    case CALL_GRASP_PUT:
    case CALL_GRASP_DELETE:
    case CALL_WATCH:
    case CALL_READ:
    case CALL_RIGHTS:
        break;
    }
    assert(/* of a lock */ false);
    return false;
}

/* What didn't succeed, or nobody knows of, leaves nothing that the rest rests on. */
static bool is_of_lock(const struct call *c, uint32_t name)
{
    const bool concerns = c->kind == CALL_ACQUIRE || c->kind == CALL_CAMPAIGN ||
                          c->kind == CALL_RELEASE || c->kind == CALL_PROCLAIM ||
                          c->kind == CALL_CHECK;
    return concerns && c->ended && c->name == name && c->rc == LOCKD_OK && c->token != 0;
}

/* -------------------------------------------------------------------------- all */

static bool observes(const struct call *c)
{
    return c->kind == CALL_GET || c->kind == CALL_PROCLAIM ||
           (c->kind == CALL_CHECK && c->valid);
}

static void judge_name(struct world *w, uint32_t name, calls_step *step,
                       bool (*concerns)(const struct call *c, uint32_t name))
{
    const struct agents *all = w->agents;
    uint32_t *numbers = sim_allocate(((size_t)all->calls_count + 1) * sizeof *numbers);
    struct wgl_op *ops = sim_allocate(((size_t)all->calls_count + 1) * sizeof *ops);
    struct calls calls = {.all = all->calls, .numbers = numbers};
    for (uint32_t i = 1; i <= all->calls_count; i++) {
        const struct call *c = &all->calls[i];
        if (concerns(c, name)) {
            const bool known = c->ended && c->rc != LOCKD_E_UNKNOWN;
            numbers[calls.count] = i;
            ops[calls.count++] = (struct wgl_op){.invoked = c->begun_us,
                                                 .ended = known ? c->ended_us : WGL_NEVER,
                                                 .observes = observes(c)};
        }
    }
    const struct wgl_model model = {.step = step, .context = &calls};
    uint32_t stuck = 0;
    const enum wgl_verdict verdict = wgl_check(ops, calls.count, &model, STEPS_MAX, &stuck);
    blind_counts.names++;
    blind_counts.ops += calls.count;
    blind_counts.undecided += verdict == WGL_UNDECIDED;
    const uint32_t culprit = calls.count > 0 ? numbers[stuck] : 0;
    free(ops);
    free(numbers);
    if (verdict == WGL_VIOLATION) {
        world_fail(w, "blind", "call %u (kind %d, %s) can't have ended so, in whatever order",
                   culprit, (int)all->calls[culprit].kind,
                   lockd_strerror(all->calls[culprit].rc));
    }
}

/* Files that sessions make, write and delete besides. */
static bool is_shared(struct bytes path)
{
    for (uint32_t name = 0; name < NAMES; name++) {
        if (bytes_equal(path, agent_path(name))) {
            return true;
        }
    }
    return bytes_equal(path, bytes_of("d", 1)); /* Whose rights they change. */
}

void blind_judge(struct world *w)
{
    const struct check_blind_rules rules = {.steps_max = STEPS_MAX, .shared = is_shared};
    struct check_violation violation;
    if (!history_check_blind(workload_history(w), &rules, &blind_counts, &violation)) {
        world_fail(w, violation.rule, "%s", violation.text);
    }
    for (uint32_t file = 1; file <= SEAT_FILES; file++) {
        judge_name(w, file, step_file, is_of_file);
    }
    for (uint32_t name = 0; name < NAMES; name++) {
        judge_name(w, name, step_lock, is_of_lock);
    }
}
