/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_json.c -- answers as JSON, in the words of docs/protocol.md.
 *
 * Whoever reads `lockctl -o json` meets the same members as on the wire.
 */
#include "tools/lockctl.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- values */

bool is_utf8(const char *octets, size_t size)
{
    json_t *probe = json_stringn(octets, size); /* Refuses what is not. */
    json_decref(probe);
    return probe != NULL;
}

bool is_text(const char *octets, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)octets[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            return false;
        }
    }
    return is_utf8(octets, size);
}

/* Numbers of a cell stay below 2^53. */
static void set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

static json_t *base64_of(const unsigned char *octets, size_t size)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t text_size = (size + 2) / 3 * 4;
    char *text = malloc(text_size + 1);
    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0, at = 0; i < size; i += 3, at += 4) {
        const size_t left = size - i;
        const uint32_t bits = (uint32_t)octets[i] << 16 |
                              (left > 1 ? (uint32_t)octets[i + 1] << 8 : 0) |
                              (left > 2 ? (uint32_t)octets[i + 2] : 0);
        text[at] = digits[bits >> 18];
        text[at + 1] = digits[bits >> 12 & 63];
        text[at + 2] = left > 1 ? digits[bits >> 6 & 63] : '=';
        text[at + 3] = left > 2 ? digits[bits & 63] : '=';
    }
    json_t *value = json_stringn(text, text_size);
    free(text);
    return value;
}

/* As member `key` if it is text, else as `key`_base64. */
static void set_octets(json_t *object, const char *key, const void *octets, size_t size)
{
    char other[32];
    const char *content = size > 0 ? octets : "";
    snprintf(other, sizeof other, "%s_base64", key);
    if (is_text(content, size)) {
        json_object_set_new(object, key, json_stringn(content, size));
    } else {
        json_object_set_new(object, other, base64_of((const unsigned char *)content, size));
    }
}

static json_t *kind_of(enum lockd_kind kind)
{
    return json_string(kind == LOCKD_DIRECTORY ? "directory" : "file");
}

const char *level_text(enum lockd_level level)
{
    switch (level) {
    case LOCKD_LINEARIZABLE:
        return "linearizable";
    case LOCKD_LEASE:
        return "lease";
    case LOCKD_SEQUENTIAL:
        return "sequential";
    case LOCKD_STALE:
        return "stale";
    }
    return "unknown";
}

static json_t *mode_of(enum lockd_mode mode)
{
    return json_string(mode == LOCKD_SHARED ? "shared" : "exclusive");
}

static json_t *stat_of(const struct lockd_stat *stat)
{
    char checksum[17];
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)stat->checksum);
    json_t *object = json_object();
    json_object_set_new(object, "kind", kind_of(stat->kind));
    set_number(object, "instance", stat->instance);
    set_number(object, "generation", stat->generation);
    set_number(object, "lock_generation", stat->lock_generation);
    set_number(object, "acl_generation", stat->acl_generation);
    json_object_set_new(object, "checksum", json_string(checksum));
    set_number(object, "revision", stat->revision);
    set_number(object, "modified_ms", stat->modified_ms);
    set_number(object, "size", stat->size);
    if (stat->kind == LOCKD_DIRECTORY) {
        set_number(object, "children", stat->children);
    }
    if (stat->lock_token > 0) {
        set_number(object, "lock_token", stat->lock_token);
    }
    if (stat->ephemeral) {
        json_object_set_new(object, "ephemeral", json_true());
    }
    return object;
}

static json_t *claim_of(const struct lockd_claim *claim)
{
    json_t *object = json_object();
    json_object_set_new(object, "held", json_boolean(claim->held));
    if (claim->delayed) {
        json_object_set_new(object, "delayed", json_true());
    }
    json_object_set_new(object, "mode", mode_of(claim->mode));
    json_object_set_new(object, "session", json_string(claim->session));
    json_object_set_new(object, "label", json_string(claim->label));
    if (claim->held || claim->delayed) {
        set_number(object, "token", claim->token);
    }
    set_number(object, "since_ms", claim->since_ms);
    if (claim->delay_ms > 0) {
        set_number(object, "lock_delay_ms", claim->delay_ms);
    }
    if (claim->delayed) {
        set_number(object, "left_ms", claim->left_ms);
    }
    return object;
}

