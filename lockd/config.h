/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h -- what an operator may say, read from one JSON file.
 *
 * Reading is strict: a wrong, missing, duplicate or unknown field is refused by
 * name, with its place in the file and what is expected there; a setting that
 * nobody noticed being ignored is worse than a daemon that doesn't start.
 * lockd.conf(5) describes each field.
 */
#ifndef LOCKD_CONFIG_H
#define LOCKD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/types.h"
#include "lockd/address.h"
#include "lockd/store.h"

enum {
    CONFIG_FILE_MAX = 1024 * 1024, /* Octets of the file. */
    CONFIG_PATH_MAX = 1024,        /* Octets of data_dir with its NUL. */
    CONFIG_PEERS_MAX = 7,
    CONFIG_LISTENERS_MAX = 8,
    CONFIG_SOCKET_MAX = 108, /* Octets of a local socket's path with its NUL: sun_path. */
    CONFIG_ERROR_MAX = 512,
};

struct config_peer {
    paxos_id id;
    char address[ADDRESS_MAX];
};

/* A port for clients.  Who connects to it is `principal`, until there is a better way to
 * know; not LEASE_ROOT, which is that of the local socket alone. */
struct config_listener {
    char listen[ADDRESS_MAX];
    char advertise[ADDRESS_MAX]; /* Where clients find it; empty: where it listens. */
    char principal[LEASE_PRINCIPAL_MAX + 1];
};

struct config {
    char cell[STORE_CELL_MAX];
    paxos_id replica;
    char data_dir[CONFIG_PATH_MAX];
    /* `listen`, `advertise`, `principal` of the file are the first; `listeners` has more.
     * No two have one principal: a client that is sent to the master is sent to the port
     * of its own. */
    struct config_listener listeners[CONFIG_LISTENERS_MAX];
    uint32_t listeners_count;
    char local_socket[CONFIG_SOCKET_MAX]; /* Of the administrator of this machine, LEASE_ROOT;
                                           * data_dir/lockd.sock unless given. */
    char listen_peer[ADDRESS_MAX]; /* For peers; where it stands in `peers` unless given. */
    struct config_peer peers[CONFIG_PEERS_MAX]; /* By ascending id, this replica included. */
    uint32_t peers_count;

    uint32_t heartbeat_ms;
    uint32_t master_lease_ms;
    uint32_t election_jitter_ms_min;
    uint32_t election_jitter_ms_max;
    uint32_t clock_drift_ppm;
    uint32_t disk_stall_ms;
    bool lease_reads;

    uint32_t line_deadline_ms;
    uint32_t idle_deadline_ms;
    uint32_t clients_max;
    uint32_t requests_max;         /* Outstanding on one connection. */
    uint32_t output_max_bytes;     /* Buffered for one connection. */
    uint32_t peer_queue_max_bytes; /* Buffered for one peer. */
    uint32_t queue_commands_max;   /* Waiting in the whole replica ... */
    uint32_t queue_max_bytes;      /* ... and their octets. */
    uint32_t reads_max;
    uint32_t cache_lease_ms;
    uint32_t cached_max;
    uint32_t disk_reserve_mib;
};

/* Reads and verifies `path`.  False: `ret_error` says what is wrong, and
 * `ret_config` is untouched. */
bool config_read(const char *path, struct config *ret_config, char ret_error[CONFIG_ERROR_MAX]);

/* The same from memory; `path` only names it in errors. */
bool config_parse(const char *path, const char *text, size_t size, struct config *ret_config,
                  char ret_error[CONFIG_ERROR_MAX]);

/* A cell "dev" of one replica on loopback.  `listen` and `data_dir` may be NULL:
 * 127.0.0.1:7400, and ${XDG_STATE_HOME:-~/.local/state}/lockd/dev. */
bool config_dev(const char *listen, const char *data_dir, struct config *ret_config,
                char ret_error[CONFIG_ERROR_MAX]);

#endif
