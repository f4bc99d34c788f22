/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/plan.h"

#include <stdio.h>
#include <string.h>

static bool percent(struct rng *rng, uint32_t percent_of)
{
    return rng_below(rng, 100) < percent_of;
}

static uint32_t between(struct rng *rng, uint32_t low, uint32_t high)
{
    return (uint32_t)rng_between(rng, low, high);
}

static void draw_network(struct plan *plan, struct rng *rng)
{
    static const struct {
        uint32_t min, max;
    } delays[] = {{100, 2000}, {100, 2000}, {500, 20000}, {5000, 60000}, {1000, 150000}};
    const uint64_t quality = rng_below(rng, sizeof delays / sizeof *delays);
    plan->delay_us_min = delays[quality].min;
    plan->delay_us_max = delays[quality].max;
    plan->loss_ppm = percent(rng, 50) ? 0 : between(rng, 1000, 300000);
    plan->duplicate_ppm = percent(rng, 60) ? 0 : between(rng, 1000, 500000);
    plan->replay_us_max = percent(rng, 60) ? 0 : between(rng, 100000, 10000000);
    plan->damage_ppm = percent(rng, 80) ? 0 : between(rng, 100, 5000);
    plan->misvote_ppm = percent(rng, 85) ? 0 : between(rng, 1000, 100000);
    plan->reorder = percent(rng, 30);
    plan->outlive = percent(rng, 50);
}

static void draw_disks(struct plan *plan, struct rng *rng)
{
    static const struct {
        uint32_t min, max;
    } syncs[] = {{100, 400}, {100, 1000}, {1000, 20000}, {10000, 120000}};
    const uint64_t quality = rng_below(rng, sizeof syncs / sizeof *syncs);
    plan->sync_us_min = syncs[quality].min;
    plan->sync_us_max = syncs[quality].max;
}

static void draw_clocks(struct plan *plan, struct rng *rng)
{
    /* Where 32-bit milliseconds would wrap, and where one just booted. */
    static const uint64_t bases[] = {1, 90000, (UINT64_C(1) << 31) - 20000,
                                     (UINT64_C(1) << 32) - 20000, UINT64_C(1) << 45};
    plan->wild = percent(rng, 25);
    const uint32_t most = plan->wild ? 500000 : PLAN_DRIFT_PPM / 2;
    for (uint32_t i = 0; i < PLAN_REPLICAS_MAX; i++) {
        plan->rate_ppm[i] = (int32_t)between(rng, 0, 2 * most) - (int32_t)most;
        plan->clock_base_ms[i] = bases[rng_below(rng, sizeof bases / sizeof *bases)];
    }
}

/* Where an epoch in 32 bits would wrap, and a round in 31 or 32.  Drawn with the
 * first clock. */
static uint64_t round_base(const struct plan *plan)
{
    const uint64_t bits = plan->clock_base_ms[0] >> 30;
    return bits == 0 ? 0 : bits < 2 ? 0xfffd : bits < 4 ? 0x7ffffffd : 0xfffffffd;
}

/* Sometimes a founder is late: nobody may form the cell without it. */
static void draw_starts(struct plan *plan, struct rng *rng)
{
    const bool late = percent(rng, 25);
    for (uint32_t i = 0; i < PLAN_REPLICAS_MAX; i++) {
        plan->start_us[i] = between(rng, 0, 20000);
        if (late && percent(rng, 50)) {
            plan->start_us[i] += between(rng, 0, 5000000);
        }
    }
}

static void draw_clients(struct plan *plan, struct rng *rng)
{
    plan->clients = between(rng, 3, PLAN_CLIENTS_MAX);
    plan->think_us_max = between(rng, 200000, 1500000);
    plan->pipeline_max = percent(rng, 50) ? 1 : between(rng, 2, 8);
    plan->timeout_us = between(rng, 500000, 4000000);
}

static void draw_cell(struct plan *plan, struct rng *rng)
{
    plan->history_bytes = percent(rng, 50) ? 0 : between(rng, 2000, 20000);
    plan->crowded = percent(rng, 20);
    plan->keepalives_busy = percent(rng, 75) ? 0 : 1;
    plan->cache_lease_ms = percent(rng, 10) ? 0 : between(rng, 1000, 4000);
    if (plan->cache_lease_ms > 0 && plan->cache_lease_ms < 2500) {
        plan->cache_lease_ms = 500 + plan->cache_lease_ms / 3;
    }
    plan->few_kept = percent(rng, 20);
    plan->rights = percent(rng, 50);
}

struct lease_limits plan_limits(const struct plan *plan)
{
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    if (plan->history_bytes > 0) {
        limits.history_bytes = plan->history_bytes;
    }
    if (plan->crowded) {
        limits.claims = 6;
        limits.waiters = 2;
        limits.opens = 3;
    }
    return limits;
}

