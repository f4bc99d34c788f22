/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and locks: the first who applies an entry is compared with a model
 * that shares no code with it, and what clients believe with that model.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/agents.h"
#include "tests/sim/audit_internal.h"
#include "tests/sim/sometimes.h"

/* Locks at a time; more than the clients have names. */
enum { CLAIMS_MAX = 512 };

/* ------------------------------------------------------------------ the model */

static const char *state_name(bool held, bool delayed)
{
    return held ? "held" : delayed ? "closed" : "awaited";
}

static void compare_claim(struct world *w, const struct model_node *node,
                          const struct model_claim *expected, const struct lease_claim *claim)
{
    if (claim->session != expected->session || claim->handle != expected->handle ||
        claim->request != expected->request || claim->mode != expected->mode ||
        claim->held != expected->held || claim->delayed != expected->delayed ||
        claim->number != expected->number) {
        world_fail(w, "queue",
                   "slot %" PRIu64 ": %.*s is %s by session %016" PRIx64
                   " where it should be %s by %016" PRIx64,
                   w->audit->last, (int)node->path.size, (const char *)node->path.data,
                   state_name(claim->held, claim->delayed), claim->session,
                   state_name(expected->held, expected->delayed), expected->session);
    }
    if ((claim->held || claim->delayed) &&
        (claim->token != node->token || claim->delay_ms != expected->delay_ms)) {
        world_fail(w, "token",
                   "slot %" PRIu64 ": %.*s is held with token %" PRIu64 " and delay %u ms"
                   " instead of %" PRIu64 " and %u ms",
                   w->audit->last, (int)node->path.size, (const char *)node->path.data,
                   claim->token, claim->delay_ms, node->token, expected->delay_ms);
    }
}

/* Holders, then who failed, then waiters as they came. */
static uint32_t rank(const struct model_claim *claim)
{
    return claim->held ? 0 : claim->delayed ? 1 : 2;
}

/* The claims of a node in the order of the model. */
static uint32_t compare_node(struct world *w, const struct lease *l,
                             const struct model_node *node)
{
    const struct model *m = &w->audit->model;
    struct lease_claim claims[CLAIMS_MAX];
    uint32_t count = 0;
    uint32_t at = 0;
    bool more = false;
    if (lease_claims(l, node->path, 0, CLAIMS_MAX, claims, &count, &more) != LEASE_OK) {
        world_fail(w, "nodes", "slot %" PRIu64 ": the node %.*s is gone", w->audit->last,
                   (int)node->path.size, (const char *)node->path.data);
    }
    for (uint32_t i = 0; i < 3 * m->claims_count; i++) {
        const struct model_claim *expected = &m->claims[i % m->claims_count];
        if (expected->instance != node->instance || rank(expected) != i / m->claims_count) {
            continue;
        }
        if (at == count) {
            world_fail(w, "queue",
                       "slot %" PRIu64 ": session %016" PRIx64 " has lost its place at %.*s",
                       w->audit->last, expected->session, (int)node->path.size,
                       (const char *)node->path.data);
        }
        compare_claim(w, node, expected, &claims[at++]);
    }
    if (at < count) {
        world_fail(w, "queue",
                   "slot %" PRIu64 ": %.*s is %s by session %016" PRIx64 ", and should not be",
                   w->audit->last, (int)node->path.size, (const char *)node->path.data,
                   state_name(claims[at].held, claims[at].delayed), claims[at].session);
    }
    return at;
}

static void compare_counts(struct world *w, const struct lease *l, uint32_t claims)
{
    const struct model *m = &w->audit->model;
    const struct lease_counts counts = lease_counts(l);
    uint64_t sessions = 0;
    for (uint32_t i = 0; i < m->sessions_count; i++) {
        sessions += !m->sessions[i].over;
    }
    if (counts.sessions != sessions ||
        counts.held + counts.delayed + counts.waiting != claims) {
        world_fail(w, "owners",
                   "slot %" PRIu64 " leaves %" PRIu64 " sessions and %" PRIu64
                   " claims, where the log gives %" PRIu64 " and %u",
                   w->audit->last, counts.sessions,
                   counts.held + counts.delayed + counts.waiting, sessions, claims);
    }
    if (counts.nodes != m->count || counts.opens != m->opens_count) {
        world_fail(w, "nodes",
                   "slot %" PRIu64 " leaves %" PRIu64 " nodes, open %" PRIu64
                   " times, where the log gives %u and %u",
                   w->audit->last, counts.nodes, counts.opens, m->count, m->opens_count);
    }
    if (lease_stretch_ms(l) != m->stretch_ms) {
        world_fail(w, "nodes", "slot %" PRIu64 " leaves leases of %u ms instead of %u",
                   w->audit->last, lease_stretch_ms(l), m->stretch_ms);
    }
}

static void compare_state(struct world *w, const struct replica *r)
{
    const struct model *m = &w->audit->model;
    const struct lease *l = service_lease(r->service);
    const struct lease_position position = lease_position(l);
    if (position.revision != m->revision) {
        world_fail(w, "at-most-once",
                   "slot %" PRIu64 " leaves revision %" PRIu64 ", where the log gives %" PRIu64,
                   w->audit->last, position.revision, m->revision);
    }
    uint32_t compared = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        compared += compare_node(w, l, &m->nodes[i]);
    }
    compare_counts(w, l, compared);
    audit_history(w, l);
}

