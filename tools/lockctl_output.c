/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_output.c -- names, results and errors as lockctl shows them.
 *
 * Results go to standard output, everything else to standard error.  A message
 * names the command, the node, what is wrong, and what to do about it.
 */
#include "tools/lockctl.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HERE "/ls/local"

enum { TROUBLE_MAX = 512 };

/* -------------------------------------------------------------------- names */

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
    if (text != NULL && !is_text(text, strlen(text))) {
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

char *only_name(const struct lockctl *ctl, int argc, char **argv)
{
    if (argc - optind != 1) {
        usage_error(ctl, argc == optind ? "no NAME is given" : "more than one NAME is given");
        return NULL;
    }
    return full_name(ctl, argv[optind]);
}

bool take_words(const struct lockctl *ctl, int argc, char **argv, int most, char **ret_name,
                char **ret_value, char ***ret_command)
{
    int count = 0;
    while (optind + count < argc && strcmp(argv[optind + count], "--") != 0) {
        count++;
    }
    const bool commanded = optind + count < argc;
    if (count == 0) {
        usage_error(ctl, "no NAME is given");
        return false;
    }
    if (commanded && optind + count + 1 == argc) {
        usage_error(ctl, "no CMD stands behind --");
        return false;
    }
    if (count > 1 + most) {
        usage_error(ctl, "options stand before NAME, and CMD behind --");
        return false;
    }
    if (ret_value != NULL) {
        *ret_value = count > 1 ? argv[optind + 1] : NULL;
    }
    *ret_command = commanded ? &argv[optind + count + 1] : NULL;
    *ret_name = full_name(ctl, argv[optind]);
    return *ret_name != NULL;
}

/* ------------------------------------------------------------------- errors */

/* A server's words for a terminal: nothing that it would obey. */
static void put_clean(const char *text)
{
    for (; *text != 0; text++) {
        const unsigned char c = (unsigned char)*text;
        fputc(c < 0x20 || c == 0x7f ? '?' : c, stderr);
    }
}

static void put_subject(const struct lockctl *ctl, const char *name)
{
    fprintf(stderr, "lockctl: %s%s%s: ", ctl->command->name, name != NULL ? " " : "",
            name != NULL ? name : "");
}

void complain(const struct lockctl *ctl, const char *name, const char *format, ...)
{
    va_list arguments;
    put_subject(ctl, name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void note(const struct lockctl *ctl, const char *name, const char *format, ...)
{
    if (!ctl->verbose) {
        return;
    }
    va_list arguments;
    put_subject(ctl, name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static enum exit_code exit_code_of(enum lockd_rc rc)
{
    switch (rc) {
    case LOCKD_OK:
        return EXIT_DONE;
    case LOCKD_E_BAD_NAME:
    case LOCKD_E_TOO_LARGE:
    case LOCKD_E_INVALID:
        return EXIT_USAGE;
    case LOCKD_E_CONFLICT:
    case LOCKD_E_LOCKED:
    case LOCKD_E_EXISTS:
    case LOCKD_E_NOT_EMPTY:
    case LOCKD_E_WRONG_KIND:
    case LOCKD_E_STALE:
        return EXIT_CONFLICT;
    case LOCKD_E_NO_NODE:
    case LOCKD_E_NO_ACL:
        return EXIT_NO_NODE;
    case LOCKD_E_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case LOCKD_E_UNKNOWN:
        return EXIT_UNKNOWN;
    case LOCKD_E_TIMEOUT:
    case LOCKD_E_OVERLOADED:
    case LOCKD_E_LOCK_DELAY:
    case LOCKD_E_TOO_OLD:
        return EXIT_AGAIN;
    case LOCKD_E_DENIED:
        return EXIT_DENIED;
    case LOCKD_E_EXPIRED:
    case LOCKD_E_NOT_HELD:
        return EXIT_LOST;
    case LOCKD_E_CANCELLED:
    case LOCKD_E_CLOSED:
    case LOCKD_E_NO_MEMORY:
    case LOCKD_E_SYSTEM:
    case LOCKD_E_PROTOCOL:
        return EXIT_OTHER;
    }
    return EXIT_OTHER;
}

static void put_no_master(const struct lockctl *ctl)
{
    char trouble[TROUBLE_MAX];
    lockd_client_trouble(ctl->client, trouble, sizeof trouble);
    fprintf(stderr, "no master was reached within %llu ms, so nothing was done",
            (unsigned long long)ctl->timeout_ms);
    if (trouble[0] != 0) {
        fputs("; ", stderr);
        put_clean(trouble);
    }
}

static void put_unknown(const char *name)
{
    fputs("the outcome is unknown: no answer came, and it may or may not have been done",
          stderr);
    if (name != NULL) {
        fprintf(stderr, "; look with: lockctl stat %s", name);
    }
}

/* What the cell says of the failure, and what to do where that doesn't say it. */
static void put_refusal(const char *name, enum lockd_rc rc, const struct lockd_answer *answer,
                        bool makes)
{
    const bool told = answer != NULL && answer->detail != NULL && answer->detail[0] != 0;
    put_clean(told ? answer->detail : lockd_strerror(rc));
    if (rc == LOCKD_E_NO_NODE && makes) {
        const char *slash = strrchr(name, '/');
        fprintf(stderr, "; make its directory with: lockctl mkdir -p %.*s",
                slash != NULL ? (int)(slash - name) : 0, name);
    } else if (rc == LOCKD_E_CONFLICT && answer != NULL && answer->has_stat) {
        fprintf(stderr, ": it is %llu, at revision %llu",
                (unsigned long long)answer->stat.generation,
                (unsigned long long)answer->stat.revision);
    } else if (rc == LOCKD_E_NOT_EMPTY) {
        fputs("; delete what is in it first", stderr);
    } else if (rc == LOCKD_E_DENIED && name != NULL) {
        fprintf(stderr,
                " to the principal that this endpoint takes you for; who may, an "
                "administrator sees with: lockctl acl get %s",
                name);
    } else if (rc == LOCKD_E_NO_ACL) {
        fputs("; make it first, a principal a line; see lockctl acl --help", stderr);
    } else if (rc == LOCKD_E_TOO_OLD) {
        fputs("; allow a larger --max-age, or ask the master with --level linearizable",
              stderr);
    } else if (rc == LOCKD_E_BAD_NAME) {
        fputs("; names are /ls/CELL/ and components of 1 to 255 octets joined by single /, "
              "not . or ..",
              stderr);
    }
}

enum exit_code report(const struct lockctl *ctl, const char *name, enum lockd_rc rc,
                      const struct lockd_answer *answer, bool makes)
{
    put_subject(ctl, name);
    if (rc == LOCKD_E_UNAVAILABLE) {
        put_no_master(ctl);
    } else if (rc == LOCKD_E_UNKNOWN) {
        put_unknown(name);
    } else {
        put_refusal(name, rc, answer, makes);
    }
    fputc('\n', stderr);
    return exit_code_of(rc);
}

/* ------------------------------------------------------------------ results */

void time_text(uint64_t unix_ms, char ret_text[32])
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL || strftime(ret_text, 32, "%FT%TZ", &utc) == 0) {
        snprintf(ret_text, 32, "-");
    }
}

static const char *kind_text(enum lockd_kind kind)
{
    return kind == LOCKD_DIRECTORY ? "directory" : "file";
}

void print_row_head(void)
{
    printf("%-9s %-9s %10s %8s %10s  %-20s  %10s  %s\n", "KIND", "LIFE", "GENERATION", "SIZE",
           "REVISION", "MODIFIED", "LOCK", "NAME");
}

void print_row(const struct lockd_stat *stat, const char *name)
{
    char modified[32], token[24];
    time_text(stat->modified_ms, modified);
    snprintf(token, sizeof token, stat->lock_token > 0 ? "%llu" : "-",
             (unsigned long long)stat->lock_token);
    printf("%-9s %-9s %10llu %8llu %10llu  %-20s  %10s  %s\n", kind_text(stat->kind),
           stat->ephemeral ? "ephemeral" : "permanent", (unsigned long long)stat->generation,
           (unsigned long long)stat->size, (unsigned long long)stat->revision, modified, token,
           name);
}

void print_denied_row(enum lockd_kind kind, const char *name)
{
    printf("%-9s %-9s %10s %8s %10s  %-20s  %10s  %s\n", kind_text(kind), "denied", "-", "-",
           "-", "-", "-", name);
}

void print_escaped(const char *octets, size_t size)
{
    const bool utf8 = is_utf8(octets, size);
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)octets[i];
        if (c == '\n') {
            fputs("\\n", stdout);
        } else if (c == '\\') {
            fputs("\\\\", stdout);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            printf("\\x%02x", c);
        } else {
            putchar(c);
        }
    }
}

void print_stat(const struct lockd_stat *stat, const char *name)
{
    char modified[32];
    time_text(stat->modified_ms, modified);
    printf("name             %s\nkind             %s%s\n", name,
           stat->ephemeral ? "ephemeral " : "", kind_text(stat->kind));
    if (stat->kind == LOCKD_DIRECTORY) {
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
    if (stat->lock_token > 0) {
        printf("lock_token       %llu\n", (unsigned long long)stat->lock_token);
    }
}

void print_change(const struct lockctl *ctl, const struct lockd_answer *answer,
                  const char *name)
{
    if (ctl->output == OUTPUT_TABLE && answer->has_stat) {
        print_row_head();
        print_row(&answer->stat, name);
    } else if (answer->has_stat) {
        printf("%s generation %llu revision %llu\n", name,
               (unsigned long long)answer->stat.generation,
               (unsigned long long)answer->stat.revision);
    } else {
        printf("%s deleted revision %llu\n", name, (unsigned long long)answer->revision);
    }
}
