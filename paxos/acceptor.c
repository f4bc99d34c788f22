/* SPDX-License-Identifier: Apache-2.0
 *
 * What I may promise and what I may vote (PMS, 2.2 and 2.3), and what I have
 * promised to the master whose heartbeat I answered: for the length it asked
 * for, I let nobody else come up (PML, 5.2).
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

/* Is somebody else's lease in the way of raising my promise to `m`'s ballot? */
static bool leased_against(const struct paxos *p, const struct paxos_message *m)
{
    if (p->now_ms >= p->lease_until_ms) {
        return false;
    }
    const bool same_holder =
        m->from == p->lease_ballot.id && m->incarnation == p->lease_incarnation;
    const bool given_back = p->lease_ballot.round != 0 &&
                            (ballot_equal(m->released, p->lease_ballot) ||
                             ballot_equal(p->released, p->lease_ballot));
    return !same_holder && !given_back;
}

/* A restarted acceptor no longer knows whom it protects, so it protects all. */
static bool in_quarantine(const struct paxos *p)
{
    return p->now_ms < p->quarantine_until_ms && !mutant(lease_not_waited_out);
}

static void reject(struct paxos *p, const struct paxos_message *m)
{
    struct paxos_message no = message_to(p, member_index(p, m->from), PAXOS_MSG_REJECT);
    no.ballot = p->hard.promised;
    no.slot = m->slot;
    send_when_durable(p, p->hard_ticket, &no);
}

/* What a pre-vote and a Prepare have in common.  "An acceptor that knows more
 * chosen answers with that knowledge": it reports nothing about slots that it
 * may already have trimmed. */
static enum paxos_drop may_promise(const struct paxos *p, const struct paxos_message *m)
{
    if (in_quarantine(p)) {
        return PAXOS_DROP_QUARANTINE;
    }
    if (leased_against(p, m)) {
        return PAXOS_DROP_LEASED;
    }
    if (m->slot <= p->chosen && !mutant(trimmed_reported_empty)) {
        return PAXOS_DROP_BEHIND;
    }
    return PAXOS_DROP_NONE;
}

/* Nobody's promise moves, so a replica that can't win disturbs nobody. */
enum paxos_drop on_prevote(struct paxos *p, const struct paxos_message *m)
{
    if (m->ballot.id != m->from) {
        return PAXOS_DROP_MALFORMED;
    }
    enum paxos_drop drop = may_promise(p, m);
    if (drop == PAXOS_DROP_NONE && !ballot_below(p->hard.promised, m->ballot)) {
        drop = PAXOS_DROP_OLD_BALLOT;
    }
    if (drop == PAXOS_DROP_OLD_BALLOT || drop == PAXOS_DROP_BEHIND) {
        reject(p, m);
    }
    if (m->slot > p->chosen + 1) {
        learn_elsewhere(p, m->from, m->slot - 1);
    }
    if (drop != PAXOS_DROP_NONE) {
        return drop;
    }
    struct paxos_message yes = message_to(p, member_index(p, m->from), PAXOS_MSG_PREVOTE_OK);
    yes.ballot = m->ballot;
    send_at_once(p, &yes);
    return PAXOS_DROP_NONE;
}

static void raise_promise(struct paxos *p, struct paxos_ballot ballot)
{
    assert(ballot_below(p->hard.promised, ballot));
    p->hard.promised = ballot;
    if (!mutant(implied_promise_unstored)) {
        mark_hard(p);
    }
    if (p->role != PAXOS_FOLLOWER) {
        if (p->role == PAXOS_MASTER) {
            step_down(p, PAXOS_DOWN_OUTBID);
        } else {
            become_follower(p);
        }
    }
}

enum paxos_drop on_prepare(struct paxos *p, const struct paxos_message *m)
{
    if (m->ballot.id != m->from) {
        return PAXOS_DROP_MALFORMED;
    }
    if (ballot_below(m->ballot, p->hard.promised)) {
        reject(p, m);
        return PAXOS_DROP_OLD_BALLOT;
    }
    if (ballot_below(p->hard.promised, m->ballot)) {
        const enum paxos_drop drop = may_promise(p, m);
        if (drop == PAXOS_DROP_BEHIND) {
            reject(p, m);
        }
        if (drop != PAXOS_DROP_NONE) {
            return drop;
        }
        raise_promise(p, m->ballot);
        p->followed = (struct paxos_ballot){0};
        election_later(p); /* Let the candidate finish. */
    }

