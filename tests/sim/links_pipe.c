/* SPDX-License-Identifier: Apache-2.0
 *
 * How octets travel between agents and replicas, and what goes wrong there: a reset
 * in the midst of a line, an end that is gone without a word, one direction that is
 * late or stands still, and single octets.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/links_internal.h"
#include "tests/sim/net.h"
#include "tests/sim/points.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"

enum {
    NARROW_OCTETS = 700,      /* What a narrow connection holds before events wait, ... */
    WIDE_OCTETS = 128 * 1024, /* ... and a usual one. */
    SLOWER_US_MAX = 900000,
    OVERTAKEN_US_MAX = 600000,
    HALF_OPEN_US_MIN = 2000000, /* Until the system gives up a connection. */
    HALF_OPEN_US_MAX = 20000000,
};

static void on_dialled(struct world *w, const struct event *event);
static void on_down(struct world *w, const struct event *event);
static void on_lost(struct world *w, const struct event *event);
static void on_forgotten(struct world *w, const struct event *event);

void links_draw(struct world *w, bool calm)
{
    struct links *l = w->links;
    l->reset_ppm =
        calm || chance_percent(&l->rng, 40) ? 0 : (uint32_t)rng_below(&l->rng, 200000);
    l->stall_ppm =
        calm || chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 100000);
    l->silent_ppm =
        calm || chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 200000);
    l->brink_ppm =
        calm || chance_percent(&l->rng, 70) ? 0 : (uint32_t)rng_below(&l->rng, 50000);
    l->octets = calm || chance_percent(&l->rng, 60) ? WIDE_OCTETS : NARROW_OCTETS;
    if (!calm) {
        l->tear_ppm = chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 50000);
        l->dribble_ppm = chance_percent(&l->rng, 70) ? 0 : (uint32_t)rng_below(&l->rng, 300000);
        l->half_open_ppm =
            chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 800000);
        l->slow_ppm = chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 500000);
        l->garble_ppm = chance_percent(&l->rng, 75) ? 0 : (uint32_t)rng_below(&l->rng, 20000);
        l->odd_ppm = chance_percent(&l->rng, 80) ? 0 : (uint32_t)rng_below(&l->rng, 30000);
        l->overtake_ppm =
            chance_percent(&l->rng, 60) ? 0 : (uint32_t)rng_below(&l->rng, 500000);
    }
}

/* --------------------------------------------------------------------- pipes */

static void push(struct pipe *p, const void *data, size_t size)
{
    if (p->size + size > p->capacity) {
        p->capacity = 2 * (p->size + size);
        p->data = sim_resize(p->data, p->capacity);
    }
    memcpy(p->data + p->size, data, size);
    p->size += size;
}

static uint64_t arrival_us(struct world *w, struct pipe *p)
{
    uint64_t at_us = w->now_us + net_delay_us(w, &w->links->rng);
    at_us += w->healed ? 0 : p->slower_us;
    at_us = at_us > p->last_at_us ? at_us : p->last_at_us;
    at_us = at_us > p->stalled_until_us ? at_us : p->stalled_until_us;
    p->last_at_us = at_us;
    return at_us;
}

/* It is reset in the midst of what is being sent: only the beginning arrives. */
static size_t tear(struct world *w, uint64_t link, size_t size)
{
    struct links *l = w->links;
    link_at(w, link)->torn = true;
    sometimes(line_torn);
    link_reset(w, link);
    return rng_below(&l->rng, size);
}

/* An octet of what was just sent down arrives as one that no line can hold. */
static void garble(struct world *w, struct pipe *p, size_t size)
{
    static const unsigned char never[] = {0x00, 0x01, 0x1f, 0xc0, 0xff};
    struct rng *rng = &w->links->rng;
    char *at = p->data + p->size - size + rng_below(rng, size);
    if (!w->healed && chance_ppm(rng, w->links->garble_ppm) && *at != '\n') {
        *at = (char)never[rng_below(rng, sizeof never)];
        sometimes(line_garbled);
    }
}

static void send_through(struct world *w, uint64_t link, struct pipe *p, const void *data,
                         size_t size, void (*run)(struct world *w, const struct event *event))
{
    struct rng *rng = &w->links->rng;
    if (link_at(w, link)->torn) {
        return;
    }
    if (!w->healed && chance_ppm(rng, w->links->tear_ppm)) {
        size = tear(w, link, size);
    }
    if (size == 0) {
        return;
    }
    push(p, data, size);
    if (p == &link_at(w, link)->down) {
        garble(w, p, size);
    }
    if (chance_percent(rng, 20)) { /* Cut anywhere. */
        const uint64_t cut = p->size - rng_below(rng, size);
        world_at(w, arrival_us(w, p), (struct event){.run = run, .a = link, .b = cut});
    }
    world_at(w, arrival_us(w, p), (struct event){.run = run, .a = link, .b = p->size});
}

