/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_reads.c -- the client protocol: levels of reads, what sessions keep of them,
 * and ACLs.  Which requests are refused, which lines of a server make sense, and how
 * all of it looks.
 */
#include "tests/unit/wire_help.h"

#include <stdlib.h>

#define ID "0123456789abcdef"
#define WHO "\"session\":\"" ID "-00112233445566778899aabbccddeeff\""
#define NAME "\"name\":\"/ls/local/n\""
#define ASK(method, params)                                                                    \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":{" params "}}"
#define GET(params) ASK("node.get", NAME "," params)
#define SET(params) ASK("node.set_acl", NAME "," params)
#define OCTETS_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ----------------------------------------------------------------- requests */

/* Line, and a part of its refusal; NULL: it is read. */
static const struct {
    const char *line;
    const char *detail;
} lines[] = {
    {GET("\"level\":\"linearizable\""), NULL},
    {GET("\"level\":\"lease\""), NULL},
    {GET("\"level\":\"sequential\",\"min_revision\":0,\"wait_ms\":0,\"max_age_ms\":1"), NULL},
    {GET("\"max_age_ms\":4294967295,\"level\":\"stale\""), NULL},
    {ASK("node.stat", NAME ",\"level\":\"stale\""), NULL},
    {ASK("node.list", NAME ",\"level\":\"stale\""), NULL},
    {ASK("node.get_acl", NAME ",\"level\":\"stale\",\"if_instance\":3"), NULL},
    {GET("\"level\":\"newest\""),
     "\"level\" must be \"linearizable\", \"lease\", \"sequential\" or \"stale\""},
    {GET("\"level\":3"), "\"level\" must be"},
    {ASK("node.put", NAME ",\"content\":\"\",\"level\":\"lease\""), "no parameter \"level\""},
    {ASK("lock.list", "\"level\":\"stale\""), "no parameter \"level\""},
    {ASK("cell.status", "\"level\":\"stale\""), "no parameter \"level\""},

    {GET("\"level\":\"sequential\",\"min_revision\":-1"),
     "\"min_revision\" must be an integer"},
    {GET("\"level\":\"sequential\",\"wait_ms\":60000"), NULL},
    {GET("\"level\":\"sequential\",\"wait_ms\":60001"),
     "\"wait_ms\" must be an integer from 0"},
    {GET("\"level\":\"stale\",\"max_age_ms\":0"), "leave it out if any age will do"},
    {GET("\"level\":\"stale\",\"max_age_ms\":4294967296"), "\"max_age_ms\" must be an integer"},
    /* Whatever their value, and wherever they stand. */
    {GET("\"min_revision\":0"), "\"min_revision\" goes only with the level \"sequential\""},
    {GET("\"wait_ms\":0,\"level\":\"stale\""), "\"wait_ms\" goes only with the level"},
    {GET("\"level\":\"lease\",\"max_age_ms\":5"),
     "\"max_age_ms\" goes only with the level \"sequential\" or \"stale\""},
    {ASK("node.list", NAME ",\"max_age_ms\":5"), "\"max_age_ms\" goes only"},

    {GET("\"cache\":true," WHO), NULL},
    {ASK("node.stat", WHO "," NAME ",\"cache\":true,\"level\":\"linearizable\""), NULL},
    {GET("\"cache\":false"), NULL},
    {GET("\"cache\":1," WHO), "\"cache\" must be true or false"},
    {GET("\"cache\":true"), "\"cache\" goes only with \"session\""},
    {GET(WHO), "\"session\" goes with a read only if \"cache\" is true"},
    {GET("\"cache\":false," WHO), "\"session\" goes with a read only if \"cache\" is true"},
    {GET("\"cache\":true,\"level\":\"lease\"," WHO), "only with the level \"linearizable\""},
    {GET("\"cache\":true,\"request\":1," WHO), "node.get has no parameter \"request\""},
    {GET("\"cache\":true,\"session\":\"7\""), "must be the credential"},
    {ASK("node.list", NAME ",\"cache\":true," WHO), "node.list has no parameter \"cache\""},
    {ASK("node.get_acl", NAME "," WHO), "node.get_acl has no parameter \"session\""},
    {ASK("session.open", "\"cache\":true"), NULL},
    {ASK("session.open", "\"cache\":null"), "\"cache\" must be true or false"},
    {ASK("session.keepalive", "\"cache\":true," WHO), "no parameter \"cache\""},

    {ASK("cache.begin", WHO), NULL},
    {ASK("cache.begin", ""), "cache.begin needs the parameter \"session\""},
    {ASK("cache.begin", WHO ",\"number\":1"), "cache.begin has no parameter \"number\""},
    {ASK("cache.begin", WHO ",\"request\":1"), "cache.begin has no parameter \"request\""},
    {ASK("cache.ack", WHO ",\"number\":1"), NULL},
    {ASK("cache.ack", WHO), "cache.ack needs the parameter \"number\""},
    {ASK("cache.ack", WHO ",\"number\":0"), "\"number\" must be an integer from 1"},
    {ASK("cache.ack", "\"number\":1"), "cache.ack needs the parameter \"session\""},

    {SET("\"read\":\"\""), NULL},
    {SET("\"write\":\"w\",\"change\":\"c\",\"if_generation\":0,\"if_instance\":1"), NULL},
    {SET("\"read\":\"r\",\"request\":3," WHO), NULL},
    {SET("\"read\":\"" OCTETS_64 "\""), NULL},
    {SET("\"read\":\"" OCTETS_64 "x\""), "\"read\" must be the name of an ACL"},
    {SET("\"write\":null"), "\"write\" must be the name of an ACL, of at most 64 octets"},
    {SET("\"change\":7"), "\"change\" must be the name of an ACL"},
    {SET("\"raed\":\"r\""), "node.set_acl has no parameter \"raed\""},
    {SET("\"read\":\"r\"," WHO), "node.set_acl with \"session\" needs"},
    {ASK("node.set_acl", "\"read\":\"r\""), "node.set_acl needs the parameter \"name\""},
    {ASK("node.get_acl", NAME ",\"read\":\"r\""), "node.get_acl has no parameter \"read\""},
    {ASK("node.put", NAME ",\"content\":\"\",\"read\":\"\""), "no parameter \"read\""},
};

