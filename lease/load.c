/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c -- a state from its rows.
 *
 * Rows come from a disk or from another replica, so nothing in them is trusted:
 * each is refused that no sequence of commands could have left behind, and the
 * digest at the end finds a row that is missing or a valid row of another state.
 * Keys ascend, so what a row refers to is there already: the counters are the
 * lowest key, a parent is always older than its child, and sessions come before
 * their claims, outcomes and opens, which load_session.c reads.  load_history.c
 * reads what has happened.
 */
#include "lease/history.h"

#include "paxos/base/pure.h"

static bool load_counters(struct lease *l, struct record_key key, struct reader *r)
{
    const uint64_t revision = read_u64(r);
    const uint64_t instances = read_u64(r);
    const uint64_t epoch = read_u64(r);
    const uint64_t claims = read_u64(r);
    const uint64_t openers = read_u64(r);
    const uint32_t stretch_ms = read_u32(r);
    const bool sound = read_done(r) && key.id == 0 && key.sub == 0 &&
                       revision < LEASE_NUMBER_MAX && epoch < LEASE_NUMBER_MAX &&
                       claims < LEASE_NUMBER_MAX && openers < LEASE_NUMBER_MAX &&
                       stretch_ms <= LEASE_SESSION_MS_MAX &&
                       instances >= l->counters.instances && instances < LEASE_NUMBER_MAX;
    if (!sound) {
        return false;
    }
    l->counters.revision = revision;
    l->counters.instances = instances;
    l->counters.epoch = epoch;
    l->counters.claims = claims;
    l->counters.openers = openers;
    l->counters.stretch_ms = stretch_ms;
    record_loaded(l, &l->counters.record);
    return true;
}

/* A node's row, decoded and not yet believed. */
struct node_row {
    uint64_t instance;
    uint64_t parent;
    struct bytes name;
    uint8_t kind;
    uint8_t ephemeral;
    uint64_t content_generation;
    uint64_t lock_generation;
    uint64_t acl_generation;
    uint64_t revision;
    uint64_t modified_wall_ms;
    struct bytes acls[LEASE_RIGHTS];
    uint64_t checksum;
    struct bytes content;
};

static bool read_node_row(struct record_key key, struct reader *r, struct node_row *ret_row)
{
    struct node_row row = {.instance = key.id};
    row.parent = read_u64(r);
    const size_t name_size = read_u8(r);
    row.name = bytes_of(read_raw(r, name_size), name_size);
    row.kind = read_u8(r);
    row.ephemeral = read_u8(r);
    row.content_generation = read_u64(r);
    row.lock_generation = read_u64(r);
    row.acl_generation = read_u64(r);
    row.revision = read_u64(r);
    row.modified_wall_ms = read_u64(r);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        const size_t size = read_u8(r);
        row.acls[right] = bytes_of(read_raw(r, size), size);
    }
    row.checksum = read_u64(r);
    row.content = read_bytes(r);
    *ret_row = row;
    return read_done(r) && key.sub == 0;
}

/* Is this what a node may look like, wherever it stands? */
static bool node_row_sound(const struct lease *l, const struct node_row *row)
{
    const bool numbers =
        row->instance >= 1 && row->instance <= l->counters.instances && row->ephemeral <= 1 &&
        row->revision <= l->counters.revision && row->content_generation < LEASE_NUMBER_MAX &&
        row->lock_generation < LEASE_NUMBER_MAX && row->acl_generation < LEASE_NUMBER_MAX;
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        if (!acl_name_valid(row->acls[right])) {
            return false;
        }
    }
    switch (row->kind) {
    case LEASE_FILE:
        return numbers && row->content_generation >= 1 &&
               row->content.size <= LEASE_CONTENT_MAX &&
               row->checksum == content_checksum(row->content);
    case LEASE_DIRECTORY:
        return numbers && row->content_generation == 0 && row->content.size == 0 &&
               row->checksum == 0;
    default:
        return false;
    }
}

