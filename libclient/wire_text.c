/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_text.c -- buffers, JSON strings and numbers, base64, and the words.
 *
 * Replies are printed by hand, straight into the connection's output buffer:
 * no tree is built, nothing is allocated but the buffer's own growth, and text
 * is copied in runs.
 */
#include "libclient/wire_text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_FIRST = 4096 };

void wire_buffer_free(struct wire_buffer *b)
{
    free(b->data);
    *b = (struct wire_buffer){.data = NULL};
}

/* Room for `size` more octets behind b->size, or NULL. */
static char *reserve(struct wire_buffer *b, size_t size)
{
    assert(b->size <= b->capacity);
    if (b->failed) {
        return NULL;
    }
    if (b->capacity - b->size < size) {
        size_t capacity = b->capacity < BUFFER_FIRST ? BUFFER_FIRST : b->capacity;
        while (capacity - b->size < size && capacity <= SIZE_MAX / 2) {
            capacity *= 2;
        }
        char *data = capacity - b->size < size ? NULL : realloc(b->data, capacity);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->capacity = capacity;
    }
    return b->data + b->size;
}

void wire_append(struct wire_buffer *b, const void *data, size_t size)
{
    char *at = reserve(b, size);
    if (at != NULL && size > 0) {
        memcpy(at, data, size);
        b->size += size;
    }
}

void wire_put_number(struct wire_buffer *b, uint64_t value)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    wire_append(b, digits + first, sizeof digits - first);
}

void wire_hex_digits(uint64_t value, char ret_digits[16])
{
    for (unsigned i = 0; i < 16; i++) {
        ret_digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    }
}

void wire_put_hex(struct wire_buffer *b, uint64_t value)
{
    char text[18];
    text[0] = '"';
    wire_hex_digits(value, text + 1);
    text[17] = '"';
    wire_append(b, text, sizeof text);
}

bool wire_hex_decode(struct wire_text text, uint64_t *ret_value)
{
    static const char digits[] = "0123456789abcdef";
    if (text.size != 16) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = memchr(digits, text.data[i], 16);
        if (digit == NULL) {
            return false;
        }
        value = value << 4 | (uint64_t)(digit - digits);
    }
    *ret_value = value;
    return true;
}

/* ------------------------------------------------------------------ strings */

#define OCTETS(octet) (UINT64_C(0x0101010101010101) * (octet))

/* Non-zero if one of the eight octets of `word` is zero. */
static uint64_t has_zero(uint64_t word)
{
    return (word - OCTETS(0x01)) & ~word & OCTETS(0x80);
}

/* Are all eight octets printable ASCII other than '"' and '\'?  May say no by
 * mistake (a borrow runs into the next octet), never yes. */
static bool plain_word(uint64_t word)
{
    const uint64_t below_space = (word - OCTETS(0x20)) & ~word & OCTETS(0x80);
    return ((word & OCTETS(0x80)) | below_space | has_zero(word ^ OCTETS('"')) |
            has_zero(word ^ OCTETS('\\')) | has_zero(word ^ OCTETS(0x7f))) == 0;
}

static bool plain_octet(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* How many octets at the start can be copied as they are. */
static size_t plain_run(const char *data, size_t size)
{
    size_t at = 0;
    while (size - at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, data + at, sizeof word);
        if (!plain_word(word)) {
            break;
        }
        at += sizeof word;
    }
    while (at < size && plain_octet((unsigned char)data[at])) {
        at++;
    }
    return at;
}

static void put_escape(struct wire_buffer *b, unsigned char c)
{
    switch (c) {
    case '"':
        WIRE_PUT(b, "\\\"");
        return;
    case '\\':
        WIRE_PUT(b, "\\\\");
        return;
    case '\n':
        WIRE_PUT(b, "\\n");
        return;
    case '\r':
        WIRE_PUT(b, "\\r");
        return;
    case '\t':
        WIRE_PUT(b, "\\t");
        return;
    default: {
        const char text[6] = {
            '\\', 'u', '0', '0', (char)('0' + (c >> 4)), "0123456789abcdef"[c & 15]};
        wire_append(b, text, sizeof text);
    }
    }
}

