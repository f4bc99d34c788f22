/* SPDX-License-Identifier: Apache-2.0
 *
 * nemesis.h -- brings about the faults that the plan allows.
 */
#ifndef TESTS_SIM_NEMESIS_H
#define TESTS_SIM_NEMESIS_H

#include "tests/sim/world.h"

/* Strikes from now until nemesis_end(). */
void nemesis_start(struct world *w);

/* All is well from now on: everybody up, links good, disks and clocks honest. */
void nemesis_end(struct world *w);

#endif
