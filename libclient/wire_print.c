/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_print.c -- replies as lines.
 *
 * Everything printed goes through wire_append() into the caller's buffer, in
 * one pass and in the order in which it stands on the wire.  The order of
 * members is fixed, so equal replies are equal octets; clients must not rely on
 * it.
 */
#include "libclient/wire_text.h"

#include <assert.h>
#include <string.h>

/* A page of a list ends here, so that any entry and the reply's tail still fit
 * into a line. */
enum { LIST_OCTETS_MAX = WIRE_LINE_MAX - 8192 };

/* ------------------------------------------------------------------- pieces */

static void put_stat(struct wire_buffer *b, const struct wire_stat *stat)
{
    assert(stat->kind == WIRE_FILE || stat->kind == WIRE_DIRECTORY);
    if (stat->kind == WIRE_DIRECTORY) {
        WIRE_PUT(b, "\"stat\":{\"kind\":\"directory\"");
    } else {
        WIRE_PUT(b, "\"stat\":{\"kind\":\"file\"");
    }
    PUT_NUMBER(b, "instance", stat->instance);
    PUT_NUMBER(b, "generation", stat->generation);
    PUT_NUMBER(b, "lock_generation", stat->lock_generation);
    PUT_NUMBER(b, "acl_generation", stat->acl_generation);
    WIRE_PUT(b, ",\"checksum\":");
    wire_put_hex(b, stat->checksum);
    PUT_NUMBER(b, "revision", stat->revision);
    PUT_NUMBER(b, "modified_ms", stat->modified_ms);
    PUT_NUMBER(b, "size", stat->size);
    if (stat->kind == WIRE_DIRECTORY) {
        PUT_NUMBER(b, "children", stat->children);
    }
    if (stat->lock_token != 0) {
        PUT_NUMBER(b, "lock_token", stat->lock_token);
    }
    if (stat->ephemeral) {
        PUT_BOOL(b, "ephemeral", true);
    }
    WIRE_PUT(b, "}");
}

/* Epoch, revision and index; `first`: nothing stands before them in the object. */
static void put_position(struct wire_buffer *b, const struct wire_reply *reply, bool first)
{
    if (!first) {
        WIRE_PUT(b, ",");
    }
    WIRE_PUT(b, "\"epoch\":");
    wire_put_number(b, reply->epoch);
    PUT_NUMBER(b, "revision", reply->revision);
    WIRE_PUT(b, ",\"index\":[");
    wire_put_number(b, reply->slot);
    WIRE_PUT(b, ",");
    wire_put_number(b, reply->position);
    WIRE_PUT(b, "]");
}

/* How new the state was that answered a read, and whether the answer may be kept. */
static void put_level(struct wire_buffer *b, const struct wire_reply *reply)
{
    if (reply->level == WIRE_LINEARIZABLE) {
        WIRE_PUT(b, ",\"level\":\"linearizable\"");
    } else {
        PUT_STRING(b, "level", wire_word(wire_level_name(reply->level)));
    }
    if (reply->has_age) {
        PUT_NUMBER(b, "age_ms", reply->age_ms);
    }
    if (reply->cached) {
        PUT_NUMBER(b, "cached", reply->cache_number);
    }
}

static void put_cache_ms(struct wire_buffer *b, const struct wire_reply *reply)
{
    if (reply->cache_ms != 0) {
        PUT_NUMBER(b, "cache_ms", reply->cache_ms);
    }
}

static void put_acl(struct wire_buffer *b, const struct wire_reply *reply)
{
    assert(reply->has_acl);
    WIRE_PUT(b, "\"acl\":{");
    for (unsigned i = 0; i < WIRE_RIGHTS; i++) {
        if (i > 0) {
            WIRE_PUT(b, ",");
        }
        wire_put_string(b, wire_word(wire_right_name(i)));
        WIRE_PUT(b, ":");
        wire_put_string(b, reply->acl[i]);
    }
    WIRE_PUT(b, "}");
}

/* Of one that the caller may not read only what the directory itself tells. */
static void put_child(struct wire_buffer *b, const struct wire_child *child)
{
    WIRE_PUT(b, "{\"name\":");
    wire_put_string(b, child->name);
    if (child->denied) {
        PUT_STRING(b, "kind", wire_word(wire_kind_word(child->stat.kind)));
        PUT_BOOL(b, "denied", true);
    } else {
        WIRE_PUT(b, ",");
        put_stat(b, &child->stat);
    }
    WIRE_PUT(b, "}");
}

