/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_app.c -- holds a lock, and takes over each change of a file while it does.
 *
 * Each step begins the next one from its callback, and nothing ever waits.  There is no
 * word of masters or connections here: the library finds the next master, keeps the
 * session, and with it the lock, and tells of each change once, whatever happens.
 *
 * One rule is the program's own: a callback may come late, so whoever acts on it asks
 * lockd_lock_valid_for_ms() first.
 */
#include "loop_app.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE_MS = 10000 };

/* True if `rc` is no reason to give up.  What ends because we do is none. */
static bool went_well(struct app *app, const char *what, enum lockd_rc rc)
{
    if (rc != LOCKD_OK && !app->stopping) {
        fprintf(stderr, "%s: %s\n", what, lockd_strerror(rc));
        app->status = EXIT_FAILURE;
        app_stop(app);
    }
    return rc == LOCKD_OK;
}

/* -------------------------------------------------------------- step by step */

static void told(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    const struct app *app = context;
    (void)watch;
    if (lockd_lock_valid_for_ms(app->lock) == 0) {
        printf("revision %" PRIu64 " comes too late\n", event->revision);
    } else if (event->change == LOCKD_GAP) {
        printf("read %s anew\n", app->file_name);
    } else {
        printf("revision %" PRIu64 ": %.*s\n", event->revision, (int)event->content_size,
               event->content != NULL ? (const char *)event->content : "");
    }
}

static void watching(void *context, const struct lockd_answer *answer)
{
    struct app *app = context;
    if (went_well(app, app->file_name, answer->rc)) {
        printf("watching from revision %" PRIu64 "\n", answer->revision);
    }
}

static void acquired(void *context, const struct lockd_answer *answer)
{
    struct app *app = context;
    const struct lockd_watch_options options = {.size = sizeof options,
                                                .watched = LOCKD_WATCH_CONTENT,
                                                .content = true,
                                                .told = told,
                                                .context = app};
    if (went_well(app, app->lock_name, answer->rc)) {
        printf("locked under token %" PRIu64 "\n", lockd_lock_token(app->lock));
        (void)went_well(app, app->file_name,
                        lockd_watch_async(app->client, app->file_name, &options, PATIENCE_MS,
                                          watching, app, &app->watch));
    }
}

static void opened(void *context, const struct lockd_answer *answer)
{
    struct app *app = context;
    const struct lockd_lock_options options = {.size = sizeof options, .create = true};
    if (went_well(app, "session", answer->rc)) {
        (void)went_well(app, app->lock_name,
                        lockd_acquire_async(app->session, app->lock_name, &options,
                                            LOCKD_FOR_EVER, acquired, app, &app->lock));
    }
}

static void changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct app *app = context;
    (void)session;
    printf("session: %s\n", lockd_state_text(state));
    if (state == LOCKD_EXPIRED) {
        (void)went_well(app, app->lock_name, LOCKD_E_EXPIRED);
    }
}

static void closed(void *context, const struct lockd_answer *answer)
{
    struct app *app = context;
    (void)answer; /* If the cell did not hear of it, the session ends with its lease. */
    app->ended(app->loop);
}

/* ------------------------------------------------------------------ its life */

bool app_init(struct app *app, int argc, char **argv)
{
    *app = (struct app){.status = EXIT_SUCCESS};
    if (argc != 4) {
        fprintf(stderr, "usage: %s ENDPOINTS LOCK FILE\n", argv[0]);
        return false;
    }
    const struct lockd_client_options options = {.size = sizeof options, .endpoints = argv[1]};
    const enum lockd_rc rc = lockd_client_new(&options, &app->client);
    if (rc != LOCKD_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], lockd_strerror(rc));
        return false;
    }
    app->lock_name = argv[2];
    app->file_name = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    return true;
}

void app_start(struct app *app, void (*ended)(void *loop), void *loop)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .changed = changed, .context = app};
    app->ended = ended;
    app->loop = loop;
    (void)went_well(app, "session",
                    lockd_session_open_async(app->client, &options, PATIENCE_MS, opened, app,
                                             &app->session));
}

void app_stop(struct app *app)
{
    const bool again = app->stopping;
    app->stopping = true;
    if (!again &&
        (app->session == NULL ||
         lockd_session_close_async(app->session, PATIENCE_MS, closed, app) != LOCKD_OK)) {
        app->ended(app->loop); /* There is no session, or none any more. */
    }
}

void app_free(struct app *app)
{
    lockd_watch_free(app->watch);
    lockd_lock_free(app->lock);
    lockd_session_free(app->session);
    lockd_client_free(app->client);
}
