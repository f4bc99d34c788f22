/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_reply.c -- a server's line as the reply to a request.
 *
 * What we know must have the right form; what we don't know is passed over, so
 * that a newer cell may say more.  (Requests are the other way round: there an
 * unknown member is refused.)  An error that this client has no word for counts
 * as WIRE_UNKNOWN_OUTCOME, because that is what is known of it.
 */
#include "libclient/wire_take.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct parse {
    struct wire_take take;
    struct wire_reply reply;
};

/* ------------------------------------------------------------------- pieces */

static bool take_stat(struct parse *p, const json_t *object, struct wire_stat *ret_stat)
{
    const json_t *stat = json_object_get(object, "stat");
    struct wire_text kind;
    if (!json_is_object(stat)) {
        return wire_take_refuse(&p->take, "stat");
    }
    if (!wire_take_text(&p->take, stat, "kind", &kind) ||
        !wire_kind_of(kind, &ret_stat->kind)) {
        return wire_take_refuse(&p->take, "kind");
    }
    return wire_take_number(&p->take, stat, "instance", &ret_stat->instance) &&
           wire_take_number(&p->take, stat, "generation", &ret_stat->generation) &&
           wire_take_number(&p->take, stat, "lock_generation", &ret_stat->lock_generation) &&
           wire_take_number(&p->take, stat, "acl_generation", &ret_stat->acl_generation) &&
           wire_take_hex(&p->take, stat, "checksum", &ret_stat->checksum) &&
           wire_take_number(&p->take, stat, "revision", &ret_stat->revision) &&
           wire_take_number(&p->take, stat, "modified_ms", &ret_stat->modified_ms) &&
           wire_take_number(&p->take, stat, "size", &ret_stat->size) &&
           wire_maybe_number(&p->take, stat, "children", &ret_stat->children) &&
           wire_maybe_number(&p->take, stat, "lock_token", &ret_stat->lock_token) &&
           wire_maybe_bool(&p->take, stat, "ephemeral", &ret_stat->ephemeral);
}

static bool take_stat_of_reply(struct parse *p, const json_t *object)
{
    p->reply.has_stat = true;
    return take_stat(p, object, &p->reply.stat);
}

static bool take_position(struct parse *p, const json_t *object)
{
    const json_t *index = json_object_get(object, "index");
    if (json_array_size(index) != 2 ||
        !wire_json_number(json_array_get(index, 0), &p->reply.slot) ||
        !wire_json_number(json_array_get(index, 1), &p->reply.position)) {
        return wire_take_refuse(&p->take, "index");
    }
    p->reply.has_position = true;
    return wire_take_number(&p->take, object, "epoch", &p->reply.epoch) &&
           wire_take_number(&p->take, object, "revision", &p->reply.revision);
}

/* What put_level() of wire_print.c says; a read that says nothing is linearizable. */
static bool take_level(struct parse *p, const json_t *object)
{
    const json_t *level = json_object_get(object, "level");
    struct wire_text word;
    if (level != NULL &&
        !(wire_json_text(level, &word) && wire_level_of(word, &p->reply.level))) {
        return wire_take_refuse(&p->take, "level");
    }
    p->reply.has_age = json_object_get(object, "age_ms") != NULL;
    p->reply.cached = json_object_get(object, "cached") != NULL;
    return wire_maybe_number(&p->take, object, "age_ms", &p->reply.age_ms) &&
           wire_maybe_number(&p->take, object, "cached", &p->reply.cache_number);
}

static bool take_acl(struct parse *p, const json_t *result)
{
    const json_t *acl = json_object_get(result, "acl");
    for (unsigned i = 0; i < WIRE_RIGHTS; i++) {
        if (!wire_take_text(&p->take, acl, wire_right_name(i), &p->reply.acl[i])) {
            return false;
        }
    }
    p->reply.has_acl = true;
    return true;
}

static bool take_content(struct parse *p, const json_t *result)
{
    p->reply.has_content = true;
    return wire_take_content(&p->take, result, "content", "content_base64", &p->reply.content);
}

