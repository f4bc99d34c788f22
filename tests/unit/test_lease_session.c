/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: opening and ending, at most once, acknowledgements and their bounds.
 */
#include "tests/unit/test_lease_support.h"

#include "paxos/base/rng.h"

enum { A = 0xa, B = 0xb };

static struct lease *fixture(struct heap *heap)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, LEASE_LIMITS_DEFAULT);
    must(l, open_session(A));
    must(l, open_session(B));
    return l;
}

static struct lease_session session_of(const struct lease *l, uint64_t id)
{
    struct lease_session session;
    assert_true(lease_session_get(l, id, &session));
    return session;
}

static void test_open(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    struct lease_command open = open_session(UINT64_MAX);
    open.principal = text("alice");
    lease_secret_hash(text("secret"), open.secret_hash);
    const struct lease_result result = must(l, open);
    assert_int_equal(result.session, UINT64_MAX);
    assert_int_equal(result.lease_ms, 5000);
    assert_int_equal(result.revision, 0); /* No node and no lock has changed. */
    assert_int_equal(apply(l, open).rc, LEASE_EXISTS);
    assert_int_equal(apply(l, open_session(0)).rc, LEASE_NO_SESSION);

    const struct lease_session session = session_of(l, UINT64_MAX);
    assert_true(bytes_equal(session.label, text("label")));
    assert_true(bytes_equal(session.principal, text("alice")));
    assert_true(lease_session_secret(l, UINT64_MAX, text("secret")));
    assert_false(lease_session_secret(l, UINT64_MAX, text("Secret")));
    assert_false(lease_session_secret(l, 1, text("secret")));

    static const uint32_t leases[][2] = {{0, LEASE_SESSION_MS_DEFAULT},
                                         {1, LEASE_SESSION_MS_MIN},
                                         {UINT32_MAX, LEASE_SESSION_MS_MAX}};
    for (uint64_t i = 0; i < 3; i++) {
        open = open_session(i + 1);
        open.lease_ms = leases[i][0];
        assert_int_equal(must(l, open).lease_ms, leases[i][1]);
    }
    assert_int_equal(lease_session_next(l, 0), 1);
    assert_int_equal(lease_session_next(l, 3), UINT64_MAX);
    assert_int_equal(lease_session_next(l, UINT64_MAX), 0);
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* Whatever a command's outcome, a retry hears it again, at its first place. */
static void test_retries(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const struct lease_command commands[] = {
        by(A, 1, put("f", "x")),
        by(A, 2, put_if("f", "y", 7, LEASE_ANY)), /* A conflict, with the node as it is. */
        by(A, 3, create("d", LEASE_DIRECTORY, "")),
        by(A, 4, create("d", LEASE_DIRECTORY, "")),
        by(A, 5, delete_any("d")),
        acquire(A, 6, "f", LEASE_EXCLUSIVE),
        release(A, 7, "f", 4),
        release(A, 8, "f", 4),
        cancel(A, 9, 6),
        cancel(A, 10, 11),
        acquire(A, 11, "f", LEASE_EXCLUSIVE), /* Forbidden by the one before. */
    };
    enum { COUNT = sizeof commands / sizeof commands[0] };
    struct lease_result first[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        first[i] = apply(l, commands[i]);
        lease_check(l);
    }
    assert_int_equal(first[10].rc, LEASE_CANCELLED);
    assert_int_equal(first[10].slot, first[9].slot);
    const uint64_t revision = lease_position(l).revision;
    const uint64_t digest = lease_digest(l);
    for (size_t i = 0; i < COUNT; i++) {
        const struct lease_result again = apply(l, commands[i]);
        assert_same_result(&again, &first[i]);
    }
    assert_int_equal(lease_position(l).revision, revision);
    assert_true(lease_digest(l) == digest);
    assert_int_equal(session_of(l, A).results, COUNT);
    lease_free(l);
}

/* A grant is remembered for a retry that comes later, with its place. */
static void test_granted_later(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, put("f", ""));
    const uint64_t token = must(l, acquire(A, 1, "f", LEASE_EXCLUSIVE)).token;
    const struct lease_command waits = acquire(B, 1, "f", LEASE_SHARED);
    assert_int_equal(apply(l, waits).rc, LEASE_WAITING);
    assert_int_equal(apply(l, waits).rc, LEASE_WAITING);
    assert_int_equal(lease_counts(l).waiting, 1);
    const struct lease_result release_result = must(l, release(A, 2, "f", token));
    const struct lease_result granted = apply(l, waits);
    assert_int_equal(granted.rc, LEASE_OK);
    assert_int_equal(granted.token, release_result.revision);
    assert_int_equal(granted.slot, release_result.slot);
    assert_int_equal(granted.position, release_result.position);

    must(l, close_session(B, 2));
    assert_int_equal(apply(l, waits).rc, LEASE_NO_SESSION);
    assert_int_equal(apply(l, close_session(B, 2)).rc, LEASE_NO_SESSION);
    lease_check(l);
    lease_free(l);
}

