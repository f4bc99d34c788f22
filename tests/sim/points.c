/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/points.h"

#include <string.h>

enum {
    AWAY_US_MIN = 1000,   /* Restarting at once is the dangerous case ... */
    AWAY_US_MAX = 700000, /* ... and here somebody else is master meanwhile. */
};

static const char *const names[] = {
#define NAME(name, text) [name] = text,
    BREAK_MAP(NAME)
#undef NAME
};

const char *points_break_name(enum breakage how)
{
    return names[how];
}

bool points_break_named(const char *name, enum breakage *ret_how)
{
    for (int how = 0; how < BREAKS; how++) {
        if (strcmp(name, names[how]) == 0) {
            *ret_how = (enum breakage)how;
            return true;
        }
    }
    return false;
}

static uint8_t bit(enum breakage how)
{
    return (uint8_t)(1U << how);
}

/* Counts the point.  True: this is the one to break. */
static bool pass(struct world *w, uint8_t possible)
{
    struct points *p = w->points;
    if (p == NULL || !p->counting) {
        return false;
    }
    if (p->count == POINTS_MAX) {
        world_fail(w, "bounded", "a scenario has more than %d points", (int)POINTS_MAX);
    }
    p->possible[p->count++] = possible;
    if (p->count != p->broken) {
        return false;
    }
    p->counting = false;
    if (w->tracing) {
        world_trace(w, 0, "point", "%u: %s", p->count, names[p->how]);
    }
    return true;
}

enum point_verdict points_at_send(struct world *w, const struct replica *r)
{
    uint8_t possible =
        bit(BREAK_BEFORE) | bit(BREAK_AFTER) | bit(BREAK_UNSYNCED) | bit(BREAK_LOSS);
    if (disk_under_way(&r->disk) > 0) { /* Else as AFTER. */
        possible |= bit(BREAK_TORN);
    }
    if (!pass(w, possible)) {
        return POINT_GO_ON;
    }
    return w->points->how == BREAK_LOSS     ? POINT_LOSE
           : w->points->how == BREAK_BEFORE ? POINT_DIE_BEFORE
                                            : POINT_DIE_AFTER;
}

bool points_at_sync(struct world *w, struct replica *r)
{
    uint8_t possible = bit(BREAK_BEFORE) | bit(BREAK_AFTER) | bit(BREAK_UNSYNCED);
    if (disk_under_way(&r->disk) > 1 || w->plan.full) { /* Else as BEFORE. */
        possible |= bit(BREAK_TORN);
    }
    if (!pass(w, possible)) {
        return false;
    }
    points_kill(w, r);
    return true;
}

bool points_at_line(struct world *w)
{
    return pass(w, bit(BREAK_LOSS));
}

void points_kill(struct world *w, struct replica *r)
{
    const struct points *p = w->points;
    r->disk.fate = p->how == BREAK_AFTER  ? DISK_THERE
                   : p->how == BREAK_TORN ? DISK_HALF
                                          : DISK_GONE;
    replica_crash(w, r, /* dark= */ p->how == BREAK_UNSYNCED);
    r->disk.fate = DISK_CHANCE;
    replica_boot_later(w, r, p->later ? AWAY_US_MAX : AWAY_US_MIN);
}
