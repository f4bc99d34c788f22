/* SPDX-License-Identifier: Apache-2.0
 *
 * record.c -- the state as a set of records.
 *
 * A record is the unit of everything that must agree between replicas: of the
 * digest, of the store's tables and of a snapshot.  Its life:
 *
 *     added ---> changed ... changed ---> removed
 *                                            |
 *                      never stored: released at once
 *                      stored: stays `dead` in the dirty list, so that the next
 *                      set deletes its row, then released
 *
 * A record is in the dirty list at most once, however often it changes.
 */
#include "lease/history.h"
#include "lease/lock.h"
#include "lease/opener.h"
#include "lease/session.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

/* -------------------------------------------------------------------- keys */

static int number_compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int within_kind(struct record_key a, struct record_key b)
{
    const int by_id = number_compare(a.id, b.id);
    return by_id != 0 ? by_id : number_compare(a.sub, b.sub);
}

int record_key_compare(struct record_key a, struct record_key b)
{
    const int by_kind = (a.kind > b.kind) - (a.kind < b.kind);
    return by_kind != 0 ? by_kind : within_kind(a, b);
}

void record_key_encode(struct record_key key, struct writer *w)
{
    write_u8(w, (uint8_t)key.kind);
    write_u64(w, key.id);
    write_u64(w, key.sub);
}

bool record_key_decode(struct bytes bytes, struct record_key *ret_key)
{
    struct reader r = reader_over(bytes);
    const uint8_t kind = read_u8(&r);
    const uint64_t id = read_u64(&r);
    const uint64_t sub = read_u64(&r);
    if (!read_done(&r) || kind < RECORD_COUNTERS || kind > RECORD_KIND_LAST) {
        return false;
    }
    *ret_key = (struct record_key){.kind = (enum record_kind)kind, .id = id, .sub = sub};
    return true;
}

struct record *record_find(const struct lease *l, struct record_key key)
{
    struct tree_link *link = l->records[key.kind].root;
    while (link != NULL) {
        struct record *record = record_by_key(link);
        const int order = within_kind(key, record->key);
        if (order == 0) {
            return record;
        }
        link = link->child[order > 0];
    }
    return NULL;
}

struct record *record_from(const struct lease *l, struct record_key key)
{
    struct record *best = NULL;
    struct tree_link *link = l->records[key.kind].root;
    while (link != NULL) {
        struct record *record = record_by_key(link);
        if (within_kind(record->key, key) >= 0) {
            best = record;
            link = link->child[0];
        } else {
            link = link->child[1];
        }
    }
    return best;
}

struct record *record_upto(const struct lease *l, struct record_key key)
{
    struct record *best = NULL;
    struct tree_link *link = l->records[key.kind].root;
    while (link != NULL) {
        struct record *record = record_by_key(link);
        const bool upto = within_kind(record->key, key) <= 0;
        if (upto) {
            best = record;
        }
        link = link->child[upto];
    }
    return best;
}

struct record *record_next(const struct record *record)
{
    return record_by_key(tree_next(&record->by_key));
}

/* ------------------------------------------------------------------ values */

static void counters_encode(const struct counters *counters, struct writer *w)
{
    write_u8(w, RECORD_VERSION);
    write_u64(w, counters->revision);
    write_u64(w, counters->instances);
    write_u64(w, counters->epoch);
    write_u64(w, counters->claims);
    write_u64(w, counters->openers);
    write_u32(w, counters->stretch_ms);
}

void record_encode(const struct record *record, struct writer *w, struct bytes *ret_tail)
{
    *ret_tail = bytes_of(NULL, 0);
    switch (record->key.kind) {
    case RECORD_COUNTERS:
        counters_encode(tree_entry(record, const struct counters, record), w);
        break;
    case RECORD_NODE:
        node_encode(node_of_const(record), w, ret_tail);
        break;
    case RECORD_SESSION:
        session_encode(tree_entry(record, const struct session, record), w);
        break;
    case RECORD_CLAIM:
        claim_encode(tree_entry(record, const struct claim, record), w);
        break;
    case RECORD_RESULT:
        result_encode(tree_entry(record, const struct result, record), w);
        break;
    case RECORD_OPENER:
        opener_encode(tree_entry(record, const struct opener, record), w);
        break;
    case RECORD_HISTORY:
        chunk_encode(tree_entry(record, const struct chunk, record), w, ret_tail);
        break;
    }
    assert(!w->failed);
}

uint64_t record_hash(const struct record *record, uint32_t *ret_row_size)
{
    uint8_t space[RECORD_KEY_SIZE + RECORD_HEAD_MAX];
    struct writer w = writer_over(space, sizeof space);
    struct bytes tail;
    record_key_encode(record->key, &w);
    record_encode(record, &w, &tail);
    *ret_row_size = (uint32_t)(w.size + tail.size);
    return hash64(space, w.size);
}

/* -------------------------------------------------------------- dirty list */

static void dirty_append(struct lease *l, struct record *record)
{
    assert(!record->dirty);
    record->dirty = true;
    record->dirty_prev = l->dirty_last;
    record->dirty_next = NULL;
    if (l->dirty_last == NULL) {
        l->dirty_first = record;
    } else {
        l->dirty_last->dirty_next = record;
    }
    l->dirty_last = record;
    l->dirty_bytes += record->row_size;
}

