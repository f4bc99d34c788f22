/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a store at rest: bits flip, and what was written to one place
 * stands in another.
 *
 * The zones are told apart by walking SQLite's trees (its file format, section
 * 1.6): page 1 is the header and the schema, then come the roots of `meta`,
 * `log` and `state`, in the order in which store_init() makes them.  Pages that
 * no tree has are free, or hold the rest of large values.  The last transaction
 * of the WAL is left alone: damage there can't be told from a crash, as
 * docs/storage.md says.
 */
#include "tests/sim/disk_store.h"

#include <string.h>

enum {
    PAGE = 4096,
    WAL_HEADER = 32,
    FRAME_HEADER = 24,
    FRAME = FRAME_HEADER + PAGE,
    HEADER_BYTES = 100, /* Of the file, on page 1. */
    DEPTH_MAX = 8,
    DRAWS = 8,
    PAGES_MAX = 4096,
};

enum zone { ZONE_REST, ZONE_HEADER, ZONE_META, ZONE_LOG, ZONE_STATE, ZONE_WAL, ZONES };

static const char *const zone_names[] = {
    [ZONE_REST] = "a free or overflow page",
    [ZONE_HEADER] = "the header",
    [ZONE_META] = "meta",
    [ZONE_LOG] = "log",
    [ZONE_STATE] = "state",
    [ZONE_WAL] = "the WAL",
};

/* The pages of a store's file, and whose they are. */
struct map {
    const uint8_t *file;
    uint32_t pages;
    uint8_t zone[PAGES_MAX + 1]; /* By page number. */
};

