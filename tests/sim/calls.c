/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/starve.h"
#include "tests/sim/table.h"

const char *agent_call_name(enum call_kind kind)
{
    static const char *const names[] = {
        [CALL_OPEN] = "open session",
        [CALL_CLOSE] = "close session",
        [CALL_ACQUIRE] = "acquire",
        [CALL_CAMPAIGN] = "campaign",
        [CALL_RELEASE] = "release",
        [CALL_PROCLAIM] = "proclaim",
        [CALL_PUT] = "put",
        [CALL_GET] = "get",
        [CALL_FILE] = "name",
        [CALL_CHECK] = "check sequencer",
        [CALL_GRASP] = "open handle",
        [CALL_LET_GO] = "close handle",
        [CALL_GRASP_READ] = "h. read",
        [CALL_GRASP_PUT] = "h. put",
        [CALL_GRASP_DELETE] = "h. delete",
        [CALL_WATCH] = "watch",
        [CALL_READ] = "read",
        [CALL_RIGHTS] = "set ACLs",
    };
    return names[kind];
}

/* Where what the call is about remembers it; NULL: nowhere. */
static uint32_t *about(struct world *w, const struct call *c)
{
    struct agent *a = &w->agents->all[c->agent];
    struct seat *seat = &a->seats[c->seat];
    switch (c->kind) {
    case CALL_OPEN:
        return &seat->call;
    case CALL_ACQUIRE:
    case CALL_CAMPAIGN:
    case CALL_RELEASE:
        return &seat->grips[c->item].call;
    case CALL_GRASP:
    case CALL_LET_GO:
        return &seat->grasps[c->item].call;
    case CALL_WATCH:
        return &a->views[c->item].call;
    case CALL_CLOSE:
    case CALL_PROCLAIM:
    case CALL_PUT:
    case CALL_GET:
    case CALL_FILE:
    case CALL_CHECK:
    case CALL_GRASP_READ:
    case CALL_GRASP_PUT:
    case CALL_GRASP_DELETE:
    case CALL_READ:
    case CALL_RIGHTS:
        break;
    }
    return NULL;
}

void *agent_call_begin(struct world *w, uint32_t agent, uint32_t seat, uint32_t item,
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
                                       .item = item,
                                       .kind = kind,
                                       .begun_us = w->now_us,
                                       .life = all->all[agent].life,
                                       .seen = all->all[agent].seats[seat].seen,
                                       .told = all->all[agent].told};
    all->open++;
    uint32_t *at = about(w, &all->calls[number]);
    if (at != NULL) {
        *at = number;
    }
    if (w->tracing) {
        world_trace(w, WORLD_AGENT + agent, "begins", "seat %u  call %u %s", seat, number,
                    agent_call_name(kind));
    }
    agents_starve(w);
    return (void *)(uintptr_t)number;
}

struct call *agent_call_newest(struct world *w)
{
    return &w->agents->calls[w->agents->calls_count];
}

/* An acquire waits for its end to be confirmed, a campaign for its value too. */
void agent_call_within(struct world *w, int timeout_ms)
{
    struct call *c = agent_call_newest(w);
    const bool acquires = c->kind == CALL_ACQUIRE || c->kind == CALL_CAMPAIGN;
    const uint64_t patience_ms =
        acquires && timeout_ms == 0 ? ENGINE_TRY_MS : (uint64_t)timeout_ms;
    const uint64_t confirmed = c->kind == CALL_CAMPAIGN ? 2 : acquires;
    if (timeout_ms >= 0) {
        c->late_ms = agent_now_ms(w, &w->agents->all[c->agent]) + patience_ms +
                     confirmed * ENGINE_CONFIRM_MS;
    }
}

void calls_check_late(struct world *w, uint32_t agent)
{
    const struct agents *all = w->agents;
    const struct agent *a = &all->all[agent];
    const uint64_t now_ms = agent_now_ms(w, a);
    const uint64_t awake_us = a->stopped_until_us + 4 * ENGINE_CONFIRM_MS * WORLD_MS;
    if (a->stopped_until_us != 0 && w->now_us < awake_us) {
        return; /* What was due while it stood still may begin its confirmation now. */
    }
    for (uint32_t i = all->calls_count; i > 0; i--) {
        const struct call *c = &all->calls[i];
        if (!c->ended && c->agent == agent && c->late_ms != 0 && c->late_ms < now_ms) {
            world_fail(w, "calls", "call %u should have ended %" PRIu64 " ms ago", i,
                       now_ms - c->late_ms);
        }
    }
}

