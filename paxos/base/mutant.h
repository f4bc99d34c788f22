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
    X(pins_shown_early, "shows whom it pinned before that is durable")                         \
    X(part_agreed_on, "takes a list that lacks whom its own lacks for agreement")              \
    X(founder_waits_again, "a founder that has promised waits for all again after a restart")  \
    X(agreement_not_believed, "a founder that is told that all agree waits to hear from all")  \
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
    X(leader_before_value, "an observer takes the old leader's value for the new leader's")    \
    X(commit_not_synced, "the store acknowledges what is not synced")                          \
    X(failed_write_told, "tells of a write that failed as if it had not")                      \
    X(mark_before_value, "marks a slot chosen in a transaction before its value's")            \
    X(row_sum_ignored, "reads rows whatever their sum")                                        \
    X(cache_trusted, "starts without rewriting what a failed sync left in the cache")          \
    X(wal_damage_dropped, "takes damage in the WAL for the end of it")                         \
    X(sector_trusted, "writes into the sector in which an acknowledged commit ends")           \
    X(incarnation_kept, "starts under the incarnation of the last start")                      \
    X(duplicate_vote_counted, "counts a vote that came twice as the votes of two")             \
    X(first_value_carried,                                                                     \
      "carries the value that came first, not that of the highest ballot")                     \
    X(own_votes_not_carried,                                                                   \
      "a new master carries what others voted for, not what it did itself")                    \
    X(fetched_value_ignored, "keeps its own vote where the chosen value is another")           \
    X(outbid_ignored, "a master whose ballot a member rejects goes on under it")               \
    X(implied_promise_unstored, "does not store the promise that a vote implies")              \
    X(votes_not_restored,                                                                      \
      "a restarted acceptor has forgotten its votes above the chosen mark")                    \
    X(mark_stored_late, "stores an older chosen mark than it reports as durable")              \
    X(durable_from_memory, "reports as durable what only its memory knows to be chosen")       \
    X(trimmed_under_laggard, "trims the log past what a member that lags still lacks")         \
    X(log_read_leaked, "a peer whom the disk answered once may never ask it again")            \
    X(fetch_not_repeated, "asks for what it lacks once, and never again")                      \
    X(accepts_not_resent, "sends an Accept once, and never again")                             \
    X(lease_checked_early, "judges its lease by the last event's time, not the present")       \
    X(frame_checksum_ignored, "takes peers' frames without verifying their checksum")          \
    X(value_checksum_ignored, "takes values without verifying their checksum")                 \
    X(epoch_in_32_bits, "keeps the epoch in 32 bits, which the rounds outgrow")                \
    X(position_of_entry, "answers each command with the place of its entry's first")           \
    X(claims_in_tree_order,                                                                    \
      "ends the claims of a session in the order that its memory has them")                    \
    X(shared_overtakes, "lets who would share pass those who queue")                           \
    X(cancel_not_remembered, "cancelling a request not yet seen does not forbid it")           \
    X(outcome_evicted, "remembers no more than two outcomes of a session")                     \
    X(reading_leaked, "spares for ever a session whose client hung up before the answer")      \
    X(delay_without_drift, "counts a lock-delay by its own clock, however fast that is")       \
    X(sequencer_token_ignored,                                                                 \
      "takes a sequencer of an earlier holding for the present one's")                         \
    X(refused_when_lost, "says not_master of commands proposed and in doubt")                  \
    X(client_lease_undrifted, "the client counts its lease in full, whatever clocks do")       \
    X(reply_by_slot, "the client takes the reply to an earlier call for that to a later one")  \
    X(retry_renumbered, "the client repeats a request under a new id")                         \
    X(unsure_refused, "the client takes a refused retry for a call that was never executed")   \
    X(sure_when_lost,                                                                          \
      "the client calls a request unsent that may have left with its connection")              \
    X(partial_line_whole, "the client takes the octets that it has for a whole line")          \
    X(resumed_from_newest, "the client resumes each watch from the newest event of any")       \
    X(cache_ack_not_awaited, "writes before all who keep a node have dropped it")              \
    X(fill_after_invalidate, "lets a node be kept while a write to it is under way")           \
    X(absence_not_invalidated, "makes a node whose absence clients keep, and does not say so") \
    X(caches_not_awaited, "a new master writes at once, whoever may keep what")                \
    X(expiry_skips_caches, "ends sessions while clients keep their ephemeral nodes")           \
    X(root_skips_caches, "writes for the administrator while clients keep the node")           \
    X(handoff_skips_caches, "forgets what else goes when an ephemeral node does")              \
    X(fill_from_old_connection, "the client keeps what a connection of before has brought")    \
    X(fill_overtaken, "the client keeps an answer older than an invalidation it has heard of") \
    X(cache_kept_after_acl, "a change of ACLs drops nothing that is kept")                     \
    X(cache_in_jeopardy, "the client answers from what it keeps after its lease")              \
    X(cache_lease_from_receipt, "the client counts its cache lease from the answer's receipt") \
    X(acl_checked_early, "judges rights when a command is proposed, not where it applies")     \
    X(denied_tells, "says of what may not be read whether it is there")                        \
    X(watch_without_rights, "tells watches of nodes that their principals may not read")       \
    X(grant_without_rights, "grants a lock to who lost the right while waiting")               \
    X(locks_listed_to_all, "lists the locks of nodes that the principal may not read")         \
    X(sequential_behind, "answers a sequential read from a state older than was seen")         \
    X(age_from_receipt, "counts the age of a state from when word of it came")                 \
    X(age_unconfirmed, "takes the word of a master whom no majority has confirmed since")      \
    X(unwanted_grant_kept, "the client keeps a lock that nobody wants any more")               \
    X(timeout_uncancelled, "the client says \"timed out\" and leaves the acquire to the cell") \
    X(calls_never_end, "the client ends no call whose time is over while it is in jeopardy")

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
