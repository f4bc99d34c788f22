/* SPDX-License-Identifier: Apache-2.0
 *
 * agents.h -- clients that have sessions, on the real client engine.
 *
 * An agent is a process: an engine, a clock that runs a little fast or slow, one
 * connection at a time whose octets travel through links.h, and some seats.
 * Each seat opens a session, takes locks of a few names that all share, stands for
 * election, opens files and directories that go when nobody has them open, reads
 * and writes through the session, and gives up what it holds, or is stopped or
 * killed before it does.  The process watches nodes, and who leads.
 *
 *     agents.c   processes, and what drives their engines
 *     calls.c    what each call of the library may come to
 *     seats.c    what sessions do: locks, elections, files
 *     claims.c   what the cell must not keep for them
 *     misuse.c   what a program does wrong
 *     grasps.c   handles
 *     views.c    watches and observers
 *     reads.c    reads of all kinds, and what sessions keep
 *     rights.c   who may do what
 *     resource.c what stands behind the locks, and takes tokens
 */
#ifndef TESTS_SIM_AGENTS_H
#define TESTS_SIM_AGENTS_H

#include "libclient/engine.h"
#include "tests/sim/clock.h"
#include "tests/sim/links.h"
#include "tools/check/history.h"

enum { SEATS_MAX = 3, SEAT_LOCKS = 2, SEAT_GRASPS = 2, AGENT_VIEWS = 3, AGENT_SIGHTS = 2 };

struct agents;

void agents_start(struct world *w);
void agents_stop(struct world *w);

/* A seat's put of this content took effect, on this instance. */
void agents_written(struct world *w, struct bytes content, uint64_t instance,
                    struct history_index index);

/* As whom the agent is known to the cell. */
const char *agent_principal(const struct world *w, uint32_t agent);

/* A replica tells somebody of the state up to here; up to where had any, then? */
void reads_acknowledged(struct world *w, struct history_index index);
struct history_index reads_acknowledged_before(const struct world *w, uint64_t before_us);

/* Up to when a state must reach of which it was told then that it is so old at most; 0:
 * clocks are not to be trusted. */
uint64_t reads_as_of_us(const struct world *w, uint64_t told_us, uint64_t age_ms);

/* What may be answered from memory is so; what was read is added to the history. */
void reads_check_kept(struct world *w);
bool reads_are_kept(const struct world *w); /* By anybody. */
void reads_add_to(const struct world *w, struct history *h);

/* Is it the name of an election?  Is anybody about to open it? */
bool agents_elects(struct bytes path);
bool agents_opening(const struct world *w, struct bytes path);

/* What each agent believes at this instant is so. */
void agents_check_beliefs(struct world *w);

/* Stops all processes; their clocks go on. */
void agents_stop_all(struct world *w, uint64_t until_us);

/* Their clocks keep their promise from now on. */
void agents_heal(struct world *w);

/* No session that is safe now, of a process that runs, may be lost any more. */
void agents_mark_kept(struct world *w);

/* Begin nothing more; have all calls ended but those that wait for other holders;
 * and has everybody been told all that happened? */
void agents_calm(struct world *w);
bool agents_answered(struct world *w);
bool agents_told(struct world *w);

/* Is there a lock in the program's hands for each that the cell has granted to its
 * sessions, or keeps a place in the queue for? */
bool agents_want_claims(struct world *w);

/* End all that is open; and has it ended? */
void agents_quiesce(struct world *w);
bool agents_ended(const struct world *w);

/* Locks granted since the faults ended. */
uint32_t agents_granted_since_heal(const struct world *w);

/* ------------------------------------------------------------ from links.h */

void agent_connected(struct world *w, uint32_t agent, uint64_t number);
void agent_lost(struct world *w, uint32_t agent, uint64_t number, const char *why);
void agent_received(struct world *w, uint32_t agent, uint64_t number, const void *data,
                    size_t size);

/* Until when the process is stopped; 0: it runs. */
uint64_t agent_stopped_until_us(const struct world *w, uint32_t agent);

#endif
