/* SPDX-License-Identifier: Apache-2.0
 *
 * paxos.h -- one replicated log, agreed by Multi-Paxos.
 *
 * This library decides; it never acts.  An event goes in, wishes come out:
 *
 *     event --> paxos_step() --> struct paxos --> paxos_ready() --> caller
 *                                     ^                               |
 *                                     +------- paxos_advance() <------+
 *
 * For every batch the caller must
 *
 *   1. send ready->at_once and ready->released, in this order;
 *   2. hand ready->hard, ready->written and ready->chosen_mark to the store, in
 *      one transaction, under ready->ticket;
 *   3. apply ready->chosen to the state machine, in slot order;
 *   4. read the log for ready->reads and step PAXOS_LOG_READ with what it found;
 *   5. call paxos_advance();
 *
 * and, when the store reports the ticket durable, step PAXOS_DURABLE{ticket}.
 * Only that event counts this replica's own vote, and only it lets Prepares,
 * promises and votes out: they appear in ready->released.  A promise that
 * leaves before it is durable can be forgotten in a crash, and then two masters
 * can each gather a majority for the same slot ("... an acceptor records its
 * intended response in stable storage before actually sending the response",
 * Lamport, Paxos Made Simple, section 2.5).
 *
 * Sources: Lamport, *Paxos Made Simple* (PMS); Chandra, Griesemer, Redstone,
 * *Paxos Made Live* (PML); Burrows, *The Chubby lock service*.  docs/paxos.md
 * numbers the invariants that paxos_check() asserts.
 *
 * Same config, same restored state, same events: same output, byte for byte.
 * Not thread-safe; one thread owns a replica.  Inputs are copied; outputs are
 * borrowed until paxos_advance().
 */
#ifndef PAXOS_PAXOS_H
#define PAXOS_PAXOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "paxos/base/bytes.h"

#define PAXOS_MUST_USE __attribute__((warn_unused_result))

typedef uint64_t paxos_slot; /* 1, 2, 3, ...; 0 means "no slot". */
typedef uint16_t paxos_id;   /* Never used again after removal; 0: nobody. */

enum {
    PAXOS_MEMBERS_MAX = 8,       /* Voters and learners together. */
    PAXOS_ADDRESS_MAX = 128,     /* With the terminating NUL. */
    PAXOS_WINDOW = 32,           /* Slots in flight. */
    PAXOS_RING = 256,            /* Slots held in memory, the applied tail included. */
    PAXOS_VALUE_MAX = 1024 * 1024 + 4096, /* Bytes of one entry's data. */
    PAXOS_MESSAGE_ENTRIES = 64,  /* Entries in one message. */
    PAXOS_MESSAGE_BYTES = 1024 * 1024 + 64 * 1024, /* Data bytes in one message, beyond the first entry. */
    PAXOS_PARTS_MAX = 64,        /* Parts of a promise. */
};

/* Ordered by round, then by id.  A struct, so that the compiler refuses to
 * compare a ballot with a slot.  In memory 48 bits of round; the epoch that
 * clients see, round << 16 | id, stays below 2^53. */
struct paxos_ballot {
    uint64_t round;
    paxos_id id;
};

enum {
    PAXOS_ROUND_BITS = 37 /* round << 16 | id < 2^53; reaching it stops the replica. */
};

/* What a slot can hold. */
enum paxos_kind {
    PAXOS_NOOP = 1,     /* A new master fills a hole (PMS, section 3). */
    PAXOS_FIRST = 2,    /* A master's own first entry. */
    PAXOS_FOUNDING = 3, /* Slot 1: cell id and members; also its master's first entry. */
    PAXOS_COMMANDS = 4, /* A batch for the state machine. */
};

/* The value of a slot.  `epoch` is that of the master which first proposed it;
 * it stays when a later master carries the value forward.  `wall_ms` is a
 * label, compared by nobody.  `checksum` covers all the rest. */
struct paxos_value {
    enum paxos_kind kind;
    uint64_t epoch;
    uint64_t wall_ms;
    struct bytes data;
    uint64_t checksum;
};

