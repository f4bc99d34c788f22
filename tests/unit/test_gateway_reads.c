/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway: levels of reads, caches, ACLs and principals in the words of the other
 * side.
 */
#include "tests/unit/test_gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Replica 2 has a port for each of two principals, replica 3 for one, and of replica 4
 * nobody has heard. */
static const char *port_of(void *context, paxos_id replica, const char *principal)
{
    (void)context;
    const bool users = principal == NULL || strcmp(principal, "users") == 0;
    switch (replica) {
    case 2:
        return users ? "h2:1" : "h2:2";
    case 3:
        return users ? "h3:1" : "";
    default:
        return NULL;
    }
}

static int make_gateway_with_ports(void **state)
{
    return make_gateway_of(state, port_of);
}

static void check(struct gateway *g, const struct service_reply *reply, const char *principal,
                  const char *part, bool there)
{
    struct wire_buffer out = {0};
    gateway_reply(g, reply, (struct wire_text){.data = "1", .size = 1}, principal, &out);
    assert_false(out.failed);
    if ((memmem(out.data, out.size, part, strlen(part)) != NULL) != there) {
        fail_msg("%.*s\n  %s %s", (int)out.size, out.data, there ? "lacks" : "has", part);
    }
    wire_buffer_free(&out);
}

static void expect(struct gateway *g, const struct service_reply *reply, const char *part)
{
    check(g, reply, "users", part, /* there= */ true);
}

static void refute(struct gateway *g, const struct service_reply *reply, const char *part)
{
    check(g, reply, "users", part, /* there= */ false);
}

/* --------------------------------------------------------------- principals */

static void a_request_bears_its_principal(void **state)
{
    const struct wire_request in = {.method = WIRE_NODE_GET};
    struct service_request out;
    gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6, "users", &out);
    assert_true(bytes_equal(out.principal, bytes_of("users", 5)));
    gateway_request(*state, &in, 5, 6, LEASE_ROOT, &out);
    assert_true(bytes_equal(out.principal, bytes_of("root", 4)));
}

static void who_is_sent_on_keeps_his_principal(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_PUT, .outcome = SERVICE_NOT_MASTER, .master = 2};
    check(*state, &reply, "users", "\"master\":\"h2:1\",\"master_id\":2", true);
    check(*state, &reply, "admins", "\"master\":\"h2:2\",\"master_id\":2", true);

    struct service_event event = {.kind = SERVICE_EVENT_END, .master = 2};
    struct wire_buffer b = {0};
    gateway_event(*state, &event, "admins", &b);
    assert_non_null(memmem(b.data, b.size, "\"h2:2\"", 6));
    wire_buffer_free(&b);
}

/* Then he isn't sent anywhere, and least of all to another's port. */
static void a_master_without_a_port_for_him(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_PUT, .outcome = SERVICE_NOT_MASTER, .master = 3};
    check(*state, &reply, "users", "\"master\":\"h3:1\"", true);
    check(*state, &reply, "admins", "\"code\":\"unavailable\",\"master_id\":3", true);
    check(*state, &reply, "admins",
          "the master is replica 3 at h3:1, where no port for the principal \\\"admins\\\" is "
          "known; it was not executed",
          true);
    check(*state, &reply, "admins", "\"master\":", false);
    reply.master = 4;
    check(*state, &reply, "users", "the master is replica 4, where no port", true);
}

static void the_longest_address_and_principal_are_told(void **state)
{
    char principal[LEASE_PRINCIPAL_MAX + 1] = "";
    memset(principal, 'p', LEASE_PRINCIPAL_MAX);
    const struct service_reply reply = {
        .op = SERVICE_PUT, .outcome = SERVICE_NOT_MASTER, .master = 3};
    check(*state, &reply, principal, "pp\\\" is known; it was not executed\"", true);
}

/* As clients of that principal find it. */
static void status(void **state)
{
    const struct paxos_members members = {
        .number = 1,
        .count = 2,
        .member = {{.id = 2, .address = "h2:7500"}, {.id = 3, .address = "h3:7500"}}};
    struct service_status all = {
        .paxos = {.role = PAXOS_FOLLOWER, .master = 2, .members = &members, .peers_count = 0},
        .cached = 31,
        .held = 32};
    const struct service_reply reply = {
        .op = SERVICE_STATUS, .outcome = SERVICE_DONE, .status = &all};
    check(*state, &reply, "admins", "\"master\":\"h2:2\"", true);
    check(*state, &reply, "admins", "\"client\":\"h2:2\"", true);
    check(*state, &reply, "admins", "h3:1", false);
    check(*state, &reply, "users", "\"client\":\"h3:1\"", true);
    expect(*state, &reply, "\"cached\":31,\"held\":32");
    refute(*state, &reply, "age_ms");
    all.has_age = true;
    all.age_ms = 7;
    expect(*state, &reply, "\"age_ms\":7");
}

/* ------------------------------------------------------------------- levels */

