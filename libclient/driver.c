/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.c -- see driver.h.
 */
#include "libclient/driver.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static_assert(ENGINE_LOCAL_PATH_MAX < sizeof((struct sockaddr_un *)NULL)->sun_path,
              "a path that the engine accepts has room with its NUL");

enum {
    READS_A_TURN = 16, /* Then the callbacks have their turn. */
    READY_MAX = 4,     /* Socket or resolver, timer, wake. */
};

uint64_t driver_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --------------------------------------------------------------------- life */

static bool watch(struct driver *d, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

enum lockd_rc driver_init(struct driver *d)
{
    *d = (struct driver){.socket = -1, .armed_ms = ENGINE_NEVER};
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    d->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->epoll < 0 || d->timer < 0 || d->wake < 0 || !watch(d, d->timer, EPOLLIN) ||
        !watch(d, d->wake, EPOLLIN)) {
        const int error = errno;
        driver_free(d, /* forked= */ false);
        errno = error;
        return LOCKD_E_SYSTEM;
    }
    return LOCKD_OK;
}

/* Closing is all: it takes a socket of one process out of epoll, and leaves what
 * a parent shares with us alone. */
static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void close_link(struct driver *d)
{
    close_if_open(&d->socket);
    resolve_close(d->question);
    if (d->list != NULL) {
        freeaddrinfo(d->list);
    }
    d->question = NULL;
    d->list = d->next = NULL;
    d->connected = d->watch_write = false;
    d->link = 0;
}

void driver_free(struct driver *d, bool forked)
{
    if (forked) {
        resolve_abandon(d->question);
        d->question = NULL;
    }
    close_link(d);
    close_if_open(&d->timer);
    close_if_open(&d->wake);
    close_if_open(&d->epoll);
}

/* --------------------------------------------------------------------- link */

static void lose(struct driver *d, struct engine *e, const char *why)
{
    const uint64_t link = d->link;
    close_link(d);
    engine_lost(e, driver_now_ms(), link, why);
}

static void set_why(struct driver *d, int error)
{
    snprintf(d->why, sizeof d->why, "%s", strerror(error));
}

/* False: this address won't do. */
static bool try_address(struct driver *d, const struct sockaddr *address, socklen_t size)
{
    const int one = 1;
    d->socket = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->socket < 0) {
        set_why(d, errno);
        return false;
    }
    /* Requests are small and wait for nobody; a local socket knows no such option. */
    (void)setsockopt(d->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if ((connect(d->socket, address, size) != 0 && errno != EINPROGRESS) ||
        !watch(d, d->socket, EPOLLIN | EPOLLOUT)) {
        set_why(d, errno);
        close_if_open(&d->socket);
        return false;
    }
    d->watch_write = true;
    return true;
}

static void lose_for_why(struct driver *d, struct engine *e)
{
    char why[RESOLVE_WHY_MAX];
    memcpy(why, d->why, sizeof why);
    lose(d, e, why);
}

static void try_local(struct driver *d, struct engine *e, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t size = strlen(path);
    assert(size < sizeof address.sun_path); /* The engine has measured it. */
    memcpy(address.sun_path, path, size);
    if (!try_address(d, (const struct sockaddr *)&address, sizeof address)) {
        lose_for_why(d, e);
    }
}

static void try_next(struct driver *d, struct engine *e)
{
    close_if_open(&d->socket);
    while (d->next != NULL) {
        const struct addrinfo *a = d->next;
        d->next = a->ai_next;
        if (try_address(d, a->ai_addr, a->ai_addrlen)) {
            return;
        }
    }
    lose_for_why(d, e);
}

static void resolved(struct driver *d, struct engine *e, struct addrinfo *list)
{
    d->list = d->next = list;
    try_next(d, e);
}

static void begin_link(struct driver *d, struct engine *e, const struct engine_wish *wish)
{
    struct addrinfo *list = NULL;
    d->link = wish->link;
    d->why[0] = 0;
    if (strncmp(wish->address, ENGINE_LOCAL, sizeof ENGINE_LOCAL - 1) == 0) {
        try_local(d, e, wish->address + sizeof ENGINE_LOCAL - 1);
    } else if (resolve_begin(wish->address, &d->question, &list, d->why)) {
        resolved(d, e, list);
    } else if (!watch(d, resolve_fd(d->question), EPOLLIN)) {
        lose(d, e, strerror(errno));
    }
}

static void question_ready(struct driver *d, struct engine *e)
{
    struct addrinfo *list = NULL;
    struct resolve *question = d->question;
    d->question = NULL;
    resolve_end(question, &list, d->why);
    resolved(d, e, list);
}

static void socket_connected(struct driver *d, struct engine *e)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(d->socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        set_why(d, error);
        try_next(d, e);
        return;
    }
    d->connected = true;
    engine_connected(e, driver_now_ms(), d->link);
}

