/* The loader on a real directory: everything comes, what is asked for comes whole and before the rest, whatever
 * the log and its indexes look like. */
#include <stdatomic.h>

#include "load.h"
#include "loader.h"
#include "segment_pool.h"
#include "store_kit.h"

enum { SEGMENT = 256 * 1024 };

static struct store_kit kit;
static struct loader_port *loader;
static _Atomic uint32_t wakes;

static void wake(void *context)
{
    (void)context;
    atomic_fetch_add(&wakes, 1);
}

static uint64_t position_of(uint32_t number)
{
    char text[16];

    return keeper_position(kit.seed, kit_key(number, text));
}

/* What the shard does with a record, but for what it has fetched. */
static void take_in(struct load_block *block, const bool fetched[])
{
    struct bytes body;
    uint32_t kind;

    while (load_next(block, &kind, &body)) {
        uint32_t number =
            kit_number(&kit, log_record_key(kind == LOAD_STORED ? LOG_FULL : kind, body));
        assert_true(number < kit.key_count);
        if (fetched[number]) {
            continue;
        }
        int rc = kit.sink.give(&kit.sink, kind, body);
        if (rc == -ESTALE && block->fetched) {
            continue; /* Given once more after its burial, which the shard remembers to the end. */
        }
        if (rc != 0) {
            loader->tell(loader, kind, body, rc);
        }
    }
}

static bool is_as_written(uint32_t number)
{
    return bytes_equal(buffer_bytes(&kit.present[number]), buffer_bytes(&kit.restored[number]));
}

static uint32_t waiting_blocks(void)
{
    struct loader *inside = (struct loader *)(void *)loader;

    pthread_mutex_lock(&inside->lock);
    uint32_t count = inside->block_count;
    pthread_mutex_unlock(&inside->lock);
    return count;
}

/* Nobody takes what was asked for: there are never more than so many blocks. */
static void wait_for_full_queue(void)
{
    while (waiting_blocks() < LOADER_FETCHED_MAX) {
        usleep(100);
    }
    for (int i = 0; i < 100; i++) {
        assert_in_range(waiting_blocks(), LOADER_FETCHED_MAX, LOADER_FETCHED_MAX + 1);
        usleep(100);
    }
}

/* Open, and load everything, asking for one key in `every` on the way; the first `ahead` before it begins. */
static void load_after(uint32_t every, uint32_t ahead)
{
    static bool fetched[STORE_KIT_KEYS_MAX];
    char message[256];
    uint64_t hlc = 0;
    bool work = false, over = false;
    uint32_t asked = 0, came = 0;

    memset(fetched, 0, sizeof fetched);
    store_kit_close(&kit);
    kit_forget_restored(&kit);
    kit.tail_size = kit.staged = 0;
    assert_int_equal(store_open(&kit.options, &kit.store, message, sizeof message), 0);
    assert_int_equal(store_prepare(kit.store, &kit.lsn, &hlc, &work), 0);
    assert_true(work);
    loader = store_loader(kit.store);
    uint32_t number = 0;
    while (asked < ahead) {
        assert_int_equal(loader->fetch(loader, position_of(number), false), 0);
        asked++;
        number += every;
    }
    assert_int_equal(loader->start(loader, wake, NULL), 0);
    if (ahead > LOADER_FETCHED_MAX) {
        wait_for_full_queue();
    }
    while (!over || came < asked) {
        if (every != 0 && number < kit.key_count && random_below(&kit.random, 2) == 0) {
            if (loader->pending(loader, position_of(number))) {
                assert_int_equal(loader->fetch(loader, position_of(number), false), 0);
                asked++;
            } else {
                assert_true(fetched[number] || is_as_written(number));
            }
            number += every;
        }
        struct load_block *block = loader->take(loader, &over);
        if (block == NULL) {
            usleep(100);
            continue;
        }
        take_in(block, fetched);
        if (block->complete) {
            came++;
            for (uint32_t i = 0; i < kit.key_count; i++) {
                if (position_of(i) == block->position) {
                    assert_true(is_as_written(i));
                    fetched[i] = true;
                }
            }
        }
        loader->give_back(loader, block);
    }
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_false(loader->pending(loader, position_of(i)));
        assert_true(session_newest_stamp(buffer_bytes(&kit.present[i])) <= hlc);
    }
    assert_true(every == 0 || came > 0);
    assert_true(atomic_load(&wakes) > 0);
    loader->finish(loader);
    assert_int_equal(kit_differences(&kit), 0);
}

/* One at least comes before its turn, however fast the rest is. */
static void load_all(uint32_t every)
{
    load_after(every, every != 0);
}

