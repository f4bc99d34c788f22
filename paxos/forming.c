/* SPDX-License-Identifier: Apache-2.0
 *
 * Before there is a cell.  Each founder was given the list of all members, by
 * id and address; the identities of the others' stores it must learn.  It makes
 * no promise until it has pinned every one of them, and each of the others has
 * shown that it pinned the same.  So no two groups can found two cells, and a
 * store that is lost is missed rather than replaced by an empty one ("lost",
 * never "new"): whoever pinned the lost one refuses the new one, and shows its
 * pin to all.
 *
 * The first master proposes the cell's id and its members in slot 1.  Who
 * missed that still has the pins, and fetches it.
 */
#include "paxos/internal.h"

#include "paxos/base/hash.h"
#include "paxos/codec.h"
#include "paxos/base/pure.h"

static bool all_agreed(const struct paxos *p)
{
    uint32_t pinned = 0;
    uint32_t agreed = 1;
    for (uint32_t i = 0; i < member_count(p); i++) {
        pinned += p->hard.members.member[i].identity != 0;
        agreed += i != p->self && p->peer[i].agreed;
    }
    if (mutant(majority_formation)) {
        return pinned >= quorum(p);
    }
    return pinned == member_count(p) && agreed == member_count(p);
}

static void leave_when_agreed(struct paxos *p)
{
    if (p->role == PAXOS_FORMING && all_agreed(p)) {
        p->role = PAXOS_FOLLOWER;
        election_soon(p);
    }
}

static void send_found(struct paxos *p, uint32_t peer, uint64_t to_identity)
{
    struct paxos_message m = message_to(p, peer, PAXOS_MSG_FOUND);
    m.to_identity = to_identity;
    m.members = &p->hard.members;
    send_at_once(p, &m);
}

/* Goes on until the founding entry is known: others may not have heard us. */
void forming_tick(struct paxos *p)
{
    if (p->hard.cell != 0 || p->now_ms < p->found_at_ms) {
        return;
    }
    p->found_at_ms = p->now_ms + p->config.heartbeat_ms;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i != p->self) {
            send_found(p, i, p->hard.members.member[i].identity);
        }
    }
    leave_when_agreed(p); /* A cell of one has nobody to wait for. */
}

static bool same_settings(const struct paxos_settings *a, const struct paxos_settings *b)
{
    return a->firm == b->firm && a->drift_ppm == b->drift_ppm;
}

/* The same list, identities aside. */
static bool same_list(const struct paxos_members *a, const struct paxos_members *b)
{
    if (a->count != b->count || !same_settings(&a->settings, &b->settings)) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->member[i].id != b->member[i].id ||
            memcmp(a->member[i].address, b->member[i].address, PAXOS_ADDRESS_MAX) != 0) {
            return false;
        }
    }
    return true;
}

/* Says once why a peer is not listened to. */
void refuse_peer(struct paxos *p, uint32_t from, enum paxos_note_kind why, uint64_t b)
{
    if (!p->peer[from].refusal_noted) {
        p->peer[from].refusal_noted = true;
        note(p, why, p->hard.members.member[from].id, b);
    }
}

static void pin(struct paxos *p, uint32_t peer, uint64_t identity)
{
    struct paxos_member *member = &p->hard.members.member[peer];
    if (member->identity == 0) {
        member->identity = identity;
        mark_hard(p);
        note(p, PAXOS_NOTE_PINNED, member->id, identity);
    }
}

/* The first member for which somebody else's list shows another identity than
 * ours does; what is not pinned yet contradicts nothing.  NO_PEER: none. */
static uint32_t contradicts(const struct paxos *p, const struct paxos_members *members)
{
    for (uint32_t i = 0; i < member_count(p); i++) {
        const uint64_t ours = p->hard.members.member[i].identity;
        const uint64_t theirs = members->member[i].identity;
        if (ours != 0 && theirs != 0 && ours != theirs) {
            return i;
        }
    }
    return NO_PEER;
}

static bool same_identities(const struct paxos *p, const struct paxos_members *members)
{
    bool same = true;
    for (uint32_t i = 0; i < member_count(p); i++) {
        same &= members->member[i].identity == p->hard.members.member[i].identity;
    }
    return same;
}

/* The sender's cell is formed.  If it counts us among its members, its list is
 * the truth; if it names another identity under our id, we are a stranger. */