    /* The promise leaves after every vote stepped before it, those that are
     * still on their way to the disk included. */
    struct paxos_message promise = message_to(p, member_index(p, m->from), PAXOS_MSG_PROMISE);
    promise.ballot = m->ballot;
    promise.slot = m->slot;
    send_when_durable(p, mutant(promise_before_sync) ? 0 : ticket_now(p), &promise);
    return PAXOS_DROP_NONE;
}

/* The votes that a promise reports: all above what is chosen here. */
static uint32_t collect_votes(struct paxos *p, const struct waiting *w, paxos_slot from,
                              struct paxos_entry **ret_entries)
{
    struct paxos_entry *entries = entries_take(p, PAXOS_WINDOW);
    *ret_entries = entries;
    uint32_t count = 0;
    for (paxos_slot slot = from; entries != NULL && slot <= p->last; slot++) {
        const struct log_slot *at = log_look(p, slot);
        if (at == NULL || at->vote.slot == 0) {
            continue;
        }
        if (mutant(promise_omits_unsynced) && at->ticket > w->durable_then) {
            continue;
        }
        assert(count < PAXOS_WINDOW);
        entries[count++] = at->vote;
    }
    return count;
}

/* Sends the promise in as many parts as its data needs.  Called when what it
 * rests on is durable, and only if the promise still stands. */
void let_out_promise(struct paxos *p, const struct waiting *w)
{
    struct paxos_message m = w->message;
    assert(ballot_equal(m.ballot, p->hard.promised));
    m.chosen = p->chosen;
    if (m.slot <= p->chosen && !mutant(trimmed_reported_empty)) {
        m.type = PAXOS_MSG_REJECT; /* We have learnt more than the candidate knows. */
        put_released(p, &m);
        return;
    }
    struct paxos_entry *entries;
    const uint32_t count =
        collect_votes(p, w, m.slot > p->chosen ? m.slot : p->chosen + 1, &entries);
    if (entries == NULL) {
        return; /* No room in this batch; the candidate asks again. */
    }

    uint32_t cuts[PAXOS_WINDOW + 1] = {0};
    uint16_t parts = 0;
    for (uint32_t i = 0; i < count; cuts[++parts] = i) {
        size_t octets = entries[i++].value.data.size;
        while (i < count && octets + entries[i].value.data.size <= PAXOS_MESSAGE_BYTES) {
            octets += entries[i++].value.data.size;
        }
    }
    m.parts = parts == 0 ? 1 : parts;
    for (m.part = 0; m.part < m.parts; m.part++) {
        m.entries = &entries[cuts[m.part]];
        m.entries_count = parts == 0 ? 0 : cuts[m.part + 1] - cuts[m.part];
        put_released(p, &m);
    }
}

/* From now on, and for as long as the master asks, nobody else comes up. */
static void grant_lease(struct paxos *p, const struct paxos_message *m)
{
    if (ballot_equal(m->ballot, p->released)) {
        return; /* A late message of a mastership that was given back. */
    }
    p->lease_ballot = m->ballot;
    p->lease_incarnation = m->incarnation;
    p->lease_firm = m->firm;
    const uint64_t until = p->now_ms + m->lease_ms;
    if (until > p->lease_until_ms) {
        p->lease_until_ms = until;
    }
    if (m->firm && m->lease_ms > p->hard.firm_ms_max) {
        p->hard.firm_ms_max = m->lease_ms;
        mark_hard(p);
    }
}

/* The master of `m->ballot` speaks; follow it.  Drops what it must not. */
static enum paxos_drop follow(struct paxos *p, const struct paxos_message *m)
{
    if (m->ballot.id != m->from) {
        return PAXOS_DROP_MALFORMED;
    }
    if (ballot_below(m->ballot, p->hard.promised)) {
        reject(p, m);
        return PAXOS_DROP_OLD_BALLOT;
    }
    if (ballot_below(p->hard.promised, m->ballot)) {
        /* To vote is to promise. */
        if (in_quarantine(p)) {
            return PAXOS_DROP_QUARANTINE;
        }
        if (p->lease_firm && leased_against(p, m)) {
            return PAXOS_DROP_LEASED;
        }
        raise_promise(p, m->ballot);
    }
    assert(p->role != PAXOS_MASTER); /* Our own ballot has our own id. */
    if (p->role == PAXOS_PREVOTER || p->role == PAXOS_PREPARER) {
        become_follower(p);
    }
    if (!ballot_equal(p->followed, m->ballot)) {
        p->followed = m->ballot;
        note(p, PAXOS_NOTE_FOLLOWING, m->ballot.id, m->ballot.round);
    }
    p->backoff = 0;
    grant_lease(p, m);
    election_later(p);
    return PAXOS_DROP_NONE;
}

