/* SPDX-License-Identifier: Apache-2.0
 *
 * service_internal.h -- what the sources of the service share, and nobody else.
 *
 *     service.c          events, the turn and its output
 *     service_set.c      sets of changed rows, on their way to the tables
 *     service_queue.c    writes: from the request through the log to the outcome
 *     service_read.c     reads: from the request through a round to the answer
 *     service_session.c  KeepAlives, the secret of a session, and the keeper
 *     service_stretch.c  how long a lease KeepAlives are answered with under load
 *     service_lock.c     locks: outcomes of acquires, lists of who holds, lock-delays
 *     service_waiting.c  who is told later than the entry of his command
 *     service_watch.c    watches: set, given up and lost
 *     service_chains.c   the hash table that indexes are made of
 *     service_watch_index.c  the watches of a name, of a client, and of a change
 *     service_tell.c     events: which watch is told what, and when
 *     service_level.c    reads of any replica, and how old its state is
 *     service_access.c   who may see what: reads, lists of locks, events
 *     service_cache.c    who keeps what, and who has yet to drop it
 *     service_cache_lease.c  until when they are waited for
 *     service_cache_index.c  the tables of that
 *     service_cache_look.c  what a command may change
 *     service_cache_hold.c  commands that wait for who keeps it
 *     service_boot.c     the making of a service, and its start from the store
 *     pending.c          who awaits which command
 */
#ifndef LOCKD_SERVICE_INTERNAL_H
#define LOCKD_SERVICE_INTERNAL_H

#include "lease/keeper.h"
#include "lockd/pending.h"
#include "lockd/service.h"
#include "lockd/service_cache.h"
#include "lockd/service_chains.h"

enum {
    FORGOTTEN_MAX = 256,               /* Clients gone since the last turn, noted one by one. */
    READ_NAME_OCTETS = 128,            /* Room for names, on average of a waiting read. */
    READ_TURN_BYTES = 4 * 1024 * 1024, /* Of contents answered in one turn, beyond the first. */
    READ_TURN_CHILDREN = 16 * LEASE_LIST_MAX, /* Of lists answered in one turn. */
    READ_TURN_CLAIMS = 4 * LEASE_LIST_MAX,    /* Of lists of locks answered in one turn. */
    REPLIES_FIRST = 256,                      /* Room for replies to begin with. */
    KEEPALIVES_FIRST = 256,                   /* Room for KeepAlives to begin with. */
    WAITING_FIRST = 256,                      /* Buckets for those who wait, to begin with. */
    WAITER_PATH = 96,                         /* A longer path needs memory of its own. */
    JUDGED_OCTETS = 64 * KEEPER_BATCH,        /* What the keeper asks for in one turn. */
    JUDGE_AGAIN_MS = 20,                      /* After something had to be postponed. */
    AWAY_MS = 20, /* A loop that comes this much later than it was asked to was away. */
    LOCKS_PASSED = LEASE_LIST_MAX,       /* In one turn, not to be seen by who lists all. */
    ACCESS_MEMOS = 64,                   /* Answers of ACLs remembered in a turn. */
    HOLDERS_TURN = 256,                  /* Failed holders named in the refusals of one turn. */
    PAGES_TURN = 8,                      /* Pages of watches set in one turn. */
    PAGES_OCTETS_MAX = 16 * 1024 * 1024, /* Of pages that await their rounds. */
    TELL_CREDIT = 1024,                  /* Events told to one client in one turn, ... */
    TELL_CREDIT_OCTETS = 1024 * 1024,    /* ... and octets of their names and contents. */
    TELL_MAX = 65536,                    /* Events told to all in one turn, ... */
    TELL_MAX_OCTETS = 16 * 1024 * 1024,  /* ... and octets of their names and contents. */
    TELL_SCAN = 20000,      /* Past events looked at in one turn, for those who are behind. */
    TELL_MEETINGS = 200000, /* Of an event with a watch, in one walk. */
    FORGET_TURN = 8192,     /* Watches freed in one turn, of clients that have gone. */
};

/* A read that awaits its confirmation round.  Its path and `after` are the
 * oldest piece of the ring of names. */
