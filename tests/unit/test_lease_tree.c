/* SPDX-License-Identifier: Apache-2.0
 *
 * The balanced tree against a plain array of flags.
 */
#include "tests/unit/test_lease_support.h"

#include "lease/tree.h"
#include "paxos/base/rng.h"

enum { KEYS = 512 };

struct entry {
    struct tree_link link;
    int key;
};

static struct entry entries[KEYS];
static bool present[KEYS];

static struct entry *entry_of(struct tree_link *link)
{
    return tree_entry(link, struct entry, link);
}

static void insert(struct tree *tree, int key)
{
    struct tree_place place = tree_root_place(tree);
    while (*place.at != NULL) {
        place = tree_below(place, key > entry_of(*place.at)->key);
    }
    entries[key].key = key;
    present[key] = true;
    tree_insert(tree, place, &entries[key].link);
}

static void delete_key(struct tree *tree, int key)
{
    present[key] = false;
    tree_remove(tree, &entries[key].link);
}

static void compare(const struct tree *tree)
{
    tree_check(tree);
    struct tree_link *link = tree_first(tree);
    for (int key = 0; key < KEYS; key++) {
        if (present[key]) {
            assert_non_null(link);
            assert_int_equal(entry_of(link)->key, key);
            link = tree_next(link);
        }
    }
    assert_null(link);
}

static void test_random(void **state)
{
    (void)state;
    struct rng rng = {.state = 11};
    struct tree tree = {0};
    memset(present, 0, sizeof present);
    for (int step = 0; step < 20000; step++) {
        /* Grow and shrink by turns, so that every shape of removal is met. */
        const bool grow = rng_below(&rng, 100) < ((step / 2000) % 2 == 0 ? 70u : 30u);
        const int key = (int)rng_below(&rng, KEYS);
        if (grow && !present[key]) {
            insert(&tree, key);
        } else if (!grow && present[key]) {
            delete_key(&tree, key);
        }
        if (step % 16 == 0) {
            compare(&tree);
        }
    }
    compare(&tree);
}

static void test_every_small_order(void **state)
{
    (void)state;
    /* All orders of insertion of six keys, and from each all single removals. */
    int order[6] = {0, 1, 2, 3, 4, 5};
    int counter[6] = {0};
    for (int i = 0; i < 6;) {
        for (int removed = 0; removed < 6; removed++) {
            struct tree tree = {0};
            memset(present, 0, sizeof present);
            for (int k = 0; k < 6; k++) {
                insert(&tree, order[k]);
            }
            delete_key(&tree, removed);
            compare(&tree);
        }
        while (i < 6 && counter[i] >= i) {
            counter[i++] = 0;
        }
        if (i < 6) {
            const int other = i % 2 == 0 ? 0 : counter[i];
            const int kept = order[other];
            order[other] = order[i];
            order[i] = kept;
            counter[i]++;
            i = 0;
        }
    }
}

static void test_ascending_stays_flat(void **state)
{
    (void)state;
    struct tree tree = {0};
    memset(present, 0, sizeof present);
    for (int key = 0; key < KEYS; key++) {
        insert(&tree, key);
    }
    compare(&tree);
    int depth = 0;
    for (struct tree_link *link = &entries[KEYS - 1].link; link != NULL; link = link->parent) {
        depth++;
    }
    assert_true(depth <= 13); /* 1.44 log2(512). */
}

static void test_leaves_first(void **state)
{
    (void)state;
    struct tree tree = {0};
    memset(present, 0, sizeof present);
    for (int key = 0; key < 100; key++) {
        insert(&tree, (key * 37) % 100);
    }
    int seen = 0;
    for (struct tree_link *link = tree_first_leaf(&tree); link != NULL;) {
        struct tree_link *next = tree_next_up(link);
        for (int side = 0; side < 2; side++) {
            if (link->child[side] != NULL) {
                assert_false(present[entry_of(link->child[side])->key]);
            }
        }
        present[entry_of(link)->key] = false;
        seen++;
        link = next;
    }
    assert_int_equal(seen, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_every_small_order),
        cmocka_unit_test(test_ascending_stays_flat),
        cmocka_unit_test(test_leaves_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
