/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl.c -- the command line of a cell: options, and the table of subcommands.
 *
 * Every global option has an environment variable, so that a script sets them
 * once; what stands on the command line wins.
 */
#include "tools/lockctl.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ENDPOINTS "127.0.0.1:7400"
enum { DEFAULT_TIMEOUT_MS = 10000 };
enum { DURATION_MS_MAX = INT_MAX };          /* liblockd takes timeouts as int. */
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1) /* No generation passes it. */

static const struct command commands[] = {
    {"get", cmd_get, BY_HAND,
     "[--level L] [--max-age D] [--instance I] NAME\n"
     "       lockctl [OPTION]... get [--cache | --level L] [--every D] [--count N] NAME",
     "Write a file's content to standard output, octet for octet.\n"
     "\n"
     "  --level L      how new: linearizable (the default); lease, the same by the master's\n"
     "                 clock; sequential or stale, of any replica (exit 75: none is so new)\n"
     "  --max-age D    of a replica whose state is not older, with sequential and stale\n"
     "  --instance I   only if it is this instance, and not one made again since (exit 65)\n"
     "  --every D      again and again, a line each with the time, where the answer came\n"
     "                 from, how long that took, the revision and the content; until a signal\n"
     "  --cache        in a session that keeps what it reads: so from memory, mostly (default\n"
     "                 every 1s)\n"
     "  --count N      end after N times\n"},
    {"put", cmd_put, BY_THREAD, "[--if-generation N] NAME [VALUE | @FILE | -]",
     "Write a file whole; makes it if it is missing, in a directory that exists.\n"
     "\n"
     "  VALUE   the content; @FILE takes it from a file, - or nothing from standard\n"
     "          input; @@ at the start stands for a single @.  A VALUE that starts\n"
     "          with - stands behind --.\n"
     "  --if-generation N   write only if the file's generation is N; 0: only if the\n"
     "          file does not exist\n"},
    {"mkdir", cmd_mkdir, BY_THREAD, "[-p] NAME",
     "Make a directory.\n"
     "\n"
     "  -p, --parents   make those above it too, and don't mind if they exist\n"},
    {"ls", cmd_ls, BY_THREAD, "[-l] [--level L] [--max-age D] [NAME]",
     "List a directory, in the order of the names' octets.\n"
     "\n"
     "  -l, --long   kind, life, generation, size, revision, time and lock token of each;\n"
     "               of one that you may not read: \"denied\"\n"
     "  --level L, --max-age D   as with get\n"},
    {"stat", cmd_stat, BY_THREAD, "[--level L] [--max-age D] [--instance I] NAME",
     "Show all about a file or directory but its content.\n"
     "\n"
     "  --level L, --max-age D   as with get\n"
     "  --instance I   only if it is this instance, and not one made again since (exit 65)\n"},
    {"rm", cmd_rm, BY_THREAD, "[--if-generation N] NAME",
     "Delete a file or an empty directory.\n"
     "\n"
     "  --if-generation N   only if its generation is N\n"},
    {"acl", cmd_acl, BY_THREAD,
     "get [--level L] [--max-age D] NAME\n"
     "       lockctl [OPTION]... acl set [--read A] [--write A] [--change A]\n"
     "                           [--if-generation N] NAME\n"
     "       lockctl [OPTION]... acl ls [ACL]",
     "Show and set who may read, write and change nodes; list the ACLs.\n"
     "\n"
     "A node names three ACLs, and a new one those of its directory.  An ACL is a file of\n"
     "the cell, acl/A: a principal a line, * is anyone, from # on it is a remark.  anyone,\n"
     "or \"\", in the place of a name is anyone; a name without a file is nobody.  Which\n"
     "principal you are, the endpoint decides: see principal and listeners in lockd.conf(5).\n"
     "\n"
     "  --read A     content, metadata, names of children, who holds the lock, events\n"
     "  --write A    content, children, the lock, deletion\n"
     "  --change A   these three names, to see and to set\n"
     "  --if-generation N   only if the node's acl_generation is N\n"
     "\n"
     "The first ACL, as ADMIN, the principal of the endpoint that you use for all this:\n"
     "\n"
     "  lockctl mkdir acl\n"
     "  lockctl put acl/admins ADMIN\n"
     "  lockctl acl ls admins                # is it you?  What follows takes it from others\n"
     "  lockctl acl set --write admins --change admins acl/admins\n"
     "  lockctl acl set --write admins --change admins acl\n"
     "  lockctl acl set --change admins /ls/local\n"
     "\n"
     "Who has locked himself out: on the machine of the master, as its user,\n"
     "\n"
     "  lockctl --endpoints unix:DATA_DIR/lockd.sock acl set --change anyone /ls/local\n"},
    {"lock", cmd_lock, BY_HAND,
     "[--shared] [--try | --timeout D] [--lease D] [--lock-delay D] NAME [-- CMD ARG...]",
     "Hold a lock while CMD runs; without CMD, until SIGINT, SIGTERM or SIGHUP.\n"
     "\n"
     "Makes the file NAME if it is missing, and waits for its turn for ever.  CMD finds\n"
     "LOCKD_NAME, LOCKD_TOKEN, LOCKD_SEQUENCER and LOCKD_SESSION in its environment; it\n"
     "is stopped before the lease is over here, and so before anyone else may hold the\n"
     "lock.  Let what it writes to refuse any token lower than the highest it has seen.\n"
     "\n"
     "  --shared      together with others who want it shared\n"
     "  --try         don't wait\n"
     "  --timeout D   wait so long for the lock\n"
     "  --lease D     how soon others get the lock after this host is cut off, 1s to 60s\n"
     "                (default 12s); CMD is stopped 3 s earlier, or a quarter of less\n"
     "                than 12 s\n"
     "  --lock-delay D   after this host is cut off and the lease is over, keep the lock\n"
     "                closed for so long besides, up to 60s (default 0): time for what it\n"
     "                sent to arrive, where receivers check no token\n"
     "\n"
     "With lockctl -v it says whom it waits for.\n"
     "\n"
     "Exit: CMD's status, or 128+N when signal N ended it; 126, 127 if it can't be run;\n"
     "75 not acquired in time; 79 the lock was lost, and CMD is stopped.\n"},
    {"locks", cmd_locks, BY_THREAD, "[NAME]",
     "Show who holds and who awaits a lock, or all locks, in the order of service.\n"
     "\n"
     "One whose holder failed may be closed by its lock-delay: who it was, what is left.\n"},
    {"check", cmd_check, BY_THREAD, "SEQUENCER",
     "Is a lock held as a sequencer says, now?  Exit 0 valid, 79 not valid.\n"},
    {"fence", cmd_fence, BY_HAND, "FILE NAME TOKEN | FILE SEQUENCER",
     "Was a higher token accepted before?  Asks no cell, but FILE.  Exit 0 no, 79 stale.\n"
     "\n"
     "For scripts that receive what is done under a lock: accepts a token that is at least\n"
     "the highest that was accepted for NAME, and keeps it in FILE.  Hold a lock of the\n"
     "script's own over this and what it guards.  NAME is compared as it stands; give it\n"
     "always in the same form.\n"},
    {"open", cmd_open, BY_HAND,
     "[--ephemeral] [--directory] [--exclusive] [--lease D] NAME [VALUE] [-- CMD ARG...]",
     "Have a node open while CMD runs; without CMD, until SIGINT, SIGTERM or SIGHUP.\n"
     "\n"
     "Makes the node if it is missing, a file with VALUE as put has it.  CMD finds\n"
     "LOCKD_NAME, LOCKD_INSTANCE and LOCKD_SESSION in its environment, and is stopped\n"
     "before the lease is over.\n"
     "\n"
     "  --ephemeral   what is made goes when nobody has it open any more\n"
     "  --directory   a directory instead of a file\n"
     "  --exclusive   only if it does not exist (else exit 65)\n"
     "  --lease D     how soon it is closed after this host is cut off, 1s to 60s\n"
     "                (default 12s)\n"},
    {"elect", cmd_elect, BY_HAND,
     "[--try | --timeout D] [--lease D] [--lock-delay D] NAME VALUE [-- CMD ARG...]",
     "Lead while CMD runs; without CMD, until SIGINT, SIGTERM or SIGHUP.\n"
     "\n"
     "Waits until it is its turn to lead, then writes VALUE (as put has it) to the file\n"
     "NAME: what observers are told of the leader.  All else is as with lock, which see;\n"
     "LOCKD_TOKEN is the leader's term.\n"},
    {"observe", cmd_observe, BY_HAND, "[--once | --count N] NAME",
     "Print who leads, and every change of it: one JSON object a line.\n"
     "\n"
     "Members: name, token (the term; null: nobody leads), value or value_base64, revision.\n"
     "\n"
     "  --once      only who leads now\n"
     "  --count N   end after N lines\n"},
    {"watch", cmd_watch, BY_HAND,
     "[--recursive | --children] [--kinds K,K..] [--from REV] [--content] [--old-content]\n"
     "                     [--instance I] [--count N] [--keep-going] NAME [-- CMD ARG...]",
     "Print changes of a node, one JSON object a line, or run CMD for each.\n"
     "\n"
     "Each change once, in order, also over fail-over; one of kind \"gap\" says that those up\n"
     "to its revision may be missing.  lockctl(1) lists the members, and the LOCKD_EVENT_*\n"
     "that CMD finds in its environment; the object stands on CMD's standard input.\n"
     "\n"
     "  -r, --recursive   the node and all below it\n"
     "  --children    the nodes right below it\n"
     "  --kinds K,..  of content, child, acl, lock, delete, conflict (default all)\n"
     "  --from REV    the changes above this revision, else those from now on\n"
     "  --content, --old-content   with contents, as far as the cell keeps them (4 KiB)\n"
     "  --instance I  only while the node is this instance\n"
     "  --count N     end after N events\n"
     "  --keep-going  go on when CMD fails; else its status is the exit status\n"
     "\n"
     "With lockctl -v it says from which revision to go on when it ends.\n"},
    {"status", cmd_status, BY_HAND, "[--wait D]",
     "Show the replicas, the master, and how many more failures the cell survives.\n"
     "\n"
     "All endpoints are asked and each tells its own view; the master's counts.\n"
     "\n"
     "  --wait D   wait up to D until a master serves\n"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ------------------------------------------------------------------ help */

static void print_help(void)
{
    printf("Usage: lockctl [OPTION]... COMMAND [ARGUMENT]...\n"
           "Files, locks and state of a lockd cell.\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-7s %.*s\n", commands[i].name, (int)strcspn(commands[i].text, "\n"),
               commands[i].text);
    }
    printf("\n"
           "Options stand before the command:\n"
           "      --endpoints A,B,..  replicas as HOST[:PORT], one that runs is enough; or\n"
           "                          unix:PATH, its local socket (LOCKD_ENDPOINTS, default\n"
           "                          " DEFAULT_ENDPOINTS ")\n"
           "  -o, --output FORMAT     simple, json or table (LOCKD_OUTPUT, default simple)\n"
           "      --timeout D         bounds each exchange with the cell: a number with\n"
           "                          ms, s, m or h; bare means seconds (LOCKD_TIMEOUT,\n"
           "                          default 10s)\n"
           "  -v, --verbose           say on standard error what goes on (LOCKD_VERBOSE=1)\n"
           "  -h, --help              this, or behind COMMAND more about it\n"
           "  -V, --version\n"
           "\n"
           "A bare NAME means /ls/local/NAME.\n"
           "\n"
           "Exit: 0 done; 64 usage, bad name, too large; 65 conflict, exists, not empty;\n"
           "66 no such node or ACL; 69 no master reached, not executed; 73 outcome unknown;\n"
           "75 overloaded, lock not acquired, no state so new; 77 denied; 79 session or lock\n"
           "lost, sequencer not valid; 1 other.\n");
}

static void print_command_help(const struct command *command)
{
    printf("Usage: lockctl [OPTION]... %s %s\n%s", command->name, command->usage,
           command->text);
}

enum exit_code usage_error(const struct lockctl *ctl, const char *format, ...)
{
    const bool named = ctl->command != NULL;
    va_list arguments;
    fprintf(stderr, named ? "lockctl: %s: " : "lockctl: %s", named ? ctl->command->name : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "; see lockctl %s%s--help\n", named ? ctl->command->name : "",
            named ? " " : "");
    return EXIT_USAGE;
}

/* --------------------------------------------------------------- options */

static const struct option global_options[] = {
    {"endpoints", required_argument, NULL, 'e'},
    {"output", required_argument, NULL, 'o'},
    {"timeout", required_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Does a word that starts with -- give a global option? */
static bool is_global(const char *word)
{
    for (const struct option *o = global_options; o->name != NULL; o++) {
        const size_t size = strlen(o->name);
        if (strncmp(word + 2, o->name, size) == 0 &&
            (word[2 + size] == 0 || word[2 + size] == '=')) {
            return true;
        }
    }
    return false;
}

static void refuse_option(const struct lockctl *ctl, int argc, char **argv)
{
    /* getopt has stepped past a long option, but may be within a short one. */
    const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    const bool is_long = strncmp(word, "--", 2) == 0;
    if (ctl->command != NULL && (is_long ? is_global(word) : optopt == 'o' || optopt == 'v')) {
        usage_error(ctl, "the option %s stands before the command",
                    is_long ? word : (optopt == 'o' ? "-o" : "-v"));
    } else if (!is_long && optopt != 0) {
        usage_error(ctl, "the option -%c is unknown or lacks its argument", optopt);
    } else {
        usage_error(ctl, "the option %s is unknown or lacks its argument", word);
    }
    exit(EXIT_USAGE);
}

int next_option(const struct lockctl *ctl, int argc, char **argv, const char *shorts,
                const struct option *longs)
{
    opterr = 0;
    const int option = getopt_long(argc, argv, shorts, longs, NULL);
    if (option == 'h' && ctl->command != NULL) {
        print_command_help(ctl->command);
        exit(EXIT_DONE);
    }
    if (option == '?' || option == ':') {
        refuse_option(ctl, argc, argv);
    }
    return option;
}

void no_options(const struct lockctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const int option = next_option(ctl, argc, argv, "h", options);
    assert(option == -1);
    (void)option;
}

bool parse_number(const char *text, uint64_t *ret_number)
{
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0 || number > NUMBER_MAX) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool take_count(const struct lockctl *ctl, uint64_t *ret_count)
{
    if (!parse_number(optarg, ret_count) || *ret_count == 0) {
        usage_error(ctl, "the count \"%s\" is not a number from 1", optarg);
        return false;
    }
    return true;
}

bool take_instance(const struct lockctl *ctl, uint64_t *ret_instance)
{
    if (!parse_number(optarg, ret_instance) || *ret_instance == 0) {
        usage_error(ctl, "the instance \"%s\" is not a number from 1", optarg);
        return false;
    }
    return true;
}

bool parse_duration(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"", 1000}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 15) {
        return false;
    }
    char *end;
    const double number = strtod(text, &end);
    for (size_t i = 0; end == text + digits && i < sizeof units / sizeof units[0]; i++) {
        const double ms = number * units[i].ms;
        if (strcmp(end, units[i].unit) == 0 && ms <= (double)DURATION_MS_MAX) {
            *ret_ms = (uint64_t)ms;
            return true;
        }
    }
    return false;
}

static bool take_output(struct lockctl *ctl, const char *word)
{
    static const char *const words[] = {
        [OUTPUT_SIMPLE] = "simple", [OUTPUT_JSON] = "json", [OUTPUT_TABLE] = "table"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            ctl->output = (enum output)i;
            return true;
        }
    }
    usage_error(ctl, "the output \"%s\" is not simple, json or table", word);
    return false;
}

