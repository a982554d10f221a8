/* The store's ports to memory and files, of which the n-th use fails where a test asks for it. */
#ifndef STORE_FAULTS_H
#define STORE_FAULTS_H

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"
#include "files.h"

/* Memory that any thread may use, and whose n-th request fails where asked. */
struct shared_memory {
    struct memory memory;
    struct test_memory inner;
    pthread_mutex_t lock;
};

static inline void *shared_resize(struct memory *memory, void *block, size_t old, size_t size)
{
    struct shared_memory *shared = (struct shared_memory *)(void *)memory;

    pthread_mutex_lock(&shared->lock);
    void *moved = shared->inner.memory.resize(&shared->inner.memory, block, old, size);
    pthread_mutex_unlock(&shared->lock);
    return moved;
}

static inline void *shared_map(struct memory *memory, size_t size)
{
    struct shared_memory *shared = (struct shared_memory *)(void *)memory;

    pthread_mutex_lock(&shared->lock);
    void *area = shared->inner.memory.map(&shared->inner.memory, size);
    pthread_mutex_unlock(&shared->lock);
    return area;
}

static inline void shared_unmap(struct memory *memory, void *area, size_t size)
{
    struct shared_memory *shared = (struct shared_memory *)(void *)memory;

    pthread_mutex_lock(&shared->lock);
    shared->inner.memory.unmap(&shared->inner.memory, area, size);
    pthread_mutex_unlock(&shared->lock);
}

/* Files of which the n-th operation fails, and, where asked, all after it: a process that was killed. */
struct faulty_files {
    struct files files;
    uint64_t operations;
    uint64_t fail_at; /* From 1; 0: none. */
    bool stay_failed;
    int error;
    uint64_t sizes_left; /* Bytes that allocate() may still give, if `limited`. */
    bool hold_commits;   /* LMDB's commits wait for as long as it is set... */
    int commit_error;    /* ... or fail with this. */
    bool limited;
    int map_error;    /* What map() says. */
    uint64_t removed; /* Files. */
    uint64_t cached;  /* Reads since uncache(). */
};

static inline int faulty(struct files *files)
{
    struct faulty_files *faulty = (struct faulty_files *)(void *)files;

    const uint64_t now = __atomic_add_fetch(&faulty->operations, 1, __ATOMIC_RELAXED);
    const uint64_t fail_at = __atomic_load_n(&faulty->fail_at, __ATOMIC_RELAXED);
    if (fail_at == 0 || now < fail_at || (now > fail_at && !faulty->stay_failed)) {
        return 0;
    }
    return faulty->error;
}

static inline int faulty_open(struct files *files, const char *path, int flags)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->open(files_system(), path, flags);
}

static inline int faulty_open_private(struct files *files, const char *path, int flags)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->open_private(files_system(), path, flags);
}

static inline void faulty_close(struct files *files, int fd)
{
    (void)files;
    files_system()->close(files_system(), fd);
}

static inline int64_t faulty_read(struct files *files, int fd, void *to, size_t size, uint64_t at)
{
    int rc = faulty(files);
    __atomic_add_fetch(&((struct faulty_files *)(void *)files)->cached, 1, __ATOMIC_RELAXED);
    return rc != 0 ? rc : files_system()->read(files_system(), fd, to, size, at);
}

static inline void faulty_uncache(struct files *files, int fd)
{
    __atomic_store_n(&((struct faulty_files *)(void *)files)->cached, 0, __ATOMIC_RELAXED);
    files_system()->uncache(files_system(), fd);
}

/* A write that fails may have written a part. */
static inline int faulty_write(struct files *files, int fd, const void *from, size_t size,
                               uint64_t at)
{
    int rc = faulty(files);
    if (rc != 0 && size > 4096) {
        (void)files_system()->write(files_system(), fd, from, 4096, at);
    }
    return rc != 0 ? rc : files_system()->write(files_system(), fd, from, size, at);
}

static inline int faulty_allocate(struct files *files, int fd, uint64_t size)
{
    struct faulty_files *faulty_port = (struct faulty_files *)(void *)files;
    uint64_t had = 0;
    int rc = faulty(files);
    if (rc == 0 && faulty_port->limited && files_system()->size(files_system(), fd, &had) == 0 &&
        had < size) {
        if (faulty_port->sizes_left < size - had) {
            return -ENOSPC;
        }
        faulty_port->sizes_left -= size - had;
    }
    return rc != 0 ? rc : files_system()->allocate(files_system(), fd, size);
}

static inline int faulty_size(struct files *files, int fd, uint64_t *size)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->size(files_system(), fd, size);
}

static inline int faulty_sync(struct files *files, int fd)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->sync(files_system(), fd);
}

static inline int faulty_sync_directory(struct files *files, const char *path)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->sync_directory(files_system(), path);
}

static inline int faulty_rename(struct files *files, const char *from, const char *to)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->rename(files_system(), from, to);
}

static inline int faulty_remove(struct files *files, const char *path)
{
    int rc = faulty(files);
    __atomic_add_fetch(&((struct faulty_files *)(void *)files)->removed, rc == 0, __ATOMIC_RELAXED);
    return rc != 0 ? rc : files_system()->remove(files_system(), path);
}

static inline int faulty_make_directory(struct files *files, const char *path)
{
    int rc = faulty(files);
    return rc != 0 ? rc : files_system()->make_directory(files_system(), path);
}

static inline int faulty_commit(struct files *files)
{
    struct faulty_files *faulty_port = (struct faulty_files *)(void *)files;

    while (__atomic_load_n(&faulty_port->hold_commits, __ATOMIC_RELAXED)) {
        usleep(1000);
    }
    int error = __atomic_load_n(&faulty_port->commit_error, __ATOMIC_RELAXED);
    return error != 0 ? error : faulty(files);
}

/* Also what the file system, not the disk, may refuse. */
static inline int faulty_map(struct files *files, int fd, size_t size, bool writable, void **area)
{
    const struct faulty_files *faulty_port = (const struct faulty_files *)(void *)files;
    int rc = faulty(files);
    rc = rc == 0 ? faulty_port->map_error : rc;
    return rc != 0 ? rc : files_system()->map(files_system(), fd, size, writable, area);
}

#endif
