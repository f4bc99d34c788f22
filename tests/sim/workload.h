/* SPDX-License-Identifier: Apache-2.0
 *
 * workload.h -- clients, and the history they write.
 *
 * Each client works on a few names that all clients share, with some requests
 * outstanding on one connection.  It believes `not_master`, gives a request up
 * at its timeout (the outcome is unknown then) and takes another connection.
 * It retries nothing: an outcome that is unknown stays so.  Every write carries
 * content that no other write has, and every command names its op in the place
 * of the principal, so that the log can be read back without guessing.
 */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "lockd/service.h"
#include "tests/sim/world.h"
#include "tools/check/history.h"

struct workload;

void workload_start(struct world *w);
void workload_stop(struct world *w);

/* A replica answers. */
void workload_reply(struct world *w, struct replica *r, const struct service_reply *reply);

/* The op that a command's principal names; 0: none. */
uint32_t workload_op_of(struct bytes principal);

/* The clients of this replica can't reach it, or can't hear it, until then. */
void workload_cut(struct world *w, uint32_t replica, uint64_t until_us);

uint64_t workload_cut_until_us(const struct world *w, uint32_t replica);

/* One client sends many writes at once to this replica. */
void workload_burst(struct world *w, uint32_t replica);

/* Until then some clients read from this replica, and others write to the rest,
 * as fast as they can. */
void workload_rush(struct world *w, uint32_t replica, uint64_t until_us);

/* Begin nothing more; and has all ended that was begun? */
void workload_quiesce(struct world *w);
bool workload_ended(const struct world *w);

/* Ops begun since the faults ended that were answered with "done". */
uint32_t workload_done_since_heal(const struct world *w);

struct workload_counts {
    uint32_t ops, answered, failed, unknown;
};

struct workload_counts workload_counts(const struct world *w);
struct history *workload_history(struct world *w);

#endif
