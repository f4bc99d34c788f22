/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/workload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/net.h"
#include "tests/sim/replica.h"
#include "tests/sim/requests.h"
#include "tests/sim/table.h"

enum {
    PRINCIPAL_MAX = 16,
    BURST = 12,
    HEALED_TIMEOUT_US = 8000000, /* Longer than anything may take then. */
    RETRY_US_MAX = 150000,       /* Before a client asks another replica. */
    RUSH_READS = 48,             /* That a client has outstanding in a rush ... */
    RUSH_WRITES = 3,             /* ... or writes. */
    RUSH_THINK_US_MAX = 15000,
};

/* A client's connection to one replica.  Requests on it arrive in order. */
struct connection {
    uint32_t client;
    uint32_t replica;
    uint64_t life;  /* The process that it was made to; 0: none yet. */
    uint32_t open;  /* Ops that have not ended. */
    bool closed;    /* By the client. */
    bool forgotten; /* And its replica knows. */
    uint64_t last_at_us;
};

struct client {
    uint64_t connection; /* The present one; 0: none. */
    uint32_t replica;    /* Whom it would ask. */
    uint32_t outstanding;
    uint64_t not_before_us;
    bool reads; /* In a rush, it only reads; or it only writes. */
};

/* What the simulator knows of an op beyond the history. */
struct op_state {
    uint64_t connection;
    bool replied; /* By the service, whether or not it got through. */
    bool ended;   /* For the client. */
};

struct workload {
    struct rng rng;
    struct client clients[PLAN_CLIENTS_MAX];
    struct connection *connections; /* By number, from 1. */
    uint64_t connections_count, connections_capacity;
    struct op_state *ops; /* By number, from 1, as in the history. */
    uint32_t ops_capacity;
    uint64_t cut_until_us[PLAN_REPLICAS_MAX];
    uint64_t rush_until_us;
    uint32_t rush_replica;
    struct history history;
    struct requests requests;
    bool quiet;
    uint32_t open; /* Ops that have not ended. */
    uint32_t done_since_heal;
    struct workload_counts counts;
};

/* ------------------------------------------------------------ bookkeeping */

static struct op_state *state_of(struct workload *l, uint32_t op)
{
    assert(op >= 1 && op <= l->history.ops_count);
    return &l->ops[op];
}

static struct history_op *op_of(struct workload *l, uint32_t op)
{
    assert(op >= 1 && op <= l->history.ops_count);
    return &l->history.ops[op - 1];
}

static struct connection *connection_of(struct workload *l, uint64_t number)
{
    assert(number >= 1 && number <= l->connections_count);
    return &l->connections[number];
}

static struct bytes text_bytes(const char *text)
{
    return bytes_of(text, strlen(text));
}

uint32_t workload_op_of(struct bytes principal)
{
    uint32_t op = 0;
    for (size_t i = 0; i < principal.size; i++) {
        if (principal.data[i] < '0' || principal.data[i] > '9') {
            return 0; /* An agent's. */
        }
        op = op * 10 + (uint32_t)(principal.data[i] - '0');
    }
    return op;
}

static void connect_client(struct world *w, uint32_t client)
{
    struct workload *l = w->workload;
    if (l->connections_count + 1 >= l->connections_capacity) {
        l->connections_capacity =
            l->connections_capacity == 0 ? 64 : l->connections_capacity * 2;
        l->connections =
            sim_resize(l->connections, l->connections_capacity * sizeof *l->connections);
    }
    const uint64_t number = ++l->connections_count;
    l->connections[number] =
        (struct connection){.client = client, .replica = l->clients[client].replica};
    l->clients[client].connection = number;
}

/* ----------------------------------------------------------------- sending */

static bool cut_off(const struct world *w, uint32_t replica)
{
    return w->workload->cut_until_us[replica] > w->now_us;
}

static void on_request(struct world *w, const struct event *event);
static void on_answer(struct world *w, const struct event *event);
static void on_timeout(struct world *w, const struct event *event);
static void on_forget(struct world *w, const struct event *event);

/* When something sent on the connection now arrives; later than all before. */
static uint64_t arrival_us(struct world *w, struct connection *c)
{
    const uint64_t at_us = w->now_us + net_delay_us(w, &w->workload->rng);
    c->last_at_us = at_us > c->last_at_us ? at_us : c->last_at_us;
    return c->last_at_us;
}

