/* SPDX-License-Identifier: Apache-2.0
 *
 * result.c -- outcomes, remembered until the client has acknowledged them.
 *
 * The reply to a command may be lost with the master that would have sent it.
 * The client then asks the next one again, under the same request id, and must
 * hear what it would have heard: the same outcome, at the same place of the log.
 */
#include "lease/lock.h"
#include "lease/session.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* -------------------------------------------------------------------- life */

struct result *result_find(const struct lease *l, uint64_t session, uint64_t request)
{
    struct record *record =
        record_find(l, (struct record_key){RECORD_RESULT, session, request});
    return record == NULL ? NULL : result_of(record);
}

struct result *result_new(struct lease *l, bool has_stat)
{
    const size_t size = sizeof(struct result) + (has_stat ? sizeof(struct lease_stat) : 0);
    struct result *result = memory_take(l, size);
    memset(result, 0, size);
    result->has_stat = has_stat;
    return result;
}

size_t result_size(const struct result *result)
{
    return sizeof *result + (result->has_stat ? sizeof *result->stat : 0);
}

void result_release(struct lease *l, struct result *result)
{
    memory_give(l, result, result_size(result));
}

void result_add(struct lease *l, struct session *session, struct result *result,
                uint64_t request)
{
    assert(request != 0);
    assert(session->results_count < SESSION_OUTCOMES_MAX);
    record_added(l, &result->record,
                 (struct record_key){RECORD_RESULT, session->record.key.id, request});
    session->results_count++;
}

bool result_is_outcome(uint8_t rc)
{
    /* Not yet; nobody to remember it for; no room for it. */
    return rc <= LEASE_NO_ACL && rc != LEASE_WAITING && rc != LEASE_NO_SESSION &&
           rc != LEASE_RESULTS_FULL;
}

/* u8 version | u8 rc | u8 1: created, 2: a stat follows | u64 slot | u32 position
 * | u64 revision | u64 token | [u8 kind | u64 instance | u64 content, lock and ACL
 * generation | u64 checksum | u64 revision | u64 modified_wall_ms | u64 size |
 * u64 children | u64 lock_token | u8 ephemeral]. */
void result_encode(const struct result *result, struct writer *w)
{
    static_assert((RECORD_KEY_SIZE + 3 + 8 + 4 + 8 + 8 + 1 + 10 * 8 + 1) * LEASE_RESULTS_MAX <=
                      64 * 1024,
                  "the outcomes of a session are at most 64 KiB");
    write_u8(w, RECORD_VERSION);
    write_u8(w, result->rc);
    write_u8(w, (uint8_t)((result->created ? 1 : 0) | (result->has_stat ? 2 : 0)));
    write_u64(w, result->slot);
    write_u32(w, result->position);
    write_u64(w, result->revision);
    write_u64(w, result->token);
    if (result->has_stat) {
        const struct lease_stat *stat = result->stat;
        write_u8(w, (uint8_t)stat->kind);
        write_u64(w, stat->instance);
        write_u64(w, stat->content_generation);
        write_u64(w, stat->lock_generation);
        write_u64(w, stat->acl_generation);
        write_u64(w, stat->checksum);
        write_u64(w, stat->revision);
        write_u64(w, stat->modified_wall_ms);
        write_u64(w, stat->size);
        write_u64(w, stat->children);
        write_u64(w, stat->lock_token);
        write_u8(w, stat->ephemeral);
    }
}

/* ---------------------------------------------------------- remember, recall */

static void forget(struct lease *l, struct session *session, struct result *result)
{
    assert(session->results_count > 0);
    session->results_count--;
    record_removed(l, &result->record);
}

void result_forget(struct lease *l, struct session *session, uint64_t first, uint64_t last)
{
    const uint64_t id = session->record.key.id;
    if (session->results_count == 0) {
        return;
    }
    struct record *record = record_from(l, (struct record_key){RECORD_RESULT, id, first});
    while (record != NULL && record->key.id == id && record->key.sub <= last) {
        struct record *next = record_next(record);
        forget(l, session, result_of(record));
        record = next;
    }
}

void result_remember(struct lease *l, struct session *session, uint64_t request,
                     const struct lease_result *outcome)
{
    assert(result_is_outcome((uint8_t)outcome->rc));
    if (session_acknowledged(session, request)) {
        return; /* A client that doesn't want to know what it waits for. */
    }
    if (mutant(dedupe_not_consulted) || mutant(waiter_left_after_cancel)) {
        result_forget(l, session, request, request); /* It may be the second. */
    }
    if (mutant(outcome_evicted) && session->results_count >= 2 && request > 1) {
        result_forget(l, session, 1, request - 1);
    }
    struct result *result = result_new(l, outcome->stat.instance != 0);
    result->rc = (uint8_t)outcome->rc;
    result->created = outcome->created;
    result->slot = outcome->slot;
    result->position = outcome->position;
    result->revision = outcome->revision;
    result->token = outcome->token;
    if (result->has_stat) {
        result->stat[0] = outcome->stat;
    }
    result_add(l, session, result, request);
}

void result_recall(const struct result *result, struct lease_result *ret_outcome)
{
    *ret_outcome = (struct lease_result){
        .rc = (enum lease_rc)result->rc,
        .revision = result->revision,
        .created = result->created,
        .token = result->token,
        .slot = result->slot,
        .position = result->position,
    };
    if (result->has_stat) {
        ret_outcome->stat = result->stat[0];
    }
}

/* ----------------------------------------------------------------- settled */

static struct lease_settled *settled_add(struct lease *l)
{
    if (l->settled_count == l->settled_room) {
        const uint32_t room = l->settled_room == 0 ? 4 : l->settled_room * 2;
        struct lease_settled *settled = memory_take(l, room * sizeof *settled);
        if (l->settled_count > 0) {
            memcpy(settled, l->settled, l->settled_count * sizeof *settled);
        }
        memory_give(l, l->settled, l->settled_room * sizeof *settled);
        l->settled = settled;
        l->settled_room = room;
    }
    return &l->settled[l->settled_count++];
}

const struct lease_settled *lease_settled(const struct lease *l, uint32_t *ret_count)
{
    *ret_count = l->settled_count;
    return l->settled;
}

void result_settle(struct lease *l, const struct lease_at *at, const struct claim *claim,
                   enum lease_rc rc)
{
    struct lease_settled *settled = settled_add(l);
    *settled = (struct lease_settled){
        .session = claim->session,
        .request = claim->request,
        .result = {.rc = rc,
                   .token = rc == LEASE_OK ? claim->node->lock->token : 0,
                   .slot = at->slot,
                   .position = at->position},
    };
}

void result_remember_settled(struct lease *l)
{
    for (uint32_t i = 0; i < l->settled_count; i++) {
        struct lease_settled *settled = &l->settled[i];
        settled->result.revision = l->counters.revision;
        struct session *session = session_find(l, settled->session);
        if (session != NULL) { /* Else it has ended with what it waited for. */
            result_remember(l, session, settled->request, &settled->result);
        }
    }
}
