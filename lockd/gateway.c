/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.c -- see gateway.h.
 */
#include "lockd/gateway.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(WIRE_ANY == LEASE_ANY, "no condition is written alike on both sides");

enum { HEX_SIZE = 17 };

struct gateway {
    struct gateway_config config;
    struct wire_child children[LEASE_LIST_MAX]; /* Of the list being printed. */
};

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (g != NULL) {
        g->config = *config;
    }
    return g;
}

void gateway_free(struct gateway *g)
{
    free(g);
}

static struct wire_text text_of(const char *text)
{
    return (struct wire_text){.data = text == NULL ? "" : text,
                              .size = text == NULL ? 0 : strlen(text)};
}

static struct wire_text wire_of(struct bytes bytes)
{
    return (struct wire_text){.data = (const char *)bytes.data, .size = bytes.size};
}

static struct bytes bytes_in(struct wire_text text)
{
    return bytes_of(text.data, text.size);
}

/* ----------------------------------------------------------------- requests */

static enum service_op op_of(enum wire_method method)
{
    switch (method) {
    case WIRE_NODE_GET:
        return SERVICE_GET;
    case WIRE_NODE_PUT:
        return SERVICE_PUT;
    case WIRE_NODE_CREATE:
        return SERVICE_CREATE;
    case WIRE_NODE_LIST:
        return SERVICE_LIST;
    case WIRE_NODE_STAT:
        return SERVICE_STAT;
    case WIRE_NODE_DELETE:
        return SERVICE_DELETE;
    case WIRE_CELL_STATUS:
        return SERVICE_STATUS;
    case WIRE_NO_METHOD:
        break;
    }
    assert(false && "wire_parse_request() returns no request without a method");
    return SERVICE_STATUS;
}

static enum wire_method method_of(enum service_op op)
{
    switch (op) {
    case SERVICE_GET:
        return WIRE_NODE_GET;
    case SERVICE_STAT:
        return WIRE_NODE_STAT;
    case SERVICE_LIST:
        return WIRE_NODE_LIST;
    case SERVICE_STATUS:
        return WIRE_CELL_STATUS;
    case SERVICE_PUT:
        return WIRE_NODE_PUT;
    case SERVICE_CREATE:
        return WIRE_NODE_CREATE;
    case SERVICE_DELETE:
        return WIRE_NODE_DELETE;
    }
    assert(false && "the service answers what it was asked");
    return WIRE_NO_METHOD;
}

void gateway_request(const struct gateway *g, const struct wire_request *in, uint64_t client,
                     uint64_t tag, struct service_request *ret_request)
{
    *ret_request = (struct service_request){
        .client = client,
        .tag = tag,
        .op = op_of(in->method),
        .principal = bytes_of(g->config.principal, strlen(g->config.principal)),
        .name = bytes_in(in->name),
        .kind = in->kind == WIRE_DIRECTORY ? LEASE_DIRECTORY : LEASE_FILE,
        .content = in->has_content ? bytes_in(in->content) : bytes_of(NULL, 0),
        .if_generation = in->if_generation,
        .if_instance = in->if_instance,
        .after = bytes_in(in->after),
        .limit = in->limit,
    };
}

/* ------------------------------------------------------------------- errors */

enum wire_error gateway_refusal(enum lease_rc rc)
{
    switch (rc) {
    case LEASE_OK:
        return WIRE_OK;
    case LEASE_NO_NODE:
    case LEASE_NO_PARENT:
        return WIRE_NO_NODE;
    case LEASE_EXISTS:
        return WIRE_EXISTS;
    case LEASE_CONFLICT:
        return WIRE_CONFLICT;
    case LEASE_NOT_EMPTY:
        return WIRE_NOT_EMPTY;
    case LEASE_NOT_A_FILE:
    case LEASE_NOT_A_DIRECTORY:
        return WIRE_WRONG_KIND;
    case LEASE_STALE_INSTANCE:
        return WIRE_STALE_HANDLE;
    case LEASE_IS_ROOT:
    case LEASE_BAD_PATH:
        return WIRE_BAD_NAME;
    case LEASE_LIMIT:
        return WIRE_OVERLOADED;
    case LEASE_TOO_LARGE:
        return WIRE_TOO_LARGE;
    }
    assert(false && "lease/ refuses with a reason of its own list");
    return WIRE_UNAVAILABLE;
}

