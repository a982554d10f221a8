#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "pages.h"

enum { MIB = 1024 * 1024 };

static struct memory memory;

/* Zero, aligned as memory.h says, writable to the end; zero again when released. */
static void test_areas(void **state)
{
    static const size_t sizes[] = {4096, 12288, 65536, MIB, 2 * MIB, 6 * MIB, 2 * MIB + 65536};
    static const size_t alignments[] = {4096, 4096, 65536, MIB, 2 * MIB, 2 * MIB, 65536};
    uint8_t *areas[7];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 7; i++) {
            areas[i] = memory.map(&memory, sizes[i]);
            assert_non_null(areas[i]);
            assert_int_equal((uintptr_t)areas[i] % alignments[i], 0);
            for (size_t at = 0; at < sizes[i]; at += 512) {
                assert_int_equal(areas[i][at], 0);
            }
            memset(areas[i], 0x5a, sizes[i]);
        }
        memory.release(&memory, areas[4] + 65536, 65536);
        assert_int_equal(areas[4][65535], 0x5a);
        assert_int_equal(areas[4][65536], 0);
        assert_int_equal(areas[4][2 * 65536 - 1], 0);
        assert_int_equal(areas[4][2 * 65536], 0x5a);
        for (uint32_t i = 0; i < 7; i++) {
            memory.unmap(&memory, areas[i], sizes[i]);
        }
    }
}

static void test_blocks(void **state)
{
    (void)state;
    uint8_t *block = memory.resize(&memory, NULL, 0, 100);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 16, 0);
    memset(block, 7, 100);
    block = memory.resize(&memory, block, 100, 100000);
    assert_non_null(block);
    assert_int_equal(block[99], 7);
    assert_null(memory.resize(&memory, block, 100000, 0));
    assert_null(memory.resize(&memory, NULL, 0, 0));
}

/* More than there is: NULL, not death. */
static void test_too_much(void **state)
{
    (void)state;
    assert_null(memory.map(&memory, (size_t)1 << 62));
}

/* Bytes of this process that are in memory; 0: not known. */
static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size = 0, resident = 0;

    if (file == NULL || fscanf(file, "%lu %lu", &size, &resident) != 2) {
        resident = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

enum { BLOCKS = 8192, BLOCK_BYTES = 8192 };

/* A block in use at the end of a thread's heap does not keep all that was freed before it. */
struct heap_use {
    void *blocks[BLOCKS];
    size_t full_bytes, trimmed_bytes;
};

static void *use_heap(void *context)
{
    struct heap_use *use = context;

    for (int i = 0; i < BLOCKS; i++) {
        use->blocks[i] = malloc(BLOCK_BYTES);
        if (use->blocks[i] == NULL) {
            abort();
        }
        memset(use->blocks[i], 1, BLOCK_BYTES);
    }
    use->full_bytes = resident_bytes();
    for (int i = 0; i < BLOCKS - 1; i++) {
        free(use->blocks[i]);
    }
    pages_trim_heap();
    use->trimmed_bytes = resident_bytes();
    free(use->blocks[BLOCKS - 1]);
    return NULL;
}

static void test_heap(void **state)
{
    static struct heap_use use;
    pthread_t thread;

    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* Their own malloc() has other ways. */
#endif
    assert_int_equal(pthread_create(&thread, NULL, use_heap, &use), 0);
    pthread_join(thread, NULL);
    assert_true(use.trimmed_bytes > 0);
    assert_true(use.trimmed_bytes < use.full_bytes - 48 * (size_t)MIB);
}

/* A large block that was freed does not teach malloc() to keep blocks of its size. */
static void test_large_blocks(void **state)
{
    enum { BYTES = 24 * MIB };

    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    pages_bound_heap();
    for (int round = 0; round < 3; round++) {
        size_t before = resident_bytes();
        uint8_t *block = malloc(BYTES);
        assert_non_null(block);
        memset(block, 1, BYTES);
        assert_true(resident_bytes() > before + BYTES / 2);
        free(block);
        assert_true(resident_bytes() < before + 2 * (size_t)MIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas),        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_too_much),     cmocka_unit_test(test_heap),
        cmocka_unit_test(test_large_blocks),
    };

    pages_init(&memory);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
