/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: notifications that many share, and what becomes of them at a
 * reader's pace.
 */
#include "lockd/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 3, KEPT = 1024 * 1024 };

static const char *const principals[CLIENTS] = {"local", "ops", "root"};

/* ------------------------------------------------- a kernel that takes what we say */

static size_t take_max = SIZE_MAX;

/* In place of the C library's: takes at most take_max octets a call, and is full
 * after each that it cut short. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    static char octets[KEPT];
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *vector = &message->msg_iov[i];
        const size_t left =
            take_max - size < sizeof octets - size ? take_max - size : sizeof octets - size;
        const size_t part = vector->iov_len < left ? vector->iov_len : left;
        memcpy(octets + size, vector->iov_base, part);
        size += part;
    }
    if (size == 0) {
        errno = EAGAIN;
        return -1;
    }
    return send(fd, octets, size, flags);
}

/* --------------------------------------------------------------- a small world */

struct world {
    struct ev_loop *loop;
    struct config config;
    struct conns *conns;
    int fd[CLIENTS]; /* The clients' ends; they are numbered from 1. */
    char got[CLIENTS][KEPT];
    size_t got_size[CLIENTS];
    unsigned slow, fast, forgotten, requests;
    uint64_t tag;          /* Of the last request, ... */
    const char *principal; /* ... and who sent it. */
};

static void on_request(void *context, uint64_t now_ms, uint64_t client, uint64_t tag,
                       const char *principal, const struct wire_request *request)
{
    (void)now_ms;
    (void)client;
    (void)request;
    struct world *w = context;
    w->tag = tag;
    w->principal = principal;
    w->requests++;
}

static void on_forget(void *context, uint64_t client)
{
    (void)client;
    struct world *w = context;
    w->forgotten++;
}

static void on_slow(void *context, uint64_t client, bool slow)
{
    (void)client;
    struct world *w = context;
    *(slow ? &w->slow : &w->fast) += 1;
}

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    take_max = SIZE_MAX;
    w->loop = ev_loop_new(EVFLAG_AUTO);
    w->config = (struct config){.clients_max = CLIENTS,
                                .requests_max = 64,
                                .output_max_bytes = 512 * 1024,
                                .line_deadline_ms = 10000,
                                .idle_deadline_ms = 60000};
    const struct conns_handler handler = {
        .request = on_request, .forget = on_forget, .slow = on_slow, .context = w};
    w->conns = conns_new(w->loop, &w->config, &handler);
    for (int i = 0; i < CLIENTS; i++) {
        int pair[2];
        const struct address from = {.size = 0};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) {
            return -1;
        }
        const int room = 1024 * 1024;
        (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        w->fd[i] = pair[1];
        conns_accept(w->conns, pair[0], &from, principals[i]);
    }
    return w->conns == NULL;
}

static int close_world(void **state)
{
    struct world *w = *state;
    conns_free(w->conns);
    ev_loop_destroy(w->loop);
    for (int i = 0; i < CLIENTS; i++) {
        close(w->fd[i]);
    }
    free(w);
    return 0;
}

/* What there is to read.  False: the connection has ended. */
static bool read_client(struct world *w, int client)
{
    ssize_t got = 0;
    do {
        w->got_size[client] += (size_t)got;
        got = read(w->fd[client], w->got[client] + w->got_size[client],
                   KEPT - w->got_size[client]);
    } while (got > 0);
    return got < 0 && errno == EAGAIN;
}

static struct conn_shared *share(struct world *w, const char *text)
{
    struct wire_buffer octets = {.data = NULL};
    wire_append(&octets, text, strlen(text));
    return conn_shared_new(w->conns, &octets);
}

static struct wire_text text_of(const char *text)
{
    return (struct wire_text){.data = text, .size = strlen(text)};
}

/* -------------------------------------------------------------------- tests */

/* Own octets and shared ones in every order, for three receivers, cut at every
 * point: each gets its own, whole and in order. */
static void cut_anywhere(void **state)
{
    struct world *w = *state;
    static const char expected[] = "head 1 tail A\nhead 2 tail A\nprogress\nhead 3 tail B\n"
                                   "tail B\nreply\n";
    for (size_t at = 1; at <= sizeof expected; at++) {
        struct conn_shared *a = share(w, "tail A\n");
        struct conn_shared *b = share(w, "tail B\n");
        assert_non_null(a);
        assert_non_null(b);
        for (uint64_t client = 1; client <= CLIENTS; client++) {
            w->got_size[client - 1] = 0;
            conns_notify(w->conns, client, text_of("head 1 "), a);
            conns_notify(w->conns, client, text_of("head 2 "), a);
            conns_notify(w->conns, client, text_of("progress\n"), NULL);
            conns_notify(w->conns, client, text_of("head 3 "), b);
            conns_notify(w->conns, client, text_of(""), b);
            conns_notify(w->conns, client, text_of("reply\n"), NULL);
        }
        conn_shared_release(a);
        conn_shared_release(b);
        take_max = at;
        conns_flush(w->conns);
        for (unsigned turns = 0; !conns_drained(w->conns); turns++) {
            assert_true(turns < sizeof expected);
            ev_run(w->loop, EVRUN_NOWAIT);
        }
        take_max = SIZE_MAX;
        for (int client = 0; client < CLIENTS; client++) {
            assert_true(read_client(w, client));
            assert_int_equal(w->got_size[client], sizeof expected - 1);
            assert_memory_equal(w->got[client], expected, sizeof expected - 1);
        }
    }
    assert_int_equal(w->slow, 0);
}

