/* Stories of several copies: what a partition, a delay, a restart or a wrong clock may not do. */
#include <errno.h>
#include <stdio.h>

#include "session_kit.h"

enum { HOUR_MS = 3600000 };

/* Two copies of one session; the second one's coordinator is another node. */
static void two_copies(struct kit *a, struct kit *b)
{
    kit_init(a);
    kit_init(b);
    b->actor.node = 2;
    a->mode = WRITE_CREATE;
    assert_int_equal(kit_do(a, KIT_CHANGE(SET, .name = text("f"), .value = text("0"))), STATUS_OK);
    a->mode = WRITE_UPSERT;
    kit_take_first(b, a);
    a->now_ms += 10;
    b->now_ms += 20;
}

static void finish(struct kit *a, struct kit *b)
{
    kit_fini(a);
    kit_fini(b);
}

static bool lives(const struct kit *kit)
{
    struct session_view view;

    kit_open(kit, &view);
    return view.live;
}

static void test_delete_wins(void **state)
{
    struct kit a, b;
    (void)state;

    two_copies(&a, &b);
    b.now_ms += HOUR_MS; /* Much later, but not having seen the delete. */
    assert_int_equal(kit_do(&a, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("f"), .value = text("late"))), 0);
    assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("g"), .value = text("new"))), 0);
    kit_take(&a, &b);
    kit_take(&b, &a);
    assert_false(lives(&a));
    assert_false(lives(&b));
    assert_bytes_equal(buffer_bytes(&a.record), buffer_bytes(&b.record));
    finish(&a, &b);
}

static void test_recreate_lives(void **state)
{
    struct kit a, b;
    (void)state;

    two_copies(&a, &b);
    a.rules.no_resurrect = true;
    assert_int_equal(kit_do(&a, KIT_CHANGE(DESTROY)), STATUS_OK);
    a.now_ms -= HOUR_MS; /* Even where the clock went back in between. */
    a.mode = WRITE_CREATE;
    assert_int_equal(kit_do(&a, KIT_CHANGE(SET, .name = text("h"), .value = text("again"))), 0);
    kit_do(&b, KIT_CHANGE(SET, .name = text("f"), .value = text("old")));
    kit_take(&a, &b);
    assert_true(lives(&a));
    kit_expect(&a, "h", "again");
    kit_expect(&a, "f", NULL);
    finish(&a, &b);
}

/* A blind write that had not heard of the delete does not bring the session back while the tombstone
 * is kept; an explicit create does. Without the policy both do. */
static void test_late_blind_write(void **state)
{
    (void)state;
    for (int no_resurrect = 0; no_resurrect < 2; no_resurrect++) {
        for (int with_create = 0; with_create < 2; with_create++) {
            struct kit a, b;
            two_copies(&a, &b);
            a.rules.no_resurrect = no_resurrect != 0;
            assert_int_equal(kit_do(&a, KIT_CHANGE(DESTROY)), STATUS_OK);
            b.record.size = 0; /* It never had a copy. */
            b.now_ms = a.now_ms + HOUR_MS - 1;
            b.mode = with_create ? WRITE_CREATE : WRITE_UPSERT;
            assert_int_equal(kit_do(&b, KIT_CHANGE(SET, .name = text("x"))), STATUS_OK);
            kit_take(&b, &a);
            assert_int_equal(lives(&b), with_create || !no_resurrect);
            finish(&a, &b);
        }
    }
}

/* Deadlines and accesses of a dead incarnation do nothing to the next one. */
static void test_old_deadline(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    two_copies(&a, &b);
    kit_add(&b, KIT_CHANGE(TTL, .ms = 1000));
    kit_add(&b, KIT_CHANGE(IDLE, .ms = 500));
    kit_write(&b);
    a.now_ms = b.now_ms;
    kit_do(&a, KIT_CHANGE(DESTROY));
    kit_do(&a, KIT_CHANGE(SET, .name = text("f"), .value = text("2")));
    kit_take(&a, &b);
    a.now_ms += HOUR_MS;
    kit_open(&a, &view);
    assert_true(view.live);
    assert_int_equal(view.deadline_ms, 0);
    assert_int_equal(view.absolute_ms, 0);
    assert_int_equal(view.idle_ms, 0);
    finish(&a, &b);
}

