/* The configuration as a whole: what depends on the machine, what concerns several keys, and the form in
 * which shards get the policies. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

enum {
    FRAME_OVERHEAD = 64 * 1024, /* A head, and the change list around the values. */
    FILES_BESIDES = 512,        /* Open files that are no connections of clients. */
    CONNECTIONS_STANDARD = 50000,
};

static int check_ports(const struct config *config, char *message, size_t message_size)
{
    const uint64_t ports[] = {config->listen_port, config->listen_cluster_port,
                              config->listen_peer_port, config->listen_http_port};
    static const char *const names[] = {"port", "cluster_port", "peer_port", "http_port"};

    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < i; j++) {
            if (ports[i] != 0 && ports[i] == ports[j]) {
                snprintf(message, message_size, "listen.%s and listen.%s are both %" PRIu64,
                         names[j], names[i], ports[i]);
                return -EINVAL;
            }
        }
    }
    return 0;
}

static int check_sizes(const struct config *config, uint32_t *line, char *message,
                       size_t message_size)
{
    for (uint32_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        if (policy->session_max_bytes + FRAME_OVERHEAD > config->limits_frame) {
            snprintf(message, message_size,
                     "policy \"%s\": session_max_bytes is %" PRIu64
                     ", and limits.frame with %" PRIu64
                     " bytes leaves no room for such a session: raise it to at least %" PRIu64,
                     policy->prefix, policy->session_max_bytes, config->limits_frame,
                     policy->session_max_bytes + FRAME_OVERHEAD);
            *line = policy->line;
            return -EINVAL;
        }
    }
    return 0;
}

static uint64_t connections_for(uint64_t open_files)
{
    uint64_t most = open_files > 2 * FILES_BESIDES ? open_files - FILES_BESIDES : FILES_BESIDES;

    return most < CONNECTIONS_STANDARD ? most : CONNECTIONS_STANDARD;
}

int config_finish(struct config *config, const struct config_machine *machine, char *message,
                  size_t message_size)
{
    char cause[CONFIG_MESSAGE_BYTES];

    if (config->node_name[0] == '\0') {
        snprintf(config->node_name, sizeof config->node_name, "%s", machine->host_name);
    }
    if (config->node_shards == 0) {
        config->node_shards = machine->cores < 255 ? machine->cores : 255;
    }
    if (config->memory_limit == 0) {
        config->memory_limit = machine->memory_bytes / 4 * 3;
    }
    if (config->limits_connections == 0) {
        config->limits_connections = connections_for(machine->open_files);
    }
    if (config->node_weight == 0) {
        config->node_weight = config->memory_limit * 100 >> 30;
        config->node_weight += config->node_weight == 0;
    }
    uint32_t line = 0;
    int rc = check_ports(config, cause, sizeof cause);
    if (rc == 0) {
        rc = check_sizes(config, &line, cause, sizeof cause);
    }
    if (rc != 0 && line != 0) {
        snprintf(message, message_size, "%s:%" PRIu32 ": %s", config->file, line, cause);
    } else if (rc != 0) {
        bool file = config->file[0] != '\0';
        snprintf(message, message_size, "%s%s%s", file ? config->file : "", file ? ": " : "",
                 cause);
    }
    return rc;
}

static void policy_convert(const struct config *config, const struct config_policy *from,
                           struct policy *to)
{
    policy_defaults(to);
    to->prefix_size = (uint32_t)strlen(from->prefix);
    memcpy(to->prefix, from->prefix, to->prefix_size + 1);
    to->ack = (enum ack_level)(ACK_MEMORY + from->ack); /* The choices are in the same order. */
    to->touch_on_read = from->touch_on_read != 0;
    to->conflict_view = (enum conflict_view)from->conflict_view;
    to->rules.idle_ttl_ms = from->idle_ttl;
    to->rules.absolute_ttl_ms = from->absolute_ttl;
    to->rules.session_bytes_max = (uint32_t)from->session_max_bytes;
    to->rules.no_resurrect = from->no_resurrect != 0;
    to->rules.fields_max = (uint32_t)config->limits_fields;
    to->rules.tombstone_keep_ms = config->cluster_tombstone_keep;
}

/* policies_init() gives a missing empty prefix the built-in defaults, which know nothing of the limits
 * set here: so there is always one. */
void config_policies(const struct config *config, struct policies *policies)
{
    struct config_policy standard;
    struct policy *rows = calloc(POLICIES_MAX + 1, sizeof *rows);
    bool have_empty = false;

    assert(rows != NULL);
    for (uint32_t i = 0; i < config->policy_count; i++) {
        policy_convert(config, &config->policies[i], &rows[i]);
        have_empty |= rows[i].prefix_size == 0;
    }
    uint32_t count = config->policy_count;
    if (!have_empty) {
        config_policy_init(&standard);
        policy_convert(config, &standard, &rows[count++]);
    }
    int rc = policies_init(policies, rows, count);
    assert(rc == 0); /* Prefixes differ, and config_finish() has seen their number. */
    free(rows);
}
