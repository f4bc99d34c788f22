/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lockd/writer.h"
#include "paxos/codec.h"
#include "tests/sim/audit.h"
#include "tests/sim/disk_internal.h"
#include "tests/sim/replica.h"

enum {
    MS = 1000,
    CUT_PERCENT = 15, /* Of starts: the power went before. */
    DIES_PERCENT = 8, /* Of starts: it goes in the midst of it. */
    START_CALLS = 40, /* To the drive, that a start may take. */
    DETAIL_BYTES = 512,
    DRIVE_BYTES = 1 << 30,
    RESERVE_BYTES = 64 << 20, /* The daemon's default. */
};

/* ------------------------------------------------------------------ folders */

static void remove_folder(const char *folder)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry;
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    if (listing != NULL) {
        closedir(listing);
    }
    rmdir(folder);
}

static void make_folder(char *folder, size_t size)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, size, "%s/locksim-XXXXXX", base);
    if (mkdtemp(folder) == NULL) {
        perror("locksim: a folder for a store");
        exit(EXIT_FAILURE);
    }
}

/* -------------------------------------------------------------------- space */

static const struct drive *asked;

/* The store asks how much room its file system has: that of the drive in question. */
int fstatvfs(int fd, struct statvfs *fs)
{
    (void)fd;
    const uint64_t limit = drive_room(asked);
    *fs =
        (struct statvfs){.f_frsize = 1, .f_bavail = limit < DRIVE_BYTES ? limit : DRIVE_BYTES};
    return 0;
}

/* Of the ballast, which is never looked at: memory is dear. */
int posix_fallocate(int fd, off_t offset, off_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    return 0;
}

/* What the writer does each second, and the loop with what it says. */
static void on_look(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    struct disk_store *s = r->disk.store;
    if (r->state == REPLICA_UP) {
        asked = s->drive;
        const uint64_t limit = s->low ? RESERVE_BYTES + RESERVE_BYTES / 4 : RESERVE_BYTES;
        const bool low = store_free_bytes(s->store) < limit;
        if (low != s->low) {
            s->low = low;
            service_low_space(r->service, low);
        }
    }
    world_at(w, w->now_us + WRITER_SPACE_MS * MS, *event);
}

/* ------------------------------------------------------------------ the store */

struct disk_store *disk_store_new(struct world *w, const struct disk *d,
                                  const struct paxos_hard *hard)
{
    static bool registered;
    if (!registered) {
        drive_register();
        registered = true;
    }
    sqlite3_randomness(0, NULL); /* Begins anew with what the drive's VFS draws. */
    struct disk_store *s = sim_allocate(sizeof *s);
    *s = (struct disk_store){.rng = {.state = w->seed * PLAN_REPLICAS_MAX + d->index}};
    make_folder(s->folder, sizeof s->folder);
    s->drive = drive_new(s->folder);
    const struct store_identity identity = {
        .cell = "sim", .replica = (paxos_id)(d->index + 1), .identity = d->identity};
    char detail[DETAIL_BYTES] = "";
    if (store_init(s->folder, &identity, hard, detail, sizeof detail) != STORE_OK) {
        world_fail(w, "store", "no store can be made: %s", detail);
    }
    drive_forget(s->drive);
    world_at(w, 0, (struct event){.run = on_look, .a = d->index});
    return s;
}

void disk_store_free(struct disk_store *s)
{
    if (s == NULL) {
        return;
    }
    store_close(s->store);
    drive_free(s->drive);
    remove_folder(s->folder);
    disk_free_jobs(s->doubtful);
    free(s);
}

/* ----------------------------------------------------------------- writing */

