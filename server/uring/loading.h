/* Taking in what the loader brings, while requests are served: a little in each turn. After a restart that is
 * everything; from then on, sessions that left memory and are used again.
 *
 * Threads: the shard's.
 */
#ifndef LOADING_H
#define LOADING_H

#include <stdint.h>

struct shard_thread;

/* Take in blocks for about LOADING_TURN_US. Returns in how many microseconds there is more to do: 0 where
 * there is now, UINT64_MAX where the loader will wake the thread, or has ended. */
uint64_t loading_turn(struct shard_thread *thread);

/* Let go of what is left, when the thread has ended. */
void loading_drop(struct shard_thread *thread);

/* Wake the shard's thread: the loader's `wake`, with the thread as context. Any thread. */
void loading_wake(void *thread);

#endif
