/* SPDX-License-Identifier: Apache-2.0
 *
 * world.h -- virtual time, and everything that lives in it.
 *
 * One seed is one world: a heap of events, a true time in microseconds, and
 * generators of chance that nobody else touches.  Nothing in a world knows of
 * the machine it runs on, so the same seed gives the same world, event by event.
 *
 *     plan      what this seed is about: how many replicas, which faults
 *     nemesis   brings the faults about, at their times
 *     net       frames between replicas
 *     disk      what a replica keeps, and what a crash leaves of it
 *     replica   the daemon's loop around the real service
 *     workload  clients without sessions, and the history they write
 *     agents    clients with sessions and locks, on the real client engine
 *     links     their connections, and the real gateway at the end of each
 *     audit     the checkers that look on at every step
 *     run       the phases of a world's life
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "paxos/base/rng.h"
#include "tests/sim/plan.h"

#define WORLD_NEVER UINT64_MAX
#define WORLD_MS UINT64_C(1000)
#define WORLD_SECOND UINT64_C(1000000)

struct world;

/* Something that happens at `at_us`.  What `data`, `a` and `b` mean is between
 * whoever adds it and `run`, which owns `data` from then on. */
struct event {
    uint64_t at_us;
    uint64_t order; /* Equal times happen in the order in which they were added. */
    void (*run)(struct world *w, const struct event *event);
    void *data;
    uint64_t a, b;
};

enum { WORLD_FAILURE_MAX = 768 };

struct world {
    uint64_t seed;
    struct plan plan;

    uint64_t now_us;
    struct event *heap;
    uint32_t heap_count, heap_capacity;
    uint64_t events; /* How many have been added, and run. */
    uint64_t events_run;

    struct rng chance; /* Of the nemesis and of whatever has no own generator. */
    bool healed;       /* The faults are over: the liveness phase. */
    uint32_t hurt;     /* Set of replicas, by bit, that are not healed with the rest. */

    struct net *net;
    struct audit *audit;
    struct workload *workload;
    struct agents *agents;
    struct links *links;
    struct replica *replicas[PLAN_REPLICAS_MAX]; /* plan.replicas of them. */
    struct points *points; /* Counted, and where to break; NULL: neither. */

    bool tracing;
    uint64_t trace_hash; /* Of all that happened: equal worlds, equal hashes. */

    jmp_buf escape; /* Where world_fail() goes. */
    const char *failed_check;
    char failure[WORLD_FAILURE_MAX];
};

void world_init(struct world *w, uint64_t seed, bool tracing);
void world_free(struct world *w);

/* At `at_us`, or now if that is past. */
void world_at(struct world *w, uint64_t at_us, struct event event);

/* Runs the next event; false when there is none left before `until_us`, to
 * which the time then moves. */
bool world_step(struct world *w, uint64_t until_us);

static inline bool world_hurt(const struct world *w, uint32_t index)
{
    return (w->hurt >> index & 1) != 0;
}

/* A check failed: the end of this world. */
_Noreturn void world_fail(struct world *w, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------- trace */

/* Mixes what happened into the hash of the trace. */
static inline void world_mix(struct world *w, uint64_t value)
{
    w->trace_hash = (w->trace_hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    w->trace_hash ^= w->trace_hash >> 29;
}

/* Who does something in the trace: a replica by its id, or one of these. */
enum {
    WORLD_ITSELF = 0,
    WORLD_AGENT = 100,  /* And the agent's index. */
    WORLD_CLIENT = 200, /* And the client's. */
};

/* One line of the readable trace: time, who, what, where that replica stands (its
 * role, ballot, promise and chosen slot), and the rest.  Ask w->tracing first, it is
 * cheaper. */
void world_trace(struct world *w, unsigned who, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The plan, and the names of the columns. */
void world_trace_head(const struct world *w, const char *plan);

/* ------------------------------------------------------------------ chance */

static inline bool chance_ppm(struct rng *rng, uint32_t ppm)
{
    return ppm > 0 && rng_below(rng, 1000000) < ppm;
}

static inline bool chance_percent(struct rng *rng, uint32_t percent)
{
    return rng_below(rng, 100) < percent;
}

/* The world that a failed assertion of the core ends; NULL outside of runs. */
extern struct world *world_current;

/* Memory, or the end of the process. */
void *sim_allocate(size_t size);
void *sim_resize(void *memory, size_t size);

#endif
