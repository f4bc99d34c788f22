/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/sim/audit.h"
#include "tests/sim/links_internal.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"

enum {
    STALL_US_MAX = 4000000,
    BRINK_US = 1500,       /* About a deadline. */
    BRINK_LEASE_MS = 5000, /* Of longer leases too much would be held back. */
};

/* The gateway draws keys and session ids from the system; here that is the
 * world's own chance, so that a seed stays one world. */
ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
    (void)flags;
    assert(world_current != NULL && world_current->links != NULL);
    uint8_t *at = buffer;
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(rng_next(&world_current->links->rng) >> 32);
    }
    return (ssize_t)size;
}

/* ----------------------------------------------------------------------- up */

/* "/ls/CELL/path"; the root's is "". */
static struct bytes path_of(struct world *w, struct wire_text name)
{
    const char *slash = name.size > 4 ? memchr(name.data + 4, '/', name.size - 4) : NULL;
    const size_t skipped = slash == NULL ? name.size : (size_t)(slash - name.data) + 1;
    return audit_keep(w, bytes_of(name.data + skipped, name.size - skipped));
}

static void add_watches(struct world *w, struct link_of_agent *k, struct question *q,
                        const struct wire_request *wire)
{
    q->watches = sim_allocate((wire->watches_count + 1) * sizeof *q->watches);
    q->watches_count = wire->watches_count;
    for (uint32_t i = 0; i < wire->watches_count; i++) {
        const struct wire_watch *watch = &wire->watches[i];
        q->watches[i] = watch->watch;
        if (w->tracing) {
            world_trace(w, k->replica + 1U, "watch",
                        "<- agent %u  %" PRIu64 " %.*s  scope %d, kinds %x, from %" PRIu64
                        ", instance %" PRIu64,
                        k->agent, watch->watch, (int)watch->name.size, watch->name.data,
                        (int)watch->scope, (unsigned)watch->watched, watch->from,
                        watch->if_instance);
        }
        link_watch_asked(w, &k->watches, watch, path_of(w, watch->name),
                         agent_principal(w, k->agent));
    }
}

static void note_question(struct world *w, struct link_of_agent *k, struct question *q,
                          const struct wire_request *wire)
{
    q->names_node = wire->name.size > 0;
    if (q->names_node && k->watches.count > 0) {
        q->path = path_of(w, wire->name);
    }
    if (wire->method == WIRE_WATCH_ADD) {
        add_watches(w, k, q, wire);
    }
    q->removes_watches = wire->method == WIRE_WATCH_REMOVE;
    for (uint32_t i = 0; i < wire->unwatch_count; i++) {
        link_watch_removed(&k->watches, wire->unwatch[i]);
    }
    if (wire->method == WIRE_SESSION_KEEPALIVE) {
        audit_kept_alive(w, wire->session);
    }
}

static void ask(struct world *w, struct replica *r, uint64_t link,
                const struct wire_request *wire)
{
    struct links *l = w->links;
    struct link_of_agent *k = link_at(w, link);
    if (k->open_count == k->open_capacity) {
        k->open_capacity = k->open_capacity == 0 ? 16 : k->open_capacity * 2;
        k->open = sim_resize(k->open, k->open_capacity * sizeof *k->open);
    }
    struct question *q = &k->open[k->open_count++];
    *q = (struct question){.tag = ++l->tags,
                           .session = wire->has_session ? wire->session : 0,
                           .request = wire->request,
                           .waited = wire->method == WIRE_SESSION_KEEPALIVE &&
                                     r->resumed_us == w->now_us,
                           .id_size = wire->id.size};
    memcpy(q->id, wire->id.data, wire->id.size);
    note_question(w, k, q, wire);
    if (w->tracing) {
        world_trace(w, r->index + 1U, "asked",
                    "<- agent %u  %s %.*s  session %016" PRIx64 " request %" PRIu64, k->agent,
                    wire_method_name(wire->method), (int)wire->name.size,
                    wire->name.size == 0 ? "" : wire->name.data, q->session, q->request);
    }
    struct service_request request;
    gateway_request(l->gateways[k->replica], wire, link, q->tag, agent_principal(w, k->agent),
                    &request);
    q->min_revision = request.min_revision;
    replica_request(w, r, &request);
}

static void step_lines(struct world *w, struct replica *r, uint64_t link, size_t end)
{
    const uint64_t life = r->life;
    for (;;) {
        struct link_of_agent *k = link_at(w, link);
        const char *from = k->up.data + k->up.taken;
        const char *newline = end > k->up.taken ? memchr(from, '\n', end - k->up.taken) : NULL;
        if (newline == NULL || r->life != life || k->forgotten) {
            return;
        }
        const struct wire_text line = {.data = from, .size = (size_t)(newline - from)};
        struct wire_request request;
        struct wire_refusal refusal;
        if (!wire_parse_request(&w->links->memory, line, &request, &refusal)) {
            world_fail(w, "codec", "a client's line is refused: %s (%.*s)", refusal.detail,
                       (int)(line.size > 200 ? 200 : line.size), line.data);
        }
        k->up.taken += line.size + 1;
        if (!odd_answer(w, link, &request)) {
            ask(w, r, link, &request);
        }
        wire_memory_reset(&w->links->memory);
    }
}

