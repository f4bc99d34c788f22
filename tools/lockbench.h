/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench.h -- what the parts of lockbench share.
 *
 * lockbench.c has the options and the report of a load, lockbench_load.c the
 * clients, lockbench_cached.c reads from memory, lockbench_scale.c a cell that is made
 * large, lockbench_cell.c a cell of its own, lockbench_histogram.c the latencies.
 */
#ifndef TOOLS_LOCKBENCH_H
#define TOOLS_LOCKBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libclient/lockd.h"

/* Says what is wrong, on standard error; false. */
__attribute__((format(printf, 1, 2))) bool bench_fail(const char *format, ...);

uint64_t bench_now_us(void);

/* SIGINT or SIGTERM came: what was begun is to be tidied up. */
bool bench_interrupted(void);

/* As many descriptors as we may have: a client has several. */
void bench_raise_limit(void);

/* ---------------------------------------------------------------- latencies */

enum {
    HISTOGRAM_FINE = 128, /* Buckets between a power of two and the next: below 1 %. */
    HISTOGRAM_POWERS = 33,
};

/* Counts by value, as HDR histograms do: the wider the larger the value. */
struct histogram {
    uint64_t counts[HISTOGRAM_POWERS][HISTOGRAM_FINE];
    uint64_t count;
    uint64_t max; /* Exact. */
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value that a share of all, 0 to 1, doesn't exceed; 0 if there is none. */
uint64_t histogram_quantile(const struct histogram *h, double share);

/* --------------------------------------------------------------------- load */

enum workload {
    WORKLOAD_LOCK,
    WORKLOAD_PUT,
    WORKLOAD_GET,
    WORKLOAD_HANDOFF, /* All want one lock, and give it back at once. */
    WORKLOAD_WATCH,   /* One writes a file that others watch. */
    WORKLOAD_CACHED,  /* One reads a file from its session's cache. */
};

struct load_settings {
    enum workload workload;
    const char *endpoints;
    uint32_t clients;
    uint32_t watchers; /* WORKLOAD_WATCH: clients besides the one that writes. */
    uint32_t value_bytes;
    enum lockd_level level; /* WORKLOAD_GET. */
    double seconds, warmup_seconds;
    /* Called where the measured window begins and ends. */
    void (*mark)(void *context, bool begins);
    void *context;
};

struct load_result {
    double seconds; /* As measured. */
    uint64_t ops;   /* Finished in the window. */
    uint64_t errors;
    uint64_t missed;            /* WORKLOAD_CACHED: those of `ops` that the cell answered. */
    struct histogram latencies; /* In microseconds. */
};

/* Opens a connection per client, prepares the nodes, and runs the closed loops
 * for warm-up and window.  False: it failed with a message. */
bool load_run(const struct load_settings *settings, struct load_result *ret_result);

/* The same of WORKLOAD_CACHED. */
bool cached_run(const struct load_settings *settings, struct load_result *ret_result);

/* -------------------------------------------------------------------- scale */

struct cell;

struct scale_settings {
    uint32_t clients; /* Connections over which all the rest is spread. */
    uint32_t nodes, sessions, locks, watches;
    bool json;
};

/* Fills a cell with nodes, sessions, held locks and watches, kills its master, and
 * says what they cost and what became of them.  False: it failed with a message, or
 * something was lost. */
bool scale_run(const struct scale_settings *settings, struct cell *cell);

/* --------------------------------------------------------------------- cell */

enum { CELL_REPLICAS_MAX = 7 };

struct cell {
    uint32_t count;
    pid_t pids[CELL_REPLICAS_MAX]; /* 0: not started. */
    char folder[256];              /* Of all that belongs to it; empty: none. */
    char endpoints[CELL_REPLICAS_MAX * 32];
};

/* Founds and starts replicas on loopback, with their files in a new folder below
 * `parent`.  `lockd` is the daemon's path.  False: it failed with a message, and
 * cell_stop() is still to be called. */
bool cell_start(struct cell *c, uint32_t count, const char *lockd, const char *parent);

/* Stops what runs and removes the folder. */
void cell_stop(struct cell *c);

/* The daemon beside this program, or where a build tree has it.  NULL: neither. */
const char *cell_find_lockd(void);

/* The replica that says that it is the master, from 0; -1: none does. */
int cell_master(const struct cell *c);

/* kill -9, and gone when this returns. */
void cell_kill(struct cell *c, uint32_t replica);

/* The memory of a replica that is resident, in octets; 0: it doesn't run. */
uint64_t cell_resident(const struct cell *c, uint32_t replica);

/* User and system time of processes together, in microseconds.  False: one of them
 * is gone. */
bool cell_cpu_us(const pid_t *pids, uint32_t count, uint64_t *ret_us);

#endif
