/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_reply.c -- a server's line as the reply to a request.
 *
 * What we know must have the right form; what we don't know is passed over, so
 * that a newer cell may say more.  (Requests are the other way round: there an
 * unknown member is refused.)  An error that this client has no word for counts
 * as WIRE_UNKNOWN_OUTCOME, because that is what is known of it.
 */
#include "libclient/wire_json.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct parse {
    struct wire_reply reply;
    char *at; /* Next free octet of the scratch block, whose size take_room() computed. */
    char *detail;
};

/* False, so that a reader can `return refuse(...)`. */
static bool refuse(struct parse *p, const char *name)
{
    snprintf(p->detail, WIRE_DETAIL_MAX, "the server's reply lacks a proper \"%s\"", name);
    return false;
}

/* Cuts `size` octets off the scratch block.  Structs come first, so they are
 * aligned as the block is. */
static void *carve(struct parse *p, size_t size)
{
    char *at = p->at;
    p->at += size;
    return at;
}

/* ------------------------------------------------------------------- pieces */

static bool take_number(struct parse *p, const json_t *object, const char *name,
                        uint64_t *ret_number)
{
    return wire_json_number(json_object_get(object, name), ret_number) || refuse(p, name);
}

static bool take_text(struct parse *p, const json_t *object, const char *name,
                      struct wire_text *ret_text)
{
    return wire_json_text(json_object_get(object, name), ret_text) || refuse(p, name);
}

static bool take_bool(struct parse *p, const json_t *object, const char *name, bool *ret_bool)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_boolean(value)) {
        return refuse(p, name);
    }
    *ret_bool = json_is_true(value);
    return true;
}

/* A member that may be missing, but if it is there has the right form. */
static bool maybe_number(struct parse *p, const json_t *object, const char *name,
                         uint64_t *ret_number)
{
    return json_object_get(object, name) == NULL || take_number(p, object, name, ret_number);
}

static bool maybe_text(struct parse *p, const json_t *object, const char *name,
                       struct wire_text *ret_text)
{
    return json_object_get(object, name) == NULL || take_text(p, object, name, ret_text);
}

static bool take_hex(struct parse *p, const json_t *object, const char *name,
                     uint64_t *ret_number)
{
    struct wire_text text;
    return (wire_json_text(json_object_get(object, name), &text) &&
            wire_hex_decode(text, ret_number)) ||
           refuse(p, name);
}

static bool take_stat(struct parse *p, const json_t *object, struct wire_stat *ret_stat)
{
    const json_t *stat = json_object_get(object, "stat");
    struct wire_text kind;
    if (!json_is_object(stat)) {
        return refuse(p, "stat");
    }
    if (!take_text(p, stat, "kind", &kind) || !wire_kind_of(kind, &ret_stat->kind)) {
        return refuse(p, "kind");
    }
    return take_number(p, stat, "instance", &ret_stat->instance) &&
           take_number(p, stat, "generation", &ret_stat->generation) &&
           take_number(p, stat, "lock_generation", &ret_stat->lock_generation) &&
           take_number(p, stat, "acl_generation", &ret_stat->acl_generation) &&
           take_hex(p, stat, "checksum", &ret_stat->checksum) &&
           take_number(p, stat, "revision", &ret_stat->revision) &&
           take_number(p, stat, "modified_ms", &ret_stat->modified_ms) &&
           take_number(p, stat, "size", &ret_stat->size) &&
           maybe_number(p, stat, "children", &ret_stat->children);
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
        return refuse(p, "index");
    }
    p->reply.has_position = true;
    return take_number(p, object, "epoch", &p->reply.epoch) &&
           take_number(p, object, "revision", &p->reply.revision);
}

static bool take_content(struct parse *p, const json_t *result)
{
    p->reply.has_content = true;
    const json_t *base64 = json_object_get(result, "content_base64");
    if (base64 == NULL) {
        return take_text(p, result, "content", &p->reply.content);
    }
    struct wire_text text;
    if (!wire_json_text(base64, &text)) {
        return refuse(p, "content_base64");
    }
    char *octets = carve(p, wire_base64_bound(text.size));
    p->reply.content.data = octets;
    return wire_base64_decode(text, octets, &p->reply.content.size) ||
           refuse(p, "content_base64");
}

static bool take_entries(struct parse *p, const json_t *result)
{
    const json_t *entries = json_object_get(result, "entries");
    if (!json_is_array(entries)) {
        return refuse(p, "entries");
    }
    const size_t count = json_array_size(entries);
    struct wire_child *children = carve(p, count * sizeof *children);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(entries, i);
        children[i] = (struct wire_child){.name = {.data = NULL}};
        if (!take_text(p, entry, "name", &children[i].name) ||
            !take_stat(p, entry, &children[i].stat)) {
            return false;
        }
    }
    p->reply.children = children;
    p->reply.children_count = (uint32_t)count;
    return take_bool(p, result, "more", &p->reply.more);
}

