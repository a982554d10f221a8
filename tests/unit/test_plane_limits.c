/* Limits of the data plane: each has its own error, and leaves everybody else, and where the protocol
 * allows the connection itself, as they were. */
#include <semaphore.h>

#include "bounds.h"
#include "plane_kit.h"
#include "ring.h"

static struct plane_kit kit;

static void ping(struct plane_client *client)
{
    plane_client_add(client, FRAME_PING, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(client), STATUS_OK);
}

/* One more than allowed is told why and closed; one that leaves makes room. */
static void test_connections(void **state)
{
    enum { LIMIT = 5 };
    struct plane_client clients[LIMIT], other;
    struct frame frame;

    (void)state;
    plane_kit_init(&kit, 2);
    kit.options.limits.connections = LIMIT;
    plane_kit_start(&kit);
    for (int i = 0; i < LIMIT; i++) {
        plane_client_connect(&clients[i], &kit);
        ping(&clients[i]);
    }
    plane_client_connect(&other, &kit);
    Belay__Wire__Reply *reply = plane_client_reply(&other, &frame);
    assert_int_equal(frame.type, FRAME_HELLO);
    assert_int_equal(reply->status, STATUS_TOO_MANY_CONNECTIONS);
    belay__wire__reply__free_unpacked(reply, NULL);
    assert_false(plane_client_receive(&other, &frame));
    plane_client_close(&other);
    assert_int_equal(plane_kit_stats(&kit).refused_connections, 1);
    plane_client_close(&clients[0]);
    plane_kit_until(plane_kit_stats(&kit).connections == LIMIT - 1);
    plane_client_connect(&clients[0], &kit);
    for (int i = 0; i < LIMIT; i++) {
        ping(&clients[i]);
        plane_client_close(&clients[i]);
    }
    plane_kit_stop(&kit);
}

