/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd.h -- the C library of lockd: sessions, locks, elections, events and small files.
 *
 * A *client* finds the master of a cell and talks to it over one connection.
 * A *session* lives on a client, but outlives connections and masters: the
 * library keeps it alive and says what it believes of it.  *Locks* are held by a
 * session.  There are two ways to drive a client:
 *
 *   - lockd_client_start() gives it a thread of its own; then every function may
 *     be called from any thread, each has a synchronous form that blocks until
 *     its deadline at most, and callbacks run on the client's thread;
 *   - without it, the client is yours: poll lockd_fd() for lockd_events() no
 *     longer than lockd_timeout_ms(), then call lockd_process().  One thread at a
 *     time; callbacks run inside lockd_process(); synchronous forms answer
 *     LOCKD_E_INVALID, because nobody would drive them.
 *
 * Every call has a deadline and ends in one of three ways: ok, a definite
 * failure (it was not executed), or LOCKD_E_UNKNOWN.  Calls of a session are
 * executed at most once, however often the library must repeat them.
 *
 * An asynchronous form answers LOCKD_OK when the call is under way: then `done`
 * (which may be NULL) is called exactly once, later, never within the function
 * itself.  With any other answer nothing was begun and `done` is not called.
 * Timeouts are in milliseconds, or LOCKD_FOR_EVER.
 *
 * A lock does not stop a process that believes to hold it: after a pause it may
 * hold nothing.  Check lockd_lock_valid_for_ms() before each use, and let the
 * resource refuse tokens lower than the highest it has seen.
 *
 * After fork() the child may only call lockd_client_abandon(), which closes its
 * copies of the descriptors and frees the memory, and tells the cell nothing.
 *
 * The library has no global state, installs no signal handler and raises no
 * SIGPIPE.  Callbacks run without any lock of the library, one at a time.  One
 * may call any asynchronous function and may free the client, the session, the
 * lock, the watch or the observer that it is about; a synchronous form answers
 * LOCKD_E_INVALID there.  KeepAlives go between callbacks, so a single one must not
 * take as long as a lease.  Who frees a client, a session, a watch or an observer on
 * another thread waits until a callback that is running has returned.  What another
 * thread waits for, in lockd_watch_next() say, is not to be freed; the client may.
 */
#ifndef LOCKD_H
#define LOCKD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LOCKD_API __attribute__((visibility("default")))
#else
#define LOCKD_API
#endif

struct lockd_client;
struct lockd_session;
struct lockd_lock;
struct lockd_handle;
struct lockd_watch;
struct lockd_observer;

/* For a timeout: no deadline. */
#define LOCKD_FOR_EVER (-1)

/* ------------------------------------------------------------------ errors */

#define LOCKD_RC_MAP(X)                                                                        \
    X(LOCKD_OK, 0, "ok")                                                                       \
    X(LOCKD_E_UNKNOWN, 1, "it may or may not have been executed")                              \
    X(LOCKD_E_UNAVAILABLE, 2, "no master could be reached in time; not executed")              \
    X(LOCKD_E_TIMEOUT, 3, "not acquired in time")                                              \
    X(LOCKD_E_EXPIRED, 4, "the session has ended")                                             \
    X(LOCKD_E_CONFLICT, 5, "the generation is another one")                                    \
    X(LOCKD_E_LOCKED, 6, "the lock is held or awaited by others")                              \
    X(LOCKD_E_NOT_HELD, 7, "the lock is not held any more")                                    \
    X(LOCKD_E_CANCELLED, 8, "cancelled before it was granted")                                 \
    X(LOCKD_E_NO_NODE, 9, "there is no such node")                                             \
    X(LOCKD_E_EXISTS, 10, "the node exists")                                                   \
    X(LOCKD_E_NOT_EMPTY, 11, "the directory is not empty")                                     \
    X(LOCKD_E_WRONG_KIND, 12, "a directory where a file is needed, or the other way round")    \
    X(LOCKD_E_STALE, 13,                                                                       \
      "the node was deleted and made again, or the token is not the newest")                   \
    X(LOCKD_E_BAD_NAME, 14, "the name is not valid in this cell")                              \
    X(LOCKD_E_DENIED, 15, "not allowed")                                                       \
    X(LOCKD_E_TOO_LARGE, 16, "a limit on the size is exceeded")                                \
    X(LOCKD_E_OVERLOADED, 17,                                                                  \
      "the cell has too much to do, or a limit is reached; not executed")                      \
    X(LOCKD_E_CLOSED, 18, "the client or session was closed meanwhile")                        \
    X(LOCKD_E_INVALID, 19, "the call is wrong; nothing was done")                              \
    X(LOCKD_E_NO_MEMORY, 20, "out of memory")                                                  \
    X(LOCKD_E_SYSTEM, 21, "the operating system refused; see errno")                           \
    X(LOCKD_E_PROTOCOL, 22, "the server answered what the library does not understand")        \
    X(LOCKD_E_LOCK_DELAY, 23, "the lock is closed after its holder failed")                    \
    X(LOCKD_E_NO_ACL, 24, "there is no ACL of this name")                                      \
    X(LOCKD_E_TOO_OLD, 25, "no replica that answered has a state as new as asked for")

