/* The configuration as a whole: what depends on the machine, what concerns several keys, and the form in
 * which shards get the policies. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "archive_place.h"
#include "config.h"
#include "events.h"
#include "liveness.h"
#include "log_format.h"
#include "resp.h"
#include "segment_pool.h"

enum {
    FILES_BESIDES = 512, /* Open files that are no connections of clients. */
    CONNECTIONS_STANDARD = 50000,
    SEGMENTS_PER_SHARD_MIN = 3, /* One is written, one compacted, and as much for the checkpoint. */
    SESSIONS_PER_SHARD_MIN = 4, /* Of the largest: what is written takes its place twice. */
};
#define MEMORY_PER_SHARD_MIN (UINT64_C(8) << 20)

/* What checks of several keys found: a line for each. */
struct findings {
    const char *file;
    char *message;
    size_t message_size, message_used;
    int rc;
};

/* `line`: of the file; 0: none, the value is a default or the command line's. Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) static int found(struct findings *findings, uint32_t line,
                                                       const char *format, ...)
{
    char place[CONFIG_MESSAGE_BYTES] = "", text[CONFIG_MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (line != 0) {
        snprintf(place, sizeof place, "%s:%" PRIu32 ": ", findings->file, line);
    }
    const size_t left = findings->message_size - findings->message_used;
    char *to = findings->message + findings->message_used;
    int size = snprintf(to, left, "%s%s%s", findings->message_used > 0 ? "\n" : "", place, text);
    if (size > 0 && (size_t)size < left) {
        findings->message_used += (size_t)size;
    } else if (findings->message_used > 0) {
        *to = '\0'; /* As many as there is room for. */
    } else {
        findings->message_used = findings->message_size - 1;
    }
    findings->rc = -EINVAL;
    return -EINVAL;
}

/* In numbers, also for who looks at what is in force. */
static int find_weight(struct config *config, struct findings *findings)
{
    const char *text = config->node_weight;
    uint64_t by_memory = config->memory_limit * 100 >> 30;

    if (text[0] == '\0') {
        by_memory = by_memory > 0 ? by_memory : 1;
        config->weight =
            by_memory < NODE_WEIGHT_MAX ? (uint32_t)by_memory : (uint32_t)NODE_WEIGHT_MAX;
        snprintf(config->node_weight, sizeof config->node_weight, "%u", config->weight);
    } else if (!address_number(text, text + strlen(text), NODE_WEIGHT_MAX, &config->weight)) {
        return found(findings, config->lines[CONFIG_KEY_node_weight],
                     "node.weight = %s: a number from 0 to %d", text, NODE_WEIGHT_MAX);
    }
    return 0;
}

static int check_ports(const struct config *config, struct findings *findings)
{
    static const uint32_t keys[] = {CONFIG_KEY_listen_port, CONFIG_KEY_listen_cluster_port,
                                    CONFIG_KEY_listen_peer_port, CONFIG_KEY_listen_http_port};
    const uint64_t ports[] = {config->listen_port, config->listen_cluster_port,
                              config->listen_peer_port, config->listen_http_port};

    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < i; j++) {
            if (ports[i] != 0 && ports[i] == ports[j]) {
                uint32_t a = config->lines[keys[i]], b = config->lines[keys[j]];
                return found(findings, a > b ? a : b, "listen.%s and listen.%s are both %" PRIu64,
                             config_key(keys[j])->name, config_key(keys[i])->name, ports[i]);
            }
        }
    }
    return 0;
}

void config_liveness(const struct config *config, struct liveness_settings *settings)
{
    *settings = (struct liveness_settings)LIVENESS_SETTINGS_DEFAULT;
    settings->heartbeat_ms = (uint32_t)config->cluster_heartbeat;
    settings->down_after_ms = (uint32_t)config->cluster_down_after;
    settings->cooldown_ms = (uint32_t)config->cluster_cooldown;
    settings->cooldown_max_ms = (uint32_t)config->cluster_cooldown_max;
    settings->probe_members = (uint32_t)config->cluster_probes;
    settings->panic_percent = (uint32_t)config->cluster_panic;
}

