/* The RESP door's commands about the server. */
#include "resp_local.h"

#include <assert.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "events.h"
#include "glob.h"
#include "plane_private.h"
#include "run.h"
#include "shard_thread.h"

/* Those that CONFIG SET can change, and their values now. */
enum setting { SETTING_EVENTS, SETTING_SLOWER_THAN, SETTING_SLOWLOG_LEN, SETTINGS_CHANGED };

static const char *const setting_names[] = {
    [SETTING_EVENTS] = "notify-keyspace-events",
    [SETTING_SLOWER_THAN] = "slowlog-log-slower-than",
    [SETTING_SLOWLOG_LEN] = "slowlog-max-len",
};

enum { SETTING_BYTES = 32 };

static void print_settings(struct plane *plane, char values[SETTINGS_CHANGED][SETTING_BYTES])
{
    int64_t slower_than = atomic_load(&plane->slowlog.slower_than_us);

    static_assert((int)EVENTS_TEXT_BYTES <= (int)SETTING_BYTES, "room for them");
    events_print(pubsub_events(&plane->pubsub), values[SETTING_EVENTS]);
    snprintf(values[SETTING_SLOWER_THAN], SETTING_BYTES, "%lld", (long long)slower_than);
    snprintf(values[SETTING_SLOWLOG_LEN], SETTING_BYTES, "%u", slowlog_count_max(&plane->slowlog));
}

static int config_get(struct local *local)
{
    static const struct {
        const char *name, *value;
    } fixed[] = {
        {"appendonly", "yes"},
        {"databases", "16"},
        {"maxmemory-policy", "noeviction"},
        {"replica-read-only", "yes"},
        {"save", ""},
        {"slave-read-only", "yes"},
        {"timeout", "0"},
    };
    enum { FIXED = sizeof fixed / sizeof fixed[0], SETTINGS = FIXED + SETTINGS_CHANGED };
    char changed[SETTINGS_CHANGED][SETTING_BYTES];
    const char *names[SETTINGS], *values[SETTINGS];
    bool wanted[SETTINGS] = {false};
    uint32_t count = 0;

    print_settings(local->thread->plane, changed);
    for (size_t i = 0; i < SETTINGS; i++) {
        names[i] = i < FIXED ? fixed[i].name : setting_names[i - FIXED];
        values[i] = i < FIXED ? fixed[i].value : changed[i - FIXED];
    }
    while (local->rest.count > 0) {
        struct bytes pattern = local_next(local);
        for (size_t i = 0; i < SETTINGS; i++) {
            wanted[i] = wanted[i] || run_is(pattern, names[i]) ||
                        glob_matches(pattern, bytes_of_string(names[i]));
        }
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        count += wanted[i];
    }
    int rc = resp_map(local->out, count);
    for (size_t i = 0; rc == 0 && i < SETTINGS; i++) {
        if (wanted[i]) {
            rc = resp_text(local->out, names[i]);
            rc = rc != 0 ? rc : resp_text(local->out, values[i]);
        }
    }
    return rc;
}

static int config_error(const struct local *local, struct bytes name, const char *cause)
{
    char text[192];

    snprintf(text, sizeof text, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
             (int)name.size, (const char *)name.data, cause);
    return resp_error(local->out, text);
}

/* Which one it is; SETTINGS_CHANGED: none that can be changed. */
static enum setting find_setting(struct bytes name)
{
    enum setting setting = 0;

    while (setting < SETTINGS_CHANGED && !run_is(name, setting_names[setting])) {
        setting++;
    }
    return setting;
}

/* The values that are asked for; those of the others stay as they were. */
struct settings {
    uint32_t events;
    int64_t slower_than_us, slowlog_len;
};

/* Returns NULL, or what is wrong with the value. */
static const char *read_setting(enum setting setting, struct bytes value, struct settings *settings)
{
    int64_t number = 0;

    if (setting == SETTING_EVENTS) {
        return events_parse(value, &settings->events) != 0 ? EVENTS_BAD : NULL;
    }
    if (!resp_integer(value, &number)) {
        return "argument couldn't be parsed into an integer";
    }
    if (setting == SETTING_SLOWER_THAN) {
        settings->slower_than_us = number;
        return number < -1 ? "argument must be between -1 and 9223372036854775807 inclusive" : NULL;
    }
    static_assert(SLOWLOG_LEN_MAX == 100000, "said here");
    settings->slowlog_len = number;
    return number < 0 || number > SLOWLOG_LEN_MAX
               ? "argument must be between 0 and 100000 inclusive"
               : NULL;
}

