/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h -- a replica's monotonic clock, which runs a little fast or slow.
 *
 * The rates of any two clocks differ by at most the cell's drift, so each is
 * within half of it of true time.  In cells whose leases are not firm nothing
 * safe may rest on time at all, and the plan makes clocks much worse.
 */
#ifndef TESTS_SIM_CLOCK_H
#define TESTS_SIM_CLOCK_H

#include <assert.h>
#include <stdint.h>

/* Shows `base_us` at true time `since_us`. */
struct clock {
    uint64_t since_us;
    uint64_t base_us;
    int32_t rate_ppm; /* How much faster than true time. */
};

static inline uint64_t clock_us(const struct clock *c, uint64_t true_us)
{
    assert(true_us >= c->since_us);
    const uint64_t passed = true_us - c->since_us;
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

#endif
