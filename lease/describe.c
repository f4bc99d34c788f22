/* SPDX-License-Identifier: Apache-2.0
 *
 * describe.c -- commands and rows as text, for traces and lockdump.  Correctness
 * depends on none of it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lease/lock.h"

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

static void append_instance(struct line *line, const struct lease_command *c)
{
    if (c->if_instance != LEASE_ANY) {
        append(line, " if instance %" PRIu64, c->if_instance);
    }
}

static void append_conditions(struct line *line, const struct lease_command *c)
{
    if (c->if_generation != LEASE_ANY) {
        append(line, " if generation %" PRIu64, c->if_generation);
    }
    append_instance(line, c);
}

static const char *kind_text(unsigned kind)
{
    return kind == LEASE_FILE ? "file" : kind == LEASE_DIRECTORY ? "directory" : "unknown";
}

static const char *mode_text(unsigned mode)
{
    return mode == LEASE_EXCLUSIVE ? "exclusive" : mode == LEASE_SHARED ? "shared" : "unknown";
}

static void describe_acquire(struct line *line, const struct lease_command *c)
{
    append(line, "acquire %s ", mode_text(c->mode));
    append_quoted(line, c->path);
    append(line, " handle %" PRIu64, c->handle);
    if (c->wait && c->wait_ms != 0) {
        append(line, " wait %" PRIu32 " ms", c->wait_ms);
    } else {
        append(line, c->wait ? " wait" : " try");
    }
    append(line, c->create ? " create" : "");
    if (c->delay_ms != 0) {
        append(line, " lock-delay %" PRIu32 " ms", c->delay_ms);
    }
    append_instance(line, c);
}

static void describe_open(struct line *line, const struct lease_command *c)
{
    append(line, c->type == LEASE_CMD_OPEN ? "open " : "close ");
    append_quoted(line, c->path);
    append(line, " handle %" PRIu64, c->handle);
    if (c->kind != 0) {
        append(line, " or make %s%s", c->ephemeral ? "ephemeral " : "", kind_text(c->kind));
    }
    if (c->kind == LEASE_FILE) {
        append(line, " %zu octets", c->content.size);
    }
    append_instance(line, c);
}

static void describe_of_node(struct line *line, const struct lease_command *c)
{
    if (c->type == LEASE_CMD_CREATE) {
        append(line, "create %s ", kind_text(c->kind));
    } else {
        append(line, c->type == LEASE_CMD_PUT ? "put " : "delete ");
    }
    append_quoted(line, c->path);
    if (c->type == LEASE_CMD_PUT || (c->type == LEASE_CMD_CREATE && c->kind == LEASE_FILE)) {
        append(line, " %zu octets", c->content.size);
    }
    append_conditions(line, c);
}

static const char *right_text(int right)
{
    return right == LEASE_READ ? "read" : right == LEASE_WRITE ? "write" : "change";
}

static void describe_set_acl(struct line *line, const struct lease_command *c)
{
    append(line, "set acl ");
    append_quoted(line, c->path);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        if (c->acl[right].data != NULL) {
            append(line, " %s ", right_text(right));
            append_quoted(line, c->acl[right]);
        }
    }
    append_conditions(line, c);
}

static void describe_arguments(struct line *line, const struct lease_command *c)
{
    switch (c->type) {
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
        describe_of_node(line, c);
        break;
    case LEASE_CMD_SESSION_OPEN:
        append(line, "open session %016" PRIx64 " lease %" PRIu32 " ms label ", c->subject,
               c->lease_ms);
        append_quoted(line, c->label);
        append(line, c->cache ? " cache" : "");
        break;
    case LEASE_CMD_SESSION_CLOSE:
        append(line, "close");
        break;
    case LEASE_CMD_SESSION_EXPIRE:
        append(line, "expire session %016" PRIx64 " epoch %" PRIu64, c->subject, c->epoch);
        break;
    case LEASE_CMD_ACQUIRE:
        describe_acquire(line, c);
        break;
    case LEASE_CMD_RELEASE:
        append(line, "release ");
        append_quoted(line, c->path);
        append(line, " handle %" PRIu64 " token %" PRIu64, c->handle, c->token);
        break;
    case LEASE_CMD_CANCEL:
        append(line, "cancel %" PRIu64, c->subject_request);
        break;
    case LEASE_CMD_TIMEOUT:
        append(line, "time out %" PRIu64 " of session %016" PRIx64 " epoch %" PRIu64,
               c->subject_request, c->subject, c->epoch);
        break;
    case LEASE_CMD_OPEN:
    case LEASE_CMD_CLOSE:
        describe_open(line, c);
        break;
    case LEASE_CMD_DELAY_OVER:
        append(line, "end lock-delay of claim %" PRIu64 " on %" PRIu64 " epoch %" PRIu64,
               c->subject_request, c->subject, c->epoch);
        break;
    case LEASE_CMD_STRETCH:
        append(line, "stretch leases to %" PRIu32 " ms epoch %" PRIu64, c->lease_ms, c->epoch);
        break;
    case LEASE_CMD_SET_ACL:
        describe_set_acl(line, c);
        break;
    }
}

const char *lease_command_describe(const struct lease_command *command, char *text, size_t size)
{
    struct line line = line_over(text, size);
    describe_arguments(&line, command);
    if (command->session != 0) {
        append(&line, " session %016" PRIx64 " request %" PRIu64 " acks %" PRIu64,
               command->session, command->request, command->ack_floor);
        for (uint32_t i = 0; i < command->acks_count; i++) {
            append(&line, ",%" PRIu64 "-%" PRIu64, command->acks[i].first,
                   command->acks[i].last);
        }
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
    const uint64_t claims = read_u64(r);
    const uint64_t openers = read_u64(r);
    const uint32_t stretch_ms = read_u32(r);
    append(line,
           "counters revision %" PRIu64 " instances %" PRIu64 " epoch %" PRIu64
           " claims %" PRIu64 " openers %" PRIu64,
           revision, instances, epoch, claims, openers);
    if (stretch_ms != 0) {
        append(line, " leases stretched to %" PRIu32 " ms", stretch_ms);
    }
}

static struct bytes read_short(struct reader *r)
{
    const size_t size = read_u8(r);
    const uint8_t *data = read_raw(r, size);
    return bytes_of(data, data == NULL ? 0 : size);
}

static void describe_node(struct line *line, uint64_t instance, struct reader *r)
{
    const uint64_t parent = read_u64(r);
    const struct bytes name = read_short(r);
    const uint8_t kind = read_u8(r);
    const bool ephemeral = read_u8(r) != 0;
    const uint64_t generation = read_u64(r);
    read_u64(r); /* Lock generation: told when there is something to tell. */
    const uint64_t acl_generation = read_u64(r);
    const uint64_t revision = read_u64(r);
    const uint64_t wall_ms = read_u64(r);

    append(line, "%s%s %" PRIu64 " in %" PRIu64 " ", ephemeral ? "ephemeral " : "",
           kind_text(kind), instance, parent);
    append_quoted(line, name);
    append(line, " revision %" PRIu64 " wall %" PRIu64, revision, wall_ms);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        const struct bytes acl = read_short(r);
        if (acl.size > 0) {
            append(line, " %s ", right_text(right));
            append_quoted(line, acl);
        }
    }
    if (acl_generation != 0) {
        append(line, " acl generation %" PRIu64, acl_generation);
    }
    const uint64_t checksum = read_u64(r);
    const struct bytes content = read_bytes(r);
    if (kind == LEASE_FILE) {
        append(line, " generation %" PRIu64 " checksum %016" PRIx64 " %zu octets", generation,
               checksum, content.size);
    }
}

