/* SPDX-License-Identifier: Apache-2.0
 *
 * A minority of the founders is lost for good in the midst of the founding.
 *
 * Before anybody has promised, the founders need each other, and a loss is the end of
 * that founding: nothing is to be seen then but that nobody goes on.  So the strike waits
 * until one of those who stay has a promise on its disk.  From then on the others must
 * found the cell, also if all that they remember is what their disks kept.
 */
#include "tests/sim/nemesis_internal.h"

enum {
    LOSS_PERCENT = 25, /* Of the seeds in which a minority stays hurt. */
    LOOK_US = 500,
    RESTART_PERCENT = 80,
};

bool nemesis_others_go_on(const struct world *w, uint32_t lost)
{
    bool promised = false;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        promised |= (lost >> i & 1) == 0 && w->replicas[i]->disk.hard.promised.round != 0;
    }
    return promised;
}

static void lose(struct world *w, uint32_t lost)
{
    w->hurt = lost;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = w->replicas[i];
        const bool gone = (lost >> i & 1) != 0;
        r->finished |= gone;
        if (replica_is_up(r) && (gone || chance_percent(&w->chance, RESTART_PERCENT))) {
            replica_crash(w, r, chance_percent(&w->chance, 30));
            replica_boot_later(w, r, between_ms(w, 0, 1000)); /* Unless it is finished. */
        }
    }
}

/* `a`: who is to be lost; `b`: is it time? */
static void on_look(struct world *w, const struct event *event)
{
    const uint32_t lost = (uint32_t)event->a;
    if (w->healed || nemesis_disk_struck(w) != 0) {
        return;
    }
    if (event->b != 0) {
        if (w->tracing) {
            world_trace(w, WORLD_ITSELF, "nemesis", "a minority is lost in the founding");
        }
        lose(w, lost);
        return;
    }
    const bool time = nemesis_others_go_on(w, lost);
    world_at(w, w->now_us + (time ? rng_below(&w->chance, 150 * MS) : LOOK_US),
             (struct event){.run = on_look, .a = lost, .b = time});
}

/* Has its own chance, so that the other worlds stay what they were. */
void nemesis_loss_start(struct world *w)
{
    struct rng rng = {.state = ~w->seed};
    if (!w->plan.spoiled || !chance_percent(&rng, LOSS_PERCENT)) {
        return;
    }
    uint32_t lost = 0;
    for (uint32_t i = plan_majority(&w->plan); i < w->plan.replicas; i++) {
        lost |= UINT32_C(1) << rng_below(&rng, w->plan.replicas);
    }
    world_at(w, 0, (struct event){.run = on_look, .a = lost});
}
