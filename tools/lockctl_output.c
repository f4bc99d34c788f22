/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_output.c -- names, results and errors as lockctl shows them.
 *
 * Results go to standard output, everything else to standard error.  A message
 * names the command, the node, what is wrong, and what to do about it.
 */
#include "tools/lockctl.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HERE "/ls/local"

struct wire_text text_of(const char *word)
{
    return (struct wire_text){.data = word, .size = strlen(word)};
}

char *full_name(const struct lockctl *ctl, const char *text)
{
    const bool bare = text == NULL || text[0] != '/';
    char *name = NULL;
    if (text != NULL && *text == 0) {
        usage_error(ctl, "the name is empty");
        return NULL;
    }
    if (!bare && strncmp(text, "/ls/", 4) != 0) {
        usage_error(ctl, "the name %s is neither bare nor below /ls/", text);
        return NULL;
    }
    if (text != NULL && !wire_is_text(text_of(text))) {
        usage_error(ctl, "the name is not UTF-8, or has control characters");
        return NULL;
    }
    if (asprintf(&name, "%s%s%s", bare ? HERE : "", bare && text != NULL ? "/" : "",
                 text != NULL ? text : "") < 0) {
        usage_error(ctl, "out of memory");
        return NULL;
    }
    return name;
}

/* ------------------------------------------------------------------- errors */

/* A server's words for a terminal: nothing that it would obey. */
static void put_clean(struct wire_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        fputc(c < 0x20 || c == 0x7f ? '?' : c, stderr);
    }
}

static void put_subject(const struct lockctl *ctl, struct wire_text name)
{
    fprintf(stderr, "lockctl: %s", ctl->command->name);
    if (name.size > 0) {
        fprintf(stderr, " %.*s", (int)name.size, name.data);
    }
    fputs(": ", stderr);
}

enum exit_code report_no_master(const struct lockctl *ctl, struct wire_text name)
{
    put_subject(ctl, name);
    fprintf(stderr, "no master was reached within %llu ms, so nothing was done; asked were\n",
            (unsigned long long)ctl->timeout_ms);
    for (size_t i = 0; i < client_endpoints(ctl->client); i++) {
        const char *trouble = client_trouble(ctl->client, i);
        fprintf(stderr, "  %s: ", client_endpoint(ctl->client, i));
        put_clean(text_of(*trouble == 0 ? "not asked in time" : trouble));
        fputc('\n', stderr);
    }
    return EXIT_UNAVAILABLE;
}

static enum exit_code report_unknown(const struct lockctl *ctl, struct wire_text name)
{
    put_subject(ctl, name);
    fprintf(stderr,
            "the outcome is unknown: no answer came, and it may or may not have been done; "
            "look with: lockctl stat %.*s\n",
            (int)name.size, name.data);
    return EXIT_UNKNOWN;
}

static enum exit_code exit_code_of(enum wire_error error)
{
    switch (error) {
    case WIRE_OK:
        return EXIT_DONE;
    case WIRE_BAD_NAME:
    case WIRE_TOO_LARGE:
        return EXIT_USAGE;
    case WIRE_CONFLICT:
    case WIRE_LOCKED:
    case WIRE_STALE_HANDLE:
    case WIRE_EXISTS:
    case WIRE_NOT_EMPTY:
    case WIRE_WRONG_KIND:
    case WIRE_OLD_EPOCH:
        return EXIT_CONFLICT;
    case WIRE_NO_NODE:
        return EXIT_NO_NODE;
    case WIRE_NOT_MASTER:
    case WIRE_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case WIRE_UNKNOWN_OUTCOME:
        return EXIT_UNKNOWN;
    case WIRE_LOCK_DELAY:
    case WIRE_OVERLOADED:
        return EXIT_AGAIN;
    case WIRE_DENIED:
        return EXIT_DENIED;
    case WIRE_SESSION_EXPIRED:
        return EXIT_LOST;
    case WIRE_PARSE_ERROR:
    case WIRE_INVALID_REQUEST:
    case WIRE_METHOD_NOT_FOUND:
    case WIRE_INVALID_PARAMS:
    default:
        return EXIT_OTHER;
    }
}

/* The name of the directory that a node stands in. */
static struct wire_text parent_of(struct wire_text name)
{
    while (name.size > 0 && name.data[name.size - 1] != '/') {
        name.size--;
    }
    name.size -= name.size > 0;
    return name;
}

/* What to do, behind what is wrong; nothing where that says it. */
static void put_advice(const struct wire_request *request, const struct wire_reply *reply)
{
    const struct wire_text parent = parent_of(request->name);
    /* Only a put on the condition that the file is there can miss it; any other
     * makes it, and so misses what it would stand in. */
    const bool makes = request->method == WIRE_NODE_CREATE ||
                       (request->method == WIRE_NODE_PUT &&
                        (request->if_generation == 0 || request->if_generation == WIRE_ANY));
    if (reply->error == WIRE_NO_NODE && makes) {
        fprintf(stderr, "; make its directory with: lockctl mkdir -p %.*s", (int)parent.size,
                parent.data);
    } else if (reply->error == WIRE_CONFLICT && reply->has_stat) {
        fprintf(stderr, ": it is %llu, at revision %llu",
                (unsigned long long)reply->stat.generation,
                (unsigned long long)reply->stat.revision);
    } else if (reply->error == WIRE_NOT_EMPTY) {
        fputs("; delete what is in it first", stderr);
    } else if (reply->error == WIRE_BAD_NAME) {
        fputs("; names are /ls/CELL/ and components of 1 to 255 octets joined by single /, "
              "not . or ..",
              stderr);
    } else if (reply->error == WIRE_UNKNOWN_OUTCOME && request->name.size > 0) {
        fprintf(stderr, "; look with: lockctl stat %.*s", (int)request->name.size,
                request->name.data);
    }
}

