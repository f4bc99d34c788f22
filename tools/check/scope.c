/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/check/scope.h"

enum { CONTENT = 1, CHILD = 2, ACL = 4, LOCK = 8, DELETE = 16, CONFLICT = 32 };

/* The root has no parent: false. */
static bool parent_of(struct bytes path, struct bytes *ret_parent)
{
    size_t size = path.size;
    while (size > 0 && path.data[size - 1] != '/') {
        size--;
    }
    *ret_parent = bytes_of(path.data, size == 0 ? 0 : size - 1);
    return path.size > 0;
}

/* Is it right below; is it anywhere below? */
static bool is_child(struct bytes path, struct bytes directory)
{
    struct bytes parent;
    return parent_of(path, &parent) && bytes_equal(parent, directory);
}

static bool is_below(struct bytes path, struct bytes directory)
{
    struct bytes parent;
    bool below = false;
    while (!below && parent_of(path, &parent)) {
        below = bytes_equal(parent, directory);
        path = parent;
    }
    return below;
}

static bool in_scope(const struct scope *s, const struct lease_event *e)
{
    switch (s->of) {
    case SCOPE_NODE:
        return bytes_equal(e->path, s->path) &&
               (s->if_instance == LEASE_ANY || s->if_instance == e->instance);
    case SCOPE_CHILDREN:
        return is_child(e->path, s->path);
    case SCOPE_SUBTREE:
        return bytes_equal(e->path, s->path) || is_below(e->path, s->path);
    }
    return false;
}

/* Was it made, or deleted, in a directory in scope? */
static bool in_directory(const struct scope *s, const struct lease_event *e)
{
    return (e->change == LEASE_CREATED || e->change == LEASE_DELETED) &&
           (s->if_instance == LEASE_ANY || s->if_instance == e->parent) &&
           (s->of == SCOPE_SUBTREE ? is_below(e->path, s->path) : is_child(e->path, s->path));
}

static unsigned kind_of(const struct lease_event *e)
{
    switch (e->change) {
    case LEASE_CREATED:
        return e->kind == LEASE_FILE ? CONTENT : 0;
    case LEASE_WRITTEN:
        return CONTENT;
    case LEASE_DELETED:
        return DELETE;
    case LEASE_ACL_CHANGED:
        return ACL;
    case LEASE_GRANTED:
    case LEASE_RELEASED:
        return LOCK;
    case LEASE_CONTENDED:
        return CONFLICT;
    }
    return 0;
}

bool scope_tells(const struct scope *s, const struct lease_event *e)
{
    return ((s->watched & kind_of(e)) != 0 && in_scope(s, e)) ||
           ((s->watched & CHILD) != 0 && in_directory(s, e));
}
