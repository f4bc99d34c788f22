/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.h -- what a call brought, in one block of memory.
 *
 * The block is made together with the call, so whatever happens there is
 * something to answer with; only what a read brings makes it larger.  When the
 * call has ended the block itself is the event that tells of it.
 *
 * An answer that a session keeps is lent to whoever asks for the same: nobody copies
 * it, nobody changes it while it is lent, and the last one to give it back frees it.
 * Those who have it may be on any thread, and the session may be long gone.
 */
#ifndef LIBCLIENT_ANSWER_H
#define LIBCLIENT_ANSWER_H

#include "libclient/list.h"
#include "libclient/lockd.h"
#include "libclient/wire.h"

enum event_kind { EVENT_ANSWER = 1, EVENT_STATE, EVENT_WATCH, EVENT_LEADER, EVENT_LOG };

/* Something to tell the caller: part of an answer, a session, a watch, an observer or a
 * line of the log. */
struct event_node {
    struct list at;
    enum event_kind kind;
};

struct answer {
    struct lockd_answer public; /* First: lockd_answer_free() frees the block. */
    struct event_node event;
    lockd_done *done;
    void *context;
    uint32_t owners; /* Changed as an atomic. */
    char detail[WIRE_DETAIL_MAX];
    _Alignas(max_align_t) char data[];
};

struct answer *answer_new(lockd_done *done, void *context); /* NULL: out of memory. */
void answer_free(struct answer *a); /* Takes NULL. */

void answer_detail(struct answer *a, struct wire_text text);

/* Copies what a reply brought.  `rc` is what it means for the call.  May move the
 * block, returned; where memory is short, its rc is LOCKD_E_NO_MEMORY. */
struct answer *answer_fill(struct answer *a, enum lockd_rc rc, const struct wire_reply *reply);

/* --------------------------------------------------------------- kept and lent */

/* A place in the order of everything that the cell did. */
struct position {
    uint64_t epoch, revision, slot, index;
};

/* What is kept of the reply to a get or a stat: not what it says of locks.  NULL: out of
 * memory. */
struct answer *answer_keep(enum lockd_rc rc, const struct wire_reply *reply);

/* One that nobody else has, with or without its content.  NULL: out of memory. */
struct answer *answer_copy(const struct answer *a, bool content);

/* Lends the answer that is kept at `kept`, as it stands at `now`; a copy takes its place
 * there if another one has been lent and not given back.  NULL: out of memory. */
struct lockd_answer *answer_lend(struct answer **kept, const struct position *now);

/* As it stands at `now`; of an answer that nobody else has. */
void answer_date(struct answer *a, const struct position *now);

size_t answer_octets(const struct answer *a); /* Of a kept one; 0 for NULL. */

#endif
