/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_trip.c -- what a client prints as a request, a server reads; changed on
 * its way it does no harm.
 */
#include "tests/unit/wire_help.h"

#define SECRET                                                                                 \
    {                                                                                          \
        "00112233445566778899aabbccddeeff", 32                                                 \
    }
#define CREDENTIAL .has_session = true, .session = 0x0123456789abcdef, .secret = SECRET
#define SESSION CREDENTIAL, .request = 42

static const struct wire_watch watches[] = {
    {.watch = 9,
     .name = {"/ls/local/a", 11},
     .scope = WIRE_SCOPE_NODE,
     .watched = WIRE_WATCHED_ALL,
     .from = WIRE_ANY,
     .if_instance = WIRE_ANY},
    {.watch = WIRE_NUMBER_MAX,
     .name = {"\xc3\xa9\"", 3},
     .scope = WIRE_SCOPE_NODE,
     .watched = WIRE_WATCH_CONTENT,
     .from = 0,
     .if_instance = 7,
     .content = true},
    {.watch = 1,
     .name = {"/ls/local", 9},
     .scope = WIRE_SCOPE_SUBTREE,
     .watched = WIRE_WATCH_LOCK | WIRE_WATCH_CONFLICT,
     .from = WIRE_NUMBER_MAX,
     .if_instance = WIRE_ANY,
     .old = true},
};
static const uint64_t unwatch[] = {5, WIRE_NUMBER_MAX, 1};

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
    {.method = WIRE_NODE_GET, .id = {"10", 2}, .name = {"", 0}}, /* For the server to refuse. */

    /* Of a session. */
    {.method = WIRE_NODE_PUT,
     .id = {"11", 2},
     .name = {"n", 1},
     .has_content = true,
     .content = {"x", 1},
     .if_generation = WIRE_ANY,
     .if_instance = WIRE_ANY,
     SESSION,
     .ack_floor = 3,
     .acks = {{5, 5}, {6, 9}, {11, WIRE_NUMBER_MAX}},
     .acks_count = 3},
    {.method = WIRE_NODE_CREATE,
     .id = {"12", 2},
     .name = {"d", 1},
     .kind = WIRE_DIRECTORY,
     SESSION,
     .acks = {{2, 3}},
     .acks_count = 1},
    {.method = WIRE_NODE_DELETE,
     .id = {"13", 2},
     .name = {"d", 1},
     .if_generation = 0,
     .if_instance = WIRE_ANY,
     SESSION,
     .ack_floor = 6},
    {.method = WIRE_SESSION_OPEN, .id = {"14", 2}},
    {.method = WIRE_SESSION_OPEN,
     .id = {"15", 2},
     .lease_ms = 60000,
     .label = {"cron \"nightly\" @ b\xc3\xa9ta:17", 25}},
    {.method = WIRE_SESSION_KEEPALIVE, .id = {"16", 2}, CREDENTIAL},
    {.method = WIRE_SESSION_CLOSE, .id = {"17", 2}, SESSION},
    {.method = WIRE_LOCK_ACQUIRE,
     .id = {"18", 2},
     .name = {"/ls/local/l", 11},
     SESSION,
     .wait_ms = WIRE_FOR_EVER},
    {.method = WIRE_LOCK_ACQUIRE,
     .id = {"19", 2},
     .name = {"/ls/local/l", 11},
     SESSION,
     .mode = WIRE_SHARED,
     .wait_ms = 0,
     .create = true,
     .handle = 7},
    {.method = WIRE_LOCK_ACQUIRE,
     .id = {"20", 2},
     .name = {"/ls/local/l", 11},
     SESSION,
     .wait_ms = WIRE_WAIT_MS_MAX},
    {.method = WIRE_LOCK_RELEASE,
     .id = {"21", 2},
     .name = {"/ls/local/l", 11},
     SESSION,
     .handle = WIRE_NUMBER_MAX,
     .token = WIRE_NUMBER_MAX},
    {.method = WIRE_LOCK_RELEASE, .id = {"22", 2}, .name = {"l", 1}, SESSION},
    {.method = WIRE_LOCK_CANCEL, .id = {"23", 2}, SESSION, .cancel = 41},
    {.method = WIRE_LOCK_LIST, .id = {"24", 2}},
    {.method = WIRE_LOCK_LIST, .id = {"25", 2}, .after_instance = 90, .limit = 10},
    {.method = WIRE_LOCK_LIST,
     .id = {"26", 2},
     .name = {"/ls/local/l", 11},
     .skip = UINT32_MAX,
     .limit = 1,
     .if_instance = 5},

    /* Pinned, opened, checked, watched. */
    {.method = WIRE_NODE_GET, .id = {"27", 2}, .name = {"n", 1}, .if_instance = 6},
    {.method = WIRE_NODE_STAT, .id = {"28", 2}, .name = {"n", 1}, .if_instance = 7},
    {.method = WIRE_NODE_LIST, .id = {"29", 2}, .name = {"n", 1}, .if_instance = 8},
    {.method = WIRE_LOCK_ACQUIRE,
     .id = {"30", 2},
     .name = {"l", 1},
     SESSION,
     .if_instance = 9,
     .delay_ms = WIRE_DELAY_MS_MAX},
    {.method = WIRE_NODE_OPEN, .id = {"31", 2}, .name = {"n", 1}, SESSION},
    {.method = WIRE_NODE_OPEN,
     .id = {"32", 2},
     .name = {"n", 1},
     SESSION,
     .kind = WIRE_FILE,
     .ephemeral = true,
     .has_content = true,
     .content = {"\0", 1},
     .if_instance = 3,
     .handle = 4},
    {.method = WIRE_NODE_OPEN,
     .id = {"33", 2},
     .name = {"n", 1},
     SESSION,
     .kind = WIRE_DIRECTORY},
    {.method = WIRE_NODE_CLOSE, .id = {"34", 2}, .name = {"n", 1}, SESSION, .if_instance = 1},
    {.method = WIRE_NODE_CLOSE,
     .id = {"35", 2},
     .name = {"n", 1},
     SESSION,
     .if_instance = 2,
     .handle = 3},
    {.method = WIRE_LOCK_CHECK,
     .id = {"36", 2},
     .name = {"/ls/a/b:\"c\"", 11},
     .mode = WIRE_SHARED,
     .token = WIRE_NUMBER_MAX},
    {.method = WIRE_WATCH_ADD, .id = {"37", 2}, .watches = watches, .watches_count = 3},
    {.method = WIRE_WATCH_REMOVE, .id = {"38", 2}, .unwatch = unwatch, .unwatch_count = 3},

    /* Levels, caches, ACLs. */
    {.method = WIRE_NODE_GET, .id = {"39", 2}, .name = {"n", 1}, .level = WIRE_LEASE},
    {.method = WIRE_NODE_STAT,
     .id = {"40", 2},
     .name = {"n", 1},
     .level = WIRE_SEQUENTIAL,
     .min_revision = WIRE_NUMBER_MAX,
     .read_wait_ms = WIRE_READ_WAIT_MS_MAX,
     .max_age_ms = WIRE_AGE_MS_MAX},
    {.method = WIRE_NODE_LIST,
     .id = {"41", 2},
     .name = {"n", 1},
     .after = {"m", 1},
     .level = WIRE_STALE,
     .max_age_ms = 1},
    {.method = WIRE_NODE_GET_ACL,
     .id = {"42", 2},
     .name = {"n", 1},
     .if_instance = 5,
     .level = WIRE_SEQUENTIAL,
     .min_revision = 7},
    {.method = WIRE_NODE_GET_ACL, .id = {"43", 2}, .name = {"n", 1}},
    {.method = WIRE_NODE_SET_ACL, .id = {"44", 2}, .name = {"n", 1}, .acl = {{"", 0}}},
    {.method = WIRE_NODE_SET_ACL,
     .id = {"45", 2},
     .name = {"n", 1},
     SESSION,
     .acl = {{NULL, 0}, {"ops \"and\" \xc3\xa9", 12}, {"x", 1}},
     .if_generation = 3,
     .if_instance = 4},
    {.method = WIRE_NODE_GET, .id = {"46", 2}, .name = {"n", 1}, CREDENTIAL, .cache = true},
    {.method = WIRE_NODE_STAT,
     .id = {"47", 2},
     .name = {"n", 1},
     CREDENTIAL,
     .if_instance = 2,
     .cache = true},
    {.method = WIRE_SESSION_OPEN, .id = {"48", 2}, .label = {"l", 1}, .cache = true},
    {.method = WIRE_CACHE_BEGIN, .id = {"49", 2}, CREDENTIAL},
    {.method = WIRE_CACHE_ACK, .id = {"50", 2}, CREDENTIAL, .cache_number = WIRE_NUMBER_MAX},
};

