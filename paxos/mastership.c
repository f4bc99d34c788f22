/* SPDX-License-Identifier: Apache-2.0
 *
 * Staying master, proving it, and giving it away.
 *
 * A *confirmation round* is one exchange of heartbeats: named by a number and
 * the ballot, answered by a majority that still follows the ballot.  It proves
 * that at some moment after it began nobody else could have had anything chosen,
 * so a read that arrived before it began may be answered from our state.  It
 * needs no disk and no clock.
 *
 * The *master lease* (PML, 5.2) rides on the same messages: an acceptor counts
 * from when it steps the heartbeat, we count from when we *sent* it, shortened
 * by the assumed drift.  So ours ends first.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

static bool is_firm(const struct paxos *p)
{
    return p->hard.members.settings.firm;
}

/* We are an acceptor too, and promise to ourselves what we ask of the others. */
static void grant_to_self(struct paxos *p)
{
    p->lease_ballot = p->ballot;
    p->lease_incarnation = p->config.incarnation;
    p->lease_firm = is_firm(p);
    p->lease_until_ms = p->now_ms + p->config.lease_ms;
    if (is_firm(p) && p->config.lease_ms > p->hard.firm_ms_max) {
        p->hard.firm_ms_max = p->config.lease_ms;
        mark_hard(p);
    }
}

void mastership_start(struct paxos *p)
{
    p->heartbeat_at_ms = p->now_ms;
    p->contact_ms = p->now_ms;
    p->lease_from_ms = 0;
    p->round_base = p->round_begun; /* Rounds of an older ballot confirm nothing any more. */
    p->round_wanted = false;
    for (uint32_t i = 0; i < PAXOS_MEMBERS_MAX; i++) {
        p->peer[i].round = 0;
        p->peer[i].stamp_incarnation = 0;
        p->peer[i].durable = 0;
    }
}

/* Begun under this ballot and not yet confirmed. */
uint64_t rounds_running(const struct paxos *p)
{
    const uint64_t settled =
        p->round_confirmed > p->round_base ? p->round_confirmed : p->round_base;
    return p->round_begun - settled;
}

void begin_round(struct paxos *p)
{
    assert(p->role == PAXOS_MASTER);
    p->heartbeat_at_ms = p->now_ms + p->config.heartbeat_ms;
    if (rounds_running(p) >= ROUNDS_MAX - 1) {
        return;
    }
    p->round_begun++;
    p->round_wanted = false;
    p->round_sent_ms[p->round_begun % ROUNDS_MAX] = p->now_ms;
    grant_to_self(p);
    master_compute_trim(p);
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i == p->self) {
            continue;
        }
        struct paxos_message m = message_to(p, i, PAXOS_MSG_HEARTBEAT);
        m.ballot = p->ballot;
        m.round = p->round_begun;
        m.confirmed = p->round_confirmed > p->round_base ? p->round_confirmed : 0;
        if (p->serving) {
            m.stamp_ms = p->peer[i].stamp_ms;
            m.stamp_incarnation = p->peer[i].stamp_incarnation;
        }
        m.trim = p->trim;
        m.lease_ms = p->config.lease_ms;
        m.firm = is_firm(p);
        send_at_once(p, &m);
    }
    count_rounds(p);
}

/* The highest round that a majority has answered; an answer to a round answers
 * all before it.  Our own answer rests on our own disk like anybody's. */
void count_rounds(struct paxos *p)
{
    p->peer[p->self].round = p->hard_ticket <= p->durable ? p->round_begun : 0;
    uint64_t confirmed = p->round_confirmed;
    for (uint32_t i = 0; i < member_count(p); i++) {
        const uint64_t round = p->peer[i].round;
        uint32_t answered = 0;
        for (uint32_t j = 0; j < member_count(p); j++) {
            answered += p->peer[j].round >= round;
        }
        if (answered >= quorum(p) && round > confirmed && round > p->round_base) {
            confirmed = round;
        }
    }
    if (confirmed > p->round_confirmed) {
        assert(confirmed <= p->round_begun && p->round_begun - confirmed < ROUNDS_MAX);
        p->round_confirmed = confirmed;
        const uint64_t sent = p->round_sent_ms[confirmed % ROUNDS_MAX];
        p->contact_ms = sent;
        p->lease_from_ms = mutant(lease_from_receipt) ? p->now_ms : sent;
        fresh_confirmed(p);
    }
}

enum paxos_drop on_heartbeat_ack(struct paxos *p, const struct paxos_message *m)
{
    struct peer *peer = &p->peer[member_index(p, m->from)];
    if (p->role != PAXOS_MASTER) {
        return PAXOS_DROP_WRONG_ROLE;
    }
    if (!ballot_equal(m->ballot, p->ballot)) {
        return PAXOS_DROP_OTHER_BALLOT;
    }
    if (m->round > p->round_begun) {
        return PAXOS_DROP_MALFORMED;
    }
    if (m->durable > peer->durable) {
        peer->durable = m->durable;
    }
    if (m->round <= peer->round) {
        return PAXOS_DROP_DUPLICATE;
    }
    peer->round = m->round;
    peer->stamp_ms = m->stamp_ms;
    peer->stamp_incarnation = m->incarnation;
    count_rounds(p);
    learn_elsewhere(p, m->from, m->chosen);
    return PAXOS_DROP_NONE;
}

