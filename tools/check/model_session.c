/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and locks of the model: one array of claims for all locks, in the
 * order in which they were asked for, looked through from the front each time.
 *
 * Not modelled: the limits on outcomes and waiters, which no workload of ours
 * reaches, and a session's own deletion of a node that it holds.
 */
#include "tools/check/model.h"

#include <stdlib.h>

/* ----------------------------------------------------------------- sessions */

static struct model_session *find_session(const struct model *m, uint64_t id)
{
    for (uint32_t i = m->sessions_count; i > 0; i--) {
        if (m->sessions[i - 1].id == id) {
            return &m->sessions[i - 1];
        }
    }
    return NULL;
}

const struct model_session *model_session(const struct model *m, uint64_t id)
{
    return find_session(m, id);
}

bool model_session_lives(const struct model *m, uint64_t id)
{
    const struct model_session *s = find_session(m, id);
    return s != NULL && !s->over;
}

static const struct model_outcome *outcome_in(const struct model_session *s, uint64_t request)
{
    for (uint32_t i = s->outcomes_count; i > 0; i--) {
        if (s->outcomes[i - 1].request == request) {
            return &s->outcomes[i - 1];
        }
    }
    return NULL;
}

const struct model_outcome *model_outcome(const struct model *m, uint64_t session,
                                          uint64_t request)
{
    const struct model_session *s = find_session(m, session);
    return s == NULL ? NULL : outcome_in(s, request);
}

static void remember(struct model_session *s, const struct model_outcome *outcome)
{
    s->outcomes =
        model_grow(s->outcomes, s->outcomes_count, &s->outcomes_capacity, sizeof *s->outcomes);
    s->outcomes[s->outcomes_count++] = *outcome;
}

static void acknowledge(struct model_session *s, const struct lease_command *c)
{
    s->ack_floor = c->ack_floor > s->ack_floor ? c->ack_floor : s->ack_floor;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->acks_count; i++) {
        if (s->acks[i].last > s->ack_floor) {
            s->acks[kept++] = s->acks[i];
        }
    }
    s->acks_count = kept;
    for (uint32_t i = 0; i < c->acks_count; i++) {
        s->acks = model_grow(s->acks, s->acks_count, &s->acks_capacity, sizeof *s->acks);
        s->acks[s->acks_count++] = c->acks[i];
    }
}

static bool acknowledged(const struct model_session *s, uint64_t request)
{
    bool found = request <= s->ack_floor;
    for (uint32_t i = 0; i < s->acks_count && !found; i++) {
        found = request >= s->acks[i].first && request <= s->acks[i].last;
    }
    return found;
}

/* -------------------------------------------------------------------- claims */

bool model_claimed(const struct model *m, uint64_t instance)
{
    for (uint32_t i = 0; i < m->claims_count; i++) {
        if (m->claims[i].instance == instance) {
            return true;
        }
    }
    return false;
}

/* Of the node's claims: how many are held, how many wait, and is a held one
 * exclusive? */
struct queue {
    uint32_t held, waiting;
    bool exclusive;
};

static struct queue queue_of(const struct model *m, uint64_t instance)
{
    struct queue q = {.held = 0};
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == instance) {
            q.held += claim->held;
            q.waiting += !claim->held;
            q.exclusive |= claim->held && claim->mode == LEASE_EXCLUSIVE;
        }
    }
    return q;
}

static bool compatible(struct queue q, enum lease_mode mode)
{
    return q.held == 0 || (mode == LEASE_SHARED && !q.exclusive);
}

static struct model_claim *waiting_of(const struct model *m, uint64_t session, uint64_t request)
{
    for (uint32_t i = 0; i < m->claims_count; i++) {
        struct model_claim *claim = &m->claims[i];
        if (!claim->held && claim->session == session && claim->request == request) {
            return claim;
        }
    }
    return NULL;
}

static void drop(struct model *m, const struct model_claim *claim)
{
    const size_t at = (size_t)(claim - m->claims);
    m->claims_count--;
    memmove(&m->claims[at], &m->claims[at + 1], (m->claims_count - at) * sizeof *claim);
}

static struct model_node *node_of(struct model *m, uint64_t instance)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->nodes[i].instance == instance) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

/* A command in the making: what it changes raises the revision once. */
struct step {
    struct model *m;
    const struct history_entry *entry;
    uint64_t revision; /* Of what it changes. */
};

