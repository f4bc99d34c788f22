/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_params.c -- the parameters of a request.
 *
 * One table says which method takes which parameter and who reads it.  What
 * stands in no table is refused by name: a misspelled `if_generation` that was
 * silently ignored would turn a compare-and-set into an overwrite.
 */
#include "libclient/wire_params.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------- kinds of value */

static bool take_text(struct wire_parse *p, const char *name, const json_t *value,
                      struct wire_text *ret_text)
{
    return wire_json_text(value, ret_text) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be a string", name);
}

static bool take_number(struct wire_parse *p, const char *name, const json_t *value,
                        uint64_t *ret_number)
{
    return wire_json_number(value, ret_number) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to 2^53 - 1",
                       name);
}

/* A number that is never 0: an id, a limit. */
static bool take_positive(struct wire_parse *p, const char *name, const json_t *value,
                          uint64_t *ret_number)
{
    return (wire_json_number(value, ret_number) && *ret_number > 0) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 1 to 2^53 - 1",
                       name);
}

static uint32_t clipped(uint64_t number)
{
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

/* -------------------------------------------------------------------- nodes */

static bool take_name(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_text(p, name, value, &p->request.name);
}

static bool take_after(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_text(p, name, value, &p->request.after);
}

static bool take_kind(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_text word;
    return (wire_json_text(value, &word) && wire_kind_of(word, &p->request.kind)) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be \"file\" or \"directory\"",
                       name);
}

static bool take_if_generation(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.if_generation);
}

static bool take_if_instance(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.if_instance);
}

static bool take_limit(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t limit = 0;
    if (!take_positive(p, name, value, &limit)) {
        return false;
    }
    p->request.limit = clipped(limit);
    return true;
}

/* Which of the three: `name` is one of wire_right_name(). */
static bool take_acl(struct wire_parse *p, const char *name, const json_t *value)
{
    unsigned right = 0;
    while (strcmp(wire_right_name(right), name) != 0) {
        right++;
    }
    struct wire_text *acl = &p->request.acl[right];
    return (wire_json_text(value, acl) && acl->size <= WIRE_ACL_NAME_MAX) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be the name of an ACL, of at most %d octets, or \"\" for "
                       "anyone",
                       name, WIRE_ACL_NAME_MAX);
}

static bool take_content_once(struct wire_parse *p)
{
    if (p->request.has_content) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "send either \"content\" or \"content_base64\", not both");
    }
    p->request.has_content = true;
    return true;
}

static bool take_content(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_content_once(p) && take_text(p, name, value, &p->request.content);
}

static bool take_content_base64(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_text text;
    if (!take_content_once(p) || !take_text(p, name, value, &text)) {
        return false;
    }
    /* The id comes into the first part of the block, once all else is right. */
    char *scratch = wire_scratch(p->memory, WIRE_ID_MAX + wire_base64_bound(text.size));
    if (scratch == NULL) {
        return wire_refuse(p, WIRE_OVERLOADED, "out of memory; not executed");
    }
    p->request.content.data = scratch + WIRE_ID_MAX;
    return wire_base64_decode(text, scratch + WIRE_ID_MAX, &p->request.content.size) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be base64 of the standard alphabet, padded, without white "
                       "space",
                       name);
}

/* ----------------------------------------------------------------- sessions */

static bool take_session(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_text text;
    p->request.has_session = true;
    /* The credential is not repeated: refusals end up in logs. */
    return (wire_json_text(value, &text) &&
            wire_credential_of(text, &p->request.session, &p->request.secret)) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be the credential that session.open gave: %d and %d "
                       "hexadecimal digits with a hyphen between",
                       name, WIRE_SESSION_ID, WIRE_SECRET);
}

static bool take_request(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_positive(p, name, value, &p->request.request);
}

/* One `[first, last]` of "ack"; it must lie above all before it, which end at
 * `above`. */
static bool take_range(const json_t *value, uint64_t above, struct wire_range *ret_range)
{
    return json_is_array(value) && json_array_size(value) == 2 &&
           wire_json_number(json_array_get(value, 0), &ret_range->first) &&
           wire_json_number(json_array_get(value, 1), &ret_range->last) &&
           ret_range->first > above && ret_range->first <= ret_range->last;
}