static void trace_op(struct world *w, uint32_t op, const char *what, uint32_t replica)
{
    const struct history_op *o = op_of(w->workload, op);
    world_trace(w, WORLD_CLIENT + connection_of(w->workload, o->connection)->client, what,
                "%s %u  op %u, connection %" PRIu64 "  %s %.*s",
                strcmp(what, "hears") == 0 ? "<-" : "->", replica + 1, op, o->connection,
                history_type_name(o->request.type), (int)o->request.path.size,
                (const char *)o->request.path.data);
}

static void send_op(struct world *w, uint32_t client, const struct history_request *request)
{
    struct workload *l = w->workload;
    struct client *c = &l->clients[client];
    char principal[PRINCIPAL_MAX];
    if (c->connection == 0) {
        connect_client(w, client);
    }
    struct history_op op = {.invoked_us = w->now_us,
                            .ended_us = HISTORY_NEVER,
                            .connection = c->connection,
                            .request = *request};
    snprintf(principal, sizeof principal, "%u", l->history.ops_count + 1);
    op.request.principal = history_copy(&l->history, text_bytes(principal));
    const uint32_t number = history_op_add(&l->history, &op);
    if (number >= l->ops_capacity) {
        l->ops_capacity = l->ops_capacity == 0 ? 1024 : l->ops_capacity * 2;
        l->ops = sim_resize(l->ops, l->ops_capacity * sizeof *l->ops);
    }
    l->ops[number] = (struct op_state){.connection = c->connection};
    c->outstanding++;
    connection_of(l, c->connection)->open++;
    l->open++;
    l->counts.ops++;
    if (w->tracing) {
        trace_op(w, number, "asks", c->replica);
    }
    world_at(w, arrival_us(w, connection_of(l, c->connection)),
             (struct event){.run = on_request, .a = number});
    world_at(w, w->now_us + (w->healed ? HEALED_TIMEOUT_US : w->plan.timeout_us),
             (struct event){.run = on_timeout, .a = number});
}

/* ------------------------------------------------------------- requesting */

static const enum service_op service_ops[] = {
    [HISTORY_PUT] = SERVICE_PUT,       [HISTORY_CREATE] = SERVICE_CREATE,
    [HISTORY_DELETE] = SERVICE_DELETE, [HISTORY_GET] = SERVICE_GET,
    [HISTORY_STAT] = SERVICE_STAT,     [HISTORY_LIST] = SERVICE_LIST,
};

/* Nobody listens there, or the connection died with the process. */
static void refuse(struct world *w, uint32_t number)
{
    const struct connection *c =
        connection_of(w->workload, state_of(w->workload, number)->connection);
    const struct replica *r = w->replicas[c->replica];
    if (replica_is_up(r) || !r->dark) {
        world_at(w, w->now_us + net_delay_us(w, &w->workload->rng),
                 (struct event){.run = on_timeout, .a = number});
    }
}

static void on_request(struct world *w, const struct event *event)
{
    struct workload *l = w->workload;
    const uint32_t number = (uint32_t)event->a;
    const struct op_state *state = state_of(l, number);
    struct connection *c = connection_of(l, state->connection);
    struct replica *r = w->replicas[c->replica];
    if (c->forgotten || cut_off(w, c->replica)) {
        return;
    }
    if (c->life == 0) {
        c->life = r->life;
    }
    if (!replica_is_up(r) || c->life != r->life) {
        refuse(w, number);
        return;
    }
    if (replica_postpone(w, r, event)) {
        return;
    }
    const struct history_request *request = &op_of(l, number)->request;
    char name[64];
    snprintf(name, sizeof name, "/ls/%s%s%.*s", number % 2 == 0 ? "sim" : "local",
             request->path.size == 0 ? "" : "/", (int)request->path.size,
             request->path.size == 0 ? "" : (const char *)request->path.data);
    const struct service_request asked = {
        .client = state->connection,
        .tag = number,
        .op = service_ops[request->type],
        .principal = request->principal,
        .name = text_bytes(name),
        .kind = request->kind,
        .content = request->content,
        .if_generation = request->if_generation,
        .if_instance = request->if_instance,
        .after = request->after,
        .limit = request->limit,
    };
    replica_request(w, r, &asked);
    if (replica_is_up(r) && number % 50 == 0) {
        const struct service_request status = {.client = state->connection,
                                               .op = SERVICE_STATUS};
        replica_request(w, r, &status);
    }
}

/* ---------------------------------------------------------------- answers */

