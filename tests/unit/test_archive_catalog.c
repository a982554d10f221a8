/* What a restore needs of an archive, and what nothing needs any more. */
#include "archive_world.h"

#include <errno.h>

#include "heap.h"

static struct world world;
static struct archive_state state;

enum { SHOWN_BYTES = 512 };

struct shown {
    struct world *world;
    char texts[WORLD_KEYS][SHOWN_BYTES];
};

static int show(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct shown *shown = context;

    assert_int_equal(left, 0);
    for (uint32_t i = 0; i < WORLD_KEYS; i++) {
        if (bytes_equal(key, world_key(shown->world, i))) {
            world_show(record, shown->world->now_ms, shown->texts[i], SHOWN_BYTES);
        }
    }
    return 0;
}

/* The archive gives as of this time what was written up to it. */
static void expect_truth(uint64_t as_of_hlc, uint64_t seed, const char *when)
{
    struct shown shown = {.world = &world};
    char truth[SHOWN_BYTES];

    world_restore(&world, as_of_hlc, random_below(&world.random, 2) == 0, &state);
    assert_int_equal(state.left, 0);
    assert_int_equal(archive_state_visit(&state, show, &shown), 0);
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        world_truth(&world, key, as_of_hlc, truth, sizeof truth);
        if (strcmp(truth, shown.texts[key]) != 0) {
            print_error("seed %llu, %s, key %u: \"%s\", not \"%s\"\n", (unsigned long long)seed,
                        when, key, shown.texts[key], truth);
        }
        assert_string_equal(shown.texts[key], truth);
    }
    archive_state_fini(&state);
}

static int note_removed(void *context, const struct archive_name *name, uint64_t size)
{
    (void)context;
    (void)size;
    for (uint32_t i = 0; i < world.object_count; i++) {
        struct world_object *object = &world.objects[i];
        if (archive_name_compare(&object->name, name) == 0) {
            assert_false(object->removed);
            object->removed = true;
            world.removed++;
        }
    }
    return 0;
}

static void retain(uint64_t from_hlc)
{
    static bool relied[SLOT_COUNT];
    struct archive_catalog catalog;

    catalog_init(&catalog, world.memory);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_int_equal(catalog_retain(&catalog, &world.port, from_hlc, relied, note_removed, NULL),
                     0);
    catalog_fini(&catalog);
}

static void expect_no_gap(void)
{
    struct archive_catalog catalog;
    struct catalog_gap gap;
    struct seen cover;
    size_t at = 0;

    catalog_init(&catalog, world.memory);
    assert_int_equal(seen_init(&cover, world.memory, SLOT_COUNT), 0);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_int_equal(catalog_plan(&catalog, &world.port, UINT64_MAX, &cover), 0);
    assert_false(catalog_next_gap(&catalog, UINT64_MAX, &at, &gap));
    seen_fini(&cover);
    catalog_fini(&catalog);
}

static void step(void)
{
    uint32_t at = random_below(&world.random, WORLD_NODES);
    uint32_t key = random_below(&world.random, WORLD_KEYS);

    world.now_ms += 1 + random_below(&world.random, 50);
    switch (random_below(&world.random, 40)) {
    case 0:
    case 1:
    case 2:
        world_flush(&world, at);
        break;
    case 3:
        world_checkpoint(&world, at,
                         random_below(&world.random, 3) == 0
                             ? WORLD_ALL_KEYS
                             : (uint32_t)random_next(&world.random));
        break;
    case 4:
        world_forget(&world);
        break;
    case 5:
        if (random_below(&world.random, 4) == 0) {
            world_restart(&world, at);
        }
        break;
    case 6: {
        uint32_t from = random_below(&world.random, WORLD_NODES);
        if (at != from) {
            world_take(&world, at, from);
        }
        break;
    }
    case 7:
    case 8:
    case 9:
        world_write(&world, at, key, -1);
        break;
    default:
        if (random_below(&world.random, 2) == 0) {
            world_write(&world, at, key, (int)random_below(&world.random, 1000));
        } else {
            world_hear(&world, at, random_below(&world.random, WORLD_NODES));
        }
        break;
    }
}

/* Some time between the first write and now. */
static uint64_t some_hlc(uint64_t from_hlc)
{
    uint64_t from_ms = hlc_ms(from_hlc);

    return hlc_of_ms(from_ms + random_next(&world.random) % (world.now_ms + 2 - from_ms));
}

static uint64_t rounds(uint64_t otherwise)
{
    const char *wish = getenv("BELAY_ROUNDS");

    return wish == NULL ? otherwise : strtoull(wish, NULL, 10);
}

