/* What time and repetition do: deadlines, deaths, the dedup window. */
#include <errno.h>

#include "session_kit.h"

static void test_deadlines(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    uint64_t start = kit.now_ms;
    kit.rules.absolute_ttl_ms = 1000;
    kit.rules.idle_ttl_ms = 300;
    kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("old")));
    kit_open(&kit, &view);
    assert_int_equal(view.absolute_ms, start + 1000);
    assert_int_equal(view.idle_ms, 300);
    assert_int_equal(view.last_access_ms, start);
    assert_int_equal(view.deadline_ms, start + 300);
    assert_int_equal(view.next_ms, start + 300);

    kit.now_ms = start + 200;
    assert_true(session_touch_in_place(kit.record.data, kit.record.size, kit.now_ms));
    assert_int_equal(session_check(buffer_bytes(&kit.record)), 0);
    kit_open(&kit, &view);
    assert_int_equal(view.deadline_ms, start + 500);
    kit.now_ms = start + 400;
    struct bytes token = kit.written.token;
    uint8_t copy[64];
    memcpy(copy, token.data, token.size);
    token.data = copy;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_OK);
    assert_true(kit.written.changed);
    assert_bytes_equal(kit.written.token, token); /* A touch makes no new version. */
    assert_in_range(kit.written.delta.size, 0, kit.written.record.size);
    kit_open(&kit, &view);
    assert_int_equal(view.deadline_ms, start + 700);

    kit.now_ms = start + 700;
    kit_open(&kit, &view);
    assert_false(view.live);
    assert_true(view.expired);
    assert_false(view.tombstone);
    assert_int_equal(view.deadline_ms, start + 700);
    kit.mode = WRITE_UPDATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_NOT_FOUND);
    kit.mode = WRITE_UPSERT;
    kit.if_version = token;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_VERSION_MISMATCH);
    kit.if_version.size = 0;
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 0));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("b"), .value = text("new")));
    kit_add(&kit, KIT_CHANGE(TTL, .ms = 50));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_true(kit.written.created);
    kit_expect(&kit, "a", NULL);
    kit_expect(&kit, "b", "new");
    kit_open(&kit, &view);
    assert_int_equal(view.idle_ms, 0);
    assert_int_equal(view.deadline_ms, start + 750);
    kit_do(&kit, KIT_CHANGE(ABSOLUTE, .ms = 0));
    kit_open(&kit, &view);
    assert_int_equal(view.deadline_ms, 0);
    kit_fini(&kit);
}

static void test_field_deadlines(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    uint64_t start = kit.now_ms;
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = text("b"), .value = text("x"), .ms = start + 10));
    kit_add(&kit, KIT_CHANGE(UNTIL, .name = text("a"), .ms = start + 20));
    kit_add(&kit, KIT_CHANGE(UNTIL, .name = text("c"), .ms = start + 20));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit_result(&kit, 2), 1);
    assert_int_equal(kit_result(&kit, 3), 0);
    kit_do(&kit, KIT_CHANGE(ADD, .name = text("a"), .delta = 1)); /* Keeps the deadline. */
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, 2);
    assert_int_equal(view.next_ms, start + 10);
    kit.now_ms = start + 10;
    kit_expect(&kit, "b", NULL);
    kit_expect(&kit, "a", "2");
    kit_open(&kit, &view);
    assert_int_equal(view.next_ms, start + 20);
    assert_int_equal(view.field_count, 1);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"), .value = text("y"))), 0);
    assert_int_equal(kit_result(&kit, 0), 1);
    kit.now_ms = start + 20;
    kit_expect(&kit, "a", NULL);
    kit_expect(&kit, "b", "y");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("a"), .delta = 7)), 0);
    kit_expect(&kit, "a", "7");
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("a"), .ms = start + 30));
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("a"), .ms = 0));
    kit.now_ms = start + 30;
    kit_expect(&kit, "a", "7");
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("a"), .ms = 1));
    kit_expect(&kit, "a", NULL);
    kit_fini(&kit);
}

