/* SPDX-License-Identifier: Apache-2.0
 *
 * config_listeners.c -- where clients come in, and who they are then.
 *
 * The first port is said by fields of the file itself; further ones have the same fields
 * in objects of their own.
 */
#include "lockd/config_internal.h"

#include <string.h>

/* Reads an entry with the readers of the fields of the same names, whose targets lie in
 * the first listener. */
static bool read_listener(const struct source *source, const json_t *object,
                          struct config_listener *ret_listener)
{
    struct config whole = {0};
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, name, value)
    {
        const bool known = strcmp(name, "listen") == 0 || strcmp(name, "advertise") == 0 ||
                           strcmp(name, "principal") == 0;
        if (!known) {
            return config_refuse(source, NULL, "listeners",
                                 "\"%s\" in \"listeners\" is no field of a port; it has "
                                 "\"listen\", \"principal\" and \"advertise\"",
                                 name);
        }
        if (!config_field(name)->read(config_field(name), value, &whole)) {
            return config_refuse(source, NULL, "listeners",
                                 "\"%s\" in \"listeners\" must be %s", name,
                                 config_field(name)->expected);
        }
    }
    *ret_listener = whole.listeners[0];
    if (ret_listener->listen[0] == '\0' || ret_listener->principal[0] == '\0') {
        return config_refuse(source, NULL, "listeners",
                             "each of \"listeners\" must have \"listen\" and \"principal\"");
    }
    return true;
}

bool config_read_listeners(const struct source *source, const json_t *list,
                           struct config *config)
{
    size_t at = 0;
    json_t *object = NULL;
    if (json_array_size(list) > CONFIG_LISTENERS_MAX - 1) {
        return config_refuse(source, NULL, "listeners", "\"listeners\" must be %s",
                             config_field("listeners")->expected);
    }
    json_array_foreach((json_t *)list, at, object)
    {
        if (!json_is_object(object)) {
            return config_refuse(source, NULL, "listeners", "\"listeners\" must be %s",
                                 config_field("listeners")->expected);
        }
        if (!read_listener(source, object, &config->listeners[config->listeners_count])) {
            return false;
        }
        config->listeners_count++;
    }
    return true;
}

bool config_place_socket(struct config *config)
{
    static const char name[] = "/lockd.sock";
    const size_t size = strlen(config->data_dir);
    if (size + sizeof name > CONFIG_SOCKET_MAX) {
        return false;
    }
    memcpy(config->local_socket, config->data_dir, size);
    memcpy(config->local_socket + size, name, sizeof name);
    return true;
}

static bool check_twins(const struct source *source, const struct config_listener *one,
                        const struct config_listener *two)
{
    if (strcmp(one->principal, two->principal) == 0) {
        return config_refuse(
            source, NULL, "listeners",
            "two ports have the \"principal\" \"%s\": clients that are sent to "
            "another replica could not tell theirs; see \"listeners\"",
            one->principal);
    }
    if (one->advertise[0] != '\0' && strcmp(one->advertise, two->advertise) == 0) {
        return config_refuse(source, NULL, "listeners",
                             "two ports \"advertise\" %s: clients that are sent there would be "
                             "taken for another principal; see \"listeners\"",
                             one->advertise);
    }
    return true;
}

bool config_check_listeners(const struct source *source, const struct config *config)
{
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (config->peers_count > 1 && listener->advertise[0] == '\0' &&
            address_is_wildcard(listener->listen)) {
            return config_refuse(
                source, NULL, i == 0 ? "listen" : "listeners",
                "\"listen\" is every interface (%s), so \"advertise\" must say where "
                "clients find this replica",
                listener->listen);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (!check_twins(source, &config->listeners[j], listener)) {
                return false;
            }
        }
    }
    return true;
}
