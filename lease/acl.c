/* SPDX-License-Identifier: Apache-2.0
 *
 * acl.c -- who may do what (Chubby, 2.2).
 *
 * A node names its ACLs and an ACL is a file of the cell, so who may change a list is
 * itself a matter of rights, and a list that changes counts at once for every node that
 * names it.  All of it is state: each replica judges alike, and at the same place
 * of the log.
 */
#include "lease/internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- names */

bool acl_name_valid(struct bytes name)
{
    return name.size == 0 || (name.size <= LEASE_ACL_NAME_MAX && path_component_valid(name));
}

struct bytes acls_name(const struct acls *acls, enum lease_right right)
{
    const uint8_t *at = acls->text;
    for (int before = 0; before < (int)right; before++) {
        at += acls->size[before];
    }
    return bytes_of(at, acls->size[right]);
}

size_t acls_size(const struct acls *acls)
{
    return sizeof *acls + acls->size[LEASE_READ] + acls->size[LEASE_WRITE] +
           acls->size[LEASE_CHANGE];
}

static int names_compare(const struct bytes names[LEASE_RIGHTS], const struct acls *acls)
{
    int order = 0;
    for (int right = 0; order == 0 && right < LEASE_RIGHTS; right++) {
        order = bytes_compare(names[right], acls_name(acls, (enum lease_right)right));
    }
    return order;
}

static struct acls *acls_new(struct lease *l, const struct bytes names[LEASE_RIGHTS])
{
    size_t size = 0;
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        assert(acl_name_valid(names[right]));
        size += names[right].size;
    }
    struct acls *acls = memory_take(l, sizeof *acls + size);
    *acls = (struct acls){0};
    struct writer w = writer_over(acls->text, size);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        acls->size[right] = (uint8_t)names[right].size;
        write_raw(&w, names[right].data, names[right].size);
    }
    return acls;
}

struct acls *acls_take(struct lease *l, const struct bytes names[LEASE_RIGHTS])
{
    struct tree_place place = tree_root_place(&l->acls);
    while (*place.at != NULL) {
        const int order = names_compare(names, acls_of(*place.at));
        if (order == 0) {
            return acls_share(acls_of(*place.at));
        }
        place = tree_below(place, order > 0);
    }
    struct acls *acls = acls_new(l, names);
    tree_insert(&l->acls, place, &acls->by_names);
    return acls_share(acls);
}

struct acls *acls_share(struct acls *acls)
{
    acls->nodes++;
    return acls;
}

void acls_give(struct lease *l, struct acls *acls)
{
    if (acls != NULL && --acls->nodes == 0) {
        tree_remove(&l->acls, &acls->by_names);
        memory_give(l, acls, acls_size(acls));
    }
}

/* ------------------------------------------------------------------- lists */

const struct node *acl_file(const struct lease *l, struct bytes name)
{
    const struct node *directory = node_child(l->root, bytes_of("acl", 3));
    if (directory == NULL || directory->kind != LEASE_DIRECTORY) {
        return NULL;
    }
    const struct node *file = node_child(directory, name);
    return file != NULL && file->kind == LEASE_FILE ? file : NULL;
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r';
}

/* Cuts the first line off what is not empty; returns what of it is not blank nor a
 * comment. */
static struct bytes next_entry(struct bytes *rest)
{
    const uint8_t *feed = memchr(rest->data, '\n', rest->size);
    const size_t line = feed == NULL ? rest->size : (size_t)(feed - rest->data);
    const uint8_t *comment = memchr(rest->data, '#', line);
    const uint8_t *first = rest->data;
    const uint8_t *end = comment == NULL ? first + line : comment;
    while (first < end && is_blank(*first)) {
        first++;
    }
    while (first < end && is_blank(end[-1])) {
        end--;
    }
    const size_t cut = feed == NULL ? line : line + 1;
    *rest = bytes_of(rest->data + cut, rest->size - cut);
    return bytes_of(first, (size_t)(end - first));
}

static bool lists(struct bytes content, struct bytes principal)
{
    while (content.size > 0) {
        const struct bytes entry = next_entry(&content);
        if (bytes_equal(entry, bytes_of("*", 1)) ||
            (entry.size > 0 && bytes_equal(entry, principal))) {
            return true;
        }
    }
    return false;
}

bool lease_acl_lists(const struct lease *l, struct bytes acl, struct bytes principal)
{
    if (acl.size == 0 || bytes_equal(principal, bytes_of(LEASE_ROOT, strlen(LEASE_ROOT)))) {
        return true;
    }
    const struct node *file = acl_file(l, acl);
    return file != NULL && lists(node_content(file), principal);
}

/* ------------------------------------------------------------------ judging */

bool lease_is_open(const struct lease *l)
{
    const struct acls *acls = acls_of(l->acls.root); /* The root has one. */
    return acls->by_names.child[0] == NULL && acls->by_names.child[1] == NULL &&
           acls_size(acls) == sizeof *acls;
}

bool acl_allows(const struct lease *l, const struct node *node, struct bytes principal,
                enum lease_right right)
{
    return lease_acl_lists(l, acls_name(node->acls, right), principal);
}

/* The node at a valid path or, when it is missing, the nearest directory above it. */
static const struct node *nearest(const struct lease *l, struct bytes path, bool *ret_missing)
{
    const struct node *node = l->root;
    *ret_missing = false;
    while (path.size > 0) {
        const struct node *child = node_child(node, path_next(&path));
        if (child == NULL || (path.size > 0 && child->kind != LEASE_DIRECTORY)) {
            *ret_missing = true;
            break;
        }
        node = child;
    }
    return node;
}

enum lease_rc lease_may(const struct lease *l, struct bytes path, struct bytes principal,
                        enum lease_right right)
{
    if (lease_path_check(path) != LEASE_OK) {
        return LEASE_BAD_PATH;
    }
    bool missing = false;
    const struct node *node = nearest(l, path, &missing);
    if (missing && right == LEASE_READ && mutant(denied_tells)) {
        return LEASE_OK;
    }
    return acl_allows(l, node, principal, right) ? LEASE_OK : LEASE_DENIED;
}
