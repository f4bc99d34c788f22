/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h -- the life of one seed.
 *
 *     founding, faults          safety: every step is checked
 *     all is well, or so is     liveness: within bounds, a master serves, every
 *     a majority                op ends, no session is lost, all replicas stand
 *                               at the same slot with the same state
 *     the end                   the history is judged against the final log
 *
 * In a third of the seeds the faults go on to the end.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/blind.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/table.h"
#include "tests/sim/world.h"

struct run_options {
    uint32_t seconds; /* Virtual, both phases together. */
    enum plan_profile profile;
    bool full; /* Over real stores. */
    bool tracing;
    bool blind; /* Judge it without indices, too; else one seed in BLIND_ONE_IN. */
};

struct run_result {
    bool good;
    char check[32];               /* Which check failed ... */
    char text[WORLD_FAILURE_MAX]; /* ... and how. */
    char plan[768];
    uint64_t trace_hash;
    uint64_t virtual_us;
    uint64_t events;
    uint64_t slots;
    uint32_t ops, answered, failed, unknown;
    uint32_t masters; /* Masterships that served. */
    uint32_t sometimes[SOMETIMES_COUNT];
    struct check_blind_counts blind;
    uint32_t table[TABLE_CELLS];
};

void run_seed(uint64_t seed, const struct run_options *options, struct run_result *ret_result);

/* ------------------------------------------------- worlds of another kind */

struct play {
    void (*set)(struct world *w, void *context);  /* Its plan, before anything is there. */
    void (*live)(struct world *w, void *context); /* Its life; a failed check ends it. */
    void *context;
};

void run_world(uint64_t seed, bool tracing, const struct play *play,
               struct run_result *ret_result);

/* Steps until the condition holds; fails when that takes too long. */
void run_until(struct world *w, bool (*holds)(struct world *w), uint32_t within_s,
               const char *what);

/* The end of a world in which all is well: nothing more is begun, all ends, and the
 * whole is judged. */
void run_conclude(struct world *w);

#endif
