/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_support.h -- an engine between a virtual clock and a scripted cell.
 *
 * The test is the driver and the server at once: it sees each request as a struct
 * and says what comes back, when, or never.
 */
#ifndef TEST_CLIENT_SUPPORT_H
#define TEST_CLIENT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/engine.h"

#define CREDENTIAL_SECRET "0123456789abcdef0123456789abcdef"
#define SESSION_ID UINT64_C(0x5f00000000000001)

enum { LEASE_MS = 12000, STATES_MAX = 32 };

struct world {
    struct engine *engine;
    uint64_t now_ms;
    uint64_t link;           /* That is connected; 0: none. */
    struct wire_buffer sent; /* By the client, ... */
    size_t taken;            /* ... and looked at. */
    struct wire_memory memory;
    enum lockd_state states[STATES_MAX];
    size_t states_count;
    uint64_t sessions_opened;
};

/* What became of a call. */
struct outcome {
    int times;
    enum lockd_rc rc;
    uint64_t slot;
    uint64_t revision;
    struct lockd_lock *lock;
    char detail[WIRE_DETAIL_MAX];
    char content[64];
};

static inline void done(void *context, const struct lockd_answer *answer)
{
    struct outcome *o = context;
    o->times++;
    o->rc = answer->rc;
    o->slot = answer->slot;
    o->revision = answer->revision;
    o->lock = answer->lock;
    snprintf(o->detail, sizeof o->detail, "%s", answer->detail);
    if (answer->content != NULL) {
        snprintf(o->content, sizeof o->content, "%s", (const char *)answer->content);
    }
}

static inline void changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct world *w = context;
    (void)session;
    assert_true(w->states_count < STATES_MAX);
    w->states[w->states_count++] = state;
}

/* ---------------------------------------------------------------- the driver */

static inline void deliver(struct world *w)
{
    struct engine_event event;
    while (engine_event(w->engine, &event)) {
        if (event.changed != NULL) {
            event.changed(event.context, event.session, event.state);
        }
        if (event.done != NULL) {
            event.done(event.context, event.answer);
        }
        if (event.told != NULL) {
            event.told(event.context, event.watch, event.happened);
        }
        if (event.observed != NULL) {
            event.observed(event.context, event.observer, event.leader);
        }
        if (event.logged != NULL) {
            event.logged(event.context, event.severity, event.text);
        }
        lockd_answer_free(event.answer);
        lockd_event_free(event.happened);
        lockd_leader_free(event.leader);
    }
    engine_check(w->engine);
}

/* Takes what the engine would send, and tells what has happened. */
static inline void flush(struct world *w)
{
    deliver(w);
    if (w->link != 0 && engine_wish(w->engine)->link != w->link) {
        w->link = 0; /* The driver closes it. */
    }
    while (w->link != 0 && engine_wish(w->engine)->output.size > 0) {
        const struct wire_text output = engine_wish(w->engine)->output;
        wire_append(&w->sent, output.data, output.size);
        engine_sent(w->engine, w->now_ms, w->link, output.size);
        deliver(w);
    }
}

static inline void pass(struct world *w, uint64_t ms)
{
    const uint64_t until_ms = w->now_ms + ms;
    for (;;) {
        const uint64_t wake_ms = engine_wish(w->engine)->wake_at_ms;
        if (wake_ms > until_ms) {
            break;
        }
        w->now_ms = wake_ms > w->now_ms ? wake_ms : w->now_ms;
        engine_tick(w->engine, w->now_ms);
        flush(w);
        assert_true(engine_wish(w->engine)->wake_at_ms > w->now_ms);
    }
    w->now_ms = until_ms;
    engine_tick(w->engine, w->now_ms);
    flush(w);
}

/* What was sent before over other connections is gone. */
static inline void connect_link(struct world *w)
{
    flush(w);
    assert_int_not_equal(engine_wish(w->engine)->link, 0);
    assert_int_not_equal(engine_wish(w->engine)->link, w->link);
    w->link = engine_wish(w->engine)->link;
    w->sent.size = w->taken = 0;
    engine_connected(w->engine, w->now_ms, w->link);
    flush(w);
}

static inline void lose_link(struct world *w)
{
    const uint64_t link = w->link;
    w->link = 0;
    engine_lost(w->engine, w->now_ms, link, "Connection reset by peer");
    flush(w);
}

static inline void refuse_link(struct world *w)
{
    flush(w);
    assert_int_equal(w->link, 0);
    engine_lost(w->engine, w->now_ms, engine_wish(w->engine)->link, "Connection refused");
    flush(w);
}

/* Connection attempts end in nothing until `until_ms`. */
static inline void nobody_there(struct world *w, uint64_t until_ms)
{
    while (w->now_ms < until_ms) {
        if (engine_wish(w->engine)->link != 0) {
            refuse_link(w);
        }
        const uint64_t wake_ms = engine_wish(w->engine)->wake_at_ms;
        pass(w, (wake_ms < until_ms ? wake_ms : until_ms) - w->now_ms);
    }
}

