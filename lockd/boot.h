/* SPDX-License-Identifier: Apache-2.0
 *
 * boot.h -- from a folder to a replica that knows what it knew.
 */
#ifndef LOCKD_BOOT_H
#define LOCKD_BOOT_H

#include "lockd/config.h"
#include "lockd/service.h"
#include "lockd/store.h"

enum {
    BOOT_ERROR_MAX = 2048,
    BOOT_DETAIL_MAX = 512,
    BOOT_WATCHES_MAX = 1000000,  /* Of all connections to the replica. */
    BOOT_KEEPALIVES_BUSY = 5000, /* A second: from so many on leases are stretched. */
};

struct booted {
    struct store *store;
    struct service *service; /* Started. */
    struct store_identity identity;
    struct paxos_members members;
    uint64_t seed; /* For the shell's own chance. */
};

/* `lockd init`: makes the store of a new replica with an identity of its own.
 * False: `ret_error` says why, in a line for the operator. */
bool boot_init(const struct config *config, struct store_identity *ret_identity,
               char ret_error[BOOT_ERROR_MAX]);

/* Makes the folders above `data_dir` that are missing; for `--dev` only. */
bool boot_make_parents(const char *data_dir, char ret_error[BOOT_ERROR_MAX]);

/* Opens the store, rebuilds the state and starts the replica.  `ret_missing`
 * tells a store that isn't there from all other trouble. */
bool boot_open(const struct config *config, struct booted *ret_booted, bool *ret_missing,
               char ret_error[BOOT_ERROR_MAX]);

/* Takes a booted whose store or service may be NULL. */
void boot_close(struct booted *booted);

#endif
