/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "paxos/describe.h"
#include "tests/sim/agents.h"
#include "tests/sim/audit.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/net.h"
#include "tests/sim/replica.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"
#include "tools/check/check.h"

enum {
    MASTER_WITHIN_S = 10, /* Of the end of the faults. */
    DONE_AT_LEAST = 20,   /* Ops that succeed then. */
    GRANTED_AT_LEAST = 1, /* Locks. */
    DONE_WITHIN_S = 30,
    DONE_STRETCHED_WITHIN_S = 120, /* Whoever died may hold locks for a stretched lease. */
    CONVERGED_WITHIN_S = 10,
    SETTLED_S = 6,      /* After which no session that is safe is lost. */
    CHANGES_MAX = 1,    /* Of the master, when all is well. */
    TOLD_WITHIN_S = 30, /* Of the last thought; some stand still until then. */
    OVER_WITHIN_S = 30, /* Sessions whose clients were killed. */
    OVER_STRETCHED_WITHIN_S = 120,
};

/* "1: master, chosen 12, applied 12, last 12; 2: ..." */
static const char *describe_replicas(struct world *w, char *text, size_t size)
{
    size_t length = 0;
    for (uint32_t i = 0; i < w->plan.replicas && length < size; i++) {
        const struct replica *r = w->replicas[i];
        const uint64_t applied =
            r->service == NULL ? 0 : lease_position(service_lease(r->service)).slot;
        length +=
            (size_t)snprintf(text + length, size - length,
                             "%s%u: %s, chosen %" PRIu64 ", applied %" PRIu64 ", last %" PRIu64,
                             i == 0 ? "" : "; ", i + 1,
                             r->service == NULL ? "down" : paxos_describe_role(r->status.role),
                             r->status.chosen, applied, r->status.last);
    }
    return text;
}

static void trace_claims(struct world *w)
{
    const struct model *m = audit_model(w);
    for (uint32_t i = 0; w->tracing && i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        const struct bytes path = model_of(m, claim->instance)->path;
        world_trace(w, 0, "claim", "%.*s  session %016" PRIx64 " request %" PRIu64 "  %s",
                    (int)path.size, (const char *)path.data, claim->session, claim->request,
                    claim->held      ? "holds"
                    : claim->delayed ? "failed"
                                     : "waits");
    }
}

void run_until(struct world *w, bool (*holds)(struct world *w), uint32_t within_s,
               const char *what)
{
    const uint64_t deadline_us = w->now_us + within_s * WORLD_SECOND;
    while (!holds(w)) {
        if (!world_step(w, deadline_us)) {
            char text[WORLD_FAILURE_MAX / 2];
            trace_claims(w);
            world_fail(w, "liveness", "%u s were not enough: %s (%s)", within_s, what,
                       describe_replicas(w, text, sizeof text));
        }
        audit_step(w);
    }
}

static bool master_serves(struct world *w)
{
    const struct replica *master = replica_master(w);
    return master != NULL && !world_hurt(w, master->index);
}

static bool enough_done(struct world *w)
{
    return workload_done_since_heal(w) >= DONE_AT_LEAST &&
           agents_granted_since_heal(w) >= GRANTED_AT_LEAST;
}

static bool all_told(struct world *w)
{
    return agents_told(w);
}

static bool all_ended(struct world *w)
{
    return workload_ended(w) && agents_ended(w);
}

/* A session ends with its lease, however often its master changed and its client hung
 * up before it was answered. */
static bool sessions_over(struct world *w)
{
    const struct replica *master = replica_master(w);
    return master != NULL && lease_counts(service_lease(master->service)).sessions == 0;
}

/* All that are well have applied all that anybody has applied, and the master has nothing
 * more under way.  Others may keep old votes that no master will ever ask for. */
static bool converged(struct world *w)
{
    const paxos_slot last = audit_last(w);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct replica *r = w->replicas[i];
        if (world_hurt(w, i)) {
            continue;
        }
        if (!replica_is_up(r) || lease_position(service_lease(r->service)).slot != last ||
            r->status.chosen != last || (r->status.serving && r->status.last != last)) {
            return false;
        }
    }
    return true;
}

static void check_states(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct replica *r = w->replicas[i];
        if (world_hurt(w, i)) {
            continue;
        }
        const struct lease *l = service_lease(r->service);
        lease_check(l);
        if (lease_digest(l) != audit_digest(w, audit_last(w))) {
            world_fail(w, "digest", "replica %u ends with another state", i + 1);
        }
        audit_tables(w, &r->disk);
    }
}

/* A master whose lease outlives its reign answers reads from what was: in order, but
 * not of now. */
static void excuse_reads(struct history *h)
{
    for (uint32_t i = 0; i < h->ops_count; i++) {
        if (!history_writes(h->ops[i].request.type)) {
            h->ops[i].invoked_us = 0;
        }
    }
}

static void judge(struct world *w)
{
    struct history *h = workload_history(w);
    struct check_violation violation;
    audit_log(w, h);
    const uint32_t plain = h->ops_count;
    reads_add_to(w, h);
    if (!plan_reads_current(&w->plan)) {
        excuse_reads(h);
    }
    if (!history_check(h, &violation)) {
        world_fail(w, violation.rule, "%s", violation.text);
    }
    h->ops_count = plain; /* The blind judge has his own of agents. */
}

