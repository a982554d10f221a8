#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "crc32c.h"
#include "liveness.h"
#include "map_clients.h"
#include "map_command.h"
#include "random.h"

static struct map map, other, decoded;
static struct placement_work work;
static struct test_memory memory;
static struct buffer encoded, again, listed;

static int set_up(void **state)
{
    (void)state;
    memory = test_memory();
    encoded = again = listed = (struct buffer){.memory = &memory.memory};
    map_init(&map, 7, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_fini(&encoded);
    buffer_fini(&again);
    buffer_fini(&listed);
    assert_int_equal(memory.outstanding_bytes, 0);
    return 0;
}

static struct map_text text_of(const char *from)
{
    struct map_text text = {.size = (uint8_t)strlen(from)};

    memcpy(text.bytes, from, text.size);
    return text;
}

static struct map_place place_of(const char *host, uint16_t port)
{
    return (struct map_place){
        .host = text_of(host),
        .ports = {port, (uint16_t)(port + 1), (uint16_t)(port + 2), (uint16_t)(port + 3)},
        .start = 1,
        .shards = 4,
    };
}

static struct map_command add_command(const char *name, const char *zone, uint32_t weight)
{
    return (struct map_command){
        .type = MAP_ADD,
        .weight = weight,
        .name = text_of(name),
        .zone = text_of(zone),
        .region = text_of("north"),
        .place = place_of("192.0.2.1", 7400),
    };
}

/* Apply it as every node would: from its bytes. */
static int apply(const struct map_command *command)
{
    struct map_command read;
    uint64_t epoch = map.epoch;

    encoded.size = 0;
    assert_int_equal(map_command_encode(command, &encoded), 0);
    int rc = map_command_decode(buffer_bytes(&encoded), &read);
    if (rc == 0) {
        rc = map_apply(&map, &work, &read);
    }
    assert_int_equal(map.epoch, epoch + (rc == 0));
    return rc;
}

static int add(const char *name, const char *zone)
{
    struct map_command command = add_command(name, zone, 800);

    return apply(&command);
}

static int set_state(uint32_t number, enum map_state state)
{
    return apply(&(struct map_command){.type = MAP_STATE, .number = number, .state = state});
}

static int set_down(uint32_t number, uint32_t cooldown_ms)
{
    return apply(&(struct map_command){
        .type = MAP_STATE, .number = number, .state = MAP_DOWN, .cooldown_ms = cooldown_ms});
}

static int set_condition(uint32_t number, uint8_t condition)
{
    return apply(
        &(struct map_command){.type = MAP_CONDITION, .number = number, .condition = condition});
}

static int set_weight(uint32_t number, uint32_t weight)
{
    return apply(&(struct map_command){.type = MAP_WEIGHT, .number = number, .weight = weight});
}

static int remove_member(uint32_t number)
{
    return apply(&(struct map_command){.type = MAP_REMOVE, .number = number});
}

static int set_replicas(uint32_t replicas)
{
    return apply(&(struct map_command){.type = MAP_REPLICAS, .replicas = replicas});
}

static bool owners_equal(struct slot_owners a, struct slot_owners b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static struct map_command settle_command(uint32_t slot, uint32_t count, struct slot_owners owners)
{
    const struct map_run run = {slot, count, owners};
    uint32_t end = 0;

    listed.size = 0;
    assert_int_equal(map_run_put(&listed, &end, &run), 0);
    return (struct map_command){.type = MAP_SETTLE, .runs = buffer_bytes(&listed)};
}

/* Settle all slots, in runs of equal targets, by one command. Returns how many slots had other owners. */
static uint32_t settle_all(void)
{
    struct map_command command = {.type = MAP_SETTLE};
    uint32_t changed = 0, put = 0;

    listed.size = 0;

    for (uint32_t slot = 0, end; slot < SLOT_COUNT; slot = end) {
        struct slot_owners targets = map_targets(&map, slot);
        for (end = slot; end < SLOT_COUNT && owners_equal(map_targets(&map, end), targets); end++) {
            changed += !owners_equal(map.owners[end], targets);
        }
        if (targets.nodes[0] != 0) {
            const struct map_run run = {slot, end - slot, targets};
            assert_int_equal(map_run_put(&listed, &put, &run), 0);
        }
    }
    if (listed.size > 0) {
        command.runs = buffer_bytes(&listed);
        assert_int_equal(apply(&command), changed > 0 ? 0 : -EALREADY);
    }
    return changed;
}

static void make_three(void)
{
    assert_int_equal(add("a", "x"), 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(add("b", "y"), 0);
    assert_int_equal(add("c", "z"), 0);
    assert_int_equal(set_state(2, MAP_ACTIVE), 0);
    assert_int_equal(set_state(3, MAP_ACTIVE), 0);
    settle_all();
}

/* The first member has all at once; who joins owns nothing before it is settled. */
static void test_join(void **state)
{
    (void)state;
    assert_int_equal(add("a", "x"), 0);
    assert_int_equal(map.owners[5].nodes[0], 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(map.owners[5].nodes[0], 1);
    assert_int_equal(add("b", "y"), 0);
    assert_int_equal(set_state(2, MAP_ACTIVE), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(map.owners[slot].nodes[0], 1);
        assert_int_equal(map.owners[slot].nodes[1], 0);
        assert_int_equal(map.homes[slot].nodes[0] + map.homes[slot].nodes[1], 3);
        assert_true(owners_equal(map_targets(&map, slot), map.homes[slot]));
    }
    assert_int_equal(settle_all(), SLOT_COUNT);
    assert_memory_equal(map.owners, map.homes, sizeof map.homes);
    assert_int_equal(settle_all(), 0);
}

/* Who goes down leaves the owners and the next moves up; somebody stands in; who comes back has its slots again. */
static void test_down_and_back(void **state)
{
    static struct slot_owners before[SLOT_COUNT];

    (void)state;
    make_three();
    memcpy(before, map.owners, sizeof before);
    assert_int_equal(set_state(2, MAP_DOWN), 0);
    assert_memory_equal(map.homes, before, sizeof before);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t left = before[slot].nodes[0] == 2 ? before[slot].nodes[1] : before[slot].nodes[0];
        struct slot_owners targets = map_targets(&map, slot);
        assert_int_equal(map.owners[slot].nodes[0], left);
        assert_true(map.owners[slot].nodes[0] != 2 && map.owners[slot].nodes[1] != 2);
        assert_int_equal(targets.nodes[0], left);
        assert_int_equal(targets.nodes[0] + targets.nodes[1], 1 + 3);
    }
    settle_all();
    assert_int_equal(set_state(2, MAP_DRAINING), -EPERM);
    assert_int_equal(set_state(2, MAP_ACTIVE), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_true(map.owners[slot].nodes[0] != 2 && map.owners[slot].nodes[1] != 2);
    }
    settle_all();
    assert_memory_equal(map.owners, before, sizeof before);
}

/* While a node comes in and goes down again, nobody else need take its place: the present owners do. */
static void test_owners_stand_in(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(add(name, "x"), 0);
        assert_int_equal(set_state((uint32_t)i + 1, MAP_ACTIVE), 0);
    }
    settle_all();
    assert_int_equal(add("late", "x"), 0);
    assert_int_equal(set_state(9, MAP_ACTIVE), 0);
    uint32_t moving = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        moving += !owners_equal(map.owners[slot], map_targets(&map, slot));
    }
    assert_true(moving > SLOT_COUNT / 9);
    assert_int_equal(set_state(9, MAP_DOWN), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_owners targets = map_targets(&map, slot), owners = map.owners[slot];
        assert_int_equal(targets.nodes[0] + targets.nodes[1], owners.nodes[0] + owners.nodes[1]);
    }
}

/* The last owner of a slot stays its owner, down or not, until it is given up. */
static void test_last_owner(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_state(1, MAP_DOWN), 0);
    assert_int_equal(set_state(2, MAP_DOWN), 0);
    uint32_t waiting = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_not_equal(map.owners[slot].nodes[0], 0);
        waiting += map.owners[slot].nodes[0] == 2;
    }
    assert_true(waiting > SLOT_COUNT / 4 && waiting < SLOT_COUNT / 2);
    assert_int_equal(remove_member(2), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_true(map.owners[slot].nodes[0] == 3);
    }
}

