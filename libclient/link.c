/* SPDX-License-Identifier: Apache-2.0
 *
 * link.c -- the one connection: search, confirm, watch, leave.
 *
 *            needed             connected           "serving"
 *     NONE ---------> CONNECTING --------> ASKING ------------> READY
 *                      ^    |               ^  |                 |  |
 *                pause |    | fails         |  | no master       |  | refused, or
 *                over  |    v               |  v known           |  | lost
 *                     PAUSING <----------- WAITING <-------------+  |
 *                      ^      next endpoint                         v
 *                      +--------------- one-shots answered ----- LEAVING
 *
 * Reads that any replica may answer need no master.  Where nothing else is asked for,
 * the first replica that can answer them is stayed with, REPLICA, until something is;
 * and while a master is searched for, whoever is asked who it is answers them too.
 *
 * Nothing is sent over a new connection before its far end has said that it is
 * the serving master.  So an endpoint that accepts and says nothing costs time
 * but leaves no request of unknown outcome behind.  A follower that knows no
 * master is asked again on the same connection, which is cheaper for both than
 * going round: it hears of a new master as soon as anybody.
 *
 * A connection on which something is awaited and nothing arrives is asked for a
 * sign of life, and left if none comes.  A master gives that sign at once, whatever
 * waits for its disk or its peers, so a fraction of a second tells one that hangs
 * from one that is busy; and where leaving costs no more than a connection, as it
 * does for all that may be repeated, that is all it gets.  Should we find the same
 * master again behind the search, it was only slow: each time it gets twice as
 * long, up to the patience that a new connection has, so that a master that stalls
 * under its load does not have its clients come back again and again.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <string.h>

enum {
    ASKED_MAX = 8,       /* Times that a follower is asked before the round goes on. */
    LEAVING_MS = 250,    /* For the answers to one-shot calls. */
    IDLE_MS = 30000,     /* A connection not needed is closed before the cell does it. */
    STEADY_MS = 1000,    /* One that lasted so long is worth making again at once. */
    YOUNG_DOUBLINGS = 5, /* Of the pause before one that did not. */
    BEHIND_MS = 200,     /* A replica that is behind is not left before. */
    PATIENCE_DOUBLINGS = 3,
    CALM_DOUBLINGS = 2,
    SILENT_MS = 300,         /* Silence that is asked about, and the patience for the answer. */
    WATCHES_QUIET_MS = 6000, /* Where only watches are set: they hear of progress each 5 s. */
};

static const struct wire_request probe_request = {
    .method = WIRE_CELL_STATUS, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};

bool link_init(struct engine *e)
{
    e->link.state = LINK_NONE;
    e->link.timer.kind = TIMER_LINK;
    if (!heap_reserve(&e->heap)) {
        return false;
    }
    e->link.probe = call_new(e, NULL, &probe_request, NULL);
    return e->link.probe != NULL;
}

void link_free(struct engine *e)
{
    call_free(e->link.probe);
    wire_buffer_free(&e->link.out);
    wire_buffer_free(&e->link.in);
}

bool link_connected(const struct link *l)
{
    return l->state == LINK_ASKING || l->state == LINK_WAITING || l->state == LINK_READY ||
           l->state == LINK_REPLICA || l->state == LINK_LEAVING;
}

size_t link_unsent(const struct link *l)
{
    return l->out.size - l->out_sent;
}

/* Is there anything that only a master can do? */
static bool needs_master(const struct engine *e)
{
    return e->waiting > e->roamers || e->live_sessions > 0 || e->watches.wanted > 0;
}

static bool is_needed(const struct engine *e)
{
    return !e->closed && (e->waiting > 0 || e->live_sessions > 0 || e->watches.wanted > 0);
}

/* An endpoint gets more time after each round that found nobody, so that a cell
 * that is slow rather than silent is reached in the end. */
static uint64_t patience_ms(const struct engine *e)
{
    const uint32_t rounds = e->link.rounds / e->locate.count;
    const uint32_t doublings =
        rounds < PATIENCE_DOUBLINGS ? rounds : (uint32_t)PATIENCE_DOUBLINGS;
    return (uint64_t)e->config.connect_ms << doublings;
}

/* How long a connection may be silent that owes an answer.  One-shot calls can't be
 * repeated, so leaving costs their outcomes. */
