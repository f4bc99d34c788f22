/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.h -- the client protocol: JSON-RPC 2.0, one message a line, as C structs.
 *
 * Both ends use it: the daemon parses requests and prints replies, clients do
 * the reverse.  Parsing is strict, because what two parsers read differently is
 * where trouble hides: UTF-8, no duplicate members, at most 16 levels deep
 * (checked before jansson sees the line), numbers below 2^53, no NUL.
 *
 * Nothing here keeps state between lines.  What a parse returns lives in its
 * `struct wire_memory` until wire_memory_reset(); printing appends to a
 * `struct wire_buffer`, which is the connection's output buffer itself.
 */
#ifndef LIBCLIENT_WIRE_H
#define LIBCLIENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libclient/names.h"

enum {
    WIRE_LINE_MAX = 768 * 1024, /* Octets of a line with its newline. */
    WIRE_DEPTH_MAX = 16,
    WIRE_ID_MAX = 128, /* Octets of a request id as it stands in the line. */
    WIRE_DETAIL_MAX = 256,
    WIRE_SESSION_ID = 16, /* Hexadecimal digits of a session's id. */
    WIRE_SECRET = 32,     /* Hexadecimal digits of its secret. */
    WIRE_CREDENTIAL = WIRE_SESSION_ID + 1 + WIRE_SECRET, /* "ID-SECRET": member `session`. */
    WIRE_LABEL_MAX = 128,
    WIRE_ACK_RANGES_MAX = 16,
    WIRE_LEASE_MS_MIN = 1000, /* Of a session. */
    WIRE_LEASE_MS_MAX = 60000,
    WIRE_DELAY_MS_MAX = 60000,     /* A lock-delay. */
    WIRE_WATCHES_MAX = 1000,       /* Of one watch.add or watch.remove. */
    WIRE_INVALIDATE_MAX = 1000,    /* Names in one cache.invalidate. */
    WIRE_READ_WAIT_MS_MAX = 60000, /* For a sequential read's revision. */
    WIRE_ACL_NAME_MAX = 64,        /* Octets of an ACL's name. */
    WIRE_RIGHTS = 3, /* Read, write, change: in this order wherever there are three. */
};

#define WIRE_NUMBER_MAX ((UINT64_C(1) << 53) - 1)
#define WIRE_ANY UINT64_MAX /* No condition. */

/* Text or octets that needn't end in NUL. */
struct wire_text {
    const char *data;
    size_t size;
};

/* Output that grows; `data` is malloc'ed and owned by whoever made it.  A failed
 * allocation sets `failed`, and nothing is appended from then on. */
struct wire_buffer {
    char *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void wire_buffer_free(struct wire_buffer *b);
void wire_append(struct wire_buffer *b, const void *data, size_t size);

/* What a parsed line points into.  Zero-initialise; free at the end. */
struct wire_memory {
    void *root;    /* jansson's tree. */
    char *scratch; /* Decoded base64 and the id. */
    size_t scratch_capacity;
};

void wire_memory_reset(struct wire_memory *m);
void wire_memory_free(struct wire_memory *m);

/* ---------------------------------------------------------------- requests */

enum wire_kind { WIRE_KIND_NONE, WIRE_FILE, WIRE_DIRECTORY };
enum wire_mode { WIRE_MODE_NONE, WIRE_EXCLUSIVE, WIRE_SHARED };

/* `wait_ms` of an acquire that waits for ever; the member is left out then. */
#define WIRE_FOR_EVER UINT64_MAX
#define WIRE_WAIT_MS_MAX UINT32_MAX /* Of one that doesn't. */
#define WIRE_AGE_MS_MAX UINT32_MAX  /* Of a state that a read asks for. */

struct wire_range {
    uint64_t first, last;
};

/* One of `watches` of a watch.add: {"watch":1,"name":...} and, if given, "scope"
 * (node), "kinds" (all; a list of words), "from", "if_instance", "content",
 * "old_content" (false). */
struct wire_watch {
    uint64_t watch;
    struct wire_text name;
    enum wire_scope scope;
    uint32_t watched;     /* Bits of enum wire_watched. */
    uint64_t from;        /* Or WIRE_ANY: from now on. */
    uint64_t if_instance; /* Or WIRE_ANY. */
    bool content, old;
};

struct wire_request {
    struct wire_text id; /* As JSON text: a number, a string or null. */
    enum wire_method method;
    struct wire_text name;
    bool has_content;
    struct wire_text content;
    enum wire_kind kind;    /* NODE_CREATE; NODE_OPEN: member `create`, NONE: it must exist. */
    bool ephemeral;         /* NODE_OPEN. */
    uint64_t if_generation; /* Or WIRE_ANY. */
    uint64_t if_instance;   /* Or WIRE_ANY.  Of all node.* and of LOCK_ACQUIRE, LOCK_LIST;
                             * NODE_CLOSE must have it. */
    struct wire_text after;
    uint32_t limit; /* 0: the server's. */

