/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_request.c -- a client's line as a request, or why not.
 *
 * The envelope stands here, the parameters in wire_params.c.  As there, an
 * unknown member is refused by name.
 */
#include "libclient/wire_params.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 64 /* Octets of a client's word that a refusal repeats. */ };

bool wire_refuse(struct wire_parse *p, enum wire_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->refusal.detail, sizeof p->refusal.detail, format, arguments);
    va_end(arguments);
    p->refusal.error = error;
    return false;
}

int wire_shown(const char *word)
{
    return (int)wire_clip(wire_text_of(word, strlen(word)), SHOWN_MAX);
}

/* ----------------------------------------------------------------- envelope */

static bool take_id(struct wire_parse *p, const struct wire_json *json)
{
    if (json_object_get(json->root, "id") == NULL) {
        return wire_refuse(
            p, WIRE_INVALID_REQUEST,
            "there is no \"id\": notifications are not served, as nobody would hear "
            "what became of them");
    }
    if (json->id.size == 0) {
        return wire_refuse(p, WIRE_INVALID_REQUEST, "write the member \"id\" without escapes");
    }
    if (!wire_json_id(json)) {
        return wire_refuse(
            p, WIRE_INVALID_REQUEST,
            "\"id\" must be a string or a number below 2^53, of at most %d octets",
            WIRE_ID_MAX);
    }
    memcpy(p->refusal.id, json->id.data, json->id.size);
    p->refusal.id[json->id.size] = 0;
    return true;
}

static bool take_method(struct wire_parse *p, const json_t *method)
{
    if (!json_is_string(method)) {
        return wire_refuse(p, WIRE_INVALID_REQUEST, "\"method\" must be a string");
    }
    const char *name = json_string_value(method);
#define METHOD_MATCH(id, word)                                                                 \
    if (strcmp(name, word) == 0) {                                                             \
        p->request.method = id;                                                                \
        return true;                                                                           \
    }
    WIRE_METHOD_MAP(METHOD_MATCH)
#undef METHOD_MATCH
    return wire_refuse(p, WIRE_METHOD_NOT_FOUND, "there is no method \"%.*s\"",
                       wire_shown(name), name);
}

static bool take_envelope(struct wire_parse *p, json_t *root)
{
    static const char *const members[] = {"jsonrpc", "id", "method", "params"};
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        size_t i = 0;
        while (i < 4 && strcmp(name, members[i]) != 0) {
            i++;
        }
        if (i == 4) {
            return wire_refuse(p, WIRE_INVALID_REQUEST, "a request has no member \"%.*s\"",
                               wire_shown(name), name);
        }
    }
    struct wire_text version;
    if (!wire_json_text(json_object_get(root, "jsonrpc"), &version) ||
        !wire_text_is(version, "2.0", 3)) {
        return wire_refuse(p, WIRE_INVALID_REQUEST, "\"jsonrpc\" must be \"2.0\"");
    }
    return take_method(p, json_object_get(root, "method"));
}

static bool parse(struct wire_parse *p, struct wire_text line)
{
    struct wire_json json;
    const enum wire_error error = wire_json_load(p->memory, line, &json, p->refusal.detail);
    if (error != WIRE_OK) {
        p->refusal.error = error;
        return false;
    }
    /* The id first, so that every later refusal can carry it. */
    if (!take_id(p, &json) || !take_envelope(p, json.root)) {
        return false;
    }
    json_t *params = json_object_get(json.root, "params");
    if (params != NULL && !json_is_object(params)) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"params\" must be an object: parameters go by "
                           "name");
    }
    if (!wire_take_params(p, params)) {
        return false;
    }
    char *id = wire_scratch(p->memory, WIRE_ID_MAX);
    if (id == NULL) {
        return wire_refuse(p, WIRE_OVERLOADED, "out of memory; not executed");
    }
    memcpy(id, json.id.data, json.id.size);
    p->request.id = wire_text_of(id, json.id.size);
    return true;
}

bool wire_parse_request(struct wire_memory *m, struct wire_text line,
                        struct wire_request *ret_request, struct wire_refusal *ret_refusal)
{
    struct wire_parse p = {.memory = m,
                           .request = {.if_generation = WIRE_ANY,
                                       .if_instance = WIRE_ANY,
                                       .mode = WIRE_EXCLUSIVE,
                                       .wait_ms = WIRE_FOR_EVER},
                           .refusal = {.id = "null"}};
    if (!parse(&p, line)) {
        assert(p.refusal.error != WIRE_OK && p.refusal.detail[0] != 0);
        *ret_refusal = p.refusal;
        return false;
    }
    assert(p.request.method != WIRE_NO_METHOD && p.request.id.size > 0);
    *ret_request = p.request;
    return true;
}
