/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_request.c -- a client's line as a request, or why not.
 *
 * One table says which method takes which parameter and who reads it.  What
 * stands in no table is refused by name: a misspelled `if_generation` that was
 * silently ignored would turn a compare-and-set into an overwrite.
 */
#include "libclient/wire_json.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 64 /* Octets of a client's word that a refusal repeats. */ };

struct parse {
    struct wire_memory *memory;
    struct wire_request request;
    struct wire_refusal refusal;
};

/* False, so that a reader can `return refuse(...)`. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct parse *p, enum wire_error error,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->refusal.detail, sizeof p->refusal.detail, format, arguments);
    va_end(arguments);
    p->refusal.error = error;
    return false;
}

/* For "%.*s": the part of a client's word that a refusal repeats. */
static int shown(const char *word)
{
    return (int)wire_clip(wire_text_of(word, strlen(word)), SHOWN_MAX);
}

/* --------------------------------------------------------------- parameters */

static bool take_text(struct parse *p, const char *name, const json_t *value,
                      struct wire_text *ret_text)
{
    return wire_json_text(value, ret_text) ||
           refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be a string", name);
}

static bool take_number(struct parse *p, const char *name, const json_t *value,
                        uint64_t *ret_number)
{
    return wire_json_number(value, ret_number) ||
           refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to 2^53 - 1", name);
}

static bool take_name(struct parse *p, const char *name, const json_t *value)
{
    return take_text(p, name, value, &p->request.name);
}

static bool take_after(struct parse *p, const char *name, const json_t *value)
{
    return take_text(p, name, value, &p->request.after);
}

static bool take_kind(struct parse *p, const char *name, const json_t *value)
{
    struct wire_text word;
    return (wire_json_text(value, &word) && wire_kind_of(word, &p->request.kind)) ||
           refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be \"file\" or \"directory\"", name);
}

static bool take_if_generation(struct parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.if_generation);
}

static bool take_if_instance(struct parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.if_instance);
}

static bool take_limit(struct parse *p, const char *name, const json_t *value)
{
    uint64_t limit = 0;
    if (!wire_json_number(value, &limit) || limit == 0) {
        return refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 1", name);
    }
    p->request.limit = limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
    return true;
}

static bool take_content_once(struct parse *p)
{
    if (p->request.has_content) {
        return refuse(p, WIRE_INVALID_PARAMS,
                      "send either \"content\" or \"content_base64\", not both");
    }
    p->request.has_content = true;
    return true;
}

static bool take_content(struct parse *p, const char *name, const json_t *value)
{
    return take_content_once(p) && take_text(p, name, value, &p->request.content);
}

static bool take_content_base64(struct parse *p, const char *name, const json_t *value)
{
    struct wire_text text;
    if (!take_content_once(p) || !take_text(p, name, value, &text)) {
        return false;
    }
    /* The id comes into the first part of the block, once all else is right. */
    char *scratch = wire_scratch(p->memory, WIRE_ID_MAX + wire_base64_bound(text.size));
    if (scratch == NULL) {
        return refuse(p, WIRE_OVERLOADED, "out of memory; not executed");
    }
    p->request.content.data = scratch + WIRE_ID_MAX;
    return wire_base64_decode(text, scratch + WIRE_ID_MAX, &p->request.content.size) ||
           refuse(p, WIRE_INVALID_PARAMS,
                  "\"%s\" must be base64 of the standard alphabet, padded, without white space",
                  name);
}

#define OF(method) (1U << (method))

enum {
    ON_NODES = OF(WIRE_NODE_GET) | OF(WIRE_NODE_PUT) | OF(WIRE_NODE_CREATE) |
               OF(WIRE_NODE_LIST) | OF(WIRE_NODE_STAT) | OF(WIRE_NODE_DELETE),
    WITH_CONTENT = OF(WIRE_NODE_PUT) | OF(WIRE_NODE_CREATE),
    CONDITIONAL = OF(WIRE_NODE_PUT) | OF(WIRE_NODE_DELETE),
};

static const struct parameter {
    const char *name;
    bool (*take)(struct parse *p, const char *name, const json_t *value);
    unsigned methods;  /* That take it. */
    unsigned required; /* Those of them that can't do without. */
} parameters[] = {
    {"name", take_name, ON_NODES, ON_NODES},
    {"content", take_content, WITH_CONTENT, 0},
    {"content_base64", take_content_base64, WITH_CONTENT, 0},
    {"kind", take_kind, OF(WIRE_NODE_CREATE), OF(WIRE_NODE_CREATE)},
    {"if_generation", take_if_generation, CONDITIONAL, 0},
    {"if_instance", take_if_instance, CONDITIONAL, 0},
    {"after", take_after, OF(WIRE_NODE_LIST), 0},
    {"limit", take_limit, OF(WIRE_NODE_LIST), 0},
};

