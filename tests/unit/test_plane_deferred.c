/* Parts of requests for many keys that found no room in the queue to their shard: what is kept of them is bounded. */
#include <poll.h>
#include <semaphore.h>

#include "bounds.h"
#include "plane_kit.h"
#include "slot.h"

enum { CLIENTS = 120, PARTS = 1024, KEY_BYTES = 512 };

static struct plane_kit kit;

/* The clock, read at the beginning of each turn, holds up the first thread that reads it. */
static struct {
    sem_t holding, release;
    _Atomic bool armed;
} brake;

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        assert_int_equal(errno, EINTR);
    }
}

static uint64_t braking_now_ms(void *clock)
{
    if (atomic_exchange(&brake.armed, false)) {
        sem_post(&brake.holding);
        await(&brake.release);
    }
    return plane_kit_now_ms(clock);
}

static void add_ping(struct plane_client *client)
{
    plane_client_add(client, FRAME_PING, NULL, bytes_of(NULL, 0));
}

/* Hold up one of two threads. Returns which one goes on. */
static uint32_t hold_one(struct plane_client *const clients[2])
{
    struct pollfd polled[2];

    atomic_store(&brake.armed, true);
    await(&brake.holding);
    for (int i = 0; i < 2; i++) {
        add_ping(clients[i]);
        plane_client_flush(clients[i]);
        polled[i] = (struct pollfd){.fd = clients[i]->fd, .events = POLLIN};
    }
    while (poll(polled, 2, -1) < 0) {
        assert_int_equal(errno, EINTR);
    }
    const uint32_t goes = (polled[0].revents & POLLIN) != 0 ? 0 : 1;
    assert_int_equal(plane_client_status(clients[goes]), STATUS_OK);
    return goes;
}

static void add_string(struct buffer *buffer, struct bytes string)
{
    uint8_t size[VARINT_BYTES_MAX];

    assert_int_equal(
        buffer_append(buffer, bytes_of(size, (size_t)(varint_put(size, string.size) - size))), 0);
    assert_int_equal(buffer_append(buffer, string), 0);
}

/* Many times one key of that shard. */
static void add_get_many(struct plane_client *client, uint32_t shard)
{
    struct buffer list = {.memory = &client->memory.memory};
    char key[KEY_BYTES + 1];
    Belay__Wire__Many many;
    int number = 0;

    do {
        snprintf(key, sizeof key, "%0*d", KEY_BYTES, number++);
    } while (slot_of_key(text(key)) % 2 != shard);
    for (int i = 0; i < PARTS; i++) {
        add_string(&list, text(key));
    }
    belay__wire__many__init(&many);
    plane_client_add(client, FRAME_GET_MANY, &many.base, buffer_bytes(&list));
    buffer_fini(&list);
}

static void count_parts(struct plane_client *client, uint32_t *busy, uint32_t *done)
{
    struct frame frame;

    assert_true(plane_client_receive(client, &frame));
    assert_int_equal(frame.type, FRAME_GET_MANY);
    struct reader reader = reader_of(frame.value);
    for (int i = 0; i < PARTS; i++) {
        const struct bytes head = read_string(&reader);
        (void)read_string(&reader);
        Belay__Wire__Reply *reply = belay__wire__reply__unpack(NULL, head.size, head.data);
        assert_non_null(reply);
        assert_true(reply->status == STATUS_BUSY || reply->status == STATUS_NOT_FOUND);
        *busy += reply->status == STATUS_BUSY;
        *done += reply->status == STATUS_NOT_FOUND;
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    assert_false(reader.bad);
}

/* A shard takes nothing for a while: of what others have for it they keep so much and no more, for all connections together. */
static void test_bound(void **state)
{
    static struct plane_client all[4 * CLIENTS];
    static struct plane_client *clients[2][2 * CLIENTS];
    uint32_t counts[2] = {0, 0}, busy = 0, done = 0;

    (void)state;
    sem_init(&brake.holding, 0, 0);
    sem_init(&brake.release, 0, 0);
    plane_kit_init(&kit, 2);
    kit.options.now_ms = braking_now_ms;
    plane_kit_start(&kit);
    while (counts[0] <= CLIENTS || counts[1] <= CLIENTS) {
        struct plane_client *client = &all[counts[0] + counts[1]];
        plane_client_connect(client, &kit);
        add_ping(client);
        assert_int_equal(plane_client_status(client), STATUS_OK);
        const uint32_t shard = plane_kit_shard_stats(&kit, 0).connections > counts[0] ? 0 : 1;
        assert_true(counts[shard] < 2 * CLIENTS);
        clients[shard][counts[shard]++] = client;
    }
    struct plane_client *const firsts[2] = {clients[0][0], clients[1][0]};
    const uint32_t goes = hold_one(firsts);
    uint64_t bytes = plane_kit_shard_stats(&kit, goes).bytes_in;
    for (int i = 1; i <= CLIENTS; i++) {
        add_get_many(clients[goes][i], 1 - goes);
        bytes += clients[goes][i]->out.size;
        plane_client_flush(clients[goes][i]);
    }
    plane_kit_until(plane_kit_shard_stats(&kit, goes).bytes_in == bytes);
    add_ping(firsts[goes]); /* So the turn that took in the last of it is over. */
    assert_int_equal(plane_client_status(firsts[goes]), STATUS_OK);
    sem_post(&brake.release);
    for (int i = 1; i <= CLIENTS; i++) {
        count_parts(clients[goes][i], &busy, &done);
    }
    assert_true(busy > 0);
    assert_in_range((uint64_t)done * KEY_BYTES, DEFERRED_BYTES_MAX / 4,
                    DEFERRED_BYTES_MAX + HOP_BYTES);
    assert_int_equal(plane_client_status(firsts[1 - goes]), STATUS_OK);
    for (uint32_t shard = 0; shard < 2; shard++) {
        for (uint32_t i = 0; i < counts[shard]; i++) {
            plane_client_close(clients[shard][i]);
        }
    }
    plane_kit_stop(&kit);
    sem_destroy(&brake.holding);
    sem_destroy(&brake.release);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
