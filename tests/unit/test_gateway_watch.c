/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway: handles, lock-delay, watches and events in the words of the other
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

static void expect_octets(struct wire_buffer *b, const char *expected)
{
    assert_false(b->failed);
    wire_append(b, "", 1);
    assert_string_equal(b->data, expected);
    wire_buffer_free(b);
}

static void expect(struct gateway *g, const struct service_reply *reply, const char *part)
{
    struct wire_buffer out = {0};
    gateway_reply(g, reply, (struct wire_text){.data = "1", .size = 1}, "local", &out);
    assert_false(out.failed);
    if (memmem(out.data, out.size, part, strlen(part)) == NULL) {
        fail_msg("%.*s\n  lacks %s", (int)out.size, out.data, part);
    }
    wire_buffer_free(&out);
}

/* ----------------------------------------------------------------- requests */

static void requests_that_open(void **state)
{
    struct wire_request in = {.method = WIRE_NODE_OPEN,
                              .name = {.data = "/ls/a/e", .size = 7},
                              .kind = WIRE_FILE,
                              .ephemeral = true,
                              .has_content = true,
                              .content = {.data = "c", .size = 1},
                              .if_instance = WIRE_ANY,
                              .handle = 3};
    struct service_request out;
    gateway_request(*state, &in, /* client= */ 5, /* tag= */ 6, "local", &out);
    assert_int_equal(out.op, SERVICE_NODE_OPEN);
    assert_int_equal(out.kind, LEASE_FILE);
    assert_true(out.ephemeral);
    assert_true(bytes_equal(out.content, bytes_of("c", 1)));
    assert_true(out.if_instance == LEASE_ANY);
    assert_int_equal(out.handle, 3);
    /* Without `create` nothing is made, so there is no kind of it. */
    in = (struct wire_request){.method = WIRE_NODE_OPEN, .if_instance = 9};
    gateway_request(*state, &in, 5, 6, "local", &out);
    assert_int_equal(out.kind, 0);
    assert_false(out.ephemeral);
    assert_int_equal(out.if_instance, 9);
}

static void requests_that_watch(void **state)
{
    static const struct wire_watch watches[] = {
        {.watch = 7,
         .name = {.data = "/ls/a/d", .size = 7},
         .scope = WIRE_SCOPE_SUBTREE,
         .watched = WIRE_WATCH_LOCK | WIRE_WATCH_DELETE,
         .from = 44,
         .if_instance = WIRE_ANY,
         .content = true},
        {.watch = 8,
         .name = {.data = "/ls/a/e", .size = 7},
         .scope = WIRE_SCOPE_NODE,
         .watched = WIRE_WATCHED_ALL,
         .from = WIRE_ANY,
         .if_instance = 5,
         .old = true},
    };
    static const uint64_t unwatch[] = {4, 3};
    const struct wire_request add = {
        .method = WIRE_WATCH_ADD, .watches = watches, .watches_count = 2};
    struct service_request out;
    gateway_request(*state, &add, /* client= */ 5, /* tag= */ 6, "local", &out);
    assert_int_equal(out.op, SERVICE_WATCH_ADD);
    assert_int_equal(out.watches_count, 2);
    assert_int_equal(out.unwatch_count, 0);
    assert_int_equal(out.watches[0].watch, 7);
    assert_true(bytes_equal(out.watches[0].name, bytes_of("/ls/a/d", 7)));
    assert_int_equal(out.watches[0].scope, SERVICE_SCOPE_SUBTREE);
    assert_int_equal(out.watches[0].watched, SERVICE_WATCH_LOCK | SERVICE_WATCH_DELETE);
    assert_int_equal(out.watches[0].from, 44);
    assert_true(out.watches[0].if_instance == LEASE_ANY);
    assert_true(out.watches[0].content);
    assert_false(out.watches[0].old);
    assert_true(out.watches[1].from == LEASE_ANY);
    assert_int_equal(out.watches[1].if_instance, 5);
    assert_false(out.watches[1].content);
    assert_true(out.watches[1].old);

    const struct wire_request without = {
        .method = WIRE_WATCH_REMOVE, .unwatch = unwatch, .unwatch_count = 2};
    gateway_request(*state, &without, 5, 6, "local", &out);
    assert_int_equal(out.op, SERVICE_WATCH_REMOVE);
    assert_int_equal(out.watches_count, 0);
    assert_int_equal(out.unwatch_count, 2);
    assert_int_equal(out.unwatch[1], 3);
}

