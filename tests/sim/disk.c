/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"
#include "tests/sim/audit.h"
#include "tests/sim/disk_internal.h"
#include "tests/sim/disk_store.h"
#include "tests/sim/points.h"
#include "tests/sim/replica.h"

enum { HEALED_SYNC_US_MAX = 20000, RESTART_US_MAX = 1000000 };

/* ----------------------------------------------------------- what commits do */

static void commit_log(struct world *w, struct disk *d, const struct store_batch *batch)
{
    audit_committed(w, d, batch);
    if (batch->hard != NULL) {
        d->hard = *batch->hard;
    }
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        platter_put_entry(d, &batch->entries[i]);
    }
    if (batch->chosen_mark > d->chosen_mark) {
        d->chosen_mark = batch->chosen_mark;
    }
    audit_marked(w, d);
}

static void commit_rows(struct disk *d, const struct store_set *set)
{
    for (uint32_t i = 0; i < set->rows_count; i++) {
        platter_put_row(d, &set->rows[i]);
    }
}

static void commit_position(struct disk *d, const struct store_set *set)
{
    d->applied_slot = set->applied_slot;
    d->applied_position = set->applied_position;
    d->digest = set->digest;
    platter_trim(d, set->trim < set->applied_slot ? set->trim : set->applied_slot);
}

/* ---------------------------------------------------------------- queue */

static void append(struct disk *d, struct disk_job *job)
{
    job->next = NULL;
    if (d->queue_last == NULL) {
        d->queue_first = job;
    } else {
        d->queue_last->next = job;
    }
    d->queue_last = job;
}

static struct bytes copy_into(struct writer *room, struct bytes bytes)
{
    uint8_t *at = write_reserve(room, bytes.size);
    assert(at != NULL);
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return bytes_of(at, bytes.size);
}

static void queue_log(struct disk *d, const struct store_batch *batch)
{
    size_t data = 0;
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        data += batch->entries[i].value.data.size;
    }
    const size_t entries = batch->entries_count * sizeof *batch->entries;
    struct disk_job *job = sim_allocate(sizeof *job + entries + data);
    *job = (struct disk_job){.kind = JOB_LOG, .batch = *batch};
    job->batch.set = NULL;
    if (batch->hard != NULL) {
        job->hard = *batch->hard;
        job->batch.hard = &job->hard;
    }
    struct paxos_entry *copies = (struct paxos_entry *)(job + 1);
    struct writer room = writer_over((uint8_t *)copies + entries, data);
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        copies[i] = batch->entries[i];
        copies[i].value.data = copy_into(&room, batch->entries[i].value.data);
    }
    job->batch.entries = copies;
    append(d, job);
}

static void queue_set(struct disk *d, const struct store_set *set)
{
    size_t data = 0;
    for (uint32_t i = 0; i < set->rows_count; i++) {
        data += set->rows[i].key.size + set->rows[i].value.size;
    }
    const size_t rows = set->rows_count * sizeof *set->rows;
    struct disk_job *job = sim_allocate(sizeof *job + rows + data);
    *job = (struct disk_job){.kind = JOB_SET, .set = *set};
    struct lease_row *copies = (struct lease_row *)(job + 1);
    struct writer room = writer_over((uint8_t *)copies + rows, data);
    for (uint32_t i = 0; i < set->rows_count; i++) {
        const struct lease_row *row = &set->rows[i];
        copies[i].key = copy_into(&room, row->key);
        copies[i].value = row->value.data == NULL ? row->value : copy_into(&room, row->value);
    }
    job->set.rows = copies;
    append(d, job);
}

/* ----------------------------------------------------------- transactions */

static void report(struct world *w, const struct event *event);

static bool has_log(const struct disk_job *job)
{
    while (job != NULL && job->kind == JOB_SET) {
        job = job->next;
    }
    return job != NULL;
}

/* Takes what makes up the next operation out of the queue: everything but the
 * sets, or, when there is nothing else, the first set. */
