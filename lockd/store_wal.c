/* SPDX-License-Identifier: Apache-2.0
 *
 * store_wal.c -- damage in the WAL is not a torn tail.
 *
 * SQLite's recovery reads frames as long as their chained checksums hold, and
 * takes the first that does not for the end of what was written before a crash.
 * That is right for the one transaction that was being written; but a flipped
 * bit in the middle looks just the same, and everything behind it, promises and
 * votes that others rely on, would be gone without a word ("Protocol-Aware
 * Recovery for Consensus-Based Storage", FAST 2018).
 *
 * Every transaction of ours is synced before the next begins.  So behind the
 * first bad frame at most one transaction can have left anything.  Traces of two
 * mean that the first of them was synced, and acknowledged: the store is
 * damaged.  (Damage in the very last transaction still looks like a crash.)
 *
 *     header: u32 magic, version, page size, sequence, salt 1, salt 2, sum, sum
 *     frame:  u32 page number, pages of the file after a commit or 0,
 *             salt 1, salt 2, sum, sum; then the page
 *
 * Formats and checksums: SQLite's file format, section 4.
 */
#include "lockd/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paxos/base/mutant.h"

enum {
    WAL_HEADER = 32,
    FRAME_HEADER = 24,
    FRAME = FRAME_HEADER + STORE_PAGE,
    SECTOR = 4096, /* What SQLite's Unix layer takes every sector for. */
    TEAR = 512,
    WAL_MAGIC = 0x377f0682, /* The lowest bit: checksums over big-endian words. */
    WAL_VERSION = 3007000,
};

struct sums {
    uint32_t a, b;
};

struct scan {
    int fd;
    bool big_endian;
    uint8_t salts[8];
    struct sums chain;     /* Up to the last good frame. */
    bool broken;           /* A bad frame was met. */
    uint32_t transactions; /* That ended behind it. */
    bool padded;           /* The next frame fills the sector behind a commit. */
    uint8_t frame[FRAME];
};

