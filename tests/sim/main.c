/* SPDX-License-Identifier: Apache-2.0
 *
 * locksim -- whole cells of the real paxos/, lease/ and service code, under
 * faults, on virtual time, from a seed.  docs/testing.md explains its output.
 */
#include <argp.h>
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "paxos/base/mutant.h"
#include "tests/sim/cases.h"
#include "tests/sim/pool.h"
#include "tests/sim/sweep.h"

enum mutant mutant_active = MUTANT_none;

static const struct {
    const char *name, *text;
} mutants[] = {[MUTANT_none] = {"none", "nothing is broken"},
#define NAME(name, text) [MUTANT_##name] = {#name, text},
               MUTANT_MAP(NAME)
#undef NAME
};

/* An assertion of the core is a check like any other: it names the seed. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    if (world_current != NULL) {
        world_fail(world_current, "assertion", "%s:%u: %s: %s", file, line, function,
                   assertion);
    }
    fprintf(stderr, "locksim: %s:%u: %s: assertion failed: %s\n", file, line, function,
            assertion);
    abort();
}

/* ----------------------------------------------------------------- options */

enum option_key {
    OPTION_SEED = 1000,
    OPTION_SEEDS,
    OPTION_COUNT,
    OPTION_SECONDS,
    OPTION_FULL,
    OPTION_MINUTES,
    OPTION_TRACE,
    OPTION_MUTANT,
    OPTION_JOBS,
    OPTION_LIST_MUTANTS,
    OPTION_PROFILE,
    OPTION_KEEP_GOING,
    OPTION_TAP,
    OPTION_HASH,
    OPTION_BLIND,
    OPTION_TABLE,
    OPTION_SOMETIMES,
    OPTION_REQUIRE_SOMETIMES,
    OPTION_SWEEP,
    OPTION_ONE_LOSS,
    OPTION_DIGRAPHS,
    OPTION_SAMPLE,
    OPTION_OFFSET,
    OPTION_SCENARIO,
    OPTION_POINT,
    OPTION_KIND,
    OPTION_LATER,
};

static const struct argp_option option_table[] = {
    {"seed", OPTION_SEED, "N", 0, "Run one seed", 0},
    {"seeds", OPTION_SEEDS, "A-B", 0, "Run the seeds from A to B", 0},
    {"count", OPTION_COUNT, "N", 0, "Run the seeds from 1 to N (default: 100)", 0},
    {"seconds", OPTION_SECONDS, "S", 0, "Virtual seconds of a seed (default: 60)", 0},
    {"minutes", OPTION_MINUTES, "M", 0,
     "Run seeds for M minutes of real time, from the first on, and add up", 0},
    {"full", OPTION_FULL, NULL, 0, "Real stores, on disks that fail", 0},
    {"trace", OPTION_TRACE, NULL, 0, "Print what happens, one line an event", 0},
    {"mutant", OPTION_MUTANT, "NAME", 0, "Break the core in this way", 0},
    {"list-mutants", OPTION_LIST_MUTANTS, NULL, 0, "Print the names of the mutants", 0},
    {"jobs", OPTION_JOBS, "N", 0, "Processes (default: 2)", 0},
    {"profile", OPTION_PROFILE, "NAME", 0,
     "swarm (default); calm: no faults; lose: calm, but the N-th answer to a session is "
     "lost in seed N",
     0},
    {"keep-going", OPTION_KEEP_GOING, NULL, 0, "Run all seeds, whatever fails", 0},
    {"hash", OPTION_HASH, NULL, 0, "Print the hash of each seed's trace", 0},
    {"sometimes", OPTION_SOMETIMES, NULL, 0, "Print in how many seeds what was met", 0},
    {"require-sometimes", OPTION_REQUIRE_SOMETIMES, NULL, 0,
     "The same, and fail when something was met in none", 0},
    {"sweep", OPTION_SWEEP, NULL, 0,
     "In each of twenty scenarios a process dies at every point, in every way", 1},
    {"one-loss", OPTION_ONE_LOSS, NULL, 0, "In each of them every message is lost, one a run",
     1},
    {"digraphs", OPTION_DIGRAPHS, NULL, 0, "Replicas are connected in every way there is", 1},
    {"sample", OPTION_SAMPLE, "K", 0, "Of these runs take every K-th", 1},
    {"offset", OPTION_OFFSET, "N", 0,
     "Which of them, modulo K (default: the day, so that all have their turn)", 1},
    {"scenario", OPTION_SCENARIO, "N", 0, "Only scenario N", 1},
    {"point", OPTION_POINT, "P", 0, "Only its point P (0: break nothing), or graph P", 1},
    {"later", OPTION_LATER, NULL, 0, "Who dies comes back when others have gone on", 1},
    {"kind", OPTION_KIND, "WAY", 0, "before, after, torn, unsynced or loss", 1},
    {"blind", OPTION_BLIND, NULL, 0, "Judge every seed also without a look at indices", 0},
    {"table", OPTION_TABLE, NULL, 0,
     "Print what calls came to under which faults, and fail when a cell is empty", 0},
    {"tap", OPTION_TAP, NULL, 0, "Run the named cases of the test suite", 0},
    {0},
};