/* More runs of octets than one call to the kernel takes. */
static void many_at_once(void **state)
{
    struct world *w = *state;
    enum { COUNT = 3000 };
    struct conn_shared *tail = share(w, "tail\n");
    size_t expected = 5;
    /* One without a head, so that a call ends between a head and its tail. */
    conns_notify(w->conns, 1, text_of(""), tail);
    for (unsigned i = 0; i < COUNT; i++) {
        char head[16];
        snprintf(head, sizeof head, "%u ", i);
        expected += strlen(head) + 5;
        conns_notify(w->conns, 1, text_of(head), tail);
    }
    conn_shared_release(tail);
    for (unsigned turns = 0; !conns_drained(w->conns); turns++) {
        assert_true(turns < 10);
        conns_flush(w->conns);
        ev_run(w->loop, EVRUN_NOWAIT);
    }
    assert_true(read_client(w, 0));
    assert_int_equal(w->got_size[0], expected);
    assert_memory_equal(w->got[0], "tail\n", 5);
    const char *at = w->got[0] + 5;
    for (unsigned i = 0; i < COUNT; i++) {
        char line[32];
        const int size = snprintf(line, sizeof line, "%u tail\n", i);
        assert_memory_equal(at, line, (size_t)size);
        at += size;
    }
}

/* More comes while what came before is being sent, for so long that the buffers are
 * compacted meanwhile. */
static void while_it_drains(void **state)
{
    struct world *w = *state;
    enum { COUNT = 1000, HEAD = 600, TAIL = 6, A_TURN = 550 };
    struct conn_shared *tail = share(w, "-tail\n");
    char head[HEAD + 1];
    take_max = A_TURN;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(head, sizeof head, "%0*u", HEAD, i);
        conns_notify(w->conns, 1, text_of(head), tail);
        conns_flush(w->conns);
        assert_true(read_client(w, 0));
    }
    conn_shared_release(tail);
    for (unsigned turns = 0; !conns_drained(w->conns); turns++) {
        assert_true(turns < COUNT);
        ev_run(w->loop, EVRUN_NOWAIT);
        assert_true(read_client(w, 0));
    }
    assert_int_equal(w->got_size[0], COUNT * (HEAD + TAIL));
    for (unsigned i = 0; i < COUNT; i++) {
        const char *at = w->got[0] + (size_t)i * (HEAD + TAIL);
        snprintf(head, sizeof head, "%0*u", HEAD, i);
        assert_memory_equal(at, head, HEAD);
        assert_memory_equal(at + HEAD, "-tail\n", TAIL);
    }
}

/* Who doesn't read is called slow once, and no more when half of it is read. */
static void a_slow_reader(void **state)
{
    struct world *w = *state;
    static char octets[1024];
    memset(octets, 'x', sizeof octets - 1);
    struct conn_shared *tail = share(w, octets);
    take_max = 0;
    for (size_t size = 0; size <= CONN_EVENTS_PAUSE; size += sizeof octets) {
        assert_int_equal(w->slow, 0);
        conns_notify(w->conns, 2, text_of("h"), tail);
    }
    conns_notify(w->conns, 2, text_of("h"), tail);
    assert_int_equal(w->slow, 1);
    conn_shared_release(tail);
    conns_flush(w->conns);
    assert_int_equal(w->fast, 0);
    take_max = CONN_EVENTS_PAUSE / 4;
    ev_run(w->loop, EVRUN_NOWAIT);
    assert_int_equal(w->fast, 0);
    for (unsigned turns = 0; !conns_drained(w->conns); turns++) {
        assert_true(turns < 100);
        ev_run(w->loop, EVRUN_NOWAIT);
        assert_true(read_client(w, 1));
    }
    assert_int_equal(w->slow, 1);
    assert_int_equal(w->fast, 1);
    assert_int_equal(w->forgotten, 0);
}

/* What is shared counts for each who has not sent it; who exceeds the limit is
 * closed, and nobody else is disturbed. */
static void an_absent_reader(void **state)
{
    struct world *w = *state;
    static char octets[16 * 1024];
    memset(octets, 'x', sizeof octets - 1);
    struct conn_shared *tail = share(w, octets);
    take_max = 0;
    for (size_t size = 0; size <= w->config.output_max_bytes; size += sizeof octets) {
        assert_int_equal(w->forgotten, 0);
        conns_notify(w->conns, 2, text_of("h"), tail);
    }
    assert_int_equal(w->forgotten, 1);
    assert_false(read_client(w, 1));
    take_max = SIZE_MAX;
    conns_notify(w->conns, 2, text_of("nobody"), tail);
    conns_notify(w->conns, 3, text_of("h"), tail);
    conn_shared_release(tail);
    conns_flush(w->conns);
    assert_true(read_client(w, 2));
    assert_int_equal(w->got_size[2], sizeof octets);
}