static enum paxos_drop join_formed(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
    bool names_us = false;
    for (uint32_t i = 0; i < m->members->count; i++) {
        names_us |= m->members->member[i].id == p->config.self &&
                    m->members->member[i].identity == p->config.identity;
    }
    if (!names_us) {
        refuse_peer(p, from, PAXOS_NOTE_NOT_A_MEMBER, m->cell);
        return PAXOS_DROP_STRANGER;
    }
    if (!same_list(m->members, &p->hard.members)) {
        refuse_peer(p, from, PAXOS_NOTE_MEMBERS_DIFFER, 0);
        return PAXOS_DROP_OTHER_MEMBERS;
    }
    if (contradicts(p, m->members) != NO_PEER) {
        refuse_peer(p, from, PAXOS_NOTE_IDENTITY_REFUSED, m->from_identity);
        return PAXOS_DROP_STRANGER;
    }
    for (uint32_t i = 0; i < member_count(p); i++) {
        pin(p, i, m->members->member[i].identity);
    }
    return PAXOS_DROP_NONE;
}

/* Another founder, whose cell is as little formed as ours. */
static enum paxos_drop meet_founder(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
    p->peer[from].agreed = false;
    if (!same_list(m->members, &p->hard.members)) {
        refuse_peer(p, from, PAXOS_NOTE_MEMBERS_DIFFER, 0);
        return PAXOS_DROP_OTHER_MEMBERS;
    }
    const uint64_t pinned = p->hard.members.member[from].identity;
    if (pinned != 0 && pinned != m->from_identity) {
        refuse_peer(p, from, PAXOS_NOTE_IDENTITY_REFUSED, m->from_identity);
        return PAXOS_DROP_STRANGER;
    }
    const uint32_t other = contradicts(p, m->members);
    if (other != NO_PEER) {
        refuse_peer(p, other == p->self ? from : other, PAXOS_NOTE_IDENTITY_REFUSED,
                    m->members->member[other].identity);
        return PAXOS_DROP_STRANGER;
    }
    pin(p, from, m->from_identity);
    p->peer[from].agreed = same_identities(p, m->members);
    leave_when_agreed(p);
    return PAXOS_DROP_NONE;
}

enum paxos_drop on_found(struct paxos *p, const struct paxos_message *m)
{
    const uint32_t from = member_index(p, m->from);
    assert(from != NO_PEER && m->members != NULL);
    const uint64_t pinned = p->hard.members.member[from].identity;

    if (p->hard.cell != 0) {
        if (pinned != m->from_identity) {
            refuse_peer(p, from, PAXOS_NOTE_IDENTITY_REFUSED, m->from_identity);
        }
        if (m->cell == 0) {
            /* Tells a founder who we are, and a stranger that it is one. */
            send_found(p, from, m->from_identity);
        } else if (m->cell != p->hard.cell) {
            refuse_peer(p, from, PAXOS_NOTE_OTHER_CELL, m->cell);
            return PAXOS_DROP_OTHER_CELL;
        }
        return pinned == m->from_identity ? PAXOS_DROP_NONE : PAXOS_DROP_STRANGER;
    }
    if (m->cell != 0) {
        const enum paxos_drop drop = join_formed(p, from, m);
        if (drop == PAXOS_DROP_NONE && p->role == PAXOS_FORMING) {
            p->role = PAXOS_FOLLOWER; /* The others have agreed already. */
            election_soon(p);
        }
        return drop;
    }
    return meet_founder(p, from, m);
}

/* The first master's own first entry, in slot 1. */
bool propose_founding(struct paxos *p)
{
    uint8_t room[PAXOS_HARD_MAX];
    struct writer w = writer_over(room, sizeof room);
    uint64_t cell = rng_next(&p->rng);
    cell += cell == 0;
    paxos_founding_encode(cell, &p->hard.members, &w);
    assert(!w.failed);
    struct paxos_value value = {.kind = PAXOS_FOUNDING,
                                .epoch = paxos_epoch(p->ballot),
                                .data = bytes_of(room, w.size)};
    value.checksum = paxos_value_checksum(&value);
    return propose_value(p, 1, &value);
}

bool founding_agrees(const struct paxos *p, const struct paxos_value *value)
{
    uint64_t cell = 0;
    struct paxos_members members;
    return value->kind == PAXOS_FOUNDING && paxos_founding_decode(value->data, &cell, &members) &&
           same_list(&members, &p->hard.members) &&
           (contradicts(p, &members) == NO_PEER || mutant(majority_formation));
}

/* Slot 1 is chosen: the cell exists, and we know its name. */
void adopt_founding(struct paxos *p, const struct paxos_value *value)
{
    uint64_t cell = 0;
    struct paxos_members members;
    const bool decoded = paxos_founding_decode(value->data, &cell, &members);
    assert(decoded); /* Its checksum held, and a master of this version made it. */
    const uint32_t self = p->self;
    p->hard.cell = cell;
    p->hard.members = members;
    mark_hard(p);
    p->self = member_index(p, p->config.self);
    assert(p->self == self);
    if (p->role == PAXOS_FORMING) {
        p->role = PAXOS_FOLLOWER;
    }
    note(p, PAXOS_NOTE_FORMED, cell, 0);
}
