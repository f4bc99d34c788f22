/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_watch.c -- the parameters that are more than one value: watches, in either
 * direction, and sequencers.
 */
#include "libclient/wire_params.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- sequencers */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A token has one spelling: no sign, no space, no leading zero. */
static bool parse_token(struct wire_text text, uint64_t *ret_token)
{
    uint64_t token = 0;
    if (text.size == 0 || text.size > 16 || text.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(text.data[i])) {
            return false;
        }
        token = token * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_token = token;
    return token <= WIRE_NUMBER_MAX;
}

/* Cuts off what follows the last colon, because names may have colons too. */
static bool cut_field(struct wire_text *text, struct wire_text *ret_field)
{
    for (size_t at = text->size; at > 0; at--) {
        if (text->data[at - 1] == ':') {
            *ret_field = wire_text_of(text->data + at, text->size - at);
            text->size = at - 1;
            return true;
        }
    }
    return false;
}

bool wire_parse_sequencer(struct wire_text text, struct wire_text *ret_name,
                          enum wire_mode *ret_mode, uint64_t *ret_token)
{
    struct wire_text token_field;
    struct wire_text mode_field;
    enum wire_mode mode = WIRE_MODE_NONE;
    uint64_t token = 0;
    if (!cut_field(&text, &token_field) || !parse_token(token_field, &token) ||
        !cut_field(&text, &mode_field) || !wire_mode_of(mode_field, &mode) || text.size == 0) {
        return false;
    }
    *ret_name = text;
    *ret_mode = mode;
    *ret_token = token;
    return true;
}

bool wire_take_sequencer(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_request *r = &p->request;
    struct wire_text text;
    return (wire_json_text(value, &text) &&
            wire_parse_sequencer(text, &r->name, &r->mode, &r->token)) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be what lock.acquire gave: NAME:MODE:TOKEN", name);
}

/* ------------------------------------------------------------ one watch's members */

static bool take_watch_id(struct wire_parse *p, const char *name, const json_t *value,
                          struct wire_watch *w)
{
    return (wire_json_number(value, &w->watch) && w->watch > 0) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 1 to 2^53 - 1",
                       name);
}

static bool take_watch_name(struct wire_parse *p, const char *name, const json_t *value,
                            struct wire_watch *w)
{
    return wire_json_text(value, &w->name) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be a string", name);
}

static enum wire_scope scope_of(struct wire_text word)
{
#define SCOPE_MATCH(id, name)                                                                  \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        return id;                                                                             \
    }
    WIRE_SCOPE_MAP(SCOPE_MATCH)
#undef SCOPE_MATCH
    return WIRE_NO_SCOPE;
}

static bool take_scope(struct wire_parse *p, const char *name, const json_t *value,
                       struct wire_watch *w)
{
    struct wire_text word;
    return (wire_json_text(value, &word) && (w->scope = scope_of(word)) != WIRE_NO_SCOPE) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be \"node\", \"children\" or \"subtree\"", name);
}

/* 0: there is no such kind. */
static uint32_t watched_of(struct wire_text word)
{
#define WATCHED_MATCH(id, bit, name)                                                           \
    if (wire_text_is(word, name, sizeof(name) - 1)) {                                          \
        return bit;                                                                            \
    }
    WIRE_WATCHED_MAP(WATCHED_MATCH)
#undef WATCHED_MATCH
    return 0;
}

static bool take_kinds(struct wire_parse *p, const char *name, const json_t *value,
                       struct wire_watch *w)
{
    w->watched = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct wire_text word;
        const uint32_t bit =
            wire_json_text(json_array_get(value, i), &word) ? watched_of(word) : 0;
        if (bit == 0 || (w->watched & bit) != 0) {
            return wire_refuse(p, WIRE_INVALID_PARAMS,
                               "\"%s\" must name each at most once: content, child, acl, lock, "
                               "delete, conflict",
                               name);
        }
        w->watched |= bit;
    }
    return w->watched != 0 ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be a list of at least one word; leave it out for all",
                       name);
}

static bool take_from(struct wire_parse *p, const char *name, const json_t *value,
                      struct wire_watch *w)
{
    return wire_json_number(value, &w->from) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to 2^53 - 1",
                       name);
}

static bool take_instance(struct wire_parse *p, const char *name, const json_t *value,
                          struct wire_watch *w)
{
    return (wire_json_number(value, &w->if_instance) && w->if_instance > 0) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 1 to 2^53 - 1",
                       name);
}

static bool take_bool(struct wire_parse *p, const char *name, const json_t *value,
                      bool *ret_bool)
{
    *ret_bool = json_is_true(value);
    return json_is_boolean(value) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be true or false", name);
}

static bool take_content(struct wire_parse *p, const char *name, const json_t *value,
                         struct wire_watch *w)
{
    return take_bool(p, name, value, &w->content);
}

static bool take_old(struct wire_parse *p, const char *name, const json_t *value,
                     struct wire_watch *w)
{
    return take_bool(p, name, value, &w->old);
}

