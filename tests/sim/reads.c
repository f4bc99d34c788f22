/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of agents: at every level, at any replica, and from what sessions keep.
 *
 * What they brought is judged in the end with everything else (tools/check/check.h).
 * What is kept is judged at once, and again with each command that applies: as long as
 * a client may answer from its memory, the cell must be as it says (G12).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"
#include "tests/sim/sometimes.h"
#include "tests/sim/workload.h"

enum {
    LIST_LIMIT = 4,
    AGES_MS_MAX = 800,
    READS_MAX = 4, /* At a time. */
    HOT_NAMES = 8,
    ROUNDED_US = 2000, /* By which clocks in milliseconds may be off, twice. */
};

/* The first are those of CALL_GET and CALL_PUT; others come and go, or never are. */
static const char *const names[] = {"s0", "s1",  "s2",    "a", "b",     "t",     "t/e", "p",
                                    "h",  "d/x", "never", "",  "acl/x", "acl/y", "d",   "d/y"};
enum { READ_NAMES = sizeof names / sizeof *names };

static struct bytes text(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* ---------------------------------------------------------- what was acknowledged */

void reads_acknowledged(struct world *w, struct history_index index)
{
    struct agents *all = w->agents;
    const struct acknowledged *last = &all->acknowledged[all->acknowledged_count];
    if (index.slot == 0 ||
        (all->acknowledged_count > 0 && history_index_compare(index, last[-1].index) <= 0)) {
        return;
    }
    if (all->acknowledged_count == all->acknowledged_capacity) {
        all->acknowledged_capacity = 2 * all->acknowledged_capacity + 64;
        all->acknowledged = sim_resize(all->acknowledged,
                                       all->acknowledged_capacity * sizeof *all->acknowledged);
    }
    all->acknowledged[all->acknowledged_count++] =
        (struct acknowledged){.at_us = w->now_us, .index = index};
}

struct history_index reads_acknowledged_before(const struct world *w, uint64_t before_us)
{
    const struct agents *all = w->agents;
    uint32_t i = all->acknowledged_count;
    while (i > 0 && all->acknowledged[i - 1].at_us >= before_us) {
        i--;
    }
    return i == 0 ? (struct history_index){.slot = 0} : all->acknowledged[i - 1].index;
}

/* The latest that a state of this age may be as of, whatever clock told the age; 0: no
 * clock is to be trusted. */
uint64_t reads_as_of_us(const struct world *w, uint64_t told_us, uint64_t age_ms)
{
    const uint64_t most_us =
        age_ms * WORLD_MS + age_ms * WORLD_MS * PLAN_DRIFT_PPM / 1000000 + ROUNDED_US;
    const bool even = audit_timely(w) && !plan_has(&w->plan, FAULT_FREEZE);
    return even && told_us > most_us ? told_us - most_us : 0;
}

/* --------------------------------------------------------------------- what is kept */

static struct lease_stat stat_of(const struct lockd_stat *s)
{
    return (struct lease_stat){
        .kind = (enum lease_kind)s->kind,
        .instance = s->instance,
        .content_generation = s->generation,
        .lock_generation = s->lock_generation,
        .acl_generation = s->acl_generation,
        .checksum = s->checksum,
        .revision = s->revision,
        .modified_wall_ms = s->modified_ms,
        .size = s->size,
        .children = s->children,
        .lock_token = s->lock_token,
        .ephemeral = s->ephemeral,
    };
}

/* Of what the protocol tells apart. */
static bool outcome_of(enum lockd_rc rc, enum lease_rc *ret_rc)
{
    *ret_rc = rc == LOCKD_OK ? LEASE_OK : rc == LOCKD_E_NO_NODE ? LEASE_NO_NODE : LEASE_DENIED;
    return rc == LOCKD_OK || rc == LOCKD_E_NO_NODE || rc == LOCKD_E_DENIED;
}

/* In what the cell is not as the answer says, but for locks; NULL: in nothing. */
static const char *difference(struct world *w, const char *principal, struct bytes path,
                              bool is_get, const struct lockd_answer *answer)
{
    const struct history_request request = {.type = is_get ? HISTORY_GET : HISTORY_STAT,
                                            .principal = text(principal),
                                            .path = path,
                                            .if_generation = HISTORY_ANY,
                                            .if_instance = HISTORY_ANY};
    struct history_result now;
    enum lease_rc rc;
    audit_execute(w, &request, &now);
    const struct lease_stat kept = stat_of(&answer->stat);
    now.stat.lock_generation = now.stat.lock_token = 0;
    if (!outcome_of(answer->rc, &rc) || rc != now.rc) {
        return "outcome";
    }
    if (rc != LEASE_OK) {
        return NULL;
    }
    const bool other =
        is_get && !bytes_equal(bytes_of(answer->content, answer->content_size), now.content);
    return other ? "content" : history_stat_difference(&kept, &now.stat);
}

static void check_kept(struct world *w, uint32_t agent, struct bytes path, bool is_get,
                       const struct lockd_answer *answer, const char *when)
{
    const char *what =
        audit_timely(w) ? difference(w, agent_principal(w, agent), path, is_get, answer) : NULL;
    if (what != NULL) {
        world_fail(w, "cache",
                   "agent %u %s `%s' for %s of %.*s from its memory, which at slot %" PRIu64
                   " is not so: the %s differs",
                   agent, when, lockd_strerror(answer->rc), is_get ? "a get" : "a stat",
                   (int)path.size, (const char *)path.data, audit_last(w), what);
    }
}

static struct wire_request request_of(enum wire_method method, const char *name, bool cache)
{
    return (struct wire_request){.method = method,
                                 .name = {.data = name, .size = strlen(name)},
                                 .cache = cache,
                                 .if_generation = WIRE_ANY,
                                 .if_instance = WIRE_ANY};
}

static void check_name(struct world *w, uint32_t agent, struct lockd_session *session,
                       uint32_t i)
{
    char name[AGENT_NAME_MAX];
    for (uint32_t is_get = 0; is_get < 2; is_get++) {
        for (uint32_t cell = 0; cell < 2; cell++) {
            agents_name_in(cell == 0 ? "local" : "sim", names[i], name);
            const struct wire_request request =
                request_of(is_get ? WIRE_NODE_GET : WIRE_NODE_STAT, name, /* cache= */ true);
            struct lockd_answer *answer;
            if (engine_cached(session, &request, &answer)) {
                check_kept(w, agent, text(names[i]), is_get, answer, "would answer");
                lockd_answer_free(answer);
            }
        }
    }
}

/* A command has applied.  Where the clock is looked at last, as programs do. */
void reads_check_kept(struct world *w)
{
    const struct agents *all = w->agents;
    for (uint32_t i = 0; all->timely && i < all->count; i++) {
        const struct agent *a = &all->all[i];
        for (uint32_t j = 0; a->engine != NULL && j < all->seats; j++) {
            struct lockd_session *session = a->seats[j].session;
            if (session == NULL || engine_cache_until_ms(session) <= agent_now_ms(w, a)) {
                continue;
            }
            for (uint32_t k = 0; k < READ_NAMES; k++) {
                check_name(w, i, session, k);
            }
        }
    }
}

bool reads_are_kept(const struct world *w)
{
    const struct agents *all = w->agents;
    bool any = false;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct agent *a = &all->all[i];
        for (uint32_t j = 0; a->engine != NULL && j < all->seats; j++) {
            const struct lockd_session *session = a->seats[j].session;
            any |= session != NULL && engine_cache_until_ms(session) > agent_now_ms(w, a);
        }
    }
    return any;
}