struct pending_read {
    uint64_t client;
    uint64_t tag;
    uint64_t round;
    uint64_t epoch;   /* Of the mastership that the round belongs to. */
    uint64_t behind;  /* LOCK_LIST: claims to skip or, without a path, the last instance. */
    uint64_t session; /* Whose secret was wrong; 0: nobody's. */
    uint64_t cacher;  /* GET, STAT: the session that would keep the answer; 0: none. */
    uint64_t if_instance;
    uint64_t token; /* LOCK_CHECK. */
    uint32_t limit;
    uint32_t principal; /* Of access_principal(). */
    uint16_t path_size;
    uint16_t after_size;
    uint8_t op;   /* 0: nobody's. */
    uint8_t mode; /* LOCK_CHECK. */
    bool named;   /* LOCK_LIST: of the one lock at the path. */
};

struct read_queue {
    struct pending_read *reads; /* Ring of `capacity`. */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    struct byte_ring names;
};

struct level_read;

/* Reads below linearizable, in the order of arrival. */
struct level_queue {
    struct level_read *first;
    struct level_read **end;
    uint32_t count;    /* At most reads_max. */
    bool look;         /* Somebody is to be looked at with the next turn; else ... */
    uint64_t revision; /* ... nobody before the state has come to this, ... */
    uint64_t until_ms; /* ... or it is this late. */
};

/* Whether an ACL listed a principal when it was asked for in this turn. */
struct access_memo {
    uint64_t turn; /* Of watches.turn. */
    uint32_t principal;
    bool listed;
    uint8_t acl_size;
    uint8_t acl[LEASE_ACL_NAME_MAX];
};

struct access {
    struct bytes *principals; /* By number. */
    size_t capacity;
    uint32_t count;
    struct access_memo memos[ACCESS_MEMOS];
};

/* What one turn may still answer: replies are borrowed from here and from the
 * state, and whoever prints them shall not be kept from the rest of his work. */
struct answer_room {
    uint32_t children_used;
    uint32_t claims_used;
    uint32_t locks_used;
    uint32_t locks_passed;
    size_t content_bytes;
};

/* A KeepAlive that awaits its confirmation round. */
struct pending_keepalive {
    uint64_t client;
    uint64_t tag;
    uint64_t round;
    uint64_t session;
    uint8_t op;   /* 0: nobody's. */
    bool reading; /* The keeper spares the session until this one is answered. */
    uint8_t secret_size;
    uint8_t secret[LEASE_SECRET_MAX];
};

/* In the order of their rounds, which is that of their arrival. */
struct keepalive_queue {
    struct pending_keepalive *waiting; /* Ring of `capacity`. */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
};

/* Somebody whose command is in the log and its outcome not yet: an acquire that
 * waits.  Request 0: a KeepAlive that awaits what comes of an expiry. */
struct waiter {
    struct waiter *next; /* In its bucket by key, or among those of no use now. */
    struct waiter *client_next;
    struct waiter **client_link; /* What points here, of the same client's. */
    uint64_t session;
    uint64_t request;
    uint64_t client;
    uint64_t tag;
    enum lease_mode mode;
    uint8_t op;
    uint16_t path_size;
    uint8_t *long_path; /* NULL: it fits below. */
    uint8_t path[WAITER_PATH];
};

struct waiter_slab;

struct waiting {
    struct waiter **by_key; /* `buckets` each, a power of two. */
    struct waiter **by_client;
    uint32_t buckets;
    uint32_t count;
    struct waiter *unused;
    struct waiter *answered; /* In this turn; replies borrow their paths. */
    struct waiter_slab *slabs;
};

/* What the keeper has judged, on its way into the log: [first, count) are not
 * yet proposed, which is rare, and never judged again. */
struct judged {
    struct lease_command *commands; /* KEEPER_BATCH, and one to stretch leases. */
    uint32_t first;
    uint32_t count;
    uint8_t *octets;
    bool blocked;      /* The keeper was not asked, because nothing could be proposed. */
    uint64_t again_ms; /* It is asked again then: something was postponed. */
    uint64_t slot;     /* The last in which something was proposed. */
};

/* What the lists of locks of one turn are made of. */
struct lock_lists {
    struct service_lock *locks;       /* READ_TURN_CLAIMS ... */
    struct lease_claim *claims;       /* ... of each. */
    uint64_t *left_ms;                /* Of the claims' lock-delays. */
    struct lease_claim *failed;       /* HOLDERS_TURN, for refusals in lock-delay. */
    uint8_t (*paths)[LEASE_PATH_MAX]; /* One for each lock, and one to look ahead. */
};

