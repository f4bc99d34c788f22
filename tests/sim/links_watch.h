/* SPDX-License-Identifier: Apache-2.0
 *
 * links_watch.h -- the watches of one connection, and what it carried of them.
 *
 * Looks at what a master puts into a connection, in that order: no watch is told
 * anything but what its stream allows, no reply shows a state of a node of which an
 * event is still owed, and no progress overtakes one (G11).
 */
#ifndef TESTS_SIM_LINKS_WATCH_H
#define TESTS_SIM_LINKS_WATCH_H

#include "libclient/wire.h"
#include "lockd/service.h"
#include "tests/sim/replica.h"
#include "tests/sim/stream.h"

struct link_watch {
    uint64_t watch;
    struct stream stream;
    bool answered; /* It is set: from here on it may be owed something. */
    bool content, old;
    uint64_t from; /* Or LEASE_ANY. */
};

struct link_watches {
    struct link_watch *all;
    uint32_t count, capacity;
    uint64_t trimmed_us; /* When one of them was last told that history is shorter. */
};

struct link_state {
    bool was_slow; /* Events were held back, at one time or another. */
    bool removing; /* A removal is under way. */
};

void link_watch_asked(struct world *w, struct link_watches *l, const struct wire_watch *watch,
                      struct bytes path, const char *principal);
void link_watch_answered(struct world *w, struct link_watches *l, uint64_t watch, bool done,
                         uint64_t revision);
void link_watch_removed(struct link_watches *l, uint64_t watch);

/* What `what` shows of the node, or of all nodes, was told before. */
void link_watches_owe_nothing(struct world *w, struct link_watches *l, uint64_t revision,
                              const struct bytes *path, const char *what);

void link_watches_event(struct world *w, const struct replica *r, struct link_watches *l,
                        const struct service_event *event, struct link_state state);
void link_watches_end(struct link_watches *l);

#endif
