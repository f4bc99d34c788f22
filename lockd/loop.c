/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c -- see loop.h.
 *
 *     poll --> callbacks: lines, frames, "durable" --> service
 *      ^                                                  |
 *      '-- on_prepare: service_turn(), and do what it says'
 */
#include "lockd/loop.h"

#include "lockd/clock.h"
#include "lockd/conn.h"
#include "lockd/gateway.h"
#include "lockd/listener.h"
#include "lockd/peer.h"
#include "lockd/trace.h"
#include "lockd/writer.h"
#include "paxos/describe.h"

#include <assert.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where clients come in, and who they are then. */
struct port {
    struct loop *loop;
    struct listener *listener;
    const char *principal;
};

struct loop {
    struct ev_loop *ev;
    const struct config *config;
    struct service *service;
    struct store_writer *writer;
    struct gateway *gateway;
    struct conns *conns;
    struct peers *peers;
    struct port ports[CONFIG_LISTENERS_MAX + 1]; /* The local socket behind the others. */
    uint32_t ports_count;
    struct hello_client addresses[CONFIG_LISTENERS_MAX]; /* As told to others. */
    struct listener *members;

    ev_prepare prepare;
    ev_check check;
    ev_async written; /* The writer has something to report. */
    ev_timer wake;    /* Follows service_output.wake_at_ms. */
    ev_signal sigterm, sigint;

    uint64_t polled_ms; /* When the loop last came back from waiting. */
    bool report_due;
    bool resumed; /* A client reads again: the service has something to say to it. */
    bool low_space;
    bool alone; /* A cell of one replica. */
    bool announced;
    bool stopping;
    uint64_t stop_at_ms;

    struct wire_buffer head; /* Of the notification being sent. */

    struct paxos_note note; /* The last one logged, and ... */
    uint64_t note_ms;       /* ... when. */
    uint64_t note_repeats;
};

/* ----------------------------------------------------------- into the service */

static void on_client_request(void *context, uint64_t now_ms, uint64_t client, uint64_t tag,
                              const char *principal, const struct wire_request *request)
{
    struct loop *l = context;
    struct service_request stepped;
    gateway_request(l->gateway, request, client, tag, principal, &stepped);
    service_request(l->service, now_ms, &stepped);
}

static void on_client_gone(void *context, uint64_t client)
{
    struct loop *l = context;
    service_forget(l->service, client);
}

static void on_client_slow(void *context, uint64_t client, bool slow)
{
    struct loop *l = context;
    service_slow(l->service, client, slow);
    l->resumed = l->resumed || !slow; /* What was held back for it can go on. */
}

static void on_peer_message(void *context, uint64_t now_ms, const struct paxos_message *message)
{
    struct loop *l = context;
    const enum paxos_drop drop = service_receive(l->service, now_ms, message);
    if (drop != PAXOS_DROP_NONE) {
        trace_event(TRACE_DEBUG, "paxos.dropped", trace_number("from", message->from),
                    trace_text("message", paxos_describe_message_type(message->type)),
                    trace_text("reason", paxos_describe_drop(drop)));
    }
}

static void on_peer_gone(void *context, uint64_t now_ms, paxos_id peer)
{
    struct loop *l = context;
    service_peer_gone(l->service, now_ms, peer);
}

static void on_client_accepted(void *context, int fd, const struct address *from)
{
    const struct port *port = context;
    conns_accept(port->loop->conns, fd, from, port->principal);
}

static void on_peer_accepted(void *context, int fd, const struct address *from)
{
    struct loop *l = context;
    peers_accept(l->peers, fd, from);
}

/* Who came through the local socket may go anywhere: the first port is for everybody. */
static const char *client_address(void *context, paxos_id replica, const char *principal)
{
    const struct loop *l = context;
    const bool local = principal == NULL || strcmp(principal, LEASE_ROOT) == 0;
    return peers_client_address(l->peers, replica, local ? NULL : principal);
}

/* ------------------------------------------------------------ from the writer */

/* Called by the writer's thread. */
static void wake_loop(void *context)
{
    struct loop *l = context;
    ev_async_send(l->ev, &l->written);
}

static void on_written(struct ev_loop *ev, ev_async *async, int events)
{
    (void)ev;
    (void)events;
    struct loop *l = async->data;
    l->report_due = true;
}

