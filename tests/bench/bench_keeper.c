/* What a session costs in the keeper: bytes and nanoseconds, on the server's own memory port.
 *
 *   bench_keeper [records [record bytes]]
 *
 * A record is one byte key size, the key (32 bytes), and zeros. Sizes include that.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keeper.h"
#include "pages.h"

enum { KEY_BYTES = 32, BATCH = 16, RECORD_BYTES_MAX = 32 * 1024 };

static const uint64_t seed = 42;
static uint8_t (*keys)[KEY_BYTES]; /* Twice as many as records: the second half is never stored. */
static uint32_t record_count;
static uint8_t record_bytes_buffer[RECORD_BYTES_MAX];
static uint8_t reply[RECORD_BYTES_MAX];
static uint64_t random_state = 1;
static uint64_t checksum; /* Keeps the work from being optimised away. */
static uint64_t none;     /* 0, which the compiler does not know. */

static uint64_t next_random(void)
{
    uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* What this thread has used: the machine may be busy. */
static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;

    if (file != NULL) {
        if (fscanf(file, "%lu %lu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct bytes key_of(struct bytes record)
{
    return bytes_of(record.data + 1, record.data[0]);
}

static struct bytes key(uint32_t number)
{
    return bytes_of(keys[number], KEY_BYTES);
}

static struct bytes record(uint32_t number, size_t size)
{
    record_bytes_buffer[0] = KEY_BYTES;
    memcpy(record_bytes_buffer + 1, keys[number], KEY_BYTES);
    return bytes_of(record_bytes_buffer, size);
}

/* Keys are read in another order than records were made, as cheaply: one after the other. */
static void shuffle_keys(void)
{
    for (uint32_t i = record_count - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(next_random() % (i + 1));
        uint8_t held[KEY_BYTES];
        memcpy(held, keys[i], KEY_BYTES);
        memcpy(keys[i], keys[other], KEY_BYTES);
        memcpy(keys[other], held, KEY_BYTES);
    }
}

static void print(const char *name, double value, const char *unit)
{
    printf("  %-44s %10.1f %s\n", name, value, unit);
}

static double per_record(uint64_t begin)
{
    return (double)(cpu_ns() - begin) / record_count;
}

/* How long single calls take, in processor time. */
struct pause {
    uint64_t worst_ns, over_50us, over_200us;
};

static void note_pause(struct pause *pause, uint64_t begin)
{
    uint64_t took = cpu_ns() - begin;

    pause->worst_ns = took > pause->worst_ns ? took : pause->worst_ns;
    pause->over_50us += took > 50000;
    pause->over_200us += took > 200000;
}

static void print_pause(const struct pause *pause)
{
    print("  worst call", (double)pause->worst_ns / 1000, "us");
    print("  calls above 50 us", (double)pause->over_50us, "");
    print("  calls above 200 us", (double)pause->over_200us, "");
}

static struct keeper *fill(struct memory *memory, size_t size, struct pause *pause)
{
    struct keeper *keeper;
    int rc = keeper_create(memory, seed, key_of, &keeper);

    assert(rc == 0);
    for (uint32_t i = 0; i < record_count; i++) {
        uint64_t one = pause == NULL ? 0 : cpu_ns();
        rc = keeper_set(keeper, keeper_position(seed, key(i)), record(i, size));
        assert(rc == 0);
        if (pause != NULL) {
            note_pause(pause, one);
        }
    }
    return keeper;
}

/* Twice: memory that the machine's host has never given out before is dear, and not our doing. */
static struct keeper *bench_insert(struct memory *memory, size_t size)
{
    struct pause pause = {0};

    keeper_destroy(fill(memory, size, &pause));
    uint64_t begin = cpu_ns();
    struct keeper *keeper = fill(memory, size, NULL);
    print("set, new, one by one", per_record(begin), "ns");
    keeper_destroy(keeper);
    pause = (struct pause){0};
    keeper = fill(memory, size, &pause);
    print_pause(&pause);
    return keeper;
}

static void bench_position(void)
{
    uint64_t begin = cpu_ns();

    for (uint32_t i = 0; i < record_count; i++) {
        checksum ^= keeper_position(seed, key(i + (uint32_t)(checksum & none)));
    }
    print("position of a key, each after the other", per_record(begin), "ns");
}

static void bench_find(const struct keeper *keeper, const char *name, uint32_t first)
{
    uint64_t begin = cpu_ns();

    for (uint32_t i = 0; i < record_count; i++) {
        /* Each key depends on what the one before gave: the real latency. */
        struct bytes wanted =
            key(first + (uint32_t)((next_random() ^ (checksum & 1)) % record_count));
        struct bytes found = keeper_find(keeper, keeper_position(seed, wanted), wanted);
        checksum += found.size;
        if (found.size > 0) {
            memcpy(reply, found.data, found.size);
        }
    }
    print(name, per_record(begin), "ns");
}

static void bench_find_batch(const struct keeper *keeper, const char *name, uint32_t first)
{
    uint64_t begin = cpu_ns();

    for (uint32_t i = 0; i < record_count; i += BATCH) {
        struct bytes wanted[BATCH];
        uint64_t positions[BATCH];
        for (uint32_t k = 0; k < BATCH; k++) {
            wanted[k] = key(first + i + k);
            positions[k] = keeper_position(seed, wanted[k]);
            keeper_prefetch_bucket(keeper, positions[k]);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            keeper_prefetch_record(keeper, positions[k]);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            struct bytes found = keeper_find(keeper, positions[k], wanted[k]);
            checksum += found.size;
            if (found.size > 0) {
                memcpy(reply, found.data, found.size); /* As an answer needs it. */
            }
        }
    }
    print(name, per_record(begin), "ns");
}

static void bench_replace(struct keeper *keeper, const char *name, size_t least, size_t most,
                          uint32_t evacuate_bytes)
{
    uint64_t begin = cpu_ns();

    for (uint32_t i = 0; i < record_count; i += BATCH) {
        uint64_t positions[BATCH];
        for (uint32_t k = 0; k < BATCH; k++) {
            positions[k] = keeper_position(seed, key(i + k));
            keeper_prefetch_bucket(keeper, positions[k]);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            keeper_prefetch_record(keeper, positions[k]);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            size_t size = least + next_random() % (most - least + 1);
            int rc = keeper_set(keeper, positions[k], record(i + k, size));
            assert(rc == 0);
        }
        if (evacuate_bytes > 0) {
            keeper_evacuate(keeper, evacuate_bytes);
        }
    }
    print(name, per_record(begin), "ns");
}

static bool sum_record(void *context, uint64_t position, struct bytes found)
{
    uint64_t *sum = context;

    *sum += position ^ found.data[0];
    return true;
}

static bool visit_some(void *context, uint64_t position, struct bytes found)
{
    uint32_t *left = context;

    (void)position;
    (void)found;
    return --*left > 0;
}

static void bench_scan(struct keeper *keeper)
{
    uint64_t begin = cpu_ns();

    keeper_scan(keeper, 0, sum_record, &checksum);
    print("scan, whole", per_record(begin), "ns per record");

    uint64_t cursor = 0, calls = 0;
    begin = cpu_ns();
    do {
        uint32_t left = 1000;
        cursor = keeper_scan(keeper, cursor, visit_some, &left);
        calls++;
    } while (cursor != 0);
    print("scan, 1000 a call", per_record(begin), "ns per record");
    cursor = 0;
    calls = 0;
    begin = cpu_ns();
    do {
        uint32_t left = 10;
        cursor = keeper_scan(keeper, cursor, visit_some, &left);
        calls++;
    } while (cursor != 0 && calls < 10000);
    print("scan, 10 a call", (double)(cpu_ns() - begin) / (double)calls / 1000, "us per call");
}

static void print_memory(const char *name, const struct keeper *keeper, uint64_t resident_before)
{
    struct keeper_stats stats;

    keeper_stats(keeper, &stats);
    double own = (double)stats.record_bytes / (double)stats.records;
    print(name, own, "B per record, their own");
    print("  held", (double)stats.memory_bytes / (double)stats.records, "B per record");
    print("  resident", (double)(resident_bytes() - resident_before) / (double)stats.records,
          "B per record");
    print("  held / own", 100.0 * (double)stats.memory_bytes / (double)stats.record_bytes, "%");
}

static void bench_remove(struct keeper *keeper, uint64_t resident_before)
{
    uint64_t begin = cpu_ns(), removed = 0;

    for (uint32_t i = 0; i < record_count; i++) {
        if (next_random() % 10 < 7) {
            keeper_remove(keeper, keeper_position(seed, key(i)), key(i));
            removed++;
        }
    }
    print("remove 70 %, one by one", (double)(cpu_ns() - begin) / (double)removed, "ns");
    print_memory("memory before evacuation", keeper, resident_before);

    struct pause pause = {0};
    uint64_t calls = 0;
    bool more = true;
    begin = cpu_ns();
    for (; more; calls++) {
        uint64_t one = cpu_ns();
        more = keeper_evacuate(keeper, 16 * 1024);
        note_pause(&pause, one);
    }
    struct keeper_stats stats;
    keeper_stats(keeper, &stats);
    print("evacuation by 16 KiB", (double)(cpu_ns() - begin) / 1e6, "ms");
    print("  calls", (double)calls, "");
    print("  records moved", (double)stats.moved, "");
    print_pause(&pause);
    print_memory("memory after evacuation", keeper, resident_before);
}

static void bench(size_t size)
{
    struct memory memory;
    uint64_t resident_before = resident_bytes();

    printf("%u records of %zu bytes\n", record_count, size);
    pages_init(&memory);
    struct keeper *keeper = bench_insert(&memory, size);
    print_memory("memory", keeper, resident_before);
    shuffle_keys();
    bench_position();
    bench_find(keeper, "find, each after the other", 0);
    bench_find_batch(keeper, "find, batches of 16 prefetched", 0);
    bench_find(keeper, "find, missing", record_count);
    bench_find_batch(keeper, "find, missing, prefetched", record_count);
    bench_replace(keeper, "set, same size, prefetched", size, size, 0);
    bench_scan(keeper);
    bench_replace(keeper, "set, +-32 bytes, prefetched", size - 32, size + 32, 0);
    print_memory("memory then", keeper, resident_before);
    for (int round = 0; round < 3; round++) {
        struct keeper_stats before, after;
        keeper_stats(keeper, &before);
        bench_replace(keeper, "set, +-32 bytes, evacuating 4 KiB per 16", size - 32, size + 32,
                      4096);
        keeper_stats(keeper, &after);
        print("  records moved per set", (double)(after.moved - before.moved) / record_count, "");
    }
    print_memory("memory then", keeper, resident_before);
    bench_remove(keeper, resident_before);
    keeper_destroy(keeper);
    print("resident after all", (double)(resident_bytes() - resident_before) / 1e6, "MB");
}

int main(int argc, char **argv)
{
    record_count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    record_count = (record_count + BATCH - 1) / BATCH * BATCH;
    none = argc > 3;
    keys = calloc(2 * (size_t)record_count, sizeof *keys);
    if (keys == NULL) {
        return EXIT_FAILURE;
    }
    for (uint32_t i = 0; i < 2 * record_count; i++) {
        char text[KEY_BYTES + 1];
        snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, next_random(), next_random());
        memcpy(keys[i], text, KEY_BYTES);
    }
    if (argc > 2) {
        bench(strtoul(argv[2], NULL, 10));
    } else {
        bench(150);
        bench(560);
    }
    free(keys);
    return checksum == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
