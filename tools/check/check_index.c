/* SPDX-License-Identifier: Apache-2.0
 *
 * Three passes: over the log (who stands where, and who applies), over the ops by
 * index (the model gives every answer), over the ops by time, which also tells where
 * kept reads stand.
 */
#include "tools/check/check.h"

#include "tools/check/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What the log says of an op. */
struct placed {
    const struct history_entry *entry; /* The one in force; NULL: none. */
    struct history_index read_at;      /* Of a read: behind which it is judged. */
};

struct checker {
    const struct history *h;
    struct check_violation *violation;
    struct placed *placed; /* By op, from 1. */
    bool *in_force;        /* By entry of the log. */
    uint32_t *reads;       /* Answered reads, by index. */
    uint32_t reads_count;
    bool any_kept; /* Of them, answered from memory. */
    bool placing;  /* Not judging yet: finding out where these stand. */
};

__attribute__((format(printf, 3, 4))) static bool fail(struct checker *c, const char *rule,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->violation->text, sizeof c->violation->text, format, arguments);
    va_end(arguments);
    c->violation->rule = rule;
    return false;
}

static const struct history_op *op_at(const struct checker *c, uint32_t number)
{
    return &c->h->ops[number - 1];
}

static bool answered(const struct history_op *op)
{
    return op->outcome == HISTORY_ANSWERED;
}

/* ------------------------------------------------------------------ the log */

/* DESIGN: an entry applies as nothing if an entry that a later master made
 * itself precedes it. */
static bool place_log(struct checker *c)
{
    uint64_t barrier = 0;
    for (uint32_t i = 0; i < c->h->log_count; i++) {
        const struct history_entry *entry = &c->h->log[i];
        if (i > 0 && history_index_compare(entry[-1].index, entry->index) >= 0) {
            return fail(c, "log-order", "entry [%" PRIu64 ",%u] follows [%" PRIu64 ",%u]",
                        entry->index.slot, entry->index.position, entry[-1].index.slot,
                        entry[-1].index.position);
        }
        if (entry->self_made) {
            barrier = entry->epoch > barrier ? entry->epoch : barrier;
            continue;
        }
        c->in_force[i] = entry->epoch >= barrier;
        if (entry->op == 0 || !c->in_force[i]) {
            continue;
        }
        const struct history_entry *other = c->placed[entry->op].entry;
        if (other != NULL) {
            return fail(c, "at-most-once",
                        "op %u took effect at [%" PRIu64 ",%u] and at [%" PRIu64 ",%u]",
                        entry->op, other->index.slot, other->index.position, entry->index.slot,
                        entry->index.position);
        }
        c->placed[entry->op].entry = entry;
    }
    return true;
}

static bool check_foreign(struct checker *c)
{
    for (uint32_t i = 0; i < c->h->log_count; i++) {
        const struct history_entry *entry = &c->h->log[i];
        if (entry->self_made || entry->op == 0) {
            continue;
        }
        if (entry->op > c->h->ops_count) {
            return fail(c, "foreign", "[%" PRIu64 ",%u] holds op %u, which nobody began",
                        entry->index.slot, entry->index.position, entry->op);
        }
        if (!history_request_equal(&entry->request, &op_at(c, entry->op)->request)) {
            return fail(c, "foreign", "[%" PRIu64 ",%u] holds something else than op %u asked",
                        entry->index.slot, entry->index.position, entry->op);
        }
    }
    return true;
}