/* How loaded the master is, and what it makes of that.  The ceiling that bounds
 * every grant is replicated; here is what is granted below it. */
struct stretch {
    uint64_t second_ms;  /* When the second that is counted began. */
    uint32_t answered;   /* KeepAlives in it. */
    uint32_t late;       /* Turns in it that came much too late. */
    uint32_t granted_ms; /* Below the ceiling: that is being lowered. */
    uint64_t longer_ms;  /* Until then a lease longer than that may run. */
    uint64_t busy_ms;    /* When the load last called for what is granted. */
    uint64_t settled_ms; /* By then all have heard of what is granted. */
    bool raise;          /* The ceiling is too low ... */
    bool proposed;       /* ... or was, or too high: another is on its way. */
};

struct watcher;
struct watched_name;

/* One watch.  Kept small: there may be a million. */
struct watch {
    struct chain_link by_id; /* Client and number. */
    struct watch *name_next; /* Of the same name and scope. */
    struct watch **name_link;
    struct watch *client_next; /* Of the same client. */
    struct watch **client_link;
    struct watcher *watcher;
    struct watched_name *name;
    uint64_t id;
    uint64_t start; /* It is told nothing up to this revision. */
    uint64_t if_instance;
    uint32_t principal; /* Of access_principal(). */
    uint32_t last;      /* Its newest event of this turn, if that is one of its own. */
    uint8_t scope;
    uint8_t watched;
    bool content;
    bool old;
    bool ended; /* The instance that it is pinned to is gone. */
};

/* A client that has watches, or that is slow.  Unless it is behind it was told all
 * up to watches.live. */
struct watcher {
    struct chain_link by_client;
    struct watcher *behind_next;
    struct watcher **behind_link; /* NULL: it is not behind. */
    struct watch *watches;
    uint64_t client;
    uint32_t count;
    uint64_t cursor; /* While behind: it was told all up to this revision. */
    uint64_t told;   /* The newest revision that it heard of by an event. */
    uint64_t turn;   /* Of which the credit is. */
    uint32_t credit;
    uint32_t credit_octets;
    bool slow;
    bool gone;    /* The connection is; behind_next leads to the next that is. */
    bool pressed; /* It has been slow since it fell behind: it is told less. */
    bool joined;  /* The sweep brings it up: it was told all up to sweep.at, too. */
    bool urgent;  /* It must be brought up in this turn. */
};

struct watched_name {
    struct chain_link by_path;
    struct watch *watches[SERVICE_SCOPE_SUBTREE]; /* By scope, from SERVICE_SCOPE_NODE on. */
    uint64_t hash;
    uint32_t count;
    uint16_t path_size;
    uint8_t path[];
};

/* One walk through the past for all who are behind: it begins where the last of
 * them is, and who falls behind meanwhile joins where it stands. */
struct sweep {
    bool running;
    uint64_t at; /* Who has joined was told all up to this revision. */
};

struct watch_page;

/* Which change an event tells; of several made one the oldest, too. */
struct told {
    uint32_t newest;
    uint32_t oldest;
};

/* A change that is told in this turn, once for all who are. */
struct told_change {
    struct lease_event event;
    uint32_t joint; /* The copy with the old content of `joint_oldest`; 0: none. */
    uint32_t joint_oldest;
};

struct watches {
    struct chains names; /* By path. */
    struct chains by_id; /* All. */
    struct chains watchers;
    uint32_t subtrees; /* Of them, watches of subtrees. */
    struct watcher *behind;
    struct watcher *gone; /* Their watches are freed by and by. */

    /* Pages that await their rounds, in the order of arrival. */
    struct watch_page *pages;
    struct watch_page **pages_end;
    size_t pages_octets;

    uint64_t turn;
    uint64_t live; /* All who are not behind were told all up to this revision. */
    struct sweep sweep;
    uint64_t progress_ms;       /* When watchers are told how far they are; 0: never. */
    uint64_t progress_revision; /* All were told so up to here. */

