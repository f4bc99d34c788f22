/* SPDX-License-Identifier: Apache-2.0
 *
 * writer.h -- the one thread that touches the store.
 *
 *     loop:    writer_put() ---> queue ---> one transaction, one sync
 *              writer_poll() <-- wake() <-- "durable up to ticket n"
 *
 * Group commit: the thread takes all that has queued since its last sync and
 * writes it as one transaction, so whatever came while one sync ran shares the
 * next.  A set of changed rows goes in a transaction of its own, behind the log
 * rows of its batch, and log rows that have queued meanwhile go before the next
 * set.  So the loop never waits for a disk, and a vote waits for one set at most.
 *
 * All functions are for the loop's thread.  None of them blocks on the disk,
 * writer_stop() excepted.
 */
#ifndef LOCKD_WRITER_H
#define LOCKD_WRITER_H

#include "lockd/store.h"

enum {
    WRITER_QUEUE_BATCHES = 1024,           /* From here on, or ... */
    WRITER_QUEUE_BYTES = 64 * 1024 * 1024, /* ... from here on writer_full(). */
    WRITER_COMMIT_BYTES = 8 * 1024 * 1024, /* Of log batches in one transaction; one at least. */
    WRITER_IDLE_MS = 50,                   /* Nothing queued for this long: idle checkpoint. */
    WRITER_SPACE_MS = 1000,                /* How often free space is looked at. */
    WRITER_FAILURE_MAX = 256,              /* Octets of the failure's text, with the NUL. */
};

struct store_writer; /* bytes.h has the shorter name for its cursor. */

/* Starts the thread.  The store is its own until writer_stop() returns; the
 * caller closes it then.  `wake(context)` is called from the thread whenever
 * writer_poll() has something new; it must be quick and thread-safe
 * (ev_async_send() is).  NULL when no thread can be had. */
struct store_writer *writer_new(struct store *store, void (*wake)(void *context),
                                void *context);

/* Queues a batch, copied whole.  Batches become durable in the order of their
 * putting.  What is put after a failure is dropped: nothing of it will ever be
 * reported. */
void writer_put(struct store_writer *w, const struct store_batch *batch);

/* Back-pressure: take in no more requests until a wake finds it false.  It is
 * advice: a batch that is put all the same is queued, because a vote once cast
 * can't be taken back; paxos' window bounds how much that may be. */
bool writer_full(struct store_writer *w);

/* Queues a read of the log, behind all that was put before it. */
void writer_read_log(struct store_writer *w, const struct paxos_wanted *wanted);

/* A finished read.  `answer` lives until writer_read_done(). */
struct writer_read {
    struct writer_read *next;
    struct paxos_log_read answer; /* Consecutive entries; none: no longer in the log. */
};

/* What has happened until now.  Numbers are totals; `reads` are those finished
 * since the last poll, and belong to the caller. */
struct writer_report {
    uint64_t ticket;         /* All tickets up to here are on disk; 0: none yet. */
    uint64_t applied_slot;   /* The newest set on disk; 0: none yet. */
    bool failed;             /* Final: stop the replica, answer nothing more. */
    char failure[WRITER_FAILURE_MAX];
    struct writer_read *reads;

    uint64_t free_bytes;     /* That the store may still fill; UINT64_MAX: not yet known. */
    uint64_t commits;        /* Transactions, sets included. */
    uint64_t batches;        /* In them. */
    uint64_t commit_us_last; /* From the begin of a log transaction to the end of its sync. */
    uint64_t commit_us_max;
    uint64_t queued_bytes;   /* Copied and not yet written. */
};

void writer_poll(struct store_writer *w, struct writer_report *ret_report);
void writer_read_done(struct writer_read *read); /* Takes NULL. */

/* Writes all that is queued, ends the thread and frees everything, reads not
 * yet polled included.  No wake comes after it.  False when something could not
 * be written.  Takes NULL. */
bool writer_stop(struct store_writer *w);

#endif
