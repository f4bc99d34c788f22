/* SPDX-License-Identifier: Apache-2.0
 *
 * inbound.c -- see inbound.h.
 */
#include "lockd/inbound.h"

#include "lockd/clock.h"
#include "lockd/trace.h"
#include "paxos/codec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

struct inbound {
    struct inbound *next, *prev;
    struct inbounds *all;
    ev_io io;
    ev_timer deadline; /* Of the hello. */
    int fd;            /* -1: ended, and to be freed. */
    paxos_id peer;     /* 0: no hello yet. */
    char from[ADDRESS_MAX];
    uint8_t *data;
    size_t size, capacity;
};

struct inbounds {
    struct ev_loop *loop;
    struct inbound_handler handler;
    struct inbound *list;
    uint32_t count;
    struct paxos_decoded decoded; /* Too large for a stack frame in a hot path. */
};

/* Closes; the struct is freed by whoever is outermost. */
static void end_inbound(struct inbound *in, enum trace_level level, const char *reason)
{
    if (in->fd < 0) {
        return;
    }
    trace_event(level, in->peer == 0 ? "peer.refused" : "peer.ended",
                trace_number("replica", in->peer), trace_text("from", in->from),
                trace_text("reason", reason));
    ev_io_stop(in->all->loop, &in->io);
    ev_timer_stop(in->all->loop, &in->deadline);
    close(in->fd);
    in->fd = -1;
}

static void bury(struct inbound *in)
{
    struct inbounds *all = in->all;
    const paxos_id peer = in->peer;
    assert(in->fd < 0);
    DL_DELETE(all->list, in);
    all->count--;
    free(in->data);
    free(in);
    if (peer != 0) {
        all->handler.ended(all->handler.context, peer);
    }
}

/* A replica that dials anew has given the older connection up, even if we
 * haven't noticed yet. */
static void end_older(struct inbounds *all, const struct inbound *newest)
{
    struct inbound *in = NULL;
    struct inbound *next = NULL;
    DL_FOREACH_SAFE(all->list, in, next)
    {
        if (in != newest && in->peer == newest->peer) {
            end_inbound(in, TRACE_INFO, "it has dialled anew");
            in->peer = 0; /* Replaced is not ended. */
            bury(in);
        }
    }
}

/* Octets done with; 0: more are needed, or the connection has ended. */
static size_t step_hello(struct inbound *in)
{
    struct hello hello;
    size_t size = 0;
    char reason[96];
    switch (hello_decode(bytes_of(in->data, in->size), &hello, &size)) {
    case HELLO_MORE:
        return 0;
    case HELLO_DAMAGED:
        end_inbound(in, TRACE_WARN, "what it sends is not a replica's hello");
        return 0;
    case HELLO_VERSION_UNKNOWN:
        snprintf(reason, sizeof reason, "it speaks version %zu of the hello, not %d", size,
                 HELLO_VERSION);
        end_inbound(in, TRACE_WARN, reason);
        return 0;
    case HELLO_DECODED:
        break;
    }
    const char *refusal = in->all->handler.hello(in->all->handler.context, &hello);
    if (refusal != NULL) {
        trace_event(TRACE_WARN, "peer.hello", trace_number("replica", hello.from),
                    trace_text("cell", hello.cell), trace_number("to", hello.to),
                    trace_text("from", in->from));
        end_inbound(in, TRACE_WARN, refusal);
        return 0;
    }
    ev_timer_stop(in->all->loop, &in->deadline);
    in->peer = hello.from;
    trace_event(TRACE_INFO, "peer.accepted", trace_number("replica", in->peer),
                trace_text("from", in->from),
                trace_text("client", hello.clients_count == 0 ? "" : hello.clients[0].address));
    end_older(in->all, in);
    return size;
}

static bool reserve(struct inbound *in, size_t capacity)
{
    if (capacity <= in->capacity) {
        return true;
    }
    uint8_t *data = realloc(in->data, capacity);
    if (data == NULL) {
        end_inbound(in, TRACE_WARN, "out of memory");
        return false;
    }
    in->data = data;
    in->capacity = capacity;
    return true;
}

