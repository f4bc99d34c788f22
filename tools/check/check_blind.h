/* SPDX-License-Identifier: Apache-2.0
 *
 * check_blind.h -- is there an order that explains what clients saw of each file?
 *
 * check.h believes the places that answers name; this judge does not look at them,
 * nor at the log, the epochs or the revisions.  Each name is judged by itself, with
 * wgl.h, on what it is between two calls: whose content is there, which generation
 * it has, and who made the node.  What rests on other names (a directory that is not
 * empty, a parent that is missing, a lock) is taken as it was answered.
 */
#ifndef TOOLS_CHECK_CHECK_BLIND_H
#define TOOLS_CHECK_CHECK_BLIND_H

#include "tools/check/check.h"

/* Of a name, as they began: so many are judged at most.  Where the search takes too
 * long, the first half of them, or the first quarter, ..., but not fewer than so many;
 * where that is too much as well, none. */
enum { CHECK_BLIND_OPS_MAX = 2000, CHECK_BLIND_OPS_MIN = 100 };

struct check_blind_counts {
    uint64_t names, ops; /* Judged. */
    uint64_t undecided;  /* Names of which none were. */
};

struct check_blind_rules {
    uint64_t steps_max; /* Of the search for each name. */

    /* Others than the clients of this history change that file; NULL: nobody. */
    bool (*shared)(struct bytes path);
};

/* False: the first violation found, whose rule is `blind`.  Adds to `counts`. */
bool history_check_blind(const struct history *h, const struct check_blind_rules *rules,
                         struct check_blind_counts *counts,
                         struct check_violation *ret_violation);

#endif
