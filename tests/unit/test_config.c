#include <stdio.h>

#include "check.h"

#include "config.h"
#include "config_print.h"

static struct config config;
static char message[CONFIG_MESSAGE_BYTES];

static const struct config_machine machine = {
    .host_name = "host1",
    .cores = 4,
    .memory_bytes = UINT64_C(8) << 30,
    .open_files = 20000,
};

static int read_lines(const char *lines)
{
    config_init(&config);
    message[0] = '\0';
    return config_read_text(&config, "a.conf", text(lines), message, sizeof message);
}

/* The text is refused, and the message begins with this. */
#define assert_refused(lines, start)                                                               \
    do {                                                                                           \
        assert_int_equal(read_lines(lines), -EINVAL);                                              \
        if (strncmp(message, start, strlen(start)) != 0) {                                         \
            fail_msg("message is: %s", message);                                                   \
        }                                                                                          \
    } while (0)

static void test_defaults(void **state)
{
    (void)state;
    config_init(&config);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_string_equal(config.node_name, "host1");
    assert_int_equal(config.node_shards, 4);
    assert_int_equal(config.memory_limit, UINT64_C(6) << 30);
    assert_int_equal(config.weight, 600);
    assert_string_equal(config.node_weight, "600");
    assert_int_equal(config.limits_connections, 20000 - 512);
    assert_string_equal(config.listen_address, "127.0.0.1");
    assert_int_equal(config.listen_port, 7400);
    assert_int_equal(config.storage_log_interval, 10);
    assert_int_equal(config.cluster_tombstone_keep, 3600000);
    assert_int_equal(config.cluster_replicas, 2);
    assert_string_equal(config.listen_announce, "127.0.0.1");
    struct liveness_settings liveness, standard = LIVENESS_SETTINGS_DEFAULT;
    config_liveness(&config, &liveness);
    assert_memory_equal(&liveness, &standard, sizeof liveness);
}

static void test_values(void **state)
{
    (void)state;
    assert_int_equal(read_lines("\xEF\xBB\xBF[node]\r\n"
                                "  name = tree ; a comment\n"
                                "\n# another\n"
                                "[storage]\n"
                                "\tlog_interval=5s\n"
                                "disk_limit = 64KiB\n"
                                "[node]\n"
                                "shards: 3"),
                     0);
    assert_string_equal(config.node_name, "tree");
    assert_int_equal(config.storage_log_interval, 5000);
    assert_int_equal(config.storage_disk_limit, 65536);
    assert_int_equal(config.node_shards, 3);
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint64_t value;
    } good[] = {
        {"tombstone_keep = 1500ms", 1500},  {"tombstone_keep = 90s", 90000},
        {"tombstone_keep = 30m", 1800000},  {"tombstone_keep = 2h", 7200000},
        {"tombstone_keep = 7d", 604800000},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char lines[100];
        snprintf(lines, sizeof lines, "[cluster]\n%s\n", good[i].line);
        assert_int_equal(read_lines(lines), 0);
        assert_int_equal(config.cluster_tombstone_keep, good[i].value);
    }
    assert_int_equal(read_lines("[memory]\nlimit=3GiB\n"), 0);
    assert_int_equal(config.memory_limit, UINT64_C(3) << 30);
    assert_int_equal(read_lines("[memory]\nlimit=12345\n"), 0);
    assert_int_equal(config.memory_limit, 12345);
    assert_int_equal(read_lines("[memory]\nlimit=0\n"), 0);
    assert_refused("[cluster]\ntombstone_keep = 10\n", "a.conf:2: cluster.tombstone_keep: '10' is");
    assert_refused("[cluster]\ntombstone_keep = 1 h\n", "a.conf:2:");
    assert_refused("[memory]\nlimit=1GB\n", "a.conf:2: memory.limit: '1GB' is not valid: size");
    assert_refused("[memory]\nlimit=-1\n", "a.conf:2:");
    assert_refused("[memory]\nlimit=99999999999999999999\n", "a.conf:2:");
    assert_refused("[memory]\nlimit=18446744073709551615TiB\n", "a.conf:2:");
    assert_refused("[memory]\nlimit=\n", "a.conf:2:");
}

