/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_told.c -- watches, handles and elections as programs use them, over real
 * sockets, against a small server in this process.
 */
#include "tests/unit/test_client_server.h"

static void *put_soon(void *context)
{
    usleep(50 * 1000);
    assert_int_equal(lockd_put(context, NULL, "/ls/local/f", "x", 1, LOCKD_ANY, 5000, NULL),
                     LOCKD_OK);
    return NULL;
}

static void test_watch_next(void **state)
{
    (void)state;
    struct server s;
    pthread_t thread;
    struct lockd_watch *watch = NULL;
    struct lockd_event *event = NULL;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_watch(client, "/ls/local/f", NULL, 5000, &watch), LOCKD_OK);
    assert_true(lockd_watch_current(watch));
    assert_string_equal(lockd_watch_name(watch), "/ls/local/f");
    assert_ptr_equal(lockd_watch_after(client, NULL), watch);
    assert_int_equal(lockd_watch_next(watch, 20, &event), LOCKD_E_TIMEOUT);
    for (uint64_t i = 1; i <= 2; i++) { /* It comes while we wait, over any connection. */
        assert_int_equal(pthread_create(&thread, NULL, put_soon, client), 0);
        assert_int_equal(lockd_watch_next(watch, 5000, &event), LOCKD_OK);
        assert_int_equal(event->change, LOCKD_WRITTEN);
        assert_int_equal(event->revision, 100 + i);
        assert_string_equal(event->content, "x");
        lockd_event_free(event);
        pthread_join(thread, NULL);
    }
    assert_int_equal(lockd_watch_revision(watch), 102);
    lockd_watch_free(watch);
    lockd_client_free(client);
    server_stop(&s);
}

struct next {
    struct lockd_observer *observer;
    enum lockd_rc rc;
};

static void *wait_for_leader(void *context)
{
    struct next *n = context;
    struct lockd_leader *leader = NULL;
    n->rc = lockd_observer_next(n->observer, LOCKD_FOR_EVER, &leader);
    return NULL;
}

static void test_handles_and_elections(void **state)
{
    (void)state;
    struct server s;
    pthread_t thread;
    struct lockd_session *session = NULL;
    struct lockd_handle *handle = NULL;
    struct lockd_lock *lock = NULL;
    struct lockd_leader *leader = NULL;
    struct lockd_answer *answer = NULL;
    struct next n = {.rc = LOCKD_OK};
    bool valid = false;
    server_start(&s);
    struct lockd_client *client = client_of(&s, "127.0.0.1");
    assert_int_equal(lockd_client_start(client), LOCKD_OK);
    assert_int_equal(lockd_session_open(client, NULL, 5000, &session), LOCKD_OK);

    const struct lockd_open_options options = {
        .size = sizeof options, .create = LOCKD_FILE, .ephemeral = true};
    assert_int_equal(lockd_open(session, "/ls/local/f", &options, 5000, &handle), LOCKD_OK);
    assert_int_equal(lockd_handle_instance(handle), 7);
    assert_ptr_equal(lockd_handle_next(session, NULL), handle);
    assert_int_equal(lockd_handle_put(handle, "x", 1, LOCKD_ANY, 5000, NULL), LOCKD_OK);
    assert_int_equal(lockd_handle_get(handle, NULL, 5000, &answer), LOCKD_OK);
    assert_string_equal(answer->content, "hello");
    assert_int_equal(answer->stat.lock_token, 7);
    lockd_answer_free(answer);
    assert_int_equal(lockd_close(handle, 5000), LOCKD_OK);
    lockd_handle_free(handle);

    assert_int_equal(lockd_campaign(session, "/ls/local/f", "me", 2, NULL, 5000, &lock),
                     LOCKD_OK);
    assert_true(lockd_lock_held(lock));
    assert_int_equal(lockd_check(client, lockd_lock_sequencer(lock), 5000, &valid), LOCKD_OK);
    assert_true(valid);
    assert_int_equal(lockd_check(client, "nonsense", 5000, &valid), LOCKD_E_INVALID);
    assert_int_equal(lockd_proclaim(lock, "still me", 8, 5000), LOCKD_OK);

    assert_int_equal(lockd_observe(client, "/ls/local/f", NULL, NULL, &n.observer), LOCKD_OK);
    assert_int_equal(lockd_observer_next(n.observer, 5000, &leader), LOCKD_OK);
    assert_int_equal(leader->token, 7);
    assert_string_equal(leader->value, "hello");
    lockd_leader_free(leader);
    assert_int_equal(lockd_observer_next(n.observer, 0, &leader), LOCKD_E_TIMEOUT);
    assert_int_equal(lockd_resign(lock, 5000), LOCKD_OK);
    lockd_lock_free(lock);

    /* The end of the client is the end of the wait. */
    assert_int_equal(pthread_create(&thread, NULL, wait_for_leader, &n), 0);
    usleep(50 * 1000);
    lockd_client_free(client);
    pthread_join(thread, NULL);
    assert_int_equal(n.rc, LOCKD_E_CLOSED);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_next),
        cmocka_unit_test(test_handles_and_elections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
