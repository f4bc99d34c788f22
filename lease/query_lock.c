/* SPDX-License-Identifier: Apache-2.0
 *
 * query_lock.c -- what can be asked about sessions and locks.
 */
#include "lease/lock.h"

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

/* ------------------------------------------------------------------- locks */

static struct lease_claim view(const struct lease *l, const struct claim *claim)
{
    const struct session *session = session_find(l, claim->session);
    return (struct lease_claim){
        .held = claim->held,
        .mode = (enum lease_mode)claim->mode,
        .session = claim->session,
        .handle = claim->handle,
        .request = claim->request,
        .token = claim->held ? claim->node->lock->token : 0,
        .since_wall_ms = claim->since_wall_ms,
        .wait_ms = claim->held ? 0 : claim->wait_ms,
        .label = session == NULL ? bytes_of(NULL, 0) : session_label(session),
    };
}

enum lease_rc lease_claims(const struct lease *l, struct bytes path, uint32_t skip,
                           uint32_t limit, struct lease_claim *ret_claims, uint32_t *ret_count,
                           bool *ret_more)
{
    struct node_place place;
    const enum lease_rc rc = node_walk(l, path, &place);
    if (rc == LEASE_NO_PARENT || (rc == LEASE_OK && place.node == NULL)) {
        return LEASE_NO_NODE;
    }
    if (rc != LEASE_OK) {
        return rc;
    }
    const struct claim *claim = place.node->lock == NULL ? NULL : place.node->lock->first;
    for (; claim != NULL && skip > 0; skip--) {
        claim = claim->next;
    }
    uint32_t count = 0;
    for (; claim != NULL && count < limit; claim = claim->next) {
        ret_claims[count++] = view(l, claim);
    }
    *ret_count = count;
    *ret_more = claim != NULL;
    return LEASE_OK;
}

/* Below /ls/<cell>/, without leading slash. */
static size_t write_path(const struct lease *l, const struct node *node,
                         uint8_t path[LEASE_PATH_MAX])
{
    size_t size = 0;
    for (const struct node *up = node; up != l->root; up = up->parent) {
        size += up->name_size + (up == node ? 0u : 1u);
    }
    assert(size <= LEASE_PATH_MAX);
    size_t at = size;
    for (const struct node *up = node; up != l->root; up = up->parent) {
        at -= up->name_size;
        memcpy(path + at, up->name, up->name_size);
        if (at > 0) {
            path[--at] = '/';
        }
    }
    assert(at == 0);
    return size;
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
    *ret_path_size = write_path(l, claim_of(record)->node, path);
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
        if (!claim->held) {
            visit(context, claim->session, claim->request, claim->wait_ms);
        }
    }
}
