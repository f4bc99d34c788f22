/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_help.h -- what the tests of the client protocol share.
 */
#ifndef TESTS_UNIT_WIRE_HELP_H
#define TESTS_UNIT_WIRE_HELP_H

#include "libclient/wire.h"
#include "libclient/wire_text.h"
#include "paxos/base/rng.h"

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

/* Changes, adds or takes away one to four octets; there must be room for four. */
static inline void mutate(struct rng *rng, char *line, size_t *size)
{
    static const char spice[] = "{}[]\":,\\0123456789eE+-.ntu \t\r\x00\x7f\x80\xc0\xe0\xff";
    for (uint64_t left = rng_between(rng, 1, 4); left > 0 && *size > 0; left--) {
        const size_t at = (size_t)rng_below(rng, *size);
        const char c = rng_below(rng, 2) == 0 ? spice[rng_below(rng, sizeof spice)]
                                              : (char)rng_below(rng, 256);
        switch (rng_below(rng, 3)) {
        case 0:
            line[at] = c;
            break;
        case 1:
            memmove(line + at + 1, line + at, *size - at);
            line[at] = c;
            *size += 1;
            break;
        default:
            memmove(line + at, line + at + 1, *size - at - 1);
            *size -= 1;
        }
    }
}

#endif
