/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of ACLs: inherited and changed; and what a change of rights does to sessions
 * and to those who wait.
 */
#include "tests/unit/lease_acl_fixture.h"

static bool exists(const struct lease *l, const char *path)
{
    struct lease_stat stat;
    struct bytes content;
    return lease_get(l, text(path), &stat, &content) == LEASE_OK;
}

/* -------------------------------------------------------------------- names */

static void assert_names(const struct lease *l, const char *path, const char *read,
                         const char *write, const char *change)
{
    struct bytes names[LEASE_RIGHTS];
    assert_int_equal(lease_acl(l, text(path), names), LEASE_OK);
    assert_true(bytes_equal(names[LEASE_READ], text(read)));
    assert_true(bytes_equal(names[LEASE_WRITE], text(write)));
    assert_true(bytes_equal(names[LEASE_CHANGE], text(change)));
}

static void test_inheritance(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    assert_names(l, "", "", "", "");
    assert_names(l, "acl/readers", "", "", "");
    must(l, as("alice", put("d/p", "")));
    must(l, as("alice", create("d/c", LEASE_DIRECTORY, "")));
    must(l, as("alice", put("d/c/p", "")));
    must(l, as("alice", open_ephemeral(ALICE, 2, "d/m", LEASE_DIRECTORY)));
    must(l, as("alice", by(ALICE, 3, making("d/l"))));
    static const char *const made[] = {"d/p", "d/c", "d/c/p", "d/m", "d/e", "d/l"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        assert_names(l, made[i], "readers", "writers", "admins");
        assert_int_equal(stat_of(l, made[i]).acl_generation, 0);
    }

    /* Once made, each has its own. */
    must(l, as("carol", set_acl("d", NULL, "readers", NULL)));
    assert_names(l, "d", "readers", "readers", "admins");
    assert_names(l, "d/c", "readers", "writers", "admins");
    must(l, as("bob", put("d/b", "")));
    assert_names(l, "d/b", "readers", "readers", "admins");
    struct bytes names[LEASE_RIGHTS];
    assert_int_equal(lease_acl(l, text("n/n"), names), LEASE_NO_NODE);
    finish(l, &heap);
}

static struct lease_command if_acl(uint64_t generation, uint64_t instance,
                                   struct lease_command command)
{
    command.if_generation = generation;
    command.if_instance = instance;
    return command;
}

static void test_set_acl(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, create("acl/directory", LEASE_DIRECTORY, ""));
    char longest[LEASE_ACL_NAME_MAX + 2] = "";
    memset(longest, 'l', LEASE_ACL_NAME_MAX);
    char path[sizeof longest + 4] = "acl/";
    must(l, put(strcat(path, longest), ""));
    const struct lease_stat before = stat_of(l, "d/f");
    const uint64_t revision = lease_position(l).revision;

    /* What changes nothing. */
    const struct lease_command idle[] = {
        set_acl("d/f", NULL, NULL, NULL),
        set_acl("d/f", "readers", NULL, "admins"),
        if_acl(0, before.instance, set_acl("d/f", "readers", NULL, NULL)),
    };
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        const struct lease_result result = must(l, as("carol", idle[i]));
        assert_int_equal(result.revision, revision);
        assert_int_equal(result.stat.instance, before.instance);
    }
    struct lease_command wrong[] = {
        if_acl(1, LEASE_ANY, set_acl("d/f", "", NULL, NULL)),
        if_acl(LEASE_ANY, 1, set_acl("d/f", "", NULL, NULL)),
        set_acl("d/f", "directory", NULL, NULL),
        set_acl("d/f", "readers", "n", NULL),
        set_acl("d/f", NULL, NULL, "../acl/readers"),
        set_acl("d/f", NULL, NULL, strcat(longest, "l")),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const struct lease_result result = apply(l, as("carol", wrong[i]));
        assert_int_equal(result.rc, i == 0   ? LEASE_CONFLICT
                                    : i == 1 ? LEASE_STALE_INSTANCE
                                             : LEASE_NO_ACL);
        assert_int_equal(result.stat.instance, i == 0 ? before.instance : 0);
        assert_int_equal(result.revision, revision);
    }
    assert_names(l, "d/f", "readers", "writers", "admins");

    /* What does. */
    longest[LEASE_ACL_NAME_MAX] = '\0';
    const struct lease_result result =
        must(l, as("carol", if_acl(0, before.instance, set_acl("d/f", "", longest, NULL))));
    assert_int_equal(result.revision, revision + 1);
    assert_int_equal(result.stat.acl_generation, 1);
    assert_int_equal(result.stat.revision, revision + 1);
    assert_int_equal(result.stat.content_generation, before.content_generation);
    assert_true(result.stat.modified_wall_ms > before.modified_wall_ms);
    assert_names(l, "d/f", "", longest, "admins");
    must(l, as("carol", if_acl(1, LEASE_ANY, set_acl("d/f", "readers", NULL, NULL))));
    assert_int_equal(stat_of(l, "d/f").acl_generation, 2);
    must(l, set_acl("", NULL, NULL, "admins"));
    assert_names(l, "", "", "", "admins");
    assert_int_equal(apply(l, set_acl("", NULL, NULL, "")).rc, LEASE_DENIED);
    finish(l, &heap);
}

