/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_loop.h -- for subcommands that last: a client driven by hand, and
 * signals, in one poll().
 *
 * Signals come through a descriptor, so that they are dealt with between two
 * turns of the client and never within one.
 */
#ifndef TOOLS_LOCKCTL_LOOP_H
#define TOOLS_LOCKCTL_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/lockctl.h"

struct loop {
    struct lockctl *ctl;
    int signals;     /* A signalfd. */
    sigset_t before; /* The signal mask that we were started with. */
};

/* Takes over the signals that end us, SIGCHLD, and, for a `command`, those that it
 * may want to hear of besides.  False: refused with a message. */
bool loop_begin(struct loop *l, struct lockctl *ctl, bool command);
void loop_end(struct loop *l);

/* Waits until a signal comes, `most_ms` have passed, or, if `client`, the client
 * has something to do. */
void loop_wait(const struct loop *l, uint64_t most_ms, bool client);

/* The next signal that came; 0: none. */
int loop_signal(const struct loop *l);

/* A clock that goes on while the machine is suspended. */
uint64_t loop_now_ms(void);

#endif
