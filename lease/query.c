/* SPDX-License-Identifier: Apache-2.0
 *
 * query.c -- what can be asked of the state as it stands.
 */
#include "lease/internal.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

enum { LISTS_REMEMBERED = 64 }; /* While a directory is listed. */

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

/* Children mostly share their ACLs, and a list that is long needn't be read anew for each of
 * them.  Not even where they take turns, or a page of them would read megabytes. */
struct view {
    const struct lease *l;
    struct bytes principal;
    struct {
        struct bytes acl;
        bool asked;
        bool denied;
    } memos[LISTS_REMEMBERED];
};

static bool is_denied(struct view *view, const struct node *node)
{
    const struct bytes acl = acls_name(node->acls, LEASE_READ);
    const size_t at = hash64(acl.data, acl.size) % LISTS_REMEMBERED;
    if (!view->memos[at].asked || !bytes_equal(view->memos[at].acl, acl)) {
        view->memos[at].asked = true;
        view->memos[at].acl = acl;
        view->memos[at].denied = !lease_acl_lists(view->l, acl, view->principal);
    }
    return view->memos[at].denied;
}

static void view_child(struct view *view, const struct node *node, struct lease_child *ret)
{
    *ret = (struct lease_child){.name = node_name(node), .denied = is_denied(view, node)};
    if (ret->denied) {
        ret->stat.kind = (enum lease_kind)node->kind;
    } else {
        node_stat(node, &ret->stat);
    }
}

enum lease_rc lease_list(const struct lease *l, struct bytes path, struct bytes after,
                         uint32_t limit, struct bytes principal,
                         struct lease_child *ret_children, uint32_t *ret_count, bool *ret_more)
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
    struct view view = {.l = l, .principal = principal};
    uint32_t count = 0;
    const struct node *node = node_first_behind(directory, after);
    for (; node != NULL && count < page; node = node_next(node)) {
        view_child(&view, node, &ret_children[count++]);
    }
    *ret_count = count;
    *ret_more = node != NULL;
    return LEASE_OK;
}

enum lease_rc lease_acl(const struct lease *l, struct bytes path,
                        struct bytes ret_names[LEASE_RIGHTS])
{
    const struct node *node = NULL;
    const enum lease_rc rc = find(l, path, &node);
    for (int right = 0; rc == LEASE_OK && right < LEASE_RIGHTS; right++) {
        ret_names[right] = acls_name(node->acls, (enum lease_right)right);
    }
    return rc;
}

bool lease_instance_path(const struct lease *l, uint64_t instance, uint8_t path[LEASE_PATH_MAX],
                         size_t *ret_size)
{
    struct record *record = record_find(l, (struct record_key){RECORD_NODE, instance, 0});
    if (record == NULL) {
        return false;
    }
    *ret_size = node_path(node_of(record), path);
    return true;
}