static void test_policies(void **state)
{
    static struct policies policies;

    (void)state;
    assert_int_equal(read_lines("[policy \"web:\"]\nidle_ttl = 30m\ntouch_on_read = yes\n"
                                "no_resurrect = yes\nsession_max_bytes = 2MiB\n"
                                "[policy \"\"]\nack = disk\nconflict_view = siblings\n"
                                "on_no_replica = refuse\n"
                                "[policy \"odd]\"];[x\" # a comment\nabsolute_ttl = 4h\n"
                                "[cluster]\ntombstone_keep = 2h\n[limits]\nfields = 10\n"),
                     0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    config_policies(&config, &policies);
    assert_int_equal(policies.count, 3);
    const struct policy *web = policy_of_key(&policies, text("web:1"));
    assert_int_equal(web->rules.idle_ttl_ms, 1800000);
    assert_true(web->touch_on_read);
    assert_true(web->rules.no_resurrect);
    assert_int_equal(web->rules.session_bytes_max, 2 << 20);
    assert_int_equal(web->ack, ACK_REPLICA); /* Not that of the empty prefix. */
    assert_int_equal(web->rules.tombstone_keep_ms, 7200000);
    assert_int_equal(web->rules.fields_max, 10);
    const struct policy *rest = policy_of_key(&policies, text("other"));
    assert_int_equal(rest->ack, ACK_DISK);
    assert_int_equal(rest->conflict_view, CONFLICT_SIBLINGS);
    assert_int_equal(rest->on_no_replica, NO_REPLICA_REFUSE);
    assert_int_equal(web->on_no_replica, NO_REPLICA_DEGRADE);
    assert_int_equal(policy_of_key(&policies, text("odd]1"))->rules.absolute_ttl_ms, 4 * 3600000);
}

/* The two places that know a policy's defaults agree. */
static void test_policy_defaults(void **state)
{
    static struct policies policies;
    struct policy standard;

    (void)state;
    config_init(&config);
    config_policies(&config, &policies);
    policy_defaults(&standard);
    assert_int_equal(policies.count, 1);
    const struct policy *own = &policies.rows[0];
    assert_int_equal(own->prefix_size, 0);
    assert_int_equal(own->ack, standard.ack);
    assert_int_equal(own->touch_on_read, standard.touch_on_read);
    assert_int_equal(own->conflict_view, standard.conflict_view);
    assert_int_equal(own->on_no_replica, standard.on_no_replica);
    assert_int_equal(own->rules.session_bytes_max, standard.rules.session_bytes_max);
    assert_int_equal(own->rules.fields_max, standard.rules.fields_max);
    assert_int_equal(own->rules.idle_ttl_ms, standard.rules.idle_ttl_ms);
    assert_int_equal(own->rules.absolute_ttl_ms, standard.rules.absolute_ttl_ms);
    assert_int_equal(own->rules.tombstone_keep_ms, standard.rules.tombstone_keep_ms);
    assert_int_equal(own->rules.no_resurrect, standard.rules.no_resurrect);
}

/* All mistakes at once, each once, and as many as there is room for. */
static void test_all_mistakes(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[listen]\n"
                                "port = 70000\n"
                                "no assignment\n"
                                "[lisen]\n"
                                "whatever = 1\n"
                                "[node]\n"
                                "name = good\n"
                                "shards = 2 # as many as cores\n"
                                "[log\n"
                                "format = xml\n"),
                     -EINVAL);
    static const char *const starts[] = {
        "a.conf:2: listen.port: '70000'",
        "a.conf:3: the line is neither",
        "a.conf:4: unknown section [lisen]",
        "a.conf:8: node.shards: '2 # as many as cores' is not valid",
        "a.conf:9: a section is [NAME]",
    };
    char *line = message;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        assert_int_equal(strncmp(line, starts[i], strlen(starts[i])), 0);
        char *end = strchr(line, '\n');
        assert_true((end == NULL) == (i + 1 == sizeof starts / sizeof starts[0]));
        if (i == 3) {
            *end = '\0';
            assert_non_null(strstr(line, "; a comment begins a line of its own"));
        }
        line = end == NULL ? NULL : end + 1;
    }

    static char many[100000] = "[listen]\n";
    for (size_t size = strlen(many); size < sizeof many - 10; size += 7) {
        memcpy(many + size, "port=x\n", 8);
    }
    assert_int_equal(read_lines(many), -EINVAL);
    assert_true(strlen(message) > CONFIG_MESSAGE_BYTES / 2);
    assert_true(strlen(message) < CONFIG_MESSAGE_BYTES);
    assert_int_equal(strncmp(message, "a.conf:2: listen.port", 21), 0);
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused("port = 1\n", "a.conf:1: 'port' stands before the first [section]");
    assert_refused("\n[lisen]\nport = 1\n", "a.conf:2: unknown section [lisen]; there are: node");
    assert_refused("[listen]\nprot = 1\n",
                   "a.conf:2: unknown key 'prot' in [listen]; there are: address port");
    assert_refused("[listen]\nport = 1\nport = 2\n",
                   "a.conf:3: 'port' comes twice, first at line 2");
    assert_refused("[listen]\nport = 1\n[node]\n[listen]\nport = 2\n",
                   "a.conf:5: 'port' comes twice");
    assert_refused("[listen]\nport = 65536\n",
                   "a.conf:2: listen.port: '65536' is not valid: number from 0 to 65535");
    assert_refused("[listen]\nport\n", "a.conf:2: the line is neither KEY = VALUE");
    assert_refused("[listen\nport = 1\n", "a.conf:1: a section is [NAME]");
    assert_refused("[listen] x\nport = 1\n", "a.conf:1: a section is [NAME]");
    assert_refused("[listen]\naddress = localhost\n",
                   "a.conf:2: listen.address: 'localhost' is not");
    assert_refused("[listen]\naddress = ::1\nport = 1 1\n", "a.conf:3:");
    assert_refused("[node]\nname = a\x01z\n", "a.conf:2: the line holds bytes");
    assert_refused("[node]\nname = \xC0\xAF\n", "a.conf:2: the line holds bytes");
    assert_refused("[log]\nformat = xml\n",
                   "a.conf:2: log.format: 'xml' is not valid: one of text|json");
    assert_refused("[policy web]\n", "a.conf:1: unknown section");
    assert_refused("[policy]\nack = disk\n", "a.conf:1: unknown section");
    assert_refused("[policy \"a\"]\n[policy \"a\"]\n",
                   "a.conf:2: policy \"a\" comes twice, first at line 1");
    assert_refused("[policy \"a\"]\nack = disk\nack = disk\n", "a.conf:3: 'ack' comes twice");
    assert_refused("[policy \"a\"]\nack = tape\n", "a.conf:2: policy.ack");
    assert_refused("[policy \"a\"]\nmode = strict\n",
                   "a.conf:2: policy.mode: 'strict' is not valid: one of available");
    assert_refused("[policy \"a\"]\narchive = no\n",
                   "a.conf:2: policy.archive: 'no' is not valid: one of on|off");
    assert_refused("[policy \"a\"]\non_no_replica = no\n", "a.conf:2:");
    assert_refused("[policy \"a\"]\nport = 1\n", "a.conf:2: unknown key 'port' in [policy]");
    char line[400];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    assert_refused(line, "a.conf:1: the line is longer");
    assert_int_equal(
        config_read_text(&config, "a.conf", bytes_of("[no\0de]", 7), message, sizeof message),
        -EINVAL);
}

