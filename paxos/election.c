/* SPDX-License-Identifier: Apache-2.0
 *
 * How a replica comes to lead.
 *
 *     FOLLOWER --timer--> PREVOTER --majority would--> PREPARER --majority did--> MASTER
 *         ^                  |                            |                        |
 *         +--- timeout, a better ballot, a master's heartbeat, chosen slots missing +
 *
 * The pre-vote moves nobody's promise, so a replica that can't win (cut off one
 * way, or behind) disturbs nobody.  Then one Prepare stands for all slots from
 * our first unchosen one (PMS, section 3).
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

static uint64_t jitter(struct paxos *p)
{
    return rng_between(&p->rng, p->config.jitter_ms_min, p->config.jitter_ms_max);
}

/* Soon, but not at the same moment as the others; later after each failure. */
void election_soon(struct paxos *p)
{
    p->election_at_ms = p->now_ms + jitter(p) * (1 + p->backoff);
}

/* Not before a lease that begins now has ended. */
void election_later(struct paxos *p)
{
    p->election_at_ms = p->now_ms + p->config.lease_ms + jitter(p);
}

bool disk_is_silent(const struct paxos *p)
{
    return p->issued > p->durable && p->now_ms - p->disk_heard_ms >= p->config.disk_stall_ms;
}

/* Gives up an attempt, or follows somebody better.  What a master must undo
 * stands in step_down(). */
void become_follower(struct paxos *p)
{
    assert(p->role == PAXOS_PREVOTER || p->role == PAXOS_PREPARER);
    if (p->role == PAXOS_PREPARER) {
        log_drop_carries(p);
    }
    p->role = PAXOS_FOLLOWER;
    election_soon(p);
}

static void attempt_failed(struct paxos *p)
{
    p->backoff += p->backoff < 7;
    become_follower(p);
}

/* Above everything that this store ever promised, led under or heard of. */
static struct paxos_ballot next_ballot(const struct paxos *p)
{
    uint64_t round = p->round_seen;
    if (p->hard.promised.round > round) {
        round = p->hard.promised.round;
    }
    if (p->hard.round_max > round) {
        round = p->hard.round_max;
    }
    if (mutant(ballot_reused) && p->hard.promised.id == p->config.self &&
        p->hard.promised.round == round && p->round_seen < round) {
        round--;
    }
    assert(round + 1 < UINT64_C(1) << PAXOS_ROUND_BITS);
    return (struct paxos_ballot){.round = round + 1, .id = p->config.self};
}

static void ask_for_votes(struct paxos *p)
{
    p->resend_at_ms = p->now_ms + p->config.heartbeat_ms;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i == p->self || p->peer[i].prevoted) {
            continue;
        }
        struct paxos_message m = message_to(p, i, PAXOS_MSG_PREVOTE);
        m.ballot = p->ballot;
        m.released = p->released;
        m.slot = p->chosen + 1;
        send_at_once(p, &m);
    }
}

static void ask_to_prepare(struct paxos *p)
{
    p->resend_at_ms = p->now_ms + p->config.heartbeat_ms;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i == p->self || p->peer[i].promised) {
            continue;
        }
        struct paxos_message m = message_to(p, i, PAXOS_MSG_PREPARE);
        m.ballot = p->ballot;
        m.released = p->released;
        m.slot = p->chosen + 1;
        send_when_durable(p, mutant(prepare_before_sync) ? 0 : p->hard_ticket, &m);
    }
}

/* Phase 1.  Our own promise is durable before the Prepare leaves: a ballot that
 * a crash could make us use twice would have two values for one slot. */
static void start_prepare(struct paxos *p)
{
    assert(p->role == PAXOS_PREVOTER);
    assert(ballot_below(p->hard.promised, p->ballot) || mutant(ballot_reused));
    p->role = PAXOS_PREPARER;
    p->campaign_until_ms = p->now_ms + p->config.lease_ms + jitter(p);
    p->hard.promised = p->ballot;
    p->hard.round_max = p->ballot.round;
    mark_hard(p);
    note(p, PAXOS_NOTE_PREPARING, p->ballot.round, 0);
    for (uint32_t i = 0; i < PAXOS_MEMBERS_MAX; i++) {
        p->peer[i].parts = 0;
        p->peer[i].parts_from = 0;
        p->peer[i].promised = false;
    }
    ask_to_prepare(p);
    count_own_promise(p);
}

static void prevote_counted(struct paxos *p)
{
    uint32_t votes = 0;
    for (uint32_t i = 0; i < member_count(p); i++) {
        votes += p->peer[i].prevoted;
    }
    if (votes >= quorum(p)) {
        start_prepare(p);
    }
}

void start_prevote(struct paxos *p)
{
    assert(p->role == PAXOS_FOLLOWER);
    p->role = PAXOS_PREVOTER;
    p->followed = (struct paxos_ballot){0};
    p->ballot = next_ballot(p);
    p->campaign_until_ms = p->now_ms + p->config.lease_ms / 2 + jitter(p);
    for (uint32_t i = 0; i < PAXOS_MEMBERS_MAX; i++) {
        p->peer[i].prevoted = i == p->self;
    }
    note(p, PAXOS_NOTE_PREVOTING, p->ballot.round, 0);
    ask_for_votes(p);
    prevote_counted(p);
}

