/* SPDX-License-Identifier: Apache-2.0
 *
 * The making of a replica's store, and of its service from that store: what
 * `lockd init` and the daemon's start do.
 */
#include "tests/sim/replica.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/audit.h"
#include "tests/sim/damage.h"

enum {
    TIGHT_QUEUE = 6,
    LOOSE_QUEUE = 256,
    TIGHT_OCTETS = 1024,
    LOOSE_OCTETS = 64 * 1024,
    LOOSE_WATCHES = 1000,
    TIGHT_KEPT = 6,
    LOOSE_KEPT = 10000,
};

/* --------------------------------------------------------------- allocator */

static void *allocate(void *context, size_t size)
{
    struct replica *r = context;
    r->allocated += size;
    return sim_allocate(size);
}

static void release(void *context, void *memory, size_t size)
{
    struct replica *r = context;
    assert(r->allocated >= size);
    r->allocated -= size;
    free(memory);
}

__attribute__((noreturn)) static void exhausted(void *context)
{
    (void)context;
    abort();
}

/* ------------------------------------------------------------------- start */

static void observe(void *context, const struct paxos_entry *entry, bool in_force,
                    uint64_t digest)
{
    audit_applied(world_current, context, entry, in_force, digest);
}

static struct service_config config_of(struct world *w, struct replica *r)
{
    const bool tight = w->plan.tight;
    return (struct service_config){
        .paxos = {.self = (paxos_id)(r->index + 1),
                  .identity = r->disk.identity,
                  .incarnation = r->disk.incarnation,
                  .seed = rng_next(&w->chance),
                  .now_ms = replica_now_ms(w, r),
                  .heartbeat_ms = PLAN_HEARTBEAT_MS,
                  .lease_ms = PLAN_LEASE_MS,
                  .jitter_ms_min = PLAN_JITTER_MS_MIN,
                  .jitter_ms_max = PLAN_JITTER_MS_MAX,
                  .disk_stall_ms = PLAN_DISK_STALL_MS,
                  .value_max = tight ? TIGHT_OCTETS : LOOSE_OCTETS},
        .limits = plan_limits(&w->plan),
        .cell = "sim",
        .queue_commands_max = tight ? TIGHT_QUEUE : LOOSE_QUEUE,
        .queue_bytes_max = tight ? TIGHT_OCTETS : LOOSE_OCTETS,
        .reads_max = tight ? TIGHT_QUEUE : LOOSE_QUEUE,
        .watches_max = LOOSE_WATCHES,
        .cache_lease_ms = w->plan.cache_lease_ms,
        .cached_max = w->plan.few_kept ? TIGHT_KEPT : LOOSE_KEPT,
        .keepalives_busy = w->plan.keepalives_busy,
        .observe = observe,
        .observe_context = r,
    };
}

static void load_tables(struct world *w, struct replica *r)
{
    const struct disk *d = &r->disk;
    for (uint32_t i = 0; i < d->rows_count; i++) {
        const struct lease_row row = {.key = d->rows[i].key, .value = d->rows[i].value};
        if (!service_load_row(r->service, &row)) {
            world_fail(w, "tables", "replica %u refuses a row of its tables", r->index + 1);
        }
    }
    if (!service_loaded(r->service, d->applied_slot, d->applied_position, d->digest)) {
        world_fail(w, "tables", "replica %u refuses its tables at slot %" PRIu64, r->index + 1,
                   d->applied_slot);
    }
}

static void replay_log(struct world *w, struct replica *r)
{
    const struct disk *d = &r->disk;
    for (paxos_slot slot = d->applied_slot + 1; slot <= d->chosen_mark; slot++) {
        const struct paxos_entry *entry = disk_log_at(d, slot);
        if (entry == NULL || !service_replay(r->service, entry)) {
            world_fail(w, "replay", "replica %u can't replay slot %" PRIu64, r->index + 1,
                       slot);
        }
    }
}

static void start_service(struct world *w, struct replica *r)
{
    const struct disk *d = &r->disk;
    const paxos_slot last = disk_log_last(d);
    const uint64_t most = last > d->chosen_mark ? last - d->chosen_mark : 0;
    struct paxos_entry *votes = sim_allocate((most + 1) * sizeof *votes);
    uint32_t count = 0;
    for (paxos_slot slot = d->chosen_mark + 1; slot <= last; slot++) {
        const struct paxos_entry *entry = disk_log_at(d, slot);
        if (entry != NULL) {
            votes[count++] = *entry;
        }
    }
    const struct paxos_restored restored = {
        .hard = d->hard, .chosen = d->chosen_mark, .votes = votes, .votes_count = count};
    const bool good = service_start(r->service, &restored);
    free(votes);
    if (!good) {
        world_fail(w, "restore", "replica %u refuses its log", r->index + 1);
    }
}

void replica_load(struct world *w, struct replica *r)
{
    const struct service_config config = config_of(w, r);
    const struct lease_allocator allocator = {
        .allocate = allocate, .release = release, .exhausted = exhausted, .context = r};
    r->service = service_new(&config, &allocator);
    load_tables(w, r);
    replay_log(w, r);
    start_service(w, r);
    damage_store(w, r);
}

/* ---------------------------------------------------------------- founding */

static struct paxos_hard founding_hard(const struct world *w, const struct replica *r,
                                       uint64_t identity)
{
    struct paxos_hard hard = {
        .round_max = w->plan.round_base,
        .members = {.number = 1,
                    .settings = {.firm = w->plan.firm, .drift_ppm = PLAN_DRIFT_PPM},
                    .count = w->plan.replicas}};
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct paxos_member *member = &hard.members.member[i];
        member->id = (paxos_id)(i + 1);
        member->identity = i == r->index ? identity : 0;
        memcpy(member->address, "sim:1", 6);
        member->address[4] = (char)('1' + i);
    }
    return hard;
}

void replica_found(struct world *w, struct replica *r, uint64_t identity)
{
    const struct paxos_hard hard = founding_hard(w, r, identity);
    disk_format(w, &r->disk, identity, &hard);
}
