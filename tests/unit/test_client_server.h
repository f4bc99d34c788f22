/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_server.h -- a small server in the test's process, for the library as
 * programs use it.
 */
#ifndef TEST_CLIENT_SERVER_H
#define TEST_CLIENT_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/lockd.h"
#include "libclient/wire.h"

#define ZERO ((struct wire_text){.data = "0000000000000000", .size = 16})

/* -------------------------------------------------------------------- server */

/* Serves one connection after the other.  An acquire of a name that ends in
 * "busy" is never answered. */
struct server {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop;
    atomic_int puts;
    atomic_int reads;    /* Gets and stats. */
    atomic_int connections;
    atomic_uint cache_ms;
    atomic_bool mute;    /* Answer no KeepAlives. */
    atomic_bool hang_up; /* Close the connection at the next request. */
    uint64_t watch;      /* The last one that was set. */
};

/* Who watches is told of each put. */
static inline void print_event(const struct server *s, struct wire_buffer *out)
{
    if (s->watch != 0) {
        const uint64_t revision = 100 + (uint64_t)s->puts;
        const struct wire_event event = {.change = WIRE_WRITTEN,
                                         .revision = revision,
                                         .first_revision = revision,
                                         .count = 1,
                                         .name = {.data = "/ls/local/f", .size = 11},
                                         .kind = WIRE_FILE,
                                         .instance = 7,
                                         .generation = 2,
                                         .size = 1,
                                         .wants_content = true,
                                         .has_content = true,
                                         .content = {.data = "x", .size = 1}};
        wire_print_event_head(out, s->watch);
        wire_print_event_tail(out, &event);
    }
}

static inline void print_result(struct server *s, const struct wire_request *r,
                         struct wire_buffer *out)
{
    static const char sequencer[] = "/ls/local/l:exclusive:7";
    const struct wire_status status = {
        .serving = true, .role = ZERO, .cell_id = ZERO, .digest = ZERO, .epoch = 65537};
    struct wire_reply reply = {
        .id = r->id, .method = r->method, .has_position = true, .epoch = 65537, .slot = 3};
    reply.status = &status;
    reply.session = 0x5f;
    reply.secret = (struct wire_text){.data = "0123456789abcdef0123456789abcdef", .size = 32};
    reply.lease_ms = 12000;
    reply.cache_ms = r->cache || r->method == WIRE_SESSION_KEEPALIVE ? s->cache_ms : 0;
    reply.cached = r->cache && r->method != WIRE_SESSION_OPEN;
    reply.token = 7;
    reply.sequencer = (struct wire_text){.data = sequencer, .size = sizeof sequencer - 1};
    reply.has_stat = r->method == WIRE_NODE_PUT || r->method == WIRE_NODE_GET ||
                     r->method == WIRE_NODE_OPEN || r->method == WIRE_NODE_STAT;
    reply.stat = (struct wire_stat){
        .kind = WIRE_FILE, .instance = 7, .revision = 9, .size = 5, .lock_token = 7};
    reply.stat.ephemeral = r->ephemeral;
    reply.has_content = r->method == WIRE_NODE_GET;
    reply.content = (struct wire_text){.data = "hello", .size = 5};
    reply.valid = r->method == WIRE_LOCK_CHECK && r->token == 7;
    s->puts += r->method == WIRE_NODE_PUT ? 1 : 0;
    s->reads += r->method == WIRE_NODE_GET || r->method == WIRE_NODE_STAT ? 1 : 0;
    if (r->method == WIRE_NODE_PUT) {
        print_event(s, out);
    }
    if (r->method == WIRE_WATCH_ADD) {
        s->watch = r->watches[r->watches_count - 1].watch;
    }
    wire_print_reply(out, &reply);
}

/* False: the connection is to be closed. */
static inline bool serve_line(struct server *s, int fd, struct wire_text line)
{
    struct wire_memory memory = {.root = NULL};
    struct wire_buffer out = {.data = NULL};
    struct wire_request r;
    struct wire_refusal refusal;
    bool go_on = wire_parse_request(&memory, line, &r, &refusal);
    const bool busy = go_on && r.method == WIRE_LOCK_ACQUIRE && r.name.size > 4 &&
                      memcmp(r.name.data + r.name.size - 4, "busy", 4) == 0;
    const bool muted = go_on && s->mute && r.method == WIRE_SESSION_KEEPALIVE;
    if (go_on && r.method != WIRE_CELL_STATUS && atomic_exchange(&s->hang_up, false)) {
        go_on = false;
    } else if (go_on && !busy && !muted) {
        print_result(s, &r, &out);
        go_on = send(fd, out.data, out.size, MSG_NOSIGNAL) == (ssize_t)out.size;
    }
    wire_buffer_free(&out);
    wire_memory_free(&memory);
    return go_on;
}

static inline void serve(struct server *s, int fd)
{
    static char buffer[1024 * 1024];
    size_t size = 0;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (s->stop) {
            return;
        }
        if (poll(&ready, 1, 20) <= 0) {
            continue;
        }
        const ssize_t got = recv(fd, buffer + size, sizeof buffer - size, 0);
        if (got <= 0) {
            return;
        }
        size += (size_t)got;
        for (char *end; (end = memchr(buffer, '\n', size)) != NULL;) {
            const size_t line = (size_t)(end - buffer);
            if (!serve_line(s, fd, (struct wire_text){.data = buffer, .size = line})) {
                return;
            }
            size -= line + 1;
            memmove(buffer, end + 1, size);
        }
    }
}

static inline void *server_run(void *context)
{
    struct server *s = context;
    while (!s->stop) {
        struct pollfd ready = {.fd = s->listener, .events = POLLIN};
        if (poll(&ready, 1, 20) > 0) {
            const int fd = accept(s->listener, NULL, NULL);
            s->connections++;
            serve(s, fd);
            close(fd);
        }
    }
    return NULL;
}

static inline void server_start(struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    s->stop = s->hang_up = s->mute = false;
    s->cache_ms = 3000;
    s->puts = s->reads = s->connections = 0;
    s->watch = 0;
    assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static inline void server_stop(struct server *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static inline struct lockd_client *client_of(const struct server *s, const char *host)
{
    char endpoints[64];
    struct lockd_client *client = NULL;
    snprintf(endpoints, sizeof endpoints, "%s:%u", host, (unsigned)s->port);
    const struct lockd_client_options options = {.size = sizeof options,
                                                 .endpoints = endpoints};
    assert_int_equal(lockd_client_new(&options, &client), LOCKD_OK);
    return client;
}

#endif
