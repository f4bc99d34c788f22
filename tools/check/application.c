/* SPDX-License-Identifier: Apache-2.0
 *
 * application.c -- see application.h.
 *
 * One pass a rule over the calls of one name, in the order in which they began.
 * "Before" always means: ended before the other began.
 */
#include "tools/check/application.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check/wgl.h"

struct judge {
    const struct application_rules *rules;
    void (*tell)(void *context, const struct application_violation *violation);
    void *context;
    struct application_verdict *verdict;
};

/* The calls of one name. */
struct slice {
    const struct application_op *ops;
    uint32_t count;
};

static int by_name_and_start(const void *left, const void *right)
{
    const struct application_op *a = left;
    const struct application_op *b = right;
    const int order = strcmp(a->name, b->name);
    if (order != 0) {
        return order;
    }
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return (a->line > b->line) - (a->line < b->line);
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);
    if (memory == NULL) {
        fputs("out of memory for a history\n", stderr);
        abort();
    }
    return memory;
}

static void accuse(struct judge *judge, const char *rule, const struct application_op *first,
                   const struct application_op *second, const char *text)
{
    struct application_violation violation = {.rule = rule};
    if (second == NULL) {
        snprintf(violation.text, sizeof violation.text, "%s: line %" PRIu32 " %s", first->name,
                 first->line, text);
    } else {
        snprintf(violation.text, sizeof violation.text,
                 "%s: line %" PRIu32 " and line %" PRIu32 ": %s", first->name, first->line,
                 second->line, text);
    }
    judge->verdict->violations++;
    judge->tell(judge->context, &violation);
}

/* ------------------------------------------------------------- linearizable */

/* A value that a call tells from others, and until when any does; 0: none does.
 * WGL_NEVER: it may be one of which nobody knows when. */
struct value {
    uint32_t value;
    uint64_t found_until;  /* Calls that find it. */
    uint64_t missed_until; /* Compare-and-sets that find another. */
};

/* The reads, writes and compare-and-sets of one name, their values by number: equal
 * for all that nobody tells from one another. */
struct file {
    const struct application_op **calls;
    uint32_t *expected, *left; /* By call: the number of what it expects, and leaves. */
    uint32_t count;
    struct value *values; /* In order; the number of each is its place, from 1. */
    uint32_t values_count;
    uint64_t missed_until; /* The last compare-and-set that found another value. */
};

/* What nobody ever tells from others. */
enum { UNTOLD = 0 };

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool is_unknown(const struct application_op *op)
{
    return op->outcome == APPLICATION_UNKNOWN;
}

/* The state is the number of the value, in `a`. */
static bool step(const void *context, uint32_t index, const struct wgl_state *state,
                 struct wgl_state *ret_state)
{
    const struct file *file = context;
    const struct application_op *op = file->calls[index];
    *ret_state = *state;
    switch (op->call) {
    case APPLICATION_READ:
        return state->a == file->left[index];
    case APPLICATION_WRITE:
        ret_state->a = file->left[index];
        return true;
    case APPLICATION_CAS:
        if (state->a == file->expected[index]) {
            ret_state->a = file->left[index];
            return op->outcome != APPLICATION_MISMATCH;
        }
        return op->outcome != APPLICATION_OK;
    case APPLICATION_ACQUIRE:
    case APPLICATION_HOLD:
    case APPLICATION_ACCESS:
        break;
    }
    assert(/* of a file */ false);
    return false;
}

static int by_value(const void *left, const void *right)
{
    const struct value *a = left;
    const struct value *b = right;
    return (a->value > b->value) - (a->value < b->value);
}

static uint32_t number_of(const struct file *file, uint32_t value)
{
    const struct value key = {.value = value};
    const struct value *found =
        bsearch(&key, file->values, file->values_count, sizeof key, by_value);
    return found == NULL ? UNTOLD : (uint32_t)(found - file->values) + 1;
}

static void list_values(struct file *file)
{
    for (uint32_t i = 0; i < file->count; i++) {
        const struct application_op *op = file->calls[i];
        const bool missed = op->outcome == APPLICATION_MISMATCH;
        if (op->call != APPLICATION_WRITE) {
            file->values[file->values_count++] = (struct value){
                .value = op->call == APPLICATION_READ ? op->value : op->expected,
                .found_until = missed ? 0 : op->end,
                .missed_until = missed ? op->end : 0,
            };
            file->missed_until =
                missed ? later(file->missed_until, op->end) : file->missed_until;
        }
    }
    qsort(file->values, file->values_count, sizeof *file->values, by_value);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < file->values_count; i++) {
        const struct value *value = &file->values[i];
        struct value *last = kept == 0 ? NULL : &file->values[kept - 1];
        if (last == NULL || last->value != value->value) {
            file->values[kept++] = *value;
        } else {
            last->found_until = later(last->found_until, value->found_until);
            last->missed_until = later(last->missed_until, value->missed_until);
        }
    }
    file->values_count = kept;
}

