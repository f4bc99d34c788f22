/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.c -- claims in their lists and trees, and whose turn it is.
 */
#include "lease/history.h"
#include "lease/lock.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- rules */

bool lock_compatible(const struct lock *lock, enum lease_mode mode)
{
    if (lock->delayed_count > 0 && !mutant(granted_in_delay)) {
        return false;
    }
    if (lock->held_count == 0) {
        return true;
    }
    return mode == LEASE_SHARED && lock->first->mode == LEASE_SHARED;
}

bool lock_admits(const struct lock *lock, enum lease_mode mode)
{
    const bool queues = lock != NULL && lock->waiting_count > 0 &&
                        !(mutant(shared_overtakes) && mode == LEASE_SHARED);
    return lock == NULL || (!queues && lock_compatible(lock, mode));
}

/* ------------------------------------------------------------------ lookup */

static int owner_compare(uint64_t instance, uint64_t handle, const struct claim *claim)
{
    const uint64_t other = claim->node->record.key.id;
    if (instance != other) {
        return instance > other ? 1 : -1;
    }
    return (handle > claim->handle) - (handle < claim->handle);
}

static struct claim *by_request(struct tree_link *link)
{
    return tree_entry(link, struct claim, by_request);
}

struct claim *claim_find(const struct session *session, uint64_t instance, uint64_t handle)
{
    struct tree_link *link = session->claims.root;
    while (link != NULL) {
        const int order = owner_compare(instance, handle, claim_owned(link));
        if (order == 0) {
            return claim_owned(link);
        }
        link = link->child[order > 0];
    }
    return NULL;
}

struct claim *claim_waiting(const struct session *session, uint64_t request)
{
    struct tree_link *link = session->waiting.root;
    while (link != NULL) {
        struct claim *claim = by_request(link);
        if (claim->request == request) {
            return claim;
        }
        link = link->child[request > claim->request];
    }
    return NULL;
}

struct claim *claim_first(const struct session *session)
{
    struct tree_link *link =
        mutant(claims_in_tree_order) ? session->claims.root : tree_first(&session->claims);
    return link == NULL ? NULL : claim_owned(link);
}

/* ------------------------------------------------------------------- links */

struct claim *claim_new(struct lease *l)
{
    struct claim *claim = memory_take(l, sizeof *claim);
    memset(claim, 0, sizeof *claim);
    return claim;
}

void claim_release(struct lease *l, struct claim *claim)
{
    memory_give(l, claim->label, claim->label_size);
    memory_give(l, claim, sizeof *claim);
}

void claim_set_label(struct lease *l, struct claim *claim, struct bytes label)
{
    assert(claim->label == NULL && label.size <= LEASE_LABEL_MAX);
    if (label.size > 0) {
        claim->label = memory_take(l, label.size);
        memcpy(claim->label, label.data, label.size);
        claim->label_size = (uint8_t)label.size;
    }
}

static bool link_owner(struct session *session, struct claim *claim)
{
    struct tree_place place = tree_root_place(&session->claims);
    while (*place.at != NULL) {
        const int order =
            owner_compare(claim->node->record.key.id, claim->handle, claim_owned(*place.at));
        if (order == 0) {
            return false;
        }
        place = tree_below(place, order > 0);
    }
    tree_insert(&session->claims, place, &claim->by_owner);
    return true;
}

static bool link_request(struct session *session, struct claim *claim)
{
    struct tree_place place = tree_root_place(&session->waiting);
    while (*place.at != NULL) {
        const uint64_t other = by_request(*place.at)->request;
        if (claim->request == other) {
            return false;
        }
        place = tree_below(place, claim->request > other);
    }
    tree_insert(&session->waiting, place, &claim->by_request);
    return true;
}

struct lock *lock_of(struct lease *l, struct node *node)
{
    if (node->lock == NULL) {
        node->lock = memory_take(l, sizeof *node->lock);
        *node->lock = (struct lock){0};
    }
    return node->lock;
}

/* Behind all others of its node. */
static void link_lock(struct lease *l, struct claim *claim)
{
    struct lock *lock = lock_of(l, claim->node);
    claim->prev = lock->last;
    if (lock->last == NULL) {
        lock->first = claim;
    } else {
        lock->last->next = claim;
    }
    lock->last = claim;
}

static void count_held(struct lease *l, struct session *session, struct claim *claim)
{
    assert(claim->state == CLAIM_HELD);
    claim->node->lock->held_count++;
    l->counts.held++;
    if (session != NULL) {
        session->held_count++;
    }
}

static void count_delayed(struct lease *l, struct claim *claim)
{
    assert(claim->state == CLAIM_DELAYED);
    claim->node->lock->delayed_count++;
    l->counts.delayed++;
}

static void count_waiting(struct lease *l, struct session *session, struct claim *claim)
{
    struct lock *lock = claim->node->lock;
    if (lock->first_waiting == NULL) {
        lock->first_waiting = claim;
    }
    lock->waiting_count++;
    l->counts.waiting++;
    session->waiting_count++;
}

