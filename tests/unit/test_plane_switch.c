/* Slots that change their primary while requests come, one behind the other: each is done once, in its order, and answered. */
#include "check.h"

#include <stdio.h>

#include "planes_kit.h"
#include "resp.h"
#include "resp_lines.h"

enum { ROUNDS = 150, BURST = 4, BURSTS = 12, PIPELINED = BURST * BURSTS, KEYS = 3 };

static struct planes_kit kit;

/* Of both nodes. */
static uint64_t sum(uint64_t (*of)(const struct plane_shard_stats *stats))
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < kit.count; i++) {
        for (uint32_t shard = 0; shard < kit.nodes[i].options.shard_count; shard++) {
            const struct plane_shard_stats stats = plane_kit_shard_stats(&kit.nodes[i], shard);
            all += of(&stats);
        }
    }
    return all;
}

static uint64_t released(const struct plane_shard_stats *stats)
{
    return stats->copies.slots_released;
}

static uint64_t taken(const struct plane_shard_stats *stats)
{
    return stats->copies.slots_taken;
}

static void ask_burst(struct plane_client *client, uint32_t number, uint32_t key)
{
    char lines[64 * BURST];
    int size = 0;

    for (uint32_t i = 0; i < BURST; i++) {
        size += snprintf(lines + size, sizeof lines - (size_t)size, "%sAPPEND k%u-%u x",
                         i == 0 ? "" : "\r\n", number, key);
    }
    plane_client_ask(client, lines);
}

static uint64_t held(const struct plane_shard_stats *stats)
{
    return stats->held.us.count;
}

/* Each connection makes values longer, one byte at a time, and many at once, while slots go to and fro: the length that each
 * answer tells says where in the order it was done. */
static void test_order(void **state)
{
    static const uint32_t shards[] = {2, 1};
    struct plane_client clients[2];
    char line[64], reply[16 * PIPELINED];
    uint32_t lengths[2][KEYS] = {{0}};

    (void)state;
    planes_kit_begin(&kit, 2, shards, 2);
    planes_kit_connect(&kit, clients, 2);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t burst = 0; burst < BURSTS; burst++) {
            for (uint32_t i = 0; i < 2; i++) {
                ask_burst(&clients[i], i, (round + burst) % KEYS);
            }
            if (burst == 0) {
                planes_kit_tables(&kit, 2, round % 2);
            }
        }
        for (uint32_t i = 0; i < 2; i++) {
            int size = 0;
            for (uint32_t j = 0; j < PIPELINED; j++) {
                size += snprintf(reply + size, sizeof reply - (size_t)size, ":%u\r\n",
                                 ++lengths[i][(round + j / BURST) % KEYS]);
            }
            plane_client_expect(&clients[i], reply);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t key = 0; key < KEYS; key++) { /* As the other one tells it. */
            snprintf(line, sizeof line, "STRLEN k%u-%u", i, key);
            snprintf(reply, sizeof reply, ":%u\r\n", lengths[i][key]);
            plane_client_ask(&clients[1 - i], line);
            plane_client_expect(&clients[1 - i], reply);
        }
    }
    assert_true(sum(released) > SLOT_COUNT && sum(taken) > SLOT_COUNT);
    assert_true(sum(held) > 0);
    planes_kit_end(&kit, clients, 2);
}

/* Who keeps slots for a node that has not heard of the map yet does not go by that map itself. */
static void test_followed(void **state)
{
    static const uint32_t shards[] = {2, 1};
    struct plane *other;

    (void)state;
    planes_kit_begin(&kit, 2, shards, 2);
    plane_kit_until(plane_followed(kit.nodes[0].plane) == kit.epoch);
    other = kit.nodes[1].plane;
    kit.nodes[1].plane = NULL; /* It is not told. */
    planes_kit_tables(&kit, 2, 1);
    kit.nodes[1].plane = other;
    usleep(100 * 1000);
    assert_int_equal(plane_followed(kit.nodes[0].plane), kit.epoch - 1);
    planes_kit_tables(&kit, 2, 1);
    for (uint32_t i = 0; i < 2; i++) {
        plane_kit_until(plane_followed(kit.nodes[i].plane) == kit.epoch);
    }
    assert_true(sum(released) == SLOT_COUNT && sum(taken) == SLOT_COUNT);
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
