#include "slowlog.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "heap.h"
#include "secrets.h"

/* As much of a command as is kept, as in Redis. */
enum { ARGUMENTS_MAX = 32, ARGUMENT_BYTES_MAX = 128, MORE_BYTES = 40 };

void slowlog_init(struct slowlog *slowlog, struct memory *memory, int64_t slower_than_us,
                  uint32_t count_max, uint64_t (*now_ms)(void *clock), void *clock)
{
    *slowlog = (struct slowlog){
        .memory = memory,
        .now_ms = now_ms,
        .clock = clock,
        .count_max = count_max,
    };
    atomic_init(&slowlog->slower_than_us, slower_than_us);
    pthread_mutex_init(&slowlog->lock, NULL);
}

void slowlog_fini(struct slowlog *slowlog)
{
    slowlog_reset(slowlog);
    pthread_mutex_destroy(&slowlog->lock);
}

/* ---- Arguments ---- */

static uint8_t *put_bytes(uint8_t *to, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return to + bytes.size;
}

/* The begin of an element: "$SIZE", "*COUNT". */
static uint8_t *put_head(uint8_t *to, char kind, size_t number)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    *to++ = (uint8_t)kind;
    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    to = put_bytes(to, bytes_of(digits + at, sizeof digits - at));
    return put_bytes(to, bytes_of("\r\n", 2));
}

/* At its full size, or with a note of what was left out. Returns where it ends. */
static uint8_t *put_argument(uint8_t *to, struct bytes argument)
{
    char more[MORE_BYTES] = "";

    if (argument.size > ARGUMENT_BYTES_MAX) {
        snprintf(more, sizeof more, "... (%zu more bytes)", argument.size - ARGUMENT_BYTES_MAX);
        argument.size = ARGUMENT_BYTES_MAX;
    }
    const struct bytes rest = bytes_of_string(more);
    to = put_head(to, '$', argument.size + rest.size);
    to = put_bytes(put_bytes(to, argument), rest);
    return put_bytes(to, bytes_of("\r\n", 2));
}

static uint8_t *put_arguments(uint8_t *to, const struct command *command, struct bytes array)
{
    struct secrets secrets = secrets_of(command, array);
    const uint32_t count = secrets.rest.count;
    const uint32_t shown = count <= ARGUMENTS_MAX ? count : ARGUMENTS_MAX - 1;
    struct bytes argument;

    to = put_head(to, '*', count < ARGUMENTS_MAX ? count : ARGUMENTS_MAX);
    for (uint32_t i = 0; i < shown && secrets_next(&secrets, &argument); i++) {
        to = put_argument(to, argument);
    }
    if (shown < count) {
        char more[MORE_BYTES];
        snprintf(more, sizeof more, "... (%u more arguments)", count - shown);
        to = put_argument(to, bytes_of_string(more));
    }
    return to;
}

/* ---- Measuring ---- */

struct slow_request *slow_begin(struct slowlog *slowlog, const struct command *command,
                                struct bytes array)
{
    enum { HEAD_BYTES = 24 };
    uint8_t arguments[(ARGUMENTS_MAX + 1) * (ARGUMENT_BYTES_MAX + MORE_BYTES + HEAD_BYTES)];
    const size_t size = (size_t)(put_arguments(arguments, command, array) - arguments);

    assert(size <= sizeof arguments);
    struct slow_request *slow = heap_take(slowlog->memory, sizeof *slow + size);
    if (slow != NULL) {
        *slow = (struct slow_request){
            .slowlog = slowlog,
            .block_size = sizeof *slow + size,
            .arguments = bytes_of(slow + 1, size),
        };
        atomic_init(&slow->holders, 1);
        memcpy(slow + 1, arguments, size);
    }
    return slow;
}

void slow_ran(struct slow_request *slow, uint64_t us)
{
    atomic_fetch_add_explicit(&slow->took_us, us, memory_order_relaxed);
    atomic_store_explicit(&slow->ran, true, memory_order_relaxed);
}

