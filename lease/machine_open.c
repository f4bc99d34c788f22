/* SPDX-License-Identifier: Apache-2.0
 *
 * machine_open.c -- the commands by which a session has nodes open.
 *
 * Only ephemeral nodes know who has them open: to open a permanent one is to find
 * it, or to make it.  The order of the refusals is part of what replicas agree on.
 */
#include "lease/lock.h"
#include "lease/opener.h"

#include "paxos/base/pure.h"

/* May the cell hold one more opener? */
static bool opens_left(const struct lease *l)
{
    return l->counts.opens < l->limits.opens;
}

static enum lease_rc open_new(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, const struct node_place *place,
                              struct session *session, struct lease_result *ret_result)
{
    if (c->kind == 0) {
        return LEASE_NO_NODE;
    }
    const struct bytes content = c->kind == LEASE_FILE ? c->content : bytes_of(NULL, 0);
    if (node_may_make(l, content.size) != LEASE_OK || (c->ephemeral && !opens_left(l))) {
        return LEASE_LIMIT;
    }
    struct node *node = node_make(l, at, place, c->kind, c->ephemeral, content);
    if (c->ephemeral) {
        opener_open(l, node, session, c->handle);
    }
    node_stat(node, &ret_result->stat);
    ret_result->created = true;
    return LEASE_OK;
}

static enum lease_rc open_known(struct lease *l, const struct lease_command *c,
                                struct node *node, struct session *session,
                                struct lease_result *ret_result)
{
    if (c->kind != 0 && node->kind != c->kind) {
        return c->kind == LEASE_FILE ? LEASE_NOT_A_FILE : LEASE_NOT_A_DIRECTORY;
    }
    if (node->ephemeral && opener_find(session, node->record.key.id, c->handle) == NULL) {
        if (!opens_left(l)) {
            return LEASE_LIMIT;
        }
        opener_open(l, node, session, c->handle);
    }
    node_stat(node, &ret_result->stat);
    return LEASE_OK;
}

enum lease_rc machine_open(struct lease *l, const struct lease_at *at,
                           const struct lease_command *c, struct session *session,
                           struct lease_result *ret_result)
{
    if (c->kind == LEASE_FILE && c->content.size > LEASE_CONTENT_MAX) {
        return LEASE_TOO_LARGE;
    }
    struct node_place place;
    const enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc == LEASE_BAD_PATH) {
        return rc;
    }
    struct node *node = rc == LEASE_OK ? place.node : NULL;
    const bool must_make = c->if_instance == 0;
    if (must_make && node != NULL) {
        return LEASE_EXISTS;
    }
    if (!must_make && machine_stale(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (rc != LEASE_OK) {
        return rc == LEASE_NO_PARENT && c->kind == 0 ? LEASE_NO_NODE : rc;
    }
    return node == NULL ? open_new(l, at, c, &place, session, ret_result)
                        : open_known(l, c, node, session, ret_result);
}

enum lease_rc machine_close(struct lease *l, const struct lease_at *at,
                            const struct lease_command *c, struct session *session)
{
    /* The instance says which node; its path is for people. */
    struct opener *opener = opener_find(session, c->if_instance, c->handle);
    if (opener != NULL) {
        struct node *node = opener->node;
        opener_close(l, opener);
        machine_left(l, at, node);
    }
    return LEASE_OK;
}