static void expect_faded(struct kit *kit, uint64_t end_ms)
{
    struct session_view view;
    struct session_field field;

    kit_open(kit, &view);
    assert_true(view.faded && view.expired);
    assert_false(view.live || view.tombstone);
    assert_int_equal(view.deadline_ms, end_ms);
    assert_int_equal(view.next_ms, end_ms);
    assert_int_equal(view.type, SESSION_NONE);
    assert_int_equal(view.field_count, 0);
    assert_int_equal(view.siblings_hidden, 0);
    assert_false(session_next(&view, false, &field));
}

static void expect_live(struct kit *kit, uint32_t fields, uint64_t next_ms)
{
    struct session_view view;

    kit_open(kit, &view);
    assert_true(view.live);
    assert_false(view.faded);
    assert_int_equal(view.field_count, fields);
    assert_int_equal(view.next_ms, next_ms);
    assert_int_equal(view.deadline_ms, 0); /* It has none of its own. */
}

/* A map that fades ends with the last of its fields, and only where none stays. */
static void test_fading(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    uint64_t start = kit.now_ms;
    kit.fades = true;
    kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = text("a"), .value = text("1"), .ms = start + 10));
    kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = text("b"), .value = text("2"), .ms = start + 20));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit.now_ms = start + 19;
    expect_live(&kit, 1, start + 20);
    kit.now_ms = start + 20;
    expect_faded(&kit, start + 20);
    kit.mode = WRITE_UPDATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("c"))), STATUS_NOT_FOUND);
    kit.mode = WRITE_UPSERT;

    /* Another begins in its place. A field without a deadline keeps it. */
    kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = text("a"), .value = text("3"), .ms = start + 30));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("c"), .value = text("4")));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_true(kit.written.created);
    kit_expect(&kit, "b", NULL);
    kit.now_ms = start + 40;
    expect_live(&kit, 1, 0);
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("c"), .ms = start + 50));
    expect_live(&kit, 1, start + 50);
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("c"), .ms = 0));
    kit.now_ms = start + 50;
    expect_live(&kit, 1, 0);
    kit_do(&kit, KIT_CHANGE(DELETE, .name = text("c"))); /* What is left ended long ago. */
    expect_faded(&kit, start + 30);

    /* Where all were deleted there was no deadline to pass. */
    kit_do(&kit, KIT_CHANGE(SET, .name = text("d")));
    kit_do(&kit, KIT_CHANGE(DELETE, .name = text("d")));
    expect_live(&kit, 0, 0);
    kit_fini(&kit);
}

/* Others than maps do not fade, nor does a map that was not begun so, whoever writes to it. */
static void test_not_fading(void **state)
{
    (void)state;
    for (int fades = 0; fades < 2; fades++) {
        struct kit kit;
        kit_init(&kit);
        uint64_t start = kit.now_ms;
        kit.type = fades ? SESSION_BLOB : SESSION_MAP;
        kit.fades = fades;
        kit_do(&kit, KIT_CHANGE(SET_UNTIL, .value = text("1"), .ms = start + 10));
        kit.fades = true;
        kit_do(&kit, KIT_CHANGE(SET_UNTIL, .value = text("2"), .ms = start + 10));
        kit.now_ms = start + 10;
        expect_live(&kit, 0, 0);
        kit_fini(&kit);
    }
}

static void test_no_resurrect(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit.rules.no_resurrect = true;
    kit.rules.tombstone_keep_ms = 1000;
    kit_do(&kit, KIT_CHANGE(DESTROY)); /* Of nothing: a tombstone all the same. */
    assert_true(kit.written.changed);
    assert_false(kit.written.destroyed);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_DESTROYED);
    kit.now_ms += 1000;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_DESTROYED);
    kit.mode = WRITE_CREATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_OK);
    kit_do(&kit, KIT_CHANGE(DESTROY));
    kit.mode = WRITE_UPSERT;
    kit.now_ms -= 3600000; /* A clock that goes back changes nothing. */
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_DESTROYED);
    kit.now_ms += 3600000 + 1001;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_OK);
    kit_fini(&kit);
}

