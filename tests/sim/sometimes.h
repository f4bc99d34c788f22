/* SPDX-License-Identifier: Apache-2.0
 *
 * sometimes.h -- situations that a run must have met, or it has tested less than
 * it seems.
 *
 * A checker that never looks at what it is for passes everything.  So what is hard
 * to get into has a name here, is counted where it is seen, and a run with
 * --require-sometimes fails when one of them never came up (the `sometimes`
 * assertions of Antithesis).
 */
#ifndef TESTS_SIM_SOMETIMES_H
#define TESTS_SIM_SOMETIMES_H

#include <stdint.h>

#define SOMETIMES_MAP(X)                                                                       \
    X(line_torn, "a connection breaks in the midst of a line")                                 \
    X(octets_single, "an answer is read octet by octet")                                       \
    X(end_unheard, "a client is gone for seconds before its replica hears of it")              \
    X(frame_replayed, "a frame comes again, more than a second late")                          \
    X(master_frozen, "a serving master stops, and its clock with it")                          \
    X(master_stays_hurt, "a serving master stays hurt while the others heal")                  \
    X(expiry_near_keepalive, "a session expires within a millisecond of a KeepAlive")          \
    X(expired_holding, "a session expires that holds a lock")                                  \
    X(jeopardy_then_safe, "a client in jeopardy finds its session alive")                      \
    X(dedupe_after_failover, "a retry gets its first outcome from a later master")             \
    X(call_deserted, "what a call is about is let go while it is under way")                   \
    X(call_without_memory, "a call is refused for want of memory")                             \
    X(line_garbled, "an octet of an answer is garbled on its way to a client")                 \
    X(answer_odd, "a client is answered by one who is no replica of its cell")                 \
    X(cancel_too_late, "a cancel finds the lock granted")                                      \
    X(limit_met, "an acquire or open meets a limit of the cell")                               \
    X(stretched_failover, "a master begins while leases are stretched")                        \
    X(delay_over_failover, "a lock-delay outlives a fail-over")                                \
    X(delay_over_two_failovers, "a lock-delay outlives two fail-overs")                        \
    X(delay_hands_over, "the end of a lock-delay serves a waiter")                             \
    X(delay_refuses, "a try is refused because of a lock-delay")                               \
    X(delay_times_out, "a waiter's time ends during a lock-delay")                             \
    X(delay_beside_holder, "a lock-delay runs while others share the lock")                    \
    X(delete_in_delay, "a delete is refused because of a lock-delay")                          \
    X(handle_stale, "a handle is refused: its node was made again, or is gone")                \
    X(handle_after_failover, "a handle is used under a later master than it was opened")       \
    X(ephemeral_expires, "an ephemeral node goes with its last opener's session")              \
    X(ephemeral_reopened, "... while another session is opening it")                           \
    X(ephemeral_shared, "two sessions have an ephemeral node open")                            \
    X(ephemeral_claimed, "a claim alone keeps an ephemeral node")                              \
    X(ephemeral_cascade, "an ephemeral directory goes with its last child")                    \
    X(watch_over_failover, "a watch goes on at another master")                                \
    X(watch_after_trim, "a watch is resumed behind what history has kept")                     \
    X(watch_ahead, "a watch is set from a revision that is yet to come")                       \
    X(watch_ended, "a deposed master tells its watchers so")                                   \
    X(event_then_failover, "an event is told, and a fail-over comes before the reply")         \
    X(event_coalesced, "several changes come as one event")                                    \
    X(event_gap_slow, "a slow watcher gets a gap")                                             \
    X(events_together, "one command tells a watch several events")                             \
    X(cache_answers, "a session answers a read from what it keeps")                            \
    X(cache_answers_nothing, "... that there is nothing")                                      \
    X(cache_answers_handle, "... of a handle")                                                 \
    X(cache_over_failover, "a master begins while a session keeps something")                  \
    X(cache_invalidated, "a session is told to forget something")                              \
    X(cache_overtaken, "an invalidation overtakes what it is about")                           \
    X(read_by_lease, "a master answers a read by its lease")                                   \
    X(read_of_follower, "a replica answers that is not the master")                            \
    X(read_with_age, "a read is told how old it is")                                           \
    X(read_behind, "a read is answered from a state older than was acknowledged")              \
    X(read_too_old, "nobody who answers has a state as new as asked for")                      \
    X(right_denied, "somebody is denied something")                                            \
    X(right_lost_waiting, "a waiter's turn comes when he has no right to it any more")         \
    X(right_hides_event, "an event is not told to who may not read its node")                  \
    X(fence_refuses, "the fence refuses a stale holder")                                       \
    X(fence_evicts, "the fence forgets a name, and its floor rises")                           \
    X(fence_floor_refuses, "the fence refuses an unknown name below its floor")                \
    X(fence_loses, "the fence's host dies with octets that were not synced")                   \
    X(leader_changes, "an observer sees one leader follow another")                            \
    X(leader_none, "an observer sees that nobody leads")                                       \
    X(leader_without_value, "a leader's session ends between the grant and its value")         \
    X(sequencer_invalid, "a sequencer is checked that is not valid any more")                  \
    X(sequencer_valid, "a sequencer is checked that is valid")

enum sometimes {
#define SOMETIMES_ENUM(name, text) SOMETIMES_##name,
    SOMETIMES_MAP(SOMETIMES_ENUM)
#undef SOMETIMES_ENUM
        SOMETIMES_COUNT
};

/* How often each has been met in this process since the run of the seed began. */
extern uint32_t sometimes_met[SOMETIMES_COUNT];

#define sometimes(name) (sometimes_met[SOMETIMES_##name]++)
#define sometimes_if(condition, name) (sometimes_met[SOMETIMES_##name] += (condition))

const char *sometimes_name(enum sometimes which);
const char *sometimes_text(enum sometimes which);

#endif
