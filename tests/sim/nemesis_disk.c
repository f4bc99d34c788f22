/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of disks in full mode, besides the power cuts that any crash with
 * the machine brings.
 *
 * Whatever is done to a store at rest is done to a minority, once the others can do
 * without it: damage is found and keeps its replica down, and they go on.
 */
#include "tests/sim/nemesis_internal.h"

#include "tests/sim/disk_store.h"
#include "tests/sim/table.h"

enum {
    DISK_FAULT_PERCENT = 50,
    CALLS_MAX = 60, /* So many calls to the drive from now one fails. */
    EVERY_US_MIN = 500 * MS,
    EVERY_US_MAX = 6000 * MS,
    ROOM_BYTES = 256 * 1024, /* What is left, at most, of a drive that fills up. */
};

void nemesis_disk_draw(struct plan *plan, uint64_t seed)
{
    struct rng rng = {.state = seed};
    plan->disk_faults = 0;
    for (uint32_t fault = 0; fault < DISK_FAULTS; fault++) {
        if (chance_percent(&rng, DISK_FAULT_PERCENT)) {
            plan->disk_faults |= UINT32_C(1) << fault;
        }
    }
    plan->disk_fault_every_us = (uint32_t)rng_between(&rng, EVERY_US_MIN, EVERY_US_MAX);
}

uint32_t nemesis_disk_struck(const struct world *w)
{
    uint32_t struck = 0;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct disk_store *s = w->replicas[i]->disk.store;
        struck |= s != NULL && s->struck ? UINT32_C(1) << i : 0;
    }
    return struck;
}

/* May one more store be struck? */
static bool may_strike(const struct world *w, const struct disk *d)
{
    const uint32_t struck = nemesis_disk_struck(w) | w->hurt | UINT32_C(1) << d->index;
    return nemesis_others_go_on(w, struck) &&
           (uint32_t)__builtin_popcount(struck) + plan_majority(&w->plan) <= w->plan.replicas;
}

static void on_room(struct world *w, const struct event *event)
{
    drive_limit(w->replicas[event->a]->disk.store->drive, UINT64_MAX);
}

static void fill(struct world *w, const struct disk *d)
{
    struct drive *drive = d->store->drive;
    drive_limit(drive, drive_used(drive) + rng_below(&w->chance, ROOM_BYTES));
    world_at(w, w->now_us + between_ms(w, 100, 4000),
             (struct event){.run = on_room, .a = d->index});
}

/* Mostly while the machine is off: then the next start must find it. */
static void damage(struct world *w, struct replica *r,
                   bool (*strike_at)(struct world *w, struct disk *d))
{
    if (!may_strike(w, &r->disk)) {
        return;
    }
    if (replica_is_up(r) && chance_percent(&w->chance, 70)) {
        replica_crash(w, r, /* dark= */ true);
        replica_boot_later(w, r, between_ms(w, 0, 2000));
    }
    r->disk.store->struck |= strike_at(w, &r->disk);
}

static long some_call(struct world *w)
{
    return 1 + (long)rng_below(&w->chance, CALLS_MAX);
}

static void strike(struct world *w, enum disk_fault fault)
{
    struct replica *r = nemesis_victim(w);
    const struct disk *d = &r->disk;
    switch (fault) {
    case DISK_FAILS:
        drive_begin(d->store->drive, DRIVE_FAILS, some_call(w));
        break;
    case DISK_CANT_SYNC:
        drive_begin(d->store->drive, DRIVE_CANT_SYNC, 1 + (long)rng_below(&w->chance, 4));
        break;
    case DISK_CANT_READ:
        drive_begin(d->store->drive, DRIVE_CANT_READ, some_call(w));
        break;
    case DISK_FULL:
        fill(w, d);
        break;
    case DISK_FLIP:
        damage(w, r, disk_damage_flip);
        break;
    case DISK_MISPLACE:
        damage(w, r, disk_damage_misplace);
        break;
    case DISK_FAULTS:
        break;
    }
}

static void on_strike(struct world *w, const struct event *event)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        DISK_FAULT_MAP(TEXT)
#undef TEXT
    };
    if (w->healed) {
        return;
    }
    const enum disk_fault fault = (enum disk_fault)rng_below(&w->chance, DISK_FAULTS);
    if ((w->plan.disk_faults >> fault & 1) != 0) {
        table_hurt(w, TABLE_DISK);
        if (w->tracing) {
            world_trace(w, 0, "nemesis", "%s", texts[fault]);
        }
        strike(w, fault);
    }
    world_at(w, w->now_us + rng_below(&w->chance, 2 * (uint64_t)w->plan.disk_fault_every_us),
             *event);
}

void nemesis_disk_start(struct world *w)
{
    if (w->plan.full && w->plan.disk_faults != 0) {
        world_at(w, rng_below(&w->chance, 2 * (uint64_t)w->plan.disk_fault_every_us),
                 (struct event){.run = on_strike});
    }
}

void nemesis_disk_end(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct disk *d = &w->replicas[i]->disk;
        if (d->store != NULL) {
            drive_begin(d->store->drive, DRIVE_GOOD, 0);
            drive_limit(d->store->drive, UINT64_MAX);
        }
    }
}
