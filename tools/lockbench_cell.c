/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench_cell.c -- a cell of one's own for the time of a run.
 *
 * Its loopback address is made from the process id, so that neither another run
 * nor a cell that serves is ever in the way.  The kernel ends the replicas should
 * this process end without doing so.
 */
#include "tools/lockbench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENT_PORT = 7400, /* + the replica's number. */
    PEER_PORT = 7500,
    STOP_MS = 10000,
    PATH_SIZE = 512,
};

static void path_of(const struct cell *c, uint32_t replica, const char *what, char *ret_path)
{
    snprintf(ret_path, PATH_SIZE, "%s/%u%s", c->folder, replica, what);
}

static void host_of(char ret_host[32])
{
    const unsigned pid = (unsigned)getpid();
    snprintf(ret_host, 32, "127.%u.%u.%u", 1 + (pid >> 16) % 254, pid >> 8 & 255, pid & 255);
}

/* --------------------------------------------------------------- founding */

static bool write_config(const struct cell *c, uint32_t replica, const char *host)
{
    char path[PATH_SIZE];
    path_of(c, replica, ".json", path);
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        return bench_fail("%s: %s", path, strerror(errno));
    }
    fprintf(file, "{\n    \"cell\": \"bench\",\n    \"replica\": %u,\n", replica);
    fprintf(file, "    \"data_dir\": \"%s/%u\",\n", c->folder, replica);
    fprintf(file, "    \"listen\": \"%s:%u\",\n    \"peers\": {", host, CLIENT_PORT + replica);
    for (uint32_t i = 1; i <= c->count; i++) {
        fprintf(file, "%s\n        \"%u\": \"%s:%u\"", i > 1 ? "," : "", i, host,
                PEER_PORT + i);
    }
    fprintf(file, "\n    }\n}\n");
    const bool failed = ferror(file) != 0;
    return (fclose(file) == 0 && !failed) || bench_fail("%s: cannot be written", path);
}

/* Starts lockd with its output in the replica's log.  `init`: only to found it. */
static pid_t spawn(const struct cell *c, uint32_t replica, const char *lockd, bool init)
{
    char config[PATH_SIZE], log[PATH_SIZE];
    path_of(c, replica, ".json", config);
    path_of(c, replica, ".log", log);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (getppid() != parent || output < 0) {
        _exit(126);
    }
    setpgid(0, 0); /* Ctrl-C is for us, who stop it then. */
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (init) {
        execl(lockd, lockd, "init", "--config", config, (char *)NULL);
    } else {
        execl(lockd, lockd, "--config", config, (char *)NULL);
    }
    _exit(127);
}

static bool found(const struct cell *c, uint32_t replica, const char *lockd)
{
    int status = 0;
    const pid_t pid = spawn(c, replica, lockd, /* init= */ true);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        return bench_fail("%s init failed; see %s/%u.log", lockd, c->folder, replica);
    }
    return true;
}

static bool make_folder(struct cell *c, const char *parent)
{
    char folder[sizeof c->folder];
    const int size = snprintf(folder, sizeof folder, "%s/lockbench.XXXXXX", parent);
    if (size < 0 || (size_t)size >= sizeof folder || mkdtemp(folder) == NULL) {
        return bench_fail("a folder in %s: %s", parent, strerror(errno));
    }
    memcpy(c->folder, folder, sizeof folder);
    return true;
}

bool cell_start(struct cell *c, uint32_t count, const char *lockd, const char *parent)
{
    char host[32];
    *c = (struct cell){.count = count};
    host_of(host);
    if (!make_folder(c, parent)) {
        return false;
    }
    for (uint32_t i = 1; i <= count; i++) {
        const size_t used = strlen(c->endpoints);
        snprintf(c->endpoints + used, sizeof c->endpoints - used, "%s%s:%u", i > 1 ? "," : "",
                 host, CLIENT_PORT + i);
        if (!write_config(c, i, host) || !found(c, i, lockd)) {
            return false;
        }
    }
    for (uint32_t i = 1; i <= count; i++) {
        c->pids[i - 1] = spawn(c, i, lockd, /* init= */ false);
        if (c->pids[i - 1] < 0) {
            c->pids[i - 1] = 0;
            return bench_fail("no process could be started: %s", strerror(errno));
        }
    }
    return true;
}

