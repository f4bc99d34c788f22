/* SPDX-License-Identifier: Apache-2.0
 *
 * locate.h -- which replica to try next, and after what pause.
 *
 * The search goes round the endpoints known: those given, and those that
 * replicas told of.  A replica that names the master is believed far enough to
 * try that address next, but not to stay there: the round goes on if it fails,
 * and an address that has just failed is not followed again until somebody names
 * it under a newer epoch, or a second has passed.  So a follower that has not yet
 * noticed its master's death can't hold the search up.
 *
 * Who names a local socket means just that replica, and bears another principal there
 * than elsewhere: from a local socket nobody is followed, and nobody is sent to one.
 *
 * Pauses are short at first, because a fail-over takes a fraction of a second, and
 * grow when it takes longer.  All of them are jittered from the seed.
 */
#ifndef LIBCLIENT_LOCATE_H
#define LIBCLIENT_LOCATE_H

#include "libclient/engine.h"

struct endpoint {
    char address[ENGINE_ADDRESS_MAX]; /* "host:port" or "unix:/path". */
    bool failed;
    uint64_t failed_ms;    /* When it last failed, ... */
    uint64_t failed_epoch; /* ... and the highest epoch seen by then. */
};

struct locate {
    struct endpoint endpoints[ENGINE_ENDPOINTS_MAX];
    uint32_t count;
    uint32_t current;
    uint32_t home;   /* Where the round goes on after a hint was followed. */
    uint32_t tried;  /* In this round. */
    uint32_t pauses; /* Since the search began. */
    bool searching;
    uint64_t since_ms; /* The search began. */
    uint64_t epoch;    /* The highest seen. */
    uint64_t chance;
};

/* `endpoints` is "host[:port],unix:/path,...".  False: none, too many or malformed. */
bool locate_init(struct locate *l, const char *endpoints, uint64_t seed);

/* Adds an address, unless it is known, malformed or one too many. */
void locate_learn(struct locate *l, struct wire_text address);

/* The address to try, and whether it is a socket of this host. */
const char *locate_address(const struct locate *l);
bool locate_is_local(const struct locate *l);

/* A search begins, unless one is under way. */
void locate_begin(struct locate *l, uint64_t now_ms);

/* The current endpoint is what was searched for. */
void locate_found(struct locate *l, uint64_t epoch);

/* A replica was heard to have applied entries of `epoch`. */
void locate_heard(struct locate *l, uint64_t epoch);

/* The current endpoint can't be used, or is of no use now: moves on to the next.
 * Returns the pause before that; 0: at once.  `failed` says that it was tried and
 * didn't serve, rather than that it knew no master. */
uint64_t locate_next(struct locate *l, uint64_t now_ms, bool failed);

/* The current endpoint says that `address` is the master.  True: it is worth
 * trying, and is the current one now. */
bool locate_hint(struct locate *l, uint64_t now_ms, struct wire_text address);

/* The pause before something is tried again. */
uint64_t locate_pause(struct locate *l, uint64_t now_ms);

/* A number in [low, high], from the seed. */
uint64_t locate_chance(struct locate *l, uint64_t low, uint64_t high);

#endif
