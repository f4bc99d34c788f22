/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_reply.c -- which lines of a server make sense to a client, and how
 * long lists are cut to a line.
 */
#include "tests/unit/wire_help.h"

#include <stdlib.h>

#define ID "0123456789abcdef"
#define SECRET "00112233445566778899aabbccddeeff"
#define POSITION "\"epoch\":1,\"revision\":2,\"index\":[3,4]"
#define STAT_TEXT(kind, checksum)                                                              \
    "\"stat\":{\"kind\":\"" kind "\",\"instance\":1,\"generation\":1,\"lock_generation\":0,"   \
    "\"acl_generation\":0,\"checksum\":\"" checksum "\",\"revision\":1,\"modified_ms\":1,"     \
    "\"size\":0}"
#define RESULT(members) "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{" members "}}"
#define CLAIM(held, mode, session, rest)                                                       \
    "{\"held\":" held ",\"mode\":\"" mode "\",\"session\":\"" session                          \
    "\",\"label\":\"\",\"handle\":0" rest ",\"since_ms\":1}"
#define LOCK_LIST(claims, rest)                                                                \
    RESULT("\"locks\":[{\"name\":\"n\",\"instance\":1,\"claims\":[" claims                     \
           "],\"more\":false}]" rest "," POSITION)

/* A newer server's words: what we don't know is passed over, an error that we
 * have no word for leaves the outcome unknown. */
static void test_replies_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum wire_error error;
    } table[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"epoch\":1,\"revision\":2,\"index\":[3,4],"
         "\"new\":[{}]},\"newer\":1}",
         WIRE_OK},
        {"{\"id\":1,\"result\":{\"epoch\":1,\"revision\":2,\"index\":[3,4]},\"error\":null}",
         WIRE_OK},
        {"{\"id\":1,\"error\":{\"code\":-32000,\"message\":\"m\",\"data\":{\"code\":\"novel\"}}"
         "}",
         WIRE_UNKNOWN_OUTCOME},
        {"{\"id\":1,\"error\":{\"code\":-32603,\"message\":\"m\"}}", WIRE_UNKNOWN_OUTCOME},
        {"{\"id\":1,\"error\":{\"code\":-32601,\"message\":\"m\"}}", WIRE_METHOD_NOT_FOUND},
    };
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct wire_reply got;
        char detail[WIRE_DETAIL_MAX];
        assert_true(
            wire_parse_reply(&memory, WIRE_NODE_DELETE, text(table[i].line), &got, detail));
        assert_int_equal(got.error, table[i].error);
    }
    wire_memory_free(&memory);
}

