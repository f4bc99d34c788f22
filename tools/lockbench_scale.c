/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench_scale.c -- a cell made large: what each thing in it costs, and whether
 * all of it lives through the death of the master.
 *
 * Nodes, sessions, held locks and watches are made one kind after the other, by few
 * clients that have many of each.  Between two kinds the memory of each replica is
 * read; the growth, divided by their number, is what one costs.  Then the master is
 * killed.  A write is repeated until it is acknowledged, a sample of the watched
 * nodes is written, and every watch of those must tell of it; sessions and locks must
 * all be there still when every lease that the old master gave has run out.
 */
#include "tools/lockbench.h"

#include "libclient/lockd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FOLDER "/ls/local/scale"

enum {
    EVENTS_AT_ONCE = 256,
    DIRECTORY_NODES = 1000, /* In one directory. */
    AT_ONCE = 16,           /* Calls under way, a client. */
    CALL_MS = 60000,
    STEP_MS = 300000,    /* For all of one kind. */
    REST_MS = 2000,      /* Before memory is read. */
    FAILOVER_MS = 60000, /* For all watches to be set again. */
    LEASE_MS = 12000,
    OUTLIVE_MS = LEASE_MS * 3 / 2, /* Longer than any lease given before. */
    SAMPLE = 1000,
    STEPS_MAX = 6,
};

/* What the replicas weigh after a step. */
struct step {
    const char *what;
    uint32_t items;
    double seconds;
    uint64_t resident[CELL_REPLICAS_MAX];
};

struct watcher {
    struct scale *scale;
    struct lockd_watch *watch;
    uint64_t told; /* Events since the master was killed. */
};

struct scale {
    const struct scale_settings *settings;
    struct cell *cell;
    int epoll;
    struct lockd_client **clients;
    struct lockd_session **sessions;
    struct lockd_lock **locks;
    struct watcher *watchers;
    uint32_t begun, ended; /* Of the step under way. */
    bool failed;

    struct step steps[STEPS_MAX];
    uint32_t steps_count;
    int master; /* That was killed; -1: not yet. */
    uint64_t killed_us, acknowledged_us, set_us,
        told_us; /* From the kill on, the last three. */
    uint32_t sample, sample_told, gaps;
    uint32_t sessions_lost, locks_lost;
};

/* --------------------------------------------------------------------- turns */

/* Lets the clients work for `ms`, or until something happens. */
static void turn(struct scale *s, int ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    const int count = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, ms);
    for (int i = 0; i < count; i++) {
        lockd_process(events[i].data.ptr);
    }
    if (bench_interrupted() && !s->failed) {
        s->failed = !bench_fail("interrupted");
    }
}

static void rest(struct scale *s, uint64_t ms)
{
    const uint64_t until = bench_now_us() + ms * 1000;
    for (uint64_t now; (now = bench_now_us()) < until && !s->failed;) {
        turn(s, (int)((until - now) / 1000) + 1);
    }
}

static struct lockd_client *client_of(const struct scale *s, uint32_t item)
{
    return s->clients[item % s->settings->clients];
}

static void on_done(void *context, const struct lockd_answer *answer)
{
    struct scale *s = context;
    s->ended++;
    if (answer->rc != LOCKD_OK && !s->failed) {
        s->failed = !bench_fail("call %u of the step: %s %s", s->ended,
                                lockd_strerror(answer->rc), answer->detail);
    }
}

static void weigh(struct scale *s, const char *what, uint32_t items, double seconds)
{
    assert(s->steps_count < STEPS_MAX);
    struct step *step = &s->steps[s->steps_count++];
    *step = (struct step){.what = what, .items = items, .seconds = seconds};
    for (uint32_t i = 0; i < s->cell->count; i++) {
        step->resident[i] = cell_resident(s->cell, i);
    }
}

/* Does `begin` for each number below `items`, so many at once as clients bear. */
static bool make(struct scale *s, const char *what, uint32_t items,
                 enum lockd_rc (*begin)(struct scale *s, uint32_t item))
{
    const uint64_t begun_us = bench_now_us();
    const uint32_t most = s->settings->clients * AT_ONCE;
    s->begun = s->ended = 0;
    while (s->ended < items && !s->failed) {
        while (s->begun < items && s->begun - s->ended < most && !s->failed) {
            const enum lockd_rc rc = begin(s, s->begun);
            if (rc != LOCKD_OK) {
                s->failed = !bench_fail("%s %u: %s", what, s->begun, lockd_strerror(rc));
            }
            s->begun++;
        }
        if (bench_now_us() - begun_us > (uint64_t)STEP_MS * 1000 && !s->failed) {
            s->failed =
                !bench_fail("only %u of %u %s in %d s", s->ended, items, what, STEP_MS / 1000);
        }
        turn(s, 100);
    }
    const double seconds = (double)(bench_now_us() - begun_us) / 1e6;
    rest(s, REST_MS);
    weigh(s, what, items, seconds);
    return !s->failed;
}

