/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks: every command in every situation, then the stories of a queue.
 */
#include "tests/unit/test_lease_support.h"

enum { A = 0xa, B = 0xb, C = 0xc, D = 0xd }; /* Sessions. */

#define X LEASE_EXCLUSIVE
#define S LEASE_SHARED

/* Before each case, at revision 8:
 *
 *     d/            a directory, free
 *     x             held by A, exclusive, with token 5; B waits, since revision 8
 *     s             held by A and B, shared, with token 6
 *     f             free
 */
static struct lease *fixture(struct heap *heap)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, LEASE_LIMITS_DEFAULT);
    must(l, create("d", LEASE_DIRECTORY, ""));
    must(l, put("x", ""));
    must(l, put("s", ""));
    must(l, put("f", ""));
    must(l, open_session(A));
    must(l, open_session(B));
    must(l, open_session(C));
    assert_int_equal(must(l, acquire(A, 1, "x", X)).token, 5);
    assert_int_equal(must(l, acquire(A, 2, "s", S)).token, 6);
    assert_int_equal(must(l, acquire(B, 1, "s", S)).token, 6); /* Joins. */
    assert_int_equal(apply(l, acquire(B, 2, "x", X)).rc, LEASE_WAITING);
    assert_int_equal(lease_position(l).revision, 8);
    return l;
}

static struct lease_command making(struct lease_command command)
{
    command.create = true;
    return command;
}

struct outcome {
    const char *name;
    struct lease_command command;
    enum lease_rc rc;
    uint64_t token;
    uint64_t revision; /* After it. */
    uint32_t settled;
};

static void check_outcomes(const struct outcome *outcomes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct outcome *o = &outcomes[i];
        struct heap heap;
        struct lease *l = fixture(&heap);
        const struct lease_result result = apply(l, o->command);
        uint32_t settled = 0;
        lease_settled(l, &settled);
        lease_check(l);
        if (result.rc != o->rc || result.token != o->token || result.revision != o->revision ||
            settled != o->settled) {
            fail_msg("%s: %s, token %d revision %d settled %d", o->name,
                     lease_rc_text(result.rc), (int)result.token, (int)result.revision,
                     (int)settled);
        }
        lease_free(l);
        assert_int_equal(heap.used, 0);
    }
}

static void test_acquire(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"free", acquire(C, 1, "f", X), LEASE_OK, 9, 9, 0},
        {"free, try", try_acquire(C, 1, "f", S), LEASE_OK, 9, 9, 0},
        {"a directory", acquire(C, 1, "d", X), LEASE_OK, 9, 9, 0},
        {"the root", acquire(C, 1, "", S), LEASE_OK, 9, 9, 0},
        {"held", acquire(C, 1, "x", X), LEASE_WAITING, 0, 9, 0},
        {"held, try", try_acquire(C, 1, "x", X), LEASE_LOCKED, 0, 8, 0},
        {"joins readers", acquire(C, 1, "s", S), LEASE_OK, 6, 9, 0},
        {"joins readers, try", try_acquire(C, 1, "s", S), LEASE_OK, 6, 9, 0},
        {"writes among readers", acquire(C, 1, "s", X), LEASE_WAITING, 0, 9, 0},
        {"own, again", acquire(A, 3, "x", X), LEASE_OWNED, 0, 8, 0},
        {"own, awaited", try_acquire(B, 3, "x", S), LEASE_OWNED, 0, 8, 0},
        {"own, other handle", with_handle(2, acquire(A, 3, "x", X)), LEASE_WAITING, 0, 9, 0},
        {"own, other handle, shared", with_handle(2, acquire(A, 3, "s", S)), LEASE_OK, 6, 9, 0},
        {"a retry", acquire(A, 1, "x", X), LEASE_OK, 5, 5, 0},
        {"a retry of one that waits", acquire(B, 2, "x", X), LEASE_WAITING, 0, 8, 0},
        {"nothing", acquire(C, 1, "n", X), LEASE_NO_NODE, 0, 8, 0},
        {"nothing in nothing", acquire(C, 1, "n/n", X), LEASE_NO_NODE, 0, 8, 0},
        {"made", making(acquire(C, 1, "n", X)), LEASE_OK, 9, 9, 0},
        {"made, try", making(try_acquire(C, 1, "d/n", X)), LEASE_OK, 9, 9, 0},
        {"made where it is", making(acquire(C, 1, "f", X)), LEASE_OK, 9, 9, 0},
        {"made in nothing", making(acquire(C, 1, "n/n", X)), LEASE_NO_PARENT, 0, 8, 0},
        {"below a file", making(acquire(C, 1, "f/n", X)), LEASE_NOT_A_DIRECTORY, 0, 8, 0},
        {"a bad path", acquire(C, 1, "f/", X), LEASE_BAD_PATH, 0, 8, 0},
        {"no such session", acquire(D, 1, "f", X), LEASE_NO_SESSION, 0, 8, 0},
        {"no session", acquire(0, 0, "f", X), LEASE_NO_SESSION, 0, 8, 0},
        {"no request", acquire(C, 0, "f", X), LEASE_ACKNOWLEDGED, 0, 8, 0},
    };
    check_outcomes(outcomes, sizeof outcomes / sizeof outcomes[0]);
}

