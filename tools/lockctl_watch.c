/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_watch.c -- the changes of nodes: a line each, or a command for each.
 *
 * Events queue here between the cell and the command, which runs for one after the
 * other.  The queue is short: when it is full the client is left alone, its
 * connection fills, and the cell makes several events of one node one.
 */
#include "tools/lockctl.h"
#include "tools/lockctl_child.h"
#include "tools/lockctl_loop.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { QUEUE_MAX = 256, VARIABLES_MAX = 24 };

/* An event as it is told: a line, and for a command variables. */
struct told {
    struct told *next;
    uint64_t revision;
    char *line; /* Without newline. */
    char *variables[VARIABLES_MAX + 1];
    size_t variables_count;
};

struct watch {
    struct lockctl *ctl;
    char *name;     /* In full; malloc'ed. */
    char **command; /* NULL: the lines go to standard output. */
    struct lockd_watch_options options;
    uint64_t count; /* How many events to tell; 0: no end. */
    bool keep_going;

    struct lockd_watch *watch;
    struct loop loop;
    struct child child;
    struct told *first, **last; /* Not told yet. */
    size_t queued;
    uint64_t done; /* Events told. */
    bool set;      /* The cell has said so once. */
    bool current;  /* As last seen. */
    bool ending;   /* A signal came. */
    bool over;
    enum exit_code code;
};

/* -------------------------------------------------------------------- events */

static void told_free(struct told *told)
{
    for (size_t i = 0; i < told->variables_count; i++) {
        free(told->variables[i]);
    }
    free(told->line);
    free(told);
}

__attribute__((format(printf, 2, 3))) static void set(struct told *told, const char *format,
                                                      ...)
{
    va_list arguments;
    assert(told->variables_count < VARIABLES_MAX);
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) >= 0) {
        told->variables[told->variables_count++] = text;
    }
    va_end(arguments);
}

static void set_number(struct told *told, const char *key, uint64_t number)
{
    set(told, "LOCKD_%s=%llu", key, (unsigned long long)number);
}

/* An environment can't hold a NUL. */
static void set_content(struct told *told, const char *key, const void *content, size_t size)
{
    if (content != NULL && memchr(content, 0, size) == NULL) {
        set(told, "LOCKD_%s=%.*s", key, (int)size, (const char *)content);
    }
}

static void set_variables(struct told *told, const struct lockd_event *event)
{
    const bool file = event->kind == LOCKD_FILE;
    set(told, "LOCKD_EVENT_KIND=%s", change_text(event->change));
    set_number(told, "EVENT_REVISION", event->revision);
    if (event->change == LOCKD_GAP) {
        return;
    }
    set_number(told, "EVENT_FIRST_REVISION", event->first_revision);
    set_number(told, "EVENT_COUNT", event->count);
    set(told, "LOCKD_EVENT_NAME=%s", event->name);
    set(told, "LOCKD_EVENT_NODE_KIND=%s", file ? "file" : "directory");
    set_number(told, "EVENT_INSTANCE", event->instance);
    if (file && (event->change == LOCKD_CREATED || event->change == LOCKD_WRITTEN)) {
        set_number(told, "EVENT_GENERATION", event->generation);
        set_number(told, "EVENT_SIZE", event->size);
    }
    if (event->session != NULL && event->session[0] != 0) {
        set(told, "LOCKD_EVENT_SESSION=%s", event->session);
        set(told, "LOCKD_EVENT_MODE=%s", event->mode == LOCKD_SHARED ? "shared" : "exclusive");
    }
    if (event->change == LOCKD_GRANTED || event->change == LOCKD_RELEASED) {
        set_number(told, "EVENT_TOKEN", event->token);
    }
    if (event->failed) {
        set(told, "LOCKD_EVENT_FAILED=1");
        set_number(told, "EVENT_LOCK_DELAY_MS", event->delay_ms);
    }
    set_content(told, "EVENT_CONTENT", event->content, event->content_size);
    set_content(told, "EVENT_OLD_CONTENT", event->old_content, event->old_size);
}

static void on_event(void *context, struct lockd_watch *watch, const struct lockd_event *event)
{
    struct watch *w = context;
    (void)watch;
    struct told *told = calloc(1, sizeof *told);
    char *line = json_event(event, w->options.content, w->options.old_content);
    if (told == NULL || line == NULL) {
        free(line);
        free(told);
        complain(w->ctl, w->name, "out of memory");
        w->code = EXIT_OTHER;
        w->over = true;
        return;
    }
    *told = (struct told){.revision = event->revision, .line = line};
    if (w->command != NULL) {
        set_variables(told, event);
    }
    *w->last = told;
    w->last = &told->next;
    w->queued++;
}

