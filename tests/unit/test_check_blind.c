/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge that looks at no index, judged: lies that keep the indices consistent,
 * and both judges of files against a search through all orders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "paxos/base/rng.h"
#include "tools/check/check_blind.h"
#include "tools/check/model.h"

enum { OPS_MAX = 7, EPOCH = 1, STEP_US = 10, TRIALS = 4000 };

static const struct check_blind_rules rules = {.steps_max = 1000 * 1000};

/* Distinct, as the content of all writes has to be. */
static const char *const contents[] = {"zero", "one", "two", "three", "four", "five", "six"};

struct trial {
    struct history h;
    bool executed[OPS_MAX]; /* By op, from 0. */
};

/* --------------------------------------------------------------- true histories */

static struct history_request any_request(struct rng *rng, uint32_t op)
{
    static const enum history_type types[] = {HISTORY_PUT,    HISTORY_PUT,   HISTORY_PUT,
                                              HISTORY_GET,    HISTORY_GET,   HISTORY_STAT,
                                              HISTORY_CREATE, HISTORY_DELETE};
    struct history_request request = {.type = types[rng_below(rng, 8)],
                                      .path = bytes_of("x", 1),
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    if (request.type == HISTORY_CREATE) {
        request.kind = rng_below(rng, 5) == 0 ? LEASE_DIRECTORY : LEASE_FILE;
    }
    if (request.type == HISTORY_PUT || request.kind == LEASE_FILE) {
        request.content = bytes_of(contents[op], strlen(contents[op]));
    }
    if (request.type == HISTORY_PUT && rng_below(rng, 3) == 0) {
        request.if_generation = rng_below(rng, 3);
    }
    return request;
}

/* Op number `i` + 1 takes effect at its own time, in the order of the log. */
static void add_op(struct trial *t, struct model *m, struct rng *rng, uint32_t i)
{
    const uint64_t now_us = STEP_US * (i + 3);
    struct history_op op = {.invoked_us = now_us - rng_below(rng, 2 * STEP_US),
                            .ended_us = now_us + rng_below(rng, 2 * STEP_US),
                            .connection = i + 1,
                            .outcome = HISTORY_ANSWERED,
                            .request = any_request(rng, i)};
    const bool writes = history_writes(op.request.type);
    const bool unknown = rng_below(rng, 6) == 0;
    t->executed[i] = !unknown || rng_below(rng, 2) == 0;
    if (unknown) {
        op.outcome = HISTORY_UNKNOWN;
        op.ended_us = HISTORY_NEVER;
    }
    if (writes && t->executed[i]) {
        const struct history_entry entry = {
            .index = {.slot = t->h.log_count + 1, .position = 1},
            .epoch = EPOCH,
            .op = i + 1,
            .request = op.request};
        history_entry_add(&t->h, &entry);
    }
    if (t->executed[i]) {
        struct history_result result;
        model_execute(m, &op.request, 0, &result);
        result.epoch = EPOCH;
        result.index = t->h.log[t->h.log_count - 1].index;
        op.result = unknown ? (struct history_result){.rc = LEASE_OK} : result;
    }
    history_op_add(&t->h, &op);
}

static void make_trial(struct trial *t, struct rng *rng)
{
    *t = (struct trial){.h = {.ops = NULL}};
    const struct history_entry first = {
        .index = {.slot = 1}, .epoch = EPOCH, .self_made = true};
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    history_entry_add(&t->h, &first);
    model_start(&m, &limits);
    const uint32_t count = (uint32_t)rng_between(rng, 2, OPS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        add_op(t, &m, rng, i);
    }
    model_free(&m);
}

/* ------------------------------------------------------------------------- lies */

/* Two answers of one type change places, with all that they say of where. */
static void swap_results(struct history_op *a, struct history_op *b)
{
    if (a->outcome == HISTORY_ANSWERED && b->outcome == HISTORY_ANSWERED &&
        a->request.type == b->request.type) {
        const struct history_result kept = a->result;
        a->result = b->result;
        b->result = kept;
    }
}

static void lie(struct history *h, struct rng *rng)
{
    static const enum lease_rc codes[] = {LEASE_OK, LEASE_NO_NODE, LEASE_EXISTS,
                                          LEASE_NOT_A_FILE};
    struct history_op *op = &h->ops[rng_below(rng, h->ops_count)];
    struct history_op *other = &h->ops[rng_below(rng, h->ops_count)];
    switch (rng_below(rng, 5)) {
    case 0:
        op->result.stat.content_generation += rng_below(rng, 2) == 0 ? 1 : UINT64_MAX;
        break;
    case 1:
        op->result.created = !op->result.created;
        break;
    case 2:
        op->result.rc = codes[rng_below(rng, 4)];
        break;
    case 3:
        if (op->outcome == HISTORY_ANSWERED) { /* It took less time than one would think. */
            op->invoked_us = op->ended_us;
        }
        break;
    default:
        swap_results(op, other);
        break;
    }
}

/* --------------------------------------------------------------- all the orders */

static bool same_stat(const struct lease_stat *a, const struct lease_stat *b)
{
    return a->kind == b->kind && a->size == b->size && a->checksum == b->checksum &&
           a->content_generation == b->content_generation;
}

/* All that a client can see but where and when. */
static bool same_answer(const struct history_op *op, const struct history_result *expected)
{
    const struct history_result *result = &op->result;
    if (result->rc != expected->rc) {
        return false;
    }
    if (result->rc == LEASE_OK && op->request.type != HISTORY_DELETE) {
        return (op->request.type != HISTORY_PUT || result->created == expected->created) &&
               bytes_equal(result->content, expected->content) &&
               same_stat(&result->stat, &expected->stat);
    }
    return result->rc != LEASE_CONFLICT || same_stat(&result->stat, &expected->stat);
}

/* Does the model, run over this order, give the last answer? */
static bool explains(const struct history *h, const uint32_t *order, uint32_t count)
{
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    struct history_result result = {.rc = LEASE_OK};
    model_start(&m, &limits);
    for (uint32_t i = 0; i < count; i++) {
        model_execute(&m, &h->ops[order[i]].request, 0, &result);
    }
    const struct history_op *last = &h->ops[order[count - 1]];
    const bool good = last->outcome == HISTORY_UNKNOWN || same_answer(last, &result);
    model_free(&m);
    return good;
}

static bool has_order(const struct history *h, uint32_t *order, uint32_t count)
{
    uint32_t placed = 0;
    for (uint32_t i = 0; i < count; i++) {
        placed |= UINT32_C(1) << order[i];
    }
    bool done = true;
    for (uint32_t i = 0; i < h->ops_count; i++) {
        if ((placed >> i & 1) != 0) {
            continue;
        }
        done = done && h->ops[i].outcome == HISTORY_UNKNOWN;
        bool first = true;
        for (uint32_t k = 0; k < h->ops_count; k++) {
            first =
                first && ((placed >> k & 1) != 0 || h->ops[k].ended_us >= h->ops[i].invoked_us);
        }
        order[count] = i;
        if (first && explains(h, order, count + 1) && has_order(h, order, count + 1)) {
            return true;
        }
    }
    return done;
}

/* Without instances, of which one judge knows more than the other. */
static void forget_instances(struct history *h)
{
    for (uint32_t i = 0; i < h->ops_count; i++) {
        h->ops[i].result.stat.instance = 0;
    }
}

static void test_against_all_orders(void **state)
{
    (void)state;
    struct rng rng = {.state = 1987};
    uint32_t good = 0;
    uint32_t bad_by_index = 0;
    for (uint32_t i = 0; i < TRIALS; i++) {
        struct trial t;
        make_trial(&t, &rng);
        const bool lies = rng_below(&rng, 3) > 0;
        if (lies) {
            lie(&t.h, &rng);
        }
        uint32_t order[OPS_MAX];
        struct check_violation violation;
        struct check_blind_counts counts = {0};
        const bool by_index = history_check(&t.h, &violation);
        forget_instances(&t.h);
        const bool expected = has_order(&t.h, order, 0);
        const bool blind = history_check_blind(&t.h, &rules, &counts, &violation);
        if (blind != expected) {
            fail_msg("trial %u: %s", i, blind ? "accepted" : violation.text);
        }
        assert_int_equal(counts.undecided, 0);
        if (by_index) {
            assert_true(expected); /* The order that it was told is one. */
        }
        assert_true(lies || by_index);
        good += expected;
        bad_by_index += !by_index;
        history_free(&t.h);
    }
    assert_in_range(good, TRIALS / 10, TRIALS * 9 / 10);
    assert_in_range(bad_by_index, TRIALS / 10, TRIALS * 9 / 10);
}

/* ---------------------------------------------------------------------- by hand */

static uint32_t add(struct history *h, enum history_type type, const char *content,
                    uint64_t from, const struct history_result *result)
{
    const struct history_op op = {
        .invoked_us = from,
        .ended_us = from + 1,
        .connection = from,
        .outcome = HISTORY_ANSWERED,
        .request = {.type = type,
                    .path = bytes_of("x", 1),
                    .content = bytes_of(content, strlen(content)),
                    .if_generation = HISTORY_ANY,
                    .if_instance = HISTORY_ANY},
        .result = *result,
    };
    return history_op_add(h, &op);
}

static void execute(struct history *h, struct model *m, uint32_t op, enum history_type type,
                    const char *content, struct history_result *ret_result)
{
    const struct history_request request = {.type = type,
                                            .path = bytes_of("x", 1),
                                            .content = bytes_of(content, strlen(content)),
                                            .if_generation = HISTORY_ANY,
                                            .if_instance = HISTORY_ANY};
    model_execute(m, &request, 0, ret_result);
    ret_result->epoch = EPOCH;
    if (history_writes(type)) {
        const struct history_entry entry = {
            .index = {.slot = h->log_count + 1, .position = 1},
            .epoch = EPOCH,
            .op = op,
            .request = request,
        };
        history_entry_add(h, &entry);
    }
    ret_result->index = h->log[h->log_count - 1].index;
}

/* A cell puts the old content back by itself, into its log as well: each answer is
 * what the log gives where it says, and nobody ever asked for it. */
static void test_lying_log(void **state)
{
    (void)state;
    struct history h = {.ops = NULL};
    const struct history_entry first = {
        .index = {.slot = 1}, .epoch = EPOCH, .self_made = true};
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    struct history_result result;
    struct check_violation violation = {.rule = "none"};
    struct check_blind_counts counts = {0};
    history_entry_add(&h, &first);
    model_start(&m, &limits);
    execute(&h, &m, 1, HISTORY_PUT, "one", &result);
    add(&h, HISTORY_PUT, "one", 10, &result);
    execute(&h, &m, 2, HISTORY_PUT, "two", &result);
    add(&h, HISTORY_PUT, "two", 20, &result);
    assert_true(history_check_blind(&h, &rules, &counts, &violation));

    execute(&h, &m, 0, HISTORY_PUT, "one", &result);
    execute(&h, &m, 0, HISTORY_GET, "", &result);
    add(&h, HISTORY_GET, "", 30, &result);
    assert_true(history_check(&h, &violation)); /* Deceived. */
    assert_false(history_check_blind(&h, &rules, &counts, &violation));
    assert_string_equal(violation.rule, "blind");
    assert_string_equal(violation.text,
                        "op 3 (get x) can't have been answered so, in whatever order");
    model_free(&m);
    history_free(&h);
}

/* Two reads, one behind the other, change places with their indices. */
static void test_swapped(void **state)
{
    (void)state;
    struct history h = {.ops = NULL};
    const struct history_entry first = {
        .index = {.slot = 1}, .epoch = EPOCH, .self_made = true};
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    struct history_result result;
    struct check_violation violation = {.rule = "none"};
    struct check_blind_counts counts = {0};
    history_entry_add(&h, &first);
    model_start(&m, &limits);
    execute(&h, &m, 1, HISTORY_PUT, "one", &result);
    add(&h, HISTORY_PUT, "one", 10, &result);
    execute(&h, &m, 0, HISTORY_GET, "", &result);
    const uint32_t early = add(&h, HISTORY_GET, "", 20, &result);
    execute(&h, &m, 3, HISTORY_PUT, "two", &result);
    add(&h, HISTORY_PUT, "two", 30, &result);
    execute(&h, &m, 0, HISTORY_GET, "", &result);
    const uint32_t late = add(&h, HISTORY_GET, "", 40, &result);
    assert_true(history_check_blind(&h, &rules, &counts, &violation));

    swap_results(&h.ops[early - 1], &h.ops[late - 1]);
    assert_false(history_check(&h, &violation));
    assert_string_equal(violation.rule, "real-time");
    assert_false(history_check_blind(&h, &rules, &counts, &violation));
    model_free(&m);
    history_free(&h);
}

/* What begins behind the last op that is judged leaves earlier ones in doubt. */
static void test_cut(void **state)
{
    (void)state;
    enum { WRITES = CHECK_BLIND_OPS_MAX + 10 };
    struct history h = {.ops = NULL};
    struct history_result result = {.rc = LEASE_NO_NODE};
    struct check_violation violation = {.rule = "none"};
    struct check_blind_counts counts = {0};
    for (uint32_t i = 0; i < WRITES; i++) {
        add(&h, HISTORY_GET, "", 10 * (i + 1), &result);
    }
    h.ops[0].result.rc = LEASE_NOT_A_FILE;
    assert_false(history_check_blind(&h, &rules, &counts, &violation));
    h.ops[0].ended_us = h.ops[WRITES - 1].ended_us;
    assert_true(history_check_blind(&h, &rules, &counts, &violation));
    assert_int_equal(counts.ops, 2 * CHECK_BLIND_OPS_MAX - 1);
    history_free(&h);
}

static bool is_x(struct bytes path)
{
    return bytes_equal(path, bytes_of("x", 1));
}

static void test_left_out(void **state)
{
    (void)state;
    struct history h = {.ops = NULL};
    const struct history_result result = {.rc = LEASE_NOT_A_FILE};
    const struct check_blind_rules shared = {.steps_max = 100, .shared = is_x};
    const struct check_blind_rules hasty = {.steps_max = 1};
    struct check_violation violation;
    struct check_blind_counts counts = {0};
    add(&h, HISTORY_GET, "", 10, &result);
    assert_true(history_check_blind(&h, &shared, &counts, &violation));
    assert_int_equal(counts.names, 0);
    assert_true(history_check_blind(&h, &hasty, &counts, &violation));
    assert_int_equal(counts.undecided, 1);
    assert_false(history_check_blind(&h, &rules, &counts, &violation));
    history_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_orders),
        cmocka_unit_test(test_lying_log),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_left_out),
    };
    return cmocka_run_group_tests_name("check_blind", tests, NULL, NULL);
}