static uint64_t silent_ms(const struct engine *e)
{
    const uint64_t limit_ms = e->config.connect_ms;
    const uint64_t ms = (uint64_t)SILENT_MS << e->link.slow;
    return e->one_shots > 0 || ms > limit_ms ? limit_ms : ms;
}

static void enter(struct engine *e, enum link_state state, uint64_t timer_ms)
{
    e->link.state = state;
    heap_set(&e->heap, &e->link.timer, timer_ms);
}

/* -------------------------------------------------------------------- search */

/* A new connection, to the endpoint that the search has come to. */
static void attempt(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    assert(e->in_flight == 0);
    locate_begin(&e->locate, now_ms);
    l->number++;
    l->asked = 0;
    l->reads = false;
    l->out.size = l->out_sent = l->in.size = 0;
    l->out.failed = l->in.failed = false;
    l->out_before = 0;
    enter(e, LINK_CONNECTING, now_ms + patience_ms(e));
}

/* What was sent and not answered waits for the next connection. */
static void drop(struct engine *e, uint64_t now_ms)
{
    call_detach(e->link.probe);
    e->link.state = LINK_PAUSING;
    caches_unlinked(e);
    lanes_lost(e, now_ms);
    watches_lost(e);
}

static void next_endpoint(struct engine *e, uint64_t now_ms, bool failed)
{
    drop(e, now_ms);
    e->link.rounds++;
    const uint64_t pause_ms = locate_next(&e->locate, now_ms, failed);
    if (pause_ms == 0) {
        attempt(e, now_ms);
    } else {
        enter(e, LINK_PAUSING, now_ms + pause_ms);
    }
}

void link_leave(struct engine *e, uint64_t now_ms, const char *why)
{
    engine_set_trouble(e, why);
    next_endpoint(e, now_ms, /* failed= */ true);
}

void link_stop(struct engine *e, uint64_t now_ms)
{
    drop(e, now_ms);
    enter(e, LINK_NONE, TIMER_NEVER);
}

/* A connection that broke says nothing against the master at its end, which is tried
 * again before the search goes on: a lease may be too short for a whole round.  But
 * not at once and not ever faster, when it keeps breaking. */
static void try_again(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    drop(e, now_ms);
    if (now_ms - l->ready_ms >= STEADY_MS) {
        l->young = 0;
        attempt(e, now_ms);
        return;
    }
    locate_begin(&e->locate, now_ms);
    enter(e, LINK_PAUSING, now_ms + (locate_pause(&e->locate, now_ms) << l->young));
    l->young += l->young < YOUNG_DOUBLINGS;
}

void link_on_lost(struct engine *e, uint64_t now_ms, const char *why)
{
    struct link *l = &e->link;
    engine_set_trouble(e, why);
    if (!is_needed(e)) {
        link_stop(e, now_ms);
    } else if (l->state == LINK_READY) {
        try_again(e, now_ms);
    } else if (l->state == LINK_LEAVING) {
        drop(e, now_ms);
        attempt(e, now_ms);
    } else {
        next_endpoint(e, now_ms, /* failed= */ true);
    }
}

/* ------------------------------------------------------------------- asking */

static void ask(struct engine *e, uint64_t now_ms)
{
    enter(e, LINK_ASKING, now_ms + patience_ms(e));
    call_print(e->link.probe, now_ms);
}

void link_on_connected(struct engine *e, uint64_t now_ms)
{
    if (e->link.state == LINK_CONNECTING) {
        ask(e, now_ms);
    }
}

static void settle_down(struct engine *e, uint64_t now_ms, enum link_state state)
{
    struct link *l = &e->link;
    l->reads = true;
    l->rounds = 0;
    l->ready_ms = l->heard_ms = now_ms;
    e->trouble[0] = 0;
    enter(e, state, now_ms + silent_ms(e));
}

static void ready(struct engine *e, uint64_t now_ms, uint64_t epoch)
{
    struct link *l = &e->link;
    locate_found(&e->locate, epoch);
    if (epoch == l->silent) {
        l->slow += l->slow < PATIENCE_DOUBLINGS ? 1 : 0;
    } else if (epoch != l->epoch) {
        l->slow = 0;
    }
    l->epoch = epoch;
    l->silent = 0;
    settle_down(e, now_ms, LINK_READY);
    caches_anew(e);
    lanes_wake_all(e);
    LOG(e, LOCKD_INFO, locate_address(&e->locate), ": it is the master");
}