static void draw_faults(struct plan *plan, struct rng *rng)
{
    for (uint32_t fault = 0; fault < FAULTS; fault++) {
        if (percent(rng, 35)) {
            plan->faults |= UINT32_C(1) << fault;
        }
    }
    if (plan->firm) {
        plan->faults &= ~(UINT32_C(1) << FAULT_FALSE_GONE | UINT32_C(1) << FAULT_USURP);
    }
    if (!plan->wild) {
        plan->faults &= ~(UINT32_C(1) << FAULT_CLOCK_JUMP);
    }
    /* A clock that stands still is a slow one.  It lengthens what is measured, which
     * is safe with everything but a master's own lease. */
    if (!plan->wild && plan->firm) {
        plan->faults &= ~(UINT32_C(1) << FAULT_FREEZE);
    }
    plan->fault_every_us = between(rng, 300000, 5000000);
}

static void draw_end(struct plan *plan, struct rng *rng)
{
    plan->unbounded = percent(rng, 33);
    plan->spoiled = !plan->unbounded && plan->replicas > 1 && percent(rng, 40);
}

static void make_calm(struct plan *plan)
{
    plan->wild = false;
    for (uint32_t i = 0; i < PLAN_REPLICAS_MAX; i++) {
        plan->rate_ppm[i] %= PLAN_DRIFT_PPM / 2;
    }
    plan->loss_ppm = plan->duplicate_ppm = plan->damage_ppm = plan->misvote_ppm = 0;
    plan->reorder = plan->tight = false;
    plan->faults = 0;
    plan->unbounded = plan->spoiled = false;
}

void plan_draw(struct plan *plan, struct rng *rng, enum plan_profile profile)
{
    *plan = (struct plan){.firm = percent(rng, 50)};
    const uint64_t shape = rng_below(rng, 100);
    plan->replicas = shape < 8 ? 1 : shape < 75 ? 3 : 5;
    draw_network(plan, rng);
    draw_disks(plan, rng);
    draw_clocks(plan, rng);
    plan->round_base = round_base(plan);
    draw_starts(plan, rng);
    draw_clients(plan, rng);
    plan->turn_us = percent(rng, 60) ? 0 : between(rng, 10, 3000);
    plan->restless = percent(rng, 40);
    plan->tight = percent(rng, 25);
    draw_faults(plan, rng);
    draw_end(plan, rng);
    draw_cell(plan, rng);
    if (profile != PROFILE_SWARM) {
        make_calm(plan);
    }
}

/* The names of a set's members, without their "FAULT_". */
static void append_set(char *text, size_t size, uint32_t set, const char *const *names,
                       uint32_t count)
{
    size_t length = strlen(text);
    for (uint32_t i = 0; i < count; i++) {
        if ((set >> i & 1) != 0 && length < size) {
            const char *name = strncmp(names[i], "FAULT_", 6) == 0 ? names[i] + 6 : names[i];
            length += (size_t)snprintf(text + length, size - length, " %s", name);
        }
    }
}

const char *plan_describe(const struct plan *plan, char *text, size_t size)
{
    static const char *const names[] = {
#define NAME(name, what) #name,
        FAULT_MAP(NAME)};
    static const char *const disk_names[] = {DISK_FAULT_MAP(NAME)
#undef NAME
    };
    snprintf(text, size,
             "%u replicas, %s leases%s, %u clients; %s; delay %u-%u us, loss %u ppm, "
             "duplicates %u ppm%s%s%s; sync %u-%u us; turn %u us%s%s%s%s%s; cache leases of "
             "%u ms%s%s; every %u ms:",
             plan->replicas, plan->firm ? "firm" : "soft", plan->wild ? ", wild clocks" : "",
             plan->clients,
             plan->unbounded ? "unbounded: safety only"
             : plan->spoiled ? "a majority heals"
                             : "all heal",
             plan->delay_us_min, plan->delay_us_max, plan->loss_ppm, plan->duplicate_ppm,
             plan->duplicate_ppm > 0 && plan->replay_us_max > 0 ? " and replays" : "",
             plan->damage_ppm > 0 ? ", damage" : "", plan->reorder ? ", reordering" : "",
             plan->sync_us_min, plan->sync_us_max, plan->turn_us,
             plan->restless ? ", restless" : "", plan->tight ? ", tight" : "",
             plan->history_bytes > 0 ? ", short history" : "", plan->crowded ? ", crowded" : "",
             plan->keepalives_busy > 0 ? ", busy" : "", plan->cache_lease_ms,
             plan->few_kept ? ", few kept" : "", plan->rights ? ", rights" : "",
             plan->fault_every_us / 1000);
    append_set(text, size, plan->faults, names, FAULTS);
    append_set(text, size, plan->disk_faults, disk_names, DISK_FAULTS);
    return text;
}