/* Which an absent parameter means; in the table 0 stands for them. */
static struct wire_request with_defaults(const struct wire_request *request)
{
    struct wire_request r = *request;
    if (r.method != WIRE_NODE_PUT && r.method != WIRE_NODE_DELETE &&
        r.method != WIRE_NODE_SET_ACL) {
        r.if_generation = WIRE_ANY;
        r.if_instance = r.if_instance == 0 ? WIRE_ANY : r.if_instance;
    }
    if (r.method != WIRE_LOCK_ACQUIRE) {
        r.wait_ms = WIRE_FOR_EVER;
    }
    if (r.mode == WIRE_MODE_NONE) {
        r.mode = WIRE_EXCLUSIVE;
    }
    return r;
}

static void assert_session_equal(const struct wire_request *a, const struct wire_request *b)
{
    assert_int_equal(a->has_session, b->has_session);
    assert_int_equal(a->session, b->session);
    assert_true(same(a->secret, b->secret));
    assert_int_equal(a->request, b->request);
    assert_int_equal(a->ack_floor, b->ack_floor);
    assert_int_equal(a->acks_count, b->acks_count);
    for (uint32_t i = 0; i < a->acks_count; i++) {
        assert_int_equal(a->acks[i].first, b->acks[i].first);
        assert_int_equal(a->acks[i].last, b->acks[i].last);
    }
    assert_int_equal(a->lease_ms, b->lease_ms);
    assert_true(same(a->label, b->label));
}

