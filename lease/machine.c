/* SPDX-License-Identifier: Apache-2.0
 *
 * machine.c -- the only door to change.
 *
 * Every command first decides, and changes nothing until nothing can refuse it
 * any more.  So a refused command leaves no trace, not even in a counter, and
 * the order of the refusals below is part of what replicas agree on: moving one
 * is a new version of the command.
 */
#include "lease/internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

enum {
    ROOT_INSTANCE = 1,
};

/* -------------------------------------------------------------------- life */

struct lease *lease_new(const struct lease_allocator *allocator,
                        const struct lease_limits *limits)
{
    assert(limits->nodes >= 1);
    struct lease *l = allocator->allocate(allocator->context, sizeof *l);
    if (l == NULL) {
        allocator->exhausted(allocator->context);
    }
    *l = (struct lease){
        .allocator = *allocator,
        .limits = *limits,
        .counts = {.nodes = 1, .memory_bytes = sizeof *l},
        .counters = {.instances = ROOT_INSTANCE},
    };
    l->scratch = memory_take(l, RECORD_VALUE_MAX);
    l->root = node_new(l, LEASE_DIRECTORY, bytes_of(NULL, 0));

    record_added(l, &l->counters.record, (struct record_key){.kind = RECORD_COUNTERS});
    record_added(l, &l->root->record,
                 (struct record_key){.kind = RECORD_NODE, .id = ROOT_INSTANCE});
    return l;
}

void lease_free(struct lease *l)
{
    if (l == NULL) {
        return;
    }
    const struct lease_allocator allocator = l->allocator;
    record_release_all(l);
    memory_give(l, l->scratch, RECORD_VALUE_MAX);
    assert(l->counts.memory_bytes == sizeof *l);
    allocator.release(allocator.context, l, sizeof *l);
}

/* ------------------------------------------------------------------- epoch */

void lease_begin_epoch(struct lease *l, uint64_t slot, uint64_t epoch)
{
    assert(slot == l->slot + 1);
    assert(epoch < LEASE_NUMBER_MAX);
    /* A first entry that was carried forward behind a newer master's no-op
     * begins nothing: the barrier never falls. */
    if (epoch > l->counters.epoch) {
        l->counters.epoch = epoch;
        record_changed(l, &l->counters.record);
    }
}

bool lease_in_force(const struct lease *l, uint64_t epoch)
{
    return mutant(old_epoch_applied) || epoch >= l->counters.epoch;
}

void lease_slot_done(struct lease *l, uint64_t slot, uint32_t commands)
{
    assert(slot == l->slot + 1);
    l->slot = slot;
    l->position = commands;
}

/* ----------------------------------------------------------------- changes */

/* What clients see as a JSON number must stay exact; to stop is better than to
 * say a number that two readers understand differently. */
static uint64_t next_number(uint64_t *counter)
{
    assert(*counter + 1 < LEASE_NUMBER_MAX);
    return ++*counter;
}

/* Exactly one per command that changes something, and its last step. */
static void next_revision(struct lease *l)
{
    next_number(&l->counters.revision);
    record_changed(l, &l->counters.record);
}

static void write_file(struct lease *l, const struct lease_at *at, struct node *node,
                       struct bytes content)
{
    next_revision(l);
    next_number(&node->content_generation);
    node_set_content(l, node, content);
    node->revision = l->counters.revision;
    node->modified_wall_ms = at->wall_ms;
    record_changed(l, &node->record);
}

static struct node *make_node(struct lease *l, const struct lease_at *at,
                              const struct node_place *place, enum lease_kind kind,
                              struct bytes content)
{
    assert(place->node == NULL);
    const uint64_t instance = next_number(&l->counters.instances);
    next_revision(l);

    struct node *node = node_new(l, kind, place->name);
    node_attach(l, place->parent, node);
    if (kind == LEASE_FILE) {
        next_number(&node->content_generation);
        node_set_content(l, node, content);
    }
    node->revision = l->counters.revision;
    node->modified_wall_ms = at->wall_ms;
    record_added(l, &node->record, (struct record_key){.kind = RECORD_NODE, .id = instance});
    return node;
}

static void delete_node(struct lease *l, struct node *node)
{
    next_revision(l);
    node_detach(l, node);
    record_removed(l, &node->record);
}

/* ---------------------------------------------------------------- refusals */

/* May this many more octets be kept? */
static bool room_left(const struct lease *l, uint64_t old_size, uint64_t new_size)
{
    /* What shrinks is let through even where the limit was lowered since. */
    return new_size <= old_size ||
           l->counts.content_bytes + (new_size - old_size) <= l->limits.content_bytes;
}

static enum lease_rc check_make(const struct lease *l, const struct node_place *place,
                                uint64_t content_size)
{
    assert(place->node == NULL);
    if (l->counts.nodes >= l->limits.nodes || !room_left(l, 0, content_size)) {
        return LEASE_LIMIT;
    }
    return LEASE_OK;
}

static bool other_instance(const struct lease_command *c, const struct node *node)
{
    return c->if_instance != LEASE_ANY && c->if_instance != node->record.key.id;
}

