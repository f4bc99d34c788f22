/* SPDX-License-Identifier: Apache-2.0
 *
 * client_calls.c -- the functions of lockd.h that ask something of the cell: thin
 * covers of the engine's, each in two forms.
 */
#include "libclient/client.h"

#include <string.h>

/* For how long from now; 0: not any more. */
static uint64_t left_ms(uint64_t until_ms)
{
    const uint64_t now_ms = driver_now_ms();
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

/* ---------------------------------------------------------------- sessions */

enum lockd_rc lockd_session_open_async(struct lockd_client *client,
                                       const struct lockd_session_options *options,
                                       int timeout_ms, lockd_done *done, void *context,
                                       struct lockd_session **ret_session)
{
    struct lockd_session_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    client_enter(client);
    const enum lockd_rc rc = engine_session_open(client->engine, driver_now_ms(), &o,
                                                 timeout_ms, done, context, ret_session);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_session_open(struct lockd_client *client,
                                 const struct lockd_session_options *options, int timeout_ms,
                                 struct lockd_session **ret_session)
{
    struct lockd_session_options o;
    struct lockd_session *session = NULL;
    struct waiter w;
    if (ret_session == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client);
    if (rc != LOCKD_OK) {
        return rc;
    }
    rc = engine_session_open(client->engine, driver_now_ms(), &o, timeout_ms, waiter_done, &w,
                             &session);
    rc = waiter_outcome(&w, rc);
    if (rc == LOCKD_OK) {
        *ret_session = session;
    } else if (session != NULL && waiter_may_free(&w)) {
        engine_session_free(session, driver_now_ms());
    }
    waiter_leave(&w);
    return rc;
}

enum lockd_rc lockd_session_close_async(struct lockd_session *session, int timeout_ms,
                                        lockd_done *done, void *context)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const enum lockd_rc rc =
        engine_session_close(session, driver_now_ms(), timeout_ms, done, context);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_session_close(struct lockd_session *session, int timeout_ms)
{
    struct waiter w;
    enum lockd_rc rc = waiter_begin(&w, client_of_session(session));
    if (rc == LOCKD_OK) {
        rc = engine_session_close(session, driver_now_ms(), timeout_ms, waiter_done, &w);
        rc = waiter_end(&w, rc, NULL);
    }
    return rc;
}

void lockd_session_free(struct lockd_session *session)
{
    if (session != NULL) {
        struct lockd_client *client = client_of_session(session);
        client_enter(client);
        client_await_quiet(client);
        engine_session_free(session, driver_now_ms());
        client_leave(client);
    }
}

enum lockd_state lockd_session_state(const struct lockd_session *session)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const enum lockd_state state = engine_session_state(session);
    client_unlock(client);
    return state;
}

uint64_t lockd_session_valid_for_ms(const struct lockd_session *session)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const uint64_t left = left_ms(engine_session_valid_until_ms(session));
    client_unlock(client);
    return left;
}

const char *lockd_session_id(const struct lockd_session *session)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const char *id = engine_session_id(session);
    client_unlock(client);
    return id;
}

/* ------------------------------------------------------------------- locks */

