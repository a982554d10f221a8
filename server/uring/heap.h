/* The C library's heap behind the port of memory.h, for buffers of the data plane. Any thread. */
#ifndef HEAP_H
#define HEAP_H

#include "memory.h"

/* resize() only. */
struct memory *heap_memory(void);

#endif
