/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_lock.c -- holding a lock while a command runs.
 *
 *     OPENING --> WAITING --> HELD --> RUNNING --> STOPPING
 *        |           |         |          |            |
 *        '-----------'---------'----------'------------'--> CLOSING --> over
 *
 * What must not happen is that the command still runs when somebody else has the
 * lock.  So in each turn the lease is looked at before anything else, signals and
 * news from the cell included, and two marks before its end decide: at the first
 * the command is asked to end, at the second it is killed.  The lease is counted
 * by liblockd, from when the KeepAlive that was answered was sent; so it ends
 * here before it ends at the cell.
 *
 * Everything happens in one loop around poll(): the client, driven by hand, and a
 * signalfd.  The second mark is besides given to the kernel as a timer, for the
 * case that this process hangs, say in a write to a terminal.
 */
#include "tools/lockctl.h"
#include "tools/lockctl_child.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LEASE_MS_MIN = 1000,
    LEASE_MS_MAX = 60000,
    LEASE_MS_DEFAULT = 12000,
    STOP_MS = 3000, /* Before the end of the lease; of shorter ones ... */
    STOP_PART = 4,  /* ... a quarter. */
    KILL_MS = 500,
    KILL_PART = 20,
    LAST_WORDS_MS = 1000, /* For ending a session when the lock is lost anyway. */
};

enum phase {
    OPENING, /* The session is not open. */
    WAITING, /* For the lock. */
    HELD,    /* And no command runs: there is none, or not yet. */
    RUNNING,
    STOPPING, /* The command was told to end, because the lease does. */
    CLOSING,  /* The session is given back, and the lock with it. */
    OVER,
};

struct hold {
    struct lockctl *ctl;
    char *name;     /* In full. */
    char **command; /* NULL: none. */
    enum lockd_mode mode;
    int wait_ms;
    uint32_t lease_ms, stop_ms, kill_ms;

    enum phase phase;
    int code; /* The exit code, from CLOSING on. */
    bool was_held;
    bool warned; /* That no KeepAlive is answered. */
    uint64_t opened_ms;
    struct lockd_session *session;
    struct lockd_lock *lock;
    struct child child;
    int signals;     /* A signalfd. */
    sigset_t before; /* The signal mask that we were started with. */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --------------------------------------------------------------------- ending */

static void on_closed(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase == OVER) {
        return;
    }
    if (answer->rc != LOCKD_OK && answer->rc != LOCKD_E_EXPIRED && h->was_held) {
        complain(h->ctl, h->name,
                 "the lock could not be given back (%s); others get it when "
                 "the lease is over",
                 lockd_strerror(answer->rc));
    }
    h->phase = OVER;
}

/* Ends the session, which gives back whatever it holds or awaits. */
static void give_back(struct hold *h, int code, uint64_t timeout_ms)
{
    assert(h->phase != CLOSING && h->phase != OVER);
    h->code = code;
    h->phase = CLOSING;
    if (lockd_session_close_async(h->session, (int)timeout_ms, on_closed, h) != LOCKD_OK) {
        h->phase = OVER; /* There is nothing to end. */
    }
}

static void give_back_in_time(struct hold *h, int code)
{
    const uint64_t timeout = h->ctl->timeout_ms;
    give_back(h, code, timeout < h->lease_ms ? timeout : h->lease_ms);
}

static void lose(struct hold *h, const char *why)
{
    complain(h->ctl, h->name, "the lock is lost: %s", why);
    give_back(h, EXIT_LOST, LAST_WORDS_MS);
}

/* -------------------------------------------------------------------- holding */

static void export_lock(const struct hold *h)
{
    char token[24];
    snprintf(token, sizeof token, "%llu", (unsigned long long)lockd_lock_token(h->lock));
    setenv("LOCKD_NAME", h->name, 1);
    setenv("LOCKD_TOKEN", token, 1);
    setenv("LOCKD_SEQUENCER", lockd_lock_sequencer(h->lock), 1);
    setenv("LOCKD_SESSION", lockd_session_id(h->session), 1);
}

