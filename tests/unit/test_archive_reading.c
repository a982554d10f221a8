/* An archive that is read range by range, from a directory: what comes of it, and how much is read for that. */
#include "archive_reading.h"
#include "archive_world.h"
#include "record.h"
#include "scratch.h"

enum { STEPS = 300, HALF = SLOT_COUNT / 2 };

static struct world world;
static struct scratch scratch;
static struct archive_access store;
static struct archive_catalog catalog;
static struct archive_reading reading;
static struct archive_state state, wanted;
static uint32_t compared;

static void on_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                       uint16_t last_slot)
{
    (void)context;
    (void)first_slot;
    (void)last_slot;
    fail_msg("%s: %s", name, why);
}

static void make_history(void)
{
    world_init(&world, 7);
    for (int i = 0; i < STEPS; i++) {
        uint32_t at = random_below(&world.random, WORLD_NODES);
        uint32_t key = random_below(&world.random, WORLD_KEYS);
        world.now_ms += 1 + random_below(&world.random, 50);
        if (i % 10 == 0) {
            world_flush(&world, at);
        } else if (i % 101 == 0) {
            world_checkpoint(&world, at, WORLD_ALL_KEYS);
        } else if (i % 2 == 0) {
            world_hear(&world, at, random_below(&world.random, WORLD_NODES));
        } else {
            world_write(&world, at, key, (int)random_below(&world.random, 1000));
        }
    }
    for (uint32_t at = 0; at < WORLD_NODES; at++) {
        world_flush(&world, at);
    }
}

struct looking {
    struct bytes key, record;
    bool found;
};

static int look(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct looking *looking = context;

    assert_int_equal(left, 0);
    if (bytes_equal(key, looking->key)) {
        assert_bytes_equal(record, looking->record);
        looking->found = true;
    }
    return 0;
}

/* It is the same as in `wanted`. */
static int compare(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct looking looking = {key, record, false};

    (void)context;
    assert_int_equal(left, 0);
    assert_int_equal(archive_state_visit(&wanted, look, &looking), 0);
    assert_true(looking.found);
    compared++;
    return 0;
}

static int is_there(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct looking *looking = context;

    (void)record;
    (void)left;
    looking->found = looking->found || bytes_equal(key, looking->key);
    return 0;
}

static int count(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    (void)key;
    (void)record;
    (void)left;
    ++*(uint32_t *)context;
    return 0;
}

/* Of the blocks that have slots of a range, and of what says what was seen. */
static uint64_t bytes_of_range(uint16_t first, uint16_t last)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < reading.object_count; i++) {
        uint32_t from = 0;
        const struct archive_reader *blocks = &reading.objects[i].blocks;
        uint32_t blocks_count = archive_reader_blocks(blocks, first, last, &from);
        bytes += archive_reader_bytes(blocks, from, blocks_count);
    }
    for (size_t i = 0; i < catalog.checkpoint_count; i++) {
        bytes += catalog.checkpoints[i].needed ? catalog.checkpoints[i].done_size : 0;
    }
    return bytes;
}

static void take_range(uint16_t first, uint16_t last)
{
    uint64_t before = store.bytes_read;

    assert_int_equal(reading_take(&reading, first, last, &state), 0);
    assert_int_equal(store.bytes_read - before, bytes_of_range(first, last));
    assert_int_equal(archive_state_visit(&state, compare, NULL), 0);
}

/* Both halves give what all of it does, and for each range its blocks are read and nothing else. */
static void test_ranges(void **unused)
{
    uint64_t spread = 0;
    uint32_t all = 0;

    (void)unused;
    compared = 0;
    world_restore(&world, UINT64_MAX, false, &wanted);
    assert_int_equal(reading_open(&reading, &store, &catalog, UINT64_MAX, on_damaged, NULL), 0);
    archive_state_init(&state, store.memory, UINT64_MAX, NULL, NULL);
    assert_true(reading.object_count > 10);
    take_range(0, HALF - 1);
    take_range(HALF, SLOT_COUNT - 1);
    assert_int_equal(archive_state_visit(&wanted, count, &all), 0);
    assert_int_equal(compared, all);
    assert_true(all > 0);

    for (size_t i = 0; i < reading.object_count; i++) {
        const struct archive_reader *blocks = &reading.objects[i].blocks;
        for (uint32_t j = 0; j < blocks->block_count; j++) {
            const struct archive_block *block = &blocks->blocks[j];
            spread += (uint64_t)block->raw_size *
                      ((uint32_t)block->last_slot - block->first_slot + 1) / SLOT_COUNT;
        }
    }
    assert_true(spread > 1 && spread < reading.total_bytes);
    assert_int_equal(reading_range_bytes(&reading, 1, UINT64_MAX), spread);
    assert_int_equal(reading_range_bytes(&reading, spread + 1, UINT64_MAX), spread + 1);
    assert_int_equal(reading_range_bytes(&reading, 0, spread - 1), spread - 1);
    archive_state_fini(&state);
    archive_state_fini(&wanted);
    reading_close(&reading);
}

