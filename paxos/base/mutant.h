/* SPDX-License-Identifier: Apache-2.0
 *
 * mutant.h -- the one test-only switch in production code.
 *
 * `mutant(NAME)` is a constant false in the daemon's build, so the compiler
 * removes what it guards.  The simulator builds the same sources with
 * LOCKD_MUTANTS and takes the name from --mutant.  Each name is a bug that
 * somebody once shipped; a mutant that no seed kills is a hole in our tests.
 */
#ifndef PAXOS_BASE_MUTANT_H
#define PAXOS_BASE_MUTANT_H

#include <stdbool.h>

/* name, what the broken build does */
#define MUTANT_MAP(X)                                                                          \
    X(prepare_before_sync, "sends Prepare before its own promise is durable")                  \
    X(promise_before_sync, "answers a Prepare before the promise is durable")                  \
    X(vote_before_sync, "votes before the vote is durable")                                    \
    X(own_vote_before_sync, "counts its own vote before it is durable")                        \
    X(promise_omits_unsynced, "leaves votes still being written out of a promise")             \
    X(ballot_reused, "a restarted replica leads under a round it may have used")               \
    X(value_not_carried, "a new master ignores the values that promises report")               \
    X(trimmed_reported_empty, "promises to a candidate that lacks chosen slots")               \
    X(chosen_without_vote, "believes a chosen index over a vote of another ballot")            \
    X(read_without_round, "serves a read without a confirmation round")                        \
    X(round_before_read, "serves a read on a round begun before the read")                     \
    X(lease_not_waited_out, "a restarted acceptor forgets the firm lease it granted")          \
    X(lease_from_receipt, "the master counts its lease from the answer's receipt")             \
    X(old_epoch_applied, "applies a deposed master's entry behind a new master's first")       \
    X(behind_noop_applied, "applies an entry behind a filled hole")                            \
    X(majority_formation, "forms the cell with a majority instead of all")                     \
    X(applied_slot_apart, "moves applied_slot in another transaction than its rows")           \
    X(serve_before_first, "serves before its own first entry is applied")                      \
    X(hole_not_filled, "skips a hole instead of proposing a no-op")                            \
    X(vote_below_promise, "votes below its promise")                                           \
    X(vote_checksum_ignored, "counts a vote whatever value it names")                          \
    X(retry_in_second_slot, "proposes a command of a lost slot again")                         \
    X(keepalive_without_round, "answers a KeepAlive without a confirmation round")             \
    X(keepalive_while_expiring, "answers a KeepAlive of a session whose expiry is proposed")   \
    X(client_lease_from_receipt, "the client counts its lease from the answer's receipt")      \
    X(expiry_unguarded, "proposes and applies expiries decided under an older mastership")     \
    X(dead_session_queued, "neither enqueue, grant nor expiry looks at a waiter's session")    \
    X(judged_before_input, "judges deadlines before the input that was already readable")      \
    X(default_lease_after_election, "a new master restarts timers with the shortest lease")    \
    X(dedupe_not_consulted, "executes a request whose outcome is remembered")                  \
    X(dedupe_dropped_at_failover, "forgets outcomes when a new master begins")                 \
    X(release_of_later_holder, "a release ends whatever holding there is")                     \
    X(token_not_renewed, "hands a lock over with the old token")                               \
    X(waiter_left_after_cancel, "answers a cancel but leaves the waiter in the queue")         \
    X(lock_delay_forgotten, "a new master ends the lock-delays that it finds")                 \
    X(granted_in_delay, "serves the queue of a lock that is in lock-delay")                    \
    X(deleted_in_delay, "deletes a node that is in lock-delay")                                \
    X(stale_instance_accepted, "takes a node made again for the one that was opened")          \
    X(ephemeral_outlives_opener, "leaves an ephemeral node that its last opener's end closed") \
    X(stretch_not_recovered, "a new master forgets that leases were stretched")                \
    X(event_dropped_at_reconnect, "the client sets its watches again from now on")             \
    X(event_repeated, "the client sets its watches again from one change too early")           \
    X(gap_not_reported, "resumes a watch behind what history has kept, and says nothing")      \
    X(reply_before_event, "sends the events of a turn behind its replies")                     \
    X(progress_overtakes_events, "says how far a watch is before it was told all of that")     \
    X(ended_watch_kept_silent, "does not tell watchers that it is not the master any more")    \
    X(fence_forgets, "a fence does not know after its restart what it had accepted")           \
    X(fence_evicts_quietly, "a fence forgets a name without raising its floor")                \
    X(leader_before_value, "an observer takes the old leader's value for the new leader's")

enum mutant {
    MUTANT_none,
#define MUTANT_ENUM(name, text) MUTANT_##name,
    MUTANT_MAP(MUTANT_ENUM)
#undef MUTANT_ENUM
        MUTANT_count
};

#ifdef LOCKD_MUTANTS
extern enum mutant mutant_active;
#define mutant(NAME) (mutant_active == MUTANT_##NAME)
#else
#define mutant(NAME) false
#endif

#endif