static void test_what_is_refused(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct wire_request request;
        struct wire_refusal refusal = {.error = WIRE_OK};
        const bool read = wire_parse_request(&memory, text(lines[i].line), &request, &refusal);
        if (read != (lines[i].detail == NULL)) {
            fail_msg("%s: %s", lines[i].line, read ? "is read" : refusal.detail);
        }
        if (!read && (refusal.error != WIRE_INVALID_PARAMS ||
                      strstr(refusal.detail, lines[i].detail) == NULL)) {
            fail_msg("%s: \"%s\" does not contain \"%s\"", lines[i].line, refusal.detail,
                     lines[i].detail);
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
    assert_true(wire_parse_request(&memory, text(ASK("node.get", NAME)), &r, &refusal));
    assert_int_equal(r.level, WIRE_LINEARIZABLE);
    assert_int_equal(r.min_revision, 0);
    assert_int_equal(r.read_wait_ms, 0);
    assert_int_equal(r.max_age_ms, 0);
    assert_false(r.cache);
    assert_true(wire_parse_request(&memory, text(SET("\"write\":\"\"")), &r, &refusal));
    assert_null(r.acl[0].data); /* It stays as it is ... */
    assert_non_null(r.acl[1].data);
    assert_int_equal(r.acl[1].size, 0); /* ... this is for anyone. */
    assert_null(r.acl[2].data);
    assert_true(r.if_generation == WIRE_ANY);
    wire_memory_free(&memory);
}

/* ------------------------------------------------------------------ replies */

#define POSITION "\"epoch\":1,\"revision\":2,\"index\":[3,4]"
#define STAT                                                                                   \
    "\"stat\":{\"kind\":\"file\",\"instance\":1,\"generation\":1,\"lock_generation\":0,"       \
    "\"acl_generation\":0,\"checksum\":\"" ID                                                  \
    "\",\"revision\":1,\"modified_ms\":1,\"size\":0}"
#define RESULT(members) "{\"id\":1,\"result\":{" members "," POSITION "}}"
#define ERROR(members)                                                                         \
    "{\"id\":1,\"error\":{\"code\":-32000,\"message\":\"m\",\"data\":{\"code\":\"no_"          \
    "node\"" members "}}}"
#define ENTRY(members) RESULT("\"entries\":[{\"name\":\"n\"," members "}],\"more\":false")

static void test_replies(void **state)
{
    (void)state;
    static const struct {
        enum wire_method method;
        bool read;
        const char *line;
    } table[] = {
        {WIRE_NODE_STAT, true, RESULT(STAT)}, /* Of an older cell. */
        {WIRE_NODE_STAT, true, RESULT(STAT ",\"level\":\"stale\",\"age_ms\":0,\"cached\":0")},
        {WIRE_NODE_STAT, false, RESULT(STAT ",\"level\":\"newest\"")},
        {WIRE_NODE_STAT, false, RESULT(STAT ",\"level\":1")},
        {WIRE_NODE_STAT, false, RESULT(STAT ",\"age_ms\":-1")},
        {WIRE_NODE_STAT, false, RESULT(STAT ",\"cached\":true")},
        {WIRE_NODE_STAT, true, ERROR(",\"level\":\"lease\",\"cached\":7")},
        {WIRE_NODE_STAT, false, ERROR(",\"level\":\"newest\"")},
        {WIRE_NODE_STAT, false, ERROR(",\"cached\":false")},
        {WIRE_NODE_LIST, true, ENTRY("\"kind\":\"file\",\"denied\":true")},
        {WIRE_NODE_LIST, true, ENTRY(STAT ",\"denied\":false")},
        {WIRE_NODE_LIST, false, ENTRY("\"kind\":\"file\"")},
        {WIRE_NODE_LIST, false, ENTRY("\"denied\":true")},
        {WIRE_NODE_LIST, false, ENTRY("\"kind\":\"pipe\",\"denied\":true")},
        {WIRE_NODE_LIST, false, ENTRY("\"kind\":\"file\",\"denied\":1")},
        {WIRE_NODE_GET_ACL, true,
         RESULT("\"acl\":{\"read\":\"\",\"write\":\"w\",\"change\":\"c\"}")},
        {WIRE_NODE_GET_ACL, false, RESULT("\"acl\":{\"read\":\"\",\"write\":\"w\"}")},
        {WIRE_NODE_GET_ACL, false,
         RESULT("\"acl\":{\"read\":1,\"write\":\"w\",\"change\":\"c\"}")},
        {WIRE_NODE_GET_ACL, false, RESULT("\"acl\":[\"\",\"\",\"\"]")},
        {WIRE_NODE_GET_ACL, false, RESULT(STAT)},
        {WIRE_NODE_SET_ACL, false, RESULT("\"acl\":{}")},
        {WIRE_SESSION_KEEPALIVE, false, RESULT("\"lease_ms\":1,\"cache_ms\":\"1\"")},
        {WIRE_CACHE_BEGIN, true, RESULT("\"number\":0")},
        {WIRE_CACHE_BEGIN, false, RESULT("\"cache_ms\":3000")},
        {WIRE_CACHE_BEGIN, false, RESULT("\"number\":0,\"cache_ms\":-1")},
    };
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct wire_reply got;
        char detail[WIRE_DETAIL_MAX];
        if (wire_parse_reply(&memory, table[i].method, text(table[i].line), &got, detail) !=
            table[i].read) {
            fail_msg("%s", table[i].line);
        }
    }
    wire_memory_free(&memory);
}

