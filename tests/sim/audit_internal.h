/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the audit share.
 */
#ifndef TESTS_SIM_AUDIT_INTERNAL_H
#define TESTS_SIM_AUDIT_INTERNAL_H

#include "tests/sim/audit.h"
#include "tools/check/model.h"

/* A value under a ballot in a slot, and who voted for it where it counts. */
struct audit_proposal {
    uint32_t next; /* Of the same slot; 0: none. */
    struct paxos_ballot ballot;
    uint64_t checksum;
    uint32_t voters; /* By replica index. */
};

struct audit_slot {
    bool known; /* Somebody has applied it. */
    struct paxos_value value;
    uint64_t digest;    /* Of the state behind it. */
    uint64_t barrier;   /* The newest epoch whose own entry stands up to here. */
    uint32_t proposals; /* 0: none. */
};

/* A vote, as others have heard of it. */
struct audit_vote {
    struct paxos_ballot ballot; /* The highest in this slot; round 0: none. */
};

/* What a replica ever said, and how far it ever was. */
struct audit_replica {
    struct paxos_ballot promise_sent;
    uint64_t round_sent;      /* The highest round it prepared, ever ... */
    uint64_t round_before;    /* ... and before its present life. */
    struct audit_vote *votes; /* By slot. */
    uint64_t votes_count;

    struct audit_vote *reported; /* In the promise that is leaving, by slot. */
    uint64_t reported_count;

    struct paxos_ballot promised; /* Of this life, as of the last turn. */
    paxos_slot chosen;
    paxos_slot applied;
    paxos_slot chosen_ever;
    paxos_slot applied_ever;
};

struct audit {
    struct audit_slot *slots; /* By slot; [0] is unused. */
    uint64_t slots_count, slots_capacity;
    struct audit_proposal *proposals; /* [0] is unused. */
    uint32_t proposals_count, proposals_capacity;
    paxos_slot last;
    uint64_t barrier;
    uint32_t masters;
    struct history memory; /* Keeps the values' bytes. */
    struct model model;    /* What the log makes of files, sessions and locks. */
    struct audit_replica replicas[PLAN_REPLICAS_MAX];
};

struct audit_slot *audit_slot(struct world *w, paxos_slot slot);

/* The newest slot has just been applied for the first time. */
void audit_sessions_applied(struct world *w, const struct replica *r, paxos_slot slot,
                            const struct paxos_value *value);

/* Is this, which nobody has applied yet, chosen? */
void audit_chosen(struct world *w, const struct replica *r, const struct paxos_entry *entry);

#endif
