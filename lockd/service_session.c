/* SPDX-License-Identifier: Apache-2.0
 *
 * service_session.c -- who is alive, and whose time is over.
 *
 * A client counts its lease from when it sent the KeepAlive that was answered,
 * and we from when we answered it; so the client gives up first (Chubby, 2.8).
 * That holds only while nobody else is master.  Hence a KeepAlive waits, as a
 * read does, for a confirmation round that began after it arrived, and is
 * answered from the state as it stands then:
 *
 *     read --> round confirmed --> session there:     a full lease from now on
 *                             '--> expiry proposed:   waits for what comes of it
 *                             '--> session not there: it has ended
 *
 * Nobody else need be asked often: it rides on the round of the next heartbeat,
 * and begins one of its own only when its session is running out of time.
 *
 * The keeper's judgements go the other way.  What it declares over is not over
 * until the log says so; and it is asked only in a turn that can propose what it
 * says, after all input of the turn.  These commands await nobody's answer, so
 * they do not pass through the queue of those that do.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- secret */

bool session_denies(const struct service *s, const struct service_request *request)
{
    struct lease_session session;
    return lease_session_get(s->lease, request->session, &session) &&
           !(lease_session_secret(s->lease, request->session, request->secret) &&
             bytes_equal(session.principal, request->principal));
}

/* --------------------------------------------------------- queue of KeepAlives */

static struct pending_keepalive *keepalive_at(const struct keepalive_queue *q, uint32_t index)
{
    assert(index < q->count);
    return &q->waiting[((uint64_t)q->first + index) % q->capacity];
}

/* As many as there may be sessions: each has one on its way, or a client floods. */
static uint64_t keepalives_max(const struct service *s)
{
    const uint64_t sessions = s->config.limits.sessions;
    return sessions < KEEPALIVES_FIRST ? KEEPALIVES_FIRST : sessions;
}

static void grow_keepalives(struct service *s)
{
    struct keepalive_queue *q = &s->keepalives;
    const uint32_t capacity = q->capacity == 0 ? KEEPALIVES_FIRST : 2 * q->capacity;
    struct pending_keepalive *waiting = table_new(s, capacity, sizeof *waiting);
    for (uint32_t i = 0; i < q->count; i++) {
        waiting[i] = *keepalive_at(q, i);
    }
    table_free(s, q->waiting, q->capacity, sizeof *q->waiting);
    q->waiting = waiting;
    q->capacity = capacity;
    q->first = 0;
}

/* Room at the back; NULL: too many wait. */
static struct pending_keepalive *push_keepalive(struct service *s)
{
    struct keepalive_queue *q = &s->keepalives;
    if (q->count >= keepalives_max(s)) {
        return NULL;
    }
    if (q->count == q->capacity) {
        grow_keepalives(s);
    }
    q->count++;
    return keepalive_at(q, q->count - 1);
}

static void drop_keepalive(struct keepalive_queue *q)
{
    q->first = q->first + 1 == q->capacity ? 0 : q->first + 1;
    q->count--;
}

/* ---------------------------------------------------------------- KeepAlives */

/* Less than a third of the lease is left: the client, who sends one every third,
 * has lost two of them. */
static bool runs_out(const struct service *s, uint64_t now_ms, uint64_t session)
{
    struct lease_session known;
    return lease_session_get(s->lease, session, &known) &&
           keeper_left_ms(s->keeper, session, now_ms) < known.lease_ms / 3;
}