/* "Never past what every member has durable until snapshots exist." */
void master_compute_trim(struct paxos *p)
{
    p->peer[p->self].durable = known_durable(p);
    paxos_slot trim = p->peer[p->self].durable;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (p->peer[i].durable < trim && !mutant(trimmed_under_laggard)) {
            trim = p->peer[i].durable;
        }
    }
    if (trim > p->trim) {
        p->trim = trim;
    }
}

bool paxos_lease_valid(const struct paxos *p, uint64_t now_ms)
{
    if (p->role != PAXOS_MASTER || !p->serving || !is_firm(p) || p->lease_from_ms == 0) {
        return false;
    }
    const uint64_t length = p->config.lease_ms;
    const uint64_t drift = (length * p->hard.members.settings.drift_ppm + 999999) / 1000000;
    const uint64_t at_ms = mutant(lease_checked_early) ? p->now_ms : now_ms;
    return at_ms < p->lease_from_ms + length - drift;
}

enum paxos_rc paxos_confirm(struct paxos *p, uint64_t now_ms, bool urgent, uint64_t *ret_round)
{
    assert(!p->handed_out && now_ms >= p->now_ms);
    p->now_ms = now_ms;
    step_down_if_away(p);
    if (p->role != PAXOS_MASTER || !p->serving || p->retiring) {
        return PAXOS_NOT_MASTER;
    }
    p->round_wanted |= urgent;
    *ret_round = mutant(round_before_read) ? p->round_begun : p->round_begun + 1;
    return PAXOS_OK;
}

/* No longer master, for whatever reason.  What we promised to ourselves we give
 * back; the others wait until their promise has run out. */
void step_down(struct paxos *p, enum paxos_down reason)
{
    assert(p->role == PAXOS_MASTER);
    p->role = PAXOS_FOLLOWER;
    p->serving = false;
    p->releasing = false;
    p->first_pending = false;
    p->lease_from_ms = 0;
    if (ballot_equal(p->lease_ballot, p->ballot)) {
        p->lease_until_ms = p->now_ms;
    }
    if (ballot_equal(p->followed, p->ballot)) {
        p->followed = (struct paxos_ballot){0};
    }
    log_drop_carries(p);
    note(p, PAXOS_NOTE_STEPPED_DOWN, reason, 0);
    election_soon(p);
}

/* Whoever of those heard within the lease has most on its disk. */
static uint32_t successor(const struct paxos *p)
{
    uint32_t best = NO_PEER;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i == p->self || p->peer[i].heard_ms + p->config.lease_ms < p->now_ms) {
            continue;
        }
        if (best == NO_PEER || p->peer[i].durable > p->peer[best].durable) {
            best = i;
        }
    }
    return best;
}

/* From the moment this is sent we answer nothing as master. */
static void release_now(struct paxos *p, enum paxos_down reason)
{
    const uint32_t heir = successor(p);
    p->released = p->ballot;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i == p->self) {
            continue;
        }
        struct paxos_message m = message_to(p, i, PAXOS_MSG_RELEASE);
        m.ballot = p->ballot;
        m.part = heir == NO_PEER ? 0 : p->hard.members.member[heir].id;
        send_at_once(p, &m);
    }
    note(p, PAXOS_NOTE_RELEASED, p->ballot.round, 0);
    step_down(p, reason);
    election_later(p);
}

/* Clean shutdown: propose nothing more, let the window drain, then release. */
void hand_over(struct paxos *p)
{
    p->retiring = true;
    if (p->role == PAXOS_MASTER && !p->releasing) {
        p->releasing = true;
        p->release_by_ms = p->now_ms + p->config.lease_ms;
    }
    if (p->role == PAXOS_PREVOTER || p->role == PAXOS_PREPARER) {
        become_follower(p); /* Else it could win, and nobody would be served. */
    }
}

/* Nothing is ever added to a right of one's own: a master that was away for
 * longer than its lease is none, whatever has come for it meanwhile. */
void step_down_if_away(struct paxos *p)
{
    if (p->role == PAXOS_MASTER && p->now_ms - p->contact_ms > p->config.lease_ms) {
        step_down(p, PAXOS_DOWN_NO_CONTACT);
    }
}

void mastership_tick(struct paxos *p)
{
    if (p->role != PAXOS_MASTER) {
        return;
    }
    if (disk_is_silent(p) && member_count(p) > 1) {
        note(p, PAXOS_NOTE_DISK_SILENT, p->now_ms - p->disk_heard_ms, 0);
        release_now(p, PAXOS_DOWN_DISK);
        return;
    }
    const bool drained = p->last == p->chosen && p->applied == p->chosen && !p->first_pending;
    if (p->releasing && (drained || p->now_ms >= p->release_by_ms)) {
        release_now(p, PAXOS_DOWN_RELEASED);
        return;
    }
    if (p->now_ms >= p->heartbeat_at_ms) {
        master_resend(p);
        begin_round(p);
    }
}
