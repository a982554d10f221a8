/* What of a log goes to the archive: own records, deltas only on what went whole, all else whole as it is now. */
#include "archive_feed.h"

#include <errno.h>

#include "adopt.h"
#include "log_format.h"
#include "record.h"
#include "session_kit.h"

enum { NODE = 1, NAMES_MAX = 32 };

static const struct actor own = {NODE, 2}, before = {NODE, 1}, other = {2, 5},
                          other_before = {2, 4}, adopted = {ADOPT_NODES + 2, 5};

static struct test_memory memory;
static struct archive_writer writer;
static struct archive_feed feed;
static struct kit kit; /* Of the session that is written. */
static uint64_t lsn;
static struct archive_feed_taken taken[3];
static uint32_t taken_count;

/* The shard that is asked. */
static struct shard_world {
    struct archive_feed_source source;
    enum archive_feed_found found;
    uint32_t asked;
} shard;

static int on_ask(struct archive_feed_source *source, struct archive_feed_ask asks[],
                  uint32_t count)
{
    (void)source;
    for (uint32_t i = 0; i < count; i++) {
        assert_true(bytes_equal(asks[i].key, kit.key));
        asks[i].found = shard.found;
        asks[i].record = buffer_bytes(&kit.record);
        shard.asked++;
    }
    return 0;
}

static void begin_object(bool anew)
{
    static uint64_t sequence;
    const struct archive_writer_options options = {
        .name = {.kind = ARCHIVE_LOG, .actor = own, .sequence = ++sequence}, .level = 1};

    archive_writer_begin(&writer, &options);
    archive_feed_begin(&feed, anew, taken, taken_count);
}

