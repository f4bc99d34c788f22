/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_fence.c -- may whoever has this token act?  For receivers that are scripts.
 *
 * No cell is asked.  Each run opens the fence, which is a file, and closes it again;
 * those who come at the same time wait for each other.  What the script then does
 * must be done before the next one's check, so it holds a lock of its own, such as
 * flock(1), over both.
 */
#include "tools/lockctl.h"

#include "libclient/lockd_fence.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 10 };

struct check {
    const char *path;
    const char *name; /* Or a sequencer, and no token. */
    uint64_t token;
};

static enum lockd_rc open_fence(const struct lockctl *ctl, const char *path,
                                struct lockd_fence **ret_fence)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    enum lockd_rc rc = lockd_fence_open(path, /* options= */ NULL, ret_fence);
    for (uint64_t ms = 0; rc == LOCKD_E_LOCKED && ms < ctl->timeout_ms; ms += RETRY_MS) {
        nanosleep(&pause, NULL);
        rc = lockd_fence_open(path, /* options= */ NULL, ret_fence);
    }
    return rc;
}

static enum exit_code tell(const struct lockctl *ctl, const struct check *c, enum lockd_rc rc)
{
    const char *trouble = rc == LOCKD_E_SYSTEM ? strerror(errno) : lockd_strerror(rc);
    if (rc == LOCKD_OK) {
        return EXIT_DONE;
    }
    if (rc == LOCKD_E_STALE) {
        complain(ctl, c->name, "stale: a higher token has been here");
        return EXIT_LOST;
    }
    if (rc == LOCKD_E_LOCKED) {
        complain(ctl, c->path, "in use by another process");
        return EXIT_AGAIN;
    }
    if (rc == LOCKD_E_PROTOCOL) {
        trouble = "damaged, or not a fence; accept nothing before you know why";
    }
    complain(ctl, c->path, "%s", trouble);
    return EXIT_OTHER;
}

static enum exit_code check(const struct lockctl *ctl, const struct check *c)
{
    struct lockd_fence *fence = NULL;
    enum lockd_rc rc = open_fence(ctl, c->path, &fence);
    if (rc != LOCKD_OK) {
        return tell(ctl, c, rc);
    }
    rc = c->token != 0 ? lockd_fence_check(fence, c->name, c->token)
                       : lockd_fence_check_sequencer(fence, c->name);
    const enum exit_code code =
        rc == LOCKD_E_INVALID
            ? usage_error(ctl,
                          c->token != 0 ? "the name \"%s\" is empty or too long"
                                        : "\"%s\" is not a sequencer, NAME:MODE:TOKEN",
                          c->name)
            : tell(ctl, c, rc);
    lockd_fence_close(fence);
    return code;
}

enum exit_code cmd_fence(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    const int count = argc - optind;
    if (count < 2 || count > 3) {
        return usage_error(ctl, "give FILE, and NAME and TOKEN or a SEQUENCER");
    }
    struct check c = {.path = argv[optind], .name = argv[optind + 1]};
    if (count == 3 && (!parse_number(argv[optind + 2], &c.token) || c.token == 0)) {
        return usage_error(ctl, "the token \"%s\" is not a number above 0", argv[optind + 2]);
    }
    return check(ctl, &c);
}
