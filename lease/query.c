/* SPDX-License-Identifier: Apache-2.0
 *
 * query.c -- what can be asked of the state as it stands.
 */
#include "lease/internal.h"

#include "paxos/base/pure.h"

struct lease_position lease_position(const struct lease *l)
{
    return (struct lease_position){
        .slot = l->slot,
        .position = l->position,
        .revision = l->counters.revision,
        .epoch = l->counters.epoch,
    };
}

struct lease_counts lease_counts(const struct lease *l)
{
    return l->counts;
}

uint64_t lease_digest(const struct lease *l)
{
    return l->digest;
}

static enum lease_rc find(const struct lease *l, struct bytes path,
                          const struct node **ret_node)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, path, &place);
    if (rc == LEASE_NO_PARENT || (rc == LEASE_OK && place.node == NULL)) {
        return LEASE_NO_NODE; /* Who only reads has no use for the difference. */
    }
    if (rc == LEASE_OK) {
        *ret_node = place.node;
    }
    return rc;
}

enum lease_rc lease_get(const struct lease *l, struct bytes path, struct lease_stat *ret_stat,
                        struct bytes *ret_content)
{
    const struct node *node = NULL;
    const enum lease_rc rc = find(l, path, &node);
    if (rc == LEASE_OK) {
        node_stat(node, ret_stat);
        *ret_content = node_content(node);
    }
    return rc;
}

enum lease_rc lease_list(const struct lease *l, struct bytes path, struct bytes after,
                         uint32_t limit, struct lease_child *ret_children, uint32_t *ret_count,
                         bool *ret_more)
{
    const struct node *directory = NULL;
    const enum lease_rc rc = find(l, path, &directory);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (directory->kind != LEASE_DIRECTORY) {
        return LEASE_NOT_A_DIRECTORY;
    }
    const uint32_t page = limit < LEASE_LIST_MAX ? limit : (uint32_t)LEASE_LIST_MAX;
    uint32_t count = 0;
    const struct node *node = node_first_behind(directory, after);
    for (; node != NULL && count < page; node = node_next(node)) {
        ret_children[count].name = node_name(node);
        node_stat(node, &ret_children[count].stat);
        count++;
    }
    *ret_count = count;
    *ret_more = node != NULL;
    return LEASE_OK;
}
