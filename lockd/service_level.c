/* SPDX-License-Identifier: Apache-2.0
 *
 * service_level.c -- reads below linearizable, and how old a state may be.
 *
 *     lease       of the master, while nobody else can be: the promise of a majority
 *                 to follow nobody else runs still.  What was acknowledged then was
 *                 acknowledged by us, and we apply before we acknowledge.  The time
 *                 that is looked at was read after the request; so at that moment,
 *                 between the request and its answer, the state was the newest.
 *     sequential  of any replica, once its state is as new as what the client has seen.
 *     stale       of any replica, as it is.
 *
 * The last two need nobody's word: a replica that is cut off answers, too.  How old
 * its state may be it knows from paxos_fresh(), and says; who can't do with that names
 * a bound, and is refused rather than told something older.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

struct level_read {
    struct level_read *next;
    size_t octets; /* Of all of this. */
    uint64_t min_revision;
    uint64_t until_ms; /* No longer does it wait for that; UINT64_MAX: it does not. */
    uint32_t max_age_ms;
    enum service_level level;
    struct pending_read read; /* LEASE: its round answers it at the latest. */
    uint8_t names[];
};

/* ------------------------------------------------------------------ requests */

static bool is_forming(const struct service *s)
{
    struct paxos_status status;
    paxos_status(s->paxos, s->now_ms, &status);
    return status.role == PAXOS_FORMING;
}

/* With a lease one waits for nothing but a round. */
static uint64_t until_of(const struct service *s, const struct service_request *request)
{
    if (request->level != SERVICE_SEQUENTIAL) {
        return UINT64_MAX;
    }
    const uint32_t max_ms = SERVICE_WAIT_MS_MAX;
    return s->now_ms + (request->wait_ms < max_ms ? request->wait_ms : max_ms);
}

static void push(struct service *s, const struct service_request *request, uint64_t round,
                 struct bytes path)
{
    struct level_queue *q = &s->levels;
    if (q->count == s->config.reads_max) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return;
    }
    const size_t octets = sizeof(struct level_read) + read_names_size(request, path);
    struct level_read *r = table_new(s, octets, 1);
    *r = (struct level_read){
        .octets = octets,
        .min_revision = request->level == SERVICE_SEQUENTIAL ? request->min_revision : 0,
        .until_ms = until_of(s, request),
        .max_age_ms = request->max_age_ms,
        .level = request->level,
    };
    read_fill(s, &r->read, request, path, r->names);
    r->read.round = round;
    *q->end = r;
    q->end = &r->next;
    q->count++;
    q->look = true;
}

/* Answered with the turn, like all that borrows from the state. */
void level_request(struct service *s, uint64_t now_ms, const struct service_request *request,
                   struct bytes path)
{
    if (request->op == SERVICE_LIST && request->after.size > LEASE_COMPONENT_MAX) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_BAD_NAME);
        return;
    }
    uint64_t round = 0;
    if (request->level == SERVICE_LEASE) {
        if (!paxos_lease_valid(s->paxos, now_ms)) {
            read_request(s, now_ms, request, path);
            return;
        }
        if (paxos_confirm(s->paxos, now_ms, /* urgent= */ false, &round) != PAXOS_OK) {
            reply_not_master(s, request->client, request->tag, request->op);
            return;
        }
    }
    if (s->closing || is_forming(s)) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    push(s, request, round, path);
}

/* ----------------------------------------------------------------------- age */

bool levels_age(const struct service *s, uint64_t now_ms, uint64_t *ret_age_ms)
{
    uint64_t as_of_ms;
    paxos_slot slot;
    if (!paxos_fresh(s->paxos, &as_of_ms, &slot) || lease_position(s->lease).slot < slot) {
        return false;
    }
    assert(as_of_ms <= now_ms);
    *ret_age_ms = now_ms - as_of_ms;
    return true;
}

/* ------------------------------------------------------------------- answers */

/* What all who are answered in one turn find. */
struct view {
    uint64_t revision;
    uint64_t confirmed; /* The round up to which reads are answered as linearizable. */
    bool leased;
    bool has_age;
    uint64_t age_ms;
};

/* No read overtakes a page of watches that came before it; so with a lease it waits for its
 * round, too, while there are any. */
static struct view view_of(const struct service *s, uint64_t confirmed)
{
    struct view view = {
        .revision = lease_position(s->lease).revision,
        .confirmed = confirmed,
        .leased =
            s->epoch != 0 && s->watches.pages == NULL && paxos_lease_valid(s->paxos, s->now_ms),
    };
    view.has_age = levels_age(s, s->now_ms, &view.age_ms);
    return view;
}