static bool take_child(struct parse *p, const json_t *entry, struct wire_child *ret_child)
{
    struct wire_text kind;
    *ret_child = (struct wire_child){.name = {.data = NULL}};
    if (!wire_take_text(&p->take, entry, "name", &ret_child->name) ||
        !wire_maybe_bool(&p->take, entry, "denied", &ret_child->denied)) {
        return false;
    }
    if (!ret_child->denied) {
        return take_stat(p, entry, &ret_child->stat);
    }
    return (wire_json_text(json_object_get(entry, "kind"), &kind) &&
            wire_kind_of(kind, &ret_child->stat.kind)) ||
           wire_take_refuse(&p->take, "kind");
}

static bool take_entries(struct parse *p, const json_t *result)
{
    const json_t *entries = json_object_get(result, "entries");
    if (!json_is_array(entries)) {
        return wire_take_refuse(&p->take, "entries");
    }
    const size_t count = json_array_size(entries);
    struct wire_child *children = wire_carve(&p->take, count * sizeof *children);
    for (size_t i = 0; i < count; i++) {
        if (!take_child(p, json_array_get(entries, i), &children[i])) {
            return false;
        }
    }
    p->reply.children = children;
    p->reply.children_count = (uint32_t)count;
    return wire_take_bool(&p->take, result, "more", &p->reply.more);
}

/* -------------------------------------------------------- sessions and locks */

static bool take_credential(struct parse *p, const json_t *result)
{
    struct wire_text text;
    return (wire_json_text(json_object_get(result, "session"), &text) &&
            wire_credential_of(text, &p->reply.session, &p->reply.secret)) ||
           wire_take_refuse(&p->take, "session");
}

static bool take_claim(struct parse *p, const json_t *object, struct wire_claim *ret_claim)
{
    struct wire_text mode;
    *ret_claim = (struct wire_claim){.held = false};
    if (!wire_take_text(&p->take, object, "mode", &mode) ||
        !wire_mode_of(mode, &ret_claim->mode)) {
        return wire_take_refuse(&p->take, "mode");
    }
    struct wire_take *t = &p->take;
    return wire_take_bool(t, object, "held", &ret_claim->held) &&
           wire_maybe_bool(t, object, "delayed", &ret_claim->delayed) &&
           wire_take_hex(t, object, "session", &ret_claim->session) &&
           wire_take_text(t, object, "label", &ret_claim->label) &&
           wire_take_number(t, object, "handle", &ret_claim->handle) &&
           (!(ret_claim->held || ret_claim->delayed) ||
            wire_take_number(t, object, "token", &ret_claim->token)) &&
           wire_maybe_number(t, object, "lock_delay_ms", &ret_claim->delay_ms) &&
           wire_maybe_number(t, object, "left_ms", &ret_claim->left_ms) &&
           wire_take_number(t, object, "since_ms", &ret_claim->since_ms);
}

static bool take_lock(struct parse *p, const json_t *object, struct wire_lock *ret_lock)
{
    const json_t *array = json_object_get(object, "claims");
    *ret_lock = (struct wire_lock){.name = {.data = NULL}};
    if (!json_is_array(array)) {
        return wire_take_refuse(&p->take, "claims");
    }
    const size_t count = json_array_size(array);
    struct wire_claim *claims = wire_carve(&p->take, count * sizeof *claims);
    for (size_t i = 0; i < count; i++) {
        if (!take_claim(p, json_array_get(array, i), &claims[i])) {
            return false;
        }
    }
    ret_lock->claims = claims;
    ret_lock->claims_count = (uint32_t)count;
    return wire_take_text(&p->take, object, "name", &ret_lock->name) &&
           wire_take_number(&p->take, object, "instance", &ret_lock->instance) &&
           wire_take_bool(&p->take, object, "more", &ret_lock->more);
}

static bool take_locks(struct parse *p, const json_t *result)
{
    const json_t *array = json_object_get(result, "locks");
    if (!json_is_array(array)) {
        return wire_take_refuse(&p->take, "locks");
    }
    const size_t count = json_array_size(array);
    struct wire_lock *locks = wire_carve(&p->take, count * sizeof *locks);
    for (size_t i = 0; i < count; i++) {
        if (!take_lock(p, json_array_get(array, i), &locks[i])) {
            return false;
        }
    }
    p->reply.locks = locks;
    p->reply.locks_count = (uint32_t)count;
    return wire_take_bool(&p->take, result, "more", &p->reply.more) &&
           (!p->reply.more ||
            wire_take_number(&p->take, result, "next", &p->reply.next_instance));
}

