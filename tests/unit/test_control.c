/* The parts of the control thread that work without a node: log lines, clock, metrics. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#include "logger.h"
#include "metrics.h"
#include "status_page.h"
#include "wall_clock.h"

/* ---- Logger ---- */

static uint64_t fake_now_ms;
static char output[65536];

static uint64_t fake_now(void *clock)
{
    (void)clock;
    return fake_now_ms;
}

static struct logger logger;
static int log_fd;

static void start_logger(enum log_form form, enum log_level level)
{
    fake_now_ms = UINT64_C(1767323045678); /* 2026-01-02T03:04:05.678Z */
    log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(log_fd >= 0);
    logger_init(&logger, log_fd, form, level, fake_now, NULL);
}

/* All that was written since the start. */
static const char *written(void)
{
    ssize_t size = pread(log_fd, output, sizeof output - 1, 0);

    assert_true(size >= 0);
    output[size] = '\0';
    return output;
}

static void stop_logger(void)
{
    logger_fini(&logger);
    close(log_fd);
}

static uint32_t count_lines(const char *text_)
{
    uint32_t lines = 0;

    for (; *text_ != '\0'; text_++) {
        lines += *text_ == '\n';
    }
    return lines;
}

static void test_log_text(void **state)
{
    (void)state;
    start_logger(LOG_FORM_TEXT, LOG_LEVEL_INFO);
    logger_write(&logger, LOG_LEVEL_INFO, "listening", LOG_TEXT("address", "127.0.0.1:7400"),
                 LOG_NUMBER("shards", 4));
    logger_write(&logger, LOG_LEVEL_DEBUG, "unseen");
    logger_write(&logger, LOG_LEVEL_ERROR, "odd", LOG_TEXT("a", "two words"), LOG_TEXT("b", ""),
                 LOG_TEXT("c", "x=1"), LOG_TEXT("d", "say \"hi\"\n\x01\xff"), LOG_NUMBER("e", -5));
    assert_string_equal(written(),
                        "2026-01-02T03:04:05.678Z info listening address=127.0.0.1:7400 shards=4\n"
                        "2026-01-02T03:04:05.678Z error odd a=\"two words\" b=\"\" c=\"x=1\" "
                        "d=\"say \\\"hi\\\"\\n\\u0001\\u00ff\" e=-5\n");
    stop_logger();
}

static void test_log_json(void **state)
{
    (void)state;
    start_logger(LOG_FORM_JSON, LOG_LEVEL_DEBUG);
    logger_write(&logger, LOG_LEVEL_WARN, "odd", LOG_TEXT("a", "\\ \"\t"), LOG_NUMBER("n", 7));
    assert_string_equal(written(), "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\","
                                   "\"event\":\"odd\",\"a\":\"\\\\ \\\"\\u0009\",\"n\":7}\n");
    stop_logger();
}

/* A field that does not fit is left out whole, and the line stays well-formed. */
static void test_log_long(void **state)
{
    static char many[3000];

    (void)state;
    memset(many, 'x', sizeof many - 1);
    start_logger(LOG_FORM_JSON, LOG_LEVEL_DEBUG);
    logger_write(&logger, LOG_LEVEL_WARN, "long", LOG_TEXT("a", many), LOG_TEXT("b", many),
                 LOG_NUMBER("n", 7));
    size_t size = strlen(written());
    assert_true(size > 1000 && size < LOGGER_LINE_BYTES_MAX);
    assert_string_equal(output + size - 10, "x\",\"n\":7}\n");
    assert_null(strstr(output, "\"b\""));
    memset(many, '\n', sizeof many - 1);
    logger_write(&logger, LOG_LEVEL_WARN, "long", LOG_TEXT("a", many), LOG_TEXT("b", many));
    assert_int_equal(count_lines(written()), 2);
    stop_logger();
}

static void test_log_repeats(void **state)
{
    (void)state;
    start_logger(LOG_FORM_TEXT, LOG_LEVEL_INFO);
    for (int i = 0; i < LOGGER_BURST + 5; i++) {
        logger_write(&logger, LOG_LEVEL_INFO, "again", LOG_NUMBER("i", i));
    }
    logger_write(&logger, LOG_LEVEL_INFO, "other");
    assert_int_equal(count_lines(written()), LOGGER_BURST + 1);
    logger_tick(&logger);
    assert_int_equal(count_lines(written()), LOGGER_BURST + 1);
    fake_now_ms += LOGGER_WINDOW_MS;
    logger_tick(&logger);
    assert_non_null(strstr(written(), " warn suppressed repeated=again lines=5\n"));
    logger_write(&logger, LOG_LEVEL_INFO, "again");
    assert_int_equal(count_lines(written()), LOGGER_BURST + 3);
    stop_logger();
}