static int lose(uint32_t number)
{
    return apply(&(struct map_command){.type = MAP_LOSE, .number = number});
}

/* What a member says of some slots that were lost in an epoch. */
static int restored(uint32_t number, uint64_t epoch, uint32_t slot, uint32_t count)
{
    struct map_command command = {.type = MAP_RESTORED, .number = number, .epoch = epoch};
    struct map_run run = {.slot = slot, .count = count};
    uint32_t end = 0;

    listed.size = 0;
    assert_int_equal(map_run_put(&listed, &end, &run), 0);
    command.runs = buffer_bytes(&listed);
    return apply(&command);
}

static uint32_t lost_count(uint64_t epoch)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        count += map.lost[slot] == epoch;
    }
    return count;
}

static void check_round_trip(void);

/* Slots that only the lost one owned are lost until their first owner says that they are back. */
static void test_lost(void **state)
{
    uint32_t alone = 0, first = 0;

    (void)state;
    make_three();
    assert_false(map_has_lost(&map));
    assert_int_equal(lose(3), -EBUSY);
    assert_int_equal(set_state(1, MAP_DOWN), 0);
    assert_int_equal(set_state(2, MAP_DOWN), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        alone += map.owners[slot].nodes[0] == 2;
        first = map.owners[slot].nodes[0] == 2 ? slot : first;
    }
    assert_int_equal(lose(2), 0);
    const uint64_t epoch = map.epoch;
    assert_true(alone > 0 && map_has_lost(&map));
    assert_int_equal(lost_count(epoch), alone);
    assert_int_equal(map.lost[first], epoch);
    assert_int_equal(map.owners[first].nodes[0], 3);
    check_round_trip();

    assert_int_equal(restored(1, epoch, 0, SLOT_COUNT), -EALREADY);
    assert_int_equal(restored(3, epoch - 1, 0, SLOT_COUNT), -EALREADY);
    assert_int_equal(restored(3, epoch, first, 1), 0);
    assert_int_equal(map.lost[first], 0);
    assert_int_equal(lost_count(epoch), alone - 1);
    check_round_trip();
    assert_int_equal(restored(3, epoch, first, 1), -EALREADY);
    assert_int_equal(restored(3, epoch, 0, SLOT_COUNT), 0);
    assert_false(map_has_lost(&map));
    check_round_trip();
}

/* Who was to bring slots back is lost, too: what it has said comes too late. */
static void test_lost_again(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_state(1, MAP_DOWN), 0);
    assert_int_equal(set_state(2, MAP_DOWN), 0);
    assert_int_equal(lose(2), 0);
    const uint64_t epoch = map.epoch;
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    assert_int_equal(lose(3), 0);
    assert_int_equal(lost_count(map.epoch), SLOT_COUNT);
    const uint64_t again_epoch = map.epoch;
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(restored(1, epoch, 0, SLOT_COUNT), -EALREADY);
    assert_int_equal(restored(3, again_epoch, 0, SLOT_COUNT), -EALREADY);
    assert_int_equal(restored(1, again_epoch, 0, SLOT_COUNT), 0);
}