enum lockd_rc lockd_acquire_async(struct lockd_session *session, const char *name,
                                  const struct lockd_lock_options *options, int timeout_ms,
                                  lockd_done *done, void *context, struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const enum lockd_rc rc =
        engine_acquire(session, driver_now_ms(), name, &o, timeout_ms, done, context, ret_lock);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_acquire(struct lockd_session *session, const char *name,
                            const struct lockd_lock_options *options, int timeout_ms,
                            struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    struct waiter w;
    if (ret_lock == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client_of_session(session));
    if (rc == LOCKD_OK) {
        rc = engine_acquire(session, driver_now_ms(), name, &o, timeout_ms, waiter_done, &w,
                            NULL);
        rc = waiter_end_with_lock(&w, rc, ret_lock);
    }
    return rc;
}

enum lockd_rc lockd_acquire_cancel(struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const enum lockd_rc rc = engine_acquire_cancel(lock, driver_now_ms());
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_release_async(struct lockd_lock *lock, int timeout_ms, lockd_done *done,
                                  void *context)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const enum lockd_rc rc = engine_release(lock, driver_now_ms(), timeout_ms, done, context);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_release(struct lockd_lock *lock, int timeout_ms)
{
    struct waiter w;
    enum lockd_rc rc = waiter_begin(&w, client_of_lock(lock));
    if (rc == LOCKD_OK) {
        rc = engine_release(lock, driver_now_ms(), timeout_ms, waiter_done, &w);
        rc = waiter_end(&w, rc, NULL);
    }
    return rc;
}

void lockd_lock_free(struct lockd_lock *lock)
{
    if (lock != NULL) {
        struct lockd_client *client = client_of_lock(lock);
        client_enter(client);
        engine_lock_free(lock, driver_now_ms());
        client_leave(client);
    }
}

const char *lockd_lock_name(const struct lockd_lock *lock)
{
    return engine_lock_name(lock); /* Never changes. */
}

bool lockd_lock_held(const struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const bool held = engine_lock_held(lock);
    client_unlock(client);
    return held;
}

uint64_t lockd_lock_token(const struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const uint64_t token = engine_lock_token(lock);
    client_unlock(client);
    return token;
}

const char *lockd_lock_sequencer(const struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const char *sequencer = engine_lock_sequencer(lock);
    client_unlock(client);
    return sequencer;
}

uint64_t lockd_lock_valid_for_ms(const struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const uint64_t left = left_ms(engine_lock_valid_until_ms(lock));
    client_unlock(client);
    return left;
}

struct lockd_lock *lockd_lock_next(const struct lockd_session *session,
                                   const struct lockd_lock *lock)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    struct lockd_lock *next = engine_lock_next(session, lock);
    client_unlock(client);
    return next;
}

void lockd_client_trouble(const struct lockd_client *client, char *text, size_t size)
{
    struct lockd_client *own = engine_owner(client->engine);
    client_enter(own);
    const char *trouble = engine_trouble(own->engine);
    const size_t length = strlen(trouble);
    if (size > 0) {
        const size_t kept = length < size ? length : size - 1;
        memcpy(text, trouble, kept);
        text[kept] = 0;
    }
    client_unlock(own);
}

/* ------------------------------------------------------------------- files */

struct wire_text client_text(const char *text)
{
    return (struct wire_text){.data = text, .size = text == NULL ? 0 : strlen(text)};
}

struct wire_request client_request(enum wire_method method, const char *name)
{
    return (struct wire_request){.method = method,
                                 .name = client_text(name),
                                 .if_generation = WIRE_ANY,
                                 .if_instance = WIRE_ANY};
}

enum lockd_rc client_begin(struct lockd_client *client, struct lockd_session *session,
                           const struct wire_request *request, int timeout_ms, lockd_done *done,
                           void *context)
{
    if (session != NULL && client_of_session(session) != client) {
        return LOCKD_E_INVALID;
    }
    client_enter(client);
    const enum lockd_rc rc = engine_call(client->engine, driver_now_ms(), session, request,
                                         timeout_ms, done, context);
    client_leave(client);
    return rc;
}

enum lockd_rc client_complete(struct lockd_client *client, struct lockd_session *session,
                              const struct wire_request *request, int timeout_ms,
                              struct lockd_answer **ret_answer)
{
    struct waiter w;
    if (session != NULL && client_of_session(session) != client) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client);
    if (rc == LOCKD_OK) {
        rc = engine_call(client->engine, driver_now_ms(), session, request, timeout_ms,
                         waiter_done, &w);
        rc = waiter_end(&w, rc, ret_answer);
    }
    return rc;
}

struct wire_request client_put_request(const char *name, const void *content, size_t size,
                                       uint64_t if_generation)
{
    struct wire_request r = client_request(WIRE_NODE_PUT, name);
    r.has_content = true;
    r.content = (struct wire_text){.data = content, .size = size};
    r.if_generation = if_generation;
    return r;
}

