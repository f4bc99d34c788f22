/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_watch.c -- watches as they are asked for, and the notifications that
 * come of them.
 */
#include "tests/unit/wire_help.h"

#include <stdlib.h>

#define ADD(watches)                                                                           \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch.add\",\"params\":{\"watches\":" watches  \
    "}}"
#define REMOVE(watches)                                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch.remove\",\"params\":{"                   \
    "\"watches\":" watches "}}"
#define ONE(more) ADD("[{\"watch\":1,\"name\":\"n\"" more "}]")

/* A line, and a part of its refusal; NULL: it is a request. */
static const struct {
    const char *line;
    const char *refusal;
} lines[] = {
    {ONE(""), NULL},
    {ONE(",\"scope\":\"node\",\"kinds\":[\"content\",\"child\",\"acl\",\"lock\",\"delete\","
         "\"conflict\"],\"from\":0,\"if_instance\":1,\"content\":true,\"old_content\":false"),
     NULL},
    {ONE(",\"scope\":\"children\""), NULL},
    {ONE(",\"scope\":\"tree\""), "\"scope\" must be \"node\", \"children\" or \"subtree\""},
    {ONE(",\"scope\":1"), "\"scope\""},
    {ONE(",\"kinds\":[]"), "\"kinds\" must be a list of at least one word"},
    {ONE(",\"kinds\":\"lock\""), "\"kinds\" must be a list"},
    {ONE(",\"kinds\":{\"lock\":1}"), "\"kinds\" must be a list"},
    {ONE(",\"kinds\":[\"lock\",\"lock\"]"), "at most once"},
    {ONE(",\"kinds\":[\"locks\"]"), "content, child, acl, lock, delete, conflict"},
    {ONE(",\"kinds\":[1]"), "\"kinds\""},
    {ONE(",\"from\":-1"), "\"from\""},
    {ONE(",\"from\":9007199254740992"), "\"from\""},
    {ONE(",\"if_instance\":0"), "\"if_instance\""},
    {ONE(",\"if_instance\":4,\"scope\":\"subtree\""), "only with the scope \"node\""},
    {ONE(",\"content\":1"), "\"content\" must be true or false"},
    {ONE(",\"old_content\":null"), "\"old_content\" must be true or false"},
    {ONE(",\"kind\":[\"lock\"]"), "a watch has no member \"kind\""},
    {ADD("[{\"name\":\"n\"}]"), "a watch needs the member \"watch\""},
    {ADD("[{\"watch\":1}]"), "a watch needs the member \"name\""},
    {ADD("[{\"watch\":0,\"name\":\"n\"}]"), "\"watch\" must be an integer from 1"},
    {ADD("[{\"watch\":1,\"name\":2}]"), "\"name\" must be a string"},
    {ADD("[]"), "\"watches\" must be a list of 1 to 1000"},
    {ADD("{}"), "\"watches\" must be a list of 1 to 1000"},
    {ADD("7"), "\"watches\" must be a list of 1 to 1000"},
    {ADD("[7]"), "\"watches\" must be a list of objects"},
    {ADD("[{\"watch\":1,\"name\":\"n\"},{\"watch\":2,\"name\":\"n\"}]"), NULL},
    {ADD("[{\"watch\":3,\"name\":\"n\"},{\"watch\":2,\"name\":\"n\"},{\"watch\":3,"
         "\"name\":\"m\"}]"),
     "\"watches\" names watch 3 twice"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch.add\"}",
     "watch.add needs the parameter \"watches\""},
    {REMOVE("[1,9007199254740991]"), NULL},
    {REMOVE("[]"), "\"watches\" must be a list of 1 to 1000"},
    {REMOVE("[0]"), "\"watches\" must be a list of integers from 1"},
    {REMOVE("[\"1\"]"), "\"watches\" must be a list of integers from 1"},
    {REMOVE("[5,4,5]"), "\"watches\" names watch 5 twice"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch.remove\"}",
     "watch.remove needs the parameter \"watches\""},
};

static void test_what_is_refused(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct wire_request request;
        struct wire_refusal refusal = {.detail = ""};
        const bool read = wire_parse_request(&memory, text(lines[i].line), &request, &refusal);
        if (read != (lines[i].refusal == NULL) ||
            (!read && strstr(refusal.detail, lines[i].refusal) == NULL)) {
            fail_msg("%s: \"%s\"", lines[i].line, refusal.detail);
        }
        if (!read) {
            assert_int_equal(refusal.error, WIRE_INVALID_PARAMS);
            assert_string_equal(refusal.id, "1");
        }
    }
    wire_memory_free(&memory);
}