static void test_drain(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_state(3, MAP_LEFT), -EPERM);
    assert_int_equal(remove_member(3), -EBUSY);
    assert_int_equal(set_state(3, MAP_DRAINING), 0);
    assert_int_equal(set_state(3, MAP_LEFT), -EBUSY);
    assert_int_equal(remove_member(3), -EBUSY);
    settle_all();
    assert_int_equal(set_state(3, MAP_LEFT), 0);
    assert_int_equal(set_state(3, MAP_DOWN), -EPERM);
    assert_int_equal(remove_member(3), 0);
    assert_int_equal(remove_member(3), -ENOENT);
    assert_int_equal(map.member_count, 2);
    assert_int_equal(add("d", "x"), 0);
    assert_int_equal(map.members[2].number, 4); /* Numbers are not given again. */
}

/* One that drains and is down has left once others have all of it, and not before. What was said of it while it drained
 * does not count once it does no more. */
static void test_drained_while_down(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    assert_int_equal(set_state(3, MAP_LEFT), -EPERM);
    assert_int_equal(set_state(3, MAP_ACTIVE), 0);
    settle_all();
    assert_int_equal(set_state(3, MAP_DRAINING), 0);
    assert_int_equal(set_state(1, MAP_DOWN), 0);
    assert_int_equal(set_state(2, MAP_DOWN), 0); /* Some slots are its alone now. */
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    assert_int_equal(set_state(3, MAP_LEFT), -EBUSY);
    assert_int_equal(set_state(3, MAP_DRAINING), 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(set_state(2, MAP_ACTIVE), 0);
    settle_all();
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    assert_int_equal(set_state(3, MAP_LEFT), 0);
    assert_int_equal(set_state(3, MAP_JOINING), 0);
    assert_int_equal(set_state(3, MAP_ACTIVE), 0);
    assert_int_equal(set_state(3, MAP_DRAINING), 0);
    assert_int_equal(set_state(3, MAP_ACTIVE), 0); /* Taken back. */
    assert_int_equal(set_state(3, MAP_LEFT), -EPERM);
}

static void test_weight_and_replicas(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_weight(1, 800), -EALREADY);
    assert_int_equal(set_weight(9, 800), -ENOENT);
    assert_int_equal(set_weight(1, PLACEMENT_WEIGHT_MAX + 1), -EBADMSG);
    assert_int_equal(set_weight(1, 0), 0);
    settle_all();
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(map.owners[slot].nodes[0] + map.owners[slot].nodes[1], 5);
    }
    assert_int_equal(set_weight(1, 1600), 0);
    assert_int_equal(set_replicas(3), 0);
    assert_int_equal(set_replicas(3), -EALREADY);
    assert_int_equal(set_replicas(6), -EBADMSG);
    settle_all();
    uint32_t firsts = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const uint32_t *nodes = map.owners[slot].nodes;
        assert_int_equal(nodes[0] + nodes[1] + nodes[2], 6);
        firsts += nodes[0] == 1;
    }
    assert_int_equal(firsts, SLOT_COUNT / 2);
}

/* Targets that have changed since are not settled. */
static void test_stale_settle(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_replicas(3), 0);
    const struct slot_owners targets = map_targets(&map, 9);
    struct map_command command = settle_command(9, 1, targets);
    assert_int_equal(set_state(targets.nodes[2], MAP_DOWN), 0);
    assert_int_equal(apply(&command), -ESTALE);
    command = settle_command(9, 1, map_targets(&map, 9));
    assert_int_equal(apply(&command), -EALREADY);
    command = settle_command(9, SLOT_COUNT, map_targets(&map, 9));
    assert_int_equal(map_apply(&map, &work, &command), -EINVAL);
    command = settle_command(0, 1, (struct slot_owners){{0}});
    assert_int_equal(map_apply(&map, &work, &command), -EINVAL);
    command.runs = bytes_of(NULL, 0);
    assert_int_equal(map_apply(&map, &work, &command), -EINVAL);
}

/* Each run of a command counts by itself, and as a whole. */
static void test_settle_in_part(void **state)
{
    static struct slot_owners before[SLOT_COUNT];
    struct map_command command = {.type = MAP_SETTLE};
    uint32_t end = 0, other_slot = 1;

    (void)state;
    make_three();
    assert_int_equal(set_replicas(3), 0);
    memcpy(before, map.owners, sizeof before);
    while (owners_equal(map_targets(&map, other_slot), map_targets(&map, 0))) {
        other_slot++;
    }
    assert_true(other_slot > 1 && other_slot < SLOT_COUNT - 1);
    const struct map_run list[] = {
        {0, 1, map_targets(&map, 0)},
        {1, other_slot, map_targets(&map, 0)}, /* Its last slot has others. */
        {SLOT_COUNT - 1, 1, map_targets(&map, SLOT_COUNT - 1)},
    };
    listed.size = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(map_run_put(&listed, &end, &list[i]), 0);
    }
    command.runs = buffer_bytes(&listed);
    assert_int_equal(apply(&command), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        bool settled = slot == 0 || slot == SLOT_COUNT - 1;
        assert_true(
            owners_equal(map.owners[slot], settled ? map_targets(&map, slot) : before[slot]));
    }
    assert_int_equal(apply(&command), -ESTALE);
}

/* A command has as many runs as it may. */
static void test_many_runs(void **state)
{
    struct map_command command = {.type = MAP_SETTLE}, read;
    struct map_run run = {.count = 1, .owners = {{1, 2, 3, 4, 5}}}, found;
    uint32_t end = 0, count = 0;

    (void)state;
    listed.size = 0;
    for (; run.slot < SLOT_COUNT; run.slot++) {
        assert_int_equal(map_run_put(&listed, &end, &run), 0);
    }
    command.runs = buffer_bytes(&listed);
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    assert_int_equal(map_command_decode(buffer_bytes(&encoded), &read), 0);
    struct reader from = reader_of(read.runs);
    for (end = 0; map_run_read(&from, &end, &found); count++) {
        assert_int_equal(found.slot, count);
        assert_true(owners_equal(found.owners, run.owners));
    }
    assert_int_equal(count, SLOT_COUNT);
    for (int i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
        run.owners.nodes[i] = MAP_NUMBER_MAX;
    }
    listed.size = end = run.slot = 0;
    while (run.slot < SLOT_COUNT && map_run_put(&listed, &end, &run) == 0) {
        run.slot++;
    }
    assert_int_equal(map_run_put(&listed, &end, &run), -E2BIG);
    assert_in_range(listed.size, MAP_RUNS_BYTES_MAX - 100, MAP_RUNS_BYTES_MAX);
    assert_int_equal(end, run.slot);
}

