/* SPDX-License-Identifier: Apache-2.0
 *
 * service.h -- the second seam: one replica as a pure machine.
 *
 * The service owns a paxos replica and the replicated state, and joins them
 * with the clients' requests.  It does no I/O and knows no clock:
 *
 *     requests, frames, ticks, "durable"  -->  service_*()
 *     service_turn(now)  -->  messages to send, a batch to store, replies
 *     service_advance()
 *
 * The daemon's loop calls it once per turn with all that the turn brought, so a
 * turn's commands share one log entry, one transaction and one sync.  The
 * simulator calls it the same way.
 */
#ifndef LOCKD_SERVICE_H
#define LOCKD_SERVICE_H

#include "lease/lease.h"
#include "lockd/store.h"
#include "paxos/paxos.h"

enum {
    SERVICE_BATCH_COMMANDS = 1024,     /* Commands in one log entry. */
    SERVICE_BATCH_BYTES = 1024 * 1024, /* Their octets. */
    SERVICE_SET_BYTES = 1024 * 1024,   /* Changed rows that trigger a set ... */
    SERVICE_SET_MS = 1000,             /* ... or this long after the last one. */
    SERVICE_CELL_MAX = STORE_CELL_MAX,
    SERVICE_WATCHES_PAGE = 1000,   /* Watches set by one request. */
    SERVICE_INVALIDATE_MAX = 1000, /* Names in one invalidation; more are several. */
    SERVICE_WAIT_MS_MAX = 60000,   /* For a sequential read's revision. */
    SERVICE_PROGRESS_MS = 5000,    /* How often quiet watchers are told how far they are. */
};

struct service_config {
    struct paxos_config paxos;
    struct lease_limits limits;
    char cell[SERVICE_CELL_MAX]; /* Name, NUL-terminated. */
    uint32_t queue_commands_max; /* Commands waiting for a slot or its outcome. */
    uint64_t queue_bytes_max;    /* Their octets while they wait for a slot. */
    uint32_t reads_max;          /* Reads waiting for a confirmation round. */
    uint32_t watches_max;        /* Of all clients together. */
    uint32_t cache_lease_ms;     /* How long a client may answer reads from memory without
                                  * word from the master; 0: not at all. */
    uint32_t cached_max;         /* Names cached by all sessions together. */
    uint32_t keepalives_busy;    /* Answered in a second: from so many on leases are stretched;
                                  * 0: never. */

    /* Told of each entry as it is applied; decides nothing.  NULL in the daemon,
     * the checkers' window in the simulator. */
    void (*observe)(void *context, const struct paxos_entry *entry, bool in_force,
                    uint64_t digest);
    void *observe_context;
};

struct service;

/* Everything is allocated through `allocator` at the start, except what the
 * state needs as it grows. */
struct service *service_new(const struct service_config *config,
                            const struct lease_allocator *allocator);
void service_free(struct service *s);

/* At the start, in this order: all rows; loaded; log entries above applied_slot
 * up to the chosen mark; then the start, with the votes above the mark.  Each
 * returns false when what the store holds makes no sense; the replica must stop
 * then. */
bool service_load_row(struct service *s, const struct lease_row *row);
bool service_loaded(struct service *s, uint64_t applied_slot, uint32_t applied_position,
                    uint64_t digest);
bool service_replay(struct service *s, const struct paxos_entry *entry);
bool service_start(struct service *s, const struct paxos_restored *restored);

/* ---------------------------------------------------------------- requests */

enum service_op {
    SERVICE_GET = 1,
    SERVICE_STAT,
    SERVICE_LIST,
    SERVICE_STATUS, /* Answered by any replica, at once, from what it knows. */
    SERVICE_PUT,
    SERVICE_CREATE,
    SERVICE_DELETE,
    SERVICE_SESSION_OPEN,
    SERVICE_SESSION_KEEPALIVE,
    SERVICE_SESSION_CLOSE,
    SERVICE_LOCK_ACQUIRE,
    SERVICE_LOCK_RELEASE,
    SERVICE_LOCK_CANCEL,
    SERVICE_LOCK_LIST,
    SERVICE_LOCK_CHECK,
    SERVICE_NODE_OPEN,
    SERVICE_NODE_CLOSE,
    SERVICE_WATCH_ADD,
    SERVICE_WATCH_REMOVE,
    SERVICE_GET_ACL,
    SERVICE_SET_ACL,
    SERVICE_CACHE_BEGIN, /* Of a session that declared a cache: "I hold nothing of what was
                          * granted before, and listen on this connection." */
    SERVICE_CACHE_ACK,   /* "I hold nothing of what invalidations up to this one named." */
};

