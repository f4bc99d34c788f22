/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/transcripts/transcript.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_reserve(struct text *text, size_t more)
{
    if (text->capacity - text->size > more) {
        return;
    }
    text->capacity = 2 * (text->size + more) + 256;
    text->data = realloc(text->data, text->capacity);
    assert(text->data != NULL);
}

void text_put(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int needed = vsnprintf(NULL, 0, format, arguments);
    assert(needed >= 0);
    text_reserve(text, (size_t)needed + 1);
    (void)vsnprintf(text->data + text->size, (size_t)needed + 1, format, again);
    text->size += (size_t)needed;
    va_end(again);
    va_end(arguments);
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

char *transcript_read(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    struct text text = {0};
    text_put(&text, "%s", "");
    size_t got;
    do {
        text_reserve(&text, 4096);
        got = fread(text.data + text.size, 1, 4096, file);
        text.size += got;
    } while (got > 0);
    text.data[text.size] = 0;
    (void)fclose(file);
    return text.data;
}

/* Takes the next line off `*at`; NULL at the end. */
static char *next_line(char **at)
{
    char *line = *at;
    if (line == NULL || *line == 0) {
        return NULL;
    }
    char *end = strchr(line, '\n');
    if (end != NULL) {
        *end = 0;
    }
    *at = end == NULL ? NULL : end + 1;
    return line;
}

static void skip_observed(char **at)
{
    const char *line;
    do {
        line = next_line(at);
    } while (line != NULL && *line != 0);
}

/* The transcript as it should read: comments and commands as they stand, below
 * each rule what the commands printed. */
static void play(char *source, const struct transcript_runner *runner, struct text *played)
{
    struct text seen = {0};
    char *at = source;
    for (char *line = next_line(&at); line != NULL; line = next_line(&at)) {
        text_put(played, "%s\n", line);
        if (strcmp(line, "----") == 0) {
            text_put(played, "%s", seen.size > 0 ? seen.data : "ok\n");
            skip_observed(&at);
            if (at != NULL && *at != 0) {
                text_put(played, "\n");
            }
            seen.size = 0;
        } else if (*line != '#' && *line != 0) {
            runner->command(runner->context, line, &seen);
        }
    }
    if (seen.size > 0) {
        text_put(played, "----\n%s", seen.data);
    }
    text_free(&seen);
}

static void tell_difference(const char *path, char *written, char *played)
{
    unsigned number = 0;
    const char *expected, *got;
    do {
        number++;
        expected = next_line(&written);
        got = next_line(&played);
    } while (expected != NULL && got != NULL && strcmp(expected, got) == 0);
    printf("# %s:%u\n#   written:  %s\n#   observed: %s\n", path, number,
           expected == NULL ? "(the end)" : expected, got == NULL ? "(the end)" : got);
}

static bool write_back(const char *path, const struct text *played)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    const bool wrote = fwrite(played->data, 1, played->size, file) == played->size;
    return fclose(file) == 0 && wrote;
}

bool transcript_run(const char *path, bool rewrite, const struct transcript_runner *runner)
{
    char *written = transcript_read(path);
    char *source = transcript_read(path);
    if (written == NULL || source == NULL) {
        printf("# %s: can't be read\n", path);
        free(written);
        free(source);
        return false;
    }
    struct text played = {0};
    text_put(&played, "%s", "");
    play(source, runner, &played);

    bool same = strcmp(written, played.data) == 0;
    if (!same && rewrite) {
        same = write_back(path, &played);
    } else if (!same) {
        tell_difference(path, written, played.data);
    }
    free(written);
    free(source);
    text_free(&played);
    return same;
}
