/* SPDX-License-Identifier: Apache-2.0
 *
 * elect.c -- elects a leader among the processes that run it.
 *
 *     elect ENDPOINTS NAME SECONDS
 *     cc elect.c $(pkg-config --cflags --libs lockd) -o elect
 *
 * Whoever holds the lock NAME leads, writes who it is into the file of that name,
 * and steps down after SECONDS; then the next in the queue leads.  Three things
 * make this right rather than lucky:
 *
 *   - the leader asks lockd_lock_valid_for_ms() before each piece of work, and
 *     stops when that is less than the work may take;
 *   - what it writes carries the lock's token, so that a reader, or a resource,
 *     can refuse an older leader that was paused and does not know it yet;
 *   - it gives the lock back, so nobody waits for a lease to run out.
 */
#include <lockd.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000, /* For a call to the cell. */
    WORK_MS = 100,       /* One piece of work. */
    MARGIN_MS = 1000,    /* What it may take at worst. */
};

static int fail(const char *what, enum lockd_rc rc)
{
    fprintf(stderr, "elect: %s: %s\n", what, lockd_strerror(rc));
    return EXIT_FAILURE;
}

/* Called on the client's thread.  A leader learns here that it should hurry, or
 * that it is none any more; its loop below finds out by itself as well. */
static void changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    (void)context;
    if (state == LOCKD_LEASE_LOW || state == LOCKD_JEOPARDY || state == LOCKD_EXPIRED) {
        fprintf(stderr, "elect: session %s: %s\n", lockd_session_id(session),
                lockd_state_text(state));
    }
}

/* Tells everybody who leads.  The token orders the leaders: a reader ignores one
 * that is lower than what it has seen. */
static enum lockd_rc announce(struct lockd_client *client, struct lockd_session *session,
                              const char *name, const struct lockd_lock *lock)
{
    char content[128];
    const int size = snprintf(content, sizeof content, "leader %ld token %llu\n",
                              (long)getpid(), (unsigned long long)lockd_lock_token(lock));
    return lockd_put(client, session, name, content, (size_t)size, LOCKD_ANY, PATIENCE_MS,
                     NULL);
}

/* Works for as long as it is certain to lead, and asked to. */
static void lead(const struct lockd_lock *lock, int seconds)
{
    printf("leading token=%llu sequencer=%s\n", (unsigned long long)lockd_lock_token(lock),
           lockd_lock_sequencer(lock));
    fflush(stdout);
    for (int left_ms = seconds * 1000; left_ms > 0; left_ms -= WORK_MS) {
        if (lockd_lock_valid_for_ms(lock) < MARGIN_MS) {
            printf("no longer certain\n");
            return;
        }
        usleep(WORK_MS * 1000);
    }
    printf("stepping down\n");
}

static int run(struct lockd_client *client, struct lockd_session *session, const char *name,
               int seconds)
{
    const struct lockd_lock_options options = {.size = sizeof options, .create = true};
    struct lockd_lock *lock = NULL;
    enum lockd_rc rc = lockd_acquire(session, name, &options, LOCKD_FOR_EVER, &lock);
    if (rc != LOCKD_OK) {
        return fail("acquire", rc);
    }
    rc = announce(client, session, name, lock);
    if (rc == LOCKD_OK) {
        lead(lock, seconds);
        rc = lockd_release(lock, PATIENCE_MS);
    }
    lockd_lock_free(lock);
    return rc == LOCKD_OK ? EXIT_SUCCESS : fail("lead", rc);
}

int main(int argc, char **argv)
{
    struct lockd_client *client = NULL;
    struct lockd_session *session = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: elect ENDPOINTS NAME SECONDS\n");
        return 2;
    }
    const struct lockd_client_options options = {.size = sizeof options, .endpoints = argv[1]};
    const struct lockd_session_options of_session = {.size = sizeof of_session,
                                                     .changed = changed};
    enum lockd_rc rc = lockd_client_new(&options, &client);
    if (rc != LOCKD_OK) {
        return fail("client", rc);
    }
    rc = lockd_client_start(client);
    if (rc == LOCKD_OK) {
        rc = lockd_session_open(client, &of_session, PATIENCE_MS, &session);
    }
    int status;
    if (rc == LOCKD_OK) {
        status = run(client, session, argv[2], atoi(argv[3]));
        /* Ends the session at the cell; without it, it would end with its lease. */
        (void)lockd_session_close(session, PATIENCE_MS);
        lockd_session_free(session);
    } else {
        status = fail("session", rc);
    }
    lockd_client_free(client);
    return status;
}
