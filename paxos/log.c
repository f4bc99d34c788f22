/* SPDX-License-Identifier: Apache-2.0
 *
 * Slot -> what I voted for.  A ring over consecutive slots: a tail of applied
 * ones for those who lag, then the window of open ones.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

struct log_slot *log_peek(struct paxos *p, paxos_slot slot)
{
    struct log_slot *at = &p->ring[slot % PAXOS_RING];
    return slot != 0 && at->slot == slot ? at : NULL;
}

const struct log_slot *log_look(const struct paxos *p, paxos_slot slot)
{
    const struct log_slot *at = &p->ring[slot % PAXOS_RING];
    return slot != 0 && at->slot == slot ? at : NULL;
}

/* Open, within the window, and with a place in the ring. */
bool log_in_reach(const struct paxos *p, paxos_slot slot)
{
    return slot > p->chosen && slot <= p->chosen + PAXOS_WINDOW && slot < p->first + PAXOS_RING;
}

static bool copy_value(struct paxos *p, paxos_slot slot, const struct paxos_value *from,
                       struct paxos_value *to)
{
    *to = *from;
    if (from->data.size == 0) {
        to->data = bytes_of(NULL, 0);
        return true;
    }
    uint8_t *data = arena_allocate(p, slot, from->data.size);
    if (data == NULL) {
        return false;
    }
    memcpy(data, from->data.data, from->data.size);
    to->data.data = data;
    return true;
}

static struct log_slot *take(struct paxos *p, paxos_slot slot)
{
    struct log_slot *at = &p->ring[slot % PAXOS_RING];
    if (at->slot != slot) {
        assert(at->slot == 0);
        *at = (struct log_slot){.slot = slot};
    }
    return at;
}

static void mark_written(struct paxos *p, struct log_slot *at)
{
    const uint64_t ticket = p->issued + 1;
    if (at->ticket != ticket) {
        assert(p->written_count < PAXOS_RING);
        p->written_slots[p->written_count++] = at->slot;
        at->ticket = ticket;
    }
    p->write_dirty = true;
}

bool log_vote(struct paxos *p, paxos_slot slot, struct paxos_ballot ballot,
              const struct paxos_value *value)
{
    assert(slot > p->chosen && slot < p->first + PAXOS_RING);
    struct paxos_value copy;
    if (!copy_value(p, slot, value, &copy)) {
        return false;
    }
    struct log_slot *at = take(p, slot);
    if (at->vote.slot != 0) {
        arena_free(p, at->vote.value.data.data);
    }
    at->vote = (struct paxos_entry){.slot = slot, .ballot = ballot, .value = copy};
    at->voters = 0;
    mark_written(p, at);
    if (slot > p->last) {
        p->last = slot;
    }
    return true;
}

/* PMS, 2.2: "the value of the highest-numbered proposal among the responses". */
bool log_carry(struct paxos *p, const struct paxos_entry *entry)
{
    struct log_slot *at = take(p, entry->slot);
    if (at->carry.slot != 0 &&
        (!ballot_below(at->carry.ballot, entry->ballot) || mutant(first_value_carried))) {
        return true;
    }
    struct paxos_value copy;
    if (!copy_value(p, entry->slot, &entry->value, &copy)) {
        return false;
    }
    if (at->carry.slot != 0) {
        arena_free(p, at->carry.value.data.data);
    }
    at->carry = (struct paxos_entry){.slot = entry->slot, .ballot = entry->ballot, .value = copy};
    return true;
}

void log_drop_carries(struct paxos *p)
{
    for (paxos_slot slot = p->chosen + 1; slot <= p->chosen + PAXOS_WINDOW; slot++) {
        struct log_slot *at = log_peek(p, slot);
        if (at != NULL && at->carry.slot != 0) {
            arena_free(p, at->carry.value.data.data);
            at->carry = (struct paxos_entry){0};
        }
    }
}

/* Lets go of applied slots: as many as the window needs, and what is beyond the
 * tail that is kept for those who lag. */
void log_evict(struct paxos *p)
{
    while (p->first <= p->applied && p->first <= p->log_durable &&
           (p->chosen + PAXOS_WINDOW >= p->first + PAXOS_RING / 2 ||
            p->arena.live > RETAIN_BYTES)) {
        struct log_slot *at = log_peek(p, p->first);
        if (at != NULL) {
            arena_free(p, at->vote.value.data.data);
            if (at->carry.slot != 0) {
                arena_free(p, at->carry.value.data.data);
            }
            *at = (struct log_slot){0};
        }
        p->first++;
    }
}
