/* SPDX-License-Identifier: Apache-2.0
 *
 * invariants_lock.c -- what is true of sessions, locks and outcomes between two
 * commands; see invariants.c.
 */
#include "lease/invariants.h"

#include "paxos/base/pure.h"

/* L9  A lock is held by one writer or by readers only.  Its holders are the front
 *     of its claims, which stand in the order in which they were asked for. */
static void check_queue(const struct node *node)
{
    const struct lock *lock = node->lock;
    const struct claim *previous = NULL;
    uint32_t held = 0;
    uint32_t waiting = 0;
    for (const struct claim *claim = lock->first; claim != NULL; claim = claim->next) {
        assert(claim->node == node);
        assert(claim->prev == previous);
        if (previous != NULL) {
            assert(previous->record.key.sub < claim->record.key.sub);
        }
        if (claim->held) {
            assert(waiting == 0);
            assert(held == 0 ||
                   (claim->mode == LEASE_SHARED && previous->mode == LEASE_SHARED));
            held++;
        } else {
            if (waiting == 0) {
                assert(lock->first_waiting == claim);
            }
            waiting++;
        }
        previous = claim;
    }
    assert(previous == lock->last);
    assert(held == lock->held_count);
    assert(waiting == lock->waiting_count);
    assert((waiting == 0) == (lock->first_waiting == NULL));
}

void check_lock(const struct lease *l, const struct node *node, struct sums *sums)
{
    const struct lock *lock = node->lock;
    if (lock == NULL) {
        return;
    }
    check_queue(node);

    /* L10  Nobody waits for what is free: the head of the queue is incompatible
     *      with those who hold. */
    assert(lock->held_count > 0);
    if (lock->first_waiting != NULL) {
        assert(!lock_compatible(lock, (enum lease_mode)lock->first_waiting->mode));
    }
    /* L11  The token is a revision of the past, and each holding has raised the
     *      lock's generation. */
    assert(lock->token >= 1);
    assert(lock->token <= l->counters.revision);
    assert(node->lock_generation >= 1);

    sums->held += lock->held_count;
    sums->waiting += lock->waiting_count;
}

/* L12  Who holds or waits is in the session table, which knows of it: nobody
 *      else, and nothing twice. */
void check_claim(const struct lease *l, const struct claim *claim, struct sums *sums)
{
    const struct session *session = session_find(l, claim->session);
    assert(session != NULL);
    assert(claim->node->lock != NULL);
    assert(claim->record.key.id == claim->node->record.key.id);
    assert(claim->record.key.sub >= 1);
    assert(claim->record.key.sub <= l->counters.claims);
    assert(claim->mode == LEASE_EXCLUSIVE || claim->mode == LEASE_SHARED);
    assert(claim_find(session, claim->record.key.id, claim->handle) == claim);
    if (!claim->held) {
        assert(claim_waiting(session, claim->request) == claim);
    }
    sums->claims++;
}

static void check_claims_of(const struct session *session)
{
    tree_check(&session->claims);
    tree_check(&session->waiting);
    uint32_t held = 0;
    uint32_t waiting = 0;
    for (const struct tree_link *link = tree_first(&session->claims); link != NULL;
         link = tree_next(link)) {
        const struct claim *claim = tree_entry(link, const struct claim, by_owner);
        assert(claim->session == session->record.key.id);
        held += claim->held;
        waiting += !claim->held;
    }
    assert(held == session->held_count);
    assert(waiting == session->waiting_count);

    for (const struct tree_link *link = tree_first(&session->waiting); link != NULL;
         link = tree_next(link)) {
        assert(!tree_entry(link, const struct claim, by_request)->held);
        waiting--;
    }
    assert(waiting == 0);
}

/* L13  What is acknowledged is a floor and ranges above it: ascending, with gaps,
 *      no more of them than a session may have. */
static void check_ranges(const struct session *session)
{
    uint64_t before = session->ack_floor;
    assert(session->ranges_count <= SESSION_RANGES_MAX);
    for (uint32_t i = 0; i < session->ranges_count; i++) {
        assert(session->ranges[i].first > before);
        assert(session->ranges[i].first - before > 1);
        assert(session->ranges[i].last >= session->ranges[i].first);
        before = session->ranges[i].last;
    }
}

void check_session(const struct lease *l, const struct session *session, struct sums *sums)
{
    assert(session->record.key.id != 0);
    assert(session->lease_ms >= LEASE_SESSION_MS_MIN);
    assert(session->lease_ms <= LEASE_SESSION_MS_MAX);
    assert(session_find(l, session->record.key.id) == session);
    check_claims_of(session);
    check_ranges(session);
    assert(session->waiting_count <= LEASE_WAITING_MAX);
    assert(session->results_count <= SESSION_OUTCOMES_MAX);
    assert(session->results_count + session->waiting_count <= SESSION_OUTCOMES_MAX);
    sums->sessions++;
    sums->results_of_sessions += session->results_count;
}

/* L14  A remembered outcome is of a session that lives and of a request that is
 *      neither acknowledged nor still waiting. */
void check_result(const struct lease *l, struct result *result, struct sums *sums)
{
    const struct session *session = session_find(l, result->record.key.id);
    const uint64_t request = result->record.key.sub;
    assert(session != NULL);
    assert(result_find(l, session->record.key.id, request) == result);
    assert(!session_acknowledged(session, request));
    assert(claim_waiting(session, request) == NULL);
    assert(result_is_outcome(result->rc));
    assert(result->token <= l->counters.revision);
    assert(result->revision <= l->counters.revision);
    assert(result->slot >= 1);
    assert(result->slot < LEASE_NUMBER_MAX);
    assert(result->position >= 1);
    sums->results++;
}