/* A vote, or, at or below the chosen mark, what was chosen. */
struct paxos_entry {
    paxos_slot slot;
    struct paxos_ballot ballot;
    struct paxos_value value;
};

/* A replica of the cell.  `identity` belongs to the store, not to the machine:
 * a replica that lost its disk comes back as somebody else. */
struct paxos_member {
    paxos_id id;
    uint64_t identity; /* 0: not yet known (only before the cell is formed). */
    char address[PAXOS_ADDRESS_MAX]; /* Where peers find it; opaque here. */
};

/* Settings of the cell, fixed by the founding entry and equal on all. */
struct paxos_settings {
    bool firm;          /* Master leases are waited out; `lease` reads are allowed. */
    uint32_t drift_ppm; /* Largest difference between the rates of any two clocks. */
};

/* Who the members are.  Number 1 is the founding one. */
struct paxos_members {
    uint64_t number;
    struct paxos_settings settings;
    uint32_t count;
    struct paxos_member member[PAXOS_MEMBERS_MAX]; /* By ascending id. */
};

/* What an acceptor must never forget.  Written whole, whenever it changed. */
struct paxos_hard {
    struct paxos_ballot promised;
    uint64_t round_max;       /* The highest round this store has ever led or tried to lead under. */
    uint64_t cell;            /* The cell's id; 0 until the founding entry is known. */
    uint32_t firm_ms_max;     /* Longest firm lease ever granted; 0: none. */
    struct paxos_members members; /* Before the cell is formed: with the identities pinned so far. */
};

/* ---------------------------------------------------------------- messages */

enum paxos_message_type {
    PAXOS_MSG_FOUND = 1,     /* "This is me, and these are the members I was given." */
    PAXOS_MSG_PREVOTE,       /* Would you promise `ballot`?  Moves nobody's promise. */
    PAXOS_MSG_PREVOTE_OK,    /* I would. */
    PAXOS_MSG_PREPARE,       /* PMS phase 1a, for all slots from `slot` on. */
    PAXOS_MSG_PROMISE,       /* PMS phase 1b, in `parts` parts. */
    PAXOS_MSG_REJECT,        /* No: see `ballot` (promised) and `chosen`. */
    PAXOS_MSG_ACCEPT,        /* PMS phase 2a: entries[0]. */
    PAXOS_MSG_VOTE,          /* PMS phase 2b: slot and checksum. */
    PAXOS_MSG_HEARTBEAT,     /* Renews the lease, carries round and chosen mark. */
    PAXOS_MSG_HEARTBEAT_ACK, /* "I still follow this ballot." */
    PAXOS_MSG_FETCH,         /* Send me what was chosen from `slot` on. */
    PAXOS_MSG_CHOSEN,        /* Here it is: consecutive entries. */
    PAXOS_MSG_RELEASE,       /* The master of `ballot` gives its lease back. */
    PAXOS_MSG_TYPES
};

/* One shape for all types; unused fields are zero.  `from` ... `incarnation`
 * are the envelope: they are in every frame and checked before all else. */
struct paxos_message {
    enum paxos_message_type type;

    paxos_id from;
    paxos_id to;
    uint64_t from_identity;
    uint64_t to_identity;   /* 0 in FOUND only, while the addressee's is unknown. */
    uint64_t cell;          /* 0 until the sender knows the founding entry. */
    uint64_t members_number;
    uint64_t incarnation;   /* The sender's. */

