/* SPDX-License-Identifier: Apache-2.0
 *
 * Every command in every situation, as tables; then numbers, limits, lists, the
 * epoch barrier and memory.
 */
#include "tests/unit/test_lease_support.h"

#include "paxos/base/hash.h"

#define ANY LEASE_ANY

/* Before each case, at revision 5:
 *
 *     d/         instance 2
 *     d/f        instance 3, generation 2, "old"
 *     e/         instance 4, empty
 *     f          instance 5, generation 1, ""
 */
static struct lease *fixture(struct heap *heap)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, LEASE_LIMITS_DEFAULT);
    must(l, create("d", LEASE_DIRECTORY, ""));
    must(l, put("d/f", "older"));
    must(l, put("d/f", "old"));
    must(l, create("e", LEASE_DIRECTORY, ""));
    must(l, create("f", LEASE_FILE, ""));
    return l;
}

struct outcome {
    const char *name;
    struct lease_command command;
    enum lease_rc rc;
    uint64_t instance; /* Of the stat; 0: there is none. */
    uint64_t generation;
    bool created;
};

static void check_outcome(const struct outcome *o)
{
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t digest = lease_digest(l);
    const size_t used = heap.used;
    const struct lease_result result = apply(l, o->command);
    lease_check(l);

    const bool changed = o->rc == LEASE_OK;
    if (result.rc != o->rc || result.stat.instance != o->instance ||
        result.stat.content_generation != o->generation || result.created != o->created) {
        fail_msg("%s: rc %d instance %d generation %d created %d", o->name, (int)result.rc,
                 (int)result.stat.instance, (int)result.stat.content_generation,
                 (int)result.created);
    }
    assert_int_equal(result.revision, changed ? 6 : 5);
    assert_int_equal(lease_position(l).revision, result.revision);
    if (!changed) {
        assert_true(lease_digest(l) == digest);
        assert_int_equal(heap.used, used);
    } else {
        assert_true(lease_digest(l) != digest);
    }
    if (changed && result.stat.instance != 0) {
        assert_int_equal(result.stat.revision, 6);
        assert_int_equal(result.stat.modified_wall_ms, 1005);
    }
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_put(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"new", put("n", "x"), LEASE_OK, 6, 1, true},
        {"new below", put("e/n", ""), LEASE_OK, 6, 1, true},
        {"overwrites", put("d/f", "new"), LEASE_OK, 3, 3, false},
        {"the same content is a write", put("d/f", "old"), LEASE_OK, 3, 3, false},
        {"nothing over nothing is a write", put("f", ""), LEASE_OK, 5, 2, false},
        {"must not exist, does not", put_if("n", "x", 0, ANY), LEASE_OK, 6, 1, true},
        {"must not exist, exists", put_if("d/f", "x", 0, ANY), LEASE_EXISTS, 0, 0, false},
        {"must not exist, is a directory", put_if("d", "x", 0, ANY), LEASE_EXISTS, 0, 0, false},
        {"generation fits", put_if("d/f", "x", 2, ANY), LEASE_OK, 3, 3, false},
        {"generation is older", put_if("d/f", "x", 1, ANY), LEASE_CONFLICT, 3, 2, false},
        {"generation is newer", put_if("d/f", "x", 3, ANY), LEASE_CONFLICT, 3, 2, false},
        {"generation of nothing", put_if("n", "x", 1, ANY), LEASE_NO_NODE, 0, 0, false},
        {"instance fits", put_if("d/f", "x", ANY, 3), LEASE_OK, 3, 3, false},
        {"instance is another", put_if("d/f", "x", ANY, 2), LEASE_STALE_INSTANCE, 0, 0, false},
        {"instance of nothing", put_if("n", "x", ANY, 3), LEASE_NO_NODE, 0, 0, false},
        {"nothing, but that instance", put_if("n", "x", 0, 3), LEASE_NO_NODE, 0, 0, false},
        {"both fit", put_if("d/f", "x", 2, 3), LEASE_OK, 3, 3, false},
        {"instance before generation", put_if("d/f", "x", 1, 4), LEASE_STALE_INSTANCE, 0, 0,
         false},
        {"a directory", put("d", "x"), LEASE_NOT_A_FILE, 0, 0, false},
        {"the root", put("", "x"), LEASE_NOT_A_FILE, 0, 0, false},
        {"no parent", put("g/n", "x"), LEASE_NO_PARENT, 0, 0, false},
        {"no grandparent", put("g/h/n", "x"), LEASE_NO_PARENT, 0, 0, false},
        {"a file as parent", put("d/f/n", "x"), LEASE_NOT_A_DIRECTORY, 0, 0, false},
        {"a file as grandparent", put("f/g/n", "x"), LEASE_NOT_A_DIRECTORY, 0, 0, false},
        {"a bad path", put("d//f", "x"), LEASE_BAD_PATH, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        check_outcome(&outcomes[i]);
    }
}

