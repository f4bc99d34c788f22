/* SPDX-License-Identifier: Apache-2.0
 *
 * command.c -- commands as log bytes, and back.
 *
 * There is one encoding of a command and no other: what decodes, encodes to the
 * same octets again.  Decoding looks at the form only.  Whether a path is valid
 * or a content too large is decided where the command applies, the same on all
 * replicas: a bad name must be a refusal, never an entry that stops the cell.
 *
 *     PUT             path | content | u64 if_generation | u64 if_instance
 *     CREATE          path | u8 kind | content, of a file only
 *     DELETE          path | u64 if_generation | u64 if_instance
 *     SESSION_OPEN    u64 subject | u64 secret_hash, twice | u32 lease_ms |
 *                     u8 length, label | u8 1: cache
 *     SESSION_CLOSE   nothing
 *     SESSION_EXPIRE  u64 subject | u64 epoch
 *     ACQUIRE         path | u8 mode | u8 1: wait, 2: create | u64 handle | u32 wait_ms |
 *                     u32 delay_ms | u64 if_instance
 *     RELEASE         path | u64 handle | u64 token
 *     CANCEL          u64 subject_request
 *     TIMEOUT         u64 subject | u64 subject_request | u64 epoch
 *     OPEN            path | u8 kind, 0: none | u8 1: ephemeral | u64 handle |
 *                     u64 if_instance | content, of a file only
 *     CLOSE           path | u64 handle | u64 if_instance
 *     DELAY_OVER      u64 subject | u64 subject_request | u64 epoch
 *     STRETCH         u32 lease_ms | u64 epoch
 *     SET_ACL         path | u8 1: read, 2: write, 4: change | name of each of these |
 *                     u64 if_generation | u64 if_instance
 *
 * Path, content and names of ACLs are four octets of length and the bytes.  So too is what a
 * client acknowledges taken as it is: ranges in disorder acknowledge what they
 * name, and a request without an id is one that was acknowledged long ago.
 */
#include "lease/command.h"

#include "paxos/base/pure.h"

enum {
    LENGTH_SIZE = 4,
    FIXED_SIZE = LEASE_COMMAND_HEAD + 1 + 1 + 8 + 1, /* Without principal and request. */
    REQUEST_SIZE = 8 + 8 + 1,                        /* Without ranges. */
    FLAG_WAIT = 1,
    FLAG_CREATE = 2,
    FLAG_EPHEMERAL = 1, /* Of OPEN. */
};

/* -------------------------------------------------------------------- size */

static size_t names_size(const struct lease_command *c)
{
    size_t size = 0;
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        size += c->acl[right].data == NULL ? 0 : LENGTH_SIZE + c->acl[right].size;
    }
    return size;
}

static size_t arguments_size(const struct lease_command *c)
{
    const size_t path = LENGTH_SIZE + c->path.size;
    switch (c->type) {
    case LEASE_CMD_PUT:
        return path + LENGTH_SIZE + c->content.size + 8 + 8;
    case LEASE_CMD_CREATE:
        return path + 1 + (c->kind == LEASE_FILE ? LENGTH_SIZE + c->content.size : 0);
    case LEASE_CMD_DELETE:
        return path + 8 + 8;
    case LEASE_CMD_SESSION_OPEN:
        return 8 + 8 + 8 + 4 + 1 + c->label.size + 1;
    case LEASE_CMD_SESSION_CLOSE:
        return 0;
    case LEASE_CMD_SESSION_EXPIRE:
        return 8 + 8;
    case LEASE_CMD_ACQUIRE:
        return path + 1 + 1 + 8 + 4 + 4 + 8;
    case LEASE_CMD_RELEASE:
        return path + 8 + 8;
    case LEASE_CMD_CANCEL:
        return 8;
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_DELAY_OVER:
        return 8 + 8 + 8;
    case LEASE_CMD_OPEN:
        return path + 1 + 1 + 8 + 8 +
               (c->kind == LEASE_FILE ? LENGTH_SIZE + c->content.size : 0);
    case LEASE_CMD_CLOSE:
        return path + 8 + 8;
    case LEASE_CMD_STRETCH:
        return 4 + 8;
    case LEASE_CMD_SET_ACL:
        return path + 1 + names_size(c) + 8 + 8;
    }
    assert(/* a type of ours */ false);
    return 0;
}

