/* SPDX-License-Identifier: Apache-2.0
 *
 * How old may what is chosen here be?
 *
 * At the master a confirmation round says so itself: whatever anybody acknowledged
 * before the round began is chosen here.  A follower can't see when that was, but it
 * can bound it on its own clock, because it took part in an exchange:
 *
 *     here      answers, at T ........... hears r ........ hears "r is confirmed"
 *                      \                 / stamp T, mark C   /
 *     master            hears it ... begins r .... a majority answers
 *
 * The master began r after it had heard our answer, so after T.  A majority has answered
 * r, so when r began nobody else could have had anything chosen, and the master, which
 * serves (else it sends no stamp), had all that was ever acknowledged at or below C.  So
 * everything acknowledged before T is at or below C.  The times between are lost, never
 * gained: the age is what it is at most.  A stamp means nothing on the clock of another
 * life of this replica.
 */
#include "paxos/internal.h"

#include "paxos/base/pure.h"

/* Whoever we followed before, what we knew by his word stays true. */
static void keep(struct paxos *p, const struct sighting *sighting)
{
    if (sighting->slot <= p->chosen && sighting->as_of_ms > p->fresh.known.as_of_ms) {
        p->fresh.known = *sighting;
    }
}

static bool is_confirmed(const struct paxos *p, const struct sighting *sighting)
{
    return sighting->round != 0 &&
           (sighting->round <= p->fresh.confirmed || mutant(age_unconfirmed));
}

static void keep_confirmed(struct paxos *p)
{
    for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
        if (is_confirmed(p, &p->fresh.sighted[i])) {
            keep(p, &p->fresh.sighted[i]);
        }
    }
}

static void follow_ballot(struct paxos *p, struct paxos_ballot ballot)
{
    if (!ballot_equal(p->fresh.ballot, ballot)) {
        keep_confirmed(p);
        p->fresh = (struct freshness){.ballot = ballot, .known = p->fresh.known};
    }
}

void fresh_heard(struct paxos *p, const struct paxos_message *m)
{
    follow_ballot(p, m->ballot);
    if (m->confirmed > p->fresh.confirmed) {
        p->fresh.confirmed = m->confirmed;
        keep_confirmed(p);
    }
    struct sighting *sighting = &p->fresh.sighted[m->round % ROUNDS_MAX];
    if (m->stamp_incarnation == p->config.incarnation && m->stamp_ms <= p->now_ms &&
        m->round > sighting->round) {
        *sighting = (struct sighting){
            .round = m->round,
            .slot = m->chosen,
            .as_of_ms = mutant(age_from_receipt) ? p->now_ms : m->stamp_ms,
        };
    }
}

/* While we serve, our own rounds say it. */
void fresh_confirmed(struct paxos *p)
{
    if (p->serving) {
        keep(p, &(struct sighting){.slot = p->chosen, .as_of_ms = p->contact_ms});
    }
}

bool paxos_fresh(const struct paxos *p, uint64_t *ret_as_of_ms, paxos_slot *ret_slot)
{
    struct sighting best = p->fresh.known;
    for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
        const struct sighting *s = &p->fresh.sighted[i];
        if (is_confirmed(p, s) && s->slot <= p->chosen && s->as_of_ms > best.as_of_ms) {
            best = *s;
        }
    }
    *ret_as_of_ms = best.as_of_ms;
    *ret_slot = best.slot;
    return best.as_of_ms != 0;
}
