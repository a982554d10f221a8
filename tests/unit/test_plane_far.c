/* Requests that another node coordinates: asked there over links, whatever their language, kind and size, and what becomes
 * of them when the link breaks. */
#include "check.h"

#include <pthread.h>

#include "events.h"
#include "far_frame.h"
#include "peer_frame.h"
#include "planes_kit.h"
#include "replication.h"
#include "resp.h"

static struct planes_kit kit;

/* ---- A RESP client ---- */

/* In one piece: the kernel would keep a second one back until the first is acknowledged. */
static void ask(struct plane_client *client, const char *line)
{
    char whole[512];

    int size = snprintf(whole, sizeof whole, "%s\r\n", line);
    assert_true(size > 0 && (size_t)size < sizeof whole);
    plane_client_send(client, bytes_of(whole, (size_t)size));
}

static void expect(struct plane_client *client, const char *reply)
{
    char got[512] = "";
    size_t size = strlen(reply);

    for (size_t at = 0; at < size;) {
        ssize_t more = plane_client_recv(client, got + at, size - at);
        if (more <= 0) {
            fail_msg("the connection ended after \"%s\"", got);
        }
        at += (size_t)more;
    }
    assert_string_equal(got, reply);
}

static void connect_to(struct plane_client *client, uint32_t node)
{
    plane_client_connect(client, &kit.nodes[node]);
}

static uint64_t asked(uint32_t node)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < kit.nodes[node].options.shard_count; i++) {
        sum += plane_kit_shard_stats(&kit.nodes[node], i).far_asked;
    }
    return sum;
}

static void start(uint32_t count, const uint32_t shards[])
{
    planes_kit_init(&kit, count, shards);
    planes_kit_start(&kit, 1);
}

/* What one node was told, every other one has. */
static void test_any_node(void **state)
{
    static const uint32_t shards[] = {2, 3, 1};
    struct plane_client clients[3];
    char line[64], reply[64];

    (void)state;
    start(3, shards);
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&clients[i], i);
    }
    for (uint32_t key = 0; key < 60; key++) {
        snprintf(line, sizeof line, "SET k%u v%u", key, key);
        ask(&clients[key % 3], line);
        expect(&clients[key % 3], "+OK\r\n");
        snprintf(line, sizeof line, "GET k%u", key);
        snprintf(reply, sizeof reply, "$%u\r\nv%u\r\n", key < 10 ? 2 : 3, key);
        for (uint32_t i = 0; i < 3; i++) {
            ask(&clients[i], line);
            expect(&clients[i], reply);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(asked(i) > 40 && asked(i) < 80); /* Two thirds of 80. */
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* Order, errors, many keys, transactions, scripts. */
static void test_commands(void **state)
{
    static const uint32_t shards[] = {2, 2};
    struct plane_client client;

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    ask(&client, "MSET a 1 b 2 c 3 d 4 e 5");
    expect(&client, "+OK\r\n");
    ask(&client, "MGET a b c d e none");
    expect(&client, "*6\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$-1\r\n");
    ask(&client, "DEL a b c d e none");
    expect(&client, ":5\r\n");
    for (char key = 'a'; key < 'a' + 8; key++) {
        char lines[256];
        snprintf(lines, sizeof lines,
                 "SET %c x\r\nAPPEND %c y\r\nGET %c\r\nLPUSH %c 1\r\nINCR %c\r\nDEL %c\r\nGET "
                 "%c\r\nHSET %c f 1",
                 key, key, key, key, key, key, key, key);
        ask(&client, lines);
        expect(&client, "+OK\r\n:2\r\n$2\r\nxy\r\n-ERR unknown command");
        char rest[256];
        size_t at = 0;
        while (at == 0 || rest[at - 1] != '\n') {
            assert_int_equal(plane_client_recv(&client, rest + at++, 1), 1);
        }
        expect(&client, "-ERR value is not an integer or out of range\r\n:1\r\n$-1\r\n:1\r\n");
        snprintf(lines, sizeof lines,
                 "WATCH {%c}1\r\nMULTI\r\nSET {%c}1 p\r\nMSET {%c}2 q {%c}3 r\r\nMGET {%c}1 "
                 "{%c}3\r\nPING\r\nEXEC",
                 key, key, key, key, key, key);
        ask(&client, lines);
        expect(&client, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                        "*4\r\n+OK\r\n+OK\r\n*2\r\n$1\r\np\r\n$1\r\nr\r\n+PONG\r\n");
        snprintf(lines, sizeof lines, "RENAME {%c}1 {%c}4\r\nGET {%c}4", key, key, key);
        ask(&client, lines);
        expect(&client, "+OK\r\n$1\r\np\r\n");
        /* phpredis's script that releases a lock. */
        snprintf(lines, sizeof lines, "EVALSHA b70c2384248f88e6b75b9f89241a180f856ad852 1 {%c}4 p",
                 key);
        ask(&client, lines);
        expect(&client, ":1\r\n");
        snprintf(lines, sizeof lines, "EXISTS {%c}4", key);
        ask(&client, lines);
        expect(&client, ":0\r\n");
    }
    assert_true(asked(0) > 20);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* Values larger than any buffer, both ways, and many of them at once. */
static void test_large(void **state)
{
    enum { BYTES = 900 * 1000, COUNT = 12 };
    static const uint32_t shards[] = {1, 2};
    static uint8_t value[BYTES];
    struct plane_client client;
    struct frame frame;
    char key[16];

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < BYTES; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "large%u", i);
        value[0] = (uint8_t)i;
        plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, BYTES - i), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "large%u", i);
        plane_client_add_get(&client, bytes_of_string(key));
    }
    plane_client_flush(&client);
    for (uint32_t i = 0; i < COUNT; i++) {
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        assert_int_equal(reply->status, STATUS_OK);
        belay__wire__reply__free_unpacked(reply, NULL);
        uint32_t number = (uint32_t)frame.request_id - COUNT - 1;
        assert_true(number < COUNT && frame.value.size >= BYTES - number);
        value[0] = (uint8_t)number;
        assert_memory_equal(frame.value.data + (frame.value.size - (BYTES - number)), value,
                            BYTES - number);
    }
    assert_true(asked(0) >= COUNT / 2);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- A node that this test plays: what it is asked, and whether and what it answers ---- */

