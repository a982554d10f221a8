/* The pool of chunks: what is used in every turn stays, what is not goes back. */
#include "check.h"

#include "bounds.h"
#include "chunk.h"
#include "pages.h"

enum { MANY = 300, SLABS_AT_LEAST = 4 };

/* A port that counts the areas which are mapped and how often that was done. */
struct counted {
    struct memory port;
    struct memory pages;
    uint32_t held, maps;
    bool refuses;
};

static void *map(struct memory *memory, size_t size)
{
    struct counted *counted = (struct counted *)memory;

    if (counted->refuses) {
        return NULL;
    }
    counted->held++;
    counted->maps++;
    return counted->pages.map(&counted->pages, size);
}

static void unmap(struct memory *memory, void *area, size_t size)
{
    struct counted *counted = (struct counted *)memory;

    counted->held--;
    counted->pages.unmap(&counted->pages, area, size);
}

static void begin(struct counted *counted, struct chunk_pool *pool)
{
    *counted = (struct counted){.port = {.map = map, .unmap = unmap}};
    pages_init(&counted->pages);
    *pool = (struct chunk_pool){.memory = &counted->port};
}

/* As many as a busy turn uses. */
static void use_many(struct chunk_pool *pool)
{
    struct chunk *chunks[MANY];

    for (int i = 0; i < MANY; i++) {
        chunks[i] = chunk_take(pool, 1);
        assert_non_null(chunks[i]);
        memset(chunks[i]->data, i, CHUNK_BYTES);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(chunks[i]->data[CHUNK_BYTES - 1], i & 0xff);
        chunk_give(pool, chunks[i]);
    }
}

static void test_turns_use_the_same_pages(void **state)
{
    struct counted counted;
    struct chunk_pool pool;

    (void)state;
    begin(&counted, &pool);
    use_many(&pool);
    uint32_t maps = counted.maps;
    assert_true(maps >= SLABS_AT_LEAST);
    chunk_pool_trim(&pool);
    for (int turn = 0; turn < 10; turn++) {
        use_many(&pool);
        chunk_pool_trim(&pool);
        assert_int_equal(counted.maps, maps);
    }
    chunk_pool_fini(&pool);
    assert_int_equal(counted.held, 0);
}

static void test_what_is_not_used_goes_back(void **state)
{
    struct counted counted;
    struct chunk_pool pool;

    (void)state;
    begin(&counted, &pool);
    struct chunk *kept = chunk_take(&pool, 1);
    use_many(&pool);
    chunk_pool_trim(&pool); /* They were used since the beginning. */
    assert_true(counted.held >= SLABS_AT_LEAST);
    chunk_pool_trim(&pool);
    assert_int_equal(counted.held, 1);
    assert_false(chunk_pool_is_empty(&pool));
    chunk_give(&pool, kept);
    chunk_pool_trim(&pool);
    chunk_pool_trim(&pool);
    assert_int_equal(counted.held, 0);
    assert_true(chunk_pool_is_empty(&pool));
    chunk_pool_fini(&pool);
}

static void test_half_used_slabs_come_first(void **state)
{
    struct counted counted;
    struct chunk_pool pool;

    (void)state;
    begin(&counted, &pool);
    use_many(&pool);
    struct chunk *first = chunk_take(&pool, 1);
    struct chunk *second = chunk_take(&pool, 1);
    chunk_pool_trim(&pool);
    chunk_pool_trim(&pool);
    assert_int_equal(counted.held, 1); /* Both lie in one. */
    chunk_give(&pool, first);
    chunk_give(&pool, second);
    chunk_pool_fini(&pool);
    assert_int_equal(counted.held, 0);
}

static void test_no_memory(void **state)
{
    struct counted counted;
    struct chunk_pool pool;

    (void)state;
    begin(&counted, &pool);
    counted.refuses = true;
    assert_null(chunk_take(&pool, 1));
    assert_null(chunk_take(&pool, 10 * CHUNK_BYTES));
    assert_true(chunk_pool_is_empty(&pool));
    counted.refuses = false;
    use_many(&pool);
    counted.refuses = true;
    use_many(&pool); /* What is kept will do. */
    chunk_pool_fini(&pool);
    assert_int_equal(counted.held, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_use_the_same_pages),
        cmocka_unit_test(test_what_is_not_used_goes_back),
        cmocka_unit_test(test_half_used_slabs_come_first),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