static bool came[WORLD_KEYS];

static int compare_once(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    uint32_t at = 0;

    while (!bytes_equal(key, bytes_of_string(world.keys[at]))) {
        assert_true(++at < WORLD_KEYS);
    }
    assert_false(came[at]);
    came[at] = true;
    return compare(context, key, record, left);
}

/* With less memory than all of it takes it comes in parts, each session in one of them. */
static void test_parts(void **unused)
{
    struct state_part part = {.parts = 1};
    uint32_t all = 0, taken = 0, refused = 0;
    int rc;

    (void)unused;
    compared = 0;
    world_restore(&world, UINT64_MAX, false, &wanted);
    assert_int_equal(archive_state_visit(&wanted, count, &all), 0);
    assert_int_equal(reading_open(&reading, &store, &catalog, UINT64_MAX, on_damaged, NULL), 0);
    archive_state_init(&state, store.memory, UINT64_MAX, NULL, NULL);
    assert_int_equal(reading_take(&reading, 0, SLOT_COUNT - 1, &state), 0);
    const uint64_t bytes = state.bytes;
    archive_state_limit(&state, bytes / 5);
    do {
        archive_state_set_part(&state, part);
        rc = reading_take(&reading, 0, SLOT_COUNT - 1, &state);
        if (rc == -EFBIG) {
            assert_true(state_part_halve(&part));
            refused++;
            continue;
        }
        assert_int_equal(rc, 0);
        assert_true(state.bytes <= bytes / 5);
        assert_int_equal(archive_state_visit(&state, compare_once, NULL), 0);
        taken++;
    } while (rc == -EFBIG || state_part_next(&part));
    assert_int_equal(compared, all);
    assert_in_range(taken, 5, 64);
    assert_int_equal(refused, taken - 1); /* Each makes one more. */
    part.parts = STATE_PARTS_MAX;
    assert_false(state_part_halve(&part));
    archive_state_fini(&state);
    archive_state_fini(&wanted);
    reading_close(&reading);
}

/* The reading has seen the write that is the session's newest. */
static int is_seen(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct buffer *vector = context;
    struct record opened;
    struct seen seen;

    assert_int_equal(left, 0);
    vector->size = 0;
    assert_int_equal(reading_seen(&reading, slot_of_key(key), vector), 0);
    assert_int_equal(seen_init(&seen, store.memory, 1), 0);
    assert_int_equal(seen_join(&seen, 0, buffer_bytes(vector)), 0);
    assert_int_equal(record_open_head(&opened, record, RECORD_FORMAT), 0);
    assert_true(seen_covers(&seen, 0, opened.version.newest));
    seen_fini(&seen);
    compared++;
    return 0;
}

/* What a slot has seen covers every session that is in it; where a part of a log is missing nothing is claimed. */
static void test_seen(void **unused)
{
    struct buffer vector = {.memory = store.memory};

    (void)unused;
    compared = 0;
    world_restore(&world, UINT64_MAX, false, &wanted);
    assert_int_equal(reading_open(&reading, &store, &catalog, UINT64_MAX, on_damaged, NULL), 0);
    assert_int_equal(archive_state_visit(&wanted, is_seen, &vector), 0);
    assert_true(compared > 0);
    reading_close(&reading);

    size_t last = catalog.log_count - 1; /* Behind all checkpoints. */
    assert_true(catalog.logs[last].sequence > 2);
    assert_int_equal(actor_compare(catalog.logs[last - 1].actor, catalog.logs[last].actor), 0);
    catalog.logs[last - 1] = catalog.logs[last];
    catalog.log_count--;
    assert_int_equal(reading_open(&reading, &store, &catalog, UINT64_MAX, on_damaged, NULL), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        vector.size = 0;
        assert_int_equal(reading_seen(&reading, (uint16_t)slot, &vector), 0);
        assert_int_equal(vector.size, 0);
    }
    reading_close(&reading);
    archive_state_fini(&wanted);
    buffer_fini(&vector);
}