static void test_replies_that_make_no_sense(void **state)
{
    (void)state;
    static const struct {
        enum wire_method method;
        bool read;
        const char *line;
    } table[] = {
        {WIRE_NODE_DELETE, true, "{\"id\":1,\"result\":{" POSITION "}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1}"},
        {WIRE_NODE_DELETE, false, "{\"result\":{" POSITION "}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"result\":{}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"result\":{\"epoch\":1,\"revision\":2,\"index\":[3,4,5]}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"result\":{" POSITION "},\"error\":{\"code\":1,\"message\":\"m\"}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"error\":{\"code\":\"1\",\"message\":\"m\"}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"error\":{\"code\":1}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"data\":{\"master\":1}}}"},
        {WIRE_NODE_STAT, true,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789abcdef") "," POSITION "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789abcdef0") "," POSITION "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789ABCDEF") "," POSITION "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("pipe", "0123456789abcdef") "," POSITION "}}"},
        {WIRE_NODE_GET, false,
         "{\"id\":1,\"result\":{\"content_base64\":\"A\"," STAT_TEXT(
             "file", "0123456789abcdef") "," POSITION "}}"},
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

static void test_replies_of_sessions_and_locks(void **state)
{
    (void)state;
    static const struct {
        enum wire_method method;
        bool read;
        const char *line;
    } table[] = {
        {WIRE_SESSION_OPEN, true,
         RESULT("\"session\":\"" ID "-" SECRET "\",\"lease_ms\":12000," POSITION)},
        {WIRE_SESSION_OPEN, false,
         RESULT("\"session\":\"" ID "\",\"lease_ms\":12000," POSITION)},
        {WIRE_SESSION_OPEN, false, RESULT("\"session\":\"" ID "-" SECRET "\"," POSITION)},
        {WIRE_SESSION_OPEN, false,
         RESULT("\"session\":\"" ID "-" SECRET "\",\"lease_ms\":12000")},
        {WIRE_SESSION_KEEPALIVE, true, RESULT("\"lease_ms\":12000," POSITION)},
        {WIRE_SESSION_KEEPALIVE, false, RESULT("\"lease_ms\":-1," POSITION)},
        {WIRE_SESSION_KEEPALIVE, false, RESULT(POSITION)},
        {WIRE_LOCK_ACQUIRE, true, RESULT("\"token\":1,\"sequencer\":\"s\"," POSITION)},
        {WIRE_LOCK_ACQUIRE, false, RESULT("\"token\":1," POSITION)},
        {WIRE_LOCK_ACQUIRE, false, RESULT("\"sequencer\":\"s\"," POSITION)},
        {WIRE_LOCK_RELEASE, true, RESULT(POSITION)},
        {WIRE_LOCK_CANCEL, true, RESULT(POSITION)},
        {WIRE_SESSION_CLOSE, true, RESULT(POSITION)},
        {WIRE_LOCK_LIST, true, RESULT("\"locks\":[],\"more\":false," POSITION)},
        {WIRE_LOCK_LIST, false, RESULT("\"locks\":{},\"more\":false," POSITION)},
        {WIRE_LOCK_LIST, false, RESULT("\"locks\":[1],\"more\":false," POSITION)},
        {WIRE_LOCK_LIST, false, RESULT("\"locks\":[]," POSITION)},
        {WIRE_LOCK_LIST, true, RESULT("\"locks\":[],\"more\":true,\"next\":5," POSITION)},
        {WIRE_LOCK_LIST, false, RESULT("\"locks\":[],\"more\":true," POSITION)},
        {WIRE_LOCK_LIST, true,
         LOCK_LIST(CLAIM("true", "shared", ID, ",\"token\":1"), ",\"more\":false")},
        {WIRE_LOCK_LIST, true, LOCK_LIST(CLAIM("false", "shared", ID, ""), ",\"more\":false")},
        {WIRE_LOCK_LIST, false, LOCK_LIST(CLAIM("true", "shared", ID, ""), ",\"more\":false")},
        {WIRE_LOCK_LIST, false, LOCK_LIST(CLAIM("0", "shared", ID, ""), ",\"more\":false")},
        {WIRE_LOCK_LIST, false, LOCK_LIST(CLAIM("false", "weak", ID, ""), ",\"more\":false")},
        {WIRE_LOCK_LIST, false,
         LOCK_LIST(CLAIM("false", "shared", "5", ""), ",\"more\":false")},
        {WIRE_LOCK_LIST, false, LOCK_LIST("[]", ",\"more\":false")},
        {WIRE_LOCK_LIST, false,
         RESULT("\"locks\":[{\"name\":\"n\",\"instance\":1,\"claims\":[]}],\"more\":"
                "false," POSITION)},
    };
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct wire_reply got;
        char detail[WIRE_DETAIL_MAX] = "";
        if (wire_parse_reply(&memory, table[i].method, text(table[i].line), &got, detail) !=
            table[i].read) {
            fail_msg("%s: %s", table[i].line, detail);
        }
    }
    wire_memory_free(&memory);
}

/* ------------------------------------------------------- lists that are too long */

/* The longest page there can be still fits into a line, and says that it is not
 * the whole. */
static void test_list_fits_into_a_line(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static char name[255];
    memset(name, '"', sizeof name);
    struct wire_child *page = calloc(COUNT, sizeof *page);
    assert_non_null(page);
    for (size_t i = 0; i < COUNT; i++) {
        page[i] = (struct wire_child){.name = wire_text_of(name, sizeof name),
                                      .stat = {.kind = WIRE_DIRECTORY,
                                               .instance = WIRE_NUMBER_MAX,
                                               .generation = WIRE_NUMBER_MAX,
                                               .lock_generation = WIRE_NUMBER_MAX,
                                               .acl_generation = WIRE_NUMBER_MAX,
                                               .revision = WIRE_NUMBER_MAX,
                                               .modified_ms = WIRE_NUMBER_MAX,
                                               .children = WIRE_NUMBER_MAX}};
    }
    const struct wire_reply sent = {.id = {"1", 1},
                                    .method = WIRE_NODE_LIST,
                                    .has_position = true,
                                    .children = page,
                                    .children_count = COUNT};
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    wire_append(&b, "before\n", 7);
    wire_print_reply(&b, &sent);
    assert_true(b.size - 7 <= WIRE_LINE_MAX);
    struct wire_reply got;
    char detail[WIRE_DETAIL_MAX];
    assert_true(wire_parse_reply(&memory, WIRE_NODE_LIST, wire_text_of(b.data + 7, b.size - 8),
                                 &got, detail));
    assert_true(got.more);
    assert_true(got.children_count > COUNT / 2 && got.children_count < COUNT);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
    free(page);
}

enum { LOCKS = 1000, CLAIMS = 1000 };

/* Prints the list behind other output, and reads it back. */
static void trip(struct wire_memory *memory, struct wire_buffer *b,
                 const struct wire_reply *reply, struct wire_reply *ret_got)
{
    char detail[WIRE_DETAIL_MAX];
    b->size = 0;
    wire_append(b, "before\n", 7);
    wire_print_reply(b, reply);
    assert_true(b->size - 7 <= WIRE_LINE_MAX);
    assert_true(wire_parse_reply(memory, WIRE_LOCK_LIST, wire_text_of(b->data + 7, b->size - 8),
                                 ret_got, detail));
}

/* A page of locks is cut between two of them, and says where to go on. */
static void test_a_page_that_is_too_long(void **state)
{
    (void)state;
    static char name[1100];
    static struct wire_lock locks[LOCKS];
    memset(name, '\\', sizeof name);
    for (uint32_t i = 0; i < LOCKS; i++) {
        locks[i] =
            (struct wire_lock){.name = wire_text_of(name, sizeof name), .instance = 5000 + i};
    }
    struct wire_reply reply = {.id = {"1", 1},
                               .method = WIRE_LOCK_LIST,
                               .has_position = true,
                               .locks = locks,
                               .locks_count = LOCKS};
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_reply got;
    trip(&memory, &b, &reply, &got);
    assert_true(got.locks_count > LOCKS / 4 && got.locks_count < LOCKS);
    assert_true(got.more);
    assert_int_equal(got.next_instance, 5000 + got.locks_count - 1);
    /* The server's own page was not the last one either. */
    reply.more = true;
    reply.next_instance = 9999;
    trip(&memory, &b, &reply, &got);
    assert_int_equal(got.next_instance, 5000 + got.locks_count - 1);
    reply.locks_count = 3;
    trip(&memory, &b, &reply, &got);
    assert_int_equal(got.next_instance, 9999);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

/* So are the claims on one lock, wherever in the page it stands. */
static void test_a_queue_that_is_too_long(void **state)
{
    (void)state;
    enum { EACH = 3 };
    static char label[WIRE_LABEL_MAX];
    static struct wire_claim claims[CLAIMS];
    memset(label, '"', sizeof label);
    for (size_t i = 0; i < CLAIMS; i++) {
        claims[i] = (struct wire_claim){.held = true,
                                        .mode = WIRE_EXCLUSIVE,
                                        .session = UINT64_MAX,
                                        .label = wire_text_of(label, sizeof label),
                                        .handle = WIRE_NUMBER_MAX,
                                        .token = WIRE_NUMBER_MAX,
                                        .since_ms = WIRE_NUMBER_MAX};
    }
    struct wire_lock locks[EACH];
    for (uint32_t i = 0; i < EACH; i++) {
        locks[i] = (struct wire_lock){
            .name = {"n", 1}, .instance = 1 + i, .claims = claims, .claims_count = CLAIMS};
    }
    const struct wire_reply reply = {.id = {"1", 1},
                                     .method = WIRE_LOCK_LIST,
                                     .has_position = true,
                                     .locks = locks,
                                     .locks_count = EACH};
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_reply got;
    trip(&memory, &b, &reply, &got);
    assert_int_equal(got.locks_count, 2);
    assert_int_equal(got.locks[0].claims_count, CLAIMS);
    assert_false(got.locks[0].more);
    assert_true(got.locks[1].claims_count > 0 && got.locks[1].claims_count < CLAIMS);
    assert_true(got.locks[1].more);
    assert_true(got.more);
    assert_int_equal(got.next_instance, 2);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_of_others),
        cmocka_unit_test(test_replies_that_make_no_sense),
        cmocka_unit_test(test_replies_of_sessions_and_locks),
        cmocka_unit_test(test_list_fits_into_a_line),
        cmocka_unit_test(test_a_page_that_is_too_long),
        cmocka_unit_test(test_a_queue_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
