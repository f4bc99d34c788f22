/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_again.c -- a file read again and again, and where each answer came from.
 *
 *     OPENING --> RESTING <--> ASKING
 *        |           |           |
 *        '-----------'-----------'--> CLOSING --> OVER
 *
 * One who keeps a cache must not leave without a word: writes to what he kept would wait
 * for his cache lease.  So the client is driven by hand, and a signal closes the session.
 */
#include "tools/lockctl_loop.h"
#include "tools/lockctl_read.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FAREWELL_MS = 2000 };

enum phase { OPENING, RESTING, ASKING, CLOSING, OVER };

struct again {
    struct reading *reading;
    struct lockctl *ctl;
    struct loop loop;
    struct lockd_session *session; /* NULL: there is no cache. */
    enum phase phase;
    uint64_t next_ms;            /* RESTING: when to read. */
    uint64_t asked_us, begun_us; /* ASKING: since when, Unix time and monotonic. */
    uint64_t shown;
    enum exit_code code;
};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* -------------------------------------------------------------------- leaving */

static void on_closed(void *context, const struct lockd_answer *answer)
{
    struct again *a = context;
    (void)answer; /* If it was not closed, it ends with its lease. */
    a->phase = OVER;
}

static void leave(struct again *a, enum exit_code code)
{
    assert(a->phase != CLOSING && a->phase != OVER);
    a->code = code;
    a->phase = CLOSING;
    if (a->session == NULL ||
        lockd_session_close_async(a->session, FAREWELL_MS, on_closed, a) != LOCKD_OK) {
        a->phase = OVER;
    }
}

/* -------------------------------------------------------------------- reading */

/* Outcomes that another read may not have, in the words of the protocol. */
static const char *passing_word(enum lockd_rc rc)
{
    switch ((int)rc) {
    case LOCKD_E_NO_NODE:
        return "no_node";
    case LOCKD_E_WRONG_KIND:
        return "wrong_kind";
    case LOCKD_E_DENIED:
        return "denied";
    case LOCKD_E_TOO_OLD:
        return "too_old";
    case LOCKD_E_OVERLOADED:
        return "overloaded";
    case LOCKD_E_UNAVAILABLE:
        return "unavailable";
    default:
        return NULL;
    }
}

static const char *source_of(const struct lockd_answer *answer)
{
    if (answer->rc == LOCKD_E_UNAVAILABLE) {
        return "nobody";
    }
    if (answer->cached) {
        return "memory";
    }
    return answer->level == LOCKD_SEQUENTIAL || answer->level == LOCKD_STALE ? "replica"
                                                                             : "master";
}

static void print_text(const struct again *a, const struct lockd_answer *answer,
                       uint64_t took_us)
{
    char time[32];
    time_text(a->asked_us / 1000, time);
    printf("%.19s.%06lluZ  %-7s  %8llu us  revision %llu", time,
           (unsigned long long)(a->asked_us % 1000000), source_of(answer),
           (unsigned long long)took_us, (unsigned long long)answer->revision);
    if (answer->has_age) {
        printf("  age %llu ms", (unsigned long long)answer->age_ms);
    }
    fputs("  ", stdout);
    if (answer->rc == LOCKD_OK) {
        print_escaped(answer->content, answer->content_size);
    } else {
        printf("(%s)", lockd_strerror(answer->rc));
    }
    putchar('\n');
}

static void on_read(void *context, const struct lockd_answer *answer)
{
    struct again *a = context;
    if (a->phase != ASKING) {
        return; /* We are leaving. */
    }
    const char *word = passing_word(answer->rc);
    const uint64_t took_us = clock_us(CLOCK_MONOTONIC) - a->begun_us;
    if (answer->rc != LOCKD_OK && word == NULL) {
        leave(a, report(a->ctl, a->reading->name, answer->rc, answer, /* makes= */ false));
        return;
    }
    if (a->ctl->output == OUTPUT_JSON) {
        print_json_read(answer, word, a->asked_us, took_us);
    } else {
        print_text(a, answer, took_us);
    }
    a->phase = RESTING;
    a->next_ms = loop_now_ms() + a->reading->every_ms;
    if (fflush(stdout) != 0 || ++a->shown == a->reading->count) {
        leave(a, EXIT_DONE); /* What could not be printed, main() says. */
    }
}

/* What is in memory costs no wait; for the rest the cell is asked. */
static void read_now(struct again *a)
{
    const struct reading *r = a->reading;
    struct lockd_answer *answer = NULL;
    a->phase = ASKING;
    a->begun_us = clock_us(CLOCK_MONOTONIC);
    a->asked_us = clock_us(CLOCK_REALTIME);
    if (r->cache) {
        lockd_get(a->ctl->client, r->name, &r->options, (int)a->ctl->timeout_ms, &answer);
    }
    if (answer != NULL) {
        on_read(a, answer);
        lockd_answer_free(answer);
        return;
    }
    const enum lockd_rc rc = lockd_get_async(a->ctl->client, r->name, &r->options,
                                             (int)a->ctl->timeout_ms, on_read, a);
    if (rc != LOCKD_OK) {
        leave(a, report(a->ctl, r->name, rc, /* answer= */ NULL, /* makes= */ false));
    }
}

/* ----------------------------------------------------------------------- loop */

static void on_opened(void *context, const struct lockd_answer *answer)
{
    struct again *a = context;
    if (a->phase != OPENING) {
        return;
    }
    a->phase = RESTING;
    if (answer->rc != LOCKD_OK) {
        leave(a, report(a->ctl, a->reading->name, answer->rc, answer, /* makes= */ false));
    }
}

static void begin(struct again *a)
{
    static const struct lockd_session_options options = {.size = sizeof options, .cache = true};
    if (!a->reading->cache) {
        a->phase = RESTING;
        return;
    }
    signal(SIGPIPE, SIG_IGN); /* Not even when nobody wants to hear more. */
    const enum lockd_rc rc = lockd_session_open_async(
        a->ctl->client, &options, (int)a->ctl->timeout_ms, on_opened, a, &a->session);
    a->reading->options.session = a->session;
    if (rc != LOCKD_OK) {
        leave(a, report(a->ctl, a->reading->name, rc, /* answer= */ NULL, /* makes= */ false));
    }
}

static void turn(struct again *a)
{
    const uint64_t now = loop_now_ms();
    uint64_t wait_ms = UINT64_MAX;
    if (a->phase == RESTING) {
        wait_ms = a->next_ms > now ? a->next_ms - now : 0;
    }
    loop_wait(&a->loop, wait_ms, /* client= */ true);
    while (loop_signal(&a->loop) != 0) {
        if (a->phase == CLOSING) {
            a->phase = OVER; /* Who says it twice doesn't want to wait. */
        } else if (a->phase != OVER) {
            leave(a, EXIT_DONE);
        }
    }
    lockd_process(a->ctl->client);
    if (a->phase == RESTING && loop_now_ms() >= a->next_ms) {
        read_now(a);
    }
}

enum exit_code read_again(struct reading *r)
{
    struct again a = {.reading = r, .ctl = r->ctl};
    if (!loop_begin(&a.loop, r->ctl, /* command= */ false)) {
        return EXIT_OTHER;
    }
    begin(&a);
    while (a.phase != OVER) {
        turn(&a);
    }
    lockd_session_free(a.session);
    loop_end(&a.loop);
    return a.code;
}
