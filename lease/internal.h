/* SPDX-License-Identifier: Apache-2.0
 *
 * internal.h -- the state as it lies in memory, and who of lease/ may do what.
 *
 *     machine.c    the only door to change: at most once, then calls
 *        |
 *     machine_acl.c  machine_node.c  machine_open.c  machine_lock.c  machine_session.c
 *        |                                           decide, then change
 *     acl.c  node.c  opener.c  lock.c  session.c  result.c    what there is, its indices
 *     history.c                                        what has happened to it
 *        |
 *     record.c     what is stored and digested; what changed since the last set
 *        |
 *     memory.c     the allocator we were given
 *
 * query.c and query_lock.c read; load*.c fill an empty state from rows;
 * invariants*.c assert.
 *
 * Whoever changes a member of a record calls record_changed() before the
 * command ends.  That alone keeps digest, tables and state the same thing.
 */
#ifndef LEASE_INTERNAL_H
#define LEASE_INTERNAL_H

#include "lease/lease.h"
#include "lease/tree.h"
#include "paxos/base/bytes.h"

/* ----------------------------------------------------------------- records */

/* The first octet of a key.  A kind loads before those of a higher number. */
enum record_kind {
    RECORD_COUNTERS = 1,
    RECORD_NODE = 2,
    RECORD_SESSION = 3,
    RECORD_CLAIM = 4,
    RECORD_RESULT = 5,
    RECORD_OPENER = 6,
    RECORD_HISTORY = 7,
    RECORD_KIND_LAST = RECORD_HISTORY,
};

enum {
    RECORD_KEY_SIZE = 1 + 8 + 8,
    RECORD_HEAD_MAX = 21 * 1024, /* A value without the content or events that may end it. */
    RECORD_VALUE_MAX = RECORD_HEAD_MAX + LEASE_CONTENT_MAX,
    RECORD_VERSION = 3, /* The first octet of a value. */
};

/* Kind, then two numbers whose meaning is the kind's.  No key is used again
 * once its record is gone, so a deletion is never confused with a successor. */
struct record_key {
    enum record_kind kind;
    uint64_t id;  /* A node's instance, also of a claim and an opener; a session, also of a
                   * result; of a chunk of history its first revision. */
    uint64_t sub; /* A claim's or opener's number, a result's request; of a chunk how many
                   * before it have events of that revision; 0 for the others. */
};

/* Embedded in everything that is replicated. */
struct record {
    struct tree_link by_key;   /* In lease.records[kind], while it lives. */
    struct record *dirty_prev; /* In lease.dirty, while `dirty`. */
    struct record *dirty_next;
    struct record_key key;
    uint64_t hash;     /* What the digest holds of it. */
    uint32_t row_size; /* Octets of key and value. */
    bool dirty;        /* Changed since the last lease_rows_taken(). */
    bool stored;       /* The tables hold a row of this key. */
    bool dead;         /* Deleted; stays in lease.dirty until the tables know. */
};

struct counters {
    struct record record;
    uint64_t revision;   /* Of the newest change. */
    uint64_t instances;  /* The last number given to a node. */
    uint64_t epoch;      /* Entries of lower ones are not in force. */
    uint64_t claims;     /* The last number given to a claim. */
    uint64_t openers;    /* The last number given to an opener. */
    uint32_t stretch_ms; /* Leases of the default length or above may be as long as this. */
};

/* The names of a node's ACLs.  Most nodes have those of their directory, so all that
 * have the same three share them. */
struct acls {
    struct tree_link by_names; /* In lease.acls. */
    uint64_t nodes;            /* That have them. */
    uint8_t size[LEASE_RIGHTS];
    uint8_t text[]; /* The names, one behind the other. */
};

struct lock;   /* In lock.h. */
struct opener; /* In opener.h. */
struct chunk;  /* In history.h. */

/* A file or directory.  `record.key.id` is its instance.  A name costs what
 * this struct and the name take, a file what its content takes besides. */
struct node {
    struct record record;
    struct tree_link by_name; /* In the parent's children. */
    struct node *parent;      /* NULL: the root. */
    struct acls *acls;        /* Never NULL while it is in the tree. */
    uint64_t content_generation;
    uint64_t lock_generation;
    uint64_t acl_generation;
    uint64_t checksum;
    uint64_t revision;
    uint64_t modified_wall_ms;
    struct tree children;   /* Of a directory, by name. */
    struct lock *lock;      /* NULL while nobody holds or awaits it, and no lock-delay runs. */
    struct opener *openers; /* Of an ephemeral one; NULL: nobody has it open. */
    uint8_t *content;       /* Of a file; room_for(content_size) octets. */
    uint32_t content_size;
    uint32_t children_count;
    uint8_t kind;
    bool ephemeral;
    uint8_t name_size;
    uint8_t name[];
};

struct lease {
    struct lease_allocator allocator;
    struct lease_limits limits;
    struct lease_counts counts;

    uint64_t slot; /* Applied up to here ... */
    uint32_t position;