/* -------------------------------------------------------- sessions and locks */

static bool take_credential(struct parse *p, const json_t *result)
{
    struct wire_text text;
    return (wire_json_text(json_object_get(result, "session"), &text) &&
            wire_credential_of(text, &p->reply.session, &p->reply.secret)) ||
           refuse(p, "session");
}

static bool take_claim(struct parse *p, const json_t *object, struct wire_claim *ret_claim)
{
    struct wire_text mode;
    *ret_claim = (struct wire_claim){.held = false};
    if (!take_text(p, object, "mode", &mode) || !wire_mode_of(mode, &ret_claim->mode)) {
        return refuse(p, "mode");
    }
    return take_bool(p, object, "held", &ret_claim->held) &&
           take_hex(p, object, "session", &ret_claim->session) &&
           take_text(p, object, "label", &ret_claim->label) &&
           take_number(p, object, "handle", &ret_claim->handle) &&
           (!ret_claim->held || take_number(p, object, "token", &ret_claim->token)) &&
           take_number(p, object, "since_ms", &ret_claim->since_ms);
}

static bool take_lock(struct parse *p, const json_t *object, struct wire_lock *ret_lock)
{
    const json_t *array = json_object_get(object, "claims");
    *ret_lock = (struct wire_lock){.name = {.data = NULL}};
    if (!json_is_array(array)) {
        return refuse(p, "claims");
    }
    const size_t count = json_array_size(array);
    struct wire_claim *claims = carve(p, count * sizeof *claims);
    for (size_t i = 0; i < count; i++) {
        if (!take_claim(p, json_array_get(array, i), &claims[i])) {
            return false;
        }
    }
    ret_lock->claims = claims;
    ret_lock->claims_count = (uint32_t)count;
    return take_text(p, object, "name", &ret_lock->name) &&
           take_number(p, object, "instance", &ret_lock->instance) &&
           take_bool(p, object, "more", &ret_lock->more);
}

static bool take_locks(struct parse *p, const json_t *result)
{
    const json_t *array = json_object_get(result, "locks");
    if (!json_is_array(array)) {
        return refuse(p, "locks");
    }
    const size_t count = json_array_size(array);
    struct wire_lock *locks = carve(p, count * sizeof *locks);
    for (size_t i = 0; i < count; i++) {
        if (!take_lock(p, json_array_get(array, i), &locks[i])) {
            return false;
        }
    }
    p->reply.locks = locks;
    p->reply.locks_count = (uint32_t)count;
    return take_bool(p, result, "more", &p->reply.more) &&
           (!p->reply.more || take_number(p, result, "next", &p->reply.next_instance));
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
    return take_number(p, object, "id", &ret_member->id) &&
           take_text(p, object, "peer", &ret_member->peer) &&
           maybe_text(p, object, "client", &ret_member->client) &&
           take_bool(p, object, "heard", &ret_member->heard) &&
           maybe_number(p, object, "heard_ms_ago", &ret_member->heard_ms_ago) &&
           maybe_number(p, object, "durable_slot", &ret_member->durable_slot);
}

static bool take_members(struct parse *p, const json_t *result, struct wire_status *ret_status)
{
    const json_t *members = json_object_get(result, "members");
    if (!json_is_array(members)) {
        return refuse(p, "members");
    }
    const size_t count = json_array_size(members);
    struct wire_member *array = carve(p, count * sizeof *array);
    for (size_t i = 0; i < count; i++) {
        if (!take_member(p, json_array_get(members, i), &array[i])) {
            return false;
        }
    }
    ret_status->members = array;
    ret_status->members_count = (uint32_t)count;
    return true;
}

static bool take_status(struct parse *p, const json_t *r)
{
    struct wire_status *s = carve(p, sizeof *s);
    *s = (struct wire_status){.replica = 0};
    p->reply.status = s;
    s->survives_known = json_object_get(r, "survives") != NULL;
    return take_members(p, r, s) && take_text(p, r, "version", &s->version) &&
           take_text(p, r, "cell", &s->cell) && take_text(p, r, "cell_id", &s->cell_id) &&
           take_number(p, r, "replica", &s->replica) && take_text(p, r, "role", &s->role) &&
           take_bool(p, r, "serving", &s->serving) &&
           maybe_number(p, r, "master_id", &s->master) &&
           maybe_text(p, r, "master", &s->master_address) &&
           take_number(p, r, "epoch", &s->epoch) &&
           take_number(p, r, "revision", &s->revision) &&
           take_number(p, r, "slot_chosen", &s->slot_chosen) &&
           take_number(p, r, "slot_applied", &s->slot_applied) &&
           take_number(p, r, "slot_last", &s->slot_last) &&
           take_number(p, r, "slot_tables", &s->slot_tables) &&
           take_number(p, r, "log_first", &s->log_first) &&
           take_number(p, r, "nodes", &s->nodes) &&
           take_number(p, r, "content_bytes", &s->content_bytes) &&
           take_number(p, r, "memory_bytes", &s->memory_bytes) &&
           take_text(p, r, "digest", &s->digest) &&
           take_bool(p, r, "low_space", &s->low_space) &&
           maybe_number(p, r, "survives", &s->survives);
}

