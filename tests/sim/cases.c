/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/cases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "paxos/base/mutant.h"
#include "tests/sim/sweep.h"

/* A modest number of seeds: the thousands are for CI, by name of locksim. */
static const struct {
    const char *name;
    uint64_t first, last;
    uint32_t seconds;
    enum plan_profile profile;
} seed_cases[] = {
    {"20 seeds without faults", 1, 20, 30, PROFILE_CALM},
    {"each of 100 answers to sessions is lost in turn", 1, 100, 20, PROFILE_LOSE},
    {"60 seeds with faults", 1001, 1060, 60, PROFILE_SWARM},
    {"5 long seeds with faults", 2001, 2005, 300, PROFILE_SWARM},
    {"a resumed watch is told no change as part of several again", 8, 8, 60, PROFILE_SWARM},
    {"a watch set in a page with older ones is told from now on", 22, 22, 60, PROFILE_SWARM},
    {"one revision is two events, and the connection breaks between", 2, 2, 60, PROFILE_SWARM},
    {"a session closes while calls of its handles wait", 1934, 1934, 60, PROFILE_SWARM},
    {"much is told at once rather than not at all", 2257, 2257, 60, PROFILE_SWARM},
    {"a proclaim that is said again is not said for the next leader", 20682, 20682, 60,
     PROFILE_SWARM},
    {"a lock let go while it is released goes back, refused or not", 1229, 1229, 60,
     PROFILE_SWARM},
};

/* Some of the exhaustive runs: as few as every `sample`-th, of all scenarios or one. */
static const struct {
    const char *name;
    int (*run)(const struct sweep_options *options);
    uint64_t sample;
    uint32_t scenario;
} exhaustive_cases[] = {
    {"a process dies at every 20th point", sweep_run, 20, 0},
    {"every 10th message is lost", oneloss_run, 10, 0},
    {"every 8th graph", digraphs_run, 8, 0},
    {"a wait that the cell ends is told as a time-out", oneloss_run, 1, 13},
};

/* Over real stores. */
static const struct {
    const char *name;
    uint64_t first, last;
} full_cases[] = {
    {"20 full seeds with faults", 1, 20},
    {"a start checkpoints no WAL that the disk lacks", 1000839, 1000839},
    {"... with wild clocks", 1001079, 1001079},
    {"a torn header is no trace of a transaction", 1001462, 1001462},
};

/* Bugs that every seed should catch at once: the checkers are awake. */
static const struct {
    const char *name;
    enum mutant mutant;
} mutant_cases[] = {
    {"a vote before its sync is caught", MUTANT_vote_before_sync},
    {"a read without a confirmation round is caught", MUTANT_read_without_round},
    {"a value that is not carried forward is caught", MUTANT_value_not_carried},
    {"a request that is executed twice is caught", MUTANT_dedupe_not_consulted},
    {"a client that counts its lease too late is caught", MUTANT_client_lease_from_receipt},
    {"a lock-delay that a new master forgets is caught", MUTANT_lock_delay_forgotten},
    {"an event told behind a reply is caught", MUTANT_reply_before_event},
    {"a fence that forgets is caught", MUTANT_fence_forgets},
    {"a leader seen before his word is caught", MUTANT_leader_before_value},
    {"a write that does not wait for those who keep the node is caught",
     MUTANT_cache_ack_not_awaited},
    {"a new master that waits for no caches is caught", MUTANT_caches_not_awaited},
    {"a node that may be kept while it is written is caught", MUTANT_fill_after_invalidate},
    {"a node that is told of to who may not read it is caught", MUTANT_denied_tells},
    {"a read of any replica from too old a state is caught", MUTANT_sequential_behind},
    {"an age counted from the receipt is caught", MUTANT_age_from_receipt},
    {"a founder that waits again for one that is lost is caught", MUTANT_founder_waits_again},
    {"... also if it was told that all agree", MUTANT_agreement_not_believed},
};

/* Bugs of the store, which full seeds catch. */
static const struct {
    const char *name;
    enum mutant mutant;
} full_mutant_cases[] = {
    {"a commit that is not synced is caught", MUTANT_commit_not_synced},
    {"a mark before its value is caught", MUTANT_mark_before_value},
    {"what a failed sync left in the cache is not trusted", MUTANT_cache_trusted},
};

