/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h -- a process's monotonic clock, which runs a little fast or slow.
 *
 * The rates of any two clocks differ by at most the cell's drift, so each is
 * within half of it of true time.  In a world of wild clocks (plan.h) they are
 * much worse: they run half as fast again, jump, and stand still.
 */
#ifndef TESTS_SIM_CLOCK_H
#define TESTS_SIM_CLOCK_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* Shows `base_us` at true time `since_us`. */
struct clock {
    uint64_t since_us;
    uint64_t base_us;
    int32_t rate_ppm; /* How much faster than true time. */
    bool frozen;      /* With its process: it stands still. */
};

static inline uint64_t clock_us(const struct clock *c, uint64_t true_us)
{
    assert(true_us >= c->since_us);
    const uint64_t passed = c->frozen ? 0 : true_us - c->since_us;
    return c->base_us + passed * (uint64_t)(1000000 + c->rate_ppm) / 1000000;
}

static inline uint64_t clock_ms(const struct clock *c, uint64_t true_us)
{
    return clock_us(c, true_us) / 1000;
}

/* The true time at which the clock will show `ms`; at most a minute away. */
static inline uint64_t clock_when_us(const struct clock *c, uint64_t true_us, uint64_t ms)
{
    const uint64_t local_us = clock_us(c, true_us);
    const uint64_t minute_us = 60 * UINT64_C(1000000);
    if (ms <= local_us / 1000) {
        return true_us;
    }
    if (ms - local_us / 1000 >= 60 * 1000) {
        return true_us + minute_us;
    }
    const uint64_t left_us = ms * 1000 - local_us;
    const uint64_t rate = (uint64_t)(1000000 + c->rate_ppm);
    return true_us + (left_us * 1000000 + rate - 1) / rate + 1;
}

/* The clock goes on from what it shows, `forward_us` later. */
static inline void clock_jump(struct clock *c, uint64_t true_us, uint64_t forward_us)
{
    c->base_us = clock_us(c, true_us) + forward_us;
    c->since_us = true_us;
}

/* It stands still from now on, or goes on from what it shows. */
static inline void clock_freeze(struct clock *c, uint64_t true_us, bool frozen)
{
    clock_jump(c, true_us, 0);
    c->frozen = frozen;
}

#endif
