/* Aliases: what stays under a key whose session was renamed, whatever others do to it meanwhile, in any order. */
#include "alias.h"

#include <errno.h>

#include "session_kit.h"

enum { HOUR_MS = 3600000 };

static void set_record(struct kit *kit, struct bytes record)
{
    assert_int_equal(session_check(record), 0);
    kit->record.size = 0;
    assert_int_equal(buffer_append(&kit->record, record), 0);
}

static struct stamp stamp_of(const struct kit *kit)
{
    uint64_t newest = session_newest_hlc(buffer_bytes(&kit->record));

    return (struct stamp){.hlc = hlc_next(newest, kit->now_ms), .actor = kit->actor};
}

static void rename_at(struct kit *kit, uint64_t id, const char *to, uint64_t until_hlc)
{
    const struct alias alias = {.id = id, .key = text(to)};

    assert_int_equal(alias_begin(buffer_bytes(&kit->record), stamp_of(kit), &alias, until_hlc,
                                 &kit->written.record),
                     0);
    assert_int_equal(
        session_merge(buffer_bytes(&kit->record), buffer_bytes(&kit->written.record), &kit->merged),
        0);
    assert_bytes_equal(buffer_bytes(&kit->merged), buffer_bytes(&kit->written.record));
    set_record(kit, buffer_bytes(&kit->written.record));
}

static void arrive_at(struct kit *kit, uint64_t id, struct stamp birth)
{
    assert_int_equal(
        alias_arrive(buffer_bytes(&kit->record), stamp_of(kit), id, birth, &kit->written.record),
        0);
    set_record(kit, buffer_bytes(&kit->written.record));
}

static void settle_at(struct kit *kit)
{
    assert_int_equal(alias_settle(buffer_bytes(&kit->record), stamp_of(kit), &kit->written.record),
                     0);
    set_record(kit, buffer_bytes(&kit->written.record));
}

static struct aliases aliases_of(const struct kit *kit)
{
    struct aliases aliases;

    assert_int_equal(alias_find(buffer_bytes(&kit->record), &aliases), 0);
    return aliases;
}

static bool lives(const struct kit *kit)
{
    struct session_view view;

    kit_open(kit, &view);
    return view.live;
}

static void meet(struct kit *a, struct kit *b)
{
    kit_take(a, b);
    kit_take(b, a);
    assert_bytes_equal(buffer_bytes(&a->record), buffer_bytes(&b->record));
}

/* Two copies of one session; the second one's coordinator is another node. */
static void two_copies(struct kit *a, struct kit *b)
{
    kit_init(a);
    kit_init(b);
    b->actor.node = 2;
    assert_int_equal(kit_do(a, KIT_CHANGE(SET, .name = text("f"), .value = text("0"))), STATUS_OK);
    kit_take_first(b, a);
    a->now_ms += 10;
    b->now_ms += 20;
}

static void finish(struct kit *a, struct kit *b)
{
    kit_fini(a);
    kit_fini(b);
}

static void test_value(void **state)
{
    const struct alias alias = {
        .id = 0x0102030405060708, .birth = {9, {10, 11}}, .key = text("new")};
    static const uint8_t golden[] = {8, 7, 6,  5, 4, 3, 2,  1, 9, 0, 0,   0,   0,  0,
                                     0, 0, 10, 0, 0, 0, 11, 0, 0, 0, 'n', 'e', 'w'};
    uint8_t bytes[sizeof golden];
    struct alias read;

    (void)state;
    size_t size = (size_t)(alias_put(bytes, &alias) - bytes);
    assert_int_equal(size, sizeof golden);
    assert_memory_equal(bytes, golden, size);
    assert_true(alias_read(bytes_of(bytes, size), &read));
    assert_int_equal(read.id, alias.id);
    assert_int_equal(stamp_compare(read.birth, alias.birth), 0);
    assert_bytes_equal(read.key, text("new"));
    assert_false(alias_read(bytes_of(bytes, ALIAS_HEAD_BYTES), &read));
    assert_false(alias_read(bytes_of(bytes, 3), &read));
}

static void test_renamed_is_not_there(void **state)
{
    const struct stamp birth = {77, {3, 1}};
    struct session_view view;
    struct kit a, b;

    (void)state;
    two_copies(&a, &b);
    rename_at(&a, 5, "new", 0);
    assert_false(lives(&a));
    kit_open(&a, &view);
    assert_true(view.renamed && !view.tombstone);
    struct aliases aliases = aliases_of(&a);
    assert_int_equal(aliases.count, 1);
    assert_int_equal(aliases.newest.id, 5);
    assert_int_equal(aliases.newest.birth.hlc, 0);
    assert_bytes_equal(aliases.newest.key, text("new"));
    assert_false(alias_is_unsettled(&aliases));
    arrive_at(&a, 5, birth);
    meet(&a, &b);
    aliases = aliases_of(&b);
    assert_int_equal(stamp_compare(aliases.newest.birth, birth), 0);
    assert_false(alias_is_unsettled(&aliases));
    assert_int_equal(
        alias_arrive(buffer_bytes(&a.record), stamp_of(&a), 6, birth, &a.written.record), -ENOENT);
    finish(&a, &b);
}

