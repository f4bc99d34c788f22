/* SPDX-License-Identifier: Apache-2.0
 *
 * service_read.c -- reads: from the request through a round to the answer.
 *
 * A linearizable read needs no slot and no disk.  It waits for a confirmation
 * round that began after it arrived: a majority then still followed our ballot,
 * so nothing can have been chosen under another one and acknowledged before the
 * read arrived.  Whatever was acknowledged under ours is applied here, because
 * we acknowledge after our own apply.  So the state as it stands after the round
 * answers the read, and a refusal that depends on it is as good as a value.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- names */

static bool is_this_cell(const struct service *s, struct bytes word)
{
    static const char local[] = "local";
    return bytes_equal(word, bytes_of(local, sizeof local - 1)) ||
           bytes_equal(word, bytes_of(s->config.cell, strlen(s->config.cell)));
}

bool name_path(const struct service *s, struct bytes name, struct bytes *ret_path)
{
    static const char prefix[] = "/ls/";
    const size_t prefix_size = sizeof prefix - 1;
    if (name.size < prefix_size || memcmp(name.data, prefix, prefix_size) != 0) {
        return false;
    }
    const struct bytes rest = bytes_of(name.data + prefix_size, name.size - prefix_size);
    const uint8_t *slash = rest.size == 0 ? NULL : memchr(rest.data, '/', rest.size);
    const size_t cell_size = slash == NULL ? rest.size : (size_t)(slash - rest.data);
    if (!is_this_cell(s, bytes_of(rest.data, cell_size))) {
        return false;
    }
    if (slash == NULL) {
        *ret_path = bytes_of(NULL, 0); /* The root. */
        return true;
    }
    const struct bytes path = bytes_of(slash + 1, rest.size - cell_size - 1);
    if (path.size == 0 || lease_path_check(path) != LEASE_OK) {
        return false;
    }
    *ret_path = path;
    return true;
}

struct bytes directory_of(struct bytes path)
{
    size_t size = path.size;
    while (size > 0 && path.data[size - 1] != '/') {
        size--;
    }
    return bytes_of(path.data, size == 0 ? 0 : size - 1);
}

/* ---------------------------------------------------------------- requests */

static struct pending_read *read_at(const struct read_queue *q, uint32_t index)
{
    assert(index < q->count);
    return &q->reads[((uint64_t)q->first + index) % q->capacity];
}

/* Room at the back of the queue, with `octets` for names; NULL: it is full. */
static struct pending_read *read_push(struct read_queue *q, size_t octets, uint8_t **ret_names)
{
    if (q->count == q->capacity) {
        return NULL;
    }
    *ret_names = byte_ring_push(&q->names, octets);
    if (*ret_names == NULL) {
        return NULL;
    }
    q->count++;
    return read_at(q, q->count - 1);
}

/* Puts a request behind those that came before it, to be answered after a round
 * that begins now or later.  NULL: it is refused already. */
static struct pending_read *read_queue(struct service *s, uint64_t now_ms,
                                       const struct service_request *request, size_t octets,
                                       uint8_t **ret_names)
{
    uint64_t round = 0;
    if (s->epoch == 0 || s->closing ||
        paxos_confirm(s->paxos, now_ms, /* urgent= */ true, &round) != PAXOS_OK) {
        reply_not_master(s, request->client, request->tag, request->op);
        return NULL;
    }
    struct pending_read *read = read_push(&s->reads, octets, ret_names);
    if (read == NULL) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_OVERLOADED);
        return NULL;
    }
    *read = (struct pending_read){
        .client = request->client,
        .tag = request->tag,
        .round = mutant(read_without_round) ? 0 : round,
        .epoch = s->epoch,
        .op = (uint8_t)request->op,
    };
    return read;
}

static uint32_t page_limit(uint32_t limit)
{
    return limit == 0 || limit > LEASE_LIST_MAX ? LEASE_LIST_MAX : limit;
}

static void copy_octets(uint8_t *to, struct bytes from)
{
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
}

size_t read_names_size(const struct service_request *request, struct bytes path)
{
    return path.size + (request->op == SERVICE_LIST ? request->after.size : 0);
}