/* ------------------------------------------------------------------- replies */

static bool take_result(struct parse *p, enum wire_method method, const json_t *result)
{
    p->reply.method = method;
    switch (method) {
    case WIRE_NODE_GET:
        return take_content(p, result) && take_stat_of_reply(p, result) &&
               take_position(p, result);
    case WIRE_NODE_PUT:
        return take_stat_of_reply(p, result) &&
               take_bool(p, result, "created", &p->reply.created) && take_position(p, result);
    case WIRE_NODE_CREATE:
    case WIRE_NODE_STAT:
        return take_stat_of_reply(p, result) && take_position(p, result);
    case WIRE_NODE_LIST:
        return take_entries(p, result) && take_position(p, result);
    case WIRE_NODE_DELETE:
    case WIRE_SESSION_CLOSE:
    case WIRE_LOCK_RELEASE:
    case WIRE_LOCK_CANCEL:
        return take_position(p, result);
    case WIRE_SESSION_OPEN:
        return take_credential(p, result) &&
               take_number(p, result, "lease_ms", &p->reply.lease_ms) &&
               take_position(p, result);
    case WIRE_SESSION_KEEPALIVE:
        return take_number(p, result, "lease_ms", &p->reply.lease_ms) &&
               take_position(p, result);
    case WIRE_LOCK_ACQUIRE:
        return take_number(p, result, "token", &p->reply.token) &&
               take_text(p, result, "sequencer", &p->reply.sequencer) &&
               take_position(p, result);
    case WIRE_LOCK_LIST:
        return take_locks(p, result) && take_position(p, result);
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
        return refuse(p, "code");
    }
    if (!take_text(p, error, "message", &p->reply.message)) {
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
    return maybe_text(p, data, "master", &p->reply.master) &&
           maybe_number(p, data, "master_id", &p->reply.master_id);
}

/* What carve() will be asked for, at most. */
static size_t room(const struct wire_json *json)
{
    const json_t *result = json_object_get(json->root, "result");
    const json_t *base64 = json_object_get(result, "content_base64");
    return sizeof(struct wire_status) +
           json_array_size(json_object_get(result, "members")) * sizeof(struct wire_member) +
           json_array_size(json_object_get(result, "entries")) * sizeof(struct wire_child) +
           room_for_locks(json_object_get(result, "locks")) +
           wire_base64_bound(json_string_length(base64)) + WIRE_ID_MAX;
}

static bool parse(struct parse *p, struct wire_memory *m, enum wire_method method,
                  const struct wire_json *json)
{
    p->at = wire_scratch(m, room(json));
    if (p->at == NULL) {
        snprintf(p->detail, WIRE_DETAIL_MAX, "out of memory");
        return false;
    }
    const json_t *result = json_object_get(json->root, "result");
    const json_t *error = json_object_get(json->root, "error");
    if (!wire_json_id(json)) {
        return refuse(p, "id");
    }
    if (json_is_object(result) == json_is_object(error)) {
        return refuse(p, "result");
    }
    if (!(json_is_object(error) ? take_error(p, method, error)
                                : take_result(p, method, result))) {
        return false;
    }
    char *id = carve(p, json->id.size);
    memcpy(id, json->id.data, json->id.size);
    p->reply.id = wire_text_of(id, json->id.size);
    assert(p->at <= m->scratch + m->scratch_capacity);
    return true;
}

bool wire_parse_reply(struct wire_memory *m, enum wire_method method, struct wire_text line,
                      struct wire_reply *ret_reply, char ret_detail[WIRE_DETAIL_MAX])
{
    struct wire_json json;
    if (wire_json_load(m, line, &json, ret_detail) != WIRE_OK) {
        return false;
    }
    struct parse p = {.reply = {.error = WIRE_OK}, .detail = ret_detail};
    if (!parse(&p, m, method, &json)) {
        return false;
    }
    *ret_reply = p.reply;
    return true;
}