/* Two nodes that cannot see each other each begin an expired session anew: neither write is lost, and nothing of the
 * expired one is left, not even what only one of them knew. */
static void test_two_begin_anew(void **state)
{
    struct kit a, b, c;
    struct session_view view;
    (void)state;

    for (int idle = 0; idle < 2; idle++) {
        two_copies(&a, &b);
        kit_do(&a, idle ? KIT_CHANGE(IDLE, .ms = 1000) : KIT_CHANGE(TTL, .ms = 1000));
        kit_take(&b, &a);
        kit_init(&c); /* Knows nothing, and is not heard of before the end. */
        c.actor.node = 3;
        c.now_ms = a.now_ms + 500;
        kit_add(&c, KIT_CHANGE(TTL, .ms = 100));
        kit_do(&c, KIT_CHANGE(SET, .name = text("z"), .value = text("old")));

        a.now_ms += 1000;
        b.now_ms = a.now_ms + 5;
        kit_do(&a, KIT_CHANGE(SET, .name = text("x"), .value = text("of a")));
        assert_true(a.written.created);
        kit_do(&b, KIT_CHANGE(SET, .name = text("y"), .value = text("of b")));
        assert_true(b.written.created);
        kit_take(&a, &b);
        kit_take(&a, &c);
        a.now_ms = b.now_ms;
        kit_expect(&a, "x", "of a");
        kit_expect(&a, "y", "of b");
        kit_expect(&a, "f", NULL);
        kit_expect(&a, "z", NULL);
        kit_open(&a, &view);
        assert_int_equal(view.deadline_ms, 0);
        assert_int_equal(view.siblings_hidden, 0);
        kit_fini(&c);
        finish(&a, &b);
    }
}

/* Who begins an expired session anew ends what it knew, not what others have begun since: they destroyed it before it
 * expired, and began another. */
static void test_begun_beside_a_later_life(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    two_copies(&a, &b);
    kit_do(&a, KIT_CHANGE(TTL, .ms = 1000));
    kit_take(&b, &a);
    kit_do(&b, KIT_CHANGE(DESTROY));
    b.now_ms += 100;
    kit_add(&b, KIT_CHANGE(TTL, .ms = HOUR_MS));
    kit_do(&b, KIT_CHANGE(SET, .name = text("y"), .value = text("of b")));
    uint64_t end_ms = b.now_ms + HOUR_MS;
    a.now_ms += 1000;
    kit_do(&a, KIT_CHANGE(SET, .name = text("x"), .value = text("of a")));
    assert_true(a.written.created);
    kit_take(&a, &b);
    kit_expect(&a, "y", "of b");
    kit_expect(&a, "x", "of a");
    kit_expect(&a, "f", NULL);
    kit_open(&a, &view);
    assert_int_equal(view.deadline_ms, end_ms);
    finish(&a, &b);
}

/* Where two lives meet that did not know of each other, what had expired by the time the later one began is not shown in
 * it, its deadline does nothing to it, and it is swept away; what had not expired mixes with it, and so does what may not
 * have expired. */
static void test_two_lives_meet(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    for (int idle = 0; idle < 3; idle++) { /* None, the earlier one, both. */
        for (int late = 0; late < 2; late++) {
            bool ended = late && idle < 2; /* With both nobody knows. */
            kit_init(&a);
            kit_init(&b);
            b.actor.node = 2;
            kit_add(&b, idle ? KIT_CHANGE(IDLE, .ms = 1000) : KIT_CHANGE(TTL, .ms = 2000));
            kit_do(&b, KIT_CHANGE(SET, .name = text("y"), .value = text("of b")));
            b.now_ms += idle ? 999 : 1000;
            kit_do(&b, KIT_CHANGE(SET, .name = text("z"), .value = text("of b")));
            a.now_ms = b.now_ms + (late ? 2 : 0);
            a.now_ms += idle ? 1124 : 999; /* With an eighth for uses that did not come here. */
            if (idle == 2) {
                kit_add(&a, KIT_CHANGE(IDLE, .ms = 5000));
            }
            kit_do(&a, KIT_CHANGE(SET, .name = text("x"), .value = text("of a")));
            kit_take(&a, &b);
            kit_expect(&a, "x", "of a");
            kit_expect(&a, "y", ended ? NULL : "of b");
            kit_expect(&a, "z", ended ? NULL : "of b");
            kit_open(&a, &view);
            assert_int_equal(view.deadline_ms != 0, !ended || idle == 2);
            assert_int_equal(view.siblings_hidden, 0);
            kit_do(&a, KIT_CHANGE(TTL, .ms = HOUR_MS));
            kit_take(&b, &a);
            kit_expect(&b, "y", ended ? NULL : "of b");
            kit_open(&b, &view);
            assert_int_equal(view.record_.birth_count, ended ? 1 : 2);
            finish(&a, &b);
        }
    }
}

