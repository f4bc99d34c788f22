/* SPDX-License-Identifier: Apache-2.0
 *
 * call.c -- a request from its submission to its one outcome, and the lanes in
 * which requests wait for their turn.
 *
 * A call is told of exactly once.  It may go on afterwards, in the background,
 * when what it set in motion at the cell must still be undone.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"

enum {
    SLOT_BITS = 20,
    RETRY_MS = 25,       /* A refused call pauses for so long, ... */
    RETRY_DOUBLINGS = 5, /* ... then twice as long, so often. */
};

static_assert(ENGINE_CALLS_MAX == 1 << SLOT_BITS, "a slot is the lower bits of an id");

static bool is_levelled(enum wire_method method)
{
    return method == WIRE_NODE_GET || method == WIRE_NODE_STAT || method == WIRE_NODE_LIST ||
           method == WIRE_NODE_GET_ACL;
}

/* It changes nothing that a log remembers. */
static bool is_read(enum wire_method method)
{
    return is_levelled(method) || method == WIRE_LOCK_LIST || method == WIRE_LOCK_CHECK ||
           method == WIRE_CELL_STATUS || method == WIRE_SESSION_KEEPALIVE ||
           method == WIRE_CACHE_BEGIN || method == WIRE_CACHE_ACK;
}

bool call_is_levelled(const struct call *c)
{
    return is_levelled(c->request.method);
}

bool call_roams(const struct call *c)
{
    return call_is_levelled(c) &&
           (c->request.level == WIRE_SEQUENTIAL || c->request.level == WIRE_STALE);
}

/* Of the connection's watches, which end with it. */
bool call_of_watches(const struct call *c)
{
    return c->request.method == WIRE_WATCH_ADD || c->request.method == WIRE_WATCH_REMOVE;
}

bool call_is_urgent(const struct call *c)
{
    return c->request.method == WIRE_SESSION_KEEPALIVE ||
           c->request.method == WIRE_CACHE_BEGIN || c->request.method == WIRE_CACHE_ACK ||
           c->request.method == WIRE_CELL_STATUS;
}

/* Neither a user's nor the background's: it serves the connection and the lease. */
static bool is_upkeep(const struct call *c)
{
    return call_is_urgent(c) || call_of_watches(c);
}

/* Has it an id by which the cell knows a retry? */
static bool is_numbered(const struct call *c)
{
    return c->session != NULL && !is_read(c->request.method) &&
           c->request.method != WIRE_SESSION_OPEN;
}

/* A session that was opened twice is harmless: the one that nobody knows of holds
 * nothing, and ends with its lease. */
bool call_may_repeat(const struct call *c)
{
    return is_read(c->request.method) || c->request.method == WIRE_SESSION_OPEN ||
           is_numbered(c) || call_of_watches(c);
}

/* ------------------------------------------------------------------- slots */

/* As many slots as calls, so that printing one can't fail for want of one. */
static bool slots_reserve(struct slots *s, size_t calls)
{
    if (calls <= s->capacity) {
        return true;
    }
    const uint32_t capacity = s->capacity == 0 ? 16 : s->capacity * 2;
    struct call **slots = realloc(s->calls, capacity * sizeof(struct call *));
    if (slots == NULL) {
        return false;
    }
    s->calls = slots;
    uint32_t *unused = realloc(s->free, capacity * sizeof *unused);
    if (unused == NULL) {
        return false;
    }
    s->free = unused;
    for (uint32_t i = capacity; i > s->capacity; i--) {
        s->free[s->free_count++] = i - 1;
        s->calls[i - 1] = NULL;
    }
    s->capacity = capacity;
    return true;
}

static void slot_take(struct slots *s, struct call *c)
{
    assert(s->free_count > 0);
    c->slot = s->free[--s->free_count];
    assert(s->calls[c->slot] == NULL);
    s->calls[c->slot] = c;
    s->ids = (s->ids + 1) & ((UINT64_C(1) << (53 - SLOT_BITS)) - 1);
    c->wire_id = s->ids << SLOT_BITS | c->slot;
}