static void socket_readable(struct driver *d, struct engine *e)
{
    const uint64_t link = d->link;
    for (int i = 0; i < READS_A_TURN && d->link == link; i++) {
        const ssize_t size = recv(d->socket, d->input, sizeof d->input, 0);
        if (size > 0) {
            /* The clock is read after the octets: they were there by then. */
            engine_received(e, driver_now_ms(), link, d->input, (size_t)size);
            if ((size_t)size < sizeof d->input || engine_wish(e)->link != link) {
                return;
            }
        } else if (size == 0) {
            lose(d, e, "it closed the connection");
        } else if (errno != EINTR) {
            if (errno != EAGAIN) {
                lose(d, e, strerror(errno));
            }
            return;
        }
    }
}

static void watch_writing(struct driver *d, bool write)
{
    if (d->watch_write != write) {
        struct epoll_event event = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0),
                                    .data = {.fd = d->socket}};
        (void)epoll_ctl(d->epoll, EPOLL_CTL_MOD, d->socket, &event);
        d->watch_write = write;
    }
}

/* Sends as much as the socket takes. */
static void send_output(struct driver *d, struct engine *e)
{
    for (;;) {
        const struct engine_wish *wish = engine_wish(e);
        if (wish->link != d->link || wish->output.size == 0) {
            watch_writing(d, false);
            return;
        }
        const ssize_t size =
            send(d->socket, wish->output.data, wish->output.size, MSG_NOSIGNAL);
        if (size >= 0) {
            engine_sent(e, driver_now_ms(), d->link, (size_t)size);
        } else if (errno == EAGAIN) {
            watch_writing(d, true);
            return;
        } else if (errno != EINTR) {
            /* What the other end sent before it went is still to be read. */
            socket_readable(d, e);
            if (d->link != 0 && d->link == engine_wish(e)->link) {
                lose(d, e, strerror(EPIPE));
            }
            return;
        }
    }
}

/* -------------------------------------------------------------------- wishes */

/* The timer is only moved forward in time; one that fires too early is armed
 * anew then.  So a call with a deadline costs no system call for it. */
static void arm(struct driver *d, uint64_t wake_at_ms)
{
    if (wake_at_ms >= d->armed_ms) {
        return;
    }
    const uint64_t at_ms = wake_at_ms > 0 ? wake_at_ms : 1;
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ms / 1000),
                                                 .tv_nsec = (long)(at_ms % 1000) * 1000000}};
    (void)timerfd_settime(d->timer, TFD_TIMER_ABSTIME, &when, NULL);
    d->armed_ms = wake_at_ms;
}

void driver_apply(struct driver *d, struct engine *e)
{
    for (;;) {
        const struct engine_wish *wish = engine_wish(e);
        if (wish->link != d->link) {
            close_link(d);
            if (wish->link != 0) {
                begin_link(d, e, wish);
            }
            continue;
        }
        if (d->connected && (wish->output.size > 0 || d->watch_write)) {
            send_output(d, e);
        }
        if (engine_wish(e)->link == d->link) {
            break;
        }
    }
    arm(d, engine_wish(e)->wake_at_ms);
}

static void drain(int fd)
{
    uint64_t count;
    const ssize_t size = read(fd, &count, sizeof count);
    (void)size; /* It may have been drained already. */
}

static void socket_ready(struct driver *d, struct engine *e, uint32_t events)
{
    if (!d->connected) {
        socket_connected(d, e);
    } else if ((events & ~(uint32_t)EPOLLOUT) != 0) {
        socket_readable(d, e);
    }
}

void driver_turn(struct driver *d, struct engine *e)
{
    struct epoll_event ready[READY_MAX];
    const int count = epoll_wait(d->epoll, ready, READY_MAX, 0);
    for (int i = 0; i < count; i++) {
        const int fd = ready[i].data.fd;
        if (fd == d->timer) {
            drain(fd);
            d->armed_ms = ENGINE_NEVER;
        } else if (fd == d->wake) {
            drain(fd);
            d->woken = false;
        } else if (d->question != NULL && fd == resolve_fd(d->question)) {
            question_ready(d, e);
        } else if (fd == d->socket) {
            socket_ready(d, e, ready[i].events);
        }
    }
    /* Deadlines are judged after what was readable when they fell due. */
    const uint64_t now_ms = driver_now_ms();
    if (engine_wish(e)->wake_at_ms <= now_ms) {
        engine_tick(e, now_ms);
    }
    driver_apply(d, e);
}

void driver_wake(struct driver *d)
{
    if (!d->woken) {
        const uint64_t one = 1;
        const ssize_t size = write(d->wake, &one, sizeof one);
        (void)size; /* An eventfd at zero takes it. */
        d->woken = true;
    }
}
