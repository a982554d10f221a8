/* A thread that was stopped: what lay in its sockets meanwhile, or had been taken in, is not done late (pause.h). */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "far_frame.h"
#include "peer_frame.h"
#include "planes_kit.h"
#include "replication.h"
#include "shard_thread.h"

enum { SILENCE_MS = 900 };

static struct planes_kit kit;

/* ---- The thread stops where the test says ---- */

enum stop_at { NOWHERE, AT_LOST_LINK, AT_COMMAND };

static struct {
    _Atomic int at; /* enum stop_at. */
    _Atomic bool stopped, go;
} stop;

static void stand_still(enum stop_at at)
{
    if (atomic_load(&stop.at) != (int)at) {
        return;
    }
    atomic_store(&stop.at, NOWHERE);
    atomic_store(&stop.stopped, true);
    while (!atomic_load(&stop.go)) {
        usleep(1000);
    }
}

/* At the end of a turn. */
static void link_lost(void *context, uint32_t shard, uint32_t node, uint32_t node_shard,
                      bool dialled)
{
    planes_kit_lost(context, shard, node, node_shard, dialled);
    stand_still(AT_LOST_LINK);
}

/* Within one, between taking requests in and executing them. */
static void command(void *context, uint64_t token, struct bytes command, struct bytes argument)
{
    (void)context;
    (void)command;
    stand_still(AT_COMMAND);
    plane_admin_reply(kit.nodes[0].plane, token, STATUS_OK, NULL, argument);
}

/* Our end of a link from node 2, or to it. */
static int make_link(bool dialled)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct plane_link link = {
        .fd = ends[0], .dialled = dialled, .node = 2, .start = 1, .shard = 0, .shards = 1};
    assert_int_equal(plane_link(kit.nodes[0].plane, 0, &link), 0);
    return ends[1];
}

static void wait_stopped(void)
{
    while (!atomic_load(&stop.stopped)) {
        usleep(1000);
    }
}

/* The thread is stopped from here on, as it has lost a link, of a kind of which there must be no other. */
static void stop_thread(bool dialled)
{
    int trigger = make_link(dialled);

    atomic_store(&stop.go, false);
    atomic_store(&stop.stopped, false);
    atomic_store(&stop.at, AT_LOST_LINK);
    close(trigger);
    wait_stopped();
}

/* It goes on, after so long that others may have taken its place. */
static void go_on(void)
{
    const struct timespec pause = {.tv_nsec = (long)replication_pause_us(SILENCE_MS) * 1000};

    nanosleep(&pause, NULL);
    atomic_store(&stop.go, true);
}

static void begin(void)
{
    static const uint32_t shards[] = {1, 1};

    atomic_store(&stop.at, NOWHERE);
    planes_kit_init(&kit, 2, shards);
    kit.nodes[0].options.cluster.silence_ms = SILENCE_MS;
    kit.nodes[0].options.link_lost = link_lost;
    kit.nodes[0].options.admin = command;
    plane_kit_start(&kit.nodes[0]);
    planes_kit_tables(&kit, 1, 0);
}

static void end(void)
{
    planes_kit_stop(&kit);
}

static uint64_t pauses(void)
{
    return plane_kit_shard_stats(&kit.nodes[0], 0).pauses;
}

/* ---- Keys and clients ---- */

/* One of the node's own, or of node 2's. */
static const char *key_of(uint32_t node, uint32_t number)
{
    static char keys[8][16];
    char *key = keys[number];
    uint32_t tries = number * 1000;

    do {
        snprintf(key, sizeof keys[0], "k%u", tries++);
    } while (slot_of_key(bytes_of_string(key)) % 2 != node - 1);
    return key;
}

static void ask(struct plane_client *client, const char *command, const char *key, const char *rest)
{
    char line[64];

    int size = snprintf(line, sizeof line, "%s %s%s\r\n", command, key, rest);
    plane_client_send(client, bytes_of(line, (size_t)size));
}

/* The next line of a reply. */
static void expect(struct plane_client *client, const char *begin)
{
    char line[256];
    size_t size = 0;

    do {
        assert_true(size < sizeof line - 1);
        assert_int_equal(plane_client_recv(client, line + size++, 1), 1);
    } while (line[size - 1] != '\n');
    line[size] = '\0';
    if (strncmp(line, begin, strlen(begin)) != 0) {
        fail_msg("%s, not %s", line, begin);
    }
}

static void add_put(struct plane_client *client, const char *key)
{
    plane_client_add_put(client, bytes_of_string(key), bytes_of("v", 1), ACK_MEMORY);
}

/* The thread may be starved on a busy machine, which is a pause as well. */
static void put(struct plane_client *client, const char *key)
{
    uint32_t status;

    do {
        add_put(client, key);
        status = plane_client_status(client);
    } while (status == STATUS_BUSY);
    assert_int_equal(status, STATUS_OK);
}

static uint32_t next_status(struct plane_client *client)
{
    struct frame frame;

    Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
    const uint32_t status = reply->status;
    belay__wire__reply__free_unpacked(reply, NULL);
    return status;
}

