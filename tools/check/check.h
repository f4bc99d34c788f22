/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h -- is this history what the guarantees allow?
 *
 * Linearizability by index (Burckhardt's "arbitration" made visible): each
 * answer names its place in the log, so the checker needn't search for an
 * order, only test the one that is claimed.  Sorting is the dearest step:
 * O(N log N).  The rules, named as a failing seed reports them:
 *
 *     log-order      the log is by ascending index, one entry a place;
 *     foreign        each command in it is exactly what its op asked for;
 *     at-most-once   no op took effect twice;                              (G4)
 *     durable        each answered write stands at the index it named;     (G3)
 *     failed-in-log  no op that certainly failed took effect;              (G4)
 *     epoch-order    no answer from behind a newer master's own entry;     (G5)
 *     result         the model, run over the log, gives each answer;       (G2)
 *     real-time      an op that ended before another began is not behind
 *                    it: i(a) <= i(b), and i(a) < i(b) if b writes;        (G2)
 *     session-order  answered writes of a connection keep their order.
 */
#ifndef TOOLS_CHECK_CHECK_H
#define TOOLS_CHECK_CHECK_H

#include "tools/check/history.h"

struct check_violation {
    const char *rule;
    char text[512]; /* One sentence, with the ops by number. */
};

/* Reads that were answered from a client's memory are judged as reads at the newest index
 * that anybody was told of before they began, and not below the one that they name (G12);
 * those of any replica at theirs, which must not be older than they say. */

/* True when all rules hold; else the first violation found. */
bool history_check(const struct history *h, struct check_violation *ret_violation);

#endif