static void test_prefix_limits(void **state)
{
    char lines[200];
    static char many[POLICIES_MAX * 32];
    size_t used = 0;

    (void)state;
    snprintf(lines, sizeof lines, "[policy \"%0128d\"]\n", 1);
    assert_int_equal(read_lines(lines), 0);
    assert_int_equal(strlen(config.policies[0].prefix), POLICY_PREFIX_BYTES_MAX);
    snprintf(lines, sizeof lines, "[policy \"%0129d\"]\n", 1);
    assert_refused(lines, "a.conf:1: the prefix has 129 bytes");
    for (int i = 0; i < POLICIES_MAX; i++) {
        used += (size_t)snprintf(many + used, sizeof many - used, "[policy \"%d\"]\n", i);
    }
    assert_refused(many, "a.conf:256: more than 255 policies");
}

static void test_set(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[listen]\nport = 1\n[policy \"a.b=\"]\nack = disk\n"), 0);
    assert_int_equal(config_set(&config, "listen.port=0", message, sizeof message), 0);
    assert_int_equal(config.listen_port, 0);
    assert_int_equal(config_set(&config, "storage.dir=/tmp/a=b.c", message, sizeof message), 0);
    assert_string_equal(config.storage_dir, "/tmp/a=b.c");
    assert_int_equal(config_set(&config, "policy \"a.b=\".ack=memory", message, sizeof message), 0);
    assert_int_equal(config.policy_count, 1);
    assert_int_equal(config.policies[0].ack, 0);
    assert_int_equal(config_set(&config, "policy \"\".idle_ttl=1h", message, sizeof message), 0);
    assert_int_equal(config.policy_count, 2);
    assert_int_equal(config.policies[1].idle_ttl, 3600000);

    static const char *const bad[] = {
        "",
        "listen",
        "listen.port",
        "=",
        "listen.port=x",
        "port=1",
        "lisen.x=1",
        "listen.prt=1",
        "policy.x=1",
        "policy \"a\"",
        "policy \"a\".x=1",
        "node.name=\x01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(config_set(&config, bad[i], message, sizeof message), -EINVAL);
        assert_int_equal(strncmp(message, "--set ", 6), 0);
    }
}

