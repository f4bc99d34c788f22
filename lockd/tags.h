/* SPDX-License-Identifier: Apache-2.0
 *
 * tags.h -- the JSON ids of requests, kept while these are outstanding.
 *
 * The service knows a request by a tag; the client by whatever JSON it chose as
 * id, which must come back as it stood.  A pool that grows to the most that was
 * ever outstanding at once and is then only reused, so that a request in the
 * steady state allocates nothing.
 */
#ifndef LOCKD_TAGS_H
#define LOCKD_TAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "libclient/wire.h"

struct tags;

/* The tags of one connection.  Zero-initialise. */
struct tag_list {
    uint32_t first;
    uint32_t count;   /* Of all. */
    uint32_t patient; /* Of requests that may take as long as they like. */
};

struct tags *tags_new(void); /* NULL: out of memory. */
void tags_free(struct tags *t);

/* Keeps a copy of `id` for `client`.  0: out of memory. */
uint32_t tags_take(struct tags *t, struct tag_list *list, uint64_t client, struct wire_text id,
                   bool patient);

/* The id kept under `tag`, borrowed until the release.  False when `client` has
 * no such tag. */
bool tags_find(const struct tags *t, uint64_t tag, uint64_t client, struct wire_text *ret_id);

/* `tag` must have been found. */
void tags_be_patient(struct tags *t, struct tag_list *list, uint64_t tag);
void tags_release(struct tags *t, struct tag_list *list, uint64_t tag);
void tags_release_all(struct tags *t, struct tag_list *list);

#endif