/* One shard; the real node has one, too, and owns what planes_kit_tables() gives the first. A thread says that it lives, as
 * replication does: a node that is not heard is not asked. */
struct played {
    int dialled;  /* Our end of the link that the real node has dialled... */
    int accepted; /* ... and of the one that we have. -1: there is none. */
    pthread_mutex_t lock;
    pthread_t pinger;
    bool over, quiet;
    struct buffer in;
    struct test_memory memory;
};

static void say(int fd, uint8_t kind, uint64_t number, struct bytes body)
{
    uint8_t head[PEER_HEAD_BYTES];

    peer_frame_head_put(head, kind, number, &body, 1);
    (void)!send(fd, head, sizeof head, MSG_NOSIGNAL | MSG_MORE);
    (void)!send(fd, body.data, body.size, MSG_NOSIGNAL);
}

static void *ping(void *context)
{
    struct played *node = context;
    bool over = false;

    while (!over) {
        usleep(20000);
        pthread_mutex_lock(&node->lock);
        if (node->dialled >= 0 && !node->quiet) {
            say(node->dialled, REPLICATION_PING, 0, bytes_of(NULL, 0));
        }
        if (node->accepted >= 0 && !node->quiet) {
            say(node->accepted, REPLICATION_PING, 0, bytes_of(NULL, 0));
        }
        over = node->over;
        pthread_mutex_unlock(&node->lock);
    }
    return NULL;
}

/* Our end of a new link. */
static int make_link(bool dialled)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct plane_link link = {
        .fd = ends[0], .dialled = dialled, .node = 2, .start = 1, .shard = 0, .shards = 1};
    assert_int_equal(plane_link(kit.nodes[0].plane, 0, &link), 0);
    return ends[1];
}

static void link_up(struct played *node)
{
    static const uint8_t nothing[16]; /* Of the real node's stream. */

    pthread_mutex_lock(&node->lock);
    node->dialled = make_link(true);
    say(node->dialled, REPLICATION_HELLO, 0, bytes_of(nothing, sizeof nothing));
    if (node->accepted < 0) {
        node->accepted = make_link(false);
    }
    pthread_mutex_unlock(&node->lock);
}

static void play_with(struct played *node, uint32_t silence_ms)
{
    static const uint32_t shards[] = {1, 1};

    planes_kit_init(&kit, 2, shards);
    kit.nodes[0].options.cluster.silence_ms = silence_ms;
    plane_kit_start(&kit.nodes[0]);
    planes_kit_tables(&kit, 1, 0);
    *node = (struct played){
        .dialled = -1,
        .accepted = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .memory = test_memory(),
    };
    node->in = (struct buffer){.memory = &node->memory.memory};
    assert_int_equal(pthread_create(&node->pinger, NULL, ping, node), 0);
}

static void play(struct played *node)
{
    play_with(node, 20000);
}