/* --------------------------------------------------------------- begin and end */

static void draw_link(struct links *l, struct link_of_agent *k)
{
    k->silent = chance_ppm(&l->rng, l->silent_ppm);
    k->half_open = chance_ppm(&l->rng, l->half_open_ppm);
    k->dribbles = chance_ppm(&l->rng, l->dribble_ppm);
    if (chance_ppm(&l->rng, l->slow_ppm)) {
        struct pipe *p = chance_percent(&l->rng, 70) ? &k->down : &k->up;
        p->slower_us = rng_below(&l->rng, SLOWER_US_MAX);
    }
}

uint64_t link_dial(struct world *w, uint32_t agent, uint64_t number, uint32_t replica)
{
    struct links *l = w->links;
    if (l->count == l->capacity) {
        l->capacity = l->capacity == 0 ? 64 : l->capacity * 2;
        l->all = sim_resize(l->all, l->capacity * sizeof *l->all);
    }
    const uint64_t link = LINKS_FIRST + l->count;
    l->all[l->count++] =
        (struct link_of_agent){.agent = agent, .replica = replica, .number = number};
    if (!w->healed) {
        draw_link(l, &l->all[l->count - 1]);
    }
    world_at(w, w->now_us + 2 * net_delay_us(w, &l->rng),
             (struct event){.run = on_dialled, .a = link});
    return link;
}

static void on_dialled(struct world *w, const struct event *event)
{
    struct link_of_agent *k = link_at(w, event->a);
    const struct replica *r = w->replicas[k->replica];
    const uint64_t cut_us = workload_cut_until_us(w, k->replica);
    if (k->closed) {
        return;
    }
    const uint64_t stopped_us = agent_stopped_until_us(w, k->agent);
    if (cut_us > w->now_us || stopped_us > w->now_us) {
        world_at(w, cut_us > stopped_us ? cut_us : stopped_us, *event);
    } else if (replica_is_up(r)) {
        k->life = r->life;
        agent_connected(w, k->agent, k->number);
    } else if (!r->dark) {
        agent_lost(w, k->agent, k->number, "Connection refused");
    }
}

void link_reset(struct world *w, uint64_t link)
{
    struct link_of_agent *k = link_at(w, link);
    if (!k->closed) {
        world_at(w, arrival_us(w, &k->down), (struct event){.run = on_lost, .a = link});
    }
}

static void on_lost(struct world *w, const struct event *event)
{
    struct link_of_agent *k = link_at(w, event->a);
    const uint64_t stopped_us = agent_stopped_until_us(w, k->agent);
    if (k->closed) {
        return;
    }
    if (stopped_us > w->now_us) {
        world_at(w, stopped_us, *event);
        return;
    }
    agent_lost(w, k->agent, k->number, "Connection reset by peer");
}

void link_break(struct world *w, uint64_t link)
{
    link_reset(w, link);
    link_at(w, link)->silent = true;
}

void link_close(struct world *w, uint64_t link)
{
    struct link_of_agent *k = link_at(w, link);
    if (!k->closed) {
        k->closed = true;
        uint64_t at_us = arrival_us(w, &k->up);
        if (k->half_open) {
            sometimes(end_unheard);
            at_us += rng_between(&w->links->rng, HALF_OPEN_US_MIN, HALF_OPEN_US_MAX);
        }
        world_at(w, at_us, (struct event){.run = on_forgotten, .a = link});
    }
}

static void on_forgotten(struct world *w, const struct event *event)
{
    struct link_of_agent *k = link_at(w, event->a);
    struct replica *r = w->replicas[k->replica];
    if (k->forgotten || (replica_is_up(r) && replica_postpone(w, r, event))) {
        return;
    }
    k->forgotten = true;
    while (k->open_count > 0) {
        free(k->open[--k->open_count].watches);
    }
    link_watches_end(&k->watches);
    if (replica_is_up(r) && k->life == r->life) {
        replica_forget(w, r, event->a);
    }
}

/* ----------------------------------------------------------------------- up */

size_t link_room(struct world *w, uint64_t link, size_t size)
{
    return link_at(w, link)->dribbles ? 1 : size;
}

void link_send(struct world *w, uint64_t link, const void *data, size_t size)
{
    struct link_of_agent *k = link_at(w, link);
    if (points_at_line(w)) {
        link_break(w, link);
        return;
    }
    const uint64_t held_until_us = w->links->held_until_us[k->agent];
    if (held_until_us > k->up.stalled_until_us) {
        k->up.stalled_until_us = held_until_us;
    }
    send_through(w, link, &k->up, data, size, links_on_up);
}