/* The first of the queue is dealt with. */
static void pop(struct watch *w)
{
    struct told *told = w->first;
    w->first = told->next;
    if (w->first == NULL) {
        w->last = &w->first;
    }
    w->queued--;
    w->done++;
    w->over = w->over || (w->count > 0 && w->done >= w->count);
    told_free(told);
}

/* From where on to watch, another time: nothing above it was told.  Of a revision of
 * which only a part was told, all is told again then. */
static uint64_t resume_from(const struct watch *w)
{
    return w->first != NULL ? w->first->revision - 1 : lockd_watch_revision(w->watch);
}

/* ------------------------------------------------------------------- telling */

/* The line as a file that can be read from its beginning; -1: see errno. */
static int line_file(const char *line)
{
    const int file = memfd_create("event", MFD_CLOEXEC);
    if (file >= 0 && dprintf(file, "%s\n", line) > 0 && lseek(file, 0, SEEK_SET) == 0) {
        return file;
    }
    if (file >= 0) {
        close(file);
    }
    return -1;
}

static void run_command(struct watch *w)
{
    const int input = line_file(w->first->line);
    const struct child_start start = {.who = w->ctl->command->name,
                                      .argv = w->command,
                                      .additions = w->first->variables,
                                      .mask = &w->loop.before,
                                      .input = input};
    if (input < 0 || !child_start(&w->child, &start)) {
        complain(w->ctl, w->name, "no process could be started: %s", strerror(errno));
        w->code = EXIT_OTHER;
        w->over = true;
    }
    if (input >= 0) {
        close(input);
    }
}

static void print_first(struct watch *w)
{
    printf("%s\n", w->first->line);
    if (fflush(stdout) != 0) {
        w->over = true; /* main() says why. */
    } else {
        pop(w);
    }
}

/* Tells what can be told now. */
static void tell(struct watch *w)
{
    while (!w->over && w->first != NULL && w->child.pid == 0) {
        if (w->command != NULL) {
            run_command(w);
        } else {
            print_first(w);
        }
    }
}

static void on_command_ended(struct watch *w, int status)
{
    const bool failed = status != 0 && !w->keep_going;
    if (!failed) {
        pop(w); /* Else it is told again by one who resumes. */
    } else {
        w->code = (enum exit_code)status; /* May be any. */
    }
    w->over = w->over || failed || w->ending;
}

static void on_signal(struct watch *w, int number)
{
    int status;
    if (number == SIGCHLD) {
        if (w->child.pid > 0 && child_ended(&w->child, &status)) {
            on_command_ended(w, status);
        }
        return;
    }
    const bool ends = number == SIGINT || number == SIGTERM || number == SIGHUP;
    if (w->child.pid > 0) {
        child_signal(&w->child, number);
    }
    w->ending = w->ending || ends;
    w->over = w->over || (ends && w->child.pid == 0);
}

/* --------------------------------------------------------------------- watching */

static void on_set(void *context, const struct lockd_answer *answer)
{
    struct watch *w = context;
    if (answer->rc == LOCKD_OK) {
        w->set = w->current = true;
        note(w->ctl, w->name, "watching from revision %llu",
             (unsigned long long)answer->revision);
    } else if (!w->over) {
        w->code = report(w->ctl, w->name, answer->rc, answer, /* makes= */ false);
        w->over = true;
    }
}

/* Fail-over costs nothing but time; who wants to can hear of it. */
static void note_failover(struct watch *w)
{
    const bool current = lockd_watch_current(w->watch);
    if (!w->set || current == w->current) {
        return;
    }
    w->current = current;
    note(w->ctl, w->name,
         current ? "set again, from revision %llu"
                 : "the master is lost; told up to revision %llu",
         (unsigned long long)lockd_watch_revision(w->watch));
}

static void turn(struct watch *w)
{
    const bool room = w->queued < QUEUE_MAX;
    loop_wait(&w->loop, UINT64_MAX, room);
    for (int number; (number = loop_signal(&w->loop)) != 0;) {
        on_signal(w, number);
    }
    if (room && !w->over) {
        lockd_process(w->ctl->client);
        note_failover(w);
    }
    tell(w);
}

