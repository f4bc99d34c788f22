/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c -- what we believe of a session, and how we keep it alive.
 *
 * The belief is one number: until when the local lease holds.  It counts from
 * when the KeepAlive that was answered was *sent*, and is shortened by the
 * assumed drift, while the cell counts the full lease from when it *answered*.
 * So whatever the network held back, and for how long: it is over here first
 * (Chubby, 2.8).
 *
 *     sent                answered
 *      |---------------------|
 *      |<---- (1 - drift) x lease ---->| here
 *                            |<------------- lease ------------->| at the cell
 *
 * Of the states of lockd.h, SAFE, LEASE_LOW and JEOPARDY follow from this number
 * and the time alone.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"

enum {
    LEASE_MS_DEFAULT = 12000,
    LEASE_MS_MIN = 1000,
    LEASE_MS_MAX = 60000,
    GRACE_MS_DEFAULT = 45000,
    KEEPALIVES_A_LEASE = 3,
    PATIENCE_OF_LEASE = 4, /* A KeepAlive not answered in lease / 4 condemns the endpoint. */
    REFUSED_OF_LEASE = 24, /* One that is refused is sent again after lease / 24. */
};

/* -------------------------------------------------------------------- state */

bool session_alive(const struct lockd_session *s)
{
    return s->state != LOCKD_EXPIRED && s->state != LOCKD_CLOSED;
}

static bool is_open(const struct lockd_session *s)
{
    return session_alive(s) && s->state != LOCKD_OPENING;
}

/* May its calls be sent?  Closing it is no use of the session. */
bool session_sends(const struct lockd_session *s)
{
    return s->state == LOCKD_SAFE || s->state == LOCKD_LEASE_LOW ||
           (s->state == LOCKD_JEOPARDY && s->closing != NULL);
}

static enum lockd_severity severity_of(enum lockd_state state)
{
    const bool is_bad =
        state == LOCKD_LEASE_LOW || state == LOCKD_JEOPARDY || state == LOCKD_EXPIRED;
    return is_bad ? LOCKD_WARNING : LOCKD_INFO;
}

static void set_state(struct lockd_session *s, enum lockd_state state)
{
    if (s->state != state) {
        s->state = state;
        LOG(s->engine, severity_of(state), "session ", s->id_text, ": ",
            lockd_state_text(state));
        event_state(s);
        lane_wake(s->engine, &s->lane);
    }
}

/* Half the lease has passed without an answer. */
static uint64_t low_ms(const struct lockd_session *s)
{
    return s->based_ms + (s->valid_ms - s->based_ms) / 2;
}

static uint64_t next_change_ms(const struct lockd_session *s)
{
    switch (s->state) {
    case LOCKD_SAFE:
        return low_ms(s);
    case LOCKD_LEASE_LOW:
        return s->valid_ms;
    case LOCKD_JEOPARDY:
        return s->valid_ms + s->grace_ms;
    case LOCKD_OPENING:
    case LOCKD_EXPIRED:
    case LOCKD_CLOSED:
        break;
    }
    return TIMER_NEVER;
}

static uint64_t keepalive_timer_ms(const struct lockd_session *s)
{
    switch (s->keepalive->place) {
    case CALL_IDLE:
        return s->keepalive_ms;
    case CALL_SENT:
        return s->keepalive->sent_ms + s->lease_ms / PATIENCE_OF_LEASE;
    case CALL_UNSENT:
    case CALL_PAUSED:
        break;
    }
    return TIMER_NEVER;
}

void session_set_timer(struct lockd_session *s)
{
    uint64_t at_ms = TIMER_NEVER;
    if (is_open(s)) {
        const uint64_t keepalive_ms = keepalive_timer_ms(s);
        at_ms = next_change_ms(s);
        at_ms = keepalive_ms < at_ms ? keepalive_ms : at_ms;
    }
    heap_set(&s->engine->heap, &s->timer, at_ms);
}

static void tick_keepalive(struct lockd_session *s, uint64_t now_ms)
{
    struct call *k = s->keepalive;
    if (keepalive_timer_ms(s) > now_ms) {
        return;
    }
    if (k->place == CALL_SENT) {
        link_leave(s->engine, now_ms, "a KeepAlive was not answered in time");
    } else {
        call_unsend(k, /* front= */ false);
    }
}