static void describe_session(struct line *line, uint64_t id, struct reader *r)
{
    const uint32_t lease_ms = read_u32(r);
    const bool cache = read_u8(r) != 0;
    const uint64_t opened_wall_ms = read_u64(r);
    read_raw(r, 8 + 8); /* What would help nobody: the hash of the secret. */
    append(line, "session %016" PRIx64 " lease %" PRIu32 " ms wall %" PRIu64 " acks %" PRIu64,
           id, lease_ms, opened_wall_ms, read_u64(r));
    for (uint64_t ranges = read_uint(r, 2); ranges > 0 && !r->failed; ranges--) {
        const uint64_t first = read_u64(r);
        append(line, ",%" PRIu64 "-%" PRIu64, first, read_u64(r));
    }
    append(line, " label ");
    append_quoted(line, read_short(r));
    append(line, " principal ");
    append_quoted(line, read_short(r));
    append(line, cache ? " cache" : "");
}

static void describe_claim(struct line *line, struct record_key key, struct reader *r)
{
    const uint64_t session = read_u64(r);
    const uint64_t handle = read_u64(r);
    const uint64_t request = read_u64(r);
    const uint8_t mode = read_u8(r);
    const uint8_t state = read_u8(r);
    const uint64_t token = read_u64(r);
    const uint64_t since_wall_ms = read_u64(r);
    const uint32_t wait_ms = read_u32(r);
    const uint32_t delay_ms = read_u32(r);
    const struct bytes label = read_short(r);
    const bool waits = state == CLAIM_WAITS;

    append(line, "claim %" PRIu64 " on %" PRIu64 " %s %s session %016" PRIx64, key.sub, key.id,
           waits ? "waits" : (state == CLAIM_HELD ? "held" : "delayed"), mode_text(mode),
           session);
    append(line, " handle %" PRIu64 " request %" PRIu64 " since wall %" PRIu64, handle, request,
           since_wall_ms);
    if (!waits) {
        append(line, " token %" PRIu64, token);
    } else if (wait_ms != 0) {
        append(line, " for %" PRIu32 " ms", wait_ms);
    }
    if (delay_ms != 0) {
        append(line, " lock-delay %" PRIu32 " ms", delay_ms);
    }
    if (label.size > 0) {
        append(line, " label ");
        append_quoted(line, label);
    }
}

