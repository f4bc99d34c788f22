/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of histories, judged: one good history, and what becomes of it when
 * somebody lies.  And the model that it judges by, against the state machine
 * that it judges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "lease/lease.h"
#include "paxos/base/rng.h"
#include "tools/check/check.h"
#include "tools/check/model.h"

/* ------------------------------------------------------- the good history */

enum { FIRST_EPOCH = 0x10001, SECOND_EPOCH = 0x20002 };

/* By number, from 1. */
enum {
    MAKE_D = 1,
    PUT_ONE,
    PUT_TWO,
    GET_TWO,
    DELETE_F,
    GET_NONE,
    PUT_DEPOSED,
    PUT_X,
    PUT_CONFLICT,
    LIST_ROOT,
    PUT_FAILED,
    PUT_LOST,
    PUT_LAST,
};

static struct bytes text(const char *words)
{
    return bytes_of(words, strlen(words));
}

struct op_row {
    enum history_type type;
    const char *path, *content;
    uint64_t if_generation;
    enum history_outcome outcome;
    uint64_t begin, end, connection;
    uint64_t slot;
    uint32_t position; /* Slot 0: not in the log. */
};

static const struct op_row rows[] = {
    {HISTORY_CREATE, "d", "", HISTORY_ANY, HISTORY_ANSWERED, 10, 20, 1, 2, 1},
    {HISTORY_PUT, "d/f", "one", HISTORY_ANY, HISTORY_ANSWERED, 11, 21, 1, 2, 2},
    {HISTORY_PUT, "d/f", "two", 1, HISTORY_ANSWERED, 30, 40, 2, 3, 1},
    {HISTORY_GET, "d/f", NULL, HISTORY_ANY, HISTORY_ANSWERED, 50, 60, 3, 3, 1},
    {HISTORY_DELETE, "d/f", NULL, HISTORY_ANY, HISTORY_ANSWERED, 70, 80, 1, 4, 1},
    {HISTORY_GET, "d/f", NULL, HISTORY_ANY, HISTORY_ANSWERED, 90, 100, 3, 4, 1},
    {HISTORY_PUT, "d/late", "late", HISTORY_ANY, HISTORY_FAILED, 90, 200, 2, 6, 1},
    {HISTORY_PUT, "x", "x", HISTORY_ANY, HISTORY_UNKNOWN, 110, HISTORY_NEVER, 4, 7, 1},
    {HISTORY_PUT, "x", "y", 7, HISTORY_ANSWERED, 120, 140, 5, 8, 1},
    {HISTORY_LIST, "", NULL, HISTORY_ANY, HISTORY_ANSWERED, 150, 160, 3, 8, 1},
    {HISTORY_PUT, "z", "z", HISTORY_ANY, HISTORY_FAILED, 10, 20, 6, 0, 0},
    {HISTORY_PUT, "w", "w", HISTORY_ANY, HISTORY_UNKNOWN, 10, HISTORY_NEVER, 7, 0, 0},
    {HISTORY_PUT, "x", "last", HISTORY_ANY, HISTORY_ANSWERED, 170, 180, 5, 9, 1},
};
enum { ROWS = sizeof rows / sizeof *rows };

static struct history_request request_of(const struct op_row *row)
{
    struct history_request request = {.type = row->type,
                                      .path = text(row->path),
                                      .content = text(row->content == NULL ? "" : row->content),
                                      .if_generation = row->if_generation,
                                      .if_instance = HISTORY_ANY};
    if (row->type == HISTORY_CREATE) {
        request.kind = LEASE_DIRECTORY;
    }
    if (row->type == HISTORY_LIST) {
        request.limit = 10;
    }
    return request;
}

static void add_self_made(struct history *h, uint64_t slot, uint64_t epoch)
{
    const struct history_entry entry = {
        .index = {.slot = slot}, .epoch = epoch, .self_made = true};
    history_entry_add(h, &entry);
}

static void add_command(struct history *h, uint32_t number, uint64_t epoch)
{
    const struct op_row *row = &rows[number - 1];
    const struct history_entry entry = {.index = {.slot = row->slot, .position = row->position},
                                        .epoch = epoch,
                                        .wall_ms = 1000 + row->slot,
                                        .op = number,
                                        .request = request_of(row)};
    history_entry_add(h, &entry);
}

