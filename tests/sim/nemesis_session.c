/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults that are aimed at what sessions rest on: answers from a master that is
 * none any more, and deadlines that fall while a master is away.
 */
#include "tests/sim/nemesis_internal.h"

#include "tests/sim/agents.h"
#include "tests/sim/links.h"
#include "tests/sim/replica.h"
#include "tests/sim/workload.h"

static void on_stop_agents(struct world *w, const struct event *event)
{
    if (!w->healed) {
        agents_stop_all(w, w->now_us + event->a);
    }
}

/* A master that its clients still reach and nobody else does, while another one
 * begins; then the clients are stopped, and can't find that other. */
void nemesis_orphan(struct world *w)
{
    struct replica *master = replica_master(w);
    if (master == NULL || master->state != REPLICA_UP) {
        return;
    }
    uint64_t until_us = between_ms(w, 350, 500); /* While it believes in its lease. */
    nemesis_cut_off(w, master->index, 3000 * MS);
    if (!w->plan.firm && chance_percent(&w->chance, 80)) {
        nemesis_report_gone(w, master);
    } else {
        until_us = between_ms(w, 700, 1600); /* Stopped, it can't see its lease end. */
        replica_pause(w, master, until_us);
        until_us += between_ms(w, 5, 50);
    }
    world_at(w, w->now_us + until_us,
             (struct event){.run = on_stop_agents, .a = between_ms(w, 2000, 8000)});
}

static void on_stop_master(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (!w->healed && event->b == r->life) {
        replica_pause(w, r, between_ms(w, 150, w->plan.replicas == 1 ? 2000 : 440));
    }
}

/* KeepAlives come so late that a deadline falls while they can be read already,
 * by a master that is away. */
static void on_late_keepalives(struct world *w, const struct event *event)
{
    const struct replica *master = replica_master(w);
    if (w->healed || event->a == 0) {
        return;
    }
    if (master != NULL) {
        const uint64_t held_us = between_ms(w, 550, 1000);
        links_hold(w, master->index, w->now_us + held_us);
        world_at(w, w->now_us + held_us - between_ms(w, 1, 60),
                 (struct event){.run = on_stop_master, .a = master->index, .b = master->life});
    }
    world_at(w, w->now_us + between_ms(w, 1800, 2600),
             (struct event){.run = on_late_keepalives, .a = event->a - 1});
}

/* A deadline is seldom hit at the first attempt. */
void nemesis_late_keepalives(struct world *w)
{
    enum { ATTEMPTS = 3 };
    on_late_keepalives(w, &(struct event){.a = ATTEMPTS});
}

/* Its connections stand, so what came over them is believed in for as long as the leases
 * that it gave run; and the next master must not write sooner. */
void nemesis_bygone(struct world *w)
{
    struct replica *master = replica_master(w);
    if (master == NULL || master->state != REPLICA_UP) {
        return;
    }
    const uint64_t for_us = between_ms(w, 1500, 6000);
    workload_rush(w, master->index, w->now_us + for_us);
    replica_pause(w, master, for_us);
    if (!w->plan.firm) {
        nemesis_report_gone(w, master);
    }
}

/* What that one says of its age rests on the word of a master whom it alone confirms. */
void nemesis_schism(struct world *w, const struct replica *master)
{
    const uint32_t replicas = w->plan.replicas;
    const uint32_t kept =
        (master->index + 1 + (uint32_t)rng_below(&w->chance, replicas - 1)) % replicas;
    const uint64_t for_us = between_ms(w, 500, 1500);
    workload_rush(w, master->index, w->now_us + for_us);
    for (uint32_t i = 0; i < replicas; i++) {
        struct replica *r = w->replicas[i];
        if (i == master->index || i == kept) {
            continue;
        }
        nemesis_cut_link(w, i, master->index, for_us);
        nemesis_cut_link(w, master->index, i, for_us);
        nemesis_cut_link(w, i, kept, for_us);
        nemesis_cut_link(w, kept, i, for_us);
        if (r->state == REPLICA_UP) {
            replica_peer_gone(w, r, (paxos_id)(master->index + 1));
        }
    }
}
