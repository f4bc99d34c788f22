/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c -- lines for people: what happened to the client, as events.
 *
 * Nothing depends on them: without a listener none is made, and where memory is short
 * or nobody takes them they are left out.
 */
#include "libclient/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void log_parts(struct engine *e, enum lockd_severity severity, const char *const *parts)
{
    if (e->config.log == NULL || e->closed || e->logged >= ENGINE_LOG_WAITING) {
        return;
    }
    struct log_line *line = calloc(1, sizeof *line + ENGINE_LOG_MAX);
    if (line == NULL) {
        return;
    }
    size_t size = 0;
    for (; *parts != NULL; parts++) {
        const size_t left = ENGINE_LOG_MAX - 1 - size;
        const size_t part = strlen(*parts) < left ? strlen(*parts) : left;
        memcpy(line->text + size, *parts, part);
        size += part;
    }
    line->severity = severity;
    line->event.kind = EVENT_LOG;
    list_init(&line->event.at);
    event_push(e, &line->event);
    e->logged++;
}

void log_take(struct engine *e, struct log_line *line, struct engine_event *ret_event)
{
    assert(e->logged > 0);
    e->logged--;
    *ret_event = (struct engine_event){
        .logged = e->config.log, .context = e->config.log_context, .severity = line->severity};
    memcpy(ret_event->text, line->text, ENGINE_LOG_MAX);
    free(line);
}
