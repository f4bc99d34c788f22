/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire.c -- the client protocol: which lines are requests, and how the
 * others are refused.
 */
#include "tests/unit/wire_help.h"

#include <stdlib.h>

/* ------------------------------------------------------------- conformance */

#define REQUEST(id, method, params)                                                            \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define GET(params) REQUEST("1", "node.get", params)
#define PUT(params) REQUEST("1", "node.put", params)
#define STRING(octets) GET("{\"name\":\"" octets "\"}")

/* Line, what becomes of it, the id that the answer bears, and a word that the
 * refusal must contain. */
static const struct {
    const char *line;
    enum wire_error error;
    const char *id;
    const char *word;
} lines[] = {
    {GET("{\"name\":\"/ls/local/a\"}"), WIRE_OK, "1", NULL},
    {" \t{ \"id\" : 1 , \"method\":\"cell.status\", \"jsonrpc\" :\"2.0\"}\r", WIRE_OK, "1",
     NULL},
    {REQUEST("1", "cell.status", "{}"), WIRE_OK, "1", NULL},
    {PUT("{\"name\":\"a\",\"content\":\"\"}"), WIRE_OK, "1", NULL},
    {PUT("{\"name\":\"a\",\"content\":\"\\u0001\"}"), WIRE_OK, "1", NULL},
    {PUT("{\"name\":\"a\",\"content_base64\":\"AA==\"}"), WIRE_OK, "1", NULL},

    /* Text that is not JSON. */
    {"", WIRE_PARSE_ERROR, "null", "too early"},
    {" ", WIRE_PARSE_ERROR, "null", "too early"},
    {"hello", WIRE_PARSE_ERROR, "null", "not JSON"},
    {"{\"id\":1,}", WIRE_PARSE_ERROR, "null", "not JSON"},
    {"{\"id\":1} {}", WIRE_PARSE_ERROR, "null", "goes on"},
    {"{'id':1}", WIRE_PARSE_ERROR, "null", "not JSON"},
    {"{\"id\":01}", WIRE_PARSE_ERROR, "null", "JSON"},
    {"{\"id\":+1}", WIRE_PARSE_ERROR, "null", "JSON"},
    {"{\"id\":NaN}", WIRE_PARSE_ERROR, "null", "JSON"},
    {"\xef\xbb\xbf{\"id\":1}", WIRE_PARSE_ERROR, "null", "JSON"},
    {"{\"id\":1e999}", WIRE_PARSE_ERROR, "null", "out of range"},
    {"{\"id\":-1e999}", WIRE_PARSE_ERROR, "null", "out of range"},
    {"{\"id\":99999999999999999999}", WIRE_PARSE_ERROR, "null", "out of range"},
    {"{\"id\":1,\"id\":1}", WIRE_PARSE_ERROR, "null", "twice"},
    {"{\"id\":1,\"\\u0069d\":2}", WIRE_PARSE_ERROR, "null", "twice"},
    {GET("{\"name\":\"a\",\"name\":\"b\"}"), WIRE_PARSE_ERROR, "null", "twice"},
    {STRING("a\\u0000b"), WIRE_PARSE_ERROR, "null", "u0000"},
    {GET("{\"na\\u0000me\":1}"), WIRE_PARSE_ERROR, "null", "u0000"},
    {STRING("\t"), WIRE_PARSE_ERROR, "null", "JSON"},
    {STRING("\x01"), WIRE_PARSE_ERROR, "null", "JSON"},

    /* Strings that are not UTF-8, and escapes that are no character. */
    {STRING("\xc3\xa9"), WIRE_OK, "1", NULL},
    {STRING("\xf0\x9f\x94\x92"), WIRE_OK, "1", NULL},
    {STRING("\xff"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\x80"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\xc0\xaf"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\xe0\x80\xaf"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\xed\xa0\x80"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\xf4\x90\x80\x80"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\xe2\x82"), WIRE_PARSE_ERROR, "null", "UTF-8"},
    {STRING("\\ud83d\\udd12"), WIRE_OK, "1", NULL},
    {STRING("\\ud83d"), WIRE_PARSE_ERROR, "null", "JSON"},
    {STRING("\\udd12"), WIRE_PARSE_ERROR, "null", "JSON"},
    {STRING("\\ud83d\\ud83d"), WIRE_PARSE_ERROR, "null", "JSON"},
    {STRING("\\u12g4"), WIRE_PARSE_ERROR, "null", "JSON"},
    {STRING("\\x41"), WIRE_PARSE_ERROR, "null", "JSON"},

    /* JSON that is not a request. */
    {"1", WIRE_INVALID_REQUEST, "null", "object"},
    {"\"a\"", WIRE_INVALID_REQUEST, "null", "object"},
    {"null", WIRE_INVALID_REQUEST, "null", "object"},
    {"[]", WIRE_INVALID_REQUEST, "null", "pipelining"},
    {"[" GET("{\"name\":\"a\"}") "]", WIRE_INVALID_REQUEST, "null", "pipelining"},
    {"{}", WIRE_INVALID_REQUEST, "null", "id"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"cell.status\"}", WIRE_INVALID_REQUEST, "null",
     "notifications"},
    {"{\"jsonrpc\":\"2.0\",\"\\u0069d\":1,\"method\":\"cell.status\"}", WIRE_INVALID_REQUEST,
     "null", "without escapes"},
    {"{\"id\":1,\"method\":\"cell.status\"}", WIRE_INVALID_REQUEST, "1", "jsonrpc"},
    {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"cell.status\"}", WIRE_INVALID_REQUEST, "1",
     "jsonrpc"},
    {"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"cell.status\"}", WIRE_INVALID_REQUEST, "1",
     "jsonrpc"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1}", WIRE_INVALID_REQUEST, "1", "method"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", WIRE_INVALID_REQUEST, "1", "method"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"cell.status\",\"extra\":1}",
     WIRE_INVALID_REQUEST, "1", "extra"},
    {REQUEST("1", "node.frob", "{}"), WIRE_METHOD_NOT_FOUND, "1", "node.frob"},
    {REQUEST("1", "", "{}"), WIRE_METHOD_NOT_FOUND, "1", "no method"},

    /* Ids. */
    {REQUEST("0", "cell.status", "{}"), WIRE_OK, "0", NULL},
    {REQUEST("-7", "cell.status", "{}"), WIRE_OK, "-7", NULL},
    {REQUEST("1.50", "cell.status", "{}"), WIRE_OK, "1.50", NULL},
    {REQUEST("9007199254740991", "cell.status", "{}"), WIRE_OK, "9007199254740991", NULL},
    {REQUEST("9007199254740992", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "2^53"},
    {REQUEST("-9007199254740992", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "2^53"},
    {REQUEST("1e20", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "2^53"},
    {REQUEST(" null ", "cell.status", "{}"), WIRE_OK, "null", NULL},
    {REQUEST("\"\"", "cell.status", "{}"), WIRE_OK, "\"\"", NULL},
    {REQUEST("\"a\\u0062\\\"c\"", "cell.status", "{}"), WIRE_OK, "\"a\\u0062\\\"c\"", NULL},
    {REQUEST("\"},]:\\\\\"", "cell.status", "{}"), WIRE_OK, "\"},]:\\\\\"", NULL},
    {REQUEST("true", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "\"id\""},
    {REQUEST("{}", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "\"id\""},
    {REQUEST("[1,2]", "cell.status", "{}"), WIRE_INVALID_REQUEST, "null", "\"id\""},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"cell.status\",\"params\":{},\"id\":5}", WIRE_OK, "5",
     NULL},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"id\",\"params\":{\"id\":8},\"id\":5}",
     WIRE_METHOD_NOT_FOUND, "5", "id"},

    /* Parameters. */
    {GET("[\"a\"]"), WIRE_INVALID_PARAMS, "1", "by name"},
    {GET("null"), WIRE_INVALID_PARAMS, "1", "object"},
    {GET("{}"), WIRE_INVALID_PARAMS, "1", "\"name\""},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.get\"}", WIRE_INVALID_PARAMS, "1",
     "\"name\""},
    {GET("{\"name\":1}"), WIRE_INVALID_PARAMS, "1", "string"},
    {GET("{\"name\":null}"), WIRE_INVALID_PARAMS, "1", "string"},
    {GET("{\"name\":\"a\",\"if_generation\":1}"), WIRE_INVALID_PARAMS, "1",
     "node.get has no parameter \"if_generation\""},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"if_genration\":1}"), WIRE_INVALID_PARAMS, "1",
     "no parameter \"if_genration\""},
    {REQUEST("1", "cell.status", "{\"name\":\"a\"}"), WIRE_INVALID_PARAMS, "1", "\"name\""},
    {PUT("{\"name\":\"a\"}"), WIRE_INVALID_PARAMS, "1", "content"},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"content_base64\":\"\"}"), WIRE_INVALID_PARAMS,
     "1", "not both"},
    {PUT("{\"name\":\"a\",\"content_base64\":\"A\"}"), WIRE_INVALID_PARAMS, "1", "base64"},
    {PUT("{\"name\":\"a\",\"content\":{}}"), WIRE_INVALID_PARAMS, "1", "\"content\""},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"if_generation\":1.0}"), WIRE_INVALID_PARAMS, "1",
     "integer"},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"if_generation\":-1}"), WIRE_INVALID_PARAMS, "1",
     "integer"},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"if_generation\":\"1\"}"), WIRE_INVALID_PARAMS,
     "1", "integer"},
    {PUT("{\"name\":\"a\",\"content\":\"x\",\"if_generation\":9007199254740992}"),
     WIRE_INVALID_PARAMS, "1", "2^53"},
    {REQUEST("1", "node.create", "{\"name\":\"a\"}"), WIRE_INVALID_PARAMS, "1", "\"kind\""},
    {REQUEST("1", "node.create", "{\"name\":\"a\",\"kind\":\"pipe\"}"), WIRE_INVALID_PARAMS,
     "1", "\"directory\""},
    {REQUEST("1", "node.create", "{\"name\":\"a\",\"kind\":\"directory\",\"content\":\"\"}"),
     WIRE_INVALID_PARAMS, "1", "no content"},
    {REQUEST("1", "node.list", "{\"name\":\"a\",\"limit\":0}"), WIRE_INVALID_PARAMS, "1",
     "limit"},
    {REQUEST("1", "node.list", "{\"name\":\"a\",\"limit\":true}"), WIRE_INVALID_PARAMS, "1",
     "limit"},
};

