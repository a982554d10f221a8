#include "monitor.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

void monitor_init(struct monitor *monitor, struct memory *memory, uint32_t shard_count,
                  void (*wake)(void *context, uint32_t shard), void *context)
{
    *monitor = (struct monitor){
        .memory = memory,
        .shard_count = shard_count,
        .wake = wake,
        .context = context,
    };
    for (uint32_t shard = 0; shard < shard_count; shard++) {
        monitor->threads[shard].lines.memory = memory;
    }
    pthread_mutex_init(&monitor->lock, NULL);
}

void monitor_fini(struct monitor *monitor)
{
    assert(!monitor_is_watched(monitor));
    for (uint32_t shard = 0; shard < monitor->shard_count; shard++) {
        buffer_fini(&monitor->threads[shard].lines);
    }
    pthread_mutex_destroy(&monitor->lock);
}

void monitor_enter(struct monitor *monitor, uint32_t shard)
{
    pthread_mutex_lock(&monitor->lock);
    monitor->threads[shard].watchers++;
    atomic_fetch_add(&monitor->watchers, 1);
    pthread_mutex_unlock(&monitor->lock);
}

void monitor_leave(struct monitor *monitor, uint32_t shard)
{
    struct monitor_thread *thread = &monitor->threads[shard];

    pthread_mutex_lock(&monitor->lock);
    assert(thread->watchers > 0);
    atomic_fetch_sub(&monitor->watchers, 1);
    if (--thread->watchers == 0) {
        buffer_fini(&thread->lines);
        thread->lost = false;
    }
    pthread_mutex_unlock(&monitor->lock);
}

/* As Redis has it: "+SECONDS.MICROSECONDS". */
static struct bytes print_time(char text[], size_t size)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    int used = snprintf(text, size, "+%lld.%06ld ", (long long)now.tv_sec, now.tv_nsec / 1000);
    return bytes_of(text, (size_t)used);
}

/* Returns whether there was nothing before. */
static bool append(struct monitor_thread *thread, struct bytes time, struct bytes line)
{
    struct buffer *lines = &thread->lines;
    const size_t before = lines->size;
    const bool was_empty = before == 0 && !thread->lost;

    if (thread->lost) {
        return false;
    }
    if (line.data == NULL || before > MONITOR_QUEUE_BYTES_MAX || buffer_append(lines, time) != 0 ||
        buffer_append(lines, line) != 0) {
        lines->size = before;
        thread->lost = true;
    }
    return was_empty;
}

void monitor_put(struct monitor *monitor, uint32_t from, struct bytes line)
{
    uint8_t woken[SHARDS_MAX];
    uint32_t count = 0;
    char text[40];

    pthread_mutex_lock(&monitor->lock);
    struct bytes time = print_time(text, sizeof text);
    for (uint32_t shard = 0; shard < monitor->shard_count; shard++) {
        struct monitor_thread *thread = &monitor->threads[shard];
        if (thread->watchers > 0 && append(thread, time, line) && shard != from) {
            woken[count++] = (uint8_t)shard;
        }
    }
    pthread_mutex_unlock(&monitor->lock);
    for (uint32_t i = 0; i < count; i++) {
        monitor->wake(monitor->context, woken[i]);
    }
}

bool monitor_take(struct monitor *monitor, uint32_t shard, struct buffer *lines)
{
    struct monitor_thread *thread = &monitor->threads[shard];

    pthread_mutex_lock(&monitor->lock);
    *lines = thread->lines;
    thread->lines = (struct buffer){.memory = monitor->memory};
    bool whole = !thread->lost;
    thread->lost = false;
    pthread_mutex_unlock(&monitor->lock);
    return whole;
}