static void test_create(void **state)
{
    (void)state;
    const enum lease_kind file = LEASE_FILE, directory = LEASE_DIRECTORY;
    const struct outcome outcomes[] = {
        {"a file", create("n", file, "x"), LEASE_OK, 6, 1, false},
        {"an empty file", create("e/n", file, ""), LEASE_OK, 6, 1, false},
        {"a directory", create("d/n", directory, ""), LEASE_OK, 6, 0, false},
        {"a file over a file", create("f", file, "x"), LEASE_EXISTS, 0, 0, false},
        {"a directory over a file", create("f", directory, ""), LEASE_EXISTS, 0, 0, false},
        {"a directory over a directory", create("d", directory, ""), LEASE_EXISTS, 0, 0, false},
        {"the root", create("", directory, ""), LEASE_IS_ROOT, 0, 0, false},
        {"no parent", create("g/n", file, "x"), LEASE_NO_PARENT, 0, 0, false},
        {"no grandparent", create("g/h/n", directory, ""), LEASE_NO_PARENT, 0, 0, false},
        {"a file as parent", create("f/n", file, "x"), LEASE_NOT_A_DIRECTORY, 0, 0, false},
        {"a bad path", create("..", file, "x"), LEASE_BAD_PATH, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        check_outcome(&outcomes[i]);
    }
}

static void test_delete(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {"a file", delete_any("d/f"), LEASE_OK, 0, 0, false},
        {"an empty directory", delete_any("e"), LEASE_OK, 0, 0, false},
        {"a full directory", delete_any("d"), LEASE_NOT_EMPTY, 0, 0, false},
        {"the root", delete_any(""), LEASE_IS_ROOT, 0, 0, false},
        {"nothing", delete_any("n"), LEASE_NO_NODE, 0, 0, false},
        {"nothing in nothing", delete_any("g/n"), LEASE_NO_NODE, 0, 0, false},
        {"below a file", delete_any("f/n"), LEASE_NOT_A_DIRECTORY, 0, 0, false},
        {"generation fits", delete_if("d/f", 2, ANY), LEASE_OK, 0, 0, false},
        {"generation is another", delete_if("d/f", 1, ANY), LEASE_CONFLICT, 3, 2, false},
        {"generation 0 of a file", delete_if("d/f", 0, ANY), LEASE_CONFLICT, 3, 2, false},
        {"generation 0 of a directory", delete_if("e", 0, ANY), LEASE_OK, 0, 0, false},
        {"generation of a directory", delete_if("e", 1, ANY), LEASE_CONFLICT, 4, 0, false},
        {"instance fits", delete_if("d/f", ANY, 3), LEASE_OK, 0, 0, false},
        {"instance is another", delete_if("d/f", ANY, 9), LEASE_STALE_INSTANCE, 0, 0, false},
        {"instance before generation", delete_if("d/f", 1, 9), LEASE_STALE_INSTANCE, 0, 0,
         false},
        {"instance before emptiness", delete_if("d", ANY, 9), LEASE_STALE_INSTANCE, 0, 0,
         false},
        {"a bad path", delete_any("d/"), LEASE_BAD_PATH, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        check_outcome(&outcomes[i]);
    }
}

static void test_content_limit(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    char *large = malloc(LEASE_CONTENT_MAX + 1);
    assert_non_null(large);
    memset(large, 'x', LEASE_CONTENT_MAX + 1);

    struct lease_command command = put("n", "");
    command.content = bytes_of(large, LEASE_CONTENT_MAX + 1);
    assert_int_equal(apply(l, command).rc, LEASE_TOO_LARGE);
    command.type = LEASE_CMD_CREATE;
    assert_int_equal(apply(l, command).rc, LEASE_TOO_LARGE);
    command.content.size--;
    assert_int_equal(must(l, command).stat.size, LEASE_CONTENT_MAX);
    lease_check(l);

    free(large);
    lease_free(l);
}

static void test_cell_limits(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, (struct lease_limits){.nodes = 3, .content_bytes = 10});
    must(l, put("a", "12345"));
    assert_int_equal(apply(l, put("b", "123456")).rc, LEASE_LIMIT);
    must(l, put("b", "12345"));
    assert_int_equal(apply(l, put("c", "")).rc, LEASE_LIMIT);
    assert_int_equal(apply(l, create("c", LEASE_DIRECTORY, "")).rc, LEASE_LIMIT);
    assert_int_equal(apply(l, put("a", "123456")).rc, LEASE_LIMIT);
    must(l, put("a", "54321"));
    must(l, put("a", "1234"));
    must(l, put("b", "123456"));
    must(l, delete_any("a"));
    must(l, put("c", "1234"));
    lease_check(l);

    const struct lease_counts counts = lease_counts(l);
    assert_int_equal(counts.nodes, 3);
    assert_int_equal(counts.content_bytes, 10);
    lease_free(l);
}