static bool check_writes(struct checker *c)
{
    for (uint32_t number = 1; number <= c->h->ops_count; number++) {
        const struct history_op *op = op_at(c, number);
        const struct history_entry *entry = c->placed[number].entry;
        if (!history_writes(op->request.type) || op->outcome == HISTORY_UNKNOWN) {
            continue;
        }
        if (op->outcome == HISTORY_FAILED && entry != NULL) {
            return fail(c, "failed-in-log",
                        "op %u was told that it was not executed; it took effect at [%" PRIu64
                        ",%u]",
                        number, entry->index.slot, entry->index.position);
        }
        if (answered(op) &&
            (entry == NULL || history_index_compare(entry->index, op->result.index) != 0)) {
            return fail(c, "durable",
                        "op %u was acknowledged at [%" PRIu64 ",%u]; the log doesn't have it "
                        "there in force",
                        number, op->result.index.slot, op->result.index.position);
        }
    }
    return true;
}

/* -------------------------------------------------------------------- order */

/* qsort_r's arguments. */
static int by_index(const void *a, const void *b, void *context)
{
    const struct checker *c = context;
    return history_index_compare(c->placed[*(const uint32_t *)a].read_at,
                                 c->placed[*(const uint32_t *)b].read_at);
}

/* What ended before, the op must not be behind. */
static uint64_t from_us(const struct history_op *op)
{
    return op->level == HISTORY_OLD ? op->as_of_us : op->invoked_us;
}

static int by_invocation(const void *a, const void *b, void *context)
{
    const struct checker *c = context;
    const uint64_t x = from_us(op_at(c, *(const uint32_t *)a));
    const uint64_t y = from_us(op_at(c, *(const uint32_t *)b));
    return (x > y) - (x < y);
}

static int by_end(const void *a, const void *b, void *context)
{
    const struct checker *c = context;
    const uint64_t x = op_at(c, *(const uint32_t *)a)->ended_us;
    const uint64_t y = op_at(c, *(const uint32_t *)b)->ended_us;
    return (x > y) - (x < y);
}

/* Where an op stands, answered or not. */
static bool index_of(const struct checker *c, uint32_t number, struct history_index *ret_index)
{
    const struct history_op *op = op_at(c, number);
    if (answered(op)) {
        *ret_index = op->result.index;
        return true;
    }
    if (c->placed[number].entry != NULL) {
        *ret_index = c->placed[number].entry->index;
        return true;
    }
    return false;
}

static void move_up(struct history_index *index, struct history_index at_least)
{
    *index = history_index_compare(*index, at_least) < 0 ? at_least : *index;
}

/* `begun` and `ended` are ops by time; the highest index that ended before each
 * op began is a running maximum. */
static bool check_real_time(struct checker *c, const uint32_t *begun, uint32_t begun_count,
                            const uint32_t *ended, uint32_t ended_count)
{
    struct history_index highest = {.slot = 0};
    uint32_t highest_op = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < begun_count; i++) {
        const struct history_op *op = op_at(c, begun[i]);
        for (; at < ended_count && op_at(c, ended[at])->ended_us < from_us(op); at++) {
            const struct history_index index = op_at(c, ended[at])->result.index;
            if (highest_op == 0 || history_index_compare(index, highest) > 0) {
                highest = index;
                highest_op = ended[at];
            }
        }
        struct history_index index;
        if (highest_op == 0 || !index_of(c, begun[i], &index)) {
            continue;
        }
        if (op->level == HISTORY_KEPT) {
            move_up(&c->placed[begun[i]].read_at, highest);
        }
        if (op->level == HISTORY_KEPT || c->placing) {
            continue;
        }
        const int order = history_index_compare(highest, index);
        if (order > 0 || (order == 0 && history_writes(op->request.type))) {
            return fail(c, "real-time",
                        "op %u, begun at %" PRIu64 " us, is at [%" PRIu64
                        ",%u]; op %u had ended before at [%" PRIu64 ",%u]",
                        begun[i], from_us(op), index.slot, index.position, highest_op,
                        highest.slot, highest.position);
        }
    }
    return true;
}

