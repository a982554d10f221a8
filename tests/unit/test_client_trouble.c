/* libbelay against a server that loses connections, answers late, wrongly or not at all: what a real one cannot
 * be made to do. */
#include "client_kit.h"

/* What the handlers below saw of the writes. */
static atomic_ullong seen_sequence[4], seen_retry_hlc[4], seen_client[4];

static void note_write(const struct frame *frame, uint32_t index)
{
    Belay__Wire__Write *write =
        belay__wire__write__unpack(NULL, frame->head.size, frame->head.data);

    assert(write != NULL && index < 4);
    atomic_store(&seen_sequence[index], write->sequence);
    atomic_store(&seen_retry_hlc[index], write->retry_hlc);
    atomic_store(&seen_client[index], write->client);
    belay__wire__write__free_unpacked(write, NULL);
}

/* Half of the first reply, then gone; the second try gets context's status. */
static void handle_cut(struct fake_connection *connection, const struct frame *frame)
{
    uint32_t count = atomic_load(&connection->fake->requests);
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);
    size_t size;

    if (frame->type == FRAME_WRITE) {
        note_write(frame, count - 1);
    }
    if (count == 1) {
        uint8_t *reply =
            fake_frame(frame->type, frame->request_id, &head.base, text("never whole"), &size);
        fake_send(connection, reply, size / 2 + 10);
        free(reply);
        fake_close(connection);
        return;
    }
    uint32_t *status = connection->fake->context;
    fake_reply(connection, frame, *status, frame->type == FRAME_WRITE ? text("\2") : text("v"));
}

static void test_lost_connection_repeats_a_read(void **state)
{
    uint32_t status = STATUS_OK;
    struct fake fake = {.handle = handle_cut, .context = &status};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    assert_int_equal(atomic_load(&fake.requests), 2);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_RETRIES), 1);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_DISCONNECTS), 1);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_CONNECTS), 2);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* The second try says who it is, which write, and since when; its verdict reaches the caller. */
static void test_lost_connection_repeats_a_write(void **state)
{
    uint32_t status = STATUS_MAYBE_APPLIED;
    struct fake fake = {.handle = handle_cut, .context = &status};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_field_add(client, belay_text("k"), belay_text("n"), 1, &result),
                     BELAY_MAYBE_APPLIED);
    belay_result_destroy(result);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&seen_client[i]), 4711);
        assert_int_equal(atomic_load(&seen_sequence[i]), 1);
    }
    assert_int_equal(atomic_load(&seen_retry_hlc[0]), 0);
    assert_int_equal(atomic_load(&seen_retry_hlc[1]), 1000);
    assert_int_equal(belay_client_hlc(client), 5000);
    assert_int_equal(belay_put(client, belay_text("k"), belay_text("v"), NULL),
                     BELAY_MAYBE_APPLIED);
    assert_int_equal(atomic_load(&seen_sequence[2]), 2);
    assert_int_equal(atomic_load(&seen_retry_hlc[2]), 0);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* An answer; then the connection is lost; then answers. */
static void handle_crash(struct fake_connection *connection, const struct frame *frame)
{
    uint32_t count = atomic_load(&connection->fake->requests);

    note_write(frame, count - 1);
    if (count == 2) {
        fake_close(connection);
        return;
    }
    fake_reply(connection, frame, STATUS_OK, text("\2"));
}

/* After a crash that took the newest writes, and with the clock set back, a server may be at an earlier time than
 * the one before it had told: a try there may have been stamped with any time since it said HELLO. */
static void test_time_of_a_lost_life_is_forgotten(void **state)
{
    struct fake fake = {.handle = handle_crash};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_put(client, belay_text("k"), belay_text("v"), NULL), BELAY_OK);
    assert_int_equal(belay_client_hlc(client), 5000);
    assert_int_equal(belay_field_add(client, belay_text("k"), belay_text("n"), 1, NULL), BELAY_OK);
    assert_int_equal(atomic_load(&seen_sequence[2]), 2);
    assert_int_equal(atomic_load(&seen_retry_hlc[2]), 1000);
    assert_int_equal(belay_client_hlc(client), 5000);
    belay_client_destroy(client);
    fake_stop(&fake);
}

