/* SPDX-License-Identifier: Apache-2.0
 *
 * application.h -- what an application did with its locks and files, judged from
 * outside.
 *
 * Nothing here knows of slots or epochs: only of calls, when they began and ended
 * on one clock, and what came of them.  The rules, named as they are reported:
 *
 *     linearizable   reads, writes and compare-and-sets of a name have an order
 *                    that explains all of them and keeps to the clock;
 *     token-order    who acquires after another has acquired gets a higher token
 *                    (or, shared, the same);
 *     one-writer     no two exclusive holdings have the same token;
 *     fenced         an access that was accepted is never followed by one with a
 *                    lower token;
 *     overlap        nobody believes to hold what somebody else believes to hold
 *                    at the same time, unless both share it.  Only as good as the
 *                    clocks and pauses of the hosts; tokens are for that.
 */
#ifndef TOOLS_CHECK_APPLICATION_H
#define TOOLS_CHECK_APPLICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum application_call {
    APPLICATION_READ = 1,
    APPLICATION_WRITE,
    APPLICATION_CAS,
    APPLICATION_ACQUIRE,
    APPLICATION_HOLD,   /* From when to when it was believed to be held. */
    APPLICATION_ACCESS, /* Of the resource, which checks tokens. */
};

enum application_outcome {
    APPLICATION_OK,
    APPLICATION_MISMATCH, /* CAS: it found another value.  ACCESS: refused. */
    APPLICATION_FAILED,   /* Certainly not executed. */
    APPLICATION_UNKNOWN,
};

#define APPLICATION_NEVER UINT64_MAX

struct application_op {
    enum application_call call;
    enum application_outcome outcome;
    uint64_t start, end; /* end: APPLICATION_NEVER with an unknown outcome. */
    const char *name;
    uint32_t value;    /* READ, WRITE: of a table of values; 0: there is no file. */
    uint32_t expected; /* CAS. */
    bool shared;       /* ACQUIRE, HOLD. */
    uint64_t token;    /* ACQUIRE, HOLD, ACCESS. */
    uint32_t line;     /* Where it stands. */
};

struct application_violation {
    const char *rule;
    char text[512];
};

struct application_verdict {
    uint32_t violations;
    uint32_t undecided; /* Names whose search was given up. */
    uint32_t names;
};

struct application_rules {
    uint64_t steps_max; /* Of the search for each name. */
    bool overlap;       /* Judge what hosts believed, too. */
};

/* Sorts `ops`, and tells of each violation that it finds, at most one a rule and
 * name. */
void application_check(struct application_op *ops, uint32_t count,
                       const struct application_rules *rules,
                       void (*tell)(void *context,
                                    const struct application_violation *violation),
                       void *context, struct application_verdict *ret_verdict);

#endif
