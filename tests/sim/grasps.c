/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/agents_internal.h"

void grasp_drop(struct world *w, struct agent *a, struct grasp *grasp)
{
    if (grasp->handle != NULL) {
        engine_handle_free(grasp->handle, agent_now_ms(w, a));
    }
    *grasp = (struct grasp){.handle = NULL};
}

static void open_handle(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grasp *grasp = &a->seats[seat].grasps[index];
    struct rng *rng = &w->agents->rng;
    const uint32_t name = NAME_GRASPS + (uint32_t)rng_below(rng, NAMES - NAME_GRASPS);
    const bool makes = chance_percent(rng, 80);
    const struct lockd_open_options options = {
        .size = sizeof options,
        .create = !makes                   ? 0
                  : name == NAME_DIRECTORY ? LOCKD_DIRECTORY
                                           : LOCKD_FILE,
        .ephemeral = makes && name < NAME_EPHEMERALS_END,
        .exclusive = makes && chance_percent(rng, 10),
    };
    char text[AGENT_NAME_MAX];
    *grasp = (struct grasp){.name = name, .opening = true};
    void *context = agent_call_begin(w, agent, seat, index, CALL_GRASP);
    agent_call_newest(w)->name = name;
    const int timeout_ms = (int)rng_between(rng, 200, 6000);
    agent_call_within(w, timeout_ms);
    const enum lockd_rc rc = engine_open(a->seats[seat].session, agent_now_ms(w, a),
                                         agent_name(agent_names[name], text), &options,
                                         timeout_ms, agent_call_done, context, &grasp->handle);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        *grasp = (struct grasp){.handle = NULL};
    }
}

static void close_handle(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grasp *grasp = &a->seats[seat].grasps[index];
    grasp->closing = true;
    void *context = agent_call_begin(w, agent, seat, index, CALL_LET_GO);
    const enum lockd_rc rc =
        engine_close_handle(grasp->handle, agent_now_ms(w, a), 4000, agent_call_done, context);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        grasp_drop(w, a, grasp);
    }
}

static void call_handle(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    static const struct {
        enum wire_method method;
        enum call_kind kind;
    } calls[] = {{WIRE_NODE_GET, CALL_GRASP_READ},
                 {WIRE_NODE_STAT, CALL_GRASP_READ},
                 {WIRE_NODE_PUT, CALL_GRASP_PUT},
                 {WIRE_NODE_PUT, CALL_GRASP_PUT},
                 {WIRE_NODE_DELETE, CALL_GRASP_DELETE}};
    struct agent *a = &w->agents->all[agent];
    const struct grasp *grasp = &a->seats[seat].grasps[index];
    struct rng *rng = &w->agents->rng;
    const uint64_t which = rng_below(rng, sizeof calls / sizeof *calls);
    const bool writes = calls[which].kind == CALL_GRASP_PUT;
    char content[16];
    void *context = agent_call_begin(w, agent, seat, index, calls[which].kind);
    agent_call_newest(w)->instance = engine_handle_instance(grasp->handle);
    agent_call_newest(w)->is_get = calls[which].method == WIRE_NODE_GET;
    const bool keeps = calls[which].kind == CALL_GRASP_READ && a->seats[seat].caches;
    const int size = snprintf(content, sizeof content, "s%u", w->agents->calls_count);
    const struct wire_request request = {
        .method = calls[which].method,
        .cache = keeps && chance_percent(rng, 60),
        .has_content = writes,
        .content = {.data = content, .size = writes ? (size_t)size : 0},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    agent_call_begun(w, engine_handle_call(grasp->handle, agent_now_ms(w, a), &request,
                                           (int)rng_between(rng, 200, 6000), agent_call_done,
                                           context));
}

void grasp_use(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grasp *grasp = &a->seats[seat].grasps[index];
    struct rng *rng = &w->agents->rng;
    if (grasp->handle == NULL) {
        open_handle(w, agent, seat, index);
    } else if (grasp->opening || grasp->closing) {
        if (agents_are_fickle(w)) {
            grasp_drop(w, a, grasp);
        }
    } else if (engine_handle_instance(grasp->handle) == 0 || chance_percent(rng, 5)) {
        grasp_drop(w, a, grasp); /* Closed in the background. */
    } else if (chance_percent(rng, 20)) {
        close_handle(w, agent, seat, index);
    } else {
        call_handle(w, agent, seat, index);
    }
}
