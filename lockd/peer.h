/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.h -- the other members of the cell.
 *
 * Each replica dials every other and sends only on what it dialled; it receives
 * on what the others dialled (inbound.h).  So each direction has one owner, who
 * alone decides when to try again, and a link that works one way only is seen
 * for what it is.
 *
 * Sending never blocks: what a slow or absent peer can't take is dropped, which
 * Paxos tolerates by design.
 */
#ifndef LOCKD_PEER_H
#define LOCKD_PEER_H

#include <ev.h>

#include "lockd/config.h"
#include "lockd/hello.h"
#include "paxos/paxos.h"

enum {
    PEER_BACKOFF_MS_MIN = 20,
    PEER_BACKOFF_MS_MAX = 1000,
    PEER_CONNECT_MS = 2000, /* For a connection to come about. */
    PEER_STALL_MS = 5000,   /* Output waits, and nothing moves: dial anew. */
    PEER_STEADY_MS = 1000,  /* A connection that lived so long resets the back-off. */
};

struct peers_config {
    const struct config *config;         /* Borrowed. */
    const struct paxos_members *members; /* Copied. */
    uint64_t identity;                   /* Of this replica. */
    const struct hello_client *clients;  /* Where clients find it; borrowed. */
    uint32_t clients_count;
    uint64_t seed;
};

struct peers_handler {
    void (*message)(void *context, uint64_t now_ms, const struct paxos_message *message);

    /* The peer's port refuses: nobody is there. */
    void (*gone)(void *context, uint64_t now_ms, paxos_id peer);
    void *context;
};

struct peers;

/* NULL: out of memory or descriptors. */
struct peers *peers_new(struct ev_loop *loop, const struct peers_config *config,
                        const struct peers_handler *handler);
void peers_free(struct peers *all); /* Takes NULL. */

void peers_start(struct peers *all); /* Begins to dial. */
void peers_accept(struct peers *all, int fd,
                  const struct address *from); /* Takes over a socket. */

/* Encodes the message into its addressee's queue, or drops it.  Leaves with
 * peers_flush(), one call to the kernel for each peer. */
void peers_send(struct peers *all, const struct paxos_message *message);
void peers_flush(struct peers *all);

/* Where clients of this principal find a replica, as it last said itself; "" when it
 * hasn't, or has no port for them.  With NULL its first port. */
const char *peers_client_address(const struct peers *all, paxos_id id, const char *principal);

#endif