/* After any retention every time in its window restores to what it restored to before. */
static void test_retention_changes_no_restore(void **unused)
{
    uint32_t removed = 0;

    (void)unused;
    for (uint64_t seed = 1; seed <= rounds(60); seed++) {
        world_init(&world, seed);
        for (int part = 0; part < 3; part++) {
            for (int i = 0; i < 120; i++) {
                step();
            }
            for (uint32_t at = 0; at < WORLD_NODES; at++) {
                world_flush(&world, at);
            }
            uint64_t window = some_hlc(hlc_of_ms((uint64_t)WORLD_BEGIN_MS * 1000));
            uint64_t times[4];
            for (int i = 0; i < 4; i++) {
                times[i] = i == 0 ? window : i == 1 ? UINT64_MAX : some_hlc(window);
                if (part == 0) { /* Later ones may be before an earlier window. */
                    expect_truth(times[i], seed, "before");
                }
            }
            /* The window never goes back. */
            static uint64_t last;
            window = part > 0 && window < last ? last : window;
            last = window;
            retain(window);
            for (int i = 0; i < 4; i++) {
                uint64_t time = times[i] < window ? window : times[i];
                expect_truth(time, seed, "after");
            }
            expect_no_gap();
        }
        removed += world.removed;
        world_fini(&world);
    }
    assert_true(removed > 0);
}

/* Once checkpoints have all, nothing else stays. */
static void test_what_is_covered_goes(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    for (int i = 0; i < 20; i++) {
        world.now_ms++;
        world_write(&world, (uint32_t)i % WORLD_NODES, (uint32_t)i % WORLD_KEYS, i);
        world_hear_all(&world);
        world_flush(&world, (uint32_t)i % WORLD_NODES);
    }
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    world_checkpoint(&world, 1, WORLD_ALL_KEYS);
    retain(hlc_of_ms((uint64_t)WORLD_BEGIN_MS * 1000)); /* A window as long as all: nothing goes. */
    assert_int_equal(world.removed, 0);
    retain(UINT64_MAX);
    assert_int_equal(world.object_count - world.removed, WORLD_PARTS + 1);
    expect_truth(UINT64_MAX, 1, "at the end");
    world_fini(&world);
}

/* Logs go from the first one on, without a gap. */
static void test_logs_go_in_order(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    for (uint32_t key = 0; key < 2; key++) {
        world.now_ms++;
        world_write(&world, 0, key, 1);
        world_flush(&world, 0);
    }
    world_checkpoint(&world, 0, 2); /* Has what is in the second one. */
    retain(UINT64_MAX);
    assert_int_equal(world.removed, 0);
    world_checkpoint(&world, 0, 1);
    retain(UINT64_MAX);
    assert_int_equal(world.removed, 2);
    expect_truth(UINT64_MAX, 1, "in order");
    world_fini(&world);
}

/* A session that ended and was forgotten does not come back from what is older than a checkpoint. */
static void test_the_forgotten_stay_dead(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    world_write(&world, 0, 0, 1);
    world_hear_all(&world);
    world_flush(&world, 0);
    world_checkpoint(&world, 2, WORLD_ALL_KEYS); /* Has it alive. */
    world.now_ms += 10;
    uint64_t alive = hlc_of_ms(world.now_ms);
    world.now_ms += 10;
    world_write(&world, 1, 0, -1);
    world_hear_all(&world);
    world_forget(&world);
    world.now_ms += 10;
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    for (uint32_t i = 0; i < world.object_count; i++) { /* The record of its end is gone. */
        world.objects[i].removed |= world.objects[i].name.kind == ARCHIVE_LOG;
    }
    expect_truth(UINT64_MAX, 1, "dead");
    expect_truth(alive, 1, "alive");
    world_fini(&world);
}

/* The only gap of the archive as it is now. */
static struct catalog_gap only_gap(void)
{
    struct archive_catalog catalog;
    struct catalog_gap gap, none;
    struct seen cover;
    size_t at = 0;

    catalog_init(&catalog, world.memory);
    assert_int_equal(seen_init(&cover, world.memory, SLOT_COUNT), 0);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_int_equal(catalog_plan(&catalog, &world.port, UINT64_MAX, &cover), 0);
    assert_true(catalog_next_gap(&catalog, UINT64_MAX, &at, &gap));
    assert_false(catalog_next_gap(&catalog, UINT64_MAX, &at, &none));
    seen_fini(&cover);
    catalog_fini(&catalog);
    return gap;
}

/* A number that is missing is told, until a checkpoint that began later has what was in it. */
static void test_gaps(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    for (int i = 0; i < 5; i++) {
        world.now_ms++;
        world_write(&world, 0, 0, i);
        world_flush(&world, 0);
    }
    world.objects[1].removed = world.objects[2].removed = true;
    for (int checkpoints = 0; checkpoints <= 2; checkpoints++) {
        const struct catalog_gap gap = only_gap();
        assert_int_equal(gap.actor.node, 1);
        assert_int_equal(gap.first, 2);
        assert_int_equal(gap.last, 3);
        assert_int_equal(gap.closed_hlc != 0, checkpoints == 2);
        world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    }
    world_fini(&world);
}

