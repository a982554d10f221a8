/* Where memory comes from. The pure code never calls malloc(): it asks this port, so that a test can
 * make the n-th request fail and the server can place big areas on huge pages.
 *
 * Threads: a port belongs to one thread, unless its implementation says otherwise.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"

struct memory {
    /* As realloc(): `block` may be NULL, `new_size` 0 frees and returns NULL. Aligned to 16 bytes.
     * Returns NULL where there is none; the old block is then as it was. Freeing never fails. */
    void *(*resize)(struct memory *memory, void *block, size_t old_size, size_t new_size);
    /* A zeroed area of `size` bytes (a multiple of 4096), aligned to the largest power of two that
     * divides `size`, at most 2 MiB. Returns NULL where there is none. */
    void *(*map)(struct memory *memory, size_t size);
    /* Give a whole area back. */
    void (*unmap)(struct memory *memory, void *area, size_t size);
    /* Part of an area is not needed now: its pages go back, and read as zero when touched again. */
    void (*release)(struct memory *memory, void *part, size_t size);
};

/* A growing byte string that keeps its memory from use to use. Zero-initialise with its port. */
struct buffer {
    struct memory *memory;
    uint8_t *data;
    size_t size, capacity;
};

/* Make room for `more` bytes after the present ones. Returns 0, or -ENOMEM with nothing changed. */
static inline int buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->capacity - buffer->size >= more) {
        return 0;
    }
    size_t wanted = buffer->size + more;
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    uint8_t *data =
        buffer->memory->resize(buffer->memory, buffer->data, buffer->capacity, capacity);
    if (data == NULL) {
        return -ENOMEM;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

/* Append a copy. Returns 0, or -ENOMEM with nothing changed. */
static inline int buffer_append(struct buffer *buffer, struct bytes more)
{
    int rc = buffer_reserve(buffer, more.size);
    if (rc == 0 && more.size > 0) {
        memcpy(buffer->data + buffer->size, more.data, more.size);
        buffer->size += more.size;
    }
    return rc;
}

static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return bytes_of(buffer->data, buffer->size);
}

static inline void buffer_fini(struct buffer *buffer)
{
    if (buffer->data != NULL) {
        buffer->memory->resize(buffer->memory, buffer->data, buffer->capacity, 0);
    }
    *buffer = (struct buffer){.memory = buffer->memory};
}

#endif
