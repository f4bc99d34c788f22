/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway: each request, each outcome and each refusal in the words of the
 * other side.
 */
#include "tests/unit/test_gateway_support.h"
#include "lockd/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The reply as a line without its newline; freed by the caller. */
static char *printed(struct gateway *g, const struct service_reply *reply)
{
    struct wire_buffer out = {0};
    gateway_reply(g, reply, (struct wire_text){.data = "\"x\"", .size = 3}, "local", &out);
    assert_false(out.failed);
    assert_true(out.size > 0 && out.data[out.size - 1] == '\n');
    char *line = calloc(1, out.size);
    assert_non_null(line);
    memcpy(line, out.data, out.size - 1);
    wire_buffer_free(&out);
    return line;
}

static void expect(struct gateway *g, const struct service_reply *reply, const char *part)
{
    char *line = printed(g, reply);
    if (strstr(line, part) == NULL) {
        fail_msg("%s\n  lacks %s", line, part);
    }
    free(line);
}

static void refute(struct gateway *g, const struct service_reply *reply, const char *part)
{
    char *line = printed(g, reply);
    if (strstr(line, part) != NULL) {
        fail_msg("%s\n  has %s", line, part);
    }
    free(line);
}

static void requests(void **state)
{
    static const struct {
        enum wire_method method;
        enum service_op op;
    } cases[] = {
        {WIRE_NODE_GET, SERVICE_GET},
        {WIRE_NODE_PUT, SERVICE_PUT},
        {WIRE_NODE_CREATE, SERVICE_CREATE},
        {WIRE_NODE_LIST, SERVICE_LIST},
        {WIRE_NODE_STAT, SERVICE_STAT},
        {WIRE_NODE_DELETE, SERVICE_DELETE},
        {WIRE_CELL_STATUS, SERVICE_STATUS},
        {WIRE_SESSION_OPEN, SERVICE_SESSION_OPEN},
        {WIRE_SESSION_KEEPALIVE, SERVICE_SESSION_KEEPALIVE},
        {WIRE_SESSION_CLOSE, SERVICE_SESSION_CLOSE},
        {WIRE_LOCK_ACQUIRE, SERVICE_LOCK_ACQUIRE},
        {WIRE_LOCK_RELEASE, SERVICE_LOCK_RELEASE},
        {WIRE_LOCK_CANCEL, SERVICE_LOCK_CANCEL},
        {WIRE_LOCK_LIST, SERVICE_LOCK_LIST},
        {WIRE_LOCK_CHECK, SERVICE_LOCK_CHECK},
        {WIRE_NODE_OPEN, SERVICE_NODE_OPEN},
        {WIRE_NODE_CLOSE, SERVICE_NODE_CLOSE},
        {WIRE_WATCH_ADD, SERVICE_WATCH_ADD},
        {WIRE_WATCH_REMOVE, SERVICE_WATCH_REMOVE},
        {WIRE_NODE_GET_ACL, SERVICE_GET_ACL},
        {WIRE_NODE_SET_ACL, SERVICE_SET_ACL},
        {WIRE_CACHE_BEGIN, SERVICE_CACHE_BEGIN},
        {WIRE_CACHE_ACK, SERVICE_CACHE_ACK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct wire_request in = {.method = cases[i].method,
                                        .name = {.data = "/ls/a/f", .size = 7},
                                        .has_content = true,
                                        .content = {.data = "c", .size = 1},
                                        .kind = WIRE_DIRECTORY,
                                        .if_generation = WIRE_ANY,
                                        .if_instance = 4,
                                        .after = {.data = "e", .size = 1},
                                        .limit = 9};
        struct service_request out;
        gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6, "local", &out);
        assert_int_equal(out.op, cases[i].op);
        assert_int_equal(out.client, 5);
        assert_int_equal(out.tag, 6);
        assert_true(bytes_equal(out.principal, bytes_of("local", 5)));
        assert_true(bytes_equal(out.name, bytes_of("/ls/a/f", 7)));
        assert_true(bytes_equal(out.content, bytes_of("c", 1)));
        assert_true(bytes_equal(out.after, bytes_of("e", 1)));
        assert_int_equal(out.kind, LEASE_DIRECTORY);
        assert_true(out.if_generation == LEASE_ANY);
        assert_int_equal(out.if_instance, 4);
        assert_int_equal(out.limit, 9);
        if (in.method != WIRE_SESSION_OPEN) {
            assert_int_equal(out.session, 0);
            assert_int_equal(out.secret.size, 0);
        }
    }
}

