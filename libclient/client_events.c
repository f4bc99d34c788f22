/* SPDX-License-Identifier: Apache-2.0
 *
 * client_events.c -- watches and observers of lockd.h: thin covers of the engine's.
 */
#include "libclient/client.h"

static struct lockd_client *client_of_watch(const struct lockd_watch *watch)
{
    return engine_owner(engine_of_watch(watch));
}

static struct lockd_client *client_of_observer(const struct lockd_observer *observer)
{
    return engine_owner(engine_of_observer(observer));
}

/* ------------------------------------------------------------------- watches */

enum lockd_rc lockd_watch_async(struct lockd_client *client, const char *name,
                                const struct lockd_watch_options *options, int timeout_ms,
                                lockd_done *done, void *context, struct lockd_watch **ret_watch)
{
    struct lockd_watch_options o;
    if (!client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    client_enter(client);
    const enum lockd_rc rc = engine_watch(client->engine, driver_now_ms(), name, &o, timeout_ms,
                                          done, context, ret_watch);
    client_leave(client);
    return rc;
}

enum lockd_rc lockd_watch(struct lockd_client *client, const char *name,
                          const struct lockd_watch_options *options, int timeout_ms,
                          struct lockd_watch **ret_watch)
{
    struct lockd_watch_options o;
    struct lockd_watch *watch = NULL;
    struct waiter w;
    if (ret_watch == NULL || !client_options(&o, sizeof o, options)) {
        return LOCKD_E_INVALID;
    }
    enum lockd_rc rc = waiter_begin(&w, client);
    if (rc != LOCKD_OK) {
        return rc;
    }
    rc = engine_watch(client->engine, driver_now_ms(), name, &o, timeout_ms, waiter_done, &w,
                      &watch);
    rc = waiter_outcome(&w, rc);
    if (rc == LOCKD_OK) {
        *ret_watch = watch;
    } else if (watch != NULL && waiter_may_free(&w)) {
        engine_watch_free(watch, driver_now_ms());
    }
    waiter_leave(&w);
    return rc;
}

struct awaited_event {
    struct lockd_watch *watch;
    struct lockd_event *event;
};

static bool take_event(void *context)
{
    struct awaited_event *a = context;
    if (a->event == NULL) {
        a->event = engine_watch_next(a->watch, driver_now_ms());
    }
    return a->event != NULL;
}

enum lockd_rc lockd_watch_next(struct lockd_watch *watch, int timeout_ms,
                               struct lockd_event **ret_event)
{
    struct awaited_event a = {.watch = watch};
    if (ret_event == NULL) {
        return LOCKD_E_INVALID;
    }
    const enum lockd_rc rc = client_await(client_of_watch(watch), timeout_ms, take_event, &a);
    if (rc == LOCKD_OK) {
        *ret_event = a.event;
    }
    return rc;
}

void lockd_watch_free(struct lockd_watch *watch)
{
    if (watch != NULL) {
        struct lockd_client *client = client_of_watch(watch);
        client_enter(client);
        client_await_quiet(client);
        engine_watch_free(watch, driver_now_ms());
        client_leave(client);
    }
}

const char *lockd_watch_name(const struct lockd_watch *watch)
{
    return engine_watch_name(watch); /* Never changes. */
}

uint64_t lockd_watch_revision(const struct lockd_watch *watch)
{
    struct lockd_client *client = client_of_watch(watch);
    client_enter(client);
    const uint64_t revision = engine_watch_revision(watch);
    client_unlock(client);
    return revision;
}

bool lockd_watch_current(const struct lockd_watch *watch)
{
    struct lockd_client *client = client_of_watch(watch);
    client_enter(client);
    const bool current = engine_watch_current(watch);
    client_unlock(client);
    return current;
}

struct lockd_watch *lockd_watch_after(const struct lockd_client *client,
                                      const struct lockd_watch *watch)
{
    struct lockd_client *own = engine_owner(client->engine);
    client_enter(own);
    struct lockd_watch *after = engine_watch_after(own->engine, watch);
    client_unlock(own);
    return after;
}

/* ----------------------------------------------------------------- observers */

enum lockd_rc lockd_observe(struct lockd_client *client, const char *name,
                            lockd_observed *observed, void *context,
                            struct lockd_observer **ret_observer)
{
    client_enter(client);
    const enum lockd_rc rc =
        engine_observe(client->engine, driver_now_ms(), name, observed, context, ret_observer);
    client_leave(client);
    return rc;
}

struct awaited_leader {
    struct lockd_observer *observer;
    struct lockd_leader *leader;
};

static bool take_leader(void *context)
{
    struct awaited_leader *a = context;
    if (a->leader == NULL) {
        a->leader = engine_observer_next(a->observer, driver_now_ms());
    }
    return a->leader != NULL;
}

enum lockd_rc lockd_observer_next(struct lockd_observer *observer, int timeout_ms,
                                  struct lockd_leader **ret_leader)
{
    struct awaited_leader a = {.observer = observer};
    if (ret_leader == NULL) {
        return LOCKD_E_INVALID;
    }
    const enum lockd_rc rc =
        client_await(client_of_observer(observer), timeout_ms, take_leader, &a);
    if (rc == LOCKD_OK) {
        *ret_leader = a.leader;
    }
    return rc;
}

void lockd_observer_free(struct lockd_observer *observer)
{
    if (observer != NULL) {
        struct lockd_client *client = client_of_observer(observer);
        client_enter(client);
        client_await_quiet(client);
        engine_observer_free(observer, driver_now_ms());
        client_leave(client);
    }
}
