/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h -- the life of one seed.
 *
 *     founding, faults          safety: every step is checked
 *     all is well               liveness: within bounds, a master serves, every
 *                               op ends, all replicas stand at the same slot
 *                               with the same state
 *     the end                   the history is judged against the final log
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/sometimes.h"
#include "tests/sim/world.h"

struct run_options {
    uint32_t seconds; /* Virtual, both phases together. */
    enum plan_profile profile;
    bool tracing;
};

struct run_result {
    bool good;
    char check[32];               /* Which check failed ... */
    char text[WORLD_FAILURE_MAX]; /* ... and how. */
    char plan[512];
    uint64_t trace_hash;
    uint64_t virtual_us;
    uint64_t events;
    uint64_t slots;
    uint32_t ops, answered, failed, unknown;
    uint32_t masters; /* Masterships that served. */
    uint32_t sometimes[SOMETIMES_COUNT];
};

void run_seed(uint64_t seed, const struct run_options *options, struct run_result *ret_result);

#endif
