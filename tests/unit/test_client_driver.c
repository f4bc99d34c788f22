/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_driver.c -- the library as programs use it: a thread of its own or
 * driven by hand, over real sockets, against a small server in this process.
 */
#include "tests/unit/test_client_server.h"

/* ------------------------------------------------------------------ threaded */

static void test_a_life(void **state)
{
    (void)state;
    struct server s;
    struct lockd_session *session = NULL;
    struct lockd_lock *lock = NULL;
    struct lockd_answer *answer = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "localhost");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_client_start(client), LOCKD_E_INVALID);
    assert_int_equal(lockd_session_open(client, NULL, 5000, &session), LOCKD_OK);
    assert_int_equal(lockd_session_state(session), LOCKD_SAFE);
    assert_string_equal(lockd_session_id(session), "000000000000005f");
    assert_in_range(lockd_session_valid_for_ms(session), 5000, 11880);

    assert_int_equal(lockd_put(client, session, "/ls/local/f", "x", 1, LOCKD_ANY, 5000, NULL),
                     LOCKD_OK);
    s.hang_up = true;
    assert_int_equal(lockd_get(client, "/ls/local/f", NULL, 5000, &answer), LOCKD_OK);
    assert_string_equal(answer->content, "hello");
    assert_int_equal(answer->content_size, 5);
    lockd_answer_free(answer);

    assert_int_equal(lockd_acquire(session, "/ls/local/l", NULL, 5000, &lock), LOCKD_OK);
    assert_int_equal(lockd_lock_token(lock), 7);
    assert_string_equal(lockd_lock_sequencer(lock), "/ls/local/l:exclusive:7");
    assert_string_equal(lockd_lock_name(lock), "/ls/local/l");
    assert_true(lockd_lock_held(lock));
    assert_true(lockd_lock_valid_for_ms(lock) > 5000);
    assert_ptr_equal(lockd_lock_next(session, NULL), lock);
    assert_int_equal(lockd_release(lock, 5000), LOCKD_OK);
    assert_false(lockd_lock_held(lock));
    lockd_lock_free(lock);
    assert_int_equal(lockd_session_close(session, 5000), LOCKD_OK);
    lockd_session_free(session);
    lockd_client_free(client);
    server_stop(&s);
    assert_int_equal(s.connections, 2);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct server s;
    char trouble[200];
    char expected[200];
    struct lockd_session *session = NULL;
    server_start(&s);
    server_stop(&s); /* Its port is closed now. */
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_session_open(client, NULL, 200, &session), LOCKD_E_UNAVAILABLE);
    assert_null(session);
    lockd_client_trouble(client, trouble, sizeof trouble);
    snprintf(expected, sizeof expected, "127.0.0.1:%u: Connection refused", (unsigned)s.port);
    assert_string_equal(trouble, expected);
    lockd_client_trouble(client, trouble, 4);
    assert_string_equal(trouble, "127");
    lockd_client_free(client);
}

enum { WRITERS = 4, WRITES = 50 };

static void *write_much(void *context)
{
    struct lockd_client *client = context;
    for (int i = 0; i < WRITES; i++) {
        assert_int_equal(lockd_put(client, NULL, "/ls/local/f", "x", 1, LOCKD_ANY, 5000, NULL),
                         LOCKD_OK);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    struct server s;
    pthread_t threads[WRITERS];
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_much, client), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    lockd_client_free(client);
    server_stop(&s);
    assert_int_equal(s.puts, WRITERS * WRITES);
}

/* A synchronous call under way when the client is freed by another thread. */
static void *wait_for_lock(void *context)
{
    struct lockd_lock *lock = NULL;
    const enum lockd_rc rc =
        lockd_acquire(context, "/ls/local/busy", NULL, LOCKD_FOR_EVER, &lock);
    assert_int_equal(rc, LOCKD_E_UNKNOWN);
    assert_null(lock);
    return NULL;
}

static void test_free_under_a_waiter(void **state)
{
    (void)state;
    struct server s;
    pthread_t thread;
    struct lockd_session *session = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_session_open(client, NULL, 5000, &session), LOCKD_OK);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, session), 0);
    usleep(100 * 1000);
    lockd_client_free(client);
    pthread_join(thread, NULL);
    server_stop(&s);
}

struct told {
    struct lockd_client *client;
    struct lockd_session *session;
    atomic_int done;
    atomic_int states;
    enum lockd_rc inside;
    bool free_client;
};

static void opened(void *context, const struct lockd_answer *answer)
{
    struct told *t = context;
    assert_int_equal(answer->rc, LOCKD_OK);
    /* Nobody would drive a synchronous call here. */
    t->inside = lockd_put(t->client, NULL, "/ls/local/f", "x", 1, LOCKD_ANY, 1000, NULL);
    if (t->free_client) {
        lockd_client_free(t->client);
    }
    t->done++;
}

static void changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct told *t = context;
    (void)session;
    (void)state;
    t->states++;
}

static void open_told(struct told *t)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .changed = changed, .context = t};
    assert_int_equal(
        lockd_session_open_async(t->client, &options, 5000, opened, t, &t->session), LOCKD_OK);
}

