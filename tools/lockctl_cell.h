/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_cell.h -- the replicas of a cell, asked one by one what each thinks.
 *
 * liblockd speaks to the master only, which is right for all who want something
 * done.  Who looks after a cell wants to hear every replica, above all when there
 * is no master; so `lockctl status` asks them here, over connections of its own.
 */
#ifndef TOOLS_LOCKCTL_CELL_H
#define TOOLS_LOCKCTL_CELL_H

#include "tools/lockctl_link.h"

enum { CELL_ENDPOINTS_MAX = 32 /* Given and learned. */ };

struct cell;

/* `endpoints` is "host[:port],...", or "unix:/path" among them.  NULL: it is malformed, or out of memory. */
struct cell *cell_new(const char *endpoints, uint64_t timeout_ms);
void cell_free(struct cell *c);

/* Asks one endpoint for `cell.status` and learns of other replicas from the
 * answer, which is valid until the next call.  False: see cell_trouble(). */
bool cell_ask(struct cell *c, size_t endpoint, uint64_t deadline_ms,
              struct wire_reply *ret_reply);

/* The line that the last answer was read from. */
struct wire_text cell_line(const struct cell *c);

/* The endpoints given, followed by those that replicas told of. */
size_t cell_endpoints(const struct cell *c);
const char *cell_endpoint(const struct cell *c, size_t endpoint);

/* What last went wrong there; empty: nothing. */
const char *cell_trouble(const struct cell *c, size_t endpoint);

/* How long one endpoint may take: so much that a silent one leaves time for the
 * others. */
uint64_t cell_share_ms(const struct cell *c);

#endif
