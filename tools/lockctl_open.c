/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_open.c -- having a node open while a command runs.
 */
#include "tools/lockctl.h"
#include "tools/lockctl_hold.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

struct open {
    struct hold hold;
    struct lockd_open_options options;
    bool created;
};

static void on_open(void *context, const struct lockd_answer *answer)
{
    struct open *o = context;
    struct hold *h = &o->hold;
    if (answer->rc == LOCKD_OK) {
        o->created = answer->created;
        hold_got(h);
    } else if (h->phase == HOLD_WAITING) {
        hold_not_got(h, (int)report(h->ctl, h->name, answer->rc, answer, /* makes= */ true));
    }
}

static enum lockd_rc get_open(struct hold *h, int wait_ms)
{
    struct open *o = h->context;
    return lockd_open_async(h->session, h->name, &o->options, wait_ms, on_open, o, &h->handle);
}

static void export_open(const struct hold *h)
{
    char instance[24];
    snprintf(instance, sizeof instance, "%llu",
             (unsigned long long)lockd_handle_instance(h->handle));
    setenv("LOCKD_INSTANCE", instance, 1);
}

static void print_open(const struct hold *h)
{
    const struct open *o = h->context;
    if (h->ctl->output == OUTPUT_JSON) {
        print_json_handle(h->handle, lockd_session_id(h->session), o->created);
    } else {
        printf("%s instance %llu %s\n", h->name,
               (unsigned long long)lockd_handle_instance(h->handle),
               o->created ? "created" : "opened");
    }
}

static bool take_option(struct open *o, int option)
{
    switch (option) {
    case 'e':
        o->options.ephemeral = true;
        return true;
    case 'D':
        o->options.create = LOCKD_DIRECTORY;
        return true;
    case 'x':
        o->options.exclusive = true;
        return true;
    default:
        return hold_option(&o->hold, option);
    }
}

static enum exit_code open_node(struct open *o, const char *value)
{
    const struct lockctl *ctl = o->hold.ctl;
    if (value == NULL) {
        return hold_run(&o->hold);
    }
    if (o->options.create == LOCKD_DIRECTORY) {
        free(o->hold.name);
        return usage_error(ctl, "a directory has no VALUE");
    }
    char *content = take_value(ctl, value, &o->options.content_size);
    if (content == NULL) {
        free(o->hold.name);
        return EXIT_USAGE;
    }
    o->options.content = content;
    const enum exit_code code = hold_run(&o->hold);
    free(content);
    return code;
}

enum exit_code cmd_open(struct lockctl *ctl, int argc, char **argv)
{
    static const struct hold_kind kind = {
        .what = "the open node", .get = get_open, .export = export_open, .print = print_open};
    static const struct option options[] = {
        {"ephemeral", no_argument, NULL, 'e'}, {"directory", no_argument, NULL, 'D'},
        {"exclusive", no_argument, NULL, 'x'}, HOLD_OPTION_LEASE,
        {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0}};
    struct open o = {.options = {.size = sizeof o.options, .create = LOCKD_FILE}};
    char *value = NULL;
    hold_init(&o.hold, ctl, &kind, &o);
    for (int option; (option = next_option(ctl, argc, argv, "+h", options)) != -1;) {
        if (!take_option(&o, option)) {
            return EXIT_USAGE;
        }
    }
    if (!take_words(ctl, argc, argv, /* most= */ 1, &o.hold.name, &value, &o.hold.command)) {
        return EXIT_USAGE;
    }
    o.hold.wait_ms = (int)ctl->timeout_ms;
    return open_node(&o, value);
}
