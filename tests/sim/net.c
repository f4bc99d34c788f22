/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/net.h"

#include <stdlib.h>

#include "paxos/describe.h"
#include "tests/sim/damage.h"
#include "tests/sim/replica.h"
#include "tests/sim/sometimes.h"

enum {
    HEALED_DELAY_US_MAX = 20000,
    CLOGGED_SPREAD_US = 2000, /* What waited arrives within this time. */
};

struct frame {
    uint64_t resets; /* Of its link, when it was sent. */
    uint32_t from, to;
    uint64_t life; /* Of the process that it was sent to. */
    bool damaged;
    size_t size;
    uint8_t data[];
};

void net_start(struct world *w)
{
    w->net = sim_allocate(sizeof *w->net);
    *w->net = (struct net){.rng = {.state = rng_next(&w->chance)}};
    w->net->decoded = sim_allocate(sizeof *w->net->decoded);
}

void net_stop(struct world *w)
{
    free(w->net->decoded);
    free(w->net);
    w->net = NULL;
}

uint64_t net_delay_us(struct world *w, struct rng *rng)
{
    uint32_t most = w->plan.delay_us_max;
    if (w->healed && most > HEALED_DELAY_US_MAX) {
        most = HEALED_DELAY_US_MAX;
    }
    const uint32_t least = w->plan.delay_us_min < most ? w->plan.delay_us_min : most;
    return rng_between(rng, least, most);
}

/* ---------------------------------------------------------------- arriving */

static void trace_message(struct world *w, unsigned who, const char *what, const char *arrow,
                          unsigned other, const struct paxos_message *message)
{
    char text[512];
    world_trace(w, who, what, "%s %u  %s", arrow, other,
                paxos_describe_message(message, text, sizeof text));
}

/* What came out of a damaged frame must be what went in: either the damage was
 * found, or it hit nothing that matters. */
static void lose_connection(struct world *w, const struct frame *frame)
{
    if (!frame->damaged) {
        world_fail(w, "codec", "a frame of replica %u that nobody damaged was refused",
                   frame->from + 1);
    }
    if (w->tracing) {
        world_trace(w, frame->to + 1, "damaged", "<- %u", frame->from + 1);
    }
    net_reset(w, frame->from, frame->to);
    net_reset(w, frame->to, frame->from);
}

static void deliver(struct world *w, const struct event *event)
{
    struct frame *frame = event->data;
    struct net *net = w->net;
    struct replica *to = w->replicas[frame->to];
    const bool lost = frame->resets != net->links[frame->from][frame->to].resets ||
                      (!w->plan.outlive && frame->life != replica_life(to));
    if (lost || !replica_is_up(to)) {
        free(frame);
        return;
    }
    if (replica_postpone(w, to, event)) {
        return;
    }
    size_t size = 0;
    const enum paxos_decode decode =
        paxos_frame_decode(bytes_of(frame->data, frame->size), net->decoded, &size);
    if (decode != PAXOS_DECODED) {
        lose_connection(w, frame);
    } else if (frame->damaged) {
        world_fail(w, "codec", "a damaged frame of replica %u was accepted", frame->from + 1);
    } else {
        if (w->tracing) {
            trace_message(w, frame->to + 1, "recv", "<-", frame->from + 1,
                          &net->decoded->message);
        }
        replica_receive(w, to, &net->decoded->message);
    }
    free(frame);
}

/* ----------------------------------------------------------------- leaving */

static void damage(struct net *net, struct frame *frame)
{
    frame->data[rng_below(&net->rng, frame->size)] ^= (uint8_t)(1U << rng_below(&net->rng, 8));
    frame->damaged = true;
}

static void dispatch(struct world *w, struct frame *frame)
{
    struct net *net = w->net;
    struct link *link = &net->links[frame->from][frame->to];
    uint64_t at_us = w->now_us + net_delay_us(w, &net->rng) + link->slower_us;
    if (at_us < link->clogged_until_us) {
        at_us = link->clogged_until_us + rng_below(&net->rng, CLOGGED_SPREAD_US);
    }
    if (!w->plan.reorder || w->healed) {
        at_us = at_us > link->last_at_us ? at_us : link->last_at_us;
        link->last_at_us = at_us;
    }
    world_at(w, at_us, (struct event){.run = deliver, .data = frame});
}

/* Once more: right behind the first, or when much has changed. */
static void repeat(struct world *w, struct frame *frame)
{
    if (w->plan.replay_us_max == 0) {
        dispatch(w, frame);
    } else {
        const uint64_t later_us = rng_below(&w->net->rng, w->plan.replay_us_max);
        sometimes_if(later_us > WORLD_SECOND, frame_replayed);
        world_at(w, w->now_us + net_delay_us(w, &w->net->rng) + later_us,
                 (struct event){.run = deliver, .data = frame});
    }
}

static struct frame *frame_new(struct world *w, const struct paxos_message *message)
{
    const size_t size = paxos_frame_size(message);
    struct frame *frame = sim_allocate(sizeof *frame + size);
    frame->from = message->from - 1U;
    frame->to = message->to - 1U;
    frame->resets = w->net->links[frame->from][frame->to].resets;
    frame->life = replica_life(w->replicas[frame->to]);
    frame->damaged = false;
    frame->size = size;
    struct writer writer = writer_over(frame->data, size);
    paxos_frame_encode(message, &writer);
    if (writer.failed || writer.size != size) {
        world_fail(w, "codec", "a frame of %zu octets was announced, %zu were written", size,
                   writer.size);
    }
    return frame;
}

/* A vote whose sender's memory lied about the value it voted for. */
static struct paxos_message misvote(struct world *w, const struct paxos_message *message)
{
    struct paxos_message copy = *message;
    if (!w->healed && message->type == PAXOS_MSG_VOTE &&
        chance_ppm(&w->net->rng, w->plan.misvote_ppm)) {
        copy.checksum ^= 1;
    }
    return copy;
}

void net_send(struct world *w, const struct paxos_message *message)
{
    struct net *net = w->net;
    if (message->to == 0 || message->to > w->plan.replicas || message->to == message->from) {
        world_fail(w, "addressed", "replica %u sends to %u", message->from, message->to);
    }
    const struct paxos_message sent = misvote(w, message);
    const bool lost = net->links[message->from - 1][message->to - 1].cut ||
                      (!w->healed && chance_ppm(&net->rng, w->plan.loss_ppm));
    if (w->tracing) {
        trace_message(w, message->from, lost ? "lost" : "send", "->", message->to, &sent);
    }
    if (lost) {
        return;
    }
    struct frame *frame = frame_new(w, &sent);
    damage_frame(w, bytes_of(frame->data, frame->size));
    if (!w->healed && chance_ppm(&net->rng, w->plan.duplicate_ppm)) {
        struct frame *again = sim_allocate(sizeof *again + frame->size);
        memcpy(again, frame, sizeof *again + frame->size);
        repeat(w, again);
    }
    if (!w->healed && chance_ppm(&net->rng, w->plan.damage_ppm)) {
        damage(net, frame);
    }
    dispatch(w, frame);
}

void net_reset(struct world *w, uint32_t from, uint32_t to)
{
    struct link *link = &w->net->links[from][to];
    link->resets++;
    link->last_at_us = 0;
}

void net_heal(struct world *w)
{
    for (uint32_t from = 0; from < PLAN_REPLICAS_MAX; from++) {
        for (uint32_t to = 0; to < PLAN_REPLICAS_MAX; to++) {
            struct link *link = &w->net->links[from][to];
            *link = (struct link){.resets = link->resets};
        }
    }
}