static void requests_at_levels(void **state)
{
    static const struct {
        enum wire_level level;
        enum service_level expected;
        uint32_t wait_ms;
    } cases[] = {{WIRE_LINEARIZABLE, SERVICE_LINEARIZABLE, 0},
                 {WIRE_LEASE, SERVICE_LEASE, 0},
                 {WIRE_SEQUENTIAL, SERVICE_SEQUENTIAL, 60000},
                 {WIRE_STALE, SERVICE_STALE, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct wire_request in = {.method = WIRE_NODE_GET,
                                        .level = cases[i].level,
                                        .min_revision = WIRE_NUMBER_MAX,
                                        .read_wait_ms = WIRE_READ_WAIT_MS_MAX,
                                        .max_age_ms = WIRE_AGE_MS_MAX,
                                        .wait_ms = WIRE_FOR_EVER};
        struct service_request out;
        gateway_request(*state, &in, 5, 6, "users", &out);
        assert_int_equal(out.level, cases[i].expected);
        assert_int_equal(out.min_revision, WIRE_NUMBER_MAX);
        assert_int_equal(out.wait_ms, cases[i].wait_ms);
        assert_int_equal(out.max_age_ms, UINT32_MAX);
    }
}

static void answers_at_levels(void **state)
{
    struct service_reply reply = {.op = SERVICE_STAT,
                                  .outcome = SERVICE_DONE,
                                  .epoch = 1,
                                  .revision = 2,
                                  .slot = 3,
                                  .position = 4,
                                  .stat = {.kind = LEASE_FILE, .instance = 3}};
#define POSITION "\"epoch\":1,\"revision\":2,\"index\":[3,4]"
    expect(*state, &reply, "},\"level\":\"linearizable\"," POSITION);
    reply.level = SERVICE_STALE;
    expect(*state, &reply, "},\"level\":\"stale\"," POSITION);
    reply.level = SERVICE_SEQUENTIAL;
    reply.has_age = true;
    reply.age_ms = 5;
    expect(*state, &reply, "\"level\":\"sequential\",\"age_ms\":5," POSITION);
    reply.level = SERVICE_LEASE;
    expect(*state, &reply, "\"level\":\"lease\"");
    reply.outcome = SERVICE_REFUSED;
    reply.rc = LEASE_DENIED;
    expect(*state, &reply,
           "\"data\":{\"code\":\"denied\",\"level\":\"lease\",\"age_ms\":5," POSITION "}");
}

/* ------------------------------------------------------------------- caches */

static void requests_of_caches(void **state)
{
    struct wire_request in = {.method = WIRE_SESSION_OPEN, .cache = true};
    struct service_request out;
    gateway_request(*state, &in, 5, 6, "users", &out);
    assert_true(out.cache);
    in.cache = false;
    gateway_request(*state, &in, 5, 6, "users", &out);
    assert_false(out.cache);
    in = (struct wire_request){
        .method = WIRE_CACHE_ACK, .has_session = true, .session = 7, .cache_number = 8};
    gateway_request(*state, &in, 5, 6, "users", &out);
    assert_int_equal(out.session, 7);
    assert_int_equal(out.cache_number, 8);
}

static void answers_to_caches(void **state)
{
    struct service_reply reply = {.op = SERVICE_STAT,
                                  .outcome = SERVICE_DONE,
                                  .stat = {.kind = LEASE_FILE, .instance = 3},
                                  .cache_number = 9};
    refute(*state, &reply, "\"cached\"");
    reply.cached = true;
    expect(*state, &reply, "\"level\":\"linearizable\",\"cached\":9,");
    reply.outcome = SERVICE_REFUSED;
    reply.rc = LEASE_NO_NODE;
    expect(*state, &reply, "\"code\":\"no_node\",\"level\":\"linearizable\",\"cached\":9,");

    reply = (struct service_reply){.op = SERVICE_CACHE_BEGIN,
                                   .outcome = SERVICE_DONE,
                                   .cache_ms = 3000,
                                   .cache_number = 9};
    expect(*state, &reply, "\"result\":{\"number\":9,\"cache_ms\":3000,");
    reply.op = SERVICE_CACHE_ACK;
    expect(*state, &reply, "\"result\":{}}");
    reply.op = SERVICE_SESSION_KEEPALIVE;
    reply.lease_ms = 12000;
    expect(*state, &reply, "\"result\":{\"lease_ms\":12000,\"cache_ms\":3000,");
    reply.op = SERVICE_SESSION_OPEN;
    reply.session = 1;
    expect(*state, &reply, "\"lease_ms\":12000,\"cache_ms\":3000,");
    reply.cache_ms = 0;
    refute(*state, &reply, "cache_ms");
}

static void invalidations(void **state)
{
    static char longest[LEASE_PATH_MAX];
    static struct bytes many[SERVICE_INVALIDATE_MAX];
    memset(longest, 'x', sizeof longest);
    const struct bytes names[] = {bytes_of("", 0), bytes_of("d/f", 3)};
    struct service_event event = {.kind = SERVICE_EVENT_INVALIDATE,
                                  .client = 5,
                                  .session = 0xabc,
                                  .number = 4,
                                  .names = names,
                                  .names_count = 2};
    struct wire_buffer b = {0};
#define INVALID                                                                                \
    "{\"jsonrpc\":\"2.0\",\"method\":\"cache.invalidate\",\"params\":{\"session\":"            \
    "\"0000000000000abc\",\"number\":4,"
    gateway_event(*state, &event, "users", &b);
    wire_append(&b, "", 1);
    assert_string_equal(b.data, INVALID "\"names\":[\"/ls/a\",\"/ls/a/d/f\"]}}\n");
    b.size = 0;
    event.names_count = 0;
    gateway_event(*state, &event, "users", &b);
    wire_append(&b, "", 1);
    assert_string_equal(b.data, INVALID "\"all\":true}}\n");

    /* As many as there may be: those that fit are named. */
    b.size = 0;
    for (uint32_t i = 0; i < SERVICE_INVALIDATE_MAX; i++) {
        many[i] = bytes_of(longest, 700);
    }
    event.names = many;
    event.names_count = SERVICE_INVALIDATE_MAX;
    gateway_event(*state, &event, "users", &b);
    assert_true(b.size > SERVICE_INVALIDATE_MAX * 700 && b.size <= WIRE_LINE_MAX);
    b.size = 0;
    for (uint32_t i = 0; i < SERVICE_INVALIDATE_MAX; i++) {
        many[i] = bytes_of(longest, sizeof longest);
    }
    gateway_event(*state, &event, "users", &b);
    wire_append(&b, "", 1);
    assert_string_equal(b.data, INVALID "\"all\":true}}\n");
    wire_buffer_free(&b);
}

/* --------------------------------------------------------------------- ACLs */

static void requests_of_acls(void **state)
{
    const struct wire_request in = {
        .method = WIRE_NODE_SET_ACL, .acl = {{"r", 1}, {NULL, 0}, {"", 0}}, .if_generation = 3};
    struct service_request out;
    gateway_request(*state, &in, 5, 6, "users", &out);
    assert_true(bytes_equal(out.acl[LEASE_READ], bytes_of("r", 1)));
    assert_null(out.acl[LEASE_WRITE].data); /* As it is ... */
    assert_non_null(out.acl[LEASE_CHANGE].data);
    assert_int_equal(out.acl[LEASE_CHANGE].size, 0); /* ... and anyone. */
    assert_int_equal(out.if_generation, 3);
}

static void answers_about_acls(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_GET_ACL,
        .outcome = SERVICE_DONE,
        .acl = {bytes_of("r", 1), bytes_of("w", 1), bytes_of(NULL, 0)}};
    expect(*state, &reply,
           "\"result\":{\"acl\":{\"read\":\"r\",\"write\":\"w\",\"change\":\"\"},"
           "\"level\":\"linearizable\",");
    reply.op = SERVICE_SET_ACL;
    reply.stat = (struct lease_stat){.kind = LEASE_FILE, .instance = 8, .acl_generation = 2};
    expect(*state, &reply, "\"result\":{\"stat\":{\"kind\":\"file\",\"instance\":8,");
    expect(*state, &reply, "\"acl_generation\":2,");
}

