/* SPDX-License-Identifier: Apache-2.0
 *
 * service_queue.c -- writes: from the request through the log to the outcome.
 *
 * A command is proposed in one slot and in no other, whatever happens to the
 * mastership.  So what becomes of it is known as soon as something is applied
 * at that slot: our own entry, in force, is its outcome; anything else there,
 * and also our own entry behind a later master's, says for certain that the
 * command was not and will not be executed.  The same is certain of all that we
 * proposed in later slots once a later master's own entry is applied.  Only when
 * nothing is heard for two leases is the outcome unknown.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ---------------------------------------------------------------- requests */

static enum lease_command_type command_type(enum service_op op)
{
    switch (op) {
    case SERVICE_PUT:
        return LEASE_CMD_PUT;
    case SERVICE_CREATE:
        return LEASE_CMD_CREATE;
    case SERVICE_DELETE:
        return LEASE_CMD_DELETE;
    case SERVICE_SESSION_OPEN:
        return LEASE_CMD_SESSION_OPEN;
    case SERVICE_SESSION_CLOSE:
        return LEASE_CMD_SESSION_CLOSE;
    case SERVICE_LOCK_ACQUIRE:
        return LEASE_CMD_ACQUIRE;
    case SERVICE_LOCK_RELEASE:
        return LEASE_CMD_RELEASE;
    case SERVICE_LOCK_CANCEL:
        return LEASE_CMD_CANCEL;
    case SERVICE_NODE_OPEN:
        return LEASE_CMD_OPEN;
    case SERVICE_NODE_CLOSE:
        return LEASE_CMD_CLOSE;
    case SERVICE_SET_ACL:
        return LEASE_CMD_SET_ACL;
    case SERVICE_GET:
    case SERVICE_STAT:
    case SERVICE_LIST:
    case SERVICE_STATUS:
    case SERVICE_SESSION_KEEPALIVE:
    case SERVICE_LOCK_LIST:
    case SERVICE_LOCK_CHECK:
    case SERVICE_WATCH_ADD:
    case SERVICE_WATCH_REMOVE:
    case SERVICE_GET_ACL:
    case SERVICE_CACHE_BEGIN:
    case SERVICE_CACHE_ACK:
        break;
    }
    assert(false && "a write");
    return LEASE_CMD_PUT;
}

/* Does it take space?  What gives some back always gets in, and so does all that
 * those need who hold something already. */
static bool grows(const struct service_request *request)
{
    const enum service_op op = request->op;
    return op == SERVICE_PUT || op == SERVICE_CREATE || op == SERVICE_SESSION_OPEN ||
           (op == SERVICE_NODE_OPEN && request->kind != 0) ||
           (op == SERVICE_LOCK_ACQUIRE && request->create);
}

static bool is_too_large(const struct service_request *request)
{
    return request->content.size > LEASE_CONTENT_MAX ||
           request->principal.size > LEASE_PRINCIPAL_MAX ||
           request->label.size > LEASE_LABEL_MAX || request->secret.size > LEASE_SECRET_MAX ||
           request->acks_count > LEASE_ACK_RANGES_MAX ||
           request->delay_ms > LEASE_DELAY_MS_MAX ||
           request->acl[LEASE_READ].size > LEASE_ACL_NAME_MAX ||
           request->acl[LEASE_WRITE].size > LEASE_ACL_NAME_MAX ||
           request->acl[LEASE_CHANGE].size > LEASE_ACL_NAME_MAX;
}

/* Whose request it is, and what he has heard of: of one-shot requests nothing. */
static void sign(struct lease_command *command, const struct service_request *request)
{
    command->session = request->session;
    command->request = request->request;
    command->ack_floor = request->ack_floor;
    command->acks_count = request->acks_count;
    for (uint32_t i = 0; i < request->acks_count; i++) {
        command->acks[i] = request->acks[i];
    }
}

static void describe_session(struct lease_command *command,
                             const struct service_request *request)
{
    assert(request->session != 0);
    command->subject = request->session;
    command->lease_ms = request->lease_ms;
    command->label = request->label;
    command->cache = request->cache;
    lease_secret_hash(request->secret, command->secret_hash);
}

