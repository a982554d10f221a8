/* Random histories of replication: nodes write while links break, fill up and are blocked, nodes are killed, started
 * again and wiped, disks fill up, records are parked and slots move. Whenever it is looked at, a node has all that it
 * says to have seen; a write that another owner has merged is in the end everywhere; and once all is well again, all
 * copies are equal in bounded time.
 *
 * BELAY_REPLICATION_SEEDS=N plays more, BELAY_REPLICATION_SEED=N the one that failed. */
#include "replication_world.h"

#include <stdlib.h>

enum { NODES = 3, KEYS = 60, EVENTS = 400, SETTLE_MS = 30000 };

static struct world world;
static struct slot_table table;

static struct {
    uint64_t writes, copied, kills, wipes, blocks, breaks, tables, refusals, parks, lives, resumes,
        wholes, lapses, failed;
} seen_to_happen;

static uint32_t below(uint32_t bound)
{
    return random_below(&world.random, bound);
}

static uint32_t any_node(void)
{
    return 1 + below(NODES);
}

/* ---- Events ---- */

static void write_one(void)
{
    static char value[3000];
    char key[16];
    struct route_far far;
    uint32_t number = any_node();

    snprintf(key, sizeof key, "k%u", below(KEYS));
    if (!world.nodes[number].up) {
        return;
    }
    struct world_unit *unit = world_unit(&world, number, world_slot(key));
    if (replication_route(unit->r, world_slot(key), below(8) == 0 ? ROUTE_COORDINATE : 0, &far) !=
        ROUTE_LOCAL) {
        return;
    }
    memset(value, 'a' + (int)below(26), sizeof value - 1);
    value[below(4) == 0 ? 2900 : 20] = '\0';
    world_put(&world, number, key, below(2) == 0 ? "x" : "y", value);
    seen_to_happen.writes++;
}

static void set_table(void)
{
    struct slot_owners owners = {{any_node()}};

    owners.nodes[1] = owners.nodes[0] % NODES + 1;
    owners.nodes[2] = below(2) == 0 ? owners.nodes[1] % NODES + 1 : 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (slot % 16 == below(16)) {
            table.owners[slot] = table.targets[slot];
            table.targets[slot] = owners;
        }
    }
    /* Who does not hear of it yet goes on with the old one. */
    for (uint32_t number = 1; number <= NODES; number++) {
        if (world.nodes[number].up && below(3) > 0) {
            world_table(&world, number, &table);
        }
    }
    seen_to_happen.tables++;
}

static void kill_or_start(void)
{
    for (uint32_t number = 1; number <= NODES; number++) {
        if (!world.nodes[number].up) {
            world_restart(&world, number, false);
            return;
        }
    }
    world_kill(&world, any_node());
    seen_to_happen.kills++;
}

static void refuse_or_park(void)
{
    struct world_unit *unit = &world.units[below(world.unit_count)];
    char key[16];

    if (unit->r == NULL) {
        return;
    }
    if (below(2) == 0) {
        unit->refuses = unit->refuses == STATUS_OK ? STATUS_DISK_FULL : STATUS_OK;
        seen_to_happen.refusals++;
    } else if (unit->park != 0) {
        world_unpark(unit);
    } else {
        snprintf(key, sizeof key, "k%u", below(KEYS));
        unit->park = world_position(key);
        seen_to_happen.parks++;
    }
}

static void happen(void)
{
    uint32_t a = any_node(), b = a % NODES + 1;

    switch (below(60)) {
    case 0:
        world_block(&world, a, b, below(3) == 0);
        seen_to_happen.blocks += world.blocked[a][b];
        break;
    case 1:
        world_break_all(&world, a);
        seen_to_happen.breaks++;
        break;
    case 2:
    case 3:
        if (below(4) == 0) {
            kill_or_start();
        }
        break;
    case 4:
    case 5:
        refuse_or_park();
        break;
    case 6:
        set_table();
        break;
    case 7:
        world.jitter_us = below(3000);
        world.capacity = 1 + below(64);
        break;
    case 8:
        world.blocked[a][b] = below(4) == 0; /* One way. */
        break;
    default:
        write_one();
        break;
    }
    for (uint32_t steps = below(6) == 0 ? below(1500) : below(5); steps > 0; steps--) {
        world_step(&world);
    }
}

/* ---- Checks ---- */

static void end_faults(void)
{
    memset(world.blocked, 0, sizeof world.blocked);
    world.jitter_us = 0;
    world.capacity = 64;
    for (uint32_t number = 1; number <= NODES; number++) {
        if (!world.nodes[number].up) {
            world_restart(&world, number, false);
        }
    }
    for (uint32_t i = 0; i < world.unit_count; i++) {
        world.units[i].refuses = STATUS_OK;
        world_unpark(&world.units[i]);
    }
    memcpy(table.owners, table.targets, sizeof table.owners);
    world_tables(&world, &table);
}

