/* SPDX-License-Identifier: Apache-2.0
 *
 * History: what is told, in which order, from where on, and at what cost.
 */
#include <stdio.h>

#include "tests/unit/test_lease_support.h"

#include "paxos/base/hash.h"

enum { A = 0xa, B = 0xb, C = 0xc }; /* Sessions. */

#define X LEASE_EXCLUSIVE
#define S LEASE_SHARED

static struct lease_limits with_history(uint64_t bytes)
{
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    limits.history_bytes = bytes;
    return limits;
}

static struct lease *fixture(struct heap *heap, uint64_t bytes)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, with_history(bytes));
    must(l, open_session(A));
    must(l, open_session(B));
    must(l, open_session(C));
    return l;
}

static void finish(struct lease *l, struct heap *heap)
{
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap->used, 0);
}

static struct lease_command with_delay(uint32_t delay_ms, struct lease_command command)
{
    command.delay_ms = delay_ms;
    return command;
}

/* -------------------------------------------------------------------- order */

/* All above `revision`, as one line: what happened, where, to whom. */
static void assert_events(const struct lease *l, uint64_t revision, const char *expected)
{
    static const char changes[] = " +=-agrc";
    char line[400] = "";
    struct lease_place place = lease_history_seek(l, revision);
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        char shown[64];
        snprintf(shown, sizeof shown, "%d%c%.*s", (int)event.revision, changes[event.change],
                 (int)event.path.size, (const char *)event.path.data);
        strcat(line, shown);
        if (event.session != 0) {
            snprintf(shown, sizeof shown, ":%c%s%s", (char)('a' + (char)event.session - A),
                     event.failed ? "!" : "", event.delay_ms > 0 ? "D" : "");
            strcat(line, shown);
        }
        strcat(line, " ");
    }
    assert_string_equal(line, expected);
}

static void test_order_of_cause(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 100000);
    assert_events(l, 0, "");
    struct lease_command makes = acquire(A, 1, "f", X);
    makes.create = true;
    must(l, makes);
    assert_events(l, 0, "1+f 1gf:a ");
    assert_int_equal(apply(l, acquire(B, 1, "f", S)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, acquire(C, 1, "f", S)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, with_handle(2, try_acquire(C, 2, "f", S))).rc, LEASE_LOCKED);
    assert_events(l, 1, "2cf:b 3cf:c ");
    must(l, release(A, 2, "f", 1)); /* To both. */
    assert_events(l, 3, "4rf:a 4gf:b 4gf:c ");

    /* Its claims in order of nodes, then what it had open, then what that kept. */
    must(l, open_ephemeral(B, 2, "e", LEASE_DIRECTORY));
    must(l, open_ephemeral(B, 3, "e/x", LEASE_FILE));
    must(l, with_delay(9, acquire(B, 4, "", X)));
    assert_int_equal(apply(l, with_handle(2, acquire(C, 3, "f", X))).rc, LEASE_WAITING);
    must(l, release(C, 4, "f", 4));
    const uint64_t revision = lease_position(l).revision;
    must(l, expire_session(B, 0));
    assert_events(l, revision, "10r:b!D 10rf:b! 10gf:c 10-e/x 10-e ");

    /* What goes with a node goes before it, and nothing is told of it afterwards. */
    must(l, by(C, 5, delete_any("f")));
    assert_events(l, 10, "11rf:c 11-f ");
    must(l, close_session(C, 6));
    must(l, delay_over(1, 4, 0)); /* Which frees the root, to nobody. */
    assert_events(l, 11, "");
    finish(l, &heap);
}

/* An ephemeral one that a release leaves behind goes with it. */
static void test_left_by_release(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 100000);
    must(l, open_ephemeral(A, 1, "e", LEASE_FILE));
    must(l, acquire(A, 2, "e", X));
    must(l, close_node(A, 3, "e", 2));
    must(l, release(A, 4, "e", 2));
    assert_events(l, 2, "3re:a 3-e ");
    finish(l, &heap);
}

/* ------------------------------------------------------------------ content */

static void assert_last(const struct lease *l, size_t content, bool has_content, size_t old,
                        bool has_old)
{
    struct lease_place place = lease_history_seek(l, lease_position(l).revision - 1);
    struct lease_event event;
    assert_true(lease_history_next(l, &place, &event));
    assert_int_equal(event.content_size, content);
    assert_int_equal(event.has_content, has_content);
    assert_int_equal(event.content.size, has_content ? content : 0);
    assert_int_equal(event.has_old, has_old);
    assert_int_equal(event.old.size, has_old ? old : 0);
    assert_false(lease_history_next(l, &place, &event));
}

