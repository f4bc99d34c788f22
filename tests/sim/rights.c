/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may do what, as agents change it: the lists, and which nodes name them.  And what
 * is shown to whom, where a replica shows it.
 *
 * Some nodes are never closed to anybody, so that the cell can always be used: the root,
 * one lock, and the elections.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"

static const char *const principals[AGENTS_MAX] = {"u0", "u1", "u2"};
static const char *const lists[] = {"x", "y"};

enum { LISTS = sizeof lists / sizeof *lists };

const char *agent_principal(const struct world *w, uint32_t agent)
{
    return w->agents->root == agent + 1 ? LEASE_ROOT : principals[agent];
}

static struct bytes text(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* ------------------------------------------------------------------------ changing */

/* The directory of lists, or a list: some of all, with blanks and words about it. */
static void write_list(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    char name[AGENT_NAME_MAX];
    char content[96];
    const bool makes = model_find(audit_model(w), text("acl")) == NULL;
    const bool deletes = !makes && chance_percent(rng, 5);
    void *context =
        agent_call_begin(w, agent, seat, 0, makes || deletes ? CALL_FILE : CALL_PUT);
    int size = snprintf(content, sizeof content, "s%u", w->agents->calls_count);
    for (uint32_t i = 0; i < AGENTS_MAX; i++) {
        if (chance_percent(rng, 50)) {
            size += snprintf(content + size, sizeof content - (size_t)size,
                             i % 2 == 0 ? "\n %s\t# of us\r" : "\n%s", principals[i]);
        }
    }
    size += snprintf(content + size, sizeof content - (size_t)size, "%s",
                     chance_percent(rng, 10) ? "\n*" : "\n# all");
    snprintf(name, sizeof name, "/ls/local/acl/%s", lists[rng_below(rng, LISTS)]);
    const struct wire_request request = {
        .method = makes     ? WIRE_NODE_CREATE
                  : deletes ? WIRE_NODE_DELETE
                            : WIRE_NODE_PUT,
        .name = {.data = makes ? "/ls/local/acl" : name,
                 .size = makes ? strlen("/ls/local/acl") : strlen(name)},
        .kind = makes ? WIRE_DIRECTORY : 0,
        .has_content = !makes && !deletes,
        .content = {.data = content, .size = makes || deletes ? 0 : (size_t)size},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    agent_call_within(w, 4000);
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a), a->seats[seat].session,
                                    &request, 4000, agent_call_done, context));
}

static void set_names(struct world *w, uint32_t agent, uint32_t seat)
{
    static const char *const nodes[] = {"l1", "l1", "l1", "a",   "a",  "b",   "p",
                                        "h",  "t",  "d",  "t/e", "s0", "acl", "acl/x"};
    struct agent *a = &w->agents->all[agent];
    struct rng *rng = &w->agents->rng;
    char name[AGENT_NAME_MAX];
    agent_name(nodes[rng_below(rng, sizeof nodes / sizeof *nodes)], name);
    struct wire_request request = {
        .method = WIRE_NODE_SET_ACL,
        .name = {.data = name, .size = strlen(name)},
        .if_generation = chance_percent(rng, 90) ? WIRE_ANY : rng_below(rng, 3),
        .if_instance = WIRE_ANY,
    };
    for (uint32_t right = 0; right < LEASE_RIGHTS; right++) {
        const uint64_t which = rng_below(rng, 10);
        const char *list = which < 4   ? ""
                           : which < 8 ? lists[rng_below(rng, LISTS)]
                           : which < 9 ? "none"
                                       : NULL;
        const bool open = right == LEASE_CHANGE && chance_percent(rng, 70);
        request.acl[right] = open || list == NULL
                                 ? (struct wire_text){.data = NULL}
                                 : (struct wire_text){.data = list, .size = strlen(list)};
    }
    request.acl[LEASE_READ] =
        request.acl[LEASE_READ].data == NULL && request.acl[LEASE_WRITE].data == NULL
            ? (struct wire_text){.data = ""}
            : request.acl[LEASE_READ];
    const bool once = strcmp(name, "/ls/local/b") != 0 && chance_percent(rng, 30);
    void *context = agent_call_begin(w, agent, seat, 0, CALL_RIGHTS);
    agent_call_within(w, 4000);
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a),
                                    once ? NULL : a->seats[seat].session, &request, 4000,
                                    agent_call_done, context));
}

void rights_use(struct world *w, uint32_t agent, uint32_t seat)
{
    const bool any = model_find(audit_model(w), text("acl/x")) != NULL;
    if (!any || chance_percent(&w->agents->rng, 40)) {
        write_list(w, agent, seat);
    } else {
        set_names(w, agent, seat);
    }
}

/* --------------------------------------------------------------------------- shown */

static void check_locks(struct world *w, const struct replica *r, const char *principal,
                        const struct service_reply *reply)
{
    for (uint32_t i = 0; i < reply->locks_count; i++) {
        const struct bytes path = reply->locks[i].path;
        if (lease_may(service_lease(r->service), path, text(principal), LEASE_READ) !=
            LEASE_OK) {
            world_fail(w, "rights", "replica %u lists the lock %.*s to %s, who may not read it",
                       r->index + 1, (int)path.size, (const char *)path.data, principal);
        }
    }
}

/* What was acknowledged so long ago is in the state that answers. */
static void check_age(struct world *w, const struct replica *r,
                      const struct service_reply *reply)
{
    const struct history_index shown = {.slot = reply->slot, .position = reply->position};
    const uint64_t as_of_us = reads_as_of_us(w, w->now_us, reply->age_ms);
    const struct history_index known = reads_acknowledged_before(w, as_of_us);
    if (reply->has_age && history_index_compare(shown, known) < 0) {
        world_fail(w, "age",
                   "replica %u says of its state at [%" PRIu64 ",%u] that it is %" PRIu64
                   " ms old at most; then [%" PRIu64 ",%u] was acknowledged",
                   r->index + 1, shown.slot, shown.position, reply->age_ms, known.slot,
                   known.position);
    }
}

void audit_read(struct world *w, const struct replica *r, const char *principal,
                uint64_t min_revision, const struct service_reply *reply)
{
    if (reply->outcome != SERVICE_DONE && reply->outcome != SERVICE_REFUSED) {
        return;
    }
    if (reply->op == SERVICE_LOCK_LIST) {
        check_locks(w, r, principal, reply);
    }
    sometimes_if(reply->outcome == SERVICE_REFUSED && reply->rc == LEASE_DENIED, right_denied);
    if (reply->level == SERVICE_SEQUENTIAL && reply->revision < min_revision) {
        world_fail(w, "session-order",
                   "replica %u answers a sequential read from revision %" PRIu64 "; %" PRIu64
                   " had been seen",
                   r->index + 1, reply->revision, min_revision);
    }
    if (reply->level == SERVICE_SEQUENTIAL || reply->level == SERVICE_STALE) {
        sometimes_if(!r->status.serving, read_of_follower);
        check_age(w, r, reply);
    }
}

void audit_told(struct world *w, const struct replica *r, const char *principal,
                const struct service_event *event)
{
    if (event->kind == SERVICE_EVENT_CHANGE &&
        !lease_acl_lists(service_lease(r->service), event->change->acl_read, text(principal))) {
        world_fail(w, "rights",
                   "replica %u tells %s of revision %" PRIu64 " of %.*s, which it may not read",
                   r->index + 1, principal, event->revision, (int)event->change->path.size,
                   (const char *)event->change->path.data);
    }
}
