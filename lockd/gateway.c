/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.c -- see gateway.h.
 */
#include "lockd/gateway_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(WIRE_ANY == LEASE_ANY, "no condition is written alike on both sides");
static_assert((int)WIRE_LINEARIZABLE == (int)SERVICE_LINEARIZABLE &&
                  (int)WIRE_LEASE == (int)SERVICE_LEASE &&
                  (int)WIRE_SEQUENTIAL == (int)SERVICE_SEQUENTIAL &&
                  (int)WIRE_STALE == (int)SERVICE_STALE,
              "levels have the same numbers on both sides");
static_assert((int)WIRE_RIGHTS == (int)LEASE_RIGHTS && LEASE_READ == 0 && LEASE_WRITE == 1 &&
                  LEASE_CHANGE == 2,
              "rights stand in the order of the wire");
static_assert((int)WIRE_ACL_NAME_MAX == (int)LEASE_ACL_NAME_MAX &&
                  (int)WIRE_READ_WAIT_MS_MAX == (int)SERVICE_WAIT_MS_MAX,
              "what is read is taken");

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->config = *config;
    if (!gateway_make_key(g)) {
        free(g);
        return NULL;
    }
    return g;
}

void gateway_free(struct gateway *g)
{
    free(g);
}

/* ----------------------------------------------------------------- requests */

static enum service_op op_of(enum wire_method method)
{
    switch (method) {
    case WIRE_NODE_GET:
        return SERVICE_GET;
    case WIRE_NODE_PUT:
        return SERVICE_PUT;
    case WIRE_NODE_CREATE:
        return SERVICE_CREATE;
    case WIRE_NODE_LIST:
        return SERVICE_LIST;
    case WIRE_NODE_STAT:
        return SERVICE_STAT;
    case WIRE_NODE_DELETE:
        return SERVICE_DELETE;
    case WIRE_SESSION_OPEN:
        return SERVICE_SESSION_OPEN;
    case WIRE_SESSION_KEEPALIVE:
        return SERVICE_SESSION_KEEPALIVE;
    case WIRE_SESSION_CLOSE:
        return SERVICE_SESSION_CLOSE;
    case WIRE_LOCK_ACQUIRE:
        return SERVICE_LOCK_ACQUIRE;
    case WIRE_LOCK_RELEASE:
        return SERVICE_LOCK_RELEASE;
    case WIRE_LOCK_CANCEL:
        return SERVICE_LOCK_CANCEL;
    case WIRE_LOCK_LIST:
        return SERVICE_LOCK_LIST;
    case WIRE_LOCK_CHECK:
        return SERVICE_LOCK_CHECK;
    case WIRE_NODE_OPEN:
        return SERVICE_NODE_OPEN;
    case WIRE_NODE_CLOSE:
        return SERVICE_NODE_CLOSE;
    case WIRE_WATCH_ADD:
        return SERVICE_WATCH_ADD;
    case WIRE_WATCH_REMOVE:
        return SERVICE_WATCH_REMOVE;
    case WIRE_NODE_GET_ACL:
        return SERVICE_GET_ACL;
    case WIRE_NODE_SET_ACL:
        return SERVICE_SET_ACL;
    case WIRE_CACHE_BEGIN:
        return SERVICE_CACHE_BEGIN;
    case WIRE_CACHE_ACK:
        return SERVICE_CACHE_ACK;
    case WIRE_CELL_STATUS:
        return SERVICE_STATUS;
    case WIRE_NO_METHOD:
        break;
    }
    assert(false && "wire_parse_request() returns no request without a method");
    return SERVICE_STATUS;
}

