#include "loader_state.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "log_kind.h"
#include "store_state.h"

static struct loader *loader_of_sink(struct store_sink *sink)
{
    return (struct loader *)(void *)((uint8_t *)sink - offsetof(struct loader, sink));
}

void loader_block_free(struct loader *loader, struct load_block *block)
{
    if (block != NULL) {
        loader->memory->resize(loader->memory, block, sizeof *block + block->capacity, 0);
    }
}

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Trouble ---- */

static bool is_suspect(const struct loader_trouble *trouble)
{
    return trouble->since_ms != 0 && clock_ms() - trouble->last_ms <= LOADER_SUSPECT_MS;
}

/* It failed. Returns whether it has for long. */
static bool trouble_comes(struct loader_trouble *trouble)
{
    const uint64_t now_ms = clock_ms();

    if (!is_suspect(trouble)) {
        trouble->since_ms = now_ms;
    }
    trouble->last_ms = now_ms;
    return now_ms - trouble->since_ms >= LOADER_GIVE_UP_MS;
}

static void tell_failing(struct loader *loader)
{
    const bool failing = loader->all_fails || loader->must_fails;

    if (atomic_exchange(&loader->failing, failing) != failing) {
        loader->wake(loader->context);
    }
}

static void tell_failure(const struct loader *loader, int error)
{
    const struct store_report report = {
        .event = STORE_FAILED,
        .shard = loader->shard,
        .file = loader->restore.failed[0] != '\0' ? loader->restore.failed : NULL,
        .error = error,
        .text =
            loader->restore.failed[0] != '\0'
                ? "loading the sessions; it is tried again, and what does not read is refused"
                : "loading the sessions from the checkpoint; it is tried again, and what does not "
                  "read is refused",
    };

    loader->reporter->report(loader->reporter, &report);
}

/* ---- Blocks, on the loader's thread ---- */

/* Put a block into the queue. */
static void publish(struct loader *loader, struct load_block *block)
{
    pthread_mutex_lock(&loader->lock);
    bool was_empty = loader->first == NULL;
    if (was_empty) {
        loader->first = block;
    } else {
        loader->last->next = block;
    }
    loader->last = block;
    loader->block_count++;
    pthread_mutex_unlock(&loader->lock);
    if (was_empty) {
        loader->wake(loader->context);
    }
}

/* What was collected so far goes out. */
static void flush(struct loader *loader)
{
    struct load_block *block = loader->filling;

    if (block != NULL) {
        loader->filling = NULL;
        block->lsn = loader->restore.lsn;
        block->position = loader->restore.position;
        block->checkpoint_given = loader->restore.checkpoint_given;
        block->fetched = loader->fetching;
        publish(loader, block);
    }
}

static int collect(struct loader *loader, uint32_t kind, struct bytes body)
{
    size_t size = LOAD_ITEM_HEADER_BYTES + body.size;
    struct load_block *block = loader->filling;

    if (block != NULL && block->capacity - block->size < size) {
        flush(loader);
        block = NULL;
    }
    if (block == NULL) {
        size_t capacity = loader->fetching ? LOADER_FETCHED_BYTES : LOADER_BLOCK_BYTES;
        capacity = size > capacity ? size : capacity;
        block = loader->memory->resize(loader->memory, NULL, 0, sizeof *block + capacity);
        if (block == NULL) {
            return -ENOMEM;
        }
        *block = (struct load_block){.capacity = capacity};
        loader->filling = block;
    }
    load_put(block, kind, body);
    return 0;
}

/* ---- What was asked for ---- */

struct fetching {
    struct store_sink sink;
    struct loader *loader;
};

static int fetch_give(struct store_sink *sink, uint32_t kind, struct bytes body)
{
    return collect(((struct fetching *)(void *)sink)->loader, kind, body);
}

/* Blocks with all of a position. */
static int fetch_blocks(struct loader *loader, uint64_t position)
{
    struct fetching fetching = {.sink = {fetch_give}, .loader = loader};
    size_t size = 0;

    int rc = restore_give_position(&loader->restore, position, &fetching.sink);
    if (rc == 0 && loader->filling == NULL) {
        rc = collect(loader, LOG_MARK,
                     bytes_of(NULL, 0)); /* Nothing is there: a block that says so. */
        size = loader->filling != NULL ? loader->filling->size : 0;
    }
    if (rc != 0) {
        return rc;
    }
    struct load_block *block = loader->filling;
    loader->filling = NULL;
    block->size -= size;
    block->fetched = block->complete = true;
    block->position = position;
    publish(loader, block);
    return 0;
}