/* --------------------------------------------------------------------- steps */

static const char *name_of(uint32_t item, char name[64])
{
    snprintf(name, 64, FOLDER "/%u/%u", item / DIRECTORY_NODES, item % DIRECTORY_NODES);
    return name;
}

static enum lockd_rc begin_directory(struct scale *s, uint32_t item)
{
    char name[64];
    if (item == 0) {
        snprintf(name, sizeof name, FOLDER);
    } else {
        snprintf(name, sizeof name, FOLDER "/%u", item - 1);
    }
    /* All over one connection: a directory is there before what stands in it. */
    return lockd_create_async(s->clients[0], /* session= */ NULL, name, LOCKD_DIRECTORY,
                              CALL_MS, on_done, s);
}

static enum lockd_rc begin_node(struct scale *s, uint32_t item)
{
    char name[64];
    return lockd_put_async(client_of(s, item), /* session= */ NULL, name_of(item, name), "0", 1,
                           LOCKD_ANY, CALL_MS, on_done, s);
}

static enum lockd_rc begin_session(struct scale *s, uint32_t item)
{
    const struct lockd_session_options options = {.size = sizeof options, .lease_ms = LEASE_MS};
    return lockd_session_open_async(client_of(s, item), &options, CALL_MS, on_done, s,
                                    &s->sessions[item]);
}

static enum lockd_rc begin_lock(struct scale *s, uint32_t item)
{
    char name[64];
    return lockd_acquire_async(s->sessions[item % s->settings->sessions],
                               name_of(item % s->settings->nodes, name), /* options= */ NULL,
                               CALL_MS, on_done, s, &s->locks[item]);
}

static void on_told(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    struct watcher *w = context;
    (void)watch;
    w->scale->gaps += event->change == LOCKD_GAP;
    w->scale->sample_told += event->change != LOCKD_GAP && w->told == 0;
    w->told++;
}

static enum lockd_rc begin_watch(struct scale *s, uint32_t item)
{
    char name[64];
    struct watcher *w = &s->watchers[item];
    const struct lockd_watch_options options = {
        .size = sizeof options, .watched = LOCKD_WATCH_CONTENT, .told = on_told, .context = w};
    w->scale = s;
    return lockd_watch_async(client_of(s, item), name_of(item % s->settings->nodes, name),
                             &options, CALL_MS, on_done, s, &w->watch);
}

/* ----------------------------------------------------------------- fail-over */

struct attempt {
    bool done;
    enum lockd_rc rc;
};

static void on_attempt(void *context, const struct lockd_answer *answer)
{
    struct attempt *a = context;
    a->done = true;
    a->rc = answer->rc;
}

/* Writes until a write is acknowledged. */
static bool write_once(struct scale *s)
{
    struct attempt attempt = {.rc = LOCKD_E_UNAVAILABLE};
    while (attempt.rc != LOCKD_OK && !s->failed) {
        attempt.done = false;
        const enum lockd_rc rc =
            lockd_put_async(s->clients[0], /* session= */ NULL, FOLDER "/alive", "1", 1,
                            LOCKD_ANY, FAILOVER_MS, on_attempt, &attempt);
        if (rc != LOCKD_OK) {
            return bench_fail("a write: %s", lockd_strerror(rc));
        }
        while (!attempt.done) {
            turn(s, 100);
        }
        if (attempt.rc != LOCKD_OK && attempt.rc != LOCKD_E_UNKNOWN) {
            return bench_fail("a write after the master's death: %s",
                              lockd_strerror(attempt.rc));
        }
    }
    return !s->failed;
}

static bool all_set(const struct scale *s)
{
    for (uint32_t i = 0; i < s->settings->watches; i++) {
        if (!lockd_watch_current(s->watchers[i].watch)) {
            return false;
        }
    }
    return true;
}