static void test_acknowledgements(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    for (uint64_t i = 1; i <= 10; i++) {
        must(l, by(A, i, put("f", "")));
    }
    struct lease_command command = with_ack(2, by(A, 20, put("f", "")));
    command.acks[0] = (struct lease_range){4, 5};
    command.acks[1] = (struct lease_range){9, 9};
    command.acks_count = 2;
    must(l, command);
    assert_int_equal(session_of(l, A).results, 10 - 5 + 1);

    static const bool acknowledged[] = {true,  true,  true,  false, true, true,
                                        false, false, false, true,  false};
    for (uint64_t i = 0; i <= 10; i++) {
        const struct lease_result result = apply(l, by(A, i, put("f", "")));
        assert_int_equal(result.rc, acknowledged[i] ? LEASE_ACKNOWLEDGED : LEASE_OK);
        assert_int_equal(result.revision == i, !acknowledged[i]);
    }
    /* The floor swallows what it reaches; absurd ranges say nothing. */
    command = with_ack(3, by(A, 21, put("f", "")));
    command.acks[0] = (struct lease_range){8, 7};
    command.acks[1] = (struct lease_range){6, 8};
    command.acks[2] = (struct lease_range){0, 0};
    command.acks[3] = (struct lease_range){1, 4};
    command.acks_count = 4;
    must(l, command);
    assert_int_equal(session_of(l, A).results, 3); /* 10, 20, 21. */
    lease_check(l);

    /* Who acknowledges everything can ask for nothing more. */
    command = with_ack(UINT64_MAX, by(A, 22, put("f", "")));
    assert_int_equal(apply(l, command).rc, LEASE_ACKNOWLEDGED);
    assert_int_equal(session_of(l, A).results, 0);
    lease_check(l);
    must(l, by(B, 1, put("f", "")));
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_results_full(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    for (uint64_t i = 1; i <= LEASE_RESULTS_MAX; i++) {
        must(l, by(A, i, put("f", "")));
    }
    const uint64_t next = LEASE_RESULTS_MAX + 1;
    const struct lease_command command = by(A, next, put("f", ""));
    assert_int_equal(apply(l, command).rc, LEASE_RESULTS_FULL);
    assert_int_equal(apply(l, by(A, 7, put("f", ""))).revision,
                     7);           /* Remembered ones are told. */
    must(l, with_ack(1, command)); /* It lets its own clearing in. */
    assert_int_equal(apply(l, by(A, next + 1, put("f", ""))).rc, LEASE_RESULTS_FULL);
    lease_check(l);
    must(l, close_session(A, next + 2)); /* And its end. */
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_waiting_full(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, put("f", ""));
    const uint64_t token = must(l, acquire(B, 1, "f", LEASE_EXCLUSIVE)).token;
    for (uint64_t i = 1; i <= LEASE_WAITING_MAX; i++) {
        assert_int_equal(apply(l, with_handle(i, acquire(A, i, "f", LEASE_SHARED))).rc,
                         LEASE_WAITING);
    }
    const uint64_t next = LEASE_WAITING_MAX + 1;
    assert_int_equal(apply(l, with_handle(next, acquire(A, next, "f", LEASE_SHARED))).rc,
                     LEASE_LIMIT);
    must(l, by(A, next + 1, put("g", ""))); /* Waits and outcomes have limits of their own. */
    must(l, release(B, 2, "f", token));
    uint32_t settled;
    lease_settled(l, &settled);
    assert_int_equal(settled, LEASE_WAITING_MAX);
    assert_int_equal(session_of(l, A).results, LEASE_WAITING_MAX + 2);
    assert_int_equal(apply(l, by(A, next + 2, put("g", ""))).rc, LEASE_RESULTS_FULL);
    lease_check(l);
    must(l, expire_session(A, 0));
    assert_int_equal(lease_counts(l).held, 0);
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* Every other id: as many ranges as are kept, and then no more. */
static void test_ranges_full(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    uint64_t id = 1000000;
    uint64_t odd = 3;
    enum lease_rc rc = LEASE_OK;
    uint32_t commands = 0;
    while (rc == LEASE_OK) {
        struct lease_command command = by(A, id, put("f", ""));
        command.acks[command.acks_count++] = (struct lease_range){id - 1, id - 1};
        for (; command.acks_count < LEASE_ACK_RANGES_MAX; odd += 2) {
            command.acks[command.acks_count++] = (struct lease_range){odd, odd};
        }
        id += 1;
        rc = apply(l, command).rc;
        commands++;
    }
    assert_int_equal(rc, LEASE_RESULTS_FULL);
    assert_in_range(commands, 1280 / 15, 1280 / 15 + 2);
    lease_check(l);
    must(l, with_ack(odd, by(A, id, put("f", "")))); /* The floor always makes room. */
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* Against a set of bits. */
static void test_random_acknowledgements(void **state)
{
    (void)state;
    enum { IDS = 160 };
    struct rng rng = {.state = 9};
    for (int round = 0; round < 60; round++) {
        struct heap heap;
        struct lease *l = fixture(&heap);
        bool acknowledged[IDS + 4] = {true};
        for (uint64_t id = 1; id < IDS; id++) {
            struct lease_command command = by(A, id, put("f", ""));
            if (rng_below(&rng, 8) == 0) {
                command.ack_floor = rng_below(&rng, id) / 2;
            }
            for (uint64_t left = rng_below(&rng, 3); left > 0; left--) {
                const uint64_t first = rng_below(&rng, id + 1);
                command.acks[command.acks_count++] =
                    (struct lease_range){first, first + rng_below(&rng, 4)};
            }
            for (uint64_t i = 0; i < IDS + 4; i++) {
                acknowledged[i] |= i <= command.ack_floor;
                for (uint32_t j = 0; j < command.acks_count; j++) {
                    acknowledged[i] |= command.acks[j].first <= i && i <= command.acks[j].last;
                }
            }
            const uint64_t asked = rng_below(&rng, 4) == 0 ? rng_below(&rng, id + 1) : id;
            command.request = asked;
            assert_int_equal(apply(l, command).rc,
                             acknowledged[asked] ? LEASE_ACKNOWLEDGED : LEASE_OK);
            lease_check(l);
        }
        lease_free(l);
    }
}

/* Who acknowledges what still waits hears nothing of it, but holds it. */
static void test_acknowledged_wait(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, put("f", ""));
    const uint64_t token = must(l, acquire(A, 1, "f", LEASE_EXCLUSIVE)).token;
    assert_int_equal(apply(l, acquire(B, 1, "f", LEASE_EXCLUSIVE)).rc, LEASE_WAITING);
    must(l, with_ack(1, by(B, 2, put("g", ""))));
    assert_int_equal(apply(l, acquire(B, 1, "f", LEASE_EXCLUSIVE)).rc, LEASE_ACKNOWLEDGED);
    must(l, release(A, 2, "f", token));
    assert_int_equal(session_of(l, B).held, 1);
    assert_int_equal(session_of(l, B).results, 1);
    lease_check(l);
    must(l, close_session(B, 3));
    lease_free(l);
}

static void test_epochs(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, by(A, 1, put("f", "")));
    lease_begin_epoch(l, lease_position(l).slot + 1, 8);
    lease_slot_done(l, lease_position(l).slot + 1, 0);
    assert_int_equal(apply(l, expire_session(A, 7)).rc, LEASE_OLD_EPOCH);
    assert_int_equal(apply(l, expire_session(A, 9)).rc, LEASE_OLD_EPOCH);
    assert_int_equal(apply(l, by(A, 1, put("f", ""))).revision, 1); /* Remembered. */
    must(l, expire_session(A, 8));
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

/* Those that have declared a cache are found among all others. */
static void test_caching(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_int_equal(lease_caching_next(l, 0), 0);
    assert_false(session_of(l, A).cache);
    static const uint64_t ids[] = {7, UINT64_MAX, 3, 100, 50};
    for (size_t i = 0; i < 5; i++) {
        struct lease_command open = open_session(ids[i]);
        open.cache = true;
        must(l, open);
        assert_int_equal(lease_counts(l).caching, i + 1);
    }
    assert_true(session_of(l, 50).cache);
    static const uint64_t order[] = {3, 7, 50, 100, UINT64_MAX};
    uint64_t id = 0;
    for (size_t i = 0; i < 5; i++) {
        id = lease_caching_next(l, id);
        assert_true(id == order[i]);
    }
    assert_int_equal(lease_caching_next(l, UINT64_MAX), 0);
    assert_int_equal(lease_caching_next(l, 8), 50); /* Also from what is none. */

    must(l, expire_session(3, 0));
    must(l, close_session(50, 1));
    must(l, close_session(A, 1));
    assert_int_equal(lease_counts(l).caching, 3);
    assert_int_equal(lease_caching_next(l, 0), 7);
    assert_int_equal(lease_caching_next(l, 7), 100);
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_granted_later),
        cmocka_unit_test(test_acknowledgements),
        cmocka_unit_test(test_results_full),
        cmocka_unit_test(test_waiting_full),
        cmocka_unit_test(test_ranges_full),
        cmocka_unit_test(test_random_acknowledgements),
        cmocka_unit_test(test_acknowledged_wait),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_caching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