    /* NODE_GET, NODE_STAT, NODE_LIST, NODE_GET_ACL. */
    enum wire_level level; /* Linearizable unless given. */
    uint64_t min_revision; /* With level "sequential"; 0 unless given. */
    uint64_t read_wait_ms; /* With level "sequential": member `wait_ms`; 0 unless given. */
    uint64_t max_age_ms;   /* With levels "sequential" and "stale"; 0, not printed: any. */

    bool cache;            /* SESSION_OPEN; NODE_GET and NODE_STAT, which then have `session`
                            * and are linearizable. */
    uint64_t cache_number; /* CACHE_ACK: member `number`. */

    /* NODE_SET_ACL: members `read`, `write`, `change`, each a name or "" for anyone; one
     * that is left out (data NULL) stays as it is.  `if_generation` is the ACL generation. */
    struct wire_text acl[WIRE_RIGHTS];

    /* Of a session's requests: the credential as session.open gave it, and what
     * makes a retry be recognised.  `ack` on the wire: [floor, [first, last], ...]. */
    bool has_session;
    uint64_t session;
    struct wire_text secret;
    uint64_t request; /* 0: none was given (only without a session, or KeepAlive). */
    uint64_t ack_floor;
    struct wire_range acks[WIRE_ACK_RANGES_MAX];
    uint32_t acks_count;

    uint64_t lease_ms;      /* SESSION_OPEN; 0: the default. */
    struct wire_text label; /* SESSION_OPEN. */
    enum wire_mode mode;    /* LOCK_ACQUIRE; exclusive unless given. */
    uint64_t wait_ms;       /* LOCK_ACQUIRE: 0 is a try; WIRE_FOR_EVER. */
    bool create;            /* LOCK_ACQUIRE. */
    uint64_t delay_ms;      /* LOCK_ACQUIRE: member `lock_delay_ms`; 0 unless given. */
    uint64_t handle; /* LOCK_ACQUIRE, LOCK_RELEASE, NODE_OPEN, NODE_CLOSE; 0 unless given. */
    uint64_t token;  /* LOCK_RELEASE; LOCK_CHECK: taken out of `sequencer`, ... */
    uint64_t cancel; /* LOCK_CANCEL: the request id. */
    uint64_t after_instance; /* LOCK_LIST without a name: `after` of the page before. */
    uint32_t skip;           /* LOCK_LIST of a name. */
    /* LOCK_CHECK has one parameter, `sequencer`: parsed into name, mode and token, printed
     * from them. */
    const struct wire_watch *watches; /* WATCH_ADD. */
    uint32_t watches_count;
    const uint64_t *unwatch; /* WATCH_REMOVE: member `watches`. */
    uint32_t unwatch_count;
};

/* "NAME:MODE:TOKEN".  False: it is none. */
bool wire_parse_sequencer(struct wire_text text, struct wire_text *ret_name,
                          enum wire_mode *ret_mode, uint64_t *ret_token);

/* Why a line was refused.  `id` is what could be made out of it, else "null". */
struct wire_refusal {
    enum wire_error error;
    char id[WIRE_ID_MAX + 1];
    char detail[WIRE_DETAIL_MAX]; /* One sentence that names the member and what to do. */
};

/* Parses one line, without its newline.  False fills `ret_refusal`. */
bool wire_parse_request(struct wire_memory *m, struct wire_text line,
                        struct wire_request *ret_request, struct wire_refusal *ret_refusal);

void wire_print_request(struct wire_buffer *b, const struct wire_request *request);

/* ----------------------------------------------------------------- replies */

struct wire_stat {
    enum wire_kind kind;
    uint64_t instance, generation, lock_generation, acl_generation;
    uint64_t checksum; /* On the wire 16 hexadecimal digits. */
    uint64_t revision;
    uint64_t modified_ms; /* Unix time; a label. */
    uint64_t size, children;
    uint64_t lock_token; /* Of the holding; 0, and not printed: nobody holds it. */
    bool ephemeral;      /* Printed when true. */
};

struct wire_child {
    struct wire_text name;
    struct wire_stat stat;
    bool denied; /* The caller may not read it: printed as `"denied":true` beside name and kind.
                  */
};

/* A holder or waiter of a lock. */
struct wire_claim {
    bool held;
    bool delayed;      /* Failed, and its lock-delay runs: printed when true, ... */
    uint64_t delay_ms; /* ... and then `lock_delay_ms`; also of holders that have one, ... */
    uint64_t left_ms;  /* ... and `left_ms`. */
    enum wire_mode mode;
    uint64_t session; /* Its public id; on the wire 16 hexadecimal digits. */
    struct wire_text label;
    uint64_t handle;
    uint64_t token;    /* Held, delayed. */
    uint64_t since_ms; /* Unix time; a label. */
};

/* A lock and those who hold or await it. */
struct wire_lock {
    struct wire_text name;
    uint64_t instance;               /* Of its node; a page that ends here goes on behind it. */
    const struct wire_claim *claims; /* Holders, then waiters in the order of service. */
    uint32_t claims_count;
    bool more; /* Claims beyond these. */
};

/* A replica as `cell.status` shows it. */
struct wire_member {
    uint64_t id;
    struct wire_text peer;   /* Its peer address. */
    struct wire_text client; /* Its client address; empty: not known. */
    bool heard;
    uint64_t heard_ms_ago; /* The replica that answers: 0. */
    uint64_t durable_slot; /* The master knows; else 0. */
};

struct wire_status {
    struct wire_text version;
    struct wire_text cell;
    struct wire_text cell_id; /* 16 hexadecimal digits. */
    uint64_t replica;
    struct wire_text role; /* "master", "follower", "candidate", "forming". */
    bool serving;
    uint64_t master;                 /* 0: none known. */
    struct wire_text master_address; /* Client address; empty: not known. */
    uint64_t epoch, revision;
    uint64_t slot_chosen, slot_applied, slot_last, slot_tables, log_first;
    uint64_t nodes, content_bytes, memory_bytes;
    struct wire_text digest; /* 16 hexadecimal digits. */
    bool low_space;
    uint64_t sessions, locks_held, locks_waiting, locks_delayed, opens, watches;
    uint64_t history_bytes, history_floor;
    uint64_t cached, held; /* Names that clients keep; commands that wait for them. */
    bool has_age;          /* The state here contains all that was acknowledged ... */
    uint64_t age_ms;       /* ... so long ago. */
    uint64_t stretch_ms;   /* 0, and not printed: leases are not stretched. */
    bool survives_known;   /* Only the master knows. */
    uint64_t survives;     /* How many more replicas may fail. */
    const struct wire_member *members;
    uint32_t members_count;
};

struct wire_reply {
    struct wire_text id;   /* As JSON text. */
    enum wire_error error; /* WIRE_OK: a result. */