static struct disk_job *take_operation(struct disk *d)
{
    const bool log = has_log(d->queue_first);
    struct disk_job *taken = NULL, **taken_end = &taken;
    struct disk_job **at = &d->queue_first;
    d->queue_last = NULL;
    while (*at != NULL) {
        struct disk_job *job = *at;
        const bool wanted = log ? job->kind != JOB_SET : taken == NULL;
        if (wanted) {
            *at = job->next;
            job->next = NULL;
            *taken_end = job;
            taken_end = &job->next;
        } else {
            d->queue_last = job;
            at = &job->next;
        }
    }
    return taken;
}

static uint64_t sync_us(struct world *w, struct disk *d)
{
    uint32_t most = w->plan.sync_us_max;
    if (w->healed && most > HEALED_SYNC_US_MAX) {
        most = HEALED_SYNC_US_MAX;
    }
    const uint32_t least = w->plan.sync_us_min < most ? w->plan.sync_us_min : most;
    return rng_between(&d->rng, least, most);
}

static void sync_later(struct world *w, struct disk *d, bool first_part)
{
    uint64_t at_us = w->now_us + sync_us(w, d);
    if (at_us < d->stalled_until_us) {
        at_us = d->stalled_until_us;
    }
    d->operation++;
    /* `b` = operation and, in its lowest bit, whether a second part follows. */
    world_at(w, at_us,
             (struct event){
                 .run = report, .a = d->index, .b = d->operation << 1 | (first_part ? 1 : 0)});
}

/* A real store does it by itself. */
static bool set_apart(const struct disk *d)
{
    return mutant(applied_slot_apart) && d->writing->kind == JOB_SET && d->store == NULL;
}

static void begin(struct world *w, struct disk *d)
{
    if (d->writing != NULL || d->queue_first == NULL) {
        return;
    }
    d->writing = take_operation(d);
    sync_later(w, d, set_apart(d));
}

void disk_commit(struct world *w, struct disk *d, const struct disk_job *jobs, uint32_t count)
{
    for (const struct disk_job *job = jobs; job != NULL && count > 0;
         job = job->next, count--) {
        switch (job->kind) {
        case JOB_LOG:
            commit_log(w, d, &job->batch);
            break;
        case JOB_SET:
            commit_rows(d, &job->set);
            commit_position(d, &job->set);
            break;
        case JOB_READ:
            break;
        }
    }
}

void disk_free_jobs(struct disk_job *job)
{
    while (job != NULL) {
        struct disk_job *next = job->next;
        free(job);
        job = next;
    }
}

/* Tells the replica of each job; returns what was told to be freed. */
static void tell(struct world *w, struct disk *d, const struct disk_job *jobs)
{
    struct replica *r = w->replicas[d->index];
    uint64_t ticket = 0;
    for (const struct disk_job *job = jobs; job != NULL; job = job->next) {
        if (job->kind == JOB_LOG && job->batch.ticket > ticket) {
            ticket = job->batch.ticket;
        }
    }
    if (ticket != 0) {
        replica_durable(w, r, ticket);
    }
    for (const struct disk_job *job = jobs; job != NULL; job = job->next) {
        if (job->kind == JOB_SET) {
            replica_set_durable(w, r, job->set.applied_slot);
        } else if (job->kind == JOB_READ) {
            replica_log_was_read(w, r, &job->wanted);
        }
    }
}

/* A write, a read or a sync has failed: the process ends, and somebody starts it
 * again. */
static void fail(struct world *w, struct disk *d)
{
    struct replica *r = w->replicas[d->index];
    replica_crash(w, r, chance_percent(&d->rng, 30));
    replica_boot_later(w, r, rng_between(&d->rng, 0, RESTART_US_MAX));
}

/* The operation under way has ended.  The platter has it from now on, but a
 * stopped process hears of it only when it goes on, and begins nothing before. */
