/* SPDX-License-Identifier: Apache-2.0
 *
 * history.c -- events, in chunks; see history.h.
 *
 * Nothing here depends on time or on who watches: the oldest chunk goes when all
 * together have more octets than the cell keeps, on every replica in the same
 * command.
 */
#include "lease/history.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

/* ---------------------------------------------------------------- encoding */

/* An event:
 *
 *     u8 change | u8 flags | u64 revision | u64 instance | u64 wall_ms |
 *     u16 length, path | u8 length, name of the read ACL | of its change:
 *
 *     CREATED, WRITTEN   u64 generation | u32 size of the content
 *     CREATED, DELETED   u64 parent's instance
 *     GRANTED, RELEASED, CONTENDED
 *                        u64 session | u64 token | u32 delay_ms
 *     [the content, of that size] [u16 length, the old one]  */
enum {
    EVENT_DIRECTORY = 1,
    EVENT_EPHEMERAL = 2,
    EVENT_FAILED = 4,
    EVENT_SHARED = 8,
    EVENT_CONTENT = 16,
    EVENT_OLD = 32,

    EVENT_FIXED_SIZE = 1 + 1 + 8 + 8 + 8 + 2 + 1,
    EVENT_WRITE_SIZE = 8 + 4,
    EVENT_LIFE_SIZE = 8,
    EVENT_LOCK_SIZE = 8 + 8 + 4,
};

static bool of_write(enum lease_change change)
{
    return change == LEASE_CREATED || change == LEASE_WRITTEN;
}

static bool of_life(enum lease_change change)
{
    return change == LEASE_CREATED || change == LEASE_DELETED;
}

static bool of_lock(enum lease_change change)
{
    return change == LEASE_GRANTED || change == LEASE_RELEASED || change == LEASE_CONTENDED;
}

static size_t event_size(const struct lease_event *e)
{
    size_t size = EVENT_FIXED_SIZE + e->path.size + e->acl_read.size;
    size += of_write(e->change) ? EVENT_WRITE_SIZE : 0;
    size += of_life(e->change) ? EVENT_LIFE_SIZE : 0;
    size += of_lock(e->change) ? EVENT_LOCK_SIZE : 0;
    size += e->has_content ? e->content.size : 0;
    size += e->has_old ? 2 + e->old.size : 0;
    return size;
}

static uint8_t event_flags(const struct lease_event *e)
{
    return (uint8_t)((e->kind == LEASE_DIRECTORY ? EVENT_DIRECTORY : 0) |
                     (e->ephemeral ? EVENT_EPHEMERAL : 0) | (e->failed ? EVENT_FAILED : 0) |
                     (e->mode == LEASE_SHARED ? EVENT_SHARED : 0) |
                     (e->has_content ? EVENT_CONTENT : 0) | (e->has_old ? EVENT_OLD : 0));
}

static void event_encode(const struct lease_event *e, struct writer *w)
{
    static_assert(LEASE_PATH_MAX <= UINT16_MAX && LEASE_EVENT_CONTENT_MAX <= UINT16_MAX,
                  "two octets of length");
    write_u8(w, (uint8_t)e->change);
    write_u8(w, event_flags(e));
    write_u64(w, e->revision);
    write_u64(w, e->instance);
    write_u64(w, e->wall_ms);
    write_u16(w, (uint16_t)e->path.size);
    write_raw(w, e->path.data, e->path.size);
    write_u8(w, (uint8_t)e->acl_read.size);
    write_raw(w, e->acl_read.data, e->acl_read.size);
    if (of_write(e->change)) {
        write_u64(w, e->generation);
        write_u32(w, e->content_size);
    }
    if (of_life(e->change)) {
        write_u64(w, e->parent);
    }
    if (of_lock(e->change)) {
        write_u64(w, e->session);
        write_u64(w, e->token);
        write_u32(w, e->delay_ms);
    }
    if (e->has_content) {
        write_raw(w, e->content.data, e->content.size);
    }
    if (e->has_old) {
        write_u16(w, (uint16_t)e->old.size);
        write_raw(w, e->old.data, e->old.size);
    }
}

static struct bytes read_sized(struct reader *r, size_t size)
{
    const uint8_t *data = read_raw(r, size);
    return bytes_of(data, data == NULL ? 0 : size);
}

