/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/starve.h"

const char *const agent_names[NAMES] = {"l1", "l2",  "a", "boss", "chief",
                                        "t",  "t/e", "p", "b",    "h"};

const char *agent_name(const char *path, char text[AGENT_NAME_MAX])
{
    return agents_name_in("local", path, text);
}

const char *agents_name_in(const char *cell, const char *path, char text[AGENT_NAME_MAX])
{
    snprintf(text, AGENT_NAME_MAX, "/ls/%s%s%s", cell, *path == '\0' ? "" : "/", path);
    return text;
}

struct bytes agent_path(uint32_t name)
{
    return bytes_of(agent_names[name], strlen(agent_names[name]));
}

bool agents_elects(struct bytes path)
{
    return bytes_equal(path, agent_path(NAME_ELECTIONS)) ||
           bytes_equal(path, agent_path(NAME_ELECTIONS + 1));
}

/* -------------------------------------------------------------------- sessions */

static void changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct world *w = world_current;
    const uint32_t agent = (uint32_t)((uintptr_t)context / SEATS_MAX);
    struct seat *s = &w->agents->all[agent].seats[(uintptr_t)context % SEATS_MAX];
    if (s->session == session) {
        sometimes_if(s->state == LOCKD_JEOPARDY && state == LOCKD_SAFE, jeopardy_then_safe);
        s->state = state;
        if (s->kept && state == LOCKD_EXPIRED) {
            world_fail(w, "liveness", "agent %u loses session %s when all is well", agent,
                       engine_session_id(session));
        }
    }
}

/* Where leases are stretched, some are long enough for that. */
static uint32_t any_lease_ms(struct world *w)
{
    struct rng *rng = &w->agents->rng;
    if (w->plan.keepalives_busy > 0 && chance_percent(rng, 60)) {
        return (uint32_t)rng_between(rng, LEASE_SESSION_MS_DEFAULT, 14000);
    }
    return chance_percent(rng, 40) ? 1000 : (uint32_t)rng_between(rng, 1000, 5000);
}

static void open_session(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    const struct lockd_session_options options = {
        .size = sizeof options,
        .lease_ms = any_lease_ms(w),
        .grace_ms = (uint32_t)rng_between(&w->agents->rng, 1000, 20000),
        .changed = changed,
        .context = (void *)(uintptr_t)(agent * SEATS_MAX + seat),
        .cache = chance_percent(&w->agents->rng, w->agents->caching_percent),
    };
    *s = (struct seat){.opening = true, .caches = options.cache};
    void *context = agent_call_begin(w, agent, seat, 0, CALL_OPEN);
    agent_call_begun(w, engine_session_open(a->engine, agent_now_ms(w, a), &options, 5000,
                                            agent_call_done, context, &s->session));
}

static void free_session(struct world *w, struct agent *a, struct seat *s)
{
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        grip_drop(w, a, s, &s->grips[i]);
    }
    for (uint32_t i = 0; i < SEAT_GRASPS; i++) {
        grasp_drop(w, a, &s->grasps[i]);
    }
    engine_session_free(s->session, agent_now_ms(w, a));
    *s = (struct seat){.session = NULL};
}

/* ----------------------------------------------------------------------- locks */

void grip_drop(struct world *w, struct agent *a, struct seat *s, struct grip *grip)
{
    if (grip->lock != NULL) {
        agents_starve(w);
        engine_lock_free(grip->lock, agent_now_ms(w, a));
        s->leaks |= starve_end();
    }
    *grip = (struct grip){.lock = NULL};
}

static int any_timeout(struct rng *rng)
{
    const uint64_t kind = rng_below(rng, 10);
    return kind < 3 ? 0 : kind < 8 ? (int)rng_between(rng, 50, 4000) : LOCKD_FOR_EVER;
}

static struct lockd_lock_options any_options(struct rng *rng)
{
    return (struct lockd_lock_options){
        .size = sizeof(struct lockd_lock_options),
        .mode = chance_percent(rng, 30) ? LOCKD_SHARED : LOCKD_EXCLUSIVE,
        .create = chance_percent(rng, 95),
        .delay_ms = chance_percent(rng, 50) ? 0 : (uint32_t)rng_between(rng, 100, 8000),
    };
}

