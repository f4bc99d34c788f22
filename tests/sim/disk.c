/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"
#include "tests/sim/audit.h"
#include "tests/sim/replica.h"

enum { HEALED_SYNC_US_MAX = 20000 };

enum job_kind {
    JOB_LOG,  /* Hard state, log rows, chosen mark. */
    JOB_SET,  /* Rows of the tables, and how far they reach. */
    JOB_READ, /* Of the log, for a peer. */
};

/* One allocation; what the batch points at follows behind it. */
struct disk_job {
    struct disk_job *next;
    enum job_kind kind;
    struct store_batch batch;
    struct store_set set;
    struct paxos_hard hard;
    struct paxos_wanted wanted;
};

/* --------------------------------------------------------------- platter */

static struct disk_slot *log_slot(struct disk *d, paxos_slot slot)
{
    assert(slot >= d->log_base);
    const uint64_t at = slot - d->log_base;
    if (at >= d->log_capacity) {
        uint32_t capacity = d->log_capacity == 0 ? 256 : d->log_capacity;
        while (at >= capacity) {
            capacity *= 2;
        }
        d->log = sim_resize(d->log, capacity * sizeof *d->log);
        d->log_capacity = capacity;
    }
    while (d->log_count <= at) {
        d->log[d->log_count++] = (struct disk_slot){.present = false};
    }
    return &d->log[at];
}

static void forget_slot(struct disk_slot *slot)
{
    if (slot->present) {
        free((void *)(uintptr_t)slot->entry.value.data.data);
        slot->present = false;
    }
}

static struct bytes own_bytes(struct bytes bytes)
{
    uint8_t *copy = sim_allocate(bytes.size + 1);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_of(copy, bytes.size);
}

static void put_entry(struct disk *d, const struct paxos_entry *entry)
{
    if (entry->slot < d->log_base) {
        return; /* Trimmed since: the tables hold its effects. */
    }
    struct disk_slot *slot = log_slot(d, entry->slot);
    forget_slot(slot);
    slot->entry = *entry;
    slot->entry.value.data = own_bytes(entry->value.data);
    slot->present = true;
}

static void trim_log(struct disk *d, uint64_t up_to)
{
    uint32_t gone = 0;
    while (gone < d->log_count && d->log_base + gone <= up_to) {
        forget_slot(&d->log[gone]);
        gone++;
    }
    memmove(d->log, d->log + gone, (d->log_count - gone) * sizeof *d->log);
    d->log_count -= gone;
    if (up_to >= d->log_base) {
        d->log_base = up_to + 1;
    }
}

static uint32_t row_place(const struct disk *d, struct bytes key)
{
    uint32_t low = 0, high = d->rows_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(d->rows[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void free_row(struct disk_row *row)
{
    free((void *)(uintptr_t)row->key.data);
}

static struct disk_row own_row(const struct lease_row *row)
{
    uint8_t *copy = sim_allocate(row->key.size + row->value.size + 1);
    memcpy(copy, row->key.data, row->key.size);
    memcpy(copy + row->key.size, row->value.data, row->value.size);
    return (struct disk_row){.key = bytes_of(copy, row->key.size),
                             .value = bytes_of(copy + row->key.size, row->value.size)};
}

static void delete_row(struct disk *d, uint32_t at)
{
    free_row(&d->rows[at]);
    d->rows_count--;
    memmove(&d->rows[at], &d->rows[at + 1], (d->rows_count - at) * sizeof *d->rows);
}

static void put_row(struct disk *d, const struct lease_row *row)
{
    const uint32_t at = row_place(d, row->key);
    const bool found = at < d->rows_count && bytes_equal(d->rows[at].key, row->key);
    if (row->value.data == NULL) {
        if (found) {
            delete_row(d, at);
        }
        return;
    }
    if (found) {
        free_row(&d->rows[at]);
    } else {
        if (d->rows_count == d->rows_capacity) {
            d->rows_capacity = d->rows_capacity == 0 ? 64 : d->rows_capacity * 2;
            d->rows = sim_resize(d->rows, d->rows_capacity * sizeof *d->rows);
        }
        memmove(&d->rows[at + 1], &d->rows[at], (d->rows_count - at) * sizeof *d->rows);
        d->rows_count++;
    }
    d->rows[at] = own_row(row);
}

static void commit_log(struct world *w, struct disk *d, const struct store_batch *batch)
{
    audit_committed(w, d, batch);
    if (batch->hard != NULL) {
        d->hard = *batch->hard;
    }
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        put_entry(d, &batch->entries[i]);
    }
    if (batch->chosen_mark > d->chosen_mark) {
        d->chosen_mark = batch->chosen_mark;
    }
    audit_marked(w, d);
}

static void commit_rows(struct disk *d, const struct store_set *set)
{
    for (uint32_t i = 0; i < set->rows_count; i++) {
        put_row(d, &set->rows[i]);
    }
}

static void commit_position(struct disk *d, const struct store_set *set)
{
    d->applied_slot = set->applied_slot;
    d->applied_position = set->applied_position;
    d->digest = set->digest;
    trim_log(d, set->trim < set->applied_slot ? set->trim : set->applied_slot);
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

static void begin(struct world *w, struct disk *d)
{
    if (d->writing != NULL || d->queue_first == NULL) {
        return;
    }
    d->writing = take_operation(d);
    sync_later(w, d, d->writing->kind == JOB_SET && mutant(applied_slot_apart));
}

static void commit(struct world *w, struct disk *d)
{
    for (const struct disk_job *job = d->writing; job != NULL; job = job->next) {
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

static void free_jobs(struct disk_job *job)
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
    commit(w, d);
    struct disk_job *jobs = d->writing;
    d->writing = NULL;
    begin(w, d);
    tell(w, d, jobs);
    free_jobs(jobs);
}

/* ------------------------------------------------------------------- life */

void disk_start(struct world *w, struct disk *d, uint32_t index)
{
    *d = (struct disk){.index = index, .rng = {.state = rng_next(&w->chance)}, .log_base = 1};
}

void disk_stop(struct disk *d)
{
    for (uint32_t i = 0; i < d->log_count; i++) {
        forget_slot(&d->log[i]);
    }
    for (uint32_t i = 0; i < d->rows_count; i++) {
        free_row(&d->rows[i]);
    }
    free_jobs(d->writing);
    free_jobs(d->queue_first);
    free(d->log);
    free(d->rows);
    *d = (struct disk){.index = d->index};
}

void disk_format(struct disk *d, uint64_t identity, const struct paxos_hard *hard)
{
    assert(identity != 0 && d->identity == 0);
    d->identity = identity;
    d->hard = *hard;
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

void disk_crash(struct world *w, struct disk *d)
{
    if (d->writing != NULL && chance_percent(&d->rng, 50) &&
        !(d->writing->kind == JOB_SET && mutant(applied_slot_apart))) {
        commit(w, d);
    }
    free_jobs(d->writing);
    free_jobs(d->queue_first);
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

const struct paxos_entry *disk_log_at(const struct disk *d, paxos_slot slot)
{
    if (slot < d->log_base || slot - d->log_base >= d->log_count) {
        return NULL;
    }
    const struct disk_slot *at = &d->log[slot - d->log_base];
    return at->present ? &at->entry : NULL;
}

paxos_slot disk_log_last(const struct disk *d)
{
    return d->log_base + d->log_count - 1;
}
