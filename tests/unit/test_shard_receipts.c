/* Renames between slots that are late, repeated and crossed by others: a session is neither lost nor doubled. */
#include "move_world.h"

/* One rename more to that key, as any other client's, and its session is gone again. */
static void pass_through(const char *key, uint64_t id, bool forgets)
{
    char from[16];

    snprintf(from, sizeof from, "from%u", (unsigned)id);
    assert_int_equal(world_put(from, "passing"), STATUS_OK);
    move(id, from, key);
    if (forgets) {
        assert_int_equal(forget(id, key), RENAME_DONE);
    }
    assert_int_equal(world_destroy(key), STATUS_OK);
}

static uint32_t receipts_of(const char *key)
{
    struct record record;
    struct dedup dedup;

    assert_int_equal(record_open_dedup(&record, here(key), RECORD_FORMAT, &dedup), 0);
    return dedup_receipts(&dedup);
}

static uint8_t kept[sizeof intent];
static size_t kept_size;

static void keep_intent(void)
{
    kept_size = intent_size;
    memcpy(kept, intent, kept_size);
}

static void take_intent(void)
{
    intent_size = kept_size;
    memcpy(intent, kept, kept_size);
}

/* However many others were delivered, begun and ended there meanwhile, a letter that was not is. */
static void test_late_at_a_hot_key(void **state)
{
    (void)state;
    for (int only_new = 0; only_new < 2; only_new++) {
        begin_moves();
        assert_int_equal(commit(1, "old", "new", only_new != 0), RENAME_DONE);
        keep_intent();
        for (uint32_t i = 0; i < 3 * DEDUP_ITEMS_MAX; i++) {
            pass_through("new", 100 + i, true);
            write_often("new", "written", 1 + 1000 * (uint64_t)i);
            assert_int_equal(world_destroy("new"), STATUS_OK);
        }
        world_pass(DEDUP_KEEP_MS + 1000);
        take_intent();
        assert_int_equal(deliver("new"), RENAME_DONE);
        expect("new", "treasure");
        assert_int_equal(arrive(1, "old"), RENAME_DONE);
        expect("old", NULL);
        copies_end();
    }
}

/* And one that was is not delivered once more. */
static void test_repeated_at_a_hot_key(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(deliver("new"), RENAME_DONE);
    keep_intent();
    assert_int_equal(world_destroy("new"), STATUS_OK);
    for (uint32_t i = 0; i < 3 * DEDUP_ITEMS_MAX; i++) {
        pass_through("new", 100 + i, true);
        write_often("new", "written", 1 + 1000 * (uint64_t)i);
        assert_int_equal(world_destroy("new"), STATUS_OK);
    }
    world_pass(DEDUP_KEEP_MS + 1000);
    take_intent();
    assert_int_equal(deliver("new"), RENAME_DONE);
    expect("new", NULL);
    copies_end();
}

/* Receipts are no more than so many: the oldest leave in time, and until then nothing else is delivered. */
static void test_room_for_receipts(void **state)
{
    (void)state;
    begin_moves();
    for (uint32_t i = 0; i < DEDUP_RECEIPTS_FULL; i++) {
        pass_through("new", 100 + i, false);
        assert_int_equal(receipts_are_many, i >= DEDUP_RECEIPTS_KEPT);
    }
    assert_int_equal(receipts_of("new"), DEDUP_RECEIPTS_FULL);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(deliver("new"), RENAME_WAIT);
    expect("new", NULL);
    assert_int_equal(forget(100, "new"), RENAME_DONE);
    assert_int_equal(forget(100, "new"), RENAME_DONE);
    assert_int_equal(receipts_of("new"), DEDUP_RECEIPTS_FULL - 1);
    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_int_equal(arrive(1, "old"), RENAME_DONE);

    world_pass(DEDUP_KEEP_MS + 1000);
    assert_int_equal(receipts_of("new"), DEDUP_RECEIPTS_FULL);
    assert_int_equal(world_destroy("new"), STATUS_OK);
    pass_through("new", 200, false);
    assert_int_equal(receipts_of("new"), DEDUP_RECEIPTS_FULL);
    copies_end();
}

/* ---- Who begins something under the old key meanwhile ---- */