void read_fill(struct service *s, struct pending_read *read,
               const struct service_request *request, struct bytes path, uint8_t *names)
{
    const bool lists_locks = request->op == SERVICE_LOCK_LIST;
    const struct bytes after = request->op == SERVICE_LIST ? request->after : bytes_of(NULL, 0);
    read->client = request->client;
    read->tag = request->tag;
    read->op = (uint8_t)request->op;
    read->epoch = s->epoch;
    read->principal = access_principal(s, request->principal);
    read->if_instance = request->if_instance;
    read->mode = (uint8_t)request->mode;
    read->token = request->token;
    read->named = lists_locks && request->name.size > 0;
    read->behind = read->named ? request->skip : request->after_instance;
    read->limit = page_limit(request->limit);
    read->path_size = (uint16_t)path.size;
    read->after_size = (uint16_t)after.size;
    copy_octets(names, path);
    copy_octets(names + path.size, after);
}

void read_request(struct service *s, uint64_t now_ms, const struct service_request *request,
                  struct bytes path)
{
    if (request->op == SERVICE_LIST && request->after.size > LEASE_COMPONENT_MAX) {
        reply_add(s, request->client, request->tag, request->op, SERVICE_BAD_NAME);
        return;
    }
    if (request->cache && request->session != 0 && session_denies(s, request)) {
        read_denied(s, now_ms, request);
        return;
    }
    uint8_t *names;
    struct pending_read *read =
        read_queue(s, now_ms, request, read_names_size(request, path), &names);
    if (read != NULL) {
        read_fill(s, read, request, path, names);
        const bool keepable = request->op == SERVICE_GET || request->op == SERVICE_STAT;
        read->cacher = request->cache && keepable ? request->session : 0;
    }
}

void read_denied(struct service *s, uint64_t now_ms, const struct service_request *request)
{
    uint8_t *names;
    struct pending_read *read = read_queue(s, now_ms, request, /* octets= */ 0, &names);
    if (read != NULL) {
        read->session = request->session;
    }
}

/* ----------------------------------------------------------------- answers */

static enum lease_rc answer_get(struct service *s, struct bytes path,
                                struct service_reply *reply)
{
    struct bytes content;
    const enum lease_rc rc = lease_get(s->lease, path, &reply->stat, &content);
    if (rc == LEASE_OK && reply->op == SERVICE_GET) {
        if (reply->stat.kind == LEASE_DIRECTORY) {
            return LEASE_NOT_A_FILE;
        }
        reply->content = content;
        s->room.content_bytes += content.size;
    }
    return rc;
}

static enum lease_rc answer_list(struct service *s, const struct pending_read *read,
                                 struct bytes path, struct bytes after,
                                 struct service_reply *reply)
{
    struct lease_child *children = s->children + s->room.children_used;
    uint32_t count = 0;
    const enum lease_rc rc =
        lease_list(s->lease, path, after, read->limit, access_name(s, read->principal),
                   children, &count, &reply->more);
    if (rc == LEASE_OK) {
        reply->children = children;
        reply->children_count = count;
        s->room.children_used += count;
    }
    return rc;
}

/* The session may have ended meanwhile; its secret has not changed. */
static enum lease_rc answer_denied(const struct service *s, uint64_t session)
{
    struct lease_session known;
    return lease_session_get(s->lease, session, &known) ? LEASE_DENIED : LEASE_NO_SESSION;
}

/* Is the node there another one than the request is pinned to? */
static bool is_stale(const struct service *s, const struct pending_read *read,
                     struct bytes path)
{
    if (read->if_instance == LEASE_ANY || mutant(stale_instance_accepted)) {
        return false;
    }
    struct lease_stat stat;
    struct bytes content;
    return lease_get(s->lease, path, &stat, &content) != LEASE_OK ||
           stat.instance != read->if_instance;
}

