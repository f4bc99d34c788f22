/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_trip.c -- what one end of the client protocol prints, the other
 * reads.
 */
#include "tests/unit/wire_help.h"

#include <stdlib.h>

static const struct wire_request requests[] = {
    {.method = WIRE_NODE_GET, .id = {"1", 1}, .name = {"/ls/local/a", 11}},
    {.method = WIRE_NODE_STAT, .id = {"\"x\"", 3}, .name = {"/ls/local/\xc3\xa9\"\\", 14}},
    {.method = WIRE_NODE_PUT,
     .id = {"2", 1},
     .name = {"n", 1},
     .has_content = true,
     .content = {"a\tb\r\n\"c\"\\", 9}},
    {.method = WIRE_NODE_PUT,
     .id = {"3", 1},
     .name = {"n", 1},
     .has_content = true,
     .content = {"\0\xff\x80 binary", 10},
     .if_generation = 7,
     .if_instance = 1},
    {.method = WIRE_NODE_PUT,
     .id = {"4", 1},
     .name = {"n", 1},
     .has_content = true,
     .if_generation = WIRE_NUMBER_MAX,
     .if_instance = WIRE_NUMBER_MAX},
    {.method = WIRE_NODE_CREATE, .id = {"5", 1}, .name = {"d", 1}, .kind = WIRE_DIRECTORY},
    {.method = WIRE_NODE_CREATE,
     .id = {"6", 1},
     .name = {"f", 1},
     .kind = WIRE_FILE,
     .has_content = true,
     .content = {"x", 1}},
    {.method = WIRE_NODE_LIST, .id = {"7", 1}, .name = {"/ls/local", 9}},
    {.method = WIRE_NODE_LIST,
     .id = {"8", 1},
     .name = {"/ls/local", 9},
     .after = {"m", 1},
     .limit = 1000},
    {.method = WIRE_NODE_DELETE,
     .id = {"9", 1},
     .name = {"a", 1},
     .if_generation = 0,
     .if_instance = 3},
    {.method = WIRE_CELL_STATUS, .id = {"null", 4}},
};

