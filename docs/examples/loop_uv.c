/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_uv.c -- a lock and a watch on a libuv loop.
 *
 *     loop_uv ENDPOINTS LOCK FILE
 *     cc loop_uv.c loop_app.c $(pkg-config --cflags --libs lockd libuv) -o loop_uv
 */
#include "loop_app.h"

#include <lockd_uv.h>

#include <signal.h>
#include <stdio.h>

/* Closing every handle is what ends uv_run(). */
struct handles {
    struct lockd_uv adapter;
    uv_signal_t terminate, interrupt;
};

static void ended(void *loop)
{
    struct handles *h = loop;
    lockd_uv_stop(&h->adapter, /* closed= */ NULL);
    uv_close((uv_handle_t *)&h->terminate, /* closed= */ NULL);
    uv_close((uv_handle_t *)&h->interrupt, /* closed= */ NULL);
}

static void interrupted(uv_signal_t *handle, int number)
{
    (void)number;
    app_stop(handle->data);
}

static int start(uv_loop_t *loop, struct handles *h, struct app *app)
{
    uv_signal_init(loop, &h->terminate);
    uv_signal_init(loop, &h->interrupt);
    h->terminate.data = h->interrupt.data = app;
    uv_signal_start(&h->terminate, interrupted, SIGTERM);
    uv_signal_start(&h->interrupt, interrupted, SIGINT);
    return lockd_uv_start(loop, &h->adapter, app->client);
}

int main(int argc, char **argv)
{
    struct app app;
    struct handles handles;
    uv_loop_t *loop = uv_default_loop();
    if (loop == NULL || !app_init(&app, argc, argv)) {
        return 2;
    }
    const int error = start(loop, &handles, &app);
    if (error != 0) {
        fprintf(stderr, "loop_uv: %s\n", uv_strerror(error));
        return 2;
    }
    app_start(&app, ended, &handles);
    uv_run(loop, UV_RUN_DEFAULT);
    app_free(&app);
    uv_loop_close(loop);
    return app.status;
}
