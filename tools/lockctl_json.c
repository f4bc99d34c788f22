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

bool is_text(const char *octets, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)octets[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            return false;
        }
    }
    json_t *probe = json_stringn(octets, size); /* Refuses what is not UTF-8. */
    json_decref(probe);
    return probe != NULL;
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

static void set_content(json_t *object, const struct lockd_answer *answer)
{
    const size_t size = answer->content_size;
    const char *content = size > 0 ? answer->content : "";
    if (is_text(content, size)) {
        json_object_set_new(object, "content", json_stringn(content, size));
    } else {
        json_object_set_new(object, "content_base64",
                            base64_of((const unsigned char *)content, size));
    }
}

static json_t *stat_of(const struct lockd_stat *stat)
{
    char checksum[17];
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)stat->checksum);
    json_t *object = json_object();
    json_object_set_new(object, "kind",
                        json_string(stat->kind == LOCKD_DIRECTORY ? "directory" : "file"));
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
    return object;
}

static json_t *claim_of(const struct lockd_claim *claim)
{
    json_t *object = json_object();
    json_object_set_new(object, "held", json_boolean(claim->held));
    json_object_set_new(object, "mode",
                        json_string(claim->mode == LOCKD_SHARED ? "shared" : "exclusive"));
    json_object_set_new(object, "session", json_string(claim->session));
    json_object_set_new(object, "label", json_string(claim->label));
    if (claim->held) {
        set_number(object, "token", claim->token);
    }
    set_number(object, "since_ms", claim->since_ms);
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

void print_json_result(const struct lockd_answer *answer, enum result result)
{
    json_t *object = json_object();
    if (result == RESULT_CONTENT) {
        set_content(object, answer);
    }
    if (result != RESULT_DELETE && answer->has_stat) {
        json_object_set_new(object, "stat", stat_of(&answer->stat));
    }
    if (result == RESULT_PUT) {
        json_object_set_new(object, "created", json_boolean(answer->created));
    }
    if (result == RESULT_CONTENT || result == RESULT_STAT) {
        json_object_set_new(object, "level", json_string("linearizable"));
    }
    set_number(object, "epoch", answer->epoch);
    set_number(object, "revision", answer->revision);
    json_t *index = json_array();
    json_array_append_new(index, json_integer((json_int_t)answer->slot));
    json_array_append_new(index, json_integer((json_int_t)answer->position));
    json_object_set_new(object, "index", index);
    print_line(object);
}

void print_json_entry(const struct lockd_entry *entry)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(entry->name));
    json_object_set_new(object, "stat", stat_of(&entry->stat));
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