static void test_what_an_absent_member_means(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_request r;
    struct wire_refusal refusal;
    assert_true(wire_parse_request(&memory, text(ONE("")), &r, &refusal));
    assert_int_equal(r.watches_count, 1);
    assert_int_equal(r.watches[0].scope, WIRE_SCOPE_NODE);
    assert_int_equal(r.watches[0].watched, WIRE_WATCHED_ALL);
    assert_true(r.watches[0].from == WIRE_ANY);
    assert_true(r.watches[0].if_instance == WIRE_ANY);
    assert_false(r.watches[0].content);
    assert_false(r.watches[0].old);
    wire_memory_free(&memory);
}

/* The fullest page, in which all stays as it was, and one watch more. */
static void test_a_page(void **state)
{
    (void)state;
    enum { COUNT = WIRE_WATCHES_MAX };
    struct wire_watch *watches = calloc(COUNT + 1, sizeof *watches);
    assert_non_null(watches);
    for (uint32_t i = 0; i <= COUNT; i++) {
        watches[i] = (struct wire_watch){.watch = COUNT + 1 - i,
                                         .name = {"/ls/local/n", 11},
                                         .scope = WIRE_SCOPE_CHILDREN,
                                         .watched = 1U << i % 6,
                                         .from = i,
                                         .if_instance = WIRE_ANY,
                                         .content = i % 2 == 0,
                                         .old = i % 3 == 0};
    }
    const struct wire_request sent = {.id = {"\"page\"", 6},
                                      .method = WIRE_WATCH_ADD,
                                      .watches = watches,
                                      .watches_count = COUNT};
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_request got;
    struct wire_refusal refusal;
    wire_print_request(&b, &sent);
    assert_true(wire_parse_request(&memory, line_of(&b), &got, &refusal));
    assert_text(got.id, "\"page\"");
    assert_int_equal(got.watches_count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(got.watches[i].watch, watches[i].watch);
        assert_int_equal(got.watches[i].watched, watches[i].watched);
        assert_int_equal(got.watches[i].from, i);
        assert_int_equal(got.watches[i].content, watches[i].content);
        assert_int_equal(got.watches[i].old, watches[i].old);
    }
    /* One more, put in by hand, because nobody prints so many. */
    b.size -= 4;
    WIRE_PUT(&b, ",{\"watch\":5000,\"name\":\"n\"}]}}");
    assert_false(wire_parse_request(&memory, wire_text_of(b.data, b.size), &got, &refusal));
    assert_non_null(strstr(refusal.detail, "1 to 1000"));
    wire_buffer_free(&b);
    wire_memory_free(&memory);
    free(watches);
}

/* ------------------------------------------------------------ notifications */

static const struct wire_text names[] = {{"/ls/a", 5}, {"/ls/a/\"b\"", 9}};

#define OF_NODE .name = {"/ls/a/\"b\"", 9}, .instance = 4, .modified_ms = 1700000000000
#define AT(number) .revision = (number), .first_revision = (number), .count = 1

static const struct wire_notification notifications[] = {
    {.notice = WIRE_WATCH_PROGRESS, .revision = WIRE_NUMBER_MAX},
    {.notice = WIRE_WATCH_END},
    {.notice = WIRE_WATCH_END, .master = {"127.0.0.1:7401", 14}, .master_id = 2},
    {.notice = WIRE_WATCH_EVENT, .watch = 7, .event = {.change = WIRE_GAP, .revision = 88}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = WIRE_NUMBER_MAX,
     .event = {.change = WIRE_CREATED,
               AT(9),
               OF_NODE,
               .kind = WIRE_FILE,
               .generation = 1,
               .size = 5,
               .ephemeral = true,
               .wants_content = true,
               .has_content = true,
               .content = {"he\0lo", 5}}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_CREATED, AT(10), OF_NODE, .kind = WIRE_DIRECTORY}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_WRITTEN,
               .revision = 20,
               .first_revision = 11,
               .count = 4,
               OF_NODE,
               .kind = WIRE_FILE,
               .generation = 5,
               .size = 9000,
               .wants_content = true,
               .wants_old = true,
               .has_old = true,
               .old = {"was", 3}}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_DELETED,
               AT(21),
               OF_NODE,
               .kind = WIRE_FILE,
               .wants_old = true,
               .has_old = true,
               .old = {"\xff\xfe", 2}}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_DELETED, AT(21), OF_NODE, .kind = WIRE_FILE, .wants_old = true}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_ACL_CHANGED, AT(22), OF_NODE, .kind = WIRE_FILE}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_GRANTED,
               AT(23),
               OF_NODE,
               .kind = WIRE_FILE,
               .session = UINT64_MAX,
               .mode = WIRE_EXCLUSIVE,
               .token = 23}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_RELEASED,
               AT(24),
               OF_NODE,
               .kind = WIRE_DIRECTORY,
               .session = 1,
               .mode = WIRE_SHARED,
               .token = 23,
               .failed = true,
               .delay_ms = 60000}},
    {.notice = WIRE_WATCH_EVENT,
     .watch = 1,
     .event = {.change = WIRE_CONTENDED,
               AT(25),
               OF_NODE,
               .kind = WIRE_FILE,
               .session = 0xff,
               .mode = WIRE_SHARED}},
    {.notice = WIRE_CACHE_INVALIDATE,
     .session = UINT64_MAX,
     .number = 1,
     .names = names,
     .names_count = 2},
    {.notice = WIRE_CACHE_INVALIDATE, .session = 1, .number = WIRE_NUMBER_MAX},
};

