/* SPDX-License-Identifier: Apache-2.0
 *
 * damage.h -- what no honest disk, log or peer gives to the pure machines.
 *
 * Checksums keep damage out, and behind them stand decoders and loaders that trust
 * nothing all the same.  Here they are given what a replica really has, with one
 * thing changed, apart from the world, of which nothing moves.  They must refuse it,
 * or make of it something sound; whatever they do, no memory stays behind.
 */
#ifndef TESTS_SIM_DAMAGE_H
#define TESTS_SIM_DAMAGE_H

#include "tests/sim/replica.h"

/* The rows of its tables, the commands of its log, its votes and its promise. */
void damage_store(struct world *w, const struct replica *r);

/* A frame that is about to leave. */
void damage_frame(struct world *w, struct bytes frame);

#endif