static void assert_watches_equal(const struct wire_request *a, const struct wire_request *b)
{
    assert_int_equal(a->watches_count, b->watches_count);
    for (uint32_t i = 0; i < a->watches_count; i++) {
        assert_int_equal(a->watches[i].watch, b->watches[i].watch);
        assert_true(same(a->watches[i].name, b->watches[i].name));
        assert_int_equal(a->watches[i].scope, b->watches[i].scope);
        assert_int_equal(a->watches[i].watched, b->watches[i].watched);
        assert_true(a->watches[i].from == b->watches[i].from);
        assert_true(a->watches[i].if_instance == b->watches[i].if_instance);
        assert_int_equal(a->watches[i].content, b->watches[i].content);
        assert_int_equal(a->watches[i].old, b->watches[i].old);
    }
    assert_int_equal(a->unwatch_count, b->unwatch_count);
    for (uint32_t i = 0; i < a->unwatch_count; i++) {
        assert_int_equal(a->unwatch[i], b->unwatch[i]);
    }
}

static void assert_read_equal(const struct wire_request *a, const struct wire_request *b)
{
    assert_int_equal(a->level, b->level);
    assert_int_equal(a->min_revision, b->min_revision);
    assert_int_equal(a->read_wait_ms, b->read_wait_ms);
    assert_int_equal(a->max_age_ms, b->max_age_ms);
    assert_int_equal(a->cache, b->cache);
    assert_int_equal(a->cache_number, b->cache_number);
    for (unsigned i = 0; i < WIRE_RIGHTS; i++) {
        assert_int_equal(a->acl[i].data != NULL, b->acl[i].data != NULL);
        assert_true(same(a->acl[i], b->acl[i]));
    }
}

static void assert_request_equal(const struct wire_request *a, const struct wire_request *b)
{
    assert_true(same(a->id, b->id));
    assert_int_equal(a->method, b->method);
    assert_true(same(a->name, b->name));
    assert_int_equal(a->has_content, b->has_content);
    assert_true(same(a->content, b->content));
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->if_generation, b->if_generation);
    assert_int_equal(a->if_instance, b->if_instance);
    assert_true(same(a->after, b->after));
    assert_int_equal(a->limit, b->limit);
    assert_session_equal(a, b);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->wait_ms, b->wait_ms);
    assert_int_equal(a->create, b->create);
    assert_int_equal(a->handle, b->handle);
    assert_int_equal(a->token, b->token);
    assert_int_equal(a->cancel, b->cancel);
    assert_int_equal(a->after_instance, b->after_instance);
    assert_int_equal(a->skip, b->skip);
    assert_int_equal(a->ephemeral, b->ephemeral);
    assert_int_equal(a->delay_ms, b->delay_ms);
    assert_watches_equal(a, b);
    assert_read_equal(a, b);
}

/* What a client gone mad sends is read or refused, and points nowhere but into its
 * own memory: a sanitizer would see it. */
static void test_requests_mutated(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, COUNT = sizeof requests / sizeof requests[0] };
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_buffer again = {.data = NULL};
    struct rng rng = {.state = 20060411};
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct wire_request sent = with_defaults(&requests[i % COUNT]);
        struct wire_request got;
        struct wire_refusal refusal;
        b.size = 0;
        wire_print_request(&b, &sent);
        wire_append(&b, "    ", 4); /* Room to grow. */
        size_t size = b.size - 5;
        mutate(&rng, b.data, &size);
        if (wire_parse_request(&memory, wire_text_of(b.data, size), &got, &refusal)) {
            accepted++;
            again.size = 0;
            wire_print_request(&again, &got);
        }
    }
    /* Both ways must have been taken, else this tests nothing. */
    assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS / 2);
    wire_buffer_free(&again);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

static void test_requests_round_trip(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        const struct wire_request sent = with_defaults(&requests[i]);
        struct wire_request got;
        struct wire_refusal refusal;
        b.size = 0;
        wire_print_request(&b, &sent);
        if (!wire_parse_request(&memory, line_of(&b), &got, &refusal)) {
            fail_msg("%.*s: %s", (int)b.size, b.data, refusal.detail);
        }
        assert_request_equal(&got, &sent);
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_round_trip),
        cmocka_unit_test(test_requests_mutated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
