/* What libbelay makes of answers, against the fake server. */
#include "client_kit.h"

/* ---- Answers ---- */

/* Answers every eight GETs at once, the last first. */
static void handle_reversed(struct fake_connection *connection, const struct frame *frame)
{
    static struct frame waiting[8];
    static char keys[8][600];
    uint32_t count = atomic_load(&connection->fake->requests);

    waiting[(count - 1) % 8] = *frame;
    key_of_get(frame, keys[(count - 1) % 8], 600);
    for (int i = 7; count % 8 == 0 && i >= 0; i--) {
        fake_reply(connection, &waiting[i], STATUS_OK, text(keys[i]));
    }
}

static void test_replies_in_any_order(void **state)
{
    struct fake fake = {.handle = handle_reversed};
    struct answer answers[64] = {{0}};
    char key[20];

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    for (int i = 0; i < 64; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        send_ok(belay_get_begin(client, belay_text(key), 0), &answers[i]);
    }
    assert_int_equal(belay_client_unanswered(client), 64);
    belay_client_run(client);
    for (int i = 0; i < 64; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(answers[i].calls, 1);
        assert_string_equal(answers[i].value, key);
    }
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* All of one turn leave in one send(). */
static void test_one_turn_is_one_send(void **state)
{
    struct fake fake = {.handle = handle_echo};
    struct answer answers[200] = {{0}};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_get(client, belay_text("first"), NULL), BELAY_OK);
    uint64_t before = belay_client_counter(client, BELAY_COUNT_SENDS);
    for (int i = 0; i < 200; i++) {
        send_ok(belay_get_begin(client, belay_text("k"), 0), &answers[i]);
    }
    belay_client_run(client);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_SENDS), before + 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* Asserts that no more than four are unanswered at a time. */
static void handle_four(struct fake_connection *connection, const struct frame *frame)
{
    static struct frame waiting[4];
    uint32_t count = atomic_load(&connection->fake->requests);

    waiting[(count - 1) % 4] = *frame;
    for (int i = 0; count % 4 == 0 && i < 4; i++) {
        fake_reply(connection, &waiting[i], STATUS_OK, text("v"));
    }
}

static void test_in_flight_limit_is_kept(void **state)
{
    struct fake fake = {.handle = handle_four, .in_flight_max = 4};
    struct answer answers[100] = {{0}};

    (void)state;
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    belay_options_queue_max(options, 100);
    struct belay_client *client = client_for(&fake, options);
    for (int i = 0; i < 100; i++) {
        send_ok(belay_get_begin(client, belay_text("k"), 0), &answers[i]);
    }
    assert_int_equal(belay_send(belay_get_begin(client, belay_text("k"), 0), answered, &answers[0]),
                     BELAY_TOO_MANY_IN_FLIGHT);
    belay_client_step(client);
    while (belay_client_unanswered(client) > 0) {
        assert_in_range(client->ready == 0 ? 0 : client->servers->links[0]->slots_used, 0, 4);
        belay_client_step(client);
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].status, BELAY_OK);
    }
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_CONNECTS), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* A large reply, a byte at a time around its header, then small ones in its wake. */
static void handle_dribble(struct fake_connection *connection, const struct frame *frame)
{
    size_t value_size = 1024 * 1024, size, at = 0;
    uint8_t *value = malloc(value_size);
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);

    for (size_t i = 0; i < value_size; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    head.type = SESSION_BLOB;
    uint8_t *reply =
        fake_frame(frame->type, frame->request_id, &head.base, bytes_of(value, value_size), &size);
    for (; at < 40; at++) {
        fake_send(connection, reply + at, 1);
    }
    for (size_t piece = 1000; at < size; piece = piece * 3 + 1) {
        piece = piece < size - at ? piece : size - at;
        fake_send(connection, reply + at, piece);
        at += piece;
    }
    free(reply);
    free(value);
}

static void test_large_reply_in_pieces(void **state)
{
    struct fake fake = {.handle = handle_dribble};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_OK);
        struct belay_bytes value = belay_result_value(result);
        assert_int_equal(value.size, 1024 * 1024);
        for (size_t i = 0; i < value.size; i++) {
            if (((const uint8_t *)value.data)[i] != (uint8_t)(i * 7 + i / 251)) {
                fail_msg("byte %zu is wrong", i);
            }
        }
        belay_result_destroy(result);
    }
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* ---- Many keys ---- */

static uint8_t *put_string(uint8_t *to, struct bytes string)
{
    to = varint_put(to, string.size);
    memcpy(to, string.data, string.size);
    return to + string.size;
}