void wire_put_string(struct wire_buffer *b, struct wire_text text)
{
    WIRE_PUT(b, "\"");
    size_t from = 0;
    size_t at = 0;
    while (at < text.size) {
        at += plain_run(text.data + at, text.size - at);
        if (at == text.size) {
            break;
        }
        const unsigned char c = (unsigned char)text.data[at];
        if (c < 0x20 || c == '"' || c == '\\') {
            wire_append(b, text.data + from, at - from);
            put_escape(b, c);
            from = at + 1;
        }
        at++;
    }
    if (from < text.size) {
        wire_append(b, text.data + from, text.size - from);
    }
    WIRE_PUT(b, "\"");
}

/* The length of the character of two to four octets at `at`, or 0: not UTF-8.
 * RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_length(const unsigned char *at, size_t left, uint32_t *ret_point)
{
    const unsigned char lead = at[0];
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || left < length) {
        return 0;
    }
    uint32_t point = lead & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3fU);
    }
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < lowest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
        return 0;
    }
    *ret_point = point;
    return length;
}

bool wire_is_text(struct wire_text octets)
{
    size_t at = 0;
    while (at < octets.size) {
        at += plain_run(octets.data + at, octets.size - at);
        if (at == octets.size) {
            break;
        }
        const unsigned char *c = (const unsigned char *)octets.data + at;
        if (*c < 0x80) {
            if ((*c < 0x20 && *c != '\t' && *c != '\r' && *c != '\n') || *c == 0x7f) {
                return false;
            }
            at++;
            continue;
        }
        uint32_t point = 0;
        const size_t length = utf8_length(c, octets.size - at, &point);
        if (length == 0 || point < 0xa0) { /* U+0080 to U+009F are controls too. */
            return false;
        }
        at += length;
    }
    return true;
}

size_t wire_clip(struct wire_text text, size_t size_max)
{
    if (text.size <= size_max) {
        return text.size;
    }
    size_t size = size_max;
    while (size > 0 && ((unsigned char)text.data[size] & 0xc0) == 0x80) {
        size--;
    }
    return size;
}