void keepalive_request(struct service *s, uint64_t now_ms,
                       const struct service_request *request)
{
    if (request->session == 0) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_REFUSED)->rc =
            LEASE_NO_SESSION;
        return;
    }
    if (request->secret.size > LEASE_SECRET_MAX) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_TOO_LARGE);
        return;
    }
    if (s->epoch == 0 || s->closing) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    if (session_denies(s, request)) {
        read_denied(s, now_ms, request);
        return;
    }
    const bool begins = request->op == SERVICE_CACHE_BEGIN; /* Writers may wait for it. */
    const bool urgent = begins || (!keeper_expiring(s->keeper, request->session) &&
                                   runs_out(s, now_ms, request->session));
    uint64_t round = 0;
    if (paxos_confirm(s->paxos, now_ms, urgent, &round) != PAXOS_OK) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    struct pending_keepalive *k = push_keepalive(s);
    if (k == NULL) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return;
    }
    *k = (struct pending_keepalive){
        .client = request->client,
        .tag = request->tag,
        .round = mutant(keepalive_without_round) ? 0 : round,
        .session = request->session,
        .op = (uint8_t)request->op,
        .reading = !begins && keeper_reading(s->keeper, request->session),
        .secret_size = (uint8_t)request->secret.size,
    };
    if (request->secret.size > 0) {
        memcpy(k->secret, request->secret.data, request->secret.size);
    }
}

static struct service_reply *reply_state(struct service *s, const struct pending *asker,
                                         enum lease_rc rc)
{
    const struct lease_position position = lease_position(s->lease);
    struct service_reply *reply =
        reply_add(s, asker->client, asker->tag, (enum service_op)asker->op,
                  rc == LEASE_OK ? SERVICE_DONE : SERVICE_REFUSED);
    reply->rc = rc;
    reply->epoch = position.epoch;
    reply->revision = position.revision;
    reply->slot = position.slot;
    reply->position = position.position;
    return reply;
}

/* The session is there, and its client may count on it from when it asked. */
static void prolong(struct service *s, const struct pending *asker,
                    const struct lease_session *session)
{
    const uint32_t lease_ms = stretch_grant(s, session->lease_ms);
    keeper_answered(s->keeper, session->id, lease_ms, s->now_ms);
    struct service_reply *reply = reply_state(s, asker, LEASE_OK);
    reply->lease_ms = lease_ms;
    reply->cache_ms = cache_lease(s, asker->client, session->id);
}

static void answer_keepalive(struct service *s, const struct pending_keepalive *k)
{
    const struct pending asker = {.client = k->client, .tag = k->tag, .op = k->op};
    struct lease_session session;
    if (!lease_session_get(s->lease, k->session, &session)) {
        if (k->op != 0) {
            reply_state(s, &asker, LEASE_NO_SESSION);
        }
        return;
    }
    const bool expiring =
        keeper_expiring(s->keeper, k->session) && !mutant(keepalive_while_expiring);
    const bool allowed =
        lease_session_secret(s->lease, k->session, bytes_of(k->secret, k->secret_size));
    if (k->op == SERVICE_CACHE_BEGIN && allowed) {
        cache_begun(s, &session, reply_state(s, &asker, LEASE_OK));
        return;
    }
    if (k->op != 0 && allowed && !expiring) {
        prolong(s, &asker, &session);
        return;
    }
    const bool leaks = mutant(reading_leaked) && k->op == 0;
    if (k->reading && !leaks) { /* The session is spared no longer, and nothing is granted. */
        keeper_answered(s->keeper, k->session, /* lease_ms= */ 0, s->now_ms);
    }
    if (k->op != 0 && !allowed) {
        reply_state(s, &asker, LEASE_DENIED);
    } else if (k->op != 0) {
        waiting_add(s, &asker, k->session, /* request= */ 0, LEASE_SHARED, bytes_of(NULL, 0));
    }
}

void keepalives_answer(struct service *s, uint64_t confirmed)
{
    while (s->keepalives.count > 0) {
        const struct pending_keepalive *k = keepalive_at(&s->keepalives, 0);
        if (k->round > confirmed) {
            return;
        }
        answer_keepalive(s, k);
        drop_keepalive(&s->keepalives);
    }
}

void keepalives_forget(struct service *s,
                       bool (*forgotten)(const struct service *s, uint64_t client))
{
    for (uint32_t i = 0; i < s->keepalives.count; i++) {
        struct pending_keepalive *k = keepalive_at(&s->keepalives, i);
        if (forgotten(s, k->client)) {
            k->op = 0;
        }
    }
}

