/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.c -- acquire, cancel, release.
 *
 *             acquire            granted             release
 *     IDLE ------------> ACQUIRING ------> HELD -------------> RELEASING
 *      ^                     |              ^                      |
 *      +---- not granted ----+              +-- not executed ------+
 *      +---- released, unknown, or the session has ended ----------+
 *
 * An acquire that must not be granted any more, because its wait is over, its
 * caller cancelled it or freed the lock, is followed by a lock.cancel under a
 * request id of its own.  The cancellation decides nothing by itself: what
 * happened is what the cell remembers of the acquire, so the acquire is repeated,
 * behind the cancellation, until that is heard.  If it says "granted" and nobody wants the lock
 * any more, the call goes on as the release of what it got.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"

enum {
    SEQUENCER_EXTRA = 160, /* The cell may print a longer form of the name. */
};

/* -------------------------------------------------------------------- locks */

static bool usable(const struct lockd_session *s)
{
    return session_alive(s) && s->closing == NULL;
}

enum lockd_rc check_usable(const struct lockd_session *s)
{
    if (usable(s)) {
        return LOCKD_OK;
    }
    return s->state == LOCKD_EXPIRED ? LOCKD_E_EXPIRED : LOCKD_E_CLOSED;
}

static struct lockd_lock *lock_new(struct lockd_session *s, const char *name,
                                   enum wire_mode mode)
{
    const size_t name_size = strlen(name) + 1;
    const size_t sequencer_size = name_size + SEQUENCER_EXTRA;
    struct lockd_lock *lock = calloc(1, sizeof *lock + name_size + sequencer_size);
    if (lock == NULL) {
        return NULL;
    }
    memcpy(lock->name, name, name_size);
    lock->sequencer = lock->name + name_size;
    lock->sequencer_size = sequencer_size;
    lock->session = s;
    lock->mode = mode;
    lock->state = LOCK_IDLE;
    lock->handle = ++s->last_handle;
    list_init(&lock->at);
    list_init(&lock->held_at);
    list_push_back(&s->locks, &lock->at);
    return lock;
}

/* No event names it, and no call returns to it. */
void lock_destroy(struct lockd_lock *lock)
{
    if (lock->told != NULL) {
        lock->told->public.lock = NULL;
        lock->told->public.rc = LOCKD_E_CLOSED;
    }
    if (lock->call != NULL) {
        lock->call->lock = NULL;
    }
    list_remove(&lock->held_at);
    list_remove(&lock->at);
    free(lock);
}

static void not_held(struct lockd_lock *lock)
{
    lock->state = LOCK_IDLE;
    lock->call = NULL;
    if (session_alive(lock->session)) {
        list_remove(&lock->held_at);
    }
}

/* ------------------------------------------------------------------ acquire */

static struct wire_request acquire_request(const struct lockd_lock *lock,
                                           const struct acquiring *how, int timeout_ms)
{
    const struct lockd_lock_options *o = how->options;
    return (struct wire_request){
        .method = WIRE_LOCK_ACQUIRE,
        .name = {.data = lock->name, .size = strlen(lock->name)},
        .content = how->value, /* Carried, not sent. */
        .if_generation = WIRE_ANY,
        .if_instance = how->if_instance,
        .mode = lock->mode,
        .wait_ms = timeout_ms < 0 ? WIRE_FOR_EVER : (uint64_t)timeout_ms,
        .create = o != NULL && o->create,
        .delay_ms = o != NULL ? o->delay_ms : 0,
        .handle = lock->handle,
    };
}