static enum wire_method method_of(enum service_op op)
{
    switch (op) {
    case SERVICE_GET:
        return WIRE_NODE_GET;
    case SERVICE_STAT:
        return WIRE_NODE_STAT;
    case SERVICE_LIST:
        return WIRE_NODE_LIST;
    case SERVICE_STATUS:
        return WIRE_CELL_STATUS;
    case SERVICE_PUT:
        return WIRE_NODE_PUT;
    case SERVICE_CREATE:
        return WIRE_NODE_CREATE;
    case SERVICE_DELETE:
        return WIRE_NODE_DELETE;
    case SERVICE_SESSION_OPEN:
        return WIRE_SESSION_OPEN;
    case SERVICE_SESSION_KEEPALIVE:
        return WIRE_SESSION_KEEPALIVE;
    case SERVICE_SESSION_CLOSE:
        return WIRE_SESSION_CLOSE;
    case SERVICE_LOCK_ACQUIRE:
        return WIRE_LOCK_ACQUIRE;
    case SERVICE_LOCK_RELEASE:
        return WIRE_LOCK_RELEASE;
    case SERVICE_LOCK_CANCEL:
        return WIRE_LOCK_CANCEL;
    case SERVICE_LOCK_LIST:
        return WIRE_LOCK_LIST;
    case SERVICE_LOCK_CHECK:
        return WIRE_LOCK_CHECK;
    case SERVICE_NODE_OPEN:
        return WIRE_NODE_OPEN;
    case SERVICE_NODE_CLOSE:
        return WIRE_NODE_CLOSE;
    case SERVICE_WATCH_ADD:
        return WIRE_WATCH_ADD;
    case SERVICE_WATCH_REMOVE:
        return WIRE_WATCH_REMOVE;
    case SERVICE_GET_ACL:
        return WIRE_NODE_GET_ACL;
    case SERVICE_SET_ACL:
        return WIRE_NODE_SET_ACL;
    case SERVICE_CACHE_BEGIN:
        return WIRE_CACHE_BEGIN;
    case SERVICE_CACHE_ACK:
        return WIRE_CACHE_ACK;
    }
    assert(false && "the service answers what it was asked");
    return WIRE_NO_METHOD;
}

/* Of what is made; 0: nothing is. */
static enum lease_kind kind_of(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_FILE:
        return LEASE_FILE;
    case WIRE_DIRECTORY:
        return LEASE_DIRECTORY;
    case WIRE_KIND_NONE:
        break;
    }
    return (enum lease_kind)0;
}

/* How a read is answered, and what is kept of it. */
static void take_read(const struct wire_request *in, struct service_request *out)
{
    assert(in->read_wait_ms <= SERVICE_WAIT_MS_MAX && in->max_age_ms <= WIRE_AGE_MS_MAX);
    out->level = (enum service_level)in->level;
    out->min_revision = in->min_revision;
    out->max_age_ms = (uint32_t)in->max_age_ms;
    out->cache = in->cache;
    out->cache_number = in->cache_number;
    if (in->level == WIRE_SEQUENTIAL) {
        out->wait_ms = (uint32_t)in->read_wait_ms;
    }
}

void gateway_request(struct gateway *g, const struct wire_request *in, uint64_t client,
                     uint64_t tag, const char *principal, struct service_request *ret_request)
{
    *ret_request = (struct service_request){
        .client = client,
        .tag = tag,
        .op = op_of(in->method),
        .principal = bytes_of(principal, strlen(principal)),
        .name = gateway_bytes(in->name),
        .kind = kind_of(in->kind),
        .ephemeral = in->ephemeral,
        .content = in->has_content ? gateway_bytes(in->content) : bytes_of(NULL, 0),
        .if_generation = in->if_generation,
        .if_instance = in->if_instance,
        .after = gateway_bytes(in->after),
        .limit = in->limit,
    };
    for (unsigned i = 0; i < LEASE_RIGHTS; i++) {
        ret_request->acl[i] = gateway_bytes(in->acl[i]);
    }
    gateway_take_session(g, in, ret_request);
    take_read(in, ret_request);
    gateway_take_watches(g, in, ret_request);
}

/* ------------------------------------------------------------------- errors */

