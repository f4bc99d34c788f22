/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_link.c -- see lockctl_link.h.
 */
#include "tools/lockctl_link.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOCAL "unix:" /* Before the path of a replica's local socket. */

enum { READ_AT_ONCE = 64 * 1024 };

static_assert(sizeof LOCAL + sizeof((struct sockaddr_un *)NULL)->sun_path <= LINK_ADDRESS_MAX,
              "the longest path has room");

uint64_t link_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool why_not(char ret_why[LINK_WHY_MAX], const char *text)
{
    snprintf(ret_why, LINK_WHY_MAX, "%s", text);
    return false;
}

/* Waits until the socket is ready or the deadline has passed. */
static bool wait_ready(const struct link *l, short events, uint64_t deadline_ms,
                       char ret_why[LINK_WHY_MAX])
{
    for (;;) {
        const uint64_t now = link_now_ms();
        const uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
        struct pollfd ready = {.fd = l->fd, .events = events};
        const int count = poll(&ready, 1, left < INT_MAX ? (int)left : INT_MAX);
        if (count > 0) {
            return true;
        }
        if (count < 0 && errno != EINTR) {
            return why_not(ret_why, strerror(errno));
        }
        if (left == 0) {
            return why_not(ret_why, "no answer in time");
        }
    }
}

/* ------------------------------------------------------------------ addresses */

static bool is_local(const char *data, size_t size)
{
    return size >= strlen(LOCAL) && memcmp(data, LOCAL, strlen(LOCAL)) == 0;
}

/* "unix:/path", as it is. */
static bool local_address(struct wire_text text, char ret_address[LINK_ADDRESS_MAX])
{
    const size_t path = text.size - strlen(LOCAL);
    if (path < 2 || text.data[strlen(LOCAL)] != '/' ||
        path >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
        return false;
    }
    memcpy(ret_address, text.data, text.size);
    ret_address[text.size] = 0;
    return true;
}

bool link_address(struct wire_text text, char ret_address[LINK_ADDRESS_MAX])
{
    if (text.size == 0 || memchr(text.data, 0, text.size) != NULL) {
        return false;
    }
    if (is_local(text.data, text.size)) {
        return local_address(text, ret_address);
    }
    const bool bracketed = text.data[0] == '[';
    const char *host_end =
        bracketed ? memchr(text.data, ']', text.size) : memchr(text.data, ':', text.size);
    if (host_end == NULL && bracketed) {
        return false;
    }
    const size_t host =
        host_end == NULL ? text.size : (size_t)(host_end - text.data) + (bracketed ? 1 : 0);
    if (host == 0 || host + sizeof ":65535" > LINK_ADDRESS_MAX) {
        return false;
    }
    unsigned port = 7400;
    if (host < text.size) {
        port = 0;
        for (size_t i = host + 1; i < text.size; i++) {
            if (text.data[i] < '0' || text.data[i] > '9' || port > 65535) {
                return false;
            }
            port = port * 10 + (unsigned)(text.data[i] - '0');
        }
    }
    if ((host < text.size && text.data[host] != ':') || port == 0 || port > 65535) {
        return false;
    }
    snprintf(ret_address, LINK_ADDRESS_MAX, "%.*s:%u", (int)host, text.data, port);
    return true;
}

/* Takes apart what link_address() made. */
static void split(const char *address, char ret_host[LINK_ADDRESS_MAX], const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    assert(colon != NULL);
    const bool bracketed = address[0] == '[';
    const size_t size = (size_t)(colon - address) - (bracketed ? 2 : 0);
    memcpy(ret_host, address + bracketed, size);
    ret_host[size] = 0;
    *ret_port = colon + 1;
}

/* ------------------------------------------------------------------ open, close */

static bool connect_to(struct link *l, const struct addrinfo *to, uint64_t deadline_ms,
                       char ret_why[LINK_WHY_MAX])
{
    l->fd =
        socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (l->fd < 0) {
        return why_not(ret_why, strerror(errno));
    }
    if (connect(l->fd, to->ai_addr, to->ai_addrlen) != 0) {
        if (errno != EINPROGRESS) {
            return why_not(ret_why, strerror(errno));
        }
        int error = 0;
        socklen_t size = sizeof error;
        if (!wait_ready(l, POLLOUT, deadline_ms, ret_why)) {
            return false;
        }
        if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
            return why_not(ret_why, strerror(error != 0 ? error : errno));
        }
    }
    const int on = 1; /* A local socket has no such option, nor the need. */
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

