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

static inline struct lease_command open_session(uint64_t session)
{
    return (struct lease_command){.type = LEASE_CMD_SESSION_OPEN,
                                  .subject = session,
                                  .lease_ms = 5000,
                                  .label = text("label")};
}

static inline struct lease_command close_session(uint64_t session, uint64_t request)
{
    return (struct lease_command){
        .type = LEASE_CMD_SESSION_CLOSE, .session = session, .request = request};
}

/* An existing node, by handle 1. */
static inline struct lease_command open_node(uint64_t session, uint64_t request,
                                             const char *path)
{
    return (struct lease_command){.type = LEASE_CMD_OPEN,
                                  .session = session,
                                  .request = request,
                                  .path = text(path),
                                  .handle = 1,
                                  .if_instance = LEASE_ANY};
}

/* The same, an ephemeral one that is made when it is missing. */
static inline struct lease_command open_ephemeral(uint64_t session, uint64_t request,
                                                  const char *path, enum lease_kind kind)
{
    struct lease_command command = open_node(session, request, path);
    command.kind = kind;
    command.ephemeral = true;
    return command;
}

static inline struct lease_command close_node(uint64_t session, uint64_t request,
                                              const char *path, uint64_t instance)
{
    struct lease_command command = open_node(session, request, path);
    command.type = LEASE_CMD_CLOSE;
    command.if_instance = instance;
    return command;
}

static inline struct lease_command delay_over(uint64_t instance, uint64_t number,
                                              uint64_t epoch)
{
    return (struct lease_command){.type = LEASE_CMD_DELAY_OVER,
                                  .subject = instance,
                                  .subject_request = number,
                                  .epoch = epoch};
}

/* Of epoch 0, in which apply() below proposes unless another has begun. */
static inline struct lease_command expire_session(uint64_t session, uint64_t epoch)
{
    return (struct lease_command){
        .type = LEASE_CMD_SESSION_EXPIRE, .subject = session, .epoch = epoch};
}

/* That waits for ever; handle 1. */
static inline struct lease_command acquire(uint64_t session, uint64_t request, const char *path,
                                           enum lease_mode mode)
{
    return (struct lease_command){.type = LEASE_CMD_ACQUIRE,
                                  .session = session,
                                  .request = request,
                                  .path = text(path),
                                  .mode = mode,
                                  .handle = 1,
                                  .wait = true,
                                  .if_instance = LEASE_ANY};
}

static inline struct lease_command try_acquire(uint64_t session, uint64_t request,
                                               const char *path, enum lease_mode mode)
{
    struct lease_command command = acquire(session, request, path, mode);
    command.wait = false;
    return command;
}

static inline struct lease_command release(uint64_t session, uint64_t request, const char *path,
                                           uint64_t token)
{
    return (struct lease_command){.type = LEASE_CMD_RELEASE,
                                  .session = session,
                                  .request = request,
                                  .path = text(path),
                                  .handle = 1,
                                  .token = token};
}

static inline struct lease_command cancel(uint64_t session, uint64_t request, uint64_t subject)
{
    return (struct lease_command){.type = LEASE_CMD_CANCEL,
                                  .session = session,
                                  .request = request,
                                  .subject_request = subject};
}

static inline struct lease_command time_out(uint64_t session, uint64_t request, uint64_t epoch)
{
    return (struct lease_command){.type = LEASE_CMD_TIMEOUT,
                                  .subject = session,
                                  .subject_request = request,
                                  .epoch = epoch};
}

/* The same, asked by a session. */
static inline struct lease_command by(uint64_t session, uint64_t request,
                                      struct lease_command command)
{
    command.session = session;
    command.request = request;
    return command;
}

/* The same, asked by somebody. */
static inline struct lease_command as(const char *principal, struct lease_command command)
{
    command.principal = text(principal);
    return command;
}

/* The names of all three ACLs; NULL: as it is. */
static inline struct lease_command set_acl(const char *path, const char *read,
                                           const char *write, const char *change)
{
    struct lease_command command = {.type = LEASE_CMD_SET_ACL,
                                    .path = text(path),
                                    .if_generation = LEASE_ANY,
                                    .if_instance = LEASE_ANY};
    command.acl[LEASE_READ] = read == NULL ? bytes_of(NULL, 0) : text(read);
    command.acl[LEASE_WRITE] = write == NULL ? bytes_of(NULL, 0) : text(write);
    command.acl[LEASE_CHANGE] = change == NULL ? bytes_of(NULL, 0) : text(change);
    return command;
}

static inline struct lease_command with_handle(uint64_t handle, struct lease_command command)
{
    command.handle = handle;
    return command;
}

static inline struct lease_command with_ack(uint64_t floor, struct lease_command command)
{
    command.ack_floor = floor;
    return command;
}

/* Field by field: what lies between them means nothing. */
static inline void assert_same_result(const struct lease_result *a,
                                      const struct lease_result *b)
{
    assert_int_equal(a->rc, b->rc);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->token, b->token);
    assert_int_equal(a->session, b->session);
    assert_int_equal(a->lease_ms, b->lease_ms);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->stat.kind, b->stat.kind);
    assert_int_equal(a->stat.instance, b->stat.instance);
    assert_int_equal(a->stat.content_generation, b->stat.content_generation);
    assert_int_equal(a->stat.lock_generation, b->stat.lock_generation);
    assert_int_equal(a->stat.acl_generation, b->stat.acl_generation);
    assert_true(a->stat.checksum == b->stat.checksum);
    assert_int_equal(a->stat.revision, b->stat.revision);
    assert_int_equal(a->stat.modified_wall_ms, b->stat.modified_wall_ms);
    assert_int_equal(a->stat.size, b->stat.size);
    assert_int_equal(a->stat.children, b->stat.children);
    assert_int_equal(a->stat.lock_token, b->stat.lock_token);
    assert_int_equal(a->stat.ephemeral, b->stat.ephemeral);
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