/* Every n-th of the nodes that are watched. */
static enum lockd_rc begin_sample(struct scale *s, uint32_t item)
{
    const uint32_t watched =
        s->settings->watches < s->settings->nodes ? s->settings->watches : s->settings->nodes;
    return begin_node(s, (uint32_t)((uint64_t)item * watched / s->sample));
}

static uint32_t watches_of_sample(const struct scale *s)
{
    const uint32_t nodes = s->settings->nodes, watches = s->settings->watches;
    const uint32_t watched = watches < nodes ? watches : nodes;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->sample; i++) {
        const uint32_t node = (uint32_t)((uint64_t)i * watched / s->sample);
        count += (watches - node + nodes - 1) / nodes; /* node, node + nodes, ... */
    }
    return count;
}

/* Waits until every watch is set, and every one of the sample has told. */
static bool wait_watches(struct scale *s)
{
    const uint32_t expected = watches_of_sample(s);
    const uint64_t until = bench_now_us() + (uint64_t)FAILOVER_MS * 1000;
    while (!s->failed && (s->set_us == 0 || s->told_us == 0)) {
        const uint64_t now = bench_now_us();
        if (now > until) {
            return bench_fail("after %d s %u of %u watches of the sample told of a write",
                              FAILOVER_MS / 1000, s->sample_told, expected);
        }
        if (s->set_us == 0 && all_set(s)) {
            s->set_us = now - s->killed_us;
        }
        if (s->told_us == 0 && s->sample_told >= expected) {
            s->told_us = now - s->killed_us;
        }
        turn(s, 10);
    }
    return !s->failed;
}

static void count_losses(struct scale *s)
{
    for (uint32_t i = 0; i < s->settings->sessions; i++) {
        const enum lockd_state state = lockd_session_state(s->sessions[i]);
        s->sessions_lost += state != LOCKD_SAFE && state != LOCKD_LEASE_LOW;
    }
    for (uint32_t i = 0; i < s->settings->locks; i++) {
        s->locks_lost += !lockd_lock_held(s->locks[i]);
    }
}

static bool fail_over(struct scale *s)
{
    const uint32_t watches = s->settings->watches;
    s->sample = watches < s->settings->nodes ? watches : s->settings->nodes;
    s->sample = s->sample < SAMPLE ? s->sample : SAMPLE;
    s->master = cell_master(s->cell);
    if (s->master < 0) {
        return bench_fail("no replica says that it is the master");
    }
    s->killed_us = bench_now_us();
    cell_kill(s->cell, (uint32_t)s->master);
    if (!write_once(s)) {
        return false;
    }
    s->acknowledged_us = bench_now_us() - s->killed_us;
    s->begun = s->ended = 0;
    while (s->begun < s->sample && !s->failed) {
        if (begin_sample(s, s->begun++) != LOCKD_OK) {
            return bench_fail("a write of the sample could not begin");
        }
    }
    if (!wait_watches(s)) {
        return false;
    }
    rest(s, OUTLIVE_MS);
    weigh(s, "after fail-over", 0, 0);
    count_losses(s);
    return !s->failed;
}

/* -------------------------------------------------------------------- report */

/* What one item of a step costs at a replica. */
static double cost(const struct scale *s, uint32_t step, uint32_t replica)
{
    const struct step *now = &s->steps[step], *before = &s->steps[step - 1];
    return ((double)now->resident[replica] - (double)before->resident[replica]) / now->items;
}

static void print_steps(const struct scale *s)
{
    printf("%-16s %8s %8s  octets at each replica, and for one item\n", "", "items", "seconds");
    for (uint32_t i = 0; i < s->steps_count; i++) {
        const struct step *step = &s->steps[i];
        printf("%-16s %8u %8.1f ", step->what, step->items, step->seconds);
        for (uint32_t r = 0; r < s->cell->count; r++) {
            printf("  %12" PRIu64, step->resident[r]);
            if (step->items > 0 && i > 0) {
                printf(" %7.0f", cost(s, i, r));
            } else {
                printf(" %7s", "-");
            }
        }
        printf("\n");
    }
}

static void print_simple(const struct scale *s)
{
    print_steps(s);
    printf("\nmaster     replica %d, killed\n"
           "write      acknowledged after %.2f s\n"
           "watches    all set again after %.2f s; %u of the sample had told after %.2f s; %u "
           "gaps\n"
           "lost       %u of %u sessions, %u of %u locks\n",
           s->master + 1, (double)s->acknowledged_us / 1e6, (double)s->set_us / 1e6,
           s->sample_told, (double)s->told_us / 1e6, s->gaps, s->sessions_lost,
           s->settings->sessions, s->locks_lost, s->settings->locks);
}