static struct bytes copy_children(struct history *h, const struct service_reply *reply)
{
    uint8_t room[REQUEST_LIST_MAX * HISTORY_CHILD_MAX];
    struct writer w = writer_over(room, sizeof room);
    for (uint32_t i = 0; i < reply->children_count; i++) {
        history_child_encode(&w, reply->children[i].name, &reply->children[i].stat);
    }
    return w.failed ? bytes_of(NULL, 0) : history_copy(h, bytes_of(room, w.size));
}

static struct history_result result_of(struct history *h, const struct service_reply *reply)
{
    const bool refused = reply->outcome == SERVICE_REFUSED;
    struct history_result result = {
        .rc = refused ? reply->rc : LEASE_OK,
        .epoch = reply->epoch,
        .revision = reply->revision,
        .index = {.slot = reply->slot, .position = reply->position},
        .created = reply->created,
    };
    if (!refused || reply->rc == LEASE_CONFLICT) {
        result.stat = reply->stat;
    }
    if (!refused && reply->op == SERVICE_GET) {
        result.content = history_copy(h, reply->content);
    }
    if (!refused && reply->op == SERVICE_LIST) {
        result.stat = (struct lease_stat){.size = 0};
        result.children = copy_children(h, reply);
        result.children_count = reply->children_count;
        result.more = reply->more;
    }
    return result;
}

static enum history_outcome outcome_of(enum service_outcome outcome)
{
    switch (outcome) {
    case SERVICE_DONE:
    case SERVICE_REFUSED:
        return HISTORY_ANSWERED;
    case SERVICE_NOT_MASTER:
    case SERVICE_BAD_NAME:
    case SERVICE_TOO_LARGE:
    case SERVICE_OVERLOADED:
    case SERVICE_TOO_OLD:
        return HISTORY_FAILED;
    case SERVICE_UNKNOWN:
        return HISTORY_UNKNOWN;
    }
    return HISTORY_UNKNOWN;
}

/* What is on its way to the client. */
struct answer {
    enum service_outcome outcome;
    paxos_id master;
    struct history_result result;
};

void workload_reply(struct world *w, struct replica *r, const struct service_reply *reply)
{
    struct workload *l = w->workload;
    if (reply->op == SERVICE_STATUS && reply->status != NULL) {
        return;
    }
    if (reply->tag == 0 || reply->tag > l->history.ops_count) {
        world_fail(w, "reply", "replica %u answers what nobody asked", r->index + 1);
    }
    const uint32_t number = (uint32_t)reply->tag;
    struct op_state *state = state_of(l, number);
    const struct connection *c = connection_of(l, state->connection);
    if (state->replied || c->replica != r->index || reply->client != state->connection) {
        world_fail(w, "reply", "replica %u answers op %u a second time, or to another client",
                   r->index + 1, number);
    }
    if (c->forgotten) {
        world_fail(w, "reply", "replica %u answers op %u, whose client is forgotten",
                   r->index + 1, number);
    }
    state->replied = true;
    if (w->tracing) {
        world_trace(w, r->index + 1U, "reply", "op %u  %s, rc %d, at [%" PRIu64 ",%u]", number,
                    service_outcome_text(reply->outcome), (int)reply->rc, reply->slot,
                    reply->position);
    }
    world_mix(w, reply->tag << 8 | (uint64_t)reply->outcome);
    world_mix(w, reply->slot << 16 | reply->position);
    if (cut_off(w, r->index)) {
        return;
    }
    struct answer *answer = sim_allocate(sizeof *answer);
    *answer = (struct answer){.outcome = reply->outcome,
                              .master = reply->master,
                              .result = result_of(&l->history, reply)};
    world_at(w, w->now_us + net_delay_us(w, &l->rng),
             (struct event){.run = on_answer, .data = answer, .a = number});
}

static const enum table_call table_calls[] = {
    [HISTORY_PUT] = TABLE_PUT, [HISTORY_CREATE] = TABLE_CREATE, [HISTORY_DELETE] = TABLE_DELETE,
    [HISTORY_GET] = TABLE_GET, [HISTORY_STAT] = TABLE_STAT,     [HISTORY_LIST] = TABLE_LIST,
};

