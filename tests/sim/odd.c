/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes of talking to the wrong one: a replica of another version or another
 * cell at an address that was ours, or a proxy.  It understands the line, does
 * nothing, and answers with any error that says nothing of the cell's state, or with
 * a result that lacks what it must have.
 *
 * Only what leaves nothing behind is answered so, whatever is said of it: reads, the
 * opening of a session, KeepAlives, status, and watches that are to be set.
 */
#include "tests/sim/links_internal.h"

#include "tests/sim/sometimes.h"

static bool may_be_odd(enum wire_method method)
{
    return method == WIRE_NODE_GET || method == WIRE_NODE_STAT || method == WIRE_LOCK_CHECK ||
           method == WIRE_LOCK_LIST || method == WIRE_SESSION_OPEN ||
           method == WIRE_SESSION_KEEPALIVE || method == WIRE_CELL_STATUS ||
           method == WIRE_WATCH_ADD;
}

/* Can nobody take a result of nothing for one? */
static bool lacks_all(enum wire_method method)
{
    return method == WIRE_NODE_STAT || method == WIRE_SESSION_OPEN ||
           method == WIRE_SESSION_KEEPALIVE || method == WIRE_CELL_STATUS;
}

static void print_nothing(struct wire_buffer *b, struct wire_text id)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    static const char tail[] = ",\"result\":{}}\n";
    wire_append(b, head, sizeof head - 1);
    wire_append(b, id.data, id.size);
    wire_append(b, tail, sizeof tail - 1);
}

static void print_error(struct rng *rng, struct wire_buffer *b, const struct wire_request *wire)
{
    static const enum wire_error errors[] = {
        WIRE_PARSE_ERROR, WIRE_INVALID_REQUEST, WIRE_METHOD_NOT_FOUND, WIRE_INVALID_PARAMS,
        WIRE_NOT_MASTER,  WIRE_SESSION_EXPIRED, WIRE_BAD_NAME,         WIRE_DENIED,
        WIRE_TOO_LARGE,   WIRE_OVERLOADED,      WIRE_OLD_EPOCH,        WIRE_UNKNOWN_OUTCOME,
        WIRE_UNAVAILABLE};
    const struct wire_reply reply = {
        .id = wire->id,
        .method = wire->method,
        .error = errors[rng_below(rng, sizeof errors / sizeof *errors)]};
    wire_print_reply(b, &reply);
}

bool odd_answer(struct world *w, uint64_t link, const struct wire_request *wire)
{
    struct links *l = w->links;
    if (w->healed || !may_be_odd(wire->method) || !chance_ppm(&l->rng, l->odd_ppm)) {
        return false;
    }
    l->buffer.size = 0;
    if (lacks_all(wire->method) && chance_percent(&l->rng, 30)) {
        print_nothing(&l->buffer, wire->id);
    } else {
        print_error(&l->rng, &l->buffer, wire);
    }
    sometimes(answer_odd);
    link_send_down(w, link);
    return true;
}
