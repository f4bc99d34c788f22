/* SPDX-License-Identifier: Apache-2.0
 *
 * inbound.h -- connections that other replicas dialled: we only listen to them.
 *
 * A hello comes first (hello.h), then Paxos' frames.  What is damaged, of an
 * unknown version, or speaks for somebody else ends the connection with a line
 * in the log that names it.
 */
#ifndef LOCKD_INBOUND_H
#define LOCKD_INBOUND_H

#include <ev.h>

#include "lockd/hello.h"
#include "paxos/paxos.h"

enum {
    INBOUND_MAX = 64,              /* Connections, those without hello included. */
    INBOUND_HELLO_MS = 5000,       /* For the hello to come. */
    INBOUND_READ_SIZE = 256 * 1024 /* Octets of a buffer, unless a frame is larger. */
};

struct inbounds;

struct inbound_handler {
    /* Returns NULL to let it in, or why it is refused. */
    const char *(*hello)(void *context, const struct hello *hello);
    void (*message)(void *context, uint64_t now_ms, const struct paxos_message *message);
    void (*ended)(void *context, paxos_id peer);
    void *context;
};

/* NULL: out of memory. */
struct inbounds *inbounds_new(struct ev_loop *loop, const struct inbound_handler *handler);
void inbounds_free(struct inbounds *all); /* Takes NULL. */

/* Takes over a socket. */
void inbounds_accept(struct inbounds *all, int fd, const struct address *from);

#endif
