/* The footer of an archive's object, and the order that it and the blocks go by. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "archive_writer_state.h"

/* ---- Order ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;

    if (left->slot != right->slot) {
        return left->slot < right->slot ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

static int compare_vectors(const void *a, const void *b)
{
    const struct vector *left = a, *right = b;

    assert(a == b || left->slot != right->slot);
    return (left->slot > right->slot) - (left->slot < right->slot);
}

static int compare_shards(const void *a, const void *b)
{
    const struct archive_shard *left = a, *right = b;

    assert(a == b || left->shard != right->shard);
    return (left->shard > right->shard) - (left->shard < right->shard);
}

static void sort(struct buffer *items, size_t size, int (*compare)(const void *, const void *))
{
    if (items->size > size) {
        qsort(items->data, items->size / size, size, compare);
    }
}

void archive_writer_sort(struct archive_writer *writer)
{
    sort(&writer->entries, sizeof(struct entry), compare_entries);
    sort(&writer->vectors, sizeof(struct vector), compare_vectors);
    sort(&writer->shards, sizeof(struct archive_shard), compare_shards);
}

/* ---- Pieces ---- */

static int append_varint(struct buffer *to, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(bytes, value);

    return buffer_append(to, bytes_of(bytes, (size_t)(end - bytes)));
}

static int append_u64(struct buffer *to, uint64_t value)
{
    uint8_t bytes[8];

    store_u64(bytes, value);
    return buffer_append(to, bytes_of(bytes, sizeof bytes));
}

int archive_put_varints(struct buffer *to, const uint64_t values[], size_t count)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = append_varint(to, values[i]);
    }
    return rc;
}

/* ---- Slots ---- */

static int compare_spans(const void *a, const void *b)
{
    const struct archive_span *left = a, *right = b;

    return actor_compare(left->actor, right->actor);
}

/* Count a record, or a note to one, to its actor's span: mostly that of the record before. */
static int add_to_span(struct buffer *buffer, struct archive_span **last, struct stamp newest,
                       bool is_record)
{
    struct archive_span *spans = (struct archive_span *)(void *)buffer->data;
    size_t count = buffer->size / sizeof *spans;

    if (*last == NULL || actor_compare((*last)->actor, newest.actor) != 0) {
        *last = NULL;
        for (size_t i = 0; i < count && *last == NULL; i++) {
            *last = actor_compare(spans[i].actor, newest.actor) == 0 ? &spans[i] : NULL;
        }
    }
    if (*last == NULL) {
        const struct archive_span span = {newest.actor, newest.hlc, newest.hlc, 0};
        int rc = buffer_append(buffer, bytes_of(&span, sizeof span));
        if (rc != 0) {
            return rc;
        }
        *last = (struct archive_span *)(void *)buffer->data + count;
    }
    struct archive_span *span = *last;
    span->least_hlc = newest.hlc < span->least_hlc ? newest.hlc : span->least_hlc;
    span->newest_hlc = newest.hlc > span->newest_hlc ? newest.hlc : span->newest_hlc;
    span->records += is_record;
    return 0;
}

static int put_spans(struct buffer *to, struct buffer *buffer, uint64_t least_hlc)
{
    const struct archive_span *spans = (const struct archive_span *)(const void *)buffer->data;
    size_t count = buffer->size / sizeof *spans;

    sort(buffer, sizeof *spans, compare_spans);
    int rc = append_varint(to, count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct archive_span *span = &spans[i];
        const uint64_t values[] = {
            span->actor.node,
            span->actor.start,
            span->least_hlc - least_hlc,
            span->newest_hlc - span->least_hlc,
            span->records,
        };
        rc = archive_put_varints(to, values, sizeof values / sizeof values[0]);
    }
    return rc;
}

/* Where the walk over entries and vectors is; both are in the order of slots. */
struct slots {
    size_t entry, vector;
    uint32_t next; /* A slot is told less this. */
};

