#include "levels.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "slot.h"

struct levels {
    uv_async_t wake;
    void (*level)(void *context, uint32_t slot, const struct slot_owners *targets);
    void *context;
    pthread_mutex_t mutex; /* Of what follows. */
    uint32_t count;
    uint16_t slots[SLOT_COUNT]; /* Those that wait. */
    bool waits[SLOT_COUNT];
    struct slot_owners targets[SLOT_COUNT];
};

static bool take(struct levels *levels, uint32_t *slot, struct slot_owners *targets)
{
    bool taken = false;

    pthread_mutex_lock(&levels->mutex);
    if (levels->count > 0) {
        *slot = levels->slots[--levels->count];
        *targets = levels->targets[*slot];
        levels->waits[*slot] = false;
        taken = true;
    }
    pthread_mutex_unlock(&levels->mutex);
    return taken;
}

static void on_wake(uv_async_t *wake)
{
    struct levels *levels = wake->data;
    struct slot_owners targets;
    uint32_t slot;

    while (take(levels, &slot, &targets)) {
        levels->level(levels->context, slot, &targets);
    }
}

int levels_create(uv_loop_t *loop,
                  void (*level)(void *context, uint32_t slot, const struct slot_owners *targets),
                  void *context, struct levels **levels)
{
    struct levels *made = calloc(1, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    int rc = uv_async_init(loop, &made->wake, on_wake);
    if (rc != 0) {
        free(made);
        return rc;
    }
    made->wake.data = made;
    made->level = level;
    made->context = context;
    pthread_mutex_init(&made->mutex, NULL);
    *levels = made;
    return 0;
}

void levels_put(struct levels *levels, uint32_t slot, const struct slot_owners *targets)
{
    assert(slot < SLOT_COUNT);
    pthread_mutex_lock(&levels->mutex);
    levels->targets[slot] = *targets;
    if (!levels->waits[slot]) {
        levels->waits[slot] = true;
        levels->slots[levels->count++] = (uint16_t)slot;
    }
    pthread_mutex_unlock(&levels->mutex);
    uv_async_send(&levels->wake);
}

static void on_closed(uv_handle_t *handle)
{
    struct levels *levels = handle->data;

    pthread_mutex_destroy(&levels->mutex);
    free(levels);
}

void levels_destroy(struct levels *levels)
{
    if (levels != NULL) {
        uv_close((uv_handle_t *)&levels->wake, on_closed);
    }
}
