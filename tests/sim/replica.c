/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/replica.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "paxos/describe.h"
#include "tests/sim/audit.h"
#include "tests/sim/links.h"
#include "tests/sim/net.h"
#include "tests/sim/points.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"

enum {
    TURNS_MAX = 1000, /* Turns in a row that say there is more to do. */
    REFUSAL_EVERY_US_MAX = 300000,
    NUDGE_EVERY_US_MAX = 100000,
    BOOT_CLOCK_US = 3000000, /* What a clock shows when a machine has booted. */
    LEAVE_US_MAX = 2000000,
    CHECK_EVERY = 16, /* Turns of a life. */
};

/* ----------------------------------------------------------------- output */

/* The kill can come between any two sends: who gets a message and who doesn't
 * is then up to chance. */
static bool send_all(struct world *w, struct replica *r, const struct paxos_message *messages,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const enum point_verdict verdict = points_at_send(w, r);
        if (verdict == POINT_DIE_BEFORE) {
            return false;
        }
        audit_sent(w, r, &messages[i]);
        if (verdict != POINT_LOSE) {
            net_send(w, &messages[i]);
        }
        if (verdict == POINT_DIE_AFTER ||
            (r->crash_after_sends > 0 && --r->crash_after_sends == 0)) {
            return false;
        }
    }
    return true;
}

static void trace_store(struct world *w, const struct replica *r, const struct store_batch *b)
{
    world_trace(
        w, r->index + 1U, "store",
        "ticket %" PRIu64 "%s, %u entries from slot %" PRIu64 ", chosen %" PRIu64 "%s%" PRIu64,
        b->ticket, b->hard != NULL ? ", hard" : "", b->entries_count,
        b->entries_count > 0 ? b->entries[0].slot : 0, b->chosen_mark,
        b->set != NULL ? ", set to " : ", no set ", b->set != NULL ? b->set->applied_slot : 0);
}

static void trace_notes(struct world *w, const struct replica *r,
                        const struct service_output *out)
{
    for (uint32_t i = 0; i < out->notes_count; i++) {
        char text[256];
        world_trace(w, r->index + 1U, "note", "%s",
                    paxos_describe_note(&out->notes[i], text, sizeof text));
    }
}

/* Does what one turn asks for.  False: the process was killed meanwhile. */
static bool obey(struct world *w, struct replica *r, const struct service_output *out)
{
    if (w->tracing) {
        trace_notes(w, r, out);
    }
    if (!send_all(w, r, out->at_once, out->at_once_count) ||
        !send_all(w, r, out->released, out->released_count)) {
        return false;
    }
    if (out->store != NULL) {
        if (w->tracing) {
            trace_store(w, r, out->store);
        }
        audit_proposed(w, r, out->store);
        disk_write(w, &r->disk, out->store);
    }
    for (uint32_t i = 0; i < out->reads_count; i++) {
        disk_read_log(w, &r->disk, &out->reads[i]);
    }
    for (uint32_t i = 0; i < out->events_count; i++) {
        links_event(w, r, &out->events[i]);
    }
    for (uint32_t i = 0; i < out->replies_count; i++) {
        audit_replied(w, r, &out->replies[i]);
        if (out->replies[i].client >= LINKS_FIRST) {
            links_reply(w, r, &out->replies[i]);
        } else {
            workload_reply(w, r, &out->replies[i]);
        }
    }
    return true;
}

static void on_timer(struct world *w, const struct event *event);

static void set_timer(struct world *w, struct replica *r, uint64_t wake_at_ms)
{
    const uint64_t at_us = clock_when_us(&r->clock, w->now_us, wake_at_ms);
    if (at_us < r->timer_us) {
        r->timer_us = at_us;
        world_at(w, at_us, (struct event){.run = on_timer, .a = r->index, .b = r->life});
    }
}

static void after_turns(struct world *w, struct replica *r)
{
    if (r->turns++ % CHECK_EVERY == 0) {
        service_check(r->service); /* It looks through the whole state. */
    }
    if (r->leaving && (service_idle(r->service) || w->now_us >= r->leave_by_us)) {
        replica_crash(w, r, /* dark= */ false);
    }
}

/* Killed in the midst of a turn: where a point says so, or by the nemesis. */
static void die_midway(struct world *w, struct replica *r)
{
    if (w->points != NULL) {
        points_kill(w, r);
    } else {
        replica_crash(w, r, chance_percent(&w->chance, 30));
    }
}

