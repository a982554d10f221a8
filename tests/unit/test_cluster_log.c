#include "cluster_log.h"

#include <errno.h>

#include "check.h"

static struct map map, other;
static struct placement_work work;
static struct cluster_outcomes outcomes, again;
static struct test_memory memory;
static struct buffer bytes, entry;

static int setup(void **state)
{
    (void)state;
    memory = test_memory();
    bytes = entry = (struct buffer){.memory = &memory.memory};
    memset(&outcomes, 0, sizeof outcomes);
    map_init(&map, 7, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_fini(&bytes);
    buffer_fini(&entry);
    assert_int_equal(memory.outstanding_bytes, 0);
    return 0;
}

static struct cluster_proposer by(uint64_t number)
{
    return (struct cluster_proposer){.node = 300, .start = 2, .number = number};
}

static struct bytes entry_of(uint64_t number, uint32_t replicas)
{
    const struct map_command command = {.type = MAP_REPLICAS, .replicas = replicas};
    const struct cluster_proposer proposer = by(number);

    entry.size = 0;
    assert_int_equal(cluster_entry_put(&entry, &proposer, &command), 0);
    return buffer_bytes(&entry);
}

static const struct cluster_applied *apply(uint64_t number, uint32_t replicas)
{
    return cluster_entry_apply(entry_of(number, replicas), &map, &work, &outcomes);
}

static void test_golden_bytes(void **state)
{
    static const uint8_t golden[] = {1, 0xac, 2, 2, 9, 1, 8, 3};
    static const uint8_t head[] = {1, 2, 0xac, 2, 2, 9, 0, 0xac, 2, 2, 10, 114};
    struct cluster_proposer proposer;
    struct map_command command;

    (void)state;
    assert_bytes_equal(entry_of(9, 3), bytes_of(golden, sizeof golden));
    assert_int_equal(cluster_entry_read(entry_of(9, 3), &proposer, &command), 0);
    assert_int_equal(proposer.node, 300);
    assert_int_equal(proposer.start, 2);
    assert_int_equal(proposer.number, 9);
    assert_int_equal(command.replicas, 3);
    assert_int_equal(apply(9, 3)->rc, 0);
    assert_int_equal(apply(10, 3)->rc, -EALREADY);
    assert_int_equal(cluster_state_put(&bytes, &map, &outcomes), 0);
    assert_bytes_equal(bytes_of(bytes.data, sizeof head), bytes_of(head, sizeof head));
    assert_int_equal(
        map_decode(bytes_of(bytes.data + sizeof head, bytes.size - sizeof head), &other), 0);
    assert_int_equal(other.epoch, map.epoch);
}

/* A command that comes again later changes nothing, also where the state went through a snapshot meanwhile. */
static void test_applied_once(void **state)
{
    const struct cluster_proposer first = by(1);

    (void)state;
    assert_int_equal(apply(1, 3)->rc, 0);
    assert_int_equal(apply(2, 1)->rc, 0);
    assert_null(apply(1, 3));
    assert_int_equal(map.replicas, 1);
    assert_int_equal(cluster_state_put(&bytes, &map, &outcomes), 0);
    assert_int_equal(cluster_state_read(buffer_bytes(&bytes), &other, &again), 0);
    assert_null(cluster_entry_apply(entry_of(1, 3), &other, &work, &again));
    assert_int_equal(other.replicas, 1);
    assert_int_equal(cluster_outcome_of(&again, &first)->rc, 0);
    for (uint64_t i = 3; i < 3 + CLUSTER_OUTCOMES_MAX; i++) {
        assert_non_null(apply(i, 1 + i % 2));
    }
    assert_int_equal(outcomes.count, CLUSTER_OUTCOMES_MAX);
    assert_null(cluster_outcome_of(&outcomes, &first));
    bytes.size = 0;
    assert_int_equal(cluster_state_put(&bytes, &map, &outcomes), 0);
    assert_int_equal(cluster_state_read(buffer_bytes(&bytes), &other, &again), 0);
    for (uint64_t i = 3; i < 3 + CLUSTER_OUTCOMES_MAX; i++) {
        const struct cluster_proposer one = by(i);
        assert_non_null(cluster_outcome_of(&again, &one));
    }
}

/* What cannot be read is the same on all nodes: it has an outcome where it can be told whose it is, and changes nothing. */
static void test_bad_bytes(void **state)
{
    uint8_t edited[64];
    struct cluster_proposer proposer;
    struct map_command command;

    (void)state;
    struct bytes good = entry_of(5, 3);
    for (size_t size = 0; size < good.size; size++) {
        assert_int_equal(cluster_entry_read(bytes_of(good.data, size), &proposer, &command),
                         -EBADMSG);
    }
    memcpy(edited, good.data, good.size);
    edited[0] = 2;
    assert_int_equal(cluster_entry_read(bytes_of(edited, good.size), &proposer, &command),
                     -EPROTONOSUPPORT);
    assert_null(cluster_entry_apply(bytes_of(edited, good.size), &map, &work, &outcomes));
    edited[0] = 1;
    edited[5] = MAP_COMMAND_VERSION + 1;
    const struct cluster_applied *applied =
        cluster_entry_apply(bytes_of(edited, good.size), &map, &work, &outcomes);
    assert_int_equal(applied->rc, -EPROTONOSUPPORT);
    assert_int_equal(map.epoch, 1);
    assert_int_equal(cluster_state_put(&bytes, &map, &outcomes), 0);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(cluster_state_read(bytes_of(bytes.data, size), &other, &again), -EBADMSG);
    }
    bytes.data[0] = 2;
    assert_int_equal(cluster_state_read(buffer_bytes(&bytes), &other, &again), -EPROTONOSUPPORT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_golden_bytes),
        CASE(test_applied_once),
        CASE(test_bad_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
