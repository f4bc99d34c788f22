/* SPDX-License-Identifier: Apache-2.0
 *
 * transcript.h -- stories that run.
 *
 * A transcript is a text of blocks, separated by empty lines: comments, then
 * commands, `----`, and below it all that could be observed.
 *
 *     # Why this must be so.
 *     propose 1 lock-a
 *     ----
 *     1  at once -> 2,3  accept 1.1 [2@1.1 "lock-a"]
 *
 * Running one executes the commands and compares what they print with what is
 * written there; rewriting replaces it, and the diff is reviewed like code.
 */
#ifndef TESTS_TRANSCRIPT_H
#define TESTS_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>

/* A growing string, always terminated once something was put. */
struct text {
    char *data;
    size_t size;
    size_t capacity;
};

__attribute__((format(printf, 2, 3), nonnull)) void text_put(struct text *text,
                                                             const char *format, ...);
void text_free(struct text *text);

struct transcript_runner {
    void *context;
    /* Runs one line; what can be observed is put into `out`.  The line may be
     * torn apart.  A command that it doesn't know it says so about, in `out`. */
    void (*command)(void *context, char *line, struct text *out);
};

/* The whole file, NUL-terminated, to be freed; NULL when it can't be read. */
char *transcript_read(const char *path);

/* Runs the transcript at `path`.  True when what was observed is what stands
 * there, or was put there (`rewrite`).  Otherwise the first difference is
 * printed as TAP comments. */
bool transcript_run(const char *path, bool rewrite, const struct transcript_runner *runner);

#endif
