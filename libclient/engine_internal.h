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
 *     cache.c    what a session keeps of its reads, and for how long it may
 *     lock.c     acquire, cancel, release
 *     election.c campaign, proclaim
 *     handle.c   open, close, and what pins an instance
 *     watch.c    watches: told, held up, set again
 *     watch_pages.c   how they are set and removed, many at a time
 *     observer.c who leads, from a read and the events that follow it
 *     log.c      lines for people
 */
#ifndef LIBCLIENT_ENGINE_INTERNAL_H
#define LIBCLIENT_ENGINE_INTERNAL_H

#include "libclient/acks.h"
#include "libclient/answer.h"
#include "libclient/engine.h"
#include "libclient/happening.h"
#include "libclient/heap.h"
#include "libclient/kept.h"
#include "libclient/list.h"
#include "libclient/locate.h"

enum {
    ENGINE_CACHING_CHAINS = 256, /* Of sessions that keep what they read. */
    ENGINE_LOG_WAITING = 100,    /* Lines not yet taken; then no more are made. */
};

enum timer_kind { TIMER_CALL = 1, TIMER_SESSION, TIMER_LINK, TIMER_WATCH };

/* A queue of calls that enter the log in their order.  Each session has one; one
 * is shared by all that has no session; one, roaming, by reads that any replica may
 * answer; and one, urgent, overtakes the others: KeepAlives, probes and what
 * caches owe, which are no commands. */
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
    struct lockd_lock *lock;       /* ACQUIRE, RELEASE, and a campaign's PUT: NULL when nobody
                                    * waits for it. */
    struct lockd_handle *handle;   /* OPEN, CLOSE, and the STAT before: the same. */
    struct lockd_observer *observer; /* The GET that it needs. */
    struct list watches;             /* WATCH_ADD: those that it sets. */
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
    bool too_old; /* A read: some replica said that its state was. */
    bool waits;           /* ACQUIRE that is no try: may rightly take long to be answered. */
    bool cancelling;      /* ACQUIRE: must not be granted any more. */
    bool cancelled_by_us; /* ... because the caller said so, not the deadline. */
    char data[];
};

/* What a session keeps of what it has read.  See cache.c. */
struct cache {
    struct list at;     /* Among the caching sessions, in the chain of its id. */
    struct call *begin; /* NULL: the session was opened without. */
    struct call *ack;
    bool bound;        /* The master knows that this connection is the session's. */
    uint64_t lease_ms; /* As last granted; 0: the cell has none. */
    uint64_t until_ms; /* What is kept may be believed until then, exclusive. */
    uint64_t heard;    /* Number of the newest invalidation, ... */
    uint64_t said;     /* ... and of the last one acknowledged.  Of this connection. */
    struct kept kept;
};

struct lockd_session {
    struct engine *engine;
    struct list at; /* Among the engine's sessions. */
    struct timer timer;
    struct lane lane;
    struct acks acks;
    struct list locks;    /* All, in the order in which they were made. */
    struct list held;     /* In the order in which they were granted. */
    struct list handles;  /* All, and ... */
    struct list opened;   /* ... those that are open, in the order in which they were opened. */
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
    struct cache cache;

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
    bool taken;     /* The caller has it already. */
    bool campaigns; /* It is held when the value that its call carries is written, too. */
    uint64_t handle;
    uint64_t token;
    enum wire_mode mode;
    char *sequencer; /* Behind the name. */
    size_t sequencer_size;
    char name[];
};

/* What an acquire is to be, besides how long it may take. */
struct acquiring {
    const char *name;
    uint64_t if_instance; /* Or WIRE_ANY. */
    const struct lockd_lock_options *options;
    bool campaigns;
    struct wire_text value;
};

enum handle_state {
    HANDLE_IDLE = 1, /* Not open, or not known to be. */
    HANDLE_OPENING,
    HANDLE_OPEN,
    HANDLE_CLOSING,
};

