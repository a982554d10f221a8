/* Writes an archive into a directory, as nodes would, and says what it should give back.
 *
 *   archive_maker DIR history SEED   the small cluster of archive_world.h, for a while; then for some times, and in the end
 *                                    0, a line for each of its sessions: TIME_MS KEY FIELD=VALUE... (a + behind what is
 *                                    hidden)
 *                                    With a fourth argument: of that cluster, by nodes from 101 up.
 *   archive_maker DIR baseless KEY CLUSTER   of that cluster, by node 101: a change of a session that is nowhere
 *   archive_maker DIR ahead KEY CLUSTER   of that cluster, by node 101: a session of a time that comes in an hour
 *   archive_maker DIR bulk COUNT     one node's checkpoint of so many sessions of 4 KiB: blobs "bulk-N"
 */
#include <inttypes.h>
#include <time.h>

#include "archive_world.h"

enum { STEPS = 300, BULK_BYTES = 4096, BULK_PART_SESSIONS = 8192 };

static struct world world;

static void tell(uint64_t time_ms)
{
    uint64_t hlc = time_ms == 0 ? UINT64_MAX : hlc_of_ms(time_ms) | 0xffff;
    char shown[512];

    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        world_truth(&world, key, hlc, shown, sizeof shown);
        printf("%" PRIu64 " %s %s\n", time_ms, world.keys[key], shown);
    }
}

/* Of that cluster, with nodes that are none of those which run. */
static void move(const char *cluster)
{
    char name[ARCHIVE_NAME_BYTES];
    struct archive_name parsed;

    snprintf(name, sizeof name, "%s/log/0000000100000001/0000000000000001", cluster);
    assert_int_equal(archive_name_parse(name, &parsed), 0);
    memcpy(world.cluster, parsed.cluster, sizeof world.cluster);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world.nodes[i].actor.node += 100;
    }
}

static void make_history(uint64_t seed, const char *cluster)
{
    uint64_t times[3];

    world_init(&world, seed);
    if (cluster != NULL) {
        move(cluster);
    }
    for (int i = 0; i < STEPS; i++) {
        uint32_t at = random_below(&world.random, WORLD_NODES);
        world.now_ms += 1 + random_below(&world.random, 50);
        uint32_t key = random_below(&world.random, WORLD_KEYS);
        uint32_t what = random_below(&world.random, 30);
        if (what < 3) {
            world_flush(&world, at);
        } else if (what == 3) {
            world_checkpoint(&world, at, WORLD_ALL_KEYS);
        } else if (what == 4) {
            world_forget(&world);
        } else if (what < 8) {
            world_write(&world, at, key, -1);
        } else if (what < 18) {
            world_write(&world, at, key, (int)random_below(&world.random, 1000));
        } else {
            world_hear(&world, at, random_below(&world.random, WORLD_NODES));
        }
        if (i % 100 == 50) {
            times[i / 100] = world.now_ms;
        }
    }
    for (uint32_t at = 0; at < WORLD_NODES; at++) {
        world_flush(&world, at);
    }
    for (int i = 0; i < 3; i++) {
        tell(times[i]);
    }
    tell(0);
}

static void add_bulk(uint32_t number)
{
    static uint8_t list[BULK_BYTES + 64], value[BULK_BYTES];
    const struct session_rules rules = {.session_bytes_max = 1 << 20, .fields_max = 1000};
    char key[32];

    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (uint8_t)('a' + random_below(&world.random, 4));
    }
    snprintf(key, sizeof key, "bulk-%u", number);
    const struct change change = {
        .operation = CHANGE_SET, .name = bytes_of("", 0), .value = bytes_of(value, sizeof value)};
    const uint8_t *end = change_put(list, &change);
    const struct session_write write = {
        .key = bytes_of_string(key),
        .rules = &rules,
        .now_ms = world.now_ms,
        .actor = {1, 1},
        .type = SESSION_BLOB,
        .changes = bytes_of(list, (size_t)(end - list)),
    };
    assert_int_equal(session_write(&write, &world.written), STATUS_OK);
    const struct archive_record record = {.kind = LOG_FULL,
                                          .body = buffer_bytes(&world.written.record)};
    assert_int_equal(archive_writer_add(&world.writer, &record, world.written.stamp), 0);
}

/* `done` says how many parts there are: that of this world does not. */
static void make_bulk(uint32_t count)
{
    uint32_t parts = 0;

    world_init(&world, 1);
    for (uint32_t at = 0; at < count; parts++) {
        uint32_t end = at + BULK_PART_SESSIONS < count ? at + BULK_PART_SESSIONS : count;
        world_begin_object(&world, ARCHIVE_PART, (struct actor){1, 1}, 1, parts);
        for (; at < end; at++) {
            add_bulk(at);
        }
        world_put(&world);
    }
    world_begin_object(&world, ARCHIVE_DONE, (struct actor){1, 1}, 1, 0);
    world.writer.options.parts = parts;
    archive_writer_reach(&world.writer, hlc_of_ms(world.now_ms), hlc_of_ms(world.now_ms) + 1);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        seen_begin(&world.nodes[0].seen, slot);
        world.scratch.size = 0;
        assert_int_equal(seen_put(&world.nodes[0].seen, slot, &world.scratch), 0);
        assert_int_equal(
            archive_writer_seen(&world.writer, (uint16_t)slot, buffer_bytes(&world.scratch)), 0);
    }
    world_put(&world);
}

/* A change of a session that no object has. */
static void make_baseless(const char *key, const char *cluster)
{
    struct world_node *node = &world.nodes[0];

    world_init(&world, 1);
    move(cluster);
    snprintf(world.keys[0], sizeof world.keys[0], "%s", key);
    for (int value = 1000000; value < 1000003; value++) { /* Larger than what is changed then. */
        world_write(&world, 0, 0, value);
    }
    node->flushed = node->own_count;
    node->based[0] = true;
    world_write(&world, 0, 0, 3);
    world_flush(&world, 0);
}

/* Of a node whose clock was ahead. */
static void make_ahead(const char *key, const char *cluster)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    world_init(&world, 1);
    move(cluster);
    world.now_ms = ((uint64_t)now.tv_sec + 3600) * 1000;
    snprintf(world.keys[0], sizeof world.keys[0], "%s", key);
    world_write(&world, 0, 0, 3);
    world_flush(&world, 0);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        return 2;
    }
    if (strcmp(argv[2], "bulk") == 0) {
        make_bulk((uint32_t)strtoul(argv[3], NULL, 10));
    } else if (strcmp(argv[2], "baseless") == 0 && argc == 5) {
        make_baseless(argv[3], argv[4]);
    } else if (strcmp(argv[2], "ahead") == 0 && argc == 5) {
        make_ahead(argv[3], argv[4]);
    } else {
        make_history(strtoull(argv[3], NULL, 10), argc == 5 ? argv[4] : NULL);
    }
    world_store(&world, argv[1]);
    world_fini(&world);
    return 0;
}
