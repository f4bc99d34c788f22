/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench_cached.c -- reads that a session's cache answers, one after the other.
 *
 * The client has a thread of its own, as in most programs, which keeps the session alive
 * and hears of invalidations; the reads are made by this one.  To look at the clock twice
 * costs about as much as such a read: so only the first of each batch is timed.
 */
#include "tools/lockbench.h"

#include <stdlib.h>
#include <string.h>

#define FOLDER "/ls/local/lockbench"
#define NAME FOLDER "/cached"

enum { PATIENCE_MS = 30000, BATCH = 64, TROUBLE_MAX = 512 };

struct cached {
    const struct load_settings *settings;
    struct load_result *result;
    struct lockd_client *client;
    struct lockd_session *session;
};

static bool refuse(const struct cached *c, const char *what, enum lockd_rc rc)
{
    char trouble[TROUBLE_MAX];
    lockd_client_trouble(c->client, trouble, sizeof trouble);
    return bench_fail("%s: %s%s%s", what, lockd_strerror(rc), trouble[0] != 0 ? "; " : "",
                      trouble);
}

static bool open_all(struct cached *c)
{
    const struct lockd_client_options client = {
        .size = sizeof client, .endpoints = c->settings->endpoints, .label = "lockbench"};
    const struct lockd_session_options session = {.size = sizeof session, .cache = true};
    enum lockd_rc rc = lockd_client_new(&client, &c->client);
    if (rc != LOCKD_OK) {
        return bench_fail("client: %s", lockd_strerror(rc));
    }
    rc = lockd_client_start(c->client);
    if (rc == LOCKD_OK) {
        rc = lockd_session_open(c->client, &session, PATIENCE_MS, &c->session);
    }
    return rc == LOCKD_OK || refuse(c, "session", rc);
}

static bool make_file(const struct cached *c)
{
    const uint32_t size = c->settings->value_bytes;
    char *value = malloc((size_t)size + 1);
    if (value == NULL) {
        return bench_fail("no memory");
    }
    memset(value, 'v', size);
    enum lockd_rc rc = lockd_create(c->client, c->session, FOLDER, LOCKD_DIRECTORY, PATIENCE_MS,
                                    /* ret_answer= */ NULL);
    if (rc == LOCKD_OK || rc == LOCKD_E_EXISTS) {
        rc = lockd_put(c->client, c->session, NAME, value, size, LOCKD_ANY, PATIENCE_MS,
                       /* ret_answer= */ NULL);
    }
    free(value);
    return rc == LOCKD_OK || refuse(c, "put " NAME, rc);
}

static void read_one(const struct cached *c)
{
    const struct lockd_read_options options = {.size = sizeof options, .session = c->session};
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_get(c->client, NAME, &options, PATIENCE_MS, &answer);
    c->result->errors += rc != LOCKD_OK;
    c->result->missed += rc == LOCKD_OK && !answer->cached;
    c->result->ops += rc == LOCKD_OK;
    lockd_answer_free(answer);
}

static void read_until(const struct cached *c, uint64_t until_us)
{
    for (uint64_t now = bench_now_us(); now < until_us && !bench_interrupted();) {
        read_one(c);
        const uint64_t then = bench_now_us();
        histogram_add(&c->result->latencies, then - now);
        for (int i = 1; i < BATCH; i++) {
            read_one(c);
        }
        now = bench_now_us();
    }
}

static void measure(const struct cached *c)
{
    const struct load_settings *s = c->settings;
    read_until(c, bench_now_us() + (uint64_t)(s->warmup_seconds * 1e6));
    *c->result = (struct load_result){.ops = 0};
    s->mark(s->context, /* begins= */ true);
    const uint64_t begun = bench_now_us();
    read_until(c, begun + (uint64_t)(s->seconds * 1e6));
    c->result->seconds = (double)(bench_now_us() - begun) / 1e6;
    s->mark(s->context, /* begins= */ false);
}

bool cached_run(const struct load_settings *settings, struct load_result *ret_result)
{
    struct cached c = {.settings = settings, .result = ret_result};
    *ret_result = (struct load_result){.ops = 0};
    const bool ready = open_all(&c) && make_file(&c);
    if (ready) {
        measure(&c);
    }
    if (c.session != NULL) {
        lockd_session_close(c.session, PATIENCE_MS);
    }
    lockd_session_free(c.session);
    lockd_client_free(c.client);
    return ready && (!bench_interrupted() || bench_fail("interrupted"));
}