static void test_release(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"to the next", release(A, 3, "x", 5), LEASE_OK, 0, 9, 1},
        {"one reader of two", release(B, 3, "s", 6), LEASE_OK, 0, 9, 0},
        {"token too low", release(A, 3, "x", 4), LEASE_NOT_HELD, 0, 8, 0},
        {"token too high", release(A, 3, "x", 6), LEASE_NOT_HELD, 0, 8, 0},
        {"other handle", with_handle(2, release(A, 3, "x", 5)), LEASE_NOT_HELD, 0, 8, 0},
        {"other session", release(C, 1, "x", 5), LEASE_NOT_HELD, 0, 8, 0},
        {"waiting", release(B, 3, "x", 5), LEASE_NOT_HELD, 0, 8, 0},
        {"free", release(A, 3, "f", 5), LEASE_NOT_HELD, 0, 8, 0},
        {"nothing", release(A, 3, "n", 5), LEASE_NOT_HELD, 0, 8, 0},
        {"below a file", release(A, 3, "x/n", 5), LEASE_NOT_HELD, 0, 8, 0},
        {"a bad path", release(A, 3, "/x", 5), LEASE_BAD_PATH, 0, 8, 0},
        {"no session", release(0, 0, "x", 5), LEASE_NO_SESSION, 0, 8, 0},
    };
    check_outcomes(outcomes, sizeof outcomes / sizeof outcomes[0]);
}

static void test_cancel(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"one that waits", cancel(B, 3, 2), LEASE_CANCELLED, 0, 8, 1},
        {"too late", cancel(A, 3, 1), LEASE_OK, 5, 8, 0},
        {"not yet seen", cancel(A, 3, 9), LEASE_CANCELLED, 0, 8, 0},
        {"itself", cancel(A, 3, 3), LEASE_CANCELLED, 0, 8, 0},
        {"no request", cancel(A, 3, 0), LEASE_ACKNOWLEDGED, 0, 8, 0},
        {"acknowledged", with_ack(2, cancel(A, 3, 1)), LEASE_ACKNOWLEDGED, 0, 8, 0},
        {"no session", cancel(0, 0, 1), LEASE_NO_SESSION, 0, 8, 0},
        {"timed out", time_out(B, 2, 0), LEASE_OK, 0, 8, 1},
        {"timed out, granted", time_out(B, 1, 0), LEASE_OK, 0, 8, 0},
        {"timed out, unknown", time_out(B, 9, 0), LEASE_OK, 0, 8, 0},
        {"timed out, no session", time_out(D, 1, 0), LEASE_NO_SESSION, 0, 8, 0},
        {"timed out, other epoch", time_out(B, 2, 1), LEASE_OLD_EPOCH, 0, 8, 0},
    };
    check_outcomes(outcomes, sizeof outcomes / sizeof outcomes[0]);
}

