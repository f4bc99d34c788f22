/* SPDX-License-Identifier: Apache-2.0 */
#include "lease/tree.h"

#include <assert.h>

#include "paxos/base/pure.h"

static bool is_behind(const struct tree_link *link)
{
    assert(link->parent != NULL);
    return link->parent->child[1] == link;
}

/* `heir`, which may be NULL, takes the place of `link` under its parent. */
static void replace(struct tree *tree, struct tree_link *link, struct tree_link *heir)
{
    struct tree_link *parent = link->parent;
    if (parent == NULL) {
        assert(tree->root == link);
        tree->root = heir;
    } else {
        parent->child[is_behind(link)] = heir;
    }
    if (heir != NULL) {
        heir->parent = parent;
    }
}

/* Lifts the child on side `heavy` above `link`; the order stays.
 *
 *        link                child
 *       /    \              /     \
 *      a    child   -->   link     c
 *           /   \        /    \
 *          b     c      a      b
 */
static void rotate(struct tree *tree, struct tree_link *link, bool heavy)
{
    struct tree_link *child = link->child[heavy];
    struct tree_link *inner = child->child[!heavy];

    replace(tree, link, child);
    link->child[heavy] = inner;
    if (inner != NULL) {
        inner->parent = link;
    }
    child->child[!heavy] = link;
    link->parent = child;
}

/* Mends a balance of 2 or -2; returns the new top of the subtree. */
static struct tree_link *rebalance(struct tree *tree, struct tree_link *link)
{
    assert(link->balance == 2 || link->balance == -2);
    const bool heavy = link->balance > 0;
    const int sign = heavy ? 1 : -1;
    struct tree_link *child = link->child[heavy];

    if (child->balance == -sign) {
        struct tree_link *top = child->child[!heavy];
        rotate(tree, child, !heavy);
        rotate(tree, link, heavy);
        link->balance = top->balance == sign ? -sign : 0;
        child->balance = top->balance == -sign ? sign : 0;
        top->balance = 0;
        return top;
    }
    rotate(tree, link, heavy);
    /* A level child is met only after a removal; the height then stays. */
    link->balance = child->balance == 0 ? sign : 0;
    child->balance = child->balance == 0 ? -sign : 0;
    return child;
}

void tree_insert(struct tree *tree, struct tree_place place, struct tree_link *link)
{
    assert(*place.at == NULL);
    *link = (struct tree_link){.parent = place.parent};
    *place.at = link;

    /* The subtree of `link` grew by one level. */
    for (; link->parent != NULL; link = link->parent) {
        struct tree_link *parent = link->parent;
        parent->balance += is_behind(link) ? 1 : -1;
        if (parent->balance == 0) {
            return;
        }
        if (parent->balance == 2 || parent->balance == -2) {
            rebalance(tree, parent);
            return;
        }
    }
}

static struct tree_link *outermost(struct tree_link *link, bool behind)
{
    while (link->child[behind] != NULL) {
        link = link->child[behind];
    }
    return link;
}

/* The subtree of `link` on side `behind` lost one level. */
static void shrink(struct tree *tree, struct tree_link *link, bool behind)
{
    while (link != NULL) {
        struct tree_link *parent = link->parent;
        const bool parent_behind = parent != NULL && is_behind(link);

        link->balance += behind ? -1 : 1;
        if (link->balance == 2 || link->balance == -2) {
            link = rebalance(tree, link);
        }
        if (link->balance != 0) {
            return;
        }
        link = parent;
        behind = parent_behind;
    }
}

void tree_remove(struct tree *tree, struct tree_link *link)
{
    struct tree_link *shorter = link->parent;
    bool behind = shorter != NULL && is_behind(link);

    if (link->child[0] == NULL || link->child[1] == NULL) {
        replace(tree, link, link->child[link->child[0] == NULL]);
    } else {
        /* The next in order has no child before it and moves up here. */
        struct tree_link *heir = outermost(link->child[1], /* behind= */ false);
        shorter = heir;
        behind = true;
        if (heir != link->child[1]) {
            shorter = heir->parent;
            behind = false;
            replace(tree, heir, heir->child[1]);
            heir->child[1] = link->child[1];
            heir->child[1]->parent = heir;
        }
        heir->child[0] = link->child[0];
        heir->child[0]->parent = heir;
        heir->balance = link->balance;
        replace(tree, link, heir);
    }
    shrink(tree, shorter, behind);
    *link = (struct tree_link){0};
}

struct tree_link *tree_first(const struct tree *tree)
{
    return tree->root == NULL ? NULL : outermost(tree->root, /* behind= */ false);
}

struct tree_link *tree_next(const struct tree_link *link)
{
    if (link->child[1] != NULL) {
        return outermost(link->child[1], /* behind= */ false);
    }
    while (link->parent != NULL && is_behind(link)) {
        link = link->parent;
    }
    return link->parent;
}

static struct tree_link *some_leaf(struct tree_link *link)
{
    while (link->child[0] != NULL || link->child[1] != NULL) {
        link = link->child[link->child[0] == NULL];
    }
    return link;
}

struct tree_link *tree_first_leaf(const struct tree *tree)
{
    return tree->root == NULL ? NULL : some_leaf(tree->root);
}

struct tree_link *tree_next_up(const struct tree_link *link)
{
    struct tree_link *parent = link->parent;
    if (parent == NULL || is_behind(link) || parent->child[1] == NULL) {
        return parent;
    }
    return some_leaf(parent->child[1]);
}

/* Recursion is safe here: a tree that is deep is not balanced, and the limit
 * says so first. */
static int checked_height(const struct tree_link *link, int depth)
{
    if (link == NULL) {
        return 0;
    }
    assert(depth < 96); /* 1.44 log2 of more entries than memory has octets. */
    int height[2];
    for (int side = 0; side < 2; side++) {
        if (link->child[side] != NULL) {
            assert(link->child[side]->parent == link);
        }
        height[side] = checked_height(link->child[side], depth + 1);
    }
    assert(height[1] - height[0] == link->balance);
    assert(link->balance >= -1 && link->balance <= 1);
    return 1 + (height[0] > height[1] ? height[0] : height[1]);
}

void tree_check(const struct tree *tree)
{
    if (tree->root != NULL) {
        assert(tree->root->parent == NULL);
    }
    checked_height(tree->root, /* depth= */ 0);
}