/* How new the state must be that answers a read. */
enum service_level {
    SERVICE_LINEARIZABLE = 0, /* As of its arrival or later: after a confirmation round. */
    SERVICE_LEASE = 1,        /* The same of the master under its firm lease, without a round;
                               * where leases are not firm it is answered as linearizable. */
    SERVICE_SEQUENTIAL = 2,   /* Of any replica, at min_revision or later. */
    SERVICE_STALE = 3,        /* Of any replica, as it is. */
};

/* What a watch looks at. */
enum service_scope {
    SERVICE_SCOPE_NODE = 1,     /* The node of this name, whichever bears it. */
    SERVICE_SCOPE_CHILDREN = 2, /* Those right below it. */
    SERVICE_SCOPE_SUBTREE = 3,  /* It and all below. */
};

/* Which changes of the nodes in scope it is told; bits. */
enum service_watched {
    SERVICE_WATCH_CONTENT = 1, /* Files made and written. */
    SERVICE_WATCH_CHILD = 2,   /* Nodes made and deleted in the directories in scope; with
                                * SCOPE_CHILDREN, in the one directory. */
    SERVICE_WATCH_ACL = 4,
    SERVICE_WATCH_LOCK = 8, /* Granted, and given back or lost. */
    SERVICE_WATCH_DELETE = 16,
    SERVICE_WATCH_CONFLICT = 32, /* Somebody began to wait for its lock. */
    SERVICE_WATCH_ALL = 63,
};

/* A wish to be told; of the connection over which it came, as long as that lives
 * and this replica is master.  Each change is told at most once a watch, in the
 * order of revisions, none missing: or there is a gap, which says so. */
struct service_watch {
    uint64_t watch;    /* The client's number for it; one that is set already is replaced. */
    struct bytes name; /* The whole name. */
    enum service_scope scope;
    uint32_t watched;     /* Bits of enum service_watched. */
    uint64_t from;        /* Changes above this revision; LEASE_ANY: from now on. */
    uint64_t if_instance; /* SCOPE_NODE: only of this one; or LEASE_ANY. */
    bool content;         /* The notification is to have the new content, ... */
    bool old;             /* ... and the old one. */
};

/* `client` and `tag` come back with the reply and mean nothing here; a client
 * is a connection, and its commands enter the log in the order of arrival. */
struct service_request {
    uint64_t client;
    uint64_t tag;
    enum service_op op;
    struct bytes principal;
    struct bytes name;      /* The whole name, /ls/<cell>/...  Borrowed for the call. */
    enum lease_kind kind;   /* CREATE; NODE_OPEN: of what is made, 0: it must exist. */
    bool ephemeral;         /* NODE_OPEN. */
    struct bytes content;   /* PUT, CREATE, NODE_OPEN. */
    uint64_t if_generation; /* Or LEASE_ANY. */
    uint64_t if_instance;   /* Or LEASE_ANY.  Of every operation that names a node. */
    struct bytes after;     /* LIST. */
    uint32_t limit;         /* LIST, LOCK_LIST; 0: LEASE_LIST_MAX. */

    /* GET, STAT, LIST, GET_ACL. */
    enum service_level level;
    uint64_t min_revision; /* SEQUENTIAL: the newest that the client has seen, for which this
                            * replica may wait for `wait_ms`. */
    uint32_t max_age_ms;   /* SEQUENTIAL, STALE: refused if the state is older, or may be; 0:
                            * any will do. */

