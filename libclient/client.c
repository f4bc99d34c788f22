/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c -- the life of a client, and the two ways to drive it.
 *
 * Both are one: driver_turn(), then the callbacks of what it brought.  Our own
 * thread does that whenever the epoll descriptor is readable; by hand, the
 * caller's loop does.
 */
#include "libclient/client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    DRIFT_PPM_DEFAULT = 10000,
    CONNECT_MS_DEFAULT = 1000,
    CALLBACKS_MS = 20, /* Of one turn: then what is due, KeepAlives above all, comes first. */
};

/* ---------------------------------------------------------------------- new */

bool client_options(void *ret_options, size_t size, const void *given)
{
    size_t given_size = size;
    memset(ret_options, 0, size);
    if (given != NULL) {
        memcpy(&given_size, given, sizeof given_size);
        memcpy(ret_options, given, given_size < size ? given_size : size);
    }
    memcpy(ret_options, &size, sizeof size);
    return given_size >= sizeof given_size;
}

/* With the defaults for what is not given. */
static struct lockd_client_options complete(const struct lockd_client_options *given)
{
    struct lockd_client_options o;
    (void)client_options(&o, sizeof o, given);
    o.endpoints = o.endpoints != NULL ? o.endpoints : "127.0.0.1:7400";
    o.drift_ppm = o.drift_ppm != 0 ? o.drift_ppm : (uint32_t)DRIFT_PPM_DEFAULT;
    o.connect_ms = o.connect_ms != 0 ? o.connect_ms : (uint32_t)CONNECT_MS_DEFAULT;
    return o;
}

static void default_label(char *label, size_t size)
{
    char host[65] = "?";
    (void)gethostname(host, sizeof host - 1); /* Cut or unknown: it is a label. */
    snprintf(label, size, "%s@%s:%ld", program_invocation_short_name, host, (long)getpid());
}

static uint64_t chance(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        seed = driver_now_ms() << 20 ^ (uint64_t)getpid(); /* Jitter need not be good. */
    }
    return seed;
}

static enum lockd_rc engine_of_options(const struct lockd_client_options *o,
                                       struct lockd_client *client)
{
    char label[WIRE_LABEL_MAX + 1];
    default_label(label, sizeof label);
    const struct engine_config config = {
        .endpoints = o->endpoints,
        .label = o->label != NULL ? o->label : label,
        .drift_ppm = o->drift_ppm,
        .connect_ms = o->connect_ms,
        .seed = chance(),
        .log = o->log,
        .log_context = o->log_context,
        .owner = client,
    };
    return engine_new(&config, &client->engine);
}

static void init_turned(struct lockd_client *client)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->turned, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum lockd_rc lockd_client_new(const struct lockd_client_options *options,
                               struct lockd_client **ret_client)
{
    if (ret_client == NULL || (options != NULL && options->size < sizeof options->size)) {
        return LOCKD_E_INVALID;
    }
    const struct lockd_client_options o = complete(options);
    struct lockd_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    enum lockd_rc rc = engine_of_options(&o, client);
    if (rc == LOCKD_OK) {
        rc = driver_init(&client->driver);
    }
    if (rc != LOCKD_OK) {
        const int error = errno;
        engine_free(client->engine);
        free(client);
        errno = error;
        return rc;
    }
    pthread_mutex_init(&client->mutex, NULL);
    pthread_cond_init(&client->changed, NULL);
    init_turned(client);
    *ret_client = client;
    return LOCKD_OK;
}

