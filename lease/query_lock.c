/* SPDX-License-Identifier: Apache-2.0
 *
 * query_lock.c -- what can be asked about sessions and locks.
 */
#include "lease/lock.h"
#include "lease/opener.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ---------------------------------------------------------------- sessions */

bool lease_session_get(const struct lease *l, uint64_t id, struct lease_session *ret_session)
{
    const struct session *session = session_find(l, id);
    if (session == NULL) {
        return false;
    }
    *ret_session = (struct lease_session){
        .id = id,
        .lease_ms = session->lease_ms,
        .opened_wall_ms = session->opened_wall_ms,
        .label = session_label(session),
        .principal = session_principal(session),
        .held = session->held_count,
        .waiting = session->waiting_count,
        .results = session->results_count,
        .opens = session->opens_count,
        .cache = session->cache,
    };
    return true;
}

bool lease_session_secret(const struct lease *l, uint64_t id, struct bytes secret)
{
    const struct session *session = session_find(l, id);
    uint64_t hash[2];
    lease_secret_hash(secret, hash);
    return session != NULL && session->secret_hash[0] == hash[0] &&
           session->secret_hash[1] == hash[1];
}

uint64_t lease_session_next(const struct lease *l, uint64_t after)
{
    if (after == UINT64_MAX) {
        return 0;
    }
    const struct record *record =
        record_from(l, (struct record_key){RECORD_SESSION, after + 1, 0});
    return record == NULL ? 0 : record->key.id;
}

uint64_t lease_caching_next(const struct lease *l, uint64_t after)
{
    uint64_t next = 0;
    struct tree_link *link = l->caching.root;
    while (link != NULL) {
        const uint64_t id = session_caching(link)->record.key.id;
        if (id > after) {
            next = id;
        }
        link = link->child[id <= after];
    }
    return next;
}

uint32_t lease_stretch_ms(const struct lease *l)
{
    return l->counters.stretch_ms;
}

uint32_t lease_longest_ms(const struct lease *l, uint32_t lease_ms)
{
    const bool stretched =
        lease_ms >= LEASE_SESSION_MS_DEFAULT && l->counters.stretch_ms > lease_ms;
    return stretched ? l->counters.stretch_ms : lease_ms;
}

/* ------------------------------------------------------------------- locks */

static struct lease_claim view(const struct lease *l, const struct claim *claim)
{
    const struct session *session = session_find(l, claim->session);
    const bool waits = claim->state == CLAIM_WAITS;
    return (struct lease_claim){
        .held = claim->state == CLAIM_HELD,
        .delayed = claim->state == CLAIM_DELAYED,
        .mode = (enum lease_mode)claim->mode,
        .session = claim->session,
        .handle = claim->handle,
        .request = claim->request,
        .number = claim->record.key.sub,
        .token = waits ? 0 : claim->node->lock->token,
        .since_wall_ms = claim->since_wall_ms,
        .delay_ms = waits ? 0 : claim->delay_ms,
        .wait_ms = waits ? claim->wait_ms : 0,
        .label = claim->state == CLAIM_DELAYED ? claim_label(claim)
                 : session == NULL             ? bytes_of(NULL, 0)
                                               : session_label(session),
    };
}

/* A page, filled from several passes over the claims. */
struct page {
    struct lease_claim *claims;
    uint32_t skip;
    uint32_t limit;
    uint32_t count;
    bool more;
};

/* Takes those in `state` from `claim` on; all who wait stand behind all others. */
static void take_claims(const struct lease *l, const struct claim *claim,
                        enum claim_state state, struct page *page)
{
    for (; claim != NULL && !page->more; claim = claim->next) {
        if (claim->state != state) {
            if (claim->state == CLAIM_WAITS) {
                return;
            }
        } else if (page->skip > 0) {
            page->skip--;
        } else if (page->count < page->limit) {
            page->claims[page->count++] = view(l, claim);
        } else {
            page->more = true;
        }
    }
}

static enum lease_rc find_lock(const struct lease *l, struct bytes path,
                               const struct lock **ret_lock)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, path, &place);
    if (rc == LEASE_NO_PARENT || (rc == LEASE_OK && place.node == NULL)) {
        return LEASE_NO_NODE;
    }
    if (rc == LEASE_OK) {
        *ret_lock = place.node->lock;
    }
    return rc;
}

