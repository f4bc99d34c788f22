/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_sd_event.c -- a lock and a watch on an sd-event loop.
 *
 *     loop_sd_event ENDPOINTS LOCK FILE
 *     cc loop_sd_event.c loop_app.c $(pkg-config --cflags --libs lockd libsystemd) \
 *         -o loop_sd_event
 */
#include "loop_app.h"

#include <lockd_sd_event.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void ended(void *loop)
{
    (void)sd_event_exit(loop, 0);
}

static int interrupted(sd_event_source *source, const struct signalfd_siginfo *info, void *app)
{
    (void)source;
    (void)info;
    app_stop(app);
    return 0;
}

/* sd-event takes signals only once they are blocked. */
static int take_signals(sd_event *event, struct app *app)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r >= 0) {
        r = sd_event_add_signal(event, NULL, SIGTERM, interrupted, app);
    }
    return r < 0 ? r : sd_event_add_signal(event, NULL, SIGINT, interrupted, app);
}

int main(int argc, char **argv)
{
    struct app app;
    sd_event *event = NULL;
    sd_event_source *source = NULL;
    if (!app_init(&app, argc, argv)) {
        return 2;
    }
    int r = sd_event_default(&event);
    if (r >= 0) {
        r = take_signals(event, &app);
    }
    if (r >= 0) {
        r = lockd_sd_event_start(event, app.client, &source);
    }
    if (r >= 0) {
        app_start(&app, ended, event);
        r = sd_event_loop(event);
    }
    if (r < 0) {
        fprintf(stderr, "loop_sd_event: %s\n", strerror(-r));
    }
    lockd_sd_event_stop(source);
    app_free(&app);
    sd_event_unref(event);
    return r < 0 ? 2 : app.status;
}
