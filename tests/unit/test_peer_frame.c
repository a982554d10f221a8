/* Frames between nodes: the bytes, and everything that is none. */
#include "check.h"

#include <errno.h>

#include "crc32c.h"
#include "peer_frame.h"

enum { BODY_BYTES = 11 };

/* A frame of kind RAFT with the number 0x0102030405060708 and the body "hello world", given in two parts. */
static void make_frame(uint8_t whole[PEER_HEAD_BYTES + BODY_BYTES])
{
    const struct bytes parts[] = {text("hello "), text("world")};

    peer_frame_head_put(whole, PEER_RAFT, 0x0102030405060708, parts, 2);
    memcpy(whole + PEER_HEAD_BYTES, "hello world", BODY_BYTES);
}

/* The bytes are an agreement between releases. The checksum was made by a table-free CRC-32C of its own. */
static void test_golden_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[PEER_HEAD_BYTES] = {11, 0, 0, 0, 16, 0, 0,    0,    8,    7,
                                                    6,  5, 4, 3, 2,  1, 0x4f, 0x82, 0x19, 0xe8};
    uint8_t whole[PEER_HEAD_BYTES + BODY_BYTES];

    make_frame(whole);
    assert_memory_equal(whole, golden, sizeof golden);
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint8_t whole[PEER_HEAD_BYTES + BODY_BYTES];
    struct peer_frame frame;

    make_frame(whole);
    assert_int_equal(peer_frame_size(bytes_of(whole, PEER_HEAD_BYTES), BODY_BYTES), sizeof whole);
    assert_int_equal(peer_frame_parse(bytes_of(whole, sizeof whole), &frame), 0);
    assert_int_equal(frame.kind, PEER_RAFT);
    assert_int_equal(frame.number, 0x0102030405060708);
    assert_bytes_equal(frame.body, text("hello world"));

    peer_frame_head_put(whole, PEER_KINDS_END - 1, UINT64_MAX, NULL, 0);
    assert_int_equal(peer_frame_parse(bytes_of(whole, PEER_HEAD_BYTES), &frame), 0);
    assert_int_equal(frame.kind, PEER_KINDS_END - 1);
    assert_int_equal(frame.number, UINT64_MAX);
    assert_int_equal(frame.body.size, 0);
}

/* Cut anywhere it is not whole, and no bit of it can change unseen. */
static void test_cut_and_damaged(void **state)
{
    (void)state;
    uint8_t whole[PEER_HEAD_BYTES + BODY_BYTES + 1] = {0};
    struct peer_frame frame = {.number = 99};

    make_frame(whole);
    for (size_t size = 0; size < sizeof whole; size++) {
        int64_t found = peer_frame_size(bytes_of(whole, size), BODY_BYTES);
        assert_int_equal(found, size < PEER_HEAD_BYTES ? 0 : PEER_HEAD_BYTES + BODY_BYTES);
        if (size != PEER_HEAD_BYTES + BODY_BYTES) {
            assert_int_equal(peer_frame_parse(bytes_of(whole, size), &frame), -EBADMSG);
        }
    }
    assert_int_equal(peer_frame_parse(bytes_of(whole, sizeof whole), &frame), -EBADMSG);
    for (size_t bit = 0; bit < 8 * (PEER_HEAD_BYTES + BODY_BYTES); bit++) {
        whole[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(peer_frame_parse(bytes_of(whole, sizeof whole - 1), &frame), 0);
        whole[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(frame.number, 99);
}

/* What shows from the head alone: too large for where it comes, and what is no frame. */
static void test_bad_heads(void **state)
{
    (void)state;
    uint8_t whole[PEER_HEAD_BYTES + BODY_BYTES];

    make_frame(whole);
    assert_int_equal(peer_frame_size(bytes_of(whole, sizeof whole), BODY_BYTES - 1), -EMSGSIZE);
    store_u32(whole, PEER_BODY_BYTES_MAX + 1);
    assert_int_equal(peer_frame_size(bytes_of(whole, sizeof whole), PEER_BODY_BYTES_MAX),
                     -EMSGSIZE);
    for (size_t zero = 5; zero < 8; zero++) {
        make_frame(whole);
        whole[zero] = 1;
        assert_int_equal(peer_frame_size(bytes_of(whole, sizeof whole), BODY_BYTES), -EBADMSG);
    }
    make_frame(whole);
    whole[4] = 0;
    assert_int_equal(peer_frame_size(bytes_of(whole, sizeof whole), BODY_BYTES), -EBADMSG);
    whole[4] = PEER_KINDS_END;
    assert_int_equal(peer_frame_size(bytes_of(whole, sizeof whole), BODY_BYTES), -EBADMSG);
    assert_int_equal(peer_frame_size(text("GET / HTTP/1.1\r\nHost: x"), BODY_BYTES), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_bad_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