static struct map_command policy_command(enum map_command_type type, const char *prefix,
                                         uint64_t ttl)
{
    struct map_command command = {.type = type};

    policy_defaults(&command.policy);
    command.policy.prefix_size = (uint32_t)strlen(prefix);
    memcpy(command.policy.prefix, prefix, command.policy.prefix_size);
    command.policy.rules.idle_ttl_ms = ttl;
    return command;
}

static int set_policy(const char *prefix, uint64_t ttl)
{
    struct map_command command = policy_command(MAP_POLICY_SET, prefix, ttl);

    return apply(&command);
}

static void test_policies(void **state)
{
    static struct policies table;

    (void)state;
    assert_int_equal(set_policy("web:", 5), 0);
    assert_int_equal(set_policy("web:", 5), -EALREADY);
    assert_int_equal(set_policy("web:", 6), 0);
    assert_int_equal(set_policy("", 1), 0);
    assert_int_equal(set_policy("app:", 9), 0);
    assert_int_equal(set_policy("app:", UINT64_MAX), -EBADMSG);
    assert_int_equal(map.policy_count, 3);
    assert_int_equal(policies_init(&table, map.policies, map.policy_count), 0);
    assert_int_equal(policy_of_key(&table, text("web:1"))->rules.idle_ttl_ms, 6);
    struct map_command command = policy_command(MAP_POLICY_REMOVE, "web:", 0);
    assert_int_equal(apply(&command), 0);
    assert_int_equal(apply(&command), -ENOENT);
    assert_int_equal(map.policy_count, 2);
    for (int i = 0; i < POLICIES_MAX - 3; i++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "p%d", i);
        assert_int_equal(set_policy(prefix, 1), 0);
    }
    assert_int_equal(set_policy("one more", 1), -E2BIG);
    assert_int_equal(set_policy("p7", 2), 0);
}

static void test_members_refused(void **state)
{
    struct map_command command = add_command("a", "x", 800);

    (void)state;
    assert_int_equal(apply(&command), 0);
    assert_int_equal(apply(&command), -EEXIST);
    command.name = text_of("b");
    command.number = 1;
    assert_int_equal(apply(&command), -EEXIST);
    command.number = 41;
    command.place.ports[2] = 0;
    assert_int_equal(map_apply(&map, &work, &command), -EINVAL);
    command.place.ports[2] = 9;
    command.zone = text_of("\n");
    assert_int_equal(map_apply(&map, &work, &command), -EINVAL);
    assert_int_equal(apply(&command), -EBADMSG);
    command.zone = text_of("");
    assert_int_equal(apply(&command), 0);
    command = (struct map_command){.type = MAP_PLACE, .number = 41, .place = place_of("h", 9)};
    assert_int_equal(apply(&command), 0);
    assert_int_equal(apply(&command), -EALREADY);
    command.place.start++;
    assert_int_equal(apply(&command), 0);
    assert_int_equal(map_member(&map, 41)->place.start, 2);
    assert_null(map_member(&map, 40));
    assert_int_equal(set_state(41, MAP_JOINING), -EALREADY);
    assert_int_equal(set_state(41, MAP_DRAINING), -EPERM);
    for (int i = 0; map.member_count < MAP_MEMBERS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(add(name, "x"), 0);
    }
    assert_int_equal(add("more", "x"), -E2BIG);
}

/* ---- The encoding. ---- */

static void check_round_trip(void)
{
    encoded.size = again.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    assert_int_equal(map_decode(buffer_bytes(&encoded), &decoded), 0);
    assert_int_equal(map_encode(&decoded, &again), 0);
    assert_true(bytes_equal(buffer_bytes(&encoded), buffer_bytes(&again)));
    assert_memory_equal(map.owners, decoded.owners, sizeof map.owners);
    assert_memory_equal(map.homes, decoded.homes, sizeof map.homes);
    assert_memory_equal(map.members, decoded.members, sizeof map.members);
}

