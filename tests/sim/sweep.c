/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One run: a scene, broken at a point. */
struct run {
    uint32_t scene;
    uint32_t point; /* From 1; 0: not broken. */
    enum breakage how;
    bool later; /* Who died is away for a while. */
};

/* What all runs are about.  Workers are forked, and share it. */
static struct {
    const char *mode;
    struct run *runs;
    uint64_t count, capacity;
} sweep;

static struct points points;
static bool full; /* Over real stores. */

static void set(struct world *w, void *context)
{
    const struct run *run = context;
    script_plan(&w->plan, &sweep_scenes[run->scene]);
    w->plan.full = full;
    points.counting = false;
    points.count = 0;
    points.broken = run->point;
    points.how = run->how;
    points.later = run->later;
    w->points = &points;
}

static void live(struct world *w, void *context)
{
    const struct run *run = context;
    script_play(w, &sweep_scenes[run->scene]);
    if (points.count < run->point) {
        world_fail(w, "points", "the scene has only %u points", points.count);
    }
}

static void describe(const struct run *run, char *text, size_t size)
{
    snprintf(text, size, "%s (scenario %u)%s", sweep_scenes[run->scene].name, run->scene + 1,
             run->point == 0 ? ", not broken" : "");
}

static void run_one(struct run *run, bool tracing, struct run_result *ret_result)
{
    const struct play play = {.set = set, .live = live, .context = run};
    run_world(run->scene + 1, tracing, &play, ret_result);
    describe(run, ret_result->plan, sizeof ret_result->plan);
}

/* ------------------------------------------------------------------- the pool */

static void play_number(uint64_t number, const struct run_options *options,
                        struct run_result *ret_result)
{
    run_one(&sweep.runs[number - 1], options->tracing, ret_result);
}

static void replay_number(uint64_t number, char *text, size_t size)
{
    const struct run *run = &sweep.runs[number - 1];
    snprintf(text, size, "%s --scenario %u --point %u --kind %s%s", sweep.mode, run->scene + 1,
             run->point, points_break_name(run->how), run->later ? " --later" : "");
}

static void add(struct run run)
{
    if (sweep.count == sweep.capacity) {
        sweep.capacity = sweep.capacity == 0 ? 4096 : 2 * sweep.capacity;
        sweep.runs = sim_resize(sweep.runs, sweep.capacity * sizeof *sweep.runs);
    }
    sweep.runs[sweep.count++] = run;
}

/* Numbers the points of a scene; false: it fails without being broken. */
static bool count_points(const struct sweep_options *options, uint32_t scene, unsigned ways)
{
    struct run run = {.scene = scene};
    struct run_result result;
    run_one(&run, /* tracing= */ false, &result);
    if (!result.good) {
        printf("%s FAILED unbroken  %s: %s\n  replay  %s %s --scenario %u --point 0 --trace\n",
               result.plan, result.check, result.text, options->pool.command, sweep.mode,
               scene + 1);
        return false;
    }
    uint32_t runs = 0;
    for (uint32_t point = 1; point <= points.count; point++) {
        const unsigned possible = points.possible[point - 1] & ways;
        for (enum breakage how = 0; how < BREAKS; how++) {
            for (int later = 0;
                 (possible >> how & 1) != 0 && later < (how == BREAK_LOSS ? 1 : 2); later++) {
                add((struct run){
                    .scene = scene, .point = point, .how = how, .later = later != 0});
                runs++;
            }
        }
    }
    if (!options->quiet) {
        printf("%4u  %-48s %5u points %6u runs\n", scene + 1, sweep_scenes[scene].name,
               points.count, runs);
    }
    return true;
}

/* Keeps one of each `sample` runs that follow each other, each time the next of them: all
 * ways of breaking are in every sample, and all runs in the samples of all offsets. */
static void take_sample(const struct sweep_options *options)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < sweep.count; i++) {
        if ((i + i / options->sample) % options->sample == options->offset % options->sample) {
            sweep.runs[kept++] = sweep.runs[i];
        }
    }
    sweep.count = kept;
}

static int replay(const struct sweep_options *options)
{
    struct run run = {.scene = options->scenario - 1,
                      .point = options->point,
                      .how = options->how,
                      .later = options->later};
    struct run_result result;
    run_one(&run, options->pool.run.tracing, &result);
    printf("%s: %s%s%s\n", result.plan, result.good ? "good" : result.check,
           result.good ? "" : ": ", result.text);
    return result.good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print_totals(const struct sweep_options *options, uint64_t all,
                         const struct pool_result *result)
{
    if (!options->quiet) {
        printf("%" PRIu64 " runs, %" PRIu64 " failed, of %" PRIu64 " (--sample %" PRIu64
               " --offset %" PRIu64 "); %.1f virtual hours in %.1f s\n",
               result->seeds, result->failures, all, options->sample,
               options->offset % options->sample, (double)result->virtual_us / 3.6e9,
               result->seconds);
    }
}

int sweep_scenes_run(const struct sweep_options *options, unsigned ways, const char *mode)
{
    sweep.mode = mode;
    sweep.count = 0;
    full = options->pool.run.full;
    if (options->one) {
        return replay(options);
    }
    bool good = true;
    for (uint32_t scene = 0; scene < SCENES && good; scene++) {
        if (options->scenario == 0 || options->scenario == scene + 1) {
            good = count_points(options, scene, ways);
        }
    }
    if (!good) {
        return EXIT_FAILURE;
    }
    const uint64_t all = sweep.count;
    take_sample(options);
    struct pool_options pool = options->pool;
    pool.first = 1;
    pool.last = sweep.count;
    pool.play = play_number;
    pool.replay = replay_number;
    struct pool_result result;
    pool_run(&pool, &result);
    print_totals(options, all, &result);
    return result.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int sweep_run(const struct sweep_options *options)
{
    return sweep_scenes_run(options,
                            1U << BREAK_BEFORE | 1U << BREAK_AFTER | 1U << BREAK_TORN |
                                1U << BREAK_UNSYNCED,
                            "--sweep");
}
