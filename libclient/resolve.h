/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.h -- from "host:port" to addresses, without ever blocking the caller.
 *
 * A numeric host is answered at once.  A name is asked for on a thread of its own,
 * which lives as long as the resolver takes; there is no portable way to ask it
 * otherwise.  Its descriptor becomes readable when it is done.  Whoever loses
 * interest meanwhile closes the question, and the thread cleans up after itself.
 */
#ifndef LIBCLIENT_RESOLVE_H
#define LIBCLIENT_RESOLVE_H

#include <netdb.h>
#include <stdbool.h>

enum { RESOLVE_WHY_MAX = 160 };

struct resolve;

/* True: answered at once, `ret_list` (freeaddrinfo()) or NULL with `ret_why`.
 * False: `ret_question` will be. */
bool resolve_begin(const char *address, struct resolve **ret_question,
                   struct addrinfo **ret_list, char ret_why[RESOLVE_WHY_MAX]);

/* Readable: resolve_end() has an answer. */
int resolve_fd(const struct resolve *question);

/* As resolve_begin() when it answers; frees the question. */
void resolve_end(struct resolve *question, struct addrinfo **ret_list,
                 char ret_why[RESOLVE_WHY_MAX]);

/* Nobody wants to know any more.  Takes NULL. */
void resolve_close(struct resolve *question);

/* In a child after fork(), where the thread is not. */
void resolve_abandon(struct resolve *question);

#endif
