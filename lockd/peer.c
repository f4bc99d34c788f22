/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.c -- see peer.h.
 *
 *      time's up         address known       connected
 *     WAITING -> RESOLVING ---> CONNECTING ---> CONNECTED
 *        ^            |              |              |
 *        '------------+--------------+--------------'
 *              failed, refused, or broken: after a back-off
 *
 * The back-off is jittered and doubles.  It is skipped when a connection that
 * has proved steady breaks, and cut short by any sign that the peer's state has
 * changed (it dials us, or its connection to us ends): what then refuses is a
 * replica that is really gone, and the sooner Paxos hears of it, the sooner a
 * master that was killed has a successor.
 */
#include "lockd/peer.h"

#include "lockd/clock.h"
#include "lockd/inbound.h"
#include "lockd/listener.h"
#include "lockd/resolve.h"
#include "lockd/trace.h"
#include "paxos/base/rng.h"
#include "paxos/codec.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_KEPT = 4 * 1024 * 1024, CHECK_MS = 500 };

enum peer_state { PEER_WAITING, PEER_RESOLVING, PEER_CONNECTING, PEER_CONNECTED };

struct peer {
    struct peers *all;
    paxos_id id;
    char address[ADDRESS_MAX];
    struct hello_client clients[HELLO_CLIENTS_MAX];
    uint32_t clients_count;
    enum peer_state state;
    int fd;       /* CONNECTING, CONNECTED; else -1. */
    ev_io reader; /* Nothing is received here but the end. */
    ev_io writer;
    ev_timer timer; /* WAITING: dial.  CONNECTING: give up.  CONNECTED: look for a stall. */
    uint32_t backoff_ms;
    uint64_t connected_ms;
    uint64_t moved_ms; /* When output last moved, or was empty. */
    char failure[96];  /* The last one logged: the same again is not news. */

    uint8_t *out;
    size_t out_size, out_sent, out_capacity;
};

struct peers {
    struct ev_loop *loop;
    struct peers_config config;
    struct peers_handler handler;
    struct resolver *resolver;
    struct inbounds *inbounds;
    struct rng rng;
    uint32_t count;
    struct peer peer[PAXOS_MEMBERS_MAX];
};

static struct peer *find_peer(struct peers *all, paxos_id id)
{
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->peer[i].id == id) {
            return &all->peer[i];
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ dialling */

static void set_timer(struct peer *p, uint64_t after_ms, uint64_t repeat_ms)
{
    ev_timer_stop(p->all->loop, &p->timer);
    ev_timer_set(&p->timer, (double)after_ms / 1000.0, (double)repeat_ms / 1000.0);
    ev_timer_start(p->all->loop, &p->timer);
}

static void close_socket(struct peer *p)
{
    ev_io_stop(p->all->loop, &p->reader);
    ev_io_stop(p->all->loop, &p->writer);
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
    /* Half a frame can't be continued on another connection. */
    p->out_size = p->out_sent = 0;
    if (p->out_capacity > OUT_KEPT) {
        free(p->out);
        p->out = NULL;
        p->out_capacity = 0;
    }
}

static void wait_then_dial(struct peer *p)
{
    const uint64_t wait_ms = rng_between(&p->all->rng, p->backoff_ms / 2, p->backoff_ms);
    p->backoff_ms *= 2;
    if (p->backoff_ms > PEER_BACKOFF_MS_MAX) {
        p->backoff_ms = PEER_BACKOFF_MS_MAX;
    }
    p->state = PEER_WAITING;
    set_timer(p, wait_ms, /* repeat_ms= */ 0);
}

static void dial_at_once(struct peer *p)
{
    p->state = PEER_WAITING;
    set_timer(p, /* after_ms= */ 0, /* repeat_ms= */ 0);
}

static void on_dial_failed(struct peer *p, const char *reason)
{
    assert(p->state != PEER_CONNECTED);
    if (strncmp(p->failure, reason, sizeof p->failure - 1) != 0) {
        snprintf(p->failure, sizeof p->failure, "%s", reason);
        trace_event(TRACE_WARN, "peer.unreachable", trace_number("replica", p->id),
                    trace_text("address", p->address), trace_text("reason", reason));
    }
    close_socket(p);
    wait_then_dial(p);
}

static void on_dial_error(struct peer *p, int error)
{
    on_dial_failed(p, strerror(error));
    if (error == ECONNREFUSED) {
        p->all->handler.gone(p->all->handler.context, clock_boottime_ms(), p->id);
    }
}

static void on_broken(struct peer *p, const char *reason)
{
    assert(p->state == PEER_CONNECTED);
    trace_event(TRACE_WARN, "peer.disconnected", trace_number("replica", p->id),
                trace_text("address", p->address), trace_text("reason", reason));
    close_socket(p);
    if (clock_boottime_ms() - p->connected_ms >= PEER_STEADY_MS) {
        p->backoff_ms = PEER_BACKOFF_MS_MIN;
        dial_at_once(p);
    } else {
        /* It accepts and hangs up, as one that refuses our hello does. */
        wait_then_dial(p);
    }
}

/* A dead host must be noticed even while nothing is sent. */
static void set_options(int fd)
{
    const int on = 1;
    const int idle_s = 5;
    const int interval_s = 1;
    const int probes = 3;
    const unsigned stall_ms = PEER_STALL_MS;
    listener_socket_options(fd);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof stall_ms);
}

