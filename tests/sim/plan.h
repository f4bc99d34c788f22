/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.h -- what one seed is about.
 *
 * Swarm testing (Groce and others, ISSTA 2012): a seed that has every fault at
 * once tests mostly that nothing works then.  So each seed draws a shape of
 * cell, a quality of network, disks and clocks, and a random subset of faults.
 *
 * Most faults end, and then the cell must live (G18); in a third of the seeds
 * they never do, and only what is safe is judged.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/types.h"
#include "paxos/base/rng.h"

enum {
    PLAN_REPLICAS_MAX = 5,
    PLAN_CLIENTS_MAX = 8,
    AGENTS_MAX = 3,
    PLAN_HEARTBEAT_MS = 100,
    PLAN_LEASE_MS = 500,
    PLAN_JITTER_MS_MIN = 50,
    PLAN_JITTER_MS_MAX = 150,
    PLAN_DISK_STALL_MS = 2000,
    PLAN_DRIFT_PPM = 10000,
};

/* What the nemesis does from time to time. */
#define FAULT_MAP(X)                                                                           \
    X(FAULT_CUT, "cuts a replica, a pair or a random set of links, also one way")              \
    X(FAULT_CLOG, "holds a replica's incoming or outgoing frames back, then lets them go")     \
    X(FAULT_RESET, "resets links, losing all that is in flight")                               \
    X(FAULT_SLOW, "makes one direction of some links slower")                                  \
    X(FAULT_GRAPH, "leaves of all links only a chain, a star or a ring, perhaps one way")      \
    X(FAULT_CRASH, "kills a replica; it comes back after 0 ms to 5 s")                         \
    X(FAULT_CRASH_ALL, "kills all replicas; each comes back by itself")                        \
    X(FAULT_PAUSE, "stops a process while its clock goes on, then delivers all at once")       \
    X(FAULT_FREEZE, "stops a process and its clock (with firm leases: only with wild clocks)") \
    X(FAULT_STALL, "stalls a disk")                                                            \
    X(FAULT_HAND_OVER, "shuts the master down cleanly")                                        \
    X(FAULT_COUP, "cuts the master off and restarts all others at once")                       \
    X(FAULT_SUCCESSION, "strikes the master again and again, each as soon as it serves")       \
    X(FAULT_CLIENT_CUT, "cuts clients off from a replica")                                     \
    X(FAULT_DUMB, "holds back all that a replica says to agents, while it hears them")         \
    X(FAULT_LOW_SPACE, "fills a disk, which must refuse growth until there is room")           \
    X(FAULT_BURST, "lets one client send many writes at once, and then strikes the master")    \
    X(FAULT_LATE_ACKS, "lets the master's answers come late, cuts it off and then stops it")   \
    X(FAULT_USURP,                                                                             \
      "makes the others believe, wrongly, that the master is gone, while clients "             \
      "rush both (only without firm leases)")                                                  \
    X(FAULT_FALSE_GONE, "reports a living peer as gone (only without firm leases)")            \
    X(FAULT_CLOCK_JUMP, "moves a clock forward (only with wild clocks)")                       \
    X(FAULT_ORPHAN, "leaves a master only its clients, while another begins, then stops them") \
    X(FAULT_LATE_KEEPALIVES, "lets KeepAlives arrive at a master that is away")                \
    X(FAULT_BYGONE,                                                                            \
      "stops a master whose clients keep what it granted, while its successor is rushed")

/* What it does to disks in full mode. */
#define DISK_FAULT_MAP(X)                                                                      \
    X(DISK_FAILS, "lets one of the next calls to a disk fail")                                 \
    X(DISK_CANT_SYNC, "lets one of the next syncs fail")                                       \
    X(DISK_CANT_READ, "lets one of the next reads fail")                                       \
    X(DISK_FULL, "fills a disk up, for a while")                                               \
    X(DISK_FLIP, "flips a bit of a store")                                                     \
    X(DISK_MISPLACE, "puts a page of a store in another's place")

