/* Archives of a cluster that was itself put back from one (adopt.h, recover.h): what ended there has ended, also where the
 * births of what was put back are of actors that no checkpoint's vector has. */
#include "adopt.h"
#include "archive_state.h"
#include "archive_vector.h"
#include "seen.h"
#include "session_kit.h"

static struct kit kit;
static struct buffer moved, stamped, vector;
static struct archive_state state;
static const struct actor node = {3, 1}, other = {4, 1};
static uint32_t visited, live;

static uint64_t hlc(uint64_t seconds)
{
    return hlc_of_ms((KIT_NOW_MS + seconds) * UINT64_C(1000));
}

/* A session of another cluster, put back by `node` at 100 s. */
static struct bytes put_back(void)
{
    assert_int_equal(session_adopt(buffer_bytes(&kit.record), &moved), 0);
    assert_int_equal(session_stamp(buffer_bytes(&moved), (struct stamp){hlc(100), node}, &stamped),
                     0);
    assert_int_equal(session_check(buffer_bytes(&stamped)), 0);
    return buffer_bytes(&stamped);
}

/* What a slot has seen of `node`. */
static struct bytes seen_until(uint64_t seconds)
{
    struct seen seen;

    vector.size = 0;
    assert_int_equal(seen_init(&seen, vector.memory, 1), 0);
    seen_begin(&seen, 0);
    assert_int_equal(seen_advance(&seen, 0, (struct stamp){hlc(seconds), node}), 0);
    assert_int_equal(seen_put(&seen, 0, &vector), 0);
    seen_fini(&seen);
    return buffer_bytes(&vector);
}

static int visit(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct session_view view;

    (void)context;
    assert_bytes_equal(key, kit.key);
    assert_int_equal(left, 0);
    assert_int_equal(session_open(&view, record, kit.now_ms), 0);
    visited++;
    live += view.live;
    return 0;
}

static void add(uint8_t kind, struct bytes body, uint32_t checkpoint)
{
    const struct archive_record record = {.kind = kind, .slot = slot_of_key(kit.key), .body = body};

    assert_int_equal(archive_state_add(&state, &record, checkpoint), 0);
}

static void cover(uint64_t seconds)
{
    assert_int_equal(archive_state_cover(&state, 0, slot_of_key(kit.key), seen_until(seconds)), 0);
}

static void finish(uint32_t records, uint32_t living)
{
    visited = live = 0;
    assert_int_equal(archive_state_finish(&state), 0);
    assert_int_equal(archive_state_visit(&state, visit, NULL), 0);
    assert_int_equal(visited, records);
    assert_int_equal(live, living);
    archive_state_clear(&state);
}

static int begin(void **context)
{
    (void)context;
    kit_init(&kit);
    moved.memory = stamped.memory = vector.memory = &kit.memory.memory;
    archive_state_init(&state, &kit.memory.memory, UINT64_MAX, NULL, NULL);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = kit_name("f"), .value = kit_name("v"))),
                     STATUS_OK);
    return 0;
}

static int end(void **context)
{
    (void)context;
    archive_state_fini(&state);
    buffer_fini(&moved);
    buffer_fini(&stamped);
    buffer_fini(&vector);
    kit_fini(&kit);
    return 0;
}

/* A checkpoint has seen who put it back do that, and has it not: it has ended since. Whichever comes first. */
static void test_what_ended_stays_so(void **context)
{
    (void)context;
    cover(100);
    add(LOG_FULL, put_back(), STATE_LOG);
    finish(0, 0);
    add(LOG_FULL, put_back(), STATE_LOG);
    cover(100);
    finish(1, 0);
    cover(99); /* Of before. */
    add(LOG_FULL, put_back(), STATE_LOG);
    finish(1, 1);
    add(LOG_FULL, put_back(), STATE_LOG);
    cover(99);
    finish(1, 1);
}

/* What the checkpoint has lives. */
static void test_what_is_there_lives(void **context)
{
    (void)context;
    cover(200);
    add(LOG_FULL, put_back(), 0);
    finish(1, 1);
    add(LOG_FULL, put_back(), STATE_LOG);
    add(LOG_FULL, put_back(), 0);
    cover(200);
    finish(1, 1);
}

/* Another node's write since, of which the checkpoint has not heard. */
static void test_a_write_since(void **context)
{
    struct buffer later = {.memory = &kit.memory.memory};

    (void)context;
    assert_int_equal(session_stamp(put_back(), (struct stamp){hlc(150), other}, &later), 0);
    cover(200);
    add(LOG_FULL, buffer_bytes(&later), STATE_LOG);
    finish(1, 1);
    buffer_fini(&later);
}

/* Of what nobody put back here the births tell, as ever; records that have all come are passed over. */
static void test_own_sessions(void **context)
{
    struct record opened;

    (void)context;
    kit_fini(&kit);
    kit_init(&kit);
    kit.actor = node;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = kit_name("f"), .value = kit_name("v"))),
                     STATUS_OK);
    assert_int_equal(record_open(&opened, buffer_bytes(&kit.record), RECORD_FORMAT), 0);
    const struct stamp birth = record_birth(&opened, 0).stamp;
    assert_true(archive_vector_has_birth(seen_until(1), &opened, birth));
    assert_true(archive_vector_covers_own(seen_until(1), &opened.version));
    cover(1);
    add(LOG_FULL, buffer_bytes(&kit.record), STATE_LOG);
    finish(0, 0);
    add(LOG_FULL, buffer_bytes(&kit.record), STATE_LOG);
    cover(1);
    finish(1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_ended_stays_so, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_there_lives, begin, end),
        cmocka_unit_test_setup_teardown(test_a_write_since, begin, end),
        cmocka_unit_test_setup_teardown(test_own_sessions, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
