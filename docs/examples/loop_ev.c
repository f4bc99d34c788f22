/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_ev.c -- a lock and a watch on a libev loop.
 *
 *     loop_ev ENDPOINTS LOCK FILE
 *     cc loop_ev.c loop_app.c $(pkg-config --cflags --libs lockd) -lev -o loop_ev
 */
#include "loop_app.h"

#include <lockd_ev.h>

#include <signal.h>

static void ended(void *loop)
{
    ev_break(loop, EVBREAK_ALL);
}

static void interrupted(struct ev_loop *loop, ev_signal *watcher, int revents)
{
    (void)loop;
    (void)revents;
    app_stop(watcher->data);
}

int main(int argc, char **argv)
{
    struct app app;
    struct lockd_ev adapter;
    ev_signal terminate, interrupt;
    struct ev_loop *loop = ev_default_loop(0);
    if (loop == NULL || !app_init(&app, argc, argv)) {
        return 2;
    }
    ev_signal_init(&terminate, interrupted, SIGTERM);
    ev_signal_init(&interrupt, interrupted, SIGINT);
    terminate.data = interrupt.data = &app;
    ev_signal_start(loop, &terminate);
    ev_signal_start(loop, &interrupt);

    lockd_ev_start(loop, &adapter, app.client);
    app_start(&app, ended, loop);
    ev_run(loop, 0);
    lockd_ev_stop(loop, &adapter);
    app_free(&app);
    return app.status;
}