static int check_cluster(const struct config *config, struct findings *findings)
{
    struct liveness_settings settings;
    char after[CONFIG_VALUE_BYTES], beat[CONFIG_VALUE_BYTES];

    if (config->cluster_down_after < 3 * config->cluster_heartbeat) {
        uint32_t a = config->lines[CONFIG_KEY_cluster_heartbeat],
                 b = config->lines[CONFIG_KEY_cluster_down_after];
        config_value_print(config_key(CONFIG_KEY_cluster_down_after), &config->cluster_down_after,
                           after);
        config_value_print(config_key(CONFIG_KEY_cluster_heartbeat), &config->cluster_heartbeat,
                           beat);
        return found(
            findings, a > b ? a : b,
            "cluster.down_after is %.30s: at least three times cluster.heartbeat (%.30s) is "
            "needed, so that one lost message is not taken for a dead node",
            after, beat);
    }
    if (config->cluster_cooldown > config->cluster_cooldown_max) {
        uint32_t a = config->lines[CONFIG_KEY_cluster_cooldown],
                 b = config->lines[CONFIG_KEY_cluster_cooldown_max];
        return found(findings, a > b ? a : b,
                     "cluster.cooldown is longer than cluster.cooldown_max");
    }
    config_liveness(config, &settings);
    int rc = liveness_settings_check(&settings);
    assert(rc == 0); /* The table's bounds are those of the settings. */
    return 0;
}

static int check_events(const struct config *config, struct findings *findings)
{
    uint32_t events;

    if (events_parse(bytes_of_string(config->resp_notify_keyspace_events), &events) == 0) {
        return 0;
    }
    return found(findings, config->lines[CONFIG_KEY_resp_notify_keyspace_events],
                 "resp.notify_keyspace_events: %s", EVENTS_BAD);
}

static int check_users(const struct config *config, struct findings *findings)
{
    struct user *user = malloc(sizeof *user);
    char cause[CONFIG_MESSAGE_BYTES];
    int rc = 0;

    assert(user != NULL);
    for (uint32_t i = 0; i < config->user_count; i++) {
        memset(user, 0, sizeof *user);
        if (config_user(&config->users[i], user, cause, sizeof cause) != 0) {
            rc = found(findings, config->users[i].line, "%s", cause);
        }
    }
    free(user);
    if (config->user_count == 0 && config->listen_insecure == 0 &&
        !config_is_loopback(config->listen_address)) {
        return found(findings, config->lines[CONFIG_KEY_listen_address],
                     "listen.address is %.64s, and there are no users: whoever reaches it could "
                     "read and end every session. Add a [user \"NAME\"] section, or set "
                     "listen.insecure = yes",
                     config->listen_address);
    }
    return rc;
}

static int check_slowlog(const struct config *config, struct findings *findings)
{
    int64_t us;

    if (resp_integer(bytes_of_string(config->resp_slowlog_log_slower_than), &us) && us >= -1) {
        return 0;
    }
    return found(findings, config->lines[CONFIG_KEY_resp_slowlog_log_slower_than],
                 "resp.slowlog_log_slower_than: '%s' is not valid: microseconds, or -1",
                 config->resp_slowlog_log_slower_than);
}

static int check_without_archive(const struct config *config, struct findings *findings)
{
    int rc = 0;

    for (uint32_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        if (policy->ack == ACK_ARCHIVE - ACK_MEMORY) { /* The choices are in the order of levels. */
            rc = found(findings, policy->line,
                       "policy \"%s\": ack is archive, and archive.url is not set: each such "
                       "write would be refused",
                       policy->prefix);
        }
    }
    return rc;
}

static int check_archive(const struct config *config, struct findings *findings)
{
    char cause[300];
    int rc = 0;

    if (config->archive_url[0] == '\0') {
        return check_without_archive(config, findings);
    }
    if (archive_place_check(config->archive_url, cause, sizeof cause) != 0) {
        return found(findings, config->lines[CONFIG_KEY_archive_url], "archive.url: %s", cause);
    }
    for (uint32_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        if (policy->archive != 0) { /* `off`. */
            rc = found(findings, policy->line,
                       "policy \"%s\": archive is off, and archive.url is set: all sessions are "
                       "archived then, to leave some out comes later",
                       policy->prefix);
        }
    }
    return rc;
}

/* As it would stand in the file. */
static const char *size_text(uint64_t bytes, char text[CONFIG_VALUE_BYTES])
{
    config_value_print(config_key(CONFIG_KEY_limits_frame), &bytes, text);
    return text;
}

static int check_sizes(const struct config *config, struct findings *findings)
{
    char session[CONFIG_VALUE_BYTES], frame[CONFIG_VALUE_BYTES], wanted[CONFIG_VALUE_BYTES];
    int rc = 0;

    for (uint32_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        if (policy->session_max_bytes + CONFIG_FRAME_OVERHEAD > config->limits_frame) {
            rc = found(findings, policy->line,
                       "policy \"%s\": session_max_bytes is %.30s, and limits.frame with %.30s "
                       "leaves no room for such a session: raise it to at least %.30s",
                       policy->prefix, size_text(policy->session_max_bytes, session),
                       size_text(config->limits_frame, frame),
                       size_text(policy->session_max_bytes + CONFIG_FRAME_OVERHEAD, wanted));
        }
    }
    return rc;
}