    /* What is told in this turn. */
    struct service_event *events;
    struct told *told; /* As many. */
    size_t events_capacity;
    size_t told_capacity;
    uint32_t events_count;
    uint64_t events_octets;      /* Of their names and contents. */
    uint64_t meetings;           /* In this walk. */
    struct told_change *changes; /* From 1 on. */
    size_t changes_capacity;
    uint32_t changes_count;
};

/* Changed rows on their way to the tables.  The copy stands still until the set
 * is durable. */
struct set_copy {
    struct lease_row *rows;
    size_t rows_capacity;
    uint8_t *octets;
    size_t octets_capacity;
    size_t octets_size;
    struct store_set set;
    bool outstanding;
};

struct service {
    struct service_config config;
    struct lease_allocator allocator;
    struct lease *lease;
    void *paxos_block;
    struct paxos *paxos; /* NULL until service_start(). */
    uint32_t batch_bytes;
    uint64_t now_ms; /* The newest that was brought. */
    bool turned;     /* Between service_turn() and service_advance(). */

    /* The mastership, as last seen.  Commands and reads taken under one epoch are
     * never answered under another. */
    uint64_t epoch;         /* Ours while we serve; 0: we don't. */
    paxos_id master;        /* Whom to ask instead; 0: not known. */
    uint64_t unknown_at_ms; /* When what was proposed before the loss is given up. */

    struct pending_queue queue;
    struct read_queue reads;
    struct level_queue levels;
    struct access access;

    /* Sessions.  The keeper knows them while s->epoch is not 0. */
    struct keeper *keeper;
    struct keepalive_queue keepalives;
    struct judged judged;
    struct stretch stretch;
    struct waiting waiting;
    struct watches watches;
    struct caches caches;
    uint64_t wake_at_ms; /* When the last turn asked for the next; 0: there was none. */

    /* What this turn answers. */
    struct answer_room room;
    struct service_reply *replies;
    uint32_t replies_count;
    size_t replies_capacity;
    struct lease_child *children; /* READ_TURN_CHILDREN. */
    struct lock_lists lists;
    uint32_t failed_count; /* Of lists.failed. */
    struct service_status status;
    bool status_asked;

    uint64_t forgotten[FORGOTTEN_MAX]; /* Ascending. */
    uint32_t forgotten_count;

    /* Tables. */
    struct set_copy set;
    bool dirty;        /* Slots were applied since the last set ... */
    uint64_t dirty_ms; /* ... the first of them then. */
    uint64_t tables_slot;
    uint64_t log_first;
    bool low_space;

    /* Clean shutdown. */
    bool closing;
    bool released;  /* paxos was told to hand over. */
    bool final_set; /* The last set is taken, or none was needed. */
    uint64_t release_by_ms;

    uint64_t paxos_wake_ms;
    struct store_batch batch;
    struct service_output output;
};

/* ---------------------------------------------------------------- service.c */

/* Room for one more reply, zero but for what is given. */
struct service_reply *reply_add(struct service *s, uint64_t client, uint64_t tag,
                                enum service_op op, enum service_outcome outcome);
void reply_not_master(struct service *s, uint64_t client, uint64_t tag, enum service_op op);

/* Is a clean shutdown over, but for what is still to be written?  Somebody else
 * may be master then, and nobody awaits anything of us. */
bool is_settled(const struct service *s);

/* ------------------------------------------------------------ service_set.c */

/* Is it time to copy what has changed, and to write it? */
bool set_due(const struct service *s);

/* Copies it.  Log rows up to `trim` may go with it. */
void set_take(struct service *s, paxos_slot trim);

/* --------------------------------------------------------- service_queue.c */

void queue_request(struct service *s, const struct service_request *request, struct bytes path);

/* Answers a command with its outcome.  The reply is borrowed until the next one. */
struct service_reply *queue_answer(struct service *s, const struct pending *asker,
                                   const struct lease_at *at,
                                   const struct lease_result *result);

/* Proposes what has queued, as far as the window lets it. */
void queue_propose(struct service *s, uint64_t wall_ms);

/* Applies one chosen entry and answers those who await what it holds.  False
 * when it is malformed; what was applied of it then makes no difference,
 * because the replica must stop. */
bool entry_apply(struct service *s, const struct paxos_entry *entry);

