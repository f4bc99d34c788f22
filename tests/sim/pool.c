/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/pool.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64,
    SEED_SECONDS_MAX = 120, /* Real.  A seed that takes longer hangs. */
    TWICE_EVERY = 100,
};

/* Shared by all workers.  Counters are atomic; a worker's slot is its own. */
struct shared {
    _Atomic uint64_t next; /* Seed to take. */
    _Atomic uint64_t seeds, failures, twice;
    double end_seconds; /* When no more seeds begin; 0: never. */
    _Atomic uint64_t virtual_us, events, slots, ops, answered, failed, unknown, masters;
    _Atomic uint64_t sometimes[SOMETIMES_COUNT];
    _Atomic uint64_t blind_names, blind_ops, blind_undecided;
    _Atomic uint64_t table[TABLE_CELLS];
    _Atomic uint64_t first_failure;
    char check[32];
    uint64_t current[JOBS_MAX]; /* By worker: the seed under way; 0: none. */
};

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_failure(const struct pool_options *options, uint64_t seed, const char *check,
                          const char *text, const char *plan)
{
    if (options->silent) {
        return;
    }
    char lines[2048], replay[128];
    if (options->replay != NULL) {
        options->replay(seed, replay, sizeof replay);
    } else {
        snprintf(replay, sizeof replay, "--seed %" PRIu64 " --seconds %u", seed,
                 options->run.seconds);
    }
    const int size = snprintf(lines, sizeof lines,
                              "%s %" PRIu64 " FAILED  %s: %s\n"
                              "  plan    %s\n"
                              "  replay  %s %s --trace\n",
                              options->replay != NULL ? "run" : "seed", seed, check, text, plan,
                              options->command, replay);
    /* In one piece, because several workers write. */
    fflush(stdout);
    if (size > 0 && write(STDOUT_FILENO, lines, strlen(lines)) < 0) {
        perror("locksim: standard output");
    }
}

/* The first to fail names the check. */
static void count_failure(struct shared *s, uint64_t seed, const char *check)
{
    uint64_t none = 0;
    if (atomic_compare_exchange_strong(&s->first_failure, &none, seed)) {
        snprintf(s->check, sizeof s->check, "%s", check);
    }
    s->failures++;
    s->seeds++;
}

static void count_seed(struct shared *s, const struct run_result *result)
{
    s->seeds++;
    s->virtual_us += result->virtual_us;
    s->events += result->events;
    s->slots += result->slots;
    s->ops += result->ops;
    s->answered += result->answered;
    s->failed += result->failed;
    s->unknown += result->unknown;
    s->masters += result->masters;
    for (int i = 0; i < SOMETIMES_COUNT; i++) {
        s->sometimes[i] += result->sometimes[i] > 0;
    }
    s->blind_names += result->blind.names;
    s->blind_ops += result->blind.ops;
    s->blind_undecided += result->blind.undecided;
    for (int i = 0; i < TABLE_CELLS; i++) {
        s->table[i] += result->table[i];
    }
}

static bool goes_on(const struct pool_options *options, const struct shared *s)
{
    return (s->failures == 0 || options->keep_going) &&
           (s->end_seconds <= 0 || now_seconds() < s->end_seconds);
}

static void play_once(const struct pool_options *options, uint64_t seed,
                      struct run_result *ret_result)
{
    alarm(SEED_SECONDS_MAX);
    if (options->play != NULL) {
        options->play(seed, &options->run, ret_result);
    } else {
        run_seed(seed, &options->run, ret_result);
    }
}

static void play(const struct pool_options *options, struct shared *s, uint64_t seed,
                 struct run_result *ret_result)
{
    play_once(options, seed, ret_result);
    if (!ret_result->good || seed % TWICE_EVERY != 0 || options->run.tracing) {
        return;
    }
    struct run_result again;
    play_once(options, seed, &again);
    s->twice++;
    if (again.trace_hash != ret_result->trace_hash) {
        ret_result->good = false;
        snprintf(ret_result->check, sizeof ret_result->check, "twice");
        snprintf(ret_result->text, sizeof ret_result->text,
                 "the hash of the trace is %016" PRIx64 ", then %016" PRIx64,
                 ret_result->trace_hash, again.trace_hash);
    }
}

_Noreturn static void work(const struct pool_options *options, struct shared *s,
                           uint32_t worker)
{
    for (;;) {
        const uint64_t seed = s->next++;
        if (seed > options->last || !goes_on(options, s)) {
            fflush(stdout);
            _exit(EXIT_SUCCESS);
        }
        s->current[worker] = seed;
        struct run_result result;
        play(options, s, seed, &result);
        if (!result.good) {
            print_failure(options, seed, result.check, result.text, result.plan);
            count_failure(s, seed, result.check);
            s->current[worker] = 0;
            _exit(EXIT_FAILURE); /* The broken world goes with the process. */
        }
        count_seed(s, &result);
        s->current[worker] = 0;
    }
}

