/* Cold records: golden bytes, what the view of one tells, and that thawing brings the whole record back. */
#include <errno.h>
#include <stdio.h>

#include "cold.h"
#include "golden.h"
#include "record.h"
#include "session_history.h"

enum { HISTORIES = 2000, STEPS = 40 };

static struct test_memory memory;
static struct buffer cold, whole, other;

static int setup(void **state)
{
    (void)state;
    memory = test_memory();
    cold.memory = whole.memory = other.memory = &memory.memory;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_fini(&cold);
    buffer_fini(&whole);
    buffer_fini(&other);
    assert_int_equal(memory.outstanding_bytes, 0);
    return 0;
}

/* The bytes of test_session_record.c's map, without what is a user's. */
static void test_golden(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_add(&kit, KIT_CHANGE(OWNER, .value = text("me")));
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 60000));
    kit.client = 9;
    kit.sequence = 1;
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(session_freeze(buffer_bytes(&kit.record), 7, &cold), 0);
    assert_golden(buffer_bytes(&cold), "31 0068e5cf8b01 03 6b6579 00 0068e5cf8b01 0101 06 "
                                       "0700000000000000 15 00 02 6d65 22 e0d403");
    kit_fini(&kit);
}

/* A long value leaves little behind. */
static void test_size(void **state)
{
    static char value[4096];
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit.type = SESSION_BLOB;
    kit.key = text("session:0123456789abcdef0123");
    kit_add(&kit, KIT_CHANGE(SET, .value = bytes_of(value, sizeof value)));
    kit_add(&kit, KIT_CHANGE(TTL, .ms = 1800000));
    kit_add(&kit, KIT_CHANGE(OWNER, .value = text("somebody")));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(session_freeze(buffer_bytes(&kit.record), 7, &cold), 0);
    assert_in_range(cold.size, kit.key.size + 8, kit.key.size + 48);
    kit_fini(&kit);
}

/* What needs the whole record refuses a cold one. */
static void test_refused(void **state)
{
    struct kit kit;
    struct session_written written;
    (void)state;

    kit_init(&kit);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1"))), 0);
    struct bytes record = buffer_bytes(&kit.record);
    assert_int_equal(session_freeze(record, 7, &cold), 0);
    assert_true(record_is_cold(buffer_bytes(&cold)));
    assert_false(record_is_cold(record));
    assert_int_equal(session_check(buffer_bytes(&cold)), -EBADMSG);
    assert_int_equal(session_merge(buffer_bytes(&cold), record, &other), -EBADMSG);
    assert_int_equal(session_merge(record, buffer_bytes(&cold), &other), -EBADMSG);
    assert_int_equal(session_freeze(buffer_bytes(&cold), 7, &other), -EBADMSG);
    assert_int_equal(session_thaw(record, record, &other), -EBADMSG);
    assert_int_equal(session_thaw(buffer_bytes(&cold), buffer_bytes(&cold), &other), -EBADMSG);
    const uint8_t list[] = {6};
    const struct session_write write = {
        .key = kit.key,
        .record = buffer_bytes(&cold),
        .rules = &kit.rules,
        .now_ms = kit.now_ms,
        .actor = kit.actor,
        .type = SESSION_MAP,
        .changes = bytes_of(list, sizeof list),
    };
    session_written_init(&written, &memory.memory);
    assert_int_equal(session_write(&write, &written), STATUS_DAMAGED);
    session_written_fini(&written);

    /* Another state of the session, and another session. */
    buffer_append(&whole, record);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("2"))), 0);
    assert_int_equal(session_thaw(buffer_bytes(&cold), buffer_bytes(&kit.record), &other), -ESTALE);
    assert_int_equal(session_freeze(buffer_bytes(&kit.record), 7, &cold), 0);
    assert_int_equal(session_thaw(buffer_bytes(&cold), buffer_bytes(&whole), &other), -ESTALE);
    kit.record.size = 0;
    kit.key = text("another");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("2"))), 0);
    assert_int_equal(session_thaw(buffer_bytes(&cold), buffer_bytes(&kit.record), &other),
                     -EBADMSG);
    kit_fini(&kit);
}

