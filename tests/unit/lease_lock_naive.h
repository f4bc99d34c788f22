/* SPDX-License-Identifier: Apache-2.0
 *
 * lease_lock_naive.h -- sessions and locks as obviously as can be: one array of
 * claims in the order of asking, searched from end to end, and for each request
 * id of each session what became of it.
 */
#ifndef TESTS_UNIT_LEASE_LOCK_NAIVE_H
#define TESTS_UNIT_LEASE_LOCK_NAIVE_H

#include "tests/unit/test_lease_support.h"

enum {
    NAMES = 4,
    HANDLES = 3,
    SESSIONS_MAX = 400, /* In a run; few at a time. */
    REQUESTS_MAX = 300, /* Of a session. */
    CLAIMS_MAX = 24,
    WAITERS_MAX = 5,
    LIVE_MAX = 6,
    WALL_MS = 77,
};

static const struct lease_limits limits = {.nodes = NAMES,
                                           .content_bytes = 100,
                                           .sessions = LIVE_MAX,
                                           .claims = CLAIMS_MAX,
                                           .waiters = WAITERS_MAX};

/* ------------------------------------------------------------------- model */

struct outcome {
    bool known;
    enum lease_rc rc;
    uint64_t token, slot;
    uint32_t position;
};

struct model_session {
    bool live;
    bool acknowledged[REQUESTS_MAX];
    struct outcome outcome[REQUESTS_MAX];
};

struct model_claim {
    unsigned name, session;
    uint64_t handle, request;
    enum lease_mode mode;
    bool held;
};

struct model_settled {
    unsigned session;
    uint64_t request;
    enum lease_rc rc;
    uint64_t token;
};

struct model {
    bool exists[NAMES];
    uint64_t token[NAMES];   /* Of the holding. */
    uint64_t highest[NAMES]; /* Ever, of the name. */
    struct model_session session[SESSIONS_MAX];
    struct model_claim claim[CLAIMS_MAX];
    unsigned claims, live, opened;
    struct model_settled settled[CLAIMS_MAX];
    unsigned settled_count;
    uint64_t revision;
    bool revised;
    uint64_t slot;
    uint32_t position;
};

static const char *const names[NAMES] = {"a", "b", "c", "d"};

static void model_revise(struct model *m)
{
    m->revision += !m->revised;
    m->revised = true;
}

static unsigned model_count(const struct model *m, unsigned name, bool held)
{
    unsigned count = 0;
    for (unsigned i = 0; i < m->claims; i++) {
        count += m->claim[i].name == name && m->claim[i].held == held;
    }
    return count;
}

static bool model_compatible(const struct model *m, unsigned name, enum lease_mode mode)
{
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        if (c->name == name && c->held &&
            (c->mode == LEASE_EXCLUSIVE || mode == LEASE_EXCLUSIVE)) {
            return false;
        }
    }
    return true;
}

static void model_hold(struct model *m, struct model_claim *claim)
{
    model_revise(m);
    if (model_count(m, claim->name, true) == 0) {
        m->token[claim->name] = m->revision;
        assert_true(m->revision > m->highest[claim->name]);
        m->highest[claim->name] = m->revision;
    }
    claim->held = true;
}

static struct outcome model_outcome(const struct model *m, enum lease_rc rc, uint64_t token)
{
    return (struct outcome){true, rc, token, m->slot, m->position};
}

static void model_settle(struct model *m, const struct model_claim *claim, enum lease_rc rc)
{
    struct model_session *session = &m->session[claim->session];
    const uint64_t token = rc == LEASE_OK ? m->token[claim->name] : 0;
    m->settled[m->settled_count++] =
        (struct model_settled){claim->session, claim->request, rc, token};
    if (rc != LEASE_NO_SESSION && !session->acknowledged[claim->request]) {
        session->outcome[claim->request] = model_outcome(m, rc, token);
    }
}

static void model_remove(struct model *m, unsigned at)
{
    if (m->claim[at].held) {
        model_revise(m);
    }
    memmove(&m->claim[at], &m->claim[at + 1], (--m->claims - at) * sizeof m->claim[0]);
}

static void model_serve(struct model *m, unsigned name)
{
    for (unsigned i = 0; i < m->claims; i++) {
        struct model_claim *claim = &m->claim[i];
        if (claim->name != name || claim->held) {
            continue;
        }
        if (!model_compatible(m, name, claim->mode)) {
            return;
        }
        model_hold(m, claim);
        model_settle(m, claim, LEASE_OK);
    }
}