static bool take_timeout(struct lockctl *ctl, const char *word)
{
    if (!parse_duration(word, &ctl->timeout_ms) || ctl->timeout_ms == 0) {
        usage_error(ctl, "the timeout \"%s\" is not a duration such as 500ms or 10s", word);
        return false;
    }
    return true;
}

static bool take_environment(struct lockctl *ctl)
{
    const char *endpoints = getenv("LOCKD_ENDPOINTS");
    const char *output = getenv("LOCKD_OUTPUT");
    const char *timeout = getenv("LOCKD_TIMEOUT");
    const char *verbose = getenv("LOCKD_VERBOSE");
    ctl->verbose = verbose != NULL && *verbose != 0 && strcmp(verbose, "0") != 0;
    if (endpoints != NULL && *endpoints != 0) {
        ctl->endpoints = endpoints;
    }
    return (output == NULL || *output == 0 || take_output(ctl, output)) &&
           (timeout == NULL || *timeout == 0 || take_timeout(ctl, timeout));
}

static bool take_options(struct lockctl *ctl, int argc, char **argv)
{
    for (;;) {
        switch (next_option(ctl, argc, argv, "+o:vhV", global_options)) {
        case -1:
            return true;
        case 'e':
            ctl->endpoints = optarg;
            break;
        case 'o':
            if (!take_output(ctl, optarg)) {
                return false;
            }
            break;
        case 't':
            if (!take_timeout(ctl, optarg)) {
                return false;
            }
            break;
        case 'v':
            ctl->verbose = true;
            break;
        case 'h':
            print_help();
            exit(EXIT_DONE);
        case 'V':
            printf("lockctl " LOCKD_VERSION "\n");
            exit(EXIT_DONE);
        default:
            assert(false);
        }
    }
}

