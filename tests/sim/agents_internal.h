/* SPDX-License-Identifier: Apache-2.0
 *
 * What agents.c (processes and their engines) and seats.c (what they ask for,
 * and what becomes of it) share.
 */
#ifndef TESTS_SIM_AGENTS_INTERNAL_H
#define TESTS_SIM_AGENTS_INTERNAL_H

#include "tests/sim/agents.h"

/* The names of the locks. */
enum { SEAT_NAMES = 3 };
extern const char *const seat_names[SEAT_NAMES];

/* A lock that a seat asked for. */
struct grip {
    struct lockd_lock *lock;
    uint32_t name;
    bool asking, releasing;
};

struct agent;

struct seat {
    struct lockd_session *session;
    struct grip grips[SEAT_LOCKS];
    bool opening, closing;
    struct history_index seen; /* The highest index of any answer. */
};

enum call_kind { CALL_OPEN, CALL_CLOSE, CALL_ACQUIRE, CALL_RELEASE, CALL_PUT, CALL_GET };

/* One call of the library.  Ends exactly once. */
struct call {
    uint32_t agent, seat, grip;
    uint64_t life;
    enum call_kind kind;
    bool ended;
    enum lockd_rc rc;
    struct history_index seen;   /* By the seat when it began. */
    struct history_index effect; /* PUT: where it took effect; slot 0: nowhere yet. */
};

struct agent {
    struct engine *engine; /* NULL: the process is dead. */
    uint64_t life;
    struct clock clock;
    uint64_t link;   /* Of links.h; 0: none. */
    uint64_t number; /* Of the connection, as the engine counts. */
    bool connected;
    uint64_t stopped_until_us;
    uint64_t timer_us;
    struct seat seats[SEATS_MAX];
};

struct agents {
    struct rng rng;
    uint32_t count, seats;
    uint32_t stop_percent, kill_percent;
    uint32_t think_us_max;
    struct agent all[AGENTS_MAX];
    struct call *calls; /* By number, from 1. */
    uint32_t calls_count, calls_capacity;
    uint32_t open;
    uint32_t granted_since_heal;
    bool quiet, timely;
    uint64_t highest_token[SEAT_NAMES]; /* That the resource behind each lock has seen. */
};

static inline uint64_t agent_now_ms(const struct world *w, const struct agent *a)
{
    return clock_ms(&a->clock, w->now_us);
}

/* A seat does something, or nothing. */
void seat_use(struct world *w, uint32_t agent, uint32_t seat);

/* The process has died, and all its calls with it. */
void seats_killed(struct world *w, uint32_t agent);

#endif