enum lockd_rc {
#define LOCKD_RC_ENUM(name, value, text) name = (value),
    LOCKD_RC_MAP(LOCKD_RC_ENUM)
#undef LOCKD_RC_ENUM
};

/* The text above; static. */
LOCKD_API const char *lockd_strerror(enum lockd_rc rc);

/* "1.2.3", of the library that was loaded. */
LOCKD_API const char *lockd_version(void);

/* ----------------------------------------------------------------- clients */

enum lockd_severity { LOCKD_DEBUG = 1, LOCKD_INFO, LOCKD_WARNING };

/* Something that happened to the client, for people: one line without its newline,
 * borrowed until the callback returns.  Called as all callbacks are. */
typedef void lockd_logged(void *context, enum lockd_severity severity, const char *text);

/* Set `size` to sizeof; zero means the default of each member. */
struct lockd_client_options {
    size_t size;
    /* "host:port,host:port,..."; default 127.0.0.1:7400.  Copied.  "unix:/path" is the local
     * socket of a replica; who names one stays there: if another replica is the master,
     * calls that need it end with LOCKD_E_UNAVAILABLE, and lockd_client_trouble() says
     * where it is. */
    const char *endpoints;
    const char *label;   /* Who you are, for people: shown by `lockctl locks`.  Default
                          * program@host:pid. */
    uint32_t drift_ppm;  /* Assumed largest difference of clock rates; default 10000. */
    uint32_t connect_ms; /* How long one endpoint may take to answer; default 1000. */
    lockd_logged *log;   /* NULL: nothing is logged. */
    void *log_context;
};

LOCKD_API enum lockd_rc lockd_client_new(const struct lockd_client_options *options,
                                         struct lockd_client **ret_client);

/* Gives the client a thread.  Once, before anything is driven by hand. */
LOCKD_API enum lockd_rc lockd_client_start(struct lockd_client *client);

/* Ends every call (LOCKD_E_CLOSED or LOCKD_E_UNKNOWN), its sessions and locks.
 * Sessions that were not closed end at the cell when their lease is over.  Takes
 * NULL.  Calls still under way end before this returns, or, within a callback,
 * before that callback's caller goes on; their `done` is called. */
LOCKD_API void lockd_client_free(struct lockd_client *client);

/* In a child after fork(): frees, and tells nobody. */
LOCKD_API void lockd_client_abandon(struct lockd_client *client);

/* What last kept the client from a master ("10.0.0.1:7400: Connection refused"),
 * cut to `size` octets with the NUL; "" when nothing did. */
LOCKD_API void lockd_client_trouble(const struct lockd_client *client, char *text, size_t size);

/* By hand.  The descriptor is the same for the life of the client: an epoll
 * descriptor, readable whenever there is something to do, the passing of time
 * included.  So lockd_events() is always POLLIN, and the timeout is a courtesy to
 * loops that have one anyway. */
LOCKD_API int lockd_fd(const struct lockd_client *client);
LOCKD_API short lockd_events(const struct lockd_client *client);   /* For poll(2). */
LOCKD_API int lockd_timeout_ms(const struct lockd_client *client); /* -1: none. */
LOCKD_API void lockd_process(struct lockd_client *client);

/* ----------------------------------------------------------------- answers */

enum lockd_kind { LOCKD_FILE = 1, LOCKD_DIRECTORY = 2 };
enum lockd_mode { LOCKD_EXCLUSIVE = 1, LOCKD_SHARED = 2 };

struct lockd_stat {
    enum lockd_kind kind;
    uint64_t instance, generation, lock_generation, acl_generation;
    uint64_t checksum, revision, modified_ms, size, children;
    uint64_t lock_token; /* Of those who hold it; 0: nobody.  In an answer from the cache this
                          * and lock_generation are 0: locks are never cached. */
    bool ephemeral;      /* Goes when nobody has it open. */
};

struct lockd_entry {
    const char *name;
    struct lockd_stat stat;
    bool denied; /* You may not read it: of `stat` only the kind is set. */
};

