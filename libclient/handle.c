/* SPDX-License-Identifier: Apache-2.0
 *
 * handle.c -- open, close, and what pins an instance.
 *
 *             open               opened            close
 *     IDLE ---------> OPENING -----------> OPEN ----------> CLOSING
 *      ^                 |                  ^                  |
 *      +---- failed -----+                  +-- not executed --+
 *      +---- closed, unknown, or the session has ended --------+
 *
 * The cell remembers the openers of ephemeral nodes only: for others to be open is
 * to know the instance, which one read tells.  Such a read that finds an ephemeral
 * node goes on as the command that opens it.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ handles */

static struct lockd_handle *handle_new(struct lockd_session *s, const char *name)
{
    const size_t size = strlen(name) + 1;
    struct lockd_handle *h = calloc(1, sizeof *h + size);
    if (h != NULL) {
        memcpy(h->name, name, size);
        h->session = s;
        h->state = HANDLE_IDLE;
        h->number = ++s->last_handle;
        list_init(&h->at);
        list_init(&h->open_at);
        list_push_back(&s->handles, &h->at);
    }
    return h;
}

/* No call returns to it. */
void handle_destroy(struct lockd_handle *handle)
{
    if (handle->call != NULL) {
        handle->call->handle = NULL;
    }
    list_remove(&handle->open_at);
    list_remove(&handle->at);
    free(handle);
}

static struct wire_request request_of(const struct lockd_handle *h, enum wire_method method)
{
    return (struct wire_request){
        .method = method,
        .name = {.data = h->name, .size = strlen(h->name)},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
        .handle = h->number,
    };
}

