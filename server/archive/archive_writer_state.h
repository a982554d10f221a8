/* Private to archive_writer.c and archive_footer.c: what an object's writer has gathered. */
#ifndef ARCHIVE_WRITER_STATE_H
#define ARCHIVE_WRITER_STATE_H

#include "archive_format.h"

/* A record in `raw`, or (size 0) a note to one. */
struct entry {
    uint32_t offset, size;
    struct stamp newest;
    uint16_t slot;
};

/* A vector in `vector_bytes`. */
struct vector {
    uint32_t offset, size;
    uint16_t slot;
};

static inline struct entry *entries_of(const struct archive_writer *writer)
{
    return (struct entry *)(void *)writer->entries.data;
}

static inline size_t entry_count(const struct archive_writer *writer)
{
    return writer->entries.size / sizeof(struct entry);
}

static inline const struct vector *vectors_of(const struct archive_writer *writer)
{
    return (const struct vector *)(const void *)writer->vectors.data;
}

static inline size_t vector_count(const struct archive_writer *writer)
{
    return writer->vectors.size / sizeof(struct vector);
}

/* Append varints. Returns 0 or -ENOMEM. */
int archive_put_varints(struct buffer *to, const uint64_t values[], size_t count);

/* Put all that was gathered in the order of slots. */
void archive_writer_sort(struct archive_writer *writer);

/* Overwrite `block` with the footer, of sorted entries, where `index` has the blocks. Returns 0; -EFBIG; -ENOMEM. */
int archive_footer_put(struct archive_writer *writer, uint32_t blocks);

#endif