/* --------------------------------------------------------------- the end */

static void wait_end(pid_t pid, uint64_t until_us)
{
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (bench_now_us() >= until_us) {
            kill(pid, SIGKILL);
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat;
    (void)kind;
    (void)at;
    return remove(path);
}

void cell_stop(struct cell *c)
{
    const uint64_t until_us = bench_now_us() + (uint64_t)STOP_MS * 1000;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->pids[i] > 0) {
            kill(c->pids[i], SIGTERM);
        }
    }
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->pids[i] > 0) {
            wait_end(c->pids[i], until_us);
            c->pids[i] = 0;
        }
    }
    if (c->folder[0] != 0 && nftw(c->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        bench_fail("%s could not be removed: %s", c->folder, strerror(errno));
    }
    c->folder[0] = 0;
}

/* --------------------------------------------------------------- looking */

const char *cell_find_lockd(void)
{
    static const char *const places[] = {"lockd", "../lockd/lockd", "../sbin/lockd"};
    static char path[PATH_SIZE];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 32);
    if (size <= 0) {
        return NULL;
    }
    path[size] = 0;
    char *name = strrchr(path, '/') + 1;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct stat stat_;
        strcpy(name, places[i]);
        if (stat(path, &stat_) == 0 && S_ISREG(stat_.st_mode) && access(path, X_OK) == 0) {
            return path;
        }
    }
    return NULL;
}

/* A connection to a replica that gives up soon; -1: none. */
static int connect_to(uint32_t replica)
{
    char host[32];
    host_of(host);
    const struct timeval patience = {.tv_sec = 1};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(CLIENT_PORT + replica + 1))};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && inet_pton(AF_INET, host, &address.sin_addr) == 1 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* liblockd speaks to the master whoever it is, so this asks by itself. */
static bool serves(uint32_t replica)
{
    static const char question[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"cell.status\",\"params\":{}}\n";
    char line[16384];
    size_t size = 0;
    const int fd = connect_to(replica);
    if (fd < 0) {
        return false;
    }
    ssize_t got = write(fd, question, sizeof question - 1);
    while (got > 0 && size < sizeof line && memchr(line, '\n', size) == NULL) {
        got = read(fd, line + size, sizeof line - size);
        size += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    json_t *answer = json_loadb(line, size, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *result = json_object_get(answer, "result");
    const char *role = json_string_value(json_object_get(result, "role"));
    const bool master = role != NULL && strcmp(role, "master") == 0 &&
                        json_is_true(json_object_get(result, "serving"));
    json_decref(answer);
    return master;
}

int cell_master(const struct cell *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->pids[i] > 0 && serves(i)) {
            return (int)i;
        }
    }
    return -1;
}

void cell_kill(struct cell *c, uint32_t replica)
{
    kill(c->pids[replica], SIGKILL);
    waitpid(c->pids[replica], NULL, 0);
    c->pids[replica] = 0;
}

uint64_t cell_resident(const struct cell *c, uint32_t replica)
{
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)c->pids[replica]);
    FILE *file = c->pids[replica] > 0 ? fopen(path, "re") : NULL;
    if (file != NULL) {
        if (fscanf(file, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The 14th and 15th field of /proc/PID/stat; the second may hold spaces. */
static bool one_cpu_us(pid_t pid, uint64_t *ret_us)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    const size_t size = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    text[size] = 0;
    const char *after = strrchr(text, ')');
    unsigned long long user, system;
    if (after == NULL ||
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2) {
        return false;
    }
    *ret_us = (user + system) * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK));
    return true;
}

bool cell_cpu_us(const pid_t *pids, uint32_t count, uint64_t *ret_us)
{
    *ret_us = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t one;
        if (!one_cpu_us(pids[i], &one)) {
            return false;
        }
        *ret_us += one;
    }
    return true;
}