static void test_ends(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"a holder closes", close_session(A, 3), LEASE_OK, 0, 9, 1},
        {"a waiter closes", close_session(B, 3), LEASE_OK, 0, 9, 1},
        {"one without claims closes", close_session(C, 1), LEASE_OK, 0, 8, 0},
        {"nobody closes", close_session(0, 0), LEASE_NO_SESSION, 0, 8, 0},
        {"a holder expires", expire_session(A, 0), LEASE_OK, 0, 9, 1},
        {"a waiter expires", expire_session(B, 0), LEASE_OK, 0, 9, 1},
        {"judged under another epoch", expire_session(A, 1), LEASE_OLD_EPOCH, 0, 8, 0},
        {"expired already", expire_session(D, 0), LEASE_NO_SESSION, 0, 8, 0},
        {"deletes what others hold", by(C, 1, delete_any("x")), LEASE_LOCKED, 0, 8, 0},
        {"deletes what others await", by(A, 3, delete_any("x")), LEASE_LOCKED, 0, 8, 0},
        {"deletes what is shared", by(A, 3, delete_any("s")), LEASE_LOCKED, 0, 8, 0},
        {"deletes what is free", by(A, 3, delete_any("f")), LEASE_OK, 0, 9, 0},
        {"one-shot, held", delete_any("x"), LEASE_LOCKED, 0, 8, 0},
        {"writes what others hold", put("x", "y"), LEASE_OK, 0, 9, 0},
    };
    check_outcomes(outcomes, sizeof outcomes / sizeof outcomes[0]);
}

/* What is left of a lock, as one line. */
static void assert_claims(const struct lease *l, const char *path, const char *expected)
{
    struct lease_claim claims[8];
    uint32_t count;
    bool more;
    assert_int_equal(lease_claims(l, text(path), 0, 8, claims, &count, &more), LEASE_OK);
    char line[64] = "";
    for (uint32_t i = 0; i < count; i++) {
        const char shown[] = {(char)('a' + (char)claims[i].session - A),
                              claims[i].mode == X ? 'x' : 's', claims[i].held ? '!' : '?', ' ',
                              '\0'};
        strcat(line, shown);
    }
    assert_string_equal(line, expected);
}

static void assert_settled(const struct lease *l, uint32_t at, uint64_t session,
                           uint64_t request, enum lease_rc rc, uint64_t token)
{
    uint32_t count;
    const struct lease_settled *settled = lease_settled(l, &count);
    assert_true(at < count);
    assert_int_equal(settled[at].session, session);
    assert_int_equal(settled[at].request, request);
    assert_int_equal(settled[at].result.rc, rc);
    assert_int_equal(settled[at].result.token, token);
}

static void test_queue(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, open_session(D));
    /* Readers behind a writer wait, though the holders are readers. */
    assert_int_equal(apply(l, acquire(C, 1, "s", X)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, acquire(D, 1, "s", S)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, try_acquire(D, 2, "s", S)).rc, LEASE_OWNED);
    assert_int_equal(apply(l, with_handle(2, try_acquire(D, 3, "s", S))).rc, LEASE_LOCKED);
    assert_claims(l, "s", "as! bs! cx? ds? ");

    must(l, release(A, 3, "s", 6));
    assert_claims(l, "s", "bs! cx? ds? ");
    const struct lease_result last = must(l, release(B, 3, "s", 6));
    assert_claims(l, "s", "cx! ds? ");
    assert_settled(l, 0, C, 1, LEASE_OK, last.revision); /* A new holding, a new token. */
    must(l, acquire(A, 4, "f", X));
    must(l, close_session(C, 2));
    assert_claims(l, "s", "ds! ");
    assert_settled(l, 0, D, 1, LEASE_OK, lease_position(l).revision);
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_cancelled_head(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, open_session(D));
    assert_int_equal(apply(l, acquire(C, 1, "s", X)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, acquire(D, 1, "s", S)).rc, LEASE_WAITING);
    /* With the writer gone the reader joins those who read. */
    assert_int_equal(apply(l, cancel(C, 2, 1)).rc, LEASE_CANCELLED);
    assert_settled(l, 0, C, 1, LEASE_CANCELLED, 0);
    assert_settled(l, 1, D, 1, LEASE_OK, 6);
    assert_claims(l, "s", "as! bs! ds! ");
    assert_int_equal(lease_position(l).revision, 11); /* Two began to wait, one was granted. */
    /* A retry hears what became of it. */
    assert_int_equal(apply(l, acquire(C, 1, "s", X)).rc, LEASE_CANCELLED);
    assert_int_equal(apply(l, acquire(D, 1, "s", S)).token, 6);
    lease_check(l);
    lease_free(l);
}