static void print_lock(const struct hold *h)
{
    if (h->ctl->output == OUTPUT_JSON) {
        print_json_lock(h->lock, lockd_session_id(h->session));
    } else {
        printf("%s token %llu sequencer %s\n", h->name,
               (unsigned long long)lockd_lock_token(h->lock), lockd_lock_sequencer(h->lock));
    }
    fflush(stdout);
}

static void run_command(struct hold *h)
{
    export_lock(h);
    if (child_start(&h->child, h->command, &h->before)) {
        h->phase = RUNNING;
        return;
    }
    complain(h->ctl, h->name, "no process could be started: %s", strerror(errno));
    give_back_in_time(h, EXIT_OTHER);
}

/* How long until the lease must be looked at again. */
static uint64_t judge_in_ms(const struct hold *h)
{
    if (h->phase != HELD && h->phase != RUNNING && h->phase != STOPPING) {
        return UINT64_MAX;
    }
    const uint64_t valid = lockd_lock_valid_for_ms(h->lock);
    const uint64_t mark = h->phase == RUNNING ? h->stop_ms : h->kill_ms;
    return valid > mark ? valid - mark : 0;
}

static void judge_command(struct hold *h, uint64_t valid)
{
    child_guard(&h->child, valid > h->kill_ms ? valid - h->kill_ms : 0);
    if (h->phase == RUNNING && valid <= h->stop_ms) {
        h->phase = STOPPING;
        child_stop(&h->child);
        complain(h->ctl, h->name, "the lease ends in %llu ms: stopping the command",
                 (unsigned long long)valid);
    }
}

/* Does what the lease demands. */
static void judge(struct hold *h)
{
    if (h->phase != HELD && h->phase != RUNNING && h->phase != STOPPING) {
        return;
    }
    const uint64_t valid = lockd_lock_valid_for_ms(h->lock);
    if (h->phase != HELD) {
        judge_command(h, valid);
    } else if (valid <= h->kill_ms) {
        lose(h, "no KeepAlive was answered in time");
    } else if (h->command != NULL && valid > h->stop_ms) {
        run_command(h);
    }
}

static void on_command_ended(struct hold *h, int status)
{
    if (h->phase == RUNNING && lockd_lock_valid_for_ms(h->lock) > 0) {
        give_back_in_time(h, status);
    } else {
        lose(h, h->phase == STOPPING ? "the command was stopped"
                                     : "the lease was over before the command ended");
    }
}

/* -------------------------------------------------------------------- getting */

static void on_acquired(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase != WAITING) {
        return; /* We are leaving; the session takes the lock with it. */
    }
    if (answer->rc == LOCKD_OK) {
        h->phase = HELD;
        h->was_held = true;
        if (h->command == NULL) {
            print_lock(h);
        }
        return;
    }
    if (answer->rc == LOCKD_E_LOCKED) {
        complain(h->ctl, h->name, "not acquired: %s", lockd_strerror(answer->rc));
        give_back_in_time(h, EXIT_AGAIN);
    } else if (answer->rc == LOCKD_E_TIMEOUT || answer->rc == LOCKD_E_UNKNOWN) {
        complain(h->ctl, h->name, "not acquired within %d ms", h->wait_ms);
        give_back_in_time(h, EXIT_AGAIN);
    } else {
        give_back_in_time(h,
                          (int)report(h->ctl, h->name, answer->rc, answer, /* makes= */ true));
    }
}

/* What is left of the wait after opening the session; at least something, or it
 * would be a try. */
static int wait_left_ms(const struct hold *h)
{
    if (h->wait_ms <= 0) {
        return h->wait_ms; /* A try, or for ever. */
    }
    const uint64_t gone = now_ms() - h->opened_ms;
    return gone < (uint64_t)h->wait_ms ? h->wait_ms - (int)gone : 1;
}

