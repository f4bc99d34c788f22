/* SPDX-License-Identifier: Apache-2.0
 *
 * Cells whose links are cut in all the ways there are.  Of a steady state some links
 * go and stay gone.  Where a majority can still talk, each with each and both ways,
 * there shall soon be a master, who gets things done and stays; where not, at least
 * nothing wrong happens.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/audit.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/net.h"
#include "tests/sim/sweep.h"
#include "tests/sim/workload.h"

enum {
    SMALL = 3,
    SMALL_GRAPHS = 64, /* All: 2 to the number of directed links. */
    SMALL_SEEDS = 6,   /* Each by so many seeds: who is master differs. */
    LARGE = 5,
    LARGE_GRAPHS = 400, /* Some of 2 to the 20th. */
    STEADY_WITHIN_S = 10,
    STEADY_MS = 500,
    SETTLED_MS = 2 * PLAN_LEASE_MS + 500, /* Two leases and an election. */
    STAYS_MS = 10000,
    STEP_MS = 10,
    PROGRESS_MS = 2500, /* Something is chosen in this time, or the master is none. */
    DONE_AT_LEAST = 5,
    DONE_WITHIN_S = 30,
};

struct graph {
    uint32_t replicas;
    uint32_t links; /* Set of those that are up, by bit. */
    uint64_t seed;
};

/* Graphs by number, from 1: all small ones, again and again, then large ones. */
static struct graph graph_at(uint64_t number)
{
    const uint64_t at = number - 1;
    if (at < SMALL_GRAPHS * SMALL_SEEDS) {
        return (struct graph){.replicas = SMALL,
                              .links = (uint32_t)(at % SMALL_GRAPHS),
                              .seed = 1 + at / SMALL_GRAPHS};
    }
    struct rng rng = {.state = number};
    rng.state = rng_next(&rng);
    /* Of two draws all that either has: three quarters of the links are up. */
    const uint64_t links = rng_next(&rng) | rng_next(&rng);
    return (struct graph){
        .replicas = LARGE, .links = (uint32_t)(links >> 20 & 0xfffff), .seed = number};
}

/* The number of a link: those from 0 to 1, 2, ..., then from 1 to 0, 2, ... */
static bool is_up(const struct graph *g, uint32_t from, uint32_t to)
{
    const uint32_t link = from * (g->replicas - 1) + (to < from ? to : to - 1);
    return (g->links >> link & 1) != 0;
}

static bool all_talk(const struct graph *g, uint32_t set)
{
    for (uint32_t a = 0; a < g->replicas; a++) {
        for (uint32_t b = 0; b < g->replicas; b++) {
            if (a != b && (set >> a & 1) != 0 && (set >> b & 1) != 0 && !is_up(g, a, b)) {
                return false;
            }
        }
    }
    return true;
}

static bool majority_talks(const struct graph *g)
{
    for (uint32_t set = 0; set < 1U << g->replicas; set++) {
        if ((uint32_t)__builtin_popcount(set) > g->replicas / 2 && all_talk(g, set)) {
            return true;
        }
    }
    return false;
}

static void describe(const struct graph *g, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%u replicas, %s:", g->replicas,
                                     majority_talks(g) ? "a majority talks" : "none talks");
    for (uint32_t from = 0; from < g->replicas; from++) {
        for (uint32_t to = 0; to < g->replicas && length < size; to++) {
            if (from != to && is_up(g, from, to)) {
                length +=
                    (size_t)snprintf(text + length, size - length, " %u>%u", from + 1, to + 1);
            }
        }
    }
}

/* --------------------------------------------------------------------- life */

static void set(struct world *w, void *context)
{
    const struct graph *g = context;
    plan_draw(&w->plan, &w->chance, PROFILE_CALM);
    w->plan.replicas = g->replicas;
    w->plan.delay_us_min = 100;
    w->plan.delay_us_max = 3000;
    w->plan.sync_us_min = 100;
    w->plan.sync_us_max = 1000;
    w->plan.timeout_us = (uint32_t)WORLD_SECOND;
    w->plan.think_us_max = 200 * WORLD_MS;
    for (uint32_t i = 0; i < PLAN_REPLICAS_MAX; i++) { /* Anybody may be first. */
        w->plan.start_us[i] = rng_below(&w->chance, 20 * WORLD_MS);
    }
}

static bool serves(struct world *w)
{
    return replica_master(w) != NULL;
}

static bool enough_done(struct world *w)
{
    return workload_done_since_heal(w) >= DONE_AT_LEAST;
}