enum paxos_drop on_prevote_ok(struct paxos *p, const struct paxos_message *m)
{
    if (p->role != PAXOS_PREVOTER) {
        return PAXOS_DROP_WRONG_ROLE;
    }
    if (!ballot_equal(m->ballot, p->ballot)) {
        return PAXOS_DROP_OTHER_BALLOT;
    }
    p->peer[member_index(p, m->from)].prevoted = true;
    prevote_counted(p);
    return PAXOS_DROP_NONE;
}

static void promise_counted(struct paxos *p)
{
    uint32_t promises = 0;
    for (uint32_t i = 0; i < member_count(p); i++) {
        promises += p->peer[i].promised;
    }
    if (p->role == PAXOS_PREPARER && promises >= quorum(p)) {
        become_master(p);
    }
}

/* Our own promise counts when it is durable, with the votes it reports. */
void count_own_promise(struct paxos *p)
{
    if (p->role != PAXOS_PREPARER || p->peer[p->self].promised ||
        (p->durable < p->hard_ticket && !mutant(prepare_before_sync))) {
        return;
    }
    for (paxos_slot slot = p->chosen + 1; slot <= p->last; slot++) {
        const struct log_slot *at = log_look(p, slot);
        if (at != NULL && at->vote.slot != 0 && !mutant(own_votes_not_carried) &&
            !log_carry(p, &at->vote)) {
            attempt_failed(p);
            return;
        }
    }
    p->peer[p->self].promised = true;
    promise_counted(p);
}

enum paxos_drop on_promise(struct paxos *p, const struct paxos_message *m)
{
    if (p->role != PAXOS_PREPARER) {
        return PAXOS_DROP_WRONG_ROLE;
    }
    if (!ballot_equal(m->ballot, p->ballot)) {
        return PAXOS_DROP_OTHER_BALLOT;
    }
    if (m->parts == 0 || m->parts > PAXOS_PARTS_MAX || m->part >= m->parts) {
        return PAXOS_DROP_MALFORMED;
    }
    struct peer *peer = &p->peer[member_index(p, m->from)];
    if (peer->promised) {
        return PAXOS_DROP_DUPLICATE;
    }
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct paxos_entry *entry = &m->entries[i];
        if (entry->slot <= p->chosen || mutant(value_not_carried)) {
            continue;
        }
        if (!log_in_reach(p, entry->slot)) {
            return PAXOS_DROP_OUT_OF_WINDOW;
        }
        if (!log_carry(p, entry)) {
            return PAXOS_DROP_NO_ROOM;
        }
    }
    /* A promise in parts counts with its last part.  Parts of another answer, from
     * before we learnt more and asked again, are cut at other slots. */
    if (peer->parts_from != m->slot) {
        peer->parts_from = m->slot;
        peer->parts = 0;
    }
    peer->parts |= UINT64_C(1) << m->part;
    const uint64_t all =
        m->parts == PAXOS_PARTS_MAX ? UINT64_MAX : (UINT64_C(1) << m->parts) - 1;
    peer->promised = peer->parts == all;
    promise_counted(p);
    return PAXOS_DROP_NONE;
}

/* Somebody has promised more, or knows more chosen, than we do. */
enum paxos_drop on_reject(struct paxos *p, const struct paxos_message *m)
{
    if (m->ballot.round > p->round_seen) {
        p->round_seen = m->ballot.round;
    }
    const bool outbid = ballot_below(p->ballot, m->ballot);
    learn_elsewhere(p, m->from, m->chosen);
    switch (p->role) {
    case PAXOS_PREVOTER:
    case PAXOS_PREPARER:
        if (outbid || m->chosen > p->chosen) {
            attempt_failed(p);
        }
        return PAXOS_DROP_NONE;
    case PAXOS_MASTER:
        /* "A master whose member rejects its ballot takes a higher one." */
        if (outbid && !mutant(outbid_ignored)) {
            step_down(p, PAXOS_DOWN_OUTBID);
            if (!p->retiring && !disk_is_silent(p)) {
                start_prevote(p);
            }
        }
        return PAXOS_DROP_NONE;
    case PAXOS_FORMING:
    case PAXOS_FOLLOWER:
        return PAXOS_DROP_WRONG_ROLE;
    }
    return PAXOS_DROP_NONE;
}

static bool may_campaign(const struct paxos *p)
{
    return !p->retiring && p->now_ms >= p->election_at_ms && p->now_ms >= p->lease_until_ms &&
           (p->now_ms >= p->quarantine_until_ms || mutant(lease_not_waited_out)) &&
           !disk_is_silent(p);
}

void election_tick(struct paxos *p)
{
    switch (p->role) {
    case PAXOS_FOLLOWER:
        if (may_campaign(p)) {
            start_prevote(p);
        }
        return;
    case PAXOS_PREVOTER:
    case PAXOS_PREPARER:
        if (p->now_ms >= p->campaign_until_ms || p->retiring) {
            attempt_failed(p);
        } else if (p->now_ms >= p->resend_at_ms) {
            if (p->role == PAXOS_PREVOTER) {
                ask_for_votes(p);
            } else {
                ask_to_prepare(p);
            }
        }
        return;
    case PAXOS_FORMING:
    case PAXOS_MASTER:
        return;
    }
}
