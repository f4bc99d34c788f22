/* SPDX-License-Identifier: Apache-2.0
 *
 * paxos_commands.h -- the language of the stories in transcripts/paxos.
 *
 *     cluster N [firm] [big] [differ I]  N founders; values up to 1 MiB; I has another list
 *     meet                 quietly: all founders who are up pin each other
 *     form                 quietly: the cell is founded and replica 1 serves
 *     elect I              quietly: time passes, only I ticks, everything flows
 *     settle               everything flows until nothing is left to do
 *     run MS | wait MS     time passes; with `run` everything flows meanwhile
 *     pass MS | tick I     time passes unnoticed; I notices
 *     propose I TEXT       `x*70000` is a text of 70000 letters
 *     confirm I [lazy]     asks for a confirmation round
 *     deliver A->B [N|all] the oldest messages of a link (1)
 *     drop A->B [N|all]    loses them
 *     again A->B           the newest message of the link comes twice
 *     last A->B            the oldest message becomes the newest
 *     cut A->B, cut A      what is sent from now on is lost; `heal` undoes all
 *     sync I | stall I     the disk answers; it doesn't (in settle and run), until sync
 *     answer I             answers the oldest log read from I's disk
 *     trim I               deletes the log rows of I that may go
 *     crash I | restart I  what was not synced is lost
 *     wipe I               a crashed replica's store is replaced by an empty one
 *     gone A B             A is told that B's peer port refuses
 *     handover I           a clean shutdown begins
 *     forge A->B TYPE K=V  B receives what A never sent
 *     status [I]
 *     quietly COMMAND      without telling
 */
#ifndef TESTS_PAXOS_COMMANDS_H
#define TESTS_PAXOS_COMMANDS_H

#include "tests/transcripts/paxos_cluster.h"

/* One line, for struct transcript_runner; the context is a struct cluster. */
void cluster_command(void *context, char *line, struct text *out);

#endif
