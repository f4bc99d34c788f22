/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c -- see config.h.
 *
 * One table says of each field how it is read, where it goes, and in words what
 * is expected; the words are both the error message and the documentation.
 */
#include "lockd/config_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ fields */

static void *target_of(const struct field *field, struct config *config)
{
    return (char *)config + field->offset;
}

/* A text without NUL, of low to high octets. */
static const char *text_of(const struct field *field, const json_t *value)
{
    const char *text = json_string_value(value);
    const size_t size = json_string_length(value);
    const bool good =
        text != NULL && strlen(text) == size && size >= field->low && size <= field->high;
    return good ? text : NULL;
}

static bool read_text(const struct field *field, const json_t *value, struct config *config)
{
    const char *text = text_of(field, value);
    if (text == NULL) {
        return false;
    }
    memcpy(target_of(field, config), text, strlen(text) + 1);
    return true;
}

static bool read_cell(const struct field *field, const json_t *value, struct config *config)
{
    const char *text = text_of(field, value);
    if (text == NULL ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(text) ||
        strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
        return false;
    }
    return read_text(field, value, config);
}

static bool read_address(const struct field *field, const json_t *value, struct config *config)
{
    const char *text = text_of(field, value);
    char host[ADDRESS_MAX];
    uint16_t port = 0;
    return text != NULL && address_split(text, host, &port) && read_text(field, value, config);
}

/* An address that others shall dial. */
static bool read_dialled(const struct field *field, const json_t *value, struct config *config)
{
    const char *text = text_of(field, value);
    char host[ADDRESS_MAX];
    uint16_t port = 0;
    return text != NULL && address_split(text, host, &port) && port != 0 &&
           read_text(field, value, config);
}

static bool number_of(const struct field *field, const json_t *value, uint64_t *ret_number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    const uint64_t number = (uint64_t)json_integer_value(value);
    if (number < field->low || number > field->high) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool read_number(const struct field *field, const json_t *value, struct config *config)
{
    uint64_t number = 0;
    if (!number_of(field, value, &number)) {
        return false;
    }
    *(uint32_t *)target_of(field, config) = (uint32_t)number;
    return true;
}

static bool read_id(const struct field *field, const json_t *value, struct config *config)
{
    uint64_t number = 0;
    if (!number_of(field, value, &number)) {
        return false;
    }
    *(paxos_id *)target_of(field, config) = (paxos_id)number;
    return true;
}

static bool read_bool(const struct field *field, const json_t *value, struct config *config)
{
    if (!json_is_boolean(value)) {
        return false;
    }
    *(bool *)target_of(field, config) = json_is_true(value);
    return true;
}

static bool read_jitter(const struct field *field, const json_t *value, struct config *config)
{
    uint64_t low = 0;
    uint64_t high = 0;
    if (json_array_size(value) != 2 || !number_of(field, json_array_get(value, 0), &low) ||
        !number_of(field, json_array_get(value, 1), &high) || low > high) {
        return false;
    }
    config->election_jitter_ms_min = (uint32_t)low;
    config->election_jitter_ms_max = (uint32_t)high;
    return true;
}

static bool read_drift(const struct field *field, const json_t *value, struct config *config)
{
    const double percent = json_number_value(value);
    /* Written so that a NaN is refused too. */
    if (!json_is_number(value) || !(percent >= (double)field->low) ||
        !(percent <= (double)field->high)) {
        return false;
    }
    *(uint32_t *)target_of(field, config) = (uint32_t)(percent * 10000 + 0.5);
    return true;
}

/* Who it is stands in ACLs, a line for each, and in the hello. */
static bool read_principal(const struct field *field, const json_t *value,
                           struct config *config)
{
    const char *text = text_of(field, value);
    if (text == NULL || strcmp(text, LEASE_ROOT) == 0 || strcmp(text, "*") == 0) {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || *c == '#') {
            return false;
        }
    }
    return read_text(field, value, config);
}

