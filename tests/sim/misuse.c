/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program does wrong.  The library refuses it at once, with the right word,
 * and then nobody ever hears of it again: no callback, no trace at the cell.  And
 * what it may look at without asking anybody.
 */
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/starve.h"

enum { TOO_LARGE = 300 * 1024 };

/* Of a call that was refused before it was begun. */
static void never(void *context, const struct lockd_answer *answer)
{
    (void)context;
    world_fail(world_current, "calls", "a call that was refused ends, with `%s'",
               lockd_strerror(answer->rc));
}

static void must(struct world *w, enum lockd_rc rc, enum lockd_rc expected, const char *what)
{
    if (rc != expected) {
        world_fail(w, "calls", "%s: the library says `%s', not `%s'", what, lockd_strerror(rc),
                   lockd_strerror(expected));
    }
}

static void holds(struct world *w, bool condition, const char *what)
{
    if (!condition) {
        world_fail(w, "calls", "%s is not what was begun", what);
    }
}

static void misuse_open(struct world *w, struct lockd_session *s, uint64_t now_ms)
{
    static const struct {
        struct lockd_open_options options;
        enum lockd_rc rc;
    } wrong[] = {
        {{.create = (enum lockd_kind)7}, LOCKD_E_INVALID},
        {{.ephemeral = true}, LOCKD_E_INVALID},
        {{.exclusive = true}, LOCKD_E_INVALID},
        {{.create = LOCKD_DIRECTORY, .content = "x", .content_size = 1}, LOCKD_E_INVALID},
        {{.create = LOCKD_FILE, .content_size = 1}, LOCKD_E_INVALID},
        {{.create = LOCKD_FILE, .content = "x", .content_size = TOO_LARGE}, LOCKD_E_TOO_LARGE},
    };
    struct lockd_handle *handle = NULL;
    const size_t i = rng_below(&w->agents->rng, sizeof wrong / sizeof *wrong);
    must(w, engine_open(s, now_ms, "/ls/local/p", &wrong[i].options, 100, never, NULL, &handle),
         wrong[i].rc, "open");
    must(w, engine_open(s, now_ms, NULL, NULL, 100, never, NULL, &handle), LOCKD_E_INVALID,
         "open nothing");
    must(w, engine_open(s, now_ms, "/ls/\xff", NULL, 100, never, NULL, &handle),
         LOCKD_E_BAD_NAME, "open what is no text");
}

static void misuse_lock(struct world *w, struct lockd_session *s, uint64_t now_ms)
{
    static const struct lockd_lock_options wrong[] = {
        {.mode = (enum lockd_mode)9},
        {.delay_ms = UINT32_MAX},
    };
    static const struct lockd_lock_options shared = {.mode = LOCKD_SHARED};
    struct lockd_lock *lock = NULL;
    const size_t i = rng_below(&w->agents->rng, sizeof wrong / sizeof *wrong);
    must(w, engine_acquire(s, now_ms, "/ls/local/l1", &wrong[i], 0, never, NULL, &lock),
         LOCKD_E_INVALID, "acquire");
    must(w, engine_acquire(s, now_ms, NULL, NULL, 0, never, NULL, &lock), LOCKD_E_INVALID,
         "acquire nothing");
    must(w,
         engine_campaign(s, now_ms, "/ls/local/boss", "x", 1, &shared, 0, never, NULL, &lock),
         LOCKD_E_INVALID, "lead together");
    must(w, engine_campaign(s, now_ms, "/ls/local/boss", NULL, 1, NULL, 0, never, NULL, &lock),
         LOCKD_E_INVALID, "lead with no value");
    must(w,
         engine_campaign(s, now_ms, "/ls/local/boss", "x", TOO_LARGE, NULL, 0, never, NULL,
                         &lock),
         LOCKD_E_TOO_LARGE, "lead with too much");
}

static void misuse_watch(struct world *w, struct engine *e, uint64_t now_ms)
{
    static const struct lockd_watch_options wrong[] = {
        {.watched = UINT32_MAX},
        {.scope = (enum lockd_scope)9},
        {.from_given = true, .from = UINT64_MAX},
        {.scope = LOCKD_SCOPE_SUBTREE, .instance = 5},
    };
    struct lockd_watch *watch = NULL;
    const size_t i = rng_below(&w->agents->rng, sizeof wrong / sizeof *wrong);
    must(w, engine_watch(e, now_ms, "/ls/local", &wrong[i], 100, never, NULL, &watch),
         LOCKD_E_INVALID, "watch");
    must(w, engine_watch(e, now_ms, NULL, NULL, 100, never, NULL, &watch), LOCKD_E_INVALID,
         "watch nothing");
}

