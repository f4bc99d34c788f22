/* SPDX-License-Identifier: Apache-2.0
 *
 * lease_lock_commands.h -- what each command does to the naive model.
 */
#ifndef TESTS_UNIT_LEASE_LOCK_COMMANDS_H
#define TESTS_UNIT_LEASE_LOCK_COMMANDS_H

#include "tests/unit/lease_lock_naive.h"

/* A command, and the same in the model's terms. */
struct ask {
    struct lease_command command;
    unsigned session, name;
};

static struct outcome model_acquire(struct model *m, const struct ask *ask)
{
    const struct lease_command *c = &ask->command;
    const enum lease_rc way = model_walk(m, ask->name);
    if (model_stale(m, c, ask->name)) {
        return model_outcome(m, LEASE_STALE_INSTANCE, 0);
    }
    if (way != LEASE_OK) {
        return model_outcome(m, way == LEASE_NO_PARENT && !c->create ? LEASE_NO_NODE : way, 0);
    }
    if (!m->exists[ask->name]) {
        if (!c->create) {
            return model_outcome(m, LEASE_NO_NODE, 0);
        }
        if (!model_room(m) || m->claims >= CLAIMS_MAX) {
            return model_outcome(m, LEASE_LIMIT, 0);
        }
        model_make(m, ask->name, LEASE_FILE, false);
    }
    if (model_owned(m, ask->session, ask->name, c->handle) >= 0) {
        return model_outcome(m, LEASE_OWNED, 0);
    }
    const unsigned waiting = model_count(m, ask->name, false);
    const bool now = waiting == 0 && model_compatible(m, ask->name, c->mode);
    if (!now && !c->wait) {
        return model_outcome(m, model_refusal(m, ask->name), 0);
    }
    if (m->claims >= CLAIMS_MAX || (!now && waiting >= WAITERS_MAX)) {
        return model_outcome(m, LEASE_LIMIT, 0);
    }
    struct model_claim claim = {.name = ask->name,
                                .session = ask->session,
                                .handle = c->handle,
                                .request = c->request,
                                .mode = c->mode,
                                .delay_ms = c->delay_ms,
                                .number = ++m->numbers};
    if (now) {
        model_hold(m, &claim);
    } else {
        model_revise(m);
        model_tell_claim(m, LEASE_CONTENDED, &claim, false);
    }
    m->claim[m->claims++] = claim;
    return now ? model_outcome(m, LEASE_OK, m->token[ask->name])
               : model_outcome(m, LEASE_WAITING, 0);
}

static struct outcome model_release(struct model *m, const struct ask *ask)
{
    const int at = model_owned(m, ask->session, ask->name, ask->command.handle);
    if (!m->exists[ask->name] || at < 0 || !m->claim[at].held ||
        m->token[ask->name] != ask->command.token) {
        return model_outcome(m, LEASE_NOT_HELD, 0);
    }
    model_remove(m, (unsigned)at, false);
    model_serve(m, ask->name);
    model_left(m, ask->name);
    return model_outcome(m, LEASE_OK, 0);
}

static struct outcome model_cancel(struct model *m, const struct ask *ask)
{
    struct model_session *session = &m->session[ask->session];
    const uint64_t request = ask->command.subject_request;
    const int at = model_waiting(m, ask->session, request);
    if (at >= 0) {
        model_stop_waiting(m, (unsigned)at, LEASE_CANCELLED);
    } else if (session->acknowledged[request]) {
        return model_outcome(m, LEASE_ACKNOWLEDGED, 0);
    } else if (session->outcome[request].known) {
        struct outcome known = session->outcome[request];
        known.slot = m->slot;
        known.position = m->position;
        return known;
    } else {
        session->outcome[request] = model_outcome(m, LEASE_CANCELLED, 0);
    }
    return model_outcome(m, LEASE_CANCELLED, 0);
}

static struct outcome model_delete(struct model *m, const struct ask *ask)
{
    const enum lease_rc way = model_walk(m, ask->name);
    if (!m->exists[ask->name]) {
        const bool below_file = way == LEASE_NOT_A_DIRECTORY;
        return model_outcome(m, below_file ? way : LEASE_NO_NODE, 0);
    }
    if (model_has_child(m, ask->name)) {
        return model_outcome(m, LEASE_NOT_EMPTY, 0);
    }
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *claim = &m->claim[i];
        if (claim->name == ask->name &&
            (ask->command.session == 0 || claim->session != ask->session || claim->delayed)) {
            return model_outcome(m, LEASE_LOCKED, 0);
        }
    }
    model_vanish(m, ask->name);
    if (ask->name == FIRST_CHILD) {
        model_left(m, FIRST_CHILD - 1);
    }
    return model_outcome(m, LEASE_OK, 0);
}

