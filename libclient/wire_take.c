/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_take.c -- see wire_take.h.
 */
#include "libclient/wire_take.h"

#include <stdio.h>

bool wire_take_refuse(struct wire_take *t, const char *name)
{
    snprintf(t->detail, WIRE_DETAIL_MAX, "the server's line lacks a proper \"%s\"", name);
    return false;
}

void *wire_carve(struct wire_take *t, size_t size)
{
    char *at = t->at;
    t->at += size;
    return at;
}

bool wire_take_number(struct wire_take *t, const json_t *object, const char *name,
                      uint64_t *ret_number)
{
    return wire_json_number(json_object_get(object, name), ret_number) ||
           wire_take_refuse(t, name);
}

bool wire_take_text(struct wire_take *t, const json_t *object, const char *name,
                    struct wire_text *ret_text)
{
    return wire_json_text(json_object_get(object, name), ret_text) || wire_take_refuse(t, name);
}

bool wire_take_bool(struct wire_take *t, const json_t *object, const char *name, bool *ret_bool)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_boolean(value)) {
        return wire_take_refuse(t, name);
    }
    *ret_bool = json_is_true(value);
    return true;
}

bool wire_take_hex(struct wire_take *t, const json_t *object, const char *name,
                   uint64_t *ret_number)
{
    struct wire_text text;
    return (wire_json_text(json_object_get(object, name), &text) &&
            wire_hex_decode(text, ret_number)) ||
           wire_take_refuse(t, name);
}

bool wire_maybe_number(struct wire_take *t, const json_t *object, const char *name,
                       uint64_t *ret_number)
{
    return json_object_get(object, name) == NULL ||
           wire_take_number(t, object, name, ret_number);
}

bool wire_maybe_text(struct wire_take *t, const json_t *object, const char *name,
                     struct wire_text *ret_text)
{
    return json_object_get(object, name) == NULL || wire_take_text(t, object, name, ret_text);
}

bool wire_maybe_bool(struct wire_take *t, const json_t *object, const char *name,
                     bool *ret_bool)
{
    return json_object_get(object, name) == NULL || wire_take_bool(t, object, name, ret_bool);
}

bool wire_take_content(struct wire_take *t, const json_t *object, const char *name,
                       const char *name_base64, struct wire_text *ret_content)
{
    const json_t *base64 = json_object_get(object, name_base64);
    if (base64 == NULL) {
        return wire_take_text(t, object, name, ret_content);
    }
    struct wire_text text;
    if (!wire_json_text(base64, &text)) {
        return wire_take_refuse(t, name_base64);
    }
    char *octets = wire_carve(t, wire_base64_bound(text.size));
    ret_content->data = octets;
    return wire_base64_decode(text, octets, &ret_content->size) ||
           wire_take_refuse(t, name_base64);
}