/* Are these the flags that such a change can have? */
static bool flags_sound(enum lease_change change, uint8_t flags)
{
    uint8_t may = EVENT_DIRECTORY | EVENT_EPHEMERAL;
    if (of_lock(change)) {
        may |= EVENT_SHARED | (change == LEASE_RELEASED ? EVENT_FAILED : 0);
    } else if ((flags & EVENT_DIRECTORY) == 0) {
        may |= of_write(change) ? EVENT_CONTENT : 0;
        may |= change == LEASE_WRITTEN || change == LEASE_DELETED ? EVENT_OLD : 0;
    }
    return (flags & ~may) == 0;
}

bool event_decode(const struct chunk *chunk, uint32_t *offset, struct lease_event *ret_event)
{
    struct reader r = reader_over(bytes_of(chunk->events + *offset, chunk->size - *offset));
    struct lease_event e = {.change = (enum lease_change)read_u8(&r)};
    const uint8_t flags = read_u8(&r);
    e.kind = (flags & EVENT_DIRECTORY) != 0 ? LEASE_DIRECTORY : LEASE_FILE;
    e.ephemeral = (flags & EVENT_EPHEMERAL) != 0;
    e.failed = (flags & EVENT_FAILED) != 0;
    e.has_content = (flags & EVENT_CONTENT) != 0;
    e.has_old = (flags & EVENT_OLD) != 0;
    e.revision = read_u64(&r);
    e.instance = read_u64(&r);
    e.wall_ms = read_u64(&r);
    e.path = read_sized(&r, read_u16(&r));
    e.acl_read = read_sized(&r, read_u8(&r));
    if (of_write(e.change)) {
        e.generation = read_u64(&r);
        e.content_size = read_u32(&r);
    }
    if (of_life(e.change)) {
        e.parent = read_u64(&r);
    }
    if (of_lock(e.change)) {
        e.mode = (flags & EVENT_SHARED) != 0 ? LEASE_SHARED : LEASE_EXCLUSIVE;
        e.session = read_u64(&r);
        e.token = read_u64(&r);
        e.delay_ms = read_u32(&r);
    }
    if (e.has_content) {
        e.content = read_sized(&r, e.content_size);
    }
    if (e.has_old) {
        e.old = read_sized(&r, read_u16(&r));
    }
    if (r.failed || e.change < LEASE_CREATED || e.change > LEASE_CONTENDED ||
        !flags_sound(e.change, flags) || e.content.size > LEASE_EVENT_CONTENT_MAX ||
        e.old.size > LEASE_EVENT_CONTENT_MAX) {
        return false;
    }
    *offset += (uint32_t)r.at;
    *ret_event = e;
    return true;
}

/* ------------------------------------------------------------------ chunks */

uint64_t chunk_checksum(uint64_t before, const uint8_t *event, size_t size)
{
    return hash64_seeded(event, size, before);
}

struct chunk *chunk_new(struct lease *l, size_t size)
{
    const size_t room = size > CHUNK_ROOM ? size : CHUNK_ROOM;
    struct chunk *chunk = memory_take(l, sizeof *chunk + room);
    *chunk = (struct chunk){.room = (uint32_t)room};
    return chunk;
}

void chunk_release(struct lease *l, struct chunk *chunk)
{
    memory_give(l, chunk, sizeof *chunk + chunk->room);
}

void chunk_add(struct lease *l, struct chunk *chunk, struct record_key key)
{
    record_added(l, &chunk->record, key);
    l->history = chunk;
    l->counts.history_bytes += chunk->size;
}

/* u8 version | u64 checksum | u32 size, and then the events. */
void chunk_encode(const struct chunk *chunk, struct writer *w, struct bytes *ret_tail)
{
    write_u8(w, RECORD_VERSION);
    write_u64(w, chunk->checksum);
    write_u32(w, chunk->size);
    *ret_tail = bytes_of(chunk->events, chunk->size);
}

const struct chunk *history_first(const struct lease *l)
{
    struct tree_link *link = tree_first(&l->records[RECORD_HISTORY]);
    return link == NULL ? NULL : chunk_of(record_by_key(link));
}

static const struct chunk *chunk_next(const struct chunk *chunk)
{
    struct record *record = record_next(&chunk->record);
    return record == NULL ? NULL : chunk_of(record);
}

/* -------------------------------------------------------------------- append */

