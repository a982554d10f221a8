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

/* Has it lasted for long, and not long ago? */
static bool trouble_is_known(const struct loader_trouble *trouble)
{
    return trouble->known && clock_ms() - trouble->last_ms <= LOADER_SUSPECT_MS;
}

/* It failed. Returns whether it has for long. */
static bool trouble_comes(struct loader_trouble *trouble)
{
    const uint64_t now_ms = clock_ms();

    trouble->known = trouble_is_known(trouble);
    if (trouble->since_ms == 0) {
        trouble->since_ms = now_ms;
    }
    trouble->known = trouble->known || now_ms - trouble->since_ms >= LOADER_GIVE_UP_MS;
    trouble->last_ms = now_ms;
    return trouble->known;
}

/* It worked. Where it is known, something else may fail still. */
static void trouble_ends(struct loader_trouble *trouble)
{
    trouble->since_ms = 0;
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

static struct loader_wish *wishes_of(struct loader *loader, size_t *count)
{
    *count = (loader->wanted.size - loader->wanted_at) / sizeof(struct loader_wish);
    return (struct loader_wish *)(void *)(loader->wanted.data + loader->wanted_at);
}

/* With the lock held: the first that may be read now, while there is room for it, or NULL; `next_ms`: one may be then, 0: there is
 * none. */
static struct loader_wish *due_wish(struct loader *loader, uint64_t *next_ms)
{
    size_t count;
    struct loader_wish *wishes = wishes_of(loader, &count);
    const uint64_t now_ms = count > 0 && wishes[0].after_ms != 0 ? clock_ms() : 0;

    *next_ms = 0;
    for (size_t i = 0; i < count && loader->block_count < LOADER_FETCHED_MAX; i++) {
        if (wishes[i].after_ms <= now_ms) {
            return &wishes[i];
        }
        if (*next_ms == 0 || wishes[i].after_ms < *next_ms) {
            *next_ms = wishes[i].after_ms;
        }
    }
    return NULL;
}

static bool may_fetch(struct loader *loader)
{
    uint64_t next_ms;

    return due_wish(loader, &next_ms) != NULL;
}

/* It came. Returns whether it was the last that the end of a load waited for. */
static bool take_out(struct loader *loader, size_t place)
{
    size_t count;
    struct loader_wish *wishes = wishes_of(loader, &count);
    const bool last = wishes[place].early && --loader->early == 0;

    memmove(wishes + 1, wishes, place * sizeof *wishes); /* Few are before it, as a rule none. */
    loader->wanted_at += sizeof *wishes;
    if (count == 1) {
        loader->wanted.size = loader->wanted_at = 0;
        atomic_store(&loader->asked, false);
    } else if (loader->wanted_at > loader->wanted.size / 2) {
        memmove(loader->wanted.data, wishes + 1, (count - 1) * sizeof *wishes);
        loader->wanted.size -= loader->wanted_at;
        loader->wanted_at = 0;
    }
    return last;
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

    if (rc != 0) {
        const bool first = loader->one_trouble.since_ms == 0;
        const bool known = trouble_is_known(&loader->one_trouble);
        const bool long_ago =
            trouble_comes(&loader->one_trouble) ||
            (wish->since_ms != 0 && clock_ms() - wish->since_ms >= LOADER_GIVE_UP_MS);
        if (first && !known) {
            tell_failure(loader, rc);
        }
        loader->must_fails = loader->must_fails || (long_ago && wish->must);
        rc = long_ago && !wish->must ? give_up(loader, wish->position, rc) : rc;
    } else {
        loader->must_fails = loader->must_fails && !wish->must;
        trouble_ends(&loader->one_trouble);
    }
    tell_failing(loader);
    return rc;
}

/* The first that is due. Returns whether there was one. What fails is asked for still, and those behind it come meanwhile. */
static bool fetch_first(struct loader *loader)
{
    uint64_t next_ms;
    size_t count;
    bool last = false;

    pthread_mutex_lock(&loader->lock);
    struct loader_wish *first = due_wish(loader, &next_ms);
    if (first == NULL) {
        pthread_mutex_unlock(&loader->lock);
        return false;
    }
    const struct loader_wish wish = *first;
    const size_t place = (size_t)(first - wishes_of(loader, &count));
    pthread_mutex_unlock(&loader->lock);
    int rc = fetch_wish(loader, &wish);
    pthread_mutex_lock(&loader->lock); /* There may be more now, behind it. */
    if (rc == 0) {
        last = take_out(loader, place);
    } else {
        struct loader_wish *again = &wishes_of(loader, &count)[place];
        const uint64_t now_ms = clock_ms();
        again->since_ms = again->since_ms != 0 ? again->since_ms : now_ms;
        again->after_ms = now_ms + LOADER_RETRY_MS;
    }
    pthread_mutex_unlock(&loader->lock);
    if (last) {
        loader->wake(loader->context);
    }
    return true;
}

static void fetch_all(struct loader *loader)
{
    while (fetch_first(loader) && !atomic_load(&loader->stopping)) {
    }
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
        fetch_all(loader);
        fits = false;
    }
    while (rc == 0 && !fits && is_full(loader)) {
        rc = atomic_load(&loader->stopping) ? -ECANCELED : 0;
        fetch_all(loader);
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
            fetch_all(loader);
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

/* Wait for something to do. */
static void await(struct loader *loader)
{
    uint64_t next_ms = 0;

    pthread_mutex_lock(&loader->lock);
    while (!atomic_load(&loader->stopping) &&
           (!atomic_load(&loader->finishing) || atomic_load(&loader->finished)) &&
           due_wish(loader, &next_ms) == NULL) {
        const struct timespec until = {.tv_sec = (time_t)(next_ms / 1000),
                                       .tv_nsec = (long)(next_ms % 1000) * 1000000};
        if (next_ms == 0) {
            pthread_cond_wait(&loader->changed, &loader->lock);
        } else {
            (void)pthread_cond_timedwait(&loader->changed, &loader->lock, &until);
        }
    }
    pthread_mutex_unlock(&loader->lock);
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
        (void)fetch_first(loader);
        await(loader);
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