static void keepalives_lost(struct service *s)
{
    while (s->keepalives.count > 0) {
        const struct pending_keepalive *k = keepalive_at(&s->keepalives, 0);
        if (k->op != 0) {
            reply_not_master(s, k->client, k->tag, (enum service_op)k->op);
        }
        drop_keepalive(&s->keepalives);
    }
}

/* ------------------------------------------------------------------ the keeper */

void sessions_begin(struct service *s)
{
    keeper_begin(s->keeper, s->lease, s->now_ms);
    stretch_begin(s);
}

void sessions_lost(struct service *s)
{
    keepalives_lost(s);
    waiting_lost(s);
    keeper_end(s->keeper);
    s->judged.first = 0;
    s->judged.again_ms = 0;
    s->judged.slot = 0;
    if (!mutant(expiry_unguarded)) {
        s->judged.count = 0; /* The next master gives each session its full time anew. */
    }
}

/* Those who asked whether it lives: it doesn't. */
static void session_over(struct service *s, uint64_t session, const struct lease_at *at,
                         const struct lease_result *result)
{
    keeper_session_closed(s->keeper, session);
    cache_session_over(s, session);
    const struct waiter *w = waiting_take(s, session, /* request= */ 0);
    if (w != NULL) {
        const struct pending asker = {.client = w->client, .tag = w->tag, .op = w->op};
        struct lease_result over = *result;
        over.rc = LEASE_NO_SESSION;
        queue_answer(s, &asker, at, &over);
    }
}

/* For as long as it was first asked to; a retry that joins may have been sent
 * with another limit. */
static void wait_begun(struct service *s, const struct lease_command *command)
{
    uint32_t wait_ms;
    if (lease_waiting(s->lease, command->session, command->request, &wait_ms)) {
        keeper_wait_begun(s->keeper, command->session, command->request, wait_ms, s->now_ms);
    }
}

void sessions_applied(struct service *s, const struct lease_at *at,
                      const struct lease_command *command, const struct lease_result *result)
{
    assert(s->epoch != 0);
    switch (command->type) {
    case LEASE_CMD_SESSION_OPEN:
        if (result->rc == LEASE_OK) {
            keeper_session_opened(s->keeper, result->session, result->lease_ms, s->now_ms);
        }
        return;
    case LEASE_CMD_SESSION_CLOSE:
        if (result->rc == LEASE_OK) {
            session_over(s, command->session, at, result);
        }
        return;
    case LEASE_CMD_SESSION_EXPIRE:
        if (result->rc == LEASE_OK) {
            session_over(s, command->subject, at, result);
        }
        return;
    case LEASE_CMD_ACQUIRE:
        if (result->rc == LEASE_WAITING) {
            wait_begun(s, command);
        }
        return;
    case LEASE_CMD_DELAY_OVER:
        if (result->rc == LEASE_OK) {
            keeper_delay_ended(s->keeper, command->subject, command->subject_request);
        }
        return;
    case LEASE_CMD_STRETCH:
        stretch_applied(s, result->rc);
        return;
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
    case LEASE_CMD_RELEASE:
    case LEASE_CMD_CANCEL:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_OPEN:
    case LEASE_CMD_CLOSE:
    case LEASE_CMD_SET_ACL:
        return;
    }
    assert(false && "a command of lease/");
}

/* ------------------------------------------------------------------- judgement */

void sessions_woken(struct service *s)
{
    if (s->epoch != 0 && s->wake_at_ms != 0 && s->now_ms > s->wake_at_ms + AWAY_MS) {
        keeper_add_away(s->keeper, s->now_ms - s->wake_at_ms);
        stretch_late(s, s->now_ms - s->wake_at_ms);
    }
}

/* Would a batch proposed now get a slot?  As far as one can know. */
static bool window_open(const struct service *s)
{
    struct paxos_status status;
    paxos_status(s->paxos, s->now_ms, &status);
    return status.last < status.chosen + PAXOS_WINDOW;
}