    struct counters counters;
    struct node *root;
    struct tree records[RECORD_KIND_LAST + 1]; /* All that live, of each kind by key. */
    uint64_t digest;                           /* Sum of their hashes. */
    struct tree acls;                          /* Those that nodes have, by names. */
    struct tree caching;                       /* Sessions that have declared a cache, by id. */

    bool revised;                  /* The command at hand has raised the revision, ... */
    bool counters_moved;           /* ... or another counter: one hash, at its end. */
    bool told;                     /* It has appended to the history. */
    struct lease_settled *settled; /* By the last command. */
    uint32_t settled_count;
    uint32_t settled_room;
    struct lease_delay *delays; /* Begun by the last command. */
    uint32_t delays_count;
    uint32_t delays_room;

    struct chunk *history; /* That takes the next event; NULL: none is kept. */

    struct record *dirty_first; /* In the order in which they became so. */
    struct record *dirty_last;
    uint64_t dirty_bytes;

    struct record_key loaded; /* The last row; kind 0: none. */
    uint8_t *scratch;         /* One row is put together here: RECORD_VALUE_MAX. */
};

/* ------------------------------------------------------------------ memory */

/* Never NULL: running out does not return. */
void *memory_take(struct lease *l, size_t size);
void memory_give(struct lease *l, void *memory, size_t size);

/* ------------------------------------------------------------------ record */

int record_key_compare(struct record_key a, struct record_key b);
void record_key_encode(struct record_key key, struct writer *w);
__attribute__((warn_unused_result)) bool record_key_decode(struct bytes bytes,
                                                           struct record_key *ret_key);
struct record *record_find(const struct lease *l, struct record_key key);

/* The first of the key's kind at or behind it, and the next of the same kind;
 * NULL: no more. */
struct record *record_from(const struct lease *l, struct record_key key);
struct record *record_next(const struct record *record);

/* The last of the key's kind at or before it; NULL: none. */
struct record *record_upto(const struct lease *l, struct record_key key);

/* The value without a file's content or a chunk's events, which follow it as
 * `ret_tail`. */
void record_encode(const struct record *record, struct writer *w, struct bytes *ret_tail);

/* Hash of key and value; what ends the value enters by its checksum alone, so that
 * a change of metadata, or one more event, doesn't cost a pass over all of it. */
uint64_t record_hash(const struct record *record, uint32_t *ret_row_size);

/* `record` must be filled before it is added, and is not changed by hand after
 * it was removed: from then on the record layer owns what it is embedded in. */
void record_added(struct lease *l, struct record *record, struct record_key key);
void record_changed(struct lease *l, struct record *record);
void record_removed(struct lease *l, struct record *record);

/* Like added or changed, but the tables have it already. */
void record_loaded(struct lease *l, struct record *record);

/* Releases everything, at the end. */
void record_release_all(struct lease *l);

/* ----------------------------------------------------------------- machine */

/* What clients see as a JSON number must stay exact; to stop is better than to
 * say a number that two readers understand differently. */
static inline uint64_t next_number(uint64_t *counter)
{
    assert(*counter + 1 < LEASE_NUMBER_MAX);
    return ++*counter;
}

/* The command changes a node or a lock.  The revision grows by one in a command,
 * however much it changes. */
void machine_revise(struct lease *l);

struct session;

/* Who asks may do what the command does: LEASE_OK, else LEASE_DENIED or LEASE_BAD_PATH.
 * Before all that the command decides itself, so a refusal tells nothing else. */
enum lease_rc machine_judge(const struct lease *l, const struct lease_command *c);

/* The commands, once it is certain that they are to be executed.  `session` is
 * NULL in one-shot commands.  Each decides first, and changes nothing until
 * nothing can refuse it any more. */
enum lease_rc machine_put(struct lease *l, const struct lease_at *at,
                          const struct lease_command *c, struct lease_result *ret_result);
enum lease_rc machine_create(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct lease_result *ret_result);
enum lease_rc machine_delete(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct session *session,
                             struct lease_result *ret_result);
enum lease_rc machine_acquire(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct session *session,
                              struct lease_result *ret_result);
enum lease_rc machine_release(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct session *session);
enum lease_rc machine_cancel(struct lease *l, const struct lease_at *at,
                             const struct lease_command *c, struct session *session,
                             struct lease_result *ret_result);
enum lease_rc machine_timeout(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c);
enum lease_rc machine_delay_over(struct lease *l, const struct lease_at *at,
                                 const struct lease_command *c);
enum lease_rc machine_open(struct lease *l, const struct lease_at *at,
                           const struct lease_command *c, struct session *session,
                           struct lease_result *ret_result);
enum lease_rc machine_close(struct lease *l, const struct lease_at *at,
                            const struct lease_command *c, struct session *session);
enum lease_rc machine_set_acl(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c, struct lease_result *ret_result);
enum lease_rc machine_session_open(struct lease *l, const struct lease_at *at,
                                   const struct lease_command *c,
                                   struct lease_result *ret_result);
