/* SPDX-License-Identifier: Apache-2.0
 *
 * Before there is a cell.  Each founder was given the list of all members, by
 * id and address; the identities of the others' stores it must learn.  It makes
 * no promise until it has pinned every one of them, and each of the others has
 * shown that it pinned the same.  Nobody shows a pin that is not on its disk, so
 * a list that all have shown is on every disk that it names, for good.
 *
 * Hence no two groups found two cells, and a store that is lost is missed rather
 * than replaced by an empty one ("lost", never "new"): whoever pinned the lost
 * one refuses the new one, and shows its pin to all.  And hence nobody need hear
 * from all a second time: whoever has promised, or is told by a founder of the
 * same list that all agree, takes part from then on, whoever was lost meanwhile.
 * docs/paxos.md, section 10, has the argument.
 *
 * The first master proposes the cell's id and its members in slot 1.  Who
 * missed that still has the pins, and fetches it.
 */
#include "paxos/internal.h"

#include "paxos/base/hash.h"
#include "paxos/codec.h"
#include "paxos/base/pure.h"

enum { COMPLAIN_HEARTBEATS = 100 }; /* So often it says whom it misses. */

static bool all_agreed(const struct paxos *p)
{
    uint32_t pinned = 0;
    uint32_t agreed = 1;
    for (uint32_t i = 0; i < member_count(p); i++) {
        pinned += p->hard.members.member[i].identity != 0;
        agreed += i != p->self && p->peer[i].agreed;
    }
    return mutant(majority_formation) ? pinned >= quorum(p) : agreed == member_count(p);
}

static bool pins_durable(const struct paxos *p)
{
    return p->pins_ticket <= p->durable || mutant(pins_shown_early);
}

static void send_found(struct paxos *p, uint32_t peer, uint64_t to_identity)
{
    if (!pins_durable(p)) {
        return; /* What a crash may take back is shown to nobody. */
    }
    struct paxos_message m = message_to(p, peer, PAXOS_MSG_FOUND);
    m.to_identity = to_identity;
    m.agreed = p->role != PAXOS_FORMING;
    m.members = &p->hard.members;
    send_at_once(p, &m);
}

static void say_who_is_missed(struct paxos *p)
{
    p->complain_at_ms = p->now_ms + COMPLAIN_HEARTBEATS * p->config.heartbeat_ms;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i != p->self && !p->peer[i].agreed) {
            note(p, PAXOS_NOTE_FOUNDER_MISSED, p->hard.members.member[i].id, 0);
        }
    }
}

void forming_start(struct paxos *p)
{
    /* To promise is to have known that all agree. */
    const bool agreed = p->hard.cell != 0 || member_count(p) == 1 ||
                        (p->hard.promised.round != 0 && !mutant(founder_waits_again));
    p->role = agreed ? PAXOS_FOLLOWER : PAXOS_FORMING;
    p->complain_at_ms = p->now_ms + COMPLAIN_HEARTBEATS * p->config.heartbeat_ms;
}

/* Goes on until the founding entry is known: others may not have heard us. */
void forming_tick(struct paxos *p)
{
    if (p->now_ms < forming_wake(p)) {
        return;
    }
    p->found_at_ms = p->now_ms + p->config.heartbeat_ms;
    for (uint32_t i = 0; i < member_count(p); i++) {
        if (i != p->self) {
            send_found(p, i, p->hard.members.member[i].identity);
        }
    }
    if (p->role == PAXOS_FORMING && p->now_ms >= p->complain_at_ms) {
        say_who_is_missed(p);
    }
}