/* When the keeper has something to say, or leases are to be longer or shorter. */
static uint64_t judge_at_ms(const struct service *s)
{
    const uint64_t keeper_ms = keeper_next_ms(s->keeper);
    const uint64_t stretch_ms = stretch_wake_ms(s);
    return keeper_ms < stretch_ms ? keeper_ms : stretch_ms;
}

void sessions_admit(struct service *s)
{
    struct judged *judged = &s->judged;
    uint32_t kept = judged->first;
    for (uint32_t i = judged->first; i < judged->count; i++) {
        if (!cache_admit(s, /* asker= */ NULL, &judged->commands[i])) {
            keeper_postpone(s->keeper, &judged->commands[i]);
            judged->again_ms = s->now_ms + JUDGE_AGAIN_MS;
        } else if (kept++ < i) {
            judged->commands[kept - 1] = judged->commands[i];
        }
    }
    judged->count = kept;
}

void sessions_judge(struct service *s)
{
    s->judged.blocked = false;
    if (s->epoch == 0 || s->closing || s->now_ms < s->judged.again_ms) {
        return;
    }
    if (s->now_ms < judge_at_ms(s)) {
        intents_free(s, intents_take_wanted(s)); /* Those whom it was about live. */
        return;
    }
    if (s->judged.first < s->judged.count || s->queue.queued > 0 || !window_open(s)) {
        s->judged.blocked = true; /* What makes room brings a turn. */
        return;
    }
    struct intent *wanted = intents_take_wanted(s);
    s->judged.first = 0;
    s->judged.again_ms = 0;
    s->judged.count = keeper_due(s->keeper, s->now_ms, s->epoch, s->judged.commands);
    s->judged.count += stretch_due(s, &s->judged.commands[s->judged.count]);
    sessions_admit(s);
    intents_free(s, wanted);
}

/* The next batch of what was judged: as much of it as one entry may hold. */
static struct bytes encode_judged(struct service *s, uint32_t *ret_count)
{
    const size_t room = s->batch_bytes < JUDGED_OCTETS ? s->batch_bytes : JUDGED_OCTETS;
    struct writer w = writer_over(s->judged.octets, room);
    uint32_t at = s->judged.first;
    for (; at < s->judged.count; at++) {
        const struct lease_command *command = &s->judged.commands[at];
        if (room - w.size < lease_command_size(command)) {
            break;
        }
        lease_command_encode(command, &w);
    }
    assert(!w.failed && at > s->judged.first);
    *ret_count = at - s->judged.first;
    return bytes_of(w.data, w.size);
}

void sessions_propose(struct service *s, uint64_t wall_ms)
{
    while (s->epoch != 0 && s->judged.first < s->judged.count) {
        uint32_t count;
        const struct bytes octets = encode_judged(s, &count);
        paxos_slot slot;
        if (paxos_propose(s->paxos, s->now_ms, wall_ms, octets, &slot) != PAXOS_OK) {
            return;
        }
        s->judged.first += count;
        s->judged.slot = slot;
    }
    if (s->judged.first == s->judged.count) {
        intents_proposed(s, s->judged.slot);
    }
}

uint64_t sessions_wake_ms(const struct service *s)
{
    const bool judges = s->epoch != 0 && !s->closing && !s->judged.blocked;
    const uint64_t at_ms = judges ? judge_at_ms(s) : UINT64_MAX;
    return at_ms > s->judged.again_ms ? at_ms : s->judged.again_ms;
}

void sessions_check(const struct service *s)
{
    assert(s->keepalives.count <= s->keepalives.capacity);
    assert(s->judged.first <= s->judged.count && s->judged.count <= KEEPER_BATCH + 1);
    if (s->epoch != 0) {
        keeper_check(s->keeper, s->lease);
    } else {
        assert(s->keepalives.count == 0 && s->waiting.count == 0);
    }
    for (uint32_t i = 1; i < s->keepalives.count && !mutant(keepalive_without_round); i++) {
        assert(keepalive_at(&s->keepalives, i - 1)->round <=
               keepalive_at(&s->keepalives, i)->round);
    }
}
