/* SPDX-License-Identifier: Apache-2.0
 *
 * What a session has open, what it leaves behind when it fails, and instances that
 * are pinned.
 */
#include <stdio.h>

#include "tests/unit/test_lease_support.h"

enum { A = 0xa, B = 0xb, C = 0xc }; /* Sessions. */

#define X LEASE_EXCLUSIVE
#define S LEASE_SHARED

/* Before each case, at revision 5:
 *
 *     f             a permanent file, instance 2
 *     e/            ephemeral, instance 3; A has it open
 *     e/x           an ephemeral file, instance 4; A and B have it open
 *     e/x           held by B, shared, with token 5
 */
static struct lease *fixture(struct heap *heap)
{
    *heap = heap_new();
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    limits.opens = 4;
    struct lease *l = state_new(heap, limits);
    must(l, open_session(A));
    must(l, open_session(B));
    must(l, open_session(C));
    must(l, put("f", "permanent"));
    must(l, open_ephemeral(A, 1, "e", LEASE_DIRECTORY));
    must(l, open_ephemeral(A, 2, "e/x", LEASE_FILE));
    must(l, open_node(B, 1, "e/x"));
    must(l, put("e/x", "written"));
    assert_int_equal(must(l, acquire(B, 2, "e/x", S)).token, 5);
    return l;
}

static struct lease_command with_delay(uint32_t delay_ms, struct lease_command command)
{
    command.delay_ms = delay_ms;
    return command;
}

static struct lease_command pinned(uint64_t instance, struct lease_command command)
{
    command.if_instance = instance;
    return command;
}

static struct lease_command permanent(struct lease_command command)
{
    command.ephemeral = false;
    return command;
}

static struct lease_command large(struct lease_command command)
{
    static const uint8_t content[LEASE_CONTENT_MAX + 1];
    command.content = bytes_of(content, sizeof content);
    return command;
}

static bool is_there(const struct lease *l, const char *path)
{
    struct lease_stat stat;
    struct bytes content;
    return lease_get(l, text(path), &stat, &content) == LEASE_OK;
}

static void finish(struct lease *l, struct heap *heap)
{
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap->used, 0);
}

/* -------------------------------------------------------------------- open */