/* Nothing to show: the cell is known, or our pins are on their way to the disk. */
uint64_t forming_wake(const struct paxos *p)
{
    return p->hard.cell == 0 && pins_durable(p) ? p->found_at_ms : UINT64_MAX;
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

/* While all members need each other, that is the end of this founding. */
static void refuse_identity(struct paxos *p, uint32_t from, uint64_t identity)
{
    const bool forming = p->role == PAXOS_FORMING;
    refuse_peer(p, from, forming ? PAXOS_NOTE_FOUNDER_LOST : PAXOS_NOTE_IDENTITY_REFUSED,
                identity);
}

static void pin(struct paxos *p, uint32_t peer, uint64_t identity)
{
    struct paxos_member *member = &p->hard.members.member[peer];
    if (member->identity == 0) {
        member->identity = identity;
        mark_hard(p);
        p->pins_ticket = p->hard_ticket;
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

/* Does it show the complete list that we have pinned?  Two that lack the same ones
 * may yet pin different stores. */
static bool shows_all(const struct paxos *p, const struct paxos_members *members)
{
    bool same = true;
    for (uint32_t i = 0; i < member_count(p); i++) {
        const uint64_t ours = p->hard.members.member[i].identity;
        same &= members->member[i].identity == ours;
        same &= ours != 0 || mutant(part_agreed_on);
    }
    return same;
}

static bool names_us(const struct paxos *p, const struct paxos_members *members)
{
    bool names = false;
    for (uint32_t i = 0; i < members->count; i++) {
        names |= members->member[i].id == p->config.self &&
                 members->member[i].identity == p->config.identity;
    }
    return names;
}

/* Is its sender one of those whom we were told of, the same as ever, and is
 * there nobody whom it knows as somebody else than we do? */
static enum paxos_drop ignore_founder(struct paxos *p, uint32_t from,
                                      const struct paxos_message *m)
{
    if (m->agreed && !names_us(p, m->members)) {
        refuse_peer(p, from, PAXOS_NOTE_NOT_A_MEMBER, m->cell);
        return PAXOS_DROP_STRANGER;
    }
    if (!same_list(m->members, &p->hard.members)) {
        refuse_peer(p, from, PAXOS_NOTE_MEMBERS_DIFFER, 0);
        return PAXOS_DROP_OTHER_MEMBERS;
    }
    const uint64_t pinned = p->hard.members.member[from].identity;
    if (pinned != 0 && pinned != m->from_identity) {
        refuse_identity(p, from, m->from_identity);
        return PAXOS_DROP_STRANGER;
    }
    const uint32_t other = contradicts(p, m->members);
    if (other != NO_PEER) {
        refuse_identity(p, other == p->self ? from : other, m->members->member[other].identity);
        return PAXOS_DROP_STRANGER;
    }
    return PAXOS_DROP_NONE;
}

/* As one who does not know the founding entry yet. */
static enum paxos_drop meet_founder(struct paxos *p, uint32_t from,
                                    const struct paxos_message *m)
{
    p->peer[from].agreed = false;
    const enum paxos_drop drop = ignore_founder(p, from, m);
    if (drop != PAXOS_DROP_NONE) {
        return drop;
    }
    pin(p, from, m->from_identity);
    p->peer[from].agreed = shows_all(p, m->members);
    const bool told = m->agreed && p->peer[from].agreed && !mutant(agreement_not_believed);
    if (p->role == PAXOS_FORMING && (told || all_agreed(p))) {
        p->role = PAXOS_FOLLOWER;
        election_soon(p);
    }
    return PAXOS_DROP_NONE;
}

/* As a member of the cell. */
static enum paxos_drop meet_member(struct paxos *p, uint32_t from,
                                   const struct paxos_message *m)
{
    const bool pinned = p->hard.members.member[from].identity == m->from_identity;
    if (!pinned) {
        refuse_peer(p, from, PAXOS_NOTE_IDENTITY_REFUSED, m->from_identity);
    }
    if (m->cell != 0 && m->cell != p->hard.cell) {
        refuse_peer(p, from, PAXOS_NOTE_OTHER_CELL, m->cell);
        return PAXOS_DROP_OTHER_CELL;
    }
    return pinned ? PAXOS_DROP_NONE : PAXOS_DROP_STRANGER;
}

enum paxos_drop on_found(struct paxos *p, const struct paxos_message *m)
{
    const uint32_t from = member_index(p, m->from);
    assert(from != NO_PEER && m->members != NULL);

    const bool formed = p->hard.cell != 0;
    if ((p->role != PAXOS_FORMING && !m->agreed) || (formed && m->cell == 0)) {
        /* Tells a founder that all agree, and a stranger that it is one. */
        send_found(p, from, m->from_identity);
    }
    return formed ? meet_member(p, from, m) : meet_founder(p, from, m);
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
    return value->kind == PAXOS_FOUNDING &&
           paxos_founding_decode(value->data, &cell, &members) &&
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
    assert(p->role != PAXOS_FORMING);
    note(p, PAXOS_NOTE_FORMED, cell, 0);
}
