/* SPDX-License-Identifier: Apache-2.0
 *
 * service_stretch.c -- how long a lease KeepAlives are answered with under load.
 *
 * A master that answers too many KeepAlives, or whose turns come late, grants
 * longer leases, so that each session asks less often (Chubby, 2.8 and 4).  The
 * next master must know how long the longest may be; hence the ceiling is in the
 * log, and nothing is granted above it:
 *
 *     busy:   propose the next ceiling --> chosen --> grant up to it
 *     quiet:  grant less --> all longer leases have run out --> propose less
 *
 * A session that asked for less than the default wants to be missed soon, and is
 * left alone.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

enum {
    SECOND_MS = 1000,
    LATE_MS = 100,  /* A turn that comes so late ... */
    LATE_TURNS = 3, /* ... and so often in a second shows that the master is loaded. */
};

/* From each to the next, and back; 0 is the session's own lease. */
static const uint32_t ceilings[] = {0, 24000, 48000, 60000};
enum { CEILINGS = sizeof ceilings / sizeof *ceilings };

static_assert(LEASE_SESSION_MS_DEFAULT == 12000 && LEASE_SESSION_MS_MAX == 60000,
              "twice the default, four times, and the most there may be");

static uint32_t next_above(uint32_t ceiling_ms)
{
    uint32_t at = 0;
    while (at + 1 < CEILINGS && ceilings[at] <= ceiling_ms) {
        at++;
    }
    return ceilings[at];
}

static uint32_t next_below(uint32_t ceiling_ms)
{
    uint32_t at = CEILINGS - 1;
    while (at > 0 && ceilings[at] >= ceiling_ms) {
        at--;
    }
    return ceilings[at];
}

void stretch_begin(struct service *s)
{
    const uint32_t ceiling_ms = lease_stretch_ms(s->lease);
    s->stretch = (struct stretch){
        .second_ms = s->now_ms,
        .granted_ms = ceiling_ms,
        .longer_ms = s->now_ms + ceiling_ms, /* The old master may just have granted it. */
        .busy_ms = s->now_ms,
        .settled_ms = s->now_ms,
    };
}

void stretch_late(struct service *s, uint64_t late_ms)
{
    s->stretch.late += late_ms >= LATE_MS;
}

/* --------------------------------------------------------------------- load */

/* KeepAlives that a second with `answered` of them would have brought, had the
 * leases been those below what is granted. */
static uint64_t answered_below(const struct stretch *st)
{
    const uint32_t below_ms = next_below(st->granted_ms);
    const uint64_t from_ms = st->granted_ms == 0 ? LEASE_SESSION_MS_DEFAULT : st->granted_ms;
    const uint64_t to_ms = below_ms == 0 ? LEASE_SESSION_MS_DEFAULT : below_ms;
    return st->answered * from_ms / to_ms;
}

static void judge_second(struct service *s)
{
    struct stretch *st = &s->stretch;
    const uint32_t busy = s->config.keepalives_busy;
    const uint32_t ceiling_ms = lease_stretch_ms(s->lease);
    const bool late = st->late >= LATE_TURNS;
    if (busy != 0 && (late || answered_below(st) >= busy / 2)) {
        st->busy_ms = s->now_ms;
    }
    if (busy != 0 && (late || st->answered >= busy)) {
        st->granted_ms = ceiling_ms; /* Were it to be lowered: not now. */
        st->raise = s->now_ms >= st->settled_ms && next_above(ceiling_ms) > ceiling_ms;
    } else if (st->granted_ms == ceiling_ms && s->now_ms >= st->busy_ms + ceiling_ms) {
        st->granted_ms = next_below(ceiling_ms);
        st->busy_ms = s->now_ms;
    }
}

/* What goes on while a ceiling is on its way makes no difference to it. */
static void look_at_clock(struct service *s)
{
    struct stretch *st = &s->stretch;
    if (s->now_ms < st->second_ms + SECOND_MS) {
        return;
    }
    if (!st->proposed) {
        judge_second(s);
    }
    st->second_ms = s->now_ms;
    st->answered = 0;
    st->late = 0;
}

uint32_t stretch_grant(struct service *s, uint32_t lease_ms)
{
    struct stretch *st = &s->stretch;
    look_at_clock(s);
    st->answered++;
    const uint32_t longest_ms = lease_longest_ms(s->lease, lease_ms);
    const uint32_t granted_ms = st->granted_ms < longest_ms ? st->granted_ms : longest_ms;
    if (granted_ms <= lease_ms) {
        return lease_ms;
    }
    if (st->granted_ms == lease_stretch_ms(s->lease)) {
        st->longer_ms = s->now_ms + granted_ms;
    }
    return granted_ms;
}

/* ------------------------------------------------------------------- ceiling */

bool stretch_due(struct service *s, struct lease_command *ret_command)
{
    struct stretch *st = &s->stretch;
    look_at_clock(s);
    const uint32_t ceiling_ms = lease_stretch_ms(s->lease);
    const bool lower = st->granted_ms < ceiling_ms && s->now_ms >= st->longer_ms;
    if (st->proposed || (!st->raise && !lower)) {
        return false;
    }
    *ret_command = (struct lease_command){
        .type = LEASE_CMD_STRETCH,
        .epoch = s->epoch,
        .lease_ms = st->raise ? next_above(ceiling_ms) : st->granted_ms,
    };
    st->raise = false;
    st->proposed = true;
    return true;
}

void stretch_applied(struct service *s, enum lease_rc rc)
{
    struct stretch *st = &s->stretch;
    if (rc != LEASE_OK) {
        return; /* Of an older mastership. */
    }
    st->proposed = false;
    st->granted_ms = lease_stretch_ms(s->lease);
    st->busy_ms = s->now_ms;
    st->settled_ms = s->now_ms + st->granted_ms / 3;
}

uint64_t stretch_wake_ms(const struct service *s)
{
    const struct stretch *st = &s->stretch;
    if (st->proposed || (!st->raise && lease_stretch_ms(s->lease) == 0)) {
        return UINT64_MAX;
    }
    return st->raise ? s->now_ms : st->second_ms + SECOND_MS;
}
