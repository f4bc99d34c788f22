/* SPDX-License-Identifier: Apache-2.0
 *
 * listener.c -- see listener.h.
 */
#include "lockd/listener.h"

#include "lockd/trace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

struct listener {
    struct ev_loop *loop;
    ev_io io;
    ev_timer pause;
    int fd;
    int spare;
    struct address address;
    listener_accepted *accepted;
    void *context;
};

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void listener_socket_options(int fd)
{
    const int on = 1;
    /* Without it a connection is slower, not wrong. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void pause_for_a_moment(struct listener *l)
{
    ev_io_stop(l->loop, &l->io);
    ev_timer_set(&l->pause, LISTENER_PAUSE_MS / 1000.0, /* repeat= */ 0.0);
    ev_timer_start(l->loop, &l->pause);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    struct listener *l = timer->data;
    if (l->spare < 0) {
        l->spare = open_spare();
    }
    ev_io_start(loop, &l->io);
}

static void on_descriptors_exhausted(struct listener *l, int error)
{
    trace_event(TRACE_WARN, "listener.exhausted", trace_text("reason", strerror(error)));
    if (l->spare >= 0) {
        close(l->spare);
        l->spare = -1;
        const int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
        }
        l->spare = open_spare();
    }
    pause_for_a_moment(l);
}

/* These say that this one connection is gone already, not that the port is ill;
 * accept(2) lists them for Linux. */
static bool is_of_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct listener *l = io->data;
    for (int i = 0; i < LISTENER_BATCH; i++) {
        struct address from = {.size = sizeof from.storage};
        const int fd = accept4(l->fd, (struct sockaddr *)&from.storage, &from.size,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (from.storage.ss_family != AF_UNIX) {
                listener_socket_options(fd);
            }
            l->accepted(l->context, fd, &from);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (!is_of_connection(errno)) {
            on_descriptors_exhausted(l, errno);
            return;
        }
    }
}

static int open_port(struct address *address)
{
    const int on = 1;
    const int fd = socket(address->storage.ss_family,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        return -1;
    }
    address->size = address->storage.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                           : sizeof(struct sockaddr_in);
    /* A restart must not wait for the connections of the life before to be forgotten. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address->storage, address->size) != 0 ||
        listen(fd, BACKLOG) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    address->size = sizeof address->storage;
    const int rc = getsockname(fd, (struct sockaddr *)&address->storage, &address->size);
    assert(rc == 0);
    (void)rc;
    return fd;
}

/* Takes over `fd`; NULL: out of memory, and it is closed. */
static struct listener *listener_new(struct ev_loop *loop, int fd,
                                     const struct address *address, listener_accepted *accepted,
                                     void *context)
{
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL) {
        close(fd);
        return NULL;
    }
    *l = (struct listener){.loop = loop,
                           .fd = fd,
                           .spare = open_spare(),
                           .address = *address,
                           .accepted = accepted,
                           .context = context};
    ev_io_init(&l->io, on_acceptable, fd, EV_READ);
    ev_timer_init(&l->pause, on_pause_over, 0.0, 0.0);
    l->io.data = l;
    l->pause.data = l;
    return l;
}

struct listener *listener_open(struct ev_loop *loop, const char *text,
                               listener_accepted *accepted, void *context,
                               char ret_error[CONFIG_ERROR_MAX])
{
    struct address address;
    const int rc = address_lookup(text, &address);
    if (rc != 0) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s: %s", text, gai_strerror(rc));
        return NULL;
    }
    const int fd = open_port(&address);
    if (fd < 0) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "can't listen on %s: %s", text, strerror(errno));
        return NULL;
    }
    struct listener *l = listener_new(loop, fd, &address, accepted, context);
    if (l == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "out of memory");
    }
    return l;
}

/* A socket behind which nobody listens: its process is gone. */
static bool is_left_over(const struct sockaddr_un *name)
{
    struct stat status;
    if (lstat(name->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const bool refused = fd >= 0 &&
                         connect(fd, (const struct sockaddr *)name, sizeof *name) != 0 &&
                         errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return refused;
}

static bool bind_local(int fd, const struct sockaddr_un *name)
{
    if (bind(fd, (const struct sockaddr *)name, sizeof *name) == 0) {
        return true;
    }
    if (errno != EADDRINUSE) {
        return false;
    }
    if (!is_left_over(name)) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(name->sun_path) == 0 &&
           bind(fd, (const struct sockaddr *)name, sizeof *name) == 0;
}

static int open_local(const struct sockaddr_un *name)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    /* Linux gives the name the mode of the descriptor: at no moment may others connect. */
    if (fchmod(fd, 0600) != 0 || !bind_local(fd, name) || listen(fd, BACKLOG) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

struct listener *listener_open_local(struct ev_loop *loop, const char *path,
                                     listener_accepted *accepted, void *context,
                                     char ret_error[CONFIG_ERROR_MAX])
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    assert(strlen(path) < sizeof name.sun_path);
    memcpy(name.sun_path, path, strlen(path) + 1);
    const int fd = open_local(&name);
    if (fd < 0) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "can't listen on the local socket %s: %s", path,
                 strerror(errno));
        return NULL;
    }
    struct address address = {.size = sizeof name};
    memcpy(&address.storage, &name, sizeof name);
    struct listener *l = listener_new(loop, fd, &address, accepted, context);
    if (l == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "out of memory");
    }
    return l;
}

void listener_address(const struct listener *l, char ret_text[ADDRESS_MAX])
{
    address_format(&l->address, ret_text);
}

void listener_start(struct listener *l)
{
    ev_io_start(l->loop, &l->io);
}

void listener_close(struct listener *l)
{
    if (l == NULL) {
        return;
    }
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->pause);
    if (l->address.storage.ss_family == AF_UNIX) {
        struct sockaddr_un name;
        memcpy(&name, &l->address.storage, sizeof name);
        (void)unlink(name.sun_path);
    }
    close(l->fd);
    if (l->spare >= 0) {
        close(l->spare);
    }
    free(l);
}
