/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.h -- between the words of the client protocol and those of the cell.
 *
 * The only place that knows both, so that either can change without the other:
 * requests in, replies out, and the one mapping of refusals to wire errors.
 */
#ifndef LOCKD_GATEWAY_H
#define LOCKD_GATEWAY_H

#include "libclient/wire.h"
#include "lockd/service.h"

struct gateway_config {
    const char *cell;
    paxos_id self;

    /* Where clients of this principal find a replica, with NULL its first port; NULL or ""
     * when that isn't known. */
    const char *(*client_address)(void *context, paxos_id replica, const char *principal);
    void *context;
};

struct gateway;

/* NULL: out of memory or of random numbers.  The config is copied, its texts are
 * borrowed. */
struct gateway *gateway_new(const struct gateway_config *config);
void gateway_free(struct gateway *g);

/* What the wire asks, for the service.  `principal` is that of the connection.  Borrows
 * from `in` and, until the next request, from `g`.  A session's id is made here. */
void gateway_request(struct gateway *g, const struct wire_request *in, uint64_t client,
                     uint64_t tag, const char *principal, struct service_request *ret_request);

/* Prints the reply of the service to a request that came with `id` from a client of
 * this principal. */
void gateway_reply(struct gateway *g, const struct service_reply *in, struct wire_text id,
                   const char *principal, struct wire_buffer *out);

/* An event of the service as a notification.  Of a change the octets are `head`,
 * which names the watch and is each receiver's own, and a tail that depends only
 * on event->change, count, first_revision, content and old, so that it is printed
 * once for all who are told the same. */
void gateway_event_head(const struct service_event *in, struct wire_buffer *head);
void gateway_event_tail(struct gateway *g, const struct service_event *in,
                        struct wire_buffer *tail);

/* Any other event, whole. */
void gateway_event(struct gateway *g, const struct service_event *in, const char *principal,
                   struct wire_buffer *out);

/* The refusals of the cell in the words of the wire. */
enum wire_error gateway_refusal(enum lease_rc rc);

#endif
