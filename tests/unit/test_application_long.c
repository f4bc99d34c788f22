/* SPDX-License-Identifier: Apache-2.0
 *
 * Long histories of one busy name are decided: good ones, and ones with a single lie
 * in them, wherever it stands, with calls of which nobody knows what came of them.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "paxos/base/rng.h"
#include "tools/check/application.h"

enum {
    LONG = 50 * 1000,
    CLIENTS = 12,
    TICK = 10,  /* Between two calls that take effect. */
    LATE = 500, /* So many calls later one takes effect of which nobody knows. */
    STEPS_MAX = 200 * 1000 * 1000, /* As lockcheck has it. */
    NEVER_WRITTEN = 1000 * 1000,
};

/* What is done to the name. */
enum kind {
    COUNTER,  /* Clients read and then count up, with compare-and-set. */
    REGISTER, /* They write what nobody else writes, and read. */
    FLAG,     /* All of it, with three values. */
};

struct workload {
    enum kind kind;
    uint64_t spread;         /* How long before and after its effect a call may last. */
    uint64_t unknown_one_in; /* So many calls. */
    struct rng rng;
    uint32_t value; /* What is there now. */
    uint32_t seen[CLIENTS];
    uint64_t free_at[CLIENTS];
    struct application_op late; /* Of which nobody knows; it still will. */
    bool has_late;
};

static enum application_call any_call(struct workload *w)
{
    static const enum application_call counts[] = {APPLICATION_READ, APPLICATION_CAS};
    static const enum application_call writes[] = {APPLICATION_READ, APPLICATION_WRITE};
    static const enum application_call all[] = {APPLICATION_READ, APPLICATION_WRITE,
                                                APPLICATION_CAS};
    return w->kind == COUNTER    ? counts[rng_below(&w->rng, 2)]
           : w->kind == REGISTER ? writes[rng_below(&w->rng, 2)]
                                 : all[rng_below(&w->rng, 3)];
}

static void take_effect(struct workload *w, struct application_op *op, uint32_t client)
{
    if (op->call == APPLICATION_READ) {
        op->value = w->value;
        w->seen[client] = w->value;
    } else if (op->call == APPLICATION_CAS && op->expected != w->value) {
        op->outcome = APPLICATION_MISMATCH;
    } else {
        w->value = op->value;
    }
}

/* Nobody hears of it: it takes effect now, or later, or not at all. */
static void become_unknown(struct workload *w, struct application_op *op, uint32_t client)
{
    const uint64_t when = rng_below(&w->rng, 3);
    if (when == 0) {
        take_effect(w, op, client);
    } else if (when == 1) {
        w->late = *op;
        w->has_late = true;
    }
    op->outcome = APPLICATION_UNKNOWN;
    op->end = APPLICATION_NEVER;
}

static struct application_op next_op(struct workload *w, uint32_t i)
{
    const uint64_t now = w->spread + TICK * (uint64_t)i;
    const uint32_t client = (uint32_t)rng_below(&w->rng, CLIENTS);
    const uint64_t begin = now - rng_below(&w->rng, w->spread);
    struct application_op op = {
        .call = any_call(w),
        .start = w->free_at[client] > begin ? w->free_at[client] : begin,
        .name = "x",
        .value = w->kind == COUNTER    ? w->seen[client] + 1
                 : w->kind == REGISTER ? i + 1
                                       : (uint32_t)rng_below(&w->rng, 3),
        .expected = w->kind == COUNTER ? w->seen[client] : (uint32_t)rng_below(&w->rng, 3),
        .line = i + 1,
    };
    op.start = op.start < now ? op.start : now;
    op.end = now + rng_below(&w->rng, w->spread);
    if (w->has_late && i % LATE == 0) {
        take_effect(w, &w->late, client);
        w->has_late = false;
    }
    if (rng_below(&w->rng, w->unknown_one_in) == 0) {
        become_unknown(w, &op, client);
    } else {
        take_effect(w, &op, client);
    }
    w->free_at[client] = op.end == APPLICATION_NEVER ? now : op.end;
    return op;
}

/* With a few values nothing but the clock says what came first, and whatever nobody
 * knows of may have written any of them: fewer are under way at a time, or unknown. */
static void make_history(struct application_op *ops, enum kind kind)
{
    static const uint64_t unknown_one_in[] = {[COUNTER] = 20, [REGISTER] = 5, [FLAG] = 5000};
    struct workload w = {.kind = kind,
                         .spread = TICK * (kind == FLAG ? 3 : CLIENTS),
                         .unknown_one_in = unknown_one_in[kind],
                         .rng = {.state = 17}};
    for (uint32_t i = 0; i < LONG; i++) {
        ops[i] = next_op(&w, i);
    }
}

/* The first read from here on sees what was there long before or after, or never;
 * returns its line. */
static uint32_t lie(struct application_op *ops, enum kind kind, uint32_t from)
{
    while (ops[from].call != APPLICATION_READ || ops[from].outcome != APPLICATION_OK) {
        from++;
    }
    ops[from].value = kind == FLAG ? NEVER_WRITTEN : ops[(from + LONG / 2) % LONG].value;
    return ops[from].line;
}

/* Which line is accused. */
static void keep_line(void *context, const struct application_violation *violation)
{
    assert_string_equal(violation->rule, "linearizable");
    assert_int_equal(sscanf(violation->text, "x: line %" SCNu32, (uint32_t *)context), 1);
}

/* The accused line; 0: nothing is wrong. */
static uint32_t judge(const struct application_op *history)
{
    static struct application_op ops[LONG];
    const struct application_rules rules = {.steps_max = STEPS_MAX};
    struct application_verdict verdict;
    uint32_t line = 0;
    memcpy(ops, history, sizeof ops);
    application_check(ops, LONG, &rules, keep_line, &line, &verdict);
    assert_int_equal(verdict.undecided, 0);
    assert_int_equal(verdict.violations, line > 0);
    return line;
}

static void decide(enum kind kind)
{
    static struct application_op good[LONG], bad[LONG];
    static const uint32_t places[] = {0, LONG / 3, LONG - 100};
    make_history(good, kind);
    assert_int_equal(judge(good), 0);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        memcpy(bad, good, sizeof bad);
        const uint32_t line = lie(bad, kind, places[i]);
        assert_int_equal(judge(bad), line);
    }
}

static void test_counter(void **state)
{
    (void)state;
    decide(COUNTER);
}

static void test_register(void **state)
{
    (void)state;
    decide(REGISTER);
}

static void test_flag(void **state)
{
    (void)state;
    decide(FLAG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter),
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_flag),
    };
    return cmocka_run_group_tests_name("application_long", tests, NULL, NULL);
}
