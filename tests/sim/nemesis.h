/* SPDX-License-Identifier: Apache-2.0
 *
 * nemesis.h -- brings about the faults that the plan allows.
 */
#ifndef TESTS_SIM_NEMESIS_H
#define TESTS_SIM_NEMESIS_H

#include "tests/sim/world.h"

/* Strikes from now until nemesis_end(). */
void nemesis_start(struct world *w);

/* All is well from now on: everybody up, links good, disks and clocks honest; or
 * a random majority of them, if the plan is spoiled. */
void nemesis_end(struct world *w);

/* What it does to the disks of a full world. */
void nemesis_disk_draw(struct plan *plan, uint64_t seed);

#endif
