/* SPDX-License-Identifier: Apache-2.0
 *
 * Phase 2: what a master proposes, and how a slot comes to be chosen.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

static void send_accept(struct paxos *p, uint32_t peer, const struct paxos_entry *entry)
{
    struct paxos_message m = message_to(p, peer, PAXOS_MSG_ACCEPT);
    m.ballot = p->ballot;
    m.lease_ms = p->config.lease_ms;
    m.firm = p->hard.members.settings.firm;
    m.entries = entry;
    m.entries_count = 1;
    send_at_once(p, &m);
}

/* To all who have not voted yet.  The entry is copied: a later event of this
 * turn may put another vote in its place. */
static void send_accepts(struct paxos *p, struct log_slot *at)
{
    at->sent_ms = p->now_ms;
    struct paxos_entry *entry = entries_take(p, 1);
    if (entry == NULL) {
        return; /* Sent again in a while. */
    }
    *entry = at->vote;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i != p->self && (at->voters & UINT32_C(1) << i) == 0) {
            send_accept(p, i, entry);
        }
    }
}

/* Our own vote and the Accepts.  The Accepts leave at once, so that the others'
 * disks work while ours does; the vote counts when it is durable. */
bool propose_value(struct paxos *p, paxos_slot slot, const struct paxos_value *value)
{
    assert(p->role == PAXOS_MASTER);
    assert(ballot_equal(p->ballot, p->hard.promised) || mutant(vote_below_promise));
    if (!log_vote(p, slot, p->ballot, value)) {
        return false;
    }
    send_accepts(p, log_peek(p, slot));
    return true;
}

static struct paxos_value self_made(const struct paxos *p, enum paxos_kind kind)
{
    struct paxos_value value = {.kind = kind, .epoch = paxos_epoch(p->ballot)};
    value.checksum = paxos_value_checksum(&value);
    return value;
}

/* An entry of our own.  Until it is chosen and applied we serve nothing: only
 * then do we know that the prefix is complete (PML, 4.2 and 5.2). */
void master_propose_first(struct paxos *p)
{
    if (!p->first_pending || p->last >= p->chosen + PAXOS_WINDOW) {
        return;
    }
    const struct paxos_value value = self_made(p, PAXOS_FIRST);
    const bool proposed = p->last == 0 ? propose_founding(p) : propose_value(p, p->last + 1, &value);
    if (proposed) {
        p->first_pending = false;
        p->first_slot = p->last;
    }
}

/* "Because these are consecutive, the leader can propose a no-op for the gaps"
 * (after PMS, section 3): the highest-ballot value of each slot, no-ops in the
 * holes, all under our ballot. */
static bool carry_forward(struct paxos *p)
{
    paxos_slot last = p->chosen;
    for (paxos_slot slot = p->chosen + 1; slot <= p->chosen + PAXOS_WINDOW; slot++) {
        const struct log_slot *at = log_look(p, slot);
        if (at != NULL && at->carry.slot != 0) {
            last = slot;
        }
    }
    const struct paxos_value noop = self_made(p, PAXOS_NOOP);
    for (paxos_slot slot = p->chosen + 1; slot <= last; slot++) {
        const struct log_slot *at = log_look(p, slot);
        const bool carried = at != NULL && at->carry.slot != 0;
        bool proposed;
        if (carried) {
            proposed = propose_value(p, slot, &at->carry.value);
        } else if (slot == 1) {
            proposed = propose_founding(p); /* Slot 1 names the cell, whoever fills it. */
        } else if (mutant(hole_not_filled)) {
            proposed = true;
        } else {
            proposed = propose_value(p, slot, &noop);
        }
        if (!proposed) {
            return false;
        }
    }
    return true;
}

void become_master(struct paxos *p)
{
    assert(p->role == PAXOS_PREPARER);
    p->role = PAXOS_MASTER;
    p->followed = p->ballot;
    p->serving = mutant(serve_before_first);
    p->releasing = false;
    p->first_pending = true;
    p->first_slot = 0;
    p->backoff = 0;
    note(p, PAXOS_NOTE_LEADING, p->ballot.round, 0);
    mastership_start(p);
    if (!carry_forward(p)) {
        step_down(p, PAXOS_DOWN_NO_CONTACT); /* No room: impossible by the arena's size. */
        return;
    }
    log_drop_carries(p);
    master_propose_first(p);
    begin_round(p);
}