/* The mastership is lost: what was not proposed will never be. */
void queue_lost(struct service *s);

/* Answers what was proposed under a mastership lost long enough ago. */
void queue_give_up(struct service *s);

/* Is something proposed whose outcome only another master can bring? */
bool queue_in_doubt(const struct service *s);

/* ---------------------------------------------------------- service_read.c */

/* The path of a name of this cell, below /ls/<cell>; false: there is none. */
bool name_path(const struct service *s, struct bytes name, struct bytes *ret_path);

/* The directory of a path; of the root, the root. */
struct bytes directory_of(struct bytes path);

void read_request(struct service *s, uint64_t now_ms, const struct service_request *request,
                  struct bytes path);

/* A request whose secret is wrong.  It is refused like a read that finds nothing,
 * after a round: a deposed master has no say in who may do what. */
void read_denied(struct service *s, uint64_t now_ms, const struct service_request *request);

/* Answers the reads whose rounds are confirmed.  False when some of them are
 * left for the next turn. */
bool reads_answer(struct service *s, uint64_t confirmed);
void reads_lost(struct service *s);

/* Calls `change` for every read that waits. */
void reads_each(struct service *s, void (*change)(void *context, struct pending_read *read),
                void *context);
void reads_check(const struct service *s);

/* How a read that may wait somewhere else is filled from its request, with so many octets
 * of names, and answered from the state as it stands.  The reply is borrowed until the
 * next one. */
size_t read_names_size(const struct service_request *request, struct bytes path);
void read_fill(struct service *s, struct pending_read *read,
               const struct service_request *request, struct bytes path, uint8_t *names);
struct service_reply *read_answer(struct service *s, const struct pending_read *read,
                                  const uint8_t *names);

/* Can its answer still be given in this turn? */
bool read_fits(const struct service *s, const struct pending_read *read);

/* ------------------------------------------------------- service_session.c */

/* Is the secret of the request certainly wrong, or its principal?  Of a session that
 * isn't known here nothing is certain. */
bool session_denies(const struct service *s, const struct service_request *request);

void keepalive_request(struct service *s, uint64_t now_ms,
                       const struct service_request *request);
void keepalives_answer(struct service *s, uint64_t confirmed);
void keepalives_forget(struct service *s,
                       bool (*forgotten)(const struct service *s, uint64_t client));

/* A mastership of ours begins to serve, and ends. */
void sessions_begin(struct service *s);
void sessions_lost(struct service *s);

/* A command was applied while we are master. */
void sessions_applied(struct service *s, const struct lease_at *at,
                      const struct lease_command *command, const struct lease_result *result);

/* Of what was judged and is not proposed yet, postpones what somebody has to be waited
 * for. */
void sessions_admit(struct service *s);

/* The turn has come: was it later than asked for? */
void sessions_woken(struct service *s);

/* Asks the keeper what is due, if that can be proposed in this very turn.  To be
 * called only when all that was readable has been stepped. */
void sessions_judge(struct service *s);

/* Proposes what was judged. */
void sessions_propose(struct service *s, uint64_t wall_ms);

uint64_t sessions_wake_ms(const struct service *s);
void sessions_check(const struct service *s);

/* ---------------------------------------------------------- service_lock.c */

/* Tells those whose acquires the last command settled, and the keeper; also which
 * lock-delays it began. */
void locks_settled(struct service *s, const struct lease_at *at);

/* Adds to refusals of acquires how long the lock stays closed, and after whom. */
void answer_delays(struct service *s);

/* The outcome of a command is that of an acquire which waits: its own, or one of
 * the same request.  Keeps who asked. */
void lock_waits(struct service *s, const struct pending *asker, const struct lease_at *at,
                const struct lease_command *command);

enum lease_rc answer_locks(struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply);
enum lease_rc answer_check(const struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply);

/* ------------------------------------------------------- service_waiting.c */

/* Keeps `asker` until waiting_take().  Whoever asked the same before is answered
 * that he won't be told. */
void waiting_add(struct service *s, const struct pending *asker, uint64_t session,
                 uint64_t request, enum lease_mode mode, struct bytes path);

/* Who waits for (session, request), and waits no more; NULL: nobody.  Valid until
 * waiting_recycle(). */