/* Of what may not be read the directory tells the name and the kind, no more. */
static void lists_of_what_may_not_be_read(void **state)
{
    const struct lease_child children[] = {
        {.name = bytes_of("d", 1), .stat = {.kind = LEASE_DIRECTORY}, .denied = true},
        {.name = bytes_of("f", 1), .stat = {.kind = LEASE_FILE, .instance = 9}},
    };
    const struct service_reply reply = {
        .op = SERVICE_LIST, .outcome = SERVICE_DONE, .children = children, .children_count = 2};
    expect(
        *state, &reply,
        "[{\"name\":\"d\",\"kind\":\"directory\",\"denied\":true},{\"name\":\"f\",\"stat\":{");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_bears_its_principal),
        cmocka_unit_test(who_is_sent_on_keeps_his_principal),
        cmocka_unit_test(a_master_without_a_port_for_him),
        cmocka_unit_test(the_longest_address_and_principal_are_told),
        cmocka_unit_test(status),
        cmocka_unit_test(requests_at_levels),
        cmocka_unit_test(answers_at_levels),
        cmocka_unit_test(requests_of_caches),
        cmocka_unit_test(answers_to_caches),
        cmocka_unit_test(invalidations),
        cmocka_unit_test(requests_of_acls),
        cmocka_unit_test(answers_about_acls),
        cmocka_unit_test(lists_of_what_may_not_be_read),
    };
    return cmocka_run_group_tests_name("gateway_reads", tests, make_gateway_with_ports,
                                       free_gateway);
}