enum lease_rc lease_claims(const struct lease *l, struct bytes path, uint32_t skip,
                           uint32_t limit, struct lease_claim *ret_claims, uint32_t *ret_count,
                           bool *ret_more)
{
    const struct lock *lock = NULL;
    const enum lease_rc rc = find_lock(l, path, &lock);
    if (rc != LEASE_OK) {
        return rc;
    }
    struct page page = {.claims = ret_claims, .skip = skip, .limit = limit};
    if (lock != NULL) {
        take_claims(l, lock->first, CLAIM_HELD, &page);
        take_claims(l, lock->first, CLAIM_DELAYED, &page);
        take_claims(l, lock->first_waiting, CLAIM_WAITS, &page);
    }
    *ret_count = page.count;
    *ret_more = page.more;
    return LEASE_OK;
}

enum lease_rc lease_sequencer(const struct lease *l, struct bytes path, enum lease_mode mode,
                              uint64_t token)
{
    const struct lock *lock = NULL;
    const enum lease_rc rc = find_lock(l, path, &lock);
    if (rc != LEASE_OK) {
        return rc;
    }
    /* All of one holding hold it in the same mode. */
    const bool held = lock != NULL && lock->held_count > 0 &&
                      (lock->token == token || mutant(sequencer_token_ignored)) &&
                      lock->first->mode == mode;
    return held ? LEASE_OK : LEASE_NOT_HELD;
}

uint64_t lease_locked_next(const struct lease *l, uint64_t after, uint8_t path[LEASE_PATH_MAX],
                           size_t *ret_path_size)
{
    if (after == UINT64_MAX) {
        return 0;
    }
    struct record *record = record_from(l, (struct record_key){RECORD_CLAIM, after + 1, 0});
    if (record == NULL) {
        return 0;
    }
    *ret_path_size = node_path(claim_of(record)->node, path);
    return record->key.id;
}

bool lease_waiting(const struct lease *l, uint64_t id, uint64_t request, uint32_t *ret_wait_ms)
{
    const struct session *session = session_find(l, id);
    const struct claim *claim = session == NULL ? NULL : claim_waiting(session, request);
    if (claim == NULL) {
        return false;
    }
    *ret_wait_ms = claim->wait_ms;
    return true;
}

void lease_waiting_visit(const struct lease *l,
                         void (*visit)(void *context, uint64_t session, uint64_t request,
                                       uint32_t wait_ms),
                         void *context)
{
    struct record *record = record_from(l, (struct record_key){RECORD_CLAIM, 0, 0});
    for (; record != NULL; record = record_next(record)) {
        const struct claim *claim = claim_of(record);
        if (claim->state == CLAIM_WAITS) {
            visit(context, claim->session, claim->request, claim->wait_ms);
        }
    }
}

void lease_delays_visit(const struct lease *l,
                        void (*visit)(void *context, const struct lease_delay *delay),
                        void *context)
{
    struct record *record = record_from(l, (struct record_key){RECORD_CLAIM, 0, 0});
    for (; record != NULL; record = record_next(record)) {
        const struct claim *claim = claim_of(record);
        if (claim->state == CLAIM_DELAYED) {
            const struct lease_delay delay = lock_delay(claim);
            visit(context, &delay);
        }
    }
}

bool lease_claim_path(const struct lease *l, uint64_t id, uint64_t request,
                      uint8_t path[LEASE_PATH_MAX], size_t *ret_size)
{
    const struct session *session = session_find(l, id);
    const struct claim *claim = session == NULL ? NULL : claim_waiting(session, request);
    if (claim == NULL) {
        return false;
    }
    *ret_size = node_path(claim->node, path);
    return true;
}

static void visit_ephemeral(const struct node *node,
                            void (*visit)(void *context, struct bytes path), void *context)
{
    if (node->ephemeral) {
        uint8_t path[LEASE_PATH_MAX];
        visit(context, bytes_of(path, node_path(node, path)));
    }
}

void lease_ephemerals_visit(const struct lease *l, uint64_t id,
                            void (*visit)(void *context, struct bytes path), void *context)
{
    const struct session *session = session_find(l, id);
    if (session == NULL) {
        return;
    }
    for (struct tree_link *link = tree_first(&session->opens); link != NULL;
         link = tree_next(link)) {
        visit_ephemeral(opener_owned(link)->node, visit, context);
    }
    for (struct tree_link *link = tree_first(&session->claims); link != NULL;
         link = tree_next(link)) {
        visit_ephemeral(claim_owned(link)->node, visit, context);
    }
}