/* How new the state must be that answers a read. */
enum lockd_level {
    LOCKD_LINEARIZABLE = 0, /* None older than the newest write that anybody was told of before
                             * the call. */
    LOCKD_LEASE = 1,        /* The same if clocks run as evenly as the cell assumes; without a
                             * round among the replicas.  Where the cell's leases are not firm,
                             * as LOCKD_LINEARIZABLE. */
    LOCKD_SEQUENTIAL = 2,   /* Of any replica, but never older than what this client has been
                             * told before. */
    LOCKD_STALE = 3,        /* Of any replica, as it is there. */
};

/* What a principal may do with a node: names of ACLs, which are files below
 * /ls/<cell>/acl/; "" is anyone. */
struct lockd_acl {
    const char *read;   /* Content, metadata, children's names, who holds; events. */
    const char *write;  /* Content, children, the lock, deletion. */
    const char *change; /* These three names. */
};

/* Somebody who holds or awaits a lock, or who held it and failed. */
struct lockd_claim {
    bool held;
    bool delayed; /* Failed: the lock is closed for `left_ms` more. */
    enum lockd_mode mode;
    const char *session;
    const char *label;
    uint64_t token;    /* Held, delayed. */
    uint64_t since_ms; /* Unix time: granted, asked for, or failed. */
    uint64_t delay_ms; /* Held, delayed: its lock-delay. */
    uint64_t left_ms;  /* Delayed. */
};

struct lockd_claims {
    const char *name;
    const struct lockd_claim *claims; /* Holders, delayed, then waiters in order of service. */
    size_t count;
    bool more;
};

/* What a call brought.  In a callback: borrowed until it returns.  From a
 * synchronous form: to be given back with lockd_answer_free(), on any thread, be the
 * client freed or not.  It is not to be changed: others may have been lent the same. */
struct lockd_answer {
    enum lockd_rc rc;
    const char *detail; /* What the cell said besides; may be "". */
    uint64_t epoch, revision, slot, position;
    bool has_stat; /* get, stat, put, create, open; also with LOCKD_E_CONFLICT. */
    struct lockd_stat stat;
    bool created;        /* put, open. */
    const void *content; /* get; a NUL follows. */
    size_t content_size;
    const struct lockd_entry *entries; /* list. */
    size_t entries_count;
    bool more;                        /* list, locks: go on behind the last one. */
    const struct lockd_claims *locks; /* locks. */
    size_t locks_count;
    uint64_t next;           /* locks: where to go on. */
    struct lockd_lock *lock; /* acquire, campaign, LOCKD_OK: yours, until lockd_lock_free(). */
    bool valid;              /* check: it is held so. */
    enum lockd_level level;  /* Reads: at which level it was answered. */
    bool has_age;            /* Reads below linearizable: the state contains everything that */
    uint64_t age_ms;         /* was acknowledged so long before it was answered. */
    bool cached;             /* Reads: from the session's cache; no message was sent. */
    const struct lockd_acl *acl; /* get_acl. */
    uint64_t left_ms;            /* LOCKD_E_LOCK_DELAY: how long the lock stays closed, ... */
    const struct lockd_claim *holder; /* ... and who failed; NULL: not known. */
};

/* Takes NULL.  Frees what the answer points at, but not `lock`. */
LOCKD_API void lockd_answer_free(struct lockd_answer *answer);

typedef void lockd_done(void *context, const struct lockd_answer *answer);

/* ---------------------------------------------------------------- sessions */

/*            opened              half the lease without an answer
 *   OPENING --------> SAFE <-----------------------------------> LEASE_LOW
 *      |                ^                                            |
 *      | refused        | a KeepAlive is answered                    | the local lease is over
 *      v                |                                            v
 *   EXPIRED <------------------- grace is over, or the cell says so - JEOPARDY
 *
 * The local lease counts from when the KeepAlive that was answered was *sent*,
 * so it is over here before it is over at the cell. */
enum lockd_state {
    LOCKD_OPENING = 1,
    LOCKD_SAFE,
    LOCKD_LEASE_LOW,
    LOCKD_JEOPARDY, /* Calls wait; nothing that rests on the session may be done. */
    LOCKD_EXPIRED,  /* Final: all its locks are lost. */
    LOCKD_CLOSED,   /* Final: by us. */
};

/* The locks concerned are those for which lockd_lock_next() walks. */
typedef void lockd_state_changed(void *context, struct lockd_session *session,
                                 enum lockd_state state);

struct lockd_session_options {
    size_t size;
    uint32_t lease_ms;            /* 1,000 to 60,000; default 12,000. */
    uint32_t grace_ms;            /* How long jeopardy may last; default 45,000. */
    lockd_state_changed *changed; /* NULL: ask lockd_session_state(). */
    void *context;
    /* Keep what its reads bring: content, metadata, and that there is nothing.  Reads that
     * name the session (lockd_read_options) are answered from memory while the cache lease
     * of the cell, some seconds at most, lasts, and never with what is out of date: writes
     * to what is kept wait until it has been dropped here, or the lease is over.  Costs a
     * KeepAlive a second. */
    bool cache;
};

