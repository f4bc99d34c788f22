/* SPDX-License-Identifier: Apache-2.0
 *
 * internal.h -- struct paxos, the flat block, and who may call whom inside it.
 *
 *     paxos.c       life: init, step, ready, advance, status
 *     forming.c     before there is a cell: pinning the founders
 *     acceptor.c    what I may promise and vote (PMS, section 2)
 *     election.c    when to campaign; pre-vote; phase 1 as the candidate
 *     master.c      phase 2 as the master: carry forward, propose, count votes
 *     mastership.c  heartbeats, confirmation rounds, leases, handing over
 *     fresh.c       how old what is chosen here may be
 *     learner.c     the chosen prefix, and catching up
 *     log.c         slot -> vote, in a ring; arena.c holds the bytes
 *     output.c      messages, what waits for the disk, notes
 *
 * Time is always the `now_ms` of the current call, kept in p->now_ms.
 */
#ifndef PAXOS_INTERNAL_H
#define PAXOS_INTERNAL_H

#include <assert.h>

#include "paxos/base/mutant.h"
#include "paxos/base/rng.h"
#include "paxos/paxos.h"

enum {
    MESSAGES_MAX = 1024,    /* In one list of one batch; more are dropped, as a network may. */
    WAITING_MAX = 1024,     /* Answers that wait for the disk. */
    ENTRIES_OUT_MAX = 1024, /* Entries that the messages of one batch point at. */
    NOTES_MAX = 64,
    ROUNDS_MAX = 64,             /* Confirmation rounds begun and not confirmed. */
    RETAIN_BYTES = 1024 * 1024,  /* Applied entries kept in memory for those who lag. */
    ARENA_ALIGN = 16,
};

static_assert(PAXOS_RING >= 4 * PAXOS_WINDOW, "the ring holds the window and a tail");

/* Variable blocks, freed in any order, moved together only by paxos_advance():
 * what a batch points at stays where it is. */
struct arena {
    size_t capacity;
    size_t head; /* The next block begins here. */
    size_t live; /* Octets in live blocks. */
};

/* What is known of one slot here. */
struct log_slot {
    paxos_slot slot;          /* 0: nothing. */
    struct paxos_entry vote;  /* slot 0: no vote; at or below `chosen`: what was chosen. */
    uint64_t ticket;          /* The vote is durable with this. */
    struct paxos_entry carry; /* Phase 1: the highest-ballot vote reported; slot 0: none. */
    uint32_t voters;          /* The master's count, by index of member. */
    uint64_t sent_ms;         /* Its Accept was last sent. */
};

/* What is known of a member; our own entry is used where it makes sense. */
struct peer {
    uint64_t incarnation;   /* The highest seen. */
    uint64_t heard_ms;      /* 0: never. */
    paxos_slot durable;     /* As last told to us as master. */
    uint64_t round;         /* The highest round of ours that it answered, ... */
    uint64_t stamp_ms;      /* ... when, on its clock, ... */
    uint64_t stamp_incarnation; /* ... and in which life. */
    uint64_t parts;         /* Parts of its promise that have come, as a bit set ... */
    paxos_slot parts_from;  /* ... and the slot from which that promise reports. */
    bool agreed;            /* Founding: it has shown that it pinned the same as we. */
    bool prevoted;
    bool promised;          /* All parts have come. */
    bool read_wanted;       /* A log read for it is on its way. */
    bool refusal_noted;     /* Its identity or members were refused, and it was said. */
};

/* An answer that rests on a write; the entries of a promise are taken when it is
 * let out, which is right because it is dropped if the promise moved on. */
struct waiting {
    uint64_t ticket;
    uint64_t durable_then; /* For the mutant promise_omits_unsynced. */
    struct paxos_message message;
};

/* Of a round of the master: everything that was acknowledged before `as_of_ms` is at or
 * below `slot`, if the round comes to be confirmed. */
struct sighting {
    uint64_t round; /* 0: none. */
    paxos_slot slot;
    uint64_t as_of_ms;
};

struct freshness {
    struct paxos_ballot ballot; /* Of the master whose rounds these are. */
    uint64_t confirmed;         /* As he last said. */
    struct sighting sighted[ROUNDS_MAX];
    struct sighting known; /* The newest that is certain, of any ballot; as_of_ms 0: none. */
};

struct paxos {
    struct paxos_config config;
    struct rng rng;
    uint64_t now_ms;
    bool handed_out; /* Between paxos_ready() and paxos_advance(). */

    /* Durable. */
    struct paxos_hard hard;
    bool hard_dirty;
    uint64_t hard_ticket;
    uint64_t pins_ticket; /* Founding: all identities pinned by now are durable with this. */

