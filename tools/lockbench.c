/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench.c -- how fast a cell is: options, one run, one report.
 *
 * docs/performance.md says what is measured and how to read it.
 */
#include "tools/lockbench.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 64,
    CLIENTS_MAX = 100000,
    ITEMS_MAX = 10000000,
    SCALE_CLIENTS = 100,
    VALUE_MAX = 256 * 1024,
    PIDS_MAX = 16,
};

static const char *const workload_names[] = {
    [WORKLOAD_LOCK] = "lock",   [WORKLOAD_PUT] = "put",
    [WORKLOAD_GET] = "get",     [WORKLOAD_HANDOFF] = "handoff",
    [WORKLOAD_WATCH] = "watch", [WORKLOAD_CACHED] = "cached-get"};
static const char *const level_names[] = {[LOCKD_LINEARIZABLE] = "linearizable",
                                          [LOCKD_LEASE] = "lease",
                                          [LOCKD_SEQUENTIAL] = "sequential",
                                          [LOCKD_STALE] = "stale"};

struct bench {
    bool scale; /* Instead of a load. */
    struct scale_settings large;
    struct load_settings load;
    struct load_result result;
    uint32_t replicas; /* Of a cell of one's own; 0: none. */
    const char *lockd, *folder;
    bool json;

    struct cell cell;
    pid_t pids[PIDS_MAX]; /* Of the replicas, where known. */
    uint32_t pids_count;
    bool cpu_known;
    uint64_t server_cpu_us, client_cpu_us; /* Over the window. */
};

bool bench_fail(const char *format, ...)
{
    va_list arguments;
    fputs("lockbench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return false;
}

uint64_t bench_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void bench_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

/* A second one ends us at once, and the kernel our replicas. */
static void heed_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ------------------------------------------------------------------ options */

enum {
    KEY_CELL = 256,
    KEY_CLIENTS,
    KEY_DIR,
    KEY_ENDPOINTS,
    KEY_LEVEL,
    KEY_LOCKD,
    KEY_LOCKS,
    KEY_NODES,
    KEY_PIDS,
    KEY_SECONDS,
    KEY_SESSIONS,
    KEY_VALUE,
    KEY_WARMUP,
    KEY_WATCHERS,
    KEY_WATCHES
};

static const struct argp_option options[] = {
    {"workload", 'w', "lock|handoff|put|get|cached-get|watch", 0,
     "What an operation is (default lock)", 0},
    {"clients", KEY_CLIENTS, "N", 0,
     "Each with a connection of its own (default 1; with scale 100)", 0},
    {"level", KEY_LEVEL, "linearizable|lease|sequential|stale", 0,
     "get: how new what is read must be (default linearizable)", 0},
    {"watchers", KEY_WATCHERS, "N", 0, "watch: clients that watch, instead (default 100)", 0},
    {"value-bytes", KEY_VALUE, "B", 0, "Of each value written or read (default 256)", 0},
    {"seconds", KEY_SECONDS, "S", 0, "The measured window (default 10)", 0},
    {"warmup", KEY_WARMUP, "S", 0, "Before it, unmeasured (default 2)", 0},
    {"nodes", KEY_NODES, "N", 0, "scale: files (default 100000)", 1},
    {"sessions", KEY_SESSIONS, "N", 0, "scale: (default 10000)", 1},
    {"locks", KEY_LOCKS, "N", 0, "scale: held, at most one a node (default 10000)", 1},
    {"watches", KEY_WATCHES, "N", 0, "scale: (default 100000)", 1},
    {"cell", KEY_CELL, "N", 0, "Start N replicas on loopback, and stop them after (default 3)",
     2},
    {"lockd", KEY_LOCKD, "PATH", 0, "Their program (default: the one beside this)", 2},
    {"dir", KEY_DIR, "DIR", 0, "Their files go below this (default $TMPDIR, or /tmp)", 2},
    {"endpoints", KEY_ENDPOINTS, "A,B,..", 0, "Use a cell that runs: HOST[:PORT],...", 3},
    {"pids", KEY_PIDS, "P,Q,..", 0, "Its processes on this machine, to measure their CPU", 3},
    {"output", 'o', "simple|json", 0, "json: one object a run", 4},
    {0},
};

/* A whole number in a range. */
static bool take_number(const char *text, uint32_t least, uint32_t most, uint32_t *ret_number)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || number < least ||
        number > most) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool take_seconds(const char *text, double least, double *ret_seconds)
{
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(seconds >= least && seconds <= 86400)) {
        return false;
    }
    *ret_seconds = seconds;
    return true;
}