void run_conclude(struct world *w)
{
    workload_quiesce(w);
    agents_calm(w);
    run_until(w, all_told, TOLD_WITHIN_S, "somebody was not told all that happened");
    agents_quiesce(w);
    run_until(w, all_ended, CONVERGED_WITHIN_S, "an op has not ended");
    run_until(w, sessions_over,
              w->plan.keepalives_busy > 0 ? OVER_STRETCHED_WITHIN_S : OVER_WITHIN_S,
              "a session outlives its client");
    run_until(w, converged, CONVERGED_WITHIN_S, "the replicas have not converged");
    check_states(w);
    judge(w);
}

static void step_until(struct world *w, uint64_t until_us)
{
    while (w->now_us < until_us && world_step(w, until_us)) {
        audit_step(w);
    }
}

/* G18: faults stop, a majority is connected, and within bounds all is as it was
 * meant to be; and stays so until `quiet_us`. */
static void live_well(struct world *w, uint64_t quiet_us)
{
    nemesis_end(w);
    run_until(w, master_serves, MASTER_WITHIN_S, "no master serves");
    run_until(w, enough_done,
              w->plan.keepalives_busy > 0 ? DONE_STRETCHED_WITHIN_S : DONE_WITHIN_S,
              "clients get nothing done");
    const uint32_t masters = audit_masters(w);
    if (w->plan.faults != 0) { /* Agents may still be waiting on connections of before. */
        step_until(w, w->now_us + SETTLED_S * WORLD_SECOND);
    }
    agents_mark_kept(w);
    step_until(w, quiet_us);
    if (audit_masters(w) > masters + CHANGES_MAX) {
        world_fail(w, "liveness", "%u masters began when all was well",
                   audit_masters(w) - masters);
    }
    agents_calm(w);
    run_until(w, agents_answered, DONE_WITHIN_S, "a call that waits for nobody has not ended");
    run_until(w, agents_want_claims, DONE_WITHIN_S, "a session has claims that nobody wants");
    run_conclude(w);
}

static void live(struct world *w, void *context)
{
    const struct run_options *options = context;
    const uint64_t end_us = options->seconds * WORLD_SECOND;
    nemesis_start(w);
    if (w->plan.unbounded) {
        step_until(w, end_us);
        judge(w);
    } else {
        step_until(w, end_us * 3 / 4);
        live_well(w, end_us - 2 * WORLD_SECOND);
    }
    /* Clients know of no order where reads may be stale. */
    if (plan_reads_current(&w->plan) && (options->blind || w->seed % BLIND_ONE_IN == 0)) {
        blind_judge(w);
    }
}

static void report(struct world *w, struct run_result *ret_result)
{
    const struct workload_counts counts = workload_counts(w);
    ret_result->virtual_us = w->now_us;
    ret_result->events = w->events_run;
    ret_result->trace_hash = w->trace_hash;
    ret_result->slots = audit_last(w);
    ret_result->ops = counts.ops;
    ret_result->answered = counts.answered;
    ret_result->failed = counts.failed;
    ret_result->unknown = counts.unknown;
    ret_result->masters = audit_masters(w);
    memcpy(ret_result->sometimes, sometimes_met, sizeof ret_result->sometimes);
    memcpy(ret_result->table, table_counts, sizeof ret_result->table);
    ret_result->blind = blind_counts;
}

static void draw(struct world *w, void *context)
{
    const struct run_options *options = context;
    plan_draw(&w->plan, &w->chance, options->profile);
    w->plan.lose_answer = options->profile == PROFILE_LOSE ? w->seed : 0;
    w->plan.full = options->full;
    if (options->full && options->profile == PROFILE_SWARM) {
        nemesis_disk_draw(&w->plan, w->seed);
    }
}

void run_world(uint64_t seed, bool tracing, const struct play *play,
               struct run_result *ret_result)
{
    static struct world world; /* Survives the jump out of a failed check. */
    struct world *w = &world;
    *ret_result = (struct run_result){.good = false};
    memset(sometimes_met, 0, sizeof sometimes_met);
    blind_counts = (struct check_blind_counts){0};
    table_reset();
    world_init(w, seed, tracing);
    play->set(w, play->context);
    plan_describe(&w->plan, ret_result->plan, sizeof ret_result->plan);
    if (tracing) {
        world_trace_head(w, ret_result->plan);
    }
    world_current = w;
    if (setjmp(w->escape) == 0) {
        net_start(w);
        audit_start(w);
        replicas_start(w);
        workload_start(w);
        links_start(w);
        agents_start(w);
        play->live(w, play->context);
        report(w, ret_result);
        ret_result->good = true;
        agents_stop(w);
        links_stop(w);
        workload_stop(w);
        replicas_stop(w);
        audit_stop(w);
        net_stop(w);
        world_free(w);
    } else {
        /* The world is left as it is: its owner is about to report and end. */
        report(w, ret_result);
        replicas_abandon(w);
        snprintf(ret_result->check, sizeof ret_result->check, "%s", w->failed_check);
        snprintf(ret_result->text, sizeof ret_result->text, "%s", w->failure);
    }
    world_current = NULL;
}

void run_seed(uint64_t seed, const struct run_options *options, struct run_result *ret_result)
{
    struct run_options copy = *options;
    const struct play play = {.set = draw, .live = live, .context = &copy};
    run_world(seed, options->tracing, &play, ret_result);
}
