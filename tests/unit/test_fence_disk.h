/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fence_disk.h -- a disk in memory for a fence, that fails when it is told to
 * and then loses what was not synced.
 */
#ifndef TEST_FENCE_DISK_H
#define TEST_FENCE_DISK_H

#include "libclient/fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DISK_SIZE = 1 << 20, SECTOR = 512 };

/* What stands after a crash, or a failure, of the appended octets not yet synced. */
#define REMAINS_MAP(X)                                                                         \
    X(NOTHING)                                                                                 \
    X(ALL)                                                                                     \
    X(HALF)                                                                                    \
    X(ALL_BUT_ONE)                                                                             \
    X(ZEROS)      /* The size was written, the octets were not. */                             \
    X(HALF_ZEROS) /* Nor were those of the later sectors, ... */                               \
    X(ZEROS_HALF) /* ... or of the earlier ones. */

enum remains {
#define REMAINS_ENUM(name) name,
    REMAINS_MAP(REMAINS_ENUM)
#undef REMAINS_ENUM
        REMAINS
};

struct memory {
    bool exists;
    char text[DISK_SIZE];
    size_t size, synced;
    unsigned calls, fails_at; /* The n-th call from 1 fails; 0: none. */
    enum remains remains;
    unsigned replaced;
    bool closed;
};

static struct memory memory;

static inline bool call_fails(struct memory *d)
{
    return ++d->calls == d->fails_at;
}

/* Sectors between two of which the unsynced octets are cut. */
static inline void zero(struct memory *d, size_t from, size_t to)
{
    memset(d->text + from, 0, to > from ? to - from : 0);
}

static inline void lose(struct memory *d)
{
    const size_t left = d->size - d->synced;
    const size_t sector = (d->synced / SECTOR + 1) * SECTOR;
    const size_t middle = sector < d->size ? sector : d->size;
    switch (d->remains) {
    case NOTHING:
        d->size = d->synced;
        break;
    case HALF:
        d->size -= left / 2;
        break;
    case ALL_BUT_ONE:
        d->size -= left > 0 ? 1 : 0;
        break;
    case ZEROS:
        zero(d, d->synced, d->size);
        break;
    case HALF_ZEROS:
        zero(d, middle, d->size);
        break;
    case ZEROS_HALF:
        zero(d, d->synced, middle);
        break;
    case ALL:
    case REMAINS:
        break;
    }
    d->synced = d->size;
}

static inline enum lockd_rc memory_read(void *context, char **ret_text, size_t *ret_size)
{
    struct memory *d = context;
    if (call_fails(d)) {
        return LOCKD_E_SYSTEM;
    }
    if (d->exists) {
        *ret_text = malloc(d->size + 1);
        assert_non_null(*ret_text);
        memcpy(*ret_text, d->text, d->size);
        *ret_size = d->size;
    }
    return LOCKD_OK;
}

static inline enum lockd_rc memory_replace(void *context, const char *text, size_t size)
{
    struct memory *d = context;
    const bool fails = call_fails(d);
    /* Failed, it is one or the other. */
    if (!fails || d->remains == ALL) {
        assert_true(size <= DISK_SIZE);
        memcpy(d->text, text, size);
        d->size = d->synced = size;
        d->exists = true;
        d->replaced++;
    }
    return fails ? LOCKD_E_SYSTEM : LOCKD_OK;
}

static inline enum lockd_rc memory_append(void *context, const char *text, size_t size)
{
    struct memory *d = context;
    assert_int_equal(d->synced, d->size); /* One change at a time. */
    assert_true(size <= DISK_SIZE - d->size);
    memcpy(d->text + d->size, text, size);
    d->size += size;
    if (call_fails(d)) {
        lose(d);
        return LOCKD_E_SYSTEM;
    }
    return LOCKD_OK;
}

static inline enum lockd_rc memory_sync(void *context)
{
    struct memory *d = context;
    if (call_fails(d)) {
        lose(d);
        return LOCKD_E_SYSTEM;
    }
    d->synced = d->size;
    return LOCKD_OK;
}

static inline void memory_close(void *context)
{
    struct memory *d = context;
    d->closed = true;
}

static inline enum lockd_rc try_open(uint32_t names_max, struct lockd_fence **ret_fence)
{
    const struct fence_disk disk = {.context = &memory,
                                    .read = memory_read,
                                    .replace = memory_replace,
                                    .append = memory_append,
                                    .sync = memory_sync,
                                    .close = memory_close};
    const struct lockd_fence_options options = {.size = sizeof options, .names_max = names_max};
    return fence_open(&disk, &options, ret_fence);
}

static inline struct lockd_fence *reopen(struct lockd_fence *fence, uint32_t names_max)
{
    lockd_fence_close(fence);
    memory.fails_at = 0;
    assert_int_equal(try_open(names_max, &fence), LOCKD_OK);
    return fence;
}

static inline struct lockd_fence *open_new(uint32_t names_max)
{
    memory.exists = false;
    memory.size = memory.synced = memory.replaced = 0;
    return reopen(NULL, names_max);
}

#endif
