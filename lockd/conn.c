/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.c -- see conn.h.
 *
 * The life of connections, one by one and all together; lines are read in
 * conn_input.c and written in conn_output.c.
 */
#include "lockd/conn_internal.h"

#include "lockd/clock.h"
#include "lockd/trace.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* --------------------------------------------------------------------- life */

void conn_hold(struct conn *c)
{
    if (!c->held) {
        c->held = true;
        ev_io_stop(c->all->loop, &c->reader);
        DL_APPEND2(c->all->held, c, held_prev, held_next);
    }
}

static void unhold(struct conn *c)
{
    if (c->held) {
        c->held = false;
        DL_DELETE2(c->all->held, c, held_prev, held_next);
    }
}

void conn_drop_input(struct conn *c)
{
    c->all->buffered -= c->in_capacity;
    free(c->in);
    c->in = NULL;
    c->in_size = c->in_capacity = c->in_scanned = 0;
    c->line_ms = 0;
}

/* Ends the connection.  The struct itself lives until the end of the turn,
 * because callers further up may still look at its state. */
void conn_kill(struct conn *c, const char *reason)
{
    struct conns *all = c->all;
    if (c->state == CONN_DEAD) {
        return;
    }
    trace_event(TRACE_DEBUG, "client.closed", trace_number("client", c->number),
                trace_text("reason", reason));
    ev_io_stop(all->loop, &c->reader);
    ev_io_stop(all->loop, &c->writer);
    conn_drop_output(c);
    unhold(c);
    close(c->fd);
    c->fd = -1;
    c->state = CONN_DEAD;
    tags_release_all(all->tags, &c->tags);
    conn_drop_input(c);
    HASH_DEL(all->table, c);
    LL_PREPEND2(all->dead, c, dirty_next);
    all->handler.forget(all->handler.context, c->number);
}

static void bury_dead(struct conns *all)
{
    while (all->dead != NULL) {
        struct conn *c = all->dead;
        all->dead = c->dirty_next;
        free(c);
    }
}

/* ---------------------------------------------------------------- deadlines */

/* How long nothing may move while nothing is outstanding. */
static uint64_t idle_ms(const struct conn *c)
{
    const uint64_t configured_ms = c->all->config->idle_deadline_ms;
    return c->lasting && configured_ms < CONN_SESSION_IDLE_MS ? CONN_SESSION_IDLE_MS
                                                              : configured_ms;
}

/* Why the connection must end now, or NULL. */
static const char *overdue(const struct conn *c, uint64_t now_ms)
{
    const struct config *config = c->all->config;
    if (c->state == CONN_LINGERING) {
        return now_ms >= c->end_ms ? "refused" : NULL;
    }
    if (c->held && conn_unsent(c) == 0) {
        return NULL; /* It waits for us. */
    }
    if (!c->held && c->line_ms != 0 && now_ms - c->line_ms >= config->line_deadline_ms) {
        return "half a line";
    }
    if (c->tags.count == 0 && now_ms - c->active_ms >= idle_ms(c)) {
        return "idle";
    }
    return NULL;
}

static void on_sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct conns *all = timer->data;
    const uint64_t now_ms = clock_boottime_ms();
    struct conn *c = NULL;
    struct conn *next = NULL;
    HASH_ITER(hh, all->table, c, next)
    {
        const char *reason = overdue(c, now_ms);
        if (reason != NULL) {
            conn_kill(c, reason);
        } else if (c->in_size == 0 && conn_unsent(c) == 0 && now_ms - c->active_ms > 1000) {
            conn_drop_input(c); /* Ten thousand idle sessions should cost little. */
            conn_drop_output(c);
        }
    }
}

/* ------------------------------------------------------------ the whole lot */

struct conns *conns_new(struct ev_loop *loop, const struct config *config,
                        const struct conns_handler *handler)
{
    struct conns *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    all->loop = loop;
    all->config = config;
    all->handler = *handler;
    all->tags = tags_new();
    all->shared = malloc(CONN_READ_SIZE);
    ev_timer_init(&all->sweep, on_sweep, CONN_SWEEP_MS / 1000.0, CONN_SWEEP_MS / 1000.0);
    all->sweep.data = all;
    ev_timer_start(loop, &all->sweep);
    if (all->tags == NULL || all->shared == NULL) {
        conns_free(all);
        return NULL;
    }
    return all;
}