static bool check_times(struct checker *c)
{
    const uint32_t count = c->h->ops_count;
    uint32_t *begun = calloc(2 * (size_t)count + 1, sizeof *begun);
    if (begun == NULL) {
        return fail(c, "memory", "out of memory");
    }
    uint32_t *ended = begun + count;
    uint32_t ended_count = 0;
    for (uint32_t number = 1; number <= count; number++) {
        begun[number - 1] = number;
        if (answered(op_at(c, number))) {
            ended[ended_count++] = number;
        }
    }
    qsort_r(begun, count, sizeof *begun, by_invocation, c);
    qsort_r(ended, ended_count, sizeof *ended, by_end, c);
    const bool good = check_real_time(c, begun, count, ended, ended_count);
    free(begun);
    return good;
}

/* ------------------------------------------------------------------ answers */

/* What is kept says nothing of locks, nor of what else has happened since. */
static void forget_locks(struct history_result *result)
{
    result->revision = 0;
    result->stat.lock_generation = 0;
    result->stat.lock_token = 0;
}

static const char *result_difference(const struct history_result *a,
                                     const struct history_result *b)
{
    return a->rc != b->rc                           ? "outcome"
           : a->revision != b->revision             ? "revision"
           : a->created != b->created               ? "`created`"
           : !bytes_equal(a->content, b->content)   ? "content"
           : a->children_count != b->children_count ? "number of children listed"
           : !bytes_equal(a->children, b->children) ? "list of children"
           : a->more != b->more                     ? "`more`"
                                : history_stat_difference(&a->stat, &b->stat);
}

static bool check_result(struct checker *c, uint32_t number,
                         const struct history_result *expected)
{
    const struct history_op *op = op_at(c, number);
    struct history_result given = op->result;
    struct history_result due = *expected;
    if (op->level == HISTORY_KEPT) {
        forget_locks(&given);
        forget_locks(&due);
    }
    const char *difference = result_difference(&given, &due);
    if (difference != NULL) {
        return fail(c, "result",
                    "op %u (%s %.*s) at [%" PRIu64 ",%u]: the %s is not what the log gives "
                    "(rc %d, revision %" PRIu64 "; expected rc %d, revision %" PRIu64 ")",
                    number, history_type_name(op->request.type), (int)op->request.path.size,
                    (const char *)op->request.path.data, op->result.index.slot,
                    op->result.index.position, difference, (int)op->result.rc,
                    op->result.revision, (int)expected->rc, expected->revision);
    }
    return true;
}

/* Is `epoch` that of the newest master whose own entry stands at or before? */
static bool check_epoch(struct checker *c, uint32_t number, uint64_t barrier)
{
    const struct history_op *op = op_at(c, number);
    if (op->level != HISTORY_KEPT && op->result.epoch != barrier) {
        return fail(c, "epoch-order",
                    "op %u was answered under epoch %" PRIx64 " at [%" PRIu64
                    ",%u], where %" PRIx64 " is in force",
                    number, op->result.epoch, op->result.index.slot, op->result.index.position,
                    barrier);
    }
    return true;
}

static bool check_reads_before(struct checker *c, struct model *m, uint32_t *at,
                               const struct history_index *next, uint64_t barrier)
{
    for (; *at < c->reads_count; (*at)++) {
        const uint32_t number = c->reads[*at];
        const struct history_op *op = op_at(c, number);
        if (next != NULL && history_index_compare(c->placed[number].read_at, *next) >= 0) {
            break;
        }
        struct history_result expected;
        model_execute(m, &op->request, 0, &expected);
        if (!check_epoch(c, number, barrier) || !check_result(c, number, &expected)) {
            return false;
        }
    }
    return true;
}