    /* With an error. */
    struct wire_text message; /* Empty: the usual one. */
    struct wire_text master;  /* NOT_MASTER: the client address of the master, or empty. */
    uint64_t master_id;

    /* With a result, and with errors that the state decided. */
    enum wire_method method; /* Says which of the members below are printed. */
    bool has_position;
    uint64_t epoch, revision, slot, position;

    uint64_t left_ms;                /* LOCK_DELAY: what is left, ... */
    const struct wire_claim *holder; /* ... and who failed; NULL: not known. */

    bool has_stat; /* Also with CONFLICT: the node as it is. */
    struct wire_stat stat;
    bool created; /* PUT, NODE_OPEN. */
    bool has_content;
    struct wire_text content; /* GET: octets; printed as `content` or `content_base64`. */
    const struct wire_child *children; /* LIST. */
    uint32_t children_count;
    bool more;
    const struct wire_status *status;

    uint64_t session; /* SESSION_OPEN: with `secret` the credential. */
    struct wire_text secret;
    uint64_t lease_ms;     /* SESSION_OPEN, SESSION_KEEPALIVE. */
    uint64_t cache_ms;     /* The same, and CACHE_BEGIN; 0, and not printed: none. */
    bool cached;           /* NODE_GET, NODE_STAT, NO_NODE of either: it may be kept, ... */
    uint64_t cache_number; /* ... printed as `cached` with this number.  CACHE_BEGIN: as
                            * `number`. */
    enum wire_level level; /* NODE_GET, NODE_STAT, NODE_LIST, NODE_GET_ACL, with a result
                            * or an error that the state decided: there it is printed unless
                            * it is linearizable. */
    bool has_age;
    uint64_t age_ms; /* With `level`, if known. */
    bool has_acl;    /* NODE_GET_ACL: `"acl":{"read":...,"write":...,"change":...}` */
    struct wire_text acl[WIRE_RIGHTS];
    uint64_t token;                /* LOCK_ACQUIRE. */
    struct wire_text sequencer;    /* LOCK_ACQUIRE: "NAME:MODE:TOKEN", exclusive or shared. */
    const struct wire_lock *locks; /* LOCK_LIST: one with a name, a page without. */
    uint32_t locks_count;
    uint64_t next_instance; /* LOCK_LIST without a name, when `more`. */
    bool valid;             /* LOCK_CHECK. */
};

/* Appends one line with its newline. */
void wire_print_reply(struct wire_buffer *b, const struct wire_reply *reply);

/* Prints the refusal of a line that could not be parsed. */
void wire_print_refusal(struct wire_buffer *b, const struct wire_refusal *refusal);

/* Parses a server's line as the reply to a request of `method`; `ret_reply` and
 * what it points at live in `m`.  False: the server's line makes no sense, and
 * `ret_detail` says why. */
bool wire_parse_reply(struct wire_memory *m, enum wire_method method, struct wire_text line,
                      struct wire_reply *ret_reply, char ret_detail[WIRE_DETAIL_MAX]);

/* ----------------------------------------------------------- notifications */

/* What a server says without being asked:
 *
 *     {"jsonrpc":"2.0","method":"watch.event","params":{"watch":7,"event":{...}}}
 *     {"jsonrpc":"2.0","method":"watch.progress","params":{"revision":9}}
 *     {"jsonrpc":"2.0","method":"watch.end","params":{"code":"not_master","master":"h:p",...}}
 *     {"jsonrpc":"2.0","method":"cache.invalidate","params":{"session":"...","number":4,
 *                                                            "names":["/ls/c/x",...]}}
 *
 * and with "all":true in the place of names; also when they are more than a line holds.
 */
struct wire_event {
    enum wire_change change; /* On the wire `kind`: "created", ..., "gap". */
    uint64_t revision;
    uint64_t first_revision; /* Printed, with `count`, as "first_revision" when it stands for */
    uint64_t count;          /* several changes. */
    struct wire_text name;   /* Not of a gap, nor any of what follows. */
    enum wire_kind kind;     /* "node_kind" */
    uint64_t instance;
    uint64_t modified_ms; /* A label. */
    uint64_t generation;  /* CREATED, WRITTEN of a file. */
    uint64_t size;        /* CREATED, WRITTEN of a file. */
    bool ephemeral;       /* Printed when true. */
    uint64_t session;     /* GRANTED, RELEASED, CONTENDED: 16 hexadecimal digits. */
    enum wire_mode mode;  /* The same. */
    uint64_t token;       /* GRANTED, RELEASED. */
    bool failed;          /* RELEASED: printed when true. */
    uint64_t delay_ms;    /* RELEASED, failed: "lock_delay_ms", printed unless 0. */
    bool wants_content; /* Printing: content was asked for; without has_content that is said */
    bool has_content;   /* as "content_omitted":true. */
    struct wire_text content;
    bool wants_old; /* The same for "old_content", "old_content_base64", */
    bool has_old;   /* "old_content_omitted". */
    struct wire_text old;
};

struct wire_notification {
    enum wire_notice notice;
    uint64_t watch;          /* EVENT. */
    struct wire_event event; /* EVENT. */
    uint64_t revision;       /* PROGRESS. */
    struct wire_text master; /* END: client address of the master, or empty. */
    uint64_t master_id;
    uint64_t session;              /* INVALIDATE: public id; 16 hexadecimal digits. */
    uint64_t number;               /* INVALIDATE. */
    const struct wire_text *names; /* INVALIDATE: whole names. */
    uint32_t names_count;          /* 0: all. */
};

/* A whole line is the head, which names the watch, and the tail, with its newline. */
void wire_print_event_head(struct wire_buffer *b, uint64_t watch);
void wire_print_event_tail(struct wire_buffer *b, const struct wire_event *event);
/* A notification of another kind, or a whole one of a gap. */
void wire_print_notification(struct wire_buffer *b, const struct wire_notification *n);

/* A server's line without an id.  False: it makes no sense.  One of an unknown
 * method is WIRE_NO_NOTICE, to be passed over. */
bool wire_parse_notification(struct wire_memory *m, struct wire_text line,
                             struct wire_notification *ret_notification,
                             char ret_detail[WIRE_DETAIL_MAX]);

/* ------------------------------------------------------------------- words */

const char *wire_method_name(enum wire_method method);
const char *wire_notice_name(enum wire_notice notice);
const char *wire_scope_name(enum wire_scope scope);
const char *wire_level_name(enum wire_level level);
const char *wire_change_name(enum wire_change change);
const char *wire_error_name(enum wire_error error);
const char *wire_error_text(enum wire_error error);
int wire_error_code(enum wire_error error);

/* May these octets travel as a JSON string?  UTF-8 without control characters
 * other than tab, CR and LF. */
bool wire_is_text(struct wire_text octets);

#endif
