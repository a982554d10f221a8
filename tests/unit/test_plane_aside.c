/* Logs without room: what waits for them, from connections of their own thread and of others, how long, how much of it,
 * and in which order it is executed then. */
#include <pthread.h>

#include "bounds.h"
#include "plane_kit.h"
#include "slot.h"

enum { SHARDS = 2, VALUE_BYTES = 8000, FILL = 16, SEGMENT_BYTES = 64 * 1024 };

static struct plane_kit kit;
static const uint8_t value[VALUE_BYTES];

/* A key of `shard` that no other name or shard has. */
static struct bytes key_of(char key[32], const char *name, uint32_t shard)
{
    for (int i = 0;; i++) {
        snprintf(key, 32, "%.16s-%d", name, i);
        if (slot_of_key(text(key)) % SHARDS == shard) {
            return text(key);
        }
    }
}

/* Add a command of up to three words to what plane_client_flush() sends. */
static void add(struct plane_client *client, const char *command, struct bytes first,
                struct bytes second)
{
    const struct bytes words[] = {text(command), first, second};
    uint32_t count = second.data != NULL ? 3 : first.data != NULL ? 2 : 1;
    char head[32];

    snprintf(head, sizeof head, "*%u\r\n", count);
    assert_int_equal(buffer_append(&client->out, text(head)), 0);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(head, sizeof head, "$%zu\r\n", words[i].size);
        assert_int_equal(buffer_append(&client->out, text(head)), 0);
        assert_int_equal(buffer_append(&client->out, words[i]), 0);
        assert_int_equal(buffer_append(&client->out, text("\r\n")), 0);
    }
}

static const struct bytes none = {0};

/* What it says next. */
static void expect(struct plane_client *client, const char *reply)
{
    char said[256];
    size_t size = strlen(reply), got = 0;

    assert_true(size < sizeof said);
    while (got < size) {
        ssize_t now = plane_client_recv(client, said + got, size - got);
        assert_true(now > 0);
        got += (size_t)now;
    }
    said[size] = '\0';
    assert_string_equal(said, reply);
}

/* The next line. */
static void receive_line(struct plane_client *client, char line[256])
{
    size_t got = 0;

    while (got < 2 || line[got - 1] != '\n') {
        assert_true(got < 255);
        ssize_t now = plane_client_recv(client, line + got, 1);
        assert_true(now > 0);
        got += (size_t)now;
    }
    line[got] = '\0';
}

