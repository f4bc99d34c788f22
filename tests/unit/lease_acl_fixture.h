/* SPDX-License-Identifier: Apache-2.0
 *
 * lease_acl_fixture.h -- five principals, and nodes with which each may do something else.
 */
#ifndef TESTS_UNIT_LEASE_ACL_FIXTURE_H
#define TESTS_UNIT_LEASE_ACL_FIXTURE_H

#include "tests/unit/test_lease_support.h"

static const char *const principals[] = {"alice", "bob", "carol", "dave", LEASE_ROOT};

enum { PRINCIPALS = 5, R = 1 << LEASE_READ, W = 1 << LEASE_WRITE, C = 1 << LEASE_CHANGE };

/* What each of them may do below d/. */
static const unsigned rights[PRINCIPALS] = {R | W, R, C, 0, R | W | C};

enum { ALICE = 1, BOB = 2, CAROL = 3, DAVE = 4, ROOT = 5 }; /* Their sessions. */

/* Before each case:
 *
 *     acl/          readers: alice and bob; writers: alice; admins: carol
 *     d/            read readers, write writers, change admins; and so all below it
 *     d/f           a file, content generation 1
 *     d/e           an ephemeral file that alice has open
 *     d/o           a file that anyone may do anything with
 *     d/h/          a directory that root alone may read
 *     d/h/f         a file in it
 *     d/h/o         another, that anyone may do anything with
 */
static inline struct lease *fixture(struct heap *heap)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, LEASE_LIMITS_DEFAULT);
    must(l, create("acl", LEASE_DIRECTORY, ""));
    must(l, put("acl/readers", "alice\nbob\n"));
    must(l, put("acl/writers", "alice\n"));
    must(l, put("acl/admins", "carol\n"));
    must(l, put("acl/nobody", ""));
    must(l, create("d", LEASE_DIRECTORY, ""));
    must(l, set_acl("d", "readers", "writers", "admins"));
    for (uint64_t i = 0; i < PRINCIPALS; i++) {
        must(l, as(principals[i], open_session(i + 1)));
    }
    must(l, as("alice", put("d/f", "content")));
    must(l, as("alice", open_ephemeral(ALICE, 1, "d/e", LEASE_FILE)));
    must(l, as("alice", put("d/o", "")));
    must(l, as("carol", set_acl("d/o", "", "", "")));
    must(l, as("alice", create("d/h", LEASE_DIRECTORY, "")));
    must(l, as("carol", set_acl("d/h", "nobody", "nobody", "nobody")));
    must(l, as(LEASE_ROOT, put("d/h/f", "")));
    must(l, as(LEASE_ROOT, put("d/h/o", "")));
    must(l, as(LEASE_ROOT, set_acl("d/h/o", "", "", "")));
    return l;
}

static inline void finish(struct lease *l, struct heap *heap)
{
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap->used, 0);
}

static inline struct lease_stat stat_of(const struct lease *l, const char *path)
{
    struct lease_stat stat = {.size = 0};
    struct bytes content;
    assert_int_equal(lease_get(l, text(path), &stat, &content), LEASE_OK);
    return stat;
}

static inline enum lease_rc may(const struct lease *l, const char *path, const char *principal,
                                enum lease_right right)
{
    return lease_may(l, text(path), text(principal), right);
}

static inline struct lease_command making(const char *path)
{
    struct lease_command command = try_acquire(1, 2, path, LEASE_SHARED);
    command.create = true;
    return command;
}

#endif