/* Idle connections are spread over the shards, and cost nothing but their entry. */
static void test_spread(void **state)
{
    enum { COUNT = 300 };
    static struct plane_client clients[COUNT];

    (void)state;
    plane_kit_init(&kit, 3);
    plane_kit_start(&kit);
    for (int i = 0; i < COUNT; i++) {
        plane_client_connect(&clients[i], &kit);
        ping(&clients[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(plane_kit_shard_stats(&kit, i).connections, COUNT / 3);
        plane_kit_until(plane_kit_shard_stats(&kit, i).buffer_bytes == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        plane_client_close(&clients[i]);
    }
    plane_kit_until(plane_kit_stats(&kit).connections == 0);
    plane_kit_stop(&kit);
}

/* More requests in flight than allowed: those too many are refused, the others answered. */
static void test_in_flight(void **state)
{
    enum { LIMIT = 4, COUNT = 50 };
    struct plane_client client;
    struct frame frame;
    uint32_t ok = 0, refused = 0;

    (void)state;
    plane_kit_init(&kit, 2);
    kit.options.limits.in_flight = LIMIT;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < COUNT; i++) {
        plane_client_add_put(&client, text("key"), text("value"), ACK_DISK);
    }
    plane_client_flush(&client);
    for (int i = 0; i < COUNT; i++) {
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        ok += reply->status == STATUS_OK;
        refused += reply->status == STATUS_TOO_MANY_IN_FLIGHT;
        assert_true(reply->status != STATUS_OK || reply->ack == ACK_DISK);
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    assert_true(ok >= LIMIT && refused > 0);
    assert_int_equal(ok + refused, COUNT);
    plane_client_add_put(&client, text("key"), text("value"), ACK_DISK);
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* Half frames of many connections: their memory is bounded, the one too many is skipped and told. */
static void test_half_frames(void **state)
{
    enum { CLIENTS = 3, BYTES = 60 * 1024 * 1024, FIRST = 50 * 1024 * 1024 };
    struct plane_client clients[CLIENTS];
    uint8_t *frame = calloc(1, FRAME_HEADER_BYTES + BYTES);
    struct frame got;
    uint32_t busy = 0;

    (void)state;
    assert_non_null(frame);
    plane_kit_init(&kit, 1);
    kit.options.limits.frame_bytes = FRAME_BYTES_MAX;
    plane_kit_start(&kit);
    frame_header_put(frame, 99, 0, 5, bytes_of(NULL, 0),
                     bytes_of(frame + FRAME_HEADER_BYTES, BYTES));
    for (int i = 0; i < CLIENTS; i++) {
        plane_client_connect(&clients[i], &kit);
        plane_client_send(&clients[i], bytes_of(frame, FIRST));
    }
    plane_kit_until(plane_kit_stats(&kit).bytes_in == (uint64_t)CLIENTS * FIRST);
    assert_true(plane_kit_stats(&kit).buffer_bytes < (uint64_t)CLIENTS * BYTES);
    for (int i = 0; i < CLIENTS; i++) {
        plane_client_send(&clients[i], bytes_of(frame + FIRST, FRAME_HEADER_BYTES + BYTES - FIRST));
        Belay__Wire__Reply *reply = plane_client_reply(&clients[i], &got);
        assert_int_equal(got.request_id, 5);
        busy += reply->status == STATUS_BUSY;
        assert_true(reply->status == STATUS_BUSY || reply->status == STATUS_UNKNOWN_REQUEST);
        belay__wire__reply__free_unpacked(reply, NULL);
        ping(&clients[i]);
        plane_client_close(&clients[i]);
    }
    assert_int_equal(busy, 1);
    plane_kit_stop(&kit);
    free(frame);
}

/* No room for the log: writes are refused and say so, reads go on, writes resume by themselves. */
static void test_disk_full(void **state)
{
    struct plane_client client;
    uint8_t value[8000] = {0};
    uint32_t status = STATUS_OK;

    (void)state;
    plane_kit_init(&kit, 1);
    kit.segments[0].segment_bytes = 256 * 1024;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_add_put(&client, text("key"), text("value"), ACK_DISK);
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    atomic_store(&kit.segments[0].error, -ENOSPC);
    for (int i = 0; i < 100 && status == STATUS_OK; i++) {
        plane_client_add_put(&client, text("other"), bytes_of(value, sizeof value), ACK_MEMORY);
        status = plane_client_status(&client);
    }
    assert_int_equal(status, STATUS_DISK_FULL);
    plane_client_add_get(&client, text("key"));
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    atomic_store(&kit.segments[0].error, 0);
    plane_kit_until(
        (plane_client_add_put(&client, text("other"), bytes_of(value, sizeof value), ACK_DISK),
         plane_client_status(&client) == STATUS_OK));
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* No segment is free for now: writes of Redis clients wait, and hear BUSY once that has lasted ten seconds; clients that
 * know BUSY hear it sooner; reads go on. */
static void test_log_behind(void **state)
{
    static const char get[] = "GET key\r\n", set[] = "SET key value\r\n";
    static const char large[] = "*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$8000\r\n";
    struct plane_client client, redis;
    uint8_t value[8000] = {0};
    uint32_t status = STATUS_OK;
    char said[256];

    (void)state;
    plane_kit_init(&kit, 1);
    kit.segments[0].segment_bytes = 256 * 1024;
    kit.options.limits.queue_delay_ms = 100;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_connect(&redis, &kit);
    plane_client_send(&redis, text(set));
    assert_int_equal(plane_client_recv(&redis, said, sizeof said), 5);
    assert_memory_equal(said, "+OK\r\n", 5);
    atomic_store(&kit.segments[0].error, -EAGAIN);
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        plane_client_add_put(&client, text("other"), bytes_of(value, sizeof value), ACK_MEMORY);
        status = plane_client_status(&client);
    } while (status == STATUS_OK);
    assert_int_equal(status, STATUS_BUSY);
    ssize_t size;
    do { /* A slow machine may have made it busy before the log was behind: then there is room yet. */
        plane_client_send(&redis, text(large));
        plane_client_send(&redis, bytes_of(value, sizeof value));
        plane_client_send(&redis, text("\r\n"));
        do {
            plane_client_add_get(&client, text("key"));
            status = plane_client_status(&client);
        } while (status == STATUS_BUSY);
        assert_int_equal(status, STATUS_OK);
        size = plane_client_recv(&redis, said, sizeof said);
    } while (size == 5 && memcmp(said, "+OK\r\n", 5) == 0);
    assert_true(size > 5 && memcmp(said, "-BUSY", 5) == 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_true((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 >
                LOG_WAIT_MS - 100);
    plane_client_send(&redis, text(get));
    assert_true(plane_client_recv(&redis, said, sizeof said) > 0 && said[0] == '$');
    atomic_store(&kit.segments[0].error, 0);
    plane_kit_until((plane_client_send(&redis, text(set)),
                     plane_client_recv(&redis, said, sizeof said) == 5 && said[0] == '+'));
    plane_client_close(&client);
    plane_client_close(&redis);
    plane_kit_stop(&kit);
}

/* The log's device fails: who waited hears of it, writes are refused, reads go on. */
static void test_log_failed(void **state)
{
    struct plane_client client;

    (void)state;
    plane_kit_init(&kit, 1);
    kit.segments[0].path = "/dev/full";
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_add_put(&client, text("key"), text("value"), ACK_DISK);
    assert_int_equal(plane_client_status(&client), STATUS_LOG_FAILED);
    plane_client_add_put(&client, text("key"), text("value"), ACK_MEMORY);
    assert_int_equal(plane_client_status(&client), STATUS_LOG_FAILED);
    plane_client_add_get(&client, text("nobody"));
    assert_int_equal(plane_client_status(&client), STATUS_NOT_FOUND);
    assert_true(plane_kit_shard_stats(&kit, 0).log.failed);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* A client that has said all it will still gets its answers. */
static void test_half_close(void **state)
{
    enum { COUNT = 100 };
    struct plane_client client;
    struct frame frame;

    (void)state;
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < COUNT; i++) {
        plane_client_add_put(&client, text("key"), text("value"), ACK_DISK);
    }
    plane_client_flush(&client);
    assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_true(plane_client_receive(&client, &frame));
    }
    assert_false(plane_client_receive(&client, &frame));
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* Stopping answers what was taken, and writes the log. */
static void test_stop(void **state)
{
    enum { COUNT = 200 };
    struct plane_client client, idle;
    struct frame frame;
    uint32_t acked = 0;
    char key[16];

    (void)state;
    plane_kit_init(&kit, 2);
    kit.options.limits.log_interval_ms = 60000;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_connect(&idle, &kit);
    plane_client_add_put(&client, text("first"), text("value"), ACK_MEMORY);
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        plane_client_add_put(&client, text(key), text("value"), ACK_DISK);
    }
    plane_client_flush(&client);
    plane_stop(kit.plane);
    while (plane_client_receive(&client, &frame)) {
        Belay__Wire__Reply *reply =
            belay__wire__reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_true(reply->status == STATUS_OK || reply->status == STATUS_STOPPING);
        acked += reply->status == STATUS_OK;
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    plane_client_close(&client);
    plane_client_close(&idle);
    uint32_t logged = 0;
    for (uint32_t i = 0; i < 2; i++) {
        logged += (uint32_t)shard_stats(kit.shards[i])->acks[ACK_DISK];
    }
    assert_int_equal(logged, acked);
    plane_kit_stop(&kit);
}

/* Stopping writes out what nobody waited for. */
static void test_stop_writes_log(void **state)
{
    struct plane_client client;

    (void)state;
    plane_kit_init(&kit, 1);
    kit.options.limits.log_interval_ms = 60000;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_add_put(&client, text("key"), text("value"), ACK_MEMORY);
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    assert_int_equal(plane_kit_stats(&kit).log.device_writes, 0);
    assert_int_equal(plane_stop(kit.plane), 0);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* The clock, read once at the beginning of each turn, holds up the shard's first and third turn. */
static struct {
    sem_t holding, release;
    _Atomic bool armed;
    uint32_t turns;
} brake;

static uint64_t braking_now_ms(void *clock)
{
    if (atomic_load(&brake.armed) && (++brake.turns == 1 || brake.turns == 3)) {
        sem_post(&brake.holding);
        while (sem_wait(&brake.release) != 0) {
            assert_int_equal(errno, EINTR);
        }
    }
    return plane_kit_now_ms(clock);
}

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        assert_int_equal(errno, EINTR);
    }
}

enum { FLOODS = 96, FLOOD_COUNT = 1100, FLOOD_DELAY_MS = 100 };

/* Returns in how many milliseconds the floods were sent, all during one turn. */
static uint64_t flood(uint32_t *busy, uint32_t *other)
{
    static struct plane_client floods[FLOODS], first;
    struct timespec began, now;
    struct frame frame;

    brake.turns = 0;
    sem_init(&brake.holding, 0, 0);
    sem_init(&brake.release, 0, 0);
    plane_kit_init(&kit, 1);
    kit.options.limits.queue_delay_ms = FLOOD_DELAY_MS;
    kit.options.limits.in_flight = 1000000;
    kit.options.now_ms = braking_now_ms;
    plane_kit_start(&kit);
    plane_client_connect(&first, &kit);
    for (int i = 0; i < FLOODS; i++) {
        plane_client_connect(&floods[i], &kit);
        ping(&floods[i]);
        for (int j = 0; j < FLOOD_COUNT; j++) {
            plane_client_add_get(&floods[i], text("a key that nobody ever wrote"));
        }
    }
    ping(&first);
    atomic_store(&brake.armed, true);
    plane_client_add(&first, FRAME_PING, NULL, bytes_of(NULL, 0));
    plane_client_flush(&first);
    clock_gettime(CLOCK_MONOTONIC, &began);
    await(&brake.holding);
    for (int i = 0; i < FLOODS; i++) {
        plane_client_flush(&floods[i]);
    }
    sem_post(&brake.release);
    await(&brake.holding);
    clock_gettime(CLOCK_MONOTONIC, &now);
    usleep((FLOOD_DELAY_MS + FLOOD_DELAY_MS / 2) * 1000);
    atomic_store(&brake.armed, false);
    sem_post(&brake.release);
    for (int i = 0; i < FLOODS; i++) {
        for (int j = 0; j < FLOOD_COUNT; j++) {
            Belay__Wire__Reply *reply = plane_client_reply(&floods[i], &frame);
            *busy += reply->status == STATUS_BUSY && reply->retry_after_ms > 0;
            *other += reply->status == STATUS_NOT_FOUND;
            belay__wire__reply__free_unpacked(reply, NULL);
        }
        plane_client_close(&floods[i]);
    }
    plane_client_close(&first);
    plane_kit_stop(&kit);
    sem_destroy(&brake.holding);
    sem_destroy(&brake.release);
    return (uint64_t)((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000);
}

/* What stays in the sockets because a turn has no buffer for it waits too: once it is late it is answered
 * BUSY. Six turns' worth comes during the first turn; the second takes one, the third is held up for
 * longer than allowed, and so the four after it are late as well. Nothing stays unanswered. Where the first turn takes so
 * long that all of it is late, it is to be done again. */
static void test_overload(void **state)
{
    uint64_t took_ms = FLOOD_DELAY_MS;
    uint32_t busy = 0, other = 0;

    (void)state;
    for (int rounds = 0; rounds < 20 && took_ms >= FLOOD_DELAY_MS && other == 0; rounds++) {
        busy = other = 0;
        took_ms = flood(&busy, &other);
        assert_int_equal(busy + other, FLOODS * FLOOD_COUNT);
        assert_true(busy > FLOODS * FLOOD_COUNT / 2);
    }
    assert_true(other > 0);
}

static void admin(void *context, uint64_t token, struct bytes command, struct bytes argument)
{
    struct plane_kit *own = context;

    if (bytes_equal(command, text("status"))) {
        plane_admin_reply(own->plane, token, STATUS_OK, NULL, argument);
    } else {
        plane_admin_reply(own->plane, token, STATUS_UNSUPPORTED, "no such command",
                          bytes_of(NULL, 0));
    }
}

/* Administrative requests go out to whoever runs the plane, and their answers come back. */
static void test_admin(void **state)
{
    struct plane_client client;
    Belay__Wire__Admin head;
    struct frame frame;
    char command[] = "status", argument[] = "{\"x\":1}", wrong[] = "dance";

    (void)state;
    plane_kit_init(&kit, 3);
    kit.options.admin = admin;
    kit.options.context = &kit;
    plane_kit_start(&kit);
    for (int i = 0; i < 3; i++) {
        plane_client_connect(&client, &kit);
        belay__wire__admin__init(&head);
        head.command = command;
        head.argument = argument;
        plane_client_add(&client, FRAME_ADMIN, &head.base, bytes_of(NULL, 0));
        plane_client_flush(&client);
        assert_true(plane_client_receive(&client, &frame));
        assert_bytes_equal(frame.value, text(argument));
        head.command = wrong;
        plane_client_add(&client, FRAME_ADMIN, &head.base, bytes_of(NULL, 0));
        assert_int_equal(plane_client_status(&client), STATUS_UNSUPPORTED);
        plane_client_close(&client);
    }
    plane_kit_stop(&kit);
}

/* What stands in the way of starting is said in words that help. */
static void test_refusals(void **state)
{
    struct plane *second;
    struct plane_options options;
    char message[512];

    (void)state;
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    options = kit.options;
    options.port = plane_port(kit.plane);
    assert_int_equal(plane_create(&options, &second, message, sizeof message), -EADDRINUSE);
    assert_non_null(strstr(message, "cannot listen on 127.0.0.1"));
    options.shard_count = 1000;
    assert_int_equal(plane_create(&options, &second, message, sizeof message), -EINVAL);
    options = kit.options;
    options.limits.connections = 2000000000;
    assert_int_equal(plane_create(&options, &second, message, sizeof message), -EMFILE);
    assert_non_null(strstr(message, "RLIMIT_NOFILE"));
    ring_explain(-EPERM, "cannot set up io_uring", message, sizeof message);
    assert_non_null(strstr(message, "kernel.io_uring_disabled"));
    assert_non_null(strstr(message, "seccomp"));
    ring_explain(-ENOSYS, "cannot set up io_uring", message, sizeof message);
    assert_non_null(strstr(message, "kernel"));
    ring_explain(-ENOMEM, "cannot set up io_uring", message, sizeof message);
    assert_non_null(strstr(message, "RLIMIT_MEMLOCK"));
    plane_kit_stop(&kit);
}

/* Connections that come and go while others work: nothing leaks, nobody gets another's answer. */
static void test_churn(void **state)
{
    enum { ROUNDS = 300 };
    struct plane_client steady;
    char key[24];

    (void)state;
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&steady, &kit);
    for (int i = 0; i < ROUNDS; i++) {
        struct plane_client passing;
        struct frame frame;
        snprintf(key, sizeof key, "key-%d", i);
        plane_client_connect(&passing, &kit);
        for (int j = 0; j < 20; j++) {
            plane_client_add_put(&passing, text(key), text(key),
                                 j % 2 == 0 ? ACK_DISK : ACK_MEMORY);
        }
        plane_client_send(&passing, bytes_of(passing.out.data, passing.out.size - (size_t)i % 50));
        passing.out.size = 0;
        plane_client_close(&passing);
        plane_client_add_get(&steady, text(key));
        plane_client_flush(&steady);
        assert_true(plane_client_receive(&steady, &frame));
        assert_int_equal(frame.request_id, i + 1);
        assert_true(frame.value.size == 0 || bytes_equal(frame.value, text(key)));
    }
    plane_kit_until(plane_kit_stats(&kit).connections == 1);
    plane_kit_until(plane_kit_stats(&kit).buffer_bytes == 0);
    plane_client_close(&steady);
    plane_kit_stop(&kit);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_connections), cmocka_unit_test(test_spread),
    cmocka_unit_test(test_in_flight),   cmocka_unit_test(test_half_frames),
    cmocka_unit_test(test_disk_full),   cmocka_unit_test(test_log_failed),
    cmocka_unit_test(test_log_behind),  cmocka_unit_test(test_half_close),
    cmocka_unit_test(test_stop),        cmocka_unit_test(test_stop_writes_log),
    cmocka_unit_test(test_admin),       cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_churn),       cmocka_unit_test(test_overload),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