static void add_log(struct history *h)
{
    add_self_made(h, 1, FIRST_EPOCH);
    add_command(h, MAKE_D, FIRST_EPOCH);
    add_command(h, PUT_ONE, FIRST_EPOCH);
    add_command(h, PUT_TWO, FIRST_EPOCH);
    add_command(h, DELETE_F, FIRST_EPOCH);
    add_self_made(h, 5, SECOND_EPOCH);
    add_command(h, PUT_DEPOSED, FIRST_EPOCH);
    add_command(h, PUT_X, SECOND_EPOCH);
    add_command(h, PUT_CONFLICT, SECOND_EPOCH);
    add_command(h, PUT_LAST, SECOND_EPOCH);
}

static void answer(struct history *h, struct model *m, uint32_t number, uint64_t epoch)
{
    const struct op_row *row = &rows[number - 1];
    struct history_op *op = &h->ops[number - 1];
    struct history_result result;
    model_execute(m, &op->request, 1000 + row->slot, &result);
    result.epoch = epoch;
    result.index = (struct history_index){.slot = row->slot, .position = row->position};
    result.children = history_copy(h, result.children);
    if (row->outcome == HISTORY_ANSWERED) {
        op->result = result;
    }
}

static void make_good(struct history *h)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct history_op op = {.invoked_us = rows[i].begin,
                                      .ended_us = rows[i].end,
                                      .connection = rows[i].connection,
                                      .outcome = rows[i].outcome,
                                      .request = request_of(&rows[i])};
        history_op_add(h, &op);
    }
    add_log(h);
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    model_start(&m, &limits);
    for (uint32_t number = MAKE_D; number <= GET_NONE; number++) {
        answer(h, &m, number, FIRST_EPOCH);
    }
    for (uint32_t number = PUT_X; number <= LIST_ROOT; number++) {
        answer(h, &m, number, SECOND_EPOCH);
    }
    answer(h, &m, PUT_LAST, SECOND_EPOCH);
    model_free(&m);
}

/* ------------------------------------------------------------------- lies */

static struct history_op *op(struct history *h, uint32_t number)
{
    return &h->ops[number - 1];
}

static struct history_entry *entry(struct history *h, uint32_t number)
{
    for (uint32_t i = 0; i < h->log_count; i++) {
        if (h->log[i].op == number) {
            return &h->log[i];
        }
    }
    fail_msg("the log has no op %u", number);
    return NULL;
}

static void remove_entry(struct history *h, uint32_t number)
{
    struct history_entry *at = entry(h, number);
    h->log_count--;
    memmove(at, at + 1, (size_t)(&h->log[h->log_count] - at) * sizeof *at);
}

static void stale_read(struct history *h)
{
    /* As of [2,2], and right there; but PUT_TWO had been acknowledged. */
    struct history_op *get = op(h, GET_TWO);
    get->result.index = op(h, PUT_ONE)->result.index;
    get->result.content = text("one");
    get->result.stat = op(h, PUT_ONE)->result.stat;
    get->result.revision = op(h, PUT_ONE)->result.revision;
}

static void future_read(struct history *h)
{
    /* Shows PUT_LAST, and ended before that began. */
    struct history_op *get = op(h, LIST_ROOT);
    get->result.index = op(h, PUT_LAST)->result.index;
    get->request = op(h, GET_TWO)->request;
    get->request.path = text("x");
    get->result.stat = op(h, PUT_LAST)->result.stat;
    get->result.revision = op(h, PUT_LAST)->result.revision;
    get->result.content = text("last");
    get->result.children = bytes_of(NULL, 0);
    get->result.children_count = 0;
}

static void lost_write(struct history *h)
{
    remove_entry(h, PUT_LAST);
}

static void moved_write(struct history *h)
{
    entry(h, PUT_LAST)->index.slot++;
}

static void deposed_write(struct history *h)
{
    /* Its entry is behind the first entry of a newer master. */
    op(h, PUT_DEPOSED)->outcome = HISTORY_ANSWERED;
    op(h, PUT_DEPOSED)->result.index = entry(h, PUT_DEPOSED)->index;
}

static void executed_twice(struct history *h)
{
    struct history_entry again = *entry(h, PUT_X);
    again.index = (struct history_index){.slot = 10, .position = 1};
    history_entry_add(h, &again);
}

static void failed_and_executed(struct history *h)
{
    struct history_entry late = *entry(h, PUT_LAST);
    late.index.slot = 10;
    late.op = PUT_FAILED;
    late.request = op(h, PUT_FAILED)->request;
    history_entry_add(h, &late);
}