/* -------------------------------------------------------------------------- to read */

static bool keeps(const struct seat *s)
{
    return s->session != NULL && s->caches && engine_session_state(s->session) != LOCKD_OPENING;
}

/* What a call of this kind is to be, for the judge and for the library. */
static void begin(struct world *w, uint32_t agent, uint32_t seat, uint32_t read,
                  struct wire_request request, int timeout_ms)
{
    struct agent *a = &w->agents->all[agent];
    struct call *c = agent_call_newest(w);
    c->read = read;
    c->reads = request.method == WIRE_NODE_GET    ? HISTORY_GET
               : request.method == WIRE_NODE_STAT ? HISTORY_STAT
               : request.method == WIRE_NODE_LIST ? HISTORY_LIST
                                                  : HISTORY_GET_ACL;
    c->seen_revision = a->seen_revision;
    c->acknowledged = reads_acknowledged_before(w, WORLD_NEVER);
    agent_call_within(w, timeout_ms);
    agent_call_begun(w, engine_call(a->engine, agent_now_ms(w, a),
                                    request.cache ? a->seats[seat].session : NULL, &request,
                                    timeout_ms, agent_call_done,
                                    (void *)(uintptr_t)w->agents->calls_count));
}

void read_file(struct world *w, uint32_t agent, uint32_t seat, uint32_t file, int timeout_ms)
{
    struct rng *rng = &w->agents->rng;
    char name[AGENT_NAME_MAX];
    agents_name_in(chance_percent(rng, 20) ? "sim" : "local", names[file - 1], name);
    const bool cache = keeps(&w->agents->all[agent].seats[seat]) && chance_percent(rng, 70);
    struct wire_request request = request_of(WIRE_NODE_GET, name, cache);
    request.level = !cache && chance_percent(rng, 40) ? WIRE_LEASE : WIRE_LINEARIZABLE;
    (void)agent_call_begin(w, agent, seat, 0, CALL_GET);
    agent_call_newest(w)->file = file;
    begin(w, agent, seat, file, request, timeout_ms);
}