static void on_opened(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase != OPENING) {
        return;
    }
    if (answer->rc != LOCKD_OK) {
        h->code = (int)report(h->ctl, h->name, answer->rc, answer, /* makes= */ false);
        h->phase = OVER;
        return;
    }
    const struct lockd_lock_options options = {
        .size = sizeof options, .mode = h->mode, .create = true};
    h->phase = WAITING;
    const enum lockd_rc rc = lockd_acquire_async(h->session, h->name, &options, wait_left_ms(h),
                                                 on_acquired, h, &h->lock);
    if (rc != LOCKD_OK) {
        give_back_in_time(
            h, (int)report(h->ctl, h->name, rc, /* answer= */ NULL, /* makes= */ true));
    }
}

static void on_changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct hold *h = context;
    if (h->phase == OPENING || h->phase >= CLOSING) {
        return;
    }
    if (state == LOCKD_LEASE_LOW) {
        h->warned = true;
        complain(h->ctl, h->name,
                 "no KeepAlive has been answered for half the lease; %llu ms are left",
                 (unsigned long long)lockd_session_valid_for_ms(session));
    } else if (state == LOCKD_SAFE && h->warned) {
        h->warned = false;
        complain(h->ctl, h->name, "the cell answers again");
    }
}

/* -------------------------------------------------------------------- signals */

/* What ends us, and what a command may want to hear of besides. */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
static const int passed_on[] = {SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

/* Adds a signal unless we were started with it ignored, as by nohup(1). */
static void add_signal(sigset_t *set, int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
        sigaddset(set, number);
    }
}

static bool take_over_signals(struct hold *h)
{
    sigset_t set, mask;
    sigemptyset(&set);
    signal(SIGCHLD, SIG_DFL);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        add_signal(&set, ends[i]);
    }
    for (size_t i = 0; h->command != NULL && i < sizeof passed_on / sizeof passed_on[0]; i++) {
        add_signal(&set, passed_on[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &h->before);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigdelset(&mask, SIGALRM); /* The guard's. */
    sigdelset(&mask, SIGTSTP); /* To stop together with the command. */
    sigprocmask(SIG_SETMASK, &mask, NULL);
    h->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return h->signals >= 0;
}

static void on_signal(struct hold *h, int number)
{
    int status;
    if (number == SIGCHLD) {
        if (h->child.pid > 0 && child_ended(&h->child, &status)) {
            on_command_ended(h, status);
        }
    } else if (h->child.pid > 0) {
        child_signal(&h->child, number);
    } else if (number == SIGWINCH) {
        return;
    } else if (h->phase == CLOSING) {
        h->phase = OVER; /* Who says it twice doesn't want to wait. */
    } else if (h->phase != OVER) {
        give_back_in_time(h, h->phase == HELD && h->command == NULL ? EXIT_DONE : 128 + number);
    }
}

static void take_signals(struct hold *h)
{
    struct signalfd_siginfo info;
    while (read(h->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        on_signal(h, (int)info.ssi_signo);
    }
}

/* ----------------------------------------------------------------------- loop */

static int poll_timeout(const struct hold *h)
{
    const int client = lockd_timeout_ms(h->ctl->client);
    const uint64_t lease = judge_in_ms(h);
    if (lease >= INT_MAX) {
        return client;
    }
    return client < 0 || (int)lease < client ? (int)lease : client;
}

static void turn(struct hold *h)
{
    struct pollfd ready[] = {
        {.fd = lockd_fd(h->ctl->client), .events = lockd_events(h->ctl->client)},
        {.fd = h->signals, .events = POLLIN},
    };
    poll(ready, sizeof ready / sizeof ready[0], poll_timeout(h));
    judge(h);
    take_signals(h);
    lockd_process(h->ctl->client);
    judge(h);
}

static enum exit_code hold(struct hold *h)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = h->lease_ms, .changed = on_changed, .context = h};
    if (!take_over_signals(h)) {
        complain(h->ctl, h->name, "signalfd: %s", strerror(errno));
        return EXIT_OTHER;
    }
    h->opened_ms = now_ms();
    const enum lockd_rc rc = lockd_session_open_async(
        h->ctl->client, &options, (int)h->ctl->timeout_ms, on_opened, h, &h->session);
    if (rc != LOCKD_OK) {
        return report(h->ctl, h->name, rc, /* answer= */ NULL, /* makes= */ false);
    }
    while (h->phase != OVER) {
        turn(h);
    }
    assert(h->child.pid == 0);
    lockd_lock_free(h->lock);
    lockd_session_free(h->session);
    close(h->signals);
    return (enum exit_code)h->code; /* A command's status may be any. */
}

