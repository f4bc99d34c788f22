/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/transcripts/paxos_cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/codec.h"
#include "paxos/describe.h"

enum { START_MS = 1000, LEASE_MS = 500, HEARTBEAT_MS = 100, DISK_STALL_MS = 2000 };

static void *allocate(size_t size)
{
    void *data = calloc(1, size);
    assert(data != NULL);
    return data;
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = allocate(size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* --------------------------------------------------------------------- text */

/* What was proposed is a word or a long run of one letter. */
static void put_data(struct text *out, struct bytes data)
{
    if (data.size > 40) {
        text_put(out, "\"%.8s...\" (%zu octets)", (const char *)data.data, data.size);
    } else {
        text_put(out, "\"%.*s\"", (int)data.size, (const char *)data.data);
    }
}

void put_entry(struct text *out, const struct paxos_entry *entry)
{
    const uint64_t epoch = entry->value.epoch;
    text_put(out, "%" PRIu64 "@%" PRIu64 ".%u ", entry->slot, entry->ballot.round,
             entry->ballot.id);
    if (entry->value.kind == PAXOS_COMMANDS) {
        put_data(out, entry->value.data);
    } else {
        text_put(out, "%s", paxos_describe_kind(entry->value.kind));
    }
    if (epoch != paxos_epoch(entry->ballot)) {
        text_put(out, " of epoch %" PRIu64 ".%u", epoch >> 16, (unsigned)(epoch & 0xffff));
    }
}

static void put_entries(struct text *out, const struct paxos_entry *entries, uint32_t count)
{
    text_put(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        text_put(out, "%s", i == 0 ? "" : ", ");
        put_entry(out, &entries[i]);
    }
    text_put(out, "]");
}

void put_message(struct text *out, const struct paxos_message *message)
{
    char line[256];
    struct paxos_message head = *message;
    head.entries_count = 0;
    head.type = message->type == PAXOS_MSG_PROMISE ? PAXOS_MSG_VOTE : message->type;
    paxos_describe_message(&head, line, sizeof line);
    const char *fields = line + strlen(paxos_describe_message_type(head.type));
    text_put(out, "%s%s", paxos_describe_message_type(message->type), fields);
    if (message->type == PAXOS_MSG_RELEASE && message->part != 0) {
        text_put(out, " to %u", message->part);
    }
    if (message->trim != 0) {
        text_put(out, " trim %" PRIu64, message->trim);
    }
    if (message->entries_count > 0 || message->type == PAXOS_MSG_PROMISE) {
        text_put(out, " ");
        put_entries(out, message->entries, message->entries_count);
    }
}

/* One line for all neighbours that say the same to different peers. */
static void tell_sent(struct cluster *c, const char *how, const struct paxos_message *messages,
                      uint32_t count)
{
    if (c->out == NULL) {
        return;
    }
    for (uint32_t i = 0; i < count;) {
        struct text said = {0};
        put_message(&said, &messages[i]);
        text_put(c->out, "%u  %s -> %u", messages[i].from, how, messages[i].to);
        bool same = true;
        for (i++; same && i < count; i += same) {
            struct text next = {0};
            put_message(&next, &messages[i]);
            same = strcmp(said.data, next.data) == 0;
            text_free(&next);
            if (same) {
                text_put(c->out, ",%u", messages[i].to);
            }
        }
        text_put(c->out, "  %s\n", said.data);
        text_free(&said);
    }
}

static void tell_write(struct cluster *c, uint32_t id, const struct write *w)
{
    if (c->out == NULL) {
        return;
    }
    text_put(c->out, "%u  write #%" PRIu64, id, w->ticket);
    if (w->with_hard) {
        text_put(c->out, "  promised %" PRIu64 ".%u", w->hard.promised.round,
                 w->hard.promised.id);
        uint32_t pinned = 0;
        for (uint32_t i = 0; i < w->hard.members.count; i++) {
            pinned += w->hard.members.member[i].identity != 0;
        }
        if (w->hard.cell == 0) {
            text_put(c->out, " knows %u of %u", pinned, w->hard.members.count);
        }
        if (w->hard.firm_ms_max != 0) {
            text_put(c->out, " firm %u ms", w->hard.firm_ms_max);
        }
    }
    if (w->entries_count > 0) {
        text_put(c->out, "  ");
        put_entries(c->out, w->entries, w->entries_count);
    }
    text_put(c->out, "  chosen %" PRIu64 "\n", w->chosen_mark);
}

/* --------------------------------------------------------------------- disk */

static struct paxos_entry entry_copy(const struct paxos_entry *entry)
{
    struct paxos_entry copy = *entry;
    copy.value.data.data = copy_of(entry->value.data.data, entry->value.data.size);
    return copy;
}

static void entry_free(struct paxos_entry *entry)
{
    if (entry != NULL) {
        free((void *)(uintptr_t)entry->value.data.data);
    }
}

static void write_free(struct write *w)
{
    for (uint32_t i = 0; i < w->entries_count; i++) {
        entry_free(&w->entries[i]);
    }
    free(w);
}

static void row_free(struct disk *disk, paxos_slot slot)
{
    entry_free(disk->log[slot]);
    free(disk->log[slot]);
    disk->log[slot] = NULL;
}

static void disk_take(struct cluster *c, uint32_t id, const struct paxos_ready *ready)
{
    struct disk *disk = &c->replica[id - 1].disk;
    if (ready->ticket == 0) {
        return;
    }
    assert(disk->writes_count < WRITES_MAX);
    struct write *w = allocate(sizeof *w);
    w->ticket = ready->ticket;
    w->with_hard = ready->hard != NULL;
    if (ready->hard != NULL) {
        w->hard = *ready->hard;
    }
    for (uint32_t i = 0; i < ready->written_count; i++) {
        w->entries[w->entries_count++] = entry_copy(&ready->written[i]);
    }
    w->chosen_mark = ready->chosen_mark;
    disk->writes[disk->writes_count++] = w;
    tell_write(c, id, w);
}

static void disk_commit(struct disk *disk, const struct write *w)
{
    if (w->with_hard) {
        disk->hard = w->hard;
    }
    for (uint32_t i = 0; i < w->entries_count; i++) {
        const paxos_slot slot = w->entries[i].slot;
        assert(slot < LOG_MAX);
        row_free(disk, slot);
        disk->log[slot] = allocate(sizeof *disk->log[slot]);
        *disk->log[slot] = entry_copy(&w->entries[i]);
    }
    disk->chosen_mark = w->chosen_mark;
}

static void disk_forget(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->writes_count; i++) {
        write_free(disk->writes[i]);
    }
    disk->writes_count = 0;
}

static void disk_wipe(struct disk *disk)
{
    disk_forget(disk);
    for (paxos_slot slot = 0; slot < LOG_MAX; slot++) {
        row_free(disk, slot);
    }
    disk->chosen_mark = 0;
}

bool cluster_sync(struct cluster *c, uint32_t id)
{
    struct disk *disk = &c->replica[id - 1].disk;
    if (disk->writes_count == 0) {
        return false;
    }
    const uint64_t ticket = disk->writes[disk->writes_count - 1]->ticket;
    for (uint32_t i = 0; i < disk->writes_count; i++) {
        disk_commit(disk, disk->writes[i]);
    }
    disk_forget(disk);
    if (c->out != NULL) {
        text_put(c->out, "%u  synced #%" PRIu64 "\n", id, ticket);
    }
    cluster_step(c, id, &(struct paxos_event){.type = PAXOS_DURABLE, .ticket = ticket});
    return true;
}

bool cluster_answer(struct cluster *c, uint32_t id)
{
    struct replica *r = &c->replica[id - 1];
    if (r->wanted_count == 0) {
        return false;
    }
    const struct paxos_wanted wanted = r->wanted[0];
    r->wanted_count--;
    memmove(&r->wanted[0], &r->wanted[1], r->wanted_count * sizeof r->wanted[0]);
    struct paxos_entry found[PAXOS_MESSAGE_ENTRIES];
    uint32_t count = 0;
    size_t octets = 0; /* Beyond the first entry. */
    for (paxos_slot slot = wanted.slot;
         slot <= wanted.last && count < PAXOS_MESSAGE_ENTRIES && r->disk.log[slot] != NULL;
         slot++) {
        octets += count == 0 ? 0 : r->disk.log[slot]->value.data.size;
        if (octets > PAXOS_MESSAGE_BYTES) {
            break;
        }
        found[count++] = *r->disk.log[slot];
    }
    cluster_step(c, id,
                 &(struct paxos_event){.type = PAXOS_LOG_READ,
                                       .log_read = {.peer = wanted.peer,
                                                    .slot = wanted.slot,
                                                    .entries = found,
                                                    .entries_count = count}});
    return true;
}

void cluster_trim(struct cluster *c, uint32_t id)
{
    struct replica *r = &c->replica[id - 1];
    for (paxos_slot slot = 1; slot <= r->trim; slot++) {
        row_free(&r->disk, slot);
    }
}

/* ------------------------------------------------------------------ network */

void cluster_send(struct cluster *c, const struct paxos_message *message)
{
    struct link *link = &c->link[message->from - 1][message->to - 1];
    if (link->cut) {
        return;
    }
    assert(link->count < LINK_MAX);
    const size_t size = paxos_frame_size(message);
    uint8_t *data = allocate(size);
    struct writer w = writer_over(data, size);
    paxos_frame_encode(message, &w);
    assert(!w.failed && w.size == size);
    link->frame[link->count++] = (struct frame){.data = data, .size = size};
}

static bool link_take(struct link *link, struct frame *ret_frame)
{
    if (link->count == 0) {
        return false;
    }
    *ret_frame = link->frame[0];
    link->count--;
    memmove(&link->frame[0], &link->frame[1], link->count * sizeof link->frame[0]);
    return true;
}

bool cluster_deliver(struct cluster *c, uint32_t from, uint32_t to)
{
    struct frame frame;
    if (!link_take(&c->link[from - 1][to - 1], &frame)) {
        return false;
    }
    if (cluster_replica(c, to) != NULL) {
        struct paxos_decoded *decoded = allocate(sizeof *decoded);
        size_t size = 0;
        const enum paxos_decode rc =
            paxos_frame_decode(bytes_of(frame.data, frame.size), decoded, &size);
        assert(rc == PAXOS_DECODED && size == frame.size);
        c->received[decoded->message.type] = true;
        if (c->out != NULL) {
            text_put(c->out, "%u  recv <- %u  ", to, from);
            put_message(c->out, &decoded->message);
            text_put(c->out, "\n");
        }
        cluster_step(
            c, to, &(struct paxos_event){.type = PAXOS_RECEIVE, .message = &decoded->message});
        free(decoded);
    }
    free(frame.data);
    return true;
}

bool cluster_lose(struct cluster *c, uint32_t from, uint32_t to)
{
    struct frame frame;
    if (!link_take(&c->link[from - 1][to - 1], &frame)) {
        return false;
    }
    free(frame.data);
    return true;
}

/* ------------------------------------------------------------------ replicas */

struct replica *cluster_replica(struct cluster *c, uint32_t id)
{
    return id >= 1 && id <= c->count && c->replica[id - 1].paxos != NULL ? &c->replica[id - 1]
                                                                         : NULL;
}

struct link *cluster_link(struct cluster *c, uint32_t from, uint32_t to)
{
    return from >= 1 && from <= c->count && to >= 1 && to <= c->count
               ? &c->link[from - 1][to - 1]
               : NULL;
}

/* What no replica can see alone: one value a slot. */
static void check_agreement(struct cluster *c, uint32_t id, const struct paxos_entry *entry)
{
    assert(entry->slot < LOG_MAX);
    uint64_t *agreed = &c->agreed[entry->slot];
    if (*agreed != 0 && *agreed != entry->value.checksum) {
        printf("# replica %u disagrees with what was chosen in slot %" PRIu64 "\n", id,
               entry->slot);
        c->disagreed = true;
    }
    *agreed = *agreed == 0 ? entry->value.checksum : *agreed;
}

static void tell_rest(struct cluster *c, uint32_t id, const struct paxos_ready *ready)
{
    struct replica *r = &c->replica[id - 1];
    for (uint32_t i = 0; i < ready->chosen_count; i++) {
        if (c->out != NULL) {
            text_put(c->out, "%u  apply ", id);
            put_entry(c->out, &ready->chosen[i]);
            text_put(c->out, "\n");
        }
        check_agreement(c, id, &ready->chosen[i]);
    }
    for (uint32_t i = 0; i < ready->reads_count; i++) {
        r->wanted[r->wanted_count++] = ready->reads[i];
        if (c->out != NULL) {
            text_put(c->out, "%u  wants to read %" PRIu64 "...%" PRIu64 " for %u\n", id,
                     ready->reads[i].slot, ready->reads[i].last, ready->reads[i].peer);
        }
    }
    for (uint32_t i = 0; i < ready->notes_count; i++) {
        char line[256];
        c->noted[ready->notes[i].kind] = true;
        if (c->out != NULL) {
            text_put(c->out, "%u  note: %s\n", id,
                     paxos_describe_note(&ready->notes[i], line, sizeof line));
        }
    }
    if (ready->confirmed > r->confirmed && c->out != NULL) {
        text_put(c->out, "%u  confirmed %" PRIu64 "\n", id, ready->confirmed);
    }
    if (ready->trim > r->trim && c->out != NULL) {
        text_put(c->out, "%u  may trim %" PRIu64 "\n", id, ready->trim);
    }
    r->confirmed = ready->confirmed;
    r->trim = ready->trim;
    r->wake_at_ms = ready->wake_at_ms;
}

void cluster_drain(struct cluster *c, uint32_t id)
{
    struct replica *r = &c->replica[id - 1];
    const struct paxos_ready *ready = paxos_ready(r->paxos);
    tell_sent(c, "at once", ready->at_once, ready->at_once_count);
    tell_sent(c, "released", ready->released, ready->released_count);
    for (uint32_t i = 0; i < ready->at_once_count; i++) {
        cluster_send(c, &ready->at_once[i]);
    }
    for (uint32_t i = 0; i < ready->released_count; i++) {
        cluster_send(c, &ready->released[i]);
    }
    disk_take(c, id, ready);
    tell_rest(c, id, ready);
    paxos_advance(r->paxos);
    paxos_check(r->paxos);
}

void cluster_step(struct cluster *c, uint32_t id, const struct paxos_event *event)
{
    struct replica *r = cluster_replica(c, id);
    assert(r != NULL);
    struct paxos_event now = *event;
    now.now_ms = c->now_ms;
    const enum paxos_drop drop = paxos_step(r->paxos, &now);
    c->dropped[drop] = true;
    paxos_check(r->paxos);
    if (drop != PAXOS_DROP_NONE && c->out != NULL) {
        text_put(c->out, "%u  dropped: %s\n", id, paxos_describe_drop(drop));
    }
    cluster_drain(c, id);
}

void cluster_tick(struct cluster *c, uint32_t id)
{
    cluster_step(c, id, &(struct paxos_event){.type = PAXOS_TICK});
}

void cluster_restart(struct cluster *c, uint32_t id)
{
    struct replica *r = &c->replica[id - 1];
    assert(r->paxos == NULL);
    r->disk.incarnation++;
    const struct paxos_config config = {.self = (paxos_id)id,
                                        .identity = r->identity,
                                        .incarnation = r->disk.incarnation,
                                        .seed = id,
                                        .now_ms = c->now_ms,
                                        .heartbeat_ms = HEARTBEAT_MS,
                                        .lease_ms = LEASE_MS,
                                        .jitter_ms_min = 50,
                                        .jitter_ms_max = 150,
                                        .disk_stall_ms = DISK_STALL_MS,
                                        .value_max = c->value_max};
    struct paxos_entry votes[PAXOS_WINDOW];
    uint32_t count = 0;
    for (paxos_slot slot = r->disk.chosen_mark + 1;
         slot <= r->disk.chosen_mark + PAXOS_WINDOW && slot < LOG_MAX; slot++) {
        if (r->disk.log[slot] != NULL) {
            votes[count++] = *r->disk.log[slot];
        }
    }
    const struct paxos_restored restored = {.hard = r->disk.hard,
                                            .chosen = r->disk.chosen_mark,
                                            .votes = votes,
                                            .votes_count = count};
    r->block = malloc(paxos_size(&config));
    assert(r->block != NULL);
    const enum paxos_rc rc = paxos_init(r->block, &config, &restored, &r->paxos);
    assert(rc == PAXOS_OK);
    r->wake_at_ms = c->now_ms;
    r->confirmed = 0;
    r->trim = 0;
    paxos_check(r->paxos);
}

void cluster_crash(struct cluster *c, uint32_t id)
{
    struct replica *r = &c->replica[id - 1];
    free(r->block);
    r->block = NULL;
    r->paxos = NULL;
    r->wanted_count = 0;
    disk_forget(&r->disk);
    for (uint32_t i = 1; i <= c->count; i++) { /* Connections break on both sides. */
        while (cluster_lose(c, id, i) || cluster_lose(c, i, id)) {
        }
    }
}

static void initialise(struct cluster *c, uint32_t id, bool firm, bool differ)
{
    struct replica *r = &c->replica[id - 1];
    struct paxos_members members = {
        .number = 1, .settings = {.firm = firm, .drift_ppm = 10000}, .count = c->count};
    for (uint32_t i = 0; i < c->count; i++) {
        members.member[i].id = (paxos_id)(i + 1);
        (void)snprintf(members.member[i].address, PAXOS_ADDRESS_MAX, "%s%u",
                       differ ? "elsewhere" : "host", i + 1);
    }
    members.member[id - 1].identity = r->identity;
    r->disk.hard = (struct paxos_hard){.members = members};
}

void cluster_wipe(struct cluster *c, uint32_t id, uint64_t identity)
{
    struct replica *r = &c->replica[id - 1];
    disk_wipe(&r->disk);
    r->disk.incarnation = 0;
    r->identity = identity;
    initialise(c, id, r->disk.hard.members.settings.firm, /* differ= */ false);
}

void cluster_begin(struct cluster *c, uint32_t count, bool firm, uint32_t value_max,
                   uint32_t differ)
{
    assert(count >= 1 && count <= CELL_MAX);
    c->count = count;
    c->now_ms = START_MS;
    c->value_max = value_max;
    memset(c->agreed, 0, sizeof c->agreed);
    for (uint32_t id = 1; id <= count; id++) {
        c->replica[id - 1].identity = 0x1d00 + id;
        initialise(c, id, firm, id == differ);
        cluster_restart(c, id);
    }
}

void cluster_end(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->count; id++) {
        cluster_crash(c, id);
        disk_wipe(&c->replica[id - 1].disk);
        c->replica[id - 1] = (struct replica){0};
        for (uint32_t to = 1; to <= c->count; to++) {
            c->link[id - 1][to - 1].cut = false;
        }
    }
    c->count = 0;
}

