/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h -- a small blocking client of a cell: one call at a time.
 *
 * It finds the master from any list of replicas, and each call ends by the
 * timeout in one of three ways: answered, certainly not executed, or unknown.
 *
 *     known endpoints --try--> connected --cell.status--> the master? --> call
 *          ^                                  | no: its address is the next
 *          +---- jittered back-off -----------+    endpoint
 *
 * A connection is asked for `cell.status` before it is trusted with a request:
 * that finds the master without sending a write to whoever accepts and says
 * nothing, so that such an endpoint costs a share of the timeout and leaves no
 * write of unknown outcome behind.
 */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include "tools/client_link.h"

enum { CLIENT_ENDPOINTS_MAX = 32 /* Given and learned. */ };

enum client_rc {
    CLIENT_ANSWERED,  /* See the reply, which may be an error. */
    CLIENT_NO_MASTER, /* None could be reached; certainly not executed. */
    CLIENT_UNKNOWN,   /* A write was sent and no answer came. */
    CLIENT_TOO_LARGE, /* The request does not fit into a line. */
    CLIENT_NO_MEMORY,
};

struct client;

/* `endpoints` is "host[:port],...".  NULL: it is malformed, or out of memory. */
struct client *client_new(const char *endpoints, uint64_t timeout_ms);
void client_free(struct client *c);

/* Makes one request of the master; `request->id` is filled in here.  Refusals
 * that say "not executed, elsewhere or later" are retried until the timeout, and
 * so is a read that was not answered.  A write is sent twice only if the first
 * was certainly not executed.  The reply is valid until the next call. */
enum client_rc client_call(struct client *c, const struct wire_request *request,
                           struct wire_reply *ret_reply);

/* Asks one endpoint for `cell.status`.  False: see client_trouble(). */
bool client_ask(struct client *c, size_t endpoint, uint64_t deadline_ms,
                struct wire_reply *ret_reply);

/* The line that the last reply was read from. */
struct wire_text client_line(const struct client *c);

/* The endpoints given, followed by those that replicas told of. */
size_t client_endpoints(const struct client *c);
const char *client_endpoint(const struct client *c, size_t endpoint);

/* What last went wrong there; empty: nothing. */
const char *client_trouble(const struct client *c, size_t endpoint);

/* How long one endpoint may take in the first round: so much that a silent one
 * leaves time for the others. */
uint64_t client_share_ms(const struct client *c);

/* Sleeps for about `ms`, differently each time. */
void client_pause(uint64_t ms, uint64_t deadline_ms);

#endif
