/* The data plane short of memory: the n-th request for it fails, alone or with some after it, n = 1, 2, ...
 * until it is not reached. Every request is answered or its connection ends; what is answered as not done
 * was not done; nothing leaks. */
#include "pages.h"
#include "plane_kit.h"

enum { KEYS = 24, LARGE_BYTES = 40000, MEDIUM_BYTES = 14000, CHANGES = 6000 };

static struct plane_kit kit;

/* The heap, until the fault. Any thread. */
static struct {
    struct memory memory,
        pages; /* Areas are the server's own: they take no memory before they are used. */
    _Atomic int64_t until; /* Requests before the fault; at -in_a_row it is over. */
    int64_t in_a_row;
    _Atomic int64_t outstanding_bytes;
} faulty;

static bool fails(void)
{
    int64_t left = atomic_fetch_sub(&faulty.until, 1);

    return left <= 0 && left > -faulty.in_a_row;
}

static void *faulty_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    (void)memory;
    if (new_size > 0 && fails()) {
        return NULL;
    }
    void *moved = new_size == 0 ? (free(block), NULL) : realloc(block, new_size);
    if (new_size == 0 || moved != NULL) {
        atomic_fetch_add(&faulty.outstanding_bytes, (int64_t)new_size - (int64_t)old_size);
    }
    return moved;
}

static uint32_t maybes; /* Answers MAYBE_APPLIED so far. */

static void *faulty_map(struct memory *memory, size_t size)
{
    (void)memory;
    void *area = fails() ? NULL : faulty.pages.map(&faulty.pages, size);
    if (area != NULL) {
        atomic_fetch_add(&faulty.outstanding_bytes, (int64_t)size);
    }
    return area;
}

static void faulty_unmap(struct memory *memory, void *area, size_t size)
{
    (void)memory;
    faulty.pages.unmap(&faulty.pages, area, size);
    atomic_fetch_sub(&faulty.outstanding_bytes, (int64_t)size);
}

static void arm(int64_t until)
{
    atomic_store(&faulty.until, until);
}

static void begin(uint32_t shards)
{
    pages_init(&faulty.pages);
    faulty.memory.resize = faulty_resize;
    faulty.memory.map = faulty_map;
    faulty.memory.unmap = faulty_unmap;
    arm(INT64_MAX);
    plane_kit_init(&kit, shards);
    kit.options.memory = &faulty.memory;
    for (uint32_t i = 0; i < shards; i++) {
        kit.segments[i].segment_bytes = 4 * 1024 * 1024;
    }
    plane_kit_start(&kit);
}

static void end(void)
{
    plane_kit_stop(&kit);
    assert_int_equal(atomic_load(&faulty.outstanding_bytes), 0);
}

static struct bytes key_of(int i)
{
    static char keys[KEYS][16];

    snprintf(keys[i], sizeof keys[i], "key-%d", i);
    return text(keys[i]);
}

/* A write with so many results that its answer needs memory. */
static void add_wide(struct plane_client *client, struct bytes key, enum ack_level ack)
{
    static uint8_t list[CHANGES * 8];
    struct change change = {.operation = CHANGE_SET, .name = text("n"), .value = text("v")};
    Belay__Wire__Write write;
    uint8_t *end_of_list = list;

    for (int i = 0; i < CHANGES; i++) {
        end_of_list = change_put(end_of_list, &change);
    }
    belay__wire__write__init(&write);
    write.key = wire_bytes(key);
    write.type = SESSION_MAP;
    write.ack = ack;
    plane_client_add(client, FRAME_WRITE, &write.base,
                     bytes_of(list, (size_t)(end_of_list - list)));
}

static void append_string(struct buffer *buffer, struct bytes string)
{
    uint8_t size[VARINT_BYTES_MAX];

    assert_int_equal(
        buffer_append(buffer, bytes_of(size, (size_t)(varint_put(size, string.size) - size))), 0);
    assert_int_equal(buffer_append(buffer, string), 0);
}

