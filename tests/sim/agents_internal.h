/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of the agents share; agents.h says which does what.
 */
#ifndef TESTS_SIM_AGENTS_INTERNAL_H
#define TESTS_SIM_AGENTS_INTERNAL_H

#include "tests/sim/agents.h"
#include "tests/sim/stream.h"

/* All names that agents lock: first those of locks, then of elections, then those
 * that are opened: an ephemeral directory, a file in it, another, and two that
 * stay.  "a" and "b" are also files of the plain clients. */
enum {
    NAME_LOCKS = 0,
    NAME_ELECTIONS = 3,
    NAME_GRASPS = 5,
    NAMES = 10,
    NAME_DIRECTORY = NAME_GRASPS,
    NAME_EPHEMERALS_END = NAME_GRASPS + 3,
};
extern const char *const agent_names[NAMES];

enum { AGENT_NAME_MAX = 32, SEAT_FILES = 3 };

/* A lock that a seat asked for. */
struct grip {
    struct lockd_lock *lock;
    uint32_t name;
    uint32_t call; /* Under way about it, by number; 0: none. */
    bool asking, releasing, leads;
};

/* A handle. */
struct grasp {
    struct lockd_handle *handle;
    uint32_t name;
    uint32_t call; /* As above. */
    bool opening, closing;
    uint32_t masters; /* When it was opened. */
};

/* A watch. */
struct view {
    struct lockd_watch *watch;
    uint32_t call; /* As above. */
    struct stream stream;
    uint64_t from; /* LEASE_ANY: from when it was set. */
    bool asking, polled, content, old;
    uint32_t masters; /* When it was told last. */
};

/* An observer. */
struct sight {
    struct lockd_observer *observer;
    uint32_t name;
    bool polled;
    uint64_t revision, token; /* As told last. */
    struct bytes value;
};

struct agent;

struct seat {
    struct lockd_session *session;
    struct grip grips[SEAT_LOCKS];
    struct grasp grasps[SEAT_GRASPS];
    uint32_t call; /* That opens it; 0: it has ended. */
    bool opening, closing;
    bool leaks;  /* Short of memory, the library kept a lock that was let go. */
    bool kept;   /* It must not be lost any more. */
    bool caches; /* What it reads may be kept. */
    uint32_t last_read;
    enum lockd_state state;
    struct history_index seen; /* The highest index of any answer. */
};

enum call_kind {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_ACQUIRE,
    CALL_CAMPAIGN,
    CALL_RELEASE,
    CALL_PROCLAIM,
    CALL_PUT,
    CALL_GET,
    CALL_FILE, /* Made, deleted, listed: nothing is known of what should come. */
    CALL_CHECK,
    CALL_GRASP,
    CALL_LET_GO,
    CALL_GRASP_READ,
    CALL_GRASP_PUT,
    CALL_GRASP_DELETE,
    CALL_WATCH,
    CALL_READ,
    CALL_RIGHTS,
};

/* One call of the library.  Ends exactly once. */
struct call {
    uint32_t agent, seat, item; /* Which grip, grasp or view. */
    uint64_t life;
    enum call_kind kind;
    bool ended;
    enum lockd_rc rc;
    uint64_t begun_us, ended_us; /* True time. */
    uint64_t late_ms;            /* By the agent's clock: it must have ended before; 0: none. */
    struct history_index seen;   /* By the seat when it began, ... */
    uint64_t told;               /* ... and by the agent's watches. */
    struct history_index effect; /* PUT: where it took effect; slot 0: nowhere yet. */
    uint64_t instance;           /* That it is pinned to; 0: none. */
    uint32_t masters_told;       /* Masterships when its event was told; 0: it wasn't. */
    uint32_t name;
    uint64_t token; /* Of the lock that it is about; CHECK: with `mode`, what is asked, ... */
    enum wire_mode mode;
    bool valid;       /* ... and answered. */
    uint32_t file;    /* PUT, GET: which of SEAT_FILES, from 1; 0: another. */
    uint32_t content; /* GET: the call that wrote what was read; 0: nothing is there. */
    uint32_t read;    /* Of what reads.c reads, which, from 1; 0: of nothing. */
    enum history_type reads;
    bool is_get;            /* GRASP_READ. */
    uint64_t seen_revision; /* By the agent when it began, of any but stale answers. */
    struct history_index acknowledged; /* To anybody, by then. */
};

/* When an index was first on its way to somebody; the later, the higher. */
struct acknowledged {
    uint64_t at_us;
    struct history_index index;
};

struct agent {
    struct engine *engine; /* NULL: the process is dead. */
    uint64_t life;
    struct clock clock;
    uint64_t link;   /* Of links.h; 0: none. */
    uint64_t number; /* Of the connection, as the engine counts. */
    bool connected;
    bool looks_on; /* It only watches. */
    uint64_t stopped_until_us;
    uint64_t timer_us;
    struct seat seats[SEATS_MAX];
    struct view views[AGENT_VIEWS];
    struct sight sights[AGENT_SIGHTS];
    uint64_t told;          /* The highest revision of any event. */
    uint64_t seen_revision; /* And of any answer to a read, but stale ones. */
    struct {
        uint32_t name;
        enum wire_mode mode;
        uint64_t token; /* 0: none. */
    } sequencer;        /* Of the last lock that was granted. */
};

struct resource;

