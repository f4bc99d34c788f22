/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_text.c -- the octets of the client protocol: base64, escapes, UTF-8,
 * numbers.
 */
#include "paxos/base/rng.h"
#include "tests/unit/wire_help.h"

static void test_base64_all_lengths(void **state)
{
    (void)state;
    struct rng rng = {.state = 1};
    struct wire_buffer b = {.data = NULL};
    for (size_t size = 0; size <= 600; size++) {
        char octets[600], back[602];
        for (size_t i = 0; i < size; i++) {
            octets[i] = (char)rng_next(&rng);
        }
        b.size = 0;
        wire_put_base64(&b, wire_text_of(octets, size));
        assert_int_equal(b.size, 2 + (size + 2) / 3 * 4);
        size_t back_size = 0;
        assert_true(wire_base64_bound(b.size - 2) <= sizeof back);
        assert_true(wire_base64_decode(wire_text_of(b.data + 1, b.size - 2), back, &back_size));
        assert_true(same(wire_text_of(back, back_size), wire_text_of(octets, size)));
    }
    wire_buffer_free(&b);
}

static void test_base64_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *octets; /* NULL: refused. */
    } table[] = {
        {"", ""},         {"Zg==", "f"},        {"Zm8=", "fo"},
        {"Zm9v", "foo"},  {"Zm9vYg==", "foob"}, {"Zg", NULL},
        {"Zg=", NULL},    {"Zh==", NULL},       {"Zm9=", NULL},
        {"Z===", NULL},   {"====", NULL},       {"Zg==Zg==", NULL},
        {"Zm9v\n", NULL}, {"Zm9 ", NULL},       {"Zm-_", NULL},
        {"=Zm9", NULL},   {"Zg=v", NULL},       {"Zm\x80v", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char octets[16];
        size_t size = 0;
        const bool ok = wire_base64_decode(text(table[i].text), octets, &size);
        assert_int_equal(ok, table[i].octets != NULL);
        if (ok) {
            assert_text(wire_text_of(octets, size), table[i].octets);
        }
    }
    /* Nothing behind the text is read, be it ever so fitting. */
    char octets[16];
    size_t size = 0;
    assert_false(wire_base64_decode(wire_text_of("Zm9vYmFy", 7), octets, &size));
}

static void test_what_is_text(void **state)
{
    (void)state;
    static const struct {
        struct wire_text octets;
        bool is;
    } table[] = {
        {{"", 0}, true},
        {{"plain text, and enough of it \"\\", 31}, true},
        {{"a\tb\r\n", 5}, true},
        {{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92", 9}, true},
        {{"\xc2\xa0", 2}, true},
        {{"\xf4\x8f\xbf\xbf", 4}, true},
        {{"12345678\0", 9}, false},
        {{"12345678\x1b[0m", 12}, false},
        {{"1234567\x7f", 8}, false},
        {{"\xc2\x80", 2}, false},
        {{"\xc2\x9f", 2}, false},
        {{"\xc0\xaf", 2}, false},
        {{"\xc1\xbf", 2}, false},
        {{"\xe0\x9f\xbf", 3}, false},
        {{"\xed\xa0\x80", 3}, false},
        {{"\xf0\x8f\xbf\xbf", 4}, false},
        {{"\xf4\x90\x80\x80", 4}, false},
        {{"\xf5\x80\x80\x80", 4}, false},
        {{"\xe2\x82", 2}, false},
        {{"\xe2\x82 ", 3}, false},
        {{"\x80", 1}, false},
        {{"\xff", 1}, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (wire_is_text(table[i].octets) != table[i].is) {
            fail_msg("row %zu", i);
        }
    }
}

/* Every octet at every place of a word comes back from a printed string. */
static void test_escapes(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer b = {.data = NULL};
    for (unsigned octet = 1; octet < 0x80; octet++) {
        for (size_t at = 0; at < 17; at++) {
            char name[17];
            memset(name, 'x', sizeof name);
            name[at] = (char)octet;
            b.size = 0;
            WIRE_PUT(
                &b,
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.get\",\"params\":{\"name\":");
            wire_put_string(&b, wire_text_of(name, sizeof name));
            WIRE_PUT(&b, "}}");
            struct wire_request got;
            struct wire_refusal refusal;
            assert_true(
                wire_parse_request(&memory, wire_text_of(b.data, b.size), &got, &refusal));
            assert_true(same(got.name, wire_text_of(name, sizeof name)));
        }
    }
    wire_buffer_free(&b);
    wire_memory_free(&memory);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        const char *text;
    } table[] = {{0, "0"}, {9, "9"}, {10, "10"}, {UINT64_MAX, "18446744073709551615"}};
    struct wire_buffer b = {.data = NULL};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        b.size = 0;
        wire_put_number(&b, table[i].number);
        assert_text(wire_text_of(b.data, b.size), table[i].text);
    }
    wire_buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_all_lengths),
        cmocka_unit_test(test_base64_is_strict),
        cmocka_unit_test(test_what_is_text),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
