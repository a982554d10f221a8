/* Lines on their way to the watchers of several threads, without connections. */
#include "check.h"

#include "monitor.h"

enum { SHARDS = 3 };

struct world {
    struct test_memory memory;
    struct monitor monitor;
    uint32_t wakes[SHARDS];
};

static void wake(void *context, uint32_t shard)
{
    struct world *world = context;

    world->wakes[shard]++;
}

static void begin(struct world *world)
{
    *world = (struct world){.memory = test_memory()};
    monitor_init(&world->monitor, &world->memory.memory, SHARDS, wake, world);
}

static void end(struct world *world)
{
    monitor_fini(&world->monitor);
    assert_int_equal(world->memory.outstanding_bytes, 0);
}

static void put(struct world *world, uint32_t from, const char *line)
{
    monitor_put(&world->monitor, from, bytes_of_string(line));
}

/* What a thread has: the lines without their times, and whether they are all. */
static bool taken(struct world *world, uint32_t shard, const char *wanted)
{
    struct buffer lines;
    char text[512];
    size_t size = 0;

    bool whole = monitor_take(&world->monitor, shard, &lines);
    for (size_t at = 0; at < lines.size;) {
        const uint8_t *line = lines.data + at;
        const uint8_t *blank = memchr(line, ' ', lines.size - at);
        const uint8_t *newline = memchr(line, '\n', lines.size - at);
        assert_true(line[0] == '+' && blank != NULL && newline > blank);
        assert_true(size + (size_t)(newline - blank) < sizeof text);
        memcpy(text + size, blank + 1, (size_t)(newline - blank));
        size += (size_t)(newline - blank);
        at += (size_t)(newline - line) + 1;
    }
    text[size] = '\0';
    buffer_fini(&lines);
    assert_string_equal(text, wanted);
    return whole;
}

static void test_lines(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    assert_false(monitor_is_watched(&world.monitor));
    monitor_enter(&world.monitor, 0);
    monitor_enter(&world.monitor, 2);
    monitor_enter(&world.monitor, 2);
    assert_true(monitor_is_watched(&world.monitor));
    put(&world, 1, "a\n");
    put(&world, 0, "b\n");
    put(&world, 2, "c\n");
    /* Once for what lies there, and not by itself. */
    assert_int_equal(world.wakes[0], 1);
    assert_int_equal(world.wakes[1], 0);
    assert_int_equal(world.wakes[2], 1);
    assert_true(taken(&world, 0, "a\nb\nc\n"));
    put(&world, 0, "d\n");
    assert_int_equal(world.wakes[0], 1);
    assert_int_equal(world.wakes[2], 1);
    assert_true(taken(&world, 2, "a\nb\nc\nd\n"));
    assert_true(taken(&world, 1, ""));
    put(&world, 1, "e\n");
    assert_int_equal(world.wakes[2], 2);
    /* With the last watcher what was not taken goes. */
    monitor_leave(&world.monitor, 2);
    monitor_leave(&world.monitor, 2);
    assert_true(taken(&world, 2, ""));
    put(&world, 1, "f\n");
    assert_true(taken(&world, 2, ""));
    assert_true(taken(&world, 0, "d\ne\nf\n"));
    monitor_leave(&world.monitor, 0);
    assert_false(monitor_is_watched(&world.monitor));
    end(&world);
}

/* A queue takes no more than its limit and one line; what comes then is missing, which is said once. */
static void test_full(void **state)
{
    struct world world;
    struct buffer lines;
    const size_t size = MONITOR_QUEUE_BYTES_MAX / 4 + 1;

    (void)state;
    begin(&world);
    uint8_t *line = malloc(size);
    assert_non_null(line);
    memset(line, 'x', size);
    monitor_enter(&world.monitor, 1);
    for (uint32_t i = 0; i < 4; i++) {
        monitor_put(&world.monitor, 0, bytes_of(line, size));
    }
    put(&world, 0, "missing\n");
    put(&world, 0, "missing\n");
    assert_int_equal(world.wakes[1], 1);
    assert_false(monitor_take(&world.monitor, 1, &lines));
    assert_true(lines.size > 4 * size && lines.size < 4 * size + 4 * 40);
    buffer_fini(&lines);
    put(&world, 0, "again\n");
    assert_int_equal(world.wakes[1], 2);
    assert_true(taken(&world, 1, "again\n"));
    monitor_leave(&world.monitor, 1);
    free(line);
    end(&world);
}

/* A line that could not be made is missing for all. */
static void test_no_memory(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    monitor_enter(&world.monitor, 0);
    monitor_enter(&world.monitor, 1);
    put(&world, 2, "a\n");
    monitor_put(&world.monitor, 2, bytes_of(NULL, 0));
    put(&world, 2, "b\n");
    assert_false(taken(&world, 0, "a\n"));
    put(&world, 2, "c\n");
    assert_true(taken(&world, 0, "c\n"));
    assert_false(taken(&world, 1, "a\n"));
    /* Where nothing lies the thread is woken to say so. */
    monitor_put(&world.monitor, 2, bytes_of(NULL, 0));
    assert_int_equal(world.wakes[1], 2);
    assert_false(taken(&world, 1, ""));
    monitor_leave(&world.monitor, 0);
    monitor_leave(&world.monitor, 1);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
