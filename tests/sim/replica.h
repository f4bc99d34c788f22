/* SPDX-License-Identifier: Apache-2.0
 *
 * replica.h -- the daemon around the real service, with its life and deaths.
 *
 * This is what lockd's loop does: feed frames, requests, ticks and reports of
 * the disk to the service; take a turn; send, store and answer what it says.
 * Processes are killed between any two events, and in the midst of a turn
 * between any two sends; they are stopped while their clocks go on; they restart
 * from what their disk kept.
 */
#ifndef TESTS_SIM_REPLICA_H
#define TESTS_SIM_REPLICA_H

#include "lockd/service.h"
#include "tests/sim/clock.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

enum replica_state {
    REPLICA_DOWN,
    REPLICA_UP,
    REPLICA_PAUSED, /* Stopped: no events; its clock goes on, or is frozen. */
};

struct replica {
    uint32_t index; /* Its id is one more. */
    enum replica_state state;
    uint64_t life; /* Counts processes; even without one. */
    bool dark;     /* Down with its machine: nobody refuses connections. */
    bool leaving;  /* Hands over, then ends. */
    bool finished; /* It neither boots nor goes on any more. */
    uint64_t leave_by_us;

    struct service *service;
    struct clock clock;
    struct disk disk;
    uint64_t allocated; /* Octets that the service has and must give back. */

    uint64_t timer_us;          /* When the next tick is due in the heap. */
    bool turn_due;              /* A turn waits in the heap. */
    uint64_t turns;             /* Of this life. */
    uint32_t crash_after_sends; /* Dies at the n-th send from now; 0: doesn't. */

    uint64_t resumed_us;   /* When it last went on. */
    struct event *backlog; /* What came while it was stopped. */
    uint32_t backlog_count, backlog_capacity;

    struct paxos_status status; /* After the last turn. */
};

void replicas_start(struct world *w);
void replicas_stop(struct world *w);

/* Of a world that a check ended: removes what is not memory. */
void replicas_abandon(struct world *w);

/* Makes the store of a founder, and a service from what the disk kept. */
void replica_found(struct world *w, struct replica *r, uint64_t identity);
void replica_load(struct world *w, struct replica *r);

/* A process starts from what the disk kept. */
void replica_boot(struct world *w, struct replica *r);

/* The process is gone at once; `dark`: and so is its machine. */
void replica_crash(struct world *w, struct replica *r, bool dark);

/* Boots, `delay_us` from now, unless it is up by then. */
void replica_boot_later(struct world *w, struct replica *r, uint64_t delay_us);

void replica_pause(struct world *w, struct replica *r, uint64_t for_us);
void replica_freeze(struct world *w, struct replica *r, uint64_t for_us); /* And its clock. */
void replica_resume(struct world *w, struct replica *r);

/* Clean shutdown: ends when it has handed over, at the latest in two seconds;
 * comes back `away_us` later. */
void replica_leave(struct world *w, struct replica *r, uint64_t away_us);

static inline bool replica_is_up(const struct replica *r)
{
    return r->state != REPLICA_DOWN;
}

static inline uint64_t replica_life(const struct replica *r)
{
    return r->life;
}

/* True when the process is stopped: the event, with what it owns, will run when
 * it goes on, before the next event after that. */
bool replica_postpone(struct world *w, struct replica *r, const struct event *event);

/* ------------------------------------------------- what reaches the process */

void replica_receive(struct world *w, struct replica *r, const struct paxos_message *message);
void replica_request(struct world *w, struct replica *r, const struct service_request *request);
void replica_forget(struct world *w, struct replica *r, uint64_t connection);
void replica_slow(struct world *w, struct replica *r, uint64_t connection, bool slow);
void replica_peer_gone(struct world *w, struct replica *r, paxos_id peer);
void replica_durable(struct world *w, struct replica *r, uint64_t ticket);
void replica_set_durable(struct world *w, struct replica *r, uint64_t applied_slot);
void replica_log_was_read(struct world *w, struct replica *r,
                          const struct paxos_wanted *wanted);

/* The master that serves under the highest epoch, or NULL. */
struct replica *replica_master(struct world *w);

static inline uint64_t replica_now_ms(const struct world *w, const struct replica *r)
{
    return clock_ms(&r->clock, w->now_us);
}

#endif
