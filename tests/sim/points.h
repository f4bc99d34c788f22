/* SPDX-License-Identifier: Apache-2.0
 *
 * points.h -- the numbered points of a run, and the one at which it is broken.
 *
 * A scripted run is the same each time, so what happens in it can be counted: each
 * frame that a replica sends, each transaction that its disk has written, each line
 * of an agent or to one.  Run once, they are numbered; run again, one of them is
 * where a process dies, or what gets lost.
 */
#ifndef TESTS_SIM_POINTS_H
#define TESTS_SIM_POINTS_H

#include "tests/sim/replica.h"

/* What can happen at a point.  "Under way" is the transaction that the disk of the
 * replica is about to have written; its batches are atomic each, and are written in
 * their order.
 *
 *                 the frame leaves    of what is under way is there    the machine
 *     BEFORE      no                  nothing                          stays
 *     AFTER       yes                 all, and nobody was told         stays
 *     TORN        yes                 the first half                   stays
 *     UNSYNCED    yes                 nothing                          dies as well
 *     LOSS        no: only that, nobody dies
 */
#define BREAK_MAP(X)                                                                           \
    X(BREAK_BEFORE, "before")                                                                  \
    X(BREAK_AFTER, "after")                                                                    \
    X(BREAK_TORN, "torn")                                                                      \
    X(BREAK_UNSYNCED, "unsynced")                                                              \
    X(BREAK_LOSS, "loss")

enum breakage {
#define BREAK_ENUM(name, text) name,
    BREAK_MAP(BREAK_ENUM)
#undef BREAK_ENUM
        BREAKS
};

enum { POINTS_MAX = 20000 };

struct points {
    bool counting;
    uint32_t count;               /* Points passed. */
    uint8_t possible[POINTS_MAX]; /* Set of enum breakage at each, by bit. */
    uint32_t broken;              /* The point to break, from 1; 0: none. */
    enum breakage how;
    bool later; /* Who dies comes back not at once, but when others have gone on. */
};

/* The name of a breakage, and the breakage of a name: false if there is none. */
const char *points_break_name(enum breakage how);
bool points_break_named(const char *name, enum breakage *ret_how);

enum point_verdict { POINT_GO_ON, POINT_DIE_BEFORE, POINT_DIE_AFTER, POINT_LOSE };

/* A frame is about to leave.  Who is to die calls points_kill(). */
enum point_verdict points_at_send(struct world *w, const struct replica *r);

/* A transaction is about to be written.  True: the process died there. */
bool points_at_sync(struct world *w, struct replica *r);

/* An agent's line is about to leave, or one to it.  True: it is lost, with its
 * connection. */
bool points_at_line(struct world *w);

/* Kills the process as the point has it; it comes back. */
void points_kill(struct world *w, struct replica *r);

#endif
