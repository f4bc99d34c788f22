/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c -- sessions, and what they have acknowledged.
 *
 * An id that was acknowledged is never executed again, so it must be known for
 * as long as the session lives.  A client that acknowledges in order needs one
 * number for it, the floor.  One that awaits a lock meanwhile leaves a gap, and
 * what lies above the gap is kept as ranges until the floor passes them.
 */
#include "lease/session.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

/* -------------------------------------------------------------------- life */

struct session *session_new(struct lease *l, struct bytes label, struct bytes principal)
{
    assert(label.size <= LEASE_LABEL_MAX);
    assert(principal.size <= LEASE_PRINCIPAL_MAX);
    struct session *session = memory_take(l, sizeof *session + label.size + principal.size);
    memset(session, 0, sizeof *session);
    session->label_size = (uint8_t)label.size;
    session->principal_size = (uint8_t)principal.size;
    if (label.size > 0) {
        memcpy(session->text, label.data, label.size);
    }
    if (principal.size > 0) {
        memcpy(session->text + label.size, principal.data, principal.size);
    }
    return session;
}

static void link_caching(struct lease *l, struct session *session)
{
    struct tree_place place = tree_root_place(&l->caching);
    while (*place.at != NULL) {
        const uint64_t other = session_caching(*place.at)->record.key.id;
        place = tree_below(place, session->record.key.id > other);
    }
    tree_insert(&l->caching, place, &session->by_caching);
    l->counts.caching++;
}

void session_add(struct lease *l, struct session *session, uint64_t id)
{
    assert(id != 0);
    record_added(l, &session->record, (struct record_key){.kind = RECORD_SESSION, .id = id});
    l->counts.sessions++;
    if (session->cache) {
        link_caching(l, session);
    }
}

static void give_ranges(struct lease *l, struct session *session)
{
    memory_give(l, session->ranges, session->ranges_room * sizeof *session->ranges);
    session->ranges = NULL;
    session->ranges_room = 0;
    session->ranges_count = 0;
}

void session_remove(struct lease *l, struct session *session)
{
    assert(session->claims.root == NULL);
    assert(session->held_count == 0);
    assert(session->opens.root == NULL);
    assert(session->results_count == 0);
    assert(l->counts.sessions > 0);
    if (session->cache) {
        tree_remove(&l->caching, &session->by_caching);
        l->counts.caching--;
    }
    give_ranges(l, session);
    l->counts.sessions--;
    record_removed(l, &session->record);
}

void session_release(struct lease *l, struct session *session)
{
    give_ranges(l, session);
    memory_give(l, session, session_size(session));
}

size_t session_size(const struct session *session)
{
    return sizeof *session + session->label_size + session->principal_size;
}

struct session *session_find(const struct lease *l, uint64_t id)
{
    struct record *record = record_find(l, (struct record_key){RECORD_SESSION, id, 0});
    return record == NULL ? NULL : session_of(record);
}

/* u8 version | u32 lease_ms | u8 1: cache | u64 opened_wall_ms | u64 secret_hash, twice |
 * u64 floor | u16 ranges, u64 first and last of each | u8 length, label |
 * u8 length, principal. */
void session_encode(const struct session *session, struct writer *w)
{
    static_assert(1 + 4 + 1 + 4 * 8 + 2 + SESSION_RANGES_MAX * 16 + 1 + LEASE_LABEL_MAX + 1 +
                          LEASE_PRINCIPAL_MAX <=
                      RECORD_HEAD_MAX,
                  "the session with the most ranges must fit");
    write_u8(w, RECORD_VERSION);
    write_u32(w, session->lease_ms);
    write_u8(w, session->cache);
    write_u64(w, session->opened_wall_ms);
    write_u64(w, session->secret_hash[0]);
    write_u64(w, session->secret_hash[1]);
    write_u64(w, session->ack_floor);
    write_u16(w, (uint16_t)session->ranges_count);
    for (uint32_t i = 0; i < session->ranges_count; i++) {
        write_u64(w, session->ranges[i].first);
        write_u64(w, session->ranges[i].last);
    }
    write_u8(w, session->label_size);
    write_raw(w, session->text, session->label_size);
    write_u8(w, session->principal_size);
    write_raw(w, session->text + session->label_size, session->principal_size);
}

