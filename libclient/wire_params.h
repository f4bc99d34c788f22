/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_params.h -- a request while it is being parsed.  Private to
 * wire_request.c, which reads the envelope, and the readers of parameters.
 */
#ifndef LIBCLIENT_WIRE_PARAMS_H
#define LIBCLIENT_WIRE_PARAMS_H

#include "libclient/wire_json.h"

struct wire_parse {
    struct wire_memory *memory;
    struct wire_request request;
    struct wire_refusal refusal;
};

/* False, so that a reader can `return wire_refuse(...)`. */
__attribute__((format(printf, 3, 4))) bool
wire_refuse(struct wire_parse *p, enum wire_error error, const char *format, ...);

/* For "%.*s": the part of a client's word that a refusal repeats. */
int wire_shown(const char *word);

/* Reads the parameters of p->request.method; `params` may be NULL.  False: one
 * of them is refused. */
bool wire_take_params(struct wire_parse *p, json_t *params);

/* wire_reads.c.  Parameters of reads, and then what none of them shows alone. */
bool wire_take_level(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_min_revision(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_read_wait_ms(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_max_age_ms(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_cache(struct wire_parse *p, const char *name, const json_t *value);
bool wire_check_read(struct wire_parse *p, const json_t *params);

/* wire_watch.c.  Parameters of watch.add, of watch.remove, and of lock.check. */
bool wire_take_watches(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_unwatch(struct wire_parse *p, const char *name, const json_t *value);
bool wire_take_sequencer(struct wire_parse *p, const char *name, const json_t *value);

#endif