static int setup(void **state)
{
    (void)state;
    memory = test_memory();
    archive_writer_init(&writer, &memory.memory);
    archive_feed_init(&feed, &memory.memory, &writer, own);
    kit_init(&kit);
    kit.actor = own;
    shard = (struct shard_world){.source = {on_ask}, .found = ARCHIVE_FEED_WHOLE};
    lsn = 0;
    taken_count = 0;
    begin_object(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_fini(&kit);
    archive_feed_fini(&feed);
    archive_writer_fini(&writer);
    return memory.outstanding_bytes == 0 ? 0 : -1;
}

/* A write by this actor; what is logged of it is in kit.written. */
static void write_as(struct actor actor, const char *name)
{
    kit.actor = actor;
    kit.list.size = 0;
    kit_add(&kit, (struct change){.operation = CHANGE_SET,
                                  .name = kit_name(name),
                                  .value = bytes_of("0123456789012345678901234567890", 31)});
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit.now_ms++;
}

static int log_record(uint8_t kind, struct bytes body)
{
    lsn += 100;
    return archive_feed_record(&feed, lsn, kind, 77, body);
}

static int log_delta(void)
{
    return log_record(LOG_DELTA, buffer_bytes(&kit.written.delta));
}

static int log_full(void)
{
    return log_record(LOG_FULL, buffer_bytes(&kit.record));
}

static uint64_t settle(void)
{
    uint64_t to = lsn + 100;

    assert_int_equal(archive_feed_settle(&feed, &shard.source, &to), 0);
    return to;
}

/* Kinds of the records in the object, in their order: "FD" are a whole one and a delta. */
static void check_object(const char *expected)
{
    struct archive_reader reader;
    struct bytes object = {0};
    struct buffer raw = {.memory = &memory.memory};
    char kinds[NAMES_MAX + 1] = "";
    size_t count = 0;
    uint64_t tail;

    assert_int_equal(archive_writer_make(&writer, &object), 0);
    archive_reader_init(&reader, &memory.memory, NULL);
    assert_int_equal(archive_reader_open(&reader, object, object.size, &tail), 0);
    for (uint32_t i = 0; i < reader.block_count; i++) {
        struct archive_walk walk;
        struct archive_record record;
        struct bytes stored =
            bytes_of(object.data + reader.blocks[i].offset, reader.blocks[i].size);
        assert_int_equal(archive_reader_block(&reader, i, stored, &raw), 0);
        archive_walk_init(&walk, &reader.blocks[i], buffer_bytes(&raw));
        while (archive_walk_next(&walk, &record) == 1) {
            assert_true(count < NAMES_MAX);
            assert_int_equal(record.position, 77);
            kinds[count++] = record.kind == LOG_FULL ? 'F' : record.kind == LOG_DELTA ? 'D' : 'B';
            kinds[count] = '\0';
        }
    }
    assert_string_equal(kinds, expected);
    buffer_fini(&raw);
    archive_reader_fini(&reader);
}

static void test_own_records_and_deltas_on_them(void **state)
{
    (void)state;
    write_as(own, "a");
    assert_int_equal(log_full(), 0);
    write_as(own, "b");
    assert_int_equal(log_delta(), 0);
    assert_int_equal(settle(), lsn + 100);
    assert_int_equal(shard.asked, 0);
    check_object("FD");
    begin_object(false); /* In the next object it builds on that one. */
    write_as(own, "c");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    check_object("D");
    assert_int_equal(shard.asked, 0);
}

static void test_delta_on_what_never_went(void **state)
{
    (void)state;
    write_as(own, "a");
    for (int i = 0; i < 3; i++) {
        write_as(own, "b");
        assert_int_equal(log_delta(), 0);
    }
    (void)settle();
    assert_int_equal(shard.asked, 1); /* Once for all of them. */
    check_object("F");
    begin_object(false);
    write_as(own, "c");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    check_object("D");
    begin_object(true); /* What went is not there. */
    write_as(own, "d");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    check_object("F");
}

/* The object is needed until all of these were seen up to where the session has them. */
static void check_spans(const struct actor actors[], uint32_t count)
{
    struct archive_reader reader;
    struct bytes object = {0};
    struct record opened;
    uint64_t tail;

    assert_int_equal(archive_writer_make(&writer, &object), 0);
    archive_reader_init(&reader, &memory.memory, NULL);
    assert_int_equal(archive_reader_open(&reader, object, object.size, &tail), 0);
    assert_int_equal(record_open_head(&opened, buffer_bytes(&kit.record), RECORD_FORMAT), 0);
    assert_int_equal(reader.slot_count, 1);
    assert_int_equal(reader.slots[0].span_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct archive_span *span = &reader.slots[0].spans[i];
        struct version_walk walk = version_walk(&opened.version);
        struct version_item item = {0};
        while (actor_compare(item.actor, actors[i]) != 0) {
            assert_true(version_next(&walk, &item));
        }
        assert_int_equal(actor_compare(span->actor, actors[i]), 0);
        assert_int_equal(span->newest_hlc, item.hlc);
    }
    archive_reader_fini(&reader);
}

/* A session that goes whole has more than its newest stamp tells: the change that it goes for, and what is of others. */
static void test_all_of_a_whole_one_counts(void **state)
{
    const struct actor third = {3, 1}, all[] = {own, other, third};

    (void)state;
    write_as(third, "a");
    write_as(own, "b");
    assert_int_equal(log_delta(), 0);
    write_as(other, "c"); /* Comes just then. */
    (void)settle();
    check_object("F");
    check_spans(all, 3);
    begin_object(true);
    write_as(own, "d");
    assert_int_equal(log_full(), 0);
    check_object("F");
    check_spans(all, 3);
}

/* And what this node did in an earlier life, which it lost in a crash and has again from others. */
static void test_an_earlier_life_counts(void **state)
{
    const struct actor both[] = {before, own};

    (void)state;
    write_as(before, "a");
    write_as(own, "b");
    assert_int_equal(log_full(), 0);
    check_object("F");
    check_spans(both, 2);
}

/* What it builds on may have been in what is missing. */
static void test_behind_a_gap(void **state)
{
    (void)state;
    write_as(own, "a");
    assert_int_equal(log_full(), 0);
    (void)settle();
    check_object("F");
    begin_object(false);
    write_as(own, "b"); /* This one is given up. */
    archive_feed_lost(&feed);
    write_as(own, "c");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    assert_int_equal(shard.asked, 1);
    check_object("F");
}

/* What others stamped they archive, perhaps; so nothing may build on it here. */
static void test_others(void **state)
{
    (void)state;
    write_as(own, "a");
    assert_int_equal(log_full(), 0);
    write_as(other, "b");
    assert_int_equal(log_full(), 0);
    (void)settle();
    check_object("F");
    begin_object(false);
    write_as(own, "c");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    assert_int_equal(shard.asked, 1);
    check_object("F");
    begin_object(false);
    write_as(other, "d");
    assert_int_equal(log_delta(), 0);
    write_as(other, "e");
    assert_int_equal(log_full(), 0);
    (void)settle();
    check_object("");
    write_as(adopted, "f"); /* Of another cluster: nobody else here does. */
    assert_int_equal(log_full(), 0);
    check_object("F");
}

static const struct archive_feed_note *note_of(size_t index)
{
    assert_true((index + 1) * sizeof(struct archive_feed_note) <= feed.notes.size);
    return (const struct archive_feed_note *)(const void *)feed.notes.data + index;
}

/* Where something of others lies is noted, shard by shard; and what this node stamped itself. */
static void test_notes(void **state)
{
    (void)state;
    archive_feed_shard(&feed, 3, 0);
    write_as(own, "a");
    uint64_t own_hlc = kit.written.stamp.hlc;
    assert_int_equal(log_full(), 0);
    for (int i = 0; i < 2; i++) {
        write_as(other, "b");
        assert_int_equal(log_delta(), 0);
    }
    assert_int_equal(feed.own_hlc, own_hlc);
    assert_int_equal(feed.notes.size, sizeof(struct archive_feed_note));
    assert_int_equal(note_of(0)->shard, 3);
    assert_int_equal(actor_compare(note_of(0)->actor, other), 0);
    assert_int_equal(note_of(0)->first_lsn, 200);
    assert_int_equal(note_of(0)->last_lsn, 300);
    assert_int_equal(note_of(0)->newest_hlc, kit.written.stamp.hlc);
    archive_feed_shard(&feed, 4, 0);
    assert_int_equal(feed.own_hlc, 0);
    write_as(other, "c");
    assert_int_equal(log_full(), 0);
    write_as(adopted,
             "d"); /* Of another cluster: it goes as if it were its own, and nobody waits for it. */
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.notes.size, 2 * sizeof(struct archive_feed_note));
    assert_int_equal(note_of(1)->shard, 4);
    write_as(other_before, "e"); /* Another life of it. */
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.notes.size, 3 * sizeof(struct archive_feed_note));
    assert_int_equal(actor_compare(note_of(2)->actor, other_before), 0);
    begin_object(false);
    assert_int_equal(feed.notes.size, 0);
}

