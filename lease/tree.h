/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.h -- an intrusive AVL tree (Adelson-Velsky and Landis, 1962).
 *
 * Balanced by construction, not by chance: names are chosen by users, and no
 * choice of names makes a search longer than 1.44 log2(n).  The tree knows no
 * keys; whoever owns the entries descends by its own comparison and says where
 * a new one belongs:
 *
 *     struct tree_place place = tree_root_place(&tree);
 *     while (*place.at != NULL) {
 *         place = tree_below(place, compare(key, entry_of(*place.at)) > 0);
 *     }
 *     tree_insert(&tree, place, &entry->link);
 */
#ifndef LEASE_TREE_H
#define LEASE_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct tree_link {
    struct tree_link *child[2]; /* [0] sorts before, [1] behind. */
    struct tree_link *parent;
    int balance; /* Height of child[1] less that of child[0]: -1, 0 or 1. */
};

struct tree {
    struct tree_link *root;
};

/* The entry of `type` in which `link`, not NULL, is `member`. */
#define tree_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Where a descent stands: at the pointer `at`, which `parent` holds. */
struct tree_place {
    struct tree_link **at;
    struct tree_link *parent;
};

static inline struct tree_place tree_root_place(struct tree *tree)
{
    return (struct tree_place){.at = &tree->root};
}

static inline struct tree_place tree_below(struct tree_place place, bool behind)
{
    return (struct tree_place){.at = &(*place.at)->child[behind], .parent = *place.at};
}

/* Links in at an empty place. */
void tree_insert(struct tree *tree, struct tree_place place, struct tree_link *link);
void tree_remove(struct tree *tree, struct tree_link *link);

/* In order; NULL at the end. */
struct tree_link *tree_first(const struct tree *tree);
struct tree_link *tree_next(const struct tree_link *link);

/* Children before their parents: the next one is known before `link` is
 * released.  For taking a whole tree down. */
struct tree_link *tree_first_leaf(const struct tree *tree);
struct tree_link *tree_next_up(const struct tree_link *link);

/* Asserts links and balance. */
void tree_check(const struct tree *tree);

#endif
