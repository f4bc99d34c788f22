/* SPDX-License-Identifier: Apache-2.0
 *
 * kept.h -- answers that a session keeps, by name.
 *
 * Of each name there is what a get brought or what a stat did, or both; that there is
 * nothing is kept as well.  A name is found as it was asked for, and dropped however
 * its cell is called in it: /ls/local/x and /ls/prod/x are one node.
 */
#ifndef LIBCLIENT_KEPT_H
#define LIBCLIENT_KEPT_H

#include "libclient/answer.h"
#include "libclient/list.h"

enum {
    KEPT_NAMES_MAX = 10000, /* Of a session; then the oldest go. */
    KEPT_OCTETS_MAX = 64 * 1024 * 1024,
};

struct kept_name;

/* Zero-initialised it is empty. */
struct kept {
    struct kept_name **buckets;
    size_t buckets_count; /* A power of two, or 0. */
    struct kept_name *oldest, *newest;
    size_t count;
    size_t octets;
};

void kept_clear(struct kept *k);
void kept_end(struct kept *k);

/* Forgets what is kept under `name`. */
void kept_drop(struct kept *k, struct wire_text name);

/* Keeps what a get, or else a stat, of `name` brought, in the place of what was kept of
 * that.  Takes the answer over; short of memory it is not kept. */
void kept_put(struct kept *k, struct wire_text name, bool is_get, struct answer *answer);

/* Where what answers a get, or else a stat, of `name` stands, of `if_instance` unless that
 * is WIRE_ANY; NULL: nothing does. */
struct answer **kept_lookup(struct kept *k, struct wire_text name, bool is_get,
                          uint64_t if_instance);

void kept_check(const struct kept *k);

#endif