static void test_conformance(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct wire_request request;
        struct wire_refusal refusal = {.error = WIRE_OK};
        const char *id = refusal.id;
        if (wire_parse_request(&memory, text(lines[i].line), &request, &refusal)) {
            assert_text(request.id, lines[i].id);
        } else {
            assert_string_equal(id, lines[i].id);
        }
        if (refusal.error != lines[i].error) {
            fail_msg("%s: %s (%s)", lines[i].line, wire_error_name(refusal.error),
                     refusal.detail);
        }
        if (lines[i].word != NULL && strstr(refusal.detail, lines[i].word) == NULL) {
            fail_msg("%s: \"%s\" does not contain \"%s\"", lines[i].line, refusal.detail,
                     lines[i].word);
        }
    }
    wire_memory_free(&memory);
}

static enum wire_error error_of(struct wire_text line)
{
    struct wire_memory memory = {.root = NULL};
    struct wire_request request;
    struct wire_refusal refusal = {.error = WIRE_OK};
    wire_parse_request(&memory, line, &request, &refusal);
    wire_memory_free(&memory);
    return refusal.error;
}

/* The request itself is two levels deep; `levels` more stand in a parameter. */
static enum wire_error error_of_depth(size_t levels, char open, char close)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.get\","
                               "\"params\":{\"x\":";
    char *line = malloc(sizeof head + 2 * levels + 2);
    assert_non_null(line);
    size_t at = sizeof head - 1;
    memcpy(line, head, at);
    memset(line + at, open, levels);
    memset(line + at + levels, close, levels);
    at += 2 * levels;
    memcpy(line + at, "}}", 2);
    const enum wire_error error = error_of(wire_text_of(line, at + 2));
    free(line);
    return error;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(error_of_depth(WIRE_DEPTH_MAX - 2, '[', ']'), WIRE_INVALID_PARAMS);
    assert_int_equal(error_of_depth(WIRE_DEPTH_MAX - 1, '[', ']'), WIRE_PARSE_ERROR);
    assert_int_equal(error_of_depth(300000, '[', ']'), WIRE_PARSE_ERROR);
    assert_int_equal(error_of_depth(300000, '{', '}'), WIRE_PARSE_ERROR);
    /* Brackets in strings nest nothing, also behind an escaped quote. */
    assert_int_equal(error_of(text(STRING("\\\"[[[[[[[[[[[[[[[[[[[[[[[[[["))), WIRE_OK);
    assert_int_equal(error_of(text(STRING("\\\\"))), WIRE_OK);
}