static void stop_playing(struct played *node)
{
    pthread_mutex_lock(&node->lock);
    node->over = true;
    pthread_mutex_unlock(&node->lock);
    pthread_join(node->pinger, NULL);
    if (node->dialled >= 0) {
        close(node->dialled);
    }
    if (node->accepted >= 0) {
        close(node->accepted);
    }
    buffer_fini(&node->in);
    planes_kit_stop(&kit);
}

static void read_exactly(int fd, uint8_t *to, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(fd, to, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        assert_true(got > 0);
        to += got;
        size -= (size_t)got;
    }
}

/* The next request. Of those the frame's number is returned. */
static uint64_t receive_request(struct played *node, struct far_request *far)
{
    struct buffer scratch = {.memory = &node->memory.memory};
    struct peer_frame frame;

    do {
        node->in.size = 0;
        assert_int_equal(buffer_reserve(&node->in, PEER_HEAD_BYTES), 0);
        read_exactly(node->dialled, node->in.data, PEER_HEAD_BYTES);
        int64_t size = peer_frame_size(bytes_of(node->in.data, PEER_HEAD_BYTES), 1 << 20);
        assert_true(size > 0);
        assert_int_equal(buffer_reserve(&node->in, (size_t)size), 0);
        read_exactly(node->dialled, node->in.data + PEER_HEAD_BYTES,
                     (size_t)size - PEER_HEAD_BYTES);
        assert_int_equal(peer_frame_parse(bytes_of(node->in.data, (size_t)size), &frame), 0);
    } while (frame.kind != PEER_FAR_REQUEST); /* Replication says something, too. */
    assert_int_equal(far_request_read(frame.body, &scratch, far), 0);
    buffer_fini(&scratch);
    return frame.number;
}

/* As say(), on the link that the real node has dialled. */
static void say_there(struct played *node, uint8_t kind, uint64_t number, struct bytes body)
{
    pthread_mutex_lock(&node->lock);
    say(node->dialled, kind, number, body);
    pthread_mutex_unlock(&node->lock);
}

static void answer(struct played *node, uint64_t number, const char *reply)
{
    char body[128];

    body[0] = FAR_DONE;
    size_t size = strlen(reply);
    memcpy(body + 1, reply, size);
    say_there(node, PEER_FAR_ANSWER, number, bytes_of(body, 1 + size));
}

static void link_down(struct played *node)
{
    uint32_t lost = atomic_load(&kit.lost);

    pthread_mutex_lock(&node->lock);
    close(node->dialled);
    node->dialled = -1;
    pthread_mutex_unlock(&node->lock);
    while (atomic_load(&kit.lost) == lost) {
        usleep(1000);
    }
}

/* A key that the played node owns. */
static const char *far_key(uint32_t number)
{
    static char keys[4][16];
    char *key = keys[number];
    uint32_t tries = number * 1000;

    do {
        snprintf(key, sizeof keys[0], "k%u", tries++);
    } while (slot_of_key(bytes_of_string(key)) % 2 != 1);
    return key;
}

/* Reads are asked anew, and what cannot be told whether it was done is said to be so. */
static void test_lost_link(void **state)
{
    struct plane_client reader, writer;
    struct played node;
    struct far_request far;
    char line[64];

    (void)state;
    play(&node);
    link_up(&node);
    connect_to(&reader, 0);
    connect_to(&writer, 0);
    snprintf(line, sizeof line, "GET %s", far_key(0));
    ask(&reader, line);
    uint64_t before = receive_request(&node, &far);
    assert_true(bytes_equal(far.request.key, bytes_of_string(far_key(0))));
    assert_string_equal(far.request.procedure->name, "get");
    snprintf(line, sizeof line, "SET %s 1", far_key(1));
    ask(&writer, line);
    (void)receive_request(&node, &far);
    assert_int_equal(far.request.op, REQUEST_WRITE);
    link_down(&node);
    expect(&writer, "-ERR the node that was asked was lost: the write may have been applied\r\n");
    link_up(&node);
    uint64_t again = receive_request(&node, &far);
    assert_int_equal(again, before);
    answer(&node, again, "$1\r\n7\r\n");
    expect(&reader, "$1\r\n7\r\n");
    answer(&node, again, "$1\r\n8\r\n"); /* It was answered. */
    snprintf(line, sizeof line, "GET %s", far_key(2));
    ask(&reader, line);
    answer(&node, receive_request(&node, &far), "$-1\r\n");
    expect(&reader, "$-1\r\n");
    plane_client_close(&reader);
    plane_client_close(&writer);
    stop_playing(&node);
}

