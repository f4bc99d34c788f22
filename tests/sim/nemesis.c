/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/nemesis_internal.h"

#include "tests/sim/agents.h"
#include "tests/sim/links.h"
#include "tests/sim/net.h"
#include "tests/sim/replica.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/table.h"
#include "tests/sim/workload.h"

struct replica *nemesis_victim(struct world *w)
{
    struct replica *master = replica_master(w);
    return master != NULL && chance_percent(&w->chance, 60) ? master
                                                            : w->replicas[nemesis_any(w)];
}

/* Restarting at once is the dangerous case: what was granted is still valid. */
static uint64_t restart_delay_us(struct world *w)
{
    const uint64_t kind = rng_below(&w->chance, 100);
    return kind < 40   ? 0
           : kind < 70 ? between_ms(w, 0, 100)
           : kind < 90 ? between_ms(w, 100, 1500)
                       : between_ms(w, 1500, 5000);
}

static void kill_and_restart(struct world *w, struct replica *r, uint64_t delay_us)
{
    if (replica_is_up(r)) {
        replica_crash(w, r, chance_percent(&w->chance, 30));
        replica_boot_later(w, r, delay_us);
    }
}

/* --------------------------------------------------------------- processes */

static void strike_crash_all(struct world *w)
{
    const bool together = chance_percent(&w->chance, 50);
    const uint64_t delay_us = restart_delay_us(w);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        kill_and_restart(w, w->replicas[i], together ? delay_us : restart_delay_us(w));
    }
}

static void strike_crash(struct world *w)
{
    struct replica *r = nemesis_victim(w);
    if (r->state == REPLICA_UP && chance_percent(&w->chance, 40)) {
        /* In the midst of a turn, a few sends from now. */
        r->crash_after_sends = 1 + (uint32_t)rng_below(&w->chance, 12);
        replica_boot_later(w, r, between_ms(w, 100, 2000));
    } else {
        kill_and_restart(w, r, restart_delay_us(w));
    }
}

static uint64_t pause_us(struct world *w)
{
    const uint64_t kind = rng_below(&w->chance, 100);
    return kind < 50   ? between_ms(w, 50, 1000)
           : kind < 85 ? between_ms(w, 1000, 4000)
                       : between_ms(w, 4000, 20000);
}

static void strike_pause(struct world *w)
{
    replica_pause(w, nemesis_victim(w), pause_us(w));
}

static void strike_freeze(struct world *w)
{
    replica_freeze(w, nemesis_victim(w), pause_us(w));
}

static void strike_stall(struct world *w)
{
    disk_stall(&nemesis_victim(w)->disk, w->now_us + between_ms(w, 100, 5000));
}

static void on_room(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (replica_is_up(r)) {
        service_low_space(r->service, /* low= */ false);
    }
}

static void strike_low_space(struct world *w)
{
    struct replica *r = nemesis_victim(w);
    if (replica_is_up(r)) {
        service_low_space(r->service, /* low= */ true);
        world_at(w, w->now_us + between_ms(w, 100, 3000),
                 (struct event){.run = on_room, .a = r->index});
    }
}

/* The old master can't hear that a new one is being made, and those who make it
 * have just forgotten what they granted, if they do forget. */
static void strike_coup(struct world *w)
{
    struct replica *master = replica_master(w);
    if (master == NULL) {
        return;
    }
    nemesis_cut_directions(w, master->index, /* in= */ true, /* out= */ true,
                           between_ms(w, 500, 4000));
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != master->index) {
            kill_and_restart(w, w->replicas[i], rng_below(&w->chance, 30 * MS));
        }
    }
}

/* The cell sees one short mastership after another, and the entries that each
 * leaves behind. */
static void on_succession(struct world *w, const struct event *event)
{
    struct replica *master = replica_master(w);
    if (w->healed || event->b == 0) {
        return;
    }
    if (master == NULL || master->index == event->a) {
        world_at(w, w->now_us + 5 * MS,
                 (struct event){.run = on_succession, .a = event->a, .b = event->b - 1});
        return;
    }
    workload_burst(w, master->index);
    const uint64_t delay_us = rng_below(&w->chance, 30 * MS);
    if (chance_percent(&w->chance, 50)) {
        nemesis_cut_directions(w, master->index, /* in= */ true, /* out= */ true,
                               between_ms(w, 300, 1500));
    } else {
        master->crash_after_sends = 1 + (uint32_t)rng_below(&w->chance, 20);
        replica_boot_later(w, master, delay_us + between_ms(w, 50, 500));
    }
    world_at(w, w->now_us + delay_us,
             (struct event){.run = on_succession, .a = master->index, .b = event->b - 1});
}

