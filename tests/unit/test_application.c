/* SPDX-License-Identifier: Apache-2.0
 *
 * The judges that know nothing of the log, judged: bad histories made by hand, good
 * ones that look bad, and random ones against a search through all orders.
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
#include "tools/check/wgl.h"

enum { OPS_MAX = 8, STEPS_MAX = 1000 * 1000 };

/* ------------------------------------------------------------------- by hand */

#define READ(v, from, to)                                                                      \
    {                                                                                          \
        APPLICATION_READ, APPLICATION_OK, from, to, "x", .value = (v)                          \
    }
#define WRITE(v, from, to)                                                                     \
    {                                                                                          \
        APPLICATION_WRITE, APPLICATION_OK, from, to, "x", .value = (v)                         \
    }
#define CAS(e, v, from, to)                                                                    \
    {                                                                                          \
        APPLICATION_CAS, APPLICATION_OK, from, to, "x", .value = (v), .expected = (e)          \
    }
#define MISS(e, v, from, to)                                                                   \
    {                                                                                          \
        APPLICATION_CAS, APPLICATION_MISMATCH, from, to, "x", .value = (v), .expected = (e)    \
    }
#define MAYBE_WRITE(v, from)                                                                   \
    {                                                                                          \
        APPLICATION_WRITE, APPLICATION_UNKNOWN, from, APPLICATION_NEVER, "x", .value = (v)     \
    }
#define MAYBE_CAS(e, v, from)                                                                  \
    {                                                                                          \
        APPLICATION_CAS, APPLICATION_UNKNOWN, from, APPLICATION_NEVER, "x", .value = (v),      \
                                                                            .expected = (e)    \
    }
#define FAILED_WRITE(v, from, to)                                                              \
    {                                                                                          \
        APPLICATION_WRITE, APPLICATION_FAILED, from, to, "x", .value = (v)                     \
    }
#define GRANT(t, from, to)                                                                     \
    {                                                                                          \
        APPLICATION_ACQUIRE, APPLICATION_OK, from, to, "l", .token = (t)                       \
    }
#define SHARE(t, from, to)                                                                     \
    {                                                                                          \
        APPLICATION_ACQUIRE, APPLICATION_OK, from, to, "l", .token = (t), .shared = true       \
    }
#define HOLD(from, to)                                                                         \
    {                                                                                          \
        APPLICATION_HOLD, APPLICATION_OK, from, to, "l", .shared = false                       \
    }
#define HOLD_SHARED(from, to)                                                                  \
    {                                                                                          \
        APPLICATION_HOLD, APPLICATION_OK, from, to, "l", .shared = true                        \
    }
#define ACCESS(t, from, to)                                                                    \
    {                                                                                          \
        APPLICATION_ACCESS, APPLICATION_OK, from, to, "l", .token = (t)                        \
    }
#define REFUSED(t, from, to)                                                                   \
    {                                                                                          \
        APPLICATION_ACCESS, APPLICATION_MISMATCH, from, to, "l", .token = (t)                  \
    }

struct story {
    const char *rule; /* NULL: nothing is wrong. */
    struct application_op ops[OPS_MAX];
};

