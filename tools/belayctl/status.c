/* belayctl status: the server's own document (admin command "status"), for people. */
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

enum { TEXT_BYTES = 64 };

/* The number at a path of names ("log", "bytes"); 0 where there is none. */
static uint64_t number_of(const json_t *page, const char *part, const char *name)
{
    return ctl_number(part == NULL ? page : json_object_get(page, part), name);
}

static const char *text_of(const json_t *page, const char *part, const char *name)
{
    return ctl_text(part == NULL ? page : json_object_get(page, part), name);
}

static void print_name(const char *name)
{
    printf("  %-11s", name);
}

enum { CLOCK_OFF_MS = 1000 };

/* Where it is off. */
static void print_clock(const json_t *page)
{
    const int64_t ahead_ms = json_integer_value(json_object_get(page, "clock_ahead_ms"));
    char off[TEXT_BYTES];

    if (ahead_ms >= -CLOCK_OFF_MS && ahead_ms <= CLOCK_OFF_MS) {
        return;
    }
    print_name("clock");
    show_duration((uint64_t)(ahead_ms < 0 ? -ahead_ms : ahead_ms), off, sizeof off);
    if (ahead_ms > 0) {
        printf("%s ahead of the system's, until a start after that time; times of day that "
               "clients give come early\n",
               off);
    } else {
        printf("%s behind the system's, until a restart; times of day that clients give come "
               "late\n",
               off);
    }
}

static void print_node(const json_t *page)
{
    char up[TEXT_BYTES];
    bool ready = json_is_true(json_object_get(page, "ready"));

    printf("%s: %s%s%s\n", text_of(page, NULL, "node"), ready ? "ready" : "not ready",
           ready ? "" : ", ", ready ? "" : text_of(page, NULL, "reason"));
    print_name("server");
    printf("version %s, pid %" PRIu64 ", up %s\n", text_of(page, NULL, "version"),
           number_of(page, NULL, "pid"),
           show_duration(number_of(page, NULL, "uptime_ms"), up, sizeof up));
    print_name("listens");
    printf("%s (native), %s (HTTP)\n", text_of(page, "listen", "native"),
           text_of(page, "listen", "http"));
    print_clock(page);
}

static void print_sessions(const json_t *page)
{
    char count[TEXT_BYTES], records[TEXT_BYTES], memory[TEXT_BYTES], limit[TEXT_BYTES];
    uint64_t limit_bytes = number_of(page, NULL, "memory_limit");

    print_name("sessions");
    printf("%s; %s in records, %s of memory",
           show_count(number_of(page, NULL, "sessions"), count, sizeof count),
           show_size(number_of(page, NULL, "session_bytes"), records, sizeof records),
           show_size(number_of(page, NULL, "session_memory_bytes"), memory, sizeof memory));
    if (limit_bytes != 0) {
        printf(" of %s", show_size(limit_bytes, limit, sizeof limit));
    }
    if (number_of(page, "cold", "sessions") != 0) {
        printf("; %s on the disk only",
               show_count(number_of(page, "cold", "sessions"), count, sizeof count));
    }
    printf("%s\n", json_is_true(json_object_get(page, "loading")) ? "; more are being loaded" : "");
    print_name("");
    printf("%s created", show_count(number_of(page, NULL, "created"), count, sizeof count));
    printf(", %s deleted", show_count(number_of(page, "ended", "destroyed"), count, sizeof count));
    printf(", %s expired since the start\n",
           show_count(number_of(page, "ended", "expired"), count, sizeof count));
    print_name("process");
    printf("%s resident, %" PRIu64 ".%" PRIu64 " s of processor time, connections: %" PRIu64 "\n",
           show_size(number_of(page, NULL, "resident_bytes"), memory, sizeof memory),
           number_of(page, NULL, "cpu_ms") / 1000, number_of(page, NULL, "cpu_ms") % 1000 / 100,
           number_of(page, NULL, "connections"));
}

static void print_operation(const json_t *page, const char *operation)
{
    const json_t *times = json_object_get(json_object_get(page, "latency_us"), operation);
    uint64_t count = number_of(page, "requests", operation);
    char text[TEXT_BYTES];

    if (count == 0) {
        return;
    }
    print_name(operation);
    printf("%s; p50 %" PRIu64 " us, p99 %" PRIu64 " us, p99.9 %" PRIu64 " us, longest %" PRIu64
           " us\n",
           show_count(count, text, sizeof text), number_of(times, NULL, "p50"),
           number_of(times, NULL, "p99"), number_of(times, NULL, "p999"),
           number_of(times, NULL, "max"));
}

static void print_requests(const json_t *page)
{
    uint64_t hits = number_of(page, "reads", "hit"), misses = number_of(page, "reads", "miss");

    print_operation(page, "get");
    print_operation(page, "write");
    print_operation(page, "scan");
    if (hits + misses > 0) {
        print_name("hit rate");
        printf("%.1f%%\n", (double)hits * 100 / (double)(hits + misses));
    }
    uint64_t busy = number_of(page, "refused", "busy"),
             late = number_of(page, "refused", "timeout");
    uint64_t limit = number_of(page, "refused", "limit");
    if (busy + late + limit > 0) {
        print_name("refused");
        printf("%" PRIu64 " busy, %" PRIu64 " too late, %" PRIu64 " at a limit\n", busy, late,
               limit);
    }
}

