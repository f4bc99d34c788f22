/* SPDX-License-Identifier: Apache-2.0
 *
 * acks.h -- which request ids of a session need not be remembered any more.
 *
 * The cell keeps the outcome of each request until we acknowledge its id, and
 * never executes an acknowledged id afterwards.  So an id is acknowledged when
 * its outcome has arrived, or when we have given it up for good.  Mostly that is
 * one number, the floor: all ids up to it.  Above it stand ranges, while an older
 * request, an acquire that waits, is still under way.
 */
#ifndef LIBCLIENT_ACKS_H
#define LIBCLIENT_ACKS_H

#include "libclient/wire.h"

struct acks {
    uint64_t floor;
    struct wire_range *ranges; /* Above the floor, ascending, with gaps between. */
    size_t count;
    size_t capacity;
    size_t next; /* The range with which the next request begins. */
};

/* Makes room for `outstanding` ids that are not acknowledged: between them there
 * is at most one range each.  False: out of memory. */
bool acks_reserve(struct acks *a, size_t outstanding);
void acks_free(struct acks *a);

/* Acknowledges an id, once. */
void acks_add(struct acks *a, uint64_t id);

/* Writes the floor and as many ranges as a request may carry.  If there are more,
 * the requests that follow carry the others in turn. */
void acks_fill(struct acks *a, struct wire_request *request);

#endif