/* --------------------------------------------------------------------- lines */

/* Prints and frees.  What could not be written shows in ferror(), at the end. */
static void print_line(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    fputc('\n', stdout);
    json_decref(object);
}

static json_t *acl_of(const struct lockd_acl *acl)
{
    json_t *object = json_object();
    json_object_set_new(object, "read", json_string(acl->read));
    json_object_set_new(object, "write", json_string(acl->write));
    json_object_set_new(object, "change", json_string(acl->change));
    return object;
}

/* What every answer of the cell says of itself; `read`: it shows a state. */
static void set_position(json_t *object, const struct lockd_answer *answer, bool read)
{
    if (read) {
        json_object_set_new(object, "level", json_string(level_text(answer->level)));
    }
    if (read && answer->has_age) {
        set_number(object, "age_ms", answer->age_ms);
    }
    set_number(object, "epoch", answer->epoch);
    set_number(object, "revision", answer->revision);
    json_t *index = json_array();
    json_array_append_new(index, json_integer((json_int_t)answer->slot));
    json_array_append_new(index, json_integer((json_int_t)answer->position));
    json_object_set_new(object, "index", index);
}

static json_t *result_of(const struct lockd_answer *answer, enum result result)
{
    json_t *object = json_object();
    if (result == RESULT_CONTENT) {
        set_octets(object, "content", answer->content, answer->content_size);
    }
    if (result == RESULT_ACL) {
        json_object_set_new(object, "acl", acl_of(answer->acl));
    } else if (result != RESULT_DELETE && answer->has_stat) {
        json_object_set_new(object, "stat", stat_of(&answer->stat));
    }
    if (result == RESULT_PUT) {
        json_object_set_new(object, "created", json_boolean(answer->created));
    }
    set_position(object, answer,
                 result == RESULT_CONTENT || result == RESULT_STAT || result == RESULT_ACL);
    return object;
}

void print_json_result(const struct lockd_answer *answer, enum result result)
{
    print_line(result_of(answer, result));
}

void print_json_read(const struct lockd_answer *answer, const char *error, uint64_t asked_us,
                     uint64_t took_us)
{
    json_t *object = NULL;
    if (error == NULL) {
        object = result_of(answer, RESULT_CONTENT);
    } else {
        object = json_object();
        json_object_set_new(object, "error", json_string(error));
        set_position(object, answer, /* read= */ true);
    }
    json_object_set_new(object, "cached", json_boolean(answer->cached));
    set_number(object, "asked_us", asked_us);
    set_number(object, "took_us", took_us);
    print_line(object);
}

void print_json_principals(const char *acl, const char *const *principals, size_t count)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(acl));
    if (principals == NULL) {
        json_object_set_new(object, "denied", json_true());
    } else {
        json_t *array = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(array, json_string(principals[i]));
        }
        json_object_set_new(object, "principals", array);
    }
    print_line(object);
}

void print_json_entry(const struct lockd_entry *entry)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(entry->name));
    if (entry->denied) {
        json_object_set_new(object, "kind", kind_of(entry->stat.kind));
        json_object_set_new(object, "denied", json_true());
    } else {
        json_object_set_new(object, "stat", stat_of(&entry->stat));
    }
    print_line(object);
}

void print_json_claims(const struct lockd_claims *claims)
{
    json_t *object = json_object();
    json_t *array = json_array();
    for (size_t i = 0; i < claims->count; i++) {
        json_array_append_new(array, claim_of(&claims->claims[i]));
    }
    json_object_set_new(object, "name", json_string(claims->name));
    json_object_set_new(object, "claims", array);
    json_object_set_new(object, "more", json_boolean(claims->more));
    print_line(object);
}

void print_json_lock(const struct lockd_lock *lock, const char *session)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(lockd_lock_name(lock)));
    set_number(object, "token", lockd_lock_token(lock));
    json_object_set_new(object, "sequencer", json_string(lockd_lock_sequencer(lock)));
    json_object_set_new(object, "session", json_string(session));
    print_line(object);
}

