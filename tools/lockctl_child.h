/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_child.h -- the command that runs while a lock is held, or at an event.
 *
 * It has a process group of its own, so that what it started is signalled and
 * stopped with it; with a terminal, that group is in the foreground as it would be
 * under a shell.  Should lockctl itself be killed, the kernel kills the command.
 *
 * One at a time in a process, and only in one that has no other use for SIGALRM.
 */
#ifndef TOOLS_LOCKCTL_CHILD_H
#define TOOLS_LOCKCTL_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;     /* And its process group; 0: none runs. */
    bool doomed;   /* child_stop() was called. */
    bool terminal; /* Standard input is one. */
    timer_t guard;
};

/* How a command is started. */
struct child_start {
    const char *who;        /* The subcommand, for messages. */
    char **argv;            /* argv[0] is looked for in PATH. */
    char *const *additions; /* To the environment, up to a NULL; NULL: none. */
    const sigset_t *mask;   /* Its signal mask. */
    int input;              /* Its standard input; -1: ours. */
};

/* Starts a command.  One that can't be run says so and ends with 126 or 127, as
 * under a shell.  False: see errno. */
bool child_start(struct child *c, const struct child_start *start);

/* SIGKILL to the group in `ms` milliseconds, which replaces what was said before.
 * It needs nothing of the caller then, whatever he is blocked in; and if this
 * process is stopped meanwhile, it is the first thing to happen when it goes on.
 * 0: now. */
void child_guard(struct child *c, uint64_t ms);

/* Sends a signal to the group. */
void child_signal(const struct child *c, int number);

/* Asks it to end: SIGTERM, also if it is stopped.  When it has ended, what is left
 * of its group is killed. */
void child_stop(struct child *c);

/* After SIGCHLD.  True: it has ended, and `ret_status` is what a shell would call
 * its exit status.  If it was stopped from the terminal, this process stops too
 * until it is continued. */
bool child_ended(struct child *c, int *ret_status);

#endif