struct lockd_handle {
    struct lockd_session *session;
    struct list at;      /* In session->handles. */
    struct list open_at; /* In session->opened. */
    struct call *call;   /* OPENING, CLOSING. */
    enum handle_state state;
    uint64_t number; /* By which the cell knows the opener. */
    uint64_t instance;
    bool ephemeral; /* Then the cell has it among the node's openers. */
    char name[];
};

enum watch_state {
    WATCH_OUT = 1, /* Not at the cell, nor on its way: see watch.c. */
    WATCH_UNSET,   /* Waits for a page. */
    WATCH_SETTING,
    WATCH_SET,
    WATCH_REMOVING, /* Waits to be removed at the cell. */
};

struct lockd_watch {
    struct engine *engine;
    struct list all; /* In watches.all: the program has it. */
    struct list at;  /* As its state is. */
    struct timer timer;
    struct lockd_observer *observer; /* Who is told; NULL: the program. */
    struct answer *answer;           /* Until it is set for the first time, or has failed. */
    uint64_t deadline_ms;            /* Of that. */
    uint64_t retry_ms;               /* OUT: to be set then; TIMER_NEVER. */
    enum watch_state state;
    bool wanted;  /* To be set, over and over; else it ends. */
    bool freed;   /* By the program: goes when the cell knows nothing of it. */
    bool alone;   /* A page with others was refused. */
    bool dated;   /* `heard` says from where on. */
    bool was_set;
    bool missed;  /* There was no room for an event: the cell is to keep the rest. */
    uint32_t slot;
    uint64_t id;      /* On the wire; another one each time that it is set. */
    uint64_t heard;   /* The newest revision that was told or passed, ... */
    uint32_t partial; /* ... and how many events of just this one; 0: it is complete. */
    uint32_t skip;    /* So many of them, the first of `marks`, come again. */
    uint64_t *marks;  /* By which they are known: rights that have changed since may show
                       * others, or fewer. */
    uint32_t marks_capacity;
    uint64_t taken;   /* The revision of the event last taken. */
    enum lockd_scope scope;
    uint32_t watched;
    uint64_t instance;
    bool content, old;
    lockd_watched *told;
    void *context;
    struct event_node event;
    struct list queue; /* Of struct happening. */
    uint32_t queued;
    size_t queued_octets;
    char name[];
};

/* The watches of an engine; by the lower bits of their ids. */
struct watches {
    struct list all;
    struct list unset;
    struct list set;
    struct list removing;
    struct lockd_watch **slots;
    uint32_t *free;
    uint32_t capacity;
    uint32_t free_count;
    size_t wanted;
    uint32_t pages; /* Under way. */
    uint64_t ids;   /* Handed out. */
};

/* A leader as one is told of it; nobody is {0, 0}. */
struct term {
    uint64_t token;
    uint64_t written; /* The revision of the value. */
};

struct lockd_observer {
    struct engine *engine;
    struct list at;            /* In engine->observers. */
    struct lockd_watch *watch; /* Set when the first read has been answered. */
    struct call *call;         /* The read under way. */
    bool watching;
    uint64_t base;  /* Revision of the last read: older events are in it. */
    uint64_t seen;  /* Of the newest event. */
    uint64_t token; /* Of the exclusive holding that is known; 0: none. */
    bool told_any;
    struct term told, next_term;
    struct lockd_leader *next; /* Not taken yet. */
    lockd_observed *observed;
    void *context;
    struct event_node event;
    char name[];
};

enum link_state {
    LINK_NONE = 1, /* Nothing to do. */
    LINK_PAUSING,  /* Before an attempt. */
    LINK_CONNECTING,
    LINK_ASKING,  /* Who is the master? */
    LINK_WAITING, /* Before asking again, connected. */
    LINK_READY,   /* To the master. */
    LINK_REPLICA, /* To some other one, for reads that any can answer. */
    LINK_LEAVING, /* It is no more: for the answers still on their way. */
};

