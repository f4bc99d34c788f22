/* SPDX-License-Identifier: Apache-2.0
 *
 * lockcheck_read.c -- a history as lines of JSON; lockcheck(1) describes them.
 *
 * Strict, because a call that is misread is judged wrongly without anybody
 * noticing: unknown members are refused, as are missing ones.
 */
#include "tools/lockcheck.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* A text that stands for itself wherever it occurs again. */
struct word {
    UT_hash_handle hh;
    uint32_t number; /* From 1. */
    char text[];
};

struct line {
    struct recording *recording;
    json_t *object;
    uint32_t number;
    size_t members; /* Of the object, that were asked for. */
    char *error;
    size_t error_size;
    bool failed;
};

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("lockcheck: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return memory;
}

__attribute__((format(printf, 2, 3))) static void refuse(struct line *line, const char *format,
                                                         ...)
{
    if (line->failed) {
        return; /* The first reason counts. */
    }
    line->failed = true;
    const int size =
        snprintf(line->error, line->error_size, "line %" PRIu32 ": ", line->number);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->error + size, line->error_size - (size_t)size, format, arguments);
    va_end(arguments);
}

static const struct word *word_of(struct recording *recording, const char *text)
{
    struct word *word = NULL;
    HASH_FIND_STR(recording->words, text, word);
    if (word == NULL) {
        const size_t size = strlen(text) + 1;
        word = checked(malloc(sizeof *word + size));
        memcpy(word->text, text, size);
        word->number = ++recording->words_count;
        HASH_ADD_STR(recording->words, text, word);
    }
    return word;
}

/* ------------------------------------------------------------------ members */

static json_t *member(struct line *line, const char *key)
{
    json_t *value = json_object_get(line->object, key);
    line->members += value != NULL;
    return value;
}

static uint64_t take_number(struct line *line, const char *key, uint64_t otherwise, bool needed)
{
    const json_t *value = member(line, key);
    if (value == NULL && !needed) {
        return otherwise;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        refuse(line, "\"%s\" must be a whole number, not below 0", key);
        return otherwise;
    }
    return (uint64_t)json_integer_value(value);
}

static const char *take_text(struct line *line, const char *key, const char *otherwise)
{
    const json_t *value = member(line, key);
    if (value == NULL && otherwise != NULL) {
        return otherwise;
    }
    if (!json_is_string(value)) {
        refuse(line, "\"%s\" must be a string", key);
        return "";
    }
    return json_string_value(value);
}

/* A string, or null: there is no file. */
static uint32_t take_value(struct line *line, const char *key)
{
    const json_t *value = member(line, key);
    if (json_is_null(value)) {
        return 0;
    }
    if (!json_is_string(value)) {
        refuse(line, "\"%s\" must be a string, or null where there is no file", key);
        return 0;
    }
    return word_of(line->recording, json_string_value(value))->number;
}