#define SECRET "00112233445566778899aabbccddeeff"

static void requests_of_a_session(void **state)
{
    struct wire_request in = {.method = WIRE_LOCK_ACQUIRE,
                              .has_session = true,
                              .session = UINT64_MAX,
                              .secret = {.data = SECRET, .size = WIRE_SECRET},
                              .request = 7,
                              .ack_floor = 3,
                              .acks = {{.first = 5, .last = 6}, {.first = 8, .last = 8}},
                              .acks_count = 2,
                              .mode = WIRE_SHARED,
                              .wait_ms = WIRE_WAIT_MS_MAX,
                              .create = true,
                              .delay_ms = 60000,
                              .handle = 11,
                              .token = 12,
                              .cancel = 13,
                              .after_instance = 14,
                              .skip = 15};
    struct service_request out;
    gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6, "local", &out);
    assert_true(out.session == UINT64_MAX);
    assert_true(bytes_equal(out.secret, bytes_of(SECRET, WIRE_SECRET)));
    assert_int_equal(out.request, 7);
    assert_int_equal(out.ack_floor, 3);
    assert_int_equal(out.acks_count, 2);
    assert_int_equal(out.acks[0].first, 5);
    assert_int_equal(out.acks[0].last, 6);
    assert_int_equal(out.acks[1].first, 8);
    assert_int_equal(out.acks[1].last, 8);
    assert_int_equal(out.mode, LEASE_SHARED);
    assert_true(out.wait);
    assert_int_equal(out.wait_ms, UINT32_MAX);
    assert_true(out.create);
    assert_int_equal(out.delay_ms, 60000);
    assert_int_equal(out.handle, 11);
    assert_int_equal(out.token, 12);
    assert_int_equal(out.cancel, 13);
    assert_int_equal(out.after_instance, 14);
    assert_int_equal(out.skip, 15);

    in.mode = WIRE_EXCLUSIVE;
    in.wait_ms = WIRE_FOR_EVER;
    gateway_request(*state, &in, 5, 6, "local", &out);
    assert_int_equal(out.mode, LEASE_EXCLUSIVE);
    assert_true(out.wait);
    assert_int_equal(out.wait_ms, 0);
    in.wait_ms = 0;
    gateway_request(*state, &in, 5, 6, "local", &out);
    assert_false(out.wait);
}

/* What a session is opened with is what its opener is told, though nothing is
 * remembered between; and no two are alike. */