static void test_dedup(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit.client = 77;
    kit.sequence = 1;
    kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2));
    struct stamp first = kit.written.stamp;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2)), STATUS_OK);
    assert_true(kit.written.repeated);
    assert_false(kit.written.changed);
    assert_int_equal(stamp_compare(kit.written.stamp, first), 0);
    assert_int_equal(kit_result(&kit, 0), 2);
    kit_expect(&kit, "n", "2");

    uint64_t before = first.hlc;
    kit.now_ms += 1000;
    for (kit.sequence = 2; kit.sequence <= SESSION_DEDUP_MAX + 1; kit.sequence++) {
        kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2));
    }
    kit_expect(&kit, "n", "18");
    kit.sequence = 1;
    kit.retry_hlc = before - 1;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2)),
                     STATUS_MAYBE_APPLIED);
    kit.retry_hlc = before + 7; /* Of another shard: a larger counter, and perhaps a later turn. */
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2)),
                     STATUS_MAYBE_APPLIED);
    kit.retry_hlc = before + hlc_of_ms(5);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2)),
                     STATUS_MAYBE_APPLIED);
    kit.retry_hlc = before + hlc_of_ms(1000);
    kit.sequence = 100;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2)), STATUS_OK);
    kit.retry_hlc = 0;

    /* It survives a death; old items leave. */
    kit.sequence = 101;
    kit_do(&kit, KIT_CHANGE(DESTROY));
    kit_do(&kit, KIT_CHANGE(DESTROY));
    assert_true(kit.written.repeated);
    assert_int_equal(kit_result(&kit, 0), 1);
    size_t size = kit.record.size;
    kit.now_ms += DEDUP_KEEP_MS + 2;
    kit.sequence = 102;
    kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2));
    assert_true(kit.record.size < size);
    kit.sequence = 101;
    kit.retry_hlc = 1;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_MAYBE_APPLIED);

    /* Refused writes are not remembered; large results are, but for what they were. */
    kit.retry_hlc = 0;
    kit.mode = WRITE_CREATE;
    kit.sequence = 103;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_EXISTS);
    kit.mode = WRITE_UPSERT;
    for (int i = 0; i < 100; i++) {
        kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    }
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1)), STATUS_OK);
    assert_true(kit.written.repeated);
    assert_int_equal(kit.written.results.size, 0);
    kit_expect(&kit, "n", "102");
    kit_fini(&kit);
}

static void test_bury(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    struct bytes record = buffer_bytes(&kit.record);
    struct stamp stamp = {session_newest_hlc(record), {3, 1}};
    assert_int_equal(session_bury(record, stamp, false, &kit.merged), -EINVAL);
    stamp.hlc++;
    assert_int_equal(session_bury(record, stamp, false, &kit.merged), 0);
    struct bytes tombstone = buffer_bytes(&kit.merged);
    assert_int_equal(session_check(tombstone), 0);
    assert_int_equal(session_open(&view, tombstone, kit.now_ms), 0);
    assert_true(view.tombstone);
    assert_int_equal(session_newest_hlc(tombstone), stamp.hlc);
    assert_bytes_equal(session_key(tombstone), text("key"));
    assert_int_equal(session_merge(record, tombstone, &kit.written.record), 0);
    assert_bytes_equal(buffer_bytes(&kit.written.record), tombstone);
    kit_fini(&kit);
}

/* Another node has begun the session anew, before it was buried here, and before this node heard of that. */
static void test_bury_what_was_seen(void **state)
{
    struct kit here, there;
    struct session_view view;

    (void)state;
    kit_init(&here);
    kit_do(&here, KIT_CHANGE(SET, .name = text("a"), .value = text("old")));
    struct bytes record = buffer_bytes(&here.record);
    const uint64_t newest_hlc = session_newest_hlc(record);
    kit_init(&there);
    there.now_ms = here.now_ms + 5000;
    kit_do(&there, KIT_CHANGE(SET, .name = text("a"), .value = text("new")));
    const uint64_t birth_hlc = session_newest_hlc(buffer_bytes(&there.record));
    assert_true(birth_hlc > newest_hlc);
    const struct stamp stamp = {birth_hlc + 1000, {3, 1}};
    struct buffer tombstone = {.memory = here.merged.memory}, both = {.memory = here.merged.memory};

    assert_int_equal(session_bury(record, stamp, true, &tombstone), 0);
    assert_int_equal(session_newest_hlc(buffer_bytes(&tombstone)), stamp.hlc);
    assert_int_equal(session_merge(buffer_bytes(&tombstone), record, &both), 0);
    assert_int_equal(session_open(&view, buffer_bytes(&both), there.now_ms), 0);
    assert_true(view.tombstone);
    both.size = 0;
    assert_int_equal(session_merge(buffer_bytes(&tombstone), buffer_bytes(&there.record), &both),
                     0);
    assert_int_equal(session_open(&view, buffer_bytes(&both), there.now_ms), 0);
    assert_false(view.tombstone);

    tombstone.size = both.size = 0;
    assert_int_equal(session_bury(record, stamp, false, &tombstone), 0);
    assert_int_equal(session_merge(buffer_bytes(&tombstone), buffer_bytes(&there.record), &both),
                     0);
    assert_int_equal(session_open(&view, buffer_bytes(&both), there.now_ms), 0);
    assert_true(view.tombstone);
    buffer_fini(&tombstone);
    buffer_fini(&both);
    kit_fini(&there);
    kit_fini(&here);
}

