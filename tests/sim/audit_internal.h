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

/* A name that nobody may be granted, because its holder failed. */
struct audit_delay {
    struct bytes path;
    uint64_t instance, number;
    uint64_t until_us;
    uint32_t masters; /* When it began. */
};

/* The newest KeepAlive of a session, and when its end was proposed. */
struct audit_brink {
    uint64_t session;
    uint64_t kept_us, judged_us;
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
    struct audit_delay *delays;
    uint32_t delays_count, delays_capacity;
    struct audit_brink *brinks;
    uint32_t brinks_count, brinks_capacity;
    uint64_t revision_compared; /* History was, up to here. */
    struct audit_replica replicas[PLAN_REPLICAS_MAX];
};

struct audit_slot *audit_slot(struct world *w, paxos_slot slot);

/* The newest slot has just been applied for the first time. */
void audit_sessions_applied(struct world *w, const struct replica *r, paxos_slot slot,
                            const struct paxos_value *value);

/* A command has applied, and these events with it: from `first` on. */
void audit_events_applied(struct world *w, const struct history_entry *entry, uint32_t first,
                          enum lease_rc rc);

/* The history that the state keeps is that of the model. */
void audit_history(struct world *w, const struct lease *l);

/* The end of a session is proposed. */
void audit_judged(struct world *w, uint64_t session);

/* Is this, which nobody has applied yet, chosen? */
void audit_chosen(struct world *w, const struct replica *r, const struct paxos_entry *entry);

#endif
