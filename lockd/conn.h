/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.h -- clients' connections: lines in, lines out.
 *
 * What a client sends costs bounded memory and bounded time, whatever it is:
 *
 *     a line too long, or no JSON         an error reply; too long also ends it
 *     requests_max outstanding            reading stops until one is answered
 *     CONN_WAITING_MAX acquires waiting   `overloaded`
 *     CONN_OUTPUT_PAUSE unread octets     reading stops until they are read
 *     output_max_bytes unread octets      the connection is closed
 *     half a line for line_deadline       closed
 *     nothing for idle_deadline           closed, if nothing is outstanding; with
 *                                         sessions or watches not before
 *                                         CONN_SESSION_IDLE_MS
 *     no acknowledgement for as long      closed: its machine or network is gone
 *     clients_max connections             `overloaded`, and closed
 *     CONN_BUFFERED_MAX octets in all     who then asks for more is closed
 *
 * Nobody else is disturbed.  Acquires that wait and KeepAlives are *patient*:
 * they are answered when the cell has cause to, so they have a limit of their own
 * and never keep the requests behind them from being read; so do commands that wait for
 * what clients keep, once the service says so.  A client that ends its sending half
 * is answered what it asked, then the connection is closed.
 */
#ifndef LOCKD_CONN_H
#define LOCKD_CONN_H

#include <ev.h>

#include "libclient/wire.h"
#include "lockd/address.h"
#include "lockd/config.h"

enum {
    CONN_READ_SIZE = 256 * 1024,    /* Octets that one read() may bring. */
    CONN_OUTPUT_PAUSE = 256 * 1024, /* No new requests while more than this is unsent. */
    CONN_EVENTS_PAUSE = 128 * 1024, /* No more events while more than this is unsent. */
    CONN_BUFFERED_MAX = 1024 * 1024 * 1024, /* In the large buffers of all connections. */
    CONN_BUFFER_KEPT = 16 * 1024, /* Larger buffers are given back once they are empty. */
    CONN_LINGER_MS = 2000,        /* For a refused client to read why. */
    CONN_SWEEP_MS = 500,          /* How often deadlines are looked at. */
    CONN_WAITING_MAX = 16 * 1024, /* No more acquires may wait beside what is patient, ... */
    CONN_PATIENT_MAX = 32 * 1024, /* ... but as many KeepAlives find room above them. */
    /* Who keeps no session alive for so long has none left, or not here.  Then it
     * is a client that went without a word, and its descriptor is worth more. */
    CONN_SESSION_IDLE_MS = 2 * WIRE_LEASE_MS_MAX,
};

struct conns;

/* How requests leave and who is told of a client's end.  `client` is a number
 * that is never used again; the request is borrowed for the call. */
struct conns_handler {
    void (*request)(void *context, uint64_t now_ms, uint64_t client, uint64_t tag,
                    const char *principal, const struct wire_request *request);
    void (*forget)(void *context, uint64_t client);
    /* The client has left more than CONN_EVENTS_PAUSE unread, or has read half of
     * that again. */
    void (*slow)(void *context, uint64_t client, bool slow);
    void *context;
};

/* The configuration is borrowed.  NULL: out of memory. */
struct conns *conns_new(struct ev_loop *loop, const struct config *config,
                        const struct conns_handler *handler);
void conns_free(struct conns *all); /* Closes all connections.  Takes NULL. */

/* Takes over a socket.  `principal`, which is borrowed for ever, is who its client is. */
void conns_accept(struct conns *all, int fd, const struct address *from, const char *principal);

/* NULL: the client is gone. */
const char *conns_principal(const struct conns *all, uint64_t client);

/* One reply: between begin and end, the reply to `tag` is printed into the
 * buffer that begin returned, with `ret_id`.  NULL: the client is gone. */
struct wire_buffer *conns_reply_begin(struct conns *all, uint64_t client, uint64_t tag,
                                      struct wire_text *ret_id);
void conns_reply_end(struct conns *all, uint64_t client, uint64_t tag);

/* Octets that many connections send: printed once, kept until the last has sent
 * them.  They count once in CONN_BUFFERED_MAX. */
struct conn_shared;

/* Takes over the buffer's memory.  The caller has one reference.  NULL: out of
 * memory; the buffer is freed. */
struct conn_shared *conn_shared_new(struct conns *all, struct wire_buffer *octets);
void conn_shared_release(struct conn_shared *shared); /* Takes NULL. */

/* Sends a notification to a client, if it is still there: `head`, which is copied,
 * and then what is shared; NULL: nothing.  When there was no memory to print it
 * head.data is NULL: the connection ends then, because none may be left out. */
void conns_notify(struct conns *all, uint64_t client, struct wire_text head,
                  struct conn_shared *shared);

/* The request takes as long as it likes, which was not known when it came: it keeps those
 * behind it from being read no more. */
void conns_be_patient(struct conns *all, uint64_t client, uint64_t tag);

/* Back-pressure for all: no request is taken while paused. */
void conns_pause(struct conns *all, bool paused);

/* Goes on with connections that were held back and may go on.  True when that
 * brought requests. */
bool conns_resume(struct conns *all);

/* Sends what has gathered, with one call each. */
void conns_flush(struct conns *all);

/* Has every client taken all that was printed for it? */
bool conns_drained(const struct conns *all);

#endif