LOCKD_API enum lockd_rc lockd_session_open(struct lockd_client *client,
                                           const struct lockd_session_options *options,
                                           int timeout_ms, struct lockd_session **ret_session);
/* The session exists at once, OPENING, and is yours until lockd_session_free(),
 * also when opening fails.  `changed` may already have been called when this
 * returns on another thread than the client's. */
LOCKD_API enum lockd_rc lockd_session_open_async(struct lockd_client *client,
                                                 const struct lockd_session_options *options,
                                                 int timeout_ms, lockd_done *done,
                                                 void *context,
                                                 struct lockd_session **ret_session);

/* Gives back all its locks and ends it at the cell.  LOCKD_OK: it has ended and
 * holds nothing, be it by this call or, when the answer to it was lost, by its
 * own end.  Calls that were not sent yet end with LOCKD_E_CLOSED.  Whatever the
 * outcome, the session is not kept alive any more; it is still to be freed. */
LOCKD_API enum lockd_rc lockd_session_close(struct lockd_session *session, int timeout_ms);
LOCKD_API enum lockd_rc lockd_session_close_async(struct lockd_session *session, int timeout_ms,
                                                  lockd_done *done, void *context);
/* Frees it and its locks; what is not closed ends at the cell with its lease. */
LOCKD_API void lockd_session_free(struct lockd_session *session);

LOCKD_API enum lockd_state lockd_session_state(const struct lockd_session *session);
LOCKD_API const char *lockd_state_text(enum lockd_state state);
/* For how long the session certainly lives, as far as this host's clock can be
 * trusted; 0: not at all. */
LOCKD_API uint64_t lockd_session_valid_for_ms(const struct lockd_session *session);
/* 16 hexadecimal digits, or "" while opening. */
LOCKD_API const char *lockd_session_id(const struct lockd_session *session);

/* ------------------------------------------------------------------- locks */

struct lockd_lock_options {
    size_t size;
    enum lockd_mode mode; /* Default exclusive. */
    bool create;          /* Make the file when it is missing. */
    uint32_t delay_ms;    /* The lock-delay: if this session ends without having released or
                           * closed, nobody is granted the lock for so long.  At most 60,000. */
};

/* `timeout_ms` is the wait for the lock: 0 is a try (LOCKD_E_LOCKED), else
 * LOCKD_E_TIMEOUT is said only when the cell has confirmed that it will not be
 * granted any more.  Until the cell is reached, the call's own patience is the
 * same; a try allows one second for that.  If the confirmation does not come
 * within three seconds more, the answer is LOCKD_E_UNKNOWN, and the library goes
 * on cancelling and, should it have been granted, releasing for as long as the
 * session lives. */
LOCKD_API enum lockd_rc lockd_acquire(struct lockd_session *session, const char *name,
                                      const struct lockd_lock_options *options, int timeout_ms,
                                      struct lockd_lock **ret_lock);
/* With `ret_lock` the lock exists at once, not held, and is yours until
 * lockd_lock_free(), whatever becomes of it.  Without, it comes with the answer if
 * it is granted. */
LOCKD_API enum lockd_rc lockd_acquire_async(struct lockd_session *session, const char *name,
                                            const struct lockd_lock_options *options,
                                            int timeout_ms, lockd_done *done, void *context,
                                            struct lockd_lock **ret_lock);
/* An acquire on its way ends with LOCKD_E_CANCELLED, unless it was granted
 * before; its `done` says which. */
LOCKD_API enum lockd_rc lockd_acquire_cancel(struct lockd_lock *lock);

/* Gives it back.  From this call on it is not held here; it is again after a
 * definite failure, and the call may be repeated then.  One that ends with
 * LOCKD_E_UNKNOWN goes on in the background.  The handle is still to be freed. */
LOCKD_API enum lockd_rc lockd_release(struct lockd_lock *lock, int timeout_ms);
LOCKD_API enum lockd_rc lockd_release_async(struct lockd_lock *lock, int timeout_ms,
                                            lockd_done *done, void *context);
/* Frees the handle, in any state; takes NULL.  Releases in the background what is
 * still held, cancels what is still awaited. */
LOCKD_API void lockd_lock_free(struct lockd_lock *lock);