/* ------------------------------------------------------------------------ time */

static bool settle_once(struct cluster *c)
{
    bool moved = false;
    for (uint32_t from = 1; from <= c->count; from++) {
        for (uint32_t to = 1; to <= c->count; to++) {
            while (cluster_deliver(c, from, to)) {
                moved = true;
            }
        }
    }
    for (uint32_t id = 1; id <= c->count; id++) {
        const struct replica *r = cluster_replica(c, id);
        if (r != NULL) {
            moved |= !r->disk.stalled && cluster_sync(c, id);
            moved |= cluster_answer(c, id);
        }
    }
    return moved;
}

void cluster_settle(struct cluster *c)
{
    unsigned turns = 0;
    while (settle_once(c)) {
        assert(++turns < 1000);
    }
}

void cluster_wait(struct cluster *c, uint64_t ms, bool settle)
{
    const uint64_t until = c->now_ms + ms;
    for (;;) {
        if (settle) {
            cluster_settle(c);
        }
        uint64_t next = until + 1;
        uint32_t who = 0;
        for (uint32_t id = 1; id <= c->count; id++) {
            const struct replica *r = cluster_replica(c, id);
            if (r != NULL && r->wake_at_ms < next) {
                next = r->wake_at_ms;
                who = id;
            }
        }
        if (who == 0) {
            break;
        }
        c->now_ms = next > c->now_ms ? next : c->now_ms;
        cluster_tick(c, who);
    }
    c->now_ms = until;
}
