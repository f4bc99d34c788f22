/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench_load.c -- closed loops: each client has one operation under way, and
 * begins the next when it has ended.
 *
 * Every client is a lockd_client with a connection of its own.  All are driven by
 * hand in one thread: the descriptor of a client is readable whenever it has
 * something to do, the passing of time included, so one epoll serves them all.
 *
 *     directory made --> every client has done one operation --> warm-up
 *                                                        --> window --> end
 *
 * In a watch load one client writes, and its operation has ended when all others,
 * who watch the file, have been told.
 */
#include "tools/lockbench.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FOLDER "/ls/local/lockbench"

enum {
    OP_MS = 10000,      /* An operation that takes longer is an error. */
    READY_MS = 30000,   /* For finding the cell and the first operations. */
    FAREWELL_MS = 5000, /* For ending the last operations and the sessions. */
    EVENTS_AT_ONCE = 256,
    TROUBLE_MAX = 512,
};

struct load;

struct worker {
    struct load *load;
    struct lockd_client *client;
    struct lockd_session *session; /* WORKLOAD_LOCK only. */
    struct lockd_lock *lock;       /* Between acquire and release. */
    struct lockd_watch *watch;     /* WORKLOAD_WATCH, of all but the first. */
    uint64_t generation;           /* Of the file, as last told. */
    char name[64];
    uint64_t begun_us;
    uint64_t latency_us; /* Of the acquire, until the release is done. */
    bool ready;          /* Has done an operation. */
};

struct load {
    const struct load_settings *settings;
    struct load_result *result;
    struct worker *workers;
    char *value;
    int epoll;
    uint32_t ready, busy, sessions; /* How many workers are, have an operation under
                                     * way, have a session. */
    uint64_t released_us;           /* WORKLOAD_HANDOFF: when the last one gave it back. */
    uint64_t goal;                  /* WORKLOAD_WATCH: a generation, 0 until the write is
                                     * answered, ... */
    uint32_t watching, untold;      /* ... how many watch, and were not told of it. */
    bool made;                      /* The directory. */
    bool measuring, ending;
    bool failed; /* It makes no sense to go on. */
};

/* How many clients there are. */
static uint32_t workers_of(const struct load_settings *s)
{
    return s->workload == WORKLOAD_WATCH ? 1 + s->watchers : s->clients;
}

static bool is_lock(enum workload workload)
{
    return workload == WORKLOAD_LOCK || workload == WORKLOAD_HANDOFF;
}

static void begin_operation(struct worker *w);
static void open_session(struct worker *w);

/* ----------------------------------------------------------------- outcomes */

/* It makes no sense to go on. */
static void give_up(struct worker *w, const char *what, enum lockd_rc rc)
{
    if (!w->load->failed) {
        char trouble[TROUBLE_MAX];
        lockd_client_trouble(w->client, trouble, sizeof trouble);
        bench_fail("%s %s: %s%s%s", what, w->name, lockd_strerror(rc),
                   trouble[0] != 0 ? "; " : "", trouble);
    }
    w->load->failed = true;
}

static void count_error(const struct worker *w)
{
    w->load->result->errors += w->load->measuring;
}

static void end_operation(struct worker *w, enum lockd_rc rc, uint64_t latency_us)
{
    struct load *l = w->load;
    assert(l->busy > 0);
    l->busy--;
    if (rc != LOCKD_OK) {
        count_error(w);
    } else {
        if (l->measuring) {
            histogram_add(&l->result->latencies, latency_us);
            l->result->ops++;
        }
        l->ready += !w->ready;
        w->ready = true;
    }
    if (!l->ending && !l->failed) {
        begin_operation(w);
    }
}

/* --------------------------------------------------------------- operations */

static void on_released(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    lockd_lock_free(w->lock);
    w->lock = NULL;
    end_operation(w, answer->rc, w->latency_us);
}