static bool is_array(const struct field *field, const json_t *value, struct config *config)
{
    (void)field;
    (void)config;
    return json_is_array(value); /* config_read_listeners() has the rest. */
}

static bool is_object(const struct field *field, const json_t *value, struct config *config)
{
    (void)field;
    (void)config;
    return json_is_object(value); /* read_peers() has the rest. */
}

#define INTO(member) offsetof(struct config, member)

static const struct field fields[] = {
    {"cell", read_cell, INTO(cell), 1, STORE_CELL_MAX - 1,
     "the cell's name: 1 to 63 of a-z 0-9 - _ .", true},
    {"replica", read_id, INTO(replica), 1, UINT16_MAX,
     "this replica's id: a whole number from 1 to 65535", true},
    {"data_dir", read_text, INTO(data_dir), 1, CONFIG_PATH_MAX - 1,
     "the folder of this replica's store: a path of up to 1023 octets", true},
    {"peers", is_object, 0, 0, 0,
     "an object of 1 to 7 members, replica id to peer address: {\"1\": \"host:port\", ...}",
     true},
    {"listen", read_address, INTO(listeners[0].listen), 1, ADDRESS_MAX - 1,
     "where clients connect: \"host:port\"", false},
    {"advertise", read_dialled, INTO(listeners[0].advertise), 1, ADDRESS_MAX - 1,
     "where clients find this replica: \"host:port\", the port not 0", false},
    {"principal", read_principal, INTO(listeners[0].principal), 1, LEASE_PRINCIPAL_MAX,
     "who clients are taken for: 1 to 64 printable characters without blanks and #, neither "
     "\"*\" nor \"root\", which is who comes through the local socket",
     false},
    {"listeners", is_array, 0, 0, 0,
     "a list of up to 7 further ports for clients: "
     "{\"listen\": \"host:port\", \"principal\": ..., \"advertise\": \"host:port\"}",
     false},
    {"local_socket", read_text, INTO(local_socket), 0, CONFIG_SOCKET_MAX - 1,
     "the path of a socket for this machine's administrator, of up to 107 octets, or \"\" for "
     "none",
     false},
    {"listen_peer", read_address, INTO(listen_peer), 1, ADDRESS_MAX - 1,
     "where other replicas connect: \"host:port\"", false},
    {"heartbeat_ms", read_number, INTO(heartbeat_ms), 10, 60000,
     "a whole number from 10 to 60000", false},
    {"master_lease_ms", read_number, INTO(master_lease_ms), 30, 600000,
     "a whole number from 30 to 600000", false},
    {"election_jitter_ms", read_jitter, 0, 1, 60000,
     "[least, most]: two whole numbers from 1 to 60000", false},
    {"clock_drift_percent", read_drift, INTO(clock_drift_ppm), 0, 20, "a number from 0 to 20",
     false},
    {"disk_stall_ms", read_number, INTO(disk_stall_ms), 100, 600000,
     "a whole number from 100 to 600000", false},
    {"lease_reads", read_bool, INTO(lease_reads), 0, 0, "true or false", false},
    {"line_deadline_ms", read_number, INTO(line_deadline_ms), 100, 3600000,
     "a whole number from 100 to 3600000", false},
    {"idle_deadline_ms", read_number, INTO(idle_deadline_ms), 100, 86400000,
     "a whole number from 100 to 86400000", false},
    {"clients_max", read_number, INTO(clients_max), 1, 1000000,
     "a whole number from 1 to 1000000", false},
    {"requests_max", read_number, INTO(requests_max), 1, 65536,
     "a whole number from 1 to 65536", false},
    {"output_max_bytes", read_number, INTO(output_max_bytes), 4096, 1u << 30,
     "a whole number from 4096 to 1073741824", false},
    {"peer_queue_max_bytes", read_number, INTO(peer_queue_max_bytes), 4u << 20, 1u << 30,
     "a whole number from 4194304 to 1073741824", false},
    {"queue_commands_max", read_number, INTO(queue_commands_max), 1, 1u << 24,
     "a whole number from 1 to 16777216", false},
    {"queue_max_bytes", read_number, INTO(queue_max_bytes), 1u << 20, 1u << 30,
     "a whole number from 1048576 to 1073741824", false},
    {"reads_max", read_number, INTO(reads_max), 1, 1u << 24,
     "a whole number from 1 to 16777216", false},
    {"cache_lease_ms", read_number, INTO(cache_lease_ms), 0, 60000,
     "a whole number from 0 to 60000", false},
    {"cached_max", read_number, INTO(cached_max), 0, 1u << 24,
     "a whole number from 0 to 16777216", false},
    {"disk_reserve_mib", read_number, INTO(disk_reserve_mib), 0, 1u << 20,
     "a whole number from 0 to 1048576", false},
};

