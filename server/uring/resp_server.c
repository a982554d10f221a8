/* The RESP door's commands about the server. */
#include "resp_local.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "events.h"
#include "glob.h"
#include "plane_private.h"
#include "run.h"
#include "shard_thread.h"

static int config_get(struct local *local)
{
    static const struct {
        const char *name, *value;
    } settings[] = {
        {"appendonly", "yes"},
        {"databases", "16"},
        {"maxmemory-policy", "noeviction"},
        {"notify-keyspace-events", NULL},
        {"replica-read-only", "yes"},
        {"save", ""},
        {"slave-read-only", "yes"},
        {"timeout", "0"},
    };
    enum { SETTINGS = sizeof settings / sizeof settings[0] };
    bool wanted[SETTINGS] = {false};
    char events[EVENTS_TEXT_BYTES];
    uint32_t count = 0;

    events_print(pubsub_events(&local->thread->plane->pubsub), events);
    while (local->rest.count > 0) {
        struct bytes pattern = local_next(local);
        for (size_t i = 0; i < SETTINGS; i++) {
            wanted[i] = wanted[i] || run_is(pattern, settings[i].name) ||
                        glob_matches(pattern, bytes_of_string(settings[i].name));
        }
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        count += wanted[i];
    }
    int rc = resp_map(local->out, count);
    for (size_t i = 0; rc == 0 && i < SETTINGS; i++) {
        if (wanted[i]) {
            rc = resp_text(local->out, settings[i].name);
            const char *value = settings[i].value;
            rc = rc != 0 ? rc : resp_text(local->out, value != NULL ? value : events);
        }
    }
    return rc;
}

static int config_error(const struct local *local, const char *cause)
{
    char text[192];

    snprintf(text, sizeof text,
             "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - %s",
             cause);
    return resp_error(local->out, text);
}

/* There is one setting that can be changed. */
static int config_set(struct local *local)
{
    uint32_t events;
    bool found = false;

    if (local->rest.count % 2 != 0) {
        return resp_error(local->out, run_syntax);
    }
    while (local->rest.count > 0) {
        struct bytes name = local_next(local), value = local_next(local);
        if (!run_is(name, "notify-keyspace-events")) {
            char text[160];
            snprintf(text, sizeof text,
                     "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
            return resp_error(local->out, text);
        }
        if (found) {
            return config_error(local, "duplicate parameter");
        }
        if (events_parse(value, &events) != 0) {
            return config_error(local, EVENTS_BAD);
        }
        found = true;
    }
    pubsub_set_events(&local->thread->plane->pubsub, events);
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
        "# Server\r\nredis_version:%s\r\nserver_name:belay\r\nredis_mode:standalone\r\n"
        "os:%s %s %s\r\narch_bits:64\r\nmultiplexing_api:io_uring\r\nprocess_id:%ld\r\n"
        "tcp_port:%u\r\nio_threads_active:%u\r\n",
        REDIS_VERSION, system.sysname, system.release, system.machine, (long)getpid(), plane->port,
        plane->options.shard_count);
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
    (void)local; /* What is still to come is waited for by whom it concerns. */
    return (size_t)snprintf(to, room, "# Persistence\r\nloading:0\r\naof_enabled:1\r\n");
}

static size_t info_replication(const struct local *local, char *to, size_t room)
{
    (void)local;
    return (size_t)snprintf(to, room, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static size_t info_cluster(const struct local *local, char *to, size_t room)
{
    (void)local;
    return (size_t)snprintf(to, room, "# Cluster\r\ncluster_enabled:0\r\n");
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
