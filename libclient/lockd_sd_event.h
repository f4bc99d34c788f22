/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd_sd_event.h -- drives a client from systemd's sd-event loop.
 *
 *     sd_event_source *source = NULL;
 *     if (lockd_sd_event_start(event, client, &source) >= 0) {
 *         sd_event_loop(event);
 *     }
 *     lockd_sd_event_stop(source);
 *     lockd_client_free(client);
 *
 * For a client without a thread of its own.  The loop's thread is the client's: every
 * call is made on it, and every callback comes on it.  A program that includes this
 * links libsystemd; liblockd itself does not.
 */
#ifndef LOCKD_SD_EVENT_H
#define LOCKD_SD_EVENT_H

#include "lockd.h"

#include <sys/epoll.h>
#include <systemd/sd-event.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The descriptor is readable when a deadline has come too, so no timer is needed.
 * The client may be gone when lockd_process() returns. */
static inline int lockd_sd_event_ready(sd_event_source *source, int fd, uint32_t revents,
                                       void *client)
{
    (void)source;
    (void)fd;
    (void)revents;
    lockd_process((struct lockd_client *)client);
    return 0;
}

/* The source is yours until lockd_sd_event_stop(); its priority and description may
 * be set.  A negative answer is sd-event's -errno, and leaves `ret_source` alone. */
static inline int lockd_sd_event_start(sd_event *event, struct lockd_client *client,
                                       sd_event_source **ret_source)
{
    return sd_event_add_io(event, ret_source, lockd_fd(client), EPOLLIN, lockd_sd_event_ready,
                           client);
}

/* Before the client is freed; within a callback too.  Takes NULL. */
static inline void lockd_sd_event_stop(sd_event_source *source)
{
    (void)sd_event_source_disable_unref(source);
}

#ifdef __cplusplus
}
#endif

#endif