static void session_secrets(void **state)
{
    const struct wire_request in = {
        .method = WIRE_SESSION_OPEN, .lease_ms = 5000, .label = {.data = "me", .size = 2}};
    struct service_request out[2];
    char secret[2][WIRE_SECRET];
    for (size_t i = 0; i < 2; i++) {
        gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6 + i, "local", &out[i]);
        assert_true(out[i].session != 0);
        assert_int_equal(out[i].secret.size, WIRE_SECRET);
        assert_int_equal(out[i].lease_ms, 5000);
        assert_true(bytes_equal(out[i].label, bytes_of("me", 2)));
        memcpy(secret[i], out[i].secret.data, WIRE_SECRET);
    }
    assert_true(out[0].session != out[1].session);
    assert_memory_not_equal(secret[0], secret[1], WIRE_SECRET);
    assert_memory_not_equal(secret[0], secret[0] + WIRE_SECRET / 2, WIRE_SECRET / 2);
    for (size_t i = 0; i < 2; i++) {
        const struct service_reply reply = {.op = SERVICE_SESSION_OPEN,
                                            .outcome = SERVICE_DONE,
                                            .session = out[i].session,
                                            .lease_ms = 5000};
        char part[160];
        snprintf(part, sizeof part,
                 "{\"session\":\"%016llx-%.32s\",\"session_id\":\"%016llx\",\"lease_ms\":5000,",
                 (unsigned long long)out[i].session, secret[i],
                 (unsigned long long)out[i].session);
        expect(*state, &reply, part);
    }
    /* Another process draws another key. */
    struct gateway *other = NULL;
    assert_int_equal(make_gateway((void **)&other), 0);
    const struct service_reply reply = {
        .op = SERVICE_SESSION_OPEN, .outcome = SERVICE_DONE, .session = out[0].session};
    char word[WIRE_SECRET + 1] = "";
    memcpy(word, secret[0], WIRE_SECRET);
    expect(*state, &reply, word);
    refute(other, &reply, word);
    gateway_free(other);
}

/* The vectors of the paper's reference code: key 00 01 ... 0f, input 00 01 ... */
static void secrets_are_hashed_as_published(void **state)
{
    (void)state;
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint8_t input[16];
    for (uint8_t i = 0; i < sizeof input; i++) {
        input[i] = i;
    }
    assert_true(siphash(input, 0, key) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(siphash(input, 8, key) == UINT64_C(0x93f5f5799a932462));
    assert_true(siphash(input, 15, key) == UINT64_C(0xa129ca6149be45e5));
}

static void refusals(void **state)
{
    static const struct {
        enum lease_rc rc;
        const char *code;
    } cases[] = {
        {LEASE_NO_NODE, "no_node"},
        {LEASE_NO_PARENT, "no_node"},
        {LEASE_EXISTS, "exists"},
        {LEASE_CONFLICT, "conflict"},
        {LEASE_NOT_EMPTY, "not_empty"},
        {LEASE_NOT_A_FILE, "wrong_kind"},
        {LEASE_NOT_A_DIRECTORY, "wrong_kind"},
        {LEASE_STALE_INSTANCE, "stale_handle"},
        {LEASE_IS_ROOT, "bad_name"},
        {LEASE_LIMIT, "overloaded"},
        {LEASE_BAD_PATH, "bad_name"},
        {LEASE_TOO_LARGE, "too_large"},
        {LEASE_NO_SESSION, "session_expired"},
        {LEASE_LOCKED, "locked"},
        {LEASE_NOT_HELD, "not_held"},
        {LEASE_OWNED, "conflict"},
        {LEASE_CANCELLED, "cancelled"},
        {LEASE_ACKNOWLEDGED, "unknown_outcome"},
        {LEASE_RESULTS_FULL, "overloaded"},
        {LEASE_OLD_EPOCH, "old_epoch"},
        {LEASE_DENIED, "denied"},
        {LEASE_LOCK_DELAY, "lock_delay"},
        {LEASE_NO_ACL, "no_acl"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct service_reply reply = {.op = SERVICE_PUT,
                                            .outcome = SERVICE_REFUSED,
                                            .rc = cases[i].rc,
                                            .epoch = 65537,
                                            .revision = 3,
                                            .slot = 8,
                                            .position = 2};
        char code[64];
        snprintf(code, sizeof code, "\"code\":\"%s\"", cases[i].code);
        expect(*state, &reply, code);
        /* Decided by the state, so it says by which. */
        expect(*state, &reply, "\"index\":[8,2]");
        expect(*state, &reply, "\"epoch\":65537");
        expect(*state, &reply, "\"id\":\"x\"");
    }
    assert_int_equal(gateway_refusal(LEASE_OK), WIRE_OK);
}

static void says_which_node_is_missing(void **state)
{
    const struct service_reply reply = {
        .op = SERVICE_PUT, .outcome = SERVICE_REFUSED, .rc = LEASE_NO_PARENT};
    expect(*state, &reply, "the directory that should hold it does not exist");
}

static void says_what_a_word_stands_for(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_LOCK_ACQUIRE, .outcome = SERVICE_REFUSED, .rc = LEASE_OWNED};
    expect(*state, &reply, "this session and handle hold or await the lock already");
    refute(*state, &reply, "\"stat\"");
    reply.rc = LEASE_ACKNOWLEDGED;
    expect(*state, &reply, "the outcome of this request was acknowledged and forgotten");
    reply.rc = LEASE_RESULTS_FULL;
    expect(*state, &reply, "too many outcomes of the session are not acknowledged");
    reply.rc = LEASE_LOCKED;
    expect(*state, &reply, "\"message\":\"the lock is held\"");
}

static void conflict_shows_the_node(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_PUT,
        .outcome = SERVICE_REFUSED,
        .rc = LEASE_CONFLICT,
        .stat = {.kind = LEASE_FILE, .instance = 4, .content_generation = 7}};
    expect(*state, &reply, "\"generation\":7");
    reply.stat = (struct lease_stat){0}; /* There is no node to show. */
    refute(*state, &reply, "\"generation\"");
}

