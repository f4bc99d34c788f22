/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c -- see resolve.h.
 */
#include "libclient/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolve {
    atomic_int owners; /* The asker and the thread; the last one frees. */
    int fd;
    struct addrinfo *list;
    char why[RESOLVE_WHY_MAX];
    char address[]; /* The host, NUL, the port. */
};

/* Cuts "host:port" in two; brackets of an IPv6 host go. */
static const char *cut(char *address, char **ret_port)
{
    char *colon = strrchr(address, ':');
    if (colon == NULL) {
        return NULL;
    }
    *colon = 0;
    *ret_port = colon + 1;
    if (address[0] == '[' && colon > address && colon[-1] == ']') {
        colon[-1] = 0;
        return address + 1;
    }
    return address;
}

static struct addrinfo *look_up(const char *address, int flags, char ret_why[RESOLVE_WHY_MAX],
                                int *ret_error)
{
    char copy[512];
    char *port = NULL;
    snprintf(copy, sizeof copy, "%s", address);
    const char *host = cut(copy, &port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    *ret_error = host == NULL ? EAI_NONAME : getaddrinfo(host, port, &hints, &list);
    if (*ret_error == 0) {
        return list;
    }
    snprintf(ret_why, RESOLVE_WHY_MAX, "%s",
             *ret_error == EAI_SYSTEM ? strerror(errno) : gai_strerror(*ret_error));
    return NULL;
}

static void give_up(struct resolve *r)
{
    if (atomic_fetch_sub(&r->owners, 1) == 1) {
        resolve_abandon(r);
    }
}

static void *run(void *context)
{
    struct resolve *r = context;
    int error = 0;
    r->list = look_up(r->address, 0, r->why, &error);
    const uint64_t one = 1;
    ssize_t written = write(r->fd, &one, sizeof one);
    (void)written; /* An eventfd at zero takes it. */
    give_up(r);
    return NULL;
}

static bool start_thread(struct resolve *r)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_detach(thread);
    }
    return error == 0;
}

bool resolve_begin(const char *address, struct resolve **ret_question,
                   struct addrinfo **ret_list, char ret_why[RESOLVE_WHY_MAX])
{
    int error = 0;
    *ret_list = look_up(address, AI_NUMERICHOST, ret_why, &error);
    if (error != EAI_NONAME) {
        return true;
    }
    struct resolve *r = calloc(1, sizeof *r + strlen(address) + 1);
    if (r == NULL) {
        snprintf(ret_why, RESOLVE_WHY_MAX, "out of memory");
        return true;
    }
    memcpy(r->address, address, strlen(address) + 1);
    atomic_init(&r->owners, 2);
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd < 0 || !start_thread(r)) {
        snprintf(ret_why, RESOLVE_WHY_MAX, "the resolver can't be started");
        resolve_abandon(r);
        return true;
    }
    *ret_question = r;
    return false;
}

int resolve_fd(const struct resolve *question)
{
    return question->fd;
}

void resolve_end(struct resolve *question, struct addrinfo **ret_list,
                 char ret_why[RESOLVE_WHY_MAX])
{
    /* The thread wrote these before it wrote to the descriptor. */
    uint64_t one;
    const ssize_t size = read(question->fd, &one, sizeof one);
    (void)size;
    *ret_list = question->list;
    question->list = NULL;
    memcpy(ret_why, question->why, sizeof question->why);
    give_up(question);
}

void resolve_close(struct resolve *question)
{
    if (question != NULL) {
        give_up(question);
    }
}

void resolve_abandon(struct resolve *question)
{
    if (question == NULL) {
        return;
    }
    if (question->fd >= 0) {
        close(question->fd);
    }
    if (question->list != NULL) {
        freeaddrinfo(question->list);
    }
    free(question);
}
