/* SPDX-License-Identifier: Apache-2.0
 *
 * scene.c -- what the store's tests share.
 */
#include "tests/store/scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "paxos/base/hash.h"
#include "paxos/codec.h"

void scene_make_dir(char *path)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, SCENE_PATH, "%s/lockd-store-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(path));
}

/* Visits the files of a folder of ours, which has no folders in it. */
static void each_file(const char *dir, void (*visit)(const char *path, const char *to),
                      const char *to)
{
    DIR *listing = opendir(dir);
    assert_non_null(listing);
    const struct dirent *entry;
    while ((entry = readdir(listing)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[2 * SCENE_PATH];
        char target[2 * SCENE_PATH];
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
        visit(path, target);
    }
    closedir(listing);
}

static void remove_file(const char *path, const char *to)
{
    (void)to;
    unlink(path);
}

void scene_remove_dir(const char *path)
{
    each_file(path, remove_file, "");
    rmdir(path);
}

static void copy_file(const char *path, const char *to)
{
    if (strstr(path, "ballast") != NULL) {
        return;
    }
    FILE *in = fopen(path, "rb");
    FILE *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    static char buffer[64 * 1024];
    size_t count;
    while ((count = fread(buffer, 1, sizeof(buffer), in)) > 0) {
        assert_int_equal(fwrite(buffer, 1, count, out), count);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

void scene_copy_dir(const char *from, const char *to)
{
    each_file(to, remove_file, "");
    each_file(from, copy_file, to);
}

static struct paxos_hard make_hard(uint64_t round)
{
    struct paxos_hard hard = {.promised = {.round = round, .id = round == 0 ? 0 : 2},
                              .round_max = round,
                              .cell = round > 1 ? 0xfedcba9876543210 : 0,
                              .members = {.number = 1, .settings = {.drift_ppm = 10000}}};
    hard.members.count = 3;
    for (paxos_id i = 0; i < 3; i++) {
        struct paxos_member *member = &hard.members.member[i];
        member->id = (paxos_id)(i + 1);
        member->identity = i == 0 || round > 1 ? 0x1000u + i : 0;
        snprintf(member->address, sizeof(member->address), "127.0.0.1:75%02d", i);
    }
    return hard;
}

enum store_rc scene_init(const char *dir, char *ret_detail, size_t detail_size)
{
    const struct store_identity identity = {.cell = "test", .replica = 1, .identity = 0x1000};
    const struct paxos_hard hard = make_hard(0);
    return store_init(dir, &identity, &hard, ret_detail, detail_size);
}

struct store *scene_open(const char *dir)
{
    char detail[512] = "";
    struct store *store = NULL;
    const enum store_rc rc = store_open(dir, STORE_SERVE, &store, detail, sizeof(detail));
    if (rc != STORE_OK) {
        print_message("# %s: %s\n", store_rc_text(rc), detail);
    }
    assert_int_equal(rc, STORE_OK);
    return store;
}

struct paxos_entry scene_entry(uint64_t slot, uint64_t round, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(slot * 31 + i * 7 + round);
    }
    struct paxos_entry entry = {.slot = slot,
                                .ballot = {.round = round, .id = 2},
                                .value = {.kind = size == 0 ? PAXOS_NOOP : PAXOS_COMMANDS,
                                          .epoch = round << 16 | 2,
                                          .wall_ms = 1700000000000 + slot,
                                          .data = bytes_of(data, size)}};
    entry.value.checksum = paxos_value_checksum(&entry.value);
    return entry;
}

/* ----------------------------------------------------------------- the life */

static enum store_rc write_votes(struct store *store, uint64_t first, uint32_t count,
                                 size_t size, uint64_t round)
{
    struct paxos_entry entries[8];
    uint8_t *data = malloc(count * size + 1);
    assert_non_null(data);
    assert_true(count <= 8);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = scene_entry(first + i, round, data + i * size, size);
    }
    const struct store_batch batch = {
        .ticket = first, .entries = entries, .entries_count = count, .chosen_mark = first - 1};
    const enum store_rc rc = store_write(store, &batch, 1);
    free(data);
    return rc;
}

static enum store_rc write_hard(struct store *store, uint64_t round)
{
    const struct paxos_hard hard = make_hard(round);
    const struct store_batch batch = {.ticket = 1, .hard = &hard};
    return store_write(store, &batch, 1);
}

/* Rows with one of the letters each; an upper-case letter deletes the key of the
 * lower-case one.  A vote for slot `vote`, if not 0, goes in the same batch. */
static enum store_rc write_set(struct store *store, const char *letters, size_t size,
                               uint64_t applied_slot, uint64_t trim, uint64_t vote)
{
    struct lease_row rows[8];
    char keys[8];
    uint8_t *value = malloc(size + 1);
    assert_non_null(value);
    memset(value, (int)applied_slot, size + 1);
    uint32_t count = 0;
    for (const char *letter = letters; *letter != '\0'; letter++, count++) {
        const bool deletes = *letter >= 'A' && *letter <= 'Z';
        keys[count] = (char)(deletes ? *letter - 'A' + 'a' : *letter);
        rows[count] = (struct lease_row){
            .key = bytes_of(&keys[count], 1),
            .value = deletes ? bytes_of(NULL, 0) : bytes_of(value, size),
        };
    }
    const struct store_set set = {.rows = rows,
                                  .rows_count = count,
                                  .applied_slot = applied_slot,
                                  .applied_position = 1,
                                  .digest = hash64(letters, count),
                                  .trim = trim};
    uint8_t data[100];
    const struct paxos_entry entry = scene_entry(vote, 2, data, sizeof(data));
    const struct store_batch batch = {.entries = &entry,
                                      .entries_count = vote == 0 ? 0 : 1,
                                      .chosen_mark = applied_slot,
                                      .set = &set};
    const enum store_rc rc = store_write(store, &batch, 1);
    free(value);
    return rc;
}

enum store_rc scene_step(struct store *store, unsigned step)
{
    switch (step) {
    case 0:
        return write_hard(store, 1);
    case 1:
        return write_votes(store, 1, 1, 0, 1);
    case 2:
        return write_votes(store, 2, 3, 300, 1);
    case 3:
        return write_set(store, "abc", 100, 3, 0, 0);
    case 4: /* Another ballot takes slot 4 over. */
        return write_votes(store, 4, 2, 200, 2);
    case 5:
        return write_hard(store, 2);
    case 6:
        return write_votes(store, 6, 8, 80000, 2);
    case 7:
        return write_votes(store, 14, 8, 80000, 2);
    case 8:
        return store_maintain(store, /* idle= */ true);
    case 9:
        return write_set(store, "Abd", 5000, 20, 12, 0);
    case 10:
        return write_votes(store, 22, 1, 300, 2);
    case 11:
        return write_votes(store, 23, 8, 150000, 2);
    case 12:
        return store_maintain(store, /* idle= */ true);
    case 13:
        return write_set(store, "aD", 0, 29, 29, 31);
    default:
        fail();
    }
    return STORE_IO;
}

void scene_live(const char *dir, unsigned steps)
{
    struct store *store = scene_open(dir);
    for (unsigned i = 0; i < steps; i++) {
        assert_int_equal(scene_step(store, i), STORE_OK);
    }
    store_close(store);
}

/* ---------------------------------------------------------- behind its back */

char *scene_path(const char *dir, const char *name)
{
    static char path[2 * SCENE_PATH];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

void scene_poke(const char *dir, const char *name, off_t at, const void *data, size_t size)
{
    const int fd = open(scene_path(dir, name), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, at), size);
    close(fd);
}

uint8_t scene_peek(const char *dir, const char *name, off_t at)
{
    uint8_t octet = 0;
    const int fd = open(scene_path(dir, name), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &octet, 1, at), 1);
    close(fd);
    return octet;
}

