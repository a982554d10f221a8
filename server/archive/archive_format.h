/* Pieces of an archive's object (archive_object.h) that its writer and its reader share.
 *
 * Memory and threads: as there.
 */
#ifndef ARCHIVE_FORMAT_H
#define ARCHIVE_FORMAT_H

#include "archive_object.h"

enum archive_codec {
    ARCHIVE_PLAIN = 0,
    ARCHIVE_ZSTD = 1,
};

/* The least that a block, a shard, a slot and a span of a footer take. */
enum {
    ARCHIVE_BLOCK_ITEM_BYTES = 11,
    ARCHIVE_SHARD_ITEM_BYTES = 3,
    ARCHIVE_SLOT_ITEM_BYTES = 3,
    ARCHIVE_SPAN_ITEM_BYTES = 5,
};

struct archive_trailer {
    struct archive_header header;
    struct archive_block footer; /* Without slots and records. */
};

void archive_header_put(uint8_t to[ARCHIVE_HEADER_BYTES], const struct archive_header *header);
void archive_trailer_put(uint8_t to[ARCHIVE_TRAILER_BYTES], const struct archive_trailer *trailer);

/* `from`: so many bytes. Returns 0; -EBADMSG; -EPROTONOSUPPORT: of another version. */
int archive_header_parse(const uint8_t from[ARCHIVE_HEADER_BYTES], struct archive_header *header);
int archive_trailer_parse(const uint8_t from[ARCHIVE_TRAILER_BYTES],
                          struct archive_trailer *trailer);

static inline bool archive_is_sealed(const struct archive_header *header)
{
    return header->key_id[0] != '\0';
}

/* What a block, or the footer, is packed with. */
struct archive_packing {
    struct bytes header;
    const uint8_t *object_key; /* NULL: no cipher. */
    uint32_t number;           /* archive_seal.number. */
};

/* Append `raw` to the object as it is stored, with zstd's level (0: not compressed). Sets offset, sizes, CRC and
 * codec of `block`. `zstd` is a ZSTD_CCtx. Returns 0; -ENOMEM, -EIO with the object as it was. */
int archive_pack(const struct archive_packing *packing, void *zstd, int level, struct bytes raw,
                 struct buffer *object, struct archive_block *block);

/* Overwrite `raw` with what `stored` was made of. Returns 0; -EBADMSG; -ENOMEM, -EIO. */
int archive_unpack(const struct archive_packing *packing, const struct archive_block *block,
                   struct bytes stored, struct buffer *raw);

#endif