static void test_no_retry_ends_disconnected(void **state)
{
    uint32_t status = STATUS_OK;
    struct fake fake = {.handle = handle_cut, .context = &status};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *write = belay_write_begin(client, belay_text("k"), BELAY_UPSERT);
    belay_write_value(write, belay_text("v"));
    belay_request_no_retry(write);
    assert_int_equal(belay_run(write, &result), BELAY_DISCONNECTED);
    assert_non_null(strstr(belay_result_text(result), "was lost"));
    belay_result_destroy(result);
    assert_int_equal(atomic_load(&seen_sequence[0]), 0);
    assert_int_equal(atomic_load(&fake.requests), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

enum damage {
    DAMAGE_CHECKSUM,
    DAMAGE_TYPE,
    DAMAGE_SIZE,
    DAMAGE_ID,
    DAMAGE_HEAD,
    DAMAGE_FLAGS,
    DAMAGE_KINDS
};

/* The first reply is damaged, in a way that the context names. */
static void handle_damaged(struct fake_connection *connection, const struct frame *frame)
{
    enum damage *damage = connection->fake->context;
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);
    size_t size;

    if (atomic_load(&connection->fake->requests) > 1) {
        fake_reply(connection, frame, STATUS_OK, text("v"));
        return;
    }
    uint8_t type = *damage == DAMAGE_TYPE ? 99 : frame->type;
    uint64_t id = *damage == DAMAGE_ID ? frame->request_id + 5 : frame->request_id;
    head.status = *damage == DAMAGE_HEAD ? 1 : 0;
    uint8_t *reply = fake_frame(type, id, &head.base, text("value"), &size);
    if (*damage == DAMAGE_CHECKSUM) {
        reply[size - 1] ^= 1;
    } else if (*damage == DAMAGE_FLAGS) {
        struct bytes packed = bytes_of(reply + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES - 5);
        frame_header_put(reply, type, 0, id, packed, bytes_of(packed.data + packed.size, 5));
    } else if (*damage == DAMAGE_SIZE) {
        store_u32(reply + 4, 1u << 30);
    } else if (*damage == DAMAGE_HEAD) {
        reply[FRAME_HEADER_BYTES] = 0x0b; /* A group, which proto3 does not have. */
        struct bytes broken = bytes_of(reply + FRAME_HEADER_BYTES, 2);
        frame_header_put(reply, type, FRAME_REPLY, id, broken, bytes_of(broken.data + 2, 5));
    }
    fake_send(connection, reply, size);
    free(reply);
}

static void test_damaged_replies_end_the_connection(void **state)
{
    (void)state;
    for (enum damage damage = 0; damage < DAMAGE_KINDS; damage++) {
        struct fake fake = {.handle = handle_damaged, .context = &damage};
        fake_start(&fake);
        struct belay_client *client = client_for(&fake, NULL);
        assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
        assert_int_equal(belay_client_counter(client, BELAY_COUNT_BAD_FRAMES), 1);
        assert_int_equal(belay_client_counter(client, BELAY_COUNT_DISCONNECTS), 1);
        assert_true(client->servers->links[0]->in.capacity < 1024 * 1024);
        belay_client_destroy(client);
        fake_stop(&fake);
    }
}

/* Answers the second request only when the third has come. */
static void handle_late(struct fake_connection *connection, const struct frame *frame)
{
    static struct frame late;

    switch (atomic_load(&connection->fake->requests)) {
    case 1:
        fake_reply(connection, frame, STATUS_OK, text("connected"));
        break;
    case 2:
        late = *frame;
        break;
    default:
        fake_reply(connection, &late, STATUS_OK, text("late"));
        fake_reply(connection, frame, STATUS_OK, text("in time"));
    }
}

static void test_timeout_then_late_reply(void **state)
{
    enum { PATIENT_MS = 60000 }; /* Of a request that does not say. */
    struct fake fake = {.handle = handle_late};
    struct belay_options *options = belay_options_create();
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    belay_options_timeout_ms(options, PATIENT_MS);
    struct belay_client *client = client_for(&fake, options);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_timeout_ms(get, 50);
    uint64_t start_ns = uv_hrtime();
    assert_int_equal(belay_run(get, &result), BELAY_TIMEOUT);
    assert_in_range((uv_hrtime() - start_ns) / 1000000, 49, PATIENT_MS - 1);
    assert_non_null(strstr(belay_result_text(result), "50 ms"));
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_OK);
    assert_memory_equal(belay_result_value(result).data, "in time", 7);
    belay_result_destroy(result);
    assert_int_equal(client->servers->links[0]->slots_used, 0);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_CONNECTS), 1);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_TIMEOUTS), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* A peer that is gone without a word is noticed; one that still answers PING is not given up. */
static void test_silent_server_is_given_up(void **state)
{
    struct fake fake = {.handle = handle_nothing};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    client->silence_ms = 20;
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_timeout_ms(get, 10000);
    belay_request_no_retry(get);
    assert_int_equal(belay_run(get, NULL), BELAY_DISCONNECTED);
    belay_client_destroy(client);
    while (atomic_load(&fake.requests) < 2) { /* It reads them when it comes to that. */
        usleep(1000);
    }
    fake_stop(&fake);
    assert_int_equal(atomic_load(&fake.requests), 2); /* GET, PING. */
}

static void handle_pings_only(struct fake_connection *connection, const struct frame *frame)
{
    if (frame->type == FRAME_PING) {
        fake_reply(connection, frame, STATUS_OK, text(""));
    }
}

/* Is it kept for several times as long as a silent one would be? */
static bool is_kept(uint32_t silence_ms)
{
    struct fake fake = {.handle = handle_pings_only};

    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_run(belay_ping_begin(client), NULL), BELAY_OK);
    client->silence_ms = silence_ms;
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_timeout_ms(get, 6 * silence_ms);
    belay_request_no_retry(get);
    enum belay_status status = belay_run(get, NULL);
    bool kept = belay_client_counter(client, BELAY_COUNT_DISCONNECTS) == 0;
    assert_int_equal(status, kept ? BELAY_TIMEOUT : BELAY_DISCONNECTED);
    assert_true(!kept || atomic_load(&fake.requests) >= 4);
    assert_true(atomic_load(&fake.requests) <= 20);
    belay_client_destroy(client);
    fake_stop(&fake);
    return kept;
}

/* On a machine where the answer to a PING takes so long, all is slower. */
static void test_slow_server_is_kept(void **state)
{
    enum { SILENCE_MS_MAX_HERE = 8000 };

    (void)state;
    for (uint32_t silence_ms = 250; !is_kept(silence_ms); silence_ms *= 2) {
        assert_true(silence_ms < SILENCE_MS_MAX_HERE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_connection_repeats_a_read),
        cmocka_unit_test(test_lost_connection_repeats_a_write),
        cmocka_unit_test(test_time_of_a_lost_life_is_forgotten),
        cmocka_unit_test(test_no_retry_ends_disconnected),
        cmocka_unit_test(test_damaged_replies_end_the_connection),
        cmocka_unit_test(test_timeout_then_late_reply),
        cmocka_unit_test(test_silent_server_is_given_up),
        cmocka_unit_test(test_slow_server_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