/* A call of the handle's, under way from now on. */
static enum lockd_rc begin(struct lockd_handle *h, const struct wire_request *request,
                           enum handle_state state, uint64_t deadline_ms, struct answer *answer)
{
    /* A read is the session's only in that it ends with it. */
    struct lockd_session *s = request->method == WIRE_NODE_STAT ? NULL : h->session;
    struct call *c = call_new(h->session->engine, s, request, answer);
    if (c == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    c->handle = h;
    h->call = c;
    h->state = state;
    call_begin(c, deadline_ms);
    return LOCKD_OK;
}

/* --------------------------------------------------------------------- open */

static enum lockd_rc check_open(const char *name, const struct lockd_open_options *o)
{
    if (name == NULL ||
        (o->create != 0 && o->create != LOCKD_FILE && o->create != LOCKD_DIRECTORY)) {
        return LOCKD_E_INVALID;
    }
    if (o->create == 0 && (o->ephemeral || o->exclusive)) {
        return LOCKD_E_INVALID; /* It would make nothing. */
    }
    if (o->content_size > 0 && (o->content == NULL || o->create != LOCKD_FILE)) {
        return LOCKD_E_INVALID;
    }
    return content_fits(o->content_size) ? check_name(name) : LOCKD_E_TOO_LARGE;
}

static struct wire_request open_request(const struct lockd_handle *h,
                                        const struct lockd_open_options *o)
{
    struct wire_request r = request_of(h, WIRE_NODE_OPEN);
    r.kind = o->create == LOCKD_FILE        ? WIRE_FILE
             : o->create == LOCKD_DIRECTORY ? WIRE_DIRECTORY
                                            : WIRE_KIND_NONE;
    r.ephemeral = o->ephemeral;
    r.if_instance = o->exclusive ? 0 : WIRE_ANY;
    r.has_content = o->content_size > 0;
    r.content = (struct wire_text){.data = o->content, .size = o->content_size};
    return r;
}

enum lockd_rc engine_open(struct lockd_session *session, uint64_t now_ms, const char *name,
                          const struct lockd_open_options *options, int timeout_ms,
                          lockd_done *done, void *context, struct lockd_handle **ret_handle)
{
    const struct lockd_open_options none = {.size = sizeof none};
    const struct lockd_open_options *o = options == NULL ? &none : options;
    enum lockd_rc rc = ret_handle == NULL ? LOCKD_E_INVALID : check_open(name, o);
    rc = rc == LOCKD_OK ? check_usable(session) : rc;
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct answer *answer = answer_new(done, context);
    struct lockd_handle *h = answer == NULL ? NULL : handle_new(session, name);
    if (h == NULL) {
        answer_free(answer);
        return LOCKD_E_NO_MEMORY;
    }
    const struct wire_request request =
        o->create == 0 ? request_of(h, WIRE_NODE_STAT) : open_request(h, o);
    rc = begin(h, &request, HANDLE_OPENING, deadline_after(now_ms, timeout_ms), answer);
    if (rc != LOCKD_OK) {
        answer_free(answer);
        handle_destroy(h);
        return rc;
    }
    *ret_handle = h;
    engine_settle(session->engine, now_ms);
    return LOCKD_OK;
}

/* The read has found an ephemeral node. */
static void open_ephemeral(struct call *read, uint64_t now_ms)
{
    struct lockd_handle *h = read->handle;
    const struct lockd_open_options none = {.size = sizeof none};
    const struct wire_request request = open_request(h, &none);
    enum lockd_rc rc = check_usable(h->session);
    if (rc == LOCKD_OK) {
        rc = begin(h, &request, HANDLE_OPENING, read->deadline_ms, read->answer);
    }
    if (rc == LOCKD_OK) {
        read->handle = NULL; /* Now the other one's. */
        read->answer = NULL;
    }
    call_end(read, now_ms, rc);
}

/* What was opened is not wanted: the same call goes on as its end. */
static void become_close(struct call *c, uint64_t instance)
{
    struct wire_request *r = &c->request;
    call_detach(c);
    call_acknowledge(c);
    *r = (struct wire_request){
        .method = WIRE_NODE_CLOSE,
        .name = r->name,
        .if_generation = WIRE_ANY,
        .if_instance = instance,
        .handle = r->handle,
    };
    c->unsure = false;
    c->deadline_ms = TIMER_NEVER;
    call_unsend(c, /* front= */ false);
}

void handle_opened(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_handle *h = c->handle;
    const bool is_read = c->request.method == WIRE_NODE_STAT;
    if (!reply->has_stat) {
        call_garbled(c, now_ms, "the reply lacks the node's stat");
        return;
    }
    if (h == NULL && reply->stat.ephemeral) {
        become_close(c, reply->stat.instance);
        return;
    }
    if (is_read && reply->stat.ephemeral) {
        open_ephemeral(c, now_ms);
        return;
    }
    if (h != NULL) {
        h->instance = reply->stat.instance;
        h->ephemeral = reply->stat.ephemeral;
        h->state = HANDLE_OPEN;
        h->call = NULL;
        c->handle = NULL;
        list_push_back(&h->session->opened, &h->open_at);
    }
    call_end_with(c, now_ms, LOCKD_OK, reply);
}

/* -------------------------------------------------------------------- close */

static struct wire_request close_request(const struct lockd_handle *h)
{
    struct wire_request r = request_of(h, WIRE_NODE_CLOSE);
    r.if_instance = h->instance;
    return r;
}

static bool is_open(const struct lockd_handle *h)
{
    return h->state == HANDLE_OPEN && check_usable(h->session) == LOCKD_OK;
}

static enum lockd_rc check_open_handle(const struct lockd_handle *h)
{
    const enum lockd_rc rc = check_usable(h->session);
    return rc == LOCKD_OK && h->state != HANDLE_OPEN ? LOCKD_E_INVALID : rc;
}

enum lockd_rc engine_close_handle(struct lockd_handle *handle, uint64_t now_ms, int timeout_ms,
                                  lockd_done *done, void *context)
{
    struct engine *e = handle->session->engine;
    enum lockd_rc rc = check_open_handle(handle);
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct answer *answer = answer_new(done, context);
    if (answer == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    if (!handle->ephemeral) { /* The cell knows nothing of it. */
        handle->state = HANDLE_IDLE;
        list_remove(&handle->open_at);
        answer_tell(e, answer, LOCKD_OK);
        return LOCKD_OK;
    }
    const struct wire_request request = close_request(handle);
    rc = begin(handle, &request, HANDLE_CLOSING, deadline_after(now_ms, timeout_ms), answer);
    if (rc != LOCKD_OK) {
        answer_free(answer);
        return rc;
    }
    list_remove(&handle->open_at);
    engine_settle(e, now_ms);
    return LOCKD_OK;
}

/* Was it decided that it stays open? */
static bool stays_open(const struct call *c, enum lockd_rc rc)
{
    return c->request.method == WIRE_NODE_CLOSE && check_usable(c->session) == LOCKD_OK &&
           rc != LOCKD_OK && rc != LOCKD_E_UNKNOWN && rc != LOCKD_E_STALE &&
           rc != LOCKD_E_NO_NODE;
}

void handle_call_ended(struct call *c, enum lockd_rc rc)
{
    struct lockd_handle *h = c->handle;
    c->handle = NULL;
    h->call = NULL;
    h->state = HANDLE_IDLE;
    if (stays_open(c, rc)) {
        h->state = HANDLE_OPEN;
        list_push_back(&h->session->opened, &h->open_at);
    }
}

/* A command whose outcome is open goes on in the background: what it opens is
 * closed again. */
void handle_deadline(struct call *c, uint64_t now_ms)
{
    const enum lockd_rc rc = call_given_up(c, LOCKD_E_UNAVAILABLE);
    const bool deserted = c->handle == NULL && c->request.method == WIRE_NODE_CLOSE;
    if (rc != LOCKD_E_UNKNOWN && !deserted) {
        call_end(c, now_ms, rc);
        return;
    }
    if (c->handle != NULL) {
        handle_call_ended(c, LOCKD_E_UNKNOWN);
    }
    c->deadline_ms = TIMER_NEVER;
    call_set_timer(c);
    call_tell(c, rc);
}

/* The caller lets go of the handle while it is being opened. */
static void abandon_open(struct call *c, uint64_t now_ms)
{
    handle_call_ended(c, LOCKD_E_UNKNOWN);
    if (c->request.method == WIRE_NODE_STAT || !call_tried(c)) {
        call_end(c, now_ms, LOCKD_E_CLOSED);
        return;
    }
    call_tell(c, LOCKD_E_UNKNOWN);
    c->deadline_ms = TIMER_NEVER;
    call_set_timer(c);
}

void engine_handle_free(struct lockd_handle *handle, uint64_t now_ms)
{
    if (handle == NULL) {
        return;
    }
    struct engine *e = handle->session->engine;
    if (handle->state == HANDLE_OPENING) {
        abandon_open(handle->call, now_ms);
    } else if (is_open(handle) && handle->ephemeral) {
        const struct wire_request request = close_request(handle);
        /* Short of memory: it stays open until the session ends. */
        (void)begin(handle, &request, HANDLE_CLOSING, TIMER_NEVER, /* answer= */ NULL);
    }
    handle_destroy(handle);
    engine_settle(e, now_ms);
}

/* Commands end with the session's lane; a read is in nobody's. */
void handles_end(struct lockd_session *s, uint64_t now_ms, enum lockd_rc rc)
{
    for (struct list *at = s->handles.next; at != &s->handles; at = at->next) {
        struct call *c = LIST_OF(at, struct lockd_handle, at)->call;
        if (c != NULL && c->request.method == WIRE_NODE_STAT) {
            call_end(c, now_ms, rc);
        }
    }
}

/* ---------------------------------------------------------------------- use */

enum lockd_rc engine_handle_call(struct lockd_handle *handle, uint64_t now_ms,
                                 const struct wire_request *arguments, int timeout_ms,
                                 lockd_done *done, void *context)
{
    const enum lockd_rc rc = check_open_handle(handle);
    if (rc != LOCKD_OK) {
        return rc;
    }
    struct wire_request request = *arguments;
    request.name = (struct wire_text){.data = handle->name, .size = strlen(handle->name)};
    request.if_instance = handle->instance;
    const bool is_write =
        arguments->method == WIRE_NODE_PUT || arguments->method == WIRE_NODE_DELETE;
    return engine_call(handle->session->engine, now_ms,
                       is_write || arguments->cache ? handle->session : NULL, &request,
                       timeout_ms, done, context);
}

enum lockd_rc engine_handle_acquire(struct lockd_handle *handle, uint64_t now_ms,
                                    const struct lockd_lock_options *options, int timeout_ms,
                                    lockd_done *done, void *context,
                                    struct lockd_lock **ret_lock)
{
    const struct acquiring how = {
        .name = handle->name, .if_instance = handle->instance, .options = options};
    const enum lockd_rc rc = check_open_handle(handle);
    return rc != LOCKD_OK ? rc
                          : lock_acquire(handle->session, now_ms, &how, timeout_ms, done,
                                         context, ret_lock);
}

/* ---------------------------------------------------------------- accessors */

struct engine *engine_of_handle(const struct lockd_handle *handle)
{
    return handle->session->engine;
}

struct lockd_session *engine_handle_session(const struct lockd_handle *handle)
{
    return handle->session;
}

const char *engine_handle_name(const struct lockd_handle *handle)
{
    return handle->name;
}

uint64_t engine_handle_instance(const struct lockd_handle *handle)
{
    return is_open(handle) ? handle->instance : 0;
}

struct lockd_handle *engine_handle_next(const struct lockd_session *session,
                                        const struct lockd_handle *handle)
{
    const struct list *next = handle == NULL ? session->opened.next : handle->open_at.next;
    const bool walking = handle == NULL || list_linked(&handle->open_at);
    return !walking || next == &session->opened ? NULL
                                                : LIST_OF(next, struct lockd_handle, open_at);
}
