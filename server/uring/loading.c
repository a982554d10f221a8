#include "loading.h"

#include <errno.h>

#include "bounds.h"
#include "load.h"
#include "log_kind.h"
#include "mailbox.h"
#include "plane_private.h"
#include "shard_thread.h"

enum { LOADING_STEP = 32 /* Records between two looks at the clock. */ };

void loading_wake(void *context)
{
    struct shard_thread *thread = context;

    atomic_store(&thread->load_ready, true);
    mailbox_wake(&thread->mailbox);
}

/* Returns as shard_restore_*(). */
static int take_in(struct shard_thread *thread, uint32_t kind, struct bytes body)
{
    struct shard *shard = thread->shard;

    if (kind == LOAD_STORED) {
        return shard_restore_stored(shard, body, thread->loading->fetched);
    }
    if (!thread->loads) {
        return 0; /* It was given already; only the checkpoint counts now. */
    }
    switch (kind) {
    case LOG_FULL:
        return shard_restore_record(shard, body);
    case LOG_DELTA:
        return shard_restore_delta(shard, body);
    case LOG_TOUCH:
        return shard_restore_touch(shard, body);
    case LOG_BURY:
        return shard_restore_bury(shard, body);
    case LOG_DROP:
        return shard_restore_drop(shard, body);
    default:
        return 0;
    }
}

/* Take in records of the present block until `until_us`. Returns whether all of it is done. */
static bool take_in_block(struct shard_thread *thread, uint64_t until_us)
{
    struct load_block *block = thread->loading;
    struct bytes body;
    uint32_t kind;

    for (uint32_t i = 1; load_next(block, &kind, &body); i++) {
        int rc = take_in(thread, kind, body);
        if (rc == -ENOMEM) {
            load_unnext(block, body);
            thread->loading_us = thread->now_us + LOADING_RETRY_MS * 1000;
            return false;
        }
        if (rc != 0) {
            thread->loader->tell(thread->loader, kind, body, rc);
        }
        if (i % LOADING_STEP == 0 && monotonic_us() >= until_us) {
            return false;
        }
    }
    return true;
}

static void end_block(struct shard_thread *thread)
{
    struct load_block *block = thread->loading;
    const bool complete = block->complete, failed = block->error != 0;
    uint64_t position = block->position;

    thread->loading = NULL;
    thread->loader->give_back(thread->loader, block);
    if (failed) {
        shard_load_failed(thread->shard, position, thread->now_ms, monotonic_us());
    } else if (complete) {
        shard_loaded(thread->shard, position, thread->now_ms, monotonic_us());
    }
}

static void end_loading(struct shard_thread *thread)
{
    shard_loading_end(thread->shard, thread->now_ms, monotonic_us());
    thread->loader->finish(thread->loader);
    thread->loads = false;
}

uint64_t loading_turn(struct shard_thread *thread)
{
    bool over = false;

    if (thread->loading == NULL && !atomic_load(&thread->load_ready)) {
        return UINT64_MAX; /* The loader wakes us. */
    }
    if (thread->now_us < thread->loading_us) {
        return thread->loading_us - thread->now_us;
    }
    uint64_t until_us = monotonic_us() + LOADING_TURN_US;
    shard_set_load_failing(thread->shard, thread->loader->failing(thread->loader), until_us);
    do {
        if (thread->loading == NULL) {
            atomic_store(&thread->load_ready, false);
            thread->loading = thread->loader->take(thread->loader, &over);
        }
        if (over) {
            end_loading(thread);
        }
        if (thread->loading == NULL) {
            return UINT64_MAX;
        }
        atomic_store(&thread->load_ready, true); /* Perhaps there are more. */
        if (take_in_block(thread, until_us)) {
            end_block(thread);
        }
    } while (thread->now_us >= thread->loading_us && monotonic_us() < until_us);
    return thread->now_us < thread->loading_us ? LOADING_RETRY_MS * 1000 : 0;
}

void loading_drop(struct shard_thread *thread)
{
    if (thread->loading != NULL) {
        thread->loader->give_back(thread->loader, thread->loading);
        thread->loading = NULL;
    }
}