bool claim_link(struct lease *l, struct session *session, struct claim *claim)
{
    const bool waits = claim->state == CLAIM_WAITS;
    if (session != NULL && !link_owner(session, claim)) {
        return false;
    }
    if (waits && !link_request(session, claim)) {
        tree_remove(&session->claims, &claim->by_owner);
        return false;
    }
    link_lock(l, claim);
    if (waits) {
        count_waiting(l, session, claim);
        return true;
    }
    assert(claim->node->lock->waiting_count == 0); /* The others are the front of the list. */
    if (claim->state == CLAIM_HELD) {
        count_held(l, session, claim);
    } else {
        count_delayed(l, claim);
    }
    return true;
}

void claim_unlink_session(struct session *session, struct claim *claim)
{
    tree_remove(&session->claims, &claim->by_owner);
    if (claim->state == CLAIM_HELD) {
        assert(session->held_count > 0);
        session->held_count--;
    } else {
        assert(session->waiting_count > 0);
        tree_remove(&session->waiting, &claim->by_request);
        session->waiting_count--;
    }
}

/* It waits no more, though it may stay in the list. */
static void unlink_waiting(struct lease *l, struct claim *claim)
{
    struct lock *lock = claim->node->lock;
    assert(lock->waiting_count > 0 && l->counts.waiting > 0);
    lock->waiting_count--;
    l->counts.waiting--;
    if (lock->first_waiting == claim) {
        lock->first_waiting = claim->next;
    }
}

static void unlink_held(struct lease *l, struct claim *claim)
{
    struct lock *lock = claim->node->lock;
    assert(lock->held_count > 0 && l->counts.held > 0);
    lock->held_count--;
    l->counts.held--;
}

static void unlink_delayed(struct lease *l, struct claim *claim)
{
    struct lock *lock = claim->node->lock;
    assert(lock->delayed_count > 0 && l->counts.delayed > 0);
    lock->delayed_count--;
    l->counts.delayed--;
}

static void unlink_lock(struct lease *l, struct claim *claim)
{
    struct lock *lock = claim->node->lock;
    if (claim->prev == NULL) {
        lock->first = claim->next;
    } else {
        claim->prev->next = claim->next;
    }
    if (claim->next == NULL) {
        lock->last = claim->prev;
    } else {
        claim->next->prev = claim->prev;
    }
    claim->prev = NULL;
    claim->next = NULL;
    if (lock->first == NULL) {
        assert(lock->held_count == 0 && lock->delayed_count == 0 && lock->waiting_count == 0);
        memory_give(l, lock, sizeof *lock);
        claim->node->lock = NULL;
    }
}

/* ----------------------------------------------------------------- changes */

/* Someone will hold: joins those who do, or begins a holding.  Its token is
 * newer than any that the name ever had, as the revision is the cell's and not
 * the node's (Chubby's sequencers, 2.4). */
static void join_holding(struct lease *l, struct node *node)
{
    struct lock *lock = node->lock;
    machine_revise(l);
    if (lock->held_count == 0) {
        assert(lock->token < l->counters.revision);
        if (!mutant(token_not_renewed) || lock->token == 0) {
            lock->token = l->counters.revision;
        }
        next_number(&node->lock_generation);
        record_changed(l, &node->record);
    }
}

struct claim *lock_claim(struct lease *l, const struct lease_at *at, struct node *node,
                         struct session *session, const struct lease_command *c, bool held)
{
    struct lock *lock = lock_of(l, node);
    if (held) {
        assert(lock_admits(lock, c->mode));
        join_holding(l, node);
    }
    struct claim *claim = claim_new(l);
    claim->node = node;
    claim->session = session->record.key.id;
    claim->handle = c->handle;
    claim->request = c->request;
    claim->since_wall_ms = at->wall_ms;
    claim->wait_ms = c->wait_ms;
    claim->delay_ms = c->delay_ms < LEASE_DELAY_MS_MAX ? c->delay_ms : LEASE_DELAY_MS_MAX;
    claim->mode = (uint8_t)c->mode;
    claim->state = held ? CLAIM_HELD : CLAIM_WAITS;
    const bool linked = claim_link(l, session, claim);
    assert(linked);

    const uint64_t number = next_number(&l->counters.claims);
    l->counters_moved = true;
    record_added(l, &claim->record,
                 (struct record_key){RECORD_CLAIM, node->record.key.id, number});
    machine_revise(l);
    history_append_claim(l, at, claim, held ? LEASE_GRANTED : LEASE_CONTENDED,
                         /* failed= */ false);
    return claim;
}

/* Who held it does so no more. */
static void end_holding(struct lease *l, const struct lease_at *at, struct claim *claim,
                        bool failed)
{
    machine_revise(l);
    history_append_claim(l, at, claim, LEASE_RELEASED, failed);
    unlink_held(l, claim);
}