static void await(atomic_int *count, int least)
{
    for (int i = 0; i < 500 && *count < least; i++) {
        usleep(10 * 1000);
    }
    assert_true(*count >= least);
}

static void test_free_inside_a_callback(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct told t = {.client = client_of(&s, "127.0.0.1"), .free_client = true};
    assert_int_equal(lockd_client_start(t.client), LOCKD_OK);
    open_told(&t);
    await(&t.done, 1);
    assert_int_equal(t.inside, LOCKD_E_INVALID);
    await(&t.states, 2); /* SAFE, CLOSED. */
    usleep(50 * 1000);   /* The thread goes. */
    server_stop(&s);
}

/* -------------------------------------------------------------------- by hand */

/* Only the descriptor is watched: it must tell of everything. */
static void drive(struct lockd_client *client, const atomic_int *count, int least)
{
    const int fd = lockd_fd(client);
    for (int i = 0; i < 1000 && *count < least; i++) {
        struct pollfd ready = {.fd = fd, .events = lockd_events(client)};
        assert_int_equal(poll(&ready, 1, 5000), 1);
        lockd_process(client);
    }
    assert_true(*count >= least);
}

static void count_done(void *context, const struct lockd_answer *answer)
{
    atomic_int *count = context;
    assert_int_equal(answer->rc, LOCKD_OK);
    (*count)++;
}

static void test_by_hand(void **state)
{
    (void)state;
    struct server s;
    struct lockd_session *session = NULL;
    atomic_int count = 0;
    server_start(&s);
    struct told t = {.client = client_of(&s, "localhost")};
    const int fd = lockd_fd(t.client);
    assert_int_equal(lockd_timeout_ms(t.client), -1);
    assert_int_equal(lockd_session_open(t.client, NULL, 1000, &session), LOCKD_E_INVALID);
    open_told(&t);
    assert_int_equal(lockd_timeout_ms(t.client), 0);
    drive(t.client, &t.done, 1);
    assert_int_equal(t.inside, LOCKD_E_INVALID);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lockd_put_async(t.client, t.session, "/ls/local/f", "x", 1, LOCKD_ANY,
                                         5000, count_done, &count),
                         LOCKD_OK);
        drive(t.client, &count, i + 1);
        s.hang_up = i == 1;
    }
    assert_in_range(lockd_timeout_ms(t.client), 1, 5000);
    assert_int_equal(lockd_fd(t.client), fd);
    assert_int_equal(s.connections, 2);
    lockd_session_free(t.session);
    lockd_client_free(t.client);

    struct told f = {.client = client_of(&s, "127.0.0.1"), .free_client = true};
    open_told(&f);
    drive(f.client, &f.done, 1); /* Which frees the client; it is not touched again. */
    assert_int_equal(f.states, 2);
    server_stop(&s);
}

/* A try at a server that says nothing ends by the timer alone. */
static void test_deadline_by_hand(void **state)
{
    (void)state;
    struct server s;
    server_start(&s);
    struct told t = {.client = client_of(&s, "127.0.0.1")};
    open_told(&t);
    drive(t.client, &t.done, 1);
    const struct lockd_lock_options options = {.size = sizeof options, .mode = LOCKD_SHARED};
    struct lockd_lock *lock = NULL;
    assert_int_equal(
        lockd_acquire_async(t.session, "/ls/local/busy", &options, 100, NULL, NULL, &lock),
        LOCKD_OK);
    for (int i = 0; i < 20; i++) {
        struct pollfd ready = {.fd = lockd_fd(t.client), .events = POLLIN};
        (void)poll(&ready, 1, 20);
        lockd_process(t.client);
    }
    assert_false(lockd_lock_held(lock));
    assert_int_equal(lockd_acquire_cancel(lock), LOCKD_OK);
    lockd_lock_free(lock);
    lockd_client_free(t.client);
    server_stop(&s);
}

static void test_fork(void **state)
{
    (void)state;
    struct server s;
    atomic_int count = 0;
    server_start(&s);
    struct told t = {.client = client_of(&s, "127.0.0.1")};
    open_told(&t);
    drive(t.client, &t.done, 1);
    const pid_t child = fork();
    if (child == 0) {
        lockd_client_abandon(t.client);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* The parent's connection is as it was. */
    assert_int_equal(lockd_put_async(t.client, t.session, "/ls/local/f", "x", 1, LOCKD_ANY,
                                     5000, count_done, &count),
                     LOCKD_OK);
    drive(t.client, &count, 1);
    assert_int_equal(s.connections, 1);
    lockd_client_free(t.client);
    server_stop(&s);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(lockd_strerror(LOCKD_E_TIMEOUT), "not acquired in time");
    assert_string_equal(lockd_state_text(LOCKD_JEOPARDY), "jeopardy");
    assert_true(strlen(lockd_version()) > 0);
    struct lockd_client *client = NULL;
    const struct lockd_client_options bad = {.size = sizeof bad, .endpoints = "a:b"};
    assert_int_equal(lockd_client_new(&bad, &client), LOCKD_E_INVALID);
    assert_null(client);
    lockd_client_free(NULL);
    lockd_session_free(NULL);
    lockd_lock_free(NULL);
    lockd_answer_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_free_under_a_waiter),
        cmocka_unit_test(test_free_inside_a_callback),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_deadline_by_hand),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