    struct paxos_ballot ballot;   /* REJECT: what I promised.  Else: the master's or candidate's. */
    struct paxos_ballot released; /* PREVOTE, PREPARE: a ballot whose master released it. */
    paxos_slot slot;              /* PREVOTE, PREPARE: first unchosen.  VOTE.  FETCH: first wanted. */
    paxos_slot chosen;            /* The sender's chosen mark. */
    paxos_slot durable;           /* HEARTBEAT_ACK: chosen and durable here up to. */
    paxos_slot trim;              /* HEARTBEAT: every member has this much durable. */
    uint64_t round;               /* HEARTBEAT, HEARTBEAT_ACK: confirmation round. */
    uint64_t confirmed;           /* HEARTBEAT: all rounds up to this one are confirmed. */
    uint64_t stamp_ms;            /* HEARTBEAT_ACK: the sender's clock.  HEARTBEAT of a master that
                                   * serves: the stamp of the addressee's newest answer, as heard
                                   * before this was sent, ... */
    uint64_t stamp_incarnation;   /* ... and whose incarnation's clock that was; 0: none. */
    uint64_t checksum;            /* VOTE: of the value voted for. */
    uint32_t lease_ms;            /* HEARTBEAT, ACCEPT: what is asked for. */
    bool firm;                    /* HEARTBEAT, ACCEPT. */
    bool agreed;                  /* FOUND: the sender knows that all founders agree. */
    uint16_t part;                /* PROMISE: 0 ... parts - 1. */
    uint16_t parts;
    const struct paxos_members *members; /* FOUND only. */
    const struct paxos_entry *entries;   /* PROMISE: votes.  ACCEPT: one.  CHOSEN. */
    uint32_t entries_count;
};

/* ------------------------------------------------------------------- events */

enum paxos_event_type {
    PAXOS_TICK = 1,   /* Time passed: no later than ready->wake_at_ms. */
    PAXOS_RECEIVE,    /* A peer's message. */
    PAXOS_DURABLE,    /* All tickets up to `ticket` are on disk. */
    PAXOS_LOG_READ,   /* The answer to a wish of ready->reads. */
    PAXOS_PEER_GONE,  /* The peer port of `peer` refuses: nobody is there. */
    PAXOS_HAND_OVER,  /* Give the mastership away; take it no more (clean shutdown). */
};

struct paxos_log_read {
    paxos_id peer;         /* As wished. */
    paxos_slot slot;       /* As wished. */
    const struct paxos_entry *entries; /* Consecutive from `slot`; none: no longer in the log. */
    uint32_t entries_count;
};

struct paxos_event {
    enum paxos_event_type type;
    uint64_t now_ms; /* Monotonic; never falls. */
    union {
        const struct paxos_message *message;
        uint64_t ticket;
        struct paxos_log_read log_read;
        paxos_id peer;
    };
};

/* ------------------------------------------------------------------ wishes */

/* "Read entries from `slot` (to `last` at most) for `peer`": at most
 * PAXOS_MESSAGE_ENTRIES of them and PAXOS_MESSAGE_BYTES of data beyond the first. */
struct paxos_wanted {
    paxos_id peer;
    paxos_slot slot;
    paxos_slot last;
};

/* Why a master is none any more. */
#define PAXOS_DOWN_MAP(X)                                                                        \
    X(PAXOS_DOWN_OUTBID, 1, "outbid by a higher ballot")                                         \
    X(PAXOS_DOWN_NO_CONTACT, 2, "no majority answered within the lease")                         \
    X(PAXOS_DOWN_DISK, 3, "the disk is silent")                                                  \
    X(PAXOS_DOWN_RELEASED, 4, "handed over")

enum paxos_down {
#define PAXOS_DOWN_ENUM(name, value, text) name = (value),
    PAXOS_DOWN_MAP(PAXOS_DOWN_ENUM)
#undef PAXOS_DOWN_ENUM
};

/* Something an operator may want to read.  Deciding nothing, so losing them
 * changes nothing.  In the texts {a} and {b} are numbers, {b:id} an identity,
 * {a:why} an enum paxos_down. */
