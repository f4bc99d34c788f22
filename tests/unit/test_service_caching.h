/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions that keep what they read, as a cell in memory sees them.  What they are told to
 * forget is written down.
 */
#ifndef TESTS_UNIT_TEST_SERVICE_CACHING_H
#define TESTS_UNIT_TEST_SERVICE_CACHING_H

#include "tests/unit/test_service_requests.h"

enum {
    TOLD_MAX = 64,
    TOLD_TEXT = 512,
    CACHE_LEASE = 3000, /* Of the cell; their sessions live longer. */
    LONG_LEASE = 12000,
};

/* An invalidation: "a b/c" or "*". */
struct forget {
    uint64_t session;
    uint64_t client;
    uint64_t number;
    uint64_t at_ms;
    char names[TOLD_TEXT];
};

struct told_all {
    struct cell *cell;
    struct forget forgets[TOLD_MAX];
    uint32_t count;
};

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* In the order of their octets: which comes first in an invalidation doesn't matter. */
static inline void print_names(const struct service_event *event, char text[TOLD_TEXT])
{
    struct bytes names[SERVICE_INVALIDATE_MAX];
    size_t used = 0;
    text[0] = '\0';
    if (event->names_count == 0) {
        snprintf(text, TOLD_TEXT, "*");
        return;
    }
    memcpy(names, event->names, event->names_count * sizeof *names);
    qsort(names, event->names_count, sizeof *names, compare_names);
    for (uint32_t i = 0; i < event->names_count && used < TOLD_TEXT - 80; i++) {
        used += (size_t)snprintf(text + used, TOLD_TEXT - used, "%s/%.*s", i == 0 ? "" : " ",
                                 (int)names[i].size, (const char *)names[i].data);
    }
}

static inline void write_down(void *context, uint32_t index,
                              const struct service_output *output)
{
    struct told_all *told = context;
    (void)index;
    bool others = false;
    for (uint32_t i = 0; i < output->events_count; i++) {
        const struct service_event *event = &output->events[i];
        if (event->kind != SERVICE_EVENT_INVALIDATE) {
            others = true;
            continue;
        }
        assert_false(others); /* It comes before all else. */
        assert_true(told->count < TOLD_MAX);
        struct forget *forget = &told->forgets[told->count++];
        *forget = (struct forget){.session = event->session,
                                  .client = event->client,
                                  .number = event->number,
                                  .at_ms = told->cell->now_ms};
        print_names(event, forget->names);
    }
}

static inline struct cell *listen_to(struct told_all *told, struct cell *cell)
{
    *told = (struct told_all){.cell = cell};
    cell->look = write_down;
    cell->look_context = told;
    return cell;
}

/* What the session was told since `from`, of which there must be one, or nothing. */
static inline const struct forget *told_to(const struct told_all *told, uint64_t session,
                                           uint32_t from)
{
    const struct forget *found = NULL;
    for (uint32_t i = from; i < told->count; i++) {
        if (told->forgets[i].session == session) {
            assert_null(found);
            found = &told->forgets[i];
        }
    }
    return found;
}

static inline void assert_told(const struct told_all *told, uint64_t session, uint32_t from,
                               const char *names)
{
    const struct forget *forget = told_to(told, session, from);
    assert_non_null(forget);
    assert_string_equal(forget->names, names);
}

/* ----------------------------------------------------------------- requests */

/* Each session here has a connection of its own, unless it says otherwise. */
static inline uint64_t client_of(uint64_t session)
{
    return 1000 + session;
}

static inline struct service_request cache_request_of(enum service_op op, uint64_t tag,
                                                      uint64_t session)
{
    struct service_request request = request_of(op, tag, session);
    request.client = client_of(session);
    request.cache = true;
    return request;
}

static inline uint32_t open_cache(struct cell *cell, uint32_t index, uint64_t tag,
                                  uint64_t session)
{
    struct service_request request = cache_request_of(SERVICE_SESSION_OPEN, tag, session);
    request.lease_ms = LONG_LEASE;
    submit(cell, index, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    return reply_to(cell, tag)->cache_ms;
}

static inline const struct service_reply *ask_cached(struct cell *cell, uint32_t index,
                                                     enum service_op op, uint64_t tag,
                                                     uint64_t session, uint64_t client,
                                                     const char *name)
{
    struct service_request request = cache_request_of(op, tag, session);
    request.client = client;
    request.name = bytes_of(name, strlen(name));
    submit(cell, index, &request);
    settle(cell);
    return reply_to(cell, tag);
}

/* May the session keep what is there? */
static inline bool keeps(struct cell *cell, uint32_t index, uint64_t tag, uint64_t session,
                         const char *name)
{
    return ask_cached(cell, index, SERVICE_STAT, tag, session, client_of(session), name)
        ->cached;
}

static inline void acknowledge(struct cell *cell, uint32_t index, uint64_t tag,
                               uint64_t session, uint64_t number)
{
    struct service_request request = cache_request_of(SERVICE_CACHE_ACK, tag, session);
    request.cache_number = number;
    submit(cell, index, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
}

/* Everything that it was told. */
static inline void acknowledge_all(struct cell *cell, uint32_t index, uint64_t tag,
                                   uint64_t session)
{
    acknowledge(cell, index, tag, session, UINT64_MAX);
}

static inline const struct service_reply *
begin_cache(struct cell *cell, uint32_t index, uint64_t tag, uint64_t session, uint64_t client)
{
    struct service_request request = cache_request_of(SERVICE_CACHE_BEGIN, tag, session);
    request.client = client;
    submit(cell, index, &request);
    settle(cell);
    return reply_to(cell, tag);
}

static inline uint32_t renew_cache(struct cell *cell, uint32_t index, uint64_t tag,
                                   uint64_t session, uint64_t client)
{
    struct service_request request = cache_request_of(SERVICE_SESSION_KEEPALIVE, tag, session);
    request.client = client;
    submit(cell, index, &request);
    pass(cell, 150); /* It rides on a heartbeat. */
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    return reply_to(cell, tag)->cache_ms;
}

static inline void put(struct cell *cell, uint32_t index, uint64_t tag, const char *name,
                       const char *content)
{
    ask(cell, index, SERVICE_PUT, 1, tag, name, content);
    settle(cell);
}

static inline bool is_open(const struct cell *cell, uint64_t tag)
{
    return answer_to(cell, tag) == NULL;
}

static inline uint64_t held_at(const struct cell *cell, uint32_t index)
{
    return status_of(cell, index).held;
}

#endif