enum { PARAMETERS = sizeof parameters / sizeof parameters[0] };

/* The index of the parameter of that name that the method takes, or PARAMETERS. */
static unsigned find_parameter(enum wire_method method, const char *name)
{
    unsigned i = 0;
    while (i < PARAMETERS && ((parameters[i].methods & OF(method)) == 0 ||
                              strcmp(parameters[i].name, name) != 0)) {
        i++;
    }
    return i;
}

static bool take_params(struct parse *p, json_t *params)
{
    const enum wire_method method = p->request.method;
    unsigned seen = 0;
    const char *name;
    json_t *value;
    json_object_foreach(params, name, value)
    {
        const unsigned i = find_parameter(method, name);
        if (i == PARAMETERS) {
            return refuse(p, WIRE_INVALID_PARAMS, "%s has no parameter \"%.*s\"",
                          wire_method_name(method), shown(name), name);
        }
        if (!parameters[i].take(p, parameters[i].name, value)) {
            return false;
        }
        seen |= 1U << i;
    }
    for (unsigned i = 0; i < PARAMETERS; i++) {
        if ((parameters[i].required & OF(method)) != 0 && (seen & 1U << i) == 0) {
            return refuse(p, WIRE_INVALID_PARAMS, "%s needs the parameter \"%s\"",
                          wire_method_name(method), parameters[i].name);
        }
    }
    return true;
}

/* What no parameter shows alone. */
static bool check_together(struct parse *p)
{
    const struct wire_request *r = &p->request;
    if (r->method == WIRE_NODE_PUT && !r->has_content) {
        return refuse(p, WIRE_INVALID_PARAMS,
                      "%s needs the parameter \"content\" or \"content_base64\"",
                      wire_method_name(r->method));
    }
    if (r->method == WIRE_NODE_CREATE && r->kind == WIRE_DIRECTORY && r->has_content) {
        return refuse(p, WIRE_INVALID_PARAMS, "a directory has no content");
    }
    return true;
}

/* ----------------------------------------------------------------- envelope */

static bool take_id(struct parse *p, const struct wire_json *json)
{
    if (json_object_get(json->root, "id") == NULL) {
        return refuse(p, WIRE_INVALID_REQUEST,
                      "there is no \"id\": notifications are not served, as nobody would hear "
                      "what became of them");
    }
    if (json->id.size == 0) {
        return refuse(p, WIRE_INVALID_REQUEST, "write the member \"id\" without escapes");
    }
    if (!wire_json_id(json)) {
        return refuse(p, WIRE_INVALID_REQUEST,
                      "\"id\" must be a string or a number below 2^53, of at most %d octets",
                      WIRE_ID_MAX);
    }
    memcpy(p->refusal.id, json->id.data, json->id.size);
    p->refusal.id[json->id.size] = 0;
    return true;
}

static bool take_method(struct parse *p, const json_t *method)
{
    if (!json_is_string(method)) {
        return refuse(p, WIRE_INVALID_REQUEST, "\"method\" must be a string");
    }
    const char *name = json_string_value(method);
#define METHOD_MATCH(id, word)                                                                 \
    if (strcmp(name, word) == 0) {                                                             \
        p->request.method = id;                                                                \
        return true;                                                                           \
    }
    WIRE_METHOD_MAP(METHOD_MATCH)
#undef METHOD_MATCH
    return refuse(p, WIRE_METHOD_NOT_FOUND, "there is no method \"%.*s\"", shown(name), name);
}

static bool take_envelope(struct parse *p, json_t *root)
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
            return refuse(p, WIRE_INVALID_REQUEST, "a request has no member \"%.*s\"",
                          shown(name), name);
        }
    }
    struct wire_text version;
    if (!wire_json_text(json_object_get(root, "jsonrpc"), &version) ||
        !wire_text_is(version, "2.0", 3)) {
        return refuse(p, WIRE_INVALID_REQUEST, "\"jsonrpc\" must be \"2.0\"");
    }
    return take_method(p, json_object_get(root, "method"));
}

static bool parse(struct parse *p, struct wire_text line)
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
        return refuse(p, WIRE_INVALID_PARAMS,
                      "\"params\" must be an object: parameters go by "
                      "name");
    }
    if (!take_params(p, params) || !check_together(p)) {
        return false;
    }
    char *id = wire_scratch(p->memory, WIRE_ID_MAX);
    if (id == NULL) {
        return refuse(p, WIRE_OVERLOADED, "out of memory; not executed");
    }
    memcpy(id, json.id.data, json.id.size);
    p->request.id = wire_text_of(id, json.id.size);
    return true;
}

bool wire_parse_request(struct wire_memory *m, struct wire_text line,
                        struct wire_request *ret_request, struct wire_refusal *ret_refusal)
{
    struct parse p = {.memory = m,
                      .request = {.if_generation = WIRE_ANY, .if_instance = WIRE_ANY},
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
