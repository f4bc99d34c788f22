/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_read.c -- get, stat and ls.
 */
#include "tools/lockctl_read.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY_MS_DEFAULT = 1000 };

/* ------------------------------------------------------------------- options */

void reading_init(struct reading *r, struct lockctl *ctl)
{
    *r = (struct reading){
        .ctl = ctl, .options = {.size = sizeof r->options}, .instance = LOCKD_ANY};
}

static bool take_level(struct reading *r)
{
    for (int level = LOCKD_LINEARIZABLE; level <= LOCKD_STALE; level++) {
        if (strcmp(optarg, level_text((enum lockd_level)level)) == 0) {
            r->options.level = (enum lockd_level)level;
            return true;
        }
    }
    usage_error(r->ctl, "the level \"%s\" is not linearizable, lease, sequential or stale",
                optarg);
    return false;
}

/* A duration from 1 ms. */
static bool take_duration(const struct reading *r, const char *what, uint64_t *ret_ms)
{
    if (!parse_duration(optarg, ret_ms) || *ret_ms == 0) {
        usage_error(r->ctl, "the %s \"%s\" is not a duration such as 500ms or 10s", what,
                    optarg);
        return false;
    }
    return true;
}

bool reading_option(struct reading *r, int option)
{
    uint64_t ms = 0;
    switch (option) {
    case 'L':
        return take_level(r);
    case 'A':
        if (!take_duration(r, "age", &ms)) {
            return false;
        }
        r->options.max_age_ms = (uint32_t)ms;
        return true;
    case 'i':
        return take_instance(r->ctl, &r->instance);
    case 'C':
        r->cache = true;
        return true;
    case 'E':
        return take_duration(r, "pause", &r->every_ms);
    case 'n':
        return take_count(r->ctl, &r->count);
    default:
        assert(false);
        return false;
    }
}

/* What the options come to together. */
static bool check_options(struct reading *r)
{
    const enum lockd_level level = r->options.level;
    const bool may_be_old = level == LOCKD_SEQUENTIAL || level == LOCKD_STALE;
    if (r->options.max_age_ms > 0 && !may_be_old) {
        usage_error(r->ctl, "--max-age goes only with --level sequential or stale");
        return false;
    }
    if (r->cache && level != LOCKD_LINEARIZABLE) {
        usage_error(r->ctl, "--cache and --level exclude each other: what is kept is "
                            "linearizable");
        return false;
    }
    if (r->every_ms == 0 && (r->cache || r->count > 0)) {
        r->every_ms = EVERY_MS_DEFAULT;
    }
    return true;
}

bool reading_name(struct reading *r, int argc, char **argv, bool optional)
{
    if (!check_options(r)) {
        return false;
    }
    r->name =
        optional && argc == optind ? full_name(r->ctl, NULL) : only_name(r->ctl, argc, argv);
    return r->name != NULL;
}

bool reading_take(struct reading *r, struct lockctl *ctl, int argc, char **argv,
                  const struct option *options)
{
    reading_init(r, ctl);
    for (int option; (option = next_option(r->ctl, argc, argv, "h", options)) != -1;) {
        if (!reading_option(r, option)) {
            return false;
        }
    }
    return reading_name(r, argc, argv, /* optional= */ false);
}

/* Is it the node that was meant?  Says so if not; a name that is free now had it once. */
static enum exit_code check_read(const struct reading *r, enum lockd_rc rc,
                                 const struct lockd_answer *answer)
{
    const bool pinned = r->instance != LOCKD_ANY;
    if (pinned && (rc == LOCKD_E_NO_NODE || (rc == LOCKD_OK && answer->has_stat &&
                                             answer->stat.instance != r->instance))) {
        return report(r->ctl, r->name, LOCKD_E_STALE, /* answer= */ NULL, /* makes= */ false);
    }
    return rc == LOCKD_OK ? EXIT_DONE : report(r->ctl, r->name, rc, answer, /* makes= */ false);
}

/* ----------------------------------------------------------------------- get */

static enum exit_code get(const struct reading *r)
{
    const struct lockctl *ctl = r->ctl;
    struct lockd_answer *answer = NULL;
    enum lockd_rc rc = lockd_client_start(ctl->client);
    if (rc == LOCKD_OK) {
        rc = lockd_get(ctl->client, r->name, &r->options, (int)ctl->timeout_ms, &answer);
    }
    const enum exit_code code = check_read(r, rc, answer);
    if (code == EXIT_DONE && ctl->output == OUTPUT_JSON) {
        print_json_result(answer, RESULT_CONTENT);
    } else if (code == EXIT_DONE && answer->content_size > 0) {
        fwrite(answer->content, 1, answer->content_size, stdout);
    }
    lockd_answer_free(answer);
    return code;
}

