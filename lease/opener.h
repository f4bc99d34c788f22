/* SPDX-License-Identifier: Apache-2.0
 *
 * opener.h -- who has an ephemeral node open.
 *
 * An opener is (session, handle); it is a record, found by its session's tree and
 * in the list of its node.  A permanent node has none: who opens it changes
 * nothing.
 */
#ifndef LEASE_OPENER_H
#define LEASE_OPENER_H

#include "lease/internal.h"
#include "lease/session.h"

struct opener {
    struct record record;      /* `key.id` is the node's instance, `key.sub` its number. */
    struct tree_link by_owner; /* In its session's opens. */
    struct node *node;
    struct opener *prev, *next; /* Of the node, the newest first. */
    struct session *session;
    uint64_t handle;
};

/* NULL: it hasn't it open. */
struct opener *opener_find(const struct session *session, uint64_t instance, uint64_t handle);
struct opener *opener_first(const struct session *session);

/* The session and handle, which have it not open yet, do so now. */
void opener_open(struct lease *l, struct node *node, struct session *session, uint64_t handle);
void opener_close(struct lease *l, struct opener *opener);

/* Puts an opener that is filled, but for its links, in its places.  False when the
 * session has one of this node and handle. */
struct opener *opener_new(struct lease *l);
__attribute__((warn_unused_result)) bool opener_link(struct lease *l, struct opener *opener);
void opener_release(struct lease *l, struct opener *opener);
void opener_encode(const struct opener *opener, struct writer *w);

static inline struct opener *opener_owned(struct tree_link *by_owner)
{
    return tree_entry(by_owner, struct opener, by_owner);
}

static inline struct opener *opener_of(struct record *record)
{
    assert(record->key.kind == RECORD_OPENER);
    return tree_entry(record, struct opener, record);
}

#endif
