/* What MONITOR shows: the commands of all threads' clients, as lines on their way to those who watch.
 *
 * A thread has watchers or it has not. A line goes, under the one lock, to the end of the bytes of each thread that has
 * some, with its time: so all watchers see one order, with times that do not go back. A thread takes its bytes and gives
 * them to its own watchers (resp_monitor.c).
 *
 * Memory: the port's; at most MONITOR_QUEUE_BYTES_MAX and one line for each thread. Threads: any.
 */
#ifndef MONITOR_H
#define MONITOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"
#include "memory.h"

struct monitor_thread {
    uint32_t watchers;
    struct buffer lines;
    bool lost; /* Some had no room: its watchers are not to be told the rest as if it were all. */
};

struct monitor {
    struct memory *memory;
    uint32_t shard_count;
    void (*wake)(void *context, uint32_t shard); /* There are lines where there were none. */
    void *context;
    _Atomic uint32_t watchers; /* Of all threads. */
    pthread_mutex_t lock;      /* Of what follows. */
    struct monitor_thread threads[SHARDS_MAX];
};

void monitor_init(struct monitor *monitor, struct memory *memory, uint32_t shard_count,
                  void (*wake)(void *context, uint32_t shard), void *context);
/* When no thread runs. */
void monitor_fini(struct monitor *monitor);

/* Does anybody watch? All that it costs where nobody does. */
static inline bool monitor_is_watched(const struct monitor *monitor)
{
    return atomic_load_explicit(&monitor->watchers, memory_order_relaxed) != 0;
}

/* A thread has one more watcher, who is told of what comes from now on: take and give what was there before. */
void monitor_enter(struct monitor *monitor, uint32_t shard);
void monitor_leave(struct monitor *monitor, uint32_t shard);

/* A line, without its time, from `from`, which is not woken. Data NULL: there was no memory to make it. */
void monitor_put(struct monitor *monitor, uint32_t from, struct bytes line);

/* What there is for a thread; `lines` is the caller's then, to be freed. Returns false where some are missing behind
 * them. */
bool monitor_take(struct monitor *monitor, uint32_t shard, struct buffer *lines);

#endif
