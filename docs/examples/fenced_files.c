/* SPDX-License-Identifier: Apache-2.0
 *
 * fenced_files.c -- a small file server that refuses writers who lost their lock.
 *
 *     fenced_files [--unfenced] FOLDER PORT
 *     cc -D_GNU_SOURCE fenced_files.c $(pkg-config --cflags --libs lockd) -o fenced_files
 *
 * It serves the files of FOLDER on 127.0.0.1:PORT (0: any; it prints which) and knows
 * nothing of the cell.  Whoever works on a file holds a lock of lockd for it, and
 * gives its token along:
 *
 *     GET NAME TOKEN\n                   OK SIZE\n and so many octets; or NONE\n
 *     PUT NAME TOKEN SIZE\n and octets   OK\n
 *                                        STALE MARK\n: refused, MARK was here before
 *                                        ERROR WORDS\n: not done; the connection ends
 *
 * GET NAME 0 is for those who only look.  From the shell:
 *
 *     lockctl lock counter -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/$PORT
 *         echo "GET counter $LOCKD_TOKEN" >&3; read -r word rest <&3; ...'
 *
 * Three things make it right:
 *
 *   - a request is judged only when all of it is here, and nothing else happens
 *     between lockd_fence_check() and the file's being replaced;
 *   - reading with a token raises the mark as writing does.  Else the late write of
 *     an earlier holder could come between the next one's reading and its writing,
 *     and would be overwritten by what was made without it;
 *   - the mark is on disk before the file is, so a restart of the server between
 *     the two opens no gap.  Marks and files belong together: FOLDER/.fence.
 *
 * --unfenced leaves the check out, to see what happens then.
 */
#include <lockd_fence.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 64,
    LINE_MAX_SIZE = 256,
    NAME_SIZE_MAX = 100,
    CONTENT_MAX = 1 << 20,
};

struct client {
    int fd;
    size_t size, out_size, out_at;
    char in[LINE_MAX_SIZE + CONTENT_MAX];
    char out[LINE_MAX_SIZE + CONTENT_MAX];
};

struct request {
    bool writes;
    char name[NAME_SIZE_MAX + 1];
    uint64_t token;
    const char *content;
    size_t size;
};

struct server {
    struct lockd_fence *fence; /* NULL: unfenced. */
    int folder;
    int listener;
    struct client *clients[CLIENTS_MAX];
    size_t count;
};