/* What take_locks() carves. */
static size_t room_for_locks(const json_t *locks)
{
    const size_t count = json_array_size(locks);
    size_t room = count * sizeof(struct wire_lock);
    for (size_t i = 0; i < count; i++) {
        const json_t *claims = json_object_get(json_array_get(locks, i), "claims");
        room += json_array_size(claims) * sizeof(struct wire_claim);
    }
    return room;
}

/* ------------------------------------------------------------------- status */

static bool take_member(struct parse *p, const json_t *object, struct wire_member *ret_member)
{
    *ret_member = (struct wire_member){.id = 0};
    return wire_take_number(&p->take, object, "id", &ret_member->id) &&
           wire_take_text(&p->take, object, "peer", &ret_member->peer) &&
           wire_maybe_text(&p->take, object, "client", &ret_member->client) &&
           wire_take_bool(&p->take, object, "heard", &ret_member->heard) &&
           wire_maybe_number(&p->take, object, "heard_ms_ago", &ret_member->heard_ms_ago) &&
           wire_maybe_number(&p->take, object, "durable_slot", &ret_member->durable_slot);
}

static bool take_members(struct parse *p, const json_t *result, struct wire_status *ret_status)
{
    const json_t *members = json_object_get(result, "members");
    if (!json_is_array(members)) {
        return wire_take_refuse(&p->take, "members");
    }
    const size_t count = json_array_size(members);
    struct wire_member *array = wire_carve(&p->take, count * sizeof *array);
    for (size_t i = 0; i < count; i++) {
        if (!take_member(p, json_array_get(members, i), &array[i])) {
            return false;
        }
    }
    ret_status->members = array;
    ret_status->members_count = (uint32_t)count;
    return true;
}

/* Which replica it is, and how far. */
static bool take_state(struct wire_take *t, const json_t *r, struct wire_status *s)
{
    return wire_take_text(t, r, "version", &s->version) &&
           wire_take_text(t, r, "cell", &s->cell) &&
           wire_take_text(t, r, "cell_id", &s->cell_id) &&
           wire_take_number(t, r, "replica", &s->replica) &&
           wire_take_text(t, r, "role", &s->role) &&
           wire_take_bool(t, r, "serving", &s->serving) &&
           wire_maybe_number(t, r, "master_id", &s->master) &&
           wire_maybe_text(t, r, "master", &s->master_address) &&
           wire_take_number(t, r, "epoch", &s->epoch) &&
           wire_take_number(t, r, "revision", &s->revision) &&
           wire_take_number(t, r, "slot_chosen", &s->slot_chosen) &&
           wire_take_number(t, r, "slot_applied", &s->slot_applied) &&
           wire_take_number(t, r, "slot_last", &s->slot_last) &&
           wire_take_number(t, r, "slot_tables", &s->slot_tables) &&
           wire_take_number(t, r, "log_first", &s->log_first) &&
           wire_take_text(t, r, "digest", &s->digest) &&
           wire_take_bool(t, r, "low_space", &s->low_space) &&
           wire_maybe_number(t, r, "age_ms", &s->age_ms) &&
           wire_maybe_number(t, r, "survives", &s->survives);
}

/* How much of everything there is.  The later half an older replica doesn't say:
 * while a cell is upgraded a client must still find its master. */
static bool take_counts(struct wire_take *t, const json_t *r, struct wire_status *s)
{
    return wire_take_number(t, r, "nodes", &s->nodes) &&
           wire_take_number(t, r, "content_bytes", &s->content_bytes) &&
           wire_take_number(t, r, "memory_bytes", &s->memory_bytes) &&
           wire_maybe_number(t, r, "sessions", &s->sessions) &&
           wire_maybe_number(t, r, "locks_held", &s->locks_held) &&
           wire_maybe_number(t, r, "locks_waiting", &s->locks_waiting) &&
           wire_maybe_number(t, r, "locks_delayed", &s->locks_delayed) &&
           wire_maybe_number(t, r, "opens", &s->opens) &&
           wire_maybe_number(t, r, "watches", &s->watches) &&
           wire_maybe_number(t, r, "history_bytes", &s->history_bytes) &&
           wire_maybe_number(t, r, "history_floor", &s->history_floor) &&
           wire_maybe_number(t, r, "cached", &s->cached) &&
           wire_maybe_number(t, r, "held", &s->held) &&
           wire_maybe_number(t, r, "stretch_ms", &s->stretch_ms);
}