static bool is_there(struct plane_client *client, const char *key)
{
    plane_client_add_get(client, bytes_of_string(key));
    const uint32_t status = plane_client_status(client);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK;
}

/* ---- Connections ---- */

static void test_native(void **state)
{
    struct plane_client client, half, new;

    (void)state;
    begin();
    plane_client_connect(&client, &kit.nodes[0]);
    plane_client_connect(&half, &kit.nodes[0]);
    put(&client, key_of(1, 0));
    put(&half, key_of(1, 0));
    add_put(&half, key_of(1, 3));
    const struct bytes whole = buffer_bytes(&half.out);
    stop_thread(false);
    plane_client_send(&half, bytes_of(whole.data, 30));
    add_put(&client, key_of(1, 1));
    plane_client_add_get(&client, bytes_of_string(key_of(1, 0)));
    plane_client_flush(&client);
    plane_client_connect(&new, &kit.nodes[0]);
    add_put(&new, key_of(1, 2));
    plane_client_flush(&new);
    go_on();
    assert_int_equal(next_status(&client), STATUS_BUSY);
    assert_int_equal(next_status(&client), STATUS_OK); /* A read harms nobody. */
    assert_int_equal(next_status(&new), STATUS_BUSY);
    plane_client_send(&half, bytes_of(whole.data + 30, whole.size - 30));
    half.out.size = 0;
    assert_int_equal(next_status(&half), STATUS_BUSY);
    assert_true(pauses() > 0);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_false(is_there(&client, key_of(1, i)));
    }
    put(&client, key_of(1, 1));
    put(&half, key_of(1, 2));
    put(&new, key_of(1, 3));
    plane_client_close(&client);
    plane_client_close(&half);
    plane_client_close(&new);
    end();
}

/* Who still waits is answered, and what somebody sent who has hung up is dropped. */
static void test_redis(void **state)
{
    struct plane_client waits, gone;

    (void)state;
    begin();
    plane_client_connect(&waits, &kit.nodes[0]);
    plane_client_connect(&gone, &kit.nodes[0]);
    ask(&waits, "GET", key_of(1, 0), "");
    expect(&waits, "$-1");
    ask(&gone, "GET", key_of(1, 0), "");
    expect(&gone, "$-1");
    stop_thread(false);
    ask(&waits, "SET", key_of(1, 0), " v");
    ask(&gone, "SET", key_of(1, 1), " v");
    plane_client_close(&gone);
    go_on();
    expect(&waits, "+OK");
    plane_kit_until(plane_kit_shard_stats(&kit.nodes[0], 0).connections == 1);
    ask(&waits, "GET", key_of(1, 1), "");
    expect(&waits, "$-1");
    plane_client_close(&waits);
    end();
}

/* What was taken in before is refused. */
static void test_within_a_turn(void **state)
{
    Belay__Wire__Admin admin;
    struct plane_client client;
    uint32_t busy = 0;

    (void)state;
    begin();
    plane_client_connect(&client, &kit.nodes[0]);
    put(&client, key_of(1, 0));
    belay__wire__admin__init(&admin);
    char name[] = "x";
    admin.command = name;
    add_put(&client, key_of(1, 1));
    plane_client_add(&client, FRAME_ADMIN, &admin.base, bytes_of(NULL, 0));
    atomic_store(&stop.go, false);
    atomic_store(&stop.stopped, false);
    atomic_store(&stop.at, AT_COMMAND);
    plane_client_flush(&client);
    wait_stopped();
    go_on();
    for (int i = 0; i < 2; i++) {
        busy += next_status(&client) == STATUS_BUSY;
    }
    assert_int_equal(busy, 1);
    assert_false(is_there(&client, key_of(1, 1)));
    put(&client, key_of(1, 1));
    plane_client_close(&client);
    end();
}

/* What waits for a node that coordinates it is not asked there any more. */
static void test_waiting(void **state)
{
    struct plane_client client;

    (void)state;
    begin();
    plane_client_connect(&client, &kit.nodes[0]);
    put(&client, key_of(1, 0));
    add_put(&client, key_of(2, 1));
    plane_client_add(&client, FRAME_PING, NULL, bytes_of(NULL, 0));
    plane_client_flush(&client);
    assert_int_equal(next_status(&client), STATUS_OK); /* The PING's: the write was taken in. */
    stop_thread(false);
    go_on();
    assert_int_equal(next_status(&client), STATUS_BUSY);
    plane_client_close(&client);
    end();
}

/* ---- Links ---- */

