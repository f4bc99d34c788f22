/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of the connections share: links.c is about what their octets
 * mean, links_pipe.c about how they travel, odd.c about who else may answer.
 */
#ifndef TESTS_SIM_LINKS_INTERNAL_H
#define TESTS_SIM_LINKS_INTERNAL_H

#include <assert.h>

#include "libclient/wire.h"
#include "lockd/gateway.h"
#include "tests/sim/agents.h"
#include "tests/sim/links.h"
#include "tests/sim/links_watch.h"

/* What travels in one direction.  An event says how far it has come. */
struct pipe {
    char *data;
    size_t size, capacity;
    size_t taken; /* Delivered. */
    uint64_t last_at_us;
    uint64_t stalled_until_us;
    uint64_t slower_us; /* Than the other direction. */
};

/* A request that has not been answered. */
struct question {
    uint64_t tag;
    uint64_t session, request;
    uint64_t min_revision; /* Of a sequential read. */
    bool waited; /* A KeepAlive that could be read while the process was away. */
    bool removes_watches;
    bool names_node;
    struct bytes path;
    uint64_t *watches; /* That it adds; owned. */
    uint32_t watches_count;
    char id[WIRE_ID_MAX + 1];
    size_t id_size;
};

struct link_of_agent {
    uint32_t agent, replica;
    uint64_t number; /* As the agent knows it. */
    uint64_t life;   /* Of the replica's process; 0: not connected. */
    bool closed;     /* At the agent's end. */
    bool forgotten;  /* At the replica's. */
    bool silent;     /* Accepted by something that never reads, or broken. */
    bool torn;       /* Nothing more enters it; what is in it arrives. */
    bool dribbles;   /* Takes and gives one octet at a time. */
    bool half_open;  /* That the agent has gone, nobody tells the replica. */
    bool slow;       /* As the service knows it ... */
    bool was_slow;   /* ... and ever did. */
    struct pipe up, down;
    struct wire_buffer fill; /* An answer that waits for an event to overtake it. */
    struct link_watches watches;
    struct question *open;
    uint32_t open_count, open_capacity;
};

struct links {
    struct rng rng;
    struct link_of_agent *all; /* By number, from LINKS_FIRST. */
    uint64_t count, capacity;
    uint64_t tags;
    uint64_t answers;                              /* To requests of sessions. */
    uint32_t reset_ppm, stall_ppm, silent_ppm;     /* Of answers, answers, connections. */
    uint32_t brink_ppm;                            /* Of answers to KeepAlives. */
    uint32_t overtake_ppm;                         /* Of answers that may be kept. */
    uint32_t tear_ppm;                             /* Of what is sent, either way. */
    uint32_t garble_ppm;                           /* Of what replicas send. */
    uint32_t odd_ppm;                              /* Of requests: see odd.c. */
    uint32_t dribble_ppm, half_open_ppm, slow_ppm; /* Of connections. */
    uint32_t octets;                               /* That a connection holds. */
    uint64_t held_until_us[AGENTS_MAX];            /* What an agent sends arrives no sooner. */
    uint64_t dumb_until_us[PLAN_REPLICAS_MAX];     /* What a replica says does not. */
    bool gap_agents[AGENTS_MAX];
    struct gateway *gateways[PLAN_REPLICAS_MAX];
    struct wire_memory memory;
    struct wire_buffer buffer;
};

static inline struct link_of_agent *link_at(struct world *w, uint64_t link)
{
    assert(link >= LINKS_FIRST && link - LINKS_FIRST < w->links->count);
    return &w->links->all[link - LINKS_FIRST];
}

/* ------------------------------------------------------------ links_pipe.c */

/* How often connections go wrong in this world. */
void links_draw(struct world *w, bool calm);

/* What is in the links' buffer leaves for the agent. */
void link_send_down(struct world *w, uint64_t link);

/* What is in the buffer is held until an event has overtaken it, but not for long: such an
 * answer says by its number that it is older.  False: it is to be sent. */
bool link_hold_fill(struct world *w, uint64_t link, bool cached);
void link_release_fill(struct world *w, uint64_t link);

/* The agent will hear that it broke. */
void link_reset(struct world *w, uint64_t link);

/* ------------------------------------------------------------------- odd.c */

/* Somebody else than this cell's replica answers, who knows the protocol and little
 * else.  False: the replica may have the request. */
bool odd_answer(struct world *w, uint64_t link, const struct wire_request *wire);

/* ----------------------------------------------------------------- links.c */

/* The octets up to `b` of the connection `a` have arrived. */
void links_on_up(struct world *w, const struct event *event);

/* The unread octets may be too many, or few enough. */
void links_on_fullness(struct world *w, const struct event *event);

#endif
