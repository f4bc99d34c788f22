/* SPDX-License-Identifier: Apache-2.0
 *
 * conn_input.c -- from octets to requests.
 *
 * As long as a connection has no half line, its octets are read into one buffer
 * that all share, and lines are parsed in place.  Only what is left over is
 * copied into a buffer of the connection's own, and the next read appends there.
 */
#include "lockd/conn_internal.h"

#include "lockd/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool conn_may_go_on(const struct conn *c)
{
    assert(c->tags.patient <= c->tags.count);
    return !c->all->paused && c->tags.count - c->tags.patient < c->all->config->requests_max &&
           conn_unsent(c) < CONN_OUTPUT_PAUSE;
}

/* May it take its time, as nobody behind it should?  Then how many such ones
 * there may be before it; else 0. */
static uint32_t patient_max(const struct wire_request *request)
{
    if (request->method == WIRE_SESSION_KEEPALIVE) {
        return CONN_PATIENT_MAX;
    }
    return request->method == WIRE_LOCK_ACQUIRE && request->wait_ms != 0 ? CONN_WAITING_MAX : 0;
}

/* Not held back like others: behind it there may be the KeepAlives of sessions,
 * and the releases for which those before it wait. */
static void refuse_patient(struct conn *c, const struct wire_request *request)
{
    struct wire_refusal refusal = {.error = WIRE_OVERLOADED};
    snprintf(refusal.id, sizeof refusal.id, "%.*s", (int)request->id.size, request->id.data);
    snprintf(refusal.detail, sizeof refusal.detail,
             "%u acquires and KeepAlives wait on this connection already; not executed",
             c->tags.patient);
    conn_refuse(c, &refusal);
}

static void step_request(struct conn *c, uint64_t now_ms, const struct wire_request *request)
{
    struct conns *all = c->all;
    const uint32_t beside_max = patient_max(request);
    const bool patient = beside_max > 0;
    if (patient && c->tags.patient >= beside_max) {
        refuse_patient(c, request);
        return;
    }
    c->lasting = c->lasting || request->has_session || request->method == WIRE_SESSION_OPEN ||
                 request->method == WIRE_WATCH_ADD;
    const uint32_t tag = tags_take(all->tags, &c->tags, c->number, request->id, patient);
    if (tag == 0) {
        conn_kill(c, "out of memory");
        return;
    }
    all->requests = true;
    all->handler.request(all->handler.context, now_ms, c->number, tag, c->principal, request);
}

static void step_line(struct conn *c, uint64_t now_ms, struct wire_text line)
{
    struct conns *all = c->all;
    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    if (line.size == 0) {
        return;
    }
    struct wire_request request;
    struct wire_refusal refusal;
    if (wire_parse_request(&all->memory, line, &request, &refusal)) {
        step_request(c, now_ms, &request);
    } else {
        conn_refuse(c, &refusal);
    }
    wire_memory_reset(&all->memory);
}

/* Says why, then ends the connection once that is read. */
static void refuse_long_line(struct conn *c, uint64_t now_ms)
{
    conn_refuse(c, &(struct wire_refusal){.error = WIRE_TOO_LARGE,
                                          .id = "null",
                                          .detail = "a line is longer than 768 KiB; the "
                                                    "connection ends here"});
    if (c->state != CONN_DEAD) {
        c->state = CONN_LINGERING;
        c->end_ms = now_ms + CONN_LINGER_MS;
        conn_drop_input(c);
    }
}

/* Steps the whole lines of `data`, of which `scanned` octets are known to hold
 * no newline.  Returns how many octets are done with. */
static size_t step_lines(struct conn *c, uint64_t now_ms, const char *data, size_t size,
                         size_t scanned)
{
    size_t at = 0;
    while (c->state == CONN_OPEN && conn_may_go_on(c)) {
        const size_t from = at > scanned ? at : scanned;
        const char *newline = size > from ? memchr(data + from, '\n', size - from) : NULL;
        const size_t line = newline != NULL ? (size_t)(newline - data) - at : size - at;
        if (line >= WIRE_LINE_MAX) {
            refuse_long_line(c, now_ms);
            return size;
        }
        if (newline == NULL) {
            break;
        }
        step_line(c, now_ms, (struct wire_text){.data = data + at, .size = line});
        at += line + 1;
    }
    return c->state == CONN_OPEN ? at : size;
}

