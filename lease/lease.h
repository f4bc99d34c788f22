/* SPDX-License-Identifier: Apache-2.0
 *
 * lease.h -- the replicated state of a cell: its files, its sessions, and who
 * holds what.  A function of the log alone.
 *
 * lease_apply() is the only door to change.  It sees no clock, no connection,
 * no randomness and no iteration order of a hash map: same log, same state,
 * byte for byte, on every replica.  What time brings about ("session 5f is
 * over") reaches it as a command, proposed by the master's keeper.
 *
 * The state is a set of *records*: each node, session, claim on a lock, remembered
 * outcome, opener of an ephemeral node and chunk of history is one, the counters
 * are one.  A record has a key and an encoding, and is at once the unit of the
 * digest, of the store's tables and of a snapshot; so these three can't disagree
 * about what the state is.
 */
#ifndef LEASE_LEASE_H
#define LEASE_LEASE_H

#include "lease/command.h"
#include "lease/types.h"

struct lease;

/* An empty state: only the root directory.  Everything is allocated through
 * `allocator`, which is copied. */
struct lease *lease_new(const struct lease_allocator *allocator,
                        const struct lease_limits *limits);
void lease_free(struct lease *l);

/* ------------------------------------------------------------------ change */

/* Where in the log a command stands, and under whom. */
struct lease_at {
    uint64_t slot;
    uint32_t position; /* In the batch, from 1. */
    uint64_t epoch;    /* Of the master that first proposed the entry. */
    uint64_t wall_ms;  /* Its clock; a label. */
};

struct lease_result {
    enum lease_rc rc;
    uint64_t revision;      /* Of the cell, after the command. */
    struct lease_stat stat; /* Of the node, after PUT, CREATE, OPEN and SET_ACL; zero else.
                             * After CONFLICT, of the node as it is. */
    bool created;           /* PUT, ACQUIRE or OPEN made the node. */

    uint64_t token;    /* ACQUIRE granted: of the holding. */
    uint64_t session;  /* SESSION_OPEN. */
    uint32_t lease_ms; /* SESSION_OPEN: as granted. */

    /* Where the outcome was decided: the command's own place or, for a retry or
     * a lock granted later, that of the first execution or of the grant. */
    uint64_t slot;
    uint32_t position;
};

/* The outcome of an acquire that had waited: granted (LEASE_OK), cancelled, out
 * of time (LEASE_LOCKED), or its node (LEASE_NO_NODE) or session is gone
 * (LEASE_NO_SESSION). */
struct lease_settled {
    uint64_t session;
    uint64_t request;
    struct lease_result result;
};

/* A later master made the entry at `slot` itself: from here on, entries of
 * epochs below `epoch` apply as nothing, so that of an old master's open slots
 * a gapless prefix survives. */
void lease_begin_epoch(struct lease *l, uint64_t slot, uint64_t epoch);

/* Is an entry of `epoch` still in force?  If not, its commands are not applied,
 * but lease_slot_done() is called all the same. */
bool lease_in_force(const struct lease *l, uint64_t epoch);

/* Applies one command.  It must have been checked by lease_command_decode(). */
void lease_apply(struct lease *l, const struct lease_at *at,
                 const struct lease_command *command, struct lease_result *ret_result);

/* The acquires that the last lease_apply() settled, in order; borrowed until the
 * next one. */
const struct lease_settled *lease_settled(const struct lease *l, uint32_t *ret_count);

/* A lock that stays closed because its holder failed (Chubby, 2.4): until a
 * command says that its time is over nobody is newly granted it, and the node is
 * not deleted.  Those who share the holding keep it. */
struct lease_delay {
    uint64_t instance; /* Of the node. */
    uint64_t number;   /* Of the claim that failed: never used again. */
    uint32_t delay_ms;
};

/* The lock-delays that the last lease_apply() began, in order; borrowed until the
 * next one. */
const struct lease_delay *lease_delays_begun(const struct lease *l, uint32_t *ret_count);

/* The whole entry of `slot`, of `commands` commands, is applied.  Slots come in
 * order, without a gap. */
void lease_slot_done(struct lease *l, uint64_t slot, uint32_t commands);

/* ------------------------------------------------------------------- query */

/* The state as it stands: how far, and at which numbers. */
struct lease_position {
    uint64_t slot;     /* Applied up to here. */
    uint32_t position; /* Commands in that slot; the index of a read is (slot, position). */
    uint64_t revision;
    uint64_t epoch; /* Of the newest master whose first entry is applied. */
};

struct lease_position lease_position(const struct lease *l);

/* A node, and for a file its content, borrowed until the next change. */
enum lease_rc lease_get(const struct lease *l, struct bytes path, struct lease_stat *ret_stat,
                        struct bytes *ret_content);

struct lease_child {
    struct bytes name; /* Borrowed until the next change. */
    struct lease_stat stat;
    bool denied; /* The principal may not read it: of `stat` only the kind is set. */
};

/* Children of a directory in order of their octets, those behind `after`
 * ("" from the start), at most `limit` (and LEASE_LIST_MAX), as `principal` sees
 * them.  `ret_more` says whether others follow. */