enum lease_rc machine_session_close(struct lease *l, const struct lease_at *at,
                                    struct session *session);
enum lease_rc machine_session_expire(struct lease *l, const struct lease_at *at,
                                     const struct lease_command *c);

enum lease_rc machine_stretch(struct lease *l, const struct lease_at *at,
                              const struct lease_command *c);

/* Does the command pin an instance that isn't the one of `node`, NULL: missing? */
bool machine_stale(const struct lease_command *c, const struct node *node);

/* An opener, a claim or a child of `node` has gone: if it is ephemeral and that was
 * the last, it goes; and so on upwards. */
void machine_left(struct lease *l, const struct lease_at *at, struct node *node);

/* -------------------------------------------------------------------- load */

/* Of a row whose key and version are read: false when it makes no sense. */
bool load_session(struct lease *l, struct record_key key, struct reader *r);
bool load_claim(struct lease *l, struct record_key key, struct reader *r);
bool load_result(struct lease *l, struct record_key key, struct reader *r);
bool load_opener(struct lease *l, struct record_key key, struct reader *r);
bool load_history(struct lease *l, struct record_key key, struct reader *r);

/* --------------------------------------------------------------------- acl */

/* The names, shared by one node more; and by one less.  `acls` may be NULL. */
struct acls *acls_take(struct lease *l, const struct bytes names[LEASE_RIGHTS]);
struct acls *acls_share(struct acls *acls);
void acls_give(struct lease *l, struct acls *acls);
struct bytes acls_name(const struct acls *acls, enum lease_right right);
size_t acls_size(const struct acls *acls);

static inline struct acls *acls_of(struct tree_link *link)
{
    return tree_entry(link, struct acls, by_names);
}

/* Can a node name it?  Whether there is such an ACL is another question. */
bool acl_name_valid(struct bytes name);

/* The file that is the ACL of this name; NULL: there is none. */
const struct node *acl_file(const struct lease *l, struct bytes name);
bool acl_allows(const struct lease *l, const struct node *node, struct bytes principal,
                enum lease_right right);

/* -------------------------------------------------------------------- node */

/* Where a path leads.  `node` is NULL when only the last component is missing;
 * for the root `parent` is NULL. */
struct node_place {
    struct node *parent;
    struct node *node;
    struct bytes name;
};

/* LEASE_OK, LEASE_BAD_PATH, or what is wrong on the way: LEASE_NO_PARENT,
 * LEASE_NOT_A_DIRECTORY. */
enum lease_rc node_walk(const struct lease *l, struct bytes path, struct node_place *ret_place);

/* A node that is in no tree yet, without a parent and ACLs, all numbers 0.  A file
 * must be given its content, though it be empty, for the checksum. */
struct node *node_new(struct lease *l, enum lease_kind kind, struct bytes name);

/* May the cell hold one more, with so much content?  LEASE_OK or LEASE_LIMIT. */
enum lease_rc node_may_make(const struct lease *l, uint64_t content_size);

/* Makes what is missing at `place`: a new instance at a new revision. */
struct node *node_make(struct lease *l, const struct lease_at *at,
                       const struct node_place *place, enum lease_kind kind, bool ephemeral,
                       struct bytes content);
void node_attach(struct lease *l, struct node *parent, struct node *node);
void node_detach(struct lease *l, struct node *node);
void node_release(struct lease *l, struct node *node);

struct node *node_child(const struct node *directory, struct bytes name);

/* The first child behind `after`, in order of the octets; NULL: none. */
struct node *node_first_behind(const struct node *directory, struct bytes after);
struct node *node_next(const struct node *node);

/* Writes where it is, below /ls/<cell>/ and without leading slash; returns its size. */
size_t node_path(const struct node *node, uint8_t path[LEASE_PATH_MAX]);

/* Copies; takes no memory when the new content fits the old one's room. */
void node_set_content(struct lease *l, struct node *node, struct bytes content);

void node_stat(const struct node *node, struct lease_stat *ret_stat);
void node_encode(const struct node *node, struct writer *w, struct bytes *ret_tail);

/* Of a file; that of a directory, which has no content, is 0. */
uint64_t content_checksum(struct bytes content);
size_t room_for(size_t content_size);

static inline struct node *node_of(struct record *record)
{
    assert(record->key.kind == RECORD_NODE);
    return tree_entry(record, struct node, record);
}

static inline const struct node *node_of_const(const struct record *record)
{
    assert(record->key.kind == RECORD_NODE);
    return tree_entry(record, const struct node, record);
}

static inline struct bytes node_name(const struct node *node)
{
    return bytes_of(node->name, node->name_size);
}

static inline struct bytes node_content(const struct node *node)
{
    return bytes_of(node->content, node->content_size);
}

static inline struct record *record_by_key(struct tree_link *link)
{
    return link == NULL ? NULL : tree_entry(link, struct record, by_key);
}

/* -------------------------------------------------------------------- path */

bool path_component_valid(struct bytes name);

/* Cuts the first component, with its slash, off what is not empty. */
struct bytes path_next(struct bytes *rest);

#endif
