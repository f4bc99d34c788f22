/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a replica: start, events in, wishes out.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

/* -------------------------------------------------------------------- start */

/* A window of our own votes, of carried ones, and of those that replace them
 * before the next reclaim; the retained tail; and one batch of log reads. */
static size_t arena_capacity(const struct paxos_config *config)
{
    const size_t block = (size_t)config->value_max + 2 * (size_t)ARENA_ALIGN;
    const size_t capacity = 3 * (PAXOS_WINDOW + 2) * block + RETAIN_BYTES +
                            2 * (size_t)PAXOS_MESSAGE_BYTES + 2 * block;
    return capacity / ARENA_ALIGN * ARENA_ALIGN;
}

size_t paxos_size(const struct paxos_config *config)
{
    return sizeof(struct paxos) + arena_capacity(config);
}

static bool votes_make_sense(const struct paxos_restored *r)
{
    paxos_slot before = r->chosen;
    for (uint32_t i = 0; i < r->votes_count; i++) {
        const struct paxos_entry *vote = &r->votes[i];
        if (vote->slot <= before || vote->slot > r->chosen + PAXOS_WINDOW ||
            ballot_below(r->hard.promised, vote->ballot) ||
            vote->value.checksum != paxos_value_checksum(&vote->value)) {
            return false;
        }
        before = vote->slot;
    }
    return true;
}

static bool members_make_sense(const struct paxos *p)
{
    const struct paxos_members *members = &p->hard.members;
    if (members->count == 0 || members->count > PAXOS_MEMBERS_MAX || p->self == NO_PEER) {
        return false;
    }
    for (uint32_t i = 1; i < members->count; i++) {
        if (members->member[i].id <= members->member[i - 1].id) {
            return false;
        }
    }
    /* Nobody takes part before it has pinned all. */
    const bool took_part = p->hard.cell != 0 || p->hard.promised.round != 0;
    for (uint32_t i = 0; i < members->count; i++) {
        if (took_part && members->member[i].identity == 0) {
            return false;
        }
    }
    return members->member[p->self].identity == p->config.identity;
}

static bool restore_votes(struct paxos *p, const struct paxos_restored *r)
{
    for (uint32_t i = 0; i < r->votes_count && !mutant(votes_not_restored); i++) {
        if (!log_vote(p, r->votes[i].slot, r->votes[i].ballot, &r->votes[i].value)) {
            return false;
        }
        log_peek(p, r->votes[i].slot)->ticket = 0; /* They come from the disk. */
    }
    p->written_count = 0;
    p->write_dirty = false;
    return true;
}

enum paxos_rc paxos_init(void *block, const struct paxos_config *config,
                         const struct paxos_restored *restored, struct paxos **ret_paxos)
{
    assert(config->identity != 0 && config->incarnation != 0 && config->self != 0);
    assert(config->heartbeat_ms > 0 && config->lease_ms >= 2 * config->heartbeat_ms);
    assert(config->jitter_ms_min <= config->jitter_ms_max && config->value_max <= PAXOS_VALUE_MAX);
    struct paxos *p = block;
    memset(p, 0, offsetof(struct paxos, entries_out));
    p->config = *config;
    p->rng.state = config->seed;
    p->now_ms = config->now_ms;
    p->arena.capacity = arena_capacity(config);
    p->hard = restored->hard;
    p->self = member_index(p, config->self);
    if (!members_make_sense(p) || !votes_make_sense(restored)) {
        return PAXOS_CORRUPT;
    }
    if (p->hard.members.number == 0) {
        p->hard.members.number = 1;
    }
    p->first = restored->chosen + 1;
    p->applied = p->chosen = p->last = restored->chosen;
    p->log_durable = p->mark_durable = restored->chosen;
    if (!restore_votes(p, restored)) {
        return PAXOS_CORRUPT;
    }
    forming_start(p);
    p->quarantine_until_ms = p->hard.firm_ms_max == 0 ? 0 : p->now_ms + p->hard.firm_ms_max;
    p->lease_firm = p->hard.members.settings.firm;
    p->disk_heard_ms = p->now_ms;
    election_soon(p);
    *ret_paxos = p;
    return PAXOS_OK;
}

