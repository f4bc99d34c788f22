/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway: each request, each outcome and each refusal in the words of the
 * other side.
 */
#include "lockd/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *address_of(void *context, paxos_id replica)
{
    (void)context;
    return replica == 1 ? "h1:7400" : replica == 2 ? "h2:7400" : "";
}

static int make_gateway(void **state)
{
    *state = gateway_new(&(struct gateway_config){
        .cell = "a", .principal = "local", .self = 1, .client_address = address_of});
    return *state == NULL;
}

static int free_gateway(void **state)
{
    gateway_free(*state);
    return 0;
}

/* The reply as a line without its newline; freed by the caller. */
static char *printed(struct gateway *g, const struct service_reply *reply)
{
    struct wire_buffer out = {0};
    gateway_reply(g, reply, (struct wire_text){.data = "\"x\"", .size = 3}, &out);
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
        {WIRE_NODE_GET, SERVICE_GET},       {WIRE_NODE_PUT, SERVICE_PUT},
        {WIRE_NODE_CREATE, SERVICE_CREATE}, {WIRE_NODE_LIST, SERVICE_LIST},
        {WIRE_NODE_STAT, SERVICE_STAT},     {WIRE_NODE_DELETE, SERVICE_DELETE},
        {WIRE_CELL_STATUS, SERVICE_STATUS},
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
        gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6, &out);
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
    }
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
        {SERVICE_BAD_NAME, "bad_name"},
        {SERVICE_TOO_LARGE, "too_large"},
        {SERVICE_OVERLOADED, "overloaded"},
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
        .digest = 0x12,
        .survives = 1,
        .now_ms = 1000,
    };
    const struct service_reply reply = {
        .op = SERVICE_STATUS, .outcome = SERVICE_DONE, .status = &all};
    expect(*state, &reply, "\"role\":\"master\"");
    expect(*state, &reply, "\"cell_id\":\"0000000000000abc\"");
    expect(*state, &reply, "\"digest\":\"0000000000000012\"");
    expect(*state, &reply, "\"master\":\"h1:7400\"");
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
        cmocka_unit_test(refusals),
        cmocka_unit_test(says_which_node_is_missing),
        cmocka_unit_test(conflict_shows_the_node),
        cmocka_unit_test(outcomes_without_a_state),
        cmocka_unit_test(names_the_master),
        cmocka_unit_test(results),
        cmocka_unit_test(status),
    };
    return cmocka_run_group_tests_name("gateway", tests, make_gateway, free_gateway);
}