static int begin(void **state)
{
    (void)state;
    store_kit_init(&kit, 1000, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    store_kit_fini(&kit);
    return 0;
}

static void write_indexes(void)
{
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
}

static void expect_no_reports(void)
{
    for (enum store_event event = 0; event <= STORE_LOG_BASELESS; event++) {
        assert_int_equal(kit.reports[event], 0);
    }
}

static void test_log_alone(void **state)
{
    (void)state;
    kit_live(&kit, 20000);
    load_all(0);
    load_all(3);
    expect_no_reports();
}

static void test_log_with_indexes(void **state)
{
    (void)state;
    kit_live(&kit, 20000);
    write_indexes();
    load_all(1);
    expect_no_reports();
}

static void test_many_asked_for(void **state)
{
    (void)state;
    kit_live(&kit, 20000);
    write_indexes();
    load_after(1, 3 * LOADER_FETCHED_MAX);
    expect_no_reports();
}

/* A checkpoint, and log before and after it in one segment. */
static void touch_all(void)
{
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_true(kit.present[i].size == 0 || kit_touch(&kit, i) == 0);
    }
    kit_flush(&kit);
}

static void test_checkpoint_and_log(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        kit.options.records_max = 3000; /* It ends within a segment. */
        kit_live(&kit, 8000);
        write_indexes();
        store_kit_close(&kit);
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(store_compact(kit.store), 0);
        kit_live(&kit, 3000);
        write_indexes();
        touch_all(); /* Newer than any stamp. */
        load_all(2);
        load_all(0);
    }
    expect_no_reports();
}

/* Changes the first byte of every index. */
static int damage_index(void *context, const char *name)
{
    char path[PATH_BYTES_MAX];
    size_t size = strlen(name);

    if (size > 4 && strcmp(name + size - 4, ".idx") == 0) {
        snprintf(path, sizeof path, "%s/%s", kit.directory, name);
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, "?", 1, 0), 1);
        close(fd);
        ++*(uint32_t *)context;
    }
    return 0;
}

static void test_damaged_indexes_cost_time_only(void **state)
{
    uint32_t damaged = 0;

    (void)state;
    kit_live(&kit, 20000);
    write_indexes();
    assert_int_equal(files_list(kit.directory, damage_index, &damaged), 0);
    assert_true(damaged > 2);
    load_all(2);
    expect_no_reports();
}

/* More log than memory has room for is compacted first; what there is to give is the checkpoint. */
static void test_much_log_is_compacted_first(void **state)
{
    struct store_stats stats;

    (void)state;
    for (int round = 0; round < 3; round++) {
        kit_live(&kit, 20000);
        write_indexes();
        kit.options.load_bytes_max = round == 1 ? UINT64_C(1) << 40 : 64 * 1024;
        load_all(3);
        expect_no_reports();
        store_stats(kit.store, &stats);
        assert_int_equal(stats.checkpoint_lsn == kit.lsn, round != 1);
        loader->stop(loader);
        kit_reopen_and_check(&kit);
    }
}

/* Opens the store once more, with something to load. */
static void open_to_load(void)
{
    char message[256];
    uint64_t hlc;
    bool work;

    kit.files.stay_failed = false;
    kit.files.fail_at = 0;
    kit_live(&kit, 20000);
    write_indexes();
    store_kit_close(&kit);
    kit_forget_restored(&kit);
    assert_int_equal(store_open(&kit.options, &kit.store, message, sizeof message), 0);
    assert_int_equal(store_prepare(kit.store, &kit.lsn, &hlc, &work), 0);
    loader = store_loader(kit.store);
}

/* The disk fails once: it is told, and everything comes all the same. */
static void test_a_failed_read_is_tried_again(void **state)
{
    bool over = false;
    static const bool none[STORE_KIT_KEYS_MAX];

    (void)state;
    open_to_load();
    kit.files.fail_at = kit.files.operations + 3;
    assert_int_equal(loader->start(loader, wake, NULL), 0);
    while (!over) {
        struct load_block *block = loader->take(loader, &over);
        if (block != NULL) {
            take_in(block, none);
            loader->give_back(loader, block);
        } else {
            usleep(1000);
        }
    }
    loader->finish(loader);
    assert_int_equal(kit.reports[STORE_FAILED], 1);
    assert_int_equal(kit_differences(&kit), 0);
}