static bool replay(struct checker *c, struct model *m)
{
    uint64_t barrier = 0;
    uint32_t at = 0;
    qsort_r(c->reads, c->reads_count, sizeof *c->reads, by_index, c);
    for (uint32_t i = 0; i < c->h->log_count; i++) {
        const struct history_entry *entry = &c->h->log[i];
        if (!check_reads_before(c, m, &at, &entry->index, barrier)) {
            return false;
        }
        if (entry->self_made) {
            barrier = entry->epoch > barrier ? entry->epoch : barrier;
            continue;
        }
        if (!c->in_force[i]) {
            continue;
        }
        if (entry->command != NULL) {
            struct model_outcome outcome;
            model_command(m, entry, &outcome);
            continue;
        }
        struct history_result expected;
        model_execute(m, &entry->request, entry->wall_ms, &expected);
        if (entry->op != 0 && answered(op_at(c, entry->op)) &&
            (!check_epoch(c, entry->op, barrier) || !check_result(c, entry->op, &expected))) {
            return false;
        }
    }
    return check_reads_before(c, m, &at, NULL, barrier);
}

/* ----------------------------------------------------------------- connections */

/* By connection, then as sent: ops are numbered in that order. */
static int by_connection(const void *a, const void *b, void *context)
{
    const struct checker *c = context;
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    const uint64_t p = op_at(c, x)->connection;
    const uint64_t q = op_at(c, y)->connection;
    return p != q ? (p > q) - (p < q) : (x > y) - (x < y);
}

static bool check_sessions(struct checker *c)
{
    const uint32_t count = c->h->ops_count;
    uint32_t *writes = calloc((size_t)count + 1, sizeof *writes);
    if (writes == NULL) {
        return fail(c, "memory", "out of memory");
    }
    uint32_t writes_count = 0;
    struct history_index index;
    for (uint32_t number = 1; number <= count; number++) {
        if (history_writes(op_at(c, number)->request.type) && index_of(c, number, &index)) {
            writes[writes_count++] = number;
        }
    }
    qsort_r(writes, writes_count, sizeof *writes, by_connection, c);
    bool good = true;
    for (uint32_t i = 1; good && i < writes_count; i++) {
        struct history_index before;
        if (op_at(c, writes[i - 1])->connection == op_at(c, writes[i])->connection &&
            index_of(c, writes[i - 1], &before) && index_of(c, writes[i], &index) &&
            history_index_compare(before, index) >= 0) {
            good = fail(c, "session-order", "op %u stands behind op %u of the same connection",
                        writes[i - 1], writes[i]);
        }
    }
    free(writes);
    return good;
}

/* ---------------------------------------------------------------------- all */

static void collect_reads(struct checker *c)
{
    for (uint32_t number = 1; number <= c->h->ops_count; number++) {
        const struct history_op *op = op_at(c, number);
        if (answered(op) && !history_writes(op->request.type)) {
            c->reads[c->reads_count++] = number;
            c->placed[number].read_at = op->result.index;
            c->any_kept |= op->level == HISTORY_KEPT;
        }
    }
}

static bool place_kept(struct checker *c)
{
    c->placing = true;
    const bool good = !c->any_kept || check_times(c);
    c->placing = false;
    return good;
}

bool history_check(const struct history *h, struct check_violation *ret_violation)
{
    struct checker c = {.h = h, .violation = ret_violation};
    c.placed = calloc((size_t)h->ops_count + 1, sizeof *c.placed);
    c.in_force = calloc((size_t)h->log_count + 1, sizeof *c.in_force);
    c.reads = calloc((size_t)h->ops_count + 1, sizeof *c.reads);
    struct model m = {.nodes = NULL};
    bool good = false;
    if (c.placed == NULL || c.in_force == NULL || c.reads == NULL) {
        fail(&c, "memory", "out of memory");
    } else {
        collect_reads(&c);
        const struct lease_limits usual = LEASE_LIMITS_DEFAULT;
        model_start(&m, h->limits.nodes == 0 ? &usual : &h->limits);
        good = check_foreign(&c) && place_log(&c) && check_writes(&c) && place_kept(&c) &&
               replay(&c, &m) && check_times(&c) && check_sessions(&c);
    }
    model_free(&m);
    free(c.reads);
    free(c.in_force);
    free(c.placed);
    return good;
}
