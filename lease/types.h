/* SPDX-License-Identifier: Apache-2.0
 *
 * types.h -- the vocabulary of lease/: what a node is, what can go wrong, and
 * how much of anything there may be.  No functions.
 */
#ifndef LEASE_TYPES_H
#define LEASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "paxos/base/bytes.h"

enum {
    LEASE_COMPONENT_MAX = 255,      /* Octets of one name in a path. */
    LEASE_PATH_MAX = 1024,          /* Octets of a path, its /ls/<cell> not counted. */
    LEASE_DEPTH_MAX = 64,           /* Components of a path. */
    LEASE_CONTENT_MAX = 256 * 1024, /* Octets of a file. */
    LEASE_PRINCIPAL_MAX = 64,       /* Octets of a principal's name. */
    LEASE_ACL_NAME_MAX = 64,        /* Octets of an ACL's name. */
    LEASE_LIST_MAX = 1000,          /* Names in one page of a list. */
    LEASE_LABEL_MAX = 128,          /* Octets by which a client tells people who it is. */
    LEASE_SECRET_MAX = 64,          /* Octets of a session's secret. */
    LEASE_RESULTS_MAX = 256,        /* Outcomes a session may leave unacknowledged. */
    LEASE_WAITING_MAX = 1024,       /* Acquires of a session that wait at a time. */
    LEASE_ACK_RANGES_MAX = 16,      /* Acknowledged ranges in one command. */
    LEASE_SESSION_MS_MIN = 1000,    /* A session's lease. */
    LEASE_SESSION_MS_MAX = 60000,
    LEASE_SESSION_MS_DEFAULT = 12000,
    LEASE_DELAY_MS_MAX = 60000,     /* A lock-delay. */
    LEASE_EVENT_CONTENT_MAX = 4096, /* Octets of content that history keeps of a change. */
};

/* Numbers that clients see stay below this; a counter that would pass it stops
 * the replica. */
#define LEASE_NUMBER_MAX (UINT64_C(1) << 53)

/* Limits that an operator may set; all replicas of a cell must agree, because
 * apply decides by them.  They are constants of the cell for now. */
struct lease_limits {
    uint64_t nodes;         /* Files and directories, the root included. */
    uint64_t content_bytes; /* Octets of all contents together. */
    uint64_t sessions;
    uint64_t claims;        /* Holders and waiters of all locks together. */
    uint32_t waiters;       /* Of one lock. */
    uint64_t opens;         /* Of all ephemeral nodes together. */
    uint64_t history_bytes; /* Octets of history kept; the oldest go first. */
};

#define LEASE_LIMITS_DEFAULT                                                                   \
    ((struct lease_limits){.nodes = 4000000,                                                   \
                           .content_bytes = UINT64_C(8) << 30,                                 \
                           .sessions = 200000,                                                 \
                           .claims = 4000000,                                                  \
                           .waiters = 100000,                                                  \
                           .opens = 4000000,                                                   \
                           .history_bytes = UINT64_C(64) << 20})

enum lease_kind {
    LEASE_FILE = 1,
    LEASE_DIRECTORY = 2,
};

/* What a principal may do with a node (Chubby, 2.2).  For each a node names an ACL: a
 * file below acl/ that lists principals, one a line; "*" is anyone, what follows a "#"
 * is for people.  The empty name is anyone; a name without a file is nobody.  A node
 * made without other orders has the names of its directory. */
enum lease_right {
    LEASE_READ = 0,   /* Content, metadata, names of children, who holds; events of it. */
    LEASE_WRITE = 1,  /* Content, children, its lock in any mode, its end. */
    LEASE_CHANGE = 2, /* The names of its ACLs. */
};

enum {
    LEASE_RIGHTS = 3,
};

/* May do everything.  No listener on a network has this principal: who bears it is on
 * the machine of the master. */
#define LEASE_ROOT "root"

/* What happened to a node, as history keeps it.  With one command several things
 * can happen, to several nodes; they bear the same revision. */
