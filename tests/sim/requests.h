/* SPDX-License-Identifier: Apache-2.0
 *
 * requests.h -- what clients ask for: a few names on which all of them meet,
 * content that no other write has, conditions that sometimes hold.
 */
#ifndef TESTS_SIM_REQUESTS_H
#define TESTS_SIM_REQUESTS_H

#include "paxos/base/rng.h"
#include "tools/check/history.h"

enum { REQUEST_NAMES = 10, REQUEST_LIST_MAX = 5 };

/* Zero-initialise but for the generator. */
struct requests {
    struct rng rng;
    uint64_t instances[REQUEST_NAMES]; /* As last seen by anybody. */
    uint64_t generations[REQUEST_NAMES];
};

/* The next op of the history will be this one; its bytes live in there. */
struct history_request request_any(struct requests *q, struct history *h);
struct history_request request_put(struct requests *q, struct history *h);

/* In a rush all work on the same few. */
struct history_request request_hot_put(struct requests *q, struct history *h);
struct history_request request_hot_read(struct requests *q);

/* Remembers what a done op saw, for later conditions. */
void request_seen(struct requests *q, const struct history_op *op);

#endif
