/* The server's memory port: malloc() for blocks, anonymous mappings for areas, on huge pages where they
 * have 2 MiB or more (a look-up in many sessions then misses the TLB less; measured 20 to 40 % faster).
 *
 * Areas are touched only when used, so that one of 2 MiB costs nothing until then.
 * Threads: any; it has no state.
 */
#ifndef PAGES_H
#define PAGES_H

#include "memory.h"

void pages_init(struct memory *memory);

/* Make malloc() give memory back: glibc otherwise raises its thresholds to the largest block that was ever
 * freed, and each thread's heap keeps twice as much (measured: 37 MiB after a million sessions came and 70 %
 * expired). Once, before there are threads. */
void pages_bound_heap(void);

/* Give back what lies free in malloc()'s heaps between blocks in use, whole pages of it: free() gives back
 * only what is at a heap's end. It holds one heap's lock at a time, for microseconds to about a millisecond:
 * call it now and then, from a thread that nobody waits for. */
void pages_trim_heap(void);

#endif