static void test_content(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 100000);
    static uint8_t content[LEASE_EVENT_CONTENT_MAX + 1];
    const size_t max = LEASE_EVENT_CONTENT_MAX;
    struct lease_command command = put("f", "");
    must(l, command);
    assert_last(l, 0, true, 0, false);
    command.content = bytes_of(content, max);
    must(l, command);
    assert_last(l, max, true, 0, true);
    must(l, command);
    assert_last(l, max, true, max, true);
    command.content.size++;
    must(l, command);
    assert_last(l, max + 1, false, max, true);
    must(l, command);
    assert_last(l, max + 1, false, max + 1, false);
    must(l, delete_any("f"));
    assert_last(l, 0, false, max + 1, false);
    must(l, create("d", LEASE_DIRECTORY, ""));
    assert_last(l, 0, false, 0, false);
    finish(l, &heap);
}

/* ------------------------------------------------------------------- bounds */

static void test_floor(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 20000);
    assert_int_equal(lease_history_floor(l), 0);
    static uint8_t content[LEASE_EVENT_CONTENT_MAX];
    struct lease_command command = put("f", "");
    uint64_t floor = 0;
    for (size_t i = 0; i < 300; i++) {
        command.content = bytes_of(content, i % 50 == 0 ? sizeof content : i);
        must(l, command);
        lease_check(l);
        assert_true(lease_history_floor(l) >= floor);
        floor = lease_history_floor(l);
        /* From the floor on all is there, each once. */
        struct lease_place place = lease_history_seek(l, floor);
        struct lease_event event;
        uint64_t revision = floor;
        while (lease_history_next(l, &place, &event)) {
            assert_int_equal(event.revision, ++revision);
        }
        assert_int_equal(revision, lease_position(l).revision);
    }
    assert_true(floor > 200 && floor < 300);
    assert_true(lease_counts(l).history_bytes > 20000 - 8 * 1024 - 5000);
    finish(l, &heap);
}

/* A cell that keeps none. */
static void test_none(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 0);
    must(l, put("f", "x"));
    assert_int_equal(lease_history_floor(l), 1);
    assert_events(l, 1, "");
    must(l, put("f", "y"));
    assert_int_equal(lease_counts(l).history_bytes, 0);
    finish(l, &heap);
}

/* Rows of one state, for another. */
struct rows {
    size_t count, left_out;
    struct lease *to;
    bool ok;      /* All were taken, ... */
    bool refused; /* ... or one was not, before the whole was judged. */
};

static void load_row(void *context, const struct lease_row *row)
{
    struct rows *rows = context;
    if (rows->count++ != rows->left_out && rows->ok) {
        rows->ok = lease_row_load(rows->to, row);
        rows->refused = !rows->ok;
    }
}

static bool loads(const struct lease *l, struct heap *heap, uint64_t bytes, size_t left_out,
                  struct rows *ret_rows)
{
    struct rows rows = {
        .left_out = left_out, .to = state_new(heap, with_history(bytes)), .ok = true};
    lease_rows_all(l, load_row, &rows);
    const struct lease_position position = lease_position(l);
    if (rows.ok) {
        rows.ok = lease_loaded(rows.to, position.slot, position.position, lease_digest(l));
    }
    if (rows.ok) {
        lease_check(rows.to);
        assert_int_equal(lease_history_floor(rows.to), lease_history_floor(l));
    }
    lease_free(rows.to);
    *ret_rows = rows;
    return rows.ok;
}

/* One command with more events than a chunk has room for: its revision begins in
 * one chunk and goes on in others, and with the first of them it is no longer whole. */
