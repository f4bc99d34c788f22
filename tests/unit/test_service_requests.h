/* SPDX-License-Identifier: Apache-2.0
 *
 * What sessions ask of a cell in memory.
 */
#ifndef TESTS_UNIT_TEST_SERVICE_REQUESTS_H
#define TESTS_UNIT_TEST_SERVICE_REQUESTS_H

#include "tests/unit/test_service_support.h"

enum { LEASE = 1000 }; /* Of the sessions here, unless they say otherwise. */

/* ----------------------------------------------------------------- requests */

static inline struct service_request request_of(enum service_op op, uint64_t tag,
                                                uint64_t session)
{
    return (struct service_request){
        .client = 1,
        .tag = tag,
        .op = op,
        .principal = bytes_of("p", 1),
        .if_generation = LEASE_ANY,
        .if_instance = LEASE_ANY,
        .session = session,
        .secret = bytes_of("secret", 6),
        .request = tag, /* Another one for each tag, unless it is a retry. */
        .kind = LEASE_FILE,
        .mode = LEASE_EXCLUSIVE,
    };
}

static inline void submit(struct cell *cell, uint32_t index,
                          const struct service_request *request)
{
    service_request(cell->replica[index].s, cell->now_ms, request);
    cell->replica[index].more = true;
}

static inline void open_session(struct cell *cell, uint32_t index, uint64_t tag,
                                uint64_t session)
{
    struct service_request request = request_of(SERVICE_SESSION_OPEN, tag, session);
    request.lease_ms = LEASE;
    request.label = bytes_of("a test", 6);
    submit(cell, index, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    assert_int_equal(answer_to(cell, tag)->reply.session, session);
}

static inline void keepalive(struct cell *cell, uint32_t index, uint64_t tag, uint64_t session)
{
    const struct service_request request = request_of(SERVICE_SESSION_KEEPALIVE, tag, session);
    assert_true(tag < TAGS_MAX);
    cell->asked[tag].session = session;
    cell->asked[tag].ms = cell->now_ms;
    submit(cell, index, &request);
}

static inline struct service_request acquire_of(uint64_t tag, uint64_t session,
                                                const char *name)
{
    struct service_request request = request_of(SERVICE_LOCK_ACQUIRE, tag, session);
    request.name = bytes_of(name, strlen(name));
    request.wait = true;
    request.create = true;
    return request;
}

static inline void acquire(struct cell *cell, uint32_t index, uint64_t tag, uint64_t session,
                           const char *name)
{
    const struct service_request request = acquire_of(tag, session, name);
    submit(cell, index, &request);
}

static inline void release(struct cell *cell, uint32_t index, uint64_t tag, uint64_t session,
                           const char *name, uint64_t token)
{
    struct service_request request = request_of(SERVICE_LOCK_RELEASE, tag, session);
    request.name = bytes_of(name, strlen(name));
    request.token = token;
    submit(cell, index, &request);
}

static inline const struct service_reply *reply_to(const struct cell *cell, uint64_t tag)
{
    const struct answer *answer = answer_to(cell, tag);
    assert_non_null(answer);
    return &answer->reply;
}

static inline void assert_refused(const struct cell *cell, uint64_t tag, enum lease_rc rc)
{
    const struct service_reply *reply = reply_to(cell, tag);
    if (reply->outcome != SERVICE_REFUSED || reply->rc != rc) {
        fail_msg("tag %u: %s, %s, instead of: %s", (unsigned)tag,
                 service_outcome_text(reply->outcome), lease_rc_text(reply->rc),
                 lease_rc_text(rc));
    }
}

static inline bool lives(const struct cell *cell, uint32_t index, uint64_t session)
{
    struct lease_session known;
    return lease_session_get(service_lease(cell->replica[index].s), session, &known);
}

/* Keeps a session alive for so long, with a KeepAlive every third of its lease;
 * takes tags from `tag` on. */
static inline void live(struct cell *cell, uint32_t index, uint64_t *tag, uint64_t session,
                        uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += LEASE / 3) {
        keepalive(cell, index, ++*tag, session);
        pass(cell, LEASE / 3);
        assert_int_equal(outcome_of(cell, *tag), SERVICE_DONE);
    }
}

#endif
