/* SPDX-License-Identifier: Apache-2.0
 *
 * invariants_lock.c -- what is true of sessions, locks and outcomes between two
 * commands; see invariants.c.
 */
#include "lease/invariants.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* Counts a claim that stands behind `previous`. */
static void check_state(const struct lock *lock, const struct claim *claim,
                        const struct claim *previous, uint32_t counts[3])
{
    assert(claim->state <= CLAIM_DELAYED);
    if (claim->state != CLAIM_WAITS) {
        assert(counts[CLAIM_WAITS] == 0);
        assert(previous == NULL || mutant(granted_in_delay) ||
               (claim->mode == LEASE_SHARED && previous->mode == LEASE_SHARED));
    } else if (counts[CLAIM_WAITS] == 0) {
        assert(lock->first_waiting == claim);
    }
    counts[claim->state]++;
}

/* L9  A lock is held by one writer or by readers only.  Who holds it, and who
 *     failed in the same holding and keeps it closed, are the front of its claims,
 *     which stand in the order in which they were asked for. */
static void check_queue(const struct node *node)
{
    const struct lock *lock = node->lock;
    const struct claim *previous = NULL;
    uint32_t counts[3] = {0};
    for (const struct claim *claim = lock->first; claim != NULL; claim = claim->next) {
        assert(claim->node == node);
        assert(claim->prev == previous);
        if (previous != NULL) {
            assert(previous->record.key.sub < claim->record.key.sub);
        }
        check_state(lock, claim, previous, counts);
        previous = claim;
    }
    assert(previous == lock->last);
    assert(counts[CLAIM_HELD] == lock->held_count);
    assert(counts[CLAIM_DELAYED] == lock->delayed_count);
    assert(counts[CLAIM_WAITS] == lock->waiting_count);
    assert((lock->waiting_count == 0) == (lock->first_waiting == NULL));
}

void check_lock(const struct lease *l, const struct node *node, struct sums *sums)
{
    const struct lock *lock = node->lock;
    if (lock == NULL) {
        return;
    }
    check_queue(node);

    /* L10  Nobody waits for what is free: the head of the queue is incompatible
     *      with those who hold, or a lock-delay runs. */
    assert(lock->held_count + lock->delayed_count > 0);
    if (lock->first_waiting != NULL) {
        assert(!lock_compatible(lock, (enum lease_mode)lock->first_waiting->mode));
    }
    /* L11  The token is a revision of the past, and each holding has raised the
     *      lock's generation. */
    assert(lock->token >= 1);
    assert(lock->token <= l->counters.revision);
    assert(node->lock_generation >= 1);

    sums->held += lock->held_count;
    sums->delayed += lock->delayed_count;
    sums->waiting += lock->waiting_count;
}

/* L12  Who holds or waits is in the session table, which knows of it: nobody
 *      else, and nothing twice. */
static void check_owner(const struct lease *l, const struct claim *claim)
{
    const struct session *session = session_find(l, claim->session);
    assert(session != NULL);
    assert(claim_find(session, claim->record.key.id, claim->handle) == claim);
    if (claim->state == CLAIM_WAITS) {
        assert(claim_waiting(session, claim->request) == claim);
    }
    assert(claim->label_size == 0);
}