/* ---------------------------------------------------------------- the server */

/* The next request that the client sent, valid until the one after it. */
static inline bool next_request(struct world *w, struct wire_request *ret_request)
{
    flush(w);
    const char *from = w->sent.data + w->taken;
    const char *newline =
        w->sent.size == w->taken ? NULL : memchr(from, '\n', w->sent.size - w->taken);
    if (newline == NULL) {
        return false;
    }
    struct wire_refusal refusal;
    const struct wire_text line = {.data = from, .size = (size_t)(newline - from)};
    w->taken += line.size + 1;
    if (!wire_parse_request(&w->memory, line, ret_request, &refusal)) {
        fail_msg("%.*s: %s", (int)line.size, line.data, refusal.detail);
    }
    return true;
}

static inline struct wire_request expect(struct world *w, enum wire_method method)
{
    struct wire_request r;
    if (!next_request(w, &r)) {
        fail_msg("no request; %s was expected", wire_method_name(method));
    }
    assert_string_equal(wire_method_name(r.method), wire_method_name(method));
    return r;
}

static inline void expect_nothing(struct world *w)
{
    struct wire_request r;
    if (next_request(w, &r)) {
        fail_msg("%s was not expected", wire_method_name(r.method));
    }
}

static inline void reply(struct world *w, const struct wire_request *to, struct wire_reply r)
{
    struct wire_buffer b = {.data = NULL};
    r.id = to->id;
    r.method = to->method;
    wire_print_reply(&b, &r);
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    flush(w);
}

static inline void reply_error(struct world *w, const struct wire_request *to,
                               enum wire_error error)
{
    reply(w, to, (struct wire_reply){.error = error});
}

static inline void reply_status(struct world *w, const struct wire_request *to, bool serving,
                                const char *master, uint64_t epoch)
{
    const struct wire_text zero = {.data = "0000000000000000", .size = 16};
    const struct wire_status status = {
        .version = {.data = "1", .size = 1},
        .cell = {.data = "test", .size = 4},
        .cell_id = zero,
        .replica = 1,
        .role = {.data = "master", .size = 6},
        .serving = serving,
        .master = master == NULL ? 0 : 2,
        .master_address = {.data = master, .size = master == NULL ? 0 : strlen(master)},
        .epoch = epoch,
        .digest = zero,
    };
    reply(w, to, (struct wire_reply){.status = &status});
}

/* Says something without being asked. */
static inline void notify(struct world *w, const struct wire_notification *n)
{
    struct wire_buffer b = {.data = NULL};
    if (n->notice == WIRE_WATCH_EVENT) {
        wire_print_event_head(&b, n->watch);
        wire_print_event_tail(&b, &n->event);
    } else {
        wire_print_notification(&b, n);
    }
    engine_received(w->engine, w->now_ms, w->link, b.data, b.size);
    wire_buffer_free(&b);
    flush(w);
}

static inline void notify_event(struct world *w, uint64_t watch, struct wire_event event)
{
    event.name = event.name.data != NULL || event.change == WIRE_GAP
                     ? event.name
                     : (struct wire_text){.data = "/ls/local/f", .size = 11};
    event.kind = event.change == WIRE_GAP ? WIRE_KIND_NONE : WIRE_FILE;
    const struct wire_notification n = {
        .notice = WIRE_WATCH_EVENT, .watch = watch, .event = event};
    notify(w, &n);
}

static inline void notify_progress(struct world *w, uint64_t revision)
{
    const struct wire_notification n = {.notice = WIRE_WATCH_PROGRESS, .revision = revision};
    notify(w, &n);
}