static void run_for(struct world *w, uint32_t ms)
{
    const uint64_t until_us = w->now_us + ms * WORLD_MS;
    while (world_step(w, until_us)) {
        audit_step(w);
    }
}

static void cut(struct world *w, const struct graph *g)
{
    for (uint32_t from = 0; from < g->replicas; from++) {
        for (uint32_t to = 0; to < g->replicas; to++) {
            if (from != to && !is_up(g, from, to)) {
                w->net->links[from][to].cut = true;
                net_reset(w, from, to);
            }
        }
    }
}

/* From now on there is one master, always the same, under whom things are chosen. */
static void expect_steady(struct world *w)
{
    const uint64_t until_us = w->now_us + STAYS_MS * WORLD_MS;
    const struct replica *master = replica_master(w);
    const uint64_t epoch = master == NULL ? 0 : master->status.epoch;
    /* Clients that may keep something are waited for. */
    const uint64_t patience_us = (PROGRESS_MS + w->plan.cache_lease_ms) * WORLD_MS;
    paxos_slot last = audit_last(w);
    uint64_t since_us = w->now_us;
    while (w->now_us < until_us) {
        const struct replica *now = replica_master(w);
        if (now == NULL || now != master || now->status.epoch != epoch) {
            world_fail(w, "liveness", "a majority can talk, and %s",
                       now == NULL ? "no master serves" : "the master has changed again");
        }
        if (audit_last(w) > last) {
            last = audit_last(w);
            since_us = w->now_us;
        } else if (w->now_us - since_us > patience_us) {
            world_fail(w, "liveness", "replica %u serves, and gets nothing done",
                       now->index + 1);
        }
        run_for(w, STEP_MS);
    }
}

static void live(struct world *w, void *context)
{
    const struct graph *g = context;
    run_until(w, serves, STEADY_WITHIN_S, "no master serves");
    run_for(w, STEADY_MS);
    cut(w, g);
    if (w->tracing) {
        world_trace(w, 0, "graph", "links are cut from now on");
    }
    run_for(w, SETTLED_MS);
    if (majority_talks(g)) {
        expect_steady(w);
    } else {
        run_for(w, STAYS_MS / 2);
    }
    nemesis_end(w);
    run_until(w, serves, STEADY_WITHIN_S, "no master serves");
    run_until(w, enough_done, DONE_WITHIN_S, "clients get nothing done");
    run_conclude(w);
}

/* ------------------------------------------------------------------- the pool */

/* Every `sample`-th graph is run, from `offset` on.  Forked workers share this. */
static uint64_t sample = 1, offset;

static struct graph graph_of(uint64_t number)
{
    return graph_at((number - 1) * sample + offset + 1);
}

static void play_number(uint64_t number, const struct run_options *options,
                        struct run_result *ret_result)
{
    struct graph graph = graph_of(number);
    const struct play play = {.set = set, .live = live, .context = &graph};
    run_world(graph.seed, options->tracing, &play, ret_result);
    describe(&graph, ret_result->plan, sizeof ret_result->plan);
}

static void replay_number(uint64_t number, char *text, size_t size)
{
    snprintf(text, size, "--digraphs --point %" PRIu64, (number - 1) * sample + offset + 1);
}

static void print_totals(const struct pool_options *pool, const struct pool_result *result)
{
    uint64_t talking = 0;
    for (uint64_t number = pool->first; number <= pool->last; number++) {
        const struct graph graph = graph_of(number);
        talking += majority_talks(&graph);
    }
    printf("%" PRIu64 " runs, in %" PRIu64 " of which a majority can talk, %" PRIu64
           " failed; %.1f virtual hours in %.1f s\n",
           result->seeds, talking, result->failures, (double)result->virtual_us / 3.6e9,
           result->seconds);
}

int digraphs_run(const struct sweep_options *options)
{
    const uint64_t all = SMALL_GRAPHS * SMALL_SEEDS + LARGE_GRAPHS;
    struct pool_options pool = options->pool;
    sample = options->one ? 1 : options->sample;
    offset = options->one ? options->point - 1 : options->offset % sample;
    pool.first = 1;
    pool.last = options->one ? 1 : (all - offset + sample - 1) / sample;
    pool.play = play_number;
    pool.replay = replay_number;
    struct pool_result result;
    pool_run(&pool, &result);
    if (!options->quiet) {
        print_totals(&pool, &result);
    }
    return result.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