static void destroy(struct lockd_client *client)
{
    driver_free(&client->driver, /* forked= */ false);
    engine_free(client->engine);
    pthread_cond_destroy(&client->changed);
    pthread_cond_destroy(&client->turned);
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

void lockd_client_abandon(struct lockd_client *client)
{
    if (client != NULL) {
        /* The mutex may have been held when the process forked; it is left alone. */
        driver_free(&client->driver, /* forked= */ true);
        engine_free(client->engine);
        free(client);
    }
}

/* ------------------------------------------------------------------ entering */

bool client_is_inside(const struct lockd_client *client)
{
    return client->threaded ? pthread_equal(pthread_self(), client->thread) != 0
                            : client->processing;
}

void client_enter(struct lockd_client *client)
{
    pthread_mutex_lock(&client->mutex);
}

void client_leave(struct lockd_client *client)
{
    const bool inside = client->processing && client_is_inside(client);
    if (client->threaded && !inside) {
        /* Whoever calls sends; our thread need not be woken for that. */
        driver_apply(&client->driver, client->engine);
        if (engine_wish(client->engine)->events) {
            driver_wake(&client->driver);
        }
    } else if (!inside) {
        driver_wake(&client->driver);
    }
    pthread_mutex_unlock(&client->mutex);
}

void client_await_quiet(struct lockd_client *client)
{
    while (client->calling && client->threaded && !client_is_inside(client)) {
        pthread_cond_wait(&client->changed, &client->mutex);
    }
}

/* ------------------------------------------------------------------- waiting */

void waiter_done(void *context, const struct lockd_answer *answer)
{
    (void)context;
    (void)answer;
    assert(false); /* deliver() sees to it. */
}

enum lockd_rc waiter_begin(struct waiter *w, struct lockd_client *client)
{
    client_enter(client);
    if (!client->threaded || client_is_inside(client)) {
        pthread_mutex_unlock(&client->mutex);
        return LOCKD_E_INVALID; /* Nobody would drive it. */
    }
    *w = (struct waiter){.client = client};
    pthread_cond_init(&w->answered, NULL);
    client->waiters++;
    return LOCKD_OK;
}

static struct lockd_answer *wait_for_answer(struct waiter *w)
{
    struct lockd_client *client = w->client;
    driver_apply(&client->driver, client->engine);
    if (engine_wish(client->engine)->events) {
        driver_wake(&client->driver);
    }
    while (w->answer == NULL) {
        pthread_cond_wait(&w->answered, &client->mutex);
    }
    return w->answer;
}

void waiter_leave(struct waiter *w)
{
    struct lockd_client *client = w->client;
    pthread_cond_destroy(&w->answered);
    client->waiters--;
    if (client->freeing) {
        pthread_cond_broadcast(&client->changed);
    }
    client_leave(client);
}

enum lockd_rc waiter_end(struct waiter *w, enum lockd_rc rc, struct lockd_answer **ret_answer)
{
    struct lockd_answer *answer = NULL;
    if (rc == LOCKD_OK) {
        answer = wait_for_answer(w);
        rc = answer->rc;
    }
    waiter_leave(w);
    if (ret_answer != NULL) {
        *ret_answer = answer;
    } else {
        lockd_answer_free(answer);
    }
    return rc;
}

enum lockd_rc waiter_end_with_lock(struct waiter *w, enum lockd_rc rc,
                                   struct lockd_lock **ret_lock)
{
    struct lockd_answer *answer = NULL;
    rc = waiter_end(w, rc, &answer);
    if (rc == LOCKD_OK) {
        *ret_lock = answer->lock;
    }
    lockd_answer_free(answer);
    return rc;
}

enum lockd_rc waiter_outcome(struct waiter *w, enum lockd_rc rc)
{
    if (rc == LOCKD_OK) {
        struct lockd_answer *answer = wait_for_answer(w);
        rc = answer->rc;
        lockd_answer_free(answer);
    }
    return rc;
}

bool waiter_may_free(struct waiter *w)
{
    if (!w->client->freeing) {
        client_await_quiet(w->client);
    }
    return !w->client->freeing;
}

static struct timespec time_after(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

enum lockd_rc client_await(struct lockd_client *client, int timeout_ms,
                           bool (*ready)(void *context), void *context)
{
    const struct timespec until = time_after(timeout_ms > 0 ? timeout_ms : 0);
    int error = 0;
    struct waiter w;
    if (timeout_ms == 0) { /* Needs nobody who drives it. */
        client_enter(client);
        const bool is_ready = ready(context);
        client_leave(client);
        return is_ready ? LOCKD_OK : LOCKD_E_TIMEOUT;
    }
    enum lockd_rc rc = waiter_begin(&w, client);
    if (rc != LOCKD_OK) {
        return rc;
    }
    while (!ready(context) && error == 0 && !client->freeing) {
        error = timeout_ms < 0
                    ? pthread_cond_wait(&client->turned, &client->mutex)
                    : pthread_cond_timedwait(&client->turned, &client->mutex, &until);
    }
    rc = ready(context) ? LOCKD_OK : client->freeing ? LOCKD_E_CLOSED : LOCKD_E_TIMEOUT;
    waiter_leave(&w);
    return rc;
}

/* ------------------------------------------------------------------- driving */

static void discard(const struct engine_event *event)
{
    lockd_answer_free(event->answer);
    lockd_event_free(event->happened);
    lockd_leader_free(event->leader);
}

static void call_back(struct lockd_client *client, const struct engine_event *event)
{
    client->calling = true;
    pthread_mutex_unlock(&client->mutex);
    if (event->changed != NULL) {
        event->changed(event->context, event->session, event->state);
    }
    if (event->done != NULL) {
        event->done(event->context, event->answer);
    }
    if (event->told != NULL) {
        event->told(event->context, event->watch, event->happened);
    }
    if (event->observed != NULL) {
        event->observed(event->context, event->observer, event->leader);
    }
    if (event->logged != NULL) {
        event->logged(event->context, event->severity, event->text);
    }
    discard(event);
    pthread_mutex_lock(&client->mutex);
    client->calling = false;
    pthread_cond_broadcast(&client->changed);
}

/* Calls what is to be called, until `until_ms`; entered.  False: there is more. */
static bool deliver(struct lockd_client *client, uint64_t until_ms)
{
    struct engine_event event;
    bool late = false;
    while (!late && engine_event(client->engine, &event)) {
        if (event.done == waiter_done) {
            struct waiter *w = event.context;
            w->answer = event.answer;
            pthread_cond_signal(&w->answered);
        } else if (event.done != NULL || event.changed != NULL || event.told != NULL ||
                   event.observed != NULL || event.logged != NULL) {
            call_back(client, &event);
            late = driver_now_ms() >= until_ms;
        } else {
            discard(&event);
        }
    }
    pthread_cond_broadcast(&client->turned);
    return !late;
}

/* What is ready, its callbacks, and what these wish for; entered. */
static void turn(struct lockd_client *client)
{
    const uint64_t until_ms = driver_now_ms() + CALLBACKS_MS;
    bool all;
    client->processing = true;
    driver_turn(&client->driver, client->engine);
    do {
        all = deliver(client, until_ms);
        driver_apply(&client->driver, client->engine);
    } while (all && !client->freeing && engine_wish(client->engine)->events);
    if (!all) {
        driver_wake(&client->driver); /* For the next turn. */
    }
    client->processing = false;
}

/* Everything ends, and everybody hears of it; entered. */
static void close_all(struct lockd_client *client)
{
    client->processing = true;
    engine_close(client->engine, driver_now_ms());
    (void)deliver(client, ENGINE_NEVER);
    while (client->waiters > 0) {
        pthread_cond_wait(&client->changed, &client->mutex);
    }
}

static void *run(void *context)
{
    struct lockd_client *client = context;
    struct pollfd ready = {.fd = client->driver.epoll, .events = POLLIN};
    client_enter(client);
    while (!client->freeing) {
        pthread_mutex_unlock(&client->mutex);
        (void)poll(&ready, 1, -1);
        client_enter(client);
        turn(client);
    }
    close_all(client);
    pthread_mutex_unlock(&client->mutex);
    return NULL;
}

/* A client that was freed by a callback of its own thread has nobody to join it. */
static void *run_and_clean(void *context)
{
    struct lockd_client *client = context;
    run(client);
    pthread_mutex_lock(&client->mutex);
    const bool alone = client->freed_inside;
    pthread_mutex_unlock(&client->mutex);
    if (alone) {
        pthread_detach(pthread_self());
        destroy(client);
    }
    return NULL;
}

enum lockd_rc lockd_client_start(struct lockd_client *client)
{
    sigset_t all, before;
    client_enter(client);
    if (client->threaded || client->processing) {
        pthread_mutex_unlock(&client->mutex);
        return LOCKD_E_INVALID;
    }
    /* Signals are for the threads of the application. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&client->thread, NULL, run_and_clean, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    client->threaded = error == 0;
    pthread_mutex_unlock(&client->mutex);
    errno = error;
    return error == 0 ? LOCKD_OK : LOCKD_E_SYSTEM;
}

void lockd_client_free(struct lockd_client *client)
{
    if (client == NULL) {
        return;
    }
    client_enter(client);
    client->freeing = true;
    if (client_is_inside(client)) {
        client->freed_inside = true; /* Whoever called the callback goes on. */
        pthread_mutex_unlock(&client->mutex);
        return;
    }
    if (client->threaded) {
        driver_wake(&client->driver);
        pthread_mutex_unlock(&client->mutex);
        pthread_join(client->thread, NULL);
    } else {
        close_all(client);
        pthread_mutex_unlock(&client->mutex);
    }
    destroy(client);
}

/* -------------------------------------------------------------------- by hand */

int lockd_fd(const struct lockd_client *client)
{
    return client->driver.epoll;
}

short lockd_events(const struct lockd_client *client)
{
    (void)client;
    return POLLIN;
}

int lockd_timeout_ms(const struct lockd_client *client)
{
    if (client->threaded) {
        return -1;
    }
    const struct engine_wish *wish = engine_wish(client->engine);
    const uint64_t now_ms = driver_now_ms();
    if (client->driver.woken || wish->events || wish->wake_at_ms <= now_ms) {
        return 0;
    }
    if (wish->wake_at_ms == ENGINE_NEVER) {
        return -1;
    }
    const uint64_t left_ms = wish->wake_at_ms - now_ms;
    return left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
}

void lockd_process(struct lockd_client *client)
{
    client_enter(client);
    if (client->threaded || client->processing) {
        pthread_mutex_unlock(&client->mutex);
        return;
    }
    turn(client);
    const bool freeing = client->freeing;
    if (freeing) {
        close_all(client);
    }
    pthread_mutex_unlock(&client->mutex);
    if (freeing) {
        destroy(client);
    }
}
