/* The native protocol's bytes: heads written by hand are those of the generated code; ids of clients. */
#include "check.h"
#include "client_id.h"
#include "frame.h"
#include "native_answer.h"
#include "random.h"
#include "wire_head.h"

/* Numbers of every length, zero among them. */
static uint64_t any_number(uint64_t *random)
{
    return random_below(random, 4) == 0 ? 0 : random_next(random) >> random_below(random, 64);
}

static void test_reply(void **state)
{
    static uint8_t ours[4096], theirs[4096], bytes[300];
    static char texts[3][200];
    uint64_t random = 5;

    (void)state;
    memset(texts[1], 't', 20);
    memset(texts[2], 'u', sizeof texts[2] - 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    for (int i = 0; i < 20000; i++) {
        Belay__Wire__Reply reply;
        belay__wire__reply__init(&reply);
        reply.status = (uint32_t)any_number(&random);
        if (random_below(&random, 2) == 0) {
            reply.text = texts[random_below(&random, 3)];
        }
        reply.ack = (uint32_t)any_number(&random);
        reply.version.data = reply.owner.data = bytes;
        reply.version.len = random_below(&random, sizeof bytes);
        reply.type = (uint32_t)any_number(&random);
        reply.absolute_ms = any_number(&random);
        reply.idle_ms = any_number(&random);
        reply.deadline_ms = any_number(&random);
        reply.created_ms = any_number(&random);
        reply.last_access_ms = any_number(&random);
        reply.owner.len = random_below(&random, 3) == 0 ? 0 : random_below(&random, 255);
        reply.fields = (uint32_t)any_number(&random);
        reply.value_bytes = (uint32_t)any_number(&random);
        reply.siblings_hidden = (uint32_t)any_number(&random);
        reply.retry_after_ms = (uint32_t)any_number(&random);
        reply.repeated = random_below(&random, 2) == 0;
        reply.hlc = any_number(&random);
        reply.created = random_below(&random, 2) == 0;
        reply.stand_in = random_below(&random, 2) == 0;
        reply.node = (uint32_t)any_number(&random);
        size_t size = belay__wire__reply__pack(&reply, theirs);
        assert_int_equal(wire_reply_put(&reply, ours), size);
        assert_memory_equal(ours, theirs, size);
    }
}

/* The level of an answer that was kept is another one than was thought. */
static void test_level(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer scratch = {.memory = &memory.memory};
    struct native_answer answer;
    struct reply reply = {.op = REQUEST_WRITE,
                          .ack = ACK_REPLICA,
                          .version = bytes_of("version", 7),
                          .results = bytes_of("results", 7),
                          .hlc = 12345,
                          .created = true};
    uint8_t kept[512], wanted[512];
    struct frame frame;

    (void)state;
    native_answer(&answer, &reply, 0, &scratch);
    size_t size = native_answer_frame(&answer, FRAME_WRITE, 77, kept);
    native_frame_set_level(kept, size, ACK_REPLICA);
    native_frame_set_level(kept, size, ACK_DISK);
    reply.ack = ACK_DISK;
    native_answer(&answer, &reply, 0, &scratch);
    assert_int_equal(native_answer_frame(&answer, FRAME_WRITE, 77, wanted), size);
    assert_memory_equal(kept, wanted, size);
    assert_int_equal(frame_parse(bytes_of(kept, size), &frame), 0);

    size = native_answer_part(&answer, wanted);
    reply.ack = ACK_REPLICA;
    native_answer(&answer, &reply, 0, &scratch);
    assert_int_equal(native_answer_part(&answer, kept), size);
    native_part_set_level(kept, size, ACK_DISK);
    assert_memory_equal(kept, wanted, size);
    buffer_fini(&scratch);
}

static int compare_ids(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* No two clients of any nodes, starts and counters share an id; the first ones are small. */
static void test_client_ids(void **state)
{
    static const uint32_t nodes[] = {1, 2, 15, 16, 17, 255, 256, 1000, 65535, 65536, 4000000000};
    static const uint32_t starts[] = {1, 3, 15, 16, 31, 255, 256, 65535, 65536, 16777215};
    enum { NODES = 11, STARTS = 10, COUNTERS = 16 };
    static uint64_t ids[NODES * STARTS * COUNTERS];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < NODES; i++) {
        for (size_t j = 0; j < STARTS; j++) {
            for (uint64_t counter = 0; counter < COUNTERS; counter++) {
                ids[count] = client_id(nodes[i], starts[j], counter);
                assert_true(ids[count] != 0);
                count++;
            }
        }
    }
    qsort(ids, count, sizeof ids[0], compare_ids);
    for (size_t i = 1; i < count; i++) {
        assert_true(ids[i - 1] < ids[i]);
    }
    assert_true(varint_size(client_id(1, 1, 500)) <= 3);
    assert_true(client_id(1, 1, UINT64_C(1) << 51) != 0);
    assert_int_equal(client_id(1, 1, UINT64_C(1) << 52), 0);
    assert_int_equal(client_id(1, 1 << 24, 0), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reply),
    cmocka_unit_test(test_level),
    cmocka_unit_test(test_client_ids),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