/* ------------------------------------------------------------------- events */

/* Is the frame from whom it says, for us, and of our cell? */
static enum paxos_drop check_envelope(struct paxos *p, const struct paxos_message *m)
{
    const uint32_t from = member_index(p, m->from);
    const bool found = m->type == PAXOS_MSG_FOUND;
    if (m->to != p->config.self || from == NO_PEER || from == p->self ||
        (m->to_identity != p->config.identity && !(found && m->to_identity == 0))) {
        return PAXOS_DROP_NOT_FOR_ME;
    }
    if (found) {
        return PAXOS_DROP_NONE; /* on_found() judges identities. */
    }
    if (m->from_identity != p->hard.members.member[from].identity) {
        if (p->hard.cell != 0) {
            refuse_peer(p, from, PAXOS_NOTE_IDENTITY_REFUSED, m->from_identity);
        }
        return PAXOS_DROP_STRANGER;
    }
    if (m->cell != 0 && p->hard.cell != 0 && m->cell != p->hard.cell) {
        refuse_peer(p, from, PAXOS_NOTE_OTHER_CELL, m->cell);
        return PAXOS_DROP_OTHER_CELL;
    }
    const bool acknowledges = m->type == PAXOS_MSG_PREVOTE_OK || m->type == PAXOS_MSG_PROMISE ||
                              m->type == PAXOS_MSG_VOTE || m->type == PAXOS_MSG_HEARTBEAT_ACK;
    if (acknowledges && m->members_number != p->hard.members.number) {
        return PAXOS_DROP_OTHER_MEMBERS;
    }
    if (p->role == PAXOS_FORMING) {
        return PAXOS_DROP_FORMING;
    }
    struct peer *peer = &p->peer[from];
    if (m->incarnation < peer->incarnation) {
        note(p, PAXOS_NOTE_OLD_INCARNATION, m->from, m->incarnation);
        return PAXOS_DROP_OLD_INCARNATION;
    }
    if (m->incarnation > peer->incarnation) {
        lease_cut_short(p, m->from, m->incarnation);
        peer->incarnation = m->incarnation;
        peer->read_wanted = false;
    }
    peer->heard_ms = p->now_ms;
    return PAXOS_DROP_NONE;
}

static enum paxos_drop receive(struct paxos *p, const struct paxos_message *m)
{
    const enum paxos_drop drop = check_envelope(p, m);
    if (drop != PAXOS_DROP_NONE) {
        return drop;
    }
    switch (m->type) {
    case PAXOS_MSG_FOUND:
        return on_found(p, m);
    case PAXOS_MSG_PREVOTE:
        return on_prevote(p, m);
    case PAXOS_MSG_PREVOTE_OK:
        return on_prevote_ok(p, m);
    case PAXOS_MSG_PREPARE:
        return on_prepare(p, m);
    case PAXOS_MSG_PROMISE:
        return on_promise(p, m);
    case PAXOS_MSG_REJECT:
        return on_reject(p, m);
    case PAXOS_MSG_ACCEPT:
        return on_accept(p, m);
    case PAXOS_MSG_VOTE:
        return on_vote(p, m);
    case PAXOS_MSG_HEARTBEAT:
        return on_heartbeat(p, m);
    case PAXOS_MSG_HEARTBEAT_ACK:
        return on_heartbeat_ack(p, m);
    case PAXOS_MSG_FETCH:
        return on_fetch(p, m);
    case PAXOS_MSG_CHOSEN:
        return on_chosen(p, m);
    case PAXOS_MSG_RELEASE:
        return on_release(p, m);
    case PAXOS_MSG_TYPES:
        break;
    }
    return PAXOS_DROP_MALFORMED;
}

static void advance_log_durable(struct paxos *p)
{
    while (p->log_durable < p->chosen) {
        const struct log_slot *at = log_look(p, p->log_durable + 1);
        assert(at != NULL);
        if (at->ticket > p->durable) {
            return;
        }
        p->log_durable++;
    }
}