static void failed_in_force(struct history *h)
{
    entry(h, PUT_DEPOSED)->epoch = SECOND_EPOCH;
}

static void wrong_content(struct history *h)
{
    op(h, GET_TWO)->result.content = text("owt");
}

static void wrong_outcome(struct history *h)
{
    op(h, PUT_TWO)->result.rc = LEASE_CONFLICT;
}

static void undeleted(struct history *h)
{
    const struct history_index index = op(h, GET_NONE)->result.index;
    op(h, GET_NONE)->result = op(h, GET_TWO)->result;
    op(h, GET_NONE)->result.index = index;
}

static void wrong_revision(struct history *h)
{
    op(h, PUT_LAST)->result.revision++;
}

static void wrong_generation(struct history *h)
{
    op(h, GET_TWO)->result.stat.content_generation--;
}

static void wrong_instance(struct history *h)
{
    op(h, PUT_LAST)->result.stat.instance++;
}

static void not_created(struct history *h)
{
    op(h, PUT_ONE)->result.created = false;
}

static void conflict_hides_node(struct history *h)
{
    op(h, PUT_CONFLICT)->result.stat = (struct lease_stat){.size = 0};
}

static void short_list(struct history *h)
{
    op(h, LIST_ROOT)->result.children_count--;
}

static void list_claims_more(struct history *h)
{
    op(h, LIST_ROOT)->result.more = true;
}

static void garbled_command(struct history *h)
{
    entry(h, PUT_X)->request.content = text("X");
}

static void invented_command(struct history *h)
{
    entry(h, PUT_X)->op = ROWS + 1;
}

static void log_backwards(struct history *h)
{
    entry(h, PUT_X)->index.slot = 8;
    entry(h, PUT_CONFLICT)->index.slot = 7;
}

static void two_in_one_place(struct history *h)
{
    entry(h, PUT_ONE)->index = entry(h, MAKE_D)->index;
}

static void write_before_its_past(struct history *h)
{
    /* PUT_TWO stands behind DELETE_F, which it had seen. */
    op(h, PUT_TWO)->ended_us = 15;
    op(h, PUT_TWO)->invoked_us = 12;
    op(h, MAKE_D)->invoked_us = 20;
    op(h, MAKE_D)->ended_us = 25;
}

static void unknown_in_the_past(struct history *h)
{
    /* What it wrote was read before it began. */
    op(h, PUT_X)->invoked_us = 500;
}

static void connection_reordered(struct history *h)
{
    /* PUT_LOST was sent before PUT_LAST, and takes effect behind it. */
    struct history_entry late = *entry(h, PUT_LAST);
    late.index.slot++;
    late.op = PUT_LOST;
    late.request = op(h, PUT_LOST)->request;
    history_entry_add(h, &late);
    op(h, PUT_LOST)->connection = op(h, PUT_LAST)->connection;
}

static void gap_in_reading(struct history *h)
{
    /* As of [4,1], and wrong there: the list names what was made later. */
    op(h, LIST_ROOT)->result.index = op(h, DELETE_F)->result.index;
    op(h, LIST_ROOT)->result.epoch = FIRST_EPOCH;
}

static void read_beyond_the_log(struct history *h)
{
    /* As it was before the last write, which is not behind the end. */
    op(h, LIST_ROOT)->result.index.slot = 100;
}

static void wrong_checksum(struct history *h)
{
    op(h, GET_TWO)->result.stat.checksum ^= 1;
}

static void wrong_size(struct history *h)
{
    op(h, PUT_ONE)->result.stat.size++;
}

static void wrong_token(struct history *h)
{
    op(h, GET_TWO)->result.stat.lock_token = 7;
}

static void ephemeral_file(struct history *h)
{
    op(h, GET_TWO)->result.stat.ephemeral = true;
}

static void swapped_answers(struct history *h)
{
    /* With their indices: each is right where it says that it was. */
    const struct history_result two = op(h, GET_TWO)->result;
    op(h, GET_TWO)->result = op(h, GET_NONE)->result;
    op(h, GET_NONE)->result = two;
}

static void reused_revision(struct history *h)
{
    op(h, PUT_TWO)->result.stat.revision--;
}

static void read_of_older_epoch(struct history *h)
{
    op(h, LIST_ROOT)->result.epoch = FIRST_EPOCH;
}

static void write_of_older_epoch(struct history *h)
{
    op(h, PUT_LAST)->result.epoch = FIRST_EPOCH;
}

