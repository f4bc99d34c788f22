/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_hold.h -- having something of a session while a command runs: a lock, a
 * leadership, an open node.
 *
 * What is had differs in how it is got and what is said of it; that is a `struct
 * hold_kind`.  The session, the command, the signals and the lease are the same.
 */
#ifndef TOOLS_LOCKCTL_HOLD_H
#define TOOLS_LOCKCTL_HOLD_H

#include "tools/lockctl.h"
#include "tools/lockctl_child.h"
#include "tools/lockctl_loop.h"

struct hold;

struct hold_kind {
    const char *what; /* "the lock": in messages. */
    bool queues;      /* It may have to be waited for, as a lock. */
    /* The session is open: begins to get it, within `wait_ms`.  What was begun ends
     * with one of the three functions below. */
    enum lockd_rc (*get)(struct hold *h, int wait_ms);
    /* Sets what a command finds in its environment besides LOCKD_NAME and
     * LOCKD_SESSION. */
    void (*export)(const struct hold *h);
    /* Says on standard output that it is held: for one who runs no command. */
    void (*print)(const struct hold *h);
};

enum hold_phase {
    HOLD_OPENING, /* The session is not open. */
    HOLD_WAITING, /* For what is wanted. */
    HOLD_HELD,    /* And no command runs: there is none, or not yet. */
    HOLD_RUNNING,
    HOLD_STOPPING, /* The command was told to end, because the lease does. */
    HOLD_CLOSING,  /* The session is given back, and what it holds with it. */
    HOLD_OVER,
};

struct hold {
    struct lockctl *ctl;
    const struct hold_kind *kind;
    void *context;  /* The kind's. */
    char *name;     /* In full; malloc'ed. */
    char **command; /* NULL: none. */
    bool tried, timed;
    int wait_ms;
    uint32_t lease_ms;
    struct lockd_lock_options lock_options;

    struct lockd_session *session;
    struct lockd_lock *lock;     /* A lock or a leadership; else NULL. */
    struct lockd_handle *handle; /* An open node; else NULL. */

    /* lockctl_hold.c's own. */
    enum hold_phase phase;
    int code; /* The exit code, from CLOSING on. */
    bool was_held;
    bool warned; /* That no KeepAlive is answered. */
    uint32_t stop_ms, kill_ms;
    uint64_t opened_ms;
    uint64_t explain_ms; /* When to say next what is waited for. */
    struct loop loop;
    struct child child;
};

void hold_init(struct hold *h, struct lockctl *ctl, const struct hold_kind *kind,
               void *context);

/* The options that they share, by their letters: s --shared, y --try, t --timeout,
 * l --lease, d --lock-delay.  False: refused with a message. */
#define HOLD_OPTION_SHARED                                                                     \
    {                                                                                          \
        "shared", no_argument, NULL, 's'                                                       \
    }
#define HOLD_OPTION_TRY                                                                        \
    {                                                                                          \
        "try", no_argument, NULL, 'y'                                                          \
    }
#define HOLD_OPTION_TIMEOUT                                                                    \
    {                                                                                          \
        "timeout", required_argument, NULL, 't'                                                \
    }
#define HOLD_OPTION_LEASE                                                                      \
    {                                                                                          \
        "lease", required_argument, NULL, 'l'                                                  \
    }
#define HOLD_OPTION_DELAY                                                                      \
    {                                                                                          \
        "lock-delay", required_argument, NULL, 'd'                                             \
    }
bool hold_option(struct hold *h, int option);

/* Gets it, has it while the command runs, or until a signal, and gives it back.
 * Frees what `h` points at. */
enum exit_code hold_run(struct hold *h);

/* For kind->get: it is held now, ... */
void hold_got(struct hold *h);
/* ... or not, and why. */
void hold_not_got(struct hold *h, int code);
/* For what locks are asked with: a lockd_done that calls one of the two. */
void hold_on_lock(void *context, const struct lockd_answer *answer);

/* LOCKD_TOKEN and LOCKD_SEQUENCER, and the line with both: of the kinds that have a
 * lock. */
void hold_export_lock(const struct hold *h);
void hold_print_lock(const struct hold *h);

#endif