void conns_free(struct conns *all)
{
    if (all == NULL) {
        return;
    }
    struct conn *c = NULL;
    struct conn *next = NULL;
    HASH_ITER(hh, all->table, c, next)
    {
        conn_kill(c, "shutdown");
    }
    bury_dead(all);
    ev_timer_stop(all->loop, &all->sweep);
    wire_memory_free(&all->memory);
    tags_free(all->tags);
    free(all->shared);
    free(all);
}

static void turn_away(int fd, const char *from)
{
    trace_event(TRACE_WARN, "client.refused", trace_text("from", from),
                trace_text("reason", "clients_max connections are open"));
    struct wire_buffer out = {0};
    wire_print_refusal(&out, &(struct wire_refusal){
                                 .error = WIRE_OVERLOADED,
                                 .id = "null",
                                 .detail = "this replica has as many connections as it may"});
    if (!out.failed) {
        const ssize_t sent = send(fd, out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent;
    }
    wire_buffer_free(&out);
    close(fd);
}

/* What is not read shall lie here, where it is counted, not in the kernel, which would
 * take megabytes of it from each who never reads. */
static void bound_sending(int fd)
{
    const int octets = CONN_OUTPUT_PAUSE;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &octets, sizeof octets);
}

/* A client whose machine or network went away says no word of it.  What it awaits,
 * or what it is told, would keep its connection for ever: so the kernel asks after
 * who is silent, and gives up who acknowledges nothing. */
static void detect_death(int fd)
{
    const int on = 1;
    const int idle_s = CONN_PROBE_S;
    const int interval_s = CONN_PROBE_S / 3;
    const unsigned unacknowledged_ms = CONN_SESSION_IDLE_MS;
    /* Without them it is found later, not wrongly. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                     sizeof unacknowledged_ms);
}

const char *conns_principal(const struct conns *all, uint64_t client)
{
    struct conn *c = NULL;
    HASH_FIND(hh, all->table, &client, sizeof client, c);
    return c == NULL ? NULL : c->principal;
}

void conns_be_patient(struct conns *all, uint64_t client, uint64_t tag)
{
    struct conn *c = NULL;
    struct wire_text id;
    HASH_FIND(hh, all->table, &client, sizeof client, c);
    if (c != NULL && c->tags.patient < CONN_WAITING_MAX &&
        tags_find(all->tags, tag, client, &id)) {
        tags_be_patient(all->tags, &c->tags, tag);
    }
}

void conns_accept(struct conns *all, int fd, const struct address *from, const char *principal)
{
    char name[ADDRESS_MAX];
    address_format(from, name);
    struct conn *c = NULL;
    /* Who comes to see why it is full gets in. */
    const uint32_t spare = from->storage.ss_family == AF_UNIX ? CONN_LOCAL_SPARE : 0;
    if (HASH_COUNT(all->table) >= all->config->clients_max + spare ||
        (c = calloc(1, sizeof *c)) == NULL) {
        turn_away(fd, name);
        return;
    }
    c->number = ++all->number_last;
    c->principal = principal;
    c->all = all;
    c->fd = fd;
    c->active_ms = clock_boottime_ms();
    detect_death(fd);
    bound_sending(fd);
    ev_io_init(&c->reader, conn_on_readable, fd, EV_READ);
    ev_io_init(&c->writer, conn_on_writable, fd, EV_WRITE);
    c->reader.data = c;
    c->writer.data = c;
    HASH_ADD(hh, all->table, number, sizeof c->number, c);
    ev_io_start(all->loop, &c->reader);
    trace_event(TRACE_DEBUG, "client.connected", trace_number("client", c->number),
                trace_text("from", name), trace_text("principal", principal));
}

void conns_pause(struct conns *all, bool paused)
{
    all->paused = paused;
}

bool conns_resume(struct conns *all)
{
    all->requests = false;
    struct conn *c = NULL;
    struct conn *next = NULL;
    DL_FOREACH_SAFE2(all->held, c, next, held_next)
    {
        if (!conn_may_go_on(c)) {
            continue;
        }
        unhold(c);
        conn_step_held(c, clock_boottime_ms());
        if (!c->held && (c->state == CONN_OPEN || c->state == CONN_LINGERING)) {
            ev_io_start(all->loop, &c->reader);
        }
    }
    return all->requests;
}

void conns_flush(struct conns *all)
{
    while (all->dirty != NULL) {
        conn_send(all->dirty);
    }
    bury_dead(all);
}

bool conns_drained(const struct conns *all)
{
    for (const struct conn *c = all->table; c != NULL; c = c->hh.next) {
        if (conn_unsent(c) > 0) {
            return false;
        }
    }
    return true;
}