const struct waiter *waiting_take(struct service *s, uint64_t session, uint64_t request);
struct bytes waiter_path(const struct waiter *waiter);

/* What was taken is borrowed by nobody any more. */
void waiting_recycle(struct service *s);

void waiting_forget(struct service *s, uint64_t client);
void waiting_lost(struct service *s);
void waiting_free(struct service *s);
void waiting_check(const struct service *s);

/* ------------------------------------------------------- service_stretch.c */

void stretch_begin(struct service *s);

/* With how long a lease a KeepAlive of this session is answered now. */
uint32_t stretch_grant(struct service *s, uint32_t lease_ms);

/* A turn came so much later than it was asked for. */
void stretch_late(struct service *s, uint64_t late_ms);

/* A ceiling to propose; false: the one that stands will do. */
bool stretch_due(struct service *s, struct lease_command *ret_command);
void stretch_applied(struct service *s, enum lease_rc rc);
uint64_t stretch_wake_ms(const struct service *s);

/* --------------------------------------------------------- service_watch.c */

void watch_request(struct service *s, uint64_t now_ms, const struct service_request *request);
void unwatch_request(struct service *s, const struct service_request *request);

/* Sets the watches whose rounds are confirmed.  Returns up to which round reads
 * may be answered: none overtakes a page that came before it. */
uint64_t watches_answer(struct service *s, uint64_t confirmed);

/* The watcher was told all, and is behind no more. */
void watcher_current(struct watcher *c);

/* The watcher was told all up to `cursor`, and more is to come. */
void watcher_behind(struct service *s, struct watcher *c, uint64_t cursor);

/* Up to where is a watcher who is behind? */
uint64_t watcher_cursor(const struct service *s, const struct watcher *c);

void watches_forget(struct service *s, uint64_t client);
void watches_begin(struct service *s);
void watchers_lost(struct service *s);
void watchers_free_gone(struct service *s);
void watchers_free(struct service *s);

/* --------------------------------------------------- service_watch_index.c */

struct watcher *watcher_find(const struct service *s, uint64_t client);
struct watcher *watcher_make(struct service *s, uint64_t client); /* Or the one there is. */
void watcher_free(struct service *s, struct watcher *c);          /* It has no watches. */

struct watch *watch_find(const struct service *s, uint64_t client, uint64_t id);

/* Not set yet, except in all indexes. */
struct watch *watch_make(struct service *s, struct watcher *c, uint64_t id,
                         enum service_scope scope, struct bytes path);
void watch_free(struct service *s, struct watch *w);

/* Calls `visit` for each watch in whose scope the event is, once: whatever it
 * wants to be told.  `kinds` are what the event is to it. */
void watch_match(const struct service *s, const struct lease_event *event,
                 void (*visit)(void *context, struct watch *w, uint32_t kinds, bool is_child),
                 void *context);

/* Calls `visit` for each watcher; it may be freed. */
void watchers_each(struct service *s, void (*visit)(struct service *s, struct watcher *c));

void index_free(struct service *s);
void index_check(const struct service *s);

/* --------------------------------------------------------- service_level.c */

/* A read below linearizable, of this replica whoever it is. */
void level_request(struct service *s, uint64_t now_ms, const struct service_request *request,
                   struct bytes path);

/* Answers those whose time has come: at their revision, or out of time.  Who relied on a
 * lease that is over is answered after his round.  False when some are left for the next
 * turn. */
bool levels_answer(struct service *s, uint64_t confirmed);
void levels_forget(struct service *s,
                   bool (*forgotten)(const struct service *s, uint64_t client));
uint64_t levels_wake_ms(const struct service *s);

/* The state here contains all that was acknowledged so long ago; false: not known. */
bool levels_age(const struct service *s, uint64_t now_ms, uint64_t *ret_age_ms);
void levels_init(struct service *s);
void levels_free(struct service *s);
void levels_check(const struct service *s);

/* -------------------------------------------------------- service_access.c */

/* May the principal of this watch be told the event?  Few principals and few ACLs are
 * asked for again and again in a turn: the last answers are remembered. */
bool access_event(struct service *s, uint32_t principal, const struct lease_event *event);

/* The number of a principal among those that have connections; never given back, because
 * they are of listeners, and so few. */
uint32_t access_principal(struct service *s, struct bytes principal);
struct bytes access_name(const struct service *s, uint32_t principal);