static const struct story stories[] = {
    /* What must be noticed. */
    {"linearizable", {READ(1, 1, 2)}},
    {"linearizable", {WRITE(1, 1, 2), READ(0, 3, 4)}},
    {"linearizable", {WRITE(1, 1, 2), READ(2, 3, 4)}},
    {"linearizable", {WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6)}},
    {"linearizable", {WRITE(1, 1, 9), READ(1, 2, 3), READ(0, 4, 5)}},
    {"linearizable", {WRITE(1, 1, 2), WRITE(2, 3, 9), READ(2, 4, 5), READ(1, 6, 7)}},
    {"linearizable", {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(1, 10, 11), READ(2, 12, 13)}},
    {"linearizable",
     {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(1, 2, 3), READ(2, 4, 5), READ(1, 6, 7)}},
    {"linearizable", {CAS(1, 2, 1, 2)}},
    {"linearizable", {WRITE(1, 1, 2), CAS(2, 3, 3, 4)}},
    {"linearizable", {WRITE(1, 1, 2), CAS(1, 2, 3, 4), CAS(1, 3, 5, 6)}},
    {"linearizable", {WRITE(1, 1, 2), CAS(1, 2, 3, 9), CAS(1, 3, 3, 9)}},
    {"linearizable", {WRITE(1, 1, 2), MISS(1, 2, 3, 4)}},
    {"linearizable", {WRITE(1, 1, 2), MISS(2, 3, 3, 4), READ(3, 5, 6)}},
    {"linearizable", {FAILED_WRITE(1, 1, 2), READ(1, 3, 4)}},
    {"linearizable", {WRITE(1, 1, 2), FAILED_WRITE(2, 3, 4), READ(2, 5, 6)}},
    {"linearizable", {READ(1, 1, 2), MAYBE_WRITE(1, 3)}},
    {"linearizable", {MAYBE_WRITE(1, 1), READ(1, 3, 4), READ(0, 5, 6)}},
    {"linearizable", {MAYBE_WRITE(1, 1), READ(1, 3, 4), READ(0, 5, 6), READ(1, 7, 8)}},
    {"linearizable", {WRITE(1, 1, 2), MAYBE_CAS(2, 3, 3), READ(3, 5, 6)}},
    {"linearizable", {WRITE(1, 1, 2), WRITE(0, 3, 4), READ(1, 5, 6)}},
    {"linearizable", {WRITE(1, 1, 2), READ(1, 3, 20), WRITE(2, 4, 5), READ(1, 6, 7)}},
    {"token-order", {GRANT(5, 1, 2), GRANT(4, 3, 4)}},
    {"token-order", {GRANT(5, 1, 2), GRANT(7, 1, 9), GRANT(4, 3, 4)}},
    {"token-order", {SHARE(5, 1, 2), SHARE(4, 3, 4)}},
    {"several", {GRANT(5, 1, 2), SHARE(5, 3, 4)}},
    {"token-order", {GRANT(3, 1, 2), GRANT(9, 1, 2), GRANT(8, 3, 4)}},
    {"one-writer", {GRANT(5, 1, 4), GRANT(5, 2, 3)}},
    {"one-writer", {SHARE(5, 1, 4), GRANT(5, 2, 3)}},
    {"fenced", {ACCESS(5, 1, 2), ACCESS(4, 3, 4)}},
    {"fenced", {ACCESS(5, 1, 2), ACCESS(6, 3, 4), ACCESS(5, 5, 6)}},
    {"fenced", {ACCESS(5, 1, 9), ACCESS(7, 2, 3), ACCESS(6, 4, 5)}},
    {"overlap", {HOLD(1, 5), HOLD(4, 6)}},
    {"overlap", {HOLD(1, 9), HOLD_SHARED(4, 6)}},
    {"overlap", {HOLD_SHARED(1, 9), HOLD_SHARED(2, 3), HOLD(8, 10)}},
    {"overlap", {HOLD_SHARED(1, 3), HOLD(2, 9)}},

    /* What must not. */
    {NULL, {READ(0, 1, 2)}},
    {NULL, {WRITE(1, 1, 2), READ(1, 3, 4)}},
    {NULL, {WRITE(1, 1, 9), READ(0, 2, 3), READ(1, 4, 5)}},
    {NULL, {WRITE(1, 1, 5), READ(0, 5, 6)}}, /* Who touches is beside. */
    {NULL, {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(1, 10, 11)}},
    {NULL, {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(2, 10, 11)}},
    {NULL, {MAYBE_WRITE(1, 1), READ(0, 3, 4), READ(1, 5, 6), READ(1, 7, 8)}},
    {NULL, {MAYBE_WRITE(1, 1), READ(0, 3, 4)}},
    {NULL, {WRITE(1, 1, 2), MAYBE_CAS(1, 2, 3), READ(1, 5, 6), READ(2, 7, 8)}},
    {NULL, {WRITE(1, 1, 2), CAS(1, 2, 3, 9), MISS(1, 3, 3, 9), READ(2, 10, 11)}},
    {NULL, {FAILED_WRITE(1, 1, 2), READ(0, 3, 4)}},
    {NULL, {WRITE(1, 1, 2), WRITE(0, 3, 4), READ(0, 5, 6)}},
    {NULL, {GRANT(4, 1, 9), GRANT(5, 2, 3), GRANT(6, 10, 11)}},
    {NULL, {SHARE(5, 1, 2), SHARE(5, 3, 4), GRANT(6, 5, 6)}},
    {NULL, {ACCESS(5, 1, 2), ACCESS(5, 3, 4), REFUSED(4, 5, 6), ACCESS(6, 7, 8)}},
    {NULL, {ACCESS(5, 1, 9), ACCESS(6, 2, 3)}},
    {NULL, {HOLD(1, 5), HOLD(5, 9), HOLD_SHARED(9, 12), HOLD_SHARED(10, 11)}},
};

