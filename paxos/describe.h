/* SPDX-License-Identifier: Apache-2.0
 *
 * describe.h -- messages and entries as text, for traces, transcripts and
 * lockdump.  Correctness depends on none of it.
 *
 * Each function writes at most `size` octets with the terminating NUL into
 * `text` and returns `text`.
 */
#ifndef PAXOS_DESCRIBE_H
#define PAXOS_DESCRIBE_H

#include "paxos/paxos.h"

const char *paxos_describe_message(const struct paxos_message *message, char *text, size_t size);
const char *paxos_describe_entry(const struct paxos_entry *entry, char *text, size_t size);
const char *paxos_describe_note(const struct paxos_note *note, char *text, size_t size);
const char *paxos_describe_rc(enum paxos_rc rc);
const char *paxos_describe_drop(enum paxos_drop drop);
const char *paxos_describe_down(enum paxos_down reason);
const char *paxos_describe_role(enum paxos_role role);
const char *paxos_describe_kind(enum paxos_kind kind);
const char *paxos_describe_message_type(enum paxos_message_type type);

#endif