/* Of a seat's handle, if it has one that is open; else by name. */
static const struct grasp *any_grasp(struct rng *rng, const struct seat *s)
{
    const struct grasp *grasp = &s->grasps[rng_below(rng, SEAT_GRASPS)];
    const bool open = grasp->handle != NULL && engine_handle_instance(grasp->handle) != 0;
    return open && chance_percent(rng, 30) ? grasp : NULL;
}

static void acquire(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    struct grip *grip = &s->grips[index];
    struct rng *rng = &w->agents->rng;
    const struct lockd_lock_options options = any_options(rng);
    const struct grasp *grasp = any_grasp(rng, s);
    grip->name = grasp != NULL ? grasp->name : (uint32_t)rng_below(rng, NAME_ELECTIONS);
    if (options.mode == LOCKD_SHARED && chance_percent(rng, 10)) {
        grip->name = NAME_ELECTIONS; /* Who shares that lock does not lead. */
        grasp = NULL;
    }
    grip->asking = true;
    char name[AGENT_NAME_MAX];
    agent_name(agent_names[grip->name], name);
    const int timeout_ms = any_timeout(rng);
    void *context = agent_call_begin(w, agent, seat, index, CALL_ACQUIRE);
    agent_call_within(w, timeout_ms);
    agent_call_newest(w)->mode = options.mode == LOCKD_SHARED ? WIRE_SHARED : WIRE_EXCLUSIVE;
    agent_call_newest(w)->name = grip->name;
    /* Some take the lock from the answer. */
    struct lockd_lock **lock = chance_percent(rng, 85) ? &grip->lock : NULL;
    const enum lockd_rc rc =
        grasp != NULL ? engine_handle_acquire(grasp->handle, agent_now_ms(w, a), &options,
                                              timeout_ms, agent_call_done, context, lock)
                      : engine_acquire(s->session, agent_now_ms(w, a), name, &options,
                                       timeout_ms, agent_call_done, context, lock);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        *grip = (struct grip){.lock = NULL};
    }
}

/* Stands for election, with a value that names the call. */
static void campaign(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[seat].grips[index];
    struct rng *rng = &w->agents->rng;
    struct lockd_lock_options options = any_options(rng);
    options.mode = LOCKD_EXCLUSIVE;
    grip->name = NAME_ELECTIONS + (uint32_t)rng_below(rng, NAME_GRASPS - NAME_ELECTIONS);
    grip->asking = true;
    grip->leads = true;
    char name[AGENT_NAME_MAX];
    char value[16];
    const int timeout_ms = any_timeout(rng);
    void *context = agent_call_begin(w, agent, seat, index, CALL_CAMPAIGN);
    agent_call_within(w, timeout_ms);
    agent_call_newest(w)->mode = WIRE_EXCLUSIVE;
    agent_call_newest(w)->name = grip->name;
    const int size = snprintf(value, sizeof value, "s%u", w->agents->calls_count);
    const enum lockd_rc rc = engine_campaign(
        a->seats[seat].session, agent_now_ms(w, a), agent_name(agent_names[grip->name], name),
        value, (size_t)size, &options, timeout_ms, agent_call_done, context, &grip->lock);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        *grip = (struct grip){.lock = NULL};
    }
}

/* Begins a call about a lock that is held. */
static void *begin_held(struct world *w, uint32_t agent, uint32_t seat, uint32_t index,
                        enum call_kind kind)
{
    const struct grip *grip = &w->agents->all[agent].seats[seat].grips[index];
    void *context = agent_call_begin(w, agent, seat, index, kind);
    struct call *c = agent_call_newest(w);
    c->name = grip->name;
    c->token = engine_lock_token(grip->lock);
    c->mode = grip->leads ? WIRE_EXCLUSIVE : 0;
    return context;
}

static void proclaim(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    char value[16];
    struct grip *grip = &a->seats[seat].grips[index];
    void *context = begin_held(w, agent, seat, index, CALL_PROCLAIM);
    const int size = snprintf(value, sizeof value, "s%u", w->agents->calls_count);
    const int timeout_ms = (int)rng_between(&w->agents->rng, 200, 8000);
    agent_call_within(w, timeout_ms);
    agent_call_begun(w, engine_proclaim(grip->lock, agent_now_ms(w, a), value, (size_t)size,
                                        timeout_ms, agent_call_done, context));
}