static bool reserve_input(struct conn *c, size_t capacity)
{
    if (capacity <= c->in_capacity) {
        return true;
    }
    if (capacity > CONN_BUFFER_KEPT && c->all->buffered > CONN_BUFFERED_MAX) {
        conn_kill(c, "the buffers of all connections are full");
        return false;
    }
    char *in = realloc(c->in, capacity);
    if (in == NULL) {
        conn_kill(c, "out of memory");
        return false;
    }
    c->all->buffered += capacity - c->in_capacity;
    c->in = in;
    c->in_capacity = capacity;
    return true;
}

/* Makes `rest`, which may lie in the own buffer, all that is buffered. */
static void keep_rest(struct conn *c, uint64_t now_ms, const char *rest, size_t size)
{
    if (size == 0) {
        c->in_size = c->in_scanned = 0;
        c->line_ms = 0;
        if (c->in_capacity > CONN_BUFFER_KEPT) {
            conn_drop_input(c);
        }
        return;
    }
    const bool own = c->in != NULL && rest >= c->in && rest <= c->in + c->in_size;
    if (own) {
        memmove(c->in, rest, size);
    } else if (reserve_input(c, size)) {
        memcpy(c->in, rest, size);
    } else {
        return;
    }
    c->in_size = size;
    if (c->line_ms == 0) {
        c->line_ms = now_ms;
    }
}

static void step_input(struct conn *c, uint64_t now_ms, const char *data, size_t size)
{
    const size_t done = step_lines(c, now_ms, data, size, c->in_scanned);
    if (c->state != CONN_OPEN) {
        return;
    }
    if (done > 0) {
        c->line_ms = 0; /* The deadline is a line's, not the connection's. */
    }
    keep_rest(c, now_ms, data + done, size - done);
    if (c->state != CONN_OPEN) {
        return;
    }
    if (conn_may_go_on(c)) {
        c->in_scanned = c->in_size;
    } else {
        c->in_scanned = 0;
        conn_hold(c);
    }
}

void conn_step_held(struct conn *c, uint64_t now_ms)
{
    if (c->in_size > 0 && c->state == CONN_OPEN) {
        c->line_ms = 0; /* The time that we let it wait is not the client's. */
        step_input(c, now_ms, c->in, c->in_size);
    }
}

/* Where the next read goes: the shared buffer, or behind the half line.
 * NULL: the connection is dead. */
static char *room_for_input(struct conn *c, size_t *ret_room)
{
    if (c->in_size == 0) {
        *ret_room = CONN_READ_SIZE;
        return c->all->shared;
    }
    if (c->in_capacity - c->in_size < CONN_BUFFER_KEPT / 2 &&
        !reserve_input(c, c->in_size * 2 + CONN_BUFFER_KEPT / 2)) {
        return NULL;
    }
    *ret_room = c->in_capacity - c->in_size;
    return c->in + c->in_size;
}

static void on_end_of_input(struct conn *c)
{
    if (c->state == CONN_LINGERING || (c->tags.count == 0 && conn_unsent(c) == 0)) {
        conn_kill(c, "end of input");
        return;
    }
    ev_io_stop(c->all->loop, &c->reader);
    conn_drop_input(c);
    c->state = CONN_ENDING;
}

void conn_on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct conn *c = io->data;
    size_t room = 0;
    char *at = room_for_input(c, &room);
    if (at == NULL) {
        return;
    }
    const ssize_t got = recv(c->fd, at, room, MSG_DONTWAIT);
    if (got == 0) {
        on_end_of_input(c);
        return;
    }
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            conn_kill(c, strerror(errno));
        }
        return;
    }
    if (c->state != CONN_OPEN) {
        return; /* LINGERING: what comes is read only to be rid of it. */
    }
    /* The clock is read after the octets: what is decided at `now_ms` must not
     * be older than the request that asks for it. */
    const uint64_t now_ms = clock_boottime_ms();
    c->active_ms = now_ms;
    if (at == c->all->shared) {
        step_input(c, now_ms, at, (size_t)got);
    } else {
        c->in_size += (size_t)got;
        step_input(c, now_ms, c->in, c->in_size);
    }
}