static bool decided(const struct paxos *p, const struct log_slot *at)
{
    return (uint32_t)__builtin_popcount(at->voters) >= quorum(p);
}

static void advance_chosen(struct paxos *p)
{
    paxos_slot to = p->chosen;
    for (const struct log_slot *at = log_look(p, to + 1);
         at != NULL && at->vote.slot != 0 && ballot_equal(at->vote.ballot, p->ballot) &&
         decided(p, at);
         at = log_look(p, to + 1)) {
        to++;
    }
    if (to > p->chosen) {
        chosen_up_to(p, to);
        master_propose_first(p);
    }
}

enum paxos_drop on_vote(struct paxos *p, const struct paxos_message *m)
{
    if (p->role != PAXOS_MASTER) {
        return PAXOS_DROP_WRONG_ROLE;
    }
    if (!ballot_equal(m->ballot, p->ballot)) {
        return PAXOS_DROP_OTHER_BALLOT;
    }
    if (m->slot <= p->chosen) {
        return PAXOS_DROP_ALREADY_CHOSEN;
    }
    struct log_slot *at = log_peek(p, m->slot);
    if (at == NULL || at->vote.slot == 0 || !ballot_equal(at->vote.ballot, p->ballot)) {
        return PAXOS_DROP_OUT_OF_WINDOW;
    }
    if (at->vote.value.checksum != m->checksum && !mutant(vote_checksum_ignored)) {
        return PAXOS_DROP_OTHER_VALUE;
    }
    const uint32_t vote = UINT32_C(1) << member_index(p, m->from);
    const bool again = mutant(duplicate_vote_counted) && (at->voters & vote) != 0;
    at->voters |= again ? at->voters + 1 : vote;
    advance_chosen(p);
    return PAXOS_DROP_NONE;
}

/* Our own votes that have become durable. */
void master_count_own(struct paxos *p)
{
    if (p->role != PAXOS_MASTER) {
        return;
    }
    for (paxos_slot slot = p->chosen + 1; slot <= p->last; slot++) {
        struct log_slot *at = log_peek(p, slot);
        if (at != NULL && at->vote.slot != 0 && ballot_equal(at->vote.ballot, p->ballot) &&
            (at->ticket <= p->durable || mutant(own_vote_before_sync))) {
            at->voters |= UINT32_C(1) << p->self;
        }
    }
    advance_chosen(p);
}

/* Accepts that a broken connection may have swallowed. */
void master_resend(struct paxos *p)
{
    for (paxos_slot slot = p->chosen + 1; slot <= p->last; slot++) {
        struct log_slot *at = log_peek(p, slot);
        if (at != NULL && at->vote.slot != 0 && ballot_equal(at->vote.ballot, p->ballot) &&
            p->now_ms - at->sent_ms >= 2 * (uint64_t)p->config.heartbeat_ms &&
            !mutant(accepts_not_resent)) {
            send_accepts(p, at);
        }
    }
}

enum paxos_rc paxos_propose(struct paxos *p, uint64_t now_ms, uint64_t wall_ms, struct bytes data,
                            paxos_slot *ret_slot)
{
    assert(!p->handed_out && now_ms >= p->now_ms);
    p->now_ms = now_ms;
    step_down_if_away(p);
    if (p->role != PAXOS_MASTER || !p->serving || p->releasing || p->retiring) {
        return PAXOS_NOT_MASTER;
    }
    if (data.size > p->config.value_max) {
        return PAXOS_TOO_BIG;
    }
    const paxos_slot slot = p->last + 1;
    struct paxos_value value = {.kind = PAXOS_COMMANDS,
                                .epoch = paxos_epoch(p->ballot),
                                .wall_ms = wall_ms,
                                .data = data};
    if (p->first_pending || !log_in_reach(p, slot)) {
        return PAXOS_BUSY;
    }
    value.checksum = paxos_value_checksum(&value);
    if (!propose_value(p, slot, &value)) {
        return PAXOS_BUSY;
    }
    *ret_slot = slot;
    return PAXOS_OK;
}
