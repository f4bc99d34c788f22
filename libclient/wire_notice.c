/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_notice.c -- what a server says without being asked, printed and parsed.
 *
 * The line of an event is printed in two parts.  The tail is the same for all who
 * are told of a change, so that it need be printed but once; the head names the
 * receiver's watch.
 */
#include "libclient/wire_take.h"

#include <assert.h>
#include <stdio.h>

/* An invalidation's names end before this, so that what follows still fits into the line. */
enum { NAMES_OCTETS_MAX = WIRE_LINE_MAX - 64 };

/* ----------------------------------------------------------------- printing */

#define PUT_HEAD(b, notice)                                                                    \
    do {                                                                                       \
        WIRE_PUT(b, "{\"jsonrpc\":\"2.0\",\"method\":\"");                                     \
        wire_append(b, wire_notice_name(notice), strlen(wire_notice_name(notice)));            \
        WIRE_PUT(b, "\",\"params\":{");                                                        \
    } while (0)

void wire_print_event_head(struct wire_buffer *b, uint64_t watch)
{
    PUT_HEAD(b, WIRE_WATCH_EVENT);
    WIRE_PUT(b, "\"watch\":");
    wire_put_number(b, watch);
    WIRE_PUT(b, ",");
}

static bool is_written(enum wire_change change)
{
    return change == WIRE_CREATED || change == WIRE_WRITTEN;
}

/* Of a lock: who, and how. */
static bool is_of_claim(enum wire_change change)
{
    return change == WIRE_GRANTED || change == WIRE_RELEASED || change == WIRE_CONTENDED;
}

static void put_claim(struct wire_buffer *b, const struct wire_event *event)
{
    WIRE_PUT(b, ",\"session\":");
    wire_put_hex(b, event->session);
    PUT_STRING(b, "mode", wire_word(wire_mode_word(event->mode)));
    if (event->change != WIRE_CONTENDED) {
        PUT_NUMBER(b, "token", event->token);
    }
    if (event->failed) {
        PUT_BOOL(b, "failed", true);
    }
    if (event->delay_ms != 0) {
        PUT_NUMBER(b, "lock_delay_ms", event->delay_ms);
    }
}

static void put_contents(struct wire_buffer *b, const struct wire_event *event)
{
    if (event->has_content) {
        WIRE_PUT(b, ",");
        wire_put_content(b, event->content);
    } else if (event->wants_content) {
        PUT_BOOL(b, "content_omitted", true);
    }
    if (event->has_old && wire_is_text(event->old)) {
        PUT_STRING(b, "old_content", event->old);
    } else if (event->has_old) {
        WIRE_PUT(b, ",\"old_content_base64\":");
        wire_put_base64(b, event->old);
    } else if (event->wants_old) {
        PUT_BOOL(b, "old_content_omitted", true);
    }
}

/* What became of which node. */
static void put_node(struct wire_buffer *b, const struct wire_event *event)
{
    PUT_STRING(b, "name", event->name);
    PUT_STRING(b, "node_kind", wire_word(wire_kind_word(event->kind)));
    PUT_NUMBER(b, "instance", event->instance);
    PUT_NUMBER(b, "modified_ms", event->modified_ms);
    if (is_written(event->change) && event->kind == WIRE_FILE) {
        PUT_NUMBER(b, "generation", event->generation);
        PUT_NUMBER(b, "size", event->size);
    }
    if (event->ephemeral) {
        PUT_BOOL(b, "ephemeral", true);
    }
    if (is_of_claim(event->change)) {
        put_claim(b, event);
    }
    put_contents(b, event);
}

void wire_print_event_tail(struct wire_buffer *b, const struct wire_event *event)
{
    assert(event->change != WIRE_NO_CHANGE);
    WIRE_PUT(b, "\"event\":{\"kind\":");
    wire_put_string(b, wire_word(wire_change_name(event->change)));
    PUT_NUMBER(b, "revision", event->revision);
    if (event->change != WIRE_GAP) {
        if (event->count > 1) {
            PUT_NUMBER(b, "first_revision", event->first_revision);
            PUT_NUMBER(b, "count", event->count);
        }
        put_node(b, event);
    }
    WIRE_PUT(b, "}}}\n");
}

/* The names, or that all is meant, which is always true enough, if they are more than
 * a line holds. */