static void slot_give_back(struct slots *s, struct call *c)
{
    assert(s->calls[c->slot] == c);
    s->calls[c->slot] = NULL;
    s->free[s->free_count++] = c->slot;
}

struct call *call_of_id(struct engine *e, uint64_t wire_id)
{
    const uint64_t slot = wire_id & (ENGINE_CALLS_MAX - 1);
    struct call *c = slot < e->slots.capacity ? e->slots.calls[slot] : NULL;
    return c != NULL && (c->wire_id == wire_id || mutant(reply_by_slot)) ? c : NULL;
}

/* ------------------------------------------------------------------- lanes */

void lane_init(struct lane *lane, struct lockd_session *session)
{
    list_init(&lane->unsent);
    list_init(&lane->sent);
    list_init(&lane->paused);
    list_init(&lane->runnable);
    lane->session = session;
    lane->in_flight = 0;
}

void lane_wake(struct engine *e, struct lane *lane)
{
    if (!list_empty(&lane->unsent) && !list_linked(&lane->runnable)) {
        list_push_back(&e->runnable, &lane->runnable);
    }
}

/* The lane's next call, if it may be sent now. */
static struct call *lane_next(const struct lane *lane)
{
    if (list_empty(&lane->unsent) || (lane->session != NULL && !session_sends(lane->session))) {
        return NULL;
    }
    struct call *c = LIST_OF(lane->unsent.next, struct call, at);
    const bool full = lane->session != NULL && lane->in_flight >= ENGINE_SESSION_WINDOW;
    return full && c->request.method != WIRE_LOCK_CANCEL ? NULL : c;
}

/* One call of each lane in turn, the urgent ones first, as long as the socket
 * takes what was printed before. */
void lanes_pump(struct engine *e, uint64_t now_ms)
{
    struct call *c;
    while ((c = lane_next(&e->urgent)) != NULL) {
        call_print(c, now_ms);
    }
    list_remove(&e->urgent.runnable);
    watches_pump(e, now_ms);
    while (!list_empty(&e->runnable) && link_unsent(&e->link) < ENGINE_OUTPUT_HIGH) {
        struct lane *lane = LIST_OF(e->runnable.next, struct lane, runnable);
        list_remove(&lane->runnable);
        c = lane_next(lane);
        if (c != NULL) {
            call_print(c, now_ms);
            lane_wake(e, lane);
        }
    }
}

void lanes_pump_roaming(struct engine *e, uint64_t now_ms)
{
    struct call *c;
    while (link_unsent(&e->link) < ENGINE_OUTPUT_HIGH && (c = lane_next(&e->roaming)) != NULL) {
        call_print(c, now_ms);
    }
}

void lanes_wake_all(struct engine *e)
{
    lane_wake(e, &e->common);
    lane_wake(e, &e->roaming);
    for (struct list *at = e->sessions.next; at != &e->sessions; at = at->next) {
        lane_wake(e, &LIST_OF(at, struct lockd_session, at)->lane);
    }
}

static bool line_left(const struct call *c)
{
    const struct link *l = &c->engine->link;
    return c->line_end <= l->out_before + l->out_sent;
}

static void lane_lost(struct lane *lane, uint64_t now_ms)
{
    while (!list_empty(&lane->sent)) {
        struct call *c = LIST_OF(lane->sent.prev, struct call, at);
        const bool left = line_left(c);
        if (c->request.method == WIRE_CELL_STATUS) {
            call_detach(c);
        } else if (call_of_watches(c)) {
            watches_page_lost(c);
        } else if (left && (!call_may_repeat(c) || election_too_late(c))) {
            call_end(c, now_ms, LOCKD_E_UNKNOWN);
        } else {
            c->unsure |= left && !mutant(sure_when_lost);
            call_unsend(c, /* front= */ true);
        }
    }
}

void lanes_lost(struct engine *e, uint64_t now_ms)
{
    lane_lost(&e->urgent, now_ms);
    lane_lost(&e->common, now_ms);
    lane_lost(&e->roaming, now_ms);
    for (struct list *at = e->sessions.next; at != &e->sessions; at = at->next) {
        lane_lost(&LIST_OF(at, struct lockd_session, at)->lane, now_ms);
    }
    assert(e->in_flight == 0 && e->expected == 0 && e->one_shots == 0);
}