void session_tick(struct lockd_session *s, uint64_t now_ms)
{
    assert(is_open(s));
    if (s->state == LOCKD_SAFE && now_ms >= low_ms(s)) {
        set_state(s, LOCKD_LEASE_LOW);
    }
    if (s->state == LOCKD_LEASE_LOW && now_ms >= s->valid_ms) {
        set_state(s, LOCKD_JEOPARDY);
    }
    if (s->state == LOCKD_JEOPARDY && now_ms >= s->valid_ms + s->grace_ms) {
        session_end(s, now_ms, LOCKD_EXPIRED);
        return;
    }
    tick_keepalive(s, now_ms);
    session_set_timer(s);
}

/* -------------------------------------------------------------------- lease */

/* A cache's lease is the shorter one. */
static uint64_t keepalives_every_ms(const struct lockd_session *s)
{
    const uint64_t cache_ms = cache_lease_ms(s);
    return (cache_ms < s->lease_ms ? cache_ms : s->lease_ms) / KEEPALIVES_A_LEASE;
}

void session_keepalive_sooner(struct lockd_session *s, uint64_t sent_ms)
{
    const uint64_t at_ms = sent_ms + keepalives_every_ms(s);
    if (at_ms < s->keepalive_ms) {
        s->keepalive_ms = at_ms;
        session_set_timer(s);
    }
}

/* A request sent at `sent_ms` was answered with a lease. */
static void extend(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                   uint64_t lease_ms)
{
    const uint64_t from_ms = mutant(client_lease_from_receipt) ? now_ms : sent_ms;
    const uint64_t until_ms =
        from_ms + (mutant(client_lease_undrifted)
                       ? lease_ms
                       : lease_ms * (1000000 - s->engine->config.drift_ppm) / 1000000);
    s->lease_ms = lease_ms;
    s->keepalive_ms = sent_ms + keepalives_every_ms(s);
    if (until_ms > s->valid_ms) {
        s->based_ms = from_ms;
        s->valid_ms = until_ms;
    }
    if (s->valid_ms > now_ms) {
        set_state(s, now_ms >= low_ms(s) ? LOCKD_LEASE_LOW : LOCKD_SAFE);
    } else if (s->state == LOCKD_OPENING) {
        set_state(s, LOCKD_JEOPARDY);
    }
    session_set_timer(s);
}

static bool is_lease(uint64_t lease_ms)
{
    return lease_ms > 0 && lease_ms <= UINT32_MAX;
}

void session_opened(struct lockd_session *s, struct call *c, uint64_t now_ms,
                    const struct wire_reply *reply)
{
    assert(s->state == LOCKD_OPENING && s->opening == c);
    if (reply->secret.size != WIRE_SECRET || !is_lease(reply->lease_ms)) {
        call_garbled(c, now_ms, "the reply to session.open lacks a proper session");
        return;
    }
    s->id = reply->session;
    for (int i = WIRE_SESSION_ID - 1; i >= 0; i--) {
        s->id_text[i] = "0123456789abcdef"[s->id >> (4 * (WIRE_SESSION_ID - 1 - i)) & 15];
    }
    memcpy(s->secret, reply->secret.data, WIRE_SECRET);
    cache_session_opened(s, c->sent_ms, now_ms, reply->cache_ms);
    extend(s, c->sent_ms, now_ms, reply->lease_ms);
    call_end_with(c, now_ms, LOCKD_OK, reply);
}

void session_keepalive_answered(struct lockd_session *s, uint64_t now_ms,
                                const struct wire_reply *reply)
{
    if (reply->error == WIRE_OK && is_lease(reply->lease_ms)) {
        cache_renewed(s, s->keepalive->sent_ms, now_ms, reply->cache_ms);
        extend(s, s->keepalive->sent_ms, now_ms, reply->lease_ms);
    } else if (reply->error == WIRE_SESSION_EXPIRED && s->closing != NULL) {
        call_end(s->closing, now_ms, LOCKD_OK); /* It has ended, as was asked. */
    } else if (reply->error == WIRE_SESSION_EXPIRED || reply->error == WIRE_DENIED) {
        session_end(s, now_ms, LOCKD_EXPIRED);
    } else {
        const uint64_t pause_ms = s->lease_ms / REFUSED_OF_LEASE;
        s->keepalive_ms = now_ms + locate_chance(&s->engine->locate, pause_ms / 2, pause_ms);
        session_set_timer(s);
    }
}