struct link {
    enum link_state state;
    uint64_t number;
    struct timer timer;
    uint32_t asked;     /* Times without finding a master, on this connection. */
    uint64_t ready_ms;  /* When it last became READY or REPLICA. */
    uint32_t rounds;    /* Failed attempts in a row: patience grows with them. */
    uint32_t young;     /* Connections in a row that broke soon after they were READY. */
    bool reads;         /* The far end is a replica that can answer reads. */
    struct call *probe; /* cell.status, to find the master or a sign of life. */
    uint32_t calm;      /* Signs of life in a row, and nothing sent in between. */
    uint64_t epoch;     /* Of the master that it last became READY to, ... */
    uint64_t silent;    /* ... and of the one that was last left as silent. */
    uint32_t slow;      /* How often that was wrong: patience with silence grows with it. */
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
    struct lane roaming;
    struct list runnable;
    struct list sessions;
    struct list observers;
    struct watches watches;
    struct list events;    /* Of struct event_node. */
    struct list caching[ENGINE_CACHING_CHAINS];
    struct position seen; /* The newest that an answer has shown. */
    uint64_t newest;      /* Revision that anything has shown: no read may be older. */
    size_t logged;        /* Lines not yet taken. */
    size_t sessions_count; /* All that exist, ended ones too. */
    size_t calls_count;
    size_t live_sessions; /* Neither expired nor closed. */
    size_t waiting;       /* Calls of users and of the background; no KeepAlives, no probes. */
    size_t roamers;       /* Of them, those in the roaming lane. */
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
/* There is something to take. */
void event_push(struct engine *e, struct event_node *node);
/* As call_tell(), of what is no call. */
void answer_tell(struct engine *e, struct answer *a, enum lockd_rc rc);
enum lockd_rc check_name(const char *name);
/* What may be asked of a session. */
enum lockd_rc check_usable(const struct lockd_session *s);
bool content_fits(size_t size);

/* An answer has shown this; an event, or an answer, this. */
void engine_saw(struct engine *e, const struct position *seen);
void engine_saw_revision(struct engine *e, uint64_t revision);

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
/* This replica's state is too old for a read: another one's may do. */
void link_too_old(struct engine *e, uint64_t now_ms);
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
/* May the cell have heard of it? */
bool call_tried(const struct call *c);
void call_acknowledge(struct call *c);
bool call_may_repeat(const struct call *c);
/* A page of watches, or of removals: it ends with its connection. */
bool call_of_watches(const struct call *c);
/* A KeepAlive, a probe, or what a cache owes: overtakes what waits. */
bool call_is_urgent(const struct call *c);
/* A read that says how new the state must be. */
bool call_is_levelled(const struct call *c);
/* May any replica answer it? */
bool call_roams(const struct call *c);
struct call *call_of_id(struct engine *e, uint64_t wire_id);
void lane_init(struct lane *lane, struct lockd_session *session);
void lane_wake(struct engine *e, struct lane *lane);
void lanes_pump(struct engine *e, uint64_t now_ms);
/* Only what any replica may answer. */
void lanes_pump_roaming(struct engine *e, uint64_t now_ms);
void lanes_wake_all(struct engine *e);
/* The connection is gone: what may be repeated waits for the next. */
void lanes_lost(struct engine *e, uint64_t now_ms);

/* verdict.c */
/* What an error says, and whether it speaks of this attempt alone. */
enum lockd_rc verdict_rc(enum wire_error error);
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
/* Something sent at `sent_ms` has brought a shorter lease: the next KeepAlive is due for
 * its sake. */
void session_keepalive_sooner(struct lockd_session *s, uint64_t sent_ms);
void session_end(struct lockd_session *s, uint64_t now_ms, enum lockd_state state);
void session_destroy(struct lockd_session *s, uint64_t now_ms);

/* cache.c */
/* Declares it; false: out of memory. */
bool cache_init(struct lockd_session *s);
void cache_free(struct lockd_session *s);
/* The session's id is known, and this connection is its. */
void cache_session_opened(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                  uint64_t cache_ms);
/* A KeepAlive sent at `sent_ms` was answered. */
void cache_renewed(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                   uint64_t cache_ms);
void cache_ended(struct lockd_session *s);
/* How often KeepAlives are needed for its sake: the lease, or TIMER_NEVER. */
uint64_t cache_lease_ms(const struct lockd_session *s);
/* A read of a session that caches was answered. */
void cache_fill(struct call *c, const struct wire_reply *reply);
/* What is kept, as an answer of the caller's own; NULL: it can't be had. */
struct answer *cache_answer(struct lockd_session *s, uint64_t now_ms,
                            const struct wire_request *arguments);
void cache_call_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
void caches_invalidated(struct engine *e, const struct wire_notification *n);
/* The connection, or its end, is not the master's any more. */
void caches_unlinked(struct engine *e);
/* It is a master's now. */
void caches_anew(struct engine *e);

/* lock.c */
void lock_deadline(struct call *c, uint64_t now_ms);
void lock_acquired(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
/* An acquire ends without a lock. */
void lock_not_acquired(struct call *c);
void lock_released(struct call *c, enum lockd_rc rc);
void lock_destroy(struct lockd_lock *lock);
enum lockd_rc lock_acquire(struct lockd_session *session, uint64_t now_ms,
                           const struct acquiring *how, int timeout_ms, lockd_done *done,
                           void *context, struct lockd_lock **ret_lock);
/* It is held from now on, and the caller is told. */
void lock_hold(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
/* It was granted and is not held: tells the caller why; the call goes on as the
 * release. */
void lock_give_back(struct call *c, enum lockd_rc rc);

/* election.c */
void election_granted(struct call *c, uint64_t now_ms);
/* It speaks for a lock that has been given back since. */
bool election_too_late(const struct call *c);

/* handle.c */
void handle_opened(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
/* Its call ends otherwise. */
void handle_call_ended(struct call *c, enum lockd_rc rc);
void handle_deadline(struct call *c, uint64_t now_ms);
void handles_end(struct lockd_session *s, uint64_t now_ms, enum lockd_rc rc);
void handle_destroy(struct lockd_handle *handle);

/* watch.c */
void watches_init(struct watches *all);
void watches_notified(struct engine *e, uint64_t now_ms, const struct wire_notification *n);
void watches_close(struct engine *e);
void watches_free(struct engine *e);
void watches_check(const struct engine *e);
/* NULL: out of memory. */
struct lockd_watch *watch_new(struct engine *e, const char *name,
                              const struct lockd_watch_options *options);
/* To be set at a master, from now on. */
void watch_begin(struct lockd_watch *w);
/* Whose it was wants it no more, and forgets it. */
void watch_give_up(struct lockd_watch *w);
void watch_tick(struct lockd_watch *w, uint64_t now_ms);
struct happening *watch_take(struct lockd_watch *w);
void watch_new_id(struct lockd_watch *w);
void watch_set_timer(struct lockd_watch *w);
void watch_enter(struct lockd_watch *w, enum watch_state state);
/* The cell knows nothing of it, or won't soon.  May free it. */
void watch_left_cell(struct lockd_watch *w);
/* Nobody wants it any more.  May free it. */
void watch_unwant(struct lockd_watch *w);
/* Whoever waits for it to be set is told. */
void watch_tell(struct lockd_watch *w, enum lockd_rc rc, uint64_t revision);

/* watch_pages.c */
void watches_pump(struct engine *e, uint64_t now_ms);
/* The cell knows of none any more. */
void watches_lost(struct engine *e);
void watches_page_lost(struct call *c);
void watches_page_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply);

/* observer.c */
void observer_read(struct call *c, uint64_t now_ms, const struct wire_reply *reply);
void observer_event(struct lockd_observer *o, uint64_t now_ms, const struct wire_event *event);
struct lockd_leader *observer_take(struct lockd_observer *o);
void observer_destroy(struct lockd_observer *o, uint64_t now_ms);

/* log.c */
struct log_line {
    struct event_node event;
    enum lockd_severity severity;
    char text[];
};

/* Makes a line of the parts; a no-op unless somebody listens. */
#define LOG(engine, severity, ...)                                                             \
    log_parts((engine), (severity), (const char *const[]){__VA_ARGS__, NULL})
void log_parts(struct engine *e, enum lockd_severity severity, const char *const *parts);
void log_take(struct engine *e, struct log_line *line, struct engine_event *ret_event);

#endif