enum wire_error gateway_refusal(enum lease_rc rc)
{
    switch (rc) {
    case LEASE_OK:
        return WIRE_OK;
    case LEASE_NO_NODE:
    case LEASE_NO_PARENT:
        return WIRE_NO_NODE;
    case LEASE_EXISTS:
        return WIRE_EXISTS;
    case LEASE_CONFLICT:
        return WIRE_CONFLICT;
    case LEASE_NOT_EMPTY:
        return WIRE_NOT_EMPTY;
    case LEASE_NOT_A_FILE:
    case LEASE_NOT_A_DIRECTORY:
        return WIRE_WRONG_KIND;
    case LEASE_STALE_INSTANCE:
        return WIRE_STALE_HANDLE;
    case LEASE_IS_ROOT:
    case LEASE_BAD_PATH:
        return WIRE_BAD_NAME;
    case LEASE_LIMIT:
    case LEASE_RESULTS_FULL:
        return WIRE_OVERLOADED;
    case LEASE_TOO_LARGE:
        return WIRE_TOO_LARGE;
    case LEASE_NO_SESSION:
        return WIRE_SESSION_EXPIRED;
    case LEASE_LOCKED:
        return WIRE_LOCKED;
    case LEASE_NOT_HELD:
        return WIRE_NOT_HELD;
    case LEASE_OWNED:
        return WIRE_CONFLICT;
    case LEASE_CANCELLED:
        return WIRE_CANCELLED;
    case LEASE_ACKNOWLEDGED:
        return WIRE_UNKNOWN_OUTCOME;
    case LEASE_OLD_EPOCH:
        return WIRE_OLD_EPOCH;
    case LEASE_DENIED:
        return WIRE_DENIED;
    case LEASE_LOCK_DELAY:
        return WIRE_LOCK_DELAY;
    case LEASE_NO_ACL:
        return WIRE_NO_ACL;
    case LEASE_WAITING:
        break; /* The service keeps whoever waits, and answers later. */
    }
    assert(false && "lease/ refuses with a reason of its own list");
    return WIRE_UNAVAILABLE;
}

/* Where one wire error stands for several refusals, the message says which. */
static bool needs_words(enum lease_rc rc)
{
    return rc == LEASE_NO_PARENT || rc == LEASE_NOT_A_FILE || rc == LEASE_NOT_A_DIRECTORY ||
           rc == LEASE_IS_ROOT || rc == LEASE_LIMIT || rc == LEASE_RESULTS_FULL ||
           rc == LEASE_OWNED || rc == LEASE_ACKNOWLEDGED;
}

static void print_refused(struct gateway *g, const struct service_reply *in,
                          struct wire_reply *out)
{
    assert(in->rc != LEASE_OK);
    out->error = gateway_refusal(in->rc);
    if (needs_words(in->rc)) {
        out->message = gateway_text(lease_rc_text(in->rc));
    }
    out->has_stat = in->rc == LEASE_CONFLICT && in->stat.instance != 0;
    if (in->rc == LEASE_LOCK_DELAY) {
        gateway_put_delay(g, in, out);
    }
}

/* The master has no port for clients of this principal, or we have not heard of one: they
 * can't be sent there, but people may want to know where it is. */
static void print_out_of_reach(struct gateway *g, paxos_id master, const char *principal,
                               struct wire_reply *out)
{
    const char *address =
        g->config.client_address(g->config.context, master, /* principal= */ NULL);
    const bool known = address != NULL && *address != '\0';
    snprintf(
        g->message, sizeof g->message,
        "the master is replica %u%s%s, where no port for the principal \"%s\" is known; it "
        "was not executed",
        master, known ? " at " : "", known ? address : "", principal);
    out->error = WIRE_UNAVAILABLE;
    out->message = gateway_text(g->message);
    out->master_id = master;
}

static void print_not_master(struct gateway *g, const struct service_reply *in,
                             const char *principal, struct wire_reply *out)
{
    /* Who is leaving office may still be the last master it knows of. */
    if (in->master == 0 || in->master == g->config.self) {
        out->error = WIRE_UNAVAILABLE;
        out->message = gateway_text("no master is known here; an election may be under way; "
                                    "it was not executed, try again");
        return;
    }
    const char *address = g->config.client_address(g->config.context, in->master, principal);
    if (address == NULL || *address == '\0') {
        print_out_of_reach(g, in->master, principal, out);
        return;
    }
    out->error = WIRE_NOT_MASTER;
    out->master = gateway_text(address);
    out->master_id = in->master;
}

/* ------------------------------------------------------------------ results */

static struct wire_stat stat_of(const struct lease_stat *stat)
{
    return (struct wire_stat){
        .kind = stat->kind == LEASE_DIRECTORY ? WIRE_DIRECTORY : WIRE_FILE,
        .instance = stat->instance,
        .generation = stat->content_generation,
        .lock_generation = stat->lock_generation,
        .acl_generation = stat->acl_generation,
        .checksum = stat->checksum,
        .revision = stat->revision,
        .modified_ms = stat->modified_wall_ms,
        .size = stat->size,
        .children = stat->children,
        .lock_token = stat->lock_token,
        .ephemeral = stat->ephemeral,
    };
}

