/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_json.c -- from a line to a tree, strictly.
 *
 * A scan of our own goes before jansson.  It bounds the depth before anything
 * recursive sees the line, and remembers where the id stands, because the reply
 * must carry it exactly as it was written.  The scan assumes nothing: on a line
 * that is not JSON it returns nonsense, which is looked at only after jansson
 * accepted the line.
 */
#include "libclient/wire_json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wire_memory_reset(struct wire_memory *m)
{
    json_decref(m->root);
    m->root = NULL;
}

void wire_memory_free(struct wire_memory *m)
{
    wire_memory_reset(m);
    free(m->scratch);
    *m = (struct wire_memory){.root = NULL};
}

char *wire_scratch(struct wire_memory *m, size_t size)
{
    if (m->scratch_capacity < size) {
        char *scratch = realloc(m->scratch, size);
        if (scratch == NULL) {
            return NULL;
        }
        m->scratch = scratch;
        m->scratch_capacity = size;
    }
    return m->scratch;
}

/* --------------------------------------------------------------------- scan */

/* The index of the quote that ends the string whose first octet is at `from`,
 * or the line's size. */
static size_t string_end(struct wire_text line, size_t from)
{
    size_t at = from;
    while (at < line.size) {
        const char *quote = memchr(line.data + at, '"', line.size - at);
        if (quote == NULL) {
            return line.size;
        }
        const size_t end = (size_t)(quote - line.data);
        size_t backslashes = 0;
        while (backslashes < end - at && line.data[end - 1 - backslashes] == '\\') {
            backslashes++;
        }
        if (backslashes % 2 == 0) {
            return end;
        }
        at = end + 1;
    }
    return line.size;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct wire_text trimmed(struct wire_text text)
{
    while (text.size > 0 && is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* False: nests too deep.  `ret_id` is the value of the top level's member "id"
 * as it stands. */
static bool scan(struct wire_text line, struct wire_text *ret_id)
{
    size_t depth = 0;
    size_t value_from = 0; /* Of the id, while the scan is within it; else 0. */
    bool id_key = false;   /* The last string was the key "id" of the top level. */
    char before = 0;       /* The last octet that was not white space. */
    *ret_id = wire_text_of(NULL, 0);

    for (size_t at = 0; at < line.size; at++) {
        const char c = line.data[at];
        if (is_space(c)) {
            continue;
        }
        if (c == '"') {
            const size_t end = string_end(line, at + 1);
            id_key = depth == 1 && (before == '{' || before == ',') &&
                     wire_text_is(wire_text_of(line.data + at + 1, end - at - 1), "id", 2);
            at = end;
        } else if (c == '{' || c == '[') {
            if (++depth > WIRE_DEPTH_MAX) {
                return false;
            }
        } else if (c == ':' && id_key) {
            value_from = at + 1;
            id_key = false;
        } else if (c == ',' || c == '}' || c == ']') {
            if (depth == 1 && value_from != 0) {
                *ret_id = trimmed(wire_text_of(line.data + value_from, at - value_from));
                value_from = 0;
            }
            depth -= c != ',' && depth > 0;
        }
        before = c;
    }
    return true;
}

/* --------------------------------------------------------------------- load */

/* Our own words for what jansson found, because its own quote the line. */
static const char *complaint(enum json_error_code code)
{
    static const struct {
        enum json_error_code code;
        const char *text;
    } table[] = {
        {json_error_invalid_utf8, "is not valid UTF-8"},
        {json_error_premature_end_of_input, "ends too early"},
        {json_error_end_of_input_expected, "goes on after the end of the request; write one "
                                           "message a line"},
        {json_error_duplicate_key, "names a member twice"},
        {json_error_numeric_overflow, "has a number that is out of range"},
        {json_error_null_character, "has \\u0000 in a string; send such octets as "
                                    "content_base64"},
        {json_error_null_byte_in_key, "has \\u0000 in the name of a member"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].code == code) {
            return table[i].text;
        }
    }
    return "is not JSON";
}

static enum wire_error complain(const json_error_t *error, char ret_detail[WIRE_DETAIL_MAX])
{
    const enum json_error_code code = json_error_code(error);
    if (code == json_error_out_of_memory) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "out of memory; not executed");
        return WIRE_OVERLOADED;
    }
    snprintf(ret_detail, WIRE_DETAIL_MAX, "the line %s (near octet %d)", complaint(code),
             error->position);
    return WIRE_PARSE_ERROR;
}

