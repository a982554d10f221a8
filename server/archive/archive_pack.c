/* Blocks and footers between raw and stored: zstd, cipher, checksum. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "archive_cipher.h"
#include "archive_format.h"
#include "crc32c.h"

static struct archive_seal seal_of(const struct archive_packing *packing,
                                   const struct archive_block *block)
{
    return (struct archive_seal){
        .object_key = packing->object_key,
        .header = packing->header,
        .number = packing->number,
        .offset = block->offset,
        .raw_size = block->raw_size,
        .codec = block->codec,
    };
}

/* Append `raw`, compressed where that makes it less. Returns 0 with the codec set, or -ENOMEM. */
static int append_compressed(void *zstd, int level, struct bytes raw, struct buffer *object,
                             uint8_t *codec)
{
    int rc = buffer_reserve(object, ZSTD_compressBound(raw.size) + ARCHIVE_TAG_BYTES);

    if (rc != 0) {
        return rc;
    }
    if (level != 0) {
        size_t size = ZSTD_compressCCtx(zstd, object->data + object->size,
                                        object->capacity - object->size, raw.data, raw.size, level);
        if (ZSTD_isError(size) != 0) {
            return -ENOMEM; /* There is room for the result, so nothing else can be. */
        }
        if (size < raw.size) {
            object->size += size;
            *codec = ARCHIVE_ZSTD;
            return 0;
        }
    }
    *codec = ARCHIVE_PLAIN;
    return buffer_append(object, raw);
}

int archive_pack(const struct archive_packing *packing, void *zstd, int level, struct bytes raw,
                 struct buffer *object, struct archive_block *block)
{
    size_t before = object->size;

    assert(raw.size <= ARCHIVE_RECORD_BYTES_MAX);
    block->offset = before;
    block->raw_size = (uint32_t)raw.size;
    int rc = append_compressed(zstd, level, raw, object, &block->codec);
    if (rc == 0 && packing->object_key != NULL) {
        struct archive_seal seal = seal_of(packing, block);
        rc = archive_seal(&seal, object->data + before, object->size - before);
        object->size += ARCHIVE_TAG_BYTES;
    }
    if (rc != 0) {
        object->size = before;
        return rc;
    }
    block->size = (uint32_t)(object->size - before);
    block->crc = crc32c(0, bytes_of(object->data + before, block->size));
    return 0;
}

static int decompress(struct bytes from, uint8_t *to, size_t size)
{
    if (ZSTD_getFrameContentSize(from.data, from.size) != size) {
        return -EBADMSG;
    }
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    if (zstd == NULL) {
        return -ENOMEM;
    }
    size_t got = ZSTD_decompressDCtx(zstd, to, size, from.data, from.size);
    ZSTD_freeDCtx(zstd);
    if (ZSTD_isError(got) != 0) {
        return ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
    }
    return got == size ? 0 : -EBADMSG;
}

int archive_unpack(const struct archive_packing *packing, const struct archive_block *block,
                   struct bytes stored, struct buffer *raw)
{
    size_t tag = packing->object_key != NULL ? ARCHIVE_TAG_BYTES : 0;
    bool plain = block->codec == ARCHIVE_PLAIN;

    if (stored.size != block->size || stored.size < tag || crc32c(0, stored) != block->crc) {
        return -EBADMSG;
    }
    size_t size = stored.size - tag;
    if (plain ? size != block->raw_size : size >= block->raw_size) {
        return -EBADMSG;
    }
    raw->size = 0;
    int rc = buffer_reserve(raw, block->raw_size + (plain ? 0 : size));
    if (rc != 0) {
        return rc;
    }
    struct bytes inner = bytes_of(stored.data, size);
    if (packing->object_key != NULL) {
        /* What is to be decompressed lies behind the place of the result. */
        struct archive_seal seal = seal_of(packing, block);
        uint8_t *to = raw->data + (plain ? 0 : block->raw_size);
        rc = archive_unseal(&seal, stored, to);
        if (rc != 0) {
            return rc;
        }
        inner = bytes_of(to, size);
    } else if (plain) {
        memcpy(raw->data, inner.data, inner.size);
    }
    if (!plain) {
        rc = decompress(inner, raw->data, block->raw_size);
    }
    if (rc == 0) {
        raw->size = block->raw_size;
    }
    return rc;
}