static void test_open(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct lease_command command;
        enum lease_rc rc;
        uint64_t instance; /* Of the stat. */
        uint64_t revision, opens;
    } cases[] = {
        {"a permanent one", open_node(C, 1, "f"), LEASE_OK, 2, 5, 3},
        {"the root", open_node(C, 1, ""), LEASE_OK, 1, 5, 3},
        {"an ephemeral one", open_node(C, 1, "e/x"), LEASE_OK, 4, 5, 4},
        {"again", open_node(B, 3, "e/x"), LEASE_OK, 4, 5, 3},
        {"by another handle", with_handle(2, open_node(B, 3, "e/x")), LEASE_OK, 4, 5, 4},
        {"of the right kind", open_ephemeral(C, 1, "e/x", LEASE_FILE), LEASE_OK, 4, 5, 4},
        {"as ephemeral, but it isn't", open_ephemeral(C, 1, "f", LEASE_FILE), LEASE_OK, 2, 5,
         3},
        {"a file as directory", open_ephemeral(C, 1, "f", LEASE_DIRECTORY),
         LEASE_NOT_A_DIRECTORY, 0, 5, 3},
        {"a directory as file", open_ephemeral(C, 1, "e", LEASE_FILE), LEASE_NOT_A_FILE, 0, 5,
         3},
        {"nothing", open_node(C, 1, "n"), LEASE_NO_NODE, 0, 5, 3},
        {"nothing in nothing", open_node(C, 1, "n/n"), LEASE_NO_NODE, 0, 5, 3},
        {"below a file", open_node(C, 1, "f/n"), LEASE_NOT_A_DIRECTORY, 0, 5, 3},
        {"made", open_ephemeral(C, 1, "n", LEASE_FILE), LEASE_OK, 5, 6, 4},
        {"made, permanent", permanent(open_ephemeral(C, 1, "n", LEASE_FILE)), LEASE_OK, 5, 6,
         3},
        {"made in nothing", open_ephemeral(C, 1, "n/n", LEASE_FILE), LEASE_NO_PARENT, 0, 5, 3},
        {"made too large", large(open_ephemeral(C, 1, "n", LEASE_FILE)), LEASE_TOO_LARGE, 0, 5,
         3},
        {"a directory has no content", large(open_ephemeral(C, 1, "n", LEASE_DIRECTORY)),
         LEASE_OK, 5, 6, 4},
        {"must not exist", pinned(0, open_ephemeral(C, 1, "e/x", LEASE_FILE)), LEASE_EXISTS, 0,
         5, 3},
        {"must not exist, and doesn't", pinned(0, open_ephemeral(C, 1, "n", LEASE_FILE)),
         LEASE_OK, 5, 6, 4},
        {"the instance", pinned(4, open_node(C, 1, "e/x")), LEASE_OK, 4, 5, 4},
        {"another instance", pinned(3, open_node(C, 1, "e/x")), LEASE_STALE_INSTANCE, 0, 5, 3},
        {"an instance that is gone", pinned(9, open_ephemeral(C, 1, "n", LEASE_FILE)),
         LEASE_STALE_INSTANCE, 0, 5, 3},
        {"one whose parent is gone", pinned(9, open_node(C, 1, "n/n")), LEASE_STALE_INSTANCE, 0,
         5, 3},
        {"a bad path", pinned(9, open_node(C, 1, "f/")), LEASE_BAD_PATH, 0, 5, 3},
        {"no such session", open_node(9, 1, "f"), LEASE_NO_SESSION, 0, 5, 3},
        {"no session", open_node(0, 0, "f"), LEASE_NO_SESSION, 0, 5, 3},
        {"closed", close_node(B, 3, "e/x", 4), LEASE_OK, 0, 5, 2},
        {"closed, another handle", with_handle(2, close_node(B, 3, "e/x", 4)), LEASE_OK, 0, 5,
         3},
        {"closed, never open", close_node(C, 1, "e/x", 4), LEASE_OK, 0, 5, 3},
        {"closed, another instance", close_node(B, 3, "e/x", 5), LEASE_OK, 0, 5, 3},
        {"closed, no session", close_node(0, 0, "e/x", 4), LEASE_NO_SESSION, 0, 5, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct heap heap;
        struct lease *l = fixture(&heap);
        const struct lease_result result = apply(l, cases[i].command);
        if (result.rc != cases[i].rc || result.stat.instance != cases[i].instance ||
            result.revision != cases[i].revision || lease_counts(l).opens != cases[i].opens ||
            result.created != (result.revision > 5)) {
            fail_msg("%s: %s", cases[i].name, lease_rc_text(result.rc));
        }
        if (cases[i].command.session != 0 && result.rc != LEASE_NO_SESSION) {
            const struct lease_result again = apply(l, cases[i].command);
            assert_same_result(&result, &again); /* Remembered, the stat too. */
        }
        finish(l, &heap);
    }
}

static void test_open_limit(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, open_node(C, 1, "e"));
    assert_int_equal(apply(l, open_node(C, 2, "e/x")).rc, LEASE_LIMIT);
    assert_int_equal(apply(l, open_ephemeral(C, 3, "n", LEASE_FILE)).rc, LEASE_LIMIT);
    must(l, open_node(C, 4, "e")); /* Which it has. */
    must(l, open_node(C, 5, "f"));
    must(l, permanent(open_ephemeral(C, 6, "n", LEASE_FILE)));
    struct lease_session session;
    assert_true(lease_session_get(l, C, &session));
    assert_int_equal(session.opens, 1);
    finish(l, &heap);
}

/* --------------------------------------------------------------- ephemerals */

/* It stays for its openers, its claims and its children, in whatever order they go. */
static void test_last_to_leave(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, close_node(A, 3, "e", 3));
    must(l, close_node(A, 4, "e/x", 4));
    must(l, close_node(B, 3, "e/x", 4));
    assert_true(is_there(l, "e/x")); /* B holds it. */
    assert_int_equal(lease_counts(l).opens, 0);
    assert_int_equal(apply(l, acquire(C, 1, "e/x", X)).rc, LEASE_WAITING);
    must(l, release(B, 4, "e/x", 5)); /* To C. */
    assert_true(is_there(l, "e/x"));
    must(l, release(C, 2, "e/x", 7));
    assert_false(is_there(l, "e/x"));
    assert_false(is_there(l, "e")); /* It was what kept its parent. */
    assert_true(is_there(l, "f"));
    assert_int_equal(lease_position(l).revision, 8); /* With the release. */
    finish(l, &heap);
}

