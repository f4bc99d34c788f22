/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lease_support.h -- what the tests of lease/ share: an allocator that
 * checks sizes and can run out, and commands in one line.
 */
#ifndef TESTS_UNIT_TEST_LEASE_SUPPORT_H
#define TESTS_UNIT_TEST_LEASE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/lease.h"

/* Each block bears its size and stands in a list, so that a state abandoned in
 * the middle of a command can still be released. */
struct heap_block {
    struct heap_block *next, *prev;
    size_t size;
    max_align_t memory[];
};

struct heap {
    struct heap_block *first;
    size_t used;
    size_t allocations;
    size_t allocations_left; /* Before it runs out. */
    jmp_buf exhausted;
};

static inline void *heap_allocate(void *context, size_t size)
{
    struct heap *heap = context;
    if (heap->allocations_left == 0) {
        return NULL;
    }
    heap->allocations_left--;
    heap->allocations++;
    struct heap_block *block = malloc(sizeof *block + size);
    assert_non_null(block);
    *block = (struct heap_block){.next = heap->first, .size = size};
    if (heap->first != NULL) {
        heap->first->prev = block;
    }
    heap->first = block;
    heap->used += size;
    memset(block->memory, 0xa5, size);
    return block->memory;
}

static inline void heap_release(void *context, void *memory, size_t size)
{
    struct heap *heap = context;
    struct heap_block *block = (void *)((char *)memory - offsetof(struct heap_block, memory));
    assert_int_equal(block->size, size);
    if (block->prev == NULL) {
        heap->first = block->next;
    } else {
        block->prev->next = block->next;
    }
    if (block->next != NULL) {
        block->next->prev = block->prev;
    }
    heap->used -= size;
    free(block);
}

static inline __attribute__((noreturn)) void heap_exhausted(void *context)
{
    struct heap *heap = context;
    longjmp(heap->exhausted, 1);
}

static inline void heap_abandon(struct heap *heap)
{
    while (heap->first != NULL) {
        struct heap_block *block = heap->first;
        heap->first = block->next;
        free(block);
    }
    heap->used = 0;
}

static inline struct lease_allocator heap_allocator(struct heap *heap)
{
    return (struct lease_allocator){heap_allocate, heap_release, heap_exhausted, heap};
}

static inline struct heap heap_new(void)
{
    return (struct heap){.allocations_left = SIZE_MAX};
}

static inline struct lease *state_new(struct heap *heap, struct lease_limits limits)
{
    const struct lease_allocator allocator = heap_allocator(heap);
    return lease_new(&allocator, &limits);
}

static inline struct bytes text(const char *string)
{
    return bytes_of(string, strlen(string));
}

static inline struct lease_command put_if(const char *path, const char *content,
                                          uint64_t if_generation, uint64_t if_instance)
{
    return (struct lease_command){.type = LEASE_CMD_PUT,
                                  .path = text(path),
                                  .kind = LEASE_FILE,
                                  .content = text(content),
                                  .if_generation = if_generation,
                                  .if_instance = if_instance};
}

static inline struct lease_command put(const char *path, const char *content)
{
    return put_if(path, content, LEASE_ANY, LEASE_ANY);
}

static inline struct lease_command create(const char *path, enum lease_kind kind,
                                          const char *content)
{
    return (struct lease_command){.type = LEASE_CMD_CREATE,
                                  .path = text(path),
                                  .kind = kind,
                                  .content = text(content),
                                  .if_generation = LEASE_ANY,
                                  .if_instance = LEASE_ANY};
}

static inline struct lease_command delete_if(const char *path, uint64_t if_generation,
                                             uint64_t if_instance)
{
    return (struct lease_command){.type = LEASE_CMD_DELETE,
                                  .path = text(path),
                                  .if_generation = if_generation,
                                  .if_instance = if_instance};
}

static inline struct lease_command delete_any(const char *path)
{
    return delete_if(path, LEASE_ANY, LEASE_ANY);
}

/* Applies `command` as a slot of its own. */
static inline struct lease_result apply(struct lease *l, struct lease_command command)
{
    const struct lease_position position = lease_position(l);
    const struct lease_at at = {.slot = position.slot + 1,
                                .position = 1,
                                .epoch = position.epoch,
                                .wall_ms = 1000 + position.slot};
    struct lease_result result;
    lease_apply(l, &at, &command, &result);
    lease_slot_done(l, at.slot, 1);
    return result;
}

/* The same, of which nothing but success is expected. */
static inline struct lease_result must(struct lease *l, struct lease_command command)
{
    const struct lease_result result = apply(l, command);
    assert_int_equal(result.rc, LEASE_OK);
    return result;
}

#endif