static void test_token_outlives_the_node(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    uint64_t token = 0;
    for (uint64_t i = 0; i < 4; i++) {
        const struct lease_result made = must(l, making(acquire(C, 3 * i + 1, "n", X)));
        assert_true(made.created);
        assert_true(made.token > token);
        token = made.token;
        struct lease_stat stat;
        struct bytes content;
        assert_int_equal(lease_get(l, text("n"), &stat, &content), LEASE_OK);
        assert_int_equal(stat.lock_generation, 1);
        /* What the requester alone holds and awaits goes with the node. */
        assert_int_equal(apply(l, with_handle(2, acquire(C, 3 * i + 2, "n", S))).rc,
                         LEASE_WAITING);
        must(l, by(C, 3 * i + 3, delete_any("n")));
        assert_settled(l, 0, C, 3 * i + 2, LEASE_NO_NODE, 0);
        lease_check(l);
    }
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_limits(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(
        &heap, (struct lease_limits){.nodes = 4, .sessions = 2, .claims = 3, .waiters = 1});
    must(l, open_session(A));
    must(l, open_session(B));
    assert_int_equal(apply(l, open_session(C)).rc, LEASE_LIMIT);
    must(l, put("f", ""));
    must(l, acquire(A, 1, "f", X));
    assert_int_equal(apply(l, acquire(B, 1, "f", X)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, with_handle(2, acquire(B, 2, "f", X))).rc, LEASE_LIMIT);
    must(l, making(acquire(A, 2, "g", X)));
    assert_int_equal(apply(l, acquire(A, 3, "", X)).rc, LEASE_LIMIT);
    assert_int_equal(apply(l, making(acquire(A, 4, "h", X))).rc, LEASE_LIMIT);
    must(l, release(A, 5, "f", 2)); /* To B. */
    must(l, making(acquire(A, 6, "h", X)));
    must(l, close_session(B, 3));
    assert_int_equal(apply(l, making(acquire(A, 7, "i", X))).rc, LEASE_LIMIT); /* Nodes. */
    lease_check(l);
    lease_free(l);
}

static void test_queries(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, put("d/f", ""));
    struct lease_command command = acquire(C, 1, "d/f", S);
    must(l, command);
    command = acquire(C, 2, "s", X);
    command.wait_ms = 250;
    assert_int_equal(apply(l, command).rc, LEASE_WAITING);

    uint8_t path[LEASE_PATH_MAX];
    size_t size = 0;
    uint64_t instance = 0;
    static const char *const locked[] = {"x", "s", "d/f"};
    for (size_t i = 0; i < 3; i++) {
        instance = lease_locked_next(l, instance, path, &size);
        assert_true(instance != 0);
        assert_true(bytes_equal(bytes_of(path, size), text(locked[i])));
    }
    assert_int_equal(lease_locked_next(l, instance, path, &size), 0);
    assert_int_equal(lease_locked_next(l, UINT64_MAX, path, &size), 0);

    uint32_t wait_ms = 0;
    assert_true(lease_waiting(l, C, 2, &wait_ms));
    assert_int_equal(wait_ms, 250);
    assert_false(lease_waiting(l, C, 1, &wait_ms));
    assert_false(lease_waiting(l, D, 2, &wait_ms));

    struct lease_claim claims[2];
    uint32_t count = 0;
    bool more = false;
    assert_int_equal(lease_claims(l, text("s"), 1, 1, claims, &count, &more), LEASE_OK);
    assert_int_equal(count, 1);
    assert_true(more);
    assert_int_equal(claims[0].session, B);
    assert_true(bytes_equal(claims[0].label, text("label")));
    assert_int_equal(lease_claims(l, text("s"), 2, 2, claims, &count, &more), LEASE_OK);
    assert_int_equal(count, 1);
    assert_false(more);
    assert_int_equal(claims[0].wait_ms, 250);
    assert_int_equal(lease_claims(l, text("s"), 9, 2, claims, &count, &more), LEASE_OK);
    assert_int_equal(count, 0);
    assert_int_equal(lease_claims(l, text("n/n"), 0, 2, claims, &count, &more), LEASE_NO_NODE);
    assert_int_equal(lease_claims(l, text("/"), 0, 2, claims, &count, &more), LEASE_BAD_PATH);
    lease_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acquire),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_cancelled_head),
        cmocka_unit_test(test_token_outlives_the_node),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