static void test_numbers(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    assert_int_equal(must(l, put("a", "1")).stat.instance, 2);
    must(l, delete_any("a"));
    const struct lease_result again = must(l, put("a", "2"));
    assert_int_equal(again.stat.instance, 3); /* Never the number of the old one. */
    assert_int_equal(again.stat.content_generation, 1);
    assert_int_equal(again.revision, 3);
    assert_true(again.stat.checksum == hash64("2", 1));
    assert_int_equal(again.stat.size, 1);
    assert_int_equal(again.stat.lock_generation, 0);
    assert_int_equal(again.stat.acl_generation, 0);
    lease_free(l);
}

static void test_get(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    struct lease_stat stat;
    struct bytes content;
    assert_int_equal(lease_get(l, text("d/f"), &stat, &content), LEASE_OK);
    assert_true(bytes_equal(content, text("old")));
    assert_int_equal(stat.kind, LEASE_FILE);
    assert_int_equal(stat.revision, 3);
    assert_int_equal(stat.size, 3);
    assert_int_equal(lease_get(l, text("d"), &stat, &content), LEASE_OK);
    assert_int_equal(stat.kind, LEASE_DIRECTORY);
    assert_int_equal(stat.children, 1);
    assert_int_equal(stat.checksum, 0);
    assert_int_equal(content.size, 0);
    assert_int_equal(lease_get(l, text(""), &stat, &content), LEASE_OK);
    assert_int_equal(stat.instance, 1);
    assert_int_equal(stat.children, 3);
    assert_int_equal(lease_get(l, text("n"), &stat, &content), LEASE_NO_NODE);
    assert_int_equal(lease_get(l, text("n/n"), &stat, &content), LEASE_NO_NODE);
    assert_int_equal(lease_get(l, text("f/n"), &stat, &content), LEASE_NOT_A_DIRECTORY);
    assert_int_equal(lease_get(l, text("/f"), &stat, &content), LEASE_BAD_PATH);
    lease_free(l);
}

static void assert_page(const struct lease *l, const char *after, uint32_t limit,
                        const char *names, bool expect_more)
{
    struct lease_child children[8];
    uint32_t count = 0;
    bool more = !expect_more;
    assert_int_equal(
        lease_list(l, text("d"), text(after), limit, text(""), children, &count, &more),
        LEASE_OK);
    char joined[64] = "";
    for (uint32_t i = 0; i < count; i++) {
        strncat(joined, (const char *)children[i].name.data, children[i].name.size);
        strcat(joined, " ");
    }
    assert_string_equal(joined, names);
    assert_int_equal(more, expect_more);
}

static void test_list(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    static const char *const names[] = {"d/b", "d/a", "d/aa", "d/\xc3\xa4", "d/B"};
    for (size_t i = 0; i < 5; i++) {
        must(l, put(names[i], ""));
    }
    assert_page(l, "", 8, "B a aa b f \xc3\xa4 ", false);
    assert_page(l, "", 6, "B a aa b f \xc3\xa4 ", false);
    assert_page(l, "", 5, "B a aa b f ", true);
    assert_page(l, "a", 2, "aa b ", true);
    assert_page(l, "ab", 2, "b f ", true); /* A name that is not there. */
    assert_page(l, "f", 8, "\xc3\xa4 ", false);
    assert_page(l, "\xff", 8, "", false);
    assert_page(l, "", 0, "", true);
    assert_page(l, "\xff", 0, "", false);

    uint32_t count;
    bool more;
    assert_int_equal(lease_list(l, text("f"), text(""), 1, text(""), NULL, &count, &more),
                     LEASE_NOT_A_DIRECTORY);
    assert_int_equal(lease_list(l, text("n"), text(""), 1, text(""), NULL, &count, &more),
                     LEASE_NO_NODE);
    assert_int_equal(lease_list(l, text("."), text(""), 1, text(""), NULL, &count, &more),
                     LEASE_BAD_PATH);
    lease_free(l);
}

