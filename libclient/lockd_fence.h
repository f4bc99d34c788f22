/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd_fence.h -- for whoever owns what a lock protects: refuse stale holders.
 *
 * A lock does not stop a process that slept through the end of its session and
 * then acts.  Its token does, if the resource itself looks at it: each access
 * brings the token of the lock under which it is made, and the resource refuses
 * any token lower than the highest that it has accepted for that name.  This is
 * that check.  It talks to nobody and needs no lockd client, no clock and no
 * other part of the library.
 *
 *     lockd_fence_open("/var/lib/store/fence", NULL, &fence);
 *     ...
 *     if (lockd_fence_check(fence, "/ls/prod/db/leader", token) == LOCKD_OK) {
 *         // write, before the next check of the same name
 *     }
 *
 * The check and the access belong together: whoever checks, waits, and writes
 * later has checked nothing.  Hold the resource's own lock over both.  Reading what
 * will be built on is an access too; docs/fencing.md says why, and more.
 *
 * The marks survive crashes: a token higher than the mark is on disk before
 * lockd_fence_check() accepts it.  Their number is bounded: when a name more than
 * `names_max` comes, the one that was longest not asked for is forgotten, and the
 * *floor* rises to its mark; below the floor unknown names are refused.  That errs
 * on the safe side: tokens are revisions of the cell and grow with it, so who is
 * refused so without being stale acquires anew and passes.  Tokens of different
 * cells don't compare; use a fence for each.
 *
 * Names are octets and compared as such: whatever stands for the resource, always
 * in the same form.  (A sequencer has the cell's own name in it, /ls/prod/..., where
 * its holder may have said /ls/local/....)
 *
 * A fence is a file, locked through another beside it, PATH.lock, as long as it is
 * open, so two processes can't share it.  It is rewritten now and then, through
 * PATH.new, and remains within twice what it has to say and 64 KiB.  Functions may
 * be called from any thread, one at a time for a fence.  Link with liblockd.
 */
#ifndef LOCKD_FENCE_H
#define LOCKD_FENCE_H

#include "lockd.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lockd_fence;

enum { LOCKD_FENCE_NAME_MAX = 1280 }; /* Octets of a name. */

/* Set `size` to sizeof; zero means the default of each member. */
struct lockd_fence_options {
    size_t size;
    uint32_t names_max; /* Marks kept, at most 1,048,576; default 65,536. */
};

/* Opens or makes the file `path`, in a folder that exists, and writes it anew;
 * LOCKD_E_SYSTEM: see errno.  LOCKD_E_LOCKED: it is open elsewhere.
 * LOCKD_E_PROTOCOL: it is damaged, or not a fence; it is not touched, and nothing
 * should be accepted before somebody has looked.  A line that a crash cut off was
 * not accepted, is dropped, and is no damage; a file that is missing is a new fence.
 * A symbolic link is refused (ELOOP). */
LOCKD_API enum lockd_rc lockd_fence_open(const char *path,
                                         const struct lockd_fence_options *options,
                                         struct lockd_fence **ret_fence);
LOCKD_API void lockd_fence_close(struct lockd_fence *fence); /* Takes NULL. */

/* LOCKD_OK: the token is the highest seen for the name, or the same as that.
 * LOCKD_E_STALE: a higher one was accepted before, or the name is unknown and the
 * token below the floor; nothing was changed.  LOCKD_E_SYSTEM: the mark could not
 * be made durable; the token was not accepted, and the fence refuses every check
 * until it is opened anew, from what the disk has; the token may stand there.
 * LOCKD_E_NO_MEMORY: not accepted, nothing was changed.  LOCKD_E_INVALID: an empty or
 * too long name, or a token that is 0 or above 2^53 - 1. */
LOCKD_API enum lockd_rc lockd_fence_check(struct lockd_fence *fence, const char *name,
                                          uint64_t token);

/* The same from a sequencer, "NAME:MODE:TOKEN", without asking the cell; in either
 * mode.  LOCKD_E_INVALID also: it is none. */
LOCKD_API enum lockd_rc lockd_fence_check_sequencer(struct lockd_fence *fence,
                                                    const char *sequencer);

/* The highest token accepted for the name; 0: it is unknown. */
LOCKD_API uint64_t lockd_fence_mark(const struct lockd_fence *fence, const char *name);
LOCKD_API uint64_t lockd_fence_floor(const struct lockd_fence *fence);

#ifdef __cplusplus
}
#endif

#endif
