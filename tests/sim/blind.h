/* SPDX-License-Identifier: Apache-2.0
 *
 * blind.h -- what clients saw, judged without a look at any index.
 *
 * The judges that look on at every step know the log.  This one comes at the end,
 * knows what clients know, and searches for an order for each name by itself: the
 * files of plain clients (check_blind.h), those of sessions, and the locks.
 */
#ifndef TESTS_SIM_BLIND_H
#define TESTS_SIM_BLIND_H

#include "tests/sim/world.h"
#include "tools/check/check_blind.h"

/* One seed in so many, unless all are asked for: it takes its time. */
enum { BLIND_ONE_IN = 8 };

/* Of this process since the run of the seed began. */
extern struct check_blind_counts blind_counts;

void blind_judge(struct world *w);

/* So few names may go without a verdict. */
static inline bool blind_decided_enough(uint64_t names, uint64_t undecided)
{
    return undecided * 100 <= names;
}

#endif
