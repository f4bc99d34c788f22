/* SPDX-License-Identifier: Apache-2.0
 *
 * bytes.h -- a view of bytes, and two cursors that can't run off the end.
 *
 * Everything that we store or send is written field by field, big-endian,
 * through these, so no format depends on the layout of a C struct.  A cursor
 * that was asked for too much goes `failed`, reads zeros and writes nothing
 * from then on; callers test once, at the end.
 */
#ifndef PAXOS_BASE_BYTES_H
#define PAXOS_BASE_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed, never owned.  `data` may be NULL when `size` is 0. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Lexicographic by octet; a prefix sorts before what it begins. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    const size_t shorter = a.size < b.size ? a.size : b.size;
    const int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

struct writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool failed;
};

static inline struct writer writer_over(void *data, size_t capacity)
{
    return (struct writer){.data = data, .capacity = capacity};
}

/* Room for `size` more bytes, or NULL. */
static inline uint8_t *write_reserve(struct writer *w, size_t size)
{
    if (w->failed || w->capacity - w->size < size) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->data + w->size;
    w->size += size;
    return at;
}

static inline void write_uint(struct writer *w, uint64_t value, unsigned octets)
{
    assert(octets >= 1 && octets <= 8);
    uint8_t *at = write_reserve(w, octets);
    if (at != NULL) {
        for (unsigned i = 0; i < octets; i++) {
            at[i] = (uint8_t)(value >> (8 * (octets - 1 - i)));
        }
    }
}

static inline void write_u8(struct writer *w, uint8_t value)
{
    write_uint(w, value, 1);
}

static inline void write_u16(struct writer *w, uint16_t value)
{
    write_uint(w, value, 2);
}

static inline void write_u32(struct writer *w, uint32_t value)
{
    write_uint(w, value, 4);
}

static inline void write_u64(struct writer *w, uint64_t value)
{
    write_uint(w, value, 8);
}

static inline void write_raw(struct writer *w, const void *data, size_t size)
{
    uint8_t *at = write_reserve(w, size);
    if (at != NULL && size > 0) {
        memcpy(at, data, size);
    }
}

/* Four octets of length, then the bytes. */
static inline void write_bytes(struct writer *w, struct bytes bytes)
{
    write_u32(w, (uint32_t)bytes.size);
    write_raw(w, bytes.data, bytes.size);
}

struct reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;
};

static inline struct reader reader_over(struct bytes bytes)
{
    return (struct reader){.data = bytes.data, .size = bytes.size};
}

static inline size_t read_left(const struct reader *r)
{
    return r->failed ? 0 : r->size - r->at;
}

/* All was read, and nothing was missing. */
static inline bool read_done(const struct reader *r)
{
    return !r->failed && r->at == r->size;
}

static inline const uint8_t *read_raw(struct reader *r, size_t size)
{
    if (r->failed || r->size - r->at < size) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->data + r->at;
    r->at += size;
    return at;
}

static inline uint64_t read_uint(struct reader *r, unsigned octets)
{
    assert(octets >= 1 && octets <= 8);
    const uint8_t *at = read_raw(r, octets);
    uint64_t value = 0;
    if (at != NULL) {
        for (unsigned i = 0; i < octets; i++) {
            value = value << 8 | at[i];
        }
    }
    return value;
}

static inline uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_uint(r, 1);
}

static inline uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_uint(r, 2);
}

static inline uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_uint(r, 4);
}

static inline uint64_t read_u64(struct reader *r)
{
    return read_uint(r, 8);
}

/* A length of four octets and as many bytes, borrowed from the input. */
static inline struct bytes read_bytes(struct reader *r)
{
    const size_t size = read_u32(r);
    const uint8_t *data = read_raw(r, size);
    return data == NULL ? bytes_of(NULL, 0) : bytes_of(data, size);
}

#endif
