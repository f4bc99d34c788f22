/* SPDX-License-Identifier: Apache-2.0
 *
 * lockdump.c -- what the store of a stopped replica holds, as text.
 *
 *     lockdump DIR                everything
 *     lockdump --meta DIR         identity, members, promise, marks
 *     lockdump --log DIR          the log, entry by entry, command by command
 *     lockdump --nodes DIR        the replicated state
 *     lockdump --copy DIR OUT     all of it as a plain file for sqlite3(1)
 *
 * It changes nothing, not even what SQLite would tidy up on the way.
 */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/command.h"
#include "lease/lease.h"
#include "lockd/store.h"
#include "paxos/describe.h"

enum {
    EXIT_OTHER = 1,
    EXIT_USAGE_ERROR = 64,
    TEXT_MAX = 4096,
    KEY_LOG = 'l',
    KEY_NODES = 'n',
    KEY_META = 'm',
    KEY_COPY = 'c',
    KEY_FROM = 0x100,
    KEY_TO,
};

const char *argp_program_version = "lockdump " LOCKD_VERSION;

struct options {
    bool log, nodes, meta, copy;
    uint64_t from, to;
    const char *dir;
    const char *out;
};

static const struct argp_option option_table[] = {
    {"meta", KEY_META, NULL, 0, "Print identity, members, promise and marks", 0},
    {"log", KEY_LOG, NULL, 0, "Print the entries of the log", 0},
    {"nodes", KEY_NODES, NULL, 0, "Print the files and directories", 0},
    {"from", KEY_FROM, "SLOT", 0, "First slot of the log to print", 1},
    {"to", KEY_TO, "SLOT", 0, "Last slot of the log to print", 1},
    {"copy", KEY_COPY, NULL, 0, "Write all of it to OUT, a new SQLite file", 2},
    {0},
};

/* ----------------------------------------------------------------- options */

static uint64_t parse_slot(const char *text, struct argp_state *state)
{
    char *end = NULL;
    const uint64_t slot = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') {
        argp_error(state, "\"%s\" is not the number of a slot", text);
    }
    return slot;
}

static error_t take_argument(struct options *options, char *argument, struct argp_state *state)
{
    if (options->dir == NULL) {
        options->dir = argument;
    } else if (options->copy && options->out == NULL) {
        options->out = argument;
    } else {
        argp_error(state, "too many arguments");
    }
    return 0;
}

