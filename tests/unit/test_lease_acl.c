/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may do what: each command by each right, reads, and the lists that say so.
 */
#include "tests/unit/lease_acl_fixture.h"

#include <stdio.h>

static struct lease_command large(struct lease_command command)
{
    static const uint8_t content[LEASE_CONTENT_MAX + 1];
    command.content = bytes_of(content, sizeof content);
    return command;
}

/* ---------------------------------------------------------------- commands */

/* `command` as each principal gives it, in its own session if in any. */
static void check_command(const char *name, struct lease_command command, unsigned needs,
                          enum lease_rc rc)
{
    for (uint64_t i = 0; i < PRINCIPALS; i++) {
        struct heap heap;
        struct lease *l = fixture(&heap);
        const uint64_t revision = lease_position(l).revision;
        command.principal = text(principals[i]);
        command.session = command.session == 0 ? 0 : i + 1;
        const struct lease_result result = apply(l, command);
        const bool allowed = (rights[i] & needs) == needs;
        if (result.rc != (allowed ? rc : LEASE_DENIED)) {
            fail_msg("%s by %s: %s", name, principals[i], lease_rc_text(result.rc));
        }
        if (!allowed) {
            assert_int_equal(result.revision, revision);
            assert_int_equal(result.stat.instance, 0);
            assert_int_equal(result.token, 0);
        }
        finish(l, &heap);
    }
}

static void test_commands(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct lease_command command;
        unsigned needs;
        enum lease_rc rc; /* For who has the right. */
    } cases[] = {
        {"put", put("d/f", "x"), W, LEASE_OK},
        {"put of another generation", put_if("d/f", "x", 7, LEASE_ANY), W, LEASE_CONFLICT},
        {"put of another instance", put_if("d/f", "x", LEASE_ANY, 1), W, LEASE_STALE_INSTANCE},
        {"put into a directory", put("d", "x"), W, LEASE_NOT_A_FILE},
        {"put of too much", large(put("d/f", "")), W, LEASE_TOO_LARGE},
        {"put that makes", put("d/n", "x"), W, LEASE_OK},
        {"put of what must be there", put_if("d/n", "x", 1, LEASE_ANY), W, LEASE_NO_NODE},
        {"put below nothing", put("d/n/n", "x"), W, LEASE_NO_PARENT},
        {"put below a file", put("d/f/n", "x"), W, LEASE_NOT_A_DIRECTORY},
        {"create", create("d/n", LEASE_DIRECTORY, ""), W, LEASE_OK},
        {"create of what is there", create("d/f", LEASE_FILE, ""), W, LEASE_EXISTS},
        {"create below nothing", create("d/n/n", LEASE_FILE, ""), W, LEASE_NO_PARENT},
        {"delete", delete_any("d/f"), W, LEASE_OK},
        {"delete of what is not empty", delete_any("d"), W, LEASE_NOT_EMPTY},
        {"delete of what is open", delete_any("d/e"), W, LEASE_OK},
        {"delete of nothing", delete_any("d/n"), W, LEASE_NO_NODE},
        {"acquire", acquire(1, 2, "d/f", LEASE_EXCLUSIVE), W, LEASE_OK},
        {"shared", try_acquire(1, 2, "d/f", LEASE_SHARED), W, LEASE_OK},
        {"acquire of a directory", acquire(1, 2, "d", LEASE_SHARED), W, LEASE_OK},
        {"acquire of nothing", acquire(1, 2, "d/n", LEASE_SHARED), W, LEASE_NO_NODE},
        {"acquire that makes", making("d/n"), W, LEASE_OK},
        {"open", open_node(1, 2, "d/f"), R, LEASE_OK},
        {"open of an ephemeral one", open_node(1, 2, "d/e"), W, LEASE_OK},
        {"open of nothing", open_node(1, 2, "d/n"), R, LEASE_NO_NODE},
        {"open that makes", open_ephemeral(1, 2, "d/n", LEASE_FILE), W, LEASE_OK},
        {"open that would", open_ephemeral(1, 2, "d/f", LEASE_FILE), R, LEASE_OK},
        {"open below nothing", open_ephemeral(1, 2, "d/n/n", LEASE_FILE), W, LEASE_NO_PARENT},
        {"set_acl", set_acl("d/f", "", "", ""), C, LEASE_OK},
        {"set_acl to what it has", set_acl("d/f", NULL, NULL, NULL), C, LEASE_OK},
        {"set_acl to what is none", set_acl("d/f", "n", NULL, NULL), C, LEASE_NO_ACL},
        {"set_acl of nothing", set_acl("d/n", "", NULL, NULL), C, LEASE_NO_NODE},
        {"set_acl below a file", set_acl("d/f/n", "", NULL, NULL), C, LEASE_NOT_A_DIRECTORY},

        {"what is more open than where it is", put("d/o", "x"), 0, LEASE_OK},
        {"its end", delete_any("d/o"), 0, LEASE_OK},
        {"a permission is not on the path", put("d/h/o", "x"), 0, LEASE_OK},
        {"not a path", put("d//f", "x"), 0, LEASE_BAD_PATH},
        {"not one to open", open_node(1, 2, "d/f/"), 0, LEASE_BAD_PATH},
        {"not one to change", set_acl(".", "", NULL, NULL), 0, LEASE_BAD_PATH},

        {"release", release(1, 2, "d/f", 1), 0, LEASE_NOT_HELD},
        {"close", close_node(1, 2, "d/f", 7), 0, LEASE_OK},
        {"cancel", cancel(1, 2, 9), 0, LEASE_CANCELLED},
        {"close of a session", close_session(1, 2), 0, LEASE_OK},
        {"expiry", expire_session(ALICE, 0), 0, LEASE_OK},
        {"time-out", time_out(ALICE, 9, 0), 0, LEASE_OK},
        {"delay over", delay_over(1, 1, 0), 0, LEASE_OK},
        {"a session", open_session(9), 0, LEASE_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_command(cases[i].name, cases[i].command, cases[i].needs, cases[i].rc);
    }
}