static const enum table_call table_calls[] = {
    [CALL_OPEN] = TABLE_SESSION_OPEN,
    [CALL_CLOSE] = TABLE_SESSION_CLOSE,
    [CALL_ACQUIRE] = TABLE_ACQUIRE,
    [CALL_CAMPAIGN] = TABLE_CAMPAIGN,
    [CALL_RELEASE] = TABLE_RELEASE,
    [CALL_PROCLAIM] = TABLE_PROCLAIM,
    [CALL_PUT] = TABLE_SESSION_PUT,
    [CALL_GET] = TABLE_SESSION_GET,
    [CALL_FILE] = TABLE_NAMES,
    [CALL_CHECK] = TABLE_CHECK,
    [CALL_GRASP] = TABLE_OPEN,
    [CALL_LET_GO] = TABLE_CLOSE,
    [CALL_GRASP_READ] = TABLE_HANDLE_READ,
    [CALL_GRASP_PUT] = TABLE_HANDLE_PUT,
    [CALL_GRASP_DELETE] = TABLE_HANDLE_DELETE,
    [CALL_WATCH] = TABLE_WATCH,
    [CALL_READ] = TABLE_READ,
    [CALL_RIGHTS] = TABLE_RIGHTS,
};

static void count_call(const struct world *w, const struct call *c)
{
    table_ended(w, table_calls[c->kind],
                c->rc == LOCKD_OK          ? TABLE_OK
                : c->rc == LOCKD_E_UNKNOWN ? TABLE_UNKNOWN
                                           : TABLE_REFUSED);
}

/* The library refused the call at once: it was never begun. */
void agent_call_begun(struct world *w, enum lockd_rc rc)
{
    const bool starved = starve_end();
    sometimes_if(starved && rc == LOCKD_E_NO_MEMORY, call_without_memory);
    if (rc == LOCKD_E_NO_MEMORY && !starved) {
        world_fail(w, "calls", "call %u is refused for want of memory, which there is",
                   w->agents->calls_count);
    }
    if (rc != LOCKD_OK) {
        struct call *c = agent_call_newest(w);
        c->ended = true;
        c->rc = rc;
        w->agents->open--;
        count_call(w, c);
    }
}

static bool definite_failure(enum lockd_rc rc)
{
    return rc != LOCKD_OK && rc != LOCKD_E_UNKNOWN;
}

/* ---------------------------------------------------------------------- writes */

/* A campaign writes too, but what it comes to is said of the lock. */
static bool writes(enum call_kind kind)
{
    return kind == CALL_PUT || kind == CALL_GRASP_PUT || kind == CALL_PROCLAIM;
}

