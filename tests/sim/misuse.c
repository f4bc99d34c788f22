/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program does wrong.  The library refuses it at once, with the right word,
 * and then nobody ever hears of it again: no callback, no trace at the cell.  And
 * what it may look at without asking anybody.
 */
#include <string.h>

#include "tests/sim/agents_internal.h"

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

static void holds(struct world *w, bool condition, const char *what)
{
    if (!condition) {
        world_fail(w, "calls", "%s is not what was begun", what);
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
    switch (rng_below(&w->agents->rng, 5)) {
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
    default:
        misuse_session(w, a->engine, now_ms);
        break;
    }
}
