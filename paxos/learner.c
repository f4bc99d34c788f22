/* SPDX-License-Identifier: Apache-2.0
 *
 * What is chosen, and how one who missed it learns it.
 *
 * A follower takes a slot as chosen only if its own vote there bears the ballot
 * of the master who says so: that master proposed one value in it, and it is
 * the one we voted for.  Any other vote of ours may be for a value that lost, so
 * the chosen value is fetched.  Snapshots will be the answer where the log no
 * longer reaches back; until then no log is cut before every member has it.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

/* Slots up to `slot` are chosen, and the ring holds their values. */
void chosen_up_to(struct paxos *p, paxos_slot slot)
{
    assert(slot > p->chosen);
    while (p->chosen < slot) {
        const struct log_slot *at = log_look(p, p->chosen + 1);
        assert(at != NULL && at->vote.slot != 0);
        p->chosen++;
        if (p->chosen == 1) {
            adopt_founding(p, &at->vote.value);
        }
    }
    if (p->last < p->chosen) {
        p->last = p->chosen;
    }
}

/* The master of `ballot` says that all up to `mark` is chosen. */
void learn_mark(struct paxos *p, paxos_id from, struct paxos_ballot ballot, paxos_slot mark)
{
    paxos_slot to = p->chosen;
    while (to < mark) {
        const struct log_slot *at = log_look(p, to + 1);
        if (at == NULL || at->vote.slot == 0 ||
            (!ballot_equal(at->vote.ballot, ballot) && !mutant(chosen_without_vote))) {
            break;
        }
        to++;
    }
    if (to > p->chosen) {
        chosen_up_to(p, to);
    }
    learn_elsewhere(p, from, mark);
}

/* How far a restart would find what is chosen without asking anybody.  A value
 * alone is not enough: after a restart it is a vote until somebody says that it
 * was chosen, and by then nobody else may have it any more. */
paxos_slot known_durable(const struct paxos *p)
{
    if (mutant(durable_from_memory)) {
        return p->chosen;
    }
    return p->log_durable < p->mark_durable ? p->log_durable : p->mark_durable;
}

static void send_fetch(struct paxos *p)
{
    const uint32_t peer = member_index(p, p->fetch_from);
    if (peer == NO_PEER || peer == p->self) {
        return;
    }
    struct paxos_message m = message_to(p, peer, PAXOS_MSG_FETCH);
    m.slot = p->chosen + 1;
    send_at_once(p, &m);
    const uint64_t heartbeats = mutant(fetch_not_repeated) ? 100000 : 2;
    p->fetch_again_ms = p->now_ms + heartbeats * p->config.heartbeat_ms;
}

/* `from` knows chosen slots up to `mark`; ask for those we lack, one request at
 * a time. */
void learn_elsewhere(struct paxos *p, paxos_id from, paxos_slot mark)
{
    if (mark <= p->chosen) {
        return;
    }
    if (mark >= p->fetch_to || p->now_ms >= p->fetch_again_ms) {
        p->fetch_to = mark;
        p->fetch_from = from;
    }
    if (p->now_ms >= p->fetch_again_ms) {
        send_fetch(p);
    }
}

void learner_tick(struct paxos *p)
{
    if (p->fetch_to > p->chosen && p->now_ms >= p->fetch_again_ms) {
        /* Whoever we asked may be gone, and nobody else know as much: the next
         * mark that we hear names whom to ask. */
        p->fetch_to = 0;
    }
}

/* ------------------------------------------------------- those who lag */

static void send_chosen(struct paxos *p, uint32_t peer, const struct paxos_entry *entries,
                        uint32_t count)
{
    struct paxos_message m = message_to(p, peer, PAXOS_MSG_CHOSEN);
    m.slot = entries[0].slot;
    m.entries = entries;
    m.entries_count = count;
    send_at_once(p, &m);
}