static void say(int fd, uint8_t kind, uint64_t number, struct bytes body)
{
    uint8_t head[PEER_HEAD_BYTES];

    peer_frame_head_put(head, kind, number, &body, 1);
    assert_int_equal(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    assert_int_equal(send(fd, body.data, body.size, MSG_NOSIGNAL), body.size);
}

static void ask_far(int fd, uint64_t number, enum request_op op, const char *key)
{
    const struct change change = {
        .operation = CHANGE_SET, .name = bytes_of("", 0), .value = bytes_of("v", 1)};
    struct test_memory memory = test_memory();
    struct buffer body = {.memory = &memory.memory};
    uint8_t list[32];
    const struct far_request far = {
        .request = {.op = (uint8_t)op,
                    .type = SESSION_BLOB,
                    .ack = ACK_MEMORY,
                    .key = bytes_of_string(key),
                    .body = bytes_of(list, op == REQUEST_WRITE
                                               ? (size_t)(change_put(list, &change) - list)
                                               : 0)},
        .protocol = FAR_NATIVE,
        .form = 1,
        .frame_type = op == REQUEST_WRITE ? FRAME_WRITE : FRAME_GET,
        .hops = 1,
    };

    assert_int_equal(far_request_put(&far, &body), 0);
    say(fd, PEER_FAR_REQUEST, number, buffer_bytes(&body));
    buffer_fini(&body);
}

static void read_exactly(int fd, uint8_t *to, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(fd, to, size, 0);
        assert_true(got > 0 || (got < 0 && errno == EINTR));
        to += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
}

/* The kind of the answer to the request of that number, and its status where it is not FAR_DONE. */
static enum far_answer_kind next_answer(int fd, uint64_t number, uint8_t *status)
{
    static uint8_t frame[1 << 16];
    struct peer_frame parsed;

    do {
        say(fd, REPLICATION_PING, 0, bytes_of(NULL, 0));
        read_exactly(fd, frame, PEER_HEAD_BYTES);
        int64_t size = peer_frame_size(bytes_of(frame, PEER_HEAD_BYTES), sizeof frame / 2);
        assert_true(size > 0);
        read_exactly(fd, frame + PEER_HEAD_BYTES, (size_t)size - PEER_HEAD_BYTES);
        assert_int_equal(peer_frame_parse(bytes_of(frame, (size_t)size), &parsed), 0);
    } while (parsed.kind != PEER_FAR_ANSWER); /* Replication says something, too. */
    assert_int_equal(parsed.number, number);
    *status = parsed.body.size > 1 ? parsed.body.data[1] : 0;
    return (enum far_answer_kind)parsed.body.data[0];
}

/* As next_answer(), asked until it is done: a starved thread is a pause as well. */
static void ask_until_done(int fd, uint64_t *number, enum request_op op, const char *key)
{
    enum far_answer_kind kind;
    uint8_t status;

    do {
        ask_far(fd, ++*number, op, key);
        kind = next_answer(fd, *number, &status);
    } while (kind == FAR_REFUSED);
    assert_int_equal(kind, FAR_DONE);
}

/* Another node's requests that lay there: who still waits for them is told to ask anew. */
static void test_link(void **state)
{
    struct plane_client client;
    uint64_t number = 0;
    uint8_t status;

    (void)state;
    begin();
    plane_client_connect(&client, &kit.nodes[0]);
    int fd = make_link(false);
    ask_until_done(fd, &number, REQUEST_GET, key_of(1, 0));
    stop_thread(true);
    ask_far(fd, number + 1, REQUEST_WRITE, key_of(1, 0));
    ask_far(fd, number + 2, REQUEST_GET, key_of(1, 0));
    go_on();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(next_answer(fd, ++number, &status), FAR_REFUSED);
        assert_int_equal(status, STATUS_UNAVAILABLE);
    }
    assert_false(is_there(&client, key_of(1, 0)));
    ask_until_done(fd, &number, REQUEST_WRITE, key_of(1, 0));
    assert_true(is_there(&client, key_of(1, 0)));
    close(fd);
    plane_client_close(&client);
    end();
}

/* ---- A machine that was suspended ---- */

/* In a child of it CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, as after a suspend. Returns whether it can be so. */
static bool suspend_machine(void)
{
    static const char ahead[] = "boottime 100000 0\n";

    if (unshare(CLONE_NEWUSER | CLONE_NEWTIME) != 0) {
        return false;
    }
    int fd = open("/proc/self/timens_offsets", O_WRONLY);
    bool done = fd >= 0 && write(fd, ahead, sizeof ahead - 1) == (ssize_t)sizeof ahead - 1;
    close(fd);
    return done;
}

static bool counts_suspends(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t behind_s = (int64_t)now.tv_sec - (int64_t)(monotonic_us() / 1000000);
    return behind_s >= -1 && behind_s <= 1;
}

static int wait_for(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The clock by which a thread sees that it did nothing for a while goes on meanwhile. */
static void test_suspended_machine(void **state)
{
    enum { COUNTS, DOES_NOT, CANNOT };

    (void)state;
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        pid_t child = suspend_machine() ? fork() : -1;
        if (child == 0) {
            _exit(counts_suspends() ? COUNTS : DOES_NOT);
        }
        _exit(child < 0 ? CANNOT : wait_for(child));
    }
    int found = wait_for(parent);
    if (found == CANNOT) {
        skip();
    }
    assert_int_equal(found, COUNTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native),  cmocka_unit_test(test_redis),
        cmocka_unit_test(test_waiting), cmocka_unit_test(test_within_a_turn),
        cmocka_unit_test(test_link),    cmocka_unit_test(test_suspended_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