static void dirty_unlink(struct lease *l, struct record *record)
{
    assert(record->dirty);
    assert(l->dirty_bytes >= record->row_size);
    if (record->dirty_prev == NULL) {
        l->dirty_first = record->dirty_next;
    } else {
        record->dirty_prev->dirty_next = record->dirty_next;
    }
    if (record->dirty_next == NULL) {
        l->dirty_last = record->dirty_prev;
    } else {
        record->dirty_next->dirty_prev = record->dirty_prev;
    }
    record->dirty = false;
    record->dirty_prev = NULL;
    record->dirty_next = NULL;
    l->dirty_bytes -= record->row_size;
}

/* -------------------------------------------------------------------- life */

/* Brings digest and sizes to what the record says now. */
static void settle(struct lease *l, struct record *record)
{
    uint32_t row_size = 0;
    const uint64_t hash = record_hash(record, &row_size);
    l->digest += hash - record->hash;
    record->hash = hash;
    if (record->dirty) {
        l->dirty_bytes += row_size;
        l->dirty_bytes -= record->row_size;
    }
    record->row_size = row_size;
}

void record_added(struct lease *l, struct record *record, struct record_key key)
{
    struct tree *tree = &l->records[key.kind];
    struct tree_place place = tree_root_place(tree);
    while (*place.at != NULL) {
        const int order = within_kind(key, record_by_key(*place.at)->key);
        assert(order != 0);
        place = tree_below(place, order > 0);
    }
    *record = (struct record){.key = key};
    tree_insert(tree, place, &record->by_key);
    record_changed(l, record);
}

void record_changed(struct lease *l, struct record *record)
{
    assert(!record->dead);
    settle(l, record);
    if (!record->dirty) {
        dirty_append(l, record);
    }
}

void record_loaded(struct lease *l, struct record *record)
{
    assert(!record->stored);
    settle(l, record);
    if (record->dirty) {
        dirty_unlink(l, record);
    }
    record->stored = true;
}

static void release(struct lease *l, struct record *record)
{
    assert(!record->dirty);
    switch (record->key.kind) {
    case RECORD_COUNTERS:
        break; /* Part of struct lease. */
    case RECORD_NODE:
        node_release(l, node_of(record));
        break;
    case RECORD_SESSION:
        session_release(l, session_of(record));
        break;
    case RECORD_CLAIM:
        claim_release(l, claim_of(record));
        break;
    case RECORD_RESULT:
        result_release(l, result_of(record));
        break;
    case RECORD_OPENER:
        opener_release(l, opener_of(record));
        break;
    case RECORD_HISTORY:
        chunk_release(l, chunk_of(record));
        break;
    }
}

void record_removed(struct lease *l, struct record *record)
{
    assert(!record->dead);
    assert(record->key.kind != RECORD_COUNTERS);
    tree_remove(&l->records[record->key.kind], &record->by_key);
    l->digest -= record->hash;
    record->hash = 0;
    record->dead = true;

    if (record->dirty) {
        dirty_unlink(l, record);
    }
    record->row_size = RECORD_KEY_SIZE;
    if (record->stored) {
        dirty_append(l, record);
    } else {
        release(l, record);
    }
}

void record_release_all(struct lease *l)
{
    /* The living first: the dead are nowhere but in the dirty list. */
    for (int kind = 1; kind <= RECORD_KIND_LAST; kind++) {
        struct tree_link *link = tree_first_leaf(&l->records[kind]);
        while (link != NULL) {
            struct record *record = record_by_key(link);
            link = tree_next_up(link);
            if (record->dirty) {
                dirty_unlink(l, record);
            }
            release(l, record);
        }
        l->records[kind].root = NULL;
    }
    lease_rows_taken(l);
}

/* -------------------------------------------------------------------- rows */

static void visit_row(const struct lease *l, const struct record *record,
                      void (*visit)(void *context, const struct lease_row *row), void *context)
{
    uint8_t key[RECORD_KEY_SIZE];
    struct writer w = writer_over(key, sizeof key);
    record_key_encode(record->key, &w);
    struct lease_row row = {.key = bytes_of(key, w.size)};

    if (!record->dead) {
        struct writer value = writer_over(l->scratch, RECORD_VALUE_MAX);
        struct bytes tail;
        record_encode(record, &value, &tail);
        write_raw(&value, tail.data, tail.size);
        assert(!value.failed);
        row.value = bytes_of(l->scratch, value.size);
    }
    assert(row.key.size + row.value.size == record->row_size);
    visit(context, &row);
}

uint64_t lease_rows_bytes(const struct lease *l)
{
    return l->dirty_bytes;
}

void lease_rows_visit(const struct lease *l,
                      void (*visit)(void *context, const struct lease_row *row), void *context)
{
    for (const struct record *record = l->dirty_first; record != NULL;
         record = record->dirty_next) {
        visit_row(l, record, visit, context);
    }
}

void lease_rows_taken(struct lease *l)
{
    while (l->dirty_first != NULL) {
        struct record *record = l->dirty_first;
        dirty_unlink(l, record);
        record->stored = true;
        if (record->dead) {
            release(l, record);
        }
    }
    assert(l->dirty_bytes == 0);
}

void lease_rows_all(const struct lease *l,
                    void (*visit)(void *context, const struct lease_row *row), void *context)
{
    for (int kind = 1; kind <= RECORD_KIND_LAST; kind++) {
        for (struct tree_link *link = tree_first(&l->records[kind]); link != NULL;
             link = tree_next(link)) {
            visit_row(l, record_by_key(link), visit, context);
        }
    }
}