/* Whoever may not read there learns nothing: not what is there, nor what is not. */
static void test_hidden(void **state)
{
    (void)state;
    static const char *const paths[] = {"d/h/f", "d/h/n", "d/h/f/n", "d/h/n/n", "d/h"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const struct lease_command commands[] = {
            put(paths[i], ""),
            put_if(paths[i], "", 0, 77),
            large(put(paths[i], "")),
            create(paths[i], LEASE_FILE, ""),
            delete_any(paths[i]),
            acquire(1, 2, paths[i], LEASE_SHARED),
            making(paths[i]),
            open_node(1, 2, paths[i]),
            open_ephemeral(1, 2, paths[i], LEASE_FILE),
            set_acl(paths[i], "n", NULL, NULL),
        };
        for (size_t j = 0; j < sizeof commands / sizeof commands[0]; j++) {
            struct heap heap;
            struct lease *l = fixture(&heap);
            assert_int_equal(apply(l, as("alice", commands[j])).rc, LEASE_DENIED);
            for (unsigned right = 0; right < LEASE_RIGHTS; right++) {
                assert_int_equal(may(l, paths[i], "alice", right), LEASE_DENIED);
                assert_int_equal(may(l, paths[i], LEASE_ROOT, right), LEASE_OK);
            }
            finish(l, &heap);
        }
    }
}

/* What is there is told with a conflict only to who may read it. */
static void test_conflict(void **state)
{
    (void)state;
    const struct lease_command commands[] = {
        as("alice", put_if("d/f", "x", 77, LEASE_ANY)),
        as("alice", delete_if("d/f", 77, LEASE_ANY)),
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct heap heap;
        struct lease *l = fixture(&heap);
        struct lease_result result = apply(l, commands[i]);
        assert_int_equal(result.rc, LEASE_CONFLICT);
        assert_int_equal(result.stat.instance, stat_of(l, "d/f").instance);
        must(l, as("carol", set_acl("d/f", "nobody", NULL, NULL)));
        result = apply(l, commands[i]);
        assert_int_equal(result.rc, LEASE_CONFLICT);
        assert_int_equal(result.stat.instance, 0);
        assert_int_equal(result.stat.checksum, 0);
        finish(l, &heap);
    }
}

static void test_may(void **state)
{
    (void)state;
    static const char *const paths[] = {"d", "d/f", "d/e", "d/n", "d/n/n", "d/f/n", "d/o/n"};
    struct heap heap;
    struct lease *l = fixture(&heap);
    for (size_t i = 0; i < PRINCIPALS; i++) {
        const char *principal = principals[i];
        for (unsigned right = 0; right < LEASE_RIGHTS; right++) {
            const enum lease_rc rc = (rights[i] & 1u << right) != 0 ? LEASE_OK : LEASE_DENIED;
            for (size_t j = 0; j < sizeof paths / sizeof paths[0]; j++) {
                assert_int_equal(may(l, paths[j], principal, right), rc);
            }
            assert_int_equal(may(l, "", principal, right), LEASE_OK);
            assert_int_equal(may(l, "n/n", principal, right), LEASE_OK);
            assert_int_equal(may(l, "d/o", principal, right), LEASE_OK);
            assert_int_equal(may(l, "d/h/o", principal, right), LEASE_OK);
            assert_int_equal(may(l, "d/h//o", principal, right), LEASE_BAD_PATH);
        }
    }
    finish(l, &heap);
}

