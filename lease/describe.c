/* SPDX-License-Identifier: Apache-2.0
 *
 * describe.c -- commands and rows as text, for traces and lockdump.  Correctness
 * depends on none of it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lease/internal.h"

#include "paxos/base/pure.h"

/* Octets of a name that are shown; a trace is read by people. */
enum { SHOWN_MAX = 120 };

/* A line that is cut off, not overrun, where the caller's room ends. */
struct line {
    char *text;
    size_t size;
    size_t used;
};

static struct line line_over(char *text, size_t size)
{
    assert(size > 0);
    text[0] = '\0';
    return (struct line){.text = text, .size = size};
}

#define append(line, ...)                                                                      \
    appended(line,                                                                             \
             snprintf((line)->text + (line)->used, (line)->size - (line)->used, __VA_ARGS__))

static void appended(struct line *line, int wanted)
{
    assert(wanted >= 0);
    const size_t left = line->size - line->used;
    line->used += (size_t)wanted < left ? (size_t)wanted : left - 1;
}

/* In quotes, with what could disturb a terminal or a reader as \xNN. */
static void append_quoted(struct line *line, struct bytes bytes)
{
    const size_t shown = bytes.size < SHOWN_MAX ? bytes.size : SHOWN_MAX;
    append(line, "\"");
    for (size_t i = 0; i < shown; i++) {
        const uint8_t octet = bytes.data[i];
        if (octet < 0x20 || octet >= 0x7f || octet == '"' || octet == '\\') {
            append(line, "\\x%02x", octet);
        } else {
            append(line, "%c", octet);
        }
    }
    append(line, shown < bytes.size ? "...\"" : "\"");
}

static void append_conditions(struct line *line, const struct lease_command *c)
{
    if (c->if_generation != LEASE_ANY) {
        append(line, " if generation %" PRIu64, c->if_generation);
    }
    if (c->if_instance != LEASE_ANY) {
        append(line, " if instance %" PRIu64, c->if_instance);
    }
}

static const char *kind_text(unsigned kind)
{
    return kind == LEASE_FILE ? "file" : kind == LEASE_DIRECTORY ? "directory" : "unknown";
}

const char *lease_command_describe(const struct lease_command *command, char *text, size_t size)
{
    struct line line = line_over(text, size);
    switch (command->type) {
    case LEASE_CMD_PUT:
        append(&line, "put ");
        append_quoted(&line, command->path);
        append(&line, " %zu octets", command->content.size);
        append_conditions(&line, command);
        break;
    case LEASE_CMD_CREATE:
        append(&line, "create %s ", kind_text(command->kind));
        append_quoted(&line, command->path);
        if (command->kind == LEASE_FILE) {
            append(&line, " %zu octets", command->content.size);
        }
        break;
    case LEASE_CMD_DELETE:
        append(&line, "delete ");
        append_quoted(&line, command->path);
        append_conditions(&line, command);
        break;
    }
    if (command->session != 0) {
        append(&line, " session %" PRIx64 " request %" PRIu64, command->session,
               command->request);
    }
    return text;
}

const char *lease_rc_text(enum lease_rc rc)
{
    switch (rc) {
#define LEASE_RC_CASE(name, value, text)                                                       \
    case name:                                                                                 \
        return text;
        LEASE_RC_MAP(LEASE_RC_CASE)
#undef LEASE_RC_CASE
    }
    return "unknown";
}

static void describe_counters(struct line *line, struct reader *r)
{
    const uint64_t revision = read_u64(r);
    const uint64_t instances = read_u64(r);
    const uint64_t epoch = read_u64(r);
    append(line, "counters revision %" PRIu64 " instances %" PRIu64 " epoch %" PRIu64, revision,
           instances, epoch);
}

static void describe_node(struct line *line, uint64_t instance, struct reader *r)
{
    const uint64_t parent = read_u64(r);
    const size_t name_size = read_u8(r);
    const uint8_t *name = read_raw(r, name_size);
    const uint8_t kind = read_u8(r);
    const uint64_t generation = read_u64(r);
    read_raw(r, 8 + 8); /* Lock and ACL generation: told when there is something to tell. */
    const uint64_t revision = read_u64(r);
    const uint64_t wall_ms = read_u64(r);
    const uint64_t checksum = read_u64(r);
    const struct bytes content = read_bytes(r);

    append(line, "%s %" PRIu64 " in %" PRIu64 " ", kind_text(kind), instance, parent);
    append_quoted(line, bytes_of(name, name == NULL ? 0 : name_size));
    append(line, " revision %" PRIu64 " wall %" PRIu64, revision, wall_ms);
    if (kind == LEASE_FILE) {
        append(line, " generation %" PRIu64 " checksum %016" PRIx64 " %zu octets", generation,
               checksum, content.size);
    }
}

const char *lease_row_describe(const struct lease_row *row, char *text, size_t size)
{
    struct line line = line_over(text, size);
    struct record_key key;
    if (!record_key_decode(row->key, &key)) {
        append(&line, "unknown key of %zu octets", row->key.size);
        return text;
    }
    if (row->value.data == NULL) {
        append(&line, "delete kind %d id %" PRIu64, (int)key.kind, key.id);
        return text;
    }
    struct reader r = reader_over(row->value);
    const uint8_t version = read_u8(&r);
    if (version != RECORD_VERSION) {
        append(&line, "kind %d id %" PRIu64 " of unknown version %d", (int)key.kind, key.id,
               version);
        return text;
    }
    switch (key.kind) {
    case RECORD_COUNTERS:
        describe_counters(&line, &r);
        break;
    case RECORD_NODE:
        describe_node(&line, key.id, &r);
        break;
    }
    if (!read_done(&r)) {
        append(&line, " (malformed)");
    }
    return text;
}