LOCKD_API const char *lockd_lock_name(const struct lockd_lock *lock);
LOCKD_API bool lockd_lock_held(const struct lockd_lock *lock);
/* What resources check; 0 while not held. */
LOCKD_API uint64_t lockd_lock_token(const struct lockd_lock *lock);
/* "NAME:MODE:TOKEN", "" while not held. */
LOCKD_API const char *lockd_lock_sequencer(const struct lockd_lock *lock);
/* For how long the lock is certainly held; 0: it must not be relied on. */
LOCKD_API uint64_t lockd_lock_valid_for_ms(const struct lockd_lock *lock);
/* The locks held by a session, in the order in which they were granted: the one
 * behind `lock`, the first for NULL.  Of a session that has ended: those that it
 * held until then. */
LOCKD_API struct lockd_lock *lockd_lock_next(const struct lockd_session *session,
                                             const struct lockd_lock *lock);

/* Is what a sequencer says true now: is the lock held in its mode under its token?
 * Needs no session.  Linearizable.  The answer is `valid` in `ret_valid`. */
LOCKD_API enum lockd_rc lockd_check(struct lockd_client *client, const char *sequencer,
                                    int timeout_ms, bool *ret_valid);
LOCKD_API enum lockd_rc lockd_check_async(struct lockd_client *client, const char *sequencer,
                                          int timeout_ms, lockd_done *done, void *context);

/* --------------------------------------------------------------- elections */

/* An election is a file: who holds its lock leads, and has written its content
 * since.  So a leader is known exactly when the lock is held and the content was
 * written under that holding, and any tool that can read files and watch can
 * follow it.  The token of the lock is the leader's term.
 *
 * Waits until the lock is granted, then writes `value`.  LOCKD_OK: the session
 * leads, for as long as lockd_lock_held() and lockd_lock_valid_for_ms() of the
 * lock say so.  After any other outcome it does not, and the lock is given back
 * (in the background, where that can't be confirmed).  With `ret_lock` the lock
 * exists at once, as with lockd_acquire_async(); lockd_acquire_cancel() ends a
 * campaign. */
LOCKD_API enum lockd_rc lockd_campaign(struct lockd_session *session, const char *name,
                                       const void *value, size_t size,
                                       const struct lockd_lock_options *options, int timeout_ms,
                                       struct lockd_lock **ret_lock);
LOCKD_API enum lockd_rc lockd_campaign_async(struct lockd_session *session, const char *name,
                                             const void *value, size_t size,
                                             const struct lockd_lock_options *options,
                                             int timeout_ms, lockd_done *done, void *context,
                                             struct lockd_lock **ret_lock);
/* The leader changes what it says of itself: LOCKD_E_NOT_HELD when it isn't any
 * more. */
LOCKD_API enum lockd_rc lockd_proclaim(struct lockd_lock *lock, const void *value, size_t size,
                                       int timeout_ms);
LOCKD_API enum lockd_rc lockd_proclaim_async(struct lockd_lock *lock, const void *value,
                                             size_t size, int timeout_ms, lockd_done *done,
                                             void *context);
/* As lockd_release(). */
LOCKD_API enum lockd_rc lockd_resign(struct lockd_lock *lock, int timeout_ms);
LOCKD_API enum lockd_rc lockd_resign_async(struct lockd_lock *lock, int timeout_ms,
                                           lockd_done *done, void *context);

/* Who leads, as of a revision. */
struct lockd_leader {
    enum lockd_rc rc; /* LOCKD_OK; else why this name can't be observed: nothing follows. */
    uint64_t revision;
    uint64_t token;    /* The leader's term; 0: nobody leads. */
    const void *value; /* A NUL follows. */
    size_t size;
};

/* Told first how it stands, and then of every change, "nobody" included, in order.
 * Changes that follow each other faster than they are told may be passed over,
 * the newest never.  `leader` is borrowed until the callback returns. */
typedef void lockd_observed(void *context, struct lockd_observer *observer,
                            const struct lockd_leader *leader);

/* Exists at once and is yours until lockd_observer_free().  It goes on over every
 * fail-over; while no master can be reached nothing is told.  With `observed` NULL
 * use lockd_observer_next(). */
LOCKD_API enum lockd_rc lockd_observe(struct lockd_client *client, const char *name,
                                      lockd_observed *observed, void *context,
                                      struct lockd_observer **ret_observer);
/* Waits for what has not been told yet: LOCKD_OK, or LOCKD_E_TIMEOUT.  With a timeout
 * of 0 it may be called anywhere, by hand too.  The leader is to be given back with
 * lockd_leader_free(). */
LOCKD_API enum lockd_rc lockd_observer_next(struct lockd_observer *observer, int timeout_ms,
                                            struct lockd_leader **ret_leader);
LOCKD_API void lockd_leader_free(struct lockd_leader *leader);
LOCKD_API void lockd_observer_free(struct lockd_observer *observer); /* Takes NULL. */

