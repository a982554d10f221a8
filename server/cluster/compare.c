/* The asking end of a comparison. */
#include "compare.h"

#include <assert.h>
#include <errno.h>

#include "compare_items.h"

enum { RANGES_MIN = 64, ASK_BYTES_MAX = 1 + 16 + COMPARE_SUM_BYTES_MAX };

static int push(struct compare *compare, struct compare_range range)
{
    if (compare->range_count == COMPARE_RANGES_MAX) {
        return -EOVERFLOW;
    }
    if (compare->range_count == compare->range_capacity) {
        uint32_t capacity = compare->range_capacity == 0 ? RANGES_MIN : 2 * compare->range_capacity;
        struct compare_range *ranges = compare->memory->resize(
            compare->memory, compare->ranges, compare->range_capacity * sizeof *ranges,
            capacity * sizeof *ranges);
        if (ranges == NULL) {
            return -ENOMEM;
        }
        compare->ranges = ranges;
        compare->range_capacity = capacity;
    }
    compare->ranges[compare->range_count++] = range;
    return 0;
}

int compare_begin(struct compare *compare, struct memory *memory, struct compare_source *source,
                  uint64_t first, uint64_t last)
{
    assert(first <= last);
    *compare = (struct compare){.memory = memory, .source = source};
    return push(compare, (struct compare_range){first, last});
}

void compare_end(struct compare *compare)
{
    if (compare->ranges != NULL) {
        compare->memory->resize(compare->memory, compare->ranges,
                                compare->range_capacity * sizeof *compare->ranges, 0);
    }
    *compare = (struct compare){.memory = compare->memory};
}

/* ---- Asking ---- */

static bool add_up(void *context, struct compare_entry entry)
{
    compare_sum_add(context, entry);
    return true;
}

static int ask_one(struct compare *compare, struct buffer *to)
{
    const struct compare_range range = compare->ranges[compare->range_count - 1];
    struct compare_sum sum = {0};

    int rc = buffer_reserve(to, ASK_BYTES_MAX);
    if (rc != 0) {
        return rc;
    }
    compare->source->walk(compare->source, range.first, range.last, add_up, &sum);
    uint8_t *at = to->data + to->size;
    *at++ = COMPARE_ASK;
    store_u64(at, range.first);
    store_u64(at + 8, range.last);
    at = compare_sum_put(at + 16, sum);
    to->size = (size_t)(at - to->data);
    compare->range_count--;
    compare->asked[(compare->oldest + compare->asked_count++) % COMPARE_ASKS_MAX] = range;
    compare->stats.asks++;
    return 0;
}

int compare_ask(struct compare *compare, struct buffer *to)
{
    static const uint8_t fence = COMPARE_FENCE;
    int rc = 0;

    while (rc == 0 && compare->range_count > 0 && compare->asked_count < COMPARE_ASKS_MAX) {
        rc = ask_one(compare, to);
    }
    if (rc == 0 && compare->range_count + compare->asked_count == 0 && !compare->fenced) {
        rc = buffer_append(to, bytes_of(&fence, 1));
        compare->fenced = rc == 0;
    }
    return rc;
}

/* ---- Answers ---- */

/* What differs of a list is sent or wanted position by position, as several sessions may share one. */
struct settling {
    struct compare *compare;
    struct reader theirs; /* Entries that were not met yet... */
    uint64_t left;        /* ... and their number. */
    uint64_t position;    /* At which both ends' sums are made; valid with `any`. */
    bool any;
    struct compare_sum ours, other;
    struct buffer *to;
    int rc;
};

static int want(struct settling *settling, uint64_t position)
{
    uint8_t bytes[1 + 8] = {COMPARE_WANT};

    store_u64(bytes + 1, position);
    settling->compare->stats.wanted++;
    return buffer_append(settling->to, bytes_of(bytes, sizeof bytes));
}

/* Both ends' entries of the present position are known. */
static void settle(struct settling *settling)
{
    struct compare *compare = settling->compare;

    if (!settling->any || compare_sum_equal(settling->ours, settling->other)) {
        return;
    }
    if (settling->ours.count > 0) {
        settling->rc = compare->source->send(compare->source, settling->position);
        compare->stats.sent++;
    }
    if (settling->rc == 0 && settling->other.count > 0) {
        settling->rc = want(settling, settling->position);
    }
}