static void on_durable(struct paxos *p, uint64_t ticket)
{
    assert(ticket <= p->issued);
    p->disk_heard_ms = p->now_ms; /* It has answered just now. */
    if (ticket <= p->durable) {
        return;
    }
    p->durable = ticket;
    if (p->mark_ticket != 0 && p->mark_ticket <= ticket) {
        p->mark_durable = p->mark_written;
        p->mark_ticket = 0;
    }
    let_out(p);
    count_own_promise(p);
    master_count_own(p);
    if (p->role == PAXOS_MASTER) {
        count_rounds(p); /* Our own answer may have waited for this. */
    }
}

static void peer_gone(struct paxos *p, paxos_id id)
{
    const uint32_t peer = member_index(p, id);
    if (peer != NO_PEER && peer != p->self) {
        p->peer[peer].heard_ms = 0; /* Nobody need wait to count it as failed. */
        lease_cut_short(p, id, /* incarnation= */ 0);
    }
}

static void on_tick(struct paxos *p)
{
    forming_tick(p);
    mastership_tick(p);
    election_tick(p);
    learner_tick(p);
}

enum paxos_drop paxos_step(struct paxos *p, const struct paxos_event *event)
{
    assert(!p->handed_out);
    assert(event->now_ms >= p->now_ms);
    p->now_ms = event->now_ms;

    step_down_if_away(p);
    enum paxos_drop drop = PAXOS_DROP_NONE;
    switch (event->type) {
    case PAXOS_TICK:
        on_tick(p);
        break;
    case PAXOS_RECEIVE:
        drop = receive(p, event->message);
        break;
    case PAXOS_DURABLE:
        on_durable(p, event->ticket);
        break;
    case PAXOS_LOG_READ:
        drop = on_log_read(p, &event->log_read);
        break;
    case PAXOS_PEER_GONE:
        peer_gone(p, event->peer);
        break;
    case PAXOS_HAND_OVER:
        hand_over(p);
        mastership_tick(p);
        break;
    }
    master_count_own(p); /* An own vote may have been durable before its slot was open. */
    advance_log_durable(p);
    return drop;
}

/* ------------------------------------------------------------------- wishes */

/* The election timer waits for the leases we granted; while the disk is silent
 * only the disk can wake us. */
static uint64_t election_wake(const struct paxos *p)
{
    uint64_t at = p->election_at_ms;
    at = at > p->lease_until_ms ? at : p->lease_until_ms;
    if (!mutant(lease_not_waited_out)) {
        at = at > p->quarantine_until_ms ? at : p->quarantine_until_ms;
    }
    return p->retiring || disk_is_silent(p) ? UINT64_MAX : at;
}

static uint64_t master_wake(const struct paxos *p)
{
    uint64_t wake = earliest(p->heartbeat_at_ms, p->contact_ms + p->config.lease_ms + 1);
    if (p->releasing) {
        wake = earliest(wake, p->last == p->chosen ? p->now_ms : p->release_by_ms);
    }
    return wake;
}

static uint64_t next_wake(const struct paxos *p)
{
    uint64_t wake = p->now_ms + 1000;
    switch (p->role) {
    case PAXOS_MASTER:
        wake = earliest(wake, master_wake(p));
        break;
    case PAXOS_FOLLOWER:
        wake = earliest(wake, election_wake(p));
        break;
    case PAXOS_PREVOTER:
    case PAXOS_PREPARER:
        wake = earliest(wake, earliest(p->campaign_until_ms, p->resend_at_ms));
        break;
    case PAXOS_FORMING:
        break;
    }
    wake = earliest(wake, forming_wake(p));
    if (p->fetch_to > p->chosen) {
        wake = earliest(wake, p->fetch_again_ms);
    }
    if (p->issued > p->durable && !disk_is_silent(p)) {
        wake = earliest(wake, p->disk_heard_ms + p->config.disk_stall_ms);
    }
    return wake > p->now_ms ? wake : p->now_ms + 1;
}

