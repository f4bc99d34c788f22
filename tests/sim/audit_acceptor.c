/* SPDX-License-Identifier: Apache-2.0
 *
 * What is checked where an acceptor speaks, where its disk keeps what it said,
 * and where a process starts from that disk.
 */
#include "tests/sim/audit_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* --------------------------------------------------------------- proposals */

static struct audit_proposal *proposal_of(struct world *w, paxos_slot slot,
                                          struct paxos_ballot ballot)
{
    struct audit *a = w->audit;
    for (uint32_t i = audit_slot(w, slot)->proposals; i != 0; i = a->proposals[i].next) {
        if (paxos_ballot_compare(a->proposals[i].ballot, ballot) == 0) {
            return &a->proposals[i];
        }
    }
    return NULL;
}

/* One value per ballot and slot, from whoever names it first. */
static struct audit_proposal *name_value(struct world *w, paxos_slot slot,
                                         struct paxos_ballot ballot, uint64_t checksum)
{
    struct audit *a = w->audit;
    struct audit_proposal *proposal = proposal_of(w, slot, ballot);
    if (proposal != NULL) {
        if (proposal->checksum != checksum) {
            world_fail(w, "one-value",
                       "two values in slot %" PRIu64 " under ballot %" PRIu64 ".%u", slot,
                       ballot.round, ballot.id);
        }
        return proposal;
    }
    if (a->proposals_count == a->proposals_capacity) {
        a->proposals_capacity *= 2;
        a->proposals = sim_resize(a->proposals, a->proposals_capacity * sizeof *a->proposals);
    }
    const uint32_t at = a->proposals_count++;
    a->proposals[at] = (struct audit_proposal){
        .next = audit_slot(w, slot)->proposals, .ballot = ballot, .checksum = checksum};
    audit_slot(w, slot)->proposals = at;
    return &a->proposals[at];
}

void audit_chosen(struct world *w, const struct replica *r, const struct paxos_entry *entry)
{
    const struct audit *a = w->audit;
    uint32_t most = 0;
    for (uint32_t i = audit_slot(w, entry->slot)->proposals; i != 0; i = a->proposals[i].next) {
        const struct audit_proposal *proposal = &a->proposals[i];
        const uint32_t voters = (uint32_t)__builtin_popcount(proposal->voters);
        if (proposal->checksum == entry->value.checksum && voters > most) {
            most = voters;
        }
    }
    if (most < plan_majority(&w->plan)) {
        world_fail(w, "majority",
                   "replica %u applies slot %" PRIu64 ", for whose value only %u durable votes "
                   "have been counted",
                   r->index + 1, entry->slot, most);
    }
}

/* ------------------------------------------------------------------- votes */

static struct audit_vote *vote_at(struct audit_vote **votes, uint64_t *count, paxos_slot slot)
{
    if (slot >= *count) {
        const uint64_t larger = slot + 256;
        *votes = sim_resize(*votes, larger * sizeof **votes);
        memset(*votes + *count, 0, (larger - *count) * sizeof **votes);
        *count = larger;
    }
    return &(*votes)[slot];
}

static void vote_sent(struct world *w, const struct replica *r, const struct paxos_message *m)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    const struct disk *d = &r->disk;
    if (m->slot > d->chosen_mark && m->slot > d->applied_slot) {
        const struct paxos_entry *row = disk_log_at(d, m->slot);
        if (row == NULL || paxos_ballot_compare(row->ballot, m->ballot) < 0) {
            world_fail(w, "durable",
                       "replica %u sends a vote in slot %" PRIu64 " that is not on its disk",
                       r->index + 1, m->slot);
        }
    }
    if (paxos_ballot_compare(m->ballot, me->promise_sent) < 0) {
        world_fail(w, "promise",
                   "replica %u votes in slot %" PRIu64 " under %" PRIu64
                   ".%u, below its promise of %" PRIu64 ".%u",
                   r->index + 1, m->slot, m->ballot.round, m->ballot.id, me->promise_sent.round,
                   me->promise_sent.id);
    }
    name_value(w, m->slot, m->ballot, m->checksum);
    struct audit_vote *vote = vote_at(&me->votes, &me->votes_count, m->slot);
    if (paxos_ballot_compare(vote->ballot, m->ballot) < 0) {
        vote->ballot = m->ballot;
    }
}

/* ---------------------------------------------------------------- promises */

static void check_promised(struct world *w, const struct replica *r,
                           const struct paxos_message *m, const char *what)
{
    if (paxos_ballot_compare(r->disk.hard.promised, m->ballot) < 0) {
        world_fail(w, "durable",
                   "replica %u sends a %s of ballot %" PRIu64
                   ".%u before that promise is durable",
                   r->index + 1, what, m->ballot.round, m->ballot.id);
    }
}

static bool has_pinned_all(const struct world *w, const struct replica *r)
{
    const struct paxos_members *members = &r->disk.hard.members;
    bool pinned = members->count == w->plan.replicas;
    for (uint32_t i = 0; pinned && i < members->count; i++) {
        pinned = members->member[i].id == i + 1 &&
                 members->member[i].identity == w->replicas[i]->disk.identity;
    }
    return pinned;
}