void links_on_up(struct world *w, const struct event *event)
{
    const struct link_of_agent *k = link_at(w, event->a);
    struct replica *r = w->replicas[k->replica];
    const uint64_t cut_us = workload_cut_until_us(w, k->replica);
    if (k->forgotten || k->silent) {
        return;
    }
    if (cut_us > w->now_us) {
        world_at(w, cut_us, *event);
    } else if (!replica_is_up(r) || r->life != k->life) {
        if (replica_is_up(r) || !r->dark) {
            link_reset(w, event->a);
        }
    } else if (!replica_postpone(w, r, event)) {
        step_lines(w, r, event->a, event->b);
    }
}

/* ---------------------------------------------------------------------- down */

static void take_question(struct world *w, struct link_of_agent *k,
                          const struct service_reply *reply, struct question *ret_question)
{
    for (uint32_t i = 0; i < k->open_count; i++) {
        if (k->open[i].tag == reply->tag) {
            *ret_question = k->open[i];
            k->open[i] = k->open[--k->open_count];
            return;
        }
    }
    world_fail(w, "reply", "replica %u answers an agent a second time, or what it never asked",
               k->replica + 1);
}

/* True: nobody hears it. */
static bool lose(struct world *w, uint64_t link, bool of_session)
{
    struct links *l = w->links;
    struct link_of_agent *k = link_at(w, link);
    if (k->silent || k->torn) {
        return true;
    }
    const bool chosen = of_session && ++l->answers == w->plan.lose_answer;
    if (chosen || (!w->healed && chance_ppm(&l->rng, l->reset_ppm))) {
        link_break(w, link); /* And the answer is lost. */
        return true;
    }
    if (!w->healed && chance_ppm(&l->rng, l->stall_ppm)) {
        k->down.stalled_until_us = w->now_us + rng_below(&l->rng, STALL_US_MAX);
    }
    return false;
}

/* The next KeepAlive of the session arrives just when its lease is over. */
static void lead_to_brink(struct world *w, const struct replica *r, uint32_t agent,
                          uint32_t lease_ms)
{
    struct links *l = w->links;
    if (!w->healed && lease_ms <= BRINK_LEASE_MS && chance_ppm(&l->rng, l->brink_ppm)) {
        const uint64_t over_us =
            clock_when_us(&r->clock, w->now_us, replica_now_ms(w, r) + lease_ms);
        l->held_until_us[agent] = over_us - BRINK_US / 2 + rng_below(&l->rng, BRINK_US);
    }
}

static void check_reply(struct world *w, struct replica *r, struct link_of_agent *k,
                        const struct question *q, const struct service_reply *reply)
{
    const bool done = reply->outcome == SERVICE_DONE;
    audit_answered(w, r, q->session, q->request, reply);
    audit_read(w, r, agent_principal(w, k->agent), q->min_revision, reply);
    for (uint32_t i = 0; i < q->watches_count; i++) {
        link_watch_answered(w, &k->watches, q->watches[i], done, reply->revision);
    }
    if (q->names_node && q->path.data != NULL && (done || reply->outcome == SERVICE_REFUSED)) {
        link_watches_owe_nothing(w, &k->watches, reply->revision, &q->path, "a reply");
    }
}

void links_reply(struct world *w, struct replica *r, const struct service_reply *reply)
{
    struct links *l = w->links;
    struct link_of_agent *k = link_at(w, reply->client);
    struct question q;
    if (k->forgotten || k->replica != r->index) {
        world_fail(w, "reply", "replica %u answers an agent that is forgotten", r->index + 1);
    }
    take_question(w, k, reply, &q);
    check_reply(w, r, k, &q, reply);
    free(q.watches);
    if (w->tracing) {
        world_trace(w, r->index + 1U, "reply",
                    "agent %u  session %016" PRIx64 " request %" PRIu64
                    "  %s, rc %d, at [%" PRIu64 ",%u] revision %" PRIu64 " token %" PRIu64,
                    k->agent, q.session, q.request, service_outcome_text(reply->outcome),
                    (int)reply->rc, reply->slot, reply->position, reply->revision,
                    reply->token);
    }
    world_mix(w, reply->slot << 16 | reply->position);
    if (lose(w, reply->client, q.session != 0)) {
        return;
    }
    if (reply->op == SERVICE_SESSION_KEEPALIVE && reply->outcome == SERVICE_DONE) {
        lead_to_brink(w, r, k->agent, reply->lease_ms);
    }
    l->buffer.size = 0;
    gateway_reply(l->gateways[r->index], reply,
                  (struct wire_text){.data = q.id, .size = q.id_size},
                  agent_principal(w, k->agent), &l->buffer);
    if (!link_hold_fill(w, reply->client, reply->cached)) {
        link_send_down(w, reply->client);
    }
}