enum wire_error wire_json_load(struct wire_memory *m, struct wire_text line,
                               struct wire_json *ret_json, char ret_detail[WIRE_DETAIL_MAX])
{
    wire_memory_reset(m);
    if (line.size >= WIRE_LINE_MAX) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "the line is longer than %d octets",
                 WIRE_LINE_MAX);
        return WIRE_TOO_LARGE;
    }
    if (line.size > 0 && memchr(line.data, 0, line.size) != NULL) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "the line has an octet 0");
        return WIRE_PARSE_ERROR;
    }
    struct wire_text id;
    if (!scan(line, &id)) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "the line nests deeper than %d levels",
                 WIRE_DEPTH_MAX);
        return WIRE_PARSE_ERROR;
    }
    json_error_t error;
    /* A scalar is JSON too: it is refused as a request, not as a text. */
    m->root = json_loadb(line.size > 0 ? line.data : "", line.size,
                         JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (m->root == NULL) {
        return complain(&error, ret_detail);
    }
    if (json_is_array((json_t *)m->root)) {
        snprintf(ret_detail, WIRE_DETAIL_MAX,
                 "batches are not served: pipelining does their "
                 "work, so write one request a line");
        return WIRE_INVALID_REQUEST;
    }
    if (!json_is_object((json_t *)m->root)) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "the line must be one JSON object");
        return WIRE_INVALID_REQUEST;
    }
    *ret_json = (struct wire_json){.root = m->root, .id = id};
    return WIRE_OK;
}

/* -------------------------------------------------------------------- looks */

bool wire_json_number(const json_t *value, uint64_t *ret_number)
{
    if (!json_is_integer(value)) {
        return false;
    }
    const json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number > WIRE_NUMBER_MAX) {
        return false;
    }
    *ret_number = (uint64_t)number;
    return true;
}

bool wire_json_text(const json_t *value, struct wire_text *ret_text)
{
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = wire_text_of(json_string_value(value), json_string_length(value));
    return true;
}

bool wire_json_id(const struct wire_json *json)
{
    const json_t *id = json_object_get(json->root, "id");
    if (json->id.size == 0 || json->id.size > WIRE_ID_MAX) {
        return false;
    }
    if (json_is_number(id)) {
        const double number = json_number_value(id);
        return number >= -(double)WIRE_NUMBER_MAX && number <= (double)WIRE_NUMBER_MAX;
    }
    return json_is_string(id) || json_is_null(id);
}

bool wire_kind_of(struct wire_text word, enum wire_kind *ret_kind)
{
    if (wire_text_is(word, "file", 4)) {
        *ret_kind = WIRE_FILE;
        return true;
    }
    if (wire_text_is(word, "directory", 9)) {
        *ret_kind = WIRE_DIRECTORY;
        return true;
    }
    return false;
}

bool wire_mode_of(struct wire_text word, enum wire_mode *ret_mode)
{
    if (wire_text_is(word, "exclusive", 9)) {
        *ret_mode = WIRE_EXCLUSIVE;
        return true;
    }
    if (wire_text_is(word, "shared", 6)) {
        *ret_mode = WIRE_SHARED;
        return true;
    }
    return false;
}

bool wire_level_of(struct wire_text word, enum wire_level *ret_level)
{
#define LEVEL_MATCH(level, name)                                                               \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        *ret_level = level;                                                                    \
        return true;                                                                           \
    }
    WIRE_LEVEL_MAP(LEVEL_MATCH)
#undef LEVEL_MATCH
    return false;
}

static bool is_hex(struct wire_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (memchr("0123456789abcdef", text.data[i], 16) == NULL) {
            return false;
        }
    }
    return true;
}

bool wire_credential_of(struct wire_text text, uint64_t *ret_session,
                        struct wire_text *ret_secret)
{
    if (text.size != WIRE_CREDENTIAL || text.data[WIRE_SESSION_ID] != '-') {
        return false;
    }
    uint64_t session = 0;
    const struct wire_text secret = wire_text_of(text.data + WIRE_SESSION_ID + 1, WIRE_SECRET);
    if (!wire_hex_decode(wire_text_of(text.data, WIRE_SESSION_ID), &session) || session == 0 ||
        !is_hex(secret)) {
        return false;
    }
    *ret_session = session;
    *ret_secret = secret;
    return true;
}
