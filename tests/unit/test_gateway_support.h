/* SPDX-License-Identifier: Apache-2.0
 *
 * test_gateway_support.h -- a gateway of replica 1 for each test.
 */
#ifndef TESTS_UNIT_TEST_GATEWAY_SUPPORT_H
#define TESTS_UNIT_TEST_GATEWAY_SUPPORT_H

#include "lockd/gateway.h"

/* Replicas 1 and 2 are known, each by one port. */
static inline const char *address_of(void *context, paxos_id replica, const char *principal)
{
    (void)context;
    (void)principal;
    return replica == 1 ? "h1:7400" : replica == 2 ? "h2:7400" : "";
}

static inline int make_gateway_of(void **state,
                                  const char *(*address)(void *context, paxos_id replica,
                                                         const char *principal))
{
    *state = gateway_new(
        &(struct gateway_config){.cell = "a", .self = 1, .client_address = address});
    return *state == NULL;
}

static inline int make_gateway(void **state)
{
    return make_gateway_of(state, address_of);
}

static inline int free_gateway(void **state)
{
    gateway_free(*state);
    return 0;
}

#endif
