/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_app.h -- a program on somebody's event loop, and which loop it is does not matter.
 *
 * loop_ev.c, loop_uv.c and loop_sd_event.c each drive it, with nothing but the adapter
 * of their loop.
 */
#ifndef LOOP_APP_H
#define LOOP_APP_H

#include <lockd.h>

struct app {
    struct lockd_client *client;
    struct lockd_session *session;
    struct lockd_lock *lock;
    struct lockd_watch *watch;
    const char *lock_name, *file_name;
    void (*ended)(void *loop); /* Called once: nothing is under way any more. */
    void *loop;
    bool stopping;
    int status; /* For exit(). */
};

/* Takes ENDPOINTS LOCK FILE from the command line.  False, with a word on standard
 * error: the client can't be used. */
bool app_init(struct app *app, int argc, char **argv);

/* Opens a session, takes the lock, watches the file.  Once something drives
 * app->client. */
void app_start(struct app *app, void (*ended)(void *loop), void *loop);

/* Gives back what it has; then `ended` is called. */
void app_stop(struct app *app);

/* When nothing drives the client any more. */
void app_free(struct app *app);

#endif