static bool take_ack(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_request *r = &p->request;
    const size_t count = json_is_array(value) ? json_array_size(value) : 0;
    if (count == 0 || !wire_json_number(json_array_get(value, 0), &r->ack_floor)) {
        return wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be [floor, [first, last], ...]",
                           name);
    }
    if (count - 1 > WIRE_ACK_RANGES_MAX) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"%s\" holds at most %d ranges; send the others with a later "
                           "request",
                           name, WIRE_ACK_RANGES_MAX);
    }
    uint64_t above = r->ack_floor;
    for (size_t i = 1; i < count; i++) {
        struct wire_range *range = &r->acks[r->acks_count];
        if (!take_range(json_array_get(value, i), above, range)) {
            return wire_refuse(p, WIRE_INVALID_PARAMS,
                               "\"%s\" must be [floor, [first, last], ...], ascending, each "
                               "range above what stands before it",
                               name);
        }
        above = range->last;
        r->acks_count++;
    }
    return true;
}

static bool take_lease_ms(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t *lease_ms = &p->request.lease_ms;
    return (wire_json_number(value, lease_ms) && *lease_ms >= WIRE_LEASE_MS_MIN &&
            *lease_ms <= WIRE_LEASE_MS_MAX) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from %d to %d", name,
                       WIRE_LEASE_MS_MIN, WIRE_LEASE_MS_MAX);
}

/* It is shown on terminals, one line a holder. */
static bool is_label(struct wire_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.data[i] < 0x20) {
            return false;
        }
    }
    return text.size <= WIRE_LABEL_MAX && wire_is_text(text);
}

static bool take_label(struct wire_parse *p, const char *name, const json_t *value)
{
    return (wire_json_text(value, &p->request.label) && is_label(p->request.label)) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be a string of at most %d octets without control "
                       "characters",
                       name, WIRE_LABEL_MAX);
}

static bool take_cache_number(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_positive(p, name, value, &p->request.cache_number);
}

/* -------------------------------------------------------------------- locks */

static bool take_mode(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_text word;
    return (wire_json_text(value, &word) && wire_mode_of(word, &p->request.mode)) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be \"exclusive\" or \"shared\"",
                       name);
}

static bool take_wait_ms(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t *wait_ms = &p->request.wait_ms;
    return (wire_json_number(value, wait_ms) && *wait_ms <= WIRE_WAIT_MS_MAX) ||
           wire_refuse(p, WIRE_INVALID_PARAMS,
                       "\"%s\" must be an integer from 0, which is a try, to %u; leave it out "
                       "to wait for ever",
                       name, WIRE_WAIT_MS_MAX);
}

static bool take_create(struct wire_parse *p, const char *name, const json_t *value)
{
    p->request.create = json_is_true(value);
    return json_is_boolean(value) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be true or false", name);
}

static bool take_ephemeral(struct wire_parse *p, const char *name, const json_t *value)
{
    p->request.ephemeral = json_is_true(value);
    return json_is_boolean(value) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be true or false", name);
}

static bool take_delay_ms(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t *delay_ms = &p->request.delay_ms;
    return (wire_json_number(value, delay_ms) && *delay_ms <= WIRE_DELAY_MS_MAX) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to %d", name,
                       WIRE_DELAY_MS_MAX);
}

static bool take_handle(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.handle);
}

static bool take_token(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_number(p, name, value, &p->request.token);
}

static bool take_cancel(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_positive(p, name, value, &p->request.cancel);
}

static bool take_after_instance(struct wire_parse *p, const char *name, const json_t *value)
{
    return take_positive(p, name, value, &p->request.after_instance);
}

static bool take_skip(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t skip = 0;
    if (!take_number(p, name, value, &skip)) {
        return false;
    }
    p->request.skip = clipped(skip);
    return true;
}

/* ---------------------------------------------------------------- the table */

#define OF(method) (1U << (method))
#define BIT(parameter) (UINT64_C(1) << (parameter))

