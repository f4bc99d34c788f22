/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_loop.c -- see lockctl_loop.h.
 */
#include "tools/lockctl_loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* What ends us, and what a command may want to hear of besides. */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
static const int passed_on[] = {SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

uint64_t loop_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Adds a signal unless we were started with it ignored, as by nohup(1). */
static void add_signal(sigset_t *set, int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
        sigaddset(set, number);
    }
}

bool loop_begin(struct loop *l, struct lockctl *ctl, bool command)
{
    sigset_t set, mask;
    *l = (struct loop){.ctl = ctl};
    sigemptyset(&set);
    signal(SIGCHLD, SIG_DFL);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        add_signal(&set, ends[i]);
    }
    for (size_t i = 0; command && i < sizeof passed_on / sizeof passed_on[0]; i++) {
        add_signal(&set, passed_on[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &l->before);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigdelset(&mask, SIGALRM); /* The guard's. */
    sigdelset(&mask, SIGTSTP); /* To stop together with the command. */
    sigprocmask(SIG_SETMASK, &mask, NULL);
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signals < 0) {
        complain(ctl, /* name= */ NULL, "signalfd: %s", strerror(errno));
    }
    return l->signals >= 0;
}

void loop_end(struct loop *l)
{
    close(l->signals);
}

int loop_signal(const struct loop *l)
{
    struct signalfd_siginfo info;
    return read(l->signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo
                                                                        : 0;
}

void loop_wait(const struct loop *l, uint64_t most_ms, bool client)
{
    const struct lockd_client *c = l->ctl->client;
    const int client_ms = client ? lockd_timeout_ms(c) : -1;
    const int most = most_ms < INT_MAX ? (int)most_ms : -1;
    struct pollfd ready[] = {
        {.fd = l->signals, .events = POLLIN},
        {.fd = lockd_fd(c), .events = lockd_events(c)},
    };
    poll(ready, client ? 2 : 1,
         most < 0 || (client_ms >= 0 && client_ms < most) ? client_ms : most);
}