static enum lockd_rc begin_acquire(struct lockd_lock *lock, uint64_t now_ms,
                                   const struct acquiring *how, int timeout_ms,
                                   lockd_done *done, void *context)
{
    struct engine *e = lock->session->engine;
    struct answer *answer = answer_new(done, context);
    const struct wire_request request = acquire_request(lock, how, timeout_ms);
    struct call *c = answer == NULL ? NULL : call_new(e, lock->session, &request, answer);
    if (c == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    c->lock = lock;
    c->waits = timeout_ms != 0;
    lock->call = c;
    lock->state = LOCK_ACQUIRING;
    call_begin(c, deadline_after(now_ms, timeout_ms == 0 ? ENGINE_TRY_MS : timeout_ms));
    return LOCKD_OK;
}

static enum lockd_rc check_acquire(const struct lockd_session *s, const struct acquiring *how)
{
    const struct lockd_lock_options *o = how->options;
    if (how->name == NULL || (o != NULL && o->delay_ms > WIRE_DELAY_MS_MAX) ||
        (o != NULL && o->mode != 0 && o->mode != LOCKD_EXCLUSIVE && o->mode != LOCKD_SHARED)) {
        return LOCKD_E_INVALID;
    }
    const enum lockd_rc rc = check_name(how->name);
    return rc == LOCKD_OK ? check_usable(s) : rc;
}

enum lockd_rc lock_acquire(struct lockd_session *session, uint64_t now_ms,
                           const struct acquiring *how, int timeout_ms, lockd_done *done,
                           void *context, struct lockd_lock **ret_lock)
{
    const bool is_shared = how->options != NULL && how->options->mode == LOCKD_SHARED;
    enum lockd_rc rc =
        done == NULL && ret_lock == NULL ? LOCKD_E_INVALID : check_acquire(session, how);
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct lockd_lock *lock =
        lock_new(session, how->name, is_shared ? WIRE_SHARED : WIRE_EXCLUSIVE);
    if (lock == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    lock->campaigns = how->campaigns;
    rc = begin_acquire(lock, now_ms, how, timeout_ms, done, context);
    if (rc != LOCKD_OK) {
        lock_destroy(lock);
        return rc;
    }
    if (ret_lock != NULL) {
        lock->taken = true;
        *ret_lock = lock;
    }
    engine_settle(session->engine, now_ms);
    return LOCKD_OK;
}

enum lockd_rc engine_acquire(struct lockd_session *session, uint64_t now_ms, const char *name,
                             const struct lockd_lock_options *options, int timeout_ms,
                             lockd_done *done, void *context, struct lockd_lock **ret_lock)
{
    const struct acquiring how = {.name = name, .if_instance = WIRE_ANY, .options = options};
    return lock_acquire(session, now_ms, &how, timeout_ms, done, context, ret_lock);
}

static bool take_sequencer(struct lockd_lock *lock, const struct wire_reply *reply)
{
    if (reply->token == 0 || reply->sequencer.size >= lock->sequencer_size) {
        return false;
    }
    memcpy(lock->sequencer, reply->sequencer.data, reply->sequencer.size);
    lock->sequencer[reply->sequencer.size] = 0;
    lock->token = reply->token;
    return true;
}

/* What was granted is not wanted: the same call goes on as its release. */
static void become_release(struct call *c, uint64_t token)
{
    struct wire_request *r = &c->request;
    call_detach(c);
    call_acknowledge(c);
    if (c->partner != NULL) {
        c->partner->partner = NULL;
        c->partner = NULL;
    }
    *r = (struct wire_request){
        .method = WIRE_LOCK_RELEASE,
        .name = r->name,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .handle = r->handle,
        .token = token,
    };
    c->waits = c->cancelling = c->cancelled_by_us = c->unsure = false;
    c->deadline_ms = TIMER_NEVER;
    call_unsend(c, /* front= */ false);
}

void lock_acquired(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_lock *lock = c->lock;
    if (mutant(unwanted_grant_kept) && lock == NULL) {
        call_end(c, now_ms, LOCKD_OK);
        return;
    }
    if (lock == NULL) {
        become_release(c, reply->token);
        return;
    }
    if (!take_sequencer(lock, reply)) {
        call_garbled(c, now_ms, "the reply to lock.acquire lacks a proper token or sequencer");
        return;
    }
    if (lock->campaigns) {
        election_granted(c, now_ms);
    } else {
        lock_hold(c, now_ms, reply);
    }
}

void lock_hold(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_lock *lock = c->lock;
    lock->state = LOCK_HELD;
    lock->call = NULL;
    lock->taken = true;
    list_push_back(&lock->session->held, &lock->held_at);
    c->lock = NULL;
    c->answer->public.lock = lock;
    lock->told = answer_fill(c->answer, LOCKD_OK, reply);
    c->answer = lock->told;
    call_end(c, now_ms, LOCKD_OK);
}

void lock_not_acquired(struct call *c)
{
    struct lockd_lock *lock = c->lock;
    c->lock = NULL;
    if (lock != NULL) {
        not_held(lock);
        if (!lock->taken) {
            lock_destroy(lock);
        }
    }
}

void lock_give_back(struct call *c, enum lockd_rc rc)
{
    const uint64_t token = c->lock->token;
    lock_not_acquired(c);
    call_tell(c, rc);
    become_release(c, token);
}

/* ------------------------------------------------------------------- cancel */

/* Its outcome is awaited; the cancellation makes it come soon. */
static void begin_cancel(struct call *c, uint64_t now_ms)
{
    const struct wire_request request = {
        .method = WIRE_LOCK_CANCEL,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .cancel = c->request.request,
    };
    c->cancelling = true;
    c->deadline_ms = c->answer != NULL ? now_ms + ENGINE_CONFIRM_MS : TIMER_NEVER;
    call_set_timer(c);
    /* Short of memory: whatever the cell grants is released then. */
    c->partner = call_new(c->engine, c->session, &request, NULL);
    if (c->partner != NULL) {
        c->partner->partner = c;
        if (c->place != CALL_SENT) {
            call_unsend(c, /* front= */ true); /* Which holds it back. */
        }
        call_begin(c->partner, TIMER_NEVER);
    }
}

enum lockd_rc engine_acquire_cancel(struct lockd_lock *lock, uint64_t now_ms)
{
    struct call *c = lock->call;
    if (lock->state != LOCK_ACQUIRING) {
        return LOCKD_E_NOT_HELD;
    }
    struct engine *e = c->engine;
    c->cancelled_by_us = true;
    if (c->request.method == WIRE_NODE_PUT) {
        lock_give_back(c, LOCKD_E_CANCELLED);
    } else if (!call_tried(c)) {
        call_end(c, now_ms, LOCKD_E_CANCELLED);
    } else if (!c->cancelling) {
        begin_cancel(c, now_ms);
    }
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

/* The caller is told, and the call goes on alone. */
static void go_on_alone(struct call *c, enum lockd_rc rc)
{
    struct lockd_lock *lock = c->lock;
    c->lock = NULL;
    if (lock != NULL) {
        not_held(lock);
        if (!lock->taken) {
            lock_destroy(lock);
        }
    }
    c->deadline_ms = TIMER_NEVER;
    call_set_timer(c);
    call_tell(c, rc);
}

static void acquire_deadline(struct call *c, uint64_t now_ms)
{
    if (!call_tried(c)) {
        call_end(c, now_ms, LOCKD_E_UNAVAILABLE);
    } else if (mutant(timeout_uncancelled)) {
        call_end(c, now_ms, LOCKD_E_TIMEOUT);
    } else if (!c->cancelling) {
        begin_cancel(c, now_ms);
    } else {
        go_on_alone(c, LOCKD_E_UNKNOWN);
    }
}

void lock_deadline(struct call *c, uint64_t now_ms)
{
    if (c->request.method == WIRE_LOCK_ACQUIRE) {
        acquire_deadline(c, now_ms);
        return;
    }
    const enum lockd_rc rc = call_given_up(c, LOCKD_E_UNAVAILABLE);
    if (c->request.method == WIRE_NODE_PUT) {
        lock_give_back(c, rc);
    } else if (rc == LOCKD_E_UNKNOWN || c->lock == NULL) {
        go_on_alone(c, rc);
    } else {
        call_end(c, now_ms, rc);
    }
}

/* ------------------------------------------------------------------ release */

/* NULL: out of memory. */
static struct call *release_call(struct lockd_lock *lock, struct answer *answer)
{
    const struct wire_request request = {
        .method = WIRE_LOCK_RELEASE,
        .name = {.data = lock->name, .size = strlen(lock->name)},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .handle = lock->handle,
        .token = lock->token,
    };
    return call_new(lock->session->engine, lock->session, &request, answer);
}

enum lockd_rc engine_release(struct lockd_lock *lock, uint64_t now_ms, int timeout_ms,
                             lockd_done *done, void *context)
{
    if (!engine_lock_held(lock)) {
        return LOCKD_E_NOT_HELD;
    }
    struct answer *answer = answer_new(done, context);
    struct call *c = answer == NULL ? NULL : release_call(lock, answer);
    if (c == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    c->lock = lock;
    lock->call = c;
    lock->state = LOCK_RELEASING;
    list_remove(&lock->held_at);
    call_begin(c, deadline_after(now_ms, timeout_ms));
    engine_settle(c->engine, now_ms);
    return LOCKD_OK;
}

/* Was it decided that the lock stays? */
static bool stays_held(const struct lockd_lock *lock, enum lockd_rc rc)
{
    return usable(lock->session) && rc != LOCKD_OK && rc != LOCKD_E_UNKNOWN &&
           rc != LOCKD_E_NOT_HELD && rc != LOCKD_E_NO_NODE && rc != LOCKD_E_STALE;
}

void lock_released(struct call *c, enum lockd_rc rc)
{
    struct lockd_lock *lock = c->lock;
    c->lock = NULL;
    if (lock != NULL) {
        not_held(lock);
        if (stays_held(lock, rc)) {
            lock->state = LOCK_HELD;
            list_push_back(&lock->session->held, &lock->held_at);
        }
    }
}

/* The caller lets go of the lock while its acquire is under way. */
static void abandon_acquire(struct call *c, uint64_t now_ms)
{
    const uint64_t token = c->lock->token;
    c->lock->call = NULL;
    c->lock = NULL;
    if (c->request.method == WIRE_NODE_PUT) {
        call_tell(c, call_given_up(c, LOCKD_E_CLOSED));
        become_release(c, token);
        return;
    }
    if (!call_tried(c)) {
        call_end(c, now_ms, LOCKD_E_CLOSED);
        return;
    }
    call_tell(c, LOCKD_E_UNKNOWN);
    if (!c->cancelling) {
        begin_cancel(c, now_ms);
    }
    c->deadline_ms = TIMER_NEVER;
    call_set_timer(c);
}

void engine_lock_free(struct lockd_lock *lock, uint64_t now_ms)
{
    if (lock == NULL) {
        return;
    }
    struct engine *e = lock->session->engine;
    if (lock->state == LOCK_ACQUIRING) {
        abandon_acquire(lock->call, now_ms);
    } else if (engine_lock_held(lock)) {
        struct call *c = release_call(lock, NULL);
        if (c == NULL) {
            /* It stays held, and the struct stays, until the session ends. */
            list_remove(&lock->held_at);
            return;
        }
        call_begin(c, TIMER_NEVER);
    }
    lock_destroy(lock);
    engine_settle(e, now_ms);
}

/* ---------------------------------------------------------------- accessors */

struct engine *engine_of_lock(const struct lockd_lock *lock)
{
    return lock->session->engine;
}

const char *engine_lock_name(const struct lockd_lock *lock)
{
    return lock->name;
}

bool engine_lock_held(const struct lockd_lock *lock)
{
    return lock->state == LOCK_HELD && usable(lock->session);
}

uint64_t engine_lock_token(const struct lockd_lock *lock)
{
    return engine_lock_held(lock) ? lock->token : 0;
}

const char *engine_lock_sequencer(const struct lockd_lock *lock)
{
    return engine_lock_held(lock) ? lock->sequencer : "";
}

uint64_t engine_lock_valid_until_ms(const struct lockd_lock *lock)
{
    return engine_lock_held(lock) ? engine_session_valid_until_ms(lock->session) : 0;
}

struct lockd_lock *engine_lock_next(const struct lockd_session *session,
                                    const struct lockd_lock *lock)
{
    const struct list *next = lock == NULL ? session->held.next : lock->held_at.next;
    const bool walking = lock == NULL || list_linked(&lock->held_at);
    return !walking || next == &session->held ? NULL
                                              : LIST_OF(next, struct lockd_lock, held_at);
}
