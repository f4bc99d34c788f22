/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names a node may have, as a table.
 */
#include "tests/unit/test_lease_support.h"

static const struct {
    const char *name;
    const char *path;
    bool valid;
} cases[] = {
    {"the root", "", true},
    {"one component", "a", true},
    {"three components", "a/b/c", true},
    {"spaces and punctuation", "a b/%?*:;'\"\\", true},
    {"dots inside", ".a/..b/c./...", true},
    {"this directory", ".", false},
    {"this directory below", "a/.", false},
    {"this directory between", "a/./b", false},
    {"the directory above", "..", false},
    {"the directory above, between", "a/../b", false},
    {"leading slash", "/a", false},
    {"trailing slash", "a/", false},
    {"double slash", "a//b", false},
    {"a slash alone", "/", false},
    {"newline", "a\nb", false},
    {"tab", "a\tb", false},
    {"unit separator", "a\x1f", false},
    {"delete", "a\x7f", false},
    {"last printable of ASCII", "a~", true},
    {"C1 control, first", "a\xc2\x80", false},
    {"C1 control, last", "a\xc2\x9f", false},
    {"no-break space, first behind C1", "a\xc2\xa0", true},
    {"two octets, last", "\xdf\xbf", true},
    {"two octets, overlong", "\xc0\xaf", false},
    {"two octets, overlong DEL", "\xc1\xbf", false},
    {"two octets, cut off", "\xc3", false},
    {"two octets, second is ASCII",
     "\xc3"
     "a",
     false},
    {"two octets, second is a lead", "\xc3\xc3", false},
    {"a continuation alone", "\x80", false},
    {"three octets, first", "\xe0\xa0\x80", true},
    {"three octets, overlong", "\xe0\x9f\xbf", false},
    {"three octets, cut off", "\xe2\x82", false},
    {"three octets, third wrong", "\xe2\x82\x41", false},
    {"below the surrogates", "\xed\x9f\xbf", true},
    {"a surrogate", "\xed\xa0\x80", false},
    {"above the surrogates", "\xee\x80\x80", true},
    {"three octets, last", "\xef\xbf\xbf", true},
    {"four octets, first", "\xf0\x90\x80\x80", true},
    {"four octets, overlong", "\xf0\x8f\xbf\xbf", false},
    {"four octets, last", "\xf4\x8f\xbf\xbf", true},
    {"four octets, above Unicode", "\xf4\x90\x80\x80", false},
    {"four octets, cut off", "\xf0\x9f\x98", false},
    {"no such lead", "\xf5\x80\x80\x80", false},
    {"an octet of all ones", "\xff", false},
    {"cut off by a slash", "\xe2\x82/a", false},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* On the heap and without a NUL, so that a read too far is seen. */
        const size_t size = strlen(cases[i].path);
        uint8_t *copy = malloc(size == 0 ? 1 : size);
        assert_non_null(copy);
        memcpy(copy, cases[i].path, size);
        const enum lease_rc rc = lease_path_check(bytes_of(copy, size));
        free(copy);
        if (rc != (cases[i].valid ? LEASE_OK : LEASE_BAD_PATH)) {
            fail_msg("%s: %d", cases[i].name, (int)rc);
        }
    }
}

static void test_nul(void **state)
{
    (void)state;
    assert_int_equal(lease_path_check(bytes_of("a\0b", 3)), LEASE_BAD_PATH);
    assert_int_equal(lease_path_check(bytes_of("\0", 1)), LEASE_BAD_PATH);
}

static void test_lengths(void **state)
{
    (void)state;
    char path[LEASE_PATH_MAX + 2];
    memset(path, 'x', sizeof path);
    assert_int_equal(lease_path_check(bytes_of(path, LEASE_COMPONENT_MAX)), LEASE_OK);
    assert_int_equal(lease_path_check(bytes_of(path, LEASE_COMPONENT_MAX + 1)), LEASE_BAD_PATH);

    for (size_t i = 200; i < sizeof path; i += 200) {
        path[i] = '/';
    }
    assert_int_equal(lease_path_check(bytes_of(path, LEASE_PATH_MAX)), LEASE_OK);
    assert_int_equal(lease_path_check(bytes_of(path, LEASE_PATH_MAX + 1)), LEASE_BAD_PATH);
}

static void test_depth(void **state)
{
    (void)state;
    char path[2 * LEASE_DEPTH_MAX + 2];
    for (size_t i = 0; i < sizeof path; i++) {
        path[i] = i % 2 == 0 ? 'd' : '/';
    }
    assert_int_equal(lease_path_check(bytes_of(path, 2 * LEASE_DEPTH_MAX - 1)), LEASE_OK);
    assert_int_equal(lease_path_check(bytes_of(path, 2 * LEASE_DEPTH_MAX + 1)), LEASE_BAD_PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
