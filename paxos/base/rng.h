/* SPDX-License-Identifier: Apache-2.0
 *
 * rng.h -- a small seeded generator (SplitMix64, Steele, Lea and Flood,
 * OOPSLA 2014).  The core's only source of chance; the caller brings the seed.
 */
#ifndef PAXOS_BASE_RNG_H
#define PAXOS_BASE_RNG_H

#include <assert.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A number in [0, bound).  The bias for bounds far below 2^64 is harmless in
 * jitter and in tests, which is all this serves. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    assert(bound > 0);
    return rng_next(rng) % bound;
}

/* A number in [low, high]. */
static inline uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    assert(low <= high);
    return low + rng_below(rng, high - low + 1);
}

#endif