/* As many as fit into a line; false: not all. */
static bool put_children(struct wire_buffer *b, const struct wire_reply *reply,
                         size_t line_from)
{
    WIRE_PUT(b, "\"entries\":[");
    uint32_t count = 0;
    while (count < reply->children_count && b->size - line_from <= LIST_OCTETS_MAX) {
        if (count > 0) {
            WIRE_PUT(b, ",");
        }
        put_child(b, &reply->children[count]);
        count++;
    }
    WIRE_PUT(b, "]");
    return count == reply->children_count;
}

static void put_claim(struct wire_buffer *b, const struct wire_claim *claim)
{
    if (claim->held) {
        WIRE_PUT(b, "{\"held\":true");
    } else {
        WIRE_PUT(b, "{\"held\":false");
    }
    if (claim->delayed) {
        PUT_BOOL(b, "delayed", true);
    }
    PUT_STRING(b, "mode", wire_word(wire_mode_word(claim->mode)));
    WIRE_PUT(b, ",\"session\":");
    wire_put_hex(b, claim->session);
    PUT_STRING(b, "label", claim->label);
    PUT_NUMBER(b, "handle", claim->handle);
    if (claim->held || claim->delayed) {
        PUT_NUMBER(b, "token", claim->token);
        if (claim->delay_ms != 0) {
            PUT_NUMBER(b, "lock_delay_ms", claim->delay_ms);
        }
    }
    if (claim->delayed) {
        PUT_NUMBER(b, "left_ms", claim->left_ms);
    }
    PUT_NUMBER(b, "since_ms", claim->since_ms);
    WIRE_PUT(b, "}");
}

/* A lock with as many of its claims as fit into a line. */
static void put_lock(struct wire_buffer *b, const struct wire_lock *lock, size_t line_from)
{
    WIRE_PUT(b, "{\"name\":");
    wire_put_string(b, lock->name);
    PUT_NUMBER(b, "instance", lock->instance);
    WIRE_PUT(b, ",\"claims\":[");
    uint32_t count = 0;
    while (count < lock->claims_count && b->size - line_from <= LIST_OCTETS_MAX) {
        if (count > 0) {
            WIRE_PUT(b, ",");
        }
        put_claim(b, &lock->claims[count]);
        count++;
    }
    WIRE_PUT(b, "]");
    PUT_BOOL(b, "more", lock->more || count < lock->claims_count);
    WIRE_PUT(b, "}");
}

/* As many as fit; the page then goes on behind the last of them. */
static void put_locks(struct wire_buffer *b, const struct wire_reply *reply, size_t line_from)
{
    WIRE_PUT(b, "\"locks\":[");
    uint32_t count = 0;
    while (count < reply->locks_count && b->size - line_from <= LIST_OCTETS_MAX) {
        if (count > 0) {
            WIRE_PUT(b, ",");
        }
        put_lock(b, &reply->locks[count], line_from);
        count++;
    }
    WIRE_PUT(b, "]");
    const bool all = count == reply->locks_count;
    PUT_BOOL(b, "more", reply->more || !all);
    if (reply->more || !all) {
        PUT_NUMBER(b, "next", all ? reply->next_instance : reply->locks[count - 1].instance);
    }
}

static void put_member(struct wire_buffer *b, const struct wire_member *member)
{
    WIRE_PUT(b, "{\"id\":");
    wire_put_number(b, member->id);
    PUT_STRING(b, "peer", member->peer);
    if (member->client.size > 0) {
        PUT_STRING(b, "client", member->client);
    }
    PUT_BOOL(b, "heard", member->heard);
    if (member->heard) {
        PUT_NUMBER(b, "heard_ms_ago", member->heard_ms_ago);
    }
    if (member->durable_slot > 0) {
        PUT_NUMBER(b, "durable_slot", member->durable_slot);
    }
    WIRE_PUT(b, "}");
}