void links_hold(struct world *w, uint32_t replica, uint64_t until_us)
{
    struct links *l = w->links;
    for (uint64_t i = 0; i < l->count; i++) {
        if (l->all[i].replica == replica && !l->all[i].closed) {
            l->all[i].up.stalled_until_us = until_us;
        }
    }
}

/* ---------------------------------------------------------------------- down */

void links_hold_answers(struct world *w, uint32_t replica, uint64_t until_us)
{
    w->links->dumb_until_us[replica] = until_us;
}

/* What is in the buffer leaves; who leaves too much unread is slow. */
void link_send_down(struct world *w, uint64_t link)
{
    struct links *l = w->links;
    struct link_of_agent *k = link_at(w, link);
    if (points_at_line(w)) {
        link_break(w, link);
        return;
    }
    const uint64_t dumb_until_us = l->dumb_until_us[k->replica];
    if (dumb_until_us > k->down.stalled_until_us) {
        k->down.stalled_until_us = dumb_until_us;
    }
    send_through(w, link, &k->down, l->buffer.data, l->buffer.size, on_down);
    if (!k->slow && k->down.size - k->down.taken > l->octets) {
        world_at(w, w->now_us, (struct event){.run = links_on_fullness, .a = link});
    }
}

static void on_fill(struct world *w, const struct event *event)
{
    link_release_fill(w, event->a);
}

bool link_hold_fill(struct world *w, uint64_t link, bool cached)
{
    struct links *l = w->links;
    struct link_of_agent *k = link_at(w, link);
    if (!cached || w->healed || k->fill.size > 0 || !chance_ppm(&l->rng, l->overtake_ppm)) {
        return false;
    }
    wire_append(&k->fill, l->buffer.data, l->buffer.size);
    world_at(w, w->now_us + rng_below(&l->rng, OVERTAKEN_US_MAX),
             (struct event){.run = on_fill, .a = link});
    return true;
}

void link_release_fill(struct world *w, uint64_t link)
{
    struct link_of_agent *k = link_at(w, link);
    if (k->fill.size == 0) {
        return;
    }
    w->links->buffer.size = 0;
    wire_append(&w->links->buffer, k->fill.data, k->fill.size);
    k->fill.size = 0;
    if (!k->silent && !k->forgotten) {
        link_send_down(w, link);
    }
}

/* As reads of the agent find it. */
static void hand_over(struct world *w, uint64_t link, uint64_t end)
{
    for (;;) {
        struct link_of_agent *k = link_at(w, link);
        const size_t from = k->down.taken;
        if (k->closed || from >= end) {
            return;
        }
        sometimes_if(k->dribbles, octets_single);
        k->down.taken = k->dribbles ? from + 1 : end;
        agent_received(w, k->agent, k->number, k->down.data + from, k->down.taken - from);
    }
}

static void on_down(struct world *w, const struct event *event)
{
    struct link_of_agent *k = link_at(w, event->a);
    const uint64_t cut_us = workload_cut_until_us(w, k->replica);
    const uint64_t stopped_us = agent_stopped_until_us(w, k->agent);
    if (k->closed || k->silent || event->b <= k->down.taken) {
        return;
    }
    if (cut_us > w->now_us || stopped_us > w->now_us) {
        world_at(w, cut_us > stopped_us ? cut_us : stopped_us, *event);
        return;
    }
    if (k->slow) {
        world_at(w, w->now_us, (struct event){.run = links_on_fullness, .a = event->a});
    }
    hand_over(w, event->a, event->b);
}

/* ---------------------------------------------------------------------- healing */

/* What was late or held back arrives now. */
void links_heal(struct world *w)
{
    struct links *l = w->links;
    memset(l->held_until_us, 0, sizeof l->held_until_us);
    memset(l->dumb_until_us, 0, sizeof l->dumb_until_us);
    for (uint64_t i = 0; i < l->count; i++) {
        struct link_of_agent *k = &l->all[i];
        if (k->closed || k->life == 0) {
            continue;
        }
        k->up.stalled_until_us = k->down.stalled_until_us = 0;
        k->up.last_at_us = k->down.last_at_us = 0;
        world_at(w, arrival_us(w, &k->up),
                 (struct event){.run = links_on_up, .a = LINKS_FIRST + i, .b = k->up.size});
        world_at(w, arrival_us(w, &k->down),
                 (struct event){.run = on_down, .a = LINKS_FIRST + i, .b = k->down.size});
    }
}