static void on_acquired(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    const uint64_t released = w->load->released_us;
    w->latency_us = bench_now_us() - (w->begun_us > released ? w->begun_us : released);
    if (answer->rc == LOCKD_E_EXPIRED && !w->load->ending) {
        count_error(w);
        w->load->busy--;
        lockd_session_free(w->session);
        w->session = NULL;
        w->load->sessions--;
        open_session(w);
    } else if (answer->rc != LOCKD_OK) {
        end_operation(w, answer->rc, 0);
    } else {
        w->lock = answer->lock;
        if (w->load->settings->workload == WORKLOAD_HANDOFF) {
            w->load->released_us = bench_now_us();
        }
        const enum lockd_rc rc = lockd_release_async(w->lock, OP_MS, on_released, w);
        if (rc != LOCKD_OK) {
            w->load->busy--;
            give_up(w, "release of", rc);
        }
    }
}

static void on_done(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    end_operation(w, answer->rc, bench_now_us() - w->begun_us);
}

/* The write is answered and everyone is told: the operation has ended. */
static void end_write(struct load *l)
{
    if (l->goal > 0 && l->untold == 0) {
        l->goal = 0;
        end_operation(&l->workers[0], LOCKD_OK, bench_now_us() - l->workers[0].begun_us);
    }
}

static void on_told(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    struct worker *w = context;
    struct load *l = w->load;
    (void)watch;
    if (event->change == LOCKD_GAP) {
        count_error(w); /* What it hides is told by the next write. */
    } else {
        const bool news = l->goal > 0 && w->generation < l->goal;
        w->generation = event->generation;
        l->untold -= news && w->generation >= l->goal;
        end_write(l);
    }
}

static void on_written(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    struct load *l = w->load;
    if (answer->rc != LOCKD_OK) {
        end_operation(w, answer->rc, 0);
        return;
    }
    l->goal = answer->stat.generation;
    l->untold = 0;
    for (uint32_t i = 1; i < workers_of(l->settings); i++) {
        l->untold += l->workers[i].generation < l->goal;
    }
    end_write(l);
}

static enum lockd_rc begin_call(struct worker *w)
{
    static const struct lockd_lock_options options = {.size = sizeof options, .create = true};
    const struct load *l = w->load;
    const struct lockd_read_options read = {.size = sizeof read, .level = l->settings->level};
    switch (l->settings->workload) {
    case WORKLOAD_LOCK:
    case WORKLOAD_HANDOFF:
        return lockd_acquire_async(w->session, w->name, &options, OP_MS, on_acquired, w,
                                   /* ret_lock= */ NULL);
    case WORKLOAD_PUT:
        return lockd_put_async(w->client, /* session= */ NULL, w->name, l->value,
                               l->settings->value_bytes, LOCKD_ANY, OP_MS, on_done, w);
    case WORKLOAD_GET:
        return lockd_get_async(w->client, w->name, &read, OP_MS, on_done, w);
    case WORKLOAD_WATCH:
        return lockd_put_async(w->client, /* session= */ NULL, w->name, l->value,
                               l->settings->value_bytes, LOCKD_ANY, OP_MS, on_written, w);
    case WORKLOAD_CACHED:
        break; /* Has no closed loop of messages. */
    }
    assert(false);
    return LOCKD_E_INVALID;
}

static void begin_operation(struct worker *w)
{
    w->begun_us = bench_now_us();
    const enum lockd_rc rc = begin_call(w);
    if (rc == LOCKD_OK) {
        w->load->busy++;
    } else {
        give_up(w, "operation on", rc);
    }
}

/* ------------------------------------------------------------------ begin */

static void on_opened(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    if (answer->rc != LOCKD_OK) {
        give_up(w, "session for", answer->rc);
    } else if (!w->load->ending) {
        w->load->sessions++;
        begin_operation(w);
    }
}

static void open_session(struct worker *w)
{
    const enum lockd_rc rc = lockd_session_open_async(w->client, /* options= */ NULL, READY_MS,
                                                      on_opened, w, &w->session);
    if (rc != LOCKD_OK) {
        give_up(w, "session for", rc);
    }
}

/* When the last one watches, the first begins to write. */
static void on_watching(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    struct load *l = w->load;
    if (answer->rc != LOCKD_OK) {
        give_up(w, "watch of", answer->rc);
        return;
    }
    w->ready = true;
    l->ready++;
    l->watching++;
    if (l->watching == l->settings->watchers && !l->ending) {
        begin_operation(&l->workers[0]);
    }
}