/* ------------------------------------------------------------------ replies */

static void results(void **state)
{
    struct service_reply reply = {
        .op = SERVICE_NODE_OPEN,
        .outcome = SERVICE_DONE,
        .stat = {.kind = LEASE_FILE, .instance = 3, .lock_token = 12, .ephemeral = true},
        .created = true};
    expect(*state, &reply, "\"lock_token\":12,\"ephemeral\":true},\"created\":true,\"epoch\"");
    reply.op = SERVICE_LOCK_CHECK;
    expect(*state, &reply, "{\"valid\":false,\"level\":\"linearizable\",\"epoch\"");
    reply.valid = true;
    expect(*state, &reply, "{\"valid\":true,");
}

static const struct lease_claim failed = {.delayed = true,
                                          .mode = LEASE_EXCLUSIVE,
                                          .session = 0xabc,
                                          .token = 9,
                                          .since_wall_ms = 1000,
                                          .delay_ms = 5000,
                                          .label = {.data = (const uint8_t *)"one", .size = 3}};

#define FAILED                                                                                 \
    "{\"held\":false,\"delayed\":true,\"mode\":\"exclusive\",\"session\":"                     \
    "\"0000000000000abc\",\"label\":\"one\",\"handle\":0,\"token\":9,\"lock_delay_ms\":5000,"  \
    "\"left_ms\":1234,\"since_ms\":1000}"

static void lock_delays(void **state)
{
    struct service_reply reply = {.op = SERVICE_LOCK_ACQUIRE,
                                  .outcome = SERVICE_REFUSED,
                                  .rc = LEASE_LOCK_DELAY,
                                  .left_ms = 1234,
                                  .holder = &failed};
    expect(*state, &reply, "\"code\":\"lock_delay\"");
    expect(*state, &reply, ",\"left_ms\":1234,\"holder\":" FAILED "}}");
    reply.holder = NULL;
    expect(*state, &reply, ",\"left_ms\":1234}}");

    static const uint64_t left_ms[] = {1234};
    const struct service_lock lock = {.path = bytes_of("l", 1),
                                      .instance = 4,
                                      .claims = &failed,
                                      .left_ms = left_ms,
                                      .claims_count = 1};
    reply = (struct service_reply){
        .op = SERVICE_LOCK_LIST, .outcome = SERVICE_DONE, .locks = &lock, .locks_count = 1};
    expect(*state, &reply, "\"claims\":[" FAILED "]");
}

/* ------------------------------------------------------------------- events */

#define HEAD "{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\",\"params\":{\"watch\":77,"

/* One of each kind of change, and what is told of it to who wants all contents. */
static const struct {
    struct lease_event change;
    const char *tail;
} changes[] = {
    {{.change = LEASE_CREATED,
      .kind = LEASE_FILE,
      .generation = 1,
      .ephemeral = true,
      .has_content = true,
      .content = {.data = (const uint8_t *)"x", .size = 1},
      .content_size = 1},
     "\"event\":{\"kind\":\"created\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"generation\":1,\"size\":1,"
     "\"ephemeral\":true,\"content\":\"x\"}}}\n"},
    {{.change = LEASE_CREATED, .kind = LEASE_DIRECTORY},
     "\"event\":{\"kind\":\"created\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"directory\",\"instance\":4,\"modified_ms\":1000}}}\n"},
    {{.change = LEASE_WRITTEN, .kind = LEASE_FILE, .generation = 2, .content_size = 5000},
     "\"event\":{\"kind\":\"written\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"generation\":2,\"size\":5000,"
     "\"content_omitted\":true,\"old_content_omitted\":true}}}\n"},
    {{.change = LEASE_DELETED,
      .kind = LEASE_FILE,
      .has_old = true,
      .old = {.data = (const uint8_t *)"\xff", .size = 1}},
     "\"event\":{\"kind\":\"deleted\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"old_content_base64\":\"/w==\"}}}\n"},
    {{.change = LEASE_ACL_CHANGED, .kind = LEASE_FILE},
     "\"event\":{\"kind\":\"acl_changed\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000}}}\n"},
    {{.change = LEASE_GRANTED,
      .kind = LEASE_FILE,
      .session = 0xabc,
      .mode = LEASE_SHARED,
      .token = 9},
     "\"event\":{\"kind\":\"granted\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"session\":\"0000000000000abc\","
     "\"mode\":\"shared\",\"token\":9}}}\n"},
    {{.change = LEASE_RELEASED,
      .kind = LEASE_FILE,
      .session = 0xabc,
      .mode = LEASE_EXCLUSIVE,
      .token = 8,
      .failed = true,
      .delay_ms = 5000},
     "\"event\":{\"kind\":\"released\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"session\":\"0000000000000abc\","
     "\"mode\":\"exclusive\",\"token\":8,\"failed\":true,\"lock_delay_ms\":5000}}}\n"},
    {{.change = LEASE_CONTENDED, .kind = LEASE_FILE, .session = 0xabc, .mode = LEASE_EXCLUSIVE},
     "\"event\":{\"kind\":\"contended\",\"revision\":9,\"name\":\"/ls/a/d/f\",\"node_kind\":"
     "\"file\",\"instance\":4,\"modified_ms\":1000,\"session\":\"0000000000000abc\","
     "\"mode\":\"exclusive\"}}}\n"},
};

