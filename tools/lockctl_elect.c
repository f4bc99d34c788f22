/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_elect.c -- elections: to stand for one, and to follow one.
 */
#include "tools/lockctl.h"
#include "tools/lockctl_hold.h"
#include "tools/lockctl_loop.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------- elect */

struct candidate {
    struct hold hold;
    char *value;
    size_t size;
};

static enum lockd_rc campaign(struct hold *h, int wait_ms)
{
    const struct candidate *c = h->context;
    return lockd_campaign_async(h->session, h->name, c->value, c->size, &h->lock_options,
                                wait_ms, hold_on_lock, h, &h->lock);
}

enum exit_code cmd_elect(struct lockctl *ctl, int argc, char **argv)
{
    static const struct hold_kind kind = {.what = "the leadership",
                                          .queues = true,
                                          .get = campaign,
                                          .export = hold_export_lock,
                                          .print = hold_print_lock};
    static const struct option options[] = {HOLD_OPTION_TRY,
                                            HOLD_OPTION_TIMEOUT,
                                            HOLD_OPTION_LEASE,
                                            HOLD_OPTION_DELAY,
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct candidate c = {.value = NULL};
    char *value = NULL;
    hold_init(&c.hold, ctl, &kind, &c);
    for (int option; (option = next_option(ctl, argc, argv, "+h", options)) != -1;) {
        if (!hold_option(&c.hold, option)) {
            return EXIT_USAGE;
        }
    }
    if (!take_words(ctl, argc, argv, /* most= */ 1, &c.hold.name, &value, &c.hold.command)) {
        return EXIT_USAGE;
    }
    if (value == NULL) {
        free(c.hold.name);
        return usage_error(ctl, "no VALUE is given: what the leader says of itself");
    }
    c.value = take_value(ctl, value, &c.size);
    if (c.value == NULL) {
        free(c.hold.name);
        return EXIT_USAGE;
    }
    const enum exit_code code = hold_run(&c.hold);
    free(c.value);
    return code;
}

/* ------------------------------------------------------------------ observe */

struct observer {
    struct lockctl *ctl;
    char *name;
    uint64_t count; /* How many lines to print; 0: no end. */
    uint64_t told;
    enum lockd_rc refused; /* LOCKD_OK: not. */
};

static bool is_done(const struct observer *o)
{
    return (o->count > 0 && o->told >= o->count) || ferror(stdout);
}

static void on_leader(void *context, struct lockd_observer *observer,
                      const struct lockd_leader *leader)
{
    struct observer *o = context;
    (void)observer;
    if (leader->rc != LOCKD_OK) {
        o->refused = leader->rc;
    } else if (!is_done(o)) {
        o->told++;
        print_json_leader(o->name, leader);
        fflush(stdout);
    }
}

/* Prints until enough is told, or a signal comes. */
static enum exit_code follow(struct observer *o, const struct loop *loop)
{
    const uint64_t patience_ms = loop_now_ms() + o->ctl->timeout_ms;
    while (!is_done(o)) {
        const uint64_t now = loop_now_ms();
        if (o->told == 0 && now >= patience_ms) {
            return report(o->ctl, o->name, LOCKD_E_UNAVAILABLE, /* answer= */ NULL,
                          /* makes= */ false);
        }
        loop_wait(loop, o->told == 0 ? patience_ms - now : UINT64_MAX, /* client= */ true);
        if (loop_signal(loop) != 0) {
            return EXIT_DONE;
        }
        lockd_process(o->ctl->client);
        if (o->refused != LOCKD_OK) {
            return report(o->ctl, o->name, o->refused, /* answer= */ NULL, /* makes= */ false);
        }
    }
    return EXIT_DONE;
}

static enum exit_code observe(struct observer *o)
{
    struct loop loop;
    struct lockd_observer *observer = NULL;
    if (!loop_begin(&loop, o->ctl, /* command= */ false)) {
        return EXIT_OTHER;
    }
    const enum lockd_rc rc = lockd_observe(o->ctl->client, o->name, on_leader, o, &observer);
    const enum exit_code code =
        rc == LOCKD_OK ? follow(o, &loop)
                       : report(o->ctl, o->name, rc, /* answer= */ NULL, /* makes= */ false);
    lockd_observer_free(observer);
    loop_end(&loop);
    return code;
}

enum exit_code cmd_observe(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"once", no_argument, NULL, '1'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct observer o = {.ctl = ctl};
    for (int option; (option = next_option(ctl, argc, argv, "h", options)) != -1;) {
        if (option == '1') {
            o.count = 1;
        } else if (!take_count(ctl, &o.count)) {
            return EXIT_USAGE;
        }
    }
    o.name = only_name(ctl, argc, argv);
    if (o.name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = observe(&o);
    free(o.name);
    return code;
}
