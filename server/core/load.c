#include "load.h"

#include <assert.h>
#include <string.h>

void load_put(struct load_block *block, uint32_t kind, struct bytes body)
{
    uint8_t *to = block->bytes + block->size;

    assert(block->capacity - block->size >= LOAD_ITEM_HEADER_BYTES + body.size);
    store_u32(to, kind);
    store_u32(to + 4, (uint32_t)body.size);
    if (body.size > 0) {
        memcpy(to + LOAD_ITEM_HEADER_BYTES, body.data, body.size);
    }
    block->size += LOAD_ITEM_HEADER_BYTES + body.size;
}

bool load_next(struct load_block *block, uint32_t *kind, struct bytes *body)
{
    if (block->at >= block->size) {
        return false;
    }
    const uint8_t *from = block->bytes + block->at;
    *kind = load_u32(from);
    *body = bytes_of(from + LOAD_ITEM_HEADER_BYTES, load_u32(from + 4));
    block->at += LOAD_ITEM_HEADER_BYTES + body->size;
    return true;
}

void load_unnext(struct load_block *block, struct bytes body)
{
    block->at -= LOAD_ITEM_HEADER_BYTES + body.size;
}
