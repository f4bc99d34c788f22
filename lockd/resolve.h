/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.h -- looking names up without keeping the loop waiting.
 *
 * getaddrinfo() blocks for as long as a name server likes.  Each question gets a
 * short-lived thread of its own, so that a name that hangs holds up no other.
 */
#ifndef LOCKD_RESOLVE_H
#define LOCKD_RESOLVE_H

#include <ev.h>

#include "lockd/address.h"

struct resolver;

/* `error` is 0, or an EAI_ code for gai_strerror(). */
typedef void resolver_done(void *context, uint64_t ticket, int error,
                           const struct address *address);

/* NULL: no descriptors or memory. */
struct resolver *resolver_new(struct ev_loop *loop, resolver_done *done, void *context);

/* No answer comes from then on; threads under way end by themselves.  Takes NULL. */
void resolver_free(struct resolver *r);

/* Asks for "host:port"; the answer comes later, with `ticket`.  False: no thread
 * could be started. */
bool resolver_ask(struct resolver *r, const char *address, uint64_t ticket);

#endif