    /* Of a session that has declared a cache.  GET, STAT, linearizable: the answer may be
     * kept.  SESSION_OPEN: it declares one.  CACHE_ACK: up to which invalidation. */
    bool cache;
    uint64_t cache_number;

    struct bytes acl[LEASE_RIGHTS]; /* SET_ACL: as in lease_command; if_generation is the ACL
                                     * generation. */

    /* Of a session.  The secret is checked against the state that answers; a
     * wrong one is refused with LEASE_DENIED and executes nothing. */
    uint64_t session; /* 0: none.  SESSION_OPEN: the new one's id, random, not 0. */
    struct bytes secret;
    uint64_t request;
    uint64_t ack_floor;
    const struct lease_range *acks;
    uint32_t acks_count;

    uint32_t lease_ms;       /* SESSION_OPEN; 0: the default. */
    struct bytes label;      /* SESSION_OPEN. */
    enum lease_mode mode;    /* LOCK_ACQUIRE, LOCK_CHECK. */
    bool wait;               /* LOCK_ACQUIRE: not a try. */
    uint32_t wait_ms;        /* LOCK_ACQUIRE that waits; 0: for ever.  SEQUENTIAL; 0: not. */
    bool create;             /* LOCK_ACQUIRE. */
    uint32_t delay_ms;       /* LOCK_ACQUIRE: at most LEASE_DELAY_MS_MAX. */
    uint64_t handle;         /* LOCK_ACQUIRE, LOCK_RELEASE, NODE_OPEN, NODE_CLOSE. */
    uint64_t token;          /* LOCK_RELEASE, LOCK_CHECK. */
    uint64_t cancel;         /* LOCK_CANCEL: the request. */
    uint64_t after_instance; /* LOCK_LIST without a name. */
    uint32_t skip;           /* LOCK_LIST of a name. */
    const struct service_watch *watches; /* WATCH_ADD; at most SERVICE_WATCHES_PAGE. */
    uint32_t watches_count;
    const uint64_t *unwatch; /* WATCH_REMOVE. */
    uint32_t unwatch_count;  /* At most SERVICE_WATCHES_PAGE. */
};

/* A lock and those who hold or await it. */
struct service_lock {
    struct bytes path;
    uint64_t instance; /* Of its node: where a page that ends with it goes on. */
    const struct lease_claim *claims;
    const uint64_t *left_ms; /* Of each claim: of its lock-delay, for delayed ones; else 0. */
    uint32_t claims_count;
    bool more;
};

/* What can come of a request.  SERVICE_REFUSED: see `rc`. */
#define SERVICE_OUTCOME_MAP(X)                                                                 \
    X(SERVICE_DONE, "done")                                                                    \
    X(SERVICE_REFUSED, "the state refuses it; see rc")                                         \
    X(SERVICE_NOT_MASTER, "this replica is not the master; it was not executed")               \
    X(SERVICE_BAD_NAME, "the name is not valid in this cell")                                  \
    X(SERVICE_TOO_LARGE, "it exceeds a limit")                                                 \
    X(SERVICE_OVERLOADED, "too much is waiting; it was not executed")                          \
    X(SERVICE_TOO_OLD, "the state here is older than asked for")                               \
    X(SERVICE_UNKNOWN,                                                                         \
      "mastership was lost, or a retry took its place; it may or may not have "                \
      "been executed, or still wait")

enum service_outcome {
#define SERVICE_OUTCOME_ENUM(name, text) name,
    SERVICE_OUTCOME_MAP(SERVICE_OUTCOME_ENUM)
#undef SERVICE_OUTCOME_ENUM
};

struct service_status {
    struct paxos_status paxos;
    struct lease_position position;
    struct lease_counts counts;
    uint64_t digest;
    bool open;            /* No node names an ACL. */
    uint64_t tables_slot; /* The tables on disk hold the effects up to here. */
    uint64_t log_first;   /* Log rows kept from here on; 0: not cut since the start. */
    bool low_space;
    uint32_t stretch_ms;    /* The ceiling of leases while the master is loaded; 0: none. */
    uint64_t watches;       /* Set at this replica. */
    uint64_t cached;        /* Names that sessions keep, as far as this master knows. */
    uint64_t held;          /* Commands that wait for invalidations. */
    bool has_age;           /* The state here contains all that was acknowledged ... */
    uint64_t age_ms;        /* ... so long ago. */
    uint64_t history_floor; /* Of the history kept: lease_history_floor(). */
    uint32_t survives; /* More failures that leave a majority; the master's view, else 0. */
    uint64_t now_ms;
};

