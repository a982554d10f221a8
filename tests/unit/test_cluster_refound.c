/* A cluster founded anew by one that is left, whatever its log says that nobody has confirmed. */
#include "cluster_kit.h"

#include "cluster_log.h"

enum {
    TEXT_BYTES = 256,
    EPOCHS_UNKNOWN = 1000 /* Of the lost ones, after what is left here. */
};

static bool archives; /* The one that is left does. */

static int setup(void **state)
{
    (void)state;
    archives = false;
    kit_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_fini();
    return 0;
}

/* Append an entry to what the node has stored. */
static void store_entry(struct raft_disk *disk, uint64_t number, const struct map_command *command)
{
    const struct cluster_proposer by = {.node = 1, .start = 99, .number = number};
    struct buffer entry = {.memory = &kit.memory.memory};
    struct raft_entry *made = malloc(sizeof *made);

    assert_non_null(made);
    assert_int_equal(cluster_entry_put(&entry, &by, command), 0);
    *made = (struct raft_entry){
        .index = disk_last(disk) + 1,
        .term = disk->saved.term,
        .kind = RAFT_COMMAND,
        .data = disk_copy(buffer_bytes(&entry)),
    };
    buffer_fini(&entry);
    struct disk_call call = {.kind = DISK_APPEND, .entries = made, .count = 1};
    disk_do_append(disk, &call); /* It frees the list. */
    disk->saved.entries = disk->entries;
}

/* Found it anew at a node that is down; what is to be kept is on its disk then. */
static int refound(uint32_t number, const char *lost, char message[TEXT_BYTES])
{
    struct raft_disk *disk = &kit_node(number)->disk;
    struct cluster_options options = kit_options(number, bytes_of(NULL, 0));
    struct buffer bytes = {.memory = &kit.memory.memory};
    struct raft_saved saved;

    message[0] = '\0';
    options.archives = archives;
    int rc = cluster_refound(&options, lost, &bytes, &saved, message, TEXT_BYTES);
    if (rc == 0) {
        disk_cut(disk, 0);
        disk_free(&disk->saved.snapshot);
        disk->saved = saved;
        disk->saved.snapshot = disk_copy(saved.snapshot);
    }
    buffer_fini(&bytes);
    return rc;
}

/* Of three nodes that vote two are lost. */
static void lose_two(void)
{
    kit_form(3);
    KIT_UNTIL(kit_all_know(3) && kit_agree());
    for (uint32_t i = 1; i <= 3; i++) {
        kit_kill(i);
    }
}

/* The log of the last one goes on with these; `known`: they are committed. */
static void goes_on_with(const struct map_command commands[], uint32_t count, bool known)
{
    struct raft_disk *disk = &kit_node(3)->disk;

    for (uint32_t i = 0; i < count; i++) {
        store_entry(disk, i + 1, &commands[i]);
    }
    if (known) {
        disk->saved.commit = disk_last(disk);
    }
}

static const struct map_command down = {.type = MAP_STATE, .number = 3, .state = MAP_DOWN};
static const struct map_command draining = {.type = MAP_STATE, .number = 3, .state = MAP_DRAINING};
static const struct map_command left = {.type = MAP_STATE, .number = 3, .state = MAP_LEFT};
static const struct map_command gone = {.type = MAP_REMOVE, .number = 3};
static const struct map_command lost = {.type = MAP_LOSE, .number = 3};

static void check_founded(void)
{
    char message[TEXT_BYTES];

    if (refound(3, "n1,n2", message) != 0) {
        fail_msg("%s", message);
    }
    kit_restart(3);
    KIT_UNTIL(kit_leader() == 3);
    assert_int_equal(cluster_map(kit_cluster(3))->member_count, 1);
    assert_true(kit_is(3, 3, MAP_ACTIVE));
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(cluster_map(kit_cluster(3))->owners[slot].nodes[0], 3);
    }
    assert_int_equal(kit_set_policy(3, "web:", 5), 0);
}

/* The lost ones were about to take it out: nobody is left who says so, and it is in the map. */
static void test_removal_unknown(void **state)
{
    const struct map_command commands[] = {down, gone};

    (void)state;
    lose_two();
    goes_on_with(commands, 2, false);
    check_founded();
}