static void send_hello(struct peer *p);

static void on_connected(struct peer *p)
{
    struct ev_loop *loop = p->all->loop;
    p->state = PEER_CONNECTED;
    p->failure[0] = '\0';
    p->connected_ms = p->moved_ms = clock_boottime_ms();
    trace_event(TRACE_INFO, "peer.connected", trace_number("replica", p->id),
                trace_text("address", p->address));
    ev_io_stop(loop, &p->writer);
    ev_io_start(loop, &p->reader);
    set_timer(p, CHECK_MS, CHECK_MS);
    send_hello(p);
}

static void connect_to(struct peer *p, const struct address *address)
{
    struct ev_loop *loop = p->all->loop;
    p->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                   IPPROTO_TCP);
    if (p->fd < 0) {
        on_dial_error(p, errno);
        return;
    }
    set_options(p->fd);
    ev_io_set(&p->reader, p->fd, EV_READ);
    ev_io_set(&p->writer, p->fd, EV_WRITE);
    p->state = PEER_CONNECTING;
    if (connect(p->fd, (const struct sockaddr *)&address->storage, address->size) == 0) {
        on_connected(p);
    } else if (errno == EINPROGRESS) {
        set_timer(p, PEER_CONNECT_MS, /* repeat_ms= */ 0);
        ev_io_start(loop, &p->writer);
    } else {
        on_dial_error(p, errno);
    }
}

/* Names are asked for anew at each attempt: a replica may have moved. */
static void dial(struct peer *p)
{
    struct address address;
    assert(p->state == PEER_WAITING && p->fd < 0);
    if (address_numeric(p->address, &address)) {
        connect_to(p, &address);
        return;
    }
    p->state = PEER_RESOLVING;
    if (!resolver_ask(p->all->resolver, p->address, p->id)) {
        on_dial_failed(p, "no thread for the name look-up");
    }
}

static void on_resolved(void *context, uint64_t ticket, int error,
                        const struct address *address)
{
    struct peer *p = find_peer(context, (paxos_id)ticket);
    assert(p != NULL && p->state == PEER_RESOLVING);
    if (error != 0) {
        on_dial_failed(p, gai_strerror(error));
    } else {
        connect_to(p, address);
    }
}

/* ------------------------------------------------------------------- sending */

static size_t unsent(const struct peer *p)
{
    return p->out_size - p->out_sent;
}

static void send_output(struct peer *p)
{
    const ssize_t sent =
        send(p->fd, p->out + p->out_sent, unsent(p), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        on_broken(p, strerror(errno));
        return;
    }
    if (sent > 0) {
        p->out_sent += (size_t)sent;
        p->moved_ms = clock_boottime_ms();
    }
    if (unsent(p) > 0) {
        ev_io_start(p->all->loop, &p->writer);
        return;
    }
    ev_io_stop(p->all->loop, &p->writer);
    p->out_size = p->out_sent = 0;
    if (p->out_capacity > OUT_KEPT) {
        free(p->out);
        p->out = NULL;
        p->out_capacity = 0;
    }
}

