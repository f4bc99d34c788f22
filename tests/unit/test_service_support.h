/* SPDX-License-Identifier: Apache-2.0
 *
 * A cell of services in memory: frames go through the real codec, stores lose
 * what was not synced, time passes only when told to.  Each fault is a switch.
 */
#ifndef TESTS_UNIT_TEST_SERVICE_SUPPORT_H
#define TESTS_UNIT_TEST_SERVICE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lockd/service.h"
#include "paxos/codec.h"

enum {
    CELL_MAX = 5,
    LOG_MAX = 1024,
    ROWS_MAX = 8192,
    BATCHES_MAX = 512,
    REPLIES_MAX = 4096,
    TAGS_MAX = 4096,
    SESSIONS_MAX = 1024, /* Ids below this are watched. */
};

#define LOST UINT32_MAX

struct stored_row {
    uint8_t key[64];
    size_t key_size;
    uint8_t *value;
    size_t value_size;
};

/* What a disk holds, or, with `ticket`, what it is about to. */
struct disk {
    struct paxos_hard hard;
    struct paxos_entry log[LOG_MAX]; /* By slot; slot 0: none.  Data is owned. */
    uint64_t chosen_mark;
    struct stored_row rows[ROWS_MAX];
    uint32_t rows_count;
    struct store_set at; /* Its numbers only. */
    uint32_t sets;
};

struct write {
    uint64_t ticket;
    uint64_t chosen_mark;
    bool has_hard;
    struct paxos_hard hard;
    struct paxos_entry *entries;
    uint32_t entries_count;
    bool has_set;
    struct store_set set;
    struct stored_row *rows;
};

struct replica {
    struct service *s;
    struct disk disk;
    struct write *writes;
    uint32_t writes_count;
    uint64_t incarnation;
    uint64_t wake_at_ms;
    bool more;
    bool cut;     /* Nothing goes in or out. */
    bool stalled; /* The disk does not answer. */
    bool paused;  /* The process stands still; what is sent to it waits. */
};

struct mail {
    uint32_t to;
    uint64_t due_ms;
    size_t size;
    uint8_t *frame;
};

struct answer {
    struct service_reply reply; /* Its pointers are not to be followed. */
    char content[256];
    uint32_t from;
    uint64_t at_ms;
};

struct cell {
    struct replica replica[CELL_MAX];
    uint32_t count;
    uint64_t now_ms;
    uint32_t delay_ms[CELL_MAX][CELL_MAX]; /* On the way from one to another; or LOST. */
    struct mail mail[8192];
    uint32_t mail_count;
    struct answer answers[REPLIES_MAX];
    uint32_t answers_count;
    uint64_t digests[LOG_MAX];   /* Of the state after each slot, whoever applied it first. */
    uint64_t executed[TAGS_MAX]; /* The slot in which a put of "#tag" came into force. */
    struct {
        uint64_t session; /* Of the KeepAlive of this tag ... */
        uint64_t ms;      /* ... and when it was sent. */
    } asked[TAGS_MAX];
    uint64_t promised_ms[SESSIONS_MAX]; /* Until then its client relies on a session. */
    size_t allocated;
    uint32_t commands_max;
    uint32_t reads_max;
    uint32_t watches_max;
    uint32_t cache_lease_ms;
    uint32_t cached_max;
    uint32_t keepalives_busy;
    uint64_t history_bytes;
    uint64_t bytes_max;
    /* Told of every output before it is given back; NULL: nobody. */
    void (*look)(void *context, uint32_t index, const struct service_output *output);
    void *look_context;
    bool unchecked; /* The invariants take too long. */
};

static void *test_allocate(void *context, size_t size)
{
    struct cell *cell = context;
    cell->allocated += size;
    return malloc(size);
}

static void test_release(void *context, void *memory, size_t size)
{
    struct cell *cell = context;
    assert_true(cell->allocated >= size);
    cell->allocated -= size;
    free(memory);
}

