/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd_ev.h -- drives a client from a libev loop.
 *
 *     struct lockd_ev adapter;
 *     lockd_ev_start(loop, &adapter, client);
 *     ev_run(loop, 0);
 *     lockd_ev_stop(loop, &adapter);
 *     lockd_client_free(client);
 *
 * For a client without a thread of its own.  The loop's thread is the client's: every
 * call is made on it, and every callback comes on it.  A program that includes this
 * links libev; liblockd itself does not.
 */
#ifndef LOCKD_EV_H
#define LOCKD_EV_H

#include "lockd.h"

#include <ev.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Yours, from start to stop.  It keeps the loop running as any watcher does. */
struct lockd_ev {
    ev_io io;
};

/* The descriptor is readable when a deadline has come too, so no timer is needed.
 * The client, and the adapter with it, may be gone when lockd_process() returns. */
static inline void lockd_ev_ready(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    lockd_process((struct lockd_client *)io->data);
}

static inline void lockd_ev_start(struct ev_loop *loop, struct lockd_ev *adapter,
                                  struct lockd_client *client)
{
    ev_io_init(&adapter->io, lockd_ev_ready, lockd_fd(client), EV_READ);
    adapter->io.data = client;
    ev_io_start(loop, &adapter->io);
}

/* Before the client is freed; within a callback too. */
static inline void lockd_ev_stop(struct ev_loop *loop, struct lockd_ev *adapter)
{
    ev_io_stop(loop, &adapter->io);
}

#ifdef __cplusplus
}
#endif

#endif