static uint8_t *put_reply(uint8_t *to, uint32_t status, uint32_t type, struct bytes value)
{
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);
    uint8_t packed[100];
    char words[] = "said so";

    head.status = status;
    head.type = type;
    head.text = status == STATUS_OK ? head.text : words;
    size_t size = belay__wire__reply__pack(&head, packed);
    return put_string(put_string(to, bytes_of(packed, size)), value);
}

static void handle_many(struct fake_connection *connection, const struct frame *frame)
{
    Belay__Wire__ManyReply head;
    belay__wire__many_reply__init(&head);
    uint8_t value[400], *to = value;
    struct reader asked = reader_of(frame->value);

    if (frame->type == FRAME_GET_MANY) {
        assert(bytes_equal(read_string(&asked), text("a")));
        assert(bytes_equal(read_string(&asked), text("b")) && reader_done(&asked));
        to = put_reply(to, STATUS_OK, SESSION_BLOB, text("blob"));
        to = put_reply(to, STATUS_NOT_FOUND, 0, text(""));
    } else if (frame->type == FRAME_WRITE_MANY) {
        Belay__Wire__Many *many =
            belay__wire__many__unpack(NULL, frame->head.size, frame->head.data);
        assert(many != NULL && many->client == 4711 && many->type == SESSION_ZSET);
        belay__wire__many__free_unpacked(many, NULL);
        assert(bytes_equal(read_string(&asked), text("a")) && read_varint(&asked) == 1);
        assert(change_check(read_string(&asked)) == 2);
        assert(bytes_equal(read_string(&asked), text("b")) && read_varint(&asked) == 2);
        assert(change_check(read_string(&asked)) == 1 && reader_done(&asked));
        double score = 7.5;
        uint8_t results[9] = {2};
        memcpy(results + 1, &score, 8);
        to = put_reply(to, STATUS_OK, 0, bytes_of(results, 9));
        to = put_reply(to, STATUS_WRONG_TYPE, 0, text(""));
    } else {
        head.cursor = 99;
        to = put_string(put_string(to, text("one")), text("two"));
        *to++ = 50; /* Cut short: the walk ends before it. */
    }
    fake_reply_head(connection, frame->type, frame->request_id, &head.base,
                    bytes_of(value, (size_t)(to - value)));
}

static void test_many_keys(void **state)
{
    struct fake fake = {.handle = handle_many};
    struct belay_bytes a = belay_text("a"), b = belay_text("b"), key;
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *request = belay_get_many_begin(client, 0);
    belay_get_many_key(request, a);
    belay_get_many_key(request, b);
    assert_int_equal(belay_run(request, &result), BELAY_OK);
    assert_int_equal(belay_result_item_count(result), 2);
    struct belay_result *item = belay_result_item(result, 0);
    assert_bytes_equal(bytes_in(belay_result_value(item)), text("blob"));
    item = belay_result_item(result, 1);
    assert_int_equal(belay_result_status(item), BELAY_NOT_FOUND);
    assert_string_equal(belay_result_text(item), "said so");
    assert_null(belay_result_item(result, 2));
    belay_result_destroy(result);

    request = belay_write_many_begin(client, BELAY_UPSERT);
    belay_write_many_key(request, a);
    belay_write_set_score(request, belay_text("m"), 1, 0);
    belay_write_add_score(request, belay_text("m"), 1);
    belay_write_many_key(request, b);
    belay_write_add_score(request, belay_text("m"), 1);
    assert_int_equal(belay_run(request, &result), BELAY_OK);
    item = belay_result_item(result, 0);
    assert_int_equal(belay_result_change_count(item), 2);
    assert_int_equal(belay_result_change(item, 0), 1);
    assert_true(belay_result_score(item, 1) == 7.5);
    assert_int_equal(belay_result_status(belay_result_item(result, 1)), BELAY_WRONG_TYPE);
    belay_result_destroy(result);

    request = belay_scan_begin(client, 0, belay_text(""), BELAY_NONE, 2);
    assert_int_equal(belay_run(request, &result), BELAY_OK);
    assert_int_equal(belay_result_cursor(result), 99);
    size_t position = 0;
    assert_int_equal(belay_result_key(result, &position, &key), 1);
    assert_bytes_equal(bytes_in(key), text("one"));
    assert_int_equal(belay_result_key(result, &position, &key), 1);
    assert_int_equal(belay_result_key(result, &position, &key), 0);
    belay_result_destroy(result);
    belay_client_destroy(client);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_in_any_order),
        cmocka_unit_test(test_one_turn_is_one_send),
        cmocka_unit_test(test_in_flight_limit_is_kept),
        cmocka_unit_test(test_large_reply_in_pieces),
        cmocka_unit_test(test_many_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
