/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_node.c -- get, put, mkdir, ls, stat and rm.
 */
#include "tools/lockctl.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option plain_options[] = {{"help", no_argument, NULL, 'h'},
                                              {NULL, 0, NULL, 0}};
static const struct option guard_options[] = {{"if-generation", required_argument, NULL, 'g'},
                                              {"help", no_argument, NULL, 'h'},
                                              {NULL, 0, NULL, 0}};

static struct wire_request request_of(enum wire_method method, const char *name)
{
    return (struct wire_request){.method = method,
                                 .name = text_of(name),
                                 .if_generation = WIRE_ANY,
                                 .if_instance = WIRE_ANY};
}

static void no_options(const struct lockctl *ctl, int argc, char **argv)
{
    const int option = next_option(ctl, argc, argv, "h", plain_options);
    assert(option == -1);
    (void)option;
}

/* Reads --if-generation, the only option.  False: refused with a message. */
static bool take_guard(const struct lockctl *ctl, int argc, char **argv,
                       uint64_t *ret_generation)
{
    *ret_generation = WIRE_ANY;
    while (next_option(ctl, argc, argv, "h", guard_options) == 'g') {
        if (!parse_number(optarg, ret_generation)) {
            usage_error(ctl, "the generation \"%s\" is not a number", optarg);
            return false;
        }
    }
    return true;
}

/* The one NAME behind the options, in full; NULL: refused with a message. */
static char *only_name(const struct lockctl *ctl, int argc, char **argv)
{
    if (argc - optind != 1) {
        usage_error(ctl, argc == optind ? "no NAME is given" : "more than one NAME is given");
        return NULL;
    }
    return full_name(ctl, argv[optind]);
}

/* ------------------------------------------------------------------- reading */

enum exit_code cmd_get(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const struct wire_request request = request_of(WIRE_NODE_GET, name);
    struct wire_reply reply;
    enum exit_code code = call(ctl, &request, &reply);
    if (code == EXIT_DONE && ctl->output == OUTPUT_JSON) {
        code = print_result(ctl);
    } else if (code == EXIT_DONE && reply.content.size > 0) {
        fwrite(reply.content.data, 1, reply.content.size, stdout);
    }
    free(name);
    return code;
}

enum exit_code cmd_stat(struct lockctl *ctl, int argc, char **argv)
{
    no_options(ctl, argc, argv);
    char *name = only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const struct wire_request request = request_of(WIRE_NODE_STAT, name);
    struct wire_reply reply;
    enum exit_code code = call(ctl, &request, &reply);
    if (code == EXIT_DONE && ctl->output == OUTPUT_SIMPLE) {
        print_stat(&reply.stat, request.name);
    } else if (code == EXIT_DONE) {
        code = print_change(ctl, &reply, request.name);
    }
    free(name);
    return code;
}

/* One JSON object a line, so that a long list streams. */
static enum exit_code print_entries_json(const struct lockctl *ctl)
{
    const struct wire_text line = client_line(ctl->client);
    json_t *root = json_loadb(line.data, line.size, 0, NULL);
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(json_object_get(root, "result"), "entries"), i, entry)
    {
        json_dumpf(entry, stdout, JSON_COMPACT);
        fputc('\n', stdout);
    }
    json_decref(root);
    return EXIT_DONE;
}

static enum exit_code print_page(const struct lockctl *ctl, const struct wire_reply *reply,
                                 bool rows)
{
    if (ctl->output == OUTPUT_JSON) {
        return print_entries_json(ctl);
    }
    for (uint32_t i = 0; i < reply->children_count; i++) {
        const struct wire_child *child = &reply->children[i];
        if (rows) {
            print_row(&child->stat, child->name);
        } else {
            printf("%.*s\n", (int)child->name.size, child->name.data);
        }
    }
    return EXIT_DONE;
}

static enum exit_code list_pages(const struct lockctl *ctl, const char *name, bool rows)
{
    struct wire_request request = request_of(WIRE_NODE_LIST, name);
    struct wire_reply reply = {.more = true};
    char *after = NULL;
    enum exit_code code = EXIT_DONE;
    if (ctl->output == OUTPUT_TABLE) {
        print_row_head();
    }
    while (code == EXIT_DONE && reply.more) {
        code = call(ctl, &request, &reply);
        if (code != EXIT_DONE) {
            break;
        }
        code = print_page(ctl, &reply, rows);
        if (reply.children_count == 0) {
            break;
        }
        const struct wire_text last = reply.children[reply.children_count - 1].name;
        char *copy = realloc(after, last.size);
        if (copy == NULL) {
            code = EXIT_OTHER;
            break;
        }
        after = memcpy(copy, last.data, last.size);
        request.after = (struct wire_text){.data = after, .size = last.size};
    }
    free(after);
    return code;
}