size_t lease_command_size(const struct lease_command *command)
{
    const size_t request =
        command->session == 0 ? 0 : REQUEST_SIZE + (size_t)command->acks_count * 16;
    return FIXED_SIZE + request + command->principal.size + arguments_size(command);
}

/* ------------------------------------------------------------------ encode */

static void encode_request(const struct lease_command *c, struct writer *w)
{
    assert(c->acks_count <= LEASE_ACK_RANGES_MAX);
    write_u64(w, c->request);
    write_u64(w, c->ack_floor);
    write_u8(w, (uint8_t)c->acks_count);
    for (uint32_t i = 0; i < c->acks_count; i++) {
        write_u64(w, c->acks[i].first);
        write_u64(w, c->acks[i].last);
    }
}

static void write_conditions(const struct lease_command *c, struct writer *w)
{
    write_u64(w, c->if_generation);
    write_u64(w, c->if_instance);
}

static void encode_session_open(const struct lease_command *c, struct writer *w)
{
    assert(c->label.size <= LEASE_LABEL_MAX);
    write_u64(w, c->subject);
    write_u64(w, c->secret_hash[0]);
    write_u64(w, c->secret_hash[1]);
    write_u32(w, c->lease_ms);
    write_u8(w, (uint8_t)c->label.size);
    write_raw(w, c->label.data, c->label.size);
    write_u8(w, c->cache);
}

static void encode_acquire(const struct lease_command *c, struct writer *w)
{
    assert(c->mode == LEASE_EXCLUSIVE || c->mode == LEASE_SHARED);
    write_bytes(w, c->path);
    write_u8(w, (uint8_t)c->mode);
    write_u8(w, (uint8_t)((c->wait ? FLAG_WAIT : 0) | (c->create ? FLAG_CREATE : 0)));
    write_u64(w, c->handle);
    write_u32(w, c->wait_ms);
    write_u32(w, c->delay_ms);
    write_u64(w, c->if_instance);
}

static void encode_open(const struct lease_command *c, struct writer *w)
{
    write_bytes(w, c->path);
    write_u8(w, (uint8_t)c->kind);
    write_u8(w, c->ephemeral ? FLAG_EPHEMERAL : 0);
    write_u64(w, c->handle);
    write_u64(w, c->if_instance);
    if (c->kind == LEASE_FILE) {
        write_bytes(w, c->content);
    }
}

static void encode_set_acl(const struct lease_command *c, struct writer *w)
{
    unsigned named = 0;
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        named |= c->acl[right].data == NULL ? 0 : 1u << right;
    }
    write_bytes(w, c->path);
    write_u8(w, (uint8_t)named);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        if (c->acl[right].data != NULL) {
            write_bytes(w, c->acl[right]);
        }
    }
    write_conditions(c, w);
}

static void encode_arguments(const struct lease_command *c, struct writer *w)
{
    switch (c->type) {
    case LEASE_CMD_PUT:
        write_bytes(w, c->path);
        write_bytes(w, c->content);
        write_conditions(c, w);
        break;
    case LEASE_CMD_CREATE:
        assert(c->kind == LEASE_FILE || c->kind == LEASE_DIRECTORY);
        write_bytes(w, c->path);
        write_u8(w, (uint8_t)c->kind);
        if (c->kind == LEASE_FILE) {
            write_bytes(w, c->content);
        }
        break;
    case LEASE_CMD_DELETE:
        write_bytes(w, c->path);
        write_conditions(c, w);
        break;
    case LEASE_CMD_SESSION_OPEN:
        encode_session_open(c, w);
        break;
    case LEASE_CMD_SESSION_CLOSE:
        break;
    case LEASE_CMD_SESSION_EXPIRE:
        write_u64(w, c->subject);
        write_u64(w, c->epoch);
        break;
    case LEASE_CMD_ACQUIRE:
        encode_acquire(c, w);
        break;
    case LEASE_CMD_RELEASE:
        write_bytes(w, c->path);
        write_u64(w, c->handle);
        write_u64(w, c->token);
        break;
    case LEASE_CMD_CANCEL:
        write_u64(w, c->subject_request);
        break;
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_DELAY_OVER:
        write_u64(w, c->subject);
        write_u64(w, c->subject_request);
        write_u64(w, c->epoch);
        break;
    case LEASE_CMD_OPEN:
        encode_open(c, w);
        break;
    case LEASE_CMD_CLOSE:
        assert(c->if_instance != LEASE_ANY);
        write_bytes(w, c->path);
        write_u64(w, c->handle);
        write_u64(w, c->if_instance);
        break;
    case LEASE_CMD_STRETCH:
        write_u32(w, c->lease_ms);
        write_u64(w, c->epoch);
        break;
    case LEASE_CMD_SET_ACL:
        encode_set_acl(c, w);
        break;
    }
}

