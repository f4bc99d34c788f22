/* SPDX-License-Identifier: Apache-2.0
 *
 * command.c -- commands as log bytes, and back.
 *
 * There is one encoding of a command and no other: what decodes, encodes to the
 * same octets again.  Decoding looks at the form only.  Whether a path is valid
 * or a content too large is decided where the command applies, the same on all
 * replicas: a bad name must be a refusal, never an entry that stops the cell.
 *
 *     PUT     path | content | u64 if_generation | u64 if_instance
 *     CREATE  path | u8 kind | content, of a file only
 *     DELETE  path | u64 if_generation | u64 if_instance
 *
 * Path and content are four octets of length and the bytes.
 */
#include "lease/command.h"

#include "paxos/base/pure.h"

enum {
    LENGTH_SIZE = 4,
    FIXED_SIZE = LEASE_COMMAND_HEAD + 1 + 1 + 8 + 8 + 1, /* Before the principal's octets. */
};

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
    }
    assert(/* a type of ours */ false);
    return 0;
}

size_t lease_command_size(const struct lease_command *command)
{
    return FIXED_SIZE + command->principal.size + arguments_size(command);
}

static void write_conditions(const struct lease_command *c, struct writer *w)
{
    write_u64(w, c->if_generation);
    write_u64(w, c->if_instance);
}

static void read_conditions(struct reader *r, struct lease_command *c)
{
    c->if_generation = read_u64(r);
    c->if_instance = read_u64(r);
}

void lease_command_encode(const struct lease_command *command, struct writer *w)
{
    const size_t size = lease_command_size(command) - LEASE_COMMAND_HEAD;
    assert(size <= UINT32_MAX);
    assert(command->principal.size <= LEASE_PRINCIPAL_MAX);

    write_u32(w, (uint32_t)size);
    write_u8(w, LEASE_COMMAND_VERSION);
    write_u8(w, (uint8_t)command->type);
    write_u64(w, command->session);
    write_u64(w, command->request);
    write_u8(w, (uint8_t)command->principal.size);
    write_raw(w, command->principal.data, command->principal.size);

    write_bytes(w, command->path);
    switch (command->type) {
    case LEASE_CMD_PUT:
        write_bytes(w, command->content);
        write_conditions(command, w);
        break;
    case LEASE_CMD_CREATE:
        assert(command->kind == LEASE_FILE || command->kind == LEASE_DIRECTORY);
        write_u8(w, (uint8_t)command->kind);
        if (command->kind == LEASE_FILE) {
            write_bytes(w, command->content);
        }
        break;
    case LEASE_CMD_DELETE:
        write_conditions(command, w);
        break;
    }
}

static bool decode_arguments(struct reader *r, uint8_t type, struct lease_command *c)
{
    c->path = read_bytes(r);
    switch (type) {
    case LEASE_CMD_PUT:
        c->type = LEASE_CMD_PUT;
        c->kind = LEASE_FILE;
        c->content = read_bytes(r);
        read_conditions(r, c);
        return true;
    case LEASE_CMD_CREATE: {
        c->type = LEASE_CMD_CREATE;
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
    case LEASE_CMD_DELETE:
        c->type = LEASE_CMD_DELETE;
        read_conditions(r, c);
        return true;
    default:
        return false;
    }
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
    c.request = read_u64(&body);
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
