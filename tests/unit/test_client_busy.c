/* libbelay and a server that answers BUSY: how long calls wait, and which of them are sent again. */
#include "client_kit.h"

/* The loop's clock may be that much behind uv_hrtime(): it may be a coarse one, and is cut to whole ms. */
enum { CLOCK_SLACK_MS = 2 };

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void add_reply(struct buffer *out, uint8_t type, uint64_t id, uint32_t status,
                      uint32_t retry_after_ms)
{
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);
    size_t size;

    head.status = status;
    head.retry_after_ms = retry_after_ms;
    uint8_t *frame = fake_frame(type, id, &head.base, text(""), &size);
    int rc = buffer_append(out, bytes_of(frame, size));
    assert(rc == 0);
    free(frame);
}

static void reply_busy(struct fake_connection *connection, const struct frame *frame,
                       uint32_t retry_after_ms)
{
    struct buffer out = {.memory = &client_memory};

    add_reply(&out, frame->type, frame->request_id, STATUS_BUSY, retry_after_ms);
    fake_send(connection, out.data, out.size);
    buffer_fini(&out);
}

/* ---- One call ---- */

enum { TRIES_SEEN_MAX = 4 };

struct tries {
    uint32_t asked_ms;
    struct {
        uint64_t client, sequence, retry_hlc;
    } seen[TRIES_SEEN_MAX]; /* Of writes. */
};

static void see_write(struct tries *tries, uint32_t index, const struct frame *frame)
{
    Belay__Wire__Write *write =
        belay__wire__write__unpack(NULL, frame->head.size, frame->head.data);

    assert(write != NULL && index < TRIES_SEEN_MAX);
    tries->seen[index].client = write->client;
    tries->seen[index].sequence = write->sequence;
    tries->seen[index].retry_hlc = write->retry_hlc;
    belay__wire__write__free_unpacked(write, NULL);
}

/* BUSY until the third try. */
static void handle_busy(struct fake_connection *connection, const struct frame *frame)
{
    uint32_t count = atomic_load(&connection->fake->requests);
    struct tries *tries = connection->fake->context;

    if (frame->type == FRAME_WRITE) {
        see_write(tries, count - 1, frame);
    }
    if (count >= 3) {
        fake_reply(connection, frame, STATUS_OK, text(""));
    } else {
        reply_busy(connection, frame, tries->asked_ms);
    }
}

static void test_is_waited_out(void **state)
{
    struct tries tries = {.asked_ms = 30};
    struct fake fake = {.handle = handle_busy, .context = &tries};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    uint64_t start_ms = now_ms();
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    assert_true(now_ms() + 2 * CLOCK_SLACK_MS >= start_ms + 60);
    assert_int_equal(atomic_load(&fake.requests), 3);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_BUSY), 2);
    belay_client_destroy(client);
    fake_stop(&fake);
}

static void test_beyond_the_deadline(void **state)
{
    struct tries tries = {.asked_ms = 10000};
    struct fake fake = {.handle = handle_busy, .context = &tries};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_BUSY);
    assert_int_equal(belay_result_retry_after_ms(result), 10000);
    belay_result_destroy(result);
    assert_int_equal(atomic_load(&fake.requests), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* BUSY at first, then silent. */
static void handle_busy_once(struct fake_connection *connection, const struct frame *frame)
{
    if (atomic_load(&connection->fake->requests) == 1) {
        reply_busy(connection, frame, 1);
    }
}

/* Where the time is over, it is said that there were answers, and which. */
static void test_timeout_tells(void **state)
{
    struct fake fake = {.handle = handle_busy_once};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_timeout_ms(get, 300);
    assert_int_equal(belay_run(get, &result), BELAY_TIMEOUT);
    assert_string_equal(belay_result_text(result),
                        "no answer within 300 ms; answers BUSY before that: 1");
    belay_result_destroy(result);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* BUSY promises that nothing was done: each try is the same write, and none says that it may have been done. */
static void test_write_keeps_its_number(void **state)
{
    struct tries tries = {.asked_ms = 1};
    struct fake fake = {.handle = handle_busy, .context = &tries};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_put(client, belay_text("k"), belay_text("v"), NULL), BELAY_OK);
    assert_int_equal(belay_put(client, belay_text("k"), belay_text("w"), NULL), BELAY_OK);
    assert_int_equal(atomic_load(&fake.requests), 4);
    belay_client_destroy(client);
    fake_stop(&fake);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tries.seen[i].client, 4711);
        assert_int_equal(tries.seen[i].sequence, i < 3 ? 1 : 2);
        assert_int_equal(tries.seen[i].retry_hlc, 0);
    }
}