static void print_refused(const struct service_reply *in, struct wire_reply *out)
{
    assert(in->rc != LEASE_OK);
    out->error = gateway_refusal(in->rc);
    /* Where one wire error stands for several refusals, say which. */
    if (in->rc == LEASE_NO_PARENT || in->rc == LEASE_NOT_A_FILE ||
        in->rc == LEASE_NOT_A_DIRECTORY || in->rc == LEASE_IS_ROOT || in->rc == LEASE_LIMIT) {
        out->message = text_of(lease_rc_text(in->rc));
    }
    out->has_stat = in->rc == LEASE_CONFLICT && in->stat.instance != 0;
}

static void print_not_master(struct gateway *g, const struct service_reply *in,
                             struct wire_reply *out)
{
    /* Who is leaving office may still be the last master it knows of. */
    const bool other = in->master != 0 && in->master != g->config.self;
    const char *address =
        other ? g->config.client_address(g->config.context, in->master) : NULL;
    if (address == NULL || *address == '\0') {
        out->error = WIRE_UNAVAILABLE;
        out->message = text_of("no master is known here; an election may be under way; "
                               "it was not executed, try again");
        return;
    }
    out->error = WIRE_NOT_MASTER;
    out->master = text_of(address);
    out->master_id = in->master;
}

/* ------------------------------------------------------------------ results */

static struct wire_stat stat_of(const struct lease_stat *stat)
{
    return (struct wire_stat){
        .kind = stat->kind == LEASE_DIRECTORY ? WIRE_DIRECTORY : WIRE_FILE,
        .instance = stat->instance,
        .generation = stat->content_generation,
        .lock_generation = stat->lock_generation,
        .acl_generation = stat->acl_generation,
        .checksum = stat->checksum,
        .revision = stat->revision,
        .modified_ms = stat->modified_wall_ms,
        .size = stat->size,
        .children = stat->children,
    };
}

static void hex_of(uint64_t number, char ret_text[HEX_SIZE])
{
    snprintf(ret_text, HEX_SIZE, "%016llx", (unsigned long long)number);
}

static const char *role_name(enum paxos_role role)
{
    switch (role) {
    case PAXOS_FORMING:
        return "forming";
    case PAXOS_FOLLOWER:
        return "follower";
    case PAXOS_PREVOTER:
    case PAXOS_PREPARER:
        return "candidate";
    case PAXOS_MASTER:
        return "master";
    }
    assert(false && "paxos knows no other role");
    return "?";
}

static const struct paxos_peer_status *find_peer(const struct paxos_status *status, paxos_id id)
{
    for (uint32_t i = 0; i < status->peers_count; i++) {
        if (status->peers[i].id == id) {
            return &status->peers[i];
        }
    }
    return NULL;
}

static struct wire_member member_of(const struct gateway *g,
                                    const struct service_status *status,
                                    const struct paxos_member *member)
{
    struct wire_member out = {
        .id = member->id,
        .peer = text_of(member->address),
        .client = text_of(g->config.client_address(g->config.context, member->id)),
    };
    const struct paxos_peer_status *peer = find_peer(&status->paxos, member->id);
    if (member->id == g->config.self) {
        out.heard = true;
        out.durable_slot = status->paxos.durable;
    } else if (peer != NULL) {
        out.heard = peer->heard_ms != 0;
        out.heard_ms_ago =
            out.heard && status->now_ms > peer->heard_ms ? status->now_ms - peer->heard_ms : 0;
        out.durable_slot = status->paxos.role == PAXOS_MASTER ? peer->durable : 0;
    }
    return out;
}