struct agents {
    struct rng rng;
    uint32_t count, seats;
    uint32_t stop_percent, kill_percent;
    uint32_t stop_us_max;
    uint32_t think_us_max;
    uint32_t fickle_percent; /* Of thoughts about what is under way: it is let go. */
    uint32_t starve_percent; /* Of what the library is asked to do: memory is short. */
    struct agent all[AGENTS_MAX];
    struct call *calls; /* By number, from 1. */
    uint32_t calls_count, calls_capacity;
    uint32_t open;
    uint32_t granted_since_heal;
    bool quiet, timely;
    uint64_t highest_token[NAMES]; /* That the resource behind each lock has seen. */
    struct resource *resource;
    uint32_t caching_percent; /* Of sessions. */
    uint32_t root;            /* Which agent may do all, from 1; 0: none. */
    struct history_op *reads; /* Of all agents. */
    uint32_t reads_count, reads_capacity;
    struct acknowledged *acknowledged;
    uint32_t acknowledged_count, acknowledged_capacity;
};

static inline uint64_t agent_now_ms(const struct world *w, const struct agent *a)
{
    return clock_ms(&a->clock, w->now_us);
}

/* Of what the library is asked to do next, an allocation may fail. */
void agents_starve(struct world *w);

/* Is what is under way not waited for, but let go? */
static inline bool agents_are_fickle(struct world *w)
{
    return chance_percent(&w->agents->rng, w->agents->fickle_percent);
}

/* "/ls/local/NAME" */
const char *agent_name(const char *path, char text[AGENT_NAME_MAX]);
const char *agents_name_in(const char *cell, const char *path, char text[AGENT_NAME_MAX]);
struct bytes agent_path(uint32_t name);

/* ---------------------------------------------------------------- agents.c */

/* A process begins; kill -9: nobody is told, and its calls end with it. */
void agent_start(struct world *w, uint32_t agent);
void agent_kill(struct world *w, uint32_t agent);

/* Makes true what its engine wishes, and takes what it tells. */
void agent_settle(struct world *w, uint32_t agent);

/* ----------------------------------------------------------------- calls.c */

/* Begins a call: its number, as the context of its callback. */
void *agent_call_begin(struct world *w, uint32_t agent, uint32_t seat, uint32_t item,
                       enum call_kind kind);
struct call *agent_call_newest(struct world *w);
const char *agent_call_name(enum call_kind kind);

/* The newest call is given so long; negative: for ever. */
void agent_call_within(struct world *w, int timeout_ms);

/* What the library said of the call that was just begun: it may have refused it. */
void agent_call_begun(struct world *w, enum lockd_rc rc);

/* The callback of all calls. */
void agent_call_done(void *context, const struct lockd_answer *answer);

/* An event tells of the content that a call wrote. */
void agent_call_told(struct world *w, struct bytes content);

/* The process has seen to all that is due: has every call ended in time? */
void calls_check_late(struct world *w, uint32_t agent);

/* The process has died, and all its calls with it. */
void calls_killed(struct world *w, uint32_t agent);

/* ----------------------------------------------------------------- seats.c */

/* A seat does something, or nothing. */
void seat_use(struct world *w, uint32_t agent, uint32_t seat);
void grip_drop(struct world *w, struct agent *a, struct seat *s, struct grip *grip);

/* ----------------------------------------------------------------- reads.c */

/* Reads something, somehow; or one of the files of sessions, as of now. */
void read_use(struct world *w, uint32_t agent, uint32_t seat);
void read_file(struct world *w, uint32_t agent, uint32_t seat, uint32_t file, int timeout_ms);

/* A call has ended that may be such; a handle was answered from memory. */
void agent_read(struct world *w, uint32_t number, const struct lockd_answer *answer);
void agent_read_kept(struct world *w, uint32_t agent, uint32_t name, bool is_get,
                     const struct lockd_answer *answer);

/* ---------------------------------------------------------------- rights.c */

void rights_use(struct world *w, uint32_t agent, uint32_t seat);

/* ---------------------------------------------------------------- misuse.c */

/* A program calls wrongly, and is told so. */
void seat_misuse(struct world *w, uint32_t agent, uint32_t seat);

/* ... of a session that has ended; of a client that is closed. */
void misuse_ended(struct world *w, const struct agent *a, struct lockd_session *s,
                  enum lockd_rc rc);
void misuse_closed(struct world *w, const struct agent *a);

/* ---------------------------------------------------------------- grasps.c */

void grasp_use(struct world *w, uint32_t agent, uint32_t seat, uint32_t index);
void grasp_drop(struct world *w, struct agent *a, struct grasp *grasp);

/* ----------------------------------------------------------------- views.c */

void view_use(struct world *w, uint32_t agent, uint32_t index);

/* Watches all there is from now on. */
void view_watch(struct world *w, uint32_t agent, uint32_t index);
void sight_use(struct world *w, uint32_t agent, uint32_t index);
void view_set(struct world *w, uint32_t agent, uint32_t index,
              const struct lockd_answer *answer);
void views_check(struct world *w, uint32_t agent);
bool views_told(struct world *w, uint32_t agent);
bool sequencer_valid(const struct world *w, const struct call *call, uint64_t revision);

/* -------------------------------------------------------------- resource.c */

void resource_start(struct world *w);
void resource_stop(struct world *w);

/* A holder uses what is behind a lock, now or after a while. */
void resource_use(struct world *w, uint32_t name, uint64_t token);

#endif
