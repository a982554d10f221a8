/* Objects of the archive put together of any bytes, with sizes and checksums in order, so that what lies behind these
 * is reached. */
#ifndef ARCHIVE_CRAFT_H
#define ARCHIVE_CRAFT_H

#include <stdlib.h>

#include "archive_format.h"
#include "crc32c.h"

struct archive_craft {
    enum archive_kind kind;
    struct bytes blocks;      /* As stored, one behind the other. */
    struct bytes footer;      /* As stored... */
    uint32_t footer_raw_size; /* ... and what is said of it. */
    uint8_t codec;
};

/* Returns the object, to be freed; NULL: no memory. */
static inline uint8_t *archive_craft(const struct archive_craft *craft, size_t *size)
{
    struct archive_trailer trailer = {
        .header = {.name = {.kind = craft->kind, .actor = {1, 1}, .sequence = 1}},
        .footer =
            {
                .offset = ARCHIVE_HEADER_BYTES + craft->blocks.size,
                .size = (uint32_t)craft->footer.size,
                .raw_size = craft->footer_raw_size,
                .crc = crc32c(0, craft->footer),
                .codec = craft->codec,
            },
    };

    *size = ARCHIVE_HEADER_BYTES + craft->blocks.size + craft->footer.size + ARCHIVE_TRAILER_BYTES;
    uint8_t *object = malloc(*size), *at = object;
    if (object == NULL) {
        return NULL;
    }
    archive_header_put(at, &trailer.header);
    at += ARCHIVE_HEADER_BYTES;
    if (craft->blocks.size > 0) {
        memcpy(at, craft->blocks.data, craft->blocks.size);
        at += craft->blocks.size;
    }
    if (craft->footer.size > 0) {
        memcpy(at, craft->footer.data, craft->footer.size);
        at += craft->footer.size;
    }
    archive_trailer_put(at, &trailer);
    return object;
}

#endif
