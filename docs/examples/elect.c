/* SPDX-License-Identifier: Apache-2.0
 *
 * elect.c -- elects a leader among the processes that run it.
 *
 *     elect ENDPOINTS NAME SECONDS
 *     cc elect.c $(pkg-config --cflags --libs lockd) -o elect
 *
 * Whoever wins the election NAME holds the lock of that name, has written who it is
 * into the file, and steps down after SECONDS; then the next in the queue leads.
 * Three things make this right rather than lucky:
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

/* Who observes the election hears the token with the value.  This is for those who
 * only read the file: the token orders the leaders, and a reader ignores one that is
 * lower than what it has seen. */
static enum lockd_rc announce(struct lockd_lock *lock)
{
    char value[128];
    const int size = snprintf(value, sizeof value, "leader %ld token %llu\n", (long)getpid(),
                              (unsigned long long)lockd_lock_token(lock));
    return lockd_proclaim(lock, value, (size_t)size, PATIENCE_MS);
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

static int run(struct lockd_session *session, const char *name, int seconds)
{
    struct lockd_lock *lock = NULL;
    char value[32];
    const int size = snprintf(value, sizeof value, "leader %ld\n", (long)getpid());
    enum lockd_rc rc = lockd_campaign(session, name, value, (size_t)size, /* options= */ NULL,
                                      LOCKD_FOR_EVER, &lock);
    if (rc != LOCKD_OK) {
        return fail("campaign", rc);
    }
    rc = announce(lock);
    if (rc == LOCKD_OK) {
        lead(lock, seconds);
        rc = lockd_resign(lock, PATIENCE_MS);
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
        status = run(session, argv[2], atoi(argv[3]));
        /* Ends the session at the cell; without it, it would end with its lease. */
        (void)lockd_session_close(session, PATIENCE_MS);
        lockd_session_free(session);
    } else {
        status = fail("session", rc);
    }
    lockd_client_free(client);
    return status;
}
