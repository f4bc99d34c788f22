/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_read.h -- how a read is to be made: how new what it shows must be, of which
 * instance, and once or again and again.
 */
#ifndef TOOLS_LOCKCTL_READ_H
#define TOOLS_LOCKCTL_READ_H

#include "tools/lockctl.h"

struct reading {
    struct lockctl *ctl;
    char *name; /* In full; malloc'ed. */
    struct lockd_read_options options;
    uint64_t instance; /* LOCKD_ANY: whichever bears the name. */
    bool cache;        /* In a session that keeps what it reads. */
    uint64_t every_ms; /* 0: once. */
    uint64_t count;    /* How many times; 0: no end. */
};

/* Options of a subcommand that reads; which it has is its own affair. */
#define READ_OPTION_LEVEL                                                                      \
    {                                                                                          \
        "level", required_argument, NULL, 'L'                                                  \
    }
#define READ_OPTION_AGE                                                                        \
    {                                                                                          \
        "max-age", required_argument, NULL, 'A'                                                \
    }
#define READ_OPTION_INSTANCE                                                                   \
    {                                                                                          \
        "instance", required_argument, NULL, 'i'                                               \
    }
#define READ_OPTION_CACHE                                                                      \
    {                                                                                          \
        "cache", no_argument, NULL, 'C'                                                        \
    }
#define READ_OPTION_EVERY                                                                      \
    {                                                                                          \
        "every", required_argument, NULL, 'E'                                                  \
    }
#define READ_OPTION_COUNT                                                                      \
    {                                                                                          \
        "count", required_argument, NULL, 'n'                                                  \
    }

void reading_init(struct reading *r, struct lockctl *ctl);

/* One of these options.  False: refused with a message. */
bool reading_option(struct reading *r, int option);

/* Do they go together?  And the one NAME behind them; `optional`: if there is none it is
 * /ls/local.  False: refused with a message. */
bool reading_name(struct reading *r, int argc, char **argv, bool optional);

/* All of that, for one that has no options besides.  False: refused with a message. */
bool reading_take(struct reading *r, struct lockctl *ctl, int argc, char **argv,
                  const struct option *options);

/* Reads again and again, a line each, until a signal comes or it is enough. */
enum exit_code read_again(struct reading *r);

#endif
