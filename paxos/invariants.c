/* SPDX-License-Identifier: Apache-2.0 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

/* What is true of every replica between two calls.  The numbers are those of
 * docs/paxos.md, so a failed assertion names the sentence it broke. */
void paxos_check(const struct paxos *p)
{
    /* P1  A promise covers every vote cast in an open slot. */
    for (paxos_slot slot = p->chosen + 1; slot <= p->last; slot++) {
        const struct log_slot *at = log_look(p, slot);
        if (at != NULL && at->vote.slot != 0) {
            assert(!ballot_below(p->hard.promised, at->vote.ballot));
        }
    }

    /* P2  The ends of the log are in order, and their distances bounded, so
     *     memory is too. */
    assert(p->first <= p->applied + 1);
    assert(p->applied <= p->chosen);
    assert(p->log_durable <= p->chosen);
    assert(p->mark_durable <= p->chosen);
    assert(p->chosen <= p->last);
    assert(p->last <= p->chosen + PAXOS_WINDOW);
    assert(p->last < p->first + PAXOS_RING);

    /* P3  A master leads under its own ballot, and has promised no other. */
    if (p->role == PAXOS_MASTER || p->role == PAXOS_PREPARER) {
        assert(p->ballot.id == p->config.self);
        assert(ballot_equal(p->ballot, p->hard.promised));
        assert(p->ballot.round == p->hard.round_max);
    }

    /* P4  Only a master serves, and only behind its own first entry. */
    if (p->serving && !mutant(serve_before_first)) {
        assert(p->role == PAXOS_MASTER);
        assert(p->first_slot != 0 && p->applied >= p->first_slot);
    }

    /* P5  What is chosen and not yet let go has a value here. */
    for (paxos_slot slot = p->first; slot <= p->chosen; slot++) {
        const struct log_slot *at = log_look(p, slot);
        assert(at != NULL && at->vote.slot == slot);
    }

    /* P6  Rounds are confirmed only after they began. */
    assert(p->round_confirmed <= p->round_begun);

    /* P7  The disk has answered nothing that it was not asked. */
    assert(p->durable <= p->issued);

    /* P8  No firm lease is longer than what a restart would wait out. */
    if (p->lease_firm && p->now_ms < p->lease_until_ms) {
        assert(p->lease_until_ms - p->now_ms <= p->hard.firm_ms_max);
    }

    /* P9  No replica takes part before it knows every founder. */
    if (p->role != PAXOS_FORMING && !mutant(majority_formation)) {
        for (uint32_t i = 0; i < member_count(p); i++) {
            assert(p->hard.members.member[i].identity != 0);
        }
    }
}