/* The alarm goes off at the reserve and is over a quarter above it, so that it
 * doesn't flutter. */
static void judge_space(struct loop *l, uint64_t free_bytes)
{
    const uint64_t reserve = (uint64_t)l->config->disk_reserve_mib << 20;
    const uint64_t limit = l->low_space ? reserve + reserve / 4 : reserve;
    const bool low = free_bytes < limit;
    if (low != l->low_space) {
        l->low_space = low;
        service_low_space(l->service, low);
        trace_event(low ? TRACE_ERROR : TRACE_INFO, low ? "space.low" : "space.enough",
                    trace_number("free_bytes", free_bytes),
                    trace_number("reserve_bytes", reserve),
                    trace_text("growth", low ? "refused" : "allowed"));
    }
}

static void take_report(struct loop *l)
{
    struct writer_report report;
    l->report_due = false;
    writer_poll(l->writer, &report);
    if (report.failed) {
        /* Nobody knows what the disk holds now; not one octet more may leave
         * on the strength of it. */
        trace_event(TRACE_ERROR, "store.failed", trace_text("reason", report.failure),
                    trace_text("consequence", "this replica stops"));
        _exit(1);
    }
    const uint64_t now_ms = clock_boottime_ms();
    if (report.ticket > 0) {
        service_durable(l->service, now_ms, report.ticket);
    }
    if (report.applied_slot > 0) {
        service_set_durable(l->service, report.applied_slot);
    }
    while (report.reads != NULL) {
        struct writer_read *read = report.reads;
        report.reads = read->next;
        service_log_read(l->service, now_ms, &read->answer);
        writer_read_done(read);
    }
    if (report.free_bytes != UINT64_MAX) {
        judge_space(l, report.free_bytes);
    }
}

/* --------------------------------------------------------- out of the service */

static enum trace_level level_of(enum paxos_note_kind kind)
{
    switch (kind) {
    case PAXOS_NOTE_STEPPED_DOWN:
    case PAXOS_NOTE_IDENTITY_REFUSED:
    case PAXOS_NOTE_FOUNDER_LOST:
    case PAXOS_NOTE_FOUNDER_MISSED:
    case PAXOS_NOTE_MEMBERS_DIFFER:
    case PAXOS_NOTE_NOT_A_MEMBER:
    case PAXOS_NOTE_OTHER_CELL:
    case PAXOS_NOTE_OLD_INCARNATION:
    case PAXOS_NOTE_DISK_SILENT:
        return TRACE_WARN;
    case PAXOS_NOTE_FOLLOWING:
    case PAXOS_NOTE_PREVOTING:
    case PAXOS_NOTE_PREPARING:
    case PAXOS_NOTE_LEADING:
    case PAXOS_NOTE_SERVING:
    case PAXOS_NOTE_RELEASED:
    case PAXOS_NOTE_PINNED:
    case PAXOS_NOTE_FORMED:
    case PAXOS_NOTES:
        break;
    }
    return TRACE_INFO;
}

static void log_note(struct loop *l, uint64_t now_ms, const struct paxos_note *note)
{
    char text[256];
    const bool again = l->note_ms != 0 && note->kind == l->note.kind && note->a == l->note.a &&
                       note->b == l->note.b;
    if (again && now_ms - l->note_ms < LOOP_NOTE_MS) {
        l->note_repeats++;
        return;
    }
    if (l->note_repeats > 0) {
        trace_event(TRACE_INFO, "paxos.repeated", trace_number("times", l->note_repeats),
                    trace_text("note", paxos_describe_note(&l->note, text, sizeof text)));
    }
    trace_event(level_of(note->kind), "paxos",
                trace_text("note", paxos_describe_note(note, text, sizeof text)));
    l->note = *note;
    l->note_ms = now_ms;
    l->note_repeats = 0;
}

static void reply(struct loop *l, const struct service_reply *answer)
{
    struct wire_text id;
    struct wire_buffer *out = conns_reply_begin(l->conns, answer->client, answer->tag, &id);
    if (out != NULL) {
        gateway_reply(l->gateway, answer, id, conns_principal(l->conns, answer->client), out);
        conns_reply_end(l->conns, answer->client, answer->tag);
    }
}