static pid_t start_worker(const struct pool_options *options, struct shared *s, uint32_t worker)
{
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) {
        perror("locksim: fork");
        exit(EXIT_FAILURE);
    }
    if (pid == 0) {
        work(options, s, worker);
    }
    return pid;
}

/* A worker that ended without saying why takes its seed with it. */
static void bury(const struct pool_options *options, struct shared *s, uint32_t worker,
                 int status)
{
    const uint64_t seed = s->current[worker];
    if (seed == 0) {
        return;
    }
    char text[64];
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "%s", strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
    }
    print_failure(options, seed, "crash", text, "see the replay");
    count_failure(s, seed, "crash");
    s->current[worker] = 0;
}

static void run_workers(const struct pool_options *options, struct shared *s)
{
    pid_t pids[JOBS_MAX] = {0};
    uint32_t running = 0;
    for (; running < options->jobs; running++) {
        pids[running] = start_worker(options, s, running);
    }
    while (running > 0) {
        int status = 0;
        const pid_t pid = wait(&status);
        uint32_t worker = 0;
        while (worker < options->jobs && pids[worker] != pid) {
            worker++;
        }
        if (pid < 0 || worker == options->jobs) {
            break;
        }
        bury(options, s, worker, status);
        if (s->next <= options->last && goes_on(options, s)) {
            pids[worker] = start_worker(options, s, worker);
        } else {
            pids[worker] = 0;
            running--;
        }
    }
}

void pool_run(const struct pool_options *options, struct pool_result *ret_result)
{
    struct pool_options bounded = *options;
    bounded.jobs = bounded.jobs < 1 ? 1 : bounded.jobs > JOBS_MAX ? JOBS_MAX : bounded.jobs;
    struct shared *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED) {
        perror("locksim: shared memory");
        exit(EXIT_FAILURE);
    }
    s->next = bounded.first;
    const double begin = now_seconds();
    s->end_seconds = bounded.minutes == 0 ? 0 : begin + 60.0 * bounded.minutes;
    run_workers(&bounded, s);
    *ret_result = (struct pool_result){
        .seeds = s->seeds,
        .failures = s->failures,
        .twice = s->twice,
        .virtual_us = s->virtual_us,
        .events = s->events,
        .slots = s->slots,
        .ops = s->ops,
        .answered = s->answered,
        .failed = s->failed,
        .unknown = s->unknown,
        .masters = s->masters,
        .first_failure = s->first_failure,
        .blind_names = s->blind_names,
        .blind_ops = s->blind_ops,
        .blind_undecided = s->blind_undecided,
        .seconds = now_seconds() - begin,
    };
    memcpy(ret_result->check, s->check, sizeof ret_result->check);
    for (int i = 0; i < SOMETIMES_COUNT; i++) {
        ret_result->sometimes[i] = s->sometimes[i];
    }
    for (int i = 0; i < TABLE_CELLS; i++) {
        ret_result->table[i] = s->table[i];
    }
    munmap(s, sizeof *s);
}

bool pool_good(const struct pool_result *r)
{
    return r->failures == 0 && blind_decided_enough(r->blind_names, r->blind_undecided);
}

void pool_print(const struct pool_result *r)
{
    const double virtual_s = (double)r->virtual_us / 1e6;
    const double seconds = r->seconds > 0.001 ? r->seconds : 0.001;
    const double seeds = r->seeds > 0 ? (double)r->seeds : 1;
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64
           " ops (%.1f %% answered, %.1f %% refused "
           "unexecuted, %.1f %% unknown), %.0f slots and %.1f masterships a seed\n",
           r->seeds, r->failures, r->ops,
           100.0 * (double)r->answered / (double)(r->ops + !r->ops),
           100.0 * (double)r->failed / (double)(r->ops + !r->ops),
           100.0 * (double)r->unknown / (double)(r->ops + !r->ops), (double)r->slots / seeds,
           (double)r->masters / seeds);
    printf("%.1f virtual hours in %.1f s: %.0f seeds a minute, %.0f times real time; %" PRIu64
           " ran twice\n",
           virtual_s / 3600, r->seconds, (double)r->seeds / seconds * 60, virtual_s / seconds,
           r->twice);
    if (r->blind_names > 0) {
        printf("without indices: %" PRIu64 " ops of %" PRIu64 " names judged, %" PRIu64
               " names undecided%s\n",
               r->blind_ops, r->blind_names, r->blind_undecided,
               blind_decided_enough(r->blind_names, r->blind_undecided) ? "" : ": TOO MANY");
    }
}

uint32_t pool_print_sometimes(const struct pool_result *r)
{
    uint32_t missed = 0;
    for (int i = 0; i < SOMETIMES_COUNT; i++) {
        const enum sometimes which = (enum sometimes)i;
        missed += r->sometimes[i] == 0;
        printf("%-24s %6" PRIu64 " seeds%s  %s\n", sometimes_name(which), r->sometimes[i],
               r->sometimes[i] == 0 ? "  NEVER" : "", sometimes_text(which));
    }
    return missed;
}
