/* SPDX-License-Identifier: Apache-2.0
 *
 * load_session.c -- sessions, and their claims, outcomes and opens, from their rows;
 * see load.c.
 */
#include "lease/lock.h"
#include "lease/opener.h"

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
    const uint8_t cache = read_u8(r);
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
                       cache <= 1 && row.lease_ms >= LEASE_SESSION_MS_MIN &&
                       row.lease_ms <= LEASE_SESSION_MS_MAX;
    if (!sound) {
        return false;
    }
    struct session *session = session_new(l, label, principal);
    session->lease_ms = row.lease_ms;
    session->cache = cache == 1;
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

/* A claim's row, decoded and not yet believed. */
struct claim_row {
    struct claim claim; /* Without links, and its label is not yet its own. */
    uint64_t token;
    struct bytes label;
};

static bool read_claim_row(struct reader *r, struct claim_row *ret_row)
{
    struct claim_row row = {0};
    row.claim.session = read_u64(r);
    row.claim.handle = read_u64(r);
    row.claim.request = read_u64(r);
    row.claim.mode = read_u8(r);
    row.claim.state = read_u8(r);
    row.token = read_u64(r);
    row.claim.since_wall_ms = read_u64(r);
    row.claim.wait_ms = read_u32(r);
    row.claim.delay_ms = read_u32(r);
    row.label = read_short(r, LEASE_LABEL_MAX);
    *ret_row = row;
    return read_done(r);
}

/* Is this what a claim may look like, wherever it stands? */
static bool claim_row_sound(const struct claim_row *row)
{
    const struct claim *claim = &row->claim;
    const bool delayed = claim->state == CLAIM_DELAYED;
    return claim->request != 0 && claim->state <= CLAIM_DELAYED &&
           (claim->mode == LEASE_EXCLUSIVE || claim->mode == LEASE_SHARED) &&
           claim->delay_ms <= LEASE_DELAY_MS_MAX && (!delayed || claim->delay_ms > 0) &&
           (delayed || row->label.size == 0);
}

/* Can it stand behind those of its node that are loaded? */
static bool claim_row_fits(const struct lease *l, const struct node *node,
                           const struct claim_row *row)
{
    const struct lock *lock = node->lock;
    const enum lease_mode mode = (enum lease_mode)row->claim.mode;
    if (row->claim.state == CLAIM_WAITS) {
        /* Only for others: were it compatible, it would hold. */
        return row->token == 0 && !lock_admits(lock, mode);
    }
    if (row->token == 0 || row->token > l->counters.revision || node->lock_generation == 0) {
        return false;
    }
    /* All of one holding. */
    return lock == NULL || (lock->waiting_count == 0 && lock->token == row->token &&
                            mode == LEASE_SHARED && lock->first->mode == LEASE_SHARED);
}

bool load_claim(struct lease *l, struct record_key key, struct reader *r)
{
    struct claim_row row;
    struct record *record = record_find(l, (struct record_key){RECORD_NODE, key.id, 0});
    if (!read_claim_row(r, &row) || !claim_row_sound(&row) || record == NULL || key.sub == 0 ||
        key.sub > l->counters.claims || !claim_row_fits(l, node_of(record), &row)) {
        return false;
    }
    const bool delayed = row.claim.state == CLAIM_DELAYED;
    struct session *session = delayed ? NULL : session_find(l, row.claim.session);
    if (session == NULL && !delayed) {
        return false;
    }
    struct claim *claim = claim_new(l);
    *claim = row.claim;
    claim->node = node_of(record);
    claim_set_label(l, claim, row.label);
    if (!claim_link(l, session, claim)) {
        claim_release(l, claim);
        return false;
    }
    if (claim->state != CLAIM_WAITS) {
        claim->node->lock->token = row.token;
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
    stat.lock_token = read_u64(r);
    const uint8_t ephemeral = read_u8(r);
    if (ephemeral > 1) {
        r->failed = true;
    }
    stat.ephemeral = ephemeral == 1;
    return stat;
}

static bool stat_sound(const struct lease *l, const struct lease_stat *stat)
{
    return (stat->kind == LEASE_FILE || stat->kind == LEASE_DIRECTORY) && stat->instance >= 1 &&
           stat->instance <= l->counters.instances && stat->revision <= l->counters.revision &&
           stat->lock_token <= l->counters.revision;
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

/* ------------------------------------------------------------------- opens */

bool load_opener(struct lease *l, struct record_key key, struct reader *r)
{
    struct session *session = session_find(l, read_u64(r));
    const uint64_t handle = read_u64(r);
    struct record *node = record_find(l, (struct record_key){RECORD_NODE, key.id, 0});
    if (!read_done(r) || session == NULL || node == NULL || !node_of(node)->ephemeral ||
        key.sub == 0 || key.sub > l->counters.openers) {
        return false;
    }
    struct opener *opener = opener_new(l);
    opener->node = node_of(node);
    opener->session = session;
    opener->handle = handle;
    if (!opener_link(l, opener)) {
        opener_release(l, opener);
        return false;
    }
    record_added(l, &opener->record, key);
    record_loaded(l, &opener->record);
    return true;
}