static uint32_t big_endian(const uint8_t *at, int size)
{
    uint32_t value = 0;
    for (int i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* Interior pages are of type 2 or 5: the cells begin with the page below them, and
 * the header names the last one. */
static void walk(struct map *map, uint32_t page, enum zone zone, int depth)
{
    if (page == 0 || page > map->pages || depth > DEPTH_MAX) {
        return;
    }
    map->zone[page] = (uint8_t)zone;
    const uint8_t *at = map->file + (size_t)(page - 1) * PAGE;
    if (at[0] != 2 && at[0] != 5) {
        return;
    }
    const uint32_t cells = big_endian(at + 3, 2);
    for (uint32_t i = 0; i < cells && 12 + 2 * i + 2 <= PAGE; i++) {
        const uint32_t cell = big_endian(at + 12 + 2 * i, 2);
        if (cell + 4 <= PAGE) {
            walk(map, big_endian(at + cell, 4), zone, depth + 1);
        }
    }
    walk(map, big_endian(at + 8, 4), zone, depth + 1);
}

static bool draw_map(const struct disk *d, struct map *map)
{
    size_t size = 0;
    map->file = drive_look(d->store->drive, "store.db", &size);
    map->pages = (uint32_t)(size / PAGE);
    if (map->file == NULL || map->pages < 4 || map->pages > PAGES_MAX) {
        return false;
    }
    memset(map->zone, ZONE_REST, sizeof map->zone);
    map->zone[1] = ZONE_HEADER;
    walk(map, 2, ZONE_META, 0);
    walk(map, 3, ZONE_LOG, 0);
    walk(map, 4, ZONE_STATE, 0);
    return true;
}

/* A page of the zone; 0: it has none. */
static uint32_t draw_page(struct world *w, const struct map *map, enum zone zone)
{
    uint32_t found = 0, count = 0;
    for (uint32_t page = 1; page <= map->pages; page++) {
        if (map->zone[page] == zone && rng_below(&w->chance, ++count) == 0) {
            found = page;
        }
    }
    return found;
}

/* How many frames stand in front of the last two transactions; each ends with a
 * frame that says how large the file is, and copies of it that fill the sector. */
static uint32_t frames_at_rest(const uint8_t *wal, size_t size)
{
    uint32_t commits[2] = {0, 0};
    for (uint32_t i = 0; WAL_HEADER + (size_t)(i + 1) * FRAME <= size; i++) {
        const uint8_t *frame = wal + WAL_HEADER + (size_t)i * FRAME;
        if (memcmp(frame + 8, wal + 16, 8) != 0) {
            break;
        }
        if (big_endian(frame + 4, 4) != 0 &&
            (i == 0 || memcmp(frame, frame - FRAME, 16) != 0)) {
            commits[0] = commits[1];
            commits[1] = i;
        }
    }
    return commits[0];
}

static bool flip_at(struct world *w, struct disk *d, const char *name, const uint8_t *data,
                    size_t at, enum zone zone)
{
    const uint8_t flipped = (uint8_t)(data[at] ^ 1u << rng_below(&w->chance, 8));
    if (w->tracing) {
        world_trace(w, d->index + 1U, "damage", "a bit of %s, octet %zu of %s",
                    zone_names[zone], at, name);
    }
    drive_damage(d->store->drive, name, at, &flipped, 1);
    return true;
}

static bool flip_wal(struct world *w, struct disk *d)
{
    size_t size = 0;
    const uint8_t *wal = drive_look(d->store->drive, "store.db-wal", &size);
    const uint32_t frames = wal == NULL ? 0 : frames_at_rest(wal, size);
    return frames > 0 &&
           flip_at(w, d, "store.db-wal", wal,
                   rng_below(&w->chance, WAL_HEADER + (uint64_t)frames * FRAME), ZONE_WAL);
}

bool disk_damage_flip(struct world *w, struct disk *d)
{
    const enum zone zone = (enum zone)rng_below(&w->chance, ZONES);
    if (zone == ZONE_WAL) {
        return flip_wal(w, d);
    }
    static struct map map;
    const uint32_t page = draw_map(d, &map) ? draw_page(w, &map, zone) : 0;
    if (page == 0) {
        return false;
    }
    const uint64_t room = zone == ZONE_HEADER ? HEADER_BYTES : PAGE;
    size_t at = 0;
    for (int i = 0; i < DRAWS && (i == 0 || map.file[at] == 0); i++) { /* Where there is one. */
        at = (size_t)(page - 1) * PAGE + rng_below(&w->chance, room);
    }
    return flip_at(w, d, "store.db", map.file, at, zone);
}

/* One frame of the WAL stands on another. */
static bool misplace_wal(struct world *w, struct disk *d)
{
    size_t size = 0;
    const uint8_t *wal = drive_look(d->store->drive, "store.db-wal", &size);
    const uint32_t frames = wal == NULL ? 0 : frames_at_rest(wal, size);
    if (frames < 2) {
        return false;
    }
    const size_t from = rng_below(&w->chance, frames), to = rng_below(&w->chance, frames - 1);
    if (from == to) {
        return false;
    }
    if (w->tracing) {
        world_trace(w, d->index + 1U, "damage", "frame %zu of the WAL stands on frame %zu",
                    from, to);
    }
    uint8_t frame[FRAME];
    memcpy(frame, wal + WAL_HEADER + from * FRAME, FRAME);
    drive_damage(d->store->drive, "store.db-wal", WAL_HEADER + to * FRAME, frame, FRAME);
    return true;
}

/* What was to stand on one page stands on another, which was right before. */
bool disk_damage_misplace(struct world *w, struct disk *d)
{
    if (chance_percent(&w->chance, 30)) {
        return misplace_wal(w, d);
    }
    static struct map map;
    if (!draw_map(d, &map)) {
        return false;
    }
    const uint32_t from = 1 + (uint32_t)rng_below(&w->chance, map.pages);
    const uint32_t to = 1 + (uint32_t)rng_below(&w->chance, map.pages);
    if (from == to) {
        return false;
    }
    if (w->tracing) {
        world_trace(w, d->index + 1U, "damage", "page %u, of %s, stands on page %u, of %s",
                    from, zone_names[map.zone[from]], to, zone_names[map.zone[to]]);
    }
    uint8_t page[PAGE];
    memcpy(page, map.file + (size_t)(from - 1) * PAGE, PAGE);
    drive_damage(d->store->drive, "store.db", (size_t)(to - 1) * PAGE, page, PAGE);
    return true;
}