static struct outcome model_open(struct model *m, const struct ask *ask)
{
    const struct lease_command *c = &ask->command;
    const enum lease_rc way = model_walk(m, ask->name);
    if (c->if_instance == 0 && m->exists[ask->name]) {
        return model_outcome(m, LEASE_EXISTS, 0);
    }
    if (c->if_instance != 0 && model_stale(m, c, ask->name)) {
        return model_outcome(m, LEASE_STALE_INSTANCE, 0);
    }
    if (way != LEASE_OK) {
        return model_outcome(m, way == LEASE_NO_PARENT && c->kind == 0 ? LEASE_NO_NODE : way,
                             0);
    }
    if (!m->exists[ask->name] && c->kind == 0) {
        return model_outcome(m, LEASE_NO_NODE, 0);
    }
    if (m->exists[ask->name] && c->kind != 0 && c->kind != m->kind[ask->name]) {
        return model_outcome(
            m, c->kind == LEASE_FILE ? LEASE_NOT_A_FILE : LEASE_NOT_A_DIRECTORY, 0);
    }
    const bool made = !m->exists[ask->name];
    const bool adds = made ? c->ephemeral
                           : m->ephemeral[ask->name] &&
                                 model_opened(m, ask->session, ask->name, c->handle) < 0;
    if ((made && !model_room(m)) || (adds && m->opens >= OPENS_MAX)) {
        return model_outcome(m, LEASE_LIMIT, 0);
    }
    if (made) {
        model_make(m, ask->name, c->kind, c->ephemeral);
    }
    if (adds) {
        m->open[m->opens++] = (struct model_open){ask->name, ask->session, c->handle};
    }
    struct outcome outcome = model_outcome(m, LEASE_OK, 0);
    outcome.instance = m->instance[ask->name];
    return outcome;
}

static struct outcome model_close(struct model *m, const struct ask *ask)
{
    const int at = model_opened(m, ask->session, ask->name, ask->command.handle);
    if (at >= 0 && m->instance[ask->name] == ask->command.if_instance) {
        model_unopen(m, (unsigned)at);
        model_left(m, ask->name);
    }
    return model_outcome(m, LEASE_OK, 0);
}

static struct outcome model_delay_over(struct model *m, const struct ask *ask, uint64_t epoch)
{
    if (ask->command.epoch != epoch) {
        return model_outcome(m, LEASE_OLD_EPOCH, 0);
    }
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim claim = m->claim[i];
        if (claim.delayed && claim.number == ask->command.subject_request &&
            m->instance[claim.name] == ask->command.subject) {
            model_remove(m, i, false);
            model_serve(m, claim.name);
            model_left(m, claim.name);
        }
    }
    return model_outcome(m, LEASE_OK, 0);
}

static struct outcome model_judge(struct model *m, const struct ask *ask, uint64_t epoch)
{
    if (ask->command.epoch != epoch) {
        return model_outcome(m, LEASE_OLD_EPOCH, 0);
    }
    if (!m->session[ask->session].live) {
        return model_outcome(m, LEASE_NO_SESSION, 0);
    }
    if (ask->command.type == LEASE_CMD_SESSION_EXPIRE) {
        model_end(m, ask->session, true);
    } else {
        const int at = model_waiting(m, ask->session, ask->command.subject_request);
        if (at >= 0) {
            model_stop_waiting(m, (unsigned)at, model_refusal(m, m->claim[at].name));
        }
    }
    return model_outcome(m, LEASE_OK, 0);
}

static struct outcome model_execute(struct model *m, const struct ask *ask, uint64_t epoch)
{
    switch (ask->command.type) {
    case LEASE_CMD_SESSION_OPEN:
        if (m->live >= LIVE_MAX) {
            return model_outcome(m, LEASE_LIMIT, 0);
        }
        m->session[ask->session].live = true;
        m->live++;
        return model_outcome(m, LEASE_OK, 0);
    case LEASE_CMD_SESSION_CLOSE:
        model_end(m, ask->session, false);
        return model_outcome(m, LEASE_OK, 0);
    case LEASE_CMD_ACQUIRE:
        return model_acquire(m, ask);
    case LEASE_CMD_RELEASE:
        return model_release(m, ask);
    case LEASE_CMD_CANCEL:
        return model_cancel(m, ask);
    case LEASE_CMD_DELETE:
        return model_delete(m, ask);
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_TIMEOUT:
        return model_judge(m, ask, epoch);
    case LEASE_CMD_OPEN:
        return model_open(m, ask);
    case LEASE_CMD_CLOSE:
        return model_close(m, ask);
    case LEASE_CMD_DELAY_OVER:
        return model_delay_over(m, ask, epoch);
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_STRETCH:
    case LEASE_CMD_SET_ACL:
        break;
    }
    fail_msg("type %d", (int)ask->command.type);
    return (struct outcome){0};
}

static struct outcome model_apply(struct model *m, const struct ask *ask, uint64_t epoch)
{
    const struct lease_command *c = &ask->command;
    m->settled_count = 0;
    m->begun_count = 0;
    m->revised = false;
    if (c->session == 0) {
        return model_execute(m, ask, epoch);
    }
    struct model_session *session = &m->session[ask->session];
    if (!session->live) {
        return model_outcome(m, LEASE_NO_SESSION, 0);
    }
    for (uint64_t id = 0; id < REQUESTS_MAX; id++) {
        bool acknowledged = id <= c->ack_floor;
        for (uint32_t i = 0; i < c->acks_count; i++) {
            acknowledged |= c->acks[i].first <= id && id <= c->acks[i].last;
        }
        if (acknowledged) {
            session->acknowledged[id] = true;
            session->outcome[id].known = false;
        }
    }
    if (session->acknowledged[c->request]) {
        return model_outcome(m, LEASE_ACKNOWLEDGED, 0);
    }
    if (session->outcome[c->request].known) {
        return session->outcome[c->request];
    }
    if (model_waiting(m, ask->session, c->request) >= 0) {
        return model_outcome(m, LEASE_WAITING, 0);
    }
    const struct outcome outcome = model_execute(m, ask, epoch);
    if (outcome.rc != LEASE_WAITING) {
        session->outcome[c->request] = outcome;
    }
    return outcome;
}

#endif
