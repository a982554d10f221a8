/* A record here is: size of the key, the key, and bytes that follow from a number. */
#include <stdio.h>

#include "check.h"
#include "keeper.h"
#include "random.h"

enum { KEYS = 3000, RECORD_MAX = 70000, SCANS = 3 };

struct model {
    bool there;
    uint32_t size;
    uint8_t fill;
    uint64_t position;
    uint64_t since; /* Step of its last appearance. */
    uint64_t visited[SCANS];
};

static struct model models[KEYS];
static struct keeper *keeper;
static struct test_memory port;
static uint64_t seed;
static const char *key_format;
static uint8_t scratch[RECORD_MAX + 100];

static size_t key_bytes_seen = SIZE_MAX; /* Less of a key makes positions equal. */

static struct bytes key_of(struct bytes record)
{
    size_t size = record.data[0];

    assert_true(record.size > size);
    return bytes_of(record.data + 1, size < key_bytes_seen ? size : key_bytes_seen);
}

static struct bytes key_in(uint32_t number, char buffer[64])
{
    return bytes_of(buffer, (size_t)snprintf(buffer, 64, key_format, number));
}

static struct bytes key(uint32_t number)
{
    static char buffer[64];

    return key_in(number, buffer);
}

static struct bytes make_record(uint32_t number, uint32_t size, uint8_t fill)
{
    char buffer[64];
    struct bytes own = key_in(number, buffer);
    uint32_t whole = (uint32_t)own.size + 5 + size;

    scratch[0] = (uint8_t)own.size;
    memcpy(scratch + 1, own.data, own.size);
    store_u32(scratch + 1 + own.size, number);
    memset(scratch + 5 + own.size, fill, size);
    return bytes_of(scratch, whole);
}

static uint32_t number_of(struct bytes record)
{
    return load_u32(record.data + 1 + record.data[0]);
}

static void start(uint64_t with_seed, const char *with_key_format)
{
    seed = with_seed;
    key_format = with_key_format;
    port = test_memory();
    memset(models, 0, sizeof models);
    for (uint32_t i = 0; i < KEYS; i++) {
        models[i].position = keeper_position(77, key(i));
    }
    assert_int_equal(keeper_create(&port.memory, 77, key_of, &keeper), 0);
}

static void finish(void)
{
    keeper_destroy(keeper);
    assert_int_equal(port.outstanding_bytes, 0);
}

static uint32_t some_size(void)
{
    uint32_t dice = random_below(&seed, 100);

    return random_below(&seed, dice == 0 ? RECORD_MAX : dice < 10 ? 6000 : 400);
}

static bool count_key(void *context, uint64_t position, struct bytes record)
{
    uint32_t *count = context;

    (void)position;
    *count += 1;
    return number_of(record) % 2 == 0;
}

static void check_found(uint32_t number)
{
    const struct model *model = &models[number];
    struct bytes found = keeper_find(keeper, model->position, key(number));
    size_t size = 0;

    assert_bytes_equal(found, make_record(number, model->size, model->fill));
    assert_ptr_equal(keeper_find_mutable(keeper, model->position, key(number), &size), found.data);
    assert_int_equal(size, found.size);
}

static void check(uint32_t number)
{
    const struct model *model = &models[number];
    size_t size = 0;
    uint32_t count = 0;

    keeper_visit(keeper, model->position, count_key, &count);
    assert_int_equal(count, model->there);
    if (model->there) {
        check_found(number);
        return;
    }
    assert_int_equal(keeper_find(keeper, model->position, key(number)).size, 0);
    assert_null(keeper_find_mutable(keeper, model->position, key(number), &size));
}

static void check_all(void)
{
    struct keeper_stats stats;
    uint64_t records = 0, bytes = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        check(i);
        records += models[i].there;
        bytes += models[i].there ? make_record(i, models[i].size, models[i].fill).size : 0;
    }
    keeper_stats(keeper, &stats);
    assert_int_equal(stats.records, records);
    assert_int_equal(stats.record_bytes, bytes);
    assert_int_equal(stats.memory_bytes, port.outstanding_bytes);
}

static int set(uint32_t number, uint32_t size, uint64_t step)
{
    struct model *model = &models[number];
    uint8_t fill = (uint8_t)random_next(&seed);
    int rc = keeper_set(keeper, model->position, make_record(number, size, fill));

    if (rc == 0) {
        model->since = model->there ? model->since : step;
        model->there = true;
        model->size = size;
        model->fill = fill;
    }
    return rc;
}

