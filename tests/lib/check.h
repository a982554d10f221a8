/* What every cmocka test includes: cmocka with what it needs, and a memory port for tests.
 *
 * test_memory() gives malloc() behind the port of memory.h, counts what is outstanding, and makes the
 * n-th request fail where asked: the fault loop raises n until the work succeeds.
 */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "memory.h"

struct test_memory {
    struct memory memory;
    uint64_t outstanding_bytes;
    uint64_t requests;
    uint64_t fail_at; /* The request of this number (from 1) and all after it fail; 0: none. */
};

static void *test_memory_resize(struct memory *memory, void *block, size_t old_size,
                                size_t new_size)
{
    struct test_memory *test = (struct test_memory *)memory;

    if (new_size == 0) {
        free(block);
        test->outstanding_bytes -= old_size;
        return NULL;
    }
    test->requests++;
    if (test->fail_at != 0 && test->requests >= test->fail_at) {
        return NULL;
    }
    void *moved = realloc(block, new_size);
    if (moved != NULL) {
        test->outstanding_bytes += new_size - old_size;
    }
    return moved;
}

static void *test_memory_map(struct memory *memory, size_t size)
{
    struct test_memory *test = (struct test_memory *)memory;
    size_t alignment = size & (~size + 1);

    test->requests++;
    if (test->fail_at != 0 && test->requests >= test->fail_at) {
        return NULL;
    }
    if (alignment > 2 * 1024 * 1024) {
        alignment = 2 * 1024 * 1024;
    }
    void *area = aligned_alloc(alignment, size);
    if (area != NULL) {
        memset(area, 0, size);
        test->outstanding_bytes += size;
    }
    return area;
}

static void test_memory_unmap(struct memory *memory, void *area, size_t size)
{
    ((struct test_memory *)memory)->outstanding_bytes -= size;
    free(area);
}

static void test_memory_release(struct memory *memory, void *part, size_t size)
{
    (void)memory;
    memset(part, 0, size);
}

static inline struct test_memory test_memory(void)
{
    return (struct test_memory){
        .memory =
            {
                .resize = test_memory_resize,
                .map = test_memory_map,
                .unmap = test_memory_unmap,
                .release = test_memory_release,
            },
    };
}

static inline struct bytes text(const char *string)
{
    return bytes_of_string(string);
}

#define assert_bytes_equal(a, b) assert_true(bytes_equal((a), (b)))

#endif