/* A clock that goes back an hour: what is written then is still newer than what was seen. */
static void test_clock_goes_back(void **state)
{
    struct kit a, b;
    (void)state;

    two_copies(&a, &b);
    kit_do(&a, KIT_CHANGE(SET, .name = text("f"), .value = text("before")));
    kit_take(&b, &a);
    b.now_ms -= HOUR_MS;
    kit_do(&b, KIT_CHANGE(SET, .name = text("f"), .value = text("after")));
    kit_expect(&b, "f", "after");
    kit_take(&a, &b);
    kit_expect(&a, "f", "after");
    a.now_ms -= HOUR_MS;
    kit_do(&a, KIT_CHANGE(DESTROY));
    assert_true(a.written.destroyed);
    kit_take(&b, &a);
    assert_false(lives(&b));
    finish(&a, &b);
}

/* What was added before a crash and reached another copy counts beside what the next life adds. */
static void test_adds_over_a_restart(void **state)
{
    struct kit a, b;
    (void)state;

    two_copies(&a, &b);
    uint8_t lost[256];
    struct bytes old = bytes_of(lost, a.record.size);
    memcpy(lost, a.record.data, old.size);
    kit_do(&a, KIT_CHANGE(ADD, .name = text("n"), .delta = 5));
    kit_take(&b, &a);
    a.record.size = 0;
    buffer_append(&a.record, old);
    a.actor.start++;
    kit_do(&a, KIT_CHANGE(ADD, .name = text("n"), .delta = 3));
    kit_expect(&a, "n", "3");
    kit_take(&a, &b);
    kit_expect(&a, "n", "8");
    finish(&a, &b);
}

/* A touch is no write: it may not sweep what others could not know to be swept. */
static void test_touch_sweeps_nothing(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    kit_init(&a);
    kit_init(&b);
    b.actor.node = 2;
    b.now_ms++;
    a.mode = b.mode = WRITE_CREATE;
    b.rules.idle_ttl_ms = 1000;
    kit_do(&a, KIT_CHANGE(SET, .name = text("f")));
    kit_do(&b, KIT_CHANGE(SET, .name = text("f")));
    kit_take(&b, &a);
    b.mode = WRITE_UPDATE;
    b.now_ms += 9;
    assert_int_equal(kit_do(&b, KIT_CHANGE(TOUCH)), STATUS_OK);
    assert_true(b.written.changed);
    kit_open(&b, &view);
    assert_int_equal(view.siblings_hidden, 1);
    assert_int_equal(view.last_access_ms, b.now_ms);
    finish(&a, &b);
}

