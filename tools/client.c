/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c -- see client.h.
 */
#include "tools/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    SHARE_MS_MAX = 1000,
    PAUSE_MS_MIN = 50,   /* Between two rounds over all endpoints; doubles ... */
    PAUSE_DOUBLINGS = 4, /* ... so often. */
    NOWHERE = CLIENT_ENDPOINTS_MAX,
};

struct endpoint {
    char address[LINK_ADDRESS_MAX];
    char trouble[LINK_WHY_MAX];
};

struct client {
    uint64_t timeout_ms;
    struct endpoint endpoints[CLIENT_ENDPOINTS_MAX];
    size_t endpoints_count;
    size_t next; /* The endpoint to try first, or to which `link` goes. */
    struct link link;
    uint64_t last_id;
    char id[24];
    struct wire_buffer out;
    struct wire_memory memory;
    struct wire_buffer line; /* Of the last reply. */
};

/* ---------------------------------------------------------------- endpoints */

/* The index of an endpoint, added if it is new; NOWHERE if it is malformed or
 * there are too many. */
static size_t endpoint_of(struct client *c, struct wire_text text)
{
    char address[LINK_ADDRESS_MAX];
    if (!link_address(text, address)) {
        return NOWHERE;
    }
    for (size_t i = 0; i < c->endpoints_count; i++) {
        if (strcmp(c->endpoints[i].address, address) == 0) {
            return i;
        }
    }
    if (c->endpoints_count == CLIENT_ENDPOINTS_MAX) {
        return NOWHERE;
    }
    memcpy(c->endpoints[c->endpoints_count].address, address, sizeof address);
    return c->endpoints_count++;
}

static bool add_all(struct client *c, const char *endpoints)
{
    for (const char *at = endpoints;; at++) {
        const size_t size = strcspn(at, ",");
        if (endpoint_of(c, (struct wire_text){.data = at, .size = size}) == NOWHERE) {
            return false;
        }
        at += size;
        if (*at == 0) {
            return true;
        }
    }
}

struct client *client_new(const char *endpoints, uint64_t timeout_ms)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->timeout_ms = timeout_ms;
    c->link = LINK_CLOSED;
    if (!add_all(c, endpoints)) {
        client_free(c);
        return NULL;
    }
    return c;
}

void client_free(struct client *c)
{
    if (c != NULL) {
        link_close(&c->link);
        wire_buffer_free(&c->out);
        wire_buffer_free(&c->line);
        wire_memory_free(&c->memory);
        free(c);
    }
}

size_t client_endpoints(const struct client *c)
{
    return c->endpoints_count;
}

const char *client_endpoint(const struct client *c, size_t endpoint)
{
    assert(endpoint < c->endpoints_count);
    return c->endpoints[endpoint].address;
}

const char *client_trouble(const struct client *c, size_t endpoint)
{
    assert(endpoint < c->endpoints_count);
    return c->endpoints[endpoint].trouble;
}

struct wire_text client_line(const struct client *c)
{
    return (struct wire_text){.data = c->line.data, .size = c->line.size};
}

/* --------------------------------------------------------------------- time */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t client_share_ms(const struct client *c)
{
    return earlier(SHARE_MS_MAX, c->timeout_ms / (c->endpoints_count + 1) + 1);
}

/* Each round gives everyone twice the time of the one before, so that a cell
 * that is slow rather than silent is reached in the end. */
static uint64_t attempt_deadline(const struct client *c, unsigned round, uint64_t deadline_ms)
{
    const uint64_t share = client_share_ms(c) << earlier(round, 20);
    return earlier(link_now_ms() + share, deadline_ms);
}

void client_pause(uint64_t ms, uint64_t deadline_ms)
{
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != (ssize_t)sizeof chance) {
        chance = link_now_ms(); /* Jitter need not be good. */
    }
    const uint64_t now = link_now_ms();
    const uint64_t until = earlier(now + ms / 2 + chance % (ms + 1), deadline_ms);
    if (until > now) {
        const struct timespec pause = {.tv_sec = (time_t)((until - now) / 1000),
                                       .tv_nsec = (long)((until - now) % 1000) * 1000000};
        nanosleep(&pause, NULL);
    }
}

static void pause_after_round(unsigned round, uint64_t deadline_ms)
{
    client_pause((uint64_t)PAUSE_MS_MIN << earlier(round, PAUSE_DOUBLINGS), deadline_ms);
}