struct options {
    struct pool_options pool;
    struct sweep_options sweep;
    int (*exhaust)(const struct sweep_options *options); /* NULL: seeds. */
    bool tap, hash, list;
    bool sometimes, require_sometimes;
    bool table;
};

static uint64_t number(const char *text, char **ret_end, struct argp_state *state)
{
    const uint64_t value = strtoull(text, ret_end, 10);
    if (*ret_end == text) {
        argp_error(state, "`%s' is not a number", text);
    }
    return value;
}

static uint64_t whole_number(const char *text, struct argp_state *state)
{
    char *end;
    const uint64_t value = number(text, &end, state);
    if (*end != '\0') {
        argp_error(state, "`%s' is not a number", text);
    }
    return value;
}

static void parse_range(const char *text, struct options *o, struct argp_state *state)
{
    char *end;
    o->pool.first = number(text, &end, state);
    if (*end != '-') {
        argp_error(state, "`%s' is not a range A-B", text);
    }
    o->pool.last = whole_number(end + 1, state);
}

static void parse_mutant(const char *name, struct argp_state *state)
{
    for (int i = 0; i < MUTANT_count; i++) {
        if (strcmp(name, mutants[i].name) == 0) {
            mutant_active = (enum mutant)i;
            return;
        }
    }
    argp_error(state, "there is no mutant `%s'; see --list-mutants", name);
}

static void parse_profile(const char *name, struct options *o, struct argp_state *state)
{
    if (strcmp(name, "calm") == 0) {
        o->pool.run.profile = PROFILE_CALM;
    } else if (strcmp(name, "lose") == 0) {
        o->pool.run.profile = PROFILE_LOSE;
    } else if (strcmp(name, "swarm") == 0) {
        o->pool.run.profile = PROFILE_SWARM;
    } else {
        argp_error(state, "there is no profile `%s'", name);
    }
}

static error_t parse_exhaustive(int key, const char *argument, struct options *o,
                                struct argp_state *state)
{
    switch (key) {
    case OPTION_SWEEP:
        o->exhaust = sweep_run;
        break;
    case OPTION_ONE_LOSS:
        o->exhaust = oneloss_run;
        break;
    case OPTION_DIGRAPHS:
        o->exhaust = digraphs_run;
        break;
    case OPTION_SAMPLE:
        o->sweep.sample = whole_number(argument, state);
        if (o->sweep.sample == 0) {
            argp_error(state, "a sample is of every K-th run, from 1");
        }
        break;
    case OPTION_OFFSET:
        o->sweep.offset = whole_number(argument, state);
        break;
    case OPTION_SCENARIO:
        o->sweep.scenario = (uint32_t)whole_number(argument, state);
        if (o->sweep.scenario == 0 || o->sweep.scenario > SCENES) {
            argp_error(state, "scenarios have numbers from 1 to %d", (int)SCENES);
        }
        break;
    case OPTION_POINT:
        o->sweep.point = (uint32_t)whole_number(argument, state);
        o->sweep.one = true;
        break;
    case OPTION_KIND:
        if (!points_break_named(argument, &o->sweep.how)) {
            argp_error(state, "nothing breaks by `%s'", argument);
        }
        break;
    case OPTION_LATER:
        o->sweep.later = true;
        break;
    case ARGP_KEY_END:
        if (o->sweep.one && o->exhaust != digraphs_run && o->sweep.scenario == 0) {
            argp_error(state, "a point belongs to a scenario");
        }
        if (o->sweep.one && o->exhaust == digraphs_run && o->sweep.point == 0) {
            argp_error(state, "graphs have numbers from 1");
        }
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPTION_SEED:
        o->pool.first = o->pool.last = whole_number(argument, state);
        break;
    case OPTION_SEEDS:
        parse_range(argument, o, state);
        break;
    case OPTION_COUNT:
        o->pool.first = 1;
        o->pool.last = whole_number(argument, state);
        break;
    case OPTION_SECONDS:
        o->pool.run.seconds = (uint32_t)whole_number(argument, state);
        if (o->pool.run.seconds < 20 || o->pool.run.seconds > 3600) {
            argp_error(state, "a seed takes 20 to 3600 virtual seconds");
        }
        break;
    case OPTION_MINUTES:
        o->pool.minutes = (uint32_t)whole_number(argument, state);
        if (o->pool.minutes == 0 || o->pool.minutes > 10000) {
            argp_error(state, "a run takes 1 to 10000 minutes");
        }
        break;
    case OPTION_FULL:
        o->pool.run.full = true;
        break;
    case OPTION_TRACE:
        o->pool.run.tracing = true;
        break;
    case OPTION_MUTANT:
        parse_mutant(argument, state);
        break;
    case OPTION_LIST_MUTANTS:
        o->list = true;
        break;
    case OPTION_JOBS:
        o->pool.jobs = (uint32_t)whole_number(argument, state);
        break;
    case OPTION_PROFILE:
        parse_profile(argument, o, state);
        break;
    case OPTION_KEEP_GOING:
        o->pool.keep_going = true;
        break;
    case OPTION_HASH:
        o->hash = true;
        break;
    case OPTION_REQUIRE_SOMETIMES:
        o->require_sometimes = true;
        o->sometimes = true;
        break;
    case OPTION_SOMETIMES:
        o->sometimes = true;
        break;
    case OPTION_BLIND:
        o->pool.run.blind = true;
        break;
    case OPTION_TABLE:
        o->table = true;
        break;
    case OPTION_TAP:
        o->tap = true;
        break;
    default:
        return parse_exhaustive(key, argument, o, state);
    }
    return 0;
}