enum lease_rc lease_list(const struct lease *l, struct bytes path, struct bytes after,
                         uint32_t limit, struct bytes principal,
                         struct lease_child *ret_children, uint32_t *ret_count, bool *ret_more);

/* ------------------------------------------------------------------ rights */

/* May `principal` do so with the node at `path`?  LEASE_OK, LEASE_DENIED or
 * LEASE_BAD_PATH.  Of a node that is missing the nearest directory above it that
 * exists is asked, so LEASE_DENIED doesn't tell whether there is one; nor does it tell
 * what else is wrong with the path.  Who gets LEASE_OK for what is missing will be told
 * so by whatever looks for the node. */
enum lease_rc lease_may(const struct lease *l, struct bytes path, struct bytes principal,
                        enum lease_right right);

/* Does no node name an ACL?  Then everybody may do everything, and needn't be judged one by
 * one: a cell without access control doesn't pay for it. */
bool lease_is_open(const struct lease *l);

/* Does the ACL of this name, as it is now, list the principal?  For events, whose nodes
 * may be gone. */
bool lease_acl_lists(const struct lease *l, struct bytes acl, struct bytes principal);

/* The names of a node's ACLs, borrowed until the next change. */
enum lease_rc lease_acl(const struct lease *l, struct bytes path,
                        struct bytes ret_names[LEASE_RIGHTS]);

struct lease_session {
    uint64_t id;
    uint32_t lease_ms;
    uint64_t opened_wall_ms;
    struct bytes label; /* Borrowed until the next change. */
    struct bytes principal;
    uint32_t held;    /* Claims that are held, ... */
    uint32_t waiting; /* ... and that wait. */
    uint32_t results; /* Outcomes not yet acknowledged. */
    uint32_t opens;   /* Ephemeral nodes that it has open. */
    bool cache;       /* Its client may keep what it reads. */
};

/* False: there is no such session. */
bool lease_session_get(const struct lease *l, uint64_t session,
                       struct lease_session *ret_session);

/* Is this the secret that the session was opened with? */
bool lease_session_secret(const struct lease *l, uint64_t session, struct bytes secret);

/* Visits all sessions, in order of their ids; from `after`, exclusive. */
uint64_t lease_session_next(const struct lease *l, uint64_t after); /* 0: no more. */

/* The same of those whose clients may keep what they read; O(log n). */
uint64_t lease_caching_next(const struct lease *l, uint64_t after);

/* What may go with a command that ends something: writes the path of a node, below
 * /ls/<cell>/, and its size.  False: there is no such node, or no acquire that waits under
 * this request. */
bool lease_instance_path(const struct lease *l, uint64_t instance, uint8_t path[LEASE_PATH_MAX],
                         size_t *ret_size);
bool lease_claim_path(const struct lease *l, uint64_t session, uint64_t request,
                      uint8_t path[LEASE_PATH_MAX], size_t *ret_size);

/* Visits the ephemeral nodes that the session has open, holds or awaits: those that
 * may go when it ends.  One may be visited more than once. */
void lease_ephemerals_visit(const struct lease *l, uint64_t session,
                            void (*visit)(void *context, struct bytes path), void *context);

/* The longest lease that any KeepAlive of the session may have been answered with:
 * its own or, unless that is shorter than the default, the ceiling to which leases
 * are stretched while masters are loaded. */
uint32_t lease_longest_ms(const struct lease *l, uint32_t lease_ms);
uint32_t lease_stretch_ms(const struct lease *l); /* The ceiling; 0: none. */

/* A holder or waiter of a lock, or one who held it and failed. */
struct lease_claim {
    bool held;
    bool delayed; /* Neither holds nor waits: its lock-delay runs. */
    enum lease_mode mode;
    uint64_t session;
    uint64_t handle;
    uint64_t request; /* That asked for it. */
    uint64_t number;  /* Its own, in the cell; with the node's instance what names a delay. */
    uint64_t token;   /* Held, delayed: of the holding. */
    uint64_t since_wall_ms; /* Granted, asked, or failed; a label. */
    uint32_t delay_ms;      /* Held, delayed: the whole of it. */
    uint32_t wait_ms;       /* Of a waiter; 0: for ever. */
    struct bytes label;     /* Of its session; borrowed until the next change. */
};

/* Holders, then who failed and closes it still, then waiters in the order in which they will be
 * served; those behind the first `skip`, at most `limit`. */
enum lease_rc lease_claims(const struct lease *l, struct bytes path, uint32_t skip,
                           uint32_t limit, struct lease_claim *ret_claims, uint32_t *ret_count,
                           bool *ret_more);

/* The next node, in order of instances, that has claims; its path
 * below /ls/<cell>/ is written to `path`.  0: no more. */
uint64_t lease_locked_next(const struct lease *l, uint64_t after, uint8_t path[LEASE_PATH_MAX],
                           size_t *ret_path_size);

/* Does (session, request) still wait, and how long would it? */
bool lease_waiting(const struct lease *l, uint64_t session, uint64_t request,
                   uint32_t *ret_wait_ms);

/* Visits all acquires that wait, in no particular order, for the keeper of a new
 * master. */
