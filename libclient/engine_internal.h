/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_internal.h -- the engine's parts, and what they ask of each other.
 *
 *     engine.c   the life of an engine, its wish, its clock, its events
 *     link.c     the one connection: search, confirm, watch, leave
 *     input.c    octets received, cut into replies
 *     call.c     a request from its submission to its one outcome
 *     verdict.c  what a reply means for the call that it answers
 *     session.c  leases, KeepAlives, the state machine of lockd.h
 *     lock.c     acquire, cancel, release
 */
#ifndef LIBCLIENT_ENGINE_INTERNAL_H
#define LIBCLIENT_ENGINE_INTERNAL_H

#include "libclient/acks.h"
#include "libclient/answer.h"
#include "libclient/engine.h"
#include "libclient/heap.h"
#include "libclient/list.h"
#include "libclient/locate.h"

enum timer_kind { TIMER_CALL = 1, TIMER_SESSION, TIMER_LINK };

/* A queue of calls that enter the log in their order.  Each session has one; one
 * is shared by all that has no session; and one, urgent, overtakes the others:
 * KeepAlives and probes, which are no commands. */
struct lane {
    struct list unsent;
    struct list sent;
    struct list paused;
    struct list runnable;          /* Among the lanes that may have something to send. */
    struct lockd_session *session; /* Whose; NULL. */
    uint32_t in_flight;            /* Sent, and counting against the window. */
};

enum call_place {
    CALL_IDLE = 1, /* In no list: a KeepAlive between two. */
    CALL_UNSENT,
    CALL_SENT,
    CALL_PAUSED, /* Its timer sends it again. */
};

/* A request, from its submission to its outcome.
 *
 *     UNSENT --printed--> SENT --reply--> ended
 *       ^                  |  |
 *       +--- link lost ----+  +-- refused, may be tried again --> PAUSED
 *       +------------------------ pause over -----------------------'
 *
 * `unsure` says that an attempt may have been executed without our knowing its
 * outcome.  Then a refusal that speaks only of one attempt is no outcome. */
struct call {
    struct list at;
    struct timer timer;
    struct engine *engine;
    struct lane *lane;
    struct lockd_session *session; /* NULL: one-shot, or a read. */
    struct lockd_lock *lock;       /* ACQUIRE, RELEASE: NULL when nobody waits for it. */
    struct call *partner;          /* ACQUIRE: its cancellation, and the reverse. */
    struct answer *answer;         /* NULL: nobody is to be told (any more). */
    struct wire_request request;   /* Its texts stand in `data`. */
    enum call_place place;
    uint32_t slot;        /* While SENT: in the engine's table. */
    uint64_t wire_id;     /* While SENT. */
    uint64_t line_end;    /* While SENT: in octets of the link's output. */
    uint64_t sent_ms;     /* Last. */
    uint64_t deadline_ms; /* When the caller's patience ends; TIMER_NEVER. */
    uint64_t retry_ms;    /* While PAUSED. */
    uint32_t retries;
    bool unsure;
    bool waits;           /* ACQUIRE that is no try: may rightly take long to be answered. */
    bool cancelling;      /* ACQUIRE: must not be granted any more. */
    bool cancelled_by_us; /* ... because the caller said so, not the deadline. */
    char data[];
};

struct lockd_session {
    struct engine *engine;
    struct list at; /* Among the engine's sessions. */
    struct timer timer;
    struct lane lane;
    struct acks acks;
    struct list locks;    /* All, in the order in which they were made. */
    struct list held;     /* In the order in which they were granted. */
    struct call *opening; /* Until it has ended. */
    struct call *closing;
    struct call *keepalive;
    enum lockd_state state;
    uint64_t id;
    char id_text[WIRE_SESSION_ID + 1];
    char secret[WIRE_SECRET];
    uint64_t lease_ms; /* As granted. */
    uint64_t grace_ms;
    uint64_t based_ms;     /* When the KeepAlive last answered was sent. */
    uint64_t valid_ms;     /* The local lease is over then. */
    uint64_t keepalive_ms; /* The next is due. */
    uint64_t last_request;
    uint64_t last_handle;
    size_t outstanding; /* Calls that have, or may yet get, a request id. */

