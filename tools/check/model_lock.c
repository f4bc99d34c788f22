/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks and openers of the model: one array of claims for all locks, in the order
 * in which they were asked for, and one of openers, looked through from the front
 * each time.
 */
#include "tools/check/model.h"

/* -------------------------------------------------------------------- queues */

/* Of the node's claims: how many are held, closed by a lock-delay, waiting; and is
 * a held one exclusive? */
struct queue {
    uint32_t held, delayed, waiting;
    bool exclusive;
};

static struct queue queue_of(const struct model *m, uint64_t instance)
{
    struct queue q = {.held = 0};
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == instance) {
            q.held += claim->held;
            q.delayed += claim->delayed;
            q.waiting += !claim->held && !claim->delayed;
            q.exclusive |= claim->held && claim->mode == LEASE_EXCLUSIVE;
        }
    }
    return q;
}

static bool compatible(struct queue q, enum lease_mode mode)
{
    return q.delayed == 0 && (q.held == 0 || (mode == LEASE_SHARED && !q.exclusive));
}

static enum lease_rc refusal(struct queue q)
{
    return q.held == 0 && q.delayed > 0 ? LEASE_LOCK_DELAY : LEASE_LOCKED;
}

bool model_held(const struct model *m, uint64_t instance)
{
    return queue_of(m, instance).held > 0;
}

bool model_claimed_by_others(const struct model *m, uint64_t instance, uint64_t session)
{
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == instance && (claim->session != session || claim->delayed)) {
            return true;
        }
    }
    return false;
}

struct model_claim *model_waiting(const struct model *m, uint64_t session, uint64_t request)
{
    for (uint32_t i = 0; i < m->claims_count; i++) {
        struct model_claim *claim = &m->claims[i];
        if (!claim->held && !claim->delayed && claim->session == session &&
            claim->request == request) {
            return claim;
        }
    }
    return NULL;
}

static void drop(struct model *m, const struct model_claim *claim)
{
    const size_t at = (size_t)(claim - m->claims);
    m->claims_count--;
    memmove(&m->claims[at], &m->claims[at + 1], (m->claims_count - at) * sizeof *claim);
}

/* What happened to a claim. */
static void tell(struct model_step *step, const struct model_claim *claim,
                 enum lease_change change, bool failed)
{
    const struct model_node *node = model_of(step->m, claim->instance);
    const struct lease_event event = {.change = change,
                                      .session = claim->session,
                                      .mode = claim->mode,
                                      .token = change == LEASE_CONTENDED ? 0 : node->token,
                                      .failed = failed,
                                      .delay_ms = failed ? claim->delay_ms : 0};
    model_happened(step, node, &event);
}

static void hold(struct model_step *step, struct model_claim *claim)
{
    struct model_node *node = model_of(step->m, claim->instance);
    if (queue_of(step->m, claim->instance).held == 0) {
        node->token = step->revision;
        node->lock_generation++;
    }
    claim->held = true;
    tell(step, claim, LEASE_GRANTED, /* failed= */ false);
}

/* Grants from the front, as far as they go together. */
static void serve(struct model_step *step, uint64_t instance)
{
    struct model *m = step->m;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        struct model_claim *claim = &m->claims[i];
        if (claim->instance != instance || claim->held || claim->delayed) {
            continue;
        }
        if (!compatible(queue_of(m, instance), claim->mode)) {
            return;
        }
        if (!model_may(m, model_of(m, instance)->path,
                       model_session(m, claim->session)->principal, LEASE_WRITE)) {
            model_settled(step, claim->session,
                          &(struct model_outcome){.request = claim->request,
                                                  .rc = LEASE_DENIED,
                                                  .index = step->index});
            drop(m, claim);
            m->denied_waiting++;
            i--; /* Another has its place. */
            continue;
        }
        hold(step, claim);
        model_settled(step, claim->session,
                      &(struct model_outcome){.request = claim->request,
                                              .token = model_of(m, instance)->token,
                                              .index = step->index});
    }
}

