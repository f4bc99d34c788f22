/* SPDX-License-Identifier: Apache-2.0
 *
 * election.c -- campaign and proclaim.
 *
 * A campaign is an acquire whose call, once the lock is granted, goes on as the
 * write of the value, and only when that is done as a lock that is held:
 *
 *     ACQUIRE --granted--> PUT --done--> held
 *        |                  |
 *        | not granted      +--failed, cancelled, too late--> RELEASE
 *        v
 *      ended
 *
 * All three are requests of one session, so they take effect in this order, each
 * at most once, whatever happens to connections and masters in between; and the
 * release acknowledges the write, so a straggler of that is never executed behind
 * it.
 */
#include "libclient/engine_internal.h"

#include <string.h>

enum lockd_rc engine_campaign(struct lockd_session *session, uint64_t now_ms, const char *name,
                              const void *value, size_t size,
                              const struct lockd_lock_options *options, int timeout_ms,
                              lockd_done *done, void *context, struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o = {.size = sizeof o};
    if (options != NULL) {
        o = *options;
    }
    if ((value == NULL && size > 0) || o.mode == LOCKD_SHARED) {
        return LOCKD_E_INVALID; /* Many can share a lock, and one leads. */
    }
    if (!content_fits(size)) {
        return LOCKD_E_TOO_LARGE;
    }
    o.create = true;
    const struct acquiring how = {
        .name = name,
        .if_instance = WIRE_ANY,
        .options = &o,
        .campaigns = true,
        .value = {.data = size == 0 ? "" : value, .size = size},
    };
    return lock_acquire(session, now_ms, &how, timeout_ms, done, context, ret_lock);
}

/* The same call writes the value that it has carried. */
static void become_put(struct call *c, uint64_t now_ms)
{
    struct wire_request *r = &c->request;
    call_detach(c);
    call_acknowledge(c);
    *r = (struct wire_request){
        .method = WIRE_NODE_PUT,
        .name = r->name,
        .has_content = true,
        .content = r->content,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .handle = r->handle, /* Of the release that may follow. */
    };
    c->waits = c->unsure = false;
    if (c->deadline_ms < now_ms + ENGINE_CONFIRM_MS) {
        c->deadline_ms = now_ms + ENGINE_CONFIRM_MS; /* Not in vain, if it can be helped. */
    }
    call_unsend(c, /* front= */ false);
}

void election_granted(struct call *c, uint64_t now_ms)
{
    if (c->cancelling) {
        lock_give_back(c, c->cancelled_by_us ? LOCKD_E_CANCELLED : LOCKD_E_TIMEOUT);
    } else {
        become_put(c, now_ms);
    }
}

/* A proclaim that was refused, for a while, is sent again behind what was begun
 * since: behind a release it would be said in the name of the next leader.  The same
 * may come of one whose connection broke, for the refusal may have been lost with it,
 * and the release behind it been executed. */
bool election_too_late(const struct call *c)
{
    const struct wire_request *r = &c->request;
    if (r->method != WIRE_NODE_PUT || r->token == 0) {
        return false;
    }
    const struct lockd_lock *lock = engine_lock_next(c->session, NULL);
    while (lock != NULL && (lock->handle != r->handle || lock->token != r->token)) {
        lock = engine_lock_next(c->session, lock);
    }
    return lock == NULL;
}

enum lockd_rc engine_proclaim(struct lockd_lock *lock, uint64_t now_ms, const void *value,
                              size_t size, int timeout_ms, lockd_done *done, void *context)
{
    if (!engine_lock_held(lock)) {
        return LOCKD_E_NOT_HELD;
    }
    if (value == NULL && size > 0) {
        return LOCKD_E_INVALID;
    }
    const struct wire_request request = {
        .method = WIRE_NODE_PUT,
        .name = {.data = lock->name, .size = strlen(lock->name)},
        .has_content = true,
        .content = {.data = size == 0 ? "" : value, .size = size},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .handle = lock->handle, /* Not sent: what it speaks for. */
        .token = lock->token,
    };
    return engine_call(lock->session->engine, now_ms, lock->session, &request, timeout_ms, done,
                       context);
}