/* ------------------------------------------------------------------- command */

static bool take_option(struct hold *h, int option, bool *timed)
{
    uint64_t ms;
    switch (option) {
    case 's':
        h->mode = LOCKD_SHARED;
        return true;
    case 'y':
        h->wait_ms = 0;
        return true;
    case 't':
        *timed = true;
        if (!parse_duration(optarg, &ms)) {
            usage_error(h->ctl, "the timeout \"%s\" is not a duration such as 500ms or 10s",
                        optarg);
            return false;
        }
        h->wait_ms = (int)ms;
        return true;
    case 'l':
        if (!parse_duration(optarg, &ms) || ms < LEASE_MS_MIN || ms > LEASE_MS_MAX) {
            usage_error(h->ctl, "the lease \"%s\" is not a duration from 1s to 60s", optarg);
            return false;
        }
        h->lease_ms = (uint32_t)ms;
        return true;
    default:
        assert(false);
        return false;
    }
}

static bool take_options(struct hold *h, int argc, char **argv)
{
    static const struct option options[] = {
        {"shared", no_argument, NULL, 's'},        {"try", no_argument, NULL, 'y'},
        {"timeout", required_argument, NULL, 't'}, {"lease", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    bool timed = false, tried = false;
    int option;
    while ((option = next_option(h->ctl, argc, argv, "+h", options)) != -1) {
        tried = tried || option == 'y';
        if (!take_option(h, option, &timed)) {
            return false;
        }
    }
    if (tried && timed) {
        usage_error(h->ctl, "--try and --timeout exclude each other");
        return false;
    }
    return true;
}

/* NAME [-- CMD ARG...] */
static bool take_words(struct hold *h, int argc, char **argv)
{
    const int count = argc - optind;
    if (count == 0) {
        usage_error(h->ctl, "no NAME is given");
        return false;
    }
    if (count == 2 && strcmp(argv[optind + 1], "--") == 0) {
        usage_error(h->ctl, "no CMD stands behind --");
        return false;
    }
    if (count > 1 && strcmp(argv[optind + 1], "--") != 0) {
        usage_error(h->ctl, "options stand before NAME, and CMD behind --");
        return false;
    }
    h->command = count > 1 ? &argv[optind + 2] : NULL;
    h->name = full_name(h->ctl, argv[optind]);
    return h->name != NULL;
}

enum exit_code cmd_lock(struct lockctl *ctl, int argc, char **argv)
{
    struct hold h = {.ctl = ctl,
                     .mode = LOCKD_EXCLUSIVE,
                     .wait_ms = LOCKD_FOR_EVER,
                     .lease_ms = LEASE_MS_DEFAULT,
                     .phase = OPENING};
    if (!take_options(&h, argc, argv) || !take_words(&h, argc, argv)) {
        return EXIT_USAGE;
    }
    const bool full = h.lease_ms >= LEASE_MS_DEFAULT;
    h.stop_ms = full ? STOP_MS : h.lease_ms / STOP_PART;
    h.kill_ms = full ? KILL_MS : h.lease_ms / KILL_PART;
    if (h.wait_ms > 0 && (uint64_t)h.wait_ms < ctl->timeout_ms) {
        ctl->timeout_ms = (uint64_t)h.wait_ms; /* Reaching the cell is part of the wait. */
    }
    const enum exit_code code = hold(&h);
    free(h.name);
    return code;
}