    /* Changes not yet told; the session itself is the event. */
    lockd_state_changed *changed;
    void *context;
    struct event_node event;
    enum lockd_state told[8];
    uint32_t told_count;
};

enum lock_state {
    LOCK_IDLE = 1, /* Not held, or not known to be. */
    LOCK_ACQUIRING,
    LOCK_HELD,
    LOCK_RELEASING,
};

struct lockd_lock {
    struct lockd_session *session;
    struct list at;      /* In session->locks. */
    struct list held_at; /* In session->held. */
    struct call *call;   /* ACQUIRING, RELEASING. */
    struct answer *told; /* The event not yet taken that names this lock. */
    enum lock_state state;
    bool taken; /* The caller has it already. */
    uint64_t handle;
    uint64_t token;
    enum wire_mode mode;
    char *sequencer; /* Behind the name. */
    size_t sequencer_size;
    char name[];
};

enum link_state {
    LINK_NONE = 1, /* Nothing to do. */
    LINK_PAUSING,  /* Before an attempt. */
    LINK_CONNECTING,
    LINK_ASKING,  /* Who is the master? */
    LINK_WAITING, /* Before asking again, connected. */
    LINK_READY,   /* To the master. */
    LINK_LEAVING, /* It is no more: for the answers still on their way. */
};

struct link {
    enum link_state state;
    uint64_t number;
    struct timer timer;
    uint32_t asked;     /* Times without finding a master, on this connection. */
    uint64_t ready_ms;  /* When it last became READY. */
    uint32_t rounds;    /* Failed attempts in a row: patience grows with them. */
    struct call *probe; /* cell.status, to find the master or a sign of life. */
    uint32_t calm;      /* Signs of life in a row, and nothing sent in between. */
    uint64_t heard_ms;  /* Something arrived, or was first awaited. */
    struct wire_buffer out;
    size_t out_sent;     /* Octets of `out` that have left. */
    uint64_t out_before; /* Octets sent and dropped from `out`. */
    struct wire_buffer in;
    size_t in_scanned; /* Octets of `in` known to hold no newline. */
};

/* Calls sent, by the lower bits of their ids. */
struct slots {
    struct call **calls;
    uint32_t *free;
    uint32_t capacity;
    uint32_t free_count;
    uint64_t ids; /* Handed out. */
};

struct engine {
    struct engine_config config;
    char *label;
    struct locate locate;
    struct link link;
    struct heap heap;
    struct slots slots;
    struct lane urgent;
    struct lane common;
    struct list runnable;
    struct list sessions;
    struct list events;    /* Of struct event_node. */
    size_t sessions_count; /* All that exist, ended ones too. */
    size_t calls_count;
    size_t live_sessions; /* Neither expired nor closed. */
    size_t waiting;       /* Calls of users and of the background; no KeepAlives, no probes. */
    size_t in_flight;     /* Sent calls, ... */
    size_t expected;      /* ... those that should be answered soon, ... */
    size_t one_shots;     /* ... and those that may not be repeated. */
    bool closed;
    struct wire_memory memory;
    struct engine_wish wish;
    char trouble[ENGINE_TROUBLE_MAX];
};

static inline uint64_t deadline_after(uint64_t now_ms, int timeout_ms)
{
    return timeout_ms < 0 ? TIMER_NEVER : now_ms + (uint64_t)timeout_ms;
}

/* engine.c */
void engine_settle(struct engine *e, uint64_t now_ms);
void engine_set_trouble(struct engine *e, const char *why);
void event_answer(struct engine *e, struct answer *a);
void event_state(struct lockd_session *s);