/* ------------------------------------------------------------------- files */

#define LOCKD_ANY UINT64_MAX /* No condition. */

/* For NULL in its place all is 0. */
struct lockd_read_options {
    size_t size;
    enum lockd_level level; /* Default linearizable. */
    uint32_t max_age_ms;    /* LOCKD_SEQUENTIAL, LOCKD_STALE: not of a state that may be older;
                             * LOCKD_E_TOO_OLD when the deadline comes first.  0: any. */
    /* A session opened with `cache`, of the same client: lockd_get and lockd_stat_node,
     * linearizable, are answered from what it keeps, or else kept by it.  An answer from
     * memory costs no message and no wait: then synchronous forms work everywhere, in
     * callbacks and by hand too. */
    struct lockd_session *session;
};

/* Of a session (executed at most once, repeated over fail-over) or, with NULL
 * for it, one-shot: then a call whose connection broke is LOCKD_E_UNKNOWN.
 * `ret_answer` (NULL: not wanted) gets an answer whenever the call was under way,
 * also with a failure, else NULL.
 * Reads are repeated until the deadline.  At any level but LOCKD_STALE no answer has a
 * lower revision than one before it.  A client that reads at the last two levels only
 * does so at the replica that it reached first; once a call needs the master, there.
 * Names begin with /ls/<cell>/ or /ls/local/. */