static void turn(struct world *w, struct replica *r)
{
    for (uint32_t turns = 0;; turns++) {
        if (turns == TURNS_MAX) {
            world_fail(w, "bounded", "replica %u always has more to do", r->index + 1);
        }
        const uint64_t now_ms = replica_now_ms(w, r);
        const struct service_output *out =
            service_turn(r->service, now_ms, w->now_us / WORLD_MS);
        paxos_status(service_paxos(r->service), now_ms, &r->status);
        audit_turned(w, r);
        if (!obey(w, r, out)) {
            die_midway(w, r);
            return;
        }
        const bool more = out->more;
        const uint64_t wake_at_ms = out->wake_at_ms;
        service_advance(r->service);
        if (!more) {
            set_timer(w, r, wake_at_ms);
            break;
        }
    }
    after_turns(w, r);
}

static void on_turn(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (event->b != r->life || replica_postpone(w, r, event)) {
        return;
    }
    r->turn_due = false;
    turn(w, r);
}

/* Something was fed: now, or when more has gathered, comes the turn. */
static void fed(struct world *w, struct replica *r)
{
    if (r->turn_due) {
        return;
    }
    if (w->plan.turn_us == 0 || w->healed) {
        turn(w, r);
    } else {
        r->turn_due = true;
        world_at(w, w->now_us + rng_below(&w->chance, w->plan.turn_us),
                 (struct event){.run = on_turn, .a = r->index, .b = r->life});
    }
}

static void on_timer(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (event->b != r->life || replica_postpone(w, r, event)) {
        return;
    }
    if (r->timer_us <= w->now_us) { /* Else an earlier one has taken its place. */
        r->timer_us = WORLD_NEVER;
        if (!r->turn_due) {
            turn(w, r);
        }
    }
}

/* Nobody may rely on being left alone until the time it asked for. */
static void on_nudge(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (event->b == r->life && !w->healed) {
        if (r->state == REPLICA_UP) {
            fed(w, r);
        }
        world_at(w, w->now_us + rng_between(&w->chance, 1000, NUDGE_EVERY_US_MAX), *event);
    }
}

/* -------------------------------------------------------------------- input */

void replica_receive(struct world *w, struct replica *r, const struct paxos_message *message)
{
    audit_received(w, r, message);
    const enum paxos_drop drop = service_receive(r->service, replica_now_ms(w, r), message);
    if (w->tracing && drop != PAXOS_DROP_NONE) {
        world_trace(w, r->index + 1U, "drop", "   %s", paxos_describe_drop(drop));
    }
    fed(w, r);
}

void replica_request(struct world *w, struct replica *r, const struct service_request *request)
{
    service_request(r->service, replica_now_ms(w, r), request);
    fed(w, r);
}

void replica_forget(struct world *w, struct replica *r, uint64_t connection)
{
    service_forget(r->service, connection);
    fed(w, r);
}

void replica_slow(struct world *w, struct replica *r, uint64_t connection, bool slow)
{
    service_slow(r->service, connection, slow);
    fed(w, r);
}

void replica_peer_gone(struct world *w, struct replica *r, paxos_id peer)
{
    if (w->tracing) {
        world_trace(w, r->index + 1U, "gone", "<- %u", peer);
    }
    service_peer_gone(r->service, replica_now_ms(w, r), peer);
    fed(w, r);
}

void replica_durable(struct world *w, struct replica *r, uint64_t ticket)
{
    if (w->tracing) {
        world_trace(w, r->index + 1U, "durable", "ticket %" PRIu64, ticket);
    }
    service_durable(r->service, replica_now_ms(w, r), ticket);
    fed(w, r);
}

void replica_set_durable(struct world *w, struct replica *r, uint64_t applied_slot)
{
    if (r->state == REPLICA_DOWN) {
        return; /* The report before this one ended the process. */
    }
    service_set_durable(r->service, applied_slot);
    fed(w, r);
}

void replica_log_was_read(struct world *w, struct replica *r, const struct paxos_wanted *wanted)
{
    if (r->state == REPLICA_DOWN) {
        return;
    }
    struct paxos_entry entries[PAXOS_MESSAGE_ENTRIES];
    uint32_t count = 0;
    while (count < PAXOS_MESSAGE_ENTRIES && wanted->slot + count <= wanted->last) {
        const struct paxos_entry *entry = disk_log_at(&r->disk, wanted->slot + count);
        if (entry == NULL) {
            break;
        }
        entries[count++] = *entry;
    }
    const struct paxos_log_read answer = {
        .peer = wanted->peer, .slot = wanted->slot, .entries = entries, .entries_count = count};
    service_log_read(r->service, replica_now_ms(w, r), &answer);
    fed(w, r);
}