static int fetch_one(struct loader *loader, uint64_t position)
{
    flush(loader);
    loader->fetching = true;
    int rc = fetch_blocks(loader, position);
    if (rc != 0) {
        flush(loader); /* It comes again. */
    }
    loader->fetching = false;
    return rc;
}

/* With the lock held: is something asked for, and room for it? */
static bool may_fetch(const struct loader *loader)
{
    return loader->wanted.size > loader->wanted_at && loader->block_count < LOADER_FETCHED_MAX &&
           (loader->fetch_ms == 0 || clock_ms() >= loader->fetch_ms);
}

/* Say that it cannot be read. Returns 0, or -ENOMEM. */
static int give_up(struct loader *loader, uint64_t position, int error)
{
    struct load_block *block = loader->memory->resize(loader->memory, NULL, 0, sizeof *block);

    if (block == NULL) {
        return -ENOMEM;
    }
    *block = (struct load_block){.fetched = true, .position = position, .error = error};
    publish(loader, block);
    return 0;
}

/* Read it, or give it up. Returns 0, or negative errno: it is to be tried again. */
static int fetch_wish(struct loader *loader, const struct loader_wish *wish)
{
    int rc = fetch_one(loader, wish->position);

    loader->fetch_ms = 0;
    if (rc != 0) {
        const bool suspect = is_suspect(&loader->one_trouble);
        const bool long_ago = trouble_comes(&loader->one_trouble);
        if (!suspect) {
            tell_failure(loader, rc);
        }
        loader->must_fails = long_ago && wish->must;
        rc = long_ago && !wish->must ? give_up(loader, wish->position, rc) : rc;
        loader->fetch_ms = rc != 0 ? clock_ms() + LOADER_RETRY_MS : 0;
    } else if (wish->must) {
        loader->must_fails = false;
    }
    tell_failing(loader);
    return rc;
}

/* Returns 0, or negative errno: it is asked for still. */
static int fetch_first(struct loader *loader)
{
    struct loader_wish wish;

    pthread_mutex_lock(&loader->lock);
    memcpy(&wish, loader->wanted.data + loader->wanted_at, sizeof wish);
    pthread_mutex_unlock(&loader->lock);
    int rc = fetch_wish(loader, &wish);
    if (rc == 0) {
        pthread_mutex_lock(&loader->lock);
        loader->wanted_at += sizeof wish;
        if (loader->wanted_at == loader->wanted.size) {
            loader->wanted.size = loader->wanted_at = 0;
            atomic_store(&loader->asked, false);
        }
        pthread_mutex_unlock(&loader->lock);
    }
    return rc;
}

/* As much as there is room for. Returns 0, or negative errno: what is left is asked for still. */
static int fetch_all(struct loader *loader)
{
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        pthread_mutex_lock(&loader->lock);
        more = may_fetch(loader);
        pthread_mutex_unlock(&loader->lock);
        if (more) {
            rc = fetch_first(loader);
        }
    }
    return rc;
}

/* ---- Everything ---- */

static bool is_full(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    while (loader->block_count >= LOADER_BLOCKS_MAX && !may_fetch(loader) &&
           !atomic_load(&loader->stopping)) {
        pthread_cond_wait(&loader->changed, &loader->lock);
    }
    bool full = loader->block_count >= LOADER_BLOCKS_MAX;
    pthread_mutex_unlock(&loader->lock);
    return full;
}

/* One record of all that there is. First what is asked for, and room. */
static int give(struct store_sink *sink, uint32_t kind, struct bytes body)
{
    struct loader *loader = loader_of_sink(sink);
    const struct load_block *block = loader->filling;
    bool fits =
        block != NULL && block->capacity - block->size >= LOAD_ITEM_HEADER_BYTES + body.size;
    int rc = 0;

    if (atomic_load_explicit(&loader->asked, memory_order_relaxed)) {
        (void)fetch_all(loader); /* What does not read is asked for again later. */
        fits = false;
    }
    while (rc == 0 && !fits && is_full(loader)) {
        rc = atomic_load(&loader->stopping) ? -ECANCELED : 0;
        (void)fetch_all(loader);
    }
    if (rc == 0 && !fits && atomic_load(&loader->stopping)) {
        rc = -ECANCELED;
    }
    return rc != 0 ? rc : collect(loader, kind, body);
}

/* Wait before the next try; where it `serves`, what is asked for comes meanwhile. */
static void rest(struct loader *loader, bool serves)
{
    struct timespec until;
    bool asked = false;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOADER_RETRY_MS / 1000;
    do {
        if (asked) {
            (void)fetch_all(loader);
        }
        pthread_mutex_lock(&loader->lock);
        asked = serves && may_fetch(loader);
        while (rc == 0 && !asked && !atomic_load(&loader->stopping)) {
            rc = pthread_cond_timedwait(&loader->changed, &loader->lock, &until);
            asked = serves && may_fetch(loader);
        }
        pthread_mutex_unlock(&loader->lock);
    } while (rc == 0 && !atomic_load(&loader->stopping));
}

