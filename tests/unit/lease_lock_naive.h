/* SPDX-License-Identifier: Apache-2.0
 *
 * lease_lock_naive.h -- sessions, locks, opens and history as obviously as can be:
 * one array of claims in the order of asking, searched from end to end; one of what
 * is open; for each request id of each session what became of it; and all that ever
 * happened.
 */
#ifndef TESTS_UNIT_LEASE_LOCK_NAIVE_H
#define TESTS_UNIT_LEASE_LOCK_NAIVE_H

#include "tests/unit/test_lease_support.h"

enum {
    NAMES = 5,
    FIRST_CHILD = 4, /* "d/x". */
    HANDLES = 3,
    SESSIONS_MAX = 400, /* In a run; few at a time. */
    REQUESTS_MAX = 300, /* Of a session. */
    CLAIMS_MAX = 24,
    OPENS_MAX = 7,
    EVENTS_MAX = 20000, /* In a run. */
    WAITERS_MAX = 5,
    LIVE_MAX = 6,
    WALL_MS = 77,
};

static const struct lease_limits limits = {.nodes = NAMES,
                                           .content_bytes = 100,
                                           .sessions = LIVE_MAX,
                                           .claims = CLAIMS_MAX,
                                           .waiters = WAITERS_MAX,
                                           .opens = OPENS_MAX,
                                           .history_bytes = 20000};

/* ------------------------------------------------------------------- model */

struct outcome {
    bool known;
    enum lease_rc rc;
    uint64_t token, slot;
    uint32_t position;
    uint64_t instance; /* Of the stat that came with it; 0: none. */
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
    bool held, delayed; /* Neither: it waits. */
    uint32_t delay_ms;
    uint64_t number;
};

struct model_open {
    unsigned name, session;
    uint64_t handle;
};

struct model_event {
    uint64_t revision, instance, token;
    enum lease_change change;
    unsigned name, session;
    enum lease_mode mode;
    enum lease_kind kind;
    uint32_t delay_ms;
    bool ephemeral, failed;
};

struct model_settled {
    unsigned session;
    uint64_t request;
    enum lease_rc rc;
    uint64_t token;
};

struct model {
    bool exists[NAMES], ephemeral[NAMES];
    enum lease_kind kind[NAMES];
    uint64_t instance[NAMES], instances;
    uint64_t token[NAMES];   /* Of the holding. */
    uint64_t highest[NAMES]; /* Ever, of the name. */
    struct model_session session[SESSIONS_MAX];
    struct model_claim claim[CLAIMS_MAX];
    uint64_t numbers;
    struct model_open open[OPENS_MAX];
    unsigned claims, opens, live, opened;
    struct model_event event[EVENTS_MAX];
    unsigned events;
    struct lease_delay begun[CLAIMS_MAX];
    unsigned begun_count;
    struct model_settled settled[CLAIMS_MAX];
    unsigned settled_count;
    uint64_t revision;
    bool revised;
    uint64_t slot;
    uint32_t position;
};

static const char *const names[NAMES] = {"a", "b", "c", "d", "d/x"};

static void model_revise(struct model *m)
{
    m->revision += !m->revised;
    m->revised = true;
}

static struct model_event *model_tell(struct model *m, enum lease_change change, unsigned name)
{
    assert_true(m->revised && m->events < EVENTS_MAX);
    struct model_event *event = &m->event[m->events++];
    *event = (struct model_event){.revision = m->revision,
                                  .instance = m->instance[name],
                                  .change = change,
                                  .name = name,
                                  .kind = m->kind[name],
                                  .ephemeral = m->ephemeral[name]};
    return event;
}

static void model_tell_claim(struct model *m, enum lease_change change,
                             const struct model_claim *claim, bool failed)
{
    struct model_event *event = model_tell(m, change, claim->name);
    event->session = claim->session;
    event->mode = claim->mode;
    event->token = change == LEASE_CONTENDED ? 0 : m->token[claim->name];
    event->failed = failed;
    event->delay_ms = failed ? claim->delay_ms : 0;
}

/* Neither of what is waiting nor of what is held. */
static unsigned model_delayed(const struct model *m, unsigned name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < m->claims; i++) {
        count += m->claim[i].name == name && m->claim[i].delayed;
    }
    return count;
}

static unsigned model_count(const struct model *m, unsigned name, bool held)
{
    unsigned count = 0;
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        count += c->name == name && !c->delayed && c->held == held;
    }
    return count;
}

static bool model_compatible(const struct model *m, unsigned name, enum lease_mode mode)
{
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        if (c->name == name && c->delayed) {
            return false;
        }
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
    model_tell_claim(m, LEASE_GRANTED, claim, false);
}

static enum lease_rc model_refusal(const struct model *m, unsigned name)
{
    return model_count(m, name, true) == 0 && model_delayed(m, name) > 0 ? LEASE_LOCK_DELAY
                                                                         : LEASE_LOCKED;
}