static bool write_jobs(struct disk_store *s, const struct disk_job *jobs)
{
    if (jobs->kind == JOB_SET) {
        const struct store_batch batch = {.set = &jobs->set};
        return store_write(s->store, &batch, 1) == STORE_OK;
    }
    uint32_t count = 0;
    for (const struct disk_job *job = jobs; job != NULL; job = job->next) {
        count += job->kind == JOB_LOG;
    }
    if (count == 0) {
        return true;
    }
    struct store_batch *batches = sim_allocate(count * sizeof *batches);
    count = 0;
    for (const struct disk_job *job = jobs; job != NULL; job = job->next) {
        if (job->kind == JOB_LOG) {
            batches[count++] = job->batch;
        }
    }
    const bool good = store_write(s->store, batches, count) == STORE_OK;
    free(batches);
    return good;
}

/* Failing is allowed only where something was made to fail. */
static bool fail(struct world *w, const struct disk *d)
{
    struct disk_store *s = d->store;
    s->failed = true;
    if (w->tracing) {
        world_trace(w, d->index + 1U, "failed", "%s", store_error(s->store));
    }
    if (!drive_hit(s->drive) && !s->struck) {
        world_fail(w, "store", "replica %u: %s", d->index + 1, store_error(s->store));
    }
    return false;
}

/* The idle checkpoint that the writer made meanwhile. */
static bool rest_if_idle(struct world *w, struct disk *d)
{
    struct disk_store *s = d->store;
    return w->now_us - s->idle_since_us < WRITER_IDLE_MS * MS ||
           store_maintain(s->store, /* idle= */ true) == STORE_OK;
}

bool disk_store_write(struct world *w, struct disk *d)
{
    struct disk_store *s = d->store;
    const long before = drive_calls(s->drive);
    const bool good = rest_if_idle(w, d) && write_jobs(s, d->writing);
    s->calls = drive_calls(s->drive) - before;
    return good || fail(w, d);
}

struct reading {
    struct world *w;
    const struct disk *d;
    uint64_t next;
};

/* A row of the log is read for a peer: it must be what is durable. */
static bool read_entry(void *context, const struct paxos_entry *entry)
{
    struct reading *reading = context;
    const struct paxos_entry *known = disk_log_at(reading->d, entry->slot);
    if (known != NULL && (known->value.checksum != entry->value.checksum ||
                          paxos_ballot_compare(known->ballot, entry->ballot) != 0 ||
                          !bytes_equal(known->value.data, entry->value.data))) {
        world_fail(reading->w, "store", "replica %u reads slot %" PRIu64 " wrong",
                   reading->d->index + 1, entry->slot);
    }
    if (known != NULL && entry->slot != reading->next) {
        world_fail(reading->w, "store", "replica %u reads no slot %" PRIu64,
                   reading->d->index + 1, reading->next);
    }
    reading->next = entry->slot + 1;
    return true;
}

bool disk_store_rest(struct world *w, struct disk *d, const struct disk_job *jobs)
{
    struct disk_store *s = d->store;
    for (const struct disk_job *job = jobs; job != NULL; job = job->next) {
        if (job->kind == JOB_READ && disk_log_at(d, job->wanted.slot) != NULL) {
            struct reading reading = {.w = w, .d = d, .next = job->wanted.slot};
            if (store_log(s->store, job->wanted.slot, job->wanted.last, PAXOS_MESSAGE_ENTRIES,
                          read_entry, &reading) != STORE_OK) {
                return fail(w, d);
            }
        }
    }
    if (store_maintain(s->store, /* idle= */ false) != STORE_OK) {
        return fail(w, d);
    }
    s->idle_since_us = w->now_us;
    return true;
}

/* -------------------------------------------------------------------- death */

static void cut_power(struct disk_store *s, enum disk_fate fate)
{
    static const enum drive_keep keeps[] = {DRIVE_KEEP_NONE, DRIVE_KEEP_ALL, DRIVE_KEEP_SOME,
                                            DRIVE_KEEP_TORN};
    const enum drive_keep keep = fate != DISK_CHANCE
                                     ? DRIVE_KEEP_NONE
                                     : keeps[rng_below(&s->rng, sizeof keeps / sizeof *keeps)];
    drive_cut(s->drive, &s->rng, keep);
}