static bool open_local(struct link *l, const char *path, uint64_t deadline_ms,
                       char ret_why[LINK_WHY_MAX])
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path) + 1);
    const struct addrinfo to = {.ai_family = AF_UNIX,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addr = (struct sockaddr *)&name,
                                .ai_addrlen = sizeof name};
    const bool connected = connect_to(l, &to, deadline_ms, ret_why);
    if (!connected) {
        link_close(l);
    }
    return connected;
}

bool link_open(struct link *l, const char *address, uint64_t deadline_ms,
               char ret_why[LINK_WHY_MAX])
{
    assert(l->fd < 0);
    if (is_local(address, strlen(address))) {
        return open_local(l, address + strlen(LOCAL), deadline_ms, ret_why);
    }
    char host[LINK_ADDRESS_MAX];
    const char *port;
    split(address, host, &port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    const int error = getaddrinfo(host, port, &hints, &list);
    if (error != 0) {
        return why_not(ret_why, gai_strerror(error));
    }
    bool connected = false;
    for (const struct addrinfo *to = list; to != NULL && !connected; to = to->ai_next) {
        link_close(l);
        connected = connect_to(l, to, deadline_ms, ret_why);
    }
    freeaddrinfo(list);
    if (!connected) {
        link_close(l);
    }
    return connected;
}

void link_close(struct link *l)
{
    if (l->fd >= 0) {
        close(l->fd);
    }
    wire_buffer_free(&l->in);
    *l = LINK_CLOSED;
}

/* ------------------------------------------------------------------ send, receive */

bool link_send(struct link *l, const void *data, size_t size, uint64_t deadline_ms,
               char ret_why[LINK_WHY_MAX])
{
    size_t sent = 0;
    while (sent < size) {
        const ssize_t count = send(l->fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL);
        if (count >= 0) {
            sent += (size_t)count;
        } else if (errno == EAGAIN) {
            if (!wait_ready(l, POLLOUT, deadline_ms, ret_why)) {
                return false;
            }
        } else if (errno != EINTR) {
            return why_not(ret_why, strerror(errno));
        }
    }
    return true;
}

/* Reads what has come.  False: the peer has closed, or there was an error. */
static bool receive(struct link *l, uint64_t deadline_ms, char ret_why[LINK_WHY_MAX])
{
    char data[READ_AT_ONCE];
    for (;;) {
        if (!wait_ready(l, POLLIN, deadline_ms, ret_why)) {
            return false;
        }
        const ssize_t count = recv(l->fd, data, sizeof data, 0);
        if (count > 0) {
            wire_append(&l->in, data, (size_t)count);
            return !l->in.failed || why_not(ret_why, "out of memory");
        }
        if (count == 0) {
            return why_not(ret_why, "the replica closed the connection");
        }
        if (errno != EINTR && errno != EAGAIN) {
            return why_not(ret_why, strerror(errno));
        }
    }
}

bool link_line(struct link *l, uint64_t deadline_ms, struct wire_text *ret_line,
               char ret_why[LINK_WHY_MAX])
{
    if (l->taken > 0) {
        memmove(l->in.data, l->in.data + l->taken, l->in.size - l->taken);
        l->in.size -= l->taken;
        l->taken = 0;
    }
    size_t looked = 0;
    for (;;) {
        const char *end =
            l->in.size > looked ? memchr(l->in.data + looked, '\n', l->in.size - looked) : NULL;
        if (end != NULL) {
            ret_line->data = l->in.data;
            ret_line->size = (size_t)(end - l->in.data);
            l->taken = ret_line->size + 1;
            return true;
        }
        looked = l->in.size;
        if (looked >= WIRE_LINE_MAX) {
            return why_not(ret_why, "the reply is longer than a line may be");
        }
        if (!receive(l, deadline_ms, ret_why)) {
            return false;
        }
    }
}