enum { NOTIFICATIONS = sizeof notifications / sizeof notifications[0] };

static void assert_event_equal(const struct wire_event *a, const struct wire_event *b)
{
    assert_int_equal(a->change, b->change);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->first_revision, b->first_revision);
    assert_int_equal(a->count, b->count);
    assert_true(same(a->name, b->name));
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->instance, b->instance);
    assert_int_equal(a->modified_ms, b->modified_ms);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->ephemeral, b->ephemeral);
    assert_true(a->session == b->session);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->token, b->token);
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->delay_ms, b->delay_ms);
    assert_int_equal(a->wants_content, b->wants_content);
    assert_int_equal(a->has_content, b->has_content);
    assert_true(same(a->content, b->content));
    assert_int_equal(a->wants_old, b->wants_old);
    assert_int_equal(a->has_old, b->has_old);
    assert_true(same(a->old, b->old));
}

static void test_notifications_round_trip(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < NOTIFICATIONS; i++) {
        const struct wire_notification *sent = &notifications[i];
        struct wire_notification got;
        char detail[WIRE_DETAIL_MAX] = "";
        b.size = 0;
        wire_print_notification(&b, sent);
        if (!wire_parse_notification(&memory, line_of(&b), &got, detail)) {
            fail_msg("%.*s: %s", (int)b.size, b.data, detail);
        }
        assert_int_equal(got.notice, sent->notice);
        assert_int_equal(got.watch, sent->watch);
        assert_int_equal(got.revision, sent->revision);
        assert_true(same(got.master, sent->master));
        assert_int_equal(got.master_id, sent->master_id);
        assert_event_equal(&got.event, &sent->event);
        assert_true(got.session == sent->session);
        assert_int_equal(got.number, sent->number);
        assert_int_equal(got.names_count, sent->names_count);
        for (uint32_t k = 0; k < sent->names_count; k++) {
            assert_true(same(got.names[k], sent->names[k]));
        }
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

static void test_notifications_truncated(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < NOTIFICATIONS; i++) {
        b.size = 0;
        wire_print_notification(&b, &notifications[i]);
        const struct wire_text line = line_of(&b);
        for (size_t cut = 0; cut < line.size; cut++) {
            struct wire_notification got;
            char detail[WIRE_DETAIL_MAX] = "";
            assert_false(
                wire_parse_notification(&memory, wire_text_of(line.data, cut), &got, detail));
            assert_true(detail[0] != 0);
        }
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

static void test_notifications_mutated(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_buffer again = {.data = NULL};
    struct rng rng = {.state = 20061106};
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct wire_notification got;
        char detail[WIRE_DETAIL_MAX];
        b.size = 0;
        wire_print_notification(&b, &notifications[i % NOTIFICATIONS]);
        wire_append(&b, "    ", 4); /* Room to grow. */
        size_t size = b.size - 5;
        mutate(&rng, b.data, &size);
        if (wire_parse_notification(&memory, wire_text_of(b.data, size), &got, detail) &&
            got.notice != WIRE_NO_NOTICE) {
            accepted++;
            again.size = 0;
            wire_print_notification(&again, &got);
        }
    }
    /* Both ways must have been taken, else this tests nothing. */
    assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS / 2);
    wire_buffer_free(&again);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

#define NOTICE(method, params)                                                                 \
    "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":{" params "}}"
#define EVENT(event) NOTICE("watch.event", "\"watch\":1,\"event\":{" event "}")
#define NODE "\"name\":\"n\",\"node_kind\":\"file\",\"instance\":1,\"modified_ms\":2"