void scene_flip(const char *dir, const char *name, off_t at)
{
    const uint8_t octet = (uint8_t)(scene_peek(dir, name, at) ^ 0x10);
    scene_poke(dir, name, at, &octet, 1);
}

off_t scene_size(const char *dir, const char *name)
{
    struct stat stat_buffer;
    assert_int_equal(stat(scene_path(dir, name), &stat_buffer), 0);
    return stat_buffer.st_size;
}

void scene_sql(const char *dir, const char *name, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(scene_path(dir, name), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        print_message("# %s\n", message);
        fail();
    }
    sqlite3_close(db);
}

/* -------------------------------------------------------------- fingerprint */

static void add(uint64_t *fingerprint, const void *data, size_t size)
{
    *fingerprint = hash64_seeded(data, size, *fingerprint);
}

static bool add_entry(void *context, const struct paxos_entry *entry)
{
    const uint64_t numbers[] = {entry->slot, entry->ballot.round, entry->ballot.id,
                                entry->value.checksum};
    add(context, numbers, sizeof(numbers));
    add(context, entry->value.data.data, entry->value.data.size);
    return true;
}

static bool add_row(void *context, const struct lease_row *row)
{
    assert_non_null(row->value.data);
    add(context, row->key.data, row->key.size);
    add(context, row->value.data, row->value.size);
    return true;
}

enum store_rc scene_fingerprint(struct store *store, uint64_t *ret_fingerprint)
{
    struct store_boot boot;
    enum store_rc rc = store_boot(store, &boot);
    if (rc != STORE_OK) {
        return rc;
    }
    uint64_t fingerprint = 0;
    uint8_t hard[PAXOS_HARD_MAX];
    struct writer w = writer_over(hard, sizeof(hard));
    paxos_hard_encode(&boot.hard, &w);
    add(&fingerprint, hard, w.size);
    const uint64_t numbers[] = {
        boot.chosen_mark, boot.applied_slot, boot.applied_position, boot.digest,
        boot.log_first,   boot.log_last,     boot.identity.replica, boot.identity.identity};
    add(&fingerprint, numbers, sizeof(numbers));
    add(&fingerprint, boot.identity.cell, strlen(boot.identity.cell));
    rc = store_log(store, 1, INT64_MAX, UINT32_MAX, add_entry, &fingerprint);
    if (rc == STORE_OK) {
        rc = store_rows(store, add_row, &fingerprint);
    }
    *ret_fingerprint = fingerprint;
    return rc;
}