static bool take_status(struct parse *p, const json_t *r)
{
    struct wire_status *s = wire_carve(&p->take, sizeof *s);
    *s = (struct wire_status){.replica = 0};
    p->reply.status = s;
    s->survives_known = json_object_get(r, "survives") != NULL;
    s->has_age = json_object_get(r, "age_ms") != NULL;
    return take_members(p, r, s) && take_state(&p->take, r, s) && take_counts(&p->take, r, s);
}

/* ------------------------------------------------------------------- replies */

static bool take_result(struct parse *p, enum wire_method method, const json_t *result)
{
    p->reply.method = method;
    switch (method) {
    case WIRE_NODE_GET:
        return take_content(p, result) && take_stat_of_reply(p, result) &&
               take_level(p, result) && take_position(p, result);
    case WIRE_NODE_PUT:
    case WIRE_NODE_OPEN:
        return take_stat_of_reply(p, result) &&
               wire_take_bool(&p->take, result, "created", &p->reply.created) &&
               take_position(p, result);
    case WIRE_NODE_CREATE:
    case WIRE_NODE_SET_ACL:
        return take_stat_of_reply(p, result) && take_position(p, result);
    case WIRE_NODE_STAT:
        return take_stat_of_reply(p, result) && take_level(p, result) &&
               take_position(p, result);
    case WIRE_NODE_LIST:
        return take_entries(p, result) && take_level(p, result) && take_position(p, result);
    case WIRE_NODE_GET_ACL:
        return take_acl(p, result) && take_level(p, result) && take_position(p, result);
    case WIRE_NODE_DELETE:
    case WIRE_SESSION_CLOSE:
    case WIRE_LOCK_RELEASE:
    case WIRE_LOCK_CANCEL:
    case WIRE_NODE_CLOSE:
    case WIRE_WATCH_ADD:
    case WIRE_WATCH_REMOVE:
        return take_position(p, result);
    case WIRE_CACHE_ACK:
        return true; /* It is heard, and that is all. */
    case WIRE_SESSION_OPEN:
        return take_credential(p, result) &&
               wire_take_number(&p->take, result, "lease_ms", &p->reply.lease_ms) &&
               wire_maybe_number(&p->take, result, "cache_ms", &p->reply.cache_ms) &&
               take_position(p, result);
    case WIRE_SESSION_KEEPALIVE:
        return wire_take_number(&p->take, result, "lease_ms", &p->reply.lease_ms) &&
               wire_maybe_number(&p->take, result, "cache_ms", &p->reply.cache_ms) &&
               take_position(p, result);
    case WIRE_CACHE_BEGIN:
        return wire_take_number(&p->take, result, "number", &p->reply.cache_number) &&
               wire_maybe_number(&p->take, result, "cache_ms", &p->reply.cache_ms) &&
               take_position(p, result);
    case WIRE_LOCK_ACQUIRE:
        return wire_take_number(&p->take, result, "token", &p->reply.token) &&
               wire_take_text(&p->take, result, "sequencer", &p->reply.sequencer) &&
               take_position(p, result);
    case WIRE_LOCK_LIST:
        return take_locks(p, result) && take_position(p, result);
    case WIRE_LOCK_CHECK:
        return wire_take_bool(&p->take, result, "valid", &p->reply.valid) &&
               take_position(p, result);
    case WIRE_CELL_STATUS:
        return take_status(p, result);
    case WIRE_NO_METHOD:
    default:
        assert(false);
        return false;
    }
}

static enum wire_error error_of(struct wire_text word)
{
#define ERROR_MATCH(id, code, name, text)                                                      \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        return id;                                                                             \
    }
    WIRE_ERROR_MAP(ERROR_MATCH)