/* With less, a shard could not go on writing while its log is compacted. */
static int check_disk_limit(const struct config *config, struct findings *findings)
{
    uint64_t least = SEGMENTS_PER_SHARD_MIN * config->node_shards * config->storage_segment_size;
    char limit[CONFIG_VALUE_BYTES], wanted[CONFIG_VALUE_BYTES], segment[CONFIG_VALUE_BYTES];

    if (config->storage_disk_limit == 0 || config->storage_disk_limit >= least) {
        return 0;
    }
    return found(findings, config->lines[CONFIG_KEY_storage_disk_limit],
                 "storage.disk_limit is %.30s, and the shards (node.shards is %" PRIu64
                 ") need at least %.30s: %d files of the log for each, of %.30s",
                 size_text(config->storage_disk_limit, limit), config->node_shards,
                 size_text(least, wanted), SEGMENTS_PER_SHARD_MIN,
                 size_text(config->storage_segment_size, segment));
}

uint64_t config_largest_session(const struct config *config)
{
    struct config_policy standard;
    uint64_t most;

    config_policy_init(&standard);
    most = standard.session_max_bytes;
    for (uint32_t i = 0; i < config->policy_count; i++) {
        uint64_t bytes = config->policies[i].session_max_bytes;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* With less, a shard has no room for its index and a few of the largest sessions. */
static uint64_t memory_per_shard(const struct config *config)
{
    uint64_t most = SESSIONS_PER_SHARD_MIN * config_largest_session(config);

    return most > MEMORY_PER_SHARD_MIN ? most : MEMORY_PER_SHARD_MIN;
}

static int check_memory_limit(const struct config *config, struct findings *findings)
{
    uint64_t each = memory_per_shard(config), least = config->node_shards * each;
    char limit[CONFIG_VALUE_BYTES], wanted[CONFIG_VALUE_BYTES], part[CONFIG_VALUE_BYTES];

    if (config->memory_limit >= least) {
        return 0;
    }
    return found(findings, config->lines[CONFIG_KEY_memory_limit],
                 "memory.limit is %.30s, and the shards (node.shards is %" PRIu64
                 ") need at least %.30s: %.30s for each",
                 size_text(config->memory_limit, limit), config->node_shards,
                 size_text(least, wanted), size_text(each, part));
}

/* One for each core, as far as there is memory for them. */
static uint64_t shards_for(const struct config *config, uint32_t cores)
{
    uint64_t most = config->memory_limit / memory_per_shard(config);

    most = most < 255 ? most : 255;
    return most == 0 ? 1 : most < cores ? most : cores;
}

/* Whole blocks, and room for the largest session. */
static uint64_t segment_size_for(const struct config *config)
{
    uint64_t least = segments_size_for(config_largest_session(config));
    uint64_t wanted = config->storage_segment_size / LOG_BLOCK_BYTES * LOG_BLOCK_BYTES;
    return wanted > least ? wanted : least;
}

static uint64_t connections_for(uint64_t open_files)
{
    uint64_t most = open_files > 2 * FILES_BESIDES ? open_files - FILES_BESIDES : FILES_BESIDES;

    return most < CONNECTIONS_STANDARD ? most : CONNECTIONS_STANDARD;
}

static bool is_every_address(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

int config_finish(struct config *config, const struct config_machine *machine, char *message,
                  size_t message_size)
{
    static int (*const checks[])(const struct config *, struct findings *) = {
        check_ports,  check_sizes, check_disk_limit, check_memory_limit, check_cluster,
        check_events, check_users, check_slowlog,    check_archive,
    };
    struct findings findings = {
        .file = config->file, .message = message, .message_size = message_size};

    if (config->node_name[0] == '\0') {
        snprintf(config->node_name, sizeof config->node_name, "%s", machine->host_name);
    }
    if (config->listen_announce[0] == '\0') {
        snprintf(config->listen_announce, sizeof config->listen_announce, "%s",
                 is_every_address(config->listen_address) ? machine->host_name
                                                          : config->listen_address);
    }
    if (config->memory_limit == 0) {
        config->memory_limit = machine->memory_bytes / 4 * 3;
    }
    if (config->node_shards == 0) {
        config->node_shards = shards_for(config, machine->cores);
    }
    if (config->limits_connections == 0) {
        config->limits_connections = connections_for(machine->open_files);
    }
    config->storage_segment_size = segment_size_for(config);
    find_weight(config, &findings);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        checks[i](config, &findings);
    }
    return findings.rc;
}