/* Who judges by the time, or makes a session, does not ask for one. */
static bool of_nobody(unsigned type)
{
    return type == LEASE_CMD_SESSION_OPEN || type == LEASE_CMD_SESSION_EXPIRE ||
           type == LEASE_CMD_TIMEOUT || type == LEASE_CMD_DELAY_OVER ||
           type == LEASE_CMD_STRETCH;
}

void lease_command_encode(const struct lease_command *command, struct writer *w)
{
    const size_t size = lease_command_size(command) - LEASE_COMMAND_HEAD;
    assert(size <= UINT32_MAX);
    assert(command->principal.size <= LEASE_PRINCIPAL_MAX);
    if (of_nobody(command->type)) {
        assert(command->session == 0);
    }
    write_u32(w, (uint32_t)size);
    write_u8(w, LEASE_COMMAND_VERSION);
    write_u8(w, (uint8_t)command->type);
    write_u64(w, command->session);
    if (command->session != 0) {
        encode_request(command, w);
    }
    write_u8(w, (uint8_t)command->principal.size);
    write_raw(w, command->principal.data, command->principal.size);
    encode_arguments(command, w);
}

/* ------------------------------------------------------------------ decode */

static bool decode_request(struct reader *r, struct lease_command *c)
{
    c->request = read_u64(r);
    c->ack_floor = read_u64(r);
    c->acks_count = read_u8(r);
    if (c->acks_count > LEASE_ACK_RANGES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < c->acks_count; i++) {
        c->acks[i].first = read_u64(r);
        c->acks[i].last = read_u64(r);
    }
    return true;
}

static void read_conditions(struct reader *r, struct lease_command *c)
{
    c->if_generation = read_u64(r);
    c->if_instance = read_u64(r);
}

static bool decode_create(struct reader *r, struct lease_command *c)
{
    c->path = read_bytes(r);
    const uint8_t kind = read_u8(r);
    if (kind != LEASE_FILE && kind != LEASE_DIRECTORY) {
        return false;
    }
    c->kind = (enum lease_kind)kind;
    if (c->kind == LEASE_FILE) {
        c->content = read_bytes(r);
    }
    return true;
}

static bool decode_session_open(struct reader *r, struct lease_command *c)
{
    c->subject = read_u64(r);
    c->secret_hash[0] = read_u64(r);
    c->secret_hash[1] = read_u64(r);
    c->lease_ms = read_u32(r);
    const size_t label_size = read_u8(r);
    c->label = bytes_of(read_raw(r, label_size), label_size);
    const uint8_t cache = read_u8(r);
    c->cache = cache == 1;
    return label_size <= LEASE_LABEL_MAX && cache <= 1;
}

static bool decode_acquire(struct reader *r, struct lease_command *c)
{
    c->path = read_bytes(r);
    const uint8_t mode = read_u8(r);
    const uint8_t flags = read_u8(r);
    if ((mode != LEASE_EXCLUSIVE && mode != LEASE_SHARED) ||
        flags > (FLAG_WAIT | FLAG_CREATE)) {
        return false;
    }
    c->mode = (enum lease_mode)mode;
    c->wait = (flags & FLAG_WAIT) != 0;
    c->create = (flags & FLAG_CREATE) != 0;
    c->handle = read_u64(r);
    c->wait_ms = read_u32(r);
    c->delay_ms = read_u32(r);
    c->if_instance = read_u64(r);
    return true;
}