static void misuse_file(struct world *w, struct engine *e, struct lockd_session *s,
                        uint64_t now_ms)
{
    struct wire_request request = {
        .method = WIRE_NODE_GET,
        .name = {.data = "/ls/local/p", .size = strlen("/ls/local/p")},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    must(w, engine_call(e, now_ms, s, &request, 100, never, NULL), LOCKD_E_INVALID,
         "read in a session");
    request.method = WIRE_NODE_PUT;
    request.content = (struct wire_text){.data = "x", .size = TOO_LARGE};
    must(w, engine_call(e, now_ms, NULL, &request, 100, never, NULL), LOCKD_E_TOO_LARGE,
         "put too much");
    request.name = (struct wire_text){.data = "\xc3", .size = 1};
    must(w, engine_call(e, now_ms, NULL, &request, 100, never, NULL), LOCKD_E_BAD_NAME,
         "put to what is no text");
}

static void misuse_session(struct world *w, struct engine *e, uint64_t now_ms)
{
    static const struct lockd_session_options wrong[] = {{.lease_ms = 999},
                                                         {.lease_ms = 60001}};
    struct lockd_session *session = NULL;
    const size_t i = rng_below(&w->agents->rng, sizeof wrong / sizeof *wrong);
    must(w, engine_session_open(e, now_ms, &wrong[i], 100, never, NULL, &session),
         LOCKD_E_INVALID, "open a session");
    must(w, engine_session_open(e, now_ms, NULL, 100, never, NULL, NULL), LOCKD_E_INVALID,
         "open a session for nobody");
}

void misuse_ended(struct world *w, const struct agent *a, struct lockd_session *s,
                  enum lockd_rc rc)
{
    const uint64_t now_ms = agent_now_ms(w, a);
    struct lockd_lock *lock = NULL;
    struct lockd_handle *handle = NULL;
    const struct wire_request request = {
        .method = WIRE_NODE_PUT,
        .name = {.data = "/ls/local/p", .size = strlen("/ls/local/p")},
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY,
    };
    must(w, engine_acquire(s, now_ms, "/ls/local/l1", NULL, 0, never, NULL, &lock), rc,
         "acquire in a session that is over");
    must(w, engine_open(s, now_ms, "/ls/local/p", NULL, 100, never, NULL, &handle), rc,
         "open in a session that is over");
    must(w, engine_call(a->engine, now_ms, s, &request, 100, never, NULL), rc,
         "put in a session that is over");
    must(w, engine_session_close(s, now_ms, 100, never, NULL), rc, "close what is over");
}

void misuse_closed(struct world *w, const struct agent *a)
{
    const uint64_t now_ms = agent_now_ms(w, a);
    struct lockd_session *session = NULL;
    struct lockd_watch *watch = NULL;
    struct lockd_observer *observer = NULL;
    const struct wire_request request = {
        .method = WIRE_NODE_GET, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    must(w, engine_session_open(a->engine, now_ms, NULL, 100, never, NULL, &session),
         LOCKD_E_CLOSED, "open a session of a closed client");
    must(w, engine_watch(a->engine, now_ms, "/ls/local", NULL, 100, never, NULL, &watch),
         LOCKD_E_CLOSED, "watch through a closed client");
    must(w, engine_observe(a->engine, now_ms, "/ls/local/boss", NULL, NULL, &observer),
         LOCKD_E_CLOSED, "observe through a closed client");
    must(w, engine_call(a->engine, now_ms, NULL, &request, 100, never, NULL), LOCKD_E_CLOSED,
         "read through a closed client");
    engine_close(a->engine, now_ms); /* Once more. */
}

/* ------------------------------------------------------------ without a session */

static void misuse_observer(struct world *w, struct engine *e, uint64_t now_ms)
{
    struct lockd_observer *observer = NULL;
    must(w, engine_observe(e, now_ms, NULL, NULL, NULL, &observer), LOCKD_E_INVALID,
         "observe nothing");
    must(w, engine_observe(e, now_ms, "/ls/local/boss", NULL, NULL, NULL), LOCKD_E_INVALID,
         "observe for nobody");
    must(w, engine_observe(e, now_ms, "/ls/\xff", NULL, NULL, &observer), LOCKD_E_BAD_NAME,
         "observe what is no text");
    engine_lock_free(NULL, now_ms);
    engine_handle_free(NULL, now_ms);
    engine_watch_free(NULL, now_ms);
    engine_observer_free(NULL, now_ms);
    engine_session_free(NULL, now_ms);
}

/* A driver that is slow to notice speaks of connections that nobody wants any more. */
static void misuse_link(struct engine *e, uint64_t now_ms)
{
    const uint64_t past = engine_wish(e)->link + 1000;
    engine_connected(e, now_ms, past);
    engine_received(e, now_ms, past, "x\n", 2);
    engine_sent(e, now_ms, past, 1);
    engine_lost(e, now_ms, past, "No route to host");
    engine_received(e, now_ms, engine_wish(e)->link, "", 0);
}

/* Clients of all addresses that people write. */
static void misuse_client(struct world *w)
{
    static const struct {
        struct engine_config config;
        enum lockd_rc rc;
    } clients[] = {
        {{.endpoints = "h", .connect_ms = 1}, LOCKD_OK},
        {{.endpoints = "h:1,h:1,[::1],[fe80::1]:2,10.0.0.1:65535", .connect_ms = 1}, LOCKD_OK},
        {{.endpoints = "h", .connect_ms = 1, .label = "\xc3"}, LOCKD_OK},
        {{.endpoints = "h",
          .connect_ms = 1,
          .label =
              "of more octets than a label may have, so that it is cut, but not within its "
              "last letter: \u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"
              "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"},
         LOCKD_OK},
        {{.endpoints = NULL, .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h", .connect_ms = 0}, LOCKD_E_INVALID},
        {{.endpoints = "h", .connect_ms = 1, .drift_ppm = 500000}, LOCKD_E_INVALID},
        {{.endpoints = "", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h,", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:0", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:65536", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:123456", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:1x", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "h:-1", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "[::1", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "[]:1", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "[::1]x", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "a b", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "a/b:1", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "a]:1", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "a[b", .connect_ms = 1}, LOCKD_E_INVALID},
        {{.endpoints = "\xc3\xa9", .connect_ms = 1}, LOCKD_E_INVALID},
    };
    struct engine *e = NULL;
    const size_t i = rng_below(&w->agents->rng, sizeof clients / sizeof *clients);
    agents_starve(w);
    const enum lockd_rc rc = engine_new(&clients[i].config, &e);
    if (!starve_end()) {
        must(w, rc, clients[i].rc, "make a client");
    }
    if (rc == LOCKD_OK) {
        holds(w, engine_owner(e) == NULL, "a client's owner");
        engine_free(e);
    }
}

static void look_at_words(struct world *w)
{
    for (int rc = LOCKD_OK; rc <= LOCKD_E_TOO_OLD + 1; rc++) {
        holds(w, *lockd_strerror((enum lockd_rc)rc) != '\0', "the words for a result");
    }
    for (int state = 0; state <= LOCKD_CLOSED + 1; state++) {
        holds(w, *lockd_state_text((enum lockd_state)state) != '\0', "the word for a state");
    }
    holds(w, *lockd_version() != '\0', "the version");
}

/* -------------------------------------------------------------------------- all */

/* All that a client has is found from it, and says what it is. */
static void look_at_client(struct world *w, const struct agent *a)
{
    for (uint32_t i = 0; i < AGENT_VIEWS; i++) {
        const struct lockd_watch *watch = a->views[i].watch;
        const struct lockd_watch *at = NULL;
        if (watch != NULL) {
            holds(w, strncmp(engine_watch_name(watch), "/ls/local", 9) == 0, "a watch's name");
            holds(w, engine_of_watch(watch) == a->engine, "a watch's client");
            do {
                at = engine_watch_after(a->engine, at);
            } while (at != NULL && at != watch);
            holds(w, at == watch, "a client's watch");
        }
    }
    for (uint32_t i = 0; i < AGENT_SIGHTS; i++) {
        const struct lockd_observer *observer = a->sights[i].observer;
        holds(w, observer == NULL || engine_of_observer(observer) == a->engine,
              "an observer's client");
    }
}

/* Of what a seat does not hold, or have open. */
static void misuse_unheld(struct world *w, const struct agent *a, const struct seat *s)
{
    const uint64_t now_ms = agent_now_ms(w, a);
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        struct lockd_lock *lock = s->grips[i].lock;
        if (lock == NULL) {
            continue;
        }
        if (engine_lock_held(lock)) {
            must(w, engine_proclaim(lock, now_ms, NULL, 1, 100, never, NULL), LOCKD_E_INVALID,
                 "proclaim no value");
            must(w, engine_acquire_cancel(lock, now_ms), LOCKD_E_NOT_HELD, "cancel too late");
        } else {
            must(w, engine_proclaim(lock, now_ms, "x", 1, 100, never, NULL), LOCKD_E_NOT_HELD,
                 "proclaim what is not held");
            must(w, engine_release(lock, now_ms, 100, never, NULL), LOCKD_E_NOT_HELD,
                 "release what is not held");
        }
    }
    for (uint32_t i = 0; i < SEAT_GRASPS; i++) {
        struct lockd_handle *handle = s->grasps[i].handle;
        if (handle != NULL && engine_handle_instance(handle) == 0) {
            must(w, engine_close_handle(handle, now_ms, 100, never, NULL), LOCKD_E_INVALID,
                 "close what is not open");
        }
    }
}

/* All that a seat has is found from its session, and says what it is. */
static void look_at_all(struct world *w, const struct agent *a, const struct seat *s)
{
    char name[AGENT_NAME_MAX];
    holds(w, engine_of_session(s->session) == a->engine, "a session's client");
    holds(w, *lockd_state_text(engine_session_state(s->session)) != '\0', "a state");
    holds(w, engine_trouble(a->engine) != NULL, "what is the trouble");
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        const struct lockd_lock *lock = s->grips[i].lock;
        if (lock != NULL) {
            agent_name(agent_names[s->grips[i].name], name);
            holds(w, strcmp(engine_lock_name(lock), name) == 0, "a lock's name");
            holds(w, engine_of_lock(lock) == a->engine, "a lock's client");
            holds(w, !engine_lock_held(lock) || *engine_lock_sequencer(lock) != '\0',
                  "a lock's sequencer");
        }
    }
    for (uint32_t i = 0; i < SEAT_GRASPS; i++) {
        const struct lockd_handle *handle = s->grasps[i].handle;
        const struct lockd_handle *at = NULL;
        if (handle != NULL) {
            agent_name(agent_names[s->grasps[i].name], name);
            holds(w, strcmp(engine_handle_name(handle), name) == 0, "a handle's name");
            holds(w, engine_of_handle(handle) == a->engine, "a handle's client");
            do {
                at = engine_handle_next(s->session, at);
            } while (at != NULL && at != handle);
            holds(w, (at == handle) == (engine_handle_instance(handle) != 0),
                  "a session's open handle");
        }
    }
}

void seat_misuse(struct world *w, uint32_t agent, uint32_t seat)
{
    struct agent *a = &w->agents->all[agent];
    struct lockd_session *s = a->seats[seat].session;
    const uint64_t now_ms = agent_now_ms(w, a);
    look_at_all(w, a, &a->seats[seat]);
    look_at_client(w, a);
    switch (rng_below(&w->agents->rng, 10)) {
    case 0:
        misuse_open(w, s, now_ms);
        break;
    case 1:
        misuse_lock(w, s, now_ms);
        break;
    case 2:
        misuse_watch(w, a->engine, now_ms);
        break;
    case 3:
        misuse_file(w, a->engine, s, now_ms);
        break;
    case 4:
        misuse_session(w, a->engine, now_ms);
        break;
    case 5:
        misuse_observer(w, a->engine, now_ms);
        break;
    case 6:
        misuse_link(a->engine, now_ms);
        break;
    case 7:
        misuse_unheld(w, a, &a->seats[seat]);
        break;
    case 8:
        look_at_words(w);
        break;
    default:
        misuse_client(w);
        break;
    }
}