/* Are both told the same, so that one print does for both? */
static bool same_tail(const struct service_event *a, const struct service_event *b)
{
    return a->change == b->change && a->count == b->count &&
           a->first_revision == b->first_revision && a->content == b->content &&
           a->old == b->old;
}

static struct conn_shared *print_tail(struct loop *l, const struct service_event *event)
{
    struct wire_buffer octets = {.data = NULL};
    gateway_event_tail(l->gateway, event, &octets);
    return conn_shared_new(l->conns, &octets);
}

/* Sends what was printed into the head, and what is shared behind it. */
static void notify(struct loop *l, uint64_t client, struct conn_shared *shared)
{
    const struct wire_text head = {.data = l->head.failed ? NULL : l->head.data,
                                   .size = l->head.size};
    conns_notify(l->conns, client, head, shared);
    if (l->head.failed) {
        wire_buffer_free(&l->head);
    }
}

/* Events of one change stand together, so the tail of the last one is all that
 * need be kept. */
static void tell(struct loop *l, const struct service_event *events, uint32_t count)
{
    struct conn_shared *tail = NULL;
    const struct service_event *printed = NULL; /* As the tail says. */
    for (uint32_t i = 0; i < count; i++) {
        const struct service_event *event = &events[i];
        l->head.size = 0;
        if (event->kind != SERVICE_EVENT_CHANGE) {
            gateway_event(l->gateway, event, conns_principal(l->conns, event->client),
                          &l->head);
            notify(l, event->client, NULL);
            continue;
        }
        if (printed == NULL || !same_tail(printed, event)) {
            conn_shared_release(tail);
            tail = print_tail(l, event);
            printed = event;
        }
        l->head.failed = tail == NULL;
        gateway_event_head(event, &l->head);
        notify(l, event->client, tail);
    }
    conn_shared_release(tail);
}

static void act(struct loop *l, uint64_t now_ms, const struct service_output *out)
{
    for (uint32_t i = 0; i < out->held_count; i++) {
        conns_be_patient(l->conns, out->held[i].client, out->held[i].tag);
    }
    /* Messages first: the peers' disks shall work while ours does. */
    for (uint32_t i = 0; i < out->at_once_count; i++) {
        peers_send(l->peers, &out->at_once[i]);
    }
    for (uint32_t i = 0; i < out->released_count; i++) {
        peers_send(l->peers, &out->released[i]);
    }
    peers_flush(l->peers);
    if (out->store != NULL) {
        writer_put(l->writer, out->store);
    }
    for (uint32_t i = 0; i < out->reads_count; i++) {
        writer_read_log(l->writer, &out->reads[i]);
    }
    tell(l, out->events, out->events_count);
    for (uint32_t i = 0; i < out->replies_count; i++) {
        reply(l, &out->replies[i]);
    }
    for (uint32_t i = 0; i < out->notes_count; i++) {
        log_note(l, now_ms, &out->notes[i]);
    }
}

/* One round of the service.  True: it has more to say at once. */
static bool turn(struct loop *l, uint64_t *ret_wake_at_ms)
{
    const uint64_t now_ms = clock_boottime_ms();
    const struct service_output *out = service_turn(l->service, now_ms, clock_wall_ms());
    act(l, now_ms, out);
    *ret_wake_at_ms = out->wake_at_ms;
    const bool more = out->more;
    service_advance(l->service);
    return more;
}

/* The one line on standard output, for whoever started us.  A replica among
 * others is ready when it listens, whoever of them comes to lead; one that is
 * alone is its own master, and ready when it serves. */
static void announce(struct loop *l)
{
    struct service_status status;
    service_status(l->service, l->polled_ms, &status);
    if (l->alone && !status.paxos.serving) {
        return;
    }
    l->announced = true;
    char clients[ADDRESS_MAX];
    char members[ADDRESS_MAX];
    listener_address(l->ports[0].listener, clients);
    listener_address(l->members, members);
    printf("ready client=%s peer=%s\n", clients, members);
    fflush(stdout);
    trace_event(TRACE_INFO, "replica.ready", trace_text("client", clients),
                trace_text("peer", members), trace_text("local", l->config->local_socket));
}