/* DESIGN: the first formation needs all initial members; each durably pins the
 * identities of all others before anybody's first promise. */
static void check_formed(struct world *w, const struct replica *r)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (!has_pinned_all(w, w->replicas[i])) {
            world_fail(w, "formation",
                       "replica %u promises before replica %u has pinned all founders",
                       r->index + 1, i + 1);
        }
    }
}

static void note_promise(struct world *w, const struct replica *r, struct paxos_ballot ballot)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    if (paxos_ballot_compare(me->promise_sent, ballot) < 0) {
        me->promise_sent = ballot;
    }
}

static void prepare_sent(struct world *w, const struct replica *r,
                         const struct paxos_message *m)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    check_promised(w, r, m, "Prepare");
    check_formed(w, r);
    if (m->ballot.id != r->index + 1 || m->ballot.round <= me->round_before) {
        world_fail(w, "one-ballot",
                   "replica %u prepares round %" PRIu64 ", which an earlier incarnation used",
                   r->index + 1, m->ballot.round);
    }
    if (m->ballot.round > me->round_sent) {
        me->round_sent = m->ballot.round;
    }
    note_promise(w, r, m->ballot);
}

/* With its last part, a promise must have reported every vote that left earlier
 * in a slot that the candidate asked for and that isn't chosen here. */
static void promise_sent(struct world *w, const struct replica *r,
                         const struct paxos_message *m)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    check_promised(w, r, m, "promise");
    check_formed(w, r);
    note_promise(w, r, m->ballot);
    if (m->part == 0 && me->reported_count > 0) {
        memset(me->reported, 0, me->reported_count * sizeof *me->reported);
    }
    for (uint32_t i = 0; i < m->entries_count; i++) {
        vote_at(&me->reported, &me->reported_count, m->entries[i].slot)->ballot =
            m->entries[i].ballot;
    }
    if (m->part + 1 < m->parts) {
        return;
    }
    const paxos_slot known = m->chosen > m->slot - 1 ? m->chosen : m->slot - 1;
    for (paxos_slot slot = known + 1; slot < me->votes_count; slot++) {
        const struct paxos_ballot voted = me->votes[slot].ballot;
        if (voted.round != 0 &&
            paxos_ballot_compare(vote_at(&me->reported, &me->reported_count, slot)->ballot,
                                 voted) < 0) {
            world_fail(w, "promise",
                       "replica %u promises %" PRIu64 ".%u without its vote in slot %" PRIu64,
                       r->index + 1, m->ballot.round, m->ballot.id, slot);
        }
    }
}

static void accept_sent(struct world *w, const struct replica *r, const struct paxos_message *m)
{
    if (m->ballot.id != r->index + 1 || m->entries_count != 1) {
        world_fail(w, "one-value", "replica %u sends an accept that is not its own",
                   r->index + 1);
    }
    name_value(w, m->entries[0].slot, m->ballot, m->entries[0].value.checksum);
}

void audit_sent(struct world *w, struct replica *r, const struct paxos_message *m)
{
    if (m->from != r->index + 1 || m->from_identity != r->disk.identity ||
        m->incarnation != r->disk.incarnation) {
        world_fail(w, "addressed", "replica %u sends under a wrong name", r->index + 1);
    }
    switch (m->type) {
    case PAXOS_MSG_PREPARE:
        prepare_sent(w, r, m);
        break;
    case PAXOS_MSG_PROMISE:
        promise_sent(w, r, m);
        break;
    case PAXOS_MSG_ACCEPT:
        accept_sent(w, r, m);
        break;
    case PAXOS_MSG_VOTE:
        vote_sent(w, r, m);
        break;
    case PAXOS_MSG_FOUND:
    case PAXOS_MSG_PREVOTE:
    case PAXOS_MSG_PREVOTE_OK:
    case PAXOS_MSG_REJECT:
    case PAXOS_MSG_HEARTBEAT:
    case PAXOS_MSG_HEARTBEAT_ACK:
    case PAXOS_MSG_FETCH:
    case PAXOS_MSG_CHOSEN:
    case PAXOS_MSG_RELEASE:
    case PAXOS_MSG_TYPES:
        break;
    }
}

/* A vote counts once it has reached its master and names what was proposed. */
void audit_received(struct world *w, struct replica *r, const struct paxos_message *m)
{
    if (m->type != PAXOS_MSG_VOTE || m->ballot.id != r->index + 1) {
        return;
    }
    struct audit_proposal *proposal = proposal_of(w, m->slot, m->ballot);
    if (proposal != NULL && proposal->checksum == m->checksum) {
        proposal->voters |= UINT32_C(1) << (m->from - 1);
    }
}

/* -------------------------------------------------------------------- disk */

