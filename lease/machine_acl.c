/* SPDX-License-Identifier: Apache-2.0
 *
 * machine_acl.c -- who may give a command, and the command that changes that.
 *
 * The permission is on the node, not on the path to it.  To give back what one has
 * needs none, nor does what the keeper and the master themselves decide.
 */
#include "lease/history.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------ judging */

/* Opening an ephemeral node prolongs its life; opening another one finds it, or makes
 * it. */
static enum lease_right right_to_open(const struct lease *l, const struct lease_command *c)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, c->path, &place);
    const struct node *node = rc == LEASE_OK ? place.node : NULL;
    const bool changes = node == NULL ? c->kind != 0 : node->ephemeral;
    return changes ? LEASE_WRITE : LEASE_READ;
}

enum lease_rc machine_judge(const struct lease *l, const struct lease_command *c)
{
    if (lease_is_open(l) || mutant(acl_checked_early)) {
        return LEASE_OK;
    }
    switch (c->type) {
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
    case LEASE_CMD_ACQUIRE:
        return lease_may(l, c->path, c->principal, LEASE_WRITE);
    case LEASE_CMD_OPEN:
        return lease_may(l, c->path, c->principal, right_to_open(l, c));
    case LEASE_CMD_SET_ACL:
        return lease_may(l, c->path, c->principal, LEASE_CHANGE);
    case LEASE_CMD_SESSION_OPEN:
    case LEASE_CMD_SESSION_CLOSE:
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_RELEASE:
    case LEASE_CMD_CANCEL:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_CLOSE:
    case LEASE_CMD_DELAY_OVER:
    case LEASE_CMD_STRETCH:
        return LEASE_OK;
    }
    assert(/* a command that decoded has a type */ false);
    return LEASE_DENIED;
}

/* ------------------------------------------------------------------ changing */

/* The three names that the node is to have.  False: one of those given is no ACL. */
static bool new_names(const struct lease *l, const struct lease_command *c,
                      const struct node *node, struct bytes ret_names[LEASE_RIGHTS])
{
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        const struct bytes name = c->acl[right];
        if (name.data == NULL) {
            ret_names[right] = acls_name(node->acls, (enum lease_right)right);
            continue;
        }
        if (!acl_name_valid(name) || (name.size > 0 && acl_file(l, name) == NULL)) {
            return false;
        }
        ret_names[right] = name;
    }
    return true;
}

static void set_acls(struct lease *l, const struct lease_at *at, struct node *node,
                     struct acls *acls)
{
    machine_revise(l);
    next_number(&node->acl_generation);
    acls_give(l, node->acls);
    node->acls = acls;
    node->revision = l->counters.revision;
    node->modified_wall_ms = at->wall_ms;
    history_append(l, at, node, (struct lease_event){.change = LEASE_ACL_CHANGED});
    record_changed(l, &node->record);
}

enum lease_rc machine_set_acl(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct lease_result *ret_result)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, c->path, &place);
    if (rc == LEASE_NO_PARENT || (rc == LEASE_OK && place.node == NULL)) {
        return LEASE_NO_NODE;
    }
    if (rc != LEASE_OK) {
        return rc;
    }
    struct node *node = place.node;
    if (machine_stale(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->if_generation != LEASE_ANY && c->if_generation != node->acl_generation) {
        node_stat(node, &ret_result->stat);
        return LEASE_CONFLICT;
    }
    struct bytes names[LEASE_RIGHTS];
    if (!new_names(l, c, node, names)) {
        return LEASE_NO_ACL;
    }
    struct acls *acls = acls_take(l, names);
    if (acls == node->acls) {
        acls_give(l, acls); /* It has them. */
    } else {
        set_acls(l, at, node, acls);
    }
    node_stat(node, &ret_result->stat);
    return LEASE_OK;
}