enum {
    SEED_CASES = sizeof seed_cases / sizeof *seed_cases,
    MUTANT_CASES = sizeof mutant_cases / sizeof *mutant_cases,
    FULL_CASES = sizeof full_cases / sizeof *full_cases,
    FULL_MUTANT_CASES = sizeof full_mutant_cases / sizeof *full_mutant_cases,
    EXHAUSTIVE_CASES = sizeof exhaustive_cases / sizeof *exhaustive_cases,
    TWICE_SEEDS = 5,
    MUTANT_SEEDS = 300,
};

static bool report(unsigned *count, bool good, const char *name)
{
    printf("%sok %u - %s\n", good ? "" : "not ", ++*count, name);
    fflush(stdout);
    return good;
}

static bool run_seeds(const struct pool_options *options, size_t i)
{
    struct pool_options pool = *options;
    pool.run = (struct run_options){
        .seconds = seed_cases[i].seconds, .profile = seed_cases[i].profile, .blind = true};
    pool.first = seed_cases[i].first;
    pool.last = seed_cases[i].last;
    pool.keep_going = true;
    struct pool_result result;
    pool_run(&pool, &result);
    return pool_good(&result);
}

static bool run_full(const struct pool_options *options, size_t i)
{
    struct pool_options pool = *options;
    pool.run = (struct run_options){.seconds = 60, .full = true};
    pool.first = full_cases[i].first;
    pool.last = full_cases[i].last;
    pool.keep_going = true;
    struct pool_result result;
    pool_run(&pool, &result);
    return pool_good(&result);
}

static bool run_exhaustive(const struct pool_options *options, size_t i)
{
    struct sweep_options sweep = {.pool = *options,
                                  .sample = exhaustive_cases[i].sample,
                                  .scenario = exhaustive_cases[i].scenario,
                                  .quiet = true};
    sweep.pool.keep_going = true;
    return exhaustive_cases[i].run(&sweep) == EXIT_SUCCESS;
}

static bool mutant_dies(const struct pool_options *options, enum mutant mutant, bool full)
{
    struct pool_options pool = *options;
    pool.run = (struct run_options){.seconds = 60, .full = full};
    pool.first = 1;
    pool.last = MUTANT_SEEDS;
    pool.keep_going = false;
    pool.silent = true;
    struct pool_result result;
    mutant_active = mutant;
    pool_run(&pool, &result);
    mutant_active = MUTANT_none;
    printf("# by %s, in seed %" PRIu64 "\n", result.check, result.first_failure);
    return result.failures > 0;
}

/* Same seed, same world, event by event. */
static bool same_twice(bool full)
{
    const struct run_options options = {.seconds = 60, .full = full};
    for (uint64_t seed = 1; seed <= TWICE_SEEDS; seed++) {
        struct run_result first, second;
        run_seed(seed, &options, &first);
        run_seed(seed, &options, &second);
        if (!first.good || !second.good || first.trace_hash != second.trace_hash) {
            printf("# seed %" PRIu64 ": %016" PRIx64 ", then %016" PRIx64 "\n", seed,
                   first.trace_hash, second.trace_hash);
            return false;
        }
    }
    return true;
}

int cases_run(const struct pool_options *options)
{
    unsigned count = 0;
    bool good = true;
    printf("1..%d\n",
           SEED_CASES + MUTANT_CASES + EXHAUSTIVE_CASES + FULL_CASES + FULL_MUTANT_CASES + 2);
    for (size_t i = 0; i < SEED_CASES; i++) {
        good &= report(&count, run_seeds(options, i), seed_cases[i].name);
    }
    for (size_t i = 0; i < EXHAUSTIVE_CASES; i++) {
        good &= report(&count, run_exhaustive(options, i), exhaustive_cases[i].name);
    }
    for (size_t i = 0; i < FULL_CASES; i++) {
        good &= report(&count, run_full(options, i), full_cases[i].name);
    }
    good &= report(&count, same_twice(/* full= */ false), "the same seed gives the same trace");
    good &=
        report(&count, same_twice(/* full= */ true), "the same full seed gives the same trace");
    for (size_t i = 0; i < MUTANT_CASES; i++) {
        good &= report(&count, mutant_dies(options, mutant_cases[i].mutant, /* full= */ false),
                       mutant_cases[i].name);
    }
    for (size_t i = 0; i < FULL_MUTANT_CASES; i++) {
        good &=
            report(&count, mutant_dies(options, full_mutant_cases[i].mutant, /* full= */ true),
                   full_mutant_cases[i].name);
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