enum exit_code cmd_ls(struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {
        {"long", no_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool rows = ctl->output == OUTPUT_TABLE;
    while (next_option(ctl, argc, argv, "lh", options) == 'l') {
        rows = true;
    }
    char *name = argc == optind ? full_name(ctl, NULL) : only_name(ctl, argc, argv);
    if (name == NULL) {
        return EXIT_USAGE;
    }
    const enum exit_code code = list_pages(ctl, name, rows);
    free(name);
    return code;
}

/* ------------------------------------------------------------------- writing */

/* Reads a stream to its end, or to the size at which no request fits. */
static bool read_all(FILE *in, struct wire_buffer *ret_content)
{
    char data[16 * 1024];
    size_t size;
    while (ret_content->size < WIRE_LINE_MAX && (size = fread(data, 1, sizeof data, in)) > 0) {
        wire_append(ret_content, data, size);
    }
    if (ret_content->failed) {
        errno = ENOMEM;
    }
    return !ferror(in) && !ret_content->failed;
}

/* Says why a value could not be read; false. */
static bool no_value(const struct lockctl *ctl, const char *source)
{
    fprintf(stderr, "lockctl: %s: %s: %s\n", ctl->command->name, source, strerror(errno));
    return false;
}

/* The content that a VALUE stands for.  False: refused with a message. */
static bool take_value(const struct lockctl *ctl, const char *value,
                       struct wire_buffer *ret_content)
{
    if (value == NULL || strcmp(value, "-") == 0) {
        return read_all(stdin, ret_content) || no_value(ctl, "standard input");
    }
    if (value[0] != '@' || value[1] == '@') {
        value += value[0] == '@';
        wire_append(ret_content, value, strlen(value));
        return true;
    }
    FILE *file = fopen(value + 1, "rbe");
    const bool ok = (file != NULL && read_all(file, ret_content)) || no_value(ctl, value + 1);
    if (file != NULL) {
        fclose(file);
    }
    return ok;
}

static enum exit_code put(const struct lockctl *ctl, const char *name, const char *value,
                          uint64_t if_generation)
{
    struct wire_buffer content = {.data = NULL};
    struct wire_request request = request_of(WIRE_NODE_PUT, name);
    struct wire_reply reply;
    enum exit_code code = EXIT_USAGE;
    if (take_value(ctl, value, &content)) {
        request.has_content = true;
        request.content = (struct wire_text){.data = content.data, .size = content.size};
        request.if_generation = if_generation;
        code = call(ctl, &request, &reply);
    }
    if (code == EXIT_DONE) {
        code = print_change(ctl, &reply, request.name);
    }
    wire_buffer_free(&content);
    return code;
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

static struct wire_request directory_request(const char *name, size_t size)
{
    struct wire_request request = request_of(WIRE_NODE_CREATE, "");
    request.name = (struct wire_text){.data = name, .size = size};
    request.kind = WIRE_DIRECTORY;
    return request;
}

static enum exit_code make_directory(const struct lockctl *ctl, const char *name)
{
    const struct wire_request request = directory_request(name, strlen(name));
    struct wire_reply reply;
    const enum exit_code code = call(ctl, &request, &reply);
    return code == EXIT_DONE ? print_change(ctl, &reply, request.name) : code;
}

/* Makes what is missing from the top downwards.  The last word is a stat, which
 * tells a directory that was there from a file that is in the way. */
static enum exit_code make_parents(const struct lockctl *ctl, const char *name)
{
    struct wire_reply reply;
    size_t size = strcspn(name + strlen("/ls/"), "/") + strlen("/ls/");
    while (name[size] != 0) {
        size += 1 + strcspn(name + size + 1, "/");
        const struct wire_request request = directory_request(name, size);
        const enum exit_code code = call_any(ctl, &request, &reply);
        if (code != EXIT_DONE) {
            return code;
        }
        if (reply.error != WIRE_OK && reply.error != WIRE_EXISTS) {
            return report(ctl, &request, &reply);
        }
    }
    const struct wire_request request = request_of(WIRE_NODE_STAT, name);
    const enum exit_code code = call(ctl, &request, &reply);
    if (code == EXIT_DONE && reply.stat.kind != WIRE_DIRECTORY) {
        const struct wire_reply refusal = {.error = WIRE_EXISTS,
                                           .message = text_of("a file of that name exists")};
        return report(ctl, &request, &refusal);
    }
    return code == EXIT_DONE ? print_change(ctl, &reply, request.name) : code;
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
    struct wire_request request = request_of(WIRE_NODE_DELETE, name);
    struct wire_reply reply;
    request.if_generation = if_generation;
    enum exit_code code = call(ctl, &request, &reply);
    if (code == EXIT_DONE) {
        code = print_change(ctl, &reply, request.name);
    }
    free(name);
    return code;
}