static void release(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[seat].grips[index];
    grip->releasing = true;
    const int timeout_ms = (int)rng_between(&w->agents->rng, 500, 8000);
    void *context = begin_held(w, agent, seat, index, CALL_RELEASE);
    agent_call_within(w, timeout_ms);
    const enum lockd_rc rc =
        engine_release(grip->lock, agent_now_ms(w, a), timeout_ms, agent_call_done, context);
    agent_call_begun(w, rc);
    if (rc != LOCKD_OK) {
        grip_drop(w, a, &a->seats[seat], grip);
    }
}

/* What stands behind the lock takes no token below the highest it has seen; who
 * asks just when the lock is believed in is never refused.  Who believed in it, and
 * comes late, meets the fence. */
static void use_lock(struct world *w, const struct agent *a, const struct seat *s,
                     const struct grip *grip)
{
    const uint64_t token = engine_lock_token(grip->lock);
    const uint64_t session = strtoull(engine_session_id(s->session), NULL, 16);
    if (engine_lock_valid_until_ms(grip->lock) <= agent_now_ms(w, a)) {
        return;
    }
    resource_use(w, grip->name, token);
    if (!w->agents->timely || audit_gave_up(w, session, agent_path(grip->name), token)) {
        return;
    }
    uint64_t *highest = &w->agents->highest_token[grip->name];
    if (token < *highest) {
        world_fail(w, "fence", "%s is used with token %" PRIu64 " behind token %" PRIu64,
                   agent_names[grip->name], token, *highest);
    }
    *highest = token;
}

static void use_grip(struct world *w, uint32_t agent, uint32_t seat, uint32_t index)
{
    struct agent *a = &w->agents->all[agent];
    struct grip *grip = &a->seats[seat].grips[index];
    struct rng *rng = &w->agents->rng;
    if (grip->lock == NULL && grip->asking) {
        return;
    }
    if (grip->lock == NULL) {
        if (chance_percent(rng, 25)) {
            campaign(w, agent, seat, index);
        } else {
            acquire(w, agent, seat, index);
        }
    } else if (grip->asking || grip->releasing) {
        if (agents_are_fickle(w)) {
            grip_drop(w, a, &a->seats[seat], grip);
        } else if (grip->asking && chance_percent(rng, 15)) {
            engine_acquire_cancel(grip->lock, agent_now_ms(w, a));
        }
    } else {
        use_lock(w, a, &a->seats[seat], grip);
        if (chance_percent(rng, 40)) {
            release(w, agent, seat, index);
        } else if (chance_percent(rng, 5)) {
            grip_drop(w, a, &a->seats[seat], grip); /* Held: released in the background. */
        } else if (grip->leads && chance_percent(rng, 50)) {
            proclaim(w, agent, seat, index);
        }
    }
}

/* ----------------------------------------------------------------------- files */

static void use_file(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    const int timeout_ms = (int)rng_between(rng, 200, 8000);
    const uint32_t file = 1 + (uint32_t)rng_below(rng, SEAT_FILES);
    if (chance_percent(rng, 40)) {
        read_file(w, agent, seat, file, timeout_ms);
        return;
    }
    void *context = agent_call_begin(w, agent, seat, 0, CALL_PUT);
    agent_call_within(w, timeout_ms);
    char content[16];
    char name[32];
    const int size = snprintf(content, sizeof content, "s%u", w->agents->calls_count);
    agent_call_newest(w)->file = file;
    const int name_size = snprintf(name, sizeof name, "/ls/sim/s%u", file - 1);
    const struct wire_request request = {
        .method = WIRE_NODE_PUT,
        .name = {.data = name, .size = (size_t)name_size},
        .has_content = true,
        .content = {.data = content, .size = (size_t)size},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a), a->seats[seat].session,
                                    &request, timeout_ms, agent_call_done, context));
}

/* At the limits of names, and beyond them: of any language, of another cell, of none,
 * and of none at all. */
static const char *any_odd_name(struct rng *rng)
{
    static const char *const names[] = {
        "/ls/local/\u00e9", "/ls/local/\u20ac", "/ls/local/\U0001d11e",
        "/ls/local/ ",      "/ls/local/..",     "/ls/local/a//b",
        "/ls/local/a/",     "/ls/elsewhere/a",  "/ls/",
        "/ls/local",        "local/a",          "x"};
    return names[rng_below(rng, sizeof names / sizeof *names)];
}