/* All that a restart has. Returns false when stopped before the end. */
static bool give_all(struct loader *loader)
{
    int rc, told = 0;

    while ((rc = restore_give(&loader->restore, &loader->sink)) != 0 &&
           !atomic_load(&loader->stopping)) {
        if (rc != told) {
            tell_failure(loader, rc);
            told = rc;
        }
        loader->all_fails = trouble_comes(&loader->all_trouble);
        tell_failing(loader);
        rest(loader, true);
    }
    if (rc != 0) {
        return false;
    }
    loader->all_fails = false;
    tell_failing(loader);
    flush(loader);
    pthread_mutex_lock(&loader->lock);
    loader->over = true;
    bool was_empty = loader->first == NULL;
    pthread_mutex_unlock(&loader->lock);
    if (was_empty) {
        loader->wake(loader->context);
    }
    return true;
}

/* Wait for something to do. Returns whether something was asked for, and there is room. */
static bool is_asked(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    for (;;) {
        bool finish = atomic_load(&loader->finishing) && !atomic_load(&loader->finished);
        bool asked = may_fetch(loader);
        if (atomic_load(&loader->stopping) || finish || asked) {
            pthread_mutex_unlock(&loader->lock);
            return asked;
        }
        if (loader->fetch_ms != 0 && loader->wanted.size > loader->wanted_at) {
            const struct timespec until = {.tv_sec = (time_t)(loader->fetch_ms / 1000),
                                           .tv_nsec = (long)(loader->fetch_ms % 1000) * 1000000};
            (void)pthread_cond_timedwait(&loader->changed, &loader->lock, &until);
        } else {
            pthread_cond_wait(&loader->changed, &loader->lock);
        }
    }
}

/* What the restart needed is the store's again. */
static void finish(struct loader *loader)
{
    if (atomic_load(&loader->finishing) && !atomic_load(&loader->finished)) {
        restore_fini(&loader->restore);
        atomic_store(&loader->finished, true);
        segments_wake(loader->store->segments);
    }
}

static void serve(struct loader *loader)
{
    while (!atomic_load(&loader->stopping)) {
        finish(loader);
        if (is_asked(loader) && fetch_first(loader) != 0) {
            rest(loader, false);
        }
    }
}

void *loader_main(void *context)
{
    struct loader *loader = context;

    if (!loader->preparing || give_all(loader)) {
        serve(loader);
    }
    return NULL;
}

/* ---- Its life ---- */

void loader_init(struct loader *loader, struct store *store)
{
    const struct store_options *options = &store->options;
    pthread_condattr_t attributes;

    *loader = (struct loader){
        .port = loader_port,
        .store = store,
        .restore = {.store = store},
        .memory = options->memory,
        .reporter = options->reporter,
        .shard = options->shard,
        .wanted = {.memory = options->memory},
        .sink = {give},
    };
    pthread_mutex_init(&loader->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&loader->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void loader_fini(struct loader *loader)
{
    loader_stop(loader);
    while (loader->first != NULL) {
        struct load_block *next = loader->first->next;
        loader_block_free(loader, loader->first);
        loader->first = next;
    }
    loader_block_free(loader, loader->filling);
    buffer_fini(&loader->wanted);
    restore_fini(&loader->restore);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->lock);
}

/* What there is to give, as the restore says. */
static void look_at_work(struct loader *loader)
{
    const struct restore *restore = &loader->restore;

    loader->preparing = !restore_is_empty(restore);
    loader->lsn = restore->from_lsn;
    loader->end_lsn = restore->end_lsn;
    loader->port.log_bytes = restore->end_lsn - restore->from_lsn;
    loader->port.log_lsn = restore->end_lsn;
}

int loader_prepare(struct loader *loader, uint64_t *lsn, uint64_t *hlc)
{
    int rc = restore_prepare(&loader->restore, loader->store);

    if (rc != 0) {
        return rc;
    }
    look_at_work(loader);
    *lsn = loader->restore.end_lsn;
    *hlc = loader->restore.hlc;
    return 0;
}

void loader_compacted(struct loader *loader)
{
    restore_compacted(&loader->restore);
    look_at_work(loader);
}

bool loader_has_work(const struct loader *loader)
{
    return loader->preparing;
}

void loader_stop(struct loader *loader)
{
    if (!loader->running) {
        return;
    }
    pthread_mutex_lock(&loader->lock);
    atomic_store(&loader->stopping, true);
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    pthread_join(loader->thread, NULL);
    loader->running = false;
}