static void outcomes_without_a_state(void **state)
{
    static const struct {
        enum service_outcome outcome;
        const char *code;
    } cases[] = {
        {SERVICE_BAD_NAME, "bad_name"},       {SERVICE_TOO_LARGE, "too_large"},
        {SERVICE_OVERLOADED, "overloaded"},   {SERVICE_TOO_OLD, "too_old"},
        {SERVICE_UNKNOWN, "unknown_outcome"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct service_reply reply = {
            .op = SERVICE_DELETE, .outcome = cases[i].outcome, .slot = 9};
        char code[64];
        snprintf(code, sizeof code, "\"code\":\"%s\"", cases[i].code);
        expect(*state, &reply, code);
        refute(*state, &reply, "\"index\"");
    }
}

static void names_the_master(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_GET, .outcome = SERVICE_NOT_MASTER, .master = 2};
    expect(*state, &reply, "\"code\":\"not_master\"");
    expect(*state, &reply, "\"master\":\"h2:7400\"");
    reply.master = 3; /* It hasn't said yet where clients find it. */
    expect(*state, &reply, "\"code\":\"unavailable\"");
    reply.master = 1; /* Itself, which has just said no. */
    expect(*state, &reply, "\"code\":\"unavailable\"");
    reply.master = 0;
    expect(*state, &reply, "\"code\":\"unavailable\"");
    expect(*state, &reply, "election");
}

static void results(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_GET,
        .outcome = SERVICE_DONE,
        .epoch = 65537,
        .revision = 12,
        .slot = 5,
        .position = 1,
        .stat = {.kind = LEASE_FILE, .instance = 3, .content_generation = 2, .size = 5},
        .content = bytes_of("hello", 5),
    };
    expect(*state, &reply, "\"content\":\"hello\"");
    expect(*state, &reply, "\"instance\":3");
    expect(*state, &reply, "\"index\":[5,1]");
    reply.op = SERVICE_PUT;
    reply.created = true;
    expect(*state, &reply, "\"created\":true");
    refute(*state, &reply, "hello");
    reply.op = SERVICE_DELETE;
    expect(*state, &reply, "\"revision\":12");
    refute(*state, &reply, "\"stat\"");

    const struct lease_child children[] = {
        {.name = bytes_of("d", 1), .stat = {.kind = LEASE_DIRECTORY, .instance = 8}},
        {.name = bytes_of("f", 1), .stat = {.kind = LEASE_FILE, .instance = 9}},
    };
    reply.op = SERVICE_LIST;
    reply.children = children;
    reply.children_count = 2;
    reply.more = true;
    expect(*state, &reply, "\"name\":\"d\"");
    expect(*state, &reply, "\"instance\":9");
    expect(*state, &reply, "\"more\":true");
}

