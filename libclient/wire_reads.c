/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_reads.c -- the parameters that say how a read is answered: how new the state
 * must be, and whether a session keeps what it brings.
 */
#include "libclient/wire_params.h"

bool wire_take_level(struct wire_parse *p, const char *name, const json_t *value)
{
    struct wire_text word;
    return (wire_json_text(value, &word) && wire_level_of(word, &p->request.level)) ||
           wire_refuse(
               p, WIRE_INVALID_PARAMS,
               "\"%s\" must be \"linearizable\", \"lease\", \"sequential\" or \"stale\"", name);
}

bool wire_take_min_revision(struct wire_parse *p, const char *name, const json_t *value)
{
    return wire_json_number(value, &p->request.min_revision) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to 2^53 - 1",
                       name);
}

bool wire_take_read_wait_ms(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t *wait_ms = &p->request.read_wait_ms;
    return (wire_json_number(value, wait_ms) && *wait_ms <= WIRE_READ_WAIT_MS_MAX) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be an integer from 0 to %d", name,
                       WIRE_READ_WAIT_MS_MAX);
}

bool wire_take_max_age_ms(struct wire_parse *p, const char *name, const json_t *value)
{
    uint64_t *max_age_ms = &p->request.max_age_ms;
    return (wire_json_number(value, max_age_ms) && *max_age_ms > 0 &&
            *max_age_ms <= WIRE_AGE_MS_MAX) ||
           wire_refuse(
               p, WIRE_INVALID_PARAMS,
               "\"%s\" must be an integer from 1 to %u; leave it out if any age will do", name,
               WIRE_AGE_MS_MAX);
}

bool wire_take_cache(struct wire_parse *p, const char *name, const json_t *value)
{
    p->request.cache = json_is_true(value);
    return json_is_boolean(value) ||
           wire_refuse(p, WIRE_INVALID_PARAMS, "\"%s\" must be true or false", name);
}

/* ------------------------------------------------- what no parameter shows alone */

/* A bound that the level doesn't heed would promise what isn't kept. */
static bool check_bounds(struct wire_parse *p, const json_t *params)
{
    static const struct {
        const char *name;
        bool stale; /* Goes with "stale" as well as with "sequential". */
    } bounds[] = {{"min_revision", false}, {"wait_ms", false}, {"max_age_ms", true}};
    const enum wire_level level = p->request.level;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (json_object_get(params, bounds[i].name) != NULL && level != WIRE_SEQUENTIAL &&
            !(bounds[i].stale && level == WIRE_STALE)) {
            return wire_refuse(p, WIRE_INVALID_PARAMS,
                               "\"%s\" goes only with the level \"sequential\"%s",
                               bounds[i].name, bounds[i].stale ? " or \"stale\"" : "");
        }
    }
    return true;
}

bool wire_check_read(struct wire_parse *p, const json_t *params)
{
    const struct wire_request *r = &p->request;
    if (r->cache && !r->has_session) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"cache\" goes only with \"session\": what is read is kept by one");
    }
    if (r->cache && r->level != WIRE_LINEARIZABLE) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"cache\" goes only with the level \"linearizable\"");
    }
    if (r->has_session && !r->cache) {
        return wire_refuse(p, WIRE_INVALID_PARAMS,
                           "\"session\" goes with a read only if \"cache\" is true");
    }
    /* Most reads have nothing but a name. */
    return json_object_size(params) <= 1 || check_bounds(p, params);
}