/* The client kept PUT_ONE's content, though PUT_TWO had been acknowledged. */
static void kept_too_long(struct history *h)
{
    stale_read(h);
    op(h, GET_TWO)->level = HISTORY_KEPT;
}

/* As of [3,1]; DELETE_F had been acknowledged, to somebody else. */
static void kept_behind_another(struct history *h)
{
    struct history_op *get = op(h, GET_NONE);
    const struct history_result two = op(h, GET_TWO)->result;
    get->result = two;
    get->level = HISTORY_KEPT;
}

/* It says that it shows all that was answered before 45. */
static void old_read_of_older_state(struct history *h)
{
    stale_read(h);
    op(h, GET_TWO)->level = HISTORY_OLD;
    op(h, GET_TWO)->as_of_us = 45;
}

/* What never was there at that index. */
static void old_read_of_nothing(struct history *h)
{
    op(h, GET_TWO)->level = HISTORY_OLD;
    op(h, GET_TWO)->result.index = op(h, MAKE_D)->result.index;
}

/* Asked by somebody whom the log does not know. */
static void put_by_another(struct history *h)
{
    op(h, PUT_TWO)->request.principal = text("u1");
}

static const struct lie {
    const char *name;
    void (*tell)(struct history *h);
    const char *rule; /* That it breaks. */
} lies[] = {
    {"a read that is older than an acknowledged write", stale_read, "real-time"},
    {"a read from the future", future_read, "real-time"},
    {"an acknowledged write that is not in the log", lost_write, "durable"},
    {"an acknowledged write at another index", moved_write, "durable"},
    {"an acknowledged write behind a newer epoch", deposed_write, "durable"},
    {"a write that took effect twice", executed_twice, "at-most-once"},
    {"a failed write in the log", failed_and_executed, "failed-in-log"},
    {"a failed write that is in force after all", failed_in_force, "failed-in-log"},
    {"other content than was written", wrong_content, "result"},
    {"a refusal where there was success", wrong_outcome, "result"},
    {"a deleted file that is still there", undeleted, "result"},
    {"another revision", wrong_revision, "result"},
    {"another generation", wrong_generation, "result"},
    {"another instance", wrong_instance, "result"},
    {"a file that was made and is said to have been there", not_created, "result"},
    {"a conflict that hides the node", conflict_hides_node, "result"},
    {"a list with a name too few", short_list, "result"},
    {"a list that promises more", list_claims_more, "result"},
    {"another command than was asked for", garbled_command, "foreign"},
    {"a command that nobody asked for", invented_command, "foreign"},
    {"a log that runs backwards", log_backwards, "log-order"},
    {"two commands in one place", two_in_one_place, "log-order"},
    {"a write that stands before its past", write_before_its_past, "real-time"},
    {"an unknown write that was read before it began", unknown_in_the_past, "real-time"},
    {"two writes of a connection that changed places", connection_reordered, "session-order"},
    {"a list that names what was made later", gap_in_reading, "result"},
    {"a read beyond the end of the log", read_beyond_the_log, "result"},
    {"another checksum", wrong_checksum, "result"},
    {"another size", wrong_size, "result"},
    {"a lock that nobody holds", wrong_token, "result"},
    {"a lasting file that is said to be ephemeral", ephemeral_file, "result"},
    {"two answers that changed places with their indices", swapped_answers, "real-time"},
    {"a revision that was another write's", reused_revision, "result"},
    {"a read answered under an older epoch", read_of_older_epoch, "epoch-order"},
    {"a write answered under an older epoch", write_of_older_epoch, "epoch-order"},
    {"a kept read of what was overwritten", kept_too_long, "result"},
    {"a kept read of what another was told is gone", kept_behind_another, "result"},
    {"a read older than it says", old_read_of_older_state, "real-time"},
    {"an old read of what never was", old_read_of_nothing, "result"},
    {"a write by another principal", put_by_another, "foreign"},
};
enum { LIES = sizeof lies / sizeof *lies };

static void test_good_history(void **state)
{
    (void)state;
    struct history h = {.ops = NULL};
    struct check_violation violation = {.rule = NULL};
    for (int i = 0; i < 2; i++) { /* Also in memory that was used before. */
        make_good(&h);
        if (!history_check(&h, &violation)) {
            fail_msg("%s: %s", violation.rule, violation.text);
        }
        history_reset(&h);
    }
    assert_true(history_check(&h, &violation)); /* An empty history. */
    history_free(&h);
}

