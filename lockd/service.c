/* SPDX-License-Identifier: Apache-2.0
 *
 * service.c -- the turn: events in, one batch of wishes out.
 *
 * A turn proposes first, so that what it brought leaves with it; then it lets
 * paxos decide, once; applies what is chosen; and only then answers reads, which
 * borrow from the state as it stands.  What paxos hands out is borrowed until
 * paxos_advance(), so whatever that leaves to do is work for the next turn, and
 * `more` asks for it.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ----------------------------------------------------------------- replies */

struct service_reply *reply_add(struct service *s, uint64_t client, uint64_t tag,
                                enum service_op op, enum service_outcome outcome)
{
    s->replies = table_grow(s, s->replies, s->replies_count, &s->replies_capacity,
                            (size_t)s->replies_count + 1, sizeof *s->replies);
    struct service_reply *reply = &s->replies[s->replies_count++];
    *reply = (struct service_reply){
        .client = client,
        .tag = tag,
        .op = op,
        .outcome = outcome,
    };
    return reply;
}

void reply_not_master(struct service *s, uint64_t client, uint64_t tag, enum service_op op)
{
    reply_add(s, client, tag, op, SERVICE_NOT_MASTER)->master = s->master;
}

const char *service_outcome_text(enum service_outcome outcome)
{
    switch (outcome) {
#define OUTCOME_CASE(name, text)                                                               \
    case name:                                                                                 \
        return text;
        SERVICE_OUTCOME_MAP(OUTCOME_CASE)
#undef OUTCOME_CASE
    }
    return "no such outcome";
}

/* --------------------------------------------------------------- mastership */

/* After whatever may have moved it.  Between two looks at most one mastership
 * ends, because winning another takes writes that only a turn hands out. */
static void look_at_mastership(struct service *s)
{
    struct paxos_status status;
    paxos_status(s->paxos, s->now_ms, &status);
    s->master = status.master == s->config.paxos.self ? 0 : status.master;

    const uint64_t epoch = status.serving ? status.epoch : 0;
    if (epoch == s->epoch) {
        return;
    }
    const bool lost = s->epoch != 0;
    s->epoch = epoch;
    if (lost) {
        queue_lost(s);
        reads_lost(s);
        sessions_lost(s);
        watchers_lost(s);
        caches_lost(s);
    }
    if (epoch != 0) {
        sessions_begin(s);
        watches_begin(s);
        caches_begin(s);
    }
}

/* ------------------------------------------------------------------- events */

static void see_now(struct service *s, uint64_t now_ms)
{
    assert(s->paxos != NULL && !s->turned);
    assert(now_ms >= s->now_ms);
    s->now_ms = now_ms;
}

static enum paxos_drop step(struct service *s, const struct paxos_event *event)
{
    see_now(s, event->now_ms);
    const enum paxos_drop why = paxos_step(s->paxos, event);
    look_at_mastership(s);
    return why;
}

/* The bug: deadlines that fell while the loop was away are judged before what
 * had been readable all the time. */
static void judge_too_early(struct service *s)
{
    if (mutant(judged_before_input)) {
        sessions_judge(s);
    }
}

enum paxos_drop service_receive(struct service *s, uint64_t now_ms,
                                const struct paxos_message *message)
{
    see_now(s, now_ms);
    judge_too_early(s);
    return step(
        s, &(struct paxos_event){.type = PAXOS_RECEIVE, .now_ms = now_ms, .message = message});
}

void service_durable(struct service *s, uint64_t now_ms, uint64_t ticket)
{
    step(s, &(struct paxos_event){.type = PAXOS_DURABLE, .now_ms = now_ms, .ticket = ticket});
}

void service_log_read(struct service *s, uint64_t now_ms, const struct paxos_log_read *answer)
{
    step(s,
         &(struct paxos_event){.type = PAXOS_LOG_READ, .now_ms = now_ms, .log_read = *answer});
}

void service_peer_gone(struct service *s, uint64_t now_ms, paxos_id peer)
{
    step(s, &(struct paxos_event){.type = PAXOS_PEER_GONE, .now_ms = now_ms, .peer = peer});
}

