/* SPDX-License-Identifier: Apache-2.0
 *
 * machine.c -- the only door to change.
 *
 * Here is decided whether a command is executed at all: a session's at most
 * once, and if who asks may.  What it does then stands in machine_acl.c, machine_node.c,
 * machine_open.c, machine_lock.c and machine_session.c.  Every command first decides, and
 * changes nothing until nothing can refuse it any more; so a refused one leaves no trace but
 * its remembered outcome, and the acknowledgements that it carried.
 */
#include "lease/history.h"
#include "lease/lock.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

enum {
    ROOT_INSTANCE = 1,
};

/* -------------------------------------------------------------------- life */

struct lease *lease_new(const struct lease_allocator *allocator,
                        const struct lease_limits *limits)
{
    assert(limits->nodes >= 1);
    struct lease *l = allocator->allocate(allocator->context, sizeof *l);
    if (l == NULL) {
        allocator->exhausted(allocator->context);
    }
    *l = (struct lease){
        .allocator = *allocator,
        .limits = *limits,
        .counts = {.nodes = 1, .memory_bytes = sizeof *l},
        .counters = {.instances = ROOT_INSTANCE},
    };
    l->scratch = memory_take(l, RECORD_VALUE_MAX);
    l->root = node_new(l, LEASE_DIRECTORY, bytes_of(NULL, 0));
    l->root->acls = acls_take(l, (const struct bytes[LEASE_RIGHTS]){0}); /* Anyone. */

    record_added(l, &l->counters.record, (struct record_key){.kind = RECORD_COUNTERS});
    record_added(l, &l->root->record,
                 (struct record_key){.kind = RECORD_NODE, .id = ROOT_INSTANCE});
    return l;
}

void lease_free(struct lease *l)
{
    if (l == NULL) {
        return;
    }
    const struct lease_allocator allocator = l->allocator;
    record_release_all(l);
    memory_give(l, l->settled, l->settled_room * sizeof *l->settled);
    memory_give(l, l->delays, l->delays_room * sizeof *l->delays);
    memory_give(l, l->scratch, RECORD_VALUE_MAX);
    assert(l->counts.memory_bytes == sizeof *l);
    allocator.release(allocator.context, l, sizeof *l);
}

/* ------------------------------------------------------------------- epoch */

void lease_begin_epoch(struct lease *l, uint64_t slot, uint64_t epoch)
{
    assert(slot == l->slot + 1);
    assert(epoch < LEASE_NUMBER_MAX);
    /* A first entry that was carried forward behind a newer master's no-op
     * begins nothing: the barrier never falls. */
    if (epoch > l->counters.epoch) {
        l->counters.epoch = mutant(epoch_in_32_bits) ? (uint32_t)epoch : epoch;
        record_changed(l, &l->counters.record);
    }
    if (mutant(dedupe_dropped_at_failover)) {
        for (uint64_t id = lease_session_next(l, 0); id != 0; id = lease_session_next(l, id)) {
            result_forget(l, session_find(l, id), 1, UINT64_MAX);
        }
    }
}

bool lease_in_force(const struct lease *l, uint64_t epoch)
{
    return mutant(old_epoch_applied) || epoch >= l->counters.epoch;
}

void lease_slot_done(struct lease *l, uint64_t slot, uint32_t commands)
{
    assert(slot == l->slot + 1);
    l->slot = slot;
    l->position = commands;
}

/* ---------------------------------------------------------------- commands */

void machine_revise(struct lease *l)
{
    if (!l->revised) {
        next_number(&l->counters.revision);
        l->revised = true;
    }
}

static enum lease_rc execute(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct session *session,
                             struct lease_result *ret_result)
{
    const enum lease_rc may = machine_judge(l, c);
    if (may != LEASE_OK) {
        return may;
    }
    switch (c->type) {
    case LEASE_CMD_PUT:
        return machine_put(l, at, c, ret_result);
    case LEASE_CMD_CREATE:
        return machine_create(l, at, c, ret_result);
    case LEASE_CMD_DELETE:
        return machine_delete(l, at, c, session, ret_result);
    case LEASE_CMD_SESSION_OPEN:
        return machine_session_open(l, at, c, ret_result);
    case LEASE_CMD_SESSION_CLOSE:
        return machine_session_close(l, at, session);
    case LEASE_CMD_SESSION_EXPIRE:
        return machine_session_expire(l, at, c);
    case LEASE_CMD_ACQUIRE:
        return machine_acquire(l, at, c, session, ret_result);
    case LEASE_CMD_RELEASE:
        return machine_release(l, at, c, session);
    case LEASE_CMD_CANCEL:
        return machine_cancel(l, at, c, session, ret_result);
    case LEASE_CMD_TIMEOUT:
        return machine_timeout(l, at, c);
    case LEASE_CMD_OPEN:
        return machine_open(l, at, c, session, ret_result);
    case LEASE_CMD_CLOSE:
        return machine_close(l, at, c, session);
    case LEASE_CMD_DELAY_OVER:
        return machine_delay_over(l, at, c);
    case LEASE_CMD_STRETCH:
        return machine_stretch(l, at, c);
    case LEASE_CMD_SET_ACL:
        return machine_set_acl(l, at, c, ret_result);
    }
    assert(/* a command that decoded has a type */ false);
    return LEASE_OK;
}