/* The call at which what is under way dies; `calls` is what the last one took. */
static long dying_call(struct disk_store *s, enum disk_fate fate, bool dark)
{
    switch (fate) {
    case DISK_CHANCE:
        return 1 + (long)rng_below(&s->rng, (uint64_t)s->calls + 2);
    case DISK_THERE:
        return LONG_MAX;
    case DISK_HALF:
        return 1 + s->calls / 2;
    case DISK_GONE: /* With the power all is lost that was not synced: die late. */
        return dark && s->calls > 0 ? s->calls : 1;
    }
    return 1;
}

/* What is under way dies at one of its calls, or behind the last. */
void disk_store_crash(struct world *w, struct disk *d)
{
    struct disk_store *s = d->store;
    if (d->writing != NULL && s->doubtful == NULL) {
        if (!s->failed) {
            drive_begin(s->drive, DRIVE_DIES,
                        dying_call(s, d->fate, w->replicas[d->index]->dark));
            (void)write_jobs(s, d->writing);
        }
        s->doubtful = d->writing;
        d->writing = NULL;
    }
    store_close(s->store);
    s->store = NULL;
    if (w->replicas[d->index]->dark) {
        cut_power(s, d->fate);
    }
    drive_begin(s->drive, DRIVE_GOOD, 0); /* The process is gone, not the page cache. */
}

/* -------------------------------------------------------------------- start */

static bool keep_entry(void *context, const struct paxos_entry *entry)
{
    platter_put_entry(context, entry);
    return true;
}

static bool keep_row(void *context, const struct lease_row *row)
{
    platter_put_row(context, row);
    return true;
}

/* What the daemon reads when it starts. */
static enum store_rc read_back(struct disk_store *s, struct disk *found)
{
    struct store_boot *boot = sim_allocate(sizeof *boot);
    enum store_rc rc = store_boot(s->store, boot);
    if (rc == STORE_OK) {
        found->identity = boot->identity.identity;
        found->incarnation = boot->incarnation;
        found->hard = boot->hard;
        found->chosen_mark = boot->chosen_mark;
        found->applied_slot = boot->applied_slot;
        found->applied_position = boot->applied_position;
        found->digest = boot->digest;
        found->log_base = boot->applied_slot + 1;
        rc = store_rows(s->store, keep_row, found);
    }
    if (rc == STORE_OK) {
        rc = store_log(s->store, found->log_base, UINT64_MAX >> 1, UINT32_MAX, keep_entry,
                       found);
    }
    free(boot);
    return rc;
}

static bool same_hard(const struct paxos_hard *a, const struct paxos_hard *b)
{
    uint8_t room[2][PAXOS_HARD_MAX];
    struct writer first = writer_over(room[0], sizeof room[0]);
    struct writer second = writer_over(room[1], sizeof room[1]);
    paxos_hard_encode(a, &first);
    paxos_hard_encode(b, &second);
    return first.size == second.size && memcmp(room[0], room[1], first.size) == 0;
}

static bool same_rows(const struct disk *a, const struct disk *b)
{
    bool same = a->rows_count == b->rows_count;
    for (uint32_t i = 0; same && i < a->rows_count; i++) {
        same = bytes_equal(a->rows[i].key, b->rows[i].key) &&
               bytes_equal(a->rows[i].value, b->rows[i].value);
    }
    return same;
}

static bool same_entry(const struct paxos_entry *a, const struct paxos_entry *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return paxos_ballot_compare(a->ballot, b->ballot) == 0 &&
           a->value.checksum == b->value.checksum && bytes_equal(a->value.data, b->value.data);
}

static uint64_t mark_of(const struct disk *d)
{
    return d->chosen_mark > d->applied_slot ? d->chosen_mark : d->applied_slot;
}