static int die(const char *what)
{
    fprintf(stderr, "fenced_files: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

/* -------------------------------------------------------------------- files */

static bool write_all(int fd, const char *octets, size_t size)
{
    while (size > 0) {
        const ssize_t count = write(fd, octets, size);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        if (count > 0) {
            octets += count;
            size -= (size_t)count;
        }
    }
    return true;
}

/* Whole or not at all, and durable: a file of its own that takes the name. */
static bool store(const struct server *s, const struct request *r)
{
    const int fd = openat(s->folder, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    const bool written = write_all(fd, r->content, r->size) && fsync(fd) == 0;
    return close(fd) == 0 && written && renameat(s->folder, ".new", s->folder, r->name) == 0 &&
           fsync(s->folder) == 0;
}

/* -1: there is none; -2: it can't be read. */
static ssize_t load(const struct server *s, const char *name, char *content)
{
    const int fd = openat(s->folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? -1 : -2;
    }
    ssize_t size = 0, count;
    do {
        count = read(fd, content + size, (size_t)(CONTENT_MAX - size));
        size += count > 0 ? count : 0;
    } while (count > 0);
    close(fd);
    return count < 0 ? -2 : size;
}

/* ----------------------------------------------------------------- requests */

__attribute__((format(printf, 2, 3))) static void say(struct client *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    c->out_size = (size_t)vsnprintf(c->out, LINE_MAX_SIZE, format, arguments);
    c->out_at = 0;
    va_end(arguments);
}

/* May whoever has this token work on the file now?  Says why not. */
static bool may_pass(struct server *s, struct client *c, const struct request *r)
{
    if (s->fence == NULL || (r->token == 0 && !r->writes)) {
        return true;
    }
    const enum lockd_rc rc = lockd_fence_check(s->fence, r->name, r->token);
    if (rc == LOCKD_OK) {
        return true;
    }
    if (rc == LOCKD_E_SYSTEM) {
        perror("fenced_files: the fence"); /* Opened anew, it knows where it is. */
        exit(EXIT_FAILURE);
    }
    if (rc == LOCKD_E_STALE) {
        const uint64_t mark = lockd_fence_mark(s->fence, r->name);
        say(c, "STALE %" PRIu64 "\n", mark != 0 ? mark : lockd_fence_floor(s->fence));
    } else {
        say(c, "ERROR %s\n", lockd_strerror(rc));
    }
    return false;
}

static void answer(struct server *s, struct client *c, const struct request *r)
{
    if (!may_pass(s, c, r)) {
        return;
    }
    if (r->writes) {
        say(c, store(s, r) ? "OK\n" : "ERROR not stored\n");
        return;
    }
    char content[CONTENT_MAX];
    const ssize_t size = load(s, r->name, content);
    if (size < 0) {
        say(c, size == -1 ? "NONE\n" : "ERROR not read\n");
        return;
    }
    say(c, "OK %zd\n", size);
    memcpy(c->out + c->out_size, content, (size_t)size);
    c->out_size += (size_t)size;
}

static bool valid_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    return name[0] != '.' && strspn(name, allowed) == strlen(name);
}

static bool parse(const char *line, struct request *r)
{
    char word[4], rest;
    const int count =
        sscanf(line, "%3s %100s %" SCNu64 " %zu%c", word, r->name, &r->token, &r->size, &rest);
    r->writes = count == 4 && strcmp(word, "PUT") == 0;
    return (r->writes || (count == 3 && strcmp(word, "GET") == 0)) && valid_name(r->name) &&
           r->size <= CONTENT_MAX;
}

/* Answers the request at the front of what came, if all of it is there. */
static void serve(struct server *s, struct client *c)
{
    struct request r = {.writes = false};
    char *end = memchr(c->in, '\n', c->size < LINE_MAX_SIZE ? c->size : LINE_MAX_SIZE);
    if (end == NULL) {
        if (c->size >= LINE_MAX_SIZE) {
            say(c, "ERROR the line is too long\n");
        }
        return;
    }
    *end = 0;
    const bool ok = parse(c->in, &r);
    *end = '\n';
    if (!ok) {
        say(c, "ERROR not a request\n");
        return;
    }
    const size_t whole = (size_t)(end + 1 - c->in) + r.size;
    if (c->size < whole) {
        return;
    }
    r.content = end + 1;
    answer(s, c, &r);
    c->size -= whole;
    memmove(c->in, c->in + whole, c->size);
}

/* --------------------------------------------------------------- connections */

/* False: the connection is over. */
static bool take_input(struct server *s, struct client *c)
{
    const ssize_t count = read(c->fd, c->in + c->size, sizeof c->in - c->size);
    if (count <= 0) {
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    }
    c->size += (size_t)count;
    serve(s, c);
    return true;
}

static bool give_output(struct server *s, struct client *c)
{
    const ssize_t count =
        send(c->fd, c->out + c->out_at, c->out_size - c->out_at, MSG_NOSIGNAL);
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    c->out_at += (size_t)count;
    if (c->out_at < c->out_size) {
        return true;
    }
    if (strncmp(c->out, "ERROR", 5) == 0) {
        return false;
    }
    c->out_size = c->out_at = 0;
    if (c->size > 0) {
        serve(s, c); /* What came behind the request. */
    }
    return true;
}

static void drop(struct server *s, size_t i)
{
    close(s->clients[i]->fd);
    free(s->clients[i]);
    s->clients[i] = s->clients[--s->count];
}

static void take_client(struct server *s)
{
    const int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c = fd < 0 ? NULL : malloc(sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->size = c->out_size = c->out_at = 0;
    s->clients[s->count++] = c;
}

/* One turn: whoever has an answer to take is not listened to until it is gone. */
static void turn(struct server *s)
{
    struct pollfd polled[CLIENTS_MAX + 1];
    for (size_t i = 0; i < s->count; i++) {
        const struct client *c = s->clients[i];
        polled[i] = (struct pollfd){.fd = c->fd, .events = c->out_size > 0 ? POLLOUT : POLLIN};
    }
    const nfds_t listening = s->count < CLIENTS_MAX;
    polled[s->count] = (struct pollfd){.fd = s->listener, .events = POLLIN};
    if (poll(polled, s->count + listening, -1) < 0) {
        return;
    }
    const bool came = listening != 0 && polled[s->count].revents != 0;
    for (size_t i = s->count; i-- > 0;) { /* From the back: drop() moves the last one. */
        struct client *c = s->clients[i];
        if (polled[i].revents != 0 &&
            !(c->out_size > 0 ? give_output(s, c) : take_input(s, c))) {
            drop(s, i);
        }
    }
    if (came) {
        take_client(s);
    }
}

/* -------------------------------------------------------------------- start */

static bool listen_on(struct server *s, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    const int yes = 1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->listener < 0 ||
        setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(s->listener, (const struct sockaddr *)&at, size) != 0 ||
        listen(s->listener, CLIENTS_MAX) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &size) != 0) {
        return false;
    }
    printf("serving 127.0.0.1:%d\n", ntohs(at.sin_port));
    return fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    static struct server s;
    char path[4096];
    const bool unfenced = argc > 1 && strcmp(argv[1], "--unfenced") == 0;
    if (argc - unfenced != 3) {
        fprintf(stderr, "usage: fenced_files [--unfenced] FOLDER PORT\n");
        return 2;
    }
    const char *folder = argv[1 + unfenced];
    snprintf(path, sizeof path, "%s/.fence", folder);
    s.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.folder < 0) {
        return die(folder);
    }
    const enum lockd_rc rc = unfenced ? LOCKD_OK : lockd_fence_open(path, NULL, &s.fence);
    if (rc != LOCKD_OK) {
        fprintf(stderr, "fenced_files: %s: %s\n", path, lockd_strerror(rc));
        return EXIT_FAILURE;
    }
    if (!listen_on(&s, atoi(argv[2 + unfenced]))) {
        return die("127.0.0.1");
    }
    for (;;) {
        turn(&s);
    }
}
