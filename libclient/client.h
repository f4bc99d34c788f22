/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h -- a client: an engine, what drives it, and who may touch them when.
 *
 * The mutex guards everything.  It is never held while a callback runs: events
 * are taken one at a time, and their callbacks called in between.  The thread
 * that does so is *the client's thread*: our own, or whoever calls
 * lockd_process().
 */
#ifndef LIBCLIENT_CLIENT_H
#define LIBCLIENT_CLIENT_H

#include <pthread.h>

#include "libclient/driver.h"
#include "libclient/engine.h"

struct lockd_client {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* `calling` or `waiters` has fallen. */
    pthread_cond_t turned;  /* Something may have come for who waits in client_await(). */
    struct engine *engine;
    struct driver driver;
    pthread_t thread;
    bool threaded;
    bool processing;   /* In lockd_process(), or in a turn of our thread. */
    bool calling;      /* A callback runs. */
    bool freeing;      /* lockd_client_free() was called, ... */
    bool freed_inside; /* ... within a callback. */
    uint32_t waiters;  /* Synchronous calls under way. */
};

/* Locks the client for a call of the engine; the matching leave makes true what
 * the call wished for. */
void client_enter(struct lockd_client *client);
void client_leave(struct lockd_client *client);

/* Is the caller the client's thread, within a callback or its turn? */
bool client_is_inside(const struct lockd_client *client);

/* Until no callback runs, unless it is the caller's own.  Entered. */
void client_await_quiet(struct lockd_client *client);

/* For accessors: nothing is wished for. */
static inline void client_unlock(struct lockd_client *client)
{
    pthread_mutex_unlock(&client->mutex);
}

static inline struct lockd_client *client_of_session(const struct lockd_session *session)
{
    return engine_owner(engine_of_session(session));
}

static inline struct lockd_client *client_of_lock(const struct lockd_lock *lock)
{
    return engine_owner(engine_of_lock(lock));
}

/* Options begin with their size.  Those of an older caller are shorter; what it
 * doesn't know is zero.  False: they are none. */
bool client_options(void *ret_options, size_t size, const void *given);

/* A synchronous call, on the stack of its caller:
 *
 *     struct waiter w;
 *     enum lockd_rc rc = waiter_begin(&w, client);      enters
 *     if (rc == LOCKD_OK) {
 *         rc = engine_...(..., waiter_done, &w);
 *         rc = waiter_end(&w, rc, ret_answer);          waits and leaves
 *     }
 */
struct waiter {
    struct lockd_client *client;
    pthread_cond_t answered;
    struct lockd_answer *answer;
};

enum lockd_rc waiter_begin(struct waiter *w, struct lockd_client *client);
enum lockd_rc waiter_end(struct waiter *w, enum lockd_rc rc, struct lockd_answer **ret_answer);

/* The same, of a call that brings a lock. */
enum lockd_rc waiter_end_with_lock(struct waiter *w, enum lockd_rc rc,
                                   struct lockd_lock **ret_lock);

/* Waits, and stays entered; for who has something to keep or to free before leaving.
 * False of waiter_may_free(): the client is being freed, and that with it. */
enum lockd_rc waiter_outcome(struct waiter *w, enum lockd_rc rc);
bool waiter_may_free(struct waiter *w);
void waiter_leave(struct waiter *w);

struct wire_text client_text(const char *text); /* Takes NULL. */

/* What a call asks, of which only this much is set. */
struct wire_request client_request(enum wire_method method, const char *name);
struct wire_request client_put_request(const char *name, const void *content, size_t size,
                                       uint64_t if_generation);

/* A call of the engine's, on behalf of a session or NULL, in the two forms. */
enum lockd_rc client_begin(struct lockd_client *client, struct lockd_session *session,
                           const struct wire_request *request, int timeout_ms, lockd_done *done,
                           void *context);
enum lockd_rc client_complete(struct lockd_client *client, struct lockd_session *session,
                              const struct wire_request *request, int timeout_ms,
                              struct lockd_answer **ret_answer);

/* Puts what the options of a read say into its request; the session, or NULL, is the
 * one that keeps what it brings. */
enum lockd_rc client_read_options(struct lockd_client *client,
                                  const struct lockd_read_options *options,
                                  struct wire_request *request,
                                  struct lockd_session **ret_session);

/* Answers such a read from what the session, which may be NULL, keeps.  False: it
 * can't. */
bool client_cached(struct lockd_session *session, const struct wire_request *request,
                   enum lockd_rc *ret_rc, struct lockd_answer **ret_answer);

/* Waits until `ready` does something, `timeout_ms` have passed, or the client is
 * freed; on another thread than the client's, unless the timeout is 0.  Not
 * entered. */
enum lockd_rc client_await(struct lockd_client *client, int timeout_ms,
                           bool (*ready)(void *context), void *context);

/* Only its address means something: the answer passes to the waiter. */
void waiter_done(void *context, const struct lockd_answer *answer);

#endif
