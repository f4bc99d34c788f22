/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h -- what the daemon tells its operator: one line an event.
 *
 *     2026-11-21T10:00:00.123Z info  peer.connected replica=2 address=127.0.0.1:7502
 *
 * Lines go to standard error, each in one write, so that journald and a terminal
 * see them whole.  The time is a label.  An event that comes in floods is cut to
 * TRACE_BURST lines a second; the next line of that event says how many were
 * left out.  Nothing depends on what is logged here.
 */
#ifndef LOCKD_TRACE_H
#define LOCKD_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRACE_BURST = 20,     /* Lines of one event in a second; errors are never cut. */
    TRACE_LINE_MAX = 1024 /* Octets of a line; the rest is cut off. */
};

#define TRACE_LEVEL_MAP(X)                                                                     \
    X(TRACE_ERROR, "error")                                                                    \
    X(TRACE_WARN, "warn")                                                                      \
    X(TRACE_INFO, "info")                                                                      \
    X(TRACE_DEBUG, "debug")

enum trace_level {
#define TRACE_LEVEL_ENUM(level, name) level,
    TRACE_LEVEL_MAP(TRACE_LEVEL_ENUM)
#undef TRACE_LEVEL_ENUM
};

/* One `key=value`: a text, quoted when it needs to be, or else a number. */
struct trace_field {
    const char *key;
    const char *text;
    uint64_t number;
};

static inline struct trace_field trace_text(const char *key, const char *text)
{
    return (struct trace_field){.key = key, .text = text == NULL ? "" : text};
}

static inline struct trace_field trace_number(const char *key, uint64_t number)
{
    return (struct trace_field){.key = key, .number = number};
}

/* What is less important than `level` is not shown.  Info at the start. */
void trace_set_level(enum trace_level level);

/* False when `name` is no level. */
bool trace_level_parse(const char *name, enum trace_level *ret_level);

/* `event` must live as long as the program: a literal. */
void trace_write(enum trace_level level, const char *event, const struct trace_field *fields);

/* trace_event(TRACE_INFO, "peer.connected", trace_number("replica", id), ...) */
#define trace_event(level, event, ...)                                                         \
    trace_write((level), (event), (const struct trace_field[]){__VA_ARGS__, {.key = NULL}})

/* Writes the line, with its newline, into `line`; returns its octets. */
size_t trace_format(char line[TRACE_LINE_MAX], uint64_t wall_ms, enum trace_level level,
                    const char *event, const struct trace_field *fields);

#endif
