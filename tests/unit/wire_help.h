/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_help.h -- what the tests of the client protocol share.
 */
#ifndef TESTS_UNIT_WIRE_HELP_H
#define TESTS_UNIT_WIRE_HELP_H

#include "libclient/wire.h"
#include "libclient/wire_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static inline struct wire_text text(const char *word)
{
    return wire_text_of(word, strlen(word));
}

static inline bool same(struct wire_text a, struct wire_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline void assert_text(struct wire_text actual, const char *expected)
{
    if (!same(actual, text(expected))) {
        fail_msg("\"%.*s\" instead of \"%s\"", (int)actual.size, actual.data, expected);
    }
}

/* The line without its newline, which must be the only one. */
static inline struct wire_text line_of(const struct wire_buffer *b)
{
    assert_false(b->failed);
    assert_true(b->size > 1);
    assert_ptr_equal(memchr(b->data, '\n', b->size), b->data + b->size - 1);
    return wire_text_of(b->data, b->size - 1);
}

#endif