/* Nothing else is said of what may not be read. */
static enum lease_rc answer_op(struct service *s, const struct pending_read *read,
                               struct bytes path, struct bytes after,
                               struct service_reply *reply)
{
    if (read->session != 0) {
        return answer_denied(s, read->session);
    }
    if (read->op == SERVICE_LOCK_LIST && !read->named) {
        return answer_locks(s, read, path, reply);
    }
    const enum lease_rc may = read->op == SERVICE_GET_ACL
                                  ? access_acl(s, read->principal, path)
                                  : access_read(s, read->principal, path);
    if (may != LEASE_OK) {
        return may;
    }
    if (is_stale(s, read, path)) {
        return LEASE_STALE_INSTANCE;
    }
    switch (read->op) {
    case SERVICE_LIST:
        return answer_list(s, read, path, after, reply);
    case SERVICE_LOCK_LIST:
        return answer_locks(s, read, path, reply);
    case SERVICE_LOCK_CHECK:
        return answer_check(s, read, path, reply);
    case SERVICE_GET_ACL:
        return lease_acl(s->lease, path, reply->acl);
    default:
        return answer_get(s, path, reply);
    }
}

struct service_reply *read_answer(struct service *s, const struct pending_read *read,
                                  const uint8_t *names)
{
    const struct lease_position position = lease_position(s->lease);
    const struct bytes path = bytes_of(names, read->path_size);
    const struct bytes after = bytes_of(names + read->path_size, read->after_size);
    struct service_reply *reply =
        reply_add(s, read->client, read->tag, (enum service_op)read->op, SERVICE_DONE);
    reply->rc = answer_op(s, read, path, after, reply);
    if (reply->rc != LEASE_OK) {
        reply->outcome = SERVICE_REFUSED;
    }
    reply->epoch = position.epoch;
    reply->revision = position.revision;
    reply->slot = position.slot;
    reply->position = position.position;
    if (read->cacher != 0 && (reply->rc == LEASE_OK || reply->rc == LEASE_NO_NODE)) {
        reply->cached = cache_grant(s, read->client, read->cacher, path, &reply->cache_number);
    }
    return reply;
}

bool read_fits(const struct service *s, const struct pending_read *read)
{
    const struct answer_room *room = &s->room;
    switch (read->op) {
    case SERVICE_GET:
        return room->content_bytes < READ_TURN_BYTES;
    case SERVICE_LIST:
        return READ_TURN_CHILDREN - room->children_used >= read->limit;
    case SERVICE_LOCK_LIST:
        return READ_TURN_CLAIMS - room->claims_used >= read->limit &&
               READ_TURN_CLAIMS - room->locks_used >= read->limit &&
               room->locks_passed < LOCKS_PASSED;
    default:
        return true;
    }
}

static void drop_oldest(struct read_queue *q)
{
    const struct pending_read *read = read_at(q, 0);
    byte_ring_drop(&q->names, (size_t)read->path_size + read->after_size);
    q->first = q->first + 1 == q->capacity ? 0 : q->first + 1;
    q->count--;
}

bool reads_answer(struct service *s, uint64_t confirmed)
{
    const struct byte_ring *names = &s->reads.names;
    while (s->reads.count > 0) {
        const struct pending_read *read = read_at(&s->reads, 0);
        assert(read->epoch == s->epoch);
        if (read->round > confirmed) {
            break;
        }
        if (!read_fits(s, read)) {
            return false;
        }
        if (read->op != 0) {
            read_answer(s, read, names->data + names->first);
        }
        drop_oldest(&s->reads);
    }
    return true;
}

void reads_lost(struct service *s)
{
    while (s->reads.count > 0) {
        const struct pending_read *read = read_at(&s->reads, 0);
        if (read->op != 0) {
            reply_not_master(s, read->client, read->tag, (enum service_op)read->op);
        }
        drop_oldest(&s->reads);
    }
}

void reads_each(struct service *s, void (*change)(void *context, struct pending_read *read),
                void *context)
{
    for (uint32_t i = 0; i < s->reads.count; i++) {
        change(context, read_at(&s->reads, i));
    }
}

void reads_check(const struct service *s)
{
    size_t octets = 0;
    for (uint32_t i = 0; i < s->reads.count; i++) {
        const struct pending_read *read = read_at(&s->reads, i);
        assert(read->epoch == s->epoch);
        octets += (size_t)read->path_size + read->after_size;
    }
    assert(octets == s->reads.names.used);
}