#define PAXOS_NOTE_MAP(X)                                                                        \
    X(PAXOS_NOTE_FOLLOWING, "following replica {a} in round {b}")                                \
    X(PAXOS_NOTE_PREVOTING, "asking who would vote in round {a}")                                \
    X(PAXOS_NOTE_PREPARING, "preparing round {a}")                                               \
    X(PAXOS_NOTE_LEADING, "master of round {a}, not yet serving")                                \
    X(PAXOS_NOTE_SERVING, "serving: own first entry is chosen in slot {a}")                      \
    X(PAXOS_NOTE_STEPPED_DOWN, "no longer master: {a:why}")                                      \
    X(PAXOS_NOTE_RELEASED, "gave the mastership of round {a} away")                              \
    X(PAXOS_NOTE_PINNED, "pinned replica {a} to identity {b:id}")                                \
    X(PAXOS_NOTE_FORMED, "the cell {a:id} is formed")                                            \
    X(PAXOS_NOTE_IDENTITY_REFUSED, "refused replica {a}: it shows identity {b:id}, which is not "  \
                                   "the one known here")                                         \
    X(PAXOS_NOTE_FOUNDER_LOST, "refused replica {a}: it shows identity {b:id}, which is not the "  \
                               "one known here; if a store was lost, and all others are "        \
                               "forming as well, initialise all members anew")                   \
    X(PAXOS_NOTE_FOUNDER_MISSED, "forming: replica {a} has not shown yet that it knows all "     \
                                 "members; if its store is lost, and all others are forming "    \
                                 "as well, initialise all members anew")                         \
    X(PAXOS_NOTE_MEMBERS_DIFFER, "refused replica {a}: it was initialised with other members or "  \
                                 "settings")                                                     \
    X(PAXOS_NOTE_NOT_A_MEMBER, "refused by replica {a}: its cell {b:id} does not name this "     \
                               "identity among its members")                                     \
    X(PAXOS_NOTE_OTHER_CELL, "refused replica {a}: it belongs to another cell, {b:id}")          \
    X(PAXOS_NOTE_OLD_INCARNATION, "refused replica {a}: its incarnation {b} is older than one "  \
                                  "seen; its store may be an old copy")                          \
    X(PAXOS_NOTE_DISK_SILENT, "no write has become durable for {a} ms")

enum paxos_note_kind {
#define PAXOS_NOTE_ENUM(name, text) name,
    PAXOS_NOTE_MAP(PAXOS_NOTE_ENUM)
#undef PAXOS_NOTE_ENUM
        PAXOS_NOTES
};

struct paxos_note {
    enum paxos_note_kind kind;
    uint64_t a, b;
};

/* One batch of output.  Read-only, owned by the replica, valid until
 * paxos_advance(). */
struct paxos_ready {
    const struct paxos_message *at_once;  /* Accepts, heartbeats: rest on nothing unwritten. */
    const struct paxos_message *released; /* Prepares, promises, votes: what they rest on is durable. */
    const struct paxos_hard *hard;        /* To persist; NULL when unchanged. */
    const struct paxos_entry *written;    /* Log rows to put: votes, and fetched chosen values. */
    const struct paxos_entry *chosen;     /* To apply, in slot order. */
    const struct paxos_wanted *reads;
    const struct paxos_note *notes;
    uint32_t at_once_count;
    uint32_t released_count;
    uint32_t written_count;
    uint32_t chosen_count;
    uint32_t reads_count;
    uint32_t notes_count;
    uint64_t ticket;        /* 0 when there is nothing that must become durable. */
    paxos_slot chosen_mark; /* Store it with this ticket or any later write; never earlier. */
    paxos_slot trim;        /* Log rows up to here may go once the tables hold their effects. */
    uint64_t confirmed;     /* All confirmation rounds up to this number are confirmed. */
    uint64_t wake_at_ms;    /* Step PAXOS_TICK no later than this. */
};

/* -------------------------------------------------------------------- life */

enum paxos_role {
    PAXOS_FORMING,   /* A founder that does not know yet that all agree. */
    PAXOS_FOLLOWER,
    PAXOS_PREVOTER,  /* Asks whether an election could succeed. */
    PAXOS_PREPARER,  /* Phase 1. */
    PAXOS_MASTER,
};

#define PAXOS_RC_MAP(X)                                                                          \
    X(PAXOS_OK, 0, "ok")                                                                         \
    X(PAXOS_NOT_MASTER, 1, "not the serving master; see paxos_status()")                         \
    X(PAXOS_BUSY, 2, "the window is full; retry when a slot was chosen")                         \
    X(PAXOS_TOO_BIG, 3, "the value exceeds PAXOS_VALUE_MAX")                                     \
    X(PAXOS_CORRUPT, 4, "the restored state contradicts itself")

