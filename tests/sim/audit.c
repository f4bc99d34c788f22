/* SPDX-License-Identifier: Apache-2.0
 *
 * What is checked where a replica acts on its state: applied entries, turns,
 * leases, replies.  What is checked at messages and disks stands in
 * audit_acceptor.c.
 */
#include "tests/sim/audit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/agents.h"
#include "tests/sim/audit_internal.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"

enum { SLOTS_MAX = 1000 * 1000 };

/* ------------------------------------------------------------------- slots */

struct audit_slot *audit_slot(struct world *w, paxos_slot slot)
{
    struct audit *a = w->audit;
    if (slot > SLOTS_MAX) {
        world_fail(w, "bounded", "slot %" PRIu64 " is beyond all reason", slot);
    }
    while (a->slots_count <= slot) {
        if (a->slots_count == a->slots_capacity) {
            a->slots_capacity *= 2;
            a->slots = sim_resize(a->slots, a->slots_capacity * sizeof *a->slots);
        }
        a->slots[a->slots_count++] = (struct audit_slot){.known = false};
    }
    return &a->slots[slot];
}

paxos_slot audit_last(const struct world *w)
{
    return w->audit->last;
}

uint64_t audit_digest(const struct world *w, paxos_slot slot)
{
    return slot == 0 ? 0 : w->audit->slots[slot].digest;
}

uint32_t audit_masters(const struct world *w)
{
    return w->audit->masters;
}

/* ----------------------------------------------------------------- applied */

/* The first who applies a slot writes down what it holds, provided that it was
 * chosen at all. */
static void record(struct world *w, struct replica *r, const struct paxos_entry *entry,
                   uint64_t digest)
{
    struct audit *a = w->audit;
    if (entry->slot != a->last + 1) {
        world_fail(w, "order",
                   "replica %u applies slot %" PRIu64 ", but %" PRIu64
                   " is the last that anybody has applied",
                   r->index + 1, entry->slot, a->last);
    }
    audit_chosen(w, r, entry);
    struct audit_slot *slot = audit_slot(w, entry->slot);
    slot->known = true;
    slot->value = entry->value;
    slot->value.data = history_copy(&a->memory, entry->value.data);
    slot->digest = digest;
    a->last = entry->slot;
    if (paxos_self_made(entry->value.kind) && entry->value.epoch > a->barrier) {
        a->barrier = entry->value.epoch;
        a->masters++;
        sometimes_if(a->model.stretch_ms > 0, stretched_failover);
        sometimes_if(reads_are_kept(w), cache_over_failover);
    }
    slot->barrier = a->barrier;
    audit_sessions_applied(w, r, entry->slot, &slot->value);
}

static void compare(struct world *w, struct replica *r, const struct paxos_entry *entry,
                    bool in_force, uint64_t digest)
{
    const struct audit_slot *slot = audit_slot(w, entry->slot);
    if (slot->value.checksum != entry->value.checksum ||
        slot->value.checksum != paxos_value_checksum(&entry->value)) {
        world_fail(w, "agreement", "slot %" PRIu64 " has another value at replica %u",
                   entry->slot, r->index + 1);
    }
    if (!paxos_self_made(entry->value.kind) &&
        in_force != (entry->value.epoch >= slot->barrier)) {
        world_fail(w, "epoch",
                   "replica %u %s slot %" PRIu64 " of epoch %" PRIx64
                   " behind the own entry of %" PRIx64,
                   r->index + 1, in_force ? "applies" : "skips", entry->slot,
                   entry->value.epoch, slot->barrier);
    }
    if (slot->digest != digest) {
        world_fail(w, "digest", "replica %u has another state after slot %" PRIu64,
                   r->index + 1, entry->slot);
    }
}

void audit_applied(struct world *w, struct replica *r, const struct paxos_entry *entry,
                   bool in_force, uint64_t digest)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    const paxos_slot expected = me->applied + 1;
    if (entry->slot != expected) {
        world_fail(w, "order", "replica %u applies slot %" PRIu64 " after %" PRIu64,
                   r->index + 1, entry->slot, expected - 1);
    }
    if (entry->slot > w->audit->last) {
        record(w, r, entry, digest);
    }
    compare(w, r, entry, in_force, digest);
    me->applied = entry->slot;
    if (me->applied > me->applied_ever) {
        me->applied_ever = me->applied;
    }
    world_mix(w, digest);
    if (w->tracing) {
        world_trace(w, r->index + 1U, "apply",
                    "slot %" PRIu64 " epoch %" PRIx64 "%s digest %016" PRIx64, entry->slot,
                    entry->value.epoch, in_force ? "" : " (not in force)", digest);
    }
}

