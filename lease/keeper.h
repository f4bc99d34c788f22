/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.h -- the master's half: it watches the time and says what follows.
 *
 * The keeper is volatile and belongs to one mastership.  It takes `now_ms`,
 * never changes the replicated state, and returns what should be *proposed*:
 * "session 5f is over", "this acquire has waited long enough".  So time never
 * enters the log as a cause (Chubby, 2.8 and 2.9).
 *
 *              opened, begun            due
 *     (none) ---------------> counting -----> expiring --(applied)--> (none)
 *                              ^   |
 *                              '---' answered: a full lease from the answer on
 *
 * A session is not due while a KeepAlive of it has been read and not yet
 * answered; while it is expiring its KeepAlives wait for the outcome.  Deadlines
 * stand in a heap: O(log n) a change, O(1) to know the next.
 */
#ifndef LEASE_KEEPER_H
#define LEASE_KEEPER_H

#include "lease/lease.h"

struct keeper;

enum {
    KEEPER_BATCH = 256, /* Expiries proposed in one turn; the rest follow in the next. */
};

/* `drift_ppm` is the largest difference between the rates of two clocks that the
 * cell assumes: a lock-delay is so much longer here that nobody's clock finds it
 * short. */
struct keeper *keeper_new(const struct lease_allocator *allocator, uint32_t drift_ppm);
void keeper_free(struct keeper *k);

/* A new mastership, its first entry applied: every session may have been
 * promised the longest lease of lease_longest_ms() an instant ago, so each gets it
 * anew; waits and lock-delays begin anew in full. */
void keeper_begin(struct keeper *k, const struct lease *l, uint64_t now_ms);

/* The mastership is over: forgets everything. */
void keeper_end(struct keeper *k);

/* What was applied: to be told after each command, while master. */
void keeper_session_opened(struct keeper *k, uint64_t session, uint32_t lease_ms,
                           uint64_t now_ms);
void keeper_session_closed(struct keeper *k, uint64_t session);
void keeper_wait_begun(struct keeper *k, uint64_t session, uint64_t request, uint32_t wait_ms,
                       uint64_t now_ms);
void keeper_wait_ended(struct keeper *k, uint64_t session, uint64_t request);
void keeper_delay_begun(struct keeper *k, const struct lease_delay *delay, uint64_t now_ms);
void keeper_delay_ended(struct keeper *k, uint64_t instance, uint64_t number);

/* How much of a lock-delay is left; 0: none, or not known. */
uint64_t keeper_delay_left_ms(const struct keeper *k, uint64_t instance, uint64_t number,
                              uint64_t now_ms);

/* A KeepAlive was read.  False: the session is expiring, so it must wait for the
 * outcome.  True: until keeper_answered() the session is not due. */
bool keeper_reading(struct keeper *k, uint64_t session);

/* It was answered (or dropped: `lease_ms` 0, which grants nothing): the lease
 * counts in full from now. */
void keeper_answered(struct keeper *k, uint64_t session, uint32_t lease_ms, uint64_t now_ms);

/* What keeper_due() brought is not proposed after all, because something must be waited
 * for: it is due again at once, and judged anew. */
void keeper_postpone(struct keeper *k, const struct lease_command *command);

/* Is the expiry of the session proposed? */
bool keeper_expiring(const struct keeper *k, uint64_t session);

/* How much of its lease a session has left; 0: none, or not known. */
uint64_t keeper_left_ms(const struct keeper *k, uint64_t session, uint64_t now_ms);

/* The loop was away for so long: nobody's deadline may suffer from it. */
void keeper_add_away(struct keeper *k, uint64_t away_ms);

/* What is due by now, judged after all input that was readable has been stepped:
 * commands to propose, at most KEEPER_BATCH, marked as expiring.  `epoch` goes
 * into them. */
uint32_t keeper_due(struct keeper *k, uint64_t now_ms, uint64_t epoch,
                    struct lease_command ret_commands[KEEPER_BATCH]);

/* When keeper_due() will next have something; UINT64_MAX: never. */
uint64_t keeper_next_ms(const struct keeper *k);

/* Asserts that the keeper and the state know the same sessions, waits and delays. */
void keeper_check(const struct keeper *k, const struct lease *l);

#endif
