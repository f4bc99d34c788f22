/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_node.c -- put, mkdir and rm.
 */
#include "tools/lockctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTENT_MAX = 768 * 1024 /* No line of the protocol holds so much. */ };

/* Reads --if-generation, the only option.  False: refused with a message. */
static bool take_guard(const struct lockctl *ctl, int argc, char **argv,
                       uint64_t *ret_generation)
{
    static const struct option options[] = {{"if-generation", required_argument, NULL, 'g'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *ret_generation = LOCKD_ANY;
    while (next_option(ctl, argc, argv, "h", options) == 'g') {
        if (!parse_number(optarg, ret_generation)) {
            usage_error(ctl, "the generation \"%s\" is not a number", optarg);
            return false;
        }
    }
    return true;
}

/* Shows what a write brought, and ends the call. */
static enum exit_code finish(const struct lockctl *ctl, const char *name, enum lockd_rc rc,
                             struct lockd_answer *answer, enum result result, bool makes)
{
    enum exit_code code = EXIT_DONE;
    if (rc != LOCKD_OK) {
        code = report(ctl, name, rc, answer, makes);
    } else if (ctl->output == OUTPUT_JSON) {
        print_json_result(answer, result);
    } else {
        print_change(ctl, answer, name);
    }
    lockd_answer_free(answer);
    return code;
}

/* Reads a stream to its end, or to where it is certainly too large.  malloc'ed;
 * NULL: see errno. */
static char *read_all(FILE *in, size_t *ret_size)
{
    char *content = malloc(CONTENT_MAX);
    if (content == NULL) {
        return NULL;
    }
    *ret_size = fread(content, 1, CONTENT_MAX, in);
    if (ferror(in)) {
        free(content);
        return NULL;
    }
    return content;
}

char *take_value(const struct lockctl *ctl, const char *value, size_t *ret_size)
{
    const bool input = value == NULL || strcmp(value, "-") == 0;
    if (!input && (value[0] != '@' || value[1] == '@')) {
        value += value[0] == '@';
        *ret_size = strlen(value);
        return strdup(value);
    }
    FILE *file = input ? stdin : fopen(value + 1, "rbe");
    char *content = file != NULL ? read_all(file, ret_size) : NULL;
    if (content == NULL) {
        fprintf(stderr, "lockctl: %s: %s: %s\n", ctl->command->name,
                input ? "standard input" : value + 1, strerror(errno));
    }
    if (file != NULL && !input) {
        fclose(file);
    }
    return content;
}

static enum exit_code put(const struct lockctl *ctl, const char *name, const char *value,
                          uint64_t if_generation)
{
    size_t size = 0;
    char *content = take_value(ctl, value, &size);
    if (content == NULL) {
        return EXIT_USAGE;
    }
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_put(ctl->client, /* session= */ NULL, name, content, size,
                                       if_generation, (int)ctl->timeout_ms, &answer);
    free(content);
    /* Only a put on the condition that the file is there can miss it; any other
     * makes it, and so misses what it would stand in. */
    return finish(ctl, name, rc, answer, RESULT_PUT,
                  /* makes= */ if_generation == 0 || if_generation == LOCKD_ANY);
}

enum exit_code cmd_put(struct lockctl *ctl, int argc, char **argv)
{
    uint64_t if_generation;
    if (!take_guard(ctl, argc, argv, &if_generation)) {
        return EXIT_USAGE;
    }
    if (argc - optind < 1 || argc - optind > 2) {
        return usage_error(ctl, "NAME and at most one VALUE are expected");
    }
    char *name = full_name(ctl, argv[optind]);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code =
        put(ctl, name, argc - optind == 2 ? argv[optind + 1] : NULL, if_generation);
    free(name);
    return code;
}

static enum exit_code make_directory(const struct lockctl *ctl, const char *name)
{
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_create(ctl->client, /* session= */ NULL, name,
                                          LOCKD_DIRECTORY, (int)ctl->timeout_ms, &answer);
    return finish(ctl, name, rc, answer, RESULT_CREATE, /* makes= */ true);
}

/* Makes one directory of a path, or finds that something is there. */
static enum exit_code make_component(const struct lockctl *ctl, const char *path)
{
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_create(ctl->client, /* session= */ NULL, path,
                                          LOCKD_DIRECTORY, (int)ctl->timeout_ms, &answer);
    const enum exit_code code = rc == LOCKD_OK || rc == LOCKD_E_EXISTS
                                    ? EXIT_DONE
                                    : report(ctl, path, rc, answer, /* makes= */ true);
    lockd_answer_free(answer);
    return code;
}

/* Makes what is missing from the top downwards.  The last word is a stat, which
 * tells a directory that was there from a file that is in the way. */
static enum exit_code make_parents(const struct lockctl *ctl, char *name)
{
    size_t size = strcspn(name + strlen("/ls/"), "/") + strlen("/ls/");
    while (name[size] != 0) {
        size += 1 + strcspn(name + size + 1, "/");
        const char end = name[size];
        name[size] = 0;
        const enum exit_code code = make_component(ctl, name);
        name[size] = end;
        if (code != EXIT_DONE) {
            return code;
        }
    }
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc =
        lockd_stat_node(ctl->client, name, /* options= */ NULL, (int)ctl->timeout_ms, &answer);
    if (rc == LOCKD_OK && answer->stat.kind != LOCKD_DIRECTORY) {
        complain(ctl, name, "a file of that name exists");
        lockd_answer_free(answer);
        return EXIT_CONFLICT;
    }
    return finish(ctl, name, rc, answer, RESULT_STAT, /* makes= */ false);
}

enum exit_code cmd_mkdir(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"parents", no_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool parents = false;
    while (next_option(ctl, argc, argv, "ph", options) == 'p') {
        parents = true;
    }
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = parents ? make_parents(ctl, name) : make_directory(ctl, name);
    free(name);
    return code;
}

enum exit_code cmd_rm(struct lockctl *ctl, int argc, char **argv)
{
    uint64_t if_generation;
    if (!take_guard(ctl, argc, argv, &if_generation)) {
        return EXIT_USAGE;
    }
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_delete(ctl->client, /* session= */ NULL, name, if_generation,
                                          (int)ctl->timeout_ms, &answer);
    const enum exit_code code =
        finish(ctl, name, rc, answer, RESULT_DELETE, /* makes= */ false);
    free(name);
    return code;
}