/* All keys in one call. */
static void add_write_many(struct plane_client *client)
{
    Belay__Wire__Many many;
    struct buffer list = {.memory = &client->memory.memory};
    struct change change = {.operation = CHANGE_SET, .name = text(""), .value = text("v")};
    uint8_t one[64];

    for (int i = 0; i < KEYS; i++) {
        append_string(&list, key_of(i));
        assert_int_equal(buffer_append(&list, bytes_of("", 1)), 0); /* No sequence. */
        append_string(&list, bytes_of(one, (size_t)(change_put(one, &change) - one)));
    }
    belay__wire__many__init(&many);
    many.type = SESSION_BLOB;
    many.ack = ACK_DISK;
    plane_client_add(client, FRAME_WRITE_MANY, &many.base, buffer_bytes(&list));
    buffer_fini(&list);
}

/* A status that says that nothing was done. */
static bool says_not_done(uint32_t status)
{
    return status != STATUS_OK && status != STATUS_MAYBE_APPLIED && status != STATUS_DISCONNECTED;
}

static uint32_t get_status(struct plane_client *client, struct bytes key)
{
    plane_client_add_get(client, key);
    return plane_client_status(client);
}

/* Send what was added, as far as the server goes along. */
static void flush(struct plane_client *client)
{
    struct bytes bytes = buffer_bytes(&client->out);
    ssize_t sent = 1;

    while (bytes.size > 0 && sent > 0) {
        do {
            sent = send(client->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        if (sent > 0) {
            bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
        }
    }
    client->out.size = 0;
}

/* Receive the answers to `count` requests from `first` on; those that never come: DISCONNECTED. */
static void receive_statuses(struct plane_client *client, uint32_t statuses[], uint64_t first,
                             uint32_t count)
{
    struct frame frame;

    for (uint32_t i = 0; i < count; i++) {
        statuses[i] = STATUS_DISCONNECTED;
    }
    for (uint32_t i = 0; i < count && plane_client_receive(client, &frame); i++) {
        Belay__Wire__Reply *reply =
            belay__wire__reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_non_null(reply);
        assert_in_range(frame.request_id, first, first + count - 1);
        assert_int_equal(statuses[frame.request_id - first], STATUS_DISCONNECTED);
        statuses[frame.request_id - first] = reply->status;
        maybes += reply->status == STATUS_MAYBE_APPLIED;
        belay__wire__reply__free_unpacked(reply, NULL);
    }
}

/* Writes of all kinds, with the fault among them. Returns whether it was reached. */
static bool run_writes(int64_t n, enum ack_level ack)
{
    struct plane_client client, other;
    uint32_t statuses[KEYS];

    begin(2);
    plane_client_connect(&client, &kit);
    plane_client_connect(&other, &kit);
    assert_int_equal(get_status(&client, text("warm")), STATUS_NOT_FOUND);
    for (int i = 0; i < KEYS; i++) {
        add_wide(&client, key_of(i), ack);
    }
    arm(n);
    flush(&client);
    receive_statuses(&client, statuses, 2, KEYS);
    bool reached = atomic_load(&faulty.until) < 0;
    arm(INT64_MAX);
    for (int i = 0; i < KEYS; i++) {
        uint32_t found = get_status(&other, key_of(i));
        assert_true(statuses[i] != STATUS_OK || found == STATUS_OK);
        assert_false(says_not_done(statuses[i]) && found == STATUS_OK);
    }
    plane_client_close(&client);
    plane_client_close(&other);
    end();
    return reached;
}

static void test_writes(void **state)
{
    (void)state;
    maybes = 0;
    for (faulty.in_a_row = 1; faulty.in_a_row <= 4; faulty.in_a_row += 3) {
        for (enum ack_level ack = ACK_MEMORY; ack <= ACK_DISK; ack += 2) {
            for (int64_t n = 1; run_writes(n, ack); n++) {
            }
        }
    }
    assert_true(maybes > 0);
}

static bool run_write_many(int64_t n)
{
    struct plane_client client, other;
    uint32_t status;

    begin(2);
    plane_client_connect(&client, &kit);
    plane_client_connect(&other, &kit);
    assert_int_equal(get_status(&client, text("warm")), STATUS_NOT_FOUND);
    add_write_many(&client);
    arm(n);
    flush(&client);
    receive_statuses(&client, &status, 2, 1);
    bool reached = atomic_load(&faulty.until) < 0;
    arm(INT64_MAX);
    for (int i = 0; i < KEYS; i++) {
        uint32_t found = get_status(&other, key_of(i));
        assert_false(says_not_done(status) && found == STATUS_OK);
        assert_true(reached || (status == STATUS_OK && found == STATUS_OK));
    }
    plane_client_close(&client);
    plane_client_close(&other);
    end();
    return reached;
}

static void test_write_many(void **state)
{
    (void)state;
    maybes = 0;
    for (faulty.in_a_row = 1; faulty.in_a_row <= 4; faulty.in_a_row += 3) {
        for (int64_t n = 1; run_write_many(n); n++) {
        }
    }
    assert_true(maybes > 0);
}

/* Answers that take their own memory from shard to shard, or together more than the queue has. */
static bool run_reads(int64_t n, size_t bytes)
{
    static uint8_t value[LARGE_BYTES];
    struct plane_client client, other;
    uint32_t statuses[KEYS];

    begin(2);
    plane_client_connect(&client, &kit);
    plane_client_connect(&other, &kit);
    for (int i = 0; i < KEYS; i++) {
        uint32_t status;
        do { /* The log may be behind. */
            plane_client_add_put(&other, key_of(i), bytes_of(value, bytes), ACK_MEMORY);
            status = plane_client_status(&other);
        } while (status == STATUS_BUSY);
        assert_int_equal(status, STATUS_OK);
    }
    for (int i = 0; i < KEYS; i++) {
        plane_client_add_get(&client, key_of(i));
    }
    arm(n);
    flush(&client);
    receive_statuses(&client, statuses, 1, KEYS);
    bool reached = atomic_load(&faulty.until) < 0;
    arm(INT64_MAX);
    for (int i = 0; i < KEYS; i++) {
        assert_true(statuses[i] == STATUS_OK || (reached && statuses[i] == STATUS_BUSY) ||
                    (reached && statuses[i] == STATUS_DISCONNECTED));
        assert_int_equal(get_status(&other, key_of(i)), STATUS_OK);
    }
    plane_client_close(&client);
    plane_client_close(&other);
    end();
    return reached;
}

static void test_reads(void **state)
{
    (void)state;
    for (faulty.in_a_row = 1; faulty.in_a_row <= 4; faulty.in_a_row += 3) {
        for (int64_t n = 1; run_reads(n, LARGE_BYTES); n++) {
        }
        for (int64_t n = 1; run_reads(n, MEDIUM_BYTES); n++) {
        }
    }
}

/* Storms of connections with much under way: their memory goes back when they have gone, each time. */
static void test_storms(void **state)
{
    enum { CLIENTS = 300, STORMS = 4, LARGE = 100000, KEPT = 4 * 1024 * 1024 };
    static struct plane_client clients[CLIENTS];
    static uint8_t value[LARGE];
    int64_t after_first = 0;

    (void)state;
    begin(2);
    for (int storm = 0; storm < STORMS; storm++) {
        uint64_t before = plane_kit_stats(&kit).bytes_in, sent = 0;
        for (int i = 0; i < CLIENTS; i++) {
            struct plane_client *client = &clients[i];
            plane_client_connect(client, &kit);
            for (int j = 0; j < 4; j++) {
                plane_client_add_put(client, key_of(j), bytes_of(value, 512), ACK_MEMORY);
            }
            plane_client_add_put(client, key_of(5), bytes_of(value, LARGE), ACK_MEMORY);
            sent += client->out.size - LARGE / 2;
            plane_client_send(client, bytes_of(client->out.data, client->out.size - LARGE / 2));
        }
        plane_kit_until(plane_kit_stats(&kit).bytes_in >= before + sent);
        plane_kit_until(atomic_load(&faulty.outstanding_bytes) > (int64_t)CLIENTS * LARGE);
        for (int i = 0; i < CLIENTS; i++) {
            plane_client_close(&clients[i]);
        }
        int64_t kept =
            storm == 0 ? KEPT : after_first + KEPT / 2; /* What is under way still goes. */
        plane_kit_until(plane_kit_stats(&kit).connections == 0 &&
                        atomic_load(&faulty.outstanding_bytes) <= kept);
        if (storm == 0) {
            after_first = atomic_load(&faulty.outstanding_bytes);
        }
    }
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_writes),
    cmocka_unit_test(test_write_many),
    cmocka_unit_test(test_reads),
    cmocka_unit_test(test_storms),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