/* ----------------------------------------------------------------- open, end */

static void init(struct lockd_session *s, struct engine *e,
                 const struct lockd_session_options *options)
{
    s->engine = e;
    s->state = LOCKD_OPENING;
    s->timer.kind = TIMER_SESSION;
    s->event.kind = EVENT_STATE;
    s->grace_ms = GRACE_MS_DEFAULT;
    if (options != NULL) {
        s->grace_ms = options->grace_ms > 0 ? options->grace_ms : GRACE_MS_DEFAULT;
        s->changed = options->changed;
        s->context = options->context;
    }
    lane_init(&s->lane, s);
    list_init(&s->at);
    list_init(&s->locks);
    list_init(&s->held);
    list_init(&s->handles);
    list_init(&s->opened);
    list_init(&s->event.at);
    list_init(&s->cache.at);
}

static struct wire_request open_request(const struct engine *e, uint32_t lease_ms, bool cache)
{
    return (struct wire_request){
        .method = WIRE_SESSION_OPEN,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .lease_ms = lease_ms,
        .label = {.data = e->label, .size = strlen(e->label)},
        .cache = cache,
    };
}

/* The calls that it needs as long as it lives; false: out of memory. */
static bool make_calls(struct lockd_session *s, uint32_t lease_ms, bool cache)
{
    const struct wire_request keepalive = {
        .method = WIRE_SESSION_KEEPALIVE, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    const struct wire_request opening = open_request(s->engine, lease_ms, cache);
    s->keepalive = call_new(s->engine, s, &keepalive, /* answer= */ NULL);
    s->opening = call_new(s->engine, s, &opening, /* answer= */ NULL);
    return s->keepalive != NULL && s->opening != NULL && (!cache || cache_init(s));
}

static struct lockd_session *session_new(struct engine *e, uint32_t lease_ms,
                                         const struct lockd_session_options *options,
                                         struct answer *answer)
{
    struct lockd_session *s = calloc(1, sizeof *s);
    if (s == NULL || !heap_reserve(&e->heap)) {
        free(s);
        return NULL;
    }
    init(s, e, options);
    if (!make_calls(s, lease_ms, options != NULL && options->cache)) {
        cache_free(s);
        call_free(s->opening);
        call_free(s->keepalive);
        heap_forget(&e->heap, &s->timer);
        acks_free(&s->acks);
        free(s);
        return NULL;
    }
    s->opening->answer = answer;
    list_push_back(&e->sessions, &s->at);
    e->sessions_count++;
    e->live_sessions++;
    return s;
}

enum lockd_rc engine_session_open(struct engine *e, uint64_t now_ms,
                                  const struct lockd_session_options *options, int timeout_ms,
                                  lockd_done *done, void *context,
                                  struct lockd_session **ret_session)
{
    const uint32_t asked_ms = options == NULL ? 0 : options->lease_ms;
    const uint32_t lease_ms = asked_ms == 0 ? (uint32_t)LEASE_MS_DEFAULT : asked_ms;
    if (ret_session == NULL || lease_ms < LEASE_MS_MIN || lease_ms > LEASE_MS_MAX) {
        return LOCKD_E_INVALID;
    }
    if (e->closed) {
        return LOCKD_E_CLOSED;
    }
    if (e->sessions_count >= ENGINE_SESSIONS_MAX) {
        return LOCKD_E_OVERLOADED;
    }
    struct answer *answer = answer_new(done, context);
    struct lockd_session *s = answer == NULL ? NULL : session_new(e, lease_ms, options, answer);
    if (s == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    call_begin(s->opening, deadline_after(now_ms, timeout_ms));
    *ret_session = s;
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

static void end_calls(struct list *calls, uint64_t now_ms, enum lockd_rc if_not_executed)
{
    while (!list_empty(calls)) {
        struct call *c = LIST_OF(calls->next, struct call, at);
        call_end(c, now_ms, call_given_up(c, if_not_executed));
    }
}

/* Those of its calls that certainly were not executed, and need not be. */
static void end_untried(struct list *calls, uint64_t now_ms)
{
    struct list *at = calls->next;
    while (at != calls) {
        struct call *c = LIST_OF(at, struct call, at);
        const bool ends = !c->unsure && c != c->session->closing;
        if (ends) {
            call_end(c, now_ms, LOCKD_E_CLOSED);
        }
        at = ends ? calls->next : at->next; /* Others may have ended with it. */
    }
}

void session_end(struct lockd_session *s, uint64_t now_ms, enum lockd_state state)
{
    assert(state == LOCKD_EXPIRED || state == LOCKD_CLOSED);
    if (!session_alive(s)) {
        return;
    }
    const enum lockd_rc rc = state == LOCKD_EXPIRED ? LOCKD_E_EXPIRED : LOCKD_E_CLOSED;
    s->engine->live_sessions--;
    s->valid_ms = 0;
    cache_ended(s);
    set_state(s, state);
    session_set_timer(s);
    call_detach(s->keepalive);
    if (s->opening != NULL) {
        call_end(s->opening, now_ms, call_given_up(s->opening, rc));
    }
    handles_end(s, now_ms, rc);
    end_calls(&s->lane.sent, now_ms, rc);
    end_calls(&s->lane.paused, now_ms, rc);
    end_calls(&s->lane.unsent, now_ms, rc); /* Last: the end of one can add another. */
}

/* Nothing is known at the cell that could be closed. */
static enum lockd_rc close_unopened(struct lockd_session *s, uint64_t now_ms,
                                    struct answer *answer)
{
    session_end(s, now_ms, LOCKD_CLOSED);
    answer->public.rc = LOCKD_OK;
    event_answer(s->engine, answer);
    engine_settle(s->engine, now_ms);
    return LOCKD_OK;
}

enum lockd_rc engine_session_close(struct lockd_session *session, uint64_t now_ms,
                                   int timeout_ms, lockd_done *done, void *context)
{
    struct lockd_session *s = session;
    if (!session_alive(s) || s->closing != NULL) {
        return s->state == LOCKD_EXPIRED ? LOCKD_E_EXPIRED : LOCKD_E_CLOSED;
    }
    struct answer *answer = answer_new(done, context);
    if (answer == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    if (s->state == LOCKD_OPENING) {
        return close_unopened(s, now_ms, answer);
    }
    const struct wire_request request = {
        .method = WIRE_SESSION_CLOSE, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    s->closing = call_new(s->engine, s, &request, answer);
    if (s->closing == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    end_untried(&s->lane.unsent, now_ms);
    end_untried(&s->lane.paused, now_ms);
    call_begin(s->closing, deadline_after(now_ms, timeout_ms));
    engine_settle(s->engine, now_ms);
    return LOCKD_OK;
}

void session_destroy(struct lockd_session *s, uint64_t now_ms)
{
    struct engine *e = s->engine;
    s->changed = NULL;
    session_end(s, now_ms, LOCKD_CLOSED);
    while (!list_empty(&s->locks)) {
        lock_destroy(LIST_OF(s->locks.next, struct lockd_lock, at));
    }
    while (!list_empty(&s->handles)) {
        handle_destroy(LIST_OF(s->handles.next, struct lockd_handle, at));
    }
    assert(list_empty(&s->lane.unsent) && list_empty(&s->lane.sent));
    cache_free(s);
    call_free(s->keepalive);
    assert(s->outstanding == 0);
    heap_forget(&e->heap, &s->timer);
    list_remove(&s->event.at);
    list_remove(&s->lane.runnable);
    list_remove(&s->at);
    acks_free(&s->acks);
    e->sessions_count--;
    free(s);
}

void engine_session_free(struct lockd_session *session, uint64_t now_ms)
{
    if (session != NULL) {
        struct engine *e = session->engine;
        session_destroy(session, now_ms);
        engine_settle(e, now_ms);
    }
}

/* ---------------------------------------------------------------- accessors */

struct engine *engine_of_session(const struct lockd_session *session)
{
    return session->engine;
}

enum lockd_state engine_session_state(const struct lockd_session *session)
{
    return session->state;
}

const char *engine_session_id(const struct lockd_session *session)
{
    return session->id_text;
}

uint64_t engine_session_valid_until_ms(const struct lockd_session *session)
{
    return session->closing == NULL ? session->valid_ms : 0;
}
