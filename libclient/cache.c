/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.c -- what a session keeps of its reads, and for how long it may believe it.
 *
 * The master knows who keeps what, and before a write it has everybody drop what the
 * write would change (Chubby, 2.7).  So what is kept is true, and as new as anything
 * that anybody was told of, as long as three things hold:
 *
 *   - *We are asked.*  One connection is the session's; the master sends invalidations
 *     over that, in order with its replies.  Whatever a connection brought is dropped
 *     when it is lost, and the first word for the session over the next one is
 *     cache.begin, by which the master forgets what it thought that we keep.  Only what
 *     is answered after that has been confirmed is kept.
 *   - *We answer in time, or not at all.*  The master doesn't wait for ever for those
 *     that are silent: only for their cache lease.  As with the session's lease, it
 *     counts here from when the request was *sent* whose answer brought it, shortened
 *     by the drift, and at the master in full from when it *answered*.  When it is over
 *     nothing is served; what is kept may be served again when it has been renewed,
 *     because an invalidation that came late is read before the renewal.
 *   - *We drop first.*  An invalidation is acknowledged when what it names is gone, and
 *     a reply that was made before it, and came later, is not kept: each carries the
 *     number of the last invalidation before it.
 *
 *        NONE --session.open answered--> BOUND --connection lost, or--> UNBOUND
 *                                          ^     not the master's any     |
 *                                          |     more                     |
 *                                          +----- cache.begin answered ---+
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <string.h>

#include "paxos/base/mutant.h"

/* ------------------------------------------------------------------- believing */

uint64_t engine_cache_until_ms(const struct lockd_session *session)
{
    const struct cache *cache = &session->cache;
    const uint64_t valid_ms = engine_session_valid_until_ms(session);
    if (mutant(cache_in_jeopardy) && session_alive(session)) {
        return TIMER_NEVER;
    }
    return cache->until_ms < valid_ms ? cache->until_ms : valid_ms;
}

/* A request sent at `sent_ms` was answered with a cache lease. */
static void extend(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                   uint64_t cache_ms)
{
    struct cache *cache = &s->cache;
    const uint64_t from_ms = mutant(cache_lease_from_receipt) ? now_ms : sent_ms;
    const uint64_t until_ms =
        from_ms + cache_ms * (1000000 - s->engine->config.drift_ppm) / 1000000;
    cache->lease_ms = cache_ms;
    if (until_ms > cache->until_ms) {
        cache->until_ms = until_ms;
    }
}

uint64_t cache_lease_ms(const struct lockd_session *s)
{
    return s->cache.bound && s->cache.lease_ms > 0 ? s->cache.lease_ms : TIMER_NEVER;
}

static bool is_cache_lease(uint64_t cache_ms)
{
    return cache_ms > 0 && cache_ms <= UINT32_MAX;
}

/* --------------------------------------------------------------------- binding */

/* Nothing is kept, and the master is to be asked anew. */
static void unbind(struct lockd_session *s)
{
    struct cache *cache = &s->cache;
    cache->bound = false;
    cache->until_ms = cache->lease_ms = 0;
    cache->heard = cache->said = 0;
    if (!mutant(fill_from_old_connection)) {
        kept_clear(&cache->kept);
    }
}

static void ask_to_begin(struct lockd_session *s)
{
    if (s->cache.begin->place == CALL_IDLE) {
        call_unsend(s->cache.begin, /* front= */ true);
    }
}

bool cache_init(struct lockd_session *s)
{
    struct wire_request request = {
        .method = WIRE_CACHE_BEGIN, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};
    s->cache.begin = call_new(s->engine, s, &request, /* answer= */ NULL);
    request.method = WIRE_CACHE_ACK;
    s->cache.ack = call_new(s->engine, s, &request, /* answer= */ NULL);
    return s->cache.begin != NULL && s->cache.ack != NULL;
}

void cache_free(struct lockd_session *s)
{
    call_free(s->cache.begin);
    call_free(s->cache.ack);
    kept_end(&s->cache.kept);
    list_remove(&s->cache.at);
}

static struct list *chain_of(struct engine *e, uint64_t id)
{
    return &e->caching[id % ENGINE_CACHING_CHAINS];
}

void cache_session_opened(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                          uint64_t cache_ms)
{
    if (s->cache.begin != NULL) {
        list_push_back(chain_of(s->engine, s->id), &s->cache.at);
        /* A master that was deposed meanwhile doesn't know us: it is asked with the first
         * KeepAlive. */
        if (is_cache_lease(cache_ms)) {
            s->cache.bound = true;
            extend(s, sent_ms, now_ms, cache_ms);
        }
    }
}

void cache_renewed(struct lockd_session *s, uint64_t sent_ms, uint64_t now_ms,
                   uint64_t cache_ms)
{
    struct cache *cache = &s->cache;
    if (cache->begin == NULL) {
        return;
    }
    if (cache->bound && is_cache_lease(cache_ms)) {
        extend(s, sent_ms, now_ms, cache_ms);
    } else if (cache->bound && cache->lease_ms > 0) {
        unbind(s); /* The master does not know of us: it may have been elected anew. */
    }
    if (!cache->bound) {
        ask_to_begin(s);
    }
}