enum lockd_rc lockd_put_async(struct lockd_client *client, struct lockd_session *session,
                              const char *name, const void *content, size_t size,
                              uint64_t if_generation, int timeout_ms, lockd_done *done,
                              void *context)
{
    const struct wire_request r = client_put_request(name, content, size, if_generation);
    return client_begin(client, session, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_put(struct lockd_client *client, struct lockd_session *session,
                        const char *name, const void *content, size_t size,
                        uint64_t if_generation, int timeout_ms,
                        struct lockd_answer **ret_answer)
{
    const struct wire_request r = client_put_request(name, content, size, if_generation);
    return client_complete(client, session, &r, timeout_ms, ret_answer);
}

static struct wire_request create_request(const char *name, enum lockd_kind kind)
{
    struct wire_request r = client_request(WIRE_NODE_CREATE, name);
    r.kind = kind == LOCKD_DIRECTORY ? WIRE_DIRECTORY : WIRE_FILE;
    return r;
}

enum lockd_rc lockd_create_async(struct lockd_client *client, struct lockd_session *session,
                                 const char *name, enum lockd_kind kind, int timeout_ms,
                                 lockd_done *done, void *context)
{
    const struct wire_request r = create_request(name, kind);
    return client_begin(client, session, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_create(struct lockd_client *client, struct lockd_session *session,
                           const char *name, enum lockd_kind kind, int timeout_ms,
                           struct lockd_answer **ret_answer)
{
    const struct wire_request r = create_request(name, kind);
    return client_complete(client, session, &r, timeout_ms, ret_answer);
}

static struct wire_request delete_request(const char *name, uint64_t if_generation)
{
    struct wire_request r = client_request(WIRE_NODE_DELETE, name);
    r.if_generation = if_generation;
    return r;
}

enum lockd_rc lockd_delete_async(struct lockd_client *client, struct lockd_session *session,
                                 const char *name, uint64_t if_generation, int timeout_ms,
                                 lockd_done *done, void *context)
{
    const struct wire_request r = delete_request(name, if_generation);
    return client_begin(client, session, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_delete(struct lockd_client *client, struct lockd_session *session,
                           const char *name, uint64_t if_generation, int timeout_ms,
                           struct lockd_answer **ret_answer)
{
    const struct wire_request r = delete_request(name, if_generation);
    return client_complete(client, session, &r, timeout_ms, ret_answer);
}

/* -------------------------------------------------------------------- access */

/* False: there is nothing to set. */
static bool acl_request(const char *name, const struct lockd_acl *acl, uint64_t if_generation,
                        struct wire_request *ret_request)
{
    *ret_request = client_request(WIRE_NODE_SET_ACL, name);
    ret_request->if_generation = if_generation;
    if (acl == NULL) {
        return false;
    }
    ret_request->acl[0] = client_text(acl->read);
    ret_request->acl[1] = client_text(acl->write);
    ret_request->acl[2] = client_text(acl->change);
    return true;
}

enum lockd_rc lockd_set_acl_async(struct lockd_client *client, struct lockd_session *session,
                                  const char *name, const struct lockd_acl *acl,
                                  uint64_t if_generation, int timeout_ms, lockd_done *done,
                                  void *context)
{
    struct wire_request r;
    return acl_request(name, acl, if_generation, &r)
               ? client_begin(client, session, &r, timeout_ms, done, context)
               : LOCKD_E_INVALID;
}

enum lockd_rc lockd_set_acl(struct lockd_client *client, struct lockd_session *session,
                            const char *name, const struct lockd_acl *acl,
                            uint64_t if_generation, int timeout_ms,
                            struct lockd_answer **ret_answer)
{
    struct wire_request r;
    return acl_request(name, acl, if_generation, &r)
               ? client_complete(client, session, &r, timeout_ms, ret_answer)
               : LOCKD_E_INVALID;
}

/* ------------------------------------------------------------ locks, from outside */

/* The next page begins behind an instance, or behind so many claims. */
static struct wire_request locks_request(const char *name, uint64_t next)
{
    struct wire_request r = client_request(WIRE_LOCK_LIST, name);
    if (name == NULL) {
        r.after_instance = next;
    } else {
        r.skip = next < UINT32_MAX ? (uint32_t)next : UINT32_MAX;
    }
    return r;
}

enum lockd_rc lockd_locks_async(struct lockd_client *client, const char *name, uint64_t next,
                                int timeout_ms, lockd_done *done, void *context)
{
    const struct wire_request r = locks_request(name, next);
    return client_begin(client, NULL, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_locks(struct lockd_client *client, const char *name, uint64_t next,
                          int timeout_ms, struct lockd_answer **ret_answer)
{
    const struct wire_request r = locks_request(name, next);
    return client_complete(client, NULL, &r, timeout_ms, ret_answer);
}

/* False: it is no sequencer. */
static bool check_request(const char *sequencer, struct wire_request *ret_request)
{
    *ret_request = client_request(WIRE_LOCK_CHECK, NULL);
    return sequencer != NULL && wire_parse_sequencer(client_text(sequencer), &ret_request->name,
                                                     &ret_request->mode, &ret_request->token);
}

enum lockd_rc lockd_check_async(struct lockd_client *client, const char *sequencer,
                                int timeout_ms, lockd_done *done, void *context)
{
    struct wire_request r;
    return check_request(sequencer, &r)
               ? client_begin(client, NULL, &r, timeout_ms, done, context)
               : LOCKD_E_INVALID;
}

enum lockd_rc lockd_check(struct lockd_client *client, const char *sequencer, int timeout_ms,
                          bool *ret_valid)
{
    struct wire_request r;
    struct lockd_answer *answer = NULL;
    if (ret_valid == NULL || !check_request(sequencer, &r)) {
        return LOCKD_E_INVALID;
    }
    const enum lockd_rc rc = client_complete(client, NULL, &r, timeout_ms, &answer);
    if (rc == LOCKD_OK) {
        *ret_valid = answer->valid;
    }
    lockd_answer_free(answer);
    return rc;
}