enum {
    CACHED = OF(WIRE_NODE_GET) | OF(WIRE_NODE_STAT),
    READS = CACHED | OF(WIRE_NODE_LIST) | OF(WIRE_NODE_GET_ACL),
    WRITES =
        OF(WIRE_NODE_PUT) | OF(WIRE_NODE_CREATE) | OF(WIRE_NODE_DELETE) | OF(WIRE_NODE_SET_ACL),
    /* Of a session, but none of its commands. */
    ALIVE = OF(WIRE_SESSION_KEEPALIVE) | OF(WIRE_CACHE_BEGIN) | OF(WIRE_CACHE_ACK),
    LOCKING = OF(WIRE_LOCK_ACQUIRE) | OF(WIRE_LOCK_RELEASE),
    OPENING = OF(WIRE_NODE_OPEN) | OF(WIRE_NODE_CLOSE),
    WITH_CONTENT = OF(WIRE_NODE_PUT) | OF(WIRE_NODE_CREATE) | OF(WIRE_NODE_OPEN),
    LISTS = OF(WIRE_NODE_LIST) | OF(WIRE_LOCK_LIST),

    NAMED = READS | WRITES | LOCKING | OPENING,
    GUARDED = OF(WIRE_NODE_PUT) | OF(WIRE_NODE_DELETE) | OF(WIRE_NODE_SET_ACL),
    PINNED = READS | GUARDED | OPENING | OF(WIRE_LOCK_ACQUIRE) | OF(WIRE_LOCK_LIST),
    /* Commands that there are only in a session, and those that it may send. */
    OWNED = OF(WIRE_SESSION_CLOSE) | LOCKING | OF(WIRE_LOCK_CANCEL) | OPENING,
    COMMANDS = OWNED | WRITES,
};

static const struct parameter {
    const char *name;
    bool (*take)(struct wire_parse *p, const char *name, const json_t *value);
    unsigned methods;  /* That take it. */
    unsigned required; /* Those of them that can't do without. */
} parameters[] = {
    {"name", take_name, NAMED | OF(WIRE_LOCK_LIST), NAMED},
    {"content", take_content, WITH_CONTENT, 0},
    {"content_base64", take_content_base64, WITH_CONTENT, 0},
    {"kind", take_kind, OF(WIRE_NODE_CREATE), OF(WIRE_NODE_CREATE)},
    {"create", take_kind, OF(WIRE_NODE_OPEN), 0},
    {"ephemeral", take_ephemeral, OF(WIRE_NODE_OPEN), 0},
    {"if_generation", take_if_generation, GUARDED, 0},
    {"if_instance", take_if_instance, PINNED, OF(WIRE_NODE_CLOSE)},
    {"after", take_after, OF(WIRE_NODE_LIST), 0},
    {"after", take_after_instance, OF(WIRE_LOCK_LIST), 0},
    {"skip", take_skip, OF(WIRE_LOCK_LIST), 0},
    {"limit", take_limit, LISTS, 0},
    {"level", wire_take_level, READS, 0},
    {"min_revision", wire_take_min_revision, READS, 0},
    {"wait_ms", wire_take_read_wait_ms, READS, 0},
    {"max_age_ms", wire_take_max_age_ms, READS, 0},
    {"cache", wire_take_cache, CACHED | OF(WIRE_SESSION_OPEN), 0},
    {"number", take_cache_number, OF(WIRE_CACHE_ACK), OF(WIRE_CACHE_ACK)},
    {"read", take_acl, OF(WIRE_NODE_SET_ACL), 0},
    {"write", take_acl, OF(WIRE_NODE_SET_ACL), 0},
    {"change", take_acl, OF(WIRE_NODE_SET_ACL), 0},
    {"session", take_session, COMMANDS | ALIVE | CACHED, OWNED | ALIVE},
    {"request", take_request, COMMANDS, OWNED},
    {"ack", take_ack, COMMANDS, 0},
    {"lease_ms", take_lease_ms, OF(WIRE_SESSION_OPEN), 0},
    {"label", take_label, OF(WIRE_SESSION_OPEN), 0},
    {"mode", take_mode, OF(WIRE_LOCK_ACQUIRE), 0},
    {"wait_ms", take_wait_ms, OF(WIRE_LOCK_ACQUIRE), 0},
    {"create", take_create, OF(WIRE_LOCK_ACQUIRE), 0},
    {"lock_delay_ms", take_delay_ms, OF(WIRE_LOCK_ACQUIRE), 0},
    {"handle", take_handle, LOCKING | OPENING, 0},
    {"token", take_token, OF(WIRE_LOCK_RELEASE), OF(WIRE_LOCK_RELEASE)},
    {"cancel", take_cancel, OF(WIRE_LOCK_CANCEL), OF(WIRE_LOCK_CANCEL)},
    {"sequencer", wire_take_sequencer, OF(WIRE_LOCK_CHECK), OF(WIRE_LOCK_CHECK)},
    {"watches", wire_take_watches, OF(WIRE_WATCH_ADD), OF(WIRE_WATCH_ADD)},
    {"watches", wire_take_unwatch, OF(WIRE_WATCH_REMOVE), OF(WIRE_WATCH_REMOVE)},
};