/* A request that belongs to the connection must not be repeated over another one:
 * what a number means is that master's. */
static void lose(struct lockd_session *s)
{
    call_detach(s->cache.begin);
    call_detach(s->cache.ack);
    unbind(s);
}

void cache_ended(struct lockd_session *s)
{
    if (s->cache.begin != NULL) {
        lose(s);
        kept_clear(&s->cache.kept);
        list_remove(&s->cache.at);
    }
}

static void begun(struct lockd_session *s, uint64_t now_ms, const struct wire_reply *reply)
{
    struct cache *cache = &s->cache;
    cache->bound = true;
    cache->heard = reply->cache_number > cache->heard ? reply->cache_number : cache->heard;
    cache->said = cache->said < reply->cache_number ? reply->cache_number : cache->said;
    if (is_cache_lease(reply->cache_ms)) {
        extend(s, cache->begin->sent_ms, now_ms, reply->cache_ms);
        session_keepalive_sooner(s, cache->begin->sent_ms);
    }
}

/* All that has been heard of, unless that is under way. */
static void acknowledge(struct lockd_session *s)
{
    struct cache *cache = &s->cache;
    if (cache->ack->place == CALL_IDLE && cache->said < cache->heard) {
        cache->said = cache->ack->request.cache_number = cache->heard;
        call_unsend(cache->ack, /* front= */ false);
    }
}

void cache_call_answered(struct call *c, uint64_t now_ms, const struct wire_reply *reply)
{
    struct lockd_session *s = c->session;
    const bool begins = c == s->cache.begin;
    if (reply->error == WIRE_SESSION_EXPIRED || reply->error == WIRE_DENIED) {
        session_keepalive_answered(s, now_ms, reply);
    } else if (reply->error == WIRE_OK && begins) {
        begun(s, now_ms, reply);
    } else if (reply->error == WIRE_OK) {
        acknowledge(s);
    } else {
        unbind(s); /* The next KeepAlive that is answered begins anew. */
    }
}

static void each(struct engine *e, void (*visit)(struct lockd_session *s))
{
    for (size_t i = 0; i < ENGINE_CACHING_CHAINS; i++) {
        for (struct list *at = e->caching[i].next; at != &e->caching[i]; at = at->next) {
            visit(LIST_OF(at, struct lockd_session, cache.at));
        }
    }
}

void caches_unlinked(struct engine *e)
{
    each(e, lose);
}

static void begin_anew(struct lockd_session *s)
{
    lose(s);
    ask_to_begin(s);
}

void caches_anew(struct engine *e)
{
    each(e, begin_anew);
}

/* ---------------------------------------------------------------- invalidating */

static struct lockd_session *session_of(struct engine *e, uint64_t id)
{
    struct list *chain = chain_of(e, id);
    for (struct list *at = chain->next; at != chain; at = at->next) {
        struct lockd_session *s = LIST_OF(at, struct lockd_session, cache.at);
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

void caches_invalidated(struct engine *e, const struct wire_notification *n)
{
    struct lockd_session *s = session_of(e, n->session);
    if (s == NULL) {
        return; /* It has ended here. */
    }
    for (uint32_t i = 0; i < n->names_count; i++) {
        kept_drop(&s->cache.kept, n->names[i]);
    }
    if (n->names_count == 0) {
        kept_clear(&s->cache.kept);
    }
    s->cache.heard = n->number > s->cache.heard ? n->number : s->cache.heard;
    acknowledge(s);
}

/* --------------------------------------------------------------------- keeping */

void cache_fill(struct call *c, const struct wire_reply *reply)
{
    struct cache *cache = &c->session->cache;
    const bool is_absent = reply->error == WIRE_NO_NODE;
    const bool is_overtaken = reply->cache_number < cache->heard && !mutant(fill_overtaken);
    if (!reply->cached || !cache->bound || is_overtaken ||
        (!is_absent && (reply->error != WIRE_OK || !reply->has_stat))) {
        return;
    }
    kept_put(&cache->kept, c->request.name, c->request.method == WIRE_NODE_GET,
             answer_keep(is_absent ? LOCKD_E_NO_NODE : LOCKD_OK, reply));
}

/* NULL: nothing is kept that answers this. */
static struct answer **find(struct lockd_session *s, const struct wire_request *arguments)
{
    return kept_lookup(&s->cache.kept, arguments->name, arguments->method == WIRE_NODE_GET,
                       arguments->if_instance);
}

bool engine_cached(struct lockd_session *session, const struct wire_request *arguments,
                   struct lockd_answer **ret_answer)
{
    struct answer **kept = find(session, arguments);
    struct lockd_answer *answer =
        kept == NULL ? NULL : answer_lend(kept, &session->engine->seen);
    if (answer != NULL) {
        *ret_answer = answer;
    }
    return answer != NULL;
}

struct answer *cache_answer(struct lockd_session *s, uint64_t now_ms,
                            const struct wire_request *arguments)
{
    struct answer **kept = now_ms < engine_cache_until_ms(s) ? find(s, arguments) : NULL;
    struct answer *answer = kept == NULL ? NULL : answer_copy(*kept, /* content= */ true);
    if (answer != NULL) {
        answer_date(answer, &s->engine->seen);
    }
    return answer;
}
