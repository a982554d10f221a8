#include "pages.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "heap.h"

enum {
    HUGE_BYTES = 2 * 1024 * 1024,
    /* Larger blocks get a mapping of their own, and so much may lie free at the end of a heap. Sessions of
     * 1 MiB, with the copies that a request makes of them, stay below: a mapping costs page faults. */
    HEAP_BYTES = 4 * 1024 * 1024,
};

static uint8_t *map_anywhere(size_t size)
{
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return area == MAP_FAILED ? NULL : area;
}

/* Fails only where the process has too many mappings to cut one in two; the memory goes back then, and
 * the addresses are lost. */
static void unmap_part(uint8_t *part, size_t size)
{
    if (size > 0 && munmap(part, size) != 0) {
        (void)madvise(part, size, MADV_DONTNEED);
    }
}

/* Map more than is asked for and cut off what stands over the boundaries. */
static uint8_t *map_aligned(size_t size, size_t alignment)
{
    uint8_t *whole = map_anywhere(size + alignment);
    if (whole == NULL) {
        return NULL;
    }
    size_t before = (alignment - ((uintptr_t)whole & (alignment - 1))) & (alignment - 1);
    unmap_part(whole, before);
    unmap_part(whole + before + size, alignment - before);
    return whole + before;
}

static void *map_area(struct memory *memory, size_t size)
{
    (void)memory;
    assert(size > 0 && size % 4096 == 0);
    size_t alignment = size & (~size + 1);
    if (alignment > HUGE_BYTES) {
        alignment = HUGE_BYTES;
    }
    uint8_t *area = map_anywhere(size);
    if (area != NULL && ((uintptr_t)area & (alignment - 1)) != 0) {
        unmap_part(area, size);
        area = map_aligned(size, alignment);
    }
    if (area != NULL && alignment == HUGE_BYTES) {
        (void)madvise(area, size, MADV_HUGEPAGE); /* Only advice: without, it is slower. */
    }
    return area;
}

static void unmap_area(struct memory *memory, void *area, size_t size)
{
    (void)memory;
    unmap_part(area, size);
}

static void release_part(struct memory *memory, void *part, size_t size)
{
    (void)memory;
    if (madvise(part, size, MADV_DONTNEED) != 0) {
        memset(part, 0, size); /* Locked memory stays. */
    }
}

void pages_init(struct memory *memory)
{
    *memory = (struct memory){
        .resize = heap_resize,
        .map = map_area,
        .unmap = unmap_area,
        .release = release_part,
    };
}

void pages_bound_heap(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_BYTES);
}

void pages_trim_heap(void)
{
    (void)malloc_trim(0);
}
