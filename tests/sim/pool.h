/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.h -- many seeds, on several processes.
 *
 * A worker is a process because a seed may end it: an assertion of the core, a
 * sanitizer's report, an endless loop.  Whatever it was, the seed that was under
 * way is known, and the others go on.
 *
 * One seed in a hundred runs twice.  When the traces differ, something but the seed
 * has a say in what happens, and the check that failed is `twice`.
 */
#ifndef TESTS_SIM_POOL_H
#define TESTS_SIM_POOL_H

#include "tests/sim/run.h"

struct pool_options {
    struct run_options run;
    uint64_t first, last; /* Seeds. */
    uint32_t jobs;
    uint32_t minutes;    /* Real, after which no more seeds begin; 0: all of them do. */
    bool keep_going;     /* After a failure. */
    bool silent;         /* Failures are expected: print none. */
    const char *command; /* What replays a seed, before " --seed N". */

    /* Runs of another kind, numbered from 1 like seeds; both or neither. */
    void (*play)(uint64_t number, const struct run_options *run, struct run_result *ret_result);
    void (*replay)(uint64_t number, char *text, size_t size); /* The options for one. */
};

struct pool_result {
    uint64_t seeds, failures, twice; /* So many ran a second time: equal traces. */
    uint64_t virtual_us, events, slots, ops, answered, failed, unknown, masters;
    uint64_t first_failure;              /* Seed; with failures > 0. */
    char check[32];                      /* That it broke. */
    double seconds;                      /* Real. */
    uint64_t sometimes[SOMETIMES_COUNT]; /* Seeds that met each situation. */
    uint64_t blind_names, blind_ops, blind_undecided;
    uint64_t table[TABLE_CELLS];
};

void pool_run(const struct pool_options *options, struct pool_result *ret_result);

/* Nothing failed, and enough was decided. */
bool pool_good(const struct pool_result *result);

/* A few lines about it. */
void pool_print(const struct pool_result *result);

/* Which situations were met, and in how many seeds; how many were not. */
uint32_t pool_print_sometimes(const struct pool_result *result);

#endif
