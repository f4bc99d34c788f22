/* SPDX-License-Identifier: Apache-2.0
 *
 * net.h -- the network between replicas.
 *
 * Messages travel as real frames: encoded where they leave, decoded where they
 * arrive.  A link is one direction between two replicas.  It can be cut (what is
 * sent is lost), clogged (what is sent waits), slow, or reset (what is in flight
 * is lost), each by itself, so that A may hear B while B doesn't hear A.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "paxos/codec.h"
#include "tests/sim/world.h"

struct link {
    bool cut;
    uint64_t clogged_until_us;
    uint64_t slower_us;  /* Added to every delay. */
    uint64_t resets;     /* A frame that was sent before the last one is lost. */
    uint64_t last_at_us; /* When the newest frame arrives; keeps the order. */
};

struct net {
    struct rng rng;
    struct link links[PLAN_REPLICAS_MAX][PLAN_REPLICAS_MAX]; /* [from][to], by index. */
    struct paxos_decoded *decoded;                           /* The frame being delivered. */
};

void net_start(struct world *w);
void net_stop(struct world *w);

/* Sends to replica message->to.  The message is copied into a frame. */
void net_send(struct world *w, const struct paxos_message *message);

/* Loses all that is in flight on the link. */
void net_reset(struct world *w, uint32_t from, uint32_t to);

/* All links good and empty of old trouble; what waits is let go. */
void net_heal(struct world *w);

/* A delay as the plan has them. */
uint64_t net_delay_us(struct world *w, struct rng *rng);

#endif
