/* SPDX-License-Identifier: Apache-2.0
 *
 * drive.c -- disks for SQLite that fail when told.
 *
 * A write goes to `cache` at once, and into the list of its file.  A sync
 * applies the list to `durable`, which is what the disk holds.  A sync that
 * fails empties the list without applying it: the cache takes those pages for
 * clean from then on.
 */
#include "tests/store/drive.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILES_MAX = 8,
    PATH_BYTES = 512,
    TEAR_BYTES = 512,    /* What a disk writes whole or not at all. */
    SECTOR_BYTES = 4096, /* What SQLite's Unix layer takes a sector for. */
    CALLS_MAX = 8192,
};

struct image {
    uint8_t *data;
    size_t size, capacity;
};

struct op {
    bool truncate;
    size_t at, size;
    uint8_t *data;
};

struct file {
    char path[PATH_BYTES]; /* "": this one is free. */
    struct image cache, durable;
    struct op *ops;
    size_t ops_count, ops_capacity;
    bool dirty;  /* The file system has something else. */
    ino_t inode; /* What the file system has; 0: nothing yet. */
};

struct drive {
    struct drive *next;
    char folder[PATH_BYTES];
    struct file files[FILES_MAX];
    enum drive_mode mode;
    long fail_at, calls, syncs, reads;
    uint64_t limit;
    bool was_full; /* Since the last drive_begin(). */
    bool was_write[CALLS_MAX];
};

struct open_file {
    sqlite3_file base;
    struct drive *drive;
    struct file *file;
    bool overwrites_safely; /* SQLite's psow. */
};

static struct drive *drives;
static sqlite3_vfs *real_vfs;

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ------------------------------------------------------------------- images */

static void resize(struct image *image, size_t size)
{
    if (size > image->capacity) {
        image->capacity = 2 * size;
        image->data = must(realloc(image->data, image->capacity));
    }
    if (size > image->size) {
        memset(image->data + image->size, 0, size - image->size);
    }
    image->size = size;
}

static void overwrite(struct image *image, size_t at, const void *data, size_t size)
{
    if (at + size > image->size) {
        resize(image, at + size);
    }
    memcpy(image->data + at, data, size);
}

static void copy_image(struct image *to, const struct image *from)
{
    resize(to, from->size);
    if (from->size > 0) {
        memcpy(to->data, from->data, from->size);
    }
}

/* -------------------------------------------------------------------- files */

static void drop_ops(struct file *file)
{
    for (size_t i = 0; i < file->ops_count; i++) {
        free(file->ops[i].data);
    }
    file->ops_count = 0;
}

static void drop_file(struct file *file)
{
    drop_ops(file);
    free(file->ops);
    free(file->cache.data);
    free(file->durable.data);
    memset(file, 0, sizeof(*file));
}

static ino_t inode_of(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 ? stat_of.st_ino : 0;
}

static void read_in(struct file *file)
{
    FILE *in = fopen(file->path, "rb");
    if (in == NULL) {
        file->dirty = true;
        return;
    }
    fseek(in, 0, SEEK_END);
    resize(&file->durable, (size_t)ftell(in));
    rewind(in);
    if (file->durable.size > 0 && fread(file->durable.data, file->durable.size, 1, in) != 1) {
        abort();
    }
    fclose(in);
    file->inode = inode_of(file->path);
    copy_image(&file->cache, &file->durable);
}

static void write_out(struct file *file)
{
    if (!file->dirty) {
        return;
    }
    FILE *out = must(fopen(file->path, "wb"));
    if (file->cache.size > 0 && fwrite(file->cache.data, file->cache.size, 1, out) != 1) {
        abort();
    }
    if (fclose(out) != 0) {
        abort();
    }
    file->inode = inode_of(file->path);
    file->dirty = false;
}

/* Somebody gave its name to another file, by other means, and synced that before. */
static void look_again(struct file *file)
{
    if (!file->dirty && file->inode != 0 && inode_of(file->path) != file->inode) {
        drop_ops(file);
        read_in(file);
    }
}

