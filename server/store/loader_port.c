/* The loader as the shard sees it, and whoever runs that: on their thread. */
#include "loader_state.h"

#include <assert.h>

#include "kept_seen.h"
#include "log_kind.h"
#include "session.h"
#include "store_state.h"

static struct loader *loader_of_port(struct loader_port *port)
{
    return (struct loader *)(void *)((uint8_t *)port - offsetof(struct loader, port));
}

static bool port_pending(struct loader_port *port, uint64_t position)
{
    const struct loader *loader = loader_of_port(port);
    const struct restore *restore = &loader->restore;

    if (!loader->checkpoint_given && restore->has_checkpoint && position >= loader->position) {
        return true;
    }
    for (uint32_t i = 0; i < restore->run_count; i++) {
        const struct restore_run *run = &restore->runs[i];
        if (run->index.end_lsn <= loader->lsn) {
            continue;
        }
        for (size_t at = segment_index_find(&run->index, position);
             at < run->index.count && run->index.entries[at].position == position; at++) {
            uint64_t offset = segment_entry_offset(&run->index.entries[at]);
            if (run->file.lsn + (offset - LOG_HEADER_BYTES) >= loader->lsn) {
                return true;
            }
        }
    }
    return false;
}

static int port_fetch(struct loader_port *port, uint64_t position, bool must)
{
    struct loader *loader = loader_of_port(port);
    const struct loader_wish wish = {.position = position, .must = must};

    pthread_mutex_lock(&loader->lock);
    int rc = buffer_append(&loader->wanted, bytes_of(&wish, sizeof wish));
    atomic_store(&loader->asked, loader->wanted.size > loader->wanted_at);
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    return rc;
}

static void port_covered(struct loader_port *port, uint64_t *lsn, uint64_t *hlc)
{
    struct store *store = loader_of_port(port)->store;

    *lsn = atomic_load(&store->covered_lsn);
    *hlc = atomic_load(&store->covered_hlc);
}

static void port_hurry(struct loader_port *port, uint64_t lsn)
{
    const struct loader *loader = loader_of_port(port);
    struct store *store = loader->store;

    lsn = lsn != 0 ? lsn : loader->end_lsn;
    if (lsn > atomic_load(&store->hurried_lsn)) {
        atomic_store(&store->hurried_lsn, lsn);
        segments_wake(store->segments);
    }
}

static void port_live(struct loader_port *port, uint64_t record_bytes)
{
    atomic_store_explicit(&loader_of_port(port)->store->live_bytes, record_bytes,
                          memory_order_relaxed);
}

static int port_start(struct loader_port *port, void (*wake)(void *context), void *context)
{
    struct loader *loader = loader_of_port(port);

    assert(!loader->running);
    loader->wake = wake;
    loader->context = context;
    int rc = -pthread_create(&loader->thread, NULL, loader_main, loader);
    loader->running = rc == 0;
    return rc;
}

static void port_stop(struct loader_port *port)
{
    loader_stop(loader_of_port(port));
}

/* With the lock held, and nothing to be taken. */
static bool is_over(struct loader *loader)
{
    if (!loader->over || atomic_load(&loader->finishing)) {
        return false;
    }
    if (!loader->over_seen) {
        loader->over_seen = true;
        for (size_t at = loader->wanted_at; at < loader->wanted.size;
             at += sizeof(struct loader_wish)) {
            ((struct loader_wish *)(void *)(loader->wanted.data + at))->early = true;
            loader->early++;
        }
    }
    return loader->early == 0;
}

static struct load_block *port_take(struct loader_port *port, bool *over)
{
    struct loader *loader = loader_of_port(port);

    pthread_mutex_lock(&loader->lock);
    struct load_block *block = loader->first;
    if (block != NULL) {
        loader->first = block->next;
        loader->block_count--;
        if (loader->block_count == LOADER_BLOCKS_MAX / 2 ||
            loader->block_count == LOADER_FETCHED_MAX / 2) {
            pthread_cond_signal(&loader->changed);
        }
    }
    *over = block == NULL && is_over(loader);
    pthread_mutex_unlock(&loader->lock);
    return block;
}

static void port_give_back(struct loader_port *port, struct load_block *block)
{
    struct loader *loader = loader_of_port(port);

    if (!block->fetched) {
        loader->checkpoint_given = block->checkpoint_given;
        loader->position = block->position;
        loader->lsn = block->lsn > loader->lsn ? block->lsn : loader->lsn;
    }
    loader_block_free(loader, block);
}

static bool port_failing(const struct loader_port *port)
{
    const struct loader *loader =
        (const struct loader *)(const void *)((const uint8_t *)port -
                                              offsetof(struct loader, port));

    return atomic_load(&loader->failing);
}

static void port_tell(struct loader_port *port, uint32_t kind, struct bytes body, int error)
{
    const struct loader *loader = loader_of_port(port);

    if (kind == LOG_TOUCH && error == -ESTALE) {
        return; /* Of a session that is gone: nothing is lost with it. */
    }
    bool stored = kind == LOAD_STORED;
    const struct store_report report = {
        .event = stored             ? STORE_CHECKPOINT_DAMAGED
                 : error == -ESTALE ? STORE_LOG_BASELESS
                                    : STORE_LOG_DAMAGED,
        .shard = loader->shard,
        .size = body.size,
        .key = stored ? session_key(body) : log_record_key(kind, body),
        .error = error,
    };
    loader->reporter->report(loader->reporter, &report);
}

static void port_keep_seen(struct loader_port *port, struct bytes saved)
{
    kept_seen_put(loader_of_port(port)->store, saved);
}

static int port_kept_seen(struct loader_port *port, struct buffer *to)
{
    return kept_seen_get(loader_of_port(port)->store, to);
}

static void port_whole(struct loader_port *port, uint32_t slot)
{
    store_whole(loader_of_port(port)->store, slot);
}

static void port_finish(struct loader_port *port)
{
    struct loader *loader = loader_of_port(port);

    pthread_mutex_lock(&loader->lock);
    atomic_store(&loader->finishing, true);
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
}

const struct loader_port loader_port = {
    .pending = port_pending,
    .fetch = port_fetch,
    .covered = port_covered,
    .hurry = port_hurry,
    .live = port_live,
    .start = port_start,
    .stop = port_stop,
    .take = port_take,
    .give_back = port_give_back,
    .failing = port_failing,
    .tell = port_tell,
    .keep_seen = port_keep_seen,
    .kept_seen = port_kept_seen,
    .whole = port_whole,
    .finish = port_finish,
};
