#include "sim_memory.h"

#include <inttypes.h>

#include "heap.h"
#include "sim.h"

static struct sim_memory *memory_of(struct memory *memory)
{
    return (struct sim_memory *)(void *)memory; /* It is the first member. */
}

static void *resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    memory_of(memory)->bytes += new_size - old_size;
    return heap_resize(memory, block, old_size, new_size);
}

static void *map(struct memory *memory, size_t size)
{
    memory_of(memory)->bytes += size;
    return heap_map(memory, size);
}

static void unmap(struct memory *memory, void *area, size_t size)
{
    memory_of(memory)->bytes -= size;
    heap_unmap(memory, area, size);
}

static void release(struct memory *memory, void *part, size_t size)
{
    (void)memory;
    memset(part, 0, size);
}

void sim_memory_init(struct sim_memory *memory, const char *part, uint32_t node, uint64_t bytes_max)
{
    *memory = (struct sim_memory){
        .memory = {.resize = resize, .map = map, .unmap = unmap, .release = release},
        .part = part,
        .node = node,
        .bytes_max = bytes_max,
    };
}

void sim_memory_check(const struct sim_memory *memory)
{
    SIM_CHECK("memory", memory->bytes <= memory->bytes_max,
              "the %s of node %u takes %" PRIu64 " bytes", memory->part, memory->node,
              memory->bytes);
}

void sim_memory_check_end(const struct sim_memory *memory)
{
    SIM_CHECK("memory", memory->bytes == 0, "%" PRIu64 " bytes are left of the %s of node %u",
              memory->bytes, memory->part, memory->node);
}
