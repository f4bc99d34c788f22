/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fence.c -- a fence never accepts a token older than one that it accepted:
 * not after any crash, any failed call, any eviction.
 */
#include "tests/unit/test_fence_disk.h"

/* ------------------------------------------------------------------- tables */

static void test_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t token;
        enum lockd_rc rc;
    } cases[] = {
        {"a", 10, LOCKD_OK},
        {"a", 10, LOCKD_OK},
        {"a", 9, LOCKD_E_STALE},
        {"a", 11, LOCKD_OK},
        {"a", 10, LOCKD_E_STALE},
        {"b", 1, LOCKD_OK}, /* Names have nothing to do ... */
        {"b", 11, LOCKD_OK},
        {"b", 10, LOCKD_E_STALE},
        {"a", 11, LOCKD_OK}, /* ... with each other. */
        {"", 1, LOCKD_E_INVALID},
        {NULL, 1, LOCKD_E_INVALID},
        {"a", 0, LOCKD_E_INVALID},
        {"a", UINT64_C(1) << 53, LOCKD_E_INVALID},
        {"a", UINT64_MAX, LOCKD_E_INVALID},
        {"c", (UINT64_C(1) << 53) - 1, LOCKD_OK},
    };
    struct lockd_fence *f = open_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(lockd_fence_check(f, cases[i].name, cases[i].token), cases[i].rc);
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(lockd_fence_mark(f, "a"), 11);
        assert_int_equal(lockd_fence_mark(f, "b"), 11);
        assert_int_equal(lockd_fence_mark(f, "c"), (UINT64_C(1) << 53) - 1);
        assert_int_equal(lockd_fence_mark(f, "d"), 0);
        assert_int_equal(lockd_fence_mark(f, ""), 0);
        assert_int_equal(lockd_fence_floor(f), 0);
        f = reopen(f, 0);
    }
    assert_int_equal(lockd_fence_check(NULL, "a", 1), LOCKD_E_INVALID);
    lockd_fence_close(f);
    assert_true(memory.closed);
    lockd_fence_close(NULL);
}

static void test_sequencers(void **state)
{
    (void)state;
    static const struct {
        const char *sequencer;
        enum lockd_rc rc;
    } cases[] = {
        {"/ls/x/a:exclusive:7", LOCKD_OK},
        {"/ls/x/a:exclusive:6", LOCKD_E_STALE},
        {"/ls/x/a:shared:7", LOCKD_OK},
        {"/ls/x/a:b:exclusive:1", LOCKD_OK}, /* A name may hold colons. */
        {"/ls/x/a:exclusive:", LOCKD_E_INVALID},
        {"/ls/x/a:exclusive:8 ", LOCKD_E_INVALID},
        {"/ls/x/a:exclusive:-8", LOCKD_E_INVALID},
        {"/ls/x/a:exclusive:0", LOCKD_E_INVALID},
        {"/ls/x/a:exclusive:9007199254740992", LOCKD_E_INVALID},
        {"/ls/x/a:exclusive:99999999999999999999999", LOCKD_E_INVALID},
        {"/ls/x/a:held:8", LOCKD_E_INVALID},
        {"/ls/x/a::8", LOCKD_E_INVALID},
        {":exclusive:8", LOCKD_E_INVALID},
        {"exclusive:8", LOCKD_E_INVALID},
        {"8", LOCKD_E_INVALID},
        {"", LOCKD_E_INVALID},
        {NULL, LOCKD_E_INVALID},
    };
    char longest[2000];
    struct lockd_fence *f = open_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(lockd_fence_check_sequencer(f, cases[i].sequencer), cases[i].rc);
    }
    assert_int_equal(lockd_fence_mark(f, "/ls/x/a"), 7);
    for (int size = LOCKD_FENCE_NAME_MAX; size <= LOCKD_FENCE_NAME_MAX + 1; size++) {
        snprintf(longest, sizeof longest, "%0*d:exclusive:9007199254740991", size, 0);
        assert_int_equal(lockd_fence_check_sequencer(f, longest),
                         size == LOCKD_FENCE_NAME_MAX ? LOCKD_OK : LOCKD_E_INVALID);
    }
    lockd_fence_close(f);
}

