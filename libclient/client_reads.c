/* SPDX-License-Identifier: Apache-2.0
 *
 * client_reads.c -- the reads of lockd.h, each in two forms, and the short way of
 * those that a session's cache can answer.
 *
 * That way is: lock, find, read the clock, compare, unlock.  The value is taken
 * before the clock is read, and the lease is judged last: a program that is stopped
 * anywhere in between, for however long, finds the lease over and asks the cell.  What
 * happens to it after that is no affair of the cache's: the answer was true when the
 * call had begun and not yet returned.
 */
#include "libclient/client.h"

/* --------------------------------------------------------------------- cached */

bool client_cached(struct lockd_session *session, const struct wire_request *request,
                   enum lockd_rc *ret_rc, struct lockd_answer **ret_answer)
{
    struct lockd_answer *answer = NULL;
    if (session == NULL) {
        return false;
    }
    struct lockd_client *client = client_of_session(session);
    client_enter(client);
    bool valid = engine_cached(session, request, &answer);
    if (valid) {
        const uint64_t now_ms = driver_now_ms();
        valid = now_ms < engine_cache_until_ms(session);
    }
    client_unlock(client);
    if (valid) {
        *ret_rc = answer->rc;
    }
    if (valid && ret_answer != NULL) {
        *ret_answer = answer;
    } else {
        lockd_answer_free(answer);
    }
    return valid;
}

/* -------------------------------------------------------------------- options */

static bool is_level(enum lockd_level level)
{
    return level == LOCKD_LINEARIZABLE || level == LOCKD_LEASE || level == LOCKD_SEQUENTIAL ||
           level == LOCKD_STALE;
}

static enum wire_level level_of(enum lockd_level level)
{
    switch (level) {
    case LOCKD_LINEARIZABLE:
        return WIRE_LINEARIZABLE;
    case LOCKD_LEASE:
        return WIRE_LEASE;
    case LOCKD_SEQUENTIAL:
        return WIRE_SEQUENTIAL;
    case LOCKD_STALE:
        break;
    }
    return WIRE_STALE;
}

/* Lists and names of ACLs are not kept, nor is what may be old already. */
static bool may_keep(const struct wire_request *request)
{
    return request->level == WIRE_LINEARIZABLE &&
           (request->method == WIRE_NODE_GET || request->method == WIRE_NODE_STAT);
}

enum lockd_rc client_read_options(struct lockd_client *client,
                                  const struct lockd_read_options *options,
                                  struct wire_request *request,
                                  struct lockd_session **ret_session)
{
    struct lockd_read_options o;
    if (!client_options(&o, sizeof o, options) || !is_level(o.level)) {
        return LOCKD_E_INVALID;
    }
    const bool may_be_old = o.level == LOCKD_SEQUENTIAL || o.level == LOCKD_STALE;
    if ((o.max_age_ms > 0 && !may_be_old) ||
        (o.session != NULL && client_of_session(o.session) != client)) {
        return LOCKD_E_INVALID;
    }
    request->level = level_of(o.level);
    request->max_age_ms = o.max_age_ms;
    request->cache = o.session != NULL && may_keep(request);
    *ret_session = request->cache ? o.session : NULL;
    return LOCKD_OK;
}

static enum lockd_rc begin(struct lockd_client *client, struct wire_request request,
                           const struct lockd_read_options *options, int timeout_ms,
                           lockd_done *done, void *context)
{
    struct lockd_session *session = NULL;
    const enum lockd_rc rc = client_read_options(client, options, &request, &session);
    return rc != LOCKD_OK ? rc
                          : client_begin(client, session, &request, timeout_ms, done, context);
}

static enum lockd_rc complete(struct lockd_client *client, struct wire_request request,
                              const struct lockd_read_options *options, int timeout_ms,
                              struct lockd_answer **ret_answer)
{
    struct lockd_session *session = NULL;
    enum lockd_rc rc = client_read_options(client, options, &request, &session);
    if (rc != LOCKD_OK || client_cached(session, &request, &rc, ret_answer)) {
        return rc;
    }
    return client_complete(client, session, &request, timeout_ms, ret_answer);
}

/* ---------------------------------------------------------------------- reads */

enum lockd_rc lockd_get_async(struct lockd_client *client, const char *name,
                              const struct lockd_read_options *options, int timeout_ms,
                              lockd_done *done, void *context)
{
    return begin(client, client_request(WIRE_NODE_GET, name), options, timeout_ms, done,
                 context);
}

enum lockd_rc lockd_get(struct lockd_client *client, const char *name,
                        const struct lockd_read_options *options, int timeout_ms,
                        struct lockd_answer **ret_answer)
{
    return complete(client, client_request(WIRE_NODE_GET, name), options, timeout_ms,
                    ret_answer);
}

enum lockd_rc lockd_stat_node_async(struct lockd_client *client, const char *name,
                                    const struct lockd_read_options *options, int timeout_ms,
                                    lockd_done *done, void *context)
{
    return begin(client, client_request(WIRE_NODE_STAT, name), options, timeout_ms, done,
                 context);
}

enum lockd_rc lockd_stat_node(struct lockd_client *client, const char *name,
                              const struct lockd_read_options *options, int timeout_ms,
                              struct lockd_answer **ret_answer)
{
    return complete(client, client_request(WIRE_NODE_STAT, name), options, timeout_ms,
                    ret_answer);
}

static struct wire_request list_request(const char *name, const char *after, uint32_t limit)
{
    struct wire_request r = client_request(WIRE_NODE_LIST, name);
    r.after = client_text(after);
    r.limit = limit;
    return r;
}

enum lockd_rc lockd_list_async(struct lockd_client *client, const char *name, const char *after,
                               uint32_t limit, const struct lockd_read_options *options,
                               int timeout_ms, lockd_done *done, void *context)
{
    return begin(client, list_request(name, after, limit), options, timeout_ms, done, context);
}

enum lockd_rc lockd_list(struct lockd_client *client, const char *name, const char *after,
                         uint32_t limit, const struct lockd_read_options *options,
                         int timeout_ms, struct lockd_answer **ret_answer)
{
    return complete(client, list_request(name, after, limit), options, timeout_ms, ret_answer);
}

enum lockd_rc lockd_get_acl_async(struct lockd_client *client, const char *name,
                                  const struct lockd_read_options *options, int timeout_ms,
                                  lockd_done *done, void *context)
{
    return begin(client, client_request(WIRE_NODE_GET_ACL, name), options, timeout_ms, done,
                 context);
}

enum lockd_rc lockd_get_acl(struct lockd_client *client, const char *name,
                            const struct lockd_read_options *options, int timeout_ms,
                            struct lockd_answer **ret_answer)
{
    return complete(client, client_request(WIRE_NODE_GET_ACL, name), options, timeout_ms,
                    ret_answer);
}