static uint64_t add_numbered_put(struct plane_client *client, const char *key, uint64_t sequence)
{
    const struct change change = {
        .operation = CHANGE_SET, .name = bytes_of("", 0), .value = bytes_of_string("v")};
    Belay__Wire__Write write;
    uint8_t list[64];

    uint8_t *end = change_put(list, &change);
    belay__wire__write__init(&write);
    write.key = wire_bytes(bytes_of_string(key));
    write.type = SESSION_BLOB;
    write.client = 77;
    write.sequence = sequence;
    return plane_client_add(client, FRAME_WRITE, &write.base, bytes_of(list, (size_t)(end - list)));
}

/* A write with client and sequence is asked anew as one that may have been done, also once somebody has said that he has not
 * done it. */
static void test_numbered_write(void **state)
{
    static const uint8_t elsewhere[] = {FAR_REFUSED, STATUS_UNAVAILABLE};
    struct plane_client client;
    struct played node;
    struct far_request far;

    (void)state;
    play(&node);
    link_up(&node);
    connect_to(&client, 0);
    add_numbered_put(&client, far_key(0), 5);
    plane_client_flush(&client);
    (void)receive_request(&node, &far);
    assert_int_equal(far.request.client, 77);
    assert_int_equal(far.request.sequence, 5);
    assert_int_equal(far.request.retry_hlc, 0);
    link_down(&node);
    link_up(&node);
    uint64_t number = receive_request(&node, &far);
    assert_int_equal(far.request.client, 77);
    assert_int_equal(far.request.sequence, 5);
    assert_true(far.request.retry_hlc != 0);
    say_there(&node, PEER_FAR_ANSWER, number, bytes_of(elsewhere, sizeof elsewhere));
    assert_int_equal(receive_request(&node, &far), number);
    assert_true(far.request.retry_hlc != 0);
    answer(&node, number, "as it is");
    uint8_t got[8];
    read_exactly(client.fd, got, sizeof got);
    assert_memory_equal(got, "as it is", sizeof got);
    plane_client_close(&client);
    stop_playing(&node);
}

static void be_quiet(struct played *node, bool quiet)
{
    pthread_mutex_lock(&node->lock);
    node->quiet = quiet;
    pthread_mutex_unlock(&node->lock);
}

/* A node that is not heard any more: what it was asked goes elsewhere, and its link ends, so that it does not do it
 * once it is heard again, after what the client did since. */
static void test_silent_link(void **state)
{
    struct plane_client client;
    struct played node;
    struct far_request far;
    uint8_t got[8];

    (void)state;
    play_with(&node, 3000);
    link_up(&node);
    connect_to(&client, 0);
    uint32_t lost = atomic_load(&kit.lost);
    add_numbered_put(&client, far_key(0), 5);
    plane_client_flush(&client);
    (void)receive_request(&node, &far);
    be_quiet(&node, true);
    while (atomic_load(&kit.lost) == lost) {
        usleep(1000);
    }
    pthread_mutex_lock(&node.lock);
    close(node.dialled);
    node.dialled = -1;
    pthread_mutex_unlock(&node.lock);
    be_quiet(&node, false);
    link_up(&node);
    uint64_t number = receive_request(&node, &far);
    assert_true(far.request.retry_hlc != 0);
    answer(&node, number, "as it is");
    read_exactly(client.fd, got, sizeof got);
    assert_memory_equal(got, "as it is", sizeof got);
    plane_client_close(&client);
    stop_playing(&node);
}

/* Nobody there: an error, not a wait without an end. And one who says that he is not the one is not asked for ever. */
static void test_nobody(void **state)
{
    static const uint8_t elsewhere[] = {FAR_REFUSED, STATUS_UNAVAILABLE};
    struct plane_client client;
    struct played node;
    struct far_request far;
    char line[64];

    (void)state;
    play(&node);
    connect_to(&client, 0);
    snprintf(line, sizeof line, "SET %s 1", far_key(0));
    ask(&client, line);
    expect(&client, "-NOREPLICAS no node that has this session can be reached now\r\n");
    ask(&client, line);
    link_up(&node); /* It had not been asked: so it is now. */
    uint64_t number = receive_request(&node, &far);
    say_there(&node, PEER_FAR_ANSWER, number, bytes_of(elsewhere, sizeof elsewhere));
    assert_int_equal(receive_request(&node, &far), number);
    answer(&node, number, "+OK\r\n");
    expect(&client, "+OK\r\n");
    plane_client_close(&client);
    stop_playing(&node);
}

