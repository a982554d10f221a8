/* Memory of one part of a node, from the heap, and counted: what a part may take has a bound, and when it ends nothing
 * is left.
 *
 * The port's failure model is that of the machine: there is always enough.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stdint.h>

#include "memory.h"

struct sim_memory {
    struct memory memory;
    const char *part; /* A literal. */
    uint32_t node;
    uint64_t bytes; /* Taken now. */
    uint64_t bytes_max;
};

void sim_memory_init(struct sim_memory *memory, const char *part, uint32_t node,
                     uint64_t bytes_max);

/* The bound holds; and, once the part has ended, all was given back. */
void sim_memory_check(const struct sim_memory *memory);
void sim_memory_check_end(const struct sim_memory *memory);

#endif