static json_t *step_of(const struct scale *s, uint32_t number)
{
    const struct step *step = &s->steps[number];
    json_t *resident = json_array(), *each = json_array();
    for (uint32_t r = 0; r < s->cell->count; r++) {
        json_array_append_new(resident, json_integer((json_int_t)step->resident[r]));
        if (step->items > 0 && number > 0) {
            json_array_append_new(each, json_real(cost(s, number, r)));
        }
    }
    return json_pack("{s:s, s:I, s:f, s:o, s:o}", "step", step->what, "items",
                     (json_int_t)step->items, "seconds", step->seconds, "resident_bytes",
                     resident, "bytes_per_item", each);
}

static void print_json(const struct scale *s)
{
    json_t *steps = json_array();
    for (uint32_t i = 0; i < s->steps_count; i++) {
        json_array_append_new(steps, step_of(s, i));
    }
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "steps", steps, "master",
        (json_int_t)s->master + 1, "write_acknowledged_us", (json_int_t)s->acknowledged_us,
        "watches_set_us", (json_int_t)s->set_us, "sample_told_us", (json_int_t)s->told_us,
        "sample_told", (json_int_t)s->sample_told, "gaps", (json_int_t)s->gaps, "sessions_lost",
        (json_int_t)s->sessions_lost, "locks_lost", (json_int_t)s->locks_lost);
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(object);
    fputc('\n', stdout);
}

/* ----------------------------------------------------------------------- run */

static bool add_client(struct scale *s, uint32_t number)
{
    char label[32];
    snprintf(label, sizeof label, "lockbench-%u", number);
    const struct lockd_client_options options = {
        .size = sizeof options, .endpoints = s->cell->endpoints, .label = label};
    const enum lockd_rc rc = lockd_client_new(&options, &s->clients[number]);
    if (rc != LOCKD_OK) {
        return bench_fail("client %u: %s", number, lockd_strerror(rc));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s->clients[number]};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, lockd_fd(s->clients[number]), &event) == 0 ||
           bench_fail("epoll: %s", strerror(errno));
}

static bool set_up(struct scale *s)
{
    const struct scale_settings *n = s->settings;
    bench_raise_limit();
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->clients = calloc(n->clients, sizeof(struct lockd_client *));
    s->sessions = calloc((size_t)n->sessions + 1, sizeof(struct lockd_session *));
    s->locks = calloc((size_t)n->locks + 1, sizeof(struct lockd_lock *));
    s->watchers = calloc((size_t)n->watches + 1, sizeof *s->watchers);
    if (s->epoll < 0 || s->clients == NULL || s->sessions == NULL || s->locks == NULL ||
        s->watchers == NULL) {
        return bench_fail("no memory or no descriptor: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < n->clients; i++) {
        if (!add_client(s, i)) {
            return false;
        }
    }
    return true;
}

static void tear_down(struct scale *s)
{
    for (uint32_t i = 0; s->clients != NULL && i < s->settings->clients; i++) {
        lockd_client_free(s->clients[i]); /* And with it what is of it. */
    }
    free(s->clients);
    free(s->sessions);
    free(s->locks);
    free(s->watchers);
    if (s->epoll >= 0) {
        close(s->epoll);
    }
}

static bool measure(struct scale *s)
{
    const struct scale_settings *n = s->settings;
    const uint32_t directories = (n->nodes + DIRECTORY_NODES - 1) / DIRECTORY_NODES;
    return make(s, "directories", 1 + directories, begin_directory) &&
           make(s, "nodes", n->nodes, begin_node) &&
           make(s, "sessions", n->sessions, begin_session) &&
           make(s, "locks held", n->locks, begin_lock) &&
           make(s, "watches", n->watches, begin_watch) && fail_over(s);
}

bool scale_run(const struct scale_settings *settings, struct cell *cell)
{
    struct scale s = {.settings = settings, .cell = cell, .epoll = -1, .master = -1};
    bool ok = set_up(&s) && measure(&s);
    if (ok && settings->json) {
        print_json(&s);
    } else if (s.steps_count > 0) {
        print_simple(&s);
    }
    if (ok && (s.sessions_lost > 0 || s.locks_lost > 0)) {
        ok = bench_fail("sessions or locks were lost");
    }
    tear_down(&s);
    return ok && fflush(stdout) == 0;
}