/* ------------------------------------------------------------------- openers */

static bool opened(const struct model *m, uint64_t instance)
{
    for (uint32_t i = 0; i < m->opens_count; i++) {
        if (m->opens[i].instance == instance) {
            return true;
        }
    }
    return false;
}

static uint32_t open_at(const struct model *m, uint64_t instance, uint64_t session,
                        uint64_t handle)
{
    uint32_t i = 0;
    while (i < m->opens_count &&
           (m->opens[i].instance != instance || m->opens[i].session != session ||
            m->opens[i].handle != handle)) {
        i++;
    }
    return i;
}

static void shut(struct model *m, uint32_t at)
{
    m->opens_count--;
    memmove(&m->opens[at], &m->opens[at + 1], (m->opens_count - at) * sizeof *m->opens);
}

/* An ephemeral node goes when nothing keeps it any more. */
void model_look_at(struct model_step *step, uint64_t instance)
{
    const struct model_node *node = model_of(step->m, instance);
    const struct queue q = queue_of(step->m, instance);
    if (node != NULL && node->ephemeral && node->children == 0 &&
        q.held + q.delayed + q.waiting == 0 && !opened(step->m, instance)) {
        model_remove(step, node);
    }
}

/* The node is about to be deleted. */
void model_drop_node(struct model_step *step, uint64_t instance)
{
    struct model *m = step->m;
    for (uint32_t i = 0; i < m->claims_count;) {
        const struct model_claim claim = m->claims[i];
        if (claim.instance != instance) {
            i++;
            continue;
        }
        if (claim.held) {
            tell(step, &claim, LEASE_RELEASED, /* failed= */ false);
        } else {
            model_settled(step, claim.session,
                          &(struct model_outcome){.request = claim.request,
                                                  .rc = LEASE_NO_NODE,
                                                  .index = step->index});
        }
        drop(m, &m->claims[i]);
    }
    for (uint32_t i = m->opens_count; i > 0; i--) {
        if (m->opens[i - 1].instance == instance) {
            shut(m, i - 1);
        }
    }
}

/* ------------------------------------------------------------------ commands */

static bool other_instance(const struct lease_command *c, const struct model_node *node)
{
    return c->if_instance != LEASE_ANY && c->if_instance != node->instance;
}

/* Room for one more claim; for one more that waits? */
static bool claims_left(const struct model *m)
{
    return m->claims_count < m->limits.claims;
}

static bool queue_left(const struct model *m, struct queue q, uint64_t session)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        waiting += claim->session == session && !claim->held && !claim->delayed;
    }
    return claims_left(m) && q.waiting < m->limits.waiters && waiting < LEASE_WAITING_MAX;
}

static struct model_claim *claim_new(struct model_step *step, uint64_t instance)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    m->claims = model_grow(m->claims, m->claims_count, &m->claims_capacity, sizeof *m->claims);
    m->claims[m->claims_count] = (struct model_claim){.instance = instance,
                                                      .session = c->session,
                                                      .handle = c->handle,
                                                      .request = c->request,
                                                      .number = ++m->claims_made,
                                                      .mode = c->mode,
                                                      .delay_ms = c->delay_ms};
    return &m->claims[m->claims_count++];
}

static enum lease_rc granted(struct model_step *step, uint64_t instance,
                             struct model_outcome *outcome)
{
    hold(step, claim_new(step, instance));
    outcome->token = model_of(step->m, instance)->token;
    return LEASE_OK;
}

static enum lease_rc acquire_missing(struct model_step *step, struct model_outcome *outcome)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    if (c->if_instance != LEASE_ANY) {
        return LEASE_STALE_INSTANCE;
    }
    if (!c->create) {
        return LEASE_NO_NODE;
    }
    if (m->count >= m->limits.nodes || !claims_left(m)) {
        return LEASE_LIMIT;
    }
    const struct model_node *node = model_make(step, c->path, LEASE_FILE, bytes_of(NULL, 0),
                                               /* ephemeral= */ false);
    return granted(step, node->instance, outcome);
}