static bool other_generation(const struct lease_command *c, const struct node *node)
{
    return c->if_generation != LEASE_ANY && c->if_generation != node->content_generation;
}

static enum lease_rc check_put(const struct lease *l, const struct lease_command *c,
                               const struct node *node)
{
    /* The instance first: the generations of two instances don't compare. */
    if (other_instance(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->if_generation == 0) {
        return LEASE_EXISTS;
    }
    if (node->kind != LEASE_FILE) {
        return LEASE_NOT_A_FILE;
    }
    if (other_generation(c, node)) {
        return LEASE_CONFLICT;
    }
    return room_left(l, node->content_size, c->content.size) ? LEASE_OK : LEASE_LIMIT;
}

static enum lease_rc check_delete(const struct lease *l, const struct lease_command *c,
                                  const struct node *node)
{
    if (node == l->root) {
        return LEASE_IS_ROOT;
    }
    if (other_instance(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (other_generation(c, node)) {
        return LEASE_CONFLICT;
    }
    return node->children_count > 0 ? LEASE_NOT_EMPTY : LEASE_OK;
}

/* ---------------------------------------------------------------- commands */

static enum lease_rc put_new(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, const struct node_place *place,
                             struct lease_result *ret_result)
{
    /* Who names an instance or a generation means a file that was there. */
    const bool must_exist =
        c->if_instance != LEASE_ANY || (c->if_generation != LEASE_ANY && c->if_generation != 0);
    if (must_exist) {
        return LEASE_NO_NODE;
    }
    const enum lease_rc rc = check_make(l, place, c->content.size);
    if (rc == LEASE_OK) {
        const struct node *node = make_node(l, at, place, LEASE_FILE, c->content);
        node_stat(node, &ret_result->stat);
        ret_result->created = true;
    }
    return rc;
}

static enum lease_rc apply_put(struct lease *l, const struct lease_at *at,
                               const struct lease_command *c, struct lease_result *ret_result)
{
    if (c->content.size > LEASE_CONTENT_MAX) {
        return LEASE_TOO_LARGE;
    }
    struct node_place place;
    enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (place.node == NULL) {
        return put_new(l, at, c, &place, ret_result);
    }
    rc = check_put(l, c, place.node);
    if (rc == LEASE_OK) {
        write_file(l, at, place.node, c->content);
    }
    if (rc == LEASE_OK || rc == LEASE_CONFLICT) {
        node_stat(place.node, &ret_result->stat);
    }
    return rc;
}

static enum lease_rc apply_create(struct lease *l, const struct lease_at *at,
                                  const struct lease_command *c,
                                  struct lease_result *ret_result)
{
    const struct bytes content = c->kind == LEASE_FILE ? c->content : bytes_of(NULL, 0);
    if (content.size > LEASE_CONTENT_MAX) {
        return LEASE_TOO_LARGE;
    }
    struct node_place place;
    enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (place.node != NULL) {
        return place.node == l->root ? LEASE_IS_ROOT : LEASE_EXISTS;
    }
    rc = check_make(l, &place, content.size);
    if (rc == LEASE_OK) {
        const struct node *node = make_node(l, at, &place, c->kind, content);
        node_stat(node, &ret_result->stat);
    }
    return rc;
}

static enum lease_rc apply_delete(struct lease *l, const struct lease_command *c,
                                  struct lease_result *ret_result)
{
    struct node_place place;
    enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc == LEASE_NO_PARENT || (rc == LEASE_OK && place.node == NULL)) {
        return LEASE_NO_NODE;
    }
    if (rc != LEASE_OK) {
        return rc;
    }
    rc = check_delete(l, c, place.node);
    if (rc == LEASE_CONFLICT) {
        node_stat(place.node, &ret_result->stat);
    }
    if (rc == LEASE_OK) {
        delete_node(l, place.node);
    }
    return rc;
}

static enum lease_rc dispatch(struct lease *l, const struct lease_at *at,
                              const struct lease_command *command,
                              struct lease_result *ret_result)
{
    switch (command->type) {
    case LEASE_CMD_PUT:
        return apply_put(l, at, command, ret_result);
    case LEASE_CMD_CREATE:
        return apply_create(l, at, command, ret_result);
    case LEASE_CMD_DELETE:
        return apply_delete(l, command, ret_result);
    }
    assert(/* a command that decoded has a type */ false);
    return LEASE_OK;
}

void lease_apply(struct lease *l, const struct lease_at *at,
                 const struct lease_command *command, struct lease_result *ret_result)
{
    assert(at->slot == l->slot + 1);
    assert(at->position >= 1);
    assert(lease_in_force(l, at->epoch));
    const uint64_t before = l->counters.revision;

    *ret_result = (struct lease_result){.rc = LEASE_OK};
    ret_result->rc = dispatch(l, at, command, ret_result);
    ret_result->revision = l->counters.revision;

    /* L5: one revision for a change, none for a refusal. */
    assert(l->counters.revision == before + (ret_result->rc == LEASE_OK));
}
