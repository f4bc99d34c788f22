/* SPDX-License-Identifier: Apache-2.0
 *
 * table.h -- what calls came to while what was wrong.
 *
 * Each call of the library, each op of a plain client, counts where it ends: by its
 * outcome, and by every class of faults that was at work within the last second.  A
 * cell that stays empty is a test that nobody has; or it can't happen, and then it
 * says why.
 */
#ifndef TESTS_SIM_TABLE_H
#define TESTS_SIM_TABLE_H

#include "tests/sim/world.h"

#define TABLE_CALL_MAP(X)                                                                      \
    X(SESSION_OPEN, "session open")                                                            \
    X(SESSION_CLOSE, "session close")                                                          \
    X(ACQUIRE, "acquire")                                                                      \
    X(CAMPAIGN, "campaign")                                                                    \
    X(RELEASE, "release")                                                                      \
    X(PROCLAIM, "proclaim")                                                                    \
    X(CHECK, "check a sequencer")                                                              \
    X(OPEN, "open a handle")                                                                   \
    X(CLOSE, "close a handle")                                                                 \
    X(HANDLE_READ, "read by handle")                                                           \
    X(HANDLE_PUT, "put by handle")                                                             \
    X(HANDLE_DELETE, "delete by handle")                                                       \
    X(WATCH, "watch")                                                                          \
    X(NAMES, "create, delete, list locks")                                                     \
    X(SESSION_PUT, "put in a session")                                                         \
    X(SESSION_GET, "get in a session")                                                         \
    X(READ, "read at any level")                                                               \
    X(RIGHTS, "set ACLs")                                                                      \
    X(PUT, "put")                                                                              \
    X(CREATE, "create")                                                                        \
    X(DELETE, "delete")                                                                        \
    X(GET, "get")                                                                              \
    X(STAT, "stat")                                                                            \
    X(LIST, "list")

enum table_call {
#define TABLE_ENUM(name, text) TABLE_##name,
    TABLE_CALL_MAP(TABLE_ENUM)
#undef TABLE_ENUM
        TABLE_CALLS
};

enum table_outcome {
    TABLE_OK,
    TABLE_REFUSED, /* For certain: by the state, by the cell, or for want of a master. */
    TABLE_UNKNOWN,
    TABLE_OUTCOMES,
};

enum table_class {
    TABLE_NETWORK,
    TABLE_PROCESS,
    TABLE_TIME,
    TABLE_DISK,
    TABLE_NONE,
    TABLE_CLASSES,
};

enum { TABLE_CELLS = TABLE_CALLS * TABLE_OUTCOMES * TABLE_CLASSES };

/* In this process since table_reset(), by cell. */
extern uint32_t table_counts[TABLE_CELLS];

static inline uint32_t table_cell(enum table_call call, enum table_outcome outcome,
                                  enum table_class class)
{
    return ((uint32_t)call * TABLE_OUTCOMES + (uint32_t)outcome) * TABLE_CLASSES +
           (uint32_t)class;
}

void table_reset(void);

/* The nemesis strikes, or a process dies that nobody struck. */
void table_struck(const struct world *w, enum fault fault);
void table_hurt(const struct world *w, enum table_class class);

/* A call ends. */
void table_ended(const struct world *w, enum table_call call, enum table_outcome outcome);

/* As Markdown; how many cells are empty that need not be. */
uint32_t table_print(const uint64_t counts[TABLE_CELLS]);

#endif
