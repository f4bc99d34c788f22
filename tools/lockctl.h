/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl.h -- what the parts of lockctl share.
 *
 * lockctl.c has main(), the options and the table of subcommands.  Subcommands:
 * lockctl_read.c, lockctl_again.c, lockctl_node.c, lockctl_acl.c, lockctl_lock.c,
 * lockctl_locks.c, lockctl_open.c, lockctl_elect.c, lockctl_watch.c, lockctl_fence.c,
 * lockctl_status.c.  lockctl_output.c and lockctl_json.c show names, results and errors;
 * lockctl_hold.c, lockctl_loop.c and lockctl_child.c have what the subcommands that last
 * are made of.
 */
#ifndef TOOLS_LOCKCTL_H
#define TOOLS_LOCKCTL_H

#include "libclient/lockd.h"

/* Exit codes, the same for every subcommand; docs/lockctl.1 lists them. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 64,       /* Also a bad name, and what is too large. */
    EXIT_CONFLICT = 65,    /* Conflict, exists, not empty, wrong kind, stale. */
    EXIT_NO_NODE = 66,     /* Also: no such ACL. */
    EXIT_UNAVAILABLE = 69, /* No master was reached; certainly not executed. */
    EXIT_UNKNOWN = 73,     /* A write may or may not have been executed. */
    EXIT_AGAIN = 75,       /* Overloaded, not acquired in time, or no state new enough. */
    EXIT_DENIED = 77,
    EXIT_LOST = 79, /* The session or the lock ended meanwhile; a sequencer isn't valid. */
};

enum output { OUTPUT_SIMPLE, OUTPUT_JSON, OUTPUT_TABLE };

struct lockctl {
    struct lockd_client *client;
    enum output output;
    const char *endpoints;
    uint64_t timeout_ms; /* Of each exchange with the cell. */
    bool verbose;
    const struct command *command; /* The one that runs. */
};

/* Who drives the client: a thread of its own, or the subcommand itself. */
enum driver { BY_THREAD, BY_HAND };

struct command {
    const char *name;
    enum exit_code (*run)(struct lockctl *ctl, int argc, char **argv);
    enum driver driver;
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

/* A number with ms, s, m or h; bare means seconds.  At most INT_MAX ms. */
bool parse_duration(const char *text, uint64_t *ret_ms);
bool parse_number(const char *text, uint64_t *ret_number);

/* The argument of --count: at least 1.  False: refused with a message. */
bool take_count(const struct lockctl *ctl, uint64_t *ret_count);
/* That of --instance. */
bool take_instance(const struct lockctl *ctl, uint64_t *ret_instance);

/* For a subcommand without options of its own. */
void no_options(const struct lockctl *ctl, int argc, char **argv);

/* ------------------------------------------------------------------- output */

/* A name of the command line in full: a bare one is below /ls/local/.  malloc'ed;
 * NULL: it was refused with a message.  `text == NULL` is /ls/local itself. */
char *full_name(const struct lockctl *ctl, const char *text);

/* The one NAME behind the options, in full; NULL: refused with a message. */
char *only_name(const struct lockctl *ctl, int argc, char **argv);

/* NAME, at most `most` VALUEs (0 or 1), and [-- CMD ARG...] behind the options; the
 * name in full and malloc'ed, NULL for a VALUE or CMD that isn't there.  False:
 * refused with a message. */
bool take_words(const struct lockctl *ctl, int argc, char **argv, int most, char **ret_name,
                char **ret_value, char ***ret_command);

/* The content that a VALUE stands for, malloc'ed.  NULL: refused with a message. */
char *take_value(const struct lockctl *ctl, const char *value, size_t *ret_size);

/* "lockctl: COMMAND NAME: " and the words, on standard error.  NULL: no name. */
__attribute__((format(printf, 3, 4))) void complain(const struct lockctl *ctl, const char *name,
                                                    const char *format, ...);

/* The same, but only with --verbose. */
__attribute__((format(printf, 3, 4))) void note(const struct lockctl *ctl, const char *name,
                                                const char *format, ...);

/* Says why a call failed, and what to do about it; `name` and `answer` may be
 * NULL.  `makes`: the node itself needn't exist, so what is missing is above it. */
enum exit_code report(const struct lockctl *ctl, const char *name, enum lockd_rc rc,
                      const struct lockd_answer *answer, bool makes);

/* The time of day, for people. */
void time_text(uint64_t unix_ms, char ret_text[32]);

/* A row about a node, below print_row_head(). */
void print_row_head(void);
void print_row(const struct lockd_stat *stat, const char *name);
/* The same columns of one that may not be read. */
void print_denied_row(enum lockd_kind kind, const char *name);

/* All about a node, a line each. */
void print_stat(const struct lockd_stat *stat, const char *name);

/* What a change left behind: the numbers that a later command needs. */
void print_change(const struct lockctl *ctl, const struct lockd_answer *answer,
                  const char *name);

/* Octets on one line: what is no printable text, and the backslash, as in C. */
void print_escaped(const char *octets, size_t size);

/* "linearizable", ...: the protocol's word. */
const char *level_text(enum lockd_level level);

/* With --verbose: who or what keeps a session from a lock. */
void explain_wait(const struct lockctl *ctl, const struct lockd_claims *claims,
                  const char *session);

/* "created", "written": what happened, in the protocol's word. */
const char *change_text(enum lockd_change change);

/* ------------------------------------------------------------------- JSON */

/* What an answer brought, as one object on one line, with the members that
 * docs/protocol.md gives the `result`. */
enum result {
    RESULT_CONTENT,
    RESULT_STAT,
    RESULT_ACL,
    RESULT_PUT,
    RESULT_CREATE,
    RESULT_DELETE,
    RESULT_SET_ACL,
};
void print_json_result(const struct lockd_answer *answer, enum result result);

/* One of many reads of a file: besides, when it was asked for (Unix time), how long that
 * took, whether it came from memory, and `error` if that is not NULL. */
void print_json_read(const struct lockd_answer *answer, const char *error, uint64_t asked_us,
                     uint64_t took_us);

/* Those on a list; NULL: it may not be read. */
void print_json_principals(const char *acl, const char *const *principals, size_t count);

/* One object a line, so that a long list streams. */
void print_json_entry(const struct lockd_entry *entry);
void print_json_claims(const struct lockd_claims *claims);

/* A lock that is held from now on. */
void print_json_lock(const struct lockd_lock *lock, const char *session);

/* A node that is open from now on. */
void print_json_handle(const struct lockd_handle *handle, const char *session, bool created);

/* Is a sequencer valid? */
void print_json_check(const char *sequencer, bool valid);

/* Who leads. */
void print_json_leader(const char *name, const struct lockd_leader *leader);

/* An event as one line without newline, malloc'ed; NULL: out of memory.  `content`,
 * `old`: it was asked for, so that it is said where it is left out. */
char *json_event(const struct lockd_event *event, bool content, bool old);

bool is_utf8(const char *octets, size_t size);
/* UTF-8 without control characters other than tab, CR and LF. */
bool is_text(const char *octets, size_t size);

/* -------------------------------------------------------------- subcommands */

enum exit_code cmd_get(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_put(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_mkdir(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_ls(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_stat(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_rm(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_acl(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_fence(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_lock(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_check(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_open(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_elect(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_observe(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_watch(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_locks(struct lockctl *ctl, int argc, char **argv);
enum exit_code cmd_status(struct lockctl *ctl, int argc, char **argv);

#endif