enum lease_rc model_acquire(struct model_step *step, struct model_outcome *outcome)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    const enum lease_rc way = model_check_way(m, c->path);
    if (way != LEASE_OK) {
        return c->if_instance != LEASE_ANY            ? LEASE_STALE_INSTANCE
               : way == LEASE_NO_PARENT && !c->create ? LEASE_NO_NODE
                                                      : way;
    }
    const struct model_node *node = model_find(m, c->path);
    if (node == NULL) {
        return acquire_missing(step, outcome);
    }
    if (other_instance(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    const uint64_t instance = node->instance;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == instance && claim->session == c->session &&
            claim->handle == c->handle) {
            return LEASE_OWNED;
        }
    }
    const struct queue q = queue_of(m, instance);
    if (q.waiting == 0 && compatible(q, c->mode)) {
        return claims_left(m) ? granted(step, instance, outcome) : LEASE_LIMIT;
    }
    if (!c->wait) {
        return refusal(q);
    }
    if (!queue_left(m, q, c->session)) {
        return LEASE_LIMIT;
    }
    tell(step, claim_new(step, instance), LEASE_CONTENDED, /* failed= */ false);
    return LEASE_WAITING;
}

enum lease_rc model_release(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    const struct model_node *node = model_find(m, c->path);
    for (uint32_t i = 0; node != NULL && i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->instance == node->instance && claim->session == c->session &&
            claim->handle == c->handle && claim->held && node->token == c->token) {
            const uint64_t instance = node->instance;
            tell(step, claim, LEASE_RELEASED, /* failed= */ false);
            drop(m, claim);
            serve(step, instance);
            model_look_at(step, instance);
            return LEASE_OK;
        }
    }
    return LEASE_NOT_HELD;
}

void model_stop_waiting(struct model_step *step, const struct model_claim *claim,
                        enum lease_rc rc)
{
    const uint64_t instance = claim->instance;
    model_settled(
        step, claim->session,
        &(struct model_outcome){.request = claim->request, .rc = rc, .index = step->index});
    drop(step->m, claim);
    serve(step, instance);
    model_look_at(step, instance);
}

enum lease_rc model_time_out(struct model_step *step)
{
    const struct lease_command *c = step->command;
    const struct model_claim *claim = model_waiting(step->m, c->subject, c->subject_request);
    if (claim != NULL) {
        model_stop_waiting(step, claim, refusal(queue_of(step->m, claim->instance)));
    }
    return LEASE_OK;
}

enum lease_rc model_delay_over(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        if (claim->delayed && claim->instance == c->subject &&
            claim->number == c->subject_request) {
            drop(m, claim);
            serve(step, c->subject);
            model_look_at(step, c->subject);
            break;
        }
    }
    return LEASE_OK;
}

static enum lease_rc open_missing(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    if (c->if_instance != LEASE_ANY && c->if_instance != 0) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->kind == 0) {
        return LEASE_NO_NODE;
    }
    if (m->count >= m->limits.nodes || (c->ephemeral && m->opens_count >= m->limits.opens)) {
        return LEASE_LIMIT;
    }
    const struct model_node *node =
        model_make(step, c->path, c->kind, c->content, c->ephemeral);
    if (node->ephemeral) {
        m->opens = model_grow(m->opens, m->opens_count, &m->opens_capacity, sizeof *m->opens);
        m->opens[m->opens_count++] = (struct model_open){
            .instance = node->instance, .session = c->session, .handle = c->handle};
    }
    return LEASE_OK;
}