static void test_list_page_limit(void **state)
{
    (void)state;
    static struct lease_child children[LEASE_LIST_MAX];
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    for (unsigned i = 0; i <= LEASE_LIST_MAX; i++) {
        const char name[5] = {'n', (char)('0' + i / 100 % 100), (char)('0' + i / 10 % 10),
                              (char)('0' + i % 10), 0};
        must(l, put(name, ""));
    }
    uint32_t count = 0;
    bool more = false;
    assert_int_equal(
        lease_list(l, text(""), text(""), UINT32_MAX, text(""), children, &count, &more),
        LEASE_OK);
    assert_int_equal(count, LEASE_LIST_MAX);
    assert_true(more);
    lease_check(l);
    lease_free(l);
}

static void test_epoch_barrier(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    assert_true(lease_in_force(l, 0));
    lease_begin_epoch(l, 1, 7);
    lease_slot_done(l, 1, 0);
    assert_false(lease_in_force(l, 6));
    assert_true(lease_in_force(l, 7));
    assert_true(lease_in_force(l, 8));
    assert_int_equal(lease_position(l).epoch, 7);
    assert_int_equal(lease_position(l).revision, 0);

    /* An older master's first entry, carried forward, begins nothing. */
    const uint64_t digest = lease_digest(l);
    lease_begin_epoch(l, 2, 5);
    lease_slot_done(l, 2, 0);
    assert_false(lease_in_force(l, 6));
    assert_true(lease_digest(l) == digest);

    lease_begin_epoch(l, 3, 9);
    assert_false(lease_in_force(l, 8));
    assert_true(lease_digest(l) != digest); /* The barrier is part of the state. */
    lease_slot_done(l, 3, 0);

    lease_slot_done(l, 4, 17); /* Of an entry that was not in force. */
    assert_int_equal(lease_position(l).slot, 4);
    assert_int_equal(lease_position(l).position, 17);
    lease_check(l);
    lease_free(l);
}

static void test_overwrite_takes_no_memory(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, put("f", "twelve bytes"));
    const size_t allocations = heap.allocations;
    must(l, put("f", "some other content, of 32 octets"));
    must(l, put("f", "1"));
    must(l, put("d/f", "new"));
    assert_int_equal(heap.allocations, allocations);
    must(l, put("f", "some other content of 33 octets.."));
    assert_int_equal(heap.allocations, allocations + 1);
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_memory_is_exact(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_int_equal(lease_counts(l).memory_bytes, heap.used);
    must(l, put("d/f", "a content that is longer than the old one was"));
    assert_int_equal(lease_counts(l).memory_bytes, heap.used);
    must(l, delete_any("d/f"));
    assert_int_equal(lease_counts(l).memory_bytes, heap.used);
    lease_rows_taken(l);
    must(l, delete_any("d"));
    assert_int_equal(lease_counts(l).memory_bytes, heap.used);
    lease_free(l);
    assert_int_equal(heap.used, 0);
    lease_free(NULL);
}

/* Does the replica stop when it may take this many blocks? */
static bool stops_after(size_t allocations)
{
    static struct heap heap; /* Not a local: it changes between setjmp and longjmp. */
    heap = heap_new();
    heap.allocations_left = allocations;
    if (setjmp(heap.exhausted) != 0) {
        heap_abandon(&heap);
        return true;
    }
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    /* Three more than the empty state: the node, its content, a chunk of history. */
    must(l, put("a", "content"));
    lease_free(l);
    return false;
}

static void test_exhausted(void **state)
{
    (void)state;
    for (size_t allocations = 0; allocations < 7; allocations++) {
        assert_true(stops_after(allocations));
    }
    assert_false(stops_after(7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_content_limit),
        cmocka_unit_test(test_cell_limits),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_page_limit),
        cmocka_unit_test(test_epoch_barrier),
        cmocka_unit_test(test_overwrite_takes_no_memory),
        cmocka_unit_test(test_memory_is_exact),
        cmocka_unit_test(test_exhausted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
