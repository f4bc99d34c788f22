/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_print_request.c -- requests as lines.
 *
 * Each method gives the parameters that it has, and leaves out what the server
 * assumes anyway.
 */
#include "libclient/wire_text.h"

#include <assert.h>
#include <string.h>

/* A comma, unless the object has just begun: which member of the parameters is
 * the first one depends on the request. */
static void put_comma(struct wire_buffer *b)
{
    if (!b->failed && b->size > 0 && b->data[b->size - 1] != '{') {
        WIRE_PUT(b, ",");
    }
}

#define GIVE_NUMBER(b, key, value)                                                             \
    do {                                                                                       \
        put_comma(b);                                                                          \
        WIRE_PUT(b, "\"" key "\":");                                                           \
        wire_put_number(b, value);                                                             \
    } while (0)
#define GIVE_STRING(b, key, value)                                                             \
    do {                                                                                       \
        put_comma(b);                                                                          \
        WIRE_PUT(b, "\"" key "\":");                                                           \
        wire_put_string(b, value);                                                             \
    } while (0)
/* Left out when it is what the server assumes anyway. */
#define GIVE_UNLESS(b, key, value, assumed)                                                    \
    do {                                                                                       \
        if ((value) != (assumed)) {                                                            \
            GIVE_NUMBER(b, key, value);                                                        \
        }                                                                                      \
    } while (0)

static void give_ack(struct wire_buffer *b, const struct wire_request *r)
{
    assert(r->acks_count <= WIRE_ACK_RANGES_MAX);
    put_comma(b);
    WIRE_PUT(b, "\"ack\":[");
    wire_put_number(b, r->ack_floor);
    for (uint32_t i = 0; i < r->acks_count; i++) {
        WIRE_PUT(b, ",[");
        wire_put_number(b, r->acks[i].first);
        WIRE_PUT(b, ",");
        wire_put_number(b, r->acks[i].last);
        WIRE_PUT(b, "]");
    }
    WIRE_PUT(b, "]");
}

/* Who asks, the same for every command of a session. */
static void give_session(struct wire_buffer *b, const struct wire_request *r)
{
    if (!r->has_session) {
        return;
    }
    assert(r->secret.size == WIRE_SECRET);
    put_comma(b);
    wire_put_credential(b, r->session, r->secret);
    GIVE_UNLESS(b, "request", r->request, 0);
    if (r->ack_floor > 0 || r->acks_count > 0) {
        give_ack(b, r);
    }
}

static void give_content(struct wire_buffer *b, const struct wire_request *r)
{
    if (r->has_content) {
        put_comma(b);
        wire_put_content(b, r->content);
    }
}

static void give_conditions(struct wire_buffer *b, const struct wire_request *r)
{
    GIVE_UNLESS(b, "if_generation", r->if_generation, WIRE_ANY);
    GIVE_UNLESS(b, "if_instance", r->if_instance, WIRE_ANY);
}

static void give_true(struct wire_buffer *b, const char *member)
{
    put_comma(b);
    wire_append(b, member, strlen(member));
}

/* How a read is to be answered. */
static void give_level(struct wire_buffer *b, const struct wire_request *r)
{
    GIVE_UNLESS(b, "if_instance", r->if_instance, WIRE_ANY);
    if (r->level != WIRE_LINEARIZABLE) {
        GIVE_STRING(b, "level", wire_word(wire_level_name(r->level)));
    }
    GIVE_UNLESS(b, "min_revision", r->min_revision, 0);
    GIVE_UNLESS(b, "wait_ms", r->read_wait_ms, 0);
    GIVE_UNLESS(b, "max_age_ms", r->max_age_ms, 0);
    if (r->cache) {
        give_true(b, "\"cache\":true");
    }
}

static void give_acl(struct wire_buffer *b, const struct wire_request *r)
{
    for (unsigned i = 0; i < WIRE_RIGHTS; i++) {
        if (r->acl[i].data != NULL) {
            put_comma(b);
            wire_put_string(b, wire_word(wire_right_name(i)));
            WIRE_PUT(b, ":");
            wire_put_string(b, r->acl[i]);
        }
    }
}

