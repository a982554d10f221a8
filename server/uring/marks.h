/* How many requests of each connection are in a certain state, by index of the connection: one more for a request that
 * enters it, one less for one that leaves. Of a connection that has gone nothing counts.
 *
 * Memory: 8 bytes for each connection up to the highest that had one. Threads: its shard's.
 */
#ifndef MARKS_H
#define MARKS_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct memory;

struct mark {
    uint32_t generation; /* Of the connection. */
    uint32_t count;
};

/* Of the connections of one thread. Zeroed: none. */
struct marks {
    struct mark *marks;
    uint32_t size;
};

/* One more of the call's connection. -ENOMEM: nothing is marked. */
int marks_add(struct marks *marks, struct memory *memory, const struct call *call);
void marks_remove(struct marks *marks, const struct call *call);
bool marks_has(const struct marks *marks, const struct call *call);
void marks_fini(struct marks *marks, struct memory *memory);

#endif