/* Why it is degraded, and how long it stays out once it is down, stand in the map. */
static void test_conditions(void **state)
{
    (void)state;
    make_three();
    const struct map_member *member = map_member(&map, 2);
    assert_int_equal(set_condition(2, CONDITION_DISK_FULL), 0);
    assert_int_equal(set_condition(2, CONDITION_DISK_FULL), -EALREADY);
    assert_int_equal(member->state, MAP_DEGRADED);
    assert_int_equal(set_state(2, MAP_DEGRADED),
                     0); /* Also an operator says so: it stays so when it is well. */
    assert_int_equal(set_state(2, MAP_DEGRADED), -EALREADY);
    assert_int_equal(set_condition(2, 0), 0);
    assert_int_equal(member->state, MAP_DEGRADED);
    assert_int_equal(set_condition(2, CONDITION_DISK_FULL), 0);
    assert_int_equal(set_state(2, MAP_ACTIVE), 0); /* An operator's word. */
    assert_int_equal(member->condition, 0);
    assert_int_equal(set_state(2, MAP_DEGRADED), 0);
    assert_int_equal(member->condition, CONDITION_OPERATOR);
    assert_int_equal(set_condition(2, CONDITION_LOG_FAILED), 0);
    assert_int_equal(set_condition(2, 0), 0); /* That of an operator stays. */
    assert_int_equal(member->state, MAP_DEGRADED);
    assert_int_equal(member->condition, CONDITION_OPERATOR);
    assert_int_equal(set_condition(2, CONDITION_OPERATOR), -EBADMSG);
    assert_int_equal(set_condition(9, 0), -ENOENT);

    assert_int_equal(member->cooldown_ms, 0);
    assert_int_equal(set_down(2, 30000), 0);
    assert_int_equal(member->cooldown_ms, 30000);
    check_round_trip();
    assert_int_equal(set_state(2, MAP_DEGRADED), 0);
    assert_int_equal(member->condition, CONDITION_OPERATOR);
    assert_int_equal(member->cooldown_ms, 30000);
    assert_int_equal(set_down(2, 0), 0);
    assert_int_equal(member->cooldown_ms, 30000);
    assert_int_equal(set_state(2, MAP_ACTIVE), -EPERM);
    assert_int_equal(set_state(2, MAP_DEGRADED), 0);
    assert_int_equal(set_state(2, MAP_DRAINING), 0);
    assert_int_equal(member->condition, 0);
    assert_int_equal(set_condition(2, CONDITION_DISK_FULL), -EPERM);
    check_round_trip();

    assert_int_equal(set_down(1, 0),
                     0); /* What it finds while it is out is what it comes back to. */
    assert_int_equal(set_condition(1, CONDITION_DISK_FULL), 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), -EPERM);
    assert_int_equal(set_state(1, MAP_DEGRADED), 0);
    assert_int_equal(set_down(3, MAP_COOLDOWN_MS_MAX + 1), -EBADMSG);
    struct map_command wrong = {
        .type = MAP_STATE, .number = 3, .state = MAP_DRAINING, .cooldown_ms = 1};
    assert_int_equal(apply(&wrong), -EINVAL);
    map.members[1].condition = 8; /* No such bit; */
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    assert_int_equal(map_decode(buffer_bytes(&encoded), &decoded), -EBADMSG);
    map.members[1].condition = CONDITION_OPERATOR; /* and it drains, which is another thing. */
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    assert_int_equal(map_decode(buffer_bytes(&encoded), &decoded), -EBADMSG);
}

/* A ramp is in the map, and so are its steps; whoever changes the weight otherwise ends it. */
static void test_ramp(void **state)
{
    const struct map_command begin = {
        .type = MAP_RAMP, .number = 1, .goal = 1600, .ramp_ms = 30000};
    struct map_command step = {
        .type = MAP_RAMP_STEP, .number = 1, .goal = 1600, .weight = 1000, .ramp_ms = 20000};
    static const uint8_t golden[] = {3, 11, 1, 0xc0, 12, 0xb0, 0xea, 1};
    static const uint8_t golden_step[] = {3, 12, 1, 0xc0, 12, 0xe8, 7, 0xa0, 0x9c, 1};
    struct map_command wrong = begin;

    (void)state;
    make_three();
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    assert_int_equal(encoded.data[0], MAP_VERSION);
    assert_int_equal(apply(&step), -ESTALE);
    assert_int_equal(apply(&begin), 0);
    const struct map_member *member = map_member(&map, 1);
    assert_int_equal(member->weight, 800);
    assert_int_equal(member->goal, 1600);
    check_round_trip();
    assert_int_equal(encoded.data[0], MAP_VERSION + MAP_VERSION_RAMPS);
    assert_int_equal(apply(&step), 0);
    assert_int_equal(member->weight, 1000);
    assert_int_equal(member->ramp_ms, 20000);
    assert_int_equal(apply(&step), -ESTALE);
    step.goal = 1500;
    step.ramp_ms = 10000;
    assert_int_equal(apply(&step), -ESTALE);
    step.goal = 1600;
    step.ramp_ms = 0;
    assert_int_equal(apply(&step), -EINVAL); /* The last one ends there. */
    step.weight = 1600;
    assert_int_equal(apply(&step), 0);
    assert_int_equal(member->ramp_ms + member->goal, 0);
    assert_int_equal(apply(&begin), -EALREADY);
    assert_int_equal(apply(&step), -ESTALE);
    check_round_trip();
    assert_int_equal(encoded.data[0], MAP_VERSION);
    wrong.goal = 0;
    assert_int_equal(apply(&wrong), 0);
    assert_int_equal(set_weight(1, 1600), 0); /* It stays where it is. */
    assert_int_equal(member->ramp_ms + member->goal, 0);
    wrong.ramp_ms = 0;
    assert_int_equal(apply(&wrong), -EINVAL);
    wrong.ramp_ms = MAP_RAMP_MS_MAX + 1;
    assert_int_equal(map_apply(&map, &work, &wrong), -EINVAL);
    encoded.size = 0;
    assert_int_equal(map_command_encode(&begin, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(golden, sizeof golden));
    step.weight = 1000;
    step.ramp_ms = 20000;
    encoded.size = 0;
    assert_int_equal(map_command_encode(&step, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(golden_step, sizeof golden_step));
    encoded.data[0] = 1;
    assert_int_equal(map_command_decode(buffer_bytes(&encoded), &step), -EBADMSG);
}

/* What the format says, byte by byte, but for the checksum. */
static void assert_golden(struct bytes bytes, const char *hex)
{
    size_t size = 0;

    for (; *hex != '\0'; hex += 2 + (hex[2] == ' ')) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        assert_true(size < bytes.size);
        assert_int_equal(bytes.data[size], byte);
        size++;
    }
    assert_int_equal(bytes.size, size + 4);
    assert_int_equal(load_u32(bytes.data + size), crc32c(0, bytes_of(bytes.data, size)));
}

static void test_golden_bytes(void **state)
{
    (void)state;
    assert_int_equal(add("a", "x"), 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(set_condition(1, CONDITION_DISK_FULL), 0);
    assert_int_equal(set_down(1, 30000), 0);
    assert_int_equal(set_policy("p", 5), 0);
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    assert_golden(
        buffer_bytes(&encoded),
        "01 0700000000000000 06 02 01 " /* Version, cluster, epoch, replicas, last number. */
        "01 01 35 b0ea01 02 "           /* Members: 1, down, was degraded, cooldown, disk full; */
        "a006 0161 0178 056e6f727468 "  /* weight, a, in x, north. */
        "093139322e302e322e31 e81ce91cea1ceb1c 01 04 " /* Its place: 192.0.2.1. */
        "01 0170 02 00 808040 808004 05 00 80dddb01 "  /* Policies: p. */
        "808001 01 00 "                                /* Homes: all slots with a. */
        "818002");                                     /* Owners: all at home. */
    check_round_trip();
}

/* Put these bytes (in hex) in the place of what the encoding has from `at` on, with a checksum that fits. */
static int decode_edited(size_t at, const char *hex)
{
    again.size = 0;
    assert_int_equal(buffer_append(&again, bytes_of(encoded.data, at)), 0);
    for (; *hex != '\0'; hex += 2 + (hex[2] == ' ')) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        assert_int_equal(buffer_append(&again, bytes_of(&(uint8_t){(uint8_t)byte}, 1)), 0);
    }
    uint8_t crc[4];
    store_u32(crc, crc32c(0, buffer_bytes(&again)));
    assert_int_equal(buffer_append(&again, bytes_of(crc, 4)), 0);
    return map_decode(buffer_bytes(&again), &decoded);
}

static void test_golden_commands(void **state)
{
    struct map_command command = {
        .type = MAP_STATE, .number = 5, .state = MAP_DOWN, .cooldown_ms = 30000};
    static const uint8_t down[] = {1, 4, 5, 5, 0xb0, 0xea, 1};
    static const uint8_t condition[] = {1, 10, 5, 6};

    (void)state;
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(down, sizeof down));
    command = (struct map_command){.type = MAP_CONDITION,
                                   .number = 5,
                                   .condition = CONDITION_DISK_FULL | CONDITION_LOG_FAILED};
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(condition, sizeof condition));
}

