/* Retention reads the checkpoints that have what it removes: where one is damaged, what it was to stand for stays. */
#include "archive_retention.h"
#include "archive_world.h"
#include "scratch.h"

enum { FIRST_HALF = (1 << WORLD_KEYS / 2) - 1, SECOND_HALF = WORLD_ALL_KEYS & ~FIRST_HALF };

static struct world world;
static struct scratch scratch;
static struct archive_access store;
static struct retention_round done;
static char told[ARCHIVE_NAME_BYTES]; /* The last name that was told to be damaged. */
static uint32_t told_count;

static int begin(void **unused)
{
    char url[300];

    (void)unused;
    scratch_make(&scratch, "/tmp", "belay-relied");
    snprintf(url, sizeof url, "file://%s", scratch.path);
    const struct archive_place place = {.url = url, .writes = true};
    assert_int_equal(access_open(&store, &place, NULL), 0);
    world_init(&world, 1);
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    access_close(&store);
    world_unstore(&world, scratch.path);
    world_fini(&world);
    scratch_remove(&scratch);
    return 0;
}

static void on_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                       uint16_t last_slot)
{
    (void)context;
    (void)first_slot;
    (void)last_slot;
    assert_string_equal(why, "it is damaged");
    snprintf(told, sizeof told, "%s", name);
    told_count++;
}

/* A round, of all that was written so far. */
static void retain(bool dry)
{
    world.now_ms++;
    done = (struct retention_round){
        .from_ms = world.now_ms, .dry = dry, .damaged = on_damaged, .context = &done};
    told_count = 0;
    assert_int_equal(retention_run(&store, world.cluster, &done), 0);
}

/* Of these sessions each is written and flushed, by a node. */
static void write_keys(uint32_t at, uint32_t keys)
{
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        if (keys >> key & 1) {
            world.now_ms++;
            world_write(&world, at, key, 1);
            world_flush(&world, at);
        }
    }
}

static void path_of(uint32_t object, char path[4096])
{
    char name[ARCHIVE_NAME_BYTES];

    archive_name_put(name, &world.objects[object].name);
    snprintf(path, 4096, "%s/%s", scratch.path, name);
}

static bool is_there(uint32_t object)
{
    char path[4096];

    path_of(object, path);
    return access(path, F_OK) == 0;
}

/* Change a byte of an object that is there, or change it back. */
static void flip(uint32_t object, size_t at)
{
    char path[4096];

    path_of(object, path);
    world.objects[object].bytes[at] ^= 4;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(world.objects[object].bytes + at, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

/* Wherever a byte of the only checkpoint is another one, the log stays, and the object is named. */
static void test_damage_keeps_the_log(void **unused)
{
    char name[ARCHIVE_NAME_BYTES];

    (void)unused;
    write_keys(0, WORLD_ALL_KEYS);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    world_store(&world, scratch.path);
    for (uint32_t object = WORLD_KEYS; object < world.object_count; object++) {
        const size_t size = world.objects[object].size;
        const size_t places[] = {20, ARCHIVE_HEADER_BYTES + 3, size - ARCHIVE_TRAILER_BYTES - 2,
                                 size - 20};
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            flip(object, places[i]);
            for (int dry = 0; dry < 2; dry++) {
                retain(dry == 1);
                assert_int_equal(done.objects, 0);
                assert_int_equal(told_count, 1);
                archive_name_put(name, &world.objects[object].name);
                assert_string_equal(told, name);
            }
            flip(object, places[i]);
        }
    }
    for (uint32_t object = 0; object < world.object_count; object++) {
        assert_true(is_there(object));
    }
    retain(true);
    assert_int_equal(done.checked, 1);
    assert_int_equal(done.objects, WORLD_KEYS);
    assert_true(is_there(0));
    retain(false);
    assert_int_equal(done.objects, WORLD_KEYS);
    assert_int_equal(told_count, 0);
    assert_false(is_there(0));
    retain(false); /* Nothing goes: nothing is read. */
    assert_int_equal(done.objects, 0);
    assert_int_equal(done.checked, 0);
}

/* Where the log that it stands for is gone already, a damaged checkpoint is still the best that there is: it goes once one
 * that is sound has what it has. */
static void test_damaged_one_stays(void **unused)
{
    (void)unused;
    write_keys(0, WORLD_ALL_KEYS);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    const uint32_t first = WORLD_KEYS;
    world_store(&world, scratch.path);
    retain(false);
    assert_int_equal(done.objects, WORLD_KEYS);
    for (uint32_t object = 0; object < first; object++) {
        world.objects[object].removed = true; /* So that it is not stored again. */
    }
    flip(first, ARCHIVE_HEADER_BYTES + 3);
    world.now_ms += 10;
    world_write(&world, 1, 0, 7);
    world_checkpoint(&world, 1, 1); /* Of another node, and of one session alone: it has not all. */
    world_store(&world, scratch.path);
    retain(false);
    assert_true(is_there(first) && is_there(first + 1) && is_there(first + 2));
    world.now_ms += 10;
    world_checkpoint(&world, 0, FIRST_HALF);
    const uint32_t half = world.object_count - WORLD_PARTS - 1;
    world_store(&world, scratch.path);
    retain(false);
    assert_true(is_there(first) && is_there(half));
    world.now_ms += 10;
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    world_store(&world, scratch.path);
    retain(false);
    assert_int_equal(told_count, 0); /* Nobody relies on it any more. */
    assert_false(is_there(first) || is_there(first + 1) || is_there(first + 2));
    assert_false(is_there(half));
    assert_true(is_there(world.object_count - 1));
}

/* A checkpoint is read where something goes of its slots, and not for others. */
static void test_what_is_read(void **unused)
{
    (void)unused;
    write_keys(0, FIRST_HALF);
    world_checkpoint(&world, 0, FIRST_HALF);
    write_keys(1, SECOND_HALF);
    const uint32_t second = world.object_count;
    world_checkpoint(&world, 1, SECOND_HALF);
    world_store(&world, scratch.path);
    retain(true);
    assert_int_equal(done.checked, 2);
    assert_int_equal(done.objects, WORLD_KEYS);
    flip(second, ARCHIVE_HEADER_BYTES + 3); /* Of the second one: what the first one has goes. */
    retain(false);
    assert_int_equal(done.checked, 2);
    assert_int_equal(told_count, 1);
    assert_int_equal(done.objects, WORLD_KEYS / 2);
    flip(second, ARCHIVE_HEADER_BYTES + 3);
    retain(false);
    assert_int_equal(done.checked, 1);
    assert_int_equal(done.objects, WORLD_KEYS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damage_keeps_the_log, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_one_stays, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_read, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