/* What a newer cell may say is passed over; what makes no sense is not. */
static void test_notifications_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool read;
        enum wire_notice notice;
    } table[] = {
        {NOTICE("watch.progress", "\"revision\":1,\"new\":2"), true, WIRE_WATCH_PROGRESS},
        {NOTICE("watch.progress", "\"revision\":-1"), false, WIRE_NO_NOTICE},
        {NOTICE("watch.progress", ""), false, WIRE_NO_NOTICE},
        {NOTICE("cell.moved", "\"to\":1"), true, WIRE_NO_NOTICE},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"cell.moved\"}", true, WIRE_NO_NOTICE},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\"}", false, WIRE_NO_NOTICE},
        {"{\"jsonrpc\":\"2.0\",\"method\":7}", false, WIRE_NO_NOTICE},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch.end\"}", false, WIRE_NO_NOTICE},
        {"[]", false, WIRE_NO_NOTICE},
        {NOTICE("watch.end", "\"code\":\"not_master\",\"master\":1"), false, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"gap\",\"revision\":3"), true, WIRE_WATCH_EVENT},
        {EVENT("\"kind\":\"gap\""), false, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"renamed\",\"revision\":3"), true, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"deleted\",\"revision\":3," NODE), true, WIRE_WATCH_EVENT},
        {EVENT("\"kind\":\"deleted\",\"revision\":3"), false, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"written\",\"revision\":3," NODE), false, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"written\",\"revision\":3,\"generation\":1,\"size\":0," NODE), true,
         WIRE_WATCH_EVENT},
        {EVENT("\"kind\":\"deleted\",\"revision\":3,\"old_content_base64\":\"A\"," NODE), false,
         WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"deleted\",\"revision\":3,\"old_content\":5," NODE), false,
         WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"granted\",\"revision\":3," NODE), false, WIRE_NO_NOTICE},
        {EVENT("\"kind\":\"contended\",\"revision\":3,\"session\":\"0123456789abcdef\","
               "\"mode\":\"shared\"," NODE),
         true, WIRE_WATCH_EVENT},
        {EVENT("\"kind\":\"granted\",\"revision\":3,\"session\":\"0123456789abcdef\","
               "\"mode\":\"shared\"," NODE),
         false, WIRE_NO_NOTICE},
    };
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct wire_notification got;
        char detail[WIRE_DETAIL_MAX] = "";
        const bool read = wire_parse_notification(&memory, text(table[i].line), &got, detail);
        if (read != table[i].read || (read && got.notice != table[i].notice)) {
            fail_msg("%s: %s", table[i].line, detail);
        }
        assert_true(read || detail[0] != 0);
    }
    wire_memory_free(&memory);
}

/* As docs/protocol.md shows them. */
static void test_how_they_look(void **state)
{
    (void)state;
    struct wire_buffer b = {.data = NULL};
    wire_print_notification(&b, &notifications[11]);
    assert_text(line_of(&b),
                "{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\",\"params\":{\"watch\":1,"
                "\"event\":{\"kind\":\"released\",\"revision\":24,\"name\":\"/ls/a/\\\"b\\\"\","
                "\"node_kind\":\"directory\",\"instance\":4,\"modified_ms\":1700000000000,"
                "\"session\":\"0000000000000001\",\"mode\":\"shared\",\"token\":23,"
                "\"failed\":true,\"lock_delay_ms\":60000}}}");
    b.size = 0;
    wire_print_notification(&b, &notifications[6]);
    assert_text(
        line_of(&b),
        "{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\",\"params\":{\"watch\":1,"
        "\"event\":{\"kind\":\"written\",\"revision\":20,\"first_revision\":11,"
        "\"count\":4,\"name\":\"/ls/a/\\\"b\\\"\",\"node_kind\":\"file\",\"instance\":4,"
        "\"modified_ms\":1700000000000,\"generation\":5,\"size\":9000,"
        "\"content_omitted\":true,\"old_content\":\"was\"}}}");
    b.size = 0;
    wire_print_notification(&b, &notifications[2]);
    assert_text(line_of(&b),
                "{\"jsonrpc\":\"2.0\",\"method\":\"watch.end\",\"params\":{\"code\":"
                "\"not_master\",\"master\":\"127.0.0.1:7401\",\"master_id\":2}}");
    b.size = 0;
    wire_print_notification(&b, &notifications[3]);
    assert_text(line_of(&b),
                "{\"jsonrpc\":\"2.0\",\"method\":\"watch.event\",\"params\":{\"watch\":7,"
                "\"event\":{\"kind\":\"gap\",\"revision\":88}}}");
    wire_buffer_free(&b);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(wire_notice_name(WIRE_WATCH_PROGRESS), "watch.progress");
    assert_string_equal(wire_scope_name(WIRE_SCOPE_SUBTREE), "subtree");
    assert_string_equal(wire_change_name(WIRE_GAP), "gap");
    assert_string_equal(wire_change_name(WIRE_NO_CHANGE), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_an_absent_member_means),
        cmocka_unit_test(test_a_page),
        cmocka_unit_test(test_notifications_round_trip),
        cmocka_unit_test(test_notifications_truncated),
        cmocka_unit_test(test_notifications_mutated),
        cmocka_unit_test(test_notifications_of_others),
        cmocka_unit_test(test_how_they_look),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