void service_low_space(struct service *s, bool low)
{
    s->low_space = low;
}

/* Does the request concern a node?  A list of locks may concern all of them. */
static bool is_named(const struct service_request *request)
{
    switch (request->op) {
    case SERVICE_GET:
    case SERVICE_STAT:
    case SERVICE_LIST:
    case SERVICE_PUT:
    case SERVICE_CREATE:
    case SERVICE_DELETE:
    case SERVICE_LOCK_ACQUIRE:
    case SERVICE_LOCK_RELEASE:
    case SERVICE_LOCK_CHECK:
    case SERVICE_NODE_OPEN:
    case SERVICE_NODE_CLOSE:
    case SERVICE_GET_ACL:
    case SERVICE_SET_ACL:
        return true;
    case SERVICE_LOCK_LIST:
        return request->name.size > 0;
    case SERVICE_STATUS:
    case SERVICE_SESSION_OPEN:
    case SERVICE_SESSION_KEEPALIVE:
    case SERVICE_SESSION_CLOSE:
    case SERVICE_LOCK_CANCEL:
    case SERVICE_WATCH_ADD:
    case SERVICE_WATCH_REMOVE:
    case SERVICE_CACHE_BEGIN:
    case SERVICE_CACHE_ACK:
        break;
    }
    return false;
}

/* Takes a request that must be of a session, or is one, unless it lacks what no
 * state could make up for: there is no session 0, and request 0 lies below every
 * floor of acknowledgements, because ids begin at 1. */
static bool is_signed(const struct service_request *request, bool one_shot,
                      enum lease_rc *ret_rc)
{
    if (request->session == 0) {
        *ret_rc = LEASE_NO_SESSION;
        return one_shot;
    }
    *ret_rc = LEASE_ACKNOWLEDGED;
    return request->request != 0;
}

/* Nobody has a node open without knowing which. */
static bool is_pinned(const struct service_request *request, enum lease_rc *ret_rc)
{
    *ret_rc = LEASE_STALE_INSTANCE;
    return request->op != SERVICE_NODE_CLOSE || request->if_instance != LEASE_ANY;
}

static void request_write(struct service *s, const struct service_request *request,
                          struct bytes path, bool one_shot)
{
    enum lease_rc rc = LEASE_DENIED;
    if (!access_judged_early(s, request, path) && is_signed(request, one_shot, &rc) &&
        is_pinned(request, &rc)) {
        queue_request(s, request, path);
    } else {
        reply_add(s, request->client, request->tag, request->op, SERVICE_REFUSED)->rc = rc;
    }
}

void service_request(struct service *s, uint64_t now_ms, const struct service_request *request)
{
    see_now(s, now_ms);
    judge_too_early(s);
    struct bytes path = bytes_of(NULL, 0);
    if (is_named(request) && !name_path(s, request->name, &path)) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_BAD_NAME);
        return;
    }
    switch (request->op) {
    case SERVICE_STATUS:
        reply_add(s, request->client, request->tag, request->op, SERVICE_DONE);
        s->status_asked = true;
        return;
    case SERVICE_GET:
    case SERVICE_STAT:
    case SERVICE_LIST:
    case SERVICE_GET_ACL:
        if (request->level != SERVICE_LINEARIZABLE) {
            level_request(s, now_ms, request, path);
            return;
        }
        read_request(s, now_ms, request, path);
        return;
    case SERVICE_LOCK_LIST:
    case SERVICE_LOCK_CHECK:
        read_request(s, now_ms, request, path);
        return;
    case SERVICE_PUT:
    case SERVICE_CREATE:
    case SERVICE_DELETE:
    case SERVICE_SET_ACL:
        request_write(s, request, path, /* one_shot= */ true);
        return;
    case SERVICE_SESSION_CLOSE:
    case SERVICE_LOCK_ACQUIRE:
    case SERVICE_LOCK_RELEASE:
    case SERVICE_LOCK_CANCEL:
    case SERVICE_NODE_OPEN:
    case SERVICE_NODE_CLOSE:
        request_write(s, request, path, /* one_shot= */ false);
        return;
    case SERVICE_SESSION_OPEN:
        queue_request(s, request, path);
        return;
    case SERVICE_SESSION_KEEPALIVE:
    case SERVICE_CACHE_BEGIN:
        keepalive_request(s, now_ms, request);
        return;
    case SERVICE_CACHE_ACK:
        cache_acknowledged(s, request);
        return;
    case SERVICE_WATCH_ADD:
        watch_request(s, now_ms, request);
        return;
    case SERVICE_WATCH_REMOVE:
        unwatch_request(s, request);
        return;
    }
    assert(false && "an operation of the service");
}

