/* SPDX-License-Identifier: Apache-2.0
 *
 * fence_text.c -- the lines of a fence; fence.h shows them.
 */
#include "libclient/fence.h"

#include <assert.h>
#include <string.h>

#define MAGIC "lockd-fence\t1\t"

enum {
    CHAIN_SIZE = 16,
    SECTOR_SIZE = 512, /* What a disk writes whole or not at all. */
};

static const char digits[] = "0123456789abcdef";

/* FNV-1a: each step is a bijection, so no single changed octet stays unseen. */
uint64_t fence_hash(uint64_t hash, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* ------------------------------------------------------------------ writing */

static void put(struct fence_text *t, const char *data, size_t size)
{
    assert(size <= t->capacity - t->size);
    memcpy(t->data + t->size, data, size);
    t->size += size;
}

static void put_number(struct fence_text *t, uint64_t number)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = digits[number % 10];
        number /= 10;
    } while (number != 0);
    put(t, text + at, sizeof text - at);
    put(t, "\t", 1);
}

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("/._-:", c) != NULL);
}

static void put_name(struct fence_text *t, const char *name)
{
    for (; *name != 0; name++) {
        const unsigned char c = (unsigned char)*name;
        const char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (plain(*name)) {
            put(t, name, 1);
        } else {
            put(t, encoded, sizeof encoded);
        }
    }
    put(t, "\t", 1);
}

static void end_line(struct fence_text *t, size_t begin)
{
    t->chain = fence_hash(t->chain, t->data + begin, t->size - begin);
    for (int shift = 60; shift >= 0; shift -= 4) {
        put(t, &digits[(t->chain >> shift) & 15], 1);
    }
    put(t, "\n", 1);
}

void fence_put_head(struct fence_text *t, uint64_t floor, uint64_t count)
{
    const size_t begin = t->size;
    put(t, MAGIC, strlen(MAGIC));
    put_number(t, floor);
    put_number(t, count);
    end_line(t, begin);
    assert(t->size - begin <= FENCE_HEAD_MAX);
}

void fence_put_record(struct fence_text *t, uint64_t token, const char *name,
                      const char *forgotten)
{
    const size_t begin = t->size;
    put_number(t, token);
    put_name(t, name);
    if (forgotten != NULL) {
        put_name(t, forgotten);
    }
    end_line(t, begin);
    assert(t->size - begin <= FENCE_LINE_MAX);
}

/* ------------------------------------------------------------------ reading */

bool fence_parse_number(const char *text, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (number > FENCE_TOKEN_MAX) {
            return false;
        }
    }
    *ret_number = number;
    return size > 0;
}

/* Parts of a line, taken from its front. */
struct fields {
    const char *at, *end;
};

static bool take_field(struct fields *f, const char **ret_field, size_t *ret_size)
{
    const char *tab = memchr(f->at, '\t', (size_t)(f->end - f->at));
    if (tab == NULL) {
        return false;
    }
    *ret_field = f->at;
    *ret_size = (size_t)(tab - f->at);
    f->at = tab + 1;
    return true;
}

static bool take_number(struct fields *f, uint64_t *ret_number)
{
    const char *field;
    size_t size;
    return take_field(f, &field, &size) && fence_parse_number(field, size, ret_number);
}

static bool take_octet(const char **at, const char *end, char *ret_octet)
{
    if (**at != '%') {
        *ret_octet = *(*at)++;
        return true;
    }
    if (end - *at < 3) {
        return false;
    }
    const char *high = memchr(digits, (*at)[1], 16);
    const char *low = memchr(digits, (*at)[2], 16);
    if (high == NULL || low == NULL) {
        return false;
    }
    *ret_octet = (char)((high - digits) << 4 | (low - digits));
    *at += 3;
    return true;
}

static bool take_name(struct fields *f, char ret_name[LOCKD_FENCE_NAME_MAX + 1])
{
    const char *field;
    size_t field_size, size = 0;
    if (!take_field(f, &field, &field_size)) {
        return false;
    }
    const char *end = field + field_size;
    while (field < end) {
        if (size == LOCKD_FENCE_NAME_MAX || !take_octet(&field, end, &ret_name[size]) ||
            ret_name[size] == 0) {
            return false;
        }
        size++;
    }
    ret_name[size] = 0;
    return size > 0;
}