/* Mostly of a few, and often of the same again, before what was kept of it is gone. */
static uint32_t any_read(struct rng *rng, const struct seat *s)
{
    if (s->last_read != 0 && chance_percent(rng, 50)) {
        return s->last_read;
    }
    return 1 + (uint32_t)rng_below(rng, chance_percent(rng, 75) ? HOT_NAMES : READ_NAMES);
}

static void read_any(struct world *w, uint32_t agent, uint32_t seat)
{
    static const enum wire_level levels[] = {WIRE_LINEARIZABLE, WIRE_LEASE, WIRE_SEQUENTIAL,
                                             WIRE_STALE};
    struct rng *rng = &w->agents->rng;
    struct seat *s = &w->agents->all[agent].seats[seat];
    const uint32_t read = any_read(rng, s);
    char name[AGENT_NAME_MAX];
    agents_name_in(chance_percent(rng, 20) ? "sim" : "local", names[read - 1], name);
    s->last_read = read;
    const bool cache = keeps(s) && chance_percent(rng, 80);
    struct wire_request request =
        request_of(chance_percent(rng, 70) ? WIRE_NODE_GET : WIRE_NODE_STAT, name, cache);
    if (!cache) {
        request.level = levels[rng_below(rng, sizeof levels / sizeof *levels)];
        if (chance_percent(rng, 20)) {
            request.method = WIRE_NODE_LIST;
            request.limit = LIST_LIMIT;
        } else if (chance_percent(rng, 10)) {
            request.method = WIRE_NODE_GET_ACL;
        }
    }
    const bool old = request.level == WIRE_SEQUENTIAL || request.level == WIRE_STALE;
    if (old && chance_percent(rng, 30)) {
        request.max_age_ms = rng_between(rng, 1, AGES_MS_MAX);
    }
    (void)agent_call_begin(w, agent, seat, 0, CALL_READ);
    begin(w, agent, seat, read, request, (int)rng_between(rng, 200, 4000));
}

void read_use(struct world *w, uint32_t agent, uint32_t seat)
{
    const uint64_t count = rng_between(&w->agents->rng, 1, READS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        read_any(w, agent, seat);
    }
}

/* -------------------------------------------------------------------------- was read */

static struct bytes copy_entries(struct history *h, const struct lockd_answer *answer)
{
    uint8_t room[LIST_LIMIT * HISTORY_CHILD_MAX];
    struct writer w = writer_over(room, sizeof room);
    for (size_t i = 0; i < answer->entries_count; i++) {
        const struct lease_stat stat = stat_of(&answer->entries[i].stat);
        history_child_encode(&w, text(answer->entries[i].name), &stat);
    }
    return history_copy(h, bytes_of(w.data, w.size));
}

static struct bytes copy_acl(struct history *h, const struct lockd_acl *acl)
{
    const struct bytes names_of[LEASE_RIGHTS] = {text(acl->read), text(acl->write),
                                                 text(acl->change)};
    uint8_t room[HISTORY_ACL_MAX];
    struct writer w = writer_over(room, sizeof room);
    history_acl_encode(&w, names_of);
    return history_copy(h, bytes_of(w.data, w.size));
}

