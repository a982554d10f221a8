#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "checkpoint_state.h"
#include "raft_storage_state.h"

enum { BATCH_CALLS = 64 };
#define MAP_BYTES_MIN (UINT64_C(1) << 20)

/* ---- The queue ---- */

static struct raft_storage *storage_of(struct raft_store *port)
{
    return (struct raft_storage *)(void *)((uint8_t *)port - offsetof(struct raft_storage, port));
}

/* Room for a call and so many bytes behind it; NULL with `rc` set where it may not be taken. */
static struct raft_call *make_call(struct raft_storage *storage, size_t bytes, int *rc)
{
    struct memory *memory = storage->options.memory;

    assert(storage->thread_runs);
    pthread_mutex_lock(&storage->mutex);
    *rc = storage->failure;
    if (*rc == 0 && (storage->call_count == RAFT_STORAGE_CALLS_MAX ||
                     storage->call_bytes + bytes > RAFT_STORAGE_BYTES_MAX)) {
        *rc = -EAGAIN;
    }
    pthread_mutex_unlock(&storage->mutex);
    if (*rc != 0) {
        return NULL;
    }
    struct raft_call *call = memory->resize(memory, NULL, 0, sizeof *call + bytes);
    if (call == NULL) {
        *rc = -ENOMEM;
        return NULL;
    }
    *call = (struct raft_call){.size = sizeof *call + bytes};
    return call;
}

static void free_call(struct raft_storage *storage, struct raft_call *call)
{
    storage->options.memory->resize(storage->options.memory, call, call->size, 0);
}

static void give(struct raft_storage *storage, struct raft_call *call)
{
    pthread_mutex_lock(&storage->mutex);
    if (storage->first == NULL) {
        storage->first = call;
    } else {
        storage->last->next = call;
    }
    storage->last = call;
    storage->given = call->sequence;
    storage->call_count++;
    storage->call_bytes += call->size;
    pthread_cond_signal(&storage->changed);
    pthread_mutex_unlock(&storage->mutex);
}

static int port_vote(struct raft_store *port, uint64_t sequence, uint64_t term, uint32_t node)
{
    struct raft_storage *storage = storage_of(port);
    int rc;
    struct raft_call *call = make_call(storage, 0, &rc);

    if (call != NULL) {
        call->kind = RAFT_CALL_VOTE;
        call->sequence = sequence;
        call->term = term;
        call->node = node;
        give(storage, call);
    }
    return rc;
}

static int port_append(struct raft_store *port, uint64_t sequence,
                       const struct raft_entry entries[], uint32_t count)
{
    struct raft_storage *storage = storage_of(port);
    size_t bytes = count * sizeof *entries;
    int rc;

    for (uint32_t i = 0; i < count; i++) {
        bytes += entries[i].data.size;
    }
    struct raft_call *call = make_call(storage, bytes, &rc);
    if (call == NULL) {
        return rc;
    }
    call->kind = RAFT_CALL_APPEND;
    call->sequence = sequence;
    call->index = entries[0].index;
    call->entries = (struct raft_entry *)(void *)(call + 1);
    call->entry_count = count;
    uint8_t *data = (uint8_t *)(call->entries + count);
    for (uint32_t i = 0; i < count; i++) {
        call->entries[i] = entries[i];
        call->entries[i].data = bytes_of(data, entries[i].data.size);
        if (entries[i].data.size > 0) {
            memcpy(data, entries[i].data.data, entries[i].data.size);
        }
        data += entries[i].data.size;
    }
    give(storage, call);
    return 0;
}

static int port_snapshot(struct raft_store *port, uint64_t sequence, uint64_t index, uint64_t term,
                         struct bytes snapshot, bool alone)
{
    struct raft_storage *storage = storage_of(port);
    int rc;
    struct raft_call *call = make_call(storage, snapshot.size, &rc);

    if (call != NULL) {
        call->kind = RAFT_CALL_SNAPSHOT;
        call->sequence = sequence;
        call->index = index;
        call->term = term;
        call->alone = alone;
        call->snapshot = bytes_of(call + 1, snapshot.size);
        memcpy(call + 1, snapshot.data, snapshot.size);
        give(storage, call);
    }
    return rc;
}

/* One that waits already is taken along: only the last counts. */
static bool commit_waits(struct raft_storage *storage, uint64_t index)
{
    bool waits = false;

    pthread_mutex_lock(&storage->mutex);
    if (storage->call_count > storage->writing && storage->last->kind == RAFT_CALL_COMMIT) {
        storage->last->index = index;
        waits = true;
    }
    pthread_mutex_unlock(&storage->mutex);
    return waits;
}

