/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_trip_reply.c -- what a server prints as a reply, a client reads; cut
 * short or changed on its way it does no harm.
 */
#include "tests/unit/wire_help.h"

#define SECRET                                                                                 \
    {                                                                                          \
        "00112233445566778899aabbccddeeff", 32                                                 \
    }

#define FILE_STAT                                                                              \
    {                                                                                          \
        .kind = WIRE_FILE, .instance = 4, .generation = 3, .lock_generation = 2,               \
        .acl_generation = 1, .checksum = 0x0123456789abcdef, .revision = WIRE_NUMBER_MAX,      \
        .modified_ms = 1700000000000, .size = 5, .lock_token = 12, .ephemeral = true           \
    }
#define DIRECTORY_STAT                                                                         \
    {                                                                                          \
        .kind = WIRE_DIRECTORY, .instance = 9, .generation = 1, .revision = 12, .children = 42 \
    }
#define POSITION .has_position = true, .epoch = 65537, .revision = 12, .slot = 8, .position = 3

static const struct wire_child children[] = {
    {.name = {"a\"b", 3}, .stat = FILE_STAT},
    {.name = {"d", 1}, .stat = DIRECTORY_STAT},
    {.name = {"hidden", 6}, .stat = {.kind = WIRE_DIRECTORY}, .denied = true},
    {.name = {"too", 3}, .stat = {.kind = WIRE_FILE}, .denied = true},
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
    .sessions = 10,
    .locks_held = 11,
    .locks_waiting = 12,
    .locks_delayed = 13,
    .opens = 14,
    .watches = 15,
    .history_bytes = 16,
    .history_floor = 17,
    .cached = 18,
    .held = 19,
    .has_age = true,
    .age_ms = 20,
    .stretch_ms = 60000,
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

static const struct wire_claim claims[] = {
    {.held = true,
     .mode = WIRE_SHARED,
     .session = 0x0123456789abcdef,
     .label = {"a \"b\"", 5},
     .handle = 3,
     .token = 99,
     .delay_ms = 60000,
     .since_ms = 1700000000000},
    {.held = true, .mode = WIRE_SHARED, .session = UINT64_MAX, .token = 99},
    {.delayed = true,
     .mode = WIRE_EXCLUSIVE,
     .session = 2,
     .token = 98,
     .delay_ms = 5000,
     .left_ms = 4999},
    {.mode = WIRE_EXCLUSIVE, .session = 1, .handle = WIRE_NUMBER_MAX},
};

static const struct wire_lock locks[] = {
    {.name = {"/ls/a/one", 9}, .instance = 4, .claims = claims, .claims_count = 4},
    {.name = {"/ls/a", 5}, .instance = 5, .claims = claims, .claims_count = 1, .more = true},
    {.name = {"/ls/a/none", 10}, .instance = WIRE_NUMBER_MAX},
};

static const struct wire_reply replies[] = {
    {.id = {"20", 2},
     .method = WIRE_SESSION_OPEN,
     POSITION,
     .session = 0x00000000000000ff,
     .secret = SECRET,
     .lease_ms = 12000},
    {.id = {"21", 2}, .method = WIRE_SESSION_KEEPALIVE, POSITION, .lease_ms = 60000},
    {.id = {"22", 2}, .method = WIRE_SESSION_CLOSE, POSITION},
    {.id = {"23", 2},
     .method = WIRE_LOCK_ACQUIRE,
     POSITION,
     .token = 17,
     .sequencer = {"/ls/a/\"l\":exclusive:17", 22}},
    {.id = {"24", 2}, .method = WIRE_LOCK_RELEASE, POSITION},
    {.id = {"25", 2}, .method = WIRE_LOCK_CANCEL, POSITION},
    {.id = {"26", 2},
     .method = WIRE_LOCK_LIST,
     POSITION,
     .locks = locks,
     .locks_count = 3,
     .more = true,
     .next_instance = 77},
    {.id = {"27", 2}, .method = WIRE_LOCK_LIST, POSITION, .locks = locks, .locks_count = 1},
    {.id = {"28", 2}, .method = WIRE_LOCK_LIST, POSITION},
    {.id = {"29", 2}, .method = WIRE_LOCK_ACQUIRE, .error = WIRE_LOCKED, POSITION},
    {.id = {"30", 2}, .method = WIRE_LOCK_RELEASE, .error = WIRE_NOT_HELD, POSITION},
    {.id = {"31", 2}, .method = WIRE_LOCK_ACQUIRE, .error = WIRE_CANCELLED, POSITION},
    {.id = {"32", 2}, .method = WIRE_SESSION_KEEPALIVE, .error = WIRE_SESSION_EXPIRED},
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
     .children_count = 4,
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
    {.id = {"40", 2},
     .method = WIRE_NODE_OPEN,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .created = true},
    {.id = {"41", 2}, .method = WIRE_NODE_CLOSE, POSITION},
    {.id = {"42", 2}, .method = WIRE_LOCK_CHECK, POSITION, .valid = true},
    {.id = {"43", 2}, .method = WIRE_LOCK_CHECK, POSITION},
    {.id = {"44", 2}, .method = WIRE_WATCH_ADD, POSITION},
    {.id = {"45", 2}, .method = WIRE_WATCH_REMOVE, POSITION},
    {.id = {"46", 2},
     .method = WIRE_LOCK_ACQUIRE,
     .error = WIRE_LOCK_DELAY,
     POSITION,
     .left_ms = 4999,
     .holder = &claims[2]},
    {.id = {"47", 2}, .method = WIRE_LOCK_ACQUIRE, .error = WIRE_LOCK_DELAY, POSITION},

    /* Levels, caches, ACLs. */
    {.id = {"50", 2},
     .method = WIRE_NODE_GET,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT,
     .has_content = true,
     .cached = true,
     .cache_number = WIRE_NUMBER_MAX},
    {.id = {"51", 2},
     .method = WIRE_NODE_STAT,
     POSITION,
     .has_stat = true,
     .stat = DIRECTORY_STAT,
     .cached = true},
    {.id = {"52", 2},
     .method = WIRE_NODE_STAT,
     .error = WIRE_NO_NODE,
     POSITION,
     .cached = true,
     .cache_number = 4},
    {.id = {"53", 2},
     .method = WIRE_NODE_LIST,
     POSITION,
     .level = WIRE_STALE,
     .has_age = true,
     .age_ms = 1234},
    {.id = {"54", 2},
     .method = WIRE_NODE_GET,
     .error = WIRE_DENIED,
     POSITION,
     .level = WIRE_SEQUENTIAL,
     .has_age = true},
    {.id = {"55", 2}, .method = WIRE_NODE_STAT, .error = WIRE_NO_NODE, .level = WIRE_LEASE},
    {.id = {"56", 2},
     .method = WIRE_NODE_GET_ACL,
     POSITION,
     .level = WIRE_SEQUENTIAL,
     .has_acl = true,
     .acl = {{"", 0}, {"a\"b", 3}, {"\xc3\xa9", 2}}},
    {.id = {"57", 2},
     .method = WIRE_NODE_SET_ACL,
     POSITION,
     .has_stat = true,
     .stat = FILE_STAT},
    {.id = {"58", 2}, .method = WIRE_NODE_SET_ACL, .error = WIRE_NO_ACL, POSITION},
    {.id = {"59", 2}, .method = WIRE_NODE_GET, .error = WIRE_TOO_OLD, .level = WIRE_STALE},
    {.id = {"60", 2},
     .method = WIRE_SESSION_OPEN,
     POSITION,
     .session = 1,
     .secret = SECRET,
     .lease_ms = 12000,
     .cache_ms = 3000},
    {.id = {"61", 2},
     .method = WIRE_SESSION_KEEPALIVE,
     POSITION,
     .lease_ms = 1000,
     .cache_ms = 1000},
    {.id = {"62", 2},
     .method = WIRE_CACHE_BEGIN,
     POSITION,
     .cache_ms = 3000,
     .cache_number = 9},
    {.id = {"63", 2}, .method = WIRE_CACHE_BEGIN, POSITION},
    {.id = {"64", 2}, .method = WIRE_CACHE_ACK},
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
    assert_int_equal(a->lock_token, b->lock_token);
    assert_int_equal(a->ephemeral, b->ephemeral);
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
    assert_int_equal(a->sessions, b->sessions);
    assert_int_equal(a->locks_held, b->locks_held);
    assert_int_equal(a->locks_waiting, b->locks_waiting);
    assert_int_equal(a->locks_delayed, b->locks_delayed);
    assert_int_equal(a->opens, b->opens);
    assert_int_equal(a->watches, b->watches);
    assert_int_equal(a->history_bytes, b->history_bytes);
    assert_int_equal(a->history_floor, b->history_floor);
    assert_int_equal(a->cached, b->cached);
    assert_int_equal(a->held, b->held);
    assert_int_equal(a->has_age, b->has_age);
    assert_int_equal(a->age_ms, b->age_ms);
    assert_int_equal(a->stretch_ms, b->stretch_ms);
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

static void assert_claim_equal(const struct wire_claim *a, const struct wire_claim *b)
{
    assert_int_equal(a->held, b->held);
    assert_int_equal(a->delayed, b->delayed);
    assert_int_equal(a->delay_ms, b->delay_ms);
    assert_int_equal(a->left_ms, b->left_ms);
    assert_int_equal(a->mode, b->mode);
    assert_true(a->session == b->session);
    assert_true(same(a->label, b->label));
    assert_int_equal(a->handle, b->handle);
    assert_int_equal(a->token, b->token);
    assert_int_equal(a->since_ms, b->since_ms);
}

static void assert_lock_equal(const struct wire_lock *a, const struct wire_lock *b)
{
    assert_true(same(a->name, b->name));
    assert_int_equal(a->instance, b->instance);
    assert_int_equal(a->more, b->more);
    assert_int_equal(a->claims_count, b->claims_count);
    for (uint32_t i = 0; i < a->claims_count; i++) {
        assert_claim_equal(&a->claims[i], &b->claims[i]);
    }
}

static void assert_read_equal(const struct wire_reply *a, const struct wire_reply *b)
{
    assert_int_equal(a->level, b->level);
    assert_int_equal(a->has_age, b->has_age);
    assert_int_equal(a->age_ms, b->age_ms);
    assert_int_equal(a->cached, b->cached);
    assert_int_equal(a->cache_number, b->cache_number);
    assert_int_equal(a->cache_ms, b->cache_ms);
    assert_int_equal(a->has_acl, b->has_acl);
    for (unsigned i = 0; i < WIRE_RIGHTS; i++) {
        assert_true(same(a->acl[i], b->acl[i]));
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
        assert_int_equal(a->children[i].denied, b->children[i].denied);
    }
    assert_read_equal(a, b);
    assert_int_equal(a->session, b->session);
    assert_true(same(a->secret, b->secret));
    assert_int_equal(a->lease_ms, b->lease_ms);
    assert_int_equal(a->token, b->token);
    assert_true(same(a->sequencer, b->sequencer));
    assert_int_equal(a->next_instance, b->next_instance);
    assert_int_equal(a->valid, b->valid);
    assert_int_equal(a->left_ms, b->left_ms);
    assert_int_equal(a->holder != NULL, b->holder != NULL);
    if (a->holder != NULL) {
        assert_claim_equal(a->holder, b->holder);
    }
    assert_int_equal(a->locks_count, b->locks_count);
    for (uint32_t i = 0; i < a->locks_count; i++) {
        assert_lock_equal(&a->locks[i], &b->locks[i]);
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

/* What a server gone mad sends is read or refused, whatever it is, and points
 * nowhere but into its own memory: a sanitizer would see it. */
static void test_replies_mutated(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, COUNT = sizeof replies / sizeof replies[0] };
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    struct wire_buffer again = {.data = NULL};
    struct rng rng = {.state = 19980501};
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const enum wire_method method = replies[i % COUNT].method;
        struct wire_reply got;
        char detail[WIRE_DETAIL_MAX];
        b.size = 0;
        wire_print_reply(&b, &replies[i % COUNT]);
        wire_append(&b, "    ", 4); /* Room to grow. */
        size_t size = b.size - 5;
        mutate(&rng, b.data, &size);
        if (wire_parse_reply(&memory, method, wire_text_of(b.data, size), &got, detail)) {
            accepted++;
            again.size = 0;
            wire_print_reply(&again, &got);
        }
    }
    /* Both ways must have been taken, else this tests nothing. */
    assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS / 2);
    wire_buffer_free(&again);
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_round_trip),
        cmocka_unit_test(test_replies_truncated),
        cmocka_unit_test(test_replies_mutated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