/* ------------------------------------------------------------------ main */

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static enum exit_code run(struct lockctl *ctl, int argc, char **argv)
{
    if (!take_environment(ctl) || !take_options(ctl, argc, argv)) {
        return EXIT_USAGE;
    }
    if (optind == argc) {
        return usage_error(ctl, "no command is given");
    }
    const struct command *command = find_command(argv[optind]);
    if (command == NULL) {
        return usage_error(ctl, "there is no command \"%s\"", argv[optind]);
    }
    const struct lockd_client_options options = {.size = sizeof options,
                                                 .endpoints = ctl->endpoints};
    enum lockd_rc rc = lockd_client_new(&options, &ctl->client);
    if (rc == LOCKD_E_INVALID) {
        return usage_error(ctl, "the endpoints \"%s\" are not HOST[:PORT] or unix:/PATH,...",
                           ctl->endpoints);
    }
    if (rc == LOCKD_OK && command->driver == BY_THREAD) {
        rc = lockd_client_start(ctl->client);
    }
    ctl->command = command;
    if (rc != LOCKD_OK) {
        return report(ctl, /* name= */ NULL, rc, /* answer= */ NULL, /* makes= */ false);
    }
    argc -= optind;
    argv += optind;
    optind = 0; /* Makes getopt begin anew. */
    return command->run(ctl, argc, argv);
}

int main(int argc, char **argv)
{
    struct lockctl ctl = {.endpoints = DEFAULT_ENDPOINTS, .timeout_ms = DEFAULT_TIMEOUT_MS};
    enum exit_code code = run(&ctl, argc, argv);
    lockd_client_free(ctl.client);
    /* What was printed but could not be written was not said. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE) {
        fprintf(stderr, "lockctl: standard output: %s\n", strerror(errno));
        code = EXIT_OTHER;
    }
    return (int)code;
}