static void print_storage(const json_t *page)
{
    char log[TEXT_BYTES], room[TEXT_BYTES], count[TEXT_BYTES], age[TEXT_BYTES];
    const json_t *parts = json_object_get(page, "log");
    uint64_t waiting =
        number_of(parts, NULL, "lsn_appended") - number_of(parts, NULL, "lsn_durable");

    print_name("storage");
    printf("%s, %s free\n", text_of(page, NULL, "data_dir"),
           show_size(number_of(page, NULL, "disk_free_bytes"), room, sizeof room));
    print_name("log");
    printf("%s on disk, %s not yet durable",
           show_size(number_of(parts, NULL, "disk_bytes"), log, sizeof log),
           show_size(waiting, room, sizeof room));
    if (number_of(parts, "write_us", "count") > 0) {
        printf("; device write p50 %" PRIu64 " us, p99 %" PRIu64 " us",
               number_of(parts, "write_us", "p50"), number_of(parts, "write_us", "p99"));
    }
    putchar('\n');
    if (json_is_true(json_object_get(parts, "failed"))) {
        printf("  ! writing the log FAILED: a shard takes no more writes; see belayd's messages\n");
    }
    if (json_is_true(json_object_get(parts, "full"))) {
        printf("  ! the disk is FULL: writes are refused until there is room\n");
    }
    print_name("checkpoint");
    if (number_of(page, "checkpoint", "count") == 0) {
        printf("none since the start\n");
    } else {
        printf("%s sessions, %s old\n",
               show_count(number_of(page, "checkpoint", "sessions"), count, sizeof count),
               show_duration(number_of(page, "checkpoint", "age_ms"), age, sizeof age));
    }
    if (number_of(page, NULL, "damaged") > 0) {
        printf("  ! %" PRIu64 " stored sessions were found DAMAGED; see belayd's messages\n",
               number_of(page, NULL, "damaged"));
    }
}

/* "nodes 1 and 3 vote", and who of them leads. */
static void print_voters(const json_t *cluster)
{
    const json_t *voters = json_object_get(cluster, "voters"), *voter;
    size_t count = json_array_size(voters), index;

    json_array_foreach(voters, index, voter)
    {
        printf("%s%" PRIu64,
               index == 0          ? count > 1 ? "; nodes " : "; node "
               : index + 1 < count ? ", "
                                   : " and ",
               (uint64_t)json_integer_value(voter));
    }
    if (count > 0) {
        fputs(count > 1 ? " vote" : " votes", stdout);
    }
    if (number_of(cluster, NULL, "leader") == 0) {
        puts("; NOBODY leads");
    } else {
        printf(", node %" PRIu64 " leads\n", number_of(cluster, NULL, "leader"));
    }
}

/* Of a node alone there is nothing to say. */
static void print_cluster(const json_t *page)
{
    const json_t *cluster = json_object_get(page, "cluster");
    uint64_t unsettled = number_of(cluster, NULL, "slots_not_level");
    uint64_t behind = number_of(cluster, NULL, "records_behind");
    char size[TEXT_BYTES];

    if (number_of(cluster, NULL, "members") < 2) {
        return;
    }
    print_name("cluster");
    printf("node %" PRIu64 " of %" PRIu64 ", epoch %" PRIu64 "; %" PRIu64 " slots here",
           number_of(cluster, NULL, "node"), number_of(cluster, NULL, "members"),
           number_of(cluster, NULL, "epoch"), number_of(cluster, NULL, "slots_owned"));
    if (unsettled > 0) {
        printf("; %" PRIu64 " are moving", unsettled);
    }
    if (strcmp(text_of(cluster, NULL, "state"), "active") != 0) {
        printf("; it is %s", text_of(cluster, NULL, "state"));
    }
    if (behind > 0) {
        printf("; others are %" PRIu64 " writes (%s) behind", behind,
               show_size(number_of(cluster, NULL, "bytes_behind"), size, sizeof size));
    }
    print_voters(cluster);
}

static void print_shards(const json_t *page)
{
    const json_t *shards = json_object_get(page, "shards"), *shard;
    size_t index;

    json_array_foreach(shards, index, shard)
    {
        char name[TEXT_BYTES], count[TEXT_BYTES];
        snprintf(name, sizeof name, "shard %" PRIu64, number_of(shard, NULL, "shard"));
        print_name(name);
        if (json_is_true(json_object_get(shard, "responding"))) {
            printf("sessions: %s, connections: %" PRIu64 "\n",
                   show_count(number_of(shard, NULL, "sessions"), count, sizeof count),
                   number_of(shard, NULL, "connections"));
        } else {
            printf("does NOT respond\n");
        }
    }
}

int status_run(struct ctl *ctl, int argc, char **argv)
{
    json_t *page;
    int rc = ctl_show(ctl, argc, argv, "status", &page);

    if (rc != CTL_OK || page == NULL) {
        return rc;
    }
    print_node(page);
    print_sessions(page);
    print_requests(page);
    print_storage(page);
    print_cluster(page);
    print_shards(page);
    json_decref(page);
    return CTL_OK;
}
