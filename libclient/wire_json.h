/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_json.h -- a line as a JSON tree, and typed looks at its members.
 * Private to the wire_*.c files; the only header that shows jansson.
 */
#ifndef LIBCLIENT_WIRE_JSON_H
#define LIBCLIENT_WIRE_JSON_H

#include <jansson.h>

#include "libclient/wire_text.h"

struct wire_json {
    json_t *root;        /* An object, owned by the wire_memory. */
    struct wire_text id; /* As it stands in the line; empty when there is none. */
};

/* Parses a line whose top level must be an object.  Anything else is an error,
 * and `ret_detail` says which. */
enum wire_error wire_json_load(struct wire_memory *m, struct wire_text line,
                               struct wire_json *ret_json, char ret_detail[WIRE_DETAIL_MAX]);

/* At least `size` octets, valid until the next call or wire_memory_reset();
 * what they held stays if they suffice.  NULL: out of memory. */
char *wire_scratch(struct wire_memory *m, size_t size);

/* Is `value` an integer from 0 to WIRE_NUMBER_MAX? */
bool wire_json_number(const json_t *value, uint64_t *ret_number);

/* Is it a string?  Borrowed from the tree. */
bool wire_json_text(const json_t *value, struct wire_text *ret_text);

/* May this be the id of a request: a string, a number within 2^53, or null, of
 * at most WIRE_ID_MAX octets in the line? */
bool wire_json_id(const struct wire_json *json);

bool wire_kind_of(struct wire_text word, enum wire_kind *ret_kind);
bool wire_mode_of(struct wire_text word, enum wire_mode *ret_mode);
bool wire_level_of(struct wire_text word, enum wire_level *ret_level);

/* Is `text` a credential, "ID-SECRET", of a session other than 0?  The secret is
 * borrowed from it. */
bool wire_credential_of(struct wire_text text, uint64_t *ret_session,
                        struct wire_text *ret_secret);

#endif
