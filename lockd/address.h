/* SPDX-License-Identifier: Apache-2.0
 *
 * address.h -- "host:port" as text and as a socket address.
 *
 * A host is a name, an IPv4 address, or an IPv6 address in brackets; a port is
 * 0 to 65535 in decimal.
 */
#ifndef LOCKD_ADDRESS_H
#define LOCKD_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "paxos/paxos.h"

enum {
    ADDRESS_MAX = PAXOS_ADDRESS_MAX, /* Octets of the text with its NUL. */
    ADDRESS_PORT_MAX = 6
};

struct address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* Takes "host:port" apart.  False when it is not of that form.  The host comes
 * without brackets. */
bool address_split(const char *text, char ret_host[ADDRESS_MAX], uint16_t *ret_port);

/* Translates a text whose host is a numeric address.  False: it is a name, or
 * malformed. */
bool address_numeric(const char *text, struct address *ret_address);

/* Asks the resolver, which may take long.  0, or an EAI_ code for gai_strerror(). */
int address_lookup(const char *text, struct address *ret_address);

/* The text of a socket address. */
void address_format(const struct address *address, char ret_text[ADDRESS_MAX]);

/* A host that means "every interface", such as 0.0.0.0: nobody can dial it. */
bool address_is_wildcard(const char *text);

#endif
