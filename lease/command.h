/* SPDX-License-Identifier: Apache-2.0
 *
 * command.h -- what clients ask the replicated state to do, as log bytes.
 *
 * An entry of the log holds a batch: commands one behind the other, each with
 * its length, so that a reader can step over what it does not want to look at.
 *
 *     u32 length of what follows | u8 version | u8 type | u64 session |
 *     [ u64 request id | u64 acknowledged up to | u8 count, ranges | ]
 *     u8 length, principal | arguments by type
 *
 * `session` is 0 for one-shot commands, which have no request id and
 * acknowledge nothing.  An entry that can't be
 * decoded stops the replica: it was checked before it was proposed, so it comes
 * from a newer version or from damage that a checksum missed.
 */
#ifndef LEASE_COMMAND_H
#define LEASE_COMMAND_H

#include "lease/types.h"

enum {
    LEASE_COMMAND_VERSION = 3,
    LEASE_COMMAND_HEAD = 4 /* Octets of the length field. */
};

enum lease_command_type {
    LEASE_CMD_PUT = 1,    /* Write a file whole; makes it when it is missing. */
    LEASE_CMD_CREATE = 2, /* Make a file or a directory that must not exist. */
    LEASE_CMD_DELETE = 3, /* Delete a file or an empty directory. */
    LEASE_CMD_SESSION_OPEN = 4,
    LEASE_CMD_SESSION_CLOSE = 5,  /* By its owner: frees what it holds. */
    LEASE_CMD_SESSION_EXPIRE = 6, /* By the keeper: its time is over. */
    LEASE_CMD_ACQUIRE = 7,
    LEASE_CMD_RELEASE = 8,
    LEASE_CMD_CANCEL = 9,      /* By its owner: a request of the same session. */
    LEASE_CMD_TIMEOUT = 10,    /* By the keeper: an acquire has waited as long as it would. */
    LEASE_CMD_OPEN = 11,       /* Have a node open, made when it is missing: of a session. */
    LEASE_CMD_CLOSE = 12,      /* Have it open no more. */
    LEASE_CMD_DELAY_OVER = 13, /* By the keeper: the lock-delay of a failed holder is over. */
    LEASE_CMD_STRETCH = 14, /* By the master: KeepAlives may be answered with longer leases. */
    LEASE_CMD_SET_ACL = 15, /* Change the names of a node's ACLs. */
};

/* No condition on a generation or an instance. */
#define LEASE_ANY UINT64_MAX

/* Request ids first ... last. */
struct lease_range {
    uint64_t first, last;
};

struct lease_command {
    enum lease_command_type type;

    /* Who asks, and how often at most: (session, request) takes effect at most
     * once.  What is acknowledged is forgotten, and never executed again. */
    uint64_t session;   /* 0: one-shot, or not a client's: see `subject`. */
    uint64_t request;   /* From 1; 0 with session 0. */
    uint64_t ack_floor; /* All ids up to here, ... */
    struct lease_range acks[LEASE_ACK_RANGES_MAX]; /* ... and these above it, ascending. */
    uint32_t acks_count;

    struct bytes principal;
    struct bytes path;      /* Below /ls/<cell>/, without leading slash; "" is the root. */
    enum lease_kind kind;   /* CREATE; OPEN: of what is made, 0: it must exist. */
    bool ephemeral;         /* OPEN: what is made is ephemeral. */
    struct bytes content;   /* PUT, CREATE or OPEN of a file. */
    uint64_t if_generation; /* PUT, DELETE: content generation, 0: must not exist (PUT), or
                             * LEASE_ANY.  SET_ACL: ACL generation, or LEASE_ANY. */
    uint64_t if_instance; /* PUT, DELETE, ACQUIRE, OPEN, CLOSE, SET_ACL: or LEASE_ANY.  OPEN: 0
                           * means that it must not exist.  CLOSE: never LEASE_ANY. */

    uint64_t subject; /* SESSION_OPEN: the new session's id, chosen at random by who proposes.
                       * SESSION_EXPIRE, TIMEOUT: the session judged.
                       * DELAY_OVER: the node's instance. */
    uint64_t
        subject_request; /* CANCEL, TIMEOUT: which request.  DELAY_OVER: the claim's number. */
    uint64_t epoch;      /* SESSION_EXPIRE, TIMEOUT, DELAY_OVER, STRETCH: under which it was
                          * decided. */
    uint64_t secret_hash[2]; /* SESSION_OPEN: lease_secret_hash(). */
    uint32_t lease_ms;       /* SESSION_OPEN; STRETCH: the new ceiling, 0: none. */
    struct bytes label;      /* SESSION_OPEN: for people: program, host, pid. */
    bool cache;              /* SESSION_OPEN: its client may keep what it reads. */

    struct bytes acl[LEASE_RIGHTS]; /* SET_ACL: the new names; data NULL: as it is. */

    enum lease_mode mode; /* ACQUIRE. */
    uint64_t handle;      /* ACQUIRE, RELEASE, OPEN, CLOSE: the owner is (session, handle). */
    bool wait;            /* ACQUIRE: queue when it is held; else it is a try. */
    bool create;          /* ACQUIRE: make the file when it is missing. */
    uint32_t wait_ms;     /* ACQUIRE that waits: the keeper ends it then; 0: never. */
    uint32_t delay_ms;    /* ACQUIRE: the lock-delay, if this holder fails. */
    uint64_t token;       /* RELEASE: of the holding that ends. */
};

size_t lease_command_size(const struct lease_command *command);
void lease_command_encode(const struct lease_command *command, struct writer *w);

/* Reads the next command of a batch; its bytes are borrowed from the batch.
 * False when it is malformed or of an unknown version. */
__attribute__((warn_unused_result)) bool
lease_command_decode(struct reader *r, struct lease_command *ret_command);

/* Is this a path that a node can have?  Components of 1 to 255 octets of UTF-8
 * without control characters, not "." or "..", joined by single slashes. */
enum lease_rc lease_path_check(struct bytes path);

/* What is replicated of a session's secret. */
void lease_secret_hash(struct bytes secret, uint64_t ret_hash[2]);

/* One line of text, for traces and lockdump; at most `size` octets with the NUL.
 * In lease/describe.c, the only file here that formats text. */
const char *lease_command_describe(const struct lease_command *command, char *text,
                                   size_t size);
const char *lease_rc_text(enum lease_rc rc);

#endif
