/* SPDX-License-Identifier: Apache-2.0
 *
 * service_internal.h -- what the sources of the service share, and nobody else.
 *
 *     service.c         events, the turn and its output, sets of changed rows
 *     service_queue.c   writes: from the request through the log to the outcome
 *     service_read.c    reads: from the request through a round to the answer
 *     service_boot.c    the making of a service, and its start from the store
 *     pending.c         who awaits which command
 */
#ifndef LOCKD_SERVICE_INTERNAL_H
#define LOCKD_SERVICE_INTERNAL_H

#include "lockd/pending.h"
#include "lockd/service.h"

enum {
    FORGOTTEN_MAX = 256,               /* Clients gone since the last turn, noted one by one. */
    READ_NAME_OCTETS = 128,            /* Room for names, on average of a waiting read. */
    READ_TURN_BYTES = 4 * 1024 * 1024, /* Of contents answered in one turn, beyond the first. */
    READ_TURN_CHILDREN = 16 * LEASE_LIST_MAX, /* Of lists answered in one turn. */
    REPLIES_FIRST = 256,                      /* Room for replies to begin with. */
};

/* A read that awaits its confirmation round.  Its path and `after` are the
 * oldest piece of the ring of names. */
struct pending_read {
    uint64_t client;
    uint64_t tag;
    uint64_t round;
    uint64_t epoch; /* Of the mastership that the round belongs to. */
    uint32_t limit;
    uint16_t path_size;
    uint16_t after_size;
    uint8_t op; /* 0: nobody's. */
};

struct read_queue {
    struct pending_read *reads; /* Ring of `capacity`. */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    struct byte_ring names;
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

    /* What this turn answers. */
    struct service_reply *replies;
    uint32_t replies_count;
    size_t replies_capacity;
    struct lease_child *children; /* READ_TURN_CHILDREN. */
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

/* --------------------------------------------------------- service_queue.c */

void queue_request(struct service *s, const struct service_request *request, struct bytes path);

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

/* Answers the reads whose rounds are confirmed.  False when some of them are
 * left for the next turn. */
bool reads_answer(struct service *s, uint64_t confirmed);
void reads_lost(struct service *s);

/* Calls `change` for every read that waits. */
void reads_each(struct service *s, void (*change)(void *context, struct pending_read *read),
                void *context);
void reads_check(const struct service *s);

/* ---------------------------------------------------------- service_boot.c */

/* Memory for `count` things of `size` octets; what is in it is not defined. */
void *table_new(struct service *s, size_t count, size_t size);
void table_free(struct service *s, void *table, size_t count, size_t size);

/* Makes room for `wanted` things at least, `used` of which are kept. */
void *table_grow(struct service *s, void *table, size_t used, size_t *capacity, size_t wanted,
                 size_t size);

#endif
