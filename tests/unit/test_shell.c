/* SPDX-License-Identifier: Apache-2.0
 *
 * The small pieces of the daemon's shell: hello, tags, log lines.
 */
#include "lockd/hello.h"
#include "lockd/tags.h"
#include "lockd/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -------------------------------------------------------------------- hello */

static size_t encode_hello(uint8_t *data)
{
    const struct hello hello = {.from = 2,
                                .to = 65535,
                                .identity = UINT64_C(0x123456789abcdef0),
                                .cell = "a",
                                .client = "h:7400"};
    struct writer w = writer_over(data, HELLO_MAX);
    hello_encode(&hello, &w);
    assert_false(w.failed);
    return w.size;
}

static void hello_survives(void **state)
{
    (void)state;
    uint8_t data[HELLO_MAX + 3] = {0};
    struct hello hello;
    size_t size = 0;
    const size_t whole = encode_hello(data);
    for (size_t part = 0; part < whole; part++) {
        /* A copy of the exact size, so that reading past it is noticed. */
        uint8_t *copy = malloc(part + 1);
        assert_non_null(copy);
        memcpy(copy, data, part);
        assert_int_equal(hello_decode(bytes_of(copy, part), &hello, &size), HELLO_MORE);
        free(copy);
    }
    assert_int_equal(hello_decode(bytes_of(data, whole + 3), &hello, &size), HELLO_DECODED);
    assert_int_equal(size, whole);
    assert_int_equal(hello.from, 2);
    assert_int_equal(hello.to, 65535);
    assert_true(hello.identity == UINT64_C(0x123456789abcdef0));
    assert_string_equal(hello.cell, "a");
    assert_string_equal(hello.client, "h:7400");
}

static void hello_damaged_is_refused(void **state)
{
    (void)state;
    uint8_t data[HELLO_MAX];
    struct hello hello;
    size_t size = 0;
    const size_t whole = encode_hello(data);
    for (size_t bit = 0; bit < whole * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(hello_decode(bytes_of(data, whole), &hello, &size), HELLO_DECODED);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    data[7] = 9; /* The version's low octet. */
    assert_int_equal(hello_decode(bytes_of(data, whole), &hello, &size), HELLO_VERSION_UNKNOWN);
    assert_int_equal(size, 9);
    assert_int_equal(hello_decode(bytes_of("GET / HTTP/1.1\r\n", 16), &hello, &size),
                     HELLO_DAMAGED);
}

/* --------------------------------------------------------------------- tags */

static struct wire_text text_of(const char *text)
{
    return (struct wire_text){.data = text, .size = strlen(text)};
}

static void tags_come_back(void **state)
{
    (void)state;
    struct tags *tags = tags_new();
    assert_non_null(tags);
    struct tag_list one = {0};
    struct tag_list two = {0};
    uint32_t tag[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        tag[i] = tags_take(tags, i % 2 == 0 ? &one : &two, 7 + i % 2, text_of(id),
                           /* patient= */ i % 4 == 0);
        assert_int_not_equal(tag[i], 0);
    }
    assert_int_equal(one.count, 500);
    assert_int_equal(one.patient, 250);
    assert_int_equal(two.patient, 0);
    struct wire_text id;
    assert_true(tags_find(tags, tag[998], 7, &id));
    assert_int_equal(id.size, 3);
    assert_memory_equal(id.data, "998", 3);
    assert_false(tags_find(tags, tag[998], 8, &id)); /* Another client's. */
    assert_false(tags_find(tags, 0, 7, &id));
    assert_false(tags_find(tags, UINT64_MAX, 7, &id));

    tags_release(tags, &one, tag[998]); /* The newest, one between, the oldest. */
    tags_release(tags, &one, tag[500]);
    tags_release(tags, &one, tag[0]);
    assert_int_equal(one.count, 497);
    assert_int_equal(one.patient, 248);
    assert_false(tags_find(tags, tag[500], 7, &id));
    tags_release_all(tags, &one);
    assert_int_equal(one.count, 0);
    assert_int_equal(one.patient, 0);
    assert_true(tags_find(tags, tag[1], 8, &id));

    /* What was released is used again before the pool grows. */
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(tags_take(tags, &one, 9, text_of("1"), /* patient= */ false) <= tag[999]);
    }
    assert_int_equal(two.count, 500);
    tags_release_all(tags, &two);
    tags_free(tags);
}

/* -------------------------------------------------------------------- trace */

static void check_line(const char *value, const char *expected)
{
    char line[TRACE_LINE_MAX];
    const struct trace_field fields[] = {trace_text("v", value), {.key = NULL}};
    const size_t size = trace_format(line, UINT64_C(1795258800123), TRACE_WARN, "e.f", fields);
    char whole[TRACE_LINE_MAX + 64];
    snprintf(whole, sizeof whole, "2026-11-21T11:00:00.123Z warn  e.f v=%s\n", expected);
    assert_int_equal(size, strlen(whole));
    assert_memory_equal(line, whole, size);
}

static void lines_cannot_be_forged(void **state)
{
    (void)state;
    check_line("plain:1", "plain:1");
    check_line("", "\"\"");
    check_line("two words", "\"two words\"");
    check_line("a=b", "\"a=b\"");
    check_line("say \"hi\"\\", "\"say \\\"hi\\\"\\\\\"");
    check_line("x\nerror forged", "\"x\\x0aerror forged\"");
}

static void lines_are_bounded(void **state)
{
    (void)state;
    char line[TRACE_LINE_MAX];
    char value[3000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    const struct trace_field fields[] = {
        trace_number("n", UINT64_MAX), trace_text("v", value), {.key = NULL}};
    const size_t size = trace_format(line, 0, TRACE_INFO, "e", fields);
    assert_int_equal(size, TRACE_LINE_MAX);
    assert_int_equal(line[size - 1], '\n');
    const char part[] = " n=18446744073709551615 v=vvv";
    assert_non_null(memmem(line, size, part, sizeof part - 1));
}

static void levels_have_names(void **state)
{
    (void)state;
    enum trace_level level = TRACE_INFO;
    assert_true(trace_level_parse("debug", &level));
    assert_int_equal(level, TRACE_DEBUG);
    assert_false(trace_level_parse("loud", &level));
    assert_int_equal(level, TRACE_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_survives),    cmocka_unit_test(hello_damaged_is_refused),
        cmocka_unit_test(tags_come_back),    cmocka_unit_test(lines_cannot_be_forged),
        cmocka_unit_test(lines_are_bounded), cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests_name("shell", tests, NULL, NULL);
}
