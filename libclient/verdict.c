/* SPDX-License-Identifier: Apache-2.0
 *
 * verdict.c -- what a reply means for the call that it answers.
 *
 * Most errors are outcomes: the state decided them, the cell remembers them, and
 * a retry would get the same.  Some speak only of the attempt that they refuse.
 * If an earlier attempt may have been executed, those are no outcome: the call is
 * tried again, and unknown at its deadline.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <string.h>

#include "paxos/base/mutant.h"

enum verdict {
    OUTCOME,   /* It ends with this. */
    ATTEMPT,   /* Not executed this time: it ends with this if no other attempt could
                * have been executed. */
    ELSEWHERE, /* Not executed this time: somebody else is the master. */
    NOT_SURE,  /* This attempt may have been executed. */
    NOT_YET,   /* A read, of a state that was too old: another one may do. */
};

struct meaning {
    enum verdict verdict;
    enum lockd_rc rc;
};

static struct meaning meaning_of(enum wire_error error)
{
    switch (error) {
    case WIRE_OK:
        return (struct meaning){OUTCOME, LOCKD_OK};
    case WIRE_PARSE_ERROR:
    case WIRE_INVALID_REQUEST:
    case WIRE_METHOD_NOT_FOUND:
        return (struct meaning){OUTCOME, LOCKD_E_PROTOCOL};
    case WIRE_INVALID_PARAMS:
        return (struct meaning){OUTCOME, LOCKD_E_INVALID};
    case WIRE_NOT_MASTER:
    case WIRE_UNAVAILABLE:
        return (struct meaning){ELSEWHERE, LOCKD_E_UNAVAILABLE};
    case WIRE_SESSION_EXPIRED:
        return (struct meaning){ATTEMPT, LOCKD_E_EXPIRED};
    case WIRE_CONFLICT:
        return (struct meaning){OUTCOME, LOCKD_E_CONFLICT};
    case WIRE_LOCKED:
        return (struct meaning){OUTCOME, LOCKD_E_LOCKED};
    case WIRE_NOT_HELD:
        return (struct meaning){OUTCOME, LOCKD_E_NOT_HELD};
    case WIRE_CANCELLED:
        return (struct meaning){OUTCOME, LOCKD_E_CANCELLED};
    case WIRE_LOCK_DELAY:
        return (struct meaning){OUTCOME, LOCKD_E_LOCK_DELAY};
    case WIRE_STALE_HANDLE:
        return (struct meaning){OUTCOME, LOCKD_E_STALE};
    case WIRE_NO_NODE:
        return (struct meaning){OUTCOME, LOCKD_E_NO_NODE};
    case WIRE_EXISTS:
        return (struct meaning){OUTCOME, LOCKD_E_EXISTS};
    case WIRE_NOT_EMPTY:
        return (struct meaning){OUTCOME, LOCKD_E_NOT_EMPTY};
    case WIRE_WRONG_KIND:
        return (struct meaning){OUTCOME, LOCKD_E_WRONG_KIND};
    case WIRE_BAD_NAME:
        return (struct meaning){ATTEMPT, LOCKD_E_BAD_NAME};
    case WIRE_DENIED:
        return (struct meaning){OUTCOME, LOCKD_E_DENIED};
    case WIRE_NO_ACL:
        return (struct meaning){OUTCOME, LOCKD_E_NO_ACL};
    case WIRE_TOO_OLD:
        return (struct meaning){NOT_YET, LOCKD_E_TOO_OLD};
    case WIRE_TOO_LARGE:
        return (struct meaning){ATTEMPT, LOCKD_E_TOO_LARGE};
    case WIRE_OVERLOADED:
        return (struct meaning){ATTEMPT, LOCKD_E_OVERLOADED};
    case WIRE_OLD_EPOCH:
        return (struct meaning){ATTEMPT, LOCKD_E_UNAVAILABLE};
    case WIRE_UNKNOWN_OUTCOME:
        return (struct meaning){NOT_SURE, LOCKD_E_UNKNOWN};
    }
    assert(false);
    return (struct meaning){NOT_SURE, LOCKD_E_UNKNOWN};
}

enum lockd_rc verdict_rc(enum wire_error error)
{
    return meaning_of(error).rc;
}

/* Nobody has what it is about any more, and it must be done all the same. */
static bool in_background(const struct call *c)
{
    return c->lock == NULL && c->handle == NULL &&
           (c->request.method == WIRE_LOCK_RELEASE || c->request.method == WIRE_LOCK_CANCEL ||
            c->request.method == WIRE_NODE_CLOSE);
}

static void succeed(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    if (c->request.method == WIRE_SESSION_OPEN) {
        session_opened(c->session, c, now_ms, reply);
    } else if (c->request.method == WIRE_LOCK_ACQUIRE) {
        lock_acquired(c, now_ms, reply);
    } else if (c->request.method == WIRE_NODE_PUT && c->lock != NULL) {
        lock_hold(c, now_ms, reply);
    } else if (c->request.method == WIRE_NODE_OPEN ||
               (c->request.method == WIRE_NODE_STAT && c->handle != NULL)) {
        handle_opened(c, now_ms, reply);
    } else if (c->observer != NULL) {
        observer_read(c, now_ms, reply);
    } else {
        call_end_with(c, now_ms, LOCKD_OK, reply);
    }
}

