/* SPDX-License-Identifier: Apache-2.0
 *
 * Which events a watch is told, as the judge of histories sees it: one table, to be
 * read beside docs/protocol.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tools/check/scope.h"

enum { CONTENT = 1, CHILD = 2, LOCK = 8, DELETE = 16, CONFLICT = 32, ALL = 63 };

static const struct {
    const char *name;
    const char *watched;
    enum scope_of scope;
    unsigned kinds;
    const char *path;
    enum lease_kind kind;
    enum lease_change change;
    bool told;
} rows[] = {
    {"a file is written", "d/f", SCOPE_NODE, CONTENT, "d/f", LEASE_FILE, LEASE_WRITTEN, true},
    {"another file is", "d/f", SCOPE_NODE, ALL, "d/g", LEASE_FILE, LEASE_WRITTEN, false},
    {"a longer name", "d/f", SCOPE_SUBTREE, ALL, "d/ff", LEASE_FILE, LEASE_WRITTEN, false},
    {"other kinds are watched", "d/f", SCOPE_NODE, LOCK, "d/f", LEASE_FILE, LEASE_WRITTEN,
     false},
    {"a file is made", "d/f", SCOPE_NODE, CONTENT, "d/f", LEASE_FILE, LEASE_CREATED, true},
    {"a directory is made", "d", SCOPE_NODE, CONTENT, "d", LEASE_DIRECTORY, LEASE_CREATED,
     false},
    {"a child is made", "d", SCOPE_NODE, CHILD, "d/f", LEASE_FILE, LEASE_CREATED, true},
    {"a child is written", "d", SCOPE_NODE, ALL, "d/f", LEASE_FILE, LEASE_WRITTEN, false},
    {"a child is deleted", "d", SCOPE_NODE, CHILD, "d/f", LEASE_FILE, LEASE_DELETED, true},
    {"a grandchild is made", "d", SCOPE_NODE, ALL, "d/e/f", LEASE_FILE, LEASE_CREATED, false},
    {"the directory itself is", "d", SCOPE_NODE, CHILD, "d", LEASE_DIRECTORY, LEASE_CREATED,
     false},
    {"of children: one is written", "d", SCOPE_CHILDREN, CONTENT, "d/f", LEASE_FILE,
     LEASE_WRITTEN, true},
    {"of children: one is made", "d", SCOPE_CHILDREN, CHILD, "d/e", LEASE_DIRECTORY,
     LEASE_CREATED, true},
    {"of children: a grandchild is", "d", SCOPE_CHILDREN, ALL, "d/e/f", LEASE_FILE,
     LEASE_CREATED, false},
    {"of children: not the node", "d", SCOPE_CHILDREN, ALL, "d", LEASE_DIRECTORY, LEASE_DELETED,
     false},
    {"below: deep", "d", SCOPE_SUBTREE, CHILD, "d/e/f", LEASE_FILE, LEASE_DELETED, true},
    {"below: itself", "d", SCOPE_SUBTREE, DELETE, "d", LEASE_DIRECTORY, LEASE_DELETED, true},
    {"below: no child of itself", "d", SCOPE_SUBTREE, CHILD, "d", LEASE_DIRECTORY,
     LEASE_DELETED, false},
    {"below the root", "", SCOPE_SUBTREE, LOCK, "l", LEASE_FILE, LEASE_GRANTED, true},
    {"the root has children", "", SCOPE_NODE, CHILD, "l", LEASE_FILE, LEASE_CREATED, true},
    {"the root is nobody's child", "", SCOPE_CHILDREN, ALL, "", LEASE_DIRECTORY, LEASE_GRANTED,
     false},
    {"given back", "l", SCOPE_NODE, LOCK, "l", LEASE_FILE, LEASE_RELEASED, true},
    {"awaited", "l", SCOPE_NODE, CONFLICT, "l", LEASE_FILE, LEASE_CONTENDED, true},
    {"awaited is no lock change", "l", SCOPE_NODE, LOCK, "l", LEASE_FILE, LEASE_CONTENDED,
     false},
};

static struct bytes text(const char *words)
{
    return bytes_of(words, strlen(words));
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct scope scope = {.path = text(rows[i].watched),
                                    .of = rows[i].scope,
                                    .watched = rows[i].kinds,
                                    .if_instance = LEASE_ANY};
        const struct lease_event event = {
            .path = text(rows[i].path), .kind = rows[i].kind, .change = rows[i].change};
        if (scope_tells(&scope, &event) != rows[i].told) {
            fail_msg("%s: this should %sbe told", rows[i].name, rows[i].told ? "" : "not ");
        }
    }
}

static void test_instance(void **state)
{
    (void)state;
    struct scope scope = {
        .path = text("f"), .of = SCOPE_NODE, .watched = ALL, .if_instance = 7};
    struct lease_event event = {
        .path = text("f"), .kind = LEASE_FILE, .change = LEASE_WRITTEN, .instance = 7};
    assert_true(scope_tells(&scope, &event));
    event.instance = 8;
    assert_false(scope_tells(&scope, &event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_instance)};
    return cmocka_run_group_tests_name("check_scope", tests, NULL, NULL);
}
