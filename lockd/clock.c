/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.c -- see clock.h.  CLOCK_MONOTONIC stands still while the machine
 * sleeps, and a lease that outlived a night in a closed laptop would be a lie.
 */
#include "lockd/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t read_ms(clockid_t clock)
{
    struct timespec now = {0};
    const int rc = clock_gettime(clock, &now);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_boottime_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

uint64_t clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}
