/* The machine goes down: the staging's pages are of any age. What was durable is there, and what comes after
 * it, if anything, is what came then. BELAY_LIVES says how often. */
#include "crc32c.h"
#include "staging_life.h"

enum { SNAPSHOTS = 4, HISTORY_MAX = 100000 };

static uint8_t *snapshots[SNAPSHOTS];
static uint32_t history[HISTORY_MAX]; /* Checksum over all keys after each record. */
static uint32_t history_count, history_durable;

static uint32_t sum_of(const struct buffer records[])
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        sum = crc32c(sum + i, buffer_bytes(&records[i]));
    }
    return sum;
}

static void take_snapshot(uint32_t i)
{
    memcpy(snapshots[i], store_staging(kit.store)->map, STAGING_FILE_BYTES);
}

/* The file is put together from pages of any age. */
static void mix_pages(uint32_t ages, bool one_age)
{
    char path[PATH_BYTES_MAX];

    staging_path(path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    uint32_t age = random_below(&kit.random, ages);
    for (size_t at = 0; at < STAGING_FILE_BYTES; at += 4096) {
        age = !one_age && random_below(&kit.random, 4) == 0 ? random_below(&kit.random, ages) : age;
        assert_int_equal(pwrite(fd, snapshots[age] + at, 4096, (off_t)at), 4096);
    }
    close(fd);
}

/* Some state between what was durable and what was there last, and exactly that one. */
static void check_crash(void)
{
    uint32_t sum = sum_of(kit.restored), i = history_count;

    while (i > history_durable && history[i - 1] != sum) {
        i--;
    }
    if (i < history_durable || (i > 0 && history[i - 1] != sum)) {
        fail_msg("no state since the durable one (%u of %u)", history_durable, history_count);
    }
    for (uint32_t k = 0; k < KEYS; k++) {
        kit_replace(&kit.present[k], buffer_bytes(&kit.restored[k]));
    }
    check_reports();
}

/* Touches are records of one size, so that those of another age begin where these do. */
static void power_step(bool touch)
{
    uint32_t number = random_below(&kit.random, KEYS);

    kit.value_bytes = 20 + random_below(&kit.random, 3000);
    if (touch && kit.present[number].size > 0) {
        assert_int_equal(kit_touch(&kit, number), 0);
        kit.now_ms++;
    } else if (kit_step(&kit) == -EAGAIN) {
        write_all();
        history_durable = history_count;
        return;
    }
    history[history_count++] = sum_of(kit.present);
    assert_true(history_count < HISTORY_MAX);
    if (kit.lsn - durable_lsn > SEGMENT / 2) {
        write_all();
        history_durable = history_count;
    }
}

static void test_power_fails(void **state)
{
    const char *given = getenv("BELAY_LIVES");
    const uint32_t lives = given == NULL ? 60 : (uint32_t)strtoul(given, NULL, 10);

    (void)state;
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        snapshots[i] = malloc(STAGING_FILE_BYTES);
        assert_non_null(snapshots[i]);
    }
    begin(SEGMENT);
    kit.random = 4711;
    for (uint32_t life = 0; life < lives; life++) {
        history_count = 0;
        history[history_count++] = sum_of(kit.present);
        history_durable = 1;
        uint32_t parts = SNAPSHOTS + random_below(&kit.random, 5);
        for (uint32_t part = 0; part < parts; part++) {
            bool touches = random_below(&kit.random, 2) == 0;
            for (uint32_t i = random_below(&kit.random, touches ? 1500 : 60); i > 0; i--) {
                power_step(touches);
            }
            if (life % 4 != 0 && random_below(&kit.random, 3) == 0) {
                write_all();
                history_durable = history_count;
            }
            take_snapshot(part % SNAPSHOTS);
        }
        die(random_below(&kit.random, 2) == 0 ? DEATH_BEFORE_SUBMIT : DEATH_TORN);
        mix_pages(SNAPSHOTS, life % 3 == 0);
        assert_int_equal(kit_open_store(&kit), 0);
        check_crash();
        attach();
    }
    print_message("%lu of %u restarts took something up\n",
                  (unsigned long)kit.reports[STORE_STAGING_TAKEN], lives);
    assert_true(kit.reports[STORE_STAGING_TAKEN] > 0);
    end();
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        free(snapshots[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