enum paxos_drop on_accept(struct paxos *p, const struct paxos_message *m)
{
    if (m->entries_count != 1) {
        return PAXOS_DROP_MALFORMED;
    }
    const struct paxos_entry *entry = &m->entries[0];
    const bool low = mutant(vote_below_promise) && ballot_below(m->ballot, p->hard.promised);
    if (!low) {
        const enum paxos_drop drop = follow(p, m);
        if (drop != PAXOS_DROP_NONE) {
            return drop;
        }
    }
    /* First what is chosen: the master's window begins there, and ours with it. */
    learn_mark(p, m->from, m->ballot, m->chosen);
    if (entry->slot <= p->chosen) {
        reject(p, m); /* With our chosen mark: the master may not know yet. */
        return PAXOS_DROP_ALREADY_CHOSEN;
    }
    if (!log_in_reach(p, entry->slot)) {
        return PAXOS_DROP_OUT_OF_WINDOW;
    }
    if (entry->slot == 1 && !founding_agrees(p, &entry->value)) {
        return PAXOS_DROP_OTHER_MEMBERS;
    }
    struct log_slot *at = log_peek(p, entry->slot);
    const bool again = at != NULL && at->vote.slot != 0 && ballot_equal(at->vote.ballot, m->ballot);
    if (again && at->vote.value.checksum != entry->value.checksum) {
        return PAXOS_DROP_MALFORMED;
    }
    if (!again && !log_vote(p, entry->slot, m->ballot, &entry->value)) {
        return PAXOS_DROP_NO_ROOM;
    }
    at = log_peek(p, entry->slot);
    struct paxos_message vote = message_to(p, member_index(p, m->from), PAXOS_MSG_VOTE);
    vote.ballot = m->ballot;
    vote.slot = entry->slot;
    vote.checksum = entry->value.checksum;
    /* The promise that the vote implies must be as durable as the vote. */
    const uint64_t rests_on = at->ticket > p->hard_ticket ? at->ticket : p->hard_ticket;
    send_when_durable(p, mutant(vote_before_sync) ? 0 : rests_on, &vote);
    return again ? PAXOS_DROP_DUPLICATE : PAXOS_DROP_NONE;
}

enum paxos_drop on_heartbeat(struct paxos *p, const struct paxos_message *m)
{
    const enum paxos_drop drop = follow(p, m);
    if (drop != PAXOS_DROP_NONE) {
        return drop;
    }
    if (m->trim > p->trim) {
        p->trim = m->trim;
    }
    learn_mark(p, m->from, m->ballot, m->chosen);
    fresh_heard(p, m);
    struct paxos_message ack = message_to(p, member_index(p, m->from), PAXOS_MSG_HEARTBEAT_ACK);
    ack.ballot = m->ballot;
    ack.round = m->round;
    ack.durable = known_durable(p);
    ack.stamp_ms = p->now_ms;
    send_when_durable(p, p->hard_ticket, &ack);
    return PAXOS_DROP_NONE;
}

/* The master gave its lease back: whoever it names may campaign at once. */
enum paxos_drop on_release(struct paxos *p, const struct paxos_message *m)
{
    if (m->ballot.id != m->from) {
        return PAXOS_DROP_MALFORMED;
    }
    if (ballot_below(p->released, m->ballot)) {
        p->released = m->ballot;
    }
    learn_mark(p, m->from, m->ballot, m->chosen);
    if (ballot_equal(p->followed, m->ballot)) {
        p->followed = (struct paxos_ballot){0};
    }
    if (ballot_equal(p->lease_ballot, m->ballot)) {
        p->lease_until_ms = p->now_ms;
    }
    if (p->role == PAXOS_FOLLOWER && m->part == p->config.self) {
        p->election_at_ms = p->now_ms;
    }
    return PAXOS_DROP_NONE;
}

/* The master seems gone: nobody answers at its port, or its replica has come
 * back as a new process.  Only where nothing safe rests on the lease. */
void lease_cut_short(struct paxos *p, paxos_id id, uint64_t incarnation)
{
    if (p->lease_firm || p->lease_ballot.id != id || p->lease_incarnation == incarnation) {
        return;
    }
    if (p->followed.id == id) {
        p->followed = (struct paxos_ballot){0};
    }
    if (p->lease_until_ms > p->now_ms) {
        p->lease_until_ms = p->now_ms;
        if (p->role == PAXOS_FOLLOWER) {
            election_soon(p);
        }
    }
}