static void fail(struct call *c, uint64_t now_ms, enum lockd_rc rc,
                 const struct wire_reply *reply)
{
    /* A wait that the cell has ended itself is called as a failed try is. */
    if (rc == LOCKD_E_LOCKED && c->request.method == WIRE_LOCK_ACQUIRE && c->waits) {
        rc = LOCKD_E_CANCELLED;
    }
    /* The cell's word for both: the caller's, and the end of the wait. */
    if (rc == LOCKD_E_CANCELLED && !c->cancelled_by_us) {
        rc = LOCKD_E_TIMEOUT;
    }
    if (c->request.method == WIRE_NODE_PUT && c->lock != NULL) {
        c->answer = answer_fill(c->answer, rc, reply);
        lock_give_back(c, rc);
    } else if (c->observer != NULL) {
        observer_read(c, now_ms, reply);
    } else {
        call_end_with(c, now_ms, rc, reply);
    }
}

/* The session is over, whatever became of this call's other attempts. */
static void session_is_over(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_session *s = c->session;
    if (s->closing == c) {
        /* A lost attempt of ours may have closed it; it is closed. */
        call_end_with(c, now_ms, c->unsure ? LOCKD_OK : LOCKD_E_EXPIRED, reply);
        return;
    }
    const bool unsure = c->unsure && !mutant(unsure_refused);
    call_end_with(c, now_ms, unsure ? LOCKD_E_UNKNOWN : LOCKD_E_EXPIRED, reply);
    session_end(s, now_ms, LOCKD_EXPIRED);
}

static void refused(struct call *c, uint64_t now_ms, enum lockd_rc rc,
                    const struct wire_reply *reply)
{
    if (reply->error == WIRE_SESSION_EXPIRED && c->session != NULL) {
        session_is_over(c, now_ms, reply);
    } else if (c->unsure || (in_background(c) && rc == LOCKD_E_OVERLOADED)) {
        call_again(c, now_ms);
    } else {
        fail(c, now_ms, rc, reply);
    }
}

static void upkeep_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct engine *e = c->engine;
    call_detach(c);
    const bool elsewhere = reply->error == WIRE_NOT_MASTER || reply->error == WIRE_UNAVAILABLE;
    const bool is_keepalive = c->request.method == WIRE_SESSION_KEEPALIVE;
    if (c->request.method == WIRE_CELL_STATUS) {
        link_probe_answered(e, now_ms, reply);
    } else if (elsewhere) {
        if (is_keepalive) {
            call_unsend(c, /* front= */ true);
        }
        link_refused(e, now_ms, reply->master);
    } else if (!is_keepalive) {
        cache_call_answered(c, now_ms, reply);
    } else {
        session_keepalive_answered(c->session, now_ms, reply);
    }
}

static void judge(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct engine *e = c->engine;
    const struct meaning m = meaning_of(reply->error);
    switch (m.verdict) {
    case OUTCOME:
        if (m.rc == LOCKD_OK) {
            succeed(c, now_ms, reply);
        } else {
            fail(c, now_ms, m.rc, reply);
        }
        break;
    case ATTEMPT:
        refused(c, now_ms, m.rc, reply);
        break;
    case ELSEWHERE:
        e->link.reads = e->link.reads && !call_roams(c);
        call_unsend(c, /* front= */ true);
        link_refused(e, now_ms, reply->master);
        break;
    case NOT_SURE:
        c->unsure = true;
        if (call_may_repeat(c)) {
            call_again(c, now_ms);
        } else {
            call_end_with(c, now_ms, LOCKD_E_UNKNOWN, reply);
        }
        break;
    case NOT_YET:
        c->too_old = true;
        call_again(c, now_ms);
        link_too_old(e, now_ms);
        break;
    }
}

/* Is it of a state older than one that an answer has shown?  The call is to be asked
 * again, or time would go back for who asks. */
static bool is_behind(const struct call *c, const struct wire_reply *reply)
{
    return call_is_levelled(c) && c->request.level != WIRE_STALE && reply->has_position &&
           reply->revision < c->engine->newest;
}

static void saw(struct engine *e, const struct wire_reply *reply)
{
    if (reply->has_position && reply->level != WIRE_STALE) {
        engine_saw(e, &(struct position){.epoch = reply->epoch,
                                         .revision = reply->revision,
                                         .slot = reply->slot,
                                         .index = reply->position});
    }
}

void call_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct engine *e = c->engine;
    if (call_is_urgent(c)) {
        upkeep_answered(c, now_ms, reply);
        return;
    }
    if (call_of_watches(c)) {
        watches_page_answered(c, now_ms, reply);
        return;
    }
    if (is_behind(c, reply)) {
        call_again(c, now_ms);
        return;
    }
    saw(e, reply);
    if (c->request.cache && c->session != NULL) {
        cache_fill(c, reply);
    }
    judge(c, now_ms, reply);
}

void call_garbled(struct call *c, uint64_t now_ms, const char *detail)
{
    struct engine *e = c->engine;
    engine_set_trouble(e, detail);
    if (call_is_urgent(c) || call_of_watches(c)) {
        link_leave(e, now_ms, detail);
        return;
    }
    const enum lockd_rc rc = call_given_up(c, LOCKD_E_PROTOCOL);
    if ((rc == LOCKD_E_UNKNOWN && call_may_repeat(c)) || c->observer != NULL) {
        c->unsure = true;
        call_again(c, now_ms);
        return;
    }
    if (c->answer != NULL) {
        answer_detail(c->answer, (struct wire_text){.data = detail, .size = strlen(detail)});
    }
    call_end(c, now_ms, rc);
}