static void test_names_of_any_octets(void **state)
{
    (void)state;
    char name[LOCKD_FENCE_NAME_MAX + 2];
    struct lockd_fence *f = open_new(0);
    for (int octet = 1; octet < 256; octet++) {
        snprintf(name, sizeof name, "x%c", octet);
        assert_int_equal(lockd_fence_check(f, name, (uint64_t)octet), LOCKD_OK);
    }
    memset(name, '\xff', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(lockd_fence_check(f, name, 5), LOCKD_E_INVALID);
    name[sizeof name - 2] = 0;
    assert_int_equal(lockd_fence_check(f, name, 5), LOCKD_OK);
    for (int again = 0; again < 2; again++) {
        f = reopen(f, 0);
        assert_int_equal(lockd_fence_mark(f, name), 5);
        for (int octet = 1; octet < 256; octet++) {
            char other[3] = {'x', (char)octet};
            assert_int_equal(lockd_fence_mark(f, other), octet);
        }
        assert_int_equal(lockd_fence_mark(f, "x"), 0);
    }
    assert_null(memchr(memory.text, 0, memory.size));
    lockd_fence_close(f);
}

/* ----------------------------------------------------------------- eviction */

static void test_eviction_raises_the_floor(void **state)
{
    (void)state;
    struct lockd_fence *f = open_new(2);
    assert_int_equal(lockd_fence_check(f, "a", 10), LOCKD_OK);
    assert_int_equal(lockd_fence_check(f, "b", 20), LOCKD_OK);
    assert_int_equal(lockd_fence_check(f, "a", 9), LOCKD_E_STALE); /* Asked for, too. */
    assert_int_equal(lockd_fence_check(f, "c", 30), LOCKD_OK);     /* Instead of b. */
    for (int again = 0; again < 2; again++) {
        assert_int_equal(lockd_fence_floor(f), 20);
        assert_int_equal(lockd_fence_mark(f, "a"), 10);
        assert_int_equal(lockd_fence_mark(f, "b"), 0);
        assert_int_equal(lockd_fence_check(f, "b", 19), LOCKD_E_STALE);
        assert_int_equal(lockd_fence_check(f, "new", 19), LOCKD_E_STALE);
        f = reopen(f, 2);
    }
    /* Below the floor those that are known pass. */
    assert_int_equal(lockd_fence_check(f, "c", 30), LOCKD_OK);
    assert_int_equal(lockd_fence_check(f, "a", 11), LOCKD_OK);
    /* Who comes back with the token that was accepted passes, an older one never;
     * and the mark of c goes, which is above the floor. */
    assert_int_equal(lockd_fence_check(f, "b", 20), LOCKD_OK);
    assert_int_equal(lockd_fence_floor(f), 30);
    assert_int_equal(lockd_fence_check(f, "b", 19), LOCKD_E_STALE);
    /* A mark below the floor leaves without a trace. */
    assert_int_equal(lockd_fence_check(f, "d", 40), LOCKD_OK);
    assert_int_equal(lockd_fence_floor(f), 30);
    assert_int_equal(lockd_fence_check(f, "a", 29), LOCKD_E_STALE);
    lockd_fence_close(f);
}

static void test_opened_for_fewer_names(void **state)
{
    (void)state;
    struct lockd_fence *f = open_new(0);
    for (uint64_t i = 1; i <= 9; i++) {
        const char name[2] = {(char)('0' + i)};
        assert_int_equal(lockd_fence_check(f, name, i * 10), LOCKD_OK);
    }
    assert_int_equal(lockd_fence_check(f, "1", 10), LOCKD_OK); /* The youngest is 1. */
    f = reopen(f, 9);
    assert_int_equal(lockd_fence_floor(f), 0);
    f = reopen(f, 2);
    /* What was only asked for and not changed is not known behind a reopening; the
     * first one above wrote the lines in the order of then. */
    assert_int_equal(lockd_fence_floor(f), 70);
    assert_int_equal(lockd_fence_mark(f, "9"), 90);
    assert_int_equal(lockd_fence_mark(f, "8"), 80);
    f = reopen(f, 100);
    assert_int_equal(lockd_fence_floor(f), 70);
    assert_int_equal(lockd_fence_check(f, "1", 69), LOCKD_E_STALE);
    lockd_fence_close(f);
    struct lockd_fence *none = NULL;
    assert_int_equal(try_open(1048577, &none), LOCKD_E_INVALID);
    assert_null(none);
}

static void test_the_file_is_bounded(void **state)
{
    (void)state;
    struct lockd_fence *f = open_new(8);
    size_t largest = 0;
    for (uint64_t token = 1; token <= 20000; token++) {
        const char name[2] = {(char)('a' + token % 20)};
        assert_int_equal(lockd_fence_check(f, name, token), LOCKD_OK);
        largest = memory.size > largest ? memory.size : largest;
    }
    assert_true(largest < 70000);
    assert_in_range(memory.replaced, 5, 20);
    f = reopen(f, 8);
    assert_true(memory.size < 500);
    assert_int_equal(lockd_fence_check(f, "a", 19999), LOCKD_E_STALE);
    assert_int_equal(lockd_fence_check(f, "a", 20000), LOCKD_OK);
    lockd_fence_close(f);
}

/* ----------------------------------------------------- crashes and failures */

enum { STORY_NAMES = 7, STORY_MAX = 5, STORY_CHECKS = 70 };

/* Long ones, so that lines span sectors and the file is soon written anew. */
static const char *story_name(unsigned i)
{
    static char names[STORY_NAMES][LOCKD_FENCE_NAME_MAX + 1];
    memset(names[i], i % 2 == 0 ? 'x' : '\x01', LOCKD_FENCE_NAME_MAX - i * 100);
    names[i][0] = (char)('a' + i);
    return names[i];
}

struct story {
    uint64_t accepted[STORY_NAMES];
    uint64_t floor;
    bool over; /* It came to its end. */
};

static bool tell(struct story *s, struct lockd_fence *f, unsigned i)
{
    const unsigned who = (i * i + i / 9) % STORY_NAMES;
    const uint64_t token = 100 + i - i % 3;
    const enum lockd_rc rc = lockd_fence_check(f, story_name(who), token);
    if (rc == LOCKD_E_SYSTEM) {
        return false;
    }
    if (rc == LOCKD_OK) {
        assert_true(token >= s->accepted[who]);
        s->accepted[who] = token;
    } else {
        assert_int_equal(rc, LOCKD_E_STALE);
    }
    s->floor = lockd_fence_floor(f);
    return true;
}

/* All that was ever accepted rules. */
static void assert_nothing_forgotten(const struct story *s, struct lockd_fence *f)
{
    assert_true(lockd_fence_floor(f) >= s->floor);
    for (unsigned who = 0; who < STORY_NAMES; who++) {
        for (uint64_t token = 1; token < s->accepted[who]; token += token < 90 ? 30 : 1) {
            assert_int_equal(lockd_fence_check(f, story_name(who), token), LOCKD_E_STALE);
        }
    }
}

/* One run in which the n-th call fails; then nothing is accepted until the fence
 * is opened anew, on what the failure left. */
static void run_story(struct story *s, unsigned fails_at, enum remains remains)
{
    struct lockd_fence *f = NULL;
    *s = (struct story){.floor = 0};
    memory.exists = false;
    memory.size = memory.synced = memory.calls = 0;
    memory.fails_at = fails_at;
    memory.remains = remains;
    if (try_open(STORY_MAX, &f) == LOCKD_OK) {
        s->over = true;
        for (unsigned i = 0; i < STORY_CHECKS && s->over; i++) {
            s->over = tell(s, f, i);
        }
    }
    for (unsigned who = 0; f != NULL && !s->over && who < STORY_NAMES; who++) {
        assert_int_equal(lockd_fence_check(f, story_name(who), 1), LOCKD_E_SYSTEM);
        assert_int_equal(lockd_fence_check(f, story_name(who), 1000), LOCKD_E_SYSTEM);
    }
    f = reopen(f, STORY_MAX);
    assert_nothing_forgotten(s, f);
    f = reopen(f, STORY_MAX);
    assert_nothing_forgotten(s, f);
    lockd_fence_close(f);
}

static void test_every_call_fails_once(void **state)
{
    (void)state;
    struct story s = {.over = false};
    unsigned calls = 0;
    for (int remains = 0; remains < REMAINS; remains++) {
        for (calls = 1, s.over = false; !s.over; calls++) {
            assert_true(calls < 1000);
            run_story(&s, calls, (enum remains)remains);
        }
    }
    assert_true(calls > 100);
    assert_true(s.floor > 0);
}

/* Power fails between any two calls: it is the same as a failed one that nobody
 * lived to hear of, but for the opening, which is then cut off as well. */
static void test_opening_fails_too(void **state)
{
    (void)state;
    for (int remains = 0; remains < REMAINS; remains++) {
        for (unsigned first = 3; first < 60; first += 7) {
            for (unsigned second = 1; second <= 2; second++) {
                struct lockd_fence *f = NULL;
                struct story s;
                run_story(&s, first, (enum remains)remains);
                memory.calls = 0;
                memory.fails_at = second;
                assert_int_equal(try_open(STORY_MAX, &f), LOCKD_E_SYSTEM);
                assert_null(f);
                f = reopen(NULL, STORY_MAX);
                assert_nothing_forgotten(&s, f);
                lockd_fence_close(f);
            }
        }
    }
}

/* A failed sync may leave in the page cache what is not on the disk: opening has
 * to write it, or a token equal to it would be accepted for nothing. */
static void test_opening_writes_what_it_read(void **state)
{
    (void)state;
    struct lockd_fence *f = open_new(0);
    assert_int_equal(lockd_fence_check(f, "a", 5), LOCKD_OK);
    memory.calls = 0;
    memory.fails_at = 2; /* The sync. */
    memory.remains = ALL;
    assert_int_equal(lockd_fence_check(f, "a", 6), LOCKD_E_SYSTEM);
    const unsigned replaced = memory.replaced;
    f = reopen(f, 0);
    assert_int_equal(lockd_fence_mark(f, "a"), 6);
    assert_int_equal(memory.replaced, replaced + 1);
    lockd_fence_close(f);
}

/* -------------------------------------------------------------------- model */

enum { MODEL_NAMES = 40, MODEL_STEPS = 20000 };

/* Against somebody who remembers everything that was ever accepted. */
static void test_model(void **state)
{
    (void)state;
    uint64_t accepted[MODEL_NAMES] = {0}, chance = 1, clock = 1;
    unsigned ok = 0, stale = 0;
    struct lockd_fence *f = open_new(10);
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const unsigned who = (unsigned)(chance >> 40) % MODEL_NAMES;
        const char name[2] = {(char)('0' + who)};
        clock += (chance >> 35) % 3;
        const uint64_t token = clock - (chance >> 50) % 60 % clock;
        const uint64_t mark = lockd_fence_mark(f, name);
        const uint64_t bound = mark != 0 ? mark : lockd_fence_floor(f);
        const enum lockd_rc rc = lockd_fence_check(f, name, token);
        assert_int_equal(rc, token >= bound ? LOCKD_OK : LOCKD_E_STALE);
        assert_true(rc == LOCKD_E_STALE || token >= accepted[who]);
        accepted[who] = rc == LOCKD_OK ? token : accepted[who];
        ok += rc == LOCKD_OK;
        stale += rc == LOCKD_E_STALE;
        if ((chance >> 20) % 500 == 0) {
            f = reopen(f, 10);
        }
    }
    assert_true(ok > MODEL_STEPS / 10 && stale > MODEL_STEPS / 10);
    lockd_fence_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_sequencers),
        cmocka_unit_test(test_names_of_any_octets),
        cmocka_unit_test(test_eviction_raises_the_floor),
        cmocka_unit_test(test_opened_for_fewer_names),
        cmocka_unit_test(test_the_file_is_bounded),
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_opening_fails_too),
        cmocka_unit_test(test_opening_writes_what_it_read),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