/* Read a key for which there is nobody. */
static uint64_t add_waiting_get(struct plane_client *client, const char *key, uint32_t timeout_ms,
                                uint32_t waited_ms)
{
    Belay__Wire__Get get;

    belay__wire__get__init(&get);
    get.key = wire_bytes(bytes_of_string(key));
    get.timeout_ms = timeout_ms;
    get.waited_ms = waited_ms;
    return plane_client_add(client, FRAME_GET, &get.base, bytes_of(NULL, 0));
}

/* Are the answers to these, none of which can be served, in this order? */
static bool are_refused_so(struct plane_client *client, const uint64_t ids[], uint32_t count)
{
    bool so = true;

    plane_client_flush(client);
    for (uint32_t i = 0; i < count; i++) {
        struct frame frame;
        Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
        assert_int_equal(reply->status, STATUS_UNAVAILABLE);
        so = so && frame.request_id == ids[i];
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    return so;
}

/* Whose client has waited at other nodes, and who cannot wait for as long, is told sooner that there is nobody. */
static void test_nobody_again(void **state)
{
    struct plane_client client;
    struct played node;
    bool so = false;

    (void)state;
    play(&node);
    connect_to(&client, 0);
    for (int tries = 0; tries < 20 && !so;
         tries++) { /* A thread that gets no time tells all at once. */
        const uint64_t first = add_waiting_get(&client, far_key(0), 0, 0);
        const uint64_t hurried = add_waiting_get(&client, far_key(1), 1000, 0);
        const uint64_t waited = add_waiting_get(&client, far_key(2), 0, 60000);
        const uint64_t ids[] = {waited, hurried, first};
        so = are_refused_so(&client, ids, 3);
    }
    assert_true(so);
    plane_client_close(&client);
    stop_playing(&node);
}

/* What is no frame, or not to be said on this link, ends it; the node goes on. */
static void test_bad_frames(void **state)
{
    static const uint8_t kinds[] = {PEER_FAR_REQUEST, PEER_PUBLISH, PEER_NEWS_ASK, 95, 70, 60};
    struct plane_client client;
    struct played node;
    uint8_t garbage[64];

    (void)state;
    memset(garbage, 0xff, sizeof garbage);
    play(&node);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < sizeof kinds + 2; i++) {
        uint32_t lost = atomic_load(&kit.lost);
        link_up(&node);
        if (i < sizeof kinds) {
            say_there(&node, kinds[i], 1, bytes_of(garbage, 8));
        } else if (i == sizeof kinds) {
            assert_true(send(node.dialled, garbage, sizeof garbage, MSG_NOSIGNAL) > 0);
        } else {
            uint8_t head[PEER_HEAD_BYTES];
            peer_frame_head_put(head, PEER_FAR_ANSWER, 1, NULL, 0);
            head[16] ^= 1; /* The checksum. */
            assert_true(send(node.dialled, head, sizeof head, MSG_NOSIGNAL) > 0);
        }
        while (atomic_load(&kit.lost) == lost) {
            usleep(1000);
        }
        pthread_mutex_lock(&node.lock);
        close(node.dialled);
        node.dialled = -1;
        pthread_mutex_unlock(&node.lock);
    }
    ask(&client, "PING");
    expect(&client, "+PONG\r\n");
    plane_client_close(&client);
    stop_playing(&node);
}

