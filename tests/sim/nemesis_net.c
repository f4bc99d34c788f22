/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of the network: between replicas, and between them and their clients.
 */
#include "tests/sim/links.h"
#include "tests/sim/nemesis_internal.h"
#include "tests/sim/net.h"
#include "tests/sim/workload.h"

/* -------------------------------------------------------------------- cuts */

/* A cut that ends by itself. */
void nemesis_on_mend(struct world *w, const struct event *event)
{
    if (!world_hurt(w, (uint32_t)event->a) && !world_hurt(w, (uint32_t)event->b)) {
        w->net->links[event->a][event->b].cut = false;
    }
}

void nemesis_cut_link(struct world *w, uint32_t from, uint32_t to, uint64_t for_us)
{
    if (from == to) {
        return;
    }
    w->net->links[from][to].cut = true;
    if (chance_percent(&w->chance, 50)) {
        net_reset(w, from, to);
    }
    world_at(w, w->now_us + for_us, (struct event){.run = nemesis_on_mend, .a = from, .b = to});
}

/* Between `index` and all others; `in`, `out`: which directions. */
void nemesis_cut_directions(struct world *w, uint32_t index, bool in, bool out, uint64_t for_us)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (out) {
            nemesis_cut_link(w, index, i, for_us);
        }
        if (in) {
            nemesis_cut_link(w, i, index, for_us);
        }
    }
}

void nemesis_cut_off(struct world *w, uint32_t index, uint64_t for_us)
{
    nemesis_cut_directions(w, index, /* in= */ true, /* out= */ true, for_us);
}

static void cut_random_links(struct world *w, uint64_t for_us)
{
    for (uint32_t from = 0; from < w->plan.replicas; from++) {
        for (uint32_t to = 0; to < w->plan.replicas; to++) {
            if (chance_percent(&w->chance, 30)) {
                nemesis_cut_link(w, from, to, for_us);
            }
        }
    }
}

void nemesis_cut(struct world *w)
{
    const uint64_t for_us = between_ms(w, 100, 6000);
    const uint32_t index = nemesis_victim(w)->index;
    switch (rng_below(&w->chance, 5)) {
    case 0:
        nemesis_cut_directions(w, index, /* in= */ true, /* out= */ false, for_us);
        break;
    case 1:
        nemesis_cut_directions(w, index, /* in= */ false, /* out= */ true, for_us);
        break;
    case 2:
        cut_random_links(w, for_us);
        break;
    default:
        nemesis_cut_directions(w, index, /* in= */ true, /* out= */ true, for_us);
        break;
    }
}

/* ------------------------------------------------------------------ graphs */

/* Does a graph of this shape have a link from one replica to another?  Replicas
 * count from the middle of it. */
static bool linked(const struct world *w, uint64_t shape, uint32_t from, uint32_t to)
{
    const uint32_t last = w->plan.replicas - 1;
    switch (shape) {
    case 0: /* A chain. */
        return from + 1 == to || to + 1 == from;
    case 1: /* A star. */
        return from == 0 || to == 0;
    case 2: /* A ring, one way. */
        return to == (from == last ? 0 : from + 1);
    default: /* A star whose middle hears all, and whom only one hears. */
        return to == 0 || (from == 0 && to == 1);
    }
}

void nemesis_graph(struct world *w)
{
    const uint32_t replicas = w->plan.replicas;
    const uint32_t middle = nemesis_victim(w)->index;
    const uint64_t shape = rng_below(&w->chance, 4);
    const uint64_t for_us = between_ms(w, 500, 10000);
    for (uint32_t i = 0; i < replicas; i++) {
        for (uint32_t j = 0; j < replicas; j++) {
            if (!linked(w, shape, i, j)) {
                nemesis_cut_link(w, (middle + i) % replicas, (middle + j) % replicas, for_us);
            }
        }
    }
}

void nemesis_cut_for_good(struct world *w, uint32_t index, bool in, bool out)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != index) {
            w->net->links[i][index].cut |= in;
            w->net->links[index][i].cut |= out;
        }
    }
}

/* -------------------------------------------------------- late and lost */

void nemesis_clog(struct world *w)
{
    const uint64_t until_us = w->now_us + between_ms(w, 50, 3000);
    const uint32_t index = nemesis_victim(w)->index;
    const bool in = chance_percent(&w->chance, 50);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != index && chance_percent(&w->chance, 70)) {
            w->net->links[in ? i : index][in ? index : i].clogged_until_us = until_us;
        }
    }
}

void nemesis_reset(struct world *w)
{
    const uint32_t index = nemesis_victim(w)->index;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != index && chance_percent(&w->chance, 70)) {
            net_reset(w, index, i);
            net_reset(w, i, index);
        }
    }
}

void nemesis_slow(struct world *w)
{
    const uint32_t index = nemesis_victim(w)->index;
    const bool in = chance_percent(&w->chance, 50);
    const bool worse = chance_percent(&w->chance, 60);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != index) {
            w->net->links[in ? i : index][in ? index : i].slower_us =
                worse ? between_ms(w, 50, 450) : 0;
        }
    }
}

/* ----------------------------------------------------------------- clients */

void nemesis_client_cut(struct world *w)
{
    workload_cut(w, nemesis_victim(w)->index, w->now_us + between_ms(w, 100, 4000));
}

/* Requests arrive and are obeyed; nobody hears of it in time. */
void nemesis_dumb(struct world *w)
{
    links_hold_answers(w, nemesis_victim(w)->index, w->now_us + between_ms(w, 300, 8000));
}