/* -------------------------------------------------------------------- runs */

static void list_mutants(void)
{
    for (int i = 1; i < MUTANT_count; i++) {
        printf("%-28s %s\n", mutants[i].name, mutants[i].text);
    }
}

static int print_hashes(const struct options *o)
{
    for (uint64_t seed = o->pool.first; seed <= o->pool.last; seed++) {
        struct run_result result;
        run_seed(seed, &o->pool.run, &result);
        if (!result.good) {
            printf("seed %" PRIu64 " FAILED  %s: %s\n", seed, result.check, result.text);
            return EXIT_FAILURE;
        }
        printf("seed %" PRIu64 "  %016" PRIx64 "  %" PRIu64 " events, %" PRIu64
               " slots, %u ops\n",
               seed, result.trace_hash, result.events, result.slots, result.ops);
    }
    return EXIT_SUCCESS;
}

static const char *const profile_words[] = {
    [PROFILE_SWARM] = "",
    [PROFILE_CALM] = " --profile calm",
    [PROFILE_LOSE] = " --profile lose",
};

/* What replays a failing seed, as it was called here. */
static const char *replay_command(const char *program, const struct options *o, char *text,
                                  size_t size)
{
    snprintf(text, size, "%s%s%s%s%s", program, o->pool.run.full ? " --full" : "",
             mutant_active == MUTANT_none ? "" : " --mutant ",
             mutant_active == MUTANT_none ? "" : mutants[mutant_active].name,
             profile_words[o->pool.run.profile]);
    return text;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .options = option_table,
        .parser = parse,
        .doc = "Simulates lockd cells under faults, one world a seed, and checks them.",
    };
    struct options o = {.pool = {.run = {.seconds = 60}, .first = 1, .last = 100, .jobs = 2}};
    o.sweep.sample = 1;
    o.sweep.offset = (uint64_t)time(NULL) / (24 * 60 * 60);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    char command[1024];
    o.pool.command = replay_command(argv[0], &o, command, sizeof command);
    if (o.list) {
        list_mutants();
        return EXIT_SUCCESS;
    }
    if (o.exhaust != NULL) {
        o.sweep.pool = o.pool;
        return o.exhaust(&o.sweep);
    }
    if (o.tap) {
        return cases_run(&o.pool);
    }
    if (o.hash) {
        return print_hashes(&o);
    }
    if (o.pool.minutes > 0) {
        o.pool.last = UINT64_MAX;
    }
    if (o.pool.first == o.pool.last || o.pool.run.tracing) {
        o.pool.jobs = 1;
    }
    struct pool_result result;
    pool_run(&o.pool, &result);
    pool_print(&result);
    if (result.failures > 0) {
        printf("first failure: seed %" PRIu64 ", by %s, after %" PRIu64 " seeds\n",
               result.first_failure, result.check, result.seeds);
    }
    const uint32_t missed = o.sometimes ? pool_print_sometimes(&result) : 0;
    if (o.require_sometimes) {
        printf("%d situations, %u never met\n", SOMETIMES_COUNT, missed);
    }
    const uint32_t empty = o.table ? table_print(result.table) : 0;
    if (o.table) {
        printf("%d calls, outcomes and classes of faults, %u cells empty\n", TABLE_CELLS,
               empty);
    }
    const bool good = pool_good(&result) && (missed == 0 || !o.require_sometimes) && empty == 0;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