static void answer(const struct lease *l, enum lease_rc rc, struct lease_result *ret_result)
{
    ret_result->rc = rc;
    ret_result->revision = l->counters.revision;
}

/* A refusal tells what a node is like only those who may read it, for a checksum gives a
 * short content away; and those who change its rights, who are told that by success, too. */
static enum lease_rc execute_as(struct lease *l, const struct lease_at *at,
                                const struct lease_command *c, struct session *session,
                                struct lease_result *ret_result)
{
    const enum lease_rc rc = execute(l, at, c, session, ret_result);
    if (rc == LEASE_CONFLICT && c->type != LEASE_CMD_SET_ACL &&
        lease_may(l, c->path, c->principal, LEASE_READ) != LEASE_OK) {
        ret_result->stat = (struct lease_stat){0};
    }
    return rc;
}

/* Is it a command that only a session can give? */
static bool needs_session(enum lease_command_type type)
{
    return type == LEASE_CMD_SESSION_CLOSE || type == LEASE_CMD_ACQUIRE ||
           type == LEASE_CMD_RELEASE || type == LEASE_CMD_CANCEL || type == LEASE_CMD_OPEN ||
           type == LEASE_CMD_CLOSE;
}

static void apply_once(struct lease *l, const struct lease_at *at,
                       const struct lease_command *c, struct lease_result *ret_result)
{
    const enum lease_rc rc = needs_session(c->type)
                                 ? LEASE_NO_SESSION
                                 : execute_as(l, at, c, /* session= */ NULL, ret_result);
    answer(l, rc, ret_result);
}

/* Is there no room for another outcome of this session?  It may always close: that
 * leaves nothing behind. */
static bool results_full(const struct session *session, const struct lease_command *c)
{
    return session->results_count >= LEASE_RESULTS_MAX && c->type != LEASE_CMD_SESSION_CLOSE;
}

/* (session, request) takes effect at most once. */
static void apply_request(struct lease *l, const struct lease_at *at,
                          const struct lease_command *c, struct lease_result *ret_result)
{
    struct session *session = session_find(l, c->session);
    if (session == NULL) {
        answer(l, LEASE_NO_SESSION, ret_result);
        return;
    }
    /* As with a wrong secret: it was never this session that asked. */
    if (!bytes_equal(c->principal, session_principal(session))) {
        answer(l, LEASE_DENIED, ret_result);
        return;
    }
    /* Before the limit is judged, so that a full table lets its clearing in. */
    const bool acks_kept = session_acknowledge(l, session, c);
    if (session_acknowledged(session, c->request)) {
        answer(l, LEASE_ACKNOWLEDGED, ret_result);
        return;
    }
    const struct result *known = result_find(l, c->session, c->request);
    if (known != NULL && !mutant(dedupe_not_consulted)) {
        result_recall(known, ret_result);
        return;
    }
    if (claim_waiting(session, c->request) != NULL) {
        answer(l, LEASE_WAITING, ret_result); /* A retry joins it. */
        return;
    }
    if (!acks_kept || results_full(session, c)) {
        answer(l, LEASE_RESULTS_FULL, ret_result);
        return;
    }
    answer(l, execute_as(l, at, c, session, ret_result), ret_result);
    if (ret_result->rc != LEASE_WAITING && c->type != LEASE_CMD_SESSION_CLOSE) {
        result_remember(l, session, c->request, ret_result);
    }
}

/* L5: one revision for a change of a node, none for a refusal. */
static void check_revised(const struct lease *l, const struct lease_command *c,
                          const struct lease_result *result)
{
    const bool of_node =
        c->type == LEASE_CMD_PUT || c->type == LEASE_CMD_CREATE || c->type == LEASE_CMD_DELETE;
    if ((of_node || c->type == LEASE_CMD_SET_ACL) && l->revised) {
        assert(result->rc == LEASE_OK);
    }
    if (of_node && c->session == 0 && result->rc == LEASE_OK) {
        assert(l->revised);
    }
}

void lease_apply(struct lease *l, const struct lease_at *at,
                 const struct lease_command *command, struct lease_result *ret_result)
{
    assert(at->slot == l->slot + 1);
    assert(at->position >= 1);
    assert(lease_in_force(l, at->epoch));
    l->settled_count = 0;
    l->delays_count = 0;
    l->revised = false;
    l->counters_moved = false;
    l->told = false;

    *ret_result = (struct lease_result){.slot = at->slot, .position = at->position};
    if (command->session == 0) {
        apply_once(l, at, command, ret_result);
    } else {
        apply_request(l, at, command, ret_result);
    }
    result_remember_settled(l);
    check_revised(l, command, ret_result);
    history_settle(l);
    if (l->revised || l->counters_moved) {
        record_changed(l, &l->counters.record);
    }
}
