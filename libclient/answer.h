/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.h -- what a call brought, in one block of memory.
 *
 * The block is made together with the call, so whatever happens there is
 * something to answer with; only what a read brings makes it larger.  When the
 * call has ended the block itself is the event that tells of it.
 */
#ifndef LIBCLIENT_ANSWER_H
#define LIBCLIENT_ANSWER_H

#include "libclient/list.h"
#include "libclient/lockd.h"
#include "libclient/wire.h"

enum event_kind { EVENT_ANSWER = 1, EVENT_STATE, EVENT_WATCH, EVENT_LEADER };

/* Something to tell the caller: part of an answer, a session, a watch or an
 * observer. */
struct event_node {
    struct list at;
    enum event_kind kind;
};

struct answer {
    struct lockd_answer public; /* First: lockd_answer_free() frees the block. */
    struct event_node event;
    lockd_done *done;
    void *context;
    char detail[WIRE_DETAIL_MAX];
    _Alignas(max_align_t) char data[];
};

struct answer *answer_new(lockd_done *done, void *context); /* NULL: out of memory. */
void answer_free(struct answer *a);

void answer_detail(struct answer *a, struct wire_text text);

/* Copies what a reply brought.  `rc` is what it means for the call.  May move the
 * block, returned; where memory is short, its rc is LOCKD_E_NO_MEMORY. */
struct answer *answer_fill(struct answer *a, enum lockd_rc rc, const struct wire_reply *reply);

#endif
