/* The documents of the map: their keys, and that they say what the map says. */
#include "check.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "map_command.h"
#include "map_page.h"
#include "slot.h"

static struct map map;
static struct placement_work work;
static struct map_page_link links[3] = {{.up = false}, {true, true, 3, 400, 20}, {.up = false}};
static const struct map_page page = {.map = &map, .self = 1, .leader = 2, .links = links};

static struct map_text text_of(const char *from)
{
    struct map_text text = {.size = (uint8_t)strlen(from)};

    memcpy(text.bytes, from, text.size);
    return text;
}

static void apply(const struct map_command *command)
{
    assert_int_equal(map_apply(&map, &work, command), 0);
}

static int set_up(void **state)
{
    static const char *const names[] = {"a", "b\xff", "c"};

    (void)state;
    map_init(&map, UINT64_C(0x0807060504030201), 2);
    for (uint32_t i = 0; i < 3; i++) {
        struct map_command add = {
            .type = MAP_ADD,
            .weight = 100,
            .name = text_of(names[i]),
            .zone = text_of("z"),
            .place = {.host = text_of(i == 0 ? "::1" : "h"),
                      .ports = {1, 2, 3, 4},
                      .start = 1,
                      .shards = 2},
        };
        apply(&add);
        if (i < 2) {
            struct map_command state_of = {.type = MAP_STATE, .number = i + 1, .state = MAP_ACTIVE};
            apply(&state_of);
        }
    }
    return 0;
}

static json_t *parsed(char *json)
{
    json_t *document = json_loads(json, 0, NULL);

    assert_non_null(document);
    free(json);
    return document;
}

static int64_t number_of(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);

    assert_true(json_is_integer(number));
    return json_integer_value(number);
}

static void assert_text(const json_t *object, const char *name, const char *is)
{
    assert_string_equal(json_string_value(json_object_get(object, name)), is);
}

/* The second is level with nothing yet: all slots come to it. */
static void test_nodes(void **state)
{
    json_t *document = parsed(map_page_nodes(&page));
    const json_t *nodes = json_object_get(document, "nodes");
    const json_t *first = json_array_get(nodes, 0), *second = json_array_get(nodes, 1);

    (void)state;
    assert_text(document, "cluster", "0102030405060708");
    assert_int_equal(number_of(document, "epoch"), map.epoch);
    assert_int_equal(number_of(document, "leader"), 2);
    assert_int_equal(number_of(document, "self"), 1);
    assert_int_equal(json_array_size(nodes), 3);
    assert_text(first, "native", "[::1]:1");
    assert_text(first, "http", "[::1]:4");
    assert_text(first, "link", "self");
    assert_int_equal(number_of(first, "slots_primary"), SLOT_COUNT);
    assert_int_equal(number_of(first, "slots_coming"), 0);
    assert_text(second, "name", "?"); /* No UTF-8. */
    assert_text(second, "peer", "h:3");
    assert_text(second, "link", "up");
    assert_int_equal(number_of(second, "slots_primary"), 0);
    assert_int_equal(number_of(second, "slots_coming"), SLOT_COUNT);
    assert_int_equal(number_of(second, "records_behind"), 3);
    assert_int_equal(number_of(second, "bytes_behind"), 400);
    assert_int_equal(number_of(second, "behind_ms"), 20);
    assert_true(json_is_true(json_object_get(second, "votes")));
    assert_true(json_is_false(json_object_get(first, "votes")));
    assert_text(json_array_get(nodes, 2), "state", "joining");
    assert_text(json_array_get(nodes, 2), "link", "down");
    json_decref(document);
}

/* Runs cover every slot once, and say what the map says. */
static void test_ring(void **state)
{
    const struct map_run settled_run = {100, 1, map_targets(&map, 100)};
    struct map_command settle = {.type = MAP_SETTLE};
    struct test_memory memory = test_memory();
    struct buffer runs = {.memory = &memory.memory};
    uint32_t end = 0;

    (void)state;
    assert_int_equal(map_run_put(&runs, &end, &settled_run), 0);
    settle.runs = buffer_bytes(&runs);
    apply(&settle);
    buffer_fini(&runs);
    json_t *document = parsed(map_page_ring(&page));
    const json_t *run;
    size_t index;
    int64_t next = 0;

    json_array_foreach(json_object_get(document, "runs"), index, run)
    {
        assert_int_equal(number_of(run, "first"), next);
        next = number_of(run, "last") + 1;
        bool settled = number_of(run, "first") == 100;
        assert_int_equal(json_array_size(json_object_get(run, "owners")), settled ? 2 : 1);
        assert_int_equal(json_array_size(json_object_get(run, "targets")), 2);
        assert_true(!settled || next == 101);
    }
    assert_int_equal(next, SLOT_COUNT);
    assert_true(index >= 3);
    json_decref(document);
}

static void test_slot(void **state)
{
    (void)state;
    json_t *document = parsed(map_page_slot(&page, 7));
    const json_t *owners = json_object_get(document, "owners");

    assert_int_equal(number_of(document, "slot"), 7);
    assert_int_equal(json_array_size(owners), 1);
    assert_text(json_array_get(owners, 0), "name", "a");
    assert_int_equal(number_of(json_array_get(owners, 0), "rank"), 0);
    assert_int_equal(json_array_size(json_object_get(document, "targets")), 2);
    assert_int_equal(json_array_size(json_object_get(document, "homes")), 2);
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nodes, set_up),
        cmocka_unit_test_setup(test_ring, set_up),
        cmocka_unit_test_setup(test_slot, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