static void test_no_retry_ends_busy(void **state)
{
    struct tries tries = {.asked_ms = 1};
    struct fake fake = {.handle = handle_busy, .context = &tries};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_no_retry(get);
    assert_int_equal(belay_run(get, NULL), BELAY_BUSY);
    assert_int_equal(atomic_load(&fake.requests), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

enum { MANY_TRIES = 1000 }; /* At 2 ms or more each they take many times the deadline below. */

static void handle_always_busy(struct fake_connection *connection, const struct frame *frame)
{
    if (atomic_load(&connection->fake->requests) < MANY_TRIES) {
        reply_busy(connection, frame, 2);
    } else {
        fake_reply(connection, frame, STATUS_OK, text(""));
    }
}

/* However often it is sent again, a call has one deadline. */
static void test_all_tries_have_one_deadline(void **state)
{
    struct fake fake = {.handle = handle_always_busy};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
    belay_request_timeout_ms(get, 200);
    enum belay_status status = belay_run(get, NULL);
    /* TIMEOUT: the last answer, or the connection, was not there by then. */
    assert_true(status == BELAY_BUSY || status == BELAY_TIMEOUT);
    assert_true(atomic_load(&fake.requests) < MANY_TRIES);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* ---- Many calls ---- */

enum { CROWD_CALLS = 64, CROWD_ASKED_MS = 100, CROWD_JITTER_MS = CROWD_ASKED_MS / 2 + 1 };

struct crowd {
    uint32_t came;
    uint64_t ids[CROWD_CALLS];
    uint64_t refused_ms, again_ms[CROWD_CALLS]; /* By the server's clock, now_ms(). */
    uint64_t resume_at_ms[CROWD_CALLS];         /* By the client's. */
    uint32_t answered;
};

struct crowd_call {
    struct crowd *crowd;
    uint32_t index;
};

/* BUSY to each call's first try, to all at once, when all are there. */
static void handle_crowd(struct fake_connection *connection, const struct frame *frame)
{
    struct crowd *crowd = connection->fake->context;
    struct buffer out = {.memory = &client_memory};
    char key[8];

    key_of_get(frame, key, sizeof key);
    unsigned long index = strtoul(key, NULL, 10);
    assert(index < CROWD_CALLS);
    if (crowd->came == CROWD_CALLS) {
        crowd->again_ms[index] = now_ms();
        fake_reply(connection, frame, STATUS_OK, text(""));
        return;
    }
    crowd->ids[index] = frame->request_id;
    crowd->came++;
    if (crowd->came < CROWD_CALLS) {
        return;
    }
    for (int i = 0; i < CROWD_CALLS; i++) {
        add_reply(&out, FRAME_GET, crowd->ids[i], STATUS_BUSY, CROWD_ASKED_MS);
    }
    crowd->refused_ms = now_ms();
    fake_send(connection, out.data, out.size);
    buffer_fini(&out);
}

static void crowd_answered(struct belay_result *result, void *context)
{
    struct crowd_call *call = context;

    assert_int_equal(belay_result_status(result), BELAY_OK);
    call->crowd->resume_at_ms[call->index] = result->request->resume_at_ms;
    call->crowd->answered++;
}

static void send_crowd(struct belay_client *client, struct crowd_call *calls, struct crowd *crowd)
{
    for (uint32_t i = 0; i < CROWD_CALLS; i++) {
        char key[8];
        snprintf(key, sizeof key, "%u", i);
        calls[i] = (struct crowd_call){crowd, i};
        struct belay_request *get = belay_get_begin(client, belay_text(key), 0);
        assert_int_equal(belay_send(get, crowd_answered, &calls[i]), BELAY_OK);
    }
}

/* How many different waits there are, of those within the jitter of the shortest one. */
static uint32_t waits_in(const struct crowd *crowd)
{
    bool taken[CROWD_JITTER_MS + 1] = {false};
    uint64_t first_ms = UINT64_MAX;
    uint32_t waits = 0;

    for (int i = 0; i < CROWD_CALLS; i++) {
        first_ms = crowd->resume_at_ms[i] < first_ms ? crowd->resume_at_ms[i] : first_ms;
    }
    for (int i = 0; i < CROWD_CALLS; i++) {
        uint64_t later_ms = crowd->resume_at_ms[i] - first_ms;
        if (later_ms <= CROWD_JITTER_MS && !taken[later_ms]) {
            taken[later_ms] = true;
            waits++;
        }
    }
    return waits;
}

/* Calls that were turned away together wait as long as they were asked to at least, and come back apart. */
static void test_crowd_comes_back_apart(void **state)
{
    struct crowd crowd = {.came = 0};
    struct fake fake = {.handle = handle_crowd, .context = &crowd, .in_flight_max = CROWD_CALLS};
    struct crowd_call calls[CROWD_CALLS];

    (void)state;
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    belay_options_timeout_ms(options, 0);
    struct belay_client *client = client_for(&fake, options), *other = client_for(&fake, NULL);
    assert_true(client->random != other->random); /* So those of several clients do as well. */
    belay_client_destroy(other);
    send_crowd(client, calls, &crowd);
    belay_client_run(client);
    assert_int_equal(crowd.answered, CROWD_CALLS);
    assert_int_equal(atomic_load(&fake.requests), 2 * CROWD_CALLS);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_BUSY), CROWD_CALLS);
    belay_client_destroy(client);
    fake_stop(&fake);
    for (int i = 0; i < CROWD_CALLS; i++) {
        assert_true(crowd.resume_at_ms[i] + CLOCK_SLACK_MS >= crowd.refused_ms + CROWD_ASKED_MS);
        assert_true(crowd.again_ms[i] >= crowd.resume_at_ms[i]);
    }
    assert_true(waits_in(&crowd) >= 16); /* 36 of 52 may be expected. */
}

/* ---- Callbacks ---- */

/* When both are there the first is answered well, the second with BUSY, at once. */
static void handle_second_busy(struct fake_connection *connection, const struct frame *frame)
{
    uint32_t count = atomic_load(&connection->fake->requests);
    struct buffer out = {.memory = &client_memory};
    uint64_t *first_id = connection->fake->context;

    if (count == 1) {
        *first_id = frame->request_id;
    } else if (count == 2) {
        add_reply(&out, frame->type, *first_id, STATUS_OK, 0);
        add_reply(&out, frame->type, frame->request_id, STATUS_BUSY, 40);
        fake_send(connection, out.data, out.size);
        buffer_fini(&out);
    } else {
        fake_reply(connection, frame, STATUS_OK, text(""));
    }
}

static void answered_slowly(struct belay_result *result, void *end_ms)
{
    (void)result;
    usleep(80000);
    *(uint64_t *)end_ms = now_ms();
}

static void answered_at_last(struct belay_result *result, void *resume_at_ms)
{
    *(uint64_t *)resume_at_ms = result->request->resume_at_ms;
}

/* The wait begins when BUSY is looked at, however long a callback before that took. */
static void test_slow_callback_shortens_no_wait(void **state)
{
    uint64_t first_id, end_ms = 0, resume_at_ms = 0;
    struct fake fake = {.handle = handle_second_busy, .context = &first_id, .in_flight_max = 2};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *get = belay_get_begin(client, belay_text("a"), 0);
    assert_int_equal(belay_send(get, answered_slowly, &end_ms), BELAY_OK);
    get = belay_get_begin(client, belay_text("b"), 0);
    assert_int_equal(belay_send(get, answered_at_last, &resume_at_ms), BELAY_OK);
    belay_client_run(client);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_BUSY), 1);
    assert_true(end_ms != 0 && resume_at_ms + CLOCK_SLACK_MS >= end_ms + 40);
    belay_client_destroy(client);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_waited_out),
        cmocka_unit_test(test_beyond_the_deadline),
        cmocka_unit_test(test_timeout_tells),
        cmocka_unit_test(test_write_keeps_its_number),
        cmocka_unit_test(test_no_retry_ends_busy),
        cmocka_unit_test(test_all_tries_have_one_deadline),
        cmocka_unit_test(test_crowd_comes_back_apart),
        cmocka_unit_test(test_slow_callback_shortens_no_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