static void execute(struct world *w, const struct history_entry *entry)
{
    struct model *m = &w->audit->model;
    const uint32_t events = m->events_count;
    if (entry->command == NULL) {
        struct history_result result;
        model_execute(m, &entry->request, entry->wall_ms, &result);
        audit_events_applied(w, entry, events, result.rc);
        return;
    }
    const struct lease_command *c = entry->command;
    const bool known = model_outcome(m, c->session, c->request) != NULL;
    const uint32_t denied = m->denied_waiting;
    struct model_outcome outcome;
    model_command(m, entry, &outcome);
    sometimes_if(m->denied_waiting > denied, right_lost_waiting);
    if (c->type == LEASE_CMD_PUT && !known && outcome.rc == LEASE_OK) {
        agents_written(w, c->content, m->events[events].event.instance, entry->index);
    }
    audit_events_applied(w, entry, events, known ? LEASE_OK : outcome.rc);
}

void audit_sessions_applied(struct world *w, const struct replica *r, paxos_slot slot,
                            const struct paxos_value *value)
{
    struct history *h = &w->audit->memory;
    if (paxos_self_made(value->kind)) {
        return;
    }
    h->log_count = 0;
    audit_log_commands(w, h, slot, value);
    if (value->epoch < w->audit->barrier) {
        return;
    }
    for (uint32_t i = 0; i < h->log_count; i++) {
        execute(w, &h->log[i]);
    }
    compare_state(w, r);
    agents_check_beliefs(w);
    reads_check_kept(w);
}

void audit_execute(struct world *w, const struct history_request *request,
                   struct history_result *ret_result)
{
    model_execute(&w->audit->model, request, /* wall_ms= */ 0, ret_result);
}

/* ------------------------------------------------------------------- proposals */

void audit_proposed(struct world *w, const struct replica *r, const struct store_batch *batch)
{
    for (uint32_t i = 0; r->status.serving && i < batch->entries_count; i++) {
        const struct paxos_value *value = &batch->entries[i].value;
        struct reader reader = reader_over(value->data);
        if (paxos_self_made(value->kind) || value->epoch != r->status.epoch) {
            continue;
        }
        struct lease_command c;
        while (read_left(&reader) > 0 && lease_command_decode(&reader, &c)) {
            if (c.type == LEASE_CMD_SESSION_EXPIRE) {
                links_expiry_proposed(w, r, c.subject);
                audit_judged(w, c.subject);
            }
        }
    }
}

/* -------------------------------------------------------------------- answers */

/* Does this speak of an outcome that the cell remembers? */
static bool remembered(const struct service_reply *reply)
{
    return reply->outcome == SERVICE_DONE ||
           (reply->outcome == SERVICE_REFUSED && reply->rc != LEASE_NO_SESSION &&
            reply->rc != LEASE_ACKNOWLEDGED && reply->rc != LEASE_RESULTS_FULL &&
            reply->rc != LEASE_BAD_PATH);
}

void audit_answered(struct world *w, const struct replica *r, uint64_t session,
                    uint64_t request, const struct service_reply *reply)
{
    if (session == 0 || request == 0 || reply->op == SERVICE_SESSION_CLOSE ||
        !remembered(reply)) {
        return;
    }
    const struct model_outcome *outcome = model_outcome(&w->audit->model, session, request);
    const enum lease_rc rc = reply->outcome == SERVICE_DONE ? LEASE_OK : reply->rc;
    if (outcome == NULL || outcome->rc != rc || outcome->index.slot != reply->slot ||
        outcome->index.position != reply->position ||
        (reply->op == SERVICE_LOCK_ACQUIRE && rc == LEASE_OK &&
         outcome->token != reply->token)) {
        world_fail(w, "outcome",
                   "replica %u answers request %" PRIu64 " of session %016" PRIx64
                   " with rc %d at [%" PRIu64 ",%u]; the log gives rc %d at [%" PRIu64 ",%u]",
                   r->index + 1, request, session, (int)rc, reply->slot, reply->position,
                   outcome == NULL ? -1 : (int)outcome->rc,
                   outcome == NULL ? 0 : outcome->index.slot,
                   outcome == NULL ? 0 : outcome->index.position);
    }
    sometimes_if(reply->slot != 0 && w->audit->slots[reply->slot].value.epoch < r->status.epoch,
                 dedupe_after_failover);
    sometimes_if(reply->op == SERVICE_LOCK_CANCEL && rc == LEASE_OK, cancel_too_late);
}

/* -------------------------------------------------------------------- beliefs */

void audit_believes(struct world *w, uint64_t session)
{
    if (!model_session_lives(&w->audit->model, session)) {
        world_fail(w, "expiry",
                   "session %016" PRIx64 " is over at slot %" PRIu64
                   ", and its client still believes in it",
                   session, w->audit->last);
    }
}

/* Who deletes a node gives up the lock that it holds of it. */
bool audit_gave_up(const struct world *w, uint64_t session, struct bytes path, uint64_t token)
{
    const struct model *m = &w->audit->model;
    for (uint32_t i = m->events_count; i > 0 && m->events[i - 1].event.revision > token; i--) {
        const struct model_event *happened = &m->events[i - 1];
        if (happened->by == session && happened->event.change == LEASE_DELETED &&
            bytes_equal(happened->event.path, path)) {
            return true;
        }
    }
    return false;
}

void audit_believes_held(struct world *w, uint64_t session, struct bytes path, uint64_t token)
{
    const struct model *m = &w->audit->model;
    const struct model_node *node = model_find(m, path);
    for (uint32_t i = 0; node != NULL && i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == node->instance && claim->session == session && claim->held &&
            node->token == token) {
            return;
        }
    }
    if (!audit_gave_up(w, session, path, token)) {
        world_fail(w, "belief",
                   "session %016" PRIx64 " believes to hold %.*s with token %" PRIu64
                   ", which is not so at slot %" PRIu64,
                   session, (int)path.size, (const char *)path.data, token, w->audit->last);
    }
}

bool audit_timely(const struct world *w)
{
    return !w->plan.wild;
}
