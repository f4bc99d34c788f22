/* SPDX-License-Identifier: Apache-2.0
 *
 * hello.h -- the first frame on a connection between replicas.
 *
 * Who dials says who it is; who accepts only listens.  Paxos' own frames, which
 * follow, carry identities and check them; the hello is there so that a
 * misconfigured address is refused by name rather than by silence, and it
 * carries what Paxos needn't know: where clients find the sender.
 *
 *     u32 magic "LKPR" | u16 length of what follows | u16 version |
 *     u16 from | u16 to | u64 identity | bytes cell | u8 count of ports for clients |
 *     for each: bytes principal, bytes client address | u64 checksum of all before
 *
 * Big-endian.  Magic, length and version keep their places in every version.
 */
#ifndef LOCKD_HELLO_H
#define LOCKD_HELLO_H

#include "lease/types.h"
#include "lockd/address.h"
#include "lockd/store.h"
#include "paxos/base/bytes.h"

enum {
    HELLO_VERSION = 2,
    HELLO_HEAD = 6,   /* Octets of magic and length. */
    HELLO_MAX = 4096, /* Octets of a hello of any version. */
    HELLO_CLIENTS_MAX = 8
};

/* Where clients of a principal find the sender. */
struct hello_client {
    char principal[LEASE_PRINCIPAL_MAX + 1];
    char address[ADDRESS_MAX];
};

struct hello {
    paxos_id from;
    paxos_id to;
    uint64_t identity;
    char cell[STORE_CELL_MAX];
    struct hello_client clients[HELLO_CLIENTS_MAX];
    uint32_t clients_count;
};

enum hello_decode {
    HELLO_DECODED,
    HELLO_MORE, /* Not a whole hello yet. */
    HELLO_VERSION_UNKNOWN,
    HELLO_DAMAGED, /* Not a hello, or a damaged one. */
};

/* The writer must have room for HELLO_MAX. */
void hello_encode(const struct hello *hello, struct writer *w);

/* `ret_size`: its octets when decoded, the version when that is unknown. */
enum hello_decode hello_decode(struct bytes input, struct hello *ret_hello, size_t *ret_size);

#endif