enum disk_fault {
#define DISK_FAULT_ENUM(name, text) name,
    DISK_FAULT_MAP(DISK_FAULT_ENUM)
#undef DISK_FAULT_ENUM
        DISK_FAULTS
};

enum fault {
#define FAULT_ENUM(name, text) name,
    FAULT_MAP(FAULT_ENUM)
#undef FAULT_ENUM
        FAULTS
};

struct plan {
    uint32_t replicas; /* 1, 3 or 5. */
    uint32_t clients;
    bool firm; /* Master leases. */

    bool wild;      /* Clocks break the promise that leases rest on: only what needs no clock
                     * is judged. */
    bool unbounded; /* The faults never end. */
    bool spoiled;   /* When they end, a minority of the replicas stays hurt. */

    /* The network between replicas; clients have the same delays. */
    uint32_t delay_us_min, delay_us_max;
    uint32_t loss_ppm, duplicate_ppm;
    uint32_t replay_us_max; /* How much later a duplicate may come; 0: as any frame. */
    uint32_t damage_ppm;    /* A frame with a flipped bit. */
    uint32_t misvote_ppm;   /* A vote that names another value than its sender wrote. */
    bool reorder;           /* Each frame has a delay of its own. */
    bool outlive;           /* Frames to a process may reach its successor. */

    /* Disks. */
    uint32_t sync_us_min, sync_us_max;

    /* Processes: how long a loop gathers events before its turn; 0: not at all. */
    uint32_t turn_us;
    bool restless; /* Loops wake up for no reason, as they may. */
    bool tight;    /* Small queues and values, so that their limits are met. */
    int32_t rate_ppm[PLAN_REPLICAS_MAX];
    uint64_t clock_base_ms[PLAN_REPLICAS_MAX];
    uint64_t start_us[PLAN_REPLICAS_MAX]; /* When each starts for the first time. */

    /* The cell. */
    uint64_t round_base;      /* The first ballot is above it. */
    uint64_t history_bytes;   /* As little as that resumption finds it trimmed; 0: the usual. */
    bool crowded;             /* Few claims, waiters and openers. */
    uint32_t keepalives_busy; /* So few that leases are stretched; 0: never. */
    uint32_t cache_lease_ms;  /* 0: nobody may keep anything. */
    bool few_kept;            /* As few names as that this limit is met. */
    bool rights;              /* Agents change who may do what. */

    /* Clients. */
    uint32_t think_us_max;
    uint32_t pipeline_max; /* Requests that a client has outstanding. */
    uint32_t timeout_us;
    uint32_t actors; /* Agents, who do what a script says; 0: a few, who do as they like. */

    bool full;            /* Over a real store. */
    uint32_t disk_faults; /* Set of enum disk_fault, by bit; only then. */
    uint32_t disk_fault_every_us;

    uint32_t faults; /* Set of enum fault, by bit. */
    uint32_t fault_every_us;
    uint64_t lose_answer; /* To a request of a session, counted over the world; 0: none. */
};

enum plan_profile {
    PROFILE_SWARM, /* Whatever the seed draws. */
    PROFILE_CALM,  /* No faults at all. */
    PROFILE_LOSE,  /* Calm, but one answer to a session is lost with its connection: the
                    * one whose number is the seed.  So a range of seeds loses each in turn. */
};

/* Draws the plan of a seed. */
void plan_draw(struct plan *plan, struct rng *rng, enum plan_profile profile);

struct lease_limits plan_limits(const struct plan *plan);

/* One line of text about it; at most `size` octets with the NUL. */
const char *plan_describe(const struct plan *plan, char *text, size_t size);

static inline bool plan_has(const struct plan *plan, enum fault fault)
{
    return (plan->faults >> fault & 1) != 0;
}

/* Reads by lease see the newest state only as long as clocks keep their promise. */
static inline bool plan_reads_current(const struct plan *plan)
{
    return !plan->wild || !plan->firm;
}

static inline uint32_t plan_majority(const struct plan *plan)
{
    return plan->replicas / 2 + 1;
}

#endif
