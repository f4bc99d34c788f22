/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway_lock.c -- sessions and locks in the words of the other side.
 *
 * A session's secret is a function of its id, under a key that this process drew
 * at its start: so nothing is remembered between session.open and its reply, and
 * nobody who sees ids and secrets learns the secret of another id.  The process
 * that made a secret is not needed to check it: what is replicated is its hash.
 */
#include "lockd/gateway_internal.h"

#include "lockd/siphash.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

static_assert((int)WIRE_SECRET <= (int)LEASE_SECRET_MAX, "the cell takes what we make");
static_assert((int)WIRE_LABEL_MAX == (int)LEASE_LABEL_MAX, "a label that is read is taken");
static_assert((int)WIRE_LEASE_MS_MIN == (int)LEASE_SESSION_MS_MIN &&
                  (int)WIRE_LEASE_MS_MAX == (int)LEASE_SESSION_MS_MAX,
              "a lease that is read is granted");
static_assert((int)WIRE_DELAY_MS_MAX == (int)LEASE_DELAY_MS_MAX, "so is a lock-delay");
static_assert((int)WIRE_ACK_RANGES_MAX == (int)LEASE_ACK_RANGES_MAX, "so are ranges");

/* ----------------------------------------------------------------- sessions */

bool gateway_make_key(struct gateway *g)
{
    return getrandom(g->key, sizeof g->key, /* flags= */ 0) == (ssize_t)sizeof g->key;
}

/* Not 0, which would be nobody's. */
static uint64_t new_session(void)
{
    uint64_t id = 0;
    do {
        /* It was ready when the key was made; from then on it neither fails nor
         * falls short for so few octets. */
        const ssize_t got = getrandom(&id, sizeof id, /* flags= */ 0);
        assert(got == (ssize_t)sizeof id);
        (void)got;
    } while (id == 0);
    return id;
}

/* The secret of a session as it stands on the wire. */
static struct wire_text secret_of(struct gateway *g, uint64_t session)
{
    uint8_t octets[8];
    for (unsigned i = 0; i < sizeof octets; i++) {
        octets[i] = (uint8_t)(session >> (8 * i));
    }
    const uint64_t half[2] = {siphash(octets, sizeof octets, g->key[0]),
                              siphash(octets, sizeof octets, g->key[1])};
    for (unsigned i = 0; i < WIRE_SECRET; i++) {
        g->secret[i] = "0123456789abcdef"[half[i / 16] >> (60 - 4 * (i % 16)) & 15];
    }
    return (struct wire_text){.data = g->secret, .size = WIRE_SECRET};
}

void gateway_put_session(struct gateway *g, const struct service_reply *in,
                         struct wire_reply *out)
{
    assert(in->session != 0);
    out->session = in->session;
    out->secret = secret_of(g, in->session);
    out->lease_ms = in->lease_ms;
    out->cache_ms = in->cache_ms;
}

/* ----------------------------------------------------------------- requests */

static void take_acks(struct gateway *g, const struct wire_request *in,
                      struct service_request *out)
{
    assert(in->acks_count <= LEASE_ACK_RANGES_MAX);
    for (uint32_t i = 0; i < in->acks_count; i++) {
        g->acks[i] = (struct lease_range){.first = in->acks[i].first, .last = in->acks[i].last};
    }
    out->ack_floor = in->ack_floor;
    out->acks = g->acks;
    out->acks_count = in->acks_count;
}

void gateway_take_session(struct gateway *g, const struct wire_request *in,
                          struct service_request *out)
{
    if (in->method == WIRE_SESSION_OPEN) {
        out->session = new_session();
        out->secret = gateway_bytes(secret_of(g, out->session));
    } else if (in->has_session) {
        out->session = in->session;
        out->secret = gateway_bytes(in->secret);
    }
    out->request = in->request;
    take_acks(g, in, out);
    out->lease_ms = (uint32_t)in->lease_ms;
    out->label = gateway_bytes(in->label);
    out->mode = in->mode == WIRE_SHARED ? LEASE_SHARED : LEASE_EXCLUSIVE;
    out->wait = in->wait_ms != 0;
    out->wait_ms = in->wait_ms == WIRE_FOR_EVER ? 0 : (uint32_t)in->wait_ms;
    out->create = in->create;
    out->delay_ms = (uint32_t)in->delay_ms;
    out->handle = in->handle;
    out->token = in->token;
    out->cancel = in->cancel;
    out->after_instance = in->after_instance;
    out->skip = in->skip;
}

/* -------------------------------------------------------------------- locks */

struct wire_text gateway_name(const struct gateway *g, struct bytes path,
                              char ret_name[GATEWAY_NAME_MAX])
{
    assert(path.size <= LEASE_PATH_MAX);
    const int size = path.size == 0
                         ? snprintf(ret_name, GATEWAY_NAME_MAX, "/ls/%s", g->config.cell)
                         : snprintf(ret_name, GATEWAY_NAME_MAX, "/ls/%s/%.*s", g->config.cell,
                                    (int)path.size, (const char *)path.data);
    assert(size > 0 && size < GATEWAY_NAME_MAX);
    return (struct wire_text){.data = ret_name, .size = (size_t)size};
}

void gateway_put_acquired(struct gateway *g, const struct service_reply *in,
                          struct wire_reply *out)
{
    const struct wire_text name = gateway_name(g, in->path, g->sequencer);
    const int size = snprintf(g->sequencer + name.size, sizeof g->sequencer - name.size,
                              ":%s:%llu", in->mode == LEASE_SHARED ? "shared" : "exclusive",
                              (unsigned long long)in->token);
    assert(size > 0 && (size_t)size < sizeof g->sequencer - name.size);
    out->token = in->token;
    out->sequencer = (struct wire_text){.data = g->sequencer, .size = name.size + (size_t)size};
}

static struct wire_claim claim_of(const struct lease_claim *claim, uint64_t left_ms)
{
    return (struct wire_claim){
        .held = claim->held,
        .delayed = claim->delayed,
        .delay_ms = claim->delay_ms,
        .left_ms = left_ms,
        .mode = gateway_mode(claim->mode),
        .session = claim->session,
        .label = gateway_octets(claim->label),
        .handle = claim->handle,
        .token = claim->token,
        .since_ms = claim->since_wall_ms,
    };
}

void gateway_put_locks(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *out)
{
    uint32_t used = 0;
    assert(in->locks_count <= LEASE_LIST_MAX);
    for (uint32_t i = 0; i < in->locks_count; i++) {
        const struct service_lock *lock = &in->locks[i];
        assert(lock->claims_count <= LEASE_LIST_MAX - used); /* A page is counted in claims. */
        g->locks[i] = (struct wire_lock){
            .name = gateway_name(g, lock->path, g->names[i]),
            .instance = lock->instance,
            .claims = &g->claims[used],
            .claims_count = lock->claims_count,
            .more = lock->more,
        };
        for (uint32_t k = 0; k < lock->claims_count; k++) {
            g->claims[used++] = claim_of(&lock->claims[k], lock->left_ms[k]);
        }
    }
    out->locks = g->locks;
    out->locks_count = in->locks_count;
    /* Of the list of one lock, it is its claims that go on. */
    out->more = in->more && in->next_instance != 0;
    out->next_instance = in->next_instance;
}

/* How long the lock stays closed yet, and who left it so. */
void gateway_put_delay(struct gateway *g, const struct service_reply *in,
                       struct wire_reply *out)
{
    out->left_ms = in->left_ms;
    if (in->holder != NULL) {
        g->holder = claim_of(in->holder, in->left_ms);
        out->holder = &g->holder;
    }
}