static void give(struct slow_request *slow)
{
    heap_give(slow->slowlog->memory, slow, slow->block_size);
}

/* Take the oldest out until so many are left. */
static void trim(struct slowlog *slowlog, uint32_t count_max)
{
    while (slowlog->count > count_max) {
        struct slow_request *oldest = slowlog->oldest;
        slowlog->oldest = oldest->newer;
        *(oldest->newer == NULL ? &slowlog->newest : &oldest->newer->older) = NULL;
        slowlog->count--;
        give(oldest);
    }
}

static void add(struct slowlog *slowlog, struct slow_request *slow)
{
    slow->time_s = slowlog->now_ms(slowlog->clock) / 1000;
    pthread_mutex_lock(&slowlog->lock);
    slow->id = slowlog->next_id++;
    slow->older = slowlog->newest;
    *(slow->older == NULL ? &slowlog->oldest : &slow->older->newer) = slow;
    slowlog->newest = slow;
    slowlog->count++;
    trim(slowlog, slowlog->count_max);
    pthread_mutex_unlock(&slowlog->lock);
}

void slow_drop(struct slow_request *slow)
{
    struct slowlog *slowlog = slow->slowlog;

    if (atomic_fetch_sub_explicit(&slow->holders, 1, memory_order_acq_rel) > 1) {
        return;
    }
    int64_t slower_than = atomic_load_explicit(&slowlog->slower_than_us, memory_order_relaxed);
    if (atomic_load(&slow->ran) && slower_than >= 0 &&
        atomic_load(&slow->took_us) >= (uint64_t)slower_than) {
        add(slowlog, slow);
    } else {
        give(slow);
    }
}

/* ---- For SLOWLOG and CONFIG ---- */

void slowlog_set(struct slowlog *slowlog, int64_t slower_than_us, uint32_t count_max)
{
    pthread_mutex_lock(&slowlog->lock);
    atomic_store(&slowlog->slower_than_us, slower_than_us);
    slowlog->count_max = count_max;
    trim(slowlog, count_max);
    pthread_mutex_unlock(&slowlog->lock);
}

uint32_t slowlog_count_max(struct slowlog *slowlog)
{
    pthread_mutex_lock(&slowlog->lock);
    uint32_t count_max = slowlog->count_max;
    pthread_mutex_unlock(&slowlog->lock);
    return count_max;
}

uint32_t slowlog_count(struct slowlog *slowlog)
{
    pthread_mutex_lock(&slowlog->lock);
    uint32_t count = slowlog->count;
    pthread_mutex_unlock(&slowlog->lock);
    return count;
}

void slowlog_reset(struct slowlog *slowlog)
{
    pthread_mutex_lock(&slowlog->lock);
    trim(slowlog, 0);
    pthread_mutex_unlock(&slowlog->lock);
}

static int put_entry(const struct resp_out *out, const struct slow_request *slow)
{
    int rc = resp_array(out, 6);

    rc = rc != 0 ? rc : resp_number(out, (int64_t)slow->id);
    rc = rc != 0 ? rc : resp_number(out, (int64_t)slow->time_s);
    rc = rc != 0 ? rc : resp_number(out, (int64_t)atomic_load(&slow->took_us));
    rc = rc != 0 ? rc : buffer_append(out->buffer, slow->arguments);
    rc = rc != 0 ? rc : resp_text(out, slow->address);
    return rc != 0 ? rc : resp_text(out, slow->name);
}

int slowlog_put(struct slowlog *slowlog, uint64_t count, const struct resp_out *out)
{
    pthread_mutex_lock(&slowlog->lock);
    count = count < slowlog->count ? count : slowlog->count;
    int rc = resp_array(out, count);
    for (const struct slow_request *at = slowlog->newest; rc == 0 && count > 0; count--) {
        rc = put_entry(out, at);
        at = at->older;
    }
    pthread_mutex_unlock(&slowlog->lock);
    return rc;
}