static struct file *find_file(struct drive *drive, const char *path)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (strcmp(drive->files[i].path, path) == 0) {
            return &drive->files[i];
        }
    }
    return NULL;
}

static struct file *file_of(struct drive *drive, const char *path)
{
    struct file *file = find_file(drive, path);
    if (file == NULL) {
        file = must(find_file(drive, ""));
        snprintf(file->path, sizeof(file->path), "%s", path);
        read_in(file);
    }
    look_again(file);
    return file;
}

static void push_op(struct file *file, bool truncate, size_t at, const void *data, size_t size)
{
    if (file->ops_count == file->ops_capacity) {
        file->ops_capacity = 2 * file->ops_capacity + 16;
        file->ops = must(realloc(file->ops, file->ops_capacity * sizeof(*file->ops)));
    }
    struct op *op = &file->ops[file->ops_count++];
    *op = (struct op){.truncate = truncate, .at = at, .size = size};
    if (size > 0) {
        op->data = must(malloc(size));
        memcpy(op->data, data, size);
    }
}

/* The sectors of a write, or some of them. */
static void apply(struct file *file, const struct op *op, struct rng *rng)
{
    if (op->truncate) {
        resize(&file->durable, op->at);
        return;
    }
    for (size_t done = 0; done < op->size;) {
        const size_t in_sector = TEAR_BYTES - (op->at + done) % TEAR_BYTES;
        const size_t left = op->size - done;
        const size_t piece = in_sector < left ? in_sector : left;
        if (rng == NULL || rng_below(rng, 2) == 0) {
            overwrite(&file->durable, op->at + done, op->data + done, piece);
        }
        done += piece;
    }
}

static void apply_all(struct file *file, struct rng *rng)
{
    for (size_t i = 0; i < file->ops_count; i++) {
        apply(file, &file->ops[i], rng);
    }
    drop_ops(file);
}

/* ------------------------------------------------------------------- drives */

struct drive *drive_new(const char *folder)
{
    struct drive *drive = must(calloc(1, sizeof(*drive)));
    snprintf(drive->folder, sizeof(drive->folder), "%s/", folder);
    drive->limit = UINT64_MAX;
    drive->next = drives;
    drives = drive;
    return drive;
}

void drive_free(struct drive *drive)
{
    if (drive == NULL) {
        return;
    }
    drive_forget(drive);
    struct drive **at = &drives;
    while (*at != drive) {
        at = &(*at)->next;
    }
    *at = drive->next;
    free(drive);
}

void drive_forget(struct drive *drive)
{
    for (int i = 0; i < FILES_MAX; i++) {
        drop_file(&drive->files[i]);
    }
}

void drive_begin(struct drive *drive, enum drive_mode mode, long at)
{
    drive->mode = mode;
    drive->fail_at = at;
    drive->calls = 0;
    drive->syncs = 0;
    drive->reads = 0;
    drive->was_full = false;
}

long drive_calls(const struct drive *drive)
{
    return drive->calls;
}

bool drive_was_write(const struct drive *drive, long at)
{
    return at < CALLS_MAX && drive->was_write[at];
}

bool drive_hit(const struct drive *drive)
{
    const long count = drive->mode == DRIVE_CANT_READ   ? drive->reads
                       : drive->mode == DRIVE_CANT_SYNC ? drive->syncs
                                                        : drive->calls;
    return drive->was_full || (drive->mode != DRIVE_GOOD && count >= drive->fail_at);
}

void drive_limit(struct drive *drive, uint64_t octets)
{
    drive->limit = octets;
}

uint64_t drive_used(const struct drive *drive)
{
    uint64_t used = 0;
    for (int i = 0; i < FILES_MAX; i++) {
        used += drive->files[i].cache.size;
    }
    return used;
}

uint64_t drive_room(const struct drive *drive)
{
    const uint64_t used = drive_used(drive);
    return drive->limit > used ? drive->limit - used : 0;
}

/* A sector that was being written, or 0. */
static size_t torn_sector(const struct file *file, struct rng *rng)
{
    if (file->ops_count == 0) {
        return 0;
    }
    const struct op *op = &file->ops[rng_below(rng, file->ops_count)];
    return op->size == 0 ? 0 : (op->at + rng_below(rng, op->size)) / SECTOR_BYTES;
}

