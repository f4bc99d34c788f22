/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.h -- the checkers that look on at every step of a world.
 *
 * They see what no replica can see alone: all disks, all frames, true time.  A
 * check that fails ends the world; its name says which:
 *
 *     agreement    one value per slot, over all replicas and all time       (G1)
 *     order        applied slots are consecutive
 *     digest       equal state at equal slots                               (G1)
 *     majority     a slot is chosen by durable votes of a majority that
 *                  reached its master and name its value
 *     one-value    one value per ballot and slot, in all accepts ever sent
 *     one-ballot   no round is used by two incarnations
 *     durable      Prepares, promises and votes leave behind what they rest on
 *     promise      no vote below a promise that left earlier; a promise reports
 *                  every vote that left before it
 *     monotone     promises, chosen marks and applied slots never fall, and a
 *                  restart explains by its disk where it begins
 *     amnesia      a restarted acceptor knows all that it ever said
 *     formation    nothing is promised before all founders are pinned
 *     marked       the chosen mark on disk never passes a value
 *     tables       the tables on disk are the effects of 1 ... applied_slot
 *     lease        one valid firm lease at any true time, and nothing chosen
 *                  beside it                                                (G15)
 *     epoch        what applies is of the newest epoch; reads come from
 *                  behind the master's own first entry                      (G5)
 *     reply        every request is answered once, and not after its end
 *
 * and of sessions and locks:
 *
 *     queue, token who holds and awaits what, in which order and with which
 *                  token, is what a model makes of the log              (G6, G7)
 *     at-most-once the revision is that of the model: nothing twice         (G4)
 *     owners       every owner and waiter is in the session table           (G6)
 *     outcome      (session, request) is always answered with what it first
 *                  came to, at the same place                               (G4)
 *     expiry       no session is over that its client believes in           (G6)
 *     judged       no session is ended whose KeepAlive could be read in time
 *     belief       nobody believes to hold what it doesn't hold             (G9)
 *     fence        a resource behind a lock accepts no token below an
 *                  earlier one, whatever becomes of its host                (G8)
 *     nodes        the nodes, and who has them open, are those of the model
 *     history      the events that the state keeps are those of the model
 *     lock-delay   nobody is granted a name that a failed holder closes    (G10)
 *     event        a watch is told what its scope lets pass: each change once,
 *                  in order, none missing                                  (G11)
 *     gap          unless history was trimmed, or the watcher was slow
 *     event-order  no reply, read or progress overtakes an event           (G11)
 *     handle       what a handle does, it does to the instance opened      (G14)
 *     leader       an observer is told no value but the leader's own
 *     sequencer    a sequencer is valid when its lock is held so
 *     calls        every call of the library ends once, and in time
 *     cache        what a client may answer from its memory is so now       (G12)
 *     rights       nobody is shown what he may not read
 *     session-order a session's reads never go back                        (G13)
 */
#ifndef TESTS_SIM_AUDIT_H
#define TESTS_SIM_AUDIT_H

#include "tests/sim/replica.h"
#include "tools/check/history.h"
#include "tools/check/model.h"

void audit_start(struct world *w);
void audit_stop(struct world *w);

/* A message is about to leave; one is about to be stepped. */
void audit_sent(struct world *w, struct replica *r, const struct paxos_message *message);
void audit_received(struct world *w, struct replica *r, const struct paxos_message *message);

/* A batch becomes durable; and the chosen mark after it. */
void audit_committed(struct world *w, struct disk *d, const struct store_batch *batch);
void audit_marked(struct world *w, const struct disk *d);

/* A process is about to start from its disk; one is gone. */
void audit_booting(struct world *w, struct replica *r);
void audit_crashed(struct world *w, struct replica *r);

/* An entry is applied, at the start or while it runs. */
void audit_applied(struct world *w, struct replica *r, const struct paxos_entry *entry,
                   bool in_force, uint64_t digest);

/* A turn has decided, and what it decided is about to be done. */
void audit_turned(struct world *w, struct replica *r);

void audit_replied(struct world *w, struct replica *r, const struct service_reply *reply);

/* After every event. */
void audit_step(struct world *w);

/* How far the log goes that anybody has applied, and its digest there. */
paxos_slot audit_last(const struct world *w);
uint64_t audit_digest(const struct world *w, paxos_slot slot);

/* Masterships whose own first entry was applied. */
uint32_t audit_masters(const struct world *w);

/* A batch is about to be stored; what is in it of the replica's own mastership, it
 * proposes now. */
void audit_proposed(struct world *w, const struct replica *r, const struct store_batch *batch);

/* The commands of a value are added to a history's log. */
void audit_log_commands(struct world *w, struct history *h, paxos_slot slot,
                        const struct paxos_value *value);

/* A request of a session, which must get what it first came to. */
void audit_answered(struct world *w, const struct replica *r, uint64_t session,
                    uint64_t request, const struct service_reply *reply);

/* A read of an agent is answered, or a watch of it told: by this principal, which must
 * have the right to it; and not from a state older than was asked for. */
void audit_read(struct world *w, const struct replica *r, const char *principal,
                uint64_t min_revision, const struct service_reply *reply);
void audit_told(struct world *w, const struct replica *r, const char *principal,
                const struct service_event *event);

/* A client believes now, by a clock that can be trusted, that its session lives;
 * that it holds a lock. */
void audit_believes(struct world *w, uint64_t session);
void audit_believes_held(struct world *w, uint64_t session, struct bytes path, uint64_t token);

/* What the log makes of files, sessions, locks and events. */
const struct model *audit_model(const struct world *w);

/* What the cell would answer, were it asked now. */
void audit_execute(struct world *w, const struct history_request *request,
                   struct history_result *ret_result);

/* A copy that lives as long as the world. */
struct bytes audit_keep(struct world *w, struct bytes bytes);

/* A KeepAlive of the session was read. */
void audit_kept_alive(struct world *w, uint64_t session);

/* Has the session itself deleted the node since it was granted its lock? */
bool audit_gave_up(const struct world *w, uint64_t session, struct bytes path, uint64_t token);

/* Can the clocks of this world be trusted? */
bool audit_timely(const struct world *w);

/* Writes the final log into the history. */
void audit_log(struct world *w, struct history *h);

/* The tables on the disk, loaded into a state of their own. */
void audit_tables(struct world *w, const struct disk *d);

#endif