static bool chain_matches(uint64_t chain, const char *text)
{
    for (int i = 0; i < CHAIN_SIZE; i++) {
        if (text[i] != digits[(chain >> (60 - 4 * i)) & 15]) {
            return false;
        }
    }
    return true;
}

/* A line of `size` octets without its end: its fields, and the chain behind it. */
static bool open_line(const struct fence_reader *r, size_t size, struct fields *ret_fields,
                      uint64_t *ret_chain)
{
    const char *line = r->data + r->at;
    if (size < CHAIN_SIZE) {
        return false;
    }
    const uint64_t chain = fence_hash(r->chain, line, size - CHAIN_SIZE);
    if (!chain_matches(chain, line + size - CHAIN_SIZE)) {
        return false;
    }
    *ret_fields = (struct fields){.at = line, .end = line + size - CHAIN_SIZE};
    *ret_chain = chain;
    return true;
}

static size_t line_size(const struct fence_reader *r)
{
    const char *end = memchr(r->data + r->at, '\n', r->size - r->at);
    return end == NULL ? SIZE_MAX : (size_t)(end - r->data) - r->at;
}

static bool begin_line(const struct fence_reader *r, struct fields *ret_fields,
                       uint64_t *ret_chain)
{
    const size_t size = line_size(r);
    return size != SIZE_MAX && open_line(r, size, ret_fields, ret_chain);
}

/* Goes on behind a line that was taken. */
static void pass_line(struct fence_reader *r, uint64_t chain)
{
    r->at += line_size(r) + 1;
    r->chain = chain;
}

bool fence_take_head(struct fence_reader *r, uint64_t *ret_floor, uint64_t *ret_count)
{
    struct fields f;
    uint64_t chain, floor, count;
    const size_t magic_size = strlen(MAGIC);
    if (!begin_line(r, &f, &chain) || (size_t)(f.end - f.at) < magic_size ||
        memcmp(f.at, MAGIC, magic_size) != 0) {
        return false;
    }
    f.at += magic_size;
    if (!take_number(&f, &floor) || !take_number(&f, &count) || f.at != f.end) {
        return false;
    }
    pass_line(r, chain);
    *ret_floor = floor;
    *ret_count = count;
    return true;
}

bool fence_take_record(struct fence_reader *r, struct fence_record *ret_record)
{
    struct fields f;
    uint64_t chain;
    ret_record->forgotten[0] = 0;
    if (!begin_line(r, &f, &chain) || !take_number(&f, &ret_record->token) ||
        ret_record->token == 0 || !take_name(&f, ret_record->name) ||
        (f.at != f.end && !take_name(&f, ret_record->forgotten)) || f.at != f.end) {
        return false;
    }
    pass_line(r, chain);
    return true;
}

/* ------------------------------------------------------------------ the end */

/* Is there a sector of which nothing was written, or the part of one? */
static bool has_hole(const struct fence_reader *r)
{
    for (size_t at = r->at; at < r->size;) {
        const size_t end = (at / SECTOR_SIZE + 1) * SECTOR_SIZE;
        const size_t stop = end < r->size ? end : r->size;
        while (at < stop && r->data[at] == 0) {
            at++;
        }
        if (at == stop) {
            return true;
        }
        at = stop;
    }
    return false;
}

bool fence_torn(const struct fence_reader *r)
{
    const size_t left = r->size - r->at;
    const size_t size = line_size(r);
    struct fields f;
    uint64_t chain;
    assert(left > 0);
    if (left > FENCE_LINE_MAX || (size != SIZE_MAX && size + 1 < left)) {
        return false; /* Something was appended behind it, so it had been synced. */
    }
    if (size != SIZE_MAX) {
        return has_hole(r);
    }
    return !open_line(r, left - 1, &f, &chain); /* Else its end alone is damaged. */
}