/* -------------------------------------------------------------------- calls */

/* A text that is not given stays so. */
static void copy_text(char **at, struct wire_text *text)
{
    if (text->data != NULL) {
        memcpy(*at, text->data, text->size);
        text->data = *at;
        *at += text->size;
    }
}

static size_t texts_size(const struct wire_request *r)
{
    size_t size = r->name.size + r->content.size + r->after.size + r->label.size;
    for (size_t i = 0; i < WIRE_RIGHTS; i++) {
        size += r->acl[i].size;
    }
    return size;
}

/* Where it waits for its turn: what a session asks comes in the session's order. */
static struct lane *lane_of(const struct call *c)
{
    struct engine *e = c->engine;
    if (call_is_urgent(c)) {
        return &e->urgent;
    }
    if (c->session != NULL && c->request.method != WIRE_SESSION_OPEN) {
        return &c->session->lane;
    }
    return call_roams(c) ? &e->roaming : &e->common;
}

struct call *call_new(struct engine *e, struct lockd_session *session,
                      const struct wire_request *arguments, struct answer *answer)
{
    if (e->calls_count >= ENGINE_CALLS_MAX || !slots_reserve(&e->slots, e->calls_count + 1) ||
        (session != NULL && !acks_reserve(&session->acks, session->outstanding + 1))) {
        return NULL;
    }
    struct call *c = calloc(1, sizeof *c + texts_size(arguments));
    if (c == NULL || !heap_reserve(&e->heap)) {
        free(c);
        return NULL;
    }
    char *at = c->data;
    c->request = *arguments;
    copy_text(&at, &c->request.name);
    copy_text(&at, &c->request.content);
    copy_text(&at, &c->request.after);
    copy_text(&at, &c->request.label);
    for (size_t i = 0; i < WIRE_RIGHTS; i++) {
        copy_text(&at, &c->request.acl[i]);
    }
    c->engine = e;
    c->session = session;
    c->answer = answer;
    c->place = CALL_IDLE;
    c->deadline_ms = TIMER_NEVER;
    c->timer.kind = TIMER_CALL;
    c->lane = lane_of(c);
    list_init(&c->at);
    list_init(&c->watches);
    e->calls_count++;
    e->waiting += is_upkeep(c) ? 0 : 1;
    e->roamers += c->lane == &e->roaming ? 1 : 0;
    if (session != NULL) {
        session->outstanding++;
    }
    return c;
}

void call_set_timer(struct call *c)
{
    const uint64_t retry_ms = c->place == CALL_PAUSED ? c->retry_ms : TIMER_NEVER;
    heap_set(&c->engine->heap, &c->timer,
             retry_ms < c->deadline_ms ? retry_ms : c->deadline_ms);
}

/* Out of all lists, until its timer or its partner sends it again. */
static void hold_back(struct call *c, uint64_t retry_ms)
{
    call_detach(c);
    c->retry_ms = retry_ms;
    c->place = CALL_PAUSED;
    list_push_back(&c->lane->paused, &c->at);
    call_set_timer(c);
}

/* An acquire whose cancellation has been answered may ask what became of it. */
static void let_partner_go(struct call *partner)
{
    partner->partner = NULL;
    if (partner->place == CALL_PAUSED && partner->retry_ms == TIMER_NEVER) {
        call_unsend(partner, /* front= */ true);
    }
}

void call_free(struct call *c)
{
    if (c == NULL) {
        return;
    }
    struct engine *e = c->engine;
    assert(list_empty(&c->watches));
    call_detach(c);
    if (c->partner != NULL) {
        let_partner_go(c->partner);
    }
    if (c->session != NULL) {
        c->session->outstanding--;
    }
    e->waiting -= is_upkeep(c) ? 0 : 1;
    e->roamers -= c->lane == &e->roaming ? 1 : 0;
    e->calls_count--;
    heap_forget(&e->heap, &c->timer);
    answer_free(c->answer);
    free(c);
}

void call_begin(struct call *c, uint64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
    call_unsend(c, /* front= */ c->request.method == WIRE_LOCK_CANCEL);
}

