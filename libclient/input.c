/* SPDX-License-Identifier: Apache-2.0
 *
 * input.c -- octets received, cut into lines and matched with calls.
 *
 * How a reply is to be read depends on what it answers, so the id is looked for
 * first.  The members of a reply may come in any order; ours come with the id in
 * front, so the look is short.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <string.h>

#include "paxos/base/mutant.h"

/* -------------------------------------------------------------------- the id */

/* Behind the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
    }
    return at < end ? at + 1 : end;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) {
        at++;
    }
    return at;
}

/* Is the string at `at` the key "id" of a member?  Then behind its colon. */
static const char *behind_id(const char *at, const char *end)
{
    if (end - at < 5 || memcmp(at, "\"id\"", 4) != 0) {
        return NULL;
    }
    at = skip_blanks(at + 4, end);
    return at < end && *at == ':' ? skip_blanks(at + 1, end) : NULL;
}

/* Where the value of the outermost member "id" begins; NULL: there is none. */
static const char *find_id(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            const char *id = depth == 1 ? behind_id(at, end) : NULL;
            if (id != NULL) {
                return id;
            }
            at = skip_string(at, end);
            continue;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    }
    return NULL;
}

/* False: it is not one of our numbers.  Cut short by an octet that is no digit it would
 * be another call's or nobody's, and its own would wait for ever. */
static bool parse_id(const char *at, const char *end, uint64_t *ret_id)
{
    uint64_t id = 0;
    const char *from = at;
    for (; at < end && *at >= '0' && *at <= '9' && at - from < 17; at++) {
        id = id * 10 + (uint64_t)(*at - '0');
    }
    *ret_id = id;
    return at > from && at < end && memchr(",} \t\r", *at, 5) != NULL;
}

/* -------------------------------------------------------------------- lines */

static void on_notification(struct engine *e, uint64_t now_ms, struct wire_text line)
{
    struct wire_notification n;
    char detail[WIRE_DETAIL_MAX];
    if (!wire_parse_notification(&e->memory, line, &n, detail)) {
        link_leave(e, now_ms, detail);
    } else if (n.notice == WIRE_CACHE_INVALIDATE) {
        caches_invalidated(e, &n);
    } else if (n.notice != WIRE_NO_NOTICE) {
        watches_notified(e, now_ms, &n);
    }
    wire_memory_reset(&e->memory);
}

static void on_line(struct engine *e, uint64_t now_ms, const char *line, const char *end)
{
    const struct wire_text text = {.data = line, .size = (size_t)(end - line)};
    const char *at = find_id(line, end);
    uint64_t id = 0;
    if (at == NULL) {
        if (skip_blanks(line, end) < end) {
            on_notification(e, now_ms, text);
        }
        return;
    }
    if (!parse_id(at, end, &id)) {
        link_leave(e, now_ms, "it did not understand a request");
        return;
    }
    struct call *c = call_of_id(e, id);
    if (c == NULL) {
        return; /* Answers what was given up. */
    }
    struct wire_reply reply;
    char detail[WIRE_DETAIL_MAX];
    if (wire_parse_reply(&e->memory, c->request.method, text, &reply, detail)) {
        call_answered(c, now_ms, &reply);
    } else {
        call_garbled(c, now_ms, detail);
    }
    wire_memory_reset(&e->memory);
}

/* Handles the whole lines; what a line does may end the connection.  Returns the
 * octets that they took. */
static size_t on_lines(struct engine *e, uint64_t now_ms)
{
    struct link *l = &e->link;
    const uint64_t number = l->number;
    size_t taken = 0;
    while (l->number == number && link_connected(l)) {
        const char *from = l->in.data + taken;
        const char *newline =
            memchr(l->in.data + l->in_scanned, '\n', l->in.size - l->in_scanned);
        if (newline == NULL && mutant(partial_line_whole) && l->in.size > taken) {
            newline = l->in.data + l->in.size - 1;
        }
        if (newline == NULL) {
            l->in_scanned = l->in.size;
            break;
        }
        taken = l->in_scanned = (size_t)(newline - l->in.data) + 1;
        on_line(e, now_ms, from, newline);
    }
    return taken;
}

void input_received(struct engine *e, uint64_t now_ms, const void *data, size_t size)
{
    struct link *l = &e->link;
    if (size == 0) {
        return;
    }
    l->heard_ms = now_ms;
    l->in_scanned = l->in.size;
    wire_append(&l->in, data, size);
    if (l->in.failed) {
        link_leave(e, now_ms, "out of memory");
        return;
    }
    const uint64_t number = l->number;
    const size_t taken = on_lines(e, now_ms);
    if (l->number != number || !link_connected(l)) {
        l->in.size = 0;
        return;
    }
    assert(taken <= l->in.size);
    memmove(l->in.data, l->in.data + taken, l->in.size - taken);
    l->in.size -= taken;
    if (l->in.size > WIRE_LINE_MAX) {
        link_leave(e, now_ms, "it sent a line without an end");
    }
}