    /* Tickets: what is dirty goes under issued + 1. */
    uint64_t issued;
    uint64_t durable;
    uint64_t disk_heard_ms; /* When the disk last answered, or the oldest open ticket was issued. */
    bool write_dirty;

    /* The log. */
    paxos_slot first;       /* Lowest slot still in the ring. */
    paxos_slot applied;     /* Handed out to be applied. */
    paxos_slot chosen;      /* All slots up to here are chosen. */
    paxos_slot last;        /* Highest slot with a vote, at least `chosen`. */
    paxos_slot log_durable; /* Chosen, and the value is on our own disk. */
    paxos_slot mark_durable; /* So is the mark that says so. */
    paxos_slot mark_written; /* The mark on its way, under ... */
    uint64_t mark_ticket;    /* ... this; 0: none is. */
    paxos_slot trim;        /* Every member has this much durable. */
    struct arena arena;

    /* Roles. */
    enum paxos_role role;
    uint32_t self; /* Index among the members. */
    struct paxos_ballot ballot; /* Our own attempt or mastership. */
    struct paxos_ballot followed; /* The master we follow; round 0: nobody known. */
    uint64_t round_seen;        /* Highest round met anywhere. */
    uint64_t election_at_ms;
    uint64_t campaign_until_ms;
    uint64_t resend_at_ms;
    uint64_t found_at_ms;
    uint64_t complain_at_ms;    /* Founding: say then who is missed. */
    uint32_t backoff;           /* Failed attempts in a row. */
    bool retiring;              /* Never campaign again. */

    /* Acceptor's side of the master lease. */
    struct paxos_ballot lease_ballot; /* Whose master we protect. */
    uint64_t lease_incarnation;
    uint64_t lease_until_ms;
    bool lease_firm;
    struct paxos_ballot released;   /* The newest ballot known to be released by its master. */
    uint64_t quarantine_until_ms;   /* Restarted: promise nothing before. */

    /* Master. */
    bool serving;
    bool releasing;           /* Hand over as soon as the window has drained. */
    uint64_t release_by_ms;
    bool first_pending;       /* Our own first entry still has to be proposed. */
    paxos_slot first_slot;    /* Where it is. */
    uint64_t heartbeat_at_ms;
    uint64_t contact_ms;      /* Sent time of the newest confirmed round, or the election. */
    uint64_t lease_from_ms;   /* The same, but only from a round; 0: none. */
    uint64_t round_begun;
    uint64_t round_confirmed;
    uint64_t round_base;      /* The last one begun before this mastership. */
    bool round_wanted;
    uint64_t round_sent_ms[ROUNDS_MAX];

    /* Learner. */
    paxos_slot fetch_to;      /* Somebody knows chosen slots up to here. */
    paxos_id fetch_from;      /* That one. */
    uint64_t fetch_again_ms;  /* A fetch is on its way until then. */

    struct freshness fresh;
    struct peer peer[PAXOS_MEMBERS_MAX];

    /* Output. */
    struct paxos_ready ready;
    uint32_t waiting_first;
    uint32_t waiting_count;
    uint32_t entries_out_count;
    uint32_t written_count;
    struct paxos_wanted reads[PAXOS_MEMBERS_MAX];
    struct paxos_note notes[NOTES_MAX];
    struct log_slot ring[PAXOS_RING];
    paxos_slot written_slots[PAXOS_RING];
    struct paxos_entry written[PAXOS_RING];
    struct paxos_entry chosen_out[PAXOS_RING];
    struct paxos_entry entries_out[ENTRIES_OUT_MAX];
    struct paxos_message at_once[MESSAGES_MAX];
    struct paxos_message released_out[MESSAGES_MAX];
    struct waiting waiting[WAITING_MAX];
    _Alignas(16) uint8_t bytes[]; /* The arena's. */
};

/* -------------------------------------------------------------------- arena */
/* NULL: no room.  Whose the block is, is 0 for one that is freed in this batch. */
uint8_t *arena_allocate(struct paxos *p, paxos_slot owner, size_t size);
void arena_free(struct paxos *p, const uint8_t *data); /* Takes NULL. */
void arena_reclaim(struct paxos *p);

/* ---------------------------------------------------------------------- log */
struct log_slot *log_peek(struct paxos *p, paxos_slot slot); /* NULL: nothing there. */
const struct log_slot *log_look(const struct paxos *p, paxos_slot slot);
bool log_in_reach(const struct paxos *p, paxos_slot slot);
/* Puts a vote and marks it to be written; false: no room, nothing changed. */
bool log_vote(struct paxos *p, paxos_slot slot, struct paxos_ballot ballot,
              const struct paxos_value *value);