/* The chunk that takes the next `size` octets. */
static struct chunk *open_chunk(struct lease *l, size_t size)
{
    struct chunk *open = l->history;
    if (open != NULL && open->room - open->size >= size && open->size < CHUNK_ROOM) {
        return open;
    }
    const uint64_t revision = l->counters.revision;
    struct record_key key = {.kind = RECORD_HISTORY, .id = revision};
    if (open != NULL) {
        if (open->last == revision) {
            key.sub = open->record.key.id == revision ? open->record.key.sub + 1 : 1;
        }
        record_changed(l, &open->record);
    }
    struct chunk *chunk = chunk_new(l, size);
    chunk_add(l, chunk, key);
    return chunk;
}

void history_append(struct lease *l, const struct lease_at *at, const struct node *node,
                    struct lease_event event)
{
    assert(l->revised);
    uint8_t path[LEASE_PATH_MAX];
    event.path = bytes_of(path, node_path(node, path));
    event.revision = l->counters.revision;
    event.kind = (enum lease_kind)node->kind;
    event.ephemeral = node->ephemeral;
    event.instance = node->record.key.id;
    event.parent = of_life(event.change) ? node->parent->record.key.id : 0;
    event.wall_ms = at->wall_ms;
    event.acl_read = acls_name(node->acls, LEASE_READ);

    const size_t size = event_size(&event);
    struct chunk *chunk = open_chunk(l, size);
    uint8_t *encoded = chunk->events + chunk->size;
    struct writer w = writer_over(encoded, size);
    event_encode(&event, &w);
    assert(!w.failed && w.size == size);
    chunk->checksum = chunk_checksum(chunk->checksum, encoded, size);
    chunk->size += (uint32_t)size;
    chunk->last = event.revision;
    l->counts.history_bytes += size;
    l->told = true;
}

void history_append_claim(struct lease *l, const struct lease_at *at, const struct claim *claim,
                          enum lease_change change, bool failed)
{
    history_append(l, at, claim->node,
                   (struct lease_event){
                       .change = change,
                       .session = claim->session,
                       .mode = (enum lease_mode)claim->mode,
                       .token = change == LEASE_CONTENDED ? 0 : claim->node->lock->token,
                       .delay_ms = failed ? claim->delay_ms : 0,
                       .failed = failed,
                   });
}

void history_settle(struct lease *l)
{
    assert(l->told == l->revised);
    if (!l->told) {
        return;
    }
    record_changed(l, &l->history->record);
    while (l->counts.history_bytes > l->limits.history_bytes) {
        struct chunk *chunk = chunk_of(record_by_key(tree_first(&l->records[RECORD_HISTORY])));
        if (chunk == l->history) {
            l->history = NULL;
        }
        l->counts.history_bytes -= chunk->size;
        record_removed(l, &chunk->record);
    }
}

/* ------------------------------------------------------------------- queries */

uint64_t lease_history_floor(const struct lease *l)
{
    const struct chunk *first = history_first(l);
    if (first == NULL) {
        return l->counters.revision;
    }
    /* Of the revision of its first event some may have gone. */
    return first->record.key.sub == 0 ? first->record.key.id - 1 : first->record.key.id;
}

struct lease_place lease_history_seek(const struct lease *l, uint64_t revision)
{
    assert(revision >= lease_history_floor(l));
    const struct record_key key = {RECORD_HISTORY, revision, UINT64_MAX};
    struct record *record = record_upto(l, key);
    struct lease_place place = {.chunk = record == NULL ? history_first(l) : chunk_of(record)};
    struct lease_place before = place;
    struct lease_event event;
    while (lease_history_next(l, &place, &event) && event.revision <= revision) {
        before = place;
    }
    return before;
}

bool lease_history_next(const struct lease *l, struct lease_place *place,
                        struct lease_event *ret_event)
{
    (void)l;
    const struct chunk *chunk = place->chunk;
    if (chunk != NULL && place->offset == chunk->size) {
        const struct chunk *next = chunk_next(chunk);
        if (next == NULL) {
            return false;
        }
        *place = (struct lease_place){.chunk = next};
        chunk = next;
    }
    if (chunk == NULL) {
        return false;
    }
    const bool sound = event_decode(chunk, &place->offset, ret_event);
    assert(sound);
    return true;
}
