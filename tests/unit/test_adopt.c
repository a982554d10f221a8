/* Records of another cluster, moved to where their actors are nobody's here. */
#include <errno.h>

#include "adopt.h"
#include "alias.h"
#include "record.h"
#include "session_history.h"

enum { HISTORIES = 120, STEPS = 60 };

static struct buffer one, other, joined, moved, stamped;

static struct bytes adopt(struct bytes record, struct buffer *to)
{
    assert_int_equal(session_adopt(record, to), 0);
    assert_int_equal(session_check(buffer_bytes(to)), 0);
    return buffer_bytes(to);
}

/* Every actor is another one, and nothing else has changed. */
static void check_moved(struct bytes record, struct bytes adopted)
{
    struct version_item item, now;
    struct record before, after;

    assert_int_equal(record_open(&before, record, RECORD_FORMAT), 0);
    assert_int_equal(record_open(&after, adopted, RECORD_FORMAT), 0);
    assert_int_equal(before.version.count, after.version.count);
    assert_int_equal(before.version.death.hlc, after.version.death.hlc);
    assert_int_equal(before.last_access_ms, after.last_access_ms);
    struct version_walk walk = version_walk(&before.version),
                        moved_walk = version_walk(&after.version);
    while (version_next(&walk, &item)) {
        assert_true(version_next(&moved_walk, &now));
        assert_int_equal(now.hlc, item.hlc);
        assert_int_equal(now.actor.node, item.actor.node + ADOPT_NODES);
        assert_int_equal(now.actor.start, item.actor.start);
    }
    for (uint32_t i = 0; i < after.birth_count; i++) {
        assert_true(record_birth(&after, i).stamp.actor.node > ADOPT_NODES);
    }
    struct entry_walk entries = entry_walk(&after);
    struct entry entry;
    while (entry_next(&entries, &entry)) {
        assert_true(entry.stamp.actor.node > ADOPT_NODES);
        assert_true(entry.base.hlc == 0 || entry.base.actor.node > ADOPT_NODES);
    }
}

/* What it shows. */
static void check_shown(struct bytes record, struct bytes adopted, uint64_t now_ms)
{
    struct session_view before, after;
    struct session_field field, same;

    assert_int_equal(session_open(&before, record, now_ms), 0);
    assert_int_equal(session_open(&after, adopted, now_ms), 0);
    assert_int_equal(before.live, after.live);
    assert_int_equal(before.deadline_ms, after.deadline_ms);
    assert_int_equal(before.field_count, after.field_count);
    while (before.live && session_next(&before, true, &field)) {
        assert_true(session_next(&after, true, &same));
        assert_bytes_equal(field.name, same.name);
        assert_bytes_equal(field.value, same.value);
    }
}

/* Who puts it back stamps that it saw it: nothing else changes, and it is newer than what it was. */
static void check_stamped(struct bytes adopted, uint64_t now_ms)
{
    const struct stamp stamp = {session_newest_hlc(adopted) + 1, {1, 1}};
    struct stamp newest;

    assert_int_equal(session_stamp(adopted, stamp, &stamped), 0);
    assert_int_equal(session_check(buffer_bytes(&stamped)), 0);
    assert_true(session_newest(buffer_bytes(&stamped), &newest));
    assert_int_equal(stamp_compare(newest, stamp), 0);
    check_shown(adopted, buffer_bytes(&stamped), now_ms);
    assert_int_equal(session_merge(buffer_bytes(&stamped), adopted, &joined), 0);
    assert_bytes_equal(buffer_bytes(&joined), buffer_bytes(&stamped));
    assert_int_equal(session_stamp(buffer_bytes(&stamped), stamp, &joined), -EBADMSG);
}

/* On states of random histories: it is canonical, shows the same, and commutes with the join. */
static void test_it_commutes_with_the_join(void **state)
{
    static struct history history;
    uint64_t states = 0;

    (void)state;
    history_init(&history);
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        history_begin(&history, seed);
        for (int i = 0; i < STEPS; i++) {
            history_step(&history);
        }
        for (int i = 0; i < history.pool_count; i++) {
            struct bytes a = history_state(&history, i);
            struct bytes b = history_state(&history, history_pick(&history, history.pool_count));
            if (a.size == 0 || b.size == 0) {
                continue;
            }
            states++;
            check_moved(a, adopt(a, &one));
            check_shown(a, buffer_bytes(&one), history.now_ms);
            check_stamped(buffer_bytes(&one), history.now_ms);
            adopt(b, &other);
            assert_int_equal(session_merge(a, b, &joined), 0);
            adopt(buffer_bytes(&joined), &moved);
            assert_int_equal(session_merge(buffer_bytes(&one), buffer_bytes(&other), &joined), 0);
            assert_bytes_equal(buffer_bytes(&joined), buffer_bytes(&moved));
        }
    }
    assert_true(states > HISTORIES);
    history_fini(&history);
}

/* An alias knows where a session was born. */
static void test_aliases(void **state)
{
    static const struct actor here = {3, 2}, there = {4, 7};
    struct kit kit;
    struct aliases aliases;

    (void)state;
    kit_init(&kit);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1"))),
                     STATUS_OK);
    const struct alias alias = {
        .id = 9, .birth = {hlc_of_ms(kit.now_ms), there}, .key = text("to")};
    const struct stamp stamp = {hlc_of_ms(kit.now_ms + 5), here};
    struct buffer renamed = {.memory = one.memory};
    assert_int_equal(alias_begin(buffer_bytes(&kit.record), stamp, &alias, 0, &renamed), 0);
    assert_int_equal(alias_find(adopt(buffer_bytes(&renamed), &one), &aliases), 0);
    assert_int_equal(aliases.count, 1);
    assert_int_equal(aliases.newest.id, 9);
    assert_int_equal(aliases.newest.birth.actor.node, there.node + ADOPT_NODES);
    assert_int_equal(aliases.newest.birth.hlc, alias.birth.hlc);
    assert_bytes_equal(aliases.newest.key, text("to"));
    buffer_fini(&renamed);
    kit_fini(&kit);
}

/* It may be moved on, up to where numbers end. */
static void test_numbers_end(void **state)
{
    struct kit kit;

    (void)state;
    kit_init(&kit);
    kit.actor.node = UINT32_MAX - ADOPT_NODES;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1"))),
                     STATUS_OK);
    adopt(buffer_bytes(&kit.record), &one);
    assert_int_equal(session_adopt(buffer_bytes(&one), &other), -EOVERFLOW);
    kit_fini(&kit);
}

static void test_memory_fails(void **state)
{
    struct kit kit;

    (void)state;
    kit_init(&kit);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1"))),
                     STATUS_OK);
    int rc = -ENOMEM;
    for (uint64_t n = 1; rc != 0; n++) {
        struct test_memory memory = test_memory();
        struct buffer out = {.memory = &memory.memory};
        memory.fail_at = n;
        rc = session_adopt(buffer_bytes(&kit.record), &out);
        assert_true(rc == 0 || rc == -ENOMEM);
        buffer_fini(&out);
        assert_int_equal(memory.outstanding_bytes, 0);
    }
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_commutes_with_the_join),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_numbers_end),
        cmocka_unit_test(test_memory_fails),
    };
    struct test_memory memory = test_memory();

    one.memory = other.memory = joined.memory = moved.memory = stamped.memory = &memory.memory;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    buffer_fini(&one);
    buffer_fini(&other);
    buffer_fini(&joined);
    buffer_fini(&moved);
    buffer_fini(&stamped);
    return rc;
}
