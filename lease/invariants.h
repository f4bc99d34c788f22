/* SPDX-License-Identifier: Apache-2.0
 *
 * invariants.h -- what the two halves of lease_check() share.
 */
#ifndef LEASE_INVARIANTS_H
#define LEASE_INVARIANTS_H

#include "lease/history.h"
#include "lease/lock.h"
#include "lease/opener.h"
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
    uint64_t caching;
    uint64_t claims; /* As records, ... */
    uint64_t held;   /* ... and as locks know them. */
    uint64_t delayed;
    uint64_t waiting;
    uint64_t results; /* As records, ... */
    uint64_t results_of_sessions;
    uint64_t opens; /* As records, as sessions know them, and as nodes do. */
    uint64_t opens_of_sessions;
    uint64_t opens_of_nodes;
    uint64_t history_bytes;
};

void check_lock(const struct lease *l, const struct node *node, struct sums *sums);
uint64_t check_caching(const struct lease *l); /* Returns how many there are. */
void check_session(const struct lease *l, const struct session *session, struct sums *sums);
void check_claim(const struct lease *l, const struct claim *claim, struct sums *sums);
void check_result(const struct lease *l, struct result *result, struct sums *sums);
void check_openers(const struct lease *l, const struct node *node, struct sums *sums);
void check_opener(const struct lease *l, const struct opener *opener, struct sums *sums);
void check_history(const struct lease *l);
void check_chunk(const struct lease *l, const struct chunk *chunk, struct sums *sums);

#endif
