/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of the nemesis share.
 */
#ifndef TESTS_SIM_NEMESIS_INTERNAL_H
#define TESTS_SIM_NEMESIS_INTERNAL_H

#include "tests/sim/nemesis.h"
#include "tests/sim/replica.h"

/* Cuts a replica off from all others, both ways. */
void nemesis_cut_off(struct world *w, uint32_t index, uint64_t for_us);

/* Tells all others that its peer port refuses. */
void nemesis_report_gone(struct world *w, const struct replica *gone);

/* ------------------------------------------------------- nemesis_session.c */

void nemesis_orphan(struct world *w);
void nemesis_late_keepalives(struct world *w);

#endif