enum lease_change {
    LEASE_CREATED = 1, /* It was made. */
    LEASE_WRITTEN = 2, /* Its content was written. */
    LEASE_DELETED = 3,
    LEASE_ACL_CHANGED = 4,
    LEASE_GRANTED = 5,   /* Somebody began to hold its lock. */
    LEASE_RELEASED = 6,  /* Somebody ceased to hold it: released, deleted with it, or failed. */
    LEASE_CONTENDED = 7, /* Somebody began to wait for it. */
};

/* How a lock is held or wanted.  Advisory (Chubby, 2.4). */
enum lease_mode {
    LEASE_EXCLUSIVE = 1,
    LEASE_SHARED = 2,
};

/* The answer of the state machine to a command or a query.  LEASE_OK and
 * refusals only: a machine that can't go on stops the replica instead. */
#define LEASE_RC_MAP(X)                                                                        \
    X(LEASE_OK, 0, "ok")                                                                       \
    X(LEASE_NO_NODE, 1, "there is no such node")                                               \
    X(LEASE_NO_PARENT, 2, "the directory that should hold it does not exist")                  \
    X(LEASE_EXISTS, 3, "the node exists")                                                      \
    X(LEASE_CONFLICT, 4, "the node's generation is another one")                               \
    X(LEASE_NOT_EMPTY, 5, "the directory is not empty")                                        \
    X(LEASE_NOT_A_FILE, 6, "the node is a directory")                                          \
    X(LEASE_NOT_A_DIRECTORY, 7, "the node is a file")                                          \
    X(LEASE_STALE_INSTANCE, 8, "the node was deleted and made again")                          \
    X(LEASE_IS_ROOT, 9, "the root can't be made or deleted")                                   \
    X(LEASE_LIMIT, 10, "a limit of the cell is reached")                                       \
    X(LEASE_BAD_PATH, 11, "the path is not valid")                                             \
    X(LEASE_TOO_LARGE, 12, "the content is larger than a file may be")                         \
    X(LEASE_NO_SESSION, 13, "the session has ended, or never was")                             \
    X(LEASE_WAITING, 14, "the lock is awaited; the outcome comes later")                       \
    X(LEASE_LOCKED, 15, "the lock is held or awaited by others")                               \
    X(LEASE_NOT_HELD, 16, "the lock is not held with this token by this session and handle")   \
    X(LEASE_OWNED, 17, "this session and handle hold or await the lock already")               \
    X(LEASE_CANCELLED, 18, "the request was cancelled before it was granted")                  \
    X(LEASE_ACKNOWLEDGED, 19, "the outcome of this request was acknowledged and forgotten")    \
    X(LEASE_RESULTS_FULL, 20, "too many outcomes of the session are not acknowledged")         \
    X(LEASE_OLD_EPOCH, 21, "decided under an older mastership")                                \
    X(LEASE_DENIED, 22, "not allowed")                                                         \
    X(LEASE_LOCK_DELAY, 23, "the lock is closed after its holder failed")                      \
    X(LEASE_NO_ACL, 24, "there is no ACL of this name")

enum lease_rc {
#define LEASE_RC_ENUM(name, value, text) name = (value),
    LEASE_RC_MAP(LEASE_RC_ENUM)
#undef LEASE_RC_ENUM
};

/* What is known of a node without its content. */
struct lease_stat {
    enum lease_kind kind;
    uint64_t instance;           /* Of all nodes that ever bore this name, which one. */
    uint64_t content_generation; /* Grows with each write of the content; from 1. */
    uint64_t lock_generation;    /* Grows when the lock goes from free to held; from 0. */
    uint64_t acl_generation;     /* Grows with each write of the ACL names; from 0. */
    uint64_t checksum;           /* Of the content. */
    uint64_t revision;           /* That last changed content or ACLs. */
    uint64_t modified_wall_ms;   /* A label: the proposer's wall clock at that change. */
    uint64_t size;               /* Octets of content. */
    uint64_t children;           /* Of a directory. */
    uint64_t lock_token;         /* Of the holding; 0: nobody holds it. */
    bool ephemeral;              /* Goes when nobody has it open. */
};

/* Memory that lease/ may use.  `allocate` returns NULL only when the replica
 * must stop; lease/ then calls `exhausted`, which does not return. */
struct lease_allocator {
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *memory, size_t size);
    void (*exhausted)(void *context) __attribute__((noreturn));
    void *context;
};

#endif