static struct outcome model_outcome(const struct model *m, enum lease_rc rc, uint64_t token)
{
    return (struct outcome){true, rc, token, m->slot, m->position, 0};
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

static void model_remove(struct model *m, unsigned at, bool failed)
{
    if (m->claim[at].held) {
        model_revise(m);
        model_tell_claim(m, LEASE_RELEASED, &m->claim[at], failed);
    }
    if (failed && m->claim[at].held && m->claim[at].delay_ms > 0) {
        m->claim[at].held = false;
        m->claim[at].delayed = true;
        m->begun[m->begun_count++] = (struct lease_delay){
            m->instance[m->claim[at].name], m->claim[at].number, m->claim[at].delay_ms};
        return;
    }
    memmove(&m->claim[at], &m->claim[at + 1], (--m->claims - at) * sizeof m->claim[0]);
}

static void model_serve(struct model *m, unsigned name)
{
    for (unsigned i = 0; i < m->claims; i++) {
        struct model_claim *claim = &m->claim[i];
        if (claim->name != name || claim->held || claim->delayed) {
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
        if (c->session == session && c->request == request && !c->held && !c->delayed) {
            return (int)i;
        }
    }
    return -1;
}

static int model_owned(const struct model *m, unsigned session, unsigned name, uint64_t handle)
{
    for (unsigned i = 0; i < m->claims; i++) {
        const struct model_claim *c = &m->claim[i];
        if (c->session == session && c->name == name && c->handle == handle && !c->delayed) {
            return (int)i;
        }
    }
    return -1;
}

static int model_opened(const struct model *m, unsigned session, unsigned name, uint64_t handle)
{
    for (unsigned i = 0; i < m->opens; i++) {
        const struct model_open *open = &m->open[i];
        if (open->session == session && open->name == name && open->handle == handle) {
            return (int)i;
        }
    }
    return -1;
}

static void model_unopen(struct model *m, unsigned at)
{
    memmove(&m->open[at], &m->open[at + 1], (--m->opens - at) * sizeof m->open[0]);
}

static bool model_has_child(const struct model *m, unsigned name)
{
    return name == FIRST_CHILD - 1 && m->exists[FIRST_CHILD];
}

static void model_vanish(struct model *m, unsigned name)
{
    model_revise(m);
    for (unsigned i = 0; i < m->claims;) {
        if (m->claim[i].name != name) {
            i++;
            continue;
        }
        if (!m->claim[i].held) {
            model_settle(m, &m->claim[i], LEASE_NO_NODE);
        }
        model_remove(m, i, false);
    }
    for (unsigned i = m->opens; i-- > 0;) {
        if (m->open[i].name == name) {
            model_unopen(m, i);
        }
    }
    model_tell(m, LEASE_DELETED, name);
    m->exists[name] = false;
}

/* Does what is left keep an ephemeral node, and what holds it? */
static void model_left(struct model *m, unsigned name)
{
    bool kept = !m->exists[name] || !m->ephemeral[name] || model_has_child(m, name);
    for (unsigned i = 0; i < m->claims; i++) {
        kept |= m->claim[i].name == name;
    }
    for (unsigned i = 0; i < m->opens; i++) {
        kept |= m->open[i].name == name;
    }
    if (!kept) {
        model_vanish(m, name);
        if (name == FIRST_CHILD) {
            model_left(m, FIRST_CHILD - 1);
        }
    }
}

static void model_make(struct model *m, unsigned name, enum lease_kind kind, bool ephemeral)
{
    model_revise(m);
    m->exists[name] = true;
    m->kind[name] = kind;
    m->ephemeral[name] = ephemeral;
    m->instance[name] = ++m->instances;
    model_tell(m, LEASE_CREATED, name);
}

/* How the way to it is. */
static enum lease_rc model_walk(const struct model *m, unsigned name)
{
    if (name != FIRST_CHILD || m->exists[name]) {
        return LEASE_OK;
    }
    if (!m->exists[FIRST_CHILD - 1]) {
        return LEASE_NO_PARENT;
    }
    return m->kind[FIRST_CHILD - 1] == LEASE_DIRECTORY ? LEASE_OK : LEASE_NOT_A_DIRECTORY;
}

static bool model_stale(const struct model *m, const struct lease_command *c, unsigned name)
{
    return c->if_instance != LEASE_ANY &&
           (!m->exists[name] || c->if_instance != m->instance[name]);
}

static bool model_room(const struct model *m)
{
    unsigned made = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        made += m->exists[i];
    }
    return made + 1 < limits.nodes;
}

static unsigned model_named(const struct model *m, uint64_t instance)
{
    unsigned name = 0;
    while (name < NAMES && !(m->exists[name] && m->instance[name] == instance)) {
        name++;
    }
    return name;
}

/* In order of instances and handles. */
static void model_end(struct model *m, unsigned session, bool expired)
{
    for (uint64_t instance = 2; instance <= m->instances; instance++) {
        const unsigned name = model_named(m, instance);
        bool any = false;
        for (uint64_t handle = 0; handle < HANDLES && name < NAMES; handle++) {
            const int at = model_owned(m, session, name, handle);
            if (at >= 0) {
                any = true;
                if (!m->claim[at].held) {
                    model_settle(m, &m->claim[at], LEASE_NO_SESSION);
                }
                model_remove(m, (unsigned)at, expired);
            }
        }
        if (any) {
            model_serve(m, name);
            model_left(m, name);
        }
    }
    for (uint64_t instance = 2; instance <= m->instances; instance++) {
        const unsigned name = model_named(m, instance);
        for (uint64_t handle = 0; handle < HANDLES && name < NAMES; handle++) {
            const int at = model_opened(m, session, name, handle);
            if (at >= 0) {
                model_unopen(m, (unsigned)at);
                model_left(m, name);
            }
        }
    }
    m->session[session].live = false;
    m->live--;
}

static void model_stop_waiting(struct model *m, unsigned at, enum lease_rc rc)
{
    const unsigned name = m->claim[at].name;
    model_settle(m, &m->claim[at], rc);
    model_remove(m, at, false);
    model_serve(m, name);
    model_left(m, name);
}

#endif