enum exit_code report(const struct lockctl *ctl, const struct wire_request *request,
                      const struct wire_reply *reply)
{
    assert(reply->error != WIRE_OK);
    put_subject(ctl, request->name);
    put_clean(reply->message);
    put_advice(request, reply);
    fputc('\n', stderr);
    return exit_code_of(reply->error);
}

enum exit_code call_any(const struct lockctl *ctl, const struct wire_request *request,
                        struct wire_reply *ret_reply)
{
    switch (client_call(ctl->client, request, ret_reply)) {
    case CLIENT_ANSWERED:
        return EXIT_DONE;
    case CLIENT_NO_MASTER:
        return report_no_master(ctl, request->name);
    case CLIENT_UNKNOWN:
        return report_unknown(ctl, request->name);
    case CLIENT_TOO_LARGE:
        put_subject(ctl, request->name);
        fputs("the content is too large for a request\n", stderr);
        return EXIT_USAGE;
    case CLIENT_NO_MEMORY:
    default:
        put_subject(ctl, request->name);
        fputs("out of memory\n", stderr);
        return EXIT_OTHER;
    }
}

enum exit_code call(const struct lockctl *ctl, const struct wire_request *request,
                    struct wire_reply *ret_reply)
{
    const enum exit_code code = call_any(ctl, request, ret_reply);
    return code == EXIT_DONE && ret_reply->error != WIRE_OK ? report(ctl, request, ret_reply)
                                                            : code;
}

/* ------------------------------------------------------------------ results */

enum exit_code print_result(const struct lockctl *ctl)
{
    const struct wire_text line = client_line(ctl->client);
    json_t *root = json_loadb(line.data, line.size, 0, NULL);
    const int rc = json_dumpf(json_object_get(root, "result"), stdout, JSON_COMPACT);
    json_decref(root);
    fputc('\n', stdout);
    return rc == 0 ? EXIT_DONE : EXIT_OTHER;
}

static void time_text(uint64_t unix_ms, char ret_text[32])
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL || strftime(ret_text, 32, "%FT%TZ", &utc) == 0) {
        snprintf(ret_text, 32, "-");
    }
}

static const char *kind_text(enum wire_kind kind)
{
    return kind == WIRE_DIRECTORY ? "directory" : "file";
}

void print_row_head(void)
{
    printf("%-9s %10s %8s %10s  %-20s  %s\n", "KIND", "GENERATION", "SIZE", "REVISION",
           "MODIFIED", "NAME");
}

void print_row(const struct wire_stat *stat, struct wire_text name)
{
    char modified[32];
    time_text(stat->modified_ms, modified);
    printf("%-9s %10llu %8llu %10llu  %-20s  %.*s\n", kind_text(stat->kind),
           (unsigned long long)stat->generation, (unsigned long long)stat->size,
           (unsigned long long)stat->revision, modified, (int)name.size, name.data);
}

void print_stat(const struct wire_stat *stat, struct wire_text name)
{
    char modified[32];
    time_text(stat->modified_ms, modified);
    printf("name             %.*s\nkind             %s\n", (int)name.size, name.data,
           kind_text(stat->kind));
    if (stat->kind == WIRE_DIRECTORY) {
        printf("children         %llu\n", (unsigned long long)stat->children);
    } else {
        printf("size             %llu\n", (unsigned long long)stat->size);
        printf("checksum         %016llx\n", (unsigned long long)stat->checksum);
    }
    printf("generation       %llu\ninstance         %llu\nlock_generation  %llu\n"
           "acl_generation   %llu\nrevision         %llu\nmodified         %s\n",
           (unsigned long long)stat->generation, (unsigned long long)stat->instance,
           (unsigned long long)stat->lock_generation, (unsigned long long)stat->acl_generation,
           (unsigned long long)stat->revision, modified);
}

enum exit_code print_change(const struct lockctl *ctl, const struct wire_reply *reply,
                            struct wire_text name)
{
    if (ctl->output == OUTPUT_JSON) {
        return print_result(ctl);
    }
    if (ctl->output == OUTPUT_TABLE && reply->has_stat) {
        print_row_head();
        print_row(&reply->stat, name);
    } else if (reply->has_stat) {
        printf("%.*s generation %llu revision %llu\n", (int)name.size, name.data,
               (unsigned long long)reply->stat.generation,
               (unsigned long long)reply->stat.revision);
    } else {
        printf("%.*s deleted revision %llu\n", (int)name.size, name.data,
               (unsigned long long)reply->revision);
    }
    return EXIT_DONE;
}