/* The disk fails for long: that is told, and what is asked for is given up, until it works. */
static void test_failing_for_long(void **state)
{
    static const bool none[STORE_KIT_KEYS_MAX];
    bool over = false;
    uint32_t given_up = 0;

    (void)state;
    open_to_load();
    kit.files.stay_failed = true;
    kit.files.fail_at = kit.files.operations + 1;
    assert_int_equal(loader->start(loader, wake, NULL), 0);
    for (uint32_t number = 0; number < 5; number++) {
        assert_int_equal(loader->fetch(loader, position_of(number), false), 0);
    }
    while (given_up < 5 || !loader->failing(loader)) {
        struct load_block *block = loader->take(loader, &over);
        if (block == NULL) {
            usleep(1000);
            continue;
        }
        if (block->error != 0) {
            assert_int_equal(block->position, position_of(given_up));
            assert_true(block->fetched && !block->complete);
            given_up++;
        }
        take_in(block, none);
        loader->give_back(loader, block);
    }
    __atomic_store_n(&kit.files.fail_at, 0, __ATOMIC_RELAXED);
    while (!over) {
        struct load_block *block = loader->take(loader, &over);
        if (block != NULL) {
            take_in(block, none);
            loader->give_back(loader, block);
        } else {
            usleep(1000);
        }
    }
    assert_false(loader->failing(loader));
    loader->finish(loader);
    kit.files.stay_failed = false;
    assert_int_equal(kit_differences(&kit), 0);
}

/* Take what comes until the answer to what was asked of a position, 8 seconds at most. Returns whether it came. */
static bool comes(uint64_t position)
{
    static const bool none[STORE_KIT_KEYS_MAX];
    bool over = false, came = false;

    for (uint32_t waits = 0; !came && waits < 8000;) {
        struct load_block *block = loader->take(loader, &over);
        if (block == NULL) {
            usleep(1000);
            waits++;
            continue;
        }
        came =
            block->fetched && block->position == position && (block->complete || block->error != 0);
        take_in(block, none);
        loader->give_back(loader, block);
    }
    return came;
}

/* What must be read, and does not, holds up nothing that is asked for behind it. */
static void test_a_must_that_does_not_read(void **state)
{
    (void)state;
    open_to_load();
    kit.files.stay_failed = true;
    kit.files.fail_at = kit.files.operations + 1;
    assert_int_equal(loader->start(loader, wake, NULL), 0);
    assert_int_equal(loader->fetch(loader, position_of(0), true), 0);
    assert_int_equal(loader->fetch(loader, position_of(1), false), 0);
    assert_true(comes(position_of(1)));
    kit.files.stay_failed = false;
    __atomic_store_n(&kit.files.fail_at, 0, __ATOMIC_RELAXED);
    assert_true(comes(position_of(0)));
}

/* One read fails, whichever: what was asked for comes, though nothing else is asked for. */
static void test_a_fetch_that_failed_once_comes(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 12; n++) {
        open_to_load();
        kit.files.fail_at = kit.files.operations + n;
        assert_int_equal(loader->fetch(loader, position_of(0), false), 0);
        assert_int_equal(loader->start(loader, wake, NULL), 0);
        assert_true(comes(position_of(0)));
        loader->stop(loader);
    }
}

/* Given up at any time, with blocks taken and blocks in the queue. */
static void test_stopped_early(void **state)
{
    (void)state;
    kit_live(&kit, 20000);
    for (int round = 0; round < 20; round++) {
        char message[256];
        uint64_t hlc;
        bool work, over = false;
        store_kit_close(&kit);
        assert_int_equal(store_open(&kit.options, &kit.store, message, sizeof message), 0);
        assert_int_equal(store_prepare(kit.store, &kit.lsn, &hlc, &work), 0);
        loader = store_loader(kit.store);
        assert_int_equal(loader->start(loader, wake, NULL), 0);
        for (int i = 0; i < round; i++) {
            loader->fetch(loader, position_of((uint32_t)i), false);
            struct load_block *block = loader->take(loader, &over);
            if (block != NULL) {
                loader->give_back(loader, block);
            }
        }
        assert_int_equal(store_start(kit.store), 0); /* Compacts nothing meanwhile. */
        usleep((useconds_t)random_below(&kit.random, 2000));
        store_stop(kit.store);
        struct store_stats stats;
        store_stats(kit.store, &stats);
        assert_int_equal(stats.checkpoints, 0);
    }
    load_all(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_log_with_indexes, begin, end),
        cmocka_unit_test_setup_teardown(test_many_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_checkpoint_and_log, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_indexes_cost_time_only, begin, end),
        cmocka_unit_test_setup_teardown(test_much_log_is_compacted_first, begin, end),
        cmocka_unit_test_setup_teardown(test_failing_for_long, begin, end),
        cmocka_unit_test_setup_teardown(test_a_must_that_does_not_read, begin, end),
        cmocka_unit_test_setup_teardown(test_a_fetch_that_failed_once_comes, begin, end),
        cmocka_unit_test_setup_teardown(test_a_failed_read_is_tried_again, begin, end),
        cmocka_unit_test_setup_teardown(test_stopped_early, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