enum paxos_drop on_fetch(struct paxos *p, const struct paxos_message *m)
{
    const uint32_t peer = member_index(p, m->from);
    if (m->slot == 0 || m->slot > p->chosen) {
        return PAXOS_DROP_OUT_OF_WINDOW;
    }
    if (log_look(p, m->slot) == NULL) {
        if (p->peer[peer].read_wanted || p->ready.reads_count == PAXOS_MEMBERS_MAX) {
            return PAXOS_DROP_DUPLICATE;
        }
        p->peer[peer].read_wanted = true;
        p->reads[p->ready.reads_count++] =
            (struct paxos_wanted){.peer = m->from, .slot = m->slot, .last = p->chosen};
        return PAXOS_DROP_NONE;
    }
    uint32_t count = 0;
    size_t octets = 0;
    while (count < PAXOS_MESSAGE_ENTRIES && m->slot + count <= p->chosen) {
        const struct log_slot *at = log_look(p, m->slot + count);
        assert(at != NULL && at->vote.slot != 0);
        octets += at->vote.value.data.size;
        if (count > 0 && octets > PAXOS_MESSAGE_BYTES) {
            break;
        }
        count++;
    }
    struct paxos_entry *entries = entries_take(p, count);
    if (entries == NULL) {
        return PAXOS_DROP_NO_ROOM;
    }
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = log_look(p, m->slot + i)->vote;
    }
    send_chosen(p, peer, entries, count);
    return PAXOS_DROP_NONE;
}

/* What the store had.  The caller's bytes are its own; the message needs them
 * until paxos_advance(), so they are copied, to be reclaimed then. */
enum paxos_drop on_log_read(struct paxos *p, const struct paxos_log_read *answer)
{
    const uint32_t peer = member_index(p, answer->peer);
    if (peer == NO_PEER) {
        return PAXOS_DROP_STRANGER;
    }
    p->peer[peer].read_wanted = mutant(log_read_leaked);
    if (answer->entries_count == 0) {
        return PAXOS_DROP_OUT_OF_WINDOW;
    }
    assert(answer->entries_count <= PAXOS_MESSAGE_ENTRIES);
    struct paxos_entry *entries = entries_take(p, answer->entries_count);
    uint32_t count = 0;
    while (entries != NULL && count < answer->entries_count) {
        entries[count] = answer->entries[count];
        assert(entries[count].slot == answer->slot + count && entries[count].slot <= p->chosen);
        const struct bytes data = entries[count].value.data;
        uint8_t *copy = arena_allocate(p, /* owner= */ 0, data.size);
        if (copy == NULL) {
            break;
        }
        if (data.size > 0) {
            memcpy(copy, data.data, data.size);
        }
        entries[count++].value.data = bytes_of(copy, data.size);
        arena_free(p, copy);
    }
    if (count == 0) {
        return PAXOS_DROP_NO_ROOM;
    }
    send_chosen(p, peer, entries, count);
    return PAXOS_DROP_NONE;
}

/* ------------------------------------------------------------ learning */

/* Puts a fetched value in the place of our vote.  The chosen mark passes the
 * slot in the same batch as the value, so it is never reported as a vote and its
 * ballot may be above our promise. */
static bool take_chosen(struct paxos *p, const struct paxos_entry *entry)
{
    const struct log_slot *at = log_look(p, entry->slot);
    const bool have =
        at != NULL && at->vote.slot != 0 &&
        (at->vote.value.checksum == entry->value.checksum || mutant(fetched_value_ignored));
    if (!have && at != NULL && at->vote.slot != 0 && p->role == PAXOS_MASTER &&
        ballot_equal(at->vote.ballot, p->ballot)) {
        /* Somebody has outbid us, and we only hear of it by what it had chosen.  Who
         * still follows our ballot has voted for our value here, and would take that
         * as chosen from our next mark. */
        step_down(p, PAXOS_DOWN_OUTBID);
    }
    if (!have && !log_vote(p, entry->slot, entry->ballot, &entry->value)) {
        return false;
    }
    chosen_up_to(p, entry->slot);
    return true;
}

enum paxos_drop on_chosen(struct paxos *p, const struct paxos_message *m)
{
    const paxos_slot before = p->chosen;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct paxos_entry *entry = &m->entries[i];
        if (entry->slot <= p->chosen) {
            continue;
        }
        if (entry->slot != p->chosen + 1 || !log_in_reach(p, entry->slot)) {
            break;
        }
        if (entry->slot == 1 && !founding_agrees(p, &entry->value)) {
            return PAXOS_DROP_OTHER_MEMBERS;
        }
        if (!take_chosen(p, entry)) {
            break;
        }
    }
    if (p->chosen == before) {
        return PAXOS_DROP_DUPLICATE;
    }
    if (p->role == PAXOS_MASTER) {
        master_propose_first(p);
    }
    p->fetch_again_ms = p->now_ms;
    learn_elsewhere(p, m->from, m->chosen > p->fetch_to ? m->chosen : p->fetch_to);
    return PAXOS_DROP_NONE;
}
