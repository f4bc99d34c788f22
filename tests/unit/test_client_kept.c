/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_kept.c -- what is kept, against a list of it: found, dropped, bounded, and
 * with any allocation failing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0: none fails; else the allocation after so many. */
static int fail_after;

static bool fails(void)
{
    return fail_after > 0 && --fail_after == 0;
}

static void *count_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static void *count_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *count_realloc(void *block, size_t size)
{
    return fails() ? NULL : realloc(block, size);
}

#define calloc count_calloc
#define malloc count_malloc
#define realloc count_realloc
#include "libclient/answer.c"
#include "libclient/kept.c"
#undef calloc
#undef malloc
#undef realloc

static struct wire_text text(const char *word)
{
    return (struct wire_text){.data = word, .size = strlen(word)};
}

static struct answer *answer_of(const char *content, uint64_t instance)
{
    const struct wire_reply reply = {.has_position = true,
                                     .revision = 5,
                                     .has_stat = true,
                                     .stat = {.kind = WIRE_FILE, .instance = instance},
                                     .has_content = content != NULL,
                                     .content = text(content == NULL ? "" : content)};
    return answer_keep(LOCKD_OK, &reply);
}

static const char *content_of(struct kept *k, const char *name)
{
    struct answer **found = kept_lookup(k, text(name), /* is_get= */ true, WIRE_ANY);
    return found == NULL ? NULL : (*found)->public.content;
}

/* Long names, equal but for an octet in each place. */
static void test_names(void **state)
{
    (void)state;
    struct kept k = {.count = 0};
    char name[41] = "/ls/local/abcdefghijklmnopqrstuvwxyz0123";
    for (size_t i = 10; i < sizeof name - 1; i++) {
        char other[sizeof name];
        memcpy(other, name, sizeof name);
        other[i] = '_';
        kept_put(&k, text(other), true, answer_of(other, 1));
        kept_check(&k);
    }
    assert_null(content_of(&k, name));
    for (size_t i = 10; i < sizeof name - 1; i++) {
        char other[sizeof name];
        memcpy(other, name, sizeof name);
        other[i] = '_';
        assert_string_equal(content_of(&k, other), other);
        other[4] = 'L'; /* Another cell's, as far as anybody knows. */
        assert_null(content_of(&k, other));
        kept_drop(&k, text(other));
        other[4] = 'l';
        assert_null(content_of(&k, other));
        kept_check(&k);
    }
    assert_int_equal(k.count, 0);
    kept_end(&k);
}

/* The root, and what begins like it. */
static void test_root(void **state)
{
    (void)state;
    struct kept k = {.count = 0};
    kept_put(&k, text("/ls/local"), false, answer_of(NULL, 1));
    kept_put(&k, text("/ls/local/ls"), false, answer_of(NULL, 2));
    kept_drop(&k, text("/ls/test/l"));
    kept_drop(&k, text("nonsense"));
    kept_drop(&k, text("/ls/"));
    assert_int_equal(k.count, 1); /* "/ls/" is the root of a cell without a name. */
    assert_non_null(kept_lookup(&k, text("/ls/local/ls"), false, 2));
    assert_null(kept_lookup(&k, text("/ls/local/ls"), false, 1));
    kept_put(&k, text("/ls/test"), false, answer_of(NULL, 1));
    kept_drop(&k, text("/ls/local"));
    assert_int_equal(k.count, 1);
    kept_end(&k);
}

static void test_replaced(void **state)
{
    (void)state;
    struct kept k = {.count = 0};
    kept_put(&k, text("/ls/local/f"), true, answer_of("one", 1));
    assert_non_null(kept_lookup(&k, text("/ls/local/f"), false, WIRE_ANY));
    kept_put(&k, text("/ls/local/f"), true, answer_of("two", 2));
    assert_string_equal(content_of(&k, "/ls/local/f"), "two");
    struct answer **stat = kept_lookup(&k, text("/ls/local/f"), false, WIRE_ANY);
    assert_int_equal((*stat)->public.stat.instance, 2);
    /* A newer stat may be of other content. */
    kept_put(&k, text("/ls/local/f"), false, answer_of(NULL, 3));
    assert_null(content_of(&k, "/ls/local/f"));
    assert_int_equal(k.count, 1);
    kept_check(&k);
    kept_end(&k);
}

static void test_bounds(void **state)
{
    (void)state;
    struct kept k = {.count = 0};
    char name[32];
    for (int i = 0; i < KEPT_NAMES_MAX + 10; i++) {
        snprintf(name, sizeof name, "/ls/local/%d", i);
        kept_put(&k, text(name), true, answer_of("x", 1));
    }
    assert_int_equal(k.count, KEPT_NAMES_MAX);
    assert_null(content_of(&k, "/ls/local/9"));
    assert_non_null(content_of(&k, "/ls/local/10"));
    kept_check(&k);
    kept_clear(&k);
    char *large = test_calloc(1, 256 * 1024 + 1);
    memset(large, 'x', 256 * 1024);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "/ls/local/%d", i);
        kept_put(&k, text(name), true, answer_of(large, 1));
        assert_true(k.octets <= KEPT_OCTETS_MAX);
    }
    assert_null(content_of(&k, "/ls/local/0"));
    assert_non_null(content_of(&k, "/ls/local/299"));
    test_free(large);
    kept_end(&k);
}

/* Whatever fails: what is kept is right, or isn't kept. */
static void test_out_of_memory(void **state)
{
    (void)state;
    for (int after = 1; after < 400; after++) {
        struct kept k = {.count = 0};
        char name[32];
        fail_after = after;
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof name, "/ls/local/%d", i);
            kept_put(&k, text(name), true, answer_of(name, 1));
            (void)kept_lookup(&k, text(name), false, WIRE_ANY);
        }
        fail_after = 0;
        kept_check(&k);
        int missing = 0;
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof name, "/ls/local/%d", i);
            const char *content = content_of(&k, name);
            missing += content == NULL ? 1 : 0;
            assert_true(content == NULL || strcmp(content, name) == 0);
        }
        assert_in_range(missing, 0, 1);
        kept_end(&k);
    }
}

/* To lend what would have to be copied first takes memory. */
static void test_lend_out_of_memory(void **state)
{
    (void)state;
    struct answer *kept = answer_of("one", 1);
    const struct position early = {.revision = 5, .slot = 5};
    const struct position late = {.revision = 6, .slot = 6};
    struct lockd_answer *a = answer_lend(&kept, &early);
    fail_after = 1;
    assert_null(answer_lend(&kept, &late));
    fail_after = 0;
    assert_int_equal(a->revision, 5);
    struct lockd_answer *b = answer_lend(&kept, &late);
    assert_ptr_not_equal(a, b);
    assert_string_equal(b->content, "one");
    lockd_answer_free(a);
    lockd_answer_free(b);
    answer_free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_root),
        cmocka_unit_test(test_replaced),      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_lend_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
