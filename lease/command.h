/* SPDX-License-Identifier: Apache-2.0
 *
 * command.h -- what clients ask the replicated state to do, as log bytes.
 *
 * An entry of the log holds a batch: commands one behind the other, each with
 * its length, so that a reader can step over what it does not want to look at.
 *
 *     u32 length of what follows | u8 version | u8 type | u64 session |
 *     u64 request id | u8 length, principal | arguments by type
 *
 * `session` and `request` are 0 for one-shot commands.  An entry that can't be
 * decoded stops the replica: it was checked before it was proposed, so it comes
 * from a newer version or from damage that a checksum missed.
 */
#ifndef LEASE_COMMAND_H
#define LEASE_COMMAND_H

#include "lease/types.h"

enum {
    LEASE_COMMAND_VERSION = 1,
    LEASE_COMMAND_HEAD = 4 /* Octets of the length field. */
};

enum lease_command_type {
    LEASE_CMD_PUT = 1,    /* Write a file whole; makes it when it is missing. */
    LEASE_CMD_CREATE = 2, /* Make a file or a directory that must not exist. */
    LEASE_CMD_DELETE = 3, /* Delete a file or an empty directory. */
};

/* No condition on a generation or an instance. */
#define LEASE_ANY UINT64_MAX

struct lease_command {
    enum lease_command_type type;
    uint64_t session;
    uint64_t request;
    struct bytes principal;
    struct bytes path;        /* Below /ls/<cell>/, without leading slash; "" is the root. */
    enum lease_kind kind;     /* CREATE. */
    struct bytes content;     /* PUT, CREATE of a file. */
    uint64_t if_generation;   /* PUT, DELETE: content generation, 0: must not exist (PUT), or LEASE_ANY. */
    uint64_t if_instance;     /* PUT, DELETE: or LEASE_ANY. */
};

size_t lease_command_size(const struct lease_command *command);
void lease_command_encode(const struct lease_command *command, struct writer *w);

/* Reads the next command of a batch; its bytes are borrowed from the batch.
 * False when it is malformed or of an unknown version. */
__attribute__((warn_unused_result)) bool lease_command_decode(struct reader *r,
                                                              struct lease_command *ret_command);

/* Is this a path that a node can have?  Components of 1 to 255 octets of UTF-8
 * without control characters, not "." or "..", joined by single slashes. */
enum lease_rc lease_path_check(struct bytes path);

/* One line of text, for traces and lockdump; at most `size` octets with the NUL.
 * In lease/describe.c, the only file here that formats text. */
const char *lease_command_describe(const struct lease_command *command, char *text, size_t size);
const char *lease_rc_text(enum lease_rc rc);

#endif
