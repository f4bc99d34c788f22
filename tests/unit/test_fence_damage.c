/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fence_damage.c -- what a fence makes of a file that is not as it was written:
 * the end of an append that was cut off goes, all else is refused and left alone.
 */
#include "tests/unit/test_fence_disk.h"

/* A file of two lines at once and three behind them. */
static size_t write_sample(void)
{
    struct lockd_fence *f = open_new(3);
    assert_int_equal(lockd_fence_check(f, "one", 11), LOCKD_OK);
    assert_int_equal(lockd_fence_check(f, "two", 22), LOCKD_OK);
    f = reopen(f, 3);
    const size_t at_once = memory.size;
    assert_int_equal(lockd_fence_check(f, "three", 33), LOCKD_OK);
    assert_int_equal(lockd_fence_check(f, "@ J", 44), LOCKD_OK); /* Instead of one. */
    assert_int_equal(lockd_fence_check(f, "two", 55), LOCKD_OK);
    lockd_fence_close(f);
    return at_once;
}

/* What can't be trusted is refused and left as it is. */
static void assert_refused(void)
{
    static char before[DISK_SIZE];
    struct lockd_fence *f = NULL;
    const size_t size = memory.size;
    memcpy(before, memory.text, size);
    memory.fails_at = 0;
    assert_int_equal(try_open(3, &f), LOCKD_E_PROTOCOL);
    assert_null(f);
    assert_int_equal(memory.size, size);
    assert_memory_equal(memory.text, before, size);
}

static void test_any_bit_is_missed(void **state)
{
    (void)state;
    write_sample();
    assert_true(memory.size < SECTOR);
    for (size_t at = 0; at < memory.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memory.text[at] = (char)(memory.text[at] ^ 1 << bit);
            assert_refused();
            memory.text[at] = (char)(memory.text[at] ^ 1 << bit);
        }
    }
    lockd_fence_close(reopen(NULL, 3));
}

static void test_cut_off(void **state)
{
    (void)state;
    const size_t at_once = write_sample();
    const size_t whole = memory.size;
    const char *last = memrchr(memory.text, '\n', whole - 1);
    const size_t before_last = (size_t)(last + 1 - memory.text);
    for (memory.size = 0; memory.size < at_once; memory.size++) {
        assert_refused();
    }
    for (size_t size = before_last; size < whole; size++) {
        write_sample();
        memory.size = memory.synced = size;
        struct lockd_fence *f = reopen(NULL, 3);
        assert_int_equal(lockd_fence_mark(f, "two"), 22);
        assert_int_equal(lockd_fence_mark(f, "@ J"), 44);
        assert_int_equal(lockd_fence_floor(f), 11);
        lockd_fence_close(f);
    }
}

static void remove_line(unsigned line)
{
    char *from = memory.text;
    for (; line > 0; line--) {
        from = strchr(from, '\n') + 1;
    }
    char *to = strchr(from, '\n') + 1;
    memmove(from, to, memory.size - (size_t)(to - memory.text));
    memory.size -= (size_t)(to - from);
}

/* A sector that was lost is a torn append only where nothing stands behind it. */
static void test_a_lost_sector(void **state)
{
    (void)state;
    struct lockd_fence *f = open_new(0);
    for (unsigned who = 0; who < 3; who++) {
        char name[LOCKD_FENCE_NAME_MAX + 1] = "";
        memset(name, 'a' + (int)who, LOCKD_FENCE_NAME_MAX);
        assert_int_equal(lockd_fence_check(f, name, 10 + who), LOCKD_OK);
    }
    lockd_fence_close(f);
    const char *last = memrchr(memory.text, '\n', memory.size - 1);
    const size_t before_last = (size_t)(last + 1 - memory.text);
    assert_true(before_last > 2 * SECTOR && memory.size - before_last < FENCE_LINE_MAX / 2);
    const size_t lost = (before_last / SECTOR - 1) * SECTOR;
    memset(memory.text + lost, 0, SECTOR);
    assert_refused();
}

static void test_lines_are_chained(void **state)
{
    (void)state;
    for (unsigned line = 0; line < 5; line++) {
        write_sample();
        remove_line(line);
        assert_refused();
    }
    write_sample();
    memcpy(memory.text + memory.size, memory.text, memory.size); /* All of it twice. */
    memory.size *= 2;
    assert_refused();
}

static void test_what_is_no_fence(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "hello\n", "lockd-fence", "lockd-fence\t2\t"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        memory.exists = true;
        memory.size = memory.synced = strlen(texts[i]);
        memcpy(memory.text, texts[i], memory.size);
        assert_refused();
    }
}

/* Text that is well formed and chained, but says what no fence writes. */
static void test_nonsense(void **state)
{
    (void)state;
    static const struct {
        uint64_t token;
        const char *name, *forgotten;
    } cases[] = {
        {10, "a", NULL}, /* Not above its mark. */
        {9, "a", NULL},  /* Below it. */
        {20, "b", "c"},  /* Forgets what is unknown. */
        {20, "a", "a"},  /* Forgets, but needs no room. */
        {0, "b", NULL},  /* No token. */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fence_text t = {
            .data = memory.text, .capacity = DISK_SIZE, .chain = FENCE_HASH_START};
        fence_put_head(&t, 0, 1);
        fence_put_record(&t, 10, "a", NULL);
        fence_put_record(&t, cases[i].token, cases[i].name, cases[i].forgotten);
        memory.exists = true;
        memory.size = memory.synced = t.size;
        assert_refused();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bit_is_missed), cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_a_lost_sector),     cmocka_unit_test(test_lines_are_chained),
        cmocka_unit_test(test_what_is_no_fence),  cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