/* The same where they would have had its slots from the archive. */
static void test_loss_unknown(void **state)
{
    const struct map_command commands[] = {down, lost};

    (void)state;
    lose_two();
    goes_on_with(commands, 2, false);
    check_founded();
}

static void test_leaving_unknown(void **state)
{
    const struct map_command commands[] = {draining, down, left, gone};

    (void)state;
    lose_two();
    goes_on_with(commands, 4, false);
    check_founded();
}

/* Not removed yet: it was giving up its slots. */
static void test_draining(void **state)
{
    (void)state;
    lose_two();
    goes_on_with(&draining, 1, true);
    check_founded();
}

/* What it knows for sure holds, that it was drained or removed: the others have its sessions. */
static void test_removed(void **state)
{
    const struct map_command commands[] = {draining, down, left, gone};

    (void)state;
    for (uint32_t count = 3; count <= 4; count++) {
        char message[TEXT_BYTES];
        lose_two();
        goes_on_with(commands, count, true);
        assert_int_equal(refound(3, "n1,n2", message), count == 3 ? -EPERM : -ENOENT);
        assert_true(strlen(message) > 0);
        kit_fini();
        kit_init();
    }
}

/* What the lost ones alone had is lost in an epoch that they cannot have come to: what a node knows as restored of a loss that
 * they decided is not taken for this one. */
static void test_lost_slots(void **state)
{
    uint32_t count = 0;

    (void)state;
    kit_form(3);
    KIT_UNTIL(kit_all_know(3) && kit_agree());
    const uint64_t before = cluster_map(kit_cluster(3))->epoch;
    for (uint32_t i = 1; i <= 3; i++) {
        kit_kill(i);
    }
    archives = true;
    check_founded();
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const uint64_t epoch = cluster_map(kit_cluster(3))->lost[slot];
        assert_true(epoch == 0 || epoch > before + EPOCHS_UNKNOWN);
        count += epoch != 0;
    }
    assert_true(count > 0);
}

/* Told to two nodes, which then decide differently: once they meet they are one cluster, that of the greater number. */
static void test_twice(void **state)
{
    char message[TEXT_BYTES];

    (void)state;
    kit_form(5);
    KIT_UNTIL(kit_all_know(5) && kit_agree());
    for (uint32_t i = 1; i <= 5; i++) {
        kit_kill(i);
    }
    for (uint32_t i = 4; i <= 5; i++) {
        assert_int_equal(refound(i, "n1,n2,n3", message), 0);
    }
    kit.cut[4][5] = kit.cut[5][4] = true;
    kit_restart(4);
    kit_restart(5);
    for (uint32_t i = 0; i < 200; i++) { /* However much it does alone. */
        assert_int_equal(kit_set_policy(4, "of4:", 1 + i), 0);
    }
    assert_int_equal(kit_set_policy(5, "of5:", 5), 0);
    memset(kit.cut, 0, sizeof kit.cut);
    kit_links(4, true);
    kit_links(5, true);
    KIT_UNTIL(kit_agree() && kit_is(4, 4, MAP_ACTIVE) && kit_is(4, 5, MAP_ACTIVE) &&
              kit_all_know(1));
    kit_check_equal();
    assert_int_equal(kit_leader(), 5);
    const struct map *map = cluster_map(kit_cluster(4));
    assert_int_equal(map->policy_count, 1);
    assert_memory_equal(map->policies[0].prefix, "of5:", 4);
    assert_int_equal(kit_set_policy(4, "both:", 5), 0);
    KIT_UNTIL(kit_agree());
}

static void test_refused(void **state)
{
    char message[TEXT_BYTES];

    (void)state;
    lose_two();
    assert_int_equal(refound(3, "n1", message), -EPERM);
    assert_int_equal(refound(3, "", message), -EPERM);
    assert_int_equal(refound(3, "n1,n2,n3", message), -EINVAL);
    assert_int_equal(refound(3, "n1,n7", message), -EINVAL);
    assert_int_equal(refound(3, "n1,n2", message), 0);
    assert_int_equal(refound(3, "n1,n2", message), -EINVAL);
    assert_non_null(strstr(message, "n1 is no member"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_removal_unknown), CASE(test_loss_unknown), CASE(test_leaving_unknown),
        CASE(test_draining),        CASE(test_removed),      CASE(test_lost_slots),
        CASE(test_twice),           CASE(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
