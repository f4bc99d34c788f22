/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_take.h -- typed members of what a server says, for its replies and its
 * notifications.  Private to the wire_*.c files.
 *
 * What we know must have the right form; what we don't know is passed over, so
 * that a newer cell may say more.  (Requests are the other way round: there an
 * unknown member is refused.)
 */
#ifndef LIBCLIENT_WIRE_TAKE_H
#define LIBCLIENT_WIRE_TAKE_H

#include "libclient/wire_json.h"

struct wire_take {
    char *at; /* Next free octet of the scratch block, sized for all that is carved. */
    char *detail;
};

/* False, so that a reader can `return wire_take_refuse(...)`. */
bool wire_take_refuse(struct wire_take *t, const char *name);

/* Cuts `size` octets off the scratch block.  Structs come first, so they are
 * aligned as the block is. */
void *wire_carve(struct wire_take *t, size_t size);

bool wire_take_number(struct wire_take *t, const json_t *object, const char *name,
                      uint64_t *ret_number);
bool wire_take_text(struct wire_take *t, const json_t *object, const char *name,
                    struct wire_text *ret_text);
bool wire_take_bool(struct wire_take *t, const json_t *object, const char *name,
                    bool *ret_bool);
bool wire_take_hex(struct wire_take *t, const json_t *object, const char *name,
                   uint64_t *ret_number);

/* A member that may be missing, but if it is there has the right form. */
bool wire_maybe_number(struct wire_take *t, const json_t *object, const char *name,
                       uint64_t *ret_number);
bool wire_maybe_text(struct wire_take *t, const json_t *object, const char *name,
                     struct wire_text *ret_text);
bool wire_maybe_bool(struct wire_take *t, const json_t *object, const char *name,
                     bool *ret_bool);

/* Octets: a string under `name`, or carved out of the scratch block, base64 under
 * `name_base64`. */
bool wire_take_content(struct wire_take *t, const json_t *object, const char *name,
                       const char *name_base64, struct wire_text *ret_content);

#endif