/* One of some words; -1: none of them. */
static int word_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool take_workload(const char *text, enum workload *ret_workload)
{
    const int word =
        word_of(text, workload_names, sizeof workload_names / sizeof workload_names[0]);
    *ret_workload = word >= 0 ? (enum workload)word : *ret_workload;
    return word >= 0;
}

static bool take_level(const char *text, enum lockd_level *ret_level)
{
    const int word = word_of(text, level_names, sizeof level_names / sizeof level_names[0]);
    *ret_level = word >= 0 ? (enum lockd_level)word : *ret_level;
    return word >= 0;
}

static bool take_pids(const char *text, struct bench *b)
{
    while (b->pids_count < PIDS_MAX) {
        char *end;
        const long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || pid > INT32_MAX || (*end != ',' && *end != 0)) {
            return false;
        }
        b->pids[b->pids_count++] = (pid_t)pid;
        if (*end == 0) {
            return true;
        }
        text = end + 1;
    }
    return false;
}

/* One option.  False: its argument makes no sense. */
static bool take_option(struct bench *b, int key, const char *text)
{
    switch (key) {
    case 'w':
        return take_workload(text, &b->load.workload);
    case 'o':
        b->json = strcmp(text, "json") == 0;
        return b->json || strcmp(text, "simple") == 0;
    case KEY_CLIENTS:
        return take_number(text, 1, CLIENTS_MAX, &b->load.clients);
    case KEY_LEVEL:
        return take_level(text, &b->load.level);
    case KEY_WATCHERS:
        return take_number(text, 1, CLIENTS_MAX, &b->load.watchers);
    case KEY_NODES:
        return take_number(text, 1, ITEMS_MAX, &b->large.nodes);
    case KEY_SESSIONS:
        return take_number(text, 1, ITEMS_MAX, &b->large.sessions);
    case KEY_LOCKS:
        return take_number(text, 0, ITEMS_MAX, &b->large.locks);
    case KEY_WATCHES:
        return take_number(text, 0, ITEMS_MAX, &b->large.watches);
    case KEY_VALUE:
        return take_number(text, 0, VALUE_MAX, &b->load.value_bytes);
    case KEY_SECONDS:
        return take_seconds(text, 0.1, &b->load.seconds);
    case KEY_WARMUP:
        return take_seconds(text, 0, &b->load.warmup_seconds);
    case KEY_CELL:
        return take_number(text, 1, CELL_REPLICAS_MAX, &b->replicas);
    case KEY_PIDS:
        return take_pids(text, b);
    case KEY_LOCKD:
        b->lockd = text;
        return true;
    case KEY_DIR:
        b->folder = text;
        return true;
    default:
        b->load.endpoints = text;
        return true;
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct bench *b = state->input;
    if (key == ARGP_KEY_ARG) {
        if (strcmp(text, "scale") != 0) {
            argp_error(state, "\"%s\" is not expected; only scale is", text);
        }
        b->scale = true;
    } else if (key == ARGP_KEY_END) {
        if (b->load.endpoints != NULL && (b->replicas > 0 || b->scale)) {
            argp_error(state, "--endpoints excludes --cell and scale");
        }
        if (b->load.level != LOCKD_LINEARIZABLE && b->load.workload != WORKLOAD_GET) {
            argp_error(state, "--level goes only with -w get");
        }
        if (b->load.workload == WORKLOAD_CACHED && b->load.clients > 1) {
            argp_error(state, "cached-get has one client");
        }
        if (b->large.locks > b->large.nodes) {
            argp_error(state, "there are more --locks than --nodes");
        }
    } else if (key == 'w' || key == 'o' || (key >= KEY_CELL && key <= KEY_WATCHES)) {
        if (!take_option(b, key, text)) {
            argp_error(state, "\"%s\" makes no sense there", text);
        }
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ------------------------------------------------------------------ measuring */

static uint64_t own_cpu_us(void)
{
    struct rusage usage = {.ru_maxrss = 0};
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void mark(void *context, bool begins)
{
    struct bench *b = context;
    uint64_t server_us = 0;
    const uint64_t client_us = own_cpu_us();
    const bool known = b->pids_count > 0 && cell_cpu_us(b->pids, b->pids_count, &server_us);
    b->cpu_known = begins ? known : b->cpu_known && known;
    b->server_cpu_us = server_us - (begins ? 0 : b->server_cpu_us);
    b->client_cpu_us = client_us - (begins ? 0 : b->client_cpu_us);
}

static const char *folder_of(const struct bench *b)
{
    const char *temporary = getenv("TMPDIR");
    if (b->folder != NULL) {
        return b->folder;
    }
    return temporary != NULL && *temporary != 0 ? temporary : "/tmp";
}

static bool start_cell(struct bench *b)
{
    if (b->lockd == NULL) {
        b->lockd = cell_find_lockd();
    }
    if (b->lockd == NULL) {
        return bench_fail("there is no lockd beside this program; name it with --lockd");
    }
    if (!cell_start(&b->cell, b->replicas, b->lockd, folder_of(b))) {
        return false;
    }
    b->load.endpoints = b->cell.endpoints;
    memcpy(b->pids, b->cell.pids, sizeof b->cell.pids);
    b->pids_count = b->replicas;
    return true;
}

/* -------------------------------------------------------------------- report */

/* Those that do the work: in a watch load, who watches. */
static uint32_t clients_of(const struct bench *b)
{
    return b->load.workload == WORKLOAD_WATCH ? b->load.watchers : b->load.clients;
}

static double per_op(const struct bench *b, uint64_t us)
{
    return b->result.ops > 0 ? (double)us / (double)b->result.ops : 0;
}

static bool print_json(const struct bench *b)
{
    const struct load_result *r = &b->result;
    const bool known = b->cpu_known && r->ops > 0;
    json_t *server = known ? json_real(per_op(b, b->server_cpu_us)) : json_null();
    json_t *level = b->load.workload == WORKLOAD_GET ? json_string(level_names[b->load.level])
                                                     : json_null();
    json_t *missed =
        b->load.workload == WORKLOAD_CACHED ? json_integer((json_int_t)r->missed) : json_null();
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:o, s:f, s:o, s:o}", "workload",
        workload_names[b->load.workload], "clients", (json_int_t)clients_of(b), "value_bytes",
        (json_int_t)b->load.value_bytes, "seconds", r->seconds, "ops", (json_int_t)r->ops,
        "ops_per_s", (double)r->ops / r->seconds, "p50_us",
        (json_int_t)histogram_quantile(&r->latencies, 0.5), "p99_us",
        (json_int_t)histogram_quantile(&r->latencies, 0.99), "max_us",
        (json_int_t)r->latencies.max, "errors", (json_int_t)r->errors, "server_cpu_us_per_op",
        server, "client_cpu_us_per_op", per_op(b, b->client_cpu_us), "level", level, "missed",
        missed);
    const int rc = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(object);
    fputc('\n', stdout);
    return rc == 0;
}

static bool print_simple(const struct bench *b)
{
    static const char *const measured[] = {[WORKLOAD_LOCK] = " (of the acquire)",
                                           [WORKLOAD_PUT] = "",
                                           [WORKLOAD_GET] = "",
                                           [WORKLOAD_HANDOFF] =
                                               " (from one's release to the next one's grant)",
                                           [WORKLOAD_WATCH] = " (until the last one was told)",
                                           [WORKLOAD_CACHED] = " (of one in 64)"};
    const struct load_result *r = &b->result;
    printf("ops        %" PRIu64 " in %.2f s: %.0f a second, %" PRIu64 " errors\n", r->ops,
           r->seconds, (double)r->ops / r->seconds, r->errors);
    printf("latency    p50 %" PRIu64 " us, p99 %" PRIu64 " us, max %" PRIu64 " us%s\n",
           histogram_quantile(&r->latencies, 0.5), histogram_quantile(&r->latencies, 0.99),
           r->latencies.max, measured[b->load.workload]);
    if (b->load.workload == WORKLOAD_CACHED) {
        printf("cache      %" PRIu64 " of them were answered by the cell\n", r->missed);
    }
    if (b->cpu_known) {
        printf("cpu        servers %.1f us an operation, client %.1f us\n",
               per_op(b, b->server_cpu_us), per_op(b, b->client_cpu_us));
    }
    return true;
}

static void print_settings(const struct bench *b)
{
    fprintf(b->json ? stderr : stdout,
            "workload   %s%s%s, %u clients, values of %u octets\n"
            "time       %g s after %g s of warm-up\n"
            "cell       %s%s%s\n",
            workload_names[b->load.workload], b->load.workload == WORKLOAD_GET ? " " : "",
            b->load.workload == WORKLOAD_GET ? level_names[b->load.level] : "", clients_of(b),
            b->load.value_bytes, b->load.seconds, b->load.warmup_seconds, b->load.endpoints,
            b->replicas > 0 ? ", its own, in " : "", b->cell.folder);
    fflush(stdout);
}

/* ----------------------------------------------------------------------- main */

static bool run(struct bench *b)
{
    if (b->replicas > 0 && !start_cell(b)) {
        return false;
    }
    if (b->scale) {
        b->large.clients = b->load.clients;
        b->large.json = b->json;
        return scale_run(&b->large, &b->cell);
    }
    print_settings(b);
    if (b->load.workload == WORKLOAD_CACHED ? !cached_run(&b->load, &b->result)
                                            : !load_run(&b->load, &b->result)) {
        return false;
    }
    return (b->json ? print_json(b) : print_simple(b)) && fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "[scale]",
        .doc = "Measures a lockd cell by closed loops: each client begins its next operation "
               "when the one before has ended.  With scale it measures what a large cell "
               "weighs, and what becomes of it when its master is killed.\v"
               "lock: acquire and release of the client's own name; latencies are of the "
               "acquire.  handoff: all clients want one lock and give it back at once.  put: "
               "writes the client's own file.  get: all read one file.  cached-get: one client "
               "reads a file that its session keeps in memory.  watch: one file is written, "
               "and all watchers are told.  The files stand in "
               "/ls/local/lockbench and stay there."};
    struct bench b = {
        .large = {.nodes = 100000, .sessions = 10000, .locks = 10000, .watches = 100000},
        .load = {.watchers = 100,
                 .value_bytes = 256,
                 .seconds = 10,
                 .warmup_seconds = 2,
                 .mark = mark}};
    b.load.context = &b;
    argp_program_version = "lockbench " LOCKD_VERSION;
    argp_err_exit_status = EXIT_WRONG_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &b);
    if (b.load.endpoints == NULL && b.replicas == 0) {
        b.replicas = 3;
    }
    if (b.load.clients == 0) {
        b.load.clients = b.scale ? SCALE_CLIENTS : 1;
    }
    heed_signals();
    const bool ok = run(&b);
    cell_stop(&b.cell);
    return ok ? 0 : EXIT_FAILED;
}