static enum lease_rc check_open(const struct lease_command *c, const struct model_node *node)
{
    if (c->if_instance == 0) {
        return LEASE_EXISTS;
    }
    if (other_instance(c, node)) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->kind != 0 && c->kind != node->kind) {
        return c->kind == LEASE_FILE ? LEASE_NOT_A_FILE : LEASE_NOT_A_DIRECTORY;
    }
    return LEASE_OK;
}

enum lease_rc model_open(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    const enum lease_rc way = model_check_way(m, c->path);
    if (way != LEASE_OK) {
        const bool pinned = c->if_instance != LEASE_ANY && c->if_instance != 0;
        return pinned                                   ? LEASE_STALE_INSTANCE
               : way == LEASE_NO_PARENT && c->kind == 0 ? LEASE_NO_NODE
                                                        : way;
    }
    const struct model_node *node = model_find(m, c->path);
    if (node == NULL) {
        return open_missing(step);
    }
    const enum lease_rc rc = check_open(c, node);
    if (rc != LEASE_OK || !node->ephemeral ||
        open_at(m, node->instance, c->session, c->handle) < m->opens_count) {
        return rc;
    }
    if (m->opens_count >= m->limits.opens) {
        return LEASE_LIMIT;
    }
    m->opens = model_grow(m->opens, m->opens_count, &m->opens_capacity, sizeof *m->opens);
    m->opens[m->opens_count++] = (struct model_open){
        .instance = node->instance, .session = c->session, .handle = c->handle};
    return LEASE_OK;
}

enum lease_rc model_close(struct model_step *step)
{
    struct model *m = step->m;
    const struct lease_command *c = step->command;
    const uint32_t at = open_at(m, c->if_instance, c->session, c->handle);
    if (at < m->opens_count) {
        shut(m, at);
        model_look_at(step, c->if_instance);
    }
    return LEASE_OK;
}

/* ------------------------------------------------------------- a session's end */

/* The session's claim that comes next, by instance and handle; NULL: it has none. */
static struct model_claim *lowest_claim(const struct model *m, uint64_t session)
{
    struct model_claim *lowest = NULL;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        struct model_claim *claim = &m->claims[i];
        if (claim->session == session && !claim->delayed &&
            (lowest == NULL || claim->instance < lowest->instance ||
             (claim->instance == lowest->instance && claim->handle < lowest->handle))) {
            lowest = claim;
        }
    }
    return lowest;
}

static uint32_t lowest_open(const struct model *m, uint64_t session)
{
    uint32_t lowest = m->opens_count;
    for (uint32_t i = 0; i < m->opens_count; i++) {
        const struct model_open *open = &m->opens[i];
        const struct model_open *other = &m->opens[lowest];
        if (open->session == session &&
            (lowest == m->opens_count || open->instance < other->instance ||
             (open->instance == other->instance && open->handle < other->handle))) {
            lowest = i;
        }
    }
    return lowest;
}

static void end_claim(struct model_step *step, struct model_claim *claim, bool failed)
{
    if (claim->held) {
        tell(step, claim, LEASE_RELEASED, failed);
    }
    if (claim->held && failed && claim->delay_ms > 0) {
        claim->held = false;
        claim->delayed = true;
    } else {
        drop(step->m, claim);
    }
}

/* Of one node all claims go together, so that its queue sees none of them. */
void model_end_claims(struct model_step *step, uint64_t session, bool failed)
{
    struct model *m = step->m;
    struct model_claim *claim = lowest_claim(m, session);
    while (claim != NULL) {
        const uint64_t instance = claim->instance;
        do {
            end_claim(step, claim, failed);
            claim = lowest_claim(m, session);
        } while (claim != NULL && claim->instance == instance);
        serve(step, instance);
        model_look_at(step, instance);
        claim = lowest_claim(m, session);
    }
    uint32_t at;
    while ((at = lowest_open(m, session)) < m->opens_count) {
        const uint64_t instance = m->opens[at].instance;
        shut(m, at);
        model_look_at(step, instance);
    }
}