/* ---------------------------------------------------------------- forgetting */

static bool is_forgotten(const struct service *s, uint64_t client)
{
    uint32_t low = 0;
    uint32_t high = s->forgotten_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (s->forgotten[middle] < client) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->forgotten_count && s->forgotten[low] == client;
}

static void forget_command(void *context, struct pending *command)
{
    if (is_forgotten(context, command->client)) {
        command->op = 0;
    }
}

static void forget_read(void *context, struct pending_read *read)
{
    if (is_forgotten(context, read->client)) {
        read->op = 0;
    }
}

static void forget_replies(struct service *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->replies_count; i++) {
        if (!is_forgotten(s, s->replies[i].client)) {
            s->replies[kept++] = s->replies[i];
        }
    }
    s->replies_count = kept;
}

/* One walk over all that waits, for all who have gone since the last one. */
static void forget_all(struct service *s)
{
    if (s->forgotten_count == 0) {
        return;
    }
    pending_each(&s->queue, forget_command, s);
    reads_each(s, forget_read, s);
    keepalives_forget(s, is_forgotten);
    levels_forget(s, is_forgotten);
    intents_forget(s, is_forgotten);
    for (uint32_t i = 0; i < s->forgotten_count; i++) {
        caches_forget(s, s->forgotten[i]);
        waiting_forget(s, s->forgotten[i]);
        watches_forget(s, s->forgotten[i]);
    }
    if (!s->turned) { /* Else they are handed out, and stay as they are. */
        forget_replies(s);
        events_forget(s, is_forgotten);
    }
    s->forgotten_count = 0;
}

void service_forget(struct service *s, uint64_t client)
{
    if (is_forgotten(s, client)) {
        return;
    }
    if (s->forgotten_count == FORGOTTEN_MAX) {
        forget_all(s);
    }
    uint32_t at = s->forgotten_count;
    for (; at > 0 && s->forgotten[at - 1] > client; at--) {
        s->forgotten[at] = s->forgotten[at - 1];
    }
    s->forgotten[at] = client;
    s->forgotten_count++;
}

/* ------------------------------------------------------------ clean shutdown */

void service_hand_over(struct service *s, uint64_t now_ms)
{
    see_now(s, now_ms);
    if (!s->closing) {
        s->closing = true;
        s->release_by_ms = now_ms + s->config.paxos.lease_ms;
    }
}

/* Once what was taken in is proposed and read, paxos drains its window and gives
 * the mastership away by itself. */
static void hand_over(struct service *s)
{
    const bool drained = s->queue.queued == 0 && s->caches.held == 0 && s->reads.count == 0 &&
                         s->keepalives.count == 0 && s->watches.pages == NULL;
    if (s->closing && !s->released &&
        (s->epoch == 0 || drained || s->now_ms >= s->release_by_ms)) {
        s->released = true;
        step(s, &(struct paxos_event){.type = PAXOS_HAND_OVER, .now_ms = s->now_ms});
    }
}

/* Somebody else may be master now, and nobody awaits anything of us. */
bool is_settled(const struct service *s)
{
    if (!s->closing || !s->released || s->queue.count > 0 || s->reads.count > 0 ||
        s->keepalives.count > 0 || s->watches.pages != NULL) {
        return false;
    }
    struct paxos_status status;
    paxos_status(s->paxos, s->now_ms, &status);
    return status.role != PAXOS_MASTER;
}