/* Events come before the reply that follows them, though one is shared and the
 * other is not. */
static void before_the_reply(void **state)
{
    struct world *w = *state;
    static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"cell.status\"}\n";
    assert_int_equal(write(w->fd[0], ask, sizeof ask - 1), sizeof ask - 1);
    ev_run(w->loop, EVRUN_NOWAIT);
    struct conn_shared *tail = share(w, "event\n");
    conns_notify(w->conns, 1, text_of("an "), tail);
    conn_shared_release(tail);
    struct wire_text id;
    struct wire_buffer *out = conns_reply_begin(w->conns, 1, w->tag, &id);
    assert_non_null(out);
    wire_append(out, "reply\n", 6);
    conns_reply_end(w->conns, 1, w->tag);
    conns_flush(w->conns);
    assert_true(read_client(w, 0));
    assert_int_equal(w->got_size[0], 15);
    assert_memory_equal(w->got[0], "an event\nreply\n", 15);
}

/* A notification for which there was no memory ends the connection: who is told
 * nothing must know it. */
static void not_printed(void **state)
{
    struct world *w = *state;
    conns_notify(w->conns, 3, (struct wire_text){.data = NULL}, NULL);
    conns_flush(w->conns);
    assert_int_equal(w->forgotten, 1);
    assert_false(read_client(w, 2));
    struct wire_buffer failed = {.failed = true};
    assert_null(conn_shared_new(w->conns, &failed));
    conn_shared_release(NULL);
}

/* Each request comes with the principal of the port where its client came in. */
static void who_it_is(void **state)
{
    struct world *w = *state;
    static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"cell.status\"}\n";
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(write(w->fd[i], ask, sizeof ask - 1), sizeof ask - 1);
        ev_run(w->loop, EVRUN_NOWAIT);
        assert_string_equal(w->principal, principals[i]);
        assert_string_equal(conns_principal(w->conns, (uint64_t)i + 1), principals[i]);
    }
    assert_null(conns_principal(w->conns, CLIENTS + 1));
}

static void ask_often(struct world *w, unsigned times)
{
    static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"cell.status\"}\n";
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(write(w->fd[0], ask, sizeof ask - 1), sizeof ask - 1);
    }
    ev_run(w->loop, EVRUN_NOWAIT);
    while (conns_resume(w->conns)) {
    }
}

/* What takes its time, as the service says later, keeps nothing behind it from being read;
 * that may be what it waits for. */
static void behind_the_patient(void **state)
{
    struct world *w = *state;
    ask_often(w, 70);
    assert_int_equal(w->requests, w->config.requests_max);
    const uint64_t last = w->tag;
    conns_be_patient(w->conns, /* client= */ 1, last);
    conns_be_patient(w->conns, 1, last);           /* Once is enough. */
    conns_be_patient(w->conns, 2, last);           /* Nor is it another's, ... */
    conns_be_patient(w->conns, CLIENTS + 1, last); /* ... or nobody's. */
    assert_true(conns_resume(w->conns));
    assert_int_equal(w->requests, w->config.requests_max + 1);

    struct wire_text id;
    struct wire_buffer *out = conns_reply_begin(w->conns, 1, last, &id);
    wire_append(out, "x\n", 2);
    conns_reply_end(w->conns, 1, last);
    assert_false(conns_resume(w->conns)); /* It had made room for one, and takes it along. */
    assert_int_equal(w->requests, w->config.requests_max + 1);
}

/* True: the connection was taken; the client's end is `ret_fd`. */
static bool come(struct world *w, sa_family_t family, int *ret_fd)
{
    int pair[2];
    struct address from = {.size = sizeof from.storage};
    from.storage.ss_family = family;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    conns_accept(w->conns, pair[0], &from, "root");
    char line[512];
    *ret_fd = pair[1];
    return read(pair[1], line, sizeof line) < 0 && errno == EAGAIN;
}

/* When as many clients are there as may be, the administrator of the machine still gets
 * in, though not for ever. */
static void full_of_others(void **state)
{
    struct world *w = *state;
    enum { SPARE = 16 };
    int fd[SPARE + 2];
    assert_false(come(w, AF_INET, &fd[SPARE]));
    for (int i = 0; i < SPARE; i++) {
        assert_true(come(w, AF_UNIX, &fd[i]));
    }
    assert_false(come(w, AF_UNIX, &fd[SPARE + 1]));
    for (int i = 0; i < SPARE + 2; i++) {
        close(fd[i]);
    }
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(cut_anywhere),       IN_A_WORLD(many_at_once),
        IN_A_WORLD(while_it_drains),    IN_A_WORLD(a_slow_reader),
        IN_A_WORLD(an_absent_reader),   IN_A_WORLD(before_the_reply),
        IN_A_WORLD(not_printed),        IN_A_WORLD(who_it_is),
        IN_A_WORLD(behind_the_patient), IN_A_WORLD(full_of_others),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
