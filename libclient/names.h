/* SPDX-License-Identifier: Apache-2.0
 *
 * names.h -- the words of the client protocol, each written once.
 *
 * The daemon, the library and the tools all take them from here;
 * docs/protocol.md is the specification.
 */
#ifndef LIBCLIENT_NAMES_H
#define LIBCLIENT_NAMES_H

/* method, name on the wire */
#define WIRE_METHOD_MAP(X)                                                                     \
    X(WIRE_NODE_GET, "node.get")                                                               \
    X(WIRE_NODE_PUT, "node.put")                                                               \
    X(WIRE_NODE_CREATE, "node.create")                                                         \
    X(WIRE_NODE_LIST, "node.list")                                                             \
    X(WIRE_NODE_STAT, "node.stat")                                                             \
    X(WIRE_NODE_DELETE, "node.delete")                                                         \
    X(WIRE_SESSION_OPEN, "session.open")                                                       \
    X(WIRE_SESSION_KEEPALIVE, "session.keepalive")                                             \
    X(WIRE_SESSION_CLOSE, "session.close")                                                     \
    X(WIRE_LOCK_ACQUIRE, "lock.acquire")                                                       \
    X(WIRE_LOCK_RELEASE, "lock.release")                                                       \
    X(WIRE_LOCK_CANCEL, "lock.cancel")                                                         \
    X(WIRE_LOCK_LIST, "lock.list")                                                             \
    X(WIRE_LOCK_CHECK, "lock.check")                                                           \
    X(WIRE_NODE_OPEN, "node.open")                                                             \
    X(WIRE_NODE_CLOSE, "node.close")                                                           \
    X(WIRE_WATCH_ADD, "watch.add")                                                             \
    X(WIRE_WATCH_REMOVE, "watch.remove")                                                       \
    X(WIRE_NODE_GET_ACL, "node.get_acl")                                                       \
    X(WIRE_NODE_SET_ACL, "node.set_acl")                                                       \
    X(WIRE_CACHE_BEGIN, "cache.begin")                                                         \
    X(WIRE_CACHE_ACK, "cache.ack")                                                             \
    X(WIRE_CELL_STATUS, "cell.status")

/* What went wrong: enum, JSON-RPC code, `data.code`, the usual message.  The
 * first four are JSON-RPC's own; ours all have -32000. */
#define WIRE_ERROR_MAP(X)                                                                      \
    X(WIRE_PARSE_ERROR, -32700, "parse_error", "the line is not valid JSON")                   \
    X(WIRE_INVALID_REQUEST, -32600, "invalid_request",                                         \
      "the line is not a JSON-RPC 2.0 request")                                                \
    X(WIRE_METHOD_NOT_FOUND, -32601, "method_not_found", "there is no such method")            \
    X(WIRE_INVALID_PARAMS, -32602, "invalid_params", "a parameter is missing or wrong")        \
    X(WIRE_NOT_MASTER, -32000, "not_master", "this replica is not the master")                 \
    X(WIRE_SESSION_EXPIRED, -32000, "session_expired", "the session has ended")                \
    X(WIRE_CONFLICT, -32000, "conflict", "the generation is another one")                      \
    X(WIRE_LOCKED, -32000, "locked", "the lock is held")                                       \
    X(WIRE_NOT_HELD, -32000, "not_held", "the lock is not held with this token")               \
    X(WIRE_CANCELLED, -32000, "cancelled", "the request was cancelled before it was granted")  \
    X(WIRE_LOCK_DELAY, -32000, "lock_delay", "the lock is closed after its holder failed")     \
    X(WIRE_STALE_HANDLE, -32000, "stale_handle", "the node was deleted and made again")        \
    X(WIRE_NO_NODE, -32000, "no_node", "there is no such node")                                \
    X(WIRE_EXISTS, -32000, "exists", "the node exists")                                        \
    X(WIRE_NOT_EMPTY, -32000, "not_empty", "the directory is not empty")                       \
    X(WIRE_WRONG_KIND, -32000, "wrong_kind",                                                   \
      "the node is a directory where a file is needed, "                                       \
      "or the other way round")                                                                \
    X(WIRE_BAD_NAME, -32000, "bad_name", "the name is not valid")                              \
    X(WIRE_DENIED, -32000, "denied", "not allowed")                                            \
    X(WIRE_NO_ACL, -32000, "no_acl", "there is no ACL of this name")                           \
    X(WIRE_TOO_OLD, -32000, "too_old", "the state here is older than asked for")               \
    X(WIRE_TOO_LARGE, -32000, "too_large", "a limit on the size is exceeded")                  \
    X(WIRE_OVERLOADED, -32000, "overloaded",                                                   \
      "too much is waiting, or a limit of the cell is "                                        \
      "reached; not executed")                                                                 \
    X(WIRE_OLD_EPOCH, -32000, "old_epoch", "the request names an older mastership")            \
    X(WIRE_UNKNOWN_OUTCOME, -32000, "unknown_outcome", "it may or may not have been executed") \
    X(WIRE_UNAVAILABLE, -32000, "unavailable", "no master can be reached")