/* Room for `size` octets behind what is queued, or NULL. */
static uint8_t *reserve(struct peer *p, size_t size)
{
    if (unsent(p) + size > p->all->config.config->peer_queue_max_bytes) {
        return NULL;
    }
    if (p->out_size + size > p->out_capacity && p->out_sent > 0) {
        memmove(p->out, p->out + p->out_sent, unsent(p));
        p->out_size -= p->out_sent;
        p->out_sent = 0;
    }
    if (p->out_size + size > p->out_capacity) {
        const size_t doubled = 2 * p->out_capacity;
        const size_t needed = p->out_size + size;
        const size_t capacity = doubled > needed ? doubled : needed;
        uint8_t *out = realloc(p->out, capacity);
        if (out == NULL) {
            return NULL;
        }
        p->out = out;
        p->out_capacity = capacity;
    }
    return p->out + p->out_size;
}

static void send_hello(struct peer *p)
{
    const struct peers *all = p->all;
    const struct config *config = all->config.config;
    struct hello hello = {
        .from = config->replica, .to = p->id, .identity = all->config.identity};
    snprintf(hello.cell, sizeof hello.cell, "%s", config->cell);
    static_assert((int)CONFIG_LISTENERS_MAX <= (int)HELLO_CLIENTS_MAX, "every port is told");
    memcpy(hello.clients, all->config.clients,
           all->config.clients_count * sizeof *all->config.clients);
    hello.clients_count = all->config.clients_count;

    uint8_t *at = reserve(p, HELLO_MAX);
    if (at == NULL) {
        on_broken(p, "out of memory");
        return;
    }
    struct writer w = writer_over(at, HELLO_MAX);
    hello_encode(&hello, &w);
    assert(!w.failed);
    p->out_size += w.size;
    send_output(p);
}

void peers_send(struct peers *all, const struct paxos_message *message)
{
    struct peer *p = find_peer(all, message->to);
    if (p == NULL || p->state != PEER_CONNECTED) {
        return;
    }
    const size_t size = paxos_frame_size(message);
    uint8_t *at = reserve(p, size);
    if (at == NULL) {
        trace_event(TRACE_WARN, "peer.queue_full", trace_number("replica", p->id),
                    trace_number("queued", unsent(p)));
        return;
    }
    struct writer w = writer_over(at, size);
    paxos_frame_encode(message, &w);
    assert(!w.failed && w.size == size);
    if (unsent(p) == 0) {
        p->moved_ms = clock_boottime_ms(); /* A stall is counted from here. */
    }
    p->out_size += size;
}

void peers_flush(struct peers *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        struct peer *p = &all->peer[i];
        if (p->state == PEER_CONNECTED && unsent(p) > 0 && !ev_is_active(&p->writer)) {
            send_output(p);
        }
    }
}

/* -------------------------------------------------------------------- events */

static void on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct peer *p = io->data;
    if (p->state == PEER_CONNECTED) {
        send_output(p);
        return;
    }
    assert(p->state == PEER_CONNECTING);
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        on_dial_error(p, error);
    } else {
        on_connected(p);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct peer *p = io->data;
    char ignored[256];
    const ssize_t got = recv(p->fd, ignored, sizeof ignored, MSG_DONTWAIT);
    if (got == 0) {
        on_broken(p, "it closed the connection");
    } else if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        on_broken(p, strerror(errno));
    }
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct peer *p = timer->data;
    switch (p->state) {
    case PEER_WAITING:
        dial(p);
        break;
    case PEER_RESOLVING:
        break;
    case PEER_CONNECTING:
        on_dial_failed(p, "no answer in time");
        break;
    case PEER_CONNECTED:
        if (clock_boottime_ms() - p->connected_ms >= PEER_STEADY_MS) {
            p->backoff_ms = PEER_BACKOFF_MS_MIN;
        }
        if (unsent(p) > 0 && clock_boottime_ms() - p->moved_ms >= PEER_STALL_MS) {
            on_broken(p, "it takes nothing");
        }
        break;
    }
}

/* ------------------------------------------------------------------- inbound */