/* What a node took of another one may be older than what it stamped itself before, and says nothing of that. */
static void test_gap_before_what_was_taken(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    world_write(&world, 1, 1, 1);
    world_hear_all(&world);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    for (int i = 0; i < 2; i++) {
        world.now_ms++;
        world_write(&world, 0, 0, i);
        world_flush(&world, 0);
    }
    world.objects[world.object_count - 1].removed = true;
    world_take(&world, 0, 1);
    assert_int_equal(only_gap().first, 2);
    assert_int_equal(only_gap().closed_hlc, 0);
    world.now_ms++;
    world_write(&world, 0, 0, 7);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    assert_int_equal(only_gap().closed_hlc, 0);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    assert_true(only_gap().closed_hlc != 0);
    world_fini(&world);
}

/* How many parts of logs a restore as of a time finds missing. */
static int count_gaps(uint64_t as_of_hlc)
{
    struct archive_catalog catalog;
    struct catalog_gap gap;
    struct seen cover;
    size_t at = 0;
    int count = 0;

    catalog_init(&catalog, world.memory);
    assert_int_equal(seen_init(&cover, world.memory, SLOT_COUNT), 0);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_int_equal(catalog_plan(&catalog, &world.port, as_of_hlc, &cover), 0);
    while (catalog_next_gap(&catalog, as_of_hlc, &at, &gap)) {
        count++;
    }
    seen_fini(&cover);
    catalog_fini(&catalog);
    return count;
}

/* What a node knows to be missing is told, also where nothing of its own is in front of it, and whatever it writes after: until a
 * checkpoint has it. */
static void test_gap_of_what_was_given_up(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    world_write(&world, 1, 1, 1);
    world_flush(&world, 1);
    world_checkpoint(
        &world, 0, 1); /* Of other sessions. So the first numbers of a node may have been let go. */
    world_write(&world, 0, 0, 1);
    world_give_up(&world, 0);
    world.now_ms++;
    world_write(&world, 0, 2, 2);
    world_flush(&world, 0);
    for (int checkpoints = 0; checkpoints <= 2; checkpoints++) {
        const struct catalog_gap gap = only_gap();
        assert_int_equal(gap.actor.node, 1);
        assert_int_equal(gap.first, 2);
        assert_int_equal(gap.last, 2);
        assert_int_equal(gap.closed_hlc != 0, checkpoints == 2);
        world_checkpoint(&world, 0, WORLD_ALL_KEYS);
        world.now_ms++;
        world_write(&world, 0, 2, 3 + checkpoints);
        world_flush(&world, 0);
    }
    world_fini(&world);
}

/* As long as no checkpoint has it, what shows that something is missing stays, though all that it has itself is covered; nor does
 * it go while nothing came behind it. */
static void test_what_shows_a_gap_stays(void **unused)
{
    (void)unused;
    world_init(&world, 1);
    world_write(&world, 0, 0, 1);
    world_flush(&world, 0);
    world.now_ms++;
    world_write(&world, 0, 1, 2);
    world_give_up(&world, 0);
    world.nodes[1].actor.start = 1;
    while (world_hear(&world, 1, 0)) {
    }
    world_checkpoint(&world, 1, 1); /* All that the first object has, and not what was given up. */
    retain(UINT64_MAX);
    assert_int_equal(world.removed, 1);
    world.now_ms++;
    world_write(&world, 0, 2, 3);
    world_flush(&world, 0);
    world.now_ms++;
    world_write(&world, 0, 3, 4);
    world_flush(&world, 0);
    while (world_hear(&world, 1, 0)) {
    }
    world_checkpoint(&world, 1, 1 | 4); /* And of the third one. */
    retain(UINT64_MAX);
    assert_int_equal(only_gap().first, 3);
    uint32_t removed = world.removed;
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    world_write(&world, 0, 3, 5);
    world_flush(&world, 0);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS & ~8);
    retain(UINT64_MAX);
    assert_true(world.removed > removed);
    expect_no_gap();
    world_fini(&world);
}

/* A restore as of a time before what is missing was written misses nothing; one as of a time before the first checkpoint
 * misses what was let go for that. */
