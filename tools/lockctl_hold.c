/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_hold.c -- having something of a session while a command runs.
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
 * Everything happens in one loop.  The second mark is besides given to the kernel
 * as a timer, for the case that this process hangs, say in a write to a terminal.
 */
#include "tools/lockctl_hold.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEASE_MS_MIN = 1000,
    LEASE_MS_MAX = 60000,
    LEASE_MS_DEFAULT = 12000,
    DELAY_MS_MAX = 60000,
    STOP_MS = 3000, /* Before the end of the lease; of shorter ones ... */
    STOP_PART = 4,  /* ... a quarter. */
    KILL_MS = 500,
    KILL_PART = 20,
    LAST_WORDS_MS = 1000,     /* For ending a session when the lock is lost anyway. */
    EXPLAIN_MS = 200,         /* A wait shorter than this needs no explanation; ... */
    EXPLAIN_AGAIN_MS = 10000, /* ... a longer one gets it now and then. */
};

/* --------------------------------------------------------------------- ending */

static void on_closed(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase == HOLD_OVER) {
        return;
    }
    if (answer->rc != LOCKD_OK && answer->rc != LOCKD_E_EXPIRED && h->was_held) {
        complain(h->ctl, h->name,
                 "%s could not be given back (%s); others get it when "
                 "the lease is over",
                 h->kind->what, lockd_strerror(answer->rc));
    }
    h->phase = HOLD_OVER;
}

/* Ends the session, which gives back whatever it holds or awaits. */
static void give_back(struct hold *h, int code, uint64_t timeout_ms)
{
    assert(h->phase != HOLD_CLOSING && h->phase != HOLD_OVER);
    h->code = code;
    h->phase = HOLD_CLOSING;
    if (lockd_session_close_async(h->session, (int)timeout_ms, on_closed, h) != LOCKD_OK) {
        h->phase = HOLD_OVER; /* There is nothing to end. */
    }
}

static void give_back_in_time(struct hold *h, int code)
{
    const uint64_t timeout = h->ctl->timeout_ms;
    give_back(h, code, timeout < h->lease_ms ? timeout : h->lease_ms);
}

static void lose(struct hold *h, const char *why)
{
    complain(h->ctl, h->name, "%s is lost: %s", h->kind->what, why);
    give_back(h, EXIT_LOST, LAST_WORDS_MS);
}

/* -------------------------------------------------------------------- holding */

void hold_export_lock(const struct hold *h)
{
    char token[24];
    snprintf(token, sizeof token, "%llu", (unsigned long long)lockd_lock_token(h->lock));
    setenv("LOCKD_TOKEN", token, 1);
    setenv("LOCKD_SEQUENCER", lockd_lock_sequencer(h->lock), 1);
}

void hold_print_lock(const struct hold *h)
{
    if (h->ctl->output == OUTPUT_JSON) {
        print_json_lock(h->lock, lockd_session_id(h->session));
    } else {
        printf("%s token %llu sequencer %s\n", h->name,
               (unsigned long long)lockd_lock_token(h->lock), lockd_lock_sequencer(h->lock));
    }
}

static void run_command(struct hold *h)
{
    setenv("LOCKD_NAME", h->name, 1);
    setenv("LOCKD_SESSION", lockd_session_id(h->session), 1);
    h->kind->export(h);
    const struct child_start start = {
        .who = h->ctl->command->name, .argv = h->command, .mask = &h->loop.before, .input = -1};
    if (child_start(&h->child, &start)) {
        h->phase = HOLD_RUNNING;
        return;
    }
    complain(h->ctl, h->name, "no process could be started: %s", strerror(errno));
    give_back_in_time(h, EXIT_OTHER);
}

static uint64_t valid_for_ms(const struct hold *h)
{
    return h->lock != NULL ? lockd_lock_valid_for_ms(h->lock)
                           : lockd_session_valid_for_ms(h->session);
}

static bool has_it(const struct hold *h)
{
    return h->phase == HOLD_HELD || h->phase == HOLD_RUNNING || h->phase == HOLD_STOPPING;
}

/* How long until the lease must be looked at again. */
static uint64_t judge_in_ms(const struct hold *h)
{
    if (!has_it(h)) {
        return UINT64_MAX;
    }
    const uint64_t valid = valid_for_ms(h);
    const uint64_t mark = h->phase == HOLD_RUNNING ? h->stop_ms : h->kill_ms;
    return valid > mark ? valid - mark : 0;
}

static void judge_command(struct hold *h, uint64_t valid)
{
    child_guard(&h->child, valid > h->kill_ms ? valid - h->kill_ms : 0);
    if (h->phase == HOLD_RUNNING && valid <= h->stop_ms) {
        h->phase = HOLD_STOPPING;
        child_stop(&h->child);
        complain(h->ctl, h->name, "the lease ends in %llu ms: stopping the command",
                 (unsigned long long)valid);
    }
}