enum { FIELDS = sizeof fields / sizeof fields[0] };

const struct field *config_field(const char *name)
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

/* DESIGN defaults; the limits are sized for thousands of clients on one host. */
static void set_defaults(struct config *config)
{
    *config = (struct config){
        .listeners = {{.listen = "127.0.0.1:7400", .principal = "local"}},
        .listeners_count = 1,
        .heartbeat_ms = 100,
        .master_lease_ms = 500,
        .election_jitter_ms_min = 50,
        .election_jitter_ms_max = 150,
        .clock_drift_ppm = 10000,
        .disk_stall_ms = 2000,
        .lease_reads = false,
        .line_deadline_ms = 10000,
        .idle_deadline_ms = 60000,
        .clients_max = 20000,
        .requests_max = 64,
        .output_max_bytes = 64u << 20,
        .peer_queue_max_bytes = 64u << 20,
        .queue_commands_max = 65536,
        .queue_max_bytes = 256u << 20,
        .reads_max = 65536,
        .cache_lease_ms = 3000,
        .cached_max = 1000000,
        .disk_reserve_mib = 64,
    };
}

static bool read_fields(const struct source *source, const json_t *root, struct config *config)
{
    const char *name = NULL;
    const json_t *value = NULL;
    for (void *at = json_object_iter((json_t *)root); at != NULL;
         at = json_object_iter_next((json_t *)root, at)) {
        name = json_object_iter_key(at);
        value = json_object_iter_value(at);
        const struct field *field = config_field(name);
        if (field == NULL) {
            return config_refuse(source, NULL, name,
                                 "\"%s\" is no field of the configuration; "
                                 "lockd.conf(5) lists them",
                                 name);
        }
        if (!field->read(field, value, config)) {
            return config_refuse(source, NULL, name, "\"%s\" must be %s", name,
                                 field->expected);
        }
    }
    for (size_t i = 0; i < FIELDS; i++) {
        if (fields[i].required && json_object_get(root, fields[i].name) == NULL) {
            return config_refuse(source, NULL, NULL, "\"%s\" is missing: %s", fields[i].name,
                                 fields[i].expected);
        }
    }
    return true;
}

/* ------------------------------------------------------------------- peers */

static bool parse_id(const char *text, paxos_id *ret_id)
{
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0' || text[0] == '0') {
        return false;
    }
    const unsigned long id = strtoul(text, NULL, 10);
    if (id > UINT16_MAX) {
        return false;
    }
    *ret_id = (paxos_id)id;
    return true;
}

static void insert_peer(struct config *config, paxos_id id, const char *address)
{
    uint32_t at = config->peers_count++;
    assert(at < CONFIG_PEERS_MAX);
    for (; at > 0 && config->peers[at - 1].id > id; at--) {
        config->peers[at] = config->peers[at - 1];
    }
    config->peers[at].id = id;
    memcpy(config->peers[at].address, address, strlen(address) + 1);
}