static void strike_succession(struct world *w)
{
    enum { LOOKS = 400 };
    on_succession(w, &(struct event){.a = PLAN_REPLICAS_MAX, .b = LOOKS});
}

/* Heartbeats arrive, their answers come late; then no more heartbeats arrive,
 * while answers still do; then the master is stopped.  What it takes for its
 * lease must end before the followers' promises do. */
static void on_late_acks(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (w->healed || r->state != REPLICA_UP || !r->status.serving) {
        return;
    }
    if (event->b == 0) {
        for (uint32_t i = 0; i < w->plan.replicas; i++) {
            if (i != r->index) {
                w->net->links[r->index][i].cut = true;
                world_at(w, w->now_us + 2000 * MS,
                         (struct event){.run = nemesis_on_mend, .a = r->index, .b = i});
            }
        }
        const uint64_t late_us =
            w->net->links[(r->index + 1) % w->plan.replicas][r->index].slower_us;
        world_at(w, w->now_us + late_us + between_ms(w, 0, 60),
                 (struct event){.run = on_late_acks, .a = r->index, .b = 1});
    } else {
        replica_pause(w, r, 1500 * MS);
    }
}

static void strike_late_acks(struct world *w)
{
    const struct replica *master = replica_master(w);
    if (master == NULL || w->plan.replicas == 1) {
        return;
    }
    const uint64_t late_us = between_ms(w, 200, 440);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        w->net->links[i][master->index].slower_us = late_us;
    }
    world_at(w, w->now_us + between_ms(w, 600, 1200),
             (struct event){.run = on_late_acks, .a = master->index});
}

/* ----------------------------------------------------------------- clients */

/* Many slots in flight, some of whose accepts get lost. */
static void strike_burst(struct world *w)
{
    struct replica *master = replica_master(w);
    if (master == NULL) {
        return;
    }
    workload_burst(w, master->index);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (chance_percent(&w->chance, 60)) {
            nemesis_cut_link(w, master->index, i, between_ms(w, 1, 40));
        }
    }
    if (master->state == REPLICA_UP && chance_percent(&w->chance, 70)) {
        master->crash_after_sends = 1 + (uint32_t)rng_below(&w->chance, 40);
        replica_boot_later(w, master, between_ms(w, 100, 2500));
    }
}

/* ---------------------------------------------- only without firm leases */

void nemesis_report_gone(struct world *w, const struct replica *gone)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = w->replicas[i];
        if (r != gone && r->state == REPLICA_UP) {
            replica_peer_gone(w, r, (paxos_id)(gone->index + 1));
        }
    }
}

/* What the others send to the replica from now on, for a second, gets lost; what
 * is under way arrives. */
static void on_deafen(struct world *w, const struct event *event)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != event->a && !w->healed) {
            w->net->links[i][event->a].cut = true;
            world_at(w, w->now_us + 1000 * MS,
                     (struct event){.run = nemesis_on_mend, .a = i, .b = event->a});
        }
    }
}

/* Those who made a new master lose it as well, and ask around: also the old
 * master, which may have gone on with the rest. */
static void on_second_loss(struct world *w, const struct event *event)
{
    const struct replica *master = replica_master(w);
    if (!w->healed && master != NULL && master->index != event->a) {
        nemesis_report_gone(w, master);
    }
}

/* A majority no longer hears the master, and some of it can't be heard by it;
 * the rest sees nothing unusual. */