static void assert_printed(const struct wire_reply *reply, const char *expected)
{
    struct wire_buffer b = {.data = NULL};
    wire_print_reply(&b, reply);
    assert_text(line_of(&b), expected);
    wire_buffer_free(&b);
}

/* As docs/protocol.md shows them. */
static void test_how_replies_look(void **state)
{
    (void)state;
    const struct wire_child children[] = {
        {.name = {"a", 1}, .stat = {.kind = WIRE_DIRECTORY}, .denied = true}};
    struct wire_reply reply = {.id = {"1", 1},
                               .method = WIRE_NODE_LIST,
                               .has_position = true,
                               .children = children,
                               .children_count = 1};
#define END "\"epoch\":0,\"revision\":0,\"index\":[0,0]}}"
#define LIST                                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"entries\":[{\"name\":\"a\",\"kind\":"         \
    "\"directory\",\"denied\":true}],\"more\":false,\"level\":"
    assert_printed(&reply, LIST "\"linearizable\"," END);
    reply.level = WIRE_SEQUENTIAL;
    assert_printed(&reply, LIST "\"sequential\"," END);
    reply.has_age = true;
    reply.age_ms = 12;
    assert_printed(&reply, LIST "\"sequential\",\"age_ms\":12," END);

    reply = (struct wire_reply){.id = {"1", 1},
                                .method = WIRE_NODE_GET_ACL,
                                .has_position = true,
                                .has_acl = true,
                                .acl = {{"r", 1}, {"", 0}, {"c", 1}}};
    assert_printed(&reply, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"acl\":{\"read\":\"r\","
                           "\"write\":\"\",\"change\":\"c\"},\"level\":\"linearizable\"," END);
    reply = (struct wire_reply){
        .id = {"1", 1}, .method = WIRE_NODE_GET, .error = WIRE_NO_NODE, .has_position = true};
#define NO_NODE                                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,\"message\":"                    \
    "\"there is no such node\",\"data\":{\"code\":\"no_node\","
    assert_printed(&reply, NO_NODE END "}");
    reply.cached = true;
    reply.cache_number = 7;
    assert_printed(&reply, NO_NODE "\"level\":\"linearizable\",\"cached\":7," END "}");
    reply = (struct wire_reply){.id = {"1", 1}, .method = WIRE_CACHE_BEGIN, .cache_ms = 3000};
    assert_printed(&reply, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"number\":0,"
                           "\"cache_ms\":3000}}");
}

