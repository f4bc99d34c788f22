/* SPDX-License-Identifier: Apache-2.0
 *
 * config_internal.h -- what the sources of the configuration share.
 *
 *     config.c            the table of fields, peers, and what must hold between fields
 *     config_listeners.c  where clients come in, and who they are then
 *     config_place.c      what is wrong, and where in the text
 */
#ifndef LOCKD_CONFIG_INTERNAL_H
#define LOCKD_CONFIG_INTERNAL_H

#include <jansson.h>

#include "lockd/config.h"

struct source {
    const char *path;
    const char *text;
    size_t size;
    char *error; /* Of CONFIG_ERROR_MAX octets. */
};

struct field {
    const char *name;
    bool (*read)(const struct field *field, const json_t *value, struct config *config);
    size_t offset;      /* Of its target in struct config. */
    uint64_t low, high; /* Of a number, or of a text's size. */
    const char *expected;
    bool required;
};

/* NULL: there is no field of this name. */
const struct field *config_field(const char *name);

/* Says what is wrong and where: at member `key` of the outermost object or, with `parent`,
 * of its member `parent`; with key NULL, nowhere.  Returns false. */
__attribute__((format(printf, 4, 5))) bool config_refuse(const struct source *source,
                                                         const char *parent, const char *key,
                                                         const char *format, ...);

/* The further ports, behind the first one.  `list` may be NULL: there are none. */
bool config_read_listeners(const struct source *source, const json_t *list,
                           struct config *config);
bool config_check_listeners(const struct source *source, const struct config *config);

/* Puts the local socket beside the store.  False: that makes too long a path for one. */
bool config_place_socket(struct config *config);

#endif