static void test_list(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    static const struct {
        const char *principal, *denied; /* Of e, f, h and o. */
    } cases[] = {{"alice", "..h."}, {"dave", "efh."}, {LEASE_ROOT, "...."}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lease_child child[5];
        uint32_t count = 0;
        bool more = true;
        assert_int_equal(lease_list(l, text("d"), text(""), 5, text(cases[i].principal), child,
                                    &count, &more),
                         LEASE_OK);
        assert_int_equal(count, 4);
        assert_false(more);
        for (uint32_t j = 0; j < count; j++) {
            const bool denied = cases[i].denied[j] != '.';
            assert_int_equal(child[j].denied, denied);
            assert_int_equal(child[j].name.data[0], "efho"[j]);
            assert_int_equal(child[j].stat.kind, j == 2 ? LEASE_DIRECTORY : LEASE_FILE);
            assert_int_equal(child[j].stat.instance == 0, denied);
            assert_false(denied && (child[j].stat.revision != 0 || child[j].stat.ephemeral));
        }
    }
    finish(l, &heap);
}

/* More lists than are remembered while a directory is listed. */
static void test_list_of_many(void **state)
{
    (void)state;
    enum { MANY = 300, LISTS = 150 };
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, create("m", LEASE_DIRECTORY, ""));
    for (unsigned i = 0; i < MANY; i++) {
        char acl[32];
        char path[32];
        snprintf(acl, sizeof acl, "acl/%u", i % LISTS);
        snprintf(path, sizeof path, "m/%03u", i);
        if (i < LISTS) {
            must(l, put(acl, i % 3 == 0 ? "dave" : "alice"));
        }
        must(l, put(path, ""));
        must(l, set_acl(path, acl + sizeof "acl/" - 1, NULL, NULL));
    }
    static struct lease_child child[MANY];
    uint32_t count = 0;
    bool more = true;
    assert_int_equal(
        lease_list(l, text("m"), text(""), MANY, text("dave"), child, &count, &more), LEASE_OK);
    assert_int_equal(count, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(child[i].denied, i % LISTS % 3 != 0);
    }
    finish(l, &heap);
}

/* ------------------------------------------------------------------- lists */

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *content, *principal;
        bool listed;
    } cases[] = {
        {"alice", "alice", true},
        {"alice\n", "alice", true},
        {"bob\nalice", "alice", true},
        {"bob\r\nalice\r\n", "alice", true},
        {" \t alice \t ", "alice", true},
        {"alice # who else?", "alice", true},
        {"alice#", "alice", true},
        {"# alice", "alice", false},
        {"#\nalice", "alice", true},
        {"alice bob", "alice", false},
        {"alicea", "alice", false},
        {"alic", "alice", false},
        {"Alice", "alice", false},
        {"", "alice", false},
        {"\n\n", "alice", false},
        {"\n \n", "", false}, /* Who has no name is on no list, ... */
        {"*", "", true},      /* ... and is anyone. */
        {"bob\n * # all", "alice", true},
        {"#*", "alice", false},
        {"**", "alice", false},
        {"a*", "alice", false},
        {"", LEASE_ROOT, true},
        {"two words", "two words", true},
    };
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    must(l, create("acl", LEASE_DIRECTORY, ""));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must(l, put("acl/a", cases[i].content));
        if (lease_acl_lists(l, text("a"), text(cases[i].principal)) != cases[i].listed) {
            fail_msg("%s in %s", cases[i].principal, cases[i].content);
        }
    }
    finish(l, &heap);
}

/* What is no file lists nobody; the empty name is anyone. */
static void test_no_list(void **state)
{
    (void)state;
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    assert_true(lease_acl_lists(l, text(""), text("alice")));
    assert_false(lease_acl_lists(l, text("a"), text("alice")));
    must(l, put("acl", "alice"));
    assert_false(lease_acl_lists(l, text("a"), text("alice")));
    must(l, delete_any("acl"));
    must(l, create("acl", LEASE_DIRECTORY, ""));
    must(l, create("acl/a", LEASE_DIRECTORY, ""));
    must(l, put("acl/a/b", "alice"));
    assert_false(lease_acl_lists(l, text("a"), text("alice")));
    assert_false(lease_acl_lists(l, text("a/b"), text("alice")));
    assert_true(lease_acl_lists(l, text("a"), text(LEASE_ROOT)));
    finish(l, &heap);
}

/* A list that changes counts at once, also for what names it already. */
static void test_changed_list(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_int_equal(may(l, "d/f", "dave", LEASE_READ), LEASE_DENIED);
    must(l, put("acl/readers", "dave"));
    assert_int_equal(may(l, "d/f", "dave", LEASE_READ), LEASE_OK);
    assert_int_equal(may(l, "d/f", "alice", LEASE_READ), LEASE_DENIED);
    must(l, delete_any("acl/readers"));
    assert_int_equal(may(l, "d/f", "dave", LEASE_READ), LEASE_DENIED);
    assert_int_equal(may(l, "d/f", LEASE_ROOT, LEASE_READ), LEASE_OK);
    must(l, put("acl/readers", "*"));
    assert_int_equal(may(l, "d/f", "dave", LEASE_READ), LEASE_OK);
    finish(l, &heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_may),          cmocka_unit_test(test_list),
        cmocka_unit_test(test_lines),        cmocka_unit_test(test_no_list),
        cmocka_unit_test(test_changed_list), cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_list_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