static int model_waiting(const struct model *m, unsigned session, uint64_t request)
{
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        if (c->session == session && c->request == request && !c->held) {
            return (int)i;
        }
    }
    return -1;
}

static int model_owned(const struct model *m, unsigned session, unsigned name, uint64_t handle)
{
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        if (c->session == session && c->name == name && c->handle == handle) {
            return (int)i;
        }
    }
    return -1;
}

static void model_end(struct model *m, unsigned session)
{
    for (unsigned i = m->claims; i-- > 0;) {
        if (m->claim[i].session == session) {
            if (!m->claim[i].held) {
                model_settle(m, &m->claim[i], LEASE_NO_SESSION);
            }
            model_remove(m, i);
        }
    }
    m->session[session].live = false;
    m->live--;
    for (unsigned name = 0; name < NAMES; name++) {
        model_serve(m, name);
    }
}

static void model_stop_waiting(struct model *m, unsigned at, enum lease_rc rc)
{
    const unsigned name = m->claim[at].name;
    model_settle(m, &m->claim[at], rc);
    model_remove(m, at);
    model_serve(m, name);
}

/* ---------------------------------------------------------------- commands */

/* A command, and the same in the model's terms. */
struct ask {
    struct lease_command command;
    unsigned session, name;
};

static struct outcome model_acquire(struct model *m, const struct ask *ask)
{
    const struct lease_command *c = &ask->command;
    unsigned made = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        made += m->exists[i];
    }
    if (!m->exists[ask->name]) {
        if (!c->create) {
            return model_outcome(m, LEASE_NO_NODE, 0);
        }
        if (made + 1 >= limits.nodes || m->claims >= CLAIMS_MAX) {
            return model_outcome(m, LEASE_LIMIT, 0);
        }
        m->exists[ask->name] = true;
        model_revise(m);
    }
    if (model_owned(m, ask->session, ask->name, c->handle) >= 0) {
        return model_outcome(m, LEASE_OWNED, 0);
    }
    const unsigned waiting = model_count(m, ask->name, false);
    const bool now = waiting == 0 && model_compatible(m, ask->name, c->mode);
    if (!now && !c->wait) {
        return model_outcome(m, LEASE_LOCKED, 0);
    }
    if (m->claims >= CLAIMS_MAX || (!now && waiting >= WAITERS_MAX)) {
        return model_outcome(m, LEASE_LIMIT, 0);
    }
    struct model_claim claim = {ask->name, ask->session, c->handle, c->request, c->mode, false};
    if (now) {
        model_hold(m, &claim);
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
    model_remove(m, (unsigned)at);
    model_serve(m, ask->name);
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
        return model_outcome(m, session->outcome[request].rc, session->outcome[request].token);
    } else {
        session->outcome[request] = model_outcome(m, LEASE_CANCELLED, 0);
    }
    return model_outcome(m, LEASE_CANCELLED, 0);
}

static struct outcome model_delete(struct model *m, const struct ask *ask)
{
    if (!m->exists[ask->name]) {
        return model_outcome(m, LEASE_NO_NODE, 0);
    }
    for (unsigned i = 0; i < m->claims; i++) {
        if (m->claim[i].name == ask->name &&
            (ask->command.session == 0 || m->claim[i].session != ask->session)) {
            return model_outcome(m, LEASE_LOCKED, 0);
        }
    }
    model_revise(m);
    for (unsigned i = m->claims; i-- > 0;) {
        if (m->claim[i].name == ask->name) {
            if (!m->claim[i].held) {
                model_settle(m, &m->claim[i], LEASE_NO_NODE);
            }
            model_remove(m, i);
        }
    }
    m->exists[ask->name] = false;
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
        model_end(m, ask->session);
    } else {
        const int at = model_waiting(m, ask->session, ask->command.subject_request);
        if (at >= 0) {
            model_stop_waiting(m, (unsigned)at, LEASE_LOCKED);
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
        model_end(m, ask->session);
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
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
        break;
    }
    fail_msg("type %d", (int)ask->command.type);
    return (struct outcome){0};
}

static struct outcome model_apply(struct model *m, const struct ask *ask, uint64_t epoch)
{
    const struct lease_command *c = &ask->command;
    m->settled_count = 0;
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
