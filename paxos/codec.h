/* SPDX-License-Identifier: Apache-2.0
 *
 * codec.h -- peers' frames, and the pieces of the log, as bytes.
 *
 * A frame:
 *
 *     u32 length of all that follows | u8 version | u8 type | u16 reserved, 0 |
 *     u64 checksum of what follows except the entries' data | envelope | body
 *
 * Big-endian, field by field.  The data of entries is covered by each value's
 * own checksum, which the decoder verifies as well: so nothing that arrives
 * damaged gets past paxos_frame_decode(), and the bytes are hashed once.
 */
#ifndef PAXOS_CODEC_H
#define PAXOS_CODEC_H

#include "paxos/paxos.h"

enum {
    PAXOS_FRAME_VERSION = 2,
    PAXOS_FRAME_HEAD = 4, /* Octets of the length field. */
    /* No frame is longer; a length above it closes the connection. */
    PAXOS_FRAME_MAX = PAXOS_VALUE_MAX + PAXOS_MESSAGE_BYTES + 64 * 1024,
    PAXOS_HARD_MAX = 4096,   /* Bytes of an encoded paxos_hard or paxos_members. */
    PAXOS_VALUE_HEAD = 29,   /* kind 1, epoch 8, wall_ms 8, checksum 8, length 4. */
};

enum paxos_decode {
    PAXOS_DECODED,
    PAXOS_DECODE_MORE,     /* Not a whole frame yet; `ret_need` octets are needed in all. */
    PAXOS_DECODE_VERSION,  /* A version this build does not speak. */
    PAXOS_DECODE_DAMAGED,  /* Checksum, bounds or contents: close the connection. */
};

/* Where a decoded message keeps what it points at.  The entries' data points
 * into the frame. */
struct paxos_decoded {
    struct paxos_message message;
    struct paxos_members members;
    struct paxos_entry entries[PAXOS_MESSAGE_ENTRIES];
};

/* Octets that paxos_frame_encode() will write. */
size_t paxos_frame_size(const struct paxos_message *message);

/* Writes one frame; the writer must have room for paxos_frame_size(). */
void paxos_frame_encode(const struct paxos_message *message, struct writer *w);

/* Reads the frame at the start of `input`.  `ret_size` is its whole length on
 * PAXOS_DECODED, what is needed in all on PAXOS_DECODE_MORE, and the version
 * that was met on PAXOS_DECODE_VERSION. */
PAXOS_MUST_USE enum paxos_decode paxos_frame_decode(struct bytes input,
                                                    struct paxos_decoded *ret_decoded,
                                                    size_t *ret_size);

/* The pieces, each with a version of its own where it is stored. */
void paxos_hard_encode(const struct paxos_hard *hard, struct writer *w);
PAXOS_MUST_USE bool paxos_hard_decode(struct bytes input, struct paxos_hard *ret_hard);
void paxos_members_encode(const struct paxos_members *members, struct writer *w);
PAXOS_MUST_USE bool paxos_members_decode(struct reader *r, struct paxos_members *ret_members);

/* The value of a log row.  Decoding verifies the checksum; data is borrowed. */
size_t paxos_value_size(const struct paxos_value *value);
void paxos_value_encode(const struct paxos_value *value, struct writer *w);
PAXOS_MUST_USE bool paxos_value_decode(struct reader *r, struct paxos_value *ret_value);

/* The data of a founding entry. */
void paxos_founding_encode(uint64_t cell, const struct paxos_members *members, struct writer *w);
PAXOS_MUST_USE bool paxos_founding_decode(struct bytes data, uint64_t *ret_cell,
                                          struct paxos_members *ret_members);

#endif
