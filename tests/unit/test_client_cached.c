/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_cached.c -- cached reads as programs use them: from many threads, in
 * callbacks, by hand, after a fork; and a client of a local socket.
 */
#include "tests/unit/test_client_server.h"

#include <sys/un.h>

#define F "/ls/local/f"

static struct lockd_session *open_caching(struct lockd_client *client)
{
    const struct lockd_session_options options = {.size = sizeof options, .cache = true};
    struct lockd_session *session = NULL;
    assert_int_equal(lockd_session_open(client, &options, 5000, &session), LOCKD_OK);
    return session;
}

static void test_without_a_message(void **state)
{
    (void)state;
    struct server s;
    struct lockd_answer *first = NULL;
    struct lockd_answer *second = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *session = open_caching(client);
    const struct lockd_read_options options = {.size = sizeof options, .session = session};
    assert_int_equal(lockd_get(client, F, &options, 5000, &first), LOCKD_OK);
    assert_false(first->cached);
    assert_int_equal(first->stat.lock_token, 7);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    }
    assert_int_equal(lockd_get(client, F, &options, 0, &second), LOCKD_OK);
    assert_true(second->cached);
    assert_string_equal(second->content, "hello");
    assert_int_equal(lockd_stat_node(client, F, &options, 5000, NULL), LOCKD_OK);
    assert_int_equal(s.reads, 1);
    /* Without the session, and at another level, it is asked for. */
    assert_int_equal(lockd_get(client, F, NULL, 5000, NULL), LOCKD_OK);
    struct lockd_read_options other = options;
    other.level = LOCKD_STALE;
    assert_int_equal(lockd_get(client, F, &other, 5000, NULL), LOCKD_OK);
    assert_int_equal(s.reads, 3);
    lockd_client_free(client);
    server_stop(&s);
    assert_string_equal(first->content, "hello"); /* Both are the caller's. */
    assert_string_equal(second->content, "hello");
    lockd_answer_free(first);
    lockd_answer_free(second);
}

static void test_wrong_options(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    struct lockd_client *other = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *plain = NULL;
    assert_int_equal(lockd_session_open(client, NULL, 5000, &plain), LOCKD_OK);
    const struct lockd_read_options wrong[] = {
        {.size = 3},
        {.size = sizeof wrong[0], .session = plain},
        {.size = sizeof wrong[0], .level = (enum lockd_level)7},
        {.size = sizeof wrong[0], .level = LOCKD_LEASE, .max_age_ms = 5},
        {.size = sizeof wrong[0], .max_age_ms = 5},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(lockd_get(client, F, &wrong[i], 5000, NULL), LOCKD_E_INVALID);
        assert_int_equal(lockd_get_async(client, F, &wrong[i], 5000, NULL, NULL),
                         LOCKD_E_INVALID);
    }
    assert_int_equal(lockd_list(other, F, NULL, 0, &wrong[1], 5000, NULL), LOCKD_E_INVALID);
    assert_int_equal(lockd_set_acl(client, NULL, F, NULL, LOCKD_ANY, 5000, NULL),
                     LOCKD_E_INVALID);
    lockd_client_free(client);
    lockd_client_free(other);
    server_stop(&s);
}

static void test_handle(void **state)
{
    (void)state;
    struct server s;
    struct lockd_handle *handle = NULL;
    struct lockd_answer *answer = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *session = open_caching(client);
    struct lockd_session *another = open_caching(client);
    const struct lockd_read_options options = {.size = sizeof options, .session = session};
    const struct lockd_read_options wrong = {.size = sizeof wrong, .session = another};
    assert_int_equal(lockd_open(session, F, NULL, 5000, &handle), LOCKD_OK);
    const int before = s.reads;
    assert_int_equal(lockd_handle_get(handle, &wrong, 5000, NULL), LOCKD_E_INVALID);
    assert_int_equal(lockd_handle_get(handle, &options, 5000, NULL), LOCKD_OK);
    assert_int_equal(lockd_handle_get(handle, &options, 5000, &answer), LOCKD_OK);
    assert_true(answer->cached);
    lockd_answer_free(answer);
    assert_int_equal(lockd_handle_stat(handle, &options, 5000, &answer), LOCKD_OK);
    assert_true(answer->cached);
    lockd_answer_free(answer);
    assert_int_equal(s.reads, before + 1);
    lockd_client_free(client);
    server_stop(&s);
}