/* Each slot is the same on all of its owners, and nowhere else. */
static bool is_settled(void)
{
    for (uint32_t k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", k);
        const struct slot_owners *owners = &table.owners[world_slot(key)];
        struct world_session *first = NULL;
        for (uint32_t number = 1; number <= NODES; number++) {
            struct world_session *session = world_find(world_unit(&world, number, world_slot(key)),
                                                       world_position(key), bytes_of_string(key));
            if (!slot_owners_has(owners, number)) {
                if (session != NULL) {
                    return false;
                }
            } else if (number == owners->nodes[0]) {
                first = session;
            }
        }
        for (uint32_t rank = 1; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
            struct world_unit *unit = world_unit(&world, owners->nodes[rank], world_slot(key));
            struct world_session *session =
                world_find(unit, world_position(key), bytes_of_string(key));
            if ((session == NULL) != (first == NULL) ||
                (first != NULL && session->hash != first->hash)) {
                return false;
            }
        }
    }
    return true;
}

/* Every write that was made is in the sessions of its owners. */
static void check_writes(void)
{
    for (uint32_t i = 0; i < world.write_count; i++) {
        const struct world_write *write = &world.writes[i];
        const uint32_t owner = table.owners[write->slot].nodes[0];
        if (!world_has(&world, world_unit(&world, owner, write->slot), write)) {
            fail_msg("write %u of %s is lost", i, write->key);
        }
    }
}

static void count(void)
{
    for (uint32_t i = 0; i < world.unit_count; i++) {
        const struct replication_stats *stats = replication_stats(world.units[i].r);
        seen_to_happen.copied += stats->copied;
        seen_to_happen.lives += stats->lives;
        seen_to_happen.resumes += stats->resumes;
        seen_to_happen.wholes += stats->wholes_sent;
        seen_to_happen.lapses += stats->lapses;
        seen_to_happen.failed += stats->compares_failed;
        if (stats->bad_messages != 0) {
            fail_msg("node %u was told what is no good", world.units[i].node);
        }
    }
}

static void settle(void)
{
    const uint64_t end_us = world.now_us + UINT64_C(1000) * SETTLE_MS;

    end_faults();
    while (!is_settled() || !world_calm(&world)) {
        if (world.now_us > end_us) {
            fail_msg("it does not settle");
        }
        for (int i = 0; i < 100; i++) {
            world_step(&world);
        }
    }
    world_check_seen(&world);
    check_writes();
}

/* A node loses everything, while the others have it all. */
static void wipe_one(void)
{
    const uint32_t number = any_node();

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (table.owners[slot].nodes[1] == 0) {
            return;
        }
    }
    world_kill(&world, number);
    world_restart(&world, number, true);
    seen_to_happen.wipes++;
}

static void play(uint64_t seed)
{
    world_init(&world, seed);
    world.delay_us = 50;
    world.window_bytes = 128 * 1024;
    for (uint32_t number = 1; number <= NODES; number++) {
        world_node(&world, number, 1 + below(2));
    }
    world_wire(&world);
    for (uint32_t i = 0; i < world.unit_count; i++) {
        world.units[i].port.unheeded = world_unheeded;
    }
    world_owners(&world, &table, (struct slot_owners){{1, 2, 3}}, (struct slot_owners){{1, 2, 3}});
    world_tables(&world, &table);
    for (int round = 0; round < 2; round++) {
        for (int event = 0; event < EVENTS; event++) {
            happen();
            if (event % 50 == 0) {
                world_check_seen(&world);
            }
        }
        settle();
        count();
        wipe_one();
    }
    settle();
    world_fini(&world);
}

static void test_random(void **state)
{
    const char *one = getenv("BELAY_REPLICATION_SEED"), *many = getenv("BELAY_REPLICATION_SEEDS");
    uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
    uint64_t last = one != NULL ? first : many == NULL ? 12 : strtoull(many, NULL, 10);

    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) {
        fprintf(stderr, "seed %llu\r", (unsigned long long)seed);
        play(seed);
    }
    print_message(
        "%llu writes (%llu copied), %llu kills, %llu wipes, %llu blocks, %llu breaks, %llu tables, "
        "%llu refusals, %llu parks; %llu lives, %llu resumes, %llu lapses, %llu wholes, "
        "%llu comparisons failed\n",
        (unsigned long long)seen_to_happen.writes, (unsigned long long)seen_to_happen.copied,
        (unsigned long long)seen_to_happen.kills, (unsigned long long)seen_to_happen.wipes,
        (unsigned long long)seen_to_happen.blocks, (unsigned long long)seen_to_happen.breaks,
        (unsigned long long)seen_to_happen.tables, (unsigned long long)seen_to_happen.refusals,
        (unsigned long long)seen_to_happen.parks, (unsigned long long)seen_to_happen.lives,
        (unsigned long long)seen_to_happen.resumes, (unsigned long long)seen_to_happen.lapses,
        (unsigned long long)seen_to_happen.wholes, (unsigned long long)seen_to_happen.failed);
    if (one == NULL) {
        assert_true(seen_to_happen.copied > 0 && seen_to_happen.kills > 0 &&
                    seen_to_happen.wipes > 0 && seen_to_happen.lives > 0 &&
                    seen_to_happen.resumes > 0 && seen_to_happen.failed > 0 &&
                    seen_to_happen.wholes > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