/* ------------------------------------------------------------ invalidations */

#define TOLD(params)                                                                           \
    "{\"jsonrpc\":\"2.0\",\"method\":\"cache.invalidate\",\"params\":{" params "}}"
#define OF_SESSION "\"session\":\"" ID "\",\"number\":4"

static void test_invalidations(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint32_t names; /* 0: all. */
        bool read;
    } table[] = {
        {TOLD(OF_SESSION ",\"names\":[\"/ls/c/x\"]"), 1, true},
        {TOLD(OF_SESSION ",\"names\":[\"/ls/c\",\"/ls/c/\\u00e9\\\"\"]"), 2, true},
        {TOLD(OF_SESSION ",\"all\":true"), 0, true},
        {TOLD(OF_SESSION ",\"all\":true,\"names\":[\"/ls/c/x\"]"), 0, true},
        /* Nobody is to take what it doesn't understand for nothing. */
        {TOLD(OF_SESSION), 0, false},
        {TOLD(OF_SESSION ",\"all\":false"), 0, false},
        {TOLD(OF_SESSION ",\"all\":1"), 0, false},
        {TOLD(OF_SESSION ",\"names\":[]"), 0, false},
        {TOLD(OF_SESSION ",\"names\":[1]"), 0, false},
        {TOLD(OF_SESSION ",\"names\":[\"/ls/c/x\",null]"), 0, false},
        {TOLD(OF_SESSION ",\"names\":\"/ls/c/x\""), 0, false},
        {TOLD("\"session\":\"" ID "\",\"all\":true"), 0, false},
        {TOLD("\"number\":4,\"all\":true"), 0, false},
        {TOLD("\"session\":\"x\",\"number\":4,\"all\":true"), 0, false},
    };
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct wire_notification got = {.names_count = 77};
        char detail[WIRE_DETAIL_MAX] = "";
        if (wire_parse_notification(&memory, text(table[i].line), &got, detail) !=
            table[i].read) {
            fail_msg("%s: %s", table[i].line, detail);
        }
        if (!table[i].read) {
            assert_true(detail[0] != 0);
            continue;
        }
        assert_int_equal(got.notice, WIRE_CACHE_INVALIDATE);
        assert_true(got.session == 0x0123456789abcdef);
        assert_int_equal(got.number, 4);
        assert_int_equal(got.names_count, table[i].names);
    }
    wire_memory_free(&memory);
}