enum exit_code cmd_get(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {READ_OPTION_LEVEL,
                                            READ_OPTION_AGE,
                                            READ_OPTION_INSTANCE,
                                            READ_OPTION_CACHE,
                                            READ_OPTION_EVERY,
                                            READ_OPTION_COUNT,
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct reading r;
    if (!reading_take(&r, ctl, argc, argv, options)) {
        return EXIT_USAGE;
    }
    enum exit_code code;
    if (r.every_ms == 0) {
        code = get(&r);
    } else if (r.instance == LOCKD_ANY) {
        code = read_again(&r);
    } else {
        code = usage_error(ctl, "--instance and --every exclude each other");
    }
    free(r.name);
    return code;
}

/* ---------------------------------------------------------------------- stat */

static void show_stat(const struct lockctl *ctl, const struct lockd_answer *answer,
                      const char *name)
{
    if (ctl->output == OUTPUT_JSON) {
        print_json_result(answer, RESULT_STAT);
    } else if (ctl->output == OUTPUT_TABLE) {
        print_change(ctl, answer, name);
    } else {
        print_stat(&answer->stat, name);
    }
}

enum exit_code cmd_stat(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {READ_OPTION_LEVEL,
                                            READ_OPTION_AGE,
                                            READ_OPTION_INSTANCE,
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct reading r;
    if (!reading_take(&r, ctl, argc, argv, options)) {
        return EXIT_USAGE;
    }
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc =
        lockd_stat_node(ctl->client, r.name, &r.options, (int)ctl->timeout_ms, &answer);
    const enum exit_code code = check_read(&r, rc, answer);
    if (code == EXIT_DONE) {
        show_stat(ctl, answer, r.name);
    }
    lockd_answer_free(answer);
    free(r.name);
    return code;
}

/* ------------------------------------------------------------------------ ls */

static void print_entry(const struct lockctl *ctl, const struct lockd_entry *entry, bool row)
{
    if (ctl->output == OUTPUT_JSON) {
        print_json_entry(entry);
    } else if (!row) {
        printf("%s\n", entry->name);
    } else if (entry->denied) {
        print_denied_row(entry->stat.kind, entry->name);
    } else {
        print_row(&entry->stat, entry->name);
    }
}

static enum exit_code list_pages(const struct reading *r, bool rows)
{
    const struct lockctl *ctl = r->ctl;
    enum exit_code code = EXIT_DONE;
    struct lockd_answer *page = NULL;
    const char *after = NULL;
    bool more = true;
    if (ctl->output == OUTPUT_TABLE) {
        print_row_head();
    }
    while (more) {
        struct lockd_answer *next = NULL;
        const enum lockd_rc rc = lockd_list(ctl->client, r->name, after, /* limit= */ 0,
                                            &r->options, (int)ctl->timeout_ms, &next);
        lockd_answer_free(page); /* Not before: `after` stands in it. */
        page = next;
        if (rc != LOCKD_OK) {
            code = report(ctl, r->name, rc, page, /* makes= */ false);
            break;
        }
        for (size_t i = 0; i < page->entries_count; i++) {
            print_entry(ctl, &page->entries[i], rows);
        }
        more = page->more && page->entries_count > 0;
        after = more ? page->entries[page->entries_count - 1].name : NULL;
    }
    lockd_answer_free(page);
    return code;
}

enum exit_code cmd_ls(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"long", no_argument, NULL, 'l'},
                                            READ_OPTION_LEVEL,
                                            READ_OPTION_AGE,
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct reading r;
    bool rows = ctl->output == OUTPUT_TABLE;
    reading_init(&r, ctl);
    for (int option; (option = next_option(ctl, argc, argv, "lh", options)) != -1;) {
        rows = rows || option == 'l';
        if (option != 'l' && !reading_option(&r, option)) {
            return EXIT_USAGE;
        }
    }
    if (!reading_name(&r, argc, argv, /* optional= */ true)) {
        return EXIT_USAGE;
    }
    const enum exit_code code = list_pages(&r, rows);
    free(r.name);
    return code;
}
