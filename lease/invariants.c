/* SPDX-License-Identifier: Apache-2.0
 *
 * invariants.c -- what is true of every state between two commands.  The numbers
 * are those of docs/lease.md, so a failed assertion names the sentence it broke.
 */
#include "lease/invariants.h"

#include "paxos/base/pure.h"

/* L1  Every node but the root has a directory as its parent, older than itself,
 *     which finds it by its name; the path to it is one that may be written. */
static void check_place(const struct lease *l, const struct node *node)
{
    if (node == l->root) {
        assert(node->parent == NULL);
        assert(node->kind == LEASE_DIRECTORY);
        assert(node->name_size == 0);
        return;
    }
    assert(node->parent != NULL);
    assert(node->parent->kind == LEASE_DIRECTORY);
    assert(node->parent->record.key.id < node->record.key.id);
    assert(path_component_valid(node_name(node)));
    assert(node_child(node->parent, node_name(node)) == node);

    uint32_t depth = 0;
    size_t path_size = 0;
    for (const struct node *up = node; up != l->root; up = up->parent) {
        depth++;
        path_size += up->name_size + (up == node ? 0u : 1u);
    }
    assert(depth <= LEASE_DEPTH_MAX);
    assert(path_size <= LEASE_PATH_MAX);
}

/* L2  The children of a directory stand in strict order of their octets, in a
 *     balanced tree, and are as many as it says. */
static void check_children(const struct node *node)
{
    tree_check(&node->children);
    uint32_t count = 0;
    const struct node *previous = NULL;
    for (const struct node *child = node_first_behind(node, bytes_of(NULL, 0)); child != NULL;
         child = node_next(child)) {
        assert(child->parent == node);
        if (previous != NULL) {
            assert(bytes_compare(node_name(previous), node_name(child)) < 0);
        }
        previous = child;
        count++;
    }
    assert(count == node->children_count);
}

/* L3  A file has been written at least once, and its checksum is that of its
 *     content; a directory has neither content nor generation. */
static void check_content(const struct node *node)
{
    if (node->kind == LEASE_FILE) {
        assert(node->content_generation >= 1);
        assert(node->content_size <= LEASE_CONTENT_MAX);
        assert(node->checksum == content_checksum(node_content(node)));
        assert(node->children.root == NULL);
        assert(node->children_count == 0);
    } else {
        assert(node->kind == LEASE_DIRECTORY);
        assert(node->content_generation == 0);
        assert(node->content == NULL);
        assert(node->content_size == 0);
        assert(node->checksum == 0);
        check_children(node);
    }
}

/* L4  No number is ahead of the counter that gives it, and none is too large for
 *     a client to read exactly. */
static void check_numbers(const struct lease *l, const struct node *node)
{
    assert(node->record.key.id >= 1);
    assert(node->record.key.id <= l->counters.instances);
    assert(node->revision <= l->counters.revision);
    assert(node->content_generation < LEASE_NUMBER_MAX);
    assert(node->lock_generation < LEASE_NUMBER_MAX);
    assert(node->acl_generation < LEASE_NUMBER_MAX);
}

/* L5, one revision for a change and none for a refusal, is asserted where it
 * happens, in lease_apply(). */

static void check_node(const struct lease *l, const struct node *node, struct sums *sums)
{
    check_place(l, node);
    assert(node->acls != NULL);
    check_content(node);
    check_numbers(l, node);
    check_lock(l, node, sums);
    check_openers(l, node, sums);
    sums->nodes++;
    sums->content_bytes += node->content_size;
}

/* L17  A node names ACLs as a node can.  Nodes with the same three names share one
 *      triple, which is there as long as one of them. */
static void check_acls(const struct lease *l, struct sums *sums)
{
    tree_check(&l->acls);
    uint64_t nodes = 0;
    for (struct tree_link *link = tree_first(&l->acls); link != NULL; link = tree_next(link)) {
        const struct acls *acls = acls_of(link);
        assert(acls->nodes >= 1);
        for (int right = 0; right < LEASE_RIGHTS; right++) {
            assert(acl_name_valid(acls_name(acls, (enum lease_right)right)));
        }
        nodes += acls->nodes;
        sums->memory_bytes += acls_size(acls);
    }
    assert(nodes == sums->nodes);
}

/* What it is embedded in, and what that owns. */
static size_t memory_of(struct record *record)
{
    switch (record->key.kind) {
    case RECORD_COUNTERS:
        return 0; /* Part of struct lease. */
    case RECORD_NODE: {
        const struct node *node = node_of(record);
        return sizeof *node + node->name_size + room_for(node->content_size) +
               (node->lock == NULL ? 0 : sizeof *node->lock);
    }
    case RECORD_SESSION: {
        const struct session *session = session_of(record);
        return session_size(session) + session->ranges_room * sizeof *session->ranges;
    }
    case RECORD_CLAIM:
        return sizeof(struct claim) + claim_of(record)->label_size;
    case RECORD_RESULT:
        return result_size(result_of(record));
    case RECORD_OPENER:
        return sizeof(struct opener);
    case RECORD_HISTORY:
        return sizeof(struct chunk) + chunk_of(record)->room;
    }
    assert(/* a record has a kind */ false);
    return 0;
}