static bool is_silent(const struct plane_client *client)
{
    char byte;

    return recv(client->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* Small segments, the first of which each shard has. */
static void start(void)
{
    plane_kit_init(&kit, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        kit.segments[i].segment_bytes = SEGMENT_BYTES;
    }
}

/* Connections of both threads, in turn. Where the queue delay is short, a machine that stands still for a moment makes a
 * write BUSY. */
static void connect_all(struct plane_client clients[], int count)
{
    char key[32], line[256];

    for (int i = 0; i < count; i++) {
        plane_client_connect(&clients[i], &kit);
        for (uint32_t shard = 0; shard < SHARDS; shard++) {
            do {
                add(&clients[i], "SET", key_of(key, "first", shard), text("x"));
                plane_client_flush(&clients[i]);
                receive_line(&clients[i], line);
            } while (strncmp(line, "-BUSY", 5) == 0);
            assert_string_equal(line, "+OK\r\n");
        }
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t behind_ms; /* Since when the logs have had no room, at most. */

static void set_errors(int error)
{
    behind_ms = now_ms();
    for (uint32_t i = 0; i < SHARDS; i++) {
        atomic_store(&kit.segments[i].error, error);
    }
}

/* The logs have not been without room for so long that writes hear BUSY for that. */
static bool in_time(void)
{
    return now_ms() - behind_ms < LOG_WAIT_MS;
}

/* Until the machine was fast enough for the test to tell something. */
static void repeat(bool (*run)(void))
{
    for (int tries = 0; !run(); tries++) {
        assert_true(tries < 5);
    }
}

/* More writes than there is room for, to each shard. */
static void add_fill(struct plane_client *client)
{
    char key[32];

    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        for (int i = 0; i < FILL; i++) {
            add(client, "SET", key_of(key, "fill", shard), bytes_of(value, sizeof value));
        }
    }
}

static void expect_fill(struct plane_client *client)
{
    for (uint32_t i = 0; i < SHARDS * FILL; i++) {
        expect(client, "+OK\r\n");
    }
}

static bool both_are_behind(void)
{
    bool behind = true;

    for (uint32_t i = 0; i < SHARDS; i++) {
        behind = behind && atomic_load(&kit.segments[i].refused) > 0;
    }
    return behind;
}

/* Requests of many kinds for a session of `shard`; the last but one is about all keys, or a rename. */
static void add_some(struct plane_client *client, struct bytes key, uint32_t shard, bool walks)
{
    char other[32], renamed[16];

    add(client, "MULTI", none, none);
    add(client, "SET", key, text("1"));
    add(client, "EXEC", none, none);
    add(client, "GET", key, none);
    add(client, "INCR", key, none);
    add(client, "MULTI", none, none);
    add(client, "APPEND", key, text("0"));
    add(client, "EXEC", none, none);
    add(client, "DEL", key, key_of(other, "absent", 1 - shard));
    add(client, "SET", key, text("new"));
    if (walks) {
        add(client, "KEYS", key, none);
    } else {
        snprintf(renamed, sizeof renamed, "new%.12s", (const char *)key.data);
        add(client, "RENAME", key, key_of(other, renamed, 1 - shard));
    }
    add(client, "EXISTS", key, none);
}

static void expect_some(struct plane_client *client, struct bytes key, bool walks)
{
    char keys[64];

    expect(client, "*1\r\n+OK\r\n$1\r\n1\r\n:2\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n:"
                   "1\r\n+OK\r\n");
    snprintf(keys, sizeof keys, "*1\r\n$%zu\r\n%.*s\r\n", key.size, (int)key.size,
             (const char *)key.data);
    expect(client, walks ? keys : "+OK\r\n");
    expect(client, walks ? ":1\r\n" : ":0\r\n");
}

/* Writes wait wherever their connection and their session are, whatever they are made of, and what their connection sends
 * after them stays behind them. */
static bool run_waits(void)
{
    enum { FILLERS = 2, OTHERS = 8, HOPS_EACH = 6 };
    struct plane_client clients[FILLERS + OTHERS];
    char keys[OTHERS][32], name[16];

    start();
    plane_kit_start(&kit);
    connect_all(clients, FILLERS + OTHERS);
    set_errors(-EAGAIN);
    for (int i = 0; i < FILLERS; i++) {
        add_fill(&clients[i]);
        plane_client_flush(&clients[i]);
    }
    plane_kit_until(both_are_behind());
    uint64_t hops = plane_kit_stats(&kit).hops;
    for (int i = 0; i < OTHERS; i++) { /* The threads in turn, the shards, the last request. */
        uint32_t shard = (uint32_t)i / 2 % SHARDS;
        snprintf(name, sizeof name, "key%d", i);
        add_some(&clients[FILLERS + i], key_of(keys[i], name, shard), shard, i / 4 == 1);
        plane_client_flush(&clients[FILLERS + i]);
    }
    plane_kit_until(plane_kit_stats(&kit).hops >= hops + OTHERS / 2 * HOPS_EACH);
    for (int i = 0; i < OTHERS; i++) {
        expect(&clients[FILLERS + i], "+OK\r\n+QUEUED\r\n");
        bool silent = is_silent(&clients[FILLERS + i]);
        assert_true(silent || !in_time());
    }
    bool told = in_time();
    set_errors(0);
    for (int i = 0; i < FILLERS && told; i++) {
        expect_fill(&clients[i]);
    }
    for (int i = 0; i < OTHERS && told; i++) {
        expect_some(&clients[FILLERS + i], text(keys[i]), i / 4 == 1);
    }
    for (int i = 0; i < FILLERS + OTHERS; i++) {
        plane_client_close(&clients[i]);
    }
    plane_kit_stop(&kit);
    return told;
}

static void test_waits(void **state)
{
    (void)state;
    repeat(run_waits);
}

/* Clients that know BUSY wait as well, for as long as any request may. */
static void test_native(void **state)
{
    struct plane_client clients[2], others[2];
    char key[32];

    (void)state;
    start();
    kit.options.limits.queue_delay_ms = 60000;
    plane_kit_start(&kit);
    for (int i = 0; i < 2; i++) {
        plane_client_connect(&clients[i], &kit);
        for (uint32_t shard = 0; shard < SHARDS; shard++) {
            plane_client_add_put(&clients[i], key_of(key, "first", shard), text("x"), ACK_MEMORY);
            assert_int_equal(plane_client_status(&clients[i]), STATUS_OK);
        }
    }
    set_errors(-EAGAIN);
    for (int i = 0; i < 2; i++) {
        for (uint32_t n = 0; n < SHARDS * FILL; n++) {
            plane_client_add_put(&clients[i], key_of(key, "fill", n / FILL),
                                 bytes_of(value, sizeof value), ACK_MEMORY);
        }
        plane_client_flush(&clients[i]);
    }
    plane_kit_until(both_are_behind());
    for (int i = 0; i < 2; i++) { /* Reads of others go on. */
        plane_client_connect(&others[i], &kit);
        for (uint32_t shard = 0; shard < SHARDS; shard++) {
            plane_client_add_get(&others[i], key_of(key, "first", shard));
            assert_int_equal(plane_client_status(&others[i]), STATUS_OK);
        }
        plane_client_close(&others[i]);
    }
    set_errors(0);
    for (int i = 0; i < 2; i++) {
        for (uint32_t n = 0; n < SHARDS * FILL; n++) {
            struct frame frame;
            Belay__Wire__Reply *reply = plane_client_reply(&clients[i], &frame);
            assert_int_equal(reply->status, STATUS_OK);
            belay__wire__reply__free_unpacked(reply, NULL);
        }
        plane_client_close(&clients[i]);
    }
    plane_kit_stop(&kit);
}

/* A log that stays without room: BUSY after ten seconds, for those who know it after the queue delay, though others wait
 * longer in front of them; and for the parts of a request as for others. */
static bool run_gives_up(void)
{
    struct plane_client clients[4], native[2];
    char key[32], line[256];

    start();
    kit.options.limits.queue_delay_ms = 100;
    plane_kit_start(&kit);
    connect_all(clients, 4);
    for (int i = 0; i < 2; i++) {
        plane_client_connect(&native[i], &kit);
    }
    set_errors(-EAGAIN);
    for (int i = 0; i < 2; i++) {
        for (int n = 0; n < FILL; n++) {
            add(&clients[i], "SET", key_of(key, "fill", 0), bytes_of(value, sizeof value));
        }
        plane_client_flush(&clients[i]);
    }
    plane_kit_until(atomic_load(&kit.segments[0].refused) > 0);
    for (int i = 0; i < 2; i++) {
        add(&clients[2 + i], "MULTI", none, none);
        add(&clients[2 + i], "SET", key_of(key, "fill", 0), bytes_of(value, sizeof value));
        add(&clients[2 + i], "EXEC", none, none);
        plane_client_flush(&clients[2 + i]);
        expect(&clients[2 + i], "+OK\r\n+QUEUED\r\n");
        plane_client_add_put(&native[i], key_of(key, "native", 0), bytes_of(value, sizeof value),
                             ACK_MEMORY);
        assert_int_equal(plane_client_status(&native[i]), STATUS_BUSY);
        bool silent = is_silent(&clients[2 + i]);
        assert_true(silent || !in_time());
    }
    bool told = in_time();
    for (int i = 0; i < 2; i++) {
        do {
            receive_line(&clients[i], line);
        } while (strcmp(line, "+OK\r\n") == 0);
        assert_memory_equal(line, "-BUSY", 5);
        assert_false(in_time());
    }
    for (int i = 0; i < 2; i++) {
        receive_line(&clients[2 + i], line);
        assert_memory_equal(line, "-BUSY", 5);
    }
    set_errors(0);
    for (int i = 0; i < 4; i++) {
        plane_client_close(&clients[i]);
    }
    for (int i = 0; i < 2; i++) {
        plane_client_close(&native[i]);
    }
    plane_kit_stop(&kit);
    return told;
}

static void test_gives_up(void **state)
{
    (void)state;
    repeat(run_gives_up);
}

/* More than a shard keeps for others: BUSY at once, and what is kept stays. */
static bool run_full(void)
{
    enum { LARGE = 1024 * 1024, KEPT = ASIDE_BYTES_MAX / LARGE, OVER = 6 };
    struct plane_client clients[4];
    uint8_t *large = calloc(1, LARGE);
    char key[32], line[256];

    assert_non_null(large);
    start();
    for (uint32_t i = 0; i < SHARDS; i++) {
        kit.segments[i].segment_bytes = 2 * LARGE; /* Room for one. */
    }
    plane_kit_start(&kit);
    connect_all(clients, 4);
    uint64_t hops = plane_kit_stats(&kit).hops;
    add(&clients[0], "GET", key_of(key, "large", 0), none);
    plane_client_flush(&clients[0]);
    expect(&clients[0], "$-1\r\n");
    int remote = plane_kit_stats(&kit).hops > hops ? 0 : 1;
    add(&clients[remote], "SET", key_of(key, "large", 0), bytes_of(large, LARGE));
    plane_client_flush(&clients[remote]);
    expect(&clients[remote], "+OK\r\n");
    hops = plane_kit_stats(&kit).hops;
    set_errors(-EAGAIN);
    for (int n = 0; n < KEPT + OVER; n++) {
        add(&clients[remote], "SET", key_of(key, "large", 0), bytes_of(large, LARGE));
    }
    plane_client_flush(&clients[remote]);
    plane_kit_until(plane_kit_stats(&kit).hops == hops + KEPT + OVER);
    for (int i = 2; i < 4; i++) {
        add(&clients[i], "SET", key_of(key, "large", 0), bytes_of(large, LARGE));
        plane_client_flush(&clients[i]);
    }
    receive_line(&clients[2 + remote], line); /* Of the same thread: behind what is kept. */
    bool silent = is_silent(&clients[remote]) && is_silent(&clients[3 - remote]);
    bool told = in_time();
    if (told) {
        assert_memory_equal(line, "-BUSY too many requests wait", 28);
        assert_true(silent);
    }
    set_errors(-ENOSPC);
    for (int n = 0; n < KEPT + OVER && told; n++) {
        receive_line(&clients[remote], line);
        assert_true(line[0] == '-');
        assert_int_equal(strncmp(line, "-BUSY", 5) == 0, n >= KEPT);
    }
    set_errors(0);
    for (int i = 0; i < 4; i++) {
        plane_client_close(&clients[i]);
    }
    plane_kit_stop(&kit);
    free(large);
    return told;
}

static void test_full(void **state)
{
    (void)state;
    repeat(run_full);
}

static atomic_bool toggles;

/* The logs have no next segment half of the time. */
static void *toggle(void *context)
{
    (void)context;
    while (atomic_load(&toggles)) {
        set_errors(-EAGAIN);
        usleep(3000);
        set_errors(0);
        usleep(3000);
    }
    return NULL;
}

enum {
    ORDER_KEYS = 8,
    ORDER_BYTES = 20000,
    ORDER_STEPS = 7,
    ORDER_ROUND = ORDER_KEYS * ORDER_STEPS
};

/* Large values, read three times, then small ones, read twice. */
static void send_round(struct plane_client *client, char keys[ORDER_KEYS][32], int round)
{
    static uint8_t large[ORDER_BYTES];

    memset(large, round, ORDER_BYTES);
    for (int i = 0; i < ORDER_ROUND; i++) {
        struct bytes key = text(keys[i % ORDER_KEYS]);
        if (i / ORDER_KEYS == 0) {
            plane_client_add_put(client, key, bytes_of(large, ORDER_BYTES), ACK_MEMORY);
        } else if (i / ORDER_KEYS == 4) {
            plane_client_add_put(client, key, text("small"), ACK_MEMORY);
        } else {
            plane_client_add_get(client, key);
        }
    }
    plane_client_flush(client);
}

/* Reads whose answers are large are turned back, among writes that wait: neither passes the other. */
static void test_order(void **state)
{
    enum { ROUNDS = 24, AHEAD = 4 };
    struct plane_client client;
    struct frame frame;
    char keys[ORDER_KEYS][32], name[16];
    pthread_t toggler;

    (void)state;
    start();
    kit.options.limits.queue_delay_ms = 60000;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (uint32_t i = 0; i < ORDER_KEYS; i++) {
        snprintf(name, sizeof name, "key%u", i);
        key_of(keys[i], name, i % SHARDS);
    }
    uint64_t first = client.next_id + 1;
    atomic_store(&toggles, true);
    assert_int_equal(pthread_create(&toggler, NULL, toggle, NULL), 0);
    for (int round = 0; round < AHEAD; round++) {
        send_round(&client, keys, round);
    }
    for (int i = 0; i < ROUNDS * ORDER_ROUND; i++) {
        assert_true(plane_client_receive(&client, &frame));
        int number = (int)(frame.request_id - first);
        int step = number % ORDER_ROUND / ORDER_KEYS;
        if (step > 4) {
            assert_bytes_equal(frame.value, text("small"));
        } else if (step > 0 && step < 4) {
            assert_int_equal(frame.value.size, ORDER_BYTES);
            assert_int_equal(frame.value.data[ORDER_BYTES - 1], number / ORDER_ROUND);
        }
        if (i % ORDER_ROUND == 0 && i / ORDER_ROUND + AHEAD < ROUNDS) {
            send_round(&client, keys, i / ORDER_ROUND + AHEAD);
        }
    }
    atomic_store(&toggles, false);
    pthread_join(toggler, NULL);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* The end comes while requests wait: nothing of them stays. */
static void test_stop(void **state)
{
    struct plane_client clients[2];

    (void)state;
    start();
    plane_kit_start(&kit);
    connect_all(clients, 2);
    set_errors(-EAGAIN);
    for (int i = 0; i < 2; i++) {
        add_fill(&clients[i]);
        plane_client_flush(&clients[i]);
    }
    plane_kit_until(both_are_behind());
    plane_kit_stop(&kit);
    for (int i = 0; i < 2; i++) {
        plane_client_close(&clients[i]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_waits), cmocka_unit_test(test_native), cmocka_unit_test(test_gives_up),
    cmocka_unit_test(test_full),  cmocka_unit_test(test_order),  cmocka_unit_test(test_stop),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