static void turn_to(struct settling *settling, uint64_t position)
{
    if (settling->any && settling->position == position) {
        return;
    }
    settle(settling);
    settling->any = true;
    settling->position = position;
    settling->ours = settling->other = (struct compare_sum){0};
}

/* Take their entries up to a position. */
static void take_theirs(struct settling *settling, uint64_t position)
{
    while (settling->rc == 0 && settling->left > 0) {
        struct reader next = settling->theirs;
        struct compare_entry entry = {.position = read_u64(&next)};
        entry.hash = read_u64(&next);
        if (entry.position > position) {
            return;
        }
        turn_to(settling, entry.position);
        compare_sum_add(&settling->other, entry);
        settling->theirs = next;
        settling->left--;
    }
}

static bool meet(void *context, struct compare_entry entry)
{
    struct settling *settling = context;

    take_theirs(settling, entry.position);
    if (settling->rc == 0) {
        turn_to(settling, entry.position);
        compare_sum_add(&settling->ours, entry);
    }
    return settling->rc == 0;
}

/* Whether the entries ascend, within the range. */
static bool list_is_right(struct reader list, uint64_t count, struct compare_range range)
{
    uint64_t least = range.first;

    for (; count > 0; count--) {
        uint64_t position = read_u64(&list);
        (void)read_u64(&list);
        if (list.bad || position < least || position > range.last) {
            return false;
        }
        least = position;
    }
    return true;
}

static int take_list(struct compare *compare, struct compare_range range, struct reader *from,
                     struct buffer *to)
{
    const uint64_t count = read_varint(from);

    if (from->bad || count > reader_left(from) / COMPARE_ENTRY_BYTES) {
        return -EBADMSG;
    }
    struct settling settling = {
        .compare = compare,
        .theirs = reader_of(read_bytes(from, count * COMPARE_ENTRY_BYTES)),
        .left = count,
        .to = to,
    };
    if (!list_is_right(settling.theirs, count, range)) {
        return -EBADMSG;
    }
    compare->stats.lists++;
    compare->source->walk(compare->source, range.first, range.last, meet, &settling);
    take_theirs(&settling, range.last);
    if (settling.rc == 0) {
        settle(&settling);
    }
    return settling.rc;
}

static int take_parts(struct compare *compare, struct compare_range range, struct reader *from)
{
    struct compare_sum ours[COMPARE_PARTS];
    int rc = 0;

    if (compare_is_narrow(range)) {
        return -EBADMSG;
    }
    compare_sums(compare->source, range, ours);
    for (uint32_t part = 0; part < COMPARE_PARTS && rc == 0; part++) {
        struct compare_sum theirs = compare_sum_read(from);
        if (!compare_sum_equal(ours[part], theirs)) {
            rc = push(compare, compare_part(range, part));
        }
    }
    return from->bad ? -EBADMSG : rc;
}

static int take_answer(struct compare *compare, uint8_t kind, struct reader *from,
                       struct buffer *to)
{
    const struct compare_range range = compare->asked[compare->oldest];

    if (compare->asked_count == 0) {
        return -EBADMSG;
    }
    compare->oldest = (compare->oldest + 1) % COMPARE_ASKS_MAX;
    compare->asked_count--;
    switch (kind) {
    case COMPARE_SAME:
        return 0;
    case COMPARE_PARTS_OF:
        return take_parts(compare, range, from);
    case COMPARE_LIST:
        return take_list(compare, range, from, to);
    default:
        return -EBADMSG;
    }
}

int compare_take(struct compare *compare, struct bytes message, struct buffer *to)
{
    struct reader from = reader_of(message);
    int rc = 0;

    while (rc == 0 && reader_left(&from) > 0) {
        uint8_t kind = read_u8(&from);
        if (kind == COMPARE_FENCE) {
            return compare->fenced && reader_left(&from) == 0 ? 1 : -EBADMSG;
        }
        rc = take_answer(compare, kind, &from, to);
    }
    return rc;
}
