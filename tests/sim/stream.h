/* SPDX-License-Identifier: Apache-2.0
 *
 * stream.h -- what one watch has been told, compared with what has happened (G11).
 *
 * The model knows every event of the log.  A stream walks through those that its
 * scope lets pass: each once, in order, none missing; a coalesced one stands for
 * exactly so many of one node that follow each other; a gap steps over what it names.  It is
 * used twice: by the connection on which a master tells (links.c), and by the client, over all
 * connections and masters (views.c).
 */
#ifndef TESTS_SIM_STREAM_H
#define TESTS_SIM_STREAM_H

#include "tests/sim/world.h"
#include "tools/check/model.h"
#include "tools/check/scope.h"

struct stream {
    struct scope scope;
    struct bytes principal; /* Who is told.  Borrowed. */
    bool begun;        /* It is known from where on it is told. */
    uint64_t start;    /* Only what is above it. */
    uint32_t next;     /* The first event in scope that was not told yet. */
    uint64_t revision; /* Of the newest that was told, or skipped by a gap. */
};

/* What came, in the words of the model. */
struct told {
    struct lease_event event; /* `revision` is that of the newest change. */
    uint64_t first_revision;
    uint32_t count;
    bool content, old; /* Were asked for. */
};

/* Told all above `revision`; if that is not known yet, from the first event on. */
void stream_begin(struct world *w, struct stream *s, uint64_t revision);

/* Fails the world unless this is what had to come.  `who` names the stream. */
void stream_take(struct world *w, struct stream *s, const struct told *told, const char *who);
void stream_gap(struct world *w, struct stream *s, uint64_t revision, const char *who);

/* The oldest event up to `revision` that is still to be told; of the node `path`
 * only, unless that is NULL.  NULL: none. */
const struct lease_event *stream_owes(struct world *w, struct stream *s, uint64_t revision,
                                      const struct bytes *path);

#endif
