/* SPDX-License-Identifier: Apache-2.0
 *
 * list.h -- a ring of nodes inside the structs that they link.
 *
 * A head is a node that links to itself while the list is empty; a node that is
 * in no list does so too, so that taking it out twice does no harm.
 */
#ifndef LIBCLIENT_LIST_H
#define LIBCLIENT_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

/* The struct whose `member` is `node`. */
#define LIST_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Also: is the node in a list? */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}

#endif