static void end_op(struct world *w, uint32_t number, enum history_outcome outcome)
{
    struct workload *l = w->workload;
    struct op_state *state = state_of(l, number);
    struct history_op *op = op_of(l, number);
    struct connection *c = connection_of(l, state->connection);
    assert(!state->ended && c->open > 0);
    state->ended = true;
    op->outcome = outcome;
    op->ended_us = outcome == HISTORY_UNKNOWN ? HISTORY_NEVER : w->now_us;
    c->open--;
    l->clients[c->client].outstanding--;
    l->open--;
    l->counts.answered += outcome == HISTORY_ANSWERED;
    l->counts.failed += outcome == HISTORY_FAILED;
    l->counts.unknown += outcome == HISTORY_UNKNOWN;
    table_ended(w, table_calls[op->request.type],
                outcome == HISTORY_UNKNOWN                                 ? TABLE_UNKNOWN
                : outcome == HISTORY_ANSWERED && op->result.rc == LEASE_OK ? TABLE_OK
                                                                           : TABLE_REFUSED);
}

/* What is still open on a connection when it closes, nobody will know. */
static void close_connection(struct world *w, uint64_t number)
{
    struct workload *l = w->workload;
    struct connection *c = connection_of(l, number);
    c->closed = true;
    for (uint32_t op = l->history.ops_count; c->open > 0; op--) {
        const struct op_state *state = state_of(l, op);
        if (state->connection == number && !state->ended) {
            end_op(w, op, HISTORY_UNKNOWN);
        }
    }
    world_at(w, arrival_us(w, c), (struct event){.run = on_forget, .a = number});
}

/* The client asks somebody else from now on. */
static void turn_to(struct world *w, uint32_t client, uint32_t replica)
{
    struct workload *l = w->workload;
    struct client *c = &l->clients[client];
    if (c->connection != 0) {
        close_connection(w, c->connection);
        c->connection = 0;
    }
    c->replica = replica;
    c->not_before_us = w->now_us + rng_below(&l->rng, RETRY_US_MAX);
}

static uint32_t any_but(struct world *w, uint32_t replica)
{
    const uint32_t replicas = w->plan.replicas;
    if (replicas == 1) {
        return 0;
    }
    return (replica + 1 + (uint32_t)rng_below(&w->workload->rng, replicas - 1)) % replicas;
}

/* Whom to ask next: the master that was named.  Who writes in a rush tries
 * anybody but the one that is being deposed, until somebody serves. */
static uint32_t next_replica(struct world *w, uint32_t client, paxos_id named)
{
    struct workload *l = w->workload;
    if (w->now_us < l->rush_until_us && !l->clients[client].reads) {
        return any_but(w, l->rush_replica);
    }
    return named != 0 ? named - 1U : (uint32_t)rng_below(&l->rng, w->plan.replicas);
}

static void on_answer(struct world *w, const struct event *event)
{
    struct workload *l = w->workload;
    const uint32_t number = (uint32_t)event->a;
    struct answer *answer = event->data;
    const struct op_state *state = state_of(l, number);
    const struct connection *c = connection_of(l, state->connection);
    if (!state->ended && !c->closed && !cut_off(w, c->replica)) {
        op_of(l, number)->result = answer->result;
        end_op(w, number, outcome_of(answer->outcome));
        if (w->tracing) {
            trace_op(w, number, "hears", c->replica);
        }
        if (answer->outcome == SERVICE_NOT_MASTER) {
            turn_to(w, c->client, next_replica(w, c->client, answer->master));
        } else if (answer->outcome == SERVICE_DONE) {
            request_seen(&l->requests, op_of(l, number));
            l->done_since_heal += w->healed;
        }
    }
    free(answer);
}

/* Once all is well, nobody asks one that is down for good again and again: some seconds
 * each time would be all the time there is. */
static uint32_t replica_after_silence(struct world *w, uint32_t silent)
{
    return w->healed ? any_but(w, silent)
                     : (uint32_t)rng_below(&w->workload->rng, w->plan.replicas);
}

/* No answer, or the connection broke: nobody knows what became of it. */
static void on_timeout(struct world *w, const struct event *event)
{
    struct workload *l = w->workload;
    const uint32_t number = (uint32_t)event->a;
    const struct op_state *state = state_of(l, number);
    if (state->ended) {
        return;
    }
    const struct connection *c = connection_of(l, state->connection);
    const uint32_t client = c->client;
    if (w->healed && !world_hurt(w, c->replica) &&
        w->now_us - op_of(l, number)->invoked_us >= HEALED_TIMEOUT_US) {
        world_fail(w, "liveness",
                   "op %u, begun when all was well, got no answer from replica %u", number,
                   c->replica + 1);
    }
    if (w->tracing) {
        trace_op(w, number, "gives up", c->replica);
    }
    end_op(w, number, HISTORY_UNKNOWN);
    if (l->clients[client].connection == state->connection) {
        turn_to(w, client, replica_after_silence(w, c->replica));
    }
}

