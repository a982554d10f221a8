/* The steps of a rename between two slots of a cluster, each on its own, repeated, and cut short. */
#include "move_world.h"

static void test_letters(void **state)
{
    static const char *const near[] = {"\1m{ab", "\1m{abc01234567", "\1r{ab}01234567",
                                       "\1m{ab}0123456"};

    (void)state;
    rename_tags(tags);
    for (uint32_t i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        struct bytes is = letter(i, key);
        assert_int_equal(slot_of_key(is), slot_of_key(text(key)));
        assert_true(move_is_letter(is));
        assert_int_equal(move_tag(is), tags[slot_of_key(text(key))]);
    }
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        assert_false(move_is_letter(text(near[i])));
    }
}

static void test_steps(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(world_put("new", "what was there"), STATUS_OK);
    uint32_t sent = copies.sent_count;
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_true(world.answer.held); /* Until another node has it... */
    assert_int_equal(copies.sent_count, sent + 1);
    assert_int_equal(last_sent()->kind, LOG_BATCH); /* ... both of it. */
    assert_int_equal(last_logged()->kind, LOG_BATCH);
    expect("old", NULL);
    expect("new", "what was there");
    assert_int_equal(stats()->destroyed, 0);
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 0);

    struct request scan = {.op = REQUEST_SCAN, .count = 100};
    assert_int_equal(world_run(scan), STATUS_OK);
    assert_bytes_equal(world.answer.reply.keys, text("\3new"));
    struct request put = world_put_of("old", "x");
    put.key = letter(1, "old");
    assert_int_equal(world_run(put), STATUS_INVALID);

    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_true(world.answer.held);
    expect("new", "treasure");
    assert_int_equal(arrive(1, "old"), RENAME_DONE);
    expect("old", NULL);
    expect("new", "treasure");
    assert_int_equal(stats()->live, 1);
    struct aliases aliases;
    assert_int_equal(alias_find(here("old"), &aliases), 0);
    assert_int_equal(aliases.count, 1);
    uint8_t knows[16];
    alias_store_stamp(knows, aliases.newest.birth);
    assert_memory_equal(knows, birth, sizeof knows);

    assert_int_equal(ask(&move_commit, text("none"), bytes_of(intent, 0)), 0);
    assert_int_equal(commit(2, "none", "new", false), RENAME_NONE);
    shard_begin_seen(world.shard);
    world_pass(world.policy.rules.tombstone_keep_ms + 100000);
    assert_int_equal(here("old").size, 0); /* As a tombstone goes. */
    copies_end();
}

