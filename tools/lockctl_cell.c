/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_cell.c -- see lockctl_cell.h.
 */
#include "tools/lockctl_cell.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARE_MS_MAX = 1000 };

#define QUESTION_ID "1" /* One question a connection. */

struct endpoint {
    char address[LINK_ADDRESS_MAX];
    char trouble[LINK_WHY_MAX];
};

struct cell {
    uint64_t timeout_ms;
    struct endpoint endpoints[CELL_ENDPOINTS_MAX];
    size_t endpoints_count;
    struct link link;
    struct wire_buffer out;
    struct wire_memory memory;
    struct wire_text line; /* Of the last answer; stands in the link's buffer. */
};

/* ---------------------------------------------------------------- endpoints */

/* Adds an endpoint unless it is known.  False: it is malformed, or there are too
 * many. */
static bool add_endpoint(struct cell *c, struct wire_text text)
{
    char address[LINK_ADDRESS_MAX];
    if (!link_address(text, address)) {
        return false;
    }
    for (size_t i = 0; i < c->endpoints_count; i++) {
        if (strcmp(c->endpoints[i].address, address) == 0) {
            return true;
        }
    }
    if (c->endpoints_count == CELL_ENDPOINTS_MAX) {
        return false;
    }
    memcpy(c->endpoints[c->endpoints_count].address, address, sizeof address);
    c->endpoints_count++;
    return true;
}

static bool add_all(struct cell *c, const char *endpoints)
{
    for (const char *at = endpoints;; at++) {
        const size_t size = strcspn(at, ",");
        if (!add_endpoint(c, (struct wire_text){.data = at, .size = size})) {
            return false;
        }
        at += size;
        if (*at == 0) {
            return true;
        }
    }
}

struct cell *cell_new(const char *endpoints, uint64_t timeout_ms)
{
    struct cell *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->timeout_ms = timeout_ms;
    c->link = LINK_CLOSED;
    if (!add_all(c, endpoints)) {
        cell_free(c);
        return NULL;
    }
    return c;
}

void cell_free(struct cell *c)
{
    if (c != NULL) {
        link_close(&c->link);
        wire_buffer_free(&c->out);
        wire_memory_free(&c->memory);
        free(c);
    }
}

size_t cell_endpoints(const struct cell *c)
{
    return c->endpoints_count;
}

const char *cell_endpoint(const struct cell *c, size_t endpoint)
{
    assert(endpoint < c->endpoints_count);
    return c->endpoints[endpoint].address;
}

const char *cell_trouble(const struct cell *c, size_t endpoint)
{
    assert(endpoint < c->endpoints_count);
    return c->endpoints[endpoint].trouble;
}

struct wire_text cell_line(const struct cell *c)
{
    return c->line;
}

uint64_t cell_share_ms(const struct cell *c)
{
    const uint64_t share = c->timeout_ms / (c->endpoints_count + 1) + 1;
    return share < SHARE_MS_MAX ? share : SHARE_MS_MAX;
}

/* ---------------------------------------------------------------- a question */

/* Reads on to the answer; lines that are none, such as notifications, are passed
 * over. */
static bool read_answer(struct cell *c, uint64_t deadline_ms, struct wire_reply *ret_reply,
                        char ret_why[LINK_WHY_MAX])
{
    for (;;) {
        char detail[WIRE_DETAIL_MAX];
        if (!link_line(&c->link, deadline_ms, &c->line, ret_why)) {
            return false;
        }
        if (!wire_parse_reply(&c->memory, WIRE_CELL_STATUS, c->line, ret_reply, detail)) {
            snprintf(ret_why, LINK_WHY_MAX, "%.*s", LINK_WHY_MAX - 1, detail);
            return false;
        }
        if (ret_reply->id.size == strlen(QUESTION_ID) &&
            memcmp(ret_reply->id.data, QUESTION_ID, ret_reply->id.size) == 0) {
            return true;
        }
    }
}

static bool exchange(struct cell *c, uint64_t deadline_ms, struct wire_reply *ret_reply,
                     char ret_why[LINK_WHY_MAX])
{
    const struct wire_request question = {
        .id = {.data = QUESTION_ID, .size = strlen(QUESTION_ID)},
        .method = WIRE_CELL_STATUS,
        .if_generation = WIRE_ANY,
        .if_instance = WIRE_ANY};
    c->out.size = 0;
    wire_print_request(&c->out, &question);
    if (c->out.failed) {
        snprintf(ret_why, LINK_WHY_MAX, "out of memory");
        return false;
    }
    return link_send(&c->link, c->out.data, c->out.size, deadline_ms, ret_why) &&
           read_answer(c, deadline_ms, ret_reply, ret_why);
}

bool cell_ask(struct cell *c, size_t endpoint, uint64_t deadline_ms,
              struct wire_reply *ret_reply)
{
    assert(endpoint < c->endpoints_count);
    char *trouble = c->endpoints[endpoint].trouble;
    link_close(&c->link);
    if (!link_open(&c->link, c->endpoints[endpoint].address, deadline_ms, trouble) ||
        !exchange(c, deadline_ms, ret_reply, trouble)) {
        return false;
    }
    if (ret_reply->error != WIRE_OK) {
        snprintf(trouble, LINK_WHY_MAX, "%.*s", (int)ret_reply->message.size,
                 ret_reply->message.data);
        return false;
    }
    trouble[0] = 0;
    for (uint32_t i = 0; i < ret_reply->status->members_count; i++) {
        add_endpoint(c, ret_reply->status->members[i].client);
    }
    return true;
}