/* What another node may know of a later use. */
static void test_unknown_uses(void **state)
{
    struct session_view view;
    struct kit kit;

    (void)state;
    kit_init(&kit);
    const uint64_t start = kit.now_ms;
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("v")));
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 800));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    const struct {
        uint64_t known_ms, deadline_ms;
    } cases[] = {
        {0, start + 800},           {start, start + 800},       {start + 30, start + 830},
        {start + 100, start + 900}, {start + 700, start + 900}, {UINT64_MAX, start + 900},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint64_t late_ms = 0; late_ms < 2; late_ms++) {
            uint64_t now_ms = cases[i].deadline_ms - 1 + late_ms;
            assert_int_equal(session_open_known(&view, buffer_bytes(&kit.record), now_ms,
                                                cases[i].known_ms, NULL),
                             0);
            assert_int_equal(view.live, late_ms == 0);
            assert_int_equal(view.expired, late_ms == 1);
            assert_int_equal(view.deadline_ms, cases[i].deadline_ms);
        }
    }
    kit.mode = WRITE_UPDATE;
    kit.now_ms = start + 850;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_NOT_FOUND);
    kit.known_ms = UINT64_MAX;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_OK);
    assert_false(kit.written.created);
    kit_expect(&kit, "a", "v");
    /* No use makes an absolute deadline later. */
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TTL, .ms = 50)), STATUS_OK);
    kit.now_ms += 50;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_NOT_FOUND);
    kit_fini(&kit);
}

/* Who knows of all uses has begun it anew at once. Who allows for more uses, and has not heard of that, begins it anew
 * later: that ends the old session, not the other new one. */
static void test_unknown_uses_and_births(void **state)
{
    struct kit primary, other;

    (void)state;
    kit_init(&primary);
    kit_init(&other);
    const uint64_t start = primary.now_ms;
    kit_add(&primary, KIT_CHANGE(SET, .name = text("a"), .value = text("old")));
    kit_add(&primary, KIT_CHANGE(IDLE, .ms = 800));
    assert_int_equal(kit_write(&primary), STATUS_OK);
    kit_take_first(&other, &primary);
    primary.now_ms = start + 800;
    assert_int_equal(kit_do(&primary, KIT_CHANGE(SET, .name = text("b"), .value = text("new"))),
                     STATUS_OK);
    assert_true(primary.written.created);
    other.actor.node++;
    other.known_ms = UINT64_MAX;
    other.now_ms = start + 900;
    assert_int_equal(kit_do(&other, KIT_CHANGE(SET, .name = text("c"), .value = text("newer"))),
                     STATUS_OK);
    assert_true(other.written.created);
    kit_take(&other, &primary);
    kit_expect(&other, "a", NULL);
    kit_expect(&other, "b", "new");
    kit_expect(&other, "c", "newer");
    kit_fini(&other);
    kit_fini(&primary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines),    cmocka_unit_test(test_field_deadlines),
        cmocka_unit_test(test_fading),       cmocka_unit_test(test_not_fading),
        cmocka_unit_test(test_no_resurrect), cmocka_unit_test(test_dedup),
        cmocka_unit_test(test_bury),         cmocka_unit_test(test_bury_what_was_seen),
        cmocka_unit_test(test_unknown_uses), cmocka_unit_test(test_unknown_uses_and_births),
    };
    return cmocka_run_group_tests_name("session_time", tests, NULL, NULL);
}
