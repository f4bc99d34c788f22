/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h -- the whole client of a cell, as a pure machine.
 *
 * The engine decides; it never acts.  It opens no socket, reads no clock, starts
 * no thread and resolves no name: time and what the network brings go in, and
 * what it wishes for comes out.
 *
 *     calls, octets received, ticks ---> engine ---> engine_wish(): which
 *                                          |         connection, octets to send,
 *                                          |         when to call engine_tick()
 *                                          '-------> engine_event(): completions
 *                                                    and changes of state
 *
 * After any call the driver looks at engine_wish() and makes it true:
 *
 *   1. `link` is the connection that the engine wants, numbered 1, 2, 3, ...; 0
 *      is none.  If it is not the one that the driver has, the driver closes what
 *      it has and connects to `address`, resolving a name anew each time.  It
 *      reports engine_connected(), or engine_lost() with a reason; and it reports
 *      engine_lost() when a connection ends later.  Reports about any other than
 *      the wanted link are ignored, so a driver may be slow to notice.
 *   2. Once connected, it sends `output` as far as the socket takes it and reports
 *      engine_sent(); what is received goes to engine_received(), cut anywhere.
 *   3. It calls engine_tick() no later than `wake_at_ms`.
 *   4. While engine_event() returns true, it calls the callback named there.  The
 *      engine calls none itself, so a callback may do anything, and in any order
 *      with the above.
 *
 * How long a connection attempt may take is the engine's decision: it wishes for
 * another link when it has waited long enough.  There is at most one connection;
 * all sessions and calls share it.
 *
 * Same configuration and seed, same calls at the same times: same output, octet
 * for octet.  `now_ms` never falls and counts suspension.  Not thread-safe.
 * Memory comes from malloc(); where it is short a call is refused with
 * LOCKD_E_NO_MEMORY before anything was begun, or a connection is given up.
 */
#ifndef LIBCLIENT_ENGINE_H
#define LIBCLIENT_ENGINE_H

#include "libclient/lockd.h"
#include "libclient/wire.h"

enum {
    ENGINE_ENDPOINTS_MAX = 32, /* Given and learned. */
    ENGINE_ADDRESS_MAX = 272,  /* "host:port" or "unix:/path" with its NUL. */
    ENGINE_LOCAL_PATH_MAX = 107,
    ENGINE_TROUBLE_MAX = 448,
    ENGINE_LOG_MAX = 512,
    ENGINE_CALLS_MAX = 1 << 20,       /* Of a client at a time. */
    ENGINE_SESSIONS_MAX = 100 * 1000, /* Of a client. */
    ENGINE_OUTPUT_HIGH = 256 * 1024,  /* Unsent octets that hold further calls back. */
    ENGINE_SESSION_WINDOW = 100,      /* Calls of a session sent and not answered, waiting
                                       * acquires not counted: with those not yet
                                       * acknowledged less than the cell remembers. */
    ENGINE_WATCHES_MAX = 1 << 20,     /* Of a client. */
    ENGINE_WATCH_EVENTS = 1024, /* Of a watch, not yet taken: with more of them the cell is
                                 * asked to keep the rest, and asked again from there. */
    ENGINE_TRY_MS = 1000,       /* A try allows so long for reaching the cell. */
    ENGINE_CONFIRM_MS = 3000,   /* For an acquire's cancellation to be confirmed. */
};

#define ENGINE_NEVER UINT64_MAX
#define ENGINE_LOCAL "unix:" /* Before the path of a local socket. */

struct engine;

struct engine_config {
    const char *endpoints; /* "host[:port],unix:/path,..."; copied. */
    const char *label;     /* Of the sessions; copied, cut to WIRE_LABEL_MAX. */
    uint32_t drift_ppm;    /* Below 500,000. */
    uint32_t connect_ms;   /* From 1. */
    uint64_t seed;         /* Of the jitter. */
    lockd_logged *log;     /* NULL: nothing is logged. */
    void *log_context;
    void *owner; /* engine_owner(). */
};

/* LOCKD_E_INVALID: no endpoint, or a malformed one. */
enum lockd_rc engine_new(const struct engine_config *config, struct engine **ret_engine);

/* Ends every call and session; the events tell of them.  Nothing may be begun
 * afterwards, and no connection is wished for. */
void engine_close(struct engine *e, uint64_t now_ms);

/* Frees it with its sessions, locks and events not taken.  Takes NULL. */
void engine_free(struct engine *e);

void *engine_owner(const struct engine *e);

/* ----------------------------------------------------------------- outside */

