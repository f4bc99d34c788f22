/* SPDX-License-Identifier: Apache-2.0
 *
 * observer.c -- who leads: from a read of the election's file, and the events that
 * follow it.
 *
 * A leader holds the file's lock and has written the file since.  A read shows
 * both at one revision; from there on the events do:
 *
 *     GRANTED   somebody will lead: nobody, until
 *     WRITTEN   under that holding: a leader, and what he says
 *     RELEASED  nobody
 *     DELETED   nobody
 *
 * Whenever they don't suffice, because of a gap, of several changes made one, or
 * of content too long to travel with an event, the file is read again; what
 * happens meanwhile is not followed but seen by the read, or by another one if
 * that was too early.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/mutant.h"

/* Was what was written at that revision written under that holding? */
static bool leads(uint64_t token, uint64_t written)
{
    return token != 0 && (written > token || mutant(leader_before_value));
}

/* ------------------------------------------------------------------ telling */

void lockd_leader_free(struct lockd_leader *leader)
{
    free(leader); /* What it points at is part of the same block. */
}

static struct lockd_leader *leader_new(enum lockd_rc rc, uint64_t revision, uint64_t token,
                                       struct wire_text value)
{
    struct lockd_leader *leader = malloc(sizeof *leader + value.size + 1);
    if (leader != NULL) {
        char *copy = (char *)(leader + 1);
        if (value.size > 0) {
            memcpy(copy, value.data, value.size);
        }
        copy[value.size] = 0;
        *leader = (struct lockd_leader){
            .rc = rc, .revision = revision, .token = token, .value = copy, .size = value.size};
    }
    return leader;
}

static void drop_next(struct lockd_observer *o)
{
    lockd_leader_free(o->next);
    o->next = NULL;
    list_remove(&o->event.at);
}

static bool same_term(const struct term *a, const struct term *b)
{
    return a->token == b->token && a->written == b->written;
}

static bool tell_next(struct lockd_observer *o, struct lockd_leader *leader)
{
    o->next = leader;
    if (leader != NULL && o->observed != NULL) {
        event_push(o->engine, &o->event);
    }
    return leader != NULL;
}

/* The newest takes the place of one not taken yet.  False: out of memory. */
static bool tell(struct lockd_observer *o, uint64_t revision, struct term term,
                 struct wire_text value)
{
    if (o->next != NULL && same_term(&term, &o->next_term)) {
        return true;
    }
    drop_next(o);
    if (o->told_any && same_term(&term, &o->told)) {
        return true;
    }
    o->next_term = term;
    return tell_next(o, leader_new(LOCKD_OK, revision, term.token, value));
}

static bool tell_nobody(struct lockd_observer *o, uint64_t revision)
{
    return tell(o, revision, (struct term){.token = 0}, (struct wire_text){.data = NULL});
}

struct lockd_leader *observer_take(struct lockd_observer *o)
{
    struct lockd_leader *leader = o->next;
    if (leader != NULL) {
        o->next = NULL;
        o->told_any = true;
        o->told = o->next_term;
        list_remove(&o->event.at);
    }
    return leader;
}

/* ------------------------------------------------------------------ reading */

