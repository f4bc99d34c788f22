/* SPDX-License-Identifier: Apache-2.0
 *
 * lockcheck -- did an application get what locks and files promise?
 *
 *     lockcheck [--no-overlap] [--steps N] FILE
 *
 * FILE holds what the application recorded of its own calls, one JSON object a
 * line; `-` is standard input.  The judges are those of our own tests.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/lockcheck.h"

enum {
    EXIT_VIOLATED = 1,
    EXIT_UNDECIDED = 2,
    EXIT_USAGE_ERROR = 64,
    EXIT_BAD_HISTORY = 65,
    KEY_NO_OVERLAP = 0x100,
    KEY_STEPS,
    STEPS_DEFAULT = 200 * 1000 * 1000,
};

const char *argp_program_version = "lockcheck " LOCKD_VERSION;

struct options {
    struct application_rules rules;
    const char *file;
};

static const struct argp_option option_table[] = {
    {"no-overlap", KEY_NO_OVERLAP, NULL, 0,
     "Don't compare what hosts believed to hold: their clocks or pauses don't allow it", 0},
    {"steps", KEY_STEPS, "N", 0, "Give the search for an order up after so many steps a name",
     0},
    {0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    char *end = NULL;
    switch (key) {
    case KEY_NO_OVERLAP:
        options->rules.overlap = false;
        return 0;
    case KEY_STEPS:
        options->rules.steps_max = strtoull(argument, &end, 10);
        if (*argument < '1' || *argument > '9' || *end != '\0') {
            argp_error(state, "\"%s\" is not a number of steps", argument);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (options->file != NULL) {
            argp_error(state, "one history at a time");
        }
        options->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->file == NULL) {
            argp_error(state, "which history? (a file of JSON lines, or -)");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_violation(void *context, const struct application_violation *violation)
{
    (void)context;
    printf("%-12s  %s\n", violation->rule, violation->text);
}

static int judge(struct recording *recording, const struct options *options)
{
    struct application_verdict verdict;
    application_check(recording->ops, recording->count, &options->rules, print_violation, NULL,
                      &verdict);
    printf("%" PRIu32 " calls on %" PRIu32 " names: %" PRIu32 " violations", recording->count,
           verdict.names, verdict.violations);
    if (verdict.undecided > 0) {
        printf(", %" PRIu32 " names too busy to decide; see --steps", verdict.undecided);
    }
    printf("\n");
    if (verdict.violations > 0) {
        return EXIT_VIOLATED;
    }
    return verdict.undecided > 0 ? EXIT_UNDECIDED : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_table,
        .parser = parse_option,
        .args_doc = "FILE",
        .doc = "Judges what an application recorded of its locks and files.",
    };
    argp_err_exit_status = EXIT_USAGE_ERROR;
    struct options options = {.rules = {.steps_max = STEPS_DEFAULT, .overlap = true}};
    argp_parse(&argp, argc, argv, 0, NULL, &options);

    const bool standard = strcmp(options.file, "-") == 0;
    FILE *file = standard ? stdin : fopen(options.file, "r");
    if (file == NULL) {
        fprintf(stderr, "lockcheck: %s: %s\n", options.file, strerror(errno));
        return EXIT_BAD_HISTORY;
    }
    struct recording recording = {0};
    char error[256];
    int status = EXIT_BAD_HISTORY;
    if (recording_read(&recording, file, error, sizeof error)) {
        status = judge(&recording, &options);
    } else {
        fprintf(stderr, "lockcheck: %s: %s\n", options.file, error);
    }
    recording_free(&recording);
    if (!standard) {
        fclose(file);
    }
    return status;
}