static void tear(struct file *file, size_t sector)
{
    const size_t at = sector * SECTOR_BYTES;
    if (at > 0 && at < file->durable.size) {
        const size_t left = file->durable.size - at;
        memset(file->durable.data + at, 0xa5, left < SECTOR_BYTES ? left : SECTOR_BYTES);
    }
}

void drive_cut(struct drive *drive, struct rng *rng, enum drive_keep keep)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *file = &drive->files[i];
        if (file->path[0] == '\0') {
            continue;
        }
        look_again(file);
        const size_t torn = keep == DRIVE_KEEP_TORN ? torn_sector(file, rng) : 0;
        if (keep != DRIVE_KEEP_NONE) {
            apply_all(file, keep == DRIVE_KEEP_ALL ? NULL : rng);
        }
        tear(file, torn);
        drop_ops(file);
        copy_image(&file->cache, &file->durable);
        file->dirty = true;
        write_out(file);
    }
    drive_begin(drive, DRIVE_GOOD, 0);
}

static struct file *named(const struct drive *drive, const char *name)
{
    const size_t length = strlen(drive->folder);
    for (int i = 0; i < FILES_MAX; i++) {
        const struct file *file = &drive->files[i];
        if (file->path[0] != '\0' && strcmp(file->path + length, name) == 0) {
            return (struct file *)(uintptr_t)file;
        }
    }
    return NULL;
}

const uint8_t *drive_look(const struct drive *drive, const char *name, size_t *ret_size)
{
    const struct file *file = named(drive, name);
    if (file == NULL) {
        return NULL;
    }
    *ret_size = file->durable.size;
    return file->durable.data;
}

void drive_damage(struct drive *drive, const char *name, size_t at, const void *data,
                  size_t size)
{
    struct file *file = must(named(drive, name));
    overwrite(&file->durable, at, data, size);
    if (at + size <= file->cache.size) { /* Else it was cut since, and the disk will be. */
        overwrite(&file->cache, at, data, size);
    }
    file->dirty = true;
    write_out(file);
}

/* ------------------------------------------------------------------- faults */

static bool fails(struct drive *drive, bool writing)
{
    const long call = ++drive->calls;
    if (call < CALLS_MAX) {
        drive->was_write[call] = writing;
    }
    return drive->mode == DRIVE_FAILS ? call == drive->fail_at
                                      : drive->mode == DRIVE_DIES && call >= drive->fail_at;
}

static bool is_full(const struct drive *drive, const struct file *file, size_t end)
{
    return end > file->cache.size && drive->limit != UINT64_MAX &&
           drive_used(drive) + (end - file->cache.size) > drive->limit;
}

/* ------------------------------------------------------------ SQLite's files */

static struct open_file *of(sqlite3_file *file)
{
    return (struct open_file *)file;
}

static int on_close(sqlite3_file *file)
{
    write_out(of(file)->file);
    return SQLITE_OK;
}