static bool removing_watches(const struct link_of_agent *k)
{
    for (uint32_t i = 0; i < k->open_count; i++) {
        if (k->open[i].removes_watches) {
            return true;
        }
    }
    return false;
}

void links_event(struct world *w, struct replica *r, const struct service_event *event)
{
    struct links *l = w->links;
    struct link_of_agent *k = event->client < LINKS_FIRST ? NULL : link_at(w, event->client);
    if (k == NULL || k->forgotten || k->replica != r->index) {
        world_fail(w, "event", "replica %u tells somebody who is not there", r->index + 1);
    }
    if (w->tracing) {
        world_trace(w, r->index + 1U, "event",
                    "agent %u  kind %d, watch %" PRIu64 ", change %d of revision %" PRIu64
                    " (from %" PRIu64 ", %u)",
                    k->agent, (int)event->kind, event->watch,
                    event->change == NULL ? 0 : (int)event->change->change, event->revision,
                    event->first_revision, event->count);
    }
    world_mix(w, event->watch << 32 | event->revision);
    l->gap_agents[k->agent] |= event->kind == SERVICE_EVENT_GAP;
    if (event->kind == SERVICE_EVENT_INVALIDATE) {
        sometimes(cache_invalidated);
    } else {
        audit_told(w, r, agent_principal(w, k->agent), event);
        link_watches_event(
            w, r, &k->watches, event,
            (struct link_state){.was_slow = k->was_slow, .removing = removing_watches(k)});
    }
    if (k->silent) {
        return;
    }
    l->buffer.size = 0;
    if (event->kind == SERVICE_EVENT_CHANGE) {
        gateway_event_head(event, &l->buffer);
        gateway_event_tail(l->gateways[r->index], event, &l->buffer);
    } else {
        gateway_event(l->gateways[r->index], event, agent_principal(w, k->agent), &l->buffer);
    }
    link_send_down(w, event->client);
    sometimes_if(k->fill.size > 0 && event->kind == SERVICE_EVENT_INVALIDATE, cache_overtaken);
    link_release_fill(w, event->client);
}

bool links_told_gap(const struct world *w, uint32_t agent)
{
    return w->links->gap_agents[agent];
}

/* What conn.c says of a connection's unsent octets. */
void links_on_fullness(struct world *w, const struct event *event)
{
    struct link_of_agent *k = link_at(w, event->a);
    struct replica *r = w->replicas[k->replica];
    if (k->forgotten || !replica_is_up(r) || r->life != k->life ||
        replica_postpone(w, r, event)) {
        return;
    }
    const size_t unread = k->down.size - k->down.taken;
    const bool slow = unread > (k->slow ? w->links->octets / 2 : w->links->octets);
    if (slow != k->slow) {
        k->slow = slow;
        k->was_slow |= slow;
        replica_slow(w, r, event->a, slow);
    }
}

/* ---------------------------------------------------------------------- judgement */

/* Deadlines are judged only after what could be read when they fell due. */
void links_expiry_proposed(struct world *w, const struct replica *r, uint64_t session)
{
    const struct links *l = w->links;
    for (uint64_t i = 0; i < l->count; i++) {
        const struct link_of_agent *k = &l->all[i];
        for (uint32_t j = 0; k->replica == r->index && k->life == r->life && j < k->open_count;
             j++) {
            if (k->open[j].waited && k->open[j].session == session) {
                world_fail(w, "judged",
                           "replica %u ends session %016" PRIx64
                           ", whose KeepAlive it could read while it was away",
                           r->index + 1, session);
            }
        }
    }
}

/* ---------------------------------------------------------------------- life */

static const char *client_address(void *context, paxos_id replica, const char *principal)
{
    static const char *const addresses[PLAN_REPLICAS_MAX] = {"r1:1", "r2:1", "r3:1", "r4:1",
                                                             "r5:1"};
    (void)context;
    (void)principal; /* All listen at the same address. */
    return addresses[replica - 1];
}

void links_start(struct world *w)
{
    struct links *l = sim_allocate(sizeof *l);
    *l = (struct links){.rng = {.state = w->seed * UINT64_C(0x9e3779b97f4a7c15) ^ 0x6c696e6b}};
    w->links = l;
    links_draw(w, w->plan.faults == 0);
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct gateway_config config = {
            .cell = "sim", .self = (paxos_id)(i + 1), .client_address = client_address};
        l->gateways[i] = gateway_new(&config);
        assert(l->gateways[i] != NULL);
    }
}

void links_stop(struct world *w)
{
    struct links *l = w->links;
    for (uint64_t i = 0; i < l->count; i++) {
        free(l->all[i].up.data);
        free(l->all[i].down.data);
        wire_buffer_free(&l->all[i].fill);
        while (l->all[i].open_count > 0) {
            free(l->all[i].open[--l->all[i].open_count].watches);
        }
        free(l->all[i].open);
        link_watches_end(&l->all[i].watches);
    }
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        gateway_free(l->gateways[i]);
    }
    wire_memory_free(&l->memory);
    wire_buffer_free(&l->buffer);
    free(l->all);
    free(l);
    w->links = NULL;
}
