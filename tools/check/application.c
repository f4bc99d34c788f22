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

/* The state is the value, in `a`. */
static bool step(const void *context, uint32_t index, const struct wgl_state *state,
                 struct wgl_state *ret_state)
{
    const struct application_op *op = ((const struct application_op *const *)context)[index];
    const bool unknown = op->outcome == APPLICATION_UNKNOWN;
    *ret_state = *state;
    switch (op->call) {
    case APPLICATION_READ:
        return unknown || state->a == op->value;
    case APPLICATION_WRITE:
        ret_state->a = op->value;
        return true;
    case APPLICATION_CAS:
        if (state->a == op->expected) {
            ret_state->a = op->value;
            return op->outcome != APPLICATION_MISMATCH;
        }
        return unknown || op->outcome == APPLICATION_MISMATCH;
    case APPLICATION_ACQUIRE:
    case APPLICATION_HOLD:
    case APPLICATION_ACCESS:
        break;
    }
    assert(/* of a file */ false);
    return false;
}

static bool is_of_file(const struct application_op *op)
{
    return op->call == APPLICATION_READ || op->call == APPLICATION_WRITE ||
           op->call == APPLICATION_CAS;
}

static void judge_file(struct judge *judge, struct slice slice)
{
    const struct application_op **calls = take(slice.count, sizeof(struct application_op *));
    struct wgl_op *ops = take(slice.count, sizeof *ops);
    uint32_t count = 0;
    for (uint32_t i = 0; i < slice.count; i++) {
        const struct application_op *op = &slice.ops[i];
        /* A read without an outcome says nothing. */
        const bool silent =
            op->outcome == APPLICATION_FAILED ||
            (op->outcome == APPLICATION_UNKNOWN && op->call == APPLICATION_READ);
        if (is_of_file(op) && !silent) {
            calls[count] = op;
            ops[count++] = (struct wgl_op){
                .invoked = op->start,
                .ended = op->end,
                .observes = op->call == APPLICATION_READ || op->outcome == APPLICATION_MISMATCH,
            };
        }
    }
    const struct wgl_model model = {.step = step, .context = calls};
    uint32_t stuck = 0;
    switch (wgl_check(ops, count, &model, judge->rules->steps_max, &stuck)) {
    case WGL_LINEARIZABLE:
        break;
    case WGL_VIOLATION:
        accuse(judge, "linearizable", calls[stuck], NULL,
               "cannot have happened, whatever the order of the calls beside it");
        break;
    case WGL_UNDECIDED:
        judge->verdict->undecided++;
        break;
    }
    free(ops);
    free(calls);
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