static uint32_t word(const uint8_t *at, bool big_endian)
{
    return big_endian
               ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static struct sums sum_on(struct sums sums, const uint8_t *data, size_t size, bool big_endian)
{
    assert(size % 8 == 0);
    for (size_t i = 0; i < size; i += 8) {
        sums.a += word(data + i, big_endian) + sums.b;
        sums.b += word(data + i + 4, big_endian) + sums.a;
    }
    return sums;
}

static bool sums_match(struct sums sums, const uint8_t *at)
{
    return sums.a == word(at, true) && sums.b == word(at + 4, true);
}

/* False when there is no more; a frame cut short is no frame. */
static bool next_frame(struct scan *scan, off_t at, int *ret_errno)
{
    const ssize_t count = pread(scan->fd, scan->frame, FRAME, at);
    *ret_errno = count < 0 ? errno : 0;
    return count == FRAME;
}

/* A disk writes so many octets whole or not at all.  Of a header that lies in two such
 * pieces one may be of an older frame, and together they say what nobody wrote. */
static bool is_in_one_piece(off_t at)
{
    return at % TEAR <= TEAR - 16; /* Up to the salts. */
}

/* SQLite fills the sector behind a commit with a copy of its last frame (psow=0
 * in store_sqlite.c): with one, as a frame is longer than a sector.  Only the part in
 * that sector is synced with the commit; so the rest of the copy may be lost without
 * anything being wrong. */
static void step_frame(struct scan *scan, off_t end)
{
    const uint8_t *frame = scan->frame;
    const bool ours = memcmp(frame + 8, scan->salts, sizeof(scan->salts)) == 0;
    if (!scan->broken) {
        scan->chain = sum_on(scan->chain, frame, 8, scan->big_endian);
        scan->chain = sum_on(scan->chain, frame + FRAME_HEADER, STORE_PAGE, scan->big_endian);
        scan->broken = !ours || !sums_match(scan->chain, frame + 16);
    }
    const bool sure = !scan->broken || is_in_one_piece(end - FRAME);
    const bool commit = ours && sure && word(frame + 4, true) != 0 && !scan->padded;
    if (scan->broken && commit) {
        scan->transactions++;
    }
    scan->padded = commit && end % SECTOR != 0;
}

/* Takes up the header; false when it is damaged. */
static bool begin_scan(struct scan *scan, const uint8_t *header)
{
    const uint32_t magic = word(header, true);
    scan->big_endian = (magic & 1) != 0;
    memcpy(scan->salts, header + 16, sizeof(scan->salts));
    scan->chain = sum_on((struct sums){0, 0}, header, 24, scan->big_endian);
    return (magic & ~UINT32_C(1)) == WAL_MAGIC && word(header + 4, true) == WAL_VERSION &&
           word(header + 8, true) == STORE_PAGE && sums_match(scan->chain, header + 24);
}

static enum store_rc scan_wal(struct store *store, int fd)
{
    static const uint8_t zeros[WAL_HEADER];
    uint8_t header[WAL_HEADER];
    const ssize_t count = pread(fd, header, sizeof(header), 0);
    if (count < 0) {
        return store_fail(store, STORE_IO, "%s-wal: %s", store->path, strerror(errno));
    }
    if (count < WAL_HEADER || memcmp(header, zeros, sizeof(zeros)) == 0) {
        return STORE_OK; /* Nothing was ever written to it. */
    }
    struct scan scan = {.fd = fd};
    if (!begin_scan(&scan, header)) {
        return store_fail(store, STORE_DAMAGED, "%s-wal: the header is damaged", store->path);
    }
    int number = 0;
    for (off_t at = WAL_HEADER; next_frame(&scan, at, &number); at += FRAME) {
        step_frame(&scan, at + FRAME);
    }
    if (number != 0) {
        return store_fail(store, STORE_IO, "%s-wal: %s", store->path, strerror(number));
    }
    if (scan.transactions > 1 && !mutant(wal_damage_dropped)) {
        return store_fail(store, STORE_DAMAGED,
                          "%s-wal: damaged in front of acknowledged transactions", store->path);
    }
    return STORE_OK;
}

enum store_rc store_check_wal(struct store *store)
{
    const int fd = openat(store->dir, STORE_WAL, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT
                   ? STORE_OK
                   : store_fail(store, STORE_IO, "%s-wal: %s", store->path, strerror(errno));
    }
    const enum store_rc rc = scan_wal(store, fd);
    close(fd);
    return rc;
}

/* -------------------------------------------------------------------- renewal */

static bool copy_all(int from, int to)
{
    uint8_t octets[64 * 1024];
    for (off_t at = 0;;) {
        const ssize_t count = pread(from, octets, sizeof(octets), at);
        if (count <= 0) {
            return count == 0;
        }
        for (ssize_t done = 0; done < count;) {
            const ssize_t written =
                pwrite(to, octets + done, (size_t)(count - done), at + done);
            if (written < 0) {
                return false;
            }
            done += written;
        }
        at += count;
    }
}

static bool replace_wal(const struct store *store, int from)
{
    (void)unlinkat(store->dir, STORE_WAL ".new", 0); /* Of a start that was cut short. */
    const int to =
        openat(store->dir, STORE_WAL ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0) {
        return false;
    }
    const bool good = copy_all(from, to) && fsync(to) == 0;
    const int number = errno;
    close(to);
    errno = number;
    return good && renameat(store->dir, STORE_WAL ".new", store->dir, STORE_WAL) == 0 &&
           fsync(store->dir) == 0;
}

enum store_rc store_renew_wal(struct store *store)
{
    const int from = openat(store->dir, STORE_WAL, O_RDONLY | O_CLOEXEC);
    if (from < 0 && errno == ENOENT) {
        return STORE_OK;
    }
    const bool good = from >= 0 && replace_wal(store, from);
    const int number = errno;
    if (from >= 0) {
        close(from);
    }
    return good ? STORE_OK
                : store_fail(store, STORE_IO, "%s-wal: it can't be written anew: %s",
                             store->path, strerror(number));
}