static void test_requests_round_trip(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct wire_request sent = requests[i];
        if (sent.method != WIRE_NODE_PUT && sent.method != WIRE_NODE_DELETE) {
            sent.if_generation = WIRE_ANY;
            sent.if_instance = WIRE_ANY;
        }
        struct wire_request got;
        struct wire_refusal refusal;
        b.size = 0;
        wire_print_request(&b, &sent);
        if (!wire_parse_request(&memory, line_of(&b), &got, &refusal)) {
            fail_msg("%.*s: %s", (int)b.size, b.data, refusal.detail);
        }
        assert_true(same(got.id, sent.id));
        assert_int_equal(got.method, sent.method);
        assert_true(same(got.name, sent.name));
        assert_int_equal(got.has_content, sent.has_content);
        assert_true(same(got.content, sent.content));
        assert_int_equal(got.kind, sent.kind);
        assert_int_equal(got.if_generation, sent.if_generation);
        assert_int_equal(got.if_instance, sent.if_instance);
        assert_true(same(got.after, sent.after));
        assert_int_equal(got.limit, sent.limit);
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

#define FILE_STAT                                                                              \
    {                                                                                          \
        .kind = WIRE_FILE, .instance = 4, .generation = 3, .lock_generation = 2,               \
        .acl_generation = 1, .checksum = 0x0123456789abcdef, .revision = WIRE_NUMBER_MAX,      \
        .modified_ms = 1700000000000, .size = 5                                                \
    }
#define DIRECTORY_STAT                                                                         \
    {                                                                                          \
        .kind = WIRE_DIRECTORY, .instance = 9, .generation = 1, .revision = 12, .children = 42 \
    }
#define POSITION .has_position = true, .epoch = 65537, .revision = 12, .slot = 8, .position = 3

static const struct wire_child children[] = {
    {.name = {"a\"b", 3}, .stat = FILE_STAT},
    {.name = {"d", 1}, .stat = DIRECTORY_STAT},
};

static const struct wire_member members[] = {
    {.id = 1,
     .peer = {"127.0.0.1:7500", 14},
     .client = {"127.0.0.1:7400", 14},
     .heard = true,
     .durable_slot = 90},
    {.id = 2, .peer = {"127.0.0.1:7501", 14}, .heard = true, .heard_ms_ago = 55},
    {.id = 3, .peer = {"h:7502", 6}},
};

static const struct wire_status status = {
    .version = {"0.1.0", 5},
    .cell = {"local", 5},
    .cell_id = {"00000000000000ff", 16},
    .replica = 1,
    .role = {"master", 6},
    .serving = true,
    .master = 1,
    .master_address = {"127.0.0.1:7400", 14},
    .epoch = 65537,
    .revision = 12,
    .slot_chosen = 90,
    .slot_applied = 89,
    .slot_last = 91,
    .slot_tables = 80,
    .log_first = 70,
    .nodes = 5,
    .content_bytes = 123,
    .memory_bytes = 4567,
    .digest = {"fedcba9876543210", 16},
    .low_space = true,
    .survives_known = true,
    .survives = 1,
    .members = members,
    .members_count = 3,
};

static const struct wire_status status_of_a_candidate = {
    .version = {"0.1.0", 5},
    .cell = {"local", 5},
    .cell_id = {"00000000000000ff", 16},
    .replica = 2,
    .role = {"candidate", 9},
    .digest = {"fedcba9876543210", 16},
};

static const struct wire_reply replies[] = {
    {.id = {"1", 1},
     .method = WIRE_NODE_GET,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .has_content = true,
     .content = {"hello", 5}},
    {.id = {"1", 1},
     .method = WIRE_NODE_GET,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .has_content = true,
     .content = {"\xff\0\0\1\2", 5}},
    {.id = {"1", 1},
     .method = WIRE_NODE_GET,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .has_content = true},
    {.id = {"2", 1},
     .method = WIRE_NODE_PUT,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .created = true},
    {.id = {"2", 1}, .method = WIRE_NODE_PUT, POSITION, .has_stat = true, .stat = FILE_STAT},
    {.id = {"3", 1},
     .method = WIRE_NODE_CREATE,
     POSITION,
     .has_stat = true,
     .stat = DIRECTORY_STAT},
    {.id = {"4", 1}, .method = WIRE_NODE_STAT, POSITION, .has_stat = true, .stat = FILE_STAT},
    {.id = {"5", 1}, .method = WIRE_NODE_DELETE, POSITION},
    {.id = {"6", 1},
     .method = WIRE_NODE_LIST,
     POSITION,
     .children = children,
     .children_count = 2,
     .more = true},
    {.id = {"6", 1}, .method = WIRE_NODE_LIST, POSITION},
    {.id = {"7", 1}, .method = WIRE_CELL_STATUS, .status = &status},
    {.id = {"8", 1}, .method = WIRE_CELL_STATUS, .status = &status_of_a_candidate},
    {.id = {"9", 1},
     .method = WIRE_NODE_GET,
     .error = WIRE_NOT_MASTER,
     .master = {"127.0.0.1:7401", 14},
     .master_id = 2},
    {.id = {"\"q\"", 3},
     .method = WIRE_NODE_PUT,
     .error = WIRE_CONFLICT,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .message = {"mind the \"gap\"\n", 15}},
    {.id = {"null", 4}, .method = WIRE_NODE_PUT, .error = WIRE_NO_NODE, POSITION},
};

static void assert_stat_equal(const struct wire_stat *a, const struct wire_stat *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->instance, b->instance);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->lock_generation, b->lock_generation);
    assert_int_equal(a->acl_generation, b->acl_generation);
    assert_int_equal(a->checksum, b->checksum);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->modified_ms, b->modified_ms);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->children, b->children);
}

static void assert_status_equal(const struct wire_status *a, const struct wire_status *b)
{
    assert_true(same(a->version, b->version));
    assert_true(same(a->cell, b->cell));
    assert_true(same(a->cell_id, b->cell_id));
    assert_int_equal(a->replica, b->replica);
    assert_true(same(a->role, b->role));
    assert_int_equal(a->serving, b->serving);
    assert_int_equal(a->master, b->master);
    assert_true(same(a->master_address, b->master_address));
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->slot_chosen, b->slot_chosen);
    assert_int_equal(a->slot_applied, b->slot_applied);
    assert_int_equal(a->slot_last, b->slot_last);
    assert_int_equal(a->slot_tables, b->slot_tables);
    assert_int_equal(a->log_first, b->log_first);
    assert_int_equal(a->nodes, b->nodes);
    assert_int_equal(a->content_bytes, b->content_bytes);
    assert_int_equal(a->memory_bytes, b->memory_bytes);
    assert_true(same(a->digest, b->digest));
    assert_int_equal(a->low_space, b->low_space);
    assert_int_equal(a->survives_known, b->survives_known);
    assert_int_equal(a->survives, b->survives);
    assert_int_equal(a->members_count, b->members_count);
    for (uint32_t i = 0; i < a->members_count; i++) {
        assert_int_equal(a->members[i].id, b->members[i].id);
        assert_true(same(a->members[i].peer, b->members[i].peer));
        assert_true(same(a->members[i].client, b->members[i].client));
        assert_int_equal(a->members[i].heard, b->members[i].heard);
        assert_int_equal(a->members[i].heard_ms_ago, b->members[i].heard_ms_ago);
        assert_int_equal(a->members[i].durable_slot, b->members[i].durable_slot);
    }
}

