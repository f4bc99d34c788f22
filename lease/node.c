/* SPDX-License-Identifier: Apache-2.0
 *
 * node.c -- the tree of directories and files.
 *
 * A directory holds its children in a tree by the octets of their names: the
 * lookup of a path, the page of a list and the insertion all cost one descent a
 * component, whatever names people choose.  There is no hash map besides it,
 * whose chains somebody could aim at, and no order that depends on history.
 *
 * Nodes know their parent and their own name only, so nothing needs rewriting
 * when a tree grows deep, and a path is put together by whoever walks it.
 */
#include "lease/history.h"
#include "lease/lock.h"

#include "paxos/base/hash.h"
#include "paxos/base/pure.h"

static struct node *node_by_name(struct tree_link *link)
{
    return link == NULL ? NULL : tree_entry(link, struct node, by_name);
}

/* ------------------------------------------------------------------ lookup */

struct node *node_child(const struct node *directory, struct bytes name)
{
    assert(directory->kind == LEASE_DIRECTORY);
    struct tree_link *link = directory->children.root;
    while (link != NULL) {
        struct node *node = node_by_name(link);
        const int order = bytes_compare(name, node_name(node));
        if (order == 0) {
            return node;
        }
        link = link->child[order > 0];
    }
    return NULL;
}

struct node *node_first_behind(const struct node *directory, struct bytes after)
{
    assert(directory->kind == LEASE_DIRECTORY);
    struct node *best = NULL;
    struct tree_link *link = directory->children.root;
    while (link != NULL) {
        struct node *node = node_by_name(link);
        if (bytes_compare(node_name(node), after) > 0) {
            best = node;
            link = link->child[0];
        } else {
            link = link->child[1];
        }
    }
    return best;
}

struct node *node_next(const struct node *node)
{
    return node_by_name(tree_next(&node->by_name));
}

enum lease_rc node_walk(const struct lease *l, struct bytes path, struct node_place *ret_place)
{
    const enum lease_rc rc = lease_path_check(path);
    if (rc != LEASE_OK) {
        return rc;
    }
    struct node_place place = {.node = l->root};
    while (path.size > 0) {
        if (place.node == NULL) {
            return LEASE_NO_PARENT;
        }
        if (place.node->kind != LEASE_DIRECTORY) {
            return LEASE_NOT_A_DIRECTORY;
        }
        place.parent = place.node;
        place.name = path_next(&path);
        place.node = node_child(place.parent, place.name);
    }
    *ret_place = place;
    return LEASE_OK;
}

/* -------------------------------------------------------------------- life */

struct node *node_new(struct lease *l, enum lease_kind kind, struct bytes name)
{
    assert(name.size <= LEASE_COMPONENT_MAX);
    struct node *node = memory_take(l, sizeof *node + name.size);
    memset(node, 0, sizeof *node);
    node->kind = (uint8_t)kind;
    node->name_size = (uint8_t)name.size;
    if (name.size > 0) {
        memcpy(node->name, name.data, name.size);
    }
    return node;
}

enum lease_rc node_may_make(const struct lease *l, uint64_t content_size)
{
    const bool room = l->counts.nodes < l->limits.nodes &&
                      (content_size == 0 ||
                       l->counts.content_bytes + content_size <= l->limits.content_bytes);
    return room ? LEASE_OK : LEASE_LIMIT;
}

struct node *node_make(struct lease *l, const struct lease_at *at,
                       const struct node_place *place, enum lease_kind kind, bool ephemeral,
                       struct bytes content)
{
    assert(place->node == NULL);
    const uint64_t instance = next_number(&l->counters.instances);
    machine_revise(l);

    struct node *node = node_new(l, kind, place->name);
    node->acls = acls_share(place->parent->acls);
    node_attach(l, place->parent, node);
    if (kind == LEASE_FILE) {
        next_number(&node->content_generation);
        node_set_content(l, node, content);
    }
    node->ephemeral = ephemeral;
    node->revision = l->counters.revision;
    node->modified_wall_ms = at->wall_ms;
    record_added(l, &node->record, (struct record_key){.kind = RECORD_NODE, .id = instance});
    history_append(
        l, at, node,
        (struct lease_event){
            .change = LEASE_CREATED,
            .generation = node->content_generation,
            .content_size = node->content_size,
            .has_content = kind == LEASE_FILE && content.size <= LEASE_EVENT_CONTENT_MAX,
            .content = content,
        });
    return node;
}

void node_attach(struct lease *l, struct node *parent, struct node *node)
{
    struct tree_place place = tree_root_place(&parent->children);
    while (*place.at != NULL) {
        const int order = bytes_compare(node_name(node), node_name(node_by_name(*place.at)));
        assert(order != 0);
        place = tree_below(place, order > 0);
    }
    tree_insert(&parent->children, place, &node->by_name);
    node->parent = parent;
    parent->children_count++;
    l->counts.nodes++;
}