/* Makes and deletes what others have open; lists what there is, and who holds what. */
static void use_names(struct world *w, uint32_t agent, uint32_t seat)
{
    static const enum wire_method methods[] = {
        WIRE_NODE_CREATE, WIRE_NODE_DELETE, WIRE_NODE_DELETE, WIRE_LOCK_LIST, WIRE_NODE_LIST};
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    const enum wire_method method = methods[rng_below(rng, sizeof methods / sizeof *methods)];
    const bool reads = method == WIRE_LOCK_LIST || method == WIRE_NODE_LIST;
    const uint32_t index = NAME_GRASPS + (uint32_t)rng_below(rng, NAMES - NAME_GRASPS);
    char text[AGENT_NAME_MAX];
    const char *name = agent_name(agent_names[index], text);
    if (chance_percent(rng, 15)) {
        name = any_odd_name(rng);
    } else if (reads && chance_percent(rng, 50)) {
        name = method == WIRE_LOCK_LIST ? "" : "/ls/local";
    }
    void *context = agent_call_begin(w, agent, seat, 0, CALL_FILE);
    const struct wire_request request = {
        .method = method,
        .name = {.data = name, .size = strlen(name)},
        .kind = index == NAME_DIRECTORY ? WIRE_DIRECTORY : WIRE_FILE,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    /* What plain clients have, too, is changed in sessions only: else it would seem theirs. */
    const bool once = strcmp(agent_names[index], "b") != 0 && chance_percent(rng, 30);
    const int timeout_ms = (int)rng_between(rng, 200, 4000);
    agent_call_within(w, timeout_ms);
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a),
                                    reads || once ? NULL : a->seats[seat].session, &request,
                                    timeout_ms, agent_call_done, context));
}

/* Somebody shows a sequencer, and its receiver asks the cell. */
static void check_sequencer(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    const struct agent *other = &w->agents->all[rng_below(&w->agents->rng, w->agents->count)];
    char name[AGENT_NAME_MAX];
    if (other->sequencer.token == 0) {
        return;
    }
    agent_name(agent_names[other->sequencer.name], name);
    void *context = agent_call_begin(w, agent, seat, 0, CALL_CHECK);
    struct call *c = agent_call_newest(w);
    c->name = other->sequencer.name;
    c->mode = other->sequencer.mode;
    c->token = other->sequencer.token;
    const struct wire_request request = {
        .method = WIRE_LOCK_CHECK,
        .name = {.data = name, .size = strlen(name)},
        .mode = c->mode,
        .token = c->token,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a), NULL, &request, 3000,
                                    agent_call_done, context));
}

/* ------------------------------------------------------------------------ all */

static void close_session(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    void *context = agent_call_begin(w, agent, seat, 0, CALL_CLOSE);
    const enum lockd_rc rc = engine_session_close(a->seats[seat].session, agent_now_ms(w, a),
                                                  4000, agent_call_done, context);
    agent_call_begun(w, rc);
    a->seats[seat].closing = rc == LOCKD_OK;
}

/* It opens or closes still, and is not waited for. */
static void desert(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct seat *s = &a->seats[seat];
    if (!agents_are_fickle(w)) {
        return;
    }
    if (!s->closing && chance_percent(&w->agents->rng, 50)) {
        close_session(w, agent, seat);
    } else {
        free_session(w, a, s);
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
        misuse_ended(w, a, s->session,
                     state == LOCKD_EXPIRED ? LOCKD_E_EXPIRED : LOCKD_E_CLOSED);
        free_session(w, a, s);
        return;
    }
    if (s->opening || s->closing) {
        desert(w, agent, seat);
        return;
    }
    const uint64_t what = rng_below(rng, 100);
    if (what < 2) {
        close_session(w, agent, seat);
    } else if (what == 2 && agents_are_fickle(w)) {
        free_session(w, a, s); /* It ends with its lease. */
    } else if (what < 20) {
        use_file(w, agent, seat);
    } else if (what < 25) {
        use_names(w, agent, seat);
    } else if (what < 30) {
        check_sequencer(w, agent, seat);
    } else if (what < 32) {
        seat_misuse(w, agent, seat);
    } else if (what < 44) {
        read_use(w, agent, seat);
    } else if (what < 53 && w->plan.rights) {
        rights_use(w, agent, seat);
    } else if (what < 68) {
        grasp_use(w, agent, seat, (uint32_t)rng_below(rng, SEAT_GRASPS));
    } else {
        use_grip(w, agent, seat, (uint32_t)rng_below(rng, SEAT_LOCKS));
    }
}