static void each_change(void **state)
{
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct lease_event change = changes[i].change;
        change.revision = 9;
        change.path = bytes_of("d/f", 3);
        change.instance = 4;
        change.wall_ms = 1000;
        const struct service_event event = {.client = 5,
                                            .kind = SERVICE_EVENT_CHANGE,
                                            .watch = 77,
                                            .revision = 9,
                                            .first_revision = 9,
                                            .count = 1,
                                            .content = true,
                                            .old = true,
                                            .change = &change};
        struct wire_buffer b = {0};
        gateway_event_head(&event, &b);
        expect_octets(&b, HEAD);
        gateway_event_tail(*state, &event, &b);
        expect_octets(&b, changes[i].tail);
    }
}

static void several_changes_and_no_contents(void **state)
{
    const struct lease_event change = {.revision = 20,
                                       .change = LEASE_WRITTEN,
                                       .kind = LEASE_FILE,
                                       .instance = 4,
                                       .path = bytes_of("f", 1),
                                       .generation = 7,
                                       .has_content = true,
                                       .has_old = true,
                                       .content_size = 3,
                                       .content = bytes_of("new", 3),
                                       .old = bytes_of("old", 3)};
    struct service_event event = {.kind = SERVICE_EVENT_CHANGE,
                                  .revision = 20,
                                  .first_revision = 15,
                                  .count = 4,
                                  .change = &change};
    struct wire_buffer b = {0};
#define SEVERAL                                                                                \
    "\"event\":{\"kind\":\"written\",\"revision\":20,\"first_revision\":15,\"count\":4,"       \
    "\"name\":\"/ls/a/f\",\"node_kind\":\"file\",\"instance\":4,\"modified_ms\":0,"            \
    "\"generation\":7,\"size\":3"
    gateway_event_tail(*state, &event, &b);
    expect_octets(&b, SEVERAL "}}}\n");
    event.old = true;
    gateway_event_tail(*state, &event, &b);
    expect_octets(&b, SEVERAL ",\"old_content\":\"old\"}}}\n");
}

static void other_events(void **state)
{
    struct wire_buffer b = {0};
    struct service_event event = {.kind = SERVICE_EVENT_GAP, .watch = 77, .revision = 6};
    gateway_event(*state, &event, "local", &b);
    expect_octets(&b, HEAD "\"event\":{\"kind\":\"gap\",\"revision\":6}}}\n");
    event.kind = SERVICE_EVENT_PROGRESS;
    gateway_event(*state, &event, "local", &b);
    expect_octets(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"watch.progress\",\"params\":"
                      "{\"revision\":6}}\n");
    event.kind = SERVICE_EVENT_END;
    event.master = 2;
    gateway_event(*state, &event, "local", &b);
    expect_octets(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"watch.end\",\"params\":{\"code\":"
                      "\"not_master\",\"master\":\"h2:7400\",\"master_id\":2}}\n");
    /* Nobody, itself, and one of whom it isn't known where clients find it. */
    static const paxos_id nowhere[] = {0, 1, 3};
    for (size_t i = 0; i < 3; i++) {
        event.master = nowhere[i];
        gateway_event(*state, &event, "local", &b);
        expect_octets(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"watch.end\",\"params\":{\"code\":"
                          "\"not_master\"}}\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_open),
        cmocka_unit_test(requests_that_watch),
        cmocka_unit_test(results),
        cmocka_unit_test(lock_delays),
        cmocka_unit_test(each_change),
        cmocka_unit_test(several_changes_and_no_contents),
        cmocka_unit_test(other_events),
    };
    return cmocka_run_group_tests_name("gateway_watch", tests, make_gateway, free_gateway);
}
