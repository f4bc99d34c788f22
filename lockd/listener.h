/* SPDX-License-Identifier: Apache-2.0
 *
 * listener.h -- a port, or a local socket, on which connections arrive.
 *
 * When the process has run out of descriptors, accepting fails while the
 * connection stays in the queue, and a loop that only watches would spin.  So a
 * spare descriptor is kept: it is given up to accept and close the connection
 * (the client sees an end, not a hang), and the port pauses for a moment.
 */
#ifndef LOCKD_LISTENER_H
#define LOCKD_LISTENER_H

#include <ev.h>

#include "lockd/address.h"
#include "lockd/config.h"

enum { LISTENER_PAUSE_MS = 100, LISTENER_BATCH = 64 /* Accepted before others get a turn. */ };

struct listener;

/* Takes over `fd`, which doesn't block, is closed on exec, and sends at once. */
typedef void listener_accepted(void *context, int fd, const struct address *from);

/* Opens `text` ("host:port"; a name is looked up, which may take a while).  NULL: `ret_error`
 * says why. */
struct listener *listener_open(struct ev_loop *loop, const char *text,
                               listener_accepted *accepted, void *context,
                               char ret_error[CONFIG_ERROR_MAX]);

/* Opens a local socket that only this process's user may connect to.  One that is left of
 * a process that is gone is replaced; one behind which somebody listens is not. */
struct listener *listener_open_local(struct ev_loop *loop, const char *path,
                                     listener_accepted *accepted, void *context,
                                     char ret_error[CONFIG_ERROR_MAX]);

/* The address with the port that was really taken. */
void listener_address(const struct listener *l, char ret_text[ADDRESS_MAX]);

void listener_start(struct listener *l);
void listener_close(struct listener *l); /* Takes NULL. */

/* What every TCP socket of ours gets: small messages leave at once. */
void listener_socket_options(int fd);

#endif
