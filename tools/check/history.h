/* SPDX-License-Identifier: Apache-2.0
 *
 * history.h -- what clients saw, and what the log says, as plain records.
 *
 * A history is the whole evidence that the checkers look at.  The simulator
 * fills one from true time; a test on real processes fills one from one host's
 * clock and the log that lockdump reads.  Nothing here judges.
 *
 * Every op that a client began is here.  What it learned of it is one of
 *
 *     answered   an outcome with an index: done, or refused by the state;
 *     failed     certainly not executed (not_master, overloaded, ...);
 *     unknown    no answer came, or one that says it may have been executed.
 */
#ifndef TOOLS_CHECK_HISTORY_H
#define TOOLS_CHECK_HISTORY_H

#include "lease/command.h"

enum history_type {
    HISTORY_PUT = 1,
    HISTORY_CREATE,
    HISTORY_DELETE,
    HISTORY_GET,
    HISTORY_STAT,
    HISTORY_LIST,
    HISTORY_GET_ACL,
};

enum history_outcome {
    HISTORY_UNKNOWN,
    HISTORY_ANSWERED,
    HISTORY_FAILED,
};

/* No condition on a generation or an instance. */
#define HISTORY_ANY UINT64_MAX
#define HISTORY_NEVER UINT64_MAX

/* What was asked.  `path` is below the cell's root.  Fields that the type does
 * not use are zero, those for conditions HISTORY_ANY. */
struct history_request {
    enum history_type type;
    struct bytes principal; /* Who asks; "" is somebody, too. */
    struct bytes path;
    enum lease_kind kind;   /* CREATE. */
    struct bytes content;   /* PUT, CREATE of a file. */
    uint64_t if_generation; /* PUT, DELETE. */
    uint64_t if_instance;
    struct bytes after; /* LIST. */
    uint32_t limit;     /* LIST; never 0. */
};

/* Where in the log: a command, or, for a read, the state behind it. */
struct history_index {
    uint64_t slot;
    uint32_t position;
};

struct history_result {
    enum lease_rc rc;
    uint64_t epoch;
    uint64_t revision;
    struct history_index index;
    struct lease_stat stat; /* Done PUT, CREATE, GET, STAT; and CONFLICT. */
    bool created;           /* PUT. */
    struct bytes content;   /* GET. */
    struct bytes children;  /* LIST: as history_child_encode() writes them.  GET_ACL: as
                             * history_acl_encode() does. */
    uint32_t children_count;
    bool more;
};

/* How new the state must be that a read shows. */
enum history_level {
    HISTORY_NEWEST = 0, /* Linearizable. */
    HISTORY_KEPT,       /* Answered from the client's memory, and linearizable all the same: there
                         * its index is what the client had last heard of.  Locks are not kept. */
    HISTORY_OLD,        /* Of any replica: what was there at its index. */
};

struct history_op {
    uint64_t invoked_us; /* True time, or one host's clock. */
    uint64_t ended_us;   /* HISTORY_NEVER with an unknown outcome. */
    uint64_t connection; /* Ops of one connection were sent in the order they stand here. */
    enum history_outcome outcome;
    enum history_level level; /* Of a read, ... */
    uint64_t as_of_us;        /* ... an OLD one: it shows all that was answered before; 0: perhaps
                               * nothing of it. */
    struct history_request request;
    struct history_result result; /* When answered. */
};

/* One command of the final log, or an entry that a master made itself. */
struct history_entry {
    struct history_index index; /* Position 0 for a self-made entry. */
    uint64_t epoch;
    uint64_t wall_ms;
    bool self_made;
    uint32_t op; /* Of history.ops, from 1; 0: nobody's. */
    struct history_request request;

    /* What a session or the keeper asks, instead of `request`; NULL: neither. */
    const struct lease_command *command;
};

/* Zero-initialise.  The bytes that ops and entries point at live until
 * history_reset(), which keeps the memory for the next history. */
struct history {
    struct lease_limits limits; /* Of the cell; no nodes at all: the usual ones. */
    struct history_op *ops;
    struct history_entry *log; /* By ascending index. */
    uint32_t ops_count, ops_capacity;
    uint32_t log_count, log_capacity;
    struct history_chunk *chunks;
};

/* Ops and entries are numbered from 1.  Running out of memory ends the
 * process: this serves tests and tools. */
uint32_t history_op_add(struct history *h, const struct history_op *op);
void history_entry_add(struct history *h, const struct history_entry *entry);
struct bytes history_copy(struct history *h, struct bytes bytes);
const struct lease_command *history_copy_command(struct history *h,
                                                 const struct lease_command *command);
void history_reset(struct history *h);
void history_free(struct history *h);

static inline bool history_writes(enum history_type type)
{
    return type == HISTORY_PUT || type == HISTORY_CREATE || type == HISTORY_DELETE;
}

static inline int history_index_compare(struct history_index a, struct history_index b)
{
    if (a.slot != b.slot) {
        return a.slot < b.slot ? -1 : 1;
    }
    return (a.position > b.position) - (a.position < b.position);
}

bool history_request_equal(const struct history_request *a, const struct history_request *b);

/* In which of them they differ, for people; NULL: in none. */
const char *history_stat_difference(const struct lease_stat *a, const struct lease_stat *b);

/* One child of a list, in the form in which lists are compared.  Of one that may not be read
 * the stat has a kind, and no instance. */
enum { HISTORY_CHILD_MAX = 1 + LEASE_COMPONENT_MAX + 2 + 7 * 8 };
void history_child_encode(struct writer *w, struct bytes name, const struct lease_stat *stat);

/* Of a node the names of its three ACLs. */
enum { HISTORY_ACL_MAX = LEASE_RIGHTS * (1 + LEASE_ACL_NAME_MAX) };
void history_acl_encode(struct writer *w, const struct bytes names[LEASE_RIGHTS]);

const char *history_type_name(enum history_type type);

#endif