static struct lease_command make_command(const struct service_request *request,
                                         struct bytes path)
{
    struct lease_command command = {
        .type = command_type(request->op),
        .principal = request->principal,
        .path = path,
        .kind = request->kind,
        .ephemeral = request->ephemeral,
        .content = request->content,
        .if_generation = request->if_generation,
        .if_instance = request->if_instance,
        .subject_request = request->cancel,
        .mode = request->mode,
        .handle = request->handle,
        .wait = request->wait,
        .create = request->create,
        .wait_ms = request->wait ? request->wait_ms : 0,
        .delay_ms = request->delay_ms,
        .token = request->token,
        .acl = {request->acl[LEASE_READ], request->acl[LEASE_WRITE],
                request->acl[LEASE_CHANGE]},
    };
    if (request->op == SERVICE_SESSION_OPEN) {
        describe_session(&command, request);
    } else if (request->session != 0) {
        sign(&command, request);
    }
    return command;
}

static void queue_command(struct service *s, const struct service_request *request,
                          const struct lease_command *command)
{
    const size_t size = lease_command_size(command);
    if (size > s->batch_bytes) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_TOO_LARGE);
        return;
    }
    if (!cache_has_room(s, size)) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return;
    }
    struct pending pending = {
        .client = request->client,
        .tag = request->tag,
        .size = (uint32_t)size,
        .op = (uint8_t)request->op,
    };
    if (!cache_admit(s, &pending, command)) {
        return; /* It is held. */
    }
    uint8_t *at = pending_push(&s->queue, &pending);
    assert(at != NULL);
    struct writer w = writer_over(at, size);
    lease_command_encode(command, &w);
    assert(!w.failed && w.size == size);
}

void queue_request(struct service *s, const struct service_request *request, struct bytes path)
{
    if (is_too_large(request)) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_TOO_LARGE);
        return;
    }
    if (s->epoch == 0 || s->closing) {
        reply_not_master(s, request->client, request->tag, request->op);
        return;
    }
    if (s->low_space && grows(request)) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return;
    }
    if (request->op != SERVICE_SESSION_OPEN && request->session != 0 &&
        session_denies(s, request)) {
        read_denied(s, s->now_ms, request);
        return;
    }
    const struct lease_command command = make_command(request, path);
    queue_command(s, request, &command);
}

void queue_propose(struct service *s, uint64_t wall_ms)
{
    struct bytes octets;
    uint32_t count;
    while (s->epoch != 0 && pending_next_batch(&s->queue, SERVICE_BATCH_COMMANDS,
                                               s->batch_bytes, &octets, &count)) {
        paxos_slot slot;
        if (paxos_propose(s->paxos, s->now_ms, wall_ms, octets, &slot) != PAXOS_OK) {
            /* The window is full.  A mastership lost is seen by service.c. */
            return;
        }
        pending_proposed(&s->queue, slot, s->epoch, count, octets.size);
    }
}

/* ---------------------------------------------------------------- outcomes */

/* The next command whose outcome is known. */
static struct pending take(struct service *s)
{
    const struct pending p = pending_take(&s->queue);
    cache_settled(s, p.intent);
    return p;
}

/* Commands of a slot that came to nothing. */
static void answer_slot(struct service *s, enum service_outcome outcome)
{
    for (uint32_t count = pending_oldest(&s->queue)->count; count > 0; count--) {
        const struct pending p = take(s);
        if (p.op == 0) {
            continue;
        }
        if (outcome == SERVICE_NOT_MASTER) {
            reply_not_master(s, p.client, p.tag, (enum service_op)p.op);
        } else {
            reply_add(s, p.client, p.tag, (enum service_op)p.op, outcome);
        }
    }
}

struct service_reply *queue_answer(struct service *s, const struct pending *asker,
                                   const struct lease_at *at, const struct lease_result *result)
{
    struct service_reply *reply =
        reply_add(s, asker->client, asker->tag, (enum service_op)asker->op,
                  result->rc == LEASE_OK ? SERVICE_DONE : SERVICE_REFUSED);
    reply->rc = result->rc;
    reply->epoch = at->epoch;
    reply->revision = result->revision;
    reply->slot = result->slot;
    reply->position = mutant(position_of_entry) ? 1 : result->position;
    reply->stat = result->stat;
    reply->created = result->created;
    reply->session = result->session;
    reply->lease_ms = result->lease_ms;
    reply->token = result->token;
    return reply;
}

/* The path of an acquire is borrowed from the entry, which paxos keeps until
 * service_advance(). */