static void set_wake(struct loop *l, uint64_t wake_at_ms)
{
    /* libev counts from when it came back from waiting, not from now. */
    const uint64_t after_ms = wake_at_ms > l->polled_ms ? wake_at_ms - l->polled_ms : 0;
    ev_timer_stop(l->ev, &l->wake);
    ev_timer_set(&l->wake, (double)after_ms / 1000.0, /* repeat= */ 0.0);
    ev_timer_start(l->ev, &l->wake);
}

static void end_if_done(struct loop *l, uint64_t now_ms)
{
    const bool done = service_idle(l->service) && conns_drained(l->conns);
    if (done || now_ms >= l->stop_at_ms) {
        ev_break(l->ev, EVBREAK_ALL);
    }
}

static void on_prepare(struct ev_loop *ev, ev_prepare *prepare, int events)
{
    (void)ev;
    (void)events;
    struct loop *l = prepare->data;
    if (l->report_due) {
        take_report(l);
    }
    uint64_t wake_at_ms = 0;
    bool more = true;
    l->resumed = false;
    for (uint32_t round = 0; more && round < LOOP_ROUNDS; round++) {
        more = turn(l, &wake_at_ms);
        conns_pause(l->conns, writer_full(l->writer));
        more = conns_resume(l->conns) || more;
    }
    conns_flush(l->conns);
    if (!l->announced && !l->stopping) { /* Who is stopping listens no more. */
        announce(l);
    }

    const uint64_t now_ms = clock_boottime_ms();
    if (now_ms - l->polled_ms >= LOOP_SLOW_MS) {
        trace_event(TRACE_WARN, "loop.slow", trace_number("ms", now_ms - l->polled_ms));
    }
    set_wake(l, more || l->resumed ? 0 : wake_at_ms);
    if (l->stopping) {
        end_if_done(l, now_ms);
    }
}

static void on_check(struct ev_loop *ev, ev_check *check, int events)
{
    (void)ev;
    (void)events;
    struct loop *l = check->data;
    l->polled_ms = clock_boottime_ms();
}

/* Being woken is all: on_prepare() does the rest. */
static void on_wake(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)timer;
    (void)events;
}

/* ----------------------------------------------------------------------- life */

static void close_ports(struct loop *l)
{
    for (uint32_t i = 0; i < l->ports_count; i++) {
        listener_close(l->ports[i].listener);
        l->ports[i].listener = NULL;
    }
}

static void on_signal(struct ev_loop *ev, ev_signal *signal, int events)
{
    (void)ev;
    (void)events;
    struct loop *l = signal->data;
    const uint64_t now_ms = clock_boottime_ms();
    if (l->stopping) {
        l->stop_at_ms = now_ms; /* Asked twice: at once. */
        return;
    }
    trace_event(TRACE_INFO, "replica.stopping",
                trace_number("signal", (uint64_t)signal->signum));
    l->stopping = true;
    l->stop_at_ms = now_ms + LOOP_STOP_MS;
    close_ports(l);
    service_hand_over(l->service, now_ms);
}

static void start_watchers(struct loop *l)
{
    ev_prepare_init(&l->prepare, on_prepare);
    ev_check_init(&l->check, on_check);
    ev_async_init(&l->written, on_written);
    ev_timer_init(&l->wake, on_wake, 0.0, 0.0);
    ev_signal_init(&l->sigterm, on_signal, SIGTERM);
    ev_signal_init(&l->sigint, on_signal, SIGINT);
    l->prepare.data = l->check.data = l->written.data = l->wake.data = l;
    l->sigterm.data = l->sigint.data = l;
    /* The time is taken before any callback of the turn. */
    ev_set_priority(&l->check, EV_MAXPRI);
    ev_prepare_start(l->ev, &l->prepare);
    ev_check_start(l->ev, &l->check);
    ev_async_start(l->ev, &l->written);
    ev_signal_start(l->ev, &l->sigterm);
    ev_signal_start(l->ev, &l->sigint);
    l->polled_ms = clock_boottime_ms();
}

static bool open_port(struct loop *l, const struct config_listener *config,
                      char ret_error[CONFIG_ERROR_MAX])
{
    struct port *port = &l->ports[l->ports_count];
    struct hello_client *told = &l->addresses[l->ports_count];
    *port = (struct port){.loop = l, .principal = config->principal};
    port->listener = listener_open(l->ev, config->listen, on_client_accepted, port, ret_error);
    if (port->listener == NULL) {
        return false;
    }
    l->ports_count++;
    memcpy(told->principal, config->principal, sizeof told->principal);
    if (config->advertise[0] != '\0') {
        memcpy(told->address, config->advertise, ADDRESS_MAX);
    } else {
        listener_address(port->listener, told->address);
    }
    return true;
}