/* -------------------------------------------------------------------- boot */

void replica_boot(struct world *w, struct replica *r)
{
    assert(r->state == REPLICA_DOWN);
    if (!disk_boot(w, &r->disk)) {
        return;
    }
    r->life++;
    if (w->tracing) {
        world_trace(w, r->index + 1U, "boot",
                    "incarnation %" PRIu64 ", promised %" PRIu64 ".%u, chosen %" PRIu64
                    ", tables to %" PRIu64,
                    r->disk.incarnation, r->disk.hard.promised.round, r->disk.hard.promised.id,
                    r->disk.chosen_mark, r->disk.applied_slot);
    }
    audit_booting(w, r);
    r->state = REPLICA_UP;
    r->timer_us = WORLD_NEVER;
    r->turn_due = false;
    r->leaving = false;
    r->crash_after_sends = 0;
    r->turns = 0;
    replica_load(w, r);
    if (w->plan.restless) {
        world_at(w, w->now_us, (struct event){.run = on_nudge, .a = r->index, .b = r->life});
    }
    turn(w, r);
}

static void on_boot(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (r->state == REPLICA_DOWN && !r->finished) {
        replica_boot(w, r);
    }
}

void replica_boot_later(struct world *w, struct replica *r, uint64_t delay_us)
{
    world_at(w, w->now_us + delay_us, (struct event){.run = on_boot, .a = r->index});
}

/* -------------------------------------------------------------------- death */

/* Peers dial; where nobody listens, they are refused, again and again. */
static void on_refused(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (replica_is_up(r) && !replica_postpone(w, r, event)) {
        replica_peer_gone(w, r, (paxos_id)(event->b + 1));
    }
}

static void on_dial(struct world *w, const struct event *event)
{
    const struct replica *gone = w->replicas[event->b];
    const struct link *out = &w->net->links[event->a][event->b];
    const struct link *back = &w->net->links[event->b][event->a];
    if (replica_is_up(gone) || gone->dark) {
        return;
    }
    if (!out->cut && !back->cut) {
        world_at(w, w->now_us + net_delay_us(w, &w->net->rng),
                 (struct event){.run = on_refused, .a = event->a, .b = event->b});
    }
    world_at(w, w->now_us + rng_between(&w->chance, 20000, REFUSAL_EVERY_US_MAX),
             (struct event){.run = on_dial, .a = event->a, .b = event->b});
}

static void let_peers_dial(struct world *w, const struct replica *r)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (i != r->index) {
            world_at(w, w->now_us + net_delay_us(w, &w->net->rng),
                     (struct event){.run = on_dial, .a = i, .b = r->index});
        }
    }
}

static void drop_backlog(struct replica *r)
{
    for (uint32_t i = 0; i < r->backlog_count; i++) {
        free(r->backlog[i].data);
    }
    r->backlog_count = 0;
}

void replica_crash(struct world *w, struct replica *r, bool dark)
{
    assert(r->state != REPLICA_DOWN);
    if (w->tracing) {
        world_trace(w, r->index + 1U, "down", "%s%s", r->leaving ? "left" : "killed",
                    dark ? ", with its machine" : "");
    }
    r->state = REPLICA_DOWN;
    r->life++;
    r->dark = dark;
    service_free(r->service);
    r->service = NULL;
    if (r->allocated != 0) {
        world_fail(w, "memory", "replica %u left %" PRIu64 " octets behind", r->index + 1,
                   r->allocated);
    }
    drop_backlog(r);
    disk_crash(w, &r->disk);
    audit_crashed(w, r);
    clock_freeze(&r->clock, w->now_us, /* frozen= */ false);
    if (dark) {
        r->clock.base_us = rng_below(&w->chance, BOOT_CLOCK_US);
    } else {
        let_peers_dial(w, r);
    }
}

static void on_come_back(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (event->b == r->life && replica_is_up(r) && !r->finished) {
        replica_crash(w, r, /* dark= */ false);
    }
    if (!replica_is_up(r) && !r->finished) {
        replica_boot(w, r);
    }
}