static void test_how_invalidations_look(void **state)
{
    (void)state;
    const struct wire_text names[] = {{"/ls/c", 5}, {"/ls/c/\"q\"", 9}};
    struct wire_notification n = {.notice = WIRE_CACHE_INVALIDATE,
                                  .session = 0x0123456789abcdef,
                                  .number = 4,
                                  .names = names,
                                  .names_count = 2};
    struct wire_buffer b = {.data = NULL};
    wire_print_notification(&b, &n);
    assert_text(line_of(&b), TOLD(OF_SESSION ",\"names\":[\"/ls/c\",\"/ls/c/\\\"q\\\"\"]"));
    b.size = 0;
    n.names_count = 0;
    wire_print_notification(&b, &n);
    assert_text(line_of(&b), TOLD(OF_SESSION ",\"all\":true"));
    wire_buffer_free(&b);
}

/* As many of the longest names as one invalidation may have are more than a line holds:
 * then all is meant.  Whatever stands before the line in the buffer doesn't matter. */
static void test_an_invalidation_fits_into_a_line(void **state)
{
    (void)state;
    enum { LONGEST = 1069 };
    char *name = malloc(LONGEST);
    struct wire_text *names = calloc(WIRE_INVALIDATE_MAX, sizeof *names);
    assert_non_null(name);
    assert_non_null(names);
    memset(name, '"', LONGEST); /* Each takes two octets. */
    for (uint32_t i = 0; i < WIRE_INVALIDATE_MAX; i++) {
        names[i] = wire_text_of(name, LONGEST);
    }
    struct wire_buffer b = {.data = NULL};
    struct wire_memory memory = {.root = NULL};
    unsigned whole = 0;
    for (uint32_t count = 1; count <= WIRE_INVALIDATE_MAX; count += 37) {
        const struct wire_notification n = {.notice = WIRE_CACHE_INVALIDATE,
                                            .number = WIRE_NUMBER_MAX,
                                            .names = names,
                                            .names_count = count};
        struct wire_notification got;
        char detail[WIRE_DETAIL_MAX];
        const size_t from = b.size;
        wire_print_notification(&b, &n);
        assert_false(b.failed);
        const struct wire_text line = wire_text_of(b.data + from, b.size - from - 1);
        assert_true(line.size + 1 <= WIRE_LINE_MAX);
        assert_true(wire_parse_notification(&memory, line, &got, detail));
        assert_true(got.names_count == count || got.names_count == 0);
        whole += got.names_count == count;
        b.size = count % 2 == 0 ? 0 : b.size;
    }
    assert_true(whole == 10); /* Up to 334 names, and 371 are too many. */
    wire_memory_free(&memory);
    wire_buffer_free(&b);
    free(names);
    free(name);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(wire_level_name(WIRE_LINEARIZABLE), "linearizable");
    assert_string_equal(wire_level_name(WIRE_STALE), "stale");
    assert_string_equal(wire_method_name(WIRE_CACHE_BEGIN), "cache.begin");
    assert_string_equal(wire_notice_name(WIRE_CACHE_INVALIDATE), "cache.invalidate");
    assert_string_equal(wire_error_name(WIRE_TOO_OLD), "too_old");
    assert_string_equal(wire_error_name(WIRE_NO_ACL), "no_acl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_an_absent_member_means),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_how_replies_look),
        cmocka_unit_test(test_invalidations),
        cmocka_unit_test(test_how_invalidations_look),
        cmocka_unit_test(test_an_invalidation_fits_into_a_line),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
