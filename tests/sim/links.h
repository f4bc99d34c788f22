/* SPDX-License-Identifier: Apache-2.0
 *
 * links.h -- connections between agents and replicas: octets in order, cut
 * anywhere, late, stalled one way, single, garbled, swallowed by a silent endpoint,
 * left behind by one that is gone, answered by a wrong one, or reset in mid-line.
 *
 * At a replica's end stand the daemon's real gateway and the real wire code.
 */
#ifndef TESTS_SIM_LINKS_H
#define TESTS_SIM_LINKS_H

#include "lockd/service.h"
#include "tests/sim/replica.h"
#include "tests/sim/world.h"

/* Connections of agents have numbers from here on, others lower ones. */
#define LINKS_FIRST (UINT64_C(1) << 40)

struct links;

void links_start(struct world *w);
void links_stop(struct world *w);

/* Dials for an agent, which knows the attempt as `number`. */
uint64_t link_dial(struct world *w, uint32_t agent, uint64_t number, uint32_t replica);

/* The agent closes it, or its process has died. */
void link_close(struct world *w, uint64_t link);

/* It breaks: nothing more comes through, and the agent hears of it. */
void link_break(struct world *w, uint64_t link);

/* How much of `size` the connection takes at once; not 0. */
size_t link_room(struct world *w, uint64_t link, size_t size);

/* The agent sends. */
void link_send(struct world *w, uint64_t link, const void *data, size_t size);

/* What agents send to a replica is held back until then. */
void links_hold(struct world *w, uint32_t replica, uint64_t until_us);

/* What a replica sends to agents is held back until then. */
void links_hold_answers(struct world *w, uint32_t replica, uint64_t until_us);

/* Whatever held octets back is over. */
void links_heal(struct world *w);

/* The process proposes the end of a session. */
void links_expiry_proposed(struct world *w, const struct replica *r, uint64_t session);

/* A replica answers; it tells what was not asked for. */
void links_reply(struct world *w, struct replica *r, const struct service_reply *reply);
void links_event(struct world *w, struct replica *r, const struct service_event *event);

/* Has any connection to the agent carried a gap? */
bool links_told_gap(const struct world *w, uint32_t agent);

#endif