static void check_options(struct options *options, struct argp_state *state)
{
    const bool chosen = options->log || options->nodes || options->meta;
    if (options->dir == NULL) {
        argp_error(state, "which folder? (data_dir of the replica)");
    }
    if (options->copy && options->out == NULL) {
        argp_error(state, "--copy needs the name of a new file behind the folder");
    }
    if (options->copy && chosen) {
        argp_error(state, "--copy takes everything; it goes with no other choice");
    }
    if (!chosen) {
        options->log = options->nodes = options->meta = true;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_LOG:
        options->log = true;
        return 0;
    case KEY_NODES:
        options->nodes = true;
        return 0;
    case KEY_META:
        options->meta = true;
        return 0;
    case KEY_COPY:
        options->copy = true;
        return 0;
    case KEY_FROM:
        options->from = parse_slot(argument, state);
        return 0;
    case KEY_TO:
        options->to = parse_slot(argument, state);
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, argument, state);
    case ARGP_KEY_END:
        check_options(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---------------------------------------------------------------- printing */

static void print_boot(const struct store_boot *boot)
{
    const struct paxos_hard *hard = &boot->hard;
    printf("cell %s", boot->identity.cell);
    if (hard->cell == 0) {
        printf(" (not yet formed)\n");
    } else {
        printf(" id %016" PRIx64 "\n", hard->cell);
    }
    printf("replica %u identity %016" PRIx64 " incarnation %" PRIu64 "\n",
           boot->identity.replica, boot->identity.identity, boot->incarnation);
    printf("promised %" PRIu64 ".%u round_max %" PRIu64 " firm_ms_max %" PRIu32 "\n",
           hard->promised.round, hard->promised.id, hard->round_max, hard->firm_ms_max);
    printf("chosen %" PRIu64 " applied %" PRIu64 ":%" PRIu32 " digest %016" PRIx64 "\n",
           boot->chosen_mark, boot->applied_slot, boot->applied_position, boot->digest);
    printf("log %" PRIu64 "..%" PRIu64 "\n", boot->log_first, boot->log_last);
    printf("members %" PRIu64 " firm %s drift_ppm %" PRIu32 "\n", hard->members.number,
           hard->members.settings.firm ? "yes" : "no", hard->members.settings.drift_ppm);
    for (uint32_t i = 0; i < hard->members.count; i++) {
        const struct paxos_member *member = &hard->members.member[i];
        printf("member %u identity %016" PRIx64 " %s\n", member->id, member->identity,
               member->address);
    }
}

static void print_commands(const struct paxos_entry *entry)
{
    char text[TEXT_MAX];
    struct reader r = reader_over(entry->value.data);
    for (unsigned position = 1; read_left(&r) > 0; position++) {
        struct lease_command command;
        if (!lease_command_decode(&r, &command)) {
            printf("    %u: can't be decoded\n", position);
            return;
        }
        printf("    %u: %s\n", position, lease_command_describe(&command, text, sizeof(text)));
    }
}

static bool print_entry(void *context, const struct paxos_entry *entry)
{
    const uint64_t *chosen_mark = context;
    char text[TEXT_MAX];
    printf("%s%s\n", paxos_describe_entry(entry, text, sizeof(text)),
           entry->slot <= *chosen_mark ? "" : " (a vote; not known to be chosen)");
    if (entry->value.kind == PAXOS_COMMANDS) {
        print_commands(entry);
    }
    return true;
}

static bool print_row(void *context, const struct lease_row *row)
{
    (void)context;
    char text[TEXT_MAX];
    printf("%s\n", lease_row_describe(row, text, sizeof(text)));
    return true;
}

static bool report(const struct store *store, enum store_rc rc)
{
    if (rc != STORE_OK) {
        fflush(stdout);
        fprintf(stderr, "lockdump: %s\n", store_error(store));
    }
    return rc == STORE_OK;
}

/* Goes on behind damage: what can still be read is what one came for. */
static bool print_store(struct store *store, const struct options *options)
{
    struct store_boot boot = {0};
    bool good = report(store, store_boot(store, &boot));
    if (options->meta && good) {
        print_boot(&boot);
    }
    if (options->log) {
        good &= report(store, store_log(store, options->from, options->to, UINT32_MAX,
                                        print_entry, &boot.chosen_mark));
    }
    if (options->nodes) {
        good &= report(store, store_rows(store, print_row, NULL));
    }
    return good;
}

static int run(const struct options *options)
{
    struct store *store = NULL;
    char detail[512] = "";
    const enum store_rc rc =
        store_open(options->dir, STORE_INSPECT, &store, detail, sizeof(detail));
    if (rc != STORE_OK) {
        fprintf(stderr, "lockdump: %s\n", detail);
        if (rc == STORE_BUSY) {
            fprintf(stderr, "lockdump: stop the replica first: its store changes while one "
                            "reads\n");
        }
        return EXIT_OTHER;
    }
    bool good;
    if (options->copy) {
        good = store_copy(store, options->out, detail, sizeof(detail)) == STORE_OK;
        if (!good) {
            fprintf(stderr, "lockdump: %s\n", detail);
        }
    } else {
        good = print_store(store, options);
    }
    store_close(store);
    if (fflush(stdout) != 0) {
        perror("lockdump: standard output");
        good = false;
    }
    return good ? EXIT_SUCCESS : EXIT_OTHER;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_table,
        .parser = parse_option,
        .args_doc = "DIR\n--copy DIR OUT",
        .doc =
            "Print what the store of a stopped replica holds."
            "\vDIR is the replica's data_dir.  Without --meta, --log or --nodes, all three are "
            "printed.  Nothing in DIR is changed.\n\n"
            "Exit codes: 0; 1 the store can't be read, is damaged or in use; 64 usage.",
    };
    struct options options = {.from = 1, .to = INT64_MAX};
    argp_err_exit_status = EXIT_USAGE_ERROR;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    return run(&options);
}
