/* Large requests: how long they wait, and for whom. */
#include "plane_kit.h"

static struct plane_kit kit;

enum { SLOW_BYTES = 8 * 1024 * 1024, SLOW_PAUSES = 4 };

/* Several requests, every second one sent in parts for twice as long as a request may wait. Returns whether all of them
 * were served. */
static bool run_slow_sender(uint32_t shards, uint32_t delay_ms, const uint8_t *value)
{
    struct plane_client client;
    uint32_t status = STATUS_OK;
    char key[16];

    plane_kit_init(&kit, shards);
    kit.options.limits.queue_delay_ms = delay_ms;
    kit.options.limits.frame_bytes = FRAME_BYTES_MAX;
    kit.policy.rules.session_bytes_max = SESSION_BYTES_MAX;
    for (uint32_t i = 0; i < shards; i++) {
        kit.segments[i].segment_bytes = 16 * 1024 * 1024;
    }
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < 6 && status == STATUS_OK; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        plane_client_add_put(&client, text(key), bytes_of(value, SLOW_BYTES), ACK_MEMORY);
        if (i % 2 != 0) {
            struct bytes all = buffer_bytes(&client.out);
            size_t part = all.size / SLOW_PAUSES;
            for (size_t at = 0; at + part <= all.size; at += part) {
                bool last = at + 2 * part > all.size;
                plane_client_send(&client, bytes_of(all.data + at, last ? all.size - at : part));
                usleep(2 * delay_ms * 1000 / SLOW_PAUSES);
            }
            client.out.size = 0;
        }
        status = plane_client_status(&client);
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
    return status == STATUS_OK;
}

/* What takes long to be received has not waited meanwhile: it waits from when it is whole. On a machine that itself makes
 * a request wait too long, all is slower. */
static void test_slow_sender(void **state)
{
    enum { DELAY_MS = 100, DELAY_MS_MAX = 12800 };
    uint8_t *value = calloc(1, SLOW_BYTES);

    (void)state;
    assert_non_null(value);
    for (uint32_t shards = 1; shards <= 2; shards++) {
        uint32_t delay_ms = DELAY_MS;
        while (!run_slow_sender(shards, delay_ms, value)) {
            delay_ms *= 2;
            assert_true(delay_ms <= DELAY_MS_MAX);
        }
    }
    free(value);
}

/* Large requests are served in the order in which they became whole, however many are sent. */
static void test_large_are_fair(void **state)
{
    enum { CLIENTS = 64, BYTES = 100000, EACH = 90, LEAST = EACH * 2 / 3 };
    static struct plane_client clients[CLIENTS];
    struct pollfd ready[CLIENTS];
    uint32_t counts[CLIENTS] = {0};
    uint8_t *value = calloc(1, BYTES);
    char key[16];

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    for (int i = 0; i < CLIENTS; i++) {
        plane_client_connect(&clients[i], &kit);
        ready[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        snprintf(key, sizeof key, "key-%d", i);
        plane_client_add_put(&clients[i], text(key), bytes_of(value, BYTES), ACK_MEMORY);
        plane_client_flush(&clients[i]);
    }
    for (int answered = 0; answered < CLIENTS * EACH;) {
        assert_true(poll(ready, CLIENTS, -1) > 0 || errno == EINTR);
        for (int i = 0; i < CLIENTS; i++) {
            struct frame frame;
            if ((ready[i].revents & POLLIN) != 0) {
                assert_true(plane_client_receive(&clients[i], &frame));
                snprintf(key, sizeof key, "key-%d", i);
                plane_client_add_put(&clients[i], text(key), bytes_of(value, BYTES), ACK_MEMORY);
                plane_client_flush(&clients[i]);
                counts[i]++;
                answered++;
            }
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_in_range(counts[i], LEAST, CLIENTS * EACH);
        plane_client_close(&clients[i]);
    }
    plane_kit_stop(&kit);
    free(value);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_slow_sender),
    cmocka_unit_test(test_large_are_fair),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