/* The view tells the same of both, but for the fields. */
static void compare_views(struct bytes record, uint64_t now_ms)
{
    struct session_view full, left;

    assert_int_equal(session_open(&full, record, now_ms), 0);
    assert_int_equal(session_open(&left, buffer_bytes(&cold), now_ms), 0);
    assert_false(full.cold);
    assert_true(left.cold);
    assert_int_equal(left.live, full.live);
    assert_int_equal(left.tombstone, full.tombstone);
    assert_int_equal(left.expired, full.expired);
    assert_int_equal(left.type, full.type);
    assert_int_equal(left.created_ms, full.created_ms);
    assert_int_equal(left.absolute_ms, full.absolute_ms);
    assert_int_equal(left.idle_ms, full.idle_ms);
    assert_int_equal(left.last_access_ms, full.last_access_ms);
    assert_int_equal(left.deadline_ms, full.deadline_ms);
    assert_int_equal(left.death_ms, full.death_ms);
    assert_int_equal(left.faded, full.faded);
    uint64_t fields_end_ms = full.live ? left.record_.fields_end_ms : 0;
    assert_int_equal(left.next_ms, earlier_ms(full.deadline_ms, fields_end_ms));
    assert_int_equal(left.field_count, 0);
    assert_true(bytes_equal(left.owner, full.owner));
}

/* The cold record knows when the session goes with its fields. Returns whether it does. */
static bool compare_fading(struct bytes record)
{
    struct session_view view, left;
    struct session_field field;
    uint64_t end_ms = 0;
    bool stays = false;

    assert_int_equal(session_open(&view, record, 0), 0);
    while (session_next(&view, false, &field)) {
        stays = stays || field.deadline_ms == 0;
        end_ms = field.deadline_ms > end_ms ? field.deadline_ms : end_ms;
    }
    end_ms = stays || !view.leader_.birth.fades ? 0 : end_ms;
    assert_int_equal(session_open(&left, buffer_bytes(&cold), 0), 0);
    assert_int_equal(left.record_.fields_end_ms, end_ms);
    if (end_ms != 0) {
        compare_views(record, end_ms - 1);
        compare_views(record, end_ms);
    }
    return end_ms != 0;
}

static void assert_thaws(struct bytes stored, struct bytes record)
{
    assert_int_equal(session_thaw(buffer_bytes(&cold), stored, &whole), 0);
    assert_true(bytes_equal(buffer_bytes(&whole), record));
}

/* A later access, of which only the cold record knows. */
static bool thaw_touched(struct bytes record)
{
    struct session_view view;
    uint64_t to_ms = hlc_ms(session_newest_hlc(record)) + 5;

    if (!session_touch_in_place(cold.data, cold.size, to_ms)) {
        return false;
    }
    other.size = 0;
    assert_int_equal(buffer_append(&other, record), 0);
    session_touch_in_place(other.data, other.size, to_ms);
    assert_thaws(record, buffer_bytes(&other));
    assert_thaws(buffer_bytes(&other), buffer_bytes(&other));
    assert_int_equal(session_open(&view, buffer_bytes(&cold), to_ms), 0);
    return true;
}

/* Both are buried alike: the tombstones differ by the dedup window alone. */
static void compare_burials(struct bytes record)
{
    const struct stamp stamp = {session_newest_hlc(record) + 1000, {9, 9}};
    struct record a, b;

    assert_int_equal(session_bury(buffer_bytes(&cold), stamp, false, &other), 0);
    assert_int_equal(session_check(buffer_bytes(&other)), 0);
    assert_int_equal(session_bury(record, stamp, false, &whole), 0);
    assert_int_equal(record_open(&a, buffer_bytes(&other), RECORD_FORMAT), 0);
    assert_int_equal(record_open(&b, buffer_bytes(&whole), RECORD_FORMAT), 0);
    assert_true(bytes_equal(a.token, b.token));
    assert_int_equal(a.last_access_ms, b.last_access_ms);
    assert_int_equal(a.birth_count, 0);
}