static void print_status(struct gateway *g, const struct service_status *status,
                         struct wire_reply *reply, struct wire_buffer *out)
{
    const struct paxos_status *paxos = &status->paxos;
    struct wire_member members[PAXOS_MEMBERS_MAX];
    char cell_id[HEX_SIZE];
    char digest[HEX_SIZE];
    hex_of(paxos->cell, cell_id);
    hex_of(status->digest, digest);
    assert(paxos->members->count <= PAXOS_MEMBERS_MAX);
    for (uint32_t i = 0; i < paxos->members->count; i++) {
        members[i] = member_of(g, status, &paxos->members->member[i]);
    }
    const struct wire_status wire = {
        .version = text_of(LOCKD_VERSION),
        .cell = text_of(g->config.cell),
        .cell_id = text_of(cell_id),
        .replica = g->config.self,
        .role = text_of(role_name(paxos->role)),
        .serving = paxos->serving,
        .master = paxos->master,
        .master_address = text_of(
            paxos->master == 0 ? NULL
                               : g->config.client_address(g->config.context, paxos->master)),
        .epoch = paxos->master != 0 ? paxos->epoch : status->position.epoch,
        .revision = status->position.revision,
        .slot_chosen = paxos->chosen,
        .slot_applied = status->position.slot,
        .slot_last = paxos->last,
        .slot_tables = status->tables_slot,
        .log_first = status->log_first,
        .nodes = status->counts.nodes,
        .content_bytes = status->counts.content_bytes,
        .memory_bytes = status->counts.memory_bytes,
        .digest = text_of(digest),
        .low_space = status->low_space,
        .survives_known = paxos->serving,
        .survives = status->survives,
        .members = members,
        .members_count = paxos->members->count,
    };
    reply->status = &wire;
    wire_print_reply(out, reply);
}

static void print_list(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *reply)
{
    assert(in->children_count <= LEASE_LIST_MAX);
    for (uint32_t i = 0; i < in->children_count; i++) {
        g->children[i] = (struct wire_child){.name = wire_of(in->children[i].name),
                                             .stat = stat_of(&in->children[i].stat)};
    }
    reply->children = g->children;
    reply->children_count = in->children_count;
    reply->more = in->more;
}

static void print_done(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *reply)
{
    reply->created = in->created;
    reply->has_stat = in->op == SERVICE_GET || in->op == SERVICE_STAT ||
                      in->op == SERVICE_PUT || in->op == SERVICE_CREATE;
    if (in->op == SERVICE_GET) {
        reply->has_content = true;
        reply->content = wire_of(in->content);
    } else if (in->op == SERVICE_LIST) {
        print_list(g, in, reply);
    }
}

void gateway_reply(struct gateway *g, const struct service_reply *in, struct wire_text id,
                   struct wire_buffer *out)
{
    struct wire_reply reply = {
        .id = id,
        .method = method_of(in->op),
        .has_position = (in->outcome == SERVICE_DONE && in->op != SERVICE_STATUS) ||
                        in->outcome == SERVICE_REFUSED,
        .epoch = in->epoch,
        .revision = in->revision,
        .slot = in->slot,
        .position = in->position,
        .stat = stat_of(&in->stat),
    };
    switch (in->outcome) {
    case SERVICE_DONE:
        if (in->op == SERVICE_STATUS) {
            print_status(g, in->status, &reply, out);
            return;
        }
        print_done(g, in, &reply);
        break;
    case SERVICE_REFUSED:
        print_refused(in, &reply);
        break;
    case SERVICE_NOT_MASTER:
        print_not_master(g, in, &reply);
        break;
    case SERVICE_BAD_NAME:
        reply.error = WIRE_BAD_NAME;
        break;
    case SERVICE_TOO_LARGE:
        reply.error = WIRE_TOO_LARGE;
        break;
    case SERVICE_OVERLOADED:
        reply.error = WIRE_OVERLOADED;
        break;
    case SERVICE_UNKNOWN:
        reply.error = WIRE_UNKNOWN_OUTCOME;
        break;
    }
    wire_print_reply(out, &reply);
}