static void describe_result(struct line *line, struct record_key key, struct reader *r)
{
    const uint8_t rc = read_u8(r);
    const uint8_t flags = read_u8(r);
    const uint64_t slot = read_u64(r);
    const uint32_t position = read_u32(r);
    const uint64_t revision = read_u64(r);
    const uint64_t token = read_u64(r);
    if ((flags & 2) != 0) {
        read_raw(r, 1 + 10 * 8 + 1); /* The node has a row of its own. */
    }
    append(line,
           "outcome of %" PRIu64 " of session %016" PRIx64 " at %" PRIu64 ".%" PRIu32
           " revision %" PRIu64,
           key.sub, key.id, slot, position, revision);
    if (token != 0) {
        append(line, " token %" PRIu64, token);
    }
    append(line, ": %s", lease_rc_text((enum lease_rc)rc));
}

static void describe_opener(struct line *line, struct record_key key, struct reader *r)
{
    const uint64_t session = read_u64(r);
    append(line, "opener %" PRIu64 " of %" PRIu64 " session %016" PRIx64 " handle %" PRIu64,
           key.sub, key.id, session, read_u64(r));
}

static void describe_history(struct line *line, struct record_key key, struct reader *r)
{
    const uint64_t checksum = read_u64(r);
    const struct bytes events = read_bytes(r);
    append(line, "history from revision %" PRIu64 ".%" PRIu64 " checksum %016" PRIx64, key.id,
           key.sub, checksum);
    append(line, " %zu octets", events.size);
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
        if (key.sub != 0) {
            append(&line, " %" PRIu64, key.sub);
        }
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
    case RECORD_SESSION:
        describe_session(&line, key.id, &r);
        break;
    case RECORD_CLAIM:
        describe_claim(&line, key, &r);
        break;
    case RECORD_RESULT:
        describe_result(&line, key, &r);
        break;
    case RECORD_OPENER:
        describe_opener(&line, key, &r);
        break;
    case RECORD_HISTORY:
        describe_history(&line, key, &r);
        break;
    }
    if (!read_done(&r)) {
        append(&line, " (malformed)");
    }
    return text;
}
