/* SPDX-License-Identifier: Apache-2.0
 *
 * machine_session.c -- the commands that begin and end sessions.
 */
#include "lease/lock.h"
#include "lease/opener.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

static uint32_t lease_granted(uint32_t lease_ms)
{
    if (lease_ms == 0) {
        return LEASE_SESSION_MS_DEFAULT;
    }
    if (lease_ms < LEASE_SESSION_MS_MIN) {
        return LEASE_SESSION_MS_MIN;
    }
    return lease_ms > LEASE_SESSION_MS_MAX ? (uint32_t)LEASE_SESSION_MS_MAX : lease_ms;
}

enum lease_rc machine_session_open(struct lease *l, const struct lease_at *at,
                                   const struct lease_command *c,
                                   struct lease_result *ret_result)
{
    if (c->subject == 0) {
        return LEASE_NO_SESSION; /* No session has this id, nor ever will. */
    }
    if (session_find(l, c->subject) != NULL) {
        return LEASE_EXISTS;
    }
    if (l->counts.sessions >= l->limits.sessions) {
        return LEASE_LIMIT;
    }
    struct session *session = session_new(l, c->label, c->principal);
    session->lease_ms = lease_granted(c->lease_ms);
    session->cache = c->cache;
    session->opened_wall_ms = at->wall_ms;
    session->secret_hash[0] = c->secret_hash[0];
    session->secret_hash[1] = c->secret_hash[1];
    session_add(l, session, c->subject);

    ret_result->session = c->subject;
    ret_result->lease_ms = session->lease_ms;
    return LEASE_OK;
}

static void end_claim(struct lease *l, const struct lease_at *at, struct session *session,
                      struct claim *claim, bool expired)
{
    if (claim->state == CLAIM_WAITS) {
        result_settle(l, at, claim, LEASE_NO_SESSION);
        if (mutant(dead_session_queued)) {
            claim_unlink_session(session, claim);
            return;
        }
    }
    if (claim->state == CLAIM_HELD && expired) {
        lock_fail(l, at, session, claim);
    } else {
        lock_drop(l, at, session, claim);
    }
}

static void end_claims(struct lease *l, const struct lease_at *at, struct session *session,
                       bool expired)
{
    struct claim *claim = claim_first(session);
    while (claim != NULL) {
        /* Those of one node together, so that its queue sees none of them. */
        struct node *node = claim->node;
        do {
            end_claim(l, at, session, claim, expired);
            claim = claim_first(session);
        } while (claim != NULL && claim->node == node);
        lock_serve(l, at, node);
        machine_left(l, at, node);
    }
}

static void end_opens(struct lease *l, const struct lease_at *at, struct session *session)
{
    struct opener *opener = opener_first(session);
    while (opener != NULL) {
        struct node *node = opener->node;
        opener_close(l, opener);
        if (!mutant(ephemeral_outlives_opener)) {
            machine_left(l, at, node);
        }
        opener = opener_first(session);
    }
}

/* The session is over at this place of the log: all that it held is free or, if
 * it expired, in lock-delay; it waits nowhere and has nothing open.  In order of
 * nodes and handles, on every replica. */
static void end_session(struct lease *l, const struct lease_at *at, struct session *session,
                        bool expired)
{
    end_claims(l, at, session, expired);
    end_opens(l, at, session);
    result_forget(l, session, 1, UINT64_MAX);
    session_remove(l, session);
}

enum lease_rc machine_session_close(struct lease *l, const struct lease_at *at,
                                    struct session *session)
{
    end_session(l, at, session, /* expired= */ false);
    return LEASE_OK;
}

enum lease_rc machine_session_expire(struct lease *l, const struct lease_at *at,
                                     const struct lease_command *c)
{
    /* Decided by a master that may have been away since: whoever follows has
     * given the session its whole lease again (Chubby, 2.9). */
    if (c->epoch != at->epoch && !mutant(expiry_unguarded)) {
        return LEASE_OLD_EPOCH;
    }
    struct session *session = session_find(l, c->subject);
    if (session == NULL) {
        return LEASE_NO_SESSION;
    }
    end_session(l, at, session, /* expired= */ true);
    return LEASE_OK;
}

enum lease_rc machine_stretch(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c)
{
    /* Of what an older mastership has answered, the next one knows the ceiling. */
    if (c->epoch != at->epoch) {
        return LEASE_OLD_EPOCH;
    }
    if (c->lease_ms > LEASE_SESSION_MS_MAX) {
        return LEASE_LIMIT;
    }
    l->counters.stretch_ms = c->lease_ms;
    l->counters_moved = true;
    return LEASE_OK;
}