void lease_waiting_visit(const struct lease *l,
                         void (*visit)(void *context, uint64_t session, uint64_t request,
                                       uint32_t wait_ms),
                         void *context);

/* Does somebody hold the lock in this mode under this token (CheckSequencer of
 * Chubby, 2.4)?  LEASE_OK, or LEASE_NOT_HELD, LEASE_NO_NODE, ... */
enum lease_rc lease_sequencer(const struct lease *l, struct bytes path, enum lease_mode mode,
                              uint64_t token);

/* Visits all lock-delays that run, for the keeper of a new master. */
void lease_delays_visit(const struct lease *l,
                        void (*visit)(void *context, const struct lease_delay *delay),
                        void *context);

/* ----------------------------------------------------------------- history */

/* One change of one node.  What it points at is borrowed until the next change of
 * the state. */
struct lease_event {
    uint64_t revision;
    enum lease_change change;
    enum lease_kind kind; /* Of the node. */
    uint64_t instance;
    uint64_t parent;      /* CREATED, DELETED: the instance of its directory. */
    struct bytes path;    /* Below /ls/<cell>/, as of then. */
    uint64_t wall_ms;     /* A label. */
    uint64_t generation;  /* CREATED, WRITTEN: of the content. */
    uint64_t session;     /* GRANTED, RELEASED, CONTENDED: whose claim. */
    enum lease_mode mode; /* GRANTED, RELEASED, CONTENDED. */
    uint64_t token;       /* GRANTED, RELEASED: of the holding. */
    uint32_t delay_ms;    /* RELEASED by failing: the lock-delay that began; else 0. */
    bool ephemeral;       /* Is the node? */
    bool failed;          /* RELEASED: its session expired. */
    bool has_content;     /* CREATED, WRITTEN of a file: `content` is what was written; false
                           * when it is larger than LEASE_EVENT_CONTENT_MAX. */
    bool has_old; /* WRITTEN, DELETED of a file: `old` is what it was before; as above. */
    uint32_t content_size; /* CREATED, WRITTEN: also of what is not kept. */
    struct bytes acl_read; /* The name of the node's read ACL, as of then (ACL_CHANGED: from
                            * then on): whom that does not list now is not told. */
    struct bytes content;
    struct bytes old;
};

/* History is kept from here on: every event above this revision is there, and
 * perhaps none at or below it. */
uint64_t lease_history_floor(const struct lease *l);

/* A place between two events.  Valid until the next change of the state. */
struct lease_place {
    const void *chunk;
    uint32_t offset;
};

/* Before the first event above `revision`, which is not below the floor.
 * O(log of the history). */
struct lease_place lease_history_seek(const struct lease *l, uint64_t revision);

/* The event behind `place`, which moves on; events come in the order in which
 * they happened.  False: there is no more. */
bool lease_history_next(const struct lease *l, struct lease_place *place,
                        struct lease_event *ret_event);

struct lease_counts {
    uint64_t nodes;
    uint64_t sessions;
    uint64_t caching; /* Of them, those whose clients may keep what they read. */
    uint64_t held;    /* Claims. */
    uint64_t waiting;
    uint64_t delayed;
    uint64_t opens; /* Of ephemeral nodes. */
    uint64_t history_bytes;
    uint64_t content_bytes;
    uint64_t memory_bytes; /* Taken from the allocator and not given back. */
};

struct lease_counts lease_counts(const struct lease *l);

/* Sum modulo 2^64 of each record's hash, kept up to date by every change. */
uint64_t lease_digest(const struct lease *l);

/* ----------------------------------------------------------------- records */

/* A record as the store keeps it.  `value.data == NULL` deletes the key. */
struct lease_row {
    struct bytes key;
    struct bytes value;
};

/* Octets that the rows changed since the last lease_rows_taken() would take. */
uint64_t lease_rows_bytes(const struct lease *l);

/* Visits each record changed since the last lease_rows_taken(), once, with its
 * encoding of now.  The row is borrowed for the call of `visit`. */
void lease_rows_visit(const struct lease *l,
                      void (*visit)(void *context, const struct lease_row *row), void *context);
void lease_rows_taken(struct lease *l);

/* Visits every record, in order of the keys: a snapshot. */
void lease_rows_all(const struct lease *l,
                    void (*visit)(void *context, const struct lease_row *row), void *context);

/* Loads one record into a state that was just made, in order of the keys.
 * False when it is malformed or contradicts what was loaded.  lease_loaded()
 * ends it: the rows are the state after command `position` of `slot`, and its
 * digest was `digest`.  False when the whole makes no sense. */
__attribute__((warn_unused_result)) bool lease_row_load(struct lease *l,
                                                        const struct lease_row *row);
__attribute__((warn_unused_result)) bool lease_loaded(struct lease *l, uint64_t slot,
                                                      uint32_t position, uint64_t digest);

/* One line of text about a stored row, for lockdump (lease/describe.c). */
const char *lease_row_describe(const struct lease_row *row, char *text, size_t size);

/* Asserts the invariants numbered in docs/lease.md.  O(size of the state). */
void lease_check(const struct lease *l);

#endif