/* -------------------------------------------------------------------- ages */

/* What was acknowledged before then, by whomever, is among what is chosen here. */
static void check_fresh(struct world *w, const struct replica *r)
{
    uint64_t as_of_ms;
    paxos_slot slot;
    if (!paxos_fresh(service_paxos(r->service), &as_of_ms, &slot)) {
        return;
    }
    const uint64_t age_ms = replica_now_ms(w, r) - as_of_ms;
    const struct history_index known =
        reads_acknowledged_before(w, reads_as_of_us(w, w->now_us, age_ms));
    if (known.slot > slot) {
        world_fail(w, "age",
                   "replica %u knows slot %" PRIu64 ", and that this was all %" PRIu64
                   " ms ago; then slot %" PRIu64 " was acknowledged",
                   r->index + 1, slot, age_ms, known.slot);
    }
}

/* ------------------------------------------------------------------- turns */

void audit_turned(struct world *w, struct replica *r)
{
    struct audit_replica *me = &w->audit->replicas[r->index];
    const struct paxos_status *status = &r->status;
    if (paxos_ballot_compare(status->promised, me->promised) < 0) {
        world_fail(w, "monotone", "the promise of replica %u fell", r->index + 1);
    }
    if (status->chosen < me->chosen) {
        world_fail(w, "monotone", "the chosen mark of replica %u fell", r->index + 1);
    }
    if (me->applied > status->chosen) {
        world_fail(w, "monotone", "replica %u applied slot %" PRIu64 ", which is not chosen",
                   r->index + 1, me->applied);
    }
    check_fresh(w, r);
    me->promised = status->promised;
    me->chosen = status->chosen;
    if (me->chosen > me->chosen_ever) {
        me->chosen_ever = me->chosen;
    }
}

/* ------------------------------------------------------------------ leases */

/* In true time, for each replica by its own clock: also for one that is stopped,
 * which would look at its clock first when it went on.  A lease only begins at
 * an event of its holder, so looking after every event misses no overlap. */
static void check_leases(struct world *w)
{
    const struct replica *holder = NULL;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct replica *r = w->replicas[i];
        if (!replica_is_up(r) ||
            !paxos_lease_valid(service_paxos(r->service), replica_now_ms(w, r))) {
            continue;
        }
        if (holder != NULL) {
            world_fail(w, "lease", "replicas %u and %u both hold a valid lease",
                       holder->index + 1, r->index + 1);
        }
        holder = r;
        if (r->status.epoch < w->audit->barrier) {
            world_fail(w, "lease",
                       "replica %u holds a valid lease of epoch %" PRIx64
                       " while an entry of epoch %" PRIx64 " is chosen",
                       r->index + 1, r->status.epoch, w->audit->barrier);
        }
    }
}

void audit_step(struct world *w)
{
    if (w->plan.firm && !w->plan.wild) {
        check_leases(w);
    }
}

/* ----------------------------------------------------------------- replies */

void audit_replied(struct world *w, struct replica *r, const struct service_reply *reply)
{
    const bool decided = reply->outcome == SERVICE_DONE || reply->outcome == SERVICE_REFUSED;
    const bool newest = reply->level == SERVICE_LINEARIZABLE || reply->level == SERVICE_LEASE;
    if (decided && reply->level == SERVICE_LINEARIZABLE) {
        reads_acknowledged(
            w, (struct history_index){.slot = reply->slot, .position = reply->position});
    }
    const bool read = newest && (reply->op == SERVICE_GET || reply->op == SERVICE_STAT ||
                                 reply->op == SERVICE_LIST);
    struct paxos_status status;
    if (!decided || !read) {
        return;
    }
    paxos_status(service_paxos(r->service), replica_now_ms(w, r), &status);
    if (status.role == PAXOS_MASTER && status.epoch != reply->epoch) {
        world_fail(w, "epoch",
                   "the master of epoch %" PRIx64 " (replica %u) answers a read from behind "
                   "the first entry of %" PRIx64,
                   status.epoch, r->index + 1, reply->epoch);
    }
}