/* What a node that does not archive it stamped above some hlc: whole. What lies before it is this node's own, and there. */
static void test_taken(void **state)
{
    (void)state;
    write_as(other, "a");
    taken[0] = (struct archive_feed_taken){{9, 1}, 0};
    taken[1] = (struct archive_feed_taken){other, kit.written.stamp.hlc};
    taken_count = 2;
    begin_object(false);
    archive_feed_shard(&feed, 0, 700);
    assert_int_equal(log_full(), 0); /* At LSN 100: not above it. */
    write_as(own, "b");
    assert_int_equal(log_full(), 0);
    assert_int_equal(log_record(LOG_BURY, buffer_bytes(&kit.record)), 0);
    (void)settle();
    assert_int_equal(feed.taken_records, 0);
    check_object("");
    write_as(other, "c");
    assert_int_equal(log_full(), 0);
    assert_int_equal(log_record(LOG_BURY, buffer_bytes(&kit.record)), 0);
    check_object("FB");
    assert_int_equal(feed.taken_records, 2);
    begin_object(false);
    archive_feed_shard(&feed, 0, 700);
    write_as(other, "d");
    assert_int_equal(log_delta(), 0);
    (void)settle();
    assert_int_equal(shard.asked, 1);
    assert_int_equal(feed.taken_records, 1);
    check_object("F");
    write_as(own,
             "e"); /* LSN 700: it goes; and whole, as what another node stamped came in between. */
    assert_int_equal(log_delta(), 0);
    (void)settle();
    assert_int_equal(shard.asked, 2);
    check_object("FF");
}