/* What is kept is not believed for longer than the lease. */
static void test_lease_over(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    s.cache_ms = 300;
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *session = open_caching(client);
    const struct lockd_read_options options = {.size = sizeof options, .session = session};
    assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    usleep(600 * 1000); /* KeepAlives renew it. */
    assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    const int before = s.reads;
    s.mute = true;
    usleep(400 * 1000);
    assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    assert_int_equal(s.reads, before + 1);
    assert_int_equal(s.connections, 1);
    lockd_client_free(client);
    server_stop(&s);
}

/* --------------------------------------------------------- callbacks, by hand */

struct inside {
    struct lockd_client *client;
    struct lockd_read_options options;
    enum lockd_rc kept, missing;
    int times;
};

static void read_inside(void *context, const struct lockd_answer *answer)
{
    struct inside *in = context;
    assert_int_equal(answer->rc, LOCKD_OK);
    in->kept = lockd_get(in->client, F, &in->options, 5000, NULL);
    in->missing = lockd_get(in->client, "/ls/local/g", &in->options, 5000, NULL);
    in->times++;
}

static void turn_until(struct lockd_client *client, const int *times)
{
    while (*times == 0) {
        struct pollfd ready = {.fd = lockd_fd(client), .events = lockd_events(client)};
        poll(&ready, 1, lockd_timeout_ms(client));
        lockd_process(client);
    }
}

static void opened(void *context, const struct lockd_answer *answer)
{
    assert_int_equal(answer->rc, LOCKD_OK);
    ++*(int *)context;
}

/* What is in memory needs nobody who drives the client. */
static void test_by_hand(void **state)
{
    (void)state;
    struct server s;
    int times = 0;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    struct lockd_session *session = NULL;
    const struct lockd_session_options caching = {.size = sizeof caching, .cache = true};
    assert_int_equal(lockd_session_open_async(client, &caching, 5000, opened, &times, &session),
                     LOCKD_OK);
    turn_until(client, &times);
    struct inside in = {.client = client,
                        .options = {.size = sizeof in.options, .session = session}};
    assert_int_equal(lockd_get(client, F, &in.options, 5000, NULL), LOCKD_E_INVALID);
    assert_int_equal(lockd_get_async(client, F, &in.options, 5000, read_inside, &in), LOCKD_OK);
    turn_until(client, &in.times);
    assert_int_equal(in.kept, LOCKD_OK);
    assert_int_equal(in.missing, LOCKD_E_INVALID);
    assert_int_equal(lockd_get(client, F, &in.options, 5000, NULL), LOCKD_OK);

    /* The asynchronous form tells it as any other, later. */
    in.times = 0;
    assert_int_equal(lockd_get_async(client, F, &in.options, 5000, read_inside, &in), LOCKD_OK);
    assert_int_equal(in.times, 0);
    turn_until(client, &in.times);
    assert_int_equal(s.reads, 1);
    lockd_client_free(client);
    server_stop(&s);
}

/* --------------------------------------------------------------------- threads */

enum { READERS = 4, READS = 2000 };

struct reader {
    struct lockd_client *client;
    struct lockd_read_options options;
};

static void *read_much(void *context)
{
    const struct reader *r = context;
    struct lockd_answer *held = NULL;
    for (int i = 0; i < READS; i++) {
        struct lockd_answer *answer = NULL;
        assert_int_equal(lockd_get(r->client, F, &r->options, 5000, &answer), LOCKD_OK);
        assert_string_equal(answer->content, "hello");
        lockd_answer_free(held);
        held = answer;
    }
    return held;
}