static void test_steps_that_are_repeated(void **state)
{
    uint8_t first[sizeof intent], born[sizeof birth];

    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    size_t size = intent_size;
    memcpy(first, intent, size);
    world_pass(10);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_bytes_equal(bytes_of(intent, intent_size), bytes_of(first, size));
    assert_int_equal(ask(&move_take, letter(1, "old"), bytes_of(intent, 0)), RENAME_DONE);
    assert_bytes_equal(rest(), bytes_of(first, size));
    assert_int_equal(commit(2, "old", "else", false), RENAME_NONE);

    intent_size = size;
    memcpy(intent, first, size);
    assert_int_equal(deliver("new"), RENAME_DONE);
    memcpy(born, birth, sizeof born);
    assert_int_equal(world_put("new", "written since"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_memory_equal(born, birth, sizeof born);
    expect("new", "written since");
    assert_int_equal(world_destroy("new"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_DONE);
    expect("new", NULL); /* What was ended does not come back. */

    for (int i = 0; i < 2; i++) {
        assert_int_equal(arrive(1, "old"), RENAME_DONE);
        assert_int_equal(ask(&move_take, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    }
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(intent_size, 0); /* It has arrived. */
    copies_end();
}

static void test_only_new(void **state)
{
    const uint8_t yes = 1, no = 0;

    (void)state;
    begin_moves();
    assert_int_equal(ask(&move_probe, text("new"), bytes_of(&yes, 1)), RENAME_DONE);
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(ask(&move_probe, text("new"), bytes_of(&yes, 1)), RENAME_EXISTS);
    assert_int_equal(ask(&move_probe, text("new"), bytes_of(&no, 1)), RENAME_DONE);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    uint8_t body[sizeof intent + 2];
    memcpy(body + 2, intent, intent_size);
    body[0] = (uint8_t)(tags[slot_of_key(text("old"))] >> 8);
    body[1] = (uint8_t)tags[slot_of_key(text("old"))];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&move_back, text("old"), bytes_of(body, intent_size + 2)),
                         RENAME_DONE);
        expect("new", "quicker");
        expect("old", i == 0 ? "treasure" : "written since");
        assert_int_equal(world_put("old", "written since"), STATUS_OK);
    }
    assert_int_equal(ask(&move_take, letter(1, "old"), bytes_of(intent, 0)), RENAME_NONE);
    copies_end();
}

/* Two are at one rename, as one was thought to be gone: what was refused once stays refused, so that it is not delivered by
 * the one and brought back by the other. */
static void test_refused_once(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", true), RENAME_DONE);
    assert_int_equal(world_put("new", "quicker"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    assert_true(world.answer.held); /* Until another node knows it. */
    expect("new", "quicker");
    assert_int_equal(world_destroy("new"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    assert_int_equal(bring_back(1, "old"), RENAME_DONE);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    expect("old", "treasure");
    expect("new", NULL);
    copies_end();
}

/* What others write at the new key before it is delivered does not make it look as if it had been. */
static void test_target_that_is_written(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(world_put("new", "what was there"), STATUS_OK);
    world_pass(10);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    world_pass(10);
    write_often("new", "written meanwhile", 1);
    assert_int_equal(deliver("new"), RENAME_DONE);
    expect("new", "treasure");
    write_often("new", "written since", 100);
    assert_int_equal(deliver("new"), RENAME_DONE);
    expect("new", "written since");
    assert_int_equal(world_destroy("new"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_DONE);
    expect("new", NULL);
    copies_end();
}

/* A commit that is repeated once all is over does not take what began under the old key since. */
static void test_commit_that_is_late(void **state)
{
    uint8_t body[sizeof intent + 2];

    (void)state;
    begin_moves();
    move(1, "old", "new");
    assert_int_equal(world_put("old", "another"), STATUS_OK);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(intent_size, 0);
    write_often("old", "another", 1);
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(intent_size, 0);
    expect("old", "another");
    expect("new", "treasure");

    assert_int_equal(commit(2, "old", "new", true), RENAME_DONE);
    assert_int_equal(deliver("new"), RENAME_EXISTS);
    memcpy(body, letter(2, "old").data + 3, 2);
    memcpy(body + 2, intent, intent_size);
    assert_int_equal(ask(&move_back, text("old"), bytes_of(body, intent_size + 2)), RENAME_DONE);
    assert_int_equal(commit(2, "old", "new", true), RENAME_EXISTS);
    expect("old", "another");
    copies_end();
}

/* Until a RENAMENX has arrived its old key is taken, for others of the kind: the session may come back. */
static void test_way_back(void **state)
{
    const uint8_t yes = 1, no = 0;
    uint8_t first[sizeof intent];

    (void)state;
    begin_moves();
    assert_int_equal(world_put("other", "another"), STATUS_OK);
    assert_int_equal(commit(1, "other", "old", true), RENAME_DONE);
    size_t first_size = intent_size;
    memcpy(first, intent, first_size);
    assert_int_equal(commit(2, "old", "new", true), RENAME_DONE);
    assert_int_equal(ask(&move_probe, text("old"), bytes_of(&yes, 1)), RENAME_EXISTS);
    assert_int_equal(ask(&move_probe, text("old"), bytes_of(&no, 1)), RENAME_DONE);
    assert_int_equal(ask(&move_deliver, text("old"), bytes_of(first, first_size)), RENAME_EXISTS);
    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_int_equal(arrive(2, "old"), RENAME_DONE);
    assert_int_equal(ask(&move_probe, text("old"), bytes_of(&yes, 1)), RENAME_DONE);
    memcpy(intent, first, first_size);
    intent_size = first_size;
    assert_int_equal(bring_back(1, "other"), RENAME_DONE);
    expect("other", "another");
    expect("old", NULL);
    expect("new", "treasure");

    /* One that takes what is there comes nowhere back. */
    assert_int_equal(commit(3, "new", "far", false), RENAME_DONE);
    assert_int_equal(ask(&move_probe, text("new"), bytes_of(&yes, 1)), RENAME_DONE);
    copies_end();
}

/* Who begins a session under the old key while the other is on its way takes nothing from that. */
static void test_begun_meanwhile(void **state)
{
    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    assert_int_equal(world_put("old", "another"), STATUS_OK);
    assert_int_equal(deliver("new"), RENAME_DONE);
    assert_int_equal(arrive(1, "old"), RENAME_DONE);
    expect("old", "another");
    expect("new", "treasure");
    assert_int_equal(world_destroy("old"), STATUS_OK);
    look_around();
    assert_int_equal(letters + unsettled, 0);
    expect("new", "treasure");
    copies_end();
}

/* A letter is found: by who wrote it, by who got a copy, by who was started anew, by the patrol. */
static void test_found(void **state)
{
    uint8_t record[1024];
    struct bytes key, kept;

    (void)state;
    begin_moves();
    assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
    look_around();
    assert_int_equal(letters, 0); /* Who wrote it is at it. */
    assert_true(shard_has_moved(world.shard));
    world_pass(MOVE_SETTLE_MS + 10);
    for (int i = 0; i < 2; i++) {
        look_around();
        assert_int_equal(letters, 1);
    }
    key = letter(1, "old");
    kept = keeper_find(world.shard->keeper, keeper_position(world.options.seed, key), key);
    assert_true(kept.size > 0 && kept.size <= sizeof record);
    memcpy(record, kept.data, kept.size);
    kept.data = record;
    position_set_fini(&world.shard->moved);
    look_around();
    assert_int_equal(letters, 0);
    world_pass(70000); /* A round of the patrol. */
    look_around();
    assert_int_equal(letters, 1);
    copies_end();

    begin_moves();
    const struct shard_copy copy = {.ticket = ++copies.ticket,
                                    .kind = LOG_FULL,
                                    .position = keeper_position(world.options.seed, key),
                                    .body = kept};
    shard_copy(world.shard, &copy, world.now_ms, world.now_us);
    world_pass(MOVE_SETTLE_MS + 10);
    look_around();
    assert_int_equal(letters, 1);
    shard_destroy(world.shard);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    assert_int_equal(shard_restore_record(world.shard, kept), 0);
    shard_restore_done(world.shard, world.now_ms);
    look_around();
    assert_int_equal(letters, 1);
    copies_end();
}

/* ---- What others did meanwhile ---- */

/* Ask what is to be settled, and do the first job. Returns what the target answered; 0: there is no job. */
static int settle_one(const char *old, uint8_t *job)
{
    uint8_t body[1024], tag[2] = {(uint8_t)(tags[slot_of_key(text(old))] >> 8),
                                  (uint8_t)tags[slot_of_key(text(old))]};
    uint8_t token[256];
    char target[64] = "";
    int answer = 0;

    assert_int_equal(ask(&move_look, text(old), bytes_of(tag, 2)), RENAME_DONE);
    struct reader reader = reader_of(rest());
    struct bytes is = read_string(&reader);
    size_t token_size = is.size;
    memcpy(token, is.data, is.size);
    *job = read_u8(&reader);
    if (!reader.bad) {
        struct bytes stamp = read_bytes(&reader, 16), to = read_string(&reader),
                     changes = read_string(&reader);
        assert_true(!reader.bad && reader_left(&reader) == 0);
        memcpy(target, to.data, to.size);
        memcpy(body, stamp.data, 16);
        memcpy(body + 16, changes.data, changes.size);
        answer = ask(*job == MOVE_END ? &move_end : &move_late, text(target),
                     bytes_of(body, 16 + changes.size));
    }
    assert_int_equal(ask(&move_settle, text(old), bytes_of(token, token_size - 1)), RENAME_NONE);
    if (answer != RENAME_MOVED) {
        assert_int_equal(ask(&move_settle, text(old), bytes_of(token, token_size)), RENAME_DONE);
        look_around();
        assert_int_equal(unsettled, 0);
        assert_int_equal(ask(&move_look, text(old), bytes_of(tag, 2)), RENAME_NONE);
    }
    return answer;
}

static void test_deleted_elsewhere(void **state)
{
    uint8_t job;

    (void)state;
    for (int arrived = 0; arrived < 2; arrived++) {
        begin_moves();
        other_has("old");
        assert_int_equal(commit(1, "old", "new", false), RENAME_DONE);
        assert_int_equal(deliver("new"), RENAME_DONE);
        if (arrived) {
            assert_int_equal(arrive(1, "old"), RENAME_DONE);
        }
        assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(DESTROY)), STATUS_OK);
        assert_int_equal(copy_full(), STATUS_OK);
        look_around();
        assert_int_equal(unsettled, 1);
        if (!arrived) {
            const uint8_t *tag = (const uint8_t *)letter(1, "old").data + 3;
            assert_int_equal(ask(&move_look, text("old"), bytes_of(tag, 2)), RENAME_NONE);
            assert_int_equal(arrive(1, "old"), RENAME_DONE); /* That was waited for. */
        }
        assert_int_equal(settle_one("old", &job), RENAME_DONE);
        assert_int_equal(job, MOVE_END);
        expect("new", NULL);
        expect("old", NULL);
        copies_end();
    }
}

static void test_written_elsewhere(void **state)
{
    uint8_t job;

    (void)state;
    for (int since = 0; since < 3; since++) {
        begin_moves();
        other_has("old");
        copies.kit.now_ms += since == 2 ? 100000 : 5;
        assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("late"))), STATUS_OK);
        world_pass(20);
        move(1, "old", "new");
        if (since > 0) {
            world_pass(10);
            assert_int_equal(world_put("new", "newer"), STATUS_OK);
        }
        assert_int_equal(copy_full(), STATUS_OK);
        expect("old", NULL);
        look_around();
        assert_int_equal(unsettled, 1);
        assert_int_equal(settle_one("old", &job), RENAME_DONE);
        assert_int_equal(job, MOVE_LATE);
        expect("new", since == 1 ? "newer" : "late");
        expect("old", NULL);
        copies_end();
    }
}

/* Two nodes rename a session that did not know of each other: the later one counts. */
static void test_renamed_elsewhere(void **state)
{
    uint8_t job;

    (void)state;
    for (int later = 0; later < 2; later++) {
        struct buffer other = {.memory = NULL};
        begin_moves();
        other.memory = &copies.kit.memory.memory;
        other_has("old");
        struct stamp stamp = {hlc_of_ms(world.now_ms) + (later ? 1000 : 0), copies.kit.actor};
        const struct alias alias = {.id = 9, .birth = {77, {2, 1}}, .key = text("right")};
        world_pass(1);
        move(1, "old", "left");
        stamp.hlc = later ? shard_hlc(world.shard) + 1 : stamp.hlc + 1;
        assert_int_equal(alias_begin(buffer_bytes(&copies.kit.record), stamp, &alias, 0, &other),
                         0);
        assert_int_equal(copy_now(LOG_FULL, "old", buffer_bytes(&other)), STATUS_OK);
        look_around();
        assert_int_equal(unsettled, 1);
        assert_int_equal(settle_one("old", &job), RENAME_DONE);
        assert_int_equal(job, MOVE_END);
        expect("left", later ? NULL : "treasure"); /* The other target is not here. */
        buffer_fini(&other);
        copies_end();
    }
}

/* A target is ended only if it is still what came; and where it went, if it was renamed since. */
static void test_other_targets(void **state)
{
    uint8_t job, onward[64];

    (void)state;
    for (int renamed = 0; renamed < 2; renamed++) {
        begin_moves();
        other_has("old");
        move(1, "old", "new");
        if (renamed) {
            move(2, "new", "newer");
        } else {
            assert_int_equal(world_destroy("new"), STATUS_OK);
            assert_int_equal(world_put("new", "another"), STATUS_OK);
        }
        assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(DESTROY)), STATUS_OK);
        assert_int_equal(copy_full(), STATUS_OK);
        int answer = settle_one("old", &job);
        assert_int_equal(answer, renamed ? RENAME_MOVED : RENAME_DONE);
        expect("new", renamed ? NULL : "another");
        if (renamed) {
            const uint8_t *tag = (const uint8_t *)letter(1, "old").data + 3;
            assert_int_equal(ask(&move_look, text("old"), bytes_of(tag, 2)), RENAME_DONE);
            struct reader reader = reader_of(rest());
            (void)read_string(&reader);
            (void)read_u8(&reader);
            memcpy(onward, read_bytes(&reader, 16).data, 16);
            assert_int_equal(ask(&move_end, text("new"), bytes_of(onward, 16)), RENAME_MOVED);
            assert_bytes_equal(bytes_of(rest().data + 16, rest().size - 16), text("newer"));
            memcpy(onward, rest().data, 16);
            assert_int_equal(ask(&move_end, text("newer"), bytes_of(onward, 16)), RENAME_DONE);
            expect("newer", NULL);
        }
        copies_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_steps_that_are_repeated),
        cmocka_unit_test(test_only_new),
        cmocka_unit_test(test_refused_once),
        cmocka_unit_test(test_target_that_is_written),
        cmocka_unit_test(test_commit_that_is_late),
        cmocka_unit_test(test_way_back),
        cmocka_unit_test(test_begun_meanwhile),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_deleted_elsewhere),
        cmocka_unit_test(test_written_elsewhere),
        cmocka_unit_test(test_renamed_elsewhere),
        cmocka_unit_test(test_other_targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