enum paxos_rc {
#define PAXOS_RC_ENUM(name, value, text) name = (value),
    PAXOS_RC_MAP(PAXOS_RC_ENUM)
#undef PAXOS_RC_ENUM
};

/* Why a message was dropped.  Dropping is no failure; it is traced. */
#define PAXOS_DROP_MAP(X)                                                                        \
    X(PAXOS_DROP_NONE, "not dropped")                                                            \
    X(PAXOS_DROP_NOT_FOR_ME, "not addressed to this replica or identity")                        \
    X(PAXOS_DROP_STRANGER, "from an identity that is no member")                                 \
    X(PAXOS_DROP_OTHER_CELL, "from another cell")                                                \
    X(PAXOS_DROP_OLD_INCARNATION, "from an older incarnation than one seen")                     \
    X(PAXOS_DROP_OTHER_MEMBERS, "under another configuration number")                            \
    X(PAXOS_DROP_FORMING, "the cell is not formed here yet")                                     \
    X(PAXOS_DROP_LEASED, "a master's lease is promised")                                         \
    X(PAXOS_DROP_OLD_BALLOT, "below the promised ballot")                                        \
    X(PAXOS_DROP_BEHIND, "the candidate lacks chosen slots")                                     \
    X(PAXOS_DROP_WRONG_ROLE, "not in the role this answers")                                     \
    X(PAXOS_DROP_OTHER_BALLOT, "for another ballot than the current one")                        \
    X(PAXOS_DROP_OUT_OF_WINDOW, "the slot is outside the window")                                \
    X(PAXOS_DROP_ALREADY_CHOSEN, "the slot is chosen here")                                      \
    X(PAXOS_DROP_OTHER_VALUE, "names another value than the proposed one")                       \
    X(PAXOS_DROP_DUPLICATE, "seen before")                                                       \
    X(PAXOS_DROP_NO_ROOM, "no room for the value")                                               \
    X(PAXOS_DROP_MALFORMED, "contradicts itself")                                                \
    X(PAXOS_DROP_QUARANTINE, "restarted less than a firm lease ago")

enum paxos_drop {
#define PAXOS_DROP_ENUM(name, text) name,
    PAXOS_DROP_MAP(PAXOS_DROP_ENUM)
#undef PAXOS_DROP_ENUM
        PAXOS_DROPS
};

struct paxos_config {
    paxos_id self;
    uint64_t identity;    /* Of this store; never 0. */
    uint64_t incarnation; /* Raised durably before each start; from 1. */
    uint64_t seed;        /* Chance: jitter, and the cell id when this replica founds it. */
    uint64_t now_ms;      /* At the start. */
    uint32_t heartbeat_ms;
    uint32_t lease_ms;      /* The master's lease. */
    uint32_t jitter_ms_min; /* Election back-off. */
    uint32_t jitter_ms_max;
    uint32_t disk_stall_ms;
    uint32_t value_max;   /* At most PAXOS_VALUE_MAX; the simulator takes less. */
};

/* What the store gave back.  `hard.members` of a store that was only
 * initialised holds the founders, with no identity but this replica's own. */
struct paxos_restored {
    struct paxos_hard hard;
    paxos_slot chosen;  /* The chosen mark; everything up to it was applied by the caller. */
    const struct paxos_entry *votes; /* Log rows above `chosen`, ascending. */
    uint32_t votes_count;
};

struct paxos;

/* The size and alignment (of max_align_t) of the block that paxos_init() needs.
 * Most of it is never touched in ordinary use. */
size_t paxos_size(const struct paxos_config *config);

/* Builds a replica in `block`.  PAXOS_CORRUPT when the restored state is
 * impossible; the caller must not go on under this identity then. */
PAXOS_MUST_USE enum paxos_rc paxos_init(void *block, const struct paxos_config *config,
                                        const struct paxos_restored *restored,
                                        struct paxos **ret_paxos);

