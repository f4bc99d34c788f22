/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_caching.h -- a scripted cell that grants caches.
 */
#ifndef TEST_CLIENT_CACHING_H
#define TEST_CLIENT_CACHING_H

#include "tests/unit/test_client_support.h"

enum { CACHE_MS = 3000, CACHE_HERE_MS = 2970 /* With the drift taken off. */ };

static inline struct wire_text text(const char *word)
{
    return (struct wire_text){.data = word, .size = strlen(word)};
}

static inline struct wire_request read_request(enum wire_method method, const char *name)
{
    return (struct wire_request){.method = method,
                                 .name = text(name),
                                 .if_generation = WIRE_ANY,
                                 .if_instance = WIRE_ANY,
                                 .cache = true};
}

/* A request that may be answered behind others. */
struct asked {
    struct wire_request r;
    char id[WIRE_ID_MAX];
};

static inline void expect_asked(struct world *w, enum wire_method method,
                                struct asked *ret_asked)
{
    ret_asked->r = expect(w, method);
    assert_true(ret_asked->r.id.size <= sizeof ret_asked->id);
    memcpy(ret_asked->id, ret_asked->r.id.data, ret_asked->r.id.size);
    ret_asked->r.id.data = ret_asked->id;
}

/* A session that is SAFE and has a cache, both leases counting from now. */
static inline struct lockd_session *open_caching(struct world *w, uint64_t cache_ms)
{
    const struct lockd_session_options options = {.size = sizeof options,
                                                  .lease_ms = LEASE_MS,
                                                  .changed = changed,
                                                  .context = w,
                                                  .cache = true};
    struct outcome o = {.times = 0};
    struct lockd_session *session = NULL;
    assert_int_equal(
        engine_session_open(w->engine, w->now_ms, &options, 5000, done, &o, &session),
        LOCKD_OK);
    if (w->link == 0) {
        become_ready(w);
    }
    const struct wire_request r = expect(w, WIRE_SESSION_OPEN);
    assert_true(r.cache);
    const struct wire_reply opened = {
        .has_position = true,
        .revision = 10,
        .slot = 10,
        .session = SESSION_ID + w->sessions_opened++,
        .secret = {.data = CREDENTIAL_SECRET, .size = WIRE_SECRET},
        .lease_ms = LEASE_MS,
        .cache_ms = cache_ms,
    };
    reply(w, &r, opened);
    assert_int_equal(o.rc, LOCKD_OK);
    return session;
}

static inline void reply_keepalive(struct world *w, const struct wire_request *to,
                                   uint64_t lease_ms, uint64_t cache_ms)
{
    reply(
        w, to,
        (struct wire_reply){.has_position = true, .lease_ms = lease_ms, .cache_ms = cache_ms});
}

static inline void reply_begun(struct world *w, const struct wire_request *to,
                               uint64_t cache_ms, uint64_t number)
{
    reply(w, to,
          (struct wire_reply){
              .has_position = true, .cache_ms = cache_ms, .cache_number = number});
}

/* What a get or a stat brings at `revision`, to be kept under `number`. */
static inline struct wire_reply granted(const struct wire_request *to, const char *content,
                                        uint64_t revision, uint64_t number)
{
    const bool is_get = to->method == WIRE_NODE_GET;
    return (struct wire_reply){
        .has_position = true,
        .epoch = 65537,
        .revision = revision,
        .slot = revision,
        .position = 1,
        .has_stat = true,
        .stat = {.kind = WIRE_FILE,
                 .instance = 7,
                 .generation = revision,
                 .revision = revision,
                 .lock_generation = 3,
                 .lock_token = 9},
        .has_content = is_get,
        .content = text(is_get ? content : ""),
        .cached = true,
        .cache_number = number,
    };
}

static inline struct wire_reply absent(uint64_t revision, uint64_t number)
{
    return (struct wire_reply){.error = WIRE_NO_NODE,
                               .has_position = true,
                               .epoch = 65537,
                               .revision = revision,
                               .slot = revision,
                               .position = 1,
                               .cached = true,
                               .cache_number = number};
}

static inline void begin_read(struct world *w, struct lockd_session *s, enum wire_method method,
                              const char *name, struct outcome *o)
{
    const struct wire_request r = read_request(method, name);
    assert_int_equal(engine_call(w->engine, w->now_ms, s, &r, 5000, done, o), LOCKD_OK);
    flush(w);
}

/* Reads by a message, and has it kept. */
static inline void fill(struct world *w, struct lockd_session *s, const char *name,
                        const char *content, uint64_t revision, uint64_t number)
{
    struct outcome o = {.times = 0};
    begin_read(w, s, WIRE_NODE_GET, name, &o);
    const struct wire_request r = expect(w, WIRE_NODE_GET);
    assert_true(r.cache && r.has_session);
    reply(w, &r, granted(&r, content, revision, number));
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_string_equal(o.content, content);
}

/* As a synchronous read does it; NULL: it would have to ask. */
static inline struct lockd_answer *cached(struct world *w, struct lockd_session *s,
                                          enum wire_method method, const char *name)
{
    const struct wire_request r = read_request(method, name);
    struct lockd_answer *answer = NULL;
    if (!engine_cached(s, &r, &answer)) {
        assert_null(answer);
        return NULL;
    }
    if (w->now_ms < engine_cache_until_ms(s)) {
        return answer;
    }
    lockd_answer_free(answer);
    return NULL;
}

static inline bool has(struct world *w, struct lockd_session *s, const char *name)
{
    struct lockd_answer *answer = cached(w, s, WIRE_NODE_GET, name);
    lockd_answer_free(answer);
    return answer != NULL;
}

static inline void invalidate(struct world *w, uint64_t session, uint64_t number,
                              const struct wire_text *names, uint32_t count)
{
    const struct wire_notification n = {.notice = WIRE_CACHE_INVALIDATE,
                                        .session = session,
                                        .number = number,
                                        .names = names,
                                        .names_count = count};
    notify(w, &n);
}

static inline void invalidate_name(struct world *w, uint64_t session, uint64_t number,
                                   const char *name)
{
    const struct wire_text names[] = {text(name)};
    invalidate(w, session, number, names, 1);
}

#endif