/* A result of whatever was asked for, at `slot`. */
static inline void reply_ok_at(struct world *w, const struct wire_request *to, uint64_t slot)
{
    struct wire_reply r = {
        .has_position = true, .epoch = 65537, .revision = slot, .slot = slot, .position = 1};
    char sequencer[128];
    const bool is_shared = to->mode == WIRE_SHARED;
    switch (to->method) {
    case WIRE_SESSION_OPEN:
        r.session = SESSION_ID + w->sessions_opened++;
        r.secret = (struct wire_text){.data = CREDENTIAL_SECRET, .size = WIRE_SECRET};
        r.lease_ms = to->lease_ms;
        break;
    case WIRE_SESSION_KEEPALIVE:
        r.lease_ms = LEASE_MS;
        break;
    case WIRE_LOCK_ACQUIRE:
        r.token = 100 + slot;
        snprintf(sequencer, sizeof sequencer, "%.*s:%s:%llu", (int)to->name.size, to->name.data,
                 is_shared ? "shared" : "exclusive", (unsigned long long)r.token);
        r.sequencer = (struct wire_text){.data = sequencer, .size = strlen(sequencer)};
        break;
    case WIRE_NODE_GET:
        r.has_content = true;
        r.content = (struct wire_text){.data = "hello", .size = 5};
        r.stat.kind = WIRE_FILE;
        r.has_stat = true;
        break;
    case WIRE_NODE_OPEN:
    case WIRE_NODE_PUT:
    case WIRE_NODE_CREATE:
    case WIRE_NODE_STAT:
        r.stat = (struct wire_stat){.kind = WIRE_FILE, .instance = 7};
        r.stat.ephemeral = to->method == WIRE_NODE_OPEN && to->ephemeral;
        r.has_stat = true;
        break;
    case WIRE_LOCK_CHECK:
        r.valid = true;
        break;
    case WIRE_NODE_GET_ACL:
        r.has_acl = true;
        r.acl[1] = (struct wire_text){.data = "admins", .size = 6};
        break;
    case WIRE_NO_METHOD:
    case WIRE_NODE_LIST:
    case WIRE_NODE_DELETE:
    case WIRE_SESSION_CLOSE:
    case WIRE_LOCK_RELEASE:
    case WIRE_LOCK_CANCEL:
    case WIRE_LOCK_LIST:
    case WIRE_CELL_STATUS:
    case WIRE_NODE_CLOSE:
    case WIRE_WATCH_ADD:
    case WIRE_WATCH_REMOVE:
    case WIRE_NODE_SET_ACL:
    case WIRE_CACHE_BEGIN:
    case WIRE_CACHE_ACK:
        break;
    }
    reply(w, to, r);
}

static inline void reply_ok(struct world *w, const struct wire_request *to)
{
    reply_ok_at(w, to, 10);
}

/* ------------------------------------------------------------------ prologues */

static inline struct world *world_new(const char *endpoints)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->now_ms = 1000000;
    const struct engine_config config = {.endpoints = endpoints,
                                         .label = "test",
                                         .drift_ppm = 10000,
                                         .connect_ms = 1000,
                                         .seed = 7,
                                         .owner = w};
    assert_int_equal(engine_new(&config, &w->engine), LOCKD_OK);
    return w;
}

static inline void world_free(struct world *w)
{
    engine_free(w->engine);
    wire_buffer_free(&w->sent);
    wire_memory_free(&w->memory);
    free(w);
}

/* Connects and says "master". */
static inline void become_ready(struct world *w)
{
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, /* serving= */ true, NULL, 65537);
}

/* After a connection was lost: when the engine has paused enough. */
static inline void become_ready_again(struct world *w)
{
    while (engine_wish(w->engine)->link == 0) {
        pass(w, 10);
    }
    become_ready(w);
}

static inline struct lockd_session *begin_session(struct world *w, struct outcome *o)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = LEASE_MS, .changed = changed, .context = w};
    struct lockd_session *session = NULL;
    assert_int_equal(
        engine_session_open(w->engine, w->now_ms, &options, 5000, done, o, &session), LOCKD_OK);
    flush(w);
    return session;
}

/* A session that is SAFE, its lease counting from now. */
static inline struct lockd_session *open_session(struct world *w)
{
    struct outcome o = {.times = 0};
    struct lockd_session *session = begin_session(w, &o);
    if (w->link == 0) {
        become_ready(w);
    }
    const struct wire_request r = expect(w, WIRE_SESSION_OPEN);
    reply_ok(w, &r);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(engine_session_state(session), LOCKD_SAFE);
    return session;
}

static inline void put(struct world *w, struct lockd_session *session, struct outcome *o)
{
    const struct wire_request r = {.method = WIRE_NODE_PUT,
                                   .name = {.data = "/ls/local/f", .size = 11},
                                   .has_content = true,
                                   .content = {.data = "x", .size = 1},
                                   .if_generation = WIRE_ANY,
                                   .if_instance = WIRE_ANY};
    assert_int_equal(engine_call(w->engine, w->now_ms, session, &r, 5000, done, o), LOCKD_OK);
    flush(w);
}

static inline struct lockd_lock *acquire(struct world *w, struct lockd_session *session,
                                         int timeout_ms, struct outcome *o)
{
    struct lockd_lock *lock = NULL;
    assert_int_equal(
        engine_acquire(session, w->now_ms, "/ls/local/l", NULL, timeout_ms, done, o, &lock),
        LOCKD_OK);
    flush(w);
    return lock;
}

static inline struct lockd_lock *hold(struct world *w, struct lockd_session *session)
{
    struct outcome o = {.times = 0};
    struct lockd_lock *lock = acquire(w, session, 1000, &o);
    const struct wire_request r = expect(w, WIRE_LOCK_ACQUIRE);
    reply_ok(w, &r);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_true(engine_lock_held(lock));
    return lock;
}

#endif