/* The event is consumed whatever comes of it; why a message was dropped is
 * returned, PAXOS_DROP_NONE otherwise. */
enum paxos_drop paxos_step(struct paxos *p, const struct paxos_event *event);

/* Proposes one batch.  `data` is copied.  PAXOS_BUSY is back-pressure. */
PAXOS_MUST_USE enum paxos_rc paxos_propose(struct paxos *p, uint64_t now_ms, uint64_t wall_ms,
                                           struct bytes data, paxos_slot *ret_slot);

/* Names the confirmation round that vouches for a read which has arrived by
 * now: it begins after this call.  Once ready->confirmed reaches it, a majority
 * followed this master's ballot at a moment after the call.  `urgent` begins the
 * round in this turn unless one is running; otherwise it rides on the next.
 * PAXOS_NOT_MASTER unless serving.  After a step-down no round is confirmed. */
PAXOS_MUST_USE enum paxos_rc paxos_confirm(struct paxos *p, uint64_t now_ms, bool urgent,
                                           uint64_t *ret_round);

/* May this replica answer a `lease` read at `now_ms`?  Only with firm leases. */
bool paxos_lease_valid(const struct paxos *p, uint64_t now_ms);

/* How fresh is what is chosen here?  True: everything that any master acknowledged
 * before `ret_as_of_ms`, on this replica's clock, is at or below `ret_slot`, and that
 * is chosen here.  At the master the time is when its newest confirmed round began.
 * At a follower it is when this replica *sent* an answer that the master had heard
 * before it began a round, which it sent with the chosen mark `ret_slot` and which has
 * been confirmed since.  False: nothing is known since the start. */
bool paxos_fresh(const struct paxos *p, uint64_t *ret_as_of_ms, paxos_slot *ret_slot);

const struct paxos_ready *paxos_ready(struct paxos *p);
void paxos_advance(struct paxos *p);

/* Asserts the invariants numbered in docs/paxos.md, between any two calls. */
void paxos_check(const struct paxos *p);

/* ---------------------------------------------------------------- reports */

struct paxos_peer_status {
    paxos_id id;
    uint64_t identity;
    uint64_t heard_ms;   /* When it was last heard; 0: never. */
    paxos_slot durable;  /* Chosen and durable there, as last told; the master's view. */
};

struct paxos_status {
    enum paxos_role role;
    bool serving;              /* Master, and its own first entry is applied. */
    bool handing_over;
    paxos_id master;           /* Whom we follow or are; 0: nobody known. */
    struct paxos_ballot ballot;   /* Of that master, or our own attempt. */
    struct paxos_ballot promised;
    uint64_t epoch;            /* Of `ballot`. */
    uint64_t cell;
    paxos_slot chosen;         /* Highest slot below which nothing is open. */
    paxos_slot last;           /* Highest slot with a vote. */
    paxos_slot durable;        /* Own log, chosen and on disk. */
    uint32_t quorum;
    uint64_t disk_silent_ms;   /* Age of the oldest write not yet durable. */
    const struct paxos_members *members;
    uint32_t peers_count;      /* The other members. */
    struct paxos_peer_status peers[PAXOS_MEMBERS_MAX];
};

void paxos_status(const struct paxos *p, uint64_t now_ms, struct paxos_status *ret_status);

/* ---------------------------------------------------------------- helpers */

static inline int paxos_ballot_compare(struct paxos_ballot a, struct paxos_ballot b)
{
    if (a.round != b.round) {
        return a.round < b.round ? -1 : 1;
    }
    return (a.id > b.id) - (a.id < b.id);
}

/* The number that clients see for a mastership. */
static inline uint64_t paxos_epoch(struct paxos_ballot ballot)
{
    return ballot.round << 16 | ballot.id;
}

/* A master made this entry itself, rather than for a client: what an older
 * master left behind it applies as nothing. */
static inline bool paxos_self_made(enum paxos_kind kind)
{
    return kind != PAXOS_COMMANDS;
}

/* Of kind, epoch, wall_ms and data. */
uint64_t paxos_value_checksum(const struct paxos_value *value);

#endif
