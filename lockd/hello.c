/* SPDX-License-Identifier: Apache-2.0
 *
 * hello.c -- see hello.h.
 */
#include "lockd/hello.h"

#include "paxos/base/hash.h"

enum { HELLO_MAGIC = 0x4c4b5052, HELLO_CHECKSUM = 8 }; /* "LKPR" */

enum { FIXED_SIZE = 2 + 2 + 2 + 8 + 4 + 1 + HELLO_CHECKSUM }; /* Without head and texts. */

static_assert(HELLO_HEAD + FIXED_SIZE + STORE_CELL_MAX +
                      HELLO_CLIENTS_MAX * (4 + LEASE_PRINCIPAL_MAX + 4 + ADDRESS_MAX) <=
                  HELLO_MAX,
              "the longest hello fits");

static void write_text(struct writer *w, const char *text)
{
    write_bytes(w, bytes_of(text, strlen(text)));
}

void hello_encode(const struct hello *hello, struct writer *w)
{
    assert(hello->from != 0 && hello->to != 0 && hello->identity != 0);
    assert(strlen(hello->cell) < STORE_CELL_MAX);
    assert(hello->clients_count <= HELLO_CLIENTS_MAX);
    const size_t start = w->size;
    size_t body = FIXED_SIZE + strlen(hello->cell);
    for (uint32_t i = 0; i < hello->clients_count; i++) {
        body += 4 + strlen(hello->clients[i].principal) + 4 + strlen(hello->clients[i].address);
    }
    write_u32(w, HELLO_MAGIC);
    write_u16(w, (uint16_t)body);
    write_u16(w, HELLO_VERSION);
    write_u16(w, hello->from);
    write_u16(w, hello->to);
    write_u64(w, hello->identity);
    write_text(w, hello->cell);
    write_u8(w, (uint8_t)hello->clients_count);
    for (uint32_t i = 0; i < hello->clients_count; i++) {
        write_text(w, hello->clients[i].principal);
        write_text(w, hello->clients[i].address);
    }
    assert(!w->failed);
    write_u64(w, hash64(w->data + start, w->size - start));
    assert(w->size - start == HELLO_HEAD + body);
}

/* Copies a text that must fit and hold nothing but printable ASCII: it will be
 * logged, compared and shown to clients. */
static bool read_text(struct reader *r, char *ret_text, size_t size)
{
    const struct bytes text = read_bytes(r);
    if (r->failed || text.size >= size) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    if (text.size > 0) {
        memcpy(ret_text, text.data, text.size);
    }
    ret_text[text.size] = '\0';
    return true;
}

static bool read_clients(struct reader *r, struct hello *hello)
{
    const uint32_t count = read_u8(r);
    if (count > HELLO_CLIENTS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct hello_client *client = &hello->clients[i];
        if (!read_text(r, client->principal, sizeof client->principal) ||
            !read_text(r, client->address, sizeof client->address)) {
            return false;
        }
    }
    hello->clients_count = count;
    return true;
}

static bool checksum_holds(struct bytes frame)
{
    struct reader r =
        reader_over(bytes_of(frame.data + frame.size - HELLO_CHECKSUM, HELLO_CHECKSUM));
    return read_u64(&r) == hash64(frame.data, frame.size - HELLO_CHECKSUM);
}

enum hello_decode hello_decode(struct bytes input, struct hello *ret_hello, size_t *ret_size)
{
    struct reader head = reader_over(input);
    if (input.size >= 4 && read_u32(&head) != HELLO_MAGIC) {
        return HELLO_DAMAGED;
    }
    if (input.size < HELLO_HEAD + 2) {
        return HELLO_MORE;
    }
    const size_t size = HELLO_HEAD + (size_t)read_u16(&head);
    const uint16_t version = read_u16(&head);
    if (version != HELLO_VERSION) {
        *ret_size = version;
        return HELLO_VERSION_UNKNOWN;
    }
    if (size > HELLO_MAX || size < HELLO_HEAD + 2 + HELLO_CHECKSUM) {
        return HELLO_DAMAGED;
    }
    if (input.size < size) {
        return HELLO_MORE;
    }
    if (!checksum_holds(bytes_of(input.data, size))) {
        return HELLO_DAMAGED;
    }
    struct reader r =
        reader_over(bytes_of(input.data + head.at, size - HELLO_CHECKSUM - head.at));
    struct hello hello = {0};
    hello.from = read_u16(&r);
    hello.to = read_u16(&r);
    hello.identity = read_u64(&r);
    if (!read_text(&r, hello.cell, sizeof hello.cell) || !read_clients(&r, &hello) ||
        !read_done(&r) || hello.from == 0 || hello.to == 0 || hello.identity == 0) {
        return HELLO_DAMAGED;
    }
    *ret_hello = hello;
    *ret_size = size;
    return HELLO_DECODED;
}