static bool open_local(struct loop *l, char ret_error[CONFIG_ERROR_MAX])
{
    struct port *port = &l->ports[l->ports_count];
    *port = (struct port){.loop = l, .principal = LEASE_ROOT};
    port->listener = listener_open_local(l->ev, l->config->local_socket, on_client_accepted,
                                         port, ret_error);
    l->ports_count += port->listener != NULL;
    return port->listener != NULL;
}

static bool open_clients(struct loop *l, char ret_error[CONFIG_ERROR_MAX])
{
    const struct conns_handler handler = {.request = on_client_request,
                                          .forget = on_client_gone,
                                          .slow = on_client_slow,
                                          .context = l};
    const struct gateway_config gateway = {.cell = l->config->cell,
                                           .self = l->config->replica,
                                           .client_address = client_address,
                                           .context = l};
    l->gateway = gateway_new(&gateway);
    l->conns = conns_new(l->ev, l->config, &handler);
    if (l->gateway == NULL || l->conns == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < l->config->listeners_count; i++) {
        if (!open_port(l, &l->config->listeners[i], ret_error)) {
            return false;
        }
    }
    return l->config->local_socket[0] == '\0' || open_local(l, ret_error);
}

static bool open_members(struct loop *l, const struct booted *booted,
                         char ret_error[CONFIG_ERROR_MAX])
{
    const struct peers_handler handler = {
        .message = on_peer_message, .gone = on_peer_gone, .context = l};
    const struct peers_config peers = {.config = l->config,
                                       .members = &booted->members,
                                       .identity = booted->identity.identity,
                                       .clients = l->addresses,
                                       .clients_count = l->config->listeners_count,
                                       .seed = booted->seed};
    l->peers = peers_new(l->ev, &peers, &handler);
    if (l->peers == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "out of memory or descriptors");
        return false;
    }
    l->members = listener_open(l->ev, l->config->listen_peer, on_peer_accepted, l, ret_error);
    return l->members != NULL;
}

static bool open_loop(struct loop *l, const struct booted *booted,
                      char ret_error[CONFIG_ERROR_MAX])
{
    l->ev = ev_default_loop(EVFLAG_AUTO);
    if (l->ev == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "libev finds no way to wait for events here");
        return false;
    }
    start_watchers(l);
    if (!open_clients(l, ret_error) || !open_members(l, booted, ret_error)) {
        return false;
    }
    l->writer = writer_new(booted->store, wake_loop, l);
    if (l->writer == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "no thread for the store can be started");
        return false;
    }
    return true;
}

/* The writer goes first: it holds the store, and its wakes need the loop. */
static bool close_loop(struct loop *l)
{
    const bool written = l->writer == NULL || writer_stop(l->writer);
    close_ports(l);
    listener_close(l->members);
    conns_free(l->conns);
    wire_buffer_free(&l->head);
    peers_free(l->peers);
    gateway_free(l->gateway);
    if (l->ev != NULL) {
        ev_loop_destroy(l->ev);
    }
    return written;
}

int loop_run(const struct config *config, struct booted *booted)
{
    struct loop l = {
        .config = config, .service = booted->service, .alone = booted->members.count == 1};
    char error[CONFIG_ERROR_MAX] = "";
    const bool opened = open_loop(&l, booted, error);
    if (opened) {
        for (uint32_t i = 0; i < l.ports_count; i++) {
            listener_start(l.ports[i].listener);
        }
        listener_start(l.members);
        peers_start(l.peers);
        ev_run(l.ev, /* flags= */ 0);
        conns_flush(l.conns);
    } else {
        trace_event(TRACE_ERROR, "replica.failed", trace_text("reason", error));
    }
    const bool written = close_loop(&l);
    if (!written) {
        trace_event(TRACE_ERROR, "store.failed", trace_text("reason", "the last write"));
    } else if (opened) {
        trace_event(TRACE_INFO, "replica.stopped", trace_number("replica", config->replica));
    }
    boot_close(booted);
    return opened && written ? 0 : 1;
}