static __attribute__((noreturn)) void test_exhausted(void *context)
{
    (void)context;
    abort();
}

/* Whoever applies a slot, first or once more after a restart, comes to the same
 * state. */
static void test_observe(void *context, const struct paxos_entry *entry, bool in_force,
                         uint64_t digest)
{
    struct cell *cell = context;
    struct reader r = reader_over(entry->value.data);
    while (in_force && entry->value.kind == PAXOS_COMMANDS && !read_done(&r)) {
        struct lease_command command;
        assert_true(lease_command_decode(&r, &command));
        if (command.type == LEASE_CMD_SESSION_EXPIRE && command.subject < SESSIONS_MAX &&
            command.epoch == entry->value.epoch) {
            assert_true(cell->now_ms >= cell->promised_ms[command.subject]);
        }
        if (command.content.size > 1 && command.content.data[0] == '#') {
            const long tag = strtol((const char *)command.content.data + 1, NULL, 10);
            assert_true(tag > 0 && tag < TAGS_MAX);
            assert_true(cell->executed[tag] == 0 || cell->executed[tag] == entry->slot);
            cell->executed[tag] = entry->slot;
        }
    }
    assert_true(entry->slot < LOG_MAX);
    if (cell->digests[entry->slot] != 0) {
        assert_int_equal(cell->digests[entry->slot], digest);
    }
    cell->digests[entry->slot] = digest;
}

static uint8_t *copy_of(struct bytes from)
{
    uint8_t *to = malloc(from.size + 1);
    assert_non_null(to);
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    return to;
}

static struct paxos_entry entry_copy(const struct paxos_entry *from)
{
    struct paxos_entry to = *from;
    to.value.data.data = copy_of(from->value.data);
    return to;
}

/* -------------------------------------------------------------------- store */

static void disk_put_row(struct disk *disk, const struct stored_row *row)
{
    uint32_t at = 0;
    int order = 1;
    for (; at < disk->rows_count; at++) {
        order = bytes_compare(bytes_of(disk->rows[at].key, disk->rows[at].key_size),
                              bytes_of(row->key, row->key_size));
        if (order >= 0) {
            break;
        }
    }
    if (at < disk->rows_count && order == 0) {
        free(disk->rows[at].value);
        memmove(&disk->rows[at], &disk->rows[at + 1],
                (disk->rows_count - at - 1) * sizeof *disk->rows);
        disk->rows_count--;
    }
    if (row->value == NULL) {
        return;
    }
    assert_true(disk->rows_count < ROWS_MAX);
    memmove(&disk->rows[at + 1], &disk->rows[at], (disk->rows_count - at) * sizeof *disk->rows);
    disk->rows[at] = *row;
    disk->rows_count++;
}

static void write_take(struct replica *r, const struct store_batch *batch)
{
    assert_true(r->writes_count < BATCHES_MAX);
    struct write *w = &r->writes[r->writes_count++];
    *w = (struct write){.ticket = batch->ticket, .chosen_mark = batch->chosen_mark};
    if (batch->hard != NULL) {
        w->has_hard = true;
        w->hard = *batch->hard;
    }
    w->entries_count = batch->entries_count;
    w->entries = calloc(batch->entries_count + 1, sizeof *w->entries);
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        w->entries[i] = entry_copy(&batch->entries[i]);
    }
    if (batch->set == NULL) {
        return;
    }
    w->has_set = true;
    w->set = *batch->set;
    assert_true(w->set.applied_slot <= batch->chosen_mark);
    w->rows = calloc(w->set.rows_count + 1, sizeof *w->rows);
    for (uint32_t i = 0; i < w->set.rows_count; i++) {
        const struct lease_row *row = &batch->set->rows[i];
        assert_true(row->key.size <= sizeof w->rows[i].key);
        memcpy(w->rows[i].key, row->key.data, row->key.size);
        w->rows[i].key_size = row->key.size;
        w->rows[i].value = row->value.data == NULL ? NULL : copy_of(row->value);
        w->rows[i].value_size = row->value.size;
    }
}