static void results_of_sessions(void **state)
{
    struct service_reply reply = {.op = SERVICE_SESSION_KEEPALIVE,
                                  .outcome = SERVICE_DONE,
                                  .slot = 5,
                                  .position = 1,
                                  .lease_ms = 12000};
    expect(*state, &reply, "\"result\":{\"lease_ms\":12000,");
    expect(*state, &reply, "\"index\":[5,1]");
    static const enum service_op bare[] = {SERVICE_SESSION_CLOSE, SERVICE_LOCK_RELEASE,
                                           SERVICE_LOCK_CANCEL,   SERVICE_NODE_CLOSE,
                                           SERVICE_WATCH_ADD,     SERVICE_WATCH_REMOVE};
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        reply.op = bare[i];
        expect(*state, &reply, "\"result\":{\"epoch\":0,\"revision\":0,\"index\":[5,1]}}");
    }
}

static void sequencers(void **state)
{
    static char longest[LEASE_PATH_MAX];
    memset(longest, 'x', sizeof longest);
    struct service_reply reply = {.op = SERVICE_LOCK_ACQUIRE,
                                  .outcome = SERVICE_DONE,
                                  .token = 17,
                                  .path = bytes_of("d/l", 3),
                                  .mode = LEASE_EXCLUSIVE};
    expect(*state, &reply, "\"token\":17,\"sequencer\":\"/ls/a/d/l:exclusive:17\"");
    reply.mode = LEASE_SHARED;
    reply.path = bytes_of(NULL, 0);
    expect(*state, &reply, "\"sequencer\":\"/ls/a:shared:17\"");
    reply.mode = LEASE_EXCLUSIVE;
    reply.path = bytes_of(longest, sizeof longest);
    reply.token = LEASE_NUMBER_MAX - 1;
    expect(*state, &reply, "xx:exclusive:9007199254740991\"");
}

static void lists_of_locks(void **state)
{
    const struct lease_claim claims[] = {
        {.held = true,
         .mode = LEASE_SHARED,
         .session = 0xabc,
         .handle = 2,
         .token = 9,
         .since_wall_ms = 1000,
         .label = bytes_of("one", 3)},
        {.mode = LEASE_EXCLUSIVE, .session = 0xdef, .since_wall_ms = 2000},
    };
    static const uint64_t left_ms[2] = {0, 0};
    const struct service_lock locks[] = {
        {.path = bytes_of("l", 1),
         .instance = 4,
         .claims = claims,
         .left_ms = left_ms,
         .claims_count = 2},
        {.path = bytes_of("d/m", 3),
         .instance = 6,
         .claims = claims + 1,
         .left_ms = left_ms,
         .claims_count = 1,
         .more = true},
    };
    struct service_reply reply = {.op = SERVICE_LOCK_LIST,
                                  .outcome = SERVICE_DONE,
                                  .locks = locks,
                                  .locks_count = 2,
                                  .more = true,
                                  .next_instance = 6};
    expect(
        *state, &reply,
        "\"locks\":[{\"name\":\"/ls/a/l\",\"instance\":4,\"claims\":["
        "{\"held\":true,\"mode\":\"shared\",\"session\":\"0000000000000abc\",\"label\":\"one\","
        "\"handle\":2,\"token\":9,\"since_ms\":1000},"
        "{\"held\":false,\"mode\":\"exclusive\",\"session\":\"0000000000000def\",\"label\":"
        "\"\","
        "\"handle\":0,\"since_ms\":2000}],\"more\":false},"
        "{\"name\":\"/ls/a/d/m\",\"instance\":6,\"claims\":[{");
    expect(*state, &reply, "\"since_ms\":2000}],\"more\":true}],\"more\":true,\"next\":6,");
    /* Of one lock, its claims go on, and there is no lock behind it. */
    reply.locks = locks + 1;
    reply.locks_count = 1;
    reply.next_instance = 0;
    expect(*state, &reply, "\"since_ms\":2000}],\"more\":true}],\"more\":false,\"level\"");
}

