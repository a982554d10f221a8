/* The answering end of a comparison: it remembers nothing between two messages. */
#include <errno.h>

#include "compare_items.h"

/* ---- Sums ---- */

struct summing {
    uint64_t first, width;
    struct compare_sum *parts;
};

static bool sum_up(void *context, struct compare_entry entry)
{
    const struct summing *summing = context;

    compare_sum_add(&summing->parts[(entry.position - summing->first) / summing->width], entry);
    return true;
}

void compare_sums(struct compare_source *source, struct compare_range range,
                  struct compare_sum parts[COMPARE_PARTS])
{
    struct summing summing = {range.first, compare_part_width(range), parts};

    memset(parts, 0, COMPARE_PARTS * sizeof *parts);
    source->walk(source, range.first, range.last, sum_up, &summing);
}

/* ---- Answers ---- */

static int put_kind(struct buffer *to, enum compare_item kind)
{
    const uint8_t byte = (uint8_t)kind;

    return buffer_append(to, bytes_of(&byte, 1));
}

static int put_parts(struct buffer *to, const struct compare_sum parts[COMPARE_PARTS])
{
    int rc = buffer_reserve(to, 1 + COMPARE_PARTS * COMPARE_SUM_BYTES_MAX);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = to->data + to->size;
    *at++ = COMPARE_PARTS_OF;
    for (uint32_t part = 0; part < COMPARE_PARTS; part++) {
        at = compare_sum_put(at, parts[part]);
    }
    to->size = (size_t)(at - to->data);
    return 0;
}

struct listing {
    struct buffer *to;
    uint64_t left;
    int rc;
};

static bool list_one(void *context, struct compare_entry entry)
{
    struct listing *listing = context;
    uint8_t bytes[COMPARE_ENTRY_BYTES];

    store_u64(bytes, entry.position);
    store_u64(bytes + 8, entry.hash);
    listing->rc =
        listing->left == 0 ? 0 : buffer_append(listing->to, bytes_of(bytes, sizeof bytes));
    listing->left--;
    return listing->rc == 0 && listing->left > 0;
}

static int put_list(struct compare_source *source, struct compare_range range, uint64_t count,
                    struct buffer *to)
{
    uint8_t head[1 + 10] = {COMPARE_LIST};
    struct listing listing = {.to = to, .left = count};

    int rc = buffer_append(to, bytes_of(head, (size_t)(varint_put(head + 1, count) - head)));
    if (rc == 0 && count > 0) {
        source->walk(source, range.first, range.last, list_one, &listing);
        rc = listing.rc;
    }
    return rc;
}

static int answer_ask(struct compare_source *source, struct reader *from, struct buffer *to)
{
    const struct compare_range range = compare_range_read(from);
    const struct compare_sum theirs = compare_sum_read(from);
    struct compare_sum parts[COMPARE_PARTS], ours = {0};

    if (from->bad || range.first > range.last) {
        return -EBADMSG;
    }
    compare_sums(source, range, parts);
    for (uint32_t part = 0; part < COMPARE_PARTS; part++) {
        ours.count += parts[part].count;
        ours.sum += parts[part].sum;
    }
    if (compare_sum_equal(ours, theirs)) {
        return put_kind(to, COMPARE_SAME);
    }
    /* Who has nothing wants all of it: dividing would say the same in more rounds. */
    const uint64_t list_max = theirs.count == 0 ? COMPARE_LIST_EMPTY_MAX : COMPARE_LIST_MAX;
    if (ours.count > list_max && !compare_is_narrow(range)) {
        return put_parts(to, parts);
    }
    return put_list(source, range, ours.count, to);
}

/* Returns 0, 1 after the fence, or what ends it. */
static int answer_item(struct compare_source *source, struct reader *from, struct buffer *to)
{
    uint64_t position;

    switch (read_u8(from)) {
    case COMPARE_ASK:
        return answer_ask(source, from, to);
    case COMPARE_WANT:
        position = read_u64(from);
        return from->bad ? -EBADMSG : source->send(source, position);
    case COMPARE_FENCE:
        return put_kind(to, COMPARE_FENCE) == 0 ? 1 : -ENOMEM;
    default:
        return -EBADMSG;
    }
}

int compare_answer(struct compare_source *source, struct bytes message, struct buffer *to)
{
    struct reader from = reader_of(message);
    int rc = 0;

    while (rc == 0 && reader_left(&from) > 0) {
        rc = answer_item(source, &from, to);
    }
    return rc == 1 && reader_left(&from) > 0 ? -EBADMSG : rc;
}
