/* Fetching from the checkpoint on a thread of its own, while another changes it in place, builds it afresh,
 * grows its map and closes it. */
#include <pthread.h>
#include <stdatomic.h>

#include "checkpoint.h"
#include "store_kit.h"

enum { KEYS = 1500, SEGMENT = 256 * 1024, ROUNDS = 40, FOUND_EACH = 26 };

static struct store_kit kit;

struct fetcher {
    pthread_t thread;
    atomic_bool stopping;
    uint64_t random;
    _Atomic uint64_t fetches, found;
    uint64_t newest[KEYS]; /* Of what was fetched of each key. */
    _Atomic int rc;
};

static struct fetcher fetcher;

struct found {
    uint32_t number;
    bool there;
};

/* What was committed is whole, of the right session, and never older than what was seen before. A session
 * that was buried and begun anew is newer, too. */
static int visit(void *context, struct bytes record)
{
    struct found *found = context;

    if (session_check(record) != 0 || kit_number(&kit, session_key(record)) != found->number) {
        return -EBADMSG;
    }
    uint64_t hlc = session_newest_hlc(record);
    if (hlc < fetcher.newest[found->number]) {
        return -ESTALE;
    }
    fetcher.newest[found->number] = hlc;
    found->there = true;
    return 0;
}

static void *fetch_main(void *context)
{
    struct checkpoint *checkpoint = store_checkpoint(kit.store);
    char text[16];

    (void)context;
    while (!atomic_load(&fetcher.stopping) && fetcher.rc == 0) {
        struct found found = {.number = random_below(&fetcher.random, KEYS)};
        uint64_t position = keeper_position(KIT_SEED, kit_key(found.number, text));
        fetcher.rc = checkpoint_fetch(checkpoint, position, visit, &found);
        fetcher.found += found.there;
        fetcher.fetches++;
    }
    return NULL;
}

static void begin_fetching(void)
{
    memset(&fetcher, 0, sizeof fetcher);
    fetcher.random = 3;
    assert_int_equal(pthread_create(&fetcher.thread, NULL, fetch_main, NULL), 0);
}

/* However late its thread comes to run. */
static void await_found(uint64_t found)
{
    while (atomic_load(&fetcher.found) < found) {
        assert_int_equal(atomic_load(&fetcher.rc), 0);
        usleep(100);
    }
}

static void end_fetching(void)
{
    atomic_store(&fetcher.stopping, true);
    pthread_join(fetcher.thread, NULL);
    assert_int_equal(fetcher.rc, 0);
}

static int compare_one(void *context, struct bytes record)
{
    struct bytes *found = context;

    assert_true(bytes_equal(record, *found));
    found->size = 0;
    return 0;
}

/* The checkpoint has exactly what was written. */
static void check_all(void)
{
    char text[16];

    for (uint32_t i = 0; i < KEYS; i++) {
        struct bytes left = buffer_bytes(&kit.present[i]);
        uint64_t position = keeper_position(KIT_SEED, kit_key(i, text));
        assert_int_equal(
            checkpoint_fetch(store_checkpoint(kit.store), position, compare_one, &left), 0);
        assert_int_equal(left.size, 0);
    }
}

static void test_beside_everything(void **state)
{
    (void)state;
    store_kit_init(&kit, KEYS, SEGMENT);
    kit.options.map_bytes = 1; /* The least: it grows all the time. */
    assert_int_equal(kit_open_store(&kit), 0);
    begin_fetching();
    for (int round = 0; round < ROUNDS; round++) {
        kit.value_bytes = 100 + (uint32_t)round * 40; /* Larger, so that the map grows. */
        kit_live(&kit, round % 3 == 0 ? 3000 : 40);   /* Afresh; in place. */
        assert_int_equal(kit_take_segment(&kit), 0);
        assert_int_equal(store_compact(kit.store), 0);
        await_found((uint64_t)(round + 1) * FOUND_EACH);
    }
    end_fetching();
    print_message("%lu fetches, %lu found\n", (unsigned long)fetcher.fetches,
                  (unsigned long)fetcher.found);
    assert_true(fetcher.found > 1000);
    check_all();
    kit_reopen_and_check(&kit);
    check_all();
    store_kit_fini(&kit);
}

/* A process that dies leaves LMDB's lock file behind, with its readers in it. */
static void test_a_left_lock_file(void **state)
{
    char path[PATH_BYTES_MAX];
    static uint8_t rubbish[8192];

    (void)state;
    store_kit_init(&kit, KEYS, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 5000);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    check_all();
    store_kit_close(&kit);
    memset(rubbish, 0xa5, sizeof rubbish);
    snprintf(path, sizeof path, "%s/checkpoint-0000000001/lock.mdb", kit.directory);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(rubbish, 1, sizeof rubbish, file), sizeof rubbish);
    fclose(file);
    assert_int_equal(kit_open_store(&kit), 0);
    check_all();
    kit_live(&kit, 20);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    check_all();
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside_everything),
        cmocka_unit_test(test_a_left_lock_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