/* What differs first, or NULL. */
static const char *difference(const struct disk *told, const struct disk *found)
{
    if (told->identity != found->identity) {
        return "the identity";
    }
    if (!same_hard(&told->hard, &found->hard)) {
        return "the hard state";
    }
    if (mark_of(told) != mark_of(found)) {
        return "the chosen mark";
    }
    if (told->applied_slot != found->applied_slot ||
        told->applied_position != found->applied_position || told->digest != found->digest) {
        return "the applied position";
    }
    if (!same_rows(told, found)) {
        return "the tables";
    }
    const paxos_slot last =
        disk_log_last(told) > disk_log_last(found) ? disk_log_last(told) : disk_log_last(found);
    for (paxos_slot slot = told->applied_slot + 1; slot <= last; slot++) {
        if (!same_entry(disk_log_at(told, slot), disk_log_at(found, slot))) {
            return "the log";
        }
    }
    return NULL;
}

/* All that was told is there; of what was under way all or nothing. */
static void compare(struct world *w, struct disk *d, const struct disk *found)
{
    struct disk_store *s = d->store;
    if (found->incarnation <= d->incarnation) {
        world_fail(w, "store", "replica %u begins incarnation %" PRIu64 " again", d->index + 1,
                   found->incarnation);
    }
    const char *what = difference(d, found);
    const bool doubt = what != NULL && s->doubtful != NULL;
    if (doubt) {
        disk_commit(w, d, s->doubtful, UINT32_MAX);
        what = difference(d, found);
    }
    if (what != NULL) {
        world_fail(w, "store",
                   "replica %u finds %s in its store other than it was told%s; applied %" PRIu64
                   " and %" PRIu64 ", chosen %" PRIu64 " and %" PRIu64,
                   d->index + 1, what, doubt ? ", with what was under way" : "",
                   d->applied_slot, found->applied_slot, mark_of(d), mark_of(found));
    }
    d->incarnation = found->incarnation;
}

/* The power was cut, something was made to fail, or the store was struck: the
 * first two pass. */
static void not_started(struct world *w, struct disk *d, enum store_rc rc, const char *detail)
{
    struct disk_store *s = d->store;
    struct replica *r = w->replicas[d->index];
    if (w->tracing) {
        world_trace(w, d->index + 1U, "refused", "%s: %s", store_rc_text(rc), detail);
    }
    const bool made_to_fail = drive_hit(s->drive);
    store_close(s->store);
    s->store = NULL;
    if (!made_to_fail && !s->struck) {
        world_fail(w, "store", "replica %u can't start: %s", d->index + 1, detail);
    }
    if (!made_to_fail) {
        r->finished = true; /* Until there is a way to repair it. */
        return;
    }
    cut_power(s, DISK_CHANCE);
    replica_boot_later(w, r, rng_between(&s->rng, 1 * MS, 500 * MS));
}

bool disk_store_boot(struct world *w, struct disk *d)
{
    struct disk_store *s = d->store;
    if (!w->healed && chance_percent(&s->rng, CUT_PERCENT)) {
        cut_power(s, d->fate);
    }
    if (!w->healed && chance_percent(&s->rng, DIES_PERCENT)) {
        drive_begin(s->drive, DRIVE_DIES, 1 + (long)rng_below(&s->rng, START_CALLS));
    }
    struct disk found = {.index = d->index};
    char detail[DETAIL_BYTES] = "";
    enum store_rc rc = store_open(s->folder, STORE_SERVE, &s->store, detail, sizeof detail);
    if (rc == STORE_OK) {
        rc = read_back(s, &found);
        snprintf(detail, sizeof detail, "%s", rc == STORE_OK ? "" : store_error(s->store));
    }
    if (rc == STORE_OK) {
        drive_begin(s->drive, DRIVE_GOOD, 0);
        compare(w, d, &found);
        disk_free_jobs(s->doubtful);
        s->doubtful = NULL;
        s->failed = s->low = false;
        s->calls = 0;
        s->idle_since_us = w->now_us;
    } else {
        not_started(w, d, rc, detail);
    }
    platter_free(&found);
    return rc == STORE_OK;
}