void audit_committed(struct world *w, struct disk *d, const struct store_batch *batch)
{
    if (batch->hard != NULL &&
        paxos_ballot_compare(batch->hard->promised, d->hard.promised) < 0) {
        world_fail(w, "monotone", "the promise on the disk of replica %u falls", d->index + 1);
    }
    for (uint32_t i = 0; i < batch->entries_count; i++) {
        const struct paxos_entry *entry = &batch->entries[i];
        if (entry->ballot.id == d->index + 1 && entry->slot > d->chosen_mark) {
            name_value(w, entry->slot, entry->ballot, entry->value.checksum)->voters |=
                UINT32_C(1) << d->index;
        }
    }
}

/* "The stored chosen mark passes s in the same transaction as that value, or
 * later." */
void audit_marked(struct world *w, const struct disk *d)
{
    const paxos_slot first = d->applied_slot > d->log_base ? d->applied_slot : d->log_base;
    for (paxos_slot slot = first; slot <= d->chosen_mark; slot++) {
        const struct paxos_entry *row = disk_log_at(d, slot);
        if (row == NULL) {
            world_fail(w, "marked",
                       "the disk of replica %u marks slot %" PRIu64
                       " chosen and has no value for it",
                       d->index + 1, slot);
        }
        const struct audit_slot *known = audit_slot(w, slot);
        if (known->known && known->value.checksum != row->value.checksum) {
            world_fail(w, "agreement",
                       "the disk of replica %u has another value in slot %" PRIu64,
                       d->index + 1, slot);
        }
    }
}

/* -------------------------------------------------------------------- boot */

static void check_memory(struct world *w, const struct replica *r)
{
    const struct audit_replica *me = &w->audit->replicas[r->index];
    const struct disk *d = &r->disk;
    if (paxos_ballot_compare(d->hard.promised, me->promise_sent) < 0 ||
        d->hard.round_max < me->round_sent) {
        world_fail(w, "amnesia",
                   "replica %u starts with promise %" PRIu64 ".%u and round %" PRIu64
                   "; it has promised %" PRIu64 ".%u and led round %" PRIu64,
                   r->index + 1, d->hard.promised.round, d->hard.promised.id, d->hard.round_max,
                   me->promise_sent.round, me->promise_sent.id, me->round_sent);
    }
    const paxos_slot known =
        d->chosen_mark > d->applied_slot ? d->chosen_mark : d->applied_slot;
    for (paxos_slot slot = known + 1; slot < me->votes_count; slot++) {
        const struct paxos_entry *row = disk_log_at(d, slot);
        const struct paxos_ballot voted = me->votes[slot].ballot;
        if (voted.round != 0 && (row == NULL || paxos_ballot_compare(row->ballot, voted) < 0)) {
            world_fail(w, "amnesia",
                       "replica %u starts without its vote of %" PRIu64 ".%u in slot %" PRIu64,
                       r->index + 1, voted.round, voted.id, slot);
        }
    }
}

static void check_progress(struct world *w, const struct replica *r)
{
    const struct audit_replica *me = &w->audit->replicas[r->index];
    const struct disk *d = &r->disk;
    if (d->chosen_mark > me->chosen_ever || d->applied_slot > me->applied_ever) {
        world_fail(w, "monotone",
                   "replica %u starts at chosen %" PRIu64 " and applied %" PRIu64
                   ", further than it ever was",
                   r->index + 1, d->chosen_mark, d->applied_slot);
    }
}

static void *plain_allocate(void *context, size_t size)
{
    (void)context;
    return sim_allocate(size);
}

static void plain_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

__attribute__((noreturn)) static void plain_exhausted(void *context)
{
    (void)context;
    abort();
}

void audit_tables(struct world *w, const struct disk *d)
{
    if (d->applied_slot == 0) {
        return;
    }
    const struct lease_allocator allocator = {
        .allocate = plain_allocate, .release = plain_release, .exhausted = plain_exhausted};
    const struct lease_limits limits = plan_limits(&w->plan);
    struct lease *l = lease_new(&allocator, &limits);
    bool good = true;
    for (uint32_t i = 0; good && i < d->rows_count; i++) {
        good = lease_row_load(
            l, &(struct lease_row){.key = d->rows[i].key, .value = d->rows[i].value});
    }
    good = good && lease_digest(l) == audit_digest(w, d->applied_slot);
    lease_free(l);
    if (!good) {
        world_fail(w, "tables",
                   "the tables of replica %u are not the effects of slots 1 to %" PRIu64,
                   d->index + 1, d->applied_slot);
    }
}

void audit_booting(struct world *w, struct replica *r)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    check_memory(w, r);
    check_progress(w, r);
    audit_tables(w, &r->disk);
    me->round_before = me->round_sent;
    me->promised = r->disk.hard.promised;
    me->chosen = r->disk.chosen_mark;
    me->applied = r->disk.applied_slot;
}

void audit_crashed(struct world *w, struct replica *r)
{
    r->status = (struct paxos_status){.role = PAXOS_FORMING};
    world_mix(w, r->life);
}