/* Fill what `fd` leads to, which waits for its reader otherwise. */
static void fill(int fd)
{
    static const char bytes[4096];

    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (write(fd, bytes, sizeof bytes) > 0 || write(fd, bytes, 1) > 0) {
    }
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
}

/* Read all that is there. Returns where the last of the filling ends. */
static const char *read_all(int fd)
{
    size_t size = 0;
    ssize_t got;

    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    do {
        size = size > sizeof output / 2 ? 0 : size; /* Only the filling is so large. */
        got = read(fd, output + size, sizeof output / 2 - 1);
        size += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    output[size] = '\0';
    size_t skip = size;
    while (skip > 0 && output[skip - 1] != '\0') {
        skip--;
    }
    return output + skip;
}

/* Lines for which there is no room are dropped, at once, and counted; the descriptor stays as its other users know it. */
static void log_unread(int reader, int writer)
{
    fake_now_ms = UINT64_C(1767323045678);
    fill(writer);
    logger_init(&logger, writer, LOG_FORM_TEXT, LOG_LEVEL_INFO, fake_now, NULL);
    for (int i = 0; i < 3; i++) {
        logger_write(&logger, LOG_LEVEL_INFO, "unread", LOG_NUMBER("i", i));
    }
    assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
    assert_string_equal(read_all(reader), "");
    logger_write(&logger, LOG_LEVEL_INFO, "read", LOG_NUMBER("i", 3));
    logger_write(&logger, LOG_LEVEL_INFO, "read", LOG_NUMBER("i", 4));
    assert_string_equal(read_all(reader), "2026-01-02T03:04:05.678Z warn lines-dropped lines=3\n"
                                          "2026-01-02T03:04:05.678Z info read i=3\n"
                                          "2026-01-02T03:04:05.678Z info read i=4\n");
    logger_fini(&logger);
    close(reader);
    close(writer);
}

static void test_log_unread(void **state)
{
    struct rlimit before, none;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    log_unread(ends[0], ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    log_unread(ends[0], ends[1]);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 1; /* It cannot be opened anew. */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    log_unread(ends[0], ends[1]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* ---- Clock ---- */

struct fake_time {
    uint64_t real_ms, boot_ms;
};

static uint64_t fake_system(void *system, int clock_id)
{
    const struct fake_time *fake = system;

    assert_true(clock_id == CLOCK_REALTIME || clock_id == CLOCK_BOOTTIME);
    return clock_id == CLOCK_REALTIME ? fake->real_ms : fake->boot_ms;
}

static void test_clock(void **state)
{
    struct fake_time fake = {.real_ms = 10000000, .boot_ms = 500};
    struct wall_clock clock_;

    (void)state;
    wall_clock_init(&clock_, fake_system, &fake);
    assert_int_equal(wall_clock_now_ms(&clock_), 10000000);
    fake.boot_ms += 7;
    fake.real_ms -= 3600000 - 7; /* Somebody sets it back an hour. */
    assert_int_equal(wall_clock_now_ms(&clock_), 10000007);
    assert_int_equal(wall_clock_ahead_ms(&clock_), 3600000);

    /* A restart with the clock still back: it goes on from the newest time in the store. */
    wall_clock_init(&clock_, fake_system, &fake);
    wall_clock_floor(&clock_, 10000007);
    assert_int_equal(wall_clock_now_ms(&clock_), 10000007);
    fake.boot_ms += 10;
    assert_int_equal(wall_clock_now_ms(&clock_), 10000017);
    wall_clock_floor(&clock_, 10000016);
    assert_int_equal(wall_clock_now_ms(&clock_), 10000017);
    assert_int_equal(wall_clock_read(&clock_), 10000017);
}

/* ---- Metrics ---- */

static struct metrics_shard shards[2];
static struct metrics metrics;

static char *printed(void (*print)(FILE *to))
{
    char *text_ = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text_, &size);

    if (print != NULL) {
        print(file);
    } else {
        metrics_print(&metrics, file);
    }
    fclose(file);
    return text_;
}

static void fill_metrics(void)
{
    memset(shards, 0, sizeof shards);
    metrics = (struct metrics){
        .version = "x", .node_name = "n", .uptime_ms = 1500, .shard_count = 2, .shards = shards};
    shards[0].responding = shards[1].responding = true;
    shards[0].shard.requests[REQUEST_GET] = 3;
    shards[0].shard.answers[REQUEST_GET][STATUS_OK] = 3;
    shards[1].shard.answers[REQUEST_WRITE][STATUS_VERSION_MISMATCH] = 4;
    shards[0].shard.hits = 2;
    shards[0].shard.misses = 1;
    shards[1].shard.acks[ACK_DISK] = 9;
    shards[1].cpu_us = 2500000;
    histogram_record(&shards[0].shard.latency[REQUEST_GET], 15);
    histogram_record(&shards[1].shard.latency[REQUEST_GET], 16);
    histogram_record(&shards[1].shard.latency[REQUEST_GET], 4000000000);
}

#define assert_line(text_, line)                                                                   \
    do {                                                                                           \
        if (strstr((text_), "\n" line "\n") == NULL) {                                             \
            fail_msg("no line: %s", line);                                                         \
        }                                                                                          \
    } while (0)

static void test_metrics_print(void **state)
{
    (void)state;
    fill_metrics();
    char *all = printed(NULL);
    assert_line(all, "# TYPE belay_requests_total counter");
    assert_line(all, "belay_uptime_seconds 1.5");
    assert_line(all, "belay_requests_total{shard=\"0\",op=\"get\",outcome=\"ok\"} 3");
    assert_line(all, "belay_requests_total{shard=\"1\",op=\"inspect\",outcome=\"ok\"} 0");
    assert_line(all,
                "belay_requests_total{shard=\"1\",op=\"write\",outcome=\"version_mismatch\"} 4");
    assert_null(strstr(all, "outcome=\"busy\""));
    assert_line(all, "belay_reads_total{shard=\"0\",result=\"hit\"} 2");
    assert_line(all, "belay_reads_total{shard=\"0\",result=\"miss\"} 1");
    assert_line(all, "belay_acks_total{shard=\"1\",level=\"disk\"} 9");
    assert_line(all, "belay_shard_cpu_seconds_total{shard=\"1\"} 2.5");
    assert_line(all, "belay_request_duration_seconds_bucket{op=\"get\",le=\"1.6e-05\"} 1");
    assert_line(all, "belay_request_duration_seconds_bucket{op=\"get\",le=\"3.2e-05\"} 2");
    assert_line(all, "belay_request_duration_seconds_bucket{op=\"get\",le=\"+Inf\"} 3");
    assert_line(all, "belay_request_duration_seconds_count{op=\"get\"} 3");
    assert_line(all, "belay_request_duration_seconds_sum{op=\"get\"} 4000.000031");
    free(all);
}

/* Every figure of the cluster has a place of its own. */
static void test_metrics_cluster(void **state)
{
    static const char *const lines[] = {
        "belay_cluster_epoch 7",
        "belay_cluster_members{state=\"joining\"} 1",
        "belay_cluster_members{state=\"down\"} 5",
        "belay_cluster_members{state=\"left\"} 6",
        "belay_cluster_unsettled_slots 8",
        "belay_cluster_maps_total{from=\"others\"} 9",
        "belay_cluster_panic 1",
        "belay_raft_term 11",
        "belay_raft_role{role=\"leader\"} 1",
        "belay_raft_role{role=\"follower\"} 0",
        "belay_raft_leader 3",
        "belay_raft_members{kind=\"voter\"} 3",
        "belay_raft_members{kind=\"learner\"} 2",
        "belay_proposals_total{result=\"failed\"} 12",
        "belay_heartbeats_total{direction=\"heard\"} 13",
        "belay_suspicions_total{result=\"silent\"} 14",
        "belay_probes_total{kind=\"answered\"} 6",
        "belay_verdicts_total{verdict=\"held\"} 15",
        "belay_flaps_total 16",
        "belay_panics_total 17",
    };

    (void)state;
    fill_metrics();
    metrics.cluster = (struct cluster_figures){
        .epoch = 7,
        .members = {0, 1, 2, 3, 4, 5, 6},
        .unsettled = 8,
        .maps_pulled = 9,
        .panic = true,
        .term = 11,
        .role = RAFT_LEADER,
        .leader = 3,
        .voters = 3,
        .followers = 5,
        .proposals_failed = 12,
        .liveness = {.heartbeats_heard = 13,
                     .silent = 14,
                     .answered_yes = 1,
                     .answered_no = 2,
                     .answered_unsure = 3},
        .verdict = {.held = 15, .flaps = 16, .panics = 17},
    };
    char *all = printed(NULL);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "\n%s\n", lines[i]);
        if (strstr(all, line) == NULL) {
            fail_msg("no line: %s", lines[i]);
        }
    }
    free(all);
}

/* A shard that does not answer shows only that. */
/* Every reason for which a handshake ends has its own label, in the order of the reasons. */
static void test_metrics_peers(void **state)
{
    char line[128];

    (void)state;
    fill_metrics();
    for (int i = 0; i < PEER_REFUSALS; i++) {
        metrics.peers.handshakes[i] = 100 + (uint64_t)i;
    }
    metrics.peers.accepted = 2;
    metrics.peers.data_links = 3;
    metrics.peers.frames_in = 4;
    metrics.peers.bytes_out = 5;
    metrics.peers.dropped = 6;
    char *all = printed(NULL);
    for (int i = 0; i < PEER_REFUSALS; i++) {
        snprintf(line, sizeof line, "\nbelay_peer_handshakes_total{result=\"%s\"} %d\n",
                 peer_refusal_word((enum peer_refusal)i), 100 + i);
        assert_non_null(strstr(all, line));
    }
    assert_line(all, "belay_peer_links{kind=\"control_out\"} 0");
    assert_line(all, "belay_peer_links{kind=\"control_in\"} 2");
    assert_line(all, "belay_peer_links{kind=\"data_out\"} 3");
    assert_line(all, "belay_peer_frames_total{direction=\"in\"} 4");
    assert_line(all, "belay_peer_bytes_total{direction=\"out\"} 5");
    assert_line(all, "belay_peer_frames_dropped_total 6");
    free(all);
}

static void test_metrics_silent_shard(void **state)
{
    (void)state;
    fill_metrics();
    shards[1].responding = false;
    char *all = printed(NULL);
    assert_line(all, "belay_shard_responding{shard=\"1\"} 0");
    assert_null(strstr(all, "belay_shard_cpu_seconds_total{shard=\"1\"}"));
    assert_line(all, "belay_request_duration_seconds_count{op=\"get\"} 1");
    free(all);
}

static void test_metrics_page(void **state)
{
    char *page = printed(metrics_print_help);
    size_t size = strlen(page);
    char *stored = malloc(size + 2);
    FILE *file = fopen(METRICS_PAGE, "re");

    (void)state;
    assert_non_null(file);
    stored[fread(stored, 1, size + 1, file)] = '\0';
    fclose(file);
    assert_string_equal(stored, page); /* Else: build/belayd --print metrics > that file. */
    free(stored);
    free(page);
}

/* Every documented key is there, whole and summed. */
static void test_status_page(void **state)
{
    static const char *const parts[] = {
        "\"node\": \"n\"",      "\"reason\": \"disk\"", "\"ready\": false", "\"native\": \"a:1\"",
        "\"sessions\": 12",     "\"get\": 3",           "\"hit\": 2",       "\"disk\": 9",
        "\"p999\": 4000000000", "\"lsn_durable\": 30",  "\"age_ms\": 8",    "\"cpu_ms\": 2500",
    };
    struct status_page page = {&metrics, "a:1", "a:2", "/d", "disk", 77};

    (void)state;
    fill_metrics();
    shards[0].shard.live = 5;
    shards[1].shard.live = 7;
    shards[0].log.lsn_durable = 10;
    shards[1].log.lsn_durable = 20;
    shards[0].store.checkpoint_age_ms = 8;
    char *json = status_page_json(&page);
    assert_non_null(json);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(json, parts[i]) == NULL) {
            fail_msg("no %s in %s", parts[i], json);
        }
    }
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_text),      cmocka_unit_test(test_log_json),
        cmocka_unit_test(test_log_long),      cmocka_unit_test(test_log_repeats),
        cmocka_unit_test(test_log_unread),    cmocka_unit_test(test_clock),
        cmocka_unit_test(test_metrics_print), cmocka_unit_test(test_metrics_cluster),
        cmocka_unit_test(test_metrics_peers), cmocka_unit_test(test_metrics_silent_shard),
        cmocka_unit_test(test_metrics_page),  cmocka_unit_test(test_status_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
