/* SPDX-License-Identifier: Apache-2.0
 *
 * script.h -- a small world in which certain things happen, one after another.
 *
 * A scene has lanes that go their ways at the same time: one for each agent, which
 * here does as it is told, and one for the director, who strikes replicas.  In a lane
 * each step begins when the one before it has ended and said what the script expects,
 * so that a scene goes on, later, whatever one process or message it loses.
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include "libclient/lockd.h"
#include "tests/sim/world.h"

enum script_verb {
    SCRIPT_END,
    SCRIPT_MEET, /* Waits for all lanes of the scene that meet at `number`. */

    /* Agents.  `name` is a number of agent_names, `number` the lock, handle or watch of the
     * agent, `ms` the patience of a call (0: ample). */
    SCRIPT_OPEN, /* A session; `ms` is its lease. */
    SCRIPT_CLOSE,
    SCRIPT_ACQUIRE, /* `delay_ms`: the lock-delay. */
    SCRIPT_CAMPAIGN,
    SCRIPT_RELEASE,
    SCRIPT_PUT, /* In "/ls/sim". */
    SCRIPT_GET,
    SCRIPT_MAKE,  /* A directory. */
    SCRIPT_GRASP, /* Opens an ephemeral node. */
    SCRIPT_LET_GO,
    SCRIPT_WATCH, /* All there is. */
    SCRIPT_DROP,  /* The connection breaks. */
    SCRIPT_KILL,  /* The process is killed. */

    /* The director.  He strikes when there is a master. */
    SCRIPT_COUNT,       /* From here on points are counted. */
    SCRIPT_SERVED,      /* Waits until there is a master. */
    SCRIPT_BURST,       /* A client sends many writes to the master. */
    SCRIPT_KILL_MASTER, /* It comes back `ms` later. */
    SCRIPT_KILL_FOLLOWER,
    SCRIPT_KILL_ALL,
    SCRIPT_LEAVE,  /* The master is shut down; it comes back `ms` later. */
    SCRIPT_STOP,   /* The master is stopped for `ms`. */
    SCRIPT_DEAFEN, /* What the master sends is lost for `ms`. */
    SCRIPT_VERBS
};

enum { SCRIPT_STEPS_MAX = 24, SCRIPT_DIRECTOR = 3, SCRIPT_LANES };

struct script_step {
    uint32_t lane; /* An agent, or the director. */
    enum script_verb verb;
    uint32_t wait_ms; /* After the step before. */
    uint32_t name, number, ms, delay_ms;
    enum lockd_rc expect;
    bool go_on; /* The next step doesn't wait for its end. */
};

struct scene {
    const char *name;
    uint32_t clients;         /* Plain ones, that write and read meanwhile. */
    uint32_t pipeline_max;    /* Their requests outstanding; 0: one. */
    uint32_t sync_us_max;     /* 0: a fast disk. */
    uint32_t late_ms;         /* The third founder is so late. */
    uint32_t keepalives_busy; /* As in the plan. */
    struct script_step steps[SCRIPT_STEPS_MAX];
};

/* The plan of a scene: three replicas with firm leases, and nothing bad by itself. */
void script_plan(struct plan *plan, const struct scene *scene);

/* Plays it from now on, until all lanes have ended; then all is well, the cell works,
 * and the whole is judged. */
void script_play(struct world *w, const struct scene *scene);

#endif