static void usurp_partly(struct world *w, const struct replica *master)
{
    const uint32_t replicas = w->plan.replicas;
    const uint32_t first = master->index + 1 + nemesis_any(w);
    for (uint32_t i = 0, lost = 0; i < replicas && lost < plan_majority(&w->plan); i++) {
        const uint32_t other = (first + i) % replicas;
        if (other == master->index) {
            continue;
        }
        lost++;
        nemesis_cut_link(w, master->index, other, between_ms(w, 60, 600));
        if (chance_percent(&w->chance, 50)) {
            nemesis_cut_link(w, other, master->index, between_ms(w, 200, 600));
        }
    }
    workload_burst(w, master->index);
    for (uint32_t strike = 1; strike <= 3; strike++) {
        world_at(w, w->now_us + strike * between_ms(w, 60, 200),
                 (struct event){.run = on_second_loss, .a = master->index});
    }
}

/* A master that nobody has told goes on serving for as long as its lease: cut
 * off, or stopped with answers to its last round on the way to it. */
static void strike_usurp(struct world *w)
{
    struct replica *master = replica_master(w);
    if (master == NULL) {
        return;
    }
    const uint64_t for_us = between_ms(w, 200, 490);
    if (w->plan.replicas > 3 && chance_percent(&w->chance, 50)) {
        nemesis_schism(w, master);
        return;
    }
    if (chance_percent(&w->chance, 30)) {
        usurp_partly(w, master);
        nemesis_report_gone(w, master);
        return;
    }
    workload_rush(w, master->index, w->now_us + 2 * for_us);
    if (chance_percent(&w->chance, 70)) {
        replica_pause(w, master, for_us);
        world_at(w, w->now_us + between_ms(w, 2, 50),
                 (struct event){.run = on_deafen, .a = master->index});
    } else {
        nemesis_cut_directions(w, master->index, /* in= */ true, /* out= */ true, 2 * for_us);
    }
    nemesis_report_gone(w, master);
}

static void strike_false_gone(struct world *w)
{
    const struct replica *master = replica_master(w);
    if (w->plan.replicas > 3 && master != NULL && chance_percent(&w->chance, 40)) {
        nemesis_schism(w, master);
    } else {
        nemesis_report_gone(w, nemesis_victim(w));
    }
}

static void strike_clock_jump(struct world *w)
{
    clock_jump(&nemesis_victim(w)->clock, w->now_us, between_ms(w, 1, 5000));
}

/* --------------------------------------------------------------------- all */

static void strike(struct world *w, enum fault fault)
{
    switch (fault) {
    case FAULT_CUT:
        nemesis_cut(w);
        break;
    case FAULT_CLOG:
        nemesis_clog(w);
        break;
    case FAULT_RESET:
        nemesis_reset(w);
        break;
    case FAULT_SLOW:
        nemesis_slow(w);
        break;
    case FAULT_GRAPH:
        nemesis_graph(w);
        break;
    case FAULT_CRASH:
        strike_crash(w);
        break;
    case FAULT_CRASH_ALL:
        strike_crash_all(w);
        break;
    case FAULT_PAUSE:
        strike_pause(w);
        break;
    case FAULT_FREEZE:
        strike_freeze(w);
        break;
    case FAULT_STALL:
        strike_stall(w);
        break;
    case FAULT_HAND_OVER:
        replica_leave(w, nemesis_victim(w), between_ms(w, 0, 2000));
        break;
    case FAULT_COUP:
        strike_coup(w);
        break;
    case FAULT_SUCCESSION:
        strike_succession(w);
        break;
    case FAULT_CLIENT_CUT:
        nemesis_client_cut(w);
        break;
    case FAULT_DUMB:
        nemesis_dumb(w);
        break;
    case FAULT_LOW_SPACE:
        strike_low_space(w);
        break;
    case FAULT_BURST:
        strike_burst(w);
        break;
    case FAULT_LATE_ACKS:
        strike_late_acks(w);
        break;
    case FAULT_USURP:
        strike_usurp(w);
        break;
    case FAULT_FALSE_GONE:
        strike_false_gone(w);
        break;
    case FAULT_CLOCK_JUMP:
        strike_clock_jump(w);
        break;
    case FAULT_ORPHAN:
        nemesis_orphan(w);
        break;
    case FAULT_LATE_KEEPALIVES:
        nemesis_late_keepalives(w);
        break;
    case FAULT_BYGONE:
        nemesis_bygone(w);
        break;
    case FAULTS:
        break;
    }
}