/* Whether a call took effect is told by who finds what it leaves, and by who misses
 * what it took away.  0: by nobody. */
static uint64_t matters_until(const struct file *file, uint32_t index)
{
    const uint32_t left = file->left[index];
    const uint32_t expected = file->expected[index];
    const uint64_t found = left == UNTOLD ? 0 : file->values[left - 1].found_until;
    if (file->calls[index]->call == APPLICATION_WRITE) {
        return later(found, file->missed_until);
    }
    return expected == UNTOLD ? 0 : later(found, file->values[expected - 1].missed_until);
}

static struct wgl_op describe(const struct file *file, uint32_t index)
{
    const struct application_op *op = file->calls[index];
    const bool compares = op->call == APPLICATION_CAS;
    const bool observes = op->call == APPLICATION_READ || op->outcome == APPLICATION_MISMATCH;
    const uint64_t expected = compares ? (uint64_t)file->expected[index] + 1 : 0;
    const uint64_t until = is_unknown(op) ? matters_until(file, index) : WGL_NEVER;
    return (struct wgl_op){
        .invoked = op->start,
        .ended = op->end,
        .observes = observes,
        .alike = observes ? 0 : expected << 32 | ((uint64_t)file->left[index] + 1),
        .matters_until = until == WGL_NEVER ? 0 : until,
    };
}

static bool is_of_file(const struct application_op *op)
{
    return op->call == APPLICATION_READ || op->call == APPLICATION_WRITE ||
           op->call == APPLICATION_CAS;
}

/* What was not executed says nothing, nor does a read without an outcome. */
static void select_calls(struct file *file, struct slice slice)
{
    for (uint32_t i = 0; i < slice.count; i++) {
        const struct application_op *op = &slice.ops[i];
        if (is_of_file(op) && op->outcome != APPLICATION_FAILED &&
            !(is_unknown(op) && op->call == APPLICATION_READ)) {
            file->calls[file->count++] = op;
        }
    }
}

/* ... nor does one of which nobody can tell whether it was executed. */
static void drop_untold(struct file *file)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < file->count; i++) {
        const struct application_op *op = file->calls[i];
        file->expected[i] = number_of(file, op->expected);
        file->left[i] = number_of(file, op->value);
        if (!is_unknown(op) || matters_until(file, i) >= op->start) {
            file->calls[kept] = op;
            file->expected[kept] = file->expected[i];
            file->left[kept++] = file->left[i];
        }
    }
    file->count = kept;
}

static void judge_file(struct judge *judge, struct slice slice)
{
    struct file file = {
        .calls = take(slice.count, sizeof(struct application_op *)),
        .expected = take(slice.count, sizeof *file.expected),
        .left = take(slice.count, sizeof *file.left),
        .values = take(slice.count, sizeof *file.values),
    };
    select_calls(&file, slice);
    list_values(&file);
    drop_untold(&file);
    struct wgl_op *ops = take(file.count, sizeof *ops);
    for (uint32_t i = 0; i < file.count; i++) {
        ops[i] = describe(&file, i);
    }
    const struct wgl_model model = {
        .step = step, .context = &file, .first = {.a = number_of(&file, 0)}};
    uint32_t stuck = 0;
    switch (wgl_check(ops, file.count, &model, judge->rules->steps_max, &stuck)) {
    case WGL_LINEARIZABLE:
        break;
    case WGL_VIOLATION:
        accuse(judge, "linearizable", file.calls[stuck], NULL,
               "cannot have happened, whatever the order of the calls beside it");
        break;
    case WGL_UNDECIDED:
        judge->verdict->undecided++;
        break;
    }
    free(ops);
    free(file.values);
    free(file.left);
    free(file.expected);
    free(file.calls);
}

/* ------------------------------------------------------------------- tokens */

static bool is_done(const struct application_op *op, enum application_call call)
{
    return op->call == call && op->outcome == APPLICATION_OK;
}

static int by_end(const void *left, const void *right)
{
    const struct application_op *a = *(const struct application_op *const *)left;
    const struct application_op *b = *(const struct application_op *const *)right;
    if (a->end != b->end) {
        return a->end < b->end ? -1 : 1;
    }
    return (a->line > b->line) - (a->line < b->line);
}

/* Finds two calls of this kind, one before the other, whose tokens `wrong` says
 * don't go together.  Enough to look at the highest token of all that ended. */
