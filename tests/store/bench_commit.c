/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_commit.c -- what a commit costs here, beside a bare fdatasync().
 *
 *     bench_commit DIR [COMMITS]
 *
 * Prints medians for docs/storage.md; no test, because disks differ.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lockd/store.h"

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, uint64_t *times, uint32_t count)
{
    qsort(times, count, sizeof(times[0]), compare);
    printf("%-44s median %6.0f us  p99 %6.0f us  max %6.0f us\n", what,
           (double)times[count / 2] / 1e3, (double)times[count * 99 / 100] / 1e3,
           (double)times[count - 1] / 1e3);
}

/* Overwrites 8 KiB of a file that is there already, and syncs. */
static void bench_bare(const char *dir, uint64_t *times, uint32_t count)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/bare", dir);
    static const uint8_t block[8192] = {1};
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (off_t at = 0; at < 4 * 1024 * 1024; at += (off_t)sizeof(block)) {
        if (pwrite(fd, block, sizeof(block), at) != (ssize_t)sizeof(block)) {
            exit(1);
        }
    }
    fsync(fd);
    for (uint32_t i = 0; i < count; i++) {
        const off_t at = (off_t)(i % 512) * (off_t)sizeof(block);
        const uint64_t start = now_ns();
        if (pwrite(fd, block, sizeof(block), at) < 0 || fdatasync(fd) != 0) {
            exit(1);
        }
        times[i] = now_ns() - start;
    }
    close(fd);
    unlink(path);
    print_times("pwrite 8 KiB over old blocks, fdatasync", times, count);
}

static void bench_commits(struct store *store, uint64_t *slot, const char *what, size_t size,
                          uint32_t entries_count, uint64_t *times, uint32_t count)
{
    uint8_t *data = calloc(entries_count, size);
    struct paxos_entry entries[64];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < entries_count; j++) {
            uint8_t *at = data + j * size;
            memcpy(at, slot, sizeof(*slot));
            entries[j] = (struct paxos_entry){.slot = ++*slot,
                                              .ballot = {.round = 1, .id = 1},
                                              .value = {.kind = PAXOS_COMMANDS,
                                                        .epoch = 1 << 16 | 1,
                                                        .data = bytes_of(at, size)}};
            entries[j].value.checksum = paxos_value_checksum(&entries[j].value);
        }
        const struct store_batch batch = {
            .entries = entries, .entries_count = entries_count, .chosen_mark = *slot - 1};
        const uint64_t start = now_ns();
        if (store_write(store, &batch, 1) != STORE_OK) {
            fprintf(stderr, "%s\n", store_error(store));
            exit(1);
        }
        times[i] = now_ns() - start;
        if (store_maintain(store, false) != STORE_OK) {
            exit(1);
        }
    }
    free(data);
    print_times(what, times, count);
}

static void bench_checkpoint(struct store *store, uint64_t *slot, uint64_t *times)
{
    for (uint32_t i = 0; i < 20; i++) {
        static uint8_t data[64 * 1024];
        for (uint32_t j = 0; j < 20; j++) {
            struct paxos_entry entry = {
                .slot = ++*slot,
                .ballot = {.round = 1, .id = 1},
                .value = {.kind = PAXOS_COMMANDS, .data = bytes_of(data, sizeof(data))}};
            entry.value.checksum = paxos_value_checksum(&entry.value);
            const struct store_batch batch = {.entries = &entry, .entries_count = 1};
            if (store_write(store, &batch, 1) != STORE_OK) {
                exit(1);
            }
        }
        const uint64_t start = now_ns();
        if (store_maintain(store, true) != STORE_OK) {
            exit(1);
        }
        times[i] = now_ns() - start;
    }
    print_times("idle checkpoint of 1.3 MiB", times, 20);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_commit DIR [COMMITS]\n");
        return 64;
    }
    const char *dir = argv[1];
    const uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 5000;
    uint64_t *times = calloc(count < 20 ? 20 : count, sizeof(*times));
    const struct store_identity identity = {.cell = "bench", .replica = 1, .identity = 1};
    const struct paxos_hard hard = {
        .members = {.number = 1, .count = 1, .member = {{.id = 1, .identity = 1}}}};
    char detail[512] = "";
    struct store *store = NULL;
    if (store_init(dir, &identity, &hard, detail, sizeof(detail)) != STORE_OK ||
        store_open(dir, STORE_SERVE, &store, detail, sizeof(detail)) != STORE_OK) {
        fprintf(stderr, "%s\n", detail);
        return 1;
    }
    uint64_t slot = 0;
    bench_bare(dir, times, count);
    bench_commits(store, &slot, "commit, 1 entry of 300 bytes", 300, 1, times, count);
    bench_commits(store, &slot, "commit, 1 entry of 8 KiB (64 commands)", 8192, 1, times,
                  count);
    bench_commits(store, &slot, "commit, 32 entries of 300 bytes", 300, 32, times, count / 10);
    bench_commits(store, &slot, "commit, 1 entry of 256 KiB", 256 * 1024, 1, times, count / 50);
    bench_checkpoint(store, &slot, times);
    store_close(store);
    free(times);
    return 0;
}
