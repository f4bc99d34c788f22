/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_child.c -- see lockctl_child.h.
 */
#include "tools/lockctl_child.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_CANNOT_RUN = 126,
    STATUS_NOT_FOUND = 127,
    STATUS_SIGNAL = 128, /* + its number. */
};

/* The group that the guard kills; 0: none.  A signal handler knows nothing else. */
static volatile sig_atomic_t guarded_group;

static void on_alarm(int number)
{
    (void)number;
    const int error = errno;
    if (guarded_group > 0) {
        kill((pid_t)-guarded_group, SIGKILL);
    }
    errno = error;
}

/* ----------------------------------------------------------------- terminal */

static bool has_terminal(pid_t group)
{
    return tcgetpgrp(STDIN_FILENO) == group;
}

/* Puts a group into the foreground, which is allowed from the background only to
 * those who block SIGTTOU. */
static void give_terminal(pid_t group)
{
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGTTOU);
    sigprocmask(SIG_BLOCK, &block, &before);
    tcsetpgrp(STDIN_FILENO, group);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void take_terminal_back(const struct child *c)
{
    if (c->terminal && has_terminal(c->pid)) {
        give_terminal(getpgrp());
    }
}

/* The command was stopped from the terminal: stop too, as one job, so that the
 * shell comes back; and go on together.  The guard goes on counting. */
static void stop_together(const struct child *c)
{
    take_terminal_back(c);
    kill(0, SIGTSTP);
    /* Here we are continued. */
    if (has_terminal(getpgrp())) {
        give_terminal(c->pid);
    }
    child_signal(c, SIGCONT);
}

/* ---------------------------------------------------------------------- start */

static bool arm(struct child *c)
{
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    return sigaction(SIGALRM, &action, NULL) == 0 &&
           timer_create(CLOCK_BOOTTIME, &event, &c->guard) == 0;
}

/* In the new process. */
__attribute__((noreturn)) static void become(const struct child *c,
                                             const struct child_start *start, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(STATUS_CANNOT_RUN); /* Died before we asked to hear of it. */
    }
    if (c->terminal && has_terminal(getpgid(parent))) {
        give_terminal(getpid());
    }
    if (start->input >= 0 && dup2(start->input, STDIN_FILENO) < 0) {
        _exit(STATUS_CANNOT_RUN);
    }
    for (char *const *at = start->additions; at != NULL && *at != NULL; at++) {
        putenv(*at);
    }
    sigprocmask(SIG_SETMASK, start->mask, NULL);
    execvp(start->argv[0], start->argv);
    const int error = errno;
    fprintf(stderr, "lockctl: %s: %s: %s\n", start->who, start->argv[0], strerror(error));
    _exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}

bool child_start(struct child *c, const struct child_start *start)
{
    assert(guarded_group == 0);
    *c = (struct child){.terminal = isatty(STDIN_FILENO)};
    if (!arm(c)) {
        return false;
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        become(c, start, parent);
    }
    if (pid < 0) {
        timer_delete(c->guard);
        return false;
    }
    setpgid(pid, pid); /* Whoever of the two comes first. */
    c->pid = pid;
    guarded_group = pid;
    return true;
}

/* ------------------------------------------------------------------------ end */

void child_signal(const struct child *c, int number)
{
    assert(c->pid > 0);
    kill(-c->pid, number);
}

void child_guard(struct child *c, uint64_t ms)
{
    assert(c->pid > 0);
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};
    if (ms == 0 || timer_settime(c->guard, 0, &when, NULL) != 0) {
        child_signal(c, SIGKILL);
    }
}

void child_stop(struct child *c)
{
    c->doomed = true;
    child_signal(c, SIGTERM);
    child_signal(c, SIGCONT);
}

static bool stopped_from_terminal(const struct child *c, const siginfo_t *info)
{
    return c->terminal && info->si_code == CLD_STOPPED &&
           (info->si_status == SIGTSTP || info->si_status == SIGTTIN ||
            info->si_status == SIGTTOU);
}

bool child_ended(struct child *c, int *ret_status)
{
    assert(c->pid > 0);
    siginfo_t info = {.si_pid = 0};
    /* It stays a zombie for now: until it is reaped, nobody else can get its number,
     * and signals to its group hit nobody else. */
    if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return false;
    }
    if (info.si_code == CLD_STOPPED) {
        waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WNOHANG);
        if (stopped_from_terminal(c, &info)) {
            stop_together(c);
        }
        return false;
    }
    if (c->doomed) {
        child_signal(c, SIGKILL);
    }
    guarded_group = 0;
    timer_delete(c->guard);
    take_terminal_back(c);
    waitid(P_PID, (id_t)c->pid, &info, WEXITED);
    c->pid = 0;
    *ret_status = info.si_code == CLD_EXITED ? info.si_status : STATUS_SIGNAL + info.si_status;
    return true;
}
