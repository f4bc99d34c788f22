/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.h -- is a watch told of an event?  As docs/protocol.md says it, and as
 * naively as that can be written.
 */
#ifndef TOOLS_CHECK_SCOPE_H
#define TOOLS_CHECK_SCOPE_H

#include "lease/lease.h"

/* The numbers are those of the protocol. */
enum scope_of { SCOPE_NODE = 1, SCOPE_CHILDREN, SCOPE_SUBTREE };

struct scope {
    struct bytes path; /* Below the cell's root. */
    enum scope_of of;
    unsigned watched;     /* 1 content, 2 child, 4 ACL, 8 lock, 16 delete, 32 conflict. */
    uint64_t if_instance; /* Of the node; or LEASE_ANY. */
};

bool scope_tells(const struct scope *scope, const struct lease_event *event);

#endif