static void judge_tokens(struct judge *judge, struct slice slice, enum application_call call,
                         bool (*wrong)(const struct application_op *before,
                                       const struct application_op *after),
                         const char *rule, const char *text)
{
    const struct application_op **ended = take(slice.count, sizeof(struct application_op *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < slice.count; i++) {
        if (is_done(&slice.ops[i], call)) {
            ended[count++] = &slice.ops[i];
        }
    }
    qsort(ended, count, sizeof(struct application_op *), by_end);
    const struct application_op *highest = NULL;
    uint32_t next = 0;
    for (uint32_t i = 0; i < slice.count; i++) {
        const struct application_op *op = &slice.ops[i];
        if (!is_done(op, call)) {
            continue;
        }
        for (; next < count && ended[next]->end < op->start; next++) {
            const bool replaces =
                highest == NULL || ended[next]->token > highest->token ||
                (ended[next]->token == highest->token && !ended[next]->shared);
            highest = replaces ? ended[next] : highest;
        }
        if (highest != NULL && wrong(highest, op)) {
            accuse(judge, rule, highest, op, text);
            break;
        }
    }
    free(ended);
}

static bool is_older_grant(const struct application_op *before,
                           const struct application_op *after)
{
    const bool share = before->shared && after->shared;
    return share ? after->token < before->token : after->token <= before->token;
}

static bool is_older_access(const struct application_op *before,
                            const struct application_op *after)
{
    return after->token < before->token;
}

static int by_token(const void *left, const void *right)
{
    const struct application_op *a = *(const struct application_op *const *)left;
    const struct application_op *b = *(const struct application_op *const *)right;
    if (a->token != b->token) {
        return a->token < b->token ? -1 : 1;
    }
    return (a->line > b->line) - (a->line < b->line);
}

static void judge_writers(struct judge *judge, struct slice slice)
{
    const struct application_op **grants = take(slice.count, sizeof(struct application_op *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < slice.count; i++) {
        if (is_done(&slice.ops[i], APPLICATION_ACQUIRE)) {
            grants[count++] = &slice.ops[i];
        }
    }
    qsort(grants, count, sizeof(struct application_op *), by_token);
    for (uint32_t i = 1; i < count; i++) {
        const bool same = grants[i]->token == grants[i - 1]->token;
        if (same && !(grants[i]->shared && grants[i - 1]->shared)) {
            accuse(judge, "one-writer", grants[i - 1], grants[i],
                   "both were granted under the same token");
            break;
        }
    }
    free(grants);
}

/* ------------------------------------------------------------------ overlap */

static void judge_overlap(struct judge *judge, struct slice slice)
{
    /* Who holds longest, of writers and of readers, so far. */
    const struct application_op *last[2] = {NULL, NULL};
    for (uint32_t i = 0; i < slice.count; i++) {
        const struct application_op *op = &slice.ops[i];
        if (!is_done(op, APPLICATION_HOLD)) {
            continue;
        }
        for (unsigned shared = 0; shared < 2; shared++) {
            const struct application_op *other = last[shared];
            const bool excludes = !op->shared || shared == 0;
            if (excludes && other != NULL && other->end > op->start) {
                accuse(judge, "overlap", other, op, "both believed to hold it at one time");
                return;
            }
        }
        const struct application_op **longest = &last[op->shared];
        *longest = *longest == NULL || op->end > (*longest)->end ? op : *longest;
    }
}

/* --------------------------------------------------------------------- all */

static void judge_name(struct judge *judge, struct slice slice)
{
    judge->verdict->names++;
    judge_file(judge, slice);
    judge_tokens(judge, slice, APPLICATION_ACQUIRE, is_older_grant, "token-order",
                 "the later grant does not have the higher token");
    judge_writers(judge, slice);
    judge_tokens(judge, slice, APPLICATION_ACCESS, is_older_access, "fenced",
                 "the later access was accepted with the lower token");
    if (judge->rules->overlap) {
        judge_overlap(judge, slice);
    }
}

void application_check(struct application_op *ops, uint32_t count,
                       const struct application_rules *rules,
                       void (*tell)(void *context,
                                    const struct application_violation *violation),
                       void *context, struct application_verdict *ret_verdict)
{
    *ret_verdict = (struct application_verdict){0};
    struct judge judge = {
        .rules = rules, .tell = tell, .context = context, .verdict = ret_verdict};
    if (count > 0) {
        qsort(ops, count, sizeof *ops, by_name_and_start);
    }
    for (uint32_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && strcmp(ops[first].name, ops[end].name) == 0;) {
            end++;
        }
        judge_name(&judge, (struct slice){.ops = &ops[first], .count = end - first});
    }
}