/* Does what the lease demands. */
static void judge(struct hold *h)
{
    if (!has_it(h)) {
        return;
    }
    const uint64_t valid = valid_for_ms(h);
    if (h->phase != HOLD_HELD) {
        judge_command(h, valid);
    } else if (valid <= h->kill_ms) {
        lose(h, "no KeepAlive was answered in time");
    } else if (h->command != NULL && valid > h->stop_ms) {
        run_command(h);
    }
}

static void on_command_ended(struct hold *h, int status)
{
    if (h->phase == HOLD_RUNNING && valid_for_ms(h) > 0) {
        give_back_in_time(h, status);
    } else {
        lose(h, h->phase == HOLD_STOPPING ? "the command was stopped"
                                          : "the lease was over before the command ended");
    }
}

/* -------------------------------------------------------------------- getting */

void hold_got(struct hold *h)
{
    if (h->phase != HOLD_WAITING) {
        return; /* We are leaving; the session takes it along. */
    }
    h->phase = HOLD_HELD;
    h->was_held = true;
    if (h->command == NULL) {
        h->kind->print(h);
        fflush(stdout);
    }
}

void hold_not_got(struct hold *h, int code)
{
    if (h->phase == HOLD_WAITING) {
        give_back_in_time(h, code);
    }
}

static void complain_of_delay(const struct hold *h, const struct lockd_answer *answer)
{
    const struct lockd_claim *holder = answer->holder;
    complain(h->ctl, h->name, "not acquired: closed by a lock-delay for %.1f s more%s%s%s%s",
             (double)answer->left_ms / 1000, holder != NULL ? ", because " : "",
             holder != NULL ? holder->label : "",
             holder != NULL ? " failed while it held it, session " : "",
             holder != NULL ? holder->session : "");
}

void hold_on_lock(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase != HOLD_WAITING) {
        return;
    }
    switch ((int)answer->rc) {
    case LOCKD_OK:
        hold_got(h);
        return;
    case LOCKD_E_LOCK_DELAY:
        complain_of_delay(h, answer);
        break;
    case LOCKD_E_LOCKED:
        complain(h->ctl, h->name, "not acquired: %s", lockd_strerror(answer->rc));
        break;
    case LOCKD_E_TIMEOUT:
    case LOCKD_E_UNKNOWN:
        complain(h->ctl, h->name, "not acquired within %d ms", h->wait_ms);
        break;
    default:
        hold_not_got(h, (int)report(h->ctl, h->name, answer->rc, answer, /* makes= */ true));
        return;
    }
    hold_not_got(h, EXIT_AGAIN);
}

/* What is left of the wait after opening the session; at least something, or it
 * would be a try. */
static int wait_left_ms(const struct hold *h)
{
    if (h->wait_ms <= 0) {
        return h->wait_ms; /* A try, or for ever. */
    }
    const uint64_t gone = loop_now_ms() - h->opened_ms;
    return gone < (uint64_t)h->wait_ms ? h->wait_ms - (int)gone : 1;
}

static void on_opened(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase != HOLD_OPENING) {
        return;
    }
    if (answer->rc != LOCKD_OK) {
        h->code = (int)report(h->ctl, h->name, answer->rc, answer, /* makes= */ false);
        h->phase = HOLD_OVER;
        return;
    }
    h->phase = HOLD_WAITING;
    h->explain_ms = loop_now_ms() + EXPLAIN_MS;
    const enum lockd_rc rc = h->kind->get(h, wait_left_ms(h));
    if (rc != LOCKD_OK) {
        hold_not_got(h,
                     (int)report(h->ctl, h->name, rc, /* answer= */ NULL, /* makes= */ true));
    }
}

static void on_changed(void *context, struct lockd_session *session, enum lockd_state state)
{
    struct hold *h = context;
    if (h->phase == HOLD_OPENING || h->phase >= HOLD_CLOSING) {
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

/* ---------------------------------------------------------- what is waited for */

static void on_claims(void *context, const struct lockd_answer *answer)
{
    struct hold *h = context;
    if (h->phase == HOLD_WAITING && answer->rc == LOCKD_OK && answer->locks_count > 0) {
        explain_wait(h->ctl, &answer->locks[0], lockd_session_id(h->session));
    }
}

static uint64_t explain_in_ms(const struct hold *h)
{
    if (h->phase != HOLD_WAITING || !h->kind->queues || !h->ctl->verbose) {
        return UINT64_MAX;
    }
    const uint64_t now = loop_now_ms();
    return h->explain_ms > now ? h->explain_ms - now : 0;
}

static void explain(struct hold *h)
{
    if (explain_in_ms(h) == 0) {
        h->explain_ms = loop_now_ms() + EXPLAIN_AGAIN_MS;
        lockd_locks_async(h->ctl->client, h->name, /* next= */ 0, (int)h->ctl->timeout_ms,
                          on_claims, h);
    }
}

/* ----------------------------------------------------------------------- loop */

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
    } else if (h->phase == HOLD_CLOSING) {
        h->phase = HOLD_OVER; /* Who says it twice doesn't want to wait. */
    } else if (h->phase != HOLD_OVER) {
        give_back_in_time(h, h->phase == HOLD_HELD && h->command == NULL ? EXIT_DONE
                                                                         : 128 + number);
    }
}