static void trace_strike(struct world *w, enum fault fault)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        FAULT_MAP(TEXT)
#undef TEXT
    };
    world_trace(w, WORLD_ITSELF, "nemesis", "%s", texts[fault]);
}

static void on_strike(struct world *w, const struct event *event)
{
    if (w->healed) {
        return;
    }
    const enum fault fault = (enum fault)rng_below(&w->chance, FAULTS);
    if (plan_has(&w->plan, fault)) {
        if (w->tracing) {
            trace_strike(w, fault);
        }
        table_struck(w, fault);
        strike(w, fault);
    }
    /* Faults that the plan does not have were drawn in vain, and cost no time. */
    const uint64_t wait_us = plan_has(&w->plan, fault)
                                 ? rng_below(&w->chance, 2 * (uint64_t)w->plan.fault_every_us)
                                 : 0;
    world_at(w, w->now_us + wait_us, *event);
}

void nemesis_start(struct world *w)
{
    nemesis_disk_start(w);
    nemesis_loss_start(w);
    if (w->plan.faults != 0) {
        world_at(w, rng_below(&w->chance, 2 * (uint64_t)w->plan.fault_every_us),
                 (struct event){.run = on_strike});
    }
}

/* Who is hurt for good: a minority, and nobody while the founders need each other. */
static uint32_t draw_hurt(struct world *w)
{
    uint32_t hurt = 0;
    const uint32_t most = w->plan.replicas - plan_majority(&w->plan);
    for (uint32_t i = 0; w->plan.spoiled && i < most; i++) {
        hurt |= UINT32_C(1) << nemesis_any(w);
    }
    return nemesis_others_go_on(w, hurt) ? hurt : 0;
}

static void heal(struct world *w, struct replica *r)
{
    const int32_t half = PLAN_DRIFT_PPM / 2;
    workload_cut(w, r->index, 0);
    clock_jump(&r->clock, w->now_us, 0);
    r->clock.rate_ppm = r->clock.rate_ppm > half    ? half
                        : r->clock.rate_ppm < -half ? -half
                                                    : r->clock.rate_ppm;
    r->crash_after_sends = 0;
    r->disk.stalled_until_us = w->now_us;
    replica_resume(w, r);
    if (!replica_is_up(r)) {
        replica_boot(w, r);
    }
}

enum injury { DEAD, STOPPED, CUT_OFF, DEAF, MUTE, INJURIES };

static void hurt(struct world *w, struct replica *r)
{
    static const char *const texts[INJURIES] = {"dead", "stopped", "cut off", "deaf", "mute"};
    const enum injury injury = (enum injury)rng_below(&w->chance, INJURIES);
    if (w->tracing) {
        world_trace(w, WORLD_ITSELF, "nemesis", "replica %u stays %s", r->index + 1,
                    texts[injury]);
    }
    sometimes_if(r->state == REPLICA_UP && r->status.serving, master_stays_hurt);
    if (injury != DEAD) {
        heal(w, r);
    } else if (replica_is_up(r)) {
        replica_crash(w, r, chance_percent(&w->chance, 50));
    }
    if (injury == STOPPED) {
        replica_pause(w, r, 0);
    }
    r->finished = injury == DEAD || injury == STOPPED;
    if (!r->finished) {
        nemesis_cut_for_good(w, r->index, /* in= */ injury != MUTE, /* out= */ injury != DEAF);
    }
}

void nemesis_end(struct world *w)
{
    const uint32_t drawn = draw_hurt(w);
    const uint32_t lost = w->hurt; /* In the founding. */
    w->healed = true;
    w->hurt |= nemesis_disk_struck(w);
    if (w->hurt == 0) {
        w->hurt = drawn;
    }
    nemesis_disk_end(w);
    if (w->tracing) {
        world_trace(w, WORLD_ITSELF, "nemesis", "%s is well from now on",
                    w->hurt == 0 ? "all" : "a majority");
    }
    net_heal(w);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = w->replicas[i];
        if (world_hurt(w, i)) {
            if ((lost >> i & 1) == 0) {
                hurt(w, r);
            }
        } else {
            heal(w, r);
        }
    }
    links_heal(w);
    agents_heal(w);
}