/* link.c */
bool link_init(struct engine *e);
void link_free(struct engine *e);
/* Is there a connection? */
bool link_connected(const struct link *l);
size_t link_unsent(const struct link *l);
/* Begins a search if there is something to do, sends what may be sent. */
void link_settle(struct engine *e, uint64_t now_ms);
void link_tick(struct engine *e, uint64_t now_ms);
void link_on_connected(struct engine *e, uint64_t now_ms);
void link_on_lost(struct engine *e, uint64_t now_ms, const char *why);
/* The endpoint is of no use: on to the next. */
void link_leave(struct engine *e, uint64_t now_ms, const char *why);
void link_stop(struct engine *e, uint64_t now_ms);
/* A call was refused because this is not, or no longer, the master. */
void link_refused(struct engine *e, uint64_t now_ms, struct wire_text master);
void link_probe_answered(struct engine *e, uint64_t now_ms, const struct wire_reply *reply);
/* Something was sent that wants an answer. */
void link_watch(struct engine *e, uint64_t now_ms);

/* input.c */
void input_received(struct engine *e, uint64_t now_ms, const void *data, size_t size);

/* call.c */
struct call *call_new(struct engine *e, struct lockd_session *session,
                      const struct wire_request *arguments, struct answer *answer);
void call_free(struct call *c);
void call_begin(struct call *c, uint64_t deadline_ms);
void call_unsend(struct call *c, bool front);
/* Prints it and moves it among the sent. */
void call_print(struct call *c, uint64_t now_ms);
/* Takes it out of whatever list and table it is in. */
void call_detach(struct call *c);
/* The caller is told, once; the call may go on in the background. */
void call_tell(struct call *c, enum lockd_rc rc);
/* It has ended: tells whoever is to be told, and frees it. */
void call_end(struct call *c, uint64_t now_ms, enum lockd_rc rc);
void call_end_with(struct call *c, uint64_t now_ms, enum lockd_rc rc,
                   const struct wire_reply *reply);
/* What can be said of a call that is given up now. */
enum lockd_rc call_given_up(const struct call *c, enum lockd_rc if_not_executed);
void call_tick(struct call *c, uint64_t now_ms);
void call_again(struct call *c, uint64_t now_ms);
void call_set_timer(struct call *c);
void call_acknowledge(struct call *c);
bool call_may_repeat(const struct call *c);
struct call *call_of_id(struct engine *e, uint64_t wire_id);
void lane_init(struct lane *lane, struct lockd_session *session);
void lane_wake(struct engine *e, struct lane *lane);
void lanes_pump(struct engine *e, uint64_t now_ms);
void lanes_wake_all(struct engine *e);
/* The connection is gone: what may be repeated waits for the next. */
void lanes_lost(struct engine *e, uint64_t now_ms);

/* verdict.c */
void call_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
/* The reply makes no sense. */
void call_garbled(struct call *c, uint64_t now_ms, const char *detail);

/* session.c */
bool session_sends(const struct lockd_session *s);
bool session_alive(const struct lockd_session *s);
void session_tick(struct lockd_session *s, uint64_t now_ms);
void session_set_timer(struct lockd_session *s);
void session_opened(struct lockd_session *s, struct call *c, uint64_t now_ms,
                    const struct wire_reply *reply);
void session_keepalive_answered(struct lockd_session *s, uint64_t now_ms,
                                const struct wire_reply *reply);
void session_end(struct lockd_session *s, uint64_t now_ms, enum lockd_state state);
void session_destroy(struct lockd_session *s, uint64_t now_ms);

/* lock.c */
void lock_deadline(struct call *c, uint64_t now_ms);
void lock_acquired(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
/* An acquire ends without a lock. */
void lock_not_acquired(struct call *c);
void lock_released(struct call *c, enum lockd_rc rc);
void lock_destroy(struct lockd_lock *lock);

#endif