static uint32_t named;

static void on_named(void *context, const char *name)
{
    char text[ARCHIVE_NAME_BYTES];
    size_t *at = context; /* Names come in order. */

    do {
        assert_true(*at < reading.object_count);
        archive_name_put(text, &reading.objects[(*at)++].name);
    } while (strcmp(text, name) != 0);
    named++;
}

/* All records of a block, joined. */
static void join_block(const struct reading_object *object, uint32_t index)
{
    const struct archive_block *block = &object->blocks.blocks[index];
    struct archive_record record;
    struct archive_walk walk;
    char name[ARCHIVE_NAME_BYTES];
    int rc;

    archive_name_put(name, &object->name);
    assert_int_equal(access_get(&store, name, block->offset, block->size, &reading.stored), 0);
    assert_int_equal(
        archive_reader_block(&object->blocks, index, buffer_bytes(&reading.stored), &reading.raw),
        0);
    archive_walk_init(&walk, block, buffer_bytes(&reading.raw));
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        assert_int_equal(archive_state_add(&state, &record, STATE_LOG), 0);
    }
    assert_int_equal(rc, 0);
}

/* How many objects have something of a session, each read by itself. */
static uint32_t count_objects(struct bytes key)
{
    uint32_t objects = 0;

    for (size_t i = 0; i < reading.object_count; i++) {
        struct looking looking = {.key = key};
        archive_state_clear(&state);
        for (uint32_t block = 0; block < reading.objects[i].blocks.block_count; block++) {
            join_block(&reading.objects[i], block);
        }
        assert_int_equal(archive_state_finish(&state), 0);
        assert_int_equal(archive_state_visit(&state, is_there, &looking), 0);
        objects += looking.found;
    }
    return objects;
}

static int find_one(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    size_t at = 0;

    (void)context;
    (void)record;
    (void)left;
    named = 0;
    assert_int_equal(reading_find(&reading, key, on_named, &at), 0);
    assert_true(named > 0);
    assert_int_equal(named, count_objects(key));
    compared++;
    return 0;
}

/* Which objects a session is of is told. */
static void test_find(void **unused)
{
    size_t at = 0;

    (void)unused;
    compared = 0;
    world_restore(&world, UINT64_MAX, false, &wanted);
    assert_int_equal(reading_open(&reading, &store, &catalog, UINT64_MAX, on_damaged, NULL), 0);
    archive_state_init(&state, store.memory, UINT64_MAX, NULL, NULL);
    assert_int_equal(archive_state_visit(&wanted, find_one, NULL), 0);
    assert_true(compared > 0);
    named = 0;
    assert_int_equal(reading_find(&reading, bytes_of_string("of nobody"), on_named, &at), 0);
    assert_int_equal(named, 0);
    reading_close(&reading);
    archive_state_fini(&state);
    archive_state_fini(&wanted);
}

static int begin(void **unused)
{
    char url[300];
    const struct archive_place place = {.url = url};

    (void)unused;
    scratch_make(&scratch, "/tmp", "belay-reading");
    make_history();
    world_store(&world, scratch.path);
    snprintf(url, sizeof url, "file://%s", scratch.path);
    assert_int_equal(access_open(&store, &place, NULL), 0);
    return access_catalog(&store, world.cluster, &catalog);
}

static int end(void **unused)
{
    (void)unused;
    world_unstore(&world, scratch.path);
    catalog_fini(&catalog);
    access_close(&store);
    world_fini(&world);
    scratch_remove(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ranges, begin, end),
        cmocka_unit_test_setup_teardown(test_parts, begin, end),
        cmocka_unit_test_setup_teardown(test_seen, begin, end),
        cmocka_unit_test_setup_teardown(test_find, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