static void turn(struct hold *h)
{
    const uint64_t lease = judge_in_ms(h), explanation = explain_in_ms(h);
    loop_wait(&h->loop, lease < explanation ? lease : explanation, /* client= */ true);
    judge(h);
    for (int number; (number = loop_signal(&h->loop)) != 0;) {
        on_signal(h, number);
    }
    lockd_process(h->ctl->client);
    judge(h);
    explain(h);
}

static enum exit_code run(struct hold *h)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = h->lease_ms, .changed = on_changed, .context = h};
    if (!loop_begin(&h->loop, h->ctl, h->command != NULL)) {
        return EXIT_OTHER;
    }
    h->opened_ms = loop_now_ms();
    const enum lockd_rc rc = lockd_session_open_async(
        h->ctl->client, &options, (int)h->ctl->timeout_ms, on_opened, h, &h->session);
    if (rc != LOCKD_OK) {
        return report(h->ctl, h->name, rc, /* answer= */ NULL, /* makes= */ false);
    }
    while (h->phase != HOLD_OVER) {
        turn(h);
    }
    assert(h->child.pid == 0);
    lockd_lock_free(h->lock);
    lockd_handle_free(h->handle);
    lockd_session_free(h->session);
    loop_end(&h->loop);
    return (enum exit_code)h->code; /* A command's status may be any. */
}

enum exit_code hold_run(struct hold *h)
{
    const bool full = h->lease_ms >= LEASE_MS_DEFAULT;
    h->stop_ms = full ? STOP_MS : h->lease_ms / STOP_PART;
    h->kill_ms = full ? KILL_MS : h->lease_ms / KILL_PART;
    if (h->wait_ms > 0 && (uint64_t)h->wait_ms < h->ctl->timeout_ms) {
        h->ctl->timeout_ms = (uint64_t)h->wait_ms; /* Reaching the cell is part of the wait. */
    }
    const enum exit_code code = run(h);
    free(h->name);
    return code;
}

/* ------------------------------------------------------------------- command */

void hold_init(struct hold *h, struct lockctl *ctl, const struct hold_kind *kind, void *context)
{
    *h = (struct hold){.ctl = ctl,
                       .kind = kind,
                       .context = context,
                       .wait_ms = LOCKD_FOR_EVER,
                       .lease_ms = LEASE_MS_DEFAULT,
                       .lock_options = {.size = sizeof h->lock_options,
                                        .mode = LOCKD_EXCLUSIVE,
                                        .create = true},
                       .phase = HOLD_OPENING};
}

/* A duration in a range.  False: refused with a message. */
static bool take_duration(const struct hold *h, const char *what, const char *range,
                          uint64_t least, uint64_t most, uint64_t *ret_ms)
{
    if (!parse_duration(optarg, ret_ms) || *ret_ms < least || *ret_ms > most) {
        usage_error(h->ctl, "the %s \"%s\" is not a duration %s", what, optarg, range);
        return false;
    }
    return true;
}

bool hold_option(struct hold *h, int option)
{
    uint64_t ms = 0;
    bool ok = true;
    switch (option) {
    case 's':
        h->lock_options.mode = LOCKD_SHARED;
        break;
    case 'y':
        h->tried = true;
        h->wait_ms = 0;
        break;
    case 't':
        h->timed = true;
        ok = take_duration(h, "timeout", "such as 500ms or 10s", 0, UINT64_MAX, &ms);
        h->wait_ms = (int)ms;
        break;
    case 'l':
        ok = take_duration(h, "lease", "from 1s to 60s", LEASE_MS_MIN, LEASE_MS_MAX, &ms);
        h->lease_ms = (uint32_t)ms;
        break;
    case 'd':
        ok = take_duration(h, "lock-delay", "from 0 to 60s", 0, DELAY_MS_MAX, &ms);
        h->lock_options.delay_ms = (uint32_t)ms;
        break;
    default:
        assert(false);
    }
    if (ok && h->tried && h->timed) {
        usage_error(h->ctl, "--try and --timeout exclude each other");
        return false;
    }
    return ok;
}
