/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.h -- runs that leave nothing out.
 *
 *     sweep     in each of twenty scenes a process dies at every point, in every way
 *     one loss  in each of them every frame and every line gets lost, one a run
 *     digraphs  three replicas in each of the 64 ways in which they can be connected,
 *               and five in some
 *
 * docs/testing.md, "Exhaustive runs", says what is asked of them.
 */
#ifndef TESTS_SIM_SWEEP_H
#define TESTS_SIM_SWEEP_H

#include "tests/sim/points.h"
#include "tests/sim/pool.h"
#include "tests/sim/script.h"

struct sweep_options {
    struct pool_options pool; /* Jobs, tracing, keep_going, command. */
    uint64_t sample;          /* Every K-th run; 1: all. */
    uint64_t offset;          /* Which of them. */
    uint32_t scenario;        /* Only this one, from 1; 0: all. */
    bool one;                 /* Only `point`, `how` of it; of digraphs, graph `point`. */
    uint32_t point;
    enum breakage how;
    bool later; /* As in points.h. */
    bool quiet; /* Only failures are printed. */
};

/* Exit statuses. */
int sweep_run(const struct sweep_options *options);
int oneloss_run(const struct sweep_options *options);
int digraphs_run(const struct sweep_options *options);

/* --------------------------------------------------------- sweep_scenarios.c */

enum { SCENES = 20 };
extern const struct scene sweep_scenes[SCENES];

/* ------------------------------------------------------------------- sweep.c */

/* Runs the breakages of the set `ways`, by bit, in all scenes that the options name. */
int sweep_scenes_run(const struct sweep_options *options, unsigned ways, const char *mode);

#endif
