/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl.h -- what the parts of lockctl share.
 *
 * lockctl.c has main(), the options and the table of subcommands; lockctl_node.c
 * and lockctl_status.c the subcommands; lockctl_output.c names, results and
 * errors as text.
 */
#ifndef TOOLS_LOCKCTL_H
#define TOOLS_LOCKCTL_H

#include "tools/client.h"

/* Exit codes, the same for every subcommand; docs/lockctl.1 lists them. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 64,    /* Also a bad name, and what is too large. */
    EXIT_CONFLICT = 65, /* Conflict, exists, not empty, wrong kind, stale. */
    EXIT_NO_NODE = 66,
    EXIT_UNAVAILABLE = 69, /* No master was reached; certainly not executed. */
    EXIT_UNKNOWN = 73,     /* A write may or may not have been executed. */
    EXIT_AGAIN = 75,       /* Overloaded, or not acquired in time. */
    EXIT_DENIED = 77,
    EXIT_LOST = 79, /* The session or the lock ended meanwhile. */
};

enum output { OUTPUT_SIMPLE, OUTPUT_JSON, OUTPUT_TABLE };

struct lockctl {
    struct client *client;
    enum output output;
    const char *endpoints;
    uint64_t timeout_ms;
    const struct command *command; /* The one that runs. */
};

struct command {
    const char *name;
    enum exit_code (*run)(struct lockctl *ctl, int argc, char **argv);
    const char *usage; /* The words behind "lockctl NAME". */
    const char *text;  /* What --help says of it; the first line is its summary. */
};

struct option;

/* ------------------------------------------------------------------ options */

/* getopt_long() for a subcommand: -1 at the end; prints help on --help and
 * refuses what is unknown, and doesn't return then. */
int next_option(const struct lockctl *ctl, int argc, char **argv, const char *shorts,
                const struct option *longs);

/* Says what is wrong with the command line. */
__attribute__((format(printf, 2, 3))) enum exit_code usage_error(const struct lockctl *ctl,
                                                                 const char *format, ...);

/* A number with ms, s, m or h; bare means seconds. */
bool parse_duration(const char *text, uint64_t *ret_ms);
bool parse_number(const char *text, uint64_t *ret_number);

/* ------------------------------------------------------------------- output */

/* A name of the command line in full: a bare one is below /ls/local/.  malloc'ed;
 * NULL: it was refused with a message.  `text == NULL` is /ls/local itself. */
char *full_name(const struct lockctl *ctl, const char *text);

struct wire_text text_of(const char *word);

/* Runs one request and reports what prevents an answer; the reply may be an
 * error. */
enum exit_code call_any(const struct lockctl *ctl, const struct wire_request *request,
                        struct wire_reply *ret_reply);

/* The same, where any error is reported too, and is the exit code. */
enum exit_code call(const struct lockctl *ctl, const struct wire_request *request,
                    struct wire_reply *ret_reply);

/* Says why a request failed, with the name and with what to do. */
enum exit_code report(const struct lockctl *ctl, const struct wire_request *request,
                      const struct wire_reply *reply);
enum exit_code report_no_master(const struct lockctl *ctl, struct wire_text name);

/* The member `result` of the last reply, on one line. */
enum exit_code print_result(const struct lockctl *ctl);

/* A row about a node, below print_row_head(). */
void print_row_head(void);
void print_row(const struct wire_stat *stat, struct wire_text name);

/* All about a node, a line each. */
void print_stat(const struct wire_stat *stat, struct wire_text name);

/* What a change left behind: the numbers that a later command needs. */
enum exit_code print_change(const struct lockctl *ctl, const struct wire_reply *reply,
                            struct wire_text name);

/* -------------------------------------------------------------- subcommands */

enum exit_code cmd_get(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_put(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_mkdir(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_ls(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_stat(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_rm(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_status(struct lockctl *ctl, int argc, char **argv);

#endif