static void status(void **state)
{
    const struct paxos_members members = {.number = 1,
                                          .count = 3,
                                          .member = {{.id = 1, .address = "h1:7500"},
                                                     {.id = 2, .address = "h2:7500"},
                                                     {.id = 3, .address = "h3:7500"}}};
    struct service_status all = {
        .paxos = {.role = PAXOS_MASTER,
                  .serving = true,
                  .master = 1,
                  .epoch = 65537,
                  .cell = 0xabc,
                  .chosen = 7,
                  .durable = 7,
                  .members = &members,
                  .peers_count = 2,
                  .peers = {{.id = 2, .heard_ms = 900, .durable = 6}, {.id = 3}}},
        .position = {.slot = 7, .revision = 5},
        .counts = {.sessions = 21,
                   .held = 22,
                   .waiting = 23,
                   .delayed = 24,
                   .opens = 25,
                   .history_bytes = 26},
        .watches = 27,
        .history_floor = 28,
        .digest = 0x12,
        .open = true,
        .survives = 1,
        .now_ms = 1000,
    };
    const struct service_reply reply = {
        .op = SERVICE_STATUS, .outcome = SERVICE_DONE, .status = &all};
    expect(*state, &reply, "\"role\":\"master\"");
    expect(*state, &reply, "\"cell_id\":\"0000000000000abc\"");
    expect(*state, &reply, "\"digest\":\"0000000000000012\"");
    all.open = false; /* Who may not read everything could confirm by it what he guesses. */
    expect(*state, &reply, "\"digest\":\"\"");
    all.open = true;
    expect(*state, &reply, "\"master\":\"h1:7400\"");
    expect(*state, &reply,
           "\"sessions\":21,\"locks_held\":22,\"locks_waiting\":23,\"locks_delayed\":24,"
           "\"opens\":25,\"watches\":27,\"history_bytes\":26,\"history_floor\":28,");
    refute(*state, &reply, "\"stretch_ms\"");
    all.stretch_ms = 24000;
    expect(*state, &reply, "\"stretch_ms\":24000");
    expect(*state, &reply, "\"survives\":1");
    expect(*state, &reply, "\"heard_ms_ago\":100");
    expect(*state, &reply, "\"durable_slot\":6");
    expect(*state, &reply, "\"client\":\"h2:7400\"");

    static const struct {
        enum paxos_role role;
        const char *name;
    } roles[] = {
        {PAXOS_FORMING, "\"role\":\"forming\""},
        {PAXOS_FOLLOWER, "\"role\":\"follower\""},
        {PAXOS_PREVOTER, "\"role\":\"candidate\""},
        {PAXOS_PREPARER, "\"role\":\"candidate\""},
    };
    all.paxos.serving = false;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        all.paxos.role = roles[i].role;
        expect(*state, &reply, roles[i].name);
        refute(*state, &reply, "\"survives\"");
        refute(*state, &reply, "\"durable_slot\":6"); /* Only the master knows. */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(requests_of_a_session),
        cmocka_unit_test(session_secrets),
        cmocka_unit_test(secrets_are_hashed_as_published),
        cmocka_unit_test(refusals),
        cmocka_unit_test(says_which_node_is_missing),
        cmocka_unit_test(says_what_a_word_stands_for),
        cmocka_unit_test(conflict_shows_the_node),
        cmocka_unit_test(outcomes_without_a_state),
        cmocka_unit_test(names_the_master),
        cmocka_unit_test(results),
        cmocka_unit_test(results_of_sessions),
        cmocka_unit_test(sequencers),
        cmocka_unit_test(lists_of_locks),
        cmocka_unit_test(status),
    };
    return cmocka_run_group_tests_name("gateway", tests, make_gateway, free_gateway);
}