static void write_free(struct write *w)
{
    for (uint32_t i = 0; i < w->entries_count; i++) {
        free((void *)(uintptr_t)w->entries[i].value.data.data);
    }
    free(w->entries);
    free(w->rows);
}

static void write_apply(struct disk *disk, struct write *w)
{
    if (w->has_hard) {
        disk->hard = w->hard;
    }
    for (uint32_t i = 0; i < w->entries_count; i++) {
        assert_true(w->entries[i].slot < LOG_MAX);
        struct paxos_entry *at = &disk->log[w->entries[i].slot];
        free((void *)(uintptr_t)at->value.data.data);
        *at = entry_copy(&w->entries[i]);
    }
    assert_true(w->chosen_mark >= disk->chosen_mark);
    disk->chosen_mark = w->chosen_mark;
    if (w->has_set) {
        assert_true(w->set.applied_slot >= disk->at.applied_slot);
        for (uint32_t i = 0; i < w->set.rows_count; i++) {
            disk_put_row(disk, &w->rows[i]);
        }
        disk->at = w->set;
        disk->sets++;
    }
}

static void disk_free(struct disk *disk)
{
    for (uint32_t i = 0; i < LOG_MAX; i++) {
        free((void *)(uintptr_t)disk->log[i].value.data.data);
    }
    for (uint32_t i = 0; i < disk->rows_count; i++) {
        free(disk->rows[i].value);
    }
}

/* --------------------------------------------------------------------- life */

static void replica_start(struct cell *cell, uint32_t index)
{
    struct replica *r = &cell->replica[index];
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    limits.history_bytes = cell->history_bytes;
    const struct service_config config = {
        .paxos = {.self = (paxos_id)(index + 1),
                  .identity = 1000 + index,
                  .incarnation = ++r->incarnation,
                  .seed = index + 100 * r->incarnation,
                  .now_ms = cell->now_ms,
                  .heartbeat_ms = 100,
                  .lease_ms = 500,
                  .jitter_ms_min = 50,
                  .jitter_ms_max = 150,
                  .disk_stall_ms = 2000,
                  .value_max = 4096},
        .limits = limits,
        .cell = "test",
        .queue_commands_max = cell->commands_max,
        .queue_bytes_max = cell->bytes_max,
        .reads_max = cell->reads_max,
        .watches_max = cell->watches_max,
        .cache_lease_ms = cell->cache_lease_ms,
        .cached_max = cell->cached_max,
        .keepalives_busy = cell->keepalives_busy,
        .observe = test_observe,
        .observe_context = cell,
    };
    const struct lease_allocator allocator = {
        .allocate = test_allocate,
        .release = test_release,
        .exhausted = test_exhausted,
        .context = cell,
    };
    r->s = service_new(&config, &allocator);
    const struct disk *disk = &r->disk;
    for (uint32_t i = 0; i < disk->rows_count; i++) {
        const struct stored_row *row = &disk->rows[i];
        assert_true(service_load_row(
            r->s, &(struct lease_row){.key = bytes_of(row->key, row->key_size),
                                      .value = bytes_of(row->value, row->value_size)}));
    }
    assert_true(service_loaded(r->s, disk->at.applied_slot, disk->at.applied_position,
                               disk->at.digest));
    for (uint64_t slot = disk->at.applied_slot + 1; slot <= disk->chosen_mark; slot++) {
        assert_true(service_replay(r->s, &disk->log[slot]));
    }
    struct paxos_entry votes[LOG_MAX];
    struct paxos_restored restored = {
        .hard = disk->hard, .chosen = disk->chosen_mark, .votes = votes};
    for (uint64_t slot = disk->chosen_mark + 1; slot < LOG_MAX; slot++) {
        if (disk->log[slot].slot != 0) {
            votes[restored.votes_count++] = disk->log[slot];
        }
    }
    assert_true(service_start(r->s, &restored));
    r->wake_at_ms = cell->now_ms;
    r->more = false;
}