/* ------------------------------------------------------------------- base64 */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a character plus one; 0: not of the alphabet. */
static const uint8_t sextets[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,
    ['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
    ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
    ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
    ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
    ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
    ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
    ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
    ['/'] = 64,
};

void wire_put_base64(struct wire_buffer *b, struct wire_text octets)
{
    char *out = reserve(b, octets.size / 3 * 4 + 4 + 2);
    if (out == NULL) {
        return;
    }
    const unsigned char *in = (const unsigned char *)octets.data;
    size_t at = 0;
    *out++ = '"';
    for (; octets.size - at >= 3; at += 3) {
        const uint32_t group = (uint32_t)in[at] << 16 | (uint32_t)in[at + 1] << 8 | in[at + 2];
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = alphabet[group >> 6 & 63];
        *out++ = alphabet[group & 63];
    }
    const size_t left = octets.size - at;
    if (left > 0) {
        const uint32_t group =
            (uint32_t)in[at] << 16 | (left == 2 ? (uint32_t)in[at + 1] << 8 : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = left == 2 ? alphabet[group >> 6 & 63] : '=';
        *out++ = '=';
    }
    *out++ = '"';
    b->size = (size_t)(out - b->data);
    assert(b->size <= b->capacity);
}

bool wire_base64_decode(struct wire_text text, char *ret_octets, size_t *ret_size)
{
    if (text.size % 4 != 0) {
        return false;
    }
    const unsigned char *in = (const unsigned char *)text.data;
    char *out = ret_octets;
    for (size_t at = 0; at < text.size; at += 4) {
        const bool last = at + 4 == text.size;
        const unsigned padding = !last || in[at + 3] != '=' ? 0 : in[at + 2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (unsigned i = 0; i < 4; i++) {
            const bool padded = i + padding >= 4;
            const uint8_t sextet = padded ? 1 : sextets[in[at + i]];
            if (sextet == 0) {
                return false;
            }
            group = group << 6 | (uint32_t)(sextet - 1);
        }
        if ((group & ((UINT32_C(1) << 8 * padding) - 1)) != 0) {
            return false;
        }
        for (unsigned i = 0; i < 3 - padding; i++) {
            *out++ = (char)(group >> (16 - 8 * i));
        }
    }
    *ret_size = (size_t)(out - ret_octets);
    return true;
}

/* ------------------------------------------------ members of either direction */

void wire_put_content(struct wire_buffer *b, struct wire_text content)
{
    if (wire_is_text(content)) {
        WIRE_PUT(b, "\"content\":");
        wire_put_string(b, content);
    } else {
        WIRE_PUT(b, "\"content_base64\":");
        wire_put_base64(b, content);
    }
}

void wire_put_credential(struct wire_buffer *b, uint64_t session, struct wire_text secret)
{
    char digits[WIRE_SESSION_ID];
    wire_hex_digits(session, digits);
    WIRE_PUT(b, "\"session\":\"");
    wire_append(b, digits, sizeof digits);
    WIRE_PUT(b, "-");
    wire_append(b, secret.data, secret.size);
    WIRE_PUT(b, "\"");
}

/* -------------------------------------------------------------------- words */

const char *wire_kind_word(enum wire_kind kind)
{
    return kind == WIRE_DIRECTORY ? "directory" : "file";
}

const char *wire_mode_word(enum wire_mode mode)
{
    return mode == WIRE_SHARED ? "shared" : "exclusive";
}

const char *wire_method_name(enum wire_method method)
{
    static const char *const names[] = {[WIRE_NO_METHOD] = "",
#define NAME(id, word) [id] = word,
                                        WIRE_METHOD_MAP(NAME)
#undef NAME
    };
    assert((size_t)method < sizeof names / sizeof names[0]);
    return names[method];
}

const char *wire_notice_name(enum wire_notice notice)
{
    static const char *const names[] = {[WIRE_NO_NOTICE] = "",
#define NAME(id, word) [id] = word,
                                        WIRE_NOTICE_MAP(NAME)
#undef NAME
    };
    assert((size_t)notice < sizeof names / sizeof names[0]);
    return names[notice];
}

const char *wire_scope_name(enum wire_scope scope)
{
    static const char *const names[] = {[WIRE_NO_SCOPE] = "",
#define NAME(id, word) [id] = word,
                                        WIRE_SCOPE_MAP(NAME)
#undef NAME
    };
    assert((size_t)scope < sizeof names / sizeof names[0]);
    return names[scope];
}

const char *wire_level_name(enum wire_level level)
{
    static const char *const names[] = {
#define NAME(id, word) [id] = word,
        WIRE_LEVEL_MAP(NAME)
#undef NAME
    };
    assert((size_t)level < sizeof names / sizeof names[0]);
    return names[level];
}

const char *wire_right_name(unsigned right)
{
    static const char *const names[WIRE_RIGHTS] = {"read", "write", "change"};
    assert(right < WIRE_RIGHTS);
    return names[right];
}

const char *wire_change_name(enum wire_change change)
{
    static const char *const names[] = {[WIRE_NO_CHANGE] = "",
#define NAME(id, word) [id] = word,
                                        WIRE_CHANGE_MAP(NAME)
#undef NAME
    };
    assert((size_t)change < sizeof names / sizeof names[0]);
    return names[change];
}

static const struct {
    const char *name;
    const char *text;
    int code;
} errors[] = {[WIRE_OK] = {"ok", "ok", 0},
#define ERROR_ROW(id, number, word, sentence)                                                  \
    [id] = {.name = word, .text = sentence, .code = number},
              WIRE_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
};

const char *wire_error_name(enum wire_error error)
{
    assert((size_t)error < sizeof errors / sizeof errors[0]);
    return errors[error].name;
}

const char *wire_error_text(enum wire_error error)
{
    assert((size_t)error < sizeof errors / sizeof errors[0]);
    return errors[error].text;
}

int wire_error_code(enum wire_error error)
{
    assert((size_t)error < sizeof errors / sizeof errors[0]);
    return errors[error].code;
}