static void test_waiter_leaves(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_int_equal(apply(l, acquire(C, 1, "e/x", X)).rc, LEASE_WAITING);
    must(l, close_session(A, 3));
    must(l, close_session(B, 3)); /* Hands over to C. */
    assert_true(is_there(l, "e/x"));
    must(l, release(C, 2, "e/x", lease_position(l).revision));
    assert_false(is_there(l, "e"));
    finish(l, &heap);
}

static void test_session_ends(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, expire_session(B, 0));
    assert_true(is_there(l, "e/x")); /* A has it open. */
    must(l, expire_session(A, 0));
    assert_false(is_there(l, "e"));
    assert_int_equal(lease_counts(l).nodes, 2);
    finish(l, &heap);
}

/* The last opener expires when another has just opened it. */
static void test_opened_in_time(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, expire_session(B, 0));
    must(l, open_node(C, 1, "e/x"));
    must(l, expire_session(A, 0));
    assert_true(is_there(l, "e/x")); /* And e, which nobody has open. */
    must(l, close_node(C, 2, "e/x", 4));
    assert_false(is_there(l, "e"));
    assert_int_equal(apply(l, pinned(4, open_node(C, 3, "e/x"))).rc, LEASE_STALE_INSTANCE);
    finish(l, &heap);
}

static void test_deleted_while_open(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_int_equal(apply(l, by(A, 3, delete_any("e"))).rc, LEASE_NOT_EMPTY);
    assert_int_equal(apply(l, by(A, 4, delete_any("e/x"))).rc, LEASE_LOCKED);
    must(l, close_node(A, 5, "e", 3));
    must(l, by(B, 3, delete_any("e/x"))); /* What it holds itself; A has it open. */
    assert_false(is_there(l, "e"));
    assert_int_equal(lease_counts(l).opens, 0);
    must(l, close_node(A, 6, "e/x", 4));
    must(l, permanent(open_ephemeral(C, 1, "e", LEASE_FILE)));
    must(l, close_session(C, 2));
    assert_true(is_there(l, "e")); /* Another one, that stays. */
    finish(l, &heap);
}

/* -------------------------------------------------------------- lock-delay */

static struct lease_claim claim_of_path(const struct lease *l, const char *path, uint32_t at)
{
    struct lease_claim claims[8];
    uint32_t count;
    bool more;
    assert_int_equal(lease_claims(l, text(path), 0, 8, claims, &count, &more), LEASE_OK);
    assert_true(at < count);
    return claims[at];
}

static struct lease_settled settled_one(const struct lease *l)
{
    uint32_t count;
    const struct lease_settled *settled = lease_settled(l, &count);
    assert_int_equal(count, 1);
    return settled[0];
}

static void test_delay(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t token = must(l, with_delay(3000, acquire(A, 3, "f", X))).token;
    assert_int_equal(apply(l, acquire(B, 3, "f", X)).rc, LEASE_WAITING);
    const uint64_t number = claim_of_path(l, "f", 0).number;
    must(l, expire_session(A, 0));

    uint32_t begun = 0;
    const struct lease_delay *delays = lease_delays_begun(l, &begun);
    assert_int_equal(begun, 1);
    assert_int_equal(delays[0].instance, 2);
    assert_int_equal(delays[0].number, number);
    assert_int_equal(delays[0].delay_ms, 3000);
    const struct lease_claim failed = claim_of_path(l, "f", 0);
    assert_true(failed.delayed && !failed.held);
    assert_int_equal(failed.session, A);
    assert_int_equal(failed.token, token);
    assert_int_equal(failed.delay_ms, 3000);
    assert_int_equal(failed.since_wall_ms, 1000 + lease_position(l).slot - 1);
    assert_true(bytes_equal(failed.label, text("label"))); /* Though its session is gone. */
    assert_int_equal(lease_sequencer(l, text("f"), X, token), LEASE_NOT_HELD);

    assert_int_equal(apply(l, try_acquire(C, 1, "f", S)).rc, LEASE_LOCK_DELAY);
    lease_delays_begun(l, &begun);
    assert_int_equal(begun, 0);
    assert_int_equal(apply(l, by(C, 2, delete_any("f"))).rc, LEASE_LOCKED);
    assert_int_equal(apply(l, acquire(C, 3, "f", X)).rc, LEASE_WAITING);
    must(l, time_out(C, 3, 0));
    assert_int_equal(settled_one(l).result.rc, LEASE_LOCK_DELAY);
    assert_int_equal(apply(l, acquire(C, 3, "f", X)).rc, LEASE_LOCK_DELAY); /* Remembered. */
    must(l, put("f", "advisory"));

    assert_int_equal(apply(l, delay_over(2, number, 1)).rc, LEASE_OLD_EPOCH);
    must(l, delay_over(2, number + 1, 0)); /* Which waits. */
    must(l, delay_over(3, number, 0));
    must(l, delay_over(99, number, 0));
    assert_int_equal(lease_counts(l).delayed, 1);
    must(l, delay_over(2, number, 0));
    assert_int_equal(settled_one(l).session, B);
    assert_int_equal(settled_one(l).result.token, lease_position(l).revision);
    must(l, delay_over(2, number, 0)); /* Over already. */
    assert_int_equal(lease_counts(l).delayed, 0);
    finish(l, &heap);
}

