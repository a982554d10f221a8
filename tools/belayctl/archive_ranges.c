/* belayctl archive restore: ranges of slots, one after the other. While one is sent the next is read and put together, on a
 * thread: there are two states, and no more memory than they take. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "archive_restore.h"

enum { STATES = 2 };

struct restore_ranges {
    struct restore *restore;
    struct archive_state states[STATES];
    struct restore_range ranges[STATES];
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* Of what follows. */
    pthread_cond_t changed;
    uint64_t read, taken, given; /* Ranges that were read, handed out, and are done with. */
    bool ended;                  /* There is none behind those that were read. */
    atomic_bool stops;
};

/* ---- On the thread ---- */

/* Room for another one. False: it is to stop. */
static bool await_room(struct restore_ranges *ranges)
{
    pthread_mutex_lock(&ranges->lock);
    while (!ranges->stops && ranges->read - ranges->given == STATES) {
        pthread_cond_wait(&ranges->changed, &ranges->lock);
    }
    pthread_mutex_unlock(&ranges->lock);
    return !ranges->stops;
}

static void hand_over(struct restore_ranges *ranges, bool ended)
{
    pthread_mutex_lock(&ranges->lock);
    ranges->read += !ended;
    ranges->ended = ended;
    pthread_cond_signal(&ranges->changed);
    pthread_mutex_unlock(&ranges->lock);
}

static int read_range(struct restore_ranges *ranges, uint16_t first)
{
    struct restore *restore = ranges->restore;
    struct archive_reading *reading = &restore->reading;
    struct restore_range *range = &ranges->ranges[ranges->read % STATES];
    uint16_t last = reading_range(
        reading, first, reading_range_bytes(reading, RESTORE_RANGE_BYTES, RESTORE_RANGE_BYTES_MAX));

    *range = (struct restore_range){
        .first = first, .last = last, .state = &ranges->states[ranges->read % STATES]};
    for (uint32_t slot = first; slot <= last; slot++) {
        range->bytes += reading->weights[slot];
    }
    range->rc = reading_take(reading, first, last, range->state);
    range->total_bytes = reading->total_bytes;
    range->damaged = restore->command.damaged;
    return range->rc;
}

static void *ranges_main(void *context)
{
    struct restore_ranges *ranges = context;
    uint32_t slot = ranges->restore->done.next_slot;
    int rc = 0;

    while (slot < SLOT_COUNT && rc == 0 && await_room(ranges)) {
        uint64_t at = ranges->read % STATES;
        rc = read_range(ranges, (uint16_t)slot);
        slot = (uint32_t)ranges->ranges[at].last + 1;
        hand_over(ranges, false);
    }
    hand_over(ranges, true);
    return NULL;
}

/* ---- For who sends ---- */

struct restore_ranges *restore_ranges_begin(struct restore *restore, uint64_t as_of_hlc)
{
    struct restore_ranges *ranges = calloc(1, sizeof *ranges);

    if (ranges == NULL) {
        archive_refused(&restore->command, "out of memory");
        return NULL;
    }
    ranges->restore = restore;
    for (int i = 0; i < STATES; i++) {
        archive_state_init(&ranges->states[i], restore->command.access.memory, as_of_hlc, NULL,
                           NULL);
    }
    pthread_mutex_init(&ranges->lock, NULL);
    pthread_cond_init(&ranges->changed, NULL);
    restore->command.access.stops = &ranges->stops;
    int rc = pthread_create(&ranges->thread, NULL, ranges_main, ranges);
    if (rc != 0) {
        archive_refused(&restore->command, "no thread: %s", strerror(rc));
        restore_ranges_end(ranges);
        return NULL;
    }
    ranges->runs = true;
    return ranges;
}

const struct restore_range *restore_ranges_next(struct restore_ranges *ranges)
{
    const struct restore_range *next = NULL;

    pthread_mutex_lock(&ranges->lock);
    ranges->given = ranges->taken;
    pthread_cond_signal(&ranges->changed);
    while (ranges->read == ranges->taken && !ranges->ended) {
        pthread_cond_wait(&ranges->changed, &ranges->lock);
    }
    if (ranges->read > ranges->taken) {
        next = &ranges->ranges[ranges->taken++ % STATES];
    }
    pthread_mutex_unlock(&ranges->lock);
    return next;
}

void restore_ranges_end(struct restore_ranges *ranges)
{
    if (ranges->runs) {
        pthread_mutex_lock(&ranges->lock);
        ranges->stops = true;
        pthread_cond_signal(&ranges->changed);
        pthread_mutex_unlock(&ranges->lock);
        pthread_join(ranges->thread, NULL);
    }
    ranges->restore->command.access.stops = NULL;
    for (int i = 0; i < STATES; i++) {
        archive_state_fini(&ranges->states[i]);
    }
    pthread_cond_destroy(&ranges->changed);
    pthread_mutex_destroy(&ranges->lock);
    free(ranges);
}