static void test_one_large_command(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 30000);
    enum { LOCKS = 400 };
    must(l, put("f", ""));
    for (uint64_t i = 1; i <= LOCKS; i++) {
        must(l, with_handle(i, with_ack(i - 1, acquire(A, i, "f", S))));
    }
    const uint64_t revision = lease_position(l).revision;
    must(l, close_session(A, LOCKS + 1));
    assert_true(lease_history_floor(l) < revision);
    struct lease_place place = lease_history_seek(l, revision);
    struct lease_event event;
    unsigned count = 0;
    while (lease_history_next(l, &place, &event)) {
        assert_int_equal(event.revision, revision + 1);
        assert_int_equal(event.change, LEASE_RELEASED);
        count++;
    }
    assert_int_equal(count, LOCKS);

    /* A chunk that is missing is missed. */
    struct rows rows, some;
    assert_true(loads(l, &heap, 30000, SIZE_MAX, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        assert_false(loads(l, &heap, 30000, i, &some));
    }
    assert_false(loads(l, &heap, 30000, rows.count - 2, &some));
    assert_true(some.refused);
    assert_false(loads(l, &heap, 30000, rows.count - 1, &some));
    assert_false(some.refused); /* Who has only the beginning can't know. */

    /* Until its first chunk goes, the revision is all there; then none of it is sure. */
    bool split = false;
    for (int i = 0; i < 300 && !split; i++) {
        must(l, put("f", ""));
        lease_check(l);
        split = lease_history_floor(l) == revision + 1;
        assert_true(split || lease_history_floor(l) <= revision);
    }
    assert_true(split);
    place = lease_history_seek(l, revision + 1);
    assert_true(lease_history_next(l, &place, &event));
    assert_int_equal(event.revision, revision + 2);
    assert_true(loads(l, &heap, 30000, SIZE_MAX, &rows));
    finish(l, &heap);
}

/* An event takes no memory of its own. */
static void test_allocations(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 1 << 20);
    must(l, put("f", "0123456789"));
    const size_t before = heap.allocations;
    for (int i = 0; i < 1000; i++) {
        must(l, put("f", "9876543210"));
    }
    const size_t chunks = lease_counts(l).history_bytes / (8 * 1024 - 100) + 1;
    assert_in_range(heap.allocations - before, 1, chunks);
    finish(l, &heap);
}

/* The chunk of `l`, whose last event names its ACL with `name` in place of the first octet,
 * under the checksum that it then has: does it load? */
struct renamed {
    struct lease *to;
    const uint32_t *ends; /* Of the events. */
    size_t count;
    uint8_t name;
    bool ok;
};

static void load_renamed(void *context, const struct lease_row *row)
{
    enum { HEAD = 1 + 8 + 4, NAME = 1 + 1 + 8 + 8 + 8 + 2 + 1 };
    struct renamed *renamed = context;
    uint8_t value[1024];
    assert_true(row->value.size <= sizeof value);
    memcpy(value, row->value.data, row->value.size);
    if (row->key.data[0] == 7) {
        uint32_t from = renamed->ends[renamed->count - 2];
        value[HEAD + from + NAME] = renamed->name;
        uint64_t checksum = 0;
        from = 0;
        for (size_t i = 0; i < renamed->count; i++) {
            checksum = hash64_seeded(value + HEAD + from, renamed->ends[i] - from, checksum);
            from = renamed->ends[i];
        }
        struct writer w = writer_over(value + 1, 8);
        write_u64(&w, checksum);
    }
    const struct lease_row copy = {row->key, bytes_of(value, row->value.size)};
    renamed->ok = renamed->ok && lease_row_load(renamed->to, &copy);
}

/* An event that names what can't be an ACL is none of ours. */
static void test_acl_names(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap, 1 << 20);
    must(l, create("acl", LEASE_DIRECTORY, ""));
    must(l, put("acl/a", ""));
    must(l, set_acl("", "a", NULL, NULL)); /* Of the root: its path has no octet. */
    uint32_t ends[8];
    size_t count = 0;
    struct lease_place place = lease_history_seek(l, 0);
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        assert_true(count < 8);
        ends[count++] = place.offset;
    }
    assert_true(bytes_equal(event.acl_read, text("a")));
    static const struct {
        uint8_t name;
        bool ok;
    } cases[] = {{'a', true}, {'b', true}, {'/', false}, {'.', false}, {0x1b, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct renamed renamed = {.to = state_new(&heap, with_history(1 << 20)),
                                  .ends = ends,
                                  .count = count,
                                  .name = cases[i].name,
                                  .ok = true};
        lease_rows_all(l, load_renamed, &renamed);
        assert_int_equal(renamed.ok, cases[i].ok);
        lease_free(renamed.to);
    }
    finish(l, &heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_cause), cmocka_unit_test(test_left_by_release),
        cmocka_unit_test(test_content),        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_none),           cmocka_unit_test(test_one_large_command),
        cmocka_unit_test(test_allocations),    cmocka_unit_test(test_acl_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
