/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cell has granted, or keeps a place in the queue for, and what programs
 * know of.  A call that was given up, cancelled, or deserted must leave nothing
 * there, and whatever it was granted goes back.
 */
#include <stdlib.h>

#include "tests/sim/agents_internal.h"
#include "tests/sim/audit.h"

static uint32_t grips_of(const struct seat *s, struct bytes path)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SEAT_LOCKS; i++) {
        const struct grip *grip = &s->grips[i];
        count +=
            (grip->lock != NULL || grip->asking) && bytes_equal(agent_path(grip->name), path);
    }
    return count;
}

static uint32_t claims_of(const struct model *m, uint64_t session, uint64_t instance)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const struct model_claim *claim = &m->claims[i];
        count += claim->session == session && claim->instance == instance && !claim->delayed;
    }
    return count;
}

static bool wants_claims(const struct model *m, const struct seat *s)
{
    const uint64_t session = strtoull(engine_session_id(s->session), NULL, 16);
    for (uint32_t i = 0; i < m->claims_count; i++) {
        const uint64_t instance = m->claims[i].instance;
        if (m->claims[i].session == session &&
            claims_of(m, session, instance) > grips_of(s, model_of(m, instance)->path)) {
            return false;
        }
    }
    return true;
}

bool agents_want_claims(struct world *w)
{
    const struct agents *all = w->agents;
    for (uint32_t i = 0; i < all->count; i++) {
        for (uint32_t j = 0; j < all->seats; j++) {
            const struct seat *s = &all->all[i].seats[j];
            if (s->session != NULL && !s->closing && !s->leaks &&
                engine_session_valid_until_ms(s->session) != 0 &&
                !wants_claims(audit_model(w), s)) {
                return false;
            }
        }
    }
    return true;
}