/* How much of everything there is. */
static void put_counts(struct wire_buffer *b, const struct wire_status *s)
{
    PUT_NUMBER(b, "nodes", s->nodes);
    PUT_NUMBER(b, "content_bytes", s->content_bytes);
    PUT_NUMBER(b, "memory_bytes", s->memory_bytes);
    PUT_NUMBER(b, "sessions", s->sessions);
    PUT_NUMBER(b, "locks_held", s->locks_held);
    PUT_NUMBER(b, "locks_waiting", s->locks_waiting);
    PUT_NUMBER(b, "locks_delayed", s->locks_delayed);
    PUT_NUMBER(b, "opens", s->opens);
    PUT_NUMBER(b, "watches", s->watches);
    PUT_NUMBER(b, "history_bytes", s->history_bytes);
    PUT_NUMBER(b, "history_floor", s->history_floor);
    PUT_NUMBER(b, "cached", s->cached);
    PUT_NUMBER(b, "held", s->held);
    if (s->stretch_ms != 0) {
        PUT_NUMBER(b, "stretch_ms", s->stretch_ms);
    }
}

static void put_status(struct wire_buffer *b, const struct wire_status *s)
{
    WIRE_PUT(b, "\"version\":");
    wire_put_string(b, s->version);
    PUT_STRING(b, "cell", s->cell);
    PUT_STRING(b, "cell_id", s->cell_id);
    PUT_NUMBER(b, "replica", s->replica);
    PUT_STRING(b, "role", s->role);
    PUT_BOOL(b, "serving", s->serving);
    if (s->master > 0) {
        PUT_NUMBER(b, "master_id", s->master);
    }
    if (s->master_address.size > 0) {
        PUT_STRING(b, "master", s->master_address);
    }
    PUT_NUMBER(b, "epoch", s->epoch);
    PUT_NUMBER(b, "revision", s->revision);
    if (s->has_age) {
        PUT_NUMBER(b, "age_ms", s->age_ms);
    }
    PUT_NUMBER(b, "slot_chosen", s->slot_chosen);
    PUT_NUMBER(b, "slot_applied", s->slot_applied);
    PUT_NUMBER(b, "slot_last", s->slot_last);
    PUT_NUMBER(b, "slot_tables", s->slot_tables);
    PUT_NUMBER(b, "log_first", s->log_first);
    put_counts(b, s);
    PUT_STRING(b, "digest", s->digest);
    PUT_BOOL(b, "low_space", s->low_space);
    if (s->survives_known) {
        PUT_NUMBER(b, "survives", s->survives);
    }
    WIRE_PUT(b, ",\"members\":[");
    for (uint32_t i = 0; i < s->members_count; i++) {
        if (i > 0) {
            WIRE_PUT(b, ",");
        }
        put_member(b, &s->members[i]);
    }
    WIRE_PUT(b, "]");
}

/* ------------------------------------------------------------------ replies */