struct service_reply {
    uint64_t client;
    uint64_t tag;
    enum service_op op;
    enum service_outcome outcome;
    enum lease_rc rc;  /* With SERVICE_REFUSED. */
    paxos_id master;   /* With SERVICE_NOT_MASTER: whom to ask, 0: not known. */
    uint64_t epoch;    /* DONE, REFUSED: of the state that answered ... */
    uint64_t revision; /* ... its revision ... */
    uint64_t slot;     /* ... and index. */
    uint32_t position;
    struct lease_stat stat;             /* PUT, CREATE, GET, STAT, NODE_OPEN; CONFLICT. */
    bool created;                       /* PUT, LOCK_ACQUIRE, NODE_OPEN. */
    struct bytes content;               /* GET.  Borrowed until service_advance(). */
    const struct lease_child *children; /* LIST. */
    uint32_t children_count;
    bool more;                           /* LIST, LOCK_LIST. */
    const struct service_status *status; /* STATUS. */
    uint64_t session;                    /* SESSION_OPEN; LOCK_ACQUIRE: who asked. */
    uint32_t lease_ms;                   /* SESSION_OPEN, SESSION_KEEPALIVE. */
    uint32_t cache_ms;                   /* SESSION_OPEN, SESSION_KEEPALIVE, CACHE_BEGIN of a
                                          * session with a cache: its cache lease; else 0. */
    bool cached;                         /* GET, STAT: the client may keep it ... */
    uint64_t cache_number;               /* ... unless it has heard of a later invalidation than
                                          * this.  CACHE_BEGIN: of the last one. */
    enum service_level level;         /* GET, STAT, LIST, GET_ACL: at which it was answered. */
    bool has_age;                     /* Not linearizable: the state contains all that was */
    uint64_t age_ms;                  /* acknowledged this long ago; false: not known. */
    struct bytes acl[LEASE_RIGHTS];   /* GET_ACL. */
    uint64_t token;                   /* LOCK_ACQUIRE. */
    struct bytes path;                /* LOCK_ACQUIRE: of the lock, for its sequencer. */
    enum lease_mode mode;             /* LOCK_ACQUIRE. */
    const struct service_lock *locks; /* LOCK_LIST: at most LEASE_LIST_MAX claims in all. */
    uint32_t locks_count;
    uint64_t next_instance; /* LOCK_LIST, when `more`. */
    bool valid;             /* LOCK_CHECK: it is held so. */
    uint64_t left_ms;       /* LOCK_ACQUIRE refused with LEASE_LOCK_DELAY: what is left, ... */
    const struct lease_claim *holder; /* ... and who held it; NULL: not known, or not to be
                                       * seen by who asked. */
};

/* Something told without being asked for: it comes before all replies of the same
 * output.  Borrowed until service_advance(). */
enum service_event_kind {
    SERVICE_EVENT_CHANGE = 1, /* Of a node. */
    SERVICE_EVENT_GAP,      /* Changes up to `revision` were not told, and won't be: read anew.
                             * Those above it follow. */
    SERVICE_EVENT_PROGRESS, /* All watches of the client were told all up to `revision`. */
    SERVICE_EVENT_END,      /* All watches of the client are gone: this replica is not the
                             * master any more. */
    SERVICE_EVENT_INVALIDATE, /* A session must forget what it keeps under `names`, or all, and
                               * then say so with CACHE_ACK.  It comes before all events and
                               * replies of the same output. */
};

