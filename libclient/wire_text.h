/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_text.h -- the octets under wire.h: output that grows, JSON strings and
 * numbers, base64.  Private to the wire_*.c files; wire.h is the interface.
 */
#ifndef LIBCLIENT_WIRE_TEXT_H
#define LIBCLIENT_WIRE_TEXT_H

#include "libclient/wire.h"

#include <string.h>

/* Appends a string literal without its NUL. */
#define WIRE_PUT(buffer, literal) wire_append((buffer), (literal), sizeof(literal) - 1)

/* `,"key":` in one literal; the first member of an object goes without it. */
#define PUT_NUMBER(b, key, value)                                                              \
    do {                                                                                       \
        WIRE_PUT(b, ",\"" key "\":");                                                          \
        wire_put_number(b, value);                                                             \
    } while (0)
#define PUT_STRING(b, key, value)                                                              \
    do {                                                                                       \
        WIRE_PUT(b, ",\"" key "\":");                                                          \
        wire_put_string(b, value);                                                             \
    } while (0)
#define PUT_BOOL(b, key, value)                                                                \
    do {                                                                                       \
        if (value) {                                                                           \
            WIRE_PUT(b, ",\"" key "\":true");                                                  \
        } else {                                                                               \
            WIRE_PUT(b, ",\"" key "\":false");                                                 \
        }                                                                                      \
    } while (0)

static inline struct wire_text wire_text_of(const char *data, size_t size)
{
    return (struct wire_text){.data = data, .size = size};
}

static inline bool wire_text_is(struct wire_text text, const char *word, size_t word_size)
{
    if (text.size != word_size) {
        return false;
    }
    for (size_t i = 0; i < word_size; i++) {
        if (text.data[i] != word[i]) {
            return false;
        }
    }
    return true;
}

void wire_put_number(struct wire_buffer *b, uint64_t value);

/* Sixteen hexadecimal digits, and the same in quotes. */
void wire_hex_digits(uint64_t value, char ret_digits[16]);
void wire_put_hex(struct wire_buffer *b, uint64_t value);

/* The other way round; false: they aren't sixteen lower-case digits. */
bool wire_hex_decode(struct wire_text text, uint64_t *ret_value);

/* A JSON string with its quotes.  The text is UTF-8; the caller vouches for it. */
void wire_put_string(struct wire_buffer *b, struct wire_text text);

/* Octets as a JSON string of standard base64 with padding. */
void wire_put_base64(struct wire_buffer *b, struct wire_text octets);

/* More octets than decoding `size` characters of base64 can give. */
static inline size_t wire_base64_bound(size_t size)
{
    return size / 4 * 3;
}

/* Decodes into `ret_octets`, which has room for wire_base64_bound() octets.
 * Strict, so that one content has one spelling: the standard alphabet, padded,
 * no white space, unused bits zero.  False otherwise. */
bool wire_base64_decode(struct wire_text text, char *ret_octets, size_t *ret_size);

static inline struct wire_text wire_word(const char *word)
{
    return wire_text_of(word, strlen(word));
}

/* "file" or "directory", "exclusive" or "shared". */
const char *wire_kind_word(enum wire_kind kind);
const char *wire_mode_word(enum wire_mode mode);

/* "read", "write" or "change"; `right` is below WIRE_RIGHTS. */
const char *wire_right_name(unsigned right);

/* `"content":...`, or `"content_base64":...` when it is no text. */
void wire_put_content(struct wire_buffer *b, struct wire_text content);

/* `"session":"ID-SECRET"`. */
void wire_put_credential(struct wire_buffer *b, uint64_t session, struct wire_text secret);

/* The longest prefix of UTF-8 `text` that fits in `size_max` octets and does
 * not end within a character. */
size_t wire_clip(struct wire_text text, size_t size_max);

#endif