void call_unsend(struct call *c, bool front)
{
    if (c->partner != NULL && c->request.method == WIRE_LOCK_ACQUIRE) {
        hold_back(c, TIMER_NEVER); /* Or it could be queued anew first. */
        return;
    }
    call_detach(c);
    c->place = CALL_UNSENT;
    if (front) {
        list_push_front(&c->lane->unsent, &c->at);
    } else {
        list_push_back(&c->lane->unsent, &c->at);
    }
    lane_wake(c->engine, c->lane);
    call_set_timer(c);
}

/* +1 when it is sent, -1 when it is not any more. */
static void count_sent(struct call *c, bool sent)
{
    struct engine *e = c->engine;
    const size_t one = sent ? 1 : (size_t)-1;
    e->in_flight += one;
    e->expected += c->waits ? 0 : one;
    e->one_shots += call_may_repeat(c) ? 0 : one;
    c->lane->in_flight += c->waits ? 0 : (uint32_t)one;
}

void call_detach(struct call *c)
{
    list_remove(&c->at);
    if (c->place == CALL_SENT) {
        slot_give_back(&c->engine->slots, c);
        count_sent(c, /* sent= */ false);
        lane_wake(c->engine, c->lane);
    }
    c->place = CALL_IDLE;
}

/* Writes a number's digits in front of `end`, and returns where they begin. */
static char *digits(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

static void add_session(struct call *c)
{
    struct lockd_session *s = c->session;
    struct wire_request *r = &c->request;
    r->has_session = true;
    r->session = s->id;
    r->secret = (struct wire_text){.data = s->secret, .size = sizeof s->secret};
    if (is_numbered(c)) {
        if (r->request == 0 || mutant(retry_renumbered)) {
            r->request = ++s->last_request;
        }
        acks_fill(&s->acks, r);
    }
}

/* A replica may wait for the revision for as long as the caller would, but for what an
 * answer needs to come back, and no longer than any endpoint may take: then another
 * one is asked. */
static void add_newest(struct call *c, uint64_t now_ms)
{
    const uint64_t left_ms = c->deadline_ms > now_ms ? c->deadline_ms - now_ms : 0;
    const uint64_t wait_ms = left_ms - left_ms / 8;
    const uint64_t most_ms = c->engine->config.connect_ms < WIRE_READ_WAIT_MS_MAX
                                 ? c->engine->config.connect_ms
                                 : (uint64_t)WIRE_READ_WAIT_MS_MAX;
    c->request.min_revision = c->engine->newest;
    c->request.read_wait_ms = wait_ms < most_ms ? wait_ms : most_ms;
}

void call_print(struct call *c, uint64_t now_ms)
{
    struct engine *e = c->engine;
    struct link *l = &e->link;
    assert(c->place == CALL_UNSENT || c->place == CALL_IDLE);
    call_detach(c);
    slot_take(&e->slots, c);
    char id[24];
    char *id_end = id + sizeof id;
    const char *id_at = digits(id_end, c->wire_id);
    c->request.id = (struct wire_text){.data = id_at, .size = (size_t)(id_end - id_at)};
    if (c->session != NULL && c->request.method != WIRE_SESSION_OPEN) {
        add_session(c);
    }
    if (c->request.method == WIRE_LOCK_ACQUIRE && c->waits && c->deadline_ms != TIMER_NEVER) {
        c->request.wait_ms = c->deadline_ms > now_ms ? c->deadline_ms - now_ms : 1;
    }
    if (call_roams(c) && c->request.level == WIRE_SEQUENTIAL) {
        add_newest(c, now_ms);
    }
    wire_print_request(&l->out, &c->request);
    c->request.id = (struct wire_text){.data = NULL};
    c->line_end = l->out_before + l->out.size;
    c->sent_ms = now_ms;
    c->place = CALL_SENT;
    list_push_back(&c->lane->sent, &c->at);
    count_sent(c, /* sent= */ true);
    call_set_timer(c);
    link_watch(e, now_ms);
    if (c->request.method == WIRE_SESSION_KEEPALIVE) {
        session_set_timer(c->session);
    }
}

/* ------------------------------------------------------------------ the end */

enum lockd_rc call_given_up(const struct call *c, enum lockd_rc if_not_executed)
{
    const bool left = c->place == CALL_SENT && line_left(c);
    return (c->unsure || left) && !is_read(c->request.method) ? LOCKD_E_UNKNOWN
                                                              : if_not_executed;
}

bool call_tried(const struct call *c)
{
    return c->unsure || c->place == CALL_SENT;
}

void call_acknowledge(struct call *c)
{
    if (is_numbered(c) && c->request.request != 0) {
        acks_add(&c->session->acks, c->request.request);
        c->request.request = 0;
    }
}

void call_tell(struct call *c, enum lockd_rc rc)
{
    struct answer *a = c->answer;
    c->answer = NULL;
    if (a != NULL) {
        answer_tell(c->engine, a, rc);
    }
}

/* What else ends with it. */
static void settle_parts(struct call *c, uint64_t now_ms, enum lockd_rc rc)
{
    struct lockd_session *s = c->session;
    if (s != NULL && s->opening == c) {
        s->opening = NULL;
        if (rc != LOCKD_OK) {
            session_end(s, now_ms, LOCKD_EXPIRED);
        }
    } else if (s != NULL && s->closing == c) {
        s->closing = NULL;
        session_end(s, now_ms, rc == LOCKD_E_EXPIRED ? LOCKD_EXPIRED : LOCKD_CLOSED);
    } else if (c->request.method == WIRE_LOCK_RELEASE) {
        lock_released(c, rc);
    } else if (c->request.method == WIRE_LOCK_ACQUIRE || c->lock != NULL) {
        lock_not_acquired(c);
    } else if (c->handle != NULL) {
        handle_call_ended(c, rc);
    } else if (c->observer != NULL) {
        c->observer->call = NULL;
    }
}

void call_end(struct call *c, uint64_t now_ms, enum lockd_rc rc)
{
    call_detach(c);
    call_acknowledge(c);
    settle_parts(c, now_ms, rc);
    call_tell(c, rc);
    call_free(c);
}

void call_end_with(struct call *c, uint64_t now_ms, enum lockd_rc rc,
                   const struct wire_reply *reply)
{
    if (c->answer != NULL) {
        c->answer = answer_fill(c->answer, rc, reply);
        rc = c->answer->public.rc;
    }
    call_end(c, now_ms, rc);
}

/* --------------------------------------------------------------------- time */

void call_again(struct call *c, uint64_t now_ms)
{
    const uint32_t doublings = c->retries < RETRY_DOUBLINGS ? c->retries : RETRY_DOUBLINGS;
    const uint64_t pause_ms = (uint64_t)RETRY_MS << doublings;
    c->retries++;
    hold_back(c, now_ms + locate_chance(&c->engine->locate, pause_ms / 2, pause_ms));
}

/* The bug: in jeopardy, patience has no end. */
static bool never_ends(const struct call *c)
{
    return mutant(calls_never_end) && c->session != NULL && c->session->state == LOCKD_JEOPARDY;
}

void call_tick(struct call *c, uint64_t now_ms)
{
    if (c->deadline_ms <= now_ms && never_ends(c)) {
        c->deadline_ms = TIMER_NEVER;
        call_set_timer(c);
    } else if (c->deadline_ms > now_ms) {
        assert(c->place == CALL_PAUSED && c->retry_ms <= now_ms);
        if (election_too_late(c)) {
            call_end(c, now_ms, call_given_up(c, LOCKD_E_NOT_HELD));
        } else {
            call_unsend(c, /* front= */ true);
        }
    } else if (c->request.method == WIRE_LOCK_ACQUIRE ||
               c->request.method == WIRE_LOCK_RELEASE || c->lock != NULL) {
        lock_deadline(c, now_ms);
    } else if (c->request.method == WIRE_NODE_OPEN || c->request.method == WIRE_NODE_CLOSE) {
        handle_deadline(c, now_ms);
    } else {
        call_end(c, now_ms,
                 call_given_up(c, c->too_old ? LOCKD_E_TOO_OLD : LOCKD_E_UNAVAILABLE));
    }
}