static bool decode_open(struct reader *r, struct lease_command *c)
{
    c->path = read_bytes(r);
    const uint8_t kind = read_u8(r);
    const uint8_t flags = read_u8(r);
    if ((kind != 0 && kind != LEASE_FILE && kind != LEASE_DIRECTORY) ||
        flags > FLAG_EPHEMERAL) {
        return false;
    }
    c->kind = (enum lease_kind)kind;
    c->ephemeral = flags == FLAG_EPHEMERAL;
    c->handle = read_u64(r);
    c->if_instance = read_u64(r);
    if (c->kind == LEASE_FILE) {
        c->content = read_bytes(r);
    }
    return true;
}

static bool decode_close(struct reader *r, struct lease_command *c)
{
    c->path = read_bytes(r);
    c->handle = read_u64(r);
    c->if_instance = read_u64(r);
    return c->if_instance != LEASE_ANY;
}

static bool decode_set_acl(struct reader *r, struct lease_command *c)
{
    c->path = read_bytes(r);
    const unsigned named = read_u8(r);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        if ((named & 1u << right) != 0) {
            c->acl[right] = read_bytes(r);
        }
    }
    read_conditions(r, c);
    return named < 1u << LEASE_RIGHTS;
}

static bool decode_arguments(struct reader *r, uint8_t type, struct lease_command *c)
{
    c->type = (enum lease_command_type)type;
    switch (c->type) {
    case LEASE_CMD_PUT:
        c->path = read_bytes(r);
        c->kind = LEASE_FILE;
        c->content = read_bytes(r);
        read_conditions(r, c);
        return true;
    case LEASE_CMD_CREATE:
        return decode_create(r, c);
    case LEASE_CMD_DELETE:
        c->path = read_bytes(r);
        read_conditions(r, c);
        return true;
    case LEASE_CMD_SESSION_OPEN:
        return decode_session_open(r, c);
    case LEASE_CMD_SESSION_CLOSE:
        return true;
    case LEASE_CMD_SESSION_EXPIRE:
        c->subject = read_u64(r);
        c->epoch = read_u64(r);
        return true;
    case LEASE_CMD_ACQUIRE:
        return decode_acquire(r, c);
    case LEASE_CMD_RELEASE:
        c->path = read_bytes(r);
        c->handle = read_u64(r);
        c->token = read_u64(r);
        return true;
    case LEASE_CMD_CANCEL:
        c->subject_request = read_u64(r);
        return true;
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_DELAY_OVER:
        c->subject = read_u64(r);
        c->subject_request = read_u64(r);
        c->epoch = read_u64(r);
        return true;
    case LEASE_CMD_OPEN:
        return decode_open(r, c);
    case LEASE_CMD_CLOSE:
        return decode_close(r, c);
    case LEASE_CMD_STRETCH:
        c->lease_ms = read_u32(r);
        c->epoch = read_u64(r);
        return true;
    case LEASE_CMD_SET_ACL:
        return decode_set_acl(r, c);
    }
    return false; /* Not one of ours. */
}

bool lease_command_decode(struct reader *r, struct lease_command *ret_command)
{
    struct reader body = reader_over(read_bytes(r));
    if (r->failed || read_u8(&body) != LEASE_COMMAND_VERSION) {
        return false;
    }
    const uint8_t type = read_u8(&body);
    struct lease_command c = {.if_generation = LEASE_ANY, .if_instance = LEASE_ANY};
    c.session = read_u64(&body);
    if (c.session != 0 && (of_nobody(type) || !decode_request(&body, &c))) {
        return false;
    }
    const size_t principal_size = read_u8(&body);
    if (principal_size > LEASE_PRINCIPAL_MAX) {
        return false;
    }
    c.principal = bytes_of(read_raw(&body, principal_size), principal_size);

    if (!decode_arguments(&body, type, &c) || !read_done(&body)) {
        return false;
    }
    *ret_command = c;
    return true;
}