/* May the principal read what is, or isn't, at the path?  LEASE_OK, LEASE_DENIED. */
enum lease_rc access_read(const struct service *s, uint32_t principal, struct bytes path);

/* The same of the names of its ACLs, which may also be seen by who may change them. */
enum lease_rc access_acl(const struct service *s, uint32_t principal, struct bytes path);

/* May it see the lock there among all others? */
bool access_lock(const struct service *s, uint32_t principal, struct bytes path);

/* Is this a write that mutant acl_checked_early refuses at once? */
bool access_judged_early(const struct service *s, const struct service_request *request,
                         struct bytes path);
void access_free(struct service *s);

/* --------------------------------------------------------- service_cache.c */

/* What the caches of clients need, while some session has declared one; else every one of
 * these returns at once.  See the file for the argument. */

/* May the session of this client keep what is at `path` now, be it nothing?  Then it is
 * registered as doing so. */
bool cache_grant(struct service *s, uint64_t client, uint64_t session, struct bytes path,
                 uint64_t *ret_number);

/* The cache lease that an answer to this session, leaving now over this connection, brings:
 * it counts in full from now.  0: none. */
uint32_t cache_lease(struct service *s, uint64_t client, uint64_t session);

/* The same of one that was opened over it just now, with this lease. */
uint32_t cache_opened(struct service *s, uint64_t client, uint64_t session, uint32_t lease_ms);

/* Answers a CACHE_BEGIN, after its round. */
void cache_begun(struct service *s, const struct lease_session *session,
                 struct service_reply *reply);
void cache_acknowledged(struct service *s, const struct service_request *request);

/* Tells who has to forget what; before the turn's other events, and before all reads. */
void caches_tell(struct service *s);

void caches_applied(struct service *s, uint64_t slot);
void cache_session_over(struct service *s, uint64_t session);
void caches_begin(struct service *s); /* A mastership of ours begins to serve, ... */
void caches_lost(struct service *s);  /* ... and ends: what is held is refused. */
void caches_forget(struct service *s, uint64_t client);
uint64_t caches_wake_ms(const struct service *s);
bool caches_ready(const struct service *s); /* Something held may go now. */
void caches_recycle(struct service *s);     /* What was told is borrowed no more. */
void caches_init(struct service *s);
void caches_free(struct service *s);
void caches_check(const struct service *s);

/* ---------------------------------------------------- service_cache_hold.c */

/* Before a command may be proposed.  True: nobody keeps what it may change, and nobody will
 * until it has been applied or refused; asker->intent goes with it until cache_settled().
 * False: those who do are being told; the command is held, or, if `asker` is NULL (the
 * keeper's), is to be brought again. */
bool cache_admit(struct service *s, struct pending *asker, const struct lease_command *command);

/* It is known what became of a command that was in the queue. */
void cache_settled(struct service *s, struct intent *intent);

/* Is there room in the queue for one more, besides those that are held? */
bool cache_has_room(const struct service *s, size_t size);

/* Puts what has waited long enough into the queue, before queue_propose(). */
void cache_release(struct service *s);

/* ---------------------------------------------------------- service_tell.c */

/* Room for one more event of this turn, behind those that there are. */
uint32_t event_add(struct service *s, const struct service_event *event);

/* Tells the watches what is new, before what the turn replies. */
void events_tell(struct service *s);

/* Is somebody behind whom the next turn can bring up? */
bool events_left(const struct service *s);

/* Changes up to `revision` are not told to the watch, which is. */
void tell_gap(struct service *s, struct watch *w, uint64_t revision);
void tell_end(struct service *s, const struct watcher *c);
void events_forget(struct service *s,
                   bool (*forgotten)(const struct service *s, uint64_t client));
uint64_t events_wake_ms(const struct service *s);

/* ---------------------------------------------------------- service_boot.c */

/* Memory for `count` things of `size` octets; what is in it is not defined. */
void *table_new(struct service *s, size_t count, size_t size);
void table_free(struct service *s, void *table, size_t count, size_t size);

/* Makes room for `wanted` things at least, `used` of which are kept. */
void *table_grow(struct service *s, void *table, size_t used, size_t *capacity, size_t wanted,
                 size_t size);

#endif
