/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_acl.c -- who may read, write and change what: the names that nodes bear, and
 * the lists that have these names.
 */
#include "tools/lockctl_read.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANYONE "anyone" /* "" in the protocol. */

/* For people, who don't see an empty word. */
static const char *shown(const char *acl)
{
    return acl[0] == 0 ? ANYONE : acl;
}

/* ----------------------------------------------------------------------- get */

static void show_acl(const struct lockctl *ctl, const struct lockd_answer *answer,
                     const char *name)
{
    const struct lockd_acl *acl = answer->acl;
    if (ctl->output == OUTPUT_JSON) {
        print_json_result(answer, RESULT_ACL);
    } else if (ctl->output == OUTPUT_TABLE) {
        printf("%-16s  %-16s  %-16s  %s\n%-16s  %-16s  %-16s  %s\n", "READ", "WRITE", "CHANGE",
               "NAME", shown(acl->read), shown(acl->write), shown(acl->change), name);
    } else {
        printf("read    %s\nwrite   %s\nchange  %s\n", shown(acl->read), shown(acl->write),
               shown(acl->change));
    }
}

static enum exit_code get_acl(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {READ_OPTION_LEVEL,
                                            READ_OPTION_AGE,
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct reading r;
    if (!reading_take(&r, ctl, argc, argv, options)) {
        return EXIT_USAGE;
    }
    enum exit_code code = EXIT_DONE;
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc =
        lockd_get_acl(ctl->client, r.name, &r.options, (int)ctl->timeout_ms, &answer);
    if (rc == LOCKD_OK) {
        show_acl(ctl, answer, r.name);
    } else {
        code = report(ctl, r.name, rc, answer, /* makes= */ false);
    }
    lockd_answer_free(answer);
    free(r.name);
    return code;
}

/* ----------------------------------------------------------------------- set */

static enum exit_code set(const struct lockctl *ctl, const char *name,
                          const struct lockd_acl *acl, uint64_t if_generation)
{
    enum exit_code code = EXIT_DONE;
    struct lockd_answer *answer = NULL;
    const enum lockd_rc rc = lockd_set_acl(ctl->client, /* session= */ NULL, name, acl,
                                           if_generation, (int)ctl->timeout_ms, &answer);
    if (rc != LOCKD_OK) {
        code = report(ctl, name, rc, answer, /* makes= */ false);
    } else if (ctl->output == OUTPUT_JSON) {
        print_json_result(answer, RESULT_SET_ACL);
    } else {
        printf("%s acl_generation %llu revision %llu\n", name,
               (unsigned long long)answer->stat.acl_generation,
               (unsigned long long)answer->stat.revision);
    }
    lockd_answer_free(answer);
    return code;
}

static enum exit_code set_acl(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"read", required_argument, NULL, 'r'},
                                            {"write", required_argument, NULL, 'w'},
                                            {"change", required_argument, NULL, 'c'},
                                            {"if-generation", required_argument, NULL, 'g'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct lockd_acl acl = {.read = NULL};
    uint64_t if_generation = LOCKD_ANY;
    for (int option; (option = next_option(ctl, argc, argv, "h", options)) != -1;) {
        const char *given = strcmp(optarg, ANYONE) == 0 ? "" : optarg;
        if (option == 'r') {
            acl.read = given;
        } else if (option == 'w') {
            acl.write = given;
        } else if (option == 'c') {
            acl.change = given;
        } else if (!parse_number(optarg, &if_generation)) {
            return usage_error(ctl, "the generation \"%s\" is not a number", optarg);
        }
    }
    if (acl.read == NULL && acl.write == NULL && acl.change == NULL) {
        return usage_error(ctl, "none of --read, --write and --change is given");
    }
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = set(ctl, name, &acl, if_generation);
    free(name);
    return code;
}

/* ------------------------------------------------------------------------ ls */

/* Takes a list apart as the cell does: a principal a line, blanks around it don't count,
 * and from # on it is a remark.  There are no more than lines. */
static size_t principals_of(char *text, const char **ret_principals)
{
    size_t count = 0;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        line[strcspn(line, "#")] = 0;
        line += strspn(line, " \t\r");
        size_t size = strlen(line);
        while (size > 0 && strchr(" \t\r", line[size - 1]) != NULL) {
            size--;
        }
        line[size] = 0;
        if (size > 0) {
            ret_principals[count++] = line;
        }
    }
    return count;
}

/* One list of all, or (`alone`) the one that was asked for. */
static void show_list(const struct lockctl *ctl, const char *acl, const char **principals,
                      size_t count, bool alone)
{
    if (ctl->output == OUTPUT_JSON) {
        print_json_principals(acl, principals, count);
        return;
    }
    if (!alone) {
        printf("%-16s  %s", acl, count == 0 ? "(nobody)" : "");
    }
    for (size_t i = 0; i < count; i++) {
        fputs(alone || i == 0 ? "" : ", ", stdout);
        print_escaped(principals[i], strlen(principals[i]));
        fputs(alone ? "\n" : "", stdout);
    }
    fputs(alone ? "" : "\n", stdout);
}

