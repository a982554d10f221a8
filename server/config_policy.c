/* Policies between their two forms: what a configuration says, and what shards and the map have. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

void config_policy_make(const struct config *config, const struct config_policy *from,
                        struct policy *to)
{
    policy_defaults(to);
    to->prefix_size = (uint32_t)strlen(from->prefix);
    memcpy(to->prefix, from->prefix, to->prefix_size + 1);
    to->ack = (enum ack_level)(ACK_MEMORY + from->ack); /* The choices are in the same order. */
    to->touch_on_read = from->touch_on_read != 0;
    to->conflict_view = (enum conflict_view)from->conflict_view;
    to->on_no_replica = (enum no_replica)from->on_no_replica;
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
        config_policy_make(config, &config->policies[i], &rows[i]);
        have_empty |= rows[i].prefix_size == 0;
    }
    uint32_t count = config->policy_count;
    if (!have_empty) {
        config_policy_init(&standard);
        config_policy_make(config, &standard, &rows[count++]);
    }
    int rc = policies_init(policies, rows, count);
    assert(rc == 0); /* Prefixes differ, and config_finish() has seen their number. */
    free(rows);
}

void config_policy_show(const struct policy *from, struct config_policy *to)
{
    config_policy_init(to);
    memcpy(to->prefix, from->prefix, from->prefix_size);
    to->prefix[from->prefix_size] = '\0';
    to->ack = (uint64_t)(from->ack - ACK_MEMORY);
    to->touch_on_read = from->touch_on_read;
    to->conflict_view = (uint64_t)from->conflict_view;
    to->on_no_replica = (uint64_t)from->on_no_replica;
    to->idle_ttl = from->rules.idle_ttl_ms;
    to->absolute_ttl = from->rules.absolute_ttl_ms;
    to->session_max_bytes = from->rules.session_bytes_max;
    to->no_resurrect = from->rules.no_resurrect;
}

static const struct config_key *key_named(const char *name, size_t size)
{
    const struct config_key *key;

    for (uint32_t i = 0; (key = config_policy_key(i)) != NULL; i++) {
        if (strlen(key->name) == size && memcmp(key->name, name, size) == 0) {
            return key;
        }
    }
    return NULL;
}

static int set_one(struct config_policy *policy, const char *line, size_t size, char *message,
                   size_t message_size)
{
    char value[CONFIG_VALUE_BYTES];
    const char *equals = memchr(line, '=', size);
    size_t name_size = equals == NULL ? size : (size_t)(equals - line);
    const struct config_key *key = key_named(line, name_size);

    if (key == NULL || equals == NULL || size - name_size > sizeof value) {
        snprintf(message, message_size, "a policy has no key %.*s; belayd.conf(5) lists them",
                 (int)name_size, line);
        return -EINVAL;
    }
    memcpy(value, equals + 1, size - name_size - 1);
    value[size - name_size - 1] = '\0';
    return config_value_parse(key, value, (char *)policy + key->offset, message, message_size);
}

/* The policy of exactly this prefix, as it is or as a new one is. */
static void begin(const struct policies *policies, const char *prefix, struct config_policy *to)
{
    config_policy_init(to);
    for (uint32_t i = 0; i < policies->count; i++) {
        if (strcmp(policies->rows[i].prefix, prefix) == 0) {
            config_policy_show(&policies->rows[i], to);
        }
    }
    snprintf(to->prefix, sizeof to->prefix, "%s", prefix);
}

int config_policy_change(const struct config *config, const struct policies *policies,
                         const char *text, struct policy *policy, char *message,
                         size_t message_size)
{
    struct config_policy changed;
    const char *prefix = strstr(text, "\n\n");

    if (prefix == NULL || strlen(prefix + 2) > POLICY_PREFIX_BYTES_MAX) {
        snprintf(message, message_size, "a prefix has at most %d bytes", POLICY_PREFIX_BYTES_MAX);
        return -EINVAL;
    }
    begin(policies, prefix + 2, &changed);
    while (text <= prefix) {
        size_t size = strcspn(text, "\n");
        int rc = set_one(&changed, text, size, message, message_size);
        if (rc != 0) {
            return rc;
        }
        text += size + 1;
    }
    if (changed.session_max_bytes + CONFIG_FRAME_OVERHEAD > config->limits_frame) {
        snprintf(message, message_size,
                 "session_max_bytes: limits.frame leaves no room for such a session");
        return -EINVAL;
    }
    config_policy_make(config, &changed, policy);
    return 0;
}