static struct history_result result_of(struct history *h, const struct call *c,
                                       const struct lockd_answer *answer, enum lease_rc rc)
{
    struct history_result result = {
        .rc = rc,
        .epoch = answer->epoch,
        .revision = answer->revision,
        .index = {.slot = answer->slot, .position = (uint32_t)answer->position}};
    if (rc == LEASE_OK && c->reads == HISTORY_LIST) {
        result.children = copy_entries(h, answer);
        result.children_count = (uint32_t)answer->entries_count;
        result.more = answer->more;
    } else if (rc == LEASE_OK && c->reads == HISTORY_GET_ACL) {
        result.children = copy_acl(h, answer->acl);
    } else if (rc == LEASE_OK) {
        result.stat = stat_of(&answer->stat);
    }
    if (rc == LEASE_OK && c->reads == HISTORY_GET) {
        result.content = history_copy(h, bytes_of(answer->content, answer->content_size));
    }
    return result;
}

/* A read shows no earlier revision than any answer before it (G13). */
static void check_order(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    const struct call *c = &w->agents->calls[number];
    if (answer->level != LOCKD_STALE && answer->revision < c->seen_revision) {
        world_fail(w, "session-order",
                   "call %u reads revision %" PRIu64 " at level %d, behind %" PRIu64, number,
                   answer->revision, (int)answer->level, c->seen_revision);
    }
}

static void note(const struct call *c, const struct lockd_answer *answer)
{
    const bool old = answer->level == LOCKD_SEQUENTIAL || answer->level == LOCKD_STALE;
    sometimes_if(answer->cached, cache_answers);
    sometimes_if(answer->cached && answer->rc == LOCKD_E_NO_NODE, cache_answers_nothing);
    sometimes_if(answer->level == LOCKD_LEASE, read_by_lease);
    sometimes_if(old && answer->has_age, read_with_age);
    sometimes_if(old && history_index_compare((struct history_index){.slot = answer->slot},
                                              c->acknowledged) < 0,
                 read_behind);
}

void agent_read(struct world *w, uint32_t number, const struct lockd_answer *answer)
{
    struct agents *all = w->agents;
    const struct call *c = &all->calls[number];
    struct agent *a = &all->all[c->agent];
    struct history *h = workload_history(w);
    enum lease_rc rc;
    sometimes_if(answer->rc == LOCKD_E_TOO_OLD, read_too_old);
    if (c->read == 0 || answer->slot == 0 || !outcome_of(answer->rc, &rc)) {
        return; /* Of a file where a directory was wanted, say. */
    }
    const struct bytes path = text(names[c->read - 1]);
    const bool old = answer->level == LOCKD_SEQUENTIAL || answer->level == LOCKD_STALE;
    check_order(w, number, answer);
    note(c, answer);
    if (answer->cached) {
        check_kept(w, c->agent, path, c->reads == HISTORY_GET, answer, "answers");
    }
    if (answer->level != LOCKD_STALE && answer->revision > a->seen_revision) {
        a->seen_revision = answer->revision;
    }
    if (answer->cached && !audit_timely(w)) {
        return;
    }
    struct history_op op = {
        .invoked_us = c->begun_us,
        .ended_us = w->now_us,
        .connection = UINT64_MAX,
        .outcome = HISTORY_ANSWERED,
        .level = answer->cached ? HISTORY_KEPT
                 : old          ? HISTORY_OLD
                                : HISTORY_NEWEST,
        .as_of_us = answer->has_age ? reads_as_of_us(w, c->begun_us, answer->age_ms) : 0,
        .request = {.type = c->reads,
                    .principal = text(agent_principal(w, c->agent)),
                    .path = path,
                    .limit = c->reads == HISTORY_LIST ? LIST_LIMIT : 0,
                    .if_generation = HISTORY_ANY,
                    .if_instance = HISTORY_ANY},
        .result = result_of(h, c, answer, rc)};
    if (answer->cached && history_index_compare(c->acknowledged, op.result.index) > 0) {
        op.result.index = c->acknowledged;
    }
    all->reads =
        model_grow(all->reads, all->reads_count, &all->reads_capacity, sizeof *all->reads);
    all->reads[all->reads_count++] = op;
}

void agent_read_kept(struct world *w, uint32_t agent, uint32_t name, bool is_get,
                     const struct lockd_answer *answer)
{
    sometimes(cache_answers_handle);
    check_kept(w, agent, agent_path(name), is_get, answer, "answers");
}

void reads_add_to(const struct world *w, struct history *h)
{
    for (uint32_t i = 0; i < w->agents->reads_count; i++) {
        history_op_add(h, &w->agents->reads[i]);
    }
}
