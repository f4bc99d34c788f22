/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway_internal.h -- what the sources of the gateway share, and nobody else.
 *
 *     gateway.c          requests, refusals and outcomes, nodes
 *     gateway_lock.c     sessions and their secrets, locks and their holders
 *     gateway_watch.c    watches and events
 *     gateway_status.c   cell.status
 */
#ifndef LOCKD_GATEWAY_INTERNAL_H
#define LOCKD_GATEWAY_INTERNAL_H

#include "lockd/gateway.h"

#include <string.h>

enum {
    GATEWAY_NAME_MAX = 5 + SERVICE_CELL_MAX + LEASE_PATH_MAX, /* "/ls/<cell>/" and the path. */
    GATEWAY_SEQUENCER_MAX = GATEWAY_NAME_MAX + 32, /* ":exclusive:<token>" behind it. */
    /* Where the master is. */
    GATEWAY_MESSAGE_MAX = PAXOS_ADDRESS_MAX + LEASE_PRINCIPAL_MAX + 128,
};

struct gateway {
    struct gateway_config config;
    uint64_t key[2][2]; /* Of the secrets; random, of this process. */

    /* Of the request being handed over. */
    struct lease_range acks[LEASE_ACK_RANGES_MAX];
    struct service_watch watches[SERVICE_WATCHES_PAGE];

    /* Of the reply being printed.  Only the pages that are needed are ever
     * touched. */
    struct wire_child children[LEASE_LIST_MAX];
    struct wire_lock locks[LEASE_LIST_MAX];
    struct wire_claim claims[LEASE_LIST_MAX];
    struct wire_claim holder;
    struct wire_text invalid[SERVICE_INVALIDATE_MAX];
    char names[LEASE_LIST_MAX][GATEWAY_NAME_MAX]; /* Of the locks, or of what is invalid. */
    char sequencer[GATEWAY_SEQUENCER_MAX];
    char secret[WIRE_SECRET];
    char message[GATEWAY_MESSAGE_MAX];
};

static inline struct wire_text gateway_text(const char *text)
{
    return (struct wire_text){.data = text == NULL ? "" : text,
                              .size = text == NULL ? 0 : strlen(text)};
}

static inline struct wire_text gateway_octets(struct bytes bytes)
{
    return (struct wire_text){.data = (const char *)bytes.data, .size = bytes.size};
}

static inline struct bytes gateway_bytes(struct wire_text text)
{
    return bytes_of(text.data, text.size);
}

/* ---------------------------------------------------------- gateway_lock.c */

/* False: there are no random numbers. */
bool gateway_make_key(struct gateway *g);

/* The members that only sessions and locks have. */
void gateway_take_session(struct gateway *g, const struct wire_request *in,
                          struct service_request *out);
void gateway_put_session(struct gateway *g, const struct service_reply *in,
                         struct wire_reply *out);
void gateway_put_acquired(struct gateway *g, const struct service_reply *in,
                          struct wire_reply *out);
void gateway_put_locks(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *out);

void gateway_put_delay(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *out);

/* The whole name of a node, as any client of the cell may use it. */
struct wire_text gateway_name(const struct gateway *g, struct bytes path,
                              char ret_name[GATEWAY_NAME_MAX]);

static inline enum wire_mode gateway_mode(enum lease_mode mode)
{
    return mode == LEASE_SHARED ? WIRE_SHARED : WIRE_EXCLUSIVE;
}

/* --------------------------------------------------------- gateway_watch.c */

void gateway_take_watches(struct gateway *g, const struct wire_request *in,
                          struct service_request *out);

/* -------------------------------------------------------- gateway_status.c */

void gateway_print_status(const struct gateway *g, const struct service_status *status,
                          const char *principal, struct wire_reply *reply,
                          struct wire_buffer *out);

#endif