/* One run is as in version 1, several are what version 2 is for. */
static void test_golden_settle(void **state)
{
    static const uint8_t one[] = {1, 9, 0xac, 2, 5, 2, 1, 0x80, 1};
    static const uint8_t two[] = {2, 9, 0xac, 2, 5, 2, 1, 0x80, 1, 0, 1, 1, 7};
    const struct map_run second = {305, 1, {{7}}};
    struct map_command command = settle_command(300, 5, (struct slot_owners){{1, 128}}), read;
    struct reader from;
    struct map_run run;
    uint32_t end = 0;

    (void)state;
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(one, sizeof one));
    assert_int_equal(map_command_decode(bytes_of(one, sizeof one), &read), 0);
    from = reader_of(read.runs);
    assert_true(map_run_read(&from, &end, &run));
    assert_int_equal(run.slot, 300);
    assert_int_equal(run.count, 5);
    assert_true(owners_equal(run.owners, (struct slot_owners){{1, 128}}));
    assert_int_equal(map_run_put(&listed, &end, &second), 0);
    command.runs = buffer_bytes(&listed);
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    assert_bytes_equal(buffer_bytes(&encoded), bytes_of(two, sizeof two));
    assert_int_equal(map_command_decode(bytes_of(two, sizeof two), &read), 0);
    for (size_t size = 1; size < sizeof two; size++) { /* As a whole, and in that version only. */
        assert_int_equal(map_command_decode(bytes_of(two, size), &read), -EBADMSG);
    }
    encoded.data[0] = 1;
    assert_int_equal(map_command_decode(buffer_bytes(&encoded), &read), -EBADMSG);
}

/* Only the one encoding of a map is taken, and none of what is no map. */
static void test_other_encodings(void **state)
{
    (void)state;
    assert_int_equal(add("a", "x"), 0);
    assert_int_equal(set_state(1, MAP_ACTIVE), 0);
    assert_int_equal(set_policy("p", 5), 0);
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    size_t runs = encoded.size - 4 - 8, policies = runs - 17;
    assert_int_equal(decode_edited(runs, "808001 01 00 818002"), 0);
    assert_int_equal(decode_edited(runs, "8040 01 00 8040 01 00 818002"), -EBADMSG); /* One run. */
    assert_int_equal(decode_edited(runs, "808001 01 00 818001 818001"), -EBADMSG);   /* One run. */
    assert_int_equal(decode_edited(runs, "808001 01 00 808002 01 00"), -EBADMSG);    /* At home. */
    assert_int_equal(decode_edited(runs, "808001 01 00 808002 00"), 0);              /* Nobody. */
    assert_int_equal(decode_edited(runs, "808001 01 00 808001 00 808001 00"), -EBADMSG);
    assert_int_equal(decode_edited(runs, "808001 02 00 00 818002"), -EBADMSG); /* Twice one node. */
    assert_int_equal(decode_edited(runs, "808001 01 01 818002"), -EBADMSG);    /* No member. */
    assert_int_equal(decode_edited(runs, "808001 06 818002"), -EBADMSG);
    assert_int_equal(decode_edited(runs, "00 01 00 808001 01 00 818002"), -EBADMSG);
    assert_int_equal(decode_edited(runs, "818001 01 00 818002"), -EBADMSG); /* Too many slots. */
    assert_int_equal(decode_edited(runs, "808001 01 00 818002 00"), -EBADMSG);
    const char *rest = " 808040 808004 05 00 80dddb01 808001 01 00 818002";
    char hex[128];
    snprintf(hex, sizeof hex, "01 0170 02 0F%s", rest);
    assert_int_equal(decode_edited(policies, hex), 0);
    snprintf(hex, sizeof hex, "01 0170 02 10%s", rest); /* A flag that is none. */
    assert_int_equal(decode_edited(policies, hex), -EBADMSG);
    snprintf(hex, sizeof hex, "01 0170 00 00%s", rest); /* No ack level. */
    assert_int_equal(decode_edited(policies, hex), -EBADMSG);
}

