#include "link_output.h"

#include <assert.h>
#include <errno.h>

#include "heap.h"

enum { PIECES_MIN = 16 };

static struct link_piece *piece_at(const struct link_output *output, uint32_t number)
{
    return &output->pieces[(output->first + number) & (output->capacity - 1)];
}

/* Room for `more` pieces. Returns 0 or -ENOMEM. */
static int reserve_pieces(struct link_output *output, uint32_t more)
{
    uint32_t capacity = output->capacity == 0 ? PIECES_MIN : output->capacity;

    while (capacity - output->count < more) {
        capacity *= 2;
    }
    if (capacity == output->capacity) {
        return 0;
    }
    struct link_piece *pieces = heap_take(output->memory, capacity * sizeof *pieces);
    if (pieces == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        pieces[i] = *piece_at(output, i);
    }
    heap_give(output->memory, output->pieces, output->capacity * sizeof *pieces);
    output->pieces = pieces;
    output->capacity = capacity;
    output->first = 0;
    return 0;
}

/* Contiguous room for `size` bytes of copies. Returns NULL where there is no memory. */
static uint8_t *reserve_bytes(struct link_output *output, struct chunk_pool *pool, size_t size)
{
    struct chunk_list *chunks = &output->chunks;

    if (chunks->last == NULL || chunks->last->capacity - chunks->last->size < size) {
        struct chunk *chunk = chunk_take(pool, size);
        if (chunk == NULL) {
            return NULL;
        }
        if (chunks->last == NULL) {
            chunks->first = chunk;
        } else {
            chunks->last->next = chunk;
        }
        chunks->last = chunk;
    }
    return chunks->last->data + chunks->last->size;
}

/* There is room for it. What lies behind the last piece makes that longer. */
static void push(struct link_output *output, const uint8_t *data, size_t size, bool lent)
{
    struct link_piece *last = output->count == 0 ? NULL : piece_at(output, output->count - 1);

    output->size += size;
    if (last != NULL && !lent && !last->lent && last->data + last->size == data) {
        last->size += size;
    } else if (size > 0) {
        *piece_at(output, output->count++) = (struct link_piece){data, size, lent};
    }
}

int link_output_add(struct link_output *output, struct chunk_pool *pool, const struct bytes parts[],
                    uint32_t count, bool lends)
{
    const uint32_t copied = count - (lends ? 1 : 0);
    size_t bytes = 0;

    for (uint32_t i = 0; i < copied; i++) {
        bytes += parts[i].size;
    }
    uint8_t *to = reserve_pieces(output, 2) == 0 ? reserve_bytes(output, pool, bytes) : NULL;
    if (to == NULL) {
        return -ENOMEM;
    }
    output->chunks.last->size += bytes;
    push(output, to, bytes, false);
    for (uint32_t i = 0; i < copied; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
            to += parts[i].size;
        }
    }
    if (lends) {
        push(output, parts[copied].data, parts[copied].size, true);
    }
    return 0;
}

uint32_t link_output_gather(const struct link_output *output, struct iovec parts[],
                            uint32_t parts_max, size_t bytes_max)
{
    uint32_t count = 0;

    while (count < output->count && count < parts_max && bytes_max > 0) {
        const struct link_piece *piece = piece_at(output, count);
        union {
            const uint8_t *constant;
            void *plain;
        } data = {.constant = piece->data};
        size_t size = piece->size < bytes_max ? piece->size : bytes_max;
        parts[count++] = (struct iovec){.iov_base = data.plain, .iov_len = size};
        bytes_max -= size;
    }
    return count;
}

/* So many bytes of the copies are gone. A chunk goes with its last one, but for that which is being filled. */
static void drop_copies(struct link_output *output, struct chunk_pool *pool, size_t size)
{
    struct chunk_list *chunks = &output->chunks;

    output->chunk_sent += size;
    while (chunks->first != NULL && output->chunk_sent >= chunks->first->size &&
           (chunks->first != chunks->last || output->size == 0)) {
        struct chunk *chunk = chunks->first;
        output->chunk_sent -= chunk->size;
        chunks->first = chunk->next;
        chunks->last = chunks->first == NULL ? NULL : chunks->last;
        chunk_give(pool, chunk);
    }
}

void link_output_sent(struct link_output *output, struct chunk_pool *pool, size_t size)
{
    size_t copies = 0;

    assert(size <= output->size);
    output->size -= size;
    while (size > 0) {
        struct link_piece *piece = piece_at(output, 0);
        size_t gone = piece->size < size ? piece->size : size;
        copies += piece->lent ? 0 : gone;
        piece->data += gone;
        piece->size -= gone;
        size -= gone;
        if (piece->size == 0) {
            output->first = (output->first + 1) & (output->capacity - 1);
            output->count--;
        }
    }
    drop_copies(output, pool, copies);
}

void link_output_fini(struct link_output *output, struct chunk_pool *pool)
{
    chunk_list_clear(&output->chunks, pool);
    if (output->pieces != NULL) {
        heap_give(output->memory, output->pieces, output->capacity * sizeof *output->pieces);
    }
    *output = (struct link_output){.memory = output->memory};
}
