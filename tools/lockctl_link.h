/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_link.h -- one blocking connection to one replica, in lines.
 *
 * Every call ends by a deadline.  A failed call says why in `ret_why`, as the
 * end of a sentence ("Connection refused"); the link is then only good for
 * link_close().
 */
#ifndef TOOLS_LOCKCTL_LINK_H
#define TOOLS_LOCKCTL_LINK_H

#include "libclient/wire.h"

enum {
    LINK_ADDRESS_MAX = 272, /* "host:port" with its NUL. */
    LINK_WHY_MAX = 160,
};

/* Milliseconds of a clock that no one sets and that counts suspension. */
uint64_t link_now_ms(void);

struct link {
    int fd; /* -1: closed. */
    struct wire_buffer in;
    size_t taken; /* Octets of `in` that earlier lines were. */
};

#define LINK_CLOSED ((struct link){.fd = -1})

/* Writes "host:port" in full; the port is 7400 if it is not given, an IPv6
 * address stands in brackets.  Or "unix:/path", the local socket of a replica.  False:
 * of neither form. */
bool link_address(struct wire_text text, char ret_address[LINK_ADDRESS_MAX]);

/* Names are asked for at each attempt, and each of their addresses is tried. */
bool link_open(struct link *l, const char *address, uint64_t deadline_ms,
               char ret_why[LINK_WHY_MAX]);
void link_close(struct link *l);

bool link_send(struct link *l, const void *data, size_t size, uint64_t deadline_ms,
               char ret_why[LINK_WHY_MAX]);

/* The next line without its newline, valid until the next call. */
bool link_line(struct link *l, uint64_t deadline_ms, struct wire_text *ret_line,
               char ret_why[LINK_WHY_MAX]);

#endif