static unsigned take_choice(struct line *line, const char *key, const char *text,
                            const char *const *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (words[i] != NULL && strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    refuse(line, "\"%s\" can't be \"%.40s\"", key, text);
    return 0;
}

/* -------------------------------------------------------------------- lines */

static const char *const call_words[] = {
    [APPLICATION_READ] = "read", [APPLICATION_WRITE] = "write",
    [APPLICATION_CAS] = "cas",   [APPLICATION_ACQUIRE] = "acquire",
    [APPLICATION_HOLD] = "hold", [APPLICATION_ACCESS] = "access",
};
static const char *const outcome_words[] = {
    [APPLICATION_OK] = "ok",
    [APPLICATION_MISMATCH] = "mismatch",
    [APPLICATION_FAILED] = "failed",
    [APPLICATION_UNKNOWN] = "unknown",
};
static const char *const mode_words[] = {"exclusive", "shared"};

enum {
    CALLS = sizeof call_words / sizeof *call_words,
    OUTCOMES = sizeof outcome_words / sizeof *outcome_words,
    MODES = sizeof mode_words / sizeof *mode_words,
};

static void take_mode(struct line *line, struct application_op *op)
{
    const char *mode = take_text(line, "mode", mode_words[0]);
    op->shared = take_choice(line, "mode", mode, mode_words, MODES) == 1;
}

/* The members that depend on the call and on whether it had an outcome. */
static void take_details(struct line *line, struct application_op *op)
{
    const bool done = op->outcome == APPLICATION_OK || op->outcome == APPLICATION_MISMATCH;
    switch (op->call) {
    case APPLICATION_READ:
        op->value = op->outcome == APPLICATION_OK ? take_value(line, "value") : 0;
        break;
    case APPLICATION_CAS:
        op->expected = take_value(line, "expect");
        op->value = take_value(line, "value");
        break;
    case APPLICATION_WRITE:
        op->value = take_value(line, "value");
        break;
    case APPLICATION_ACQUIRE:
        take_mode(line, op);
        op->token = take_number(line, "token", 0, done);
        break;
    case APPLICATION_HOLD:
        take_mode(line, op);
        op->token = take_number(line, "token", 0, /* needed= */ false);
        break;
    case APPLICATION_ACCESS:
        op->token = take_number(line, "token", 0, /* needed= */ true);
        break;
    }
    const bool can_mismatch = op->call == APPLICATION_CAS || op->call == APPLICATION_ACCESS;
    if (op->outcome == APPLICATION_MISMATCH && !can_mismatch) {
        refuse(line, "only \"cas\" and \"access\" can have the outcome \"mismatch\"");
    }
}

static void refuse_unknown(struct line *line)
{
    static const char *const known[] = {"op",    "outcome", "start", "end",   "name",
                                        "value", "expect",  "mode",  "token", "process"};
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(line->object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            found = found || strcmp(key, known[i]) == 0;
        }
        if (!found) {
            refuse(line, "there is no member \"%.40s\"", key);
        }
    }
    refuse(line, "it has a member that such a call does not take");
}

static struct application_op take_op(struct line *line)
{
    struct application_op op = {.line = line->number};
    const char *call = take_text(line, "op", NULL);
    const char *outcome = take_text(line, "outcome", outcome_words[APPLICATION_OK]);
    op.call = (enum application_call)take_choice(line, "op", call, call_words, CALLS);
    op.outcome = (enum application_outcome)take_choice(line, "outcome", outcome, outcome_words,
                                                       OUTCOMES);
    op.name = word_of(line->recording, take_text(line, "name", NULL))->text;
    op.start = take_number(line, "start", 0, /* needed= */ true);
    const bool ends = op.outcome != APPLICATION_UNKNOWN;
    op.end = take_number(line, "end", 0, ends);
    if (!ends) {
        op.end = APPLICATION_NEVER;
    }
    if (op.end < op.start) {
        refuse(line, "it ends before it starts");
    }
    take_text(line, "process", ""); /* For people. */
    if (!line->failed) {
        take_details(line, &op);
    }
    if (!line->failed && line->members != json_object_size(line->object)) {
        refuse_unknown(line);
    }
    return op;
}

static bool read_line(struct line *line, const char *text, size_t size)
{
    json_error_t why;
    line->object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    line->members = 0;
    if (line->object == NULL) {
        refuse(line, "it is not JSON: %s", why.text);
    } else if (!json_is_object(line->object)) {
        refuse(line, "it is not a JSON object");
    } else {
        struct recording *r = line->recording;
        if (r->count == r->capacity) {
            r->capacity = r->capacity == 0 ? 1024 : 2 * r->capacity;
            r->ops = checked(realloc(r->ops, r->capacity * sizeof *r->ops));
        }
        r->ops[r->count++] = take_op(line);
    }
    json_decref(line->object);
    return !line->failed;
}

static bool is_blank(const char *text, size_t size)
{
    return strspn(text, " \t\r\n") >= size;
}

bool recording_read(struct recording *recording, FILE *file, char *ret_error, size_t error_size)
{
    struct line line = {.recording = recording, .error = ret_error, .error_size = error_size};
    char *text = NULL;
    size_t room = 0;
    ssize_t size;
    bool good = true;
    while (good && (size = getline(&text, &room, file)) >= 0) {
        line.number++;
        good = is_blank(text, (size_t)size) || read_line(&line, text, (size_t)size);
    }
    if (good && ferror(file)) {
        refuse(&line, "behind it, reading failed: %s", strerror(errno));
        good = false;
    }
    free(text);
    return good;
}

void recording_free(struct recording *recording)
{
    struct word *word = NULL;
    struct word *next = NULL;
    HASH_ITER(hh, recording->words, word, next)
    {
        HASH_DEL(recording->words, word);
        free(word);
    }
    free(recording->ops);
    *recording = (struct recording){0};
}