/* Nothing here needs more. */
static void stay(struct engine *e, uint64_t now_ms, uint64_t epoch)
{
    locate_found(&e->locate, epoch);
    settle_down(e, now_ms, LINK_REPLICA);
    LOG(e, LOCKD_INFO, locate_address(&e->locate), ": it answers reads");
}

/* Does somebody wait for an answer whom it would cost something to go? */
static bool is_owed(const struct engine *e)
{
    return e->one_shots > 0 || e->roaming.in_flight > 0;
}

/* To where the search has come, when this connection has done its duty. */
static void move(struct engine *e, uint64_t now_ms)
{
    if (is_owed(e)) {
        enter(e, LINK_LEAVING, now_ms + LEAVING_MS);
        return;
    }
    drop(e, now_ms);
    attempt(e, now_ms);
}

/* "it is not a serving master", and who is, if it knows. */
static void set_not_serving(struct engine *e, struct wire_text master)
{
    static const char head[] = "it is not a serving master";
    static const char who[] = "; that is ";
    char why[sizeof head + sizeof who + ENGINE_ADDRESS_MAX] = "";
    memcpy(why, head, sizeof head);
    if (master.size > 0 && master.size < ENGINE_ADDRESS_MAX) {
        char *at = why + sizeof head - 1;
        memcpy(at, who, sizeof who);
        memcpy(at + sizeof who - 1, master.data, master.size);
        at[sizeof who - 1 + master.size] = 0;
    }
    engine_set_trouble(e, why);
}

static bool is_forming(const struct wire_status *status)
{
    static const char forming[] = "forming";
    return status->role.size == sizeof forming - 1 &&
           memcmp(status->role.data, forming, sizeof forming - 1) == 0;
}

static void not_serving(struct engine *e, uint64_t now_ms, const struct wire_status *status)
{
    e->link.reads = !is_forming(status);
    if (e->link.reads && !needs_master(e)) {
        stay(e, now_ms, status->epoch);
        return;
    }
    set_not_serving(e, status->master_address);
    if (e->link.reads) {
        lanes_pump_roaming(e, now_ms);
    }
    if (locate_hint(&e->locate, now_ms, status->master_address)) {
        move(e, now_ms);
    } else if (++e->link.asked < ASKED_MAX) {
        locate_begin(&e->locate, now_ms);
        enter(e, LINK_WAITING, now_ms + locate_pause(&e->locate, now_ms));
    } else {
        next_endpoint(e, now_ms, /* failed= */ false);
    }
}

void link_probe_answered(struct engine *e, uint64_t now_ms, const struct wire_reply *reply)
{
    const struct wire_status *status = reply->status;
    if (reply->error != WIRE_OK || status == NULL) {
        link_leave(e, now_ms, "it refuses cell.status");
        return;
    }
    for (uint32_t i = 0; i < status->members_count; i++) {
        locate_learn(&e->locate, status->members[i].client);
    }
    locate_heard(&e->locate, status->epoch);
    if (e->link.state == LINK_LEAVING || (e->link.state == LINK_READY && status->serving) ||
        (e->link.state == LINK_REPLICA && !is_forming(status))) {
        e->link.calm++;
        return;
    }
    if (status->serving) {
        ready(e, now_ms, status->epoch);
    } else {
        not_serving(e, now_ms, status);
    }
}

void link_refused(struct engine *e, uint64_t now_ms, struct wire_text master)
{
    if (e->link.state == LINK_REPLICA) {
        link_leave(e, now_ms, "it does not answer reads");
        return;
    }
    if (e->link.state != LINK_READY) {
        return;
    }
    engine_set_trouble(e, "it is not the master any more");
    watches_lost(e);
    caches_unlinked(e);
    e->link.asked = 0;
    if (locate_hint(&e->locate, now_ms, master)) {
        move(e, now_ms);
    } else {
        locate_begin(&e->locate, now_ms);
        call_detach(e->link.probe);
        enter(e, LINK_WAITING, now_ms + locate_pause(&e->locate, now_ms));
    }
}

void link_too_old(struct engine *e, uint64_t now_ms)
{
    const struct link *l = &e->link;
    if (l->state == LINK_REPLICA && e->locate.count > 1 && now_ms - l->ready_ms >= BEHIND_MS) {
        next_endpoint(e, now_ms, /* failed= */ false);
    }
}

/* ----------------------------------------------------------------- watching */