/* All of them or none, as Redis: first the names are looked at, then the values. */
static int config_set(struct local *local)
{
    struct plane *plane = local->thread->plane;
    struct settings settings = {
        .events = pubsub_events(&plane->pubsub),
        .slower_than_us = atomic_load(&plane->slowlog.slower_than_us),
        .slowlog_len = slowlog_count_max(&plane->slowlog),
    };
    struct resp_arguments pairs = local->rest;
    bool found[SETTINGS_CHANGED] = {false};
    struct bytes name, value;

    if (local->rest.count % 2 != 0) {
        return resp_error(local->out, run_syntax);
    }
    while (resp_next(&pairs, &name) && resp_next(&pairs, &value)) {
        enum setting setting = find_setting(name);
        if (setting == SETTINGS_CHANGED) {
            char text[160];
            snprintf(text, sizeof text,
                     "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
            return resp_error(local->out, text);
        }
        if (found[setting]) {
            return config_error(local, name, "duplicate parameter");
        }
        found[setting] = true;
    }
    while (local->rest.count > 0) {
        enum setting setting = find_setting(local_next(local));
        const char *cause = read_setting(setting, local_next(local), &settings);
        if (cause != NULL) {
            return config_error(local, bytes_of_string(setting_names[setting]), cause);
        }
    }
    if (found[SETTING_EVENTS]) {
        pubsub_set_events(&plane->pubsub, settings.events);
    }
    if (found[SETTING_SLOWER_THAN] || found[SETTING_SLOWLOG_LEN]) {
        slowlog_set(&plane->slowlog, settings.slower_than_us, (uint32_t)settings.slowlog_len);
    }
    return local_ok(local);
}

int local_config(struct local *local)
{
    struct bytes sub = local_next(local);

    if (run_is(sub, "get")) {
        return local->rest.count == 0 ? local_arity_error(local, "get") : config_get(local);
    }
    if (run_is(sub, "set")) {
        return local->rest.count < 2 ? local_arity_error(local, "set") : config_set(local);
    }
    return local_unknown_sub(local, sub);
}

static size_t info_server(const struct local *local, char *to, size_t room)
{
    const struct plane *plane = local->thread->plane;
    struct utsname system = {0};

    (void)uname(&system);
    return (size_t)snprintf(
        to, room,
        "# Server\r\nredis_version:%s\r\nserver_name:belay\r\nredis_mode:%s\r\n"
        "os:%s %s %s\r\narch_bits:64\r\nmultiplexing_api:io_uring\r\nprocess_id:%ld\r\n"
        "tcp_port:%u\r\nio_threads_active:%d\r\n",
        REDIS_VERSION, local->connection->redirects ? "cluster" : "standalone", system.sysname,
        system.release, system.machine, (long)getpid(), plane_port(plane),
        plane->options.shard_count > 1);
}

static size_t info_clients(const struct local *local, char *to, size_t room)
{
    const struct plane *plane = local->thread->plane;
    uint32_t connections = 0;

    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        connections += atomic_load(&plane->threads[i].connection_count);
    }
    return (size_t)snprintf(to, room, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\n",
                            connections, plane->options.limits.connections);
}

static size_t info_persistence(const struct local *local, char *to, size_t room)
{
    const struct plane *plane = local->thread->plane;
    bool loads = false;

    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        loads = loads || atomic_load(&plane->threads[i].loads);
    }
    /* `loading` would say that no command is served. */
    return (size_t)snprintf(
        to, room, "# Persistence\r\nloading:0\r\nasync_loading:%d\r\naof_enabled:1\r\n", loads);
}

static size_t info_replication(const struct local *local, char *to, size_t room)
{
    (void)local;
    return (size_t)snprintf(to, room, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static size_t info_cluster(const struct local *local, char *to, size_t room)
{
    return (size_t)snprintf(to, room, "# Cluster\r\ncluster_enabled:%d\r\n",
                            local->connection->redirects);
}

int local_info(struct local *local)
{
    static const struct {
        const char *name;
        size_t (*put)(const struct local *local, char *to, size_t room);
    } sections[] = {
        {"server", info_server},           {"clients", info_clients},
        {"persistence", info_persistence}, {"replication", info_replication},
        {"cluster", info_cluster},
    };
    enum { SECTIONS = sizeof sections / sizeof sections[0] };
    bool wanted[SECTIONS] = {false};
    char text[2048];
    size_t size = 0;

    bool all = local->rest.count == 0;
    while (local->rest.count > 0) {
        struct bytes word = local_next(local);
        all = all || run_is(word, "all") || run_is(word, "default") || run_is(word, "everything");
        for (size_t i = 0; i < SECTIONS; i++) {
            wanted[i] = wanted[i] || run_is(word, sections[i].name);
        }
    }
    for (size_t i = 0; i < SECTIONS; i++) {
        if (all || wanted[i]) {
            if (size > 0) {
                size += (size_t)snprintf(text + size, sizeof text - size, "\r\n");
            }
            size += sections[i].put(local, text + size, sizeof text - size);
        }
    }
    return resp_verbatim(local->out, bytes_of(text, size));
}

int local_role(const struct local *local)
{
    int rc = resp_array(local->out, 3);

    rc = rc != 0 ? rc : resp_text(local->out, "master");
    rc = rc != 0 ? rc : resp_number(local->out, 0);
    return rc != 0 ? rc : resp_array(local->out, 0);
}