static void take(uint32_t number)
{
    assert_int_equal(keeper_remove(keeper, models[number].position, key(number)),
                     models[number].there);
    models[number].there = false;
}

/* One of several scans that go on while everything changes. */
struct scan {
    uint32_t number;
    uint64_t cursor, begun, pass;
    uint64_t last; /* Position visited last, in this call or an earlier one. */
    bool any;
    uint32_t left;
};

static bool visit(void *context, uint64_t position, struct bytes record)
{
    struct scan *scan = context;
    struct model *model = &models[number_of(record)];

    assert_true(model->there);
    assert_bytes_equal(key_of(record), key(number_of(record)));
    assert_true(position == model->position && position >= scan->cursor);
    assert_true(!scan->any || position > scan->last);
    assert_int_not_equal(model->visited[scan->number], scan->pass);
    model->visited[scan->number] = scan->pass;
    scan->last = position;
    scan->any = true;
    return --scan->left > 0;
}

/* Who was there all the time has been visited. */
static void end_scan(struct scan *scan, uint64_t step)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        if (models[i].there && models[i].since <= scan->begun) {
            assert_int_equal(models[i].visited[scan->number], scan->pass);
        }
    }
    *scan = (struct scan){.number = scan->number, .begun = step, .pass = scan->pass + 1};
}

static void continue_scan(struct scan *scan, uint64_t step)
{
    uint32_t asked = 1 + random_below(&seed, random_below(&seed, 2) == 0 ? 5 : 1000);

    scan->left = asked;
    uint64_t cursor = keeper_scan(keeper, scan->cursor, visit, scan);
    if (cursor == 0) {
        end_scan(scan, step);
        return;
    }
    assert_int_equal(scan->left, 0);
    assert_true(cursor > scan->last);
    scan->cursor = cursor;
}

static void random_work(uint32_t steps)
{
    struct scan scans[SCANS];

    for (uint32_t i = 0; i < SCANS; i++) {
        scans[i] = (struct scan){.number = i, .pass = 1};
    }
    for (uint64_t step = 1; step <= steps; step++) {
        uint32_t number = random_below(&seed, KEYS), dice = random_below(&seed, 1000);
        bool grow = step / (steps / 6) % 2 == 0;
        check(number);
        if (dice < 10) {
            continue_scan(&scans[random_below(&seed, SCANS)], step);
        } else if (dice < 30) {
            keeper_evacuate(keeper, random_below(&seed, 50000));
        } else if (dice < (grow ? 850u : 400u)) {
            assert_int_equal(set(number, some_size(), step), 0);
        } else {
            take(number);
        }
    }
    for (uint32_t i = 0; i < SCANS; i++) {
        uint64_t pass = scans[i].pass;
        while (scans[i].pass == pass) {
            continue_scan(&scans[i], steps);
        }
        assert_true(pass > 3);
    }
}

static bool is_as_found(void *context, uint64_t position, struct bytes record)
{
    uint32_t *left = context;

    assert_ptr_equal(keeper_find(keeper, position, key_of(record)).data, record.data);
    return --*left > 0;
}

/* A scan shows what is there now, where it is now, whatever came between it and the one before. */
static void test_scan_after_change(void **state)
{
    enum { FIRST = 50 }; /* They lie in one segment. */
    bool more = true;

    (void)state;
    start(9, "session:%u");
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(set(i, 2000, 1), 0);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t left = FIRST;
        if (i % 4 == 0) {
            assert_int_equal(set(i, 1500, 1), 0); /* In another place. */
        } else {
            take(i);
        }
        keeper_scan(keeper, 0, is_as_found, &left);
        assert_int_equal(left, 0);
    }
    while (more) {
        uint32_t left = FIRST;
        more = keeper_evacuate(keeper, 1);
        keeper_scan(keeper, 0, is_as_found, &left);
        assert_int_equal(left, 0);
    }
    finish();
}

/* Against the model: records, scans that miss nothing, evacuation, the counters. */
static void test_random_work(void **state)
{
    (void)state;
    static const char *const formats[] = {"session:%u", "%u", "{tag}%u", "user{7}:%08u:long name"};

    for (uint32_t round = 0; round < 4; round++) {
        start(round, formats[round]);
        random_work(60000);
        check_all();
        while (keeper_evacuate(keeper, 4096)) {
        }
        check_all();
        for (uint32_t i = 0; i < KEYS; i++) {
            take(i);
        }
        while (keeper_evacuate(keeper, 4096)) {
        }
        check_all();
        struct keeper_stats stats;
        keeper_stats(keeper, &stats);
        assert_true(stats.memory_bytes < 5 * 1024 * 1024);
        finish();
    }
}