/* Not as new as others are, and no lie: an old read as of when it says, and a kept one
 * whose index is what its client had heard of last. */
static void test_levels(void **state)
{
    (void)state;
    struct history h = {.ops = NULL};
    struct check_violation violation = {.rule = NULL};
    make_good(&h);
    stale_read(&h);
    op(&h, GET_TWO)->level = HISTORY_OLD;
    op(&h, GET_TWO)->as_of_us = 25;
    struct history_op *get = op(&h, GET_NONE);
    get->level = HISTORY_KEPT;
    get->result.index = op(&h, GET_TWO)->result.index;
    get->result.revision = 1;
    get->result.epoch = 0;
    if (!history_check(&h, &violation)) {
        fail_msg("%s: %s", violation.rule, violation.text);
    }
    history_free(&h);
}

static void test_lie(void **state)
{
    const struct lie *lie = *state;
    struct history h = {.ops = NULL};
    struct check_violation violation = {.rule = "none", .text = ""};
    make_good(&h);
    lie->tell(&h);
    assert_false(history_check(&h, &violation));
    assert_string_equal(violation.rule, lie->rule);
    history_free(&h);
}

/* ------------------------------------------------------------ the model */

static void *allocate(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

__attribute__((noreturn)) static void exhausted(void *context)
{
    (void)context;
    abort();
}

static const char *const names[] = {"",    "a",   "d", "d/a", "d/b", "d/e", "d/e/f",
                                    "d.x", "d-y", "e", "a/b", "e/f", "q/r"};
enum { NAMES = sizeof names / sizeof *names };

static struct lease_command random_command(struct rng *rng)
{
    static const uint64_t conditions[] = {LEASE_ANY, LEASE_ANY, LEASE_ANY, 0, 1, 2, 3};
    struct lease_command command = {
        .type = (enum lease_command_type)rng_between(rng, LEASE_CMD_PUT, LEASE_CMD_DELETE),
        .path = text(names[rng_below(rng, NAMES)]),
        .kind = rng_below(rng, 2) == 0 ? LEASE_FILE : LEASE_DIRECTORY,
        .if_generation = LEASE_ANY,
        .if_instance = LEASE_ANY};
    if (command.type != LEASE_CMD_CREATE) {
        command.if_generation = conditions[rng_below(rng, 7)];
        command.if_instance = rng_below(rng, 5) == 0 ? rng_between(rng, 1, 60) : LEASE_ANY;
    }
    if (command.type == LEASE_CMD_PUT ||
        (command.type == LEASE_CMD_CREATE && command.kind == LEASE_FILE)) {
        command.content = text(names[rng_below(rng, NAMES)]);
    }
    return command;
}

static struct history_request same_request(const struct lease_command *c)
{
    return (struct history_request){.type = c->type == LEASE_CMD_PUT      ? HISTORY_PUT
                                            : c->type == LEASE_CMD_CREATE ? HISTORY_CREATE
                                                                          : HISTORY_DELETE,
                                    .path = c->path,
                                    .kind = c->type == LEASE_CMD_CREATE ? c->kind : 0,
                                    .content = c->content,
                                    .if_generation = c->if_generation,
                                    .if_instance = c->if_instance};
}

static void assert_same_stat(const struct lease_stat *a, const struct lease_stat *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->instance, b->instance);
    assert_int_equal(a->content_generation, b->content_generation);
    assert_int_equal(a->checksum, b->checksum);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->modified_wall_ms, b->modified_wall_ms);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->children, b->children);
    assert_int_equal(a->lock_token, b->lock_token);
    assert_int_equal(a->ephemeral, b->ephemeral);
}

static void compare_reads(const struct lease *l, struct model *m, struct bytes path)
{
    struct history_result expected;
    struct lease_stat stat = {.size = 0};
    struct bytes content = {.size = 0};
    model_execute(m, &(struct history_request){.type = HISTORY_STAT, .path = path}, 0,
                  &expected);
    assert_int_equal(lease_get(l, path, &stat, &content), expected.rc);
    assert_same_stat(&stat, &expected.stat);

    enum { LIMIT = 3 };
    struct lease_child children[LIMIT];
    uint32_t count = 0;
    bool more = false;
    uint8_t room[LIMIT * HISTORY_CHILD_MAX];
    struct writer w = writer_over(room, sizeof room);
    const struct history_request list = {
        .type = HISTORY_LIST, .path = path, .after = text("a"), .limit = LIMIT};
    model_execute(m, &list, 0, &expected);
    assert_int_equal(
        lease_list(l, path, list.after, LIMIT, list.principal, children, &count, &more),
        expected.rc);
    for (uint32_t i = 0; i < count; i++) {
        history_child_encode(&w, children[i].name, &children[i].stat);
    }
    assert_int_equal(count, expected.children_count);
    assert_int_equal(more, expected.more);
    assert_true(bytes_equal(bytes_of(room, w.size), expected.children));
}