static void on_forget(struct world *w, const struct event *event)
{
    struct connection *c = connection_of(w->workload, event->a);
    struct replica *r = w->replicas[c->replica];
    if (replica_is_up(r) && replica_postpone(w, r, event)) {
        return;
    }
    c->forgotten = true;
    if (replica_is_up(r) && c->life == r->life) {
        replica_forget(w, r, event->a);
    }
}

/* ---------------------------------------------------------------- thinking */

static void on_rush(struct world *w, const struct event *event)
{
    struct workload *l = w->workload;
    const uint32_t client = (uint32_t)event->a;
    const struct client *c = &l->clients[client];
    if (l->quiet || w->now_us >= l->rush_until_us) {
        return;
    }
    if (c->outstanding < (c->reads ? RUSH_READS : RUSH_WRITES)) {
        const struct history_request request = c->reads
                                                   ? request_hot_read(&l->requests)
                                                   : request_hot_put(&l->requests, &l->history);
        send_op(w, client, &request);
    }
    world_at(w, w->now_us + rng_below(&l->rng, RUSH_THINK_US_MAX), *event);
}

void workload_rush(struct world *w, uint32_t replica, uint64_t until_us)
{
    struct workload *l = w->workload;
    if (l->rush_until_us > w->now_us) {
        return;
    }
    l->rush_until_us = until_us;
    l->rush_replica = replica;
    for (uint32_t client = 0; client < w->plan.clients; client++) {
        struct client *c = &l->clients[client];
        c->reads = client % 3 == 0;
        if (!c->reads) {
            turn_to(w, client, any_but(w, replica));
        } else if (c->replica != replica) {
            turn_to(w, client, replica);
        }
        world_at(w, w->now_us, (struct event){.run = on_rush, .a = client});
    }
}

static void on_think(struct world *w, const struct event *event)
{
    struct workload *l = w->workload;
    const uint32_t client = (uint32_t)event->a;
    const struct client *c = &l->clients[client];
    if (l->quiet) {
        return;
    }
    if (c->outstanding < w->plan.pipeline_max && w->now_us >= c->not_before_us) {
        const struct history_request request = request_any(&l->requests, &l->history);
        send_op(w, client, &request);
    }
    uint64_t wait_us = rng_between(&l->rng, w->plan.think_us_max / 10, w->plan.think_us_max);
    if (w->plan.pipeline_max > 1 && chance_percent(&l->rng, 40)) {
        wait_us = rng_below(&l->rng, 3000);
    }
    world_at(w, w->now_us + wait_us, *event);
}

void workload_burst(struct world *w, uint32_t replica)
{
    struct workload *l = w->workload;
    if (l->quiet) {
        return;
    }
    const uint32_t client = (uint32_t)rng_below(&l->rng, w->plan.clients);
    if (l->clients[client].replica != replica) {
        turn_to(w, client, replica);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        const struct history_request request = request_put(&l->requests, &l->history);
        send_op(w, client, &request);
    }
}

/* -------------------------------------------------------------------- life */

void workload_cut(struct world *w, uint32_t replica, uint64_t until_us)
{
    w->workload->cut_until_us[replica] = until_us;
}

uint64_t workload_cut_until_us(const struct world *w, uint32_t replica)
{
    return w->workload->cut_until_us[replica];
}

void workload_quiesce(struct world *w)
{
    w->workload->quiet = true;
}

bool workload_ended(const struct world *w)
{
    return w->workload->open == 0;
}

uint32_t workload_done_since_heal(const struct world *w)
{
    return w->workload->done_since_heal;
}

struct workload_counts workload_counts(const struct world *w)
{
    return w->workload->counts;
}

struct history *workload_history(struct world *w)
{
    return &w->workload->history;
}

void workload_start(struct world *w)
{
    struct workload *l = sim_allocate(sizeof *l);
    *l = (struct workload){.rng = {.state = rng_next(&w->chance)},
                           .requests = {.rng = {.state = rng_next(&w->chance)}}};
    w->workload = l;
    for (uint32_t client = 0; client < w->plan.clients; client++) {
        l->clients[client].replica = (uint32_t)rng_below(&l->rng, w->plan.replicas);
        world_at(w, rng_below(&l->rng, w->plan.think_us_max),
                 (struct event){.run = on_think, .a = client});
    }
}

void workload_stop(struct world *w)
{
    history_free(&w->workload->history);
    free(w->workload->connections);
    free(w->workload->ops);
    free(w->workload);
    w->workload = NULL;
}
