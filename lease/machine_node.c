/* SPDX-License-Identifier: Apache-2.0
 *
 * machine_node.c -- the commands that change files and directories.
 *
 * The order of the refusals is part of what replicas agree on: moving one is a
 * new version of the command.
 */
#include "lease/history.h"
#include "lease/lock.h"
#include "lease/opener.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ----------------------------------------------------------------- changes */

static bool is_kept(struct bytes content)
{
    return content.size <= LEASE_EVENT_CONTENT_MAX;
}

static void write_file(struct lease *l, const struct lease_at *at, struct node *node,
                       struct bytes content)
{
    machine_revise(l);
    next_number(&node->content_generation);
    history_append(l, at, node,
                   (struct lease_event){
                       .change = LEASE_WRITTEN,
                       .generation = node->content_generation,
                       .content_size = (uint32_t)content.size,
                       .has_content = is_kept(content),
                       .content = content,
                       .has_old = is_kept(node_content(node)),
                       .old = node_content(node),
                   });
    node_set_content(l, node, content);
    node->revision = l->counters.revision;
    node->modified_wall_ms = at->wall_ms;
    record_changed(l, &node->record);
}

/* What the requester alone claims goes with the node, and so does who has it open. */
static void delete_node(struct lease *l, const struct lease_at *at, struct session *session,
                        struct node *node)
{
    machine_revise(l);
    while (node->lock != NULL) {
        struct claim *claim = node->lock->first;
        if (claim->state == CLAIM_WAITS) {
            result_settle(l, at, claim, LEASE_NO_NODE);
        }
        lock_drop(l, at, claim->state == CLAIM_DELAYED ? NULL : session, claim);
    }
    while (node->openers != NULL) {
        opener_close(l, node->openers);
    }
    const bool has_old = node->kind == LEASE_FILE && is_kept(node_content(node));
    history_append(l, at, node,
                   (struct lease_event){
                       .change = LEASE_DELETED,
                       .has_old = has_old,
                       .old = node_content(node),
                   });
    node_detach(l, node);
    record_removed(l, &node->record);
}

void machine_left(struct lease *l, const struct lease_at *at, struct node *node)
{
    while (node->ephemeral && node->openers == NULL && node->lock == NULL &&
           node->children_count == 0) {
        struct node *parent = node->parent;
        delete_node(l, at, /* session= */ NULL, node);
        node = parent;
    }
}

/* ---------------------------------------------------------------- refusals */

/* May this many more octets be kept? */
static bool room_left(const struct lease *l, uint64_t old_size, uint64_t new_size)
{
    /* What shrinks is let through even where the limit was lowered since. */
    return new_size <= old_size ||
           l->counts.content_bytes + (new_size - old_size) <= l->limits.content_bytes;
}

bool machine_stale(const struct lease_command *c, const struct node *node)
{
    return c->if_instance != LEASE_ANY && !mutant(stale_instance_accepted) &&
           (node == NULL || c->if_instance != node->record.key.id);
}

static bool other_generation(const struct lease_command *c, const struct node *node)
{
    return c->if_generation != LEASE_ANY && c->if_generation != node->content_generation;
}

static enum lease_rc check_put(const struct lease *l, const struct lease_command *c,
                               const struct node *node)
{
    /* The instance first: the generations of two instances don't compare. */
    if (machine_stale(c, node)) {
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

/* Is it nobody's but that of `session`, which may be NULL? */
static bool is_own(const struct claim *claim, const struct session *session)
{
    if (claim->state == CLAIM_DELAYED) {
        return mutant(deleted_in_delay);
    }
    return session != NULL && claim->session == session->record.key.id;
}

/* Does anyone but `session` hold or await it, or does a lock-delay run? */
static bool claimed_by_others(const struct node *node, const struct session *session)
{
    const struct claim *claim = node->lock == NULL ? NULL : node->lock->first;
    while (claim != NULL && is_own(claim, session)) {
        claim = claim->next;
    }
    return claim != NULL;
}

static enum lease_rc check_delete(const struct lease *l, const struct lease_command *c,
                                  const struct session *session, const struct node *node)
{
    if (node == l->root) {
        return LEASE_IS_ROOT;
    }
    if (machine_stale(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (other_generation(c, node)) {
        return LEASE_CONFLICT;
    }
    if (node->children_count > 0) {
        return LEASE_NOT_EMPTY;
    }
    return claimed_by_others(node, session) ? LEASE_LOCKED : LEASE_OK;
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
    const enum lease_rc rc = node_may_make(l, c->content.size);
    if (rc == LEASE_OK) {
        const struct node *node =
            node_make(l, at, place, LEASE_FILE, /* ephemeral= */ false, c->content);
        node_stat(node, &ret_result->stat);
        ret_result->created = true;
    }
    return rc;
}

enum lease_rc machine_put(struct lease *l, const struct lease_at *at,
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

enum lease_rc machine_create(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct lease_result *ret_result)
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
    rc = node_may_make(l, content.size);
    if (rc == LEASE_OK) {
        const struct node *node =
            node_make(l, at, &place, c->kind, /* ephemeral= */ false, content);
        node_stat(node, &ret_result->stat);
    }
    return rc;
}

enum lease_rc machine_delete(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct session *session,
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
    rc = check_delete(l, c, session, place.node);
    if (rc == LEASE_CONFLICT) {
        node_stat(place.node, &ret_result->stat);
    }
    if (rc == LEASE_OK) {
        delete_node(l, at, session, place.node);
        machine_left(l, at, place.parent);
    }
    return rc;
}