/* The process is gone, and with it what its disk has not answered. */
static void replica_stop(struct replica *r)
{
    service_free(r->s);
    r->s = NULL;
    for (uint32_t i = 0; i < r->writes_count; i++) {
        for (uint32_t row = 0; row < r->writes[i].set.rows_count; row++) {
            free(r->writes[i].rows[row].value);
        }
        write_free(&r->writes[i]);
    }
    r->writes_count = 0;
}

static struct cell *cell_new(uint32_t count)
{
    struct cell *cell = calloc(1, sizeof *cell);
    assert_non_null(cell);
    cell->count = count;
    cell->now_ms = 1000;
    cell->commands_max = 4096;
    cell->bytes_max = 64 * 1024;
    cell->reads_max = 64;
    cell->watches_max = 1000000;
    cell->cache_lease_ms = 3000;
    cell->cached_max = 100000;
    cell->history_bytes = 1024 * 1024;
    for (uint32_t i = 0; i < count; i++) {
        struct replica *r = &cell->replica[i];
        r->writes = calloc(BATCHES_MAX, sizeof *r->writes);
        struct paxos_members *members = &r->disk.hard.members;
        members->number = 1;
        members->settings.drift_ppm = 10000;
        members->count = count;
        for (uint32_t j = 0; j < count; j++) {
            members->member[j].id = (paxos_id)(j + 1);
            members->member[j].identity = j == i ? 1000 + j : 0;
            members->member[j].address[0] = (char)('a' + j);
        }
    }
    return cell;
}

static inline struct cell *cell_start(uint32_t count)
{
    struct cell *cell = cell_new(count);
    for (uint32_t i = 0; i < count; i++) {
        replica_start(cell, i);
    }
    return cell;
}

static void cell_free(struct cell *cell)
{
    for (uint32_t i = 0; i < cell->count; i++) {
        replica_stop(&cell->replica[i]);
        disk_free(&cell->replica[i].disk);
        free(cell->replica[i].writes);
    }
    for (uint32_t i = 0; i < cell->mail_count; i++) {
        free(cell->mail[i].frame);
    }
    assert_int_equal(cell->allocated, 0);
    free(cell);
}

/* --------------------------------------------------------------------- turn */

static void post(struct cell *cell, uint32_t from, const struct paxos_message *messages,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (cell->replica[from].cut || cell->delay_ms[from][messages[i].to - 1] == LOST) {
            continue;
        }
        assert_true(cell->mail_count < sizeof cell->mail / sizeof *cell->mail);
        struct mail *mail = &cell->mail[cell->mail_count++];
        mail->to = messages[i].to - 1u;
        mail->due_ms = cell->now_ms + cell->delay_ms[from][mail->to];
        mail->size = paxos_frame_size(&messages[i]);
        mail->frame = malloc(mail->size);
        struct writer w = writer_over(mail->frame, mail->size);
        paxos_frame_encode(&messages[i], &w);
        assert_false(w.failed);
    }
}

/* "name=holders+waiters", a lock behind the other. */
static void print_locks(struct answer *answer)
{
    size_t used = 0;
    for (uint32_t i = 0; i < answer->reply.locks_count; i++) {
        const struct service_lock *lock = &answer->reply.locks[i];
        uint32_t held = 0;
        for (uint32_t j = 0; j < lock->claims_count; j++) {
            held += lock->claims[j].held;
        }
        used += (size_t)snprintf(answer->content + used, sizeof answer->content - used,
                                 "%s%.*s=%u+%u%s", i == 0 ? "" : " ", (int)lock->path.size,
                                 (const char *)lock->path.data, held, lock->claims_count - held,
                                 lock->more ? "..." : "");
        assert_true(used < sizeof answer->content);
    }
}