/* The directory that is to hold the row's node, or NULL where it can't stand. */
static struct node *find_parent(const struct lease *l, const struct node_row *row)
{
    if (!path_component_valid(row->name) || row->parent >= row->instance) {
        return NULL;
    }
    struct record *record = record_find(l, (struct record_key){RECORD_NODE, row->parent, 0});
    if (record == NULL) {
        return NULL;
    }
    struct node *parent = node_of(record);
    if (parent->kind != LEASE_DIRECTORY || node_child(parent, row->name) != NULL) {
        return NULL;
    }
    uint32_t depth = 1;
    size_t path_size = row->name.size;
    for (const struct node *up = parent; up != l->root; up = up->parent) {
        depth++;
        path_size += up->name_size + 1u;
    }
    return depth <= LEASE_DEPTH_MAX && path_size <= LEASE_PATH_MAX ? parent : NULL;
}

static void fill(struct lease *l, struct node *node, const struct node_row *row)
{
    node->ephemeral = row->ephemeral == 1;
    node->content_generation = row->content_generation;
    node->lock_generation = row->lock_generation;
    node->acl_generation = row->acl_generation;
    node->revision = row->revision;
    node->modified_wall_ms = row->modified_wall_ms;
    struct acls *made = node->acls; /* Of a root. */
    node->acls = acls_take(l, row->acls);
    acls_give(l, made);
    if (row->kind == LEASE_FILE) {
        node_set_content(l, node, row->content);
    }
}

static bool load_node(struct lease *l, struct record_key key, struct reader *r)
{
    struct node_row row;
    if (!read_node_row(key, r, &row) || !l->counters.record.stored ||
        !node_row_sound(l, &row)) {
        return false;
    }
    if (row.instance == l->root->record.key.id) {
        if (row.parent != 0 || row.name.size != 0 || row.kind != LEASE_DIRECTORY ||
            row.ephemeral != 0) {
            return false;
        }
        fill(l, l->root, &row);
        record_loaded(l, &l->root->record);
        return true;
    }
    struct node *parent = find_parent(l, &row);
    if (parent == NULL || !l->root->record.stored) {
        return false;
    }
    struct node *node = node_new(l, (enum lease_kind)row.kind, row.name);
    fill(l, node, &row);
    node_attach(l, parent, node);
    record_added(l, &node->record, key);
    record_loaded(l, &node->record);
    return true;
}

bool lease_row_load(struct lease *l, const struct lease_row *row)
{
    assert(l->slot == 0);
    struct record_key key;
    if (!record_key_decode(row->key, &key) || row->value.data == NULL ||
        record_key_compare(key, l->loaded) <= 0) {
        return false;
    }
    struct reader r = reader_over(row->value);
    if (read_u8(&r) != RECORD_VERSION) {
        return false;
    }
    l->loaded = key;
    switch (key.kind) {
    case RECORD_COUNTERS:
        return load_counters(l, key, &r);
    case RECORD_NODE:
        return load_node(l, key, &r);
    case RECORD_SESSION:
        return load_session(l, key, &r);
    case RECORD_CLAIM:
        return load_claim(l, key, &r);
    case RECORD_RESULT:
        return load_result(l, key, &r);
    case RECORD_OPENER:
        return load_opener(l, key, &r);
    case RECORD_HISTORY:
        return load_history(l, key, &r);
    }
    assert(/* a key that decoded has a kind */ false);
    return false;
}

bool lease_loaded(struct lease *l, uint64_t slot, uint32_t position, uint64_t digest)
{
    assert(l->slot == 0);
    const bool rows = l->counters.record.stored && l->root->record.stored;
    if (slot == 0) {
        /* No set has been written yet: what was just made is the whole state. */
        return !rows && position == 0 && (digest == 0 || digest == l->digest);
    }
    if (!rows || digest != l->digest ||
        (l->history != NULL && l->history->last != l->counters.revision)) {
        return false;
    }
    l->slot = slot;
    l->position = position;
    return true;
}