void link_watch(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    if (e->in_flight == 1) {
        l->heard_ms = now_ms;
    }
    if (l->probe->place != CALL_SENT) {
        l->calm = 0;
    }
    const uint64_t look_ms = now_ms + silent_ms(e);
    const bool is_in_use = l->state == LINK_READY || l->state == LINK_REPLICA;
    if (is_in_use && (!timer_set(&l->timer) || l->timer.at_ms > look_ms)) {
        heap_set(&e->heap, &l->timer, look_ms);
    }
}

/* Nothing is awaited. */
static void watch_idle(struct engine *e, uint64_t now_ms)
{
    const uint64_t until_ms = e->link.heard_ms + IDLE_MS;
    if (is_needed(e)) {
        heap_set(&e->heap, &e->link.timer, TIMER_NEVER); /* Set by the next request. */
    } else if (now_ms >= until_ms) {
        link_stop(e, now_ms);
    } else {
        heap_set(&e->heap, &e->link.timer, until_ms);
    }
}

/* How long nothing may arrive.  Acquires that wait may rightly wait long, so where
 * nothing else is awaited each sign of life makes the next one less urgent; and
 * KeepAlives watch over them too. */
static uint64_t quiet_ms_of(const struct engine *e)
{
    const uint32_t calm =
        e->link.calm < CALM_DOUBLINGS ? e->link.calm : (uint32_t)CALM_DOUBLINGS;
    return e->expected > 0    ? silent_ms(e)
           : e->in_flight > 0 ? (uint64_t)e->config.connect_ms << calm
                              : WATCHES_QUIET_MS;
}

static void watch(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    const uint64_t quiet_ms = quiet_ms_of(e);
    const uint64_t patient_ms = silent_ms(e);
    if (e->in_flight == 0 && list_empty(&e->watches.set)) {
        watch_idle(e, now_ms);
    } else if (now_ms < l->heard_ms + quiet_ms) {
        heap_set(&e->heap, &l->timer, l->heard_ms + quiet_ms);
    } else if (l->probe->place != CALL_SENT) {
        call_print(l->probe, now_ms);
        heap_set(&e->heap, &l->timer, now_ms + silent_ms(e));
    } else if (now_ms < l->probe->sent_ms + patient_ms) {
        heap_set(&e->heap, &l->timer, l->probe->sent_ms + patient_ms);
    } else {
        l->silent = l->epoch;
        link_leave(e, now_ms, "it has fallen silent");
    }
}

void link_tick(struct engine *e, uint64_t now_ms)
{
    /* Whatever it was for is done here or set anew. */
    heap_set(&e->heap, &e->link.timer, TIMER_NEVER);
    switch (e->link.state) {
    case LINK_NONE:
        break;
    case LINK_PAUSING:
        attempt(e, now_ms);
        break;
    case LINK_CONNECTING:
        link_leave(e, now_ms, "no connection in time");
        break;
    case LINK_ASKING:
        link_leave(e, now_ms, "it accepts connections and says nothing");
        break;
    case LINK_WAITING:
        ask(e, now_ms);
        break;
    case LINK_READY:
    case LINK_REPLICA:
        watch(e, now_ms);
        break;
    case LINK_LEAVING:
        drop(e, now_ms);
        attempt(e, now_ms);
        break;
    }
}

static void pump(struct engine *e, uint64_t now_ms)
{
    if (e->link.state == LINK_READY) {
        lanes_pump(e, now_ms);
    } else {
        lanes_pump_roaming(e, now_ms);
    }
}

void link_settle(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    if (l->state == LINK_NONE && is_needed(e)) {
        attempt(e, now_ms);
    } else if (l->state == LINK_LEAVING && !is_owed(e)) {
        drop(e, now_ms);
        attempt(e, now_ms);
    } else if (l->state == LINK_REPLICA && needs_master(e)) {
        ask(e, now_ms);
    } else if (l->state == LINK_READY || l->state == LINK_REPLICA) {
        pump(e, now_ms);
        if (!is_needed(e) && !timer_set(&l->timer)) {
            watch_idle(e, now_ms);
        }
    } else if (l->state != LINK_NONE && !is_needed(e)) {
        link_stop(e, now_ms);
    } else if (l->reads && (l->state == LINK_ASKING || l->state == LINK_WAITING)) {
        lanes_pump_roaming(e, now_ms);
    }
    if (link_connected(l) && l->out.failed) {
        link_leave(e, now_ms, "out of memory");
    }
}
