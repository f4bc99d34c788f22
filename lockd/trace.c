/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c -- see trace.h.
 *
 * Whoever can connect can make lines appear here, so values are quoted and
 * escaped (a client can't forge a line) and floods are cut.
 */
#include "lockd/trace.h"

#include "lockd/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How many lines of an event this second has seen.  Events are literals, so
 * their address names them; a table that is full shares its last place. */
struct flood {
    const char *event;
    uint64_t second;
    uint32_t lines;
    uint64_t suppressed;
};

enum { FLOODS = 64 };

static enum trace_level level_shown = TRACE_INFO;
static struct flood floods[FLOODS];

static const char *level_name(enum trace_level level)
{
    switch (level) {
#define TRACE_LEVEL_NAME(value, name)                                                          \
    case value:                                                                                \
        return name;
        TRACE_LEVEL_MAP(TRACE_LEVEL_NAME)
#undef TRACE_LEVEL_NAME
    }
    return "?";
}

void trace_set_level(enum trace_level level)
{
    level_shown = level;
}

bool trace_level_parse(const char *name, enum trace_level *ret_level)
{
#define TRACE_LEVEL_PARSE(value, text)                                                         \
    if (strcmp(name, text) == 0) {                                                             \
        *ret_level = value;                                                                    \
        return true;                                                                           \
    }
    TRACE_LEVEL_MAP(TRACE_LEVEL_PARSE)
#undef TRACE_LEVEL_PARSE
    return false;
}

/* A line under construction; what doesn't fit is left out, and the last octet
 * stays free for the newline. */
struct line {
    char *text;
    size_t size;
};

static void put(struct line *line, char c)
{
    if (line->size < TRACE_LINE_MAX - 1) {
        line->text[line->size++] = c;
    }
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0') {
        put(line, *text++);
    }
}

static bool is_plain(const char *text)
{
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '=' || *text == '\\') {
            return false;
        }
    }
    return true;
}

static void put_quoted(struct line *line, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    put(line, '"');
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(line, '\\');
            put(line, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            put_text(line, "\\x");
            put(line, hex[c >> 4]);
            put(line, hex[c & 15]);
        } else {
            put(line, (char)c);
        }
    }
    put(line, '"');
}

static void put_field(struct line *line, const struct trace_field *field)
{
    put(line, ' ');
    put_text(line, field->key);
    put(line, '=');
    if (field->text == NULL) {
        char digits[24];
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)field->number);
        put_text(line, digits);
    } else if (is_plain(field->text)) {
        put_text(line, field->text);
    } else {
        put_quoted(line, field->text);
    }
}

size_t trace_format(char text[TRACE_LINE_MAX], uint64_t wall_ms, enum trace_level level,
                    const char *event, const struct trace_field *fields)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc = {0};
    char stamp[80];
    gmtime_r(&seconds, &utc);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ %-5s ",
             utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
             utc.tm_sec, (unsigned)(wall_ms % 1000), level_name(level));

    struct line line = {.text = text};
    put_text(&line, stamp);
    put_text(&line, event);
    for (const struct trace_field *field = fields; field->key != NULL; field++) {
        put_field(&line, field);
    }
    assert(line.size < TRACE_LINE_MAX);
    line.text[line.size++] = '\n';
    return line.size;
}

static struct flood *flood_of(const char *event)
{
    for (size_t i = 0; i < FLOODS - 1; i++) {
        if (floods[i].event == NULL) {
            floods[i].event = event;
        }
        if (floods[i].event == event) {
            return &floods[i];
        }
    }
    return &floods[FLOODS - 1];
}

/* False: leave this line out. */
static bool admit(const char *event, uint64_t second, uint64_t *ret_suppressed)
{
    struct flood *flood = flood_of(event);
    if (flood->second != second) {
        flood->second = second;
        flood->lines = 0;
    }
    if (flood->lines >= TRACE_BURST) {
        flood->suppressed++;
        return false;
    }
    flood->lines++;
    *ret_suppressed = flood->suppressed;
    flood->suppressed = 0;
    return true;
}

static void emit(uint64_t wall_ms, enum trace_level level, const char *event,
                 const struct trace_field *fields)
{
    char line[TRACE_LINE_MAX];
    const size_t size = trace_format(line, wall_ms, level, event, fields);
    /* A log that can't be written is no reason to stop serving. */
    const ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
}

void trace_write(enum trace_level level, const char *event, const struct trace_field *fields)
{
    assert(event != NULL && fields != NULL);
    if (level > level_shown) {
        return;
    }
    uint64_t suppressed = 0;
    if (level != TRACE_ERROR && !admit(event, clock_boottime_ms() / 1000, &suppressed)) {
        return;
    }
    const uint64_t wall_ms = clock_wall_ms();
    if (suppressed > 0) {
        emit(wall_ms, level, "log.suppressed",
             (const struct trace_field[]){
                 trace_text("event", event), trace_number("lines", suppressed), {.key = NULL}});
    }
    emit(wall_ms, level, event, fields);
}
