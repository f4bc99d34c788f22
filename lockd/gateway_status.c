/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway_status.c -- `cell.status` in the words of the wire.
 */
#include "lockd/gateway_internal.h"

#include <assert.h>
#include <stdio.h>

enum { HEX_SIZE = 17 };

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

static struct wire_text address_of(const struct gateway *g, paxos_id replica,
                                   const char *principal)
{
    return gateway_text(g->config.client_address(g->config.context, replica, principal));
}

static struct wire_member member_of(const struct gateway *g,
                                    const struct service_status *status,
                                    const struct paxos_member *member, const char *principal)
{
    struct wire_member out = {
        .id = member->id,
        .peer = gateway_text(member->address),
        .client = address_of(g, member->id, principal),
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

/* By the digest a guess of what one may not read could be confirmed. */
static bool may_see_digest(const struct service_status *status, const char *principal)
{
    return status->open || (principal != NULL && strcmp(principal, LEASE_ROOT) == 0);
}

void gateway_print_status(const struct gateway *g, const struct service_status *status,
                          const char *principal, struct wire_reply *reply,
                          struct wire_buffer *out)
{
    const struct paxos_status *paxos = &status->paxos;
    struct wire_member members[PAXOS_MEMBERS_MAX];
    char cell_id[HEX_SIZE];
    char digest[HEX_SIZE];
    hex_of(paxos->cell, cell_id);
    hex_of(status->digest, digest);
    assert(paxos->members->count <= PAXOS_MEMBERS_MAX);
    for (uint32_t i = 0; i < paxos->members->count; i++) {
        members[i] = member_of(g, status, &paxos->members->member[i], principal);
    }
    const struct wire_status wire = {
        .version = gateway_text(LOCKD_VERSION),
        .cell = gateway_text(g->config.cell),
        .cell_id = gateway_text(cell_id),
        .replica = g->config.self,
        .role = gateway_text(role_name(paxos->role)),
        .serving = paxos->serving,
        .master = paxos->master,
        .master_address =
            paxos->master == 0 ? gateway_text(NULL) : address_of(g, paxos->master, principal),
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
        .digest = gateway_text(may_see_digest(status, principal) ? digest : ""),
        .low_space = status->low_space,
        .sessions = status->counts.sessions,
        .locks_held = status->counts.held,
        .locks_waiting = status->counts.waiting,
        .locks_delayed = status->counts.delayed,
        .opens = status->counts.opens,
        .watches = status->watches,
        .history_bytes = status->counts.history_bytes,
        .history_floor = status->history_floor,
        .cached = status->cached,
        .held = status->held,
        .has_age = status->has_age,
        .age_ms = status->age_ms,
        .stretch_ms = status->stretch_ms,
        .survives_known = paxos->serving,
        .survives = status->survives,
        .members = members,
        .members_count = paxos->members->count,
    };
    reply->status = &wire;
    wire_print_reply(out, reply);
}