enum { PARAMETERS = sizeof parameters / sizeof parameters[0] };
static_assert(PARAMETERS <= 64 && WIRE_CELL_STATUS < 32, "each is a bit of its set");

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

/* ------------------------------------------------- what no parameter shows alone */

static bool check_node(struct wire_parse *p)
{
    const struct wire_request *r = &p->request;
    if (r->method == WIRE_NODE_PUT && !r->has_content) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "%s needs the parameter \"content\" or \"content_base64\"",
                           wire_method_name(r->method));
    }
    if (r->kind == WIRE_DIRECTORY && r->has_content) {
        return wire_refuse(p, WIRE_INVALID_PARAMS, "a directory has no content");
    }
    if (r->method == WIRE_NODE_OPEN && r->kind == WIRE_KIND_NONE &&
        (r->ephemeral || r->has_content)) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"%s\" goes only with \"create\": it is of what is made",
                           r->ephemeral ? "ephemeral" : "content");
    }
    return true;
}

/* A command of a session that bore no id could not be recognised when it comes
 * again; an id without a session is nobody's. */
static bool check_session(struct wire_parse *p, bool has_ack)
{
    const struct wire_request *r = &p->request;
    if (r->has_session && (COMMANDS & OF(r->method)) != 0 && r->request == 0) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "%s with \"session\" needs the parameter \"request\"",
                           wire_method_name(r->method));
    }
    if (!r->has_session && (r->request != 0 || has_ack)) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"%s\" goes only with the parameter \"session\"",
                           r->request != 0 ? "request" : "ack");
    }
    if (r->method == WIRE_LOCK_CANCEL && r->cancel == r->request) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"cancel\" names another request, not this one");
    }
    return true;
}

static bool check_lock_list(struct wire_parse *p)
{
    const struct wire_request *r = &p->request;
    if (r->method != WIRE_LOCK_LIST) {
        return true;
    }
    if (r->name.data != NULL && r->name.size == 0) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"name\" is empty; leave it out to list all locks");
    }
    if (r->name.size > 0 && r->after_instance > 0) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"after\" goes only without \"name\"; with it, \"skip\" does");
    }
    if (r->name.size == 0 && r->if_instance != WIRE_ANY) {
        return wire_refuse(p, WIRE_INVALID_PARAMS, "\"if_instance\" goes only with \"name\"");
    }
    if (r->name.size == 0 && r->skip > 0) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"skip\" goes only with \"name\"; without it, \"after\" does");
    }
    return true;
}

bool wire_take_params(struct wire_parse *p, json_t *params)
{
    const enum wire_method method = p->request.method;
    uint64_t seen = 0;
    bool has_ack = false;
    const char *name;
    json_t *value;
    json_object_foreach(params, name, value)
    {
        const unsigned i = find_parameter(method, name);
        if (i == PARAMETERS) {
            return wire_refuse(p, WIRE_INVALID_PARAMS, "%s has no parameter \"%.*s\"",
                               wire_method_name(method), wire_shown(name), name);
        }
        if (!parameters[i].take(p, parameters[i].name, value)) {
            return false;
        }
        seen |= BIT(i);
        has_ack = has_ack || parameters[i].take == take_ack;
    }
    for (unsigned i = 0; i < PARAMETERS; i++) {
        if ((parameters[i].required & OF(method)) != 0 && (seen & BIT(i)) == 0) {
            return wire_refuse(p, WIRE_INVALID_PARAMS, "%s needs the parameter \"%s\"",
                               wire_method_name(method), parameters[i].name);
        }
    }
    return check_node(p) && check_session(p, has_ack) && check_lock_list(p) &&
           ((READS & OF(method)) == 0 || wire_check_read(p, params));
}