/* ----------------------------------------------------------------- exchange */

enum exchange {
    EXCHANGED, /* There is a reply. */
    NOT_SENT,  /* The peer can't have executed it. */
    LOST,      /* It may have. */
};

/* A line of our id's reply; others are answers to requests given up before, or
 * notifications, and are passed over. */
static bool read_reply(struct client *c, enum wire_method method, uint64_t deadline_ms,
                       struct wire_reply *ret_reply, char ret_why[LINK_WHY_MAX])
{
    const size_t id_size = strlen(c->id);
    for (;;) {
        char detail[WIRE_DETAIL_MAX];
        struct wire_text line;
        if (!link_line(&c->link, deadline_ms, &line, ret_why)) {
            return false;
        }
        if (!wire_parse_reply(&c->memory, method, line, ret_reply, detail)) {
            snprintf(ret_why, LINK_WHY_MAX, "%.*s", LINK_WHY_MAX - 1, detail);
            return false;
        }
        if (ret_reply->id.size == id_size && memcmp(ret_reply->id.data, c->id, id_size) == 0) {
            c->line.size = 0;
            wire_append(&c->line, line.data, line.size);
            return true;
        }
    }
}

/* Sends one request over the open link and reads its reply.  Whatever fails
 * closes the link. */
static enum exchange exchange(struct client *c, const struct wire_request *request,
                              uint64_t deadline_ms, struct wire_reply *ret_reply)
{
    char *why = c->endpoints[c->next].trouble;
    bool whole = false;
    struct wire_request numbered = *request;
    snprintf(c->id, sizeof c->id, "%llu", (unsigned long long)++c->last_id);
    numbered.id = (struct wire_text){.data = c->id, .size = strlen(c->id)};
    c->out.size = 0;
    wire_print_request(&c->out, &numbered);
    if (c->out.failed) {
        snprintf(why, LINK_WHY_MAX, "out of memory");
    } else if (link_send(&c->link, c->out.data, c->out.size, deadline_ms, &whole, why) &&
               read_reply(c, request->method, deadline_ms, ret_reply, why)) {
        return EXCHANGED;
    }
    link_close(&c->link);
    return whole ? LOST : NOT_SENT;
}

/* --------------------------------------------------------------- the master */

static const struct wire_request status_request = {
    .method = WIRE_CELL_STATUS, .if_generation = WIRE_ANY, .if_instance = WIRE_ANY};

static void learn(struct client *c, const struct wire_status *status)
{
    for (uint32_t i = 0; i < status->members_count; i++) {
        endpoint_of(c, status->members[i].client);
    }
}

/* Connects to an endpoint and asks what it is. */
static bool greet(struct client *c, size_t endpoint, uint64_t deadline_ms,
                  struct wire_reply *ret_reply)
{
    char *trouble = c->endpoints[endpoint].trouble;
    link_close(&c->link);
    c->next = endpoint;
    if (!link_open(&c->link, c->endpoints[endpoint].address, deadline_ms, trouble) ||
        exchange(c, &status_request, deadline_ms, ret_reply) != EXCHANGED) {
        return false;
    }
    if (ret_reply->error != WIRE_OK) {
        snprintf(trouble, LINK_WHY_MAX, "%.*s", (int)ret_reply->message.size,
                 ret_reply->message.data);
        return false;
    }
    learn(c, ret_reply->status);
    trouble[0] = 0;
    return true;
}

bool client_ask(struct client *c, size_t endpoint, uint64_t deadline_ms,
                struct wire_reply *ret_reply)
{
    const bool answered = greet(c, endpoint, deadline_ms, ret_reply);
    link_close(&c->link);
    return answered;
}

/* Is this the master?  If not, `ret_hint` is the endpoint that it thinks is, or
 * NOWHERE.  The link stays open only to the master. */
static bool try_endpoint(struct client *c, size_t endpoint, uint64_t deadline_ms,
                         size_t *ret_hint)
{
    struct wire_reply reply;
    *ret_hint = NOWHERE;
    if (!greet(c, endpoint, deadline_ms, &reply)) {
        link_close(&c->link);
        return false;
    }
    const struct wire_status *status = reply.status;
    if (status->serving) {
        return true;
    }
    snprintf(c->endpoints[endpoint].trouble, LINK_WHY_MAX, "is %.*s, not a serving master",
             (int)status->role.size, status->role.data);
    if (status->master_address.size > 0) {
        const size_t hint = endpoint_of(c, status->master_address);
        *ret_hint = hint == endpoint ? NOWHERE : hint;
    }
    link_close(&c->link);
    return false;
}

