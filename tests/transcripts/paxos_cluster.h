/* SPDX-License-Identifier: Apache-2.0
 *
 * paxos_cluster.h -- a cell of real replicas between an explicit disk, an
 * explicit network and a virtual clock.
 *
 * Nothing happens by itself: a message waits in its link until it is delivered,
 * a write waits until the disk is synced, and time stands still until somebody
 * moves it.  All that a replica wishes for is printed as it wishes for it.
 */
#ifndef TESTS_PAXOS_CLUSTER_H
#define TESTS_PAXOS_CLUSTER_H

#include "paxos/paxos.h"
#include "tests/transcripts/transcript.h"

enum {
    CELL_MAX = 7,
    LINK_MAX = 512,   /* Messages on their way from one replica to another. */
    WRITES_MAX = 256, /* Batches on their way to one disk. */
    LOG_MAX = 1024,   /* Slots that a disk can hold. */
};

/* One frame, as it travels. */
struct frame {
    uint8_t *data;
    size_t size;
};

struct link {
    struct frame frame[LINK_MAX];
    uint32_t count;
    bool cut; /* What is sent is lost. */
};

/* What one batch asked the disk to keep. */
struct write {
    uint64_t ticket;
    bool with_hard;
    struct paxos_hard hard;
    struct paxos_entry entries[PAXOS_RING]; /* Their data is the write's own. */
    uint32_t entries_count;
    paxos_slot chosen_mark;
};

struct disk {
    struct paxos_hard hard;
    paxos_slot chosen_mark;
    uint64_t incarnation;
    struct paxos_entry *log[LOG_MAX]; /* By slot; NULL: no row. */
    struct write *writes[WRITES_MAX]; /* Not yet synced, oldest first. */
    uint32_t writes_count;
    bool stalled; /* settle() doesn't sync it. */
};

struct replica {
    struct paxos *paxos; /* NULL: crashed. */
    void *block;
    uint64_t identity;
    uint64_t wake_at_ms;
    uint64_t confirmed;
    paxos_slot trim;
    struct disk disk;
    struct paxos_wanted wanted[PAXOS_MEMBERS_MAX]; /* Log reads not yet answered. */
    uint32_t wanted_count;
};

struct cluster {
    uint32_t count;
    uint64_t now_ms;
    uint32_t value_max;
    struct replica replica[CELL_MAX]; /* That of replica i at i - 1. */
    struct link link[CELL_MAX][CELL_MAX];
    uint64_t agreed[LOG_MAX];  /* By slot: the checksum of what was chosen. */
    bool disagreed;            /* Two replicas applied different values in one slot. */
    struct text *out;          /* NULL: quietly. */
    bool dropped[PAXOS_DROPS]; /* What was met; kept over cluster_begin(). */
    bool noted[PAXOS_NOTES];
    bool received[PAXOS_MSG_TYPES];
};

/* Replicas 1 ... count, initialised with the same list and started.  `differ`
 * (0: nobody) was given another list than the others. */
void cluster_begin(struct cluster *c, uint32_t count, bool firm, uint32_t value_max,
                   uint32_t differ);
void cluster_end(struct cluster *c);

struct replica *cluster_replica(struct cluster *c, uint32_t id); /* NULL: none, or crashed. */
struct link *cluster_link(struct cluster *c, uint32_t from, uint32_t to);

void cluster_step(struct cluster *c, uint32_t id, const struct paxos_event *event);
void cluster_tick(struct cluster *c, uint32_t id);
/* Takes what the replica wishes, after a call that was no event. */
void cluster_drain(struct cluster *c, uint32_t id);

void cluster_send(struct cluster *c, const struct paxos_message *message);
/* The oldest message of the link; false when there is none. */
bool cluster_deliver(struct cluster *c, uint32_t from, uint32_t to);
bool cluster_lose(struct cluster *c, uint32_t from, uint32_t to);
/* Everything written so far is on disk, and the replica is told. */
bool cluster_sync(struct cluster *c, uint32_t id);
/* The oldest log read that the replica asked for is answered from its disk. */
bool cluster_answer(struct cluster *c, uint32_t id);
void cluster_trim(struct cluster *c, uint32_t id);

void cluster_crash(struct cluster *c, uint32_t id); /* What was not synced is lost. */
void cluster_restart(struct cluster *c, uint32_t id);
/* The store is gone and was initialised anew. */
void cluster_wipe(struct cluster *c, uint32_t id, uint64_t identity);

/* Delivers, syncs and answers until nothing is left to do at this moment. */
void cluster_settle(struct cluster *c);
/* Moves time and ticks who wants to wake; `settle`: everything flows meanwhile. */
void cluster_wait(struct cluster *c, uint64_t ms, bool settle);

/* How entries and messages stand in a transcript. */
void put_entry(struct text *out, const struct paxos_entry *entry);
void put_message(struct text *out, const struct paxos_message *message);

#endif