static void test_several_keys(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[listen]\nport = 7\nhttp_port = 7\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message, ":3: listen.port and listen.http_port are both 7");
    assert_int_equal(config_set(&config, "listen.http_port=7", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message, ":2: listen.port and listen.http_port are both 7");
    assert_int_equal(read_lines("[listen]\nport = 0\nhttp_port = 0\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(read_lines("[node]\n[policy \"a\"]\nsession_max_bytes = 16MiB\n"), 0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_int_equal(strncmp(message, "a.conf:2: policy \"a\"", 20), 0);
    assert_int_equal(config_set(&config, "limits.frame=17MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
}

/* Without an archive `off` says what is so; with one it would not be. */
static void test_archive(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[node]\n[policy \"a\"]\narchive = off\n"), 0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config_set(&config, "archive.url=file:///a", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message,
                        "a.conf:2: policy \"a\": archive is off, and archive.url is set: all "
                        "sessions are archived then, to leave some out comes later");
    assert_int_equal(config_set(&config, "policy \"a\".archive=on", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config_set(&config, "policy \"a\".ack=archive", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(read_lines("[node]\n[policy \"a\"]\nack = archive\n"), 0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message, "a.conf:2: policy \"a\": ack is archive, and archive.url is not "
                                 "set: each such write would be refused");
}

/* What `belayctl policy set` sends, on a policy that there is, and on none. */
static void test_policy_change(void **state)
{
    static struct policies policies;
    struct policy made;

    (void)state;
    assert_int_equal(read_lines("[policy \"web:\"]\nidle_ttl = 30m\nno_resurrect = yes\n"
                                "[limits]\nfields = 100\n[cluster]\ntombstone_keep = 2h\n"),
                     0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    config_policies(&config, &policies);
    const char *wanted = "ack=disk\ntouch_on_read=yes\n\nweb:";
    assert_int_equal(
        config_policy_change(&config, &policies, wanted, &made, message, sizeof message), 0);
    assert_string_equal(made.prefix, "web:");
    assert_int_equal(made.ack, ACK_DISK);
    assert_true(made.touch_on_read && made.rules.no_resurrect);
    assert_int_equal(made.rules.idle_ttl_ms, 1800000);
    assert_int_equal(made.rules.fields_max, 100);
    assert_int_equal(made.rules.tombstone_keep_ms, 7200000);
    wanted = "absolute_ttl=1h\n\nother\n\n:";
    assert_int_equal(
        config_policy_change(&config, &policies, wanted, &made, message, sizeof message), 0);
    assert_string_equal(made.prefix, "other\n\n:");
    assert_int_equal(made.ack, ACK_REPLICA);
    assert_int_equal(made.rules.idle_ttl_ms, 0);
    static const char *const wrong[] = {"ack=all\n\n",
                                        "colour=red\n\n",
                                        "ack\n\n",
                                        "ack=disk\n",
                                        "",
                                        "session_max_bytes=64MiB\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        message[0] = '\0';
        assert_int_equal(
            config_policy_change(&config, &policies, wrong[i], &made, message, sizeof message),
            -EINVAL);
        assert_true(message[0] != '\0');
    }
}

static void test_cluster(void **state)
{
    struct liveness_settings settings;

    (void)state;
    assert_int_equal(read_lines("[cluster]\nheartbeat = 2s\ndown_after = 5s\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, ":3: cluster.down_after is 5s: at least three times "
                                    "cluster.heartbeat (2s)"));
    assert_int_equal(read_lines("[cluster]\nheartbeat = 100ms\ndown_after = 300ms\n"
                                "link_silent = 100ms\ncooldown = 10m\ncooldown_max = 20m\n"
                                "probes = 5\npanic = 30\n"
                                "[listen]\naddress = 0.0.0.0\ninsecure = yes\n"),
                     0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    config_liveness(&config, &settings);
    assert_int_equal(settings.heartbeat_ms, 100);
    assert_int_equal(settings.down_after_ms, 300);
    assert_int_equal(config.cluster_link_silent, 100);
    assert_int_equal(settings.cooldown_ms, 600000);
    assert_int_equal(settings.cooldown_max_ms, 1200000);
    assert_int_equal(settings.probe_members, 5);
    assert_int_equal(settings.panic_percent, 30);
    assert_string_equal(config.listen_announce, "host1"); /* Others do not reach 0.0.0.0. */
    assert_int_equal(read_lines("[listen]\nannounce = b.site\naddress = ::\ninsecure = yes\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_string_equal(config.listen_announce, "b.site");
    assert_refused("[cluster]\nreplicas = 6\n", "a.conf:2: ");
    assert_refused("[cluster]\npanic = 51\n", "a.conf:2: ");
    assert_int_equal(read_lines("[cluster]\ncooldown = 2m\ncooldown_max = 1m\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, ":3: cluster.cooldown is longer than cluster.cooldown_max"));
}

/* Three segments for each shard, whatever they are raised to. */
static void test_disk_limit(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[storage]\n\ndisk_limit = 191MiB\n"), 0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message,
                        "a.conf:3: storage.disk_limit is 191MiB, and the shards (node.shards is 4) "
                        "need at least 192MiB: 3 files of the log for each, of 16MiB");
    assert_int_equal(config_set(&config, "storage.disk_limit=192MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config.storage_segment_size, 16 << 20);
    assert_int_equal(config_set(&config, "storage.segment_size=17MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_int_equal(strncmp(message, "storage.disk_limit is 192MiB,", 29), 0);
    assert_non_null(strstr(message, "at least 204MiB"));
    assert_int_equal(config_set(&config, "node.shards=1", message, sizeof message), 0);
    assert_int_equal(
        config_set(&config, "policy \"a\".session_max_bytes=63MiB", message, sizeof message), 0);
    assert_int_equal(config_set(&config, "limits.frame=64MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config.storage_segment_size, 64 << 20);
    assert_int_equal(config_set(&config, "node.shards=2", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_int_equal(config_set(&config, "storage.disk_limit=0", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
}

/* 8 MiB for each shard, or four of the largest sessions; where nobody says how many shards, as many as there is
 * room for. */
static void test_memory_limit(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[memory]\n\nlimit = 31MiB\n[node]\nshards=4\n"), 0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message,
                        "a.conf:3: memory.limit is 31MiB, and the shards (node.shards is 4) "
                        "need at least 32MiB: 8MiB for each");
    assert_int_equal(config_set(&config, "memory.limit=32MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(
        config_set(&config, "policy \"a\".session_max_bytes=3MiB", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, "at least 48MiB: 12MiB for each"));
    assert_int_equal(read_lines("[memory]\nlimit=31MiB\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config.node_shards, 3);
    assert_int_equal(read_lines("[memory]\nlimit=1\n"), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, "(node.shards is 1) need at least 8MiB"));
}

static void test_events(void **state)
{
    (void)state;
    config_init(&config);
    assert_int_equal(
        config_set(&config, "resp.notify_keyspace_events=Egx", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    assert_int_equal(config_set(&config, "resp.notify_keyspace_events=Q", message, sizeof message),
                     0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_string_equal(message, "resp.notify_keyspace_events: Invalid event class character. "
                                 "Use 'Ag$lshzxeKEtmdn'.");
}

static void test_slowlog(void **state)
{
    static const char *const good[] = {"-1", "0", "10000", "9223372036854775807"};
    static const char *const bad[] = {"-2", "", "x", "1ms", "9223372036854775808"};
    char setting[80];

    (void)state;
    config_init(&config);
    assert_string_equal(config.resp_slowlog_log_slower_than, "10000");
    assert_int_equal(config.resp_slowlog_max_len, 128);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(setting, sizeof setting, "resp.slowlog_log_slower_than=%s", good[i]);
        assert_int_equal(config_set(&config, setting, message, sizeof message), 0);
        assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        config_init(&config);
        snprintf(setting, sizeof setting, "resp.slowlog_log_slower_than=%s", bad[i]);
        assert_true(config_set(&config, setting, message, sizeof message) != 0 ||
                    config_finish(&config, &machine, message, sizeof message) != 0);
        assert_non_null(strstr(message, "resp.slowlog_log_slower_than"));
    }
}

static void test_file(void **state)
{
    (void)state;
    config_init(&config);
    assert_int_equal(config_read_file(&config, "/nonexistent/x", message, sizeof message), -ENOENT);
    assert_string_equal(message, "/nonexistent/x: cannot open it: No such file or directory");
    assert_int_equal(config_read_file(&config, "/", message, sizeof message), -EISDIR);
}

/* What it prints of a value, it reads back as the same. */
static void test_print_parse(void **state)
{
    static const uint64_t numbers[] = {1, 1000, 1024, 1500, 60000, 65536, 86400000, 1 << 20};
    const struct config_key *key;
    uint64_t value;
    char printed[CONFIG_VALUE_BYTES];

    (void)state;
    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++) {
            if (key->kind < CONFIG_NUMBER || key->kind > CONFIG_DURATION ||
                numbers[j] < key->least || numbers[j] > key->most) {
                continue;
            }
            config_value_print(key, &numbers[j], printed);
            assert_int_equal(config_value_parse(key, printed, &value, message, sizeof message), 0);
            assert_int_equal(value, numbers[j]);
        }
    }
}

static char *print_example(void)
{
    char *example = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&example, &size);

    config_print_example(file);
    fclose(file);
    return example;
}

/* The example in the tree is what the table says, and taken literally changes nothing. */
static void test_example(void **state)
{
    static struct config plain;
    char *example = print_example();
    size_t size = strlen(example);
    char *stored = malloc(size + 2);
    FILE *file = fopen(CONFIG_EXAMPLE, "re");

    (void)state;
    assert_non_null(file);
    size_t stored_size = fread(stored, 1, size + 1, file);
    fclose(file);
    stored[stored_size] = '\0';
    assert_string_equal(stored, example); /* Else: build/belayd --print example > that file. */

    for (char *at = example; at != NULL; at = strchr(at + 1, '\n')) {
        char *line = at == example ? at : at + 1;
        if (line[0] == '#' && line[1] != ' ') {
            line[0] = ' ';
        }
    }
    config_init(&plain);
    plain.policy_count = 1;
    config_policy_init(&plain.policies[0]);
    plain.user_count = 1;
    memcpy(plain.users[0].name, "shop", sizeof "shop");
    assert_int_equal(read_lines(example), 0);
    assert_int_equal(config.policy_count, 1);
    config.policies[0].line = 0;
    config.users[0].line = 0;
    memset(config.lines, 0, sizeof config.lines);
    assert_memory_equal(&config, &plain, sizeof config);
    free(stored);
    free(example);
}

#define HASH "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Y"

static void test_users(void **state)
{
    static struct users users;
    uint32_t line = 0;

    (void)state;
    assert_int_equal(read_lines("[user \"shop\"]\npassword = " HASH "\nread = \"a:\"\n"
                                "write=\"web:\" \"cart:\"\n[node]\nname = n\n[user \"ops\"]\n"
                                "password = " HASH "\nadmin = \"\"\n"),
                     0);
    assert_int_equal(config_set(&config, "user \"ops\".read=\"x\"", message, sizeof message), 0);
    assert_int_equal(config_users(&config, &users, &line, message, sizeof message), 0);
    assert_int_equal(users.count, 2);
    assert_string_equal(users.rows[0].name, "shop");
    assert_string_equal(users.rows[0].hashes[0], HASH);
    assert_true(user_may(&users.rows[0], ROLE_WRITE, bytes_of_string("cart:1")));
    assert_false(user_may(&users.rows[0], ROLE_WRITE, bytes_of_string("a:1")));
    assert_true(user_may_all(&users.rows[1], ROLE_ADMIN));
    assert_refused("[user \"\"]\n", "a.conf:1: a user's name has 1 to 64 bytes");
    assert_refused("[user \"a b\"]\n", "a.conf:1: a user's name has 1 to 64 bytes");
    assert_refused("[user \"a\"]\n[user \"a\"]\n",
                   "a.conf:2: user \"a\" comes twice, first at line 1");
    assert_refused("[user \"a\"]\nread = \"a\"\nread = \"b\"\n", "a.conf:3: 'read' comes twice");
    assert_refused("[user \"a\"]\nack = disk\n", "a.conf:2: unknown key 'ack' in [user]");
    char many[(USERS_MAX + 1) * 24];
    size_t used = 0;
    for (int i = 0; i <= USERS_MAX; i++) {
        used += (size_t)snprintf(many + used, sizeof many - used, "[user \"%d\"]\n", i);
    }
    assert_refused(many, "a.conf:33: more than 32 users");
}

/* All of them, a line each. */
static void test_all_that_is_wrong(void **state)
{
    (void)state;
    assert_int_equal(
        read_lines("[node]\nweight = much\n[listen]\nport = 7\nhttp_port = "
                   "7\n[cluster]\ndown_after = 300ms\n"
                   "[policy \"a\"]\nack = archive\n[policy \"b\"]\nack = "
                   "archive\nsession_max_bytes = 16MiB\n"
                   "[policy \"c\"]\nsession_max_bytes = 16MiB\n"
                   "[user \"x\"]\n[user \"y\"]\npassword = secret\n[user \"z\"]\npassword = " HASH
                   "\nread = web:\n"),
        0);
    snprintf(config.file, sizeof config.file, "a.conf");
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    const char *const wanted[] = {
        "a.conf:2: node.weight = much",
        "\na.conf:5: listen.port and listen.http_port are both 7",
        "\na.conf:10: policy \"b\": session_max_bytes is 16MiB",
        "\na.conf:13: policy \"c\": session_max_bytes is 16MiB",
        "\na.conf:7: cluster.down_after is 300ms",
        "\na.conf:15: user \"x\": password is missing",
        "\na.conf:16: user \"y\": password: it is no Argon2id hash",
        "\na.conf:18: user \"z\": read: 'web:' is not valid",
        "\na.conf:8: policy \"a\": ack is archive",
        "\na.conf:10: policy \"b\": ack is archive",
    };
    const char *at = message;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        at = strstr(at, wanted[i]);
        assert_non_null(at);
    }
    assert_null(strchr(at + 1, '\n'));
    char small[100];
    assert_int_equal(config_finish(&config, &machine, small, sizeof small), -EINVAL);
    assert_true(strncmp(small, "a.conf:2: node.weight = much", 28) == 0);
    assert_true(strlen(small) < 60); /* Whole lines only. */
    assert_int_equal(config_finish(&config, &machine, small, 20), -EINVAL);
    assert_string_equal(small,
                        "a.conf:2: node.weig"); /* Of the first as much as there is room for. */
}

/* Where it may listen without users. */
static void test_loopback(void **state)
{
    (void)state;
    assert_true(config_is_loopback("127.0.0.1"));
    assert_true(config_is_loopback("127.255.0.9"));
    assert_true(config_is_loopback("::1"));
    assert_true(config_is_loopback("::ffff:127.0.0.1"));
    assert_false(config_is_loopback("0.0.0.0"));
    assert_false(config_is_loopback("128.0.0.1"));
    assert_false(config_is_loopback("::"));
    assert_false(config_is_loopback("::ffff:10.0.0.1"));
    assert_false(config_is_loopback("fe80::1"));
    config_init(&config);
    assert_int_equal(config_set(&config, "listen.address=10.0.0.1", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, "there are no users"));
    assert_int_equal(config_set(&config, "listen.insecure=on", message, sizeof message), 0);
    assert_true(config.listen_insecure);
    assert_int_equal(config_set(&config, "listen.insecure=off", message, sizeof message), 0);
    assert_false(config.listen_insecure);
    assert_int_equal(config_set(&config, "listen.insecure=On", message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, "one of no|yes (or off|on)"));
    assert_int_equal(config_set(&config, "listen.insecure=yes", message, sizeof message), 0);
    assert_int_equal(config_finish(&config, &machine, message, sizeof message), 0);
}

static void test_json(void **state)
{
    (void)state;
    assert_int_equal(read_lines("[policy \"web:\"]\nidle_ttl = 30m\n[memory]\nlimit=1GiB\n"), 0);
    char *json = config_to_json(&config);
    assert_non_null(json);
    assert_non_null(strstr(json, "\"web:\": {"));
    assert_non_null(strstr(json, "\"idle_ttl\": \"30m\""));
    assert_non_null(strstr(json, "\"limit\": \"1GiB\""));
    assert_non_null(strstr(json, "\"port\": 7400"));
    assert_non_null(strstr(json, "\"touch_on_read\": false"));
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_policy_defaults),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_all_that_is_wrong),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_all_mistakes),
        cmocka_unit_test(test_prefix_limits),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_several_keys),
        cmocka_unit_test(test_archive),
        cmocka_unit_test(test_policy_change),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_disk_limit),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_slowlog),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_print_parse),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