static void drop(struct lease *l, const struct lease_at *at, struct session *session,
                 struct claim *claim, bool failed)
{
    if (session != NULL) {
        claim_unlink_session(session, claim);
    }
    switch ((enum claim_state)claim->state) {
    case CLAIM_HELD:
        end_holding(l, at, claim, failed);
        break;
    case CLAIM_DELAYED:
        unlink_delayed(l, claim);
        break;
    case CLAIM_WAITS:
        unlink_waiting(l, claim);
        break;
    }
    unlink_lock(l, claim);
    record_removed(l, &claim->record);
}

void lock_drop(struct lease *l, const struct lease_at *at, struct session *session,
               struct claim *claim)
{
    drop(l, at, session, claim, /* failed= */ false);
}

/* ------------------------------------------------------------------ lock-delay */

struct lease_delay lock_delay(const struct claim *claim)
{
    assert(claim->state == CLAIM_DELAYED);
    return (struct lease_delay){
        .instance = claim->record.key.id,
        .number = claim->record.key.sub,
        .delay_ms = claim->delay_ms,
    };
}

static void delay_begun(struct lease *l, const struct claim *claim)
{
    if (l->delays_count == l->delays_room) {
        const uint32_t room = l->delays_room == 0 ? 4 : l->delays_room * 2;
        struct lease_delay *delays = memory_take(l, room * sizeof *delays);
        if (l->delays_count > 0) {
            memcpy(delays, l->delays, l->delays_count * sizeof *delays);
        }
        memory_give(l, l->delays, l->delays_room * sizeof *delays);
        l->delays = delays;
        l->delays_room = room;
    }
    l->delays[l->delays_count++] = lock_delay(claim);
}

const struct lease_delay *lease_delays_begun(const struct lease *l, uint32_t *ret_count)
{
    *ret_count = l->delays_count;
    return l->delays;
}

void lock_fail(struct lease *l, const struct lease_at *at, struct session *session,
               struct claim *claim)
{
    assert(claim->state == CLAIM_HELD);
    if (claim->delay_ms == 0) {
        drop(l, at, session, claim, /* failed= */ true);
        return;
    }
    claim_unlink_session(session, claim);
    end_holding(l, at, claim, /* failed= */ true);
    claim->state = CLAIM_DELAYED;
    claim->since_wall_ms = at->wall_ms;
    claim_set_label(l, claim, session_label(session));
    count_delayed(l, claim);
    record_changed(l, &claim->record);
    delay_begun(l, claim);
}

/* ----------------------------------------------------------------- whose turn */

/* The head of the queue holds from now on. */
static void grant(struct lease *l, const struct lease_at *at, struct session *session,
                  struct claim *claim)
{
    assert(claim->state == CLAIM_WAITS);
    assert(claim == claim->node->lock->first_waiting);
    join_holding(l, claim->node);
    unlink_waiting(l, claim);
    if (session != NULL) {
        tree_remove(&session->waiting, &claim->by_request);
        assert(session->waiting_count > 0);
        session->waiting_count--;
    }
    claim->state = CLAIM_HELD;
    claim->since_wall_ms = at->wall_ms;
    count_held(l, session, claim);
    record_changed(l, &claim->record);
    history_append_claim(l, at, claim, LEASE_GRANTED, /* failed= */ false);
    result_settle(l, at, claim, LEASE_OK);
}

/* Has who waited the right still that it had when it asked? */
static bool may_hold(const struct lease *l, const struct session *session,
                     const struct node *node)
{
    return session == NULL || mutant(grant_without_rights) ||
           acl_allows(l, node, session_principal(session), LEASE_WRITE);
}

void lock_serve(struct lease *l, const struct lease_at *at, struct node *node)
{
    /* The lock goes with its last claim, so it is looked at anew each time. */
    while (node->lock != NULL && node->lock->first_waiting != NULL) {
        struct claim *claim = node->lock->first_waiting;
        if (!lock_compatible(node->lock, (enum lease_mode)claim->mode)) {
            return;
        }
        /* A session that ends takes its waiters with it (L12), but a lock that is
         * granted to nobody would be closed for ever: better to stop here. */
        struct session *session = session_find(l, claim->session);
        assert(session != NULL || mutant(dead_session_queued));
        if (may_hold(l, session, node)) {
            grant(l, at, session, claim);
        } else {
            result_settle(l, at, claim, LEASE_DENIED);
            lock_drop(l, at, session, claim);
        }
    }
}

/* u8 version | u64 session | u64 handle | u64 request | u8 mode | u8 state |
 * u64 token, 0 of a waiter | u64 since_wall_ms | u32 wait_ms | u32 delay_ms |
 * u8 length, label of one that is delayed. */
void claim_encode(const struct claim *claim, struct writer *w)
{
    write_u8(w, RECORD_VERSION);
    write_u64(w, claim->session);
    write_u64(w, claim->handle);
    write_u64(w, claim->request);
    write_u8(w, claim->mode);
    write_u8(w, claim->state);
    write_u64(w, claim->state == CLAIM_WAITS ? 0 : claim->node->lock->token);
    write_u64(w, claim->since_wall_ms);
    write_u32(w, claim->wait_ms);
    write_u32(w, claim->delay_ms);
    write_u8(w, claim->label_size);
    write_raw(w, claim->label, claim->label_size);
}