static void report(struct world *w, const struct event *event)
{
    struct disk *d = &w->replicas[event->a]->disk;
    if (event->b >> 1 != d->operation || d->writing == NULL) {
        return; /* A crash came first. */
    }
    if (replica_postpone(w, w->replicas[event->a], event)) {
        return;
    }
    if ((event->b & 1) != 0) {
        commit_rows(d, &d->writing->set);
        sync_later(w, d, /* first_part= */ false);
        return;
    }
    if (points_at_sync(w, w->replicas[event->a])) {
        return;
    }
    if (d->store != NULL && !disk_store_write(w, d)) {
        fail(w, d);
        return;
    }
    disk_commit(w, d, d->writing, UINT32_MAX);
    struct disk_job *jobs = d->writing;
    d->writing = NULL;
    if (d->store != NULL && !disk_store_rest(w, d, jobs)) {
        disk_free_jobs(jobs);
        fail(w, d);
        return;
    }
    begin(w, d);
    tell(w, d, jobs);
    disk_free_jobs(jobs);
}

/* ------------------------------------------------------------------- life */

void disk_start(struct world *w, struct disk *d, uint32_t index)
{
    *d = (struct disk){.index = index, .rng = {.state = rng_next(&w->chance)}, .log_base = 1};
}

void disk_stop(struct disk *d)
{
    platter_free(d);
    disk_store_free(d->store);
    disk_free_jobs(d->writing);
    disk_free_jobs(d->queue_first);
    *d = (struct disk){.index = d->index};
}

void disk_abandon(struct disk *d)
{
    disk_store_free(d->store);
    d->store = NULL;
}

void disk_format(struct world *w, struct disk *d, uint64_t identity,
                 const struct paxos_hard *hard)
{
    assert(identity != 0 && d->identity == 0);
    d->identity = identity;
    d->hard = *hard;
    d->store = w->plan.full ? disk_store_new(w, d, hard) : NULL;
}

bool disk_boot(struct world *w, struct disk *d)
{
    if (d->store != NULL) {
        return disk_store_boot(w, d);
    }
    d->incarnation++;
    return true;
}

void disk_write(struct world *w, struct disk *d, const struct store_batch *batch)
{
    const bool log = batch->ticket != 0 || batch->hard != NULL || batch->entries_count > 0 ||
                     batch->chosen_mark != 0;
    if (log) {
        queue_log(d, batch);
    }
    if (batch->set != NULL) {
        queue_set(d, batch->set);
    }
    begin(w, d);
}

void disk_read_log(struct world *w, struct disk *d, const struct paxos_wanted *wanted)
{
    struct disk_job *job = sim_allocate(sizeof *job);
    *job = (struct disk_job){.kind = JOB_READ, .wanted = *wanted};
    append(d, job);
    begin(w, d);
}

uint32_t disk_under_way(const struct disk *d)
{
    uint32_t count = 0;
    for (const struct disk_job *job = d->writing; job != NULL; job = job->next) {
        count++;
    }
    return count;
}

static uint32_t survivors(struct disk *d)
{
    const uint32_t all = disk_under_way(d);
    switch (d->fate) {
    case DISK_CHANCE:
        return chance_percent(&d->rng, 50) ? all : 0;
    case DISK_THERE:
        return all;
    case DISK_HALF:
        return all / 2;
    case DISK_GONE:
        return 0;
    }
    return 0;
}

void disk_crash(struct world *w, struct disk *d)
{
    if (d->store != NULL) {
        disk_store_crash(w, d);
    } else if (d->writing != NULL && !set_apart(d)) {
        disk_commit(w, d, d->writing, survivors(d));
    }
    disk_free_jobs(d->writing);
    disk_free_jobs(d->queue_first);
    d->writing = d->queue_first = d->queue_last = NULL;
    d->operation++;
    if (d->stalled_until_us > w->now_us) {
        d->stalled_until_us = w->now_us;
    }
}

void disk_stall(struct disk *d, uint64_t until_us)
{
    if (until_us > d->stalled_until_us) {
        d->stalled_until_us = until_us;
    }
}