static void test_limits_of_size(void **state)
{
    (void)state;
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.get\","
                               "\"params\":{\"name\":\"";
    char *line = malloc(WIRE_LINE_MAX);
    assert_non_null(line);
    memset(line, 'a', WIRE_LINE_MAX);
    memcpy(line, head, sizeof head - 1);
    memcpy(line + WIRE_LINE_MAX - 4, "\"}}", 3);
    assert_int_equal(error_of(wire_text_of(line, WIRE_LINE_MAX - 1)), WIRE_OK);
    assert_int_equal(error_of(wire_text_of(line, WIRE_LINE_MAX)), WIRE_TOO_LARGE);

    /* The longest id, and one more. */
    for (size_t size = WIRE_ID_MAX; size <= WIRE_ID_MAX + 1; size++) {
        const int n =
            snprintf(line, WIRE_LINE_MAX,
                     "{\"jsonrpc\":\"2.0\",\"method\":\"cell.status\",\"id\":\"%0*d\"}",
                     (int)size - 2, 7);
        assert_int_equal(error_of(wire_text_of(line, (size_t)n)),
                         size == WIRE_ID_MAX ? WIRE_OK : WIRE_INVALID_REQUEST);
    }

    /* A long and hostile word is repeated clipped, and never within a character. */
    size_t at =
        (size_t)snprintf(line, WIRE_LINE_MAX, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x");
    for (int i = 0; i < 1000; i++) {
        memcpy(line + at, "\xf0\x9f\x94\x92", 4);
        at += 4;
    }
    memcpy(line + at, "\"}", 2);
    struct wire_memory memory = {.root = NULL};
    struct wire_request request;
    struct wire_refusal refusal;
    assert_false(wire_parse_request(&memory, wire_text_of(line, at + 2), &request, &refusal));
    assert_int_equal(refusal.error, WIRE_METHOD_NOT_FOUND);
    assert_true(wire_is_text(text(refusal.detail)));
    wire_memory_free(&memory);
    free(line);
}

static void test_octet_0(void **state)
{
    (void)state;
    char line[] = GET("{\"name\":\"a\"}") " ";
    assert_int_equal(error_of(wire_text_of(line, sizeof line - 1)), WIRE_OK);
    assert_int_equal(error_of(wire_text_of(line, sizeof line)), WIRE_PARSE_ERROR);
    line[5] = 0;
    assert_int_equal(error_of(wire_text_of(line, sizeof line - 1)), WIRE_PARSE_ERROR);
}

/* ------------------------------------------------------------ hostile lines */

/* What must hold of any line: a request, or a refusal that prints as a reply. */
static bool parse_any(struct wire_memory *memory, struct wire_text line)
{
    struct wire_request request;
    struct wire_refusal refusal;
    if (wire_parse_request(memory, line, &request, &refusal)) {
        assert_true(request.method != WIRE_NO_METHOD);
        assert_true(request.id.size > 0 && request.id.size <= WIRE_ID_MAX);
        return true;
    }
    assert_true(refusal.error != WIRE_OK);
    assert_true(refusal.detail[0] != 0);
    struct wire_buffer b = {.data = NULL};
    wire_print_refusal(&b, &refusal);
    struct wire_reply reply;
    char detail[WIRE_DETAIL_MAX];
    if (!wire_parse_reply(memory, WIRE_NODE_GET, line_of(&b), &reply, detail)) {
        fail_msg("%.*s: %s", (int)b.size, b.data, detail);
    }
    assert_int_equal(reply.error, refusal.error);
    assert_text(reply.id, refusal.id);
    assert_text(reply.message, refusal.detail);
    wire_buffer_free(&b);
    return false;
}

static const char *const valid[] = {
    PUT("{\"name\":\"/ls/local/a\\u00e9\",\"content_base64\":\"AAEC/"
        "w==\",\"if_generation\":3}"),
    REQUEST("\"seven\"", "node.list",
            "{\"name\":\"/ls/local\",\"after\":\"m\\n\",\"limit\":10}"),
    REQUEST("2", "node.create", "{\"name\":\"/ls/local/d\",\"kind\":\"directory\"}"),
    REQUEST("3", "lock.acquire",
            "{\"name\":\"/ls/local/l\",\"session\":\"0123456789abcdef-"
            "00112233445566778899aabbccddeeff\",\"request\":7,\"ack\":[3,[5,5]],"
            "\"wait_ms\":0,\"create\":true}"),
};
enum { VALID = sizeof valid / sizeof valid[0] };

static void test_truncated_at_every_octet(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < VALID; i++) {
        const size_t size = strlen(valid[i]);
        for (size_t cut = 0; cut <= size; cut++) {
            /* A copy of exactly that size, so that a sanitizer sees any overrun. */
            char *copy = malloc(cut + 1);
            assert_non_null(copy);
            char *line = copy + 1;
            memcpy(line, valid[i], cut);
            assert_int_equal(parse_any(&memory, wire_text_of(line, cut)), cut == size);
            free(copy);
        }
    }
    wire_memory_free(&memory);
}

static void test_mutations(void **state)
{
    (void)state;
    enum { ROUNDS = 10000, LINE = 512 };
    struct wire_memory memory = {.root = NULL};
    struct rng rng = {.state = 20061106};
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char line[LINE];
        size_t size = strlen(valid[i % VALID]);
        memcpy(line, valid[i % VALID], size);
        mutate(&rng, line, &size);
        char *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy + 1, line, size);
        accepted += parse_any(&memory, wire_text_of(copy + 1, size));
        /* The same octets as a server's line: read or refused, never believed
         * blindly. */
        struct wire_reply reply;
        char detail[WIRE_DETAIL_MAX];
        assert_false(wire_parse_reply(&memory, WIRE_NODE_GET, wire_text_of(copy + 1, size),
                                      &reply, detail));
        free(copy);
    }
    /* Both ways must have been taken, else this tests nothing. */
    assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS / 2);
    wire_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conformance),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_limits_of_size),
        cmocka_unit_test(test_octet_0),
        cmocka_unit_test(test_truncated_at_every_octet),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