#undef ERROR_MATCH
    return WIRE_UNKNOWN_OUTCOME;
}

/* A server that is not ours, or a proxy, knows only JSON-RPC's own codes. */
static enum wire_error error_of_code(const json_t *code)
{
    switch (json_integer_value(code)) {
    case -32700:
        return WIRE_PARSE_ERROR;
    case -32600:
        return WIRE_INVALID_REQUEST;
    case -32601:
        return WIRE_METHOD_NOT_FOUND;
    case -32602:
        return WIRE_INVALID_PARAMS;
    default:
        return WIRE_UNKNOWN_OUTCOME;
    }
}

static bool take_error(struct parse *p, enum wire_method method, const json_t *error)
{
    const json_t *data = json_object_get(error, "data");
    struct wire_text word;
    p->reply.method = method;
    if (!json_is_integer(json_object_get(error, "code"))) {
        return wire_take_refuse(&p->take, "code");
    }
    if (!wire_take_text(&p->take, error, "message", &p->reply.message)) {
        return false;
    }
    p->reply.error = wire_json_text(json_object_get(data, "code"), &word)
                         ? error_of(word)
                         : error_of_code(json_object_get(error, "code"));
    if (json_object_get(data, "index") != NULL && !take_position(p, data)) {
        return false;
    }
    if (json_object_get(data, "stat") != NULL && !take_stat_of_reply(p, data)) {
        return false;
    }
    if (!take_level(p, data)) {
        return false;
    }
    const json_t *holder = json_object_get(data, "holder");
    if (holder != NULL) {
        struct wire_claim *claim = wire_carve(&p->take, sizeof *claim);
        p->reply.holder = claim;
        if (!take_claim(p, holder, claim)) {
            return false;
        }
    }
    return wire_maybe_number(&p->take, data, "left_ms", &p->reply.left_ms) &&
           wire_maybe_text(&p->take, data, "master", &p->reply.master) &&
           wire_maybe_number(&p->take, data, "master_id", &p->reply.master_id);
}

/* What carve() will be asked for, at most. */
static size_t room(const struct wire_json *json)
{
    const json_t *result = json_object_get(json->root, "result");
    const json_t *base64 = json_object_get(result, "content_base64");
    return sizeof(struct wire_status) + sizeof(struct wire_claim) +
           json_array_size(json_object_get(result, "members")) * sizeof(struct wire_member) +
           json_array_size(json_object_get(result, "entries")) * sizeof(struct wire_child) +
           room_for_locks(json_object_get(result, "locks")) +
           wire_base64_bound(json_string_length(base64)) + WIRE_ID_MAX;
}

static bool parse(struct parse *p, struct wire_memory *m, enum wire_method method,
                  const struct wire_json *json)
{
    p->take.at = wire_scratch(m, room(json));
    if (p->take.at == NULL) {
        snprintf(p->take.detail, WIRE_DETAIL_MAX, "out of memory");
        return false;
    }
    const json_t *result = json_object_get(json->root, "result");
    const json_t *error = json_object_get(json->root, "error");
    if (!wire_json_id(json)) {
        return wire_take_refuse(&p->take, "id");
    }
    if (json_is_object(result) == json_is_object(error)) {
        return wire_take_refuse(&p->take, "result");
    }
    if (!(json_is_object(error) ? take_error(p, method, error)
                                : take_result(p, method, result))) {
        return false;
    }
    char *id = wire_carve(&p->take, json->id.size);
    memcpy(id, json->id.data, json->id.size);
    p->reply.id = wire_text_of(id, json->id.size);
    assert(p->take.at <= m->scratch + m->scratch_capacity);
    return true;
}

bool wire_parse_reply(struct wire_memory *m, enum wire_method method, struct wire_text line,
                      struct wire_reply *ret_reply, char ret_detail[WIRE_DETAIL_MAX])
{
    struct wire_json json;
    if (wire_json_load(m, line, &json, ret_detail) != WIRE_OK) {
        return false;
    }
    struct parse p = {.take = {.detail = ret_detail}, .reply = {.error = WIRE_OK}};
    if (!parse(&p, m, method, &json)) {
        return false;
    }
    *ret_reply = p.reply;
    return true;
}