/* Two nodes that each take the other for a slot's owner do not pass a request between them for ever. */
static void test_disagreement(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client client;
    char line[64];

    (void)state;
    start(2, shards);
    struct slot_table *tables[2];
    for (uint32_t i = 0; i < 2; i++) {
        tables[i] = calloc(1, sizeof *tables[i]);
        assert_non_null(tables[i]);
        *tables[i] =
            (struct slot_table){.epoch = 9, .self = i + 1, .replicas = 1, .member_count = 2};
        for (uint32_t j = 0; j < 2; j++) {
            tables[i]->members[j] = (struct slot_table_member){
                .number = j + 1, .start = 1, .shards = 1, .serves = true};
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            tables[i]->owners[slot].nodes[0] = 2 - i;
        }
        atomic_fetch_add(&kit.tables, 1);
        assert_int_equal(plane_set_table(kit.nodes[i].plane, tables[i], planes_kit_released, &kit),
                         0);
    }
    connect_to(&client, 0);
    snprintf(line, sizeof line, "SET %s 1", "x");
    ask(&client, line);
    expect(&client, "-NOREPLICAS no node that has this session can be reached now\r\n");
    planes_kit_tables(&kit, 1, 0);
    ask(&client, line);
    expect(&client, "+OK\r\n");
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- RENAME ---- */

static void test_rename(void **state)
{
    static const uint32_t shards[] = {2, 1, 2};
    struct plane_client client;
    char line[256];

    (void)state;
    start(3, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < 20; i++) {
        /* Between slots, and so between nodes, of all kinds of pairs. */
        snprintf(line, sizeof line,
                 "HSET old%u f v g w\r\nEXPIRE old%u 1000\r\nSET new%u x\r\nRENAME old%u new%u", i,
                 i, i, i, i);
        ask(&client, line);
        expect(&client, ":2\r\n:1\r\n+OK\r\n+OK\r\n");
        snprintf(line, sizeof line, "EXISTS old%u\r\nHGET new%u f\r\nHLEN new%u\r\nTTL new%u", i, i,
                 i, i);
        ask(&client, line);
        expect(&client, ":0\r\n$1\r\nv\r\n:2\r\n:1000\r\n");
        snprintf(line, sizeof line,
                 "RENAME old%u new%u\r\nSET old%u y\r\nRENAMENX old%u new%u\r\nGET "
                 "old%u\r\nRENAMENX old%u third%u\r\nGET third%u\r\nEXISTS old%u",
                 i, i, i, i, i, i, i, i, i, i);
        ask(&client, line);
        expect(&client, "-ERR no such key\r\n+OK\r\n:0\r\n$1\r\ny\r\n:1\r\n$1\r\ny\r\n:0\r\n");
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- All keys ---- */

/* A line of a reply, without its end. */
static void read_line(struct plane_client *client, char line[128])
{
    size_t size = 0;

    do {
        assert_true(size < 127);
        assert_int_equal(plane_client_recv(client, line + size++, 1), 1);
    } while (line[size - 1] != '\n');
    line[size - 2] = '\0';
}

/* One page: what it has is marked in `seen`. Returns the next cursor. */
static unsigned long long scan(struct plane_client *client, unsigned long long cursor,
                               uint32_t seen[], uint32_t count)
{
    char line[128];

    snprintf(line, sizeof line, "SCAN %llu COUNT 20", cursor);
    ask(client, line);
    read_line(client, line);
    assert_string_equal(line, "*2");
    read_line(client, line);
    read_line(client, line);
    cursor = strtoull(line, NULL, 10);
    read_line(client, line);
    assert_int_equal(line[0], '*');
    for (unsigned long keys = strtoul(line + 1, NULL, 10); keys > 0; keys--) {
        read_line(client, line);
        read_line(client, line);
        uint32_t number = (uint32_t)strtoul(line + 1, NULL, 10);
        assert_true(line[0] == 'k' && number < count);
        seen[number]++;
    }
    return cursor;
}

static uint32_t keys_of(struct plane_client *client)
{
    char line[128];

    ask(client, "DBSIZE");
    read_line(client, line);
    return (uint32_t)strtoul(line + 1, NULL, 10);
}

/* Each node gives all keys, each once, also while owners change. */
static void test_scan(void **state)
{
    enum { KEYS = 500 };
    static const uint32_t shards[] = {2, 3, 1};
    struct plane_client clients[3];
    char line[128];

    (void)state;
    planes_kit_init(&kit, 3, shards);
    for (uint32_t i = 0; i < 3; i++) {
        kit.nodes[i].options.allow_flush = true;
    }
    planes_kit_start(&kit, 1);
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&clients[i], i);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u 1", i);
        ask(&clients[i % 3], line);
        expect(&clients[i % 3], "+OK\r\n");
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t seen[KEYS] = {0}, pages = 0;
        unsigned long long cursor = 0;
        do {
            cursor = scan(&clients[i], cursor, seen, KEYS);
            planes_kit_tables(&kit, 1, 0); /* Another epoch. */
            pages++;
        } while (cursor != 0);
        for (uint32_t key = 0; key < KEYS; key++) {
            assert_int_equal(seen[key], 1);
        }
        assert_true(pages >= 10);
        assert_int_equal(keys_of(&clients[i]), KEYS);
        ask(&clients[i], "KEYS k1?");
        read_line(&clients[i], line);
        assert_string_equal(line, "*10");
        for (uint32_t j = 0; j < 20; j++) {
            read_line(&clients[i], line);
        }
    }
    ask(&clients[1], "FLUSHALL");
    expect(&clients[1], "+OK\r\n");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(keys_of(&clients[i]), 0);
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* The native protocol's scan goes over all nodes, too; and what one of them cannot say is an error, in the end. */
static void test_native_scan(void **state)
{
    enum { KEYS = 60 };
    static const uint32_t shards[] = {2, 1};
    struct plane_client client;
    struct frame frame;
    char key[16];

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "n%u", i);
        plane_client_add_put(&client, bytes_of_string(key), bytes_of_string("v"), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    uint32_t keys = 0;
    uint64_t cursor = 0;
    do {
        Belay__Wire__Scan scan;
        belay__wire__scan__init(&scan);
        scan.cursor = cursor;
        scan.count = 10;
        plane_client_add(&client, FRAME_SCAN, &scan.base, bytes_of(NULL, 0));
        plane_client_flush(&client);
        assert_true(plane_client_receive(&client, &frame));
        Belay__Wire__ManyReply *reply =
            belay__wire__many_reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_non_null(reply);
        cursor = reply->cursor;
        belay__wire__many_reply__free_unpacked(reply, NULL);
        for (struct reader reader = reader_of(frame.value); reader_left(&reader) > 0;) {
            assert_int_equal(read_string(&reader).data[0], 'n');
            keys++;
        }
    } while (cursor != 0);
    assert_int_equal(keys, KEYS);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- The port of cluster-aware clients ---- */

static void test_cluster_port(void **state)
{
    static const uint32_t shards[] = {2, 1};
    struct plane_client client, plain;
    char line[128], expected[128];
    uint32_t moved = 0;

    (void)state;
    start(2, shards);
    const uint16_t ports[] = {plane_cluster_port(kit.nodes[0].plane),
                              plane_cluster_port(kit.nodes[1].plane)};
    plane_client_connect_port(&client, ports[0]);
    connect_to(&plain, 1);
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "m%u", i);
        uint32_t slot = slot_of_key(bytes_of_string(key));
        snprintf(line, sizeof line, "SET %s v", key);
        ask(&client, line);
        if (slot % 2 == 0) {
            expect(&client, "+OK\r\n");
        } else {
            snprintf(expected, sizeof expected, "-MOVED %u 127.0.0.1:%u\r\n", slot, ports[1]);
            expect(&client, expected);
            moved++;
        }
        snprintf(line, sizeof line, "SET %s w", key);
        ask(&plain, line);
        expect(&plain, "+OK\r\n"); /* At the other port nobody is sent away. */
    }
    assert_true(moved > 3 && moved < 17);
    /* m0 and m1 are of different slots, and so are these two from each other. */
    ask(&client, "MGET m0 m1");
    expect(&client, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    ask(&client, "EVALSHA b70c2384248f88e6b75b9f89241a180f856ad852 2 m0 m1 p");
    expect(&client, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    ask(&client, "SELECT 1\r\nSELECT 0\r\nREADWRITE\r\nASKING\r\nPING");
    expect(&client, "-ERR SELECT is not allowed in cluster mode\r\n+OK\r\n+OK\r\n+OK\r\n+PONG\r\n");
    ask(&client, "CLUSTER KEYSLOT foo\r\nCLUSTER MYID\r\nCLUSTER FOO");
    expect(&client, ":12182\r\n$40\r\nbe1a000000000000000000000000000000000001\r\n"
                    "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n");
    ask(&plain, "CLUSTER SLOTS\r\nREADONLY");
    expect(&plain, "-ERR This instance has cluster support disabled\r\n"
                   "-ERR This instance has cluster support disabled\r\n");
    plane_client_close(&client);
    plane_client_close(&plain);
    planes_kit_stop(&kit);
}

/* A queued command of another node's spoils its transaction. */
static void test_moved_in_multi(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client client;
    char line[128], expected[128];

    (void)state;
    start(2, shards);
    plane_client_connect_port(&client, plane_cluster_port(kit.nodes[0].plane));
    snprintf(line, sizeof line, "MULTI\r\nSET %s 1\r\nEXEC", far_key(0));
    snprintf(expected, sizeof expected,
             "+OK\r\n-MOVED %u 127.0.0.1:%u\r\n"
             "-EXECABORT Transaction discarded because of previous errors.\r\n",
             slot_of_key(bytes_of_string(far_key(0))), plane_cluster_port(kit.nodes[1].plane));
    ask(&client, line);
    expect(&client, expected);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* A node alone has all slots, at the address by which the client came. */
static void test_cluster_of_one(void **state)
{
    static const uint32_t shards[] = {1};
    struct plane_client client;
    char expected[256];

    (void)state;
    planes_kit_init(&kit, 1, shards);
    plane_kit_start(&kit.nodes[0]);
    uint16_t port = plane_cluster_port(kit.nodes[0].plane);
    plane_client_connect_port(&client, port);
    snprintf(expected, sizeof expected,
             "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$0\r\n\r\n:%u\r\n"
             "$40\r\nbe1a000000000000000000000000000000000001\r\n*0\r\n+OK\r\n",
             port);
    ask(&client, "CLUSTER SLOTS\r\nSET a 1");
    expect(&client, expected);
    snprintf(expected, sizeof expected,
             "$%zu\r\nbe1a000000000000000000000000000000000001 :%u@0 myself,master - 0 0 0 "
             "connected 0-16383\n\r\n",
             strlen("be1a000000000000000000000000000000000001 :@0 myself,master - 0 0 0 connected "
                    "0-16383\n") +
                 (port > 9999 ? 5U : 4U),
             port);
    ask(&client, "CLUSTER NODES");
    expect(&client, expected);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- PUBLISH ---- */

static void test_publish(void **state)
{
    static const uint32_t shards[] = {2, 1, 2};
    struct plane_client listeners[3], client;

    (void)state;
    start(3, shards);
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&listeners[i], i);
        ask(&listeners[i], "SUBSCRIBE news");
        expect(&listeners[i], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&client, i);
        char counted[8] = "";
        uint32_t sent = 0;
        while (strcmp(counted, ":3\r\n") != 0) { /* Who does not answer in time is not counted. */
            assert_true(++sent < 100);
            ask(&client, "PUBLISH news one");
            read_exactly(client.fd, (uint8_t *)counted, 4);
        }
        ask(&client, "MULTI\r\nPUBLISH news two\r\nEXEC");
        /* In a transaction the reply counts this node's. */
        expect(&client, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
        for (uint32_t j = 0; j < 3; j++) {
            for (uint32_t k = 0; k < sent; k++) {
                expect(&listeners[j], "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n");
            }
            expect(&listeners[j], "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n");
        }
        plane_client_close(&client);
    }
    for (uint32_t i = 0; i < 3; i++) {
        plane_client_close(&listeners[i]);
    }
    planes_kit_stop(&kit);
}

/* A node that is there and does not answer is not waited for long. */
static void test_publish_unanswered(void **state)
{
    struct plane_client client, listener;
    struct played node;

    (void)state;
    play(&node);
    link_up(&node);
    connect_to(&listener, 0);
    ask(&listener, "SUBSCRIBE news");
    expect(&listener, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    connect_to(&client, 0);
    ask(&client, "PUBLISH news x\r\nPUBSUB NUMSUB news\r\nPING");
    expect(&client, ":1\r\n*2\r\n$4\r\nnews\r\n:1\r\n+PONG\r\n");
    plane_client_close(&client);
    plane_client_close(&listener);
    stop_playing(&node);
}

/* The end of a session is told once to everybody, by the node that ends it. */
static void test_events(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client listeners[2], client;
    char line[64], reply[128];

    (void)state;
    planes_kit_init(&kit, 2, shards);
    for (uint32_t i = 0; i < 2; i++) {
        kit.nodes[i].options.events = EVENTS_KEYEVENT | EVENTS_GENERIC;
    }
    planes_kit_start(&kit, 1);
    for (uint32_t i = 0; i < 2; i++) {
        connect_to(&listeners[i], i);
        ask(&listeners[i], "SUBSCRIBE __keyevent@0__:del");
        expect(&listeners[i], "*3\r\n$9\r\nsubscribe\r\n$18\r\n__keyevent@0__:del\r\n:1\r\n");
    }
    connect_to(&client, 0);
    for (char key = 'a'; key < 'a' + 6; key++) {
        snprintf(line, sizeof line, "SET %c 1\r\nDEL %c", key, key);
        ask(&client, line);
        expect(&client, "+OK\r\n:1\r\n");
        snprintf(reply, sizeof reply,
                 "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:del\r\n$1\r\n%c\r\n", key);
        expect(&listeners[0], reply);
        expect(&listeners[1], reply);
    }
    plane_client_close(&client);
    for (uint32_t i = 0; i < 2; i++) {
        plane_client_close(&listeners[i]);
    }
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_node),       cmocka_unit_test(test_commands),
        cmocka_unit_test(test_large),          cmocka_unit_test(test_lost_link),
        cmocka_unit_test(test_numbered_write), cmocka_unit_test(test_silent_link),
        cmocka_unit_test(test_nobody),         cmocka_unit_test(test_nobody_again),
        cmocka_unit_test(test_bad_frames),     cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_rename),         cmocka_unit_test(test_scan),
        cmocka_unit_test(test_native_scan),    cmocka_unit_test(test_cluster_port),
        cmocka_unit_test(test_moved_in_multi), cmocka_unit_test(test_cluster_of_one),
        cmocka_unit_test(test_publish),        cmocka_unit_test(test_publish_unanswered),
        cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