/* Whatever byte is changed, it is noticed; and with a checksum made to fit, what is taken is what would be written. */
static void test_bad_bytes(void **state)
{
    (void)state;
    make_three();
    assert_int_equal(set_policy("p", 5), 0);
    assert_int_equal(set_weight(1, 1000), 0);
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    encoded.size = 0;
    assert_int_equal(map_encode(&map, &encoded), 0);
    uint64_t seed = 1;
    uint32_t taken = 0, refused = 0;
    for (size_t i = 1; i < encoded.size - 4; i += 1 + i / 200) {
        uint8_t old = encoded.data[i];
        encoded.data[i] = (uint8_t)(old ^ (1U << random_below(&seed, 8)));
        assert_int_equal(map_decode(buffer_bytes(&encoded), &decoded), -EBADMSG);
        uint8_t *crc = encoded.data + encoded.size - 4;
        store_u32(crc, crc32c(0, bytes_of(encoded.data, encoded.size - 4)));
        if (map_decode(buffer_bytes(&encoded), &decoded) == 0) {
            again.size = 0;
            assert_int_equal(map_encode(&decoded, &again), 0);
            assert_true(bytes_equal(buffer_bytes(&encoded), buffer_bytes(&again)));
            taken++;
        } else {
            refused++;
        }
        encoded.data[i] = old;
        store_u32(crc, crc32c(0, bytes_of(encoded.data, encoded.size - 4)));
    }
    assert_true(taken > 20 && refused > 20);
    for (size_t size = 1; size < encoded.size; size += 1 + size / 100) {
        assert_int_equal(map_decode(bytes_of(encoded.data, size), &decoded), -EBADMSG);
    }
    assert_int_equal(map_decode(bytes_of(NULL, 0), &decoded), -EBADMSG);
    encoded.data[0] = MAP_VERSION + MAP_VERSION_RAMPS + MAP_VERSION_LOST + 1;
    assert_int_equal(map_decode(buffer_bytes(&encoded), &decoded), -EPROTONOSUPPORT);
}

static void test_bad_commands(void **state)
{
    struct map_command command = add_command("a", "x", 800), read;

    (void)state;
    encoded.size = 0;
    assert_int_equal(map_command_encode(&command, &encoded), 0);
    for (size_t size = 0; size < encoded.size; size++) {
        assert_int_equal(map_command_decode(bytes_of(encoded.data, size), &read), -EBADMSG);
    }
    assert_int_equal(map_command_decode(buffer_bytes(&encoded), &read), 0);
    assert_int_equal(buffer_append(&encoded, bytes_of("", 1)), 0);
    assert_int_equal(map_command_decode(buffer_bytes(&encoded), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\1\77", 2), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\5\1", 2), &read), -EPROTONOSUPPORT);
    assert_int_equal(map_command_decode(bytes_of("\0\1", 2), &read), -EPROTONOSUPPORT);
    assert_int_equal(map_command_decode(bytes_of("\1\5\1", 3), &read), 0);
    assert_int_equal(map_command_decode(bytes_of("\2\5\1", 3), &read), -EBADMSG);
    /* RESTORED, as it is; of another version; with owners; of no epoch; without runs. */
    assert_int_equal(map_command_decode(bytes_of("\4\16\1\7\0\2\0", 7), &read), 0);
    assert_int_equal(map_command_decode(bytes_of("\1\16\1\7\0\2\0", 7), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\4\16\1\7\0\2\1\1", 8), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\4\16\1\0\0\2\0", 7), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\4\16\1\7", 4), &read), -EBADMSG);
    assert_int_equal(map_command_decode(bytes_of("\4\15\1", 3), &read), 0);
    assert_int_equal(map_command_decode(bytes_of("\1\15\1", 3), &read), -EBADMSG);
}

/* ---- Random commands. ---- */

static struct map_command random_state(uint64_t *seed, uint32_t number)
{
    struct map_command command = {.type = MAP_STATE, .number = number};

    command.state = (enum map_state)(1 + random_below(seed, MAP_LEFT));
    command.cooldown_ms = command.state == MAP_DOWN ? random_below(seed, 3) : 0;
    return command;
}

static struct map_command random_command(uint64_t *seed)
{
    static const char *const zones[] = {"x", "y", "z"};
    uint32_t number = 1 + random_below(seed, 12);
    char name[16];

    switch (random_below(seed, 12)) {
    case 0:
        snprintf(name, sizeof name, "n%u", random_below(seed, 14));
        return add_command(name, zones[random_below(seed, 3)], 100 * random_below(seed, 20));
    case 1:
        return (struct map_command){
            .type = MAP_WEIGHT, .number = number, .weight = random_below(seed, 2000)};
    case 2:
        return (struct map_command){.type = MAP_REMOVE, .number = number};
    case 3:
        return policy_command(random_below(seed, 2) ? MAP_POLICY_SET : MAP_POLICY_REMOVE,
                              zones[random_below(seed, 3)], random_below(seed, 3));
    case 4:
        return (struct map_command){.type = MAP_REPLICAS, .replicas = 1 + random_below(seed, 4)};
    case 5: {
        uint32_t slot = random_below(seed, SLOT_COUNT);
        return settle_command(slot, 1, map_targets(&map, slot));
    }
    case 6:
        return (struct map_command){.type = MAP_RAMP,
                                    .number = number,
                                    .goal = random_below(seed, 2000),
                                    .ramp_ms = 1 + random_below(seed, 9)};
    case 7: {
        const struct map_member *member = map_member(&map, number);
        return (struct map_command){.type = MAP_RAMP_STEP,
                                    .number = number,
                                    .goal = member == NULL ? 0 : member->goal,
                                    .weight = random_below(seed, 2000),
                                    .ramp_ms = random_below(seed, 9)};
    }
    case 8:
        return (struct map_command){.type = MAP_CONDITION,
                                    .number = number,
                                    .condition = (uint8_t)(2 * random_below(seed, 4))};
    case 9:
        return (struct map_command){.type = MAP_LOSE, .number = number};
    default:
        return random_state(seed, number);
    }
}