static void watch_all(struct watch *w)
{
    const enum lockd_rc rc = lockd_watch_async(w->ctl->client, w->name, &w->options,
                                               (int)w->ctl->timeout_ms, on_set, w, &w->watch);
    if (rc != LOCKD_OK) {
        w->code = report(w->ctl, w->name, rc, /* answer= */ NULL, /* makes= */ false);
        return;
    }
    while (!w->over || w->child.pid > 0) {
        turn(w);
    }
    if (w->set) {
        note(w->ctl, w->name, "to go on, watch --from %llu",
             (unsigned long long)resume_from(w));
    }
    lockd_watch_free(w->watch);
}

/* ------------------------------------------------------------------- command */

static bool take_kind(struct watch *w, const char *word, size_t size)
{
    static const struct {
        const char *word;
        unsigned bit;
    } kinds[] = {{"content", LOCKD_WATCH_CONTENT}, {"child", LOCKD_WATCH_CHILD},
                 {"acl", LOCKD_WATCH_ACL},         {"lock", LOCKD_WATCH_LOCK},
                 {"delete", LOCKD_WATCH_DELETE},   {"conflict", LOCKD_WATCH_CONFLICT},
                 {"all", LOCKD_WATCH_ALL}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strlen(kinds[i].word) == size && memcmp(kinds[i].word, word, size) == 0) {
            w->options.watched |= kinds[i].bit;
            return true;
        }
    }
    usage_error(w->ctl, "the kind \"%.*s\" is not content, child, acl, lock, delete, conflict",
                (int)size, word);
    return false;
}

static bool take_kinds(struct watch *w, const char *words)
{
    for (const char *at = words;; at++) {
        const size_t size = strcspn(at, ",");
        if (!take_kind(w, at, size)) {
            return false;
        }
        at += size;
        if (*at == 0) {
            return true;
        }
    }
}

static bool take_scope(struct watch *w, enum lockd_scope scope)
{
    if (w->options.scope != 0 && w->options.scope != scope) {
        usage_error(w->ctl, "--children and --recursive exclude each other");
        return false;
    }
    w->options.scope = scope;
    return true;
}

static bool take_option(struct watch *w, int option)
{
    switch (option) {
    case 'r':
        return take_scope(w, LOCKD_SCOPE_SUBTREE);
    case 'c':
        return take_scope(w, LOCKD_SCOPE_CHILDREN);
    case 'k':
        return take_kinds(w, optarg);
    case 'n':
        return take_count(w->ctl, &w->count);
    case 'C':
        w->options.content = true;
        return true;
    case 'O':
        w->options.old_content = true;
        return true;
    case 'K':
        w->keep_going = true;
        return true;
    case 'i':
        return take_instance(w->ctl, &w->options.instance);
    case 'f':
        w->options.from_given = true;
        if (!parse_number(optarg, &w->options.from)) {
            usage_error(w->ctl, "the revision \"%s\" is not a number", optarg);
            return false;
        }
        return true;
    default:
        assert(false);
        return false;
    }
}

static bool take_options(struct watch *w, int argc, char **argv)
{
    static const struct option options[] = {{"recursive", no_argument, NULL, 'r'},
                                            {"children", no_argument, NULL, 'c'},
                                            {"kinds", required_argument, NULL, 'k'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"content", no_argument, NULL, 'C'},
                                            {"old-content", no_argument, NULL, 'O'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"instance", required_argument, NULL, 'i'},
                                            {"keep-going", no_argument, NULL, 'K'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = next_option(w->ctl, argc, argv, "+rh", options)) != -1;) {
        if (!take_option(w, option)) {
            return false;
        }
    }
    return true;
}

enum exit_code cmd_watch(struct lockctl *ctl, int argc, char **argv)
{
    struct watch w = {.ctl = ctl, .options = {.size = sizeof w.options, .told = on_event}};
    w.options.context = &w;
    w.last = &w.first;
    if (!take_options(&w, argc, argv) || !take_words(ctl, argc, argv, /* most= */ 0, &w.name,
                                                     /* ret_value= */ NULL, &w.command)) {
        return EXIT_USAGE;
    }
    if (loop_begin(&w.loop, ctl, w.command != NULL)) {
        watch_all(&w);
        loop_end(&w.loop);
    } else {
        w.code = EXIT_OTHER;
    }
    while (w.first != NULL) {
        struct told *next = w.first->next;
        told_free(w.first);
        w.first = next;
    }
    free(w.name);
    return w.code;
}