/* False: out of memory. */
static bool begin_read(struct lockd_observer *o)
{
    const struct wire_request request = {
        .method = WIRE_NODE_GET,
        .name = {.data = o->name, .size = strlen(o->name)},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    assert(o->call == NULL);
    o->call = call_new(o->engine, NULL, &request, NULL);
    if (o->call == NULL) {
        return false;
    }
    o->call->observer = o;
    call_begin(o->call, TIMER_NEVER);
    return true;
}

/* Unless a read is under way, which will be found too early. */
static void read_again(struct lockd_observer *o)
{
    if (o->call == NULL) {
        (void)begin_read(o); /* Short of memory: the next event asks again. */
    }
}

static bool take_read(struct lockd_observer *o, const struct wire_reply *reply)
{
    const struct wire_stat *stat = &reply->stat;
    o->token = reply->error == WIRE_OK ? stat->lock_token : 0;
    if (!leads(o->token, stat->revision)) {
        return tell_nobody(o, reply->revision);
    }
    const struct term term = {.token = o->token, .written = stat->revision};
    return tell(o, reply->revision, term, reply->content);
}

/* No file, or a directory of that name: nobody leads.  Anything else says nothing. */
static bool is_answer(const struct wire_reply *reply)
{
    return reply->error == WIRE_NO_NODE || reply->error == WIRE_WRONG_KIND ||
           (reply->error == WIRE_OK && reply->has_stat);
}

/* Will the cell never answer?  Then that is told, once. */
static bool is_refused(struct lockd_observer *o, const struct wire_reply *reply)
{
    const bool for_good = reply->error == WIRE_BAD_NAME || reply->error == WIRE_DENIED ||
                          reply->error == WIRE_INVALID_PARAMS || reply->error == WIRE_TOO_LARGE;
    if (!for_good || o->watching) {
        return false;
    }
    drop_next(o);
    return tell_next(o, leader_new(verdict_rc(reply->error), /* revision= */ 0, /* token= */ 0,
                                   (struct wire_text){.data = NULL}));
}

void observer_read(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_observer *o = c->observer;
    if (is_refused(o, reply)) {
        call_end(c, now_ms, verdict_rc(reply->error));
        return;
    }
    if (!is_answer(reply) || !reply->has_position || reply->revision < o->seen ||
        !take_read(o, reply)) {
        call_again(c, now_ms);
        return;
    }
    o->base = reply->revision;
    call_end(c, now_ms, LOCKD_OK);
    if (!o->watching) {
        o->watching = true;
        o->watch->dated = true;
        o->watch->heard = o->base;
        watch_begin(o->watch);
    }
}

/* ---------------------------------------------------------------- following */

static void on_nobody(struct lockd_observer *o, uint64_t revision)
{
    if (!tell_nobody(o, revision)) {
        read_again(o);
    }
}

static void on_written(struct lockd_observer *o, const struct wire_event *event)
{
    if (!leads(o->token, event->revision)) {
        return;
    }
    const struct term term = {.token = o->token, .written = event->revision};
    const bool is_whole = event->has_content || event->size == 0;
    if (!is_whole || !tell(o, event->revision, term, event->content)) {
        read_again(o);
    }
}

static void on_granted(struct lockd_observer *o, const struct wire_event *event)
{
    if (event->mode != WIRE_EXCLUSIVE) {
        return; /* Who shares a lock does not lead. */
    }
    o->token = event->token;
    if (mutant(leader_before_value)) {
        read_again(o);
    } else {
        on_nobody(o, event->revision);
    }
}

static void on_change(struct lockd_observer *o, const struct wire_event *event)
{
    switch (event->change) {
    case WIRE_CREATED:
    case WIRE_WRITTEN:
        on_written(o, event);
        break;
    case WIRE_GRANTED:
        on_granted(o, event);
        break;
    case WIRE_RELEASED:
        if (event->token == o->token) {
            o->token = 0;
            on_nobody(o, event->revision);
        }
        break;
    case WIRE_DELETED:
        o->token = 0;
        on_nobody(o, event->revision);
        break;
    case WIRE_ACL_CHANGED:
    case WIRE_CONTENDED:
    case WIRE_GAP:
    case WIRE_NO_CHANGE:
        break;
    }
}

void observer_event(struct lockd_observer *o, uint64_t now_ms, const struct wire_event *event)
{
    (void)now_ms;
    if (event->change == WIRE_GAP) {
        o->seen = event->revision; /* Also where that leads back. */
        o->base = 0;
        read_again(o);
        return;
    }
    o->seen = event->revision > o->seen ? event->revision : o->seen;
    if (o->call != NULL || event->revision <= o->base) {
        return;
    }
    if (event->count > 1) {
        read_again(o);
    } else {
        on_change(o, event);
    }
}

/* ---------------------------------------------------------------- open, free */

static struct lockd_observer *observer_new(struct engine *e, const char *name,
                                           lockd_observed *observed, void *context)
{
    const size_t size = strlen(name) + 1;
    const struct lockd_watch_options options = {
        .size = sizeof options,
        .scope = LOCKD_SCOPE_NODE,
        .watched = LOCKD_WATCH_CONTENT | LOCKD_WATCH_LOCK | LOCKD_WATCH_DELETE,
        .content = true,
    };
    struct lockd_observer *o = calloc(1, sizeof *o + size);
    if (o == NULL) {
        return NULL;
    }
    memcpy(o->name, name, size);
    o->engine = e;
    o->observed = observed;
    o->context = context;
    o->event.kind = EVENT_LEADER;
    list_init(&o->at);
    list_init(&o->event.at);
    o->watch = watch_new(e, name, &options);
    if (o->watch == NULL || !begin_read(o)) {
        observer_destroy(o, /* now_ms= */ 0);
        return NULL;
    }
    o->watch->observer = o;
    list_push_back(&e->observers, &o->at);
    return o;
}

void observer_destroy(struct lockd_observer *o, uint64_t now_ms)
{
    drop_next(o);
    if (o->call != NULL) {
        call_end(o->call, now_ms, LOCKD_E_CLOSED);
    }
    if (o->watch != NULL) {
        o->watch->observer = NULL;
        watch_give_up(o->watch);
    }
    list_remove(&o->at);
    free(o);
}

enum lockd_rc engine_observe(struct engine *e, uint64_t now_ms, const char *name,
                             lockd_observed *observed, void *context,
                             struct lockd_observer **ret_observer)
{
    if (name == NULL || ret_observer == NULL) {
        return LOCKD_E_INVALID;
    }
    const enum lockd_rc rc = e->closed ? LOCKD_E_CLOSED : check_name(name);
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct lockd_observer *o = observer_new(e, name, observed, context);
    if (o == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    *ret_observer = o;
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

void engine_observer_free(struct lockd_observer *observer, uint64_t now_ms)
{
    if (observer != NULL) {
        struct engine *e = observer->engine;
        observer_destroy(observer, now_ms);
        engine_settle(e, now_ms);
    }
}

struct lockd_leader *engine_observer_next(struct lockd_observer *observer, uint64_t now_ms)
{
    (void)now_ms;
    return observer->observed != NULL ? NULL : observer_take(observer);
}

struct engine *engine_of_observer(const struct lockd_observer *observer)
{
    return observer->engine;
}