static bool read_peer(const struct source *source, const char *key, const json_t *value,
                      struct config *config)
{
    paxos_id id = 0;
    if (!parse_id(key, &id)) {
        return config_refuse(source, "peers", key,
                             "\"%s\" in \"peers\" must be a replica id: \"1\" to \"65535\"",
                             key);
    }
    const char *address = json_string_value(value);
    char host[ADDRESS_MAX];
    uint16_t port = 0;
    if (address == NULL || strlen(address) != json_string_length(value) ||
        !address_split(address, host, &port)) {
        return config_refuse(
            source, "peers", key,
            "\"%s\" in \"peers\" must be where that replica listens for its peers: "
            "\"host:port\"",
            key);
    }
    if (port == 0 && id != config->replica) {
        return config_refuse(
            source, "peers", key,
            "\"%s\" in \"peers\" must have a port other than 0: nobody can find "
            "another replica at a port it picks",
            key);
    }
    for (uint32_t i = 0; i < config->peers_count; i++) {
        if (port != 0 && strcmp(config->peers[i].address, address) == 0) {
            return config_refuse(source, "peers", key,
                                 "\"%s\" in \"peers\" has the address of "
                                 "replica %u",
                                 key, config->peers[i].id);
        }
    }
    insert_peer(config, id, address);
    return true;
}

static bool read_peers(const struct source *source, const json_t *peers, struct config *config)
{
    const size_t count = json_object_size(peers);
    if (count < 1 || count > CONFIG_PEERS_MAX) {
        return config_refuse(source, NULL, "peers", "\"peers\" must be %s",
                             config_field("peers")->expected);
    }
    for (void *at = json_object_iter((json_t *)peers); at != NULL;
         at = json_object_iter_next((json_t *)peers, at)) {
        if (!read_peer(source, json_object_iter_key(at), json_object_iter_value(at), config)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < config->peers_count; i++) {
        if (config->peers[i].id == config->replica) {
            if (config->listen_peer[0] == '\0') {
                memcpy(config->listen_peer, config->peers[i].address, ADDRESS_MAX);
            }
            return true;
        }
    }
    return config_refuse(source, NULL, "peers",
                         "\"peers\" must name this replica too: \"%u\" is missing",
                         config->replica);
}

static bool check_relations(const struct source *source, const struct config *config)
{
    if (config->master_lease_ms <= 2 * config->heartbeat_ms) {
        return config_refuse(
            source, NULL, "master_lease_ms",
            "\"master_lease_ms\" (%u) must be more than twice \"heartbeat_ms\" (%u)",
            config->master_lease_ms, config->heartbeat_ms);
    }
    for (uint32_t i = 0; i < config->peers_count; i++) {
        if (config->peers_count > 1 && address_is_wildcard(config->peers[i].address)) {
            return config_refuse(source, NULL, "peers",
                                 "\"peers\" must say where replica %u is found; %s is every "
                                 "interface, which belongs into its \"listen_peer\"",
                                 config->peers[i].id, config->peers[i].address);
        }
    }
    return config_check_listeners(source, config);
}

static bool check_local(const struct source *source, const json_t *given, struct config *config)
{
    return given != NULL || config_place_socket(config) ||
           config_refuse(
               source, NULL, "data_dir",
               "\"data_dir\" is too long for a socket in it, whose path may have %d octets; "
               "say with \"local_socket\" where it shall be",
               CONFIG_SOCKET_MAX - 1);
}

/* ------------------------------------------------------------------- doors */

bool config_parse(const char *path, const char *text, size_t size, struct config *ret_config,
                  char ret_error[CONFIG_ERROR_MAX])
{
    const struct source source = {.path = path, .text = text, .size = size, .error = ret_error};
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s:%d:%d: %s", path, error.line, error.column,
                 error.text);
        return false;
    }
    struct config config;
    set_defaults(&config);
    bool good = json_is_object(root) || config_refuse(&source, NULL, NULL,
                                                      "the configuration must be "
                                                      "one JSON object; see lockd.conf(5)");
    good = good && read_fields(&source, root, &config);
    good = good && read_peers(&source, json_object_get(root, "peers"), &config);
    good = good && config_read_listeners(&source, json_object_get(root, "listeners"), &config);
    good = good && check_local(&source, json_object_get(root, "local_socket"), &config);
    good = good && check_relations(&source, &config);
    json_decref(root);
    if (good) {
        *ret_config = config;
    }
    return good;
}