/* Readers who share the holding keep it; nobody joins them until the last delay is over. */
static void test_delay_among_readers(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t token = must(l, with_delay(100, acquire(A, 3, "f", S))).token;
    must(l, with_delay(UINT32_MAX, with_handle(2, acquire(A, 4, "f", S))));
    must(l, acquire(B, 3, "f", S));
    must(l, expire_session(A, 0));
    assert_true(claim_of_path(l, "f", 0).held); /* Who holds stands first. */
    assert_int_equal(claim_of_path(l, "f", 2).delay_ms, LEASE_DELAY_MS_MAX);
    assert_int_equal(lease_sequencer(l, text("f"), S, token), LEASE_OK);
    assert_int_equal(apply(l, try_acquire(C, 1, "f", S)).rc, LEASE_LOCKED);
    assert_int_equal(apply(l, acquire(C, 2, "f", S)).rc, LEASE_WAITING);
    must(l, release(B, 4, "f", token));
    assert_int_equal(apply(l, with_handle(2, try_acquire(C, 3, "f", S))).rc, LEASE_LOCK_DELAY);

    must(l, delay_over(2, claim_of_path(l, "f", 0).number, 0));
    assert_int_equal(lease_counts(l).delayed, 1);
    assert_int_equal(lease_counts(l).held, 1); /* That of e/x. */
    must(l, delay_over(2, claim_of_path(l, "f", 0).number, 0));
    assert_true(settled_one(l).result.token > token);
    finish(l, &heap);
}

/* It is for who fails, and not for who gives it back, closes, or merely waits. */
static void test_no_delay(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t token = must(l, with_delay(3000, acquire(A, 3, "f", X))).token;
    assert_int_equal(apply(l, with_delay(3000, acquire(C, 1, "f", X))).rc, LEASE_WAITING);
    must(l, expire_session(C, 0));
    must(l, release(A, 4, "f", token));
    must(l, with_delay(3000, acquire(A, 5, "f", X)));
    must(l, close_session(A, 6));
    must(l, acquire(B, 3, "f", X));
    must(l, expire_session(B, 0));
    assert_int_equal(lease_counts(l).delayed, 0);
    finish(l, &heap);
}

/* An ephemeral one that owes a lock-delay stays, closed, until it is over. */
static void test_ephemeral_in_delay(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, close_session(B, 3));
    must(l, with_delay(3000, acquire(A, 3, "e/x", X)));
    const uint64_t number = claim_of_path(l, "e/x", 0).number;
    must(l, expire_session(A, 0));
    assert_int_equal(lease_counts(l).opens, 0);
    assert_true(is_there(l, "e/x"));
    assert_int_equal(apply(l, try_acquire(C, 1, "e/x", S)).rc, LEASE_LOCK_DELAY);
    assert_int_equal(apply(l, by(C, 2, delete_any("e/x"))).rc, LEASE_LOCKED);
    const uint64_t revision = lease_position(l).revision;
    must(l, delay_over(4, number, 0));
    assert_false(is_there(l, "e"));
    assert_int_equal(lease_position(l).revision, revision + 1);
    finish(l, &heap);
}