static void give_after(struct wire_buffer *b, struct wire_text after)
{
    if (after.size > 0) {
        GIVE_STRING(b, "after", after);
    }
}

static void give_acquire(struct wire_buffer *b, const struct wire_request *r)
{
    if (r->mode != WIRE_MODE_NONE) {
        GIVE_STRING(b, "mode", wire_word(wire_mode_word(r->mode)));
    }
    GIVE_UNLESS(b, "wait_ms", r->wait_ms, WIRE_FOR_EVER);
    if (r->create) {
        give_true(b, "\"create\":true");
    }
    GIVE_UNLESS(b, "lock_delay_ms", r->delay_ms, 0);
    GIVE_UNLESS(b, "handle", r->handle, 0);
    GIVE_UNLESS(b, "if_instance", r->if_instance, WIRE_ANY);
}

static void give_open(struct wire_buffer *b, const struct wire_request *r)
{
    if (r->kind != WIRE_KIND_NONE) {
        GIVE_STRING(b, "create", wire_word(wire_kind_word(r->kind)));
    }
    if (r->ephemeral) {
        give_true(b, "\"ephemeral\":true");
    }
    give_content(b, r);
    GIVE_UNLESS(b, "if_instance", r->if_instance, WIRE_ANY);
    GIVE_UNLESS(b, "handle", r->handle, 0);
}

static void give_sequencer(struct wire_buffer *b, const struct wire_request *r)
{
    struct wire_buffer text = {.data = NULL};
    wire_append(&text, r->name.data, r->name.size);
    WIRE_PUT(&text, ":");
    wire_append(&text, wire_mode_word(r->mode), strlen(wire_mode_word(r->mode)));
    WIRE_PUT(&text, ":");
    wire_put_number(&text, r->token);
    GIVE_STRING(b, "sequencer", wire_text_of(text.data, text.size));
    b->failed = b->failed || text.failed;
    wire_buffer_free(&text);
}

static void give_kinds(struct wire_buffer *b, uint32_t watched)
{
    WIRE_PUT(b, ",\"kinds\":[");
#define GIVE_KIND(id, bit, word)                                                               \
    if ((watched & (bit)) != 0) {                                                              \
        WIRE_PUT(b, "\"" word "\",");                                                          \
    }
    WIRE_WATCHED_MAP(GIVE_KIND)
#undef GIVE_KIND
    if (!b->failed) {
        b->size--; /* The last comma. */
    }
    WIRE_PUT(b, "]");
}

static void give_watch(struct wire_buffer *b, const struct wire_watch *w)
{
    assert(w->watched != 0);
    WIRE_PUT(b, "{");
    GIVE_NUMBER(b, "watch", w->watch);
    GIVE_STRING(b, "name", w->name);
    if (w->scope != WIRE_SCOPE_NODE) {
        GIVE_STRING(b, "scope", wire_word(wire_scope_name(w->scope)));
    }
    if (w->watched != WIRE_WATCHED_ALL) {
        give_kinds(b, w->watched);
    }
    GIVE_UNLESS(b, "from", w->from, WIRE_ANY);
    GIVE_UNLESS(b, "if_instance", w->if_instance, WIRE_ANY);
    if (w->content) {
        give_true(b, "\"content\":true");
    }
    if (w->old) {
        give_true(b, "\"old_content\":true");
    }
    WIRE_PUT(b, "}");
}

static void give_watches(struct wire_buffer *b, const struct wire_request *r)
{
    assert(r->watches_count > 0 && r->watches_count <= WIRE_WATCHES_MAX);
    WIRE_PUT(b, "\"watches\":[");
    for (uint32_t i = 0; i < r->watches_count; i++) {
        if (i > 0) {
            WIRE_PUT(b, ",");
        }
        give_watch(b, &r->watches[i]);
    }
    WIRE_PUT(b, "]");
}

static void give_unwatch(struct wire_buffer *b, const struct wire_request *r)
{
    assert(r->unwatch_count > 0 && r->unwatch_count <= WIRE_WATCHES_MAX);
    WIRE_PUT(b, "\"watches\":[");
    for (uint32_t i = 0; i < r->unwatch_count; i++) {
        if (i > 0) {
            WIRE_PUT(b, ",");
        }
        wire_put_number(b, r->unwatch[i]);
    }
    WIRE_PUT(b, "]");
}

