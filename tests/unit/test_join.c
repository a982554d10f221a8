/* What a new node and a member say to each other: golden bytes, what is refused, who asks again. */
#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "join.h"

static struct test_memory memory;
static struct buffer encoded;
static struct map map;
static struct placement_work work;
static struct map_command add, got;

static struct map_text text_of(const char *from)
{
    struct map_text text = {.size = (uint8_t)strlen(from)};

    memcpy(text.bytes, from, text.size);
    return text;
}

static int set_up(void **state)
{
    (void)state;
    memory = test_memory();
    encoded = (struct buffer){.memory = &memory.memory};
    map_init(&map, 7, 2);
    add = (struct map_command){
        .type = MAP_ADD,
        .weight = 300,
        .name = text_of("n2"),
        .zone = text_of("a"),
        .place = {.host = text_of("h"), .ports = {1, 2, 3, 4}, .shards = 4},
    };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_fini(&encoded);
    assert_int_equal(memory.outstanding_bytes, 0);
    return 0;
}

static void assert_bytes(const char *hex)
{
    char is[400] = "";

    for (size_t i = 0; i < encoded.size; i++) {
        sprintf(is + 2 * i, "%02x", encoded.data[i]);
    }
    assert_string_equal(is, hex);
}

static void test_join(void **state)
{
    (void)state;
    assert_int_equal(join_encode(&add, &encoded), 0);
    assert_bytes("01"
                 "0101"
                 "00"
                 "ac02"
                 "026e32"
                 "0161"
                 "00"
                 "0168"
                 "0100020003000400"
                 "00"
                 "04");
    assert_int_equal(join_decode(buffer_bytes(&encoded), &got), 0);
    assert_int_equal(got.weight, 300);
    assert_true(bytes_equal(map_text_bytes(&got.name), bytes_of_string("n2")));
    for (size_t size = 0; size < encoded.size; size++) {
        assert_int_not_equal(join_decode(bytes_of(encoded.data, size), &got), 0);
    }
    encoded.data[0] = 2;
    assert_int_equal(join_decode(buffer_bytes(&encoded), &got), -EPROTONOSUPPORT);
}

/* Only an ADD, of a node that has no number: who asks to be another member, or to end one, is refused. */
static void test_only_new_members(void **state)
{
    (void)state;
    add.number = 1;
    assert_int_equal(join_encode(&add, &encoded), 0);
    assert_int_equal(join_decode(buffer_bytes(&encoded), &got), -EBADMSG);
    encoded.size = 0;
    add.type = MAP_REMOVE;
    assert_int_equal(join_encode(&add, &encoded), 0);
    assert_int_equal(join_decode(buffer_bytes(&encoded), &got), -EBADMSG);
}

static void test_joined(void **state)
{
    struct joined joined = {
        .answer = JOIN_TAKEN,
        .number = 300,
        .seed = UINT64_C(0x0102030405060708),
        .beginning = bytes_of_string("map"),
    };
    struct joined is;

    (void)state;
    assert_int_equal(joined_encode(&joined, &encoded), 0);
    assert_bytes("01"
                 "00"
                 "00"
                 "ac02"
                 "0807060504030201"
                 "6d6170");
    assert_int_equal(joined_decode(buffer_bytes(&encoded), &is), 0);
    assert_int_equal(is.number, 300);
    assert_true(is.seed == joined.seed);
    assert_true(bytes_equal(is.beginning, joined.beginning));
    for (size_t size = 0; size <= encoded.size - 3; size++) {
        assert_int_not_equal(joined_decode(bytes_of(encoded.data, size), &is), 0);
    }
    encoded.size = 0;
    joined = (struct joined){.answer = JOIN_REFUSED, .text = text_of("there is an n2")};
    assert_int_equal(joined_encode(&joined, &encoded), 0);
    assert_int_equal(joined_decode(buffer_bytes(&encoded), &is), 0);
    assert_int_equal(is.answer, JOIN_REFUSED);
    assert_true(bytes_equal(map_text_bytes(&is.text), bytes_of_string("there is an n2")));
    encoded.data[1] = 9;
    assert_int_equal(joined_decode(buffer_bytes(&encoded), &is), -EBADMSG);
    encoded.data[0] = 7;
    assert_int_equal(joined_decode(buffer_bytes(&encoded), &is), -EPROTONOSUPPORT);
}

/* A node whose answer was lost is who it would have been; another one of its name is not, nor one that has lived. */
static void test_asking_again(void **state)
{
    struct map_command other;

    (void)state;
    assert_null(join_member(&map, &add));
    assert_int_equal(map_apply(&map, &work, &add), 0);
    assert_non_null(join_member(&map, &add));
    assert_int_equal(join_member(&map, &add)->number, 1);
    other = add;
    other.place.ports[MAP_PORT_PEER]++;
    assert_null(join_member(&map, &other));
    other = add;
    other.place.host = text_of("elsewhere");
    assert_null(join_member(&map, &other));
    other = (struct map_command){.type = MAP_PLACE, .number = 1, .place = add.place};
    other.place.start = 1;
    assert_int_equal(map_apply(&map, &work, &other), 0);
    assert_null(join_member(&map, &add));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_join, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_new_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_joined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asking_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