/* A copy that only ever gets deltas, in order, is the copy they were made from. */
static void test_follower(void **state)
{
    enum { WRITES = 500 };
    struct kit leader, follower;
    uint32_t deltas = 0, random = 1;
    (void)state;

    kit_init(&leader);
    kit_init(&follower);
    leader.rules.idle_ttl_ms = HOUR_MS;
    for (uint32_t i = 0; i < WRITES; i++) {
        char name[8];
        random = random * 1664525 + 1013904223;
        snprintf(name, sizeof name, "f%u", random >> 27);
        leader.now_ms += random >> 24;
        leader.client = random >> 20 & 1;
        leader.sequence = i;
        switch (random >> 13 & 7) {
        case 0:
            kit_add(&leader, KIT_CHANGE(DELETE, .name = text(name)));
            break;
        case 1:
            kit_add(&leader, KIT_CHANGE(TOUCH));
            break;
        case 2:
            kit_add(&leader, KIT_CHANGE(TTL, .ms = HOUR_MS));
            break;
        case 3:
            kit_add(&leader, KIT_CHANGE(ADD, .name = text("n"), .delta = i));
            kit_add(&leader, KIT_CHANGE(ABSOLUTE, .ms = 0));
            break;
        default:
            kit_add(&leader, KIT_CHANGE(SET, .name = text(name), .value = text("some value")));
        }
        assert_int_equal(kit_write(&leader), STATUS_OK);
        struct bytes delta = buffer_bytes(&leader.written.delta);
        if (!leader.written.changed) {
            continue;
        }
        if (delta.size > 0) {
            deltas++;
            assert_int_equal(
                session_apply_delta(buffer_bytes(&follower.record), delta, &follower.merged), 0);
            follower.record.size = 0;
            buffer_append(&follower.record, buffer_bytes(&follower.merged));
        } else {
            follower.record.size = 0;
            buffer_append(&follower.record, buffer_bytes(&leader.record));
        }
        assert_bytes_equal(buffer_bytes(&follower.record), buffer_bytes(&leader.record));
    }
    assert_true(deltas > WRITES / 2);
    finish(&leader, &follower);
}

static void test_delta_needs_its_base(void **state)
{
    struct kit a, b;
    (void)state;

    two_copies(&a, &b);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        kit_add(&a, KIT_CHANGE(SET, .name = text(name), .value = text("value")));
    }
    kit_write(&a);
    kit_do(&a, KIT_CHANGE(SET, .name = text("f1"), .value = text("other")));
    struct bytes delta = buffer_bytes(&a.written.delta);
    assert_true(delta.size > 0);
    assert_int_equal(session_apply_delta(buffer_bytes(&b.record), delta, &b.merged), -ESTALE);
    assert_int_equal(session_apply_delta(bytes_of("", 0), delta, &b.merged), -ESTALE);
    assert_int_equal(session_apply_delta(delta, delta, &b.merged), -EBADMSG);
    assert_int_equal(session_merge(buffer_bytes(&b.record), delta, &b.merged), -EBADMSG);
    assert_bytes_equal(session_key(delta), a.key);
    assert_int_equal(session_newest_hlc(delta), a.written.stamp.hlc);
    b.key = text("other");
    b.record.size = 0;
    kit_do(&b, KIT_CHANGE(SET, .name = text("f1")));
    assert_int_equal(session_merge(buffer_bytes(&a.record), buffer_bytes(&b.record), &b.merged),
                     -EBADMSG);
    finish(&a, &b);
}

/* A node that ends what it does not have, as another one may have it, keeps it from coming back. */
static void test_delete_of_what_is_elsewhere(void **state)
{
    struct kit has, lacks;
    (void)state;

    kit_init(&has);
    kit_init(&lacks);
    lacks.actor.node = 2;
    kit_do(&has, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    lacks.now_ms += 10;
    assert_int_equal(kit_do(&lacks, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_false(lacks.written.changed); /* Nobody else has anything. */
    lacks.elsewhere = true;
    assert_int_equal(kit_do(&lacks, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_true(lacks.written.changed);
    assert_false(lacks.written.destroyed);
    assert_int_equal(kit_result(&lacks, 0), 0);
    kit_take(&lacks, &has);
    kit_expect(&lacks, "a", NULL);
    kit_fini(&has);
    kit_fini(&lacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_of_what_is_elsewhere),
        cmocka_unit_test(test_delete_wins),
        cmocka_unit_test(test_recreate_lives),
        cmocka_unit_test(test_late_blind_write),
        cmocka_unit_test(test_old_deadline),
        cmocka_unit_test(test_two_begin_anew),
        cmocka_unit_test(test_begun_beside_a_later_life),
        cmocka_unit_test(test_two_lives_meet),
        cmocka_unit_test(test_clock_goes_back),
        cmocka_unit_test(test_adds_over_a_restart),
        cmocka_unit_test(test_touch_sweeps_nothing),
        cmocka_unit_test(test_follower),
        cmocka_unit_test(test_delta_needs_its_base),
    };
    return cmocka_run_group_tests_name("session_merge", tests, NULL, NULL);
}