/* Two numbers, so that a secret of 128 random bits keeps what it is worth.  This
 * hides the secret from who reads a store, not from who inverts XXH3. */
void lease_secret_hash(struct bytes secret, uint64_t ret_hash[2])
{
    ret_hash[0] = hash64_seeded(secret.data, secret.size, /* seed= */ 1);
    ret_hash[1] = hash64_seeded(secret.data, secret.size, /* seed= */ 2);
}

/* --------------------------------------------------------- acknowledgements */

/* The first range that ends at `id` or behind it; `ranges_count`: none. */
static uint32_t range_from(const struct session *session, uint64_t id)
{
    uint32_t low = 0;
    uint32_t high = session->ranges_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (session->ranges[middle].last < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool session_acknowledged(const struct session *session, uint64_t request)
{
    if (request <= session->ack_floor) {
        return true;
    }
    const uint32_t at = range_from(session, request);
    return at < session->ranges_count && session->ranges[at].first <= request;
}

static void remove_ranges(struct session *session, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= session->ranges_count);
    if (from < to) {
        memmove(session->ranges + from, session->ranges + to,
                (session->ranges_count - to) * sizeof *session->ranges);
        session->ranges_count -= to - from;
    }
}

static void insert_range(struct lease *l, struct session *session, uint32_t at,
                         struct lease_range range)
{
    assert(session->ranges_count < SESSION_RANGES_MAX);
    if (session->ranges_count == session->ranges_room) {
        const uint32_t room = session->ranges_room == 0 ? 4 : session->ranges_room * 2;
        struct lease_range *ranges = memory_take(l, room * sizeof *ranges);
        if (session->ranges_count > 0) {
            memcpy(ranges, session->ranges, session->ranges_count * sizeof *ranges);
        }
        memory_give(l, session->ranges, session->ranges_room * sizeof *ranges);
        session->ranges = ranges;
        session->ranges_room = room;
    }
    memmove(session->ranges + at + 1, session->ranges + at,
            (session->ranges_count - at) * sizeof *session->ranges);
    session->ranges[at] = range;
    session->ranges_count++;
}

/* Merges `range` with the floor and the ranges that it touches.  What a client
 * sends may overlap, be known, empty or absurd.  False: there is no room. */
static bool take_range(struct lease *l, struct session *session, struct lease_range range,
                       bool *changed)
{
    /* Nothing is below 1, and so the one before `first` is a number, too. */
    const uint64_t first = range.first == 0 ? 1 : range.first;
    const uint64_t last = range.last;
    if (first > last || last <= session->ack_floor) {
        return true;
    }
    const uint32_t from = range_from(session, first - 1);
    uint32_t to = from;
    while (to < session->ranges_count && session->ranges[to].first - 1 <= last) {
        to++;
    }
    struct lease_range merged = {first, last};
    if (to > from) {
        const struct lease_range low = session->ranges[from];
        const struct lease_range high = session->ranges[to - 1];
        if (low.first <= first && low.last >= last) {
            return true; /* Known. */
        }
        merged.first = low.first < first ? low.first : first;
        merged.last = high.last > last ? high.last : last;
    }
    if (first - 1 <= session->ack_floor) {
        assert(from == 0);
        session->ack_floor = merged.last;
        remove_ranges(session, 0, to);
    } else if (to > from) {
        session->ranges[from] = merged;
        remove_ranges(session, from + 1, to);
    } else if (session->ranges_count < SESSION_RANGES_MAX) {
        insert_range(l, session, from, merged);
    } else {
        return false;
    }
    *changed = true;
    result_forget(l, session, first, last);
    return true;
}

bool session_acknowledge(struct lease *l, struct session *session,
                         const struct lease_command *c)
{
    assert(c->acks_count <= LEASE_ACK_RANGES_MAX);
    bool changed = false;
    bool fits = take_range(l, session, (struct lease_range){1, c->ack_floor}, &changed);
    assert(fits); /* The floor only makes room. */
    for (uint32_t i = 0; i < c->acks_count; i++) {
        fits = take_range(l, session, c->acks[i], &changed) && fits;
    }
    if (changed) {
        record_changed(l, &session->record);
    }
    return fits;
}
