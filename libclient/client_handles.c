/* SPDX-License-Identifier: Apache-2.0
 *
 * client_handles.c -- handles and elections of lockd.h: thin covers of the engine's,
 * each in two forms.
 */
#include "libclient/client.h"

static struct lockd_client *client_of_handle(const struct lockd_handle *handle)
{
    return engine_owner(engine_of_handle(handle));
}

/* ------------------------------------------------------------- open and close */

enum lockd_rc lockd_open_async(struct lockd_session *session, const char *name,
                               const struct lockd_open_options *options, int timeout_ms,
                               lockd_done *done, void *context,
                               struct lockd_handle **ret_handle)
{
    struct lockd_open_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const enum lockd_rc rc =
        engine_open(session, driver_now_ms(), name, &o, timeout_ms, done, context, ret_handle);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_open(struct lockd_session *session, const char *name,
                         const struct lockd_open_options *options, int timeout_ms,
                         struct lockd_handle **ret_handle)
{
    struct lockd_open_options o;
    struct lockd_handle *handle = NULL;
    struct waiter w;
    if (ret_handle == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client_of_session(session));
    if (rc != LOCKD_OK) {
        return rc;
    }
    rc = engine_open(session, driver_now_ms(), name, &o, timeout_ms, waiter_done, &w, &handle);
    rc = waiter_outcome(&w, rc);
    if (rc == LOCKD_OK) {
        *ret_handle = handle;
    } else if (handle != NULL && waiter_may_free(&w)) {
        engine_handle_free(handle, driver_now_ms());
    }
    waiter_leave(&w);
    return rc;
}

enum lockd_rc lockd_close_async(struct lockd_handle *handle, int timeout_ms, lockd_done *done,
                                void *context)
{
    struct lockd_client *client = client_of_handle(handle);
    client_enter(client);
    const enum lockd_rc rc =
        engine_close_handle(handle, driver_now_ms(), timeout_ms, done, context);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_close(struct lockd_handle *handle, int timeout_ms)
{
    struct waiter w;
    enum lockd_rc rc = waiter_begin(&w, client_of_handle(handle));
    if (rc == LOCKD_OK) {
        rc = engine_close_handle(handle, driver_now_ms(), timeout_ms, waiter_done, &w);
        rc = waiter_end(&w, rc, NULL);
    }
    return rc;
}

void lockd_handle_free(struct lockd_handle *handle)
{
    if (handle != NULL) {
        struct lockd_client *client = client_of_handle(handle);
        client_enter(client);
        engine_handle_free(handle, driver_now_ms());
        client_leave(client);
    }
}

const char *lockd_handle_name(const struct lockd_handle *handle)
{
    return engine_handle_name(handle); /* Never changes. */
}

uint64_t lockd_handle_instance(const struct lockd_handle *handle)
{
    struct lockd_client *client = client_of_handle(handle);
    client_enter(client);
    const uint64_t instance = engine_handle_instance(handle);
    client_unlock(client);
    return instance;
}

struct lockd_handle *lockd_handle_next(const struct lockd_session *session,
                                       const struct lockd_handle *handle)
{
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    struct lockd_handle *next = engine_handle_next(session, handle);
    client_unlock(client);
    return next;
}

/* ---------------------------------------------------------------------- use */

static enum lockd_rc begin(struct lockd_handle *handle, const struct wire_request *request,
                           int timeout_ms, lockd_done *done, void *context)
{
    struct lockd_client *client = client_of_handle(handle);
    client_enter(client);
    const enum lockd_rc rc =
        engine_handle_call(handle, driver_now_ms(), request, timeout_ms, done, context);
    client_leave(client);
    return rc;
}

static enum lockd_rc complete(struct lockd_handle *handle, const struct wire_request *request,
                              int timeout_ms, struct lockd_answer **ret_answer)
{
    struct waiter w;
    enum lockd_rc rc = waiter_begin(&w, client_of_handle(handle));
    if (rc == LOCKD_OK) {
        rc = engine_handle_call(handle, driver_now_ms(), request, timeout_ms, waiter_done, &w);
        rc = waiter_end(&w, rc, ret_answer);
    }
    return rc;
}

/* Of the handle's session, if any is to keep what it brings. */
static enum lockd_rc read_options(struct lockd_handle *handle,
                                  const struct lockd_read_options *options,
                                  struct wire_request *request,
                                  struct lockd_session **ret_session)
{
    const enum lockd_rc rc =
        client_read_options(client_of_handle(handle), options, request, ret_session);
    const bool others =
        rc == LOCKD_OK && *ret_session != NULL && *ret_session != engine_handle_session(handle);
    return others ? LOCKD_E_INVALID : rc;
}

static enum lockd_rc begin_read(struct lockd_handle *handle, enum wire_method method,
                                const struct lockd_read_options *options, int timeout_ms,
                                lockd_done *done, void *context)
{
    struct wire_request r = client_request(method, /* name= */ NULL);
    struct lockd_session *session = NULL;
    const enum lockd_rc rc = read_options(handle, options, &r, &session);
    return rc != LOCKD_OK ? rc : begin(handle, &r, timeout_ms, done, context);
}

static enum lockd_rc complete_read(struct lockd_handle *handle, enum wire_method method,
                                   const struct lockd_read_options *options, int timeout_ms,
                                   struct lockd_answer **ret_answer)
{
    struct wire_request r = client_request(method, lockd_handle_name(handle));
    struct lockd_session *session = NULL;
    enum lockd_rc rc = read_options(handle, options, &r, &session);
    if (rc != LOCKD_OK) {
        return rc;
    }
    r.if_instance = session != NULL ? lockd_handle_instance(handle) : WIRE_ANY;
    if (client_cached(session, &r, &rc, ret_answer)) {
        return rc;
    }
    return complete(handle, &r, timeout_ms, ret_answer);
}

enum lockd_rc lockd_handle_get_async(struct lockd_handle *handle,
                                     const struct lockd_read_options *options, int timeout_ms,
                                     lockd_done *done, void *context)
{
    return begin_read(handle, WIRE_NODE_GET, options, timeout_ms, done, context);
}

enum lockd_rc lockd_handle_get(struct lockd_handle *handle,
                               const struct lockd_read_options *options, int timeout_ms,
                               struct lockd_answer **ret_answer)
{
    return complete_read(handle, WIRE_NODE_GET, options, timeout_ms, ret_answer);
}

enum lockd_rc lockd_handle_stat_async(struct lockd_handle *handle,
                                      const struct lockd_read_options *options, int timeout_ms,
                                      lockd_done *done, void *context)
{
    return begin_read(handle, WIRE_NODE_STAT, options, timeout_ms, done, context);
}

enum lockd_rc lockd_handle_stat(struct lockd_handle *handle,
                                const struct lockd_read_options *options, int timeout_ms,
                                struct lockd_answer **ret_answer)
{
    return complete_read(handle, WIRE_NODE_STAT, options, timeout_ms, ret_answer);
}

enum lockd_rc lockd_handle_put_async(struct lockd_handle *handle, const void *content,
                                     size_t size, uint64_t if_generation, int timeout_ms,
                                     lockd_done *done, void *context)
{
    const struct wire_request r =
        client_put_request(/* name= */ NULL, content, size, if_generation);
    return begin(handle, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_handle_put(struct lockd_handle *handle, const void *content, size_t size,
                               uint64_t if_generation, int timeout_ms,
                               struct lockd_answer **ret_answer)
{
    const struct wire_request r =
        client_put_request(/* name= */ NULL, content, size, if_generation);
    return complete(handle, &r, timeout_ms, ret_answer);
}

enum lockd_rc lockd_handle_delete_async(struct lockd_handle *handle, int timeout_ms,
                                        lockd_done *done, void *context)
{
    const struct wire_request r = client_request(WIRE_NODE_DELETE, /* name= */ NULL);
    return begin(handle, &r, timeout_ms, done, context);
}

enum lockd_rc lockd_handle_delete(struct lockd_handle *handle, int timeout_ms,
                                  struct lockd_answer **ret_answer)
{
    const struct wire_request r = client_request(WIRE_NODE_DELETE, /* name= */ NULL);
    return complete(handle, &r, timeout_ms, ret_answer);
}

enum lockd_rc lockd_handle_acquire_async(struct lockd_handle *handle,
                                         const struct lockd_lock_options *options,
                                         int timeout_ms, lockd_done *done, void *context,
                                         struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    struct lockd_client *client = client_of_handle(handle);
    client_enter(client);
    const enum lockd_rc rc =
        engine_handle_acquire(handle, driver_now_ms(), &o, timeout_ms, done, context, ret_lock);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_handle_acquire(struct lockd_handle *handle,
                                   const struct lockd_lock_options *options, int timeout_ms,
                                   struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    struct waiter w;
    if (ret_lock == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client_of_handle(handle));
    if (rc == LOCKD_OK) {
        rc = engine_handle_acquire(handle, driver_now_ms(), &o, timeout_ms, waiter_done, &w,
                                   NULL);
        rc = waiter_end_with_lock(&w, rc, ret_lock);
    }
    return rc;
}

/* --------------------------------------------------------------- elections */

enum lockd_rc lockd_campaign_async(struct lockd_session *session, const char *name,
                                   const void *value, size_t size,
                                   const struct lockd_lock_options *options, int timeout_ms,
                                   lockd_done *done, void *context,
                                   struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    const enum lockd_rc rc = engine_campaign(session, driver_now_ms(), name, value, size, &o,
                                             timeout_ms, done, context, ret_lock);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_campaign(struct lockd_session *session, const char *name, const void *value,
                             size_t size, const struct lockd_lock_options *options,
                             int timeout_ms, struct lockd_lock **ret_lock)
{
    struct lockd_lock_options o;
    struct waiter w;
    if (ret_lock == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client_of_session(session));
    if (rc == LOCKD_OK) {
        rc = engine_campaign(session, driver_now_ms(), name, value, size, &o, timeout_ms,
                             waiter_done, &w, NULL);
        rc = waiter_end_with_lock(&w, rc, ret_lock);
    }
    return rc;
}

enum lockd_rc lockd_proclaim_async(struct lockd_lock *lock, const void *value, size_t size,
                                   int timeout_ms, lockd_done *done, void *context)
{
    struct lockd_client *client = client_of_lock(lock);
    client_enter(client);
    const enum lockd_rc rc =
        engine_proclaim(lock, driver_now_ms(), value, size, timeout_ms, done, context);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_proclaim(struct lockd_lock *lock, const void *value, size_t size,
                             int timeout_ms)
{
    struct waiter w;
    enum lockd_rc rc = waiter_begin(&w, client_of_lock(lock));
    if (rc == LOCKD_OK) {
        rc = engine_proclaim(lock, driver_now_ms(), value, size, timeout_ms, waiter_done, &w);
        rc = waiter_end(&w, rc, NULL);
    }
    return rc;
}

enum lockd_rc lockd_resign_async(struct lockd_lock *lock, int timeout_ms, lockd_done *done,
                                 void *context)
{
    return lockd_release_async(lock, timeout_ms, done, context);
}

enum lockd_rc lockd_resign(struct lockd_lock *lock, int timeout_ms)
{
    return lockd_release(lock, timeout_ms);
}
