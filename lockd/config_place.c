/* SPDX-License-Identifier: Apache-2.0
 *
 * config_place.c -- what is wrong with a configuration, and where.
 *
 * jansson forgets where in the text a value stood, so the place is looked up in the text
 * again, once something is wrong.
 */
#include "lockd/config_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct place {
    uint32_t line; /* 0: not found. */
    uint32_t column;
};

/* Steps over the string whose opening quote is at `at`; returns what is behind
 * its closing one. */
static size_t skip_string(const struct source *source, size_t at)
{
    assert(source->text[at] == '"');
    for (at++; at < source->size && source->text[at] != '"'; at++) {
        if (source->text[at] == '\\') {
            at++;
        }
    }
    return at + 1;
}

/* Is the string that ends before `end` the name of a member? */
static bool ends_key(const struct source *source, size_t end)
{
    while (end < source->size && strchr(" \t\r\n", source->text[end]) != NULL) {
        end++;
    }
    return end < source->size && source->text[end] == ':';
}

static bool is_text(const struct source *source, size_t first, size_t end, const char *text)
{
    const size_t size = strlen(text);
    return end <= source->size && end - first == size + 2 &&
           memcmp(source->text + first + 1, text, size) == 0;
}

static struct place place_of(const struct source *source, size_t offset)
{
    struct place place = {.line = 1, .column = 1};
    for (size_t i = 0; i < offset; i++) {
        place.column++;
        if (source->text[i] == '\n') {
            place.line++;
            place.column = 1;
        }
    }
    return place;
}

/* Where member `key` of the outermost object stands, or, with `parent`, that of
 * its member `parent`.  The text is known to be valid JSON. */
static struct place locate(const struct source *source, const char *parent, const char *key)
{
    const int depth_wanted = parent == NULL ? 1 : 2;
    bool inside = parent == NULL;
    int depth = 0;
    for (size_t at = 0; at < source->size;) {
        const char c = source->text[at];
        if (c == '"') {
            const size_t end = skip_string(source, at);
            const bool names = ends_key(source, end);
            if (names && depth == depth_wanted && inside && is_text(source, at, end, key)) {
                return place_of(source, at);
            }
            if (names && depth == 1 && parent != NULL) {
                inside = is_text(source, at, end, parent);
            }
            at = end;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
    }
    return (struct place){0};
}

bool config_refuse(const struct source *source, const char *parent, const char *key,
                   const char *format, ...)
{
    const struct place place = key == NULL ? (struct place){0} : locate(source, parent, key);
    int size = place.line == 0 ? snprintf(source->error, CONFIG_ERROR_MAX, "%s: ", source->path)
                               : snprintf(source->error, CONFIG_ERROR_MAX,
                                          "%s:%u:%u: ", source->path, place.line, place.column);
    if (size < 0 || size >= CONFIG_ERROR_MAX) {
        size = 0;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(source->error + size, (size_t)(CONFIG_ERROR_MAX - size), format, arguments);
    va_end(arguments);
    return false;
}
