/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c -- see resolve.h.
 *
 * A thread owns its question; when it is done it passes the pointer, and with it
 * the ownership, through a pipe to the loop.  Nothing else is shared.
 */
#include "lockd/resolve.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct resolver {
    struct ev_loop *loop;
    ev_io io;
    int ends[2]; /* Threads write to [1]. */
    resolver_done *done;
    void *context;
};

struct question {
    int answer_to;
    uint64_t ticket;
    char text[ADDRESS_MAX];
    int error;
    struct address address;
};

static void on_answer(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct resolver *r = io->data;
    struct question *question = NULL;
    /* A pointer is smaller than PIPE_BUF, so it is read whole or not at all. */
    while (read(r->ends[0], &question, sizeof question) == (ssize_t)sizeof question) {
        r->done(r->context, question->ticket, question->error, &question->address);
        free(question);
    }
}

struct resolver *resolver_new(struct ev_loop *loop, resolver_done *done, void *context)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    *r = (struct resolver){.loop = loop, .done = done, .context = context};
    if (pipe2(r->ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(r);
        return NULL;
    }
    ev_io_init(&r->io, on_answer, r->ends[0], EV_READ);
    r->io.data = r;
    ev_io_start(loop, &r->io);
    return r;
}

void resolver_free(struct resolver *r)
{
    if (r != NULL) {
        /* The pipe stays open until the process ends: a thread may still hold
         * its number, which must not come to mean another file. */
        ev_io_stop(r->loop, &r->io);
        free(r);
    }
}

static void *answer(void *argument)
{
    struct question *question = argument;
    question->error = address_lookup(question->text, &question->address);
    /* Of a few pointers the pipe is never full. */
    if (write(question->answer_to, &question, sizeof question) != (ssize_t)sizeof question) {
        free(question);
    }
    return NULL;
}

bool resolver_ask(struct resolver *r, const char *address, uint64_t ticket)
{
    struct question *question = calloc(1, sizeof *question);
    if (question == NULL) {
        return false;
    }
    question->answer_to = r->ends[1];
    question->ticket = ticket;
    snprintf(question->text, sizeof question->text, "%s", address);

    /* Signals are the loop's; a thread inherits the mask that it starts with. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const int rc = pthread_create(&thread, NULL, answer, question);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        free(question);
        return false;
    }
    pthread_detach(thread);
    return true;
}