static void give_params(struct wire_buffer *b, const struct wire_request *r)
{
    /* An empty one is for the server to refuse, unless it means "all". */
    if (r->method != WIRE_LOCK_CHECK &&
        (r->name.size > 0 || (r->name.data != NULL && r->method != WIRE_LOCK_LIST))) {
        GIVE_STRING(b, "name", r->name);
    }
    give_session(b, r);
    switch (r->method) {
    case WIRE_NODE_PUT:
        give_content(b, r);
        give_conditions(b, r);
        break;
    case WIRE_NODE_CREATE:
        GIVE_STRING(b, "kind", wire_word(wire_kind_word(r->kind)));
        give_content(b, r);
        break;
    case WIRE_NODE_DELETE:
        give_conditions(b, r);
        break;
    case WIRE_NODE_LIST:
        give_after(b, r->after);
        GIVE_UNLESS(b, "limit", r->limit, 0);
        give_level(b, r);
        break;
    case WIRE_LOCK_LIST:
        GIVE_UNLESS(b, "after", r->after_instance, 0);
        GIVE_UNLESS(b, "skip", r->skip, 0);
        GIVE_UNLESS(b, "limit", r->limit, 0);
        GIVE_UNLESS(b, "if_instance", r->if_instance, WIRE_ANY);
        break;
    case WIRE_SESSION_OPEN:
        GIVE_UNLESS(b, "lease_ms", r->lease_ms, 0);
        if (r->label.size > 0) {
            GIVE_STRING(b, "label", r->label);
        }
        if (r->cache) {
            give_true(b, "\"cache\":true");
        }
        break;
    case WIRE_LOCK_ACQUIRE:
        give_acquire(b, r);
        break;
    case WIRE_LOCK_RELEASE:
        GIVE_UNLESS(b, "handle", r->handle, 0);
        GIVE_NUMBER(b, "token", r->token);
        break;
    case WIRE_LOCK_CANCEL:
        GIVE_NUMBER(b, "cancel", r->cancel);
        break;
    case WIRE_NODE_GET:
    case WIRE_NODE_STAT:
    case WIRE_NODE_GET_ACL:
        give_level(b, r);
        break;
    case WIRE_NODE_SET_ACL:
        give_acl(b, r);
        give_conditions(b, r);
        break;
    case WIRE_CACHE_ACK:
        GIVE_NUMBER(b, "number", r->cache_number);
        break;
    case WIRE_NODE_OPEN:
        give_open(b, r);
        break;
    case WIRE_NODE_CLOSE:
        GIVE_NUMBER(b, "if_instance", r->if_instance);
        GIVE_UNLESS(b, "handle", r->handle, 0);
        break;
    case WIRE_LOCK_CHECK:
        give_sequencer(b, r);
        break;
    case WIRE_WATCH_ADD:
        give_watches(b, r);
        break;
    case WIRE_WATCH_REMOVE:
        give_unwatch(b, r);
        break;
    case WIRE_SESSION_KEEPALIVE:
    case WIRE_SESSION_CLOSE:
    case WIRE_CACHE_BEGIN:
    case WIRE_CELL_STATUS:
        break;
    case WIRE_NO_METHOD:
    default:
        assert(false);
    }
}

void wire_print_request(struct wire_buffer *b, const struct wire_request *request)
{
    assert(request->method != WIRE_NO_METHOD);
    assert(request->id.size > 0 && request->id.size <= WIRE_ID_MAX);
    const char *method = wire_method_name(request->method);
    WIRE_PUT(b, "{\"jsonrpc\":\"2.0\",\"id\":");
    wire_append(b, request->id.data, request->id.size);
    WIRE_PUT(b, ",\"method\":\"");
    wire_append(b, method, strlen(method));
    WIRE_PUT(b, "\",\"params\":{");
    give_params(b, request);
    WIRE_PUT(b, "}}\n");
}
