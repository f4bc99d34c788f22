/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.h -- makes an engine's wishes true with a socket, a timer and epoll.
 *
 * Everything is registered in one epoll descriptor, which never changes:
 *
 *     driver.epoll ---+--- the socket of the link that the engine wishes for
 *                     +--- a resolver's descriptor, before there is a socket
 *                     +--- a timer on CLOCK_BOOTTIME, for engine_wish.wake_at_ms
 *                     +--- an eventfd: something changed from outside
 *
 * So whoever polls that one descriptor, our own thread or somebody's loop, misses
 * nothing, and time that passed while the host was suspended wakes it.
 */
#ifndef LIBCLIENT_DRIVER_H
#define LIBCLIENT_DRIVER_H

#include "libclient/engine.h"
#include "libclient/resolve.h"

enum { DRIVER_INPUT = 64 * 1024 };

struct driver {
    int epoll, timer, wake;
    int socket;    /* -1: none. */
    uint64_t link; /* That we are making, or have made, true; 0: none. */
    bool connected;
    bool watch_write;  /* The socket is registered for it. */
    bool woken;        /* driver_wake() was called and not yet seen. */
    uint64_t armed_ms; /* The timer; ENGINE_NEVER: not. */
    struct resolve *question;
    struct addrinfo *list;     /* All addresses, ... */
    struct addrinfo *next;     /* ... and those not yet tried. */
    char why[RESOLVE_WHY_MAX]; /* The last one failed. */
    char input[DRIVER_INPUT];
};

/* Milliseconds of a clock that nobody sets and that counts suspension. */
uint64_t driver_now_ms(void);

/* LOCKD_E_SYSTEM: see errno. */
enum lockd_rc driver_init(struct driver *d);
/* `forked`: in a child, whose parent goes on with the same descriptors. */
void driver_free(struct driver *d, bool forked);

/* Does what the engine wishes for, as far as that is possible without waiting. */
void driver_apply(struct driver *d, struct engine *e);

/* Takes in what is ready, without waiting, then driver_apply(). */
void driver_turn(struct driver *d, struct engine *e);

/* Makes the epoll descriptor readable, until the next driver_turn(). */
void driver_wake(struct driver *d);

#endif