static void test_gaps_as_of(void **unused)
{
    uint64_t times[5];

    (void)unused;
    world_init(&world, 1);
    for (int i = 0; i < 5; i++) {
        world.now_ms++;
        world_write(&world, 0, 0, i);
        world_flush(&world, 0);
        times[i] = hlc_of_ms(world.now_ms) | ((1U << HLC_COUNTER_BITS) - 1);
    }
    world.objects[3].removed = true;
    assert_int_equal(count_gaps(times[1]), 0);
    assert_int_equal(count_gaps(times[3]), 1);
    assert_int_equal(count_gaps(UINT64_MAX), 1);
    world.objects[3].removed = false;
    world.objects[0].removed = world.objects[1].removed = true;
    world.now_ms++;
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    assert_int_equal(count_gaps(UINT64_MAX), 0);
    assert_int_equal(count_gaps(times[3]), 1);
    world_fini(&world);
}

/* What cannot be read is passed over, and named by its rc; a checkpoint of which a part is missing counts for nothing,
 * and goes once there is a later one, and no sooner than if it were whole. */
static void test_what_cannot_be_read(void **unused)
{
    struct archive_catalog catalog;
    struct seen cover;

    (void)unused;
    world_init(&world, 1);
    world_write(&world, 0, 0, 1);
    world_flush(&world, 0);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS); /* Objects 1 and 2 are its parts, 3 is `done`. */
    world.objects[0].bytes[world.objects[0].size - 1] ^= 1;
    world.objects[2].removed = true;
    catalog_init(&catalog, world.memory);
    assert_int_equal(seen_init(&cover, world.memory, SLOT_COUNT), 0);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_int_equal(catalog_plan(&catalog, &world.port, UINT64_MAX, &cover), 0);
    assert_int_equal(catalog.logs[0].rc, -EBADMSG);
    assert_true(catalog.logs[0].needed);
    assert_false(catalog.checkpoints[0].whole);
    assert_false(catalog.checkpoints[0].needed);
    seen_fini(&cover);
    catalog_fini(&catalog);
    retain(UINT64_MAX);
    assert_int_equal(world.removed, 0);
    world.now_ms++;
    world_write(&world, 0, 1, 1);
    world_flush(&world, 0);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    retain(
        1); /* That part may have been there behind the listing: it stays as long as one that is whole. */
    assert_int_equal(world.removed, 0);
    retain(UINT64_MAX);
    assert_int_equal(world.object_count - world.removed,
                     WORLD_PARTS + 1 + 1); /* One was removed here. */
    world_fini(&world);
}

/* A checkpoint that another round of retention removes meanwhile is none any more. */
static void test_what_is_removed_meanwhile(void **unused)
{
    struct archive_catalog catalog;
    struct seen cover;

    (void)unused;
    world_init(&world, 1);
    world_write(&world, 0, 0, 1);
    world_checkpoint(&world, 0, WORLD_ALL_KEYS);
    catalog_init(&catalog, world.memory);
    world_list(&world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world.port), 0);
    assert_true(catalog.checkpoints[0].whole);
    for (uint32_t i = 0; i < world.object_count; i++) {
        world.objects[i].removed |= world.objects[i].name.kind != ARCHIVE_LOG;
    }
    assert_int_equal(seen_init(&cover, world.memory, SLOT_COUNT), 0);
    assert_int_equal(catalog_plan(&catalog, &world.port, UINT64_MAX, &cover), 0);
    assert_false(catalog.checkpoints[0].whole || catalog.checkpoints[0].needed);
    assert_int_equal(catalog.checkpoints[0].rc, -ENOENT);
    assert_true(catalog.logs[0].needed);
    seen_fini(&cover);
    catalog_fini(&catalog);
    world_fini(&world);
}

static void test_names_must_be_in_order(void **unused)
{
    struct archive_catalog catalog;
    struct archive_name name = {.kind = ARCHIVE_LOG, .actor = {1, 1}, .sequence = 2};

    (void)unused;
    catalog_init(&catalog, heap_memory());
    assert_int_equal(catalog_add(&catalog, &name, 1), 0);
    assert_int_equal(catalog_add(&catalog, &name, 1), -EINVAL);
    name.sequence = 1;
    assert_int_equal(catalog_add(&catalog, &name, 1), -EINVAL);
    name.sequence = 3;
    name.cluster[0] = 1;
    assert_int_equal(catalog_add(&catalog, &name, 1), -EINVAL);
    catalog_fini(&catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retention_changes_no_restore),
        cmocka_unit_test(test_what_is_covered_goes),
        cmocka_unit_test(test_logs_go_in_order),
        cmocka_unit_test(test_the_forgotten_stay_dead),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_gap_before_what_was_taken),
        cmocka_unit_test(test_gap_of_what_was_given_up),
        cmocka_unit_test(test_what_shows_a_gap_stays),
        cmocka_unit_test(test_gaps_as_of),
        cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_what_is_removed_meanwhile),
        cmocka_unit_test(test_names_must_be_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