static size_t lines_of(const char *text)
{
    size_t count = 1;
    for (; (text = strchr(text, '\n')) != NULL; text++) {
        count++;
    }
    return count;
}

static bool show_content(const struct lockctl *ctl, const char *acl, const void *content,
                         size_t size, bool alone)
{
    char *text = strndup(size > 0 ? content : "", size);
    const char **principals = text != NULL ? calloc(lines_of(text), sizeof *principals) : NULL;
    const bool ok = principals != NULL;
    if (ok) {
        show_list(ctl, acl, principals, principals_of(text, principals), alone);
    }
    free(principals);
    free(text);
    return ok;
}

/* A list that may not be read is there nevertheless. */
static void show_denied(const struct lockctl *ctl, const char *acl)
{
    if (ctl->output == OUTPUT_JSON) {
        print_json_principals(acl, /* principals= */ NULL, 0);
    } else {
        printf("%-16s  (denied)\n", acl);
    }
}

static enum exit_code list_one(const struct lockctl *ctl, const char *folder, const char *acl,
                               bool alone)
{
    char *name = NULL;
    struct lockd_answer *answer = NULL;
    enum exit_code code = EXIT_DONE;
    if (asprintf(&name, "%s/%s", folder, acl) < 0) {
        return report(ctl, acl, LOCKD_E_NO_MEMORY, /* answer= */ NULL, /* makes= */ false);
    }
    const enum lockd_rc rc =
        lockd_get(ctl->client, name, /* options= */ NULL, (int)ctl->timeout_ms, &answer);
    if (rc == LOCKD_OK) {
        if (!show_content(ctl, acl, answer->content, answer->content_size, alone)) {
            code = report(ctl, name, LOCKD_E_NO_MEMORY, answer, /* makes= */ false);
        }
    } else if (!alone && rc == LOCKD_E_DENIED) {
        show_denied(ctl, acl);
    } else if (alone || rc != LOCKD_E_NO_NODE) { /* Else it went meanwhile. */
        code = report(ctl, name, rc, answer, /* makes= */ false);
    }
    lockd_answer_free(answer);
    free(name);
    return code;
}

static enum exit_code list_all(const struct lockctl *ctl, const char *folder)
{
    enum exit_code code = EXIT_DONE;
    char *after = NULL;
    bool more = true;
    while (more && code == EXIT_DONE) {
        struct lockd_answer *page = NULL;
        const enum lockd_rc rc = lockd_list(ctl->client, folder, after, /* limit= */ 0,
                                            /* options= */ NULL, (int)ctl->timeout_ms, &page);
        if (rc == LOCKD_E_NO_NODE) {
            note(ctl, folder, "there are no ACLs yet");
        } else if (rc != LOCKD_OK) {
            code = report(ctl, folder, rc, page, /* makes= */ false);
        }
        const size_t count = rc == LOCKD_OK ? page->entries_count : 0;
        for (size_t i = 0; i < count && code == EXIT_DONE; i++) {
            if (page->entries[i].stat.kind == LOCKD_FILE) {
                code = list_one(ctl, folder, page->entries[i].name, /* alone= */ false);
            }
        }
        free(after);
        after = count > 0 ? strdup(page->entries[count - 1].name) : NULL;
        more = after != NULL && page->more;
        lockd_answer_free(page);
    }
    free(after);
    return code;
}

static enum exit_code list_acls(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    if (argc - optind > 1) {
        return usage_error(ctl, "at most one ACL is expected");
    }
    char *folder = full_name(ctl, "acl");
    if (folder == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = argc == optind
                                    ? list_all(ctl, folder)
                                    : list_one(ctl, folder, argv[optind], /* alone= */ true);
    free(folder);
    return code;
}

/* ------------------------------------------------------------------- command */

enum exit_code cmd_acl(struct lockctl *ctl, int argc, char **argv)
{
    static const struct {
        const char *name;
        enum exit_code (*run)(struct lockctl *ctl, int argc, char **argv);
    } parts[] = {{"get", get_acl}, {"set", set_acl}, {"ls", list_acls}};
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    next_option(ctl, argc, argv, "+h", options); /* Returns only at the end of them. */
    for (size_t i = 0; optind < argc && i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(argv[optind], parts[i].name) == 0) {
            argc -= optind;
            argv += optind;
            optind = 0; /* Makes getopt begin anew. */
            return parts[i].run(ctl, argc, argv);
        }
    }
    return usage_error(ctl, "get, set or ls is expected");
}