void node_detach(struct lease *l, struct node *node)
{
    struct node *parent = node->parent;
    assert(parent != NULL);
    assert(node->lock == NULL);
    assert(node->openers == NULL);
    assert(node->children_count == 0);
    assert(parent->children_count > 0);
    node_set_content(l, node, bytes_of(NULL, 0));
    acls_give(l, node->acls);
    node->acls = NULL;
    tree_remove(&parent->children, &node->by_name);
    node->parent = NULL;
    parent->children_count--;
    l->counts.nodes--;
}

void node_release(struct lease *l, struct node *node)
{
    acls_give(l, node->acls);
    memory_give(l, node->lock, sizeof *node->lock);
    memory_give(l, node->content, room_for(node->content_size));
    memory_give(l, node, sizeof *node + node->name_size);
}

/* ----------------------------------------------------------------- content */

uint64_t content_checksum(struct bytes content)
{
    return hash64(content.data, content.size);
}

/* Rounded up to the next of steps that waste at most a quarter, so that a file
 * which is rewritten keeps its memory. */
size_t room_for(size_t content_size)
{
    size_t step = 32;
    while (step * 8 < content_size) {
        step *= 2;
    }
    return (content_size + step - 1) / step * step;
}

void node_set_content(struct lease *l, struct node *node, struct bytes content)
{
    assert(content.size <= LEASE_CONTENT_MAX);
    const size_t old_room = room_for(node->content_size);
    const size_t room = room_for(content.size);
    if (room != old_room) {
        memory_give(l, node->content, old_room);
        node->content = room == 0 ? NULL : memory_take(l, room);
    }
    if (content.size > 0) {
        memcpy(node->content, content.data, content.size);
    }
    assert(l->counts.content_bytes >= node->content_size);
    l->counts.content_bytes -= node->content_size;
    l->counts.content_bytes += content.size;
    node->content_size = (uint32_t)content.size;
    node->checksum = content_checksum(node_content(node));
}

/* ------------------------------------------------------------------- views */

void node_stat(const struct node *node, struct lease_stat *ret_stat)
{
    *ret_stat = (struct lease_stat){
        .kind = (enum lease_kind)node->kind,
        .instance = node->record.key.id,
        .content_generation = node->content_generation,
        .lock_generation = node->lock_generation,
        .acl_generation = node->acl_generation,
        .checksum = node->checksum,
        .revision = node->revision,
        .modified_wall_ms = node->modified_wall_ms,
        .size = node->content_size,
        .children = node->children_count,
        .lock_token = lock_token(node->lock),
        .ephemeral = node->ephemeral,
    };
}

size_t node_path(const struct node *node, uint8_t path[LEASE_PATH_MAX])
{
    size_t size = 0;
    for (const struct node *up = node; up->parent != NULL; up = up->parent) {
        size += up->name_size + (up == node ? 0u : 1u);
    }
    assert(size <= LEASE_PATH_MAX);
    size_t at = size;
    for (const struct node *up = node; up->parent != NULL; up = up->parent) {
        at -= up->name_size;
        memcpy(path + at, up->name, up->name_size);
        if (at > 0) {
            path[--at] = '/';
        }
    }
    assert(at == 0);
    return size;
}

/* u8 version | u64 parent's instance, 0 for the root | u8 length, name | u8 kind
 * | u8 ephemeral | u64 content, lock and ACL generation | u64 revision | u64 modified_wall_ms
 * | u8 length, name of the read, write and change ACL | u64 checksum | u32 size, and then the
 * content. */
void node_encode(const struct node *node, struct writer *w, struct bytes *ret_tail)
{
    static_assert(1 + 8 + 1 + LEASE_COMPONENT_MAX + 2 + 6 * 8 +
                          LEASE_RIGHTS * (1 + LEASE_ACL_NAME_MAX) + 4 <=
                      RECORD_HEAD_MAX,
                  "the longest names must fit");
    write_u8(w, RECORD_VERSION);
    write_u64(w, node->parent == NULL ? 0 : node->parent->record.key.id);
    write_u8(w, node->name_size);
    write_raw(w, node->name, node->name_size);
    write_u8(w, node->kind);
    write_u8(w, node->ephemeral);
    write_u64(w, node->content_generation);
    write_u64(w, node->lock_generation);
    write_u64(w, node->acl_generation);
    write_u64(w, node->revision);
    write_u64(w, node->modified_wall_ms);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        const struct bytes name = acls_name(node->acls, (enum lease_right)right);
        write_u8(w, (uint8_t)name.size);
        write_raw(w, name.data, name.size);
    }
    write_u64(w, node->checksum);
    write_u32(w, node->content_size);
    *ret_tail = node_content(node);
}