/* A client counts its lease from when it sent what was answered. */
static void keep_promise(struct cell *cell, const struct service_reply *reply)
{
    if (reply->outcome == SERVICE_DONE && reply->op == SERVICE_SESSION_KEEPALIVE &&
        reply->tag < TAGS_MAX && cell->asked[reply->tag].session < SESSIONS_MAX) {
        uint64_t *promised_ms = &cell->promised_ms[cell->asked[reply->tag].session];
        const uint64_t until_ms = cell->asked[reply->tag].ms + reply->lease_ms;
        *promised_ms = until_ms > *promised_ms ? until_ms : *promised_ms;
    }
}

static void keep_answers(struct cell *cell, uint32_t from, const struct service_output *output)
{
    for (uint32_t i = 0; i < output->replies_count; i++) {
        assert_true(cell->answers_count < REPLIES_MAX);
        struct answer *answer = &cell->answers[cell->answers_count++];
        *answer =
            (struct answer){.reply = output->replies[i], .from = from, .at_ms = cell->now_ms};
        const struct bytes content = answer->reply.content;
        if (content.size > 0 && content.size < sizeof answer->content) {
            memcpy(answer->content, content.data, content.size);
        }
        if (answer->reply.children_count > 0) { /* The first name stands for the list. */
            const struct bytes name = answer->reply.children[0].name;
            memcpy(answer->content, name.data, name.size);
        }
        if (answer->reply.path.size > 0) {
            snprintf(answer->content, sizeof answer->content, "%.*s:%s",
                     (int)answer->reply.path.size, (const char *)answer->reply.path.data,
                     answer->reply.mode == LEASE_SHARED ? "shared" : "exclusive");
        }
        print_locks(answer);
        keep_promise(cell, &answer->reply);
        if (answer->reply.op == SERVICE_STATUS) {
            assert_non_null(answer->reply.status);
            snprintf(answer->content, sizeof answer->content, "survives %u",
                     answer->reply.status->survives);
        }
    }
}

static void read_log(struct cell *cell, uint32_t index, const struct paxos_wanted *wanted)
{
    struct paxos_entry entries[PAXOS_MESSAGE_ENTRIES];
    struct paxos_log_read answer = {
        .peer = wanted->peer, .slot = wanted->slot, .entries = entries};
    const struct paxos_entry *log = cell->replica[index].disk.log;
    for (uint64_t slot = wanted->slot; slot <= wanted->last && log[slot].slot != 0 &&
                                       answer.entries_count < PAXOS_MESSAGE_ENTRIES;
         slot++) {
        entries[answer.entries_count++] = log[slot];
    }
    service_log_read(cell->replica[index].s, cell->now_ms, &answer);
    cell->replica[index].more = true;
}

static void turn(struct cell *cell, uint32_t index)
{
    struct replica *r = &cell->replica[index];
    struct paxos_wanted wanted[PAXOS_MEMBERS_MAX];
    const struct service_output *output = service_turn(r->s, cell->now_ms, 77);
    post(cell, index, output->at_once, output->at_once_count);
    post(cell, index, output->released, output->released_count);
    if (output->store != NULL) {
        write_take(r, output->store);
    }
    keep_answers(cell, index, output);
    if (cell->look != NULL) {
        cell->look(cell->look_context, index, output);
    }
    r->wake_at_ms = output->wake_at_ms;
    r->more = output->more;
    const uint32_t wanted_count = output->reads_count;
    memcpy(wanted, output->reads, wanted_count * sizeof *wanted);
    service_advance(r->s);
    for (uint32_t i = 0; i < wanted_count; i++) {
        read_log(cell, index, &wanted[i]);
    }
    if (!cell->unchecked) {
        service_check(r->s);
    }
}

static void sync_disk(struct cell *cell, uint32_t index)
{
    struct replica *r = &cell->replica[index];
    for (uint32_t i = 0; i < r->writes_count; i++) {
        struct write *w = &r->writes[i];
        write_apply(&r->disk, w);
        if (w->ticket != 0) {
            service_durable(r->s, cell->now_ms, w->ticket);
        }
        if (w->has_set) {
            service_set_durable(r->s, w->set.applied_slot);
        }
        write_free(w);
    }
    r->writes_count = 0;
}