static void test_way_back_is_kept(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    struct request create = world_put_of("old", "another");
    create.mode = WRITE_CREATE;
    assert_int_equal(world_run(create), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    assert_int_equal(world_put("old", "another"), STATUS_BUSY);
    assert_int_equal(world_map_until("old", "another", 1000), STATUS_BUSY);
    expect("old", NULL);
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    assert_int_equal(bring_back(1, "old"), RENAME_DONE);
    expect("old", "treasure");
    expect("new", "quicker");
    assert_int_equal(world_run(create), STATUS_EXISTS);

    assert_int_equal(commit(2, "old", "else", true), RENAME_DONE);
    assert_int_equal(deliver("else"), RENAME_DONE);
    assert_int_equal(world_put("old", "another"), STATUS_BUSY);
    assert_int_equal(arrive(2, "old"), RENAME_DONE);
    assert_int_equal(world_put("old", "another"), STATUS_OK);
    expect("else", "treasure");
    copies_end();
}

/* A rename to the old key takes the place of what is under it, also of what may come back. */
static void test_way_back_is_taken(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(world_put("other", "another"), STATUS_OK);
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    keep_intent();
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    move(2, "other", "old");
    take_intent();
    assert_int_equal(bring_back(1, "old"), RENAME_DONE);
    expect("old", "another");
    look_around();
    world_pass(MOVE_SETTLE_MS + 10);
    look_around();
    assert_int_equal(letters, 0);
    copies_end();
}

/* On another side of a partition a session began under the old key: neither is lost. */
static void test_begun_elsewhere(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    copies.kit.now_ms += 50;
    other_put("old", "another");
    assert_int_equal(copy_full(), STATUS_OK);
    expect("old", "another");
    assert_int_equal(bring_back(1, "old"), RENAME_WAIT);
    world_pass(MOVE_SETTLE_MS + 10);
    look_around();
    assert_int_equal(letters, 1);
    assert_int_equal(world_destroy("old"), STATUS_OK);
    assert_int_equal(bring_back(1, "old"), RENAME_DONE);
    expect("old", "treasure");
    copies_end();
}

/* What another side deleted that did not know of the rename does not come back. */
static void test_deleted_on_its_way(void **state)
{
    (void)state;
    begin_moves();
    other_has("old");
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(bring_back(1, "old"), RENAME_DONE);
    expect("old", NULL);
    assert_int_equal(ask(&move_take, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    copies_end();
}

/* ---- Is it gone? ---- */

/* What is left of a letter goes to all once more; while it is there, or where nothing is known of it, nobody is told so. */
static void test_letter_is_gone(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(ask(&move_gone, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(ask(&move_gone, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_int_equal(arrive(1, "old"), RENAME_DONE);
    assert_int_equal(copies.awaited, 0);
    size_t logged = world.record_count;
    assert_int_equal(ask(&move_gone, letter(1, "old"), bytes_of(intent, 0)), RENAME_DONE);
    assert_true(world.answer.held);
    assert_int_equal(rest().data[0], 0);
    assert_int_equal(copies.awaited, copies.number);
    assert_int_equal(last_sent()->kind, LOG_FULL);
    struct bytes left = keeper_find(world.shard->keeper, last_sent()->position, letter(1, "old"));
    assert_bytes_equal(bytes_of(last_sent()->body, last_sent()->size), left);
    assert_int_equal(world.record_count, logged);
    shard_copied(world.shard, copies.number, world.now_us);
    assert_int_equal(world.answer.reply.ack, ACK_REPLICA);

    copies.nobody = copies.alone = true;
    assert_int_equal(ask(&move_gone, letter(1, "old"), bytes_of(intent, 0)), RENAME_DONE);
    assert_int_equal(rest().data[0], 1);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    assert_int_equal(ask(&move_gone, text("old"), bytes_of(intent, 0)), 0);
    copies_end();
}

/* ---- After a start ---- */

/* Nothing is said of a letter that the store has not given yet. */
static void test_letter_is_loaded_later(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    keep_intent();
    store_compact();
    uint64_t hlc = shard_hlc(world.shard);
    shard_destroy(world.shard);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    store.loading = true;
    shard_loading_begin(world.shard, &store.port, hlc, world.now_ms);

    uint8_t body[64], *at = put_id(body, 1, "old");
    *at++ = 1;
    memcpy(at, "new", 3);
    const struct request again = {.op = REQUEST_WRITE,
                                  .mode = WRITE_UPDATE,
                                  .key = text("old"),
                                  .body = bytes_of(body, (size_t)(at - body) + 3),
                                  .procedure = &move_commit};
    assert_int_equal(store_run(again), STATUS_BUSY);
    assert_int_equal(arrive(1, "old"), 0);
    assert_int_equal(bring_back(1, "old"), 0);
    while (store.wanted_count > 0) {
        store_answer();
    }
    assert_int_equal(store_run(again), STATUS_OK);
    assert_bytes_equal(rest(), bytes_of(kept, kept_size));

    store.loading = false;
    shard_loading_end(world.shard, world.now_ms, world.now_us);
    copies_end();
}

/* ---- What the shard comes by ---- */

enum { PILE = 500, VISITS_MAX = 32 };

static uint32_t visits, visits_max;

static bool visit_some(void *context, struct bytes key, struct bytes target)
{
    (void)context;
    (void)key;
    assert_bytes_equal(target, text("new"));
    if (visits == visits_max) {
        return false;
    }
    visits++;
    return true;
}

/* So many letters at a time, however many there are; each has its turn. */
static void test_pile_of_letters(void **state)
{
    uint32_t seen = 0, calls = 0;
    bool over = false;

    (void)state;
    begin_moves();
    for (uint32_t i = 0; i < PILE; i++) {
        char from[16];
        snprintf(from, sizeof from, "from%u", i);
        assert_int_equal(world_put(from, "v"), STATUS_OK);
        assert_int_equal(commit(1 + i, from, "new", false), RENAME_DONE);
    }
    world_pass(MOVE_SETTLE_MS + 10);
    for (int round = 0; round < 2; round++) {
        visits_max = UINT32_MAX;
        for (seen = calls = 0, over = false; !over; calls++) {
            visits = 0;
            over = shard_visit_moved(world.shard, VISITS_MAX, visit_some, NULL);
            assert_in_range(visits, 0, VISITS_MAX);
            seen += visits;
        }
        assert_int_equal(seen, PILE);
        assert_in_range(calls, PILE / VISITS_MAX, PILE / VISITS_MAX + 1);
    }
    visits_max = 3; /* What was not taken is not passed over. */
    for (seen = 0, over = false; !over; seen += visits) {
        visits = 0;
        over = shard_visit_moved(world.shard, VISITS_MAX, visit_some, NULL);
    }
    assert_int_equal(seen, PILE);
    copies_end();
}

/* ---- FLUSHALL ---- */

static int drop(uint64_t id, const char *from, const char *what)
{
    return ask(&move_drop, letter(id, from), text(what));
}

static void test_dropped(void **state)
{
    struct request scan = {.op = REQUEST_SCAN, .count = 100, .flags = SCAN_LETTERS};

    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    assert_int_equal(world_run(scan), STATUS_OK);
    struct reader keys = reader_of(world.answer.reply.keys);
    assert_bytes_equal(read_string(&keys), letter(1, "old"));
    assert_int_equal(reader_left(&keys), 0);
    static const uint8_t none[] = {0, 'x'}, reserved[] = {'o', 'o'}, good[] = {'x', 'o', 'l'};
    assert_int_equal(ask(&move_drop, letter(1, "old"), bytes_of(none, 2)), RENAME_NONE);
    assert_int_equal(ask(&move_drop, letter(1, "old"), bytes_of(reserved, 2)), RENAME_NONE);
    assert_int_equal(world_put("old", "another"), STATUS_BUSY);
    assert_int_equal(ask(&move_drop, letter(1, "old"), bytes_of(good, 3)), RENAME_DONE);
    assert_int_equal(drop(1, "old", "x"), RENAME_NONE);
    assert_int_equal(ask(&move_take, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    assert_int_equal(world_put("old", "another"), STATUS_OK);
    world_pass(MOVE_SETTLE_MS + 10);
    look_around();
    assert_int_equal(letters + unsettled, 0);
    assert_int_equal(world_run(scan), STATUS_OK);
    assert_bytes_equal(world.answer.reply.keys, text("\3old"));
    copies_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_at_a_hot_key),
        cmocka_unit_test(test_repeated_at_a_hot_key),
        cmocka_unit_test(test_room_for_receipts),
        cmocka_unit_test(test_way_back_is_kept),
        cmocka_unit_test(test_way_back_is_taken),
        cmocka_unit_test(test_begun_elsewhere),
        cmocka_unit_test(test_deleted_on_its_way),
        cmocka_unit_test(test_letter_is_gone),
        cmocka_unit_test(test_letter_is_loaded_later),
        cmocka_unit_test(test_pile_of_letters),
        cmocka_unit_test(test_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