/* What a server says without being asked: notifications. */
#define WIRE_NOTICE_MAP(X)                                                                     \
    X(WIRE_WATCH_EVENT, "watch.event")                                                         \
    X(WIRE_WATCH_PROGRESS, "watch.progress")                                                   \
    X(WIRE_WATCH_END, "watch.end")                                                             \
    X(WIRE_CACHE_INVALIDATE, "cache.invalidate")

/* How new the state must be that answers a read; in the order of enum service_level. */
#define WIRE_LEVEL_MAP(X)                                                                      \
    X(WIRE_LINEARIZABLE, "linearizable")                                                       \
    X(WIRE_LEASE, "lease")                                                                     \
    X(WIRE_SEQUENTIAL, "sequential")                                                           \
    X(WIRE_STALE, "stale")

/* What a watch looks at. */
#define WIRE_SCOPE_MAP(X)                                                                      \
    X(WIRE_SCOPE_NODE, "node")                                                                 \
    X(WIRE_SCOPE_CHILDREN, "children")                                                         \
    X(WIRE_SCOPE_SUBTREE, "subtree")

/* Which changes it is told: bit, word. */
#define WIRE_WATCHED_MAP(X)                                                                    \
    X(WIRE_WATCH_CONTENT, 1, "content")                                                        \
    X(WIRE_WATCH_CHILD, 2, "child")                                                            \
    X(WIRE_WATCH_ACL, 4, "acl")                                                                \
    X(WIRE_WATCH_LOCK, 8, "lock")                                                              \
    X(WIRE_WATCH_DELETE, 16, "delete")                                                         \
    X(WIRE_WATCH_CONFLICT, 32, "conflict")

/* What happened: member `event` of watch.event. */
#define WIRE_CHANGE_MAP(X)                                                                     \
    X(WIRE_CREATED, "created")                                                                 \
    X(WIRE_WRITTEN, "written")                                                                 \
    X(WIRE_DELETED, "deleted")                                                                 \
    X(WIRE_ACL_CHANGED, "acl_changed")                                                         \
    X(WIRE_GRANTED, "granted")                                                                 \
    X(WIRE_RELEASED, "released")                                                               \
    X(WIRE_CONTENDED, "contended")                                                             \
    X(WIRE_GAP, "gap")

enum wire_notice {
    WIRE_NO_NOTICE,
#define WIRE_NOTICE_ENUM(notice, name) notice,
    WIRE_NOTICE_MAP(WIRE_NOTICE_ENUM)
#undef WIRE_NOTICE_ENUM
};

enum wire_level {
#define WIRE_LEVEL_ENUM(level, name) level,
    WIRE_LEVEL_MAP(WIRE_LEVEL_ENUM)
#undef WIRE_LEVEL_ENUM
};

enum wire_scope {
    WIRE_NO_SCOPE,
#define WIRE_SCOPE_ENUM(scope, name) scope,
    WIRE_SCOPE_MAP(WIRE_SCOPE_ENUM)
#undef WIRE_SCOPE_ENUM
};

enum wire_watched {
#define WIRE_WATCHED_ENUM(watched, bit, name) watched = (bit),
    WIRE_WATCHED_MAP(WIRE_WATCHED_ENUM)
#undef WIRE_WATCHED_ENUM
        WIRE_WATCHED_ALL = 63,
};

enum wire_change {
    WIRE_NO_CHANGE,
#define WIRE_CHANGE_ENUM(change, name) change,
    WIRE_CHANGE_MAP(WIRE_CHANGE_ENUM)
#undef WIRE_CHANGE_ENUM
};

enum wire_method {
    WIRE_NO_METHOD,
#define WIRE_METHOD_ENUM(method, name) method,
    WIRE_METHOD_MAP(WIRE_METHOD_ENUM)
#undef WIRE_METHOD_ENUM
};

enum wire_error {
    WIRE_OK,
#define WIRE_ERROR_ENUM(error, code, name, text) error,
    WIRE_ERROR_MAP(WIRE_ERROR_ENUM)
#undef WIRE_ERROR_ENUM
};

#endif