/* Each event says who may hear of it: the list that the node named then. */
static void test_events(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t revision = lease_position(l).revision;
    must(l, as("alice", put("d/f", "x")));
    must(l, as("carol", set_acl("d/f", "admins", NULL, NULL)));
    must(l, as("alice", put("d/f", "y")));
    must(l, as("alice", delete_any("d/f")));
    must(l, as("alice", put("d/f", "")));
    static const struct {
        enum lease_change change;
        const char *acl;
    } expected[] = {{LEASE_WRITTEN, "readers"},
                    {LEASE_ACL_CHANGED, "admins"},
                    {LEASE_WRITTEN, "admins"},
                    {LEASE_DELETED, "admins"},
                    {LEASE_CREATED, "readers"}};
    struct lease_place place = lease_history_seek(l, revision);
    struct lease_event event;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(lease_history_next(l, &place, &event));
        assert_int_equal(event.revision, revision + 1 + i);
        assert_int_equal(event.change, expected[i].change);
        assert_true(bytes_equal(event.path, text("d/f")));
        assert_true(bytes_equal(event.acl_read, text(expected[i].acl)));
    }
    assert_false(lease_history_next(l, &place, &event));
    finish(l, &heap);
}

/* The lists themselves are nodes like others. */
static void test_lists_of_lists(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    must(l, set_acl("acl", NULL, "admins", "admins"));
    must(l, set_acl("acl/admins", NULL, "admins", "admins"));
    assert_int_equal(apply(l, as("alice", put("acl/mine", "alice"))).rc, LEASE_DENIED);
    assert_int_equal(apply(l, as("alice", put("acl/admins", "alice"))).rc, LEASE_DENIED);
    assert_int_equal(apply(l, as("alice", set_acl("acl", NULL, "", NULL))).rc, LEASE_DENIED);
    must(l, as("carol", put("acl/admins", "bob # carol has gone")));
    assert_int_equal(apply(l, as("carol", put("acl/admins", "carol"))).rc, LEASE_DENIED);
    must(l, as("bob", put("acl/more", "")));

    /* The last one locks everybody out; from the machine there is a way back. */
    must(l, as("bob", delete_any("acl/admins")));
    assert_int_equal(apply(l, as("bob", put("acl/admins", "bob"))).rc, LEASE_DENIED);
    assert_int_equal(apply(l, as("bob", set_acl("acl", NULL, "", NULL))).rc, LEASE_DENIED);
    must(l, as(LEASE_ROOT, put("acl/admins", "carol")));
    assert_names(l, "acl/admins", "", "admins", "admins");
    must(l, as("carol", put("acl/admins", "carol\nbob")));
    must(l, as("bob", put("acl/more", "x")));
    finish(l, &heap);
}

/* ---------------------------------------------------------------- sessions */

static void test_bound_principal(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const uint64_t digest = lease_digest(l);
    const struct lease_command commands[] = {
        by(ALICE, 2, put("d/o", "x")), by(ALICE, 1, put("d/o", "x")), close_session(ALICE, 2),
        with_ack(9, cancel(ALICE, 2, 1)), open_node(ALICE, 2, "d/o")};
    static const char *const others[] = {"bob", LEASE_ROOT, "", "alic"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        for (size_t j = 0; j < sizeof others / sizeof others[0]; j++) {
            assert_int_equal(apply(l, as(others[j], commands[i])).rc, LEASE_DENIED);
            assert_true(lease_digest(l) == digest); /* Nor is it remembered. */
        }
    }
    must(l, as("alice", commands[0]));
    finish(l, &heap);
}