/* An earlier life's burial that this copy was merged with, and the store has forgotten. */
static bool thaw_buried(struct bytes record)
{
    static const struct session_rules rules = {1 << 20, 65536, 0, 0, 1000, false};
    static const uint8_t list[] = {1, 1, 'a', 1, 'b'};
    const struct stamp stamp = {session_newest_hlc(record) + 1000, {9, 9}};
    struct session_written written;

    assert_int_equal(session_bury(record, stamp, false, &other), 0);
    const struct session_write write = {
        .key = session_key(record),
        .record = bytes_of(NULL, 0),
        .rules = &rules,
        .now_ms = hlc_ms(stamp.hlc) + 1,
        .actor = {9, 10},
        .type = SESSION_MAP,
        .changes = bytes_of(list, sizeof list),
    };
    session_written_init(&written, &memory.memory);
    assert_int_equal(session_write(&write, &written), STATUS_OK);
    assert_int_equal(session_merge(buffer_bytes(&other), buffer_bytes(&written.record), &whole), 0);
    other.size = 0;
    buffer_append(&other, buffer_bytes(&whole));
    assert_int_equal(session_freeze(buffer_bytes(&other), 7, &cold), 0);
    int rc = session_thaw(buffer_bytes(&cold), buffer_bytes(&written.record), &whole);
    assert_int_equal(rc, 0);
    assert_int_equal(session_check(buffer_bytes(&whole)), 0);
    struct record a, b;
    assert_int_equal(record_open(&a, buffer_bytes(&other), RECORD_FORMAT), 0);
    assert_int_equal(record_open(&b, buffer_bytes(&whole), RECORD_FORMAT), 0);
    assert_true(bytes_equal(a.token, b.token));
    bool same = bytes_equal(buffer_bytes(&other), buffer_bytes(&whole));
    /* Only the window of the earlier life may be missing. */
    assert_true(same || (a.flags & (RECORD_DEDUP | RECORD_FLOOR)) != 0);
    session_written_fini(&written);
    return true;
}

static void test_random_states(void **state)
{
    static struct history history;
    uint64_t states = 0, live = 0, touched = 0, expired = 0, buried = 0, faded = 0;
    (void)state;

    history_init(&history);
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        history_begin(&history, seed);
        for (int step = 0; step < STEPS && history.pool_count < POOL_MAX - 8; step++) {
            history_step(&history);
        }
        struct bytes record = history_state(&history, history.pool_count - 1);
        if (record.size == 0) {
            continue;
        }
        struct session_view view;
        assert_int_equal(session_freeze(record, 7, &cold), 0);
        assert_true(bytes_equal(session_key(buffer_bytes(&cold)), session_key(record)));
        assert_int_equal(session_newest_hlc(buffer_bytes(&cold)), session_newest_hlc(record));
        uint64_t bytes = session_cold_bytes(buffer_bytes(&cold));
        assert_true(record.size <= bytes && bytes / 2 < record.size);
        uint64_t now_ms = history.now_ms;
        compare_views(record, now_ms);
        assert_int_equal(session_open(&view, record, now_ms), 0);
        live += view.live;
        if (view.deadline_ms != 0) {
            compare_views(record, view.deadline_ms - 1);
            compare_views(record, view.deadline_ms);
            expired++;
        }
        faded += compare_fading(record);
        assert_thaws(record, record);
        compare_burials(record);
        touched += thaw_touched(record);
        buried += thaw_buried(record);
        states++;
    }
    print_message(
        "%lu states: %lu live, %lu with a deadline, %lu touched, %lu reborn, %lu fading\n",
        (unsigned long)states, (unsigned long)live, (unsigned long)expired, (unsigned long)touched,
        (unsigned long)buried, (unsigned long)faded);
    assert_true(states > HISTORIES / 2 && live > states / 4 && touched > 50 && expired > 50);
    assert_true(faded > 5);
    history_fini(&history);
}

/* The n-th allocation fails: the outcome is an error, and the next try works. */
static void test_fault_loop(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 60000));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    struct bytes record = buffer_bytes(&kit.record);
    uint64_t failed = 0;
    for (uint64_t n = 1;; n++) {
        struct test_memory small = test_memory();
        struct buffer left = {.memory = &small.memory}, back = {.memory = &small.memory};
        small.fail_at = n;
        int rc = session_freeze(record, 7, &left);
        if (rc == 0) {
            session_touch_in_place(left.data, left.size, kit.now_ms + 7);
            rc = session_thaw(buffer_bytes(&left), record, &back);
        }
        bool done = small.requests < n;
        assert_int_equal(rc, done ? 0 : -ENOMEM);
        failed += rc != 0;
        buffer_fini(&left);
        buffer_fini(&back);
        assert_int_equal(small.outstanding_bytes, 0);
        if (done) {
            break;
        }
    }
    assert_true(failed >= 2);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fault_loop, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