static void begin_watch(struct worker *w)
{
    const struct lockd_watch_options options = {
        .size = sizeof options, .watched = LOCKD_WATCH_CONTENT, .told = on_told, .context = w};
    const enum lockd_rc rc =
        lockd_watch_async(w->client, w->name, &options, READY_MS, on_watching, w, &w->watch);
    if (rc != LOCKD_OK) {
        give_up(w, "watch of", rc);
    }
}

static void begin_work(struct load *l)
{
    for (uint32_t i = 0; i < workers_of(l->settings) && !l->failed; i++) {
        struct worker *w = &l->workers[i];
        if (l->settings->workload == WORKLOAD_WATCH) {
            if (i > 0) {
                begin_watch(w);
            }
        } else if (is_lock(l->settings->workload)) {
            open_session(w);
        } else {
            begin_operation(w);
        }
    }
}

static void on_key(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    if (answer->rc != LOCKD_OK) {
        give_up(w, "put", answer->rc);
    }
    w->load->made = true;
}

static void on_folder(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    struct load *l = w->load;
    enum lockd_rc rc = answer->rc == LOCKD_E_EXISTS ? LOCKD_OK : answer->rc;
    if (rc == LOCKD_E_UNKNOWN) {
        rc = LOCKD_OK; /* If it isn't there, the next call says so. */
    }
    l->made = rc == LOCKD_OK && l->settings->workload != WORKLOAD_GET;
    if (rc == LOCKD_OK && !l->made) {
        rc = lockd_put_async(w->client, /* session= */ NULL, w->name, l->value,
                             l->settings->value_bytes, LOCKD_ANY, READY_MS, on_key, w);
    }
    if (rc != LOCKD_OK) {
        give_up(w, "the folder of", rc);
    }
}

/* The node that a client works on: its own, or one for all. */
static void name_node(const struct load *l, uint32_t number, char ret_name[64])
{
    static const struct {
        const char *name;
        bool shared;
    } nodes[] = {[WORKLOAD_LOCK] = {"lock", false},
                 [WORKLOAD_PUT] = {"key", false},
                 [WORKLOAD_GET] = {"shared", true},
                 [WORKLOAD_HANDOFF] = {"handoff", true},
                 [WORKLOAD_WATCH] = {"watched", true}};
    const enum workload workload = l->settings->workload;
    if (nodes[workload].shared) {
        snprintf(ret_name, 64, FOLDER "/%s", nodes[workload].name);
    } else {
        snprintf(ret_name, 64, FOLDER "/%s-%u", nodes[workload].name, number);
    }
}

static bool add_worker(struct load *l, uint32_t number)
{
    struct worker *w = &l->workers[number];
    char label[32];
    snprintf(label, sizeof label, "lockbench-%u", number);
    *w = (struct worker){.load = l};
    name_node(l, number, w->name);
    const struct lockd_client_options options = {
        .size = sizeof options, .endpoints = l->settings->endpoints, .label = label};
    const enum lockd_rc rc = lockd_client_new(&options, &w->client);
    if (rc != LOCKD_OK) {
        return bench_fail("client %u: %s", number, lockd_strerror(rc));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, lockd_fd(w->client), &event) == 0 ||
           bench_fail("epoll: %s", strerror(errno));
}

