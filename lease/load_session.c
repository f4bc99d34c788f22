/* SPDX-License-Identifier: Apache-2.0
 *
 * load_session.c -- sessions, claims and outcomes from their rows; see load.c.
 */
#include "lease/lock.h"

#include "paxos/base/pure.h"

/* ---------------------------------------------------------------- sessions */

/* Ascending, apart from each other and from the floor: the one form in which a
 * set of ids is written. */
static bool read_ranges(struct reader *r, uint64_t floor, uint32_t count,
                        struct lease_range *ret_ranges)
{
    uint64_t before = floor;
    for (uint32_t i = 0; i < count; i++) {
        const struct lease_range range = {read_u64(r), read_u64(r)};
        if (r->failed || range.first > range.last || range.first <= before ||
            range.first - 1 == before) {
            return false;
        }
        before = range.last;
        ret_ranges[i] = range;
    }
    return true;
}

static struct bytes read_short(struct reader *r, size_t max)
{
    const size_t size = read_u8(r);
    const uint8_t *data = read_raw(r, size);
    if (size > max) {
        r->failed = true;
    }
    return bytes_of(data, data == NULL ? 0 : size);
}

static void give_ranges(struct lease *l, struct session *session, uint32_t count)
{
    const size_t size = count * sizeof *session->ranges;
    if (count > 0) {
        session->ranges = memory_take(l, size);
        memcpy(session->ranges, l->scratch, size);
    }
    session->ranges_count = count;
    session->ranges_room = count;
}

bool load_session(struct lease *l, struct record_key key, struct reader *r)
{
    static_assert(SESSION_RANGES_MAX * sizeof(struct lease_range) <= RECORD_VALUE_MAX,
                  "ranges wait in the scratch space");
    struct session row = {0};
    row.lease_ms = read_u32(r);
    row.opened_wall_ms = read_u64(r);
    row.secret_hash[0] = read_u64(r);
    row.secret_hash[1] = read_u64(r);
    row.ack_floor = read_u64(r);
    const uint32_t ranges = (uint32_t)read_uint(r, 2);
    if (ranges > SESSION_RANGES_MAX ||
        !read_ranges(r, row.ack_floor, ranges, (struct lease_range *)(void *)l->scratch)) {
        return false;
    }
    const struct bytes label = read_short(r, LEASE_LABEL_MAX);
    const struct bytes principal = read_short(r, LEASE_PRINCIPAL_MAX);
    const bool sound = read_done(r) && l->root->record.stored && key.id != 0 && key.sub == 0 &&
                       row.lease_ms >= LEASE_SESSION_MS_MIN &&
                       row.lease_ms <= LEASE_SESSION_MS_MAX;
    if (!sound) {
        return false;
    }
    struct session *session = session_new(l, label, principal);
    session->lease_ms = row.lease_ms;
    session->opened_wall_ms = row.opened_wall_ms;
    session->secret_hash[0] = row.secret_hash[0];
    session->secret_hash[1] = row.secret_hash[1];
    session->ack_floor = row.ack_floor;
    give_ranges(l, session, ranges);
    session_add(l, session, key.id);
    record_loaded(l, &session->record);
    return true;
}

/* ------------------------------------------------------------------ claims */

/* Can this claim stand behind those of its node that are loaded? */
static bool holder_sound(const struct lease *l, const struct claim *row, uint64_t token)
{
    const struct lock *lock = row->node->lock;
    if (token == 0 || token > l->counters.revision || row->node->lock_generation == 0) {
        return false;
    }
    return lock == NULL || (lock->waiting_count == 0 && lock->token == token &&
                            lock_compatible(lock, (enum lease_mode)row->mode));
}

/* Someone waits only for others: were it compatible, it would hold. */
static bool waiter_sound(const struct claim *row, uint64_t token)
{
    return token == 0 && !lock_admits(row->node->lock, (enum lease_mode)row->mode);
}

bool load_claim(struct lease *l, struct record_key key, struct reader *r)
{
    struct claim row = {0};
    row.session = read_u64(r);
    row.handle = read_u64(r);
    row.request = read_u64(r);
    row.mode = read_u8(r);
    const uint8_t held = read_u8(r);
    const uint64_t token = read_u64(r);
    row.since_wall_ms = read_u64(r);
    row.wait_ms = read_u32(r);
    row.held = held == 1;

    struct record *node = record_find(l, (struct record_key){RECORD_NODE, key.id, 0});
    struct session *session = session_find(l, row.session);
    if (!read_done(r) || node == NULL || session == NULL || held > 1 || row.request == 0 ||
        (row.mode != LEASE_EXCLUSIVE && row.mode != LEASE_SHARED) || key.sub == 0 ||
        key.sub > l->counters.claims) {
        return false;
    }
    row.node = node_of(node);
    if (!(row.held ? holder_sound(l, &row, token) : waiter_sound(&row, token))) {
        return false;
    }
    struct claim *claim = claim_new(l);
    *claim = row;
    if (!claim_link(l, session, claim)) {
        claim_release(l, claim);
        return false;
    }
    if (claim->held) {
        row.node->lock->token = token;
    }
    record_added(l, &claim->record, key);
    record_loaded(l, &claim->record);
    return true;
}

/* ---------------------------------------------------------------- outcomes */

static struct lease_stat read_stat(struct reader *r)
{
    struct lease_stat stat = {.kind = (enum lease_kind)read_u8(r)};
    stat.instance = read_u64(r);
    stat.content_generation = read_u64(r);
    stat.lock_generation = read_u64(r);
    stat.acl_generation = read_u64(r);
    stat.checksum = read_u64(r);
    stat.revision = read_u64(r);
    stat.modified_wall_ms = read_u64(r);
    stat.size = read_u64(r);
    stat.children = read_u64(r);
    return stat;
}

static bool stat_sound(const struct lease *l, const struct lease_stat *stat)
{
    return (stat->kind == LEASE_FILE || stat->kind == LEASE_DIRECTORY) && stat->instance >= 1 &&
           stat->instance <= l->counters.instances && stat->revision <= l->counters.revision;
}

bool load_result(struct lease *l, struct record_key key, struct reader *r)
{
    struct result row = {.rc = read_u8(r)};
    const uint8_t flags = read_u8(r);
    row.slot = read_u64(r);
    row.position = read_u32(r);
    row.revision = read_u64(r);
    row.token = read_u64(r);
    struct lease_stat stat = {0};
    const bool has_stat = (flags & 2) != 0;
    if (has_stat) {
        stat = read_stat(r);
    }
    struct session *session = session_find(l, key.id);
    if (!read_done(r) || session == NULL || flags > 3 || !result_is_outcome(row.rc) ||
        row.slot == 0 || row.slot >= LEASE_NUMBER_MAX || row.position == 0 ||
        row.revision > l->counters.revision || row.token > l->counters.revision ||
        (has_stat && !stat_sound(l, &stat))) {
        return false;
    }
    /* Acknowledged ones are forgotten, those who wait have none yet. */
    if (session_acknowledged(session, key.sub) || claim_waiting(session, key.sub) != NULL ||
        session->results_count >= SESSION_OUTCOMES_MAX) {
        return false;
    }
    struct result *result = result_new(l, has_stat);
    result->rc = row.rc;
    result->created = (flags & 1) != 0;
    result->slot = row.slot;
    result->position = row.position;
    result->revision = row.revision;
    result->token = row.token;
    if (has_stat) {
        result->stat[0] = stat;
    }
    result_add(l, session, result, key.sub);
    record_loaded(l, &result->record);
    return true;
}