/* L7  A record's hash is that of its key and its value, and lies in the digest. */
static void check_record(struct record *record, struct sums *sums)
{
    uint32_t row_size = 0;
    sums->memory_bytes += memory_of(record);
    assert(!record->dead);
    assert(record_hash(record, &row_size) == record->hash);
    assert(row_size == record->row_size);
    sums->digest += record->hash;
    if (record->dirty) {
        sums->dirty++;
        sums->dirty_bytes += row_size;
    } else {
        assert(record->stored);
    }
}

static void check_records(const struct lease *l, enum record_kind kind, struct sums *sums)
{
    tree_check(&l->records[kind]);
    const struct record *previous = NULL;
    for (struct tree_link *link = tree_first(&l->records[kind]); link != NULL;
         link = tree_next(link)) {
        struct record *record = record_by_key(link);
        assert(record->key.kind == kind);
        if (previous != NULL) {
            assert(record_key_compare(previous->key, record->key) < 0);
        }
        previous = record;
        check_record(record, sums);
        switch (record->key.kind) {
        case RECORD_COUNTERS:
            assert(record == &l->counters.record);
            break;
        case RECORD_NODE:
            check_node(l, node_of_const(record), sums);
            break;
        case RECORD_SESSION:
            check_session(l, session_of(record), sums);
            break;
        case RECORD_CLAIM:
            check_claim(l, claim_of(record), sums);
            break;
        case RECORD_RESULT:
            check_result(l, result_of(record), sums);
            break;
        case RECORD_OPENER:
            check_opener(l, opener_of(record), sums);
            break;
        case RECORD_HISTORY:
            check_chunk(l, chunk_of(record), sums);
            break;
        }
    }
}

/* L8  The dirty list holds each record that the tables don't have as it is, and
 *     the dead ones of which they have a row; nothing twice. */
static void check_dirty(const struct lease *l, struct sums *sums)
{
    uint64_t living = 0;
    const struct record *previous = NULL;
    for (struct record *record = l->dirty_first; record != NULL; record = record->dirty_next) {
        assert(record->dirty);
        assert(record->dirty_prev == previous);
        previous = record;
        if (record->dead) {
            assert(record->stored);
            assert(record->row_size == RECORD_KEY_SIZE);
            sums->dirty_bytes += record->row_size;
            sums->memory_bytes += memory_of(record);
        } else {
            living++;
        }
    }
    assert(previous == l->dirty_last);
    assert(living == sums->dirty);
    assert(l->dirty_bytes == sums->dirty_bytes);
}

void lease_check(const struct lease *l)
{
    struct sums sums = {.memory_bytes = sizeof *l + RECORD_VALUE_MAX +
                                        l->settled_room * sizeof *l->settled +
                                        l->delays_room * sizeof *l->delays};
    assert(l->records[0].root == NULL);
    for (int kind = 1; kind <= RECORD_KIND_LAST; kind++) {
        check_records(l, (enum record_kind)kind, &sums);
    }
    check_acls(l, &sums);
    check_history(l);
    check_dirty(l, &sums);
    assert(l->digest == sums.digest);

    /* L4, for the counters themselves. */
    assert(l->counters.revision < LEASE_NUMBER_MAX);
    assert(l->counters.instances < LEASE_NUMBER_MAX);
    assert(l->counters.epoch < LEASE_NUMBER_MAX);
    assert(l->counters.claims < LEASE_NUMBER_MAX);
    assert(l->counters.openers < LEASE_NUMBER_MAX);
    assert(l->counters.stretch_ms <= LEASE_SESSION_MS_MAX);

    /* L6  What is counted is what there is. */
    assert(l->counts.nodes == sums.nodes);
    assert(l->counts.content_bytes == sums.content_bytes);
    assert(l->counts.sessions == sums.sessions);
    assert(l->counts.caching == sums.caching);
    assert(l->counts.caching == check_caching(l));
    assert(l->counts.held == sums.held);
    assert(l->counts.delayed == sums.delayed);
    assert(l->counts.waiting == sums.waiting);
    assert(sums.claims == sums.held + sums.delayed + sums.waiting);
    assert(l->counts.opens == sums.opens);
    assert(sums.opens == sums.opens_of_sessions);
    assert(sums.opens == sums.opens_of_nodes);
    assert(l->counts.history_bytes == sums.history_bytes);
    assert(sums.results == sums.results_of_sessions);
    assert(l->counts.memory_bytes == sums.memory_bytes);
}