/* Once over all endpoints, beginning with c->next, hints before their turn. */
static bool try_round(struct client *c, unsigned round, uint64_t deadline_ms)
{
    const size_t first = c->next;
    for (size_t i = 0; i < c->endpoints_count && link_now_ms() < deadline_ms; i++) {
        const size_t endpoint = (first + i) % c->endpoints_count;
        size_t hint;
        if (try_endpoint(c, endpoint, attempt_deadline(c, round, deadline_ms), &hint)) {
            return true;
        }
        size_t unused;
        if (hint != NOWHERE &&
            try_endpoint(c, hint, attempt_deadline(c, round, deadline_ms), &unused)) {
            return true;
        }
    }
    c->next = first;
    return false;
}

/* Makes sure that the link goes to the master. */
static bool find_master(struct client *c, uint64_t deadline_ms)
{
    for (unsigned round = 0; c->link.fd < 0; round++) {
        if (try_round(c, round, deadline_ms)) {
            assert(c->link.fd >= 0);
            return true;
        }
        if (link_now_ms() >= deadline_ms) {
            return false;
        }
        pause_after_round(round, deadline_ms);
    }
    return true;
}

/* --------------------------------------------------------------------- call */

static bool changes_nothing(enum wire_method method)
{
    return method == WIRE_NODE_GET || method == WIRE_NODE_STAT || method == WIRE_NODE_LIST ||
           method == WIRE_CELL_STATUS;
}

/* Refusals that say: not executed, and another replica or a later time may do. */
static bool elsewhere_or_later(enum wire_error error)
{
    return error == WIRE_NOT_MASTER || error == WIRE_UNAVAILABLE;
}

/* Leaves the replica that the link went to. */
static void leave(struct client *c, const struct wire_reply *refusal)
{
    if (refusal != NULL) {
        snprintf(c->endpoints[c->next].trouble, LINK_WHY_MAX, "%.*s",
                 (int)refusal->message.size, refusal->message.data);
    }
    const size_t hint = refusal != NULL ? endpoint_of(c, refusal->master) : NOWHERE;
    c->next = hint != NOWHERE ? hint : (c->next + 1) % c->endpoints_count;
    link_close(&c->link);
}

/* Does the request fit into a line, whatever its id will be? */
static enum client_rc check_size(struct client *c, const struct wire_request *request)
{
    struct wire_request sample = *request;
    sample.id = (struct wire_text){.data = "18446744073709551615", .size = 20};
    c->out.size = 0;
    wire_print_request(&c->out, &sample);
    if (c->out.failed) {
        return CLIENT_NO_MEMORY;
    }
    return c->out.size > WIRE_LINE_MAX ? CLIENT_TOO_LARGE : CLIENT_ANSWERED;
}

enum client_rc client_call(struct client *c, const struct wire_request *request,
                           struct wire_reply *ret_reply)
{
    const uint64_t deadline = link_now_ms() + c->timeout_ms;
    const bool read = changes_nothing(request->method);
    const enum client_rc rc = check_size(c, request);
    if (rc != CLIENT_ANSWERED) {
        return rc;
    }
    for (unsigned attempt = 0;; attempt++) {
        if (!find_master(c, deadline)) {
            return CLIENT_NO_MASTER;
        }
        /* A read can be asked again, so nobody gets all the time for it. */
        const uint64_t until = read ? attempt_deadline(c, attempt, deadline) : deadline;
        switch (exchange(c, request, until, ret_reply)) {
        case EXCHANGED:
            if (!elsewhere_or_later(ret_reply->error)) {
                return CLIENT_ANSWERED;
            }
            leave(c, ret_reply);
            break;
        case NOT_SENT:
            leave(c, NULL);
            break;
        case LOST:
            if (!read) {
                return CLIENT_UNKNOWN;
            }
            leave(c, NULL);
            break;
        }
        if (link_now_ms() >= deadline) {
            return CLIENT_NO_MASTER;
        }
        pause_after_round(attempt, deadline);
    }
}