static const struct member {
    const char *name;
    bool (*take)(struct wire_parse *p, const char *name, const json_t *value,
                 struct wire_watch *w);
} members[] = {
    {"watch", take_watch_id},  {"name", take_watch_name}, {"scope", take_scope},
    {"kinds", take_kinds},     {"from", take_from},       {"if_instance", take_instance},
    {"content", take_content}, {"old_content", take_old},
};

enum { MEMBERS = sizeof members / sizeof members[0] };

static bool take_watch(struct wire_parse *p, json_t *object, struct wire_watch *ret_watch)
{
    struct wire_watch w = {.scope = WIRE_SCOPE_NODE,
                           .watched = WIRE_WATCHED_ALL,
                           .from = WIRE_ANY,
                           .if_instance = WIRE_ANY};
    if (!json_is_object(object)) {
        return wire_refuse(p, WIRE_INVALID_PARAMS, "\"watches\" must be a list of objects");
    }
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (i < MEMBERS && strcmp(members[i].name, name) != 0) {
            i++;
        }
        if (i == MEMBERS) {
            return wire_refuse(p, WIRE_INVALID_PARAMS, "a watch has no member \"%.*s\"",
                               wire_shown(name), name);
        }
        if (!members[i].take(p, members[i].name, value, &w)) {
            return false;
        }
    }
    if (w.watch == 0 || w.name.data == NULL) {
        return wire_refuse(p, WIRE_INVALID_PARAMS, "a watch needs the member \"%s\"",
                           w.watch == 0 ? "watch" : "name");
    }
    if (w.if_instance != WIRE_ANY && w.scope != WIRE_SCOPE_NODE) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"if_instance\" of a watch goes only with the scope \"node\"");
    }
    *ret_watch = w;
    return true;
}

/* ------------------------------------------------------------------ the whole list */

/* How many watches the list names; 0: it is no list of as many as there may be. */
static uint32_t count_of(struct wire_parse *p, const char *name, const json_t *value)
{
    const size_t count = json_is_array(value) ? json_array_size(value) : 0;
    if (count == 0 || count > WIRE_WATCHES_MAX) {
        (void)wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be a list of 1 to %d", name,
                          WIRE_WATCHES_MAX);
        return 0;
    }
    return (uint32_t)count;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts the numbers; refuses the list if two are equal. */
static bool check_distinct(struct wire_parse *p, uint64_t *numbers, uint32_t count)
{
    qsort(numbers, count, sizeof *numbers, compare);
    for (uint32_t i = 1; i < count; i++) {
        if (numbers[i] == numbers[i - 1]) {
            return wire_refuse(p, WIRE_INVALID_PARAMS, "\"watches\" names watch %llu twice",
                               (unsigned long long)numbers[i]);
        }
    }
    return true;
}

/* The scratch block: room for the id, which comes last, then `size` octets. */
static char *room_behind_id(struct wire_parse *p, size_t size)
{
    static_assert(WIRE_ID_MAX % _Alignof(struct wire_watch) == 0, "what follows is aligned");
    char *scratch = wire_scratch(p->memory, WIRE_ID_MAX + size);
    if (scratch == NULL) {
        (void)wire_refuse(p, WIRE_OVERLOADED, "out of memory; not executed");
        return NULL;
    }
    return scratch + WIRE_ID_MAX;
}

bool wire_take_watches(struct wire_parse *p, const char *name, const json_t *value)
{
    const uint32_t count = count_of(p, name, value);
    char *room = NULL;
    if (count == 0 ||
        (room = room_behind_id(p, count * (sizeof(struct wire_watch) + sizeof(uint64_t)))) ==
            NULL) {
        return false;
    }
    struct wire_watch *watches = (void *)room;
    uint64_t *numbers = (void *)(room + count * sizeof *watches);
    for (uint32_t i = 0; i < count; i++) {
        if (!take_watch(p, json_array_get(value, i), &watches[i])) {
            return false;
        }
        numbers[i] = watches[i].watch;
    }
    p->request.watches = watches;
    p->request.watches_count = count;
    return check_distinct(p, numbers, count);
}

bool wire_take_unwatch(struct wire_parse *p, const char *name, const json_t *value)
{
    const uint32_t count = count_of(p, name, value);
    char *room = NULL;
    if (count == 0 || (room = room_behind_id(p, 2 * count * sizeof(uint64_t))) == NULL) {
        return false;
    }
    uint64_t *unwatch = (void *)room;
    for (uint32_t i = 0; i < count; i++) {
        if (!wire_json_number(json_array_get(value, i), &unwatch[i]) || unwatch[i] == 0) {
            return wire_refuse(p, WIRE_INVALID_PARAMS,
                               "\"%s\" must be a list of integers from 1 to 2^53 - 1", name);
        }
    }
    memcpy(unwatch + count, unwatch, count * sizeof *unwatch);
    p->request.unwatch = unwatch;
    p->request.unwatch_count = count;
    return check_distinct(p, unwatch + count, count);
}