/* --------------------------------------------------------------------- log */

static struct history_request request_of(struct history *h, const struct lease_command *c)
{
    struct history_request request = {.principal = history_copy(h, c->principal),
                                      .path = history_copy(h, c->path),
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    switch (c->type) {
    case LEASE_CMD_PUT:
        request.type = HISTORY_PUT;
        request.content = history_copy(h, c->content);
        request.if_generation = c->if_generation;
        request.if_instance = c->if_instance;
        break;
    case LEASE_CMD_CREATE:
        request.type = HISTORY_CREATE;
        request.kind = c->kind;
        request.content = history_copy(h, c->content);
        break;
    case LEASE_CMD_DELETE:
        request.type = HISTORY_DELETE;
        request.if_generation = c->if_generation;
        request.if_instance = c->if_instance;
        break;
    case LEASE_CMD_SESSION_OPEN:
    case LEASE_CMD_SESSION_CLOSE:
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_ACQUIRE:
    case LEASE_CMD_RELEASE:
    case LEASE_CMD_CANCEL:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_OPEN:
    case LEASE_CMD_CLOSE:
    case LEASE_CMD_DELAY_OVER:
    case LEASE_CMD_STRETCH:
    case LEASE_CMD_SET_ACL:
        break; /* Not of a file: history_entry.command has it. */
    }
    return request;
}

static bool of_file(enum lease_command_type type)
{
    return type == LEASE_CMD_PUT || type == LEASE_CMD_CREATE || type == LEASE_CMD_DELETE;
}

void audit_log_commands(struct world *w, struct history *h, paxos_slot slot,
                        const struct paxos_value *value)
{
    struct reader r = reader_over(value->data);
    for (uint32_t position = 1; read_left(&r) > 0; position++) {
        struct lease_command command;
        if (!lease_command_decode(&r, &command)) {
            world_fail(w, "codec", "slot %" PRIu64 " holds what can't be decoded", slot);
        }
        const struct history_entry entry = {
            .index = {.slot = slot, .position = position},
            .epoch = value->epoch,
            .wall_ms = value->wall_ms,
            .op = workload_op_of(command.principal),
            .request = request_of(h, &command),
            .command = command.session != 0 || !of_file(command.type)
                           ? history_copy_command(h, &command)
                           : NULL,
        };
        history_entry_add(h, &entry);
    }
}

void audit_log(struct world *w, struct history *h)
{
    h->limits = plan_limits(&w->plan);
    for (paxos_slot slot = 1; slot <= w->audit->last; slot++) {
        const struct paxos_value *value = &w->audit->slots[slot].value;
        if (paxos_self_made(value->kind)) {
            const struct history_entry entry = {
                .index = {.slot = slot}, .epoch = value->epoch, .self_made = true};
            history_entry_add(h, &entry);
        } else {
            audit_log_commands(w, h, slot, value);
        }
    }
}

/* -------------------------------------------------------------------- life */

void audit_start(struct world *w)
{
    struct audit *a = sim_allocate(sizeof *a);
    *a = (struct audit){.slots_capacity = 256, .proposals_capacity = 256, .proposals_count = 1};
    a->slots = sim_allocate(a->slots_capacity * sizeof *a->slots);
    a->proposals = sim_allocate(a->proposals_capacity * sizeof *a->proposals);
    const struct lease_limits limits = plan_limits(&w->plan);
    model_start(&a->model, &limits);
    w->audit = a;
}

void audit_stop(struct world *w)
{
    struct audit *a = w->audit;
    for (uint32_t i = 0; i < PLAN_REPLICAS_MAX; i++) {
        free(a->replicas[i].votes);
        free(a->replicas[i].reported);
    }
    model_free(&a->model);
    free(a->delays);
    free(a->brinks);
    history_free(&a->memory);
    free(a->slots);
    free(a->proposals);
    free(a);
    w->audit = NULL;
}