static void assert_reply_equal(const struct wire_reply *a, const struct wire_reply *b)
{
    assert_true(same(a->id, b->id));
    assert_int_equal(a->error, b->error);
    assert_int_equal(a->method, b->method);
    assert_true(same(a->master, b->master));
    assert_int_equal(a->master_id, b->master_id);
    assert_int_equal(a->has_position, b->has_position);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->has_stat, b->has_stat);
    assert_stat_equal(&a->stat, &b->stat);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->has_content, b->has_content);
    assert_true(same(a->content, b->content));
    assert_int_equal(a->more, b->more);
    assert_int_equal(a->children_count, b->children_count);
    for (uint32_t i = 0; i < a->children_count; i++) {
        assert_true(same(a->children[i].name, b->children[i].name));
        assert_stat_equal(&a->children[i].stat, &b->children[i].stat);
    }
    assert_int_equal(a->status != NULL, b->status != NULL);
    if (a->status != NULL) {
        assert_status_equal(a->status, b->status);
    }
}

static void test_replies_round_trip(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        const struct wire_reply *sent = &replies[i];
        struct wire_reply got;
        char detail[WIRE_DETAIL_MAX];
        b.size = 0;
        wire_print_reply(&b, sent);
        if (!wire_parse_reply(&memory, sent->method, line_of(&b), &got, detail)) {
            fail_msg("%.*s: %s", (int)b.size, b.data, detail);
        }
        assert_reply_equal(&got, sent);
        if (sent->error != WIRE_OK) {
            assert_text(got.message, sent->message.size > 0 ? sent->message.data
                                                            : wire_error_text(sent->error));
        }
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

/* Each way of cutting a server's line short is noticed too. */
static void test_replies_truncated(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        b.size = 0;
        wire_print_reply(&b, &replies[i]);
        const struct wire_text line = line_of(&b);
        for (size_t cut = 0; cut < line.size; cut++) {
            struct wire_reply got;
            char detail[WIRE_DETAIL_MAX] = "";
            assert_false(wire_parse_reply(&memory, replies[i].method,
                                          wire_text_of(line.data, cut), &got, detail));
            assert_true(detail[0] != 0);
        }
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

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

#define POSITION_TEXT "\"epoch\":1,\"revision\":2,\"index\":[3,4]"
#define STAT_TEXT(kind, checksum)                                                              \
    "\"stat\":{\"kind\":\"" kind "\",\"instance\":1,\"generation\":1,\"lock_generation\":0,"   \
    "\"acl_generation\":0,\"checksum\":\"" checksum "\",\"revision\":1,\"modified_ms\":1,"     \
    "\"size\":0}"

static void test_replies_that_make_no_sense(void **state)
{
    (void)state;
    static const struct {
        enum wire_method method;
        bool read;
        const char *line;
    } table[] = {
        {WIRE_NODE_DELETE, true, "{\"id\":1,\"result\":{" POSITION_TEXT "}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1}"},
        {WIRE_NODE_DELETE, false, "{\"result\":{" POSITION_TEXT "}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"result\":{}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"result\":{\"epoch\":1,\"revision\":2,\"index\":[3,4,5]}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"result\":{" POSITION_TEXT "},\"error\":{\"code\":1,\"message\":\"m\"}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"error\":{\"code\":\"1\",\"message\":\"m\"}}"},
        {WIRE_NODE_DELETE, false, "{\"id\":1,\"error\":{\"code\":1}}"},
        {WIRE_NODE_DELETE, false,
         "{\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"data\":{\"master\":1}}}"},
        {WIRE_NODE_STAT, true,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789abcdef") "," POSITION_TEXT "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789abcdef0") "," POSITION_TEXT
                                                                         "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("file", "0123456789ABCDEF") "," POSITION_TEXT "}}"},
        {WIRE_NODE_STAT, false,
         "{\"id\":1,\"result\":{" STAT_TEXT("pipe", "0123456789abcdef") "," POSITION_TEXT "}}"},
        {WIRE_NODE_GET, false,
         "{\"id\":1,\"result\":{\"content_base64\":\"A\"," STAT_TEXT(
             "file", "0123456789abcdef") "," POSITION_TEXT "}}"},
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
                                    POSITION,
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_round_trip),
        cmocka_unit_test(test_replies_round_trip),
        cmocka_unit_test(test_replies_truncated),
        cmocka_unit_test(test_replies_of_others),
        cmocka_unit_test(test_replies_that_make_no_sense),
        cmocka_unit_test(test_list_fits_into_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