static void check_put(struct world *w, uint32_t number)
{
    const struct call *c = &w->agents->calls[number];
    if (writes(c->kind) && c->ended && definite_failure(c->rc) && c->effect.slot != 0) {
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
    sometimes_if(answer->rc == LOCKD_OK && c->masters_told != 0 &&
                     audit_masters(w) > c->masters_told,
                 event_then_failover);
    check_put(w, number);
}

/* The call that wrote "s17" is 17; 0: nobody's. */
static uint32_t writer_of(const struct world *w, struct bytes content)
{
    uint32_t number = 0;
    for (size_t i = 1; i < content.size && content.data[0] == 's' && content.data[i] >= '0' &&
                       content.data[i] <= '9';
         i++) {
        number = number * 10 + (uint32_t)(content.data[i] - '0');
    }
    return number > w->agents->calls_count ? 0 : number;
}

void agent_call_told(struct world *w, struct bytes content)
{
    const uint32_t number = writer_of(w, content);
    if (number != 0 && !w->agents->calls[number].ended) {
        w->agents->calls[number].masters_told = audit_masters(w);
    }
}

void agents_written(struct world *w, struct bytes content, uint64_t instance,
                    struct history_index index)
{
    const uint32_t number = writer_of(w, content);
    struct call *c = &w->agents->calls[number];
    if (number == 0 || (!writes(c->kind) && c->kind != CALL_CAMPAIGN)) {
        world_fail(w, "foreign", "[%" PRIu64 ",%u] holds a put that nobody began", index.slot,
                   index.position);
    }
    if (c->effect.slot != 0) {
        world_fail(w, "at-most-once",
                   "call %u took effect at [%" PRIu64 ",%u] and at [%" PRIu64 ",%u]", number,
                   c->effect.slot, c->effect.position, index.slot, index.position);
    }
    if (c->instance != 0 && c->instance != instance) {
        world_fail(w, "handle",
                   "call %u of a handle on instance %" PRIu64 " wrote instance %" PRIu64,
                   number, c->instance, instance);
    }
    c->effect = index;
    check_put(w, number);
}

/* ----------------------------------------------------------------------- reads */

/* A read sees at least what its session had seen when it began, and what the
 * agent's watches had told. */
static void see(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    struct seat *seat = &w->agents->all[c->agent].seats[c->seat];
    const struct history_index index = {.slot = answer->slot,
                                        .position = (uint32_t)answer->position};
    const bool reads =
        plan_reads_current(&w->plan) &&
        (c->kind == CALL_GET || c->kind == CALL_GRASP_READ || c->kind == CALL_CHECK);
    if (index.slot == 0) {
        return;
    }
    if (reads && history_index_compare(index, c->seen) < 0) {
        world_fail(w, "session-order",
                   "call %u reads at [%" PRIu64 ",%u], behind [%" PRIu64 ",%u]", number,
                   index.slot, index.position, c->seen.slot, c->seen.position);
    }
    if (reads && answer->revision < c->told) {
        world_fail(w, "event-order",
                   "call %u reads at revision %" PRIu64 " behind an event of revision %" PRIu64,
                   number, answer->revision, c->told);
    }
    if (answer->level != LOCKD_STALE && history_index_compare(index, seat->seen) > 0) {
        seat->seen = index;
    }
}

static void check_grasp(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    const struct grasp *grasp = &w->agents->all[c->agent].seats[c->seat].grasps[c->item];
    if (answer->rc == LOCKD_OK && answer->has_stat && answer->stat.instance != c->instance) {
        world_fail(w, "handle",
                   "call %u of a handle on instance %" PRIu64 " speaks of instance %" PRIu64,
                   number, c->instance, answer->stat.instance);
    }
    sometimes_if(answer->rc == LOCKD_E_STALE, handle_stale);
    sometimes_if(answer->rc == LOCKD_OK && audit_masters(w) > grasp->masters,
                 handle_after_failover);
}

static void check_sequencer(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    if (answer->rc != LOCKD_OK) {
        return;
    }
    if (answer->valid != sequencer_valid(w, c, answer->revision)) {
        world_fail(w, "sequencer",
                   "call %u is told that token %" PRIu64 " of %s is %s at revision %" PRIu64,
                   number, c->token, agent_names[c->name],
                   answer->valid ? "valid" : "not valid", answer->revision);
    }
    sometimes_if(answer->valid, sequencer_valid);
    sometimes_if(!answer->valid, sequencer_invalid);
}

/* ------------------------------------------------------------------------- end */

static void on_acquired(struct world *w, struct call *c, struct lockd_lock *lock)
{
    struct agent *a = &w->agents->all[c->agent];
    struct seat *seat = &a->seats[c->seat];
    struct grip *grip = &seat->grips[c->item];
    grip->asking = false;
    if (c->rc != LOCKD_OK) {
        grip_drop(w, a, seat, grip);
        return;
    }
    grip->lock = lock;
    w->agents->granted_since_heal += w->healed;
    c->token = engine_lock_token(grip->lock);
    a->sequencer.name = grip->name;
    a->sequencer.mode = c->mode;
    a->sequencer.token = c->token;
}

static void on_grasped(struct world *w, struct agent *a, struct grasp *grasp, enum lockd_rc rc)
{
    grasp->opening = false;
    grasp->masters = audit_masters(w);
    if (rc != LOCKD_OK) {
        grasp_drop(w, a, grasp);
    }
}

static bool waits_for_others(enum call_kind kind)
{
    return kind == CALL_ACQUIRE || kind == CALL_CAMPAIGN;
}

/* Is what it was about still there?  What was let go meanwhile gets nothing more. */
static bool is_wanted(struct world *w, uint32_t number)
{
    const struct call *c = &w->agents->calls[number];
    uint32_t *at = about(w, c);
    if (at == NULL) {
        return true;
    }
    const bool wanted = *at == number;
    if (wanted) {
        *at = 0;
    } else if (c->rc == LOCKD_OK && (waits_for_others(c->kind) || c->kind == CALL_GRASP)) {
        world_fail(w, "calls", "call %u succeeds, for what has been let go", number);
    }
    sometimes_if(!wanted, call_deserted);
    return wanted;
}

static void end(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    struct call *c = &w->agents->calls[number];
    struct agent *a = &w->agents->all[c->agent];
    struct seat *seat = &a->seats[c->seat];
    if (!is_wanted(w, number)) {
        return;
    }
    switch (c->kind) {
    case CALL_OPEN:
        seat->opening = false;
        break;
    case CALL_ACQUIRE:
    case CALL_CAMPAIGN:
        on_acquired(w, c, answer->lock);
        break;
    case CALL_RELEASE:
        seat->grips[c->item].releasing = false;
        if (!definite_failure(answer->rc) || answer->rc == LOCKD_E_NOT_HELD) {
            grip_drop(w, a, seat, &seat->grips[c->item]);
        }
        break;
    case CALL_PROCLAIM:
        check_written(w, number, answer);
        break;
    case CALL_PUT:
        check_written(w, number, answer);
        break;
    case CALL_GRASP_PUT:
        check_written(w, number, answer);
        check_grasp(w, number, answer);
        break;
    case CALL_GRASP_READ:
        if (answer->cached) {
            agent_read_kept(w, c->agent, seat->grasps[c->item].name, c->is_get, answer);
        }
        check_grasp(w, number, answer);
        break;
    case CALL_GRASP_DELETE:
        check_grasp(w, number, answer);
        break;
    case CALL_CHECK:
        check_sequencer(w, number, answer);
        break;
    case CALL_GRASP:
        on_grasped(w, a, &seat->grasps[c->item], answer->rc);
        break;
    case CALL_LET_GO:
        grasp_drop(w, a, &seat->grasps[c->item]);
        break;
    case CALL_WATCH:
        view_set(w, c->agent, c->item, answer);
        break;
    case CALL_GET:
    case CALL_READ:
        agent_read(w, number, answer);
        break;
    case CALL_CLOSE:
    case CALL_FILE:
    case CALL_RIGHTS:
        break;
    }
}

void agent_call_done(void *context, const struct lockd_answer *answer)
{
    struct world *w = world_current;
    const uint32_t number = (uint32_t)(uintptr_t)context;
    struct call *c = &w->agents->calls[number];
    if (c->ended) {
        world_fail(w, "calls", "call %u ends a second time, with `%s'", number,
                   lockd_strerror(answer->rc));
    }
    c->ended = true;
    c->ended_us = w->now_us;
    c->rc = answer->rc;
    c->valid = answer->valid;
    c->content = writer_of(w, bytes_of(answer->content, answer->content_size));
    w->agents->open--;
    if (w->tracing) {
        world_trace(w, WORLD_AGENT + c->agent, "ended",
                    "seat %u  call %u %s: %s, at [%" PRIu64 ",%" PRIu64 "]  %s", c->seat,
                    number, agent_call_name(c->kind), lockd_strerror(answer->rc), answer->slot,
                    answer->position, answer->detail);
    }
    count_call(w, c);
    see(w, number, answer);
    end(w, number, answer);
}

void calls_killed(struct world *w, uint32_t agent)
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
}

bool agents_answered(struct world *w)
{
    const struct agents *all = w->agents;
    for (uint32_t i = 1; i <= all->calls_count; i++) {
        if (!all->calls[i].ended && !waits_for_others(all->calls[i].kind)) {
            return false;
        }
    }
    return true;
}

bool agents_opening(const struct world *w, struct bytes path)
{
    const struct agents *all = w->agents;
    for (uint32_t i = all->calls_count; i > 0; i--) {
        const struct call *c = &all->calls[i];
        if (!c->ended && c->kind == CALL_GRASP && bytes_equal(path, agent_path(c->name))) {
            return true;
        }
    }
    return false;
}
