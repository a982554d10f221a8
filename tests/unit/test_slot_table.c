/* The slot table says of each slot what the map does. */
#include "check.h"

#include "liveness.h"
#include "map_command.h"
#include "slot_table.h"

static struct map map;
static struct placement_work work;
static struct slot_table table;

static void apply(const struct map_command *command)
{
    assert_int_equal(map_apply(&map, &work, command), 0);
}

static void set_state(uint32_t number, enum map_state state)
{
    const struct map_command command = {.type = MAP_STATE, .number = number, .state = state};

    apply(&command);
}

static void add(const char *name, uint32_t start, uint32_t shards)
{
    struct map_command command = {.type = MAP_ADD, .weight = 100};

    command.name.size = (uint8_t)strlen(name);
    memcpy(command.name.bytes, name, strlen(name));
    command.place.host = command.name;
    for (int i = 0; i < MAP_PORTS; i++) {
        command.place.ports[i] = (uint16_t)(7400 + i);
    }
    command.place.start = start;
    command.place.shards = shards;
    apply(&command);
    set_state(map.number_last, MAP_ACTIVE);
}

static void test_as_the_map(void **state)
{
    (void)state;
    map_init(&map, 1, 2);
    add("a", 5, 4);
    add("b", 6, 2);
    add("c", 7, 1);
    set_state(3, MAP_DOWN);
    slot_table_make(&table, &map, 2);
    assert_int_equal(table.epoch, map.epoch);
    assert_int_equal(table.self, 2);
    assert_int_equal(table.replicas, 2);
    assert_int_equal(table.member_count, 3);
    assert_int_equal(slot_table_member(&table, 1)->shards, 4);
    assert_int_equal(slot_table_member(&table, 2)->start, 6);
    assert_true(slot_table_member(&table, 2)->serves);
    assert_false(slot_table_member(&table, 3)->serves);
    assert_null(slot_table_member(&table, 4));
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_owners targets = map_targets(&map, slot);
        assert_memory_equal(&table.owners[slot], &map.owners[slot], sizeof targets);
        assert_memory_equal(&table.targets[slot], &targets, sizeof targets);
    }
}

/* An owner that does not talk to this node; another member does not matter. */
static void test_apart(void **state)
{
    (void)state;
    map_init(&map, 1, 2);
    add("a", 1, 1);
    add("b", 2, 1);
    add("c", 3, 1);
    slot_table_make(&table, &map, 1);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_false(slot_table_is_apart(&table, slot));
    }
    table.members[1].apart = true;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(slot_table_is_apart(&table, slot),
                         slot_owners_has(&table.owners[slot], 2));
    }
}

/* Who has left serves nothing, and is known all the same: it passes on what it is asked. */
static void test_left(void **state)
{
    (void)state;
    map_init(&map, 1, 1);
    add("a", 1, 1);
    add("b", 2, 1);
    add("c", 3, 1);
    set_state(2, MAP_DRAINING);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        map.owners[slot] = map_targets(&map, slot);
    }
    set_state(2, MAP_LEFT);
    slot_table_make(&table, &map, 1);
    assert_int_equal(table.member_count, 3);
    assert_true(slot_table_member(&table, 2)->left);
    assert_false(slot_table_member(&table, 2)->serves);
    assert_false(slot_table_member(&table, 3)->left);
    assert_int_equal(slot_table_member(&table, 3)->start, 3);
}

/* What a node finds wrong with itself keeps it from storing; an operator's word does not. */
static void test_degraded(void **state)
{
    struct map_command command = {
        .type = MAP_CONDITION, .number = 2, .condition = CONDITION_DISK_FULL};

    (void)state;
    map_init(&map, 1, 2);
    add("a", 5, 4);
    add("b", 6, 2);
    set_state(1, MAP_DEGRADED);
    apply(&command);
    slot_table_make(&table, &map, 2);
    assert_true(slot_table_member(&table, 1)->serves && slot_table_member(&table, 2)->serves);
    assert_false(slot_table_member(&table, 1)->degraded);
    assert_true(slot_table_member(&table, 1)->hands_on); /* Somebody said so. */
    assert_false(slot_table_member(&table, 2)->hands_on);
    assert_true(slot_table_member(&table, 2)->degraded);
    command.condition = 0;
    apply(&command);
    slot_table_make(&table, &map, 2);
    assert_false(slot_table_member(&table, 2)->degraded);
}

static void test_ranks(void **state)
{
    const struct slot_owners owners = {{7, 3}};

    (void)state;
    assert_int_equal(slot_owners_rank(&owners, 7), 0);
    assert_int_equal(slot_owners_rank(&owners, 3), 1);
    assert_int_equal(slot_owners_rank(&owners, 4), PLACEMENT_REPLICAS_MAX);
    assert_false(slot_owners_has(&owners, 0)); /* Nobody is not everybody. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_map), cmocka_unit_test(test_left),
        cmocka_unit_test(test_apart),      cmocka_unit_test(test_degraded),
        cmocka_unit_test(test_ranks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