void print_json_handle(const struct lockd_handle *handle, const char *session, bool created)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(lockd_handle_name(handle)));
    set_number(object, "instance", lockd_handle_instance(handle));
    json_object_set_new(object, "created", json_boolean(created));
    json_object_set_new(object, "session", json_string(session));
    print_line(object);
}

void print_json_check(const char *sequencer, bool valid)
{
    json_t *object = json_object();
    json_object_set_new(object, "sequencer", json_string(sequencer));
    json_object_set_new(object, "valid", json_boolean(valid));
    print_line(object);
}

void print_json_leader(const char *name, const struct lockd_leader *leader)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(name));
    if (leader->token > 0) {
        set_number(object, "token", leader->token);
        set_octets(object, "value", leader->value, leader->size);
    } else {
        json_object_set_new(object, "token", json_null());
        json_object_set_new(object, "value", json_null());
    }
    set_number(object, "revision", leader->revision);
    print_line(object);
}

/* -------------------------------------------------------------------- events */

const char *change_text(enum lockd_change change)
{
    switch (change) {
    case LOCKD_CREATED:
        return "created";
    case LOCKD_WRITTEN:
        return "written";
    case LOCKD_DELETED:
        return "deleted";
    case LOCKD_ACL_CHANGED:
        return "acl_changed";
    case LOCKD_GRANTED:
        return "granted";
    case LOCKD_RELEASED:
        return "released";
    case LOCKD_CONTENDED:
        return "contended";
    case LOCKD_GAP:
        return "gap";
    }
    return "unknown";
}

/* What the cell did not keep is said to be left out. */
static void set_kept(json_t *object, const char *key, const void *octets, size_t size)
{
    char omitted[32];
    snprintf(omitted, sizeof omitted, "%s_omitted", key);
    if (octets != NULL) {
        set_octets(object, key, octets, size);
    } else {
        json_object_set_new(object, omitted, json_true());
    }
}

static void set_lock_event(json_t *object, const struct lockd_event *event)
{
    json_object_set_new(object, "session", json_string(event->session));
    json_object_set_new(object, "mode", mode_of(event->mode));
    if (event->change != LOCKD_CONTENDED) {
        set_number(object, "token", event->token);
    }
    if (event->failed) {
        json_object_set_new(object, "failed", json_true());
    }
    if (event->delay_ms > 0) {
        set_number(object, "lock_delay_ms", event->delay_ms);
    }
}

static void set_content_event(json_t *object, const struct lockd_event *event, bool content,
                              bool old)
{
    const bool deleted = event->change == LOCKD_DELETED;
    if (!deleted) {
        set_number(object, "generation", event->generation);
        set_number(object, "size", event->size);
    }
    if (content && !deleted) {
        set_kept(object, "content", event->content, event->content_size);
    }
    if (old && event->change != LOCKD_CREATED) {
        set_kept(object, "old_content", event->old_content, event->old_size);
    }
}

static void set_event(json_t *object, const struct lockd_event *event, bool content, bool old)
{
    if (event->count > 1) {
        set_number(object, "first_revision", event->first_revision);
        set_number(object, "count", event->count);
    }
    json_object_set_new(object, "name", json_string(event->name));
    json_object_set_new(object, "node_kind", kind_of(event->kind));
    set_number(object, "instance", event->instance);
    set_number(object, "modified_ms", event->modified_ms);
    if (event->ephemeral) {
        json_object_set_new(object, "ephemeral", json_true());
    }
    if (event->change == LOCKD_GRANTED || event->change == LOCKD_RELEASED ||
        event->change == LOCKD_CONTENDED) {
        set_lock_event(object, event);
    } else if (event->change != LOCKD_ACL_CHANGED && event->kind == LOCKD_FILE) {
        set_content_event(object, event, content, old);
    }
}

char *json_event(const struct lockd_event *event, bool content, bool old)
{
    json_t *object = json_object();
    json_object_set_new(object, "kind", json_string(change_text(event->change)));
    set_number(object, "revision", event->revision);
    if (event->change != LOCKD_GAP) {
        set_event(object, event, content, old);
    }
    char *line = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return line;
}