bool service_idle(const struct service *s)
{
    return is_settled(s) && s->replies_count == 0 && s->watches.events_count == 0 &&
           s->final_set && !s->set.outstanding;
}

/* ------------------------------------------------------------------- status */

/* Members heard within a master's lease, ourselves included. */
static uint32_t heard_count(const struct service *s, const struct paxos_status *status,
                            uint64_t now_ms)
{
    uint32_t heard = 1;
    for (uint32_t i = 0; i < status->peers_count; i++) {
        const uint64_t heard_ms = status->peers[i].heard_ms;
        if (heard_ms != 0 && now_ms <= heard_ms + s->config.paxos.lease_ms) {
            heard++;
        }
    }
    return heard;
}

void service_status(const struct service *s, uint64_t now_ms, struct service_status *ret_status)
{
    *ret_status = (struct service_status){
        .position = lease_position(s->lease),
        .counts = lease_counts(s->lease),
        .history_floor = lease_history_floor(s->lease),
        .digest = lease_digest(s->lease),
        .open = lease_is_open(s->lease),
        .tables_slot = s->tables_slot,
        .log_first = s->log_first,
        .low_space = s->low_space,
        .stretch_ms = lease_stretch_ms(s->lease),
        .watches = (uint32_t)s->watches.by_id.count,
        .cached = s->caches.count,
        .held = s->caches.held,
        .now_ms = now_ms,
    };
    ret_status->has_age = levels_age(s, now_ms, &ret_status->age_ms);
    paxos_status(s->paxos, now_ms, &ret_status->paxos);
    if (ret_status->paxos.role == PAXOS_MASTER) {
        const uint32_t heard = heard_count(s, &ret_status->paxos, now_ms);
        const uint32_t quorum = ret_status->paxos.quorum;
        ret_status->survives = heard > quorum ? heard - quorum : 0;
    }
}

const struct lease *service_lease(const struct service *s)
{
    return s->lease;
}

const struct paxos *service_paxos(const struct service *s)
{
    return s->paxos;
}

void service_check(const struct service *s)
{
    if (s->paxos != NULL) {
        paxos_check(s->paxos);
    }
    lease_check(s->lease);
    pending_check(&s->queue);
    reads_check(s);
    levels_check(s);
    sessions_check(s);
    waiting_check(s);
    index_check(s);
    caches_check(s);
}

/* --------------------------------------------------------------------- turn */

static void tick(struct service *s)
{
    if (s->now_ms >= s->paxos_wake_ms) {
        step(s, &(struct paxos_event){.type = PAXOS_TICK, .now_ms = s->now_ms});
    }
}

static void apply_chosen(struct service *s, const struct paxos_ready *ready)
{
    for (uint32_t i = 0; i < ready->chosen_count; i++) {
        /* Whoever proposed it had encoded it, and its checksum was verified on
         * every way here.  What can't be decoded all the same is a command that
         * this build does not know; to pass over it would make another state. */
        const bool applied = entry_apply(s, &ready->chosen[i]);
        assert(applied);
        (void)applied;
    }
}

static void answer_status(struct service *s)
{
    if (!s->status_asked) {
        return;
    }
    s->status_asked = false;
    service_status(s, s->now_ms, &s->status);
    for (uint32_t i = 0; i < s->replies_count; i++) {
        struct service_reply *reply = &s->replies[i];
        if (reply->op == SERVICE_STATUS) {
            reply->epoch = s->status.position.epoch;
            reply->revision = s->status.position.revision;
            reply->slot = s->status.position.slot;
            reply->position = s->status.position.position;
            reply->status = &s->status;
        }
    }
}