/* The members of `result`.  Each branch ends where the position follows. */
static void put_result(struct wire_buffer *b, const struct wire_reply *reply, size_t line_from)
{
    bool first = false;
    switch (reply->method) {
    case WIRE_NODE_GET:
        wire_put_content(b, reply->content);
        WIRE_PUT(b, ",");
        put_stat(b, &reply->stat);
        put_level(b, reply);
        break;
    case WIRE_NODE_STAT:
        put_stat(b, &reply->stat);
        put_level(b, reply);
        break;
    case WIRE_NODE_GET_ACL:
        put_acl(b, reply);
        put_level(b, reply);
        break;
    case WIRE_NODE_LIST: {
        const bool all = put_children(b, reply, line_from);
        PUT_BOOL(b, "more", reply->more || !all);
        put_level(b, reply);
        break;
    }
    case WIRE_NODE_PUT:
    case WIRE_NODE_OPEN:
        put_stat(b, &reply->stat);
        PUT_BOOL(b, "created", reply->created);
        break;
    case WIRE_NODE_CREATE:
    case WIRE_NODE_SET_ACL:
        put_stat(b, &reply->stat);
        break;
    case WIRE_NODE_DELETE:
    case WIRE_SESSION_CLOSE:
    case WIRE_LOCK_RELEASE:
    case WIRE_LOCK_CANCEL:
    case WIRE_NODE_CLOSE:
    case WIRE_WATCH_ADD:
    case WIRE_WATCH_REMOVE:
    case WIRE_CACHE_ACK:
        first = true;
        break;
    case WIRE_SESSION_OPEN:
        wire_put_credential(b, reply->session, reply->secret);
        WIRE_PUT(b, ",\"session_id\":");
        wire_put_hex(b, reply->session);
        PUT_NUMBER(b, "lease_ms", reply->lease_ms);
        put_cache_ms(b, reply);
        break;
    case WIRE_SESSION_KEEPALIVE:
        WIRE_PUT(b, "\"lease_ms\":");
        wire_put_number(b, reply->lease_ms);
        put_cache_ms(b, reply);
        break;
    case WIRE_CACHE_BEGIN:
        WIRE_PUT(b, "\"number\":");
        wire_put_number(b, reply->cache_number);
        put_cache_ms(b, reply);
        break;
    case WIRE_LOCK_ACQUIRE:
        WIRE_PUT(b, "\"token\":");
        wire_put_number(b, reply->token);
        PUT_STRING(b, "sequencer", reply->sequencer);
        break;
    case WIRE_LOCK_LIST:
        put_locks(b, reply, line_from);
        WIRE_PUT(b, ",\"level\":\"linearizable\"");
        break;
    case WIRE_LOCK_CHECK:
        if (reply->valid) {
            WIRE_PUT(b, "\"valid\":true");
        } else {
            WIRE_PUT(b, "\"valid\":false");
        }
        WIRE_PUT(b, ",\"level\":\"linearizable\"");
        break;
    case WIRE_CELL_STATUS:
        /* Has an epoch and a revision of its own, as this replica sees them. */
        put_status(b, reply->status);
        return;
    case WIRE_NO_METHOD:
    default:
        assert(false);
    }
    if (reply->has_position) {
        put_position(b, reply, first);
    }
}

/* `"error":{...` up to the members of data behind its code. */
static void put_error_head(struct wire_buffer *b, enum wire_error error,
                           struct wire_text message)
{
    assert(error != WIRE_OK);
    const int code = wire_error_code(error);
    assert(code < 0);
    WIRE_PUT(b, "\"error\":{\"code\":-");
    wire_put_number(b, (uint64_t)-code);
    PUT_STRING(b, "message", message.size > 0 ? message : wire_word(wire_error_text(error)));
    WIRE_PUT(b, ",\"data\":{\"code\":");
    wire_put_string(b, wire_word(wire_error_name(error)));
}

static void put_error(struct wire_buffer *b, const struct wire_reply *reply)
{
    put_error_head(b, reply->error, reply->message);
    if (reply->master.size > 0) {
        PUT_STRING(b, "master", reply->master);
    }
    if (reply->master_id > 0) {
        PUT_NUMBER(b, "master_id", reply->master_id);
    }
    if (reply->level != WIRE_LINEARIZABLE || reply->cached) {
        put_level(b, reply);
    }
    if (reply->has_position) {
        put_position(b, reply, false);
    }
    if (reply->has_stat) {
        WIRE_PUT(b, ",");
        put_stat(b, &reply->stat);
    }
    if (reply->error == WIRE_LOCK_DELAY) {
        PUT_NUMBER(b, "left_ms", reply->left_ms);
    }
    if (reply->holder != NULL) {
        WIRE_PUT(b, ",\"holder\":");
        put_claim(b, reply->holder);
    }
    WIRE_PUT(b, "}}");
}

static void put_reply_head(struct wire_buffer *b, struct wire_text id)
{
    assert(id.size > 0 && id.size <= WIRE_ID_MAX);
    WIRE_PUT(b, "{\"jsonrpc\":\"2.0\",\"id\":");
    wire_append(b, id.data, id.size);
    WIRE_PUT(b, ",");
}

void wire_print_reply(struct wire_buffer *b, const struct wire_reply *reply)
{
    const size_t line_from = b->size;
    put_reply_head(b, reply->id);
    if (reply->error != WIRE_OK) {
        put_error(b, reply);
    } else {
        WIRE_PUT(b, "\"result\":{");
        put_result(b, reply, line_from);
        WIRE_PUT(b, "}");
    }
    WIRE_PUT(b, "}\n");
}

void wire_print_refusal(struct wire_buffer *b, const struct wire_refusal *refusal)
{
    put_reply_head(b, wire_word(refusal->id));
    put_error_head(b, refusal->error, wire_word(refusal->detail));
    WIRE_PUT(b, "}}}\n");
}
