/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/requests.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/world.h"

enum {
    CONTENT_MAX = 1500, /* More than a tight cell takes. */
    HOT_NAMES = 3,
};

/* Few enough that all clients meet. */
static const char *const names[] = {"a", "b", "c", "d", "d/x", "d/y", "d/z", "e", "e/x", "e.x"};
static_assert(sizeof names / sizeof *names == REQUEST_NAMES, "each name has its number");

/* What no node can be called. */
static const char *const bad_names[] = {"a//b", "../a", "d/", "d/\x01"};
enum { BAD_NAMES = sizeof bad_names / sizeof *bad_names };

static struct bytes text_bytes(const char *text)
{
    return bytes_of(text, strlen(text));
}

static struct bytes unique_content(struct requests *q, struct history *h)
{
    char text[CONTENT_MAX];
    const int size = snprintf(text, sizeof text, "v%u", h->ops_count + 1);
    const uint64_t filler =
        rng_below(&q->rng, chance_percent(&q->rng, 2) ? CONTENT_MAX - 16 : 30);
    memset(text + size, '.', filler);
    return history_copy(h, bytes_of(text, (size_t)size + filler));
}

static struct history_request put_request(struct requests *q, struct history *h, uint32_t name)
{
    struct history_request request = {.type = HISTORY_PUT,
                                      .path = text_bytes(names[name]),
                                      .content = unique_content(q, h),
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    if (chance_percent(&q->rng, 30)) {
        request.if_generation = rng_below(&q->rng, 4) == 0 ? 0 : q->generations[name];
    }
    if (chance_percent(&q->rng, 10)) {
        request.if_instance = q->instances[name];
    }
    return request;
}

static struct history_request create_request(struct requests *q, struct history *h,
                                             uint32_t name)
{
    struct history_request request = {.type = HISTORY_CREATE,
                                      .path = text_bytes(names[name]),
                                      .kind = LEASE_FILE,
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    if (strlen(names[name]) == 1 && names[name][0] >= 'd' && chance_percent(&q->rng, 80)) {
        request.kind = LEASE_DIRECTORY;
    } else {
        request.content = unique_content(q, h);
    }
    return request;
}

static struct history_request delete_request(struct requests *q, uint32_t name)
{
    struct history_request request = {.type = HISTORY_DELETE,
                                      .path = text_bytes(names[name]),
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    if (chance_percent(&q->rng, 30)) {
        request.if_instance = q->instances[name];
    }
    if (chance_percent(&q->rng, 10)) {
        request.path = text_bytes(bad_names[rng_below(&q->rng, BAD_NAMES)]);
    }
    return request;
}

static struct history_request read_request(struct requests *q, uint32_t name)
{
    struct history_request request = {.type = chance_percent(&q->rng, 70) ? HISTORY_GET
                                                                          : HISTORY_STAT,
                                      .path = text_bytes(names[name]),
                                      .if_generation = HISTORY_ANY,
                                      .if_instance = HISTORY_ANY};
    if (chance_percent(&q->rng, 20)) {
        static const char *const directories[] = {"", "d", "e"};
        request.type = HISTORY_LIST;
        request.path = text_bytes(directories[rng_below(&q->rng, 3)]);
        request.limit = (uint32_t)rng_between(&q->rng, 1, REQUEST_LIST_MAX);
        request.after = chance_percent(&q->rng, 60) ? bytes_of(NULL, 0) : text_bytes("b");
    }
    return request;
}

struct history_request request_any(struct requests *q, struct history *h)
{
    const uint32_t name = (uint32_t)rng_below(&q->rng, REQUEST_NAMES);
    const uint64_t kind = rng_below(&q->rng, 100);
    return kind < 40   ? read_request(q, name)
           : kind < 78 ? put_request(q, h, name)
           : kind < 90 ? create_request(q, h, name)
                       : delete_request(q, name);
}

struct history_request request_put(struct requests *q, struct history *h)
{
    return put_request(q, h, (uint32_t)rng_below(&q->rng, REQUEST_NAMES));
}

struct history_request request_hot_put(struct requests *q, struct history *h)
{
    return put_request(q, h, (uint32_t)rng_below(&q->rng, HOT_NAMES));
}

struct history_request request_hot_read(struct requests *q)
{
    return read_request(q, (uint32_t)rng_below(&q->rng, HOT_NAMES));
}

void request_seen(struct requests *q, const struct history_op *op)
{
    for (uint32_t i = 0; i < REQUEST_NAMES; i++) {
        if (op->result.stat.instance != 0 &&
            bytes_equal(op->request.path, text_bytes(names[i]))) {
            q->instances[i] = op->result.stat.instance;
            q->generations[i] = op->result.stat.content_generation;
        }
    }
}
