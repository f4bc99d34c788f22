/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c -- lockd: arguments and what they ask for; nothing else.
 */
#include "lockd/boot.h"
#include "lockd/config.h"
#include "lockd/loop.h"
#include "lockd/trace.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* As lockctl's: 64 is the caller's mistake. */
enum { EXIT_OK = 0, EXIT_TROUBLE = 1, EXIT_USAGE = 64 };

enum { OPTION_DEV = 256, OPTION_LISTEN, OPTION_DATA_DIR, OPTION_CHECK, OPTION_LEVEL };

struct arguments {
    bool init;
    bool dev;
    bool check;
    const char *config;
    const char *listen;
    const char *data_dir;
};

const char *argp_program_version = "lockd " LOCKD_VERSION;

static const char documentation[] =
    "One replica of a lockd cell: a distributed lock and coordination service.\v"
    "`lockd init --config FILE` makes the store of a new replica, once; `lockd --config FILE` "
    "runs it until SIGTERM; `lockd --dev` runs a cell of one without any configuration.  "
    "The line replica.ready of the log has the path of the local socket, through which this "
    "machine's administrator comes in whatever the access lists say.  See lockd(8) and "
    "lockd.conf(5).";

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "the configuration of this replica", 0},
    {"check-config", OPTION_CHECK, NULL, 0, "verify the configuration, say ok, and exit", 0},
    {"dev", OPTION_DEV, NULL, 0, "a one-replica cell on loopback that initialises itself", 1},
    {"listen", OPTION_LISTEN, "HOST:PORT", 0, "with --dev: where clients connect", 1},
    {"data-dir", OPTION_DATA_DIR, "DIR", 0, "with --dev: the folder of the store", 1},
    {"log-level", OPTION_LEVEL, "LEVEL", 0, "error, warn, info (default) or debug", 2},
    {0},
};

static void check_arguments(const struct argp_state *state, const struct arguments *arguments)
{
    if (arguments->dev == (arguments->config != NULL)) {
        argp_error(state, "either --config FILE or --dev is needed");
    } else if (!arguments->dev && (arguments->listen != NULL || arguments->data_dir != NULL)) {
        argp_error(state, "--listen and --data-dir go with --dev; a configuration has fields "
                          "for them");
    } else if (arguments->init && (arguments->dev || arguments->check)) {
        argp_error(state, "init goes with --config FILE alone; --dev initialises itself");
    }
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    enum trace_level level = TRACE_INFO;
    switch (key) {
    case 'c':
        arguments->config = value;
        return 0;
    case OPTION_CHECK:
        arguments->check = true;
        return 0;
    case OPTION_DEV:
        arguments->dev = true;
        return 0;
    case OPTION_LISTEN:
        arguments->listen = value;
        return 0;
    case OPTION_DATA_DIR:
        arguments->data_dir = value;
        return 0;
    case OPTION_LEVEL:
        if (!trace_level_parse(value, &level)) {
            argp_error(state, "--log-level %s: error, warn, info or debug is expected", value);
        }
        trace_set_level(level);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0 || strcmp(value, "init") != 0) {
            argp_error(state, "\"%s\" is no command; there is only init", value);
        }
        arguments->init = true;
        return 0;
    case ARGP_KEY_END:
        check_arguments(state, arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int init(const struct config *config, const char *file)
{
    struct store_identity identity;
    char error[BOOT_ERROR_MAX];
    if (!boot_init(config, &identity, error)) {
        fprintf(stderr, "lockd: %s\n", error);
        return EXIT_TROUBLE;
    }
    printf("initialised replica %u of cell \"%s\" in %s, identity %016llx; when every replica "
           "of the cell is initialised, start each: lockd --config %s\n",
           config->replica, config->cell, config->data_dir,
           (unsigned long long)identity.identity, file);
    return EXIT_OK;
}

/* `--dev` makes its store when there is none. */
static bool open_dev(const struct config *config, struct booted *ret_booted,
                     char ret_error[BOOT_ERROR_MAX])
{
    struct store_identity identity;
    bool missing = false;
    if (boot_open(config, ret_booted, &missing, ret_error)) {
        return true;
    }
    return missing && boot_make_parents(config->data_dir, ret_error) &&
           boot_init(config, &identity, ret_error) &&
           boot_open(config, ret_booted, &missing, ret_error);
}

/* Soft limits are low for the sake of programs that use select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* listener.c copes with few. */
    }
}

static int run(const struct config *config, const char *file)
{
    struct booted booted = {0};
    char error[BOOT_ERROR_MAX];
    bool missing = false;
    if (file == NULL ? open_dev(config, &booted, error)
                     : boot_open(config, &booted, &missing, error)) {
        return loop_run(config, &booted);
    }
    if (missing) {
        fprintf(
            stderr,
            "lockd: %s: there is no store here.  For a new replica of a new cell: lockd init "
            "--config %s\nlockd: if there was one, it is lost: a replica never starts anew "
            "under its old identity\n",
            config->data_dir, file);
    } else {
        fprintf(stderr, "lockd: %s\n", error);
    }
    return EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "[init]", .doc = documentation};
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0) {
        return EXIT_USAGE;
    }
    struct config config;
    char error[CONFIG_ERROR_MAX];
    const bool read = arguments.dev
                          ? config_dev(arguments.listen, arguments.data_dir, &config, error)
                          : config_read(arguments.config, &config, error);
    if (!read) {
        fprintf(stderr, "lockd: %s\n", error);
        return EXIT_USAGE;
    }
    if (arguments.check) {
        printf("ok\n");
        return EXIT_OK;
    }
    if (arguments.init) {
        return init(&config, arguments.config);
    }
    /* A closed socket is an error of write(), not the end of the process; and a
     * closed terminal is no reason to leave the cell. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    raise_descriptor_limit();
    return run(&config, arguments.config);
}
