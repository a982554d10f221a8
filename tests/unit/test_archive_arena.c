/* Memory that is given up at once. */
#include "archive_arena.h"
#include "check.h"

static struct archive_arena arena;
static struct test_memory memory;

enum { MIB = 1024 * 1024 };

static void fill(size_t size, uint8_t value)
{
    uint8_t *at = archive_arena_take(&arena, size);

    assert_non_null(at);
    memset(at, value, size);
}

static void test_nothing_lies_on_another(void **state)
{
    const uint8_t *first, *large, *last;

    (void)state;
    memory = test_memory();
    archive_arena_init(&arena, &memory.memory);
    for (int turn = 0; turn < 3; turn++) {
        first = archive_arena_take(&arena, 3);
        fill(MIB - 3, 1); /* All of the chunk. */
        fill(1, 2);
        large = archive_arena_take(&arena, 5 * MIB);
        fill(MIB, 3);
        last = archive_arena_take(&arena, 1);
        assert_true(last < first || last >= first + MIB);
        assert_true(last < large || last >= large + 5 * (size_t)MIB);
        archive_arena_clear(&arena);
        assert_ptr_equal(archive_arena_take(&arena, 3), first);
        archive_arena_clear(&arena);
    }
    archive_arena_fini(&arena);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* What was cleared is used again, but a chunk that is too small. */
static void test_it_does_not_grow(void **state)
{
    uint64_t used = 0;

    (void)state;
    memory = test_memory();
    archive_arena_init(&arena, &memory.memory);
    for (int turn = 0; turn < 5; turn++) {
        archive_arena_clear(&arena);
        for (int i = 0; i < 10; i++) {
            fill(700 * 1024, (uint8_t)i);
        }
        fill(2 * MIB, 77);
        assert_true(turn == 0 || memory.outstanding_bytes == used);
        used = memory.outstanding_bytes;
    }
    archive_arena_fini(&arena);
}

static void test_no_memory(void **state)
{
    (void)state;
    memory = test_memory();
    archive_arena_init(&arena, &memory.memory);
    memory.fail_at = 2;
    const uint8_t *first = archive_arena_take(&arena, MIB - 1);
    assert_non_null(first);
    assert_null(archive_arena_take(&arena, 2));
    assert_ptr_equal(archive_arena_take(&arena, 1), first + MIB - 1); /* There is room yet. */
    archive_arena_fini(&arena);
    assert_int_equal(memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_lies_on_another),
        cmocka_unit_test(test_it_does_not_grow),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