static void revise(struct step *step)
{
    step->m->revision = step->revision;
}

static void hold(struct step *step, struct model_node *node, struct queue q)
{
    revise(step);
    if (q.held == 0) {
        node->token = step->revision;
        node->lock_generation++;
    }
}

/* Grants from the front, as far as they go together. */
static void serve(struct step *step, uint64_t instance)
{
    struct model *m = step->m;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        struct model_claim *claim = &m->claims[i];
        if (claim->instance != instance || claim->held) {
            continue;
        }
        const struct queue q = queue_of(m, instance);
        if (!compatible(q, claim->mode)) {
            return;
        }
        struct model_node *node = node_of(m, instance);
        hold(step, node, q);
        claim->held = true;
        remember(find_session(m, claim->session),
                 &(struct model_outcome){.request = claim->request,
                                         .token = node->token,
                                         .index = step->entry->index});
    }
}

/* ------------------------------------------------------------------ commands */

static enum lease_rc acquire(struct step *step, struct model_outcome *outcome)
{
    struct model *m = step->m;
    const struct lease_command *c = step->entry->command;
    const enum lease_rc way = model_check_way(m, c->path);
    if (way != LEASE_OK) {
        return way == LEASE_NO_PARENT && !c->create ? LEASE_NO_NODE : way;
    }
    if (model_find(m, c->path) == NULL) {
        if (!c->create) {
            return LEASE_NO_NODE;
        }
        const struct history_request make = {
            .type = HISTORY_CREATE, .path = c->path, .kind = LEASE_FILE};
        struct history_result made;
        model_execute(m, &make, step->entry->wall_ms, &made);
    }
    struct model_node *node = model_find(m, c->path);
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == node->instance && claim->session == c->session &&
            claim->handle == c->handle) {
            return LEASE_OWNED;
        }
    }
    const struct queue q = queue_of(m, node->instance);
    const bool admitted = q.waiting == 0 && compatible(q, c->mode);
    if (!admitted && !c->wait) {
        return LEASE_LOCKED;
    }
    m->claims = model_grow(m->claims, m->claims_count, &m->claims_capacity, sizeof *m->claims);
    m->claims[m->claims_count++] = (struct model_claim){.instance = node->instance,
                                                        .session = c->session,
                                                        .handle = c->handle,
                                                        .request = c->request,
                                                        .mode = c->mode,
                                                        .held = admitted};
    if (!admitted) {
        return LEASE_WAITING;
    }
    hold(step, node, q);
    outcome->token = node->token;
    return LEASE_OK;
}

static enum lease_rc release(struct step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->entry->command;
    const struct model_node *node = model_find(m, c->path);
    for (uint32_t i = 0; node != NULL && i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == node->instance && claim->session == c->session &&
            claim->handle == c->handle && claim->held && node->token == c->token) {
            const uint64_t instance = node->instance;
            revise(step);
            drop(m, claim);
            serve(step, instance);
            return LEASE_OK;
        }
    }
    return LEASE_NOT_HELD;
}

static void stop_waiting(struct step *step, const struct model_claim *claim, enum lease_rc rc)
{
    const uint64_t instance = claim->instance;
    remember(find_session(step->m, claim->session),
             &(struct model_outcome){
                 .request = claim->request, .rc = rc, .index = step->entry->index});
    drop(step->m, claim);
    serve(step, instance);
}

static enum lease_rc cancel(struct step *step, struct model_session *s,
                            struct model_outcome *outcome)
{
    const struct lease_command *c = step->entry->command;
    const struct model_claim *claim = waiting_of(step->m, c->session, c->subject_request);
    if (claim != NULL) {
        stop_waiting(step, claim, LEASE_CANCELLED);
        return LEASE_CANCELLED;
    }
    if (acknowledged(s, c->subject_request)) {
        return LEASE_ACKNOWLEDGED;
    }
    const struct model_outcome *known = outcome_in(s, c->subject_request);
    if (known != NULL) {
        outcome->token = known->token;
        return known->rc;
    }
    if (c->subject_request != c->request) {
        remember(s, &(struct model_outcome){.request = c->subject_request,
                                            .rc = LEASE_CANCELLED,
                                            .index = step->entry->index});
    }
    return LEASE_CANCELLED;
}