void check_claim(const struct lease *l, const struct claim *claim, struct sums *sums)
{
    assert(claim->node->lock != NULL);
    assert(claim->record.key.id == claim->node->record.key.id);
    assert(claim->record.key.sub >= 1);
    assert(claim->record.key.sub <= l->counters.claims);
    assert(claim->mode == LEASE_EXCLUSIVE || claim->mode == LEASE_SHARED);
    assert(claim->delay_ms <= LEASE_DELAY_MS_MAX);
    if (claim->state == CLAIM_DELAYED) {
        assert(claim->delay_ms > 0);
    } else {
        check_owner(l, claim);
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
        assert(claim->state != CLAIM_DELAYED);
        held += claim->state == CLAIM_HELD;
        waiting += claim->state == CLAIM_WAITS;
    }
    assert(held == session->held_count);
    assert(waiting == session->waiting_count);

    for (const struct tree_link *link = tree_first(&session->waiting); link != NULL;
         link = tree_next(link)) {
        assert(tree_entry(link, const struct claim, by_request)->state == CLAIM_WAITS);
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
    tree_check(&session->opens);
    sums->sessions++;
    sums->caching += session->cache;
    sums->opens_of_sessions += session->opens_count;
    sums->results_of_sessions += session->results_count;
}

/* L18  Of the sessions those that have declared a cache are found by their ids. */
uint64_t check_caching(const struct lease *l)
{
    tree_check(&l->caching);
    uint64_t count = 0;
    uint64_t before = 0;
    for (struct tree_link *link = tree_first(&l->caching); link != NULL;
         link = tree_next(link)) {
        const struct session *session = session_caching(link);
        assert(session->cache && session->record.key.id > before);
        before = session->record.key.id;
        count++;
    }
    return count;
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

/* Rows are still coming, or what came was refused: the whole need not make sense. */
static bool is_loading(const struct lease *l)
{
    return l->slot == 0 && l->counters.record.stored;
}

/* L15  An ephemeral node is open, claimed or not empty, and knows who has it open;
 *      of a permanent one nobody is noted. */
void check_openers(const struct lease *l, const struct node *node, struct sums *sums)
{
    assert(node->ephemeral || node->openers == NULL);
    assert(!node->ephemeral || node != l->root);
    assert(!node->ephemeral || node->openers != NULL || node->lock != NULL ||
           node->children_count > 0 || is_loading(l) || mutant(ephemeral_outlives_opener));
    const struct opener *previous = NULL;
    for (const struct opener *opener = node->openers; opener != NULL; opener = opener->next) {
        assert(opener->node == node);
        assert(opener->prev == previous);
        previous = opener;
        sums->opens_of_nodes++;
    }
}

void check_opener(const struct lease *l, const struct opener *opener, struct sums *sums)
{
    const uint64_t instance = opener->record.key.id;
    assert(opener->node->record.key.id == instance);
    assert(opener->record.key.sub >= 1);
    assert(opener->record.key.sub <= l->counters.openers);
    assert(session_find(l, opener->session->record.key.id) == opener->session);
    assert(opener_find(opener->session, instance, opener->handle) == opener);
    sums->opens++;
}

/* L16  History is kept without a gap from its floor to the revision of the cell,
 *      and is no larger than the cell keeps. */
void check_history(const struct lease *l)
{
    const struct chunk *before = NULL;
    uint64_t last = lease_history_floor(l);
    struct lease_place place = {.chunk = history_first(l)};
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        const bool goes_on = event.revision == last && before != NULL;
        assert(goes_on || event.revision == last + 1 ||
               (before == NULL && event.revision == last));
        last = event.revision;
        before = place.chunk;
    }
    assert(before == l->history);
    assert(is_loading(l) || (last == l->counters.revision &&
                             l->counts.history_bytes <= l->limits.history_bytes));
}

void check_chunk(const struct lease *l, const struct chunk *chunk, struct sums *sums)
{
    uint64_t checksum = 0;
    struct lease_event event = {0};
    for (uint32_t at = 0; at < chunk->size;) {
        const uint32_t from = at;
        const bool sound = event_decode(chunk, &at, &event);
        assert(sound);
        assert(from > 0 || event.revision == chunk->record.key.id);
        checksum = chunk_checksum(checksum, chunk->events + from, at - from);
    }
    assert(chunk->size > 0 && chunk->size <= chunk->room);
    assert(checksum == chunk->checksum);
    assert(event.revision == chunk->last);
    assert(chunk->last <= l->counters.revision);
    sums->history_bytes += chunk->size;
}
