/* SPDX-License-Identifier: Apache-2.0
 *
 * conn_output.c -- what leaves a connection.
 *
 * Replies are printed into the connection's own buffer and leave together at the
 * end of the loop's turn, with one call to the kernel.  What many are told is
 * printed once and shared: between the connection's own octets stand references.
 *
 *     own      |---------------|-----|------|----------|
 *     pieces                   ^     ^      ^
 *                           shared  shared  shared
 */
#include "lockd/conn_internal.h"

#include "lockd/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utlist.h>

/* ------------------------------------------------------------ shared octets */

struct conn_shared {
    struct conns *all;
    struct wire_buffer octets;
    uint32_t references;
};

struct conn_shared *conn_shared_new(struct conns *all, struct wire_buffer *octets)
{
    struct conn_shared *shared = octets->failed ? NULL : malloc(sizeof *shared);
    if (shared == NULL) {
        wire_buffer_free(octets);
        return NULL;
    }
    *shared = (struct conn_shared){.all = all, .octets = *octets, .references = 1};
    *octets = (struct wire_buffer){.data = NULL};
    all->buffered += shared->octets.capacity;
    return shared;
}

void conn_shared_release(struct conn_shared *shared)
{
    if (shared == NULL) {
        return;
    }
    assert(shared->references > 0);
    if (--shared->references == 0) {
        shared->all->buffered -= shared->octets.capacity;
        wire_buffer_free(&shared->octets);
        free(shared);
    }
}

/* ------------------------------------------------------------------- pieces */

static bool reserve_piece(struct conn *c)
{
    if (c->pieces_first > 0 && c->pieces_first >= c->pieces_count / 2) {
        c->pieces_count -= c->pieces_first;
        memmove(c->pieces, c->pieces + c->pieces_first, c->pieces_count * sizeof *c->pieces);
        c->pieces_first = 0;
    }
    if (c->pieces_count < c->pieces_capacity) {
        return true;
    }
    const size_t capacity = c->pieces_capacity == 0 ? 8 : 2 * c->pieces_capacity;
    struct conn_piece *pieces = realloc(c->pieces, capacity * sizeof *pieces);
    if (pieces == NULL) {
        return false;
    }
    c->all->buffered += (capacity - c->pieces_capacity) * sizeof *pieces;
    c->pieces = pieces;
    c->pieces_capacity = capacity;
    return true;
}

static bool put_piece(struct conn *c, struct conn_shared *shared)
{
    if (!reserve_piece(c)) {
        return false;
    }
    c->pieces[c->pieces_count++] = (struct conn_piece){.shared = shared, .at = c->out.size};
    c->shared_unsent += shared->octets.size;
    shared->references++;
    return true;
}

static void drop_piece(struct conn *c)
{
    assert(c->pieces_first < c->pieces_count);
    conn_shared_release(c->pieces[c->pieces_first++].shared);
    c->shared_sent = 0;
}

static void unmark_dirty(struct conn *c)
{
    if (c->dirty) {
        c->dirty = false;
        DL_DELETE2(c->all->dirty, c, dirty_prev, dirty_next);
    }
}

void conn_drop_output(struct conn *c)
{
    unmark_dirty(c);
    while (c->pieces_first < c->pieces_count) {
        drop_piece(c);
    }
    c->all->buffered -= c->out.capacity + c->pieces_capacity * sizeof *c->pieces;
    free(c->pieces);
    wire_buffer_free(&c->out);
    c->out_sent = 0;
    c->pieces = NULL;
    c->pieces_first = c->pieces_count = c->pieces_capacity = 0;
    c->shared_unsent = 0;
}

/* ------------------------------------------------------------------ sending */

/* What is unsent, as far as one call takes it. */
static size_t gather(const struct conn *c, struct iovec vectors[CONN_VECTORS])
{
    size_t count = 0;
    size_t own = c->out_sent;
    size_t skip = c->shared_sent;
    size_t i = c->pieces_first;
    for (; i < c->pieces_count && count + 2 <= CONN_VECTORS; i++) {
        const struct conn_piece *piece = &c->pieces[i];
        const struct wire_buffer *octets = &piece->shared->octets;
        if (piece->at > own) {
            vectors[count++] =
                (struct iovec){.iov_base = c->out.data + own, .iov_len = piece->at - own};
            own = piece->at;
        }
        vectors[count++] =
            (struct iovec){.iov_base = octets->data + skip, .iov_len = octets->size - skip};
        skip = 0;
    }
    if (i == c->pieces_count && count < CONN_VECTORS && c->out.size > own) {
        vectors[count++] =
            (struct iovec){.iov_base = c->out.data + own, .iov_len = c->out.size - own};
    }
    return count;
}

/* The kernel has taken `sent` octets: our own up to the next piece, the piece, and so on. */
static void take_sent(struct conn *c, size_t sent)
{
    while (sent > 0) {
        const struct conn_piece *piece =
            c->pieces_first < c->pieces_count ? &c->pieces[c->pieces_first] : NULL;
        const size_t own = (piece != NULL ? piece->at : c->out.size) - c->out_sent;
        const size_t own_sent = sent < own ? sent : own;
        c->out_sent += own_sent;
        sent -= own_sent;
        if (sent == 0) {
            break;
        }
        assert(piece != NULL);
        const size_t left = piece->shared->octets.size - c->shared_sent;
        const size_t piece_sent = sent < left ? sent : left;
        c->shared_sent += piece_sent;
        c->shared_unsent -= piece_sent;
        sent -= piece_sent;
        if (piece_sent == left) {
            drop_piece(c);
        }
    }
}