static void keep_rule(void *context, const struct application_violation *violation)
{
    const char **rule = context;
    *rule = *rule == NULL ? violation->rule : "several";
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        struct application_op ops[OPS_MAX];
        uint32_t count = 0;
        for (; count < OPS_MAX && stories[i].ops[count].name != NULL; count++) {
            ops[count] = stories[i].ops[count];
            ops[count].line = count + 1;
        }
        const struct application_rules rules = {.steps_max = STEPS_MAX, .overlap = true};
        struct application_verdict verdict;
        const char *rule = NULL;
        application_check(ops, count, &rules, keep_rule, &rule, &verdict);
        const bool same = rule == NULL
                              ? stories[i].rule == NULL
                              : stories[i].rule != NULL && strcmp(rule, stories[i].rule) == 0;
        if (!same) {
            print_error("story %zu is judged %s\n", i, rule == NULL ? "good" : rule);
        }
        assert_true(same);
        assert_int_equal(verdict.undecided, 0);
    }
}

/* -------------------------------------------------------------- all the orders */

struct trial {
    uint32_t count;
    struct application_op ops[OPS_MAX];
};

static bool take_effect(const struct application_op *op, uint64_t *value)
{
    const bool unknown = op->outcome == APPLICATION_UNKNOWN;
    if (op->call == APPLICATION_READ) {
        return unknown || *value == op->value;
    }
    if (op->call == APPLICATION_WRITE) {
        *value = op->value;
        return true;
    }
    const bool match = *value == op->expected;
    if (match) {
        *value = op->value;
    }
    return unknown || match == (op->outcome == APPLICATION_OK);
}

/* Tries every order; one of unknown outcome may also be left out. */
static bool has_order(const struct trial *t, uint32_t placed, uint64_t value)
{
    bool done = true;
    for (uint32_t i = 0; i < t->count; i++) {
        if ((placed >> i & 1) != 0) {
            continue;
        }
        done = done && t->ops[i].outcome == APPLICATION_UNKNOWN;
        bool first = true;
        for (uint32_t k = 0; k < t->count; k++) {
            first = first && ((placed >> k & 1) != 0 || t->ops[k].end >= t->ops[i].start);
        }
        uint64_t next = value;
        if (first && take_effect(&t->ops[i], &next) &&
            has_order(t, placed | UINT32_C(1) << i, next)) {
            return true;
        }
    }
    return done;
}

static struct trial random_trial(struct rng *rng, uint64_t unknown_one_in)
{
    struct trial t = {.count = (uint32_t)rng_between(rng, 1, 7)};
    for (uint32_t i = 0; i < t.count; i++) {
        struct application_op *op = &t.ops[i];
        op->call = (enum application_call)rng_between(rng, APPLICATION_READ, APPLICATION_CAS);
        op->start = 1 + rng_below(rng, 12);
        op->end = op->start + rng_below(rng, 6);
        op->value = (uint32_t)rng_below(rng, 4);
        op->expected = (uint32_t)rng_below(rng, 3);
        op->name = "x";
        op->line = i + 1;
        if (op->call == APPLICATION_CAS && rng_below(rng, 3) == 0) {
            op->outcome = APPLICATION_MISMATCH;
        } else if (rng_below(rng, unknown_one_in) == 0) {
            op->outcome = APPLICATION_UNKNOWN;
            op->end = APPLICATION_NEVER;
        }
    }
    return t;
}

/* What was known when so much time had passed: what ended later may have been anything. */
static struct trial known_at(const struct trial *t, uint64_t time)
{
    struct trial known = {.count = 0};
    for (uint32_t i = 0; i < t->count; i++) {
        struct application_op op = t->ops[i];
        const bool writes = op.call != APPLICATION_READ && op.outcome != APPLICATION_MISMATCH;
        if (op.end > time) {
            op.outcome = APPLICATION_UNKNOWN;
            op.end = APPLICATION_NEVER;
        }
        if (op.start <= time && (writes || op.outcome != APPLICATION_UNKNOWN)) {
            known.ops[known.count++] = op;
        }
    }
    return known;
}