static void print_list(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *reply)
{
    assert(in->children_count <= LEASE_LIST_MAX);
    for (uint32_t i = 0; i < in->children_count; i++) {
        g->children[i] = (struct wire_child){.name = gateway_octets(in->children[i].name),
                                             .stat = stat_of(&in->children[i].stat),
                                             .denied = in->children[i].denied};
    }
    reply->children = g->children;
    reply->children_count = in->children_count;
    reply->more = in->more;
}

/* The members of a result, but for the status, which is printed whole. */
static void print_done(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *reply)
{
    switch (in->op) {
    case SERVICE_GET:
        reply->has_content = true;
        reply->content = gateway_octets(in->content);
        reply->has_stat = true;
        break;
    case SERVICE_PUT:
    case SERVICE_NODE_OPEN:
        reply->created = in->created;
        reply->has_stat = true;
        break;
    case SERVICE_STAT:
    case SERVICE_CREATE:
    case SERVICE_SET_ACL:
        reply->has_stat = true;
        break;
    case SERVICE_GET_ACL:
        reply->has_acl = true;
        for (unsigned i = 0; i < LEASE_RIGHTS; i++) {
            reply->acl[i] = gateway_octets(in->acl[i]);
        }
        break;
    case SERVICE_LIST:
        print_list(g, in, reply);
        break;
    case SERVICE_SESSION_OPEN:
        gateway_put_session(g, in, reply);
        break;
    case SERVICE_SESSION_KEEPALIVE:
    case SERVICE_CACHE_BEGIN:
        reply->lease_ms = in->lease_ms;
        reply->cache_ms = in->cache_ms;
        break;
    case SERVICE_LOCK_ACQUIRE:
        gateway_put_acquired(g, in, reply);
        break;
    case SERVICE_LOCK_LIST:
        gateway_put_locks(g, in, reply);
        break;
    case SERVICE_LOCK_CHECK:
        reply->valid = in->valid;
        break;
    case SERVICE_STATUS:
    case SERVICE_DELETE:
    case SERVICE_SESSION_CLOSE:
    case SERVICE_LOCK_RELEASE:
    case SERVICE_LOCK_CANCEL:
    case SERVICE_NODE_CLOSE:
    case SERVICE_WATCH_ADD:
    case SERVICE_WATCH_REMOVE:
    case SERVICE_CACHE_ACK:
        break;
    }
}

void gateway_reply(struct gateway *g, const struct service_reply *in, struct wire_text id,
                   const char *principal, struct wire_buffer *out)
{
    struct wire_reply reply = {
        .id = id,
        .method = method_of(in->op),
        .has_position = (in->outcome == SERVICE_DONE && in->op != SERVICE_STATUS &&
                         in->op != SERVICE_CACHE_ACK) ||
                        in->outcome == SERVICE_REFUSED,
        .epoch = in->epoch,
        .revision = in->revision,
        .slot = in->slot,
        .position = in->position,
        .stat = stat_of(&in->stat),
        .level = (enum wire_level)in->level,
        .has_age = in->has_age,
        .age_ms = in->age_ms,
        .cached = in->cached,
        .cache_number = in->cache_number,
    };
    switch (in->outcome) {
    case SERVICE_DONE:
        if (in->op == SERVICE_STATUS) {
            gateway_print_status(g, in->status, principal, &reply, out);
            return;
        }
        print_done(g, in, &reply);
        break;
    case SERVICE_REFUSED:
        print_refused(g, in, &reply);
        break;
    case SERVICE_NOT_MASTER:
        print_not_master(g, in, principal, &reply);
        break;
    case SERVICE_BAD_NAME:
        reply.error = WIRE_BAD_NAME;
        break;
    case SERVICE_TOO_LARGE:
        reply.error = WIRE_TOO_LARGE;
        break;
    case SERVICE_OVERLOADED:
        reply.error = WIRE_OVERLOADED;
        break;
    case SERVICE_TOO_OLD:
        reply.error = WIRE_TOO_OLD;
        break;
    case SERVICE_UNKNOWN:
        reply.error = WIRE_UNKNOWN_OUTCOME;
        break;
    }
    wire_print_reply(out, &reply);
}
