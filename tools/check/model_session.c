/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of the model, what they remember, and who is asked what.
 *
 * Not modelled: the limits on outcomes and sessions, which no workload of ours
 * reaches.
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

void model_settled(struct model_step *step, uint64_t session,
                   const struct model_outcome *outcome)
{
    remember(find_session(step->m, session), outcome);
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

/* ------------------------------------------------------------------ commands */

static enum lease_rc cancel(struct model_step *step, struct model_session *s,
                            struct model_outcome *outcome)
{
    const struct lease_command *c = step->command;
    const struct model_claim *claim = model_waiting(step->m, c->session, c->subject_request);
    if (claim != NULL) {
        model_stop_waiting(step, claim, LEASE_CANCELLED);
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
                                            .index = step->index});
    }
    return LEASE_CANCELLED;
}

static enum lease_rc end_session(struct model_step *step, struct model_session *s, bool failed)
{
    s->over = true;
    model_end_claims(step, s->id, failed);
    return LEASE_OK;
}

static enum lease_rc open_session(struct model *m, uint64_t id, struct bytes principal)
{
    if (model_session_lives(m, id)) {
        return LEASE_EXISTS;
    }
    m->sessions =
        model_grow(m->sessions, m->sessions_count, &m->sessions_capacity, sizeof *m->sessions);
    m->sessions[m->sessions_count++] = (struct model_session){.id = id, .principal = principal};
    return LEASE_OK;
}

/* By the master: guarded by the mastership under which it was decided. */
static enum lease_rc judge(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    if (c->epoch != step->epoch) {
        return LEASE_OLD_EPOCH;
    }
    if (c->type == LEASE_CMD_STRETCH) {
        m->stretch_ms = c->lease_ms;
        return LEASE_OK;
    }
    if (c->type == LEASE_CMD_DELAY_OVER) {
        return model_delay_over(step);
    }
    if (!model_session_lives(m, c->subject)) {
        return LEASE_NO_SESSION;
    }
    return c->type == LEASE_CMD_SESSION_EXPIRE
               ? end_session(step, find_session(m, c->subject), /* failed= */ true)
               : model_time_out(step);
}

static enum lease_rc execute_file(struct model_step *step)
{
    const struct lease_command *c = step->command;
    const struct history_request request = {
        .type = c->type == LEASE_CMD_PUT      ? HISTORY_PUT
                : c->type == LEASE_CMD_CREATE ? HISTORY_CREATE
                                              : HISTORY_DELETE,
        .principal = c->principal,
        .path = c->path,
        .kind = c->kind,
        .content = c->content,
        .if_generation = c->if_generation,
        .if_instance = c->if_instance,
    };
    struct history_result result;
    model_execute_step(step, &request, &result);
    return result.rc;
}

static enum lease_rc execute(struct model_step *step, struct model_session *s,
                             struct model_outcome *outcome)
{
    if (!model_may_command(step->m, step->command)) {
        return LEASE_DENIED;
    }
    switch (step->command->type) {
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
        return execute_file(step);
    case LEASE_CMD_ACQUIRE:
        return model_acquire(step, outcome);
    case LEASE_CMD_RELEASE:
        return model_release(step);
    case LEASE_CMD_OPEN:
        return model_open(step);
    case LEASE_CMD_CLOSE:
        return model_close(step);
    case LEASE_CMD_CANCEL:
        return cancel(step, s, outcome);
    case LEASE_CMD_SESSION_CLOSE:
        return end_session(step, s, /* failed= */ false);
    case LEASE_CMD_SESSION_OPEN:
        return open_session(step->m, step->command->subject, step->command->principal);
    case LEASE_CMD_SET_ACL:
        return model_set_acl(step);
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_DELAY_OVER:
    case LEASE_CMD_STRETCH:
        return judge(step);
    }
    return LEASE_OK;
}

void model_command(struct model *m, const struct history_entry *entry,
                   struct model_outcome *ret_outcome)
{
    const struct lease_command *c = entry->command;
    struct model_step step = {.m = m,
                              .command = c,
                              .index = entry->index,
                              .epoch = entry->epoch,
                              .wall_ms = entry->wall_ms,
                              .revision = m->revision + 1,
                              .session = c->session};
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
    if (!bytes_equal(c->principal, s->principal)) {
        ret_outcome->rc = LEASE_DENIED;
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
    if (model_waiting(m, c->session, c->request) != NULL) {
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
    free(m->opens);
}
