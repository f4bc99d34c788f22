/* SPDX-License-Identifier: Apache-2.0
 *
 * What leaves.  There are two ways out and nothing between: send_at_once() for
 * what rests on nothing unwritten, send_when_durable() for what does.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

uint32_t member_count(const struct paxos *p)
{
    return p->hard.members.count;
}

uint32_t member_index(const struct paxos *p, paxos_id id)
{
    for (uint32_t i = 0; i < p->hard.members.count; i++) {
        if (p->hard.members.member[i].id == id) {
            return i;
        }
    }
    return NO_PEER;
}

uint32_t quorum(const struct paxos *p)
{
    return member_count(p) / 2 + 1;
}

struct paxos_message message_to(const struct paxos *p, uint32_t peer, enum paxos_message_type type)
{
    assert(peer < member_count(p) && peer != p->self);
    const struct paxos_member *member = &p->hard.members.member[peer];
    return (struct paxos_message){
        .type = type,
        .from = p->config.self,
        .to = member->id,
        .from_identity = p->config.identity,
        .to_identity = member->identity,
        .cell = p->hard.cell,
        .members_number = p->hard.members.number,
        .incarnation = p->config.incarnation,
        .chosen = p->chosen,
    };
}

void send_at_once(struct paxos *p, const struct paxos_message *message)
{
    if (p->ready.at_once_count < MESSAGES_MAX) {
        p->at_once[p->ready.at_once_count++] = *message;
    }
}

uint64_t ticket_now(const struct paxos *p)
{
    return p->issued + (p->write_dirty ? 1 : 0);
}

void mark_hard(struct paxos *p)
{
    p->hard_dirty = true;
    p->write_dirty = true;
    p->hard_ticket = p->issued + 1;
}

void put_released(struct paxos *p, const struct paxos_message *message)
{
    if (p->ready.released_count < MESSAGES_MAX) {
        p->released_out[p->ready.released_count++] = *message;
    }
}

/* An answer that is let out after a higher promise would renew what that
 * promise has ended; only a refusal still says something true. */
static void release(struct paxos *p, const struct waiting *w)
{
    const enum paxos_message_type type = w->message.type;
    const bool outlived = ballot_below(w->message.ballot, p->hard.promised);
    if (outlived && type != PAXOS_MSG_REJECT &&
        !(type == PAXOS_MSG_VOTE && mutant(vote_below_promise))) {
        return;
    }
    if (type == PAXOS_MSG_PROMISE) {
        let_out_promise(p, w);
    } else {
        put_released(p, &w->message);
    }
}

/* Lets out all that the disk has caught up with, in order. */
void let_out(struct paxos *p)
{
    while (p->waiting_count > 0 && p->waiting[p->waiting_first].ticket <= p->durable) {
        const struct waiting w = p->waiting[p->waiting_first];
        p->waiting_first = (p->waiting_first + 1) % WAITING_MAX;
        p->waiting_count--;
        release(p, &w);
    }
}

void send_when_durable(struct paxos *p, uint64_t ticket, const struct paxos_message *message)
{
    const struct waiting w = {
        .ticket = ticket, .durable_then = p->durable, .message = *message};
    if (ticket <= p->durable) {
        release(p, &w);
        return;
    }
    if (p->waiting_count < WAITING_MAX) {
        p->waiting[(p->waiting_first + p->waiting_count) % WAITING_MAX] = w;
        p->waiting_count++;
    }
}

struct paxos_entry *entries_take(struct paxos *p, uint32_t count)
{
    if (ENTRIES_OUT_MAX - p->entries_out_count < count) {
        return NULL;
    }
    struct paxos_entry *entries = &p->entries_out[p->entries_out_count];
    p->entries_out_count += count;
    return entries;
}

void note(struct paxos *p, enum paxos_note_kind kind, uint64_t a, uint64_t b)
{
    if (p->ready.notes_count < NOTES_MAX) {
        p->notes[p->ready.notes_count++] = (struct paxos_note){.kind = kind, .a = a, .b = b};
    }
}