struct engine_wish {
    uint64_t link;           /* The connection wanted; 0: none. */
    const char *address;     /* "host:port", an IPv6 host in brackets, or "unix:/path". */
    struct wire_text output; /* To be sent over it when it is connected. */
    uint64_t wake_at_ms;     /* engine_tick() no later; ENGINE_NEVER. */
    bool events;             /* engine_event() has something. */
};

/* Valid until the next call of anything but an accessor. */
const struct engine_wish *engine_wish(struct engine *e);

void engine_connected(struct engine *e, uint64_t now_ms, uint64_t link);

/* It could not be made, or it ended: `why` as the end of a sentence ("Connection
 * refused"). */
void engine_lost(struct engine *e, uint64_t now_ms, uint64_t link, const char *why);

/* The first `size` octets of the output have left this process, perhaps. */
void engine_sent(struct engine *e, uint64_t now_ms, uint64_t link, size_t size);

void engine_received(struct engine *e, uint64_t now_ms, uint64_t link, const void *data,
                     size_t size);

/* Does what is due by now. */
void engine_tick(struct engine *e, uint64_t now_ms);

/* ------------------------------------------------------------------ events */

/* A call has ended, `done` and `answer`; or a session's state has changed,
 * `changed`, `session` and `state`; or a watch has something to tell, `told`,
 * `watch` and `happened`; or an observer, `observed`, `observer` and `leader`; or there
 * is something to log, `logged`, `severity` and `text`.
 * Callbacks may be NULL; so one event calls one function or none. */
struct engine_event {
    lockd_done *done;
    void *context;               /* Of `done`, `changed`, ... */
    struct lockd_answer *answer; /* Yours: lockd_answer_free(). */
    lockd_state_changed *changed;
    struct lockd_session *session;
    enum lockd_state state;
    lockd_watched *told;
    struct lockd_watch *watch;
    struct lockd_event *happened; /* Yours: lockd_event_free(). */
    lockd_observed *observed;
    struct lockd_observer *observer;
    struct lockd_leader *leader; /* Yours: lockd_leader_free(). */
    lockd_logged *logged;        /* A line of the log: `severity`, `text`. */
    enum lockd_severity severity;
    char text[ENGINE_LOG_MAX];
};

/* Takes the next event, in the order in which they happened.  No event speaks of
 * a session or lock that has been freed. */
bool engine_event(struct engine *e, struct engine_event *ret_event);

/* ------------------------------------------------------------------- calls */

/* As the functions of lockd.h named alike, which are thin covers of these; see
 * there for what each means.  A negative timeout is LOCKD_FOR_EVER. */
enum lockd_rc engine_session_open(struct engine *e, uint64_t now_ms,
                                  const struct lockd_session_options *options, int timeout_ms,
                                  lockd_done *done, void *context,
                                  struct lockd_session **ret_session);
enum lockd_rc engine_session_close(struct lockd_session *session, uint64_t now_ms,
                                   int timeout_ms, lockd_done *done, void *context);
void engine_session_free(struct lockd_session *session, uint64_t now_ms);

enum lockd_rc engine_acquire(struct lockd_session *session, uint64_t now_ms, const char *name,
                             const struct lockd_lock_options *options, int timeout_ms,
                             lockd_done *done, void *context, struct lockd_lock **ret_lock);
enum lockd_rc engine_acquire_cancel(struct lockd_lock *lock, uint64_t now_ms);
enum lockd_rc engine_release(struct lockd_lock *lock, uint64_t now_ms, int timeout_ms,
                             lockd_done *done, void *context);
void engine_lock_free(struct lockd_lock *lock, uint64_t now_ms);

enum lockd_rc engine_campaign(struct lockd_session *session, uint64_t now_ms, const char *name,
                              const void *value, size_t size,
                              const struct lockd_lock_options *options, int timeout_ms,
                              lockd_done *done, void *context, struct lockd_lock **ret_lock);
enum lockd_rc engine_proclaim(struct lockd_lock *lock, uint64_t now_ms, const void *value,
                              size_t size, int timeout_ms, lockd_done *done, void *context);

enum lockd_rc engine_open(struct lockd_session *session, uint64_t now_ms, const char *name,
                          const struct lockd_open_options *options, int timeout_ms,
                          lockd_done *done, void *context, struct lockd_handle **ret_handle);
enum lockd_rc engine_close_handle(struct lockd_handle *handle, uint64_t now_ms, int timeout_ms,
                                  lockd_done *done, void *context);