/* Two who share no code agree on every answer. */
static void test_model(void **state)
{
    (void)state;
    const struct lease_allocator allocator = {
        .allocate = allocate, .release = release, .exhausted = exhausted};
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct lease *l = lease_new(&allocator, &limits);
    struct model m = {.nodes = NULL};
    struct rng rng = {.state = 7};
    model_start(&m, &limits);
    for (uint64_t slot = 1; slot <= 20000; slot++) {
        const struct lease_command command = random_command(&rng);
        const struct lease_at at = {.slot = slot, .position = 1, .wall_ms = slot * 10};
        const struct history_request request = same_request(&command);
        struct lease_result result;
        struct history_result expected;
        lease_apply(l, &at, &command, &result);
        lease_slot_done(l, slot, 1);
        model_execute(&m, &request, at.wall_ms, &expected);
        assert_int_equal(result.rc, expected.rc);
        assert_int_equal(result.revision, expected.revision);
        assert_int_equal(result.created, expected.created);
        assert_same_stat(&result.stat, &expected.stat);
        compare_reads(l, &m, text(names[rng_below(&rng, NAMES)]));
    }
    model_free(&m);
    lease_free(l);
}

/* ------------------------------------------------------------------ long ones */

/* Puts and gets of a hundred files, one behind the other. */
static void make_long(struct history *h, uint32_t count)
{
    enum { FILES = 100 };
    static char paths[FILES][8];
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct model m = {.nodes = NULL};
    model_start(&m, &limits);
    add_self_made(h, 1, FIRST_EPOCH);
    for (uint32_t i = 0; i < count; i++) {
        char *path = paths[i % FILES];
        snprintf(path, sizeof paths[0], "f%u", (unsigned)(i % FILES));
        struct history_op o = {.invoked_us = 10 * (uint64_t)i + 10,
                               .ended_us = 10 * (uint64_t)i + 15,
                               .connection = i % 7 + 1,
                               .outcome = HISTORY_ANSWERED,
                               .request = {.type = i % 3 == 0 ? HISTORY_GET : HISTORY_PUT,
                                           .path = text(path),
                                           .if_generation = HISTORY_ANY,
                                           .if_instance = HISTORY_ANY}};
        if (history_writes(o.request.type)) {
            o.request.content = o.request.path;
            history_entry_add(
                h, &(struct history_entry){.index = {.slot = h->log_count + 1, .position = 1},
                                           .epoch = FIRST_EPOCH,
                                           .op = i + 1,
                                           .request = o.request});
        }
        model_execute(&m, &o.request, 0, &o.result);
        o.result.epoch = FIRST_EPOCH;
        o.result.index = h->log[h->log_count - 1].index;
        history_op_add(h, &o);
    }
    model_free(&m);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* O(N log N), or a long history would never end.  TEST_CHECK_OPS=1000000 measures. */
static void test_long(void **state)
{
    (void)state;
    const char *asked = getenv("TEST_CHECK_OPS");
    const uint32_t count = asked == NULL ? 50000 : (uint32_t)strtoul(asked, NULL, 10);
    struct history h = {.ops = NULL};
    struct check_violation violation = {.rule = NULL};
    make_long(&h, count);
    const double begin = seconds();
    assert_true(history_check(&h, &violation));
    const double took = seconds() - begin;
    print_message("# %u ops judged in %.2f s: %.0f a second\n", count, took, count / took);
    h.ops[count - 3].result.revision++;
    assert_false(history_check(&h, &violation));
    history_free(&h);
}

int main(void)
{
    struct CMUnitTest tests[LIES + 4] = {
        cmocka_unit_test(test_good_history),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_long),
    };
    for (size_t i = 0; i < LIES; i++) {
        tests[i + 4] = (struct CMUnitTest){.name = lies[i].name,
                                           .test_func = test_lie,
                                           .initial_state = (void *)(uintptr_t)&lies[i]};
    }
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
