/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of the nemesis share.
 */
#ifndef TESTS_SIM_NEMESIS_INTERNAL_H
#define TESTS_SIM_NEMESIS_INTERNAL_H

#include "tests/sim/nemesis.h"
#include "tests/sim/replica.h"

enum { MS = 1000 };

static inline uint64_t between_ms(struct world *w, uint64_t low, uint64_t high)
{
    return rng_between(&w->chance, low * MS, high * MS);
}

static inline uint32_t nemesis_any(struct world *w)
{
    return (uint32_t)rng_below(&w->chance, w->plan.replicas);
}

/* Mostly the master, because that is where it hurts. */
struct replica *nemesis_victim(struct world *w);

/* Tells all others that its peer port refuses. */
void nemesis_report_gone(struct world *w, const struct replica *gone);

/* ----------------------------------------------------------- nemesis_net.c */

/* Cuts a replica off from all others, both ways; in some directions. */
void nemesis_cut_off(struct world *w, uint32_t index, uint64_t for_us);
void nemesis_cut_directions(struct world *w, uint32_t index, bool in, bool out,
                            uint64_t for_us);
void nemesis_cut_for_good(struct world *w, uint32_t index, bool in, bool out);

void nemesis_cut_link(struct world *w, uint32_t from, uint32_t to, uint64_t for_us);

/* The link from `a` to `b` is good again. */
void nemesis_on_mend(struct world *w, const struct event *event);

void nemesis_cut(struct world *w);
void nemesis_graph(struct world *w);
void nemesis_clog(struct world *w);
void nemesis_reset(struct world *w);
void nemesis_slow(struct world *w);
void nemesis_client_cut(struct world *w);
void nemesis_dumb(struct world *w);

/* ---------------------------------------------------------- nemesis_disk.c */

void nemesis_disk_start(struct world *w);
void nemesis_disk_end(struct world *w);

/* Set of the replicas, by bit, to whose stores at rest something was done. */
uint32_t nemesis_disk_struck(const struct world *w);

/* ---------------------------------------------------------- nemesis_loss.c */

void nemesis_loss_start(struct world *w);

/* Will the cell be founded, or go on, without these, a minority?  Only if one of the
 * others has a promise on its disk: before that the founders need each other. */
bool nemesis_others_go_on(const struct world *w, uint32_t lost);

/* ------------------------------------------------------- nemesis_session.c */

void nemesis_orphan(struct world *w);
void nemesis_late_keepalives(struct world *w);
void nemesis_bygone(struct world *w);

/* Soft leases, five replicas: a master keeps one of the others, who knows of no other. */
void nemesis_schism(struct world *w, const struct replica *master);

#endif