struct service_event {
    uint64_t client;
    enum service_event_kind kind;
    uint64_t watch;          /* CHANGE, GAP. */
    uint64_t revision;       /* CHANGE: of the newest change that it stands for. */
    uint64_t first_revision; /* CHANGE: of the oldest; several of one node were made one because
                              * the client read too slowly. */
    uint32_t count;          /* CHANGE: for how many it stands; from 1. */
    bool content;            /* CHANGE: with the new content, ... */
    bool old;                /* ... and the old. */
    const struct lease_event *change; /* CHANGE: the newest; `old` in it is of the oldest.  One
                                       * and the same pointer for all who are told the same. */
    paxos_id master;                  /* END: whom to ask; 0: not known. */
    uint64_t session;                 /* INVALIDATE. */
    uint64_t number;                  /* INVALIDATE: counts up in a mastership. */
    const struct bytes *names;        /* INVALIDATE: paths below /ls/<cell>/; the root is "". */
    uint32_t names_count;             /* 0: all that it keeps. */
};

/* Takes one request.  Its reply comes with a later service_output, exactly once
 * unless the client is forgotten. */
void service_request(struct service *s, uint64_t now_ms, const struct service_request *request);

/* The client is gone: no more replies for it, and no events.  Its commands run on. */
void service_forget(struct service *s, uint64_t client);

/* The client leaves much unread, or has caught up: events for it are held back, and
 * made fewer, until it has. */
void service_slow(struct service *s, uint64_t client, bool slow);

/* ------------------------------------------------------------------ events */

enum paxos_drop service_receive(struct service *s, uint64_t now_ms,
                                const struct paxos_message *message);
void service_durable(struct service *s, uint64_t now_ms, uint64_t ticket);

/* The set that brought the tables to `applied_slot` is on disk. */
void service_set_durable(struct service *s, uint64_t applied_slot);
void service_log_read(struct service *s, uint64_t now_ms, const struct paxos_log_read *answer);
void service_peer_gone(struct service *s, uint64_t now_ms, paxos_id peer);

/* Refuse growth (puts and creates) while space is low. */
void service_low_space(struct service *s, bool low);

/* Clean shutdown: take no more requests, finish what is in flight, hand the
 * mastership over.  Done when service_idle() says so. */
void service_hand_over(struct service *s, uint64_t now_ms);
bool service_idle(const struct service *s);

/* ------------------------------------------------------------------ output */

/* A command that waits until clients have forgotten what it may change.  It may take as
 * long as a cache lease, so it shall not keep from being read what comes behind it:
 * that may be the very word it waits for. */
struct service_held {
    uint64_t client;
    uint64_t tag;
};

struct service_output {
    const struct paxos_message *at_once; /* Send in this order: at_once, then released. */
    const struct paxos_message *released;
    uint32_t at_once_count;
    uint32_t released_count;
    const struct store_batch *store;  /* NULL: nothing to write. */
    const struct paxos_wanted *reads; /* Of the log, for peers that lag. */
    uint32_t reads_count;
    const struct service_event *events; /* Before the replies. */
    uint32_t events_count;
    const struct service_reply *replies;
    uint32_t replies_count;
    const struct service_held *held; /* Since the last output; some may be answered in this. */
    uint32_t held_count;
    const struct paxos_note *notes;
    uint32_t notes_count;
    uint64_t wake_at_ms; /* Call service_turn() no later than this. */
    bool more;           /* Call service_turn() again at once: work is left over. */
};

/* Proposes what has queued, lets paxos decide, applies what is chosen, answers
 * what can be answered.  `wall_ms` labels the entries proposed.  The output is
 * borrowed until service_advance(), which must follow. */
const struct service_output *service_turn(struct service *s, uint64_t now_ms, uint64_t wall_ms);
void service_advance(struct service *s);

/* For the simulator's checkers, traces and `cell.status`. */
void service_status(const struct service *s, uint64_t now_ms,
                    struct service_status *ret_status);
const struct lease *service_lease(const struct service *s);
const struct paxos *service_paxos(const struct service *s);
const char *service_outcome_text(enum service_outcome outcome);

/* The end of a life for tests: asserts the invariants of both halves. */
void service_check(const struct service *s);

#endif