static void put_invalidate(struct wire_buffer *b, const struct wire_notification *n,
                           size_t line_from)
{
    WIRE_PUT(b, "\"session\":");
    wire_put_hex(b, n->session);
    PUT_NUMBER(b, "number", n->number);
    const size_t names_from = b->size;
    WIRE_PUT(b, ",\"names\":[");
    for (uint32_t i = 0; i < n->names_count; i++) {
        if (i > 0) {
            WIRE_PUT(b, ",");
        }
        wire_put_string(b, n->names[i]);
    }
    WIRE_PUT(b, "]");
    if (n->names_count == 0 || b->size - line_from > NAMES_OCTETS_MAX) {
        b->size = names_from;
        PUT_BOOL(b, "all", true);
    }
}

void wire_print_notification(struct wire_buffer *b, const struct wire_notification *n)
{
    const size_t line_from = b->size;
    switch (n->notice) {
    case WIRE_WATCH_EVENT:
        wire_print_event_head(b, n->watch);
        wire_print_event_tail(b, &n->event);
        return;
    case WIRE_WATCH_PROGRESS:
        PUT_HEAD(b, WIRE_WATCH_PROGRESS);
        WIRE_PUT(b, "\"revision\":");
        wire_put_number(b, n->revision);
        break;
    case WIRE_WATCH_END:
        PUT_HEAD(b, WIRE_WATCH_END);
        WIRE_PUT(b, "\"code\":");
        wire_put_string(b, wire_word(wire_error_name(WIRE_NOT_MASTER)));
        if (n->master.size > 0) {
            PUT_STRING(b, "master", n->master);
        }
        if (n->master_id > 0) {
            PUT_NUMBER(b, "master_id", n->master_id);
        }
        break;
    case WIRE_CACHE_INVALIDATE:
        PUT_HEAD(b, WIRE_CACHE_INVALIDATE);
        put_invalidate(b, n, line_from);
        break;
    case WIRE_NO_NOTICE:
    default:
        assert(false);
    }
    WIRE_PUT(b, "}}\n");
}

/* ------------------------------------------------------------------ parsing */

static enum wire_notice notice_of(struct wire_text word)
{
#define NOTICE_MATCH(id, name)                                                                 \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        return id;                                                                             \
    }
    WIRE_NOTICE_MAP(NOTICE_MATCH)
#undef NOTICE_MATCH
    return WIRE_NO_NOTICE;
}

static enum wire_change change_of(struct wire_text word)
{
#define CHANGE_MATCH(id, name)                                                                 \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        return id;                                                                             \
    }
    WIRE_CHANGE_MAP(CHANGE_MATCH)
#undef CHANGE_MATCH
    return WIRE_NO_CHANGE;
}

static bool take_claim(struct wire_take *t, const json_t *object, struct wire_event *e)
{
    struct wire_text mode;
    if (!wire_take_text(t, object, "mode", &mode) || !wire_mode_of(mode, &e->mode)) {
        return wire_take_refuse(t, "mode");
    }
    return wire_take_hex(t, object, "session", &e->session) &&
           (e->change == WIRE_CONTENDED || wire_take_number(t, object, "token", &e->token)) &&
           wire_maybe_bool(t, object, "failed", &e->failed) &&
           wire_maybe_number(t, object, "lock_delay_ms", &e->delay_ms);
}

static bool take_contents(struct wire_take *t, const json_t *object, struct wire_event *e)
{
    e->has_content = json_object_get(object, "content") != NULL ||
                     json_object_get(object, "content_base64") != NULL;
    e->has_old = json_object_get(object, "old_content") != NULL ||
                 json_object_get(object, "old_content_base64") != NULL;
    e->wants_content = e->has_content;
    e->wants_old = e->has_old;
    return (!e->has_content ||
            wire_take_content(t, object, "content", "content_base64", &e->content)) &&
           (!e->has_old ||
            wire_take_content(t, object, "old_content", "old_content_base64", &e->old)) &&
           wire_maybe_bool(t, object, "content_omitted", &e->wants_content) &&
           wire_maybe_bool(t, object, "old_content_omitted", &e->wants_old);
}

static bool take_node(struct wire_take *t, const json_t *object, struct wire_event *e)
{
    struct wire_text kind;
    if (!wire_take_text(t, object, "node_kind", &kind) || !wire_kind_of(kind, &e->kind)) {
        return wire_take_refuse(t, "node_kind");
    }
    const bool file = is_written(e->change) && e->kind == WIRE_FILE;
    return wire_take_text(t, object, "name", &e->name) &&
           wire_take_number(t, object, "instance", &e->instance) &&
           wire_take_number(t, object, "modified_ms", &e->modified_ms) &&
           (!file || (wire_take_number(t, object, "generation", &e->generation) &&
                      wire_take_number(t, object, "size", &e->size))) &&
           wire_maybe_bool(t, object, "ephemeral", &e->ephemeral) &&
           (!is_of_claim(e->change) || take_claim(t, object, e)) && take_contents(t, object, e);
}

