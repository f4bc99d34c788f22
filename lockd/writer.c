/* SPDX-License-Identifier: Apache-2.0
 *
 * writer.c -- the one thread that touches the store.
 *
 *     pass:   all log batches that queued  ->  one transaction  ->  wake
 *             one read of the log          ->  wake
 *             one set                      ->  one transaction  ->  wake
 *             a checkpoint, if one is due
 *
 * Every pass begins with the log, so whatever else there is to do, a vote waits
 * for one piece of it at most.  A batch is cut in two when it is put: what
 * belongs to the log, and its set.  Batches are numbered; a set or a read goes
 * only when the log part of every batch up to its own is written.
 */
#include "lockd/writer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A batch, or the set of one, with all that it points at, in one block. */
struct job {
    struct job *next;
    uint64_t number; /* Of the batch: 1, 2, 3, ... */
    size_t bytes;
    struct store_batch batch;
};

struct wish {
    struct wish *next;
    uint64_t number; /* Of the last batch that was put before it. */
    struct paxos_wanted wanted;
};

struct queue {
    struct job *first, **last;
};

struct store_writer {
    struct store *store; /* The thread's alone. */
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    struct store_batch *commit; /* The thread's: the batches of one transaction. */

    pthread_mutex_t lock; /* All that follows. */
    pthread_cond_t work;
    struct queue logs, sets;
    struct wish *wishes, **wishes_last;
    uint64_t put_number;  /* Of the last batch put ... */
    uint64_t done_number; /* ... and of the last whose log part is written. */
    uint32_t queued;
    bool stopping;
    struct writer_report report; /* What the next poll will say. */
    struct writer_read **reads_last;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ copying */

/* The pieces of a block follow each other, each aligned for any type. */
struct block {
    uint8_t *at;
    uint8_t *end;
};

static size_t aligned(size_t size)
{
    return (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

static void *take(struct block *block, const void *data, size_t size)
{
    assert((size_t)(block->end - block->at) >= aligned(size));
    void *copy = block->at;
    block->at += aligned(size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static struct bytes take_bytes(struct block *block, struct bytes bytes)
{
    /* NULL deletes a row; empty does not. */
    return bytes.data == NULL ? bytes
                              : bytes_of(take(block, bytes.data, bytes.size), bytes.size);
}

static struct job *new_job(size_t size, struct block *ret_block)
{
    const size_t bytes = aligned(sizeof(struct job)) + size;
    struct job *job = malloc(bytes);
    if (job != NULL) {
        *job = (struct job){.bytes = bytes};
        *ret_block = (struct block){.at = (uint8_t *)job + aligned(sizeof(struct job)),
                                    .end = (uint8_t *)job + bytes};
    }
    return job;
}

static struct job *copy_log(const struct store_batch *batch)
{
    size_t size = batch->hard == NULL ? 0 : aligned(sizeof(*batch->hard));
    size += aligned(batch->entries_count * sizeof(*batch->entries));
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        size += aligned(batch->entries[i].value.data.size);
    }
    struct block block;
    struct job *job = new_job(size, &block);
    if (job == NULL) {
        return NULL;
    }
    job->batch = *batch;
    job->batch.set = NULL;
    if (batch->hard != NULL) {
        job->batch.hard = take(&block, batch->hard, sizeof(*batch->hard));
    }
    struct paxos_entry *entries =
        take(&block, batch->entries, batch->entries_count * sizeof(*batch->entries));
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        entries[i].value.data = take_bytes(&block, entries[i].value.data);
    }
    job->batch.entries = entries;
    assert(block.at == block.end);
    return job;
}

static struct job *copy_set(const struct store_set *from)
{
    size_t size = aligned(sizeof(*from)) + aligned(from->rows_count * sizeof(*from->rows));
    for (uint32_t i = 0; i < from->rows_count; i++) {
        size += aligned(from->rows[i].key.size) + aligned(from->rows[i].value.size);
    }
    struct block block;
    struct job *job = new_job(size, &block);
    if (job == NULL) {
        return NULL;
    }
    struct store_set *set = take(&block, from, sizeof(*from));
    struct lease_row *rows = take(&block, from->rows, from->rows_count * sizeof(*from->rows));
    for (uint32_t i = 0; i < from->rows_count; i++) {
        rows[i].key = take_bytes(&block, rows[i].key);
        rows[i].value = take_bytes(&block, rows[i].value);
    }
    set->rows = rows;
    job->batch.set = set;
    return job;
}

/* ------------------------------------------------------------------- queues */

static void queue_push(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct job *queue_pop(struct queue *queue)
{
    struct job *job = queue->first;
    assert(job != NULL);
    queue->first = job->next;
    if (queue->first == NULL) {
        queue->last = &queue->first;
    }
    return job;
}

static void free_jobs(struct job *job)
{
    while (job != NULL) {
        struct job *next = job->next;
        free(job);
        job = next;
    }
}

static void free_wishes(struct wish *wish)
{
    while (wish != NULL) {
        struct wish *next = wish->next;
        free(wish);
        wish = next;
    }
}

/* Under the lock.  Final: what is queued will never be written. */
static void set_failed(struct store_writer *w, const char *text)
{
    if (!w->report.failed) {
        w->report.failed = true;
        snprintf(w->report.failure, sizeof(w->report.failure), "%s", text);
    }
}

/* --------------------------------------------------------------- the thread */

/* Takes all log batches that one transaction may hold.  Under the lock. */
static uint32_t take_logs(struct store_writer *w, struct job **ret_jobs)
{
    struct queue taken = {.last = &taken.first};
    size_t bytes = 0;
    uint32_t count = 0;
    while (w->logs.first != NULL && count < WRITER_QUEUE_BATCHES &&
           (count == 0 || bytes + w->logs.first->bytes <= WRITER_COMMIT_BYTES)) {
        struct job *job = queue_pop(&w->logs);
        bytes += job->bytes;
        w->commit[count++] = job->batch;
        queue_push(&taken, job);
    }
    *ret_jobs = taken.first;
    return count;
}

/* Runs outside of the lock; takes it to tell. */
static void commit(struct store_writer *w, struct job *jobs, uint32_t count)
{
    const uint64_t start = now_us();
    const enum store_rc rc = store_write(w->store, w->commit, count);
    const uint64_t took = now_us() - start;

    pthread_mutex_lock(&w->lock);
    struct writer_report *report = &w->report;
    if (rc != STORE_OK) {
        set_failed(w, store_error(w->store));
    } else {
        report->commits++;
        report->batches += count;
    }
    for (const struct job *job = jobs; job != NULL; job = job->next) {
        const struct store_set *set = job->batch.set;
        w->queued--;
        report->queued_bytes -= job->bytes;
        if (rc == STORE_OK && set != NULL) {
            report->applied_slot = set->applied_slot;
        } else if (rc == STORE_OK) {
            w->done_number = job->number;
            report->ticket =
                job->batch.ticket > report->ticket ? job->batch.ticket : report->ticket;
            report->commit_us_last = took;
            report->commit_us_max = took > report->commit_us_max ? took : report->commit_us_max;
        }
    }
    pthread_mutex_unlock(&w->lock);
    w->wake(w->context);
    free_jobs(jobs);
}

static void write_logs(struct store_writer *w)
{
    struct job *jobs = NULL;
    pthread_mutex_lock(&w->lock);
    const uint32_t count = w->report.failed ? 0 : take_logs(w, &jobs);
    pthread_mutex_unlock(&w->lock);
    if (count > 0) {
        commit(w, jobs, count);
    }
}

static void write_set(struct store_writer *w)
{
    struct job *job = NULL;
    pthread_mutex_lock(&w->lock);
    if (!w->report.failed && w->sets.first != NULL && w->sets.first->number <= w->done_number) {
        job = queue_pop(&w->sets);
        job->next = NULL;
        w->commit[0] = job->batch;
    }
    pthread_mutex_unlock(&w->lock);
    if (job != NULL) {
        commit(w, job, 1);
    }
}

/* A read that is being collected: the block grows, so its pointers are set when
 * it is done. */
struct collecting {
    uint64_t next_slot;
    uint32_t count;
    struct paxos_entry entries[PAXOS_MESSAGE_ENTRIES];
    uint8_t *data;
    size_t size, capacity;
    bool exhausted; /* No memory. */
};

static bool collect(void *context, const struct paxos_entry *entry)
{
    struct collecting *c = context;
    const struct bytes data = entry->value.data;
    const size_t first = c->count == 0 ? 0 : c->entries[0].value.data.size;
    if (entry->slot != c->next_slot ||
        (c->count > 0 && c->size - first + data.size > PAXOS_MESSAGE_BYTES)) {
        return false;
    }
    if (c->capacity - c->size < data.size) {
        const size_t capacity = 2 * c->capacity + data.size;
        uint8_t *grown = realloc(c->data, capacity);
        if (grown == NULL) {
            c->exhausted = true;
            return false;
        }
        c->data = grown;
        c->capacity = capacity;
    }
    if (data.size > 0) {
        memcpy(c->data + c->size, data.data, data.size);
    }
    c->size += data.size;
    c->entries[c->count++] = *entry;
    c->next_slot++;
    return true;
}

/* One block for the answer: itself, the entries, their data. */
static struct writer_read *make_read(const struct paxos_wanted *wanted,
                                     const struct collecting *c)
{
    const size_t head = aligned(sizeof(struct writer_read));
    const size_t entries_size = aligned(c->count * sizeof(struct paxos_entry));
    struct writer_read *read = malloc(head + entries_size + c->size);
    if (read == NULL) {
        return NULL;
    }
    struct paxos_entry *entries = (void *)((uint8_t *)read + head);
    uint8_t *data = (uint8_t *)read + head + entries_size;
    if (c->size > 0) {
        memcpy(data, c->data, c->size);
    }
    for (uint32_t i = 0; i < c->count; i++) {
        entries[i] = c->entries[i];
        entries[i].value.data.data = data;
        data += entries[i].value.data.size;
    }
    *read = (struct writer_read){.answer = {.peer = wanted->peer,
                                            .slot = wanted->slot,
                                            .entries = entries,
                                            .entries_count = c->count}};
    return read;
}

static void read_log(struct store_writer *w, const struct paxos_wanted *wanted)
{
    struct collecting c = {.next_slot = wanted->slot};
    const enum store_rc rc =
        store_log(w->store, wanted->slot, wanted->last, PAXOS_MESSAGE_ENTRIES, collect, &c);
    struct writer_read *read = rc == STORE_OK && !c.exhausted ? make_read(wanted, &c) : NULL;
    free(c.data);

    pthread_mutex_lock(&w->lock);
    if (read != NULL) {
        *w->reads_last = read;
        w->reads_last = &read->next;
    } else {
        set_failed(w, rc == STORE_OK ? "out of memory" : store_error(w->store));
    }
    pthread_mutex_unlock(&w->lock);
    w->wake(w->context);
}

static void read_one(struct store_writer *w)
{
    struct wish *wish = NULL;
    pthread_mutex_lock(&w->lock);
    if (!w->report.failed && w->wishes != NULL && w->wishes->number <= w->done_number) {
        wish = w->wishes;
        w->wishes = wish->next;
        w->wishes_last = w->wishes == NULL ? &w->wishes : w->wishes_last;
    }
    pthread_mutex_unlock(&w->lock);
    if (wish != NULL) {
        read_log(w, &wish->wanted);
        free(wish);
    }
}

static void maintain(struct store_writer *w, bool idle)
{
    if (store_maintain(w->store, idle) != STORE_OK) {
        pthread_mutex_lock(&w->lock);
        set_failed(w, store_error(w->store));
        pthread_mutex_unlock(&w->lock);
        w->wake(w->context);
    }
}

static void look_at_space(struct store_writer *w)
{
    const uint64_t free_bytes = store_free_bytes(w->store);
    pthread_mutex_lock(&w->lock);
    w->report.free_bytes = free_bytes;
    pthread_mutex_unlock(&w->lock);
    w->wake(w->context);
}

static bool anything_queued(const struct store_writer *w)
{
    return !w->report.failed &&
           (w->logs.first != NULL || w->sets.first != NULL || w->wishes != NULL);
}

/* Waits for work, at most `timeout_us`.  False when there is none. */
static bool wait_for_work(struct store_writer *w, uint64_t timeout_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t nsec = (uint64_t)until.tv_nsec + timeout_us % 1000000 * 1000;
    until.tv_sec += (time_t)(timeout_us / 1000000 + nsec / 1000000000);
    until.tv_nsec = (long)(nsec % 1000000000);

    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (!anything_queued(w) && !w->stopping && rc == 0) {
        rc = pthread_cond_timedwait(&w->work, &w->lock, &until);
    }
    const bool work = anything_queued(w);
    pthread_mutex_unlock(&w->lock);
    return work;
}

static bool finished(struct store_writer *w)
{
    pthread_mutex_lock(&w->lock);
    const bool end = w->stopping && !anything_queued(w);
    pthread_mutex_unlock(&w->lock);
    return end;
}

static void *run(void *argument)
{
    struct store_writer *w = argument;
    uint64_t looked_us = 0;
    bool rested = true; /* No work since the last idle checkpoint. */
    while (!finished(w)) {
        if (looked_us == 0 || now_us() - looked_us >= WRITER_SPACE_MS * UINT64_C(1000)) {
            look_at_space(w);
            looked_us = now_us();
        }
        /* An idle cell wakes up for the look at free space alone. */
        if (wait_for_work(w, (rested ? WRITER_SPACE_MS : WRITER_IDLE_MS) * UINT64_C(1000))) {
            write_logs(w);
            read_one(w);
            write_set(w);
            maintain(w, /* idle= */ false);
            rested = false;
        } else if (!rested) {
            maintain(w, /* idle= */ true);
            rested = true;
        }
    }
    return NULL;
}

/* --------------------------------------------------------- the loop's side */

struct store_writer *writer_new(struct store *store, void (*wake)(void *context), void *context)
{
    struct store_writer *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return NULL;
    }
    *w = (struct store_writer){.store = store,
                               .wake = wake,
                               .context = context,
                               .logs.last = &w->logs.first,
                               .sets.last = &w->sets.first,
                               .wishes_last = &w->wishes,
                               .reads_last = &w->report.reads,
                               .report.free_bytes = UINT64_MAX};
    w->commit = calloc(WRITER_QUEUE_BATCHES, sizeof(*w->commit));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, &attributes);
    pthread_condattr_destroy(&attributes);
    if (w->commit == NULL || pthread_create(&w->thread, NULL, run, w) != 0) {
        pthread_cond_destroy(&w->work);
        pthread_mutex_destroy(&w->lock);
        free(w->commit);
        free(w);
        return NULL;
    }
    return w;
}

/* Under the lock. */
static void enqueue(struct store_writer *w, struct queue *queue, struct job *job)
{
    if (job == NULL) {
        set_failed(w, "out of memory");
        return;
    }
    job->number = w->put_number;
    w->queued++;
    w->report.queued_bytes += job->bytes;
    queue_push(queue, job);
}

void writer_put(struct store_writer *w, const struct store_batch *batch)
{
    struct job *log = copy_log(batch);
    struct job *set = batch->set == NULL ? NULL : copy_set(batch->set);

    pthread_mutex_lock(&w->lock);
    if (w->report.failed) {
        free(log);
        free(set);
    } else {
        w->put_number++;
        enqueue(w, &w->logs, log);
        if (batch->set != NULL) {
            enqueue(w, &w->sets, set);
        }
    }
    const bool failed = w->report.failed;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    if (failed) {
        w->wake(w->context);
    }
}

bool writer_full(struct store_writer *w)
{
    pthread_mutex_lock(&w->lock);
    const bool full =
        w->queued >= WRITER_QUEUE_BATCHES || w->report.queued_bytes >= WRITER_QUEUE_BYTES;
    pthread_mutex_unlock(&w->lock);
    return full;
}

void writer_read_log(struct store_writer *w, const struct paxos_wanted *wanted)
{
    struct wish *wish = malloc(sizeof(*wish));
    pthread_mutex_lock(&w->lock);
    if (wish == NULL) {
        set_failed(w, "out of memory");
    } else {
        *wish = (struct wish){.number = w->put_number, .wanted = *wanted};
        *w->wishes_last = wish;
        w->wishes_last = &wish->next;
    }
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

void writer_poll(struct store_writer *w, struct writer_report *ret_report)
{
    pthread_mutex_lock(&w->lock);
    *ret_report = w->report;
    w->report.reads = NULL;
    w->reads_last = &w->report.reads;
    pthread_mutex_unlock(&w->lock);
}

void writer_read_done(struct writer_read *read)
{
    free(read);
}

bool writer_stop(struct store_writer *w)
{
    if (w == NULL) {
        return true;
    }
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);

    const bool written = !w->report.failed;
    while (w->report.reads != NULL) {
        struct writer_read *next = w->report.reads->next;
        writer_read_done(w->report.reads);
        w->report.reads = next;
    }
    free_jobs(w->logs.first);
    free_jobs(w->sets.first);
    free_wishes(w->wishes);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w->commit);
    free(w);
    return written;
}