static void test_position(void **state)
{
    (void)state;
    struct bytes a = text("{tag}a"), b = text("{tag}b");

    assert_int_equal(keeper_position(1, a) >> 50, slot_of_key(a));
    assert_int_equal(keeper_position(1, b) >> 50, slot_of_key(a));
    assert_true(keeper_position(1, a) != keeper_position(1, b));
    assert_true(keeper_position(1, a) != keeper_position(2, a));
    /* Golden: checkpoints and cursors hold positions. */
    assert_int_equal(keeper_position(42, text("session-1")), UINT64_C(0xf8e03611702045a7));
}

/* With no memory for the n-th request: -ENOMEM, every record as before, and it goes on after. */
static void test_faults(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t fail_at = 1; failed; fail_at++) {
        port = test_memory();
        port.fail_at = fail_at;
        if (keeper_create(&port.memory, 77, key_of, &keeper) != 0) {
            assert_int_equal(port.outstanding_bytes, 0);
            continue;
        }
        finish();
        start(11, "{tag}%u");
        port.fail_at = fail_at;
        failed = false;
        for (uint32_t step = 0; step < 4000; step++) {
            uint32_t number = random_below(&seed, KEYS), size = some_size();
            if (step % 4 == 3) {
                take(number);
                keeper_evacuate(keeper, 1000);
                continue;
            }
            int rc = set(number, size, step);
            if (rc != 0) {
                assert_int_equal(rc, -ENOMEM);
                check_all();
                port.fail_at = 0;
                assert_int_equal(set(number, size, step), 0);
                failed = true;
            }
        }
        failed = failed || port.fail_at == 0;
        check_all();
        finish();
    }
}

/* What was reserved is there, also for a record smaller than announced. */
static void test_reserve(void **state)
{
    (void)state;
    uint32_t refused = 0;
    start(12, "%u");
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t number = random_below(&seed, KEYS), size = some_size();
        port.fail_at = random_below(&seed, 2) == 0 ? port.requests + 1 : 0;
        size_t whole = make_record(number, size, 0).size;
        int rc = keeper_reserve(keeper, models[number].position, key(number), whole);
        assert_true(rc == 0 || (rc == -ENOMEM && port.fail_at != 0));
        refused += rc != 0;
        if (rc == 0) {
            port.fail_at = port.requests + 1;
            assert_int_equal(set(number, random_below(&seed, size + 1), step), 0);
        }
        if (step % 3 == 0) {
            take(random_below(&seed, KEYS));
        }
    }
    assert_true(refused > 10);
    check_all();
    finish();
}

static bool stop_at_once(void *context, uint64_t position, struct bytes record)
{
    uint32_t *visited = context;

    (void)position;
    (void)record;
    *visited += 1;
    return false;
}

/* Keys that differ in no bit that we hash: each is found, a scan visits them together, a visit until it
 * is told to stop, and one too many is refused. */
static void test_equal_positions(void **state)
{
    enum { ALIKE = 48 };

    (void)state;
    start(14, "twins%u");
    uint64_t position = keeper_position(77, text("twins"));
    for (uint32_t i = 0; i < ALIKE; i++) {
        models[i].position = position;
        assert_int_equal(set(i, some_size(), 1), 0);
    }
    for (uint32_t i = 0; i < ALIKE; i++) {
        check_found(i);
    }
    key_bytes_seen = 5;
    uint32_t visited = 0;
    uint64_t cursor = keeper_scan(keeper, 0, stop_at_once, &visited);
    assert_int_equal(visited, ALIKE);
    assert_true(cursor == 0 || cursor > position);
    visited = 0;
    keeper_scan(keeper, position, stop_at_once, &visited);
    assert_int_equal(visited, ALIKE);
    visited = 0;
    keeper_visit(keeper, position, stop_at_once, &visited);
    assert_int_equal(visited, 1);
    visited = 0;
    assert_int_equal(keeper_scan(keeper, position + 1, stop_at_once, &visited), 0);
    assert_int_equal(visited, 0);
    struct bytes one_more = make_record(ALIKE, 10, 0);
    scratch[0] = 4; /* Its key is "twin": none of those that are there. */
    assert_int_equal(keeper_set(keeper, position, one_more), -ENOSPC);
    key_bytes_seen = SIZE_MAX;
    check_found(0);
    take(0);
    finish();
}

/* After 70 % have gone at random, evacuation brings what is held near what is live: the slack is 15 %,
 * and an area or two. */