/* The oldest message, or it goes behind all others: false. */
static bool deliver(struct cell *cell)
{
    static struct paxos_decoded decoded;
    struct mail mail = cell->mail[0];
    memmove(cell->mail, cell->mail + 1, --cell->mail_count * sizeof mail);
    struct replica *r = &cell->replica[mail.to];
    if (cell->now_ms < mail.due_ms || r->paused) {
        cell->mail[cell->mail_count++] = mail;
        return false;
    }
    if (r->s != NULL && !r->cut) {
        size_t size;
        assert_int_equal(paxos_frame_decode(bytes_of(mail.frame, mail.size), &decoded, &size),
                         PAXOS_DECODED);
        service_receive(r->s, cell->now_ms, &decoded.message);
        r->more = true;
    }
    free(mail.frame);
    return true;
}

/* Everything that can happen now, until nothing more does. */
static void settle(struct cell *cell)
{
    bool moved = true;
    for (uint32_t bound = 0; moved && bound < 10000; bound++) {
        moved = false;
        for (uint32_t left = cell->mail_count; left > 0; left--) {
            moved |= deliver(cell);
        }
        for (uint32_t i = 0; i < cell->count; i++) {
            struct replica *r = &cell->replica[i];
            if (r->s == NULL || r->paused) {
                continue;
            }
            if (r->writes_count > 0 && !r->stalled) {
                sync_disk(cell, i);
                r->more = true;
            }
            if (r->more || cell->now_ms >= r->wake_at_ms) {
                turn(cell, i);
                moved = true;
            }
        }
    }
    assert_false(moved);
}

static void pass(struct cell *cell, uint64_t ms)
{
    const uint64_t end = cell->now_ms + ms;
    settle(cell);
    while (cell->now_ms < end) {
        cell->now_ms++;
        settle(cell);
    }
}

static struct service_status status_of(const struct cell *cell, uint32_t index)
{
    struct service_status status;
    service_status(cell->replica[index].s, cell->now_ms, &status);
    return status;
}

/* Waits for a master that serves, and returns its index. */
static uint32_t await_master(struct cell *cell)
{
    for (uint32_t tries = 0; tries < 10000; tries++) {
        for (uint32_t i = 0; i < cell->count; i++) {
            if (cell->replica[i].s != NULL && !cell->replica[i].cut &&
                status_of(cell, i).paxos.serving) {
                return i;
            }
        }
        pass(cell, 1);
    }
    fail_msg("no master");
    return 0;
}

/* ----------------------------------------------------------------- requests */

static inline void ask(struct cell *cell, uint32_t index, enum service_op op, uint64_t client,
                       uint64_t tag, const char *name, const char *content)
{
    const struct service_request request = {
        .client = client,
        .tag = tag,
        .op = op,
        .principal = bytes_of("p", 1),
        .name = bytes_of(name, strlen(name)),
        .kind = content == NULL ? LEASE_DIRECTORY : LEASE_FILE,
        .content = content == NULL ? bytes_of(NULL, 0) : bytes_of(content, strlen(content)),
        .if_generation = LEASE_ANY,
        .if_instance = LEASE_ANY,
    };
    service_request(cell->replica[index].s, cell->now_ms, &request);
    cell->replica[index].more = true;
}

/* The only answer to `tag`, or NULL while there is none. */
static const struct answer *answer_to(const struct cell *cell, uint64_t tag)
{
    const struct answer *found = NULL;
    for (uint32_t i = 0; i < cell->answers_count; i++) {
        if (cell->answers[i].reply.tag == tag) {
            assert_null(found);
            found = &cell->answers[i];
        }
    }
    return found;
}

static enum service_outcome outcome_of(const struct cell *cell, uint64_t tag)
{
    const struct answer *answer = answer_to(cell, tag);
    assert_non_null(answer);
    return answer->reply.outcome;
}

#endif