static bool take_event(struct wire_take *t, const json_t *params, struct wire_notification *n)
{
    const json_t *object = json_object_get(params, "event");
    struct wire_event *e = &n->event;
    struct wire_text kind;
    if (!wire_take_number(t, params, "watch", &n->watch)) {
        return false;
    }
    if (!json_is_object(object)) {
        return wire_take_refuse(t, "event");
    }
    if (!wire_take_text(t, object, "kind", &kind) ||
        !wire_take_number(t, object, "revision", &e->revision)) {
        return false;
    }
    e->change = change_of(kind);
    if (e->change == WIRE_NO_CHANGE) {
        n->notice = WIRE_NO_NOTICE; /* Of a newer cell. */
        return true;
    }
    if (e->change == WIRE_GAP) {
        return true;
    }
    e->first_revision = e->revision;
    e->count = 1;
    return wire_maybe_number(t, object, "first_revision", &e->first_revision) &&
           wire_maybe_number(t, object, "count", &e->count) && take_node(t, object, e);
}

static bool take_invalidate(struct wire_take *t, const json_t *params,
                            struct wire_notification *n)
{
    const json_t *array = json_object_get(params, "names");
    const size_t count = json_array_size(array);
    bool all = false;
    if (!wire_take_hex(t, params, "session", &n->session) ||
        !wire_take_number(t, params, "number", &n->number) ||
        !wire_maybe_bool(t, params, "all", &all)) {
        return false;
    }
    if (all) {
        return true;
    }
    struct wire_text *names = wire_carve(t, count * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        if (!wire_json_text(json_array_get(array, i), &names[i])) {
            return wire_take_refuse(t, "names");
        }
    }
    n->names = names;
    n->names_count = (uint32_t)count;
    return count > 0 || wire_take_refuse(t, "names");
}

static bool take_notification(struct wire_take *t, const json_t *root,
                              struct wire_notification *n)
{
    const json_t *params = json_object_get(root, "params");
    struct wire_text method;
    if (json_object_get(root, "id") != NULL) {
        return wire_take_refuse(t, "method"); /* It is a reply. */
    }
    if (!wire_take_text(t, root, "method", &method)) {
        return false;
    }
    n->notice = notice_of(method);
    switch (n->notice) {
    case WIRE_WATCH_EVENT:
        return take_event(t, params, n);
    case WIRE_WATCH_PROGRESS:
        return wire_take_number(t, params, "revision", &n->revision);
    case WIRE_WATCH_END:
        return wire_maybe_text(t, params, "master", &n->master) &&
               wire_maybe_number(t, params, "master_id", &n->master_id);
    case WIRE_CACHE_INVALIDATE:
        return take_invalidate(t, params, n);
    case WIRE_NO_NOTICE:
        break;
    }
    return true;
}

/* What is carved for a notification, at most. */
static size_t room(const json_t *root)
{
    const json_t *params = json_object_get(root, "params");
    const json_t *event = json_object_get(params, "event");
    const json_t *content = json_object_get(event, "content_base64");
    const json_t *old = json_object_get(event, "old_content_base64");
    return json_array_size(json_object_get(params, "names")) * sizeof(struct wire_text) +
           wire_base64_bound(json_string_length(content)) +
           wire_base64_bound(json_string_length(old)) + 1;
}

bool wire_parse_notification(struct wire_memory *m, struct wire_text line,
                             struct wire_notification *ret_notification,
                             char ret_detail[WIRE_DETAIL_MAX])
{
    struct wire_json json;
    struct wire_notification n = {.notice = WIRE_NO_NOTICE};
    if (wire_json_load(m, line, &json, ret_detail) != WIRE_OK) {
        return false;
    }
    struct wire_take t = {.at = wire_scratch(m, room(json.root)), .detail = ret_detail};
    if (t.at == NULL) {
        snprintf(ret_detail, WIRE_DETAIL_MAX, "out of memory");
        return false;
    }
    if (!take_notification(&t, json.root, &n)) {
        return false;
    }
    assert(t.at <= m->scratch + m->scratch_capacity);
    *ret_notification = n;
    return true;
}