/* Owners are members, are no two the same, and there is one wherever somebody may hold slots. */
static void check_map(void)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot += 7) {
        struct slot_owners targets = map_targets(&map, slot);
        const uint32_t *nodes = map.owners[slot].nodes;
        assert_true(nodes[0] != 0 || targets.nodes[0] == 0);
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && nodes[i] != 0; i++) {
            const struct map_member *member = map_member(&map, nodes[i]);
            assert_non_null(member);
            assert_true(member->state != MAP_LEFT && member->state != MAP_JOINING);
            assert_true(member->state != MAP_DOWN || nodes[1] == 0);
            for (uint32_t j = 0; j < i; j++) {
                assert_int_not_equal(nodes[i], nodes[j]);
            }
        }
    }
}

/* Copies that apply the same commands are the same, also when one of them was read from bytes on the way. */
static void test_random_commands(void **state)
{
    uint64_t seed = 4;
    uint32_t taken = 0;

    (void)state;
    other = map;
    for (int i = 0; i < 600; i++) {
        struct map_command command = random_command(&seed);
        int rc = map_apply(&map, &work, &command);
        memset(&work, i, sizeof work);
        assert_int_equal(map_apply(&other, &work, &command), rc);
        taken += rc == 0;
        check_map();
        if (i % 10 == 0) {
            settle_all();
            other = map;
            check_round_trip();
            other = decoded;
        }
        again.size = encoded.size = 0;
        assert_int_equal(map_encode(&map, &encoded), 0);
        assert_int_equal(map_encode(&other, &again), 0);
        assert_true(bytes_equal(buffer_bytes(&encoded), buffer_bytes(&again)));
    }
    assert_true(taken > 100);
}

static void test_sizes(void **state)
{
    static const uint32_t sizes[] = {3, 16, 256};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        map_init(&map, 7, 3);
        for (uint32_t number = 1; number <= sizes[i]; number++) {
            char name[16], zone[16];
            snprintf(name, sizeof name, "node-%u", number);
            snprintf(zone, sizeof zone, "zone-%u", number % 3);
            assert_int_equal(add(name, zone), 0);
            map.members[number - 1].state = MAP_ACTIVE; /* Placed at once, by the replicas below. */
        }
        assert_int_equal(set_replicas(2), 0);
        settle_all();
        check_round_trip();
        size_t settled = encoded.size;
        assert_int_equal(set_replicas(3), 0);
        check_round_trip();
        size_t moving = encoded.size;
        settle_all();
        check_round_trip();
        printf("%u nodes: %zu bytes with 2 replicas, %zu while the third comes, %zu with 3\n",
               sizes[i], settled, moving, encoded.size);
        assert_true(moving < 160 * 1024);
    }
}

static void test_no_memory(void **state)
{
    struct map_command command = add_command("a", "x", 800);

    (void)state;
    make_three();
    buffer_fini(&encoded);
    memory.fail_at = memory.requests + 1;
    assert_int_equal(map_encode(&map, &encoded), -ENOMEM);
    assert_int_equal(map_command_encode(&command, &encoded), -ENOMEM);
    assert_int_equal(encoded.size, 0);
}

/* Clients are told who serves, where, and the owners in their order; not who has left or cannot be found. */
static void test_for_clients(void **state)
{
    static struct client_map told, read_back;

    (void)state;
    make_three();
    assert_int_equal(set_state(3, MAP_DOWN), 0);
    map_for_clients(&map, &told);
    assert_true(told.epoch == map.epoch && told.member_count == 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(told.members[i].number, i + 1);
        assert_string_equal(told.members[i].host, "192.0.2.1");
        assert_int_equal(told.members[i].port, 7400);
        assert_int_equal(told.members[i].shards, 4);
        assert_int_equal(told.members[i].serves, i < 2);
    }
    assert_string_equal(told.members[1].name, "b");
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t count = 0;
        for (; count < 5 && map.owners[slot].nodes[count] != 0; count++) {
            assert_int_equal(told.owners[slot].members[count] + 1u, map.owners[slot].nodes[count]);
        }
        assert_int_equal(told.owners[slot].count, count);
    }
    encoded.size = 0; /* Commands were in it. */
    assert_int_equal(client_map_encode(&told, &encoded), 0);
    assert_int_equal(client_map_decode(buffer_bytes(&encoded), &read_back), 0);
    assert_memory_equal(&read_back.owners, &told.owners, sizeof told.owners);

    map.members[0].place.host.size = 0; /* Its place is not known. */
    map_for_clients(&map, &told);
    assert_int_equal(told.member_count, 2);
    assert_int_equal(told.members[0].number, 2);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < told.owners[slot].count; i++) {
            assert_int_equal(told.owners[slot].members[i], 0);
        }
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_join),
        CASE(test_down_and_back),
        CASE(test_last_owner),
        CASE(test_lost),
        CASE(test_lost_again),
        CASE(test_drain),
        CASE(test_drained_while_down),
        CASE(test_weight_and_replicas),
        CASE(test_ramp),
        CASE(test_stale_settle),
        CASE(test_policies),
        CASE(test_members_refused),
        CASE(test_golden_bytes),
        CASE(test_golden_commands),
        CASE(test_golden_settle),
        CASE(test_settle_in_part),
        CASE(test_many_runs),
        CASE(test_conditions),
        CASE(test_other_encodings),
        CASE(test_owners_stand_in),
        CASE(test_bad_bytes),
        CASE(test_bad_commands),
        CASE(test_random_commands),
        CASE(test_sizes),
        CASE(test_no_memory),
        CASE(test_for_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