/* What was decided stays decided. */
static void test_retries(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = fixture(&heap);
    const struct lease_command done = as("alice", by(ALICE, 2, put("d/f", "x")));
    const struct lease_command denied = as("bob", by(BOB, 1, put("d/f", "y")));
    const struct lease_command unknown =
        as("carol", by(CAROL, 1, set_acl("d/f", "later", NULL, NULL)));
    const struct lease_result none = apply(l, unknown);
    assert_int_equal(none.rc, LEASE_NO_ACL);
    const struct lease_result first = must(l, done);
    const struct lease_result refused = apply(l, denied);
    assert_int_equal(refused.rc, LEASE_DENIED);
    must(l, put("acl/writers", "bob"));
    must(l, put("acl/later", ""));
    const struct lease_result nothing = apply(l, unknown);
    assert_same_result(&none, &nothing);
    const struct lease_result again = apply(l, done);
    assert_same_result(&first, &again);
    const struct lease_result still = apply(l, denied);
    assert_same_result(&refused, &still);
    assert_int_equal(apply(l, as("alice", by(ALICE, 3, put("d/f", "x")))).rc, LEASE_DENIED);
    must(l, as("bob", by(BOB, 2, put("d/f", "y"))));
    finish(l, &heap);
}

/* ------------------------------------------------------------------- locks */

static void assert_settled(const struct lease *l, uint64_t session, enum lease_rc rc, size_t at)
{
    uint32_t count = 0;
    const struct lease_settled *settled = lease_settled(l, &count);
    assert_true(at < count);
    assert_int_equal(settled[at].session, session);
    assert_int_equal(settled[at].result.rc, rc);
}

/* Alice holds d/f; bob, dave and carol wait for it. */
static struct lease *waiting(struct heap *heap, const char *path)
{
    struct lease *l = fixture(heap);
    must(l, put("acl/writers", "*"));
    must(l, as("alice", acquire(ALICE, 2, path, LEASE_EXCLUSIVE)));
    static const uint64_t waiters[] = {BOB, DAVE, CAROL};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(apply(l, as(principals[waiters[i] - 1],
                                     acquire(waiters[i], 2, path, LEASE_EXCLUSIVE)))
                             .rc,
                         LEASE_WAITING);
    }
    return l;
}

static void test_waiters(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = waiting(&heap, "d/f");
    const uint64_t token = stat_of(l, "d/f").lock_token;
    must(l, put("acl/writers", "carol\ndave"));
    assert_int_equal(lease_counts(l).waiting, 3); /* Only when its turn comes. */
    must(l, as("alice", release(ALICE, 3, "d/f", token)));
    assert_settled(l, BOB, LEASE_DENIED, 0);
    assert_settled(l, DAVE, LEASE_OK, 1);
    assert_int_equal(lease_counts(l).waiting, 1);
    assert_int_equal(lease_counts(l).held, 1);

    /* A retry hears it again; who came to hold it keeps it whatever its rights. */
    assert_int_equal(apply(l, as("bob", acquire(BOB, 2, "d/f", LEASE_EXCLUSIVE))).rc,
                     LEASE_DENIED);
    must(l, put("acl/writers", ""));
    assert_int_equal(lease_counts(l).held, 1);
    must(l, as("dave", release(DAVE, 3, "d/f", stat_of(l, "d/f").lock_token)));
    assert_settled(l, CAROL, LEASE_DENIED, 0);
    assert_int_equal(lease_counts(l).held + lease_counts(l).waiting, 0);
    finish(l, &heap);
}

/* An ephemeral node that only waiters kept goes with the last of them; and so by every
 * way in which the lock may come free. */
static void test_waiters_of_ephemeral(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct heap heap;
        struct lease *l = waiting(&heap, "d/e");
        const struct lease_stat stat = stat_of(l, "d/e");
        must(l, as("alice", close_node(ALICE, 3, "d/e", stat.instance)));
        must(l, put("acl/writers", ""));
        assert_true(exists(l, "d/e"));
        const struct lease_command commands[] = {
            as("alice", release(ALICE, 4, "d/e", stat.lock_token)),
            as("alice", close_session(ALICE, 4)), expire_session(ALICE, 0)};
        must(l, commands[way]);
        assert_settled(l, BOB, LEASE_DENIED, 0);
        assert_settled(l, DAVE, LEASE_DENIED, 1);
        assert_settled(l, CAROL, LEASE_DENIED, 2);
        assert_false(exists(l, "d/e"));
        finish(l, &heap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inheritance),     cmocka_unit_test(test_set_acl),
        cmocka_unit_test(test_events),          cmocka_unit_test(test_lists_of_lists),
        cmocka_unit_test(test_bound_principal), cmocka_unit_test(test_retries),
        cmocka_unit_test(test_waiters),         cmocka_unit_test(test_waiters_of_ephemeral),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