static void answer_command(struct service *s, const struct lease_at *at,
                           const struct lease_command *command,
                           const struct lease_result *result)
{
    const struct pending p = take(s);
    if (p.op == 0) {
        return;
    }
    if (result->rc == LEASE_WAITING) {
        lock_waits(s, &p, at, command);
        return;
    }
    struct service_reply *reply = queue_answer(s, &p, at, result);
    if (command->type == LEASE_CMD_ACQUIRE) {
        reply->path = command->path;
        reply->mode = command->mode;
        reply->session = command->session;
    }
    if (command->type == LEASE_CMD_SESSION_OPEN && command->cache && result->rc == LEASE_OK) {
        reply->cache_ms = cache_opened(s, p.client, result->session, result->lease_ms);
    }
}

/* Is this the entry that we proposed in its slot?  One master has an epoch, and
 * proposes one value in a slot. */
static bool is_ours(const struct pending_slot *slot, const struct paxos_entry *entry)
{
    return slot != NULL && slot->slot == entry->slot && entry->value.kind == PAXOS_COMMANDS &&
           entry->value.epoch == slot->epoch;
}

/* What we proposed up to `slot` has been answered, if it is in the log.  What
 * we proposed behind it can't come into force any more once a later master's
 * epoch has begun. */
static void settle_slots(struct service *s, paxos_slot slot)
{
    const struct pending_slot *oldest = pending_oldest(&s->queue);
    while (oldest != NULL &&
           (oldest->slot <= slot || !lease_in_force(s->lease, oldest->epoch))) {
        answer_slot(s, SERVICE_NOT_MASTER);
        oldest = pending_oldest(&s->queue);
    }
}

void queue_lost(struct service *s)
{
    s->unknown_at_ms = s->now_ms + 2 * (uint64_t)s->config.paxos.lease_ms;
    if (mutant(retry_in_second_slot)) {
        pending_rewind(&s->queue);
        return;
    }
    for (uint32_t i = 0; i < s->queue.queued; i++) {
        const struct pending *p = pending_queued(&s->queue, i);
        cache_settled(s, p->intent);
        if (p->op != 0) {
            reply_not_master(s, p->client, p->tag, (enum service_op)p->op);
        }
    }
    pending_drop_queued(&s->queue);
}

bool queue_in_doubt(const struct service *s)
{
    const struct pending_slot *oldest = pending_oldest(&s->queue);
    return oldest != NULL && oldest->epoch != s->epoch;
}

void queue_give_up(struct service *s)
{
    while (queue_in_doubt(s) && s->now_ms >= s->unknown_at_ms) {
        answer_slot(s, mutant(refused_when_lost) ? SERVICE_NOT_MASTER : SERVICE_UNKNOWN);
    }
}

/* ------------------------------------------------------------------- apply */

/* Applies a batch.  The number of its commands is returned by `ret_count`. */
static bool apply_commands(struct service *s, const struct paxos_entry *entry,
                           uint32_t *ret_count)
{
    const bool ours = is_ours(pending_oldest(&s->queue), entry);
    if (ours) {
        assert(pending_oldest(&s->queue)->size == entry->value.data.size);
    }
    struct lease_at at = {
        .slot = entry->slot,
        .epoch = entry->value.epoch,
        .wall_ms = entry->value.wall_ms,
    };
    struct reader r = reader_over(entry->value.data);
    while (!read_done(&r)) {
        struct lease_command command;
        if (!lease_command_decode(&r, &command)) {
            return false;
        }
        at.position++;
        struct lease_result result;
        lease_apply(s->lease, &at, &command, &result);
        if (ours) {
            answer_command(s, &at, &command, &result);
        }
        if (s->epoch != 0) {
            sessions_applied(s, &at, &command, &result);
            locks_settled(s, &at);
        }
    }
    *ret_count = at.position;
    return true;
}

bool entry_apply(struct service *s, const struct paxos_entry *entry)
{
    const struct paxos_value *value = &entry->value;
    assert(entry->slot == lease_position(s->lease).slot + 1);

    const bool in_force = lease_in_force(s->lease, value->epoch);
    uint32_t count = 0;
    if (paxos_self_made(value->kind)) {
        if (value->kind != PAXOS_NOOP || !mutant(behind_noop_applied)) {
            lease_begin_epoch(s->lease, entry->slot, value->epoch);
        }
    } else if (in_force && !apply_commands(s, entry, &count)) {
        return false;
    }
    lease_slot_done(s->lease, entry->slot, count);
    settle_slots(s, entry->slot);
    if (s->epoch != 0) {
        caches_applied(s, entry->slot);
    }
    if (!s->dirty) {
        s->dirty = true;
        s->dirty_ms = s->now_ms;
    }
    if (s->config.observe != NULL) {
        s->config.observe(s->config.observe_context, entry, in_force, lease_digest(s->lease));
    }
    return true;
}