struct accusal {
    const char *rule; /* NULL: none. */
    uint32_t line;
};

static void keep_accusal(void *context, const struct application_violation *violation)
{
    struct accusal *accusal = context;
    accusal->rule = violation->rule;
    assert_int_equal(sscanf(violation->text, "x: line %" SCNu32, &accusal->line), 1);
}

/* Until it ended all could be explained, and no longer then. */
static void check_accused(const struct trial *t, uint32_t line)
{
    const uint64_t end = t->ops[line - 1].end;
    const struct trial before = known_at(t, end - 1);
    const struct trial then = known_at(t, end);
    assert_true(has_order(&before, 0, 0));
    assert_false(has_order(&then, 0, 0));
}

static void test_against_all_orders(void **state)
{
    (void)state;
    struct rng rng = {.state = 1993};
    uint32_t good = 0;
    enum { TRIALS = 40000 };
    for (uint32_t i = 0; i < TRIALS; i++) {
        const struct trial t = random_trial(&rng, /* unknown_one_in= */ i % 2 == 0 ? 6 : 2);
        struct trial sorted = t;
        const bool expected = has_order(&t, 0, 0);
        const struct application_rules rules = {.steps_max = STEPS_MAX};
        struct application_verdict verdict;
        struct accusal accusal = {.rule = NULL};
        application_check(sorted.ops, t.count, &rules, keep_accusal, &accusal, &verdict);
        assert_int_equal(verdict.undecided, 0);
        assert_int_equal(accusal.rule == NULL, expected);
        if (!expected) {
            check_accused(&t, accusal.line);
        }
        good += expected;
    }
    assert_in_range(good, TRIALS / 10, TRIALS * 9 / 10); /* Both kinds, and many of each. */
}

/* A long history of many clients is decided, and one wrong read in it is found. */
static void test_long(void **state)
{
    (void)state;
    enum { LONG = 2000, CLIENTS = 12 };
    static struct application_op ops[LONG], copy[LONG];
    struct rng rng = {.state = 7};
    uint64_t free_at[CLIENTS] = {0};
    uint32_t value = 0;
    for (uint32_t i = 0; i < LONG; i++) {
        const uint64_t now = 10 * (i + 1); /* It takes effect here. */
        const uint32_t client = (uint32_t)rng_below(&rng, CLIENTS);
        const uint64_t earliest = free_at[client] > now ? now : free_at[client];
        ops[i] = (struct application_op){
            .call = rng_below(&rng, 2) == 0 ? APPLICATION_WRITE : APPLICATION_READ,
            .start = now > earliest + 60 ? now - 60 : earliest,
            .end = now + rng_below(&rng, 60),
            .name = "x",
            .line = i + 1,
        };
        value = ops[i].call == APPLICATION_WRITE ? i + 1 : value;
        ops[i].value = value;
        free_at[client] = ops[i].end;
    }
    const struct application_rules rules = {.steps_max = 10 * STEPS_MAX};
    struct application_verdict verdict;
    const char *rule = NULL;
    memcpy(copy, ops, sizeof ops);
    application_check(copy, LONG, &rules, keep_rule, &rule, &verdict);
    assert_null(rule);
    assert_int_equal(verdict.undecided, 0);

    for (uint32_t i = LONG - 100; i < LONG; i++) {
        if (ops[i].call == APPLICATION_READ) {
            ops[i].value = ops[LONG / 2].value; /* Long gone. */
            break;
        }
    }
    application_check(ops, LONG, &rules, keep_rule, &rule, &verdict);
    assert_non_null(rule);
}

static void test_gives_up(void **state)
{
    (void)state;
    struct application_op ops[] = {WRITE(1, 1, 2), WRITE(2, 3, 4), READ(2, 5, 6)};
    const struct application_rules rules = {.steps_max = 1};
    struct application_verdict verdict;
    const char *rule = NULL;
    application_check(ops, 3, &rules, keep_rule, &rule, &verdict);
    assert_null(rule);
    assert_int_equal(verdict.undecided, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_against_all_orders),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_gives_up),
    };
    return cmocka_run_group_tests_name("application", tests, NULL, NULL);
}