static const char *on_hello(void *context, const struct hello *hello)
{
    struct peers *all = context;
    struct peer *p = find_peer(all, hello->from);
    if (strcmp(hello->cell, all->config.config->cell) != 0) {
        return "its cell has another name";
    }
    if (hello->to != all->config.config->replica) {
        return "it meant to reach another replica; see \"peers\" in its configuration";
    }
    if (p == NULL) {
        return "no other member has its id";
    }
    memcpy(p->clients, hello->clients, sizeof p->clients);
    p->clients_count = hello->clients_count;
    if (p->state == PEER_WAITING) {
        dial_at_once(p);
    }
    return NULL;
}

static void on_message(void *context, uint64_t now_ms, const struct paxos_message *message)
{
    struct peers *all = context;
    all->handler.message(all->handler.context, now_ms, message);
}

static void on_inbound_ended(void *context, paxos_id peer)
{
    struct peer *p = find_peer(context, peer);
    if (p != NULL && p->state == PEER_WAITING) {
        dial_at_once(p);
    }
}

void peers_accept(struct peers *all, int fd, const struct address *from)
{
    inbounds_accept(all->inbounds, fd, from);
}

/* ---------------------------------------------------------------------- life */

/* The members are what the store says; the file only knows better where they
 * are now. */
static const char *address_of(const struct config *config, const struct paxos_member *member)
{
    for (uint32_t i = 0; i < config->peers_count; i++) {
        if (config->peers[i].id == member->id) {
            return config->peers[i].address;
        }
    }
    return member->address;
}

static void add_peer(struct peers *all, const struct paxos_member *member)
{
    assert(all->count < PAXOS_MEMBERS_MAX);
    struct peer *p = &all->peer[all->count++];
    p->all = all;
    p->id = member->id;
    p->fd = -1;
    p->state = PEER_WAITING;
    p->backoff_ms = PEER_BACKOFF_MS_MIN;
    snprintf(p->address, sizeof p->address, "%s", address_of(all->config.config, member));
    ev_init(&p->reader, on_readable);
    ev_init(&p->writer, on_writable);
    ev_init(&p->timer, on_timer);
    p->reader.data = p;
    p->writer.data = p;
    p->timer.data = p;
}

struct peers *peers_new(struct ev_loop *loop, const struct peers_config *config,
                        const struct peers_handler *handler)
{
    struct peers *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    all->loop = loop;
    all->config = *config;
    all->config.members = NULL;
    all->handler = *handler;
    all->rng = (struct rng){.state = config->seed};
    all->resolver = resolver_new(loop, on_resolved, all);
    all->inbounds = inbounds_new(loop, &(struct inbound_handler){.hello = on_hello,
                                                                 .message = on_message,
                                                                 .ended = on_inbound_ended,
                                                                 .context = all});
    for (uint32_t i = 0; i < config->members->count; i++) {
        if (config->members->member[i].id != config->config->replica) {
            add_peer(all, &config->members->member[i]);
        }
    }
    if (all->resolver == NULL || all->inbounds == NULL) {
        peers_free(all);
        return NULL;
    }
    return all;
}

void peers_free(struct peers *all)
{
    if (all == NULL) {
        return;
    }
    inbounds_free(all->inbounds);
    resolver_free(all->resolver);
    for (uint32_t i = 0; i < all->count; i++) {
        struct peer *p = &all->peer[i];
        close_socket(p);
        ev_timer_stop(all->loop, &p->timer);
        free(p->out);
    }
    free(all);
}

void peers_start(struct peers *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        dial_at_once(&all->peer[i]);
    }
}

static const char *address_for(const struct hello_client *clients, uint32_t count,
                               const char *principal)
{
    for (uint32_t i = 0; i < count; i++) {
        if (principal == NULL || strcmp(clients[i].principal, principal) == 0) {
            return clients[i].address;
        }
    }
    return "";
}

const char *peers_client_address(const struct peers *all, paxos_id id, const char *principal)
{
    if (id == all->config.config->replica) {
        return address_for(all->config.clients, all->config.clients_count, principal);
    }
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->peer[i].id == id) {
            return address_for(all->peer[i].clients, all->peer[i].clients_count, principal);
        }
    }
    return "";
}