bool config_read(const char *path, struct config *ret_config, char ret_error[CONFIG_ERROR_MAX])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s: %s", path, strerror(errno));
        return false;
    }
    bool good = false;
    char *text = malloc(CONFIG_FILE_MAX + 1);
    if (text == NULL) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s: out of memory", path);
        goto out;
    }
    const size_t size = fread(text, 1, CONFIG_FILE_MAX + 1, file);
    if (ferror(file)) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s: %s", path, strerror(errno));
    } else if (size > CONFIG_FILE_MAX) {
        snprintf(ret_error, CONFIG_ERROR_MAX,
                 "%s: larger than a configuration may be (%d octets)", path, CONFIG_FILE_MAX);
    } else {
        good = config_parse(path, text, size, ret_config, ret_error);
    }
out:
    free(text);
    fclose(file);
    return good;
}

static bool dev_folder(char ret_path[CONFIG_PATH_MAX], char ret_error[CONFIG_ERROR_MAX])
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int size = 0;
    /* The XDG specification: a relative path is to be ignored. */
    if (state != NULL && state[0] == '/') {
        size = snprintf(ret_path, CONFIG_PATH_MAX, "%s/lockd/dev", state);
    } else if (home != NULL && home[0] == '/') {
        size = snprintf(ret_path, CONFIG_PATH_MAX, "%s/.local/state/lockd/dev", home);
    }
    if (size <= 0 || size >= CONFIG_PATH_MAX) {
        snprintf(ret_error, CONFIG_ERROR_MAX,
                 "neither XDG_STATE_HOME nor HOME names a folder for "
                 "the store; give one with --data-dir");
        return false;
    }
    return true;
}

bool config_dev(const char *listen, const char *data_dir, struct config *ret_config,
                char ret_error[CONFIG_ERROR_MAX])
{
    struct config config;
    set_defaults(&config);
    char host[ADDRESS_MAX];
    uint16_t port = 0;
    if (listen != NULL && !address_split(listen, host, &port)) {
        snprintf(ret_error, CONFIG_ERROR_MAX, "--listen %s: \"host:port\" is expected", listen);
        return false;
    }
    if (data_dir != NULL && (*data_dir == '\0' || strlen(data_dir) >= CONFIG_PATH_MAX)) {
        snprintf(ret_error, CONFIG_ERROR_MAX,
                 "--data-dir: a path of 1 to 1023 octets is expected");
        return false;
    }
    if (data_dir != NULL) {
        memcpy(config.data_dir, data_dir, strlen(data_dir) + 1);
    } else if (!dev_folder(config.data_dir, ret_error)) {
        return false;
    }
    if (listen != NULL) {
        memcpy(config.listeners[0].listen, listen, strlen(listen) + 1);
    }
    if (!config_place_socket(&config)) {
        snprintf(
            ret_error, CONFIG_ERROR_MAX,
            "%.200s: too long a path for a socket in it; give a shorter one with --data-dir",
            config.data_dir);
        return false;
    }
    memcpy(config.cell, "dev", sizeof "dev");
    config.replica = 1;
    insert_peer(&config, config.replica, "127.0.0.1:0");
    memcpy(config.listen_peer, "127.0.0.1:0", sizeof "127.0.0.1:0");
    *ret_config = config;
    return true;
}