static void test_memory_goes_back(void **state)
{
    enum { MANY = 150000 };
    struct keeper_stats stats;

    (void)state;
    start(13, "session:%08u");
    for (uint32_t i = 0; i < MANY; i++) {
        uint64_t position = keeper_position(77, key(i));
        assert_int_equal(keeper_set(keeper, position, make_record(i, 540, 1)), 0);
    }
    keeper_stats(keeper, &stats);
    print_message("%u records of %u bytes, held %u each\n", (unsigned)stats.records,
                  (unsigned)(stats.record_bytes / stats.records),
                  (unsigned)(stats.memory_bytes / stats.records));
    assert_true(stats.memory_bytes < stats.record_bytes + 14 * stats.records + 2048 * 1024);
    for (uint32_t i = 0; i < MANY; i++) {
        if (random_below(&seed, 10) < 7) {
            assert_true(keeper_remove(keeper, keeper_position(77, key(i)), key(i)));
        }
    }
    while (keeper_evacuate(keeper, 4096)) {
    }
    keeper_stats(keeper, &stats);
    print_message("%u records, %u bytes each, held %u\n", (unsigned)stats.records,
                  (unsigned)(stats.record_bytes / stats.records),
                  (unsigned)(stats.memory_bytes / stats.records));
    assert_true(stats.moved > 1000);
    assert_true(stats.memory_bytes < stats.record_bytes / 100 * 115 + 2 * 2048 * 1024);
    finish();
}

/* ---- The clock ---- */

static bool used[KEYS], swept[KEYS];

static void sweep_visit(void *context, uint64_t position, struct bytes record)
{
    uint32_t number = number_of(record);
    uint64_t *last = context;

    assert_true(position >= *last && position == models[number].position);
    *last = position;
    assert_false(swept[number]);
    swept[number] = true;
}

/* One round of the hand, in steps; returns how many marks it found. */
static uint32_t sweep_round(uint32_t step)
{
    uint64_t cursor = 0, last = 0;
    uint32_t marked = 0;

    memset(swept, 0, sizeof swept);
    do {
        cursor = keeper_sweep(keeper, cursor, step, sweep_visit, &last, &marked);
    } while (cursor != 0);
    return marked;
}

/* Marks stay with their records through changes of size, moves and other records' ends. */
static void test_clock(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {20, 200, 900, 1500, 9000, 60000};
    uint64_t random = 5;

    start(1, "key-%u");
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t size = sizes[random_below(&random, 6)];
        assert_int_equal(keeper_set(keeper, models[i].position, make_record(i, size, 1)), 0);
    }
    for (uint32_t round = 0; round < 6; round++) {
        uint32_t marked = 0, there = 0;
        memset(used, 0, sizeof used);
        for (uint32_t i = 0; i < KEYS; i++) {
            bool lives = keeper_find(keeper, models[i].position, key(i)).size > 0;
            if (lives && random_below(&random, 2) == 0) {
                assert_true(keeper_use(keeper, models[i].position, key(i)).size > 0);
                used[i] = true;
            }
        }
        for (uint32_t i = 0; i < KEYS; i++) {
            uint32_t size = sizes[random_below(&random, 6)];
            if (random_below(&random, 5) == 0) {
                keeper_remove(keeper, models[i].position, key(i));
                used[i] = false;
            } else if (random_below(&random, 2) == 0) {
                struct bytes record = make_record(i, size, 2);
                assert_int_equal(keeper_set(keeper, models[i].position, record), 0);
            }
        }
        while (keeper_evacuate(keeper, 1 << 20)) {
        }
        for (uint32_t i = 0; i < KEYS; i++) {
            there += keeper_find(keeper, models[i].position, key(i)).size > 0;
            marked += used[i];
        }
        assert_int_equal(sweep_round(1 + random_below(&random, 700)), marked);
        for (uint32_t i = 0; i < KEYS; i++) {
            bool lives = keeper_find(keeper, models[i].position, key(i)).size > 0;
            assert_int_equal(swept[i], lives && !used[i]);
        }
        assert_int_equal(sweep_round(KEYS), 0);
        for (uint32_t i = 0; i < KEYS; i++) {
            there -= swept[i];
        }
        assert_int_equal(there, 0);
    }
    struct keeper_stats stats;
    keeper_stats(keeper, &stats);
    assert_in_range(stats.used_bytes, stats.record_bytes, stats.memory_bytes);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_position),        cmocka_unit_test(test_random_work),
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_equal_positions), cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_clock),           cmocka_unit_test(test_scan_after_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
