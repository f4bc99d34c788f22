/* SPDX-License-Identifier: Apache-2.0
 *
 * history.h -- what has happened, for those who watch.
 *
 * Every change of a node or a lock appends an event.  They are kept encoded, one
 * behind the other, in *chunks* of a few KiB, each of which is a record:
 *
 *     floor     chunk            chunk            chunk, open
 *       | [e 7][e 8][e 8]  [e 8][e 9] ... [e 41]  [e 42][e 43]      ) room
 *       '-- what was before went, chunk by chunk
 *
 * Who watches has no part in it: an event costs its encoding, and one checksum
 * over that, whether nobody or everybody will be told.
 */
#ifndef LEASE_HISTORY_H
#define LEASE_HISTORY_H

#include "lease/lock.h"

enum {
    CHUNK_ROOM = 8 * 1024, /* Octets of events; one that is larger has a chunk alone. */
};

/* `key.id` is the revision of its first event, `key.sub` is 0 if no chunk before it
 * has events of that revision, else how many have. */
struct chunk {
    struct record record;
    uint64_t checksum; /* Of each event with the checksum before it as seed. */
    uint64_t last;     /* Revision of the last event. */
    uint32_t size;     /* Octets of events. */
    uint32_t room;
    uint8_t events[];
};

/* An event of the command at hand, of its revision; the caller fills in what
 * happened, and from `node` comes what is true of it now. */
void history_append(struct lease *l, const struct lease_at *at, const struct node *node,
                    struct lease_event event);

/* Of a claim, while its lock is as it was when that happened. */
void history_append_claim(struct lease *l, const struct lease_at *at, const struct claim *claim,
                          enum lease_change change, bool failed);

/* At the end of a command: what was appended is hashed, and what is too much goes. */
void history_settle(struct lease *l);

/* Those kept in `l`, oldest first; NULL: none. */
const struct chunk *history_first(const struct lease *l);

/* Reads the event at `offset`, which moves behind it.  False: it is malformed. */
__attribute__((warn_unused_result)) bool
event_decode(const struct chunk *chunk, uint32_t *offset, struct lease_event *ret_event);

/* A chunk of events that are still to be believed; and takes one that is sound. */
struct chunk *chunk_new(struct lease *l, size_t size);
void chunk_add(struct lease *l, struct chunk *chunk, struct record_key key);
uint64_t chunk_checksum(uint64_t before, const uint8_t *event, size_t size);
void chunk_release(struct lease *l, struct chunk *chunk);
void chunk_encode(const struct chunk *chunk, struct writer *w, struct bytes *ret_tail);

static inline struct chunk *chunk_of(struct record *record)
{
    assert(record->key.kind == RECORD_HISTORY);
    return tree_entry(record, struct chunk, record);
}

#endif
