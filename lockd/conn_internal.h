/* SPDX-License-Identifier: Apache-2.0
 *
 * conn_internal.h -- what conn.c (life, deadlines), conn_input.c (lines) and
 * conn_output.c (what leaves) know of a connection.
 *
 *              end of input             all answered and sent
 *     OPEN ------------------> ENDING ------------------------> DEAD
 *       \                                                        ^
 *        \  a line that must end it             read to its end  |
 *         `----------------------> LINGERING --------------------'
 *                                            or CONN_LINGER_MS
 *
 * A broken socket or a passed deadline leads from anywhere to DEAD.
 */
#ifndef LOCKD_CONN_INTERNAL_H
#define LOCKD_CONN_INTERNAL_H

#include "lockd/conn.h"
#include "lockd/tags.h"

#include <sys/uio.h>
#include <uthash.h>

enum {
    CONN_VECTORS = 1024,   /* Runs of octets that one call sends: IOV_MAX of Linux. */
    CONN_LOCAL_SPARE = 16, /* Connections through the local socket beyond clients_max. */
    CONN_PROBE_S = 30,     /* How long a peer may be silent before the kernel asks after it. */
};

enum conn_state { CONN_OPEN, CONN_ENDING, CONN_LINGERING, CONN_DEAD };

/* Shared octets that stand behind the first `at` of the connection's own. */
struct conn_piece {
    struct conn_shared *shared;
    size_t at;
};

struct conn {
    uint64_t number;
    const char *principal; /* Of its listener, which outlives it. */
    struct conns *all;
    UT_hash_handle hh;
    struct conn *dirty_next, *dirty_prev; /* Has output to send in this turn. */
    struct conn *held_next, *held_prev;   /* Is not read for now. */
    ev_io reader;
    ev_io writer; /* Runs only while the socket takes no more. */
    int fd;
    enum conn_state state;
    bool dirty, held;
    bool lasting; /* It has carried a session's requests, or watches. */
    bool slow;    /* It leaves much unread, and the handler knows. */

    char *in; /* What was read and not yet parsed. */
    size_t in_size, in_capacity;
    size_t in_scanned; /* Without a newline up to here. */
    struct wire_buffer out;
    size_t out_sent;
    struct conn_piece *pieces; /* Those of pieces_first to pieces_count are unsent, ... */
    size_t pieces_first, pieces_count, pieces_capacity;
    size_t shared_sent;   /* ... except so much of the first. */
    size_t shared_unsent; /* Octets in them. */
    struct tag_list tags; /* Of the outstanding requests. */
    uint64_t active_ms;   /* When octets last moved. */
    uint64_t line_ms;     /* Since when there is half a line; 0: there is none. */
    uint64_t end_ms;      /* LINGERING: until then. */
};

struct conns {
    struct ev_loop *loop;
    const struct config *config;
    struct conns_handler handler;
    ev_timer sweep;
    struct conn *table; /* uthash by number. */
    struct conn *dirty, *held, *dead;
    struct tags *tags;
    struct wire_memory memory;
    char *shared;                       /* CONN_READ_SIZE octets. */
    struct iovec vectors[CONN_VECTORS]; /* Of the call that is being made. */
    uint64_t number_last;
    size_t buffered; /* Octets of the connections' buffers; of shared ones, once. */
    bool paused;
    bool requests; /* Some were handed over since this was last cleared. */
};

static inline size_t conn_unsent(const struct conn *c)
{
    return c->out.size - c->out_sent + c->shared_unsent;
}

/* conn.c.  A killed connection has given everything back, but the struct lives
 * until the end of the turn: callers further up may still look at its state. */
void conn_kill(struct conn *c, const char *reason);
void conn_hold(struct conn *c);
void conn_drop_input(struct conn *c);

/* conn_output.c. */
void conn_refuse(struct conn *c, const struct wire_refusal *refusal);
void conn_send(struct conn *c);
void conn_on_writable(struct ev_loop *loop, ev_io *io, int events);
void conn_drop_output(struct conn *c);

/* conn_input.c.  May more requests be taken now? */
bool conn_may_go_on(const struct conn *c);
void conn_on_readable(struct ev_loop *loop, ev_io *io, int events);

/* Goes on with what was read before the connection was held. */
void conn_step_held(struct conn *c, uint64_t now_ms);

#endif
