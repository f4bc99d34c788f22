/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_lock.c -- lock, and check: is it held as a sequencer says?
 */
#include "tools/lockctl.h"
#include "tools/lockctl_hold.h"

#include <getopt.h>
#include <stdio.h>

/* --------------------------------------------------------------------- lock */

static enum lockd_rc get_lock(struct hold *h, int wait_ms)
{
    return lockd_acquire_async(h->session, h->name, &h->lock_options, wait_ms, hold_on_lock, h,
                               &h->lock);
}

enum exit_code cmd_lock(struct lockctl *ctl, int argc, char **argv)
{
    static const struct hold_kind kind = {.what = "the lock",
                                          .queues = true,
                                          .get = get_lock,
                                          .export = hold_export_lock,
                                          .print = hold_print_lock};
    static const struct option options[] = {
        HOLD_OPTION_SHARED, HOLD_OPTION_TRY,   HOLD_OPTION_TIMEOUT,
        HOLD_OPTION_LEASE,  HOLD_OPTION_DELAY, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    struct hold h;
    hold_init(&h, ctl, &kind, /* context= */ NULL);
    for (int option; (option = next_option(ctl, argc, argv, "+h", options)) != -1;) {
        if (!hold_option(&h, option)) {
            return EXIT_USAGE;
        }
    }
    if (!take_words(ctl, argc, argv, /* most= */ 0, &h.name, /* ret_value= */ NULL,
                    &h.command)) {
        return EXIT_USAGE;
    }
    return hold_run(&h);
}

/* -------------------------------------------------------------------- check */

enum exit_code cmd_check(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    if (argc - optind != 1) {
        return usage_error(ctl, "one SEQUENCER is expected");
    }
    const char *sequencer = argv[optind];
    bool valid = false;
    const enum lockd_rc rc = lockd_check(ctl->client, sequencer, (int)ctl->timeout_ms, &valid);
    if (rc == LOCKD_E_INVALID) {
        return usage_error(ctl, "\"%s\" is not a sequencer, NAME:MODE:TOKEN", sequencer);
    }
    if (rc != LOCKD_OK) {
        return report(ctl, /* name= */ NULL, rc, /* answer= */ NULL, /* makes= */ false);
    }
    if (ctl->output == OUTPUT_JSON) {
        print_json_check(sequencer, valid);
    } else {
        printf("%s\n", valid ? "valid" : "not valid");
    }
    return valid ? EXIT_DONE : EXIT_LOST;
}
