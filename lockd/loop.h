/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.h -- the daemon at work: one thread that joins sockets, service and
 * writer.
 *
 * One turn reads all that is readable and steps it into the service; then, when
 * there is nothing more to read, asks the service once what follows, and does
 * it: so all events of a turn share one log entry, one transaction, one sync,
 * and each connection one write.
 */
#ifndef LOCKD_LOOP_H
#define LOCKD_LOOP_H

#include "lockd/boot.h"
#include "lockd/config.h"

enum {
    LOOP_ROUNDS = 8,      /* Of the service in one turn, before sockets are read again. */
    LOOP_SLOW_MS = 100,   /* A turn that takes longer is logged. */
    LOOP_STOP_MS = 2000,  /* For a clean shutdown, the writer's last sync not counted. */
    LOOP_NOTE_MS = 10000, /* The same note of paxos again is left out for so long. */
};

/* Serves until a signal ends it; then everything is closed, `booted` included.
 * Returns the process' exit status. */
int loop_run(const struct config *config, struct booted *booted);

#endif