static size_t step_frame(struct inbound *in, uint64_t now_ms, struct bytes input)
{
    struct paxos_decoded *decoded = &in->all->decoded;
    size_t size = 0;
    char reason[96];
    switch (paxos_frame_decode(input, decoded, &size)) {
    case PAXOS_DECODED:
        break;
    case PAXOS_DECODE_MORE:
        return 0;
    case PAXOS_DECODE_VERSION:
        snprintf(reason, sizeof reason, "it speaks version %zu of the frames, not %d", size,
                 PAXOS_FRAME_VERSION);
        end_inbound(in, TRACE_WARN, reason);
        return 0;
    case PAXOS_DECODE_DAMAGED:
        end_inbound(in, TRACE_WARN, "a frame is damaged");
        return 0;
    }
    if (decoded->message.from != in->peer) {
        end_inbound(in, TRACE_WARN, "a frame speaks for another replica than the hello");
        return 0;
    }
    in->all->handler.message(in->all->handler.context, now_ms, &decoded->message);
    return size;
}

static void step_input(struct inbound *in, uint64_t now_ms)
{
    size_t at = in->peer == 0 ? step_hello(in) : 0;
    size_t done = 1;
    while (in->fd >= 0 && in->peer != 0 && done > 0) {
        done = step_frame(in, now_ms, bytes_of(in->data + at, in->size - at));
        at += done;
    }
    if (in->fd >= 0 && at > 0) {
        in->size -= at;
        memmove(in->data, in->data + at, in->size);
    }
}

/* Makes room for the rest of the frame whose beginning is there. */
static bool reserve_frame(struct inbound *in)
{
    if (in->peer != 0 && in->size >= PAXOS_FRAME_HEAD) {
        struct reader r = reader_over(bytes_of(in->data, in->size));
        const size_t need = PAXOS_FRAME_HEAD + (size_t)read_u32(&r);
        /* The decoder has refused what is longer than a frame may be. */
        if (need > in->capacity && need <= PAXOS_FRAME_MAX + PAXOS_FRAME_HEAD) {
            return reserve(in, need);
        }
    }
    return true;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct inbound *in = io->data;
    if (reserve_frame(in)) {
        assert(in->size < in->capacity);
        const ssize_t got =
            recv(in->fd, in->data + in->size, in->capacity - in->size, MSG_DONTWAIT);
        if (got == 0) {
            end_inbound(in, TRACE_INFO, "end of input");
        } else if (got > 0) {
            in->size += (size_t)got;
            /* After the octets: what an acceptor promises "from now on" must not
             * begin before the message that asked for it was sent. */
            step_input(in, clock_boottime_ms());
        } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            end_inbound(in, TRACE_INFO, strerror(errno));
        }
    }
    if (in->fd < 0) {
        bury(in);
    }
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct inbound *in = timer->data;
    end_inbound(in, TRACE_WARN, "no hello came in time");
    bury(in);
}

struct inbounds *inbounds_new(struct ev_loop *loop, const struct inbound_handler *handler)
{
    struct inbounds *all = calloc(1, sizeof *all);
    if (all != NULL) {
        all->loop = loop;
        all->handler = *handler;
    }
    return all;
}

void inbounds_free(struct inbounds *all)
{
    if (all == NULL) {
        return;
    }
    struct inbound *in = NULL;
    struct inbound *next = NULL;
    DL_FOREACH_SAFE(all->list, in, next)
    {
        end_inbound(in, TRACE_DEBUG, "shutdown");
        in->peer = 0;
        bury(in);
    }
    free(all);
}

/* Strangers that only sit there must not keep the members out. */
static void end_oldest_stranger(struct inbounds *all)
{
    struct inbound *in = NULL;
    DL_FOREACH(all->list, in)
    {
        if (in->peer == 0) {
            end_inbound(in, TRACE_WARN, "others wait and it hasn't said who it is");
            bury(in);
            return;
        }
    }
}

void inbounds_accept(struct inbounds *all, int fd, const struct address *from)
{
    if (all->count >= INBOUND_MAX) {
        end_oldest_stranger(all);
    }
    struct inbound *in = all->count < INBOUND_MAX ? calloc(1, sizeof *in) : NULL;
    uint8_t *data = in == NULL ? NULL : malloc(INBOUND_READ_SIZE);
    if (data == NULL) {
        trace_event(TRACE_WARN, "peer.turned_away",
                    trace_text("reason", "too many connections to the peer port"));
        free(in);
        close(fd);
        return;
    }
    in->all = all;
    in->fd = fd;
    in->data = data;
    in->capacity = INBOUND_READ_SIZE;
    address_format(from, in->from);
    ev_io_init(&in->io, on_readable, fd, EV_READ);
    ev_timer_init(&in->deadline, on_deadline, INBOUND_HELLO_MS / 1000.0, 0.0);
    in->io.data = in;
    in->deadline.data = in;
    ev_io_start(all->loop, &in->io);
    ev_timer_start(all->loop, &in->deadline);
    DL_APPEND(all->list, in);
    all->count++;
}
