/* SPDX-License-Identifier: Apache-2.0
 *
 * Handles and sequencers through a whole cell: nodes that are open, pinned to an
 * instance, and checked by others.
 */
#include "tests/unit/test_service_requests.h"

static struct service_request open_of(uint64_t tag, uint64_t session, const char *name)
{
    struct service_request request = request_of(SERVICE_NODE_OPEN, tag, session);
    request.name = bytes_of(name, strlen(name));
    request.ephemeral = true;
    request.handle = session;
    return request;
}

static void close_node(struct cell *cell, uint32_t m, uint64_t tag, uint64_t session,
                       const char *name, uint64_t instance)
{
    struct service_request request = request_of(SERVICE_NODE_CLOSE, tag, session);
    request.name = bytes_of(name, strlen(name));
    request.handle = session;
    request.if_instance = instance;
    submit(cell, m, &request);
    settle(cell);
}

static enum lease_rc get(struct cell *cell, uint32_t m, uint64_t tag, const char *name)
{
    ask(cell, m, SERVICE_STAT, 1, tag, name, NULL);
    settle(cell);
    return reply_to(cell, tag)->rc;
}

static void ephemeral(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    open_session(cell, m, 2, 12);
    struct service_request request = open_of(3, 11, "/ls/test/e");
    request.content = bytes_of("here", 4);
    submit(cell, m, &request);
    request = open_of(4, 12, "/ls/test/e");
    request.kind = 0; /* It must exist. */
    submit(cell, m, &request);
    request = open_of(5, 12, "/ls/test/none");
    request.kind = 0;
    submit(cell, m, &request);
    request = open_of(6, 0, "/ls/test/e");
    submit(cell, m, &request);
    settle(cell);
    assert_true(reply_to(cell, 3)->created && reply_to(cell, 3)->stat.ephemeral);
    assert_false(reply_to(cell, 4)->created);
    const uint64_t instance = reply_to(cell, 3)->stat.instance;
    assert_int_equal(reply_to(cell, 4)->stat.instance, instance);
    assert_refused(cell, 5, LEASE_NO_NODE);
    assert_refused(cell, 6, LEASE_NO_SESSION);
    assert_int_equal(status_of(cell, m).counts.opens, 2);

    close_node(cell, m, 7, 11, "/ls/test/e", LEASE_ANY); /* Nobody closes he knows not what. */
    assert_refused(cell, 7, LEASE_STALE_INSTANCE);
    close_node(cell, m, 8, 11, "/ls/test/e", instance);
    assert_int_equal(outcome_of(cell, 8), SERVICE_DONE);
    assert_int_equal(get(cell, m, 9, "/ls/test/e"), LEASE_OK);
    pass(cell, LEASE + 200); /* The other opener's session runs out. */
    assert_false(lives(cell, m, 12));
    assert_int_equal(get(cell, m, 10, "/ls/test/e"), LEASE_NO_NODE);
    cell_free(cell);
}

/* Requests of a handle are refused when its node is another one, or none. */
static void pinned(void **state)
{
    (void)state;
    static const enum service_op ops[] = {SERVICE_GET,          SERVICE_STAT,
                                          SERVICE_LOCK_LIST,    SERVICE_LOCK_CHECK,
                                          SERVICE_LOCK_ACQUIRE, SERVICE_NODE_OPEN};
    enum { OPS = sizeof ops / sizeof *ops };
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    ask(cell, m, SERVICE_PUT, 1, 2, "/ls/test/f", "a");
    ask(cell, m, SERVICE_CREATE, 1, 3, "/ls/test/d", NULL);
    settle(cell);
    const uint64_t instances[] = {reply_to(cell, 2)->stat.instance,
                                  reply_to(cell, 3)->stat.instance};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < OPS; i++) {
            const uint64_t tag = 100 + 10 * round + i;
            struct service_request request = request_of(ops[i], tag, 11);
            request.name = bytes_of("/ls/test/f", 10);
            request.if_instance = instances[0];
            request.handle = tag;
            request.mode = LEASE_SHARED;
            submit(cell, m, &request);
        }
        struct service_request list = request_of(SERVICE_LIST, 200 + round, 11);
        list.name = bytes_of("/ls/test/d", 10);
        list.if_instance = instances[1];
        submit(cell, m, &list);
        settle(cell);
        for (uint32_t i = 0; i < OPS && round > 0; i++) {
            assert_refused(cell, 100 + 10 * round + i, LEASE_STALE_INSTANCE);
        }
        if (round > 0) {
            assert_refused(cell, 200 + round, LEASE_STALE_INSTANCE);
        } else {
            for (uint32_t i = 0; i < OPS; i++) {
                assert_int_equal(outcome_of(cell, 100 + i), SERVICE_DONE);
            }
            assert_int_equal(outcome_of(cell, 200), SERVICE_DONE);
            release(cell, m, 50, 11, "/ls/test/f", reply_to(cell, 104)->token);
            struct service_request request = request_of(SERVICE_LOCK_RELEASE, 51, 11);
            request.name = bytes_of("/ls/test/f", 10);
            request.handle = 104;
            request.token = reply_to(cell, 104)->token;
            submit(cell, m, &request);
        }
        /* Gone in the second round, made again in the third. */
        ask(cell, m, SERVICE_DELETE, 1, 300 + round, "/ls/test/f", NULL);
        ask(cell, m, SERVICE_DELETE, 1, 310 + round, "/ls/test/d", NULL);
        if (round == 1) {
            ask(cell, m, SERVICE_PUT, 1, 320, "/ls/test/f", "a");
            ask(cell, m, SERVICE_CREATE, 1, 321, "/ls/test/d", NULL);
        }
        settle(cell);
    }
    cell_free(cell);
}

static void check(struct cell *cell, uint32_t m, uint64_t tag, enum lease_mode mode,
                  uint64_t token)
{
    struct service_request request = request_of(SERVICE_LOCK_CHECK, tag, 0);
    request.name = bytes_of("/ls/test/lock", 13);
    request.mode = mode;
    request.token = token;
    submit(cell, m, &request);
    settle(cell);
}

static void sequencers(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    open_session(cell, m, 1, 11);
    check(cell, m, 2, LEASE_EXCLUSIVE, 1); /* There is no such node. */
    acquire(cell, m, 3, 11, "/ls/test/lock");
    settle(cell);
    const uint64_t token = reply_to(cell, 3)->token;
    check(cell, m, 4, LEASE_EXCLUSIVE, token);
    check(cell, m, 5, LEASE_SHARED, token);
    check(cell, m, 6, LEASE_EXCLUSIVE, token + 1);
    check(cell, (m + 1) % 3, 7, LEASE_EXCLUSIVE, token);
    release(cell, m, 8, 11, "/ls/test/lock", token);
    settle(cell);
    check(cell, m, 9, LEASE_EXCLUSIVE, token);
    pass(cell, 50);
    static const struct {
        uint64_t tag;
        bool valid;
    } cases[] = {{2, false}, {4, true}, {5, false}, {6, false}, {9, false}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(outcome_of(cell, cases[i].tag), SERVICE_DONE);
        assert_int_equal(reply_to(cell, cases[i].tag)->valid, cases[i].valid);
    }
    assert_int_equal(outcome_of(cell, 7), SERVICE_NOT_MASTER);
    cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ephemeral),
        cmocka_unit_test(pinned),
        cmocka_unit_test(sequencers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