/* Answers are lent and given back everywhere, while what is kept comes and goes. */
static void test_many_threads(void **state)
{
    (void)state;
    struct server s;
    pthread_t threads[READERS];
    void *held[READERS];
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *session = open_caching(client);
    struct reader r = {.client = client,
                       .options = {.size = sizeof r.options, .session = session}};
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_much, &r), 0);
    }
    for (int i = 0; i < 20; i++) {
        s.hang_up = true; /* Then everything is dropped. */
        assert_int_equal(lockd_stat_node(client, F, NULL, 5000, NULL), LOCKD_OK);
        usleep(1000);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], &held[i]);
    }
    lockd_client_free(client);
    server_stop(&s);
    assert_true(s.reads < READERS * READS);
    for (int i = 0; i < READERS; i++) {
        assert_string_equal(((struct lockd_answer *)held[i])->content, "hello");
        lockd_answer_free(held[i]);
    }
}

static void test_fork(void **state)
{
    (void)state;
    struct server s;
    struct lockd_answer *answer = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    struct lockd_session *session = open_caching(client);
    const struct lockd_read_options options = {.size = sizeof options, .session = session};
    assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    assert_int_equal(lockd_get(client, F, &options, 5000, &answer), LOCKD_OK);
    const pid_t child = fork();
    if (child == 0) {
        lockd_client_abandon(client);
        const bool same = strcmp(answer->content, "hello") == 0;
        lockd_answer_free(answer);
        _exit(same ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_string_equal(answer->content, "hello");
    lockd_answer_free(answer);
    assert_int_equal(lockd_get(client, F, &options, 5000, NULL), LOCKD_OK);
    lockd_client_free(client);
    server_stop(&s);
}

/* --------------------------------------------------------------- local sockets */

static void test_local_socket(void **state)
{
    (void)state;
    struct server s;
    struct lockd_client *client = NULL;
    struct lockd_answer *answer = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char endpoint[200];
    char trouble[300];
    server_start(&s);
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_client_cached.%ld",
             (long)getpid());
    snprintf(endpoint, sizeof endpoint, "unix:%s", address.sun_path);
    const int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(local, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(local, 16), 0);
    server_stop(&s);
    s.listener = local;
    s.stop = false;
    assert_int_equal(pthread_create(&s.thread, NULL, server_run, &s), 0);

    const struct lockd_client_options options = {.size = sizeof options, .endpoints = endpoint};
    assert_int_equal(lockd_client_new(&options, &client), LOCKD_OK);
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_get(client, F, NULL, 5000, &answer), LOCKD_OK);
    assert_string_equal(answer->content, "hello");
    lockd_answer_free(answer);
    lockd_client_free(client);
    server_stop(&s);
    unlink(address.sun_path);

    assert_int_equal(lockd_client_new(&options, &client), LOCKD_OK);
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_get(client, F, NULL, 100, NULL), LOCKD_E_UNAVAILABLE);
    lockd_client_trouble(client, trouble, sizeof trouble);
    assert_non_null(strstr(trouble, "No such file or directory"));
    lockd_client_free(client);
}

/* ------------------------------------------------------------------------- log */

struct lines {
    atomic_int count;
    char first[300];
};

static void on_line(void *context, enum lockd_severity severity, const char *line)
{
    struct lines *l = context;
    assert_in_range(severity, LOCKD_DEBUG, LOCKD_WARNING);
    if (l->count++ == 0) {
        snprintf(l->first, sizeof l->first, "%s", line);
    }
}

static void test_log(void **state)
{
    (void)state;
    struct server s;
    struct lines l = {.first = ""};
    char endpoint[64];
    char expected[128];
    struct lockd_client *client = NULL;
    server_start(&s);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", (unsigned)s.port);
    snprintf(expected, sizeof expected, "%s: it is the master", endpoint);
    const struct lockd_client_options options = {
        .size = sizeof options, .endpoints = endpoint, .log = on_line, .log_context = &l};
    assert_int_equal(lockd_client_new(&options, &client), LOCKD_OK);
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_get(client, F, NULL, 5000, NULL), LOCKD_OK);
    lockd_client_free(client);
    server_stop(&s);
    assert_true(l.count >= 1);
    assert_string_equal(l.first, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_message),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_handle),
        cmocka_unit_test(test_lease_over),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_local_socket),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