/* Another life of who is taken is not; of the rest all are, but what is archived of those that are told. */
static void test_lives_and_the_rest(void **state)
{
    (void)state;
    write_as(other_before, "a");
    taken[0] = (struct archive_feed_taken){other, 0};
    taken_count = 1;
    begin_object(false);
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.taken_records, 0);
    taken[1] = (struct archive_feed_taken){{0, 0}, 0};
    taken[2] = (struct archive_feed_taken){other_before, kit.written.stamp.hlc};
    taken_count = 2;
    begin_object(false);
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.taken_records, 1);
    check_object("F");
    taken_count = 3;
    begin_object(false);
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.taken_records, 0);
    write_as(other_before, "b");
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.taken_records, 1);
}

/* What an earlier life of this node stamped goes, as it is in this log; but this one tells of its own stamps alone. */
static void test_life_before(void **state)
{
    (void)state;
    write_as(before, "a");
    assert_int_equal(log_full(), 0);
    assert_int_equal(feed.own_hlc, 0);
    assert_int_equal(feed.notes.size, 0);
    write_as(own, "b");
    assert_int_equal(log_delta(), 0);
    uint64_t own_hlc = kit.written.stamp.hlc;
    assert_int_equal(feed.own_hlc, own_hlc);
    write_as(before, "c"); /* It comes back from another node. */
    assert_int_equal(log_delta(), 0);
    assert_int_equal(feed.own_hlc, own_hlc);
    (void)settle();
    check_object("FDD");
}

static void test_what_does_not_go(void **state)
{
    uint8_t touch[] = {1, 'k', 'e', 'y'};

    (void)state;
    write_as(own, "a");
    assert_int_equal(log_record(LOG_TOUCH, bytes_of(touch, sizeof touch)), 0);
    assert_int_equal(log_record(LOG_DROP, buffer_bytes(&kit.record)), 0);
    assert_int_equal(log_record(LOG_FULL, bytes_of("garbage", 7)), -EBADMSG);
    (void)settle();
    check_object("");
    assert_int_equal(log_record(LOG_BURY, buffer_bytes(&kit.record)), 0);
    check_object("B");
}

static void test_batch(void **state)
{
    uint8_t batch[8192], *end = batch;

    (void)state;
    write_as(own, "a");
    end =
        log_batch_item_put(end, &(struct log_batch_item){LOG_FULL, 77, buffer_bytes(&kit.record)});
    write_as(own, "b");
    end = log_batch_item_put(
        end, &(struct log_batch_item){LOG_DELTA, 77, buffer_bytes(&kit.written.delta)});
    assert_int_equal(log_record(LOG_BATCH, bytes_of(batch, (size_t)(end - batch))), 0);
    (void)settle();
    check_object("FD");
}

/* A session that left: its changes go all the same. One that cannot be told of yet: the log goes no further. */
static void test_answers(void **state)
{
    (void)state;
    write_as(own, "a");
    write_as(own, "b");
    shard.found = ARCHIVE_FEED_NONE;
    assert_int_equal(log_delta(), 0);
    write_as(own, "c");
    assert_int_equal(log_delta(), 0);
    assert_int_equal(settle(), lsn + 100);
    assert_int_equal(feed.baseless, 2);
    check_object("DD");
    begin_object(false);
    shard.found = ARCHIVE_FEED_UNKNOWN;
    write_as(own, "d");
    assert_int_equal(log_delta(), 0);
    uint64_t first = lsn;
    write_as(own, "e");
    assert_int_equal(log_delta(), 0);
    assert_int_equal(settle(), first);
    check_object("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own_records_and_deltas_on_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delta_on_what_never_went, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_of_a_whole_one_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_earlier_life_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_behind_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lives_and_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_life_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