static void collect_written(struct paxos *p)
{
    for (uint32_t i = 0; i < p->written_count; i++) {
        const struct log_slot *at = log_look(p, p->written_slots[i]);
        assert(at != NULL && at->vote.slot != 0);
        p->written[i] = at->vote;
    }
    p->ready.written = p->written;
    p->ready.written_count = p->written_count;
    p->ready.hard = p->hard_dirty ? &p->hard : NULL;
    p->ready.ticket = 0;
    if (p->write_dirty) {
        if (p->issued == p->durable) {
            p->disk_heard_ms = p->now_ms; /* It has had nothing to answer. */
        }
        p->ready.ticket = ++p->issued;
        if (p->mark_ticket == 0) {
            p->mark_ticket = p->issued;
            p->mark_written = p->chosen;
        }
    }
}

static void collect_chosen(struct paxos *p)
{
    uint32_t count = 0;
    for (paxos_slot slot = p->applied + 1; slot <= p->chosen; slot++) {
        const struct log_slot *at = log_look(p, slot);
        assert(at != NULL && at->vote.slot != 0 && count < PAXOS_RING);
        p->chosen_out[count++] = at->vote;
    }
    p->ready.chosen = p->chosen_out;
    p->ready.chosen_count = count;
}

const struct paxos_ready *paxos_ready(struct paxos *p)
{
    assert(!p->handed_out);
    if (p->role == PAXOS_MASTER && p->round_wanted && rounds_running(p) == 0) {
        begin_round(p);
    }
    collect_written(p);
    collect_chosen(p);
    p->handed_out = true;
    p->ready.at_once = p->at_once;
    p->ready.released = p->released_out;
    p->ready.reads = p->reads;
    p->ready.notes = p->notes;
    p->ready.chosen_mark = mutant(mark_stored_late) ? p->applied : p->chosen;
    p->ready.trim = p->trim < known_durable(p) ? p->trim : known_durable(p);
    p->ready.confirmed = p->round_confirmed;
    p->ready.wake_at_ms = next_wake(p);
    return &p->ready;
}

void paxos_advance(struct paxos *p)
{
    assert(p->handed_out);
    p->handed_out = false;
    p->applied += p->ready.chosen_count;
    p->ready = (struct paxos_ready){0};
    p->entries_out_count = 0;
    p->written_count = 0;
    p->hard_dirty = false;
    p->write_dirty = false;
    log_evict(p);
    arena_reclaim(p);
    if (p->role == PAXOS_MASTER && !p->serving && p->first_slot != 0 &&
        p->applied >= p->first_slot) {
        p->serving = true;
        note(p, PAXOS_NOTE_SERVING, p->first_slot, 0);
    }
}

/* ------------------------------------------------------------------ reports */

void paxos_status(const struct paxos *p, uint64_t now_ms, struct paxos_status *ret_status)
{
    const bool own = p->role == PAXOS_MASTER || p->role == PAXOS_PREPARER;
    const struct paxos_ballot ballot = own ? p->ballot : p->followed;
    *ret_status = (struct paxos_status){
        .role = p->role,
        .serving = p->serving && !p->retiring,
        .handing_over = p->retiring,
        .master = p->followed.id,
        .ballot = ballot,
        .promised = p->hard.promised,
        .epoch = paxos_epoch(ballot),
        .cell = p->hard.cell,
        .chosen = p->chosen,
        .last = p->last,
        .durable = known_durable(p),
        .quorum = quorum(p),
        .disk_silent_ms = p->issued > p->durable && now_ms > p->disk_heard_ms
                              ? now_ms - p->disk_heard_ms
                              : 0,
        .members = &p->hard.members,
    };
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i != p->self) {
            ret_status->peers[ret_status->peers_count++] = (struct paxos_peer_status){
                .id = p->hard.members.member[i].id,
                .identity = p->hard.members.member[i].identity,
                .heard_ms = p->peer[i].heard_ms,
                .durable = p->role == PAXOS_MASTER ? p->peer[i].durable : 0,
            };
        }
    }
}
