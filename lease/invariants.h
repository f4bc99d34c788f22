/* SPDX-License-Identifier: Apache-2.0
 *
 * invariants.h -- what the two halves of lease_check() share.
 */
#ifndef LEASE_INVARIANTS_H
#define LEASE_INVARIANTS_H

#include "lease/lock.h"
#include "lease/session.h"

/* What the pass over all records adds up. */
struct sums {
    uint64_t digest;
    uint64_t nodes;
    uint64_t content_bytes;
    uint64_t memory_bytes;
    uint64_t dirty;
    uint64_t dirty_bytes;
    uint64_t sessions;
    uint64_t claims; /* As records, ... */
    uint64_t held;   /* ... and as locks know them. */
    uint64_t waiting;
    uint64_t results; /* As records, ... */
    uint64_t results_of_sessions;
};

void check_lock(const struct lease *l, const struct node *node, struct sums *sums);
void check_session(const struct lease *l, const struct session *session, struct sums *sums);
void check_claim(const struct lease *l, const struct claim *claim, struct sums *sums);
void check_result(const struct lease *l, struct result *result, struct sums *sums);

#endif
