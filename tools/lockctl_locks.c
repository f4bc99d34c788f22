/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_locks.c -- who holds and who awaits which lock, and who failed holding it.
 */
#include "tools/lockctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *mode_text(enum lockd_mode mode)
{
    return mode == LOCKD_SHARED ? "shared" : "exclusive";
}

static double seconds(uint64_t ms)
{
    return (double)ms / 1000;
}

/* `place` is that in the queue, from 1, of one who waits. */
static void print_claim(const struct lockd_claim *claim, size_t place)
{
    char since[32];
    time_text(claim->since_ms, since);
    if (claim->held) {
        printf("  held %s by %s, session %s, since %s, token %llu\n", mode_text(claim->mode),
               claim->label, claim->session, since, (unsigned long long)claim->token);
    } else if (claim->delayed) {
        printf("  closed for %.1f s of its lock-delay of %.1f s: held %s by %s, session %s, "
               "failed %s, token %llu\n",
               seconds(claim->left_ms), seconds(claim->delay_ms), mode_text(claim->mode),
               claim->label, claim->session, since, (unsigned long long)claim->token);
    } else {
        printf("  %zu. waits %s: %s, session %s, since %s\n", place, mode_text(claim->mode),
               claim->label, claim->session, since);
    }
}

static void print_claim_row(const char *name, const struct lockd_claim *claim, size_t place)
{
    char since[32], token[24], delay[32] = "-";
    const bool waits = !claim->held && !claim->delayed;
    time_text(claim->since_ms, since);
    snprintf(token, sizeof token, waits ? "-" : "%llu", (unsigned long long)claim->token);
    if (claim->delayed) {
        snprintf(delay, sizeof delay, "%.1f/%.1f", seconds(claim->left_ms),
                 seconds(claim->delay_ms));
    } else if (claim->delay_ms > 0) {
        snprintf(delay, sizeof delay, "%.1f", seconds(claim->delay_ms));
    }
    if (waits) {
        printf("wait %-3zu", place);
    } else {
        printf("%-8s", claim->held ? "held" : "delayed");
    }
    printf("  %-9s  %16s  %-20s  %-9s  %-16s  %-24s  %s\n", mode_text(claim->mode), token,
           since, delay, claim->session, claim->label, name);
}

void explain_wait(const struct lockctl *ctl, const struct lockd_claims *claims,
                  const char *session)
{
    char since[32];
    size_t ahead = 0;
    for (size_t i = 0; i < claims->count; i++) {
        const struct lockd_claim *claim = &claims->claims[i];
        time_text(claim->since_ms, since);
        if (claim->held) {
            note(ctl, claims->name, "waiting: held %s by %s, session %s, since %s",
                 mode_text(claim->mode), claim->label, claim->session, since);
        } else if (claim->delayed) {
            note(ctl, claims->name,
                 "waiting: closed by a lock-delay for %.1f s more, because %s failed, session "
                 "%s, at %s",
                 seconds(claim->left_ms), claim->label, claim->session, since);
        } else if (strcmp(claim->session, session) == 0) {
            break;
        } else {
            ahead++;
        }
    }
    if (ahead > 0) {
        note(ctl, claims->name, "waiting: %zu ahead of this one", ahead);
    }
}

/* What of a lock stands on a page.  One that was asked for by its name may reach
 * over several: only the first `begins`, and `waiting` counts on. */
static void print_claims(const struct lockctl *ctl, const struct lockd_claims *claims,
                         bool begins, size_t *waiting)
{
    if (ctl->output == OUTPUT_JSON) {
        print_json_claims(claims);
        return;
    }
    if (ctl->output == OUTPUT_SIMPLE && begins) {
        printf("%s%s\n", claims->name, claims->count == 0 ? " is free" : "");
    }
    for (size_t i = 0; i < claims->count; i++) {
        *waiting += !claims->claims[i].held && !claims->claims[i].delayed;
        if (ctl->output == OUTPUT_TABLE) {
            print_claim_row(claims->name, &claims->claims[i], *waiting);
        } else {
            print_claim(&claims->claims[i], *waiting);
        }
    }
}

/* Among all locks each stands once, cut if it is long. */
static void print_all(const struct lockctl *ctl, const struct lockd_answer *page)
{
    for (size_t i = 0; i < page->locks_count; i++) {
        size_t waiting = 0;
        print_claims(ctl, &page->locks[i], /* begins= */ true, &waiting);
        if (ctl->output == OUTPUT_SIMPLE && page->locks[i].more) {
            printf("  and more; see: lockctl locks %s\n", page->locks[i].name);
        }
    }
}

static enum exit_code show_pages(const struct lockctl *ctl, const char *name)
{
    uint64_t next = 0;
    size_t waiting = 0;
    bool more = true;
    enum exit_code code = EXIT_DONE;
    if (ctl->output == OUTPUT_TABLE) {
        printf("%-8s  %-9s  %16s  %-20s  %-9s  %-16s  %-24s  %s\n", "STATE", "MODE", "TOKEN",
               "SINCE", "DELAY", "SESSION", "LABEL", "NAME");
    }
    while (more) {
        struct lockd_answer *page = NULL;
        const enum lockd_rc rc =
            lockd_locks(ctl->client, name, next, (int)ctl->timeout_ms, &page);
        if (rc != LOCKD_OK) {
            code = report(ctl, name, rc, page, /* makes= */ false);
        } else if (name == NULL) {
            print_all(ctl, page);
        } else if (page->locks_count > 0) {
            print_claims(ctl, &page->locks[0], /* begins= */ next == 0, &waiting);
        }
        more = rc == LOCKD_OK && page->more && page->next > next;
        next = more ? page->next : next;
        lockd_answer_free(page);
    }
    return code;
}

enum exit_code cmd_locks(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    if (argc == optind) {
        return show_pages(ctl, NULL);
    }
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = show_pages(ctl, name);
    free(name);
    return code;
}