static int on_read(sqlite3_file *file, void *data, int size, sqlite3_int64 at)
{
    struct drive *drive = of(file)->drive;
    const struct image *cache = &of(file)->file->cache;
    if (drive->mode == DRIVE_CANT_READ && ++drive->reads == drive->fail_at) {
        return SQLITE_IOERR_READ;
    }
    const size_t from = (size_t)at, wanted = (size_t)size;
    const size_t there = from >= cache->size           ? 0
                         : cache->size - from < wanted ? cache->size - from
                                                       : wanted;
    if (there > 0) {
        memcpy(data, cache->data + from, there);
    }
    memset((uint8_t *)data + there, 0, wanted - there);
    return there == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* A write that fails may have written something: here, the whole sectors of its
 * first half.  Nothing that writes tears a sector in two. */
static int on_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    struct drive *drive = of(file)->drive;
    struct file *to = of(file)->file;
    if (is_full(drive, to, (size_t)(at + size))) {
        drive->was_full = true;
        return SQLITE_FULL;
    }
    const bool failed = fails(drive, /* writing= */ true);
    const sqlite3_int64 half = (at + size / 2) / TEAR_BYTES * TEAR_BYTES;
    const size_t written = !failed ? (size_t)size : half > at ? (size_t)(half - at) : 0;
    if (written > 0) {
        push_op(to, /* truncate= */ false, (size_t)at, data, written);
        overwrite(&to->cache, (size_t)at, data, written);
        to->dirty = true;
    }
    return !failed ? SQLITE_OK : drive->calls % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct file *to = of(file)->file;
    if (fails(of(file)->drive, /* writing= */ false)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    push_op(to, /* truncate= */ true, (size_t)size, NULL, 0);
    resize(&to->cache, (size_t)size);
    to->dirty = true;
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    struct drive *drive = of(file)->drive;
    const bool failed = fails(drive, /* writing= */ false);
    drive->syncs++;
    if (failed || (drive->mode == DRIVE_CANT_SYNC && drive->syncs == drive->fail_at)) {
        if (drive->mode != DRIVE_DIES) {
            drop_ops(of(file)->file);
        }
        return SQLITE_IOERR_FSYNC;
    }
    apply_all(of(file)->file, NULL);
    return SQLITE_OK;
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    *ret_size = (sqlite3_int64)of(file)->file->cache.size;
    return SQLITE_OK;
}

/* A store has locked its folder before SQLite opens anything in it. */
static int on_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int on_check_lock(sqlite3_file *file, int *ret_locked)
{
    (void)file;
    *ret_locked = 0;
    return SQLITE_OK;
}

/* The store asks whether its file is mapped. */
static int on_control(sqlite3_file *file, int op, void *argument)
{
    (void)file;
    if (op != SQLITE_FCNTL_MMAP_SIZE) {
        return SQLITE_NOTFOUND;
    }
    *(sqlite3_int64 *)argument = 0;
    return SQLITE_OK;
}

static int on_sector_size(sqlite3_file *file)
{
    (void)file;
    return SECTOR_BYTES;
}

static int on_characteristics(sqlite3_file *file)
{
    return of(file)->overwrites_safely ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1, /* No shared memory, no mapping. */
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_lock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
};

/* ---------------------------------------------------------------------- vfs */

static struct drive *drive_of(const char *path)
{
    struct drive *drive = drives;
    while (drive != NULL && strncmp(path, drive->folder, strlen(drive->folder)) != 0) {
        drive = drive->next;
    }
    return drive;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    (void)vfs;
    struct drive *drive = name == NULL ? NULL : drive_of(name);
    if (drive == NULL) {
        return real_vfs->xOpen(real_vfs, name, file, flags, ret_flags);
    }
    file->pMethods = NULL;
    if (fails(drive, /* writing= */ false)) {
        return SQLITE_CANTOPEN;
    }
    const bool safe = sqlite3_uri_boolean((flags & SQLITE_OPEN_URI) != 0 ? name : NULL, "psow",
                                          /* bDefault= */ 1) != 0;
    *of(file) = (struct open_file){.base.pMethods = &methods,
                                   .drive = drive,
                                   .file = file_of(drive, name),
                                   .overwrites_safely = safe};
    write_out(of(file)->file); /* It exists from now on. */
    if (ret_flags != NULL) {
        *ret_flags = flags;
    }
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    struct drive *drive = drive_of(name);
    if (drive != NULL) {
        if (fails(drive, /* writing= */ false)) {
            return SQLITE_IOERR_DELETE;
        }
        drop_file(file_of(drive, name));
    }
    return real_vfs->xDelete(real_vfs, name, sync_dir);
}

/* Every run draws the same. */
static int vfs_randomness(sqlite3_vfs *vfs, int size, char *data)
{
    (void)vfs;
    memset(data, 0x5a, (size_t)size);
    return size;
}

void drive_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = "drive";
    if (vfs.szOsFile < (int)sizeof(struct open_file)) {
        vfs.szOsFile = (int)sizeof(struct open_file);
    }
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xRandomness = vfs_randomness;
    sqlite3_vfs_register(&vfs, /* makeDflt= */ 1);
}
