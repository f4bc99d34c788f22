/* SPDX-License-Identifier: Apache-2.0
 *
 * service_internal.h -- what the sources of the service share, and nobody else.
 *
 *     service.c          events, the turn and its output
 *     service_set.c      sets of changed rows, on their way to the tables
 *     service_queue.c    writes: from the request through the log to the outcome
 *     service_read.c     reads: from the request through a round to the answer
 *     service_session.c  KeepAlives, the secret of a session, and the keeper
 *     service_lock.c     locks: the outcomes of acquires, and lists of who holds
 *     service_waiting.c  who is told later than the entry of his command
 *     service_boot.c     the making of a service, and its start from the store
 *     pending.c          who awaits which command
 */
#ifndef LOCKD_SERVICE_INTERNAL_H
#define LOCKD_SERVICE_INTERNAL_H

#include "lease/keeper.h"
#include "lockd/pending.h"
#include "lockd/service.h"

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
    AWAY_MS = 20, /* A loop that comes this much later than it was asked to was away. */
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
    uint32_t limit;
    uint16_t path_size;
    uint16_t after_size;
    uint8_t op; /* 0: nobody's. */
    bool named; /* LOCK_LIST: of the one lock at the path. */
};

struct read_queue {
    struct pending_read *reads; /* Ring of `capacity`. */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    struct byte_ring names;
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
    struct lease_command *commands; /* KEEPER_BATCH. */
    uint32_t first;
    uint32_t count;
    uint8_t *octets;
    bool blocked; /* The keeper was not asked, because nothing could be proposed. */
};

/* What the lists of locks of one turn are made of. */
struct lock_lists {
    struct service_lock *locks;       /* READ_TURN_CLAIMS ... */
    struct lease_claim *claims;       /* ... of each. */
    uint8_t (*paths)[LEASE_PATH_MAX]; /* One for each lock, and one to look ahead. */
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

    /* Sessions.  The keeper knows them while s->epoch is not 0. */
    struct keeper *keeper;
    struct keepalive_queue keepalives;
    struct judged judged;
    struct waiting waiting;
    uint64_t wake_at_ms; /* When the last turn asked for the next; 0: there was none. */

    /* What this turn answers. */
    struct service_reply *replies;
    uint32_t replies_count;
    size_t replies_capacity;
    struct lease_child *children; /* READ_TURN_CHILDREN. */
    struct lock_lists lists;
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

/* What one turn may still answer: replies are borrowed from here and from the
 * state, and whoever prints them shall not be kept from the rest of his work. */
struct answer_room {
    struct lease_position position;
    uint32_t children_used;
    uint32_t claims_used;
    uint32_t locks_used;
    size_t content_bytes;
};

/* ------------------------------------------------------- service_session.c */

/* Is the secret of the request certainly wrong?  Of a session that isn't known
 * here nothing is certain. */
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

/* Tells those whose acquires the last command settled, and the keeper. */
void locks_settled(struct service *s, const struct lease_at *at);

/* The outcome of a command is that of an acquire which waits: its own, or one of
 * the same request.  Keeps who asked. */
void lock_waits(struct service *s, const struct pending *asker, const struct lease_at *at,
                const struct lease_command *command);

enum lease_rc answer_locks(struct service *s, const struct pending_read *read,
                           struct bytes path, struct service_reply *reply,
                           struct answer_room *room);

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

/* ---------------------------------------------------------- service_boot.c */

/* Memory for `count` things of `size` octets; what is in it is not defined. */
void *table_new(struct service *s, size_t count, size_t size);
void table_free(struct service *s, void *table, size_t count, size_t size);

/* Makes room for `wanted` things at least, `used` of which are kept. */
void *table_grow(struct service *s, void *table, size_t used, size_t *capacity, size_t wanted,
                 size_t size);

#endif
