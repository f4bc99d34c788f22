/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c -- prints what happens to a node, once and in order.
 *
 *     watch ENDPOINTS NAME [REVISION]
 *     cc watch.c $(pkg-config --cflags --libs lockd) -o watch
 *
 * Each change is one line that begins with its revision.  The library sets the
 * watch again at each new master, from where it was, so nothing is missed or
 * repeated when one dies; and a program that stored the last revision it has dealt
 * with can go on behind it.  Only when that is longer ago than the cell's history
 * reaches does a line say so: "gap" means to read everything anew.
 */
#include <lockd.h>

#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE_MS = 10000 };

static int fail(const char *what, enum lockd_rc rc)
{
    fprintf(stderr, "watch: %s: %s\n", what, lockd_strerror(rc));
    return EXIT_FAILURE;
}

static const char *text_of(enum lockd_change change)
{
    switch (change) {
    case LOCKD_CREATED:
        return "created";
    case LOCKD_WRITTEN:
        return "written";
    case LOCKD_DELETED:
        return "deleted";
    case LOCKD_ACL_CHANGED:
        return "acl changed";
    case LOCKD_GRANTED:
        return "granted";
    case LOCKD_RELEASED:
        return "released";
    case LOCKD_CONTENDED:
        return "contended";
    case LOCKD_GAP:
        break;
    }
    return "gap";
}

static void print(const struct lockd_event *event)
{
    printf("%llu %s", (unsigned long long)event->revision, text_of(event->change));
    if (event->change != LOCKD_GAP) {
        printf(" %s", event->name);
    }
    if (event->count > 1) {
        printf(" (%llu changes since %llu)", (unsigned long long)event->count,
               (unsigned long long)event->first_revision);
    }
    if (event->token != 0) {
        printf(" token=%llu", (unsigned long long)event->token);
    }
    printf("\n");
    fflush(stdout);
}

static int follow(struct lockd_watch *watch)
{
    for (;;) {
        struct lockd_event *event = NULL;
        const enum lockd_rc rc = lockd_watch_next(watch, LOCKD_FOR_EVER, &event);
        if (rc != LOCKD_OK) {
            return fail("next", rc);
        }
        print(event);
        lockd_event_free(event);
    }
}

int main(int argc, char **argv)
{
    struct lockd_client *client = NULL;
    struct lockd_watch *watch = NULL;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: watch ENDPOINTS NAME [REVISION]\n");
        return 2;
    }
    const struct lockd_client_options options = {.size = sizeof options, .endpoints = argv[1]};
    const struct lockd_watch_options of_watch = {
        .size = sizeof of_watch,
        .scope = LOCKD_SCOPE_SUBTREE,
        .from_given = argc == 4,
        .from = argc == 4 ? strtoull(argv[3], NULL, 10) : 0,
    };
    enum lockd_rc rc = lockd_client_new(&options, &client);
    if (rc != LOCKD_OK) {
        return fail("client", rc);
    }
    rc = lockd_client_start(client);
    if (rc == LOCKD_OK) {
        rc = lockd_watch(client, argv[2], &of_watch, PATIENCE_MS, &watch);
    }
    const int status = rc == LOCKD_OK ? follow(watch) : fail("watch", rc);
    lockd_watch_free(watch);
    lockd_client_free(client);
    return status;
}