/* One transaction for all that the turn must keep; NULL when it is nothing. */
static const struct store_batch *fill_batch(struct service *s, const struct paxos_ready *ready)
{
    const bool set = set_due(s);
    if (set) {
        set_take(s, ready->trim);
    }
    if (is_settled(s) && !s->dirty) {
        s->final_set = true;
    }
    if (ready->ticket == 0 && ready->hard == NULL && ready->written_count == 0 && !set) {
        return NULL;
    }
    s->batch = (struct store_batch){
        .ticket = ready->ticket,
        .hard = ready->hard,
        .entries = ready->written,
        .entries_count = ready->written_count,
        .chosen_mark = ready->chosen_mark,
        .set = set ? &s->set.set : NULL,
    };
    return &s->batch;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t wake_at(const struct service *s)
{
    uint64_t at_ms = s->paxos_wake_ms;
    if (s->dirty && !s->set.outstanding) {
        at_ms = earlier(at_ms, s->dirty_ms + SERVICE_SET_MS);
    }
    if (queue_in_doubt(s)) {
        at_ms = earlier(at_ms, s->unknown_at_ms);
    }
    if (s->closing && !s->released) {
        at_ms = earlier(at_ms, s->release_by_ms);
    }
    at_ms = earlier(at_ms, sessions_wake_ms(s));
    at_ms = earlier(at_ms, events_wake_ms(s));
    at_ms = earlier(at_ms, caches_wake_ms(s));
    at_ms = earlier(at_ms, levels_wake_ms(s));
    return at_ms > s->now_ms ? at_ms : s->now_ms; /* Else the next turn would seem late. */
}

/* What the keeper judged comes before later commands of the same sessions; it is
 * asked anew only when nothing else is left to propose.  Here, and before, everything
 * is looked at that may be proposed, and who has to forget something is told: so
 * whatever is read later in the turn comes behind that. */
static void propose(struct service *s, uint64_t wall_ms)
{
    sessions_woken(s);
    cache_release(s);
    sessions_propose(s, wall_ms);
    queue_propose(s, wall_ms);
    sessions_judge(s);
    sessions_propose(s, wall_ms);
    caches_tell(s);
}

const struct service_output *service_turn(struct service *s, uint64_t now_ms, uint64_t wall_ms)
{
    see_now(s, now_ms);
    forget_all(s);
    tick(s);
    propose(s, wall_ms);
    hand_over(s);

    const struct paxos_ready *ready = paxos_ready(s->paxos);
    s->paxos_wake_ms = ready->wake_at_ms;
    if (mutant(reply_before_event)) {
        events_tell(s);
    }
    apply_chosen(s, ready);
    queue_give_up(s);
    keepalives_answer(s, ready->confirmed);
    const uint64_t round = watches_answer(s, ready->confirmed);
    bool reads_left = !reads_answer(s, round) || round < ready->confirmed;
    reads_left |= !levels_answer(s, round);
    answer_status(s);
    answer_delays(s);
    if (!mutant(reply_before_event)) {
        events_tell(s);
    }

    /* Slots that were chosen make room in the window for what has queued. */
    const bool room = s->queue.queued > 0 && s->epoch != 0 && ready->chosen_count > 0;
    s->output = (struct service_output){
        .at_once = ready->at_once,
        .released = ready->released,
        .at_once_count = ready->at_once_count,
        .released_count = ready->released_count,
        .store = fill_batch(s, ready),
        .reads = ready->reads,
        .reads_count = ready->reads_count,
        .events = s->watches.events,
        .events_count = s->watches.events_count,
        .replies = s->replies,
        .replies_count = s->replies_count,
        .held = s->caches.noted,
        .held_count = s->caches.noted_count,
        .notes = ready->notes,
        .notes_count = ready->notes_count,
        .more = reads_left || room || events_left(s) || caches_ready(s),
    };
    s->wake_at_ms = wake_at(s);
    s->output.wake_at_ms = s->wake_at_ms;
    s->turned = true;
    return &s->output;
}

void service_advance(struct service *s)
{
    assert(s->turned);
    s->turned = false;
    s->replies_count = 0;
    s->room = (struct answer_room){0};
    s->watches.events_count = 0;
    s->watches.events_octets = 0;
    s->watches.changes_count = 0;
    waiting_recycle(s);
    caches_recycle(s);
    paxos_advance(s->paxos);
    look_at_mastership(s);
}
