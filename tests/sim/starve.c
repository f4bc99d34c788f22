/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/starve.h"

#include <errno.h>
#include <stddef.h>

/* What the linker calls malloc() and its kin, and what it calls instead. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static uint32_t left; /* Until one fails; 0: none does. */
static bool failed;

void starve_begin(uint32_t n)
{
    left = n;
}

bool starve_end(void)
{
    const bool has_failed = failed;
    left = 0;
    failed = false;
    return has_failed;
}

static bool fails(void)
{
    if (left == 0 || --left > 0) {
        return false;
    }
    failed = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}