/* First all its claims go, then each lock serves whoever is next. */
static void end_session(struct step *step, struct model_session *s)
{
    struct model *m = step->m;
    s->over = true;
    for (uint32_t i = m->claims_count; i > 0; i--) {
        if (m->claims[i - 1].session == s->id) {
            if (m->claims[i - 1].held) {
                revise(step);
            }
            drop(m, &m->claims[i - 1]);
        }
    }
    for (uint32_t i = 0; i < m->count; i++) {
        serve(step, m->nodes[i].instance);
    }
}

static enum lease_rc open_session(struct model *m, uint64_t id)
{
    if (model_session_lives(m, id)) {
        return LEASE_EXISTS;
    }
    m->sessions =
        model_grow(m->sessions, m->sessions_count, &m->sessions_capacity, sizeof *m->sessions);
    m->sessions[m->sessions_count++] = (struct model_session){.id = id};
    return LEASE_OK;
}

/* By the keeper: guarded by the mastership under which it was decided. */
static enum lease_rc judge(struct step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->entry->command;
    if (c->epoch != step->entry->epoch) {
        return LEASE_OLD_EPOCH;
    }
    if (!model_session_lives(m, c->subject)) {
        return LEASE_NO_SESSION;
    }
    if (c->type == LEASE_CMD_SESSION_EXPIRE) {
        end_session(step, find_session(m, c->subject));
        return LEASE_OK;
    }
    const struct model_claim *claim = waiting_of(m, c->subject, c->subject_request);
    if (claim != NULL) {
        stop_waiting(step, claim, LEASE_LOCKED);
    }
    return LEASE_OK;
}

static enum lease_rc execute_file(struct step *step)
{
    const struct lease_command *c = step->entry->command;
    const struct history_request request = {
        .type = c->type == LEASE_CMD_PUT      ? HISTORY_PUT
                : c->type == LEASE_CMD_CREATE ? HISTORY_CREATE
                                              : HISTORY_DELETE,
        .path = c->path,
        .kind = c->kind,
        .content = c->content,
        .if_generation = c->if_generation,
        .if_instance = c->if_instance,
    };
    struct history_result result;
    model_execute(step->m, &request, step->entry->wall_ms, &result);
    return result.rc;
}

static enum lease_rc execute(struct step *step, struct model_session *s,
                             struct model_outcome *outcome)
{
    switch (step->entry->command->type) {
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
        return execute_file(step);
    case LEASE_CMD_ACQUIRE:
        return acquire(step, outcome);
    case LEASE_CMD_RELEASE:
        return release(step);
    case LEASE_CMD_CANCEL:
        return cancel(step, s, outcome);
    case LEASE_CMD_SESSION_CLOSE:
        end_session(step, s);
        return LEASE_OK;
    case LEASE_CMD_SESSION_OPEN:
        return open_session(step->m, step->entry->command->subject);
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_TIMEOUT:
        return judge(step);
    }
    return LEASE_OK;
}

void model_command(struct model *m, const struct history_entry *entry,
                   struct model_outcome *ret_outcome)
{
    const struct lease_command *c = entry->command;
    struct step step = {.m = m, .entry = entry, .revision = m->revision + 1};
    *ret_outcome = (struct model_outcome){.request = c->request, .index = entry->index};
    if (c->session == 0) {
        ret_outcome->rc = execute(&step, NULL, ret_outcome);
        return;
    }
    struct model_session *s = find_session(m, c->session);
    if (s == NULL || s->over) {
        ret_outcome->rc = LEASE_NO_SESSION;
        return;
    }
    acknowledge(s, c);
    if (acknowledged(s, c->request)) {
        ret_outcome->rc = LEASE_ACKNOWLEDGED;
        return;
    }
    const struct model_outcome *known = outcome_in(s, c->request);
    if (known != NULL) {
        *ret_outcome = *known;
        return;
    }
    if (waiting_of(m, c->session, c->request) != NULL) {
        ret_outcome->rc = LEASE_WAITING;
        return;
    }
    ret_outcome->rc = execute(&step, s, ret_outcome);
    if (ret_outcome->rc != LEASE_WAITING) {
        remember(s, ret_outcome);
    }
}

void model_free_sessions(struct model *m)
{
    for (uint32_t i = 0; i < m->sessions_count; i++) {
        free(m->sessions[i].acks);
        free(m->sessions[i].outcomes);
    }
    free(m->sessions);
    free(m->claims);
}