static bool make_workers(struct load *l)
{
    bench_raise_limit();
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->workers = calloc(workers_of(l->settings), sizeof *l->workers);
    l->value = malloc((size_t)l->settings->value_bytes + 1);
    if (l->epoll < 0 || l->workers == NULL || l->value == NULL) {
        return bench_fail("no memory or no descriptor: %s", strerror(errno));
    }
    memset(l->value, 'v', l->settings->value_bytes);
    for (uint32_t i = 0; i < workers_of(l->settings); i++) {
        if (!add_worker(l, i)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------- turns */

/* Lets the clients work until `until_us`, or until `enough` says so. */
static void run(struct load *l, uint64_t until_us, bool (*enough)(const struct load *))
{
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        const uint64_t now = bench_now_us();
        if (bench_interrupted() && !l->failed) {
            l->failed = !bench_fail("interrupted");
        }
        if (now >= until_us || l->failed || (enough != NULL && enough(l))) {
            return;
        }
        const int count =
            epoll_wait(l->epoll, events, EVENTS_AT_ONCE, (int)((until_us - now + 999) / 1000));
        for (int i = 0; i < count; i++) {
            const struct worker *w = events[i].data.ptr;
            lockd_process(w->client);
        }
    }
}

static bool all_ready(const struct load *l)
{
    return l->ready == workers_of(l->settings);
}

static bool is_made(const struct load *l)
{
    return l->made;
}

static bool is_quiet(const struct load *l)
{
    return l->busy == 0;
}

static bool no_sessions(const struct load *l)
{
    return l->sessions == 0;
}

static uint64_t after_ms(uint64_t ms)
{
    return bench_now_us() + ms * 1000;
}

/* Nobody serves, or too slowly. */
static bool not_ready(const struct load *l)
{
    char trouble[TROUBLE_MAX];
    lockd_client_trouble(l->workers[0].client, trouble, sizeof trouble);
    return l->failed || bench_fail("%u of %u clients were ready after %d s; %s", l->ready,
                                   workers_of(l->settings), READY_MS / 1000, trouble);
}

static bool get_ready(struct load *l)
{
    struct worker *first = &l->workers[0];
    const uint64_t until = after_ms(READY_MS);
    const enum lockd_rc rc = lockd_create_async(first->client, /* session= */ NULL, FOLDER,
                                                LOCKD_DIRECTORY, READY_MS, on_folder, first);
    if (rc != LOCKD_OK) {
        give_up(first, "the folder of", rc);
    }
    run(l, until, is_made);
    if (l->made && !l->failed) {
        begin_work(l);
    }
    run(l, until, all_ready);
    if (!all_ready(l)) {
        not_ready(l);
        return false;
    }
    return !l->failed;
}

static void measure(struct load *l)
{
    const struct load_settings *s = l->settings;
    run(l, after_ms((uint64_t)(s->warmup_seconds * 1000)), NULL);
    s->mark(s->context, /* begins= */ true);
    const uint64_t begun = bench_now_us();
    l->measuring = true;
    run(l, begun + (uint64_t)(s->seconds * 1e6), NULL);
    l->measuring = false;
    l->result->seconds = (double)(bench_now_us() - begun) / 1e6;
    s->mark(s->context, /* begins= */ false);
}

static void on_closed(void *context, const struct lockd_answer *answer)
{
    struct worker *w = context;
    (void)answer; /* If it wasn't closed, it ends with its lease. */
    w->load->sessions--;
}

static void leave(struct load *l)
{
    l->ending = true;
    run(l, after_ms(FAREWELL_MS), is_quiet);
    for (uint32_t i = 0; i < workers_of(l->settings); i++) {
        struct lockd_session *session = l->workers[i].session;
        if (session != NULL && lockd_session_close_async(session, FAREWELL_MS, on_closed,
                                                         &l->workers[i]) != LOCKD_OK) {
            l->sessions--;
        }
    }
    run(l, after_ms(FAREWELL_MS), no_sessions);
}

bool load_run(const struct load_settings *settings, struct load_result *ret_result)
{
    struct load l = {.settings = settings, .result = ret_result, .epoll = -1};
    *ret_result = (struct load_result){.ops = 0};
    const bool ready = make_workers(&l) && get_ready(&l);
    if (ready) {
        measure(&l);
    }
    if (ready && !l.failed) {
        leave(&l);
    }
    const bool ok = ready && !l.failed;
    l.ending = true; /* Freeing ends what is under way. */
    for (uint32_t i = 0; l.workers != NULL && i < workers_of(settings); i++) {
        lockd_watch_free(l.workers[i].watch);
        lockd_client_free(l.workers[i].client);
    }
    free(l.workers);
    free(l.value);
    if (l.epoll >= 0) {
        close(l.epoll);
    }
    return ok;
}
