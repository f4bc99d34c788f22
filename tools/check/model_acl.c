/* SPDX-License-Identifier: Apache-2.0
 *
 * Rights of the model: each question reads the file anew.
 */
#include "tools/check/model.h"

#include <string.h>

/* ------------------------------------------------------------------- lists */

static struct bytes text(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* Without the blanks at its ends. */
static struct bytes trimmed(struct bytes line)
{
    static const char blanks[] = " \t\r";
    while (line.size > 0 && memchr(blanks, line.data[0], sizeof blanks - 1) != NULL) {
        line = bytes_of(line.data + 1, line.size - 1);
    }
    while (line.size > 0 &&
           memchr(blanks, line.data[line.size - 1], sizeof blanks - 1) != NULL) {
        line.size--;
    }
    return line;
}

static bool is_listed(struct bytes content, struct bytes principal)
{
    size_t from = 0;
    size_t comment = SIZE_MAX; /* Where it begins in this line. */
    for (size_t i = 0; i <= content.size; i++) {
        if (i < content.size && content.data[i] == '#' && comment == SIZE_MAX) {
            comment = i;
        }
        if (i < content.size && content.data[i] != '\n') {
            continue;
        }
        const size_t end = comment < i ? comment : i;
        const struct bytes line = trimmed(bytes_of(content.data + from, end - from));
        if (line.size > 0 && (bytes_equal(line, text("*")) || bytes_equal(line, principal))) {
            return true;
        }
        from = i + 1;
        comment = SIZE_MAX;
    }
    return false;
}

/* "acl/NAME"; one that is too long is cut, and nothing has it. */
static struct bytes path_of(struct bytes acl, uint8_t path[LEASE_PATH_MAX])
{
    struct writer w = writer_over(path, LEASE_PATH_MAX);
    write_raw(&w, "acl/", 4);
    write_raw(&w, acl.data, acl.size);
    return bytes_of(path, w.size);
}

static const struct model_node *file_of(const struct model *m, struct bytes acl)
{
    uint8_t path[LEASE_PATH_MAX];
    const struct model_node *node = model_find(m, path_of(acl, path));
    return node != NULL && node->kind == LEASE_FILE ? node : NULL;
}

bool model_lists(const struct model *m, struct bytes acl, struct bytes principal)
{
    if (acl.size == 0 || bytes_equal(principal, text(LEASE_ROOT))) {
        return true;
    }
    const struct model_node *file = file_of(m, acl);
    return file != NULL && is_listed(file->content, principal);
}

bool model_lists_since(const struct model *m, struct bytes acl, uint64_t revision)
{
    uint8_t room[LEASE_PATH_MAX];
    const struct bytes path = path_of(acl, room);
    const struct model_node *node = model_find(m, path);
    if (node != NULL) {
        return node->revision <= revision;
    }
    for (uint32_t i = m->events_count; i > 0 && m->events[i - 1].event.revision > revision;
         i--) {
        if (bytes_equal(m->events[i - 1].event.path, path)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ judging */

static struct bytes above(struct bytes path)
{
    while (path.size > 0 && path.data[path.size - 1] != '/') {
        path.size--;
    }
    path.size -= path.size > 0;
    return path;
}

bool model_may(const struct model *m, struct bytes path, struct bytes principal,
               enum lease_right right)
{
    const struct model_node *node = model_find(m, path);
    while (node == NULL) { /* The nearest directory above it. */
        path = above(path);
        node = model_find(m, path);
        node = node != NULL && node->kind == LEASE_DIRECTORY ? node : NULL;
    }
    return model_lists(m, node->acl[right], principal);
}

bool model_may_command(const struct model *m, const struct lease_command *c)
{
    const struct model_node *node = model_find(m, c->path);
    switch (c->type) {
    case LEASE_CMD_PUT:
    case LEASE_CMD_CREATE:
    case LEASE_CMD_DELETE:
    case LEASE_CMD_ACQUIRE:
        return model_may(m, c->path, c->principal, LEASE_WRITE);
    case LEASE_CMD_OPEN:
        return model_may(m, c->path, c->principal,
                         (node == NULL ? c->kind != 0 : node->ephemeral) ? LEASE_WRITE
                                                                         : LEASE_READ);
    case LEASE_CMD_SET_ACL:
        return model_may(m, c->path, c->principal, LEASE_CHANGE);
    case LEASE_CMD_SESSION_OPEN:
    case LEASE_CMD_SESSION_CLOSE:
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_RELEASE:
    case LEASE_CMD_CANCEL:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_CLOSE:
    case LEASE_CMD_DELAY_OVER:
    case LEASE_CMD_STRETCH:
        break;
    }
    return true;
}

/* ----------------------------------------------------------------- changing */

/* Is it the name of a list, or that of anyone? */
static bool is_acl(const struct model *m, struct bytes name)
{
    return name.size == 0 ||
           (name.size <= LEASE_ACL_NAME_MAX && memchr(name.data, '/', name.size) == NULL &&
            file_of(m, name) != NULL);
}

static enum lease_rc check_names(const struct model *m, const struct lease_command *c,
                                 const struct model_node *node)
{
    if (node == NULL) {
        return model_check_way(m, c->path) == LEASE_NOT_A_DIRECTORY ? LEASE_NOT_A_DIRECTORY
                                                                    : LEASE_NO_NODE;
    }
    if (c->if_instance != LEASE_ANY && c->if_instance != node->instance) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->if_generation != LEASE_ANY && c->if_generation != node->acl_generation) {
        return LEASE_CONFLICT;
    }
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        if (!is_acl(m, c->acl[right])) {
            return LEASE_NO_ACL;
        }
    }
    return LEASE_OK;
}

enum lease_rc model_set_acl(struct model_step *step)
{
    const struct lease_command *c = step->command;
    struct model_node *node = model_find(step->m, c->path);
    const enum lease_rc rc = check_names(step->m, c, node);
    bool changes = false;
    for (int right = 0; rc == LEASE_OK && right < LEASE_RIGHTS; right++) {
        const bool given = c->acl[right].data != NULL;
        changes |= given && !bytes_equal(c->acl[right], node->acl[right]);
        node->acl[right] = given ? c->acl[right] : node->acl[right];
    }
    if (changes) {
        node->acl_generation++;
        node->revision = step->revision;
        node->modified_wall_ms = step->wall_ms;
        model_happened(step, node, &(struct lease_event){.change = LEASE_ACL_CHANGED});
    }
    return rc;
}