LOCKD_API enum lockd_rc lockd_get(struct lockd_client *client, const char *name,
                                  const struct lockd_read_options *options, int timeout_ms,
                                  struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_get_async(struct lockd_client *client, const char *name,
                                        const struct lockd_read_options *options,
                                        int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_stat_node(struct lockd_client *client, const char *name,
                                        const struct lockd_read_options *options,
                                        int timeout_ms, struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_stat_node_async(struct lockd_client *client, const char *name,
                                              const struct lockd_read_options *options,
                                              int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_list(struct lockd_client *client, const char *name,
                                   const char *after, uint32_t limit,
                                   const struct lockd_read_options *options, int timeout_ms,
                                   struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_list_async(struct lockd_client *client, const char *name,
                                         const char *after, uint32_t limit,
                                         const struct lockd_read_options *options,
                                         int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_put(struct lockd_client *client, struct lockd_session *session,
                                  const char *name, const void *content, size_t size,
                                  uint64_t if_generation, int timeout_ms,
                                  struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_put_async(struct lockd_client *client,
                                        struct lockd_session *session, const char *name,
                                        const void *content, size_t size,
                                        uint64_t if_generation, int timeout_ms,
                                        lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_create(struct lockd_client *client, struct lockd_session *session,
                                     const char *name, enum lockd_kind kind, int timeout_ms,
                                     struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_create_async(struct lockd_client *client,
                                           struct lockd_session *session, const char *name,
                                           enum lockd_kind kind, int timeout_ms,
                                           lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_delete(struct lockd_client *client, struct lockd_session *session,
                                     const char *name, uint64_t if_generation, int timeout_ms,
                                     struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_delete_async(struct lockd_client *client,
                                           struct lockd_session *session, const char *name,
                                           uint64_t if_generation, int timeout_ms,
                                           lockd_done *done, void *context);
/* Who holds and awaits: of one name, or, with NULL, of all locks, in pages.
 * `next` is 0, or that of the page before. */
LOCKD_API enum lockd_rc lockd_locks(struct lockd_client *client, const char *name,
                                    uint64_t next, int timeout_ms,
                                    struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_locks_async(struct lockd_client *client, const char *name,
                                          uint64_t next, int timeout_ms, lockd_done *done,
                                          void *context);

/* The ACLs of a node.  Who may read the node may read their names; who may `change`
 * may read and set them: members that are NULL stay as they are, `if_generation` is
 * stat.acl_generation or LOCKD_ANY.  Only names of files that exist below
 * /ls/<cell>/acl/ can be set (LOCKD_E_NO_ACL), and "".  The ACLs themselves are read and
 * written as any file: a principal a line. */
LOCKD_API enum lockd_rc lockd_get_acl(struct lockd_client *client, const char *name,
                                      const struct lockd_read_options *options, int timeout_ms,
                                      struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_get_acl_async(struct lockd_client *client, const char *name,
                                            const struct lockd_read_options *options,
                                            int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_set_acl(struct lockd_client *client,
                                      struct lockd_session *session, const char *name,
                                      const struct lockd_acl *acl, uint64_t if_generation,
                                      int timeout_ms, struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_set_acl_async(struct lockd_client *client,
                                            struct lockd_session *session, const char *name,
                                            const struct lockd_acl *acl, uint64_t if_generation,
                                            int timeout_ms, lockd_done *done, void *context);

/* ----------------------------------------------------------------- handles */

/* A handle pins one instance of a node: a node that was deleted and made again is
 * another, and answers LOCKD_E_STALE.  It belongs to a session and ends with it.
 * An ephemeral node lives as long as somebody has it open, holds or awaits it, or
 * it has children. */
struct lockd_open_options {
    size_t size;
    enum lockd_kind create; /* What to make when it is missing; 0: it must exist. */
    bool ephemeral;         /* What is made is ephemeral. */
    bool exclusive;         /* LOCKD_E_EXISTS when it is there already. */
    const void *content;    /* Of a file that is made. */
    size_t content_size;
};

/* Opening an existing permanent node is a read; anything else a command of the
 * session.  The handle exists at once with the asynchronous form and is yours
 * until lockd_handle_free(), whatever becomes of the call. */
LOCKD_API enum lockd_rc lockd_open(struct lockd_session *session, const char *name,
                                   const struct lockd_open_options *options, int timeout_ms,
                                   struct lockd_handle **ret_handle);
LOCKD_API enum lockd_rc lockd_open_async(struct lockd_session *session, const char *name,
                                         const struct lockd_open_options *options,
                                         int timeout_ms, lockd_done *done, void *context,
                                         struct lockd_handle **ret_handle);
/* An ephemeral node is open no more for this handle.  It is still to be freed. */
LOCKD_API enum lockd_rc lockd_close(struct lockd_handle *handle, int timeout_ms);
LOCKD_API enum lockd_rc lockd_close_async(struct lockd_handle *handle, int timeout_ms,
                                          lockd_done *done, void *context);
/* Frees it, in any state; takes NULL.  Closes in the background what is open. */
LOCKD_API void lockd_handle_free(struct lockd_handle *handle);

LOCKD_API const char *lockd_handle_name(const struct lockd_handle *handle);
/* 0: not open (yet, or any more). */
LOCKD_API uint64_t lockd_handle_instance(const struct lockd_handle *handle);
/* The open handles of a session: the one behind `handle`, the first for NULL. */
LOCKD_API struct lockd_handle *lockd_handle_next(const struct lockd_session *session,
                                                 const struct lockd_handle *handle);

/* As their namesakes without handle, of the instance that was opened and of the
 * handle's session; `session` in options is that or NULL. */
LOCKD_API enum lockd_rc lockd_handle_get(struct lockd_handle *handle,
                                         const struct lockd_read_options *options,
                                         int timeout_ms, struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_handle_get_async(struct lockd_handle *handle,
                                               const struct lockd_read_options *options,
                                               int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_handle_stat(struct lockd_handle *handle,
                                          const struct lockd_read_options *options,
                                          int timeout_ms, struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_handle_stat_async(struct lockd_handle *handle,
                                                const struct lockd_read_options *options,
                                                int timeout_ms, lockd_done *done,
                                                void *context);
LOCKD_API enum lockd_rc lockd_handle_put(struct lockd_handle *handle, const void *content,
                                         size_t size, uint64_t if_generation, int timeout_ms,
                                         struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_handle_put_async(struct lockd_handle *handle, const void *content,
                                               size_t size, uint64_t if_generation,
                                               int timeout_ms, lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_handle_delete(struct lockd_handle *handle, int timeout_ms,
                                            struct lockd_answer **ret_answer);
LOCKD_API enum lockd_rc lockd_handle_delete_async(struct lockd_handle *handle, int timeout_ms,
                                                  lockd_done *done, void *context);
LOCKD_API enum lockd_rc lockd_handle_acquire(struct lockd_handle *handle,
                                             const struct lockd_lock_options *options,
                                             int timeout_ms, struct lockd_lock **ret_lock);
LOCKD_API enum lockd_rc lockd_handle_acquire_async(struct lockd_handle *handle,
                                                   const struct lockd_lock_options *options,
                                                   int timeout_ms, lockd_done *done,
                                                   void *context, struct lockd_lock **ret_lock);

/* ------------------------------------------------------------------ events */

enum lockd_scope {
    LOCKD_SCOPE_NODE = 1,     /* The node of this name, whichever bears it. */
    LOCKD_SCOPE_CHILDREN = 2, /* Those right below it. */
    LOCKD_SCOPE_SUBTREE = 3,  /* It and all below. */
};

/* Which changes of the nodes in scope; bits of lockd_watch_options.watched. */
enum lockd_watch_kinds {
    LOCKD_WATCH_CONTENT = 1, /* Files made and written. */
    LOCKD_WATCH_CHILD = 2,   /* Nodes made and deleted in the directories in scope. */
    LOCKD_WATCH_ACL = 4,
    LOCKD_WATCH_LOCK = 8, /* Granted, and given back or lost. */
    LOCKD_WATCH_DELETE = 16,
    LOCKD_WATCH_CONFLICT = 32, /* Somebody began to wait for its lock. */
    LOCKD_WATCH_ALL = 63,
};

enum lockd_change {
    LOCKD_CREATED = 1,
    LOCKD_WRITTEN,
    LOCKD_DELETED,
    LOCKD_ACL_CHANGED,
    LOCKD_GRANTED,
    LOCKD_RELEASED,
    LOCKD_CONTENDED,
    LOCKD_GAP, /* Changes up to `revision` may not have been told: read anew.  Those above it
                * follow. */
};

/* A change, or, where the program or the network was too slow, the newest of
 * `count` changes of one node, of revisions first_revision to revision.  What one
 * command changed has one revision and comes as several events. */
struct lockd_event {
    enum lockd_change change;
    uint64_t revision, first_revision, count;
    const char *name;     /* The whole name; "" of a gap, which has none of the following. */
    enum lockd_kind kind; /* Of the node. */
    bool ephemeral;
    uint64_t instance;
    uint64_t modified_ms; /* Unix time. */
    uint64_t generation;  /* CREATED, WRITTEN of a file: of the content, ... */
    uint64_t size;        /* ... and its octets. */
    const char *session;  /* GRANTED, RELEASED, CONTENDED; else "". */
    enum lockd_mode mode; /* The same. */
    uint64_t token;       /* GRANTED, RELEASED. */
    bool failed;          /* RELEASED: its session ended without a word, ... */
    uint64_t delay_ms;    /* ... and the lock stays closed for so long. */
    const void *content;  /* If asked for and kept by the cell (up to 4 KiB), else NULL.  A */
    size_t content_size;  /* NUL follows. */
    const void *old_content;
    size_t old_size;
};

/* Each change once, in the order of revisions, none missing, over any number of
 * connections and masters; or LOCKD_GAP says so.  `event` is borrowed until the
 * callback returns. */
typedef void lockd_watched(void *context, struct lockd_watch *watch,
                           const struct lockd_event *event);

struct lockd_watch_options {
    size_t size;
    enum lockd_scope scope; /* Default: the node. */
    unsigned watched;       /* Default: all. */
    bool from_given;        /* Changes above `from`, ... */
    uint64_t from;          /* ... else those after the call has ended. */
    uint64_t instance;      /* Only of this instance; 0: of any. */
    bool content, old_content;
    lockd_watched *told; /* NULL: use lockd_watch_next(). */
    void *context;
};

/* Watches need no session.  LOCKD_OK: it is set, and answer->revision says from
 * where on.  The watch exists at once with the asynchronous form and is yours until
 * lockd_watch_free(), whatever becomes of the call. */
LOCKD_API enum lockd_rc lockd_watch(struct lockd_client *client, const char *name,
                                    const struct lockd_watch_options *options, int timeout_ms,
                                    struct lockd_watch **ret_watch);
LOCKD_API enum lockd_rc lockd_watch_async(struct lockd_client *client, const char *name,
                                          const struct lockd_watch_options *options,
                                          int timeout_ms, lockd_done *done, void *context,
                                          struct lockd_watch **ret_watch);
/* Waits for the next event of a watch without `told`: LOCKD_OK, or LOCKD_E_TIMEOUT.
 * With a timeout of 0 it may be called anywhere, by hand too.  To be given back with
 * lockd_event_free(). */
LOCKD_API enum lockd_rc lockd_watch_next(struct lockd_watch *watch, int timeout_ms,
                                         struct lockd_event **ret_event);
LOCKD_API void lockd_event_free(struct lockd_event *event);
/* Nothing more is told.  Takes NULL. */
LOCKD_API void lockd_watch_free(struct lockd_watch *watch);

LOCKD_API const char *lockd_watch_name(const struct lockd_watch *watch);
/* All changes below this revision have been told, and of it those that came: when
 * one command made several, and the connection broke among them, the rest comes
 * later.  So a program that starts again from what it noted, and must miss nothing,
 * gives `from` as one less and passes over what it has had. */
LOCKD_API uint64_t lockd_watch_revision(const struct lockd_watch *watch);
/* Is it set at a master right now?  If not, what happens meanwhile is told later. */
LOCKD_API bool lockd_watch_current(const struct lockd_watch *watch);
/* The watches of a client: the one behind `watch`, the first for NULL. */
LOCKD_API struct lockd_watch *lockd_watch_after(const struct lockd_client *client,
                                                const struct lockd_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