/* Who has seen it begins a session that has nothing to do with it; or ends, what is not there. */
static void test_after_it(void **state)
{
    struct kit a, b;

    (void)state;
    for (int mode = WRITE_UPSERT; mode <= WRITE_CREATE; mode++) {
        two_copies(&a, &b);
        rename_at(&a, 5, "new", 0);
        meet(&a, &b);
        b.mode = (enum write_mode)mode;
        assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("g"), .value = text("1"))), 0);
        meet(&a, &b);
        assert_true(lives(&a));
        kit_expect(&a, "f", NULL);
        assert_int_equal(aliases_of(&a).count, 0);
        assert_int_equal(kit_do(&a, KIT_CHANGE(DESTROY)), STATUS_OK);
        meet(&a, &b);
        assert_int_equal(aliases_of(&a).count, 0);
        finish(&a, &b);
    }
    two_copies(&a, &b);
    rename_at(&a, 5, "new", 0);
    a.elsewhere = true; /* It leaves a tombstone all the same. */
    assert_int_equal(kit_do(&a, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_int_equal(aliases_of(&a).count, 0);
    finish(&a, &b);
}

/* A delete that did not know of it, earlier or later, does not undo it, and is not forgotten. */
static void test_deleted_elsewhere(void **state)
{
    struct kit a, b;

    (void)state;
    for (int again = 0; again < 2; again++) {
        for (int later = 0; later < 2; later++) {
            two_copies(&a, &b);
            b.now_ms += later ? HOUR_MS : 0;
            a.now_ms += later ? 0 : HOUR_MS;
            rename_at(&a, 5, "new", 0);
            assert_int_equal(kit_do(&b, KIT_CHANGE(DESTROY)), STATUS_OK);
            if (again) {
                assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("f"), .value = text("2"))),
                                 0);
            }
            meet(&a, &b);
            assert_int_equal(lives(&a), again);
            struct aliases aliases = aliases_of(&a);
            assert_int_equal(aliases.count, 1);
            assert_true(aliases.ended && alias_is_unsettled(&aliases));
            a.now_ms += HOUR_MS;
            settle_at(&a);
            meet(&a, &b);
            assert_int_equal(aliases_of(&b).count, 0);
            assert_int_equal(lives(&b), again);
            kit_expect(&b, "f", again ? "2" : NULL);
            finish(&a, &b);
        }
    }
}

static void test_written_elsewhere(void **state)
{
    struct kit a, b;

    (void)state;
    two_copies(&a, &b);
    rename_at(&a, 5, "new", 0);
    assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("g"), .value = text("late"))), 0);
    meet(&a, &b);
    assert_false(lives(&a));
    struct aliases aliases = aliases_of(&a);
    assert_true(aliases.late && !aliases.ended && alias_is_unsettled(&aliases));
    settle_at(&a);
    meet(&a, &b);
    aliases = aliases_of(&b);
    assert_int_equal(aliases.count, 1);
    assert_false(alias_is_unsettled(&aliases));
    finish(&a, &b);
}

static void test_renamed_twice(void **state)
{
    struct kit a, b;

    (void)state;
    two_copies(&a, &b);
    rename_at(&a, 5, "left", 0);
    rename_at(&b, 6, "right", 0); /* Later. */
    arrive_at(&a, 5, (struct stamp){1, {1, 1}});
    meet(&a, &b);
    struct aliases aliases = aliases_of(&a);
    assert_int_equal(aliases.count, 2);
    assert_true(alias_is_unsettled(&aliases));
    assert_bytes_equal(aliases.newest.key, text("right"));
    settle_at(&b);
    meet(&a, &b);
    aliases = aliases_of(&a);
    assert_int_equal(aliases.count, 1);
    assert_bytes_equal(aliases.newest.key, text("right"));
    finish(&a, &b);
}

/* no_resurrect holds for a key that was renamed away, and late writes are no reason to end the target. */
static void test_no_resurrect(void **state)
{
    struct kit a, b;

    (void)state;
    two_copies(&a, &b);
    rename_at(&a, 5, "new", hlc_of_ms(a.now_ms + HOUR_MS));
    assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("g"), .value = text("late"))), 0);
    meet(&a, &b);
    assert_false(lives(&a));
    struct aliases aliases = aliases_of(&a);
    assert_false(aliases.ended);
    assert_int_equal(kit_do(&a, KIT_CHANGE(SET, .name = text("h"))), STATUS_DESTROYED);
    a.mode = WRITE_CREATE;
    assert_int_equal(kit_do(&a, KIT_CHANGE(SET, .name = text("h"))), STATUS_OK);
    finish(&a, &b);
}