void replica_leave(struct world *w, struct replica *r, uint64_t away_us)
{
    if (r->state != REPLICA_UP || r->leaving) {
        return;
    }
    r->leaving = true;
    r->leave_by_us = w->now_us + LEAVE_US_MAX;
    world_at(w, r->leave_by_us + away_us,
             (struct event){.run = on_come_back, .a = r->index, .b = r->life});
    service_hand_over(r->service, replica_now_ms(w, r));
    fed(w, r);
}

/* -------------------------------------------------------------------- pause */

static void on_resume(struct world *w, const struct event *event)
{
    struct replica *r = w->replicas[event->a];
    if (event->b == r->life && !r->finished) {
        replica_resume(w, r);
    }
}

void replica_pause(struct world *w, struct replica *r, uint64_t for_us)
{
    if (r->state != REPLICA_UP) {
        return;
    }
    if (w->tracing) {
        world_trace(w, r->index + 1U, "stop", "for %" PRIu64 " ms", for_us / WORLD_MS);
    }
    r->state = REPLICA_PAUSED;
    world_at(w, w->now_us + for_us,
             (struct event){.run = on_resume, .a = r->index, .b = r->life});
}

void replica_freeze(struct world *w, struct replica *r, uint64_t for_us)
{
    if (r->state == REPLICA_UP) {
        sometimes_if(r->status.serving, master_frozen);
        clock_freeze(&r->clock, w->now_us, /* frozen= */ true);
        replica_pause(w, r, for_us);
    }
}

bool replica_postpone(struct world *w, struct replica *r, const struct event *event)
{
    (void)w;
    if (r->state != REPLICA_PAUSED) {
        return false;
    }
    if (r->backlog_count == r->backlog_capacity) {
        r->backlog_capacity = r->backlog_capacity == 0 ? 64 : r->backlog_capacity * 2;
        r->backlog = sim_resize(r->backlog, r->backlog_capacity * sizeof *r->backlog);
    }
    r->backlog[r->backlog_count++] = *event;
    return true;
}

/* All that came meanwhile is there at once.  The loop may see it in one turn or
 * in many, so its clock may be looked at before or behind it all. */
void replica_resume(struct world *w, struct replica *r)
{
    if (r->state != REPLICA_PAUSED) {
        return;
    }
    if (w->tracing) {
        world_trace(w, r->index + 1U, "go on", "%u events waited", r->backlog_count);
    }
    r->state = REPLICA_UP;
    r->resumed_us = w->now_us;
    clock_freeze(&r->clock, w->now_us, /* frozen= */ false);
    struct event *backlog = r->backlog;
    const uint32_t count = r->backlog_count;
    r->backlog = NULL;
    r->backlog_count = r->backlog_capacity = 0;
    r->turn_due = chance_percent(&w->chance, 50);
    world_at(w, w->now_us, (struct event){.run = on_turn, .a = r->index, .b = r->life});
    for (uint32_t i = 0; i < count; i++) { /* Before what comes in this very moment. */
        backlog[i].run(w, &backlog[i]);
    }
    free(backlog);
}

/* -------------------------------------------------------------------- all */

void replicas_start(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = sim_allocate(sizeof *r);
        *r = (struct replica){.index = i,
                              .dark = true,
                              .timer_us = WORLD_NEVER,
                              .clock = {.base_us = w->plan.clock_base_ms[i] * 1000,
                                        .rate_ppm = w->plan.rate_ppm[i]}};
        w->replicas[i] = r;
        disk_start(w, &r->disk, i);
        const uint64_t identity = rng_next(&w->chance) | 1;
        replica_found(w, r, identity);
        replica_boot_later(w, r, w->plan.start_us[i]);
    }
}

void replicas_stop(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = w->replicas[i];
        drop_backlog(r);
        free(r->backlog);
        service_free(r->service);
        disk_stop(&r->disk);
        free(r);
        w->replicas[i] = NULL;
    }
}

void replicas_abandon(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        if (w->replicas[i] != NULL) {
            disk_abandon(&w->replicas[i]->disk);
        }
    }
}

struct replica *replica_master(struct world *w)
{
    struct replica *master = NULL;
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        struct replica *r = w->replicas[i];
        if (replica_is_up(r) && r->status.serving &&
            (master == NULL || r->status.epoch > master->status.epoch)) {
            master = r;
        }
    }
    return master;
}