bool log_carry(struct paxos *p, const struct paxos_entry *entry);
void log_drop_carries(struct paxos *p);
void log_evict(struct paxos *p);

/* ------------------------------------------------------------------- output */
struct paxos_message message_to(const struct paxos *p, uint32_t peer,
                                enum paxos_message_type type);
void send_at_once(struct paxos *p, const struct paxos_message *message);
/* Once all that is written by now, or under `ticket`, is durable. */
void send_when_durable(struct paxos *p, uint64_t ticket, const struct paxos_message *message);
uint64_t ticket_now(const struct paxos *p); /* Covers everything stepped so far. */
void mark_hard(struct paxos *p);
void put_released(struct paxos *p, const struct paxos_message *message); /* Now. */
void let_out(struct paxos *p);
struct paxos_entry *entries_take(struct paxos *p, uint32_t count); /* NULL: none left. */
void note(struct paxos *p, enum paxos_note_kind kind, uint64_t a, uint64_t b);

/* ------------------------------------------------------------------ members */
enum { NO_PEER = PAXOS_MEMBERS_MAX };
uint32_t member_index(const struct paxos *p, paxos_id id); /* NO_PEER: not a member. */
uint32_t member_count(const struct paxos *p);
uint32_t quorum(const struct paxos *p);

/* ------------------------------------------------------------------ forming */
void forming_start(struct paxos *p);
void forming_tick(struct paxos *p);
uint64_t forming_wake(const struct paxos *p);
enum paxos_drop on_found(struct paxos *p, const struct paxos_message *m);
/* Does it name the identities that we pinned?  We neither vote for nor learn
 * another one. */
bool founding_agrees(const struct paxos *p, const struct paxos_value *value);
void adopt_founding(struct paxos *p, const struct paxos_value *value);
void refuse_peer(struct paxos *p, uint32_t from, enum paxos_note_kind why, uint64_t b);
bool propose_founding(struct paxos *p);

/* ----------------------------------------------------------------- acceptor */
enum paxos_drop on_prevote(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_prepare(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_accept(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_heartbeat(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_release(struct paxos *p, const struct paxos_message *m);
void let_out_promise(struct paxos *p, const struct waiting *w);
void lease_cut_short(struct paxos *p, paxos_id id, uint64_t incarnation);

/* ----------------------------------------------------------------- election */
void election_tick(struct paxos *p);
void election_soon(struct paxos *p);
void election_later(struct paxos *p);
void become_follower(struct paxos *p);
void start_prevote(struct paxos *p);
void count_own_promise(struct paxos *p);
enum paxos_drop on_prevote_ok(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_promise(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_reject(struct paxos *p, const struct paxos_message *m);
bool disk_is_silent(const struct paxos *p);

/* ------------------------------------------------------------------- master */
void become_master(struct paxos *p);
void master_propose_first(struct paxos *p);
void master_resend(struct paxos *p);
void master_count_own(struct paxos *p);
enum paxos_drop on_vote(struct paxos *p, const struct paxos_message *m);
bool propose_value(struct paxos *p, paxos_slot slot, const struct paxos_value *value);

/* --------------------------------------------------------------- mastership */
void mastership_tick(struct paxos *p);
void mastership_start(struct paxos *p);
void begin_round(struct paxos *p);
void count_rounds(struct paxos *p);
uint64_t rounds_running(const struct paxos *p);
void step_down_if_away(struct paxos *p);
void step_down(struct paxos *p, enum paxos_down reason);
void hand_over(struct paxos *p);
enum paxos_drop on_heartbeat_ack(struct paxos *p, const struct paxos_message *m);
void master_compute_trim(struct paxos *p);

/* -------------------------------------------------------------------- fresh */
void fresh_heard(struct paxos *p, const struct paxos_message *m); /* A heartbeat. */
void fresh_confirmed(struct paxos *p); /* A round of ours is. */

/* ------------------------------------------------------------------ learner */
void chosen_up_to(struct paxos *p, paxos_slot slot);
void learn_mark(struct paxos *p, paxos_id from, struct paxos_ballot ballot, paxos_slot mark);
void learn_elsewhere(struct paxos *p, paxos_id from, paxos_slot mark);
void learner_tick(struct paxos *p);
paxos_slot known_durable(const struct paxos *p);
enum paxos_drop on_fetch(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_chosen(struct paxos *p, const struct paxos_message *m);
enum paxos_drop on_log_read(struct paxos *p, const struct paxos_log_read *answer);

static inline bool ballot_equal(struct paxos_ballot a, struct paxos_ballot b)
{
    return a.round == b.round && a.id == b.id;
}

static inline bool ballot_below(struct paxos_ballot a, struct paxos_ballot b)
{
    return paxos_ballot_compare(a, b) < 0;
}

static inline uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