/* What ended here and was forgotten takes its aliases along. */
static void test_forgotten(void **state)
{
    struct kit a, b;

    (void)state;
    two_copies(&a, &b);
    rename_at(&a, 5, "new", 0);
    uint64_t origin = aliases_of(&a).origin.hlc;
    assert_int_equal(session_end(buffer_bytes(&a.record), origin, &a.merged), 0);
    set_record(&a, buffer_bytes(&a.merged));
    assert_int_equal(aliases_of(&a).count, 0);
    finish(&a, &b);
}

/* ---- Any order ---- */

static uint64_t seed;

static uint32_t pick(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static void act(struct kit *kit, struct kit others[], uint32_t count)
{
    static const char *const names[] = {"f", "g", ""};
    struct aliases aliases = aliases_of(kit);

    kit->now_ms += pick(3);
    kit->mode = pick(4) == 0 ? WRITE_CREATE : WRITE_UPSERT;
    kit->rules.no_resurrect = pick(4) == 0;
    switch (pick(9)) {
    case 0:
    case 1:
        (void)kit_do(kit, KIT_CHANGE(SET, .name = text(names[pick(3)]), .value = text("v")));
        break;
    case 2:
        (void)kit_do(kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
        break;
    case 3:
        (void)kit_do(kit, KIT_CHANGE(DESTROY));
        break;
    case 4:
    case 5:
        if (lives(kit)) {
            rename_at(kit, 1 + pick(1000), pick(2) ? "new" : "other",
                      pick(4) == 0 ? hlc_of_ms(kit->now_ms + 5) : 0);
        }
        break;
    case 6:
        if (aliases.count > 0) {
            arrive_at(kit, aliases.newest.id, (struct stamp){1 + pick(9), {1, 1}});
        }
        break;
    case 7:
        if (alias_is_unsettled(&aliases)) {
            settle_at(kit);
        }
        break;
    default:
        kit_take(kit, &others[pick(count)]);
    }
}

/* Merge three states in both ways: the same bytes. */
static void check_associative(struct kit kits[3])
{
    struct buffer *left = &kits[0].merged, *right = &kits[1].merged, *end = &kits[2].merged;
    struct buffer *other = &kits[0].written.record;

    struct bytes a = buffer_bytes(&kits[0].record), b = buffer_bytes(&kits[1].record),
                 c = buffer_bytes(&kits[2].record);
    assert_int_equal(session_merge(a, b, left), 0);
    assert_int_equal(session_merge(buffer_bytes(left), c, end), 0);
    assert_int_equal(session_merge(b, c, right), 0);
    assert_int_equal(session_merge(a, buffer_bytes(right), other), 0);
    assert_int_equal(session_check(buffer_bytes(end)), 0);
    assert_bytes_equal(buffer_bytes(end), buffer_bytes(other));
    assert_int_equal(session_merge(buffer_bytes(end), a, left), 0);
    assert_bytes_equal(buffer_bytes(end), buffer_bytes(left));
}

static void test_any_order(void **state)
{
    enum { STORIES = 3000, ACTS = 30 };
    uint32_t with_aliases = 0, ended = 0, late = 0, several = 0;

    (void)state;
    for (uint32_t story = 0; story < STORIES; story++) {
        struct kit kits[3];
        seed = story;
        for (uint32_t i = 0; i < 3; i++) {
            kit_init(&kits[i]);
            kits[i].actor.node = i + 1;
        }
        (void)kit_do(&kits[0], KIT_CHANGE(SET, .name = text("f"), .value = text("0")));
        kit_take_first(&kits[1], &kits[0]);
        kit_take_first(&kits[2], &kits[0]);
        for (uint32_t i = 0; i < ACTS; i++) {
            act(&kits[pick(3)], kits, 3);
            check_associative(kits);
            struct aliases aliases = aliases_of(&kits[i % 3]);
            with_aliases += aliases.count > 0;
            several += aliases.count > 1;
            ended += aliases.count > 0 && aliases.ended;
            late += aliases.count > 0 && aliases.late;
        }
        for (uint32_t i = 0; i < 3; i++) {
            kit_fini(&kits[i]);
        }
    }
    assert_true(with_aliases > STORIES && several > 100 && ended > 100 && late > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_renamed_is_not_there),
        cmocka_unit_test(test_after_it),
        cmocka_unit_test(test_deleted_elsewhere),
        cmocka_unit_test(test_written_elsewhere),
        cmocka_unit_test(test_renamed_twice),
        cmocka_unit_test(test_no_resurrect),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