void raft_storage_commit(struct raft_storage *storage, uint64_t index)
{
    int rc;
    struct raft_call *call = commit_waits(storage, index) ? NULL : make_call(storage, 0, &rc);

    if (call != NULL) {
        call->kind = RAFT_CALL_COMMIT;
        call->sequence = storage->given;
        call->index = index;
        give(storage, call);
    }
}

/* ---- The thread ---- */

/* With the mutex held: the first `count` calls are done with. */
static void take_off(struct raft_storage *storage, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct raft_call *call = storage->first;
        storage->first = call->next;
        storage->call_count--;
        storage->call_bytes -= call->size;
        free_call(storage, call);
    }
}

static void wait_for_room(struct raft_storage *storage)
{
    struct timespec until;
    uint32_t retry_ms = storage->options.retry_ms;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += retry_ms / 1000;
    until.tv_nsec += (long)(retry_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (rc == 0 && !storage->stop) {
        rc = pthread_cond_timedwait(&storage->changed, &storage->mutex, &until);
    }
}

/* With the mutex held, and let go meanwhile: write what waits, or a part of it. */
static void write_some(struct raft_storage *storage)
{
    const struct raft_call *first = storage->first;
    uint32_t count = storage->call_count < BATCH_CALLS ? storage->call_count : BATCH_CALLS;
    uint64_t sequence = 0;
    const struct raft_call *call = first;

    for (uint32_t i = 0; i < count; i++) {
        sequence = call->sequence;
        call = call->next;
    }
    storage->writing = count;
    pthread_mutex_unlock(&storage->mutex);
    int rc = raft_storage_write(storage, first, count);
    pthread_mutex_lock(&storage->mutex);
    storage->writing = 0;
    storage->failure = rc;
    if (rc == 0) {
        storage->stored = sequence;
        take_off(storage, count);
    } else if (rc != -ENOSPC) {
        take_off(storage, storage->call_count);
    }
    storage->options.wake(storage->options.context);
    if (rc == -ENOSPC) {
        wait_for_room(storage);
    }
}

static void *run(void *argument)
{
    struct raft_storage *storage = argument;
    bool last = false; /* What waits at the end is tried once more. */

    pthread_mutex_lock(&storage->mutex);
    while (!last) {
        while (storage->first == NULL && !storage->stop) {
            pthread_cond_wait(&storage->changed, &storage->mutex);
        }
        last = storage->stop && (storage->first == NULL || storage->failure != 0);
        if (storage->failure != 0 && storage->failure != -ENOSPC) {
            take_off(storage, storage->call_count); /* It came before that was known. */
        } else if (storage->first != NULL) {
            write_some(storage);
        }
    }
    pthread_mutex_unlock(&storage->mutex);
    return NULL;
}

/* ---- Beginning and end ---- */

int raft_storage_open_environment(struct raft_storage *storage)
{
    return checkpoint_environment_open(storage->options.directory, storage->map_bytes, 0,
                                       &storage->env, &storage->dbi);
}

void raft_storage_close_environment(struct raft_storage *storage)
{
    if (storage->env != NULL) {
        mdb_env_close(storage->env);
        storage->env = NULL;
    }
}

/* The directory and its name are durable before anything in it counts. */
static int make_directory(const struct raft_storage_options *options)
{
    struct files *files = options->files;
    char parent[PATH_BYTES_MAX];
    const char *slash = strrchr(options->directory, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - options->directory);

    if (size >= sizeof parent) {
        return -ENAMETOOLONG;
    }
    int rc = files->make_directory(files, options->directory);
    if (rc != 0) {
        return rc == -EEXIST ? 0 : rc;
    }
    memcpy(parent, size > 0 ? options->directory : ".", size > 0 ? size : 1);
    parent[size > 0 ? size : 1] = '\0';
    return files->sync_directory(files, parent);
}

static int load(struct raft_storage *storage, char *message, size_t message_size)
{
    const char *directory = storage->options.directory, *what = NULL;

    int rc = make_directory(&storage->options);
    if (rc != 0) {
        snprintf(message, message_size, "cannot make %s: %s", directory, strerror(-rc));
        return rc;
    }
    rc = raft_storage_open_environment(storage);
    if (rc == 0) {
        rc = raft_storage_read(storage, &what);
    }
    if (rc == -EBADMSG) {
        snprintf(message, message_size, "%s: the cluster's map is damaged (%s). " RAFT_STORAGE_LOST,
                 directory, what != NULL ? what : "LMDB's structure");
    } else if (rc == -EPROTONOSUPPORT) {
        snprintf(message, message_size, "%s was written by another version", directory);
    } else if (rc != 0) {
        snprintf(message, message_size, "cannot read %s: %s", directory, strerror(-rc));
    }
    return rc;
}

void raft_storage_forget(struct raft_storage *storage)
{
    storage->saved = (struct raft_saved){0};
    buffer_fini(&storage->snapshot);
    buffer_fini(&storage->entries);
    buffer_fini(&storage->data);
}

int raft_storage_open(const struct raft_storage_options *options, struct raft_storage **storage,
                      char *message, size_t message_size)
{
    struct memory *memory = options->memory;
    struct raft_storage *made = memory->resize(memory, NULL, 0, sizeof *made);
    pthread_condattr_t attributes;

    if (made == NULL) {
        snprintf(message, message_size, "%s: %s", options->directory, strerror(ENOMEM));
        return -ENOMEM;
    }
    *made = (struct raft_storage){
        .port = {.vote = port_vote, .append = port_append, .snapshot = port_snapshot},
        .options = *options,
        .map_bytes = options->map_bytes < MAP_BYTES_MIN ? MAP_BYTES_MIN : options->map_bytes,
        .snapshot = {.memory = memory},
        .entries = {.memory = memory},
        .data = {.memory = memory},
    };
    if (made->options.retry_ms == 0) {
        made->options.retry_ms = RAFT_STORAGE_RETRY_MS;
    }
    pthread_mutex_init(&made->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = load(made, message, message_size);
    if (rc != 0) {
        raft_storage_close(made);
        return rc;
    }
    *storage = made;
    return 0;
}

const struct raft_saved *raft_storage_saved(const struct raft_storage *storage)
{
    return &storage->saved;
}

int raft_storage_replace(struct raft_storage *storage, const struct raft_saved *saved)
{
    struct raft_call snapshot = {
        .kind = RAFT_CALL_SNAPSHOT,
        .index = saved->snapshot_index,
        .term = saved->snapshot_term,
        .alone = true,
        .snapshot = saved->snapshot,
    };
    struct raft_call vote = {
        .next = &snapshot,
        .kind = RAFT_CALL_VOTE,
        .term = saved->term,
        .node = saved->voted_for,
    };

    assert(!storage->thread_runs && saved->entry_count == 0);
    struct buffer kept = {.memory = storage->options.memory};
    int rc = buffer_append(&kept, saved->snapshot);
    if (rc == 0) {
        rc = raft_storage_write(storage, &vote, 2);
    }
    if (rc != 0) {
        buffer_fini(&kept);
        return rc;
    }
    raft_storage_forget(storage);
    storage->snapshot = kept;
    storage->saved = *saved;
    storage->saved.snapshot = buffer_bytes(&storage->snapshot);
    return 0;
}

int raft_storage_begin(struct raft_storage *storage, const struct raft_saved *saved)
{
    assert(storage->saved.term == 0);
    return raft_storage_replace(storage, saved);
}

int raft_storage_start(struct raft_storage *storage)
{
    storage->thread_runs = true;
    int rc = -pthread_create(&storage->thread, NULL, run, storage);
    storage->thread_runs = rc == 0;
    return rc;
}

void raft_storage_close(struct raft_storage *storage)
{
    if (storage == NULL) {
        return;
    }
    struct memory *memory = storage->options.memory;
    if (storage->thread_runs) {
        pthread_mutex_lock(&storage->mutex);
        storage->stop = true;
        pthread_cond_signal(&storage->changed);
        pthread_mutex_unlock(&storage->mutex);
        pthread_join(storage->thread, NULL);
    }
    take_off(storage, storage->call_count);
    raft_storage_forget(storage);
    raft_storage_close_environment(storage);
    pthread_cond_destroy(&storage->changed);
    pthread_mutex_destroy(&storage->mutex);
    memory->resize(memory, storage, sizeof *storage, 0);
}

struct raft_store *raft_storage_port(struct raft_storage *storage)
{
    return &storage->port;
}

uint64_t raft_storage_stored(struct raft_storage *storage)
{
    pthread_mutex_lock(&storage->mutex);
    uint64_t stored = storage->stored;
    pthread_mutex_unlock(&storage->mutex);
    return stored;
}

int raft_storage_failure(struct raft_storage *storage)
{
    pthread_mutex_lock(&storage->mutex);
    int failure = storage->failure;
    pthread_mutex_unlock(&storage->mutex);
    return failure;
}
