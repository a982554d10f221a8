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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_too_much),
    };

    pages_init(&memory);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