void engine_handle_free(struct lockd_handle *handle, uint64_t now_ms);
/* As engine_call() and engine_acquire(), of the instance that is open. */
enum lockd_rc engine_handle_call(struct lockd_handle *handle, uint64_t now_ms,
                                 const struct wire_request *arguments, int timeout_ms,
                                 lockd_done *done, void *context);
enum lockd_rc engine_handle_acquire(struct lockd_handle *handle, uint64_t now_ms,
                                    const struct lockd_lock_options *options, int timeout_ms,
                                    lockd_done *done, void *context,
                                    struct lockd_lock **ret_lock);

enum lockd_rc engine_watch(struct engine *e, uint64_t now_ms, const char *name,
                           const struct lockd_watch_options *options, int timeout_ms,
                           lockd_done *done, void *context, struct lockd_watch **ret_watch);
void engine_watch_free(struct lockd_watch *watch, uint64_t now_ms);
/* Takes the next event of a watch that was made without `told`; NULL: none. */
struct lockd_event *engine_watch_next(struct lockd_watch *watch, uint64_t now_ms);

enum lockd_rc engine_observe(struct engine *e, uint64_t now_ms, const char *name,
                             lockd_observed *observed, void *context,
                             struct lockd_observer **ret_observer);
void engine_observer_free(struct lockd_observer *observer, uint64_t now_ms);
struct lockd_leader *engine_observer_next(struct lockd_observer *observer, uint64_t now_ms);

/* Everything about files, lock.list and lock.check.  `method` is one of WIRE_NODE_* or
 * WIRE_LOCK_LIST or WIRE_LOCK_CHECK; the members of `arguments` that it takes are read and
 * copied, those of sessions (session, secret, request, acks) are filled in by the engine.
 * `session` is NULL for reads and one-shot writes; with a read whose `cache` is set it is
 * the session that keeps what it brings.  Such a read may be answered at once by what is
 * kept; its `done` is called through engine_event() like any other. */
enum lockd_rc engine_call(struct engine *e, uint64_t now_ms, struct lockd_session *session,
                          const struct wire_request *arguments, int timeout_ms,
                          lockd_done *done, void *context);

/* Answers a get or a stat from what the session keeps; false: it can't.  `if_instance` of
 * the arguments is looked at.  The clock is to be read after this call, and the answer given
 * up unless that is before engine_cache_until_ms(): so a pause between the two can't make
 * it out of date.  The answer is yours, lockd_answer_free(), and stays as it is. */
bool engine_cached(struct lockd_session *session, const struct wire_request *arguments,
                   struct lockd_answer **ret_answer);
/* Until when, exclusive, what the session keeps may be believed; 0: not at all. */
uint64_t engine_cache_until_ms(const struct lockd_session *session);

/* --------------------------------------------------------------- accessors */

struct engine *engine_of_session(const struct lockd_session *session);
struct engine *engine_of_lock(const struct lockd_lock *lock);

enum lockd_state engine_session_state(const struct lockd_session *session);
const char *engine_session_id(const struct lockd_session *session);
/* Until when, exclusive, the session may be believed in; 0: not at all. */
uint64_t engine_session_valid_until_ms(const struct lockd_session *session);

const char *engine_lock_name(const struct lockd_lock *lock);
bool engine_lock_held(const struct lockd_lock *lock);
uint64_t engine_lock_token(const struct lockd_lock *lock);
const char *engine_lock_sequencer(const struct lockd_lock *lock);
uint64_t engine_lock_valid_until_ms(const struct lockd_lock *lock);
struct lockd_lock *engine_lock_next(const struct lockd_session *session,
                                    const struct lockd_lock *lock);

struct engine *engine_of_handle(const struct lockd_handle *handle);
struct lockd_session *engine_handle_session(const struct lockd_handle *handle);
const char *engine_handle_name(const struct lockd_handle *handle);
uint64_t engine_handle_instance(const struct lockd_handle *handle);
struct lockd_handle *engine_handle_next(const struct lockd_session *session,
                                        const struct lockd_handle *handle);
struct engine *engine_of_watch(const struct lockd_watch *watch);
const char *engine_watch_name(const struct lockd_watch *watch);
uint64_t engine_watch_revision(const struct lockd_watch *watch);
bool engine_watch_current(const struct lockd_watch *watch);
struct lockd_watch *engine_watch_after(const struct engine *e, const struct lockd_watch *watch);
struct engine *engine_of_observer(const struct lockd_observer *observer);

/* What last kept the engine from a master; "". */
const char *engine_trouble(const struct engine *e);

/* For tests: asserts what is true between two calls. */
void engine_check(const struct engine *e);

#endif
