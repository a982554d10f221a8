/* The map for clients (client_map.h) at the native door: given to who asks (FRAME_MAP), and pushed to him when it
 * changes, at most once in MAP_PUSH_MS. Changes between two pushes are told as one; who does not read his answers gets it
 * when he does.
 *
 * Threads: the shard's.
 */
#ifndef NATIVE_MAP_H
#define NATIVE_MAP_H

#include "connection.h"
#include "frame.h"

enum { MAP_PUSH_MS = 100 };

/* A thread's own copy. */
struct native_map {
    uint64_t epoch; /* 0: there is none. */
    uint8_t *bytes; /* From malloc(). */
    size_t size;
    bool due; /* Somebody has not been told of this one, perhaps. */
    uint64_t next_us;
};

/* There is a new one. The bytes come from malloc() and are taken over. */
void native_map_set(struct shard_thread *thread, uint64_t epoch, uint8_t *bytes, size_t size);
void native_map_fini(struct shard_thread *thread);

/* A client asks, and is told of changes from now on. */
void native_map_asked(struct shard_thread *thread, struct connection *connection,
                      const struct frame *frame);

/* Push it where that is due. Returns when to come again, in us. */
uint64_t native_map_turn(struct shard_thread *thread);

#endif