/* -------------------------------------------------------------------- pins */

static void test_pins(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, pinned(2, acquire(A, 3, "f", S)));
    assert_int_equal(apply(l, pinned(3, acquire(B, 3, "f", S))).rc, LEASE_STALE_INSTANCE);
    struct lease_command makes = pinned(2, acquire(B, 4, "n", S));
    makes.create = true;
    assert_int_equal(apply(l, makes).rc, LEASE_STALE_INSTANCE);
    assert_int_equal(apply(l, pinned(2, acquire(B, 5, "n/n", S))).rc, LEASE_STALE_INSTANCE);
    assert_int_equal(apply(l, pinned(2, acquire(B, 6, "f/n", S))).rc, LEASE_STALE_INSTANCE);
    must(l, by(A, 7, delete_any("f")));
    must(l, put("f", "another"));
    assert_int_equal(apply(l, pinned(2, acquire(A, 8, "f", S))).rc, LEASE_STALE_INSTANCE);
    must(l, pinned(5, acquire(A, 9, "f", S)));
    finish(l, &heap);
}

/* ------------------------------------------------------------------- paths */

struct visited {
    char paths[64];
};

static void visit_path(void *context, struct bytes path)
{
    struct visited *visited = context;
    const size_t used = strlen(visited->paths);
    snprintf(visited->paths + used, sizeof visited->paths - used, "%.*s ", (int)path.size,
             (const char *)path.data);
}

static void assert_visited(const struct lease *l, uint64_t session, const char *paths)
{
    struct visited visited = {.paths = ""};
    lease_ephemerals_visit(l, session, visit_path, &visited);
    assert_string_equal(visited.paths, paths);
}

/* What may go with what ends. */
static void test_paths(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    uint8_t path[LEASE_PATH_MAX];
    size_t size = 9;
    assert_true(lease_instance_path(l, 4, path, &size));
    assert_true(bytes_equal(bytes_of(path, size), text("e/x")));
    assert_true(lease_instance_path(l, 1, path, &size));
    assert_int_equal(size, 0);
    assert_false(lease_instance_path(l, 9, path, &size));

    assert_int_equal(apply(l, acquire(C, 1, "e/x", X)).rc, LEASE_WAITING);
    assert_true(lease_claim_path(l, C, 1, path, &size));
    assert_true(bytes_equal(bytes_of(path, size), text("e/x")));
    assert_false(lease_claim_path(l, C, 2, path, &size));
    assert_false(lease_claim_path(l, B, 2, path, &size)); /* It holds. */
    assert_false(lease_claim_path(l, 9, 1, path, &size));

    must(l, acquire(B, 3, "f", X));
    assert_visited(l, A, "e e/x ");
    assert_visited(l, B, "e/x e/x "); /* Open, and held. */
    assert_visited(l, C, "e/x ");
    assert_visited(l, 9, "");
    finish(l, &heap);
}

static void test_stretch(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const struct lease_command stretch = {.type = LEASE_CMD_STRETCH, .lease_ms = 30000};
    assert_int_equal(lease_longest_ms(l, 12000), 12000);
    must(l, stretch);
    assert_int_equal(lease_stretch_ms(l), 30000);
    assert_int_equal(lease_longest_ms(l, 11999), 11999);
    assert_int_equal(lease_longest_ms(l, 12000), 30000);
    assert_int_equal(lease_longest_ms(l, 60000), 60000);
    struct lease_command wrong = stretch;
    wrong.epoch = 1;
    assert_int_equal(apply(l, wrong).rc, LEASE_OLD_EPOCH);
    wrong = stretch;
    wrong.lease_ms = LEASE_SESSION_MS_MAX + 1;
    assert_int_equal(apply(l, wrong).rc, LEASE_LIMIT);
    assert_int_equal(lease_stretch_ms(l), 30000);
    assert_int_equal(lease_position(l).revision, 5);
    finish(l, &heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_limit),
        cmocka_unit_test(test_last_to_leave),
        cmocka_unit_test(test_waiter_leaves),
        cmocka_unit_test(test_session_ends),
        cmocka_unit_test(test_opened_in_time),
        cmocka_unit_test(test_deleted_while_open),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_delay_among_readers),
        cmocka_unit_test(test_no_delay),
        cmocka_unit_test(test_ephemeral_in_delay),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_stretch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
