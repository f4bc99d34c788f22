/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.c -- the life of an engine: its doors, its clock, its events.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX_OCTETS = 4096,
    CONTENT_MAX_OCTETS = 256 * 1024, /* So a line holds it in any of its two forms. */
    OUTPUT_KEPT = 64 * 1024,         /* Octets sent that may stay in front of others. */
};

/* ---------------------------------------------------------------------- life */

static void init(struct engine *e, const struct engine_config *config)
{
    e->config = *config;
    e->config.endpoints = NULL;
    e->config.label = NULL;
    lane_init(&e->urgent, NULL);
    lane_init(&e->common, NULL);
    lane_init(&e->roaming, NULL);
    list_init(&e->runnable);
    list_init(&e->sessions);
    list_init(&e->observers);
    watches_init(&e->watches);
    list_init(&e->events);
    for (size_t i = 0; i < ENGINE_CACHING_CHAINS; i++) {
        list_init(&e->caching[i]);
    }
}

/* What a person may read, cut so that no character is torn. */
static char *copy_label(const char *label)
{
    size_t size = label == NULL ? 0 : strlen(label);
    if (size > WIRE_LABEL_MAX) {
        size = WIRE_LABEL_MAX;
        while (size > 0 && ((unsigned char)label[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    if (!wire_is_text((struct wire_text){.data = label, .size = size})) {
        size = 0;
    }
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        if (size > 0) {
            memcpy(copy, label, size);
        }
        copy[size] = 0;
    }
    return copy;
}

enum lockd_rc engine_new(const struct engine_config *config, struct engine **ret_engine)
{
    if (config->endpoints == NULL || config->drift_ppm >= 500000 || config->connect_ms == 0) {
        return LOCKD_E_INVALID;
    }
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    init(e, config);
    if (!locate_init(&e->locate, config->endpoints, config->seed)) {
        engine_free(e);
        return LOCKD_E_INVALID;
    }
    e->label = copy_label(config->label);
    if (e->label == NULL || !link_init(e)) {
        engine_free(e);
        return LOCKD_E_NO_MEMORY;
    }
    *ret_engine = e;
    return LOCKD_OK;
}

/* A call of no session. */
static void end_unowned(struct call *c, uint64_t now_ms)
{
    if (call_of_watches(c)) {
        watches_page_lost(c);
    } else {
        call_end(c, now_ms, call_given_up(c, LOCKD_E_CLOSED));
    }
}

void engine_close(struct engine *e, uint64_t now_ms)
{
    if (e->closed) {
        return;
    }
    e->closed = true;
    watches_close(e);
    for (struct list *at = e->sessions.next; at != &e->sessions; at = at->next) {
        session_end(LIST_OF(at, struct lockd_session, at), now_ms, LOCKD_CLOSED);
    }
    struct list *const all[] = {&e->common.unsent,  &e->common.sent,  &e->common.paused,
                                &e->roaming.unsent, &e->roaming.sent, &e->roaming.paused};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        while (!list_empty(all[i])) {
            end_unowned(LIST_OF(all[i]->next, struct call, at), now_ms);
        }
    }
    link_stop(e, now_ms);
}

static struct event_node *next_event(struct engine *e)
{
    if (list_empty(&e->events)) {
        return NULL;
    }
    struct event_node *node = LIST_OF(e->events.next, struct event_node, at);
    list_remove(&node->at);
    return node;
}

void engine_free(struct engine *e)
{
    if (e == NULL) {
        return;
    }
    if (e->link.probe != NULL) { /* Else it was never finished. */
        engine_close(e, /* now_ms= */ 0);
    }
    while (!list_empty(&e->sessions)) {
        session_destroy(LIST_OF(e->sessions.next, struct lockd_session, at), /* now_ms= */ 0);
    }
    while (!list_empty(&e->observers)) {
        observer_destroy(LIST_OF(e->observers.next, struct lockd_observer, at),
                         /* now_ms= */ 0);
    }
    watches_free(e);
    for (struct event_node *node; (node = next_event(e)) != NULL;) {
        assert(node->kind == EVENT_ANSWER || node->kind == EVENT_LOG);
        if (node->kind == EVENT_ANSWER) {
            answer_free(LIST_OF(node, struct answer, event));
        } else {
            free(LIST_OF(node, struct log_line, event));
        }
    }
    link_free(e);
    assert(e->calls_count == 0);
    free(e->slots.calls);
    free(e->slots.free);
    heap_free(&e->heap);
    wire_memory_free(&e->memory);
    free(e->label);
    free(e);
}

void *engine_owner(const struct engine *e)
{
    return e->config.owner;
}

/* -------------------------------------------------------------------- outside */

void engine_settle(struct engine *e, uint64_t now_ms)
{
    link_settle(e, now_ms);
}

const struct engine_wish *engine_wish(struct engine *e)
{
    const struct link *l = &e->link;
    const struct timer *first = heap_first(&e->heap);
    const bool wanted = l->state == LINK_CONNECTING || link_connected(l);
    e->wish = (struct engine_wish){
        .link = wanted ? l->number : 0,
        .address = wanted ? locate_address(&e->locate) : "",
        .wake_at_ms = first == NULL ? ENGINE_NEVER : first->at_ms,
        .events = !list_empty(&e->events),
    };
    if (link_connected(l) && link_unsent(l) > 0) {
        e->wish.output =
            (struct wire_text){.data = l->out.data + l->out_sent, .size = link_unsent(l)};
    }
    return &e->wish;
}

void engine_connected(struct engine *e, uint64_t now_ms, uint64_t link)
{
    if (link == e->link.number) {
        link_on_connected(e, now_ms);
        engine_settle(e, now_ms);
    }
}

static bool is_current(const struct engine *e, uint64_t link)
{
    return link == e->link.number && link_connected(&e->link);
}

void engine_lost(struct engine *e, uint64_t now_ms, uint64_t link, const char *why)
{
    if (is_current(e, link) || (link == e->link.number && e->link.state == LINK_CONNECTING)) {
        link_on_lost(e, now_ms, why);
        engine_settle(e, now_ms);
    }
}

void engine_sent(struct engine *e, uint64_t now_ms, uint64_t link, size_t size)
{
    struct link *l = &e->link;
    if (!is_current(e, link)) {
        return;
    }
    assert(size <= link_unsent(l));
    l->out_sent += size;
    if (l->out_sent == l->out.size || l->out_sent > OUTPUT_KEPT) {
        memmove(l->out.data, l->out.data + l->out_sent, l->out.size - l->out_sent);
        l->out.size -= l->out_sent;
        l->out_before += l->out_sent;
        l->out_sent = 0;
    }
    engine_settle(e, now_ms);
}

void engine_received(struct engine *e, uint64_t now_ms, uint64_t link, const void *data,
                     size_t size)
{
    if (is_current(e, link)) {
        input_received(e, now_ms, data, size);
        engine_settle(e, now_ms);
    }
}

void engine_tick(struct engine *e, uint64_t now_ms)
{
    for (struct timer *t; (t = heap_first(&e->heap)) != NULL && t->at_ms <= now_ms;) {
        switch ((enum timer_kind)t->kind) {
        case TIMER_CALL:
            call_tick(LIST_OF(t, struct call, timer), now_ms);
            break;
        case TIMER_SESSION:
            session_tick(LIST_OF(t, struct lockd_session, timer), now_ms);
            break;
        case TIMER_LINK:
            link_tick(e, now_ms);
            break;
        case TIMER_WATCH:
            watch_tick(LIST_OF(t, struct lockd_watch, timer), now_ms);
            break;
        }
    }
    engine_settle(e, now_ms);
}

/* --------------------------------------------------------------------- events */

void event_push(struct engine *e, struct event_node *node)
{
    if (!list_linked(&node->at)) {
        list_push_back(&e->events, &node->at);
    }
}

void event_answer(struct engine *e, struct answer *a)
{
    event_push(e, &a->event);
}

void answer_tell(struct engine *e, struct answer *a, enum lockd_rc rc)
{
    a->public.rc = rc;
    if (rc == LOCKD_E_UNAVAILABLE && a->detail[0] == 0) {
        answer_detail(a, (struct wire_text){.data = e->trouble, .size = strlen(e->trouble)});
    }
    event_answer(e, a);
}

/* The states are told in their order.  If the driver does not take them, the
 * latest takes the place of the one before. */
void event_state(struct lockd_session *s)
{
    if (s->changed == NULL) {
        return;
    }
    const uint32_t room = sizeof s->told / sizeof s->told[0];
    s->told_count -= s->told_count == room ? 1 : 0;
    s->told[s->told_count++] = s->state;
    event_push(s->engine, &s->event);
}

static void take_answer(struct answer *a, struct engine_event *ret_event)
{
    *ret_event =
        (struct engine_event){.done = a->done, .context = a->context, .answer = &a->public};
    if (a->public.lock != NULL) {
        a->public.lock->told = NULL;
    }
}

/* All that a watch has stands where its first stood: before any answer that came
 * later. */
static void take_watch(struct engine *e, struct lockd_watch *w, struct engine_event *ret_event)
{
    struct happening *h = watch_take(w);
    *ret_event = (struct engine_event){
        .told = w->told, .context = w->context, .watch = w, .happened = &h->public};
    if (!list_empty(&w->queue)) {
        list_push_front(&e->events, &w->event.at);
    }
}

static void take_leader(struct lockd_observer *o, struct engine_event *ret_event)
{
    *ret_event =
        (struct engine_event){.observed = o->observed, .context = o->context, .observer = o};
    ret_event->leader = observer_take(o);
}

static void take_state(struct engine *e, struct lockd_session *s,
                       struct engine_event *ret_event)
{
    assert(s->told_count > 0);
    *ret_event = (struct engine_event){
        .changed = s->changed, .context = s->context, .session = s, .state = s->told[0]};
    memmove(s->told, s->told + 1, --s->told_count * sizeof s->told[0]);
    if (s->told_count > 0) {
        list_push_front(&e->events, &s->event.at);
    }
}

bool engine_event(struct engine *e, struct engine_event *ret_event)
{
    struct event_node *node = next_event(e);
    if (node == NULL) {
        return false;
    }
    switch (node->kind) {
    case EVENT_ANSWER:
        take_answer(LIST_OF(node, struct answer, event), ret_event);
        break;
    case EVENT_STATE:
        take_state(e, LIST_OF(node, struct lockd_session, event), ret_event);
        break;
    case EVENT_WATCH:
        take_watch(e, LIST_OF(node, struct lockd_watch, event), ret_event);
        break;
    case EVENT_LEADER:
        take_leader(LIST_OF(node, struct lockd_observer, event), ret_event);
        break;
    case EVENT_LOG:
        log_take(e, LIST_OF(node, struct log_line, event), ret_event);
        break;
    }
    return true;
}

void engine_set_trouble(struct engine *e, const char *why)
{
    const char *address = locate_address(&e->locate);
    const size_t head = strlen(address);
    size_t tail = strlen(why);
    if (tail > sizeof e->trouble - head - 3) {
        tail = sizeof e->trouble - head - 3;
    }
    memcpy(e->trouble, address, head);
    memcpy(e->trouble + head, ": ", 2);
    memcpy(e->trouble + head + 2, why, tail);
    e->trouble[head + 2 + tail] = 0;
    const bool was_in_use = e->link.state == LINK_READY || e->link.state == LINK_REPLICA;
    LOG(e, was_in_use ? LOCKD_WARNING : LOCKD_DEBUG, e->trouble);
}

void engine_saw(struct engine *e, const struct position *seen)
{
    if (seen->slot > e->seen.slot ||
        (seen->slot == e->seen.slot && seen->index >= e->seen.index)) {
        e->seen = *seen;
    }
    engine_saw_revision(e, seen->revision);
}

void engine_saw_revision(struct engine *e, uint64_t revision)
{
    e->newest = revision > e->newest ? revision : e->newest;
    e->seen.revision = e->newest; /* What is kept is as of an event's, too. */
}

const char *engine_trouble(const struct engine *e)
{
    return e->trouble;
}

/* ---------------------------------------------------------------------- calls */

/* Reads have a session only for its cache's sake, and are then of those that may be
 * kept. */
static bool may_keep(const struct lockd_session *s, const struct wire_request *r)
{
    return s != NULL && s->cache.begin != NULL && r->level == WIRE_LINEARIZABLE &&
           (r->method == WIRE_NODE_GET || r->method == WIRE_NODE_STAT);
}

static bool is_write(enum wire_method method)
{
    return method == WIRE_NODE_PUT || method == WIRE_NODE_CREATE ||
           method == WIRE_NODE_DELETE || method == WIRE_NODE_SET_ACL;
}

static enum lockd_rc check_session(const struct lockd_session *s, const struct wire_request *r)
{
    if (r->cache ? !may_keep(s, r) : s != NULL && !is_write(r->method)) {
        return LOCKD_E_INVALID;
    }
    if (s == NULL) {
        return LOCKD_OK;
    }
    if (session_alive(s) && s->closing == NULL) {
        return LOCKD_OK;
    }
    return s->state == LOCKD_EXPIRED ? LOCKD_E_EXPIRED : LOCKD_E_CLOSED;
}

static bool is_name(struct wire_text text)
{
    return text.size <= NAME_MAX_OCTETS && wire_is_text(text);
}

enum lockd_rc check_name(const char *name)
{
    const struct wire_text text = {.data = name, .size = strlen(name)};
    return is_name(text) ? LOCKD_OK : LOCKD_E_BAD_NAME;
}

bool content_fits(size_t size)
{
    return size <= CONTENT_MAX_OCTETS;
}

static enum lockd_rc check_arguments(const struct wire_request *r)
{
    bool named = is_name(r->name) && is_name(r->after);
    for (size_t i = 0; i < WIRE_RIGHTS; i++) {
        named = named && is_name(r->acl[i]);
    }
    if (!named) {
        return LOCKD_E_BAD_NAME;
    }
    return content_fits(r->content.size) ? LOCKD_OK : LOCKD_E_TOO_LARGE;
}

static bool answer_from_cache(struct lockd_session *s, uint64_t now_ms,
                              const struct wire_request *arguments, lockd_done *done,
                              void *context)
{
    struct answer *answer = cache_answer(s, now_ms, arguments);
    if (answer != NULL) {
        answer->done = done;
        answer->context = context;
        event_answer(s->engine, answer);
    }
    return answer != NULL;
}

enum lockd_rc engine_call(struct engine *e, uint64_t now_ms, struct lockd_session *session,
                          const struct wire_request *arguments, int timeout_ms,
                          lockd_done *done, void *context)
{
    enum lockd_rc rc = e->closed ? LOCKD_E_CLOSED : check_session(session, arguments);
    rc = rc == LOCKD_OK ? check_arguments(arguments) : rc;
    if (rc != LOCKD_OK) {
        return rc;
    }
    if (arguments->cache && answer_from_cache(session, now_ms, arguments, done, context)) {
        return LOCKD_OK;
    }
    struct answer *answer = answer_new(done, context);
    struct call *c = answer == NULL ? NULL : call_new(e, session, arguments, answer);
    if (c == NULL) {
        answer_free(answer);
        return e->calls_count >= ENGINE_CALLS_MAX ? LOCKD_E_OVERLOADED : LOCKD_E_NO_MEMORY;
    }
    call_begin(c, deadline_after(now_ms, timeout_ms));
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

/* ---------------------------------------------------------------------- check */

static size_t length(const struct list *head)
{
    size_t count = 0;
    for (const struct list *at = head->next; at != head; at = at->next) {
        count++;
    }
    return count;
}

static size_t lane_check(const struct engine *e, const struct lane *lane)
{
    size_t counted = 0;
    for (const struct list *at = lane->sent.next; at != &lane->sent; at = at->next) {
        const struct call *c = LIST_OF(at, struct call, at);
        assert(c->place == CALL_SENT && c->lane == lane);
        assert(e->slots.calls[c->slot] == c);
        counted += c->waits ? 0 : 1;
    }
    assert(counted == lane->in_flight);
    return length(&lane->sent);
}

void engine_check(const struct engine *e)
{
    size_t sent =
        lane_check(e, &e->urgent) + lane_check(e, &e->common) + lane_check(e, &e->roaming);
    size_t alive = 0;
    for (const struct list *at = e->sessions.next; at != &e->sessions; at = at->next) {
        const struct lockd_session *s = LIST_OF(at, struct lockd_session, at);
        sent += lane_check(e, &s->lane);
        alive += session_alive(s) ? 1 : 0;
        kept_check(&s->cache.kept);
        if (session_alive(s) && s->state != LOCKD_OPENING) {
            /* Something will always happen next: a session can't be forgotten. */
            assert(timer_set(&s->timer));
        }
        if (!session_alive(s)) {
            assert(s->valid_ms == 0 && s->opening == NULL && s->closing == NULL);
            assert(list_empty(&s->lane.unsent) && list_empty(&s->lane.paused));
            assert(s->cache.kept.count == 0 && engine_cache_until_ms(s) == 0);
        }
    }
    watches_check(e);
    assert(alive == e->live_sessions);
    assert(length(&e->sessions) == e->sessions_count);
    assert(sent == e->in_flight);
    assert(e->slots.capacity - e->slots.free_count == sent);
    if (!link_connected(&e->link)) {
        assert(sent == 0);
    }
}