enum verdict { WAITS, ANSWERED, TOO_OLD, NOT_MASTER };

static enum verdict judge_lease(const struct service *s, const struct view *view,
                                const struct level_read *r)
{
    if (r->read.epoch != s->epoch) {
        return NOT_MASTER;
    }
    return view->leased || r->read.round <= view->confirmed ? ANSWERED : WAITS;
}

static enum verdict judge(const struct service *s, const struct view *view,
                          const struct level_read *r)
{
    if (s->closing) {
        return NOT_MASTER;
    }
    if (r->level == SERVICE_LEASE) {
        return judge_lease(s, view, r);
    }
    if (view->revision < r->min_revision && !mutant(sequential_behind)) {
        return s->now_ms < r->until_ms ? WAITS : TOO_OLD;
    }
    const bool bounded = r->max_age_ms > 0;
    return bounded && (!view->has_age || view->age_ms > r->max_age_ms) ? TOO_OLD : ANSWERED;
}

static void answer(struct service *s, const struct view *view, const struct level_read *r,
                   enum verdict verdict)
{
    const enum service_op op = (enum service_op)r->read.op;
    if (verdict == NOT_MASTER) {
        reply_not_master(s, r->read.client, r->read.tag, op);
        return;
    }
    struct service_reply *reply =
        verdict == TOO_OLD ? reply_add(s, r->read.client, r->read.tag, op, SERVICE_TOO_OLD)
                           : read_answer(s, &r->read, r->names);
    if (r->level == SERVICE_LEASE && !view->leased) {
        return; /* It is linearizable. */
    }
    reply->level = r->level;
    reply->has_age = r->level == SERVICE_LEASE || view->has_age;
    reply->age_ms = r->level == SERVICE_LEASE || !view->has_age ? 0 : view->age_ms;
}

static void drop(struct service *s, struct level_read **link)
{
    struct level_queue *q = &s->levels;
    struct level_read *r = *link;
    *link = r->next;
    if (r->next == NULL) {
        q->end = link;
    }
    q->count--;
    table_free(s, r, r->octets, 1);
}

/* Those who wait are looked at again when something may have come for one of them. */
static void wait_for(struct level_queue *q, const struct level_read *r)
{
    q->look |= r->level == SERVICE_LEASE;
    q->revision = r->min_revision < q->revision ? r->min_revision : q->revision;
    q->until_ms = r->until_ms < q->until_ms ? r->until_ms : q->until_ms;
}

bool levels_answer(struct service *s, uint64_t confirmed)
{
    struct level_queue *q = &s->levels;
    if (q->count == 0) {
        return true;
    }
    const struct view view = view_of(s, confirmed);
    if (!q->look && !s->closing && view.revision < q->revision && s->now_ms < q->until_ms) {
        return true;
    }
    q->look = false;
    q->revision = UINT64_MAX;
    q->until_ms = UINT64_MAX;
    for (struct level_read **link = &q->first; *link != NULL;) {
        const struct level_read *r = *link;
        const enum verdict verdict = judge(s, &view, r);
        if (verdict == WAITS) {
            wait_for(q, r);
            link = &(*link)->next;
            continue;
        }
        if (verdict == ANSWERED && !read_fits(s, &r->read)) {
            q->look = true;
            return false;
        }
        answer(s, &view, r, verdict);
        drop(s, link);
    }
    return true;
}

/* ---------------------------------------------------------------------- life */

void levels_forget(struct service *s,
                   bool (*forgotten)(const struct service *s, uint64_t client))
{
    for (struct level_read **link = &s->levels.first; *link != NULL;) {
        if (forgotten(s, (*link)->read.client)) {
            drop(s, link);
        } else {
            link = &(*link)->next;
        }
    }
}

uint64_t levels_wake_ms(const struct service *s)
{
    return s->levels.count == 0 ? UINT64_MAX : s->levels.until_ms;
}

void levels_init(struct service *s)
{
    s->levels.end = &s->levels.first;
    s->levels.until_ms = UINT64_MAX;
}

void levels_free(struct service *s)
{
    while (s->levels.first != NULL) {
        drop(s, &s->levels.first);
    }
}

void levels_check(const struct service *s)
{
    const struct level_queue *q = &s->levels;
    uint32_t count = 0;
    for (const struct level_read *r = q->first; r != NULL; r = r->next) {
        assert(r->level != SERVICE_LINEARIZABLE);
        assert(r->next != NULL || q->end == &r->next);
        assert(q->look || (r->min_revision >= q->revision && r->until_ms >= q->until_ms));
        count++;
    }
    assert(count == q->count && (count > 0 || q->end == &q->first));
}