/* Everything is sent: what now? */
static void on_output_empty(struct conn *c)
{
    assert(c->pieces_first == c->pieces_count);
    c->out.size = c->out_sent = 0;
    c->pieces_first = c->pieces_count = 0;
    if (c->out.capacity + c->pieces_capacity * sizeof *c->pieces > CONN_BUFFER_KEPT) {
        conn_drop_output(c);
    }
    if (c->state == CONN_ENDING && c->tags.count == 0) {
        conn_kill(c, "end of input");
    } else if (c->state == CONN_LINGERING && c->tags.count == 0) {
        /* Closing now could reset the connection and with it the reply that
         * says why, if input is still on its way; so only our half ends. */
        shutdown(c->fd, SHUT_WR);
    }
}

static void compact_output(struct conn *c)
{
    if (c->out_sent >= CONN_OUTPUT_PAUSE && c->out_sent >= c->out.size / 2) {
        memmove(c->out.data, c->out.data + c->out_sent, c->out.size - c->out_sent);
        c->out.size -= c->out_sent;
        for (size_t i = c->pieces_first; i < c->pieces_count; i++) {
            c->pieces[i].at -= c->out_sent;
        }
        c->out_sent = 0;
    }
}

/* Whoever tells events is told when they are read too slowly, and when that is over. */
static void judge_pace(struct conn *c)
{
    const size_t unsent = conn_unsent(c);
    const bool slow = c->slow ? unsent > CONN_EVENTS_PAUSE / 2 : unsent > CONN_EVENTS_PAUSE;
    if (slow != c->slow && c->state != CONN_DEAD) {
        c->slow = slow;
        c->all->handler.slow(c->all->handler.context, c->number, slow);
    }
}

/* False: the connection is dead. */
static bool send_unsent(struct conn *c)
{
    struct msghdr message = {.msg_iov = c->all->vectors};
    message.msg_iovlen = gather(c, c->all->vectors);
    const ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        conn_kill(c, strerror(errno));
        return false;
    }
    if (sent > 0) {
        take_sent(c, (size_t)sent);
        c->active_ms = clock_boottime_ms();
    }
    return true;
}

void conn_send(struct conn *c)
{
    unmark_dirty(c);
    if (c->out.failed) {
        conn_kill(c, "out of memory");
        return;
    }
    if (conn_unsent(c) > 0 && !send_unsent(c)) {
        return;
    }
    judge_pace(c);
    if (conn_unsent(c) == 0) {
        ev_io_stop(c->all->loop, &c->writer);
        on_output_empty(c);
    } else {
        compact_output(c);
        ev_io_start(c->all->loop, &c->writer);
    }
}

void conn_on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    conn_send(io->data);
}

/* ----------------------------------------------------------------- printing */

static void mark_dirty(struct conn *c)
{
    if (!c->dirty && c->state != CONN_DEAD) {
        c->dirty = true;
        DL_APPEND2(c->all->dirty, c, dirty_prev, dirty_next);
    }
}

/* Called after anything was printed; `capacity` is what the buffer had before. */
static void on_printed(struct conn *c, size_t capacity)
{
    struct conns *all = c->all;
    all->buffered += c->out.capacity - capacity;
    mark_dirty(c);
    if (conn_unsent(c) > all->config->output_max_bytes) {
        conn_kill(c, "too much unread output");
    } else if (all->buffered > CONN_BUFFERED_MAX && conn_unsent(c) > CONN_OUTPUT_PAUSE) {
        conn_kill(c, "the buffers of all connections are full");
    } else {
        judge_pace(c);
    }
}

void conn_refuse(struct conn *c, const struct wire_refusal *refusal)
{
    const size_t capacity = c->out.capacity;
    wire_print_refusal(&c->out, refusal);
    on_printed(c, capacity);
}

static struct conn *find_conn(struct conns *all, uint64_t client)
{
    struct conn *c = NULL;
    HASH_FIND(hh, all->table, &client, sizeof client, c);
    return c;
}

struct wire_buffer *conns_reply_begin(struct conns *all, uint64_t client, uint64_t tag,
                                      struct wire_text *ret_id)
{
    struct conn *c = find_conn(all, client);
    if (c == NULL || !tags_find(all->tags, tag, client, ret_id)) {
        return NULL;
    }
    all->buffered -= c->out.capacity; /* Until conns_reply_end(). */
    return &c->out;
}

void conns_reply_end(struct conns *all, uint64_t client, uint64_t tag)
{
    struct conn *c = find_conn(all, client);
    assert(c != NULL);
    tags_release(all->tags, &c->tags, tag);
    on_printed(c, /* capacity= */ 0);
}

void conns_notify(struct conns *all, uint64_t client, struct wire_text head,
                  struct conn_shared *shared)
{
    struct conn *c = find_conn(all, client);
    if (c == NULL || c->state == CONN_LINGERING) {
        return; /* What ends a connection is the last that is said on it. */
    }
    const size_t capacity = c->out.capacity;
    wire_append(&c->out, head.data, head.size);
    if (head.data == NULL || (shared != NULL && !put_piece(c, shared))) {
        c->out.failed = true;
    }
    on_printed(c, capacity);
}