/* The next slot that has an entry or a vector; SLOT_COUNT: none. */
static uint32_t next_slot(const struct archive_writer *writer, const struct slots *at)
{
    const struct vector *vectors = vectors_of(writer);
    uint32_t slot = SLOT_COUNT;

    if (at->entry < entry_count(writer)) {
        slot = entries_of(writer)[at->entry].slot;
    }
    if (at->vector < vector_count(writer) && vectors[at->vector].slot < slot) {
        slot = vectors[at->vector].slot;
    }
    return slot;
}

static int put_vector(struct archive_writer *writer, struct slots *at, uint32_t slot)
{
    const struct vector *vectors = vectors_of(writer);

    if (at->vector == vector_count(writer) || vectors[at->vector].slot != slot) {
        return append_varint(&writer->block, 0);
    }
    const struct vector *vector = &vectors[at->vector++];
    int rc = append_varint(&writer->block, vector->size);
    return rc != 0
               ? rc
               : buffer_append(&writer->block,
                               bytes_of(writer->vector_bytes.data + vector->offset, vector->size));
}

static int put_slot(struct archive_writer *writer, struct slots *at, uint32_t slot)
{
    struct archive_span *last = NULL;
    int rc = append_varint(&writer->block, slot - at->next);

    at->next = slot + 1;
    writer->spans.size = 0;
    for (; rc == 0 && at->entry < entry_count(writer); at->entry++) {
        const struct entry *entry = &entries_of(writer)[at->entry];
        if (entry->slot != slot) {
            break;
        }
        rc = add_to_span(&writer->spans, &last, entry->newest, entry->size > 0);
    }
    if (rc == 0) {
        rc = put_spans(&writer->block, &writer->spans, writer->least_hlc);
    }
    return rc != 0 ? rc : put_vector(writer, at, slot);
}

static uint32_t count_slots(const struct archive_writer *writer)
{
    const struct vector *vectors = vectors_of(writer);
    struct slots at = {0};
    uint32_t count = 0, slot;

    while ((slot = next_slot(writer, &at)) < SLOT_COUNT) {
        while (at.entry < entry_count(writer) && entries_of(writer)[at.entry].slot == slot) {
            at.entry++;
        }
        at.vector += at.vector < vector_count(writer) && vectors[at.vector].slot == slot;
        count++;
    }
    return count;
}

static int put_slots(struct archive_writer *writer)
{
    struct slots at = {0};
    uint32_t slot;

    int rc = append_varint(&writer->block, count_slots(writer));
    while (rc == 0 && (slot = next_slot(writer, &at)) < SLOT_COUNT) {
        rc = put_slot(writer, &at, slot);
    }
    return rc;
}

/* ---- All of it ---- */

static int put_shards(struct archive_writer *writer)
{
    const struct archive_shard *shards =
        (const struct archive_shard *)(const void *)writer->shards.data;
    size_t count = writer->shards.size / sizeof *shards;

    int rc = append_varint(&writer->block, count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const uint64_t values[] = {shards[i].shard, shards[i].from, shards[i].to};
        rc = archive_put_varints(&writer->block, values, 3);
    }
    return rc;
}

int archive_footer_put(struct archive_writer *writer, uint32_t blocks)
{
    const uint64_t counts[] = {writer->options.parts, blocks};
    struct buffer *to = &writer->block;

    to->size = 0;
    int rc = append_varint(to, writer->records);
    if (rc == 0) {
        rc = append_u64(to, writer->least_hlc);
    }
    if (rc == 0) {
        rc = append_u64(to, writer->newest_hlc);
    }
    if (rc == 0) {
        rc = archive_put_varints(to, counts, 2);
    }
    if (rc == 0) {
        rc = buffer_append(to, buffer_bytes(&writer->index));
    }
    if (rc == 0) {
        rc = put_shards(writer);
    }
    if (rc == 0) {
        rc = put_slots(writer);
    }
    return rc == 0 && to->size > ARCHIVE_FOOTER_BYTES_MAX ? -EFBIG : rc;
}
